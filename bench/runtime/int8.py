"""What 8 bits cost: the measure of small nets in float32 and int8, and the size of their files -> results/int8.json, INT8.md.

    python bench/runtime/int8.py [ROW ...]          # trains, which needs torch: eight minutes on one core

Every row: train, hold back a dev part that `quantize` scores both on, then score both on a test part that nothing has looked at.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tidegate as tg
from tidegate.data.texts import read_texts

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[2] / "shared" / "data"
RESULTS = HERE / "results" / "int8.json"


class Row(NamedTuple):
    """A trained model, what it is quantized on, and what both are scored on at the end."""

    model: Any
    dev: Callable[[Any], Any]  # a model in 8 bits from one in float32
    test: Callable[[Any], float]  # by the measure of the card


def thirds(count: int) -> list[np.ndarray]:
    """Places of 80 % for training, 10 % dev, 10 % test, drawn with seed 0."""
    order = np.random.default_rng(0).permutation(count)
    return np.split(order, [count * 8 // 10, count * 9 // 10])


def surnames() -> Row:
    """Language of a surname, letter by letter: accuracy."""
    found = read_texts(DATA / "surnames")
    rows = sorted(set(zip(found.texts, found.labels or (), strict=True)))
    train, dev, test = (([rows[k][0] for k in part], [rows[k][1] for k in part]) for part in thirds(len(rows)))
    options = {"units": "char", "lower": False, "bidirectional": False, "ngrams": False, "cell": "gru", "pooling": "last"}
    model = tg.Classifier(hidden_size=64, embedding_dim=32, steps=1200, **options).fit(train, progress=False)
    return Row(model, lambda m: m.quantize("int8", dev, force=True), lambda m: m.evaluate(test).board.figures["net"]["accuracy"])


def shakespeare() -> Row:
    """Nats a letter, state carried."""
    text = (DATA / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    cuts = [len(text) * k // 20 for k in (18, 19)]
    model = tg.LanguageModel(hidden_size=128, num_layers=2, steps=700, batch_size=32, window=64)
    model.fit([text[: cuts[0]]], progress=False)
    dev, test = [text[cuts[0] : cuts[1]]], [text[cuts[1] :]]
    return Row(model, lambda m: m.quantize("int8", dev, force=True), lambda m: m.evaluate(test).nats_per_token)


def wikigold() -> Row:
    """Names in sentences: F1."""
    blocks = (DATA / "wikigold_ner" / "wikigold.conll.txt").read_text(encoding="utf-8").strip().split("\n\n")
    sentences = [tuple(zip(*(line.split()[:2] for line in block.splitlines()), strict=True)) for block in blocks]
    own = [(list(words), list(tags)) for words, tags in sentences]
    train, dev, test = ([own[k] for k in part] for part in thirds(len(own)))
    model = tg.Tagger(hidden_size=64, embedding_dim=48, steps=1000).fit(train, progress=False)
    return Row(model, lambda m: m.quantize("int8", dev, force=True), lambda m: m.evaluate(test).board.figures["net"]["F1"])


def phones() -> Row:
    """How words are spoken, letters to sounds, with attention: the share of wrong sounds."""
    lines = gzip.decompress((DATA / "cmudict" / "cmudict.dict.gz").read_bytes()).decode().splitlines()
    pairs = [line.split("#")[0].split(None, 1) for line in lines[::8]]
    pairs = [(word, " ".join(said.split())) for word, said in pairs if word.isalpha()]
    train, dev, test = (([pairs[k][0] for k in part], [pairs[k][1] for k in part]) for part in thirds(len(pairs)))
    model = tg.Translator(units="char", target_units="word", hidden_size=96, embedding_dim=48, steps=2500).fit(
        train, progress=False
    )
    measure = {"measures": ("token-error",)}
    return Row(
        model,
        lambda m: m.quantize("int8", dev, force=True, **measure),
        lambda m: m.evaluate(test, **measure).board.figures["net"]["token-error"],
    )


def ett(scaling: str) -> Row:
    """Hourly oil temperature, 24 hours ahead: MSE over cutoffs of the last months."""
    table = np.genfromtxt(DATA / "ett" / "ETTh1.csv", delimiter=",", skip_header=1, usecols=7)
    train, dev = [table[:12000].tolist()], [table[:14400].tolist()]
    model = tg.Forecaster(horizon=24, season=24, hidden_size=64, scaling=scaling, steps=400).fit(train, progress=False)
    later = [table[end - 2000 : end].tolist() for end in range(14400 + 24, len(table), 24)]  # one forecast a day
    return Row(
        model,
        lambda m: m.quantize("int8", dev, windows=100, step=24, force=True),
        lambda m: m.evaluate(later).board.figures["tidegate"]["MSE"],
    )


ROWS: dict[str, Callable[[], Row]] = {
    "surnames, GRU 64": surnames,
    "tinyshakespeare, 2 x LSTM 128": shakespeare,
    "wikigold, LSTM 64 both ways + chain": wikigold,
    "cmudict, LSTM 96 with attention": phones,
    "ETTh1, LSTM 64, window": lambda: ett("window"),
    "ETTh1, LSTM 64, running": lambda: ett("running"),
}


def measured(name: str) -> dict[str, Any]:
    """A row of the table."""
    began = time.perf_counter()
    own = ROWS[name]()
    trained = time.perf_counter()
    made = own.dev(own.model)
    quantized = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sizes = []
        for model in (own.model, made):
            model.save(Path(folder) / "m")
            sizes.append((Path(folder) / "m").stat().st_size)
    entry = made.card["int8"]
    return {
        "row": name, "measure": entry["measure"], "dev": [entry["float32"], entry["int8"]], "loss": entry["loss"],
        "kept": entry["kept"], "test": [own.test(own.model), own.test(made)], "bytes": sizes,
        "fit_s": round(trained - began, 1), "quantize_s": round(quantized - trained, 1),
    }  # fmt: skip


def report(rows: list[dict[str, Any]]) -> str:
    """The page."""
    lines = [
        "# What 8 bits cost",
        "",
        "`python bench/runtime/int8.py`: small nets trained for a minute or so, not for their best figures (that of cmudict has",
        "hardly begun to learn). Dev is what `quantize` scores both models on; test nothing has looked at before. A loss is the",
        "share of the measure that int8 loses on dev, below 0 where it gains. Raw: [results/int8.json](results/int8.json).",
        "",
        "| net | measure | dev float32 | dev int8 | loss | test float32 | test int8 | file float32 | file int8 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        scores = [f"{value:.4f}" for value in row["dev"]], [f"{value:.4f}" for value in row["test"]]
        loss = f"{100 * row['loss']:.2f} %"
        sizes = [f"{size / 1024:,.0f} KiB" for size in row["bytes"]]
        lines.append(f"| {' | '.join([row['row'], row['measure'], *scores[0], loss, *scores[1], *sizes])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the rows that are named, or all; keep what the file has of the others."""
    old = {row["row"]: row for row in json.loads(RESULTS.read_text(encoding="utf-8"))} if RESULTS.exists() else {}
    for name in sys.argv[1:] or ROWS:
        old[name] = measured(name)
        print(json.dumps(old[name]), flush=True)
        rows = [old[known] for known in ROWS if known in old]
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        (HERE / "INT8.md").write_text(report(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
