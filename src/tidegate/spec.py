"""What a model is made of, as plain frozen data. In: sizes. Out: a validated graph of blocks that blocks/ can run.

A spec has named inputs (`Port`), blocks in the order in which they run, and named outputs. Every block reads earlier
blocks or inputs by name, and says which weights it owns and which state it carries for one row.
The forward of each block stands in blocks/, its initial values in nn/init.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import ClassVar, Literal, NamedTuple, TypeAlias, final

from tidegate.config import Plain, from_plain, to_plain
from tidegate.errors import ConfigError, nearest, shown

Shape = tuple[int, ...]
Cell = Literal["rnn_tanh", "rnn_relu", "lstm", "gru"]
GATES: dict[str, int] = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
TIMED = ("sequence", "tokens")  # shapes of ports that have steps and lengths
CODED = ("codes", "tokens")  # shapes of ports that hold whole numbers
MAX_SIZE = 1 << 20
MAX_LAYERS = 256
MAX_PARTS = 1024  # inputs, blocks, outputs, each
MAX_FAULTS, MAX_COMPARED = 5, 64  # faults told at once, names looked at for one like an unknown one
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input of the model: `sequence` (B, T, size), `vector` (B, size), or int64: `codes` (B, size), `tokens` (B, T, size).

    items: its rows are not those of the batch but things that a `Gather` looks up, such as the distinct words of the batch.
    """

    name: str
    size: int
    shape: Literal["sequence", "vector", "codes", "tokens"] = "sequence"
    items: bool = False


@dataclass(frozen=True, kw_only=True)
class Linear:
    """y = x W^T + b over the last axis: (..., input_size) -> (..., output_size).

    table: the name under which W stands where several blocks share it (tied embeddings, Press & Wolf 2017); none: its own.
    """

    kind: ClassVar[str] = "linear"
    name: str
    inputs: tuple[str, ...]
    input_size: int
    output_size: int
    bias: bool = True
    table: str | None = None

    def parameters(self) -> dict[str, Shape]:
        """Weights by name, in PyTorch's layout."""
        weight: dict[str, Shape] = {"weight": (self.output_size, self.input_size)}
        return weight | {"bias": (self.output_size,)} if self.bias else weight


@dataclass(frozen=True, kw_only=True)
class Activation:
    """A pointwise function."""

    kind: ClassVar[str] = "activation"
    name: str
    inputs: tuple[str, ...]
    function: Literal["relu", "tanh", "sigmoid"]


@dataclass(frozen=True, kw_only=True)
class Embed:
    """Rows of a table: codes (B, size) -> (B, embedding_dim), tokens (B, T, size) -> (B, T, embedding_dim), from one column.

    Code 0 is kept for what was not seen in training. table: the name of the table where several blocks share it.
    """

    kind: ClassVar[str] = "embed"
    name: str
    inputs: tuple[str, ...]
    num_embeddings: int
    embedding_dim: int
    column: int = 0
    std: float = 0.02  # of the values at initialisation
    table: str | None = None

    def parameters(self) -> dict[str, Shape]:
        """The table."""
        return {"weight": (self.num_embeddings, self.embedding_dim)}


@dataclass(frozen=True, kw_only=True)
class Recurrent:
    """RNN, LSTM or GRU over time: (B, T, input_size) -> (B, T, D*hidden_size), stacked and bidirectional.

    A second input gives the initial state (encoder-decoder): a recurrent block with a state of the same form, whose final state
    it is; or a vector that holds it, part after part of `state()`, each layer after layer.
    weight_dropout: share of each weight_hh that is zero in a training step, the same at every step of time (Merity et al. 2018).
    """

    kind: ClassVar[str] = "recurrent"
    name: str
    inputs: tuple[str, ...]
    cell: Cell
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    weight_dropout: float = 0.0
    time_scale: float | None = None  # steps to remember at initialisation (chrono); None: forget bias 1

    @property
    def directions(self) -> int:
        """D: 1 or 2."""
        return 2 if self.bidirectional else 1

    def parameters(self) -> dict[str, Shape]:
        """Weights by PyTorch's names: weight_ih_l0 (G, I), weight_hh_l0 (G, H), bias_ih_l0, bias_hh_l0, ..., _reverse."""
        shapes: dict[str, Shape] = {}
        gates = GATES[self.cell] * self.hidden_size
        for layer in range(self.num_layers):
            width = self.input_size if layer == 0 else self.directions * self.hidden_size
            for suffix in ("", "_reverse")[: self.directions]:
                shapes[f"weight_ih_l{layer}{suffix}"] = (gates, width)
                shapes[f"weight_hh_l{layer}{suffix}"] = (gates, self.hidden_size)
                shapes[f"bias_ih_l{layer}{suffix}"] = (gates,)
                shapes[f"bias_hh_l{layer}{suffix}"] = (gates,)
        return shapes

    def state(self) -> dict[str, Shape]:
        """State of one row: h (L*D, H), and c of the same shape for the LSTM."""
        shape = (self.num_layers * self.directions, self.hidden_size)
        return {"h": shape, "c": shape} if self.cell == "lstm" else {"h": shape}


@dataclass(frozen=True, kw_only=True)
class Norm:
    """Layer normalisation over the last axis (Ba et al. 2016)."""

    kind: ClassVar[str] = "norm"
    name: str
    inputs: tuple[str, ...]
    size: int

    def parameters(self) -> dict[str, Shape]:
        """Gain and shift."""
        return {"weight": (self.size,), "bias": (self.size,)}


@dataclass(frozen=True, kw_only=True)
class Concat:
    """Inputs side by side along the last axis; a vector beside sequences is repeated over time."""

    kind: ClassVar[str] = "concat"
    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Add:
    """The sum of the inputs; a vector beside sequences is added at every step."""

    kind: ClassVar[str] = "add"
    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Zeroes a share `p` of the values during training and scales the rest by 1 / (1 - p).

    locked: the same channels at every step of a row (variational dropout, Gal & Ghahramani 2016).
    """

    kind: ClassVar[str] = "dropout"
    name: str
    inputs: tuple[str, ...]
    p: float
    locked: bool = False


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Segments of `size` steps side by side: (B, T, C) -> (B, T / size, size*C). T is a multiple of size; rate 1 / size."""

    kind: ClassVar[str] = "fold"
    name: str
    inputs: tuple[str, ...]
    size: int


@dataclass(frozen=True, kw_only=True)
class Unfold:
    """The inverse of Fold: (B, T, size*C) -> (B, T*size, C)."""

    kind: ClassVar[str] = "unfold"
    name: str
    inputs: tuple[str, ...]
    size: int


@dataclass(frozen=True, kw_only=True)
class Reverse:
    """Each row's valid steps in the opposite order: (B, T, C) -> (B, T, C). A cell between two of them reads right to left."""

    kind: ClassVar[str] = "reverse"
    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Steps moved by `by` places, later where it is positive: y_t = x_{t - by}, 0 where the row has no such step."""

    kind: ClassVar[str] = "shift"
    name: str
    inputs: tuple[str, ...]
    by: int


@dataclass(frozen=True, kw_only=True)
class Last:
    """The output at each row's last valid step: (B, T, C) -> (B, C); a row of length 0 gives 0.

    both: of a bidirectional block, whose backward half of the channels ends at the first step and is taken there.
    """

    kind: ClassVar[str] = "last"
    name: str
    inputs: tuple[str, ...]
    both: bool = False


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The mean or the maximum over each row's valid steps: (B, T, C) -> (B, C); a row of length 0 gives 0."""

    kind: ClassVar[str] = "pool"
    name: str
    inputs: tuple[str, ...]
    how: Literal["mean", "max"]


@dataclass(frozen=True, kw_only=True)
class Attend:
    """The mean of values under a softmax of scores over each row's valid steps (Bahdanau et al. 2015, with one query).

    Scores (B, T, 1) and values (B, T, C) -> (B, C); a row of length 0 gives 0.
    """

    kind: ClassVar[str] = "attend"
    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Gather:
    """Vectors of items where they occur: vectors (W, C) and tokens (B, T, 1), numbers of items from 0, -> (B, T, C)."""

    kind: ClassVar[str] = "gather"
    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Crf:
    """Scores of tags (B, T, size) under a linear-chain conditional random field (Lafferty et al. 2001).

    The scores pass as they are. The weights say how well one tag follows another (row: before, column: after), begins and ends;
    the loss and the decoder read them beside the scores (blocks/crf.py, decode/viterbi.py).
    """

    kind: ClassVar[str] = "crf"
    name: str
    inputs: tuple[str, ...]
    size: int

    def parameters(self) -> dict[str, Shape]:
        """What it adds to the scores of a path."""
        return {"transitions": (self.size, self.size), "start": (self.size,), "end": (self.size,)}


@dataclass(frozen=True, kw_only=True)
class Match:
    """How much each query attends to each key: queries (B, U, size), keys (B, S, size) -> alignment (B, U, S), sums of 1.

    A softmax over each row's valid keys of q . k ("dot": Luong et al. 2015, whose "general" form is a Linear on the keys before
    it) or of v . tanh(q + k) ("additive": Bahdanau et al. 2015). A row without keys gives 0.
    """

    kind: ClassVar[str] = "match"
    name: str
    inputs: tuple[str, ...]
    size: int
    scoring: Literal["dot", "additive"] = "dot"

    def parameters(self) -> dict[str, Shape]:
        """v, of additive scoring."""
        return {"weight": (self.size,)} if self.scoring == "additive" else {}


@dataclass(frozen=True, kw_only=True)
class Blend:
    """The values' mean under an alignment: (B, U, S) and values (B, S, C) -> (B, U, C)."""

    kind: ClassVar[str] = "blend"
    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Position:
    """A learned vector for each step, added to the input: (B, T, size) with T <= steps, first row first."""

    kind: ClassVar[str] = "position"
    name: str
    inputs: tuple[str, ...]
    steps: int
    size: int

    def parameters(self) -> dict[str, Shape]:
        """The table."""
        return {"weight": (self.steps, self.size)}


@dataclass(frozen=True, kw_only=True)
class Take:
    """Some of the channels: (..., C) -> (..., size), from channel `start`."""

    kind: ClassVar[str] = "take"
    name: str
    inputs: tuple[str, ...]
    start: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Mix:
    """A weighted mean of candidates: (B, T, J) scores and (B, T, J) candidates -> (B, T, 1), weights = softmax of the scores."""

    kind: ClassVar[str] = "mix"
    name: str
    inputs: tuple[str, ...]


Block: TypeAlias = (
    Linear
    | Activation
    | Embed
    | Recurrent
    | Norm
    | Concat
    | Add
    | Dropout
    | Fold
    | Unfold
    | Reverse
    | Shift
    | Last
    | Pool
    | Attend
    | Gather
    | Crf
    | Match
    | Blend
    | Position
    | Mix
    | Take
)
_ARITY = {
    "concat": (1, 16),
    "add": (2, 16),
    "recurrent": (1, 2),
    "mix": (2, 2),
    "attend": (2, 2),
    "match": (2, 2),
    "blend": (2, 2),
    "gather": (2, 2),
}


@final
@dataclass(frozen=True, kw_only=True)
class Spec:
    """A model as data: inputs, blocks in the order in which they run, outputs by name."""

    inputs: tuple[Port, ...]
    blocks: tuple[Block, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        faults = list(islice(_faults(self), MAX_FAULTS + 1)) or list(_width_faults(self))  # widths say little of wrong names
        if faults:
            more = ["spec: and more"] if len(faults) > MAX_FAULTS else []
            raise ConfigError("\n".join([*(f"spec: {fault}" for fault in faults[:MAX_FAULTS]), *more]))

    def parameters(self) -> dict[str, Shape]:
        """Every weight of the model as `block.weight`, with its shape; one that blocks share stands once, as `table.weight`."""
        return {weight_name(b, n): s for b in self.blocks for n, s in block_parameters(b).items()}

    def state(self) -> dict[str, Shape]:
        """The state of one row as `block.part`, with its shape; the parts stand one after the other in one flat row.

        What reads items (the letters of words) starts anew at each call and has none.
        """
        items = self.items
        own = (b for b in self.blocks if isinstance(b, Recurrent) and b.name not in items)
        return {f"{b.name}.{n}": s for b in own for n, s in b.state().items()}

    @cached_property  # asked at every step of a stream
    def items(self) -> Mapping[str, str]:
        """Ports and blocks whose rows are not the batch's, with the port whose items they are."""
        found = {port.name: port.name for port in self.inputs if port.items}
        for block in self.blocks:
            if not isinstance(block, Gather) and block.inputs[0] in found:
                found[block.name] = found[block.inputs[0]]
        return found

    def widths(self) -> dict[str, int]:
        """How many channels each port and block has."""
        return {name: edge.width for name, edge in _edges(self).items()}

    def state_size(self) -> int:
        """Floats of state a row carries."""
        return sum(size_of(s) for s in self.state().values())

    def count(self) -> int:
        """The number of weights."""
        return sum(size_of(s) for s in self.parameters().values())


def size_of(shape: Shape) -> int:
    """The number of elements of a shape."""
    total = 1
    for n in shape:
        total *= n
    return total


def block_parameters(block: Block) -> Mapping[str, Shape]:
    """The weights that a block owns, by name."""
    return {} if isinstance(block, _WEIGHTLESS) else block.parameters()


def weight_name(block: Block, name: str) -> str:
    """The model's name for a weight of a block."""
    table = block.table if isinstance(block, (Embed, Linear)) and name == "weight" else None
    return f"{table or block.name}.{name}"


_WEIGHTLESS = (Activation, Concat, Add, Dropout, Fold, Unfold, Reverse, Shift, Last, Pool, Attend, Gather, Blend, Mix, Take)


def spec_to_plain(spec: Spec) -> Plain:
    """The spec as JSON-able data."""
    return to_plain(spec)


def spec_from_plain(plain: object) -> Spec:
    """The spec from JSON-able data. Raises: ConfigError that lists every fault."""
    for name in ("inputs", "blocks", "outputs"):  # before thousands are built
        parts = plain.get(name) if isinstance(plain, Mapping) else None
        if isinstance(parts, (list, tuple)) and len(parts) > MAX_PARTS:
            raise ConfigError(f"spec: expected at most {MAX_PARTS:,} {name}, got {len(parts):,}")
    return from_plain(Spec, plain, "spec")


def _faults(spec: Spec) -> Iterator[str]:
    known: set[str] = set()
    if not spec.inputs:
        yield "no input is named"
    for port in spec.inputs:
        yield from _name_faults(port.name, known)
        if not 0 <= port.size <= MAX_SIZE:
            yield f"input {shown(port.name)}: size must be 0 to {MAX_SIZE}, got {shown(port.size)}"
        known.add(port.name)
    for block in spec.blocks:
        yield from _name_faults(block.name, known)
        low, high = _ARITY.get(block.kind, (1, 1))
        if not low <= len(block.inputs) <= high:
            yield f"block {shown(block.name)}: takes {low} to {high} inputs, got {len(block.inputs)}"
        for name in block.inputs:
            if name not in known:
                near = nearest(name, sorted(known)[:MAX_COMPARED])
                yield f"block {shown(block.name)}: reads {shown(name)}, which does not stand before it; {near}"
        yield from _size_faults(block)
        known.add(block.name)
    yield from _table_faults(spec, known)
    if not spec.outputs:
        yield "no output is named"
    for name in spec.outputs:
        if name not in known:
            yield f"output {shown(name)}: no such block; {nearest(name, sorted(known)[:MAX_COMPARED])}"
        if spec.outputs.count(name) > 1:
            yield f"output {shown(name)}: stands twice"


def _table_faults(spec: Spec, known: set[str]) -> Iterator[str]:
    """Tables that several blocks share."""
    shapes: dict[str, Shape] = {}
    for block in spec.blocks:
        table = block.table if isinstance(block, (Embed, Linear)) else None
        if table is None:
            continue
        yield from _name_faults(table, known)
        shape = block_parameters(block)["weight"]
        if shapes.setdefault(table, shape) != shape:
            yield f"block {shown(block.name)}: its table {shown(table)} has the shape {shapes[table]}, and it needs {shape}"


def _name_faults(name: str, known: set[str]) -> Iterator[str]:
    if not _NAME.match(name):
        yield f"{shown(name)}: a name is lower-case letters, digits and _, at most 64, and starts with a letter"
    if name in known:
        yield f"{shown(name)}: the name stands twice"


def _size_faults(block: Block) -> Iterator[str]:
    for field in ("input_size", "output_size", "hidden_size", "num_embeddings", "embedding_dim", "size", "steps", "num_layers"):
        value = getattr(block, field, 1)
        smallest = 0 if field == "input_size" else 1
        if not smallest <= value <= MAX_SIZE:
            yield f"block {shown(block.name)}: {field} must be {smallest} to {MAX_SIZE}, got {shown(value)}"
    if isinstance(block, Recurrent) and block.num_layers > MAX_LAYERS:
        yield f"block {shown(block.name)}: num_layers must be at most {MAX_LAYERS}, got {shown(block.num_layers)}"
    if isinstance(block, Recurrent) and block.time_scale is not None and not 1.0 <= block.time_scale < math.inf:
        yield f"block {shown(block.name)}: time_scale must be a number of steps, at least 1, got {block.time_scale}"
    if isinstance(block, Embed) and block.column < 0:
        yield f"block {shown(block.name)}: column must be at least 0, got {shown(block.column)}"
    if isinstance(block, Embed) and not 0.0 <= block.std < math.inf:
        yield f"block {shown(block.name)}: std must be at least 0, got {block.std}"
    if isinstance(block, Shift) and not 1 <= abs(block.by) <= MAX_SIZE:
        yield f"block {shown(block.name)}: by must be 1 to {MAX_SIZE} places, one way or the other, got {shown(block.by)}"
    if isinstance(block, Take) and block.start < 0:
        yield f"block {shown(block.name)}: start must be at least 0, got {shown(block.start)}"
    for field in ("dropout", "weight_dropout", "p"):
        value = getattr(block, field, 0.0)
        if not 0.0 <= value < 1.0:
            yield f"block {shown(block.name)}: {field} must be 0 <= p < 1, got {shown(value)}"


class _Edge(NamedTuple):
    """What a block gives: a sequence, a vector or codes, how many channels, and of what its rows are."""

    form: str
    width: int
    rows: str = ""  # the port of items; empty: the batch


class _Fault(Exception):
    """Two blocks that do not fit together, in words."""


def _edges(spec: Spec) -> dict[str, _Edge]:
    """What each port and block gives. Raises: _Fault that names the first block which does not fit."""
    edges = {port.name: _Edge(port.shape, port.size, port.name if port.items else "") for port in spec.inputs}
    states = {block.name: block.state() for block in spec.blocks if isinstance(block, Recurrent)}
    for block in spec.blocks:
        try:
            edges[block.name] = edge = _edge(block, [edges[name] for name in block.inputs])
            if edge.width > MAX_SIZE:
                raise _Fault(f"expected at most {MAX_SIZE:,} channels, got {shown(edge.width)}")
            if isinstance(block, Recurrent) and len(block.inputs) == 2:
                _check_start(block, states.get(block.inputs[1]), edges[block.inputs[1]])
        except _Fault as fault:
            raise _Fault(f"block {shown(block.name)}: {fault}") from None
    return edges


def _width_faults(spec: Spec) -> Iterator[str]:
    """Follow the widths through the graph; the first block that does not fit is named, as those after it depend on it."""
    try:
        edges = _edges(spec)
    except _Fault as fault:
        yield str(fault)
        return
    for name in spec.outputs:
        if edges[name].rows:
            yield f"output {name!r}: its rows are items of {edges[name].rows!r}, not those of the batch; gather them first"


def _check_start(block: Recurrent, state: Mapping[str, Shape] | None, edge: _Edge) -> None:
    """What a recurrent block starts at. Raises: _Fault."""
    if state is None:
        size = sum(size_of(shape) for shape in block.state().values())
        _need(edge == _Edge("vector", size), f"to start at a recurrent block or at a vector of {size}", edge)
    elif state != block.state():
        raise _Fault(f"starts at the state of {block.inputs[1]!r}, which has none of the form {block.state()}")


def _edge(block: Block, sources: list[_Edge]) -> _Edge:
    """What the block gives for what it reads. Raises: _Fault."""
    if isinstance(block, Embed):
        whole = sources[0].form in CODED and block.column < sources[0].width
        _need(whole, f"codes or tokens with a column {block.column}", sources[0])
        return _Edge("vector" if sources[0].form == "codes" else "sequence", block.embedding_dim, sources[0].rows)
    first = sources[0]
    if isinstance(block, Gather):
        _need(first.form == "vector" and bool(first.rows), "vectors of items", first)
        _need(sources[1].form == "tokens" and sources[1].width == 1 and not sources[1].rows, "tokens of 1", sources[1])
        return _Edge("sequence", first.width)
    for source in sources:
        _need(source.form not in CODED, "numbers", source)
        if source.rows != first.rows:
            raise _Fault(f"its inputs have different rows: {first.rows or 'the batch'}, and {source.rows or 'the batch'}")
    return _same_rows(block, sources)._replace(rows=first.rows)


def _same_rows(block: Block, sources: list[_Edge]) -> _Edge:
    first = sources[0]
    if isinstance(block, Blend):
        _need(first.form == "alignment", "an alignment", first)
        _need(sources[1].form == "sequence", "a sequence of values", sources[1])
        return sources[1]
    for source in sources:
        _need(source.form != "alignment", "a sequence or a vector", source)
    if isinstance(block, Match):
        for source in sources:
            _need(source == _Edge("sequence", block.size), f"a sequence of {block.size}", source)
        return _Edge("alignment", 0)
    if isinstance(block, (Concat, Add)):
        return _side_by_side(block, sources)
    if isinstance(block, Mix):
        _need(sources[1][:2] == first[:2], f"candidates like the scores, {first.form} of {first.width}", sources[1])
        return _Edge(first.form, 1)
    if isinstance(block, Attend):
        _need(first[:2] == ("sequence", 1), "scores, a sequence of 1", first)
        _need(sources[1].form == "sequence", "a sequence of values", sources[1])
        return _Edge("vector", sources[1].width)
    if isinstance(block, Take):
        _need(block.start + block.size <= first.width, f"at least {block.start + block.size} channels", first)
        return _Edge(first.form, block.size)
    if isinstance(block, (Recurrent, Fold, Unfold, Reverse, Shift, Last, Pool, Position, Crf)):
        _need(first.form == "sequence", "a sequence", first)
    wanted = {Linear: "input_size", Recurrent: "input_size", Norm: "size", Position: "size", Crf: "size"}.get(type(block))
    if wanted is not None:
        _need(first.width == getattr(block, wanted), f"{getattr(block, wanted)} channels", first)
    if isinstance(block, Last) and block.both:
        _need(first.width % 2 == 0, "an even number of channels", first)
    if isinstance(block, Unfold):
        _need(first.width % block.size == 0, f"a multiple of {block.size} channels", first)
    return _Edge("vector" if isinstance(block, (Last, Pool)) else first.form, _width(block, first.width))


def _side_by_side(block: Concat | Add, sources: list[_Edge]) -> _Edge:
    form = "sequence" if any(source.form == "sequence" for source in sources) else "vector"
    if isinstance(block, Concat):
        return _Edge(form, sum(source.width for source in sources))
    for source in sources:
        _need(source.width == sources[0].width, f"{sources[0].width} channels in each input", source)
    return _Edge(form, sources[0].width)


def _width(block: Block, width: int) -> int:
    if isinstance(block, Linear):
        return block.output_size
    if isinstance(block, Recurrent):
        return block.directions * block.hidden_size
    if isinstance(block, Fold):
        return width * block.size
    return width // block.size if isinstance(block, Unfold) else width


def _need(fits: bool, expected: str, got: _Edge) -> None:
    if not fits:
        raise _Fault(f"expected {expected}, got {got.form} of {got.width}")
