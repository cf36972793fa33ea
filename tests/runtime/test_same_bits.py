"""The promise of the native path, bit for bit: step = sequence = any piece = any batch = any thread count, on every instruction
set; and the forecaster above it: a series alone is forecast as in a frame of many."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import checks
import tidegate as tg
from tidegate import native
from tidegate.runtime.int8 import refusal
from tidegate.runtime.predictor import Predictor
from tidegate.spec import Activation, Attend, Crf, Match, Mix, Norm, Recurrent, Spec

pytestmark = pytest.mark.skipif(not native.available(), reason="the native core is not installed")
CASES = checks.CASES | checks.WIDE
ROUNDED = (Activation, Attend, Crf, Match, Mix, Norm)  # blocks of float32 in an int8 net


@pytest.fixture(params=native.isas() if native.available() else ())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = native.isa()
    native.set_isa(request.param)
    yield request.param
    native.set_isa(before)


@pytest.mark.parametrize("dtype", [*checks.TOL, "int8"])
@pytest.mark.parametrize("promise", checks.SAME_BITS)
@pytest.mark.parametrize("case", CASES)
def test_same_bits(case: str, promise: str, dtype: str, isa: str) -> None:
    if dtype == "int8" and not holds_whole_numbers(CASES[case].spec):
        pytest.skip("an rnn with ReLU has no int8")
    checks.SAME_BITS[promise](CASES[case], dtype)


def holds_whole_numbers(spec: Spec) -> bool:
    return not any(isinstance(block, Recurrent) and refusal(block) for block in spec.blocks)


@pytest.mark.parametrize("case", CASES)
def test_int8_on_every_instruction_set_agrees_with_the_twin(case: str, isa: str) -> None:
    """Whole numbers to the bit; what stands between them in float32 (norms, softmax, tanh) as nearly as there."""
    own = CASES[case]
    if not holds_whole_numbers(own.spec):
        pytest.skip("an rnn with ReLU has no int8")
    here, twin = (checks.predict(own, own.inputs("int8"), own.lengths(), "int8", native=path) for path in (True, False))
    exact = not any(isinstance(block, ROUNDED) for block in own.spec.blocks)
    for name, y in here.outputs.items():
        if exact:
            checks.assert_bits(twin.outputs[name], y, name)
        else:  # a float32's last bit may move a whole number by one, and that the steps after it
            np.testing.assert_allclose(twin.outputs[name], y, atol=3e-3, rtol=1e-3, err_msg=name)
    assert here.state.dtype == np.float32


@pytest.mark.parametrize("dtype", checks.TOL)
@pytest.mark.parametrize("case", CASES)
def test_every_instruction_set_agrees_with_the_twin(case: str, dtype: str, isa: str) -> None:
    own = CASES[case]
    here, twin = (checks.predict(own, own.inputs(dtype), own.lengths(), dtype, native=path) for path in (True, False))
    assert here.state.dtype == twin.state.dtype  # float32 where a net has no weights
    assert np.isfinite(here.state).all()
    assert {n: y.dtype for n, y in here.outputs.items()} == {n: y.dtype for n, y in twin.outputs.items()}
    checks.assert_same(here.outputs, twin.outputs, here.state.dtype.name)
    np.testing.assert_allclose(here.state, twin.state, **checks.TOL[here.state.dtype.name])


def test_there_are_promises_of_every_kind() -> None:
    assert set(checks.SAME_BITS) == {"steps_and_pieces", "rows_and_batches", "threads", "padding_and_strides"}


def test_a_difference_in_one_bit_is_seen() -> None:
    x = np.array([1.0, 0.0])
    for other in (np.nextafter(x, 2.0), np.array([1.0, -0.0]), x.astype(np.float32)):
        with pytest.raises(AssertionError):
            checks.assert_bits(other, x, "x")


def frames() -> list[np.ndarray]:
    """Series of several lengths, one shorter than the look-back; whole numbers, so that they may be counts."""
    rng = np.random.default_rng(0)
    return [np.floor(10 + i + 4 * np.sin(np.arange(n) / 2) + rng.normal(size=n)) for i, n in enumerate((130, 71, 130, 24, 90))]


OPTIONS = {
    "direct": {},
    "gru of two layers": {"cell": "gru", "num_layers": 2},
    "running scale": {"scaling": "running"},
    "ensemble": {"ensemble": 2},
    "student_t": {"output": "student_t"},
    "counts": {"output": "negative_binomial"},
    "recursive": {"decode": "recursive", "lookback": 24, "paths": 20},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_a_series_alone_is_forecast_as_in_a_frame_of_many(options: str) -> None:
    model = tg.Forecaster(horizon=6, season=12, steps=8, hidden_size=20, batch_size=32, **OPTIONS[options]).fit(frames())
    together = model.predict(frames())
    columns = [name for name in together.names if name.startswith("forecast")]
    assert len(columns) == 5
    for k, series in enumerate(frames()):
        alone = model.predict([series])
        for name in columns:
            checks.assert_bits(np.asarray(alone[name]), np.asarray(together[name])[6 * k : 6 * k + 6], f"series {k}: {name}")


@pytest.mark.parametrize("options", [{}, {"cell": "gru", "num_layers": 2}, {"scaling": "running"}])
def test_the_forecaster_on_the_core_agrees_with_the_one_on_numpy(options: dict[str, object]) -> None:
    from dataclasses import replace

    model = tg.Forecaster(horizon=6, season=12, steps=8, hidden_size=20, batch_size=32, **options).fit(frames())
    here = model.predict(frames())
    core = model._ready().core
    twins = tuple(Predictor(net.spec, net.weights, native=False) for net in core.nets)
    model._fitted = replace(model._ready(), core=replace(core, nets=twins))
    there = model.predict(frames())
    for name in here.names[2:]:
        np.testing.assert_allclose(here[name], there[name], rtol=2e-5, atol=2e-5)
