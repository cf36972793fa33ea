"""`fit translate`, `predict`, `evaluate`, `plot`, `info` and `check` on pairs: what they print, write and refuse."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from .conftest import Cli

SMALL = ("--steps", "30", "--hidden-size", "8", "--embedding-dim", "8", "--units", "char")
ROWS = [("ab", "BA"), ("abb", "BBA"), ("ba", "AB"), ("bab", "BAB"), ("a", "A"), ("bb", "BB"), ("aab", "BAA")] * 8


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pairs")
    source, target = folder / "x.txt", folder / "y.txt"
    source.write_text("".join(f"{a}\n" for a, _ in ROWS))
    target.write_text("".join(f"{b}\n" for _, b in ROWS))
    return source, target


@pytest.fixture
def trained(cli: Cli, files: tuple[Path, Path], tmp_path: Path) -> Path:
    out = tmp_path / "m.safetensors"
    assert cli("fit", "translate", files[0], "--target", files[1], *SMALL, "-o", out).status == 0
    return out


def test_fit_says_how_good_it_is_and_how_to_do_it_again(cli: Cli, files: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    valid = ("--valid", files[0], "--valid-target", files[1], "--no-tied")
    said = cli("fit", "translate", files[0], "--target", files[1], *valid, *SMALL, "-o", first)
    assert said.status == 0, said.err
    assert "copy of the source" in said.out
    assert "56 held-back pairs" in said.out
    line = said.out.splitlines()[-1].split()
    again = [str(second) if word == str(first) else word for word in line[line.index("fit") :]]
    assert cli(*again).status == 0
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"], "no checkpoint is left"


def test_other_layouts(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in ROWS))
    (tmp_path / "p.jsonl").write_text("".join(json.dumps({"id": 1, "s": [a, a], "t": [b]}) + "\n" for a, b in ROWS))
    for arguments in (
        (tmp_path / "p.tsv", "--no-header"),
        (tmp_path / "p.jsonl", "--from-column", "s", "--to-column", "t", "--attention", "none"),
    ):
        said = cli("fit", "translate", *arguments, *SMALL, "-o", tmp_path / "m")
        assert said.status == 0, said.err


def test_predict_writes_answers_with_scores(cli: Cli, trained: Path, files: tuple[Path, Path], tmp_path: Path) -> None:
    said = cli("predict", trained, "ab", "", "--beam", "3", "--n-best", "2", "--max-length", "4")
    assert said.status == 0, said.err
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert [row["text"] for row in rows] == ["ab", "ab", ""]
    assert float(rows[0]["score"]) >= float(rows[1]["score"])
    assert float(rows[2]["probability"]) == 1.0
    out = tmp_path / "out.csv"
    assert cli("predict", trained, "--data", files[0], "-o", out).status == 0
    assert len(out.read_text().splitlines()) == len(ROWS) + 1
    for words, message in (
        ((), "either texts on the command line or --data FILE"),
        (("ab", "--n-best", "2"), "n_best: expected 1 to beam = 1"),
        (("ab", "--beam", "0"), "beam: expected a whole number"),
    ):
        refused = cli("predict", trained, *words)
        assert refused.status == 2
        assert message in refused.err


def test_evaluate_scores_and_writes(cli: Cli, trained: Path, files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "figures"
    measures = ("--measures", "exact,token-error,ROUGE-L")
    said = cli("evaluate", trained, files[0], "--target", files[1], *measures, "--beam", "2", "-o", out)
    assert said.status == 0, said.err
    assert "token-error" in said.out
    assert set(json.loads((out / "scores.json").read_text())["figures"]["net"]) == {"exact", "token-error", "ROUGE-L"}
    assert len((out / "predictions.csv").read_text().splitlines()) == len(ROWS) + 1
    refused = cli("evaluate", trained, files[0], "--target", files[1], "--measures", "BLUE")
    assert refused.status == 2
    assert "there is no 'BLUE'" in refused.err


def test_plot_and_info(cli: Cli, trained: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.svg"
    assert cli("plot", trained, "--text", "abba", "-o", picture).status == 0
    assert "<svg" in picture.read_text()
    said = cli("info", trained)
    assert said.status == 0, said.err
    for part in ("alignment", "char into char", "vectors", "held-back pairs", "the vocabularies and the commonest target"):
        assert part in said.out
    assert cli("plot", trained, "--text", "abba", "--html", tmp_path / "x.html").status == 2


def test_check_finds_what_fit_refuses(cli: Cli, files: tuple[Path, Path], tmp_path: Path) -> None:
    sound = cli("check", "translate", files[0], "--target", files[1])
    assert sound.status == 0
    assert "fit` takes the file as it is" in sound.out
    short = tmp_path / "short.txt"
    short.write_text("A\n")
    for command in (("check", "translate"), ("fit", "translate")):
        more = ("-o", tmp_path / "m", *SMALL) if command[0] == "fit" else ()
        said = cli(*command, files[0], "--target", short, *more)
        assert said.status == (1 if command[0] == "check" else 2)
        assert "has 56 lines" in " ".join((said.out + said.err).split())
