"""A bare network from elsewhere: vectors of codes or numbers, recurrent layers, what joins their outputs, one linear layer.

In: a few sizes. Out: a spec. Nothing here trains; models/from_torch.py fills it with weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from tidegate.errors import ConfigError
from tidegate.spec import Block, Cell, Embed, Last, Linear, Pool, Port, Recurrent, Spec

Joined = Literal["none", "last", "mean", "max", "both"]


@final
@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """The shape of a bare network.

    cell: recurrent cell. input_size: numbers a step, or a code's vector. hidden_size: units of a direction. num_layers: recurrent
    layers. bidirectional: read both ways. dropout: between layers, in the training that made the weights. codes: how many there
    are, where steps are codes; 0: steps are numbers. pool: how outputs become one vector: none of them (every step is answered),
    that of the last step, their mean, their maximum, or both ends: the last step's left-to-right half and the first step's
    right-to-left half, which are the last layer's two final states. output_size: of the linear layer; 0: there is none.
    bias: of the linear layer.
    """

    cell: Cell
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    codes: int = 0
    pool: Joined = "none"
    output_size: int = 0
    bias: bool = True

    def __post_init__(self) -> None:
        faults = [
            f"{name}: expected at least 0, got {value}" for name in ("codes", "output_size") if (value := getattr(self, name)) < 0
        ]
        if self.pool == "both" and not self.bidirectional:
            faults.append("pool: expected a bidirectional network for 'both', got one direction; choose 'last'")
        if faults:
            raise ConfigError("\n".join(faults))


def build_spec(options: NetworkOptions) -> Spec:
    """Codes (B, T, 1) or numbers (B, T, input_size) at the port `x` -> `y`, (B, T, ...) or, pooled, (B, ...)."""
    o, last = options, "x"
    blocks: list[Block] = []
    if o.codes:
        blocks.append(Embed(name="embedded", inputs=("x",), num_embeddings=o.codes, embedding_dim=o.input_size))
        last = "embedded"
    blocks.append(
        Recurrent(
            name="read", inputs=(last,), cell=o.cell, input_size=o.input_size, hidden_size=o.hidden_size, num_layers=o.num_layers,
            bidirectional=o.bidirectional, dropout=o.dropout,
        )
    )  # fmt: skip
    last, width = "read", o.hidden_size * (2 if o.bidirectional else 1)
    if o.pool in ("last", "both"):
        blocks.append(Last(name="pooled", inputs=(last,), both=o.pool == "both"))
    elif o.pool != "none":
        blocks.append(Pool(name="pooled", inputs=(last,), how="max" if o.pool == "max" else "mean"))
    last = blocks[-1].name
    if o.output_size:
        blocks.append(Linear(name="y", inputs=(last,), input_size=width, output_size=o.output_size, bias=o.bias))
    port = Port(name="x", size=1, shape="tokens") if o.codes else Port(name="x", size=o.input_size)
    return Spec(inputs=(port,), blocks=tuple(blocks), outputs=(blocks[-1].name,))
