"""Oracle: SciPy's quantile functions."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from tidegate.decode import quantiles as q
from tidegate.errors import ConfigError, ShapeError

P = np.array([0.001, 0.01, 0.025, 0.1, 0.3, 0.45, 0.5, 0.6, 0.9, 0.975, 0.99, 0.999])
DECILES = np.arange(1, 10) / 10


def test_gaussian_equals_scipy():
    mean, scale = np.array([[-3.0], [1e6]]), np.array([0.1, 2.0, 50.0])
    expected = stats.norm.ppf(P, mean[..., None], scale[:, None])
    np.testing.assert_allclose(q.gaussian_quantile(mean, scale, P), expected, rtol=1e-12)


def test_student_t_equals_scipy():
    df = np.geomspace(1.01, 1e6, 300)
    expected = stats.t.ppf(P, df[:, None])
    np.testing.assert_allclose(q.student_t_quantile(df, 0.0, 1.0, P), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("p", [1e-6, 1e-4, 0.499999, 0.5])
def test_student_t_in_the_far_tail_and_at_the_centre(p):
    df = np.geomspace(1.01, 1e6, 50)
    expected = 3.0 + 2.0 * stats.t.ppf(p, df)
    np.testing.assert_allclose(q.student_t_quantile(df, 3.0, 2.0, [p])[:, 0], expected, rtol=1e-8)


@pytest.mark.parametrize(("most", "count"), [(5, 400), (300, 400), (30_000, 200)])
def test_negative_binomial_equals_scipy(most, count):
    rng = np.random.default_rng(0)
    mean, dispersion = rng.uniform(0.01, most, count), np.exp(rng.uniform(-8, 1.5, count))
    r = 1.0 / dispersion
    expected = stats.nbinom.ppf(P, r[:, None], (r / (r + mean))[:, None])
    got = q.negative_binomial_quantile(mean, dispersion, P)
    assert np.abs(got - expected).max() <= 1.0
    assert np.mean(got != expected) < 0.002  # the normal form, used where both parameters are large


@pytest.mark.parametrize("dispersion", [1e-9, 1e-3, 0.3, 5.0])
def test_negative_binomial_with_a_mean_of_a_million_ends_soon(dispersion):
    start = time.perf_counter()
    got = q.negative_binomial_quantile(1e6, dispersion, [0.1, 0.5, 0.9])
    assert time.perf_counter() - start < 2.0
    r = 1.0 / dispersion
    np.testing.assert_allclose(got, stats.nbinom.ppf([0.1, 0.5, 0.9], r, r / (r + 1e6)), atol=1.5)


def test_negative_binomial_without_dispersion_is_poisson():
    mean = np.array([0.2, 3.0, 40.0])
    np.testing.assert_array_equal(q.negative_binomial_quantile(mean, 1e-9, P), stats.poisson.ppf(P, mean[:, None]))


def test_negative_binomial_of_nothing_is_zero_and_of_nan_is_nan():
    got = q.negative_binomial_quantile([0.0, np.nan], 0.5, [0.1, 0.9])
    np.testing.assert_array_equal(got, [[0.0, 0.0], [np.nan, np.nan]])


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-3, 1e6), st.floats(1e-6, 10.0))
def test_negative_binomial_never_decreases_in_p(mean, dispersion):
    assert np.all(np.diff(q.negative_binomial_quantile(mean, dispersion, P)) >= 0)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: q.gaussian_quantile(0.0, 0.0, P), "scale"),
        (lambda: q.student_t_quantile(1.0, 0.0, 1.0, P), "df"),
        (lambda: q.negative_binomial_quantile(-1.0, 1.0, P), "mean"),
        (lambda: q.negative_binomial_quantile(1.0, 0.0, P), "dispersion"),
        (lambda: q.gaussian_quantile(0.0, 1.0, [0.0, 0.5]), "p:"),
        (lambda: q.lower_bound([1.0], np.nan), "lower"),
    ],
)
def test_wrong_parameters_are_named(call, word):
    with pytest.raises(ConfigError, match=word):
        call()


def test_monotone_sorts_the_last_axis():
    np.testing.assert_array_equal(q.monotone([[3.0, 1.0, 2.0], [1.0, 2.0, 3.0]]), [[1, 2, 3], [1, 2, 3]])


def test_trained_levels_come_back_unchanged():
    grid = np.sort(np.random.default_rng(0).normal(size=(4, 3, 9)), axis=-1)
    np.testing.assert_array_equal(q.at_levels(grid, DECILES, DECILES[::-1]), grid[..., ::-1])


def test_between_levels_it_is_linear():
    np.testing.assert_allclose(q.at_levels([0.0, 10.0, 40.0], [0.1, 0.5, 0.9], [0.2, 0.6]), [2.5, 17.5])


def test_tails_are_those_of_an_exponential_distribution():
    wanted = [0.95, 0.99, 0.999]
    got = q.at_levels(stats.expon.ppf(DECILES), DECILES, wanted)
    np.testing.assert_allclose(got, stats.expon.ppf(wanted), rtol=1e-12)
    left = q.at_levels(-stats.expon.ppf(1 - DECILES), DECILES, [0.05, 0.001])
    np.testing.assert_allclose(left, -stats.expon.ppf([0.95, 0.999]), rtol=1e-12)


def test_tails_of_a_gaussian_are_a_little_wide_and_symmetric():
    got = q.at_levels(stats.norm.ppf(DECILES), DECILES, [0.025, 0.975])
    assert got[1] == pytest.approx(-got[0], rel=1e-12)
    assert 1.96 < got[1] < 2.4


def test_two_levels_take_the_median_between_them_for_the_tail():
    got = q.at_levels([-1.0, 1.0], [0.1, 0.9], [0.975])
    assert got[0] == pytest.approx(1.0 + np.log(4.0) / np.log(5.0))


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(np.float64, (3, 5), elements=st.floats(-1e30, 1e30)),
    st.lists(st.floats(1e-6, 1 - 1e-6), min_size=1, max_size=12),
)
def test_wanted_quantiles_never_cross(grid, wanted):
    wanted = sorted(wanted)
    got = q.at_levels(grid, [0.05, 0.3, 0.5, 0.8, 0.9], wanted)
    assert np.isfinite(got).all()
    assert np.all(np.diff(got, axis=-1) >= 0)


def test_one_trained_level_has_no_tail():
    np.testing.assert_array_equal(q.at_levels([[7.0]], [0.5], [0.5]), [[7.0]])
    with pytest.raises(ConfigError, match="at least two"):
        q.at_levels([[7.0]], [0.5], [0.9])


def test_wrong_grids_are_refused():
    with pytest.raises(ShapeError, match="one quantile for each"):
        q.at_levels(np.zeros((2, 3)), DECILES, [0.5])
    with pytest.raises(ConfigError, match="rising"):
        q.at_levels(np.zeros(2), [0.9, 0.1], [0.5])


def test_levels_become_probabilities():
    assert [q.level_ends(level) for level in (80, 95)] == [(0.1, 0.9), (0.025, 0.975)]
    assert q.checked_levels((95, 80)) == (80, 95)
    assert q.checked_levels(()) == ()


@pytest.mark.parametrize("levels", [(0,), (100,), (-5,), (float("nan"),), (True,), ("80",), (80, 80)])
def test_wrong_levels_are_refused(levels):
    with pytest.raises(ConfigError, match="levels"):
        q.checked_levels(levels)


def test_lower_bound_keeps_nan():
    np.testing.assert_array_equal(q.lower_bound([-1.0, 2.0, np.nan], 0), [0.0, 2.0, np.nan])


@pytest.mark.parametrize("mean", [2e8, 1.5e12, 2.0**53, 2.3e30, 1e300])
@pytest.mark.parametrize("dispersion", [0.01, 0.7231191715717337, 3.0])
def test_means_beyond_counting_take_no_minutes(mean, dispersion):
    """Of so many the negative binomial is the gamma distribution."""
    p = [0.025, 0.1, 0.5, 0.9, 0.995]
    got = q.negative_binomial_quantile(mean, dispersion, p) / mean
    np.testing.assert_allclose(got, stats.gamma.ppf(p, 1 / dispersion, scale=dispersion), atol=2e-5)


def test_quantiles_between_are_the_formula_and_trained_ones_are_themselves():
    rng = np.random.default_rng(0)
    trained = (0.025, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.975)
    grid = np.sort(rng.normal(size=(3, 4, 9)))
    for wanted in ((0.025, 0.1, 0.5, 0.9, 0.975), (0.9, 0.5), (0.01, 0.2, 0.5, 0.99), (0.6, 0.99, 0.2, 0.5)):
        order = np.argsort(wanted)
        left, weight = q.neighbours(np.array(trained), np.array(wanted)[order])
        plain = (1.0 - weight) * grid[..., left] + weight * grid[..., np.minimum(left + 1, 8)]
        expected = np.maximum.accumulate(plain, axis=-1)[..., np.argsort(order)]
        np.testing.assert_array_equal(q.at_levels(rng.permuted(grid, axis=-1), trained, wanted), expected)
        np.testing.assert_array_equal(q.at_levels(grid[0, 0], list(trained), np.array(wanted)), expected[0, 0])
