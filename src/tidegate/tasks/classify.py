"""Classification, many to one: options, net and problem. In: codes and classes. Out: a spec, batches for the training loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.data.vocabulary import Codes, Units
from tidegate.errors import ConfigError
from tidegate.spec import (
    Activation,
    Attend,
    Block,
    Cell,
    Dropout,
    Embed,
    Last,
    Linear,
    Pool,
    Port,
    Recurrent,
    Spec,
)
from tidegate.tasks.option_faults import common_faults
from tidegate.tasks.problem import Batch, LossName, Rolled
from tidegate.tasks.token_batches import Passes, forget, groups, padded

Pooling = Literal["max", "mean", "last", "attention"]
EMBEDDING = {"char": 48, "byte": 48}
EMBEDDING_WORDS = 256
USUAL_STEPS = {"char": 2500, "byte": 2500}
USUAL_STEPS_WORDS = 800
FEWEST_EPOCHS, MOST_EPOCHS = 5, 60
DROPOUT = {"char": 0.3, "byte": 0.3}
DROPOUT_WORDS = 0.5
RATE = {"char": 5e-3, "byte": 5e-3}
RATE_WORDS = 2e-3
EVALUATION_TOKENS = 8192  # padded tokens of a batch that is not trained on


@final
@dataclass(frozen=True, kw_only=True)
class ClassifyOptions:
    """Options of a text classifier.

    units: what a text is cut into: words, tokens (at white space), characters, bytes or learnt byte pairs. lower: lower-case
    the text first. vocabulary: at most so many tokens, the most frequent ones. min_count: what occurs less often is unknown.
    max_tokens: longer texts are cut at their end, and it is said how many were. cell: recurrent cell. hidden_size: units of a
    direction. num_layers: recurrent layers. bidirectional: read both ways. embedding_dim: numbers a token; none: 256, for
    characters and bytes 48. pooling: how the outputs become one vector. dropout: share of values dropped, the same at every
    step (variational); none: 0.5, for characters and bytes 0.3. weight_dropout: share of the recurrent weights dropped in each
    training step (weight-drop, Merity et al. 2018). unknown_rate: a; in training a token that occurs n times
    becomes unknown with chance a / (a + n). label_smoothing: share of the truth that is spread over all classes. epochs: passes
    over the training texts; none: as many as 800 steps take (of characters and bytes 2,500), 5 to 60. steps: optimiser steps,
    instead of epochs. batch_tokens: padded tokens of a batch. learning_rate: at its highest; none: 0.002, for characters and
    bytes 0.005. weight_decay: of weights. clip_norm: longest gradient. averaging: share that the moving average of the weights
    keeps. patience: epochs without a better loss on the held-back texts before training stops; 0 never stops. validation: share
    of each class that is held back, where no file for it is given. closing: share of the steps, at their end, that go on from
    the best weights with these texts too; where a file holds them, they are never trained on. ensemble: nets whose
    probabilities are averaged. ngrams: a linear model of n-grams stands beside the nets, as heavy as the held-back texts say.
    seed: of every random number. device: of training.
    """

    units: Units = "word"
    lower: bool = True
    vocabulary: int = 50_000
    min_count: int = 1
    max_tokens: int = 2000
    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    hidden_size: int = 128
    num_layers: int = 1
    bidirectional: bool = True
    embedding_dim: int | None = None
    pooling: Pooling = "max"
    dropout: float | None = None
    weight_dropout: float = 0.0
    unknown_rate: float = 0.25
    label_smoothing: float = 0.1
    epochs: int | None = None
    steps: int | None = None
    batch_tokens: int = 1024
    learning_rate: float | None = None
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    averaging: float = 0.998
    patience: int = 4
    validation: float = 0.1
    closing: float = 0.25
    ensemble: int = 1
    ngrams: bool = True
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        counts = (
            "vocabulary", "min_count", "max_tokens", "hidden_size", "num_layers", "batch_tokens", "ensemble", "steps", "epochs",
            "embedding_dim",
        )  # fmt: skip
        faults = list(
            common_faults(self, counts=counts, shares=("dropout", "weight_dropout", "label_smoothing", "averaging", "closing"))
        )
        if self.unknown_rate < 0:
            faults.append(f"unknown_rate: expected at least 0, got {self.unknown_rate}")
        if faults:
            raise ConfigError("\n".join(faults))


def build_spec(options: ClassifyOptions, tokens: int, classes: int) -> Spec:
    """Tokens (B, T, 1) -> logits (B, K): embedding, recurrent layers, pooling over time, one linear layer."""
    o = options
    embedding = o.embedding_dim or EMBEDDING.get(o.units, EMBEDDING_WORDS)
    cell: Cell = "rnn_tanh" if o.cell == "rnn" else o.cell
    dropout = o.dropout if o.dropout is not None else DROPOUT.get(o.units, DROPOUT_WORDS)
    width = o.hidden_size * (2 if o.bidirectional else 1)
    blocks: list[Block] = [
        Embed(name="embedded", inputs=("tokens",), num_embeddings=tokens, embedding_dim=embedding, std=0.1),
        Dropout(name="embedded_dropped", inputs=("embedded",), p=dropout, locked=True),
        Recurrent(
            name="read", inputs=("embedded_dropped",), cell=cell, input_size=embedding, hidden_size=o.hidden_size,
            num_layers=o.num_layers, bidirectional=o.bidirectional, dropout=dropout,
            weight_dropout=o.weight_dropout,
        ),
        *_pooling(o, width),
        Dropout(name="pooled_dropped", inputs=("pooled",), p=dropout),
        Linear(name="logits", inputs=("pooled_dropped",), input_size=width, output_size=classes),
    ]  # fmt: skip
    return Spec(inputs=(Port(name="tokens", size=1, shape="tokens"),), blocks=tuple(blocks), outputs=("logits",))


def _pooling(options: ClassifyOptions, width: int) -> list[Block]:
    if options.pooling == "last":
        return [Last(name="pooled", inputs=("read",), both=options.bidirectional)]
    if options.pooling in ("max", "mean"):
        return [Pool(name="pooled", inputs=("read",), how="max" if options.pooling == "max" else "mean")]
    return [
        Linear(name="keys", inputs=("read",), input_size=width, output_size=width),
        Activation(name="keys_bent", inputs=("keys",), function="tanh"),
        Linear(name="scores", inputs=("keys_bent",), input_size=width, output_size=1, bias=False),
        Attend(name="pooled", inputs=("scores", "read")),
    ]


@final
@dataclass(frozen=True, eq=False)
class Labelled:
    """Texts as codes, and the class of each."""

    codes: Sequence[Codes]
    classes: npt.NDArray[np.int64]  # (N,)


@final
class ClassifyProblem:
    """What the training loop sees (tasks.problem.Problem): batches of like length, some of their tokens forgotten.

    Args:  counts: (V,) how often each code occurs in training. closing: the held-back texts are trained on in the closing phase.
    """

    loss: LossName = "cross_entropy"
    carried: tuple[str, ...] = ()
    rolled: Rolled | None = None

    def __init__(
        self, options: ClassifyOptions, spec: Spec, train: Labelled, held_back: Labelled, counts: Codes, *, closing: bool = False
    ) -> None:
        self.spec = spec
        self._options, self._held_back = options, held_back
        self._open = train
        self._whole = _together(train, held_back) if closing else train
        self._chances = options.unknown_rate / (options.unknown_rate + np.maximum(counts, 1e-9))
        parts = (self._open, self._whole) if closing else (self._open,)
        lengths = [np.array([len(c) for c in part.codes], np.int64) for part in parts]
        self._passes = [Passes(own, options.batch_tokens, options.seed) for own in lengths]

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the first pass; the others differ by a few."""
        return self._passes[0].steps

    def draw(self, rng: np.random.Generator, cursor: Plain, progress: float, closing: bool) -> tuple[Batch, Plain]:
        """The next group of texts; a pass's order follows from the seed and its number. Closing begins a pass over all texts."""
        place, before = (cursor["place"], cursor["closing"]) if isinstance(cursor, dict) else (None, closing)
        if before != closing and isinstance(place, list):
            place = [int(str(place[0])) + 1, 0]
        texts, passes = (self._whole, self._passes[-1]) if closing else (self._open, self._passes[0])
        rows, place = passes.next(place)
        codes = [texts.codes[k] for k in rows]
        if self._options.unknown_rate and self._options.units in ("word", "token"):
            codes = [forget(row, self._chances, rng) for row in codes]
        return _batch(codes, texts.classes[rows], self._options.label_smoothing), {"place": place, "closing": closing}

    def validation(self) -> Sequence[Batch]:
        """The held-back texts, sorted by length."""
        lengths = np.array([len(c) for c in self._held_back.codes], np.int64)
        rows = groups(lengths, EVALUATION_TOKENS)
        return [_batch([self._held_back.codes[k] for k in own], self._held_back.classes[own], 0.0) for own in rows]


def _together(first: Labelled, second: Labelled) -> Labelled:
    return Labelled([*first.codes, *second.codes], np.concatenate([first.classes, second.classes]))


def _batch(codes: Sequence[Codes], classes: npt.NDArray[np.int64], smoothing: float) -> Batch:
    tokens, lengths = padded(codes)
    targets: dict[str, npt.NDArray[np.generic]] = {
        "y": classes,
        "weight": np.ones(len(classes), np.float32),
        "smoothing": np.array(smoothing, np.float32),
    }
    return Batch({"tokens": tokens}, targets, {"tokens": lengths})


def split(classes: npt.NDArray[np.int64], share: float, seed: int) -> tuple[Codes, Codes]:
    """Rows to train on and rows held back, each class by the same share; a class of one row is trained on."""
    rng = np.random.default_rng([seed, 1])
    held: list[npt.NDArray[np.int64]] = []
    for own in range(int(classes.max(initial=-1)) + 1):
        rows = rng.permutation(np.flatnonzero(classes == own))
        held.append(rows[: min(max(1, round(share * len(rows))), len(rows) - 1)])
    back = np.sort(np.concatenate(held)) if held else np.zeros(0, np.int64)
    return np.setdiff1d(np.arange(len(classes)), back), back
