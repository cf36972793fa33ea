"""The best paths against all paths of small cases, ties, rows of several lengths, and what may not follow what."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.decode.viterbi import NEVER, best_paths, legal_transitions
from tidegate.errors import ConfigError


def score(path: tuple[int, ...], e: np.ndarray, a: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    if not path:
        return 0.0
    steps = sum(e[t, y] for t, y in enumerate(path)) + sum(a[i, j] for i, j in itertools.pairwise(path))
    return float(start[path[0]] + steps + end[path[-1]])


@given(seed=st.integers(0, 10_000), size=st.integers(1, 4), n=st.integers(1, 7))
def test_the_n_best_are_those_of_all_paths(seed: int, size: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    steps, lengths = 4, np.array([4, 1, 0, 3])
    e, a = rng.normal(size=(4, steps, size)), rng.normal(size=(size, size))
    start, end = rng.normal(size=size), rng.normal(size=size)
    found = best_paths(e, lengths, a, start, end, n)
    for row, length in enumerate(lengths):
        paths = sorted(itertools.product(range(size), repeat=int(length)), key=lambda p: -score(p, e[row], a, start, end))[:n]
        assert [tuple(p[:length]) for p in found.tags[row, : len(paths)]] == paths
        np.testing.assert_allclose(found.scores[row, : len(paths)], [score(p, e[row], a, start, end) for p in paths])
        assert np.all(found.scores[row, len(paths) :] == -np.inf)
        assert not found.tags[row, :, length:].any()


def test_ties_go_to_the_lower_tag() -> None:
    found = best_paths(np.zeros((1, 3, 3)), np.array([3]), np.zeros((3, 3)), np.zeros(3), np.zeros(3))
    assert found.tags.tolist() == [[[0, 0, 0]]]


def test_what_may_not_follow_never_does() -> None:
    legal = np.array([[True, True, True], [False, True, True], [True, False, True]])  # 0 -> 0, 1; 1 -> 1; begins with 0
    added = legal_transitions(legal)
    found = best_paths(np.array([[[0.0, 9.0], [5.0, 0.0]]]), np.array([2]), *added, n=4)
    assert found.scores[0].tolist() == [5.0, 0.0, -np.inf, -np.inf]
    assert found.tags[0, :2].tolist() == [[0, 0], [0, 1]]
    assert added[0][1, 0] == NEVER


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="n_best: expected at least 1, got 0"):
        best_paths(np.zeros((1, 1, 2)), np.array([1]), np.zeros((2, 2)), np.zeros(2), np.zeros(2), 0)
