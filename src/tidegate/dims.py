"""The one legend of dimension letters, and the check of a shape against it. In: an array. Out: nothing, or a ShapeError.

B batch · T time · I input · H hidden · G gates*H · L layers · D directions · V vocabulary · K classes · S source
U target · F horizon · C channels · Q quantile levels · W windows (series x cutoff) of an evaluation
P parameters of a distribution
"""

from __future__ import annotations

from typing import Protocol

from tidegate.errors import ShapeError

LEGEND = {
    "B": "batch", "T": "time", "I": "input", "H": "hidden", "G": "gates x hidden", "L": "layers", "D": "directions",
    "V": "vocabulary", "K": "classes", "S": "source", "U": "target", "F": "horizon", "C": "channels",
    "Q": "quantile levels", "W": "windows", "P": "parameters of a distribution",
}  # fmt: skip


class HasShape(Protocol):
    """An array of any library."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""


def check_shape(name: str, array: HasShape, letters: str, remedy: str = "", **sizes: int) -> None:
    """Check `array` against letters such as "B T I"; sizes fix some of the letters.

    Raises: ShapeError with what was expected and what was got.
    """
    wanted = letters.split()
    got = tuple(int(n) for n in array.shape)
    fits = len(got) == len(wanted) and all(sizes.get(w, n) == n for w, n in zip(wanted, got, strict=True))
    if not fits:
        expected = ", ".join(str(sizes.get(w, w)) for w in wanted)
        meaning = ", ".join(f"{w} = {LEGEND.get(w, w)}" for w in dict.fromkeys(wanted) if w not in sizes)
        raise ShapeError(f"{name}: expected ({expected}), got {got}{f' where {meaning}' if meaning else ''}. {remedy}".rstrip())
