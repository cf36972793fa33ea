"""The one loop of every decoder. In: a step, a feed, a state. Out: what each step gave, and the state.

The feed is given (teacher forcing), mixed (scheduled sampling) or the step's own output (free running): the loop does not care.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

X = TypeVar("X")
Y = TypeVar("Y")
S = TypeVar("S")


def unroll(step: Callable[[X, S], tuple[Y, S]], feed: Callable[[int, Y | None], X], state: S, steps: int) -> tuple[list[Y], S]:
    """Run `step` on `feed(k, previous output)` for k = 0 .. steps-1; the first previous output is None."""
    outputs: list[Y] = []
    previous: Y | None = None
    for k in range(steps):
        previous, state = step(feed(k, previous), state)
        outputs.append(previous)
    return outputs, state
