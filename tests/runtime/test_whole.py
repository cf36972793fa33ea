"""Layers in whole numbers: the core on every instruction set gives the bits of the NumPy twin; and how near float32 they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from tidegate import native
from tidegate.runtime import whole
from tidegate.runtime.int8 import MOST, MOST_INPUTS, MOST_READ, UNITS, Int8Net, NetWeights, linear_parts, quantized
from tidegate.runtime.native_ops import NativeOps
from tidegate.runtime.ops import NumpyOps
from tidegate.spec import Linear, Port, Recurrent, Spec

needs_core = pytest.mark.skipif(not native.available(), reason="the native core is not installed")
CELLS = ("rnn_tanh", "lstm", "gru")
FIXED = Path(__file__).resolve().parents[2] / "csrc" / "fixed.h"
Arrays = dict[str, np.ndarray]


@pytest.fixture(params=native.isas() if native.available() else ())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = native.isa()
    native.set_isa(request.param)
    yield request.param
    native.set_isa(before)


class Layers:
    """A recurrent block in 8 bits on the core's operations and on the twin's."""

    def __init__(
        self, cell: str, inputs: int, hidden: int, *, highest: float = 4.0, gain: float = 1.5, seed: int = 0, **more: int
    ):
        self.block = Recurrent(name="r", inputs=("x",), cell=cell, input_size=inputs, hidden_size=hidden, **more)  # type: ignore[arg-type]
        self.spec = Spec(inputs=(Port(name="x", size=inputs),), blocks=(self.block,), outputs=("r",))
        rng = np.random.default_rng(seed)
        self.floats = {
            f"r.{name}": rng.normal(0, gain / np.sqrt(hidden), shape).astype(np.float32)
            for name, shape in self.block.parameters().items()
        }
        self.highest = highest

    def net(self, **changed: np.ndarray) -> NetWeights:
        return quantized(self.spec, self.floats | changed, {"r": self.highest})

    def run(self, net: NetWeights, x: np.ndarray, lengths: np.ndarray | None = None, state: Arrays | None = None, *, core: bool):
        int8 = Int8Net(self.spec, net)
        ops = NativeOps(frozen=True, int8=int8) if core else NumpyOps(int8)
        return ops.recurrent(self.block, {n.removeprefix("r."): w for n, w in net.items()}, x, lengths, state)

    def float32(self, weights: Mapping[str, np.ndarray], x: np.ndarray, lengths: np.ndarray | None, state: Arrays | None):
        ops = NativeOps() if native.available() else NumpyOps()
        return ops.recurrent(self.block, {n.removeprefix("r."): w for n, w in weights.items()}, x, lengths, state)

    def state(self, batch: int, rng: np.random.Generator, spread: float = 1.0) -> Arrays:
        shapes = {part: (rows, batch, size) for part, (rows, size) in self.block.state().items()}
        return {part: rng.uniform(-spread, spread, shape).astype(np.float32) for part, shape in shapes.items()}


def same(a: tuple[np.ndarray, Arrays], b: tuple[np.ndarray, Arrays]) -> None:
    for one, other in zip((a[0], *a[1].values()), (b[0], *b[1].values()), strict=True):
        assert one.dtype == other.dtype == np.float32
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


SHAPES = {
    "small": (3, 5, {}),
    "both ways": (17, 33, {"bidirectional": True}),
    "two layers": (40, 64, {"num_layers": 2}),
    "one": (1, 1, {}),
}


@needs_core
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_the_core_has_the_bits_of_the_twin(cell: str, shape: str, isa: str) -> None:
    inputs, hidden, more = SHAPES[shape]
    own, rng = Layers(cell, inputs, hidden, **more), np.random.default_rng(1)
    net, x, lengths = own.net(), rng.normal(size=(5, 20, inputs)).astype(np.float32), np.array([20, 7, 0, 13, 1])
    for state in (None, own.state(5, rng), own.state(5, rng, 300.0)):
        for counts in (None, lengths):
            here, there = (own.run(net, x, counts, state, core=core) for core in (True, False))
            same(here, there)
            assert np.isfinite(here[0]).all()
            if counts is not None:
                assert not here[0][2].any()
                for part, value in here[1].items():  # the row of no steps: the state as it was given
                    np.testing.assert_array_equal(value[:, 2], 0.0 if state is None else state[part][:, 2])


@needs_core
@pytest.mark.parametrize("cell", CELLS)
def test_numbers_of_every_kind_are_read_alike(cell: str, isa: str) -> None:
    """NaN, Inf, far too large, denormal, halves: in the input and in the state."""
    own, rng = Layers(cell, 6, 9), np.random.default_rng(2)
    odd = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 3e38, 1e-40, -1e-45, -0.0, 0.5, 4.0, -4.0, 1e-8], np.float32)
    x, state = rng.choice(odd, (8, 12, 6)), own.state(8, rng)
    for part in state.values():
        part[...] = rng.choice(odd, part.shape)
    here, there = (own.run(own.net(), x, None, state, core=core) for core in (True, False))
    same(here, there)
    assert np.isfinite(here[0]).all()
    high = own.run(own.net(), np.full((1, 3, 6), np.inf, np.float32), core=True)
    same(high, own.run(own.net(), np.full((1, 3, 6), 1e30, np.float32), core=False))


WEIGHTS = {
    "zeros": lambda w: w * 0,
    "one huge row": lambda w: np.concatenate([w[:1] * 1e5, w[1:]]),
    "rows of 1e-30": lambda w: np.concatenate([w[:-2], w[-2:] * 1e-30]),
    "all of 1e-30": lambda w: w * 1e-30,
    "denormal": lambda w: w * 1e-42,
    "one entry": lambda w: np.where(np.arange(w.size).reshape(w.shape) == 3, 1, 0),
}


@needs_core
@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("cell", CELLS)
def test_weights_of_every_size(cell: str, kind: str, isa: str) -> None:
    own, rng = Layers(cell, 5, 7), np.random.default_rng(3)
    changed = {n: WEIGHTS[kind](w.astype(np.float64)).astype(np.float32) for n, w in own.floats.items() if ".weight" in n}
    net, x = own.net(**changed), rng.normal(size=(3, 9, 5)).astype(np.float32)
    here = own.run(net, x, core=True)
    same(here, own.run(net, x, core=False))
    if kind not in ("one huge row", "one entry"):
        wanted, _ = own.float32(own.floats | changed, x, None, None)
        np.testing.assert_allclose(here[0], wanted, atol=0.03 if kind == "rows of 1e-30" else 2e-3)


@needs_core
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_sums_of_the_most_inputs_do_not_overflow(cell: str, isa: str) -> None:
    """2,064 weights of 127 times inputs of 8191: 2^31 less 37,888."""
    assert 127 * MOST_READ * MOST_INPUTS < 2**31 - 1
    own = Layers(cell, MOST_INPUTS, 3, highest=1.0)
    for sign in (1.0, -1.0):
        changed = {"r.weight_ih_l0": np.full_like(own.floats["r.weight_ih_l0"], sign)}
        net, x = own.net(**changed), np.ones((2, 2, MOST_INPUTS), np.float32)
        here = own.run(net, x, core=True)
        same(here, own.run(net, x, core=False))
        assert np.isfinite(here[0]).all()


@needs_core
def test_a_wide_state_is_summed_too(isa: str) -> None:
    own = Layers("rnn_tanh", 1, MOST_INPUTS)
    net = own.net(**{"r.weight_hh_l0": np.ones_like(own.floats["r.weight_hh_l0"])})
    x, state = np.zeros((1, 2, 1), np.float32), {"h": np.full((1, 1, MOST_INPUTS), 2.0, np.float32)}
    here = own.run(net, x, None, state, core=True)
    same(here, own.run(net, x, None, state, core=False))
    assert here[0].min() > 0.9


@pytest.mark.parametrize("core", [False, pytest.param(True, marks=needs_core)])
def test_a_cell_state_grows_to_its_bound_and_stays(core: bool) -> None:
    """Gates that are open add 1 a step: at 128 less 2^-16 nothing is added any more."""
    own = Layers("lstm", 1, 2)
    bias = np.repeat(np.array([50.0, 50.0, 50.0, 50.0], np.float32), 2)
    net = own.net(**{n: (bias if n == "r.bias_ih_l0" else w * 0) for n, w in own.floats.items()})
    _, ends = own.run(net, np.zeros((1, 100, 1), np.float32), core=core)
    np.testing.assert_allclose(ends["c"], 100.0, atol=0.02)
    _, ends = own.run(net, np.zeros((1, 300, 1), np.float32), core=core)
    np.testing.assert_array_equal(ends["c"], np.float32(MOST * 2.0**-UNITS))


@pytest.mark.parametrize("core", [False, pytest.param(True, marks=needs_core)])
@pytest.mark.parametrize("shape", ["small", "two layers", "both ways"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_arithmetic_is_near_float32_with_the_same_weights(cell: str, shape: str, core: bool) -> None:
    """A product reads 14 bits of a state, off by 2^-14 at most: over some dozen terms and 20 steps some units of 2^-11."""
    inputs, hidden, more = SHAPES[shape]
    own, rng = Layers(cell, inputs, hidden, highest=8.0, gain=1.0, **more), np.random.default_rng(4)
    net, x, lengths = own.net(), rng.normal(size=(4, 20, inputs)).astype(np.float32), np.array([20, 7, 0, 13])
    state = own.state(4, rng)
    y, ends = own.run(net, x, lengths, state, core=core)
    wanted, wanted_ends = own.float32(net, x, lengths, state)
    np.testing.assert_allclose(y, wanted, atol=4e-3)
    for part, value in wanted_ends.items():
        np.testing.assert_allclose(ends[part], value, atol=8e-3)


@pytest.mark.parametrize("cell", CELLS)
def test_with_the_weights_of_training_it_is_within_a_tenth(cell: str) -> None:
    own, rng = Layers(cell, 17, 33), np.random.default_rng(5)
    x = rng.normal(size=(4, 20, 17)).astype(np.float32)
    y, _ = own.run(own.net(), x, core=False)
    wanted, _ = own.float32(own.floats, x, None, None)
    assert 1e-4 < np.abs(y - wanted).max() < 0.1


def test_curves() -> None:
    """tanh and sigmoid beside NumPy's, everywhere: within the 1.5e-5 of the cubics and the half of a unit of 2^-15."""
    x = np.concatenate([np.arange(-9 << 16, 9 << 16, 7), [MOST, -MOST, 0, 1, -1]])
    for found, wanted in ((whole._tanh(x), np.tanh(x / 65536)), (whole._sigmoid(x), 1 / (1 + np.exp(-x / 65536)))):
        assert np.abs(found / 32768 - wanted).max() < 1.5e-5 + 2.0**-16 + 2.0**-18
        assert found.min() >= -32768
        assert found.max() <= 32768
    assert np.abs(whole._tanh(-x) + whole._tanh(x)).max() <= 1  # odd, but for halves, which are rounded upwards


def test_the_table_is_that_of_the_kernels() -> None:
    text = FIXED.read_text(encoding="utf-8").replace("\\\n", " ")
    for j in range(4):
        own = re.search(rf"#define TG_CURVE_{j} ([-\d, ]+)$", text, re.MULTILINE)
        assert own is not None
        assert [int(n) for n in own[1].split(",")] == whole.curve()[j].tolist()


def _random_case(number: int) -> tuple[Layers, np.ndarray, np.ndarray, Arrays]:
    rng = np.random.default_rng(number)
    cell, hidden, inputs = CELLS[number % 3], int(rng.integers(1, 36)), int(rng.integers(1, 40))
    own = Layers(
        cell, inputs, hidden, gain=float(rng.choice([0.1, 1.0, 10.0])), highest=float(rng.choice([0.3, 4.0])), seed=number
    )
    batch, steps = int(rng.integers(1, 5)), int(rng.integers(1, 7))
    x = (rng.normal(size=(batch, steps, inputs)) * rng.choice([0.01, 1.0, 30.0])).astype(np.float32)
    return own, x, rng.integers(0, steps + 1, batch), own.state(batch, rng, float(rng.choice([1.0, 200.0])))


@needs_core
def test_a_thousand_random_cases_have_the_same_bits() -> None:
    """Whole = the twin = any cutting of time = any row alone = any number of threads = any instruction set."""
    isas, best, threads = native.isas(), native.isa(), native.get_num_threads()
    try:
        for number in range(1000):
            own, x, lengths, state = _random_case(number)
            rng, net = np.random.default_rng(number), own.net()
            native.set_isa(isas[number % len(isas)])
            native.set_num_threads(1 + number % 3)
            same(own.run(net, x, lengths, state, core=True), own.run(net, x, lengths, state, core=False))
            y, ends = own.run(net, x, None, state, core=True)
            native.set_isa(isas[(number + 1) % len(isas)])
            row, cut = int(rng.integers(len(x))), int(rng.integers(x.shape[1] + 1))
            alone = {part: value[:, row : row + 1] for part, value in state.items()}
            first, carried = own.run(net, x[row : row + 1, :cut], None, alone, core=True)
            rest, after = own.run(net, x[row : row + 1, cut:], None, carried, core=True)
            pieces = np.concatenate([first, rest], 1), after
            same(pieces, (y[row : row + 1], {part: value[:, row : row + 1] for part, value in ends.items()}))
    finally:
        native.set_isa(best)
        native.set_num_threads(threads)


def _linear(inputs: int, outputs: int, *, bias: bool = True, gain: float = 1.0, highest: float = 4.0) -> tuple[Spec, NetWeights]:
    block = Linear(name="y", inputs=("x",), input_size=inputs, output_size=outputs, bias=bias)
    spec, rng = Spec(inputs=(Port(name="x", size=inputs),), blocks=(block,), outputs=("y",)), np.random.default_rng(7)
    weights = {n: (gain * rng.normal(size=s)).astype(np.float32) for n, s in spec.parameters().items()}
    return spec, quantized(spec, weights, {"y": highest})


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (3, 17), (33, 5), (40, 70), (MOST_INPUTS, 3)])
@needs_core
def test_a_linear_layer(size: tuple[int, int], bias: bool, isa: str) -> None:
    """The core's bits are the twin's; and near float32's: an input is off by half a unit, the weights are the same."""
    spec, net = _linear(*size, bias=bias)
    x = np.random.default_rng(8).normal(size=(3, 4, size[0])).clip(-4, 4).astype(np.float32)
    x.reshape(-1)[:1] = np.float32(-0.0)
    own = NativeOps(frozen=True, int8=Int8Net(spec, net)).linear(x, net["y.weight"], net.get("y.bias"))
    parts = linear_parts(net, spec.blocks[0])  # type: ignore[arg-type]
    assert own.tobytes() == whole.linear(x, parts).tobytes()
    wanted = x.astype(np.float64) @ net["y.weight"].T.astype(np.float64) + net.get("y.bias", 0)
    within = np.abs(net["y.weight"]).sum(1).max() * 2.0 ** -(parts.x_exponent + 1) + 2.0**-parts.y_exponent
    np.testing.assert_allclose(own, wanted, atol=1.01 * within)
    odd = np.random.default_rng(9).choice(np.array([np.nan, np.inf, -np.inf, 1e30, 1e-40], np.float32), (6, size[0]))
    own = NativeOps(frozen=True, int8=Int8Net(spec, net)).linear(odd, net["y.weight"], net.get("y.bias"))
    assert own.tobytes() == whole.linear(odd, parts).tobytes()
    assert np.isfinite(own).all()


def test_a_mean_does_not_depend_on_order_and_padding_is_not_read() -> None:
    rng = np.random.default_rng(10)
    x = np.rint(rng.uniform(-1, 1, (4, 50, 6)) * 65536).astype(np.float32) / np.float32(65536)
    lengths = np.array([50, 0, 1, 33])
    for row, length in enumerate(lengths):
        x[row, length:] = np.nan
    found = whole.mean(x, lengths)
    assert found.dtype == np.float32
    assert not found[1].any()
    np.testing.assert_array_equal(found[2], x[2, 0])
    np.testing.assert_allclose(found[3], x[3, :33].astype(np.float64).mean(0), atol=2.0**-17 + 1e-9)
    turned = x[3:, :33][:, ::-1]
    np.testing.assert_array_equal(whole.mean(turned, None), found[3:])
    np.testing.assert_array_equal(whole.mean_of(np.array([3.0, -3.0, 5.0]), 2) * 65536, [2, -1, 3])  # halves upwards
