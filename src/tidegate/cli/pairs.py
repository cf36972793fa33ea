"""What the commands on pairs of texts share: flags for where the pairs stand and how answers are searched. Out: keywords."""

from __future__ import annotations

import argparse
from typing import TypedDict

PAIR_FLAGS = ("target", "from_column", "to_column")
SEARCH_FLAGS = ("beam", "length_penalty", "no_repeat_ngram", "max_length")


class PairColumns(TypedDict):
    """Where sources and targets stand."""

    target: str | None
    from_column: str | None
    to_column: str | None
    header: bool


class Search(TypedDict):
    """How answers are searched for."""

    beam: int
    length_penalty: float
    no_repeat_ngram: int
    max_length: int | None


def add_pair_columns(parser: argparse.ArgumentParser, *, header: bool = True) -> None:
    """--target, --from-column, --to-column, --no-header."""
    group = parser.add_argument_group("where the pairs stand")
    group.add_argument("--target", metavar="FILE", help="a second file: its line n is the target of line n of the first")
    group.add_argument("--from-column", metavar="COLUMN", help="column of the sources; without it, the first of two")
    group.add_argument("--to-column", metavar="COLUMN", help="column of the targets; without it, the second of two")
    if header:
        group.add_argument("--no-header", action="store_true", help="the columns have no names; they are called 1, 2, ...")


def pair_columns_of(args: argparse.Namespace) -> PairColumns:
    """The flags as keywords of `read_pairs`."""
    return PairColumns(target=args.target, from_column=args.from_column, to_column=args.to_column, header=not args.no_header)


def add_search(parser: argparse.ArgumentParser) -> None:
    """--beam, --length-penalty, --no-repeat-ngram, --max-length."""
    group = parser.add_argument_group("how a translator searches")
    group.add_argument("--beam", type=int, default=1, metavar="N", help="hypotheses kept at each step; 1, the default, is greedy")
    group.add_argument(
        "--length-penalty", type=float, default=0.0, metavar="X", help="0, the default, prefers short answers; 1 hardly does"
    )
    group.add_argument("--no-repeat-ngram", type=int, default=0, metavar="N", help="no run of N tokens twice; default 0: it may")
    group.add_argument("--max-length", type=int, metavar="N", help="tokens of an answer at most")


def search_of(args: argparse.Namespace) -> Search:
    """The flags as keywords of `Translator.translate`."""
    return Search(
        beam=args.beam, length_penalty=args.length_penalty, no_repeat_ngram=args.no_repeat_ngram, max_length=args.max_length
    )
