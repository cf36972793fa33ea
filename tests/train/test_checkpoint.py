"""Checkpoint files: the last two kept, the newest sound one read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tidegate.errors import FormatError, OutputError
from tidegate.train.checkpoint import Checkpoints


def write(kept: Checkpoints, number: int) -> Path:
    return kept.write(number, {"number": number}, {"w": np.full(3, number, np.float32)})


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "model.safetensors")
    for number in (9, 10, 100):
        write(kept, number)
    assert [p.name for p in kept.paths()] == ["model.safetensors.checkpoint-10", "model.safetensors.checkpoint-100"]
    file = kept.newest()
    assert file is not None
    assert file.header["number"] == 100


def test_others_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("model.checkpoint-x", "model2.checkpoint-1", "model.checkpoint-1.bak", "model"):
        (tmp_path / name).write_text("mine")
    kept = Checkpoints(tmp_path / "model")
    for number in (1, 2, 3):
        write(kept, number)
    kept.remove()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "model",
        "model.checkpoint-1.bak",
        "model.checkpoint-x",
        "model2.checkpoint-1",
    ]


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty"])
def test_a_broken_newest_gives_way_to_the_older(tmp_path: Path, harm: str) -> None:
    kept = Checkpoints(tmp_path / "m")
    write(kept, 1)
    spoil(write(kept, 2), harm)
    file = kept.newest()
    assert file is not None
    assert file.header["number"] == 1
    spoil(kept.paths()[0], harm)
    with pytest.raises(FormatError, match=r"no checkpoint can be read; remove them to start anew"):
        kept.newest()


def spoil(path: Path, harm: str) -> None:
    body = bytearray(path.read_bytes())
    if harm == "flipped":
        body[-1] ^= 1
    path.write_bytes(b"" if harm == "empty" else bytes(body[:-1]) if harm == "cut" else bytes(body))


def test_none_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "m").newest() is None
    assert Checkpoints(tmp_path / "no" / "m").newest() is None


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the folder does not exist"):
        write(Checkpoints(tmp_path / "no" / "m"), 1)
