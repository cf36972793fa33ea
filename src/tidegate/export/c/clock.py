"""The calendar of a forecaster's clock in whole numbers, without a time zone. In: a Clock, columns, a position. Out: Ticks, or a
refusal.

The state holds the time of the next row: seconds since 1970-01-01 00:00 on the wall clock of the training data; months since
January 1970 where a step is months, business days since the one of 1970-01-01 where it is those.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tidegate.data.times import Clock
from tidegate.data.zones import DAY, SECOND, changes, to_local
from tidegate.errors import TaskError

_OFF = "train without the calendar, calendar=False (--no-calendar)"


class Ticks(NamedTuple):
    """first: the time of the first row after m_init; step: from row to row; unit: what both count. asked: what m_clock takes,
    in words; taken: the C that turns it into the unit. features: statements that write the calendar at `t` to c."""

    first: int
    step: int
    asked: str
    taken: str
    features: str


def ticks(clock: Clock, columns: tuple[int, ...], first: int) -> Ticks:
    """Args: columns: of the clock's calendar_names that are read, at least one. first: position of the first row.

    Raises: TaskError for a clock that changes with the season or counts parts of a second.
    """
    names = [clock.calendar_names[k] for k in columns]
    now = to_local(clock.times(np.array([first])).view(np.int64), clock.zone)
    if clock.kind == "month":
        month = int(now.view("datetime64[ns]").astype("datetime64[M]").astype(np.int64)[0])
        return Ticks(month, clock.step, "months since January 1970", "time", _statements(names))
    if clock.kind == "business":
        day = int(now[0]) // DAY
        return Ticks(_business(day), clock.step, "days since 1970-01-01 of a working day", _BUSINESS, _day(names, _OF_BUSINESS))
    if clock.step % SECOND:
        raise TaskError(f"the time stamps are parts of a second apart, whose calendar a device does not follow; {_OFF}")
    if clock.zone is not None and clock.step % DAY and len(changes(clock.zone).at):
        raise TaskError(
            f"the calendar is that of {clock.zone}, whose clocks change with the season, which a device does not know; convert "
            f"the times to UTC before training, or {_OFF}"
        )
    local = clock.anchor + first * clock.step if clock.step % DAY == 0 else int(now[0])  # whole days follow the wall clock
    asked = "seconds since 1970-01-01 00:00 on the wall clock of the training data"
    return Ticks(local // SECOND, clock.step // SECOND, asked, "time", _day(names, "tg_floor(t, 86400)"))


_BUSINESS = "time + 3 - 2 * tg_floor(time + 3, 7)"
_OF_BUSINESS = "tg_floor(t, 5) * 7 + (t - 5 * tg_floor(t, 5)) - 3"


def _business(day: int) -> int:
    return (day + 3) // 7 * 5 + (day + 3) % 7


def _day(names: list[str], day: str) -> str:
    return f"  const int64_t day = {day};\n" + _statements(names)


# Each feature: part of a turn, parts of the turn; a minute's seconds count where the clock shows them alone.
_PARTS = {
    "second of minute": ("(int32_t)(t - 60 * tg_floor(t, 60))", "60"),
    "minute of hour": ("{of_hour}", "3600"),
    "hour of day": ("{of_day}", "86400"),
    "day of week": ("(int32_t)(day + 3 - 7 * tg_floor(day + 3, 7))", "7"),
    "day of year": ("tg_day_of_year(day, &parts)", "parts"),
    "month of year": ("(int32_t)(t - 12 * tg_floor(t, 12))", "12"),
}


def _statements(names: list[str]) -> str:
    """C that writes the named columns, sine or cosine, to c[0], c[1], ..."""
    seconds = any(name.endswith("second of minute") for name in names)
    whole = "" if seconds else "60 * "  # without them the time is that of its minute, as in data/calendar.py
    each = 1 if seconds else 60
    of_hour = f"(int32_t)({whole}(tg_floor(t, {each}) - {3600 // each} * tg_floor(t, 3600)))"
    of_day = f"(int32_t)({whole}(tg_floor(t, {each}) - {86400 // each} * day))"
    lines, said = [], ""
    for k, name in enumerate(names):
        wave, feature = name.split(" ", 1)
        if feature != said:
            part, parts = _PARTS[feature]
            part = part.format(of_hour=of_hour, of_day=of_day)
            lines += [f"  part = {part};", f"  tg_turn(part, {parts}, &sine, &cosine);"]
            said = feature
        lines.append(f"  c[{k}] = {'sine' if wave == 'sin' else 'cosine'};")
    return "\n".join(lines) + "\n"
