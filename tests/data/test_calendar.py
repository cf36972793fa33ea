"""calendar.py: calendar features. Oracle: datetime, one day at a time."""

from __future__ import annotations

import calendar as python_calendar
import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.data.calendar import column_names, features_at, features_of
from tidegate.data.zones import DAY, HOUR, MINUTE, SECOND

ALL = ("second of minute", "minute of hour", "hour of day", "day of week", "day of year")


@given(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2261, 1, 1)).map(lambda t: t.replace(microsecond=0)))
def test_features_equal_datetimes_own(moment: dt.datetime) -> None:
    ns = round((moment - dt.datetime(1970, 1, 1)).total_seconds()) * SECOND
    days = 366 if python_calendar.isleap(moment.year) else 365
    of_day = moment.hour * 3600 + moment.minute * 60 + moment.second
    phases = [
        moment.second / 60,
        (moment.minute * 60 + moment.second) / 3600,
        of_day / 86_400,
        moment.weekday() / 7,
        (moment.timetuple().tm_yday - 1) / days,
    ]
    expected = np.concatenate([[np.sin(2 * np.pi * p), np.cos(2 * np.pi * p)] for p in phases])
    np.testing.assert_allclose(features_at(np.array([ns]), ALL)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "step", "features"),
    [
        ("integer", 1, ()),
        ("duration", SECOND, ALL),
        ("duration", 15 * MINUTE, ALL[1:]),
        ("duration", HOUR, ALL[2:]),
        ("duration", DAY, ALL[3:]),
        ("duration", 7 * DAY, ALL[4:]),
        ("business", 1, ALL[3:]),
        ("month", 1, ("month of year",)),
        ("month", 3, ("month of year",)),
        ("month", 12, ()),
    ],
)
def test_which_features_mean_something(kind: str, step: int, features: tuple[str, ...]) -> None:
    assert features_of(kind, step) == features


def test_names_come_in_pairs() -> None:
    assert column_names(("hour of day",)) == ("sin hour of day", "cos hour of day")
