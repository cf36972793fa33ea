"""Memory for large results and what forward keeps, used again. In: a shape. Out: a tensor whose memory returns when it goes.

A training step needs the same megabytes as the step before. From the system they come as fresh pages, cleared one by one, which
costs a tenth of the forward pass of a small net.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import count
from threading import Lock
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Block = npt.NDArray[np.uint8]

ALIGNED = 64  # bytes, a cache line and the core's widest vector
LEAST = 1 << 16  # smaller pieces come from torch
_NUMPY = {torch.uint8: np.uint8, torch.float32: np.float32, torch.float64: np.float64}
_LIKE = {dtype: torch.empty(0, dtype=dtype, device="cpu") for dtype in _NUMPY}  # new_empty takes half as long as torch.empty
_ITEM = {dtype: np.dtype(own).itemsize for dtype, own in _NUMPY.items()}
MOST_KEPT = 128 << 20  # bytes that wait for their next use, all together

# Free blocks by size with the number of their return, oldest first. Who cannot have the lock at once does without the store: a
# block may come back inside `room` itself, when the collector runs there, and in the child of a process that forked meanwhile
# the lock is held for ever.
_free: dict[int, deque[tuple[int, Block]]] = {}
_kept = 0
_returns = count()
_lock = Lock()
_acquire, _release = _lock.acquire, _lock.release


@final
class _Lease(np.ndarray):
    """A view of a block that gives it back at its end."""

    block: Block | None = None

    def __del__(self) -> None:
        if self.block is not None:
            _give_back(self.block)


def room(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor, aligned, not initialised: uint8, float32 or float64. It may be saved, shared and outlive this module."""
    size = math.prod(shape) * _ITEM[dtype]
    if size < LEAST:
        return _LIKE[dtype].new_empty(shape)
    rounded = _rounded(size)
    block = _taken(rounded)
    if block is None:
        raw = np.empty(rounded + ALIGNED, np.uint8)
        start = -raw.ctypes.data % ALIGNED
        block = raw[start : start + rounded]
    lease = _Lease(shape, _NUMPY[dtype], block)
    lease.block = block
    return torch.from_numpy(lease)


def _rounded(size: int) -> int:
    """Up by at most an eighth, so that sizes that differ a little share blocks."""
    step = 1 << size.bit_length() - 4
    return size + step - 1 & -step


def _taken(size: int) -> Block | None:
    """The block of this size that came back last."""
    global _kept
    if not _acquire(False):
        return None
    try:
        blocks = _free.get(size)
        if not blocks:
            return None
        _kept -= size
        return blocks.pop()[1]
    finally:
        _release()


def _evict(size: int) -> None:
    """Room for so many bytes more; the lock is held."""
    global _kept
    while _kept + size > MOST_KEPT:
        oldest = min((blocks for blocks in _free.values() if blocks), key=lambda blocks: blocks[0][0])
        _kept -= len(oldest[0][1])
        oldest.popleft()


def _give_back(block: Block) -> None:
    """Keeps the block, and no longer those that came back first where all would pass the bound."""
    global _kept
    size = len(block)
    if size > MOST_KEPT or not _acquire(False):
        return
    try:
        if _kept + size > MOST_KEPT:
            _evict(size)
        blocks = _free.get(size)
        if blocks is None:
            blocks = _free[size] = deque()
        blocks.append((next(_returns), block))
        _kept += size
    finally:
        _release()
