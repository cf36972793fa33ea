"""`tidegate evaluate MODEL FILE`: score a trained model on the last horizon of a data file."""

from __future__ import annotations

import argparse

from tidegate.cli.common import add_against, add_levels, folder, forecaster, named_tables, say_wrote, wrapped

EXAMPLE = """example:
  tidegate evaluate weather.safetensors newer.csv
  tidegate evaluate weather.safetensors newer.csv --against prophet=prophet.csv --output figures/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    parser.add_argument("model", help="a file written by `tidegate fit`")
    parser.add_argument("file", help="data with the columns of the training file")
    add_against(parser)
    add_levels(parser)


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    if args.output:
        folder(args.output)
    found = forecaster(args.model).evaluate(args.file, against=named_tables(args.against), levels=args.levels)
    print(wrapped(str(found), hanging="  "))
    if args.output:
        found.write(args.output)
        say_wrote(args.output)
    return 0
