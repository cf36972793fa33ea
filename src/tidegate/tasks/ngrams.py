"""Naive Bayes on n-grams, the yardstick of every classifier of texts. In: codes and classes. Out: log-probabilities of classes.

Multinomial (McCallum & Nigam 1998), with a tenth added to each count; n-grams are hashed into a fixed number of places.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate.data.vocabulary import Codes

PLACES = 1 << 18
ADDED = 0.1
MOST_AT_ONCE = 1 << 22  # pairs of an n-gram and a class
_MIX = np.uint64(0x9E3779B97F4A7C15)


@final
class NaiveBayes:
    """Counts of n-grams a class.

    Args:  longest: n-grams of 1 to so many tokens: 2 for words, 4 for characters. classes: K.
    """

    def __init__(self, codes: Sequence[Codes], classes: npt.NDArray[np.int64], *, count: int, longest: int) -> None:
        self._longest, self._count = longest, count
        self._places = max(1 << 12, PLACES // max(1, count // 8))
        places, rows = self._grams(codes)
        seen, times = np.unique(places * count + classes[rows], return_counts=True)  # by place, then class: few of all pairs
        self._seen, self._class = seen // count, seen % count
        self._gain = np.log(times / ADDED + 1.0)
        self._unseen = np.log(ADDED / (np.bincount(self._class, times, minlength=count) + ADDED * self._places))
        texts = np.bincount(classes, minlength=count) + 1.0
        self._prior = np.log(texts / texts.sum())

    def log_probabilities(self, codes: Sequence[Codes]) -> npt.NDArray[np.float64]:
        """(N, K). Only the classes that an n-gram was seen in are looked at: with thousands of classes they are few."""
        places, rows = self._grams(codes)
        order = np.argsort(rows, kind="stable")
        places, rows = places[order], rows[order]
        start = np.searchsorted(self._seen, places)
        found = np.searchsorted(self._seen, places, "right") - start
        grams, scores = np.bincount(rows, minlength=len(codes)), np.empty((len(codes), self._count))
        work = np.cumsum(np.bincount(rows, found, minlength=len(codes)) + self._count)
        cuts = [0, *np.flatnonzero(np.diff(work // MOST_AT_ONCE)).tolist(), len(codes)] if len(codes) else [0]
        for first, last in pairwise(cuts):
            mine = slice(*np.searchsorted(rows, (first, last)).tolist())
            each = np.repeat(start[mine] - np.cumsum(found[mine]) + found[mine], found[mine]) + np.arange(found[mine].sum())
            flat = np.repeat(rows[mine] - first, found[mine]) * self._count + self._class[each]
            gains = np.bincount(flat, self._gain[each], minlength=(last - first) * self._count)
            own = grams[first:last, None] * self._unseen + self._prior + gains.reshape(last - first, self._count)
            own -= own.max(1, keepdims=True)
            scores[first:last] = own - np.log(np.exp(own).sum(1, keepdims=True))
        return scores

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


@final
class WittenBell:
    """An n-gram model of the next token, the yardstick of a language model: each order interpolated with the one below.

    p(w | h) = (c(h w) + u(h) p(w | h')) / (c(h) + u(h)), u(h) = distinct tokens seen after h, h' = h without its first; below all
    stands 1 / V (Witten & Bell 1991; Chen & Goodman 1999).

    Args:  codes: (N,) the training text. size: V. longest: tokens of the longest n-gram.
    """

    def __init__(self, codes: Codes, *, size: int, longest: int = 5) -> None:
        self._size, self._longest = size, longest
        self._orders = [_Order(codes, n) for n in range(1, longest + 1)]

    def nats(self, codes: Codes) -> npt.NDArray[np.float64]:
        """(N,) -log p of each token after those before it; the first ones have shorter histories."""
        found = np.full(len(codes), 1.0 / self._size)
        for order in self._orders:
            start = order.longest - 1
            found[start:] = order.mixed(codes, found[start:])
        return np.asarray(-np.log(found))


@final
class _Order:
    """Counts of the n-grams of one length, and of their histories."""

    def __init__(self, codes: Codes, longest: int) -> None:
        self.longest = longest
        histories, whole = _hashed(codes, longest)
        self._grams, self._counts = np.unique(whole, return_counts=True)
        first = np.unique(whole, return_index=True)[1]
        self._histories, place, seen = np.unique(histories, return_inverse=True, return_counts=True)
        self._seen, self._distinct = seen, np.bincount(place[first], minlength=len(seen))

    def mixed(self, codes: Codes, below: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        histories, whole = _hashed(codes, self.longest)
        count = _looked_up(self._grams, self._counts, whole)
        seen, distinct = (_looked_up(self._histories, part, histories) for part in (self._seen, self._distinct))
        known = seen > 0
        mixed = (count + distinct * below) / np.where(known, seen + distinct, 1.0)
        return np.where(known, mixed, below)


def _hashed(codes: Codes, length: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """The history and the whole of every n-gram, as 64 bits each."""
    flat, stop = codes.astype(np.uint64), max(len(codes) - length + 1, 0)
    history = np.zeros(stop, np.uint64)
    for n in range(length - 1):
        history = (history * _MIX + flat[n : n + stop] + np.uint64(1)) * _MIX
    return history, (history * _MIX + flat[length - 1 : length - 1 + stop] + np.uint64(1)) * _MIX


def _looked_up(
    keys: npt.NDArray[np.uint64], values: npt.NDArray[np.int64], asked: npt.NDArray[np.uint64]
) -> npt.NDArray[np.float64]:
    """The value of each key, 0 for one that is not there."""
    if not len(keys):
        return np.zeros(len(asked))
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[place] == asked, values[place], 0).astype(np.float64)
