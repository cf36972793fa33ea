"""RNN, LSTM and GRU as torch.nn's, plus `lengths=`. In: input, state, lengths. Out: outputs, state.

Constructor, state_dict, initial values for a seed and outputs are those of torch.nn; changing the import is enough.
`reference=True` runs the equations of blocks/cells.py step by step: slow, readable, and differentiable twice.
"""

from __future__ import annotations

import math
import warnings
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from tidegate.errors import ConfigError, LayerError
from tidegate.nn.ops import TorchOps
from tidegate.spec import Cell
from tidegate.spec import Recurrent as Block


class _Recurrent(nn.Module):
    """What RNN, LSTM and GRU share; the subclasses name their cell and the form of their state."""

    parts: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        reference: bool,
    ) -> None:
        super().__init__()
        _check_options(type(self).__name__, input_size, hidden_size, num_layers, dropout)
        self.cell: Cell = cell
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, float(dropout), bidirectional
        self.reference = reference
        self._block = Block(
            name="layer", inputs=("x",), cell=cell, input_size=input_size, hidden_size=hidden_size,
            num_layers=num_layers, bidirectional=bidirectional,
        )  # fmt: skip
        for name, shape in self._block.parameters().items():
            if bias or not name.startswith("bias"):
                self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """torch's initial values: U(-1/sqrt(H), 1/sqrt(H)) for every weight."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        """Sizes, options that differ from the defaults, and the number of parameters."""
        options = f"{self.input_size}, {self.hidden_size}"
        defaults = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "reference": False,
        }
        options += ", nonlinearity=relu" if self.cell == "rnn_relu" else ""
        options += "".join(f", {k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v)
        return f"{options}  # {sum(p.numel() for p in self.parameters()):,} parameters"

    def flatten_parameters(self) -> None:
        """Nothing: there for code that calls it on torch.nn's layers."""

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer and direction, as torch.nn lists them."""
        names = [n for n in self._block.parameters() if n.startswith("weight_ih")]
        parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if self.bias else ("weight_ih", "weight_hh")
        return [[self.get_parameter(n.replace("weight_ih", part)) for part in parts] for n in names]

    def _run(
        self, x: Tensor | PackedSequence, state: tuple[Tensor, ...] | None, lengths: Tensor | None
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, ...]]:
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise LayerError("lengths: expected none beside a PackedSequence, which holds its own; leave one of them away")
            return self._run_packed(x, state)
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size:
            expected = "(B, T, {0}) or (T, {0})" if self.batch_first else "(T, B, {0}) or (T, {0})"
            raise LayerError(f"input: expected {expected.format(self.input_size)}, got {tuple(x.shape)}; T time, B batch")
        batched = x.dim() == 3
        rows = x[None] if not batched else x if self.batch_first else x.transpose(0, 1)
        given = self._checked_state(state, len(rows), batched)
        y, final = self._run_rows(rows, given, _checked_lengths(lengths, rows))
        if not batched:
            return y[0], tuple(s[:, 0] for s in final)
        return y if self.batch_first else y.transpose(0, 1), final

    def _run_packed(self, x: PackedSequence, state: tuple[Tensor, ...] | None) -> tuple[PackedSequence, tuple[Tensor, ...]]:
        if x.data.shape[-1] != self.input_size:
            raise LayerError(f"input: expected packed data (N, {self.input_size}), got {tuple(x.data.shape)}")
        padded, lengths = pad_packed_sequence(x, batch_first=True)
        given = self._checked_state(state, len(padded), True)
        y, final = self._run_rows(padded, given, lengths.to(padded.device), x)
        return _packed_as(x, y), final

    def _checked_state(self, state: tuple[Tensor, ...] | None, rows: int, batched: bool) -> dict[str, Tensor] | None:
        if state is None:
            return None
        names = ", ".join(f"{part}_0" for part in self.parts)
        if not isinstance(state, (tuple, list)) or len(state) != len(self.parts) or not all(isinstance(s, Tensor) for s in state):
            raise LayerError(f"hx: expected {names}, got {type(state).__name__}; pass on the state that the layer returned")
        layers = self.num_layers * self._block.directions
        shape = (layers, rows, self.hidden_size) if batched else (layers, self.hidden_size)
        for name, part in zip(self.parts, state, strict=True):
            if part.shape != shape:
                raise LayerError(f"hx: expected {name}_0 of shape {shape}, got {tuple(part.shape)}")
        return {name: part if batched else part[:, None] for name, part in zip(self.parts, state, strict=True)}

    def _run_rows(
        self, x: Tensor, state: dict[str, Tensor] | None, lengths: Tensor | None, packed: PackedSequence | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        ops = TorchOps(fused=not self.reference)
        weights: dict[str, Tensor] = dict(self.named_parameters())
        if not self.bias:
            zero = x.new_zeros(weights["weight_hh_l0"].shape[0])
            weights.update({n: zero for n in self._block.parameters() if n.startswith("bias")})
        if self.training and self.dropout > 0.0:
            y, final = self._with_dropout(ops, weights, x, lengths, state, packed)
        else:
            y, final = ops.recurrent(self._block, weights, x, lengths, state)
        return y, tuple(final[part] for part in self.parts)

    def _with_dropout(
        self,
        ops: TorchOps,
        weights: dict[str, Tensor],
        x: Tensor,
        lengths: Tensor | None,
        state: dict[str, Tensor] | None,
        packed: PackedSequence | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Layer by layer, with torch's dropout from the global generator between layers, as torch.nn does."""
        finals: list[dict[str, Tensor]] = []
        directions = self._block.directions
        for index in range(self.num_layers):
            single = Block(
                name="layer", inputs=("x",), cell=self.cell, input_size=x.shape[-1], hidden_size=self.hidden_size,
                bidirectional=self.bidirectional,
            )  # fmt: skip
            own = {
                n.replace(f"_l{index}", "_l0"): w for n, w in weights.items() if n.endswith((f"_l{index}", f"_l{index}_reverse"))
            }
            start = None if state is None else {p: s[index * directions : (index + 1) * directions] for p, s in state.items()}
            x, final = ops.recurrent(single, own, x, lengths, start)
            finals.append(final)
            if index + 1 < self.num_layers:
                x = _dropped(x, self.dropout, packed)
        return x, {part: torch.cat([final[part] for final in finals]) for part in finals[0]}


@final
class RNN(_Recurrent):
    """Elman's recurrent network with tanh or relu, as torch.nn.RNN (Elman 1990).

    Args:  input_size: I. hidden_size: H. num_layers: L. nonlinearity: "tanh" or "relu".
           batch_first: input is (B, T, I) instead of (T, B, I). dropout: between layers, in training.
           reference: run the equations step by step.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        reference: bool = False,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ConfigError(f"nonlinearity: expected 'tanh' or 'relu', got {nonlinearity!r}")
        cell: Cell = "rnn_tanh" if nonlinearity == "tanh" else "rnn_relu"
        super().__init__(
            cell, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, reference
        )
        self.nonlinearity = nonlinearity

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """input and h0 in, outputs and h_n out; `lengths` (B,) makes the batch ragged, 0 allowed."""
        y, (h,) = self._run(input, None if hx is None else (hx,), lengths)
        return y, h


@final
class LSTM(_Recurrent):
    """Long short-term memory, as torch.nn.LSTM (Hochreiter & Schmidhuber 1997; Gers et al. 2000). Arguments as in RNN."""

    parts = ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        reference: bool = False,
    ) -> None:
        if proj_size:
            raise ConfigError(f"proj_size: expected 0, got {proj_size}; projections are not built yet: use torch.nn.LSTM")
        super().__init__(
            "lstm", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, reference
        )

    def forward(
        self, input: Tensor | PackedSequence, hx: tuple[Tensor, Tensor] | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, Tensor]]:
        """input and (h0, c0) in, outputs and (h_n, c_n) out; `lengths` (B,) makes the batch ragged, 0 allowed."""
        y, (h, c) = self._run(input, hx, lengths)
        return y, (h, c)


@final
class GRU(_Recurrent):
    """Gated recurrent unit, reset after the product, as torch.nn.GRU (Cho et al. 2014). Arguments as in RNN."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        reference: bool = False,
    ) -> None:
        super().__init__(
            "gru", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, reference
        )

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """input and h0 in, outputs and h_n out; `lengths` (B,) makes the batch ragged, 0 allowed."""
        y, (h,) = self._run(input, None if hx is None else (hx,), lengths)
        return y, h


def _check_options(layer: str, input_size: int, hidden_size: int, num_layers: int, dropout: float) -> None:
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ConfigError(f"{layer}: {name}: expected a whole number of at least 1, got {size!r}")
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0.0 <= dropout <= 1.0:
        raise ConfigError(f"{layer}: dropout: expected 0 <= p <= 1, got {dropout!r}")
    if dropout > 0.0 and num_layers == 1:
        warnings.warn(f"{layer}: dropout={dropout} acts between layers, and there is only one: it does nothing", stacklevel=4)


def _checked_lengths(lengths: Tensor | None, rows: Tensor) -> Tensor | None:
    if lengths is None:
        return None
    batch, steps = rows.shape[:2]
    expected = f"lengths: expected ({batch},) whole numbers from 0 to {steps}"
    if not isinstance(lengths, Tensor) or lengths.dtype.is_floating_point or lengths.dtype.is_complex:
        raise LayerError(f"{expected}, as a tensor of int64, got {getattr(lengths, 'dtype', type(lengths).__name__)}")
    if lengths.shape != (batch,) or (batch and not 0 <= int(lengths.min()) <= int(lengths.max()) <= steps):
        raise LayerError(f"{expected}, got {lengths.tolist()[:8]}")
    return lengths.to(rows.device, torch.int64)


def _packed_as(like: PackedSequence, y: Tensor) -> PackedSequence:
    """(B, T, C) in the caller's order -> packed in the order of `like`."""
    order = like.sorted_indices
    rows = y if order is None else y[order]
    steps, positions = like.batch_sizes.to(y.device), torch.arange(len(rows), device=y.device)
    valid = positions[None] < steps[:, None]  # (T, B), true where the row is packed
    return PackedSequence(rows.transpose(0, 1)[valid], like.batch_sizes, like.sorted_indices, like.unsorted_indices)


def _dropped(x: Tensor, p: float, packed: PackedSequence | None) -> Tensor:
    """Dropout of (B, T, C) that draws from the global generator in torch.nn's order: time first, or as packed."""
    if packed is None:
        return nn.functional.dropout(x.transpose(0, 1).contiguous(), p, training=True).transpose(0, 1)
    data = nn.functional.dropout(_packed_as(packed, x).data, p, training=True)
    return pad_packed_sequence(packed._replace(data=data), batch_first=True)[0]
