"""future.py: covariates known ahead."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.data.future import future_values
from tidegate.data.panel import build_panel
from tidegate.data.series import Panel
from tidegate.data.table import Table
from tidegate.errors import ConfigError, DataError


def table(**columns: object) -> Table:
    return Table(columns)  # type: ignore[arg-type]


def panel(**options: object) -> Panel:
    history = table(
        id=["a", "a", "a", "b", "b"], t=[0, 1, 2, 1, 2], y=[1.0, 2, 3, 4, 5], f=[0.0, 2, 4, 6, 8], c=["u", "v", "u", "v", "u"]
    )
    return build_panel(history, target="y", time="t", id="id", future=("f", "c"), **options)  # type: ignore[arg-type]


def test_values_come_from_the_table_in_any_order_scaled_as_in_training() -> None:
    future = table(
        id=["b", "a", "b", "a", "z", "a"], t=[4, 3, 3, 4, 3, 2], f=[40.0, 4, 30, 4, 9, 9], c=["u", "v", "new", "u", "u", "u"]
    )
    found = future_values(panel(), future, 2)
    mean, deviation = 4.0, np.std([0, 2, 4, 6, 8])
    np.testing.assert_allclose(found.numbers[:, :, 0], (np.array([[4, 4], [30, 40]]) - mean) / deviation, rtol=1e-6)
    assert found.codes[:, :, 0].tolist() == [[1, 0], [2, 0]]


def test_values_come_from_the_panels_own_known_future() -> None:
    both = table(id=["a"] * 5, t=[0, 1, 2, 3, 4], y=[1.0, 2, 3, np.nan, np.nan], f=[0.0, 2, 4, 6, 8])
    own = build_panel(both, target="y", time="t", id="id", future="f")
    found = future_values(own, None, 2)
    np.testing.assert_array_equal(found.numbers[0], own.future.numbers[3:])
    with pytest.raises(DataError, match=r"'f' is missing for 'a': 5 \(step 3\).*--future FILE"):
        future_values(own, None, 3)


def test_what_is_missing_is_named_by_series_time_and_column() -> None:
    future = table(id=["a", "a", "b"], t=[3, 4, 3], f=[1.0, np.nan, 3], c=["u", "u", "v"])
    with pytest.raises(DataError) as error:
        future_values(panel(), future, 2)
    message = str(error.value)
    assert "2 faults" in message
    for part in ("'f' is missing for 'a', 'b': 4, 2 rows in all", "'c' is missing for 'b': 4 (step 2)"):
        assert part in message
    with pytest.raises(DataError, match="Give future="):
        future_values(panel(), None, 1)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "t": [3], "f": [1.0]}, r"there is no column 'c' \(future covariate\)"),
        ({"id": ["a"], "t": ["2020-01-01"], "f": [1.0], "c": ["u"]}, "kind and zone of the history"),
        ({"id": ["a", "a"], "t": [3, 3], "f": [1.0, 2], "c": ["u", "u"]}, "time 3 stands 2 times in series 'a'"),
        ({"id": ["a"], "t": [3], "f": [np.inf], "c": ["u"]}, "finite number"),
    ],
)
def test_bad_tables_are_refused(columns: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        future_values(panel(), table(**columns), 1)


def test_a_table_that_lies_elsewhere_is_told_with_both_ends() -> None:
    late = table(id=["a", "a"], t=[9, 10], f=[1.0, 2], c=["u", "v"])
    with pytest.raises(DataError, match=r"series 'a' ends at 2, .* needed from 3 to 4, and the table goes from 9 to 10"):
        future_values(panel(), late, 2)
    with pytest.raises(DataError, match=r"no row belongs to a series of the history; the table has 'x', the history 'a', 'b'"):
        future_values(panel(), table(id=["x"], t=[3], f=[1.0], c=["u"]), 2)


@pytest.mark.parametrize("horizon", [0, -3])
def test_a_horizon_below_one_is_refused(horizon: int) -> None:
    with pytest.raises(ConfigError, match="horizon"):
        future_values(panel(), None, horizon)


def test_without_future_covariates_there_is_nothing_to_give() -> None:
    plain = build_panel(table(y=[1.0, 2]), target="y")
    assert future_values(plain, None, 3).numbers.shape == (1, 3, 0)


def test_rows_in_order_where_there_is_no_time_and_uneven_times() -> None:
    counted = build_panel(table(y=[1.0, 2, 3], f=[0.0, 1, 2]), target="y", future="f")
    found = future_values(counted, table(f=[2.0, 0.0]), 2)
    assert found.numbers[0, 0, 0] > 0 > found.numbers[0, 1, 0]
    uneven = build_panel(table(t=[0, 3, 4, 9], y=[1.0, 2, 3, 4], f=[0.0, 1, 2, 3]), target="y", time="t", future="f", uneven=True)
    found = future_values(uneven, table(t=[30, 9, 11], f=[0.0, 1, 3]), 2)
    assert found.numbers[0, 0, 0] > 0 > found.numbers[0, 1, 0]
