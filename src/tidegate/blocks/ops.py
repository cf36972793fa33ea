"""The closed set of operations that every block is written in. nn/ops.py implements it on torch, runtime/ops.py on NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from tidegate.spec import Recurrent

# An array of NumPy or a tensor of torch: the two share the arithmetic that blocks need, but no type that says so.
Array: TypeAlias = Any
State: TypeAlias = Mapping[str, Array]  # "h": (L*D, B, H), and "c" for the LSTM


class Ops(Protocol):
    """Arrays of one library. Lengths are (B,) int64 of the same library, or None where every row is full."""

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """`x @ weight.T + bias` over the last axis."""

    def embed(self, table: Array, codes: Array) -> Array:
        """Rows of a (V, E) table for (B,) or (B, T) codes."""

    def recurrent(
        self, block: Recurrent, weights: Mapping[str, Array], x: Array, lengths: Array | None, state: State | None
    ) -> tuple[Array, dict[str, Array]]:
        """A whole sequence, from a state to a state; the loop is blocks/recurrent.py or a faster one with the same values."""

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x))."""

    def tanh(self, x: Array) -> Array:
        """Hyperbolic tangent."""

    def relu(self, x: Array) -> Array:
        """max(x, 0)."""

    def softmax(self, x: Array) -> Array:
        """exp(x) / sum(exp(x)) over the last axis."""

    def total(self, x: Array) -> Array:
        """The sum over the last axis, kept as an axis of 1."""

    def norm(self, x: Array, weight: Array, bias: Array) -> Array:
        """Layer normalisation over the last axis, epsilon 1e-5."""

    def dropout(self, x: Array, p: float, *, locked: bool = False) -> Array:
        """Dropout in training, nothing else. locked: of a sequence, the same channels at every step."""

    def concat(self, parts: Sequence[Array], axis: int) -> Array:
        """Arrays side by side."""

    def reshape(self, x: Array, shape: tuple[int, ...]) -> Array:
        """The same values in another shape."""

    def over_time(self, x: Array, steps: int) -> Array:
        """(B, C) -> (B, steps, C), repeated."""

    def zeros(self, like: Array, shape: tuple[int, ...]) -> Array:
        """Zeros of the same dtype and place."""

    def stack(self, parts: Sequence[Array], axis: int) -> Array:
        """Arrays along a new axis."""

    def select(self, active: Array, chosen: Array, other: Array) -> Array:
        """`chosen` where active (B, 1) is true, else `other`."""

    def active(self, lengths: Array, step: int) -> Array:
        """(B, 1) true where the row has a value at `step`."""

    def zero_padding(self, x: Array, lengths: Array) -> Array:
        """(B, T, C) with 0, not NaN times 0, past each row's length."""

    def last(self, x: Array, lengths: Array | None) -> Array:
        """(B, T, C) -> (B, C): each row's last valid step, 0 for rows of length 0."""

    def pool(self, x: Array, lengths: Array | None, how: str) -> Array:
        """(B, T, C) -> (B, C): "mean" or "max" over each row's valid steps, 0 for rows of length 0."""

    def attend(self, scores: Array, x: Array, lengths: Array | None) -> Array:
        """(B, T) scores and (B, T, C) -> (B, C): the mean under the scores' softmax over valid steps, 0 for rows of length 0."""

    def logsumexp(self, x: Array) -> Array:
        """log(sum(exp(x))) over the last axis."""

    def crf(self, scores: Array, lengths: Array | None, weights: Mapping[str, Array]) -> tuple[Array, Array]:
        """A conditional random field: log-partition (B,) and marginals (B, T, K); blocks/crf.py or a faster one."""

    def match(self, queries: Array, keys: Array, lengths: Array | None, v: Array | None) -> Array:
        """(B, U, A) and (B, S, A) -> (B, U, S): the softmax over each row's valid keys of q . k, or of v . tanh(q + k)."""

    def blend(self, alignment: Array, values: Array, lengths: Array | None) -> Array:
        """(B, U, S) and (B, S, C) -> (B, U, C): the sum of each row's valid values, weighted by the alignment."""

    def reverse(self, x: Array, lengths: Array | None) -> Array:
        """(B, T, C) with each row's valid steps in the opposite order, 0 past them."""

    def divide_up(self, lengths: Array, size: int) -> Array:
        """ceil(lengths / size)."""
