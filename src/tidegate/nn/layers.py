"""RNN, LSTM and GRU as torch.nn's, plus `lengths=` and options. In: input, state, lengths. Out: outputs, state.

Constructor, state_dict, initial values for a seed and outputs are those of torch.nn; changing the import is enough. The native
core runs them on a CPU (stack.py says what runs when).
`reference=True` runs the equations of blocks/cells.py step by step: slow, readable, and differentiable twice.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tidegate.errors import ConfigError, LayerError
from tidegate.nn.checks import (
    check_flags,
    check_input,
    check_like,
    check_state,
    checked_lengths,
    checked_rates,
    checked_sizes,
)
from tidegate.nn.extras import Extras, checked_extras, fields, shapes
from tidegate.nn.masks import Rates
from tidegate.nn.ops import TorchOps
from tidegate.nn.packed import Part, gather, grid_of, spread
from tidegate.nn.stack import Settings, State, run, takes_packed
from tidegate.spec import Cell

_OPS = TorchOps()
# Options that torch.nn's layers do not have, with the values that make ours theirs.
_EXTRAS = {
    "reference": False, "recompute": False, "zoneout": 0.0, "state_dropout": 0.0, "proj_size": 0, "layer_norm": False,
    "reset_after": True,
}  # fmt: skip
_DEFAULTS = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False, **_EXTRAS}


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
        recompute: bool,
        zoneout: float,
        state_dropout: float,
        extras: Extras,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        sizes = checked_sizes(name, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_flags(
            name, bias=bias, batch_first=batch_first, bidirectional=bidirectional, reference=reference, recompute=recompute
        )
        rates = checked_rates(name, num_layers, dropout, zoneout=zoneout, state_dropout=state_dropout)
        extras = checked_extras(name, hidden_size, extras, recompute=recompute, zoneout=zoneout, state_dropout=state_dropout)
        self.cell: Cell = cell
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers = sizes
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.reference, self.recompute = reference, recompute
        self.dropout, self.zoneout, self.state_dropout = rates
        self.proj_size, self.layer_norm, self.reset_after = extras
        directions = 2 if bidirectional else 1
        own = shapes(cell, input_size, hidden_size, num_layers, directions, bias, extras)
        for parameter, shape in own.items():
            self.register_parameter(parameter, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self._names = _names(tuple(own), num_layers)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """torch's initial values: U(-1/sqrt(H), 1/sqrt(H)) for every weight; gains of layer norm 1, shifts 0."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for name, weight in self.named_parameters():
            if name.startswith("gain"):
                nn.init.ones_(weight)
            elif name.startswith("shift"):
                nn.init.zeros_(weight)
            else:
                nn.init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        """Sizes, options that differ from the defaults, and the number of parameters."""
        options = f"{self.input_size}, {self.hidden_size}"
        options += ", nonlinearity=relu" if self.cell == "rnn_relu" else ""
        options += "".join(f", {k}={getattr(self, k)}" for k, v in _DEFAULTS.items() if getattr(self, k) != v)
        return f"{options}  # {sum(p.numel() for p in self.parameters()):,} parameters"

    def __setstate__(self, state: dict[str, Any]) -> None:
        """From a pickle, also one that was made before an option was there."""
        super().__setstate__({**_EXTRAS, **state})  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def flatten_parameters(self) -> None:
        """Nothing: there for code that calls it on torch.nn's layers."""

    @property
    def mode(self) -> str:
        """torch.nn's name of the cell: RNN_TANH, RNN_RELU, LSTM or GRU."""
        return self.cell.upper()

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer and direction, as torch.nn lists them."""
        each = len(self._extras_and_fields()[1])
        return [[getattr(self, n) for n in own[k : k + each]] for own in self._names for k in range(0, len(own), each)]

    def _run(
        self, x: Tensor | PackedSequence, state: State | None, lengths: Tensor | None
    ) -> tuple[Tensor | PackedSequence, State]:
        check_input(x, self.input_size, self.batch_first)
        weights = [tuple([getattr(self, name) for name in own]) for own in self._names]
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise LayerError("lengths: expected none beside a PackedSequence, which holds its own; leave one of them away")
            return self._run_packed(x, state, weights)
        x, state = self._cast(x, state, weights[0][0])
        batched = x.dim() == 3
        rows = x if batched else x[None]
        settings = self._settings(batch_first=self.batch_first or not batched)
        batch, steps = (rows.shape[0], rows.shape[1]) if settings.batch_first else (rows.shape[1], rows.shape[0])
        if state is not None:
            directions = self.num_layers * settings.directions
            outer = (directions, batch) if batched else (directions,)
            check_state(state, self.parts, outer, self._state_sizes(), weights[0][0])
            state = state if batched else tuple([s[:, None] for s in state])
        held, total = checked_lengths(lengths, batch, steps, rows.device)
        part = Part(0, batch, steps, held, total)
        (y,), final = run(_OPS, settings, weights, [part], [rows], state, lambda xs: [self._dropped(xs[0], settings.batch_first)])
        if not batched:
            return y[0], tuple([s[:, 0] for s in final])
        return y, final

    def _run_packed(
        self, x: PackedSequence, state: State | None, weights: list[tuple[Tensor, ...]]
    ) -> tuple[PackedSequence, State]:
        data, state = self._cast(x.data, state, weights[0][0])
        settings = self._settings(batch_first=False)
        batch = int(x.batch_sizes[0])
        if state is not None:
            check_state(state, self.parts, (self.num_layers * settings.directions, batch), self._state_sizes(), weights[0][0])
            if x.sorted_indices is not None:
                state = tuple([s.index_select(1, x.sorted_indices) for s in state])
        if takes_packed(settings, data):
            part = Part(0, batch, len(x.batch_sizes), None, len(data), x.batch_sizes)
            (y,), final = run(_OPS, settings, weights, [part], [data], state, lambda xs: [self._dropped(xs[0], False)])
        else:
            y, final = self._run_padded(x.batch_sizes, data, state, weights, settings)
        if x.unsorted_indices is not None:
            final = tuple([s.index_select(1, x.unsorted_indices) for s in final])
        return PackedSequence(y, x.batch_sizes, x.sorted_indices, x.unsorted_indices), final

    def _run_padded(
        self, batch_sizes: Tensor, data: Tensor, state: State | None, weights: list[tuple[Tensor, ...]], settings: Settings
    ) -> tuple[Tensor, State]:
        """Packed rows through the paths that want padded ones."""
        grid = grid_of(batch_sizes, data.device, split=not self.reference)

        def between(xs: list[Tensor]) -> list[Tensor]:
            return spread(self._drop(gather(xs, grid)), grid) if self._drops() else xs

        ys, final = run(_OPS, settings, weights, grid.parts, spread(data, grid), state, between)
        return gather(ys, grid), final

    def _cast(self, x: Tensor, state: State | None, weight: Tensor) -> tuple[Tensor, State | None]:
        """Under autocast the layer computes in the dtype of its weights; else x must have it."""
        if not x.is_meta and torch.is_autocast_enabled(x.device.type):
            x = x.to(weight.dtype) if x.dtype.is_floating_point else x
            if isinstance(state, (tuple, list)) and all(isinstance(s, Tensor) for s in state):
                state = tuple([s.to(weight.dtype) for s in state])
        check_like("input", x, weight, "take .to() of the input or of the layer")
        return x, state

    def _settings(self, *, batch_first: bool) -> Settings:
        rates = Rates(self.zoneout, self.state_dropout, self.training)
        return Settings(
            self.cell, self.hidden_size, 2 if self.bidirectional else 1, batch_first, rates, self.recompute, self.reference,
            *self._extras_and_fields(),
        )  # fmt: skip

    def _extras_and_fields(self) -> tuple[Extras, tuple[str, ...]]:
        extras = Extras(self.proj_size, self.layer_norm, self.reset_after)
        return extras, fields(self.cell, self.bias, extras)

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, self.hidden_size)[: len(self.parts)]

    def _drops(self) -> bool:
        return self.training and self.dropout > 0.0

    def _drop(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.dropout, training=True)

    def _dropped(self, x: Tensor, batch_first: bool) -> Tensor:
        """Dropout between layers that draws from the global generator in torch.nn's order: time first."""
        if not self._drops():
            return x
        return self._drop(x.transpose(0, 1).contiguous()).transpose(0, 1) if batch_first else self._drop(x.contiguous())


def _names(parameters: tuple[str, ...], num_layers: int) -> list[tuple[str, ...]]:
    """The names of each layer's parameters: forward direction first, in torch.nn's order."""
    return [tuple(n for n in parameters if n.endswith((f"_l{index}", f"_l{index}_reverse"))) for index in range(num_layers)]


@final
class RNN(_Recurrent):
    """Elman's recurrent network with tanh or relu, as torch.nn.RNN (Elman 1990).

    Args:  input_size: I. hidden_size: H. num_layers: L. nonlinearity: "tanh" or "relu".
           batch_first: input is (B, T, I) instead of (T, B, I). dropout: between layers, in training.
           reference: run the equations step by step.
           recompute: keep only the states for the backward pass and build the gates there again: less memory, more time; for long
           sequences on the native core.
           zoneout: the chance that a unit keeps its old value at a step, h and, independently, c; in evaluation the mean
           (Krueger et al. 2016). state_dropout: dropout of h where it enters weight_hh, the same units at all steps
           (Gal & Ghahramani 2016). Both draw from the global generator; without the native core they run step by step.
           layer_norm: LN of each product, and of the LSTM's c before its tanh (Ba, Kiros & Hinton 2016); the biases are shifts.
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
        recompute: bool = False,
        zoneout: float = 0.0,
        state_dropout: float = 0.0,
        layer_norm: bool = False,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ConfigError(f"nonlinearity: expected 'tanh' or 'relu', got {nonlinearity!r}")
        cell: Cell = "rnn_tanh" if nonlinearity == "tanh" else "rnn_relu"
        super().__init__(
            cell, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype,
            reference, recompute, zoneout, state_dropout, Extras(layer_norm=layer_norm),
        )  # fmt: skip
        self.nonlinearity = nonlinearity

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """input and h0 in, outputs and h_n out; `lengths` (B,) makes the batch ragged, 0 allowed."""
        y, (h,) = self._run(input, None if hx is None else (hx,), lengths)
        return y, h


@final
class LSTM(_Recurrent):
    """Long short-term memory, as torch.nn.LSTM (Hochreiter & Schmidhuber 1997; Gers et al. 2000). Arguments as in RNN.

    proj_size: P > 0 makes h a projection of size P of o tanh(c) (Sak et al. 2014); c keeps size H.
    """

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
        recompute: bool = False,
        zoneout: float = 0.0,
        state_dropout: float = 0.0,
        layer_norm: bool = False,
    ) -> None:
        super().__init__(
            "lstm", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype,
            reference, recompute, zoneout, state_dropout, Extras(proj_size, layer_norm),
        )  # fmt: skip

    def forward(
        self, input: Tensor | PackedSequence, hx: tuple[Tensor, Tensor] | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, Tensor]]:
        """input and (h0, c0) in, outputs and (h_n, c_n) out; `lengths` (B,) makes the batch ragged, 0 allowed."""
        y, (h, c) = self._run(input, hx, lengths)
        return y, (h, c)


@final
class GRU(_Recurrent):
    """Gated recurrent unit, reset after the product, as torch.nn.GRU (Cho et al. 2014). Arguments as in RNN.

    reset_after: False puts the reset gate before the product with weight_hh, as in the paper.
    """

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
        recompute: bool = False,
        zoneout: float = 0.0,
        state_dropout: float = 0.0,
        layer_norm: bool = False,
        reset_after: bool = True,
    ) -> None:
        super().__init__(
            "gru", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype,
            reference, recompute, zoneout, state_dropout, Extras(layer_norm=layer_norm, reset_after=reset_after),
        )  # fmt: skip

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """input and h0 in, outputs and h_n out; `lengths` (B,) makes the batch ragged, 0 allowed."""
        y, (h,) = self._run(input, None if hx is None else (hx,), lengths)
        return y, h
