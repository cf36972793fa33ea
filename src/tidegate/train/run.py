"""From a problem to trained weights: budget, ensemble, checkpoints, progress, Ctrl-C. In: a problem, options. Out: FitResult."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.files import PathLike
from tidegate.progress import Progress
from tidegate.tasks.problem import GivenRows, Problem, TrainOptions
from tidegate.train.checkpoint import Checkpoints
from tidegate.train.history import START, History
from tidegate.train.loop import Record, rehearse, train
from tidegate.train.resume import Member, Resumed, Weights
from tidegate.train.resume import resumed as read_resumed
from tidegate.train.state import TrainState, new_state, state_from_plain, state_to_plain

log = logging.getLogger("tidegate")
OnEvent = Callable[[Mapping[str, object]], None]
WARM_STEPS, TIMED_STEPS, LEAST_STEPS = 3, 8, 20
MEMBER_STRIDE = 10**9  # checkpoints of a later member have higher numbers than all of an earlier one
SEED_STRIDE = 1000  # seeds of members lie apart


@final
@dataclass(frozen=True)
class FitResult:
    """What training gives."""

    members: tuple[Member, ...]
    steps: int  # of each member, as planned
    interrupted: bool


@final
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is driven from outside; none of it changes the result.

    budget: seconds that fix the number of steps once, after a timed warm-up. checkpoint: stem of the checkpoint files. run_id:
    what a checkpoint must have been made with to be continued. history: a JSON-lines file of records. shown: a bar, or not, or
    (None) where somebody looks.
    """

    members: int = 1
    budget: float | None = None
    checkpoint: PathLike | None = None
    checkpoint_every: int = 100
    resume: bool = False
    run_id: str = ""
    history: PathLike | None = None
    shown: bool | None = None
    on_event: OnEvent | None = None


def fit_members(
    problem: Problem, options: TrainOptions, run: RunOptions, start: Weights | None = None, given: GivenRows | None = None
) -> FitResult:
    """Train every member; Ctrl-C keeps the best so far and ends.

    Args:  start: weights to go on from (warm start) instead of initial values. given: rows of one weight that start so.
    Raises: FormatError where a checkpoint belongs to another run; OutputError where one cannot be written; KeyboardInterrupt
        where Ctrl-C comes before the first check of the first member.
    """
    kept = None if run.checkpoint is None else Checkpoints(run.checkpoint)
    resumed = None if kept is None else _earlier(kept, run, problem, options)
    if resumed is not None:
        options = replace(options, steps=resumed.steps)
    elif run.budget is not None:
        options = replace(options, steps=steps_for(problem, options, run.budget / run.members))
    log.info("training: %d steps x %d", options.steps, run.members)
    members = [] if resumed is None else resumed.members
    place = START if resumed is None else resumed.place
    total, done = options.steps * run.members, 0 if resumed is None else place[0] * options.steps + place[1]
    with History(run.history, place) as history, Progress(total, "training", shown=run.shown, done=done) as bar:
        driver = _Driver(problem, options, run, kept, history, bar, members)
        interrupted = driver.drive(start, given, resumed)
    return FitResult(tuple(members), options.steps, interrupted)


def steps_for(problem: Problem, options: TrainOptions, seconds: float) -> int:
    """How many steps fit in `seconds`, checks included, from a few timed ones on a state that is thrown away."""
    trial = replace(options, steps=WARM_STEPS + TIMED_STEPS, closing=0.0, check_every=10**9)
    state = new_state(problem, trial)
    began = time.perf_counter()
    marks = [time.perf_counter() for _ in train(problem, trial, state)]
    each = (marks[-2] - marks[WARM_STEPS - 1]) / (TIMED_STEPS - 1)
    check = max(0.0, marks[-1] - marks[-2] - each)  # the last step is followed by a check
    left = seconds - (time.perf_counter() - began)
    return max(LEAST_STEPS, int(left / (each + check / options.check_every)))


@final
@dataclass(frozen=True)
class _Driver:
    """The members of one run, one after the other; finished ones gather in `members`."""

    problem: Problem
    options: TrainOptions
    run: RunOptions
    kept: Checkpoints | None
    history: History
    bar: Progress
    members: list[Member]

    def drive(self, start: Weights | None, given: GivenRows | None, resumed: Resumed | None) -> bool:
        """Train what is left; True where Ctrl-C ended it."""
        for index in range(len(self.members), self.run.members):
            mine = replace(self.options, seed=self.options.seed + SEED_STRIDE * index)
            state = new_state(self.problem, mine)
            if start is not None or given is not None:
                _start(state, start, given)
            if resumed is not None:
                state_from_plain(state, resumed.header, resumed.arrays)
                rehearse(self.problem, mine, state)
                resumed = None
            if not self._member(mine, state, index):
                self._keep_best(mine, state)
                return True
            self.members.append(_finished(state))
        return False

    def _keep_best(self, options: TrainOptions, state: TrainState) -> None:
        """After Ctrl-C: the best so far, where there is one and no whole member that it would only weaken.

        Raises: KeyboardInterrupt where nothing was trained to a check: weights that nobody looked at are no model.
        """
        place = f"at step {state.step} of {options.steps}"
        if self.members:
            log.warning("interrupted %s: the %d finished nets are kept", place, len(self.members))
        elif state.best is None:
            raise KeyboardInterrupt(f"{place}, before the first look at the held-back data: nothing is kept")
        else:
            log.warning("interrupted %s: the best model so far is kept", place)
            self.members.append(_finished(state))

    def _member(self, options: TrainOptions, state: TrainState, index: int) -> bool:
        """Train one member to its end; False where Ctrl-C ended it."""
        began = time.perf_counter()
        try:
            for record in train(self.problem, options, state):
                event: dict[str, object] = {"member": index, **record, "seconds": round(time.perf_counter() - began, 3)}
                self.history.write(event)
                self.bar.step(_line(record, state))
                if self.kept is not None and (state.step % self.run.checkpoint_every == 0 or state.done):
                    _write_checkpoint(self.kept, state, options, self.run, self.members)
                if self.run.on_event is not None:
                    self.run.on_event(event)
        except KeyboardInterrupt:
            return False
        return True


def _start(state: TrainState, start: Weights | None, given: GivenRows | None) -> None:
    """Put weights in place of the drawn ones, and into their average."""
    weights = state.network.arrays() if start is None else cast("dict[str, npt.NDArray[np.float32]]", dict(start))
    if given is not None:
        weights[given.weight] = weights[given.weight].copy()
        weights[given.weight][given.rows] = given.values
    state.network.load(weights)
    state.average = {name: state.network.weights()[name].detach().clone() for name in state.average}


def _line(record: Record, state: TrainState) -> str:
    best = "" if state.best_loss is None else f", held back {state.best_loss:.4f}"
    return f"loss {record['loss']:.4f}{best}"


def _finished(state: TrainState) -> Member:
    assert state.best is not None, "the last step is followed by a check"
    return Member(
        state.best, state.final if state.final is not None else state.best, state.best_step, state.best_loss, state.step
    )


def _write_checkpoint(
    kept: Checkpoints, state: TrainState, options: TrainOptions, run: RunOptions, members: list[Member]
) -> None:
    header, arrays = state_to_plain(state)
    done: list[Plain] = [{"best_step": m.best_step, "best_loss": m.best_loss, "steps": m.steps} for m in members]
    arrays = {f"state.{name}": array for name, array in arrays.items()}
    for number, member in enumerate(members):
        arrays.update({f"done{number}.best.{n}": a for n, a in member.best.items()})
        arrays.update({f"done{number}.final.{n}": a for n, a in member.final.items()})
    head: dict[str, Plain] = {"run_id": run.run_id, "steps": options.steps, "state": header, "done": done}
    kept.write(len(members) * MEMBER_STRIDE + state.step, head, arrays)


def _earlier(kept: Checkpoints, run: RunOptions, problem: Problem, options: TrainOptions) -> Resumed | None:
    """The checkpoint to go on from; None for a new run, whose own checkpoints take the place of older ones."""
    file = kept.newest() if run.resume else None
    if file is not None:
        return read_resumed(file, run.run_id, run.members, problem, options)
    if run.resume:
        log.warning("no checkpoint to go on from: training starts anew")
    elif kept.paths():
        log.warning("the checkpoints of an earlier run are removed (resume goes on from them): training starts anew")
    kept.remove()
    return None
