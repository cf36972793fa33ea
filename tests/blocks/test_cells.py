"""Each cell against the literature's equations, written out once more over single numbers; and the figures of cells.md."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

import checks
from tidegate.blocks.cells import STEPS
from tidegate.blocks.recurrent import layer_weights, recurrent
from tidegate.runtime.ops import NumpyOps
from tidegate.spec import GATES, Recurrent, size_of

Row = list[float]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "cells.md"
I, H, B, T = 3, 5, 2, 4  # noqa: E741  # the letters of dims.py
TORCH = {
    "rnn_tanh": lambda i, h: torch.nn.RNN(i, h), "rnn_relu": lambda i, h: torch.nn.RNN(i, h, nonlinearity="relu"),
    "lstm": torch.nn.LSTM, "gru": torch.nn.GRU,
}  # fmt: skip


def sigma(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


class Scalars:
    """The weights of one gate, as W x + U h + b with plain loops."""

    def __init__(self, weights: dict[str, npt.NDArray[np.floating]], gate: int) -> None:
        rows = slice(gate * H, (gate + 1) * H)
        self.w, self.u = weights["weight_ih_l0"][rows].tolist(), weights["weight_hh_l0"][rows].tolist()
        self.b, self.v = weights["bias_ih_l0"][rows].tolist(), weights["bias_hh_l0"][rows].tolist()

    def input(self, j: int, x: Row) -> float:
        return sum(self.w[j][k] * x[k] for k in range(I)) + self.b[j]

    def recurrent(self, j: int, h: Row) -> float:
        return sum(self.u[j][k] * h[k] for k in range(H)) + self.v[j]

    def both(self, j: int, x: Row, h: Row) -> float:
        return self.input(j, x) + self.recurrent(j, h)


def elman(gates: list[Scalars], x: Row, h: Row, c: Row) -> tuple[Row, Row]:
    """Elman 1990: h_t = tanh(W x_t + U h_{t-1} + b)."""
    return [math.tanh(gates[0].both(j, x, h)) for j in range(H)], c


def rectified(gates: list[Scalars], x: Row, h: Row, c: Row) -> tuple[Row, Row]:
    """Le et al. 2015: h_t = max(0, W x_t + U h_{t-1} + b)."""
    return [max(0.0, gates[0].both(j, x, h)) for j in range(H)], c


def long_short(gates: list[Scalars], x: Row, h: Row, c: Row) -> tuple[Row, Row]:
    """Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000, gates i f g o."""
    i, f, g, o = gates
    c_next = [sigma(f.both(j, x, h)) * c[j] + sigma(i.both(j, x, h)) * math.tanh(g.both(j, x, h)) for j in range(H)]
    return [sigma(o.both(j, x, h)) * math.tanh(c_next[j]) for j in range(H)], c_next


def gated(gates: list[Scalars], x: Row, h: Row, c: Row) -> tuple[Row, Row]:
    """Cho et al. 2014, with the reset gate after the product (the form of cuDNN and PyTorch), gates r z n."""
    r, z, n = gates
    h_next = []
    for j in range(H):
        candidate = math.tanh(n.input(j, x) + sigma(r.both(j, x, h)) * n.recurrent(j, h))
        update = sigma(z.both(j, x, h))
        h_next.append((1.0 - update) * candidate + update * h[j])
    return h_next, c


SCALAR = {"rnn_tanh": elman, "rnn_relu": rectified, "lstm": long_short, "gru": gated}


def block(cell: str, **options: object) -> Recurrent:
    return Recurrent(name="layer", inputs=("x",), cell=cell, input_size=I, hidden_size=H, **options)


def draws(
    cell: str, seed: int = 0
) -> tuple[dict[str, npt.NDArray[np.floating]], npt.NDArray[np.floating], dict[str, npt.NDArray[np.floating]]]:
    rng = np.random.default_rng(seed)
    weights = {n: rng.uniform(-0.8, 1.1, s) for n, s in block(cell).parameters().items()}
    return weights, rng.normal(size=(B, T, I)), {part: rng.normal(size=(1, B, H)) for part in block(cell).state()}


def scalar_sequence(
    cell: str, weights: dict[str, npt.NDArray[np.floating]], x: Row, h: Row, c: Row
) -> tuple[list[Row], Row, Row]:
    gates = [Scalars(weights, gate) for gate in range(GATES[cell])]
    outputs = []
    for x_t in x:
        h, c = SCALAR[cell](gates, x_t, h, c)
        outputs.append(h)
    return outputs, h, c


@pytest.mark.parametrize("cell", STEPS)
def test_a_sequence_follows_the_scalar_equations(cell: str) -> None:
    weights, x, state = draws(cell)
    y, final = recurrent(NumpyOps(), block(cell), weights, x, None, state)
    for row in range(B):
        c0 = state["c"][0, row].tolist() if cell == "lstm" else []
        outputs, h, c = scalar_sequence(cell, weights, x[row].tolist(), state["h"][0, row].tolist(), c0)
        np.testing.assert_allclose(y[row], outputs, **checks.TOL["float64"])
        np.testing.assert_allclose(final["h"][0, row], h, **checks.TOL["float64"])
        if cell == "lstm":
            np.testing.assert_allclose(final["c"][0, row], c, **checks.TOL["float64"])


@pytest.mark.parametrize("cell", STEPS)
def test_the_order_of_the_gates_matters_to_this_test(cell: str) -> None:
    """Weights of two gates swapped must give another answer: symmetric weights would let a swapped gate pass."""
    weights, x, state = draws(cell)
    y, _ = recurrent(NumpyOps(), block(cell), weights, x, None, state)
    for first in range(GATES[cell]):
        for second in range(first):
            order = list(range(GATES[cell]))
            order[first], order[second] = second, first
            swapped = {n: np.concatenate([w[g * H : (g + 1) * H] for g in order]) for n, w in weights.items()}
            other, _ = recurrent(NumpyOps(), block(cell), swapped, x, None, state)
            assert np.abs(other - y).max() > 1e-3


@pytest.mark.parametrize("cell", STEPS)
def test_a_step_leaves_its_state_as_it_was(cell: str) -> None:
    weights, x, state = draws(cell)
    start = {part: value[0] for part, value in state.items()}
    before = {part: value.copy() for part, value in start.items()}
    weight_ih, weight_hh, bias_ih, bias_hh = layer_weights(weights, "l0")
    STEPS[cell](NumpyOps(), x[:, 0] @ weight_ih.T + bias_ih, start["h"] @ weight_hh.T + bias_hh, start)
    assert all(np.array_equal(start[part], before[part]) for part in start)


def backward(cell: str, a: npt.NDArray[np.floating], u: npt.NDArray[np.floating], state: dict[str, npt.NDArray[np.floating]],
             dh: npt.NDArray[np.floating], dc: npt.NDArray[np.floating]) -> dict[str, npt.NDArray[np.floating]]:  # fmt: skip
    """The hand-derived backward equations of docs/explanation/cells.md: gradients of a, u, h and c."""
    s = np.vectorize(sigma)
    h, nothing = state["h"], np.zeros_like(state["h"])
    if cell == "rnn_tanh":
        da = dh * (1 - np.tanh(a + u) ** 2)
        return {"a": da, "u": da, "h": nothing}
    if cell == "rnn_relu":
        da = dh * (a + u > 0)
        return {"a": da, "u": da, "h": nothing}
    if cell == "lstm":
        i, f, g, o = np.split(a + u, 4, -1)
        i, f, g, o = s(i), s(f), np.tanh(g), s(o)
        t = np.tanh(f * state["c"] + i * g)
        dc = dc + dh * o * (1 - t**2)
        da = np.concatenate([dc * g * i * (1 - i), dc * state["c"] * f * (1 - f), dc * i * (1 - g**2), dh * t * o * (1 - o)], -1)
        return {"a": da, "u": da, "h": nothing, "c": dc * f}
    (a_r, a_z, a_n), (u_r, u_z, u_n) = np.split(a, 3, -1), np.split(u, 3, -1)
    r, z = s(a_r + u_r), s(a_z + u_z)
    n = np.tanh(a_n + r * u_n)
    dn = dh * (1 - z) * (1 - n**2)
    dz, dr = dh * (h - n) * z * (1 - z), dn * u_n * r * (1 - r)
    return {"a": np.concatenate([dr, dz, dn], -1), "u": np.concatenate([dr, dz, dn * r], -1), "h": dh * z}


@pytest.mark.parametrize("cell", STEPS)
def test_the_hand_derived_backward_is_that_of_autograd(cell: str) -> None:
    from tidegate.nn.ops import TorchOps

    rng = np.random.default_rng(4)
    a, u = rng.normal(size=(2, B, GATES[cell] * H))
    state = {part: rng.normal(size=(B, H)) for part in block(cell).state()}
    dh, dc = rng.normal(size=(2, B, H))
    tensors = {n: torch.tensor(v, requires_grad=True) for n, v in {"a": a, "u": u, **state}.items()}
    new = STEPS[cell](TorchOps(), tensors["a"], tensors["u"], {part: tensors[part] for part in state})
    loss = (
        (new["h"] * torch.tensor(dh)).sum() + (new["c"] * torch.tensor(dc)).sum() * 1.0
        if "c" in new
        else (new["h"] * torch.tensor(dh)).sum()
    )
    loss.backward()
    for name, gradient in backward(cell, a, u, state, dh, dc).items():
        expected = tensors[name].grad
        np.testing.assert_allclose(gradient, np.zeros((B, H)) if expected is None else expected.numpy(), **checks.TOL["float64"])


def quoted_counts() -> list[tuple[str, int, int, int]]:
    rows = re.findall(r"^\| `(\w+)` \|[^|]+\| (\d+) \| (\d+) \| ([\d,]+) \|$", PAGE.read_text("utf-8"), re.M)
    return [(cell, int(i), int(h), int(n.replace(",", ""))) for cell, i, h, n in rows]


def test_the_page_quotes_every_cell() -> None:
    assert {cell for cell, *_ in quoted_counts()} == set(STEPS)


@pytest.mark.parametrize(("cell", "i", "h", "count"), quoted_counts())
def test_parameter_counts_on_the_page_are_right(cell: str, i: int, h: int, count: int) -> None:
    layer = Recurrent(name="layer", inputs=("x",), cell=cell, input_size=i, hidden_size=h)
    assert sum(size_of(s) for s in layer.parameters().values()) == count
    assert sum(p.numel() for p in TORCH[cell](i, h).parameters()) == count
    assert count == GATES[cell] * h * (i + h + 2)


def test_line_references_on_the_page_are_right() -> None:
    source = (PAGE.parents[2] / "src" / "tidegate" / "blocks" / "cells.py").read_text("utf-8").splitlines()
    links = re.findall(r"`(\w+_step)` \(\[cells\.py, lines (\d+)-(\d+)\]", PAGE.read_text("utf-8"))
    assert {name for name, *_ in links} == {step.__name__ for step in STEPS.values()}
    for name, first, last in links:
        lines = source[int(first) - 1 : int(last)]
        assert lines[0].startswith(f"def {name}(")
        assert lines[-1].startswith("    return ")
