"""times.py: the clock. Oracle: pandas' date ranges."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.data.times import Clock, infer_clock, parse_freq
from tidegate.data.zones import DAY, HOUR, MINUTE, SECOND
from tidegate.errors import ConfigError, DataError, FormatError

CLOCKS = st.builds(
    lambda kind_step, anchor, zone, end: Clock(
        kind=kind_step[0],
        step=kind_step[1],
        anchor=anchor if kind_step[0] != "business" else anchor // (7 * DAY) * 7 * DAY,  # a Thursday
        zone=None if kind_step[0] == "integer" else zone,
        month_end=end and kind_step[0] == "month",
    ),
    st.sampled_from([("integer", 3), ("duration", 15 * MINUTE), ("duration", HOUR), ("duration", DAY), ("duration", 7 * DAY),
                     ("month", 1), ("month", 3), ("business", 1)]),
    st.integers(-(10**18), 10**18).map(lambda n: n // HOUR * HOUR),
    st.sampled_from([None, "UTC", "+05:30", "Europe/Berlin", "America/New_York"]),
    st.booleans(),
)  # fmt: skip


@given(CLOCKS, st.lists(st.integers(-400, 400), min_size=1, max_size=6))
@settings(deadline=None)
def test_positions_and_times_are_inverse(clock: Clock, k: list[int]) -> None:
    if clock.month_end:
        clock = Clock(kind="month", step=clock.step, anchor=clock.anchor // DAY * DAY, zone=clock.zone, month_end=True)
    positions = np.array(k)
    assert clock.positions(clock.times(positions)).tolist() == k
    assert Clock.from_json(json.loads(json.dumps(clock.to_json()))) == clock


@pytest.mark.parametrize(
    ("freq", "kind", "step", "seasons"),
    [
        ("h", "duration", HOUR, (24, 168)),
        ("15min", "duration", 15 * MINUTE, (96, 672)),
        ("30min", "duration", 30 * MINUTE, (48, 336)),
        ("5min", "duration", 5 * MINUTE, (12, 288, 2016)),
        ("D", "duration", DAY, (7, 365)),
        ("7D", "duration", 7 * DAY, (52,)),
        ("W-MON", "duration", 7 * DAY, (52,)),
        ("MS", "month", 1, (12,)),
        ("ME", "month", 1, (12,)),
        ("QS", "month", 3, (4,)),
        ("QE", "month", 3, (4,)),
        ("YS", "month", 12, ()),
        ("YE", "month", 12, ()),
        ("B", "business", 1, (5,)),
        ("s", "duration", SECOND, (60, 3600, 86400)),
    ],
)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_inferred_from_pandas_ranges_and_continued_as_pandas_does(
    freq: str, kind: str, step: int, seasons: tuple[int, ...], zone: str | None
) -> None:
    pd = pytest.importorskip("pandas")
    start = "2020-01-02" if freq not in ("s", "5min") else "2020-03-28 20:00"
    index = pd.date_range(start, periods=160, freq=freq, tz=zone)
    utc = (index.tz_convert("UTC").tz_localize(None) if zone else index).to_numpy().astype("datetime64[ns]")
    clock = infer_clock(utc[:40], zone=zone)
    assert (clock.kind, clock.step) == (kind, step)
    assert clock.seasons == seasons
    np.testing.assert_array_equal(clock.times(np.arange(160)), utc)
    np.testing.assert_array_equal(clock.positions(utc), np.arange(160))


def test_gaps_do_not_change_the_step() -> None:
    times = np.array([0, 1, 2, 5, 6, 7, 20, 21]).astype("datetime64[h]")
    assert infer_clock(times).step == HOUR
    assert infer_clock(np.array([3, 5, 7, 13])).step == 2


def test_days_without_weekends_need_a_weekend_to_be_business_days() -> None:
    week = np.arange("2024-01-01", "2024-01-06", dtype="datetime64[D]")
    assert infer_clock(week).kind == "duration"
    weeks = np.concatenate([week, week + 7])
    assert infer_clock(weeks).kind == "business"


def test_series_of_their_own_starts_share_a_clock() -> None:
    times = np.array([10, 12, 14, 4, 6]).astype("datetime64[h]")
    clock = infer_clock(times, np.array([0, 3, 5]))
    assert clock.positions(times).tolist() == [3, 4, 5, 0, 1]


def test_a_single_row_needs_freq() -> None:
    one = np.array(["2020-01-01"], "datetime64[D]")
    with pytest.raises(DataError, match="freq"):
        infer_clock(one)
    assert infer_clock(one, freq="D").step == DAY


def test_uneven_times_give_their_median_step() -> None:
    times = np.array([0, 10, 20, 31, 300]).astype("datetime64[s]")
    clock = infer_clock(times, uneven=True)
    assert (clock.kind, clock.step) == ("duration", int(10.5 * SECOND))


@pytest.mark.parametrize(
    ("freq", "expected"),
    [("h", ("duration", HOUR)), ("2h", ("duration", 2 * HOUR)), ("15min", ("duration", 15 * MINUTE)),
     ("90 min", ("duration", 90 * MINUTE)),
     ("D", ("duration", DAY)), ("W-SUN", ("duration", 7 * DAY)), ("M", ("month", 1)), ("Q", ("month", 3)), ("2Y", ("month", 24)),
     ("B", ("business", 1)), (1, ("integer", 1)), ("5", ("integer", 5)), ("hours", ("duration", HOUR))],
)  # fmt: skip
def test_freq(freq: str | int, expected: tuple[str, int]) -> None:
    assert parse_freq(freq) == expected


@pytest.mark.parametrize("freq", ["", "fortnight", "0h", "h2", "-1", 0, -3, "1.5h"])
def test_bad_freq(freq: str | int) -> None:
    with pytest.raises(ConfigError, match="freq"):
        parse_freq(freq)


def test_freq_of_the_other_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="time stamps"):
        infer_clock(np.array([0, 1]).astype("datetime64[h]"), freq=1)
    with pytest.raises(ConfigError, match="whole numbers"):
        infer_clock(np.array([0, 1]), freq="h")


def test_off_the_grid_is_refused_with_the_time() -> None:
    clock = infer_clock(np.arange(5).astype("datetime64[h]"))
    with pytest.raises(DataError, match=r"1970-01-01 02:17:00 .* 1 hour.*freq="):
        clock.positions(np.array(["1970-01-01T01:00", "1970-01-01T02:17"], "datetime64[m]"))
    with pytest.raises(DataError, match="expected time stamps"):
        clock.positions(np.array([1, 2]))
    with pytest.raises(DataError, match="expected whole numbers"):
        Clock(kind="integer", step=1, anchor=0).positions(np.array(["2020"], "datetime64[D]"))


def test_days_follow_the_wall_clock_through_a_change() -> None:
    clock = Clock(kind="duration", step=DAY, anchor=0, zone="America/Sao_Paulo")  # 2018-11-04 had no midnight there
    times = clock.times(np.arange(17_838, 17_843))
    assert np.diff(times).astype("timedelta64[h]").astype(int).tolist() == [24, 23, 24, 24]
    np.testing.assert_array_equal(clock.positions(times), np.arange(17_838, 17_843))


def test_calendar_follows_the_wall_clock() -> None:
    hourly = Clock(kind="duration", step=HOUR, anchor=0, zone="Europe/Berlin")
    summer = np.array(["2020-07-01T10:00"], "datetime64[ns]")  # noon in Berlin
    cosine = hourly.calendar(hourly.positions(summer))[0, hourly.calendar_names.index("cos hour of day")]
    assert cosine == pytest.approx(-1)
    monthly = Clock(kind="month", step=3, anchor=0)
    np.testing.assert_allclose(monthly.calendar(np.array([0, 1, 2, 4]))[:, 0], [0, 1, 0, 0], atol=1e-6)


def test_calendar_has_the_shape_of_the_positions_and_is_quick() -> None:
    clock = Clock(kind="duration", step=HOUR, anchor=0, zone="Europe/Berlin")
    positions = np.random.default_rng(0).integers(0, 500_000, (100, 1000))
    assert clock.calendar(positions).shape == (100, 1000, len(clock.calendar_names))
    start = time.process_time()
    for _ in range(5):
        clock.calendar(positions)
    assert (time.process_time() - start) / 5 < 0.05  # 5 ms on a quiet machine
    integer = Clock(kind="integer", step=1, anchor=0)
    assert integer.calendar(positions).shape == (100, 1000, 0)
    assert integer.calendar_names == ()


def test_answers_are_written_as_the_file_was() -> None:
    clock = Clock(kind="duration", step=DAY, anchor=0, text_format="%d.%m.%Y")
    assert clock.answers(np.array([1])).tolist() == ["02.01.1970"]
    assert Clock(kind="duration", step=DAY, anchor=0).answers(np.array([1])).tolist() == [DAY]


@pytest.mark.parametrize(
    ("clock", "text"),
    [(Clock(kind="duration", step=HOUR, anchor=0), "3 hours"), (Clock(kind="duration", step=15 * MINUTE, anchor=0), "45 minutes"),
     (Clock(kind="month", step=3, anchor=0), "9 months"), (Clock(kind="month", step=12, anchor=0), "3 years"),
     (Clock(kind="business", step=1, anchor=0), "3 business days"), (Clock(kind="integer", step=1, anchor=0), "3 steps")],
)  # fmt: skip
def test_spans_in_words(clock: Clock, text: str) -> None:
    assert clock.span(3) == text


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "week"},
        {"step": 0},
        {"step": "1"},
        {"anchor": 1.5},
        {"zone": 3},
        {"month_end": 1},
        {"extra": 1},
        {"anchor": 2**64},
    ],
)
def test_json_is_read_strictly(change: dict[str, object]) -> None:
    data = Clock(kind="duration", step=HOUR, anchor=0).to_json() | change
    with pytest.raises(FormatError):
        Clock.from_json(data)
    with pytest.raises(FormatError):
        Clock.from_json({"kind": "integer"})


@pytest.mark.parametrize(
    ("kind", "step", "near", "far"),
    [("duration", DAY, 106_000, 107_000), ("month", 1, 3_480, 3_520), ("month", 12, 290, 294), ("business", 1, 75_900, 76_400),
     ("integer", 4, (1 << 61) - 1, 1 << 61)],
)  # fmt: skip
def test_a_position_beyond_any_clock_is_refused(kind: str, step: int, near: int, far: int) -> None:
    """Where 64 bits end, not where they begin again."""
    clock = Clock(kind=kind, step=step, anchor=0)
    for sign in (1, -1):
        assert (clock.times(np.array([sign * near])).view(np.int64) > 0).all() == (sign > 0)
        with pytest.raises(DataError, match="lead beyond"):
            clock.times(np.array([0, sign * far]))
