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
from typing import ClassVar, Literal, NamedTuple, TypeAlias, final

from tidegate.config import Plain, from_plain, to_plain
from tidegate.errors import ConfigError, nearest

Shape = tuple[int, ...]
Cell = Literal["rnn_tanh", "rnn_relu", "lstm", "gru"]
GATES: dict[str, int] = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
TIMED = ("sequence", "tokens")  # shapes of ports that have steps and lengths
CODED = ("codes", "tokens")  # shapes of ports that hold whole numbers
MAX_SIZE = 1 << 20
MAX_LAYERS = 256
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input of the model: `sequence` (B, T, size), `vector` (B, size), or int64: `codes` (B, size), `tokens` (B, T, size)."""

    name: str
    size: int
    shape: Literal["sequence", "vector", "codes", "tokens"] = "sequence"


@dataclass(frozen=True, kw_only=True)
class Linear:
    """y = x W^T + b over the last axis: (..., input_size) -> (..., output_size).

    tied: the Embed block whose table is W, so that tokens are read and foreseen with the same numbers (Press & Wolf 2017).
    """

    kind: ClassVar[str] = "linear"
    name: str
    inputs: tuple[str, ...]
    input_size: int
    output_size: int
    bias: bool = True
    tied: str | None = None

    def parameters(self) -> dict[str, Shape]:
        """Weights by name, in PyTorch's layout; a tied block owns its bias alone."""
        weight: dict[str, Shape] = {} if self.tied is not None else {"weight": (self.output_size, self.input_size)}
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

    Code 0 is kept for what was not seen in training.
    """

    kind: ClassVar[str] = "embed"
    name: str
    inputs: tuple[str, ...]
    num_embeddings: int
    embedding_dim: int
    column: int = 0
    std: float = 0.02  # of the values at initialisation

    def parameters(self) -> dict[str, Shape]:
        """The table."""
        return {"weight": (self.num_embeddings, self.embedding_dim)}


@dataclass(frozen=True, kw_only=True)
class Recurrent:
    """RNN, LSTM or GRU over time: (B, T, input_size) -> (B, T, D*hidden_size), stacked and bidirectional.

    A second input names a recurrent block with a state of the same form: its final state is this one's initial state
    (encoder-decoder).
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
    | Position
    | Mix
    | Take
)
_ARITY = {"concat": (1, 16), "add": (2, 16), "recurrent": (1, 2), "mix": (2, 2), "attend": (2, 2)}


@final
@dataclass(frozen=True, kw_only=True)
class Spec:
    """A model as data: inputs, blocks in the order in which they run, outputs by name."""

    inputs: tuple[Port, ...]
    blocks: tuple[Block, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        faults = list(_faults(self)) or list(_width_faults(self))  # widths say little where names are wrong
        if faults:
            raise ConfigError("\n".join(f"spec: {fault}" for fault in faults))

    def parameters(self) -> dict[str, Shape]:
        """Every weight of the model as `block.weight`, with its shape."""
        return {f"{b.name}.{n}": s for b in self.blocks for n, s in block_parameters(b).items()}

    def state(self) -> dict[str, Shape]:
        """The state of one row as `block.part`, with its shape; the parts stand one after the other in one flat row."""
        return {f"{b.name}.{n}": s for b in self.blocks if isinstance(b, Recurrent) for n, s in b.state().items()}

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


_WEIGHTLESS = (Activation, Concat, Add, Dropout, Fold, Unfold, Reverse, Shift, Last, Pool, Attend, Mix, Take)


def spec_to_plain(spec: Spec) -> Plain:
    """The spec as JSON-able data."""
    return to_plain(spec)


def spec_from_plain(plain: object) -> Spec:
    """The spec from JSON-able data. Raises: ConfigError that lists every fault."""
    return from_plain(Spec, plain, "spec")


def _faults(spec: Spec) -> Iterator[str]:
    known: set[str] = set()
    if not spec.inputs:
        yield "no input is named"
    for port in spec.inputs:
        yield from _name_faults(port.name, known)
        if not 0 <= port.size <= MAX_SIZE:
            yield f"input {port.name!r}: size must be 0 to {MAX_SIZE}, got {port.size}"
        known.add(port.name)
    for block in spec.blocks:
        yield from _name_faults(block.name, known)
        low, high = _ARITY.get(block.kind, (1, 1))
        if not low <= len(block.inputs) <= high:
            yield f"block {block.name!r}: takes {low} to {high} inputs, got {len(block.inputs)}"
        for name in block.inputs:
            if name not in known:
                yield f"block {block.name!r}: reads {name!r}, which does not stand before it; {nearest(name, known)}"
        yield from _size_faults(block)
        if isinstance(block, Linear) and block.tied is not None:
            yield from _tied_faults(block, spec)
        known.add(block.name)
    if not spec.outputs:
        yield "no output is named"
    for name in spec.outputs:
        if name not in known:
            yield f"output {name!r}: no such block; {nearest(name, known)}"
        if spec.outputs.count(name) > 1:
            yield f"output {name!r}: stands twice"


def _name_faults(name: str, known: set[str]) -> Iterator[str]:
    if not _NAME.match(name):
        yield f"{name!r}: a name is lower-case letters, digits and _, at most 64, and starts with a letter"
    if name in known:
        yield f"{name!r}: the name stands twice"


def _size_faults(block: Block) -> Iterator[str]:
    for field in ("input_size", "output_size", "hidden_size", "num_embeddings", "embedding_dim", "size", "steps", "num_layers"):
        value = getattr(block, field, 1)
        smallest = 0 if field == "input_size" else 1
        if not smallest <= value <= MAX_SIZE:
            yield f"block {block.name!r}: {field} must be {smallest} to {MAX_SIZE}, got {value}"
    if isinstance(block, Recurrent) and block.num_layers > MAX_LAYERS:
        yield f"block {block.name!r}: num_layers must be at most {MAX_LAYERS}, got {block.num_layers}"
    if isinstance(block, Recurrent) and block.time_scale is not None and not 1.0 <= block.time_scale < math.inf:
        yield f"block {block.name!r}: time_scale must be a number of steps, at least 1, got {block.time_scale}"
    if isinstance(block, Embed) and block.column < 0:
        yield f"block {block.name!r}: column must be at least 0, got {block.column}"
    if isinstance(block, Embed) and not 0.0 <= block.std < math.inf:
        yield f"block {block.name!r}: std must be at least 0, got {block.std}"
    if isinstance(block, Shift) and not 1 <= abs(block.by) <= MAX_SIZE:
        yield f"block {block.name!r}: by must be 1 to {MAX_SIZE} places, in one direction or the other, got {block.by}"
    if isinstance(block, Take) and block.start < 0:
        yield f"block {block.name!r}: start must be at least 0, got {block.start}"
    for field in ("dropout", "weight_dropout", "p"):
        value = getattr(block, field, 0.0)
        if not 0.0 <= value < 1.0:
            yield f"block {block.name!r}: {field} must be 0 <= p < 1, got {value}"


def _tied_faults(block: Linear, spec: Spec) -> Iterator[str]:
    """A tied block's table is there and has the block's form."""
    tables = {other.name: (other.num_embeddings, other.embedding_dim) for other in spec.blocks if isinstance(other, Embed)}
    if block.tied not in tables:
        yield f"block {block.name!r}: is tied to {block.tied!r}, which is no embed block; {nearest(str(block.tied), tables)}"
    elif tables[block.tied] != (block.output_size, block.input_size):
        yield (
            f"block {block.name!r}: expected a table of {(block.output_size, block.input_size)} in {block.tied!r}, which it is "
            f"tied to, got {tables[block.tied]}"
        )


class _Edge(NamedTuple):
    """What a block gives: a sequence, a vector or codes, and how many channels."""

    form: str
    width: int


class _Fault(Exception):
    """Two blocks that do not fit together, in words."""


def _width_faults(spec: Spec) -> Iterator[str]:
    """Follow the widths through the graph; the first block that does not fit is named, as those after it depend on it."""
    edges = {port.name: _Edge(port.shape, port.size) for port in spec.inputs}
    states = {block.name: block.state() for block in spec.blocks if isinstance(block, Recurrent)}
    try:
        for block in spec.blocks:
            edges[block.name] = _edge(block, [edges[name] for name in block.inputs])
            if isinstance(block, Recurrent) and len(block.inputs) == 2 and states.get(block.inputs[1]) != block.state():
                raise _Fault(f"starts at the state of {block.inputs[1]!r}, which has none of the form {block.state()}")
    except _Fault as fault:
        yield f"block {block.name!r}: {fault}"


def _edge(block: Block, sources: list[_Edge]) -> _Edge:
    """What the block gives for what it reads. Raises: _Fault."""
    if isinstance(block, Embed):
        whole = sources[0].form in CODED and block.column < sources[0].width
        _need(whole, f"codes or tokens with a column {block.column}", sources[0])
        return _Edge("vector" if sources[0].form == "codes" else "sequence", block.embedding_dim)
    for source in sources:
        _need(source.form not in CODED, "numbers", source)
    first = sources[0]
    if isinstance(block, (Concat, Add)):
        return _side_by_side(block, sources)
    if isinstance(block, Mix):
        _need(sources[1] == first, f"candidates like the scores, {first.form} of {first.width}", sources[1])
        return _Edge(first.form, 1)
    if isinstance(block, Attend):
        _need(first == _Edge("sequence", 1), "scores, a sequence of 1", first)
        _need(sources[1].form == "sequence", "a sequence of values", sources[1])
        return _Edge("vector", sources[1].width)
    if isinstance(block, Take):
        _need(block.start + block.size <= first.width, f"at least {block.start + block.size} channels", first)
        return _Edge(first.form, block.size)
    if isinstance(block, (Recurrent, Fold, Unfold, Reverse, Shift, Last, Pool, Position)):
        _need(first.form == "sequence", "a sequence", first)
    wanted = {Linear: "input_size", Recurrent: "input_size", Norm: "size", Position: "size"}.get(type(block))
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
