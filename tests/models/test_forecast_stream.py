from __future__ import annotations

import numpy as np
import pytest

import tidegate as tg
from tests.models.conftest import SMALL, series

TOL = {"rtol": 2e-5, "atol": 2e-5}  # float32 nets, other batch shapes


@pytest.fixture(scope="module", params=["window", "running"])
def model(request):
    return tg.Forecaster(horizon=5, season=6, scaling=request.param, **SMALL).fit(series(lengths=(90, 70)))


def test_pushing_equals_predicting(model):
    """Step by step = all at once, also across the segment's phases and past the ring's length."""
    new = np.random.default_rng(1).normal(10, 2, 120)
    stream = model.stream("1")
    for count, value in enumerate(new, 1):
        answer = stream.push(value)
        if count % 17 == 0 or count < 8:
            grown = model.predict([series(lengths=(90, 70))[1].tolist() + new[:count].tolist()])
            np.testing.assert_allclose(answer.forecast[0], grown["forecast"], **TOL)
            np.testing.assert_allclose(answer.lo[80.0][0], grown["forecast-lo-80"], **TOL)


def test_a_stream_from_nothing(model):
    stream = model.stream()
    new = np.random.default_rng(2).normal(10, 2, 40)
    for count, value in enumerate(new, 1):
        answer = stream.push(value)
        if count in (1, 2, 5, 6, 7, 13, 40):
            np.testing.assert_allclose(answer.forecast[0], model.predict([new[:count]])["forecast"], **TOL)


def test_copy_is_independent(model):
    stream = model.stream("0")
    twin = stream.copy()
    first = stream.push(12.0).forecast
    for _ in range(30):
        stream.push(50.0)
    np.testing.assert_array_equal(twin.push(12.0).forecast, first)


def test_reset_forgets(model):
    stream = model.stream("0")
    stream.reset()
    with pytest.raises(tg.TaskError, match="no sample"):
        stream.forecast()
    fresh = model.stream()
    for value in (3.0, 4.0, 5.0):
        a, b = stream.push(value), fresh.push(value)
    np.testing.assert_allclose(a.forecast, b.forecast, **TOL)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_values_follow_the_policy(model, bad):
    stream = model.stream("0")
    before = stream.forecast().forecast
    with pytest.raises(tg.DataError, match="state is untouched"):
        stream.push(bad)
    np.testing.assert_array_equal(stream.forecast().forecast, before)
    held = model.stream("0", on_bad="hold")
    held.push(bad)
    expected = model.predict([[*series(lengths=(90, 70))[0], np.nan]])["forecast"]
    np.testing.assert_allclose(held.forecast().forecast[0], expected, **TOL)


def test_wrong_rows_are_refused(model):
    stream = model.stream("0")
    for row, message in (([1.0, 2.0], "expected 1 numbers"), ("x", "expected 1 numbers"), ({"z": 1.0}, "targets y")):
        with pytest.raises(tg.DataError, match=message):
            stream.push(row)
    with pytest.raises(tg.ConfigError, match="no series"):
        model.stream("nine")


def test_cost_is_said(model):
    assert model.stream("0").cost.startswith("O(1)" if model.options.scaling == "running" else "O(look-back)")


def test_models_that_cannot_stream_say_why():
    ys = series(lengths=(90,))
    recursive = tg.Forecaster(horizon=3, decode="recursive", lookback=12, paths=5, **SMALL).fit(ys)
    with pytest.raises(tg.TaskError, match="recursive"):
        recursive.stream()


CLOCKS = {
    "hours": lambda n: np.datetime64("2261-12-31T00") - np.arange(n)[::-1] * np.timedelta64(1, "h"),
    "days": lambda n: np.datetime64("2261-12-10") - np.arange(n)[::-1],
    "months": lambda n: (np.datetime64("2260-06") - np.arange(n)[::-1]).astype("datetime64[D]"),
    "business days": lambda n: np.busday_offset("2261-12-01", np.arange(1 - n, 1), roll="backward"),
}


@pytest.mark.parametrize("policy", ["reject", "hold", "reset"])
@pytest.mark.parametrize("clock", CLOCKS)
def test_a_stream_ends_where_no_clock_goes(clock, policy):
    """Times of 64 bits in nanoseconds end in 2262; beyond they would begin again in 1677."""
    when = CLOCKS[clock](40).astype("datetime64[s]")
    table = {"when": when, "y": np.sin(np.arange(40.0))}
    model = tg.Forecaster(horizon=3, season=6, lookback=12, **{**SMALL, "steps": 2}).fit(table, target="y", time="when")
    stream, last, befores = model.stream(on_bad=policy), when[-1], []

    def follow():
        for _ in range(100):
            befores.append(stream.snapshot())
            times = stream.push(1.0).times
            assert times[0] > last
            assert (np.diff(times) > np.timedelta64(0)).all()

    with pytest.raises(tg.DataError, match="expected times from the year 1678 to 2261"):
        follow()
    assert len(befores) > 5
    assert stream.snapshot() == befores[-1]
    with pytest.raises(tg.DataError):
        stream.push(np.nan)
    assert stream.snapshot() == befores[-1]
    assert model.stream(state=befores[-1]).steps == len(befores) - 1
