"""Every task's stream: pushing is predicting the whole history; policies, copies, snapshots, hostile snapshots."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tidegate as tg
from tests.models.conftest import SMALL, series
from tests.models.test_tagger import OPTIONS as TAGS
from tests.models.test_tagger import trips
from tidegate.models.streams import ModelStream, packed_texts, unpacked_texts

TEXTS = (["a fine film", "a dull film", "fine acting , dull film", "dull acting"] * 8, ["good", "bad", "good", "bad"] * 8)
SMALLEST = {"hidden_size": 8, "steps": 30, "bidirectional": False, "embedding_dim": 6}
Push = Callable[[int], Any]  # the n-th sample


def classifier(**more: object) -> tg.Classifier:
    return tg.Classifier(**{**SMALLEST, **more}).fit(TEXTS, progress=False)


@pytest.fixture(scope="module")
def language() -> tg.LanguageModel:
    return tg.LanguageModel(hidden_size=16, steps=60, batch_size=4, window=16).fit(
        ["tick tock, tick tock. " * 60], progress=False
    )


@pytest.fixture(scope="module")
def forecasters() -> dict[str, tg.Forecaster]:
    return {s: tg.Forecaster(horizon=5, season=6, scaling=s, **SMALL).fit(series(lengths=(90, 70))) for s in SERIES}


@pytest.fixture(scope="module")
def tagger() -> tg.Tagger:
    return tg.Tagger(**TAGS, steps=40).fit(trips(80), progress=False)


@pytest.fixture(scope="module")
def models(language: tg.LanguageModel, forecasters: dict[str, tg.Forecaster], tagger: tg.Tagger) -> dict[str, Any]:
    return {"language": language, **forecasters, "tag": tagger, "classify": classifier(), "plain": classifier(ngrams=False)}


def streamed(models: dict[str, Any], name: str, **given: Any) -> tuple[ModelStream[Any, Any], list[Any]]:
    """A stream, and samples for it."""
    numbers = np.random.default_rng(1).normal(10, 2, 30).tolist()
    words = ["Ann", "saw", "the", "fine", "film", "and", "Bob", "left", "for", "a", "dull", "town"]
    pieces = ["ti", "ck t", "", "ock?", "~"]
    own = numbers if name in SERIES else pieces if name == "language" else words
    model = models[name]
    return (model.stream("0", **given) if name in SERIES else model.stream(**given)), own


SERIES = ("window", "running")
NAMES = ["language", "window", "running", "tag", "classify", "plain"]


def same(a: Any, b: Any) -> bool:
    """Answers are equal, bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


@pytest.mark.parametrize("name", NAMES)
def test_a_snapshot_goes_on_where_it_was_taken(models: dict[str, Any], name: str) -> None:
    stream, samples = streamed(models, name)
    for count, sample in enumerate(samples):
        body = stream.snapshot()
        again, _ = streamed(models, name, state=body)
        assert again.steps == stream.steps == count
        assert again.snapshot() == body
        twin, answer = stream.copy(), stream.push(sample)
        assert same(again.push(sample), answer)
        assert same(twin.push(sample), answer)
        assert again.snapshot() == twin.snapshot() == stream.snapshot()


@pytest.mark.parametrize("name", NAMES)
def test_the_snapshot_of_a_loaded_model_is_that_of_the_saved_one(models: dict[str, Any], name: str, tmp_path: Any) -> None:
    models[name].save(tmp_path / "m.safetensors")
    stream, samples = streamed(models, name)
    stream.push(samples[0])
    again, _ = streamed({name: tg.load(tmp_path / "m.safetensors")}, name, state=stream.snapshot())
    assert same(again.push(samples[1]), stream.push(samples[1]))


@pytest.mark.parametrize("name", NAMES)
def test_reset_is_a_new_stream_and_streams_do_not_meet(models: dict[str, Any], name: str) -> None:
    stream, samples = streamed(models, name)
    other, _ = streamed(models, name)
    fresh = other.snapshot()
    for sample in samples:
        stream.push(sample)
    assert other.snapshot() == fresh
    stream.reset()
    assert stream.steps == 0
    if name in SERIES:  # these go on from the end of a series, and the clock of one that is reset goes on
        other.reset()
        np.testing.assert_array_equal(stream.push(samples[0]).forecast, other.push(samples[0]).forecast)
    else:
        assert stream.snapshot() == fresh
        assert same(stream.push(samples[0]), other.push(samples[0]))
    assert stream.cost.startswith("O(")


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_sample_cannot_poison_a_stream(models: dict[str, Any], name: str) -> None:
    bad: Any = float("nan") if name in SERIES else "a\0b"
    rejecting, samples = streamed(models, name)
    holding, _ = streamed(models, name, on_bad="hold")
    resetting, _ = streamed(models, name, on_bad="reset")
    for sample in samples[:3]:
        rejecting.push(sample), holding.push(sample), resetting.push(sample)
    before = rejecting.snapshot()
    with pytest.raises(tg.DataError, match=r"untouched.*on_bad='hold'"):
        rejecting.push(bad)
    assert rejecting.snapshot() == before
    holding.push(bad)
    if name not in SERIES:  # there a missing value takes its time
        assert holding.snapshot() == before
    resetting.push(bad)
    assert resetting.steps == 0
    for stream in (rejecting, holding, resetting):
        with pytest.raises(tg.DataError, match="untouched"):
            stream.push(object())
        stream.push(samples[3])
    with pytest.raises(tg.ConfigError, match="on_bad"):
        streamed(models, name, on_bad="ignore")


@pytest.mark.parametrize("name", NAMES)
def test_hostile_snapshots_are_refused(models: dict[str, Any], name: str) -> None:
    stream, samples = streamed(models, name)
    for sample in samples[:3]:
        stream.push(sample)
    body = stream.snapshot()
    rng = np.random.default_rng(0)
    for size in {*range(0, 64, 7), *rng.integers(0, len(body), 20).tolist()}:
        with pytest.raises(tg.FormatError, match="state"):
            streamed(models, name, state=body[:size])
    for bit in rng.integers(0, 8 * len(body), 60).tolist():
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(tg.FormatError, match="state"):
            streamed(models, name, state=bytes(flipped))
    others = {other: streamed(models, other)[0].snapshot() for other in NAMES if other != name}
    for other in others.values():
        with pytest.raises(tg.FormatError, match="another"):
            streamed(models, name, state=other)
    for arrays in altered(stream._held(), rng):  # sound outside, altered within: refused, or a stream that works
        try:
            made, _ = streamed(models, name, state=stream._schema().pack(stream._model_hash(), 3, arrays))
        except (tg.FormatError, tg.ShapeError):
            continue
        made.push(samples[3])


def altered(arrays: Any, rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
    """Each field with one number changed, or one row fewer."""
    found = []
    for name, array in arrays.items():
        values = {"f": (-1.0, 0.0, 1e30, np.nan, np.inf), "i": (-1, 0, 2**40, -(2**60)), "u": (0, 255)}[array.dtype.kind]
        for value in values:
            other = np.array(array)
            if other.size:
                other.flat[int(rng.integers(other.size))] = value
            found.append({**arrays, name: other})
        if array.ndim and array.shape[0] > 1:
            found.append({**arrays, name: array[:-1]})
    return found


def test_a_text_followed_piece_by_piece_is_scored_as_the_whole(language: tg.LanguageModel) -> None:
    text = "tick tock? tick~ tock, tock"
    stream = language.stream()
    first = stream.score
    assert (first.nats, first.tokens) == (0.0, 0)
    for k in range(0, len(text), 3):
        answer = stream.push(text[k : k + 3])
        whole = language.score(text[: k + 3])
        assert stream.score.nats == pytest.approx(whole.nats, rel=1e-12)
        assert (stream.score.tokens, stream.score.letters, stream.score.unknown) == (whole.tokens, whole.letters, whole.unknown)
    assert answer.probabilities.sum() == pytest.approx(1.0)
    assert [p for _, p in answer.best(3)] == sorted(answer.probabilities[1:], reverse=True)[:3]
    after = language.stream().push("tick toc")
    assert after.best(1)[0][0] == "".join(language.generate("tick toc", 1, temperature=0))


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize(("units", "between"), [("word", " "), ("char", "")])
def test_a_text_followed_piece_by_piece_is_sorted_as_the_whole(pooling: str, units: str, between: str) -> None:
    model = classifier(pooling=pooling, units=units, ensemble=2, max_tokens=9)
    stream, said = model.stream(), []
    assert stream.copy().push("").probabilities == pytest.approx(model.predict_proba("")[0], abs=0)
    for piece in ["a", "fine", "film", ",", "but", "dull", "acting", "all", "the", "way", "through"]:
        said.append(piece)
        answer = stream.push(piece)
        wanted = model.predict_proba([between.join(said)])[0]
        np.testing.assert_array_equal(answer.probabilities, wanted)
        assert answer.label == model.predict(between.join(said))


def test_nets_that_read_the_future_say_what_to_train_instead() -> None:
    with pytest.raises(tg.TaskError, match="bidirectional=False"):
        classifier(bidirectional=True).stream()
    with pytest.raises(tg.TaskError, match="pooling='last', 'mean' or 'max'"):
        classifier(pooling="attention").stream()
    translator = tg.Translator(units="char", hidden_size=8, embedding_dim=4, steps=2)
    translator.fit((["ab", "cd"] * 9, ["ba", "dc"] * 9), progress=False)
    with pytest.raises(tg.TaskError, match="'translate' reads the whole"):
        translator.stream()


@pytest.mark.parametrize("name", NAMES)
def test_many_streams_at_once_are_each_alone(models: dict[str, Any], name: str) -> None:
    _, samples = streamed(models, name)
    many, alone = ([streamed(models, name)[0] for _ in range(4)] for _ in range(2))
    rng = np.random.default_rng(0)
    for _ in range(5):
        mix, own = rng.permutation(4)[: rng.integers(0, 5)].tolist(), rng.integers(len(samples), size=4)
        answers = models[name].step_many([many[k] for k in mix], [samples[own[k]] for k in mix])
        for k, answer in zip(mix, answers, strict=True):
            assert same(answer, alone[k].push(samples[own[k]]))
    assert [stream.snapshot() for stream in many] == [stream.snapshot() for stream in alone]
    with pytest.raises(tg.ConfigError, match="twice"):
        models[name].step_many([many[0], many[0]], samples[:2])
    with pytest.raises(tg.ConfigError, match="one for each"):
        models[name].step_many(many, samples[:1])
    other = "classify" if name == "plain" else "plain"
    with pytest.raises(tg.ConfigError, match="of this model"):
        models[name].step_many([streamed(models, other)[0]], samples[:1])


def test_many_texts_at_once_are_foreseen_as_each_alone(language: tg.LanguageModel) -> None:
    pieces = ["tick", " tock, tick", "", "?", "ock ~~ tick"]
    many, alone = ([language.stream() for _ in range(20)] for _ in range(2))
    rng = np.random.default_rng(0)
    for _ in range(5):
        own = rng.integers(len(pieces), size=20)
        answers = language.step_many(many, [pieces[k] for k in own])
        assert all(same(answer, stream.push(pieces[k])) for answer, stream, k in zip(answers, alone, own, strict=True))
    assert [stream.score for stream in many] == [stream.score for stream in alone]
    assert [stream.snapshot() for stream in many] == [stream.snapshot() for stream in alone]


def test_a_rejected_piece_steps_none_of_the_streams(language: tg.LanguageModel) -> None:
    first, second, holding = language.stream(), language.stream(), language.stream(on_bad="hold")
    before = first.snapshot()
    with pytest.raises(tg.DataError, match="untouched"):
        language.step_many([first, second], ["tick", "a\0"])
    assert first.snapshot() == second.snapshot() == before
    answers = language.step_many([first, holding], ["tick", "a\0"])
    assert holding.snapshot() == before
    assert same(answers[0], second.push("tick"))


@pytest.mark.parametrize("units", ["word", "char"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_many_texts_at_once_are_sorted_as_each_alone(pooling: str, units: str, cell: str) -> None:
    """Texts of several lengths, joining late, some full, some held; two nets, with n-grams and without."""
    pieces = ["a fine", "film", "", ", but dull acting all the way through", "dull", "fine " * 9, "a\0b"]
    for ngrams in (True, False):
        model = classifier(pooling=pooling, units=units, cell=cell, ensemble=2, max_tokens=9, num_layers=2, ngrams=ngrams)
        many, alone = ([model.stream(on_bad=p) for p in ("hold", "reset") * 4] for _ in range(2))
        rng = np.random.default_rng(0)
        for _ in range(6):
            mix, own = rng.permutation(8)[: rng.integers(0, 9)].tolist(), rng.integers(len(pieces), size=8)
            answers = model.step_many([many[k] for k in mix], [pieces[own[k]] for k in mix])
            for k, answer in zip(mix, answers, strict=True):
                assert same(answer, alone[k].push(pieces[own[k]]))
        assert [stream.snapshot() for stream in many] == [stream.snapshot() for stream in alone]
        assert [stream.steps for stream in many] == [stream.steps for stream in alone]
        strict = model.stream()
        before = [stream.snapshot() for stream in (*many, strict)]
        with pytest.raises(tg.DataError, match="untouched"):
            model.step_many([*many, strict], ["a film"] * 8 + ["a\0"])
        assert [stream.snapshot() for stream in (*many, strict)] == before


def network_of(kind: str) -> tuple[Any, np.random.Generator]:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    read = torch.nn.GRU(3, 4, 2, batch_first=True) if kind != "lstm" else torch.nn.LSTM(3, 4, 2, batch_first=True)
    vectors, out = torch.nn.Embedding(9, 3), torch.nn.Linear(4, 2)
    parts = [vectors, read, out] if kind == "codes" else [read, out]
    module = torch.nn.Module()
    for index, part in enumerate(parts):
        module.add_module(f"part{index}", part)
    return tg.from_torch(module, pool="mean" if kind == "pooled" else None), np.random.default_rng(0)


@pytest.mark.parametrize("kind", ["codes", "numbers", "lstm", "pooled"])
def test_many_streams_of_a_network_are_each_alone(kind: str) -> None:
    network, rng = network_of(kind)
    many, alone = ([network.stream(on_bad=p) for p in ("hold", "reset") * 10] for _ in range(2))
    for _ in range(6):
        x: Any = rng.integers(0, 9, 20).tolist() if kind == "codes" else list(rng.normal(size=(20, 3)).astype(np.float32))
        x[3] = x[4] = 9 if kind == "codes" else [0.0, np.nan, 0.0]
        mix = rng.permutation(20)[: rng.integers(0, 21)].tolist()
        answers = network.step_many([many[k] for k in mix], [x[k] for k in mix])
        for k, answer in zip(mix, answers, strict=True):
            np.testing.assert_array_equal(answer, alone[k].push(x[k]))
    assert [stream.snapshot() for stream in many] == [stream.snapshot() for stream in alone]
    assert [stream.steps for stream in many] == [stream.steps for stream in alone]
    strict = network.stream()
    before = [stream.snapshot() for stream in (*many, strict)]
    for bad in (x[3], object()):
        with pytest.raises(tg.DataError, match="untouched"):
            network.step_many([many[0], strict], [x[0], bad])
    assert [stream.snapshot() for stream in (*many, strict)] == before


@pytest.mark.parametrize("kind", ["codes", "numbers", "pooled"])
def test_a_network_of_torch_is_followed(kind: str) -> None:
    network, rng = network_of(kind)
    x = rng.integers(0, 9, 6) if kind == "codes" else rng.normal(size=(6, 3)).astype(np.float32)
    whole, stream = network.run(x[None]).y[0], network.stream()
    for t in range(6):
        wanted = network.run(x[None, : t + 1]).y[0] if kind == "pooled" else whole[t]
        before = stream.snapshot()
        again = network.stream(state=before)
        np.testing.assert_array_equal(stream.push(x[t]), wanted)
        np.testing.assert_array_equal(again.push(x[t]), wanted)
    before = stream.snapshot()
    for bad in (np.nan, [1.0, 2.0], "a", 9 if kind == "codes" else [np.inf, 0, 0], None):
        with pytest.raises(tg.DataError, match="untouched"):
            stream.push(bad)
    assert stream.snapshot() == before


def test_copies_by_python_are_copies(language: tg.LanguageModel) -> None:
    stream = language.stream()
    stream.push("tick")
    before = stream.snapshot()
    for made in (copy.copy(stream), copy.deepcopy(stream)):
        made.push(" tock")
        assert stream.snapshot() == before
        assert same(made.copy().push("x"), made.push("x"))


def test_a_snapshot_that_does_not_fit_leaves_the_stream_as_it_was() -> None:
    stream = classifier().stream()
    stream.push("a fine")
    before = stream.snapshot()
    bad = stream._schema().pack(stream._model_hash(), 1, {**stream._held(), "read": np.array([-5])})
    with pytest.raises(tg.FormatError, match="fit together"):
        stream.restore(bad)
    assert stream.snapshot() == before
    stream.restore(before)
    assert stream.snapshot() == before


def test_what_could_not_be_read_is_not_written(tagger: tg.Tagger) -> None:
    stream = tagger.stream(2)
    stream.push("x" * 5_000_000)
    with pytest.raises(tg.ShapeError, match="at most"):
        stream.snapshot()


@pytest.mark.parametrize("units", ["byte", "word", "char"])
def test_letters_are_counted_as_in_a_score(units: str) -> None:
    model = tg.LanguageModel(units=units, hidden_size=8, steps=5, batch_size=2, window=8)
    model.fit(["tick tock é, 1.5\n" * 60], progress=False)
    stream = model.stream()
    stream.push("tick é 1.5 zzz")
    whole = model.score("tick é 1.5 zzz")
    assert (stream.score.letters, stream.score.tokens, stream.score.unknown) == (whole.letters, whole.tokens, whole.unknown)


def test_huge_numbers_are_refused(forecasters: dict[str, tg.Forecaster]) -> None:
    with pytest.raises(tg.DataError, match="untouched"):
        forecasters["window"].stream("0").push(10**400)


def test_texts_in_a_snapshot_come_back() -> None:
    for texts in ([], ["a"], ["", "né", "\U0001f600"]):
        assert unpacked_texts(packed_texts(texts)) == texts
    with pytest.raises(ValueError, match="closed"):
        unpacked_texts(np.frombuffer(b"ab", np.uint8))
