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


def dated(scaling="running", rows=40):
    """A daily model whose file wrote days first."""
    days = np.datetime64("2024-01-01") + np.arange(rows)
    when = np.array([f"{d.day:02d}/{d.month:02d}/{d.year}" for d in days.astype(object)], object)
    options = {**SMALL, "steps": 2}
    model = tg.Forecaster(horizon=3, season=7, lookback=14, scaling=scaling, **options)
    return model.fit({"when": when, "y": np.sin(np.arange(rows) / 2)}, target="y", time="when")


@pytest.mark.parametrize("scaling", ["running", "window"])
def test_the_time_of_a_sample_is_compared_with_the_clock(scaling):
    model = dated(scaling)
    stream, plain = model.stream(), model.stream()
    assert stream.time_columns == ("when",)
    for day, value in (("10/02/2024", 1.0), ("11/02/2024", 2.0), ("2024-02-12", 3.0), (np.datetime64("2024-02-13"), 4.0)):
        answer, wanted = stream.push_at({"when": day}, value), plain.push(value)
        np.testing.assert_array_equal(answer.forecast, wanted.forecast)
    before = stream.snapshot()
    for day, said in (
        ("16/02/2024", "expected the time 14/02/2024, the next step, got 16/02/2024, 2 days on"),
        ("13/02/2024", "got 13/02/2024, which has passed"),
        ("14/02/2024 10:00", "expected a time on the grid of 1 day, got '14/02/2024 10:00'"),
        ("14/02/2024 00:00+01:00", "expected zone none as in training"),
        ("", "the time is missing"), ("soon", "expected a time such as"), ("31/02/2024", "31/02/2024"),
        (7, "expected time stamps as in training, got whole numbers"), (10**5000, "expected a time in when"),
        ("0" * 5000, "expected a time in when"), (None, "the time is missing"), (object(), "expected a time"),
    ):  # fmt: skip
        with pytest.raises(tg.DataError, match=said):
            stream.push_at({"when": day}, 5.0)
        assert stream.snapshot() == before, day
    for time, sample in (({}, 5.0), ({"when": "14/02/2024"}, "x"), ({"when": "14/02/2024"}, np.nan)):
        with pytest.raises(tg.DataError):
            stream.push_at(time, sample)
        assert stream.snapshot() == before


@pytest.mark.parametrize("scaling", ["running", "window"])
def test_a_gap_follows_the_policy(scaling):
    model = dated(scaling)
    held, plain = model.stream(on_bad="hold"), model.stream(on_bad="hold")
    answer = held.push_at({"when": "13/02/2024"}, 5.0)
    for value in (np.nan, np.nan, np.nan, 5.0):
        wanted = plain.push(value)
    np.testing.assert_array_equal(answer.forecast, wanted.forecast)
    np.testing.assert_array_equal(answer.times, wanted.times)
    assert held.snapshot() == plain.snapshot()
    with pytest.raises(tg.DataError, match="'hold' fills at most 1000"):
        held.push_at({"when": "13/02/2034"}, 5.0)
    with pytest.raises(tg.DataError, match="which has passed"):
        held.push_at({"when": "13/02/2024"}, 5.0)
    assert held.snapshot() == plain.snapshot()
    reset = model.stream(on_bad="reset")
    answer = reset.push_at({"when": "13/02/2034"}, 5.0)
    assert reset.steps == 1
    assert answer.times[0] == np.datetime64("2034-02-14")
    with pytest.raises(tg.DataError, match="expected times from the year 1678 to 2261"):
        reset.push_at({"when": "30/12/2261"}, 5.0)
    assert reset.steps == 1
    assert reset.push_at({"when": "14/02/2034"}, 5.0).times[0] == np.datetime64("2034-02-15")


def test_the_first_sample_of_a_new_series_sets_its_clock():
    table = {"shop": np.repeat(["a", "b"], 30), "hour": np.tile(np.arange(30), 2), "y": np.random.default_rng(0).normal(size=60)}
    model = tg.Forecaster(horizon=3, season=6, lookback=12, **{**SMALL, "steps": 2}).fit(
        table, target="y", time="hour", id="shop"
    )
    for first in (3, 500):
        stream = model.stream()
        assert stream.push_at({"hour": first}, 1.0).times.tolist() == [first + 1, first + 2, first + 3]
        with pytest.raises(tg.DataError, match=f"expected the time {first + 1}, the next step, got {first + 2}, 1 step on"):
            stream.push_at({"hour": str(first + 2)}, 1.0)
    followed = model.stream("b")
    with pytest.raises(tg.DataError, match="expected the time 30, the next step, got 3, which has passed"):
        followed.push_at({"hour": 3}, 1.0)
    with pytest.raises(tg.DataError, match="expected whole numbers as in training, got time stamps"):
        followed.push_at({"hour": "2024-01-01"}, 1.0)
    assert followed.push_at({"hour": 30}, 1.0).times[0] == 31


def test_a_time_of_several_columns():
    hours = np.arange(48)
    table = {"day": np.array([f"2024-01-{1 + h // 24:02d}" for h in hours], object), "hour": hours % 24, "y": np.sin(hours / 3)}
    model = tg.Forecaster(horizon=3, season=6, lookback=12, **{**SMALL, "steps": 2}).fit(table, target="y", time=["day", "hour"])
    stream = model.stream()
    assert stream.push_at({"day": "2024-01-03", "hour": 0}, 1.0).times[0] == np.datetime64("2024-01-03T01")
    with pytest.raises(tg.DataError, match="got no hour"):
        stream.push_at({"day": "2024-01-03"}, 1.0)
    with pytest.raises(tg.DataError, match="from 0 to 23"):
        stream.push_at({"day": "2024-01-03", "hour": 24}, 1.0)
    with pytest.raises(tg.DataError, match="which has passed"):
        stream.push_at({"day": "2024-01-03", "hour": "0"}, 1.0)
    stream.push_at({"day": "2024-01-03", "hour": "1"}, 1.0)


def test_a_model_that_counted_rows_takes_no_times():
    model = tg.Forecaster(horizon=3, season=6, lookback=12, **{**SMALL, "steps": 2}).fit(
        {"y": np.sin(np.arange(40.0))}, target="y"
    )
    stream = model.stream()
    before = stream.snapshot()
    for time in ({}, {"when": "2024-01-01"}):
        with pytest.raises(tg.DataError, match="rows were counted in training"):
            stream.push_at(time, 1.0)
    assert stream.snapshot() == before


@pytest.mark.parametrize("scaling", ["running", "window"])
def test_a_clock_runs_on_where_a_bad_sample_resets_and_begins_anew_where_the_caller_does(scaling):
    stream = dated(scaling).stream(on_bad="reset")
    stream.push(1.0)
    stream.push(np.nan)  # forgets the history; its time has passed
    with pytest.raises(tg.DataError, match="which has passed"):
        stream.push_at({"when": "01/01/2024"}, 1.0)
    state = stream.snapshot()
    again = dated(scaling).stream(on_bad="reset", state=state)
    with pytest.raises(tg.DataError, match="which has passed"):
        again.push_at({"when": "01/01/2024"}, 1.0)
    stream.reset()
    answer = stream.push_at({"when": "01/01/2020"}, 1.0)
    assert answer.times[0] == np.datetime64("2020-01-02")
    with pytest.raises(tg.DataError, match="which has passed"):
        stream.push_at({"when": "01/01/2020"}, 1.0)
    with pytest.raises(tg.DataError, match="time: expected what when hold, by name"):
        stream.push_at(None, 1.0)


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("bad", [1.0, np.nan])
def test_none_is_stepped_where_the_clock_of_one_has_ended(count, bad):
    model = dated()
    streams = [model.stream(on_bad="hold") for _ in range(count + 1)]
    end = streams[-1]
    end._position = end._times._first + 86_000  # the year 2259; its last steps are the clock's

    def to_the_end():
        for _ in range(2000):
            end.push(1.0)

    with pytest.raises(tg.DataError, match="2261"):
        to_the_end()
    before = [stream.snapshot() for stream in streams]
    with pytest.raises(tg.DataError, match="2261"):
        model.step_many(streams, [1.0] * count + [bad])
    assert [stream.snapshot() for stream in streams] == before
