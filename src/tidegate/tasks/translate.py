"""Translation, many to many through an encoder and a decoder: options and problem. In: codes of pairs. Out: batches for training.

Target codes: 0 the unknown, 1 ... the tokens, and one more, `end`, which ends a target and is also what the first step reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.data.vocabulary import UNKNOWN, Codes, Units
from tidegate.errors import ConfigError
from tidegate.tasks.option_faults import common_faults
from tidegate.tasks.problem import Batch, LossName, Unrolled
from tidegate.tasks.token_batches import groups, padded
from tidegate.tasks.translate_nets import Nets, handed

Attention = Literal["none", "additive", "multiplicative"]
USUAL_STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 6000, 5, 60
EVALUATION_TOKENS = 4096  # padded tokens of a batch that is not trained on


@final
@dataclass(frozen=True, kw_only=True)
class TranslateOptions:
    """Options of a translator.

    units: what a source is cut into: learnt byte pairs, words, tokens (at white space), characters or bytes. target_units: what a
    target is cut into; none: as the source. lower: lower-case both sides first. vocabulary: at most so many tokens a side, the
    most frequent ones. target_vocabulary: of the target; none: as the source. min_count: what occurs less often is unknown.
    shared: one vocabulary and one table of vectors for both sides. tied: the target's vectors are the output layer too.
    max_tokens: longer sources are cut at their end, longer targets are not trained on; it is said how many. attention: how a step
    looks back at the source: by a small net (additive), a product (multiplicative), or not at all (none: one vector has to hold
    the source). input_feeding: a step reads what the one before made of its attention; several times slower to train.
    sampling: share of steps, at the end of training, that read the net's own output instead of the truth; several times slower to
    train. cell: recurrent cell. hidden_size: units of the decoder, and of the encoder's directions together. num_layers:
    recurrent layers of each. bidirectional: read the source both ways. embedding_dim: numbers a token. dropout: share of
    values dropped, the same at every step (variational). label_smoothing: share of the truth that is spread over all codes.
    epochs: passes over the training pairs; none: as many as 6,000 steps take, 5 to 60. steps: optimiser steps, instead of epochs.
    batch_tokens: padded tokens of a batch, of the longer side. learning_rate: at its highest. weight_decay: of weights.
    clip_norm: longest gradient. averaging: share that the moving average of the weights keeps. patience: passes without
    a better loss on the held-back pairs before training stops; 0 never stops. validation: share of the pairs that is held back,
    where no file for it is given. ensemble: nets whose probabilities are averaged. seed: of every random number. device: of
    training.
    """

    units: Units = "bpe"
    target_units: Units | None = None
    lower: bool = False
    vocabulary: int = 8000
    target_vocabulary: int | None = None
    min_count: int = 1
    shared: bool = False
    tied: bool = True
    max_tokens: int = 400
    attention: Attention = "multiplicative"
    input_feeding: bool = False
    sampling: float = 0.0
    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    hidden_size: int = 512
    num_layers: int = 1
    bidirectional: bool = True
    embedding_dim: int = 256
    dropout: float = 0.3
    label_smoothing: float = 0.1
    epochs: int | None = None
    steps: int | None = None
    batch_tokens: int = 1024  # 2,048 took twice the time to the same held-back loss on 29,000 captions
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    averaging: float = 0.998
    patience: int = 4
    validation: float = 0.05
    ensemble: int = 1
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        counts = (
            "vocabulary", "target_vocabulary", "min_count", "max_tokens", "hidden_size", "num_layers", "embedding_dim",
            "batch_tokens", "ensemble", "steps", "epochs",
        )  # fmt: skip
        faults = list(common_faults(self, counts=counts, shares=("dropout", "label_smoothing", "averaging")))
        if not 0 <= self.sampling <= 1:
            faults.append(f"sampling: expected 0 <= share <= 1, got {self.sampling}")
        if self.bidirectional and self.hidden_size % 2:
            faults.append(f"hidden_size: expected an even number for a source that is read both ways, got {self.hidden_size}")
        if self.input_feeding and self.attention == "none":
            faults.append("input_feeding: feeds back what attention made; choose an attention, or leave it out")
        if self.shared and (self.target_units not in (None, self.units) or self.target_vocabulary is not None):
            faults.append("shared: one vocabulary serves both sides; leave target_units and target_vocabulary out")
        if faults:
            raise ConfigError("\n".join(faults))


@final
@dataclass(frozen=True, eq=False)
class CodedPairs:
    """Sources and targets as codes."""

    sources: Sequence[Codes]
    targets: Sequence[Codes]

    def lengths(self) -> tuple[Codes, Codes]:
        """Of sources, and of targets with their end."""
        sources = np.array([len(c) for c in self.sources], np.int64)
        return sources, np.array([len(c) + 1 for c in self.targets], np.int64)


@final
class TranslateProblem:
    """What the training loop sees (tasks.problem.Problem): batches of pairs of like length.

    Args:  end: the code that ends a target.
    """

    loss: LossName = "cross_entropy"
    carried: tuple[str, ...] = ()

    def __init__(self, options: TranslateOptions, nets: Nets, train: CodedPairs, held_back: CodedPairs, end: int) -> None:
        self.spec = nets.joined
        self._options, self._train, self._held_back, self._end = options, train, held_back, end
        feed = "readout" if options.input_feeding else None
        stepwise = options.input_feeding or options.sampling > 0
        self.rolled = Unrolled(nets.encoder, nets.decoder, handed(options), "previous", feed) if stepwise else None
        self._lengths = train.lengths()
        self._epoch: tuple[int, list[Codes]] = (-1, [])

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the first pass; the others differ by a few."""
        return len(self._groups(0))

    def draw(self, rng: np.random.Generator, cursor: Plain, progress: float, closing: bool) -> tuple[Batch, Plain]:
        """The next group of pairs; a pass's order follows from the seed and its number."""
        epoch, place = (0, 0) if not isinstance(cursor, list) else (int(str(cursor[0])), int(str(cursor[1])))
        if place < 0:
            raise ValueError("expected a place in a pass")  # a checkpoint is read as if anybody had written it
        if place >= len(self._groups(epoch)):
            epoch, place = epoch + 1, 0
        share = self._options.sampling * progress
        batch = self._batch(self._train, self._groups(epoch)[place], self._options.label_smoothing, share, rng)
        return batch, [epoch, place + 1]

    def validation(self) -> Sequence[Batch]:
        """The held-back pairs, sorted by length."""
        return [self._batch(self._held_back, rows, 0.0, 0.0, None) for rows in pair_groups(self._held_back, EVALUATION_TOKENS)]

    def _groups(self, epoch: int) -> list[Codes]:
        if self._epoch[0] != epoch:
            rng = np.random.default_rng([self._options.seed, epoch])
            self._epoch = (epoch, pair_groups(self._train, self._options.batch_tokens, rng))
        return self._epoch[1]

    def _batch(self, pairs: CodedPairs, rows: Codes, smoothing: float, share: float, rng: np.random.Generator | None) -> Batch:
        sources, source_lengths = padded([pairs.sources[k] for k in rows])
        end = np.array([self._end], np.int64)
        previous, lengths = padded([np.concatenate([end, pairs.targets[k]]) for k in rows])
        y, _ = padded([np.concatenate([pairs.targets[k], end]) for k in rows])
        known = (np.arange(y.shape[1]) < lengths[:, None]) & (y[..., 0] != UNKNOWN)
        targets: dict[str, npt.NDArray[np.generic]] = {
            "y": y[..., 0], "weight": known.astype(np.float32), "smoothing": np.array(smoothing, np.float32),
        }  # fmt: skip
        own = rng.random(previous.shape[:2]) < share if rng is not None and share > 0 else None
        # The targets' lengths are not passed on: the decoder reads forwards, and what stands past an end weighs 0 in the loss.
        return Batch({"source": sources, "previous": previous}, targets, {"source": source_lengths}, own=own)


def pair_groups(pairs: CodedPairs, tokens: int, rng: np.random.Generator | None = None) -> list[Codes]:
    """Every row once, in groups whose rows times longest side stay within `tokens`."""
    sources, targets = pairs.lengths()
    return groups(np.maximum(sources, targets), tokens, rng, beside=targets)
