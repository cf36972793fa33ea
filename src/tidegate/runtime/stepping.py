"""A net of one row followed one step at a time, everything prepared. In: a Predictor, its state. Out: outputs, step after step.

What `Predictor.run` does for a sequence of one step costs ten times the kernels of a small net: checks, a walk over the graph,
new arrays. Here each block becomes one call over arrays that stay: the same kernels on the same numbers, so the same bits as the
whole sequence gives. What a block carries from step to step (a recurrent state, the sum of a mean) follows from its kind, and so
do the schema of a snapshot and the refusal of a net that reads the future.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

from tidegate import native
from tidegate.blocks import graph
from tidegate.blocks.weights import Floats
from tidegate.errors import TaskError
from tidegate.native import address
from tidegate.runtime import whole
from tidegate.runtime.int8 import UNITS
from tidegate.runtime.native_ops import NativeOps, single_steps
from tidegate.runtime.predictor import Predictor
from tidegate.runtime.snapshot import Field
from tidegate.runtime.steppable import unsteppable
from tidegate.spec import (
    CODED,
    TIMED,
    Block,
    Crf,
    Dropout,
    Embed,
    Last,
    Linear,
    Pool,
    Port,
    Recurrent,
    Spec,
    block_parameters,
    weight_name,
)

Array = npt.NDArray[np.generic]
State = dict[str, Any]  # arrays by field name, changed in place by a push
Values = dict[str, Any]  # (C,) by block, of one step
Call: TypeAlias = Callable[[Values], None]
Push: TypeAlias = Callable[[Mapping[str, Any]], Values]


@final
class Plan:
    """How a net is followed; immutable.

    Args:  net: of ports with steps.
    Raises: TaskError that names the block which cannot be stepped, and what to train instead.
    """

    def __init__(self, net: Predictor) -> None:
        for port in net.spec.inputs:
            if port.shape not in TIMED or port.items:
                raise TaskError(f"input {port.name!r} has no steps, so this net cannot be followed; use run() on whole sequences")
        for block in net.spec.blocks:
            reason = unsteppable(block, pools=True)
            if reason:
                raise TaskError(f"block {block.name!r} {reason}")
        self.net = net
        self._dtype = np.dtype(net.initial_state().dtype)
        self._chain = _chain(net.spec) if isinstance(net.ops, NativeOps) else None
        self.fields = tuple(self._fields())

    def start(self, rows: Floats | None = None) -> State:
        """Arrays of the fields, zero; or with the recurrent states of (1, S), as `Predictor.run` carries them."""
        state: State = {
            f.name: np.zeros([int(n or 0) for n in f.shape], np.dtype(f.dtype).newbyteorder("=")) for f in self.fields
        }
        if rows is not None:
            state |= {name: part[:, 0].copy() for name, part in self.net.state_parts(rows).items()}
        return state

    def bind(self, state: State) -> Push:
        """What reads one step of every port, (size,) numbers or codes, and returns the outputs, (C,) each, which it overwrites.

        `state` is changed in place and must stay. Inputs are not checked: the caller does.
        """
        if self._chain is not None:
            return self._bound_chain(*self._chain, state)
        calls = [self._call(block, state) for block in self.net.spec.blocks]
        outputs = self.net.spec.outputs

        def push(inputs: Mapping[str, Any]) -> Values:
            values: Values = dict(inputs)
            for call in calls:
                call(values)
            return {name: values[name] for name in outputs}

        return push

    def step_rows(self, states: Sequence[State], inputs: Mapping[str, Any]) -> Values | None:
        """One step into each of many different states at once, on the core; None without it.

        Args:  inputs: (N, size) numbers of the net's dtype, or codes, a port; not checked.
        Returns: (N, C) outputs, of the same bits as pushing each.
        """
        if not isinstance(self.net.ops, NativeOps):
            return None
        if self._chain is not None:
            _, read, out = self._chain
            return {
                out.name: self._rows(self._stack(), read, states, inputs[self.net.spec.inputs[0].name][:, 0], out.output_size)
            }
        values: Values = dict(inputs)
        for block in self.net.spec.blocks:
            values[block.name] = self._many(block, values, states)
        return {name: values[name] for name in self.net.spec.outputs}

    def _many(self, block: Block, values: Values, states: Sequence[State]) -> Array:
        """One block of one step of many rows, (N, C)."""
        x, ops, weights = values[block.inputs[0]], self.net.ops, self.net.weights
        assert isinstance(ops, NativeOps)
        if isinstance(block, Recurrent):
            own = {n: weights[f"{block.name}.{n}"] for n in block.parameters()}
            return self._rows(single_steps(ops, block, own), block, states, x, block.hidden_size)
        if isinstance(block, Embed):
            return np.asarray(weights[weight_name(block, "weight")][x[:, block.column]])
        if isinstance(block, (Dropout, Last, Crf)):
            return np.asarray(x)
        if not isinstance(block, Pool):
            said = self._forward(block, [graph.Value(values[name][:, None]) for name in block.inputs])
            return said.reshape(len(said), -1)
        said = np.empty_like(x)
        for row, state in enumerate(states):
            one = {block.inputs[0]: x[row]}
            self._call(block, state)(one)
            said[row] = one[block.name]
        return said

    def _rows(self, stack: native.Stack, read: Recurrent, states: Sequence[State], given: Any, size: int) -> Array:
        """A step of every row's recurrent state, (N, size)."""
        y = np.empty((len(states), size), self._dtype)
        held = [(state[f"{read.name}.h"], state.get(f"{read.name}.c")) for state in states]
        native.step_rows(stack, held, np.ascontiguousarray(given), y)
        return y

    def _stack(self) -> native.Stack:
        """The whole of a chain."""
        assert self._chain is not None
        assert isinstance(self.net.ops, NativeOps)
        embed, read, out = self._chain
        weights = self.net.weights
        own = {name: weights[f"{read.name}.{name}"] for name in read.parameters()}
        linear = weights[weight_name(out, "weight")], weights.get(f"{out.name}.bias")
        return single_steps(self.net.ops, read, own, weights[weight_name(embed, "weight")], linear)

    def _fields(self) -> list[Field]:
        found, widths = [], self.net.spec.widths()
        little = self._dtype.newbyteorder("<").str
        for block in self.net.spec.blocks:
            if isinstance(block, Recurrent):
                found += [Field(f"{block.name}.{part}", little, shape) for part, shape in block.state().items()]
            elif isinstance(block, Pool):
                size = widths[block.inputs[0]]
                kind = little if self.net.int8 is None or block.how == "max" else "<f8"  # holds sums of whole numbers exactly
                found += [Field(f"{block.name}.so_far", kind, (size,)), Field(f"{block.name}.count", "<i8", (1,))]
        return found

    def _bound_chain(self, embed: Embed, read: Recurrent, out: Linear, state: State) -> Push:
        """All of a language model in one call of the core."""
        stack, y = self._stack(), np.empty(out.output_size, self._dtype)
        parts = [state[f"{read.name}.{part}"] for part in read.state()]
        step = stack.stepper(parts[0], parts[1] if len(parts) > 1 else None, y)
        said, port = {out.name: y}, embed.inputs[0]

        def push(inputs: Mapping[str, Any], _held: object = (stack, parts)) -> Values:
            step(int(inputs[port][0]))
            return said

        return push

    def _call(self, block: Block, state: State) -> Call:
        """One block of one step."""
        name, source = block.name, block.inputs[0]
        weights, ops = self.net.weights, self.net.ops
        if isinstance(block, (Dropout, Last, Crf)):
            return lambda values: values.__setitem__(name, values[source])
        if isinstance(block, Embed):
            table, column = weights[weight_name(block, "weight")], block.column
            return lambda values: values.__setitem__(name, table[values[source][column]])
        if isinstance(block, Recurrent):
            return self._recurrent(block, state)
        if isinstance(block, Pool):
            return _pool(block, state) if self.net.int8 is None or block.how == "max" else _whole_mean(block, state)
        if isinstance(block, Linear):
            weight, bias = weights[weight_name(block, "weight")], weights.get(f"{name}.bias")
            return lambda values: values.__setitem__(name, ops.linear(values[source][None], weight, bias)[0])
        return self._by_itself(block)

    def _by_itself(self, block: Block) -> Call:
        """A block without weights that follow a state: as the graph runs it, over one step."""

        def call(values: Values) -> None:
            values[block.name] = self._forward(block, [graph.Value(values[name][None, None]) for name in block.inputs])[0, 0]

        return call

    def _forward(self, block: Block, sources: list[graph.Value]) -> Array:
        """As the graph runs it."""
        own = {n: self.net.weights[weight_name(block, n)] for n in block_parameters(block)}
        return np.asarray(graph.forward_of(block)(self.net.ops, block, own, sources).x)

    def _recurrent(self, block: Recurrent, state: State) -> Call:
        ops, name, source = self.net.ops, block.name, block.inputs[0]
        own = {n: self.net.weights[f"{name}.{n}"] for n in block.parameters()}
        parts = {part: state[f"{name}.{part}"] for part in block.state()}
        if isinstance(ops, NativeOps):
            stack = single_steps(ops, block, own)
            y, x = np.empty(block.hidden_size, self._dtype), np.empty(block.input_size, self._dtype)
            step, at = stack.stepper(parts["h"], parts.get("c"), y), address(x)

            def stepped(values: Values, _held: object = (stack, parts)) -> None:
                x[:] = values[source]
                step(at)
                values[name] = y

            return stepped

        def plain(values: Values) -> None:
            given = {part: value[:, None] for part, value in parts.items()}
            y, ends = ops.recurrent(block, own, values[source][None, None], None, given)
            for part, value in parts.items():
                value[:] = ends[part][:, 0]
            values[name] = y[0, 0]

        return plain


def _whole_mean(block: Pool, state: State) -> Call:
    """The mean so far of an int8 net, as `whole.mean` says of the whole sequence."""
    name, source = block.name, block.inputs[0]
    so_far, count = state[f"{name}.so_far"], state[f"{name}.count"]

    def call(values: Values) -> None:
        count[0] += 1
        so_far[:] += np.rint(values[source] * 2.0**UNITS)
        values[name] = whole.mean_of(so_far, count)

    return call


def _chain(spec: Spec) -> tuple[Embed, Recurrent, Linear] | None:
    """An embedding of one code, a recurrent block and a linear layer, one after the other; dropout does nothing here."""
    blocks: list[Block] = []
    before = spec.inputs[0].name
    for block in spec.blocks:
        if block.inputs != (before,):
            return None
        before = block.name
        if not isinstance(block, Dropout):
            blocks.append(block)
    if len(blocks) != 3 or spec.outputs != (before,) or not _one_code(spec.inputs):
        return None
    embed, read, out = blocks
    if isinstance(embed, Embed) and isinstance(read, Recurrent) and isinstance(out, Linear) and out.name == before:
        return embed, read, out
    return None


def _one_code(ports: Sequence[Port]) -> bool:
    return len(ports) == 1 and ports[0].size == 1 and ports[0].shape in CODED


def _pool(block: Pool, state: State) -> Call:
    """The mean or the maximum so far, summed in the order of the steps, as over the whole sequence."""
    name, source = block.name, block.inputs[0]
    so_far, count = state[f"{name}.so_far"], state[f"{name}.count"]
    mean = block.how == "mean"

    def call(values: Values) -> None:
        x = values[source]
        count[0] += 1
        if count[0] == 1:
            so_far[:] = x
        elif mean:
            np.add(so_far, x, out=so_far)
        else:
            np.copyto(so_far, x, where=x > so_far)
        values[name] = so_far / so_far.dtype.type(count[0]) if mean else so_far

    return call
