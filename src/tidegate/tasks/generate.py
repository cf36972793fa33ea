"""Language models, one to many: options, net and problem. In: the codes of a text. Out: a spec, batches that carry their state.

The text is cut into `batch_size` long strips that are read side by side, `window` tokens a step; the state goes on from step to
step, its gradient does not (truncated backpropagation through time, Williams & Peng 1990; Zaremba et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.data.vocabulary import Codes, Units
from tidegate.errors import ConfigError, DataError
from tidegate.spec import Block, Cell, Dropout, Embed, Linear, Port, Recurrent, Spec
from tidegate.tasks.option_faults import common_faults
from tidegate.tasks.problem import Batch, LossName, Rolled

EMBEDDING = {"char": 64, "byte": 64}
EMBEDDING_WORDS = 256
START = 0  # read before the first token of a text: the code of the unknown, which nothing in training has
VALIDATION_ROWS = 8
MOST_LOGITS, LEAST_PIECE = 1 << 24, 32  # numbers made of a validation batch; tokens of a strip in it at least
TABLE = "vectors"  # the weights that a tied output layer shares with the embedding


@final
@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Options of a language model.

    units: what the text is cut into: characters, bytes, words, tokens (at white space) or learnt byte pairs. lower: lower-case
    the text first. vocabulary: at most so many tokens, the most frequent ones. min_count: what occurs less often is unknown.
    cell: recurrent cell. hidden_size: units of a layer. num_layers: recurrent layers. embedding_dim: numbers a token; none: 256,
    for characters and bytes 64. tied: the output layer reads the embedding's table (Press & Wolf 2017). direction: "both" trains
    a net that reads right to left beside the other, so that a missing word is filled in from both sides; pieces of the text are
    then read by themselves, without carried state. dropout: share of values dropped, the same at every step of a window
    (variational). weight_dropout: share of the recurrent weights dropped in each training step (weight-drop, Merity et al. 2018).
    window: tokens that a gradient goes back through. batch_size: strips of the text that are read side by side.
    epochs: passes over the training text; none: as many as 3,500 steps take, 2 to 100. steps: optimiser steps, instead of epochs.
    learning_rate: at its highest. weight_decay: of weights. clip_norm: longest gradient. averaging: share that the moving average
    of the weights keeps. patience: checks without a better loss on the held-back text before training stops; 0 never stops.
    validation: share of the text, at its end, that is held back, where no file for it is given. closing: share of the steps, at
    their end, that go on from the best weights with that end of the text too; where a file holds it, it is never trained on.
    seed: of every random number. device: of training.
    """

    units: Units = "char"
    lower: bool = False
    vocabulary: int = 50_000
    min_count: int = 1
    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    hidden_size: int = 256
    num_layers: int = 2
    embedding_dim: int | None = None
    tied: bool = False
    direction: Literal["forward", "both"] = "forward"
    dropout: float = 0.2
    weight_dropout: float = 0.0
    window: int = 128
    batch_size: int = 32
    epochs: int | None = None
    steps: int | None = None
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    averaging: float = 0.99
    patience: int = 8
    validation: float = 0.05
    closing: float = 0.5
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        counts = (
            "vocabulary", "min_count", "hidden_size", "num_layers", "window", "batch_size", "steps", "epochs", "embedding_dim",
        )  # fmt: skip
        faults = list(common_faults(self, counts=counts, shares=("dropout", "weight_dropout", "averaging", "closing")))
        if self.direction == "both" and self.units in ("byte", "bpe"):
            faults.append(
                f"direction: both sides of a blank need a word or a letter in it, got units={self.units!r}; set units='word'"
            )
        if faults:
            raise ConfigError("\n".join(faults))


def build_spec(options: GenerateOptions, tokens: int) -> Spec:
    """Tokens (B, T, 1) -> logits of the next token (B, T, V)."""
    o = options
    embedding = o.embedding_dim or EMBEDDING.get(o.units, EMBEDDING_WORDS)
    cell: Cell = "rnn_tanh" if o.cell == "rnn" else o.cell
    table = TABLE if o.tied else None
    blocks: list[Block] = [
        Embed(name="embedded", inputs=("tokens",), num_embeddings=tokens, embedding_dim=embedding, std=0.1, table=table),
        Dropout(name="embedded_dropped", inputs=("embedded",), p=o.dropout / 2, locked=True),
        Recurrent(
            name="read", inputs=("embedded_dropped",), cell=cell, input_size=embedding, hidden_size=o.hidden_size,
            num_layers=o.num_layers, dropout=o.dropout, weight_dropout=o.weight_dropout,
        ),
        Dropout(name="read_dropped", inputs=("read",), p=o.dropout, locked=True),
        *_foreseen(o, embedding, tokens),
    ]  # fmt: skip
    return Spec(inputs=(Port(name="tokens", size=1, shape="tokens"),), blocks=tuple(blocks), outputs=("logits",))


def _foreseen(options: GenerateOptions, embedding: int, tokens: int) -> list[Block]:
    """The output layer; a tied one is as wide as the embedding, and a linear layer goes there where the cell is not."""
    last, size, blocks = "read_dropped", options.hidden_size, list[Block]()
    if options.tied and size != embedding:
        blocks.append(Linear(name="narrowed", inputs=(last,), input_size=size, output_size=embedding))
        last, size = "narrowed", embedding
    table = TABLE if options.tied else None
    return [*blocks, Linear(name="logits", inputs=(last,), input_size=size, output_size=tokens, table=table)]


@final
class LanguageProblem:
    """What the training loop sees (tasks.problem.Problem): windows of strips whose state goes on.

    Args:  train, held_back: (N,) codes of the texts. closing: the held-back text goes on where the other ends, and is trained on
        in the closing phase.
    Raises: DataError for a text too short to be cut into strips.
    """

    loss: LossName = "cross_entropy"
    rolled: Rolled | None = None

    def __init__(self, options: GenerateOptions, spec: Spec, train: Codes, held_back: Codes, *, closing: bool = False) -> None:
        self.spec, self._options = spec, options
        self.carried = tuple(spec.state())
        self._tokens = next(block.num_embeddings for block in spec.blocks if isinstance(block, Embed))
        self._open = strips(train, options.batch_size)
        self._whole = strips(np.concatenate([train, held_back]), options.batch_size) if closing else self._open
        self._held_back = strips(held_back, min(VALIDATION_ROWS, max(1, len(held_back) // 2)))
        if self._open[0].shape[1] < 1 or self._held_back[0].shape[1] < 1:
            raise DataError(
                f"the text: expected at least {options.batch_size} tokens to train on and 1 to hold back, got {len(train)} and "
                f"{len(held_back)}; bring more text, or lower batch_size"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Windows of a strip."""
        return -(-int(self._open[0].shape[1]) // self._options.window)

    def draw(self, rng: np.random.Generator, cursor: Plain, progress: float, closing: bool) -> tuple[Batch, Plain]:
        """The next window of every strip. Each pass starts elsewhere, so that windows are not cut at the same places."""
        inputs, targets = self._whole if closing else self._open
        place, before = (0, closing) if not isinstance(cursor, list) else (int(str(cursor[0])), bool(cursor[1]))
        if not 0 <= place <= inputs.shape[1] + self._options.window:
            raise ValueError("expected a place in the text")  # a checkpoint is read as if anybody had written it
        fresh = place == 0 or place >= inputs.shape[1] or before != closing
        place, width = 0 if fresh else place, int(rng.integers(1, self._options.window + 1)) if fresh else self._options.window
        part = slice(place, place + width)
        goes_on = np.full(len(inputs), not fresh)
        return _batch(inputs[:, part], targets[:, part], goes_on), [place + width, closing]

    def validation(self) -> Sequence[Batch]:
        """The held-back text in a few strips, each piece from the state that knows nothing, its logits of bounded size."""
        inputs, targets = self._held_back
        width = max(LEAST_PIECE, MOST_LOGITS // (len(inputs) * self._tokens))
        cuts = range(0, inputs.shape[1], width)
        return [_batch(inputs[:, k : k + width], targets[:, k : k + width], None) for k in cuts]


def strips(codes: Codes, rows: int) -> tuple[Codes, Codes]:
    """(R, T) inputs and their next tokens; strip r begins with what ends strip r-1, the first with START; a rest is left out."""
    steps = len(codes) // rows
    before = np.concatenate([[START], codes])
    return before[: rows * steps].reshape(rows, steps), codes[: rows * steps].reshape(rows, steps)


def _batch(inputs: Codes, targets: Codes, goes_on: npt.NDArray[np.bool_] | None) -> Batch:
    held: dict[str, npt.NDArray[np.generic]] = {
        "y": targets, "weight": (targets != 0).astype(np.float32), "smoothing": np.array(0.0, np.float32),
    }  # fmt: skip
    return Batch({"tokens": inputs[..., None]}, held, continues=goes_on)
