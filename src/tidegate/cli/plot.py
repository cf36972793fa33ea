"""`tidegate plot FILE`: draw a model's forecast, or the history of a training run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tidegate.cli.common import add_levels, forecaster
from tidegate.errors import ConfigError, DataError

EXAMPLE = """example:
  tidegate plot weather.safetensors -o forecast.png
  tidegate plot weather.safetensors --truth newer.csv --html forecast.html
  tidegate plot history.jsonl -o training.svg"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `plot`."""
    parser.add_argument("file", help="a model file, or a training history (.jsonl)")
    parser.add_argument("-o", "--output", metavar="FILE", help="a .png or .svg file")
    parser.add_argument("--html", metavar="FILE", help="one self-contained page with an interactive chart")
    parser.add_argument("--truth", metavar="FILE", help="data that reaches into the horizon, drawn beside the forecast")
    parser.add_argument("--ids", metavar="A,B,...", help="only these series")
    add_levels(parser)


def run(args: argparse.Namespace) -> int:
    """Draw what was asked for."""
    if not args.output and not args.html:
        raise ConfigError("plot: name a picture with --output forecast.png, or a page with --html forecast.html")
    if args.file.endswith(".jsonl"):
        from tidegate.report.picture import history_picture

        if not args.output:
            raise ConfigError("plot: a training history is drawn as a picture: give --output training.png")
        history_picture(args.output, read_history(args.file))
        return 0
    model = forecaster(args.file)
    if args.output:
        ids = args.ids.split(",") if args.ids else None
        model.plot(args.output, truth=args.truth, levels=args.levels, ids=ids)
    if args.html:
        model.page(args.html, levels=args.levels)
    return 0


def read_history(path: str) -> list[dict[str, float | int | str]]:
    """The records of a JSON-lines file. Raises: DataError that names the line."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the file that `fit --history` wrote") from error
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or "step" not in record:
            raise DataError(f"{path}: line {number}: expected a training record with a step, got {line[:60]!r}; give the file that `fit --history` wrote")
        records.append(record)
    if not records:
        raise DataError(f"{path}: no records; give the file that `fit --history` wrote")
    return records
