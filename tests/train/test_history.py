"""The history file: JSON lines, whole after kills and resumes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidegate.errors import OutputError
from tidegate.train.history import History


def record(member: int, step: int) -> dict[str, object]:
    return {"member": member, "step": step, "loss": 0.5}


def steps_in(path: Path) -> list[tuple[int, int]]:
    return [(r["member"], r["step"]) for r in map(json.loads, path.read_text().splitlines())]


def test_records_are_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    with History(path) as history:
        history.write(record(0, 1))
        assert steps_in(path) == [(0, 1)]


def test_a_resume_takes_away_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    with History(path) as history:
        for place in [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)]:
            history.write(record(*place))
    path.write_text(path.read_text() + '{"member": 1, "st')  # killed in the middle of a line
    with History(path, (1, 1)) as history:
        history.write(record(1, 2))
    assert steps_in(path) == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_a_new_run_begins_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text('{"member": 0, "step": 1}\n')
    with History(path) as history:
        history.write(record(0, 1))
    assert steps_in(path) == [(0, 1)]


def test_no_path_writes_nothing() -> None:
    with History(None) as history:
        history.write(record(0, 1))


def test_a_file_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the folder does not exist"):
        History(tmp_path / "no" / "h.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_output_error() -> None:
    with pytest.raises(OutputError, match="the disk is full"), History("/dev/full") as history:
        history.write(record(0, 1))
