"""A forecaster's net as C statements: its past read segment by segment, then its horizon. In: a spec, sizes. Out: Sections.

What reads the past is one step of a loop over segments of history (or the one segment of a push), what reads the horizon one step
of a loop over those of the future, and what knows of neither stands between. The blocks are those of blocks.py; here stand
the few that look inside a segment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate.errors import TaskError
from tidegate.export.c.blocks import placed, refusal
from tidegate.export.c.steps import Place, Steps
from tidegate.runtime.predictor import Predictor
from tidegate.spec import Block, Embed, Fold, Last, Mix, Position, Take, Unfold
from tidegate.tasks.forecast_net import Plan
from tidegate.tasks.forecast_windows import CLIP

PAST, FUTURE = ("past", "past_calendar"), ("future", "future_calendar")


@final
@dataclass(frozen=True)
class Sections:
    """Three parts of one net, which share their tables: `read` a segment of the past, `join`, `ahead` a segment of the horizon.

    raw, base: where a segment's answers stand, rows of steps. most: values of the answer stay below it.
    """

    read: Steps
    join: Steps
    ahead: Steps
    raw: Place
    base: Place
    most: float

    @property
    def each(self) -> tuple[Steps, Steps, Steps]:
        """In the order in which they run."""
        return self.read, self.join, self.ahead


def sections(name: str, net: Predictor, plan: Plan, codes: npt.NDArray[np.int64]) -> Sections:
    """Every block of a forecaster's net.

    Args:  codes: (K,) of the targets' learnt vectors. Raises: TaskError that names the block which cannot be stepped.
    """
    read = Steps(name, net)
    join, ahead = (Steps(name, net, arrays=read.arrays, places=read.places) for _ in range(2))
    read.places |= _ports(plan)
    parts = {"read": read, "join": join, "ahead": ahead}
    late = dict.fromkeys(PAST, "read") | dict.fromkeys(FUTURE, "ahead")  # what a block waits for; of the others: nothing
    for block in net.spec.blocks:
        own = _section(block, late)
        sources = [read.places[source] for source in block.inputs if source != "line"]
        read.places[block.name] = _placed(parts[own], block, sources, codes)
        late[block.name] = "join" if isinstance(block, Last) else own
    made = Sections(read, join, ahead, read.places["raw"], read.places["base"], 0.0)
    largest = sum(place.still + place.moving * CLIP for place in (made.raw, made.base))
    if any(part.guarded or part.most < CLIP for part in made.each) or not largest < CLIP**4:
        raise TaskError("the net's weights are so large that float32 could overflow; train with a smaller learning rate")
    return Sections(*made.each, made.raw, made.base, largest)


def _ports(plan: Plan) -> dict[str, Place]:
    """x: the channels of a segment of the past, then its calendar; y: those of a segment of the horizon; level: of the line."""
    size, past, future = plan.segment, plan.past_channels, plan.future_channels
    return {
        "past": Place("x", past, 1.0, 1.0, rows=size, apart=past),
        "past_calendar": Place(f"x + {size * past}", plan.calendar, 1.0, 0.0),
        "future": Place("y", future, 1.0, 1.0, rows=size, apart=future),
        "future_calendar": Place(f"y + {size * future}", plan.calendar, 1.0, 0.0),
        "static": Place("level", plan.static_channels, 150.0, 0.0),  # arsinh of the largest double is 710, and a fifth of it told
    }


def _section(block: Block, late: dict[str, str]) -> str:
    """The last section that a block needs anything of."""
    of = {late.get(source, "join") for source in block.inputs}
    if {"read", "ahead"} <= of:
        raise TaskError(f"block {block.name!r} reads past and horizon at once; train a forecaster with decode='direct'")
    return next((name for name in ("ahead", "read") if name in of), "join")


def _placed(steps: Steps, block: Block, sources: list[Place], codes: npt.NDArray[np.int64]) -> Place:
    if isinstance(block, Embed):
        rows = steps.weight(block, "weight")[codes]
        at = steps.array(f"{block.name}_w", rows)
        return Place(f"({at} + k * {block.embedding_dim})", block.embedding_dim, float(np.abs(rows).max(initial=0.0)), 0.0)
    if type(block) in _INSIDE:
        return _INSIDE[type(block)](steps, block, sources)
    reason = refusal(block) or ("looks inside a segment" if any(place.rows != 1 for place in sources) else None)
    if reason:
        raise TaskError(f"block {block.name!r} {reason}")
    return placed(steps, block, sources)


def _fold(steps: Steps, block: Fold, sources: list[Place]) -> Place:
    """A segment's rows stand one behind the other."""
    (source,) = sources
    if source.rows != block.size or source.apart != source.size:
        raise TaskError(f"block {block.name!r}: expected {source.rows} steps a segment, got {block.size}")
    return source._replace(size=source.rows * source.size, rows=1, apart=0)


def _unfold(steps: Steps, block: Unfold, sources: list[Place]) -> Place:
    size = sources[0].size // block.size
    return sources[0]._replace(size=size, rows=block.size, apart=size)


def _take(steps: Steps, block: Take, sources: list[Place]) -> Place:
    at = f"{sources[0].at} + {block.start}" if block.start else sources[0].at
    return sources[0]._replace(at=at, size=block.size)


def _position(steps: Steps, block: Position, sources: list[Place]) -> Place:
    """j: the number of the segment."""
    (source,) = sources
    table = steps.weight(block, "weight")
    at, to = steps.array(f"{block.name}_w", table), steps.buffer(block.name, block.size)
    steps.say(f"tg_copy({to}, {source.at}, {block.size});", f"tg_add({to}, {at} + j * {block.size}, {block.size});")
    steps.say(f"tg_zero({to} + {block.size}, TG_PADDED({block.size}) - {block.size});")
    return Place(to, block.size, source.still + float(np.abs(table).max(initial=0.0)), source.moving)


def _mix(steps: Steps, block: Mix, sources: list[Place]) -> Place:
    scores, candidates = sources
    to = steps.buffer(block.name, scores.rows)
    steps.say(f"tg_mix({to}, {scores.at}, {candidates.at}, {scores.rows}, {scores.size}, {candidates.apart});")
    return Place(to, 1, candidates.still, candidates.moving, rows=scores.rows, apart=1)


_INSIDE: dict[type[Block], Callable[..., Place]] = {  # each takes the block of its own key
    Fold: _fold,
    Mix: _mix,
    Position: _position,
    Take: _take,
    Unfold: _unfold,
}
