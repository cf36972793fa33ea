"""Which row belongs to which series and time. In: a table and roles. Out: a series code and a tick for every row, and faults.

A tick is the row's time as int64: a whole number, or nanoseconds (UTC if there is a zone). Knows no clock and no values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate.data.columns import Encoded, Stored, encode, numbers_of, to_ns
from tidegate.data.faults import Fault, Faults, suggest
from tidegate.data.schema import IdKind, Roles
from tidegate.data.table import Table
from tidegate.data.timetext import MixedZones, month_start, parse_times
from tidegate.data.zones import DAY, HOUR, MINUTE, NAT, SECOND
from tidegate.errors import DataError

PARTS = ("year", "month", "day", "hour", "minute", "second")
PART_NAMES = {
    "year": "year", "yr": "year", "yyyy": "year", "month": "month", "mon": "month", "mm": "month", "day": "day", "dd": "day",
    "hour": "hour", "hr": "hour", "hh": "hour", "minute": "minute", "min": "minute", "second": "second", "sec": "second",
}  # fmt: skip
PART_RANGE = {"year": (1678, 2261), "month": (1, 12), "day": (1, 31), "hour": (0, 23), "minute": (0, 59), "second": (0, 59)}


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Ticks:
    """ticks: (R,) int64, NAT where there is no time; instants: nanoseconds, not whole numbers."""

    ticks: npt.NDArray[np.int64]
    instants: bool
    zone: str | None = None
    text_format: str | None = None
    note: str | None = None

    def times(self, rows: slice | npt.NDArray[np.int64] = slice(None)) -> np.ndarray:
        """int64, or datetime64[ns]."""
        return self.ticks[rows].view("datetime64[ns]") if self.instants else self.ticks[rows]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """codes: (R,) series of each row, numbered by first appearance, -1 = id missing; ids: (N,)."""

    codes: npt.NDArray[np.int32]
    ids: tuple[str | int, ...]
    kind: IdKind


# ---- series


def series_of(table: Table, column: str | None, faults: Faults) -> Series:
    """Series codes from the id column; one series without it. A missing id is a fault."""
    if column is None:
        return Series(codes=np.zeros(len(table), np.int32), ids=("series",), kind="none")
    stored = table.stored(column)
    if isinstance(stored, Encoded):
        _missing_ids(table, column, np.flatnonzero(stored.codes < 0), faults)
        codes, used = _by_appearance(stored.codes)
        return Series(codes=codes, ids=tuple(stored.levels[k] for k in used), kind="text")
    values = stored
    if stored.dtype.kind == "f":
        missing = np.isnan(stored)
        _missing_ids(table, column, np.flatnonzero(missing), faults)
        values = np.where(missing, 0, stored).astype(np.int64)
        if not (missing | (values == stored)).all():
            faults.add(
                f"column {column!r}: expected ids that are text or whole numbers, got fractions", "", "Give another id column."
            )
    elif stored.dtype.kind != "i":
        faults.add(
            f"column {column!r}: expected ids that are text or whole numbers, got {stored.dtype}", "", "Give another id column."
        )
        return Series(codes=np.zeros(len(table), np.int32), ids=("series",), kind="text")
    codes, ids = _integer_codes(values)
    if stored.dtype.kind == "f":
        codes = np.where(np.isnan(stored), -1, codes).astype(np.int32)
    return Series(codes=codes, ids=tuple(ids.tolist()), kind="integer")


def _missing_ids(table: Table, column: str, rows: npt.NDArray[np.int64], faults: Faults) -> None:
    first = (Fault("the id is missing", f"{table.place(int(r))}, column {column!r}", "Fill it in or drop the row.") for r in rows)
    faults.many(len(rows), first, f"ids are missing in column {column!r}")


def _runs(codes: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Where each run of equal values begins."""
    return np.concatenate([np.zeros(min(1, len(codes)), np.int64), np.flatnonzero(codes[1:] != codes[:-1]) + 1])


def _by_appearance(codes: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], list[int]]:
    """Codes renumbered by first appearance, and the old codes in that order. Looks at runs, not rows."""
    heads = codes[_runs(codes)]
    values, first = np.unique(heads, return_index=True)
    first, values = first[values >= 0], values[values >= 0]
    used = values[np.argsort(first)]
    if np.array_equal(used, np.arange(len(used))):
        return codes, used.tolist()
    lookup = np.full(int(used.max(initial=-1)) + 2, -1, np.int32)  # the last entry serves code -1
    lookup[used] = np.arange(len(used), dtype=np.int32)
    return lookup[codes], used.tolist()


def _integer_codes(values: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Codes by first appearance, and the distinct values in that order."""
    starts = _runs(values)
    distinct, first, inverse = np.unique(values[starts], return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    lengths = np.diff(np.append(starts, len(values)))
    return np.repeat(rank[inverse], lengths), distinct[order]


# ---- time


def ticks_of(table: Table, columns: Sequence[str], faults: Faults) -> Ticks | None:
    """Ticks from the time columns, the row number without any; None where a fault leaves no time at all."""
    if not columns:
        return Ticks(ticks=np.arange(len(table), dtype=np.int64), instants=False)
    try:
        if len(columns) > 1:
            return _composed(table, columns, faults)
        return _single(table, columns[0], faults)
    except MixedZones as e:
        stored = table.stored(columns[0])
        assert isinstance(stored, Encoded)
        seen = [f"{zone or 'no zone'} ({table.place(_row_of(stored, level))})" for zone, level in e.first.items()]
        faults.add(
            f"column {columns[0]!r}: mixed time zones: {' and '.join(seen[:4])}",
            "",
            "Convert the column to one zone, for instance UTC.",
        )
    except DataError as e:
        faults.add(f"column {columns[0]!r}: {e}")
    return None


def _row_of(column: Encoded, level: int) -> int:
    return int(np.argmax(column.codes == level))


def _single(table: Table, name: str, faults: Faults) -> Ticks:
    stored = table.stored(name)
    if isinstance(stored, Encoded):
        return _from_text(table, name, stored, faults)
    if stored.dtype.kind == "M":
        _missing_times(table, name, np.flatnonzero(np.isnat(stored)), faults)
        return Ticks(ticks=to_ns(stored, name).view(np.int64), instants=True, zone=table.zones.get(name))
    if stored.dtype.kind == "b":
        raise DataError("expected time stamps or whole numbers, got true and false. Give another time column")
    missing = np.isnan(stored) if stored.dtype.kind == "f" else np.zeros(0, bool)
    _missing_times(table, name, np.flatnonzero(missing), faults)
    if stored.dtype.kind == "f":
        if not (np.abs(stored[~missing]) < 2**53).all() or not (stored[~missing] == np.floor(stored[~missing])).all():
            raise DataError("expected time stamps or whole numbers, got fractions. Multiply the column, so that times are whole")
        return Ticks(ticks=np.where(missing, NAT, np.where(missing, 0, stored).astype(np.int64)), instants=False)
    return _dates_as_numbers(stored, name) or Ticks(ticks=stored, instants=False)


def _missing_times(table: Table, name: str, rows: npt.NDArray[np.int64], faults: Faults) -> None:
    first = (Fault("the time is missing", f"{table.place(int(r))}, column {name!r}", "Fill it in or drop the row.") for r in rows)
    faults.many(len(rows), first, f"times are missing in column {name!r}")


def _from_text(table: Table, name: str, column: Encoded, faults: Faults) -> Ticks:
    """Ticks of a text column: each distinct text is parsed once."""
    _missing_times(table, name, np.flatnonzero(column.codes < 0), faults)
    if not column.levels:
        return Ticks(ticks=np.full(len(table), NAT), instants=True)
    parsed = parse_times(column.levels)
    if len(parsed.bad):
        rows = np.flatnonzero(np.isin(column.codes, parsed.bad))
        example = (
            column.levels[int(np.flatnonzero(~np.isin(np.arange(len(column.levels)), parsed.bad))[0])]
            if len(parsed.bad) < len(column.levels)
            else ""
        )
        first = (
            Fault(
                f"expected a time like {example!r}, got {column.levels[column.codes[r]]!r}",
                f"{table.place(int(r))}, column {name!r}",
            )
            for r in rows
        )
        faults.many(len(rows), first, f"texts in column {name!r} are no times")
    ticks = np.append(parsed.ns, NAT)[column.codes]
    return Ticks(ticks=ticks, instants=True, zone=parsed.zone, text_format=parsed.text_format)


def _dates_as_numbers(values: npt.NDArray[np.int64], name: str) -> Ticks | None:
    """Whole numbers that are all dates YYYYMMDD; None if one is not."""
    if len(values) == 0 or values.min() < 19000101 or values.max() > 22001231:
        return None
    distinct, inverse = np.unique(values, return_inverse=True)
    parsed = parse_times([str(v) for v in distinct.tolist()])
    if len(parsed.bad):
        return None
    note = f"column {name!r}: whole numbers read as dates YYYYMMDD"
    return Ticks(ticks=parsed.ns[inverse], instants=True, text_format=parsed.text_format, note=note)


def _composed(table: Table, columns: Sequence[str], faults: Faults) -> Ticks:
    """Ticks from several columns: year, month, day, hour, ..., or a date as text and a time of day as text or an hour."""
    stored = [table.stored(c) for c in columns]
    if _is_text(stored[0]):
        return _date_and_rest(table, columns, stored, faults)
    parts = _part_names(columns)
    values = {part: _part(table, name, part, column, faults) for part, name, column in zip(parts, columns, stored, strict=True)}
    zero, one = np.zeros(len(table), np.int64), np.ones(len(table), np.int64)
    missing = np.logical_or.reduce([v == NAT for v in values.values()])
    get = {part: np.where(missing, 1970 if part == "year" else 1, v) for part, v in values.items()}
    months = (get["year"] - 1970) * 12 + get.get("month", one) - 1
    start = month_start(months)
    day = get.get("day", one)
    impossible = np.flatnonzero(day > (month_start(months + 1) - start) // DAY)
    first = (
        Fault(f"day {day[r]} does not exist in {get['year'][r]}-{get['month'][r]:02d}", table.place(int(r)), "Mend the date.")
        for r in impossible
    )
    faults.many(len(impossible), first, "days do not exist")
    clock = get.get("hour", zero) * HOUR + get.get("minute", zero) * MINUTE + get.get("second", zero) * SECOND
    ticks = start + (day - 1) * DAY + clock
    ticks[missing] = NAT
    ticks[impossible] = NAT
    return Ticks(ticks=ticks, instants=True)


def _is_text(column: Stored) -> bool:
    return isinstance(column, Encoded) and len(numbers_of(column)[1]) > 0


def _part_names(columns: Sequence[str]) -> tuple[str, ...]:
    """What each column is: by its name where all names are known, else by its place."""
    known = [PART_NAMES.get(c.strip().lower()) for c in columns]
    named = [k for k in known if k is not None]
    parts = tuple(named) if len(named) == len(columns) else PARTS[: len(columns)]
    if len(columns) > len(PARTS) or len(set(parts)) < len(parts) or set(parts) != set(PARTS[: len(parts)]):
        raise DataError(f"expected columns for {', '.join(PARTS)} in this order, from the left, got {', '.join(columns)}")
    return parts


def _part(table: Table, name: str, part: str, column: Stored, faults: Faults) -> npt.NDArray[np.int64]:
    """One part of the time as int64, NAT where it is missing or outside its range (a fault)."""
    low, high = PART_RANGE[part]
    if not isinstance(column, Encoded) and column.dtype.kind == "M":
        raise DataError(f"expected whole numbers for the {part}, got time stamps. Give the time column alone")
    numbers, _ = numbers_of(column)
    good = (numbers >= low) & (numbers <= high) & (numbers == np.floor(numbers))
    rows = np.flatnonzero(~good)
    first = (
        Fault(f"expected a {part} from {low} to {high}, got {_shown(column, int(r))}", f"{table.place(int(r))}, column {name!r}")
        for r in rows
    )
    faults.many(len(rows), first, f"values of column {name!r} are no {part}")
    return np.where(good, np.where(good, numbers, 0).astype(np.int64), NAT)


def _shown(column: Stored, row: int) -> str:
    if isinstance(column, Encoded):
        return repr(column.levels[column.codes[row]]) if column.codes[row] >= 0 else "nothing"
    return "nothing" if column[row] != column[row] else f"{column[row]}"


def _date_and_rest(table: Table, columns: Sequence[str], stored: Sequence[Stored], faults: Faults) -> Ticks:
    """A date as text, then a time of day as text, or hour, minute and second as numbers."""
    first = stored[0]
    assert isinstance(first, Encoded)
    if len(columns) == 2 and isinstance(stored[1], Encoded) and _is_text(stored[1]):
        dates, clocks = first.decode().tolist(), stored[1].decode().tolist()
        joined = [None if d is None or c is None else f"{d.strip()} {c.strip()}" for d, c in zip(dates, clocks, strict=True)]
        found = _from_text(table, columns[0], encode(joined), faults)
        return Ticks(ticks=found.ticks, instants=True, zone=found.zone)
    base = _from_text(table, columns[0], first, faults)
    if len(columns) > 4:
        raise DataError(f"expected a date, then hour, minute, second, got {', '.join(columns)}")
    sizes = {"hour": HOUR, "minute": MINUTE, "second": SECOND}
    ticks = base.ticks.copy()
    for name, column, part in zip(columns[1:], stored[1:], sizes, strict=False):
        values = _part(table, name, part, column, faults)
        ticks = np.where((ticks == NAT) | (values == NAT), NAT, ticks + np.where(values == NAT, 0, values) * sizes[part])
    return Ticks(ticks=ticks, instants=True, zone=base.zone)


def columns_present(table: Table, roles: Roles, faults: Faults) -> None:
    """A fault for each role's column that is not there, with the nearest name."""
    named_present(
        table,
        {"target": roles.target, "past": roles.past, "future": roles.future, "static": roles.static, **_places(roles)},
        faults,
    )


def _places(roles: Roles) -> dict[str, tuple[str, ...]]:
    """The columns that say where a row belongs."""
    return {"time": roles.time, "id": () if roles.id is None else (roles.id,)}


def future_present(table: Table, roles: Roles, faults: Faults) -> None:
    """The same of a table of the future, which has no target."""
    named_present(table, {**_places(roles), "future covariate": roles.future}, faults)


def named_present(table: Table, wanted: Mapping[str, Sequence[str]], faults: Faults) -> None:
    """A fault for each column that is not there, said with its role."""
    for role, names in wanted.items():
        for name in names:
            if name in table.left_out:
                faults.add(
                    f"{role} column {name!r} holds {table.left_out[name]}", "", "Convert it to numbers, text or time stamps."
                )
            elif name not in table.columns:
                faults.add(f"there is no column {name!r} ({role})", "", suggest(name, table.names))
