"""`fit classify --seeds` and `fit generate --seeds`: what is printed and kept, checkpoints and Ctrl-C, the same again."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

import tidegate as tg
from tidegate.train import run as running

from .conftest import Cli

SMALL = ("--steps", "25", "--hidden-size", "6", "--embedding-dim", "4")
ROWS = [("fine film, fine cast", "good"), ("dull film", "bad"), ("a fine story", "good"), ("dull, dull cast", "bad")] * 10


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "reviews.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("review", "verdict"), *ROWS])
    return path


def arguments(reviews: Path, out: Path) -> tuple[object, ...]:
    return ("fit", "classify", reviews, "--label", "verdict", *SMALL, "--seed", "4", "--seeds", "3", "-o", out)


def test_spread_best_and_the_same_again(cli: Cli, reviews: Path, tmp_path: Path) -> None:
    out, second = tmp_path / "a", tmp_path / "b"
    said = cli(*arguments(reviews, out))
    assert said.status == 0, said.err
    assert [line.split(":")[0] for line in said.out.splitlines()[:3]] == ["seed 4", "seed 5", "seed 6"]
    assert "Seeds 4, 5, 6, held-back figures:" in said.out
    assert "Kept: seed" in said.out
    seed = tg.load(out).card["seed"]
    assert f"Kept: seed {seed}," in " ".join(said.out.split())
    line = said.out.splitlines()[-1].split()
    again = [str(second) if word == str(out) else word for word in line[line.index("fit") :]]
    assert cli(*again).status == 0
    assert out.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"], "no checkpoint is left"


def test_ctrl_c_keeps_finished_seeds_and_resume_ends_with_the_same_bytes(
    cli: Cli, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "m", tmp_path / "whole"
    assert cli(*arguments(reviews, whole)).status == 0
    trained: list[int] = []
    train = running.train

    def stopped(problem: object, options: object, state: object) -> Iterator[object]:
        trained.append(options.seed)  # type: ignore[attr-defined]  # TrainOptions
        if options.seed == 6:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        yield from train(problem, options, state)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(running, "train", stopped)
        said = cli(*arguments(reviews, out), "--history", tmp_path / "h.jsonl")
    assert said.status == 130
    assert "the best of 2 finished seeds of 3; the same command with --resume trains the others" in " ".join(said.out.split())
    assert trained == [4, 5, 6]
    assert (tmp_path / "h.jsonl.seed4").is_file()
    kept = tg.load(out).card["seed"]
    assert kept in (4, 5)
    said = cli(*arguments(reviews, out), "--resume")
    assert said.status == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.checkpoint-*"))


def test_a_budget_is_shared_and_fixes_the_steps_of_all(
    cli: Cli, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def steps_for(problem: object, options: object, seconds: float) -> int:
        asked.append(seconds)
        return 21

    monkeypatch.setattr(running, "steps_for", steps_for)
    plain = [word for word in arguments(reviews, tmp_path / "m") if word not in ("--steps", "25")]
    said = cli(*plain, "--budget", "30s")
    assert said.status == 0, said.err
    assert asked == [10.0]
    assert tg.load(tmp_path / "m").card["steps"] == 21


def test_a_language_model_takes_seeds(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("tick tock " * 80)
    more = ("--steps", "20", "--hidden-size", "6", "--batch-size", "4", "--window", "8", "--seeds", "2")
    said = cli("fit", "generate", tmp_path / "t.txt", *more, "-o", tmp_path / "m")
    assert said.status == 0, said.err
    assert "nats a token" in said.out
    assert "Seeds 0, 1, held-back figures:" in said.out


def test_one_seed_is_no_spread(cli: Cli, reviews: Path, tmp_path: Path) -> None:
    said = cli("fit", "classify", reviews, "--label", "verdict", "--seeds", "1", "-o", tmp_path / "m")
    assert said.status == 2
    assert "--seeds: expected at least 2, got 1" in said.err
