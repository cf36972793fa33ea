from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.decode import conformal
from tidegate.errors import ConfigError, DataError, ShapeError


def windows(rng, count, horizon=6, width=1.0):
    """Truths of a window's own spread around a median of 0, with intervals of half-width `width` spreads."""
    spread = np.exp(rng.normal(0, 1, count))[:, None]
    truth = rng.normal(size=(count, horizon)) * spread
    half = width * np.ones((count, horizon)) * spread
    return truth, -half, half, np.zeros((count, horizon))


@pytest.mark.parametrize("level", [50, 80, 95])
@pytest.mark.parametrize("width", [0.2, 1.0, 4.0])
def test_new_windows_are_covered_as_promised(level, width):
    """The theorem: coverage of new exchangeable windows is at least the level, and near it."""
    rng = np.random.default_rng(level)
    shares = []
    for _ in range(20):
        factor = conformal.calibrate(*windows(rng, 120, width=width), level)
        truth, lo, hi, median = windows(rng, 400, width=width)
        (new_lo,), (new_hi,) = conformal.apply(np.stack([lo[None], hi[None]]), median, factor[None])
        shares.append(np.mean((truth >= new_lo) & (truth <= new_hi)))
    assert np.mean(shares) == pytest.approx(level / 100, abs=0.015)


def test_factor_is_the_finite_sample_quantile_of_the_scores():
    truth = np.arange(1.0, 20.0)[:, None]  # scores 1 ... 19 times the upper half-width of 1
    zero, one = np.zeros((19, 1)), np.ones((19, 1))
    got = conformal.calibrate(truth, zero - 5, one, zero, 80)
    assert got.tolist() == [sorted(range(1, 20))[math.ceil(20 * 0.8) - 1]]


def test_each_side_is_measured_by_its_own_width():
    truth = -np.arange(1.0, 20.0)[:, None]  # below the median, where the half-width is 5
    zero, one = np.zeros((19, 1)), np.ones((19, 1))
    assert conformal.calibrate(truth, zero - 5, one, zero, 80).tolist() == [16 / 5]


def test_too_wide_intervals_shrink():
    rng = np.random.default_rng(0)
    assert (conformal.calibrate(*windows(rng, 200, width=10.0), 80) < 0.2).all()


def test_pooling_over_steps_until_there_are_enough_windows():
    rng = np.random.default_rng(0)
    few = conformal.calibrate(*windows(rng, 40, horizon=4), 80)
    assert np.unique(few).size == 1
    many = conformal.calibrate(*windows(rng, 400, horizon=4), 80)
    assert np.unique(many).size == 4
    assert np.unique(conformal.calibrate(*windows(rng, 60, horizon=24), 95)).size < 24


def test_groups_follow_the_spread_of_their_steps():
    rng = np.random.default_rng(3)
    truth, lo, hi, median = windows(rng, 600, horizon=2)
    truth[:, 1] *= 3.0
    near, far = conformal.calibrate(truth, lo, hi, median, 80)
    assert far > 2.0 * near


def test_unknown_truths_and_sides_without_width_are_left_out():
    rng = np.random.default_rng(0)
    truth, lo, hi, median = windows(rng, 30)
    expected = conformal.calibrate(truth, lo, hi, median, 80)
    more = [np.vstack([a, np.full((5, 6), 1e9)]) for a in (truth, lo, hi, median)]
    more[0][30:32] = np.nan  # unknown; the other three have hi == median
    np.testing.assert_array_equal(conformal.calibrate(*more, 80), expected)


def test_too_few_truths_for_the_level():
    truth, lo, hi, median = windows(np.random.default_rng(0), 3)
    with pytest.raises(DataError, match=r"95 % interval needs at least 19 known truths held back, got 18"):
        conformal.calibrate(truth, lo, hi, median, 95)
    assert np.isfinite(conformal.calibrate(*windows(np.random.default_rng(0), 19, horizon=1), 95)).all()


@pytest.mark.parametrize("level", [0, 100, -1, float("nan")])
def test_wrong_levels_are_refused(level):
    with pytest.raises(ConfigError, match="level"):
        conformal.calibrate(*windows(np.random.default_rng(0), 30), level)


def test_wrong_shapes_are_refused():
    truth, lo, hi, median = windows(np.random.default_rng(0), 30)
    with pytest.raises(ShapeError, match="lo"):
        conformal.calibrate(truth, lo[:, :3], hi, median, 80)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.floats(0, 5), min_size=3, max_size=3))
def test_intervals_stay_nested_around_the_median(seed, moves):
    rng = np.random.default_rng(seed)
    median = rng.normal(size=(4, 3))
    sides = np.array([-1.0, 1.0])[:, None, None, None]
    ends = median + sides * rng.exponential(size=(2, 3, 4, 3))
    before = ends.copy()
    new = conformal.apply(ends, median, np.repeat(moves, 3).reshape(3, 3))
    np.testing.assert_array_equal(ends, before)
    assert all(np.all(a <= b) for a, b in pairwise([*new[0, ::-1], median, *new[1]]))
    narrowest = median + np.array(moves)[0] * (ends[:, 0] - median)
    np.testing.assert_array_equal(new[:, 0], narrowest)


def test_levels_with_a_factor_of_one_keep_their_ends():
    _, lo, hi, median = windows(np.random.default_rng(0), 5)
    ends = np.stack([lo[None], hi[None]])
    np.testing.assert_array_equal(conformal.apply(ends, median, np.ones((1, 6))), ends)


def test_ends_and_factors_of_another_shape_are_refused():
    _, lo, hi, median = windows(np.random.default_rng(0), 5)
    ends = np.stack([lo[None], hi[None]])
    for own, factors in ((ends, np.ones((2, 6))), (ends[..., :5], np.ones((1, 6))), (ends, np.ones((1, 5)))):
        with pytest.raises(ShapeError, match="factors"):
            conformal.apply(own, median, factors)


def test_a_higher_level_has_a_larger_factor_of_the_same_interval():
    truth, lo, hi, median = windows(np.random.default_rng(0), 60)
    assert (conformal.calibrate(truth, lo, hi, median, 95) > conformal.calibrate(truth, lo, hi, median, 80)).all()
