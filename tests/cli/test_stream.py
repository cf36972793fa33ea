"""`stream`: an answer a line for each task, states saved and gone on from, refused samples, SIGTERM."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tidegate as tg
from tests.models.conftest import SMALL, series

from .conftest import Cli
from .test_process import environment

NUMBERS = [10.5, 11.0, 9.25, 12.0, 8.5]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    tg.Forecaster(horizon=3, season=6, scaling="running", **SMALL).fit([series(lengths=(60,))[0]]).save(path / "sea.safetensors")
    dated = {"day": np.datetime64("2024-01-01") + np.arange(40), "y": np.sin(np.arange(40.0))}
    tg.Forecaster(horizon=3, season=6, lookback=12, **SMALL).fit(dated, target="y", time="day").save(path / "days.safetensors")
    texts = (["a fine film", "a dull film"] * 12, ["good", "bad"] * 12)
    tg.Classifier(hidden_size=8, steps=20, bidirectional=False).fit(texts, progress=False).save(path / "mood.safetensors")
    text = tg.LanguageModel(hidden_size=8, steps=20, batch_size=2, window=16).fit(["the tide comes in.\n" * 40], progress=False)
    text.save(path / "prose.safetensors")
    return path


@pytest.fixture
def told(cli: Cli, monkeypatch: pytest.MonkeyPatch, place: Path):
    """The command with text on standard input: status and lines of JSON."""

    def call(given: str, model: str, *flags: object) -> tuple[int, list[dict], str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        said = cli("stream", place / f"{model}.safetensors", *flags)
        return said.status, [json.loads(line) for line in said.out.splitlines()], said.err

    return call


@pytest.mark.parametrize(
    "lines",
    [
        "\n".join(map(str, NUMBERS)),
        "y\n" + "\n".join(map(str, NUMBERS)),
        "day,y,other\n" + "\n".join(f"2020-01-0{k},{value},x" for k, value in enumerate(NUMBERS, 1)),
        "\n".join(json.dumps({"y": value}) for value in NUMBERS),
        "\n".join(json.dumps([value]) for value in NUMBERS) + "\n\n",
    ],
)
def test_a_forecaster_answers_every_row(told, place: Path, lines: str) -> None:
    model = tg.load(place / "sea.safetensors")
    stream = model.stream()
    name = stream.targets[0]
    status, answers, err = told(lines.replace('"y"', f'"{name}"').replace("y\n", f"{name}\n").replace(",y,", f",{name},"), "sea")
    assert (status, err) == (0, "")
    assert len(answers) == len(NUMBERS)
    for value, answer in zip(NUMBERS, answers, strict=True):
        wanted = stream.push(value)
        np.testing.assert_array_equal(answer["forecast"][name], wanted.forecast[0])
        np.testing.assert_array_equal(answer["lo"]["80"][name], wanted.lo[80.0][0])
        assert len(answer["time"]) == 3


def test_the_times_of_lines_are_compared_with_the_clock(told) -> None:
    """A gap and a repeat are told with the number of the line; with `hold` the steps between are missing."""
    days = ["2024-02-10", "2024-02-11", "2024-02-14", "2024-02-11", "2024-02-12"]
    table = "day,y\n" + "".join(f"{day},{k}\n" for k, day in enumerate(days))
    for lines, first in ((table, 2), ("".join(json.dumps({"y": k, "day": day}) + "\n" for k, day in enumerate(days)), 1)):
        status, answers, _ = told(lines, "days")
        assert status == 1
        assert ["error" in answer for answer in answers] == [False, False, True, True, False]
        assert answers[2]["error"].startswith(
            f"standard input: line {first + 2}: push: expected the time 2024-02-12, the next step"
        )
        assert "got 2024-02-14, 2 days on" in answers[2]["error"]
        assert "got 2024-02-11, which has passed" in answers[3]["error"]
        assert answers[4]["time"][0].startswith("2024-02-13")
        status, held, _ = told(lines, "days", "--on-bad", "hold")
        assert ["error" in answer for answer in held] == [False, False, False, True, True]
        assert held[2]["time"][0].startswith("2024-02-15")
        _, filled, _ = told("0\n1\nnan\nnan\n2\n", "days", "--on-bad", "hold")
        assert held[:3] == [filled[0], filled[1], filled[4]]
        _, reset, _ = told(lines, "days", "--on-bad", "reset")
        assert reset[2]["time"] == held[2]["time"]
        assert reset[2]["forecast"] != held[2]["forecast"]


def test_lines_without_a_time_are_the_next_steps(told) -> None:
    for lines in ("1\n2\n", "y\n1\n2\n", '{"y": 1}\n{"y": 2}\n'):
        status, answers, _ = told(lines, "days")
        assert (status, [answer["time"][0][:10] for answer in answers]) == (0, ["2024-02-11", "2024-02-12"])
    status, answers, _ = told("day,y\nsoon,1\n,2\n2024-02-10 07:30,3\n2024-02-10,4\n", "days")
    assert status == 1
    assert [answer["error"][:23] for answer in answers[:3]] == [f"standard input: line {k}:" for k in (2, 3, 4)]
    assert "forecast" in answers[3]


def test_a_state_goes_on_in_the_next_run(told, tmp_path: Path) -> None:
    rows = [f"{value}\n" for value in NUMBERS]
    _, whole, _ = told("".join(rows), "sea")
    state = tmp_path / "sea.state"
    _, first, _ = told("".join(rows[:2]), "sea", "--state", state)
    _, second, _ = told("".join(rows[2:]), "sea", "--state", state)
    assert first + second == whole
    body = bytearray(state.read_bytes())
    body[70] ^= 1
    state.write_bytes(body)
    status, _, err = told("1\n", "sea", "--state", state)
    assert status == 2
    assert "not a sound snapshot" in err
    assert state.read_bytes() == body, "what was there is not lost"
    assert told("x\n", "mood", "--state", state)[0] == 2


def test_a_header_may_stand_before_the_rows_of_every_run(told, place: Path, tmp_path: Path) -> None:
    name, state = tg.load(place / "sea.safetensors").stream().targets[0], tmp_path / "s"
    state.touch()  # an empty file stands for none
    for count in (1, 2):
        status, answers, _ = told(f"day,{name}\n2020-01-01,7\n", "sea", "--state", state)
        assert (status, len(answers)) == (0, 1), count
    status, answers, _ = told(f"abc\nday,{name}\n1,x\n1,7\n", "sea")
    assert status == 1
    assert ["error" in answer for answer in answers] == [True, True, False]
    assert name in answers[0]["error"]


def test_a_state_that_cannot_be_written_is_told_at_once(told, tmp_path: Path) -> None:
    status, answers, _ = told("7\n", "sea", "--state", tmp_path / "nowhere" / "x.state")
    assert (status, answers) == (2, [])


def test_cells_that_no_row_has_are_refused(told) -> None:
    status, answers, _ = told("1\n" + "[" + "1" * 400 + "]\n" + "a" * 200_000 + "\n2\n", "sea")
    assert status == 1
    assert ["error" in answer for answer in answers] == [False, True, True, False]


@pytest.mark.parametrize(("policy", "count"), [("reject", 1), ("hold", 0), ("reset", 0)])
def test_bad_rows_follow_the_policy(told, policy: str, count: int) -> None:
    status, answers, _ = told('10\nnan\n{"nothing": 1}\n[1, 2]\n{broken\n11\n', "sea", "--on-bad", policy)
    refused = [answer for answer in answers if "error" in answer]
    assert len(answers) == 6
    assert len(refused) == 3 + count
    assert all("untouched" in answer["error"] or "mend" in answer["error"] for answer in refused)
    assert status == 1
    assert "forecast" in answers[-1]


def test_a_classifier_answers_every_line_and_an_empty_one_ends_a_text(told, place: Path) -> None:
    model = tg.load(place / "mood.safetensors")
    status, answers, _ = told("a fine\nfilm\n\na dull film\n", "mood")
    assert status == 0
    for answer, text in zip(answers, ["a fine", "a fine film", "a dull film"], strict=True):
        assert answer["label"] == model.predict(text)
        assert answer["probability"] == model.predict_proba(text).max()


def test_a_language_model_scores_every_line(told, place: Path) -> None:
    lines = ["the tide\n", "comes in.\n"]
    status, answers, _ = told("".join(lines), "prose")
    assert status == 0
    assert sum(answer["nats"] for answer in answers) == pytest.approx(
        tg.load(place / "prose.safetensors").score("".join(lines)).nats
    )
    assert len(answers[0]["next"]) == 5


def test_foreign_flags_and_tasks_are_refused(told, place: Path, cli: Cli) -> None:
    assert "look-ahead" in told("", "mood", "--look-ahead", "2")[2]
    assert "id" in told("", "mood", "--id", "3")[2]
    assert cli("stream", place / "nothing").status == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_the_state(told, place: Path, tmp_path: Path, number: signal.Signals) -> None:
    state = tmp_path / "now.state"
    command = [sys.executable, "-m", "tidegate", "stream", str(place / "sea.safetensors"), "--state", str(state)]
    running = subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stdin is not None
    assert running.stdout is not None
    count = 3
    for value in NUMBERS[:count]:
        running.stdin.write(f"{value}\n")
        running.stdin.flush()
        assert "forecast" in json.loads(running.stdout.readline())  # answered at once, though the input goes on
    running.send_signal(number)
    assert running.wait(60) == (0 if number == signal.SIGTERM else 130)
    running.stdin.close(), running.stdout.close()
    _, rest, _ = told("".join(f"{value}\n" for value in NUMBERS[count:]), "sea", "--state", state)
    _, whole, _ = told("".join(f"{value}\n" for value in NUMBERS), "sea")
    assert rest == whole[count:]
