"""The tagger's tables of the text benchmark. In: results by row. Out: lines of Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

Results = Callable[[str], list[dict[str, Any]]]
# Row: what is measured, key, must, aim, others.
ASKED = {
    "ewt": ("UPOS accuracy, 25,094 gold tokens", "accuracy", 95.2, 95.9, "UDPipe 1 94.4-94.5; a BiLSTM sketch 95.4"),
    "snips": ("slot F1, 700 requests", "F1", 93.7, 95.3, "a sketch with a chain 93.9"),
    "snips, intent": ("intent accuracy, same net", "label-accuracy", 97.9, 98.7, "the same sketch 98.7"),
    "wikigold": ("span F1, mean of 5 folds by document", "F1", 58.0, 66.0, "a sketch 60.6 on one split"),
}
BASE = {
    "ewt": lambda r: f"most frequent tag {100 * r['most_frequent_tag']:.1f}",
    "snips": lambda r: "",
    "snips, intent": lambda r: "logistic regression: see snips_intent above",
    "wikigold": lambda r: f"a chain on hand-made features {100 * r['crf_on_hand_features']['F1']:.1f}",
}


def lines(results: Results) -> list[str]:
    """The table, what a look-ahead costs, and the speed."""
    rows = [_line(name, found) for name in ASKED if (found := results(name.split(",")[0]))]
    if not rows:
        return []
    head = ["data", "measure", "must / aim", "test", "dev", "without a net", "fit, CPU", "weights", "others"]
    said = ["## Tags", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head), *rows, ""]
    return [*said, *_before(results("wikigold")), *_looks(results)]


def _before(found: list[dict[str, Any]]) -> list[str]:
    """What the row had with one net: its test part was asked a second time for three of them."""
    if not found or "one_net_before" not in found[0]:
        return []
    one = found[0]["one_net_before"]
    test, dev = 100 * one["test"]["F1"], 100 * one["dev"]["F1"]
    return [
        f"wikigold stands for three nets; one had {test:.2f} on test (dev {dev:.2f}), so that its test part was asked twice.",
        "",
    ]


def _line(name: str, found: list[dict[str, Any]]) -> str:
    what, key, must, aim, others = ASKED[name]
    test, dev = ([100 * r[part][key] for r in found] if key in found[0][part] else [] for part in ("test", "dev"))
    mean = statistics.mean(test)
    verdict = "aim" if mean >= aim else "must" if mean >= must else "**missed**"
    seconds = statistics.mean(r["fit_cpu_s"] for r in found)
    cells = [
        name, what, f"{must} / {aim}", f"{_spread(test)} {verdict}", _spread(dev) if dev else "", BASE[name](found[0]),
        f"{seconds:.0f} s", f"{found[0]['weights'] / 1e6:.1f} M", others,
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _looks(results: Results) -> list[str]:
    """What a stream that waits for so many words has, on dev."""
    kept = [(name, found[0]["looks"]) for name in ("ewt", "snips") if (found := results(name)) and "looks" in found[0]]
    if not kept:
        return []
    heads = list(kept[0][1])
    rows = ["| " + " | ".join([name, *(f"{100 * looks[h]:.1f}" for h in heads)]) + " |" for name, looks in kept]
    said = "A stream answers before the sentence ends; accuracy (ewt) and F1 (snips) on dev, seed 0, by the words it waits for:"
    return [said, "", "| data | " + " | ".join(heads) + " |", "|" + "---|" * (len(heads) + 1), *rows, ""]


def _spread(values: list[float]) -> str:
    mean = statistics.mean(values)
    return f"{mean:.2f}" if len(values) == 1 else f"{mean:.2f} ({min(values):.2f}-{max(values):.2f})"
