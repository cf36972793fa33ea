"""The rows of the core's benchmark, as data. In: nothing. Out: shapes, the figures asked of them, operations, names of rows.

Times and machines are left to measure.py, what a row runs to rows.py. Letters: B batch, T time, I input, H hidden, D directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
CELLS = tuple(GATES)
SHORTEST = 0.1  # ragged lengths are spread evenly from this share of T up to T
INFERENCE_PEAK_SHARE = 0.75  # an inference must is never above the ratio that this share of the peak gives


class Asked(NamedTuple):
    """A figure to reach and the one to aim at; None: no aim is set."""

    must: float
    aim: float | None = None


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A stack of layers and the batch it reads. `asked`: PyTorch's time over ours in training, for each cell."""

    batch: int
    steps: int
    input_size: int
    hidden_size: int
    asked: dict[str, Asked]
    num_layers: int = 1
    directions: int = 1
    packed: bool = False

    def lengths(self) -> list[int]:
        """(B,) longest first, from T down to a tenth of it; all T where the shape is not packed."""
        return spread(self.batch, self.steps) if self.packed else [self.steps] * self.batch

    def title(self) -> str:
        """As the tables name it."""
        same = self.input_size == self.hidden_size
        sizes = f"{self.hidden_size}" if same else f"I {self.input_size}, H {self.hidden_size}"
        text = f"{self.batch}, {self.steps}, {sizes}"
        text = f"packed, {text}, mean length 55 %" if self.packed else text
        text = f"bidirectional, {text}" if self.directions == 2 else text
        return f"{self.num_layers} layers, {text}" if self.num_layers > 1 else text


def _asked(*pairs: tuple[float, float]) -> dict[str, Asked]:
    return {cell: Asked(*pair) for cell, pair in zip(("lstm", "gru", "rnn"), pairs, strict=True)}


def _square(batch: int, steps: int, size: int, *pairs: tuple[float, float], num_layers: int = 1, packed: bool = False) -> Shape:
    return Shape(
        batch=batch, steps=steps, input_size=size, hidden_size=size, asked=_asked(*pairs), num_layers=num_layers, packed=packed
    )


SHAPES = {
    "32x100x64": _square(32, 100, 64, (1.4, 1.8), (9, 13), (5, 9)),
    "32x100x128": _square(32, 100, 128, (1.3, 1.5), (4.5, 5.7), (5, 8)),
    "64x100x256": _square(64, 100, 256, (1.3, 1.6), (3, 4.2), (3, 4.2)),
    "64x100x512": _square(64, 100, 512, (1.2, 1.5), (2.5, 3.3), (2, 2.7)),
    "16x200x32": _square(16, 200, 32, (1.8, 2.5), (15, 25), (8, 14)),
    "1x1000x32": _square(1, 1000, 32, (2, 3), (60, 150), (15, 40)),
    "1x1000x256": _square(1, 1000, 256, (1.0, 1.8), (6, 10), (3, 6)),
    "packed-32x100x64": _square(32, 100, 64, (6, 12), (8, 14), (4, 8), packed=True),
    "packed-32x1000x64": _square(32, 1000, 64, (10, 25), (8, 15), (4, 8), packed=True),
    "both-64x100x128x256": Shape(
        batch=64, steps=100, input_size=128, hidden_size=256, directions=2, asked=_asked((1.3, 1.8), (3, 4.5), (3, 4.5))
    ),
    "4layers-16x200x128": _square(16, 200, 128, (1.3, 2), (5, 8), (4, 8), num_layers=4),
}
# One step a call, where laying out the weights and entering the layer is most of it; nothing is asked of them.
STEP_SHAPES = {
    f"{batch}x1x{size}": Shape(batch=batch, steps=1, input_size=size, hidden_size=size, asked={})
    for batch, size in ((1, 64), (1, 512), (8, 512))
}
INFERENCE = {"lstm": Asked(1.0), "gru": Asked(3.0), "rnn": Asked(3.0)}

# Shares of the peak in training (2 threads), asked of one shape.
SHARE = {"64x100x256": Asked(0.75, 0.88)}
RAGGED_SHAPES = ("32x100x64", "64x100x256")
MIXED_SHAPES = ("32x100x128", "16x200x32")
MEMORY = Shape(batch=16, steps=2000, input_size=256, hidden_size=256, asked={})

# Figures that must not be above these: time over time, or memory over memory.
RAGGED_MOST = 0.65  # a ragged batch (55 % real steps) over the padded one
RECOMPUTE_TIME_MOST = 1.4  # recompute=True over plain
RECOMPUTE_MEMORY_MOST = 0.45  # recompute=True over PyTorch
MIXED_PARTS_MOST = 1.05  # torch's parts of a step with our layer between them, over the same parts alone


class Row(NamedTuple):
    """One result: what is done (`kind`), to which cell, over which shape."""

    kind: str
    cell: str
    shape: str

    @property
    def name(self) -> str:
        """Also the name of the result's file."""
        return "-".join(part for part in self if part)


def rows() -> dict[str, Row]:
    """Every row of the benchmark, by name."""
    found = [Row(kind, cell, shape) for kind in ("train", "infer") for shape in SHAPES for cell in CELLS]
    found += [Row("step", cell, shape) for shape in STEP_SHAPES for cell in CELLS]
    found += [Row("ragged", cell, shape) for shape in RAGGED_SHAPES for cell in CELLS]
    found += [Row("memory", cell, "") for cell in CELLS]
    found += [Row("mixed", cell, shape) for shape in MIXED_SHAPES for cell in CELLS]
    found += [Row("forecaster", cell, "") for cell in ("lstm", "gru")]  # the default, and the one that torch has no kernel for
    return {row.name: row for row in found}


def spread(batch: int, steps: int) -> list[int]:
    """(B,) lengths, longest first, spread evenly from a tenth of T to T: 55 % real steps in the mean."""
    if batch == 1:
        return [steps]
    return [round(steps * (1.0 - (1.0 - SHORTEST) * row / (batch - 1))) for row in range(batch)]


def flops(shape: Shape, cell: str, *, training: bool) -> float:
    """2 G H (I + H) for each real step of each layer and direction; backward is counted as twice the forward."""
    steps = sum(shape.lengths())
    inputs = [shape.input_size, *[shape.directions * shape.hidden_size] * (shape.num_layers - 1)]
    products = sum(size + shape.hidden_size for size in inputs)
    forward = 2.0 * GATES[cell] * shape.hidden_size * products * shape.directions * steps
    return forward * (3.0 if training else 1.0)
