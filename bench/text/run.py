"""One row and seed of the text benchmark -> one JSON in results/. A row that has its JSON is not run again (--again does).

    python bench/text/run.py sst2 --seed 0
    python bench/text/run.py all                 # what is missing, one after the other

Defaults of the Classifier, with the options named in ROWS; the dev part chooses the best weights, the test part is asked once.
Beside each: logistic regression on n-grams (scikit-learn), chosen on the same dev part.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pairs
import tags

import tidegate as tg
from tidegate.data.texts import read_texts
from tidegate.tasks.ngrams import WittenBell

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DATA = HERE.parents[2] / "shared" / "data"
SEEDS = (0, 1, 2)
Part = tuple[list[str], list[str]]


class Parts(NamedTuple):
    """Texts and labels; where no dev part is published, training holds a part of its own back."""

    train: Part
    dev: Part | None
    test: Part


def sst2() -> Parts:
    """Sentences alone, no phrases: 6,920 / 872 / 1,821."""
    parts = [read_texts(DATA / "sst2" / f"{part}.tsv", text="1", label="2", header=False) for part in ("train", "dev", "test")]
    return Parts(*((list(p.texts), list(p.labels or ())) for p in parts))


def trec() -> Parts:
    """6 classes. No dev part; training questions that stand in the test part are dropped."""
    train, test = (_trec(DATA / "trec_questions" / f"TREC.{part}.txt") for part in ("train", "test"))
    seen = set(test[0])
    rows = [(text, label) for text, label in zip(*train, strict=True) if text not in seen]
    return Parts(([text for text, _ in rows], [label for _, label in rows]), None, test)


def _trec(path: Path) -> Part:
    rows = [line.partition(" ") for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [text for _, _, text in rows], [label.split(":")[0] for label, _, _ in rows]


def surnames() -> Parts:
    """Distinct (name, language), stratified 80/20 with a fixed seed. No dev part."""
    found = read_texts(DATA / "surnames")
    rows = sorted(set(zip(found.texts, found.labels or (), strict=True)))
    train, test = _halves(rows, 0.2)
    return Parts(train, None, test)


def snips_intent() -> Parts:
    """The intent of a request: 7 classes, 13,084 / 700 / 700."""
    folder = DATA / "snips"
    parts = [read_texts(folder / part / "seq.in", labels=folder / part / "label") for part in ("train", "valid", "test")]
    return Parts(*((list(p.texts), list(p.labels or ())) for p in parts))


def _halves(rows: Sequence[tuple[str, str]], share: float) -> tuple[Part, Part]:
    """Rows without and with the held-back share of each class."""
    from tidegate.tasks.classify import split

    names = sorted({label for _, label in rows})
    kept, back = split(np.array([names.index(label) for _, label in rows]), share, 0)
    first, second = ([rows[k] for k in part] for part in (kept, back))
    return ([t for t, _ in first], [c for _, c in first]), ([t for t, _ in second], [c for _, c in second])


ROWS: dict[str, tuple[Any, dict[str, Any], tuple[str, tuple[int, int]]]] = {
    "sst2": (sst2, {"ensemble": 3}, ("word", (1, 2))),
    "trec": (trec, {"ensemble": 3}, ("word", (1, 2))),
    "surnames": (surnames, {"units": "char", "lower": False, "ensemble": 3}, ("char", (1, 4))),
    "snips_intent": (snips_intent, {}, ("word", (1, 2))),
}


def tinyshakespeare(seed: int) -> dict[str, Any]:
    """Nats a character of the last tenth, with carried state; trained on the rest, whose end is held back."""
    text = (DATA / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    cut = len(text) * 9 // 10
    model = tg.LanguageModel(seed=seed, **SHAKESPEARE)
    began = time.perf_counter()
    model.fit([text[:cut]])
    seconds = time.perf_counter() - began
    core = model._ready()
    codes = core.tokenizer.encode([text[:cut], text[cut:]])
    grams = WittenBell(codes[0], size=core.tokenizer.size, longest=5).nats(codes[1])
    samples = ["".join(model.generate("\n", 400, temperature=0.8, seed=k)) for k in range(10)]
    return {
        "row": "tinyshakespeare", "seed": seed, "options": SHAKESPEARE,
        "test": {"nats": model.evaluate([text[cut:]]).nats_per_token},
        "reset": {"nats": model.evaluate(text[cut:].splitlines(keepends=True), carry=False).nats_per_token},
        "dev": model.card["held_back"], "grams": float(grams.mean()), "fit_s": seconds, "steps": model.card["steps"],
        "trained_steps": model.card["members"], "weights": model.card["weights"], "samples": samples, "machine": machine(),
    }  # fmt: skip


SHAKESPEARE: dict[str, Any] = {"hidden_size": 384}
NAMES = (*ROWS, "tinyshakespeare", *tags.ROWS, *pairs.ROWS)
LONG = ("tinyshakespeare", "multi30k", "multi30k_plain", "cmudict", "scitldr")  # one seed of what takes longer than 15 minutes


def run_row(name: str, seed: int) -> dict[str, Any]:
    """Fit, choose on dev, ask the test part once."""
    if name == "tinyshakespeare":
        return tinyshakespeare(seed)
    if name in pairs.ROWS:
        return {**pairs.run_row(name, seed), "machine": machine()}
    if name in tags.ROWS:
        return {**tags.run_row(name, seed), "machine": machine()}
    load, options, grams = ROWS[name]
    parts = load()
    model = tg.Classifier(**options, seed=seed)
    began = time.perf_counter()
    model.fit(parts.train, valid=parts.dev)
    seconds = time.perf_counter() - began
    test = dict(model.evaluate(parts.test).figures)
    held_back = model.card["held_back"]["table"]  # of the weights before their closing phase
    return {
        "row": name, "seed": seed, "options": options, "test": test, "dev": held_back["net"], "held_back": held_back,
        "fit_s": seconds, "steps": model.card["steps"], "trained_steps": model.card["members"],
        "weights": model.card["weights"], "temperature": model.card["temperature"], "ngram_share": model.card["ngram_share"],
        "texts": [len(part[0]) for part in parts if part is not None], "logistic_regression": logistic(parts, *grams),
        "machine": machine(),
    }  # fmt: skip


def logistic(parts: Parts, units: str, grams: tuple[int, int]) -> dict[str, float]:
    """Logistic regression on TF-IDF of n-grams; its C chosen on dev, or on a tenth held back before it is trained on all."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    pattern = {"token_pattern": r"\S+"} if units == "word" else {}

    def fitted(train: Part, c: float) -> tuple[Any, Any]:
        table = TfidfVectorizer(analyzer=units, ngram_range=grams, sublinear_tf=True, lowercase=units == "word", **pattern)
        return table, LogisticRegression(C=c, max_iter=2000).fit(table.fit_transform(train[0]), train[1])

    train, dev = (parts.train, parts.dev) if parts.dev is not None else _halves(list(zip(*parts.train, strict=True)), 0.1)
    tried = {c: fitted(train, c) for c in (1.0, 4.0, 16.0)}
    best = max(tried, key=lambda c: float(tried[c][1].score(tried[c][0].transform(dev[0]), dev[1])))
    table, model = tried[best] if parts.dev is not None else fitted(parts.train, best)
    said = model.predict(table.transform(parts.test[0]))
    recall = balanced_accuracy_score(parts.test[1], said)
    return {"accuracy": float(np.mean(said == np.array(parts.test[1]))), "macro-recall": float(recall)}


def machine() -> dict[str, Any]:
    import torch

    said = subprocess.run(["lscpu"], capture_output=True, text=True, check=False).stdout
    cpu = next(
        (line.partition(":")[2].strip() for line in said.splitlines() if line.startswith("Model name")), platform.machine()
    )
    return {"cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=[*NAMES, "all"])
    parser.add_argument("--seed", type=int, help="one seed; without it 0, 1 and 2")
    parser.add_argument("--again", action="store_true", help="run although the result is there")
    args = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if not DATA.is_dir():
        sys.exit(f"the benchmark reads the data sets in {DATA}, which are not there")
    for name in NAMES if args.row == "all" else [args.row]:
        seeds = SEEDS[:1] if name in LONG else SEEDS
        for seed in seeds if args.seed is None else [args.seed]:
            path = RESULTS / f"{name}-{seed}.json"
            if path.is_file() and not args.again:
                continue
            found = run_row(name, seed)
            path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            test = found["test"]
            shown = next(test[key] for key in ("accuracy", "nats", "headline") if key in test)
            print(f"{name} seed {seed}: test {shown:.4f}, {found['fit_s']:.0f} s", flush=True)
    sys.path.insert(0, str(HERE))
    import report

    report.write()


if __name__ == "__main__":
    main()
