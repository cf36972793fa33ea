"""The bare recurrent layer, for people who bring their own network. In: weights by PyTorch's names. Out: sequences, single steps.

`Recurrent.run` walks whole sequences, `Recurrent.stream` one sample at a time with the state carried: the same bits either way,
and for any mix of streams that `step_many` steps at once. Never imports torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, cast, final, get_args

import numpy as np
import numpy.typing as npt

from tidegate import native
from tidegate.blocks.weights import Floats
from tidegate.errors import ConfigError, DataError, ShapeError, TaskError, nearest, shown
from tidegate.given import listed, numbers, one_of, whole
from tidegate.runtime.calibrate import HEADROOM
from tidegate.runtime.int8 import NetWeights, quantized
from tidegate.runtime.native_ops import NativeOps, single_steps
from tidegate.runtime.predictor import Predictor
from tidegate.runtime.snapshot import Field, Schema
from tidegate.spec import GATES, Cell, Port, Spec
from tidegate.spec import Recurrent as Block

OnBad = Literal["reject", "hold", "reset"]
State: TypeAlias = "Floats | tuple[Floats, Floats]"
CELLS: dict[str, Cell] = {"rnn": "rnn_tanh", "rnn_tanh": "rnn_tanh", "rnn_relu": "rnn_relu", "lstm": "lstm", "gru": "gru"}
NAME = "layer"


def checked_policy(on_bad: str) -> OnBad:
    """What a stream does with NaN and Inf. Raises: ConfigError."""
    return cast("OnBad", one_of("on_bad", on_bad, get_args(OnBad)))


@final
class Recurrent:
    """RNN, LSTM or GRU without a framework; immutable, safe to share between threads.

    Letters: B batch, T time, I input_size, H hidden_size, L layers, D directions, G gates * H.

    Args:  cell: "rnn" (tanh), "rnn_relu", "lstm" or "gru" (reset after the product, as PyTorch's and cuDNN's). weights: as
        `torch.nn.LSTM(...).state_dict()` names them, float32 or float64: weight_ih_l0 (G, I), weight_hh_l0 (G, H), bias_ih_l0
        (G,), bias_hh_l0 (G,), then _l1, ..., each also with _reverse for the backward direction. Biases may be left out.
    Raises: ConfigError, ShapeError that names the weight.

    >>> rng = np.random.default_rng(0)
    >>> shapes = {"weight_ih_l0": (64, 3), "weight_hh_l0": (64, 16), "bias_ih_l0": (64,), "bias_hh_l0": (64,)}
    >>> layer = Recurrent("lstm", {name: rng.normal(0, 0.2, shape).astype("float32") for name, shape in shapes.items()})
    >>> x = rng.normal(size=(10, 3)).astype("float32")
    >>> y, (h, c) = layer.run(x)
    >>> stream = layer.stream()
    >>> bool(np.all(np.stack([stream.step(row) for row in x]) == y))
    True
    """

    def __init__(self, cell: str, weights: Mapping[str, npt.ArrayLike]) -> None:
        if not isinstance(cell, str) or cell not in CELLS:
            raise ConfigError(f"cell: expected rnn, rnn_relu, lstm or gru, got {shown(cell)}; {nearest(cell, CELLS)}")
        arrays = _arrays(weights)
        block = _block(CELLS[cell], arrays)
        self._prepare(block, {f"{NAME}.{name}": array for name, array in arrays.items()})

    def _prepare(self, block: Block, weights: Mapping[str, Floats]) -> None:
        self.block = block
        self._net = Predictor(_spec(block), weights)
        arrays = {name: weights[f"{NAME}.{name}"] for name in block.parameters()}
        self._dtype = next(iter(arrays.values())).dtype
        self._parts = tuple(self.block.state())
        sizes = (len(self._parts), *self.block.state()["h"])
        self._schema = Schema("layer", (Field("state", self._dtype.newbyteorder("<").str, sizes),))
        self._hash = _hash(self.block, arrays, self._net.int8)
        self._empty = partial(np.empty, self.block.hidden_size, self._dtype)
        self._slow = {policy: partial(_slowly, self, policy) for policy in get_args(OnBad)}
        self._stack = self._stacked(arrays)

    def __repr__(self) -> str:
        b = self.block
        ways = ", bidirectional" if b.bidirectional else ""
        kind = self._dtype if self._net.int8 is None else "int8"
        return f"Recurrent({b.cell!r}, {b.input_size} -> {b.hidden_size}, {b.num_layers} layers{ways}, {kind})"

    @property
    def input_size(self) -> int:
        """I."""
        return self.block.input_size

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.block.hidden_size

    def quantize(self, to: str, x: npt.ArrayLike) -> Recurrent:
        """The layer in 8 bits: a quarter of the weights' bytes, computed in whole numbers; this one stays as it is.

        Inputs are read with 14 bits: numbers up to twice the largest of `x` are told apart, larger ones are cut off there.
        States and outputs are float32, multiples of 2^-16. How far it is from this layer, `run` of both on your data says.

        Args:  to: "int8". x: (T, I) or (B, T, I), samples as the layer will see them.
        Raises: ConfigError; ShapeError; DataError; TaskError for float64, for an rnn with ReLU, and for more than 2,064 inputs.
        """
        if not isinstance(to, str) or to != "int8":
            raise ConfigError(f"to: expected int8, got {shown(to)}")
        given = numbers("x", x, self._dtype)
        if given.ndim not in (2, 3) or given.shape[-1] != self.input_size or not given.size:
            raise ShapeError(f"x: expected samples, (T, {self.input_size}) or (B, T, {self.input_size}), got {given.shape}")
        refuse_bad(given.reshape(1, -1, self.input_size), None)
        if self._dtype != np.float32 or self._net.int8 is not None:
            got = "int8" if self._net.int8 is not None else str(self._dtype)
            raise TaskError(f"int8: expected a layer of float32, got {got}; make it from float32 weights")
        weights, highest = self._net.weights, {NAME: HEADROOM * float(np.abs(given).max())}
        made = Recurrent.__new__(Recurrent)
        made._prepare(self.block, quantized(_spec(self.block), weights, highest))
        return made

    def run(self, x: npt.ArrayLike, state: State | None = None, lengths: npt.ArrayLike | None = None) -> tuple[Floats, State]:
        """Whole sequences, or any piece of them.

        Args:  x: (T, I) or (B, T, I). state: what an earlier call returned; None: zeros. lengths: (B,), 0 <= length <= T; padding
            is on the right and not read, y is 0 there.
        Returns: y (T, D*H) or (B, T, D*H), and the state after the last valid step: h (L*D, B, H), of the LSTM (h, c), without B
            where x has none.
        Raises: ShapeError; DataError for NaN or Inf before a row's end.
        """
        given = numbers("x", x, self._dtype)
        if given.ndim not in (2, 3) or given.shape[-1] != self.input_size:
            raise ShapeError(f"x: expected (T, {self.input_size}) or (B, T, {self.input_size}), got {given.shape}")
        single = given.ndim == 2
        batch = given[None] if single else given
        began = None if state is None else self._packed(state, len(batch), single=single)
        known = None if lengths is None else {"x": np.atleast_1d(whole("lengths", lengths))}
        refuse_bad(batch, None if known is None else known["x"])
        ran = self._net.run({"x": batch}, began, known)
        y = ran.outputs[NAME]
        parts = [self._net.state_parts(ran.state)[f"{NAME}.{part}"] for part in self._parts]
        ends = [part[:, 0] if single else part for part in parts]
        return y[0] if single else y, (ends[0], ends[1]) if len(ends) == 2 else ends[0]

    def stream(self, state: bytes | None = None, *, on_bad: str = "reject") -> LayerStream:
        """Follow one sequence a step at a time.

        Args:  state: a snapshot to go on from; None: zeros. on_bad: what a sample with NaN or Inf does: "reject" is an error that
            leaves the state untouched; "hold" counts it as missing: the state stays, the last output is given again; "reset" goes
            back to the initial state, whose output is 0.
        Raises: TaskError for a bidirectional layer; ConfigError; FormatError for what is no snapshot of this layer.
        """
        if self.block.bidirectional:
            raise TaskError(
                "stream: a bidirectional layer reads the future, so it cannot be stepped; train one with bidirectional=False, or "
                "use run() on whole sequences"
            )
        return LayerStream(self, checked_policy(on_bad), state)

    def step_many(self, streams: Sequence[LayerStream], x: npt.ArrayLike, out: Floats | None = None) -> Floats:
        """Step any mix of different streams of this layer at once: the bits of stepping each.

        Args:  x: (N, I), a sample for each stream. out: (N, H) dense, filled in; None: a new array.
        Returns: (N, H).
        Raises: ShapeError; ConfigError for a stream of another layer or one twice; DataError for NaN or Inf in the sample of a
            stream that rejects it: no stream is stepped then.
        """
        streams = listed("streams", streams, "give the streams that stream() made, in a list")
        given = np.require(numbers("x", x, self._dtype), requirements=["C", "A"])
        if given.shape != (len(streams), self.input_size):
            raise ShapeError(f"x: expected a row for each stream, {(len(streams), self.input_size)}, got {given.shape}")
        y = self._output(out, (len(streams), self.hidden_size))
        if any(not isinstance(one, LayerStream) or one._layer is not self for one in streams):
            raise ConfigError("streams: expected streams of this layer, got others; step each with the layer that made it")
        if self._stack is not None:
            try:  # the core refuses streams given twice, and NaN and Inf, before it steps any
                native.require().step_many([one._core for one in streams], given, y)
            except ValueError:
                self._step_some(streams, given, y)
        else:
            self._step_some(streams, given, y)
        return y

    def _step_some(self, streams: Sequence[LayerStream], x: Floats, y: Floats) -> None:
        """Where not all can be stepped at once: bad samples follow the policies, the others are stepped."""
        if len(set(map(id, streams))) != len(streams):
            raise ConfigError("streams: expected different streams, got one twice; step it once, then again")
        sound = np.isfinite(x).all(1)
        for k in np.flatnonzero(~sound).tolist():
            if streams[k]._policy == "reject":
                raise _refused(x[k], f"step_many: row {k}")
        for k in np.flatnonzero(~sound).tolist():
            y[k] = streams[k].step(x[k])
        rows = np.flatnonzero(sound)
        said = np.empty((len(rows), self.hidden_size), self._dtype)
        cores = [streams[k]._core for k in rows.tolist()]
        if self._stack is not None:
            native.require().step_many(cores, x[rows], said)
        else:
            for core, row, to in zip(cores, x[rows], said, strict=True):
                to[:] = core.step(row, None)
        y[rows] = said

    def _stacked(self, arrays: Mapping[str, Floats]) -> native.Stack | None:
        """What steps on the core; None for NumPy, and for two directions."""
        ops = self._net.ops
        if self.block.bidirectional or not isinstance(ops, NativeOps):
            return None
        return single_steps(ops, self.block, arrays)

    def _stepper(self, state: Floats, policy: OnBad) -> Any:
        slow = self._slow[policy]
        if self._stack is None:
            return _Plain(self._net, state, slow)
        at = native.address(state)
        places = (at, at + state[0].nbytes if len(state) > 1 else 0)
        sizes = (native.DTYPES[self._dtype.name], self.input_size, self.hidden_size)
        return native.require().Stepper(self._stack.core, state, *places, *sizes, self._empty, slow)

    def _packed(self, state: State, batch: int, *, single: bool) -> Floats:
        """(B, S) of PyTorch's states. Raises: ShapeError."""
        parts = tuple(numbers("state", part, self._dtype) for part in (state if isinstance(state, tuple) else (state,)))
        rows = self.block.state()["h"]
        expected = rows if single else (rows[0], batch, rows[1])
        if len(parts) != len(self._parts) or any(np.shape(part) != expected for part in parts):
            got = ", ".join(str(np.shape(part)) for part in parts)
            raise ShapeError(f"state: expected {' and '.join(self._parts)} of {expected}, got {got}; pass on what run() returned")
        for name, part in zip(self._parts, parts, strict=True):
            refuse_bad(part, None, f"state {name!r}")
        own = [part.reshape(rows[0], batch, rows[1]).swapaxes(0, 1) for part in parts]
        return np.concatenate([part.reshape(batch, -1) for part in own], 1)

    def _output(self, out: Floats | None, shape: tuple[int, ...]) -> Floats:
        if out is None:
            return np.empty(shape, self._dtype)
        fits = isinstance(out, np.ndarray) and out.shape == shape and out.dtype == self._dtype
        if not fits or not out.flags.c_contiguous or not out.flags.writeable or not out.flags.aligned:
            got = f"{out.shape} of {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
            raise ShapeError(f"out: expected a dense, aligned, writable array {shape} of {self._dtype}, got {got}")
        return out


@final
class LayerStream:
    """One sequence, followed: made by `Recurrent.stream`. Not for two threads at once.

    step(x, out=None): one sample in, (I,), the output of the top layer out, (H,): `out` where it is given, else a new array.
        O(1). Raises ShapeError; DataError for NaN or Inf, which follow the stream's policy: the state is then untouched.
    """

    __slots__ = ("_core", "_layer", "_policy", "_state", "step")

    step: Callable[..., Floats]

    def __init__(self, layer: Recurrent, policy: OnBad, state: bytes | None = None) -> None:
        restored = None if state is None else layer._schema.unpack(state, layer._hash)
        sizes = (len(layer._parts), *layer.block.state()["h"])
        self._layer, self._policy = layer, policy
        self._state = np.zeros(sizes, layer._dtype)
        self._core = layer._stepper(self._state, policy)
        self.step = self._core.step
        if restored is not None:
            self._state[:], self._core.steps = restored.arrays["state"], restored.steps

    @property
    def steps(self) -> int:
        """Steps since the initial state."""
        return int(self._core.steps)

    @property
    def state(self) -> State:
        """A copy of the carried state, as `run` takes and returns it for one row: h (L, H), of the LSTM (h, c)."""
        parts = [part.copy() for part in self._state]
        return (parts[0], parts[1]) if len(parts) == 2 else parts[0]

    def reset(self) -> None:
        """Back to the initial state."""
        self._state[:], self._core.steps = 0, 0

    def copy(self) -> LayerStream:
        """An independent stream at the same place."""
        made = LayerStream(self._layer, self._policy)
        made._state[:], made._core.steps = self._state, self._core.steps
        return made

    def __copy__(self) -> LayerStream:
        return self.copy()

    def __deepcopy__(self, memo: object) -> LayerStream:
        return self.copy()  # the layer is shared

    def snapshot(self) -> bytes:
        """The state as bytes that `Recurrent.stream(state=...)` goes on from, in this process or another: runtime/snapshot."""
        return self._layer._schema.pack(self._layer._hash, self.steps, {"state": self._state})


@final
class _Plain:
    """What steps where the core is not installed: the same face as the core's Stepper."""

    def __init__(self, net: Predictor, state: Floats, slow: Callable[[Any, object, object], Floats]) -> None:
        self._net, self.state, self._slow, self.steps = net, state, slow, 0

    def step(self, x: object, out: object = None) -> Floats:
        """As the core's: what is not plain goes the slow way, and comes back plain."""
        fits = isinstance(x, np.ndarray) and x.dtype == self.state.dtype and x.shape == (self._net.spec.inputs[0].size,)
        if not fits or not isinstance(x, np.ndarray) or not np.isfinite(x).all() or out is not None:
            return self._slow(self, x, out)
        ran = self._net.run({"x": x[None, None]}, self.state.reshape(1, -1))
        self.state[:] = ran.state.reshape(self.state.shape)
        self.steps += 1
        y: Floats = ran.outputs[NAME][0, 0]
        return y


def _slowly(layer: Recurrent, policy: OnBad, core: Any, x: object, out: object) -> Floats:
    """A step whose sample is no dense array of the right dtype, or holds NaN or Inf. Raises: ShapeError, DataError."""
    given = np.array(numbers("x", x, layer._dtype, after="; the state is untouched"), order="C")
    if given.shape != (layer.input_size,):
        raise ShapeError(f"x: expected one sample, ({layer.input_size},), got {given.shape}; the state is untouched")
    y = layer._output(cast("Floats | None", out), (layer.hidden_size,))
    if np.isfinite(given).all():
        y[:] = core.step(given, None)
        return y
    if policy == "reject":
        raise _refused(given, "x")
    if policy == "reset":
        core.state[:], core.steps = 0, 0
    y[:] = core.state[0, -1]  # what the top layer said last
    return y


def refuse_bad(values: npt.NDArray[Any], lengths: npt.NDArray[np.int64] | None, what: str = "x") -> None:
    """Raises: DataError for NaN or Inf that would be read, in (B, T, C) with lengths (B,), or in any other array without."""
    bad = ~np.isfinite(values).all(-1)
    if lengths is not None and lengths.shape == bad.shape[:1]:
        bad &= np.arange(bad.shape[1]) < lengths[:, None]
    if not bad.any():
        return
    if what != "x":
        raise DataError(f"{what}: expected finite numbers, got NaN or Inf; pass on what run() returned")
    row, step = np.argwhere(bad)[0].tolist()
    raise DataError(f"x: expected finite numbers, got NaN or Inf in row {row} at step {step}; mend the input, or give lengths")


def _refused(sample: Floats, what: str) -> DataError:
    bad = int(np.flatnonzero(~np.isfinite(sample))[0])
    return DataError(
        f"{what}: expected finite numbers, got {sample[bad]} at place {bad}; the state is untouched. "
        "Use on_bad='hold' to count such samples as missing."
    )


def _arrays(weights: Mapping[str, npt.ArrayLike]) -> dict[str, Floats]:
    """Dense arrays of one dtype. Raises: ConfigError, ShapeError."""
    if not isinstance(weights, Mapping) or not weights:
        raise ConfigError(f"weights: expected arrays by PyTorch's names (weight_ih_l0, ...), got {type(weights).__name__}")
    odd = next((name for name in weights if not isinstance(name, str)), None)
    if odd is not None:
        raise ConfigError(f"weights: expected PyTorch's names (weight_ih_l0, ...), got {shown(odd)}")
    found = {name: numbers(f"weights: {name}", value, None) for name, value in weights.items()}
    dtypes = {array.dtype.name for array in found.values()}
    if not dtypes <= {"float32", "float64"} or len(dtypes) != 1:
        raise ShapeError(f"weights: expected all of float32 or all of float64, got {', '.join(sorted(dtypes))}; convert them")
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise ShapeError(f"weights: {name}: expected finite numbers, got NaN or Inf; train or convert it again")
    own = np.dtype(dtypes.pop())  # of this machine's byte order
    return {name: np.ascontiguousarray(array, own) for name, array in found.items()}


def _block(cell: Cell, weights: dict[str, Floats]) -> Block:
    """The layer that the weights are of; biases that are left out become zeros. Raises: ShapeError."""
    for name in ("weight_ih_l0", "weight_hh_l0"):
        if name not in weights or weights[name].ndim != 2 or 0 in weights[name].shape:
            raise ShapeError(f"weights: expected a matrix {name}, got {', '.join(sorted(weights))}")
    layers = 0
    while f"weight_ih_l{layers}" in weights:
        layers += 1
    hidden, inputs = weights["weight_hh_l0"].shape[1], weights["weight_ih_l0"].shape[1]
    block = Block(
        name=NAME, inputs=("x",), cell=cell, input_size=inputs, hidden_size=hidden, num_layers=layers,
        bidirectional="weight_ih_l0_reverse" in weights,
    )  # fmt: skip
    if not any("bias" in name for name in weights):
        dtype = weights["weight_ih_l0"].dtype
        weights.update({n: np.zeros(shape, dtype) for n, shape in block.parameters().items() if n.startswith("bias")})
    expected, got = block.parameters(), {name: array.shape for name, array in weights.items()}
    wrong = [name for name in sorted({*expected, *got}) if expected.get(name) != got.get(name)]
    if wrong:
        rows = f"{GATES[cell]} x {hidden} rows for {cell!r}"
        said = "; ".join(f"{n}: expected {expected.get(n, 'none')}, got {got.get(n, 'none')}" for n in wrong[:4])
        raise ShapeError(f"weights: {said} ({rows}); check the cell and the names")
    return block


def _spec(block: Block) -> Spec:
    return Spec(inputs=(Port(name="x", size=block.input_size),), blocks=(block,), outputs=(NAME,))


def _hash(block: Block, weights: Mapping[str, Floats], int8: NetWeights | None) -> bytes:
    digest = hashlib.sha256(f"{block.cell}:{block.num_layers}".encode())
    if int8 is not None:
        digest.update(f"int8:{int8.exponents[NAME]}".encode())
    for name in sorted(weights):
        digest.update(f"{name}:{weights[name].dtype.newbyteorder('<').str}:{weights[name].shape};".encode())
        digest.update(weights[name].astype(weights[name].dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.digest()
