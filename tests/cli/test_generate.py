"""`fit generate`, `generate`, `evaluate` and `info` on a language model."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from .conftest import Cli

SMALL = ("--steps", "40", "--hidden-size", "8", "--embedding-dim", "8", "--batch-size", "4", "--window", "16")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("book") / "tide.txt.gz"
    path.write_bytes(gzip.compress(b"the tide comes in and the tide goes out.\n" * 40))
    return path


@pytest.fixture
def trained(cli: Cli, book: Path, tmp_path: Path) -> Path:
    out = tmp_path / "m.safetensors"
    assert cli("fit", "generate", book, *SMALL, "-o", out).status == 0
    return out


def test_fit_says_how_good_it_is_and_how_to_do_it_again(cli: Cli, book: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    said = cli("fit", "generate", book, *SMALL, "-o", first)
    assert said.status == 0, said.err
    assert "5-grams, Witten-Bell" in said.out
    assert "The net does not beat" in said.out, "40 steps are few, and n-grams know this text by heart"
    line = said.out.splitlines()[-1].split()
    again = [str(second) if word == str(first) else word for word in line[line.index("fit") :]]
    assert cli(*again).status == 0
    assert first.read_bytes() == second.read_bytes()


def test_generate_prints_prompt_and_text(cli: Cli, trained: Path) -> None:
    said = cli("generate", trained, "--prompt", "the ", "--length", "30", "--seed", "2", "--temperature", "0.7", "--top-k", "5")
    assert said.status == 0, said.err
    assert said.out.startswith("the ")
    assert len(said.out) == 4 + 30 + 1
    assert (
        said.out
        == cli(
            "generate", trained, "--prompt", "the ", "--length", "30", "--seed", "2", "--temperature", "0.7", "--top-k", "5"
        ).out
    )


def test_evaluate_and_info(cli: Cli, trained: Path, book: Path) -> None:
    carried, reset = (cli("evaluate", trained, book, *more) for more in ((), ("--reset",)))
    assert "bits a letter; 1,640 tokens" in carried.out
    assert carried.out != reset.out
    shown = cli("info", trained).out
    assert "13 kinds" in shown or "kinds of token" in shown
    assert "held-back tokens" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("generate", "MODEL", "--top-p", "0"), "top_p"),
        (("generate", "MODEL", "--length", "-1"), "length"),
        (("generate", "MODEL", "--temprature", "1"), "--temperature"),
        (("predict", "MODEL", "the"), "forecasters, classifiers, taggers"),
        (("fit", "generate", "/nowhere/text.txt", "-o", "OUT"), "/nowhere/text.txt"),
        (("plot", "MODEL", "-o", "OUT"), "expected a forecaster"),
    ],
)
def test_refusals(cli: Cli, trained: Path, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    said = cli(*({"MODEL": trained, "OUT": tmp_path / "out"}.get(word, word) for word in arguments))
    assert said.status == 2, said.out
    assert told in said.err
    assert not (tmp_path / "out").exists()


def test_a_classifier_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    rows = tmp_path / "x.csv"
    rows.write_text("t,c\n" + "red,a\nblue,b\n" * 10)
    assert cli("fit", "classify", rows, "--label", "c", "--steps", "2", "--hidden-size", "4", "-o", tmp_path / "c").status == 0
    said = cli("generate", tmp_path / "c")
    assert said.status == 2
    assert "expected a language model" in said.err


def test_flags_of_other_tasks_are_refused(cli: Cli, trained: Path, tmp_path: Path) -> None:
    for flag, value in (("--text", "review"), ("--label", "x"), ("--levels", "50"), ("--picture", "x.png")):
        found = cli("evaluate", trained, tmp_path / "x.txt", flag, value)
        assert found.status == 2
        assert f"{flag}: is for models of the task" in found.err
        assert "got one for generate; leave it out" in found.err


def test_fill_prints_both_answers(cli: Cli, tmp_path: Path) -> None:
    book, out = tmp_path / "t.txt", tmp_path / "m"
    book.write_text("the tide comes in and the tide goes out .\n" * 60)
    options = ("--units", "word", "--direction", "both", *SMALL)
    said = cli("fit", "generate", book, *options, "-o", out)
    assert said.status == 0, said.err
    assert "net, from both sides" in said.out
    assert "--direction both" in said.out.splitlines()[-1]
    said = cli("fill", out, "--best", "2", "the ___ comes in", "and the tide ___ out")
    assert said.status == 0, said.err
    lines = said.out.splitlines()
    assert [lines[0], lines[4]] == ["the ___ comes in", "and the tide ___ out"]
    assert len(lines) == 8
    assert lines[1].split("  ")[-1] == "from the left alone"
    assert lines[2].split()[0] == "1"
    assert lines[2].count("%") == 2
    assert "finds the word that is missing" in cli("info", out).out


def test_fill_refuses(cli: Cli, trained: Path, reviews_model: Path) -> None:
    for words, said in (
        ((trained, "the ___ comes"), "reads left to right alone; train one with direction='both' (--direction both)"),
        ((trained,), "expected a text with a blank, written ___, got none"),
        ((reviews_model, "a ___"), "expected a language model, got a model for 'classify'"),
    ):
        found = cli("fill", *words)
        assert found.status == 2
        assert said in found.err


@pytest.fixture
def reviews_model(cli: Cli, tmp_path: Path) -> Path:
    table, out = tmp_path / "r.csv", tmp_path / "r"
    table.write_text("text,label\n" + "fine,good\ndull,bad\n" * 6)
    assert cli("fit", "classify", table, "--label", "label", "--steps", "2", "--hidden-size", "4", "-o", out).status == 0
    return out
