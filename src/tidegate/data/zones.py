"""Time zones as arithmetic on int64 nanoseconds. In: instants in UTC, or local wall-clock times. Out: the other of the two,
vectorised.

A zone is an IANA name or a fixed offset "+01:00". Changes of the clock are tabled once a zone for 1900-2100; later ones are
not known today. Leaves the reading of time text to timetext.py.
"""

from __future__ import annotations

import datetime as dt
import io
import re
import zoneinfo
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tidegate.errors import DataError, shown

SECOND = 10**9
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
NAT = np.iinfo(np.int64).min
_NAME = re.compile(r"[A-Za-z0-9_+-]{1,30}(?:/[A-Za-z0-9_+-]{1,30}){0,3}")
_FIXED = re.compile(r"([+-])(\d\d):?(\d\d)?")


class Changes(NamedTuple):
    """A zone's changes: at: (n,) UTC ns of each; offsets: (n+1,) ns east of UTC before, between and after them."""

    at: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]


@lru_cache(maxsize=64)
def changes(zone: str) -> Changes:
    """The table of a zone.

    Raises: DataError if the zone is neither a fixed offset nor a name known on this machine.
    """
    fixed = _FIXED.fullmatch(zone)
    if fixed:
        minutes = int(fixed[2]) * 60 + int(fixed[3] or 0)
        return Changes(np.empty(0, np.int64), np.array([minutes * MINUTE * (-1 if fixed[1] == "-" else 1)]))
    if zone.upper() in ("UTC", "Z", "GMT", "ETC/UTC"):
        return Changes(np.empty(0, np.int64), np.zeros(1, np.int64))
    try:
        info = _zone(zone)
    except (ValueError, OSError, ImportError) as e:
        raise DataError(
            f"time zone {shown(zone)}: expected an IANA name such as 'Europe/Berlin' or an offset such as '+01:00'. "
            "Where the system has no table of zones: pip install tzdata."
        ) from e
    return _tabulate(info)


def _zone(name: str) -> zoneinfo.ZoneInfo:
    """The zone's own table, of the system or else of the package tzdata.

    `ZoneInfo(name)` would look in the package by importing a module called after the zone, and the name may come from a file.
    Raises: ValueError for what is no name of a zone; OSError or ImportError where there is no table of it.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("not a name of a time zone")
    parts = name.split("/")
    for folder in zoneinfo.TZPATH:
        path = Path(folder, *parts)
        if path.is_file():
            with path.open("rb") as stream:
                return zoneinfo.ZoneInfo.from_file(stream, key=name)
    from importlib.resources import files  # slow to import, and seldom needed

    table = files("tzdata").joinpath("zoneinfo", *parts)
    return zoneinfo.ZoneInfo.from_file(io.BytesIO(table.read_bytes()), key=name)


def _tabulate(info: zoneinfo.ZoneInfo) -> Changes:
    """Look at the offset once a week and halve the week around each change, to the second."""
    week = 7 * 86_400
    first, last = -2_208_988_800, 4_102_444_800  # 1900 and 2100
    at: list[int] = []
    offsets = [_offset(info, first)]
    for start in range(first, last, week):
        if _offset(info, start + week) == offsets[-1]:
            continue
        low, high = start, start + week
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _offset(info, middle) == offsets[-1] else (low, middle)
        at.append(high * SECOND)
        offsets.append(_offset(info, start + week))
    return Changes(np.array(at, np.int64), np.array(offsets, np.int64) * SECOND)


def _offset(info: zoneinfo.ZoneInfo, second: int) -> int:
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc) + dt.timedelta(seconds=second)
    offset = moment.astimezone(info).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


def to_local(utc: npt.NDArray[np.int64], zone: str | None) -> npt.NDArray[np.int64]:
    """Wall-clock ns of instants in UTC ns; without a zone the same."""
    if zone is None:
        return utc
    table = changes(zone)
    if len(table.at) == 0:
        return np.asarray(utc + table.offsets[0])
    # A batch spans few changes of the clock: the search over those few is the fast one.
    first, last = np.searchsorted(table.at, (utc.min(), utc.max()), side="right") if utc.size else (0, 0)
    if first == last:
        return np.asarray(utc + table.offsets[first])
    return np.asarray(utc + table.offsets[first + np.searchsorted(table.at[first:last], utc, side="right")])


def to_utc(local: npt.NDArray[np.int64], zone: str | None) -> npt.NDArray[np.int64]:
    """UTC ns of wall-clock ns. A time that occurs twice is its first; one that the clock skips is moved forward by the skip."""
    if zone is None:
        return local
    table = changes(zone)
    if len(table.at) == 0:
        return np.asarray(local - table.offsets[0])
    segment = np.searchsorted(table.at + table.offsets[:-1], local, side="right")
    utc = local - table.offsets[segment]
    before = np.maximum(segment - 1, 0)
    skipped = (segment > 0) & (utc < table.at[before])
    return np.where(skipped, local - table.offsets[before], utc)


def instants_text(instants: np.ndarray, zone: str | None) -> list[str]:
    """Instants as ISO text: dates where all are at midnight, else with time; a zone's in UTC with Z (a fixed offset stays)."""
    ticks = np.asarray(instants, dtype="datetime64[ns]").view(np.int64)
    fixed = zone is not None and len(changes(zone).at) == 0
    offset = int(changes(zone).offsets[0]) if zone is not None and fixed else 0
    missing = ticks == NAT
    local = np.where(missing, 0, ticks + np.where(missing, 0, offset))
    suffix = "" if zone is None else "Z" if offset == 0 else zone
    unit = next(u for u, size in (("D", DAY), ("s", SECOND), ("ms", 10**6), ("us", 10**3), ("ns", 1)) if not (local % size).any())
    if unit == "D" and zone is not None:
        unit = "s"
    texts: list[str] = local.view("datetime64[ns]").astype(f"datetime64[{unit}]").astype(str).tolist()
    return ["" if m else t.replace("T", " ") + suffix for t, m in zip(texts, missing.tolist(), strict=True)]
