"""The fuzzer: a short run finds nothing, the same numbers give the same inputs, and each kind of failure would be seen."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("torch")  # the checkpoints' reader needs it
pytest.importorskip("resource")  # limits of a process, on Unix
from tests.fuzz import run as fuzz
from tests.fuzz.forge import signed
from tests.fuzz.readers import READERS, Reader, models
from tidegate.errors import FormatError
from tidegate.format import parse

COUNT = 1200


def test_a_short_run_finds_nothing() -> None:
    """100,000 in `make fuzz`."""
    fuzz.warm(READERS)
    begun: list[int] = []
    done, counts, failures = fuzz.attempt(7, range(COUNT), 300.0, READERS, begun.append)
    assert failures == []
    assert done == sum(counts.values()) == len(begun) == COUNT
    assert counts["model: FormatError"] > 200
    for reader in READERS:  # the mutations get past the checksum, and some past everything
        assert counts[f"{reader.name}: used"] > 1


def test_a_number_gives_the_same_input_again() -> None:
    bodies = [[fuzz.drawn(seed, k, READERS)[1] for k in range(20)] for seed in (1, 1, 2)]
    assert bodies[0] == bodies[1] != bodies[2]


def test_most_mutants_have_a_right_checksum() -> None:
    rng, right = Random(3), 0
    reader = next(reader for reader in READERS if reader.name == "model")
    for _ in range(200):
        body = reader.mutant(rng, reader.seeds())
        right += signed(body) == body
    assert right > 170


def test_signed_makes_an_altered_file_pass_its_checksum() -> None:
    seed = models()[0]
    altered = seed.body[:-1] + bytes([seed.body[-1] ^ 1])
    with pytest.raises(FormatError, match="SHA-256"):
        parse(altered)
    assert parse(signed(altered)).arrays.keys() == seed.arrays.keys()


def endless(_: object) -> object:
    while True:
        pass


def slow(_: object) -> object:
    while time.process_time() < slow.until:  # type: ignore[attr-defined]
        pass
    return None


def told_much(_: object) -> object:
    raise FormatError("x" * 10_000)


def panicked(_: object) -> object:
    raise BaseException("as an extension would")


READ: dict[str, tuple[Callable[[bytes], object], str]] = {
    "another error": (lambda body: {}["x"], "KeyError"),
    "no Exception": (panicked, "as an extension would"),
    "endless": (endless, "more than 0.1 s"),
    "a long message": (told_much, "a message of 10,000 letters"),
}


@pytest.mark.parametrize("case", READ)
def test_a_failure_is_seen(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "HANG_S", 0.1)
    before = signal.signal(signal.SIGVTALRM, fuzz._hung)
    read, said = READ[case]
    reader = Reader("own", models, read, lambda found, rng: None, 1)
    came, failure = fuzz.one(0, 5, [reader])
    signal.signal(signal.SIGVTALRM, before)
    assert came == "FAILED"
    assert failure is not None
    assert said in failure.what


def test_memory_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    highest = iter([0, 400 << 20])  # what other tests took before would hide a real one
    monkeypatch.setattr(fuzz, "_highest", lambda: next(highest))
    _, failure = fuzz.one(0, 5, [Reader("own", models, lambda body: body, lambda found, rng: None, 1)])
    assert failure is not None
    assert "took 400 MiB of memory" in failure.what


def test_what_takes_too_long_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "LIMIT_S", 0.05)
    slow.until = time.process_time() + 0.2  # type: ignore[attr-defined]
    _, failure = fuzz.one(0, 5, [Reader("own", models, slow, lambda found, rng: None, 1)])
    assert failure is not None
    assert "s of processor time" in failure.what


def test_a_misuse_of_what_is_sound_is_seen() -> None:
    def use(found: object, rng: Random) -> None:
        raise IndexError("out of range")

    came = [fuzz.one(0, k, [Reader("own", models, lambda body: body, use, 1)])[0] for k in range(40)]
    assert set(came) == {"own: sound", "FAILED"}


def dies(seed: int, numbers: range, seconds: float, place: fuzz.Value, queue: fuzz.Results) -> None:
    place.value = numbers.start + 3
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_crash_is_seen_with_the_input_that_was_under_way() -> None:
    done, _, (failure,) = fuzz.run(0, range(10, 20), 5.0, dies, "fork")
    assert (done, failure) == (3, fuzz.Failure(13, "the process died with -9"))


def test_the_report_keeps_the_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(fuzz, "FAILED", tmp_path / "fuzz")
    fuzz.report(3, [fuzz.Failure(17, "it broke")])
    said = capsys.readouterr().out
    assert "python -m tests.fuzz.run --seed 3 --first 17 --count 1" in said
    (kept,) = (tmp_path / "fuzz").iterdir()
    assert kept.read_bytes() == fuzz.drawn(3, 17, READERS)[1]
