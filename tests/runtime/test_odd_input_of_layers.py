"""The bare layer, Predictor and Stream, met with what they should not be given: a TidegateError, the state as before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.odd import BAD3, FINITE3, known, taken
from tests.runtime.test_recurrent import layer, samples, weights

from tidegate.errors import DataError, ShapeError
from tidegate.runtime import Predictor, Recurrent, Stream
from tidegate.spec import Embed, Linear, Port, Spec
from tidegate.spec import Recurrent as Block

X = samples(5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_steps(cell: str) -> None:
    own = layer(cell)
    stream = own.stream()
    stream.step(X[0])
    assert taken(stream.step, stream.snapshot) == known(FINITE3)
    assert taken(lambda v: stream.step(X[0], v), stream.snapshot) == {"none"}
    for policy in ("hold", "reset"):
        other = own.stream(on_bad=policy)
        other.step(X[0])
        assert taken(other.step) == known(FINITE3 | BAD3)
        own.stream(other.snapshot())  # holds no NaN
    assert taken(own.stream) == {"none"}
    assert taken(lambda v: own.stream(on_bad=v)) == set()


def test_a_mask_is_not_looked_through() -> None:
    """Not on the fast road either: the dtype and the layout are right."""
    own = layer()
    stream, sample = own.stream(on_bad="hold"), np.ma.masked_array(X[0], [False, True, False])
    first = stream.step(X[0])
    np.testing.assert_array_equal(stream.step(sample), first)
    with pytest.raises(DataError, match="got nan at place 1"):
        own.stream().step(sample)
    with pytest.raises(DataError, match="row 0"):
        own.step_many([own.stream()], [sample])
    with pytest.raises(DataError, match="row 0 at step 1"):
        own.run(np.ma.masked_array(X, np.arange(5)[:, None] == 1 | np.zeros((5, 3), int)))
    np.testing.assert_array_equal(own.stream().step(sample.data), own.stream().step(X[0]))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_many_steps(cell: str) -> None:
    own = layer(cell)
    stream = own.stream()
    assert taken(lambda v: own.step_many([stream], [v]), stream.snapshot) == known(FINITE3)
    assert taken(lambda v: own.step_many([stream], v), stream.snapshot) == {"matrix"}
    assert taken(lambda v: own.step_many(v, X[:1])) == set()
    assert taken(lambda v: own.step_many([v], X[:1])) == set()
    assert taken(lambda v: own.step_many([stream], X[:1], v), stream.snapshot) == {"none"}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_sequences(cell: str) -> None:
    own = layer(cell)
    assert taken(own.run) == {"no rows", "matrix"}
    assert taken(lambda v: own.run(X, v)) == {"none"}
    assert taken(lambda v: own.run(X, (v, v))) == set()
    assert taken(lambda v: own.run(X, None, v)) == {"none"}
    assert taken(lambda v: own.run(X[None], None, [v])) == set()


def test_a_state_with_nan_is_refused() -> None:
    own = layer()
    _, (h, c) = own.run(X)
    c[1, 3] = np.nan
    with pytest.raises(DataError, match="state 'c': expected finite numbers"):
        own.run(X, (h, c))


def test_weights() -> None:
    own = weights("lstm", 3, 8)
    assert taken(lambda v: Recurrent(v, own)) == set()
    assert taken(lambda v: Recurrent("lstm", v)) == set()
    for name in own:
        assert taken(lambda v, name=name: Recurrent("lstm", own | {name: v})) == set()  # type: ignore[misc]
    assert taken(lambda v: Recurrent("lstm", {**own, **dict.fromkeys([v] if isinstance(v, (int, bytes)) else [3], X)})) == set()


def test_weights_of_the_other_byte_order() -> None:
    own = weights("lstm", 3, 8)
    swapped = Recurrent("lstm", {name: w.astype(w.dtype.newbyteorder()) for name, w in own.items()})
    np.testing.assert_array_equal(swapped.run(X)[0], Recurrent("lstm", own).run(X)[0])
    assert swapped.stream().snapshot() == Recurrent("lstm", own).stream().snapshot()


def predictor(*, codes: bool) -> Predictor:
    port = Port(name="x", shape="tokens", size=1) if codes else Port(name="x", size=3)
    first: tuple[Any, ...] = (Embed(name="embedded", inputs=("x",), num_embeddings=9, embedding_dim=3),) if codes else ()
    read = Block(name="read", inputs=(first[0].name if codes else "x",), cell="gru", input_size=3, hidden_size=4)
    spec = Spec(
        inputs=(port,), blocks=(*first, read, Linear(name="y", inputs=("read",), input_size=4, output_size=2)), outputs=("y",)
    )
    rng = np.random.default_rng(0)
    return Predictor(spec, {n: rng.normal(0, 0.3, s).astype("float32") for n, s in spec.parameters().items()})


@pytest.mark.parametrize("codes", [False, True])
def test_predictors(codes: bool) -> None:
    own = predictor(codes=codes)
    x = np.ones((1, 2, 1), int) if codes else np.ones((1, 2, 3))
    assert taken(own.run) == set()
    assert taken(lambda v: own.run({"x": v})) <= {"no rows"}
    assert taken(lambda v: own.run({"x": x}, v)) == {"none"}
    assert taken(lambda v: own.run({"x": x}, None, v)) == {"none", "empty mapping"}
    assert taken(lambda v: own.run({"x": x}, None, {"x": v})) == set()
    assert taken(own.stream) == set()
    assert taken(own.initial_state) == set()
    assert taken(own.state_parts) == set()
    assert taken(lambda v: Predictor(v, own.weights)) == set()
    assert taken(lambda v: Predictor(own.spec, v)) == set()
    name = next(iter(own.weights))
    assert taken(lambda v: Predictor(own.spec, {**own.weights, name: v})) == set()
    assert taken(lambda v: Predictor(own.spec, own.weights, native=v)) <= {"none", "true"}


def test_streams_of_a_predictor() -> None:
    own = predictor(codes=False)
    stream = own.stream()
    stream.push({"x": X[:1]})
    assert taken(stream.push, lambda: stream.state.tobytes()) == set()
    assert taken(lambda v: stream.push({"x": v}), lambda: stream.state.tobytes()) == {"matrix"}
    assert taken(lambda v: Stream(own, 1, v)) == {"none"}
    assert taken(lambda v: Stream(own, v)) == set()
    with pytest.raises(ShapeError, match="state: expected finite"):
        Stream(own, 1, np.full((1, 4), np.nan, np.float32))
