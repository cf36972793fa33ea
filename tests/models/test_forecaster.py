from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import tidegate as tg
from tests.models.conftest import SMALL, long_table, series
from tidegate.models.forecast_figures import figures_text
from tidegate.tasks.forecast import ForecastOptions

COLUMNS = {"target": "sales", "time": "when", "id": "shop"}


def test_answers_have_one_row_a_series_and_step(fitted):
    answer = fitted.predict(levels=(50, 90))
    assert answer.names == ("id", "time", "forecast", "forecast-lo-50", "forecast-hi-50", "forecast-lo-90", "forecast-hi-90")
    assert len(answer) == 3 * 6
    assert answer["time"][:6].tolist() == [160, 161, 162, 163, 164, 165]
    assert (answer["forecast-lo-90"] <= answer["forecast-lo-50"]).all()
    assert (answer["forecast-hi-50"] <= answer["forecast-hi-90"]).all()
    assert ((answer["forecast-lo-50"] <= answer["forecast"]) & (answer["forecast"] <= answer["forecast-hi-50"])).all()


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_the_answer_is_the_callers_kind_of_table(kind):
    make = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}[kind]
    wanted = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.Table}[kind]
    model = tg.Forecaster(horizon=3, season=12, **SMALL).fit(make(long_table()), **COLUMNS)
    answer = model.predict()
    assert isinstance(answer, wanted)
    assert isinstance(model.predict(make(long_table())), wanted)
    names = list(answer.columns) if kind == "pandas" else answer.column_names if kind == "pyarrow" else answer.columns
    assert names[:3] == ["shop", "when", "forecast"]


def test_new_series_need_no_dummy_rows(fitted):
    new = [np.arange(40.0), np.arange(15.0) + 100]
    answer = fitted.predict(new)
    assert len(answer) == 12
    assert np.isfinite(answer["forecast"]).all()
    assert answer["forecast"][6:].min() > 50  # scaling follows the new series, not the training data


def test_a_series_alone_is_forecast_as_in_the_batch(fitted):
    ys = series()
    together = fitted.predict(ys)["forecast"].reshape(3, 6)
    for y, expected in zip(ys, together, strict=True):
        np.testing.assert_allclose(fitted.predict([y])["forecast"], expected, rtol=2e-5, atol=2e-5)


def test_values_are_shift_and_scale_equivariant(fitted):
    """Scaling is inside the model: another unit gives the same forecast in that unit."""
    y = series()[0]
    plain, other = fitted.predict([y]), fitted.predict([1e6 * y])
    np.testing.assert_allclose(other["forecast"], 1e6 * plain["forecast"], rtol=1e-4)


@pytest.mark.parametrize("size", [1e38, 1e-38, 1e300])
def test_extreme_magnitudes(size):
    ys = [y * size for y in series()]
    model = tg.Forecaster(horizon=3, season=12, **SMALL).fit(ys)
    answer = model.predict()
    assert np.isfinite(answer["forecast"]).all()
    assert 1 < np.median(answer["forecast"]) / size < 30


def test_missing_values_are_masked_not_imputed(fitted):
    """A value that is masked cannot matter: NaN and NaN over another value give the same bytes."""
    y = series()[0]
    hole = y.copy()
    hole[100:110] = np.nan
    other = y.copy() + 0
    other[100:110] = np.nan
    assert fitted.predict([hole])["forecast"].tobytes() == fitted.predict([other])["forecast"].tobytes()
    assert not np.allclose(fitted.predict([hole])["forecast"], fitted.predict([y])["forecast"])


def test_a_constant_series_is_forecast_as_itself():
    model = tg.Forecaster(horizon=4, **SMALL).fit([*series(), np.full(80, 7.0)])
    answer = model.predict([np.full(50, 7.0)])
    np.testing.assert_allclose(answer["forecast"], 7.0, atol=0.05)


def test_save_and_load_are_exact(fitted, tmp_path):
    fitted.save(tmp_path / "m.safetensors")
    again = tg.load(tmp_path / "m.safetensors")
    assert isinstance(again, tg.Forecaster)
    assert again.options == fitted.options
    assert again.to_bytes() == fitted.to_bytes()
    assert figures_text(again.card) == figures_text(fitted.card)
    assert again.get_params() == fitted.get_params()
    for column in fitted.predict().names:
        np.testing.assert_array_equal(again.predict()[column], fitted.predict()[column])


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "gru", "num_layers": 2},
        {"cell": "rnn"},
        {"scaling": "running"},
        {"scaling": "running", "truncate": 2},
        {"decode": "recursive", "lookback": 24, "paths": 20},
        {"output": "gaussian"},
        {"output": "student_t"},
        {"output": "negative_binomial"},
        {"output": "point"},
        {"ensemble": 2},
        {"identity": True},
        {"segment": 4, "lookback": 30},
        {"lags": (3, 12)},
        {"calibrate": False},
        {"averaging": 0.0},
        {"validation": 20},
        {"lower": 0.0},
        {"quantiles": (0.1, 0.5, 0.9)},
    ],
    ids=str,
)
def test_every_option_trains_saves_and_loads(options, tmp_path):
    ys = [np.round(np.abs(y)) for y in series(lengths=(100, 80))]
    model = tg.Forecaster(horizon=5, season=12, **{**SMALL, **options}).fit(ys)
    first = model.predict()
    assert np.isfinite(first["forecast"]).all()
    model.save(tmp_path / "m.safetensors")
    again = tg.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict()["forecast"], first["forecast"])
    if options.get("lower") is not None or options.get("output") == "negative_binomial":
        assert min(first[c].min() for c in first.names if c.startswith("forecast")) >= 0
    if options.get("output") == "negative_binomial":
        assert all(np.array_equal(first[c], np.round(first[c])) for c in first.names if c.startswith("forecast"))


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    make = lambda seed: tg.Forecaster(horizon=3, season=12, seed=seed, **SMALL).fit(series()).to_bytes()  # noqa: E731
    assert make(0) == make(0)
    assert make(0) != make(1)


def test_covariates_of_every_kind():
    table = long_table(
        rain=lambda c: np.sin(np.arange(len(c["sales"]))),
        promo=lambda c: np.array(["yes", "no", None], object)[np.arange(len(c["sales"])) % 3],
        size=lambda c: np.where(c["shop"] == "shop α", 1.0, 2.0),
        kind=lambda c: np.where(c["shop"] == "shop α", "big", "small").astype(object),
    )
    roles = {**COLUMNS, "past": "rain", "future": ("promo",), "static": ("size", "kind")}
    model = tg.Forecaster(horizon=4, season=12, **SMALL).fit(table, **roles)
    start = {"shop α": 160, "shop β": 120}
    future = {
        "shop": np.repeat(np.array(list(start), object), 4),
        "when": np.concatenate(
            [np.datetime64("2024-01-01T00", "ns") + np.arange(n, n + 4) * np.timedelta64(1, "h") for n in start.values()]
        ),
        "promo": np.array(["yes", "no"] * 4, object),
    }
    answer = model.predict(future=future)
    assert len(answer) == 8
    other = model.predict(future={**future, "promo": np.array(["no", "yes"] * 4, object)})
    assert not np.array_equal(answer["forecast"], other["forecast"])
    short = {name: column[:-1] for name, column in future.items()}
    with pytest.raises(tg.DataError, match=r"(?s)promo.*shop β|shop β.*promo"):
        model.predict(future=short)
    with pytest.raises(tg.DataError, match="promo"):
        model.predict()
    unknown = {**future, "promo": np.array(["maybe"] * 8, object)}
    assert np.isfinite(model.predict(future=unknown)["forecast"]).all()


def test_several_targets_are_lines_of_their_own():
    table = long_table(profit=lambda c: 100 - 2 * c["sales"])
    model = tg.Forecaster(horizon=3, season=12, **SMALL).fit(table, target=("sales", "profit"), time="when", id="shop")
    answer = model.predict()
    assert answer.names[:3] == ("shop", "when", "target")
    assert len(answer) == 2 * 2 * 3
    assert set(answer["target"]) == {"sales", "profit"}
    profit = answer["forecast"][answer["target"] == "profit"]
    assert profit.mean() > 60


def test_uneven_time_stamps():
    rng = np.random.default_rng(0)
    when = np.cumsum(rng.integers(1, 5, 200))
    table = {"t": when, "y": np.sin(when / 5) + 5}
    model = tg.Forecaster(horizon=4, uneven=True, **SMALL).fit(table, target="y", time="t")
    answer = model.predict()
    assert np.isfinite(answer["forecast"]).all()
    assert (np.diff(answer["t"]) > 0).all()
    assert answer["t"][0] > when[-1]
    stretched = {"t": when * 3, "y": table["y"]}
    assert not np.allclose(model.predict(stretched)["forecast"], answer["forecast"])  # the gap is an input


def test_update_trains_on_from_the_weights(fitted):
    model = tg.Forecaster(horizon=6, season=12, **SMALL).fit(series())
    before = model.to_bytes()
    model.update([np.concatenate([y, y[-12:]]) for y in series()], steps=5)
    assert model.to_bytes() != before
    assert model.predict()["time"][0] == 172


def test_evaluate_says_when_the_rows_were_trained_on(fitted):
    found = fitted.evaluate(series())
    assert "trained on" in found.verdict[0]
    newer = [np.concatenate([y, y[-12:-6]]) for y in series()]
    assert "trained on" not in fitted.evaluate(newer).verdict[0]


def test_evaluate_scores_the_last_horizon_beside_the_naive_methods(fitted):
    newer = [np.concatenate([y, y[-12:-6]]) for y in series()]
    found = fitted.evaluate(newer)
    assert list(found.table["method"]) == ["tidegate", "naive", "seasonal naive", "drift"]
    perfect = found.table["MASE"][2]
    assert perfect == pytest.approx(0.0, abs=1e-12)  # the last rows repeat the season exactly
    ours = found.forecasts["truth"]
    np.testing.assert_allclose(ours[:6], newer[0][-6:])


def test_against_takes_another_tools_forecasts(fitted):
    newer = [np.concatenate([y, y[-12:-6]]) for y in series()]
    other = {
        "id": np.repeat(np.array(["0", "1", "2"], object), 6),
        "time": np.concatenate([np.arange(len(y) - 6, len(y)) for y in newer]),
        "forecast": np.concatenate([y[-6:] for y in newer]),
    }
    found = fitted.evaluate(newer, against={"oracle": other})
    row = list(found.table["method"]).index("oracle")
    assert found.table["MSE"][row] == 0.0
    with pytest.raises(tg.DataError, match=r"no forecast of step 6 for series '2'"):
        fitted.evaluate(newer, against={"oracle": {k: v[:-1] for k, v in other.items()}})


@pytest.mark.parametrize("refit", [False, "warm", True])
def test_backtest_never_sees_what_it_forecasts(refit):
    """Rows after the first cutoff are turned into nonsense; forecasts of the first window must not move."""
    y = series(lengths=(140,))[0]
    wild = y.copy()
    wild[-12:] = 1e6
    model = lambda: tg.Forecaster(horizon=6, season=12, **SMALL)  # noqa: E731
    clean, dirty = (model().backtest([v], windows=2, refit=refit) for v in (y, wild))
    assert clean.windows == 2
    np.testing.assert_array_equal(clean.forecasts["forecast"][:6], dirty.forecasts["forecast"][:6])


def test_backtest_leaves_the_model_as_it_was(fitted):
    before = fitted.to_bytes()
    fitted.backtest(series(), windows=2)
    assert fitted.to_bytes() == before


def test_options_are_one_dataclass():
    names = [p for p in inspect.signature(tg.Forecaster.__init__).parameters if p != "self"]
    assert sorted(names) == sorted(f.name for f in dataclasses.fields(ForecastOptions))


def test_unknown_options_are_refused_with_the_nearest_name():
    with pytest.raises(tg.ConfigError, match=r"(?s)hidden_siz.*hidden_size"):
        tg.Forecaster(horizon=3, hidden_siz=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 0}, "horizon: expected a whole number of at least 1, got 0"),
        ({"horizon": -3}, "got -3"),
        ({"horizon": 2.5}, "horizon: expected a whole number, got 2.5"),
        ({"horizon": True}, "horizon: expected a whole number, got True"),
        ({"horizon": 3, "dropout": 1.5}, "dropout"),
        ({"horizon": 3, "cell": "transformer"}, "cell: expected one of 'rnn', 'lstm', 'gru'"),
        ({"horizon": 3, "quantiles": (0.1, 0.9)}, "0.5 among them"),
        ({"horizon": 3, "truncate": 2}, "truncate"),
        ({"horizon": 3, "lags": (0,)}, "lags"),
        ({"horizon": 3, "decode": "recursive", "segment": 4}, "segment"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(tg.ConfigError, match=message):
        tg.Forecaster(**options)


def test_all_faults_of_the_options_are_reported_at_once():
    with pytest.raises(tg.ConfigError) as error:
        tg.Forecaster(horizon=0, dropout=2.0, batch_size=0)
    assert all(word in str(error.value) for word in ("horizon", "dropout", "batch_size"))


def test_sklearn_clone():
    from sklearn import base

    model = tg.Forecaster(horizon=3, season=12, lags=(1, 12), seed=5)
    twin = base.clone(model)
    assert twin.get_params() == model.get_params()
    assert twin.set_params(horizon=4).options.horizon == 4


def test_use_before_fit():
    with pytest.raises(tg.TaskError, match="not fitted"):
        tg.Forecaster(horizon=3).predict()


def test_series_shorter_than_the_horizon():
    with pytest.raises(tg.DataError, match=r"longest has 10 rows, a horizon of 12 needs at least 14"):
        tg.Forecaster(horizon=12, **SMALL).fit([np.arange(10.0)])


def test_short_series_beside_long_ones_are_trained_and_forecast():
    model = tg.Forecaster(horizon=6, season=12, **SMALL).fit([*series(), np.arange(4.0)])
    assert np.isfinite(model.predict()["forecast"]).all()


def test_the_card_tells_the_naive_methods_too(fitted):
    methods = [row["method"] for row in fitted.card["held_back"]["table"]]
    assert methods == ["tidegate", "naive", "seasonal naive", "drift"]
    assert len(fitted.card["data_sha256"]) == 64


def test_plot_and_page(fitted, tmp_path):
    fitted.plot(tmp_path / "f.png")
    fitted.plot(tmp_path / "f.svg", ids=["1"])
    fitted.page(tmp_path / "f.html")
    assert (tmp_path / "f.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (tmp_path / "f.svg").read_text()
    assert "</html>" in (tmp_path / "f.html").read_text()
    with pytest.raises(tg.ConfigError, match="no series '9'"):
        fitted.plot(tmp_path / "f.png", ids=["9"])


def test_future_covariates_in_the_frames_own_tail():
    """Rows at the end whose target is empty but whose future covariates are given are the known future."""
    table = long_table(lengths=(120,), holiday=lambda c: (np.arange(len(c["sales"])) % 7 == 0).astype(float))
    table["sales"][-4:] = np.nan
    model = tg.Forecaster(horizon=4, season=12, **SMALL).fit(table, **COLUMNS, future="holiday")
    answer = model.predict()
    assert answer["when"][0] == table["when"][-4]


def test_update_on_other_series_keeps_the_learnt_vectors(tmp_path):
    model = tg.Forecaster(horizon=5, season=12, identity=True, **SMALL).fit(series(lengths=(100, 80)))
    model.update(series(lengths=(110, 90, 100)), steps=3)  # one series more than there are vectors
    first = model.predict()
    assert len(first) == 15
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(tg.load(tmp_path / "m.safetensors").predict()["forecast"], first["forecast"])


@pytest.mark.parametrize("bad", [-1.0, 2.5])
def test_a_negative_binomial_is_for_counts(bad):
    y = np.ones(60)
    y[17] = bad
    with pytest.raises(tg.DataError, match=rf"whole numbers of at least 0, got {bad:g} in column 'y' of series '1'"):
        tg.Forecaster(horizon=3, output="negative_binomial", **SMALL).fit([np.ones(60), y])


def test_the_device_is_checked_before_the_data_is_read():
    with pytest.raises(tg.DeviceError, match="nonsense"):
        tg.Forecaster(horizon=3, device="nonsense").fit("no such file.csv")


def test_a_budget_beside_steps_is_refused():
    with pytest.raises(tg.ConfigError, match="budget and steps"):
        tg.Forecaster(horizon=3, steps=10).fit(series(), budget="10s")
