"""Which path runs when, and that all give the same."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

import checks
from tidegate import native, nn
from tidegate.nn import fused, operator, reference


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that have run."""
    taken: list[str] = []
    for name, module in (("core", operator), ("torch", fused), ("equations", reference)):
        real = module.layer
        monkeypatch.setattr(module, "layer", lambda *a, name=name, real=real: taken.append(name) or real(*a))
    return taken


def run(seen: list[str], dtype: torch.dtype = torch.float64, **options: object) -> set[str]:
    nn.LSTM(2, 3, 2, dtype=dtype, **options)(torch.zeros(4, 2, 2, dtype=dtype), lengths=torch.tensor([4, 2]))
    return set(seen)


@pytest.mark.skipif(not native.available(), reason="needs the native core")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_core_runs_floats_on_the_cpu(seen: list[str], dtype: torch.dtype) -> None:
    assert run(seen, dtype, zoneout=0.1, state_dropout=0.1) == {"core"}


@pytest.mark.skipif(not native.available(), reason="needs the native core")
@pytest.mark.parametrize("recompute", [False, True])
def test_recompute_reaches_the_core_and_keeps_less(recompute: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, real = [], operator._run

    def watched(given: operator.Inputs, *, keep: bool) -> object:
        kept = real(given, keep=keep)
        seen.append((given.recompute, kept[3].numel()))
        return kept

    monkeypatch.setattr(operator, "_run", watched)
    nn.LSTM(8, 64, recompute=recompute)(torch.zeros(50, 4, 8))
    ((asked, held),) = seen
    gates, states = 50 * 4 * 4 * 64 * 4, 50 * 4 * 64 * 4  # bytes
    assert asked == recompute
    assert held // 1024 == ((0 if recompute else gates) + states) // 1024


def test_torch_runs_other_types(seen: list[str]) -> None:
    assert run(seen, torch.bfloat16) == {"torch"}


def test_torch_runs_where_there_is_no_core_and_the_equations_what_it_has_not(
    seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "available", lambda: False)
    assert run(seen) == {"torch"}
    seen.clear()
    assert run(seen, zoneout=0.1) == {"equations"}


def test_the_reference_runs_where_it_is_asked_for(seen: list[str]) -> None:
    assert run(seen, reference=True) == {"equations"}


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_all_paths_give_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layers = [getattr(nn, kind)(2, 3, 2, bidirectional=True, dtype=torch.float64, reference=r) for r in (False, False, True)]
    for other in layers[1:]:
        other.load_state_dict(layers[0].state_dict())
    x = torch.randn(5, 3, 2, dtype=torch.float64)
    packed = pack_sequence([x[:3, 0], x[:, 1], x[:1, 2]], enforce_sorted=False)
    for given, lengths in ((x, None), (x, torch.tensor([3, 0, 5])), (packed, None), (x[:, 0], None)):
        results = []
        for k, layer in enumerate(layers):
            with monkeypatch.context() as patch:
                if k == 1:
                    patch.setattr(native, "available", lambda: False)
                y, final = layer(given, lengths=lengths)
            data = y if isinstance(y, torch.Tensor) else y.data
            parts = final if isinstance(final, tuple) else (final,)
            results.append([data, *parts, *torch.autograd.grad(data.square().sum(), list(layer.parameters()))])
        for other in results[1:]:
            for got, expected in zip(other, results[0], strict=True):
                torch.testing.assert_close(got, expected, **checks.GRADIENT_TOL["float64"])
