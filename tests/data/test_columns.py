"""columns.py: storing columns. Oracles: Python's own float(), NumPy's casts."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.data.columns import (
    MISSING,
    NUMBER,
    Columns,
    Encoded,
    column_from_texts,
    encode,
    keep,
    numbers_of,
    parse_numbers,
    to_ns,
)
from tidegate.errors import DataError

TEXTS = st.lists(
    st.sampled_from(["1", "-2.5", "3e4", "", "NA", " 7 ", "x", "007", "1_0", "inf", "nAn", "٣"]), min_size=1, max_size=8
)


@given(TEXTS)
def test_a_column_is_numeric_exactly_if_every_known_text_is_a_number(texts: list[str]) -> None:
    known = [t.strip() for t in texts if t.strip() not in MISSING]
    leading_zeros = all(t.isdigit() for t in known) and "007" in known
    column = column_from_texts(texts)
    if all(NUMBER.fullmatch(t) for t in known) and not leading_zeros:
        assert isinstance(column, np.ndarray)
        expected = [float("nan") if t.strip() in MISSING else float(t) for t in texts]
        np.testing.assert_array_equal(column.astype(float), expected)
    else:
        assert isinstance(column, Encoded)
        assert column.decode().tolist() == [None if t.strip() in MISSING else t for t in texts]


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_floats_survive_as_text(values: list[float]) -> None:
    parsed = parse_numbers([repr(v) for v in values])
    assert parsed is not None
    np.testing.assert_array_equal(parsed, values)


def test_whole_numbers_are_int64_and_larger_ones_float64() -> None:
    assert parse_numbers(["1", "-2"]).dtype == np.int64  # type: ignore[union-attr]
    assert parse_numbers(["9223372036854775808", "1"]).dtype == np.float64  # type: ignore[union-attr]
    assert column_from_texts(["1", ""]).dtype == np.float64  # type: ignore[union-attr]


def test_encode_round_trip() -> None:
    texts = ["b", None, "a", "b", "é"]
    column = encode(texts)
    assert column.decode().tolist() == texts
    assert column.codes.tolist() == [0, -1, 1, 0, 2]


def test_numbers_of_text_names_the_rows_that_are_none() -> None:
    values, bad = numbers_of(encode(["1.5", "x", None, "2"]))
    np.testing.assert_array_equal(values, [1.5, np.nan, np.nan, 2.0])
    assert bad.tolist() == [1]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], np.int64),
        ([1.0, 2], np.float64),
        ([True, False], np.bool_),
        ([1, None], np.float64),
        ([Decimal("1.5"), None], np.float64),
        (np.array([1, 2], np.float16), np.float32),
        (np.array([1, 2], np.float32), np.float32),
        (np.array([1, 2], np.uint8), np.int64),
        (np.array([2**64 - 1], np.uint64), np.float64),
    ],
)
def test_numbers_are_kept_in_few_types(values: object, dtype: type) -> None:
    kept = keep("y", values, "test").values
    assert isinstance(kept, np.ndarray)
    assert kept.dtype == dtype


def test_a_list_with_none_beside_text_is_missing_not_the_word() -> None:
    assert keep("c", ["a", None], "test").values.decode().tolist() == ["a", None]  # type: ignore[union-attr]


def test_aware_times_become_utc_with_their_zone() -> None:
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    kept = keep("t", [dt.datetime(2020, 7, 1, 12, tzinfo=berlin), None], "test")
    assert kept.zone == "Europe/Berlin"
    np.testing.assert_array_equal(kept.values, np.array(["2020-07-01T10:00", "NaT"], "datetime64[us]"))


def test_mixed_zones_are_refused_with_their_rows() -> None:
    times = [dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc), dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))]
    with pytest.raises(DataError, match=r"mixed time zones: UTC \(row 0\) and \+01:00 \(row 1\)"):
        keep("t", times, "test")


@pytest.mark.parametrize("values", [np.zeros((2, 2)), [1j, 2j], ["a", 1], [object()]])
def test_what_is_no_column_is_refused_by_name(values: object) -> None:
    with pytest.raises(DataError, match="column 'c'"):
        keep("c", values, "test")


@pytest.mark.parametrize("unit", ["D", "h", "s", "ms", "us", "ns", "M"])
def test_to_ns_equals_numpys_cast_and_keeps_nat(unit: str) -> None:
    times = np.array(["1970-01-01", "NaT", "2262-04-01", "1677-10-01"], f"datetime64[{unit}]")
    np.testing.assert_array_equal(to_ns(times), times.astype("datetime64[ns]"))


@pytest.mark.parametrize("year", ["1500-01-01", "2300-01-01"])
def test_years_that_nanoseconds_cannot_hold_are_refused(year: str) -> None:
    with pytest.raises(DataError, match="between 1678 and 2261"):
        to_ns(np.array(["2000-01-01", year], "datetime64[s]"))


def test_columns_decode_on_access_and_keep_codes() -> None:
    columns = Columns({"c": encode(["a", None])})
    assert columns["c"].tolist() == ["a", None]
    assert isinstance(columns.stored("c"), Encoded)
