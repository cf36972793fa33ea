"""`tidegate evaluate MODEL FILE`: score a trained model on a data file that it has not seen."""

from __future__ import annotations

import argparse

from tidegate.cli.common import add_against, add_levels, folder, named_tables, refuse_foreign, say_wrote, wrapped
from tidegate.cli.texts import add_text_columns, text_columns_of
from tidegate.errors import ConfigError, TaskError
from tidegate.models import Classifier, Forecaster, LanguageModel, load
from tidegate.models.language_model import Score
from tidegate.tasks.evaluation import Evaluation
from tidegate.tasks.label_scores import LabelEvaluation

EXAMPLE = """example:
  tidegate evaluate weather.safetensors newer.csv                            # a forecaster: the last horizon of the file
  tidegate evaluate weather.safetensors newer.csv --against prophet=prophet.csv --output figures/
  tidegate evaluate reviews.safetensors test.csv --text review --label stars  # a classifier: accuracy, confusion, calibration
  tidegate evaluate plays.safetensors test.txt                               # a language model: perplexity, bits a letter"""

FOR = {
    "against": "forecast", "levels": "forecast", "text": "classify", "label": "classify", "labels": "classify",
    "no_header": "classify", "picture": "classify", "reset": "generate",
}  # fmt: skip  # flags of one task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    parser.add_argument("model", help="a file written by `tidegate fit`")
    parser.add_argument("file", help="data with the columns of the training file")
    add_against(parser)
    add_levels(parser)
    add_text_columns(parser)
    parser.add_argument("--picture", metavar="FILE", help="draw a classifier's confusion table and calibration: .png or .svg")
    parser.add_argument("--reset", action="store_true", help="a language model reads each line from the state that knows nothing")


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    found = _found(args)
    print(wrapped(str(found), hanging="  "))
    say_wrote(args.picture)
    if args.output and not isinstance(found, Score):
        found.write(args.output)
        say_wrote(args.output)
    return 0


def _found(args: argparse.Namespace) -> Evaluation | LabelEvaluation | Score:
    model = load(args.model)
    refuse_foreign(args, model.task, FOR)
    if args.output and isinstance(model, (Forecaster, Classifier)):
        folder(args.output)  # what cannot be written is told before the work
    if isinstance(model, Forecaster):
        return model.evaluate(args.file, against=named_tables(args.against), levels=args.levels)
    if isinstance(model, LanguageModel):
        if args.output:
            raise ConfigError("--output: a language model's score is one line; leave it out")
        return model.evaluate(args.file, carry=not args.reset)
    if isinstance(model, Classifier):
        if args.picture:
            return model.plot(args.picture, args.file, **text_columns_of(args))
        return model.evaluate(args.file, **text_columns_of(args))
    raise TaskError(
        f"{args.model}: `evaluate` knows forecasters, classifiers and language models, got a model for {model.task!r}"
    )
