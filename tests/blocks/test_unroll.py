"""The decoder loop: what is fed when, and that a given feed is the same as a whole sequence."""

from __future__ import annotations

from tidegate.blocks.unroll import unroll


def add(x: int, total: int) -> tuple[int, int]:
    return total + x, total + x


def test_a_given_feed_is_teacher_forcing() -> None:
    outputs, state = unroll(add, lambda k, previous: [1, 2, 3][k], 10, 3)
    assert (outputs, state) == ([11, 13, 16], 16)


def test_the_own_output_is_fed_back() -> None:
    fed = []

    def feed(k: int, previous: int | None) -> int:
        fed.append((k, previous))
        return 1 if previous is None else previous

    outputs, state = unroll(add, feed, 0, 4)
    assert fed == [(0, None), (1, 1), (2, 2), (3, 4)]
    assert (outputs, state) == ([1, 2, 4, 8], 8)


def test_no_steps_leave_the_state() -> None:
    assert unroll(add, lambda k, previous: 1, 7, 0) == ([], 7)
