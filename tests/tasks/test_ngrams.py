"""Naive Bayes on n-grams against scikit-learn's, where nothing collides."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from tidegate.tasks import ngrams
from tidegate.tasks.ngrams import NaiveBayes

WORDS = np.array(["", "red", "blue", "green", "small", "large"])


def drawn(seed: int, rows: int = 60) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, rows)
    return [rng.integers(1, 6, rng.integers(0, 9)) if c else rng.integers(1, 4, rng.integers(2, 9)) for c in classes], classes


def test_the_same_answers_as_scikit_learn() -> None:
    (codes, classes), (asked, _) = drawn(0), drawn(1)
    mine = NaiveBayes(codes, classes, count=3, longest=2)
    texts, other = ([" ".join(WORDS[c]) for c in part] for part in (codes, asked))
    counts = CountVectorizer(ngram_range=(1, 2)).fit(texts)
    theirs = MultinomialNB(alpha=ngrams.ADDED).fit(counts.transform(texts), classes)
    # The places that no n-gram has are counted by the smoothing here: it takes the same from every n-gram of a class.
    places = mine._places
    joint = counts.transform(other) @ _logs(theirs.feature_count_, places).T + mine._prior
    expected = joint - np.log(np.exp(joint - joint.max(1, keepdims=True)).sum(1, keepdims=True)) - joint.max(1, keepdims=True)
    np.testing.assert_allclose(mine.log_probabilities(asked), expected, atol=2e-4)


def test_texts_in_parts_and_classes_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    (codes, classes), (asked, _) = drawn(0), drawn(1)
    bayes = NaiveBayes(codes, classes * 700, count=2000, longest=2)
    whole = bayes.log_probabilities(asked)
    monkeypatch.setattr(ngrams, "MOST_AT_ONCE", 2500)
    np.testing.assert_array_equal(bayes.log_probabilities(asked), whole)
    np.testing.assert_allclose(np.exp(whole).sum(1), 1.0)
    assert bayes.log_probabilities([]).shape == (0, 2000)


def _logs(counts: np.ndarray, places: int) -> np.ndarray:
    return np.log((counts + ngrams.ADDED) / (counts.sum(1, keepdims=True) + ngrams.ADDED * places))


def test_ngrams_do_not_cross_from_one_text_into_the_next() -> None:
    alone = NaiveBayes([np.array([1]), np.array([2])], np.array([0, 1]), count=2, longest=2)
    joined = alone.log_probabilities([np.array([1]), np.array([2])])
    each = np.concatenate([alone.log_probabilities([np.array([k])]) for k in (1, 2)])
    np.testing.assert_array_equal(joined, each)


def test_no_token_gives_the_shares() -> None:
    bayes = NaiveBayes([np.array([1])] * 3 + [np.array([2])], np.array([0, 0, 0, 1]), count=2, longest=2)
    np.testing.assert_allclose(np.exp(bayes.log_probabilities([np.zeros(0, np.int64)])), [[4 / 6, 2 / 6]])
