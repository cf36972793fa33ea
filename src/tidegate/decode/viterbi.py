"""The best paths through scores of tags. In: scores, what one tag adds after another. Out: the n best paths, best first.

Viterbi 1967; of n paths a state keeps the n best that end in it (list Viterbi, Seshadri & Sundberg 1994), which is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tidegate.errors import ConfigError

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
MOST_NUMBERS = 1 << 22  # of one step's candidates
NEVER = -1e30  # a transition that no path may take


class Paths(NamedTuple):
    """Paths of B rows, best first; ties go to the path whose earliest different tag, from the end, is the lower."""

    tags: Ints  # (B, n, T), 0 past a row's length
    scores: npt.NDArray[np.float64]  # (B, n); -inf where a row has fewer paths


def best_paths(scores: Floats, lengths: Ints, transitions: Floats, start: Floats, end: Floats, n: int = 1) -> Paths:
    """The n best paths of each row.

    Args:  scores: (B, T, K). lengths: (B,), 0 to T. transitions: (K, K), from row to column; start, end: (K,); NEVER forbids.
           n: at least 1. A row of length 0 has one path, the empty one, with a score of 0.
    """
    if n < 1:
        raise ConfigError(f"n_best: expected at least 1, got {n}")
    batch, steps, size = scores.shape
    most = max(1, MOST_NUMBERS // (size * size * n))
    if batch > most:  # the candidates of a step are batch x size x size x n numbers
        cuts = [slice(k, k + most) for k in range(0, batch, most)]
        parts = [best_paths(scores[own], lengths[own], transitions, start, end, n) for own in cuts]
        return Paths(*(np.concatenate([part[k] for part in parts]) for k in range(2)))
    held = np.full((batch, size, n), -np.inf)
    back = np.zeros((steps, batch, size, n), np.int64)  # number of the state and place before: state * n + place
    if steps:
        held[:, :, 0] = scores[:, 0] + np.asarray(start, np.float64)
    for t in range(1, steps):
        into = (held[:, :, :, None] + np.asarray(transitions, np.float64)[None, :, None, :]).reshape(batch, size * n, size)
        order = _best(into, n)  # (B, n, K)
        new = np.take_along_axis(into, order, 1).swapaxes(1, 2) + scores[:, t, :, None]
        active = (t < lengths)[:, None, None]
        back[t] = order.swapaxes(1, 2)
        held = np.where(active, new, held)
    closing = (held + np.asarray(end, np.float64)[None, :, None]).reshape(batch, size * n)
    order = _best(closing[:, :, None], n)[:, :, 0]
    totals = np.take_along_axis(closing, order, 1)
    totals[totals < NEVER / 2] = -np.inf
    return _walked(back, lengths, order, totals, n)


def legal_transitions(legal: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """(K + 1, K + 1) of what may follow what -> what to add to transitions, start and end: 0 or NEVER. Index K: outside."""
    added = np.where(legal, 0.0, NEVER)
    return added[:-1, :-1], added[-1, :-1], added[:-1, -1]


def _best(values: npt.NDArray[np.float64], n: int) -> Ints:
    """Numbers of the n largest along axis 1, the largest first; of equals the first."""
    if n == 1:
        return np.asarray(values.argmax(1)[:, None], np.int64)
    if values.shape[1] < n:
        values = np.concatenate([values, np.full((len(values), n - values.shape[1], values.shape[2]), -np.inf)], 1)
    return np.argsort(-values, axis=1, kind="stable")[:, :n]


def _walked(back: Ints, lengths: Ints, order: Ints, totals: npt.NDArray[np.float64], n: int) -> Paths:
    """From the last tag back to the first."""
    steps, batch, size = back.shape[:3]
    tags = np.zeros((batch, n, steps), np.int64)
    flat, at = back.reshape(steps, batch, size * n), np.minimum(order, size * n - 1)
    for t in range(steps - 1, -1, -1):
        active = (t < lengths)[:, None]
        tags[:, :, t] = np.where(active, at // n, 0)
        at = np.where(active & (t > 0), np.take_along_axis(flat[t], at, 1), at)
    empty = lengths == 0
    totals[empty] = -np.inf
    totals[empty, 0] = 0.0
    return Paths(tags, totals)
