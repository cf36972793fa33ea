"""What the native Ops do beside their arithmetic: dtypes, strides, layouts that are kept, refusals, copies, the missing core."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import checks
from tidegate import native
from tidegate.errors import ShapeError
from tidegate.runtime.native_ops import NativeOps
from tidegate.runtime.ops import NumpyOps
from tidegate.runtime.predictor import Predictor
from tidegate.spec import Recurrent

NATIVE = pytest.mark.skipif(not native.available(), reason="the native core is not installed")
RNG = np.random.default_rng(0)
LSTM = Recurrent(name="layer", inputs=("x",), cell="lstm", input_size=3, hidden_size=5, num_layers=2, bidirectional=True)
Floats = npt.NDArray[np.floating]


def weights(dtype: str = "float64") -> dict[str, Floats]:
    return {n: RNG.normal(size=shape).astype(dtype) for n, shape in LSTM.parameters().items()}


def state(dtype: str = "float64") -> dict[str, Floats]:
    return {part: RNG.normal(size=(4, 2, 5)).astype(dtype) for part in ("h", "c")}


MIXED = [("float32", "float64", "float64"), ("float64", "float32", "float64"), ("float32", "float32", "float64")]


@NATIVE
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("of_x", "of_weights", "of_state"), MIXED)
def test_mixed_dtypes_give_what_numpy_gives(of_x: str, of_weights: str, of_state: str, frozen: bool) -> None:
    x, own, start = RNG.normal(size=(2, 6, 3)).astype(of_x), weights(of_weights), state(of_state)
    ops, twin = NativeOps(frozen=frozen), NumpyOps()
    (y, end), (y_twin, end_twin) = (each.recurrent(LSTM, own, x, None, start) for each in (ops, twin))
    assert y.dtype == y_twin.dtype == np.float64
    np.testing.assert_allclose(y, y_twin, **checks.TOL["float32"])  # the smaller of the two dtypes rounds somewhere
    np.testing.assert_allclose(end["c"], end_twin["c"], **checks.TOL["float32"])
    w, b = RNG.normal(size=(4, 3)).astype(of_weights), RNG.normal(size=4).astype(of_weights)
    assert ops.linear(x, w, b).dtype == twin.linear(x, w, b).dtype
    np.testing.assert_allclose(ops.linear(x, w, b), twin.linear(x, w, b), **checks.TOL["float32"])
    gain = RNG.normal(size=3).astype(of_weights)
    assert ops.norm(x, gain, gain).dtype == twin.norm(x, gain, gain).dtype
    np.testing.assert_allclose(ops.norm(x, gain, gain), twin.norm(x, gain, gain), **checks.TOL["float32"])


def swapped(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """The same numbers in the other byte order."""
    return array.astype(array.dtype.newbyteorder("S"))


@NATIVE
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_other_byte_order_gives_the_same_bits(dtype: str, frozen: bool) -> None:
    x, own, start = RNG.normal(size=(2, 6, 3)).astype(dtype), weights(dtype), state(dtype)
    lengths, w, gain = np.array([6, 4]), RNG.normal(size=(4, 3)).astype(dtype), RNG.normal(size=3).astype(dtype)
    b = w[:, 0].copy()
    y, end = NativeOps().recurrent(LSTM, own, x, lengths, start)
    turned = {n: swapped(v) for n, v in own.items()}, swapped(x), swapped(lengths), {n: swapped(v) for n, v in start.items()}
    for which in ("1000", "0100", "0010", "0001", "1111"):
        given = [o if flag == "1" else p for flag, o, p in zip(which, turned, (own, x, lengths, start), strict=True)]
        other, last = NativeOps(frozen=frozen).recurrent(LSTM, *given)
        checks.assert_bits(other, y, which)
        checks.assert_bits(last["c"], end["c"], which)
    ops, plain = NativeOps(frozen=frozen), NativeOps()
    pairs = [
        (ops.linear(swapped(x), swapped(w), swapped(b)), plain.linear(x, w, b)),
        (ops.linear(swapped(x), w, None), plain.linear(x, w, None)),
        (ops.linear(x, swapped(w), b), plain.linear(x, w, b)),
        (ops.norm(swapped(x), gain, swapped(gain)), plain.norm(x, gain, gain)),
        (ops.softmax(swapped(x)), plain.softmax(x)),
        (ops.tanh(swapped(x)), plain.tanh(x)),
        (ops.sigmoid(swapped(x)), plain.sigmoid(x)),
        (ops.total(swapped(x)), plain.total(x)),
    ]
    for k, (got, expected) in enumerate(pairs):
        assert got.dtype == np.dtype(dtype)
        checks.assert_bits(got, expected, f"pair {k}")


@NATIVE
def test_one_weight_with_two_biases_gives_two_answers() -> None:
    x, w, ops = RNG.normal(size=(2, 3)), RNG.normal(size=(4, 3)), NativeOps(frozen=True)
    for b in (RNG.normal(size=4), RNG.normal(size=4), None):
        checks.assert_bits(ops.linear(x, w, b), NativeOps().linear(x, w, b), "linear")
    for _ in range(50):  # biases that come and go: none takes the place of another in memory
        b = RNG.normal(size=4)
        checks.assert_bits(ops.linear(x, w, b), NativeOps().linear(x, w, b), "linear")


@NATIVE
def test_a_sequence_and_a_state_of_any_strides() -> None:
    x, own, start, ops = RNG.normal(size=(2, 6, 3)), weights(), state(), NativeOps()
    y, end = ops.recurrent(LSTM, own, x, np.array([6, 4]), start)
    views = [
        np.asfortranarray(x),
        x[:, ::-1].copy()[:, ::-1],
        np.repeat(x, 2, 2)[..., ::2],
        np.frombuffer(b"\0" + x.tobytes(), "u1"),
    ]
    views[3] = np.ndarray((2, 6, 3), "f8", views[3], 1)  # not aligned
    assert not views[3].flags.aligned
    for view in views:
        other, last = ops.recurrent(LSTM, own, view, np.array([6, 4, 9])[:2], {n: np.asfortranarray(v) for n, v in start.items()})
        checks.assert_bits(other, y, "y")
        checks.assert_bits(last["c"], end["c"], "c")
    same = np.broadcast_to(x[:, :1], x.shape)
    checks.assert_bits(ops.recurrent(LSTM, own, same, None, None)[0], ops.recurrent(LSTM, own, same.copy(), None, None)[0], "y")


@NATIVE
@pytest.mark.parametrize(("batch", "steps"), [(0, 3), (2, 0), (0, 0)])
def test_nothing_in_gives_the_state_back(batch: int, steps: int) -> None:
    start = {part: value[:, :batch] for part, value in state().items()}
    y, end = NativeOps().recurrent(LSTM, weights(), np.zeros((batch, steps, 3)), None, start)
    assert y.shape == (batch, steps, 10)
    assert np.array_equal(end["h"], start["h"])
    assert np.array_equal(end["c"], start["c"])


@NATIVE
def test_total_is_summed_in_one_order_whatever_the_strides() -> None:
    x = RNG.normal(size=(7, 200)).astype(np.float32)
    y = NativeOps().total(x)
    np.testing.assert_allclose(y, x.sum(-1, keepdims=True, dtype=np.float64), atol=1e-5)
    checks.assert_bits(NativeOps().total(np.asfortranarray(x)), y, "another order in memory")
    checks.assert_bits(NativeOps().total(x[3:4]), y[3:4], "a row alone")


@NATIVE
def test_wrong_arrays_are_refused_before_the_core_sees_them() -> None:
    x, own, ops = np.zeros((2, 6, 3)), weights(), NativeOps()
    wrong = [
        (lambda: ops.recurrent(LSTM, own, x[..., :2], None, None), r"x: expected \(B, T, 3\), got \(2, 6, 2\)"),
        (lambda: ops.recurrent(LSTM, own, x, np.array([6]), None), r"lengths: expected \(2,\), got \(1,\)"),
        (lambda: ops.recurrent(LSTM, own, x, np.array([5.5, 6]), None), r"lengths: expected \(2,\) whole numbers, got float64"),
        (
            lambda: ops.recurrent(LSTM, own, x, None, {p: v[:, :1] for p, v in state().items()}),
            r"state 'h': expected \(4, 2, 5\), got \(4, 1, 5\)",
        ),
        (lambda: ops.recurrent(LSTM, own | {"bias_hh_l1": np.zeros(3)}, x, None, None), "weights of 'layer': expected"),
        (lambda: ops.linear(x, np.zeros((2, 4)), None), r"x: expected \(..., 4\)"),
        (lambda: ops.tanh(np.zeros(3, np.int64)), "expected float32 or float64, got int64"),
    ]
    for call, text in wrong:
        with pytest.raises(ShapeError, match=text):
            call()


@NATIVE
def test_frozen_weights_are_laid_out_once_and_others_at_every_call() -> None:
    x, own, table = RNG.normal(size=(2, 6, 3)), weights(), RNG.normal(size=(4, 3))
    frozen, loose = NativeOps(frozen=True), NativeOps()
    before = [ops.recurrent(LSTM, own, x, None, None)[0] for ops in (frozen, loose)]
    rows = [ops.linear(x, table, None) for ops in (frozen, loose)]
    checks.assert_bits(before[0], before[1], "y")
    checks.assert_bits(rows[0], rows[1], "linear")
    for weight in (*own.values(), table):
        weight += 1.0
    checks.assert_bits(frozen.recurrent(LSTM, own, x, None, None)[0], before[0], "what was laid out stays")
    checks.assert_bits(frozen.linear(x, table, None), rows[0], "what was laid out stays")
    assert not np.allclose(loose.recurrent(LSTM, own, x, None, None)[0], before[0])
    assert not np.allclose(loose.linear(x, table, None), rows[0])


@NATIVE
def test_many_threads_may_be_the_first_to_use_a_predictor() -> None:
    case = checks.WIDE["wide lstm"]
    inputs, expected = case.inputs("float32"), checks.predict(case, case.inputs("float32"), None, "float32", native=True)
    own, start, got = Predictor(case.spec, case.weights("float32"), native=True), threading.Barrier(6), []

    def work() -> None:
        start.wait(30)
        got.append(own.run(inputs))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 6
    for output in got:
        checks.assert_bits(output.outputs["y"], expected.outputs["y"], "y")


@NATIVE
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))], ids=["deepcopy", "pickle"])
def test_a_copy_of_a_predictor_gives_the_same_bits(copied: object) -> None:
    case = checks.CASES["stacked"]
    own = Predictor(case.spec, case.weights(), native=True)
    before = own.run(case.inputs())
    twin = copied(own)
    checks.assert_bits(twin.run(case.inputs()).state, before.state, "state")


def test_the_path_may_be_chosen() -> None:
    case = checks.CASES["gru"]
    assert isinstance(Predictor(case.spec, case.weights(), native=False)._ops, NumpyOps)
    assert isinstance(Predictor(case.spec, case.weights())._ops, NativeOps if native.available() else NumpyOps)


SCRIPT = """
import sys
sys.modules["tidegate._native"] = None  # importing it now raises ImportError
import numpy as np
import tidegate as tg
from tidegate.runtime.ops import NumpyOps
from tidegate.runtime.predictor import Predictor
from tidegate.spec import Port, Recurrent, Spec
block = Recurrent(name="y", inputs=("x",), cell="gru", input_size=2, hidden_size=3)
spec = Spec(inputs=(Port(name="x", size=2),), blocks=(block,), outputs=("y",))
weights = {name: np.full(shape, 0.1) for name, shape in spec.parameters().items()}
own = [Predictor(spec, weights) for _ in range(2)][0]
assert isinstance(own._ops, NumpyOps)
assert own.run({"x": np.ones((1, 4, 2))}).outputs["y"].shape == (1, 4, 3)
try:
    Predictor(spec, weights, native=True)
except tg.MissingExtra as error:
    print(error)
"""


def test_without_the_core_numpy_predicts_and_one_warning_says_so() -> None:
    source = str(Path(__file__).resolve().parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the native core: expected the extension tidegate._native, got none"), done.stdout
    assert done.stderr.count("runs without its native core") == 1, done.stderr
