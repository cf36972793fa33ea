"""What forward keeps is used again, and never while someone still has it."""

from __future__ import annotations

import gc

import pytest
import torch

from tidegate import native
from tidegate import nn as ours
from tidegate.nn import memory


@pytest.mark.parametrize("size", [0, 1, memory.LEAST - 1, memory.LEAST, 100_001, 5_000_000])
def test_a_piece_has_its_size_and_is_aligned(size: int) -> None:
    piece = memory.borrow(size)
    assert piece.shape == (size,)
    assert piece.dtype == torch.uint8
    assert size < memory.LEAST or piece.data_ptr() % memory.ALIGNED == 0


def test_memory_comes_back_when_the_tensor_goes_and_not_before() -> None:
    size = 777_777
    first = memory.borrow(size)
    second = memory.borrow(size)
    assert first.data_ptr() != second.data_ptr()
    place, part = first.data_ptr(), first[10:20]
    del first
    assert memory.borrow(size).data_ptr() != place, "a view still holds it"
    del part
    again = [memory.borrow(size) for _ in range(8)]
    assert place in [piece.data_ptr() for piece in again]
    assert len({piece.data_ptr() for piece in again}) == 8


def test_what_waits_is_bounded() -> None:
    pieces = [memory.borrow(memory.MOST_KEPT // 4) for _ in range(8)]
    del pieces
    assert sum(len(block) for blocks in memory._free.values() for block in blocks) <= memory.MOST_KEPT
    assert memory._kept <= memory.MOST_KEPT


@pytest.mark.skipif(not native.available(), reason="the native core is not installed")
def test_graphs_that_live_side_by_side_do_not_share() -> None:
    layer = ours.LSTM(16, 64)
    xs = [torch.randn(50, 8, 16, requires_grad=True) for _ in range(4)]

    def gradient(x: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(layer(x)[0].square().sum(), x)[0]

    wanted = [gradient(x) for x in xs]
    for _ in range(3):
        graphs = [layer(x)[0].square().sum() for x in xs]
        gc.collect()
        found = [torch.autograd.grad(loss, x)[0] for loss, x in zip(graphs, xs, strict=True)]
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
