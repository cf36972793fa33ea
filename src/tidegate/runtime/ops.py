"""Ops on NumPy: the readable twin of the native kernels. In and out: float32 or float64 arrays. Never imports torch.

Serves where the native core is not installed. It agrees with the core within the dtype's tolerance, but its products are BLAS's:
a row's last bits depend on the batch around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np

from tidegate.blocks import crf, recurrent
from tidegate.blocks.ops import Array, State
from tidegate.runtime import whole
from tidegate.runtime.arrays import ArrayOps
from tidegate.runtime.int8 import Int8Net
from tidegate.spec import Recurrent


@final
class NumpyOps(ArrayOps):
    """Implements blocks.ops.Ops; every operation makes a new array and keeps the dtype. int8: see NativeOps."""

    def __init__(self, int8: Int8Net | None = None) -> None:
        self._int8 = int8

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """`x @ weight.T + bias`."""
        parts = None if self._int8 is None else self._int8.linear(weight)
        if parts is not None:
            return whole.linear(x, parts)
        y = x @ weight.T
        return y if bias is None else y + bias

    def recurrent(
        self, block: Recurrent, weights: Mapping[str, Array], x: Array, lengths: Array | None, state: State | None
    ) -> tuple[Array, dict[str, Array]]:
        """The reference loop."""
        if self._int8 is not None:
            return whole.recurrent(self._int8, block, x, lengths, state)
        return recurrent.recurrent(self, block, weights, x, lengths, state)

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x)), as (1 + tanh(x / 2)) / 2, which does not overflow."""
        half = x.dtype.type(0.5)
        return half * np.tanh(half * x) + half

    def tanh(self, x: Array) -> Array:
        """Hyperbolic tangent."""
        return np.tanh(x)

    def softmax(self, x: Array) -> Array:
        """Softmax over the last axis."""
        shifted = np.exp(x - x.max(-1, keepdims=True))
        return shifted / shifted.sum(-1, keepdims=True)

    def total(self, x: Array) -> Array:
        """Sum over the last axis."""
        return x.sum(-1, keepdims=True)

    def pool(self, x: Array, lengths: Array | None, how: str) -> Array:
        """Mean or maximum over time, 0 for rows of length 0."""
        batch, steps, size = x.shape
        if steps == 0:
            return self.zeros(x, (batch, size))
        if self._int8 is not None and how == "mean":
            return whole.mean(x, lengths)
        valid = np.ones((batch, steps, 1), bool) if lengths is None else (np.arange(steps) < lengths[:, None])[..., None]
        if how == "max":
            return np.where(valid.any(1), np.where(valid, x, x.dtype.type(-np.inf)).max(1), x.dtype.type(0))
        return np.where(valid, x, x.dtype.type(0)).sum(1) / np.maximum(valid.sum(1), 1).astype(x.dtype)

    def attend(self, scores: Array, x: Array, lengths: Array | None) -> Array:
        """The mean over time under the scores' softmax."""
        return self.blend(_shares(scores[:, None], lengths), x, lengths)[:, 0]

    def match(self, queries: Array, keys: Array, lengths: Array | None, v: Array | None) -> Array:
        """The softmax over each row's valid keys."""
        if v is None:
            return _shares(queries @ keys.swapaxes(1, 2), lengths)
        return _shares(np.tanh(queries[:, :, None] + keys[:, None]) @ v, lengths)

    def blend(self, alignment: Array, values: Array, lengths: Array | None) -> Array:
        """The values' mean under the alignment; what is past a row's length is not read."""
        return alignment @ (values if lengths is None else self.zero_padding(values, lengths))

    def logsumexp(self, x: Array) -> Array:
        """log(sum(exp(x))) over the last axis."""
        highest = x.max(-1, keepdims=True)
        return (np.log(np.exp(x - highest).sum(-1, keepdims=True)) + highest)[..., 0]

    def crf(self, scores: Array, lengths: Array | None, weights: Mapping[str, Array]) -> tuple[Array, Array]:
        """The readable twin."""
        return crf.forward_backward(self, scores, lengths, weights)

    def norm(self, x: Array, weight: Array, bias: Array) -> Array:
        """Layer normalisation."""
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        return centred / np.sqrt(variance + x.dtype.type(1e-5)) * weight + bias


def _shares(scores: Array, lengths: Array | None) -> Array:
    """(B, U, S) scores -> their softmax over each row's valid steps, 0 past them."""
    if scores.shape[2] == 0:
        return scores
    valid = np.ones(scores.shape, bool) if lengths is None else (np.arange(scores.shape[2]) < lengths[:, None])[:, None]
    highest = np.where(valid, scores, scores.dtype.type(-np.inf)).max(-1, keepdims=True)
    each = np.where(valid, np.exp(np.minimum(scores - highest, 0)), scores.dtype.type(0))
    return each / np.maximum(each.sum(-1, keepdims=True), np.finfo(scores.dtype).tiny)
