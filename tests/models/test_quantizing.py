"""Models in 8 bits: every task and kind of net answers alike after its file, on NumPy and in copies; what is lost is measured."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import tidegate as tg
from tests.fuzz.seeds import TRIPS, WORDS, waves
from tests.models.test_streams import altered
from tidegate import native
from tidegate.models.quantizing import Measured, quantize
from tidegate.runtime import predictor
from tidegate.runtime.int8 import NetWeights

TEXTS = (["a fine film", "a dull film", "fine acting , dull film", "dull acting"] * 6, ["good", "bad", "good", "bad"] * 6)
STORY = ["tick tock, tack. " * 60]
ROLES = {"target": "sales", "time": "when", "id": "shop", "past": "promo", "future": "day", "static": "area"}
SMALL = {"hidden_size": 12, "embedding_dim": 8, "steps": 20}
ONE_WAY = {"bidirectional": False, "ngrams": False}
FORECAST = {"horizon": 4, "season": 6, "lookback": 12, "hidden_size": 12, "steps": 20, "batch_size": 16}
WRITING = {**SMALL, "batch_size": 4, "window": 16}
MEASURES: dict[str, dict[str, Any]] = {"translate": {"measures": ("chrF",)}, "forecast": {"windows": 2}}


class Made(NamedTuple):
    """A model and what it was trained on. exact: whether NumPy gives the core's bits: nothing else than whole numbers."""

    make: Callable[[], Any]
    data: Any
    exact: bool = True


def classify(exact: bool = True, **options: Any) -> Made:
    return Made(lambda: tg.Classifier(**{**SMALL, **options}).fit(TEXTS, progress=False), TEXTS, exact)


def generate(**options: Any) -> Made:
    return Made(lambda: tg.LanguageModel(**{**WRITING, **options}).fit(STORY, progress=False), STORY)


def tag(exact: bool, labels: list[str] | None = None, **options: Any) -> Made:
    own = {**SMALL, "letter_dim": 4, "letter_size": 4, **options}
    return Made(lambda: tg.Tagger(**own).fit(TRIPS, sentence_labels=labels, progress=False), TRIPS, exact)


def translate(**options: Any) -> Made:
    return Made(lambda: tg.Translator(**{**SMALL, "units": "char", **options}).fit(WORDS, progress=False), WORDS)


def forecast(roles: dict[str, str] | None = None, exact: bool = True, **options: Any) -> Made:
    data: Any = waves(60) if roles else [waves(60)["sales"][:60].tolist()]
    return Made(lambda: tg.Forecaster(**{**FORECAST, **options}).fit(data, **(roles or {}), progress=False), data, exact)


CASES: dict[str, Made] = {
    "classify last": classify(pooling="last", **ONE_WAY),
    "classify gru mean": classify(pooling="mean", cell="gru", units="char", **ONE_WAY),
    "classify rnn max, two layers": classify(pooling="max", cell="rnn", num_layers=2, **ONE_WAY),
    "classify attention": classify(exact=False, pooling="attention", units="byte", **ONE_WAY),
    "classify both ways, n-grams, ensemble": classify(ensemble=2),
    "generate": generate(cell="gru"),
    "generate tied, two layers": generate(num_layers=2, tied=True, embedding_dim=12),
    "generate untied rnn": generate(cell="rnn", tied=False),
    "generate both ways": generate(units="word", direction="both", num_layers=1),
    "tag chain and labels": tag(False, ["one", "two"] * 6),
    "tag plain": tag(True, letters=False, decoder="softmax", bidirectional=False),
    "translate": translate(),
    "translate without attention, shared, ensemble": translate(attention="none", shared=True, cell="gru", ensemble=2),
    "translate feeding": translate(attention="additive", input_feeding=True, tied=False, num_layers=2),
    "forecast window": forecast(),
    "forecast running": forecast(scaling="running", cell="gru", num_layers=2),
    "forecast covariates, ensemble": forecast(ROLES, exact=False, identity=True, ensemble=2, cell="rnn"),
    "forecast recursive": forecast(exact=False, decode="recursive", output="gaussian", paths=8),
}


@pytest.fixture(scope="module")
def models() -> Callable[[str], tuple[Any, Any]]:
    """A model by name, and itself in 8 bits; each made once."""
    made: dict[str, tuple[Any, Any]] = {}

    def find(name: str) -> tuple[Any, Any]:
        if name not in made:
            own = CASES[name].make()
            made[name] = own, eight(own, CASES[name].data, force=True)
        return made[name]

    return find


def eight(model: Any, data: Any, **more: Any) -> Any:
    return model.quantize("int8", data, **{**MEASURES.get(model.task, {}), **more})


def answers(model: Any) -> list[np.ndarray]:
    """What a model says, as numbers where it has them."""
    if isinstance(model, tg.Classifier):
        return [model.predict_proba([*TEXTS[0][:5], "", "unknown words"])]
    if isinstance(model, tg.LanguageModel):
        found = [np.array([model.score("tick tock? tack").nats])]
        return found if model.options.direction == "both" else [*found, np.array(list(model.generate("tick", 20, seed=3)))]
    if isinstance(model, tg.Tagger):
        return [np.array(model.predict([words for words, _ in TRIPS[:4]]), object)]
    if isinstance(model, tg.Translator):
        return [np.array(model.translate(["abc", "cab", "x"], beam=beam)) for beam in (1, 3)]
    future = None if not model._ready().panel.schema.roles.future else future_rows()
    table = model.predict(future=future)
    return [np.asarray(table[name]) for name in table.names]


def future_rows() -> dict[str, np.ndarray]:
    whole, last = waves(64), waves(60)["when"].max()
    return {name: column[whole["when"] > last] for name, column in whole.items() if name in ("shop", "when", "day")}


def same(a: list[np.ndarray], b: list[np.ndarray]) -> None:
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", CASES)
def test_a_model_in_8_bits(name: str, models: Callable[[str], tuple[Any, Any]], tmp_path: Path) -> None:
    """Its card, its file, and answers that are the same whatever way it came; the model it is made of stays."""
    own = CASES[name].make()
    before, said = own.to_bytes(), answers(own)
    made = eight(own, CASES[name].data, force=True)
    assert own.to_bytes() == before
    same(answers(own), said)
    assert "int8" not in own.card
    entry = made.card["int8"]
    assert set(entry) == {"measure", "float32", "int8", "loss", "limit", "kept"}
    assert (entry["limit"], entry["kept"]) == (0.01, [])
    assert made.card["notes"][-1].startswith(f"int8: {entry['measure']} {entry['int8']:.4f} where float32 has ")
    assert made.card["notes"][:-1] == own.card["notes"]
    assert type(made) is type(own)
    assert made.options == own.options
    path = tmp_path / "m.safetensors"
    made.save(path)
    loaded, now = tg.load(path), answers(made)
    assert loaded.to_bytes() == made.to_bytes() == path.read_bytes()
    assert len(made.to_bytes()) < len(before)
    for again in (loaded, copy.deepcopy(made)):
        same(answers(again), now)
    assert all(isinstance(weights, NetWeights) for weights in nets_of(loaded))


def nets_of(model: Any) -> list[Any]:
    return (
        [weights for _, weights in model._parts(model._ready())]
        if hasattr(model, "_parts")
        else [net.weights for net in model._ready().core.nets]
    )


@pytest.mark.skipif(not native.available(), reason="the native core is not installed")
@pytest.mark.parametrize("name", CASES)
def test_numpy_answers_as_the_core_does(
    name: str, models: Callable[[str], tuple[Any, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made = models(name)
    made.save(tmp_path / "m")
    now = answers(made)
    monkeypatch.setattr(predictor, "available", lambda: False)
    twin = tg.load(tmp_path / "m")
    if CASES[name].exact:
        return same(answers(twin), now)
    for one, other in zip(answers(twin), now, strict=True):
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, atol=1e-5)
        else:
            np.testing.assert_array_equal(one, other)
    return None


@pytest.mark.parametrize("name", ["classify gru mean", "classify last", "forecast window", "generate tied, two layers"])
def test_it_is_near_the_float32_model(name: str, models: Callable[[str], tuple[Any, Any]]) -> None:
    for one, other in zip(*(answers(model) for model in models(name)), strict=True):
        if one.dtype.kind == "f":
            assert 0.0 < np.abs(one - other).max() < 0.05 * max(1.0, np.abs(one).max())


STREAMED = [
    name for name in CASES if not any(part in name for part in ("attention", "both ways", "translate", "covariates", "recursive"))
]


def samples_of(name: str) -> list[Any]:
    if name.startswith("forecast"):
        return np.random.default_rng(1).normal(5, 2, 14).round(3).tolist()
    return (
        ["ti", "c", "k tock", "", "?", "~ tack", "k"]
        if "tag" not in name
        else ["Ann", "saw", "the", "New", "York", "Ann", "left"]
    )


def whole(model: Any, samples: list[Any]) -> Any:
    """What a stream says after these samples, as `predict` says of all of them at once."""
    if isinstance(model, tg.Classifier):
        return model.predict_proba(("" if model.options.units == "char" else " ").join(samples))[0]
    if isinstance(model, tg.LanguageModel):
        return model.score("".join(samples)).nats
    return model.predict([samples])["forecast"]


def said(stream: Any, sample: Any) -> Any:
    answer = stream.push(sample)
    if hasattr(answer, "forecast"):
        return answer.forecast[0]
    return stream.score.nats if hasattr(stream, "score") else answer.probabilities


@pytest.mark.parametrize("name", [name for name in STREAMED if "tag" not in name])
def test_a_stream_says_what_predict_says_of_the_whole(name: str, models: Callable[[str], tuple[Any, Any]]) -> None:
    model, samples = models(name)[1], samples_of(name)
    stream = model.stream()
    for count, sample in enumerate(samples, 1):
        found = said(stream, sample)
        if name.startswith("generate"):  # a score is a sum in float64, piece by piece
            assert found == pytest.approx(whole(model, samples[:count]), rel=1e-12)
        else:
            np.testing.assert_array_equal(found, whole(model, samples[:count]))


def test_a_tagger_that_reads_one_way_streams_its_tags(models: Callable[[str], tuple[Any, Any]]) -> None:
    model = models("tag plain")[1]
    for words, _ in TRIPS:
        stream = model.stream(0)
        assert [stream.push(word).tag for word in words] == list(model.predict([words])[0])


@pytest.mark.parametrize("name", STREAMED)
def test_snapshots_and_mixes_of_streams_have_the_same_bits(name: str, models: Callable[[str], tuple[Any, Any]]) -> None:
    model, samples = models(name)[1], samples_of(name)
    many, alone = ([model.stream() for _ in range(4)] for _ in range(2))
    rng = np.random.default_rng(0)
    for _ in range(5):
        mix, own = rng.permutation(4)[: rng.integers(1, 5)].tolist(), rng.integers(len(samples), size=4)
        model.step_many([many[k] for k in mix], [samples[own[k]] for k in mix])
        for k in mix:
            body = alone[k].snapshot()
            alone[k].push(samples[own[k]])
            again = model.stream(state=body)
            again.push(samples[own[k]])
            assert again.snapshot() == alone[k].snapshot()
    assert [stream.snapshot() for stream in many] == [stream.snapshot() for stream in alone]
    float32 = models(name)[0].stream()
    with pytest.raises(tg.FormatError, match="another"):
        model.stream(state=float32.snapshot())


@pytest.mark.parametrize("name", STREAMED)
def test_hostile_snapshots_are_refused_or_work(name: str, models: Callable[[str], tuple[Any, Any]]) -> None:
    model, samples = models(name)[1], samples_of(name)
    stream = model.stream()
    for sample in samples[:3]:
        stream.push(sample)
    outcomes = set()
    for arrays in altered(stream._held(), np.random.default_rng(0)):
        try:
            made = model.stream(state=stream._schema().pack(stream._model_hash(), 3, arrays))
        except (tg.FormatError, tg.ShapeError):
            outcomes.add("refused")
            continue
        with warnings.catch_warnings(action="error"):
            made.push(samples[2])
        outcomes.add("worked")
    assert outcomes == {"refused", "worked"}


def test_the_file_is_near_a_quarter() -> None:
    model = tg.Classifier(hidden_size=128, embedding_dim=64, steps=1, units="char", **ONE_WAY).fit(TEXTS, progress=False)
    made = model.quantize("int8", TEXTS, force=True)
    assert 0.25 < len(made.to_bytes()) / len(model.to_bytes()) < 0.3
    weights = model._ready().nets[0].weights
    assert sum(w.nbytes for w in weights.values()) > 0.9 * len(model.to_bytes())


def test_a_predictor_in_8_bits_survives_a_pickle(models: Callable[[str], tuple[Any, Any]]) -> None:
    """As processes send it to each other; files hold none."""
    net = models("classify gru mean")[1]._ready().nets[0]
    twin, x = pickle.loads(pickle.dumps(net)), {"tokens": np.array([[[1], [2], [3]]])}
    np.testing.assert_array_equal(twin.run(x).outputs["logits"], net.run(x).outputs["logits"])
    assert isinstance(twin.weights, NetWeights)


def worse(model: tg.LanguageModel) -> str:
    """A text that the model in 8 bits foresees less well: rounding moves a score one way or the other."""
    rng = np.random.default_rng(0)
    texts = ("".join(rng.choice(list(" .,acikot"), 12)) for _ in range(50))
    return next(text for text in texts if model.quantize("int8", [text], force=True).card["int8"]["loss"] > 0)


def test_beyond_the_limit_it_is_refused_unless_forced(models: Callable[[str], tuple[Any, Any]]) -> None:
    model = models("generate")[0]
    text = worse(model)
    loss = model.quantize("int8", [text], force=True).card["int8"]["loss"]
    with pytest.raises(tg.ExportError, match=r"nats a token .* a loss of .*limit 0 %.*force=True .--force"):
        model.quantize("int8", [text], limit=0)
    assert model.quantize("int8", [text], limit=0, force=True).card["int8"]["limit"] == 0.0
    assert model.quantize("int8", [text], limit=loss).card["int8"]["loss"] == loss
    with pytest.raises(tg.ExportError, match="It was not made"):
        model.quantize("int8", [text], limit=float(np.nextafter(loss, 0)))


@pytest.mark.parametrize(
    ("larger", "before", "after", "loss"), [(True, 0.5, 0.4, 0.2), (False, 2.0, 3.0, 0.5), (False, 2.0, 1.0, -0.5)]
)
def test_the_loss_is_a_share_in_the_measures_own_direction(
    larger: bool, before: float, after: float, loss: float, models: Callable[[str], tuple[Any, Any]]
) -> None:
    net = models("classify last")[0]._ready().nets[0]
    scores = iter([Measured("m", before, larger), Measured("m", after, larger)])
    _, found = quantize("int8", [(net.spec, net.weights)], lambda weights: weights, lambda _: next(scores), 0.01, force=True)
    assert found.loss == pytest.approx(loss)


@pytest.mark.parametrize(
    "after", [Measured("m", float("nan"), True), Measured("m", float("inf"), False), Measured("n", 0.5, True)]
)
def test_a_measure_that_is_no_number_any_more_is_refused_even_by_force(
    after: Measured, models: Callable[[str], tuple[Any, Any]]
) -> None:
    """Where the first measure is not defined any more, a board gives its second, which says nothing beside the first."""
    net = models("classify last")[0]._ready().nets[0]
    scores = iter([Measured("m", 0.5, True), after])
    with pytest.raises(tg.ExportError, match="m is no number any more"):
        quantize("int8", [(net.spec, net.weights)], lambda weights: weights, lambda _: next(scores), 1e9, force=True)


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        ({"to": "int4"}, tg.ConfigError, "to: expected int8, got 'int4'"),
        ({"to": None}, tg.ConfigError, "to: expected int8"),
        ({"limit": -0.1}, tg.ConfigError, "limit: expected a share of at least 0"),
        ({"limit": float("nan")}, tg.ConfigError, "limit"),
        ({"limit": float("inf")}, tg.ConfigError, "limit"),
        ({"limit": True}, tg.ConfigError, "limit"),
        ({"limit": "1%"}, tg.ConfigError, "limit"),
        ({"source": ([], [])}, tg.DataError, "at least one text"),
        ({"source": ["no label"]}, tg.DataError, "label"),
        ({"source": 3}, tg.TidegateError, "expected"),
    ],
)
def test_wrong_arguments_are_refused(
    words: dict[str, Any], error: type[Exception], said: str, models: Callable[[str], tuple[Any, Any]]
) -> None:
    given: dict[str, Any] = {"to": "int8", "source": TEXTS, **words}
    with pytest.raises(error, match=said):
        models("classify last")[0].quantize(given.pop("to"), given.pop("source"), **given)


@pytest.mark.parametrize("name", ["classify last", "generate", "tag plain", "translate", "forecast window"])
def test_twice_and_unfitted_are_refused(name: str, models: Callable[[str], tuple[Any, Any]]) -> None:
    made, data = models(name)[1], CASES[name].data
    with pytest.raises(tg.TaskError, match="in 8 bits already; quantize the one of float32"):
        eight(made, data)
    unfitted = type(made)(**({"horizon": 4} if name.startswith("forecast") else {}))
    with pytest.raises(tg.TaskError, match="not fitted"):
        eight(unfitted, data)


@pytest.mark.parametrize("words", [{"windows": 0}, {"windows": 1.5}, {"windows": True}, {"step": 0}, {"step": "2"}])
def test_windows_and_steps_are_whole_and_at_least_one(words: dict[str, Any], models: Callable[[str], tuple[Any, Any]]) -> None:
    with pytest.raises(tg.ConfigError, match=r"quantize: (windows|step): expected a whole number of at least 1"):
        eight(models("forecast window")[0], CASES["forecast window"].data, **words)


def test_a_model_of_float64_is_refused(models: Callable[[str], tuple[Any, Any]]) -> None:
    own = copy.deepcopy(models("classify last")[0])
    core = own._ready()
    wide = tuple(predictor.Predictor(n.spec, {k: w.astype(np.float64) for k, w in n.weights.items()}) for n in core.nets)
    own._core = replace(core, nets=wide)
    with pytest.raises(tg.TaskError, match="float64"):
        own.quantize("int8", TEXTS)


def test_onnx_does_not_hold_8_bits(models: Callable[[str], tuple[Any, Any]], tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    for name in ("classify last", "generate", "tag plain", "translate", "forecast window"):
        with pytest.raises(tg.TaskError, match="export the float32 one"):
            models(name)[1].export(tmp_path / "m.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_model_in_8_bits_is_trained_no_further_as_it_is(models: Callable[[str], tuple[Any, Any]]) -> None:
    """`fit` starts anew, in float32, and its card says nothing of 8 bits; `update` needs the float32 model."""
    made = copy.deepcopy(models("classify last")[1])
    made.fit(TEXTS, progress=False)
    assert "int8" not in made.card
    assert not any(isinstance(weights, NetWeights) for weights in nets_of(made))
    forecaster = copy.deepcopy(models("forecast window")[1])
    with pytest.raises(tg.TaskError, match="8 bits"):
        forecaster.update(CASES["forecast window"].data, steps=2, progress=False)


def test_without_data_it_says_what_is_missing(fitted: tg.Forecaster) -> None:
    for model in (fitted, tg.Classifier(), tg.Tagger(), tg.LanguageModel(), tg.Translator()):
        with pytest.raises(tg.ConfigError, match="expected data beside 'int8', as for evaluate, got none"):
            model.quantize("int8")
