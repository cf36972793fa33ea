"""Layers with projection, layer norm and the reset gate before the product: torch.nn and the equations are the oracles."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from tidegate import nn as ours
from tidegate.errors import ConfigError, LayerError

I, H, P, B, T = 5, 17, 6, 4, 9  # noqa: E741  the letters of dims.py
KINDS = [
    ("LSTM", {"proj_size": P}), ("LSTM", {"proj_size": P, "layer_norm": True}), ("LSTM", {"layer_norm": True}),
    ("GRU", {"reset_after": False}), ("GRU", {"reset_after": False, "layer_norm": True}), ("GRU", {"layer_norm": True}),
    ("RNN", {"layer_norm": True}), ("RNN", {"layer_norm": True, "nonlinearity": "relu"}),
]  # fmt: skip


def short(options: object) -> str:
    return "-".join(f"{k}={v}" for k, v in options.items()) or "plain" if isinstance(options, dict) else str(options)


def everything(layer: torch.nn.Module, x: Tensor | PackedSequence, hx: object, **more: object) -> list[Tensor]:
    leaf = (x.data if isinstance(x, PackedSequence) else x).clone().requires_grad_()
    y, state = layer(x._replace(data=leaf) if isinstance(x, PackedSequence) else leaf, hx, **more)
    out = [y.data if isinstance(y, PackedSequence) else y, *(state if isinstance(state, tuple) else (state,))]
    loss = sum((o * torch.linspace(-1, 1, o.numel(), dtype=o.dtype).reshape(o.shape)).sum() for o in out)
    return [*out, *torch.autograd.grad(loss, [leaf, *layer.parameters()])]


def assert_equal(got: list[Tensor], expected: list[Tensor]) -> None:
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 3, "bidirectional": True}, {"batch_first": True, "num_layers": 2}], ids=short
)
def test_projection_is_torchs(options: dict[str, object], bias: bool) -> None:
    theirs = torch.nn.LSTM(I, H, proj_size=P, bias=bias, dtype=torch.float64, **options)
    torch.manual_seed(3)
    mine = ours.LSTM(I, H, proj_size=P, bias=bias, dtype=torch.float64, **options)
    torch.manual_seed(3)
    again = torch.nn.LSTM(I, H, proj_size=P, bias=bias, dtype=torch.float64, **options)
    for name, weight in again.state_dict().items():
        assert torch.equal(mine.state_dict()[name], weight), f"{name}: the initial values for a seed"
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(B, T, I, dtype=torch.float64)
    rows = mine.num_layers * (2 if mine.bidirectional else 1)
    state = torch.randn(rows, B, P, dtype=torch.float64), torch.randn(rows, B, H, dtype=torch.float64)
    given = x if mine.batch_first else x.transpose(0, 1)
    for hx in (None, state):
        assert_equal(everything(mine, given, hx), everything(theirs, given, hx))
    packed = pack_padded_sequence(x, torch.tensor([4, 9, 1, 6]), batch_first=True, enforce_sorted=False)
    assert_equal(everything(mine, packed, state), everything(theirs, packed, state))
    unbatched = tuple(s[:, 0] for s in state)
    assert_equal(everything(mine, x[0], unbatched), everything(theirs, x[0], unbatched))


@pytest.mark.parametrize(("cell", "options"), KINDS, ids=short)
def test_the_core_gives_what_the_equations_give(cell: str, options: dict[str, object]) -> None:
    layer = getattr(ours, cell)(I, H, num_layers=2, bidirectional=True, batch_first=True, dtype=torch.float64, **options)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.uniform_(-0.6, 0.8)
    slow = copy.deepcopy(layer)
    slow.reference = True
    x, lengths = torch.randn(B, T, I, dtype=torch.float64), torch.tensor([9, 0, 4, 7])
    assert_equal(everything(layer, x, None, lengths=lengths), everything(slow, x, None, lengths=lengths))


def test_layer_norm_starts_as_a_norm_without_effect_of_its_own() -> None:
    layer = ours.LSTM(I, H, layer_norm=True)
    assert torch.equal(layer.gain_ih_l0, torch.ones(4 * H))
    assert torch.equal(layer.gain_c_l0, torch.ones(H))
    assert torch.equal(layer.shift_c_l0, torch.zeros(H))


def test_accelerate_swaps_a_projected_layer() -> None:
    model = torch.nn.ModuleDict({"a": torch.nn.LSTM(I, H, proj_size=P)})
    x = torch.randn(T, B, I)
    before = model["a"](x)[0]
    report = ours.accelerate(model)
    if not report.swapped:
        pytest.skip("the native core is not installed")
    torch.testing.assert_close(model["a"](x)[0], before, atol=1e-5, rtol=1e-5)


def test_what_does_not_go_together_is_refused() -> None:
    for wrong in (-1, H, 1.5, True):
        with pytest.raises(ConfigError, match=r"LSTM: proj_size: expected a whole number from 0 to below hidden_size 17"):
            ours.LSTM(I, H, proj_size=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"GRU: reset_after: expected True or False, got 1"):
        ours.GRU(I, H, reset_after=1)  # type: ignore[arg-type]
    for more in ({"recompute": True}, {"zoneout": 0.1}, {"state_dropout": 0.1}):
        with pytest.raises(ConfigError, match="expected none beside proj_size, layer_norm or reset_after=False"):
            ours.GRU(I, H, reset_after=False, **more)
    layer = ours.LSTM(I, H, proj_size=P)
    with pytest.raises(LayerError, match=r"hx: expected h_0 of shape \(1, 4, 6\), got \(1, 4, 17\)"):
        layer(torch.zeros(T, B, I), (torch.zeros(1, B, H), torch.zeros(1, B, H)))
