"""Ops on NumPy: the readable twin of the native kernels. In and out: float32 or float64 arrays. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np

from tidegate.blocks import recurrent
from tidegate.blocks.ops import Array, State
from tidegate.spec import Recurrent


@final
class NumpyOps:
    """Implements blocks.ops.Ops; every operation makes a new array and keeps the dtype."""

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """`x @ weight.T + bias`."""
        y = x @ weight.T
        return y if bias is None else y + bias

    def embed(self, table: Array, codes: Array) -> Array:
        """Rows of the table."""
        return table[codes]

    def recurrent(
        self, block: Recurrent, weights: Mapping[str, Array], x: Array, lengths: Array | None, state: State | None
    ) -> tuple[Array, dict[str, Array]]:
        """The reference loop."""
        return recurrent.recurrent(self, block, weights, x, lengths, state)

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x)), as (1 + tanh(x / 2)) / 2, which does not overflow."""
        half = x.dtype.type(0.5)
        return half * np.tanh(half * x) + half

    def tanh(self, x: Array) -> Array:
        """Hyperbolic tangent."""
        return np.tanh(x)

    def relu(self, x: Array) -> Array:
        """max(x, 0); NaN stays NaN."""
        return np.maximum(x, x.dtype.type(0))

    def softmax(self, x: Array) -> Array:
        """Softmax over the last axis."""
        shifted = np.exp(x - x.max(-1, keepdims=True))
        return shifted / shifted.sum(-1, keepdims=True)

    def total(self, x: Array) -> Array:
        """Sum over the last axis."""
        return x.sum(-1, keepdims=True)

    def norm(self, x: Array, weight: Array, bias: Array) -> Array:
        """Layer normalisation."""
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        return centred / np.sqrt(variance + x.dtype.type(1e-5)) * weight + bias

    def dropout(self, x: Array, p: float) -> Array:
        """Nothing: this half never trains."""
        return x

    def concat(self, parts: Sequence[Array], axis: int) -> Array:
        """Arrays side by side."""
        return np.concatenate(list(parts), axis)

    def reshape(self, x: Array, shape: tuple[int, ...]) -> Array:
        """The same values in another shape."""
        return x.reshape(shape)

    def over_time(self, x: Array, steps: int) -> Array:
        """(B, C) -> (B, steps, C)."""
        return np.repeat(x[:, None], steps, axis=1)

    def zeros(self, like: Array, shape: tuple[int, ...]) -> Array:
        """Zeros of the same dtype."""
        return np.zeros(shape, like.dtype)

    def stack(self, parts: Sequence[Array], axis: int) -> Array:
        """Arrays along a new axis."""
        return np.stack(list(parts), axis)

    def select(self, active: Array, chosen: Array, other: Array) -> Array:
        """`chosen` where active."""
        return np.where(active, chosen, other)

    def active(self, lengths: Array, step: int) -> Array:
        """(B, 1) bool."""
        return (lengths > step)[:, None]

    def zero_padding(self, x: Array, lengths: Array) -> Array:
        """0 past each row's length."""
        valid = np.arange(x.shape[1]) < lengths[:, None]
        return x if valid.all() else np.where(valid[..., None], x, x.dtype.type(0))

    def last(self, x: Array, lengths: Array | None) -> Array:
        """Each row's last valid step."""
        if x.shape[1] == 0:
            return self.zeros(x, (x.shape[0], x.shape[2]))
        if lengths is None:
            return x[:, -1]
        rows = x[np.arange(len(x)), np.maximum(lengths - 1, 0)]
        return np.where((lengths > 0)[:, None], rows, x.dtype.type(0))

    def divide_up(self, lengths: Array, size: int) -> Array:
        """ceil(lengths / size)."""
        return -(-lengths // size)
