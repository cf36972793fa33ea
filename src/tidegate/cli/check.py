"""`tidegate check FILE`: look at a data file before training and say what will be done."""

from __future__ import annotations

import argparse

from tidegate.cli.common import add_columns, columns_of
from tidegate.data.check import check_table
from tidegate.data.table import read_table

EXAMPLE = """example:
  tidegate check weather.csv --target temp_max --time date --horizon 14"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `check`."""
    parser.add_argument("file", help="CSV, CSV.gz, TSV or Parquet")
    parser.add_argument("--horizon", type=int, metavar="N", help="steps that are going to be forecast")
    parser.add_argument("--lookback", type=int, metavar="N", help="steps of history that the net is going to read")
    add_columns(parser, target_required=True)


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 where training would be refused."""
    findings = check_table(read_table(args.file), horizon=args.horizon, lookback=args.lookback, **columns_of(args))  # type: ignore[arg-type]  # column flags
    for finding in findings:
        print(f"{finding.level:8}{finding.where}: {finding.what}\n        -> {finding.action}")
    if not findings:
        print("nothing to report: the data can be used as it is")
    return 1 if any(f.level == "error" for f in findings) else 0
