"""What is read of a checkpoint: its place and its parts; and the rehearsal of the next batch, which leaves the state as it is.

The checkpoints that lie stand in tests/fuzz/museum_models.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.fuzz import checkpoints
from tests.fuzz.seeds import CORPUS
from tidegate import format as container
from tidegate.train.loop import rehearse
from tidegate.train.resume import resumed
from tidegate.train.state import state_to_plain


@pytest.mark.parametrize("name", checkpoints.RUNS)
def test_a_sound_checkpoint_says_where_it_stands(name: str) -> None:
    file = container.read(CORPUS / f"checkpoint-{name}.safetensors", "checkpoint")
    found = resumed(file, name, checkpoints.MEMBERS, checkpoints.problem(name), checkpoints.OPTIONS)
    assert found.place == checkpoints.STOPS[name]
    assert found.steps == checkpoints.OPTIONS.steps
    assert len(found.members) == checkpoints.STOPS[name][0]
    for member in found.members:
        assert member.best.keys() == member.final.keys() == checkpoints.problem(name).spec.parameters().keys()


@pytest.mark.parametrize("name", checkpoints.RUNS)
def test_a_rehearsal_leaves_the_state_as_it_is(name: str) -> None:
    read = checkpoints.read((CORPUS / f"checkpoint-{name}.safetensors").read_bytes())
    before_header, before = state_to_plain(read.state)
    rehearse(read.problem, read.options, read.state)
    header, arrays = state_to_plain(read.state)
    assert header == before_header
    assert all(np.array_equal(arrays[n], before[n]) for n in before)
    assert arrays.keys() == before.keys()


def test_a_run_that_is_done_has_no_next_batch() -> None:
    read = checkpoints.read((CORPUS / "checkpoint-carried.safetensors").read_bytes())
    read.state.cursor, read.state.done = "no place", True
    rehearse(read.problem, read.options, read.state)
