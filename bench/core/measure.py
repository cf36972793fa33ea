"""Times in pairs, quartiles, the peak and the machine. In: functions to time. Out: raw seconds and plain records.

The two sides of a pair alternate, and so does which of them comes first: a machine that grows faster or slower meets both alike.
Torch and the core are imported where they are used: report.py needs the arithmetic alone.
"""

from __future__ import annotations

import gc
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SAMPLE_S = 0.004  # a sample holds as many calls as fill this time
SETTLE_BELOW_S = 0.02  # shorter calls are made once untimed before each sample: the other side has left caches and threads
FEWEST_PAIRS, MOST_PAIRS = 15, 200
PEAK_S = 0.15  # the FMA loop runs this long for each figure
FLAGS = (
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512dq",
    "avx512bw",
    "avx512vl",
    "avx512_bf16",
    "avx512_vnni",
    "amx_tile",
    "asimd",
    "sve",
)


class Side(NamedTuple):
    """What is timed: `seconds` makes one call with `threads` threads and says how long it took."""

    name: str
    threads: int
    seconds: Callable[[], float]


class Quartiles(NamedTuple):
    """Lower quartile, median, upper quartile."""

    lower: float
    median: float
    upper: float


class Effort(NamedTuple):
    """How long a pair of sides is measured."""

    seconds: float = 5.0
    fewest: int = FEWEST_PAIRS


def timed(call: Callable[[], object]) -> Callable[[], float]:
    """A function that makes the call and gives its seconds."""

    def seconds() -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    return seconds


def quartiles(values: list[float]) -> Quartiles:
    """Of at least one value, interpolated between neighbours (the inclusive method)."""
    if len(values) == 1:
        return Quartiles(values[0], values[0], values[0])
    return Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))


def ratios(pair: dict[str, Any]) -> list[float]:
    """over / under, pair by pair."""
    return [over / under for over, under in zip(pair["over_s"], pair["under_s"], strict=True)]


def pairs(over: Side, under: Side, effort: Effort) -> dict[str, Any]:
    """Both sides in turn until the seconds are spent, never fewer than `effort.fewest` pairs."""
    samplers = [_sampler(side) for side in (over, under)]
    taken: tuple[list[float], list[float]] = ([], [])
    gc.collect()
    gc.disable()
    try:
        end = time.perf_counter() + effort.seconds
        while len(taken[0]) < effort.fewest or (time.perf_counter() < end and len(taken[0]) < MOST_PAIRS):
            for which in (0, 1) if len(taken[0]) % 2 == 0 else (1, 0):
                taken[which].append(samplers[which].take())
    finally:
        gc.enable()
    return {
        "over": over.name, "over_threads": over.threads, "over_s": taken[0],
        "under": under.name, "under_threads": under.threads, "under_s": taken[1],
        "calls_a_sample": [sampler.calls for sampler in samplers],
    }  # fmt: skip


class _Sampler(NamedTuple):
    side: Side
    calls: int
    settle: bool

    def take(self) -> float:
        """Seconds of one call: the mean of a sample."""
        set_threads(self.side.threads)
        if self.settle:
            self.side.seconds()
        return sum(self.side.seconds() for _ in range(self.calls)) / self.calls


def _sampler(side: Side) -> _Sampler:
    set_threads(side.threads)
    side.seconds()  # the first call sets up memory and threads
    second = max(side.seconds(), 1e-7)
    return _Sampler(side, max(1, math.ceil(SAMPLE_S / second)), second < SETTLE_BELOW_S)


def best_threads(make: Callable[[int], Side], counts: tuple[int, ...] = (1, 2)) -> tuple[int, dict[str, float]]:
    """The number of threads that serves a side best, and the median seconds of a short probe for each."""
    samplers = [_sampler(make(count)) for count in counts]
    rounds = 7 if all(sampler.settle for sampler in samplers) else 3
    taken = [[sampler.take() for sampler in samplers] for _ in range(rounds)]
    medians = [statistics.median(column) for column in zip(*taken, strict=True)]
    best = min(range(len(counts)), key=medians.__getitem__)
    return counts[best], {str(count): median for count, median in zip(counts, medians, strict=True)}


def set_threads(threads: int) -> None:
    """For torch and for the core."""
    import torch

    from tidegate import native

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    native.set_num_threads(threads)


def peak_gflops() -> dict[str, float]:
    """GFLOP/s of fused multiply-adds on registers, for 1 and 2 threads."""
    from tidegate import native

    return {str(threads): native.peak(threads, PEAK_S) for threads in (1, 2)}


def usable_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """What a reader must know of the machine and the builds."""
    import torch

    import tidegate
    from tidegate import native

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    known = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set((known.get("flags") or known.get("Features") or "").split())
    return {
        "cpu": known.get("model name", platform.processor() or platform.machine()),
        "flags": [flag for flag in FLAGS if flag in flags],
        "cores": os.cpu_count(),
        "usable": usable_cpus(),
        "system": platform.system(),
        "isa": native.isa(),
        "tidegate": tidegate.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
