"""A trained spec, run without torch. In: arrays by port name, lengths, state. Out: arrays by output name, state.

State is an argument and a result: one contiguous row of floats for each sequence, laid out by the spec. A Predictor is immutable
and safe to share between threads; a Stream holds the state of the sequences that it follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast, final

import numpy as np
import numpy.typing as npt

from tidegate.blocks import graph
from tidegate.blocks.weights import Floats, check_weights
from tidegate.dims import check_shape
from tidegate.errors import ConfigError, ShapeError, TaskError, nearest, shown
from tidegate.given import count_of, numbers, whole
from tidegate.native import available, require
from tidegate.runtime.calibrate import WatchedOps
from tidegate.runtime.int8 import Int8Net, NetWeights, Watched, check_net
from tidegate.runtime.native_ops import NativeOps
from tidegate.runtime.ops import NumpyOps
from tidegate.runtime.steppable import unsteppable
from tidegate.spec import (
    CODED,
    TIMED,
    Embed,
    Gather,
    Port,
    Spec,
    size_of,
)

Ints = npt.NDArray[np.int64]
MOST_ROWS = 1 << 24  # sequences that one stream follows


class Output(NamedTuple):
    """What `Predictor.run` returns."""

    outputs: dict[str, Floats]  # one array an output of the spec
    state: Floats  # (B, S), S = spec.state_size()


@final
class Predictor:
    """The one implementation of prediction: a spec and its weights.

    Args:  spec: the model. weights: `block.weight` -> float32 or float64 array, exactly those that the spec names; in 8 bits
           where they are NetWeights (runtime/int8.py).
           native: True for the native core, False for NumPy, None for the core where it is installed.
    Raises: ConfigError for what is no spec; FormatError when a weight is missing, too many, of another shape or not finite;
           MissingExtra when native is True and the core is not installed.
    """

    def __init__(self, spec: Spec, weights: Mapping[str, Floats], *, native: bool | None = None) -> None:
        if not isinstance(spec, Spec):
            raise ConfigError(f"spec: expected a tidegate.spec.Spec, got {shown(spec)}")
        if native is not None and not isinstance(native, bool):
            raise ConfigError(f"native: expected True, False or None, got {shown(native)}")
        check_weights(spec, weights)
        self.spec = spec
        self._weights = {name: _frozen(weights[name]) for name in spec.parameters()}
        self._dtype = next(iter(self._weights.values())).dtype if self._weights else np.dtype(np.float32)
        self._int8 = None
        if isinstance(weights, NetWeights):
            check_net(spec, weights)
            self._int8 = NetWeights(self._weights, weights.scales, weights.exponents)
        self._ops = operations(native, None if self._int8 is None else Int8Net(spec, self._int8))
        if isinstance(weights, Watched):
            self._ops = cast("NumpyOps", WatchedOps(self._ops, spec, self._weights, weights.highest))
        self._layout, self._state_size = spec.state(), spec.state_size()
        self._ports = {port.name: port for port in spec.inputs}
        self._looked_up = tuple(_looked_up(spec))  # port, column, and how many there are, or the port whose rows they are

    def __repr__(self) -> str:
        return (
            f"Predictor({len(self.spec.blocks)} blocks, {self.spec.count():,} weights, {self.spec.state_size()} floats of state)"
        )

    @property
    def ops(self) -> NativeOps | NumpyOps:
        """The operations that it runs on."""
        return self._ops

    def state_parts(self, state: Floats) -> dict[str, Floats]:
        """`block.part` -> (L*D, B, H), of a state (B, S). Raises: ShapeError."""
        if not isinstance(state, np.ndarray) or not state.ndim:
            raise ShapeError(
                f"state: expected (B, {self._state_size}), got {shown(state)}; pass on the state that run() returned"
            )
        return self._unpacked(state, len(state)) or {}

    @property
    def weights(self) -> Mapping[str, Floats]:
        """`block.weight` -> read-only array; NetWeights of an int8 net."""
        return dict(self._weights) if self._int8 is None else self._int8

    @property
    def int8(self) -> NetWeights | None:
        """The weights of a net in 8 bits; None for one of floats."""
        return self._int8

    def run(
        self,
        inputs: Mapping[str, npt.ArrayLike],
        state: Floats | None = None,
        lengths: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Output:
        """Run the model over whole sequences or any piece of them.

        Args:  inputs: port -> (B, T, size) for a sequence, (B, size) for a vector, whole numbers of these shapes for tokens and
               codes.
               state: (B, S) from an earlier call, or None for the start: zero, or the state of the block that a decoder reads.
               lengths: port -> (B,), 0 <= length <= T; padding is on the right and not read.
        Returns: outputs by name, 0 past a row's length, and the state after the last valid step of each row. NaN and Inf are not
               looked for here: a row that holds them gives what arithmetic gives, and no other row is touched. A Stream refuses
               them, as do the models and the bare layer.
        Raises: ShapeError, with what was expected.
        """
        arrays = self._checked(inputs)
        given = {} if lengths is None else _by_name("lengths", lengths)
        ragged = {name: self._lengths(name, values, arrays) for name, values in given.items()}
        return self._ran(arrays, ragged, state)

    def _ran(self, arrays: Mapping[str, Floats | Ints], lengths: Mapping[str, Ints], state: Floats | None) -> Output:
        self._check_codes(arrays, lengths)
        batch = next(len(a) for name, a in arrays.items() if not self._ports[name].items)
        ran = graph.run(self._ops, self.spec, self._weights, arrays, lengths, self._unpacked(state, batch))
        return Output(ran.outputs, self._packed(ran.state, batch))

    def stream(self, rows: int = 1) -> Stream:
        """Follow `rows` sequences one step at a time. Raises: TaskError that names the block which cannot be stepped."""
        for block in self.spec.blocks:
            reason = unsteppable(block, pools=False)
            if reason:
                raise TaskError(f"block {block.name!r} {reason}")
        return Stream(self, rows)

    def initial_state(self, rows: int = 1) -> Floats:
        """Zeros, (rows, S). Raises: ConfigError."""
        return np.zeros((count_of("rows", rows, 0, MOST_ROWS), self._state_size), self._dtype)

    def _checked(self, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Floats | Ints]:
        for name in _by_name("inputs", inputs):
            if name not in self._ports:
                raise ShapeError(f"input {shown(name)}: the model has no such input; {nearest(name, self._ports)}")
        arrays = {port.name: self._port(port, inputs) for port in self.spec.inputs}
        rows = {name: len(a) for name, a in arrays.items() if not self._ports[name].items}
        if len(set(rows.values())) > 1:
            raise ShapeError(f"inputs: expected the same number of rows in each, got {rows}")
        return arrays

    def _port(self, port: Port, inputs: Mapping[str, npt.ArrayLike]) -> Floats | Ints:
        if port.name not in inputs:
            raise ShapeError(f"input {port.name!r}: missing; the model needs {', '.join(p.name for p in self.spec.inputs)}")
        values = inputs[port.name]
        array = whole(f"input {port.name!r}", values) if port.shape in CODED else self._floats(port, values)
        axes = 3 if port.shape in TIMED else 2
        if array.ndim != axes or array.shape[-1] != port.size:
            expected = "(B, T, {})" if axes == 3 else "(B, {})"
            raise ShapeError(f"input {port.name!r}: expected {expected.format(port.size)}, got {array.shape}")
        return array

    def _floats(self, port: Port, values: npt.ArrayLike) -> Floats:
        return numbers(f"input {port.name!r}", values, self._dtype)

    def _check_codes(self, arrays: Mapping[str, Floats | Ints], lengths: Mapping[str, Ints]) -> None:
        """Every code that is read is a row of its table. Raises: ShapeError."""
        for name, index, count in self._looked_up:
            column = arrays[name][..., index]
            if name in lengths:
                column = column[np.arange(column.shape[1]) < lengths[name][:, None]]
            most = len(arrays[count]) if isinstance(count, str) else count
            if column.size and not 0 <= column.min() <= column.max() < most:
                what = "numbers of items" if isinstance(count, str) else "codes"
                known = "" if isinstance(count, str) else "; code 0 stands for what was not seen in training"
                raise ShapeError(
                    f"input {name!r}: expected {what} from 0 to {most - 1}, got {column.min()} to {column.max()}{known}"
                )

    def _lengths(self, name: str, values: npt.ArrayLike, arrays: Mapping[str, Floats | Ints]) -> Ints:
        sequences = [port.name for port in self.spec.inputs if port.shape in TIMED]
        if name not in sequences:
            raise ShapeError(f"lengths of {shown(name)}: the model has no such sequence; {nearest(name, sequences)}")
        lengths = whole(f"lengths of {name!r}", values)
        batch, steps = arrays[name].shape[:2]
        if lengths.shape != (batch,) or (batch and not 0 <= lengths.min() <= lengths.max() <= steps):
            expected = f"({batch},) whole numbers from 0 to {steps}"
            raise ShapeError(f"lengths of {name!r}: expected {expected}, got {lengths.shape}: {lengths[:8]}")
        return lengths

    def _unpacked(self, state: Floats | None, batch: int) -> dict[str, Floats] | None:
        if state is None:
            return None
        size = self._state_size
        if not isinstance(state, np.ndarray) or state.dtype.kind != "f":
            got = f"values of {state.dtype}" if isinstance(state, np.ndarray) else f"a {type(state).__name__}"
            raise ShapeError(f"state: expected an array of floats, got {got}; pass on the state that run() returned")
        if state.shape != (batch, size):
            raise ShapeError(f"state: expected ({batch}, {size}), got {state.shape}; pass on the state that run() returned")
        parts, start = {}, 0
        for name, shape in self._layout.items():
            stop = start + size_of(shape)
            parts[name] = np.ascontiguousarray(state[:, start:stop].reshape(batch, *shape).swapaxes(0, 1), self._dtype)
            start = stop
        return parts

    def _packed(self, parts: Mapping[str, Floats], batch: int) -> Floats:
        rows = [np.swapaxes(parts[name], 0, 1).reshape(batch, size_of(shape)) for name, shape in self._layout.items()]
        return np.concatenate(rows, axis=1) if rows else np.zeros((batch, 0), self._dtype)


@final
class Stream:
    """Sequences followed one step at a time: `push` costs one step, whatever came before."""

    def __init__(self, predictor: Predictor, rows: int = 1, state: Floats | None = None) -> None:
        self._predictor = predictor
        self._rows = count_of("rows", rows, 0, MOST_ROWS)
        if state is not None:
            predictor.state_parts(state)
            if not np.isfinite(state).all():
                raise ShapeError("state: expected finite numbers, got NaN or Inf; pass on the state of a stream of this model")
            check_shape(
                "state", state, "B S", "Pass on the state of a stream of this model.", B=rows, S=predictor.spec.state_size()
            )
        self._state = predictor.initial_state(rows) if state is None else state.copy()

    @property
    def state(self) -> Floats:
        """A copy of the carried state, (rows, S)."""
        return self._state.copy()

    def push(self, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Floats]:
        """One step in, one answer out: (rows, size) each.

        Raises: ShapeError for NaN, Inf, another size, an input missing or unknown; the state is then untouched.
        """
        outputs, self._state = self._predictor._ran(self._predictor._checked(self._stepped(inputs)), {}, self._state)
        return {name: y[:, 0] if y.ndim == 3 else y for name, y in outputs.items()}

    def _stepped(self, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, npt.ArrayLike]:
        stepped: dict[str, npt.ArrayLike] = dict(_by_name("inputs", inputs))
        for port in self._predictor.spec.inputs:
            if port.name not in inputs or port.shape == "codes":
                continue
            values = inputs[port.name]
            array = whole(f"input {port.name!r}", values) if port.shape in CODED else self._predictor._floats(port, values)
            if array.shape != (self._rows, port.size):
                raise ShapeError(f"input {port.name!r}: expected one step, ({self._rows}, {port.size}), got {array.shape}")
            if not np.isfinite(array).all():
                raise ShapeError(f"input {port.name!r}: expected finite numbers, got NaN or Inf; the state is untouched")
            stepped[port.name] = array[:, None] if port.shape in TIMED else array
        return stepped

    def reset(self) -> None:
        """Back to the state before the first push."""
        self._state = self._predictor.initial_state(self._rows)

    def copy(self) -> Stream:
        """An independent stream at the same place."""
        return Stream(self._predictor, self._rows, self._state)


def _looked_up(spec: Spec) -> Iterator[tuple[str, int, int | str]]:
    items = spec.items
    for block in spec.blocks:
        if isinstance(block, Embed):
            yield block.inputs[0], block.column, block.num_embeddings
        elif isinstance(block, Gather):
            yield block.inputs[1], 0, items[block.inputs[0]]


def operations(native: bool | None = None, int8: Int8Net | None = None) -> NativeOps | NumpyOps:
    """The core's operations, or NumPy's; None: the core's where it is installed. Raises: MissingExtra."""
    if native:
        require()
    return NativeOps(frozen=True, int8=int8) if native or (native is None and available()) else NumpyOps(int8)


def _frozen(array: Floats) -> Floats:
    copy = np.array(array, order="C", copy=True)
    copy.setflags(write=False)
    return copy


def _by_name(what: str, given: Mapping[str, npt.ArrayLike]) -> Mapping[str, npt.ArrayLike]:
    """Raises: ShapeError for what is no mapping."""
    if not isinstance(given, Mapping):
        raise ShapeError(f"{what}: expected arrays by the names of the model's inputs, got {shown(given)}")
    return given


__all__ = ["Floats", "Ints", "Output", "Predictor", "Stream", "check_weights", "operations"]
