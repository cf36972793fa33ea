"""Figures over many histories at once. In: W histories, 1-D, which may hold NaN. Out: one figure a window.

The histories of a rolling evaluation are views of the same long array, cut at growing lengths. They are found by their place in
memory, so that each array is walked once for all of its windows; any other histories give the same figures, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.decode.quantiles import Floats


class Prefixes(NamedTuple):
    """Windows whose histories begin at the same place of the same array."""

    longest: Floats  # (n,)
    rows: NDArray[np.intp]  # which windows
    lengths: NDArray[np.intp]  # the history of window rows[j] is longest[:lengths[j]]


class LagStats(NamedTuple):
    """Differences y_t - y_{t-lag} where both are known, for each window."""

    mean_abs: Floats  # (W,) NaN where no pair is known
    mean_square: Floats  # (W,)
    pairs: Floats  # (W,) how many are known


def prefixes(histories: Sequence[Floats]) -> Iterator[Prefixes]:
    """Group windows whose histories are cuts of one array."""
    held = [np.asarray(h) for h in histories]  # held, so that no address is used twice
    groups: dict[tuple[int, int, str], list[int]] = {}
    for row, history in enumerate(held):
        groups.setdefault((history.ctypes.data, history.strides[0], history.dtype.str), []).append(row)
    for rows in groups.values():
        lengths = np.array([held[row].size for row in rows], dtype=np.intp)
        longest = held[rows[int(lengths.argmax())]].astype(np.float64, copy=False)
        yield Prefixes(longest, np.array(rows, dtype=np.intp), lengths)


def lag_stats(histories: Sequence[Floats], lag: int) -> LagStats:
    """Mean absolute and mean squared difference at a lag."""
    absolute, square, count = (np.zeros(len(histories)) for _ in range(3))
    for group in prefixes(histories):
        size = np.abs(group.longest[lag:] - group.longest[:-lag])
        known = np.isfinite(size)
        size[~known] = 0.0
        ends = np.maximum(group.lengths - lag, 0)
        absolute[group.rows] = running_sums(size, ends)
        with np.errstate(over="ignore"):
            square[group.rows] = running_sums(size * size, ends)
        count[group.rows] = running_sums(known, ends)
    with np.errstate(invalid="ignore", divide="ignore"):
        return LagStats(absolute / count, square / count, count)


def running_sums(values: Floats | NDArray[np.bool_], ends: NDArray[np.intp]) -> Floats:
    """The sum of the first `end` values for each end."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return np.asarray(sums[ends])


def last_known(history: Floats) -> int:
    """The place of the last known value; -1 if there is none."""
    if history.size and np.isfinite(history[-1]):
        return history.size - 1
    known = np.flatnonzero(np.isfinite(history))
    return int(known[-1]) if known.size else -1


def first_known(history: Floats) -> int:
    """The place of the first known value; -1 if there is none."""
    if history.size and np.isfinite(history[0]):
        return 0
    known = np.flatnonzero(np.isfinite(history))
    return int(known[0]) if known.size else -1


def last_cycle(history: Floats, season: int) -> Floats:
    """The last known value of each phase, in the order in which the phases come next: (season,). NaN: never seen."""
    cycle = np.full(season, np.nan)
    for end in range(history.size, 0, -season):
        part = history[max(0, end - season) : end]
        place = slice(season - part.size, season)
        cycle[place] = np.where(np.isnan(cycle[place]), part, cycle[place])
        if not np.isnan(cycle).any():
            break
    return cycle
