"""One code after another of one row, drawn as `decode.sampling` draws it. In: logits. Out: codes.

What draws from the net's own distribution is drawn by the core, at a hundredth of the cost; what filters, penalises or is greedy
by `distribution` and `draw`. Both take one number a code from the generator and sum in float64: they differ where that number
lies within the last bits of a boundary between two codes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate import native
from tidegate.decode.sampling import Mask, Sampling, distribution, draw


@final
class NextCode:
    """Draws the next code of one row, and remembers what the penalty reads.

    Args:  forbidden: (V,) bool, True where a code may not be drawn. history: codes so far, oldest first.
    """

    def __init__(self, options: Sampling, forbidden: Mask, history: Iterable[int], rng: np.random.Generator) -> None:
        self._options, self._forbidden, self._rng = options, forbidden, rng
        self._history = deque(history, options.repetition_window)
        plain = options == Sampling(temperature=options.temperature, repetition_window=options.repetition_window)
        self._short = (
            native.drawer(forbidden, options.temperature) if plain and options.temperature > 0.0 and native.available() else None
        )

    def draw(self, logits: npt.NDArray[np.floating]) -> int:
        """The code after these logits, (V,). Raises: ShapeError, DataError as `distribution`."""
        code = -1 if self._short is None else self._short(logits, self._rng.random())
        if code < 0:
            code = self._long(logits)  # a refusal of the short way is refused here too, with the reason
        self._history.append(code)
        return code

    def _long(self, logits: npt.NDArray[np.floating]) -> int:
        seen = [np.array(self._history, np.int64)]
        return int(draw(distribution(logits[None], seen, self._options, self._forbidden), self._rng)[0])
