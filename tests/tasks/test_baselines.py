"""Oracles: the published figures of M4, and the R code of its Naive2 written out as plain loops."""

from __future__ import annotations

import csv
import functools
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.errors import ConfigError
from tidegate.tasks import baselines as b
from tidegate.tasks import measures

M4 = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "m4_hourly"
needs_m4 = pytest.mark.skipif(not M4.is_dir(), reason="shared data set m4_hourly is not there")


@functools.cache
def m4_rows(name):
    with (M4 / name).open(newline="") as stream:
        return [np.array([float(v) for v in row[1:] if v]) for row in list(csv.reader(stream))[1:]]


@needs_m4
@pytest.mark.data
@pytest.mark.parametrize(
    ("method", "smape", "mase"),
    [
        (lambda h: b.naive2(h, 48, 24), 18.383, 2.395),
        (lambda h: b.seasonal_naive(h, 48, 24).point, 13.912, 1.193),
        (lambda h: b.naive(h, 48).point, 43.003, 11.608),
    ],
)
def test_published_figures_of_m4_hourly(method, smape, mase):
    histories, truth = m4_rows("Hourly-train.csv"), np.array(m4_rows("Hourly-test.csv"))
    point = method(histories)
    assert round(float(measures.smape(truth, point).mean()), 3) == smape
    assert round(float(measures.mase(truth, point, measures.mase_scale(histories, 24)).mean()), 3) == mase


def naive2_loop(y, horizon, season):
    """R: SeasonalityTest, decompose(type = "multiplicative") and naive, as loops over one complete history."""
    n = len(y)
    factors = np.ones(season)
    if n >= 3 * season and (y > 0).all():
        u = y - y.mean()
        r = np.array([np.sum(u[k:] * u[: n - k]) / np.sum(u * u) for k in range(1, season + 1)])
        if abs(r[-1]) > 1.645 / np.sqrt(n) * np.sqrt(1 + 2 * np.sum(r[:-1] ** 2)):
            half, by_phase = season // 2, [[] for _ in range(season)]
            for t in range(half, n - half):
                window = y[t - half : t + half + 1].copy()
                if season % 2 == 0:
                    window[[0, -1]] *= 0.5
                by_phase[t % season].append(y[t] / (window.sum() / season))
            factors = np.array([np.mean(v) for v in by_phase])
            factors /= factors.mean()
    last = y[-1] / factors[(n - 1) % season]
    return np.array([last * factors[(n + k) % season] for k in range(horizon)])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9), st.lists(st.integers(5, 60), min_size=1, max_size=5), st.floats(0, 3))
def test_naive2_equals_its_definition_for_every_cut(seed, season, lengths, strength):
    rng = np.random.default_rng(seed)
    y = 10 + strength * np.sin(2 * np.pi * np.arange(60) / season) + rng.normal(0, 0.5, 60)
    expected = [naive2_loop(y[:n], 11, season) for n in lengths]
    np.testing.assert_allclose(b.naive2([y[:n] for n in lengths], 11, season), expected, rtol=1e-9)


def test_naive2_takes_the_season_of_a_history_with_gaps():
    t = np.arange(120)
    y = 50.0 + 20.0 * np.sin(2 * np.pi * t / 12)
    gaps = y.copy()
    gaps[[3, 50, 51, 119]] = np.nan
    truth = 50.0 + 20.0 * np.sin(2 * np.pi * np.arange(120, 144) / 12)
    np.testing.assert_allclose(b.naive2([gaps], 24, 12)[0], truth, rtol=0.02)


@pytest.mark.parametrize("history", [np.full(40, 3.0), np.arange(-20.0, 20.0), np.full(40, np.nan), np.zeros(0)])
def test_naive2_without_a_season_to_find_is_naive(history, recwarn):
    np.testing.assert_array_equal(b.naive2([history], 5, 4), b.naive([history], 5).point)
    assert not recwarn.list


def test_the_points_by_hand():
    y = np.array([np.nan, 1.0, 5.0, 3.0, 7.0, np.nan])
    np.testing.assert_array_equal(b.naive([y], 3).point, [[7, 7, 7]])
    np.testing.assert_array_equal(b.seasonal_naive([y], 5, 2).point, [[7, 3, 7, 3, 7]])
    np.testing.assert_allclose(b.drift([y], 2).point, [[7 + 2 * 2, 7 + 2 * 3]])  # the line goes on through the unseen last row


def test_what_cannot_be_known_is_nan(recwarn):
    for history in (np.zeros(0), np.full(4, np.nan)):
        for method in (b.naive([history], 2), b.seasonal_naive([history], 2, 3), b.drift([history], 2)):
            assert np.isnan(method.point).all()
            assert np.isnan(method.spread).all()
    np.testing.assert_array_equal(b.seasonal_naive([np.array([1.0, 2.0])], 4, 3).point, [[np.nan, 1, 2, np.nan]])
    assert np.isnan(b.drift([np.array([1.0])], 1).point).all()
    assert not recwarn.list


def test_spread_grows_with_the_square_root():
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(0, 2.0, 20_000))
    np.testing.assert_allclose(b.naive([walk], 4).spread[0], 2.0 * np.sqrt([1, 2, 3, 4]), rtol=0.03)
    np.testing.assert_allclose(b.drift([walk], 4).spread[0], 2.0 * np.sqrt([1, 2, 3, 4]), rtol=0.03)
    seasonal = b.seasonal_naive([rng.normal(0, 1.0, 20_000)], 5, 2).spread[0]
    np.testing.assert_allclose(seasonal, np.sqrt(2) * np.sqrt([1, 1, 2, 2, 3]), rtol=0.03)


def test_intervals_of_a_random_walk_are_covered():
    rng = np.random.default_rng(1)
    walks = np.cumsum(rng.normal(size=(2_000, 120)), axis=1)
    for method in (b.naive, b.drift):
        forecast = method(list(walks[:, :100]), 20)
        share = measures.coverage(walks[:, 100:], forecast.quantile(0.1), forecast.quantile(0.9)).mean()
        assert share == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("call", [lambda: b.naive([np.ones(3)], 0), lambda: b.seasonal_naive([np.ones(3)], 2, 0)])
def test_wrong_sizes_are_refused(call):
    with pytest.raises(ConfigError, match="at least 1"):
        call()


def test_no_window_gives_no_row():
    assert b.naive([], 3).point.shape == (0, 3)
    assert b.seasonal_naive([], 3, 2).point.shape == (0, 3)
    assert b.drift([], 3).point.shape == (0, 3)


def test_three_thousand_series_of_five_windows_are_soon_done():
    y = np.random.default_rng(0).gamma(2.0, 1.0, (3_000, 300))
    histories = [row[:n] for row in y for n in (180, 204, 228, 252, 276)]
    start = time.perf_counter()
    b.naive(histories, 24), b.seasonal_naive(histories, 24, 24), b.drift(histories, 24), b.naive2(histories, 24, 24)
    assert time.perf_counter() - start < 8.0  # 1.2 s alone on one core; the machine of the tests may be busy
