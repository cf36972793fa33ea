from __future__ import annotations

import math

import numpy as np
import pytest

from tidegate.tasks.scoreboard import Scoreboard, listed, means, ratios, show

BOARD = Scoreboard(
    {
        "net<1>": {"MASE": 0.5, "wQL": math.nan, "MSIS-95": 3.0, "coverage-80": 0.70},
        "naive": {"MASE": 0.5, "wQL": math.nan, "MSIS-95": 12_345.6, "coverage-80": 0.82},
        "drift": {"MASE": math.nan, "wQL": math.nan, "MSIS-95": 4.0, "coverage-80": 0.99},
    }
)


def test_best_is_smallest_and_nobody_for_coverage():
    assert BOARD.best("MASE") == ("net<1>", "naive")
    assert BOARD.best("coverage-80") == ()
    assert BOARD.best("wQL") == ()


def test_measures_that_nobody_has_are_left_out():
    assert BOARD.measures == ("MASE", "MSIS-95", "coverage-80")
    assert BOARD.table().names == ("method", "MASE", "MSIS-95", "coverage-80")
    np.testing.assert_array_equal(BOARD.table()["MASE"], [0.5, 0.5, np.nan])


def test_text_is_aligned_and_stars_the_best():
    lines = BOARD.text().splitlines()
    assert len(lines) == 4
    assert lines[1].count("*") == 2  # MASE and MSIS-95
    assert "12,346" in lines[2]
    assert "–" in lines[3]


def test_html_escapes_names_and_marks_the_best():
    page = BOARD.html()
    assert "net&lt;1&gt;" in page
    assert "net<1>" not in page
    assert page.count("<b>") == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.78123, "0.7812"),
        (13.912, "13.91"),
        (12345.6, "12,346"),
        (0.0, "0"),
        (math.nan, "–"),
        (2e12, "2.000e+12"),
        (1e-9, "1.000e-09"),
    ],
)
def test_figures_are_shown_with_four_digits(value, text):
    assert show(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.78, "0.7800"), (12.0, "12.00"), (1234.0, "1234"), (0.0, "0.000"), (12345.6, "12,346"), (math.nan, "–")]
)
def test_the_columns_of_a_table_keep_their_zeros(value, text):
    assert show(value, zeros=True) == text


def test_words_are_listed():
    assert [listed(w) for w in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_group_means_leave_out_what_is_not_defined():
    group = np.array([0, 0, 1, 2])
    np.testing.assert_array_equal(means(np.array([1.0, np.nan, np.nan, 5.0]), group, 4), [1, np.nan, 5, np.nan])
    part, whole = np.array([1.0, 2.0, 3.0, np.nan]), np.array([2.0, 2.0, 0.0, 1.0])
    np.testing.assert_array_equal(ratios(part, whole, group, 3), [0.75, np.nan, np.nan])
