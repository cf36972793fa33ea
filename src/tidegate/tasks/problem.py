"""What the one training loop asks of a task, and how it is to train. In: a generator of random numbers. Out: batches.

No torch here: tasks describe, train/ computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.errors import ConfigError
from tidegate.spec import Spec

Arrays = Mapping[str, npt.NDArray[np.generic]]
LossName = Literal["quantile", "gaussian", "student_t", "negative_binomial", "squared", "cross_entropy", "tags", "both_ways"]


@final
@dataclass(frozen=True)
class Batch:
    """One mini-batch: arrays by port name, lengths of the ragged ones, and what the loss needs."""

    inputs: Arrays
    targets: Arrays
    lengths: Arrays = field(default_factory=dict)
    continues: npt.NDArray[np.bool_] | None = None  # (B,) rows that go on where the batch before stopped (truncated BPTT)
    own: npt.NDArray[np.bool_] | None = None  # (B, F) steps whose output is fed back instead of the truth (scheduled sampling)


class Problem(Protocol):
    """A task, as the loop sees it."""

    @property
    def spec(self) -> Spec:
        """The net to train."""

    @property
    def loss(self) -> LossName:
        """Which loss of train.losses."""

    @property
    def carried(self) -> tuple[str, ...]:
        """State parts, `block.part`, that truncated BPTT carries from batch to batch; empty for independent windows."""

    @property
    def rolled(self) -> Rolled | Unrolled | None:
        """How outputs are fed back, for a decoder that reads its own; None where nothing is fed back."""

    def draw(self, rng: np.random.Generator, cursor: Plain, progress: float, closing: bool) -> tuple[Batch, Plain]:
        """The next mini-batch.

        Args:  cursor: the task's own place in the data, JSON-able. progress: 0 to 1. closing: the tail may be used.
        """

    def validation(self) -> Sequence[Batch]:
        """The held-back batches, the same at every call."""


@final
@dataclass(frozen=True, eq=False)
class GivenRows:
    """Rows of a table that training starts from, instead of drawn ones."""

    weight: str  # block.weight
    rows: npt.NDArray[np.int64]  # (N,)
    values: npt.NDArray[np.float32]  # (N, E)


@final
@dataclass(frozen=True)
class Rolled:
    """A decoder that reads its own outputs: which input channels hold which lag of the target, and where the horizon starts."""

    port: str
    lags: tuple[int, ...]  # channel j of the port holds the target `lags[j]` steps back
    start: int  # step of the port at which the horizon starts
    centre: int = 0  # channel of `raw` that is fed back


@final
@dataclass(frozen=True)
class Unrolled:
    """A decoder of tokens that is run step by step: its own outputs are fed back (`Batch.own`), or what attention made of a step.

    handed: outputs of the encoder that the decoder reads. port: the decoder's tokens. feed: an output of the decoder that its
    next step reads through the port `feed`; None: nothing, and batches without `own` run all steps at once.
    """

    encoder: Spec
    decoder: Spec
    handed: tuple[str, ...]
    port: str
    feed: str | None


@final
@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How to train. steps: optimiser steps. patience: checks without a better validation loss before stopping; 0 never stops."""

    steps: int
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    warmup: int = 100
    beta2: float = 0.999  # of Adam
    patience: int = 0
    check_every: int = 100
    averaging: float = 0.0  # share kept by the moving average of the weights; 0 = none
    closing: float = 0.25  # share of the steps, at the end, that train on the held-back tail too
    seed: int = 0
    device: str = "cpu"

    @property
    def open_steps(self) -> int:
        """Steps with the tail held back."""
        return max(1, self.steps - round(self.steps * self.closing))

    def __post_init__(self) -> None:
        faults = [
            f"{name}: expected {what}, got {getattr(self, name)}"
            for name, what, good in (
                ("steps", "at least 1", self.steps >= 1),
                ("learning_rate", "more than 0", self.learning_rate > 0),
                ("weight_decay", "at least 0", self.weight_decay >= 0),
                ("clip_norm", "more than 0", self.clip_norm > 0),
                ("check_every", "at least 1", self.check_every >= 1),
                ("patience", "at least 0", self.patience >= 0),
                ("closing", "0 <= share < 1", 0 <= self.closing < 1),
                ("averaging", "0 <= share < 1", 0 <= self.averaging < 1),
                ("warmup", "at least 0", self.warmup >= 0),
                ("beta2", "0 <= beta2 < 1", 0 <= self.beta2 < 1),
                ("seed", "0 <= seed < 2**63", 0 <= self.seed < 1 << 63),
            )
            if not good
        ]
        if faults:
            raise ConfigError("\n".join(faults))
