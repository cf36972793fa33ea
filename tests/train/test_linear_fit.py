"""Logistic regression of sparse rows: scikit-learn finds the same probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from tidegate.tasks.linear import Rows
from tidegate.train.linear import C, fit_linear


@pytest.mark.parametrize("count", [2, 5])
def test_the_same_probabilities_as_scikit_learn(count: int) -> None:
    rng = np.random.default_rng(count)
    rows, columns = 120, 40
    x = np.where(rng.random((rows, columns)) < 0.2, rng.random((rows, columns)), 0.0).astype(np.float32)
    x[7] = 0.0
    classes = (x @ rng.normal(0, 2, (columns, count)) + rng.normal(0, 0.5, (rows, count))).argmax(1)
    sparse = csr_matrix(x)
    given = Rows(sparse.indptr.astype(np.int64), sparse.indices.astype(np.int64), sparse.data)
    weight, bias = fit_linear(given, columns, classes, count)
    logits = x @ weight + bias
    ours = np.exp(logits - logits.max(1, keepdims=True))
    # scikit-learn's two classes share one vector, which is the difference of ours: half the square of it
    theirs = LogisticRegression(C=C if count > 2 else 2 * C, tol=1e-8, max_iter=5000).fit(x, classes)
    np.testing.assert_allclose(ours / ours.sum(1, keepdims=True), theirs.predict_proba(x), atol=2e-3)
    again = fit_linear(given, columns, classes, count)
    np.testing.assert_array_equal(again.weight, weight)
