"""Measures of tags against seqeval, the baseline, the verdict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval import metrics

from tidegate.tasks.tag_scores import MostFrequentTag, span_counts, tag_scores, verdict

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SENTENCES = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=8), min_size=1, max_size=5
)


@given(SENTENCES)
def test_measures_are_those_of_seqeval(pairs: list[list[tuple[str, str]]]) -> None:
    truth, said = ([[pair[side] for pair in own] for own in pairs] for side in (0, 1))
    found = tag_scores(truth, said, "iob2")
    oracle = (metrics.f1_score, metrics.precision_score, metrics.recall_score)
    for name, measure in zip(("F1", "precision", "recall"), oracle, strict=True):
        assert found[name] == pytest.approx(measure(truth, said, zero_division=0)), name
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
    assert found["exact"] == np.mean([a == b for a, b in zip(truth, said, strict=True)])


def test_spans_are_counted_by_type() -> None:
    found = span_counts([["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "O", "O", "B-LOC"]], "iob2")
    assert {name: (c.right, c.said, c.true) for name, c in found.items()} == {"LOC": (1, 1, 1), "PER": (0, 1, 1)}


def test_plain_tags_have_no_spans() -> None:
    assert tag_scores([["NOUN", "B-X"]], [["NOUN", "VERB"]], None) == {"accuracy": 0.5, "exact": 0.0}


def test_the_commonest_tag_of_each_word() -> None:
    plain = MostFrequentTag([["a", "b", "a"], ["a", "c"]], [["X", "Y", "X"], ["Z", "X"]])
    assert plain.tags(["a", "b", "c", "new"]) == ["X", "Y", "X", "X"]


@pytest.mark.parametrize(("own", "other", "said"), [(0.9, 0.8, "which needs no net, has 80.0 %"), (0.7, 0.8, "does not beat")])
def test_the_verdict_names_what_is_better(own: float, other: float, said: str) -> None:
    assert said in " ".join(verdict({"net": {"accuracy": own}, "plain": {"accuracy": other}}, 100, 9))
