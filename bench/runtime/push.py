"""A forecaster's push: one sample in, the new 24-step forecast out, LSTM 128, one thread -> results/push.json.

python bench/runtime/push.py          # trains two small forecasters first, which needs torch
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

import tidegate as tg
from tidegate import native

RESULTS = Path(__file__).resolve().parent / "results"
PUSHES = 300


def main() -> None:
    native.set_num_threads(1)
    y = 10 + 3 * np.sin(np.arange(800) * 2 * np.pi / 24) + np.random.default_rng(0).normal(0, 0.3, 800)
    result = {}
    for scaling in ("running", "window"):
        model = tg.Forecaster(horizon=24, season=24, hidden_size=128, scaling=scaling, steps=5).fit([y.tolist()], progress=False)
        stream, taken = model.stream(), []
        for value in y[:PUSHES].tolist():
            began = time.perf_counter()
            stream.push(value)
            taken.append((time.perf_counter() - began) * 1e6)
        result[scaling] = {"median_us": float(np.median(taken)), "p99_us": float(np.percentile(taken, 99)), "cost": stream.cost}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "push.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
