"""Naive Bayes on n-grams, the yardstick of every classifier of texts. In: codes and classes. Out: log-probabilities of classes.

Multinomial (McCallum & Nigam 1998), with a tenth added to each count; n-grams are hashed into a fixed number of places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate.data.vocabulary import Codes

PLACES = 1 << 18
ADDED = 0.1
_MIX = np.uint64(0x9E3779B97F4A7C15)


@final
class NaiveBayes:
    """Counts of n-grams a class.

    Args:  longest: n-grams of 1 to so many tokens: 2 for words, 4 for characters. classes: K.
    """

    def __init__(self, codes: Sequence[Codes], classes: npt.NDArray[np.int64], *, count: int, longest: int) -> None:
        self._longest = longest
        self._places = max(1 << 12, PLACES // max(1, count // 8))
        places, rows = self._grams(codes)
        flat = np.bincount(classes[rows] * self._places + places, minlength=count * self._places)
        counts = flat.reshape(count, self._places) + ADDED
        self._each = np.log(counts / counts.sum(1, keepdims=True)).astype(np.float32)
        seen = np.bincount(classes, minlength=count) + 1.0
        self._prior = np.log(seen / seen.sum())

    def log_probabilities(self, codes: Sequence[Codes]) -> npt.NDArray[np.float64]:
        """(N, K)."""
        places, rows = self._grams(codes)
        scores = np.stack([np.bincount(rows, own[places], minlength=len(codes)) for own in self._each], 1) + self._prior
        shifted = scores - scores.max(1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))

    def _grams(self, codes: Sequence[Codes]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The place of every n-gram, and the text that it stands in."""
        flat = np.concatenate([np.zeros(0, np.int64), *codes]).astype(np.uint64)
        text = np.repeat(np.arange(len(codes)), [len(c) for c in codes])
        places, rows, hashed = [], [], np.zeros_like(flat)
        for n in range(1, self._longest + 1):
            stop = max(len(flat) - n + 1, 0)
            hashed = (hashed[:stop] * _MIX + flat[n - 1 : n - 1 + stop] + np.uint64(n)) * _MIX
            within = text[:stop] == text[n - 1 : n - 1 + stop]  # a text's n-grams end with it
            places.append((hashed[within] >> np.uint64(17)) % np.uint64(self._places))
            rows.append(text[:stop][within])
        return np.concatenate(places).astype(np.int64), np.concatenate(rows)
