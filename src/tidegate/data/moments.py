"""The time of one line that comes alone. In: a clock, the time columns, a line's cells. Out: a position on the clock.

The cells are read as a table's are; what a single one does not show (which number is the day) the clock's own format shows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import numpy as np

from tidegate.data.columns import Columns, column_from_texts
from tidegate.data.faults import Faults
from tidegate.data.rows import Ticks, ticks_of
from tidegate.data.table import Table
from tidegate.data.times import OFF_GRID, Clock
from tidegate.data.timetext import format_times
from tidegate.data.zones import DAY
from tidegate.errors import DataError, shown

LAST_DAY = 11_322 * DAY  # the 31st of December 2000: no month has that number
MOST_LETTERS = 100  # of a cell


def position_of(clock: Clock, columns: Sequence[str], cells: Mapping[str, object]) -> int:
    """The position of the time that the cells of `columns` tell, as text, numbers or time stamps.

    Raises: DataError for what is no time, or one of another kind, without the clock's zone, or between its steps.
    """
    if not columns:
        raise DataError("time: expected none, since rows were counted in training, and got one; give the sample alone")
    if not isinstance(cells, Mapping):
        raise DataError(f"time: expected what {', '.join(columns)} hold, by name, got {shown(cells)}; give such a mapping")
    ticks = _ticks(clock, columns, cells)
    if ticks.instants == clock.is_integer:
        kinds = {True: "time stamps", False: "whole numbers"}
        raise DataError(
            f"time: expected {kinds[not clock.is_integer]} as in training, got {kinds[ticks.instants]}; mend the line"
        )
    if (ticks.zone is None) != (clock.zone is None):
        raise DataError(f"time: expected zone {clock.zone or 'none'} as in training, got {ticks.zone or 'none'}; mend the line")
    found = clock.locate(ticks.ticks[-1:])
    if not found.on_grid[0]:
        said = ", ".join(shown(cells[name]) for name in columns)
        raise DataError(f"time: expected {OFF_GRID.format(step=clock.step_name)}, got {said}; mend the line")
    return int(found.positions[0])


def _ticks(clock: Clock, columns: Sequence[str], cells: Mapping[str, object]) -> Ticks:
    """Of the line; behind those of an example in the clock's format where that helps to read it."""
    missing = [name for name in columns if name not in cells]
    if missing:
        raise DataError(f"time: expected {', '.join(columns)}, got no {', '.join(missing)}; mend the line")
    texts = [[_text(name, cells[name])] for name in columns]
    if len(columns) == 1 and clock.text_format is not None:
        example = str(format_times(np.array([LAST_DAY]), clock.zone, clock.text_format)[0])
        with contextlib.suppress(DataError):  # of another format than the clock's: it is read by itself
            return _read(columns, [[example, *texts[0]]])
    return _read(columns, texts)


def _read(columns: Sequence[str], texts: Sequence[Sequence[str]]) -> Ticks:
    """As of a table. Raises: DataError."""
    table = Table(Columns({name: column_from_texts(own) for name, own in zip(columns, texts, strict=True)}), "time")
    faults = Faults("time")
    ticks = ticks_of(table, columns, faults)
    faults.raise_any()
    assert ticks is not None  # without a fault there are ticks
    return ticks


def _text(name: str, cell: object) -> str:
    try:
        text = str(cell)
    except Exception as error:  # an object may raise anything; a number may have too many digits
        raise DataError(f"time: expected a time in {name}, got {shown(cell)}; mend the line") from error
    if len(text) > MOST_LETTERS:
        raise DataError(f"time: expected a time in {name}, got {shown(text)}; mend the line")
    return text


__all__ = ["position_of"]
