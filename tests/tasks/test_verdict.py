from __future__ import annotations

import math

import numpy as np
import pytest

from tidegate.tasks.scoreboard import Scoreboard
from tidegate.tasks.verdict import _binomial_band, _which, headline, verdict


def said(net, naive, by_series=None, coverage=math.nan, windows=1_000, level=80):
    """The verdict over the network and seasonal naive, given their MASE and MSE."""
    figures = {
        "tidegate": {"MSE": net[1], "MAE": 1.0, "MASE": net[0], f"coverage-{level}": coverage},
        "seasonal naive": {"MSE": naive[1], "MAE": 1.0, "MASE": naive[0], f"coverage-{level}": math.nan},
    }
    series = by_series or {"tidegate": np.array([1.0, 1.0, 1.0]), "seasonal naive": np.array([2.0, 0.5, np.nan])}
    return verdict(Scoreboard(figures), "tidegate", ["seasonal naive"], series, windows)


def test_a_loss_is_said_with_figures_and_remedy():
    text = " ".join(said((1.31, 1.0), (1.19, 2.0)))
    assert "The network loses to seasonal naive on MASE (1.31 against 1.19): use the naive forecast, or" in text
    assert "beats the best naive" not in text


def test_less_than_one_percent_is_no_better():
    for mine in (1.192, 1.188):
        text = " ".join(said((mine, 1.0), (1.19, 2.0)))
        assert f"The network is no better than seasonal naive on MAE (1 against 1) and MASE ({mine} against 1.19)." in text
        assert "loses" not in text


def test_a_win_is_said_with_its_size():
    text = said((0.6, 1.0), (1.2, 2.0))
    assert "The network beats the best naive method, seasonal naive, by 50 % on MASE (0.6 against 1.2)." in text
    assert text[0] == "The network is best on all 3 measures."


def test_share_of_series_on_which_naive_wins():
    assert "Seasonal naive beats the network on 33 % of the series (1 of 3, by MASE)." in said((0.6, 1.0), (1.2, 2.0))


def test_intervals_that_do_not_hold_what_they_say():
    found = {c: next(s for s in said((1, 1), (2, 2), coverage=c) if "interval" in s) for c in (0.55, 0.8, 0.95)}
    assert found[0.55] == "The 80 % interval of the network held 55.0 % of the truths: it is too narrow."
    assert found[0.8] == "The 80 % interval of the network held 80.0 % of the truths: within what 1,000 windows can tell."
    assert found[0.95].endswith("it is too wide.")


@pytest.mark.parametrize(
    ("share", "level", "windows", "word"),
    [
        (0.71, 80, 5, "within what 5 windows can tell"),
        (0.90, 80, 5, "within what 5 windows can tell"),
        (69 / 70, 95, 5, "within what 5 windows can tell"),
        (69 / 70, 95, 100_000, "it is too wide"),
        (0.97, 95, 100_000, "within what 100,000 windows can tell"),  # less than three points
        (0.71, 80, 200, "it is too narrow"),
        (0.90, 80, 200, "it is too wide"),
        (0.10, 80, 1, "within what 1 window can tell"),
        (0.30, 80, 5, "it is too narrow"),
    ],
)
def test_an_interval_is_judged_by_the_number_of_windows(share, level, windows, word):
    (sentence,) = [s for s in said((1, 1), (2, 2), coverage=share, windows=windows, level=level) if "interval" in s]
    assert sentence.endswith(f"of the truths: {word}.")


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("count", [1, 5, 70, 2_000])
def test_the_band_is_that_of_the_binomial(count, level):
    stats = pytest.importorskip("scipy.stats")
    np.testing.assert_allclose(_binomial_band(count, level), np.array(stats.binom(count, level).ppf([0.025, 0.975])) / count)


def test_who_is_best_on_most_is_said_by_what_is_missing():
    every = ["MSE", "MAE", "sMAPE", "MASE"]
    assert _which(every, every) == "all 4 measures"
    assert _which(["MSE", "MAE", "MASE"], every) == "all measures but sMAPE"
    assert _which(["MSE", "MAE"], every) == "MSE and MAE"


def test_a_loss_on_everything_does_not_repeat_the_table():
    figures = {"tidegate": {"MSE": 2.0, "MAE": 2.0, "MASE": 3.0}, "naive": {"MSE": 1.0, "MAE": 1.0, "MASE": 1.0}}
    text = verdict(Scoreboard(figures), "tidegate", ["naive"], {name: np.ones(1) for name in figures}, 9)
    assert any(s.startswith("The network loses to naive on all 3 measures, as on MASE (3 against 1): use") for s in text)


def test_without_mase_the_headline_is_the_absolute_error():
    board = Scoreboard({"a": {"MSE": 1.0, "MAE": 1.0, "MASE": math.nan}})
    assert headline(board, "a") == "MAE"


def test_nothing_measured_is_said():
    board = Scoreboard({"naive": {"MSE": math.nan, "MAE": math.nan, "MASE": math.nan}})
    assert verdict(board, None, ["naive"], {}, 0) == ("Nothing could be measured: no truth is known in any window.",)


def test_other_methods_are_compared_without_the_remedy():
    figures = {"tidegate": {"MAE": 2.0, "MASE": 2.0}, "arima": {"MAE": 1.0, "MASE": 1.0}, "naive": {"MAE": 3.0, "MASE": 3.0}}
    series = {name: np.array([row["MASE"]]) for name, row in figures.items()}
    text = verdict(Scoreboard(figures), "tidegate", ["naive"], series, 1)
    assert "The network loses to arima on MAE (2 against 1) and MASE (2 against 1)." in text
    assert not any("of the series" in sentence for sentence in text)  # there is one
