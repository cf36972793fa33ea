"""Covariates known ahead. In: a panel, and a table of the future where the panel holds none. Out: their values for each step of
the horizon and each series, or a DataError that names what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tidegate.data.faults import Faults
from tidegate.data.layout import Order, count_rows, order_rows
from tidegate.data.rows import Series, Ticks, future_present, series_of, ticks_of
from tidegate.data.series import Panel
from tidegate.data.table import Table
from tidegate.data.values import Codec
from tidegate.errors import ConfigError

MAX_HORIZON = 1_000_000
NAMED = 3  # series named in a message


class FutureValues(NamedTuple):
    """numbers: (N, F, n) float32, standardised; codes: (N, F, m) int16."""

    numbers: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int16]


def future_values(panel: Panel, future: Table | None, horizon: int) -> FutureValues:
    """Future covariates of the steps 1..horizon after each series' history, from the panel's own known future or from a table.

    Args: future: columns id, time and the future covariates; its values take precedence. horizon: F >= 1.
    Raises: DataError naming id, time and column of what is missing; ConfigError for the horizon.
    """
    if not 1 <= horizon <= MAX_HORIZON:
        raise ConfigError(f"horizon: expected at least 1 and at most {MAX_HORIZON:,} steps, got {horizon}.")
    shape = (panel.n_series, horizon)
    own = panel.future
    values = FutureValues(
        np.full((*shape, len(own.number_names)), np.nan, np.float32), np.full((*shape, len(own.code_names)), -1, np.int16)
    )  # fmt: skip
    if not own.number_names and not own.code_names:
        return values
    _from_panel(panel, values)
    faults = Faults(panel.source if future is None else future.source)
    if future is not None:
        _from_table(panel, future, values, faults)
    if not len(faults):
        _missing(panel, future, values, faults)
    faults.raise_any()
    return values


def _from_panel(panel: Panel, values: FutureValues) -> None:
    """Take the trailing rows of each series."""
    first = panel.offsets[:-1] + panel.lengths
    step = np.arange(values.numbers.shape[1])
    series, at = np.nonzero(step < panel.future_rows[:, None])
    rows = first[series] + at
    values.numbers[series, at] = panel.future.numbers[rows]
    values.codes[series, at] = panel.future.codes[rows]


def _from_table(panel: Panel, table: Table, values: FutureValues, faults: Faults) -> None:
    """Take the rows of a table that fall into the horizon; rows of other times and series are not needed."""
    schema, roles = panel.schema, panel.schema.roles
    future_present(table, roles, faults)
    faults.raise_any()
    series = series_of(table, roles.id, faults)
    ticks = ticks_of(table, roles.time, faults)
    if ticks is None or len(table) == 0:
        return
    rows, at_series, at_step = _steps(panel, table, series, ticks, faults)
    faults.raise_any()
    inside = (at_step >= 0) & (at_step < values.numbers.shape[1]) & (at_series >= 0)
    if not inside.any():
        _elsewhere(panel, table, series, ticks, values.numbers.shape[1], faults)
        return
    rows, at_series, at_step = rows[inside], at_series[inside], at_step[inside]
    codec = Codec(table, faults, [], dict(schema.scales), dict(schema.levels))
    found = codec.covariates(roles.future, len(rows), lambda v: v[rows], lambda v: v[rows])
    values.numbers[at_series, at_step] = found.numbers
    values.codes[at_series, at_step] = found.codes


def _steps(
    panel: Panel, table: Table, series: Series, ticks: Ticks, faults: Faults
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:  # fmt: skip
    """(rows, series of the panel or -1, step from 0 after its history) of every row of the table."""
    index = {name: i for i, name in enumerate(panel.ids)}
    of_code = np.array([index.get(name, -1) for name in series.ids], np.int64)
    roles, clock = panel.schema.roles, panel.schema.clock
    if not roles.time:  # rows in order: the first is the first step
        order = count_rows(series)
        at_series = np.repeat(of_code, np.diff(order.bounds))
        return _source_rows(order), at_series, order.ticks
    if ticks.instants == clock.is_integer or ticks.zone != clock.zone:
        faults.add(f"time: expected the kind and zone of the history ({clock.zone or 'no zone'})", "", "Convert the time column.")
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
    order = order_rows(table, series, ticks, "error", faults, [])
    at_series = np.repeat(of_code, np.diff(order.bounds))
    if panel.origins is not None:
        return _source_rows(order), at_series, _uneven_steps(panel, order, of_code)
    located = clock.locate(order.ticks)
    off = np.flatnonzero(~located.on_grid)
    if len(off):
        place = table.place(order.source_row(int(off[0])))
        faults.add(f"a time is not on the history's grid of {clock.step_name}", place, "Mend it.")
    first = np.append(panel.starts + panel.lengths, 0)[at_series]
    return _source_rows(order), at_series, located.positions - first


def _source_rows(order: Order) -> npt.NDArray[np.int64]:
    return np.arange(len(order.ticks)) if order.take is None else order.take


def _uneven_steps(panel: Panel, order: Order, of_code: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows later than the history, counted from 0; earlier ones are negative."""
    steps = np.empty(len(order.ticks), np.int64)
    for code, i in enumerate(of_code.tolist()):
        a, b = int(order.bounds[code]), int(order.bounds[code + 1])
        last = panel.times(i, int(panel.lengths[i]) - 1, 1).view(np.int64)[0] if i >= 0 else 0
        steps[a:b] = np.arange(b - a) - int(np.searchsorted(order.ticks[a:b], last, side="right"))
    return steps


def _elsewhere(panel: Panel, table: Table, series: Series, ticks: Ticks, horizon: int, faults: Faults) -> None:
    """A fault for a table of which no row is needed: where the history ends, and where the table lies."""
    known = np.isin(np.array(series.ids, dtype=object), np.array(panel.ids, dtype=object))
    rows = np.flatnonzero(known[series.codes] & (series.codes >= 0))
    if not len(rows):
        strangers, own = ", ".join(map(repr, series.ids[:NAMED])), _names(panel, range(panel.n_series))
        what = f"no row belongs to a series of the history; the table has {strangers}, the history {own}"
        faults.add(what, "", "Write the ids as in the history.")
        return
    if not panel.schema.roles.time:
        return
    first, last = int(rows[np.argmin(ticks.ticks[rows])]), int(rows[np.argmax(ticks.ticks[rows])])
    shown = [str(text) for text in panel.schema.clock.text(ticks.times(np.array([first, last])))]
    i = panel.ids.index(series.ids[series.codes[first]])
    what = (
        f"no row lies in the horizon: the history{_of(panel, i)} ends at {_time(panel, i, -1)}, so the covariates are "
        f"needed from {_time(panel, i, 0)} to {_time(panel, i, horizon - 1)}, and the table goes from {shown[0]} to {shown[1]}"
    )
    faults.add(what, "", "Give the rows that follow the history, or a history that ends right before the table.")


def _missing(panel: Panel, future: Table | None, values: FutureValues, faults: Faults) -> None:
    """A fault for each column without all its values."""
    names = panel.future.number_names + panel.future.code_names
    lacking = np.concatenate([np.isnan(values.numbers), values.codes < 0], axis=2)
    remedy = (
        "Give future= (on the command line --future FILE) with these rows."
        if future is None
        else "Add the rows or fill in the values of the table given as future= (on the command line --future FILE)."
    )
    for c in np.flatnonzero(lacking.any(axis=(0, 1))).tolist():
        series, steps = np.nonzero(lacking[:, :, c])
        distinct = list(dict.fromkeys(series.tolist()))
        where = f" for {_names(panel, distinct)}" if panel.schema.id_kind != "none" else ""
        faults.add(f"future covariate {names[c]!r} is missing{where}: {_span(panel, series, steps)}", "", remedy)


def _span(panel: Panel, series: npt.NDArray[np.int64], steps: npt.NDArray[np.int64]) -> str:
    """The first and the last of the times that lack a value, and how many rows that is."""
    if len(steps) == 1:
        return f"{_time(panel, int(series[0]), int(steps[0]))} (step {steps[0] + 1})"
    ends = panel.starts[series] + panel.lengths[series] + steps
    first, last = int(np.argmin(ends)), int(np.argmax(ends))
    times = [_time(panel, int(series[k]), int(steps[k])) for k in (first, last)]
    span = times[0] if times[0] == times[1] else f"{times[0]} to {times[1]}"
    return f"{span}, {len(steps):,} rows in all"


def _names(panel: Panel, series: Sequence[int]) -> str:
    """The first series by id."""
    more = f" and {len(series) - NAMED:,} more" if len(series) > NAMED else ""
    return ", ".join(repr(panel.ids[i]) for i in series[:NAMED]) + more


def _of(panel: Panel, i: int) -> str:
    return f" of series {panel.ids[i]!r}" if panel.schema.id_kind != "none" else ""


def _time(panel: Panel, i: int, step: int) -> str:
    times = panel.times(i, int(panel.lengths[i]) + step, 1)
    return str(panel.schema.clock.text(times)[0])
