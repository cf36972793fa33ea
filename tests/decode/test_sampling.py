"""Oracle: a twin in plain Python, one row and one code at a time."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tidegate.decode import sampling
from tidegate.decode.sampling import Sampling, distribution, draw
from tidegate.errors import ConfigError, DataError, ShapeError

INF = math.inf
CLOSE = {"rtol": 1e-12, "atol": 1e-15}

options = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, 10.0]),
    top_k=st.integers(0, 9),
    top_p=st.sampled_from([0.05, 0.25, 0.5, 0.75, 0.8, 0.9, 1.0]) | st.floats(1e-6, 1.0),
    min_p=st.sampled_from([0.0, 0.1, 0.5, 1.0]) | st.floats(0.0, 1.0),
    repetition_penalty=st.sampled_from([1.0, 1.3, 2.0, 50.0]),
    repetition_window=st.integers(1, 5),
)


@st.composite
def steps(draw_from):
    """Logits on a coarse grid, so that ties are common, some -inf; histories; a mask that leaves code 0."""
    size, rows = draw_from(st.integers(1, 8)), draw_from(st.integers(1, 3))
    cell = st.integers(-3, 3).map(lambda k: k / 2) | st.floats(-20, 20, width=16) | st.just(-INF)
    logits = [[draw_from(st.floats(-20, 20, width=16))] + [draw_from(cell) for _ in range(size - 1)] for _ in range(rows)]
    seen = draw_from(st.lists(st.lists(st.integers(0, size - 1), max_size=8), min_size=rows, max_size=rows))
    forbidden = [[False] + [draw_from(st.booleans()) for _ in range(size - 1)] for _ in range(rows)]
    return logits, seen, forbidden


def twin(logits, history, o, forbidden):
    """The probabilities of one row."""
    z = list(logits)
    for code in set(history[-o.repetition_window :]):
        z[code] = z[code] / o.repetition_penalty if z[code] > 0 else z[code] * o.repetition_penalty
    z = [-INF if banned else value for value, banned in zip(z, forbidden, strict=True)]
    ranked = sorted(range(len(z)), key=lambda code: (-z[code], code))
    if o.temperature == 0:
        return [float(code == ranked[0]) for code in range(len(z))]
    kept = ranked[: o.top_k or None]
    mass = normalised({code: math.exp((z[code] - z[ranked[0]]) / o.temperature) for code in kept})
    if o.top_p < 1:
        mass = normalised(nucleus(mass, o.top_p))
    largest = max(mass.values())
    mass = normalised({code: p for code, p in mass.items() if p >= o.min_p * largest * (1 - 1e-12)})
    return [mass.get(code, 0.0) for code in range(len(z))]


def nucleus(mass, top_p):
    kept = {}
    for code, p in mass.items():  # the most likely first
        kept[code] = p
        if math.fsum(kept.values()) >= top_p - 1e-12:
            break
    return kept


def normalised(mass):
    total = math.fsum(mass.values())
    return {code: p / total for code, p in mass.items()}


@given(steps(), options)
def test_equals_the_twin(step, o):
    logits, seen, forbidden = step
    expected = [twin(*row, o, banned) for *row, banned in zip(logits, seen, forbidden, strict=True)]
    np.testing.assert_allclose(distribution(logits, seen, o, forbidden), expected, **CLOSE)


@given(steps(), options)
def test_a_row_alone_has_the_same_bits(step, o):
    logits, seen, forbidden = step
    together = distribution(np.asfortranarray(logits), seen, o, forbidden)
    for row in range(len(logits)):
        alone = distribution(logits[row : row + 1], seen[row : row + 1], o, forbidden[row])
        np.testing.assert_array_equal(together[row : row + 1], alone)


@pytest.mark.parametrize("o", [Sampling(), Sampling(top_k=700, min_p=0.01), Sampling(top_p=0.95, repetition_penalty=1.2)])
def test_a_row_of_a_large_vocabulary_alone_has_the_same_bits(o):
    logits = np.random.default_rng(0).normal(scale=3.0, size=(5, 3001)).astype(np.float32)
    together = distribution(np.asfortranarray(logits), [[row] for row in range(5)], o)
    alone = [distribution(logits[[row]], [[row]], o)[0] for row in range(5)]
    np.testing.assert_array_equal(together, alone)


def test_ties_at_each_cut_go_to_the_smaller_codes():
    flat = np.zeros((1, 10))
    for o in (Sampling(top_k=3), Sampling(top_p=0.3), Sampling(top_k=5, top_p=0.6)):
        np.testing.assert_allclose(distribution(flat, None, o), [[1 / 3] * 3 + [0.0] * 7], **CLOSE)
    np.testing.assert_array_equal(distribution(flat, None, Sampling(temperature=0)), np.eye(10)[:1])


def test_nucleus_is_the_smallest_set_that_reaches_p():
    logits = np.log([[0.1, 0.4, 0.2, 0.3]])
    for top_p, kept in ((0.3999, [1]), (0.4, [1]), (0.4001, [1, 3]), (0.7, [1, 3]), (0.7001, [1, 2, 3])):
        assert np.flatnonzero(distribution(logits, None, Sampling(top_p=top_p))).tolist() == kept


@pytest.mark.parametrize("scale", [0.0, 0.01, 1.0, 10.0])
def test_nucleus_of_a_large_vocabulary(scale):
    logits = np.random.default_rng(0).normal(scale=scale, size=(2, 3000))
    for top_p in (1e-15, 0.3, 0.9, 0.999999, math.nextafter(1.0, 0.0)):
        got = distribution(logits, None, Sampling(top_p=top_p))
        p = distribution(logits, None, Sampling())
        for row, kept in zip(p, got > 0, strict=True):
            assert row[kept].sum() >= top_p - 1e-12
            assert row[kept].sum() - row[kept].min() < top_p
            assert row[kept].min() >= row[~kept].max(initial=0.0)


def test_rounding_adds_no_code_to_the_nucleus():
    assert sum([0.1] * 8) < 0.8  # what a plain sum would stumble over
    assert np.count_nonzero(distribution(np.zeros((1, 10)), None, Sampling(top_p=0.8))) == 8


def test_each_filter_reads_what_the_one_before_it_left():
    logits = np.log([[0.4, 0.3, 0.15, 0.15]])
    assert np.count_nonzero(distribution(logits, None, Sampling(top_k=2, top_p=0.5))) == 1  # .4 is .57 of the two
    assert (
        np.count_nonzero(distribution(logits, None, Sampling(top_p=0.5, min_p=0.7))) == 2
    )  # alone, .4 and .3 would be .57 and .43


def test_filters_read_the_tempered_distribution():
    logits = np.log([[0.7, 0.2, 0.1]])
    assert np.count_nonzero(distribution(logits, None, Sampling(min_p=0.25))) == 2
    assert np.count_nonzero(distribution(logits, None, Sampling(min_p=0.25, temperature=2.0))) == 3
    assert np.count_nonzero(distribution(logits, None, Sampling(top_p=0.65))) == 1
    assert np.count_nonzero(distribution(logits, None, Sampling(top_p=0.65, temperature=2.0))) == 2


def test_temperature_towards_both_ends():
    logits = np.array([[3.0, -1.0, 2.9, -INF]])
    np.testing.assert_allclose(distribution(logits, None, Sampling(temperature=1e308)), [[1 / 3, 1 / 3, 1 / 3, 0]], **CLOSE)
    for temperature in (1e-4, 1e-300, 5e-324):
        np.testing.assert_array_equal(distribution(logits, None, Sampling(temperature=temperature)), [[1, 0, 0, 0]])


@pytest.mark.filterwarnings("error")
def test_the_largest_logits_do_not_overflow():
    logits = [[1e308, -1e308, 1e308], [-1e308, -INF, -1e308]]
    got = distribution(logits, [[], [0]], Sampling(temperature=0.01, repetition_penalty=9.0))
    np.testing.assert_array_equal(got, [[0.5, 0, 0.5], [0, 0, 1]])


def test_penalty_lowers_positive_and_negative_logits_once():
    o = Sampling(repetition_penalty=2.0, repetition_window=3)
    got = distribution([[1.0, -1.0, 0.5]], [[2, 0, 1, 0]], o)
    np.testing.assert_allclose(np.log(got[0] / got[0, 2]), [0.5 - 0.5, -2.0 - 0.5, 0.0], atol=1e-12)


def test_penalty_moves_the_greedy_choice():
    o = Sampling(temperature=0, repetition_penalty=1.5, top_k=1, top_p=0.1)
    np.testing.assert_array_equal(distribution([[3.0, 2.5]] * 2, [[0], []], o), [[0, 1], [1, 0]])


def test_frequencies_match_the_distribution():
    count = 200_000
    p = distribution(np.random.default_rng(0).normal(size=(1, 12)), None, Sampling(top_k=10))[0]
    drawn = np.bincount(draw(np.tile(p, (count, 1)), np.random.default_rng(1)), minlength=12)
    assert drawn[p == 0].tolist() == [0, 0]
    statistic = np.sum((drawn - count * p)[p > 0] ** 2 / (count * p[p > 0]))
    assert statistic < stats.chi2.ppf(1 - 1e-6, df=9)


def test_a_draw_is_the_inverse_of_the_cumulated_mass_at_one_number_a_row():
    p = np.random.default_rng(0).dirichlet(np.ones(7), size=500)
    rng, same = np.random.default_rng(5), np.random.default_rng(5)
    u = same.random(500)
    expected = [np.searchsorted(np.cumsum(row), x, side="right") for row, x in zip(p, u, strict=True)]
    np.testing.assert_array_equal(draw(p, rng), expected)
    assert rng.random() == same.random()


def test_a_row_with_its_own_generator_draws_the_same_in_any_batch():
    p = np.random.default_rng(0).dirichlet(np.ones(50), size=4)
    together, alone = ([np.random.default_rng((7, row)) for row in range(4)] for _ in range(2))
    for _ in range(20):
        codes = draw(p, together)
        assert codes.dtype == np.int64
        assert codes.tolist() == [int(draw(p[[row]], [alone[row]])[0]) for row in range(4)]


@pytest.mark.parametrize("u", [0.0, 0.25, 0.75, math.nextafter(1.0, 0.0)])
def test_what_has_no_mass_is_not_drawn_at_the_edges(u):
    class Fixed(np.random.Generator):
        def random(self, size=None, dtype=np.float64, out=None):
            return np.full(size, u)

    p = [[0.0, 0.25, 0.0, 0.5, 0.25, 0.0], [0.0, 0.25 / 3, 0.0, 0.25 / 3 * 2, 0.75, 0.0]]
    assert set(draw(p, Fixed(np.random.PCG64(0))).tolist()) <= {1, 3, 4}


def test_forbidden_codes_are_never_drawn_and_take_no_place_among_the_k():
    rng = np.random.default_rng(3)
    logits, forbidden = rng.normal(size=(400, 6)), rng.random((400, 6)) < 0.6
    forbidden[np.arange(400), rng.integers(6, size=400)] = False
    for o in (Sampling(), Sampling(temperature=0), Sampling(top_k=2, top_p=0.9)):
        p = distribution(logits, None, o, forbidden)
        for _ in range(20):
            assert not forbidden[np.arange(400), draw(p, rng)].any()
    np.testing.assert_array_equal(distribution([[5.0, 1.0, 0.0]], None, Sampling(top_k=1), [True, False, False]), [[0, 1, 0]])


def test_a_row_with_nothing_left_is_named():
    with pytest.raises(DataError, match="none in row 1"):
        distribution([[0.0, 1.0], [0.0, -INF]], None, Sampling(), [True, False])
    with pytest.raises(DataError, match="none in row 0"):
        distribution([[-INF, -INF]], None, Sampling(temperature=0))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: distribution([0.0, 1.0], None, Sampling()), r"logits: expected \(B, V\)"),
        (lambda: distribution(np.zeros((2, 0)), None, Sampling()), "at least one code"),
        (lambda: distribution([[0.0, math.nan]], None, Sampling()), "got nan for code 1 of row 0"),
        (lambda: distribution([[0.0], [INF]], None, Sampling()), "got inf for code 0 of row 1"),
        (lambda: distribution([[0.0, 1.0]], None, Sampling(), [0, 1]), "forbidden: expected bool"),
        (lambda: distribution([[0.0, 1.0]], None, Sampling(), [True]), "forbidden: expected bool"),
        (lambda: distribution([[0.0, 1.0]], [[0], [1]], Sampling()), "seen: expected the history of each of 1 rows, got 2"),
        (lambda: distribution([[0.0, 1.0]], [[0, 2]], Sampling()), r"seen\[0\]: expected codes from 0 to 1, got 0 to 2"),
        (lambda: distribution([[0.0, 1.0]], [[-1]], Sampling()), r"seen\[0\]: expected codes from 0"),
        (lambda: distribution([[0.0, 1.0]], [[0.5]], Sampling()), r"seen\[0\]: expected a list of whole numbers"),
        (lambda: draw([[0.5, 0.4]], np.random.default_rng(0)), "sum to 1"),
        (lambda: draw([[1.5, -0.5]], np.random.default_rng(0)), "at least 0"),
        (lambda: draw([[math.nan, 1.0]], np.random.default_rng(0)), "at least 0"),
        (lambda: draw([1.0], np.random.default_rng(0)), r"probabilities: expected \(B, V\)"),
        (lambda: draw([[1.0], [1.0]], [np.random.default_rng(0)]), "one for each of 2 rows, got 1"),
    ],
)
def test_wrong_arrays_are_refused(call, word):
    with pytest.raises(ShapeError, match=word):
        call()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", [-0.1, INF, math.nan, True, "1"]),
        ("top_k", [-1, 1.5, True]),
        ("top_p", [0.0, 1.01, -1.0, math.nan]),
        ("min_p", [-0.1, 1.1, math.nan]),
        ("repetition_penalty", [0.9, INF, math.nan]),
        ("repetition_window", [0, -1, 2.0]),
    ],
)
def test_wrong_options_are_named(name, values):
    for value in values:
        with pytest.raises(ConfigError, match=rf"Sampling\.{name}: expected .*, got"):
            Sampling(**{name: value})


def test_all_faults_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        Sampling(temperature=-1, top_k=-1, top_p=0, min_p=2, repetition_penalty=0, repetition_window=0)
    assert len(str(caught.value).splitlines()) == 6


def test_no_rows_are_no_fault():
    assert distribution(np.zeros((0, 3)), [], Sampling(top_k=2, top_p=0.5)).shape == (0, 3)
    assert draw(np.zeros((0, 3)), np.random.default_rng(0)).shape == (0,)


def test_the_documented_lines_run():
    assert doctest.testmod(sampling) == (0, 2)
