"""check.py: findings about a table. Nothing raises on bad data."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from tidegate.data.check import Finding, check_table
from tidegate.data.table import Table, read_table

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def found(findings: tuple[Finding, ...], part: str) -> Finding:
    hits = [f for f in findings if part in f.what]
    assert hits, f"no finding says {part!r}: {[f.what for f in findings]}"
    return hits[0]


def series(n: int = 3, length: int = 60, **more: object) -> Table:
    rng = np.random.default_rng(0)
    columns: dict[str, object] = {
        "id": np.repeat([f"s{k}" for k in range(n)], length), "t": np.tile(np.arange(length), n),
        "y": rng.normal(size=n * length) - 3.0,
    }  # fmt: skip
    return Table(columns | more)  # type: ignore[arg-type]


ROLES: dict[str, str] = {"target": "y", "time": "t", "id": "id"}


def test_clean_data_has_no_errors_or_warnings() -> None:
    findings = check_table(series(), target="y", time="t", id="id", horizon=5, lookback=20)
    assert {f.level for f in findings} == {"note"}
    assert "3 series of 60 rows" in findings[0].what
    assert all(f.action for f in findings)


def test_errors_come_first_and_say_that_fit_stops(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("t,y\n1,5\n2,six\n2,7\n3,inf\n5,1\n4,2\n")
    findings = check_table(read_table(path), target="y", time="t", past=("wind",))
    assert [f.level for f in findings[:4]] == ["error"] * 4
    assert found(findings, "'six'").where == "line 3, column 'y'"
    assert found(findings, "finite number").level == "error"
    assert found(findings, "stands 2 times").action.startswith("fit stops here")
    assert "wind" in found(findings, "'wind'").what
    assert found(findings, "not in time order").action == "sorted"


def test_a_table_that_makes_no_panel_at_all_is_a_finding() -> None:
    findings = check_table(Table({"y": np.empty(0)}), target="y")
    assert findings[0].level == "error"
    mixed = Table({"t": ["2020-01-01T00:00Z", "2020-01-01T00:00+01:00"], "y": [1.0, 2]})  # type: ignore[dict-item]
    assert "mixed time zones" in check_table(mixed, target="y", time="t")[0].what
    far = Table({"t": np.array(["2020-01-01", "9999-01-01"], "datetime64[D]"), "y": [1.0, 2]})  # type: ignore[dict-item]
    assert "between 1678 and 2261" in check_table(far, target="y", time="t")[0].what


def test_constant_missing_short_gappy_series_and_outliers() -> None:
    table = series(4)
    y = table["y"].copy()
    y[0:60] = 2.0
    y[60:120] = np.nan
    y[130] = 1e6
    keep = np.r_[0:150, 151:200]
    findings = check_table(Table({**table.columns, "y": y}).rows(keep), **ROLES, horizon=10, lookback=20)  # type: ignore[arg-type]
    assert found(findings, "1 series are constant").where == "series 's0'"
    assert found(findings, "no value at all").where == "series 's1'"
    assert found(findings, "1 outliers").where == "series 's2'"
    assert found(findings, "fewer than 30 rows").where == "series 's3'"
    assert "in series 's2'" in found(findings, "gap: 1 step missing").what
    assert found(findings, "values are missing").level == "warning"


def test_leaks_are_found_and_honest_covariates_are_not() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=400).cumsum()
    columns = {
        "y": y, "ahead": 3 * np.roll(y, -2) + 1, "same": -y, "behind": np.roll(y, 3),
        "noise": rng.normal(size=400), "trend": np.arange(400.0),
    }  # fmt: skip
    table = Table(columns)
    past = check_table(table, target="y", past=("ahead", "same", "behind", "noise", "trend"), horizon=5)
    leaks = [f for f in past if "covariate" in f.what]
    assert [f.where for f in leaks] == ["column 'ahead'"]
    assert "2 steps ahead of its time" in leaks[0].what
    future = check_table(table, target="y", future=("ahead", "same", "behind", "noise", "trend"), horizon=5)
    assert [f.where for f in future if "covariate" in f.what] == ["column 'ahead'", "column 'same'", "column 'behind'"]


def test_shares_have_one_style_and_a_future_covariate_with_holes_is_a_warning() -> None:
    columns = {"f": np.where(np.arange(180) == 70, np.nan, 1.0), "p": np.where(np.arange(180) < 90, np.nan, 1.0)}
    findings = check_table(series(**columns), **ROLES, past="p", future="f")  # type: ignore[arg-type]
    hole = next(f for f in findings if "future column" in f.where)
    assert (hole.level, hole.what, hole.where) == (
        "warning", "0.6 % of the values are missing", "future column 'f', series 's1'"
    )  # fmt: skip
    assert found(findings, "50.0 % of the values are missing").level == "note"


def test_notes_on_columns_without_a_role_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("y;z\n1,5;2,5\n2,5;3,5\n3,5;4,5\n")
    findings = check_table(read_table(path), target="y")
    assert "decimal commas" in found(findings, "column 'y'").what or found(findings, "column 'y'")
    assert not [f for f in findings if "'z'" in f.what]


def test_a_smooth_series_is_no_leak_of_itself() -> None:
    y = np.sin(np.arange(500) / 50)
    findings = check_table(Table({"y": y, "x": np.cos(np.arange(500) / 31)}), target="y", past="x")
    assert not [f for f in findings if "covariate" in f.what]


def test_counts_and_signs() -> None:
    rng = np.random.default_rng(0)
    counts = check_table(Table({"y": rng.poisson(3.0, 300)}), target="y")
    assert "negative binomial" in found(counts, "counts").action
    y = rng.poisson(30.0, 300)
    y[7] = -1
    assert found(check_table(Table({"y": y}), target="y"), "1 of 300 values are negative").level == "warning"


def test_3000_series_of_300_rows_take_a_second_or_two() -> None:
    table = series(3000, 300)
    start = time.process_time()
    check_table(table, target="y", time="t", id="id", horizon=24, lookback=100)
    assert time.process_time() - start < 4  # 0.4 s on a quiet machine


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data sets")
def test_pjm() -> None:
    findings = check_table(read_table(DATA / "pjm_energy" / "AEP_hourly.csv.gz"), target="AEP_MW", time="date", horizon=24)
    assert [f.count for f in findings if f.level == "error"] == [4]
    assert found(findings, "gap: 27 hours").level == "warning"
    with_rule = check_table(
        read_table(DATA / "pjm_energy" / "AEP_hourly.csv.gz"), target="AEP_MW", time="date", duplicates="mean"
    )
    assert not [f for f in with_rule if f.level == "error"]
