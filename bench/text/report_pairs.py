"""The tables of the translator's rows, for report.py. In: the JSONs' contents by row. Out: lines of Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

Results = Callable[[str], list[dict[str, Any]]]
# Row: data, what is measured, its key and factor, must, aim, published or sketched figures.
ASKED: dict[str, tuple[str, str, str, float, float | None, float | None, str]] = {
    "multi30k": (
        "multi30k de-en, test2016, lower-cased", "BLEU", "BLEU", 1.0, 35.0, 38.5,
        "a known GRU + attention recipe 28.3; a sketch 36.9",
    ),
    "multi30k_plain": ("the same without attention", "BLEU", "BLEU", 1.0, None, None, "has to stand below the row above"),
    "cmudict": ("cmudict, 5 % of the words, no stress", "words right, %", "exact", 100.0, 69.5, 74.0, "a sketch 66.9"),
    "scitldr": ("scitldr, abstract to one sentence", "ROUGE-L", "ROUGE-L", 1.0, None, None, "has to beat lead-1"),
    "reversed": ("reversed strings, 2,500", "exact answers, %", "exact", 100.0, 99.0, 100.0, ""),
}  # fmt: skip


def lines(results: Results) -> list[str]:
    """Every row that was run: a table, then each row's other measures and its answers."""
    found = {row: own for row in ASKED if (own := results(row))}
    if not found:
        return []
    head = ["data", "measure", "must / aim", "beam 5", "greedy", "dev, beam 5", "best without a net", "fit", "weights", "others"]
    table = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *(_line(row, own) for row, own in found.items())]
    return [*table, "", *(line for row, own in found.items() for line in _more(row, own))]


def _line(row: str, found: list[dict[str, Any]]) -> str:
    data, measure, key, factor, must, aim, others = ASKED[row]
    beam, greedy = ([factor * r["test"][how][key] for r in found] for how in ("beam", "greedy"))
    dev = [factor * r["dev"]["beam"][key] for r in found]
    name, base = max(found[0]["baselines"].items(), key=lambda pair: pair[1][key])
    verdict = "" if must is None or aim is None else _verdict(statistics.mean(beam), must, aim)
    cells = [
        data, measure, "" if must is None else f"{must} / {aim}", f"{_spread(beam)}{verdict}", _spread(greedy), _spread(dev),
        f"{factor * base[key]:.1f} ({name})", f"{statistics.mean(r['fit_s'] for r in found):.0f} s",
        f"{found[0]['weights'] / 1e6:.1f} M", others,
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _verdict(mean: float, must: float, aim: float) -> str:
    return " aim" if mean >= aim else " must" if mean >= must else " **missed**"


def _spread(values: list[float]) -> str:
    mean = statistics.mean(values)
    return f"{mean:.1f}" if len(values) == 1 else f"{mean:.1f} ({min(values):.1f}-{max(values):.1f})"


def _more(row: str, found: list[dict[str, Any]]) -> list[str]:
    """The options, every measure of the first seed beside the baselines, and ten answers as they came."""
    first = found[0]
    options = ", ".join(f"{name}={value!r}" for name, value in first["options"].items())
    measures = list(first["test"]["beam"])
    methods = {"beam 5": first["test"]["beam"], "greedy": first["test"]["greedy"], **first["baselines"]}
    said = [
        f"{row}: Translator({options}), length penalty {first['length_penalty']} (chosen on dev), "
        f"{first['beam_texts_a_second']:.0f} texts a second with a beam of 5."
    ]
    if first["anti_diagonal"] is not None:
        said.append(f"Share of attention on the anti-diagonal: {100 * first['anti_diagonal']:.1f} %.")
    table = ["| seed " + str(first["seed"]) + " | " + " | ".join(measures) + " |", "|" + "---|" * (len(measures) + 1)]
    table += [f"| {name} | " + " | ".join(f"{own[m]:.4g}" for m in measures) + " |" for name, own in methods.items()]
    shown = [f"source  {a}\ntruth   {b}\nanswer  {c}" for a, b, c in first["samples"]]
    return [" ".join(said), "", *table, "", "```text", "\n\n".join(shown), "```", ""]
