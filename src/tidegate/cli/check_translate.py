"""`tidegate check translate FILE`: look at pairs of texts before training and say what will be done."""

from __future__ import annotations

import argparse

from tidegate.cli.check import report
from tidegate.cli.pairs import add_pair_columns, pair_columns_of
from tidegate.data.pair_check import check_pairs

EXAMPLE = """example:
  tidegate check translate train.de --target train.en --valid val.de --valid-target val.en
  tidegate check translate words.tsv --no-header"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `check translate`."""
    parser.usage = "tidegate check translate FILE [--target FILE] [--valid FILE [--valid-target FILE]]"
    parser.add_argument("task", choices=["translate"], help="what the file is for: translate")
    parser.add_argument("file", help="as for `tidegate fit translate`")
    parser.add_argument("--valid", metavar="FILE", help="the pairs that are going to choose the best weights")
    parser.add_argument("--valid-target", metavar="FILE", help="their targets, where --valid has the sources alone")
    add_pair_columns(parser)


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 where training would be refused."""
    return report(check_pairs(args.file, valid=args.valid, valid_target=args.valid_target, **pair_columns_of(args)), args.file)
