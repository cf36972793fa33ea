"""A tagger's card as text. In: a card. Out: the held-back figures, the net beside what needs none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from tidegate.config import Plain
from tidegate.tasks.scoreboard import Scoreboard
from tidegate.tasks.tag_scores import LARGER, PLAIN, SPANS


def held_back_text(card: Mapping[str, Plain]) -> str:
    """The table of the held-back sentences, and a warning where something without a net is as good."""
    held = cast("dict[str, Plain]", card["held_back"])
    table = cast("dict[str, dict[str, float]]", held["table"])
    order = [name for name in (*SPANS, *PLAIN, "label-accuracy") if name in table["net"]]
    methods = sorted(table, key=lambda name: name != "net")  # a file's JSON has its keys sorted
    board = Scoreboard({name: {m: table[name][m] for m in dict.fromkeys(order)} for name in methods}, larger=LARGER)
    said = f"{held['texts']} held-back sentences (not trained on, but they chose the stopping point and the temperature):"
    first = order[0]
    best = max((name for name in table if name != "net"), key=lambda name: table[name][first])
    warning = "" if table["net"][first] > table[best][first] else f"\nThe net does not beat {best}: train longer, or on more."
    return f"{said}\n{board.text()}\n* = best{warning}"
