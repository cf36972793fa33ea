"""The core on torch's threads. In: torch's setting and its OpenMP runtime. Out: the core set to both.

torch's OpenMP threads spin for some milliseconds after each operation, waiting for the next. Threads of the core's own pool would
stand behind them on the same processors (a layer between torch operations took 1.6 to 3.2 times as long, decision 0008), so the
core borrows them.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import torch

from tidegate import native

_ENTRIES = ("GOMP_parallel", "omp_get_num_threads", "omp_get_thread_num")  # LLVM's runtime has the first under the same name
_done = False


def follow_torch() -> None:
    """Take torch's number of threads, unless tidegate.set_num_threads was called, and, once, its OpenMP runtime."""
    global _done
    if not _done:
        _done = True
        _borrow()
    native.follow_threads(torch.get_num_threads())


def _borrow() -> None:
    found = _entries()
    if found is None:
        return
    native.use_openmp(*found)
    # A child has no threads of the parent's runtime, and libgomp waits for them for ever; the core's own pool starts anew.
    os.register_at_fork(after_in_child=lambda: native.use_openmp(0, 0, 0))


def _entries() -> tuple[int, int, int] | None:
    """Addresses in the OpenMP runtime that torch has loaded; None where torch has another kind of threads."""
    if not sys.platform.startswith(("linux", "darwin")):
        return None
    for path in _runtimes():
        try:
            library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            addresses = [ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in _ENTRIES]
        except (OSError, AttributeError):
            continue
        if all(addresses):
            return addresses[0] or 0, addresses[1] or 0, addresses[2] or 0
    return None


def _runtimes() -> list[str]:
    """Files of OpenMP runtimes beside torch or in this process, torch's own first."""
    found = [*_files(Path(torch.__file__).parent / "lib"), *_mapped(Path("/proc/self/maps"))]
    return [path for path in found if Path(path).name.startswith(("libgomp", "libomp", "libiomp"))]


def _files(folder: Path) -> Iterable[str]:
    try:
        return sorted(str(path) for path in folder.iterdir())
    except OSError:
        return ()


def _mapped(maps: Path) -> Iterable[str]:
    """Files in this process's memory; none where the system does not list them, as macOS."""
    try:
        lines = maps.read_text(errors="replace").splitlines()
    except OSError:
        return ()
    return sorted({line.split(maxsplit=5)[-1] for line in lines})
