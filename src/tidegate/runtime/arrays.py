"""The operations of Ops that move numbers or work on each alone, once for both implementations. In and out: NumPy arrays.

None of them sums or multiplies matrices, so a number's bits do not depend on the numbers beside it. Products, reductions and
transcendental functions are what ops.py (NumPy) and native_ops.py (the core) differ in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from tidegate.blocks.ops import Array, State
from tidegate.spec import Recurrent


class ArrayOps(ABC):
    """blocks.ops.Ops over NumPy arrays; every operation keeps the dtype and leaves its arguments as they are."""

    @abstractmethod
    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """`x @ weight.T + bias`."""

    @abstractmethod
    def recurrent(
        self, block: Recurrent, weights: Mapping[str, Array], x: Array, lengths: Array | None, state: State | None
    ) -> tuple[Array, dict[str, Array]]:
        """A whole sequence, from a state to a state."""

    @abstractmethod
    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x))."""

    @abstractmethod
    def tanh(self, x: Array) -> Array:
        """Hyperbolic tangent."""

    @abstractmethod
    def softmax(self, x: Array) -> Array:
        """Softmax over the last axis."""

    @abstractmethod
    def total(self, x: Array) -> Array:
        """Sum over the last axis, kept as an axis of 1."""

    @abstractmethod
    def norm(self, x: Array, weight: Array, bias: Array) -> Array:
        """Layer normalisation over the last axis."""

    @abstractmethod
    def pool(self, x: Array, lengths: Array | None, how: str) -> Array:
        """Mean or maximum over each row's valid steps."""

    @abstractmethod
    def attend(self, scores: Array, x: Array, lengths: Array | None) -> Array:
        """The mean over each row's valid steps under the scores' softmax."""

    @abstractmethod
    def logsumexp(self, x: Array) -> Array:
        """log(sum(exp(x))) over the last axis."""

    @abstractmethod
    def crf(self, scores: Array, lengths: Array | None, weights: Mapping[str, Array]) -> tuple[Array, Array]:
        """A conditional random field: log-partition and marginals."""

    @abstractmethod
    def match(self, queries: Array, keys: Array, lengths: Array | None, v: Array | None) -> Array:
        """The softmax over each row's valid keys of q . k, or of v . tanh(q + k)."""

    @abstractmethod
    def blend(self, alignment: Array, values: Array, lengths: Array | None) -> Array:
        """The values' mean under the alignment."""

    def embed(self, table: Array, codes: Array) -> Array:
        """Rows of the table."""
        return table[codes]

    def relu(self, x: Array) -> Array:
        """max(x, 0); NaN stays NaN."""
        return np.maximum(x, x.dtype.type(0))

    def dropout(self, x: Array, p: float, *, locked: bool = False) -> Array:
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

    def reverse(self, x: Array, lengths: Array | None) -> Array:
        """Each row's valid steps in the opposite order."""
        if lengths is None:
            return x[:, ::-1]
        place = lengths[:, None] - 1 - np.arange(x.shape[1])
        rows = x[np.arange(len(x))[:, None], np.maximum(place, 0)]
        return np.where((place >= 0)[..., None], rows, x.dtype.type(0))

    def divide_up(self, lengths: Array, size: int) -> Array:
        """ceil(lengths / size)."""
        return -(-lengths // size)
