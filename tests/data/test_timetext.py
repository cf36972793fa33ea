"""timetext.py: time stamps as text. Oracle: datetime.strptime and NumPy's own reader."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.data.timetext import MixedZones, format_times, parse_times
from tidegate.errors import DataError


@pytest.mark.parametrize(
    ("texts", "iso", "zone", "text_format"),
    [
        (["2012-01-31", "2012-02-29"], ["2012-01-31", "2012-02-29"], None, "%Y-%m-%d"),
        (["2012-01-31 13:05"], ["2012-01-31T13:05"], None, "%Y-%m-%d %H:%M"),
        (["2012-01-31T13:05:07"], ["2012-01-31T13:05:07"], None, "%Y-%m-%dT%H:%M:%S"),
        (["2012-01-31 13:05:07.250"], ["2012-01-31T13:05:07.250"], None, "%Y-%m-%d %H:%M:%S.%3f"),
        (["2012-01-31T13:05:07Z"], ["2012-01-31T13:05:07"], "UTC", "%Y-%m-%dT%H:%M:%SZ"),
        (["2012-01-31 13:05:07+01:00"], ["2012-01-31T12:05:07"], "+01:00", "%Y-%m-%d %H:%M:%S%z"),
        (["2012-01-31 13:05:07-0330"], ["2012-01-31T16:35:07"], "-03:30", None),
        (["2012-01", "2012-02"], ["2012-01-01", "2012-02-01"], None, "%Y-%m"),
        (["2012/1/31", "2012/11/3"], ["2012-01-31", "2012-11-03"], None, None),
        (["20120131"], ["2012-01-31"], None, "%Y%m%d"),
        (["2012Q1", "2012Q4"], ["2012-01-01", "2012-10-01"], None, "%YQ%q"),
        (["2012-Q2"], ["2012-04-01"], None, "%Y-Q%q"),
        (["01.02.2012", "3.11.2012"], ["2012-02-01", "2012-11-03"], None, None),
        (["31/01/2012", "01/02/2012"], ["2012-01-31", "2012-02-01"], None, "%d/%m/%Y"),
        (["1/31/2012 3:07 PM", "2/1/2012 12:00 AM"], ["2012-01-31T15:07", "2012-02-01T00:00"], None, "%-m/%-d/%Y %-I:%M %p"),
        (["31-Jan-2012"], ["2012-01-31"], None, "%d-%b-%Y"),
        (["Jan 2012"], ["2012-01-01"], None, "%b %Y"),
    ],
)
def test_formats(texts: list[str], iso: list[str], zone: str | None, text_format: str | None) -> None:
    parsed = parse_times(texts)
    np.testing.assert_array_equal(parsed.ns.view("datetime64[ns]"), np.array(iso, "datetime64[ns]"))
    assert parsed.zone == zone
    assert len(parsed.bad) == 0
    if text_format is not None:
        assert parsed.text_format == text_format
        assert format_times(parsed.ns, zone, text_format).tolist() == texts


MOMENTS = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2250, 1, 1)).map(lambda t: t.replace(microsecond=0))


@given(
    st.lists(MOMENTS, min_size=1, max_size=4),
    st.sampled_from(["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%d.%m.%Y %H:%M", "%Y%m%d"]),
)
def test_parsing_equals_strptime_and_writing_gives_the_text_again(moments: list[dt.datetime], text_format: str) -> None:
    texts = [t.strftime(text_format).zfill(len("20200101")) for t in moments]
    expected = [dt.datetime.strptime(t, text_format) for t in texts]
    parsed = parse_times(texts)
    np.testing.assert_array_equal(parsed.ns.view("datetime64[ns]"), np.array(expected, "datetime64[ns]"))
    assert format_times(parsed.ns, None, parsed.text_format).tolist() == texts


@pytest.mark.parametrize(
    "bad", ["2012-02-30", "2012-13-01", "2012-00-01", "yesterday", "2012-01-01 25:00", "2012-01-01 10:61", "0001-01-01"]
)
def test_what_is_no_time_is_named(bad: str) -> None:
    parsed = parse_times(["2012-01-31 10:00", bad, "2012-02-01 10:00"])
    assert parsed.bad.tolist() == [1]
    assert np.isnat(parsed.ns.view("datetime64[ns]")).tolist() == [False, True, False]


def test_mixed_zones_are_refused_with_the_first_of_each() -> None:
    with pytest.raises(MixedZones) as error:
        parse_times(["2012-01-31T10:00Z", "2012-01-31T11:00Z", "2012-01-31T10:00+01:00", "2012-01-31T10:00"])
    assert error.value.first == {"UTC": 0, "+01:00": 2, None: 3}


def test_day_and_month_are_not_guessed() -> None:
    with pytest.raises(DataError, match="cannot be told apart"):
        parse_times(["01/02/2012", "02/02/2012"])
    with pytest.raises(DataError, match="cannot be told apart"):
        parse_times(["01/20/2012", "20/01/2012"])


def test_an_unknown_format_is_refused_with_examples() -> None:
    with pytest.raises(DataError, match=r"'2012-01-31'.*got 'monday'"):
        parse_times(["monday", "tuesday"])
