"""Oracle: every sequence there is, scored one by one, and a plain greedy loop."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.decode.beam import Hypothesis, greedy, search
from tidegate.errors import ConfigError, DataError, ShapeError

START = 0
SEEDS = st.integers(0, 10_000)


class Net:
    """Random log-probabilities of the next code: by all codes so far, or by the last one and its place; others for each source.

    Without the place (0, 1, 0, 0) and (0, 0, 1, 0) would be equally likely, and their order a matter of rounding.
    The state holds the codes so far, so that a row of it in the wrong place gives other answers.
    """

    def __init__(self, seed, size, by_history=True, spread=2.0):
        self.seed, self.size, self.by_history, self.spread = seed, size, by_history, spread

    def logprobs(self, source, history):
        key = history if self.by_history else (len(history), history[-1])
        z = np.random.default_rng([self.seed, source, len(key), *key]).normal(scale=self.spread, size=self.size)
        return z - np.log(np.exp(z).sum())

    def state(self, rows):
        return {"history": np.zeros((rows, 0), dtype=np.int64), "place": np.arange(rows)}

    def step(self, codes, state, sources):
        assert state["place"].tolist() == sources.tolist()
        history = np.column_stack([state["history"], codes])
        given = [self.logprobs(int(source), tuple(row.tolist())) for source, row in zip(sources, history, strict=True)]
        return np.array(given), {"history": history, "place": state["place"]}

    def search(self, rows=1, **options):
        return search(self.step, self.state(rows), start=START, rows=rows, **options)


def fixed(table):
    """A Markov step from a table of probabilities, (V, V); no state."""
    with np.errstate(divide="ignore"):
        logprobs = np.log(np.asarray(table, dtype=np.float64))
    return lambda codes, state, sources: (logprobs[codes], state)


def everything(net, source, end, most, alpha, ngram=0):
    """Every hypothesis, best first."""

    def grow(codes, logprob):
        if len(codes) == most:
            yield codes, logprob, False
            return
        for code, more in enumerate(net.logprobs(source, (START, *codes))):
            if code == end:
                yield codes, logprob + more, True
            elif not repeats((*codes, code), ngram):
                yield from grow((*codes, code), logprob + more)

    return ranked(grow((), 0.0), alpha)


def ranked(found, alpha):
    scored = [Hypothesis(c, logprob / ((5 + len(c) + end) / 6) ** alpha, logprob, end) for c, logprob, end in found]
    return sorted(scored, key=lambda hypothesis: -hypothesis.score)


def repeats(codes, ngram):
    runs = [codes[i : i + ngram] for i in range(len(codes) - ngram + 1)] if ngram else []
    return len(set(runs)) < len(runs)


def assert_same(got, expected):
    assert [(h.codes, h.finished) for h in got] == [(h.codes, h.finished) for h in expected]
    np.testing.assert_allclose([h[1:3] for h in got], [h[1:3] for h in expected], rtol=1e-12)


@given(
    seed=SEEDS,
    size=st.integers(2, 4),
    most=st.integers(1, 5),
    alpha=st.sampled_from([0.0, 0.6, 1.0, 2.0, 5.0]),
    nbest=st.integers(1, 6),
    ngram=st.sampled_from([0, 0, 1, 2]),
    by_history=st.booleans(),
    data=st.data(),
)
def test_full_width_equals_exhaustive_search(seed, size, most, alpha, nbest, ngram, by_history, data):
    net, end = Net(seed, size, by_history), data.draw(st.integers(0, size - 1))
    options = {"end": end, "most": most, "length_penalty": alpha, "no_repeat_ngram": ngram}
    (got,) = net.search(beam=max(nbest, size**most), nbest=nbest, **options)
    assert_same(got, everything(net, 0, end, most, alpha, ngram)[:nbest])


@given(SEEDS, st.integers(2, 6), st.integers(1, 8), st.booleans(), st.sampled_from([0, 2]))
def test_beam_of_one_and_greedy_equal_a_plain_loop(seed, size, most, by_history, ngram):
    net, end = Net(seed, size, by_history), size - 1
    options = {"end": end, "most": most, "no_repeat_ngram": ngram}
    found = greedy(net.step, net.state(3), start=START, rows=3, **options)
    assert [[h] for h in found] == net.search(rows=3, beam=1, **options)
    for source, hypothesis in enumerate(found):
        codes, logprob, finished = plain_greedy(net, source, end, most, ngram)
        assert (hypothesis.codes, hypothesis.finished) == (codes, finished)
        assert hypothesis.logprob == hypothesis.score == pytest.approx(logprob)


def plain_greedy(net, source, end, most, ngram):
    codes, logprob = (), 0.0
    for _ in range(most):
        given = net.logprobs(source, (START, *codes))
        allowed = [code for code in range(net.size) if code == end or not repeats((*codes, code), ngram)]
        code = max(allowed, key=lambda code: given[code])
        logprob += given[code]
        if code == end:
            return codes, logprob, True
        codes = (*codes, code)
    return codes, logprob, False


def plain_beam(net, source, end, beam, most, alpha, nbest):
    """The search of one row as the docstring says it, run to the last step without stopping."""
    live, done = [((), 0.0)], []
    for _ in range(most):
        grown = [
            (logprob + more, code, parent)
            for parent, (codes, logprob) in enumerate(live)
            for code, more in enumerate(net.logprobs(source, (START, *codes)))
        ]
        grown.sort(key=lambda candidate: (-candidate[0], *candidate[1:]))
        done += [(live[parent][0], logprob, True) for logprob, code, parent in grown[:beam] if code == end]
        live = [((*live[parent][0], code), logprob) for logprob, code, parent in grown if code != end][:beam]
    done += [(codes, logprob, False) for codes, logprob in live]
    return ranked(done, alpha)[:nbest]


@given(SEEDS, st.integers(2, 6), st.integers(1, 5), st.integers(1, 9), st.sampled_from([0.0, 0.6, 1.0, 3.0]), st.data())
def test_stopping_early_changes_nothing(seed, size, beam, most, alpha, data):
    net, end = Net(seed, size), data.draw(st.integers(0, size - 1))
    nbest = data.draw(st.integers(1, beam))
    (got,) = net.search(end=end, beam=beam, most=most, length_penalty=alpha, nbest=nbest)
    assert_same(got, plain_beam(net, 0, end, beam, most, alpha, nbest))


def test_the_first_finished_is_not_the_last_word():
    """The end at once scores log .51; code 1 and then the end log .49, which the penalty of 2 steps, 7 / 6, makes better."""
    step = fixed([[0, 0.49, 0.51], [0, 0, 1], [0, 0, 1]])
    for beam in (1, 2):
        ((best,),) = search(step, {}, start=0, end=2, beam=beam, most=9, length_penalty=1.0, rows=1)
        assert best == ((1,), pytest.approx(math.log(0.49) * 6 / 7), pytest.approx(math.log(0.49)), True)
    ((best,),) = search(step, {}, start=0, end=2, beam=2, most=9, rows=1)
    assert best.codes == ()


def test_a_row_stops_as_soon_as_nothing_can_beat_it_and_leaves_the_batch():
    calls = []

    def step(codes, state, sources):
        calls.append(sources.tolist())
        end = np.where(sources == len(calls) - 1, 0.9, 0.1)
        return np.log(np.stack([1 - end, end], axis=1)), state

    found = search(step, {}, start=0, end=1, beam=1, most=500, rows=3)
    assert calls == [[0, 1, 2], [1, 2], [2]]
    assert [row[0].codes for row in found] == [(), (0,), (0, 0)]


@pytest.mark.parametrize(("most", "steps"), [(2, 1), (3, 1), (4, 2)])
def test_a_live_one_is_given_up_where_the_longest_could_not_save_it(most, steps):
    """After a step the end has log .6, the live one log .4: worse over ((5 + 3) / 6)^2, better over ((5 + 4) / 6)^2."""
    calls = []

    def step(codes, state, sources):
        calls.append(codes)
        return np.log([[0.4, 0.6]]), state

    search(step, {}, start=0, end=1, beam=1, most=most, length_penalty=2.0, rows=1)
    assert len(calls) == steps


@given(SEEDS, st.integers(1, 3), st.integers(1, 5))
def test_no_ngram_occurs_twice(seed, ngram, beam):
    net = Net(seed, 4, by_history=False, spread=4.0)
    (found,) = net.search(end=3, beam=beam, most=25, no_repeat_ngram=ngram, nbest=beam, length_penalty=5.0)
    assert not any(repeats(h.codes, ngram) for h in found)


def test_what_would_go_on_for_ever_ends_where_an_ngram_would_come_again():
    step = fixed([[0, 0.9, 0.1], [0.9, 0, 0.1], [0, 0, 1]])
    for ngram, codes in ((0, (1, 0, 1, 0, 1, 0)), (1, (1, 0)), (2, (1, 0, 1)), (3, (1, 0, 1, 0))):
        (found,) = greedy(step, {}, start=0, end=2, most=6, no_repeat_ngram=ngram, rows=1)
        assert (found.codes, found.finished) == (codes, ngram > 0)


@given(SEEDS, st.integers(1, 6), st.sampled_from([0.0, 1.0]))
def test_nbest_are_distinct_and_sorted(seed, beam, alpha):
    (found,) = Net(seed, 5).search(end=4, beam=beam, most=6, nbest=beam, length_penalty=alpha)
    assert len({h.codes for h in found}) == len(found) == beam
    assert all(a.score >= b.score for a, b in itertools.pairwise(found))
    assert all(h.score == pytest.approx(h.logprob / ((5 + len(h.codes) + h.finished) / 6) ** alpha) for h in found)


@given(SEEDS, st.integers(1, 4), st.lists(st.integers(1, 9), min_size=2, max_size=5), st.sampled_from([0.0, 1.5]))
def test_a_row_alone_equals_the_row_in_a_batch(seed, beam, most, alpha):
    net, rows = Net(seed, 4), len(most)
    options = {"end": 1, "beam": beam, "nbest": beam, "length_penalty": alpha}
    together = net.search(rows=rows, most=most, **options)
    for row in range(rows):
        state = {name: array[[row]] for name, array in net.state(rows).items()}

        def step(codes, state, sources, row=row):
            assert not sources.any()
            return net.step(codes, state, np.full_like(sources, row))

        assert search(step, state, start=START, rows=1, most=most[row], **options) == [together[row]]


def test_ties_go_to_the_smaller_code_then_to_the_earlier_hypothesis():
    flat = fixed(np.full((3, 3), 1 / 3))
    (found,) = search(flat, {}, start=0, end=2, beam=2, most=2, nbest=2, rows=1)
    assert [h.codes for h in found] == [(0, 0), (1, 0)]
    ((best,),) = search(flat, {}, start=0, end=0, beam=2, most=2, rows=1)
    assert best.codes == ()  # of equal scores the one that ended first
    (best,) = greedy(flat, {}, start=0, end=2, most=3, rows=1)
    assert best.codes == (0, 0, 0)


def test_what_does_not_end_is_taken_as_it_is():
    ((best,),) = search(fixed(np.eye(2)), {}, start=0, end=1, beam=3, most=4, rows=1)
    assert best == ((0, 0, 0, 0), 0.0, 0.0, False)


def test_impossible_codes_never_come_and_fewer_than_nbest_may_be_left():
    step = fixed([[0, 0.5, 0.5, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]])
    (found,) = search(step, {}, start=0, end=3, beam=5, most=9, nbest=5, rows=1)
    assert [h.codes for h in found] == [(2,), (1, 2)]


def test_a_row_without_any_hypothesis_is_named():
    step = fixed([[0.5, 0.5, 0], [0.5, 0.5, 0], [0.5, 0.5, 0]])
    with pytest.raises(DataError, match="row 0: expected a code that can follow at step 3"):
        search(step, {}, start=2, end=2, beam=2, most=5, no_repeat_ngram=1, rows=2)


def test_single_precision_is_summed_in_double():
    table = np.log(np.full((3, 3), [0.6, 0.3, 0.1], dtype=np.float32))
    ((best,),) = search(lambda c, s, r: (table[c], s), {}, start=0, end=2, beam=1, most=99, rows=1)
    assert best.logprob == pytest.approx(99 * float(table[0, 0]), rel=1e-12)


def test_no_rows_are_no_fault():
    assert search(fixed(np.eye(2)), {}, start=0, end=1, beam=1, most=4, rows=0) == []
    assert greedy(fixed(np.eye(2)), {}, start=0, end=1, most=[], rows=0) == []


@pytest.mark.parametrize(
    ("given_", "state", "word"),
    [
        (np.zeros((2, 3)), {}, r"expected \(1, V\), V above the code of the end, 1, got \(2, 3\)"),
        (np.zeros((1, 1)), {}, r"expected \(1, V\)"),
        (np.zeros((1, 2), dtype=np.int64), {}, "expected floats, got int64"),
        ([[0.0, math.nan]], {}, "expected numbers of at most 0, got nan"),
        ([[0.1, -3.0]], {}, "at most 0, got 0.1; take the log-softmax"),
        ([[-1.0, -1.0]], {"h": np.zeros((2, 4))}, r"state 'h': expected \(1, ...\)"),
    ],
)
def test_what_a_step_gives_is_checked(given_, state, word):
    with pytest.raises(ShapeError, match=word):
        search(lambda *_: (given_, state), {}, start=0, end=1, beam=1, most=4, rows=1)
    with pytest.raises(ShapeError, match=r"state 'h': expected \(2, ...\), one row for each hypothesis, got \(3, 4\)"):
        search(fixed(np.eye(2)), {"h": np.zeros((3, 4))}, start=0, end=1, beam=1, most=4, rows=2)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("start", [-1, 0.0]), ("end", [-1, 1.0]), ("beam", [0, True, 2.0]), ("most", [0, [3, 0], [3], 2.5]), ("rows", [-1, None]),
        ("length_penalty", [-0.1, math.nan, 11, "1"]), ("no_repeat_ngram", [-1, 0.5]), ("nbest", [0, 5]),
    ],
)  # fmt: skip
def test_wrong_options_are_named(name, values):
    for value in values:
        with pytest.raises(ConfigError, match=f"^{name}: expected .*, got"):
            search(fixed(np.eye(2)), {}, **{"start": 0, "end": 1, "beam": 4, "most": 4, "rows": 2, name: value})

    with pytest.raises(ConfigError) as caught:  # all faults at once
        search(fixed(np.eye(2)), {}, start=-1, end=-1, beam=0, most=0, length_penalty=-1, no_repeat_ngram=-1, nbest=0, rows=-1)
    assert len(str(caught.value).splitlines()) == 8
