"""Every block of a spec in ONNX's operators: the twin of blocks/graph.py. In: a sheet, a spec, weights. Out: names of values.

Sequences are (B, T, C) with lengths (B,) int64, as in blocks/graph.py; what stands in the padding is not read, and outputs there
are 0. Lengths and codes that Tidegate would refuse are errors of the runtime here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tidegate.errors import TaskError
from tidegate.export.onnx_recurrent import State, recurrent
from tidegate.export.onnx_sheet import Sheet
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

LOWEST = float(np.finfo(np.float32).min)
NORM_EPSILON = 1e-5
Weights = Mapping[str, npt.NDArray[np.floating]]


class Edge(NamedTuple):
    """What stands on an edge of the graph."""

    x: str
    width: int  # channels; 0: of an alignment, the steps of its keys
    timed: bool  # (B, T, C), not (B, C)
    lengths: str | None = None  # (B,) int64; None: every row is full
    state: State | None = None  # the final state, where a recurrent block made it


class Written(NamedTuple):
    """What a spec gives."""

    outputs: dict[str, Edge]
    state: dict[str, str]  # "block.part" -> (L*D, B, H)


Own = Mapping[str, str]  # a block's weights by their names in the block


def write_spec(
    sheet: Sheet, spec: Spec, weights: Weights, prefix: str, ports: Mapping[str, Edge], state: Mapping[str, str]
) -> Written:
    """Write every block in order.

    Args:  prefix: of the names of weights. ports: the inputs. state: "block.part" -> (L*D, B, H); what is missing starts at zero,
        or at the state of the block it reads.
    Raises: TaskError that names the first block that ONNX cannot hold.
    """
    known = {name: _entering(sheet, edge) for name, edge in ports.items()}
    final: dict[str, str] = {}
    for block in spec.blocks:
        sources = [known[name] for name in block.inputs]
        if isinstance(block, Recurrent):
            own = {name: weights[weight_name(block, name)] for name in block.parameters()}
            edge = _recurrent(sheet, block, own, f"{prefix}{block.name}", sources, state)
            final |= {} if block.name in spec.items else {f"{block.name}.{part}": v for part, v in (edge.state or {}).items()}
        else:
            names = {n: (f"{prefix}{weight_name(block, n)}", weights[weight_name(block, n)]) for n in block_parameters(block)}
            edge = _forward(block)(sheet, block, {n: sheet.array(*given) for n, given in names.items()}, sources)
        known[block.name] = edge
    return Written({name: _entering(sheet, known[name]) for name in spec.outputs}, final)


def _forward(block: Block) -> Callable[..., Edge]:
    found = FORWARD.get(type(block))
    if found is None:
        raise TaskError(
            f"block {block.name!r}: expected one that the export to ONNX knows, got a block of the kind {block.kind!r}; "
            "predict with Tidegate, or export a model without it"
        )
    return found


def _entering(sheet: Sheet, edge: Edge) -> Edge:
    """A value whose padding is 0."""
    if edge.lengths is None or not edge.timed:
        return edge
    return edge._replace(x=zero_padding(sheet, edge.x, edge.lengths))


def steps_of(sheet: Sheet, x: str) -> str:
    """(1,) the T of (B, T, ...)."""
    return sheet.op("Shape", x, also={"start": 1, "end": 2})


def valid(sheet: Sheet, x: str, lengths: str) -> str:
    """(B, T) true where a row has a step."""
    count = sheet.op("Squeeze", steps_of(sheet, x), sheet.ints(0))
    place = sheet.op("Range", sheet.integer(0), count, sheet.integer(1))
    return sheet.op("Less", sheet.op("Unsqueeze", place, sheet.ints(0)), sheet.op("Unsqueeze", lengths, sheet.ints(1)))


def masked(sheet: Sheet, x: str, lengths: str, instead: float) -> str:
    """(B, T, C) with another number past each row's length."""
    inside = sheet.op("Unsqueeze", valid(sheet, x, lengths), sheet.ints(2))
    return sheet.op("Where", inside, x, sheet.op("CastLike", sheet.number(instead), x))


def zero_padding(sheet: Sheet, x: str, lengths: str) -> str:
    """(B, T, C) with 0 past each row's length."""
    return masked(sheet, x, lengths, 0.0)


def zero_empty(sheet: Sheet, x: str, lengths: str) -> str:
    """(B, C) with 0 in rows of length 0."""
    return sheet.op("Where", _any(sheet, lengths), x, sheet.number(0.0))


def channels(sheet: Sheet, x: str, start: int, stop: int) -> str:
    """Some of the last axis."""
    return sheet.op("Slice", x, sheet.ints(start), sheet.ints(stop), sheet.ints(-1))


def _any(sheet: Sheet, lengths: str) -> str:
    """(B, 1) true where a row has a step."""
    return sheet.op("Unsqueeze", sheet.op("Greater", lengths, sheet.integer(0)), sheet.ints(1))


def _column(sheet: Sheet, x: str, column: int) -> str:
    return sheet.op("Gather", x, sheet.integer(column), also={"axis": -1})


def _recurrent(sheet: Sheet, block: Recurrent, own: Weights, name: str, sources: list[Edge], state: Mapping[str, str]) -> Edge:
    given = {part: state[f"{block.name}.{part}"] for part in block.state() if f"{block.name}.{part}" in state}
    if not given and len(sources) == 2:
        given = _parted(sheet, block, sources[1].x) if sources[1].state is None else dict(sources[1].state)
    y, final = recurrent(sheet, block, own, name, sources[0].x, sources[0].lengths, given)
    return Edge(y, block.directions * block.hidden_size, True, sources[0].lengths, final)


def _parted(sheet: Sheet, block: Recurrent, flat: str) -> dict[str, str]:
    """A state out of a vector that holds it: (B, sum of L*D*H) -> (L*D, B, H) a part."""
    parts, start = {}, 0
    for name, shape in block.state().items():
        rows = sheet.op("Reshape", channels(sheet, flat, start, start + size_of(shape)), sheet.ints(0, *shape))
        parts[name], start = sheet.op("Transpose", rows, also={"perm": (1, 0, 2)}), start + size_of(shape)
    return parts


def _linear(sheet: Sheet, block: Linear, own: Own, sources: list[Edge]) -> Edge:
    y = sheet.op("MatMul", sources[0].x, sheet.op("Transpose", own["weight"], also={"perm": (1, 0)}))
    return sources[0]._replace(x=sheet.op("Add", y, own["bias"]) if block.bias else y, width=block.output_size, state=None)


def _activation(sheet: Sheet, block: Activation, own: Own, sources: list[Edge]) -> Edge:
    return _like(sources[0], sheet.op({"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[block.function], sources[0].x))


def _like(edge: Edge, x: str) -> Edge:
    return edge._replace(x=x, state=None)


def _embed(sheet: Sheet, block: Embed, own: Own, sources: list[Edge]) -> Edge:
    codes = _column(sheet, sources[0].x, block.column)
    # ONNX counts negative places from the end; beyond the table they are an error of the runtime.
    below = sheet.op("Less", codes, sheet.integer(0))
    codes = sheet.op("Where", below, sheet.integer(block.num_embeddings), codes)
    return sources[0]._replace(x=sheet.op("Gather", own["weight"], codes, also={"axis": 0}), width=block.embedding_dim)


def _norm(sheet: Sheet, block: Norm, own: Own, sources: list[Edge]) -> Edge:
    also: dict[str, int | float] = {"axis": -1, "epsilon": NORM_EPSILON}
    return _like(sources[0], sheet.op("LayerNormalization", sources[0].x, own["weight"], own["bias"], also=also))


def _timing(sources: list[Edge]) -> tuple[Edge | None, str | None]:
    """The first of the inputs side by side that has steps, and the lengths that all share."""
    timed = [source for source in sources if source.timed]
    return (timed[0] if timed else None), next((s.lengths for s in timed if s.lengths is not None), None)


def _concat(sheet: Sheet, block: Concat, own: Own, sources: list[Edge]) -> Edge:
    first, lengths = _timing(sources)
    parts = [s.x if first is None or s.timed else _over_time(sheet, s.x, first.x) for s in sources]
    width = sum(source.width for source in sources)
    return Edge(sheet.op("Concat", *parts, also={"axis": -1}), width, first is not None, lengths)


def _over_time(sheet: Sheet, x: str, like: str) -> str:
    """(B, C) -> (B, T, C), repeated."""
    shape = sheet.op("Concat", sheet.ints(1), steps_of(sheet, like), sheet.ints(1), also={"axis": 0})
    return sheet.op("Expand", sheet.op("Unsqueeze", x, sheet.ints(1)), shape)


def _add(sheet: Sheet, block: Add, own: Own, sources: list[Edge]) -> Edge:
    first, lengths = _timing(sources)
    parts = [s.x if first is None or s.timed else sheet.op("Unsqueeze", s.x, sheet.ints(1)) for s in sources]
    return Edge(sheet.op("Sum", *parts), sources[0].width, first is not None, lengths)


def _dropout(sheet: Sheet, block: Dropout, own: Own, sources: list[Edge]) -> Edge:
    return _like(sources[0], sources[0].x)


def _fold(sheet: Sheet, block: Fold, own: Own, sources: list[Edge]) -> Edge:
    width, lengths = sources[0].width * block.size, sources[0].lengths
    if lengths is not None:
        lengths = sheet.op("Div", sheet.op("Add", lengths, sheet.integer(block.size - 1)), sheet.integer(block.size))
    return Edge(sheet.op("Reshape", sources[0].x, sheet.ints(0, -1, width)), width, True, lengths)


def _unfold(sheet: Sheet, block: Unfold, own: Own, sources: list[Edge]) -> Edge:
    width, lengths = sources[0].width // block.size, sources[0].lengths
    lengths = None if lengths is None else sheet.op("Mul", lengths, sheet.integer(block.size))
    return Edge(sheet.op("Reshape", sources[0].x, sheet.ints(0, -1, width)), width, True, lengths)


def _reverse(sheet: Sheet, block: Reverse, own: Own, sources: list[Edge]) -> Edge:
    x, lengths = sources[0].x, sources[0].lengths
    also = {"batch_axis": 0, "time_axis": 1}
    if lengths is None:
        every = sheet.op("Expand", steps_of(sheet, x), sheet.op("Shape", x, also={"start": 0, "end": 1}))
        return _like(sources[0], sheet.op("ReverseSequence", x, every, also=also))
    turned = sheet.op("ReverseSequence", x, sheet.op("Max", lengths, sheet.integer(1)), also=also)
    return _like(sources[0], zero_padding(sheet, turned, lengths))


def _shift(sheet: Sheet, block: Shift, own: Own, sources: list[Edge]) -> Edge:
    lengths, by = sources[0].lengths, abs(block.by)
    x = _entering(sheet, sources[0]).x  # what moves in from beyond a row's end is 0
    later = block.by > 0
    wider = sheet.op("Pad", x, sheet.ints(0, by if later else 0, 0, 0, 0 if later else by, 0))
    start = sheet.ints(0 if later else by)
    moved = sheet.op("Slice", wider, start, sheet.op("Add", start, steps_of(sheet, x)), sheet.ints(1))
    return _like(sources[0], moved if lengths is None else zero_padding(sheet, moved, lengths))


def _last(sheet: Sheet, block: Last, own: Own, sources: list[Edge]) -> Edge:
    x, width, lengths = sources[0].x, sources[0].width, sources[0].lengths
    if not block.both:
        return Edge(_last_step(sheet, x, lengths), width, False)
    half = width // 2
    begin = sheet.op("Gather", channels(sheet, x, half, width), sheet.integer(0), also={"axis": 1})
    begin = begin if lengths is None else zero_empty(sheet, begin, lengths)
    end = _last_step(sheet, channels(sheet, x, 0, half), lengths)
    return Edge(sheet.op("Concat", end, begin, also={"axis": -1}), width, False)


def _last_step(sheet: Sheet, x: str, lengths: str | None) -> str:
    if lengths is None:
        return sheet.op("Gather", x, sheet.integer(-1), also={"axis": 1})
    place = sheet.op("Max", sheet.op("Sub", lengths, sheet.integer(1)), sheet.integer(0))
    rows = sheet.op("GatherND", x, sheet.op("Unsqueeze", place, sheet.ints(1)), also={"batch_dims": 1})
    return zero_empty(sheet, rows, lengths)


def _pool(sheet: Sheet, block: Pool, own: Own, sources: list[Edge]) -> Edge:
    x, width, lengths = sources[0].x, sources[0].width, sources[0].lengths
    kind, keep = "ReduceMax" if block.how == "max" else "ReduceMean", {"keepdims": 0}
    if lengths is None:
        return Edge(sheet.op(kind, x, sheet.ints(1), also=keep), width, False)
    if block.how == "max":
        highest = sheet.op("ReduceMax", masked(sheet, x, lengths, LOWEST), sheet.ints(1), also=keep)
        return Edge(zero_empty(sheet, highest, lengths), width, False)
    count = sheet.op("CastLike", sheet.op("Max", lengths, sheet.integer(1)), x)
    total = sheet.op("ReduceSum", zero_padding(sheet, x, lengths), sheet.ints(1), also=keep)
    return Edge(sheet.op("Div", total, sheet.op("Unsqueeze", count, sheet.ints(1))), width, False)


def _shares(sheet: Sheet, scores: str, of: str, lengths: str | None) -> str:
    """(B, U, S) scores -> their softmax over each row's valid steps of (B, S, C), 0 past them."""
    if lengths is None:
        return sheet.op("Softmax", scores, also={"axis": -1})
    inside = sheet.op("Unsqueeze", valid(sheet, of, lengths), sheet.ints(1))
    each = sheet.op("Softmax", sheet.op("Where", inside, scores, sheet.number(LOWEST)), also={"axis": -1})
    return sheet.op("Where", inside, each, sheet.number(0.0))


def _attend(sheet: Sheet, block: Attend, own: Own, sources: list[Edge]) -> Edge:
    scores, values = sources
    _, lengths = _timing(sources)
    shares = _shares(sheet, sheet.op("Transpose", scores.x, also={"perm": (0, 2, 1)}), values.x, lengths)
    inside = values.x if lengths is None else zero_padding(sheet, values.x, lengths)
    return Edge(sheet.op("Squeeze", sheet.op("MatMul", shares, inside), sheet.ints(1)), values.width, False)


def _gather(sheet: Sheet, block: Gather, own: Own, sources: list[Edge]) -> Edge:
    vectors, numbers = sources
    x = sheet.op("Gather", vectors.x, _column(sheet, numbers.x, 0), also={"axis": 0})
    return Edge(x, vectors.width, True, numbers.lengths)


def _crf(sheet: Sheet, block: Crf, own: Own, sources: list[Edge]) -> Edge:
    return _like(sources[0], sources[0].x)


def _match(sheet: Sheet, block: Match, own: Own, sources: list[Edge]) -> Edge:
    queries, keys = sources
    if block.scoring == "dot":
        scores = sheet.op("MatMul", queries.x, sheet.op("Transpose", keys.x, also={"perm": (0, 2, 1)}))
    else:
        pairs = (sheet.op("Unsqueeze", queries.x, sheet.ints(2)), sheet.op("Unsqueeze", keys.x, sheet.ints(1)))
        scores = sheet.op("MatMul", sheet.op("Tanh", sheet.op("Add", *pairs)), own["weight"])
    return Edge(_shares(sheet, scores, keys.x, keys.lengths), 0, True, queries.lengths)


def _blend(sheet: Sheet, block: Blend, own: Own, sources: list[Edge]) -> Edge:
    alignment, values = sources
    return Edge(sheet.op("MatMul", alignment.x, _entering(sheet, values).x), values.width, True, alignment.lengths)


def _position(sheet: Sheet, block: Position, own: Own, sources: list[Edge]) -> Edge:
    every = sheet.op("Expand", sheet.number(1.0), steps_of(sheet, sources[0].x))
    # Not by Range: ONNX Runtime makes a slice of it, and a table of one row would be added to every step; this is an error there.
    place = sheet.op("Squeeze", sheet.op("NonZero", every), sheet.ints(0))
    rows = sheet.op("Gather", own["weight"], place, also={"axis": 0})
    return _like(sources[0], sheet.op("Add", sources[0].x, rows))


def _mix(sheet: Sheet, block: Mix, own: Own, sources: list[Edge]) -> Edge:
    first, lengths = _timing(sources)
    shares = sheet.op("Softmax", sources[0].x, also={"axis": -1})
    mixed = sheet.op("ReduceSum", sheet.op("Mul", shares, sources[1].x), sheet.ints(-1), also={"keepdims": 1})
    return Edge(mixed, 1, first is not None, lengths)


def _take(sheet: Sheet, block: Take, own: Own, sources: list[Edge]) -> Edge:
    x = channels(sheet, sources[0].x, block.start, block.start + block.size)
    return sources[0]._replace(x=x, width=block.size, state=None)


FORWARD: dict[type[Block], Callable[..., Edge]] = {  # each takes the block of its own key
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
