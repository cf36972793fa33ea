"""RNN, LSTM and GRU as torch.nn's, plus `lengths=`. In: x, state, lengths. Out: outputs, state.

Constructor, state_dict, initial values for a seed and outputs are those of torch.nn; changing the import is enough.
`reference=True` runs the equations of blocks/cells.py step by step: slow, readable, and differentiable twice.
"""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tidegate.errors import ConfigError, ShapeError
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
        if hidden_size < 1 or num_layers < 1 or input_size < 0:
            raise ConfigError(
                f"{type(self).__name__}: expected hidden_size and num_layers of at least 1, got {hidden_size} and {num_layers}"
            )
        if not 0.0 <= dropout <= 1.0:
            raise ConfigError(f"{type(self).__name__}: expected 0 <= dropout <= 1, got {dropout}")
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
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        options += "".join(f", {k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v)
        return f"{options}  # {sum(p.numel() for p in self.parameters()):,} parameters"

    def _run(self, x: Tensor | PackedSequence, state: tuple[Tensor, ...] | None, lengths: Tensor | None) -> tuple[Tensor | PackedSequence, tuple[Tensor, ...]]:
        if isinstance(x, PackedSequence):
            return self._run_packed(x, state)
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size:
            expected = "(B, T, {0}) or (T, {0})" if self.batch_first else "(T, B, {0}) or (T, {0})"
            raise ShapeError(f"x: expected {expected.format(self.input_size)}, got {tuple(x.shape)}")
        batched = x.dim() == 3
        rows = x[None] if not batched else x if self.batch_first else x.transpose(0, 1)
        given = None if state is None else tuple(s if batched else s[:, None] for s in state)
        y, final = self._run_rows(rows, given, lengths)
        if not batched:
            return y[0], tuple(s[:, 0] for s in final)
        return y if self.batch_first else y.transpose(0, 1), final

    def _run_packed(self, x: PackedSequence, state: tuple[Tensor, ...] | None) -> tuple[PackedSequence, tuple[Tensor, ...]]:
        padded, lengths = pad_packed_sequence(x, batch_first=True)
        y, final = self._run_rows(padded, state, lengths.to(padded.device))
        order = x.sorted_indices
        sorted_y, sorted_lengths = (y, lengths) if order is None else (y[order], lengths[order.cpu()])
        packed = pack_padded_sequence(sorted_y, sorted_lengths, batch_first=True)
        return PackedSequence(packed.data, packed.batch_sizes, x.sorted_indices, x.unsorted_indices), final

    def _run_rows(self, x: Tensor, state: tuple[Tensor, ...] | None, lengths: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        if lengths is not None and (lengths.shape != (len(x),) or (len(x) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= x.shape[1])):
            raise ShapeError(f"lengths: expected ({len(x)},) whole numbers from 0 to {x.shape[1]}, got {lengths.tolist()[:8]}")
        given = None
        if state is not None:
            shape = (self.num_layers * self._block.directions, len(x), self.hidden_size)
            for name, part in zip(self.parts, state, strict=True):
                if part.shape != shape:
                    raise ShapeError(f"initial {name}: expected {shape}, got {tuple(part.shape)}")
            given = dict(zip(self.parts, state, strict=True))
        ops = TorchOps(fused=not self.reference)
        block, weights = self._block, dict(self.named_parameters())
        if not self.bias:
            zero = x.new_zeros(weights["weight_hh_l0"].shape[0])
            weights.update({n: zero for n in block.parameters() if n.startswith("bias")})
        if self.training and self.dropout > 0.0:
            y, final = self._with_dropout(ops, weights, x, lengths, given)
        else:
            y, final = ops.recurrent(block, weights, x, lengths, given)
        return y, tuple(final[part] for part in self.parts)

    def _with_dropout(
        self, ops: TorchOps, weights: dict[str, Tensor], x: Tensor, lengths: Tensor | None, state: dict[str, Tensor] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Layer by layer, with torch's dropout from the global generator between layers, as torch.nn does."""
        finals: list[dict[str, Tensor]] = []
        directions = self._block.directions
        for index in range(self.num_layers):
            single = Block(
                name="layer", inputs=("x",), cell=self.cell, input_size=x.shape[-1], hidden_size=self.hidden_size,
                bidirectional=self.bidirectional,
            )  # fmt: skip
            own = {n.replace(f"_l{index}", "_l0"): w for n, w in weights.items() if n.endswith((f"_l{index}", f"_l{index}_reverse"))}
            start = None if state is None else {p: s[index * directions : (index + 1) * directions] for p, s in state.items()}
            x, final = ops.recurrent(single, own, x, lengths, start)
            finals.append(final)
            if index + 1 < self.num_layers:
                x = nn.functional.dropout(x, self.dropout, training=True)
        return x, {part: torch.cat([final[part] for final in finals]) for part in finals[0]}


@final
class RNN(_Recurrent):
    """Elman's recurrent network with tanh or relu, as torch.nn.RNN (Elman 1990).

    Args:  input_size: I. hidden_size: H. num_layers: L. nonlinearity: "tanh" or "relu". batch_first: x is (B, T, I) instead of (T, B, I).
           dropout: between layers, in training. reference: run the equations step by step.
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
        super().__init__(cell, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, reference)
        self.nonlinearity = nonlinearity

    def forward(self, x: Tensor | PackedSequence, hx: Tensor | None = None, *, lengths: Tensor | None = None) -> tuple[Tensor | PackedSequence, Tensor]:
        """x and h0 in, outputs and h_n out; `lengths` (B,) makes the batch ragged, 0 allowed."""
        y, (h,) = self._run(x, None if hx is None else (hx,), lengths)
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
        super().__init__("lstm", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, reference)

    def forward(
        self, x: Tensor | PackedSequence, hx: tuple[Tensor, Tensor] | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, Tensor]]:
        """x and (h0, c0) in, outputs and (h_n, c_n) out; `lengths` (B,) makes the batch ragged, 0 allowed."""
        y, (h, c) = self._run(x, hx, lengths)
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
        super().__init__("gru", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, reference)

    def forward(self, x: Tensor | PackedSequence, hx: Tensor | None = None, *, lengths: Tensor | None = None) -> tuple[Tensor | PackedSequence, Tensor]:
        """x and h0 in, outputs and h_n out; `lengths` (B,) makes the batch ragged, 0 allowed."""
        y, (h,) = self._run(x, None if hx is None else (hx,), lengths)
        return y, h
