"""The forecaster's front end: windows of lines -> the net's input arrays. In: Lines, a Plan, cutoffs. Out: float32 arrays by
port, and the scale.

Training and prediction come through here, so that what is validated is what is shipped; a stream writes the same numbers in place
(forecast_feed.py). Draws nothing at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.data.lines import Cut, Floats, Ints, Lines, RunningScales, Scale, channels, running_scales, window_scale
from tidegate.tasks.forecast_net import Plan

Arrays = dict[str, npt.NDArray[np.generic]]
CLIP = 1e6  # |z| beyond this is an outlier of a million deviations; float32 sums stay finite below it


class Windows(NamedTuple):
    """B windows as the net takes them."""

    inputs: Arrays
    lengths: Arrays
    scale: Scale


class Known(NamedTuple):
    """Future covariates given from outside, in the order of the panel's series."""

    numbers: npt.NDArray[np.float32]  # (N, F, n)
    codes: npt.NDArray[np.int16]  # (N, F, m)


@final
class FrontEnd:
    """Windows of one panel for one plan."""

    def __init__(self, plan: Plan, lines: Lines, *, ids: Sequence[str | int] = (), whole: bool = False) -> None:
        self.plan = plan
        self.lines = lines
        self._codes = identity_codes(plan, lines.panel.ids, lines.targets, ids)
        self._whole = whole  # running scaling: read from the first row, as a stream does
        self._running: RunningScales | None = None
        if plan.scaling == "running":
            self._running = running_scales(lines, plan.lookback)

    def windows(self, cut: Cut, known: Known | None = None, *, limit: int | None = None) -> Windows:
        """The arrays of each window, of at most `limit` steps of history; history after the cutoff is never read."""
        scale = self.scale(cut)
        if self.plan.decode == "recursive":
            inputs, lengths = Arrays(steps=self._steps(cut, scale, known)), Arrays()
        else:
            inputs, lengths = self._direct(cut, scale, known, limit)
        inputs["static"] = self._static(cut, scale)
        if self.plan.known_lines:
            inputs["line"] = self._codes[cut.lines][:, None]
        return Windows(inputs, lengths, scale)

    def truth(
        self, cut: Cut, scale: Scale, *, until: Ints | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Scaled values of the horizon and their weights (0 = missing), (B, F) each; rows at or after `until` count as
        missing."""
        y = self.lines.values(cut, 0, self.plan.horizon, until=until)
        return scaled(y, scale)

    def scale(self, cut: Cut) -> Scale:
        """loc and unit of each window."""
        if self._running is None:
            return self._with_older(cut, window_scale(self.lines.values(cut, -self.plan.lookback, self.plan.lookback)))
        return self._running.at(cut.lines, cut.cutoffs)

    def _with_older(self, cut: Cut, scale: Scale) -> Scale:
        """Where a gap fills the whole look-back, the scale of the last values before it; NaN where there never was one."""
        for row in np.flatnonzero(np.isnan(scale.loc)):
            y = self.lines.history(int(cut.lines[row]), int(cut.cutoffs[row]))
            seen = y[~np.isnan(y)][-self.plan.lookback :]
            if len(seen):
                older = window_scale(seen[None])
                scale.loc[row], scale.unit[row] = older.loc[0], older.unit[0]
        return scale

    def _direct(self, cut: Cut, scale: Scale, known: Known | None, limit: int | None) -> tuple[Arrays, Arrays]:
        plan = self.plan
        steps = self._history_steps(cut, limit)
        count = int(steps.max(initial=plan.segment))
        past = self._past(cut, scale, count)
        segments = count // plan.segment
        first = np.arange(-segments, 0) * plan.segment
        calendar = self._calendar(cut, first)
        rows = plan.future_segments * plan.segment
        inputs: Arrays = {
            "past": past,
            "past_calendar": calendar,
            "future": np.concatenate([self._candidates(cut, scale, rows), self._future(cut, known, 0, rows)], axis=-1),
            "future_calendar": self._calendar(cut, np.arange(plan.future_segments) * plan.segment),
        }
        lengths = Arrays()
        if steps.min(initial=count) < count:  # histories of several lengths: valid segments to the front, padding to the right
            inputs["past"], inputs["past_calendar"] = _to_front(past, steps), _to_front(calendar, steps // plan.segment)
            lengths = {"past": steps, "past_calendar": steps // plan.segment}
        return inputs, lengths

    def _history_steps(self, cut: Cut, limit: int | None) -> Ints:
        """Steps each window reads: whole segments, at most the look-back; an empty history has one segment, all missing."""
        size = self.plan.segment
        available = np.maximum(-(-cut.cutoffs // size), 1) * size
        return available if self._whole else np.minimum(available, limit or self.plan.lookback)

    def _past(self, cut: Cut, scale: Scale, count: int) -> npt.NDArray[np.float32]:
        plan, panel = self.plan, self.lines.panel
        y = self.lines.values(cut, -count, count)
        z, observed = scaled(y, self._segment_scales(cut, scale, count))
        parts = [z[..., None], observed[..., None]]
        if plan.uneven:
            parts.append(self._gaps(cut, -count, count)[..., None])
        if plan.past_numbers or plan.past_levels:
            parts.append(self.lines.covariates(panel.past, plan.past_levels, cut, -count, count))
        if plan.future_numbers or plan.future_levels:
            parts.append(self.lines.covariates(panel.future, plan.future_levels, cut, -count, count))
        return np.concatenate(parts, axis=-1)

    def _segment_scales(self, cut: Cut, scale: Scale, count: int) -> Scale:
        """(B, count) scale of every step: that of the window, or the running one at the end of the step's segment."""
        if self._running is None:
            return Scale(scale.loc[:, None], scale.unit[:, None])
        size = self.plan.segment
        ends = cut.cutoffs[:, None] + np.repeat(np.arange(-count // size + 1, 1) * size, size)
        return self._running.at(cut.lines[:, None], np.clip(ends, 0, None))

    def _candidates(self, cut: Cut, scale: Scale, steps: int) -> npt.NDArray[np.float32]:
        """(B, steps, 2J): the naive candidates of every step of the horizon, scaled, 0 where unknown; then their masks."""
        reach = max(max(self.plan.bases), 1)
        y = self.lines.values(cut, -reach, reach)
        z, observed = scaled(y, Scale(scale.loc[:, None], scale.unit[:, None]))
        h = np.arange(steps)
        values, masks = [], []
        for lag in self.plan.bases:
            if lag == 0:
                values.append(np.zeros((len(z), steps), np.float32))
                masks.append(np.ones((len(z), steps), np.float32))
            else:
                at = reach + candidate_places(lag, h)
                values.append(z[:, at])
                masks.append(observed[:, at])
        return np.stack([*values, *masks], axis=-1)

    def _future(self, cut: Cut, known: Known | None, first: int, steps: int) -> npt.NDArray[np.float32]:
        plan, panel = self.plan, self.lines.panel
        if not (plan.future_numbers or plan.future_levels):
            return np.zeros((len(cut.lines), steps, 0), np.float32)
        if known is None:
            found = self.lines.covariates(panel.future, plan.future_levels, cut, first, steps)
            found[:, max(plan.horizon - first, 0) :] = 0.0  # a last segment that is longer than the horizon
            return found
        series = self.lines.series(cut.lines)
        numbers = np.full((len(series), steps, plan.future_numbers), np.nan, np.float32)
        codes = np.full((len(series), steps, len(plan.future_levels)), -1, np.int16)
        given = min(plan.horizon, steps)
        numbers[:, :given], codes[:, :given] = known.numbers[series, :given], known.codes[series, :given]
        return channels(numbers, codes, plan.future_levels)

    def _calendar(self, cut: Cut, first: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """(B, len(first), calendar) features of the times at `cutoff + first`."""
        if not self.plan.calendar:
            return np.zeros((len(cut.lines), len(first), 0), np.float32)
        panel = self.lines.panel
        series = self.lines.series(cut.lines)
        position = cut.cutoffs[:, None] + first
        if panel.elapsed is not None:
            position = np.floor(self._elapsed(cut, position)).astype(np.int64)
        return panel.schema.clock.calendar(panel.starts[series][:, None] + position)[..., list(self.plan.calendar_columns)]

    def _elapsed(self, cut: Cut, position: Ints) -> Floats:
        """Time since the series' first row, in clock steps; one step a row outside the rows."""
        panel = self.lines.panel
        assert panel.elapsed is not None
        series = self.lines.series(cut.lines)
        total = (panel.offsets[series + 1] - panel.offsets[series])[:, None]
        last = np.minimum(total, cut.cutoffs[:, None]) - 1  # later rows have times too, which a forecast may not read
        inside = np.clip(position, 0, np.maximum(last, 0))
        elapsed: Floats = panel.elapsed[panel.offsets[series][:, None] + inside] + (position - inside)
        return elapsed

    def _gaps(self, cut: Cut, first: int, count: int) -> npt.NDArray[np.float32]:
        """log(1 + steps since the row before), 0 for the first row of a series."""
        position = cut.cutoffs[:, None] + np.arange(first - 1, first + count)
        apart = np.diff(self._elapsed(cut, position), axis=1)
        return np.log1p(np.where(position[:, 1:] > 0, np.maximum(apart, 0.0), 0.0)).astype(np.float32)

    def _static(self, cut: Cut, scale: Scale) -> npt.NDArray[np.float32]:
        """(B, channels): the level in units of scale and whether anything was seen, then static covariates."""
        parts: list[npt.NDArray[np.generic]] = [part[:, None] for part in level_channels(scale)]
        group = self.lines.panel.static
        if self.plan.static_numbers or self.plan.static_levels:
            series = self.lines.series(cut.lines)
            parts.append(channels(group.numbers[series], group.codes[series], self.plan.static_levels))
        return np.concatenate(parts, axis=-1).astype(np.float32)

    def _steps(self, cut: Cut, scale: Scale, known: Known | None) -> npt.NDArray[np.float32]:
        """(B, lookback + horizon, channels) of the recursive net: each step sees the candidates before it."""
        plan, count = self.plan, self.plan.lookback
        total, reach = count + plan.horizon, max(self.plan.bases)
        y = self.lines.values(cut, -count - reach, total + reach, until=None)
        z, observed = scaled(y, Scale(scale.loc[:, None], scale.unit[:, None]))
        at = reach + np.arange(total)
        values = [z[:, at - lag] if lag else np.zeros((len(z), total), np.float32) for lag in plan.bases]
        masks = [observed[:, at - lag] if lag else np.ones((len(z), total), np.float32) for lag in plan.bases]
        parts = [np.stack([*values, *masks], axis=-1)]
        if plan.future_numbers or plan.future_levels:
            history = self._future(cut, None, -count, count)
            parts.append(np.concatenate([history, self._future(cut, known, 0, plan.horizon)], axis=1))
        if plan.uneven:
            parts.append(self._gaps(cut, -count, total)[..., None])
        if plan.past_numbers or plan.past_levels:
            late = self.lines.covariates(self.lines.panel.past, plan.past_levels, cut, -count - 1, total)
            late[:, count + 1 :] = 0.0  # the future of a past covariate is not known
            parts.append(late)
        parts.append(self._calendar(cut, np.arange(-count, plan.horizon)))
        return np.concatenate(parts, axis=-1)


def identity_codes(plan: Plan, series: Sequence[str | int], targets: int, known: Sequence[str | int]) -> Ints:
    """The learnt vector of each line of `series` x targets: 1 + its place among the training lines `known` x targets, 0 for a
    series that training did not see."""
    if not plan.known_lines:
        return np.zeros(len(series) * targets, np.int64)
    place = {name: i for i, name in enumerate(known)}
    found = np.array([place.get(name, -1) for name in series], np.int64)
    codes = found[:, None] * targets + np.arange(targets) + 1
    return np.where(found[:, None] < 0, 0, codes).reshape(-1)


def scaled(y: Floats, scale: Scale) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """z with 0 for missing, and the mask, (B, T) each; loc and unit of shape (B,) or (B, T)."""
    loc, unit = (s if s.ndim == 2 else s[:, None] for s in scale)
    z, missing = standardised(y, loc, unit)
    return z.astype(np.float32), (~missing).astype(np.float32)


def standardised(y: Floats, loc: Floats, unit: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """(y - loc) / unit, at most CLIP, 0 for missing; and what is missing: all of it where there is no scale, since nothing was
    observed before."""
    z = y - loc
    missing = np.isnan(z)
    z /= unit
    np.maximum(z, -CLIP, out=z)
    np.minimum(z, CLIP, out=z)
    z[missing] = 0.0
    return z, missing


def level_channels(scale: Scale) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """(B,) each: the level in units of scale, 0 where nothing was seen; and whether anything was."""
    missing = np.isnan(scale.loc)
    level = np.arcsinh(scale.loc / scale.unit) / 5.0
    level[missing] = 0.0
    return level, ~missing


def candidate_places(lag: int, h: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Which row before the cutoff (-1: the last one) holds the value `lag` steps before step h of the horizon; where that is not
    known yet, a whole number of lags earlier."""
    place: npt.NDArray[np.int64] = h - (h // lag + 1) * lag
    return place


def _to_front(x: npt.NDArray[np.float32], lengths: Ints) -> npt.NDArray[np.float32]:
    """Move each row's last `length` steps to the front, zeros behind."""
    steps = x.shape[1]
    at = np.arange(steps) + (steps - lengths)[:, None]
    moved = np.take_along_axis(x, np.minimum(at, steps - 1)[..., None], axis=1)
    return np.where((at < steps)[..., None], moved, np.float32(0))
