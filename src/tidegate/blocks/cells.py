"""One step of each cell, as in the literature. In: the input's and the state's products. Out: the next state.

Products are `a = W_ih x + b_ih` and `u = W_hh h + b_hh`, (B, G) each, gates in PyTorch's order. Both halves of Tidegate run
these lines (torch as the reference path, NumPy as the predictor); the fused paths are tested against them.
"""

from __future__ import annotations

from collections.abc import Callable

from tidegate.blocks.ops import Array, Ops

Step = Callable[[Ops, Array, Array, dict[str, Array]], dict[str, Array]]


def rnn_tanh_step(ops: Ops, a: Array, u: Array, state: dict[str, Array]) -> dict[str, Array]:
    """h' = tanh(W x + b + U h + b')  (Elman 1990)."""
    return {"h": ops.tanh(a + u)}


def rnn_relu_step(ops: Ops, a: Array, u: Array, state: dict[str, Array]) -> dict[str, Array]:
    """h' = max(0, W x + b + U h + b')  (Le et al. 2015)."""
    return {"h": ops.relu(a + u)}


def lstm_step(ops: Ops, a: Array, u: Array, state: dict[str, Array]) -> dict[str, Array]:
    """Long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    i, f, o = sigmoid(.)   g = tanh(.)   c' = f * c + i * g   h' = o * tanh(c')
    """
    i, f, g, o = _chunks(a + u, 4)
    c_next = ops.sigmoid(f) * state["c"] + ops.sigmoid(i) * ops.tanh(g)
    h_next = ops.sigmoid(o) * ops.tanh(c_next)
    return {"h": h_next, "c": c_next}


def gru_step(ops: Ops, a: Array, u: Array, state: dict[str, Array]) -> dict[str, Array]:
    """Gated recurrent unit, reset after the product (Cho et al. 2014; the form of cuDNN and PyTorch).

    r = sigmoid(a_r + u_r)   z = sigmoid(a_z + u_z)   n = tanh(a_n + r * u_n)   h' = (1 - z) * n + z * h
    """
    a_r, a_z, a_n = _chunks(a, 3)
    u_r, u_z, u_n = _chunks(u, 3)
    r = ops.sigmoid(a_r + u_r)
    z = ops.sigmoid(a_z + u_z)
    n = ops.tanh(a_n + r * u_n)
    return {"h": (1 - z) * n + z * state["h"]}


def _chunks(x: Array, parts: int) -> list[Array]:
    size = x.shape[-1] // parts
    return [x[..., k * size : (k + 1) * size] for k in range(parts)]


STEPS: dict[str, Step] = {"rnn_tanh": rnn_tanh_step, "rnn_relu": rnn_relu_step, "lstm": lstm_step, "gru": gru_step}
