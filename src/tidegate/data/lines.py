"""Every target of every series as a line of its own, read in windows. In: a Panel, lines and cutoffs. Out: float64 windows with
NaN for missing.

Nothing is copied but the windows asked for, so that a batch costs its own size whatever the panel's. Scaling stands here too,
once for both halves: it needs no gradient, and float64 (docs/decisions/0002-scaling-in-numpy.md).
"""

from __future__ import annotations

from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.data.panel import Panel
from tidegate.data.series import Covariates

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FLOOR = 1e-6  # a window's scale is at least this share of its largest value: a constant has a scale too


class Cut(NamedTuple):
    """Windows by line and cutoff: history is rows [0, cutoff), the horizon starts at row `cutoff`."""

    lines: Ints  # (B,)
    cutoffs: Ints  # (B,)


class Scale(NamedTuple):
    """z = (y - loc) / unit."""

    loc: Floats  # (B,)
    unit: Floats  # (B,) > 0


@final
class Lines:
    """The lines of a panel: line = series * K + target."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.targets = panel.target.shape[1]
        self.count = panel.n_series * self.targets
        self.lengths: Ints = np.repeat(np.asarray(panel.lengths, np.int64), self.targets)  # history rows of each line

    def series(self, lines: Ints) -> Ints:
        """The series of each line."""
        series: Ints = lines // self.targets
        return series

    def values(self, cut: Cut, first: int, count: int, *, until: Ints | None = None) -> Floats:
        """(B, count) values from `first` rows after (or before, if negative) each cutoff; NaN outside the history."""
        series, column = self.series(cut.lines), cut.lines % self.targets
        position = cut.cutoffs[:, None] + np.arange(first, first + count)
        end = self.lengths[cut.lines] if until is None else until
        inside = (position >= 0) & (position < end[:, None])
        rows = np.where(inside, position, 0) + self.panel.offsets[series][:, None]
        if not len(self.panel.target):
            return np.full(position.shape, np.nan)
        rows = np.minimum(rows, len(self.panel.target) - 1)
        return np.where(inside, self.panel.target[rows, column[:, None]], np.nan).astype(np.float64, copy=False)

    def covariates(self, group: Covariates, levels: tuple[int, ...], cut: Cut, first: int, count: int) -> npt.NDArray[np.float32]:
        """(B, count, channels) covariates around each cutoff, missing outside the panel's rows; see `channels`."""
        series = self.series(cut.lines)
        position = cut.cutoffs[:, None] + np.arange(first, first + count)
        total = (self.panel.offsets[series + 1] - self.panel.offsets[series])[:, None]
        inside = (position >= 0) & (position < total)
        rows = np.where(inside, position, 0) + self.panel.offsets[series][:, None]
        rows = np.minimum(rows, max(len(group.numbers) - 1, 0))
        numbers = np.where(inside[..., None], group.numbers[rows], np.float32(np.nan))
        codes = np.where(inside[..., None], group.codes[rows], np.int16(-1))
        return channels(numbers, codes, levels)

    def history(self, line: int, cutoff: int | None = None) -> Floats:
        """The line's values up to a cutoff, as a view where the dtype allows it."""
        start = int(self.panel.offsets[line // self.targets])
        stop = start + (int(self.lengths[line]) if cutoff is None else cutoff)
        return self.panel.target[start:stop, line % self.targets].astype(np.float64, copy=False)


def channels(numbers: npt.NDArray[np.float32], codes: npt.NDArray[np.int16], levels: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Numbers with 0 for missing, their masks (1 = observed), and one channel a level of each category (all 0 = missing)."""
    observed = ~np.isnan(numbers)
    parts = [np.where(observed, numbers, np.float32(0)), observed.astype(np.float32)]
    for column, size in enumerate(levels):
        parts.append((codes[..., column, None] == np.arange(size, dtype=np.int16)).astype(np.float32))
    return np.concatenate(parts, axis=-1)


def channel_count(numbers: int, levels: tuple[int, ...]) -> int:
    """How many channels `channels` makes."""
    return 2 * numbers + sum(levels)


def window_scale(y: Floats) -> Scale:
    """Mean and standard deviation of each row's observed values; NaN and 1 where nothing is observed.

    Values are divided by the largest first, so that 1e308 and 1e-308 neither overflow nor vanish.
    """
    observed = ~np.isnan(y)
    filled = np.where(observed, y, 0.0)
    peak = np.abs(filled).max(1, initial=0.0)
    peak = np.where(peak > 0, peak, 1.0)
    filled = filled / peak[:, None]
    count = np.maximum(observed.sum(1), 1)
    loc = filled.sum(1) / count
    spread = np.where(observed, filled - loc[:, None], 0.0)
    unit = np.sqrt((spread * spread).sum(1) / count)
    return Scale(np.where(observed.any(1), loc * peak, np.nan), np.maximum(unit, FLOOR) * peak)


@final
class RunningScale:
    """Mean and mean absolute deviation, moving with weight max(1/n, 1/memory): O(1) a sample, three numbers of state a line."""

    def __init__(self, lines: int, memory: int) -> None:
        self.memory = memory
        self.count = np.zeros(lines)
        self.mean = np.zeros(lines)
        self.deviation = np.zeros(lines)

    def update(self, y: Floats) -> None:
        """One sample a line, NaN = missing (nothing changes)."""
        seen = ~np.isnan(y)
        self.count = self.count + seen
        share = np.maximum(1.0 / np.maximum(self.count, 1.0), 1.0 / self.memory)
        filled = np.where(seen, y, self.mean)
        self.mean = np.where(seen, self.mean + share * (filled - self.mean), self.mean)
        apart = np.abs(filled - self.mean)
        self.deviation = np.where(seen, self.deviation + share * (apart - self.deviation), self.deviation)

    def scale(self) -> Scale:
        """The scale after the samples so far."""
        floor = FLOOR * np.abs(self.mean)
        unit = np.maximum(self.deviation, floor)
        return Scale(np.where(self.count > 0, self.mean, np.nan), np.where(unit > 0, unit, 1.0))


def running_scales(lines: Lines, which: Ints, memory: int) -> tuple[Floats, Floats]:
    """loc and unit of each line in `which` after 0, 1, ..., T samples: two (len(which), T+1) arrays, T the longest."""
    longest = int(lines.lengths[which].max(initial=0))
    cut = Cut(which, np.zeros(len(which), np.int64))
    values = lines.values(cut, 0, longest)
    running = RunningScale(len(which), memory)
    loc, unit = np.zeros((len(which), longest + 1)), np.ones((len(which), longest + 1))
    for t in range(longest):
        running.update(values[:, t])
        loc[:, t + 1], unit[:, t + 1] = running.scale()
    return loc, unit
