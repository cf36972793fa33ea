"""The core on torch's threads and on its own: the same bits, in a child process too."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tidegate import native
from tidegate import nn as ours
from tidegate.nn import threads

pytestmark = pytest.mark.skipif(not native.available(), reason="the native core is not installed")


def everything(cell: str) -> list[Tensor]:
    """Outputs and gradients of a layer that is large enough for two threads."""
    torch.manual_seed(0)
    layer, x = getattr(ours, cell)(40, 130, bidirectional=True), torch.randn(30, 9, 40, requires_grad=True)
    y = layer(x, lengths=torch.tensor([30, 30, 12, 7, 0, 1, 29, 30, 2]))[0]
    return [y, *torch.autograd.grad(y, [x, *layer.parameters()], torch.ones_like(y))]


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_borrowed_threads_and_own_threads_give_the_same_bits(cell: str) -> None:
    found = threads._entries()
    if found is None:
        pytest.skip("torch has no OpenMP runtime with GOMP_parallel here")
    before = native.get_num_threads()
    native.require().set_num_threads(2)
    threads_before, native._Core.threads_chosen = native._Core.threads_chosen, True
    try:
        everything(cell)  # borrows, at the first call
        native.use_openmp(*found)
        borrowed = everything(cell)
        native.use_openmp(0, 0, 0)
        own = everything(cell)
    finally:
        native.use_openmp(*found)
        native.require().set_num_threads(before)
        native._Core.threads_chosen = threads_before
    for a, b in zip(borrowed, own, strict=True):
        assert torch.equal(a, b)


def test_a_child_process_computes_the_same() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    threads.follow_torch()
    layer, x = ours.GRU(40, 130), torch.randn(30, 9, 40)
    with torch.no_grad():  # torch's autograd and its larger operations do not survive a fork
        wanted = layer(x)[0].numpy()
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if np.array_equal(layer(x)[0].numpy(), wanted) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_where_the_system_tells_no_files_there_are_no_runtimes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """macOS has no /proc; some builds of torch have no lib beside it."""

    def missing(path: Path, *_: object, **__: object) -> str:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libgomp-1.so").touch()
    monkeypatch.setattr(torch, "__file__", str(tmp_path / "__init__.py"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", missing)
        assert threads._runtimes() == [str(tmp_path / "lib" / "libgomp-1.so")]
        patch.setattr(Path, "iterdir", missing)
        assert threads._runtimes() == []
        assert threads._entries() is None


def test_mapped_files_may_have_spaces_in_their_names(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text("7f00-7f01 r-xp 00000000 00:1f 12    /a b/libgomp.so.1\n7f02-7f03 rw-p 00000000 00:00 0 \n")
    assert "/a b/libgomp.so.1" in threads._mapped(maps)
    assert threads._mapped(tmp_path / "none") == ()


def test_torchs_number_of_threads_is_taken_unless_one_was_chosen() -> None:
    chosen, before, torchs = native._Core.threads_chosen, native.get_num_threads(), torch.get_num_threads()
    try:
        native._Core.threads_chosen = False
        torch.set_num_threads(3)
        threads.follow_torch()
        assert native.get_num_threads() == 3
        native.set_num_threads(2)
        threads.follow_torch()
        assert native.get_num_threads() == 2
    finally:
        torch.set_num_threads(torchs)
        native.require().set_num_threads(before)
        native._Core.threads_chosen = chosen
