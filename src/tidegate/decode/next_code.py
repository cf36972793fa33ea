"""One code after another of one row, drawn as `decode.sampling` draws it, at a tenth of its cost. In: logits. Out: codes.

`distribution` and `draw` are the slow twin: the same bits, so the same codes from the same generator. What filters, penalises or
is greedy goes there; what draws from the net's own distribution takes the short way.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate.decode.sampling import Mask, Sampling, distribution, draw


@final
class NextCode:
    """Draws the next code of one row, and remembers what the penalty reads.

    Args:  forbidden: (V,) bool, True where a code may not be drawn. history: codes so far, oldest first.
    """

    def __init__(self, options: Sampling, forbidden: Mask, history: Iterable[int], rng: np.random.Generator) -> None:
        self._options, self._forbidden, self._rng = options, forbidden, rng
        self._history = deque(history, options.repetition_window)
        self._plain = options.temperature > 0.0 and options == Sampling(
            temperature=options.temperature, repetition_window=options.repetition_window
        )
        self._out = np.flatnonzero(forbidden)

    def draw(self, logits: npt.NDArray[np.floating]) -> int:
        """The code after these logits, (V,). Raises: ShapeError, DataError as `distribution`."""
        code = self._short(logits) if self._plain else -1
        if code < 0:
            code = self._long(logits)
        self._history.append(code)
        return code

    def _short(self, logits: npt.NDArray[np.floating]) -> int:
        """`draw(distribution(...))`, operation for operation; -1, and no number drawn, where that would refuse."""
        p = logits.astype(np.float64)
        p[self._out] = -np.inf
        top = float(p.max())
        if not math.isfinite(top):
            return -1
        p -= top
        p /= self._options.temperature
        np.exp(p, out=p)
        p /= np.add.reduce(p)
        p /= np.add.reduce(p)  # distribution() normalises again after its filters, and a last bit may move
        mass = np.add.accumulate(p)
        return int(mass.searchsorted(self._rng.random() * mass[-1], "right"))

    def _long(self, logits: npt.NDArray[np.floating]) -> int:
        seen = [np.array(self._history, np.int64)]
        return int(draw(distribution(logits[None], seen, self._options, self._forbidden), self._rng)[0])
