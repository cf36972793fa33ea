"""Batches of texts of like length, bounded by their padded tokens. In: the codes of each text. Out: groups, padded arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tidegate.data.vocabulary import UNKNOWN, Codes

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
    for row, own in zip(out, codes, strict=True):
        row[: len(own), 0] = own
    return out, lengths


def forget(codes: Codes, chances: npt.NDArray[np.float64], rng: np.random.Generator) -> Codes:
    """Codes of which some are replaced by the unknown one, each with its own chance (Kiperwasser & Goldberg 2016)."""
    return np.where(rng.random(codes.shape) < chances[codes], UNKNOWN, codes)
