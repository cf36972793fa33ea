"""Time stamps written as text. In: texts. Out: int64 nanoseconds, the zone, and the format, so that answers are written the
same way.

One column has one format, found from its first text; nothing is guessed value by value. A date such as 03/04/2020 is read
only where the column itself shows which number is the day.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.data.columns import MISSING, offset_name, to_ns
from tidegate.data.zones import DAY, HOUR, MINUTE, NAT, SECOND, to_local
from tidegate.errors import DataError

_TIME = r"(?:(?P<sep>[T ]) ?(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?(?: ?(?P<p>[AaPp][Mm]))?)?"
_ZONE = r" ?(?P<z>Z|z|UTC|[+-]\d{2}:?(?:\d{2})?)?"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_PATTERNS = {
    "ymd": re.compile(r"(?P<Y>\d{4})(?P<d1>[-/.])(?P<m>\d{1,2})(?P=d1)(?P<d>\d{1,2})" + _TIME + _ZONE, re.ASCII),
    "ym": re.compile(r"(?P<Y>\d{4})(?P<d1>[-/.])(?P<m>\d{1,2})", re.ASCII),
    "compact": re.compile(r"(?P<Y>\d{4})(?P<m>\d{2})(?P<d>\d{2})" + _TIME + _ZONE, re.ASCII),
    "quarter": re.compile(r"(?P<Y>\d{4})(?P<d1>[- ]?)Q(?P<q>[1-4])", re.ASCII),
    "dmy": re.compile(r"(?P<d>\d{1,2})(?P<d1>[-/.])(?P<m>\d{1,2})(?P=d1)(?P<Y>\d{4})" + _TIME + _ZONE, re.ASCII),
    "mdy": re.compile(r"(?P<m>\d{1,2})(?P<d1>[-/])(?P<d>\d{1,2})(?P=d1)(?P<Y>\d{4})" + _TIME + _ZONE, re.ASCII),
    "dby": re.compile(r"(?P<d>\d{1,2})(?P<d1>[- ])(?P<b>[A-Za-z]{3})(?P=d1)(?P<Y>\d{4})" + _TIME + _ZONE, re.ASCII),
    "by": re.compile(r"(?P<b>[A-Za-z]{3})(?P<d1>[- ])(?P<Y>\d{4})", re.ASCII),
}
EXAMPLES = "'2012-01-31', '2012-01-31 13:00', '2012-01', '2012Q1', '31.01.2012' or '31-Jan-2012'"


class _Fields(NamedTuple):
    """Fields of all texts, each (N,) int64; zone in minutes east of UTC, -1 = none written. `bad`: (N,) bool."""

    year: npt.NDArray[np.int64]
    month: npt.NDArray[np.int64]
    day: npt.NDArray[np.int64]
    clock: npt.NDArray[np.int64]  # ns since midnight
    zone: list[str | None]
    bad: npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class ParsedTimes:
    """ns: (N,) int64, in UTC if there is a zone, NAT where bad; bad: (N,) indices of texts that are no time of this format."""

    ns: npt.NDArray[np.int64]
    bad: npt.NDArray[np.int64]
    zone: str | None
    text_format: str


class MixedZones(DataError):
    """A column carries more than one zone; `first` gives each zone and the index of its first text."""

    def __init__(self, first: dict[str | None, int]) -> None:
        self.first = first
        super().__init__("mixed time zones: " + ", ".join(str(z or "no zone") for z in first))


def parse_times(texts: Sequence[str]) -> ParsedTimes:
    """Parse a column's distinct texts.

    Raises: DataError if the first text has no known format or days and months cannot be told apart; MixedZones.
    """
    first = next((t.strip() for t in texts if t.strip() not in MISSING), "")
    kind = _kind(first, texts)
    text_format = _format(first, kind, texts)
    fast = _uniform_iso(texts, first) if kind == "ymd" else None
    if fast is not None:
        return ParsedTimes(fast, np.empty(0, np.int64), None, text_format)
    fields = _fields(texts, _PATTERNS[kind])
    zones: dict[str | None, int] = {}
    for k, (zone, bad) in enumerate(zip(fields.zone, fields.bad.tolist(), strict=True)):
        if not bad:
            zones.setdefault(zone, k)
    if len(zones) > 1:
        raise MixedZones(zones)
    zone = next(iter(zones), None)
    return _assemble(fields, zone, text_format)


def _kind(first: str, texts: Sequence[str]) -> str:
    """Which pattern the column follows."""
    kinds = [kind for kind, pattern in _PATTERNS.items() if pattern.fullmatch(first)]
    if not kinds:
        raise DataError(f"expected a time such as {EXAMPLES}, got {first!r}. Rewrite the column, best as 2012-01-31 13:00:00")
    if kinds[0] != "dmy" or "." in first:
        return kinds[0]
    pairs = [(int(m["d"]), int(m["m"])) for m in map(_PATTERNS["dmy"].fullmatch, map(str.strip, texts)) if m]
    day_first, month_first = any(a > 12 for a, _ in pairs), any(b > 12 for _, b in pairs)
    if day_first == month_first:
        raise DataError(f"{first!r}: day and month cannot be told apart. Rewrite the column as 2012-01-31")
    return "dmy" if day_first else "mdy"


def _format(first: str, kind: str, texts: Sequence[str]) -> str:
    """The format of a text in strftime's words; %-d and %-m where numbers are not padded."""
    m = _PATTERNS[kind].fullmatch(first)
    assert m is not None
    parts = m.groupdict()
    joint = parts.get("d1") or ""
    short = _short_fields(kind, texts)
    padded = {key: ("%-" if key in short else "%") + key for key in ("d", "m")}
    dates = {
        "ymd": ("%Y", padded["m"], padded["d"]), "ym": ("%Y", padded["m"]), "compact": ("%Y%m%d",), "quarter": ("%Y", "Q%q"),
        "dmy": (padded["d"], padded["m"], "%Y"), "mdy": (padded["m"], padded["d"], "%Y"), "dby": (padded["d"], "%b", "%Y"),
        "by": ("%b", "%Y"),
    }  # fmt: skip
    text = joint.join(dates[kind])
    if parts.get("H"):
        half = parts.get("p")
        hour = ("%-" if "H" in short else "%") + ("I" if half else "H")
        text += (
            f"{parts['sep']}{hour}:%M" + (":%S" if parts.get("S") else "") + (f".%{len(parts['f'])}f" if parts.get("f") else "")
        )
        text += f" {'%p'}" if half else ""
    zone = parts.get("z")
    return text + ("" if not zone else "Z" if zone in ("Z", "z") else " UTC" if zone == "UTC" else "%z")


def _short_fields(kind: str, texts: Sequence[str]) -> set[str]:
    """Which of day, month and hour are somewhere written with one digit."""
    if len(set(map(len, texts))) == 1 and kind in ("ymd", "compact"):
        return set()
    matches = filter(None, (_PATTERNS[kind].fullmatch(t.strip()) for t in texts))
    return {key for m in matches for key, part in m.groupdict().items() if key in "dmH" and part is not None and len(part) == 1}


def _uniform_iso(texts: Sequence[str], first: str) -> npt.NDArray[np.int64] | None:
    """Texts that all look like 2012-01-31 or 2012-01-31 13:00:00 digit for digit, parsed by NumPy; None if not so."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?", first, re.ASCII):
        return None
    array = np.array(texts)
    width = array.dtype.itemsize // 4
    letters = array.view(np.uint32).reshape(-1, width)
    digits = (letters >= ord("0")) & (letters <= ord("9"))
    if width != len(first) or not (digits == digits[0]).all() or not (digits[0] | (letters == letters[0])).all():
        return None
    try:
        return to_ns(array.astype("datetime64[us]")).view(np.int64)
    except (ValueError, DataError):
        return None  # a day that does not exist: the slow way says which


def _fields(texts: Sequence[str], pattern: re.Pattern[str]) -> _Fields:
    """Match every text, field by field."""
    matches = [pattern.fullmatch(t.strip()) for t in texts]
    rows = [_row(m.groupdict()) if m else None for m in matches]
    numbers = np.array([r[:4] if r else (1970, 1, 1, 0) for r in rows], dtype=np.int64).reshape(-1, 4)
    year, month, day, clock = numbers.T
    month_ok = (month >= 1) & (month <= 12) & (year >= 1678) & (year <= 2261)
    months = np.where(month_ok, (year - 1970) * 12 + month - 1, 0)
    length = (month_start(months + 1) - month_start(months)) // DAY
    bad = np.array([r is None for r in rows]) | ~month_ok | (day < 1) | (day > length) | (clock < 0)
    return _Fields(year, month, day, clock, [r[4] if r else None for r in rows], bad)


def _row(parts: dict[str, str | None]) -> tuple[int, int, int, int, str | None]:
    """(year, month, day, ns since midnight, zone) of one text; a field that does not exist becomes 0 or -1 and is bad."""
    month = int(parts.get("m") or 1)
    if parts.get("q"):
        month = 3 * int(parts["q"] or 1) - 2
    if parts.get("b"):
        name = (parts["b"] or "").lower()
        month = _MONTHS.index(name) + 1 if name in _MONTHS else 0
    hour, minute, second = (int(parts.get(k) or 0) for k in "HMS")
    half = (parts.get("p") or "").lower()
    valid = minute < 60 and second < 60 and (1 <= hour <= 12 if half else hour < 24)
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    fraction = int((parts.get("f") or "0").ljust(9, "0"))
    clock = hour * HOUR + minute * MINUTE + second * SECOND + fraction if valid else -1
    return int(parts["Y"] or 0), month, int(parts.get("d") or 1), clock, _zone(parts.get("z"))


def _zone(text: str | None) -> str | None:
    if not text:
        return None
    if text in ("Z", "z", "UTC"):
        return "UTC"
    minutes = int(text[1:3]) * 60 + int(text[3:].lstrip(":") or 0)
    return offset_name(-minutes if text[0] == "-" else minutes)


def month_start(months: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """ns of the first of each month, counted from January 1970."""
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) * DAY


def _assemble(fields: _Fields, zone: str | None, text_format: str) -> ParsedTimes:
    months = np.where(fields.bad, 0, (fields.year - 1970) * 12 + fields.month - 1)
    ns = month_start(months) + (fields.day - 1) * DAY + fields.clock
    if zone is not None:
        ns = ns - to_local(np.zeros(1, np.int64), zone)  # a fixed offset: text knows no other zones
    return ParsedTimes(np.where(fields.bad, NAT, ns), np.flatnonzero(fields.bad), zone, text_format)


def format_times(ns: npt.NDArray[np.int64], zone: str | None, text_format: str) -> np.ndarray:
    """Texts (object array) of instants in the format of parse_times; each distinct instant is written once."""
    distinct, inverse = np.unique(ns, return_inverse=True)
    local = to_local(distinct, zone)
    texts = [_write(int(t), text_format, int(t - u)) for t, u in zip(local, distinct, strict=True)]
    return np.array(texts, dtype=object)[inverse.reshape(ns.shape)]


def _write(local: int, text_format: str, offset: int) -> str:
    """One local time in the format."""
    seconds, fraction = divmod(local, SECOND)
    t = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)
    hour12 = (t.hour - 1) % 12 + 1
    minutes = offset // MINUTE
    sign = "-" if minutes < 0 else "+"
    words = {
        "Y": f"{t.year:04d}", "m": f"{t.month:02d}", "d": f"{t.day:02d}", "H": f"{t.hour:02d}", "I": f"{hour12:02d}",
        "M": f"{t.minute:02d}", "S": f"{t.second:02d}", "b": _MONTHS[t.month - 1].title(), "q": str((t.month + 2) // 3),
        "p": "PM" if t.hour >= 12 else "AM", "z": f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}",
        "-d": str(t.day), "-m": str(t.month), "-H": str(t.hour), "-I": str(hour12),
    }  # fmt: skip
    text = re.sub(r"%(\d)f", lambda m: f"{fraction:09d}"[: int(m[1])], text_format)
    return re.sub(r"%(-?[A-Za-z])", lambda m: words[m[1]], text)
