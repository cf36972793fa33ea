"""What the commands on texts share: flags for columns. In: a parser. Out: keywords of `read_texts`."""

from __future__ import annotations

import argparse
from typing import TypedDict

from tidegate.cli.common import text_or_whole


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


class TagColumns(TypedDict):
    """Where tags stand."""

    column: str | int | None
    labels: str | None
    sentence_labels: str | None


def add_tag_columns(parser: argparse.ArgumentParser, *, sentences: bool = True) -> None:
    """--column, --labels, --sentence-labels."""
    group = parser.add_argument_group("where the tags stand")
    group.add_argument(
        "--column", type=text_or_whole, metavar="COLUMN",
        help="of CoNLL-U upos (default), xpos, lemma or feats; of CoNLL columns its number from 1; of JSON lines its key",
    )  # fmt: skip
    group.add_argument("--labels", metavar="FILE", help="a second file: line n has the tags of line n, between blanks")
    if sentences:
        group.add_argument("--sentence-labels", metavar="FILE", help="a file with a label of each whole sentence, line by line")


def tag_columns_of(args: argparse.Namespace) -> TagColumns:
    """The flags as keywords."""
    return TagColumns(column=args.column, labels=args.labels, sentence_labels=args.sentence_labels)


def text_columns_of(args: argparse.Namespace) -> TextColumns:
    """The flags as keywords."""
    found = (getattr(args, name, None) for name in ("text", "label", "labels"))
    text, label, labels = found
    return TextColumns(text=text, label=label, labels=labels, header=not args.no_header)
