"""Probabilities from logits, and the temperature: against scipy, and against what made the labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from tidegate.decode.labels import fit_temperature, probabilities


def test_probabilities_are_the_mean_of_softmaxes() -> None:
    rng = np.random.default_rng(0)
    logits = [rng.normal(size=(5, 3)) * 800, rng.normal(size=(5, 3)).astype(np.float32)]
    expected = (softmax(logits[0] / 2.0, -1) + softmax(logits[1].astype(float) / 2.0, -1)) / 2
    np.testing.assert_allclose(probabilities(logits, 2.0), expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 4)) * 2
    chances = softmax(logits / temperature, -1)
    labels = (rng.random((len(logits), 1)) > chances.cumsum(1)).sum(1).clip(max=3)
    assert fit_temperature([logits], labels) == pytest.approx(temperature, rel=0.05)


def test_few_texts_move_it_little_and_none_not_at_all() -> None:
    logits = np.array([[3.0, 0.0], [0.0, 3.0]])
    assert fit_temperature([logits], np.zeros(0, np.int64)) == 1.0
    assert 0.8 < fit_temperature([logits], np.array([0, 1])) < 1.0


def test_with_many_classes_some_of_the_texts_do(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(20_000, 4)) * 2
    labels = (rng.random((len(logits), 1)) > softmax(logits / 3.0, -1).cumsum(1)).sum(1).clip(max=3)
    whole = fit_temperature([logits, logits], labels)
    monkeypatch.setattr("tidegate.decode.labels.MOST_NUMBERS", 20_000)
    assert fit_temperature([logits, logits], labels) == fit_temperature([logits[::4]], labels[::4])
    assert fit_temperature([logits], labels) == pytest.approx(whole, rel=0.1)
