"""Every target of every series as a line of its own, read in windows. In: a Panel, lines and cutoffs. Out: float64 windows with
NaN for missing.

Nothing is copied but the windows asked for, so that a batch costs its own size whatever the panel's. Scaling stands here too,
once for both halves: it needs no gradient, and float64 (docs/decisions/0002-scaling-in-numpy.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.data.panel import Panel
from tidegate.data.series import Covariates

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BLOCK = 1 << 22  # values whose running scales are computed at once, where no line alone has more
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
        found = self._taken(rows, column)
        found[~inside] = np.nan
        return found

    def _taken(self, rows: Ints, column: Ints) -> Floats:
        """(B, count) values, a copy; over the flat array, which is three times as fast as two-dimensional indexing."""
        target = self.panel.target
        if not target.flags.c_contiguous:
            return target[rows, column[:, None]].astype(np.float64)
        flat = rows if self.targets == 1 else rows * self.targets + column[:, None]
        return target.reshape(-1).take(flat).astype(np.float64, copy=False)

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
    missing = np.isnan(y)
    filled = y.copy()
    filled[missing] = 0.0
    peak = np.abs(filled).max(1, initial=0.0)
    peak[peak == 0.0] = 1.0
    filled /= peak[:, None]
    seen = y.shape[1] - missing.sum(1)
    count = np.maximum(seen, 1)
    loc = filled.sum(1) / count
    filled -= loc[:, None]
    filled[missing] = 0.0
    filled *= filled
    unit = np.sqrt(filled.sum(1) / count)
    loc *= peak
    loc[seen == 0] = np.nan
    unit = np.maximum(unit, FLOOR) * peak
    unit[unit == 0.0] = 1.0  # of denormal values alone
    return Scale(loc, unit)


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


@final
class FewRunningScales:
    """RunningScale of few lines, on plain numbers: the same bits in a tenth of the time."""

    def __init__(self, lines: int, memory: int) -> None:
        self.memory = memory
        self.count, self.mean, self.deviation = ([0.0] * lines for _ in range(3))

    def update(self, y: Floats) -> None:
        """One sample a line, NaN = missing (nothing changes)."""
        for k, value in enumerate(y.tolist()):
            if value == value:  # no NaN
                self.count[k] += 1.0
                share = max(1.0 / max(self.count[k], 1.0), 1.0 / self.memory)
                self.mean[k] += share * (value - self.mean[k])
                self.deviation[k] += share * (abs(value - self.mean[k]) - self.deviation[k])

    def scale(self) -> Scale:
        """The scale after the samples so far."""
        units = [max(spread, FLOOR * abs(mean)) for spread, mean in zip(self.deviation, self.mean, strict=True)]
        loc = [mean if count > 0 else math.nan for mean, count in zip(self.mean, self.count, strict=True)]
        return Scale(np.array(loc), np.array([unit if unit > 0 else 1.0 for unit in units]))

    def parts(self) -> tuple[list[float], list[float], list[float]]:
        """Counts, means and deviations of the lines, copies."""
        return self.count.copy(), self.mean.copy(), self.deviation.copy()

    def restore(self, parts: Sequence[Sequence[float]]) -> None:
        """As they were."""
        self.count, self.mean, self.deviation = map(list, parts)


@final
class RunningScales:
    """The running scale of every line after 0, 1, ..., T samples of its own: flat arrays, as long as the rows."""

    def __init__(self, lengths: Ints) -> None:
        self._lengths = lengths
        self._starts: Ints = np.concatenate([[0], np.cumsum(lengths + 1)]).astype(np.int64)
        self._loc = np.full(int(self._starts[-1]), np.nan)
        self._unit = np.ones(int(self._starts[-1]))

    def at(self, lines: Ints, cutoffs: Ints) -> Scale:
        """loc and unit of lines after so many samples; the two are broadcast. Past its end a line keeps its last scale."""
        places = self._starts[lines] + np.minimum(cutoffs, self._lengths[lines])
        return Scale(self._loc[places], self._unit[places])

    def fill(self, lines: Lines, which: Ints, memory: int) -> None:
        """Compute the lines of `which`, which are of similar length, side by side."""
        lengths = self._lengths[which]  # falling, so that the lines still going on at a time stand in front
        values = lines.values(Cut(which, np.zeros(len(which), np.int64)), 0, int(lengths[0]))
        running = RunningScale(len(which), memory)
        for t in range(values.shape[1]):
            running.update(values[:, t])
            going = int(np.searchsorted(-lengths, -t, side="left"))  # lines longer than t
            places = self._starts[which[:going]] + t + 1
            loc, unit = running.scale()
            self._loc[places], self._unit[places] = loc[:going], unit[:going]


def running_scales(lines: Lines, memory: int) -> RunningScales:
    """The running scales of every line, in blocks of lines of similar length, so that the memory is that of the rows."""
    scales = RunningScales(lines.lengths)
    order: Ints = np.argsort(-lines.lengths, kind="stable")
    lengths = lines.lengths[order]
    first = 0
    while first < len(order) and lengths[first]:
        longest = int(lengths[first])
        similar = int(np.searchsorted(-lengths, -(longest // 2), side="left"))  # those longer than half of it
        stop = min(max(similar, first + 1), first + max(1, BLOCK // longest))
        scales.fill(lines, order[first:stop], memory)
        first = stop
    return scales
