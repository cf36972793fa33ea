"""Peak memory of one forward and backward, in a process of its own. In: cell and side. Out: MiB above the start, on stdout.

python bench/core/memory.py lstm torch|plain|recompute

The start is the resident memory before the first forward: libraries, weights, input and dy are there already. Linux only (/proc).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from measure import set_threads
from rows import batch, memory_layer
from shapes import MEMORY

STATUS = Path("/proc/self/status")


def resident_mb(field: str) -> float:
    """VmRSS (now) or VmHWM (the highest so far): of this program alone, unlike getrusage, whose peak a child inherits."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"{STATUS}: no {field}; the memory rows need Linux")


def main(cell: str, side: str) -> None:
    set_threads(2)
    layer, x = memory_layer(cell, side), batch(MEMORY)
    dy = torch.ones(MEMORY.steps, MEMORY.batch, MEMORY.hidden_size)
    before, highest = resident_mb("VmRSS"), resident_mb("VmHWM")
    y = layer(x)[0]
    torch.autograd.grad(y, [x, *layer.parameters()], dy)
    peak = resident_mb("VmHWM")
    if not peak > highest:
        raise RuntimeError("the peak lies before the first forward: this shape is too small to measure")
    print(json.dumps(peak - before))


if __name__ == "__main__":
    main(*sys.argv[1:])
