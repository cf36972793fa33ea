"""Which season lengths the data supports. In: series and candidate lengths. Out: seasons, short to long, (1,) when there is
none.

The test is the one of the M4 competition (autocorrelation at the season against a 90 % noise band; Makridakis et al. 2020),
on differences, so that neither a trend nor a slow yearly wave passes for a season, and on the mean over a sample of series.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SAMPLE_SERIES, LONGEST = 100, 20_000
Z90 = 1.645  # a given candidate: one test
Z_SEARCH = 4.0  # all lags up to a third of the length: hundreds of tests
WEAKEST = 0.1  # an autocorrelation below this helps no forecast, however sure it is


def infer_season(
    y: Sequence[npt.NDArray[np.floating]] | npt.NDArray[np.floating], candidates: Sequence[int] = (), *,
    offsets: npt.NDArray[np.int64] | None = None,
) -> tuple[int, ...]:  # fmt: skip
    """Season lengths that the series support.

    Args: y: a list of (T,) series, or one flat array with offsets (N+1,); NaN = missing. candidates: lengths to test, for
        instance Clock.seasons; without any, peaks of the autocorrelation up to a third of the series' length.
    """
    steps = [np.diff(s) for s in _sample(y, offsets)]
    known = [c for c in sorted(set(candidates)) if c > 1]
    longest = max((len(s) + 1 for s in steps), default=0) // 3
    limit = min(longest, max(known, default=longest))
    if limit < 2:
        return (1,)
    return tuple(_test(steps, known, limit) if known else _search(steps, limit)) or (1,)


def _test(steps: Sequence[npt.NDArray[np.float64]], candidates: Sequence[int], limit: int) -> list[int]:
    """The candidates that stand out, each after what the shorter ones repeat is taken away."""
    found: list[int] = []
    for p in candidates:
        if p <= limit:
            acf, count = _mean_acf([_seasonal_difference(s, found) for s in steps], limit + 1)
            if _stands_out(acf, Z90 * np.sqrt(_spread(acf) / count), p):
                found.append(p)
    return found


def _search(steps: Sequence[npt.NDArray[np.float64]], limit: int) -> list[int]:
    """The first strong peak, and the multiple of it that repeats best in what it leaves over."""
    acf, count = _mean_acf(steps, limit + 1)
    found = _first_peak(acf, Z_SEARCH / np.sqrt(count), limit)
    if found:
        left, count = _mean_acf([_seasonal_difference(s, found) for s in steps], limit + 1)
        band = Z_SEARCH * np.sqrt(_spread(left) / count)
        multiples = [p for p in range(2 * found[0], limit + 1, found[0]) if _stands_out(left, band, p)]
        found += sorted(multiples, key=lambda p: -float(left[p]))[:1]
    return found


def _seasonal_difference(x: npt.NDArray[np.float64], seasons: Sequence[int]) -> npt.NDArray[np.float64]:
    """The series minus itself one season ago, for each season; empty where nothing but rounding is left."""
    size = np.nanmax(np.abs(x), initial=0.0)
    for p in seasons:
        x = x[p:] - x[:-p] if len(x) > p else x[:0]
    return x if np.nanmax(np.abs(x), initial=0.0) > 1e-9 * size else x[:0]


def _sample(y: Sequence[np.ndarray] | np.ndarray, offsets: npt.NDArray[np.int64] | None) -> list[npt.NDArray[np.float64]]:
    """At most SAMPLE_SERIES series, spread evenly, each with its last LONGEST values."""
    if isinstance(y, np.ndarray) and offsets is None:
        offsets = np.array([0, len(y)])
    count = len(y) if offsets is None else len(offsets) - 1
    chosen = np.linspace(0, count - 1, min(count, SAMPLE_SERIES)).astype(int).tolist() if count else []
    parts = [y[i] if offsets is None else y[offsets[i] : offsets[i + 1]] for i in chosen]
    return [np.asarray(p, dtype=np.float64).reshape(-1)[-LONGEST:] for p in parts]


def _mean_acf(series: Sequence[npt.NDArray[np.float64]], lags: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(lags+1,) mean autocorrelation and the number of values behind it; NaN where no series is long enough."""
    total, weight, lengths = np.zeros(lags + 1), np.zeros(lags + 1), np.zeros(lags + 1)
    for s in series:
        reach = min(lags, len(s) // 3 + 1)  # three seasons at least, as in M4
        acf = _acf(s, reach) if reach >= 2 else None
        if acf is not None:
            total[: reach + 1] += acf
            weight[: reach + 1] += 1
            lengths[: reach + 1] += len(s)
    enough = weight >= max(1, 0.5 * len(series))
    with np.errstate(invalid="ignore", divide="ignore"):
        # Series of one source move together: nine of them count as nine, nine hundred do not count as nine hundred.
        return np.where(enough, total / weight, np.nan), lengths / weight * np.minimum(weight, 9)


def _spread(acf: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """M4's widening of the band at lag p by the autocorrelations at shorter lags."""
    return 1 + np.concatenate([[0.0, 0.0], np.cumsum(2 * np.nan_to_num(acf[1:-1]) ** 2)])


def _acf(x: npt.NDArray[np.float64], lags: int) -> npt.NDArray[np.float64] | None:
    """(lags+1,) autocorrelation of a series that may hold NaN, each lag a mean over the pairs it has; None if it is constant."""
    known = np.isfinite(x)
    if known.sum() < 4:
        return None
    largest = np.abs(x[known]).max()
    x = np.where(known, x / (largest or 1.0), 0.0)
    x = np.where(known, x - x.sum() / known.sum(), 0.0)
    size = 1 << (len(x) + lags).bit_length()
    products = np.fft.irfft(np.abs(np.fft.rfft(x, size)) ** 2, size)[: lags + 1]
    pairs = np.round(np.fft.irfft(np.abs(np.fft.rfft(known.astype(float), size)) ** 2, size)[: lags + 1])
    variance = products[0] / pairs[0]
    if variance <= 1e-20:
        return None
    acf: npt.NDArray[np.float64] = np.divide(products, pairs, out=np.zeros(lags + 1), where=pairs > 0) / variance
    return acf


def _stands_out(acf: npt.NDArray[np.float64], band: npt.NDArray[np.float64], p: int) -> bool:
    """Above the noise band, not negligible, and a peak among its neighbours."""
    neighbours = max(acf[p - 1] if p > 2 else -1.0, acf[p + 1])
    return bool(acf[p] > max(band[p], WEAKEST) and not acf[p] < neighbours)


def _first_peak(acf: npt.NDArray[np.float64], band: npt.NDArray[np.float64], limit: int) -> list[int]:
    """The shortest period whose peak is nearly as high as the highest, with a valley half a period before it; [] if none."""
    peaks = [
        p
        for p in range(3, limit + 1)
        if _stands_out(acf, band, p) and acf[(p + 1) // 2] < acf[p] - WEAKEST and acf[p] > 2 * WEAKEST
    ]
    if not peaks:
        return []
    first = next(p for p in peaks if acf[p] >= 0.7 * max(acf[q] for q in peaks))
    return [max((p for p in peaks if first <= p <= 1.3 * first), key=lambda p: float(np.mean(acf[p : limit + 1 : p][:4])))]
