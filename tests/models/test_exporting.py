"""Models as C: the answers of the compiled header beside those of the model, letter by letter; what is refused."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tidegate as tg
from tidegate.data.vocabulary import learn
from tidegate.export.c import header
from tidegate.export.c.tables import letters
from tidegate.models.exporting import deployed

TEXTS = ["Ein Äpfel — schön", "a dull FILM", "ÉTÉ naïve œuvre", "plain words here"] * 12
LABELS = ["german", "english", "french", "english"] * 12
SMALL = {"units": "char", "bidirectional": False, "ngrams": False, "hidden_size": 9, "embedding_dim": 6, "steps": 30}

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="not installed: gcc")


@pytest.fixture(scope="module", params=["last", "max", "mean"])
def classifier(request: pytest.FixtureRequest) -> tg.Classifier:
    model = tg.Classifier(pooling=request.param, cell="gru" if request.param == "max" else "lstm", **SMALL)
    return model.fit((TEXTS, LABELS), progress=False)


@pytest.fixture(scope="module", params=["char", "byte"])
def language_model(request: pytest.FixtureRequest) -> tg.LanguageModel:
    options = {"hidden_size": 12, "embedding_dim": 8, "num_layers": 2, "batch_size": 4, "window": 12, "steps": 60}
    model = tg.LanguageModel(units=request.param, tied=request.param == "char", **options)
    return model.fit(["schön — naïve tick tock. " * 60], progress=False)


def compiled(model: tg.Model, folder: Path) -> ctypes.CDLL:
    """An exported model as a shared library: begin, code_of, and push, which writes best and the named numbers."""
    made = model.export(folder / "m.h")
    assert made.proved
    numbers = "p" if isinstance(model, tg.Classifier) else "logits"
    (folder / "library.c").write_text(
        '#include "m.h"\nstatic m_state s;\nm_answer a;\nint begin(void) { return m_init(&s); }\n'
        "int32_t code_of(uint32_t letter) { return m_code_of(letter); }\n"
        f"int push(int32_t code, float *to) {{\n  const int status = m_step(&s, code, &a);\n"
        f"  if (status) return status;\n  memcpy(to, a.{numbers}, sizeof a.{numbers});\n  return a.best;\n}}\n",
        encoding="utf-8",
    )
    command = ["gcc", "-std=c99", "-O2", "-include", "string.h", "-shared", "-fPIC", "library.c", "-o", "library.so"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "library.so"))


@needs_gcc
def test_a_classifier_answers_after_every_letter_as_predict_does(classifier: tg.Classifier, tmp_path: Path) -> None:
    own = compiled(classifier, tmp_path)
    text = "Une ÉTÉ schön — FILM\u0130 zzz \U0001f600"
    wanted = classifier.predict_proba([text[:k] for k in range(1, len(text) + 1)])
    p = np.zeros(len(classifier.classes), np.float32)
    own.begin()
    for letter, row in zip(text, wanted, strict=True):
        best = own.push(own.code_of(ord(letter)), p.ctypes.data_as(ctypes.c_void_p))
        np.testing.assert_allclose(p, row, atol=5e-6, rtol=0)
        assert best == row.argmax()


@needs_gcc
def test_a_language_model_goes_on_as_generate_does(language_model: tg.LanguageModel, tmp_path: Path) -> None:
    own = compiled(language_model, tmp_path)
    tokenizer = language_model._ready().tokenizer
    prompt, length = "schön", 24
    logits = np.zeros(tokenizer.size, np.float32)
    own.begin()
    best = own.push(0, logits.ctypes.data_as(ctypes.c_void_p))
    units = [ord(c) for c in prompt] if tokenizer.units == "char" else list(prompt.encode())
    for unit in units:
        best = own.push(own.code_of(unit), logits.ctypes.data_as(ctypes.c_void_p))
    written = []
    for _ in range(length):
        written.append(best)
        best = own.push(best, logits.ctypes.data_as(ctypes.c_void_p))
    said = "".join(language_model.generate(prompt, length, temperature=0))
    assert b"".join(map(tokenizer.bytes_of, written)).decode(errors="replace") == said


def test_letters_are_the_vocabularys() -> None:
    """Every letter that the tokenizer knows, capitals too where it lower-cases, and no other."""
    for lower in (False, True):
        tokenizer, _ = learn(["Äpfel İ straße ΣΑΣ \U0001f600"], "char", lower=lower, size=100)
        found = dict(letters(tokenizer))
        for point in [*range(0x3000), 0x1E9E, 0x212A, 0x1F600, 0x10FFFF]:
            assert found.get(point, 0) == tokenizer.encode([chr(point)])[0][0], hex(point)
    tokenizer, _ = learn(["aK"], "char", lower=True, size=100)
    assert dict(letters(tokenizer))[0x212A] == tokenizer.encode(["k"])[0][0]  # the Kelvin sign


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bidirectional": True}, "bidirectional=False"),
        ({"units": "word"}, "units='char' or 'byte'"),
        ({"units": "byte"}, "lower=False"),
        ({"pooling": "attention"}, "pooling 'last', 'max' or 'mean'"),
        ({"ensemble": 2}, "ensemble=1"),
        ({"ngrams": True}, "ngrams=False"),
    ],
)
def test_what_a_device_cannot_do_is_refused(options: dict[str, object], said: str, tmp_path: Path) -> None:
    model = tg.Classifier(**{**SMALL, "steps": 5, **options}).fit((TEXTS, LABELS), progress=False)
    if options.get("ngrams"):  # the held-back texts say how heavy they are; here they are
        core = model._ready()
        object.__setattr__(core.linear, "share", 1.0)
    with pytest.raises(tg.TaskError, match=said):
        model.export(tmp_path / "m.h")
    assert not (tmp_path / "m.h").exists()


def test_other_models_and_forms_are_refused(fitted: tg.Forecaster, tmp_path: Path) -> None:
    with pytest.raises(tg.TaskError, match="expected a forecaster, a classifier, a language model or a network"):
        tg.Tagger().export(tmp_path / "m.h")
    with pytest.raises(tg.ConfigError, match="to: expected"):
        fitted.export(tmp_path / "m.h", to="cobol")
    with pytest.raises(tg.TaskError, match="not fitted"):
        tg.Classifier().export(tmp_path / "m.h")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_where_the_proof_fails(
    classifier: tg.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.h").write_text("old", encoding="utf-8")
    monkeypatch.setenv("CC", "false")
    with pytest.raises(tg.TidegateError, match="nothing was written"):
        classifier.export(tmp_path / "m.h")
    assert (tmp_path / "m.h").read_text(encoding="utf-8") == "old"


def test_without_a_compiler_it_is_written_and_said(
    classifier: tg.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    made = classifier.export(tmp_path / "9 lives.h")
    assert not made.proved
    assert "not proved" in made.said[0]
    assert "m_9_lives_step" in (tmp_path / "9 lives.h").read_text(encoding="utf-8")


def test_a_classifier_without_texts_is_what_it_says(classifier: tg.Classifier) -> None:
    own = deployed(classifier)
    assert own.classes == classifier.classes
    assert own.longest == classifier.options.max_tokens


def test_torch_need_not_be_there(classifier: tg.Classifier, tmp_path: Path) -> None:
    classifier.save(tmp_path / "m.safetensors")
    code = (
        "import sys\nsys.modules['torch'] = None\nimport tidegate as tg\n"
        f"tg.load({str(tmp_path / 'm.safetensors')!r}).export({str(tmp_path / 'm.h')!r})\n"
    )
    source = Path(tg.__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(source)})
    assert (tmp_path / "m.h").is_file()


@pytest.mark.parametrize("scaling", ["window", "running"])
def test_a_forecaster_is_exported_as_it_was_trained(scaling: str, tmp_path: Path) -> None:
    """Fitted, saved and loaded; the golden rows are what a stream of it gives."""
    rows = [10 + 4 * np.sin(np.arange(150) / 2) + np.random.default_rng(k).normal(size=150) for k in range(2)]
    model = tg.Forecaster(horizon=5, season=6, scaling=scaling, hidden_size=6, steps=20, batch_size=16, identity=True)
    model.fit(rows, progress=False).save(tmp_path / "m.safetensors")
    made = tg.load(tmp_path / "m.safetensors").export(tmp_path / "m.h")
    assert made.proved or shutil.which("cc") is None
    assert "m_HORIZON 5" in (tmp_path / "m.h").read_text(encoding="utf-8")
    own = deployed(model)
    assert own.followed is not None
    vectors = header(own, "m").vectors
    stream = model.stream(on_bad="hold")
    for place, row in enumerate(vectors.inputs):
        answer = stream.push(row)
        if place in vectors.at:
            wanted = vectors.outputs[vectors.at.index(place)]
            np.testing.assert_array_equal(wanted[:5], answer.forecast[0].astype(np.float32))
            np.testing.assert_array_equal(wanted[-5:], answer.hi[95.0][0].astype(np.float32))


def test_a_forecaster_of_several_nets_is_refused(tmp_path: Path) -> None:
    model = tg.Forecaster(horizon=2, season=4, ensemble=2, hidden_size=4, steps=4, batch_size=8)
    model.fit([np.sin(np.arange(60) / 3)], progress=False)
    with pytest.raises(tg.TaskError, match="ensemble=1"):
        model.export(tmp_path / "m.h")
