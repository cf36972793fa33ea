"""The newest window of one series, written into arrays that stay. In: its last rows, a scale, the clock. Out: a net's inputs.

What `FrontEnd.windows` gives for a cutoff at the end of the series (tests hold the two together), without making a window anew:
which row goes where is worked out once, and the calendar some hundred steps ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tidegate.data.lines import Floats, Ints, Scale
from tidegate.data.times import Clock
from tidegate.errors import DataError
from tidegate.tasks.forecast_net import Plan
from tidegate.tasks.forecast_windows import candidate_places, level_channels, standardised

Array = npt.NDArray[Any]
AHEAD = 256  # positions of the clock that are worked out at once
SPARE = 64  # rows that a ring takes, at least, before it moves those that it keeps


@final
class Ring:
    """The last `keep` columns of (lines, ...) values, NaN before the first; any number of them side by side without a copy."""

    def __init__(self, lines: int, keep: int) -> None:
        self.keep = keep
        self._values = np.full((lines, keep + max(SPARE, keep // 4)), np.nan)
        self._end = keep

    def push(self, column: Floats) -> None:
        """One value a line, (lines,)."""
        if self._end == self._values.shape[1]:
            self._values[:, : self.keep] = self._values[:, self._end - self.keep :].copy()
            self._end = self.keep
        self._values[:, self._end] = column
        self._end += 1

    def fill(self, values: Floats) -> None:
        """Begin anew with (lines, n) values, of which the last are kept."""
        self._values[:] = np.nan
        self._end = self.keep
        kept = values[:, max(values.shape[1] - self.keep, 0) :]
        self._values[:, self.keep - kept.shape[1] : self.keep] = kept

    def last(self, count: int) -> Floats:
        """(lines, count <= keep) the newest values, a view until the next push."""
        return self._values[:, self._end - count : self._end]

    def copy(self) -> Ring:
        """An independent ring of the same values."""
        made = Ring.__new__(Ring)
        made.keep, made._values, made._end = self.keep, self._values.copy(), self._end
        return made


@final
class Ahead:
    """What a clock says of its positions, worked out for many at a time."""

    def __init__(self, of: Callable[[Ints], Array]) -> None:
        self._of, self._first, self._known = of, 0, of(np.zeros(0, np.int64))

    def at(self, first: int, count: int, every: int = 1) -> Array:
        """(count, ...) of the positions first, first + every, ...; a view."""
        span, start = (count - 1) * every + 1, first - self._first
        if start < 0 or start + span > len(self._known):
            self._first, start = first, 0
            try:
                self._known = self._of(np.arange(first, first + span + AHEAD))
            except DataError:  # the clock ends on the way
                self._known = self._of(np.arange(first, first + span))
        return self._known[start : start + span : every]


@final
class Feed:
    """Fills the ports of a direct net in; see the module.

    Args:  plan: without covariates. codes: (lines,) learnt vector of each line. inputs: the ports' arrays, (lines, ...); how many
        steps are read follows from `past`.
    """

    def __init__(self, plan: Plan, clock: Clock, codes: Ints, inputs: Mapping[str, Array]) -> None:
        self._plan, self._inputs = plan, inputs
        lines, count = inputs["past"].shape[:2]
        self.reads = max(count, *plan.bases)  # rows
        # A row a line: scaled values, 0, their masks, 1; every number of `past` and `future` is one of these.
        known = np.zeros((lines, 2, self.reads + 1), np.float32)
        known[:, 1, -1] = 1
        self._values, self._masks, self._flat = known[:, 0, :-1], known[:, 1, :-1], known.reshape(lines, -1)
        self._past = _both(np.arange(self.reads - count, self.reads)[:, None], self.reads)
        steps = np.arange(inputs["future"].shape[1])
        places = [candidate_places(lag, steps) if lag else np.zeros_like(steps) for lag in plan.bases]
        self._future = _both(self.reads + np.stack(places, -1), self.reads)
        self._clock = clock
        self._calendar = Ahead(self._told)
        if plan.known_lines:
            inputs["line"][:] = codes[:, None]

    def fill(self, y: Floats, scale: Scale, position: int | Ints) -> None:
        """Write the newest window.

        Args:  y: (lines, reads) the last rows, NaN for missing. scale: of each line. position: the clock's, after the last row;
            or that of each line.
        """
        plan, inputs = self._plan, self._inputs
        z, missing = standardised(y, scale.loc[:, None], scale.unit[:, None])
        self._values[:], self._masks[:] = z, ~missing
        inputs["past"][:] = self._flat.take(self._past, 1)
        inputs["future"][:] = self._flat.take(self._future, 1)
        level, seen = level_channels(scale)
        inputs["static"][:, 0], inputs["static"][:, 1] = level.astype(np.float32), seen
        if plan.calendar:
            for name, back in (("past_calendar", inputs["past_calendar"].shape[1]), ("future_calendar", 0)):
                first, count = position - back * plan.segment, inputs[name].shape[1]
                if isinstance(first, np.ndarray):
                    inputs[name][:] = self._told(first[:, None] + plan.segment * np.arange(count))
                else:
                    inputs[name][:] = self._calendar.at(first, count, plan.segment)

    def _told(self, positions: Ints) -> Array:
        """(..., calendar) features of the clock's positions."""
        return self._clock.calendar(positions)[..., list(self._plan.calendar_columns)]


def _both(places: Ints, reads: int) -> Ints:
    """(steps, 2J) where values and then their masks stand in a line's numbers, from the places (steps, J) of the values."""
    return np.concatenate([places, places + reads + 1], axis=-1)
