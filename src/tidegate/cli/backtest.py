"""`tidegate backtest FILE ...`: rolling-origin evaluation of a forecaster on a data file."""

from __future__ import annotations

import argparse

from tidegate.cli.common import add_columns, add_levels, add_options, columns_of, named_tables, options_of
from tidegate.errors import ConfigError
from tidegate.models import Forecaster
from tidegate.tasks.forecast import ForecastOptions

EXAMPLE = """example:
  tidegate backtest weather.csv --target temp_max --time date --horizon 14 --windows 5
  tidegate backtest load.csv --target mw --time hour --horizon 24 --refit warm --output figures/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `backtest`."""
    parser.add_argument("file", help="CSV, CSV.gz, TSV or Parquet")
    parser.add_argument("--windows", type=int, default=5, metavar="N", help="cutoffs, default 5")
    parser.add_argument("--step", type=int, metavar="N", help="rows between cutoffs, default the horizon")
    parser.add_argument("--refit", choices=["no", "warm", "yes"], default="no", help="train on at every cutoff (warm) or anew (yes); default no")
    parser.add_argument("--budget", metavar="TIME", help="time of each training, such as 90s")
    parser.add_argument("--against", action="append", default=[], metavar="NAME=FILE", help="another tool's forecasts, put in the same table")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="write every forecast, the figures per series and the table")
    add_levels(parser)
    add_columns(parser, target_required=True)
    add_options(parser, ForecastOptions, required=("horizon",))


def run(args: argparse.Namespace) -> int:
    """Train, roll, score and print."""
    if args.windows < 1:
        raise ConfigError(f"--windows: expected at least 1, got {args.windows}")
    model = Forecaster(**options_of(args, ForecastOptions))  # type: ignore[arg-type]  # the flags are the options
    found = model.backtest(
        args.file, windows=args.windows, step=args.step, refit={"no": False, "warm": "warm", "yes": True}[args.refit],
        against=named_tables(args.against), levels=args.levels, budget=args.budget, **columns_of(args),
    )  # type: ignore[arg-type]  # the column flags are backtest's keywords  # fmt: skip
    print(found)
    if args.output:
        found.write(args.output)
    return 0
