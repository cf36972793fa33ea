"""Fit the README's forecaster once, in a process of its own. In: with or without the core, the cell. Out: seconds and steps.

python bench/core/forecaster.py with|without lstm|gru
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.resources import files

if sys.argv[1] == "without":
    sys.modules["tidegate._native"] = None  # type: ignore[assignment]  # importing it fails, as where it was not built

import torch

import tidegate as tg

OPTIONS = {"horizon": 14, "seed": 0}
SMALL = {"steps": 3, "hidden_size": 8}  # to try the row out: TIDEGATE_BENCH_SMALL=1


def main() -> None:
    if sys.argv[1] == "with":
        from tidegate import native

        native.require()
    torch.set_num_threads(2)
    options = OPTIONS | {"cell": sys.argv[2]} | (SMALL if os.environ.get("TIDEGATE_BENCH_SMALL") else {})
    data = files("tidegate") / "bundled" / "seattle-weather.csv"
    began = time.perf_counter()
    model = tg.Forecaster(**options).fit(data, target="temp_max", time="date")
    print(json.dumps({"fit_s": time.perf_counter() - began, "steps": model.card["steps"]}))


if __name__ == "__main__":
    main()
