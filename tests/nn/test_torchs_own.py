"""PyTorch's own samples and errors for RNN, LSTM and GRU, on our classes beside its. Skipped where torch.testing lacks them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from tidegate import nn as ours

pytest.importorskip("expecttest", reason="torch.testing._internal needs expecttest")
common = pytest.importorskip("torch.testing._internal.common_modules", reason="this torch has no common_modules")

MODULES = [info for info in common.module_db if info.module_cls in (torch.nn.RNN, torch.nn.LSTM, torch.nn.GRU)]
DTYPES = [torch.float32, torch.float64]


def named(info: object) -> str:
    return info.module_cls.__name__


def samples(info: object, dtype: torch.dtype, training: bool) -> list[object]:
    torch.manual_seed(0)
    return info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training)


def tensors(value: object) -> list[Tensor]:
    if isinstance(value, PackedSequence):
        return [value.data]
    if isinstance(value, Tensor):
        return [value]
    return [t for part in value or () for t in tensors(part)] if isinstance(value, (tuple, list)) else []


def run(layer: torch.nn.Module, arguments: tuple[object, ...]) -> list[Tensor]:
    found = tensors(layer(*arguments))
    inputs = [t for t in tensors(arguments) if t.is_leaf] + list(layer.parameters())
    loss = sum((f * torch.linspace(-1, 2, f.numel(), dtype=f.dtype).reshape(f.shape)).sum() for f in found)
    return [*found, *torch.autograd.grad(loss, inputs)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("info", MODULES, ids=named)
def test_every_sample_gives_what_torch_gives(info: object, dtype: torch.dtype, training: bool) -> None:
    tried = 0
    for sample in samples(info, dtype, training):
        arguments, options = sample.constructor_input.args, dict(sample.constructor_input.kwargs)
        theirs = info.module_cls(*arguments, **options, dtype=dtype).train(training)
        if named(info) != "LSTM":
            options.pop("proj_size", None)
        mine = getattr(ours, named(info))(*arguments, **options, dtype=dtype).train(training)
        mine.load_state_dict(theirs.state_dict())
        assert not sample.forward_input.kwargs
        given = sample.forward_input.args
        for got, expected in zip(run(mine, given), run(theirs, given), strict=True):
            torch.testing.assert_close(got, expected, atol=1e-5 if dtype == torch.float32 else 1e-11, rtol=1e-5)
        if sample.reference_fn is not None and not isinstance(given[0], PackedSequence):
            expected = sample.reference_fn(mine, *given)  # copies the layer
            for got, alone in zip(tensors(mine(*given)), tensors(expected), strict=True):
                torch.testing.assert_close(got, alone)
        tried += 1
    assert tried >= 16


@pytest.mark.parametrize("info", MODULES, ids=named)
def test_every_error_is_of_torchs_class(info: object) -> None:
    tried = info.module_error_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=False, training=True)
    for sample in tried:
        made = sample.module_error_input.constructor_input
        given = sample.module_error_input.forward_input or common.FunctionInput()
        kind = getattr(ours, named(info))
        with pytest.raises(sample.error_type) as caught:
            kind(*made.args, **made.kwargs)(*given.args, **given.kwargs)
        assert "expected" in str(caught.value)
        assert "got" in str(caught.value)
    assert len(tried) >= 14
