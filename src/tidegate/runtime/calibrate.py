"""The ranges of what a net reads, seen while it runs. In: weights, data that goes through. Out: by block, the largest |x|.

A Predictor of `Watched` weights gives the same bits and notes, call by call, what its recurrent and linear blocks read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np

from tidegate.blocks.ops import Array, State
from tidegate.blocks.weights import Floats
from tidegate.runtime.int8 import MOST_READ, READ
from tidegate.spec import (
    Activation,
    Concat,
    Crf,
    Dropout,
    Embed,
    Fold,
    Last,
    Linear,
    Pool,
    Recurrent,
    Reverse,
    Shift,
    Spec,
    Take,
    Unfold,
    weight_name,
)

HEADROOM = 2.0  # what is not seen in the data may be that much larger
STATE = MOST_READ * 2.0**-READ  # of an output of a cell with tanh
_PASSING = (
    Crf,
    Dropout,
    Fold,
    Last,
    Pool,
    Reverse,
    Shift,
    Take,
    Unfold,
)  # what they give is among what they read, or 0, or a mean


@final
class WatchedOps:
    """Other operations, and what recurrent and linear blocks read."""

    def __init__(self, ops: Any, spec: Spec, weights: Mapping[str, Floats], highest: dict[str, float]) -> None:
        self._ops, self._highest = ops, highest
        self._linears = [(weights[weight_name(b, "weight")], b.name) for b in spec.blocks if isinstance(b, Linear)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """As the others'."""
        for own, name in self._linears:
            if own is weight:
                self._note(name, x)
        return self._ops.linear(x, weight, bias)

    def recurrent(
        self, block: Recurrent, weights: Mapping[str, Array], x: Array, lengths: Array | None, state: State | None
    ) -> tuple[Array, dict[str, Array]]:
        """As the others'."""
        self._note(block.name, x if lengths is None else self._ops.zero_padding(x, lengths))
        y, ends = self._ops.recurrent(block, weights, x, lengths, state)
        return y, ends

    def _note(self, name: str, x: Array) -> None:
        seen = float(np.nanmax(np.abs(x), initial=0.0))
        self._highest[name] = max(self._highest.get(name, 0.0), seen if np.isfinite(seen) else 0.0)


def ranges(spec: Spec, weights: Mapping[str, Floats], highest: Mapping[str, float]) -> dict[str, float]:
    """By recurrent and linear block, how large what it reads may be: by what stands before it, else twice what was seen."""
    given: dict[str, float | None] = {port.name: None for port in spec.inputs}
    found: dict[str, float] = {}
    for block in spec.blocks:
        sources = [given.get(name) for name in block.inputs]
        known = None if any(source is None for source in sources) else max((s for s in sources if s is not None), default=None)
        if isinstance(block, (Recurrent, Linear)):
            first = sources[0]
            found[block.name] = HEADROOM * highest.get(block.name, 0.0) if first is None else first
        given[block.name] = _given(block, weights, known)
    return found


def _given(block: object, weights: Mapping[str, Floats], known: float | None) -> float | None:
    if isinstance(block, Embed):
        return float(np.abs(weights[weight_name(block, "weight")]).max(initial=0.0)) * 1.01
    if isinstance(block, Recurrent) and block.cell != "rnn_relu":
        return STATE
    if isinstance(block, Activation) and block.function != "relu":
        return STATE
    return known if isinstance(block, (*_PASSING, Activation, Concat)) else None
