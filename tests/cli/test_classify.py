"""`fit classify`, `predict`, `evaluate` and `info` on a classifier: what they print and write, and what they refuse."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import tidegate as tg

from .conftest import Cli

SMALL = ("--steps", "30", "--hidden-size", "8", "--embedding-dim", "8")
ROWS = [("fine film, fine cast", "good"), ("dull film", "bad"), ("a fine story", "good"), ("dull, dull cast", "bad")] * 10


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "reviews.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("review", "verdict"), *ROWS])
    return path


@pytest.fixture
def trained(cli: Cli, reviews: Path, tmp_path: Path) -> Path:
    out = tmp_path / "m.safetensors"
    assert cli("fit", "classify", reviews, "--text", "review", "--label", "verdict", *SMALL, "-o", out).status == 0
    return out


def test_fit_says_how_good_it_is_and_how_to_do_it_again(cli: Cli, reviews: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    said = cli("fit", "classify", reviews, "--label", "verdict", *SMALL, "--no-bidirectional", "-o", first)
    assert said.status == 0, said.err
    assert "naive Bayes, 1-2-grams" in said.out
    assert "4 held-back texts" in said.out
    line = said.out.splitlines()[-1].split()
    again = [str(second) if word == str(first) else word for word in line[line.index("fit") :]]
    assert cli(*again).status == 0
    assert first.read_bytes() == second.read_bytes()
    assert list(tmp_path.iterdir()) in ([first, second], [second, first]), "no checkpoint is left"


def test_ctrl_c_before_the_first_check_leaves_an_older_file(
    cli: Cli, trained: Path, reviews: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> Iterator[object]:
        raise KeyboardInterrupt
        yield

    before = trained.read_bytes()
    monkeypatch.setattr("tidegate.train.run.train", stopped)
    said = cli("fit", "classify", reviews, "--label", "verdict", *SMALL, "-o", trained)
    assert said.status == 130
    assert "interrupted at step 0 of 30, before the first look at the held-back data: nothing is kept" in said.err
    assert trained.read_bytes() == before


def test_other_layouts(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "names").mkdir()
    (tmp_path / "names" / "Even.txt").write_text("aa\nbbbb\ncc\n" * 5)
    (tmp_path / "names" / "Odd.txt").write_text("a\nbbb\nccccc\n" * 5)
    rows = "".join(f"{text}\t{label}\n" for text, label in ROWS)
    (tmp_path / "plain.tsv").write_text(rows)
    (tmp_path / "x.txt").write_text("".join(f"{text}\n" for text, _ in ROWS))
    (tmp_path / "y.txt").write_text("".join(f"{label}\n" for _, label in ROWS))
    for arguments in (
        (tmp_path / "names", "--units", "char", "--no-lower"),
        (tmp_path / "plain.tsv", "--no-header", "--text", "1", "--label", "2", "--valid", tmp_path / "plain.tsv"),
        (tmp_path / "x.txt", "--labels", tmp_path / "y.txt"),
        (tmp_path / "x.txt", "--labels", tmp_path / "y.txt", "--valid", tmp_path / "x.txt", "--valid-labels", tmp_path / "y.txt"),
    ):
        said = cli("fit", "classify", *arguments, *SMALL, "-o", tmp_path / "m")
        assert said.status == 0, said.err


def test_predict_writes_text_label_and_probability(cli: Cli, trained: Path, reviews: Path, tmp_path: Path) -> None:
    said = cli("predict", trained, "a fine film", 'dull, "quoted"')
    rows = list(csv.DictReader(said.out.splitlines()))
    assert [row["text"] for row in rows] == ["a fine film", 'dull, "quoted"']
    assert {row["label"] for row in rows} <= {"good", "bad"}
    assert all(0.5 <= float(row["probability"]) <= 1 for row in rows)
    out = tmp_path / "said.csv"
    assert cli("predict", trained, "--data", reviews, "--text", "review", "-o", out).status == 0
    assert len(out.read_text().splitlines()) == 41


def test_evaluate_and_info(cli: Cli, trained: Path, reviews: Path, tmp_path: Path) -> None:
    picture = tmp_path / "labels.png"
    said = cli(
        "evaluate", trained, reviews, "--text", "review", "--label", "verdict", "-o", tmp_path / "figures", "--picture", picture
    )
    assert said.status == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "commonest class" in said.out
    assert "truth" in said.out
    figures = json.loads((tmp_path / "figures" / "scores.json").read_text())
    assert sum(map(sum, figures["confusion"])) == 40
    shown = cli("info", trained).out
    assert "bad, good" in shown
    assert "held-back" in shown
    assert json.loads(cli("info", trained, "--json").out)["task"] == "classify"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("predict", "MODEL"), "either texts on the command line or --data FILE"),
        (("predict", "MODEL", "fine", "--data", "x.csv"), "either texts on the command line or --data FILE"),
        (("evaluate", "MODEL", "REVIEWS", "--text", "review"), "expected a label beside each text"),
        (("fit", "classify", "REVIEWS", "--label", "verdit", "-o", "OUT"), "verdict"),
        (("fit", "classify", "REVIEWS", "--label", "verdict", "--poling", "max", "-o", "OUT"), "--pooling"),
        (("fit", "clasify", "REVIEWS", "-o", "OUT"), "tidegate fit classify"),
        (("fit", "classify", "REVIEWS", "--label", "verdict", "-o", "/nowhere/m"), "nowhere"),
        (("backtest", "REVIEWS", "--target", "x", "--horizon", "2"), "x"),
    ],
)
def test_refusals(cli: Cli, trained: Path, reviews: Path, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    names = {"MODEL": trained, "REVIEWS": reviews, "OUT": tmp_path / "out"}
    said = cli(*(names.get(word, word) for word in arguments))
    assert said.status == 2
    assert told in said.err
    assert not (tmp_path / "out").exists()


def test_plot_refuses_a_classifier(cli: Cli, trained: Path, tmp_path: Path) -> None:
    said = cli("plot", trained, "-o", tmp_path / "x.png")
    assert said.status == 2
    assert "expected a forecaster" in said.err


def test_options_may_stand_before_the_texts(cli: Cli, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    for words in (
        (trained, "-o", out, "fine", "dull film"),
        ("-o", out, trained, "fine", "dull film"),
        (trained, "fine", "-o", out, "dull film"),
        (trained, "fine", "dull film", "-o", out),
        (trained, "-o", out, "--", "fine", "dull film"),
        (trained, "fine", "-o", out, "--", "dull film"),
    ):
        said = cli("predict", *words)
        assert said.status == 0, said.err
        assert [row["text"] for row in csv.DictReader(out.open())] == ["fine", "dull film"], words
        out.unlink()
    assert cli("predict", trained, "-o", out, "--", "-x", "--no-such").status == 0
    assert [row["text"] for row in csv.DictReader(out.open())] == ["-x", "--no-such"]
    said = cli("predict", trained, "-o", out, "fine", "--no-such", "x")
    assert said.status == 2
    assert "--no-such: there is no such option" in said.err


def test_held_back_labels_in_a_file_of_their_own(cli: Cli, tmp_path: Path) -> None:
    texts, labels = tmp_path / "x.txt", tmp_path / "y.txt"
    texts.write_text("".join(f"{text}\n" for text, _ in ROWS))
    labels.write_text("".join(f"{label}\n" for _, label in ROWS))
    given = (texts, "--labels", labels)
    said = cli("fit", "classify", *given, "--valid", texts, "--valid-labels", labels, *SMALL, "-o", tmp_path / "m")
    assert "40 held-back texts" in said.out
    assert f"--valid-labels {labels}" in said.out
    assert cli("check", "classify", *given, "--valid", texts, "--valid-labels", labels).status == 0
    said = cli("fit", "classify", *given, "--valid", texts, *SMALL, "-o", tmp_path / "m")
    assert said.status == 2
    assert (
        "expected a label beside each held-back text, got none; name the second file with valid_labels (--valid-labels)"
        in said.err
    )
    said = cli("fit", "classify", *given, "--valid-labels", labels, *SMALL, "-o", tmp_path / "m")
    assert said.status == 2
    assert "valid_labels: expected valid beside it" in said.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--epochs", "3", "--steps", "5"), "epochs: steps=5 already says how long training goes on, got epochs=3 too"),
        (("--epochs", "3", "--budget", "5s"), "epochs: budget='5s' already says how long training goes on, got epochs=3 too"),
        (("--units", "byte", "--min-count", "2"), "min_count: has no effect with units='byte'"),
        (("--units", "bpe", "--min-count", "2"), "min_count: has no effect with units='bpe'"),
        (("--units", "char", "--unknown-rate", "0.5"), "unknown_rate: has no effect with units='char'"),
    ],
)  # fmt: skip
def test_options_without_effect_are_refused(cli: Cli, reviews: Path, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    found = cli("fit", "classify", reviews, "--label", "verdict", *options, "-o", tmp_path / "m")
    assert found.status == 2
    assert said in found.err
    assert "leave" in found.err


def test_epochs_are_said_again_as_steps(cli: Cli, reviews: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    said = cli("fit", "classify", reviews, "--label", "verdict", "--epochs", "2", "--hidden-size", "8", "-o", first)
    assert said.status == 0
    line = said.out.splitlines()[-1].split()
    assert "--epochs" not in line
    again = [str(second) if word == str(first) else word for word in line[line.index("fit") :]]
    assert cli(*again).status == 0
    assert tg.load(first).predict_proba("fine").tolist() == tg.load(second).predict_proba("fine").tolist()


def test_flags_of_other_tasks_are_refused(cli: Cli, trained: Path, reviews: Path) -> None:
    for words, flag in (
        (("predict", trained, "fine", "--levels", "80,95"), "--levels"),
        (("predict", trained, "fine", "--future", reviews), "--future"),
        (("evaluate", trained, reviews, "--label", "verdict", "--reset"), "--reset"),
        (("evaluate", trained, reviews, "--label", "verdict", "--levels", "50"), "--levels"),
        (("evaluate", trained, reviews, "--label", "verdict", "--against", "a=b.csv"), "--against"),
    ):
        found = cli(*words)
        assert found.status == 2, words
        assert f"{flag}: is for models of the task" in found.err
        assert "got one for classify; leave it out" in found.err


def test_vectors_are_said_and_said_again(cli: Cli, reviews: Path, tmp_path: Path) -> None:
    vectors, first, second = tmp_path / "v.txt", tmp_path / "a", tmp_path / "b"
    vectors.write_text("fine 1 2 3 4\ndull -1 -2 -3 -4\n")
    given = ("fit", "classify", reviews, "--label", "verdict", "--steps", "5", "--hidden-size", "4", "--vectors", vectors)
    said = cli(*given, "-o", first)
    assert said.status == 0, said.err
    assert "started at the vectors of v.txt" in " ".join(said.out.split())
    line = said.out.splitlines()[-1].split()
    again = [str(second) if word == str(first) else word for word in line[line.index("fit") :]]
    assert cli(*again).status == 0
    assert first.read_bytes() == second.read_bytes()
    said = cli(*given, "--embedding-dim", "3", "-o", first)
    assert said.status == 2
    assert "embedding_dim: expected 4, as the vectors of v.txt are, got 3" in said.err
