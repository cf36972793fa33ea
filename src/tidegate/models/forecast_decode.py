"""From quantiles to an answer. In: (W, F, P) quantiles in the data's units. Out: point and intervals, corrected and bounded.

What depends on the levels alone (which quantile is which end, the corrections of each level) is worked out once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np

from tidegate.data.lines import Floats
from tidegate.decode import conformal
from tidegate.decode.quantiles import level_ends, lower_bound
from tidegate.tasks.evaluation import Forecasts
from tidegate.tasks.forecast_net import Plan
from tidegate.tasks.measures import DECILES


class Corrections(NamedTuple):
    """Conformal factors of the intervals' widths: one row a level of `levels`, one column a step."""

    levels: tuple[float, ...]
    values: Floats  # (len(levels), F)

    def at(self, level: float) -> Floats:
        """(F,) correction of any level, linear between those that were calibrated."""
        if not self.levels:
            return np.ones(self.values.shape[1])
        return np.array([np.interp(level, self.levels, column) for column in self.values.T])


@final
class Decoder:
    """Point, intervals and, if asked for, the nine deciles of every window. The point is the median (the mean where the output is
    "point").

    Args:  lower: smallest possible value, or None. levels: of the intervals, in percent.
    """

    def __init__(
        self, plan: Plan, corrections: Corrections | None, lower: float | None, levels: Sequence[float], *, deciles: bool = False
    ) -> None:
        self._levels = tuple(sorted(levels))
        lower_ends, upper_ends = zip(*map(level_ends, self._levels), strict=True) if self._levels else ((), ())
        self.wanted = tuple(sorted({0.5, *(DECILES if deciles else ()), *lower_ends, *upper_ends}))
        place = {p: k for k, p in enumerate(self.wanted)}
        self._places = np.array([place[p] for p in (*lower_ends, *upper_ends, 0.5)])
        self._deciles = [place[p] for p in DECILES] if deciles else None
        self._output, self._lower = plan.output, lower
        corrected = corrections is not None and plan.output != "point" and self._levels
        self._factors = np.stack([corrections.at(level) for level in self._levels]) if corrections and corrected else None

    def __call__(self, q: Floats) -> Forecasts:
        """(W, F, P) at the probabilities of `wanted`, rising -> (W, F) each."""
        rows = q.transpose(2, 0, 1).take(self._places, 0)  # an end of all windows side by side
        ends, median = rows[:-1].reshape(2, -1, *rows.shape[1:]), rows[-1]
        if self._output == "point":
            return Forecasts(point=self._bounded(median), lo={}, hi={})
        if self._factors is not None:
            ends = conformal.apply(ends, median, self._factors)
        if self._output == "negative_binomial":  # a corrected end of counts is the count outside it
            np.floor(ends[0], out=ends[0])
            np.ceil(ends[1], out=ends[1])
        lo, hi = (dict(zip(self._levels, self._bounded(side), strict=True)) for side in ends)
        grid = None if self._deciles is None else self._bounded(q[..., self._deciles])
        return Forecasts(
            point=self._bounded(median), lo=lo, hi=hi, quantiles=grid, probabilities=None if grid is None else DECILES
        )

    def _bounded(self, values: Floats) -> Floats:
        return values if self._lower is None else lower_bound(values, self._lower)
