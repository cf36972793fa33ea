from __future__ import annotations

import math

import numpy as np

from tidegate.tasks.scoreboard import Scoreboard
from tidegate.tasks.verdict import headline, verdict


def said(net, naive, by_series=None, coverage=math.nan):
    """The verdict over the network and seasonal naive, given their MASE and MSE."""
    figures = {
        "tidegate": {"MSE": net[1], "MAE": 1.0, "MASE": net[0], "coverage-80": coverage},
        "seasonal naive": {"MSE": naive[1], "MAE": 1.0, "MASE": naive[0], "coverage-80": math.nan},
    }
    series = by_series or {"tidegate": np.array([1.0, 1.0, 1.0]), "seasonal naive": np.array([2.0, 0.5, np.nan])}
    return verdict(Scoreboard(figures), "tidegate", ["seasonal naive"], series)


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
    assert text[0] == "The network is best on MSE (1), MAE (1) and MASE (0.6)."


def test_share_of_series_on_which_naive_wins():
    assert "Seasonal naive beats the network on 33 % of the series (1 of 3, by MASE)." in said((0.6, 1.0), (1.2, 2.0))


def test_intervals_that_do_not_hold_what_they_say():
    found = {c: next(s for s in said((1, 1), (2, 2), coverage=c) if "interval" in s) for c in (0.55, 0.8, 0.95)}
    assert found[0.55] == "The 80 % interval of the network held 55.0 % of the truths: it is too narrow."
    assert found[0.8] == "The 80 % interval of the network held 80.0 % of the truths."
    assert found[0.95].endswith("it is too wide.")


def test_without_mase_the_headline_is_the_absolute_error():
    board = Scoreboard({"a": {"MSE": 1.0, "MAE": 1.0, "MASE": math.nan}})
    assert headline(board, "a") == "MAE"


def test_nothing_measured_is_said():
    board = Scoreboard({"naive": {"MSE": math.nan, "MAE": math.nan, "MASE": math.nan}})
    assert verdict(board, None, ["naive"], {}) == ("Nothing could be measured: no truth is known in any window.",)


def test_other_methods_are_compared_without_the_remedy():
    figures = {"tidegate": {"MAE": 2.0, "MASE": 2.0}, "arima": {"MAE": 1.0, "MASE": 1.0}, "naive": {"MAE": 3.0, "MASE": 3.0}}
    series = {name: np.array([row["MASE"]]) for name, row in figures.items()}
    text = verdict(Scoreboard(figures), "tidegate", ["naive"], series)
    assert "The network loses to arima on MAE (2 against 1) and MASE (2 against 1)." in text
