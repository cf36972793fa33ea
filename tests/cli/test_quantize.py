"""`tidegate quantize`: every task from file to file, what is said, the limit, and flags and files that do not fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tidegate as tg
from tests.cli.conftest import Cli, csv

TEXTS = {"units": "char", "bidirectional": False, "ngrams": False, "hidden_size": 16, "epochs": 8}
ROWS = [("a fine film", "good"), ("a dull film", "bad"), ("fine acting", "good"), ("dull acting", "bad")] * 6
SAID = r"int8: [\w ]+ [\d.]+ where float32 has [\d.]+ on the data given, a loss of -?[\d.]+ % \(limit [\d.]+ %\)\."


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier and what it is scored on."""
    place = tmp_path_factory.mktemp("reviews")
    (place / "test.csv").write_text("review,stars\n" + "".join(f"{text},{label}\n" for text, label in ROWS))
    texts, labels = (list(side) for side in zip(*ROWS, strict=True))
    tg.Classifier(**TEXTS).fit((texts, labels), progress=False).save(place / "m.safetensors")
    return place


def told(out: str, path: Path) -> None:
    """What was lost, both sizes, what was written."""
    assert re.search(SAID, re.sub(r"\s+", " ", out))  # lines are wrapped
    sizes = re.search(r": ([\d,]+) bytes; in 8 bits ([\d,]+), (\d+) % of it", out)
    assert sizes is not None
    before, after = (int(size.replace(",", "")) for size in sizes.groups()[:2])
    assert path.stat().st_size == after < before
    assert out.endswith(f"wrote {path}\n")


def test_a_classifier(reviews: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "m8.safetensors"
    words = ["--data", reviews / "test.csv", "--text", "review", "--label", "stars"]
    done = cli("quantize", reviews / "m.safetensors", *words, "-o", out)
    assert done.status == 0
    told(done.out, out)
    assert "int8" in tg.load(out).card
    about = cli("info", out).out
    assert re.search(r"1, [\d,]+ bytes of weights in 8 bits \(1\.\d\d bytes a weight, scales and biases with them\)", about)
    assert "where float32 has" in about
    assert "in 8 bits" not in cli("info", reviews / "m.safetensors").out
    again = cli("quantize", out, *words, "-o", tmp_path / "twice.safetensors")
    assert (again.status, "in 8 bits already" in again.err) == (2, True)
    assert not (tmp_path / "twice.safetensors").exists()


def test_a_forecaster(model: Path, data: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "m8.safetensors"
    done = cli("quantize", model, "--data", data, "--windows", 3, "--step", 2, "--limit", "5%", "-o", out)
    assert done.status == 0, done.err
    told(done.out, out)
    assert "(limit 5 %)" in done.out
    assert cli("predict", out).status == 0
    assert "in 8 bits" in cli("info", out).out


def test_a_language_model(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "dev.txt").write_text("tick tock, tack.\n" * 20)
    m, out = tmp_path / "m.safetensors", tmp_path / "m8.safetensors"
    options = {"hidden_size": 16, "steps": 100, "batch_size": 4, "window": 16}
    tg.LanguageModel(**options).fit(["tick tock, tack. " * 60], progress=False).save(m)
    for more in ([], ["--reset"]):
        done = cli("quantize", m, "--data", tmp_path / "dev.txt", *more, "-o", out)
        assert done.status == 0, done.err
        told(done.out, out)
        assert "int8: nats a token" in done.out


def test_a_tagger(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "dev.conll").write_text("the D\ncat N\nsat V\n\na D\ndog N\nran V\n\n" * 10)
    m, out = tmp_path / "m.safetensors", tmp_path / "m8.safetensors"
    trips = [(["the", "cat", "sat"], ["D", "N", "V"]), (["a", "dog", "ran"], ["D", "N", "V"])] * 10
    tg.Tagger(hidden_size=16, epochs=8).fit(trips, progress=False).save(m)
    done = cli("quantize", m, "--data", tmp_path / "dev.conll", "--column", "2", "-o", out)
    assert done.status == 0, done.err
    told(done.out, out)


def test_a_translator(tmp_path: Path, cli: Cli) -> None:
    sources, targets = ["abc", "cab", "bca", "aab"] * 5, ["CBA", "BAC", "ACB", "BAA"] * 5
    (tmp_path / "dev.de").write_text("\n".join(sources) + "\n")
    (tmp_path / "dev.en").write_text("\n".join(targets) + "\n")
    m, out = tmp_path / "m.safetensors", tmp_path / "m8.safetensors"
    tg.Translator(units="char", hidden_size=24, epochs=25).fit((sources, targets), progress=False).save(m)
    words = ["--data", tmp_path / "dev.de", "--target", tmp_path / "dev.en", "--measures", "chrF", "-o", out]
    done = cli("quantize", m, *words, "--limit", "0.1")
    assert done.status == 0, done.err
    told(done.out, out)
    assert "int8: chrF" in done.out


def test_beyond_the_limit_nothing_is_written_unless_it_is_forced(tmp_path: Path, cli: Cli) -> None:
    """A text of letters that the model has not seen in this order: rounding moves the score, in one of the two directions."""
    m, out = tmp_path / "m.safetensors", tmp_path / "m8.safetensors"
    texts = ["tick tock, tack. " * 60]
    tg.LanguageModel(hidden_size=16, steps=40, batch_size=4, window=16).fit(texts, progress=False).save(m)
    worse = next(text for text in ("kkkk. tact", "tick", "cat. coat", "kit kat") if _loss(m, text) > 0)
    (tmp_path / "dev.txt").write_text(worse)
    done = cli("quantize", m, "--data", tmp_path / "dev.txt", "--limit", "0", "-o", out)
    assert done.status == 2
    assert "It was not made" in done.err
    assert "--force" in done.err
    assert not out.exists()
    done = cli("quantize", m, "--data", tmp_path / "dev.txt", "--limit", "0%", "--force", "-o", out)
    assert done.status == 0, done.err
    told(done.out, out)


def _loss(path: Path, text: str) -> float:
    made = tg.load(path).quantize("int8", [text], force=True)  # type: ignore[attr-defined]
    return float(made.card["int8"]["loss"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "m8"], "--data"),
        (["--data", "test.csv"], "--output"),
        (["--data", "test.csv", "-o", "m8", "--windows", "3"], "--windows: is for models of the task forecast"),
        (["--data", "test.csv", "-o", "m8", "--reset"], "--reset: is for models of the task generate"),
        (["--data", "test.csv", "-o", "m8", "--limit", "much"], "--limit: invalid share value: 'much'"),
        (["--data", "test.csv", "-o", "m8", "--limit=-1%"], "limit: expected a share of at least 0"),
        (["--data", "test.csv", "-o", "m8", "--limit", "nan"], "limit: expected a share of at least 0"),
        (["--data", "test.csv", "-o", "m8", "--text", "revue"], "revue"),
        (["--data", "none.csv", "-o", "m8"], "none.csv"),
        (["--data", "none.csv", "-o", "no/such/m8"], "the folder does not exist"),
        (["--data", "test.csv", "-o", "test.csv"], "is read too"),
        (["--data", "test.csv", "-o", "m.safetensors"], "is read too"),
    ],
)
def test_errors_are_told(words: list[str], said: str, reviews: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.chdir(reviews)
    before = {path.name: path.read_bytes() for path in reviews.iterdir()}
    done = cli("quantize", "m.safetensors", *words)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert {path.name: path.read_bytes() for path in reviews.iterdir()} == before


@pytest.mark.parametrize("flags", [["--windows", "0"], ["--step", "0"]])
def test_windows_are_at_least_one(flags: list[str], model: Path, data: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("quantize", model, "--data", data, *flags, "-o", tmp_path / "m8")
    assert (done.status, "at least 1" in done.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_bare_network_has_no_measure(tmp_path: Path, cli: Cli) -> None:
    import torch

    tg.from_torch(torch.nn.GRU(3, 4, batch_first=True)).save(tmp_path / "m")
    (tmp_path / "d.csv").write_text(csv(9))
    done = cli("quantize", tmp_path / "m", "--data", tmp_path / "d.csv", "-o", tmp_path / "m8")
    assert done.status == 2
    assert "which has none" in done.err
