"""table.py: tables from whatever the caller has, and back. Oracles: pandas, polars and pyarrow themselves."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest

from tidegate.data.columns import Encoded
from tidegate.data.table import Table, read_table
from tidegate.errors import DataError, OutputError

TIMES = np.array(["2020-03-29T00:30", "2020-03-29T01:30", "NaT"], "datetime64[ns]")


def table(**columns: object) -> Table:
    return Table(columns)  # type: ignore[arg-type]


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(DataError, match="equal length, got a: 1, b: 2"):
        table(a=[1], b=[1, 2])


def test_an_unknown_column_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(DataError, match=r"no column 'temp_mx'\. Did you mean 'temp_max'\?"):
        table(temp_max=[1.0], wind=[2.0])["temp_mx"]


def test_a_list_of_arrays_is_a_long_table() -> None:
    t = read_table([np.arange(3.0), np.arange(2.0)])
    assert t["id"].tolist() == ["0", "0", "0", "1", "1"]
    assert t["time"].tolist() == [0, 1, 2, 0, 1]
    assert t["y"].tolist() == [0, 1, 2, 0, 1]
    two = read_table([np.arange(6, dtype=np.float32).reshape(3, 2)])
    assert two.names == ("id", "time", "y0", "y1")
    assert two["y1"].dtype == np.float32
    assert read_table([1.0, 2.0, 3.0])["y"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "bad", [[], [np.zeros((2, 2, 2))], [np.zeros(3), np.zeros((3, 2))], [np.array(["a"])], 5, {"y": [1], "t": [1, 2]}]
)
def test_what_is_no_table_is_refused(bad: object) -> None:
    with pytest.raises(DataError):
        read_table(bad)


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(DataError, match=r"ends in \.csv"):
        read_table(tmp_path / "a.xlsx")


def test_reading_a_table_gives_the_table() -> None:
    t = table(a=[1])
    assert read_table(t) is t


def test_rows_keep_their_line_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("y,z\n1,a\n2,b\n3,c\n")
    part = read_table(tmp_path / "a.csv").rows(np.array([2, 0]))
    assert [part.place(0), part.place(1)] == ["line 4", "line 2"]
    assert part["z"].tolist() == ["c", "a"]


def test_shown_as_text_and_html() -> None:
    t = table(id=["a<b", None], y=[1.23456789, np.nan])
    assert str(t) == "id         y\na<b  1.23457\n"
    assert "a&lt;b" in t._repr_html_()
    long = str(table(y=np.arange(100)))
    assert "..." in long
    assert "(100 rows)" in long


# ---- CSV out


def test_csv_round_trip_is_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=50) * 10.0 ** rng.integers(-300, 300, 50)
    small = rng.normal(size=50).astype(np.float32)
    y[3] = np.nan
    t = Table({"id": ["ü,x", None] * 25, "y": y, "f": small, "k": np.arange(50), "t": np.arange(50).astype("datetime64[h]")})
    t.write_csv(tmp_path / "out.csv")
    back = read_table(tmp_path / "out.csv")
    np.testing.assert_array_equal(back["y"], y)
    np.testing.assert_array_equal(back["f"].astype(np.float32), small)
    assert back["id"].tolist() == t["id"].tolist()
    assert back["k"].tolist() == t["k"].tolist()
    assert back["t"][3] == "1970-01-01 03:00:00"


def test_instants_with_a_zone_are_written_in_utc_and_fixed_offsets_stay() -> None:
    stream = io.StringIO()
    Table({"a": TIMES, "b": TIMES}, zones={"a": "Europe/Berlin", "b": "+05:30"}).write_stream(stream)
    first = stream.getvalue().splitlines()[1]
    assert first == "2020-03-29 00:30:00Z,2020-03-29 06:00:00+05:30"


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nix"):
        table(a=[1]).write_csv(tmp_path / "nix" / "a.csv")


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        table(a=[1]).write_csv(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# ---- frames


def test_pandas_round_trip_with_zone_category_and_missing_values() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({
        "t": pd.Series(TIMES).dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"),
        "naive": pd.Series(TIMES),
        "c": pd.Categorical(["b", None, "a"], categories=["a", "b", "unused"]),
        "s": pd.Series(["x", None, "ü"]),
        "n": pd.array([1, None, 3], dtype="Int64"),
        "y": [1.5, np.nan, 2.0],
        "f": np.array([1, 2, 3], np.float32),
        "b": [True, False, True],
        "p": pd.period_range("2020-01", periods=3, freq="M"),
    })  # fmt: skip
    t = read_table(frame)
    assert (t.kind, t.zones) == ("pandas", {"t": "Europe/Berlin"})
    np.testing.assert_array_equal(t["t"], TIMES)
    assert t["c"].tolist() == ["b", None, "a"]
    assert t["f"].dtype == np.float32
    np.testing.assert_array_equal(t["n"], [1, np.nan, 3])
    assert t["p"][1] == np.datetime64("2020-02-01")
    back = t.like(t.columns)
    assert isinstance(back, pd.DataFrame)
    pd.testing.assert_series_equal(back["t"], frame["t"], check_dtype=False)
    assert str(back["t"].dt.tz) == "Europe/Berlin"
    assert [None if v != v or v is None else v for v in back["s"]] == ["x", None, "ü"]


def test_pandas_fixed_offset_and_time_index() -> None:
    pd = pytest.importorskip("pandas")
    index = pd.date_range("2020-01-01", periods=3, freq="h", tz="UTC").tz_convert("+05:30")
    t = read_table(pd.DataFrame({"y": [1, 2, 3]}, index=index.rename("when")))
    assert t.zones == {"when": "+05:30"}
    assert t["when"][0] == np.datetime64("2020-01-01T00:00")
    assert str(t.like({"when": t["when"]})["when"].dt.tz) == "UTC+05:30"  # type: ignore[index]


def test_polars_round_trip_eager_lazy_categorical_enum_and_zone() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({
        "t": pl.Series(TIMES).dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin"),
        "d": pl.Series(TIMES).cast(pl.Date),
        "c": pl.Series(["b", None, "a"]).cast(pl.Categorical),
        "e": pl.Series(["b", None, "a"]).cast(pl.Enum(["z", "a", "b"])),
        "s": ["x", None, "ü"],
        "n": [1, None, 3],
        "u": pl.Series([1, 2, 2**64 - 1], dtype=pl.UInt64),
        "none": pl.Series([None, None, None]),
        "y": [1.5, None, float("nan")],
        "list": [[1], [2], [3]],
    })  # fmt: skip
    for source in (frame, frame.lazy()):
        t = read_table(source)
        assert (t.kind, t.zones) == ("polars", {"t": "Europe/Berlin"})
        np.testing.assert_array_equal(t["t"], TIMES)
        np.testing.assert_array_equal(t["d"], TIMES.astype("datetime64[D]"))
        assert t["c"].tolist() == t["e"].tolist() == ["b", None, "a"]
        np.testing.assert_array_equal(t["y"], [1.5, np.nan, np.nan])
        assert t["u"][2] == 2.0**64
        assert np.isnan(t["none"]).all()
        assert "list" in t.left_out
        with pytest.raises(DataError, match="List"):
            t["list"]
        back = t.like(t.columns)
        assert isinstance(back, pl.DataFrame)
        assert back["t"].dtype.time_zone == "Europe/Berlin"
        assert (
            back["t"]
            .cast(pl.Datetime("ns", "Europe/Berlin"))
            .equals(frame["t"].cast(pl.Datetime("ns", "Europe/Berlin")), null_equal=True)
        )
        assert back["s"].to_list() == ["x", None, "ü"]


def test_pyarrow_round_trip_chunks_dictionary_and_zone() -> None:
    pa = pytest.importorskip("pyarrow")
    first = pa.table({
        "t": pa.array(TIMES, type=pa.timestamp("us", tz="Europe/Berlin")),
        "c": pa.array(["b", None, "a"]).dictionary_encode(),
        "s": ["x", None, "ü"],
        "n": pa.array([1, None, 3], pa.int32()),
        "y": pa.array([1.5, None, 2.0]),
        "b": pa.array([True, None, False]),
        "d": pa.array(TIMES.astype("datetime64[D]")),
        "none": pa.nulls(3),
    })  # fmt: skip
    both = pa.concat_tables([first, first])
    t = read_table(both)
    assert (t.kind, t.zones) == ("pyarrow", {"t": "Europe/Berlin"})
    np.testing.assert_array_equal(t["t"], np.tile(TIMES, 2))
    assert t["c"].tolist() == ["b", None, "a"] * 2
    np.testing.assert_array_equal(t["b"], [1, np.nan, 0] * 2)
    back = t.like(t.columns)
    assert isinstance(back, pa.Table)
    assert back["t"].type == pa.timestamp("ns", tz="Europe/Berlin")
    assert back["t"].cast(pa.timestamp("us", tz="Europe/Berlin")).equals(both["t"])
    assert back["s"].to_pylist() == ["x", None, "ü"] * 2


def test_a_fixed_offset_reaches_every_library() -> None:
    t = Table({"t": TIMES}, zones={"t": "+05:30"})
    for name in ("to_pandas", "to_arrow"):
        again = read_table(getattr(t, name)())
        np.testing.assert_array_equal(again["t"], TIMES)
        assert again.zones == {"t": "+05:30"}


@pytest.mark.parametrize("ending", ["parquet", "pq"])
def test_parquet(tmp_path: Path, ending: str) -> None:
    pl = pytest.importorskip("polars")
    path = tmp_path / f"a.{ending}"
    pl.DataFrame({"id": ["a", "b"], "y": [1.0, 2.0]}).write_parquet(path)
    t = read_table(path)
    assert (t.kind, t["id"].tolist(), t["y"].tolist()) == ("parquet", ["a", "b"], [1, 2])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="whole Parquet file"):
        read_table(path)


def test_numbers_and_codes_of_a_polars_frame_are_not_copied_into_objects() -> None:
    pl = pytest.importorskip("polars")
    y = pl.Series(np.arange(1000.0))
    t = read_table(pl.DataFrame({"id": pl.Series(["a", "b"] * 500).cast(pl.Categorical), "y": y}))
    assert np.shares_memory(t["y"], y.to_numpy())
    assert isinstance(t.stored("id"), Encoded)


def test_files_and_lists_answer_with_a_table() -> None:
    answer = read_table([np.arange(3.0)]).like({"forecast": np.zeros(2)})
    assert isinstance(answer, Table)
