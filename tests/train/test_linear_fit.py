"""Logistic regression of sparse rows: SciPy finds no better minimum, and scikit-learn the same where all scales are one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from tidegate.tasks.linear import Rows
from tidegate.train.linear import C_EVEN, C_ODDS, FLOOR, fit_linear, scales


@pytest.mark.parametrize("count", [2, 5])
def test_no_smaller_loss_is_found(count: int) -> None:
    rng = np.random.default_rng(count)
    rows, columns = 60, 12
    x = np.where(rng.random((rows, columns)) < 0.2, rng.random((rows, columns)), 0.0).astype(np.float32)
    x[7] = 0.0
    classes = (x @ rng.normal(0, 2, (columns, count)) + rng.normal(0, 0.5, (rows, count))).argmax(1)
    sparse = csr_matrix(x)
    given = Rows(sparse.indptr.astype(np.int64), sparse.indices.astype(np.int64), sparse.data)
    weight, bias = fit_linear(given, columns, classes, count, by_odds=True)
    logits = x @ weight + bias
    ours = np.exp(logits - logits.max(1, keepdims=True))
    scale = scales(given, columns, classes, count)

    def loss(flat: np.ndarray) -> float:
        v, b = flat[:-count].reshape(columns, count), flat[-count:]
        z = x @ (v * scale) + b
        logs = z - np.log(np.exp(z).sum(1, keepdims=True))
        return float(-logs[np.arange(rows), classes].sum() + (v * v).sum() / (2 * C_ODDS))

    best = minimize(loss, np.zeros((columns + 1) * count), method="L-BFGS-B", options={"maxiter": 300, "maxfun": 10**6})
    wanted = x @ (best.x[:-count].reshape(columns, count) * scale) + best.x[-count:]
    theirs = np.exp(wanted - wanted.max(1, keepdims=True))
    np.testing.assert_allclose(ours / ours.sum(1, keepdims=True), theirs / theirs.sum(1, keepdims=True), atol=5e-3)
    found = np.concatenate([(weight / scale).ravel(), bias])
    assert loss(found) < best.fun * (1 + 1e-5)
    np.testing.assert_array_equal(fit_linear(given, columns, classes, count, by_odds=True).weight, weight)


def test_even_scales_give_scikit_learns_probabilities() -> None:
    rng = np.random.default_rng(7)
    x = np.where(rng.random((90, 20)) < 0.3, rng.random((90, 20)), 0.0).astype(np.float32)
    classes = rng.integers(0, 4, 90)
    sparse = csr_matrix(x)
    given = Rows(sparse.indptr.astype(np.int64), sparse.indices.astype(np.int64), sparse.data)
    weight, bias = fit_linear(given, 20, classes, 4, by_odds=False)
    logits = x @ weight + bias
    ours = np.exp(logits - np.log(np.exp(logits).sum(1, keepdims=True)))
    theirs = LogisticRegression(C=C_EVEN, tol=1e-8, max_iter=5000).fit(x, classes).predict_proba(x)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_the_scale_is_the_log_odds() -> None:
    """Three texts of class 0 have feature 0, one of class 1 has; nobody has feature 1."""
    given = Rows(np.array([0, 1, 2, 3, 4, 4, 4]), np.zeros(4, np.int64), np.ones(4, np.float32))
    found = scales(given, 2, np.array([0, 0, 0, 1, 1, 1]), 2)
    odds = np.log((4 / 5) / (2 / 5))
    np.testing.assert_allclose(found, [[odds + FLOOR, odds + FLOOR], [FLOOR, FLOOR]], rtol=1e-6)
