"""`tidegate backtest FILE ...`: rolling-origin evaluation of a forecaster on a data file."""

from __future__ import annotations

import argparse

from tidegate.cli.common import (
    add_against,
    add_columns,
    add_levels,
    add_options,
    columns_of,
    folder,
    forecaster_of,
    named_tables,
    say_wrote,
    wrapped,
)
from tidegate.errors import ConfigError
from tidegate.models.forecaster import Refit
from tidegate.tasks.forecast import ForecastOptions

EXAMPLE = """example:
  tidegate backtest weather.csv --target temp_max --time date --horizon 14 --windows 5
  tidegate backtest load.csv --target mw --time hour --horizon 24 --refit warm --output figures/"""
REFITS: dict[str, Refit] = {"no": False, "warm": "warm", "yes": True}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `backtest`."""
    parser.add_argument("file", help="CSV, CSV.gz, TSV or Parquet")
    parser.add_argument("--windows", type=int, default=5, metavar="N", help="cutoffs, default 5")
    parser.add_argument("--step", type=int, metavar="N", help="rows between cutoffs, default the horizon")
    refit = "train on at every cutoff (warm) or anew (yes); default no: once, before the first"
    parser.add_argument("--refit", choices=list(REFITS), default="no", help=refit)
    parser.add_argument("--budget", metavar="TIME", help="time of each training, such as 90s")
    add_against(parser)
    add_levels(parser)
    add_columns(parser)
    add_options(parser, ForecastOptions, required=("horizon",))


def run(args: argparse.Namespace) -> int:
    """Train, roll, score and print."""
    for flag, value in (("--windows", args.windows), ("--step", args.step)):
        if value is not None and value < 1:
            raise ConfigError(f"{flag}: expected at least 1, got {value}")
    against, model = named_tables(args.against), forecaster_of(args, ForecastOptions)
    if args.output:
        folder(args.output)
    found = model.backtest(
        args.file, windows=args.windows, step=args.step, refit=REFITS[args.refit], against=against, levels=args.levels,
        budget=args.budget, **columns_of(args),
    )  # fmt: skip
    print(wrapped(str(found), hanging="  "))
    if args.output:
        found.write(args.output)
        say_wrote(args.output)
    return 0
