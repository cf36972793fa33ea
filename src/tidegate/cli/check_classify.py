"""`tidegate check classify FILE`: look at labelled texts before training and say what will be done."""

from __future__ import annotations

import argparse

from tidegate.cli.check import report
from tidegate.cli.texts import add_text_columns, text_columns_of
from tidegate.data.text_check import check_labelled

EXAMPLE = """example:
  tidegate check classify reviews.csv --text review --label stars
  tidegate check classify train.tsv --no-header --text 1 --label 2 --valid dev.tsv"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `check classify`."""
    parser.usage = "tidegate check classify FILE [--text COLUMN] [--label COLUMN] [--valid FILE]"
    parser.add_argument("task", choices=["classify"], help="what the file is for: classify")
    parser.add_argument("file", help="as for `tidegate fit classify`")
    parser.add_argument("--valid-labels", metavar="FILE", help="a second file: line n is the label of line n of --valid")
    parser.add_argument("--valid", metavar="FILE", help="the texts that are going to choose the best weights")
    add_text_columns(parser)


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 where training would be refused."""
    return report(check_labelled(args.file, args.valid, args.valid_labels, **text_columns_of(args)), args.file)
