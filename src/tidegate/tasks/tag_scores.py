"""How good tags are. In: the true tags of sentences and those of several methods. Out: measures, a verdict.

accuracy: share of right tags. exact: share of sentences without a wrong tag. precision, recall, F1: of spans, exact in type and
borders, over all sentences together, as conlleval (Tjong Kim Sang & Buchholz 2000) and seqeval count them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from tidegate.data.schemes import Scheme, spans

Tags = Sequence[Sequence[str]]
LARGER = ("accuracy", "exact", "precision", "recall", "F1", "label-accuracy")
PLAIN = ("accuracy", "exact")
SPANS = ("F1", "precision", "recall", "accuracy", "exact")


def tag_scores(truth: Tags, said: Tags, scheme: Scheme | None) -> dict[str, float]:
    """The measures of one method. scheme: of both; None where the tags are no spans, and the measures of spans are left out."""
    words = sum(map(len, truth))
    right = sum(a == b for own, found in zip(truth, said, strict=True) for a, b in zip(own, found, strict=True))
    whole = sum(list(own) == list(found) for own, found in zip(truth, said, strict=True))
    plain = {"accuracy": right / max(words, 1), "exact": whole / max(len(truth), 1)}
    if scheme is None:
        return plain
    total = sum(span_counts(truth, said, scheme).values(), start=Counts())
    return {"F1": total.f1, "precision": total.precision, "recall": total.recall, **plain}


@final
@dataclass(frozen=True)
class Counts:
    """Spans that are right, that were said, that are true; 0/0 counts as 0."""

    right: int = 0
    said: int = 0
    true: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.right + other.right, self.said + other.said, self.true + other.true)

    @property
    def precision(self) -> float:
        """Right of those said."""
        return self.right / self.said if self.said else 0.0

    @property
    def recall(self) -> float:
        """Right of the true ones."""
        return self.right / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2.0 * self.right / (self.said + self.true) if self.said + self.true else 0.0


def span_counts(truth: Tags, said: Tags, scheme: Scheme) -> dict[str, Counts]:
    """By type, in alphabetical order."""
    found: dict[str, Counts] = defaultdict(Counts)
    for own, other in zip(truth, said, strict=True):
        true, claimed = Counter(spans(own, scheme)), Counter(spans(other, scheme))
        for type_ in {span.type for span in (*true, *claimed)}:
            right, *both = (sum(n for span, n in part.items() if span.type == type_) for part in (true & claimed, claimed, true))
            found[type_] += Counts(right, *both)
    return dict(sorted(found.items()))


@final
class MostFrequentTag:
    """The baseline: each word's commonest tag in training; of a word that training did not have, the commonest of all.

    Of spans the commonest tag is O nearly everywhere, so that a span's words are right only where they are always one.
    """

    def __init__(self, sentences: Sequence[Sequence[str]], tags: Tags) -> None:
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for words, own in zip(sentences, tags, strict=True):
            for word, tag in zip(words, own, strict=True):
                counts[word][tag] += 1
        total = sum(counts.values(), Counter[str]())
        self.commonest = min(total, key=lambda tag: (-total[tag], tag))
        self._of = {word: min(own, key=lambda tag: (-own[tag], tag)) for word, own in counts.items()}

    def tags(self, words: Sequence[str]) -> list[str]:
        """One tag a word."""
        return [self._of.get(word, self.commonest) for word in words]


def verdict(table: Mapping[str, Mapping[str, float]], words: int, sentences: int) -> tuple[str, ...]:
    """Sentences that say how good the net is beside the best of the others."""
    measure = "F1" if "F1" in table["net"] else "accuracy"
    own = table["net"][measure]
    others = {name: row[measure] for name, row in table.items() if name != "net"}
    if measure == "F1":
        said = [f"The net finds spans with an F1 of {100 * own:.1f} % ({sentences:,} sentences, {words:,} words)."]
    else:
        spread = 2.0 * np.sqrt(max(own * (1 - own), 1e-9) / max(words, 1))
        said = [f"The net is right on {100 * own:.2f} % of {words:,} words (give or take {100 * spread:.2f})."]
    for name, other in others.items():
        if other >= own:
            said.append(f"It does not beat {name} ({100 * other:.1f} %), which needs no net: train longer, on more, or use that.")
        else:
            said.append(f"{name[0].upper() + name[1:]}, which needs no net, has {100 * other:.1f} %.")
    return tuple(said)
