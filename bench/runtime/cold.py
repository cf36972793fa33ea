"""A fresh process without torch: import, load, first forecast -> results/cold.json.

    python bench/runtime/cold.py          # trains a small forecaster first, which needs torch

Wall-clock seconds of the whole process, of import, load and predict within it; the median of some processes one after the other.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import tidegate as tg

RESULTS = Path(__file__).resolve().parent / "results"
CODE = """
import sys, time
sys.modules["torch"] = None  # importing it fails, as where it is not installed
began = time.perf_counter()
import tidegate as tg
imported = time.perf_counter()
model = tg.load(sys.argv[1])
loaded = time.perf_counter()
model.predict()
print(imported - began, loaded - imported, time.perf_counter() - loaded)
"""
PROCESSES = 9


def main() -> None:
    y = 10 + 3 * np.sin(np.arange(800) * 2 * np.pi / 24) + np.random.default_rng(0).normal(0, 0.3, 800)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "m.safetensors")
        tg.Forecaster(horizon=24, season=24, hidden_size=128, steps=5).fit([y.tolist()], progress=False).save(path)
        rows = []
        for _ in range(PROCESSES + 1):
            began = time.perf_counter()
            said = subprocess.run([sys.executable, "-c", CODE, path], check=True, capture_output=True, text=True, env=os.environ)
            rows.append([time.perf_counter() - began, *map(float, said.stdout.split())])
    medians = [statistics.median(own) for own in zip(*rows[1:], strict=True)]  # the first one fills the caches
    result = dict(zip(("process_s", "import_s", "load_s", "first_prediction_s"), medians, strict=True))
    result["import_load_predict_s"] = statistics.median(sum(row[1:]) for row in rows[1:])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cold.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
