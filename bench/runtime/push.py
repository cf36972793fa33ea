"""A forecaster's push: one sample in, the new 24-step forecast out, LSTM 128, one thread -> results/push.json.

python bench/runtime/push.py          # trains two small forecasters first, which needs torch

The two ways of scaling take turns, sample by sample; pushes are timed one by one, the clock's own cost in them, after the
look-back is full.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

import tidegate as tg
from tidegate import native

RESULTS = Path(__file__).resolve().parent / "results"
PUSHES = 3000
FULL = 200  # pushes after which every window is
SCALINGS = ("running", "window")


def main() -> None:
    native.set_num_threads(1)
    y = 10 + 3 * np.sin(np.arange(800) * 2 * np.pi / 24) + np.random.default_rng(0).normal(0, 0.3, 800)
    options = {"horizon": 24, "season": 24, "hidden_size": 128, "steps": 5}
    models = {s: tg.Forecaster(**options, scaling=s).fit([y.tolist()], progress=False) for s in SCALINGS}
    streams = {scaling: model.stream() for scaling, model in models.items()}
    taken: dict[str, list[float]] = {scaling: [] for scaling in streams}
    for value in np.resize(y, PUSHES).tolist():
        for scaling, stream in streams.items():
            began = time.perf_counter()
            stream.push(value)
            taken[scaling].append((time.perf_counter() - began) * 1e6)
    result = {
        scaling: {
            "median_us": float(np.median(own[FULL:])),
            "p99_us": float(np.percentile(own[FULL:], 99)),
            "cost": streams[scaling].cost,
        }
        for scaling, own in taken.items()
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "push.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
