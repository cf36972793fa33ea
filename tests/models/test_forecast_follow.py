"""A stream's answer is that of `predict` on the whole history, bit for bit, whatever the options and what befell it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import checks
import tidegate as tg
from tidegate import native
from tidegate.models.forecast_decode import Corrections, Decoder
from tidegate.runtime.predictor import Predictor

pytestmark = pytest.mark.skipif(not native.available(), reason="the native core is not installed")
OPTIONS = {
    "window": {},
    "running": {"scaling": "running"},
    "two layers": {"scaling": "running", "cell": "gru", "num_layers": 2},
    "two layers, window": {"num_layers": 2},
    "ensemble": {"ensemble": 2},
    "ensemble, running": {"ensemble": 2, "scaling": "running"},
    "student_t": {"output": "student_t", "scaling": "running"},
    "gaussian": {"output": "gaussian"},
    "counts": {"output": "negative_binomial", "lower": 0},
    "point": {"output": "point"},
    "single steps": {"segment": 1, "lookback": 9, "season": 1},
    "short segments": {"segment": 4, "lookback": 8, "scaling": "running"},
}
HOUR = np.timedelta64(1, "h")


def columns(y, first="2024-01-01T00", shop="a"):
    """One series of (K, T) targets."""
    when = np.datetime64(first, "ns") + np.arange(y.shape[1]) * HOUR
    return {"shop": np.full(y.shape[1], shop, object), "when": when, **{f"y{k}": own for k, own in enumerate(y)}}


def history(targets, rows=100):
    rng = np.random.default_rng(targets)
    y = np.floor(10 + 4 * np.sin(np.arange(rows) / 4) + rng.normal(size=(targets, rows)))
    y[0, 20:24] = np.nan
    return y


def fitted(options, targets):
    model = tg.Forecaster(**{"horizon": 7, "season": 6, "steps": 4, "hidden_size": 20, "batch_size": 32, **options})
    names = [f"y{k}" for k in range(targets)]
    return model.fit(columns(history(targets)), target=names, time="when", id="shop", progress=False)


def assert_predicted(model, answer, y, first):
    """The answer is that of a model that sees the whole of y, (K, T)."""
    table = model.predict(columns(y, first))
    for k in range(len(y)):
        rows = np.asarray(table["target"]) == f"y{k}" if len(y) > 1 else slice(None)
        expected = {"forecast": answer.forecast[k], **{f"forecast-lo-{level:g}": end[k] for level, end in answer.lo.items()}}
        expected |= {f"forecast-hi-{level:g}": end[k] for level, end in answer.hi.items()}
        assert sorted(expected) == sorted(name for name in table.names if name.startswith("forecast"))
        for name, values in expected.items():
            checks.assert_bits(values, np.asarray(table[name])[rows], f"target {k}: {name}")
    np.testing.assert_array_equal(answer.times, np.datetime64(first, "ns") + (y.shape[1] + np.arange(7)) * HOUR)


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("name", OPTIONS)
def test_equal_to_predict(name, targets):
    """With gaps, after a copy, a snapshot and its restoring, beyond a silence longer than the look-back, and after a reset."""
    model = fitted(OPTIONS[name], targets)
    lookback = model._ready().core.plan.lookback
    rng = np.random.default_rng(0)
    stream, y = model.stream("a", on_bad="hold"), history(targets)
    first = "2024-01-01T00"
    for t in range(2 * lookback + 80):
        row = np.floor(rng.normal(10, 3, targets))
        row[rng.random(targets) < 0.1] = np.nan
        if 30 <= t < 35 + lookback:
            row[0] = np.nan  # the whole look-back of this target is silent
        y = np.concatenate([y, row[:, None]], 1)
        stream = stream.copy() if t % 11 == 5 else stream
        if t % 13 == 7:
            stream = model.stream("a", on_bad="hold", state=stream.snapshot())
        if t == lookback + 60:
            stream.reset()
            y, first = row[:, None], str(np.datetime64(first, "h") + y.shape[1] - 1)
        answer = stream.push(row if targets > 1 else row[0])
        if t % 9 == 0 or t in (30, 33 + lookback, 34 + lookback, lookback + 60, lookback + 61):
            again = stream.copy().forecast()
            for part, other in zip(answer[:2], again[:2], strict=True):
                np.testing.assert_array_equal(part, other)
            if not np.isnan(y).all(1).any():
                assert_predicted(model, answer, y, first)


@pytest.mark.parametrize("scaling", ["window", "running"])
def test_nets_of_float64_have_the_bits_of_predict_too(scaling):
    """Their inputs are rounded to float32 all the same."""
    model = fitted({"scaling": scaling}, 2)
    core = model._ready().core
    wide = [{name: weight.astype(np.float64) for name, weight in net.weights.items()} for net in core.nets]
    nets = tuple(Predictor(net.spec, own) for net, own in zip(core.nets, wide, strict=True))
    model._fitted = replace(model._ready(), core=replace(core, nets=nets))
    stream, y = model.stream("a"), history(2)
    for row in np.random.default_rng(0).normal(10, 3, (30, 2)):
        y = np.concatenate([y, row[:, None]], 1)
        answer = stream.push(row)
    assert_predicted(model, answer, y, "2024-01-01T00")
    many = [model.stream("a", state=stream.snapshot()) for _ in range(8)]
    for twin in model.step_many(many, [[1.0, 2.0]] * 8):
        np.testing.assert_array_equal(twin.forecast, model.stream("a", state=stream.snapshot()).push([1.0, 2.0]).forecast)


@pytest.mark.parametrize("scaling", ["window", "running"])
def test_without_the_core_it_agrees(scaling):
    model = fitted({"scaling": scaling}, 2)
    core = model._ready().core
    here = model.stream("a")
    nets = tuple(Predictor(net.spec, net.weights, native=False) for net in core.nets)
    model._fitted = replace(model._ready(), core=replace(core, nets=nets))
    there = model.stream("a")
    for value in range(30):
        a, b = (stream.push([value, -value]) for stream in (here, there))
        np.testing.assert_allclose(a.forecast, b.forecast, rtol=2e-5, atol=2e-5)


def test_answers_are_the_callers_own():
    """An answer stays as it was, whatever is pushed later or written into another answer."""
    for scaling in ("window", "running"):
        stream = fitted({"scaling": scaling}, 1).stream("a")
        answer = stream.push(10.0)
        kept = [part.copy() for part in (answer.times, answer.forecast, answer.lo[80.0], answer.hi[95.0])]
        twin = stream.copy()
        for value in (50.0, 60.0):
            other = stream.push(value)
            other.forecast[:], other.times[:] = 0, other.times[0]
        for part, before in zip((answer.times, answer.forecast, answer.lo[80.0], answer.hi[95.0]), kept, strict=True):
            np.testing.assert_array_equal(part, before)
        np.testing.assert_array_equal(twin.forecast().forecast, kept[1])
        np.testing.assert_array_equal(twin.forecast().times, kept[0])


def test_a_snapshot_follows_from_the_history_alone():
    """Two streams of the same rows have the same bytes, wherever their rings happened to be moved."""
    model = fitted({}, 1)
    rows = np.random.default_rng(0).normal(10, 2, 400)
    short, long = model.stream("a"), model.stream("a")
    for value in rows:
        long.push(value)
    body = None
    for count, value in enumerate(rows):
        short.push(value)
        if count == 37:
            body = short.snapshot()
    restored = model.stream("a", state=body)
    for value in rows[38:]:
        restored.push(value)
    assert short.snapshot() == long.snapshot() == restored.snapshot()


def test_numbers_that_the_data_cannot_hold_are_bad_samples():
    """Data of float32 keep float32; what is Inf there is refused."""
    y = history(1).astype(np.float32)
    data = columns(y)
    model = tg.Forecaster(horizon=3, season=6, steps=2, hidden_size=8).fit(
        data, target="y0", time="when", id="shop", progress=False
    )
    assert model._ready().panel.target.dtype == np.float32
    stream = model.stream("a")
    before = stream.snapshot()
    with pytest.raises(tg.DataError, match="finite"):
        stream.push(1e300)
    assert stream.snapshot() == before


@pytest.mark.parametrize("output", ["quantile", "negative_binomial", "point"])
def test_the_decoder_is_the_corrections_one_by_one(output):
    rng = np.random.default_rng(0)
    plan = replace(fitted({}, 1)._ready().core.plan, output=output)
    corrections = Corrections((20.0, 80.0, 95.0), rng.uniform(0.5, 2, (3, plan.horizon)))
    for levels, lower, deciles in (((80.0, 95.0), None, False), ((95.0, 30.0, 99.0), 0.0, True), ((), None, False)):
        decode = Decoder(plan, corrections, lower, levels, deciles=deciles)
        assert decode.wanted == tuple(sorted(decode.wanted))
        q = np.sort(rng.normal(0, 4, (3, plan.horizon, len(decode.wanted))))
        made = decode(q)
        median = q[..., decode.wanted.index(0.5)]
        bounded = (lambda v: v) if lower is None else (lambda v: np.maximum(v, 0.0))
        np.testing.assert_array_equal(made.point, bounded(median))
        assert list(made.lo) == ([] if output == "point" else sorted(levels))
        inner = [median, median]
        for level in made.lo:
            factor = np.array([np.interp(level, corrections.levels, column) for column in corrections.values.T])
            for side, (part, outer, rounded) in enumerate(((made.lo, np.minimum, np.floor), (made.hi, np.maximum, np.ceil))):
                p = round((1 + (-1, 1)[side] * level / 100) / 2, 12)
                end = median + factor * (q[..., decode.wanted.index(p)] - median)
                inner[side] = outer(end, inner[side])
                said = rounded(inner[side]) if output == "negative_binomial" else inner[side]
                np.testing.assert_array_equal(part[level], bounded(said))
        assert (made.quantiles is None) == (not deciles or output == "point")
