"""A net over arrays that stay: the same rows and steps again and again. In: a Predictor, sizes. Out: arrays to fill in, a call.

What `Predictor.run` does for few short rows costs ten times the kernels: checks, a walk over the graph, new arrays. Here each
block is prepared into calls over arrays that are made once, and blocks that only look at numbers in another order are views:
the same kernels on the same numbers, so the same bits. A block of a kind that is not named here runs as the graph runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

from tidegate import native
from tidegate.blocks import graph
from tidegate.errors import TaskError
from tidegate.native import address
from tidegate.runtime.native_ops import NORM_EPSILON, NativeOps, prepared_linear, prepared_recurrent
from tidegate.runtime.predictor import Predictor
from tidegate.spec import (
    CODED,
    TIMED,
    Activation,
    Add,
    Block,
    Concat,
    Dropout,
    Fold,
    Last,
    Linear,
    Mix,
    Norm,
    Position,
    Recurrent,
    Take,
    Unfold,
    block_parameters,
    size_of,
    weight_name,
)

Array: TypeAlias = npt.NDArray[Any]
Call: TypeAlias = Callable[[], object]


@final
class Prepared:
    """A net that is run over one set of arrays; not for two threads at once.

    Args:  net: its recurrent blocks in one direction, each of one input. rows: B. steps: T of each port that has steps. carried:
        recurrent blocks that go on from `state`; the others start at zero in every run. inputs: those of another net of the same
        ports, rows and steps, to be filled in once for both.
    Raises: TaskError for a net of another form.
    """

    def __init__(
        self,
        net: Predictor,
        rows: int,
        steps: Mapping[str, int],
        carried: Collection[str] = (),
        inputs: Mapping[str, Array] | None = None,
    ) -> None:
        self._net, self._ops = net, net.ops
        self._dtype = np.dtype(net.initial_state().dtype)
        self._calls: list[Call] = []
        if any(port.items for port in net.spec.inputs):
            raise TaskError("a net that reads items, which rows share, is not prepared; use run()")
        self.inputs: dict[str, Array] = {}  # by port, (B, T, size) or (B, size), to be filled in
        for port in net.spec.inputs:
            shape = (rows, steps[port.name], port.size) if port.shape in TIMED else (rows, port.size)
            made = np.zeros(shape, np.int64 if port.shape in CODED else self._dtype)
            self.inputs[port.name] = made if inputs is None else inputs[port.name]
        blocks = [block for block in net.spec.blocks if isinstance(block, Recurrent)]
        for block in blocks:
            if block.bidirectional or len(block.inputs) == 2:
                raise TaskError(f"block {block.name!r} reads two ways, or starts at a state of other blocks; use run()")
        self.state, self.carried = _states([block for block in blocks if block.name in carried], rows, self._dtype)
        anew, others = _states([block for block in blocks if block.name not in carried], rows, self._dtype)
        self._parts = self.carried | others
        if anew.size:
            self._calls.append(partial(anew.fill, 0))
        self._values = dict(self.inputs)
        for each in net.spec.blocks:
            self._values[each.name] = self._prepared(each)
        self.outputs = {name: self._values[name] for name in net.spec.outputs}  # overwritten by every run

    def run(self) -> None:
        """From `inputs` and `state` to `outputs` and `state`."""
        for call in self._calls:
            call()

    def _prepared(self, block: Block) -> Array:
        """Where the block's value will stand; its calls are added."""
        sources = [self._values[name] for name in block.inputs]
        x = sources[0]
        if isinstance(block, Dropout):
            return x
        if isinstance(block, Fold):
            return self._dense(x).reshape(len(x), x.shape[1] // block.size, -1)
        if isinstance(block, Unfold):
            return self._dense(x).reshape(len(x), x.shape[1] * block.size, -1)
        if isinstance(block, Take):
            taken: Array = x[..., block.start : block.start + block.size]
            return taken
        if isinstance(block, Last) and not block.both and x.shape[1]:
            return x[:, -1]
        if isinstance(block, Concat) and all(each.ndim == x.ndim for each in sources):
            return self._concat(sources)
        if isinstance(block, (Add, Position)):
            return self._sum(block, sources)
        if isinstance(block, Activation) and block.function == "relu":
            return self._into(partial(np.maximum, x, np.zeros_like(x)), x.shape)
        return self._on_the_core(block, sources) if isinstance(self._ops, NativeOps) else self._by_itself(block, sources)

    def _on_the_core(self, block: Block, sources: list[Array]) -> Array:
        ops, own = self._ops, self._weights(block)
        assert isinstance(ops, NativeOps)
        if isinstance(block, Recurrent):
            parts = {part: self._parts[f"{block.name}.{part}"] for part in block.state()}
            calls, walked = prepared_recurrent(ops, block, own, self._dense(sources[0]), parts)
            self._calls += calls
            y: Array = walked
            return y
        if isinstance(block, Linear):
            return self._linear(sources[0], prepared_linear(ops, own["weight"], own.get("bias")))
        if isinstance(block, Mix):
            return self._mix(*sources)
        if isinstance(block, Norm):
            x, core, kind = self._dense(sources[0]), native.require(), native.DTYPES[self._dtype.name]
            normed = np.zeros_like(x)
            places = (address(x), address(own["weight"]), address(own["bias"]), NORM_EPSILON, address(normed))
            self._calls.append(partial(core.norm, kind, x.size // x.shape[-1], x.shape[-1], *places))
            return normed
        return self._by_itself(block, sources)

    def _by_itself(self, block: Block, sources: list[Array]) -> Array:
        """As the graph runs it."""
        if isinstance(block, Recurrent):
            return self._recurrent(block, sources[0])
        ops, own, forward = self._ops, self._weights(block), graph.forward_of(block)
        given = [graph.Value(source) for source in sources]
        y = np.array(forward(ops, block, own, given).x)

        def call() -> None:
            np.copyto(y, forward(ops, block, own, given).x)

        self._calls.append(call)
        return y

    def _recurrent(self, block: Recurrent, x: Array) -> Array:
        """Without the core."""
        ops, own = self._ops, self._weights(block)
        parts = {part: self._parts[f"{block.name}.{part}"] for part in block.state()}
        y = np.zeros((*x.shape[:2], block.hidden_size), x.dtype)

        def call() -> None:
            said, ends = ops.recurrent(block, own, x, None, parts)
            np.copyto(y, said)
            for part, value in parts.items():
                np.copyto(value, ends[part])

        self._calls.append(call)
        return y

    def _linear(self, x: Array, packed: native.PackedLinear) -> Array:
        """x @ weight.T + bias, of rows at one distance from each other."""
        if x.ndim != 2 or x.strides[1] != x.itemsize:
            x = self._dense(x)
        y = np.zeros((*x.shape[:-1], packed.outputs), x.dtype)
        rows = y.size // max(packed.outputs, 1)
        distance = x.strides[0] // x.itemsize if x.ndim == 2 else packed.inputs
        self._calls.append(packed.prepared(rows, x, distance, y))
        return y

    def _mix(self, scores: Array, values: Array) -> Array:
        """The values' sum under the scores' softmax."""
        x, size = self._dense(scores), scores.shape[-1]
        weights, core, kind = np.zeros_like(x), native.require(), native.DTYPES[self._dtype.name]
        self._calls.append(partial(core.softmax, kind, x.size // size, size, 0, address(x), address(weights)))
        mixed = self._into(partial(np.multiply, weights, values), x.shape)
        return self._linear(mixed, native.PackedLinear(np.ones((1, size), self._dtype)))

    def _concat(self, sources: list[Array]) -> Array:
        """Side by side; where all but one are empty, that one."""
        filled = [source for source in sources if source.shape[-1]]
        if len(filled) == 1:
            return filled[0]
        y = np.zeros((*sources[0].shape[:-1], sum(source.shape[-1] for source in sources)), self._dtype)
        first = 0
        for source in filled:
            self._calls.append(partial(np.copyto, y[..., first : first + source.shape[-1]], source))
            first += source.shape[-1]
        return y

    def _sum(self, block: Add | Position, sources: list[Array]) -> Array:
        """One after the other; vectors count at every step."""
        if isinstance(block, Position):
            steps = sources[0].shape[1]
            sources = [sources[0], self._weights(block)["weight"][None, :steps]]
        timed = max(source.ndim for source in sources)
        parts = [source if source.ndim == timed else source[:, None] for source in sources]
        shape = np.broadcast_shapes(*(part.shape for part in parts))
        total = parts[0]
        for part in parts[1:]:
            total = self._into(partial(np.add, total, part), shape)
        return total

    def _into(self, function: Callable[..., object], shape: tuple[int, ...]) -> Array:
        """A new array that `function(out=...)` fills in at every run."""
        y = np.zeros(shape, self._dtype)
        self._calls.append(partial(function, out=y))
        return y

    def _dense(self, x: Array) -> Array:
        """The same array, or one into which it is copied at every run."""
        if x.flags.c_contiguous:
            return x
        y = np.zeros_like(x, order="C")
        self._calls.append(partial(np.copyto, y, x))
        return y

    def _weights(self, block: Block) -> dict[str, Array]:
        weights = self._net.weights
        return {name: weights[weight_name(block, name)] for name in block_parameters(block)}


def _states(blocks: list[Recurrent], rows: int, dtype: np.dtype[Any]) -> tuple[Array, dict[str, Array]]:
    """All numbers of the blocks' states in one array, and each part of it, `block.part` -> (L, B, H)."""
    shapes = {f"{block.name}.{part}": (at[0], rows, at[1]) for block in blocks for part, at in block.state().items()}
    whole, parts, first = np.zeros(sum(map(size_of, shapes.values())), dtype), {}, 0
    for name, shape in shapes.items():
        parts[name] = whole[first : first + size_of(shape)].reshape(shape)
        first += size_of(shape)
    return whole, parts
