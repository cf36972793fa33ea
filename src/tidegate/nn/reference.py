"""One layer by the equations of blocks/cells.py, with masks. In: (B, T, I), lengths, state, weights. Out: outputs, final state.

The slow twin of the native core and of torch's kernels; differentiable as often as wanted. The time loop is blocks.recurrent's.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import torch
from torch import Tensor

from tidegate.blocks.cells import STEPS, Step
from tidegate.blocks.ops import Ops
from tidegate.blocks.recurrent import scan
from tidegate.nn.masks import Masks

Weights = tuple[Tensor, Tensor, Tensor, Tensor]


def layer(
    ops: Ops, cell: str, x: Tensor, lengths: Tensor | None, state: dict[str, Tensor], weights: list[Tensor], masks: Masks
) -> tuple[Tensor, dict[str, Tensor]]:
    """One layer, in one direction (4 weights) or two (8). State parts are (D, B, H)."""
    x = x if lengths is None else ops.zero_padding(x, lengths)  # else NaN there would reach the gradients
    outputs, finals = [], []
    for direction in range(len(weights) // 4):
        weight_ih, weight_hh, bias_ih, bias_hh = weights[4 * direction : 4 * direction + 4]
        own: Weights = (weight_ih, weight_hh, bias_ih, bias_hh)
        step = _masked(STEPS[cell], own, masks, direction) if any(m is not None for m in masks) else STEPS[cell]
        start = {part: value[direction] for part, value in state.items()}
        y, final = scan(ops, step, own, x, lengths, start, backwards=bool(direction))
        outputs.append(y)
        finals.append(final)
    return torch.cat(outputs, -1), {part: torch.stack([final[part] for final in finals]) for part in state}


def _masked(step: Step, weights: Weights, masks: Masks, direction: int) -> Step:
    """The step with h dropped where it enters weight_hh, and with a share of the old state kept:

    h_next = z * h + (1 - z) * step(h)   (Krueger et al. 2016; the LSTM's output reads c_next before its own mask)

    Where z is 1 or 0 the one or the other stays to the last bit, whatever the other holds.
    """
    zones = {part: _walk(zone, direction) for part, zone in (("h", masks.zone_h), ("c", masks.zone_c))}

    def masked(ops: Ops, a: Tensor, u: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        if masks.drop_h is not None:
            u = ops.linear(state["h"] * masks.drop_h[direction], weights[1], weights[3])
        new = step(ops, a, u, state)
        for part, value in new.items():
            zone = next(zones[part])
            if zone is not None:
                mixed = zone * state[part] + (1 - zone) * value
                new[part] = torch.where(zone == 1, state[part], torch.where(zone == 0, value, mixed))
        return new

    return masked


def _walk(zone: Tensor | None, direction: int) -> Iterator[Tensor | None]:
    """(B, H) a step, in the order in which the direction walks them."""
    if zone is None:
        return repeat(None)
    steps = zone[direction]
    if len(steps) == 1:
        return repeat(steps[0])
    return iter(steps.flip(0) if direction else steps)
