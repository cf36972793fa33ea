"""PackedSequence to padded rows and back. In: batch_sizes. Out: where each packed row lies in a padded batch.

A packed batch is sorted, longest first, and so stays. Where padding would be most of it, rows of like length go into batches of
their own: what is walked and held follows the sum of the lengths.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tidegate.nn.transforms import has_tangent, transformed

MOST_PADDING = 4  # padded rows a packed one, in one batch
SMALL = 1 << 14  # padded rows of a batch that is never split


class Part(NamedTuple):
    """Neighbouring rows of the batch, padded to the longest of them."""

    first: int  # place of its first row in the batch
    batch: int
    steps: int
    lengths: Tensor | None  # (batch,); None: all have all steps
    total: int  # sum of the lengths
    batch_sizes: Tensor | None = None  # (steps,) where the rows are packed, step after step


class Grid(NamedTuple):
    """Where packed rows lie among the padded ones: the parts one after the other, each (steps, batch)."""

    parts: list[Part]
    there: Tensor | None  # (padded rows,) the packed row for each; any row where there is none; None: packed is padded
    back: Tensor | None  # (N,) the padded row for each packed one


def grid_of(batch_sizes: Tensor, device: torch.device, *, split: bool) -> Grid:
    """The grid of a PackedSequence; `split` allows more than one part."""
    steps, batch = len(batch_sizes), int(batch_sizes[0])
    total = int(batch_sizes.sum())
    if total == steps * batch:
        return Grid([Part(0, batch, steps, None, total)], None, None)
    lengths = (batch_sizes[:, None] > torch.arange(batch)).sum(0)
    edges = _edges(lengths, total) if split else [0, batch]
    offsets = batch_sizes.cumsum(0) - batch_sizes
    parts, there, back, before = [], [], torch.empty(total, dtype=torch.int64), 0
    for first, last in pairwise(edges):
        own, longest = lengths[first:last], int(lengths[first])
        valid = torch.arange(longest)[:, None] < own
        rows = torch.where(valid, offsets[:longest, None] + torch.arange(first, last), 0).flatten()
        places = valid.flatten().nonzero()[:, 0]
        if len(places) == total:
            back = places  # packed rows stand in the order of time already
        else:
            back[rows[places]] = before + places
        before += len(rows)
        there.append(rows)
        parts.append(Part(first, last - first, longest, own.to(device), len(places)))
    return Grid(parts, torch.cat(there).to(device), back.to(device))


def _edges(lengths: Tensor, total: int) -> list[int]:
    """First rows of the parts, and the end: a part ends before the first row shorter than half its longest."""
    batch, longest = len(lengths), int(lengths[0])
    if batch * longest <= max(MOST_PADDING * total, SMALL):
        return [0, batch]
    edges, sizes = [0], lengths.tolist()
    for row, length in enumerate(sizes):
        if 2 * length < sizes[edges[-1]]:
            edges.append(row)
    return [*edges, batch]


def spread(data: Tensor, grid: Grid) -> list[Tensor]:
    """(N, C) -> (T, B, C) a part. What the padding holds is not to be read."""
    rows = data if grid.there is None else _moved(data, grid.there, grid.back)
    if len(grid.parts) == 1:
        return [rows.reshape(grid.parts[0].steps, grid.parts[0].batch, rows.shape[-1])]
    pieces = torch.split(rows, [part.steps * part.batch for part in grid.parts])
    return [piece.view(part.steps, part.batch, -1) for piece, part in zip(pieces, grid.parts, strict=True)]


def gather(parts: list[Tensor], grid: Grid) -> Tensor:
    """(T, B, C) a part -> (N, C). Gradients of the padding are not to be read."""
    flat = [part.reshape(-1, part.shape[-1]) for part in parts]
    rows = flat[0] if len(flat) == 1 else torch.cat(flat)
    return rows if grid.back is None else _moved(rows, grid.back, grid.there)


def _moved(rows: Tensor, index: Tensor, inverse: Tensor | None) -> Tensor:
    if transformed() or has_tangent((rows,)):
        return rows.index_select(0, index)
    apply: Any = _Move.apply  # torch leaves it untyped
    moved: Tensor = apply(rows, index, inverse)
    return moved


class _Move(torch.autograd.Function):
    """rows[index], whose gradient is gathered by the inverse: torch's own adds row by row."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradient.index_select(0, inverse), None, None
