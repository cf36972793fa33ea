"""Calendar features of local time stamps. In: int64 nanoseconds on the wall clock. Out: sines and cosines, from tables.

Called once a training batch, so nothing here computes a sine per row: a day is looked up in one table of the 400 years after
which the Gregorian calendar repeats, a time of day in another.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tidegate.data.zones import DAY, HOUR, MINUTE, SECOND

CYCLE = 146_097  # days of 400 years, a whole number of weeks
WITHIN_DAY = {"second of minute": (SECOND, 60), "minute of hour": (SECOND, 3600), "hour of day": (SECOND, 86_400)}


def features_of(kind: str, step: int) -> tuple[str, ...]:
    """Which features mean something for a clock of this kind and step."""
    if kind == "integer":
        return ()
    if kind == "month":
        return ("month of year",) if step % 12 else ()
    if kind == "business":
        return ("day of week", "day of year")
    longest = {"second of minute": MINUTE // 2, "minute of hour": HOUR // 2, "hour of day": DAY}
    names = [name for name, limit in longest.items() if step < limit]
    if step % (7 * DAY):
        names.append("day of week")
    return (*names, "day of year")


def column_names(features: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns: a sine and a cosine each."""
    return tuple(f"{wave} {name}" for name in features for wave in ("sin", "cos"))


def circle(phase: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """(n, 2) sine and cosine of phases in turns."""
    angle = 2 * np.pi * phase
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).astype(np.float32)


@lru_cache(maxsize=16)
def _day_table(features: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """(CYCLE, C) features of the days from 1970-01-01 on."""
    days = np.arange(CYCLE).astype("datetime64[D]")
    starts = days.astype("datetime64[Y]")
    length = ((starts + 1).astype("datetime64[D]") - starts.astype("datetime64[D]")).astype(np.int64)
    phases = {
        "day of week": (np.arange(CYCLE) + 3) % 7 / 7,  # 1970-01-01 was a Thursday, Monday is 0
        "day of year": (days - starts.astype("datetime64[D]")).astype(np.int64) / length,
    }
    return np.concatenate([circle(phases[f]) for f in features], axis=1)


@lru_cache(maxsize=16)
def _time_table(features: tuple[str, ...], every: int) -> npt.NDArray[np.float32]:
    """(86400 / every, C) features of the times of day, every so many seconds."""
    seconds = np.arange(0, 86_400, every)
    return np.concatenate([circle(seconds % WITHIN_DAY[f][1] / WITHIN_DAY[f][1]) for f in features], axis=1)


@lru_cache(maxsize=16)
def month_table() -> npt.NDArray[np.float32]:
    """(12, 2) month of year."""
    return circle(np.arange(12) / 12)


def features_at(local: npt.NDArray[np.int64], features: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """(n, C) features of wall-clock ns (n,)."""
    out = np.empty((len(local), 2 * len(features)), np.float32)
    within = tuple(f for f in features if f in WITHIN_DAY)
    beyond = tuple(f for f in features if f not in WITHIN_DAY)
    day = local // DAY
    if within:
        every = 1 if "second of minute" in within else 60
        out[:, : 2 * len(within)] = _time_table(within, every)[(local - day * DAY) // (every * SECOND)]
    if beyond:
        out[:, 2 * len(within) :] = _day_table(beyond)[day % CYCLE]
    return out
