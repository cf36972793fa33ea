"""The nets of an encoder-decoder as specs. In: options, sizes. Out: the encoder, the decoder, and both joined, which trains.

What the decoder reads of the encoder are blocks of the joined net and ports of the decoder, by the same names: `memory` (B, S, C)
what the encoder says of each source token, `keys` (B, S, A) what its queries are matched with, `start` (B, L*H a part) its first
state, and without attention `context` (B, C), the encoder's last word, read at every step.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tidegate.spec import (
    Activation,
    Blend,
    Block,
    Cell,
    Concat,
    Dropout,
    Embed,
    Last,
    Linear,
    Match,
    Port,
    Recurrent,
    Spec,
)

TABLE = "vectors"  # the weights that tied blocks share
STD = 0.2  # of the vectors at first; at 0.06 attention was found later: loss 4.09 for 3.66 after 300 steps on captions


class Shaped(Protocol):
    """The options that shape the nets."""

    @property
    def attention(self) -> str:
        """none, additive or multiplicative."""

    @property
    def input_feeding(self) -> bool:
        """Whether a step reads the readout of the one before."""

    @property
    def cell(self) -> str:
        """rnn, lstm or gru."""

    @property
    def hidden_size(self) -> int:
        """H of the decoder."""

    @property
    def num_layers(self) -> int:
        """L."""

    @property
    def bidirectional(self) -> bool:
        """Whether the source is read both ways."""

    @property
    def embedding_dim(self) -> int:
        """Numbers a token."""

    @property
    def dropout(self) -> float:
        """Share of values dropped."""

    @property
    def tied(self) -> bool:
        """Whether target vectors and output layer are one table."""

    @property
    def shared(self) -> bool:
        """Whether source and target have one vocabulary, and one table of vectors."""


class Nets(NamedTuple):
    """The three specs of a translator; weights have the same names in all of them."""

    encoder: Spec
    decoder: Spec
    joined: Spec


def build_nets(options: Shaped, sources: int, targets: int) -> Nets:
    """The nets for as many source and target codes; a shared table has a row for each of the target's."""
    sources = targets if options.shared else sources
    source = Port(name="source", size=1, shape="tokens")
    previous = Port(name="previous", size=1, shape="tokens")
    encoder, decoder = _encoder(options, sources), _decoder(options, targets)
    feed = (Port(name="feed", size=options.embedding_dim, shape="vector"),) if options.input_feeding else ()
    out = ("logits", *(("alignment",) if options.attention != "none" else ()), *(("readout",) if feed else ()))
    between = handed(options)
    ports = tuple(
        Port(name=n, size=_width(options, n), shape="sequence" if n in ("memory", "keys") else "vector") for n in between
    )
    return Nets(
        Spec(inputs=(source,), blocks=encoder, outputs=between),
        Spec(inputs=(previous, *ports, *feed), blocks=decoder, outputs=out),
        Spec(inputs=(source, previous, *feed), blocks=(*encoder, *decoder), outputs=out),
    )


def handed(options: Shaped) -> tuple[str, ...]:
    """What the encoder hands to the decoder."""
    return ("context", "start") if options.attention == "none" else ("memory", "keys", "start")


def _cell(options: Shaped) -> Cell:
    return {"rnn": "rnn_tanh", "lstm": "lstm"}.get(options.cell, "gru")  # type: ignore[return-value]  # of three literals


def _read_size(options: Shaped) -> int:
    """Units of a direction of the encoder: its two directions are as wide as the decoder."""
    return options.hidden_size // 2 if options.bidirectional else options.hidden_size


def _width(options: Shaped, name: str) -> int:
    parts = 2 if options.cell == "lstm" else 1
    return parts * options.num_layers * options.hidden_size if name == "start" else options.hidden_size


def _encoder(options: Shaped, tokens: int) -> tuple[Block, ...]:
    o, width = options, options.hidden_size
    blocks: list[Block] = [
        Embed(
            name="source_embedded", inputs=("source",), num_embeddings=tokens, embedding_dim=o.embedding_dim, std=STD,
            table=TABLE if o.shared else None,
        ),
        Dropout(name="source_dropped", inputs=("source_embedded",), p=o.dropout, locked=True),
        Recurrent(
            name="read", inputs=("source_dropped",), cell=_cell(o), input_size=o.embedding_dim, hidden_size=_read_size(o),
            num_layers=o.num_layers, bidirectional=o.bidirectional, dropout=o.dropout,
        ),
        Last(name="context", inputs=("read",), both=o.bidirectional),
        Linear(name="start_bent", inputs=("context",), input_size=width, output_size=_width(o, "start")),
        Activation(name="start", inputs=("start_bent",), function="tanh"),
    ]  # fmt: skip
    if o.attention == "none":
        return tuple(blocks)
    return (
        *blocks,
        Dropout(name="memory", inputs=("read",), p=o.dropout, locked=True),
        Linear(name="keys", inputs=("memory",), input_size=width, output_size=width, bias=o.attention == "additive"),
    )


def _decoder(options: Shaped, tokens: int) -> tuple[Block, ...]:
    o, size, width = options, options.embedding_dim, options.hidden_size
    attends = o.attention != "none"
    read = ["target_dropped", *(["feed"] if o.input_feeding else []), *([] if attends else ["context"])]
    blocks: list[Block] = [
        Embed(
            name="target_embedded", inputs=("previous",), num_embeddings=tokens, embedding_dim=size, std=STD,
            table=TABLE if o.tied or o.shared else None,
        ),
        Dropout(name="target_dropped", inputs=("target_embedded",), p=o.dropout, locked=True),
        *([Concat(name="step", inputs=tuple(read))] if len(read) > 1 else []),
        Recurrent(
            name="written", inputs=("step" if len(read) > 1 else read[0], "start"), cell=_cell(o),
            input_size=size + (size if o.input_feeding else 0) + (0 if attends else width), hidden_size=width,
            num_layers=o.num_layers, dropout=o.dropout,
        ),
        *_attention(o),
        Concat(name="seen", inputs=("written", "blended" if attends else "context")),
        Linear(name="readout_bent", inputs=("seen",), input_size=2 * width, output_size=size),
        Activation(name="readout", inputs=("readout_bent",), function="tanh"),
        Dropout(name="readout_dropped", inputs=("readout",), p=o.dropout, locked=True),
        Linear(
            name="logits", inputs=("readout_dropped",), input_size=size, output_size=tokens, table=TABLE if o.tied else None
        ),
    ]  # fmt: skip
    return tuple(blocks)


def _attention(options: Shaped) -> list[Block]:
    width = options.hidden_size
    if options.attention == "none":
        return []
    if options.attention == "multiplicative":
        matched: list[Block] = [Match(name="alignment", inputs=("written", "keys"), size=width)]
    else:
        matched = [
            Linear(name="queries", inputs=("written",), input_size=width, output_size=width, bias=False),
            Match(name="alignment", inputs=("queries", "keys"), size=width, scoring="additive"),
        ]
    return [*matched, Blend(name="blended", inputs=("alignment", "memory"))]
