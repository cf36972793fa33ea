"""The tree of errors, and messages that quote what a hostile file holds."""

from __future__ import annotations

import time

import pytest

from tidegate import errors
from tidegate.errors import MOST_SHOWN, MOST_TEXT, TidegateError, bounded, nearest, shown


def test_every_error_is_of_the_tree_and_says_what_it_is() -> None:
    own = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(own) >= 10
    assert all(issubclass(e, TidegateError) and e.__doc__ for e in own)
    assert all(e.__name__ in (errors.__doc__ or "") for e in own)


def test_the_nearest_name() -> None:
    assert nearest("hidden_siz", ["cell", "hidden_size"]) == "did you mean 'hidden_size'?"
    assert nearest("x", ["b", "a"]) == "known: a, b"
    assert nearest("x", []) == "known: none"
    assert nearest("x", [f"long{k}" for k in range(100)]).endswith("long43, long44, ...")


@pytest.mark.parametrize("known", [["ba" * 200_000] * 3, [f"{'ab' * 40}{k}" for k in range(100_000)]], ids=["long", "many"])
def test_hostile_names_are_not_compared_for_minutes(known: list[str]) -> None:
    began = time.process_time()
    assert len(nearest("ab" * 200_000, known)) < 10_000
    nearest("ab" * 40, known)
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    "value", ["x" * 10_000, [[[0] * 1000] * 1000] * 1000, 10**4000, {str(k): k for k in range(1000)}, 1.5, None]
)
def test_a_shown_value_is_short(value: object) -> None:
    assert 0 < len(shown(value)) <= MOST_SHOWN


def test_a_bounded_message() -> None:
    assert bounded("as it is") == "as it is"
    assert len(bounded("x" * 10**6)) <= MOST_TEXT + 4
