"""Conformal correction of intervals. In: truths and intervals of held-back windows. Out: how far to move the ends.

The windows must be held back from training, else the promise does not hold. Applying several levels keeps the intervals nested.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tidegate.decode.quantiles import Floats
from tidegate.dims import check_shape
from tidegate.errors import ConfigError, DataError, ShapeError

_TAIL_SCORES = 20  # scores beyond the quantile that a group of steps must hold, so that its correction is no accident
_GROUP_WINDOWS = 50  # scores of one window move together: below this many windows all steps share one correction


def calibrate(truth: Floats, lo: Floats, hi: Floats, median: Floats, level: float) -> Floats:
    """The correction of one interval level: conformalised quantile regression, normalised by each side's width (CQR-m).

    score = max((y - median) / (hi - median), (median - y) / (median - lo));  factor = the ceil((n + 1) level / 100)-th smallest
    of n scores. Normalised by the width, an interval that the net made wide stays wide and a narrow one narrow; a plain
    difference (CQR) adds the same to all. Scores are pooled over all steps, or over groups of neighbouring steps where there are
    50 windows and each group has 20 scores in its tail.

    Args:  truth, lo, hi, median: (W, F); unknown truths are NaN and left out, and so are sides without width. level: percent, in
    (0, 100).
    Returns: (F,) the factor of both sides' widths for each step; below 1 where the intervals were too wide.
    Raises: ConfigError for the level; DataError if there are too few known truths for the level; ShapeError.
    Reference: Romano, Patterson & Candès, NeurIPS 2019; Kivaranovic, Johnson & Leeb, AISTATS 2020 (CQR-m).
    """
    if not 0.0 < level < 100.0:
        raise ConfigError(f"level: expected a percentage between 0 and 100, such as 80, got {level!r}")
    windows, horizon = _checked(truth, lo, hi, median)
    above = truth >= median
    width = np.where(above, hi - median, median - lo)
    scores = np.abs(truth - median) / np.where(width > 0.0, width, np.nan)
    known = int(np.isfinite(scores).sum())
    factor = np.empty(horizon)
    for steps in _groups(windows, horizon, known, level):
        factor[steps] = _corrected_quantile(scores[:, steps], level)
    return factor


def apply(ends: Floats, median: Floats, factors: Floats) -> Floats:
    """Stretch or shrink every level's interval around the median by its factor.

    No end crosses the median, and each interval holds the narrower ones. Both can only widen an interval.

    Args:  ends: (2, L, W, F) lower and upper ends, levels rising. median: (W, F). factors: (L, F), 1 for a level that stays.
    Returns: the new ends.
    Raises: ShapeError.
    """
    if median.ndim != 2 or ends.shape != (2, len(factors), *median.shape) or factors.shape[1:] != median.shape[1:]:
        got = f"{ends.shape}, {median.shape} and {factors.shape}"
        raise ShapeError(f"ends, median, factors: expected (2, L, W, F), (W, F) and (L, F), got {got}")
    new: Floats = ends - median
    new *= factors[:, None]
    new += median
    for side, outer in zip(new, (np.minimum, np.maximum), strict=True):
        inner = median
        for end in side:
            inner = outer(end, inner, out=end)
    return new


def _checked(truth: Floats, lo: Floats, hi: Floats, median: Floats) -> tuple[int, int]:
    check_shape("truth", truth, "W F")
    windows, horizon = truth.shape
    for name, array in (("lo", lo), ("hi", hi), ("median", median)):
        check_shape(name, array, "W F", W=windows, F=horizon)
    return windows, horizon


def _groups(windows: int, horizon: int, known: int, level: float) -> list[NDArray[np.intp]]:
    """Neighbouring steps that share a correction."""
    needed = _TAIL_SCORES / (1.0 - level / 100.0)
    count = int(known // needed) if windows >= _GROUP_WINDOWS else 1
    return np.array_split(np.arange(horizon), max(1, min(count, horizon)))


def _corrected_quantile(scores: Floats, level: float) -> float:
    """The ceil((n + 1) level / 100)-th smallest known score."""
    known = np.sort(scores[np.isfinite(scores)])
    # Nine digits: (99 + 1) * .95 must count as 95, not as 95.00000000000001.
    rank = math.ceil(round((known.size + 1) * level / 100.0, 9))
    if rank > known.size:
        least = math.ceil(round(level / (100.0 - level), 9))
        raise DataError(
            f"calibrate: a {level:g} % interval needs at least {least} known truths held back, got {known.size}: "
            "hold back more windows, or lower the level"
        )
    return float(known[rank - 1])
