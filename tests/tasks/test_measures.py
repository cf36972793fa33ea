"""Oracles: scikit-learn for the squared, absolute and pinball errors; the formulas as plain loops for the others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tidegate.errors import ShapeError
from tidegate.tasks import measures as m


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    truth = rng.gamma(2.0, 3.0, (5, 7))
    return truth, truth + rng.normal(size=(5, 7))


def test_squared_and_absolute_error_equal_scikit_learn(pair):
    truth, point = pair
    np.testing.assert_allclose(m.mse(truth, point), [metrics.mean_squared_error(*row) for row in zip(truth, point, strict=True)])
    np.testing.assert_allclose(m.mae(truth, point), [metrics.mean_absolute_error(*row) for row in zip(truth, point, strict=True)])


def test_weighted_quantile_loss_equals_scikit_learn(pair):
    truth, point = pair
    quantiles = point[..., None] + np.linspace(-2, 2, 9)
    losses = [metrics.mean_pinball_loss(truth.ravel(), quantiles[..., j].ravel(), alpha=p) for j, p in enumerate(m.DECILES)]
    expected = 2 * np.mean(losses) * truth.size / np.abs(truth).sum()
    assert m.weighted_quantile_loss(truth, quantiles) == pytest.approx(expected)


def test_weighted_quantile_loss_of_a_point_is_the_normalised_deviation(pair):
    truth, point = pair
    assert m.weighted_quantile_loss(truth, np.repeat(point[..., None], 9, axis=-1)) == pytest.approx(m.nd(truth, point))


def test_smape_by_hand():
    got = m.smape(np.array([[100.0, 0.0, 5.0], [-1.0, 2.0, 0.0]]), np.array([[110.0, 0.0, 0.0], [1.0, 2.0, 0.0]]))
    np.testing.assert_allclose(got, [(200 * 10 / 210 + 0 + 200) / 3, 200 / 3])


def test_mase_by_hand():
    history = np.array([1.0, 4.0, 3.0, 8.0, np.nan, 9.0])  # seasonal differences 2, 4, -, 1
    scale = m.mase_scale([history], 2)
    np.testing.assert_allclose(scale, [7 / 3])
    np.testing.assert_allclose(m.mase(np.array([[1.0, 2.0]]), np.array([[2.0, 5.0]]), scale), [2 / (7 / 3)])


def test_msis_by_hand():
    truth, lo, hi = np.array([[0.0, 5.0, 12.0]]), np.full((1, 3), 1.0), np.full((1, 3), 10.0)
    expected = ((9 + 40 * 1) + 9 + (9 + 40 * 2)) / 3 / 2.0
    np.testing.assert_allclose(m.msis(truth, lo, hi, np.array([2.0]), 95), [expected])


def test_coverage_counts_the_ends_as_inside():
    truth = np.array([[1.0, 2.0, 3.0, np.nan], [0.0, 4.0, 2.0, 2.0]])
    np.testing.assert_allclose(m.coverage(truth, np.full((2, 4), 1.0), np.full((2, 4), 3.0)), [1.0, 0.5])


def test_owa_of_naive2_is_one():
    assert m.owa(18.383, 2.395, 18.383, 2.395) == 1.0
    assert m.owa(9.328, 0.893, 18.383, 2.395) == pytest.approx(0.440, abs=5e-4)  # ES-RNN in the competition's table
    assert np.isnan(m.owa(1.0, 1.0, 0.0, 1.0))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_unknown_truths_change_nothing(seed):
    rng = np.random.default_rng(seed)
    truth, point = rng.normal(size=(3, 6)), rng.normal(size=(3, 6))
    longer = np.hstack([truth, np.full((3, 2), np.nan)])
    wider = np.hstack([point, rng.normal(size=(3, 2))])
    for measure in (m.mse, m.mae, m.smape, m.nd):
        np.testing.assert_allclose(measure(longer, wider), measure(truth, point))
    lo, hi = wider - 1, wider + 1
    np.testing.assert_allclose(m.coverage(longer, lo, hi), m.coverage(truth, lo[:, :6], hi[:, :6]))


def test_what_is_not_defined_is_nan_without_a_warning(recwarn):
    nothing, zero, one = np.full((1, 3), np.nan), np.zeros((1, 3)), np.ones((1, 3))
    for measure in (m.mse, m.mae, m.smape):
        assert np.isnan(measure(nothing, one)).all()
        assert np.isnan(measure(one, nothing)).all()
    assert np.isnan(m.mase(zero, one, np.array([0.0])))
    assert np.isnan(m.mase(zero, one, np.array([np.nan])))
    assert np.isnan(m.msis(zero, one, one, np.array([0.0]), 95))
    assert np.isnan(m.coverage(zero, nothing, one))
    assert np.isnan(m.nd(zero, one))
    assert np.isnan(m.weighted_quantile_loss(zero, np.ones((1, 3, 9))))
    assert np.isnan(m.mse(np.full((1, 2), 1e300), np.full((1, 2), -1e300)))
    assert np.isnan(m.mae(one, np.full((1, 3), np.inf)))
    assert np.isnan(m.mase_scale([np.array([]), np.array([1.0]), np.full(9, np.nan)], 2)).all()
    assert not recwarn.list


def test_numbers_at_the_ends_of_float32_survive():
    truth, point = np.array([[1e38, 2e38], [1e-38, 2e-38]]), np.array([[2e38, 2e38], [2e-38, 2e-38]])
    np.testing.assert_allclose(m.mae(truth, point), [0.5e38, 0.5e-38])
    np.testing.assert_allclose(m.smape(truth, point), [200 / 3 / 2] * 2)


def test_wrong_shapes_are_refused():
    with pytest.raises(ShapeError, match="forecast"):
        m.mae(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ShapeError, match="quantiles"):
        m.weighted_quantile_loss(np.zeros((2, 3)), np.zeros((2, 3, 8)))
