"""One recurrent layer through torch's own kernels. In: (B, T, I), lengths, state, weights. Out: outputs and final state.

The values are those of blocks.recurrent; a test holds the two together. A ragged batch goes through torch's packed path, so that
its cost follows the sum of the lengths; rows of length 0, which torch refuses, keep their state.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

_KERNELS = {"rnn_tanh": torch.rnn_tanh, "rnn_relu": torch.rnn_relu, "gru": torch.gru}


def layer(
    cell: str, x: Tensor, lengths: Tensor | None, state: dict[str, Tensor], weights: list[Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """One layer, in one direction (4 weights) or two (8). State parts are (D, B, H)."""
    if lengths is None:
        return _padded(cell, x, state, weights)
    if len(x) == 0 or int(lengths.max()) == 0:
        size = sum(part.shape[-1] for part in state["h"])
        return x.new_zeros(x.shape[0], x.shape[1], size), dict(state)
    return _packed(cell, x, lengths, state, weights)


def _padded(cell: str, x: Tensor, state: dict[str, Tensor], weights: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    both = len(weights) == 8
    state = {part: value.contiguous() for part, value in state.items()}
    if cell == "lstm":
        y, h, c = torch.lstm(x, [state["h"], state["c"]], weights, True, 1, 0.0, torch.is_grad_enabled(), both, True)
        return y, {"h": h, "c": c}
    y, h = _KERNELS[cell](x, state["h"], weights, True, 1, 0.0, torch.is_grad_enabled(), both, True)
    return y, {"h": h}


def _packed(
    cell: str, x: Tensor, lengths: Tensor, state: dict[str, Tensor], weights: list[Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    both = len(weights) == 8
    rows = torch.nonzero(lengths > 0)[:, 0]  # torch refuses rows of length 0
    rows = rows[torch.argsort(lengths[rows], descending=True, stable=True)]
    packed = pack_padded_sequence(x[rows], lengths[rows].cpu(), batch_first=True, enforce_sorted=True)
    start = {part: value[:, rows].contiguous() for part, value in state.items()}
    if cell == "lstm":
        data, h, c = torch.lstm(
            packed.data, packed.batch_sizes, [start["h"], start["c"]], weights, True, 1, 0.0, torch.is_grad_enabled(), both
        )
        final = {"h": h, "c": c}
    else:
        data, h = _KERNELS[cell](
            packed.data, packed.batch_sizes, start["h"], weights, True, 1, 0.0, torch.is_grad_enabled(), both
        )
        final = {"h": h}
    y, _ = pad_packed_sequence(packed._replace(data=data), batch_first=True, total_length=x.shape[1])
    outputs = y.new_zeros(len(x), *y.shape[1:]).index_copy(0, rows, y)
    return outputs, {part: state[part].index_copy(1, rows, final[part]) for part in state}
