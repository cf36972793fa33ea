"""A language model's card as text. In: a card. Out: the held-back figures, the net beside the n-grams."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

from tidegate.config import Plain
from tidegate.tasks.scoreboard import Scoreboard


def held_back_text(card: Mapping[str, Plain]) -> str:
    """The table of the held-back text, and a sentence where the net loses."""
    held = cast("dict[str, Plain]", card["held_back"])
    table = cast("dict[str, float]", held["table"])
    methods = sorted(table, key=lambda name: name != "net")  # a file's JSON has its keys sorted
    board = Scoreboard({name: {"nats a token": table[name], "perplexity": math.exp(table[name])} for name in methods})
    said = f"{held['tokens']} held-back tokens (of weights that were not trained on them; but they chose the stopping point):"
    said = f"{said}\n{board.text()}\n* = best"
    other = methods[1]
    if table["net"] < table[other]:
        return said
    return f"{said}\nThe net does not beat {other}, which need no net: train longer, on more text, or use those."
