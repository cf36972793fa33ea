"""Batches of texts: every row once, within the bound, the same for a seed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidegate.tasks.token_batches import forget, groups, padded

LENGTHS = st.lists(st.integers(0, 30), max_size=200).map(lambda values: np.array(values, np.int64))


@given(LENGTHS, st.integers(1, 100), st.none() | st.integers(0, 9))
def test_every_row_once_and_within_the_bound(lengths: np.ndarray, tokens: int, seed: int | None) -> None:
    found = groups(lengths, tokens, None if seed is None else np.random.default_rng(seed))
    assert sorted(np.concatenate([np.zeros(0, np.int64), *found]).tolist()) == list(range(len(lengths)))
    for rows in found:
        longest = max(1, int(lengths[rows].max()))
        assert len(rows) == 1 or longest * len(rows) <= tokens


def test_a_seed_gives_the_same_and_texts_of_like_length_stand_together() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 5000)
    first, second = (groups(lengths, 1024, np.random.default_rng(3)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    real = sum(lengths)
    assert sum(len(g) * lengths[g].max() for g in first) < 1.1 * real
    assert np.abs(np.diff([lengths[g].mean() for g in first])).mean() > 5, "and yet short and long ones come in any order"


def test_padded() -> None:
    tokens, lengths = padded([np.array([3, 4]), np.zeros(0, np.int64)])
    assert tokens[..., 0].tolist() == [[3, 4], [0, 0]]
    assert lengths.tolist() == [2, 0]
    assert padded([np.zeros(0, np.int64)])[0].shape == (1, 1, 1)


def test_rare_tokens_are_forgotten_more_often() -> None:
    codes, chances = np.repeat([1, 2], 20_000), np.array([1.0, 0.2, 0.0])
    found = forget(codes, chances, np.random.default_rng(0))
    assert abs((found[:20_000] == 0).mean() - 0.2) < 0.01
    assert (found[20_000:] == 2).all()
