"""Measures of a forecast. In: truths and forecasts (W, F). Out: one figure a window (W,), or one figure for all windows.

An unknown truth (NaN) is left out. A figure that is not defined (no known truth, a scale of 0, a forecast missing where the truth
is known) is NaN: never an error, never infinite in silence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tidegate.decode.quantiles import Floats
from tidegate.dims import check_shape
from tidegate.tasks.histories import lag_stats

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def mse(truth: Floats, point: Floats) -> Floats:
    """Mean squared error: mean (y - f)². Unit of y, squared. Returns: (W,)."""
    error = _pair(truth, point)
    with np.errstate(over="ignore"):
        return _mean(truth, error * error)


def mae(truth: Floats, point: Floats) -> Floats:
    """Mean absolute error: mean |y - f|. Unit of y. Returns: (W,)."""
    return _mean(truth, np.abs(_pair(truth, point)))


def smape(truth: Floats, point: Floats) -> Floats:
    """Symmetric mean absolute percentage error: mean 200 |y - f| / (|y| + |f|), 0 / 0 = 0. Percent, 0 ... 200. Returns: (W,).

    Reference: Makridakis, Spiliotis & Assimakopoulos, International Journal of Forecasting 2020 (M4).
    """
    error = np.abs(_pair(truth, point))
    with np.errstate(invalid="ignore", over="ignore"):
        share = 200.0 * (error / (np.abs(truth) + np.abs(point)))
    return _mean(truth, np.where(error == 0.0, 0.0, share))


def mase(truth: Floats, point: Floats, scale: Floats) -> Floats:
    """Mean absolute scaled error: mean |y - f| / scale. No unit; 1 = seasonal naive inside the history. Returns: (W,).

    Args:  scale: (W,) from `mase_scale`.
    Reference: Hyndman & Koehler, International Journal of Forecasting 2006.
    """
    return _ratio(mae(truth, point), scale)


def mase_scale(histories: Sequence[Floats], season: int) -> Floats:
    """The denominator of MASE and MSIS: mean |y_t - y_{t-season}| over each history, pairs with NaN left out. Unit of y. (W,)."""
    return lag_stats(histories, season).mean_abs


def owa(smape_value: float, mase_value: float, naive2_smape: float, naive2_mase: float) -> float:
    """Overall weighted average: (sMAPE / sMAPE of Naive2 + MASE / MASE of Naive2) / 2, of averages over all windows. No unit.

    Reference: M4 (Makridakis et al. 2020).
    """
    shares = _ratio(np.array([smape_value, mase_value]), np.array([naive2_smape, naive2_mase]))
    return float(shares.mean())


def nd(truth: Floats, point: Floats) -> float:
    """Normalised deviation: sum |y - f| / sum |y| over all windows. No unit.

    Reference: Salinas, Flunkert, Gasthaus & Januschowski, International Journal of Forecasting 2020 (DeepAR).
    """
    return float(_ratio(_sum(truth, np.abs(_pair(truth, point))).sum(), absolute_sums(truth).sum()))


def weighted_quantile_loss(truth: Floats, quantiles: Floats, probabilities: Sequence[float] = DECILES) -> float:
    """Mean over the quantiles of 2 sum pinball_p(y, q) / sum |y|, the sums over all windows. No unit.

    pinball_p(y, q) = max(p (y - q), (p - 1) (y - q)).

    Args:  quantiles: (W, F, Q). probabilities: (Q,); published figures use .1 ... .9.
    Reference: Park, Robinson et al. (GluonTS), JMLR 2020, `mean_wQuantileLoss`.
    """
    sums = pinball_sums(truth, quantiles, probabilities)
    return float(_ratio(2.0 * sums.sum() / max(len(probabilities), 1), absolute_sums(truth).sum()))


def pinball_sums(truth: Floats, quantiles: Floats, probabilities: Sequence[float]) -> Floats:
    """The pinball loss of each window, summed over its known steps and over the quantiles. Unit of y. Returns: (W,)."""
    check_shape("quantiles", quantiles, "W F Q", W=truth.shape[0], F=truth.shape[1], Q=len(probabilities))
    total = np.zeros(truth.shape[0])
    for j, p in enumerate(probabilities):
        error = _pair(truth, quantiles[..., j])
        total += _sum(truth, np.maximum(p * error, (p - 1.0) * error))
    return total


def absolute_sums(truth: Floats) -> Floats:
    """sum |y| over the known steps of each window. Unit of y. Returns: (W,)."""
    return np.asarray(np.nansum(np.abs(truth), axis=1))


def msis(truth: Floats, lo: Floats, hi: Floats, scale: Floats, level: float) -> Floats:
    """Mean scaled interval score: mean [hi - lo + 2/a (lo - y)⁺ + 2/a (y - hi)⁺] / scale, a = 1 - level / 100. No unit. (W,).

    Args:  lo, hi: (W, F). scale: (W,) from `mase_scale`. level: percent.
    Reference: Gneiting & Raftery, JASA 2007; M4 (Makridakis et al. 2020) with level 95.
    """
    miss = np.maximum(-_pair(truth, lo), 0.0) + np.maximum(_pair(truth, hi), 0.0)
    return _ratio(_mean(truth, hi - lo + 2.0 / (1.0 - level / 100.0) * miss), scale)


def coverage(truth: Floats, lo: Floats, hi: Floats) -> Floats:
    """The share of known truths inside [lo, hi]. No unit, 0 ... 1. Returns: (W,)."""
    below, above = _pair(truth, lo), _pair(truth, hi)
    inside = np.where(np.isnan(below) | np.isnan(above), np.nan, (below >= 0.0) & (above <= 0.0))
    return _mean(truth, inside)


def _pair(truth: Floats, forecast: Floats) -> Floats:
    check_shape("truth", truth, "W F")
    check_shape("forecast", forecast, "W F", W=truth.shape[0], F=truth.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(truth - forecast)


def _sum(truth: Floats, values: Floats) -> Floats:
    """Sum over the steps whose truth is known: (W,). A missing forecast at a known truth makes it NaN."""
    return np.asarray(np.sum(values, axis=1, where=~np.isnan(truth)))


def _mean(truth: Floats, values: Floats) -> Floats:
    known = (~np.isnan(truth)).sum(axis=1)
    return _ratio(_sum(truth, values), known)


def _ratio(part: Floats | float, whole: Floats | float) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratio = np.asarray(part, dtype=np.float64) / np.asarray(whole, dtype=np.float64)
    return np.where(np.isfinite(ratio), ratio, np.nan)
