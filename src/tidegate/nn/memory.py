"""Memory for what forward keeps, used again. In: a number of bytes. Out: a tensor of them, whose memory comes back when it goes.

A training step needs the same megabytes as the step before. From the system they come as fresh pages, cleared one by one, which
costs a tenth of the forward pass of a small net.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Block = npt.NDArray[np.uint8]

ALIGNED = 64  # bytes, a cache line and the core's widest vector
LEAST = 1 << 16  # smaller pieces come from torch
MOST_KEPT = 128 << 20  # bytes that wait for their next use, all together

# Free blocks by size. List and dict operations are atomic, and a block may come back while another is asked for: no lock is held.
_free: dict[int, list[Block]] = {}
_kept = 0


@final
class _Lease(np.ndarray):
    """A view of a block that gives it back at its end."""

    block: Block | None = None

    def __del__(self) -> None:
        block = self.block
        if block is not None:
            _give_back(block)


def borrow(size: int) -> Tensor:
    """(size,) uint8, aligned, not initialised. A tensor like any other: it may be saved, shared and outlive this module."""
    if size < LEAST:
        return torch.empty(size, dtype=torch.uint8)
    global _kept
    rounded = _rounded(size)
    try:
        block = _free.get(rounded, []).pop()
        _kept -= rounded
    except IndexError:
        raw = np.empty(rounded + ALIGNED, np.uint8)
        start = -raw.ctypes.data % ALIGNED
        block = raw[start : start + rounded]
    lease: Any = block[:size].view(_Lease)
    lease.block = block
    return torch.from_numpy(lease)


def _rounded(size: int) -> int:
    """Up by at most an eighth, so that sizes that differ a little share blocks."""
    step = 1 << max(size.bit_length() - 4, 12)
    return -(-size // step) * step


def _give_back(block: Block) -> None:
    global _kept
    if _kept + len(block) <= MOST_KEPT:
        _kept += len(block)
        _free.setdefault(len(block), []).append(block)
