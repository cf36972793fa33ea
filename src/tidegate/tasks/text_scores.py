"""How good written texts are. In: answers and their references. Out: measures of several methods, a table, a verdict.

BLEU and chrF: of the whole set, 0 to 100, by sacrebleu (Papineni et al. 2002; Popovic 2015; Post 2018). ROUGE-1, -2, -L: mean F1
over the texts, 0 to 100, with stemming, by rouge-score (Lin 2004). exact: share of answers equal to their reference. token-error:
edits of tokens a reference token (Levenshtein), over the whole set. Several references a text: what is nearest counts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast, final

import numpy as np

from tidegate.config import Plain
from tidegate.data.table import Table
from tidegate.errors import ConfigError, ShapeError, missing_extra, nearest
from tidegate.files import output_error, write_atomic
from tidegate.tasks.scoreboard import Scoreboard

Measure = Literal["BLEU", "chrF", "exact", "token-error", "ROUGE-1", "ROUGE-2", "ROUGE-L"]
USUAL: tuple[Measure, ...] = ("BLEU", "chrF", "exact", "token-error")
ROUGE: tuple[Measure, ...] = ("ROUGE-1", "ROUGE-2", "ROUGE-L")
LARGER = ("BLEU", "chrF", "exact", *ROUGE)
References = Sequence[Sequence[str]]  # of each text


def text_scores(answers: Sequence[str], references: References, measures: Sequence[Measure] = USUAL) -> dict[str, float]:
    """The measures of one method. references: of each answer, at least one.

    Raises: ConfigError for a measure that is not known; MissingExtra for one whose library is not installed.
    """
    if len(answers) != len(references) or not len(answers) or not all(references):
        raise ShapeError(f"answers, references: expected as many, at least one each, got {len(answers)} and {len(references)}")
    check_measures(measures)
    found: dict[str, float] = {}
    for name in measures:
        if name in ("BLEU", "chrF"):
            found[name] = _corpus(name, answers, references)
        elif name == "exact":
            found[name] = float(np.mean([answer in own for answer, own in zip(answers, references, strict=True)]))
        elif name == "token-error":
            found[name] = token_error(answers, references)
    if any(name in ROUGE for name in measures):
        rouge = _rouge(answers, references)
        found |= {name: rouge[name] for name in measures if name in ROUGE}
    return {name: found[name] for name in measures}


def check_measures(measures: Sequence[str]) -> None:
    """Before any work. Raises: ConfigError; MissingExtra."""
    known = (*USUAL, *ROUGE)
    if not measures:
        raise ConfigError(f"measures: expected at least one of {', '.join(known)}, got none")
    for name in measures:
        if name not in known:
            raise ConfigError(f"measures: there is no {name!r}; {nearest(name, known)}")
    if any(name in ("BLEU", "chrF") for name in measures):
        _library("sacrebleu")
    if any(name in ROUGE for name in measures):
        _library("rouge_score.rouge_scorer")


def token_error(answers: Sequence[str], references: References) -> float:
    """Edits a token of the nearest reference, tokens standing between blanks; infinite where only empty ones are missed."""
    edits, tokens = 0, 0
    for answer, own in zip(answers, references, strict=True):
        counted = [(edit_distance(answer.split(), truth.split()), len(truth.split())) for truth in own]
        nearest_one = min(counted, key=lambda pair: pair[0] / max(pair[1], 1))
        edits, tokens = edits + nearest_one[0], tokens + nearest_one[1]
    return edits / max(tokens, 1)


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Insertions, deletions and replacements from one to the other (Levenshtein 1966)."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def _corpus(name: str, answers: Sequence[str], references: References) -> float:
    library = _library("sacrebleu")
    most = max(map(len, references))
    streams = [[own[k] if k < len(own) else None for own in references] for k in range(most)]
    score = library.corpus_bleu if name == "BLEU" else library.corpus_chrf
    return float(score(list(answers), streams).score)


def _rouge(answers: Sequence[str], references: References) -> dict[str, float]:
    """The mean of each text's best F1, in percent."""
    kinds = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}
    scorer = _library("rouge_score.rouge_scorer").RougeScorer(list(kinds.values()), use_stemmer=True)
    rows = [scorer.score_multi(list(own), answer) for answer, own in zip(answers, references, strict=True)]
    return {name: 100.0 * float(np.mean([row[kind].fmeasure for row in rows])) for name, kind in kinds.items()}


def _library(name: str) -> Any:
    """A scorer's package. Raises: MissingExtra."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise missing_extra(f"this measure ({name.partition('.')[0].replace('_', '-')})", "text") from error


def commonest(texts: Sequence[str]) -> str:
    """The most frequent text, of equal ones the first in the alphabet."""
    names, counts = np.unique(np.array(texts, dtype=object), return_counts=True)
    return str(names[counts.argmax()])


def first_sentence(text: str) -> str:
    """Up to the first full stop, exclamation or question mark that a blank follows (lead-1)."""
    ends = [text.find(mark) + 1 for mark in (". ", "! ", "? ") if mark in text]
    return text[: min(ends)] if ends else text


def baselines(sources: Sequence[str], usual: str) -> dict[str, list[str]]:
    """Answers that need no net. usual: the most frequent target of training."""
    found = {"copy of the source": list(sources), "commonest target": [usual] * len(sources)}
    leads = [first_sentence(text) for text in sources]
    if sum(a != b for a, b in zip(leads, sources, strict=True)) > len(leads) // 2:
        found["first sentence (lead-1)"] = leads
    return found


@final
@dataclass(frozen=True)
class TextEvaluation:
    """Scores of the net and of the methods that need none. predictions: source, truth and answer of each text."""

    board: Scoreboard
    predictions: Table
    count: int

    @property
    def figures(self) -> Mapping[str, float]:
        """The net's measures."""
        return self.board.figures["net"]

    @property
    def verdict(self) -> tuple[str, ...]:
        """Sentences."""
        return verdict(self.board)

    def __str__(self) -> str:
        return "\n".join([f"{self.count:,} texts:", self.board.text(), "* = best", *self.verdict])

    def to_json(self) -> dict[str, Plain]:
        """Figures and verdict as plain values."""
        figures: dict[str, Plain] = {m: cast(Plain, dict(row)) for m, row in self.board.figures.items()}
        return {"figures": figures, "verdict": list(self.verdict)}

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


def scoreboard(methods: Mapping[str, Sequence[str]], references: References, measures: Sequence[Measure] = USUAL) -> Scoreboard:
    """The table of several methods' answers; "net" is the judged one."""
    return Scoreboard({name: text_scores(found, references, measures) for name, found in methods.items()}, larger=LARGER)


def verdict(board: Scoreboard) -> tuple[str, ...]:
    """Where a method without a net is as good, in the first measure that tells methods apart."""
    apart = [m for m in board.measures if len({row[m] for row in board.figures.values()}) > 1]
    measure = (apart or board.measures)[0]
    sign = 1.0 if measure in LARGER else -1.0
    own = board.figures["net"][measure]
    better = [name for name, row in board.figures.items() if name != "net" and sign * row[measure] >= sign * own]
    if not better:
        return ()
    return (f"The net does not beat {better[0]} in {measure}, which needs no net: train longer, on more pairs, or use that.",)
