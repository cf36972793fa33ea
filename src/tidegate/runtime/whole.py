"""Nets of int8 in NumPy: the readable twin of csrc/int8.h, which gives the same bits. In: arrays, parts. Out: arrays.

Serves where the native core is not installed; `mean` serves both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from tidegate.runtime.int8 import MOST, MOST_READ, UNITS, Int8Net, LinearParts
from tidegate.spec import GATES, Cell, Recurrent

if TYPE_CHECKING:
    from tidegate.native import WholeLayer

Floats = npt.NDArray[np.floating]
Whole = npt.NDArray[np.int64]


def recurrent(
    net: Int8Net, block: Recurrent, x: Floats, lengths: npt.NDArray[np.int64] | None, state: Mapping[str, Floats] | None
) -> tuple[Floats, dict[str, Floats]]:
    """A recurrent block, layer after layer: as blocks.ops.Ops.recurrent."""
    ends: list[dict[str, Floats]] = []
    for layer in range(block.num_layers):
        rows = slice(layer * block.directions, (layer + 1) * block.directions)
        given = None if state is None else {part: value[rows] for part, value in state.items()}
        x, end = forward(block.cell, net.layer(block, layer), x, lengths, given)
        ends.append(end)
    return x, {part: np.concatenate([end[part] for end in ends]) for part in ends[0]}


def read_input(x: Floats, exponent: int) -> Whole:
    """x in units of 2^-exponent, to the nearest, within 8191; NaN is the lowest."""
    return (_bounded(x, exponent, MOST_READ) + np.float32(8192.5)).astype(np.int64) - 8192


def _bounded(x: Floats, exponent: int, most: int) -> npt.NDArray[np.float32]:
    """x * 2^exponent, from -most to most; NaN is the lowest."""
    with np.errstate(over="ignore"):
        v = x.astype(np.float32) * np.float32(2.0**exponent)
    v = np.where(v > -most, v, np.float32(-most))
    return np.where(v < most, v, np.float32(most)).astype(np.float32)


def linear(x: Floats, parts: LinearParts) -> Floats:
    """(..., K) -> (..., N)."""
    product = parts.product
    sums = read_input(x, parts.x_exponent) @ product.weight.astype(np.int64).T
    y = _held(_held(_rounded(sums * product.scale, parts.shift)) + product.bias)
    return (y * 2.0**-parts.y_exponent).astype(np.float32)


def forward(
    cell: Cell, parts: Sequence[WholeLayer], x: Floats, lengths: npt.NDArray[np.int64] | None, state: Mapping[str, Floats] | None
) -> tuple[Floats, dict[str, Floats]]:
    """One layer: (B, T, I) -> (B, T, D*H), and the states, (D, B, H) a part."""
    batch, steps, _ = x.shape
    counts = np.full(batch, steps) if lengths is None else lengths
    names = ("h", "c") if cell == "lstm" else ("h",)
    outputs, ends = [], []
    for d, part in enumerate(parts):
        size = part.h.weight.shape[1]
        own = [np.zeros((batch, size), np.int64) if state is None else _units(state[name][d]) for name in names]
        y = np.zeros((batch, steps, size), np.float32)
        for k in range(steps):
            live = np.flatnonzero(counts > k)
            at = counts[live] - 1 - k if d else np.full(len(live), k)
            for name, new in zip(range(len(own)), _step(cell, part, x[live, at], [o[live] for o in own]), strict=True):
                own[name][live] = new
            y[live, at] = own[0][live] * 2.0**-UNITS
        outputs.append(y)
        before = [np.zeros((batch, size), np.float32) if state is None else state[name][d] for name in names]
        ends.append(
            [np.where(counts[:, None] > 0, o * 2.0**-UNITS, b).astype(np.float32) for o, b in zip(own, before, strict=True)]
        )
    return np.concatenate(outputs, -1), {name: np.stack([end[k] for end in ends]) for k, name in enumerate(names)}


def mean(x: Floats, lengths: npt.NDArray[np.int64] | None) -> Floats:
    """The mean over time of (B, T, C), 0 for rows of length 0: whole numbers of 2^-16, to the nearest."""
    batch, steps, _ = x.shape
    counts = np.full(batch, steps) if lengths is None else np.asarray(lengths)
    valid = (np.arange(steps) < counts[:, None])[..., None]
    sums = np.where(valid, np.rint(np.where(valid, x, 0).astype(np.float64) * 2.0**UNITS), 0.0).sum(1)
    return mean_of(sums, counts[:, None])


def mean_of(sums: npt.NDArray[np.float64], counts: npt.NDArray[np.integer] | int) -> Floats:
    """Sums of whole numbers of 2^-16, divided, to the nearest, halves upwards. No sound sum is beyond 2^53; others stay there."""
    n = np.maximum(np.asarray(counts, np.int64), 1)
    whole = np.clip(sums, -(2.0**53), 2.0**53).astype(np.int64)
    return np.asarray((2 * whole + n) // (2 * n) * 2.0**-UNITS, np.float32)


def _units(state: Floats) -> Whole:
    """A state in whole numbers, to the nearest; NaN is the lowest."""
    v = _bounded(state, UNITS, MOST)
    return np.asarray(v + np.where(v < 0, np.float32(-0.5), np.float32(0.5)), np.int64)


def _step(cell: Cell, part: WholeLayer, x: Floats, state: list[Whole]) -> list[Whole]:
    h = state[0]
    of_x = read_input(x, part.x_exponent) @ part.x.weight.astype(np.int64).T
    of_h = np.clip((h + 4) >> 3, -MOST_READ, MOST_READ) @ part.h.weight.astype(np.int64).T
    sums = _rounded(of_x * part.x.scale.astype(np.int64) + of_h * part.h.scale.astype(np.int64), part.shift)
    g = np.split(_held(_held(sums) + part.x.bias + part.h.bias), GATES[cell], -1)
    if cell == "lstm":
        i, f, n, o = _sigmoid(g[0]), _sigmoid(g[1]), _tanh(g[2]), _sigmoid(g[3])
        c = _held(_share(f, state[1]) + ((i * n + (1 << 13)) >> 14))
        return [(o * _tanh(c) + (1 << 13)) >> 14, c]
    if cell == "gru":
        last = slice(2 * h.shape[1], None)
        a, u = (
            _held(_held(_rounded(of[:, last] * p.scale[last].astype(np.int64), part.shift)) + p.bias[last])
            for of, p in ((of_x, part.x), (of_h, part.h))
        )
        new = 2 * _tanh(_held(a + _share(_sigmoid(g[0]), u)))
        return [new + _share(_sigmoid(g[1]), h - new)]
    return [2 * _tanh(g[0])]


def _rounded(value: Whole, shift: int) -> Whole:
    return cast("Whole", (value + (1 << (shift - 1))) >> shift)


def _held(x: Whole) -> Whole:
    return np.clip(x, -MOST, MOST)


def _share(share: Whole, x: Whole) -> Whole:
    return cast("Whole", (share * (x >> 8) + ((share * (x & 255)) >> 8) + 64) >> 7)


def _tanh(x: Whole) -> Whole:
    return cast("Whole", (_curve(x, 0) + 4) >> 3)


def _sigmoid(x: Whole) -> Whole:
    return cast("Whole", (_curve(x, 1) + (1 << 18) + 8) >> 4)


def _curve(x: Whole, halve: int) -> Whole:
    a = np.minimum(np.abs(x) >> halve, (1 << 19) - 1)
    k, f = a >> 14, a & 16383
    c = curve()[:, k]
    y = c[0] + ((c[1] + ((c[2] + ((c[3] * f) >> 14)) * f >> 14)) * f >> 14)
    return np.asarray(np.where(x < 0, -y, y), np.int64)


@cache
def curve() -> Whole:
    """Cubics through the Chebyshev nodes of the quarters of [0, 8): tanh in units of 2^-18. The numbers of csrc/fixed.h."""
    nodes = (np.cos((2 * np.arange(4) + 1) * np.pi / 8) + 1) / 2
    powers = np.vander(nodes, 4, increasing=True)
    rows = [np.rint(np.linalg.solve(powers, np.tanh((k + nodes) / 4) * 2.0**18)) for k in range(32)]
    return np.array(rows, np.int64).T
