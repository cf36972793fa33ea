"""From logits to labels. In: logits of one or several nets. Out: probabilities, the temperature that makes them honest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LEAST, MOST = 0.05, 20.0  # of a temperature
STEPS = 30  # leaves 3e-6 of the range
PRIOR = 10.0
MOST_NUMBERS = 1 << 22  # of the logits that a temperature is fitted on: with thousands of classes, some of the texts do


def probabilities(logits: Sequence[npt.NDArray[np.floating]], temperature: float = 1.0) -> Floats:
    """(N, K) the mean over the nets of softmax(logits / temperature), in float64.

    Args:  logits: (N, K) of each net. temperature: above 1 flattens.
    """
    parts = [_softmax(np.asarray(own, np.float64) / temperature) for own in logits]
    return np.asarray(sum(parts) / len(parts))


def fit_temperature(logits: Sequence[npt.NDArray[np.floating]], classes: npt.NDArray[np.int64]) -> float:
    """The temperature with the smallest log loss on texts that were not trained on (Guo et al. 2017).

    A prior keeps it near 1 where there are few of them: log T is normal with a standard deviation of 1 / sqrt(PRIOR).
    """
    if not len(classes):
        return 1.0
    every = max(1, -(-logits[0].size // MOST_NUMBERS))
    kept, classes = [np.asarray(own[::every], np.float64) for own in logits], classes[::every]

    def loss(temperature: float) -> float:
        own = sum(_chosen(part / temperature, classes) for part in kept) / len(kept)
        return float(-np.log(np.maximum(own, 1e-300)).sum())

    return best_temperature(loss)


def best_temperature(loss: Callable[[float], float]) -> float:
    """Where a loss summed over texts is smallest, with the same prior."""

    def with_prior(log_temperature: float) -> float:
        return loss(float(np.exp(log_temperature))) + 0.5 * PRIOR * log_temperature**2

    return float(np.exp(_smallest(with_prior, np.log(LEAST), np.log(MOST))))


def _smallest(f: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one valley is smallest, by golden sections: one new value a step."""
    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = f(a), f(b)
    for _ in range(STEPS):
        if at_a <= at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = f(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = f(b)
    return float((low + high) / 2.0)


def _chosen(x: Floats, classes: npt.NDArray[np.int64]) -> Floats:
    """(N,) the softmax of one class a row."""
    each = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(each[np.arange(len(classes)), classes] / each.sum(-1))


def _softmax(x: Floats) -> Floats:
    each = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(each / each.sum(-1, keepdims=True))
