"""256 streams at once: `model.step_many` beside pushing each, one thread -> results/many.json.

python bench/runtime/many.py          # trains small models first, which needs torch

The two ways take turns, round by round, over streams of their own; a figure is the median of the rounds. LSTM 128 where nothing
else is said; one token, step or value a stream and round.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tidegate as tg
from tidegate import native

RESULTS = Path(__file__).resolve().parent / "results"
STREAMS, ROUNDS = 256, 15
TEXTS = (["a fine film", "a dull film", "fine acting , dull film", "dull acting"] * 8, ["good", "bad", "good", "bad"] * 8)


def models() -> dict[str, tuple[Any, list[Any]]]:
    """A model of each kind, and samples for its streams."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    module = torch.nn.Module()
    module.add_module("read", torch.nn.GRU(16, 128, batch_first=True))
    module.add_module("out", torch.nn.Linear(128, 4))
    found: dict[str, tuple[Any, list[Any]]] = {
        "network, GRU": (tg.from_torch(module), list(rng.normal(size=(512, 16)).astype(np.float32)))
    }
    words = ["a", "fine", "film", "dull", "acting", ","]
    for name, ngrams in (("classifier", False), ("classifier with n-grams", True)):
        model = tg.Classifier(hidden_size=128, steps=5, bidirectional=False, ngrams=ngrams)
        found[name] = model.fit(TEXTS, progress=False), words
    language = tg.LanguageModel(hidden_size=128, steps=5, batch_size=4, window=16)
    found["language model"] = language.fit(["tick tock, tick tock. " * 60], progress=False), list("tick tock")
    y = 10 + 3 * np.sin(np.arange(800) * 2 * np.pi / 24) + rng.normal(0, 0.3, 800)
    for scaling in ("running", "window"):
        forecaster = tg.Forecaster(horizon=24, season=24, hidden_size=128, scaling=scaling, steps=5)
        found[f"forecaster, {scaling}"] = forecaster.fit([y.tolist()], progress=False), y.tolist()
    return found


def compared(model: Any, samples: list[Any]) -> dict[str, float]:
    """Milliseconds a round."""
    first = model.stream()
    alone, together = ([first.copy() for _ in range(STREAMS)] for _ in range(2))
    taken: dict[str, list[float]] = {"each_ms": [], "together_ms": []}
    for turn in range(ROUNDS):
        given = [samples[(turn + k) % len(samples)] for k in range(STREAMS)]
        began = time.perf_counter()
        for stream, sample in zip(alone, given, strict=True):
            stream.push(sample)
        between = time.perf_counter()
        model.step_many(together, given)
        taken["each_ms"].append((between - began) * 1e3)
        taken["together_ms"].append((time.perf_counter() - between) * 1e3)
    return {name: float(np.median(own[3:])) for name, own in taken.items()}  # the first rounds lay out


def main() -> None:
    native.set_num_threads(1)
    result = {name: compared(model, samples) for name, (model, samples) in models().items()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "many.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
