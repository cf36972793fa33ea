"""Ops on the native core: the same bits for a row whatever the batch, the cutting of time and the threads are.

In and out: float32 or float64 arrays, of any strides. Every product, sum, exp, tanh and sigmoid is the core's; NumPy moves
numbers and works on each alone. Never imports torch. runtime/ops.py is the readable twin, and serves where the core is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import final

import numpy as np

from tidegate import native
from tidegate.blocks.ops import Array, State
from tidegate.blocks.recurrent import layer_weights
from tidegate.errors import ShapeError
from tidegate.native import address
from tidegate.runtime import whole
from tidegate.runtime.arrays import ArrayOps
from tidegate.runtime.int8 import Int8Net
from tidegate.spec import Recurrent

NORM_EPSILON = 1e-5


@final
class NativeOps(ArrayOps):
    """Implements blocks.ops.Ops; every operation makes a new array. Safe to share between threads.

    Args:  frozen: every call brings the same weights, which never change: they are laid out for the kernels once, at their first
           use. False lays them out at every call. int8: the net whose weights they are, where it is one of whole numbers.
    """

    def __init__(self, *, frozen: bool = False, int8: Int8Net | None = None) -> None:
        self._frozen, self._int8 = frozen or int8 is not None, int8
        self._recurrent: dict[str, tuple[_Layer, ...]] = {}
        # By ids of weight and bias, which are kept beside their layout so that no other array can take those ids.
        self._linear: dict[tuple[int, int], tuple[Array, Array | None, native.PackedLinear]] = {}
        self._stacks: dict[tuple[str, int, int], tuple[object, object, native.Stack]] = {}  # likewise

    def __getstate__(self) -> dict[str, object]:
        """A copy, in this process or another, lays its weights out anew: kernels differ from processor to processor."""
        return {"_frozen": self._frozen, "_int8": self._int8, "_recurrent": {}, "_linear": {}, "_stacks": {}}

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """`x @ weight.T + bias`, each output summed from the bias over k = 0..K-1."""
        if self._int8 is not None:
            x = _of_dtype(x, weight.dtype)
        if self._frozen and x.dtype == weight.dtype:
            return self._packed_linear(weight, bias)(x)
        dtype = np.result_type(x, weight)
        return native.linear(_of_dtype(x, dtype), _of_dtype(weight, dtype), None if bias is None else _of_dtype(bias, dtype))

    def _packed_linear(self, weight: Array, bias: Array | None) -> native.PackedLinear:
        key = id(weight), id(bias)
        found = self._linear.get(key)
        if found is None:  # two threads may both lay out; one of the two equal results stays
            parts = None if self._int8 is None else self._int8.linear(weight)
            packed = native.PackedLinear(weight, bias) if parts is None else native.PackedLinear.whole(*parts)
            found = self._linear.setdefault(key, (weight, bias, packed))
        return found[2]

    def recurrent(
        self, block: Recurrent, weights: Mapping[str, Array], x: Array, lengths: Array | None, state: State | None
    ) -> tuple[Array, dict[str, Array]]:
        """Layer after layer, both directions at once. What stands in the padding of x is not read."""
        layers = self._layers(block, weights)
        dtype = layers[0].dtype
        if any(array.dtype != dtype for array in (x, *(state or {}).values())):
            dtype = np.result_type(x, dtype, *(state or {}).values())  # of this machine's byte order
            dtype = np.dtype(np.float32) if self._int8 is not None else dtype
            layers, x = layers if dtype == layers[0].dtype else _layers_of(block, weights, dtype), _of_dtype(x, dtype)
        shapes = {part: (rows, len(x), size) for part, (rows, size) in block.state().items()}
        start = {} if state is None else _start(shapes, state, dtype)
        ends = {part: np.empty(shape, dtype) for part, shape in shapes.items()}
        if lengths is not None and lengths.dtype.kind not in "iu":
            raise ShapeError(f"lengths: expected {(len(x),)} whole numbers, got {lengths.dtype}")
        lengths = None if lengths is None else np.ascontiguousarray(lengths, np.int64)
        for index, layer in enumerate(layers):
            rows = slice(index * block.directions, (index + 1) * block.directions)
            given = {part: value[rows] for part, value in start.items()}
            x = layer.forward(x, lengths, given, {part: value[rows] for part, value in ends.items()})
        return x, ends

    def _layers(self, block: Recurrent, weights: Mapping[str, Array]) -> tuple[_Layer, ...]:
        found = self._recurrent.get(block.name)
        if found is None:
            found = _layers_of(block, weights, np.result_type(*weights.values()), self._int8)
            if self._frozen:
                found = self._recurrent.setdefault(block.name, found)
        return found

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x))."""
        return native.apply("sigmoid", x)

    def tanh(self, x: Array) -> Array:
        """Hyperbolic tangent."""
        return native.apply("tanh", x)

    def softmax(self, x: Array) -> Array:
        """Softmax over the last axis."""
        return native.softmax(x)

    def total(self, x: Array) -> Array:
        """Sum over the last axis: the product with ones, since NumPy's order of summation depends on the strides."""
        return _ones(x.shape[-1], x.dtype)(x)

    def pool(self, x: Array, lengths: Array | None, how: str) -> Array:
        """Mean or maximum over time, 0 for rows of length 0."""
        if self._int8 is not None and how == "mean":
            return whole.mean(x, lengths)
        return native.pool(x, lengths, how)

    def attend(self, scores: Array, x: Array, lengths: Array | None) -> Array:
        """The mean over time under the scores' softmax."""
        return native.weigh(native.softmax(scores, lengths), x, lengths)

    def logsumexp(self, x: Array) -> Array:
        """log(sum(exp(x))) over the last axis."""
        highest = x.max(-1, keepdims=True)
        return (np.log(self.total(native.apply("exp", x - highest))) + highest)[..., 0]

    def crf(self, scores: Array, lengths: Array | None, weights: Mapping[str, Array]) -> tuple[Array, Array]:
        """The core's; a row's bits do not depend on the rows beside it."""
        parts = (weights["transitions"], weights["start"], weights["end"])
        total, marginals, _ = native.crf(scores, lengths, *parts)
        return total, marginals

    def match(self, queries: Array, keys: Array, lengths: Array | None, v: Array | None) -> Array:
        """Query by query, since a product with other rows would add in another order; sums are products with v or with ones."""
        dtype = np.result_type(queries, keys)
        total = _ones(keys.shape[2], dtype) if v is None else native.PackedLinear(_of_dtype(v, dtype)[None])
        scores = np.empty((*queries.shape[:2], keys.shape[1]), dtype)
        for step in range(queries.shape[1]):
            query = queries[:, step : step + 1]
            scores[:, step] = total(query * keys if v is None else native.apply("tanh", query + keys))[..., 0]
        steps = None if lengths is None else np.repeat(lengths[:, None], queries.shape[1], axis=1)
        return native.softmax(scores, steps)

    def blend(self, alignment: Array, values: Array, lengths: Array | None) -> Array:
        """Query by query."""
        parts = [native.weigh(alignment[:, step], values, lengths) for step in range(alignment.shape[1])]
        return np.stack(parts, 1) if parts else self.zeros(values, (len(values), 0, values.shape[2]))

    def norm(self, x: Array, weight: Array, bias: Array) -> Array:
        """Layer normalisation."""
        dtype = np.result_type(x, weight)
        return native.norm(_of_dtype(x, dtype), _of_dtype(weight, dtype), _of_dtype(bias, dtype), NORM_EPSILON)


@cache
def _ones(size: int, dtype: np.dtype[np.generic]) -> native.PackedLinear:
    return native.PackedLinear(np.ones((1, size), dtype))


@final
class _Layer:
    """One layer of a recurrent block, its weights laid out for the kernels."""

    def __init__(
        self, block: Recurrent, layer: int, weights: Mapping[str, Array], dtype: np.dtype[np.generic], int8: Int8Net | None = None
    ) -> None:
        names = [f"l{layer}{suffix}" for suffix in ("", "_reverse")[: block.directions]]
        arrays = [_dense(a, dtype) for name in names for a in layer_weights(weights, name)]
        self.dtype = dtype
        self.directions, self.input_size, self.hidden_size = block.directions, arrays[0].shape[1], arrays[1].shape[1]
        self._cell, self._kind = native.CELLS[block.cell], native.DTYPES[dtype.name]
        call = self._call((0, 0), 0, (0, 0, 0), tuple(map(address, arrays)), (0, 0))
        self._packed = native.Packed(call) if int8 is None else native.Packed.whole(block.cell, int8.layer(block, layer))
        self._no_weights = (0,) * len(arrays)

    def forward(self, x: Array, lengths: Array | None, start: Mapping[str, Array], ends: Mapping[str, Array]) -> Array:
        """(B, T, I) -> (B, T, D*H); `ends`, (D, B, H) a part, are filled in. Raises: ShapeError."""
        if x.strides[2] != x.itemsize or x.strides[0] % x.itemsize or x.strides[1] % x.itemsize or not x.flags.aligned:
            x = np.ascontiguousarray(x)
        call, y = self.prepared(x, lengths, start, ends)
        if len(x):
            call()
        return y

    def prepared(
        self, x: Array, lengths: Array | None, start: Mapping[str, Array], ends: Mapping[str, Array]
    ) -> tuple[Callable[[], None], Array]:
        """What walks over these arrays whenever it is called, and y, which must be kept as long: x has the numbers of a step side
        by side, the others are dense. Raises: ShapeError."""
        batch, steps, size = x.shape
        if size != self.input_size:
            raise ShapeError(f"x: expected (B, T, {self.input_size}), got {x.shape}")
        if lengths is not None and lengths.shape != (batch,):
            raise ShapeError(f"lengths: expected ({batch},), got {lengths.shape}")
        y = np.empty((batch, steps, self.directions * self.hidden_size), self.dtype)
        source = (address(x), x.strides[0] // x.itemsize, x.strides[1] // x.itemsize)
        states = _place(start.get("h")), _place(start.get("c"))
        call = self._call((batch, steps), _place(lengths), source, self._no_weights, states)
        to = (address(y), steps * y.shape[2], y.shape[2], address(ends["h"]), _place(ends.get("c")))

        def walk(_held: object = (x, lengths, start, ends)) -> None:
            self._packed.forward(call, *to)

        return walk, y

    def _call(
        self, extent: tuple[int, int], lengths: int, x: tuple[int, int, int], weights: tuple[int, ...], states: tuple[int, int]
    ) -> native.LayerCall:
        sizes = (*extent, self.input_size, self.hidden_size)
        return native.LayerCall(self._cell, self._kind, self.directions, 0, *sizes, lengths, *x, weights, *states, 0, 0, 1, 0)


def single_steps(
    ops: NativeOps, block: Recurrent, weights: Mapping[str, Array], vectors: Array | None = None,
    linear: tuple[Array, Array | None] | None = None,
) -> native.Stack:  # fmt: skip
    """A block in one direction for single steps; one for all streams of a net.

    Args:  vectors: (V, I) dense, an embedding; linear: weight and bias of what follows; both the net's own arrays.
    """
    key = block.name, id(vectors), id(None if linear is None else linear[0])
    found = ops._stacks.get(key)
    if found is None:  # as for layers, one of two equal results stays
        layers = [layer._packed for layer in ops._layers(block, weights)]
        made = native.Stack(layers, vectors, None if linear is None else ops._packed_linear(*linear))
        found = ops._stacks.setdefault(key, (vectors, linear, made))
    return found[2]


def prepared_linear(ops: NativeOps, weight: Array, bias: Array | None) -> native.PackedLinear:
    """A linear layer laid out, once for all who ask with these very arrays, which are the net's own."""
    return ops._packed_linear(weight, bias)


def prepared_recurrent(
    ops: NativeOps, block: Recurrent, weights: Mapping[str, Array], x: Array, state: Mapping[str, Array]
) -> tuple[list[Callable[[], None]], Array]:
    """Calls that walk a block in one direction over arrays that stay, and its output, which they overwrite.

    Args:  x: (B, T, I) dense, of the weights' dtype. state: (L, B, H) dense a part, stepped in place.
    """
    if x.shape[:2] == (1, 1):
        y = np.empty((1, 1, block.hidden_size), x.dtype)
        step = single_steps(ops, block, weights).stepper(state["h"], state.get("c"), y)
        return [partial(step, address(x))], y
    calls: list[Callable[[], None]] = []
    for index, layer in enumerate(ops._layers(block, weights)):
        start = {part: value[index : index + 1] for part, value in state.items()}
        ends = {part: np.empty_like(value) for part, value in start.items()}
        call, x = layer.prepared(x, None, start, ends)
        calls += [call, *(partial(np.copyto, start[part], end) for part, end in ends.items())]
    return calls, x


def _layers_of(
    block: Recurrent, weights: Mapping[str, Array], dtype: np.dtype[np.generic], int8: Int8Net | None = None
) -> tuple[_Layer, ...]:
    got = {name: weights[name].shape for name in block.parameters()}
    if got != block.parameters():
        raise ShapeError(f"weights of {block.name!r}: expected {block.parameters()}, got {got}")
    return tuple(_Layer(block, layer, weights, dtype, int8) for layer in range(block.num_layers))


def _start(shapes: Mapping[str, tuple[int, ...]], state: State, dtype: np.dtype[np.generic]) -> dict[str, Array]:
    """The initial state as the kernels read it. Raises: ShapeError."""
    for part, shape in shapes.items():
        if state[part].shape != shape:
            raise ShapeError(f"state {part!r}: expected {shape}, got {state[part].shape}")
    return {part: _dense(state[part], dtype) for part in shapes}


def _dense(array: Array, dtype: np.dtype[np.generic]) -> Array:
    return np.ascontiguousarray(array, dtype)


def _of_dtype(array: Array, dtype: np.dtype[np.generic]) -> Array:
    return array.astype(dtype, copy=False)


def _place(array: Array | None) -> int:
    return 0 if array is None else address(array)
