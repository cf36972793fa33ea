"""The short way of drawing: the codes that distribution() and draw() give from the same generator, refusals included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import native
from tidegate.decode.next_code import NextCode
from tidegate.decode.sampling import Sampling, distribution, draw
from tidegate.errors import DataError, ShapeError


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([0.01, 1.0, 30.0, 500.0]),
    dtype=st.sampled_from(["float32", "float64"]),
    options=st.builds(
        Sampling,
        temperature=st.sampled_from([0.0, 0.05, 0.8, 1.0, 7.0]),
        top_k=st.sampled_from([0, 0, 3]),
        top_p=st.sampled_from([1.0, 1.0, 0.7]),
        min_p=st.sampled_from([0.0, 0.0, 0.1]),
        repetition_penalty=st.sampled_from([1.0, 1.0, 1.5]),
        repetition_window=st.sampled_from([1, 4, 64]),
    ),
)
def test_the_same_codes_as_the_slow_twin(size: int, seed: int, spread: float, dtype: str, options: Sampling) -> None:
    rng = np.random.default_rng(seed)
    forbidden = rng.random(size) < 0.2
    forbidden[rng.integers(size)] = False
    history = rng.integers(0, size, 5).tolist()
    drawer = NextCode(options, forbidden, history, np.random.default_rng(seed))
    other = np.random.default_rng(seed)
    for _ in range(12):
        logits = rng.normal(0, spread, size).astype(dtype)
        given_logits = logits.copy()
        wanted = int(draw(distribution(logits[None], [np.array(history)], options, forbidden), other)[0])
        assert drawer.draw(logits) == wanted
        np.testing.assert_array_equal(logits, given_logits)
        history.append(wanted)


@pytest.mark.skipif(not native.available(), reason="needs the native core")
def test_the_short_way_cuts_where_the_slow_one_cuts() -> None:
    """A uniform number a little below, and above, each cumulated mass of the slow twin."""
    rng = np.random.default_rng(0)
    forbidden = np.zeros(66, np.bool_)
    forbidden[0] = True

    for temperature in (0.7, 1.0):
        short = native.drawer(forbidden, temperature)
        for _ in range(20):
            logits = rng.normal(0, 3, 66).astype(np.float32)
            mass = np.cumsum(distribution(logits[None], None, Sampling(temperature=temperature), forbidden), axis=1)[0]
            for u in np.concatenate([mass + 1e-13, mass - 1e-13]):
                if 0.0 <= u < 1.0:
                    assert short(logits, u) == int((mass <= u).sum())


@pytest.mark.skipif(not native.available(), reason="needs the native core")
@pytest.mark.parametrize("logits", [np.zeros(4, np.float32), np.zeros(5, np.int64), np.zeros((5, 2), np.float64)[:, 0]])
def test_the_core_draws_from_dense_numbers_of_the_right_length(logits: np.ndarray) -> None:
    with pytest.raises((ValueError, BufferError)):
        native.drawer(np.zeros(5, np.bool_), 1.0)(logits, 0.5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_refused(bad: float) -> None:
    logits = np.zeros(5, np.float32)
    logits[3] = bad
    with pytest.raises(ShapeError, match="code 3"):
        NextCode(Sampling(), np.zeros(5, np.bool_), [], np.random.default_rng(0)).draw(logits)


def test_nothing_left_to_draw_is_refused() -> None:
    with pytest.raises(DataError, match="at least one code"):
        NextCode(Sampling(), np.ones(5, np.bool_), [], np.random.default_rng(0)).draw(np.zeros(5, np.float32))
