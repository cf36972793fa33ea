"""`tidegate check tag FILE`: look at tagged sentences before training and say what will be done."""

from __future__ import annotations

import argparse

from tidegate.cli.check import report
from tidegate.cli.texts import add_tag_columns
from tidegate.data.tag_check import check_tagged

EXAMPLE = """example:
  tidegate check tag wikigold.conll.txt
  tidegate check tag en_ewt-ud-train.conllu.gz --column xpos --valid en_ewt-ud-dev.conllu.gz"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `check tag`."""
    parser.usage = "tidegate check tag FILE [--column COLUMN] [--labels FILE] [--valid FILE] [--valid-labels FILE]"
    parser.add_argument("task", choices=["tag"], help="what the file is for: tag")
    parser.add_argument("file", help="as for `tidegate fit tag`")
    add_tag_columns(parser, sentences=False)
    parser.add_argument("--valid", metavar="FILE", help="the sentences that are going to choose the best weights")
    parser.add_argument("--valid-labels", metavar="FILE", help="the tags of --valid, line by line")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 where training would be refused."""
    found = check_tagged(args.file, args.valid, column=args.column, labels=args.labels, valid_labels=args.valid_labels)
    return report(found, args.file)
