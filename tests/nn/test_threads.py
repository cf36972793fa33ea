"""The core on torch's threads and on its own: the same bits, in a child process too."""

from __future__ import annotations

import os
import signal

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
