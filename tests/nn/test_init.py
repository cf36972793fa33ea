"""Initial values: orthogonal per gate, forget bias 1, chrono's distribution, the identity for ReLU, from the generator alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tidegate.nn.init import initial_weights
from tidegate.spec import GATES, Embed, Linear, Norm, Port, Position, Recurrent, Spec

H = 32


def draw(cell: str = "lstm", seed: int = 0, **options: object) -> dict[str, Tensor]:
    size = options.pop("hidden_size", H)
    block = Recurrent(name="y", inputs=("x",), cell=cell, input_size=16, hidden_size=size, **options)
    spec = Spec(inputs=(Port(name="x", size=16),), blocks=(block,), outputs=("y",))
    return {n.removeprefix("y."): w for n, w in initial_weights(spec, torch.Generator().manual_seed(seed)).items()}


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru"])
def test_each_gate_is_orthogonal_and_another(cell: str) -> None:
    weights = draw(cell, num_layers=2, bidirectional=True)
    for name in ("l0", "l0_reverse", "l1", "l1_reverse"):
        gates = weights[f"weight_hh_{name}"].split(H)
        assert len(gates) == GATES[cell]
        for k, gate in enumerate(gates):
            torch.testing.assert_close(gate @ gate.T, torch.eye(H), atol=2e-6, rtol=0)
            assert all(not torch.allclose(gate, other) for other in gates[:k])


def test_orthogonal_matrices_are_drawn_evenly() -> None:
    """Haar: QR alone, without the signs of R's diagonal, would give a mean trace far from 0."""
    traces = [float(draw("rnn_tanh", seed, hidden_size=4)["weight_hh_l0"].trace()) for seed in range(400)]
    assert abs(np.mean(traces)) < 0.2  # trace of a Haar matrix: mean 0, variance 1; 4 standard errors
    assert abs(np.var(traces) - 1) < 0.35


def test_relu_starts_as_the_identity() -> None:
    weights = draw("rnn_relu", num_layers=2, bidirectional=True)
    for name in ("l0", "l1_reverse"):
        assert torch.equal(weights[f"weight_hh_{name}"], torch.eye(H))


def test_biases_are_zero_but_the_forget_gates() -> None:
    lstm = draw("lstm", num_layers=2)
    for layer in ("l0", "l1"):
        i, f, g, o = lstm[f"bias_ih_{layer}"].split(H)
        assert torch.equal(f, torch.ones(H))
        assert not any(b.any() for b in (i, g, o, lstm[f"bias_hh_{layer}"]))
    for cell in ("gru", "rnn_tanh", "rnn_relu"):
        assert not any(w.any() for n, w in draw(cell).items() if n.startswith("bias"))


@pytest.mark.parametrize(("cell", "kept", "counter"), [("lstm", 1, 0), ("gru", 1, None)])
def test_chrono_draws_memories_evenly_up_to_the_time_scale(cell: str, kept: int, counter: int | None) -> None:
    scale, size = 100.0, 4000
    gates = _biases(cell, scale, size)
    memory = torch.exp(gates[kept])  # b = log u, u ~ U[1, T - 1]
    assert 1.0 <= float(memory.min()) < 2.0
    assert scale - 2.0 < float(memory.max()) <= scale - 1.0 + 1e-3
    ordered = ((memory.sort().values - 1.0) / (scale - 2.0)).numpy()
    distance = np.abs(ordered - (np.arange(size) + 0.5) / size).max()  # Kolmogorov-Smirnov
    assert distance < 1.63 / math.sqrt(size)  # the 1 % level
    for k, gate in enumerate(gates):
        if k == counter:
            assert torch.equal(gate, -gates[kept])
        elif k != kept:
            assert not gate.any()


def _biases(cell: str, scale: float, size: int) -> tuple[Tensor, ...]:
    """The input biases of a wide cell, drawn without its large matrices."""
    from tidegate.nn.init import _time_bias

    block = Recurrent(name="y", inputs=("x",), cell=cell, input_size=1, hidden_size=size, time_scale=scale)
    bias = torch.zeros(GATES[cell] * size)
    _time_bias(block, bias, torch.Generator().manual_seed(3))
    return bias.split(size)


def test_chrono_reaches_the_weights_of_a_spec_and_leaves_plain_cells_alone() -> None:
    i, f, _, _ = draw("lstm", time_scale=50.0)["bias_ih_l0"].split(H)
    assert len(f.unique()) > H // 2
    assert torch.equal(i, -f)
    assert not draw("rnn_tanh", time_scale=50.0)["bias_ih_l0"].any()
    assert not draw("gru", time_scale=1.0)["bias_ih_l0"].any()  # nothing to remember: log 1


def test_input_weights_have_the_variance_of_their_rule() -> None:
    weights = draw("gru", hidden_size=128)["weight_ih_l0"]
    bound = math.sqrt(6.0 / (16 + 128))
    assert float(weights.abs().max()) <= bound
    assert float(weights.var()) == pytest.approx(bound**2 / 3, rel=0.05)
    blocks = (
        Linear(name="a", inputs=("x",), input_size=100, output_size=200),
        Norm(name="n", inputs=("a",), size=200),
        Position(name="p", inputs=("n",), steps=50, size=200),
        Embed(name="e", inputs=("c",), num_embeddings=50, embedding_dim=200),
    )
    spec = Spec(inputs=(Port(name="x", size=100), Port(name="c", size=1, shape="codes")), blocks=blocks, outputs=("p", "e"))
    drawn = initial_weights(spec, torch.Generator().manual_seed(0))
    assert float(drawn["a.weight"].var()) == pytest.approx(1 / 100, rel=0.05)
    assert not drawn["a.bias"].any()
    assert torch.equal(drawn["n.weight"], torch.ones(200))
    assert not drawn["n.bias"].any()
    for table in ("p.weight", "e.weight"):
        assert float(drawn[table].std()) == pytest.approx(0.02, rel=0.05)


def test_the_generator_alone_decides() -> None:
    before = torch.random.get_rng_state()
    first = draw("lstm", 5, num_layers=2, time_scale=40.0)
    torch.manual_seed(123)
    again, other = draw("lstm", 5, num_layers=2, time_scale=40.0), draw("lstm", 6, num_layers=2, time_scale=40.0)
    torch.random.set_rng_state(before)
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not torch.equal(first["weight_ih_l0"], other["weight_ih_l0"])
    assert all(w.dtype == torch.float32 for w in first.values())
