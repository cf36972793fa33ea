"""Real processes: killed at random moments and resumed, interrupted by Ctrl-C, watched in a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from tidegate.format import read

from .conftest import SMALL, command, environment, process

STEPS = 320
PATIENT = ("--patience", "1000")  # no early end: there must be something to kill


def words(data: Path, out: Path, *more: str) -> tuple[str, ...]:
    return ("fit", "forecast", str(data), *SMALL, *PATIENT, "--steps", str(STEPS), "-o", str(out), *more)


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(command(*arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def steps_done(history: Path) -> int:
    return history.read_text().count("\n") if history.exists() else 0


def wait_for(history: Path, steps: int, running: subprocess.Popen[str]) -> None:
    """Until that many steps are done."""
    for _ in range(6000):
        if steps_done(history) >= steps or running.poll() is not None:
            return
        time.sleep(0.01)
    pytest.fail(f"{steps} steps were not reached")


@pytest.mark.parametrize(
    ("extra", "members"),
    [((), 1), (("--ensemble", "2", "--scaling", "running", "--truncate", "2"), 2)],
    ids=["plain", "ensemble, running, truncated"],
)
def test_killed_at_random_moments_and_resumed_the_bytes_are_the_same(
    data: Path, tmp_path: Path, extra: tuple[str, ...], members: int
) -> None:
    whole, killed, history = tmp_path / "whole", tmp_path / "killed", tmp_path / "h.jsonl"
    assert process(*words(data, whole, *extra)).returncode == 0
    moments, again = random.Random(5), ()  # moments of a test
    arguments = words(data, killed, *extra, "--history", str(history))
    for _ in range(3):
        running = start(*arguments, *again)
        goal = min(steps_done(history) // 100 * 100 + moments.randint(60, 200), members * STEPS - 100)
        wait_for(history, goal, running)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        assert running.returncode == -signal.SIGKILL  # it had not ended by itself
        again = ("--resume",)
    assert not killed.exists()
    done = process(*arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert killed.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h.jsonl", "killed", "whole"]  # no checkpoint, no temporary file
    records = [json.loads(line) for line in history.read_text().splitlines()]
    assert [(r["member"], r["step"]) for r in records] == [(m, s + 1) for m in range(members) for s in range(STEPS)]


def test_a_checkpoint_of_other_options_is_refused(data: Path, tmp_path: Path) -> None:
    out, history = tmp_path / "m", tmp_path / "h.jsonl"
    running = start(*words(data, out, "--history", str(history)))
    wait_for(history, 120, running)
    running.kill()
    running.communicate()
    done = process(*words(data, out, "--resume", "--seed", "9"))
    assert done.returncode == 2
    assert "checkpoint: was made with other options or other data; remove it, or give the ones it was made with" in done.stderr
    newest = sorted(tmp_path.glob("m.checkpoint-*"))
    assert newest  # what there was is still there


def test_ctrl_c_keeps_the_best_so_far_and_the_checkpoint(data: Path, tmp_path: Path) -> None:
    out, history = tmp_path / "m", tmp_path / "h.jsonl"
    arguments = words(data, out, "--history", str(history))
    running = start(*arguments)
    wait_for(history, 130, running)
    running.send_signal(signal.SIGINT)
    said, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "the best model so far is kept" in told
    assert "Traceback" not in told
    assert f"interrupted: wrote {out}" in " ".join(said.split())
    card = read(out).header["card"]
    assert isinstance(card, dict)
    assert card["interrupted"] is True
    assert process("predict", str(out)).returncode == 0
    assert process(*arguments, "--resume").returncode == 0
    assert process(*words(data, tmp_path / "whole")).returncode == 0
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_second_ctrl_c_ends(data: Path, tmp_path: Path) -> None:
    out, history = tmp_path / "m", tmp_path / "h.jsonl"
    running = start(*words(data, out, "--history", str(history)))
    wait_for(history, 150, running)
    for _ in range(2000):
        running.send_signal(signal.SIGINT)
        if running.poll() is not None:
            break
        time.sleep(0.005)
    running.communicate(timeout=60)
    assert running.returncode in (130, -signal.SIGINT)
    assert not [p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")]


def watched(*arguments: str) -> str:
    """What a person sees in a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    with subprocess.Popen(command(*arguments), env=environment(), stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        seen = b""
        while True:
            ready, _, _ = select.select([ours], [], [], 60)
            try:
                part = os.read(ours, 4096) if ready else b""
            except OSError:  # the other end is closed
                part = b""
            if not part:
                break
            seen += part
    os.close(ours)
    return seen.decode()


def test_a_terminal_shows_a_bar_with_loss_and_time_left(data: Path, tmp_path: Path) -> None:
    seen = watched(*words(data, tmp_path / "m"))
    assert "training" in seen
    assert "loss" in seen
    assert "held back" in seen
    assert f"/{STEPS}" in seen
    assert "<" in seen  # tqdm's elapsed<left
    assert "wrote" in seen


def test_elsewhere_nothing_is_shown(data: Path, tmp_path: Path) -> None:
    assert process("fit", "forecast", str(data), *SMALL, "--steps", "30", "-o", str(tmp_path / "m")).stderr == ""
