"""Rows put in order. In: a series code and a tick for every row. Out: a Layout that carries any column to the panel's rows:
grouped by series, in time order, repeats dealt with, steps that are missing left empty. Looks at no value of a column."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, final

import numpy as np
import numpy.typing as npt

from tidegate.data.columns import Encoded
from tidegate.data.faults import Fault, Faults
from tidegate.data.rows import Series, Ticks
from tidegate.data.table import Table
from tidegate.data.times import OFF_GRID_REMEDY, Clock, infer_clock
from tidegate.data.zones import NAT
from tidegate.errors import DataError

Duplicates: TypeAlias = Literal["error", "first", "last", "mean"]
BLOWN_UP = 50  # grid rows per row given beyond which a time stamp must be wrong
BLOCK_ROWS = 1 << 20  # rows looked at together, so that checks of long columns cost little memory
SMALL = 1_000_000  # rows a grid may have in any case
NOTED = 5  # series named in a note


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """Rows by series and time.

    take: (n,) source rows, None = all as they stand; ticks: (n,); bounds: (N+1,) where the rows of each series begin and end.
    """

    take: npt.NDArray[np.int64] | None
    ticks: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64] | None = None  # (n,) where each group of repeats begins in `repeated`
    repeated: npt.NDArray[np.int64] | None = None  # source rows with their repeats, for averages

    def source_row(self, k: int) -> int:
        """The row of the table behind row k."""
        return k if self.take is None else int(self.take[k])


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Where every row goes.

    dest: (n,) panel row of each ordered row, None = the same; offsets: (N+1,) panel rows; starts: (N,) clock positions.
    """

    order: Order
    dest: npt.NDArray[np.int64] | None
    offsets: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    origins: npt.NDArray[np.int64] | None = None  # (N,) tick of each first row, uneven only
    elapsed: npt.NDArray[np.float64] | None = None  # (R,) steps since the first row, uneven only

    @property
    def rows(self) -> int:
        """R, the rows of the panel."""
        return int(self.offsets[-1])

    def ordered(self, values: np.ndarray) -> np.ndarray:
        """(n,) numbers in order, one for each time; the source's own array where nothing has to move."""
        order = self.order
        if order.groups is not None and order.repeated is not None:
            return _group_means(values[order.repeated], order.groups)
        return values if order.take is None else values[order.take]

    def numbers(self, values: np.ndarray) -> np.ndarray:
        """(R,) numbers on the panel's rows, NaN where a step is missing."""
        found = self.ordered(values)
        if self.dest is None:
            return found
        out = np.full(self.rows, np.nan, found.dtype)
        out[self.dest] = found
        return out

    def codes(self, codes: np.ndarray) -> npt.NDArray[np.int32]:
        """(R,) category codes on the panel's rows, -1 where a step is missing; of repeats the first."""
        found = codes if self.order.take is None else codes[self.order.take]
        if self.dest is None:
            return found
        out = np.full(self.rows, -1, np.int32)
        out[self.dest] = found
        return out


def _group_means(values: np.ndarray, groups: npt.NDArray[np.int64]) -> np.ndarray:
    """Mean of each group of repeats, missing values left out; a group of one keeps its bits."""
    known = ~np.isnan(values)
    count = np.add.reduceat(known.astype(np.int64), groups)
    share = np.where(known, values, 0) / np.repeat(np.maximum(count, 1), np.diff(np.append(groups, len(values))))
    return np.where(count > 0, np.add.reduceat(share.astype(np.float64), groups), np.nan).astype(values.dtype)


# ---- order


def order_rows(table: Table, series: Series, ticks: Ticks, duplicates: Duplicates, faults: Faults, notes: list[str]) -> Order:
    """Group rows by series and sort them by time; rows without id or time (faults already) are left out."""
    codes, times, take = series.codes, ticks.ticks, None
    usable = (codes >= 0) & (times != NAT) if ticks.instants or (codes.min(initial=0) < 0) else None
    if usable is not None and not usable.all():
        take = np.flatnonzero(usable)
        codes, times = codes[take], times[take]
    same = codes[1:] == codes[:-1]
    if not ((same & (times[1:] > times[:-1])) | (codes[1:] > codes[:-1])).all():
        order = _sorting(codes, times, notes)
        take = order if take is None else take[order]
        codes, times = codes[order], times[order]
    repeat = (codes[1:] == codes[:-1]) & (times[1:] == times[:-1])
    if repeat.any():
        return _deal_with_repeats(table, series, ticks, codes, times, take, repeat, duplicates, faults, notes)
    return Order(take=take, ticks=times, bounds=_bounds(codes, len(series.ids)))


def count_rows(series: Series) -> Order:
    """Rows by series in the order of the file, with 0, 1, ... as time."""
    codes, take = series.codes, None
    if (codes[1:] < codes[:-1]).any() or codes.min(initial=0) < 0:
        take = np.argsort(codes, kind="stable")[int((codes < 0).sum()) :]
        codes = codes[take]
    bounds = _bounds(codes, len(series.ids))
    ticks = np.arange(len(codes)) - np.repeat(bounds[:-1], np.diff(bounds))
    return Order(take=take, ticks=ticks, bounds=bounds)


def _bounds(codes: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=count))]).astype(np.int64)


def _sorting(codes: npt.NDArray[np.int32], times: npt.NDArray[np.int64], notes: list[str]) -> npt.NDArray[np.int64]:
    """The order by series and time, equal times as in the file; a note if times went back inside a series."""
    order = np.argsort(codes, kind="stable")
    c, t = codes[order], times[order]
    back = int(((c[1:] == c[:-1]) & (t[1:] < t[:-1])).sum())
    if back:
        notes.append(f"rows were not in time order ({back:,} steps back in time): sorted")
        order = np.lexsort((times, codes))
    return order


def _deal_with_repeats(
    table: Table, series: Series, ticks: Ticks, codes: npt.NDArray[np.int32], times: npt.NDArray[np.int64],
    take: npt.NDArray[np.int64] | None, repeat: npt.NDArray[np.bool_], duplicates: Duplicates, faults: Faults, notes: list[str],
) -> Order:  # fmt: skip
    """Rows of one series with one time: a fault, or the first, the last or the mean of them, as the caller said."""
    take = np.arange(len(codes)) if take is None else take
    first = np.flatnonzero(np.concatenate([[True], ~repeat]))
    last = np.flatnonzero(np.concatenate([~repeat, [True]]))
    several = np.flatnonzero(last > first)
    if duplicates == "error":
        remedy = _repeat_remedy(table, series, times, take)
        found = (_repeat_fault(table, series, ticks, take, int(codes[first[g]]), first[g], last[g], remedy) for g in several)
        kind = "times stand in several rows" + ("" if series.kind == "none" else " of a series")
        faults.many(len(several), found, kind)
    else:
        done = {"first": "first row kept", "last": "last row kept", "mean": "mean taken (of category columns the first)"}
        what = done[duplicates]
        notes.append(f"duplicate time stamps: {len(several):,} times occur in several rows of a series: {what}")
    chosen = last if duplicates == "last" else first
    order = Order(take=take[chosen], ticks=times[chosen], bounds=_bounds(codes[chosen], len(series.ids)))
    return replace(order, groups=first, repeated=take) if duplicates == "mean" else order


def _repeat_fault(
    table: Table, series: Series, ticks: Ticks, take: npt.NDArray[np.int64], code: int, first: np.int64, last: np.int64,
    remedy: str,
) -> Fault:  # fmt: skip
    rows = take[first : last + 1]
    places = ", ".join(table.place(int(r)) for r in rows[:4]) + (", ..." if len(rows) > 4 else "")
    name = f" in series {series.ids[code]!r}" if series.kind != "none" else ""
    return Fault(f"time {show_time(ticks, int(rows[0]))} stands {len(rows)} times{name}", places, remedy)


def _repeat_remedy(table: Table, series: Series, times: npt.NDArray[np.int64], take: npt.NDArray[np.int64]) -> str:
    """What to do about repeats; where no id was given, the column that would tell the rows apart."""
    name = _telling_column(table, times, take) if series.kind == "none" else None
    apart = "" if name is None else f"column {name!r} would tell the rows apart: --id {name} (in Python id={name!r}). Or mend"
    return f"{apart or 'Mend'} the rows, or choose --duplicates first, last or mean (in Python duplicates='first')."


def _telling_column(table: Table, times: npt.NDArray[np.int64], take: npt.NDArray[np.int64]) -> str | None:
    """A column of text, else of whole numbers, with which no (id, time) occurs twice; of several the one with fewest values."""
    most = int(np.unique(times, return_counts=True)[1].max())
    found = []
    for name in table.names:
        stored = table.stored(name)
        if not isinstance(stored, Encoded) and stored.dtype.kind != "i":
            continue
        values = (stored.codes if isinstance(stored, Encoded) else stored)[take]
        count = len(np.unique(values))
        if not most <= count <= min(4 * most, len(values) // 2):  # a running number, a measurement
            continue
        order = np.lexsort((times, values))
        if not ((np.diff(values[order]) == 0) & (np.diff(times[order]) == 0)).any():
            found.append((not isinstance(stored, Encoded), count, name))
    return min(found)[2] if found else None


def show_time(ticks: Ticks, row: int) -> str:
    """A row's time for messages (UTC where there is a zone)."""
    tick = ticks.ticks[row]
    if not ticks.instants:
        return str(int(tick))
    text = str(np.datetime_as_string(tick.view("datetime64[ns]"), unit="s")).replace("T", " ")
    return text + (" UTC" if ticks.zone else "")


# ---- grid


def clock_of(ticks: Ticks, order: Order, freq: str | int | None, uneven: bool, faults: Faults) -> Clock | None:
    """The clock of ordered rows; a fault and None if it cannot be seen."""
    times = order.ticks.view("datetime64[ns]") if ticks.instants else order.ticks
    try:
        return infer_clock(times, order.bounds, zone=ticks.zone, text_format=ticks.text_format, freq=freq, uneven=uneven)
    except DataError as e:
        faults.add(str(e))
        return None


def lay_out(
    table: Table, series: Series, ticks: Ticks, order: Order, clock: Clock, faults: Faults, notes: list[str]
) -> Layout | None:  # fmt: skip
    """Put ordered rows on the clock's grid; times off the grid and a grid out of all proportion are faults."""
    located = clock.locate(order.ticks)
    off = np.flatnonzero(~located.on_grid)
    if len(off):
        row = order.source_row(int(off[0]))
        many = f" ({len(off):,} rows are so)" if len(off) > 1 else ""
        what = f"time {show_time(ticks, row)} is not on the grid of {clock.step_name}{many}"
        faults.add(what, table.place(row), OFF_GRID_REMEDY)
        return None
    positions, bounds = located.positions, order.bounds
    counts = np.diff(bounds)
    starts, lengths = np.zeros(len(counts), np.int64), np.zeros(len(counts), np.int64)
    filled = counts > 0
    starts[filled] = positions[bounds[:-1][filled]]
    lengths[filled] = positions[bounds[1:][filled] - 1] - starts[filled] + 1
    total = float(lengths.astype(np.float64).sum())
    if total > SMALL and total > BLOWN_UP * len(positions):
        _out_of_proportion(series, clock, counts, lengths, total, faults)
        return None
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    if offsets[-1] == len(positions):
        return Layout(order=order, dest=None, offsets=offsets, starts=starts)
    _note_gaps(series, ticks, order, clock, positions, lengths - counts, notes)
    return Layout(order=order, dest=positions + np.repeat(offsets[:-1] - starts, counts), offsets=offsets, starts=starts)


def _out_of_proportion(
    series: Series, clock: Clock, counts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], total: float, faults: Faults
) -> None:  # fmt: skip
    worst = int(np.argmax(lengths - counts))
    faults.add(
        f"{int(counts.sum()):,} rows would need a grid of {total:,.0f} steps of {clock.step_name}; the widest is series "
        f"{series.ids[worst]!r} ({counts[worst]:,} rows, {lengths[worst]:,} steps)", "",
        "Look for a wrong time stamp, give a longer freq=, or use uneven=True.",
    )  # fmt: skip


def _note_gaps(
    series: Series, ticks: Ticks, order: Order, clock: Clock, positions: npt.NDArray[np.int64], missing: npt.NDArray[np.int64],
    notes: list[str],
) -> None:  # fmt: skip
    """Say for the first few series how many steps are missing and where that begins."""
    holed = np.flatnonzero(missing)
    for i in holed[:NOTED].tolist():
        inside = slice(int(order.bounds[i]), int(order.bounds[i + 1]))
        jump = int(np.argmax(np.diff(positions[inside]) > 1))
        at = clock.text(clock.times(positions[inside][jump : jump + 1] + 1))[0]
        name = f" in series {series.ids[i]!r}" if series.kind != "none" else ""
        notes.append(f"gap: {clock.span(int(missing[i]))} missing{name} (first at {at}): masked as missing")
    if len(holed) > NOTED:
        notes.append(f"gaps: {int(missing.sum()):,} steps missing in {len(holed):,} series altogether: masked as missing")


def lay_out_uneven(order: Order, clock: Clock) -> Layout:
    """Leave rows at their own times: no grid, the time since the first row instead."""
    counts = np.diff(order.bounds)
    filled = counts > 0
    origins = np.zeros(len(counts), np.int64)
    origins[filled] = order.ticks[order.bounds[:-1][filled]]
    starts = clock.locate(origins).positions
    elapsed = (order.ticks - np.repeat(origins, counts)) / clock.step
    return Layout(order=order, dest=None, offsets=order.bounds, starts=starts, origins=origins, elapsed=elapsed)
