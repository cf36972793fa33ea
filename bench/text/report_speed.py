"""The speeds of the text benchmark. In: results/speed_*.json. Out: lines of Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
MUST_TRAIN = {"lstm": "1.3", "gru": "3"}


def lines() -> list[str]:
    """A row a measurement; nothing where none was taken."""
    rows = [*_tag(_read("speed_tag")), *_generate(_read("speed_generate")), *_train(_read("speed_train"))]
    if not rows:
        return []
    head = "| what | must / aim | Tidegate | beside it | ratio (range) |"
    return ["## Speed", "", "Each beside its peer, turn by turn in one run.", "", head, "|---|---|---|---|---|", *rows, ""]


def _read(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _tag(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    own, peer = found["words_per_s"], found["spacy_words_per_s"]
    spread = f"{found['slowest']:,.0f} to {found['fastest']:,.0f} words/s"
    beside = f"spaCy {found['spacy']} {peer:,.0f} words/s"
    return [f"| UPOS, one thread | 5,000 / 20,000 words/s | {own:,.0f} words/s | {beside} | {own / peer:.2f} ({spread}) |"]


def _generate(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    own, peer = (found["letters_per_s"][name] for name in ("tidegate", "torch"))
    return [
        f"| letters of a 2 x 256 LSTM, one thread | 10x / 40x | {own:,.0f} letters/s | a PyTorch loop {peer:,.0f} | "
        f"{found['ratio']:.1f} ({found['least']:.1f}-{found['most']:.1f}) |"
    ]


def _train(found: dict[str, Any] | None) -> list[str]:
    return [
        f"| training tiny Shakespeare, {one['cell']} {one['layers']} x {one['hidden_size']} | {MUST_TRAIN[one['cell']]}x | | "
        f"the same net on torch.nn | {one['ratio']:.2f} ({one['least']:.2f}-{one['most']:.2f}) |"
        for one in (found or {}).get("cells", [])
    ]
