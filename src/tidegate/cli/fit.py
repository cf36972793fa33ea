"""`tidegate fit forecast FILE ...`: train a forecaster on a data file and write it as one file. Other tasks: fit_classify.py."""

from __future__ import annotations

import argparse
import time

from tidegate.cli.common import add_columns, add_options, bullets, columns_of, forecaster_of, wrapped
from tidegate.cli.training import LAST_WORDS, add_device, add_training, again, check_training, ending, finish
from tidegate.models.forecast_answers import notes
from tidegate.models.forecast_figures import figures_text
from tidegate.tasks.forecast import ForecastOptions

EXAMPLE = f"""example:
  tidegate fit forecast weather.csv --target temp_max --time date --horizon 14 -o weather.safetensors
  tidegate fit forecast load.csv.gz --target mw --time hour --id site --horizon 24 --season 24 --budget 10m -o load.safetensors

The flags above are the forecaster's; `tidegate fit classify --help` tells those of the classifier of texts.

{LAST_WORDS}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `fit`."""
    parser.usage = "tidegate fit forecast FILE --target COLUMN --horizon N -o MODEL [--time COLUMN] [--id COLUMN] [options]"
    parser.add_argument("task", choices=["forecast"], help="what to train: forecast")
    parser.add_argument("file", help="CSV, CSV.gz, TSV or Parquet, one row a series and time")
    add_training(parser)
    add_columns(parser)
    add_device(parser)
    add_options(parser, ForecastOptions, required=("horizon",))


def run(args: argparse.Namespace) -> int:
    """Train, save, and say how good it is."""
    check_training(args)
    model = forecaster_of(args, ForecastOptions)
    began = time.perf_counter()
    checkpoint = None if args.no_checkpoint else args.output
    model.fit(
        args.file, **columns_of(args), flash=args.flash, ram=args.ram, budget=args.budget, checkpoint=checkpoint,
        resume=args.resume, history=args.history,
    )  # fmt: skip
    model.save(args.output)
    print(wrapped(repr(model), hanging="  "))
    print(figures_text(model.card))
    print(bullets(notes(model.card)))
    print(ending(model.card, args, time.perf_counter() - began))
    columns = {f"--{name}": getattr(args, name) for name in ("target", "time", "id", "past", "future", "static", "flash", "ram")}
    print(f"the same again:\n  {again(args, ForecastOptions, columns, model.card)}")
    return finish(args, model.card)
