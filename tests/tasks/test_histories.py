from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.tasks import histories as h


def with_gaps(seed, n, share=0.2):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n)
    y[rng.random(n) < share] = np.nan
    return y


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 7), st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_cuts_of_one_array_give_the_figures_of_copies(seed, lag, lengths):
    y = with_gaps(seed, 40)
    cuts = h.lag_stats([y[:n] for n in lengths], lag)
    copies = h.lag_stats([y[:n].copy() for n in lengths], lag)
    for one, other in zip(cuts, copies, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    for n, mean_abs in zip(lengths, cuts.mean_abs, strict=True):
        gaps = np.abs(y[:n][lag:] - y[:n][:-lag])
        expected = np.nanmean(gaps) if np.isfinite(gaps).any() else np.nan
        np.testing.assert_allclose(mean_abs, expected, rtol=1e-12)


def test_cuts_are_found_by_their_place_in_memory():
    y, z = np.arange(10.0), np.arange(10.0)
    groups = list(h.prefixes([y[:4], z[:5], y[:7], y[1:7], z[::2]]))
    assert sorted(sorted(g.rows.tolist()) for g in groups) == [[0, 2], [1], [3], [4]]


def test_float32_histories_are_grouped_without_a_copy_each():
    y = np.arange(10, dtype=np.float32)
    (group,) = h.prefixes([y[:4], y[:7]])
    assert group.longest.dtype == np.float64
    np.testing.assert_array_equal(h.lag_stats([y[:4], y[:7]], 2).mean_abs, [2.0, 2.0])


def test_known_places():
    y = np.array([np.nan, 1.0, np.nan, 2.0, np.nan])
    assert (h.first_known(y), h.last_known(y)) == (1, 3)
    assert (h.first_known(y[:1]), h.last_known(y[:1])) == (-1, -1)
    assert (h.first_known(y[:0]), h.last_known(y[:0])) == (-1, -1)


@pytest.mark.parametrize(
    ("history", "cycle"),
    [
        ([1, 2, 3, 4, 5, 6, 7], [5, 6, 7]),
        ([1, 2, 3, 4, np.nan, 6, np.nan], [2, 6, 4]),
        ([1, 2], [np.nan, 1, 2]),
        ([np.nan, 2, 3, 4, 5], [3, 4, 5]),
        ([], [np.nan, np.nan, np.nan]),
    ],
)
def test_last_cycle_looks_back_phase_by_phase(history, cycle):
    np.testing.assert_array_equal(h.last_cycle(np.array(history, dtype=float), 3), cycle)
