"""A linear model of n-grams beside a classifier's nets: what a few thousand texts say of a word, a net learns from them badly.

In: the tokens of each text. Out: log-probabilities of the classes. Features: words and pairs of them, and runs of 1 to 5 letters
within them (of characters and bytes: runs of 1 to 5 alone), each group as TF-IDF of length 1 (sublinear, as scikit-learn's);
multinomial logistic regression over them. train/linear.py finds the weights.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.data.vocabulary import Units

Keys = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LONGEST_WORDS, LONGEST_LETTERS = 2, 5
LEAST_LETTERS = 2  # runs of letters that fewer training texts have are left out
MOST_WEIGHTS = 1 << 22  # of a model: the features that fewest texts have are left out beyond
PIECE = 512  # texts worked on at once
BLANK = 32
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Grams(NamedTuple):
    """The n-grams of texts: which, in which text, of which group."""

    keys: Keys
    rows: Keys
    groups: npt.NDArray[np.int8]  # 0 words, 1 letters


class Rows(NamedTuple):
    """A sparse matrix, row by row: entries starts[r] to starts[r + 1] are those of row r."""

    starts: Keys  # (N + 1,)
    places: Keys  # columns
    values: npt.NDArray[np.float32]


def grams(texts: Sequence[Sequence[str]], units: Units) -> Grams:
    """Every n-gram of every text, as often as it stands there."""
    whole = units in ("char", "byte")
    parts = [_letters(texts, units), *([] if whole else [_words(texts)])]
    found = [np.concatenate([part[k] for part in parts]) for k in range(2)]
    groups = np.repeat(np.array([1, 0][: len(parts)], np.int8), [len(part[0]) for part in parts])
    return Grams(found[0], found[1], groups)


def _words(texts: Sequence[Sequence[str]]) -> tuple[Keys, Keys]:
    ids = [zlib.crc32(token.encode("utf-8", "surrogatepass")) for text in texts for token in text]
    return _runs(np.array(ids, np.uint64), _owners(texts), LONGEST_WORDS, 1, None)


def _letters(texts: Sequence[Sequence[str]], units: Units) -> tuple[Keys, Keys]:
    """Runs of letters; of words none crosses a blank, and the blanks around a word belong to it."""
    if units == "byte":
        rows = [[BLANK, *(256 + int(token) for token in text), BLANK] for text in texts]
        flat = np.array([value for row in rows for value in row], np.uint64)
        return _runs(flat, _owners(rows), LONGEST_LETTERS, 2, None)
    between = "" if units == "char" else " "
    joined = [f" {between.join(text)} " for text in texts]
    flat = np.frombuffer("".join(joined).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    return _runs(flat, _owners(joined), LONGEST_LETTERS, 2, None if units == "char" else flat == BLANK)


def _owners(texts: Sequence[Sequence[object]]) -> Keys:
    return np.repeat(np.arange(len(texts), dtype=np.int64), [len(text) for text in texts])


def _runs(
    flat: npt.NDArray[np.uint64], owner: Keys, longest: int, salt: int, wall: npt.NDArray[np.bool_] | None
) -> tuple[Keys, Keys]:
    """Keys of all runs of 1 to `longest` neighbours, and the text of each; a wall may only begin or end a run."""
    keys, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    walls = None if wall is None else np.concatenate([[0], np.cumsum(wall)])
    hashed = np.full(len(flat), salt, np.uint64)
    for n in range(1, longest + 1):
        stop = max(len(flat) - n + 1, 0)
        hashed = (hashed[:stop] * _MIX + flat[n - 1 : n - 1 + stop] + np.uint64(n)) * _MIX
        hashed ^= hashed >> np.uint64(29)
        own = owner[:stop] == owner[n - 1 : n - 1 + stop]  # a text's runs end with it
        if walls is not None and n > 2:
            own &= walls[n - 1 : n - 1 + stop] == walls[1 : 1 + stop]  # none within
        keys.append(hashed[own].view(np.int64))
        rows.append(owner[:stop][own])
    return np.concatenate(keys), np.concatenate(rows)


@final
@dataclass(frozen=True, eq=False)
class Features:
    """The n-grams that a model knows.

    Args:  keys: (F,) rising. rarity: (F,) log((1 + N) / (1 + n)) + 1 for a feature that n of N training texts have.
    """

    units: Units
    keys: Keys
    rarity: npt.NDArray[np.float32]

    def rows(self, texts: Sequence[Sequence[str]]) -> Rows:
        """TF-IDF of the texts, each group of length 1; what is not known is left out."""
        found = grams(texts, self.units)
        place = np.minimum(np.searchsorted(self.keys, found.keys), max(len(self.keys) - 1, 0))
        known = self.keys[place] == found.keys if len(self.keys) else np.zeros(len(place), np.bool_)
        size = max(len(self.keys), 1)
        cells, first, count = np.unique(found.rows[known] * size + place[known], return_index=True, return_counts=True)
        row, column, group = cells // size, cells % size, found.groups[known][first]
        value = (1.0 + np.log(count)) * self.rarity[column]
        length = np.sqrt(np.bincount(2 * row + group, value**2, 2 * len(texts)))
        starts = np.searchsorted(row, np.arange(len(texts) + 1))
        return Rows(starts, column, np.asarray(value / length[2 * row + group], np.float32))


def learn_features(texts: Sequence[Sequence[str]], units: Units, classes: int) -> Features:
    """The n-grams of training texts that a model of so many classes can hold."""
    found = grams(texts, units)
    keys, place = np.unique(found.keys, return_inverse=True)
    pairs = np.unique(place * max(len(texts), 1) + found.rows)
    having = np.bincount(pairs // max(len(texts), 1), minlength=len(keys))
    letters = np.zeros(len(keys), np.bool_)
    letters[place] = found.groups == 1
    kept = np.flatnonzero((having >= LEAST_LETTERS) | ~letters)
    if len(kept) > MOST_WEIGHTS // classes:
        kept = np.sort(kept[np.argsort(-having[kept], kind="stable")[: MOST_WEIGHTS // classes]])
    rarity = np.log((1.0 + len(texts)) / (1.0 + having[kept])) + 1.0
    return Features(units, keys[kept], rarity.astype(np.float32))


@final
@dataclass(frozen=True, eq=False)
class Linear:
    """A trained linear model.

    Args:  weight: (F, K). bias: (K,). share: how much its log-probabilities count beside a net's logits, at least 0.
    """

    features: Features
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    share: float

    def logs(self, texts: Sequence[Sequence[str]]) -> Floats:
        """(N, K) log-probabilities; a text's bits do not depend on the texts beside it."""
        found = np.zeros((len(texts), len(self.bias)))
        for start in range(0, len(texts), PIECE):
            rows = self.features.rows(texts[start : start + PIECE])
            for own, (a, b) in enumerate(zip(rows.starts[:-1].tolist(), rows.starts[1:].tolist(), strict=True)):
                each = self.weight[rows.places[a:b]].astype(np.float64) * rows.values[a:b, None]
                found[start + own] = np.add.reduce(each, axis=0) + self.bias
        shifted = found - found.max(-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
