"""Every public entry of streams, of a bare network, of exports, met with what it should not be given: a TidegateError that names
the field, the state byte for byte as before, the process alive; or the answer that stands here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tidegate as tg
from tests.fuzz.seeds import CORPUS
from tests.odd import BAD1, BAD3, BAD_TEXT, FINITE1, FINITE3, ODD, TEXT, known, taken
from tidegate.models.base import Model
from tidegate.models.network import Network
from tidegate.models.streams import ModelStream
from tidegate.tasks.network import NetworkOptions, build_spec

Stream = ModelStream[Any, Any]
CODES = {"2**63", "10**400", "-10**400", "10**5000"}  # whole numbers that are no code


def network(**options: Any) -> Network:
    own = NetworkOptions(cell="gru", input_size=3, hidden_size=4, **options)
    rng = np.random.default_rng(0)
    return Network(own, {n: rng.normal(0, 0.3, s).astype("float32") for n, s in build_spec(own).parameters().items()})


def corpus(name: str) -> Model:
    return tg.load(CORPUS / f"{name}.safetensors")


MODELS: dict[str, tuple[Callable[[], Model], Any, set[str], set[str]]] = {  # made, a sound sample, what is one, what is a bad one
    "classify": (lambda: corpus("classify-bytes"), "fine", TEXT | {"no text"}, BAD_TEXT),
    "generate": (lambda: corpus("generate-letters"), "ab", TEXT | {"no text"}, BAD_TEXT),
    "tag": (lambda: corpus("tag-plain"), "Ann", TEXT, BAD_TEXT | {"no text"}),
    "window": (lambda: corpus("forecast-months"), 10.0, FINITE1, BAD1),
    "running": (lambda: corpus("forecast-running"), [5.0], FINITE1, BAD1),
    "network": (network, [1.0, 2.0, 3.0], FINITE3, BAD3),
    "codes": (lambda: network(codes=9, output_size=2, pool="last"), 3, set(), CODES),
}


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {name: make() for name, (make, *_) in MODELS.items()}


def sound(model: Model, stream: Stream, sample: object) -> None:
    """It goes on, and its snapshot is one that can be read: it holds no NaN."""
    stream.push(sample)
    model.stream(state=stream.snapshot())


@pytest.mark.parametrize("name", MODELS)
def test_what_is_pushed(models: dict[str, Model], name: str) -> None:
    model, (_, good, fine, bad) = models[name], MODELS[name]
    stream = model.stream()
    stream.push(good)
    assert taken(stream.push, stream.snapshot) == known(fine)
    sound(model, stream, good)
    if isinstance(model, tg.Forecaster):
        for value in known(fine):
            stream.reset()
            assert np.isfinite(stream.push(ODD[value]()).forecast).all(), value
    for policy in ("hold", "reset"):
        other = model.stream(on_bad=policy)
        other.push(good)
        assert taken(other.push, other.snapshot) == known(fine | bad)
        sound(model, other, good)


@pytest.mark.parametrize("name", MODELS)
def test_what_many_streams_are_stepped_by(models: dict[str, Model], name: str) -> None:
    model, (_, good, fine, _) = models[name], MODELS[name]
    one, two = model.stream(), model.stream()
    assert taken(lambda v: model.step_many([one, two], [good, v]), one.snapshot, two.snapshot) == known(fine), "none is stepped"
    assert taken(lambda v: model.step_many([two], [v]), two.snapshot) == known(fine)
    assert taken(lambda v: model.step_many(v, [good]), one.snapshot) == set()
    assert taken(lambda v: model.step_many([v], [good]), one.snapshot) == set()
    three = taken(lambda v: model.step_many([one, two, model.stream()], v), one.snapshot, two.snapshot)
    assert three <= FINITE3 | {"numbers as objects", "sparse tensor", "texts"}, "only what is a list of three sound samples"
    for stream in (one, two):
        sound(model, stream, good)


@pytest.mark.parametrize("name", MODELS)
def test_what_a_stream_is_made_of(models: dict[str, Model], name: str) -> None:
    model, (_, good, *_) = models[name], MODELS[name]
    stream = model.stream()
    stream.push(good)
    assert taken(lambda v: model.stream(state=v)) == {"none"}
    assert taken(stream.restore, stream.snapshot) == {"none"}
    assert taken(lambda v: model.stream(on_bad=v)) == set()
    sound(model, stream, good)


def test_where_a_stream_begins(models: dict[str, Model]) -> None:
    for name in ("window", "running"):
        model = models[name]
        assert isinstance(model, tg.Forecaster)
        assert taken(model.stream) == {"none"}
    assert isinstance(models["tag"], tg.Tagger)
    assert taken(models["tag"].stream) == {"none"}


@pytest.mark.parametrize("name", ["network", "codes"])
def test_sequences_through_a_network(models: dict[str, Model], name: str) -> None:
    own = models[name]
    assert isinstance(own, Network)
    x = np.ones((1, 2), int) if own.options.codes else np.ones((1, 2, 3))
    empty = {"no rows", "no columns"}  # of codes: no sequences, or three that are empty
    assert taken(own.run) == (empty if own.options.codes else set())
    assert taken(lambda v: own.run(x, v)) == {"none"}
    assert taken(lambda v: own.run(x, {"h": v})) == set()
    assert taken(lambda v: own.run(x, None, v)) == {"none"}
    assert taken(lambda v: own.run(x, None, [v])) == set()
    assert taken(own.predict) == set()
    bad = np.ones((1, 2, 3))
    bad[0, 1, 2] = np.inf
    if not own.options.codes:
        with pytest.raises(tg.DataError, match="row 0 at step 1"):
            own.run(bad)
        np.testing.assert_array_equal(own.run(bad, None, [1]).y[:, 0], own.run(x, None, [1]).y[:, 0])
    with pytest.raises(tg.DataError, match="state 'h': expected finite"):
        own.run(x, {"h": np.full((1, 1, 4), np.nan)})


@pytest.mark.parametrize("name", MODELS)
def test_where_and_how_a_model_is_exported(
    models: dict[str, Model], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # no compiler, no proof: names alone
    model = models[name]
    assert taken(lambda v: model.export(tmp_path / "m.h", v)) == set()
    names = taken(lambda v: model.export(tmp_path / "m.h", "c", name=v))
    assert names <= {"none", "text"}
    assert taken(lambda v: model.export(v)) <= {"text", "number as text"}
    assert taken(model.save) == {"text", "number as text"}


def test_what_is_loaded() -> None:
    assert taken(tg.load) == set()


def test_what_is_converted() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.GRU(3, 4, batch_first=True)
    whole = torch.nn.Sequential(torch.nn.Embedding(9, 3), layer, torch.nn.Linear(4, 2))
    assert taken(tg.from_torch) == set()
    with pytest.raises(tg.TaskError, match="expected a torch"):
        tg.from_torch(torch.nn.GRU)
    assert taken(lambda v: tg.from_torch(layer, pool=v)) == {"none"}
    assert taken(lambda v: tg.from_torch(whole, pool="last", classes=v)) == known({"none", "categorical"})
    texts = {"text", "number as text", "no text", "long text", "nul"}
    assert taken(lambda v: tg.from_torch(whole, pool="last", classes=["a", v])) == texts
    assert taken(lambda v: tg.from_torch(layer, example=v)) == {"none"}
    assert taken(lambda v: tg.from_torch(layer, example=(v,))) == set()
    assert taken(lambda v: tg.from_torch(layer, example=(torch.ones(1, 2, 3), v))) <= {"none"}
    assert layer.training
