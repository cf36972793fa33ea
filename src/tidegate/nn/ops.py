"""Ops on torch, differentiable. In and out: tensors.

The recurrent operation runs on the native core or torch's kernels (stack.py); blocks.recurrent is its slow twin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from tidegate.blocks import crf as reference
from tidegate.blocks import recurrent
from tidegate.blocks.ops import State
from tidegate.nn import crf
from tidegate.nn.packed import Part
from tidegate.nn.stack import Settings, run
from tidegate.spec import Recurrent


@final
class TorchOps:
    """Implements blocks.ops.Ops.

    Args:  dropout_rng: the generator that dropout draws from; None means evaluation, where dropout does nothing.
           fused: take the native core or torch's kernels for recurrent blocks (default), or the reference loop.
    """

    def __init__(self, dropout_rng: torch.Generator | None = None, *, fused: bool = True) -> None:
        self._dropout_rng = dropout_rng
        self._fused = fused

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`x @ weight.T + bias`."""
        return torch.nn.functional.linear(x, weight, bias)

    def embed(self, table: Tensor, codes: Tensor) -> Tensor:
        """Rows of the table."""
        return torch.nn.functional.embedding(codes, table)

    def recurrent(
        self, block: Recurrent, weights: Mapping[str, Tensor], x: Tensor, lengths: Tensor | None, state: State | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Layer by layer, with our dropout between them (torch's own draws from the global generator).

        Of weight_hh a share is dropped in training, once for the whole sequence (Merity et al. 2018).
        """
        if block.weight_dropout:
            weights = {
                name: self.dropout(w, block.weight_dropout) if name.startswith("weight_hh") else w for name, w in weights.items()
            }
        if not self._fused or x.shape[1] == 0:
            return recurrent.recurrent(self, block, weights, x, lengths, state)
        names = tuple(block.state())
        settings = Settings(block.cell, block.hidden_size, block.directions, batch_first=True)
        suffixes = ("", "_reverse")[: block.directions]
        own = [
            tuple([w for suffix in suffixes for w in recurrent.layer_weights(weights, f"l{index}{suffix}")])
            for index in range(block.num_layers)
        ]
        start = None if state is None else tuple([state[name] for name in names])
        total = x.shape[0] * x.shape[1] if lengths is None else int(lengths.sum())
        part = Part(0, x.shape[0], x.shape[1], lengths, total)
        (y,), final = run(self, settings, own, [part], [x], start, lambda xs: [self.dropout(x, block.dropout) for x in xs])
        return y, dict(zip(names, final, strict=True))

    def sigmoid(self, x: Tensor) -> Tensor:
        """Logistic function."""
        return torch.sigmoid(x)

    def tanh(self, x: Tensor) -> Tensor:
        """Hyperbolic tangent."""
        return torch.tanh(x)

    def relu(self, x: Tensor) -> Tensor:
        """max(x, 0)."""
        return torch.relu(x)

    def softmax(self, x: Tensor) -> Tensor:
        """Softmax over the last axis."""
        return torch.softmax(x, -1)

    def total(self, x: Tensor) -> Tensor:
        """Sum over the last axis."""
        return x.sum(-1, keepdim=True)

    def norm(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Layer normalisation."""
        return torch.nn.functional.layer_norm(x, weight.shape, weight, bias, 1e-5)

    def dropout(self, x: Tensor, p: float, *, locked: bool = False) -> Tensor:
        """Dropout in training from the given generator."""
        if self._dropout_rng is None or p == 0.0:
            return x
        shape = (x.shape[0], 1, x.shape[2]) if locked and x.dim() == 3 else x.shape
        keep = torch.rand(shape, generator=self._dropout_rng, device=self._dropout_rng.device, dtype=torch.float32) >= p
        scaled = keep.to(x.device, x.dtype) * (1.0 / (1.0 - p))  # the mask, which is the smaller one where it is locked
        return x * scaled

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Tensors side by side."""
        return torch.cat(list(parts), axis)

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The same values in another shape."""
        return x.reshape(shape)

    def over_time(self, x: Tensor, steps: int) -> Tensor:
        """(B, C) -> (B, steps, C)."""
        return x[:, None].expand(-1, steps, -1)

    def zeros(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Zeros of the same dtype and device."""
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def stack(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Tensors along a new axis."""
        return torch.stack(list(parts), axis)

    def select(self, active: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
        """`chosen` where active."""
        return torch.where(active, chosen, other)

    def active(self, lengths: Tensor, step: int) -> Tensor:
        """(B, 1) bool."""
        return (lengths > step)[:, None]

    def zero_padding(self, x: Tensor, lengths: Tensor) -> Tensor:
        """0 past each row's length, with gradient 0 there even where x is NaN."""
        valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        return torch.where(valid[..., None], x, torch.zeros_like(x))

    def last(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Each row's last valid step."""
        if x.shape[1] == 0:
            return self.zeros(x, (x.shape[0], x.shape[2]))
        if lengths is None:
            return x[:, -1]
        rows = x[torch.arange(len(x), device=x.device), (lengths - 1).clamp(min=0)]
        return torch.where((lengths > 0)[:, None], rows, torch.zeros_like(rows))

    def pool(self, x: Tensor, lengths: Tensor | None, how: str) -> Tensor:
        """Mean or maximum over time, 0 for rows of length 0."""
        if x.shape[1] == 0:
            return self.zeros(x, (x.shape[0], x.shape[2]))
        steps = torch.arange(x.shape[1], device=x.device)
        valid = torch.ones_like(x[..., :1], dtype=torch.bool) if lengths is None else (steps < lengths[:, None])[..., None]
        if how == "max":
            highest = torch.where(valid, x, torch.full_like(x, -torch.inf)).amax(1)
            return torch.where(valid.any(1), highest, torch.zeros_like(highest))
        return torch.where(valid, x, torch.zeros_like(x)).sum(1) / valid.sum(1).clamp(min=1).to(x.dtype)

    def attend(self, scores: Tensor, x: Tensor, lengths: Tensor | None) -> Tensor:
        """The mean over time under the scores' softmax."""
        if x.shape[1] == 0:
            return self.zeros(x, (x.shape[0], x.shape[2]))
        valid = torch.ones_like(scores, dtype=torch.bool)
        if lengths is not None:
            valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        weights = torch.softmax(torch.where(valid, scores, torch.full_like(scores, -1e30)), 1)  # -inf: NaN in rows of length 0
        weights = torch.where(valid, weights, torch.zeros_like(weights))
        return (weights[:, None] @ torch.where(valid[..., None], x, torch.zeros_like(x)))[:, 0]

    def logsumexp(self, x: Tensor) -> Tensor:
        """log(sum(exp(x))) over the last axis."""
        return torch.logsumexp(x, -1)

    def crf(self, scores: Tensor, lengths: Tensor | None, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The core's where it can run, else the readable twin."""
        parts = weights["transitions"], weights["start"], weights["end"]
        if self._fused and crf.suits(scores, *parts):
            return crf.forward_backward(scores, lengths, *parts)
        total, marginals = reference.forward_backward(self, scores, lengths, weights)
        return total, marginals.detach()

    def match(self, queries: Tensor, keys: Tensor, lengths: Tensor | None, v: Tensor | None) -> Tensor:
        """The softmax over each row's valid keys; 0 for rows without any."""
        scores = queries @ keys.transpose(1, 2) if v is None else torch.tanh(queries[:, :, None] + keys[:, None]) @ v
        if lengths is None or keys.shape[1] == 0:
            return torch.softmax(scores, -1)
        past = (torch.arange(keys.shape[1], device=keys.device) >= lengths[:, None])[:, None]
        return torch.softmax(scores.masked_fill(past, -1e30), -1).masked_fill(past, 0.0)  # -inf: NaN in rows of length 0

    def blend(self, alignment: Tensor, values: Tensor, lengths: Tensor | None) -> Tensor:
        """The values' mean under the alignment; what is past a row's length is not read."""
        return alignment @ (values if lengths is None else self.zero_padding(values, lengths))

    def reverse(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Each row's valid steps in the opposite order."""
        if lengths is None:
            return x.flip(1)
        place = lengths[:, None] - 1 - torch.arange(x.shape[1], device=x.device)
        rows = x[torch.arange(len(x), device=x.device)[:, None], place.clamp(min=0)]
        return torch.where((place >= 0)[..., None], rows, torch.zeros_like(rows))

    def divide_up(self, lengths: Tensor, size: int) -> Tensor:
        """ceil(lengths / size)."""
        return -torch.div(-lengths, size, rounding_mode="floor")
