"""Inputs of tidegate.nn.operator with asymmetric random numbers, for several files of tests. In: sizes, options. Out: Inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from tidegate.nn.operator import Inputs, layer

CELLS = ["rnn_tanh", "rnn_relu", "lstm", "gru"]
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}


def make(
    cell: str,
    sizes: tuple[int, int, int, int] = (3, 4, 2, 3),
    *,
    directions: int = 1,
    lengths: list[int] | None = None,
    bias: bool = True,
    state: bool = True,
    batch_first: bool = True,
    masks: bool = False,
    recompute: bool = False,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Inputs:
    """Inputs of (B, T, I, H) = sizes with asymmetric random numbers; all differentiable ones want gradients."""
    rng = torch.Generator().manual_seed(seed)
    batch, steps, size, hidden = sizes

    def draw(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float64).uniform_(-0.7, 0.9, generator=rng).to(dtype).requires_grad_()

    def mask(*shape: int) -> Tensor | None:
        return torch.rand(shape, generator=rng, dtype=torch.float64).to(dtype) if masks else None

    gates, lstm, held = GATES[cell] * hidden, cell == "lstm", (directions, batch, hidden)
    shapes = ((gates, size), (gates, hidden), (gates,), (gates,))[: 4 if bias else 2]
    given = None if lengths is None else torch.tensor(lengths, dtype=torch.int64)
    return Inputs(
        cell, draw(batch, steps, size) if batch_first else draw(steps, batch, size), given, draw(*held) if state else None,
        draw(*held) if state and lstm else None, tuple(draw(*s) for _ in range(directions) for s in shapes),
        mask(directions, steps, batch, hidden), mask(directions, steps, batch, hidden) if lstm else None, mask(*held),
        batch * steps if lengths is None else sum(lengths), batch_first, recompute,
    )  # fmt: skip


def detached(given: Inputs) -> Inputs:
    values = (tuple(w.detach() for w in v) if isinstance(v, tuple) else v.detach() if isinstance(v, Tensor) else v for v in given)
    return Inputs(*values)


def leaves(given: Inputs) -> list[Tensor]:
    return [t for t in (given.x, given.h0, given.c0, *given.weights) if t is not None]


def outputs(given: Inputs) -> list[Tensor]:
    return list(layer(given))[: 3 if given.cell == "lstm" else 2]


def weighted(results: list[Tensor]) -> Tensor:
    """A loss that is not symmetric in anything."""
    return sum((r * torch.linspace(-1, 2, r.numel(), dtype=r.dtype).reshape(r.shape)).sum() for r in results)
