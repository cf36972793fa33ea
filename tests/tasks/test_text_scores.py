"""Measures of written texts: equal to their libraries', several references count as they should, edits by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from rouge_score import rouge_scorer

from tidegate.data.table import Table
from tidegate.errors import ConfigError, MissingExtra, ShapeError
from tidegate.tasks import text_scores
from tidegate.tasks.text_scores import (
    ROUGE,
    USUAL,
    TextEvaluation,
    baselines,
    commonest,
    edit_distance,
    first_sentence,
    scoreboard,
    token_error,
    verdict,
)
from tidegate.tasks.text_scores import text_scores as scored

ANSWERS = ["the cat sat on the mat", "two dogs run through the snow", "a man , and his hat .", "four"]
FIRST = ["the cat sat on a mat", "two dogs are running through snow", "a man and his hat.", "five"]
SECOND = ["a cat sat on the mat", "two dogs run in the snow"]
REFERENCES = [[a, b] for a, b in zip(FIRST[:2], SECOND, strict=True)] + [[a] for a in FIRST[2:]]


def test_bleu_and_chrf_are_sacrebleus() -> None:
    found = scored(ANSWERS, [[t] for t in FIRST])
    assert found["BLEU"] == sacrebleu.BLEU().corpus_score(ANSWERS, [FIRST]).score
    assert found["chrF"] == sacrebleu.CHRF().corpus_score(ANSWERS, [FIRST]).score
    assert 20 < found["BLEU"] < 80
    both = scored(ANSWERS, REFERENCES)
    streams = [FIRST, [*SECOND, None, None]]
    assert both["BLEU"] == sacrebleu.BLEU().corpus_score(ANSWERS, streams).score > found["BLEU"]


def test_rouge_is_the_mean_of_each_texts_best() -> None:
    found = scored(ANSWERS, REFERENCES, ROUGE)
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for name, kind in zip(ROUGE, ("rouge1", "rouge2", "rougeL"), strict=True):
        best = [max(scorer.score(t, a)[kind].fmeasure for t in own) for a, own in zip(ANSWERS, REFERENCES, strict=True)]
        assert found[name] == pytest.approx(100 * np.mean(best))


@pytest.mark.parametrize(
    ("first", "second", "edits"), [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)]
)
def test_edits(first: str, second: str, edits: int) -> None:
    assert edit_distance(first, second) == edit_distance(second, first) == edits


def test_token_error_and_exact_answers_count_the_nearest_reference() -> None:
    found = scored(["A B C", "x"], [["A B D", "A B C E"], ["x"]], ("exact", "token-error"))
    assert found == {"exact": 0.5, "token-error": 1 / 5}, "one edit of four tokens is nearer than one of three"
    assert token_error(["a b"], [[""]]) == 2.0
    assert token_error([""], [[""]]) == 0.0


def test_what_is_no_measure_or_has_no_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"there is no 'BLUE'.*BLEU"):
        scored(ANSWERS, REFERENCES, ("BLUE",))
    with pytest.raises(ConfigError, match="at least one of BLEU"):
        scored(ANSWERS, REFERENCES, ())
    with pytest.raises(ShapeError, match="expected as many"):
        scored(ANSWERS, REFERENCES[:2])

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(text_scores, "import_module", missing)
    for measures in (("BLEU",), ("ROUGE-L",)):
        with pytest.raises(MissingExtra, match=r"tidegate\[text\]"):
            scored(ANSWERS, REFERENCES, measures)


def test_methods_without_a_net() -> None:
    assert commonest(["b", "a", "b", "a", "c"]) == "a"
    assert first_sentence("It rains. It pours? No!") == "It rains."
    assert first_sentence("no end") == "no end"
    assert set(baselines(["a b", "c"], "u")) == {"copy of the source", "commonest target"}
    found = baselines(["One. Two.", "Three! Four."], "u")
    assert found["first sentence (lead-1)"] == ["One.", "Three!"]
    assert found["commonest target"] == ["u", "u"]


def test_the_verdict_names_what_is_as_good() -> None:
    worse = scoreboard({"net": ["a", "b"], "copy": ["x", "y"]}, [["x"], ["z"]], ("BLEU", "exact"))
    (line,) = verdict(worse)
    assert "does not beat copy in exact" in line, "BLEU is 0 for both and tells nothing"
    assert verdict(scoreboard({"net": ["x", "z"], "copy": ["x", "y"]}, [["x"], ["z"]], ("token-error",))) == ()


def test_an_evaluation_is_shown_and_written(tmp_path: Path) -> None:
    board = scoreboard({"net": ANSWERS, "copy of the source": FIRST}, REFERENCES, USUAL)
    columns = {"source": ANSWERS, "truth": FIRST, "answer": ANSWERS}
    found = TextEvaluation(board, Table({n: np.array(c, dtype=object) for n, c in columns.items()}), 4)
    assert "4 texts:" in str(found)
    assert found.figures["exact"] == 0.0
    found.write(tmp_path / "out")
    said = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert said["figures"]["net"]["chrF"] == found.figures["chrF"]
    assert (tmp_path / "out" / "predictions.csv").read_text().startswith("source,truth,answer\n")
