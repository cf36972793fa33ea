"""fit tag, predict, evaluate, stream, info, check: the road of a tagger on the command line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tidegate.cli import main as tidegate

SENTENCES = "Ann B-PER\nsaw O\nRio B-LOC\n\nBob B-PER\nleft O\nNew B-LOC\nYork I-LOC\n\n"
QUICK = ("--hidden-size", "12", "--letter-size", "6", "--learning-rate", "0.02", "--steps", "60")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tag")
    (folder / "train.conll").write_text(SENTENCES * 30, encoding="utf-8")
    (folder / "kinds").write_text("look\nleave\n" * 30, encoding="utf-8")
    done = tidegate(["fit", "tag", str(folder / "train.conll"), "--sentence-labels", str(folder / "kinds"), *QUICK,
                     "-o", str(folder / "names.safetensors")])  # fmt: skip
    assert done == 0
    return folder


def test_predict_says_word_tag_and_how_sure(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tidegate(["predict", str(place / "names.safetensors"), "Ann saw Rio", "--n-best", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sentence,rank,word,tag,probability,path_probability,label"
    assert [line.split(",")[:4] for line in lines[1:4]] == [
        ["1", "1", "Ann", "B-PER"],
        ["1", "1", "saw", "O"],
        ["1", "1", "Rio", "B-LOC"],
    ]
    assert len(lines) == 7


def test_predict_reads_a_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tidegate(["predict", str(place / "names.safetensors"), "--data", str(place / "train.conll")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 7 * 30


def test_evaluate_with_look_ahead_and_picture(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, folder = place / "tags.svg", place / "figures"
    arguments = [str(place / "names.safetensors"), str(place / "train.conll"), "--look-ahead", "0,2"]
    assert tidegate(["evaluate", *arguments, "--picture", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "0 words ahead" in out
    assert "whole sentences" in out
    assert "The net finds spans with an F1 of" in out
    assert picture.read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert tidegate(["evaluate", *arguments[:2], "--output", str(folder)]) == 0
    assert (folder / "predictions.csv").read_text(encoding="utf-8").startswith("sentence,word,truth,tag,probability")


def test_stream_gives_a_line_a_word(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Ann saw Rio\nBob left New York\n"))
    assert tidegate(["stream", str(place / "names.safetensors"), "--look-ahead", "1", "--words"]) == 0
    blocks = capsys.readouterr().out.split("\n\n")
    assert [line.split("\t")[:2] for line in blocks[0].splitlines()] == [["Ann", "B-PER"], ["saw", "O"], ["Rio", "B-LOC"]]
    assert len(blocks[1].splitlines()) == 4


def test_stream_refuses_what_is_no_model_and_no_look_ahead(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tidegate(["stream", str(place / "train.conll")]) == 2
    assert tidegate(["stream", str(place / "names.safetensors"), "--look-ahead", "-1"]) == 2
    assert "look_ahead: expected a whole number" in capsys.readouterr().err


def test_info_and_check(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tidegate(["info", str(place / "names.safetensors")]) == 0
    out = capsys.readouterr().out
    assert "B-LOC, B-PER, I-LOC, O" in out
    assert "most frequent tag" in out
    assert tidegate(["check", "tag", str(place / "train.conll")]) == 0
    assert "60 sentences, 210 words, 4 tags of spans in the scheme iob2" in capsys.readouterr().out
    (place / "broken.conll").write_text("a B-X\nb\n", encoding="utf-8")
    assert tidegate(["check", "tag", str(place / "broken.conll")]) == 1


def test_a_broken_file_is_refused_before_training(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "broken.conll").write_text("a B-X\nb\n", encoding="utf-8")
    assert tidegate(["fit", "tag", str(place / "broken.conll"), "-o", str(place / "x.safetensors")]) == 2
    assert "line 2: expected 2 columns as before, got 1" in capsys.readouterr().err
    assert not (place / "x.safetensors").exists()


def test_several_seeds(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = place / "seeds.safetensors"
    assert tidegate(["fit", "tag", str(place / "train.conll"), *QUICK[:-1], "5", "--seeds", "2", "-o", str(output)]) == 0
    out = capsys.readouterr().out
    assert "held-back figures:" in out
    assert "Kept: seed" in out
    assert output.exists()


def test_a_column_by_its_number(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["fit", "tag", str(place / "train.conll"), "--column", "2", *QUICK[:-1], "3", "-o", str(place / "c.safetensors")]
    assert tidegate(arguments) == 0
    assert "--column 2" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["-o", "--history"])
def test_nothing_that_is_read_is_written_over(place: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    path = place / "train.conll"
    before, words = path.read_bytes(), ["fit", "tag", str(path), *QUICK, "-o", str(place / "y.safetensors")]
    assert tidegate([*words, flag, str(place / "." / "train.conll")]) == 2
    assert "which is read too" in capsys.readouterr().err
    assert path.read_bytes() == before
    model = (place / "names.safetensors").read_bytes()
    assert tidegate(["predict", str(place / "names.safetensors"), "Ann", "-o", str(place / "names.safetensors")]) == 2
    assert (place / "names.safetensors").read_bytes() == model


def test_stream_refuses_what_is_no_utf_8(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for errors in ("strict", "surrogateescape"):
        raw = io.TextIOWrapper(io.BytesIO(b"Ann saw\ncaf\xe9\n"), encoding="utf-8", errors=errors)
        monkeypatch.setattr("sys.stdin", raw)
        assert tidegate(["stream", str(place / "names.safetensors")]) == 2
        assert "expected UTF-8, got other bytes" in capsys.readouterr().err


def test_a_picture_keeps_the_labels_of_sentences(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(place / "names.safetensors"), str(place / "train.conll"), "--sentence-labels", str(place / "kinds")]
    assert tidegate([*words, "--picture", str(place / "p.svg")]) == 0
    assert "label-accuracy" in capsys.readouterr().out
