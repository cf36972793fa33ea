"""The battery: what every block and every spec must pass. In: a Case. Out: nothing, or a failed assertion.

A Case is a spec with the steps of each of its sequences; weights and inputs are asymmetric random numbers. `CHECKS` lists the
checks, `CASES` one case a block kind and several whole nets; tests/blocks/test_graph.py runs each on each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tidegate import format as container
from tidegate.blocks.graph import run
from tidegate.errors import TaskError
from tidegate.nn.ops import TorchOps
from tidegate.runtime.ops import NumpyOps
from tidegate.runtime.predictor import Output, Predictor
from tidegate.spec import (
    Activation,
    Add,
    Block,
    Concat,
    Dropout,
    Embed,
    Fold,
    Last,
    Linear,
    Mix,
    Norm,
    Port,
    Position,
    Recurrent,
    Spec,
    Take,
    Unfold,
    spec_from_plain,
    spec_to_plain,
)

# Rounding of sums of some dozen terms over some dozen steps: a few hundred units in the last place of numbers near 1.
TOL = {"float64": {"atol": 1e-12, "rtol": 1e-10}, "float32": {"atol": 2e-6, "rtol": 1e-5}}
# Gradients of weights add B*T such numbers once more.
GRADIENT_TOL = {"float64": {"atol": 1e-11, "rtol": 1e-9}, "float32": {"atol": 2e-5, "rtol": 1e-4}}
BATCH = 4

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A spec and the steps of its sequences; `unit`: lengths of a port are its multiples; `refused`: what no stream steps."""

    spec: Spec
    steps: Mapping[str, int] = field(default_factory=lambda: {"x": 6})
    unit: Mapping[str, int] = field(default_factory=dict)
    refused: str | None = None

    def weights(self, dtype: str = "float64", seed: int = 0) -> dict[str, npt.NDArray[np.floating]]:
        rng = np.random.default_rng(seed)
        return {name: rng.uniform(-0.7, 0.9, shape).astype(dtype) for name, shape in self.spec.parameters().items()}

    def inputs(self, dtype: str = "float64", seed: int = 1) -> Arrays:
        rng = np.random.default_rng(seed)
        return {
            port.name: self._input(port, rng).astype("int64" if port.shape == "codes" else dtype) for port in self.spec.inputs
        }

    def _input(self, port: Port, rng: np.random.Generator) -> npt.NDArray[np.generic]:
        if port.shape == "codes":
            return rng.integers(0, 3, (BATCH, port.size))
        return rng.normal(size=(BATCH, self.steps[port.name], port.size) if port.shape == "sequence" else (BATCH, port.size))

    def lengths(self) -> dict[str, npt.NDArray[np.int64]]:
        """Whole, none, and two lengths between, the same share in every port."""
        shares = np.array([1.0, 0.0, 0.5, 0.34])
        return {p: (np.ceil(shares * (t // self._unit(p))) * self._unit(p)).astype(np.int64) for p, t in self.steps.items()}

    def _unit(self, port: str) -> int:
        return self.unit.get(port, 1)


def predict(
    case: Case, inputs: Mapping[str, npt.ArrayLike], lengths: Mapping[str, npt.ArrayLike] | None, dtype: str = "float64"
) -> Output:
    return Predictor(case.spec, case.weights(dtype)).run(inputs, None, lengths)


def assert_same(got: Mapping[str, npt.ArrayLike], expected: Mapping[str, npt.ArrayLike], dtype: str = "float64") -> None:
    assert set(got) == set(expected)
    for name in expected:
        np.testing.assert_allclose(np.asarray(got[name]), np.asarray(expected[name]), **TOL[dtype], err_msg=name)


def check_torch_equals_numpy(case: Case) -> None:
    for dtype in TOL:
        for lengths in (None, case.lengths()):
            for fused in (True, False):
                inputs, weights = case.inputs(dtype), case.weights(dtype)
                there = run(
                    TorchOps(fused=fused), case.spec, _tensors(weights), _tensors(inputs), _tensors(lengths) if lengths else None
                )
                here = run(NumpyOps(), case.spec, weights, inputs, lengths)
                assert_same(there.outputs, here.outputs, dtype)
                assert_same(there.state, here.state, dtype)
                assert all(y.dtype == np.dtype(dtype) for y in [*here.outputs.values(), *here.state.values()])
                assert all(str(y.dtype) == f"torch.{dtype}" for y in [*there.outputs.values(), *there.state.values()])


def _tensors(arrays: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def check_step_equals_sequence(case: Case) -> None:
    predictor, inputs = Predictor(case.spec, case.weights()), case.inputs()
    if case.refused is not None:
        with pytest.raises(TaskError, match=f"block '{case.refused}'.*use run"):
            predictor.stream()
        return
    whole = predictor.run(inputs)
    stream = predictor.stream(BATCH)
    steps = next(iter(case.steps.values()), 1)
    pushed = [stream.push({n: x[:, t] if n in case.steps else x for n, x in inputs.items()}) for t in range(steps)]
    for name, y in whole.outputs.items():
        for t in range(steps):
            np.testing.assert_allclose(pushed[t][name], y[:, t] if y.ndim == 3 else y, **TOL["float64"])
    np.testing.assert_allclose(stream.state, whole.state, **TOL["float64"])


def check_chunks_carry_state(case: Case) -> None:
    if case.refused is not None:
        return
    predictor, inputs = Predictor(case.spec, case.weights()), case.inputs()
    whole, steps = predictor.run(inputs), next(iter(case.steps.values()), 1)
    for cut in range(steps + 1):  # a piece of no steps too
        pieces = [{n: x[:, part] if n in case.steps else x for n, x in inputs.items()} for part in (slice(cut), slice(cut, None))]
        first = predictor.run(pieces[0])
        second = predictor.run(pieces[1], first.state)
        for name, y in whole.outputs.items():
            if y.ndim == 3:
                np.testing.assert_allclose(np.concatenate([first.outputs[name], second.outputs[name]], 1), y, **TOL["float64"])
        np.testing.assert_allclose(second.state, whole.state, **TOL["float64"])


def check_row_alone_equals_row_in_batch(case: Case) -> None:
    inputs, lengths = case.inputs(), case.lengths()
    whole = predict(case, inputs, lengths)
    for row in range(BATCH):
        own = {n: x[row : row + 1, : lengths[n][row]] if n in case.steps else x[row : row + 1] for n, x in inputs.items()}
        alone = predict(case, own, None)
        np.testing.assert_allclose(alone.state[0], whole.state[row], **TOL["float64"])
        for name, y in alone.outputs.items():
            together = whole.outputs[name][row]
            assert not together[y.shape[1] :].any() if y.ndim == 3 else True, "outputs past the length are 0"
            np.testing.assert_allclose(y[0], together[: y.shape[1]] if y.ndim == 3 else together, **TOL["float64"])


def check_padding_value_is_irrelevant(case: Case) -> None:
    inputs, lengths = case.inputs(), case.lengths()
    plain = predict(case, inputs, lengths)
    for value in (np.nan, 1e30, np.inf):
        filled = {n: _padded_with(x, lengths[n], value) if n in case.steps else x for n, x in inputs.items()}
        other = predict(case, filled, lengths)
        assert np.array_equal(other.state, plain.state)
        assert all(np.array_equal(other.outputs[n], plain.outputs[n]) for n in plain.outputs)
        for fused in (True, False):
            _check_gradients_ignore_padding(case, inputs, filled, lengths, fused)


def _padded_with(x: npt.NDArray[np.generic], lengths: npt.NDArray[np.int64], value: float) -> npt.NDArray[np.generic]:
    return np.where((np.arange(x.shape[1]) < lengths[:, None])[..., None], x, value)


def _check_gradients_ignore_padding(case: Case, inputs: Arrays, filled: Arrays, lengths: Arrays, fused: bool) -> None:
    grads = []
    for x in (inputs, filled):
        weights = {n: w.requires_grad_() for n, w in _tensors(case.weights()).items()}
        ran = run(TorchOps(fused=fused), case.spec, weights, _tensors(x), _tensors(lengths))
        loss = sum((y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)).sum() for y in ran.outputs.values())
        used = list(weights.values()) if loss.requires_grad else []
        grads.append(torch.autograd.grad(loss, used, allow_unused=True) if used else ())
    for plain, other in zip(*grads, strict=True):
        assert plain is None or torch.equal(plain, other)


def check_spec_survives_json(case: Case) -> None:
    text = json.dumps(spec_to_plain(case.spec))
    assert spec_from_plain(json.loads(text)) == case.spec
    assert json.dumps(spec_to_plain(spec_from_plain(json.loads(text)))) == text


def check_save_and_load_are_exact(case: Case) -> None:
    for dtype in TOL:
        body = container.dump("model", {"spec": spec_to_plain(case.spec)}, case.weights(dtype))
        file = container.parse(body)
        loaded = Predictor(spec_from_plain(file.header["spec"]), file.arrays)
        before, after = (
            predict(case, case.inputs(dtype), case.lengths(), dtype),
            loaded.run(case.inputs(dtype), None, case.lengths()),
        )
        assert np.array_equal(before.state, after.state)
        assert all(np.array_equal(before.outputs[n], after.outputs[n]) for n in before.outputs)


CHECKS: dict[str, Callable[[Case], None]] = {
    name.removeprefix("check_"): function for name, function in sorted(globals().items()) if name.startswith("check_")
}


def _one(block: Block, *, form: str = "sequence", size: int = 3, **case: object) -> Case:
    """A case of one block that reads a port `x`."""
    port = Port(name="x", size=size, shape=form)
    steps = {"x": 6} if form == "sequence" else {}
    return Case(spec=Spec(inputs=(port,), blocks=(block,), outputs=(block.name,)), steps=steps, **case)


def _recurrent(cell: str, **options: object) -> Case:
    block = Recurrent(name="layer", inputs=("x",), cell=cell, input_size=3, hidden_size=4, **options)
    return _one(block, refused="layer" if block.bidirectional else None)


def _x(size: int) -> tuple[Port, ...]:
    return (Port(name="x", size=size),)


def _autoregressive() -> Spec:
    """A step net like the recursive forecaster: static vector and line identity beside the steps, candidates mixed."""
    return Spec(
        inputs=(Port(name="x", size=5), Port(name="static", size=2, shape="vector"), Port(name="line", size=2, shape="codes")),
        blocks=(
            Linear(name="step", inputs=("x",), input_size=5, output_size=4),
            Linear(name="still", inputs=("static",), input_size=2, output_size=4, bias=False),
            Embed(name="identity", inputs=("line",), num_embeddings=3, embedding_dim=4, column=1),
            Add(name="sum", inputs=("step", "still", "identity")),
            Activation(name="act", inputs=("sum",), function="relu"),
            Recurrent(name="decoder", inputs=("act",), cell="gru", input_size=4, hidden_size=4),
            Dropout(name="drop", inputs=("decoder",), p=0.3),
            Linear(name="raw_all", inputs=("drop",), input_size=4, output_size=2),
            Unfold(name="raw", inputs=("raw_all",), size=1),
            Linear(name="gate", inputs=("drop",), input_size=4, output_size=3),
            Take(name="candidates", inputs=("x",), start=1, size=3),
            Mix(name="base", inputs=("gate", "candidates")),
        ),
        outputs=("raw", "base"),
    )


def _encoder_decoder(cell: str) -> Spec:
    return Spec(
        inputs=(Port(name="x", size=3), Port(name="future", size=2)),
        blocks=(
            Recurrent(name="encoder", inputs=("x",), cell=cell, input_size=3, hidden_size=4, num_layers=2),
            Recurrent(name="decoder", inputs=("future", "encoder"), cell=cell, input_size=2, hidden_size=4, num_layers=2),
            Linear(name="y", inputs=("decoder",), input_size=4, output_size=2),
        ),
        outputs=("y",),
    )


def _stacked() -> Spec:
    """Pre-norm residual layers."""
    blocks: list[Block] = [Linear(name="in0", inputs=("x",), input_size=3, output_size=4)]
    for k in range(3):
        blocks += [
            Norm(name=f"norm{k}", inputs=(f"in{k}",), size=4),
            Recurrent(name=f"cell{k}", inputs=(f"norm{k}",), cell="lstm", input_size=4, hidden_size=4),
            Dropout(name=f"drop{k}", inputs=(f"cell{k}",), p=0.1),
            Add(name=f"in{k + 1}", inputs=(f"in{k}", f"drop{k}")),
        ]
    return Spec(inputs=_x(3), blocks=tuple(blocks), outputs=("in3", "cell0"))


def _segments() -> Spec:
    """Like the direct forecaster: segments in, a context, segments of the horizon out."""
    return Spec(
        inputs=(Port(name="x", size=2), Port(name="calendar", size=1), Port(name="future", size=1)),
        blocks=(
            Fold(name="folded", inputs=("x",), size=3),
            Concat(name="past", inputs=("calendar", "folded")),
            Recurrent(name="encoder", inputs=("past",), cell="gru", input_size=7, hidden_size=4, bidirectional=True),
            Last(name="encoded", inputs=("encoder",)),
            Linear(name="context", inputs=("encoded",), input_size=8, output_size=6),
            Fold(name="horizon", inputs=("future",), size=3),
            Linear(name="placed_in", inputs=("horizon",), input_size=3, output_size=6),
            Position(name="placed", inputs=("placed_in",), steps=2, size=6),
            Add(name="sum", inputs=("context", "placed")),
            Concat(name="all", inputs=("context", "sum")),
            Unfold(name="y", inputs=("all",), size=3),
        ),
        outputs=("y", "encoded"),
    )


def _linear_before() -> Spec:
    """Blocks that read padding before and after a recurrent one."""
    return Spec(
        inputs=_x(3),
        blocks=(
            Linear(name="first", inputs=("x",), input_size=3, output_size=4),
            Norm(name="norm", inputs=("first",), size=4),
            Recurrent(name="layer", inputs=("norm",), cell="rnn_relu", input_size=4, hidden_size=4),
            Activation(name="act", inputs=("layer",), function="sigmoid"),
            Mix(name="y", inputs=("act", "norm")),
        ),
        outputs=("y", "norm"),
    )


CASES: dict[str, Case] = {
    "linear": _one(Linear(name="y", inputs=("x",), input_size=3, output_size=2)),
    "linear of a vector": _one(Linear(name="y", inputs=("x",), input_size=3, output_size=2, bias=False), form="vector"),
    **{f: _one(Activation(name="y", inputs=("x",), function=f)) for f in ("relu", "tanh", "sigmoid")},
    "embed": _one(Embed(name="y", inputs=("x",), num_embeddings=3, embedding_dim=4, column=1), form="codes", size=2),
    "norm": _one(Norm(name="y", inputs=("x",), size=3)),
    "concat": _one(Concat(name="y", inputs=("x", "x"))),
    "add": _one(Add(name="y", inputs=("x", "x"))),
    "dropout": _one(Dropout(name="y", inputs=("x",), p=0.5)),
    "fold": _one(Fold(name="y", inputs=("x",), size=3), unit={"x": 3}, refused="y"),
    "unfold": _one(Unfold(name="y", inputs=("x",), size=3), refused="y"),
    "last": _one(Last(name="y", inputs=("x",)), refused="y"),
    "position": _one(Position(name="y", inputs=("x",), steps=7, size=3), refused="y"),
    "take": _one(Take(name="y", inputs=("x",), start=1, size=2)),
    "mix": _one(Mix(name="y", inputs=("x", "x"))),
    **{cell: _recurrent(cell) for cell in ("rnn_tanh", "rnn_relu", "lstm", "gru")},
    **{f"{cell} x 3": _recurrent(cell, num_layers=3, dropout=0.2) for cell in ("rnn_tanh", "lstm", "gru")},
    **{f"{cell} both ways": _recurrent(cell, num_layers=2, bidirectional=True) for cell in ("rnn_relu", "lstm", "gru")},
    "autoregressive": Case(spec=_autoregressive()),
    "stacked": Case(spec=_stacked()),
    "linear before": Case(spec=_linear_before()),
    **{
        f"encoder-decoder {cell}": Case(spec=_encoder_decoder(cell), steps={"x": 6, "future": 4}, refused="decoder")
        for cell in ("lstm", "gru")
    },
    "segments": Case(spec=_segments(), steps={"x": 9, "calendar": 3, "future": 6}, unit={"x": 3, "future": 3}, refused="folded"),
}
