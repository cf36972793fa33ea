"""Checkpoints as something to fuzz: two small runs, what they wrote, and what reads it. Needs torch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cache
from random import Random

import numpy as np

from tidegate import format as container
from tidegate.data.panel import build_panel
from tidegate.data.table import read_table
from tidegate.errors import FormatError
from tidegate.tasks.forecast import ForecastOptions, ForecastProblem, make_plan
from tidegate.tasks.problem import TrainOptions
from tidegate.train.loop import rehearse, train
from tidegate.train.resume import resumed
from tidegate.train.run import RunOptions, fit_members
from tidegate.train.state import TrainState, new_state, state_from_plain

RUNS: dict[str, dict[str, object]] = {"plain": {}, "carried": {"scaling": "running", "truncate": 2}}
MEMBERS = 2
STOPS = {"plain": (1, 9), "carried": (0, 5)}  # member and step of the checkpoint that is kept
OPTIONS = TrainOptions(steps=12, check_every=4, averaging=0.9)
SMALL: dict[str, object] = {"horizon": 3, "season": 4, "lookback": 8, "hidden_size": 2, "batch_size": 4, "segment": 4}


class _Stopped(BaseException):
    """Ends a run as a kill would."""


@dataclass
class Resuming:
    """A run that was read from a file."""

    problem: ForecastProblem
    options: TrainOptions
    state: TrainState


@cache
def problem(name: str) -> ForecastProblem:
    """What the run of that name trains."""
    t = np.arange(40)
    panel = build_panel(read_table([np.sin(t / 3), 5 + 2 * np.cos(t / 4)]), target=["y"], time="time", id="id")
    options = ForecastOptions(**{**SMALL, **RUNS[name]})  # type: ignore[arg-type]  # options by name
    return ForecastProblem(options, make_plan(options, panel), panel)


def written(name: str, folder: str) -> bytes:
    """The checkpoint of the run of that name, some way into it."""

    def stop(event: object) -> None:
        if isinstance(event, dict) and (event["member"], event["step"]) == STOPS[name]:
            raise _Stopped

    run = RunOptions(members=MEMBERS, checkpoint=f"{folder}/{name}", checkpoint_every=1, run_id=name, on_event=stop, shown=False)
    try:
        fit_members(problem(name), OPTIONS, run)
    except _Stopped:
        member, step = STOPS[name]
        with open(f"{folder}/{name}.checkpoint-{member * 10**9 + step}", "rb") as stream:
            return stream.read()
    raise AssertionError("the run was not stopped")


def read(body: bytes) -> Resuming:
    """The run of a checkpoint, as a resume reads it; which run is taken from the file. Raises: FormatError."""
    file = container.parse(body, "checkpoint")
    if file.content != "checkpoint":
        raise FormatError("not a checkpoint")
    name = "carried" if file.header.get("run_id") == "carried" else "plain"
    own = problem(name)
    found = resumed(file, name, MEMBERS, own, OPTIONS)
    options = replace(OPTIONS, steps=found.steps)
    state = new_state(own, options)
    state_from_plain(state, found.header, found.arrays)
    rehearse(own, options, state)
    return Resuming(own, options, state)


def use(found: object, rng: Random) -> None:
    """Go on for some steps."""
    assert isinstance(found, Resuming)
    for record in itertools.islice(train(found.problem, found.options, found.state), rng.randint(1, 4)):
        assert record["step"] == found.state.step
