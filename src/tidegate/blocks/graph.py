"""Runs a spec: every block's forward, once, over Ops. In: inputs by name, lengths, state. Out: outputs by name, state.

Sequences are (B, T, C) with one set of lengths; a block of another rate (Fold, Unfold) changes the lengths with the steps.
What stands in the padding of an input is not read, and outputs there are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tidegate.blocks.ops import Array, Ops
from tidegate.errors import ShapeError
from tidegate.spec import (
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
    Position,
    Recurrent,
    Reverse,
    Shift,
    Spec,
    Take,
    Unfold,
    block_parameters,
    size_of,
    weight_name,
)


class Value(NamedTuple):
    """What stands on an edge of the graph."""

    x: Array  # (B, T, C) or (B, C); of tokens and codes whole numbers
    lengths: Array | None = None  # (B,) int64; None: every row is full
    state: Mapping[str, Array] | None = None  # the final state, where a recurrent block made it


class Ran(NamedTuple):
    """What a model returns."""

    outputs: dict[str, Array]
    state: dict[str, Array]  # "block.part" -> (L*D, B, H)


def run(
    ops: Ops,
    spec: Spec,
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    lengths: Mapping[str, Array] | None = None,
    state: Mapping[str, Array] | None = None,
) -> Ran:
    """Run every block in order.

    Args:  weights: `block.weight` -> array. inputs: one array a port. lengths: port -> (B,) int64 for sequences that are padded.
           state: `block.part` -> (L*D, B, H); what is missing starts at zero, or at the state of the block it reads.
    """
    known = {port.name: _entering(ops, inputs[port.name], (lengths or {}).get(port.name)) for port in spec.inputs}
    final: dict[str, Array] = {}
    items = spec.items
    for block in spec.blocks:
        own = {name: weights[weight_name(block, name)] for name in block_parameters(block)}
        sources = [known[name] for name in block.inputs]
        if isinstance(block, Recurrent):
            value = _recurrent(ops, block, own, sources, state or {})
            if block.name in items:
                value = value._replace(state=None)
            final.update({f"{block.name}.{part}": v for part, v in (value.state or {}).items()})
        else:
            value = _FORWARD[type(block)](ops, block, own, sources)
        known[block.name] = value
    return Ran({name: _entering(ops, known[name].x, known[name].lengths).x for name in spec.outputs}, final)


def forward_of(block: Block) -> Callable[..., Value]:
    """What runs a block that is not recurrent: (ops, block, its weights, its inputs) -> its value."""
    return _FORWARD[type(block)]


def _entering(ops: Ops, x: Array, lengths: Array | None) -> Value:
    """A value whose padding is 0."""
    return Value(x if lengths is None else ops.zero_padding(x, lengths), lengths)


def _recurrent(ops: Ops, block: Recurrent, own: Mapping[str, Array], sources: list[Value], state: Mapping[str, Array]) -> Value:
    given = {part: state[f"{block.name}.{part}"] for part in block.state() if f"{block.name}.{part}" in state}
    if not given and len(sources) == 2:
        given = _parted(ops, block, sources[1].x) if sources[1].state is None else dict(sources[1].state)
    y, final = ops.recurrent(block, own, sources[0].x, sources[0].lengths, given or None)
    return Value(y, sources[0].lengths, final)


def _parted(ops: Ops, block: Recurrent, flat: Array) -> dict[str, Array]:
    """A state out of a vector that holds it: (B, sum of L*D*H) -> (L*D, B, H) a part."""
    parts, start = {}, 0
    for name, (layers, size) in block.state().items():
        rows = [flat[:, start + k * size : start + (k + 1) * size] for k in range(layers)]
        parts[name], start = ops.stack(rows, 0), start + size_of((layers, size))
    return parts


def _linear(ops: Ops, block: Linear, own: Mapping[str, Array], sources: list[Value]) -> Value:
    return Value(ops.linear(sources[0].x, own["weight"], own.get("bias")), sources[0].lengths)


def _activation(ops: Ops, block: Activation, own: Mapping[str, Array], sources: list[Value]) -> Value:
    function = {"relu": ops.relu, "tanh": ops.tanh, "sigmoid": ops.sigmoid}[block.function]
    return Value(function(sources[0].x), sources[0].lengths)


def _embed(ops: Ops, block: Embed, own: Mapping[str, Array], sources: list[Value]) -> Value:
    return Value(ops.embed(own["weight"], sources[0].x[..., block.column]), sources[0].lengths)


def _norm(ops: Ops, block: Norm, own: Mapping[str, Array], sources: list[Value]) -> Value:
    return Value(ops.norm(sources[0].x, own["weight"], own["bias"]), sources[0].lengths)


def _concat(ops: Ops, block: Concat, own: Mapping[str, Array], sources: list[Value]) -> Value:
    steps, lengths = _timing(block, sources)
    parts = [s.x if steps is None or len(s.x.shape) == 3 else ops.over_time(s.x, steps) for s in sources]
    return Value(ops.concat(parts, -1), lengths)


def _add(ops: Ops, block: Add, own: Mapping[str, Array], sources: list[Value]) -> Value:
    steps, lengths = _timing(block, sources)
    total = None
    for source in sources:
        x = source.x if steps is None or len(source.x.shape) == 3 else source.x[:, None]
        total = x if total is None else total + x
    return Value(total, lengths)


def _timing(block: Block, sources: list[Value]) -> tuple[int | None, Array | None]:
    """The steps and lengths that inputs side by side share; vectors have none. Raises: ShapeError where they differ."""
    steps, lengths = None, None
    for name, source in zip(block.inputs, sources, strict=True):
        if len(source.x.shape) != 3:
            continue
        if steps not in (None, source.x.shape[1]):
            raise ShapeError(f"block {block.name!r}: expected {steps} steps of {name!r}, as before it, got {source.x.shape[1]}")
        steps = source.x.shape[1]
        if lengths is None:
            lengths = source.lengths
        elif source.lengths is not None and source.lengths is not lengths and bool((source.lengths != lengths).any()):
            raise ShapeError(f"block {block.name!r}: the lengths of {name!r} differ from those of the inputs before it")
    return steps, lengths


def _dropout(ops: Ops, block: Dropout, own: Mapping[str, Array], sources: list[Value]) -> Value:
    return Value(ops.dropout(sources[0].x, block.p, locked=block.locked), sources[0].lengths)


def _fold(ops: Ops, block: Fold, own: Mapping[str, Array], sources: list[Value]) -> Value:
    batch, steps, channels = sources[0].x.shape
    if steps % block.size:
        raise ShapeError(f"block {block.name!r}: expected a multiple of {block.size} steps, got {steps}. Pad to whole segments.")
    lengths = sources[0].lengths
    folded = ops.reshape(sources[0].x, (batch, steps // block.size, block.size * channels))
    return Value(folded, None if lengths is None else ops.divide_up(lengths, block.size))


def _unfold(ops: Ops, block: Unfold, own: Mapping[str, Array], sources: list[Value]) -> Value:
    batch, steps, channels = sources[0].x.shape
    lengths = sources[0].lengths
    unfolded = ops.reshape(sources[0].x, (batch, steps * block.size, channels // block.size))
    return Value(unfolded, None if lengths is None else lengths * block.size)


def _reverse(ops: Ops, block: Reverse, own: Mapping[str, Array], sources: list[Value]) -> Value:
    return Value(ops.reverse(sources[0].x, sources[0].lengths), sources[0].lengths)


def _shift(ops: Ops, block: Shift, own: Mapping[str, Array], sources: list[Value]) -> Value:
    x, lengths = sources[0].x, sources[0].lengths
    batch, steps, channels = x.shape
    by = min(abs(block.by), steps)
    x = x if lengths is None else ops.zero_padding(x, lengths)  # what moves in from beyond a row's end is 0
    nothing = ops.zeros(x, (batch, by, channels))
    moved = ops.concat([nothing, x[:, : steps - by]] if block.by > 0 else [x[:, by:], nothing], 1)
    return Value(moved if lengths is None else ops.zero_padding(moved, lengths), lengths)


def _last(ops: Ops, block: Last, own: Mapping[str, Array], sources: list[Value]) -> Value:
    x, lengths = sources[0].x, sources[0].lengths
    if not block.both:
        return Value(ops.last(x, lengths))
    half, one = x.shape[-1] // 2, None if lengths is None else lengths.clip(max=1)
    return Value(ops.concat([ops.last(x[..., :half], lengths), ops.last(x[:, :1, half:], one)], -1))


def _pool(ops: Ops, block: Pool, own: Mapping[str, Array], sources: list[Value]) -> Value:
    return Value(ops.pool(sources[0].x, sources[0].lengths, block.how))


def _attend(ops: Ops, block: Attend, own: Mapping[str, Array], sources: list[Value]) -> Value:
    _, lengths = _timing(block, sources)
    return Value(ops.attend(sources[0].x[..., 0], sources[1].x, lengths))


def _gather(ops: Ops, block: Gather, own: Mapping[str, Array], sources: list[Value]) -> Value:
    return Value(ops.embed(sources[0].x, sources[1].x[..., 0]), sources[1].lengths)


def _crf(ops: Ops, block: Crf, own: Mapping[str, Array], sources: list[Value]) -> Value:
    return Value(sources[0].x, sources[0].lengths)


def _match(ops: Ops, block: Match, own: Mapping[str, Array], sources: list[Value]) -> Value:
    queries, keys = sources
    return Value(ops.match(queries.x, keys.x, keys.lengths, own.get("weight")), queries.lengths)


def _blend(ops: Ops, block: Blend, own: Mapping[str, Array], sources: list[Value]) -> Value:
    alignment, values = sources
    if alignment.x.shape[2] != values.x.shape[1]:
        expected = f"{alignment.x.shape[2]} values, one a key"
        raise ShapeError(f"block {block.name!r}: expected {expected}, got {values.x.shape[1]}")
    return Value(ops.blend(alignment.x, values.x, values.lengths), alignment.lengths)


def _position(ops: Ops, block: Position, own: Mapping[str, Array], sources: list[Value]) -> Value:
    steps = sources[0].x.shape[1]
    if steps > block.steps:
        raise ShapeError(f"block {block.name!r}: expected at most {block.steps} steps, got {steps}; cut the input.")
    return Value(sources[0].x + own["weight"][None, :steps], sources[0].lengths)


def _mix(ops: Ops, block: Mix, own: Mapping[str, Array], sources: list[Value]) -> Value:
    _, lengths = _timing(block, sources)
    return Value(ops.total(ops.softmax(sources[0].x) * sources[1].x), lengths)


def _take(ops: Ops, block: Take, own: Mapping[str, Array], sources: list[Value]) -> Value:
    return Value(sources[0].x[..., block.start : block.start + block.size], sources[0].lengths)


_FORWARD: dict[type[Block], Callable[..., Value]] = {  # each takes the block of its own key
    Linear: _linear,
    Activation: _activation,
    Embed: _embed,
    Norm: _norm,
    Concat: _concat,
    Add: _add,
    Dropout: _dropout,
    Fold: _fold,
    Unfold: _unfold,
    Reverse: _reverse,
    Shift: _shift,
    Last: _last,
    Pool: _pool,
    Attend: _attend,
    Gather: _gather,
    Crf: _crf,
    Match: _match,
    Blend: _blend,
    Position: _position,
    Mix: _mix,
    Take: _take,
}
