"""What is wrong with options that several tasks have. In: an options object, names of its fields. Out: sentences, one a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence


def common_faults(options: object, *, counts: Sequence[str], shares: Sequence[str]) -> Iterator[str]:
    """counts: whole numbers of at least 1. shares: 0 <= share < 1. None, where an option may be left out, is no fault.

    Beside these: patience, seed, learning_rate and validation, which every text task has.
    """
    rules: list[tuple[str, str, Callable[[float], bool]]] = [
        *((name, "at least 1", lambda v: v >= 1) for name in counts),
        *((name, "0 <= share < 1", lambda v: 0 <= v < 1) for name in shares),
        ("patience", "at least 0", lambda v: v >= 0),
        ("seed", "0 <= seed < 2**63", lambda v: 0 <= v < 1 << 63),
        ("learning_rate", "more than 0", lambda v: v > 0),
        ("validation", "0 < share < 1, since what is held back chooses the best weights", lambda v: 0 < v < 1),
    ]
    for name, expected, good in rules:
        value = getattr(options, name)
        if value is not None and not good(value):
            yield f"{name}: expected {expected}, got {value}"
    yield from _idle(options)


def _idle(options: object) -> Iterator[str]:
    """Options that the unit leaves without effect, where they are set."""
    units = getattr(options, "units", None)
    rules = (
        ("min_count", units in ("byte", "bpe"), "knows every byte, so that nothing is unknown"),
        ("unknown_rate", units in ("char", "byte", "bpe"), "forgets no tokens in training: only words and tokens are forgotten"),
    )
    for name, idle, why in rules:
        usual = getattr(type(options), name, None)  # a dataclass keeps its defaults there
        if idle and getattr(options, name, usual) != usual:
            yield f"{name}: has no effect with units={units!r}, which {why}; leave it out, or set units='word'"
