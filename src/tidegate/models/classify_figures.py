"""A classifier's card as text. In: a card. Out: the held-back figures, the net beside what needs none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from tidegate.config import Plain
from tidegate.tasks.label_scores import LARGER
from tidegate.tasks.scoreboard import Scoreboard

ALONE = "net, without n-grams"
ORDER = ("accuracy", "macro-F1", "macro-recall", "log-loss", "ECE")


def held_back_text(card: Mapping[str, Plain]) -> str:
    """The table of the held-back texts, or a line that says why there is none."""
    held = card.get("held_back")
    if not isinstance(held, dict):
        return "No text could be held back, so there are no honest figures for this model: bring more texts, or --valid."
    table = cast("dict[str, dict[str, float]]", held["table"])
    methods = sorted(table, key=lambda name: name != "net")  # a file's JSON has its keys sorted
    board = Scoreboard({name: {m: table[name][m] for m in ORDER} for name in methods}, larger=LARGER)
    chose = "the stopping point, the temperature and the share of the n-grams"
    said = f"{held['texts']} held-back texts (of weights that were not trained on them; but they chose {chose}):"
    return f"{said}\n{board.text()}\n* = best{_warning(table)}"


def _warning(table: Mapping[str, Mapping[str, float]]) -> str:
    """A sentence where something without a net is as good."""
    best = max((name for name in table if name not in ("net", ALONE)), key=lambda name: table[name]["accuracy"], default=None)
    if best is None or table["net"]["accuracy"] > table[best]["accuracy"]:
        return ""
    return f"\nThe net does not beat {best}, which needs no net: train longer, on more texts, or use that."
