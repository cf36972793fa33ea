"""A translator's card as text. In: a card. Out: the held-back figures, the net beside what needs none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from tidegate.config import Plain
from tidegate.tasks.scoreboard import Scoreboard
from tidegate.tasks.text_scores import LARGER, USUAL, verdict


def held_back_text(card: Mapping[str, Plain]) -> str:
    """The table of the held-back pairs, and a sentence where the net loses."""
    held = cast("dict[str, Plain]", card["held_back"])
    table = cast("dict[str, dict[str, float]]", held["table"])
    methods = sorted(table, key=lambda name: name != "net")  # a file's JSON has its keys sorted
    board = Scoreboard({name: {m: table[name][m] for m in USUAL} for name in methods}, larger=LARGER)
    said = f"{held['texts']} held-back pairs (not trained on, but they chose the stopping point), answered greedily:"
    return "\n".join([said, board.text(), "* = best", *verdict(board)])
