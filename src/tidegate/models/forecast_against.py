"""Another tool's forecasts, put beside ours. In: a table (id, time, forecast, ...) and the windows of an evaluation. Out:
Forecasts.

Rows are found by id and time, and by target and cutoff where the table has these columns, so that the order of its rows does not
matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from tidegate.data.faults import Faults
from tidegate.data.rows import series_of, ticks_of
from tidegate.data.schema import Roles
from tidegate.data.table import Table, read_table
from tidegate.errors import DataError
from tidegate.tasks.evaluation import Forecasts, Windows

Key = tuple[object, ...]


def foreign_forecasts(name: str, source: object, roles: Roles, time: str, windows: Windows, levels: Sequence[float]) -> Forecasts:
    """The table's forecasts of every window and step.

    Args:  name: what the table is called in the report. time: its time column. levels: intervals that are taken where it has
    them.
    Raises: DataError that names the column, or the series and step, that is missing, or the line that stands twice.
    """
    table = _renamed(read_table(source), roles, time)
    who = f"{table.source} (against {name!r})"
    _check_columns(table, who, [c for c in (roles.id, time, "forecast") if c])
    extra = [c for c in ("target", "cutoff") if c in table.names and (c == "cutoff" or len(roles.target) > 1)]
    rows = _rows_of(table, roles, time, extra, who)
    at = _places(rows, _wanted(windows, roles, extra), windows, who)
    columns = {c: np.asarray(table[c], np.float64)[at] for c in table.names if c.startswith("forecast")}
    have = [level for level in levels if {f"forecast-lo-{level:g}", f"forecast-hi-{level:g}"} <= columns.keys()]
    return Forecasts(
        point=columns["forecast"],
        lo={level: columns[f"forecast-lo-{level:g}"] for level in have},
        hi={level: columns[f"forecast-hi-{level:g}"] for level in have},
    )


def _renamed(table: Table, roles: Roles, time: str) -> Table:
    """The table with the names of the data, where it has the plain ones that an evaluation writes: id and time."""
    plain = {"id": roles.id, "time": time}
    names = {n: wanted for n, wanted in plain.items() if wanted and n in table.names and wanted not in table.names}
    if not names:
        return table
    return Table({names.get(n, n): table.columns[n] for n in table.names}, source=table.source, kind=table.kind)


def _check_columns(table: Table, who: str, needed: Sequence[str]) -> None:
    missing = [c for c in needed if c not in table.names]
    if missing:
        raise DataError(
            f"{who}: no column {', '.join(map(repr, missing))}; it has {', '.join(table.names[:20])}. Rename its columns."
        )
    for column in table.names:
        if column.startswith("forecast") and table[column].dtype.kind not in "fiu":
            raise DataError(f"{who}: column {column!r}: expected numbers, got text. Mend the file.")


def _rows_of(table: Table, roles: Roles, time: str, extra: Sequence[str], who: str) -> dict[Key, int]:
    """Key of a forecast -> its row in the table."""
    faults = Faults(who)
    series = series_of(table, roles.id, faults)
    times = _ticks(table, time, faults)
    parts: list[list[object]] = [[str(series.ids[c]) for c in series.codes.tolist()], list(times)]
    parts += [list(_ticks(table, column, faults)) if column == "cutoff" else table[column].tolist() for column in extra]
    faults.raise_any()
    rows: dict[Key, int] = {}
    for row, key in enumerate(zip(*parts, strict=True)):
        if rows.setdefault(key, row) != row:
            raise DataError(
                f"{who}: {table.place(row)}: a second forecast for {', '.join(map(str, key[:1]))} at the same time; "
                "leave one out."
            )
    return rows


def _ticks(table: Table, column: str, faults: Faults) -> list[int]:
    ticks = ticks_of(table, (column,), faults)
    faults.raise_any()
    return [] if ticks is None else [int(t) for t in ticks.ticks]


def _wanted(windows: Windows, roles: Roles, extra: Sequence[str]) -> list[list[Key]]:
    """The key of every window and step."""
    times = _as_ticks(windows.times).tolist()
    cutoffs = _as_ticks(windows.cutoffs).tolist()
    keys = []
    for series, target, cutoff, steps in zip(windows.ids, windows.targets, cutoffs, times, strict=True):
        rest = [{"target": target, "cutoff": cutoff}[column] for column in extra]
        keys.append([(str(series), step, *rest) for step in steps])
    return keys


def _as_ticks(times: np.ndarray) -> npt.NDArray[np.int64]:
    return times.astype("datetime64[ns]").view(np.int64) if times.dtype.kind == "M" else times.astype(np.int64)


def _places(rows: dict[Key, int], wanted: list[list[Key]], windows: Windows, who: str) -> npt.NDArray[np.int64]:
    """(W, F) rows of the table."""
    missing = next((key for key in chain.from_iterable(wanted) if key not in rows), None)
    if missing is not None:
        window = next(i for i, keys in enumerate(wanted) if missing in keys)
        step = wanted[window].index(missing) + 1
        raise DataError(f"{who}: no forecast of step {step} for series {windows.ids[window]!r}; give every step of every window.")
    return np.array([[rows[key] for key in keys] for keys in wanted], np.int64)
