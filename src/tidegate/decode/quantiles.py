"""Quantiles of a forecast. In: a grid of quantiles, or a distribution's parameters. Out: wanted quantiles.

Runs on NumPy alone. Knows nothing of series, scaling or files; conformal.py makes the intervals keep their promise.
Probabilities lie on the last axis of every answer: parameters (...) and P probabilities give (..., P).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tidegate.errors import ConfigError, ShapeError

Floats: TypeAlias = NDArray[np.float64]
Probabilities: TypeAlias = Sequence[float] | Floats

_T_NODES = 32  # Chebyshev nodes over 1/df: relative error of t below 1e-10 for p in .001 ... .999
# Above this the normal form of Peizer and Pratt misses by one count in 0.1 % of cases, and the continued fraction is slow.
_MOST_COUNTED = 1e8
_BOTH_LARGE = 400.0


def monotone(q: ArrayLike) -> Floats:
    """Put crossing quantiles in order by sorting over the last axis (rearrangement).

    Reference: Chernozhukov, Fernandez-Val & Galichon, Econometrica 2010: sorting never makes the quantiles worse.
    """
    return np.sort(np.asarray(q, dtype=np.float64), axis=-1)


def at_levels(q: ArrayLike, trained: Probabilities, wanted: Probabilities) -> Floats:
    """Quantiles at wanted probabilities from a trained grid, never decreasing in the probability.

    Inside the grid: linear in p. Beyond its ends: an exponential tail (not a Gaussian one, whose thin tail promises too much
    where errors have a heavier one) through the two outermost quantiles, or the outermost and the median where these enclose it:
    q(p) = q_Q + b log((1 - p_Q) / (1 - p)), b = (q_Q - q_a) / log((1 - p_a) / (1 - p_Q)), and its mirror image on the left.

    Args:  q: (..., Q) quantiles; rows that cross are put in order first. trained: (Q,) rising, in (0, 1). wanted: (P,) in (0, 1).
    Returns: (..., P).
    Raises: ConfigError for other probabilities, or a tail asked of a grid of one; ShapeError if q is not (..., Q).
    """
    table = _table(_key("trained", trained), _key("wanted", wanted))
    grid = monotone(q)
    if grid.ndim == 0 or grid.shape[-1] != table.trained:
        raise ShapeError(f"q: expected (..., {table.trained}), one quantile for each trained probability, got {grid.shape}")
    if table.exact is not None:
        return grid.take(table.exact, -1)
    rows = grid.transpose(-1, *range(grid.ndim - 1))  # a probability a row: whole rows are what is added and compared
    weights = (-1, *(1,) * (grid.ndim - 1))
    found = table.left_weight.reshape(weights) * rows.take(table.left, 0)
    found += table.right_weight.reshape(weights) * rows.take(table.right, 0)
    np.maximum.accumulate(found, axis=0, out=found)
    if table.place is not None:
        found = found.take(table.place, 0)
    return found.transpose(*range(1, grid.ndim), 0)


def _key(name: str, p: Probabilities) -> tuple[float, ...]:
    return p if isinstance(p, tuple) else tuple(_checked(name, p).tolist())


class _Table(NamedTuple):
    """Where each wanted probability stands among the trained ones; the wanted ones in rising order."""

    trained: int  # Q
    left: NDArray[np.intp]  # (P,)
    right: NDArray[np.intp]
    left_weight: Floats
    right_weight: Floats
    place: NDArray[np.intp] | None  # (P,) of each wanted one in that order; None: they rise already
    exact: NDArray[np.intp] | None  # (P,) which trained one is the wanted one, where each of them is trained


@functools.lru_cache(maxsize=64)
def _table(trained: tuple[float, ...], wanted: tuple[float, ...]) -> _Table:
    have, want = _checked("trained", trained), _checked("wanted", wanted)
    if have.size == 0 or np.any(np.diff(have) <= 0):
        raise ConfigError(f"trained: expected rising probabilities, got {have.tolist()}")
    order = np.argsort(want, kind="stable")
    left, weight = neighbours(have, want[order])
    rises = bool((order == np.arange(want.size)).all())
    place = None if rises else np.argsort(order, kind="stable")
    exact = np.searchsorted(have, want) if set(wanted) <= set(trained) else None
    return _Table(have.size, left, np.minimum(left + 1, have.size - 1), 1.0 - weight, weight, place, exact)


def checked_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """The interval levels, rising, after the check that each is a percentage from 1 to below 100, given once."""
    if isinstance(levels, (str, int, float)):
        raise ConfigError(f"levels: expected several percentages, such as (80, 95), got {levels!r}; write ({levels},)")
    for level in levels:
        if isinstance(level, (bool, str)) or not 0.0 < level < 100.0:
            raise ConfigError(f"levels: expected percentages between 0 and 100, such as 80 and 95, got {level!r}")
        if level < 1.0:
            raise ConfigError(f"levels: expected percentages of at least 1, got {level!r}; did you mean {100 * level:g}?")
    if len(set(levels)) != len(levels):
        raise ConfigError(f"levels: expected each level once, got {tuple(levels)}")
    return tuple(sorted(levels))


def level_ends(level: float) -> tuple[float, float]:
    """The two probabilities of one central interval: 80 gives (.1, .9)."""
    # Twelve digits, so that 80 means the trained .1 and not .09999999999999998.
    return round((1.0 - level / 100.0) / 2.0, 12), round((1.0 + level / 100.0) / 2.0, 12)


def lower_bound(q: ArrayLike, lower: float) -> Floats:
    """Raise every quantile to at least `lower` (a stated option of the forecaster, such as 0 for sales). NaN stays NaN."""
    if not math.isfinite(lower):
        raise ConfigError(f"lower: expected a finite number, got {lower}")
    return np.maximum(np.asarray(q, dtype=np.float64), lower)


def gaussian_quantile(mean: ArrayLike, scale: ArrayLike, p: Probabilities) -> Floats:
    """Quantiles of the Gaussian: mean + scale z(p).

    Args:  mean: (...). scale: (...), standard deviation > 0. p: (P,) in (0, 1).
    Returns: (..., P).
    """
    z = np.array([NormalDist().inv_cdf(value) for value in _checked("p", p)])
    m, s = np.broadcast_arrays(_float(mean), _positive("scale", scale))
    return np.asarray(m[..., None] + s[..., None] * z)


def student_t_quantile(df: ArrayLike, loc: ArrayLike, scale: ArrayLike, p: Probabilities) -> Floats:
    """Quantiles of Student's t: loc + scale t_df(p).

    For one p, log t_df(p) is a smooth function of 1/df alone: computed once at Chebyshev nodes (incomplete beta function and
    bisection), kept, and interpolated for every df. Relative error below 1e-10 for p in .001 ... .999 and df in 1.01 ... 1e6.

    Args:  df: (...) > 1. loc: (...). scale: (...) > 0. p: (P,) in (0, 1).
    Returns: (..., P).
    """
    freedom = _float(df)
    if np.any(freedom <= 1.0):
        raise ConfigError(f"df: expected > 1, where the mean exists, got {float(np.nanmin(freedom))}")
    freedom, centre, spread = np.broadcast_arrays(freedom, _float(loc), _positive("scale", scale))
    answer = np.empty((*freedom.shape, len(p)))
    for j, value in enumerate(_checked("p", p)):
        answer[..., j] = centre + spread * _standard_t(freedom, float(value))
    return answer


def negative_binomial_quantile(mean: ArrayLike, dispersion: ArrayLike, p: Probabilities) -> Floats:
    """Quantiles of the negative binomial with variance = mean + dispersion mean²: the smallest integer k with P(X <= k) >= p.

    P(X <= k) = I_u(r, k + 1), r = 1 / dispersion, u = 1 / (1 + dispersion mean): by continued fraction, or by the normal form of
    Peizer & Pratt where r and k both exceed 400 (then one count off in 0.1 % of cases), searched by Newton steps inside a bracket
    that halves at least every third step. Where r is less, a mean above 1e8 is scaled down to it (all but the gamma
    distribution by then, within 1e-5 of the mean for dispersions up to 3): the fraction loses its digits further up.

    Args:  mean: (...) >= 0. dispersion: (...) > 0 (1e-9 is the Poisson distribution for every purpose). p: (P,) in (0, 1).
    Returns: (..., P) whole numbers as float64; NaN where a parameter is NaN.
    Reference: Peizer & Pratt, JASA 1968; Press et al., Numerical Recipes 2007, 6.4.
    """
    m, a = np.broadcast_arrays(_float(mean), _positive("dispersion", dispersion))
    if np.any(m < 0.0):
        raise ConfigError(f"mean: expected >= 0, got {float(np.nanmin(m))}")
    wanted = _checked("p", p)
    full = (*m.shape, wanted.size)
    m, a, level = (np.broadcast_to(v, full).ravel() for v in (m[..., None], a[..., None], wanted))
    answer = np.where(np.isnan(m) | np.isnan(a), np.nan, 0.0)
    live = np.isfinite(m) & np.isfinite(a) & (m > 0.0)
    searched = np.where(1.0 / a[live] > _BOTH_LARGE, m[live], np.minimum(m[live], _MOST_COUNTED))
    with np.errstate(over="ignore"):
        answer[live] = np.floor(_search_count(searched, a[live], level[live]) * (m[live] / searched))
    return np.asarray(answer.reshape(full))


def _float(value: ArrayLike) -> Floats:
    return np.asarray(value, dtype=np.float64)


def _positive(name: str, value: ArrayLike) -> Floats:
    array = _float(value)
    if np.any(array <= 0.0):
        raise ConfigError(f"{name}: expected > 0, got {float(np.nanmin(array))}")
    return array


def _checked(name: str, p: Probabilities) -> Floats:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or not np.all((values > 0.0) & (values < 1.0)):
        raise ConfigError(f"{name}: expected a list of probabilities in (0, 1), got {values.tolist()}")
    return values


def neighbours(have: Floats, want: Floats) -> tuple[NDArray[np.intp], Floats]:
    """The left neighbour of each wanted p and the weight of the right one: 0 ... 1 inside the grid, else in the tails.

    Args:  have: (Q,) rising, in (0, 1). want: (P,) in (0, 1). Raises: ConfigError for a tail asked of a grid of one.
    """
    if have.size == 1:
        if np.any(want != have[0]):
            got = f"{want.tolist()} of a model with the one quantile {have[0]}"
            raise ConfigError(f"wanted: expected the trained probabilities, got {got}: train at least two quantiles")
        return np.zeros(want.size, dtype=np.intp), np.zeros(want.size)
    left = np.clip(np.searchsorted(have, want, side="right") - 1, 0, have.size - 2)
    weight = (want - have[left]) / (have[left + 1] - have[left])
    weight = np.where(want == have[left + 1], 1.0, weight)
    high, low = want > have[-1], want < have[0]
    weight[high] = 1.0 + _tail(1.0 - have[-1], 1.0 - have[-2], 1.0 - want[high])
    weight[low] = -_tail(have[0], have[1], want[low])
    return left, weight


def _tail(last: float, inner: float, wanted: Floats) -> Floats:
    """How far beyond the last quantile, in gaps between the last two; arguments are probabilities outside the quantile."""
    share = 1.0
    if inner > 0.5 > last:  # the gap crosses the median: its outer half sets the tail
        share, inner = (0.5 - last) / (inner - last), 0.5
    return np.asarray(share * np.log(last / wanted) / math.log(inner / last))


def _standard_t(df: Floats, p: float) -> Floats:
    """t_df(p) for many df, from the table of this p."""
    if p == 0.5:
        return np.zeros(df.shape)
    size = np.exp(np.polynomial.chebyshev.chebval(2.0 / df - 1.0, _t_table(min(p, 1.0 - p))))
    return np.asarray(math.copysign(1.0, p - 0.5) * size)


def student_t_series(p: float) -> Floats:
    """(32,) Chebyshev coefficients, over 2/df - 1, of log |t_df(p)|, p in (0, 1) but not 0.5: what `student_t_quantile` sums."""
    return _t_table(min(p, 1.0 - p)).copy()


@functools.lru_cache(maxsize=256)
def _t_table(tail: float) -> Floats:
    """Chebyshev coefficients of log t over 2/df - 1, where P(T > t) = tail < 1/2, by bisection at every node."""
    nodes = np.cos(np.pi * (np.arange(_T_NODES) + 0.5) / _T_NODES)
    df = 2.0 / (nodes + 1.0)
    low, high = np.full(_T_NODES, -60.0), np.full(_T_NODES, 80.0)
    for _ in range(56):  # 140 / 2^56 is one rounding error of log t
        middle = 0.5 * (low + high)
        above = _t_tail(df, np.exp(middle)) > tail
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray(np.polynomial.chebyshev.chebfit(nodes, 0.5 * (low + high), _T_NODES - 1))


def _t_tail(df: Floats, t: Floats) -> Floats:
    """P(T > t) for t > 0, from the incomplete beta function of the end that is near."""
    ratio = t * t / df
    a, b = df / 2.0, np.full(df.shape, 0.5)
    x, y = 1.0 / (1.0 + ratio), ratio / (1.0 + ratio)
    front = np.exp(_log_gamma_ratio(a, b) - 0.5 * math.log(math.pi) - a * np.log1p(ratio) + b * np.log(y))
    far = x < (a + 1.0) / (a + b + 2.0)
    first, second = np.where(far, a, b), np.where(far, b, a)
    part = front * _beta_fraction(first, second, np.where(far, x, y)) / first
    return np.asarray(np.where(far, 0.5 * part, 0.5 * (1.0 - part)))


def _beta_fraction(a: Floats, b: Floats, x: Floats) -> Floats:
    """The continued fraction of the incomplete beta function by Lentz's method, for x < (a + 1) / (a + b + 2)."""
    answer = np.empty(a.shape)
    live = np.arange(a.size)
    c, d = np.ones(a.size), 1.0 / (1.0 - (a + b) * x / (a + 1.0))
    h = d.copy()
    for m in range(1, 20_000):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        d, c = 1.0 / _off_zero(1.0 + even * d), _off_zero(1.0 + even / c)
        h = h * d * c
        d, c = 1.0 / _off_zero(1.0 + odd * d), _off_zero(1.0 + odd / c)
        h = h * d * c
        done = np.abs(d * c - 1.0) < 1e-15
        if done.any():
            answer[live[done]] = h[done]
            keep = ~done
            live, a, b, x, c, d, h = live[keep], a[keep], b[keep], x[keep], c[keep], d[keep], h[keep]
            if live.size == 0:
                return answer
    answer[live] = h
    return answer


def _off_zero(value: Floats) -> Floats:
    return np.where(np.abs(value) < 1e-300, 1e-300, value)


def _search_count(m: Floats, a: Floats, p: Floats) -> Floats:
    """The smallest k with P(X <= k) >= p for each row, by Newton steps kept inside the bracket (below, above]."""
    below, above = np.full(m.size, -1.0), np.full(m.size, np.inf)
    k = _first_guess(m, a, p)
    live = np.arange(m.size)
    for turn in range(400):
        value, slope = _count_score(k[live], m[live], a[live], p[live])
        enough = value >= 0.0
        above[live[enough]] = k[live[enough]]
        below[live[~enough]] = k[live[~enough]]
        # Whole numbers above 2^53 have gaps of their own, so the bracket closes on neighbouring floats.
        open_ = (above[live] - below[live] > 1.0) & (np.nextafter(below[live], np.inf) < above[live])
        live, value, slope = live[open_], value[open_], slope[open_]
        if live.size == 0:
            break
        low, high = below[live], above[live]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = np.floor(k[live] - value / slope)
        widen = np.isinf(high)
        middle = np.where(widen, 2.0 * low + 2.0, np.floor(0.5 * (low + np.where(widen, low, high))))
        bad = ~np.isfinite(step) | (turn % 3 == 2)
        k[live] = np.clip(np.where(bad, middle, step), low + 1.0, np.where(widen, 4.0 * low + 8.0, high - 1.0))
    return above


def _first_guess(m: Floats, a: Floats, p: Floats) -> Floats:
    """Wilson and Hilferty's cube root of the Gamma distribution with the same mean and variance."""
    z = np.array([NormalDist().inv_cdf(value) for value in np.unique(p)])[np.searchsorted(np.unique(p), p)]
    shape = m / (1.0 + a * m)
    root = np.maximum(1.0 - 1.0 / (9.0 * shape) + z / (3.0 * np.sqrt(shape)), 0.0)
    return np.asarray(np.floor(np.minimum(m * root**3, 1e300)))


def _count_score(k: Floats, m: Floats, a: Floats, p: Floats) -> tuple[Floats, Floats]:
    """A value that is >= 0 where P(X <= k) >= p, and its slope in k."""
    r = 1.0 / a
    value, slope = np.empty(k.size), np.empty(k.size)
    large = (r > _BOTH_LARGE) & (k > _BOTH_LARGE)
    for rows, score in ((large, _normal_score), (~large, _exact_score)):
        if rows.any():
            value[rows], slope[rows] = score(k[rows], m[rows], r[rows], p[rows])
    return value, slope


def _exact_score(k: Floats, m: Floats, r: Floats, p: Floats) -> tuple[Floats, Floats]:
    """P(X <= k) - p by the continued fraction, and P(X = k) as its slope."""
    u, v = r / (r + m), m / (r + m)
    b = k + 1.0
    # log u^r v^b / B(r, b); r log u through log1p, because u is next to 1 where r is large.
    log_front = _log_rising(r, b) - r * np.log1p(m / r) + b * np.log(v)
    front = np.exp(log_front)
    flip = u >= (r + 1.0) / (r + b + 2.0)
    first, second, x = np.where(flip, b, r), np.where(flip, r, b), np.where(flip, v, u)
    part = front * _beta_fraction(first, second, x) / first
    cdf = np.where(flip, 1.0 - part, part)
    return cdf - p, front / ((r + k) * v)


def _log_rising(r: Floats, b: Floats) -> Floats:
    """log Γ(r + b) / (Γ(r) Γ(b)), without the loss of digits where r is huge."""
    return np.asarray(_log_gamma_ratio(r, b) - _log_gamma(b))


def _log_gamma(x: Floats) -> Floats:
    """log Γ(x) for x > 0: Stirling's series after moving x above 10."""
    shift = np.maximum(0.0, np.ceil(10.0 - x))
    product = np.ones(x.shape)
    for i in range(int(shift.max(initial=0.0))):
        product = np.where(i < shift, product * (x + i), product)
    y = x + shift
    return np.asarray((y - 0.5) * np.log(y) - y + 0.5 * math.log(2 * math.pi) + _stirling(y) - np.log(product))


def _stirling(y: Floats) -> Floats:
    w = 1.0 / (y * y)
    return np.asarray((1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188)))) / y)


def _log_gamma_ratio(r: Floats, b: Floats) -> Floats:
    """log Γ(r + b) / Γ(r)."""
    big = r > 10.0
    s = np.where(big, r, 10.0)
    # (s + b - 1/2) log(s + b) - (s - 1/2) log s - b, arranged so that the large parts never meet.
    far = (s - 0.5) * np.log1p(b / s) + b * np.log(s + b) - b + _stirling(s + b) - _stirling(s)
    return np.asarray(np.where(big, far, _log_gamma(r + b) - _log_gamma(r)))


def _normal_score(k: Floats, m: Floats, r: Floats, p: Floats) -> tuple[Floats, Floats]:
    """z(k) - z(p), the normal deviate of P(X <= k) after Peizer & Pratt, and 1 / standard deviation as its slope."""
    u, v = r / (r + m), m / (r + m)
    n, s, t = k + r, k + 0.5, r - 0.5
    d = s + 1 / 6 - (n + 1 / 3) * v + 0.02 * (u / (s + 0.5) - v / (t + 0.5) + (u - v) * 0.5 / (n + 1.0))
    spread = 1.0 + u * _peizer(s / (n * v)) + v * _peizer(t / (n * u))
    z = d * np.sqrt(np.maximum(spread, 0.0) / ((n + 1 / 6) * u * v))
    deviates = {value: NormalDist().inv_cdf(value) for value in np.unique(p)}
    return z - np.array([deviates[value] for value in p]), 1.0 / np.sqrt(m + m * m / r)


def _peizer(x: Floats) -> Floats:
    """g(x) = (1 - x² + 2 x log x) / (1 - x)², its series near 1, where the formula loses its digits."""
    e = x - 1.0
    near = np.abs(e) < 0.02
    safe = np.where(near, 2.0, x)
    far = (1.0 - safe * safe + 2.0 * safe * np.log(safe)) / (1.0 - safe) ** 2
    series = e * (-1 / 3 + e * (1 / 6 - e * (1 / 10 - e * (1 / 15 - e * (1 / 21 - e / 28)))))
    return np.asarray(np.where(near, series, far))
