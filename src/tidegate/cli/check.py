"""`tidegate check FILE`: look at a data file before training and say what will be done."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

from tidegate.cli.common import add_columns, columns_of, text_or_whole, wrapped
from tidegate.data.check import Finding, check_table
from tidegate.data.layout import Duplicates
from tidegate.data.table import read_table
from tidegate.errors import ConfigError

EXAMPLE = """example:
  tidegate check weather.csv --target temp_max --time date --horizon 14

The flags above are for series; `tidegate check classify --help` tells those for labelled texts."""
LEVELS = ("error", "warning", "note")
INDENT = " " * 9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `check`."""
    parser.add_argument("file", help="CSV, CSV.gz, TSV or Parquet")
    parser.add_argument("--horizon", type=int, metavar="N", help="steps that are going to be forecast")
    parser.add_argument("--lookback", type=int, metavar="N", help="steps of history that the net is going to read")
    parser.add_argument(
        "--freq",
        type=text_or_whole,
        metavar="TEXT",
        help="the time step where the file does not show it: h, 15min, D, MS, 1, ...",
    )
    parser.add_argument(
        "--duplicates", choices=get_args(Duplicates), default="error", help="what becomes of rows of one series at one time"
    )
    parser.add_argument("--uneven", action="store_true", help="rows keep their own times")
    add_columns(parser)


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 where training would be refused."""
    for flag, value in (("--horizon", args.horizon), ("--lookback", args.lookback)):
        if value is not None and value < 1:
            raise ConfigError(f"{flag}: expected at least 1, got {value}")
    findings = check_table(
        read_table(args.file),
        horizon=args.horizon,
        lookback=args.lookback,
        freq=args.freq,
        uneven=args.uneven,
        duplicates=args.duplicates,
        **columns_of(args),
    )
    return report(findings, args.file)


def report(findings: Sequence[Finding], file: str) -> int:
    """Print them; 1 where training would be refused."""
    for finding in findings:
        print(told(finding, file))
    print(summary(findings, file))
    return 1 if any(f.level == "error" for f in findings) else 0


def told(finding: Finding, file: str) -> str:
    """A finding as two paragraphs: what and where, then what will be done."""
    where = "" if finding.where in ("", file) else f" ({finding.where})"
    what = wrapped(finding.what + where, INDENT)
    return f"{finding.level:{len(INDENT)}}{what[len(INDENT) :]}\n{wrapped('-> ' + finding.action, INDENT, '   ')}"


def summary(findings: Sequence[Finding], file: str) -> str:
    """How many of each level, and what that means for `fit`."""
    counts = {level: sum(f.count for f in findings if f.level == level) for level in LEVELS}
    said = ", ".join(f"{n:,} {level}{'' if n == 1 else 's'}" for level, n in counts.items())
    return f"{file}: {said}. " + (
        "`tidegate fit` would stop here." if counts["error"] else "`tidegate fit` takes the file as it is."
    )
