"""From a checkpoint to a run that goes on. In: a file that anybody may have written. Out: its parts, checked; or a FormatError.

Whoever alters a file can compute its digest anew, so nothing of it is trusted: numbers that contradict each other would end the
run in the middle, and arrays of other shapes would reach torch's kernels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, cast, final

import numpy as np
import numpy.typing as npt

from tidegate.blocks.weights import check_weights
from tidegate.config import Plain
from tidegate.errors import FormatError, shown
from tidegate.format import File
from tidegate.spec import Shape
from tidegate.tasks.problem import Problem, TrainOptions

Weights = dict[str, npt.NDArray[np.generic]]
MOST_STEPS = 1 << 53
HEAD = {"run_id", "steps", "state", "done"}
STATE = {"rng", "cursor", "step", "clipped", "best_loss", "best_step", "stale", "stopped", "closing_from", "done"}
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@final
@dataclass(frozen=True)
class Member:
    """One trained net: `best` never saw the held-back tail (measure with it), `final` did (ship it)."""

    best: Weights
    final: Weights
    best_step: int
    best_loss: float | None
    steps: int


class Resumed(NamedTuple):
    """What a checkpoint holds: finished members, the number of steps fixed earlier, and the state of the member under way."""

    members: list[Member]
    steps: int
    header: dict[str, Plain]
    arrays: Weights

    @property
    def place(self) -> tuple[int, int]:
        """Member and step to go on from."""
        return len(self.members), cast(int, self.header["step"])


def altered(what: str) -> FormatError:
    """The error for a part that no run writes."""
    return FormatError(f"checkpoint: {what}; it was altered: remove it to start anew")


def resumed(file: File, run_id: str, members: int, problem: Problem, options: TrainOptions) -> Resumed:
    """The parts of a checkpoint of this run. Raises: FormatError where it is another run's, or no run's."""
    if file.header.get("run_id") != run_id:
        raise FormatError("checkpoint: was made with other options or other data; remove it, or give the ones it was made with")
    header = file.header
    if set(header) != HEAD:
        raise altered(f"expected {', '.join(sorted(HEAD))}, got {shown(sorted(header))}")
    steps, done, state = whole(header, "steps", 1, MOST_STEPS), header["done"], header["state"]
    if not isinstance(done, list) or len(done) >= members:
        raise altered(f"done: expected fewer than {members} nets")
    if not isinstance(state, dict) or set(state) != STATE:
        raise altered("its state is not one")
    _check_names(file, len(done), problem)
    finished = [_member(file, number, said, problem) for number, said in enumerate(done)]
    arrays = part(file.arrays, "state.")
    _check_numbers(state, arrays, options, steps)
    _check_arrays(arrays, problem, options)
    return Resumed(finished, steps, state, arrays)


def part(arrays: Mapping[str, npt.NDArray[np.generic]], prefix: str) -> Weights:
    """Copies of those whose names begin so, without it."""
    return {name[len(prefix) :]: array.copy() for name, array in arrays.items() if name.startswith(prefix)}


def whole(table: Mapping[str, Plain], name: str, low: int, high: int) -> int:
    """A whole number of a table. Raises: FormatError."""
    value = table.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise altered(f"{name}: expected {low:,} to {high:,}, got {shown(value)}")
    return value


def _loss(table: Mapping[str, Plain]) -> float | None:
    value = table.get("best_loss")
    if value is not None and (not isinstance(value, float) or not math.isfinite(value)):
        raise altered(f"best_loss: expected a number or nothing, got {shown(value)}")
    return value


def _check_names(file: File, done: int, problem: Problem) -> None:
    """Every array is one that a run writes."""
    weights = set(problem.spec.parameters())
    known = {f"state.{kind}.{n}" for kind in ("weights", "average", "best", "final") for n in weights} | {"state.dropout_rng"}
    known |= {f"state.optimiser.{moment}.{n}" for moment in MOMENTS for n in weights}
    known |= {f"state.carried.{n}" for n in problem.carried}
    known |= {f"done{k}.{kind}.{n}" for k in range(done) for kind in ("best", "final") for n in weights}
    odd = sorted(set(file.arrays) - known)
    if odd:
        raise altered(f"array {shown(odd[0])}: a run has no such part")


def _member(file: File, number: int, said: Plain, problem: Problem) -> Member:
    if not isinstance(said, dict) or set(said) != {"best_step", "best_loss", "steps"}:
        raise altered(f"done: expected what is known of net {number}, got {shown(said)}")
    found = [part(file.arrays, f"done{number}.{kind}.") for kind in ("best", "final")]
    for own in found:
        check_weights(problem.spec, cast("Mapping[str, npt.NDArray[np.floating]]", own))
    best_step, steps = (whole(said, name, 0, MOST_STEPS) for name in ("best_step", "steps"))
    return Member(found[0], found[1], best_step, _loss(said), steps)


def _check_numbers(state: Mapping[str, Plain], arrays: Weights, options: TrainOptions, steps: int) -> None:
    """The numbers of a state agree with each other, and with the parts that it has."""
    step = whole(state, "step", 0, steps)
    for name in ("clipped", "best_step", "stale"):
        whole(state, name, 0, step)
    for name in ("stopped", "done"):
        if not isinstance(state[name], bool):
            raise altered(f"{name}: expected true or false, got {shown(state[name])}")
    _loss(state)
    open_steps = replace(options, steps=steps).open_steps
    closing = state["closing_from"] is not None
    end = whole(state, "closing_from", 0, step) + steps - open_steps if closing else steps
    if (not closing and (step >= open_steps or state["stopped"])) or state["done"] != (closing and step >= end):
        raise altered(f"step {step:,} of {steps:,} is not where its phase says")
    has = {name.split(".")[0] for name in arrays}
    if (closing and "best" not in has) or state["done"] != ("final" in has):
        raise altered("its best or its final weights are missing, or come too early")


def _check_arrays(arrays: Weights, problem: Problem, options: TrainOptions) -> None:
    """Every array has the shape and the type that the net gives it."""
    shapes = problem.spec.parameters()
    for kind, needed in (("weights", True), ("average", options.averaging > 0), ("best", False), ("final", False)):
        own = part(arrays, f"{kind}.")
        if own or needed:
            check_weights(problem.spec, cast("Mapping[str, npt.NDArray[np.floating]]", own))
    if "average" in {name.split(".")[0] for name in arrays} and not options.averaging:
        raise altered("average: this run takes none")
    draws = arrays.get("dropout_rng")
    if draws is None or draws.dtype != np.uint8 or draws.ndim != 1:
        raise altered("dropout_rng: expected a row of bytes")
    for name, shape in shapes.items():
        _check_moments(name, shape, [arrays.get(f"optimiser.{moment}.{name}") for moment in MOMENTS])
    _check_carried(part(arrays, "carried."), problem)


def _check_moments(name: str, shape: Shape, found: list[npt.NDArray[np.generic] | None]) -> None:
    """What the optimiser knows of a weight: all of it or nothing; torch's kernels read as far as the weight is long."""
    there = [array for array in found if array is not None]
    wanted = ((), shape, shape)
    if there and (
        len(there) < len(found) or any(a.dtype != np.float32 or a.shape != s for a, s in zip(there, wanted, strict=True))
    ):
        raise altered(f"optimiser: its moments of {name!r} are not of the weight's shape")
    if there and any(bool((np.asarray(there[k], np.float32) < 0).any()) for k in (0, 2)):
        raise altered(f"optimiser: its moments of {name!r} are negative")


def _check_carried(carried: Weights, problem: Problem) -> None:
    """The state of truncated BPTT: every part of it, for one number of rows."""
    if not carried:
        return
    if set(carried) != set(problem.carried) or len({a.shape[1:2] for a in carried.values()}) > 1:
        raise altered("carried: its parts are not those of the net")
    for name, (layers, size) in ((n, s) for n, s in problem.spec.state().items() if n in carried):
        array = carried[name]
        if array.dtype != np.float32 or array.ndim != 3 or (array.shape[0], array.shape[2]) != (layers, size):
            raise altered(f"carried: {name!r} is not of the net's shape")
