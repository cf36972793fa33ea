"""Measures of labels against scikit-learn, the calibration error by hand, the table and its verdict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from tidegate.data.table import Table
from tidegate.errors import ShapeError
from tidegate.tasks.label_scores import calibration_error, confusion, evaluation, scores

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 4, 300)
CHANCES = RNG.dirichlet(np.ones(5), 300)  # class 4 is never the truth


def test_measures_are_those_of_scikit_learn() -> None:
    said, found = CHANCES.argmax(1), scores(TRUTH, CHANCES)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(TRUTH, said))
    assert found["macro-F1"] == pytest.approx(metrics.f1_score(TRUTH, said, average="macro", labels=range(4)))
    assert found["macro-recall"] == pytest.approx(metrics.balanced_accuracy_score(TRUTH, np.minimum(said, 4)))
    assert found["log-loss"] == pytest.approx(metrics.log_loss(TRUTH, CHANCES, labels=range(5)))
    np.testing.assert_array_equal(confusion(TRUTH, said, 5), metrics.confusion_matrix(TRUTH, said, labels=range(5)))


def test_calibration_error_by_hand() -> None:
    chances = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [1.0, 0.0]])
    truth = np.array([0, 1, 0, 0])
    # bins of .9: two sure by .9, one right -> .8; of .6: .6 against 1 -> .4; of 1: 0; over four texts
    assert calibration_error(chances.argmax(1) == truth, chances.max(1)) == pytest.approx((0.8 + 0.4 + 0.0) / 4)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="expected"):
        scores(TRUTH[:3], CHANCES)


def judged(net: np.ndarray, other: np.ndarray, classes: int = 5) -> object:
    names = tuple("abcdefghijklmnopq"[:classes])
    table = Table({"text": np.array(["x"] * len(TRUTH), dtype=object)})
    return evaluation(TRUTH, {"net": net, "naive": other}, names, table)


def test_the_verdict_says_when_the_net_loses() -> None:
    right = np.eye(5)[TRUTH] * 0.96 + 0.008
    assert "does not beat naive" in " ".join(judged(CHANCES, right).verdict)
    won = judged(right, CHANCES)
    assert won.accuracy == 1.0
    assert "naive, which needs no net" in " ".join(won.verdict)
    assert won.board.best("accuracy") == ("net",)
    assert won.board.best("log-loss") == ("net",)
    assert "do not take them at their word" in " ".join(judged(np.eye(5)[CHANCES.argmax(1)], CHANCES).verdict)


def test_tables_of_few_and_of_many_classes() -> None:
    few = judged(CHANCES, CHANCES).confusion_text().splitlines()
    assert len(few) == 6
    assert few[1].split()[1:] == [str(n) for n in confusion(TRUTH, CHANCES.argmax(1), 5)[0]]
    wide = np.concatenate([CHANCES, np.zeros((300, 9))], 1)
    many = judged(wide, wide, 14).confusion_text()
    table = confusion(TRUTH, CHANCES.argmax(1), 5) * (1 - np.eye(5, dtype=int))
    assert many.splitlines()[1].split()[0] == str(table.max())


def test_written_and_read_again(tmp_path: Path) -> None:
    judged(CHANCES, CHANCES).write(tmp_path / "out")
    said = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert sum(map(sum, said["confusion"])) == 300
    assert (tmp_path / "out" / "predictions.csv").read_text().count("\n") == 301
