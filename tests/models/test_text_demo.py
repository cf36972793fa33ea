"""The nets of the demonstration: what they learn, what they are given to read, how their answers are counted."""

from __future__ import annotations

import pytest

from tidegate.models.text_demo import Answer, answers, nets_of, shares
from tidegate.tasks.claims import BAG, BOTH, GRU, GUESS, LSTM, RNN, WAITS
from tidegate.tasks.showcase import Piece, Sentence, courses

COURSES = {course.name: course for course in courses(0)}


@pytest.fixture(scope="module")
def found() -> dict[str, list[Answer]]:
    """What every method says of names."""
    told = list(answers(COURSES["company"], 0, 60))
    assert [each.learnt is None for each in told] == [True] + [False] * 5
    return {each.method: each.answers for each in told}


def test_what_follows_settles_it_for_those_that_read_it(found: dict[str, list[Answer]]) -> None:
    assert list(found) == [BAG, RNN, LSTM, GRU, BOTH, WAITS]
    (piece,) = COURSES["company"].pieces
    measured = shares(piece, [answer for own in found.values() for answer in own], 2)
    assert measured[BOTH].mean > 0.9
    assert measured[WAITS].mean > 0.9
    for name in (RNN, LSTM, GRU):
        assert 0.3 < measured[name].mean < 0.7, "the words before a name say nothing"
    assert measured[GUESS].mean == 0.5


def test_a_net_that_reads_left_to_right_is_not_shown_the_rest(found: dict[str, list[Answer]]) -> None:
    """Questions that begin alike get one answer."""
    for name in (RNN, LSTM, GRU):
        by_beginning: dict[str, set[tuple[str, float]]] = {}
        for answer in found[name]:
            by_beginning.setdefault(answer.question.before, set()).add((answer.said, answer.probability))
        assert all(len(said) == 1 for said in by_beginning.values())


def test_the_same_seed_says_the_same() -> None:
    first, second = (list(answers(COURSES["praise"], 3, 5)) for _ in range(2))
    assert first == second


def test_only_where_it_differs_a_net_waits() -> None:
    assert WAITS not in {net.name for net in nets_of(COURSES["agreement"])}
    assert WAITS in {net.name for net in nets_of(COURSES["sense"])}


def test_shares_are_counted_seed_by_seed() -> None:
    questions = tuple(Sentence(f"text {k}", "yes", 2) for k in range(4))
    own = [
        Answer("p", LSTM, seed, question, "yes" if k < right else "no", 0.9)
        for seed, right in ((0, 4), (1, 1))
        for k, question in enumerate(questions)
    ]
    measured = shares(Piece("p", "t", questions), own, 2)
    assert measured[LSTM].right == (4.0, 1.0)
    assert str(measured[LSTM]) == "62 % (25-100)"
