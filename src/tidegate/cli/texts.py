"""What the commands on texts share: flags for columns. In: a parser. Out: keywords of `read_texts`."""

from __future__ import annotations

import argparse
from typing import TypedDict


class TextColumns(TypedDict):
    """Where texts and labels stand."""

    text: str | None
    label: str | None
    labels: str | None
    header: bool


def add_text_columns(parser: argparse.ArgumentParser, *, labelled: bool = True) -> None:
    """--text, --label, --labels, --no-header."""
    group = parser.add_argument_group("where the texts stand")
    group.add_argument(
        "--text", metavar="COLUMN", help="column of the texts; without it, the only column of text beside the label"
    )
    if labelled:
        group.add_argument("--label", metavar="COLUMN", help="column of the labels")
        group.add_argument("--labels", metavar="FILE", help="a second file: line n is the label of line n of the texts")
    group.add_argument("--no-header", action="store_true", help="the columns have no names; they are called 1, 2, ...")


def text_columns_of(args: argparse.Namespace) -> TextColumns:
    """The flags as keywords."""
    found = (getattr(args, name, None) for name in ("text", "label", "labels"))
    text, label, labels = found
    return TextColumns(text=text, label=label, labels=labels, header=not args.no_header)
