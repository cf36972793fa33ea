"""`tidegate quantize MODEL --data FILE -o OUT`: a trained model in 8 bits, scored beside the one of 32 before it is written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

from tidegate.cli.common import refuse_foreign, say_wrote, wrapped
from tidegate.cli.pairs import pair_columns_of
from tidegate.cli.scored import SCORED, add_scored, measures_of
from tidegate.cli.texts import tag_columns_of, text_columns_of
from tidegate.errors import TaskError
from tidegate.files import check_writable
from tidegate.models import Classifier, Forecaster, LanguageModel, Tagger, Translator, load
from tidegate.models.base import Model
from tidegate.models.quantizing import LIMIT

EXAMPLE = """example:
  tidegate quantize reviews.safetensors --data test.csv --text review --label stars -o reviews8.safetensors
  tidegate quantize weather.safetensors --data newer.csv --windows 8 -o weather8.safetensors
  tidegate quantize names.safetensors --data dev.conll --limit 0.5% -o names8.safetensors
  tidegate quantize plays.safetensors --data dev.txt -o plays8.safetensors
  tidegate quantize de-en.safetensors --data dev.de --target dev.en -o de-en8.safetensors

the data should be data that training has not seen; beyond the limit nothing is written, and the exit status is 2"""
WINDOWS = 4
FOR = {**SCORED, "windows": "forecast", "step": "forecast"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `quantize`."""
    parser.add_argument("model", help="a file written by `tidegate fit`")
    parser.add_argument("--data", required=True, metavar="FILE", help="what both are scored on, as for `tidegate evaluate`")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the file to write")
    parser.add_argument(
        "--limit", type=share, default=LIMIT, metavar="SHARE",
        help=f"the share of the task's measure that may be lost, such as 1%% or 0.01; default {100 * LIMIT:g}%%",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="write it whatever is lost")
    group = parser.add_argument_group("of a forecaster")
    group.add_argument("--windows", type=int, default=WINDOWS, metavar="N", help=f"cutoffs, default {WINDOWS}")
    group.add_argument("--step", type=int, metavar="N", help="rows between cutoffs, default the horizon")
    add_scored(parser)


def run(args: argparse.Namespace) -> int:
    """Make it, say what was lost, and write it."""
    model = load(args.model)
    refuse_foreign(args, model.task, FOR)
    check_writable(args.output)
    made = _made(model, args)
    made.save(args.output)
    before, after = (Path(path).stat().st_size for path in (args.model, args.output))
    print(wrapped(cast("list[str]", made.card["notes"])[-1], hanging="  "))
    print(f"{args.model}: {before:,} bytes; in 8 bits {after:,}, {100 * after / before:.0f} % of it")
    say_wrote(args.output)
    return 0


def share(text: str) -> float:
    """A share, in percent where it says so."""
    return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)


def _made(model: Model, args: argparse.Namespace) -> Model:
    file, limit, force = args.data, args.limit, args.force
    if isinstance(model, Forecaster):
        return model.quantize("int8", file, windows=args.windows, step=args.step, limit=limit, force=force)
    if isinstance(model, LanguageModel):
        return model.quantize("int8", file, carry=not args.reset, limit=limit, force=force)
    if isinstance(model, Tagger):
        return model.quantize("int8", file, **tag_columns_of(args), limit=limit, force=force)
    if isinstance(model, Classifier):
        return model.quantize("int8", file, **text_columns_of(args), limit=limit, force=force)
    if isinstance(model, Translator):
        return model.quantize("int8", file, **pair_columns_of(args), measures=measures_of(args), limit=limit, force=force)
    raise TaskError(
        f"{args.model}: `quantize` scores a model by its task's measure, got one for {model.task!r}, which has none; "
        "name a file that `tidegate fit` wrote"
    )
