"""One missing word of a text, from both sides and from the left alone. In: a core, a text with a blank. Out: n-best answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.errors import ConfigError, TaskError
from tidegate.models.language_fit import Core, read
from tidegate.tasks.generate import START

BLANK = "___"


class Choice(NamedTuple):
    """A token that may stand in the blank."""

    text: str
    probability: float


@final
@dataclass(frozen=True)
class Filling:
    """The likeliest tokens of a blank, likeliest first; probabilities are over the whole vocabulary."""

    text: str
    both: tuple[Choice, ...]  # from what stands before the blank and after it
    left: tuple[Choice, ...]  # from what stands before it alone

    def __str__(self) -> str:
        rows = [("", "from both sides", "", "from the left alone", "")]
        for number, (both, left) in enumerate(zip(self.both, self.left, strict=True), 1):
            rows.append((str(number), both.text, f"{100 * both.probability:.1f} %", left.text, f"{100 * left.probability:.1f} %"))
        widths = [max(len(row[k]) for row in rows) for k in range(5)]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def fill(core: Core, text: str, best: int) -> Filling:
    """The `best` likeliest tokens for the blank of a text.

    Raises: ConfigError, DataError; TaskError for a net of one direction.
    """
    if core.both is None:
        raise TaskError("the model reads left to right alone; train one with direction='both' (--direction both) to fill blanks")
    if not isinstance(text, str) or text.count(BLANK) != 1:
        raise ConfigError(f"text: expected a text with one blank, written {BLANK}, got {str(text)[:60]!r}")
    if isinstance(best, bool) or not isinstance(best, int) or best < 1:
        raise ConfigError(f"best: expected a whole number of answers, at least 1, got {best!r}")
    read([text])
    before, after = core.tokenizer.encode(text.split(BLANK))
    tokens = np.concatenate([[START], before, [START], after])
    outputs = core.both.run({"tokens": tokens[None, :, None]}).outputs
    place, count = len(before), min(best, core.tokenizer.size - 1)
    both, left = (_best(core, outputs[name][0, place], count) for name in ("both", "logits"))
    return Filling(text, both, left)


def _best(core: Core, logits: npt.NDArray[np.floating], count: int) -> tuple[Choice, ...]:
    """The likeliest known tokens."""
    scores = np.asarray(logits, np.float64)
    chances = np.exp(scores - scores.max())
    chances[START] = 0.0  # the unknown is no answer
    chances /= chances.sum()
    order = np.argsort(-chances, kind="stable")[:count]
    return tuple(Choice(core.tokenizer.tokens[code - 1], float(chances[code])) for code in order.tolist())
