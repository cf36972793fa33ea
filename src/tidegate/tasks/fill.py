"""A word from what stands before it and after it: the net's other half and its problem. In: a text's codes. Out: blocks, batches.

The left-to-right net stays as it is (tasks/generate.py); beside it one reads right to left. At step p the first has read s[0..p],
the second s[p+2..], and from both, side by side, s[p+1] is foreseen: neither has seen it. Both answers are trained at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.data.vocabulary import Codes
from tidegate.errors import DataError
from tidegate.spec import Block, Concat, Dropout, Linear, Recurrent, Reverse, Shift, Spec
from tidegate.tasks.generate import START, TABLE, GenerateOptions, build_spec
from tidegate.tasks.problem import Batch, LossName, Rolled

AHEAD = 2  # places from a step to the first one after the word that is foreseen


def build_both(options: GenerateOptions, tokens: int) -> Spec:
    """Tokens (B, T, 1) -> `logits` of the next token as of the left-to-right net, `both` of the same token from both sides."""
    left = build_spec(options, tokens)
    read = next(block for block in left.blocks if isinstance(block, Recurrent))
    width = 2 * read.hidden_size
    blocks: list[Block] = [
        Reverse(name="turned", inputs=("embedded_dropped",)),
        replace(read, name="read_back", inputs=("turned",)),
        Reverse(name="back", inputs=("read_back",)),
        Shift(name="after", inputs=("back",), by=-AHEAD),
        Concat(name="around", inputs=("read", "after")),
        Dropout(name="around_dropped", inputs=("around",), p=options.dropout, locked=True),
        Linear(name="joined", inputs=("around_dropped",), input_size=width, output_size=read.input_size),
        Linear(
            name="both", inputs=("joined",), input_size=read.input_size, output_size=tokens,
            table=TABLE if options.tied else None,
        ),
    ]  # fmt: skip
    return replace(left, blocks=(*left.blocks, *blocks), outputs=("logits", "both"))


@final
class FillProblem:
    """What the training loop sees (tasks.problem.Problem): pieces of the text, drawn anywhere, each read by itself.

    Args:  train, held_back: (N,) codes of the texts.
    Raises: DataError for a text too short.
    """

    loss: LossName = "both_ways"
    rolled: Rolled | None = None
    carried: tuple[str, ...] = ()  # what is read right to left has no state from before

    def __init__(self, options: GenerateOptions, spec: Spec, train: Codes, held_back: Codes) -> None:
        self.spec, self._options = spec, options
        self._train, self._held_back = (np.concatenate([[START], codes]) for codes in (train, held_back))
        if len(train) < options.window or not len(held_back):
            raise DataError(
                f"the text: expected at least window={options.window} tokens to train on and 1 to hold back, got {len(train)} "
                f"and {len(held_back)}; bring more text, or lower window"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Batches that hold as many tokens as the text."""
        return max(1, -(-len(self._train) // (self._options.window * self._options.batch_size)))

    def draw(self, rng: np.random.Generator, cursor: Plain, progress: float, closing: bool) -> tuple[Batch, Plain]:
        """`batch_size` pieces of `window` words to foresee."""
        window = self._options.window
        starts = rng.integers(0, len(self._train) - window, self._options.batch_size)
        return _batch([piece(self._train, start, window) for start in starts.tolist()]), None

    def validation(self) -> Sequence[Batch]:
        """The held-back text in pieces, one after the other, each read by itself."""
        window = self._options.window
        cut = [piece(self._held_back, start, window) for start in range(0, len(self._held_back) - 1, window)]
        size = self._options.batch_size
        return [_batch(cut[k : k + size]) for k in range(0, len(cut), size)]


def piece(codes: Codes, start: int, words: int) -> tuple[Codes, Codes]:
    """Tokens to read, and beside each the one to foresee there: the `words` after codes[start], or as many as there are.

    codes: (1 + N,), START first. One more token is read than foreseen, so that the last one has a right side too.
    """
    read = codes[start : start + words + AHEAD]
    targets = np.full(len(read), START, np.int64)
    own = codes[start + 1 : start + 1 + words]
    targets[: len(own)] = own
    return read, targets


def _batch(pieces: Sequence[tuple[Codes, Codes]]) -> Batch:
    lengths = np.array([len(read) for read, _ in pieces], np.int64)
    tokens, targets = (np.zeros((len(pieces), int(lengths.max())), np.int64) for _ in range(2))
    for row, (read, wanted) in enumerate(pieces):
        tokens[row, : len(read)], targets[row, : len(wanted)] = read, wanted
    held: dict[str, npt.NDArray[np.generic]] = {
        "y": targets, "weight": (targets != START).astype(np.float32), "smoothing": np.array(0.0, np.float32),
    }  # fmt: skip
    return Batch({"tokens": tokens[..., None]}, held, {"tokens": lengths})
