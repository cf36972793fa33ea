"""Columns made ready for a net. In: a table, a layout, a schema. Out: targets as they are, covariates standardised or as
codes; faults.

Nothing is imputed: a missing number stays NaN, a missing category -1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, final

import numpy as np
import numpy.typing as npt

from tidegate.data.columns import Encoded, numbers_of
from tidegate.data.faults import TOLD, Fault, Faults
from tidegate.data.layout import BLOCK_ROWS, Layout
from tidegate.data.rows import Series
from tidegate.data.schema import MAX_LEVELS, OTHER
from tidegate.data.series import Covariates
from tidegate.data.table import Table

Scale: TypeAlias = "tuple[float, float]"
Place: TypeAlias = "Callable[[np.ndarray], np.ndarray]"
TEXT_SHARE = 0.5  # of the values; a column with more text is no number column with slips


def numbers_column(table: Table, name: str, role: str, faults: Faults, notes: list[str]) -> np.ndarray:
    """(rows of the table,) float64 or float32, NaN = missing. Text, time stamps and Inf are faults (and NaN here)."""
    stored = table.stored(name)
    if not isinstance(stored, Encoded) and stored.dtype.kind == "M":
        faults.add(f"{role} column {name!r}: expected numbers, got time stamps", "", "Give a column of numbers.")
        return np.full(len(table), np.nan)
    numbers, bad = numbers_of(stored)
    if isinstance(stored, Encoded):
        if len(bad) > max(TOLD, TEXT_SHARE * int((stored.codes >= 0).sum())):
            _is_text(table, name, stored, int(bad[0]), faults)
            return np.full(len(table), np.nan)
        found = (
            Fault(
                f"expected a number, got {stored.levels[stored.codes[r]]!r}: text in a number column",
                _at(table, int(r), name),
                "Mend the value.",
            )
            for r in bad
        )
        faults.many(len(bad), found, f"values of column {name!r} are text")
        if not len(bad) and stored.levels:
            notes.append(f"column {name!r} is text that holds numbers: read as numbers")
    infinite = infinite_rows(numbers)
    if len(infinite):
        found = (
            Fault(f"expected a finite number, got {numbers[r]}", _at(table, int(r), name), "Leave the field empty.")
            for r in infinite
        )
        faults.many(len(infinite), found, f"values of column {name!r} are infinite")
        numbers = np.where(np.isinf(numbers), np.nan, numbers)
    return numbers


def _is_text(table: Table, name: str, stored: Encoded, row: int, faults: Faults) -> None:
    """One fault for a column that is text as a whole."""
    what = f"column {name!r} is text, first at {table.place(row)} ({stored.levels[stored.codes[row]]!r}): expected numbers"
    faults.add(what, "", "Give a column of numbers.")


def _at(table: Table, row: int, name: str) -> str:
    return f"{table.place(row)}, column {name!r}"


def infinite_rows(numbers: np.ndarray) -> npt.NDArray[np.int64]:
    """Rows that hold Inf; looks in blocks, so that a long column costs no memory."""
    parts = [np.flatnonzero(np.isinf(numbers[a : a + BLOCK_ROWS])) + a for a in range(0, len(numbers), BLOCK_ROWS)]
    return np.concatenate([np.empty(0, np.int64), *parts])


def targets(table: Table, names: Sequence[str], layout: Layout, faults: Faults, notes: list[str]) -> np.ndarray:
    """(R, K) targets; float32 only if every source column is. One float column without gaps is a view of the source."""
    columns = []
    for name in names:
        before = len(faults)
        column = numbers_column(table, name, "target", faults, notes)
        if len(faults) == before and _all_missing(column):
            faults.add(f"target column {name!r}: every value is missing", "", "Choose a column with values.")
        columns.append(column)
    if len(columns) == 1:
        return layout.numbers(columns[0])[:, None]
    single = all(c.dtype == np.float32 for c in columns)
    out = np.empty((layout.rows, len(columns)), np.float32 if single else np.float64)
    for k, column in enumerate(columns):
        out[:, k] = layout.numbers(column)
    return out


def _all_missing(column: np.ndarray) -> bool:
    return all(bool(np.isnan(column[a : a + BLOCK_ROWS]).all()) for a in range(0, len(column), BLOCK_ROWS))


# ---- covariates


@final
class Codec:
    """Scales and levels of covariates: given by a schema, or learned from the columns met.

    Raises nothing: a column of the wrong kind, or a number too far off to hold, is a fault.
    """

    def __init__(
        self, table: Table, faults: Faults, notes: list[str],
        scales: dict[str, Scale] | None = None, levels: dict[str, tuple[str, ...]] | None = None,
    ) -> None:  # fmt: skip
        self.table, self.faults, self.notes = table, faults, notes
        self.fits = scales is None
        self.scales: dict[str, Scale] = {} if scales is None else scales
        self.levels: dict[str, tuple[str, ...]] = {} if levels is None else levels

    def covariates(self, names: Sequence[str], rows: int, place_number: Place, place_code: Place) -> Covariates:
        """Encode columns; place_* carry a column of the table to the panel's rows, or to its series."""
        categories = tuple(n for n in names if self._is_category(n))
        numeric = tuple(n for n in names if n not in categories)
        numbers = np.empty((rows, len(numeric)), np.float32)
        codes = np.empty((rows, len(categories)), np.int16)
        for k, name in enumerate(numeric):
            values = place_number(numbers_column(self.table, name, "covariate", self.faults, self.notes))
            numbers[:, k] = self._standardise(name, values)
        for k, name in enumerate(categories):
            codes[:, k] = self._encode(name, place_code)
        return Covariates(numbers=numbers, codes=codes, number_names=numeric, code_names=categories)

    def _is_category(self, name: str) -> bool:
        stored = self.table.stored(name)
        text = isinstance(stored, Encoded) and (len(numbers_of(stored)[1]) > 0 or not stored.levels)
        if self.fits:
            return text
        return name in self.levels

    def _standardise(self, name: str, values: np.ndarray) -> npt.NDArray[np.float32]:
        if self.fits:
            self.scales[name] = scale_of(values)
        mean, deviation = self.scales[name]
        with np.errstate(over="ignore"):
            out = np.asarray((values.astype(np.float64) - mean) / deviation, dtype=np.float32)
        lost = np.isinf(out)
        if lost.any():
            self.faults.add(
                f"column {name!r}: {int(lost.sum())} values are too far off those of training ({mean:g} +- {deviation:g})",
                "", "Mend the values.",
            )  # fmt: skip
        return np.where(lost, np.nan, out).astype(np.float32)

    def _encode(self, name: str, place: Place) -> npt.NDArray[np.int16]:
        stored = self.table.stored(name)
        if not isinstance(stored, Encoded):
            if stored.dtype.kind == "f" and np.isnan(stored).all():
                return np.full(len(place(np.full(len(stored), -1, np.int32))), -1, np.int16)
            self.faults.add(
                f"column {name!r}: expected text as in training, got {stored.dtype}", "", "Give the categories as text."
            )
            stored = Encoded(np.full(len(stored), -1, np.int32), ())
        codes = place(stored.codes)
        if self.fits:
            self.levels[name] = levels_of(codes, stored.levels)
        index = {level: k for k, level in enumerate(self.levels[name])}
        other = index[OTHER]
        known = np.array([level in index for level in stored.levels] + [True])
        lookup = np.array([index.get(level, other) for level in stored.levels] + [-1], np.int16)
        if not self.fits:
            self._note_unknown(name, codes, stored.levels, known)
        return lookup[codes]

    def _note_unknown(self, name: str, codes: np.ndarray, levels: Sequence[str], known: npt.NDArray[np.bool_]) -> None:
        unknown = ~known[codes]
        if unknown.any():
            new = [levels[k] for k in np.unique(codes[unknown]).tolist()]
            shown = ", ".join(map(repr, new[:5])) + (f" and {len(new) - 5} more" if len(new) > 5 else "")
            self.notes.append(
                f"column {name!r}: {shown} not among the levels of training ({int(unknown.sum()):,} rows): taken as {OTHER!r}"
            )


def scale_of(values: np.ndarray) -> Scale:
    """(mean, standard deviation) of the values that are not missing, in float64; 1 for the deviation of a constant.

    Sums are taken of values divided by the largest, so that 1e300 does not overflow nor 1e-300 vanish.
    """
    largest = max((float(np.nanmax(np.abs(b), initial=0.0)) for b in _blocks(values)), default=0.0)
    if largest == 0.0:
        return 0.0, 1.0
    count = sum(int((~np.isnan(b)).sum()) for b in _blocks(values))
    mean = sum(float(np.nansum(b.astype(np.float64) / largest)) for b in _blocks(values)) / count
    square = sum(float(np.nansum((b.astype(np.float64) / largest - mean) ** 2)) for b in _blocks(values)) / count
    deviation = float(np.sqrt(square))
    constant = deviation <= 1e-9 * abs(mean) or deviation * largest < 1e-300
    return mean * largest, 1.0 if constant else deviation * largest


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    return [values[a : a + BLOCK_ROWS] for a in range(0, len(values), BLOCK_ROWS)]


def levels_of(codes: np.ndarray, texts: Sequence[str]) -> tuple[str, ...]:
    """The MAX_LEVELS most frequent levels (the earlier of two as frequent), then OTHER."""
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    order = np.argsort(-counts, kind="stable").tolist()
    frequent = [texts[k] for k in order if counts[k] > 0 and texts[k] != OTHER]
    return (*frequent[:MAX_LEVELS], OTHER)


# ---- static columns


def static_place(table: Table, name_of: Callable[[int], str], layout: Layout, faults: Faults, column: str) -> Place:
    """A function that carries a column to one value a series: the one that is not missing; a fault where it varies."""

    def place(values: np.ndarray) -> np.ndarray:
        is_code = values.dtype.kind == "i"
        floats = np.where(values < 0, np.nan, values) if is_code else values
        ordered = floats if layout.order.take is None else floats[layout.order.take]
        bounds = layout.order.bounds
        filled = np.flatnonzero(np.diff(bounds) > 0)
        low, high = np.full(len(bounds) - 1, np.nan), np.full(len(bounds) - 1, np.nan)
        low[filled] = np.fmin.reduceat(ordered, bounds[:-1][filled])
        high[filled] = np.fmax.reduceat(ordered, bounds[:-1][filled])
        varying = np.flatnonzero(low < high)
        found = (_varies(table, name_of(int(i)), layout, ordered, int(i), column) for i in varying)
        faults.many(len(varying), found, f"series hold several values of the static column {column!r}")
        return np.where(np.isnan(low), -1, low).astype(np.int32) if is_code else low

    return place


def _varies(table: Table, series: str, layout: Layout, ordered: np.ndarray, i: int, column: str) -> Fault:
    a, b = layout.order.bounds[i], layout.order.bounds[i + 1]
    part = ordered[a:b]
    known = np.flatnonzero(~np.isnan(part))
    first, other = int(known[0]), int(known[np.argmax(part[known] != part[known[0]])])
    places = [table.place(layout.order.source_row(int(a) + k)) for k in (first, other)]
    values = [_show(table, column, layout.order.source_row(int(a) + k)) for k in (first, other)]
    return Fault(
        f"static column {column!r} varies inside series {series}: {values[0]} and {values[1]}", " and ".join(places),
        "Give it as past= or future=, or mend the rows.",
    )  # fmt: skip


def _show(table: Table, column: str, row: int) -> str:
    stored = table.stored(column)
    return repr(stored.levels[stored.codes[row]]) if isinstance(stored, Encoded) else f"{stored[row]}"


def series_name(series: Series) -> Callable[[int], str]:
    """How a series is called in messages."""
    return lambda i: repr(series.ids[i])
