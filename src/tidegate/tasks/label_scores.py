"""How good labels are. In: true classes and the probabilities of several methods. Out: a table, a confusion table, a verdict.

accuracy: share of right labels. macro-F1 and macro-recall: the mean over the classes that occur among the truths. log-loss: the
mean of -log p(truth). ECE: expected calibration error over 15 bins of equal width of the highest probability (Guo et al. 2017).
"""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.data.table import Table
from tidegate.errors import ShapeError
from tidegate.files import output_error, write_atomic
from tidegate.tasks.scoreboard import Scoreboard, show

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BINS = 15
LARGER = ("accuracy", "macro-F1", "macro-recall")
SHOWN_CLASSES = 12


def scores(truth: Ints, probabilities: Floats) -> dict[str, float]:
    """The measures of one method. truth: (N,) classes. probabilities: (N, K), rows that add up to 1."""
    if probabilities.ndim != 2 or truth.shape != probabilities.shape[:1] or not len(truth):
        raise ShapeError(
            f"truth, probabilities: expected (N,) and (N, K), N at least 1, got {truth.shape}, {probabilities.shape}"
        )
    said = probabilities.argmax(1)
    table = confusion(truth, said, probabilities.shape[1])
    right, true, claimed = np.diag(table).astype(float), table.sum(1).astype(float), table.sum(0).astype(float)
    there = true > 0
    own = probabilities[np.arange(len(truth)), truth]
    return {
        "accuracy": float((said == truth).mean()),
        "macro-F1": float((2.0 * right[there] / (true[there] + claimed[there])).mean()),
        "macro-recall": float((right[there] / true[there]).mean()),
        "log-loss": float(-np.log(np.maximum(own, 1e-300)).mean()),
        "ECE": calibration_error(said == truth, probabilities.max(1)),
    }


def confusion(truth: Ints, said: Ints, classes: int) -> Ints:
    """(K, K) counts: row the truth, column the answer."""
    return np.bincount(truth * classes + said, minlength=classes * classes).reshape(classes, classes)


def calibration(right: npt.NDArray[np.bool_], sure: Floats, bins: int = BINS) -> tuple[Floats, Floats, Ints]:
    """Bin by bin: the mean of how sure the answers were, the share of right ones, how many; 0 in empty bins. (bins,) each.

    Args:  right: (N,) whether an answer was. sure: (N,) its probability.
    """
    place = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    parts = (sure, right.astype(float))
    said, found = (np.bincount(place, part, minlength=bins) / np.maximum(count, 1) for part in parts)
    return said, found, count


def calibration_error(right: npt.NDArray[np.bool_], sure: Floats, bins: int = BINS) -> float:
    """The mean distance between how sure the answers were and how often they were right, bin by bin."""
    said, found, count = calibration(right, sure, bins)
    return float((np.abs(said - found) * count).sum() / len(right))


@final
@dataclass(frozen=True, eq=False)
class LabelEvaluation:
    """The scores of a classifier beside those of the methods that need no net, and what it mistakes for what."""

    board: Scoreboard
    classes: tuple[str, ...]
    confusion: Ints  # (K, K), row the truth
    verdict: tuple[str, ...]
    predictions: Table  # text, truth, label, probability
    calibration: tuple[Floats, Floats, Ints]  # see `calibration`

    @property
    def accuracy(self) -> float:
        """Of the net."""
        return self.figures["accuracy"]

    @property
    def figures(self) -> Mapping[str, float]:
        """The net's own."""
        return self.board.figures["net"]

    def __str__(self) -> str:
        return "\n".join([self.board.text(), "* = best", "", *self.verdict, "", self.confusion_text()])

    def _repr_html_(self) -> str:
        return f"{self.board.html()}<p>{html.escape(' '.join(self.verdict))}</p><pre>{html.escape(self.confusion_text())}</pre>"

    def confusion_text(self) -> str:
        """The confusion table; of more than 12 classes, the 20 commonest mistakes."""
        if len(self.classes) > SHOWN_CLASSES:
            return _mistakes(self.confusion, self.classes)
        width = max(len("truth"), *(len(c) for c in self.classes))
        cells = [
            ["truth", *self.classes],
            *([c, *map(str, row)] for c, row in zip(self.classes, self.confusion.tolist(), strict=True)),
        ]
        widths = [width, *(max(len(row[k]) for row in cells) for k in range(1, len(cells[0])))]
        return "\n".join(
            "  ".join([r[0].ljust(width), *(c.rjust(w) for c, w in zip(r[1:], widths[1:], strict=True))]) for r in cells
        )

    def to_json(self) -> dict[str, Plain]:
        """Figures, classes and confusion as plain values."""
        figures: dict[str, Plain] = {m: dict(row) for m, row in self.board.figures.items()}
        counts: list[Plain] = [list(row) for row in self.confusion.tolist()]
        return {"figures": figures, "classes": list(self.classes), "confusion": counts, "verdict": list(self.verdict)}

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write predictions.csv and scores.json into a folder, made if it is not there. Raises: OutputError."""
        import json

        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(place, error) from error
        self.predictions.write_csv(place / "predictions.csv")
        write_atomic(place / "scores.json", json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n")


def evaluation(truth: Ints, methods: Mapping[str, Floats], classes: tuple[str, ...], predictions: Table) -> LabelEvaluation:
    """Scores of each method's probabilities; "net" is the judged one."""
    board = Scoreboard({name: scores(truth, p) for name, p in methods.items()}, larger=LARGER)
    table = confusion(truth, methods["net"].argmax(1), len(classes))
    right = methods["net"].argmax(1) == truth
    return LabelEvaluation(
        board, classes, table, _verdict(board, len(truth)), predictions, calibration(right, methods["net"].max(1))
    )


def _verdict(board: Scoreboard, count: int) -> tuple[str, ...]:
    """Sentences. A difference within twice its standard error is no difference."""
    own = board.figures["net"]
    spread = 2.0 * np.sqrt(max(own["accuracy"] * (1 - own["accuracy"]), 1e-9) / count)
    said = [f"The net is right on {100 * own['accuracy']:.1f} % of {count:,} texts (give or take {100 * spread:.1f})."]
    others = {name: row["accuracy"] for name, row in board.figures.items() if name != "net"}
    if others:
        name = max(others, key=lambda n: others[n])
        gap = own["accuracy"] - others[name]
        if gap <= 0:
            said.append(
                f"It does not beat {name} ({100 * others[name]:.1f} %), which needs no net: train longer, on more, or use that."
            )
        elif gap <= spread:
            said.append(f"{name} is right on {100 * others[name]:.1f} %: the net is ahead by less than chance may give.")
        else:
            said.append(f"{name}, which needs no net, is right on {100 * others[name]:.1f} %.")
    if own["ECE"] > 0.05:
        said.append(f"Its probabilities are off by {show(own['ECE'])} on average: do not take them at their word.")
    return tuple(said)


def _mistakes(table: Ints, classes: tuple[str, ...]) -> str:
    wrong = table * (1 - np.eye(len(classes), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:20]
    pairs = [(int(wrong.flat[k]), classes[k // len(classes)], classes[k % len(classes)]) for k in order if wrong.flat[k]]
    return "\n".join(["mistakes, the commonest first:", *(f"{n:>6}  {a} taken for {b}" for n, a, b in pairs)])
