"""`tidegate predict MODEL`: forecast, sort or tag texts, or translate, with a model, where torch need not be installed."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tidegate.cli.common import add_levels, emit, refuse_foreign
from tidegate.cli.pairs import SEARCH_FLAGS, add_search, search_of
from tidegate.cli.texts import add_text_columns, text_columns_of
from tidegate.data.table import Table, read_table
from tidegate.data.texts import read_texts
from tidegate.errors import ConfigError, TaskError
from tidegate.models import Classifier, Forecaster, Tagger, Translator, load

EXAMPLE = """example:
  tidegate predict weather.safetensors                       # the steps after the training data, as CSV on standard output
  tidegate predict weather.safetensors --data new.csv --levels 50,90 -o forecast.csv
  tidegate predict reviews.safetensors --data new.txt        # a text a line; or CSV and JSON lines with --text COLUMN
  tidegate predict reviews.safetensors "a slow start, and then it soars"
  tidegate predict names.safetensors "Ann left for New York"  # a tagger: a word a line, its tag and how sure it is
  tidegate predict names.safetensors --data new.conll --n-best 3       # words by the file's name; new.txt is raw text
  tidegate predict de-en.safetensors "ein mann schläft" --beam 5 --n-best 3
  tidegate predict de-en.safetensors --data new.de --beam 5 -o answers.csv"""

FOR = {
    "future": "forecast", "levels": "forecast", "text": "classify translate", "no_header": "classify translate",
    "n_best": "tag translate", **dict.fromkeys(SEARCH_FLAGS, "translate"),
}  # fmt: skip  # flags that not every task reads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `predict`."""
    parser.add_argument("model", help="a file written by `tidegate fit`")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts to sort, to tag or to translate")
    parser.set_defaults(rest="texts")
    parser.add_argument("--data", metavar="FILE", help="history to forecast from (without it, the training series), or texts")
    parser.add_argument("--future", metavar="FILE", help="known covariates of the horizon: columns id, time, covariates")
    parser.add_argument("-o", "--output", metavar="FILE", help="a CSV file; without it, standard output")
    add_levels(parser)
    add_text_columns(parser, labelled=False)
    add_search(parser)
    parser.add_argument(
        "--n-best",
        type=int,
        default=1,
        metavar="N",
        help="answers to each text, of a tagger, or of a translator (at most --beam)",
    )


def run(args: argparse.Namespace) -> int:
    """Predict and write the table."""
    model = load(args.model)
    refuse_foreign(args, model.task, FOR)
    if isinstance(model, Forecaster):
        if args.texts:
            raise ConfigError(f"{args.texts[0]!r}: expected no text for a forecaster; --data FILE gives it newer rows")
        emit(read_table(model.predict(args.data, args.future, args.levels)), args.output)
    elif isinstance(model, Tagger):
        emit(_tagged(model, args), args.output)
    elif isinstance(model, Classifier):
        emit(_labelled(model, args), args.output)
    elif isinstance(model, Translator):
        emit(_answered(model, args), args.output)
    else:
        known = "forecasters, classifiers, taggers and translators"
        raise TaskError(f"{args.model}: `predict` knows {known}, got a model for {model.task!r}")
    return 0


def _tagged(model: Tagger, args: argparse.Namespace) -> Table:
    """Sentence, rank, word, tag, and the probabilities of the tag and of the whole path."""
    _check_given(args)
    given: Path | list[str] = list(args.texts) if args.data is None else Path(args.data)
    rows: list[tuple[object, ...]] = []
    for number, found in enumerate(model.tag(given, args.n_best), 1):
        for rank, path in enumerate(found.paths, 1):
            sure = found.probabilities if rank == 1 else (float("nan"),) * len(path.tags)
            words = zip(found.words, path.tags, sure, strict=True)
            rows += [(number, rank, word, tag, p, path.probability, found.label or "") for word, tag, p in words]
    names = ("sentence", "rank", "word", "tag", "probability", "path_probability", "label")
    kinds = (np.int64, np.int64, object, object, np.float64, np.float64, object)
    columns = {name: np.array([row[k] for row in rows], dtype=kinds[k]) for k, name in enumerate(names)}
    kept = [name for name in names if (name != "label" or model.labels) and (name != "rank" or args.n_best > 1)]
    return Table({name: columns[name] for name in kept})


def _labelled(model: Classifier, args: argparse.Namespace) -> Table:
    """Text, label and probability of each text."""
    texts = _texts(args)
    found, names = model.predict_proba(texts), np.array(model.classes, dtype=object)
    labels = {"text": np.array(texts, dtype=object), "label": names[found.argmax(1)]}
    return Table({**labels, "probability": found.max(1)})


def _answered(model: Translator, args: argparse.Namespace) -> Table:
    """Text, answer, score and probability, `--n-best` rows a text."""
    texts = _texts(args)
    found = model.n_best(texts, args.n_best, **search_of(args))
    rows = [(text, *one[:3]) for text, own in zip(texts, found, strict=True) for one in own]
    names, kinds = ("text", "answer", "score", "probability"), (object, object, float, float)
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return Table({n: np.array(list(c), dtype=k) for n, k, c in zip(names, kinds, columns, strict=True)})


def _texts(args: argparse.Namespace) -> list[str]:
    """The texts of the command line or of --data. Raises: ConfigError."""
    _check_given(args)
    texts = list(args.texts)
    if args.data is not None:
        columns = text_columns_of(args)
        texts = list(read_texts(args.data, text=columns["text"], header=columns["header"]).texts)
    return texts


def _check_given(args: argparse.Namespace) -> None:
    if bool(args.texts) == (args.data is not None):
        raise ConfigError("texts: expected either texts on the command line or --data FILE; give one of them")
