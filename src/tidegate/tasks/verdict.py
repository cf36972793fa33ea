"""What the figures mean, in plain sentences. In: a scoreboard and figures by series. Out: sentences, losses included."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tidegate.decode.quantiles import Floats
from tidegate.tasks.scoreboard import Scoreboard, listed, show

NETWORK = "tidegate"  # the method of this name is called `the network`
_EVEN = 0.01  # beaten by less than 1 % is not beaten
_NOISE = 0.95  # an interval is called wrong where a right one would hold such a share once in twenty, or less often
_LEAST_GAP = 0.03  # and where it is this far from its level
_COUNTED = 5_000  # with more windows than this, the least gap decides alone
_REMEDY = "use the naive forecast, or give the network more to learn from (history, series, look-back, training time)"


def verdict(
    board: Scoreboard, main: str | None, naive: Sequence[str], by_series: Mapping[str, Floats], windows: int
) -> tuple[str, ...]:
    """Who wins on what, where the network loses, on how many series, and whether its intervals hold what they say.

    Args:  main: the method to be judged. naive: the naive methods among the others. by_series: method -> (S,), the headline
        measure by series. windows: how many windows that share no step the truths would fill, the sample behind a coverage.
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
        sentences += _coverages(board, main, windows)
    return tuple(sentences)


def headline(board: Scoreboard, main: str | None) -> str:
    """The measure to judge by: MASE where it is defined, else MAE."""
    rows = [board.figures[main]] if main is not None else list(board.figures.values())
    return "MASE" if any(math.isfinite(row["MASE"]) for row in rows) else "MAE"


def _winners(board: Scoreboard, main: str | None, errors: Sequence[str]) -> list[str]:
    """Who is best on what; the figures stand in the table."""
    won: dict[str, list[str]] = {method: [] for method in ([main] if main else [])}
    for measure in errors:
        for method in board.best(measure):
            won.setdefault(method, []).append(measure)
    return [f"{_upper(_name(method))} is best on {_which(mine, errors)}." for method, mine in won.items() if mine]


def _which(mine: Sequence[str], every: Sequence[str]) -> str:
    """`all 8 measures`, `all measures but MSE`, or, of a few, their names."""
    rest = [measure for measure in every if measure not in mine]
    if len(mine) < 3 or len(rest) >= len(mine):
        return listed(mine)
    return f"all measures but {listed(rest)}" if rest else f"all {len(mine)} measures"


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
    pairs = {m: (board.figures[main][m], board.figures[other][m]) for m in errors}
    pairs = {m: pair for m, pair in pairs.items() if all(map(math.isfinite, pair))}
    lost = [m for m, (mine, theirs) in pairs.items() if mine > theirs * (1.0 + _EVEN)]
    even = [m for m, (mine, theirs) in pairs.items() if m not in lost and mine >= theirs * (1.0 - _EVEN)]
    sentences = []
    if lost:
        remedy = f": {_REMEDY}" if is_naive else ""
        sentences.append(f"{_upper(_name(main))} loses to {other} on {_compared(pairs, lost)}{remedy}.")
    if even:
        sentences.append(f"{_upper(_name(main))} is no better than {other} on {_compared(pairs, even)}.")
    return sentences


def _compared(pairs: Mapping[str, tuple[float, float]], chosen: Sequence[str]) -> str:
    """Each measure with both figures; where it is every one of many, the first of MASE and the rest alone as an example."""
    words = {m: f"{m} ({show(mine)} against {show(theirs)})" for m, (mine, theirs) in pairs.items() if m in chosen}
    if len(chosen) == len(pairs) > 2:
        return f"all {len(pairs)} measures, as on {words.get('MASE', words[chosen[0]])}"
    return listed(list(words.values()))


def _shares(main: str, naive: Sequence[str], by_series: Mapping[str, Floats], measure: str) -> list[str]:
    """On how many series a naive method beats the network."""
    mine = by_series[main]
    total = int(np.isfinite(mine).sum())
    if total < 2 or not naive:  # of one series, the sentences above say all
        return []
    wins = {method: by_series[method] < mine for method in naive}
    any_wins = int(np.any(list(wins.values()), axis=0).sum())
    each = listed([f"{method} on {_percent(int(won.sum()), total)}" for method, won in wins.items()])
    who = "A naive method" if len(naive) > 1 else _upper(naive[0])
    detail = f": {each}" if len(naive) > 1 else ""
    count = f"{_percent(any_wins, total)} of the series ({any_wins:,} of {total:,}, by {measure}){detail}"
    return [f"{who} beats {_name(main)} on {count}."]


def _coverages(board: Scoreboard, main: str, windows: int) -> list[str]:
    sentences = []
    for measure in board.measures:
        share = board.figures[main][measure]
        if not measure.startswith("coverage-") or not math.isfinite(share):
            continue
        level = float(measure.split("-")[1])
        word = _judged(share, level / 100.0, windows)
        sentences.append(f"The {level:g} % interval of {_name(main)} held {100 * share:.1f} % of the truths: {word}.")
    return sentences


def _judged(share: float, level: float, windows: int) -> str:
    """Whether a share of truths held speaks against a level; truths inside a window go together, so each window counts once."""
    low, high = _binomial_band(min(max(windows, 1), _COUNTED), level)
    gap = share - level
    if abs(gap) >= _LEAST_GAP and not low <= share <= high:
        return "it is too narrow" if gap < 0 else "it is too wide"
    return f"within what {windows:,} window{'' if windows == 1 else 's'} can tell"


def _binomial_band(count: int, level: float) -> tuple[float, float]:
    """The central 95 % of the shares that `count` independent draws hold of an interval that is right."""
    total, low = 0.0, None
    for k in range(count + 1):
        ways = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        total += math.exp(ways + k * math.log(level) + (count - k) * math.log1p(-level))
        if low is None and total >= (1.0 - _NOISE) / 2.0:
            low = k
        if low is not None and total >= (1.0 + _NOISE) / 2.0:
            return low / count, k / count
    return (low or 0) / count, 1.0


def _name(method: str) -> str:
    return "the network" if method == NETWORK else method


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _percent(part: float, whole: float) -> str:
    return f"{100.0 * part / whole:.0f} %"
