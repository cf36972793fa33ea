"""panel.py with rows.py, layout.py and values.py: panels from tables, and every bad input of the issue that belongs to data."""

from __future__ import annotations

import datetime as dt
import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.data.columns import Encoded
from tidegate.data.panel import Panel, build_panel
from tidegate.data.schema import OTHER, Schema
from tidegate.data.table import Table, read_table
from tidegate.data.zones import DAY, HOUR
from tidegate.errors import ConfigError, DataError

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data sets")
DAYS = "t,y\n" + "".join(f"2020-01-{d:02d},{d}\n" for d in range(1, 11))


def from_text(folder: Path, text: str, **roles: object) -> Panel:
    path = folder / "t.csv"
    path.write_text(text, encoding="utf-8")
    options: dict[str, object] = {"target": "y", "time": "t"} | roles
    return build_panel(read_table(path), **options)  # type: ignore[arg-type]


def long_table(n: int, length: int, **more: object) -> Table:
    rng = np.random.default_rng(0)
    times = np.tile(np.arange(length).astype("datetime64[h]"), n)
    ids = np.repeat([f"s{i}" for i in range(n)], length)
    return Table({"id": ids, "t": times, "y": rng.normal(size=n * length), **more})  # type: ignore[dict-item]


# ---- what comes out


def test_series_are_grouped_sorted_and_put_on_the_grid() -> None:
    table = Table({"id": ["b", "a", "b", "a", "b"], "t": [4, 1, 2, 2, 5], "y": [3.0, 10, 1, 11, 4]})  # type: ignore[dict-item]
    panel = build_panel(table, target="y", time="t", id="id")
    assert panel.ids == ("b", "a")
    assert panel.offsets.tolist() == [0, 4, 6]
    np.testing.assert_array_equal(panel.target[:, 0], [1, np.nan, 3, 4, 10, 11])
    np.testing.assert_array_equal(panel.series(1), [[10], [11]])
    assert panel.times(0, -1, 3).tolist() == [1, 2, 3]
    assert panel.times(1, 2, 2).tolist() == [3, 4]
    assert any("sorted" in n for n in panel.notes)
    assert any("1 step missing in series 'b' (first at 3)" in n for n in panel.notes)


KEYS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), min_size=2, max_size=12, unique=True)


@given(KEYS)
@settings(deadline=None)
def test_every_value_stands_at_its_own_id_and_time_and_no_other(keys: list[tuple[str, int]]) -> None:
    table = Table({"id": [k for k, _ in keys], "t": [t for _, t in keys], "y": np.arange(len(keys)) + 1.0})  # type: ignore[dict-item]
    panel = build_panel(table, target="y", time="t", id="id", freq=1)
    found = {
        (name, int(t)): float(v)
        for i, name in enumerate(panel.ids)
        for t, v in zip(panel.times(i, 0, int(panel.lengths[i])), panel.series(i)[:, 0], strict=True)
        if v == v
    }
    assert found == {key: k + 1.0 for k, key in enumerate(keys)}
    assert list(panel.ids) == list(dict.fromkeys(k for k, _ in keys))


def test_no_time_is_the_order_of_the_rows_of_each_series() -> None:
    panel = build_panel(Table({"id": [7, 3, 7], "y": [1.0, 2, 3]}), target="y", id="id")  # type: ignore[dict-item]
    assert panel.ids == (7, 3)
    assert panel.schema.id_kind == "integer"
    np.testing.assert_array_equal(panel.series(0)[:, 0], [1, 3])
    assert panel.times(1, 0, 2).tolist() == [0, 1]


def test_a_column_in_order_is_taken_over_without_a_copy() -> None:
    table = long_table(3, 50)
    panel = build_panel(table, target="y", time="t", id="id")
    assert np.shares_memory(panel.target, table["y"])
    single = Table({"y": np.zeros(5, np.float32), "t": np.arange(5)})
    assert build_panel(single, target="y", time="t").target.dtype == np.float32


def test_several_targets() -> None:
    panel = build_panel(Table({"a": [1.0, 2], "b": [3, 4]}), target=("a", "b"))  # type: ignore[dict-item]
    np.testing.assert_array_equal(panel.target, [[1, 3], [2, 4]])


def test_covariates_are_standardised_or_coded() -> None:
    table = Table({
        "id": ["a"] * 3 + ["b"] * 3, "t": [0, 1, 3] * 2, "y": np.arange(6.0), "x": [1.0, 2, 3, 4, 5, np.nan],
        "c": ["u", "v", None, "u", "u", "w"], "s": [5.0] * 3 + [9.0] * 3, "k": ["p", None, "p", "q", "q", "q"], "one": [2.0] * 6,
    })  # fmt: skip
    panel = build_panel(table, target="y", time="t", id="id", past=("x", "one"), future="c", static=("s", "k"))
    known = np.array([1.0, 2, 3, 4, 5])
    np.testing.assert_allclose(
        panel.past.numbers[:, 0], (np.array([1, 2, np.nan, 3, 4, 5, np.nan, np.nan]) - 3) / known.std(), rtol=1e-6
    )
    assert panel.schema.scales["one"] == (2.0, 1.0)
    assert panel.schema.levels["c"] == ("u", "v", "w", OTHER)
    assert panel.future.codes[:, 0].tolist() == [0, 1, -1, -1, 0, 0, -1, 2]
    np.testing.assert_array_equal(panel.static.numbers, [[-1], [1]])
    assert panel.static.codes.tolist() == [[0], [1]]
    assert (panel.static.number_names, panel.static.code_names) == (("s",), ("k",))


def test_at_most_32_levels_the_most_frequent() -> None:
    texts = [f"c{k}" for k in range(40) for _ in range(40 - k)]
    panel = build_panel(Table({"y": np.arange(len(texts)), "c": texts}), target="y", past="c")  # type: ignore[dict-item]
    assert panel.schema.levels["c"] == (*(f"c{k}" for k in range(32)), OTHER)
    assert panel.past.codes[-1, 0] == 32


def test_known_future_is_no_history() -> None:
    table = Table({
        "id": ["a"] * 5 + ["b"] * 3, "t": [0, 1, 2, 3, 4, 0, 1, 2], "y": [1.0, np.nan, 3, np.nan, np.nan, 1, 2, np.nan],
        "f": [1.0, 2, 3, 4, 5, 6, 7, np.nan],
    })  # fmt: skip
    panel = build_panel(table, target="y", time="t", id="id", future="f")
    assert panel.future_rows.tolist() == [2, 0]
    assert panel.lengths.tolist() == [3, 3]
    assert len(panel.series(0)) == 3
    without = build_panel(table, target="y", time="t", id="id")
    assert without.future_rows.tolist() == [0, 0]


def test_uneven_times_are_kept_as_they_are() -> None:
    times = np.array([0, 10, 25, 26, 60]).astype("datetime64[s]")
    panel = build_panel(Table({"t": times, "y": np.arange(5.0)}), target="y", time="t", uneven=True)
    step = panel.schema.clock.step / 1e9
    assert panel.elapsed is not None
    np.testing.assert_allclose(panel.elapsed * step, [0, 10, 25, 26, 60])
    np.testing.assert_array_equal(panel.times(0, 0, 5), times)
    assert panel.times(0, 5, 1)[0] == times[-1].astype("datetime64[ns]") + np.timedelta64(panel.schema.clock.step, "ns")


def test_extreme_numbers_survive() -> None:
    y = np.array([1e38, -1e38, 1e-38, 0.0])
    panel = build_panel(
        Table({"y": y, "x": [1e300, -1e300, 1e-300, 0], "z": [1e-200, 2e-200, 3e-200, np.nan]}), target="y", past=("x", "z")
    )  # type: ignore[dict-item]
    np.testing.assert_array_equal(panel.target[:, 0], y)
    np.testing.assert_allclose(
        panel.past.numbers[:3], [[2**0.5, -1.2247449], [-(2**0.5), 0], [0, 1.2247449]], rtol=1e-6, atol=1e-7
    )


def test_dates_as_whole_numbers_are_dates_and_that_is_said(tmp_path: Path) -> None:
    panel = from_text(tmp_path, "t,y\n20200130,1\n20200131,2\n20200201,3\n")
    assert panel.schema.clock.step == DAY
    assert "read as dates" in panel.notes[0]


@pytest.mark.parametrize("columns", [("year", "month", "day", "hour"), ("Hour", "DAY", "month", "year"), ("a", "b", "c", "d")])
def test_time_from_several_columns(columns: tuple[str, ...]) -> None:
    hours = np.arange("2020-02-28T12", "2020-03-01T12", dtype="datetime64[h]").tolist()
    parts = {
        "year": [t.year for t in hours],
        "month": [t.month for t in hours],
        "day": [t.day for t in hours],
        "hour": [t.hour for t in hours],
    }
    order = [c.lower() for c in columns] if "year" in columns else list(parts)
    table = Table({c: parts[p] for c, p in zip(columns, order, strict=True)} | {"y": np.arange(len(hours))})  # type: ignore[dict-item]
    panel = build_panel(table, target="y", time=columns)
    assert panel.times(0, 0, len(hours)).astype("datetime64[us]").tolist() == hours


def test_time_from_a_date_and_a_time_of_day(tmp_path: Path) -> None:
    panel = from_text(tmp_path, "d,c,y\n2020-01-01,22:30,1\n2020-01-01,23:00,2\n2020-01-01,23:30,3\n", time=("d", "c"))
    assert panel.times(0, 0, 1)[0] == np.datetime64("2020-01-01T22:30")
    panel = from_text(tmp_path, "d,h,y\n2020-01-01,22,1\n2020-01-01,23,2\n2020-01-02,0,3\n", time=("d", "h"))
    assert panel.schema.clock.step == HOUR


def test_leading_zeros_of_ids_survive(tmp_path: Path) -> None:
    panel = from_text(tmp_path, "id,t,y\n007,1,1\n007,2,2\n008,1,3\n008,2,3\n", id="id")
    assert panel.ids == ("007", "008")


def test_zones_of_text_reach_the_clock(tmp_path: Path) -> None:
    panel = from_text(tmp_path, "t,y\n2020-01-01T00:00:00+01:00,1\n2020-01-01T01:00:00+01:00,2\n2020-01-01T02:00:00+01:00,2\n")
    clock = panel.schema.clock
    assert clock.zone == "+01:00"
    assert panel.times(0, 0, 1)[0] == np.datetime64("2019-12-31T23:00")
    assert clock.text(panel.times(0, 3, 1)).tolist() == ["2020-01-01T03:00:00+01:00"]


# ---- bad input


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DAYS.replace(",5\n", ",five\n"), r"t\.csv: line 6, column 'y': expected a number, got 'five': text in a number column"),
        (DAYS.replace(",5\n", ",inf\n"), r"line 6, column 'y': expected a finite number, got inf"),
        (DAYS + "2020-01-03,9\n", r"line 4, line 12: time 2020-01-03 00:00:00 stands 2 times.*duplicates="),
        (DAYS + "2020-02-30,9\n", r"line 12, column 't': expected a time like '2020-01-01', got '2020-02-30'"),
        (DAYS + ",9\n", r"line 12, column 't': the time is missing"),
        ("t,y\n1,NA\n2,\n", "target column 'y': every value is missing"),
        ("t,y\n2020-01-01T00:00Z,1\n2020-01-01T01:00+01:00,1\n", r"mixed time zones: UTC \(line 2\) and \+01:00 \(line 3\)"),
        ("t,y\n2020-01-01T00:00Z,1\n2020-01-01T01:00,1\n", r"mixed time zones: UTC \(line 2\) and no zone \(line 3\)"),
        ("t,y\n1.5,1\n2,1\n", "column 't': expected time stamps or whole numbers, got fractions"),
        ("t,y\n2020-01-01 00:00,1\n2020-01-01 01:00,1\n2020-01-01 02:00,1\n2020-01-01 02:17,1\n",
         "line 5: .*02:17:00 is not on the grid of 1 hour.*uneven"),
        ("t,y\n2020-01-01,1\n", "single row.*freq="),
        ("t,y\n1970-01-01 00:00:00,1\n2020-01-01 00:00:01,1\n2020-01-01 00:00:02,1\n2020-01-01 00:00:03,1\n",
         "would need a grid of"),
        ("time,y\n1,2\n2,3\n", r"there is no column 't' \(time\)"),
        ("t,Y\n1,2\n2,3\n", r"there is no column 'y' \(target\). Did you mean 'Y'"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_with_file_line_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        from_text(tmp_path, text)
    assert "t.csv" in str(error.value)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = DAYS.replace(",5\n", ",five\n").replace(",7\n", ",inf\n") + "2020-01-03,9\n2020-01-99,3\n"
    with pytest.raises(DataError) as error:
        from_text(tmp_path, text, past=("wind",), static=("y2",))
    message = str(error.value)
    assert "6 faults" in message
    for part in ("'five'", "inf", "stands 2 times", "2020-01-99", "'wind'", "'y2'"):
        assert part in message


def test_at_most_20_faults_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)25 faults.*  20\. .*and 5 more$"):
        from_text(tmp_path, "t,y\n1,2\n2,3\n", past=tuple(f"x{k}" for k in range(25)))


def test_a_text_column_is_one_fault_and_slips_in_a_number_column_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t.csv: column 'y' is text, first at line 2 \('x0'\): expected numbers"):
        from_text(tmp_path, "t,y\n" + "".join(f"{k},x{k}\n" for k in range(60)))
    rows = "".join(f"{k},{'x' if k % 5 == 4 else k}\n" for k in range(20))
    with pytest.raises(DataError, match=r"4 values of column 'y' are text: line 6, column 'y'; line 11, .* and 1 more"):
        from_text(tmp_path, "t,y\n" + rows)
    with pytest.raises(DataError, match=r"(?s)3 faults.*1\. line 6, column 'y': expected a number, got 'x'"):
        from_text(tmp_path, "t,y\n" + rows[: rows.index("19,x")])


def test_a_forgotten_id_is_suggested(tmp_path: Path) -> None:
    rows = "".join(f"{t},{shop},{k},{1.5 * k}\n" for k, (shop, t) in enumerate((s, t) for s in "ab" for t in range(1, 9)))
    with pytest.raises(DataError, match=r"8 times stand in several rows: .*column 'shop' would tell the rows apart: --id shop"):
        from_text(tmp_path, "t,shop,number,y\n" + rows)
    with pytest.raises(DataError, match=r"2 times: |stands 2 times") as error:
        from_text(tmp_path, "t,y\n1,5\n1,6\n2,7\n")
    assert "apart" not in str(error.value)
    assert "--duplicates first, last or mean (in Python duplicates='first')" in str(error.value)


def test_a_missing_id_and_an_id_of_fractions() -> None:
    with pytest.raises(DataError, match="row 1, column 'id': the id is missing"):
        build_panel(Table({"id": ["a", None, "a"], "y": [1.0, 2, 3]}), target="y", id="id")  # type: ignore[dict-item]
    with pytest.raises(DataError, match="fractions"):
        build_panel(Table({"id": [1.5, 1.5], "y": [1.0, 2]}), target="y", id="id")  # type: ignore[dict-item]
    floats = build_panel(Table({"id": [2.0, 2.0], "y": [1.0, 2]}), target="y", id="id")  # type: ignore[dict-item]
    assert floats.ids == (2,)


def test_a_static_column_that_varies_is_named_with_both_values() -> None:
    table = Table({"id": ["a", "a", "b"], "y": [1.0, 2, 3], "s": [1.0, 2, 2], "k": ["u", "v", "u"]})  # type: ignore[dict-item]
    with pytest.raises(DataError) as error:
        build_panel(table, target="y", id="id", static=("s", "k"))
    assert "static column 's' varies inside series 'a': 1.0 and 2.0" in str(error.value)
    assert "static column 'k' varies inside series 'a': 'u' and 'v'" in str(error.value)


def test_an_empty_frame_and_instants_as_target() -> None:
    with pytest.raises(DataError, match="no rows"):
        build_panel(Table({"y": np.empty(0)}), target="y")
    with pytest.raises(DataError, match="expected numbers, got time stamps"):
        build_panel(Table({"y": np.zeros(3, "datetime64[D]")}), target="y")


def test_inf_in_a_covariate_is_refused() -> None:
    with pytest.raises(DataError, match="row 1, column 'x': expected a finite number, got -inf"):
        build_panel(Table({"y": [1.0, 2], "x": [0, -np.inf]}), target="y", past="x")  # type: ignore[dict-item]


@pytest.mark.parametrize(("rule", "expected"), [("first", [1, 5, 4]), ("last", [1, 7, 4]), ("mean", [1, 6, 4])])
def test_duplicates_by_rule(rule: str, expected: list[float]) -> None:
    table = Table({"t": [0, 1, 1, 2, 1], "y": [1.0, 5, np.nan if rule == "mean" else 6, 4, 7], "x": [1, 2, 2, 3, 2]})  # type: ignore[dict-item]
    panel = build_panel(table, target="y", time="t", past="x", duplicates=rule)  # type: ignore[arg-type]
    np.testing.assert_array_equal(panel.target[:, 0], expected)
    assert len(panel.past.numbers) == 3
    assert any(n.startswith("duplicate") for n in panel.notes)


def test_freq_and_uneven_need_a_time_column() -> None:
    for options in ({"freq": "h"}, {"uneven": True}):
        with pytest.raises(ConfigError, match="Give time="):
            build_panel(Table({"y": [1.0, 2]}), target="y", **options)  # type: ignore[arg-type, dict-item]


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ConfigError, match="duplicates: expected one of error, first, last, mean"):
        build_panel(Table({"y": [1.0]}), target="y", duplicates="drop")  # type: ignore[arg-type, dict-item]


def test_unicode_ids_and_one_row_with_freq() -> None:
    panel = build_panel(
        Table({"id": ["東京 \u202e😀"], "t": ["2020-01-01"], "y": [1.0]}), target="y", time="t", id="id", freq="D"
    )  # type: ignore[dict-item]
    assert panel.ids == ("東京 \u202e😀",)
    assert panel.lengths.tolist() == [1]


# ---- new data with the schema of a model


def fitted() -> Panel:
    table = Table(
        {
            "id": ["a", "a", "b", "b"],
            "t": ["2020-01-01", "2020-01-02"] * 2,
            "y": [1.0, 2, 3, 4],
            "x": [0.0, 2, 4, 6],
            "c": ["u", "v", "u", "u"],
        }
    )  # type: ignore[dict-item]
    return build_panel(table, target="y", time="t", id="id", past="x", future="c")


def test_a_schema_gives_the_same_scales_levels_and_grid() -> None:
    schema = Schema.from_json(json.loads(json.dumps(fitted().schema.to_json())))
    new = Table({"id": ["z", "z"], "t": ["2020-03-01", "2020-03-02"], "y": [9.0, 9], "x": [3.0, 3], "c": ["v", "new"]})  # type: ignore[dict-item]
    panel = build_panel(new, schema=schema)
    assert panel.starts.tolist() == [60]
    np.testing.assert_array_equal(panel.past.numbers, 0)
    assert panel.future.codes[:, 0].tolist() == [1, 2]
    assert any("'new' not among the levels of training" in n for n in panel.notes)
    assert panel.schema == schema


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": ["a", "b"]}, "text in a number column"),
        ({"c": [1.0, 2.0]}, "column 'c': expected text as in training"),
        ({"t": [1, 2]}, "time: expected time stamps as in training, got whole numbers"),
        ({"t": ["2020-03-01T00:00Z", "2020-03-02T00:00Z"]}, "expected zone none as in training, got UTC"),
        ({"t": ["2020-03-01 12:00", "2020-03-02 12:00"]}, "not on the grid of 1 day"),
        ({"id": [1, 1]}, "expected text ids as in training, got integer"),
    ],
)
def test_new_data_of_another_kind_is_refused(change: dict[str, list[object]], message: str) -> None:
    columns: dict[str, list[object]] = {
        "id": ["z", "z"],
        "t": ["2020-03-01", "2020-03-02"],
        "y": [9.0, 9.0],
        "x": [3.0, 3.0],
        "c": ["v", "v"],
    }
    with pytest.raises(DataError, match=message):
        build_panel(Table(columns | change), schema=fitted().schema)  # type: ignore[arg-type]


def test_a_missing_column_of_the_schema_and_another_role() -> None:
    with pytest.raises(DataError, match=r"there is no column 'x' \(past\)"):
        build_panel(Table({"id": ["z"], "t": ["2020-03-01"], "y": [9.0], "c": ["v"]}), schema=fitted().schema)  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="target: the model was fitted with"):
        build_panel(Table({"y": [1.0]}), target="z", schema=fitted().schema)  # type: ignore[dict-item]


# ---- frames and scale


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames_give_the_same_panel(library: str) -> None:
    pytest.importorskip(library)
    table = Table({
        "id": ["a"] * 4 + ["b"] * 4, "t": np.tile(np.arange("2020-10-24T22", "2020-10-25T02", dtype="datetime64[h]"), 2),
        "y": np.arange(8.0),
        "c": ["u", None] * 4,
    }, zones={"t": "Europe/Berlin"})  # fmt: skip
    frame = {"pandas": table.to_pandas, "polars": table.to_polars, "pyarrow": table.to_arrow}[library]()
    one, two = (build_panel(read_table(t), target="y", time="t", id="id", past="c") for t in (table, frame))
    assert one.schema == two.schema
    np.testing.assert_array_equal(one.target, two.target)
    np.testing.assert_array_equal(one.past.codes, two.past.codes)
    np.testing.assert_array_equal(one.times(1, 0, 4), two.times(1, 0, 4))


def test_a_million_rows_are_placed_without_a_loop_over_rows() -> None:
    codes = np.repeat(np.arange(1000, dtype=np.int32), 1000)
    times = np.tile(np.arange(1000).astype("datetime64[h]").astype("datetime64[us]"), 1000)
    table = Table({"id": Encoded(codes, tuple(f"s{k}" for k in range(1000))), "t": times, "y": np.zeros(len(codes), np.float32)})  # type: ignore[dict-item]
    start = time.process_time()
    panel = build_panel(table, target="y", time="t", id="id")
    assert time.process_time() - start < 1.5  # 0.06 s on a quiet machine
    assert np.shares_memory(panel.target, table["y"])
    shuffled = table.rows(np.random.default_rng(0).permutation(len(codes)))
    start = time.process_time()
    again = build_panel(shuffled, target="y", time="t", id="id")
    assert time.process_time() - start < 5  # 0.4 s
    assert sorted(again.ids) == sorted(panel.ids)


def test_memory_beside_the_source_is_a_few_bytes_a_row() -> None:
    codes = np.repeat(np.arange(100, dtype=np.int32), 10_000)
    times = np.tile(np.arange(10_000).astype("datetime64[h]"), 100).astype("datetime64[ns]")
    table = Table({"id": Encoded(codes, tuple(map(str, range(100)))), "t": times, "y": np.zeros(len(codes))})  # type: ignore[dict-item]
    tracemalloc.start()
    panel = build_panel(table, target="y", time="t", id="id")
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert panel.n_rows == 1_000_000
    assert kept < 1_000_000  # the panel's own arrays: offsets, starts, ids
    assert peak < 60_000_000  # positions, and temporary arrays of a block


@needs_data
@pytest.mark.data
def test_beijing() -> None:
    table = read_table(DATA / "beijing_pm25" / "pollution.csv")
    panel = build_panel(
        table, target="pm2.5", time=("year", "month", "day", "hour"), past=("DEWP", "TEMP", "PRES", "cbwd", "Iws")
    )
    assert panel.lengths.tolist() == [43_824]
    assert int(np.isnan(panel.target).sum()) == 2067
    assert panel.times(0, 43_823, 1)[0] == np.datetime64("2014-12-31T23:00")
    assert panel.schema.levels["cbwd"] == ("SE", "NW", "cv", "NE", OTHER)
    mean, deviation = panel.schema.scales["TEMP"]
    assert (mean, deviation) == (pytest.approx(table["TEMP"].mean()), pytest.approx(table["TEMP"].std()))


@needs_data
@pytest.mark.data
def test_pjm_with_its_disorder_gaps_and_duplicates() -> None:
    table = read_table(DATA / "pjm_energy" / "AEP_hourly.csv.gz")
    with pytest.raises(
        DataError, match=r"4 times stand in several rows: time 2014-11-02 02:00:00 stands 2 times \(line 82494, line 82495"
    ):
        build_panel(table, target="AEP_MW", time="date")
    panel = build_panel(table, target="AEP_MW", time="date", duplicates="mean")
    by_time: dict[str, list[float]] = {}
    for text, value in zip(table["date"], table["AEP_MW"], strict=True):
        by_time.setdefault(text, []).append(float(value))
    times = [dt.datetime.fromisoformat(t) for t in by_time]
    assert panel.lengths.tolist() == [int((max(times) - min(times)).total_seconds() // 3600) + 1]
    assert int(np.isnan(panel.target).sum()) == 27
    place = int(panel.schema.clock.positions(np.array(["2014-11-02T02"], "datetime64[h]"))[0] - panel.starts[0])
    assert panel.target[place, 0] == pytest.approx(np.mean(by_time["2014-11-02 02:00:00"]))
    assert [n.split(":")[0].split(" ")[0] for n in panel.notes] == ["rows", "duplicate", "gap"]
