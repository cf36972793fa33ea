"""The linear model of n-grams beside a classifier's nets: trained, and weighed on held-back texts. In: tokens. Out: Linear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tidegate.data.vocabulary import Units
from tidegate.decode.labels import Floats, fit_temperature, probabilities
from tidegate.tasks.linear import Linear, learn_features

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
USUAL_SHARE = 1.0  # where nothing is held back to choose it on
Tokens = Sequence[Sequence[str]]


def trained_linear(texts: Tokens, own: npt.NDArray[np.int64], count: int, units: Units, share: float) -> Linear:
    """A linear model of the n-grams of texts. own: (N,) their classes, of `count`."""
    from tidegate.train.linear import fit_linear

    features = learn_features(texts, units, count)
    by_odds = units not in ("char", "byte")
    weight, bias = fit_linear(features.rows(texts), len(features.keys), own, count, by_odds=by_odds)
    return Linear(features, weight, bias, share)


def weighed(linear: Linear, logits: Sequence[Floats], tokens: Tokens, truth: npt.NDArray[np.int64]) -> Linear:
    """With the share that foresees the held-back texts best, each share at its best temperature; of equal ones the smallest.

    Args:  logits: (N, K) of each net on the held-back texts. truth: (N,) their classes.
    """
    if not len(truth):
        return linear
    logs = linear.logs(tokens)

    def loss(share: float) -> float:
        mixed = [own + share * logs for own in logits]
        own = probabilities(mixed, fit_temperature(mixed, truth))[np.arange(len(truth)), truth]
        return float(-np.log(np.maximum(own, 1e-300)).sum())

    return replace(linear, share=min(SHARES, key=loss))
