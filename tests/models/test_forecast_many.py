"""Many streams of a forecaster stepped at once: each has the bits that it has alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tidegate as tg
from tests.models.test_forecast_follow import fitted
from tests.models.test_streams import same
from tidegate import native
from tidegate.models import forecast_many, forecast_stream

pytestmark = pytest.mark.skipif(not native.available(), reason="the native core is not installed")
OPTIONS: dict[str, dict[str, Any]] = {
    "window": {},
    "running": {"scaling": "running", "cell": "gru"},
    "two layers and nets": {"scaling": "running", "num_layers": 2, "ensemble": 2},
    "short segments, two nets": {"segment": 4, "lookback": 8, "ensemble": 2},
    "counts": {"output": "negative_binomial", "lower": 0},
    "student_t": {"output": "student_t", "scaling": "running"},
    "point": {"output": "point"},
}


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("name", OPTIONS)
def test_each_has_the_bits_that_it_has_alone(name: str, targets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the end of a series and from nothing, so that they read unlike many segments; with bad samples, in any mix."""
    model = fitted(OPTIONS[name], targets)
    monkeypatch.setattr(forecast_many, "MOST", 9)  # several rounds
    calls: list[int] = []
    monkeypatch.setattr(
        forecast_stream, "read_together", lambda *given: calls.append(len(given[1])) or forecast_many.read_together(*given)
    )
    kinds = [(id, policy) for id in ("a", None) for policy in ("hold", "reset")] * 6
    many, alone = ([model.stream(id, on_bad=policy) for id, policy in kinds] for _ in range(2))
    rng = np.random.default_rng(0)
    for turn in range(14):
        rows = rng.normal(10, 3, (24, targets)).astype(object)
        rows[rng.integers(24), 0] = np.nan
        rows[rng.integers(24)] = np.inf
        samples = [row.tolist() if targets > 1 else row[0] for row in rows]
        mix = rng.permutation(24)[: rng.integers(0, 25) if turn else 24].tolist()
        answers = model.step_many([many[k] for k in mix], [samples[k] for k in mix])
        for k, answer in zip(mix, answers, strict=True):
            expected = alone[k].push(samples[k])
            for one, other in zip(answer, expected, strict=True):
                if isinstance(other, dict):
                    assert one.keys() == other.keys()
                    assert all(np.array_equal(one[level], other[level], equal_nan=True) for level in other)
                else:
                    np.testing.assert_array_equal(one, other)
    assert max(calls) > 9
    assert [stream.snapshot() for stream in many] == [stream.snapshot() for stream in alone]
    assert [stream.steps for stream in many] == [stream.steps for stream in alone]
    for one, other in zip(many, alone, strict=True):
        if other.rows:
            assert same(one.copy().forecast(), other.forecast())


@pytest.mark.parametrize("scaling", ["window", "running"])
def test_a_rejected_sample_steps_none(scaling: str) -> None:
    model = fitted({"scaling": scaling}, 1)
    streams = [model.stream("a") for _ in range(9)]
    before = [stream.snapshot() for stream in streams]
    for bad in (np.nan, "x", [1.0, 2.0]):
        with pytest.raises(tg.DataError, match="untouched"):
            model.step_many(streams, [1.0] * 8 + [bad])
        assert [stream.snapshot() for stream in streams] == before
