from __future__ import annotations

import csv
import json
import time

import numpy as np
import pytest

from tidegate.errors import ConfigError, DataError, OutputError, ShapeError
from tidegate.tasks import baselines, measures
from tidegate.tasks.evaluation import Forecasts, Windows, _separate, _Series, baseline_forecasts, evaluate

SEASON, F = 4, 6


def make(series=3, cuts=(40, 46), targets=("y",), seed=0, hole=True):
    """Windows over a few seasonal series, each cut at two places; one truth unknown."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(series):
        for target in targets:
            y = 20 + 5 * i + 3 * np.sin(np.pi * np.arange(60) / 2) + rng.normal(0, 0.5, 60)
            rows += [(f"s{i}", target, cut, y) for cut in cuts]
    truth = np.array([y[cut : cut + F] for *_, cut, y in rows])
    if hole:
        truth[0, 2] = np.nan
    return Windows(
        ids=tuple(r[0] for r in rows),
        targets=tuple(r[1] for r in rows),
        cutoffs=np.array([r[2] - 1 for r in rows]),
        times=np.array([r[2] + np.arange(F) for r in rows]),
        truth=truth,
        histories=[y[:cut] for *_, cut, y in rows],
        season=SEASON,
    )


def near(windows, error=0.1, levels=(80, 95), quantiles=True):
    """Forecasts that miss the truth by a known amount."""
    point = np.nan_to_num(windows.truth, nan=20.0) + error
    q = point[..., None] + np.linspace(-0.4, 0.4, 9)
    return Forecasts(
        point=point,
        lo={level: point - level / 100 for level in levels},
        hi={level: point + level / 100 for level in levels},
        quantiles=q if quantiles else None,
        probabilities=measures.DECILES if quantiles else None,
    )


def column(table, name, **where):
    keep = np.ones(len(table), dtype=bool)
    for key, value in where.items():
        keep &= table[key] == value
    return table[name][keep]


def test_naive_methods_are_always_in_the_table():
    for methods in ({}, {"tidegate": near(make())}):
        assert list(evaluate(make(), methods).table["method"]) == [*methods, "naive", "seasonal naive", "drift"]


def test_without_a_season_there_is_no_seasonal_naive():
    windows = make()
    windows = Windows(**{**vars(windows), "season": 1})
    assert list(baseline_forecasts(windows, (80,))) == ["naive", "drift"]


def test_overlapping_windows_count_for_the_steps_they_do_not_share():
    windows = make(series=3)
    assert _separate(windows, _Series.of(windows)) == len(windows.ids)
    every = Windows(**{**vars(windows), "times": np.tile(np.arange(F), (len(windows.ids), 1))})
    assert _separate(every, _Series.of(every)) == 3  # one window a series, the same steps again and again


def test_figures_are_means_over_series_of_means_over_windows():
    windows = make(series=3)
    keep = [0, 1, 2, 4]  # series 0 has two windows, the others one: its windows must not count twice
    pick = Windows(
        ids=tuple(windows.ids[i] for i in keep),
        targets=("y",) * 4,
        cutoffs=windows.cutoffs[keep],
        times=windows.times[keep],
        truth=windows.truth[keep],
        histories=[windows.histories[i] for i in keep],
        season=SEASON,
    )
    point = pick.truth + np.array([1.0, 3.0, 5.0, 7.0])[:, None]
    got = evaluate(pick, {"net": Forecasts(point=point, lo={}, hi={})})
    assert column(got.table, "MAE", method="net")[0] == pytest.approx((2.0 + 5.0 + 7.0) / 3)
    assert (got.series, got.windows) == (3, 4)
    assert "3 series" in got.averages
    assert "4 in all" in got.averages


def test_every_measure_equals_its_function():
    windows = make(hole=True)
    net = near(windows)
    got = evaluate(windows, {"net": net})
    scale = measures.mase_scale(windows.histories, SEASON)
    base = baselines.naive2(windows.histories, F, SEASON)
    truth = windows.truth
    expected = {
        "MSE": measures.mse(truth, net.point).mean(),
        "MAE": measures.mae(truth, net.point).mean(),
        "sMAPE": measures.smape(truth, net.point).mean(),
        "MASE": measures.mase(truth, net.point, scale).mean(),
        "ND": measures.nd(truth, net.point),
        "wQL": measures.weighted_quantile_loss(truth, net.quantiles),
        "MSIS-95": measures.msis(truth, net.lo[95], net.hi[95], scale, 95).mean(),
        "coverage-80": measures.coverage(truth, net.lo[80], net.hi[80]).mean(),
        "coverage-95": measures.coverage(truth, net.lo[95], net.hi[95]).mean(),
    }
    expected["OWA"] = measures.owa(
        expected["sMAPE"],
        expected["MASE"],
        measures.smape(truth, base).mean(),
        measures.mase(truth, base, scale).mean(),
    )
    assert set(got.table.names) == {"method", *expected}
    for name, value in expected.items():
        assert column(got.table, name, method="net")[0] == pytest.approx(value), name


def test_baselines_have_the_same_levels_and_quantiles():
    got = evaluate(make(), {"net": near(make())})
    for name in ("wQL", "MSIS-95", "coverage-80", "coverage-95"):
        assert np.isfinite(got.table[name]).all()


def test_columns_that_nobody_has_are_left_out():
    got = evaluate(make(), {"net": near(make(), levels=(), quantiles=False)})
    assert got.table.names == ("method", "MSE", "MAE", "sMAPE", "MASE", "OWA", "ND")
    assert "MSIS" not in str(got)


def test_one_row_a_series_and_method():
    windows = make(targets=("load", "price"))
    got = evaluate(windows, {"net": near(windows)}).per_series
    assert len(got) == 3 * 2 * 4
    assert got.names[:4] == ("id", "target", "method", "windows")
    assert set(got["windows"]) == {2}
    mine = column(got, "MAE", id="s1", target="price", method="net")
    assert mine == pytest.approx([0.1])
    one_target = evaluate(make(), {"net": near(make())}).per_series
    assert "target" not in one_target.names


def test_every_forecast_is_kept():
    windows = make()
    net, other = near(windows), near(windows, error=2.0, levels=(80,))
    got = evaluate(windows, {"net": net, "arima": other}).forecasts
    assert got.names == (
        *("id", "time", "cutoff", "truth", "forecast", "forecast-lo-80", "forecast-hi-80", "forecast-lo-95", "forecast-hi-95"),
        *("arima", "arima-lo-80", "arima-hi-80", "naive", "seasonal naive", "drift"),
    )
    assert len(got) == windows.truth.size
    mine = (got["id"] == "s1") & (got["cutoff"] == 45)
    np.testing.assert_array_equal(got["time"][mine], 46 + np.arange(F))
    np.testing.assert_array_equal(got["forecast"][mine], net.point[3])
    np.testing.assert_array_equal(got["truth"][mine], windows.truth[3])
    np.testing.assert_array_equal(got["naive"][mine], np.full(F, windows.histories[3][-1]))


def test_whole_number_ids_stay_numbers():
    windows = make()
    windows = Windows(**{**vars(windows), "ids": tuple(int(i[1:]) for i in windows.ids)})
    assert evaluate(windows, {}).forecasts["id"].dtype == np.int64


def test_the_network_that_loses_is_told_so():
    windows = make()
    said = " ".join(evaluate(windows, {"tidegate": near(windows, error=50.0)}).verdict)
    assert "The network loses to seasonal naive on" in said
    assert "use the naive forecast" in said
    assert "beats the network on 100 % of the series (3 of 3" in said


def test_missing_forecasts_are_left_out_and_said():
    windows = make(hole=False)
    net = near(windows)
    net.point[1, 0] = np.nan
    got = evaluate(windows, {"tidegate": net})
    assert "tidegate has no complete forecast for 1 of 6 windows: these are left out of its figures." in got.verdict
    assert column(got.table, "MAE", method="tidegate")[0] == pytest.approx(0.1)


def test_constant_series_and_unknown_truths_are_no_crash(recwarn):
    windows = Windows(
        ids=("a", "b"), targets=("y", "y"), cutoffs=np.array([9, 9]), times=np.tile(np.arange(10, 12), (2, 1)),
        truth=np.array([[1.0, 1.0], [np.nan, np.nan]]), histories=[np.ones(10), np.full(10, np.nan)], season=2,
    )  # fmt: skip
    got = evaluate(windows, {"tidegate": Forecasts(point=np.ones((2, 2)), lo={}, hi={})})
    assert "MASE" not in got.table.names
    assert json.dumps(got.to_json(), allow_nan=False)
    nothing = evaluate(Windows(**{**vars(windows), "truth": np.full((2, 2), np.nan)}), {})
    assert nothing.verdict[0].startswith("Nothing could be measured")
    assert str(nothing)
    assert not recwarn.list


def test_other_probabilities_are_brought_to_deciles():
    windows = make()
    net = near(windows)
    few = Forecasts(point=net.point, lo={}, hi={}, quantiles=net.quantiles[..., ::2], probabilities=measures.DECILES[::2])
    exact, got = (column(evaluate(windows, {"n": f}).table, "wQL", method="n")[0] for f in (net, few))
    assert got == pytest.approx(exact, rel=1e-9)  # these quantiles are linear in p, as is the interpolation


def test_shown_as_text_html_and_json():
    got = evaluate(make(), {"tidegate": near(make())})
    assert "seasonal naive" in str(got)
    assert got.verdict[0] in str(got)
    assert "<table>" in got._repr_html_()
    plain = got.to_json()
    assert [row["method"] for row in plain["table"]] == ["tidegate", "naive", "seasonal naive", "drift"]
    assert plain["verdict"] == list(got.verdict)


def test_written_files(tmp_path):
    got = evaluate(make(), {"tidegate": near(make())})
    got.write(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert sorted(p.name for p in folder.iterdir()) == ["forecasts.csv", "per_series.csv", "table.json"]
    assert json.loads((folder / "table.json").read_text()) == got.to_json()
    with (folder / "forecasts.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == make().truth.size
    assert rows[2]["truth"] == ""
    np.testing.assert_array_equal([float(r["forecast"]) for r in rows], got.forecasts["forecast"])


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        evaluate(make(), {}).write(tmp_path / "file" / "folder")


def test_wrong_windows_and_forecasts_are_refused():
    windows = make()
    with pytest.raises(DataError, match="6 ids"):
        Windows(**{**vars(windows), "ids": ("a",)})
    with pytest.raises(ShapeError, match="times"):
        Windows(**{**vars(windows), "times": windows.times[:, :2]})
    with pytest.raises(ConfigError, match="season"):
        Windows(**{**vars(windows), "season": 0})
    with pytest.raises(ShapeError, match="net point"):
        evaluate(windows, {"net": Forecasts(point=windows.truth[:, :2], lo={}, hi={})})
    with pytest.raises(ConfigError, match="'naive' is the name"):
        evaluate(windows, {"naive": near(windows)})
    with pytest.raises(ConfigError, match="same levels"):
        evaluate(windows, {"net": Forecasts(point=windows.truth, lo={80: windows.truth}, hi={})})
    with pytest.raises(ConfigError, match="levels"):
        evaluate(
            windows,
            {
                "net": Forecasts(
                    point=windows.truth, lo={0.8: windows.truth, 120: windows.truth}, hi={0.8: windows.truth, 120: windows.truth}
                )
            },
        )


def test_three_thousand_windows_are_soon_scored():
    y = np.random.default_rng(0).gamma(2.0, 1.0, (3_000, 348))
    windows = Windows(
        ids=tuple(map(str, range(3_000))),
        targets=("y",) * 3_000,
        cutoffs=np.full(3_000, 299),
        times=np.tile(np.arange(300, 348), (3_000, 1)),
        truth=y[:, 300:],
        histories=[row[:300] for row in y],
        season=24,
    )
    net = near(windows)
    start = time.perf_counter()
    evaluate(windows, {"tidegate": net})
    assert time.perf_counter() - start < 6.0  # 0.9 s alone on one core; the machine of the tests may be busy
