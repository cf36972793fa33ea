"""What forward keeps is used again, and never while someone still has it."""

from __future__ import annotations

import gc
import sys
import threading

import pytest
import torch

from tidegate import native
from tidegate import nn as ours
from tidegate.nn import memory


@pytest.mark.parametrize("size", [0, 1, memory.LEAST - 1, memory.LEAST, 100_001, 5_000_000])
def test_a_piece_has_its_size_and_is_aligned(size: int) -> None:
    piece = memory.room((size,), torch.uint8)
    assert piece.shape == (size,)
    assert piece.dtype == torch.uint8
    assert size < memory.LEAST or piece.data_ptr() % memory.ALIGNED == 0


def test_memory_comes_back_when_the_tensor_goes_and_not_before() -> None:
    size = 777_777
    first = memory.room((size,), torch.uint8)
    second = memory.room((size,), torch.uint8)
    assert first.data_ptr() != second.data_ptr()
    place, part = first.data_ptr(), first[10:20]
    del first
    assert memory.room((size,), torch.uint8).data_ptr() != place, "a view still holds it"
    del part
    again = [memory.room((size,), torch.uint8) for _ in range(8)]
    assert place in [piece.data_ptr() for piece in again]
    assert len({piece.data_ptr() for piece in again}) == 8


def test_what_waits_is_bounded() -> None:
    pieces = [memory.room((memory.MOST_KEPT // 4,), torch.uint8) for _ in range(8)]
    del pieces
    assert memory._kept == kept() <= memory.MOST_KEPT


def kept() -> int:
    return sum(len(block) for blocks in memory._free.values() for _, block in blocks)


def test_the_oldest_goes_where_a_new_piece_would_pass_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_free", {})
    monkeypatch.setattr(memory, "_kept", 0)
    monkeypatch.setattr(memory, "MOST_KEPT", 10 << 20)
    sizes = [size << 20 for size in (4, 2, 3, 2, 3)]  # the fifth pushes out the first
    pieces = [memory.room((size,), torch.uint8) for size in sizes]
    places = [piece.data_ptr() for piece in pieces]
    for k in range(5):
        pieces[k] = None
    assert memory._kept == kept() == 10 << 20
    assert [memory.room((2 << 20,), torch.uint8).data_ptr(), memory.room((3 << 20,), torch.uint8).data_ptr()] == [
        places[3],
        places[4],
    ], "the last is taken first"
    found = {size: [block.ctypes.data for _, block in blocks] for size, blocks in memory._free.items()}
    assert found == {4 << 20: [], 2 << 20: [places[1], places[3]], 3 << 20: [places[2], places[4]]}
    del pieces
    memory.room(((10 << 20) + 1,), torch.uint8)
    assert memory._kept == kept() == 10 << 20, "a piece beyond the bound pushes out none"


def test_who_cannot_have_the_store_does_without_it() -> None:
    """As when the collector ends a tensor inside borrow, or in a child whose parent held the lock."""
    size = 888_888
    first = memory.room((size,), torch.uint8)
    place = first.data_ptr()
    before = memory._kept
    with memory._lock:
        del first
        assert memory.room((size,), torch.uint8).shape == (size,)
        assert memory._kept == before
    assert place not in [block.ctypes.data for blocks in memory._free.values() for _, block in blocks]
    place = memory.room((size,), torch.uint8).data_ptr()
    assert memory.room((size,), torch.uint8).data_ptr() == place, "and has it again later"


def test_many_threads_leave_the_count_right_and_share_nothing() -> None:
    before, wrong = sys.getswitchinterval(), []

    def work(mark: int) -> None:
        for k in range(400):
            pieces = [memory.room((memory.LEAST + 9000 * (k % 5),), torch.uint8) for _ in range(3)]
            for piece in pieces:
                piece[:8] = mark
            wrong.extend(mark for piece in pieces if piece[:8].tolist() != [mark] * 8)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []
    assert memory._kept == kept()


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
