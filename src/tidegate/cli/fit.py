"""`tidegate fit TASK FILE ...`: train a model on a data file and write it as one file."""

from __future__ import annotations

import argparse
import time

from tidegate.cli.common import add_columns, add_options, columns_of, options_of
from tidegate.files import check_writable
from tidegate.models import Forecaster
from tidegate.models.forecast_answers import notes
from tidegate.models.forecast_figures import figures_text
from tidegate.tasks.forecast import ForecastOptions

EXAMPLE = """example:
  tidegate fit forecast weather.csv --target temp_max --time date --horizon 14 -o weather.safetensors
  tidegate fit forecast load.csv.gz --target mw --time hour --id site --horizon 24 --season 24 --budget 10m -o load.safetensors"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `fit`."""
    parser.add_argument("task", choices=["forecast"], help="what to train")
    parser.add_argument("file", help="CSV, CSV.gz, TSV or Parquet, one row a series and time")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where the model goes")
    parser.add_argument("--budget", metavar="TIME", help="training time, such as 90s or 10m; fixes the number of steps once")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint beside the output file")
    parser.add_argument("--no-checkpoint", action="store_true", help="write no checkpoints")
    parser.add_argument("--history", metavar="FILE", help="write training records as JSON lines")
    add_columns(parser, target_required=True)
    add_options(parser, ForecastOptions, required=("horizon",))


def run(args: argparse.Namespace) -> int:
    """Train, save, and say how good it is."""
    check_writable(args.output)
    model = Forecaster(**options_of(args, ForecastOptions))  # type: ignore[arg-type]  # the flags are the options
    began = time.perf_counter()
    checkpoint = None if args.no_checkpoint else args.output
    model.fit(
        args.file, **columns_of(args), budget=args.budget, checkpoint=checkpoint, resume=args.resume, history=args.history,
    )  # type: ignore[arg-type]  # the column flags are fit's keywords  # fmt: skip
    model.save(args.output)
    if checkpoint is not None:
        from tidegate.train.checkpoint import Checkpoints

        Checkpoints(checkpoint).remove()
    print(f"{model!r}")
    print(figures_text(model.card))
    for line in notes(model.card):
        print(f"- {line}")
    print(f"wrote {args.output} after {model.card['steps']} steps, {time.perf_counter() - began:.0f} s (the same again: --steps {model.card['steps']})")
    return 0
