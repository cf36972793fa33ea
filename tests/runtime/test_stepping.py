"""A net followed step by step has the bits of the whole sequence, whatever its blocks; what reads the future is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate import native
from tidegate.errors import TaskError
from tidegate.runtime.calibrate import ranges
from tidegate.runtime.int8 import quantized
from tidegate.runtime.predictor import Predictor
from tidegate.runtime.stepping import Plan
from tidegate.spec import (
    Activation,
    Add,
    Attend,
    Block,
    Concat,
    Dropout,
    Embed,
    Last,
    Linear,
    Norm,
    Pool,
    Port,
    Position,
    Recurrent,
    Spec,
    Take,
)

H = 21
NUMBERS = Port(name="x", size=4)
CODES = Port(name="tokens", size=2, shape="tokens")


def read(source: str = "x", size: int = 4, cell: str = "lstm", name: str = "read") -> Recurrent:
    return Recurrent(name=name, inputs=(source,), cell=cell, input_size=size, hidden_size=H, num_layers=2)  # type: ignore[arg-type]


def head(source: str) -> Linear:
    return Linear(name="y", inputs=(source,), input_size=H, output_size=5)


CASES: dict[str, Spec] = {
    "numbers": Spec(inputs=(NUMBERS,), blocks=(read(), head("read")), outputs=("y",)),
    "bare": Spec(inputs=(NUMBERS,), blocks=(read(cell="gru"),), outputs=("read",)),
    "mean": Spec(inputs=(NUMBERS,), blocks=(read(), Pool(name="p", inputs=("read",), how="mean"), head("p")), outputs=("y",)),
    "max": Spec(inputs=(NUMBERS,), blocks=(read(), Pool(name="p", inputs=("read",), how="max"), head("p")), outputs=("y", "p")),
    "last": Spec(
        inputs=(NUMBERS,),
        blocks=(Dropout(name="d", inputs=("x",), p=0.3), read("d", cell="rnn_tanh"), Last(name="p", inputs=("read",)), head("p")),
        outputs=("y",),
    ),
    "two codes": Spec(
        inputs=(CODES,),
        blocks=(
            Embed(name="a", inputs=("tokens",), num_embeddings=7, embedding_dim=3),
            Embed(name="b", inputs=("tokens",), num_embeddings=6, embedding_dim=2, column=1),
            Concat(name="e", inputs=("a", "b")), read("e", 5), Norm(name="n", inputs=("read",), size=H),
            Activation(name="bent", inputs=("n",), function="relu"), head("bent"),
        ),
        outputs=("y",),
    ),
    "two ways round": Spec(
        inputs=(NUMBERS, Port(name="z", size=4)),
        blocks=(
            Add(name="s", inputs=("x", "z")), read("s"), read("z", cell="gru", name="other"),
            Add(name="both", inputs=("read", "other")), Take(name="some", inputs=("both",), start=2, size=H - 4),
            Linear(name="y", inputs=("some",), input_size=H - 4, output_size=2, bias=False),
        ),
        outputs=("y", "some"),
    ),
}  # fmt: skip


def predictor(spec: Spec, dtype: str, *, core: bool | None) -> Predictor:
    rng = np.random.default_rng(3)
    kind = "float32" if dtype == "int8" else dtype
    weights = {n: rng.normal(0, 0.5, s).astype(kind) for n, s in spec.parameters().items()}
    if dtype == "int8":
        weights = quantized(spec, weights, ranges(spec, weights, {"read": 2.0, "other": 2.0, "y": 2.0}))
    return Predictor(spec, weights, native=core)


def inputs(spec: Spec, steps: int, dtype: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    found: dict[str, np.ndarray] = {}
    for port in spec.inputs:
        sizes = 1, steps, port.size
        kind = "float32" if dtype == "int8" else dtype
        found[port.name] = rng.integers(0, 6, sizes) if port.shape == "tokens" else rng.normal(size=sizes).astype(kind)
    return found


@pytest.mark.parametrize(
    "core", [False, pytest.param(None, marks=pytest.mark.skipif(not native.available(), reason="needs the core"))]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
@pytest.mark.parametrize("case", CASES)
def test_every_step_has_the_bits_of_the_sequence_so_far(case: str, dtype: str, core: bool | None) -> None:
    net = predictor(CASES[case], dtype, core=core)
    plan, given = Plan(net), inputs(net.spec, 6, dtype)
    state = plan.start()
    assert {f.name: tuple(state[f.name].shape) for f in plan.fields} == {f.name: f.shape for f in plan.fields}
    push = plan.bind(state)
    for t in range(6):
        found = {n: np.array(v) for n, v in push({n: v[0, t] for n, v in given.items()}).items()}
        wanted = net.run({n: v[:, : t + 1] for n, v in given.items()})
        for name, value in found.items():
            whole = wanted.outputs[name][0]
            within = {"rtol": 0.0, "atol": 0.0} if core is None or dtype == "int8" else {"rtol": 1e-5, "atol": 1e-6}
            np.testing.assert_allclose(value, whole[-1] if whole.ndim == 2 else whole, **within)


CHAIN = Spec(
    inputs=(Port(name="tokens", size=1, shape="tokens"),),
    blocks=(Embed(name="e", inputs=("tokens",), num_embeddings=7, embedding_dim=4), read("e"), head("read")),
    outputs=("y",),
)


@pytest.mark.skipif(not native.available(), reason="needs the core")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [*CASES, "chain"])
def test_many_rows_at_once_have_the_bits_of_each(case: str, dtype: str) -> None:
    """Of different histories, in any mix and order."""
    net = predictor(CASES.get(case, CHAIN), dtype, core=True)
    plan, given, rng = Plan(net), inputs(net.spec, 200, dtype), np.random.default_rng(0)
    many, alone = ([plan.start() for _ in range(9)] for _ in range(2))
    pushes = [plan.bind(state) for state in alone]
    for _ in range(8):
        mix, at = rng.permutation(9)[: rng.integers(1, 10)].tolist(), rng.integers(200, size=9)
        said = plan.step_rows([many[k] for k in mix], {n: v[0, at[mix]] for n, v in given.items()})
        assert said is not None
        for row, k in enumerate(mix):
            for name, value in pushes[k]({n: v[0, at[k]] for n, v in given.items()}).items():
                np.testing.assert_array_equal(said[name][row], value)
    for here, there in zip(many, alone, strict=True):
        assert all(np.array_equal(here[name], there[name]) for name in there)
    assert Plan(predictor(CASES.get(case, CHAIN), dtype, core=False)).step_rows(many, {}) is None


@pytest.mark.parametrize("case", ["mean", "numbers", "two codes"])
def test_a_copied_state_goes_its_own_way(case: str) -> None:
    net = predictor(CASES[case], "float32", core=None)
    plan, given = Plan(net), inputs(net.spec, 6, "float32")
    state = plan.start()
    push = plan.bind(state)
    for t in range(3):
        push({n: v[0, t] for n, v in given.items()})
    twin = {name: value.copy() for name, value in state.items()}
    first = [push({n: v[0, t] for n, v in given.items()})["y"].copy() for t in (3, 4, 5)]
    other = plan.bind(twin)
    np.testing.assert_array_equal([other({n: v[0, t] for n, v in given.items()})["y"].copy() for t in (3, 4, 5)], first)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (Recurrent(name="b", inputs=("x",), cell="gru", input_size=4, hidden_size=4, bidirectional=True), "bidirectional=False"),
        (Position(name="b", inputs=("x",), size=4, steps=9), "depends on the place"),
        (Attend(name="b", inputs=("s", "x")), "pooling='last', 'mean' or 'max'"),
        (Last(name="b", inputs=("x",), both=True), "bidirectional=False"),
    ],
)
def test_what_reads_the_future_is_refused_with_the_remedy(block: Block, reason: str) -> None:
    scores = Linear(name="s", inputs=("x",), input_size=4, output_size=1)
    spec = Spec(inputs=(NUMBERS,), blocks=(scores, block), outputs=("b",))
    with pytest.raises(TaskError, match=f"'b'.*{reason}"):
        Plan(predictor(spec, "float32", core=None))


def test_a_port_without_steps_is_refused() -> None:
    out = Linear(name="y", inputs=("x",), input_size=4, output_size=1)
    spec = Spec(inputs=(Port(name="x", size=4, shape="vector"),), blocks=(out,), outputs=("y",))
    with pytest.raises(TaskError, match="'x' has no steps"):
        Plan(predictor(spec, "float32", core=None))
