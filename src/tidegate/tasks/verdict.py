"""What the figures mean, in plain sentences. In: a scoreboard and figures by series. Out: sentences, losses included."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tidegate.decode.quantiles import Floats
from tidegate.tasks.scoreboard import Scoreboard, listed, show

NETWORK = "tidegate"  # the method of this name is called `the network`
_EVEN = 0.01  # beaten by less than 1 % is not beaten
_MISS_BAND = (0.5, 1.5)  # an interval that misses less or more than this share of what it may is called too wide or too narrow
_REMEDY = "use the naive forecast, or give the network more to learn from (history, series, look-back, training time)"


def verdict(board: Scoreboard, main: str | None, naive: Sequence[str], by_series: Mapping[str, Floats]) -> tuple[str, ...]:
    """Who wins on what, where the network loses, on how many series, and whether its intervals hold what they say.

    Args:  main: the method to be judged. naive: the naive methods among the others. by_series: method -> (S,), the headline
        measure by series.
    """
    errors = [m for m in board.measures if not m.startswith("coverage-")]
    if not errors:
        return ("Nothing could be measured: no truth is known in any window.",)
    sentences = _winners(board, main, errors)
    if main is not None:
        others = [m for m in board.methods if m != main]
        sentences += _lead(board, main, naive, headline(board, main))
        for other in others:
            sentences += _against(board, main, other, errors, other in naive)
        sentences += _shares(main, naive, by_series, headline(board, main))
        sentences += _coverages(board, main)
    return tuple(sentences)


def headline(board: Scoreboard, main: str | None) -> str:
    """The measure to judge by: MASE where it is defined, else MAE."""
    rows = [board.figures[main]] if main is not None else list(board.figures.values())
    return "MASE" if any(math.isfinite(row["MASE"]) for row in rows) else "MAE"


def _winners(board: Scoreboard, main: str | None, errors: Sequence[str]) -> list[str]:
    won: dict[str, list[str]] = {method: [] for method in ([main] if main else [])}
    for measure in errors:
        for method in board.best(measure):
            won.setdefault(method, []).append(f"{measure} ({show(board.figures[method][measure])})")
    return [f"{_upper(_name(method))} is best on {listed(measures)}." for method, measures in won.items() if measures]


def _lead(board: Scoreboard, main: str, naive: Sequence[str], measure: str) -> list[str]:
    """By how much the network beats the best naive method."""
    mine = board.figures[main][measure]
    theirs = {method: board.figures[method][measure] for method in naive if math.isfinite(board.figures[method][measure])}
    best = min(theirs, key=lambda method: theirs[method], default=None)
    if best is None or not mine < theirs[best] * (1.0 - _EVEN):
        return []
    share = _percent(theirs[best] - mine, theirs[best])
    pair = f"({show(mine)} against {show(theirs[best])})"
    return [f"{_upper(_name(main))} beats the best naive method, {best}, by {share} on {measure} {pair}."]


def _against(board: Scoreboard, main: str, other: str, errors: Sequence[str], is_naive: bool) -> list[str]:
    """One sentence for where the network loses to another method, one for where they are even."""
    lost, even = [], []
    for measure in errors:
        mine, theirs = board.figures[main][measure], board.figures[other][measure]
        if not (math.isfinite(mine) and math.isfinite(theirs)):
            continue
        pair = f"{measure} ({show(mine)} against {show(theirs)})"
        if mine > theirs * (1.0 + _EVEN):
            lost.append(pair)
        elif mine >= theirs * (1.0 - _EVEN):
            even.append(pair)
    sentences = []
    if lost:
        sentences.append(f"{_upper(_name(main))} loses to {other} on {listed(lost)}{f': {_REMEDY}' if is_naive else ''}.")
    if even:
        sentences.append(f"{_upper(_name(main))} is no better than {other} on {listed(even)}.")
    return sentences


def _shares(main: str, naive: Sequence[str], by_series: Mapping[str, Floats], measure: str) -> list[str]:
    """On how many series a naive method beats the network."""
    mine = by_series[main]
    total = int(np.isfinite(mine).sum())
    if total == 0 or not naive:
        return []
    wins = {method: by_series[method] < mine for method in naive}
    any_wins = int(np.any(list(wins.values()), axis=0).sum())
    each = listed([f"{method} on {_percent(int(won.sum()), total)}" for method, won in wins.items()])
    who = "A naive method" if len(naive) > 1 else _upper(naive[0])
    detail = f": {each}" if len(naive) > 1 else ""
    count = f"{_percent(any_wins, total)} of the series ({any_wins:,} of {total:,}, by {measure}){detail}"
    return [f"{who} beats {_name(main)} on {count}."]


def _coverages(board: Scoreboard, main: str) -> list[str]:
    sentences = []
    for measure in board.measures:
        share = board.figures[main][measure]
        if not measure.startswith("coverage-") or not math.isfinite(share):
            continue
        level = float(measure.split("-")[1])
        missed = (1.0 - share) / (1.0 - level / 100.0)
        word = ": it is too wide" if missed < _MISS_BAND[0] else ": it is too narrow" if missed > _MISS_BAND[1] else ""
        sentences.append(f"The {level:g} % interval of {_name(main)} held {100 * share:.1f} % of the truths{word}.")
    return sentences


def _name(method: str) -> str:
    return "the network" if method == NETWORK else method


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _percent(part: float, whole: float) -> str:
    return f"{100.0 * part / whole:.0f} %"
