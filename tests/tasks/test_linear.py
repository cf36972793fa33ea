"""Features of the linear model: a twin in plain Python, and scikit-learn's TF-IDF. Its logits: rows alone, dense arithmetic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from tidegate.tasks import linear
from tidegate.tasks.linear import Features, Linear, Rows, grams, learn_features

WORDS = ("a", "bad", "film", "fine", "not", "très", "\U0001f600", "n't")
TEXTS = [["not", "a", "bad", "film"], ["a", "film", "a", "film"], [], ["très", "bad"], ["fine"], ["not", "fine", "n't", "fine"]]
texts_of_words = st.lists(st.lists(st.sampled_from(WORDS), max_size=6), min_size=1, max_size=5)


def words(text: list[str]) -> list[str]:
    return [*text, *(f"{a} {b}" for a, b in itertools.pairwise(text))]


def letters(text: list[str]) -> list[str]:
    """Runs of 1 to 5 letters of the words with blanks around them, none with a blank inside."""
    joined = f" {' '.join(text)} "
    runs = [joined[k : k + n] for n in range(1, 6) for k in range(len(joined) - n + 1)]
    return [run for run in runs if " " not in run[1:-1]]


@given(texts_of_words)
def test_the_same_runs_as_the_twin_and_different_runs_have_different_keys(texts: list[list[str]]) -> None:
    found = grams(texts, "word")
    for group, twin in ((0, words), (1, letters)):
        own = found.groups == group
        named: dict[int, str] = {}
        wanted = [sorted(twin(text)) for text in texts]
        counts = [np.bincount(found.rows[own], minlength=len(texts))[row] for row in range(len(texts))]
        assert counts == [len(part) for part in wanted]
        # Twice the same runs under names of our own: equal strings have equal keys, others other ones.
        every = sorted({run for part in wanted for run in part})
        assert len(set(found.keys[own].tolist())) == len(every)
        for text, part in zip(texts, wanted, strict=True):
            alone = grams([text], "word")
            for key, run in zip(sorted(alone.keys[alone.groups == group].tolist()), sorted(part), strict=True):
                named.setdefault(key, run)
        assert set(named) == set(found.keys[own].tolist())


def test_characters_and_bytes_have_runs_of_letters_alone() -> None:
    found = grams([list("abc")], "char")
    assert len(found.keys) == sum(5 - n + 1 for n in range(1, 6))  # of " abc "
    assert set(found.groups.tolist()) == {1}
    assert len(grams([["97", "98", "99"]], "byte").keys) == len(found.keys)


def dense(rows: Rows, columns: int) -> np.ndarray:
    out = np.zeros((len(rows.starts) - 1, columns))
    out[np.repeat(np.arange(len(out)), np.diff(rows.starts)), rows.places] = rows.values
    return out


def test_tf_idf_is_that_of_scikit_learn() -> None:
    features = learn_features(TEXTS, "word", 2)
    new = [*TEXTS, ["unseen", "film"], ["not"]]
    ours = dense(features.rows(new), len(features.keys))
    theirs = []
    for twin, least in ((words, 1), (letters, 2)):
        table = TfidfVectorizer(analyzer=twin, sublinear_tf=True, min_df=least).fit(TEXTS)
        theirs.append(table.transform(new).toarray())
    wanted = np.concatenate(theirs, 1)
    assert ours.shape == wanted.shape
    np.testing.assert_allclose(ours @ ours.T, wanted @ wanted.T, atol=1e-6)  # whatever the order of the columns
    np.testing.assert_allclose(np.sort(ours, 1), np.sort(wanted, 1), atol=1e-6)


def test_a_bound_keeps_the_features_of_most_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = learn_features(TEXTS, "word", 2)
    monkeypatch.setattr(linear, "MOST_WEIGHTS", 20)
    few = learn_features(TEXTS, "word", 2)
    assert len(few.keys) == 10
    assert set(few.keys.tolist()) < set(whole.keys.tolist())
    assert np.all(np.diff(few.keys.astype(object)) > 0)
    assert few.rarity.max() <= np.sort(whole.rarity)[9] + 1e-6


def model(classes: int = 3) -> Linear:
    features, rng = learn_features(TEXTS, "word", classes), np.random.default_rng(0)
    size = (len(features.keys), classes)
    return Linear(features, rng.normal(0, 1, size).astype(np.float32), rng.normal(0, 1, classes).astype(np.float32), 1.0)


def test_log_probabilities_are_those_of_dense_arithmetic() -> None:
    own = model()
    logits = dense(own.features.rows(TEXTS), len(own.features.keys)) @ own.weight.astype(np.float64) + own.bias
    wanted = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(own.logs(TEXTS), wanted, atol=1e-6)
    assert own.logs([]).shape == (0, 3)


def test_a_text_has_the_same_bits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    own = model()
    together = own.logs(TEXTS)
    for row, text in enumerate(TEXTS):
        np.testing.assert_array_equal(own.logs([text])[0], together[row])
    monkeypatch.setattr(linear, "PIECE", 2)
    np.testing.assert_array_equal(own.logs(TEXTS), together)


def test_no_known_feature_leaves_the_bias() -> None:
    empty, bias = Features("word", np.zeros(0, np.int64), np.zeros(0, np.float32)), np.array([0.3, -1.0], np.float32)
    assert empty.rows(TEXTS).starts.tolist() == [0] * (len(TEXTS) + 1)
    wanted = bias.astype(np.float64)
    found = Linear(empty, np.zeros((0, 2), np.float32), bias, 1.0).logs(TEXTS)
    np.testing.assert_allclose(found, np.tile(wanted - np.log(np.exp(wanted).sum()), (len(TEXTS), 1)), atol=1e-12)
