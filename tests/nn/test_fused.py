"""torch's kernels under our layers against the slow twin, one layer at a time: values, gradients, rows in any order, cost."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import checks
from tidegate.blocks.recurrent import layer_weights, recurrent
from tidegate.nn.fused import layer
from tidegate.nn.ops import TorchOps
from tidegate.spec import Recurrent

CELLS = ["rnn_tanh", "rnn_relu", "lstm", "gru"]


def block(cell: str, both: bool) -> Recurrent:
    return Recurrent(name="y", inputs=("x",), cell=cell, input_size=3, hidden_size=4, bidirectional=both)


def tensors(cell: str, both: bool, batch: int, steps: int, seed: int = 0) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    rng = torch.Generator().manual_seed(seed)
    shapes = block(cell, both).parameters()
    weights = {
        n: torch.empty(s, dtype=torch.float64).uniform_(-0.7, 0.9, generator=rng).requires_grad_() for n, s in shapes.items()
    }
    state = {
        p: torch.randn(1 + both, batch, 4, generator=rng, dtype=torch.float64).requires_grad_() for p in block(cell, both).state()
    }
    return torch.randn(batch, steps, 3, generator=rng, dtype=torch.float64).requires_grad_(), weights, state


def flat(weights: dict[str, Tensor], both: bool) -> list[Tensor]:
    return [w for name in ("l0", "l0_reverse")[: 1 + both] for w in layer_weights(weights, name)]


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    cell=st.sampled_from(CELLS),
    both=st.booleans(),
    seed=st.integers(0, 50),
)
def test_equal_to_the_slow_twin_on_ragged_rows(lengths: list[int], cell: str, both: bool, seed: int) -> None:
    x, weights, state = tensors(cell, both, len(lengths), 5, seed)
    inputs = [x, *state.values(), *weights.values()]
    results = []
    for run in (
        lambda n: layer(cell, x, n, dict(state), flat(weights, both)),
        lambda n: recurrent(TorchOps(fused=False), block(cell, both), weights, x, n, dict(state)),
    ):
        y, final = run(torch.tensor(lengths))
        outputs = [y, *final.values()]
        loss = sum((o * torch.linspace(-1, 2, o.numel(), dtype=o.dtype).reshape(o.shape)).sum() for o in outputs)
        gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
        results.append([*outputs, *(g if g is not None else torch.zeros_like(i) for g, i in zip(gradients, inputs, strict=True))])
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other, **checks.GRADIENT_TOL["float64"])


@pytest.mark.parametrize("cell", CELLS)
def test_the_order_of_the_rows_is_kept(cell: str) -> None:
    x, weights, state = tensors(cell, True, 4, 5)
    lengths, order = torch.tensor([2, 5, 0, 2]), torch.tensor([3, 1, 0, 2])
    y, final = layer(cell, x, lengths, state, flat(weights, True))
    other, end = layer(cell, x[order], lengths[order], {p: s[:, order] for p, s in state.items()}, flat(weights, True))
    torch.testing.assert_close(other, y[order], **checks.TOL["float64"])
    for part in state:
        torch.testing.assert_close(end[part], final[part][:, order], **checks.TOL["float64"])


@pytest.mark.parametrize("cell", CELLS)
def test_full_lengths_are_no_lengths(cell: str) -> None:
    x, weights, state = tensors(cell, True, 3, 4)
    plain, ragged = (layer(cell, x, n, state, flat(weights, True)) for n in (None, torch.tensor([4, 4, 4])))
    torch.testing.assert_close(ragged, plain, **checks.TOL["float64"])


@pytest.mark.parametrize("lengths", [[0, 0], []])
@pytest.mark.parametrize("cell", CELLS)
def test_empty_rows_alone_give_zeros_their_state_and_its_gradient(cell: str, lengths: list[int]) -> None:
    x, weights, state = tensors(cell, True, len(lengths), 4)
    y, final = layer(cell, x, torch.tensor(lengths, dtype=torch.int64), state, flat(weights, True))
    assert y.shape == (len(lengths), 4, 8)
    assert not y.any()
    assert all(torch.equal(final[part], state[part]) for part in state)
    (gradient,) = torch.autograd.grad(final["h"].sum(), [state["h"]])
    assert torch.equal(gradient, torch.ones_like(state["h"]))


@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 0, 5])], ids=["full", "ragged"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_kernels_are_told_whether_a_backward_pass_may_come(
    cell: str, lengths: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuDNN keeps what backward needs where `train` is true, and refuses backward where it was not."""
    from tidegate.nn import fused

    seen, real = [], getattr(torch, cell)

    def watched(*arguments: object) -> object:
        seen.append(arguments[-3] if lengths is None else arguments[-2])  # train, bidirectional[, batch_first]
        return real(*arguments)

    if cell == "lstm":
        monkeypatch.setattr(torch, "lstm", watched)
    else:
        monkeypatch.setitem(fused._KERNELS, cell, watched)
    x, weights, state = tensors(cell, True, 3, 5)
    layer(cell, x, lengths, state, flat(weights, True))
    with torch.no_grad():
        layer(cell, x, lengths, state, flat(weights, True))
    with torch.inference_mode():
        layer(cell, x, lengths, state, flat(weights, True))
    assert seen == [True, False, False]


def test_a_ragged_batch_walks_the_sum_of_its_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel sees 1 row of 50 steps and 9 of 1 step as 59 steps, not 500."""
    from tidegate.nn import fused

    seen, real = [], fused._KERNELS["gru"]

    def watched(data: Tensor, *rest: object) -> object:
        seen.append(tuple(data.shape))
        return real(data, *rest)

    monkeypatch.setitem(fused._KERNELS, "gru", watched)
    x, weights, state = tensors("gru", False, 10, 50)
    layer("gru", x, torch.tensor([50] + [1] * 9), state, flat(weights, False))
    assert seen == [(59, 3)]
