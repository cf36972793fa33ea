"""Layers one after the other, each on the path that is fit for it. In: padded parts of a batch, state, weights. Out: y, state.

CPU, float32 and float64: the native core. Elsewhere, and where it is not installed: torch's kernels, cuDNN among them.
`reference`, and masks where the core does not run: the equations, step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from tidegate.blocks.ops import Ops
from tidegate.nn import fused, generic, operator, reference
from tidegate.nn.extras import Extras
from tidegate.nn.masks import Masks, Rates, draw
from tidegate.nn.packed import Part

Between = Callable[[list[Tensor]], list[Tensor]]


class Settings(NamedTuple):
    """What all layers of a stack share."""

    cell: str
    hidden_size: int
    directions: int
    batch_first: bool  # layout of x and y
    rates: Rates = Rates()
    recompute: bool = False
    by_equations: bool = False
    extras: Extras = Extras()
    fields: tuple[str, ...] = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # of a direction


State = tuple[Tensor, ...]  # h, or h and c: (L*D, B, H) each


def run(
    ops: Ops,
    settings: Settings,
    weights: list[tuple[Tensor, ...]],
    parts: list[Part],
    xs: list[Tensor],
    state: State | None,
    between: Between,
) -> tuple[list[Tensor], State]:
    """Every layer over every part. weights: 4 or, without biases, 2 tensors a direction, for each layer. ops: runs the equations.

    Returns: y a part, in the layout of x, and the final state of the whole batch.
    """
    finals: list[State] = []
    for index, own in enumerate(weights):
        start = None if state is None else _of_layer(state, index, settings.directions)
        results = [
            layer(ops, settings, own, part, x, start if len(parts) == 1 or start is None else _of_part(start, part))
            for part, x in zip(parts, xs, strict=True)
        ]
        xs = [y for y, _ in results]
        finals.append(results[0][1] if len(parts) == 1 else _joined([final for _, final in results], 1))
        if index + 1 < len(weights):
            xs = between(xs)
    return xs, finals[0] if len(finals) == 1 else _joined(finals, 0)


def takes_packed(settings: Settings, x: Tensor) -> bool:
    """Whether the layers take packed rows as they stand: the native core does."""
    return not settings.by_equations and not settings.extras.any() and operator.runs(x)


def _of_layer(state: State, index: int, directions: int) -> State:
    if state[0].shape[0] == directions:
        return state
    return tuple([value[index * directions : (index + 1) * directions] for value in state])


def _of_part(state: State, part: Part) -> State:
    return tuple([value[:, part.first : part.first + part.batch] for value in state])


def _joined(states: list[State], axis: int) -> State:
    return tuple([torch.cat(values, axis) for values in zip(*states, strict=True)])


def layer(
    ops: Ops, settings: Settings, weights: tuple[Tensor, ...], part: Part, x: Tensor, state: State | None
) -> tuple[Tensor, State]:
    """One layer over one part."""
    if settings.extras.any():
        return _with_extras(settings, weights, part, x, state)
    masks = _NO_MASKS
    if settings.rates.active():
        masks = draw(settings.rates, settings.cell, x, (settings.directions, part.steps, part.batch, settings.hidden_size))
    if not settings.by_equations and operator.runs(x):
        h0, c0 = (None, None) if state is None else (state[0], state[1] if len(state) == 2 else None)
        packed = 0 if part.batch_sizes is None else part.batch
        given = operator.Inputs(
            settings.cell, x, part.lengths, h0, c0, weights, *masks, part.total, settings.batch_first, settings.recompute,
            part.batch_sizes, packed,
        )  # fmt: skip
        y, h, c = operator.layer(given)
        return y, (h, c) if settings.cell == "lstm" else (h,)
    rows = x if settings.batch_first else x.transpose(0, 1)
    y, final = _without_core(ops, settings, weights, part, rows, state, masks)
    return y if settings.batch_first else y.transpose(0, 1), final


_NO_MASKS = Masks()


def _with_extras(
    settings: Settings, weights: tuple[Tensor, ...], part: Part, x: Tensor, state: State | None
) -> tuple[Tensor, State]:
    """Through the generic loop, which wants (B, T, I)."""
    rows, names = x if settings.batch_first else x.transpose(0, 1), ("h", "c") if settings.cell == "lstm" else ("h",)
    if state is None:
        sizes = (settings.extras.proj_size or settings.hidden_size, settings.hidden_size)
        state = tuple([x.new_zeros(settings.directions, part.batch, size) for size in sizes[: len(names)]])
    each = len(settings.fields)
    own = [
        generic.Weights(**dict(zip(settings.fields, weights[k : k + each], strict=True))) for k in range(0, len(weights), each)
    ]
    options = generic.Options(settings.extras.reset_after, settings.extras.layer_norm)
    start = dict(zip(names, state, strict=True))
    y, final = generic.layer(settings.cell, rows, part.lengths, start, own, options, reference=settings.by_equations)
    return y if settings.batch_first else y.transpose(0, 1), tuple(final[name] for name in names)


def _without_core(
    ops: Ops, settings: Settings, weights: tuple[Tensor, ...], part: Part, x: Tensor, state: State | None, masks: Masks
) -> tuple[Tensor, State]:
    """(B, T, I) -> (B, T, D*H) through torch's kernels, or by the equations."""
    names = ("h", "c") if settings.cell == "lstm" else ("h",)
    if state is None:
        state = (x.new_zeros(settings.directions, part.batch, settings.hidden_size),) * len(names)
    start, flat = dict(zip(names, state, strict=True)), _with_biases(weights, settings.directions)
    if settings.by_equations or settings.rates.active() or part.steps == 0:
        y, final = reference.layer(ops, settings.cell, x, part.lengths, start, flat, masks)
    else:
        y, final = fused.layer(settings.cell, x, part.lengths, start, flat)
    return y, tuple(final[name] for name in names)


def _with_biases(weights: tuple[Tensor, ...], directions: int) -> list[Tensor]:
    """4 a direction: zeros where there are no biases."""
    if len(weights) == 4 * directions:
        return list(weights)
    zero = weights[0].new_zeros(weights[0].shape[0])
    return [w for k in range(0, len(weights), 2) for w in (weights[k], weights[k + 1], zero, zero)]
