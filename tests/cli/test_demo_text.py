"""`demo text`: what it prints and writes, on a few steps; that each verdict in it is the one that its own table gives."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tidegate.cli import demo_text
from tidegate.models.text_demo import Told
from tidegate.tasks.claims import BAG, CLAIMS, LSTM, RNN, Share
from tidegate.tasks.showcase import QUESTIONS, courses

from .conftest import Cli


def test_it_shows_answers_table_and_verdicts(cli: Cli, tmp_path: Path) -> None:
    picture, answers = tmp_path / "t.png", tmp_path / "a.csv"
    said = cli("demo", "text", "--seeds", "1", "--steps", "3", "-o", picture, "--answers", answers)
    assert said.status == 0, said.err
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = " ".join(said.out.split())
    for claim in CLAIMS:
        assert claim.text in text
    for course in courses(0):
        for piece in course.pieces:
            assert piece.title[1:] in text
    rows = list(csv.DictReader(answers.open(encoding="utf-8")))
    assert len(rows) == QUESTIONS * sum(len(c.pieces) * (len(demo_text.nets_of(c)) + 1) for c in courses(0))
    lstm = [row for row in rows if row["piece"] == "agreement" and row["method"] == "LSTM"]
    share = f"{100 * sum(row['said'] == row['truth'] for row in lstm) / QUESTIONS:.0f} %"
    line = next(line for line in said.out.splitlines() if line.startswith("agreement"))
    assert line.split(" %")[3].strip() + " %" == share, "the table is counted from the answers"


def test_what_was_learnt_is_said() -> None:
    told = [Told(BAG, None, []), Told(LSTM, 1.0, []), Told(RNN, 0.5, []), Told(LSTM, 0.9, []), Told(RNN, 0.7, [])]
    assert demo_text.learnt(told).endswith("known: LSTM 95 %, RNN 60 %.")


def test_verdicts_follow_the_table() -> None:
    for rnn, outcome in (((2.0, 3.0, 1.0), "HOLDS: "), ((24.0, 24.0, 24.0), "DOES NOT HOLD: ")):
        figures = {"agreement": {RNN: Share(rnn, 24), LSTM: Share((24.0, 24.0, 24.0), 24)}}
        said = demo_text.judged(figures)
        assert said.count('- "') == 1
        assert outcome in said
        assert Share(rnn, 24).__str__() in demo_text.table(figures)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--seeds", "0"), "--seeds: expected at least 1, got 0"),
        (("--steps", "-1"), "--steps: expected at least 1, got -1"),
        (("--seed", "-1"), "--seed: expected at least 0, got -1"),
        (("-o", "x.pdf"), "expected a picture named .png or .svg"),
        (("--answers", "no/such/folder/a.csv"), "no/such/folder"),
        (("--lessons", "3"), "--lessons: there is no such option"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_training(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    found = cli("demo", "text", *arguments)
    assert found.status == 2
    assert said in found.err
    assert found.out == ""
