"""`tidegate evaluate MODEL FILE`: score a trained model on the last horizon of a data file."""

from __future__ import annotations

import argparse

from tidegate.cli.common import add_levels, forecaster, named_tables

EXAMPLE = """example:
  tidegate evaluate weather.safetensors newer.csv
  tidegate evaluate weather.safetensors newer.csv --against prophet=prophet.csv --output figures/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    parser.add_argument("model", help="a file written by `tidegate fit`")
    parser.add_argument("file", help="data with the columns of the training file")
    parser.add_argument("--against", action="append", default=[], metavar="NAME=FILE", help="another tool's forecasts, put in the same table")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="write every forecast, the figures per series and the table")
    add_levels(parser)


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    found = forecaster(args.model).evaluate(args.file, against=named_tables(args.against), levels=args.levels)
    print(found)
    if args.output:
        found.write(args.output)
    return 0
