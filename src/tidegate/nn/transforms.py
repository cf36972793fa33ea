"""What torch's function transforms ask that the native core has not. In: tensors. Out: whether they ask, and what to say then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from tidegate.errors import LayerError

_REMEDY = "build the layer with reference=True, which runs the equations step by step"
SECOND = f"second derivative: the native path has none; {_REMEDY}"
FORWARD_MODE = f"forward-mode derivative: the native path has none; {_REMEDY}"
FUNC = (
    f"torch.func: expected a plain layer for its transforms, got one with projection, layer norm or the reset before; {_REMEDY}"
)
VMAP = f"vmap: expected a whole batch; pass the mapped axis as the batch axis, or {_REMEDY}"


def transformed() -> bool:
    """Whether a transform of torch.func is at work: grad, vjp, jvp, vmap, functionalize."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def has_tangent(tensors: Iterable[Tensor | None]) -> bool:
    """Whether one of them carries a forward-mode derivative."""
    if forward_ad._current_level < 0:
        return False
    unpack: Any = forward_ad.unpack_dual  # torch leaves it untyped
    return any(unpack(t).tangent is not None for t in tensors if t is not None)


def refuse_batched(*gradients: Tensor | None) -> None:
    """Gradients of many losses at once (jacrev, is_grads_batched) are not taken. Raises: LayerError."""
    kinds = torch._C._functorch
    if any(g is not None and (kinds.is_batchedtensor(g) or kinds.is_legacy_batchedtensor(g)) for g in gradients):
        raise LayerError(VMAP)
