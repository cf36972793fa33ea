"""Fitted models as ONNX: codes made from the file's metadata alone, ONNX Runtime's answers against those of `predict`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import tidegate as tg
from tidegate.data.lines import Cut, Lines
from tidegate.models.to_onnx import to_onnx
from tidegate.tasks.forecast_windows import FrontEnd

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
TEXTS = ["a fine film", "a dull film", "fine acting", "dull acting"] * 10
LABELS = ["good", "bad"] * 20
ASKED = ["A fine story!", "dull", "", "don't, don’t 3.14 __ DULL-film", "a fine dull acting film a fine dull acting film"]
SENTENCES = [
    (["John", "lives", "in", "Paris"], ["B-PER", "O", "O", "B-LOC"]),
    (["he", "saw", "New", "York"], ["O", "O", "B-LOC", "I-LOC"]),
] * 10
PAIRS = [("a b c", "c b a"), ("b c", "c b"), ("d a", "a d")] * 10


class Running:
    """A session, its tables, and what it answers."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.about = {n: json.loads(v) for n, v in self.session.get_modelmeta().custom_metadata_map.items()}
        self.inputs = {i.name: i.shape for i in self.session.get_inputs()}

    def __call__(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = len(next(iter(feeds.values())))
        states = {
            n: np.zeros([d if isinstance(d, int) else rows for d in s], "f") for n, s in self.inputs.items() if "state." in n
        }
        names = [o.name for o in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, states | feeds), strict=True))

    def codes(self, texts: list[list[str]], prefix: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Tokens -> (B, T, 1) codes and (B,) lengths, by the table in the file."""
        place = {token: k + 1 for k, token in enumerate(self.about[f"{prefix}tokens"])}
        lengths = np.array([len(text) for text in texts])
        codes = np.zeros((len(texts), max(1, lengths.max()), 1), np.int64)
        for row, text in enumerate(texts):
            codes[row, : len(text), 0] = [place.get(token, 0) for token in text]
        return codes, lengths


@pytest.mark.parametrize(
    "options",
    [{}, {"cell": "gru", "bidirectional": False, "ensemble": 2}, {"units": "char", "pooling": "attention"}, {"cell": "rnn"}],
    ids=["lstm", "two gru", "characters", "rnn"],
)
def test_a_classifier(options: dict[str, object], tmp_path: Path) -> None:
    model = tg.Classifier(hidden_size=8, epochs=4, ngrams=False, **options).fit((TEXTS, LABELS), progress=False)
    (path,), apart = to_onnx(model, tmp_path / "reviews.onnx")
    assert 0 < apart < 1e-5
    running = Running(path)
    pattern = running.about.get("pattern", ".")  # of characters each is a token
    cut = [[token.lower() for token in re.findall(pattern, text)] for text in ASKED]
    codes, lengths = running.codes(cut)
    found = running({"tokens": codes, "lengths": lengths})
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(ASKED), atol=1e-5)
    assert found["label"].tolist() == model.predict(ASKED)
    assert tuple(running.about["classes"]) == model.classes
    assert any(name.endswith("state.read.h") for name in running.inputs) == (options.get("bidirectional") is False)


def test_n_grams_are_refused_by_name(tmp_path: Path) -> None:
    model = tg.Classifier(hidden_size=8, epochs=4).fit((TEXTS, LABELS), progress=False)
    assert model._ready().linear.share > 0
    with pytest.raises(tg.TaskError, match=r"ngrams: expected nets alone.*fit the model with ngrams=False"):
        to_onnx(model, tmp_path / "reviews.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_writes_the_same_text(tied: bool, tmp_path: Path) -> None:
    options = {"hidden_size": 32, "steps": 200, "batch_size": 8, "window": 16, "tied": tied}
    model = tg.LanguageModel(**options).fit(["tick tock " * 400], progress=False)
    (path,), _ = to_onnx(model, tmp_path / "clock.onnx")
    running, tokens, state = Running(path), [], dict[str, np.ndarray]()
    cool = {"temperature": np.ones(1, "f")}
    codes = np.concatenate([np.zeros((1, 1, 1), np.int64), running.codes([list("tick")])[0]], 1)  # code 0 begins a text
    for _ in range(12):
        found = running({"tokens": codes, "lengths": np.array([codes.shape[1]]), **cool, **state})
        state = {f"state.{n.removeprefix('next.')}": v for n, v in found.items() if n.startswith("next.")}
        codes = found["probabilities"][:, -1:].argmax(-1)[..., None]
        tokens.append(running.about["tokens"][codes[0, 0, 0] - 1])
    assert "".join(tokens) == "".join(model.generate("tick", length=12, temperature=0))
    assert {"t", "i", "k", " "} <= set(tokens)


def test_a_language_model_of_both_sides_becomes_two_files(tmp_path: Path) -> None:
    options = {"hidden_size": 16, "steps": 30, "batch_size": 8, "window": 16, "direction": "both", "units": "word"}
    model = tg.LanguageModel(**options).fit(["the clock says tick and tock and " * 100], progress=False)
    left, both = map(Running, to_onnx(model, tmp_path / "fill.onnx").paths)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fill.both.onnx", "fill.left.onnx"]
    words = ["the", "clock", "says", "and", "tock"]
    codes, _ = both.codes([words])
    read = np.concatenate([np.zeros((1, 1, 1), np.int64), codes], 1)
    wanted = model._ready().both.run({"tokens": read}).outputs["both"]
    np.testing.assert_allclose(both({"tokens": read, "lengths": np.array([6])})["both"], wanted, atol=1e-5)
    assert "both" not in {o.name for o in left.session.get_outputs()}


def test_a_tagger(tmp_path: Path) -> None:
    model = tg.Tagger(hidden_size=8, steps=20, ensemble=2).fit(SENTENCES, progress=False)
    (path,), _ = to_onnx(model, tmp_path / "names.onnx")
    running, words = Running(path), ["Mary", "lives", "in", "New", "York"]
    codes, lengths = running.codes([[w.lower() if running.about["words.lower"] else w for w in words]], "words.")
    letters, spans = running.codes([list(word) for word in words], "letters.")
    feeds = {"words": codes, "words.lengths": lengths, "letters": letters, "letters.lengths": spans}
    found = running({**feeds, "spelt": np.arange(5)[None, :, None]})
    core = model._ready()
    (wanted,) = core.scores(core.encode([words]))
    np.testing.assert_allclose(found["scores"], wanted.tags, atol=1e-5)
    chain = (np.array(running.about[name]) for name in ("transitions", "start", "end"))
    path_of = best_path(np.asarray(found["scores"][0], np.float64), *chain)
    assert [running.about["tags"][k] for k in path_of] == model.predict([words])[0]


def best_path(scores: np.ndarray, transitions: np.ndarray, start: np.ndarray, end: np.ndarray) -> list[int]:
    """Viterbi, written once more, from what stands in the metadata."""
    held, back = scores[0] + start, []
    for row in scores[1:]:
        into = held[:, None] + transitions
        back.append(into.argmax(0))
        held = into.max(0) + row
    found = [int((held + end).argmax())]
    for row in reversed(back):
        found.append(int(row[found[-1]]))
    return found[::-1]


def test_a_tagger_with_labels_of_sentences_and_no_letters(tmp_path: Path) -> None:
    labels = ["travel", "sight"] * 10
    model = tg.Tagger(hidden_size=8, steps=20, letters=False, bidirectional=False, ensemble=2)
    model.fit(SENTENCES, sentence_labels=labels, progress=False)
    (path,), _ = to_onnx(model, tmp_path / "intents.onnx")
    running, words = Running(path), ["he", "saw", "Paris"]
    codes, lengths = running.codes([[w.lower() if running.about["words.lower"] else w for w in words]], "words.")
    found = running({"words": codes, "lengths": lengths})
    core = model._ready()
    (scores,) = core.scores(core.encode([words]))
    np.testing.assert_allclose(found["label_probabilities"], core.label_probabilities(scores), atol=1e-5)
    assert found["sentence_label"][0] in ("sight", "travel")
    assert {n for n in running.inputs if "state" in n} == {f"net{k}.state.read.{n}" for k in (0, 1) for n in "hc"}


@pytest.mark.parametrize(
    "options",
    [{}, {"ensemble": 2, "input_feeding": True}, {"attention": "none", "cell": "gru", "shared": True}, {"num_layers": 2}],
    ids=["attention", "two nets, fed", "one vector", "two layers"],
)
def test_a_translator_becomes_an_encoder_and_a_decoder(options: dict[str, object], tmp_path: Path) -> None:
    model = tg.Translator(units="word", hidden_size=16, embedding_dim=12, steps=60, **options).fit(PAIRS, progress=False)
    encoder, decoder = map(Running, to_onnx(model, tmp_path / "turn.onnx").paths)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["turn.decoder.onnx", "turn.encoder.onnx"]
    for source in ("a b c", "d a", "b b a c"):
        codes, lengths = encoder.codes([source.split()], "source.")
        assert " ".join(translated(encoder, decoder, codes, lengths)) == model.translate(source, beam=1)


def translated(encoder: Running, decoder: Running, codes: np.ndarray, lengths: np.ndarray) -> list[str]:
    """Greedy search by the two graphs."""
    held = encoder({"source": codes, "lengths": lengths})
    feeds = {name: held[name] for name in decoder.inputs if name in held}
    feeds |= {"lengths": lengths} if "lengths" in decoder.inputs else {}
    feeds |= {name: np.zeros((1, decoder.inputs[name][1]), "f") for name in decoder.inputs if name.endswith("feed")}
    last, found = decoder.about["end"], []
    for _ in range(min(2 * int(lengths[0]) + 20, max(decoder.about["longest"] + 20, int(lengths[0])))):
        out = decoder({"previous": np.array([[[last]]]), **feeds})
        last = int(out["log_probabilities"][0, -1].argmax())
        if last == decoder.about["end"]:
            break
        found.append(decoder.about["target.tokens"][last - 1])
        feeds |= {name.replace("next_start", "start"): v for name, v in out.items() if name.endswith("next_start")}
        feeds |= {name.replace("readout", "feed"): v[:, 0] for name, v in out.items() if name.endswith("readout")}
    return found


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(tg.TaskError, match="not fitted yet"):
        to_onnx(tg.Classifier(), tmp_path / "m.onnx")
    model = tg.LanguageModel(hidden_size=8, steps=5, batch_size=8, window=16).fit(["tick tock " * 40], progress=False)
    with pytest.raises(tg.TaskError, match=r"model: expected a model of Tidegate, got str"):
        to_onnx("m.safetensors", tmp_path / "m.onnx")
    with pytest.raises(tg.OutputError, match="the folder does not exist"):
        to_onnx(model, tmp_path / "none" / "m.onnx")
    assert list(tmp_path.iterdir()) == []


SAME = {"atol": 4e-5, "rtol": 1e-5}  # of values with a deviation of about 4


def wave(steps: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 10 + 4 * np.sin(2 * np.pi * np.arange(steps) / 12) + rng.normal(size=steps)


def last(values: np.ndarray, running: Running) -> np.ndarray:
    return values[None, -running.inputs["values"][1] :]


@pytest.mark.parametrize(
    "options",
    [{}, {"output": "gaussian", "lower": 7.0, "ensemble": 2}, {"output": "point", "cell": "rnn"},
     {"num_layers": 2, "cell": "lstm", "calibrate": False, "identity": False}, {"quantiles": (0.3, 0.5, 0.9), "segment": 4}],
    ids=["quantiles", "two gaussian", "point", "two layers", "few quantiles"],
)  # fmt: skip
def test_a_forecaster_reads_raw_values(options: dict[str, object], tmp_path: Path) -> None:
    """The last values of a series, one of them missing, against `predict` on the same series."""
    model = tg.Forecaster(horizon=6, season=12, steps=30, hidden_size=8, batch_size=32, **options)
    model.fit([wave(160), wave(120, 1), wave(140, 2)])
    (path,), _ = to_onnx(model, tmp_path / "waves.onnx")
    running, asked = Running(path), wave(150, 7)
    asked[-5] = np.nan
    found = running({"values": last(asked, running)} | _lines(running, 1))
    table = model.predict([asked])
    np.testing.assert_allclose(found["forecast"][0], table["forecast"], **SAME)
    for k, level in enumerate(running.about["levels"]):
        np.testing.assert_allclose(found["lo"][0, :, k], table[f"forecast-lo-{level:g}"], **SAME)
        np.testing.assert_allclose(found["hi"][0, :, k], table[f"forecast-hi-{level:g}"], **SAME)
    assert running.about["levels"] == ([] if options.get("output") == "point" else [80.0, 95.0])
    many = running({n: np.repeat(v, 3, axis=0) for n, v in {"values": last(asked, running)}.items()} | _lines(running, 3))
    np.testing.assert_allclose(many["forecast"], np.repeat(found["forecast"], 3, axis=0), rtol=1e-6)


def _lines(running: Running, rows: int) -> dict[str, np.ndarray]:
    return {"line": np.zeros((rows, 1), np.int64)} if "line" in running.inputs else {}


def test_scales_of_any_size_and_a_window_without_values(tmp_path: Path) -> None:
    model = tg.Forecaster(horizon=6, season=12, steps=30, hidden_size=8, batch_size=32).fit([wave(160)])
    running = Running(to_onnx(model, tmp_path / "waves.onnx").paths[0])
    base = last(wave(150, 7), running)
    once = running({"values": base} | _lines(running, 1))
    for factor in (1e-300, 1e-3, 1e12, 1e290):
        found = running({"values": factor * base} | _lines(running, 1))
        np.testing.assert_allclose(found["hi"] / factor, once["hi"], rtol=1e-5)
    constant = running({"values": np.full_like(base, 3.25)} | _lines(running, 1))
    np.testing.assert_allclose(constant["forecast"], 3.25, rtol=1e-4)
    nothing = running({"values": np.full_like(base, np.nan)} | _lines(running, 1))
    assert np.isnan(nothing["forecast"]).all()


def test_covariates_and_calendar_come_prepared(tmp_path: Path) -> None:
    """Hourly shops with a promotion that is known ahead and a static column; the channels are those of the front end."""
    rng, start = np.random.default_rng(0), np.datetime64("2024-01-01T00", "ns")
    when = start + np.arange(400) * np.timedelta64(1, "h")
    table = {
        "shop": np.repeat(np.array(["a", "b"], object), 400), "when": np.concatenate([when, when]),
        "sales": np.concatenate([wave(400), wave(400, 1)]), "promo": rng.integers(0, 2, 800).astype(float),
        "wind": rng.normal(size=800), "kind": np.repeat(np.array(["x", "y"], object), 400),
    }  # fmt: skip
    model = tg.Forecaster(horizon=6, steps=20, hidden_size=8, batch_size=32, identity=True)
    model.fit(table, target="sales", time="when", id="shop", past="wind", future="promo", static="kind")
    running = Running(to_onnx(model, tmp_path / "shops.onnx").paths[0])
    core, panel = model._ready().core, model._like_fit(tg.read_table(table))
    lines, cut = Lines(panel), Cut(np.array([0, 1]), np.array([390, 380]))
    inputs = FrontEnd(core.plan, lines, ids=core.ids).windows(cut).inputs
    count, bases = running.inputs["values"][1], len(core.plan.bases)
    feeds = {"values": lines.values(cut, -count, count), **{n: inputs[n] for n in ("past_calendar", "future_calendar", "line")}}
    more = (("past_covariates", inputs["past"][..., 2:]), ("future_covariates", inputs["future"][..., 2 * bases :]))
    found = running({**feeds, **dict(more), "static_covariates": inputs["static"][:, 2:]})
    wanted = core.forecasts(lines, cut, (80.0, 95.0))
    np.testing.assert_allclose(found["forecast"], wanted.point, rtol=1e-5)
    np.testing.assert_allclose(found["hi"][..., 1], wanted.hi[95.0], rtol=1e-5)
    assert running.about["series"] == ["a", "b"]
    assert running.about["calendar"][:2] == ["sin hour of day", "cos hour of day"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"decode": "recursive"}, r"decode: expected 'direct'.*got 'recursive'"),
        ({"scaling": "running"}, r"scaling: expected 'window'.*got 'running'"),
        ({"output": "student_t"}, r"output: expected quantile, gaussian or point, got 'student_t'"),
        ({"output": "negative_binomial"}, r"output: expected quantile, gaussian or point, got 'negative_binomial'"),
    ],
)
def test_forecasters_that_onnx_cannot_hold(options: dict[str, object], match: str, tmp_path: Path) -> None:
    model = tg.Forecaster(horizon=3, season=12, steps=3, hidden_size=4, batch_size=8, **options).fit([np.round(wave(120))])
    with pytest.raises(tg.TaskError, match=match):
        to_onnx(model, tmp_path / "waves.onnx")
    assert list(tmp_path.iterdir()) == []
