"""Answers hidden among the covariates. In: a panel. Out: covariates that equal the target now or some steps off.

Compares steps (differences), not levels: any two trends correlate, their steps do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate.data.series import Panel

LEAK = 0.999
FEWEST = 20  # pairs a correlation needs
SAMPLE_SERIES, SAMPLE_ROWS, SAMPLE_TOTAL, LONGEST = 50, 2000, 50_000, 96


@final
@dataclass(frozen=True)
class Leak:
    """steps > 0: the covariate's value at t is the target's at t + steps."""

    column: str
    role: str
    target: str
    steps: int
    correlation: float


def find_leaks(panel: Panel, horizon: int) -> Iterator[Leak]:
    """Past covariates that show the target 1..horizon steps ahead, future ones that show it within horizon steps either way."""
    reach = min(horizon, LONGEST)
    rows = _sample(panel, reach)
    for role, covariates, lags in (("past", panel.past, range(1, reach + 1)), ("future", panel.future, range(-reach, reach + 1))):
        for c, column in enumerate(covariates.number_names):
            x = _steps(covariates.numbers[:, c], rows)
            for k, target in enumerate(panel.schema.roles.target):
                found = _best(x, _steps(panel.target[:, k], rows), lags)
                if found is not None:
                    yield Leak(column, role, target, *found)


def _sample(panel: Panel, reach: int) -> npt.NDArray[np.int64]:
    """Row numbers of some series one after the other, each followed by `reach` + 1 times -1 so that lags never cross series."""
    chosen = np.unique(np.linspace(0, panel.n_series - 1, min(panel.n_series, SAMPLE_SERIES)).astype(int))
    each = max(SAMPLE_ROWS, SAMPLE_TOTAL // len(chosen))
    gap = np.full(reach + 1, -1)
    parts = []
    for i in chosen.tolist():
        parts += [np.arange(panel.offsets[i], min(panel.offsets[i + 1], panel.offsets[i] + each)), gap]
    return np.concatenate(parts)


def _steps(values: np.ndarray, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Differences of the sampled values, scaled to at most 1 so that squares stay in range; NaN at borders and gaps."""
    taken = np.where(rows >= 0, values[rows], np.nan).astype(np.float64)
    largest = np.nanmax(np.abs(taken), initial=0.0) or 1.0
    steps: npt.NDArray[np.float64] = np.diff(taken / largest)
    size = np.nanmax(np.abs(steps), initial=0.0) or 1.0
    return steps / size


def _best(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], lags: range) -> tuple[int, float] | None:
    """The lag with the highest correlation, if it is a leak's."""
    found = [(abs(r), -abs(lag), lag, r) for lag in lags for r in [_correlation(x, y, lag)] if abs(r) > LEAK]
    if not found:
        return None
    _, _, lag, r = max(found)
    return lag, r


def _correlation(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], lag: int) -> float:
    """Between x at t and y at t + lag, over the pairs that are both known; 0 where that says nothing."""
    a, b = (x[: len(x) - lag], y[lag:]) if lag >= 0 else (x[-lag:], y[: len(y) + lag])
    both = ~(np.isnan(a) | np.isnan(b))
    if both.sum() < FEWEST:
        return 0.0
    a, b = a[both], b[both]
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 1e-9 * len(a) else 0.0
