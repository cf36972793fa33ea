"""One step of a net as C, as it grows. In: what blocks add. Out: arrays, fields of state, buffers, statements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.runtime.predictor import Predictor
from tidegate.spec import Block, weight_name

Floats = npt.NDArray[np.float32]
MOST = 1e37  # no sum may come near the largest float32
MOST_SQUARED = 1e17  # nor may the squares of a norm


class Place(NamedTuple):
    """Where a block's numbers stand; their absolute values are at most `still + moving * B` where inputs are at most B.

    rows: steps inside a segment that stand there, each of `size` numbers, `apart` from one to the next.
    """

    at: str
    size: int
    still: float
    moving: float
    rows: int = 1
    apart: int = 0


@final
@dataclass
class Steps:
    """What one step of a net is made of, as it grows."""

    name: str
    net: Predictor
    arrays: dict[str, Floats] = field(default_factory=dict)  # tables of weights, in flash
    state: dict[str, int] = field(default_factory=dict)  # carried between steps, from zero
    pooled: dict[str, int] = field(default_factory=dict)  # the same, but no part of the spec's state
    buffers: dict[str, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    products: int = 0  # multiply-adds of a step
    most: float = 1e30  # inputs beyond it could overflow
    guarded: bool = False  # numbers may grow without bound: each step is checked at its end
    counted: bool = False  # the state counts steps

    def array(self, name: str, values: npt.NDArray[np.floating]) -> str:
        """A table of weights; its name."""
        full = self.table(name)
        self.arrays[full] = np.asarray(values, np.float32)
        return full

    def table(self, name: str) -> str:
        """What a table of weights is called: like nothing else in the header, whatever a block is called."""
        return f"{self.name}_w_{name}"

    @property
    def flash(self) -> int:
        """Bytes of weights."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def ram(self) -> int:
        """Bytes of a state, where vectors hold one number."""
        return 4 * (sum(self.state.values()) + sum(self.pooled.values()) + self.counted)

    @property
    def stack(self) -> int:
        """Bytes of a step's buffers there."""
        return 4 * sum(self.buffers.values())

    def weight(self, block: Block, name: str) -> Floats:
        """A weight of a block, float32."""
        return np.asarray(self.net.weights[weight_name(block, name)], np.float32)

    def say(self, *lines: str) -> None:
        """Further statements."""
        self.lines.extend(lines)

    def buffer(self, name: str, size: int) -> str:
        """A local array of a block; it ends in an underscore, which no name of the header's own does."""
        self.buffers[f"{name}_"] = size
        return f"{name}_"

    def bound(self, place: Place, most: float = MOST) -> None:
        """Values at `place` stay below `most`: by what inputs may be, or by checking each step."""
        if place.still >= most or not np.isfinite(place.moving):
            self.guarded = True
        elif place.moving > 0:
            self.most = min(self.most, (most - place.still) / place.moving)
