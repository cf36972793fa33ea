"""Weights in 8 bits: the grid they stand on, ranges, what whole numbers do not hold, and what a file may not say of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tidegate.errors import FormatError, TaskError
from tidegate.models.nets_store import weight_arrays, weights_of
from tidegate.runtime.calibrate import HEADROOM, STATE, ranges
from tidegate.runtime.int8 import (
    EXPONENTS,
    MOST_INPUTS,
    MOST_READ,
    NetWeights,
    Watched,
    check_net,
    exponent_of,
    part_of,
    quantized,
    refusal,
    whole_weight,
)
from tidegate.runtime.predictor import Predictor
from tidegate.runtime.recurrent import Recurrent as Bare
from tidegate.spec import Embed, Last, Linear, Port, Recurrent, Spec

CODES = Port(name="tokens", size=1, shape="tokens")


def letters(*, tied: bool = False, layers: int = 2, cell: str = "gru") -> Spec:
    """An embedding, two layers, and a linear one, which may read the embedding's table."""
    table = "letters" if tied else None
    return Spec(
        inputs=(CODES,),
        blocks=(
            Embed(name="e", inputs=("tokens",), num_embeddings=9, embedding_dim=6, table=table),
            Recurrent(name="r", inputs=("e",), cell=cell, input_size=6, hidden_size=6, num_layers=layers),  # type: ignore[arg-type]
            Linear(name="y", inputs=("r",), input_size=6, output_size=9, table=table),
        ),
        outputs=("y",),
    )


def floats(spec: Spec, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: rng.normal(0, 0.7, shape).astype(np.float32) for n, shape in spec.parameters().items()}


def net(spec: Spec | None = None, **highest: float) -> tuple[Spec, NetWeights]:
    spec = letters() if spec is None else spec
    return spec, quantized(spec, floats(spec), {"r": 2.0, "y": 1.0, **highest})


def test_every_weight_is_within_half_a_step_of_its_rows_grid() -> None:
    spec, own = net()
    given = floats(spec)
    assert set(own.scales) == {n for n in given if "weight" in n}
    for name, scale in own.scales.items():
        whole = own.int8(name)
        assert whole.dtype == np.int8
        assert np.abs(whole.astype(int)).max() <= 127
        np.testing.assert_array_equal((whole * scale.astype(np.float64)[:, None]).astype(np.float32), own[name])
        assert (np.abs(own[name] - given[name]) <= 0.5001 * scale[:, None]).all()
        if not name.startswith("e."):  # an embedding's rows are of whole numbers
            assert (np.abs(whole.astype(int)).max(1) == 127).all()
    for name in given.keys() - own.scales.keys():
        assert np.abs(own[name] - given[name]).max() <= 2.0**-17


def test_an_embeddings_vectors_are_whole_numbers_of_what_the_layer_reads() -> None:
    spec, own = net()
    exponent = own.exponents["e"][0]
    units = own["e.weight"].astype(np.float64) * 2.0**exponent
    np.testing.assert_array_equal(units, np.rint(units))
    assert np.abs(units).max() <= MOST_READ
    assert np.abs(units).max() > MOST_READ / 2.1
    found = quantized(spec, floats(spec), ranges(spec, floats(spec), {}))
    assert found.exponents["r"] == (found.exponents["e"][0], 13)


@pytest.mark.parametrize("power", [-45, -38, -20, 0, 5, 7])
def test_int8_comes_back_from_the_grid(power: int) -> None:
    rng = np.random.default_rng(power + 50)
    whole = rng.integers(-127, 128, (40, 30))
    scale = (rng.uniform(0.5, 9, 40) * 10.0**power).astype(np.float32)
    scale[3] = 0.0
    whole[scale == 0] = 0
    weight = (whole * scale.astype(np.float64)[:, None]).astype(np.float32)
    np.testing.assert_array_equal(whole_weight(weight, scale), whole)


@pytest.mark.parametrize("highest", [1e-300, 1e-30, 1e-9, 0.1, 0.999, 1.0, 1.5, 8190.9, 8191.0, 8191.1, 1e6, 1e30, 1e308])
def test_an_exponent_is_the_largest_that_holds(highest: float) -> None:
    found = exponent_of(highest)
    assert EXPONENTS[0] <= found <= EXPONENTS[1]
    if EXPONENTS[0] < found < EXPONENTS[1]:
        assert highest * 2.0**found <= MOST_READ < highest * 2.0 ** (found + 1)


@pytest.mark.parametrize("nothing", [0.0, -1.0, math.nan])
def test_what_was_never_seen_is_read_as_a_state(nothing: float) -> None:
    assert exponent_of(nothing) == 13


def test_ranges_follow_from_what_stands_before_a_block() -> None:
    spec = letters()
    given = floats(spec)
    found = ranges(spec, given, {"r": 1e9, "y": 1e9})
    assert found == {"r": pytest.approx(1.01 * float(np.abs(given["e.weight"]).max())), "y": STATE}
    port = Port(name="x", size=6)
    bare = Spec(inputs=(port,), blocks=(replace(spec.blocks[1], inputs=("x",)),), outputs=("r",))  # type: ignore[type-var]
    assert ranges(bare, {}, {"r": 3.0}) == {"r": 3.0 * HEADROOM}
    assert ranges(bare, {}, {}) == {"r": 0.0}


@pytest.mark.parametrize("native", [False, None])
def test_watching_changes_no_bit_and_sees_only_what_is_read(native: bool | None) -> None:
    port = Port(name="x", size=3)
    spec = Spec(
        inputs=(port,),
        blocks=(
            Linear(name="a", inputs=("x",), input_size=3, output_size=4),
            Recurrent(name="r", inputs=("a",), cell="lstm", input_size=4, hidden_size=5),
            Last(name="p", inputs=("r",)),
        ),
        outputs=("p",),
    )
    weights = floats(spec)
    watched, x = Watched(weights), np.random.default_rng(1).normal(size=(2, 6, 3)).astype(np.float32)
    x[1, 4:] = 1e6  # padding
    lengths = {"x": np.array([6, 4])}
    found = Predictor(spec, watched, native=native).run({"x": x}, None, lengths)
    plain = Predictor(spec, weights, native=native).run({"x": x}, None, lengths)
    np.testing.assert_array_equal(found.outputs["p"], plain.outputs["p"])
    read = np.concatenate([x[0], x[1, :4]]) @ weights["a.weight"].T + weights["a.bias"]
    assert watched.highest["r"] == pytest.approx(float(np.abs(read).max()), rel=1e-5)


def test_a_part_of_a_net_has_its_own_scales() -> None:
    spec, own = net()
    first = Spec(inputs=spec.inputs, blocks=spec.blocks[:1], outputs=("e",))
    part = part_of(own, first)
    assert isinstance(part, NetWeights)
    assert (set(part), set(part.scales), set(part.exponents)) == ({"e.weight"}, {"e.weight"}, {"e"})
    check_net(first, part)


def test_two_blocks_of_one_table_are_on_one_grid() -> None:
    spec = letters(tied=True)
    _, own = net(spec)
    assert "letters.weight" in own.scales
    check_net(spec, own)
    Predictor(spec, own).run({"tokens": np.zeros((1, 3, 1), int)})


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (Recurrent(name="r", inputs=("x",), cell="rnn_relu", input_size=3, hidden_size=3), "cell='gru' or 'lstm' .--cell gru"),
        (Recurrent(name="r", inputs=("x",), cell="gru", input_size=MOST_INPUTS + 1, hidden_size=1), "2,065 numbers.* of 2,064"),
        (Recurrent(name="r", inputs=("x",), cell="gru", input_size=1, hidden_size=MOST_INPUTS + 1), "2,065 numbers.* smaller"),
        (
            Recurrent(name="r", inputs=("x",), cell="gru", input_size=1, hidden_size=1033, num_layers=2, bidirectional=True),
            "2,066 numbers",
        ),
    ],
)
def test_layers_that_whole_numbers_do_not_hold_are_refused_with_the_remedy(block: Recurrent, said: str) -> None:
    spec = Spec(inputs=(Port(name="x", size=block.input_size),), blocks=(block,), outputs=("r",))
    zeros = {n: np.zeros(s, np.float32) for n, s in spec.parameters().items()}
    with pytest.raises(TaskError, match=f"block 'r' .*{said}"):
        quantized(spec, zeros, {})


def test_the_widest_layers_are_held_and_a_wider_linear_one_stays_float32() -> None:
    blocks = (
        Linear(name="wide", inputs=("x",), input_size=MOST_INPUTS + 1, output_size=MOST_INPUTS),
        Linear(name="y", inputs=("wide",), input_size=MOST_INPUTS, output_size=2),
    )
    assert [refusal(block) is None for block in blocks] == [False, True]
    spec = Spec(inputs=(Port(name="x", size=MOST_INPUTS + 1),), blocks=blocks, outputs=("y",))
    own = quantized(spec, floats(spec), {"wide": 1.0, "y": 200.0})
    assert set(own.exponents) == {"y"}
    np.testing.assert_array_equal(own["wide.weight"], floats(spec)["wide.weight"])
    x = np.random.default_rng(0).normal(size=(1, 2, MOST_INPUTS + 1)).astype(np.float32) / 100
    float32, int8 = (Predictor(spec, weights).run({"x": x}).outputs["y"] for weights in (floats(spec), own))
    np.testing.assert_allclose(int8, float32, atol=0.02 * np.abs(float32).max())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("r.bias_ih_l0", 200.0, "r.bias_ih_l0 holds 200.*smaller weights"),
        ("r.weight_ih_l0", 1e9, "weight 'r.weight_ih_l0' holds more"),
        ("r.weight_hh_l1", 3e38, "weight 'r.weight_hh_l1' holds more"),
        ("e.weight", 1e30, "weight 'e.weight' holds more"),
        ("y.weight", 1e30, "weight 'y.weight' holds more"),
        ("y.bias", 1e30, "y.bias holds 1e.30"),
    ],
)
def test_weights_that_whole_numbers_do_not_hold_are_refused(name: str, value: float, said: str) -> None:
    spec = letters()
    weights = floats(spec)
    weights[name][0] = value
    with np.errstate(all="raise"), pytest.raises(TaskError, match=said):
        quantized(spec, weights, {"r": 2.0, "y": 1.0})


def arrays() -> dict[str, np.ndarray]:
    return weight_arrays(net()[1], "")


def read(found: dict[str, np.ndarray]) -> NetWeights:
    weights = weights_of(found)
    Predictor(letters(), weights)
    assert isinstance(weights, NetWeights)
    return weights


def test_arrays_of_a_file_come_back() -> None:
    _, own = net()
    found = read(arrays())
    assert found.exponents == own.exponents
    for name, weight in own.items():
        np.testing.assert_array_equal(found[name], weight)
    kinds = {str(array.dtype) for array in arrays().values()}
    assert kinds == {"int8", "int16", "float32"}


W, S, E = "r.weight_ih_l0", "r.weight_ih_l0.scale", "r.exponents"
F32, I16 = np.float32, np.int16
ALTERED = {
    "int8 of -128": {W: lambda a: np.full_like(a, -128)},
    "a scale missing": {S: None},
    "a scale of another shape": {S: lambda a: a[:-1]},
    "a scale of two dimensions": {S: lambda a: a[:, None]},
    "a scale of float64": {S: lambda a: a.astype(np.float64)},
    "a scale of whole numbers": {S: lambda a: a.astype(I16)},
    "a scale of NaN": {S: lambda a: a * F32(np.nan)},
    "a scale of Inf": {S: lambda a: a + F32(np.inf)},
    "a negative scale": {S: lambda a: -a},
    "a huge scale": {S: lambda a: a * F32(1e30)},
    "a scale of a scale": {"r.weight_ih_l0.scale.scale": np.ones(18, F32)},
    "a scale of nothing": {"z.weight.scale": np.ones(3, F32)},
    "a scale of a bias": {"r.bias_ih_l0.scale": np.ones(18, F32)},
    "float weights with a scale": {W: lambda a: a.astype(F32)},
    "whole weights without exponents": {E: None},
    "no exponents at all": dict.fromkeys(("e.exponents", E, "y.exponents")),
    "exponents of float weights": {S: None, W: lambda a: a.astype(F32)},
    "exponents of another length": {E: lambda a: a[:1]},
    "no exponent": {E: lambda a: a[:0]},
    "exponents of two dimensions": {E: lambda a: a[None]},
    "exponents of int64": {E: lambda a: a.astype(np.int64)},
    "exponents of floats": {E: lambda a: a.astype(F32)},
    "exponents too low": {E: lambda a: a * 0 + I16(-17)},
    "exponents too high": {E: lambda a: a * 0 + I16(31)},
    "exponents far out": {E: lambda a: a * 0 + I16(-32768)},
    "exponents of nothing": {"z.exponents": np.ones(1, I16)},
    "int8 where float32 belongs": {"r.bias_ih_l0": lambda a: a.astype(np.int8)},
    "weights of one dimension": {W: lambda a: a.reshape(-1)},
    "a bias beyond": {"r.bias_ih_l0": lambda a: a + F32(129.0)},
    "a linear bias beyond": {"y.bias": lambda a: a + F32(1e30)},
    "a bias of NaN": {"y.bias": lambda a: a * F32(np.nan)},
    "one block of floats": {"y.weight": lambda a: a.astype(F32), "y.weight.scale": None, "y.exponents": None},
}


@pytest.mark.parametrize("what", ALTERED)
def test_altered_arrays_are_refused(what: str) -> None:
    found = arrays()
    for name, change in ALTERED[what].items():
        if change is None:
            del found[name]
        else:
            found[name] = change(found[name]) if callable(change) else change
    with np.errstate(all="raise"), pytest.raises(FormatError) as caught:
        read(found)
    assert len(str(caught.value)) < 500


def test_a_shared_table_in_two_units_is_refused() -> None:
    spec = Spec(
        inputs=(Port(name="x", size=4),),
        blocks=(
            Linear(name="a", inputs=("x",), input_size=4, output_size=4, table="t"),
            Linear(name="b", inputs=("a",), input_size=4, output_size=4, table="t"),
        ),
        outputs=("b",),
    )
    own = quantized(spec, floats(spec), {"a": 1.0, "b": 1.0})
    check_net(spec, own)
    other = NetWeights(own, own.scales, {**own.exponents, "b": (3, 5)})
    with pytest.raises(FormatError, match="in other units"):
        check_net(spec, other)


def test_ranges_that_no_exponent_holds_are_refused() -> None:
    rng = np.random.default_rng(0)
    shapes = {"weight_ih_l0": (24, 3), "weight_hh_l0": (24, 8), "bias_ih_l0": (24,), "bias_hh_l0": (24,)}
    layer = Bare("gru", {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()})
    with pytest.raises(TaskError, match=r"reads numbers up to 2e\+10, whole numbers hold 5\.37e\+08"):
        layer.quantize("int8", np.full((4, 3), 1e10, np.float32))
