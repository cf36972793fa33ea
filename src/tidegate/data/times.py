"""The clock: a regular time axis. In: time stamps or whole numbers. Out: positions (int64) on the axis, time stamps again,
calendar features and natural season lengths. What a text means is timetext.py's matter; which season the data has is
season.py's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, final, get_args

import numpy as np
import numpy.typing as npt

from tidegate.data import calendar
from tidegate.data.columns import to_ns
from tidegate.data.season import infer_season
from tidegate.data.strict import Strict
from tidegate.data.timetext import format_times, month_start
from tidegate.data.zones import DAY, HOUR, MINUTE, NAT, SECOND, changes, to_local, to_utc
from tidegate.errors import ConfigError, DataError, FormatError, shown

__all__ = ["Clock", "infer_clock", "infer_season", "parse_freq"]

ClockKind: TypeAlias = Literal["integer", "duration", "month", "business"]
MOST_FORMAT = 100
MONTH = 2_629_746 * SECOND  # of the Gregorian calendar's 400 years
MOST_NS = (1 << 63) - 100 * DAY  # the end of 2261: months are up to two days off that length, and zones a day
BLOCK = 1 << 20  # rows worked on at once, so that long columns need little memory beside themselves
SAMPLE_SERIES, SAMPLE_ROWS = 200, 5000
UNITS = {
    "ns": 1, "us": 10**3, "ms": 10**6, "s": SECOND, "S": SECOND, "sec": SECOND, "min": MINUTE, "T": MINUTE, "t": MINUTE,
    "m": MINUTE, "h": HOUR, "H": HOUR, "hour": HOUR, "d": DAY, "D": DAY, "day": DAY, "w": 7 * DAY, "W": 7 * DAY, "week": 7 * DAY,
}  # fmt: skip
MONTHS = {
    "M": 1, "MS": 1, "ME": 1, "mo": 1, "month": 1, "Q": 3, "QS": 3, "QE": 3, "q": 3, "quarter": 3,
    "Y": 12, "YS": 12, "YE": 12, "A": 12, "AS": 12, "y": 12, "year": 12,
}  # fmt: skip


class Located(NamedTuple):
    """Positions of times, and which of the times really stand on the grid."""

    positions: npt.NDArray[np.int64]
    on_grid: npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, kw_only=True)
class Clock:
    """A regular axis; position k <-> the time k steps after the anchor.

    step: units of the integer axis, ns, months or business days, at least 1. anchor: the integer, or ns on the wall clock of the
    zone (in UTC where the step is no whole number of days). text_format: how the time column of a file looked.
    """

    kind: ClockKind
    step: int
    anchor: int
    zone: str | None = None
    text_format: str | None = None
    month_end: bool = False  # kind "month": every time is on its month's last day

    @property
    def is_integer(self) -> bool:
        """Whether times are whole numbers; else they are datetime64[ns], in UTC if there is a zone."""
        return self.kind == "integer"

    @property
    def _walks_locally(self) -> bool:
        """Days, months and business days follow the wall clock; shorter steps follow UTC through clock changes."""
        return self.kind in ("month", "business") or (self.kind == "duration" and self.step % DAY == 0)

    # ---- times <-> positions

    def times(self, positions: npt.NDArray[np.int64]) -> np.ndarray:
        """Times at positions of any shape: int64, or datetime64[ns]. Raises: DataError beyond what 64 bits hold."""
        k = np.asarray(positions, dtype=np.int64)
        if k.size:
            self.check_reach(int(k.min()), int(k.max()))
        return self._times(k)

    def check_reach(self, first: int, last: int) -> None:
        """Raises: DataError where a position from `first` to `last` lies outside the years 1678 to 2261, or 64 bits."""
        reach = 1 << 63 if self.is_integer else MOST_NS
        step = self.step * {"month": MONTH, "business": 7 * DAY // 5}.get(self.kind, 1)
        if not -reach < self.anchor + first * step <= self.anchor + last * step < reach:
            years = "whole numbers of 64 bits" if self.is_integer else "times from the year 1678 to 2261"
            raise DataError(f"time: expected {years}, got steps of {self.step_name} that lead beyond; begin a new series before")

    def _times(self, k: npt.NDArray[np.int64]) -> np.ndarray:
        """As `times`, not checked: what lies beyond is wrong."""
        if self.kind == "integer":
            return self.anchor + k * self.step
        if self.kind == "duration":
            ns = self.anchor + k * self.step
        elif self.kind == "month":
            ns = self._month_times(k)
        else:
            ns = self._business_times(k)
        return (to_utc(ns, self.zone) if self._walks_locally else ns).view("datetime64[ns]")

    def _month_times(self, k: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        anchor_month, anchor_day, clock = _civil(np.int64(self.anchor))
        months = anchor_month + k * self.step
        start = month_start(months)
        last = (month_start(months + 1) - start) // DAY - 1
        return start + (last if self.month_end else np.minimum(anchor_day, last)) * DAY + clock

    def _business_times(self, k: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        day, clock = divmod(self.anchor, DAY)
        number = (day + 3) // 7 * 5 + (day + 3) % 7 + k * self.step
        return (number // 5 * 7 + number % 5 - 3) * DAY + clock

    def locate(self, ticks: npt.NDArray[np.int64]) -> Located:
        """The position at or before each tick (integer, or ns in UTC), and whether it is exact. Works in blocks."""
        positions = np.empty(len(ticks), np.int64)
        on_grid = np.empty(len(ticks), bool)
        for a in range(0, len(ticks), BLOCK):
            block = ticks[a : a + BLOCK]
            k = self._floor(block)
            positions[a : a + BLOCK] = k
            on_grid[a : a + BLOCK] = self._times(k).view(np.int64) == block
        return Located(positions, on_grid)

    def positions(self, times: np.ndarray) -> npt.NDArray[np.int64]:
        """Positions (n,) of times (n,): int64 for an integer clock, else datetime64.

        Raises: DataError if a time does not stand on the grid, or is of the other kind.
        """
        times = np.asarray(times)
        found = self.locate(self._ticks(times))
        off = np.flatnonzero(~found.on_grid)
        if len(off):
            shown = self.text(times[off[:1]])[0]
            raise DataError(
                f"time {shown} (entry {off[0]}) is off the grid of {self.step_name}: {len(off)} such. {OFF_GRID_REMEDY}"
            )
        return found.positions

    def _ticks(self, times: np.ndarray) -> npt.NDArray[np.int64]:
        if times.dtype.kind == "M" and not self.is_integer:
            return to_ns(times).view(np.int64)
        if times.dtype.kind in "iu" and self.is_integer:
            return times.astype(np.int64, copy=False)
        expected = "whole numbers" if self.is_integer else "time stamps"
        raise DataError(
            f"time: expected {expected}, got {times.dtype}. Give the time column in the kind the model was fitted with."
        )

    def _floor(self, ticks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Position at or before each tick."""
        local = to_local(ticks, self.zone) if self._walks_locally else ticks
        if self.kind == "month":
            anchor_month, _, _ = _civil(np.int64(self.anchor))
            months, _, _ = _civil(local)
            return np.asarray((months - anchor_month) // self.step)
        if self.kind == "business":
            day, anchor_day = local // DAY, self.anchor // DAY
            number = (day + 3) // 7 * 5 + np.minimum((day + 3) % 7, 4)
            return np.asarray((number - ((anchor_day + 3) // 7 * 5 + (anchor_day + 3) % 7)) // self.step)
        return (local - self.anchor) // self.step

    # ---- text

    def text(self, times: np.ndarray) -> np.ndarray:
        """Times as text (object array), in the format of the file, else ISO without parts that are zero for the step."""
        ticks = self._ticks(np.asarray(times))
        if self.is_integer:
            return np.array([str(t) for t in ticks.ravel().tolist()], dtype=object).reshape(ticks.shape)
        return format_times(ticks, self.zone, self.text_format or self._plain_format())

    def _plain_format(self) -> str:
        days_only = self._walks_locally and self.anchor % DAY == 0
        fine = self.kind == "duration" and self.step % SECOND
        date = "%Y-%m-%d" if days_only else "%Y-%m-%d %H:%M:%S" + (".%9f" if fine else "")
        return date if self.zone is None or days_only else date + "%z"

    def answers(self, positions: npt.NDArray[np.int64]) -> np.ndarray:
        """The time column of an answer: text as in the file where the source was text, else times()."""
        times = self.times(positions)
        return times if self.text_format is None else self.text(times)

    @property
    def step_name(self) -> str:
        """The step in words: "1 hour", "15 minutes", "3 months"."""
        return self.span(1)

    def span(self, steps: int) -> str:
        """So many steps in words: "3 hours"."""
        amount = steps * self.step
        if self.kind == "month":
            return _plural(*((amount // 12, "year") if self.step % 12 == 0 else (amount, "month")))
        if self.kind == "business":
            return _plural(amount, "business day")
        if self.kind == "integer":
            return _plural(amount, "unit") if self.step > 1 else _plural(amount, "step")
        units = (
            ("week", 7 * DAY),
            ("day", DAY),
            ("hour", HOUR),
            ("minute", MINUTE),
            ("second", SECOND),
            ("ms", 10**6),
            ("ns", 1),
        )
        name, size = next((n, s) for n, s in units if self.step % s == 0)
        return _plural(amount // size, name)

    # ---- calendar and seasons

    @property
    def calendar_names(self) -> tuple[str, ...]:
        """Names of calendar()'s C columns; empty for an integer clock."""
        return calendar.column_names(calendar.features_of(self.kind, self.step))

    def calendar(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """(..., C) float32 sines and cosines of the local calendar at positions of any shape."""
        k = np.asarray(positions, dtype=np.int64)
        features = calendar.features_of(self.kind, self.step)
        flat = k.ravel()
        if not features:
            return np.empty((*k.shape, 0), np.float32)
        if self.kind == "month":
            out = calendar.month_table()[(int(_civil(np.int64(self.anchor))[0]) + flat * self.step) % 12]
        elif self.kind == "business":
            out = calendar.features_at(self._business_times(flat), features)
        else:
            ns = self.anchor + flat * self.step
            out = calendar.features_at(ns if self._walks_locally else to_local(ns, self.zone), features)
        return out.reshape(*k.shape, out.shape[-1])

    @property
    def seasons(self) -> tuple[int, ...]:
        """Natural season lengths in steps, short to long: hourly (24, 168), monthly (12,), integer ()."""
        if self.kind == "integer":
            return ()
        if self.kind == "business":
            return (5,) if self.step == 1 else ()
        if self.kind == "month":
            return (12 // self.step,) if self.step < 12 and 12 % self.step == 0 else ()
        steps = {
            MINUTE: (0, 10 * SECOND),
            HOUR: (0, 10 * MINUTE),
            DAY: (0, DAY),
            7 * DAY: (MINUTE, 2 * DAY),
        }  # that suit the cycle
        cycles = [cycle for cycle, (shortest, longest) in steps.items() if shortest <= self.step < longest]
        found = [c // self.step for c in cycles if c % self.step == 0]
        if self.step % DAY == 0:
            found += [n for n in [round(365.25 * DAY / self.step)] if n >= 4]
        return tuple(found)

    # ---- the model file

    def to_json(self) -> dict[str, object]:
        """A plain dict."""
        return {
            "kind": self.kind, "step": self.step, "anchor": self.anchor, "zone": self.zone, "text_format": self.text_format,
            "month_end": self.month_end,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Clock:
        """The clock of to_json().

        Raises: FormatError if a field is missing, unknown or of another type.
        """
        s = Strict(data, "clock", ("kind", "step", "anchor", "zone", "text_format", "month_end"))
        kind = s.text("kind")
        step, zone = s.integer("step"), s.optional_text("zone")
        found: ClockKind | None = next((k for k in get_args(ClockKind) if k == kind), None)
        if found is None or step < 1:
            raise FormatError(
                f"clock: expected one of {', '.join(get_args(ClockKind))} and a step of at least 1, got {shown(kind)}, {step}."
            )
        if zone is not None:
            changes(zone)
        text_format = s.optional_text("text_format")
        if text_format is not None and len(text_format) > MOST_FORMAT:  # every time that is written has its length
            raise FormatError(f"clock.text_format: expected at most {MOST_FORMAT} letters, got {len(text_format):,}.")
        return cls(
            kind=found, step=step, anchor=s.integer("anchor"), zone=zone, text_format=text_format,
            month_end=s.boolean("month_end"),
        )  # fmt: skip


OFF_GRID = "a time on the grid of {step}"
OFF_GRID_REMEDY = "Give freq= (for instance freq='15min'), mend the time stamps, or use uneven=True."


def _plural(amount: int, unit: str) -> str:
    return f"{amount:,} {unit}" + ("s" if amount != 1 and len(unit) > 2 else "")


def _civil(local: npt.NDArray[np.int64] | np.int64) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(months since January 1970, day of month from 0, ns since midnight) of wall-clock ns."""
    day = np.asarray(local // DAY)
    months = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return months, day - month_start(months) // DAY, np.asarray(local - day * DAY)


# ---- inference


def parse_freq(freq: str | int) -> tuple[ClockKind, int]:
    """A step given by hand: "15min", "h", "D", "W", "MS", "M", "Q", "Y", "B", "2h", or a whole number.

    Raises: ConfigError if it is none of these.
    """
    text = str(freq).strip()
    match = re.fullmatch(r"(\d*)\s*([A-Za-z]*)(?:-[A-Za-z]{3})?", text)
    count = int(match[1] or 1) if match else 0
    unit = match[2] if match else ""
    if count >= 1 and text:
        if not unit:
            return "integer", count
        if unit in ("B", "b", "C"):
            return "business", count
        if unit in MONTHS:
            return "month", count * MONTHS[unit]
        name = unit if unit in UNITS else unit.removesuffix("s")
        if name in UNITS:
            return "duration", count * UNITS[name]
    raise ConfigError(f"freq: expected 'h', '15min', 'D', 'W', 'MS', 'M', 'Q', 'Y', 'B' or a whole number, got {freq!r}.")


def infer_clock(
    times: np.ndarray, offsets: npt.NDArray[np.int64] | None = None, *, zone: str | None = None, text_format: str | None = None,
    freq: str | int | None = None, uneven: bool = False,
) -> Clock:  # fmt: skip
    """The clock of series of times, from the most common difference.

    Args: times: (R,) int64, or datetime64 (UTC if zone is given), in order within each series. offsets: (N+1,) where the series
        begin and end, one series without it. freq: the step, when it is known. uneven: the typical step of times off any grid.
    Raises: DataError if there is no difference to see (one row a series) and no freq.
    """
    bounds = np.array([0, len(times)]) if offsets is None else np.asarray(offsets)
    instants = times.dtype.kind == "M"
    first = _first_ticks(times, bounds)
    if freq is not None:
        kind, step = parse_freq(freq)
        if instants == (kind == "integer"):
            got = "time stamps" if instants else "whole numbers"
            raise ConfigError(f"freq={freq!r}: the time column holds {got}. Give a freq of that kind, or none.")
        return _anchored(kind, step, first, zone, text_format, uneven, month_end=_on_month_ends(times, bounds, zone, kind))
    gaps, sample = _differences(times, bounds)
    if len(gaps) == 0:
        raise DataError(
            "time: every series has a single row, so the time step cannot be seen. Give freq=, for instance freq='h'."
        )
    if not instants:
        return _anchored("integer", _typical(gaps, uneven), first, None, None, uneven)
    local = to_local(sample, zone)
    kind, step, month_end = ("duration", 0, False) if uneven else _calendar_step(local, gaps)
    if step == 0:
        step = _typical(gaps if uneven else _local_gaps(local, gaps, zone), uneven)
    return _anchored(kind, step, first, zone, text_format, uneven, month_end=month_end)


def _anchored(
    kind: ClockKind, step: int, first: int, zone: str | None, text_format: str | None, uneven: bool, *, month_end: bool = False
) -> Clock:  # fmt: skip
    """The clock with its anchor at the first time, local where it walks locally."""
    if uneven and kind in ("month", "business"):
        step *= 30 * DAY if kind == "month" else DAY
        kind = "duration"
    clock = Clock(kind=kind, step=step, anchor=first, zone=zone, text_format=text_format, month_end=month_end)
    if zone is None or not clock._walks_locally:
        return clock
    anchor = int(to_local(np.array([first]), zone)[0])
    return Clock(kind=kind, step=step, anchor=anchor, zone=zone, text_format=text_format, month_end=month_end)


def _first_ticks(times: np.ndarray, bounds: npt.NDArray[np.int64]) -> int:
    """The earliest time of all series, as a tick."""
    heads = times[bounds[:-1][np.diff(bounds) > 0]]
    if len(heads) == 0:
        raise DataError("time: expected at least one row, got none.")
    ticks = to_ns(heads).view(np.int64) if heads.dtype.kind == "M" else heads.astype(np.int64)
    return int(ticks.min())


def _sampled(times: np.ndarray, bounds: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Ticks of at most SAMPLE_SERIES series, spread evenly, each of at most SAMPLE_ROWS rows; NaT left out."""
    lengths = np.diff(bounds)
    chosen = np.flatnonzero(lengths > 1)
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), SAMPLE_SERIES)).astype(int)] if len(chosen) else chosen
    parts = []
    for i in chosen.tolist():
        part = times[bounds[i] : min(bounds[i + 1], bounds[i] + SAMPLE_ROWS)]
        ticks = to_ns(part).view(np.int64) if part.dtype.kind == "M" else part.astype(np.int64)
        parts.append(ticks[ticks != NAT])
    return parts


def _differences(times: np.ndarray, bounds: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positive differences inside the sampled series, and the ticks themselves."""
    parts = _sampled(times, bounds)
    gaps = np.concatenate([np.diff(p) for p in parts] or [np.empty(0, np.int64)])
    return gaps[gaps > 0], np.concatenate(parts or [np.empty(0, np.int64)])


def _typical(gaps: npt.NDArray[np.int64], uneven: bool) -> int:
    """The most common difference (the shorter of two as common); for uneven times the median."""
    if uneven:
        return max(1, int(np.median(gaps)))
    sizes, counts = np.unique(gaps, return_counts=True)
    return int(sizes[np.argmax(counts)])


def _local_gaps(local: npt.NDArray[np.int64], gaps: npt.NDArray[np.int64], zone: str | None) -> npt.NDArray[np.int64]:
    """Differences on the wall clock where times are a day or more apart (a day of 23 hours is a day), else as they are."""
    if zone is None or np.median(gaps) < 20 * HOUR:
        return gaps
    steps = np.diff(local)
    return steps[steps > 0]


def _calendar_step(local: npt.NDArray[np.int64], gaps: npt.NDArray[np.int64]) -> tuple[ClockKind, int, bool]:
    """("month", step, month_end) or ("business", 1, False) where the times say so; step 0 = neither."""
    months, day, clock = _civil(local)
    if (clock != clock[0]).any():
        return "duration", 0, False
    last = (month_start(months + 1) - month_start(months)) // DAY - 1
    same_day, at_end = bool((day == day[0]).all()), bool((day == last).all())
    if gaps.min() >= 27 * DAY and (same_day or at_end):
        steps = np.asarray(np.diff(months), np.int64)
        return "month", _typical(steps[steps > 0], False), at_end and not (same_day and day[0] < 28)
    weekday = (local // DAY + 3) % 7
    steps_in_days = np.asarray(np.diff(np.unique(local // DAY)), np.int64)
    whole_weeks = len(steps_in_days) >= 5 and (steps_in_days == 3).any()
    if whole_weeks and (weekday < 5).all() and _typical(steps_in_days, False) == 1:
        return "business", 1, False
    return "duration", 0, False


def _on_month_ends(times: np.ndarray, bounds: npt.NDArray[np.int64], zone: str | None, kind: ClockKind) -> bool:
    """Whether every sampled time is the last day of its month."""
    if kind != "month":
        return False
    parts = _sampled(times, bounds)
    ticks = np.concatenate(parts) if parts else to_ns(times).view(np.int64)
    months, day, _ = _civil(to_local(ticks, zone))
    last = (month_start(months + 1) - month_start(months)) // DAY - 1
    return bool((day == last).all()) and not bool((day == day[0]).all() and day[0] < 28)
