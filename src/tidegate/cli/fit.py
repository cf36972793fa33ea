"""`tidegate fit TASK FILE ...`: train a model on a data file and write it as one file."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Mapping
from typing import cast

from tidegate.cli.common import (
    add_columns,
    add_options,
    bullets,
    columns_of,
    flag_of,
    forecaster_of,
    options_of,
    program,
    wrapped,
)
from tidegate.config import Plain
from tidegate.errors import ConfigError
from tidegate.files import check_writable
from tidegate.models.forecast_answers import notes
from tidegate.models.forecast_figures import figures_text
from tidegate.tasks.forecast import ForecastOptions

EXAMPLE = """example:
  tidegate fit forecast weather.csv --target temp_max --time date --horizon 14 -o weather.safetensors
  tidegate fit forecast load.csv.gz --target mw --time hour --id site --horizon 24 --season 24 --budget 10m -o load.safetensors

Ctrl-C keeps the best model so far. Checkpoints stand beside the output file until the model is written; after a crash the same
command with --resume goes on from them and ends with the same bytes."""
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `fit`."""
    parser.usage = "tidegate fit forecast FILE --target COLUMN --horizon N -o MODEL [--time COLUMN] [--id COLUMN] [options]"
    parser.add_argument("task", choices=["forecast"], help="what to train: forecast")
    parser.add_argument("file", help="CSV, CSV.gz, TSV or Parquet, one row a series and time")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where the model goes")
    parser.add_argument("--budget", metavar="TIME", help="training time, such as 90s or 10m; fixes the number of steps once")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint beside the output file")
    parser.add_argument("--no-checkpoint", action="store_true", help="write no checkpoints")
    parser.add_argument("--history", metavar="FILE", help="write training records as JSON lines")
    add_columns(parser)
    add_options(parser, ForecastOptions, required=("horizon",))


def run(args: argparse.Namespace) -> int:
    """Train, save, and say how good it is."""
    _check(args)
    model = forecaster_of(args, ForecastOptions)
    began = time.perf_counter()
    checkpoint = None if args.no_checkpoint else args.output
    model.fit(
        args.file, **columns_of(args), budget=args.budget, checkpoint=checkpoint, resume=args.resume, history=args.history,
    )  # fmt: skip
    model.save(args.output)
    print(wrapped(repr(model), hanging="  "))
    print(figures_text(model.card))
    print(bullets(notes(model.card)))
    print(_ending(model.card, args, time.perf_counter() - began))
    print(f"the same again:\n  {_again(args, cast(int, model.card['steps']))}")
    if model.card["interrupted"]:
        return INTERRUPTED
    if checkpoint is not None:
        from tidegate.train.checkpoint import Checkpoints

        Checkpoints(checkpoint).remove()
    return 0


def _check(args: argparse.Namespace) -> None:
    """What would only show after long work. Raises: ConfigError, OutputError."""
    if args.resume and args.no_checkpoint:
        raise ConfigError(
            "--resume: goes on from a checkpoint, and --no-checkpoint says that there are none; leave one of them out"
        )
    check_writable(args.output)
    if args.history is not None:
        check_writable(args.history)


def _ending(card: Mapping[str, Plain], args: argparse.Namespace, seconds: float) -> str:
    planned = card["steps"]
    members = cast("list[dict[str, Plain]]", card["members"])
    if card["interrupted"]:
        done = members[-1]["steps"]
        way = "" if args.no_checkpoint else "; the same command with --resume goes on from the last checkpoint"
        return f"interrupted: wrote {args.output}, the best model of {done} steps of {planned}{way}"
    early = sorted({cast(int, m["steps"]) for m in members} - {cast(int, planned)})
    stopped = f" (stopped early, after {', '.join(map(str, early))})" if early else ""
    return f"wrote {args.output}: {planned} steps{stopped}, {seconds:.0f} s"


def _again(args: argparse.Namespace, steps: int) -> str:
    """The command line that gives the same model again, on any machine however fast."""
    words = [program(), "fit", args.task, shlex.quote(args.file)]
    for name in ("target", "time", "id", "past", "future", "static"):
        value = getattr(args, name)
        if value:
            words += [f"--{name}", shlex.quote(value if isinstance(value, str) else ",".join(value))]
    given = {**options_of(args, ForecastOptions), "steps": steps}
    given.setdefault("seed", ForecastOptions.seed)
    for name, value in given.items():
        flag = flag_of(name)
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        else:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words.append(f"{flag}={shlex.quote(text)}" if text.startswith("-") else f"{flag} {shlex.quote(text)}")
    return " ".join([*words, "-o", shlex.quote(args.output)])
