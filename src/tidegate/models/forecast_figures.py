"""A card's held-back figures as text. In: a card. Out: a small aligned table, the network beside the naive methods."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import cast

from tidegate.config import Plain
from tidegate.tasks.evaluation import MEASURE_ORDER


def figures_text(card: Mapping[str, Plain]) -> str:
    """The table of the held-back windows, or a line that says why there is none."""
    held = card.get("held_back")
    if not isinstance(held, dict):
        return "No rows could be held back, so there are no honest figures for this model: bring more history."
    rows = cast("list[dict[str, Plain]]", held["table"])
    names = sorted(rows[0], key=_place)  # a file's JSON has its keys sorted
    cells = [names, *([_shown(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = [
        "  ".join(text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=True)))
        for line in cells
    ]
    windows, series = held["windows"], held["series"]
    head = (
        f"held-back rows, {windows} window{'s' * (windows != 1)} of {series} series (not trained on before these figures, but "
        "they chose the stopping point and the intervals' factors; `tidegate backtest` is the untouched test):"
    )
    return "\n".join([*textwrap.wrap(head, 110), *lines])


def _place(name: str) -> tuple[int, str]:
    """`method` first, then the measures in the order of an evaluation, intervals by their level."""
    if name == "method":
        return -1, name
    measure = name.split("-")[0]
    return (MEASURE_ORDER.index(measure) if measure in MEASURE_ORDER else len(MEASURE_ORDER)), name


def _shown(value: Plain) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
