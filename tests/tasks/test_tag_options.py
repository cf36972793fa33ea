"""What a tagger leaves open is chosen by how much there is to learn from."""

from __future__ import annotations

import pytest

from tidegate.tasks.tag import FEW, FEW_WORDS, PLENTY, TagOptions, resolved


@pytest.mark.parametrize(("words", "own"), [(0, FEW), (FEW_WORDS - 1, FEW), (FEW_WORDS, PLENTY), (10**7, PLENTY)])
def test_few_words_are_forgotten_more(words: int, own: tuple[float, float]) -> None:
    found = resolved(TagOptions(), words)
    assert (found.dropout, found.unknown_rate) == own


def test_what_is_given_stays() -> None:
    found = resolved(TagOptions(dropout=0.0, unknown_rate=0.0), 10)
    assert (found.dropout, found.unknown_rate) == (0.0, 0.0)
