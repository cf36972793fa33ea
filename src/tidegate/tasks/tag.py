"""Tagging, many to many in step: options, net and problem. In: words as codes, tags. Out: a spec, batches for training.

Words are read twice: by their code in a vocabulary, and letter by letter, so that a word that training did not have still says
something by its ending and its capitals (Ling et al. 2015; Lample et al. 2016; Ma & Hovy 2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.data.schemes import Scheme
from tidegate.data.vocabulary import Codes
from tidegate.errors import ConfigError
from tidegate.spec import Block, Cell, Concat, Crf, Dropout, Embed, Gather, Last, Linear, Pool, Port, Recurrent, Spec
from tidegate.tasks.option_faults import common_faults
from tidegate.tasks.problem import Batch, LossName, Rolled
from tidegate.tasks.token_batches import Passes, forget, groups, padded

Decoder = Literal["crf", "softmax"]
USUAL_STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 5000, 8, 60
EMBEDDING_WORDS = 100
EVALUATION_TOKENS = 4096  # padded words of a batch that is not trained on


@final
@dataclass(frozen=True, kw_only=True)
class TagOptions:
    """Options of a tagger.

    lower: words are looked up in lower case (letters are read as they stand). vocabulary: at most so many words, the most
    frequent ones. min_count: a word that occurs less often is unknown. letters: read each word letter by letter too.
    max_letters: of a longer word, the first and the last so many halves are read. letter_dim: numbers a letter. letter_size:
    units of the letters' LSTM in a direction. cell: recurrent cell over words. hidden_size: its units in a direction.
    num_layers: recurrent layers. bidirectional: read both ways. embedding_dim: numbers a word; none: 100, or as many as given
    vectors have. decoder: "crf", the best path under a conditional random field, or "softmax", each word by itself; none: "crf"
    where the tags are spans. scheme: in which spans are learnt, iob1, iob2 or bioes; none: iob2; answers are in the scheme of
    the training file. dropout: share of values dropped, the same at every step (variational); none: .4, and .5 where training
    has fewer than 50,000 words. unknown_rate: a; in training a word that occurs n times becomes unknown with chance a / (a + n);
    none: .25, and 1 where training has fewer than 50,000 words. label_smoothing: share of the truth that is spread over all
    tags by "softmax", and over all labels of sentences. epochs: passes over the sentences; none: as many as 5,000 steps take, 8
    to 60. steps: optimiser steps, instead of epochs. batch_tokens: padded words of a batch. learning_rate: at its highest.
    weight_decay: of weights. clip_norm: longest gradient. averaging: share that the moving average of the weights keeps.
    patience: epochs without a better loss on the held-back sentences before training stops; 0 never stops. validation: share of
    the sentences (of the documents, where the file marks them) that is held back, where no file for it is given. ensemble: nets
    whose scores are averaged. seed: of every random number. device: of training.
    """

    lower: bool = True
    vocabulary: int = 50_000
    min_count: int = 1
    letters: bool = True
    max_letters: int = 32
    letter_dim: int = 32
    letter_size: int = 64
    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    hidden_size: int = 192
    num_layers: int = 1
    bidirectional: bool = True
    embedding_dim: int | None = None
    decoder: Decoder | None = None
    scheme: Scheme | None = None
    dropout: float | None = None
    unknown_rate: float | None = None
    label_smoothing: float = 0.1
    epochs: int | None = None
    steps: int | None = None
    batch_tokens: int = 768
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    averaging: float = 0.998
    patience: int = 5
    validation: float = 0.1
    ensemble: int = 1
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        counts = (
            "vocabulary", "min_count", "max_letters", "letter_dim", "letter_size", "hidden_size", "num_layers", "batch_tokens",
            "ensemble", "steps", "epochs", "embedding_dim",
        )  # fmt: skip
        faults = list(common_faults(self, counts=counts, shares=("dropout", "label_smoothing", "averaging")))
        if self.unknown_rate is not None and self.unknown_rate < 0:
            faults.append(f"unknown_rate: expected at least 0, got {self.unknown_rate}")
        if faults:
            raise ConfigError("\n".join(faults))


class Forgetting(NamedTuple):
    """How much a tagger is kept from learning by heart."""

    dropout: float
    unknown_rate: float


FEW_WORDS = 50_000
FEW, PLENTY = Forgetting(0.5, 1.0), Forgetting(0.4, 0.25)  # measured: bench/text/NOTES.md


def resolved(options: TagOptions, words: int) -> TagOptions:
    """With what is left open chosen by the number of words that are trained on."""
    own = FEW if words < FEW_WORDS else PLENTY
    dropout = own.dropout if options.dropout is None else options.dropout
    return replace(
        options, dropout=dropout, unknown_rate=own.unknown_rate if options.unknown_rate is None else options.unknown_rate
    )


def build_spec(options: TagOptions, words: int, letters: int, tags: int, labels: int, decoder: Decoder) -> Spec:
    """Words (B, T, 1) and letters of the distinct words (W, C, 1) -> scores (B, T, K), and logits of a label of the sentence.

    Args:  words, letters: sizes of the vocabularies. labels: of sentences; 0: none.
    """
    o = options
    cell: Cell = "rnn_tanh" if o.cell == "rnn" else o.cell
    size, embedding = o.hidden_size * (2 if o.bidirectional else 1), o.embedding_dim or EMBEDDING_WORDS
    width = embedding + (2 * o.letter_size if o.letters else 0)
    dropout = PLENTY.dropout if o.dropout is None else o.dropout
    blocks: list[Block] = [
        Embed(name="word", inputs=("words",), num_embeddings=words, embedding_dim=embedding, std=0.1),
        *(_letters(o, letters, dropout) if o.letters else []),
        Concat(name="embedded", inputs=("word", "spelling") if o.letters else ("word",)),
        Dropout(name="embedded_dropped", inputs=("embedded",), p=dropout, locked=True),
        Recurrent(
            name="read", inputs=("embedded_dropped",), cell=cell, input_size=width, hidden_size=o.hidden_size,
            num_layers=o.num_layers, bidirectional=o.bidirectional, dropout=dropout,
        ),
        Dropout(name="read_dropped", inputs=("read",), p=dropout, locked=True),
        Linear(name="emissions", inputs=("read_dropped",), input_size=size, output_size=tags),
    ]  # fmt: skip
    if decoder == "crf":
        blocks.append(Crf(name="chain", inputs=("emissions",), size=tags))
    outputs: tuple[str, ...] = ("chain",) if decoder == "crf" else ("emissions",)
    if labels:
        blocks += [
            Pool(name="sentence", inputs=("read_dropped",), how="max"),
            Linear(name="label", inputs=("sentence",), input_size=size, output_size=labels),
        ]
        outputs += ("label",)
    ports = (Port(name="words", size=1, shape="tokens"), *(_ports() if o.letters else ()))
    return Spec(inputs=ports, blocks=tuple(blocks), outputs=outputs)


def _ports() -> tuple[Port, ...]:
    return Port(name="letters", size=1, shape="tokens", items=True), Port(name="spelt", size=1, shape="tokens")


def _letters(options: TagOptions, letters: int, dropout: float) -> list[Block]:
    o = options
    return [
        Embed(name="letter", inputs=("letters",), num_embeddings=letters, embedding_dim=o.letter_dim, std=0.1),
        Dropout(name="letter_dropped", inputs=("letter",), p=dropout / 2, locked=True),
        Recurrent(
            name="spell", inputs=("letter_dropped",), cell="lstm", input_size=o.letter_dim, hidden_size=o.letter_size,
            bidirectional=True,
        ),
        Last(name="spelt_word", inputs=("spell",), both=True),
        Gather(name="spelling", inputs=("spelt_word", "spelt")),
    ]  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class Sentences:
    """Sentences as numbers of distinct words, and what the net knows of each of those."""

    rows: Sequence[Codes]  # numbers of words, (T,) each
    words: Codes  # (W,) code of each distinct word
    letters: Sequence[Codes]  # its letters

    def inputs(self, rows: Codes, chances: npt.NDArray[np.float64] | None, rng: np.random.Generator | None) -> Inputs:
        """A padded batch of some sentences, the letters of their distinct words once. chances: of forgetting a word's code."""
        own = [self.rows[k] for k in rows]
        codes = [self.words[row] for row in own]
        if chances is not None and rng is not None:
            codes = [forget(row, chances, rng) for row in codes]
        tokens, lengths = padded(codes)
        distinct, where = np.unique(np.concatenate([np.zeros(0, np.int64), *own]), return_inverse=True)
        letters, spans = padded([self.letters[k] for k in distinct] or [np.zeros(0, np.int64)])
        spelt = np.zeros_like(tokens)
        spelt[np.arange(tokens.shape[1]) < lengths[:, None], 0] = where
        return Inputs(
            {"words": tokens, "letters": letters, "spelt": spelt}, {"words": lengths, "letters": spans, "spelt": lengths}
        )

    @property
    def lengths(self) -> Codes:
        """Words of each sentence."""
        return np.array([len(row) for row in self.rows], np.int64)


@final
@dataclass(frozen=True, eq=False)
class Inputs:
    """What the net reads: arrays and lengths by port."""

    arrays: Mapping[str, npt.NDArray[np.int64]]
    lengths: Mapping[str, npt.NDArray[np.int64]]

    def of(self, spec: Spec) -> Inputs:
        """Those that the spec has ports for."""
        names = {port.name for port in spec.inputs}
        return Inputs(*({n: a for n, a in part.items() if n in names} for part in (self.arrays, self.lengths)))


@final
@dataclass(frozen=True, eq=False)
class Truth:
    """Tags of each sentence as numbers, and the number of its label where sentences have one."""

    tags: Sequence[Codes]
    labels: Codes | None = None


@final
class TagProblem:
    """What the training loop sees (tasks.problem.Problem): batches of like length, some of their words forgotten.

    Args:  counts: (V,) how often each word's code occurs in training.
    """

    loss: LossName = "tags"
    carried: tuple[str, ...] = ()
    rolled: Rolled | None = None

    def __init__(
        self, options: TagOptions, spec: Spec, train: tuple[Sentences, Truth], held_back: tuple[Sentences, Truth], counts: Codes
    ) -> None:
        self.spec = spec
        self._options, self._train, self._held_back = options, train, held_back
        self._rate = PLENTY.unknown_rate if options.unknown_rate is None else options.unknown_rate
        self._chances = self._rate / (self._rate + np.maximum(counts, 1e-9))
        self._passes = Passes(train[0].lengths, options.batch_tokens, options.seed)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the first pass; the others differ by a few."""
        return self._passes.steps

    def draw(self, rng: np.random.Generator, cursor: Plain, progress: float, closing: bool) -> tuple[Batch, Plain]:
        """The next group of sentences; a pass's order follows from the seed and its number."""
        rows, cursor = self._passes.next(cursor)
        chances = self._chances if self._rate else None
        return self._batch(*self._train, rows, chances, rng), cursor

    def validation(self) -> Sequence[Batch]:
        """The held-back sentences, sorted by length."""
        own = groups(self._held_back[0].lengths, EVALUATION_TOKENS)
        return [self._batch(*self._held_back, rows, None, None) for rows in own]

    def _batch(
        self,
        sentences: Sentences,
        truth: Truth,
        rows: Codes,
        chances: npt.NDArray[np.float64] | None,
        rng: np.random.Generator | None,
    ) -> Batch:
        read = sentences.inputs(rows, chances, rng).of(self.spec)
        tags, lengths = padded([truth.tags[k] for k in rows])
        targets: dict[str, npt.NDArray[np.generic]] = {
            "y": tags[..., 0],
            "lengths": lengths,
            "smoothing": np.array(self._options.label_smoothing if rng is not None else 0.0, np.float32),
        }
        if truth.labels is not None:
            targets["label"] = truth.labels[rows]
        return Batch(read.arrays, targets, read.lengths)
