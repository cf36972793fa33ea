"""The one beam search. In: a step from last codes and state to log-probabilities. Out: each sentence's best hypotheses.

Knows nothing of nets: it re-orders and drops the state's rows as hypotheses come and go. What may not follow (a mask, a grammar)
the step itself says, with a log-probability of -inf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from tidegate.decode.quantiles import Floats
from tidegate.decode.sampling import Codes, is_number, is_whole
from tidegate.errors import ConfigError, DataError, ShapeError

AnyFloats: TypeAlias = NDArray[np.floating[Any]]
State: TypeAlias = Mapping[str, NDArray[np.generic]]
Step: TypeAlias = Callable[[Codes, State, Codes], tuple[ArrayLike, State]]

_MOST_PENALTY = 10.0  # beyond any use, and its power is far from overflow
_ABOVE_ZERO = 1e-3  # what a log-softmax in float32 may err; more is no log-probability


class Hypothesis(NamedTuple):
    """One answer. codes: without start and end. score: logprob under the length penalty, what answers are ranked by.

    logprob: the sum over the codes, the end's included where there is one. finished: False where `most` steps did not reach the
    end.
    """

    codes: tuple[int, ...]
    score: float
    logprob: float
    finished: bool


def search(
    step: Step,
    state: State,
    *,
    start: int,
    end: int,
    beam: int,
    most: int | Sequence[int] | Codes,
    length_penalty: float = 0.0,
    no_repeat_ngram: int = 0,
    nbest: int = 1,
    rows: int,
) -> list[list[Hypothesis]]:
    """The best hypotheses of each row of a batch, by their scores.

    score = logprob / ((5 + len) / 6)^alpha, len = steps taken, the end's included.

    At every step a row's candidates, its live hypotheses with every code behind them, are ranked by logprob; of equal ones the
    smaller code comes first, then the hypothesis that was ahead before. Those of the first `beam` that end are finished, the
    first `beam` that do not end live on. Live ones at `most` steps are ranked among the finished ones as they are. Of equal
    scores the one finished earlier comes first.
    A row stops when no live hypothesis can beat the `nbest` finished ones that it has: logprobs only fall and the penalty only
    grows, so that whatever comes of a live hypothesis scores at most logprob / ((5 + most) / 6)^alpha. Stopping at the first
    finished ones, as often done, would miss longer ones with a better score. A row's answer does not depend on other rows.

    Args:  step: last codes (N,), state of N rows and sources (N,), the row of the batch that each hypothesis belongs to ->
           log-probabilities (N, V) <= 0, float, -inf where a code is impossible, and the new state. state: arrays by name, one
           row a hypothesis on the first axis, B rows at first; {} where there is none. Its rows are copied at every step: what
           all hypotheses of a row share, such as an encoder's memory, belongs outside, looked up by sources. start: the code
           that the first step gets, >= 0. end: the code that ends a hypothesis, in [0, V). beam: hypotheses kept a row, >= 1.
           most: steps, >= 1, one number or (B,). length_penalty: alpha, in [0, 10]; 0 ranks by logprob. no_repeat_ngram: no run
           of n codes occurs twice in a hypothesis (start and end do not count); 0: it may. nbest: answers a row, in [1, beam].
           rows: B >= 0.
    Returns: B lists of at most `nbest` distinct hypotheses, best first; fewer where the search found no more.
    Raises: ConfigError for the options, every fault; ShapeError for log-probabilities or a state of another shape, NaN or a
    positive log-probability; DataError for a row where every hypothesis came to a dead end.
    Reference: Wu et al. 2016 (GNMT, eq. 14; length penalty); Paulus, Xiong & Socher, ICLR 2018 (no repeated n-grams).
    """
    rules = _Rules(end, beam, length_penalty, no_repeat_ngram, nbest)
    limits = _checked_limits(rules, start, most, rows)
    live = [_first(row, limit) for row, limit in enumerate(limits)]
    answers: dict[int, list[Hypothesis]] = {}
    last = np.full(len(limits), start, dtype=np.int64)
    _check_state(state, len(last))
    while live:
        sources = np.concatenate([np.full(len(s.logprob), s.row, dtype=np.int64) for s in live])
        given, state = step(last, state, sources)
        _check_state(state, len(last))
        grown = _grow_all(live, _checked_logprobs(given, len(last), rules), rules)
        answers |= {s.row: list(s.done) for s in grown if _is_over(s, rules)}
        live = [s for s in grown if not _is_over(s, rules)]
        state, last = _carried(state, live)
    return [answers[row] for row in range(len(limits))]


def greedy(
    step: Step,
    state: State,
    *,
    start: int,
    end: int,
    most: int | Sequence[int] | Codes,
    no_repeat_ngram: int = 0,
    rows: int,
) -> list[Hypothesis]:
    """The most likely code at every step, of equal ones the smallest, until the end or `most` steps: a beam of 1, no penalty.

    Where the end is the most likely code the row stops, because nothing that follows another code can raise its logprob.

    Args, Raises: as of search().
    Returns: B hypotheses.
    """
    found = search(step, state, start=start, end=end, beam=1, most=most, no_repeat_ngram=no_repeat_ngram, rows=rows)
    return [best for (best,) in found]


@dataclass(frozen=True)
class _Rules:
    """The options that hold for every row."""

    end: int
    beam: int
    length_penalty: float
    no_repeat_ngram: int
    nbest: int

    def score(self, logprob: float, length: int) -> float:
        """The logprob under the length penalty."""
        return float(logprob / ((5.0 + length) / 6.0) ** self.length_penalty)


@dataclass(frozen=True)
class _Sentence:
    """The search of one row: n live hypotheses of t codes, best first, and the best that ended."""

    row: int
    most: int
    codes: Codes  # (n, t)
    logprob: Floats  # (n,)
    parents: Codes  # (n,) which of the N hypotheses of the step before each of them continues
    done: tuple[Hypothesis, ...]  # at most nbest, best first


def _first(row: int, most: int) -> _Sentence:
    """Nothing said yet."""
    return _Sentence(row, most, np.zeros((1, 0), np.int64), np.zeros(1), np.array([row], np.int64), ())


def _grow_all(live: Sequence[_Sentence], logprobs: AnyFloats, rules: _Rules) -> list[_Sentence]:
    """Every sentence one step further. logprobs: (N, V), one sentence's hypotheses after the other's."""
    grown, first = [], 0
    for sentence in live:
        after = first + len(sentence.logprob)
        grown.append(_grow(sentence, first, logprobs[first:after], rules))
        first = after
    return grown


def _grow(s: _Sentence, first: int, logprobs: AnyFloats, rules: _Rules) -> _Sentence:
    """One sentence one step further. first: the place of its hypotheses among all N. logprobs: (n, V)."""
    total = s.logprob[:, None] + logprobs
    total[_repeats(s.codes, rules.no_repeat_ngram)] = -np.inf
    # Each of the n <= beam hypotheses ends once at most, so that twice the beam holds all that can live on.
    values, parents, codes = _best(total, 2 * rules.beam)
    ends = np.flatnonzero(codes[: rules.beam] == rules.end)
    lives = np.flatnonzero(codes != rules.end)[: rules.beam]
    done = s.done + _hypotheses(s.codes[parents[ends]], values[ends], True, rules)
    grown = np.column_stack([s.codes[parents[lives]], codes[lives]])
    if grown.shape[1] == s.most:
        done += _hypotheses(grown, values[lives], False, rules)
        grown, lives = grown[:0], lives[:0]
    if not (done or lives.size):
        raise _dead_end(s)
    ranked = sorted(done, key=lambda hypothesis: -hypothesis.score)  # stable: of equal scores the one that ended earlier
    return _Sentence(s.row, s.most, grown, values[lives], first + parents[lives], tuple(ranked[: rules.nbest]))


def _best(total: Floats, count: int) -> tuple[Floats, Codes, Codes]:
    """The `count` best candidates above -inf of (n, V): their logprobs, hypotheses and codes, best first."""
    # The best of each code are V candidates, so `count` candidates at least reach the count-th of these: few need sorting.
    best, size = total.max(axis=0), total.shape[1]
    cut = np.partition(best, size - count)[size - count] if count < size else -np.inf
    places = np.flatnonzero((total >= cut) & (total > -np.inf))
    values, (parents, codes) = total.ravel()[places], np.divmod(places, size)
    order = np.lexsort((parents, codes, -values))[:count]  # the last key counts first
    return values[order], parents[order].astype(np.int64), codes[order].astype(np.int64)


def _repeats(codes: Codes, size: int) -> tuple[Codes, Codes]:
    """The hypotheses and the codes that would complete a run of `size` codes for the second time."""
    steps = codes.shape[1]
    if size == 0 or steps < size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    runs = sliding_window_view(codes, size, axis=1)  # (n, t - size + 1, size)
    tail = codes[:, None, steps - size + 1 :]  # (n, 1, size - 1)
    rows, places = np.nonzero((runs[:, :, :-1] == tail).all(axis=2))
    return rows.astype(np.int64), runs[rows, places, -1]


def _hypotheses(codes: Codes, logprobs: Floats, finished: bool, rules: _Rules) -> tuple[Hypothesis, ...]:
    length = codes.shape[1] + finished  # the end is a step too
    return tuple(
        Hypothesis(tuple(row.tolist()), rules.score(logprob, length), float(logprob), finished)
        for row, logprob in zip(codes, logprobs, strict=True)
    )


def _is_over(s: _Sentence, rules: _Rules) -> bool:
    """Whether nothing lives, or nothing that lives can still come among the `nbest`."""
    if len(s.logprob) == 0:
        return True
    return len(s.done) == rules.nbest and s.done[-1].score >= rules.score(s.logprob[0], s.most)


def _carried(state: State, live: Sequence[_Sentence]) -> tuple[State, Codes]:
    """The state's rows of the live hypotheses, and their last codes."""
    rows = np.concatenate([np.zeros(0, np.int64), *(s.parents for s in live)])
    last = np.concatenate([np.zeros(0, np.int64), *(s.codes[:, -1] for s in live)])
    return {name: array[rows] for name, array in state.items()}, last


def _dead_end(s: _Sentence) -> DataError:
    return DataError(
        f"row {s.row}: expected a code that can follow at step {s.codes.shape[1] + 1}, got none for any hypothesis: "
        "every code has the log-probability -inf or would repeat an n-gram; let the end be possible, or raise no_repeat_ngram"
    )


def _checked_limits(rules: _Rules, start: int, most: int | Sequence[int] | Codes, rows: int) -> list[int]:
    """The most steps of each row, after the check of every option."""
    limits = np.asarray(most)
    faults = [*_rule_faults(rules), *_size_faults(start, limits, rows)]
    if faults:
        raise ConfigError("\n".join(faults))
    return [int(limit) for limit in np.broadcast_to(limits, (rows,))]


def _rule_faults(r: _Rules) -> list[str]:
    alpha = r.length_penalty
    checks = (
        ("end", "a code, a whole number of at least 0", _at_least(0, r.end), r.end),
        ("beam", "a whole number of at least 1", _at_least(1, r.beam), r.beam),
        ("length_penalty", f"0 (none) to {_MOST_PENALTY:g}", is_number(alpha) and 0.0 <= alpha <= _MOST_PENALTY, alpha),
        ("no_repeat_ngram", "a whole number of at least 0", _at_least(0, r.no_repeat_ngram), r.no_repeat_ngram),
        ("nbest", f"1 to beam = {r.beam}", _at_least(1, r.nbest) and is_whole(r.beam) and r.nbest <= r.beam, r.nbest),
    )
    return [f"{name}: expected {wanted}, got {value!r}" for name, wanted, fits, value in checks if not fits]


def _at_least(least: int, value: int) -> bool:
    return is_whole(value) and value >= least


def _size_faults(start: int, limits: NDArray[Any], rows: int) -> list[str]:
    faults = []
    if not _at_least(0, start):
        faults.append(f"start: expected a code, a whole number of at least 0, got {start!r}")
    if not _at_least(0, rows):
        faults.append(f"rows: expected a whole number of at least 0, got {rows!r}")
    elif limits.shape not in ((), (rows,)):
        faults.append(f"most: expected one number, or one for each of {rows} rows, got {limits.shape}")
    if limits.size and (not np.issubdtype(limits.dtype, np.integer) or np.any(limits < 1)):
        faults.append(f"most: expected whole numbers of at least 1, got {limits.tolist()}")
    return faults


def _check_state(state: State, rows: int) -> None:
    for name, array in state.items():
        if array.shape[:1] != (rows,):
            raise ShapeError(f"state {name!r}: expected ({rows}, ...), one row for each hypothesis, got {array.shape}")


def _checked_logprobs(given: ArrayLike, rows: int, rules: _Rules) -> AnyFloats:
    logprobs = np.asarray(given)
    if not np.issubdtype(logprobs.dtype, np.floating):
        raise ShapeError(f"log-probabilities: expected floats, got {logprobs.dtype}")
    if logprobs.ndim != 2 or len(logprobs) != rows or logprobs.shape[1] <= rules.end:
        expected = f"({rows}, V), V above the code of the end, {rules.end}"
        raise ShapeError(f"log-probabilities: expected {expected}, got {logprobs.shape}")
    largest = logprobs.max()
    if not largest <= _ABOVE_ZERO:  # NaN, too
        raise ShapeError(f"log-probabilities: expected numbers of at most 0, got {largest}; take the log-softmax of the logits")
    return logprobs
