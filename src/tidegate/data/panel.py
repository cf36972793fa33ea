"""Building a panel. In: a table and the roles of its columns. Out: one frozen Panel (series.py), or one DataError that tells
every fault of the table. What a caller of panels needs is importable from here.

Rows are walked by NumPy alone. A column that needs no moving is the source's own array, not a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final, get_args

import numpy as np
import numpy.typing as npt

from tidegate.data.faults import Faults
from tidegate.data.future import FutureValues, future_values
from tidegate.data.layout import Duplicates, Layout, clock_of, count_rows, lay_out, lay_out_uneven, order_rows
from tidegate.data.rows import Series, Ticks, columns_present, series_of, ticks_of
from tidegate.data.schema import Roles, Schema, names_of
from tidegate.data.series import Covariates, Panel
from tidegate.data.table import Table
from tidegate.data.times import Clock
from tidegate.data.values import Codec, series_name, static_place, targets
from tidegate.errors import ConfigError

__all__ = ["Covariates", "FutureValues", "Panel", "Roles", "Schema", "build_panel", "collect", "future_values", "roles_of"]


def build_panel(
    table: Table, *, target: str | Sequence[str] | None = None, time: str | Sequence[str] | None = None, id: str | None = None,
    past: str | Sequence[str] = (), future: str | Sequence[str] = (), static: str | Sequence[str] = (),
    freq: str | int | None = None, uneven: bool = False, duplicates: Duplicates = "error", schema: Schema | None = None,
) -> Panel:  # fmt: skip
    """A panel of a table.

    Args:
        target: one or more number columns. time: a column of whole numbers or time stamps; several are put together (year, month,
            day, hour); none = the order of the rows. id: the column that tells series apart; none = one series.
        past, future, static: covariates known up to now, known ahead, constant inside a series; numbers or text.
        freq: the time step, inferred without it. uneven: leave rows off any grid and give the time between them instead.
        duplicates: what becomes of rows with one id and one time.
        schema: that of a trained model, for new data: its roles, clock, levels and scales are used, and no role is given here.
    Raises: DataError with all faults of the table at once; ConfigError for options that do not fit together.
    """
    roles = roles_of(target, time, id, past, future, static) if schema is None else _roles_of_schema(
        schema, target, time, id, past, future, static
    )  # fmt: skip
    if duplicates not in get_args(Duplicates):
        raise ConfigError(f"duplicates: expected one of {', '.join(get_args(Duplicates))}, got {duplicates!r}.")
    faults = Faults(table.source)
    panel = collect(
        table,
        roles,
        freq=freq,
        uneven=uneven if schema is None else schema.uneven,
        duplicates=duplicates,
        schema=schema,
        faults=faults,
    )
    faults.raise_any()
    assert panel is not None  # collect gives None only together with a fault
    return panel


def roles_of(
    target: str | Sequence[str] | None, time: str | Sequence[str] | None, id: str | None, past: str | Sequence[str],
    future: str | Sequence[str], static: str | Sequence[str],
) -> Roles:  # fmt: skip
    """Roles from what a caller writes: a name or several."""
    return Roles(
        target=names_of("target", target), time=names_of("time", time), id=id, past=names_of("past", past),
        future=names_of("future", future), static=names_of("static", static),
    )  # fmt: skip


def _roles_of_schema(
    schema: Schema, target: str | Sequence[str] | None, time: str | Sequence[str] | None, id: str | None,
    past: str | Sequence[str], future: str | Sequence[str], static: str | Sequence[str],
) -> Roles:  # fmt: skip
    """The model's roles; a role given by the caller must be the same."""
    given = {"target": target, "time": time, "id": id, "past": past, "future": future, "static": static}
    for role, value in given.items():
        names = names_of(role, value)
        own = names_of(role, getattr(schema.roles, role))
        if names and names != own:
            raise ConfigError(
                f"{role}: the model was fitted with {role}={own!r}, got {names!r}. Rename the columns of the new data."
            )
    return schema.roles


def collect(
    table: Table, roles: Roles, *, freq: str | int | None, uneven: bool, duplicates: Duplicates, schema: Schema | None,
    faults: Faults,
) -> Panel | None:  # fmt: skip
    """The panel as far as it can be built, faults noted as they are met; None (and a fault) where no row can be placed."""
    if not roles.time and (freq is not None or uneven):
        raise ConfigError(
            "freq, uneven: these say something about a time column, and none is given. Give time=, or leave them out."
        )
    columns_present(table, roles, faults)
    if len(table) == 0:
        faults.add("the table has no rows", "", "Give at least one row.")
        return None
    there = _present(table, roles)
    if there is None:
        return None
    notes = list(table.notes)
    placed = _place(table, there, freq, uneven, duplicates, schema, faults, notes)
    return None if placed is None else _fill(table, there, placed, uneven, schema, faults, notes)


def _present(table: Table, roles: Roles) -> Roles | None:
    """The roles without columns that are not there; None if what is left makes no panel."""
    there = set(table.names)
    kept = {role: tuple(c for c in getattr(roles, role) if c in there) for role in ("target", "past", "future", "static")}
    if not kept["target"] or not there.issuperset(roles.time) or (roles.id is not None and roles.id not in there):
        return None
    return Roles(
        target=kept["target"], time=roles.time, id=roles.id, past=kept["past"], future=kept["future"], static=kept["static"]
    )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """Rows with their series, clock and place."""

    series: Series
    clock: Clock
    layout: Layout


def _place(
    table: Table, roles: Roles, freq: str | int | None, uneven: bool, duplicates: Duplicates, schema: Schema | None,
    faults: Faults, notes: list[str],
) -> Placed | None:  # fmt: skip
    """Which series and which clock position every row has."""
    series = series_of(table, roles.id, faults)
    if schema is not None and series.kind != schema.id_kind:
        faults.add(
            f"id column {roles.id!r}: expected {schema.id_kind} ids as in training, got {series.kind}", "", "Convert the column."
        )
    ticks = ticks_of(table, roles.time, faults)
    if ticks is None:
        return None
    if ticks.note:
        notes.append(ticks.note)
    order = order_rows(table, series, ticks, duplicates, faults, notes) if roles.time else count_rows(series)
    if len(order.ticks) == 0:
        return None
    if schema is not None:
        clock = _same_clock(schema.clock, ticks, faults)
    elif not roles.time:
        clock = Clock(kind="integer", step=1, anchor=0)
    else:
        clock = clock_of(ticks, order, freq, uneven, faults)
    if clock is None:
        return None
    layout = lay_out_uneven(order, clock) if uneven else lay_out(table, series, ticks, order, clock, faults, notes)
    return None if layout is None else Placed(series=series, clock=clock, layout=layout)


def _same_clock(clock: Clock, ticks: Ticks, faults: Faults) -> Clock | None:
    """The model's clock, written as this table writes time; a fault if the table's time is of another kind or zone."""
    if ticks.instants == clock.is_integer:
        kinds = {True: "time stamps", False: "whole numbers"}
        faults.add(
            f"time: expected {kinds[not clock.is_integer]} as in training, got {kinds[ticks.instants]}", "", "Convert the column."
        )
        return None
    if ticks.zone != clock.zone:
        faults.add(
            f"time: expected zone {clock.zone or 'none'} as in training, got {ticks.zone or 'none'}",
            "",
            "Convert the time column.",
        )
        return None
    return replace(clock, text_format=ticks.text_format)


def _fill(
    table: Table, roles: Roles, placed: Placed, uneven: bool, schema: Schema | None, faults: Faults, notes: list[str]
) -> Panel:
    """Carry the columns to their places."""
    layout, series = placed.layout, placed.series
    codec = (
        Codec(table, faults, notes) if schema is None else Codec(table, faults, notes, dict(schema.scales), dict(schema.levels))
    )
    target = targets(table, roles.target, layout, faults, notes)
    past, future = (_over_rows(codec, names, layout) for names in (roles.past, roles.future))
    static = _over_series(codec, roles.static, placed, faults)
    built = Schema(roles=roles, clock=placed.clock, levels=codec.levels, scales=codec.scales, id_kind=series.kind, uneven=uneven)
    return Panel(
        schema=built, source=table.source, ids=series.ids, offsets=layout.offsets, starts=layout.starts, origins=layout.origins,
        elapsed=layout.elapsed, target=target, past=past, future=future, static=static,
        future_rows=_future_rows(target, future, layout.offsets), notes=tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _over_rows(codec: Codec, names: tuple[str, ...], layout: Layout) -> Covariates:
    return codec.covariates(names, layout.rows, layout.numbers, layout.codes)


def _over_series(codec: Codec, names: tuple[str, ...], placed: Placed, faults: Faults) -> Covariates:
    """Static covariates, column by column, since a fault names its column."""
    count = len(placed.series.ids)
    parts = []
    for name in names:
        place = static_place(codec.table, series_name(placed.series), placed.layout, faults, name)
        parts.append(codec.covariates((name,), count, place, place))
    return Covariates(
        numbers=np.concatenate([np.empty((count, 0), np.float32), *(p.numbers for p in parts)], axis=1),
        codes=np.concatenate([np.empty((count, 0), np.int16), *(p.codes for p in parts)], axis=1),
        number_names=tuple(n for p in parts for n in p.number_names),
        code_names=tuple(n for p in parts for n in p.code_names),
    )


def _future_rows(target: np.ndarray, future: Covariates, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(N,) rows after the last one that has a target or lacks every future covariate."""
    out = np.zeros(len(offsets) - 1, np.int64)
    if not future.number_names and not future.code_names:
        return out
    given = (~np.isnan(future.numbers)).any(axis=1) | (future.codes >= 0).any(axis=1)
    history = ~np.isnan(target).all(axis=1) | ~given
    filled = np.flatnonzero(np.diff(offsets) > 0)
    last = np.maximum.reduceat(np.where(history, np.arange(len(history)), -1), offsets[:-1][filled])
    out[filled] = offsets[1:][filled] - 1 - np.maximum(last, offsets[:-1][filled] - 1)
    return out
