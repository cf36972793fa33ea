"""A prepared step: the bits of Predictor.run, for every cell, dtype and depth; other nets go block by block."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate import native
from tidegate.errors import ShapeError
from tidegate.runtime.follow import followed
from tidegate.runtime.native_ops import NativeOps
from tidegate.runtime.predictor import Predictor
from tidegate.runtime.stepping import Plan
from tidegate.spec import Block, Dropout, Embed, Linear, Norm, Port, Recurrent, Spec

V, E, H = 11, 6, 17
CODES = [int(code) for code in np.random.default_rng(4).integers(0, V, 40)]


def net(cell: str = "lstm", layers: int = 2, *, norm: bool = False, bias: bool = True, h: int = H, v: int = V) -> Spec:
    blocks: list[Block] = [
        Embed(name="e", inputs=("tokens",), num_embeddings=v, embedding_dim=E),
        Dropout(name="d", inputs=("e",), p=0.5, locked=True),
        Recurrent(name="r", inputs=("d",), cell=cell, input_size=E, hidden_size=h, num_layers=layers),
        *([Norm(name="n", inputs=("r",), size=h)] if norm else []),
        Linear(name="out", inputs=("n" if norm else "r",), input_size=h, output_size=v, bias=bias),
    ]
    return Spec(inputs=(Port(name="tokens", size=1, shape="tokens"),), blocks=tuple(blocks), outputs=("out",))


def predictor(spec: Spec, dtype: str = "float32", *, core: bool | None = None) -> Predictor:
    rng = np.random.default_rng(3)
    weights = {name: rng.normal(0, 0.5, shape).astype(dtype) for name, shape in spec.parameters().items()}
    return Predictor(spec, weights, native=core)


def check(own: Predictor, *, core: bool = True) -> None:
    """Code by code, from a state that is not zero, as the whole sequence: the same bits on the core."""
    begun = own.run({"tokens": np.array([[[2], [7]]])}).state
    before = begun.copy()
    push = followed(own, begun)
    got = np.stack([push(code).copy() for code in CODES])
    wanted = own.run({"tokens": np.array(CODES)[None, :, None]}, begun).outputs["out"][0]
    np.testing.assert_allclose(got, wanted, **({"rtol": 0, "atol": 0} if core else {"rtol": 1e-5, "atol": 1e-6}))
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(begun, before)  # the caller's state is untouched


@pytest.mark.skipif(not native.available(), reason="needs the native core")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru"])
def test_a_prepared_step_has_the_bits_of_the_sequence(cell: str, layers: int, dtype: str) -> None:
    own = predictor(net(cell, layers, bias=layers > 1), dtype, core=True)
    assert isinstance(own.ops, NativeOps)
    assert Plan(own)._chain is not None
    check(own)


@pytest.mark.skipif(not native.available(), reason="needs the native core")
@pytest.mark.parametrize("h", [1, 8, 16, 32, 64, 80, 100, 112, 150])
@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
def test_blocks_of_units_side_by_side_have_the_bits_of_the_sequence(cell: str, h: int) -> None:
    check(predictor(net(cell, 2, h=h), core=True))


@pytest.mark.skipif(not native.available(), reason="needs the native core")
def test_a_vocabulary_too_large_to_keep_its_products_has_the_same_bits() -> None:
    check(predictor(net(v=20_000, h=64), core=True))


@pytest.mark.parametrize("core", [False, None])
def test_other_nets_and_numpy_go_block_by_block(core: bool | None) -> None:
    own = predictor(net(norm=core is None), core=core)
    assert Plan(own)._chain is None
    check(own, core=core is None and native.available())


def test_two_that_follow_one_net_do_not_meet() -> None:
    own = predictor(net())
    first, second = (followed(own, own.initial_state()) for _ in range(2))
    alone = followed(own, own.initial_state())
    for code in CODES:
        second(V - 1 - code)
        np.testing.assert_array_equal(first(code), alone(code))


@pytest.mark.parametrize("code", [-1, V])
def test_a_code_that_the_net_has_not_is_refused(code: int) -> None:
    own = predictor(net())
    with pytest.raises(ShapeError, match=f"{code}"):
        followed(own, own.initial_state())(code)
