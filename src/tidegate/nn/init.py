"""Initial values of the tasks' nets. In: a spec and a generator. Out: one tensor a weight.

Recurrent weights: orthogonal for each gate (Saxe et al. 2014), the identity for ReLU cells (Le et al. 2015). Forget bias 1
(Jozefowicz et al. 2015), or chrono where the time scale is known (Tallec & Ollivier 2018). torch's two biases count as one:
bias_hh is 0.
The layers of tidegate.nn draw torch's own initial values instead.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tidegate.spec import GATES, Block, Crf, Embed, Linear, Match, Norm, Position, Recurrent, Spec, block_parameters, weight_name


def initial_weights(spec: Spec, rng: torch.Generator) -> dict[str, Tensor]:
    """Draw every weight of the spec, in its order, as float32."""
    found: dict[str, Tensor] = {}
    for block in spec.blocks:
        for name, shape in block_parameters(block).items():
            if weight_name(block, name) not in found:  # a table that blocks share is drawn as the first of them says
                found[weight_name(block, name)] = _draw(block, name, shape, rng)
    return found


def _draw(block: Block, name: str, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    if isinstance(block, Recurrent):
        return _recurrent(block, name, shape, rng)
    if isinstance(block, Crf):
        return torch.zeros(shape)
    if isinstance(block, Norm):
        return torch.ones(shape) if name == "weight" else torch.zeros(shape)
    if isinstance(block, (Embed, Position)):
        return (block.std if isinstance(block, Embed) else 0.02) * torch.randn(shape, generator=rng)
    if isinstance(block, Match):
        return _uniform(shape, math.sqrt(3.0 / block.size), rng)
    assert isinstance(block, Linear)
    bound = 1.0 / math.sqrt(max(block.input_size, 1))
    return torch.zeros(shape) if name == "bias" else _uniform(shape, bound * math.sqrt(3.0), rng)


def _recurrent(block: Recurrent, name: str, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    gates, size = GATES[block.cell], block.hidden_size
    if name.startswith("weight_hh"):
        if block.cell == "rnn_relu":
            return torch.eye(size)
        return torch.cat([_orthogonal(size, rng) for _ in range(gates)])
    if name.startswith("weight_ih"):
        bound = math.sqrt(6.0 / (shape[1] + size))  # Glorot & Bengio 2010, for one gate
        return _uniform(shape, bound, rng)
    bias = torch.zeros(shape)
    if name.startswith("bias_ih"):
        _time_bias(block, bias, rng)
    return bias


def _time_bias(block: Recurrent, bias: Tensor, rng: torch.Generator) -> None:
    """Forget bias 1, or chrono: b_f ~ log U[1, T-1], b_i = -b_f; for the GRU the update gate z keeps, so it takes b_f."""
    size = block.hidden_size
    if block.time_scale is not None and block.cell in ("lstm", "gru"):
        kept = torch.log(1.0 + torch.rand(size, generator=rng) * max(block.time_scale - 2.0, 0.0))
        bias[size : 2 * size] = kept
        if block.cell == "lstm":
            bias[:size] = -kept
    elif block.cell == "lstm":
        bias[size : 2 * size] = 1.0


def _orthogonal(size: int, rng: torch.Generator) -> Tensor:
    q, r = torch.linalg.qr(torch.randn(size, size, generator=rng, dtype=torch.float64))
    matrix: Tensor = q * torch.sign(torch.diagonal(r))
    return matrix.to(torch.float32)


def _uniform(shape: tuple[int, ...], bound: float, rng: torch.Generator) -> Tensor:
    draws: Tensor = (torch.rand(shape, generator=rng) * 2.0 - 1.0) * bound
    return draws
