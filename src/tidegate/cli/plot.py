"""`tidegate plot FILE`: draw a model's forecast, where a translator looks, or the history of a training run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tidegate import format as container
from tidegate.cli.common import add_levels, forecaster
from tidegate.errors import ConfigError, DataError, TaskError
from tidegate.models import Translator, load

EXAMPLE = """example:
  tidegate plot weather.safetensors -o forecast.png
  tidegate plot weather.safetensors --truth newer.csv --html forecast.html
  tidegate plot de-en.safetensors --text schlafen -o attention.png
  tidegate plot history.jsonl -o training.svg"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `plot`."""
    parser.add_argument("file", help="a model file, or a training history (.jsonl)")
    parser.add_argument("-o", "--output", metavar="FILE", help="a .png or .svg file")
    parser.add_argument("--html", metavar="FILE", help="one self-contained page with an interactive chart")
    parser.add_argument("--truth", metavar="FILE", help="data that reaches into the horizon, drawn beside the forecast")
    parser.add_argument("--future", metavar="FILE", help="known covariates of the horizon, as for `predict`")
    parser.add_argument("--text", metavar="TEXT", help="of a translator: where each token of its answer to this text looks")
    parser.add_argument("--ids", metavar="A,B,...", help="only these series")
    add_levels(parser)


def run(args: argparse.Namespace) -> int:
    """Draw what was asked for."""
    if not args.output and not args.html:
        raise ConfigError("plot: name a picture with --output forecast.png, or a page with --html forecast.html")
    if args.file.endswith(".jsonl"):
        _draw_history(args)
    elif args.text is not None:
        _draw_attention(args)
    else:
        _draw_forecast(args)
    for path in filter(None, (args.output, args.html)):
        print(f"wrote {path}")
    return 0


def _draw_history(args: argparse.Namespace) -> None:
    from tidegate.report.picture import history_picture

    if args.html or not args.output:
        raise ConfigError("plot: a training history is drawn as a picture: give --output training.png, without --html")
    history_picture(args.output, read_history(args.file))


def _draw_attention(args: argparse.Namespace) -> None:
    model = load(args.file)
    if not isinstance(model, Translator):
        raise TaskError(f"--text: goes with a translator, got a model for {model.task!r}; leave it out")
    if args.html or not args.output:
        raise ConfigError("plot: attention is drawn as a picture: give --output attention.png, without --html")
    model.plot(args.output, args.text)


def _draw_forecast(args: argparse.Namespace) -> None:
    model, ids = forecaster(args.file), _ids(args)
    if args.output:
        model.plot(args.output, future=args.future, truth=args.truth, levels=args.levels, ids=ids)
    if args.html:
        model.page(args.html, future=args.future, truth=args.truth, levels=args.levels, ids=ids)


def _ids(args: argparse.Namespace) -> list[str | int] | None:
    """The series asked for, as numbers where the model's ids are numbers."""
    if not args.ids:
        return None
    names = [part.strip() for part in args.ids.split(",") if part.strip()]
    schema = container.read(args.file).header.get("schema")
    if isinstance(schema, dict) and schema.get("id_kind") == "integer":
        wrong = [name for name in names if not name.lstrip("+-").isdigit()]
        if wrong:
            raise ConfigError(f"--ids: expected whole numbers, which the ids of this model are, got {wrong[0]!r}")
        return [int(name) for name in names]
    return list(names)


def read_history(path: str) -> list[dict[str, float | int | str]]:
    """The records of a JSON-lines file. Raises: DataError that names the line."""
    remedy = "give the file that `tidegate fit --history` wrote"
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text, got bytes that are none (at byte {error.start}); {remedy}") from error
    if not lines:
        raise DataError(f"{path}: expected training records, got an empty file; {remedy}")
    return [_record(path, number, line, remedy) for number, line in enumerate(lines, 1)]


def _record(path: str, number: int, line: str, remedy: str) -> dict[str, float | int | str]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or "step" not in record:
        raise DataError(f"{path}: line {number}: expected a training record with a step, got {line[:60]!r}; {remedy}")
    return record
