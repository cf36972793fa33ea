"""What a reviewer broke, so that it stays mended."""

from __future__ import annotations

import numpy as np
import pytest

import tidegate as tg
from tests.models.conftest import SMALL, long_table, series


def test_a_gap_as_long_as_the_lookback_keeps_the_level(fitted):
    y = 1000 + series()[0]
    gap = y.copy()
    gap[-fitted.plan["lookback"] - 5 :] = np.nan
    answer = fitted.predict([gap])
    assert 900 < answer["forecast"].min() < answer["forecast"].max() < 1100


def test_a_long_silence_before_the_first_value():
    model = tg.Forecaster(horizon=3, season=12, **SMALL).fit([*series(), np.r_[np.full(80, np.nan), 5.0, 6.0]])
    answer = model.predict([np.r_[np.full(80, np.nan), 5.0, 6.0], series()[0]])
    assert 0 < answer["forecast"][0] < 12


def test_a_gap_survives_the_file(tmp_path):
    ys = series()
    ys[0] = 500 + ys[0]
    ys[0][-150:] = np.nan
    model = tg.Forecaster(horizon=3, season=12, lookback=24, **SMALL).fit(ys)
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(tg.load(tmp_path / "m.safetensors").predict()["forecast"], model.predict()["forecast"])
    assert model.predict()["forecast"][0] > 400


def test_a_warm_start_claims_no_honest_figures(fitted):
    model = tg.Forecaster(horizon=6, season=12, **SMALL).fit(series())
    factors = model._fitted.core.corrections.values.copy()
    model.update(series(), steps=20)
    assert model.card["held_back"] is None
    np.testing.assert_array_equal(model._fitted.core.corrections.values, factors)
    assert "warm start" in model.card["notes"][-1]


def test_repeated_updates_do_not_shrink():
    model = tg.Forecaster(horizon=3, season=12, **{**SMALL, "steps": 32}).fit(series())
    assert [model.update(series()).card["steps"] for _ in range(3)] == [8, 8, 8]


def test_a_stream_from_nothing_has_no_learnt_vector():
    model = tg.Forecaster(horizon=3, season=12, identity=True, **SMALL).fit(series())
    stream = model.stream()
    new = series(seed=5)[0][:40]
    for value in new:
        answer = stream.push(value)
    table = {"id": np.full(40, "a stranger", object), "time": np.arange(40), "y": new}
    np.testing.assert_allclose(answer.forecast[0], model.predict(table)["forecast"], rtol=2e-5, atol=2e-5)


def test_covariates_past_the_horizon_are_not_read():
    """The last segment is longer than the horizon: evaluate and predict must see the same covariates."""
    table = long_table(lengths=(150,), f=lambda c: np.random.default_rng(1).normal(size=len(c["sales"])))
    model = tg.Forecaster(horizon=5, season=12, **SMALL).fit(table, target="sales", time="when", id="shop", future="f")
    cut = {name: column[:-20] for name, column in table.items()}
    known = {name: column[-20:-15] for name, column in table.items() if name != "sales"}
    answer = model.predict(cut, future=known)
    whole = {name: column[:-15] for name, column in table.items()}
    found = model.evaluate(whole)
    np.testing.assert_allclose(found.forecasts["forecast"], answer["forecast"], rtol=1e-6)


def test_the_times_of_the_truth_are_not_read():
    rng = np.random.default_rng(0)
    when = np.cumsum(rng.integers(1, 4, 160))
    y = np.sin(when / 5) + 5
    model = tg.Forecaster(horizon=4, uneven=True, **SMALL).fit({"t": when, "y": y}, target="y", time="t")
    later = when.copy()
    later[-4:] += np.array([30, 60, 90, 200])
    a, b = (model.evaluate({"t": t, "y": y}).forecasts["forecast"] for t in (when, later))
    np.testing.assert_array_equal(a, b)


def test_an_uneven_model_survives_the_file_exactly(tmp_path):
    when = np.cumsum(np.random.default_rng(0).integers(1, 4, 160))
    table = {"t": when, "y": np.sin(when / 5) + 5}
    model = tg.Forecaster(horizon=3, uneven=True, lookback=24, lags=(1,), **SMALL).fit(table, target="y", time="t")
    model.save(tmp_path / "m.safetensors")
    again = tg.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict()["forecast"], model.predict()["forecast"])
    assert "trained on" in again.evaluate(table).verdict[0]


def test_the_callers_array_may_change_after_fit():
    y = series()[0].copy()
    model = tg.Forecaster(horizon=3, season=12, **SMALL).fit({"y": y}, target="y")
    before = model.predict()["forecast"].copy()
    y[:] = 0.0
    np.testing.assert_array_equal(model.predict()["forecast"], before)


@pytest.mark.parametrize("name", ["tidegate", "naive"])
def test_against_may_not_take_a_name_that_is_taken(fitted, name):
    with pytest.raises(tg.ConfigError, match="give another name"):
        fitted.evaluate(series(), against={name: {}})


def test_a_backtest_does_not_know_later_covariates():
    table = long_table(lengths=(150,), p=lambda c: np.random.default_rng(1).normal(size=len(c["sales"])))
    wild = {name: column.copy() for name, column in table.items()}
    wild["p"][-8:] = 1e6
    roles = {"target": "sales", "time": "when", "id": "shop", "past": "p"}
    found = [tg.Forecaster(horizon=4, season=12, **SMALL).backtest(t, windows=2, **roles) for t in (table, wild)]
    a, b = (f.forecasts["forecast"][:4] for f in found)
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_recursive_forecast_does_not_depend_on_the_rows_beside_it():
    model = tg.Forecaster(horizon=4, season=12, decode="recursive", lookback=24, paths=30, **SMALL).fit(series())
    together = model.predict(series())["forecast"].reshape(3, 4)
    for y, expected in zip(series(), together, strict=True):
        np.testing.assert_allclose(model.predict([y])["forecast"], expected, rtol=1e-3)


def test_pictures_need_the_known_covariates_too(tmp_path):
    table = long_table(lengths=(120,), f=lambda c: np.sin(np.arange(len(c["sales"]))))
    model = tg.Forecaster(horizon=3, season=12, **SMALL).fit(table, target="sales", time="when", id="shop", future="f")
    with pytest.raises(tg.DataError, match="'f'"):
        model.plot(tmp_path / "x.png")


def test_reset_policy_answers_nothing_and_keeps_the_clock(fitted):
    stream = fitted.stream("0", on_bad="reset")
    answer = stream.push(np.nan)
    assert np.isnan(answer.forecast).all()
    assert answer.times[0] == 161
    assert stream.push(9.0).times[0] == 162


def test_ctrl_c_ends_a_backtest(monkeypatch):
    from tidegate.models import forecast_fit

    real, calls = forecast_fit.fit, []

    def interrupted(*args):
        calls.append(1)
        result = real(*args)
        return result._replace(card={**result.card, "interrupted": True})

    monkeypatch.setattr(forecast_fit, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tg.Forecaster(horizon=3, season=12, **SMALL).backtest(series(), windows=3, refit=True)
    assert len(calls) == 1


def test_a_loaded_model_may_be_fitted_with_a_budget(fitted, tmp_path):
    fitted.save(tmp_path / "m.safetensors")
    again = tg.load(tmp_path / "m.safetensors")
    assert again.fit(series(lengths=(60,)), budget="1s").card["steps"] >= 20


def test_resume_needs_a_checkpoint():
    with pytest.raises(tg.ConfigError, match="resume"):
        tg.Forecaster(horizon=3).fit(series(), resume=True)


def test_update_checks_counts():
    counts = [np.random.default_rng(0).poisson(3, 80).astype(float)]
    model = tg.Forecaster(horizon=3, output="negative_binomial", **SMALL).fit(counts)
    with pytest.raises(tg.DataError, match="counts"):
        model.update([counts[0] - 3.5], steps=2)


@pytest.mark.parametrize(("levels", "message"), [((0.8,), "did you mean 80"), (80, r"several percentages.*\(80,\)")])
def test_levels_are_percentages(fitted, levels, message):
    with pytest.raises(tg.ConfigError, match=message):
        fitted.predict(levels=levels)


def test_a_level_beyond_the_trained_quantiles_is_said(fitted, caplog):
    fitted.predict(levels=(80, 99))
    assert "extrapolated" in caplog.text


def test_the_page_takes_what_the_picture_takes(fitted, tmp_path):
    fitted.page(tmp_path / "a.html", ids=["1"])
    fitted.page(tmp_path / "b.html")
    assert (tmp_path / "a.html").stat().st_size < (tmp_path / "b.html").stat().st_size
    with pytest.raises(tg.ConfigError, match="no series 'x'"):
        fitted.page(tmp_path / "a.html", ids=["x"])
    newer = [np.concatenate([y, y[-12:-6]]) for y in series()]
    fitted.page(tmp_path / "c.html", truth=newer)
    assert (tmp_path / "c.html").read_text() != (tmp_path / "b.html").read_text()


def test_an_evaluations_own_table_may_stand_against(fitted):
    table = long_table()
    model = tg.Forecaster(horizon=4, season=12, **SMALL).fit(table, target="sales", time="when", id="shop")
    found = model.evaluate(table)
    again = model.evaluate(table, against={"before": found.forecasts})
    rows = dict(zip(again.table["method"], again.table["MAE"], strict=True))
    assert rows["before"] == pytest.approx(rows["tidegate"])


def test_validation_that_cannot_be_held_back_is_refused():
    with pytest.raises(tg.ConfigError, match="at least the horizon, 6 rows, got 2"):
        tg.Forecaster(horizon=6, validation=2)
    with pytest.raises(tg.ConfigError, match="500 rows cannot be held back, the longest series"):
        tg.Forecaster(horizon=6, validation=500, **SMALL).fit(series())
