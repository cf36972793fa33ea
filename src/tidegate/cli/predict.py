"""`tidegate predict MODEL`: forecast with a trained model, where torch need not be installed."""

from __future__ import annotations

import argparse

from tidegate.cli.common import add_levels, emit, forecaster
from tidegate.data.table import read_table

EXAMPLE = """example:
  tidegate predict weather.safetensors                       # the steps after the training data, as CSV on standard output
  tidegate predict weather.safetensors --data new.csv --levels 50,90 -o forecast.csv"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `predict`."""
    parser.add_argument("model", help="a file written by `tidegate fit`")
    parser.add_argument("--data", metavar="FILE", help="history to forecast from; without it, the training series")
    parser.add_argument("--future", metavar="FILE", help="known covariates of the horizon: columns id, time, covariates")
    parser.add_argument("-o", "--output", metavar="FILE", help="a CSV file; without it, standard output")
    add_levels(parser)


def run(args: argparse.Namespace) -> int:
    """Forecast and write the table."""
    answer = forecaster(args.model).predict(args.data, args.future, args.levels)
    emit(read_table(answer), args.output)
    return 0
