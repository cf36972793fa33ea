"""From a problem to trained weights: budget, members of an ensemble, checkpoints, progress, Ctrl-C. In: options. Out: FitResult."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.errors import FormatError
from tidegate.files import PathLike, output_error
from tidegate.progress import Progress
from tidegate.tasks.problem import Problem, TrainOptions
from tidegate.train.checkpoint import Checkpoints
from tidegate.train.loop import Record, train
from tidegate.train.state import TrainState, new_state, state_from_plain, state_to_plain

log = logging.getLogger("tidegate")
Weights = dict[str, npt.NDArray[np.generic]]
OnEvent = Callable[[Mapping[str, object]], None]
WARM_STEPS, TIMED_STEPS = 3, 8


@final
@dataclass(frozen=True)
class Member:
    """One trained net: `best` never saw the held-back tail (measure with it), `final` did (ship it)."""

    best: Weights
    final: Weights
    best_step: int
    best_loss: float | None
    steps: int


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

    budget: seconds that fix the number of steps once, after a timed warm-up. checkpoint: stem of the checkpoint files. run_id: what a
    checkpoint must have been made with to be continued. history: a JSON-lines file of records. shown: a bar, or not, or where it is seen.
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


def fit_members(problem: Problem, options: TrainOptions, run: RunOptions, start: Weights | None = None) -> FitResult:
    """Train every member; Ctrl-C keeps the best so far of the one under way and ends.

    Args:  start: weights to go on from (warm start) instead of initial values.
    Raises: FormatError where a checkpoint belongs to another run; OutputError where one cannot be written.
    """
    kept = Checkpoints(run.checkpoint) if run.checkpoint is not None else None
    loaded = kept.newest() if kept is not None and run.resume else None
    if kept is not None and loaded is None:
        kept.remove()
    members, options, file = _resumed(loaded, options, run)
    if file is None and run.budget is not None:
        options = replace(options, steps=steps_for(problem, options, run.budget / run.members))
    log.info("training: %d steps x %d", options.steps, run.members)
    interrupted = False
    with _History(run.history, run.resume) as history, Progress(options.steps * run.members, "training", shown=run.shown) as bar:
        for index in range(len(members), run.members):
            mine = replace(options, seed=options.seed + 1000 * index)
            state = new_state(problem, mine)
            if start is not None:
                state.network.load(cast("dict[str, npt.NDArray[np.floating]]", start))
            if file is not None:
                state_from_plain(state, file[0], file[1])
                file = None
            interrupted = _drive(problem, mine, state, run, index, members, kept, history, bar)
            members.append(_member(state))
            if interrupted:
                break
    return FitResult(tuple(members), options.steps, interrupted)


def steps_for(problem: Problem, options: TrainOptions, seconds: float) -> int:
    """How many steps fit in `seconds`, from a few timed ones on a state that is thrown away; the checks of the held-back tail count."""
    trial = replace(options, steps=WARM_STEPS + TIMED_STEPS, closing=0.0, check_every=10**9)
    state = new_state(problem, trial)
    began = time.perf_counter()
    marks = [time.perf_counter() for _ in train(problem, trial, state)]
    each = (marks[-2] - marks[WARM_STEPS - 1]) / (TIMED_STEPS - 1)
    check = max(0.0, marks[-1] - marks[-2] - each)  # the last step is followed by a check
    left = seconds - (time.perf_counter() - began)
    return max(20, int(left / (each + check / options.check_every)))


def _drive(
    problem: Problem,
    options: TrainOptions,
    state: TrainState,
    run: RunOptions,
    index: int,
    members: list[Member],
    kept: Checkpoints | None,
    history: _History,
    bar: Progress,
) -> bool:
    """Run one member to its end; True where Ctrl-C ended it."""
    began = time.perf_counter()
    try:
        for record in train(problem, options, state):
            event: dict[str, object] = {"member": index, **record, "seconds": round(time.perf_counter() - began, 3)}
            history.write(event)
            if run.on_event is not None:
                run.on_event(event)
            bar.step(_line(record, state))
            if kept is not None and (state.step % run.checkpoint_every == 0 or state.done):
                _write_checkpoint(kept, state, options, run, index, members)
    except KeyboardInterrupt:
        log.warning("interrupted at step %d: the best model so far is kept", state.step)
        return True
    return False


def _line(record: Record, state: TrainState) -> str:
    best = "" if state.best_loss is None else f" held back {state.best_loss:.4f}"
    return f"loss {record['loss']:.4f}{best}"


def _member(state: TrainState) -> Member:
    current = cast(Weights, dict(state.network.arrays()))
    best = state.best if state.best is not None else current
    return Member(best, state.final if state.final is not None else best, state.best_step, state.best_loss, state.step)


def _write_checkpoint(kept: Checkpoints, state: TrainState, options: TrainOptions, run: RunOptions, index: int, members: list[Member]) -> None:
    header, arrays = state_to_plain(state)
    done: list[Plain] = [{"best_step": m.best_step, "best_loss": m.best_loss, "steps": m.steps} for m in members]
    arrays = {f"state.{name}": array for name, array in arrays.items()}
    for number, member in enumerate(members):
        arrays.update({f"done{number}.best.{n}": a for n, a in member.best.items()})
        arrays.update({f"done{number}.final.{n}": a for n, a in member.final.items()})
    head: dict[str, Plain] = {"run_id": run.run_id, "steps": options.steps, "state": header, "done": done}
    kept.write(index * 10**7 + state.step, head, arrays)


def _resumed(
    file: object, options: TrainOptions, run: RunOptions
) -> tuple[list[Member], TrainOptions, tuple[dict[str, Plain], Weights] | None]:
    """Finished members, the steps fixed earlier, and the state under way."""
    from tidegate.format import File

    if not isinstance(file, File):
        return [], options, None
    if file.header.get("run_id") != run.run_id:
        raise FormatError("checkpoint: was made with other options or other data; remove it, or give the ones it was made with")
    done = cast("list[dict[str, Plain]]", file.header["done"])
    members = [
        Member(_part(file.arrays, f"done{i}.best."), _part(file.arrays, f"done{i}.final."), cast(int, d["best_step"]), cast("float | None", d["best_loss"]), cast(int, d["steps"]))
        for i, d in enumerate(done)
    ]
    state = cast("dict[str, Plain]", file.header["state"])
    return members, replace(options, steps=cast(int, file.header["steps"])), (state, _part(file.arrays, "state."))


def _part(arrays: Mapping[str, npt.NDArray[np.generic]], prefix: str) -> Weights:
    return {name[len(prefix) :]: array.copy() for name, array in arrays.items() if name.startswith(prefix)}


@final
class _History:
    """Records as JSON lines, appended as they come; after a resume the file goes on."""

    def __init__(self, path: PathLike | None, resume: bool) -> None:
        self._path = None if path is None else Path(path)
        try:
            self._stream = None if self._path is None else self._path.open("a" if resume else "w", encoding="utf-8")
        except OSError as error:
            raise output_error(cast(Path, self._path), error) from error

    def __enter__(self) -> _History:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def write(self, record: Mapping[str, object]) -> None:
        """One line."""
        if self._stream is not None:
            self._stream.write(json.dumps(record) + "\n")
            self._stream.flush()
