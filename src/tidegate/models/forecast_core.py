"""A trained forecaster's arithmetic. In: windows of lines. Out: quantiles in the data's units, calibrated. No tables, no files,
no torch.

`predict`, `evaluate`, `backtest` and the calibration all call `Core.quantiles`, and streams end in the same arithmetic: what is
validated is what is shipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate.blocks.ops import Array
from tidegate.blocks.rollout import roll_out
from tidegate.data.lines import Cut, Floats, Lines, Scale
from tidegate.decode import conformal
from tidegate.decode.quantiles import level_ends
from tidegate.errors import DataError
from tidegate.models.forecast_decode import Corrections, Decoder
from tidegate.runtime.ops import NumpyOps
from tidegate.runtime.predictor import Predictor
from tidegate.tasks.evaluation import Forecasts
from tidegate.tasks.forecast import quantile_grid
from tidegate.tasks.forecast_net import Plan
from tidegate.tasks.forecast_windows import FrontEnd, Known, Windows

CALIBRATED = (20.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0)
CHUNK = 1024  # windows at once: bounds the memory of a prediction
MOST_PATHS = 16_384  # sample paths at once
PATH_SEED = 0


@final
@dataclass(frozen=True)
class Core:
    """A plan, its trained nets and their corrections.

    lower: smallest possible value, or None. paths: sample paths of the recursive decoder. ids: the training series, where each
    has a learnt vector of its own.
    """

    plan: Plan
    nets: tuple[Predictor, ...]
    corrections: Corrections | None
    lower: float | None
    paths: int
    ids: tuple[str | int, ...] = ()

    def forecasts(
        self, lines: Lines, cut: Cut, levels: Sequence[float], known: Known | None = None, *, deciles: bool = False
    ) -> Forecasts:
        """Point, intervals and, if asked for, the nine deciles of every window, (W, F) each.

        The point is the median (the mean where the output is "point").
        """
        decode = self.decoder(levels, deciles=deciles)
        q, _ = self.quantiles(lines, cut, decode.wanted, known)
        return decode(q)

    def decoder(self, levels: Sequence[float], *, deciles: bool = False) -> Decoder:
        """What makes forecasts of quantiles, for any number of calls."""
        return Decoder(self.plan, self.corrections, self.lower, levels, deciles=deciles)

    def from_outputs(self, outputs: Sequence[Mapping[str, npt.NDArray[np.floating]]], scale: Scale, decode: Decoder) -> Forecasts:
        """Forecasts from the outputs of every net, for a stream that ran them itself."""
        return decode(_mean([quantile_grid(self.plan, o["raw"], o["base"], scale, decode.wanted) for o in outputs]))

    def quantiles(self, lines: Lines, cut: Cut, p: Sequence[float], known: Known | None = None) -> tuple[Floats, Scale]:
        """(W, F, len(p)) uncorrected quantiles, the mean over the nets, and each window's scale."""
        front = FrontEnd(self.plan, lines, ids=self.ids, whole=self.plan.scaling == "running")
        parts, scales = [], []
        size = CHUNK if self.plan.decode == "direct" else max(1, MOST_PATHS // self.paths)
        for start in range(0, len(cut.lines), size):
            windows = front.windows(Cut(cut.lines[start : start + size], cut.cutoffs[start : start + size]), known)
            parts.append(self.window_quantiles(windows, p))
            scales.append(windows.scale)
        q = np.concatenate(parts) if parts else np.zeros((0, self.plan.horizon, len(p)))
        scale = Scale(*(np.concatenate([s[k] for s in scales]) if scales else np.zeros(0) for k in range(2)))
        return q, scale

    def window_quantiles(self, windows: Windows, p: Sequence[float]) -> Floats:
        """(B, F, len(p)) quantiles of windows that are ready."""
        each = [
            self._recursive(net, windows, p) if self.plan.decode == "recursive" else self._direct(net, windows, p)
            for net in self.nets
        ]
        return _mean(each)

    def with_corrections(self, lines: Lines, cut: Cut) -> Core:
        """Calibrate on held-back windows; levels with too few truths stay uncorrected."""
        truth = lines.values(cut, 0, self.plan.horizon)
        plain = replace(self, corrections=None)
        ends = {level: level_ends(level) for level in CALIBRATED}
        wanted = sorted({0.5, *(p for pair in ends.values() for p in pair)})
        q, _ = plain.quantiles(lines, cut, wanted)
        median = q[..., wanted.index(0.5)]
        levels, values = [], []
        for level, (low, high) in ends.items():
            try:
                values.append(conformal.calibrate(truth, q[..., wanted.index(low)], q[..., wanted.index(high)], median, level))
                levels.append(level)
            except DataError:  # too few truths for this level; `at` takes the nearest calibrated one
                continue
        corrections = Corrections(tuple(levels), np.array(values)) if levels else None
        return replace(self, corrections=corrections)

    def _direct(self, net: Predictor, windows: Windows, p: Sequence[float]) -> Floats:
        outputs, _ = net.run(windows.inputs, None, windows.lengths)
        return quantile_grid(self.plan, outputs["raw"], outputs["base"], windows.scale, p)

    def _recursive(self, net: Predictor, windows: Windows, p: Sequence[float]) -> Floats:
        """Quantiles over sample paths; every path feeds its own samples back."""
        return np.moveaxis(np.quantile(sample_paths(self.plan, net, windows, self.paths), p, axis=1), 0, -1)


def sample_paths(plan: Plan, net: Predictor, windows: Windows, paths: int) -> Floats:
    """(B, paths, F) values; each step is drawn from the net's distribution given the path so far.

    The look-back is read once a window. Path k takes the same uniform numbers in every window, so that a row's forecast does
    not depend on the rows beside it.
    """
    scale, rows = windows.scale, len(windows.scale.loc)
    steps = windows.inputs["steps"]
    others = {name: np.repeat(array, paths, axis=0) for name, array in windows.inputs.items() if name != "steps"}
    _, state = net.run({**windows.inputs, "steps": steps[:, : plan.lookback]})
    each = Scale(np.repeat(scale.loc, paths), np.repeat(scale.unit, paths))
    uniform = np.tile(np.random.default_rng(PATH_SEED).random((paths, plan.horizon)), (rows, 1))
    drawn = np.zeros((rows * paths, plan.horizon))

    def run(x: Array, carried: Mapping[str, Array] | None) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
        assert carried is not None
        outputs, after = net.run({**others, "steps": x}, carried["all"])
        return outputs, {"all": after}

    def choose(k: int, outputs: Mapping[str, npt.NDArray[np.floating]]) -> npt.NDArray[np.floating]:
        drawn[:, k] = _drawn(plan, outputs, each, uniform[:, k])
        return ((drawn[:, k] - each.loc) / each.unit).astype(np.float32)

    horizon = np.repeat(steps[:, plan.lookback :], paths, axis=0)
    outputs = roll_out(NumpyOps(), run, horizon, 0, plan.bases, choose, {"all": np.repeat(state, paths, axis=0)})
    drawn[:, -1] = _drawn(plan, {name: y[:, -1:] for name, y in outputs.items()}, each, uniform[:, -1])
    return drawn.reshape(rows, paths, plan.horizon)


def _drawn(plan: Plan, outputs: Mapping[str, npt.NDArray[np.floating]], scale: Scale, u: Floats) -> Floats:
    """(B,) samples by inverse transform: the uniform numbers u through the quantile function."""
    grid = np.array([0.005, *(k / 40 for k in range(1, 40)), 0.995])
    q = quantile_grid(replace(plan, horizon=1), outputs["raw"], outputs["base"], scale, tuple(grid))[:, 0]
    at = np.clip(np.searchsorted(grid, u) - 1, 0, len(grid) - 2)
    weight = np.clip((u - grid[at]) / (grid[at + 1] - grid[at]), 0.0, 1.0)
    rows = np.arange(len(q))
    value: Floats = q[rows, at] * (1 - weight) + q[rows, at + 1] * weight
    return np.round(value) if plan.output == "negative_binomial" else value


def _mean(each: Sequence[Floats]) -> Floats:
    """Over the nets, in their order: np.mean sums in another one for few windows than for many, and the bits would differ."""
    total: Floats = sum(each[1:], start=each[0])
    return total / len(each) if len(each) > 1 else total


__all__ = ["CALIBRATED", "Core", "Corrections", "sample_paths"]
