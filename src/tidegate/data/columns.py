"""Columns of a table as they are kept in memory. In: arrays, lists or texts. Out: plain NumPy arrays, and text as codes and
levels.

Text is dictionary-encoded as soon as it is met, so that nothing later loops over rows in Python. Reads no file.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, TypeAlias, final

import numpy as np
import numpy.typing as npt

from tidegate.errors import DataError

MISSING = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None"})
"""Texts that mean "no value" in a file, after blanks at both ends are taken off."""

NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)", re.IGNORECASE | re.ASCII)
NS_MIN, NS_MAX = np.iinfo(np.int64).min + 1, np.iinfo(np.int64).max
NS_PER_UNIT = {
    "W": 604_800 * 10**9, "D": 86_400 * 10**9, "h": 3_600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "ns": 1,
}  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class Encoded:
    """A text column: codes: (R,) int32 into levels, -1 = missing."""

    codes: npt.NDArray[np.int32]
    levels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> Encoded:
        return Encoded(self.codes[rows], self.levels)

    def decode(self) -> np.ndarray:
        """(R,) object array of str or None."""
        lookup = np.array([*self.levels, None], dtype=object)
        return lookup[self.codes]


Stored: TypeAlias = "np.ndarray | Encoded"


class Kept(NamedTuple):
    """What a reader makes of one column: the column, and its time zone where it has one."""

    values: Stored
    zone: str | None = None


@final
class Columns(Mapping[str, np.ndarray]):
    """Named columns of equal length; text is decoded and instants are given as datetime64[ns] only when asked for."""

    def __init__(self, stored: Mapping[str, Stored]) -> None:
        self._stored = dict(stored)

    def __getitem__(self, name: str) -> np.ndarray:
        column = self._stored[name]
        if isinstance(column, Encoded):
            return column.decode()
        return to_ns(column, name) if column.dtype.kind == "M" else column

    def __contains__(self, name: object) -> bool:
        return name in self._stored  # Mapping's own would decode the column

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def __repr__(self) -> str:
        return f"Columns({', '.join(self)})"

    def stored(self, name: str) -> Stored:
        """The column as it is kept: no copy, text as codes."""
        return self._stored[name]


def to_ns(instants: np.ndarray, name: str = "time", start: int = 0) -> npt.NDArray[np.datetime64]:
    """Instants of any unit as datetime64[ns], NaT kept.

    Raises: DataError for a year outside 1678-2261, which nanoseconds in 64 bits cannot hold.
    """
    unit, count = np.datetime_data(instants.dtype)
    if unit == "ns" and count == 1:
        return instants
    if unit not in NS_PER_UNIT:  # years, months, generic: NumPy knows how
        return to_ns(instants.astype("datetime64[D]"), name, start)
    factor = NS_PER_UNIT[unit] * count
    ticks = instants.view(np.int64)
    missing = np.isnat(instants)
    outside = np.flatnonzero(((ticks > NS_MAX // factor) | (ticks < -(NS_MAX // factor))) & ~missing)
    if len(outside):
        raise DataError(
            f"{name}: row {start + int(outside[0])}: expected a year between 1678 and 2261, got {instants[outside[0]]}. "
            "Mend the time stamp, or use whole numbers as time."
        )
    out = np.multiply(ticks, factor, dtype=np.int64)
    out[missing] = np.iinfo(np.int64).min
    return out.view("datetime64[ns]")


def encode(texts: Iterable[str | None]) -> Encoded:
    """Texts as codes and levels in order of first appearance; None = missing."""
    texts = list(texts)
    levels = [t for t in dict.fromkeys(texts) if t is not None]
    index: dict[str | None, int] = {t: k for k, t in enumerate(levels)}
    index[None] = -1
    return Encoded(np.fromiter(map(index.__getitem__, texts), np.int32, len(texts)), tuple(levels))


def column_from_texts(texts: Sequence[str]) -> Stored:
    """A file's column: int64 or float64 if every value that is not missing is a number, else text.

    Whole numbers written with leading zeros ("007") stay text, since as ids they would not survive; a role that
    needs numbers reads them as numbers (see numbers_of).
    """
    plain = parse_numbers(texts) if texts and texts[0].strip() not in MISSING else None
    if plain is not None:
        return plain
    levels = list(dict.fromkeys(texts))
    index = {t: k for k, t in enumerate(levels)}
    codes = np.fromiter(map(index.__getitem__, texts), np.int32, len(texts))
    known = np.fromiter((t.strip() not in MISSING for t in levels), bool, len(levels))
    parsed = parse_numbers([t for t, k in zip(levels, known, strict=True) if k])
    if parsed is None:
        new_code = np.where(known, np.cumsum(known) - 1, -1).astype(np.int32)
        return Encoded(new_code[codes], tuple(t for t, k in zip(levels, known, strict=True) if k))
    if known.all():
        return parsed[codes]
    lookup = np.full(len(levels), np.nan)
    lookup[known] = parsed
    return lookup[codes]


def parse_numbers(texts: Sequence[str]) -> npt.NDArray[np.int64] | npt.NDArray[np.float64] | None:
    """Numbers of texts none of which is missing: int64 if all are whole, else float64; None if one is not a number."""
    if not texts:
        return np.empty(0, np.float64)
    try:
        values = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None
    joined = "".join(texts)
    if (not joined.isascii() or "_" in joined) and not all(NUMBER.fullmatch(t.strip()) for t in texts):
        return None  # Python's float() is more generous: 1_000, digits of other scripts
    if np.isnan(values).any():
        return None  # a NaN in a spelling that is not listed in MISSING
    return _whole(texts, values)


def _whole(texts: Sequence[str], values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64] | npt.NDArray[np.float64] | None:
    """The values as int64 if every text is a whole number that fits; None where leading zeros would be lost."""
    try:
        whole = list(map(int, texts))
    except ValueError:
        return values
    if any(len(t) > 1 and t.lstrip(" \t+-").startswith("0") and t.strip().lstrip("+-") != "0" for t in texts):
        return None
    try:
        return np.array(whole, dtype=np.int64)
    except OverflowError:
        return values


def numbers_of(column: Stored) -> tuple[np.ndarray, npt.NDArray[np.int64]]:
    """A column as numbers: (R,) float64 or float32, NaN = missing, and the rows whose text is not a number."""
    if isinstance(column, Encoded):
        lookup = np.array([_number(t) for t in column.levels] + [np.nan])
        bad = np.array([not NUMBER.fullmatch(t.strip()) and t.strip() not in MISSING for t in column.levels] + [False])
        return lookup[column.codes], np.flatnonzero(bad[column.codes])
    if column.dtype == np.float32 or column.dtype == np.float64:
        return column, np.empty(0, np.int64)
    return column.astype(np.float64), np.empty(0, np.int64)


def _number(text: str) -> float:
    return float(text) if NUMBER.fullmatch(text.strip()) else float("nan")


def keep(name: str, values: object, source: str) -> Kept:
    """Any array-like as a column to store. float32 stays float32; other floats are float64, whole numbers int64.

    Raises: DataError if it is not one-dimensional or holds things that are neither numbers, text nor time stamps.
    """
    if isinstance(values, Encoded):
        return Kept(values)
    if isinstance(values, (list, tuple)):
        values = _from_list(values)
    array = np.asarray(values)
    if array.ndim != 1:
        raise DataError(f"{source}: column {name!r}: expected one axis, got shape {array.shape}. Give one column per channel.")
    kind = array.dtype.kind
    if kind == "O":
        return _from_objects(name, array, source)
    if kind in "US":
        return Kept(encode(array.astype(str).tolist()))
    if kind == "M":
        return Kept(array)
    if kind in "iu":
        too_large = kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max
        return Kept(array.astype(np.float64 if too_large else np.int64, copy=False))
    if kind == "f":
        wanted = np.float32 if array.dtype.itemsize <= 4 else np.float64
        return Kept(array.astype(wanted, copy=False))
    if kind == "b":
        return Kept(array)
    raise DataError(f"{source}: column {name!r}: expected numbers, text or time stamps, got {array.dtype}. Convert or drop it.")


def _from_list(values: Sequence[object]) -> np.ndarray:
    """A list as an array; NumPy would turn None beside text into the word "None", so mixed lists stay objects."""
    kinds = set(map(type, values))
    if kinds <= {int, float, bool} and len(kinds) <= 1:
        try:
            return np.array(values)
        except OverflowError:
            return np.array(values, dtype=np.float64)
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _from_objects(name: str, array: np.ndarray, source: str) -> Kept:
    """An array of Python objects: one of text, numbers, dates or times; None and NaN are missing."""
    values = array.tolist()
    missing = [v is None or (isinstance(v, float) and v != v) or type(v).__name__ in ("NAType", "NaTType") for v in values]
    known = [v for v, m in zip(values, missing, strict=True) if not m]
    kinds = set(map(type, known))
    if kinds and all(issubclass(k, str) for k in kinds):
        return Kept(encode(None if m else v for v, m in zip(values, missing, strict=True)))
    if all(issubclass(k, (bool, int, float, Decimal, np.number, np.bool_)) for k in kinds):
        return Kept(_numbers_from_objects(values, missing, kinds))
    if all(issubclass(k, (dt.date, np.datetime64)) for k in kinds):
        return _times_from_objects(name, values, missing, source)
    names = ", ".join(sorted(k.__name__ for k in kinds))
    raise DataError(
        f"{source}: column {name!r}: expected only numbers, only text or only time stamps, got {names}. Convert or drop it."
    )


def _numbers_from_objects(values: Sequence[object], missing: Sequence[bool], kinds: set[type]) -> np.ndarray:
    if kinds and not any(missing) and all(issubclass(k, (int, np.integer)) for k in kinds):
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            pass
    numbers = [np.nan if m else float(str(v)) if isinstance(v, Decimal) else v for v, m in zip(values, missing, strict=True)]
    return np.array(numbers, dtype=np.float64)


def _times_from_objects(name: str, values: Sequence[object], missing: Sequence[bool], source: str) -> Kept:
    """Dates and times; aware ones must all carry the same zone and are kept as UTC."""
    out = np.full(len(values), np.datetime64("NaT"), dtype="datetime64[us]")
    zones: dict[str | None, int] = {}
    for row, (value, is_missing) in enumerate(zip(values, missing, strict=True)):
        if is_missing:
            continue
        zone = zone_name(value.tzinfo) if isinstance(value, dt.datetime) and value.tzinfo is not None else None
        zones.setdefault(zone, row)
        if isinstance(value, dt.datetime) and value.tzinfo is not None:
            value = value.astimezone(dt.timezone.utc).replace(tzinfo=None)
        out[row] = np.datetime64(value).astype("datetime64[us]")  # type: ignore[call-overload]  # date or datetime, checked above
    if len(zones) > 1:
        seen = " and ".join(f"{z or 'no zone'} (row {r})" for z, r in list(zones.items())[:4])
        raise DataError(f"{source}: column {name!r}: mixed time zones: {seen}. Convert the column to one zone, for instance UTC.")
    return Kept(out, next(iter(zones), None))


def zone_name(zone: dt.tzinfo) -> str:
    """The IANA name of a zone object, or its fixed offset as "+01:00"."""
    for attribute in ("key", "zone"):
        name = getattr(zone, attribute, None)
        if isinstance(name, str):
            return name
    offset = zone.utcoffset(None)
    if offset is None:
        raise DataError(
            f"time zone {zone!r}: expected an IANA zone or a fixed offset. Convert to a zone such as 'Europe/Berlin'."
        )
    return offset_name(round(offset.total_seconds() / 60))


def offset_name(minutes: int) -> str:
    """A fixed offset from UTC in the spelling "+01:00"; zero is "UTC"."""
    sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
    return f"{sign}{minutes // 60:02d}:{minutes % 60:02d}" if minutes else "UTC"
