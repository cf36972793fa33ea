"""The sentences of the demonstration: the questions are new, and their decisive words do not stand together in training."""

from __future__ import annotations

import re

import pytest

from tidegate.tasks import showcase
from tidegate.tasks.claims import CLAIMS
from tidegate.tasks.showcase import QUESTIONS, TRAINING, courses

SEEDS = (0, 1, 7)
PIECES = {piece.name: piece for course in courses(0) for piece in course.pieces}


def training(name: str) -> set[str]:
    """The training texts of a course, of several seeds."""
    return {s.text for seed in SEEDS for course in courses(seed) if course.name == name for s in course.training}


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_question_stands_in_training(seed: int) -> None:
    for course in courses(seed):
        assert len(course.training) > TRAINING * 0.9
        learnt = {s.text for s in course.training} | {s.before for s in course.training if course.inside}
        for piece in course.pieces:
            assert learnt.isdisjoint(q.text for q in piece.questions), piece.name


def test_questions_are_balanced_and_the_same_for_every_seed() -> None:
    for course, other in zip(courses(0), courses(5), strict=True):
        assert course.pieces == other.pieces
        assert course.training != other.training
        assert course == next(again for again in courses(0) if again.name == course.name)
        for piece in course.pieces:
            labels = [q.label for q in piece.questions]
            assert {labels.count(name) for name in course.classes} == {QUESTIONS // len(course.classes)}
            assert len(set(piece.questions)) == QUESTIONS
            assert all(0 < q.read <= len(q.text.split()) for q in piece.questions)
        assert course.inside == any(q.before != q.text for piece in course.pieces for q in piece.questions)


def test_every_class_and_word_of_a_question_was_read_but_the_names() -> None:
    for course in courses(0):
        assert {s.label for s in course.training} == set(course.classes)
        known = {word for s in course.training for word in words(s.text)}
        new = {word for piece in course.pieces for q in piece.questions for word in words(q.text)} - known
        assert new == (set(showcase.NAMES_ASKED) if course.name == "company" else set())


def test_the_words_of_praise_were_read_in_plain_sentences_alone() -> None:
    asked = set(showcase.PRAISE_ASKED + showcase.BLAME_ASKED)
    turning = {"not", "nobody", "never", "began", "first", "seemed"}
    assert all(not words(text) & turning for text in training("praise") if words(text) & asked)
    for name in ("negation", "ending"):
        assert all(words(q.text) & asked for q in PIECES[name].questions)
    assert all(not words(q.text) & asked for q in PIECES["read negation"].questions)


def test_the_clauses_between_are_other_ones_and_the_gap_is_long() -> None:
    def clauses(texts: set[str]) -> set[str]:
        return {part.strip() for text in texts for part in text.split(",")[1:-1]}

    asked = {q.text for name in ("short gap", "long gap") for q in PIECES[name].questions}
    assert clauses(asked)
    assert clauses(asked).isdisjoint(clauses(training("origin")))
    longest = max(len(text.split()) for text in training("origin"))
    assert all(len(q.text.split()) > 2 * longest for q in PIECES["long gap"].questions)


def test_a_noun_was_never_read_with_the_words_that_settle_it() -> None:
    cues = {**showcase.ADJECTIVES, "after": showcase.AFTER["animal"] + showcase.AFTER["thing"]}
    settling = [cue for own in cues.values() for cue in own]
    seen = {
        (noun, cue) for text in training("sense") for noun in showcase.NOUNS for cue in settling if noun in text and cue in text
    }
    for name in ("sense before", "sense after", "sense at the end"):
        for question in PIECES[name].questions:
            pair = next((n, c) for n in showcase.NOUNS for c in settling if n in question.text and c in question.text)
            assert pair not in seen
    assert all(q.before == q.text for q in PIECES["sense at the end"].questions)
    assert all(not any(cue in q.before for cue in settling) for q in PIECES["sense after"].questions)


def test_what_is_read_before_a_name_says_nothing() -> None:
    by_label: dict[str, set[str]] = {"company": set(), "other": set()}
    for question in PIECES["company"].questions:
        by_label[question.label].add(question.before.rsplit(" ", 1)[0])
    assert by_label["company"] == by_label["other"] or len(by_label["company"] & by_label["other"]) > 2


def test_a_clause_names_the_other_number() -> None:
    for question in PIECES["agreement"].questions:
        nouns = [w for w in question.text.split() if any(w in pair for pair in showcase.PAIRS_ASKED)]
        plural = [w.endswith("s") for w in nouns]
        assert len(nouns) == 3
        assert plural[1:] == [not plural[0]] * 2
        assert question.label == ("are" if plural[0] else "is")
    asked = {w for pair in showcase.PAIRS_ASKED for w in pair}
    assert all(not words(text) & {"that", "which", "near", "behind"} for text in training("agreement") if words(text) & asked)


def test_every_piece_is_claimed_about() -> None:
    assert {claim.piece for claim in CLAIMS} == set(PIECES)
