"""The one time loop of the reference path: layers, directions, ragged lengths. In: x, lengths, state. Out: y, state.

Both halves run it (torch as the slow twin of its fused kernels, NumPy as the predictor). Padding stands on the right: a row's
state holds still past its length, in both directions, and its outputs there are 0, so a row of length 0 returns the state it
was given.
"""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.blocks.cells import STEPS, Step
from tidegate.blocks.ops import Array, Ops, State
from tidegate.spec import Recurrent


def recurrent(
    ops: Ops, block: Recurrent, weights: Mapping[str, Array], x: Array, lengths: Array | None, state: State | None
) -> tuple[Array, dict[str, Array]]:
    """Run all layers and directions over (B, T, I).

    Returns: y (B, T, D*H) of the top layer, and the final state, (L*D, B, H) a part.
    """
    initial = state if state is not None else initial_state(ops, block, x)
    x = x if lengths is None else ops.zero_padding(x, lengths)  # else NaN there would reach the gradients
    finals: list[dict[str, Array]] = []
    for layer in range(block.num_layers):
        outputs = []
        for direction in range(block.directions):
            index = layer * block.directions + direction
            names = f"l{layer}" + ("_reverse" if direction else "")
            start = {part: value[index] for part, value in initial.items()}
            y, final = scan(ops, STEPS[block.cell], layer_weights(weights, names), x, lengths, start, backwards=bool(direction))
            outputs.append(y)
            finals.append(final)
        x = ops.concat(outputs, -1) if len(outputs) > 1 else outputs[0]
        if layer + 1 < block.num_layers:
            x = ops.dropout(x, block.dropout)
    return x, {part: ops.stack([final[part] for final in finals], 0) for part in initial}


def initial_state(ops: Ops, block: Recurrent, x: Array) -> dict[str, Array]:
    """Zeros, (L*D, B, H) a part."""
    return {part: ops.zeros(x, (layers, x.shape[0], size)) for part, (layers, size) in block.state().items()}


def layer_weights(weights: Mapping[str, Array], names: str) -> tuple[Array, Array, Array, Array]:
    """weight_ih, weight_hh, bias_ih, bias_hh of one layer and direction, such as "l0_reverse"."""
    weight_ih, weight_hh, bias_ih, bias_hh = (weights[f"{p}_{names}"] for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    return weight_ih, weight_hh, bias_ih, bias_hh


def scan(
    ops: Ops,
    step: Step,
    weights: tuple[Array, Array, Array, Array],
    x: Array,
    lengths: Array | None,
    state: dict[str, Array],
    *,
    backwards: bool,
) -> tuple[Array, dict[str, Array]]:
    """One layer in one direction: (B, T, I) and a state -> (B, T, H) and the final state."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    batch, steps = x.shape[0], x.shape[1]
    a = ops.linear(x, weight_ih, bias_ih)  # (B, T, G)
    outputs: list[Array] = [None] * steps
    nothing = ops.zeros(x, (batch, weight_hh.shape[1]))
    for t in reversed(range(steps)) if backwards else range(steps):
        new = step(ops, a[:, t], ops.linear(state["h"], weight_hh, bias_hh), state)
        if lengths is None:
            outputs[t], state = new["h"], new
        else:
            active = ops.active(lengths, t)
            outputs[t] = ops.select(active, new["h"], nothing)
            state = {part: ops.select(active, new[part], state[part]) for part in state}
    y = ops.stack(outputs, 1) if steps else ops.zeros(x, (batch, 0, weight_hh.shape[1]))
    return y, state
