"""A fitted model in 8 bits. In: the model's nets, what scores it on data. Out: the same model on int8 nets, and what it lost.

The float32 model is scored on the data and watched meanwhile: what its blocks read gives the units of the whole numbers
(runtime/int8.py). Then the int8 model is scored on the same data, by the task's own measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

import numpy as np

from tidegate.blocks.weights import Floats
from tidegate.config import Plain
from tidegate.errors import ConfigError, ExportError, TaskError, nearest
from tidegate.runtime.calibrate import ranges
from tidegate.runtime.int8 import NetWeights, Watched, quantized, refusal
from tidegate.runtime.predictor import Predictor
from tidegate.spec import Linear, Spec
from tidegate.tasks.scoreboard import Scoreboard

FORMS = ("int8",)
LIMIT = 0.01  # share of the measure that may be lost
CARD = "int8"  # its entry in a card

Weights = Mapping[str, Floats]
M = TypeVar("M")


class Measured(NamedTuple):
    """A score of a model."""

    measure: str
    value: float
    larger: bool  # whether larger is better


class Quantized(NamedTuple):
    """An int8 model's own card entry. loss: share of the measure that it lost; negative where it gained."""

    measure: str
    float32: float
    int8: float
    loss: float
    limit: float
    kept: tuple[str, ...]  # blocks that stay float32

    def entry(self) -> dict[str, Plain]:
        """As plain values."""
        return cast("dict[str, Plain]", {**self._asdict(), "kept": list(self.kept)})

    def __str__(self) -> str:
        kept = f"; in float32: {', '.join(self.kept)}" if self.kept else ""
        return (
            f"int8: {self.measure} {self.int8:.4f} where float32 has {self.float32:.4f} on the data given, "
            f"a loss of {100 * self.loss:.2f} % (limit {100 * self.limit:g} %){kept}"
        )


def needed(data: object) -> object:
    """The data that a `quantize` was given. Raises: ConfigError where there are none."""
    if data is None:
        raise ConfigError("quantize: expected data beside 'int8', as for evaluate, got none; they say what is lost")
    return data


def parts(nets: Sequence[Predictor]) -> list[tuple[Spec, Weights]]:
    """Nets as `quantize` takes them."""
    return [(net.spec, net.weights) for net in nets]


def renewed(nets: Sequence[Predictor], weights: Sequence[Weights]) -> tuple[Predictor, ...]:
    """The same nets with other weights."""
    return tuple(Predictor(net.spec, own) for net, own in zip(nets, weights, strict=True))


def first_of(board: Scoreboard, method: str) -> Measured:
    """The first measure of a method that is defined."""
    row = board.figures[method]
    name = next((m for m in board.measures if math.isfinite(row[m])), None)
    if name is None:
        raise TaskError("int8: no measure is defined on the data given; bring more of it")
    return Measured(name, row[name], name in board.larger)


def quantize(
    to: str,
    nets: Sequence[tuple[Spec, Weights]],
    remade: Callable[[Sequence[Weights]], M],
    score: Callable[[M], Measured],
    limit: float,
    *,
    force: bool,
) -> tuple[M, Quantized]:
    """A model on int8 nets.

    Args:  to: "int8". nets: each with its weights. remade: the model with other weights. score: by the task's own measure.
        limit: the share of the measure that may be lost. force: lose more.
    Raises: ConfigError; TaskError for a net that whole numbers do not hold; ExportError where more than the limit is lost.
    """
    if to not in FORMS:
        raise ConfigError(f"to: expected {', '.join(FORMS)}, got {to!r}; {nearest(str(to), FORMS)}")
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0.0 <= limit < math.inf:
        raise ConfigError(f"limit: expected a share of at least 0, such as 0.01, got {limit!r}")
    if any(isinstance(weights, NetWeights) for _, weights in nets):
        raise TaskError("the model is in 8 bits already; quantize the one of float32 that it was made from")
    if any(w.dtype != np.float32 for _, weights in nets for w in weights.values()):
        raise TaskError("the model is of float64; int8 is made of models of float32")
    watched = [Watched(weights) for _, weights in nets]
    before = score(remade(watched))
    small = [quantized(spec, own, ranges(spec, own, own.highest)) for (spec, _), own in zip(nets, watched, strict=True)]
    made = remade(small)
    after = score(made)
    if after.measure != before.measure or not math.isfinite(after.value):
        raise ExportError(
            f"int8: {before.measure} is no number any more where float32 has {before.value:.4f}; train the model again, or longer"
        )
    lost = before.value - after.value if before.larger else after.value - before.value
    loss = lost / max(abs(before.value), 1e-12)
    kept = tuple(b.name for spec, _ in nets[:1] for b in spec.blocks if isinstance(b, Linear) and refusal(b) is not None)
    found = Quantized(before.measure, before.value, after.value, loss, float(limit), kept)
    if loss > limit and not force:
        raise ExportError(
            f"{found}. It was not made: raise the limit, train a larger net, or make it all the same with force=True (--force)"
        )
    return made, found
