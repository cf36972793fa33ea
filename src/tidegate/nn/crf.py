"""The log-partition of a conditional random field on the native core, with its gradient: the marginals. In and out: tensors.

blocks.crf is its slow twin, and what runs on other devices, or where the core is not installed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tidegate import native


def suits(*tensors: Tensor) -> bool:
    """Whether the core can run it: installed, on the CPU, float32 or float64."""
    kind = tensors[0].dtype
    return (
        native.available()
        and kind in (torch.float32, torch.float64)
        and all(tensor.device.type == "cpu" and tensor.dtype == kind for tensor in tensors)
    )


def forward_backward(
    scores: Tensor, lengths: Tensor | None, transitions: Tensor, start: Tensor, end: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-partition (B,), differentiable once, and marginals (B, T, K), which carry no gradient."""
    found: tuple[Tensor, Tensor] = _Partition.apply(scores, lengths, transitions, start, end)  # type: ignore[no-untyped-call]
    return found


class _Partition(torch.autograd.Function):
    """d log-partition / d scores = marginals; of the transitions, those of pairs summed over time."""

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, lengths: Tensor | None, transitions: Tensor, start: Tensor, end: Tensor
    ) -> tuple[Tensor, Tensor]:
        counts = None if lengths is None else lengths.numpy()
        parts = [part.detach().numpy() for part in (transitions, start, end)]
        total, marginals, pairs = map(torch.from_numpy, native.crf(scores.detach().numpy(), counts, *parts))
        ctx.lengths = lengths
        ctx.save_for_backward(marginals, pairs)
        ctx.mark_non_differentiable(marginals)
        return total, marginals

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        marginals, pairs = ctx.saved_tensors
        own = grad[:, None, None] * marginals
        steps = own.shape[1]
        if steps == 0:
            nothing = own.new_zeros(own.shape[2])
            return own, None, pairs.sum(0), nothing, nothing
        ends = torch.full((len(own),), steps - 1) if ctx.lengths is None else (ctx.lengths - 1).clamp(min=0)
        return own, None, (grad[:, None, None] * pairs).sum(0), own[:, 0].sum(0), own[torch.arange(len(own)), ends].sum(0)
