"""The battery: what every block and every spec must pass. In: a Case. Out: nothing, or a failed assertion.

A Case is a spec with the steps of each of its sequences; weights and inputs are asymmetric random numbers. `CHECKS` lists the
checks, `CASES` one case a block kind and several whole nets; tests/blocks/test_graph.py runs each on each. Every check holds of
NumPy's path and, where the core is installed, of the native one within a tolerance; `SAME_BITS` are the promises of the native
path alone, bit for bit, over `CASES` and `WIDE` (tests/runtime/test_same_bits.py).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tidegate import format as container
from tidegate import native
from tidegate.blocks.graph import Ran, run
from tidegate.errors import TaskError
from tidegate.nn.ops import TorchOps
from tidegate.runtime.calibrate import ranges
from tidegate.runtime.int8 import Watched, quantized
from tidegate.runtime.native_ops import NativeOps
from tidegate.runtime.ops import NumpyOps
from tidegate.runtime.predictor import Output, Predictor
from tidegate.spec import (
    CODED,
    TIMED,
    Activation,
    Add,
    Attend,
    Blend,
    Block,
    Concat,
    Crf,
    Dropout,
    Embed,
    Fold,
    Gather,
    Last,
    Linear,
    Match,
    Mix,
    Norm,
    Pool,
    Port,
    Position,
    Recurrent,
    Reverse,
    Shift,
    Spec,
    Take,
    Unfold,
    spec_from_plain,
    spec_to_plain,
)
from tidegate.tasks.translate import TranslateOptions
from tidegate.tasks.translate_nets import build_nets

# Rounding of sums of some dozen terms over some dozen steps: a few hundred units in the last place of numbers near 1.
TOL = {"float64": {"atol": 1e-12, "rtol": 1e-10}, "float32": {"atol": 2e-6, "rtol": 1e-5}}
# Gradients of weights add B*T such numbers once more.
GRADIENT_TOL = {"float64": {"atol": 1e-11, "rtol": 1e-9}, "float32": {"atol": 2e-5, "rtol": 1e-4}}
BATCH = 4
PATHS = (False, True) if native.available() else (False,)  # `native` of a Predictor

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A spec and the steps of its sequences; `unit`: lengths of a port are its multiples; `refused`: what no stream steps;
    `scale`: of the weights."""

    spec: Spec
    steps: Mapping[str, int] = field(default_factory=lambda: {"x": 6})
    unit: Mapping[str, int] = field(default_factory=dict)
    refused: str | None = None
    scale: float = 1.0

    def weights(self, dtype: str = "float64", seed: int = 0) -> Mapping[str, npt.NDArray[np.floating]]:
        """Of one dtype; "int8": of float32, in 8 bits, with the ranges of the case's own inputs."""
        if dtype == "int8":
            watched = Watched(self.weights("float32", seed))
            Predictor(self.spec, watched).run(self.inputs("float32"))
            return quantized(self.spec, watched, ranges(self.spec, watched, watched.highest))
        rng = np.random.default_rng(seed)
        shapes = self.spec.parameters()
        return {name: (self.scale * rng.uniform(-0.7, 0.9, shape)).astype(dtype) for name, shape in shapes.items()}

    def inputs(self, dtype: str = "float64", seed: int = 1) -> Arrays:
        rng = np.random.default_rng(seed)
        kind = "float32" if dtype == "int8" else dtype
        return {port.name: self._input(port, rng).astype("int64" if port.shape in CODED else kind) for port in self.spec.inputs}

    def _input(self, port: Port, rng: np.random.Generator) -> npt.NDArray[np.generic]:
        shape = (BATCH, self.steps[port.name], port.size) if port.shape in TIMED else (BATCH, port.size)
        return rng.integers(0, 3, shape) if port.shape in CODED else rng.normal(size=shape)

    def lengths(self) -> dict[str, npt.NDArray[np.int64]]:
        """Whole, none, and two lengths between, the same share in every port."""
        shares = np.array([1.0, 0.0, 0.5, 0.34])
        return {p: (np.ceil(shares * (t // self._unit(p))) * self._unit(p)).astype(np.int64) for p, t in self.steps.items()}

    def _unit(self, port: str) -> int:
        return self.unit.get(port, 1)


def predict(
    case: Case,
    inputs: Mapping[str, npt.ArrayLike],
    lengths: Mapping[str, npt.ArrayLike] | None,
    dtype: str = "float64",
    *,
    native: bool | None = None,
) -> Output:
    return Predictor(case.spec, case.weights(dtype), native=native).run(inputs, None, lengths)


def assert_same(got: Mapping[str, npt.ArrayLike], expected: Mapping[str, npt.ArrayLike], dtype: str = "float64") -> None:
    assert set(got) == set(expected)
    for name in expected:
        np.testing.assert_allclose(np.asarray(got[name]), np.asarray(expected[name]), **TOL[dtype], err_msg=name)


def check_torch_equals_numpy(case: Case) -> None:
    """NumPy's twin and the native core against torch, and so against each other."""
    for dtype in TOL:
        for lengths in (None, case.lengths()):
            inputs, weights = case.inputs(dtype), case.weights(dtype)
            for here in [run(NativeOps() if path else NumpyOps(), case.spec, weights, inputs, lengths) for path in PATHS]:
                assert all(y.dtype == np.dtype(dtype) for y in [*here.outputs.values(), *here.state.values()])
                for fused in (True, False):
                    _check_torch(case, here, inputs, lengths, dtype, fused)


def _check_torch(case: Case, here: Ran, inputs: Arrays, lengths: Arrays | None, dtype: str, fused: bool) -> None:
    weights = _tensors(case.weights(dtype))
    there = run(TorchOps(fused=fused), case.spec, weights, _tensors(inputs), _tensors(lengths) if lengths else None)
    assert_same(there.outputs, here.outputs, dtype)
    assert_same(there.state, here.state, dtype)
    assert all(str(y.dtype) == f"torch.{dtype}" for y in [*there.outputs.values(), *there.state.values()])


def _tensors(arrays: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def check_step_equals_sequence(case: Case) -> None:
    for path in PATHS:
        predictor = Predictor(case.spec, case.weights(), native=path)
        if case.refused is None:
            _check_steps(case, predictor, case.inputs())
            continue
        with pytest.raises(TaskError, match=f"block '{case.refused}'.*use run"):
            predictor.stream()


def _check_steps(case: Case, predictor: Predictor, inputs: Arrays) -> None:
    whole = predictor.run(inputs)
    stream = predictor.stream(BATCH)
    steps = next(iter(case.steps.values()), 1)
    pushed = [stream.push({n: x[:, t] if n in case.steps else x for n, x in inputs.items()}) for t in range(steps)]
    for name, y in whole.outputs.items():
        for t in range(steps):
            np.testing.assert_allclose(pushed[t][name], y[:, t] if y.ndim == 3 else y, **TOL["float64"])
    np.testing.assert_allclose(stream.state, whole.state, **TOL["float64"])


def check_chunks_carry_state(case: Case) -> None:
    for path in PATHS if case.refused is None else ():
        _check_chunks(case, Predictor(case.spec, case.weights(), native=path), case.inputs())


def _check_chunks(case: Case, predictor: Predictor, inputs: Arrays) -> None:
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
    for path in PATHS:
        _check_rows(case, path, case.inputs(), case.lengths())


def alone_of(case: Case, inputs: Arrays, lengths: Arrays, row: int) -> Arrays:
    """One row without its padding; items, which rows look up, are all there."""
    kept = {n: x for n, x in inputs.items() if n in items_of(case)}
    rows = {n: x[row : row + 1, : lengths[n][row]] if n in case.steps else x[row : row + 1] for n, x in inputs.items()}
    return {**rows, **kept}


def items_of(case: Case) -> set[str]:
    """Ports whose rows are not those of the batch."""
    return {port.name for port in case.spec.inputs if port.items}


def taken_of(case: Case, arrays: Arrays, rows: npt.NDArray[np.int64]) -> Arrays:
    """Some rows of every port but those of items."""
    return {n: x if n in items_of(case) else x[rows] for n, x in arrays.items()}


def _check_rows(case: Case, path: bool, inputs: Arrays, lengths: Arrays) -> None:
    whole = predict(case, inputs, lengths, native=path)
    for row in range(BATCH):
        own = {n: lengths[n] for n in items_of(case)}
        alone = predict(case, alone_of(case, inputs, lengths, row), own, native=path)
        np.testing.assert_allclose(alone.state[0], whole.state[row], **TOL["float64"])
        for name, y in alone.outputs.items():
            np.testing.assert_allclose(y[0], _within(whole.outputs[name][row], y), **TOL["float64"])


def _within(together: npt.NDArray[np.generic], alone: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """The part of a row of a batch that the row alone has; beyond its steps, and an alignment's keys, stands 0."""
    if alone.ndim != 3:
        return together
    steps, width = alone.shape[1:]
    assert not together[steps:].any(), "outputs past the length are 0"
    assert not together[:, width:].any(), "weights past the keys are 0"
    return together[:steps, :width]


def check_padding_value_is_irrelevant(case: Case) -> None:
    inputs, lengths = case.inputs(), case.lengths()
    for value in (np.nan, 1e30, np.inf):
        filled = {n: _padded_with(x, lengths[n], value) if n in case.steps else x for n, x in inputs.items()}
        for path in PATHS:
            plain, other = predict(case, inputs, lengths, native=path), predict(case, filled, lengths, native=path)
            assert np.array_equal(other.state, plain.state)
            assert all(np.array_equal(other.outputs[n], plain.outputs[n]) for n in plain.outputs)
        for fused in (True, False):
            _check_gradients_ignore_padding(case, inputs, filled, lengths, fused)


def _padded_with(x: npt.NDArray[np.generic], lengths: npt.NDArray[np.int64], value: float) -> npt.NDArray[np.generic]:
    """Of tokens, with a code that no table has."""
    filler = x.dtype.type(-7) if x.dtype.kind == "i" else value
    return np.where((np.arange(x.shape[1]) < lengths[:, None])[..., None], x, filler)


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


def assert_bits(got: npt.NDArray[np.generic], expected: npt.NDArray[np.generic], what: str) -> None:
    """Equal to the last bit, the sign of zeros included."""
    assert got.dtype == expected.dtype, what
    assert got.shape == expected.shape, what
    if got.tobytes() != expected.tobytes():
        differ = np.flatnonzero((got != expected).ravel())
        raise AssertionError(f"{what}: {len(differ)} of {got.size} values differ, first at {differ[:4]}")


def _assert_output_bits(got: Output, expected: Output, what: str) -> None:
    assert_bits(got.state, expected.state, f"{what}: state")
    for name, y in expected.outputs.items():
        assert_bits(got.outputs[name], y, f"{what}: {name}")


def bits_of_steps_and_pieces(case: Case, dtype: str) -> None:
    """Step by step, and in pieces of any size, as in one sequence."""
    if case.refused is not None:
        return
    predictor, inputs, steps = Predictor(case.spec, case.weights(dtype), native=True), case.inputs(dtype), case.steps.get("x", 1)
    whole = predictor.run(inputs)
    stream = predictor.stream(BATCH)
    for t in range(steps):
        pushed = stream.push({n: x[:, t] if n in case.steps else x for n, x in inputs.items()})
        for name, y in whole.outputs.items():
            assert_bits(pushed[name], y[:, t] if y.ndim == 3 else y, f"step {t}: {name}")
    assert_bits(stream.state, whole.state, "state after the last step")
    for edges in ([0, 0, 1, steps], [0, steps // 3, steps // 3 + 1, steps - 1, steps], [0, steps // 2, steps]):
        _check_pieces(case, predictor, inputs, whole, edges)


def _check_pieces(case: Case, predictor: Predictor, inputs: Arrays, whole: Output, edges: list[int]) -> None:
    state, pieces = None, []
    for start, stop in itertools.pairwise(edges):
        piece = predictor.run({n: x[:, start:stop] if n in case.steps else x for n, x in inputs.items()}, state)
        state = piece.state
        pieces.append(piece.outputs)
    assert_bits(state, whole.state, f"pieces {edges}: state")
    for name, y in whole.outputs.items():
        if y.ndim == 3:
            assert_bits(np.concatenate([p[name] for p in pieces], 1), y, f"pieces {edges}: {name}")


def bits_of_rows_and_batches(case: Case, dtype: str) -> None:
    """A row alone, in its batch, in a batch of another order and in one of 9 and of 61 rows."""
    predictor, inputs, lengths = Predictor(case.spec, case.weights(dtype), native=True), case.inputs(dtype), case.lengths()
    whole = predictor.run(inputs, None, lengths)
    for row in range(BATCH):
        alone = predictor.run(alone_of(case, inputs, lengths, row), None, {n: lengths[n] for n in items_of(case)})
        assert_bits(alone.state[0], whole.state[row], f"row {row} alone: state")
        for name, y in alone.outputs.items():
            assert_bits(y[0], _within(whole.outputs[name][row], y), f"row {row} alone: {name}")
    for rows in (np.array([2, 0, 3]), np.arange(9) % BATCH, np.arange(61) * 3 % BATCH):
        other = predictor.run(taken_of(case, inputs, rows), None, taken_of(case, lengths, rows))
        expected = Output({n: y[rows] for n, y in whole.outputs.items()}, whole.state[rows])
        _assert_output_bits(other, expected, f"{len(rows)} rows")


def bits_of_threads(case: Case, dtype: str) -> None:
    """1, 2 and 3 threads."""
    predictor, before = Predictor(case.spec, case.weights(dtype), native=True), native.get_num_threads()
    runs = []
    try:
        for threads in (1, 2, 3):
            native.set_num_threads(threads)
            runs.append([predictor.run(case.inputs(dtype), None, lengths) for lengths in (None, case.lengths())])
    finally:
        native.set_num_threads(before)
    for threads, other in zip((2, 3), runs[1:], strict=True):
        for got, expected in zip(other, runs[0], strict=True):
            _assert_output_bits(got, expected, f"{threads} threads")


def bits_of_padding_and_strides(case: Case, dtype: str) -> None:
    """What stands in the padding does not matter, nor how the arrays lie in memory."""
    predictor, inputs, lengths = Predictor(case.spec, case.weights(dtype), native=True), case.inputs(dtype), case.lengths()
    plain = predictor.run(inputs, None, lengths)
    for value in (np.nan, np.inf, -1e30):
        filled = {n: _padded_with(x, lengths[n], value).astype(x.dtype) if n in case.steps else x for n, x in inputs.items()}
        _assert_output_bits(predictor.run(filled, None, lengths), plain, f"padding {value}")
    for lay_out in (np.asfortranarray, _time_first, _every_other, _backwards):
        _assert_output_bits(predictor.run({n: lay_out(x) for n, x in inputs.items()}, None, lengths), plain, lay_out.__name__)


def _time_first(x: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1)


def _every_other(x: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return np.repeat(x, 2, axis=-1)[..., ::2]


def _backwards(x: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return np.ascontiguousarray(x[:, ::-1])[:, ::-1]


SAME_BITS: dict[str, Callable[[Case, str], None]] = {
    name.removeprefix("bits_of_"): function for name, function in sorted(globals().items()) if name.startswith("bits_of_")
}


def _one(block: Block, *, form: str = "sequence", size: int = 3, **case: object) -> Case:
    """A case of one block that reads a port `x`."""
    port = Port(name="x", size=size, shape=form)
    steps = {"x": 6} if form in TIMED else {}
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


def _tagger() -> Spec:
    """Tokens with a feature beside them, both ways, a score a label; and one for the whole row."""
    return Spec(
        inputs=(Port(name="x", size=2, shape="tokens"),),
        blocks=(
            Embed(name="word", inputs=("x",), num_embeddings=5, embedding_dim=3),
            Embed(name="form", inputs=("x",), num_embeddings=3, embedding_dim=2, column=1),
            Concat(name="both", inputs=("word", "form")),
            Recurrent(name="layer", inputs=("both",), cell="lstm", input_size=5, hidden_size=4, bidirectional=True),
            Linear(name="scores", inputs=("layer",), input_size=8, output_size=4),
            Pool(name="pooled", inputs=("layer",), how="max"),
            Linear(name="row", inputs=("pooled",), input_size=8, output_size=3),
        ),
        outputs=("scores", "row"),
    )


def _attended() -> Spec:
    """Attention pooling: scores of one linear layer weigh the rows themselves."""
    return Spec(
        inputs=(Port(name="x", size=3),),
        blocks=(Linear(name="scores", inputs=("x",), input_size=3, output_size=1), Attend(name="y", inputs=("scores", "x"))),
        outputs=("y",),
    )


def _spelt() -> Spec:
    """Words by code and by their letters, which stand once for every word of the batch; a chain of tags over them."""
    return Spec(
        inputs=(
            Port(name="x", size=1, shape="tokens"),
            Port(name="letters", size=1, shape="tokens", items=True),
            Port(name="spelt", size=1, shape="tokens"),
        ),
        blocks=(
            Embed(name="word", inputs=("x",), num_embeddings=3, embedding_dim=2),
            Embed(name="letter", inputs=("letters",), num_embeddings=3, embedding_dim=2),
            Recurrent(name="spell", inputs=("letter",), cell="lstm", input_size=2, hidden_size=3, bidirectional=True),
            Last(name="ends", inputs=("spell",), both=True),
            Gather(name="spelling", inputs=("ends", "spelt")),
            Concat(name="both", inputs=("word", "spelling")),
            Recurrent(name="read", inputs=("both",), cell="gru", input_size=8, hidden_size=3),
            Linear(name="scores", inputs=("read",), input_size=3, output_size=4),
            Crf(name="chain", inputs=("scores",), size=4),
        ),
        outputs=("chain",),
    )


def _aligned(scoring: str, size: int = 3) -> Case:
    """Queries look at keys and blend values of another length."""
    ports = [Port(name=n, size=k) for n, k in (("x", size), ("keys", size), ("values", 2))]
    blocks = (
        Match(name="alignment", inputs=("x", "keys"), size=size, scoring=scoring),
        Blend(name="y", inputs=("alignment", "values")),
    )
    spec = Spec(inputs=tuple(ports), blocks=blocks, outputs=("alignment", "y"))
    return Case(spec=spec, steps={"x": 5, "keys": 7, "values": 7}, refused="alignment")


def _from_vector(cell: str) -> Case:
    """A recurrent block whose whole initial state is a vector."""
    size = 2 * 4 * (2 if cell == "lstm" else 1)
    block = Recurrent(name="layer", inputs=("x", "start"), cell=cell, input_size=3, hidden_size=4, num_layers=2)
    ports = (Port(name="x", size=3), Port(name="start", size=size, shape="vector"))
    return Case(spec=Spec(inputs=ports, blocks=(block,), outputs=("layer",)), refused="layer")


def _translator(part: str, **options: object) -> Case:
    """An encoder-decoder's parts, with tied vectors."""
    own = TranslateOptions(hidden_size=6, embedding_dim=5, dropout=0.2, **options)
    spec = getattr(build_nets(own, 4, 4), part)
    steps = {port.name: 4 if port.name == "previous" else 6 for port in spec.inputs if port.shape in TIMED}
    return Case(spec=spec, steps=steps, refused="written" if part == "decoder" else "read" if own.bidirectional else "context")


def _next_token(table: str | None = None) -> Spec:
    """A language model's net: steps, and carries its state."""
    size = 5 if table is None else 3
    return Spec(
        inputs=(Port(name="x", size=1, shape="tokens"),),
        blocks=(
            Embed(name="word", inputs=("x",), num_embeddings=4, embedding_dim=3, table=table),
            Recurrent(name="layer", inputs=("word",), cell="gru", input_size=3, hidden_size=size, num_layers=2),
            Linear(name="scores", inputs=("layer",), input_size=size, output_size=4, table=table),
        ),
        outputs=("scores",),
    )


def _both_contexts() -> Spec:
    """What stands before a step and what stands after it: a net that never sees the step itself."""
    return Spec(
        inputs=_x(3),
        blocks=(
            Recurrent(name="read", inputs=("x",), cell="gru", input_size=3, hidden_size=4),
            Reverse(name="turned", inputs=("x",)),
            Recurrent(name="back", inputs=("turned",), cell="lstm", input_size=3, hidden_size=5),
            Reverse(name="back_turned", inputs=("back",)),
            Shift(name="before", inputs=("read",), by=1),
            Shift(name="after", inputs=("back_turned",), by=-1),
            Concat(name="y", inputs=("before", "after")),
        ),
        outputs=("y",),
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
    "embed tokens": _one(Embed(name="y", inputs=("x",), num_embeddings=3, embedding_dim=4, column=1), form="tokens", size=2),
    **{f"pool {how}": _one(Pool(name="y", inputs=("x",), how=how), refused="y") for how in ("mean", "max")},
    "attend": Case(spec=_attended(), refused="y"),
    **{f"align {scoring}": _aligned(scoring) for scoring in ("dot", "additive")},
    **{f"{cell} from a vector": _from_vector(cell) for cell in ("rnn_tanh", "lstm", "gru")},
    "translator": _translator("joined", shared=True),
    "translator additive": _translator("joined", attention="additive", input_feeding=True, cell="gru", num_layers=2),
    "translator without attention": _translator("joined", attention="none", bidirectional=False, tied=False),
    "translator's encoder": _translator("encoder"),
    "translator's decoder": _translator("decoder", num_layers=2),
    "dropout locked": _one(Dropout(name="y", inputs=("x",), p=0.5, locked=True)),
    "norm": _one(Norm(name="y", inputs=("x",), size=3)),
    "concat": _one(Concat(name="y", inputs=("x", "x"))),
    "add": _one(Add(name="y", inputs=("x", "x"))),
    "dropout": _one(Dropout(name="y", inputs=("x",), p=0.5)),
    "fold": _one(Fold(name="y", inputs=("x",), size=3), unit={"x": 3}, refused="y"),
    "unfold": _one(Unfold(name="y", inputs=("x",), size=3), refused="y"),
    "reverse": _one(Reverse(name="y", inputs=("x",)), refused="y"),
    **{f"shift {by}": _one(Shift(name="y", inputs=("x",), by=by), refused="y") for by in (2, -2, 40, -40)},
    "both contexts": Case(spec=_both_contexts(), refused="turned"),
    "last": _one(Last(name="y", inputs=("x",)), refused="y"),
    "last of both": _one(Last(name="y", inputs=("x",), both=True), refused="y", size=4),
    "position": _one(Position(name="y", inputs=("x",), steps=7, size=3), refused="y"),
    "take": _one(Take(name="y", inputs=("x",), start=1, size=2)),
    "mix": _one(Mix(name="y", inputs=("x", "x"))),
    **{cell: _recurrent(cell) for cell in ("rnn_tanh", "rnn_relu", "lstm", "gru")},
    **{f"{cell} x 3": _recurrent(cell, num_layers=3, dropout=0.2) for cell in ("rnn_tanh", "lstm", "gru")},
    **{f"{cell} both ways": _recurrent(cell, num_layers=2, bidirectional=True) for cell in ("rnn_relu", "lstm", "gru")},
    "lstm, weights dropped": _recurrent("lstm", num_layers=2, weight_dropout=0.5),
    "autoregressive": Case(spec=_autoregressive()),
    "stacked": Case(spec=_stacked()),
    "tagger": Case(spec=_tagger(), refused="layer"),
    "spelt": Case(spec=_spelt(), steps={"x": 6, "letters": 5, "spelt": 6}, refused="spell"),
    "next token": Case(spec=_next_token()),
    "next token, tied": Case(spec=_next_token("vectors")),
    "linear before": Case(spec=_linear_before()),
    **{
        f"encoder-decoder {cell}": Case(spec=_encoder_decoder(cell), steps={"x": 6, "future": 4}, refused="decoder")
        for cell in ("lstm", "gru")
    },
    "segments": Case(spec=_segments(), steps={"x": 9, "calendar": 3, "future": 6}, unit={"x": 3, "future": 3}, refused="folded"),
}


def _wide(cell: str, **options: object) -> Case:
    """Enough units and steps that the core splits them: over threads, over blocks of time, over panels that are not full."""
    return Case(
        spec=Spec(
            inputs=_x(19),
            blocks=(
                Linear(name="in", inputs=("x",), input_size=19, output_size=37),
                Norm(name="norm", inputs=("in",), size=37),
                Recurrent(name="layer", inputs=("norm",), cell=cell, input_size=37, hidden_size=70, **options),
                Linear(name="gate", inputs=("layer",), input_size=70 * (1 + ("bidirectional" in options)), output_size=19),
                Mix(name="y", inputs=("gate", "x")),
            ),
            outputs=("layer", "y"),
        ),
        steps={"x": 150},
        refused="layer" if "bidirectional" in options else None,
        scale=0.1,  # 150 steps of the ReLU's network stay finite
    )


WIDE: dict[str, Case] = {
    **{f"wide {cell}": _wide(cell) for cell in ("rnn_tanh", "rnn_relu", "lstm", "gru")},
    "wide gru x 2": _wide("gru", num_layers=2),
    "wide lstm both ways": _wide("lstm", bidirectional=True),
    **{f"wide align {scoring}": _aligned(scoring, 70) for scoring in ("dot", "additive")},
}
