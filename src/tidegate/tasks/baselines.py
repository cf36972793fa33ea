"""The naive methods that stand beside every score. In: W histories, 1-D, which may hold NaN. Out: forecasts (W, F), their spread.

What a method cannot know (an empty history, a phase of the season never seen) is NaN. Where the last value is missing, `last`
means the last one seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.decode.quantiles import Floats
from tidegate.errors import ConfigError
from tidegate.tasks.histories import Prefixes, first_known, lag_stats, last_cycle, last_known, prefixes, running_sums

_Z90 = 1.645  # the competition's own digits for its 90 % test


class Baseline(NamedTuple):
    """Forecasts of a naive method and the standard deviation of their errors, both in the unit of y."""

    point: Floats  # (W, F)
    spread: Floats  # (W, F)

    def quantile(self, p: float) -> Floats:
        """The quantile (W, F) of a Gaussian with this centre and spread."""
        return np.asarray(self.point + self.spread * NormalDist().inv_cdf(p))


def naive(histories: Sequence[Floats], horizon: int) -> Baseline:
    """The last value seen, for every step. Spread: sigma sqrt(k), sigma = root mean square of the one-step differences.

    Reference: Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 2021, 5.5.
    """
    steps = _steps(horizon)
    sigma = np.sqrt(lag_stats(histories, 1).mean_square)
    return Baseline(np.repeat(_last(histories)[:, None], horizon, axis=1), sigma[:, None] * np.sqrt(steps))


def seasonal_naive(histories: Sequence[Floats], horizon: int, season: int) -> Baseline:
    """The last value seen of the same phase. Spread: sigma sqrt(number of cycles begun), sigma from the seasonal differences."""
    steps = _steps(horizon)
    cycles = np.array([last_cycle(h, _season(season)) for h in histories])
    sigma = np.sqrt(lag_stats(histories, season).mean_square)
    phase = (np.arange(horizon)) % season
    return Baseline(cycles.reshape(-1, season)[:, phase], sigma[:, None] * np.sqrt(np.ceil(steps / season)))


def drift(histories: Sequence[Floats], horizon: int) -> Baseline:
    """The straight line through the first and the last value seen: y_T + k (y_T - y_1) / (T - 1).

    One value alone has no line: NaN. Spread: sigma sqrt(k (1 + k / (T - 1))), sigma of the one-step differences about the slope.
    """
    steps = _steps(horizon)
    ends = np.array([_ends(h) for h in histories]).reshape(-1, 4)
    first, last, span, unseen = ends.T
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        slope = np.where(span > 0, (last - first) / span, np.nan)[:, None]
        sigma = np.sqrt(np.maximum(lag_stats(histories, 1).mean_square[:, None] - slope**2, 0.0))
        point = last[:, None] + slope * (steps + unseen[:, None])
        return Baseline(point, sigma * np.sqrt(steps * (1.0 + steps / span[:, None])))


def naive2(histories: Sequence[Floats], horizon: int, season: int) -> Floats:
    """M4's Naive2: the naive method on the seasonally adjusted history, the season put back. The base of OWA. Returns: (W, F).

    Adjusted where the history has three seasons, only positive values, and an autocorrelation at the season outside its 90 %
    band: |r_s| > 1.645 sqrt((1 + 2 sum_{i<s} r_i²) / n). The season is that of the classical multiplicative decomposition: the
    mean over the cycles of y / (centred moving average), made to average 1.

    Reference: M4-methods, "Benchmarks and Evaluation.R" (Makridakis et al. 2020). R's `acf` stops at lag 10 log10(n), which there
    switches the test off for histories shorter than that needs; here the lag is always computed.
    """
    _steps(horizon)
    forecast = np.repeat(_last(histories)[:, None], horizon, axis=1)
    if _season(season) == 1:
        return forecast
    for group in prefixes(histories):
        index = _seasonal_indices(group, season)
        for row, length, figure in zip(group.rows, group.lengths, index, strict=True):
            seen = last_known(group.longest[:length])
            if seen >= 0:
                forecast[row] *= figure[(length + np.arange(horizon)) % season] / figure[seen % season]
    return forecast


def _steps(horizon: int) -> Floats:
    if horizon < 1:
        raise ConfigError(f"horizon: expected a whole number of at least 1, got {horizon}")
    return np.arange(1, horizon + 1, dtype=np.float64)


def _season(season: int) -> int:
    if season < 1:
        raise ConfigError(f"season: expected a whole number of at least 1, got {season}")
    return season


def _last(histories: Sequence[Floats]) -> Floats:
    """The last value seen: (W,)."""
    return np.array([_ends(h)[1] for h in histories], dtype=np.float64)


def _ends(history: Floats) -> tuple[float, float, float, float]:
    """The first and the last value seen, the steps between them and the steps unseen since."""
    late = last_known(history)
    if late < 0:
        return math.nan, math.nan, math.nan, math.nan
    early = first_known(history)
    return float(history[early]), float(history[late]), float(late - early), float(history.size - 1 - late)


def _seasonal_indices(group: Prefixes, season: int) -> Floats:
    """The multiplicative season of each window, phases counted from the start of the history: (rows, season). Ones: none."""
    index = np.ones((group.rows.size, season))
    y = group.longest
    positive, known = running_sums(y > 0.0, group.lengths), running_sums(~np.isnan(y), group.lengths)
    candidates = (group.lengths >= 3 * season) & (positive == known) & (known > 0)
    if not candidates.any():
        return index
    lengths = group.lengths[candidates]
    figure = _decomposed(y, lengths, season)
    usable = _is_seasonal(y, lengths, season) & np.isfinite(figure).all(axis=1) & (figure > 0.0).all(axis=1)
    index[np.flatnonzero(candidates)[usable]] = figure[usable]
    return index


def _is_seasonal(y: Floats, lengths: NDArray[np.intp], season: int) -> NDArray[np.bool_]:
    """M4's 90 % test of the autocorrelation at the season, for each prefix of y."""
    known = np.isfinite(y)
    # Centred and scaled over the whole array first: every prefix has its own mean, and its sums are corrected for it below.
    size = float(np.nanmax(np.abs(y)))
    unit = y / size
    u = np.where(known, unit - np.nanmean(unit), 0.0)
    seen = known.astype(np.float64)
    mean = (running_sums(u, lengths) / running_sums(seen, lengths))[:, None]
    if known.all():
        lags = np.arange(season + 1)
        sums = np.concatenate([[0.0], np.cumsum(u)])
        crossed, pairs = sums[lengths[:, None] - lags] + sums[lengths][:, None] - sums[lags], 1.0 * (lengths[:, None] - lags)
    else:
        crossed = _lag_sums(u, seen, lengths, season) + _lag_sums(seen, u, lengths, season)
        pairs = _lag_sums(seen, seen, lengths, season)
    covariance = _lag_sums(u, u, lengths, season) - mean * crossed + mean**2 * pairs
    with np.errstate(invalid="ignore", divide="ignore"):
        r = covariance[:, 1:] / covariance[:, :1]
        band = _Z90 * np.sqrt((1.0 + 2.0 * np.sum(r[:, :-1] ** 2, axis=1)) / lengths)
        return np.asarray(np.abs(r[:, -1]) > band)


def _lag_sums(early: Floats, late: Floats, lengths: NDArray[np.intp], season: int) -> Floats:
    """sum early_{t-k} late_t over each prefix, for the lags k = 0 ... season: (rows, season + 1)."""
    padded = np.concatenate([np.zeros(season), early])
    ends, row = np.unique(lengths, return_inverse=True)
    cuts = zip([0, *ends[:-1]], ends, strict=True)
    parts = np.array([np.correlate(padded[a : b + season], late[a:b], mode="valid")[::-1] for a, b in cuts])
    return np.asarray(np.cumsum(parts, axis=0)[row])


def _decomposed(y: Floats, lengths: NDArray[np.intp], season: int) -> Floats:
    """The season of the classical multiplicative decomposition of each prefix of y: (rows, season), averaging 1."""
    half = season // 2
    weights = np.ones(season) if season % 2 else np.concatenate([[0.5], np.ones(season - 1), [0.5]])
    ratio = np.full(-(-y.size // season) * season, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio[half : y.size - half] = y[half : y.size - half] / np.convolve(y, weights / season, mode="valid")
    sums, counts = _sums_by_phase(ratio, lengths - half, season)
    with np.errstate(invalid="ignore", divide="ignore"):
        figure = sums / counts
        return np.asarray(figure / figure.mean(axis=1, keepdims=True))


def _sums_by_phase(values: Floats, ends: NDArray[np.intp], season: int) -> tuple[Floats, Floats]:
    """The sum and the number of known values of each phase among the first `end` values: (rows, season) each."""
    cycles = values.reshape(-1, season)
    padded = np.concatenate([cycles, np.full((1, season), np.nan)])
    known = np.isfinite(padded)
    whole, rest = ends // season, ends % season
    begun = np.arange(season) < rest[:, None]
    return _first(np.where(known, padded, 0.0), whole, begun), _first(known.astype(np.float64), whole, begun)


def _first(cycles: Floats, whole: NDArray[np.intp], begun: NDArray[np.bool_]) -> Floats:
    """The sum over the first `whole` cycles, and of the phases begun in the next one: (rows, season)."""
    complete = np.concatenate([np.zeros((1, cycles.shape[1])), np.cumsum(cycles, axis=0)])
    return np.asarray(complete[whole] + begun * cycles[whole])
