"""Batches of texts of like length, bounded by their padded tokens. In: the codes of each text. Out: groups, padded arrays."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeVar, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.data.vocabulary import UNKNOWN, Codes

log = logging.getLogger("tidegate")
S = TypeVar("S", Codes, list[str])
WINDOW = 50  # batches among which texts are sorted by length: short and long ones still come in any order


def groups(
    lengths: npt.NDArray[np.int64],
    tokens: int,
    rng: np.random.Generator | None = None,
    *,
    beside: npt.NDArray[np.int64] | None = None,
) -> list[Codes]:
    """Every row once, in groups whose rows times longest length stay within `tokens` (a longer text stands alone).

    Args:  rng: shuffles rows and groups; None: sorted by length, for evaluation. beside: a second length, by which rows of equal
           length are sorted.
    """
    ranks = lengths if beside is None else lengths * (int(beside.max(initial=0)) + 1) + beside
    order = np.argsort(ranks, kind="stable") if rng is None else rng.permutation(len(lengths))
    if rng is None or not len(order):
        return _cut(order, lengths, tokens)
    mean = max(1.0, float(lengths.mean()))
    size = max(1, int(WINDOW * tokens / mean))
    found: list[Codes] = []
    for start in range(0, len(order), size):
        window = order[start : start + size]
        found += _cut(window[np.argsort(ranks[window], kind="stable")], lengths, tokens)
    return [found[k] for k in rng.permutation(len(found))]


@final
class Passes:
    """The groups of pass after pass; a pass's order follows from the seed and its number."""

    def __init__(self, lengths: npt.NDArray[np.int64], tokens: int, seed: int) -> None:
        self._lengths, self._tokens, self._seed = lengths, tokens, seed
        self._known: tuple[int, list[Codes]] = (-1, [])

    @property
    def steps(self) -> int:
        """Groups of the first pass; the others differ by a few."""
        return len(self._groups(0))

    def next(self, cursor: Plain) -> tuple[Codes, Plain]:
        """The rows of the next group, and the place after it. cursor: None at the start."""
        epoch, place = (0, 0) if not isinstance(cursor, list) else (int(str(cursor[0])), int(str(cursor[1])))
        if place < 0:
            raise ValueError("expected a place in a pass")  # a checkpoint is read as if anybody had written it
        if place >= len(self._groups(epoch)):
            epoch, place = epoch + 1, 0
        return self._groups(epoch)[place], [epoch, place + 1]

    def _groups(self, epoch: int) -> list[Codes]:
        if self._known[0] != epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._known = (epoch, groups(self._lengths, self._tokens, rng))
        return self._known[1]


def _cut(order: Codes, lengths: npt.NDArray[np.int64], tokens: int) -> list[Codes]:
    """Rows in ascending order of length, cut where one more would pass the bound."""
    found, start = [], 0
    longest = np.maximum(lengths[order], 1).tolist()
    for end in range(1, len(order) + 1):
        if end == len(order) or longest[end] * (end + 1 - start) > tokens:
            found.append(order[start:end])
            start = end
    return found


def padded(codes: Sequence[Codes]) -> tuple[Codes, Codes]:
    """(B, T, 1) codes with 0 past each row's end, and (B,) lengths; T is at least 1."""
    lengths = np.array([len(row) for row in codes], np.int64)
    out = np.zeros((len(codes), max(1, int(lengths.max(initial=0))), 1), np.int64)
    if len(codes):
        out[np.arange(out.shape[1]) < lengths[:, None], 0] = np.concatenate(codes)
    return out, lengths


def cut(texts: Sequence[S], most: int) -> list[S]:
    """Texts, each cut after so many tokens; what is cut is logged."""
    long = sum(len(text) > most for text in texts)
    if long:
        log.warning("%d of %d texts have more than %d tokens (max_tokens); what is past them is not read", long, len(texts), most)
    return [text[:most] for text in texts]


def forget(codes: Codes, chances: npt.NDArray[np.float64], rng: np.random.Generator) -> Codes:
    """Codes of which some are replaced by the unknown one, each with its own chance (Kiperwasser & Goldberg 2016)."""
    return np.where(rng.random(codes.shape) < chances[codes], UNKNOWN, codes)
