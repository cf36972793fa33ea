"""`tidegate predict MODEL`: forecast, or sort texts, with a trained model, where torch need not be installed."""

from __future__ import annotations

import argparse

import numpy as np

from tidegate.cli.common import add_levels, emit, refuse_foreign
from tidegate.cli.texts import add_text_columns, text_columns_of
from tidegate.data.table import Table, read_table
from tidegate.data.texts import read_texts
from tidegate.errors import ConfigError, TaskError
from tidegate.models import Classifier, Forecaster, load

EXAMPLE = """example:
  tidegate predict weather.safetensors                       # the steps after the training data, as CSV on standard output
  tidegate predict weather.safetensors --data new.csv --levels 50,90 -o forecast.csv
  tidegate predict reviews.safetensors --data new.txt        # a text a line; or CSV and JSON lines with --text COLUMN
  tidegate predict reviews.safetensors "a slow start, and then it soars\""""

FOR = {"future": "forecast", "levels": "forecast", "text": "classify", "no_header": "classify"}  # flags of one task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `predict`."""
    parser.add_argument("model", help="a file written by `tidegate fit`")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts to sort, of a classifier")
    parser.set_defaults(rest="texts")
    parser.add_argument(
        "--data", metavar="FILE", help="history to forecast from (without it, the training series), or texts to sort"
    )
    parser.add_argument("--future", metavar="FILE", help="known covariates of the horizon: columns id, time, covariates")
    parser.add_argument("-o", "--output", metavar="FILE", help="a CSV file; without it, standard output")
    add_levels(parser)
    add_text_columns(parser, labelled=False)


def run(args: argparse.Namespace) -> int:
    """Predict and write the table."""
    model = load(args.model)
    refuse_foreign(args, model.task, FOR)
    if isinstance(model, Forecaster):
        if args.texts:
            raise ConfigError(f"{args.texts[0]!r}: expected no text for a forecaster; --data FILE gives it newer rows")
        emit(read_table(model.predict(args.data, args.future, args.levels)), args.output)
    elif isinstance(model, Classifier):
        emit(_labelled(model, args), args.output)
    else:
        raise TaskError(f"{args.model}: `predict` knows forecasters and classifiers, got a model for {model.task!r}")
    return 0


def _labelled(model: Classifier, args: argparse.Namespace) -> Table:
    """Text, label and probability of each text."""
    if bool(args.texts) == (args.data is not None):
        raise ConfigError("texts: expected either texts on the command line or --data FILE; give one of them")
    texts = list(args.texts)
    if args.data is not None:
        columns = text_columns_of(args)
        texts = list(read_texts(args.data, text=columns["text"], header=columns["header"]).texts)
    found, names = model.predict_proba(texts), np.array(model.classes, dtype=object)
    labels = {"text": np.array(texts, dtype=object), "label": names[found.argmax(1)]}
    return Table({**labels, "probability": found.max(1)})
