"""How long a step of an exported layer takes, beside RTNeural's stated figures. In: a C compiler. Out: a table, and a JSON.

    python bench/edge/speed.py
    python bench/edge/speed.py --cc clang --json speed.json

The layers alternate in one run; a figure is the median over the repeats. Close everything else first: a figure is worth what the
machine was worth while it ran. RTNeural's figures are of a processor whose FMA loop ran 240 GFLOP/s, and scaled by this one's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tidegate import native
from tidegate.export.c import header
from tidegate.export.deployed import Deployed
from tidegate.runtime import Predictor
from tidegate.spec import Port, Recurrent, Spec

SIZES = (8, 16, 32, 64)
RTNEURAL = {"lstm": (0.049, 0.054, 0.129, 1.05), "gru": (0.052, 0.066, 0.129, 0.80)}  # us a step, input as wide as the layer
THEIR_PEAK = 240.0  # GFLOP/s
STEPS, REPEATS, PEAK_S = 20_000, 31, 0.5
MUST, AIM = 0.9, {8: 1.2, 16: 1.2, 32: 1.2, 64: 2.0}
FLAGS = ("-std=gnu99", "-O3", "-march=native")


def layer(cell: str, size: int) -> str:
    """The header of a layer alone, with carried state."""
    read = Recurrent(name="read", inputs=("x",), cell=cell, input_size=size, hidden_size=size)  # type: ignore[arg-type]
    spec = Spec(inputs=(Port(name="x", size=size),), blocks=(read,), outputs=("read",))
    rng = np.random.default_rng(size)
    scale = 1.0 / size**0.5
    weights = {n: rng.uniform(-scale, scale, s).astype(np.float32) for n, s in spec.parameters().items()}
    return header(Deployed(net=Predictor(spec, weights)), f"{cell}{size}").text


def program(names: list[str], steps: int, repeats: int) -> str:
    """C that prints, repeat after repeat, a line a layer: its name and microseconds a step. The widest layer sets the vectors."""
    timed = "\n".join(
        f"static double time_{n}(void) {{\n  static {n}_state s;\n  static {n}_answer a;\n  double began;\n  int k;\n"
        f"  {n}_init(&s);\n  began = now();\n  for (k = 0; k < {steps}; ++k) {n}_step(&s, x + (k & 63), &a);\n"
        f"  sink += a.read[0];\n  return (now() - began) / {steps} * 1e6;\n}}"
        for n in names
    )
    calls = "\n".join(f'    printf("{n} %.5f\\n", time_{n}());' for n in names)
    includes = "\n".join(f'#include "{n}.h"' for n in names)
    return (
        f"#include <stdio.h>\n#include <time.h>\n{includes}\nstatic float x[64 + {max(SIZES)}];\nstatic volatile float sink;\n"
        "static double now(void) {\n  struct timespec t;\n  clock_gettime(CLOCK_MONOTONIC, &t);\n"
        "  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;\n}\n"
        f"{timed}\nint main(void) {{\n  int k;\n  for (k = 0; k < 64 + {max(SIZES)}; ++k) x[k] = (float)(k % 17) / 8.0f - 1.0f;\n"
        f"  for (k = 0; k < {repeats}; ++k) {{\n{calls}\n  }}\n  return 0;\n}}\n"
    )


def measured(compiler: str, steps: int, repeats: int) -> dict[str, list[float]]:
    """Microseconds a step of every layer, one a repeat; a program for each size, so that its vectors are its own."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            names = [f"{cell}{size}" for cell in RTNEURAL]
            for cell, name in zip(RTNEURAL, names, strict=True):
                Path(folder, f"{name}.h").write_text(layer(cell, size), encoding="utf-8")
            Path(folder, "speed.c").write_text(program(names, steps, repeats), encoding="utf-8")
            subprocess.run([compiler, *FLAGS, "speed.c", "-o", "speed"], cwd=folder, check=True)
            said = subprocess.run(["./speed"], cwd=folder, check=True, capture_output=True, text=True).stdout
            for line in said.splitlines():
                name, took = line.split()
                found.setdefault(name, []).append(float(took))
    return found


def ratio(cell: str, size: int, took: float, peak: float) -> float:
    """RTNeural's time on a processor of this peak, over ours."""
    return RTNEURAL[cell][SIZES.index(size)] * THEIR_PEAK / peak / took


def report(found: dict[str, list[float]], peak: float) -> str:
    """The table."""
    lines = ["| layer | us a step | RTNeural's time / ours | asked (must, aim) |", "|---|---|---|---|"]
    for cell in RTNEURAL:
        for size in SIZES:
            took = statistics.median(found[f"{cell}{size}"])
            lines.append(f"| {cell} {size} | {took:.3f} | {ratio(cell, size, took, peak):.2f} | {MUST}, {AIM[size]} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cc", default="gcc", help="the compiler; default gcc")
    parser.add_argument("--json", metavar="FILE", help="write every repeat")
    args = parser.parse_args()
    before = native.peak(1, PEAK_S)
    found = measured(args.cc, STEPS, REPEATS)
    peak = max(before, native.peak(1, PEAK_S))
    print(f"{report(found, peak)}\n\nFMA loop: {peak:.0f} GFLOP/s.")
    if args.json:
        record: dict[str, Any] = {"compiler": args.cc, "flags": FLAGS, "peak_gflops": peak, "us": found}
        Path(args.json).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
