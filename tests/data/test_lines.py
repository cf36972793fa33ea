from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tidegate.data.lines import FLOOR, Cut, FewRunningScales, Lines, RunningScale, channels, running_scales, window_scale
from tidegate.data.panel import build_panel
from tidegate.data.table import read_table


def lines_of(ys):
    table = read_table(ys)
    targets = [n for n in table.names if n not in ("id", "time")]
    return Lines(build_panel(table, target=targets, time="time", id="id"))


@settings(max_examples=100, deadline=None)
@given(arrays.arrays(np.float64, (3, 9), elements=st.integers(-(10**6), 10**6).map(lambda v: v / 100) | st.just(np.nan)))
def test_window_scale_is_mean_and_deviation_of_what_is_observed(y):
    loc, unit = window_scale(y)
    for row, a, b in zip(y, loc, unit, strict=True):
        seen = row[~np.isnan(row)]
        if not len(seen):
            assert (a, b) == (0.0, 1.0 * max(FLOOR, 0.0)) or b > 0
            continue
        peak = np.abs(seen).max() or 1.0
        assert a == pytest.approx(seen.mean(), rel=1e-9, abs=1e-9 * peak)
        assert b == pytest.approx(max(seen.std(), FLOOR * peak), rel=1e-6, abs=1e-9 * peak)


@pytest.mark.parametrize("size", [1e308, 1e38, 1e-38, 1e-300])
def test_window_scale_neither_overflows_nor_vanishes(size):
    loc, unit = window_scale(np.array([[-1.0, 0.0, 1.0]]) * size)
    assert loc[0] == pytest.approx(0.0, abs=size * 1e-9)
    assert unit[0] == pytest.approx(size * np.sqrt(2 / 3))


def test_running_scale_is_the_plain_mean_at_first_and_forgets_later():
    running = RunningScale(1, memory=4)
    y = np.array([3.0, 5.0, np.nan, 7.0, 9.0, 100.0])
    means = []
    for value in y:
        running.update(np.array([value]))
        means.append(running.mean[0])
    assert means[:5] == pytest.approx([3.0, 4.0, 4.0, 5.0, 6.0])
    assert means[5] == pytest.approx(6.0 + (100.0 - 6.0) / 4)  # the fifth value: 1/n is now below 1/memory


def test_running_scales_equal_one_sample_at_a_time():
    rng = np.random.default_rng(0)
    ys = [rng.normal(size=n) for n in (12, 30, 1, 17, 3, 16, 29)]
    ys[1][4:9] = np.nan
    lines = lines_of(ys)
    scales = running_scales(lines, 8)
    for line, y in enumerate(ys):
        running = RunningScale(1, 8)
        for t in range(len(y) + 1):
            if t:
                running.update(y[t - 1 : t])
            got, expected = scales.at(np.array([line]), np.array([t])), running.scale()
            np.testing.assert_array_equal(got, expected)
    both = scales.at(np.array([[0], [1]]), np.array([[3, 99], [4, 30]]))
    assert both.loc.shape == (2, 2)
    assert both.loc[0, 1] == scales.at(np.array([0]), np.array([12])).loc[0]  # past its end a line keeps its last scale


def test_running_scales_take_the_memory_of_the_rows():
    """One long line among many short ones: lines x longest would be 400 MB."""
    lines = lines_of([np.arange(50_000.0), *[np.arange(3.0)] * 1000])
    tracemalloc.start()
    running_scales(lines, 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


def test_values_outside_the_history_are_missing():
    lines = lines_of([np.arange(5.0), np.arange(10.0, 13.0)])
    got = lines.values(Cut(np.array([0, 1]), np.array([2, 3])), -4, 6)
    nan = np.nan
    np.testing.assert_array_equal(got, [[nan, nan, 0, 1, 2, 3], [nan, 10, 11, 12, nan, nan]])


def test_several_targets_are_several_lines():
    lines = lines_of([np.arange(8.0).reshape(4, 2)])
    assert lines.count == 2
    np.testing.assert_array_equal(lines.history(1), [1, 3, 5, 7])
    np.testing.assert_array_equal(lines.values(Cut(np.array([0]), np.array([4])), -2, 2), [[4, 6]])


def test_channels_mask_numbers_and_spread_categories():
    numbers = np.array([[1.5, np.nan]], np.float32)
    codes = np.array([[2, -1]], np.int16)
    np.testing.assert_array_equal(channels(numbers, codes, (3, 2)), [[1.5, 0, 1, 0, 0, 0, 1, 0, 0]])


def test_few_running_scales_are_those_of_many():
    rng = np.random.default_rng(0)
    for memory in (1, 4, 168):
        many, few = RunningScale(3, memory), FewRunningScales(3, memory)
        for t in range(300):
            y = rng.normal(size=3) * 10.0 ** rng.integers(-3, 4) * (rng.random(3) > 0.2)
            y[rng.random(3) < 0.3] = np.nan
            y[2] = np.nan if t < 50 else y[2]
            many.update(y)
            few.update(y)
            for here, there in zip(few.scale(), many.scale(), strict=True):
                np.testing.assert_array_equal(here.view(np.int64), there.view(np.int64))
        kept = few.parts()
        few.update(np.ones(3))
        few.restore(kept)
        np.testing.assert_array_equal(few.parts(), [many.count, many.mean, many.deviation])
