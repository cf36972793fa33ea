"""`tidegate evaluate MODEL FILE`: score a trained model on a data file that it has not seen."""

from __future__ import annotations

import argparse

from tidegate.cli.common import add_against, add_levels, folder, named_tables, refuse_foreign, say_wrote, wrapped
from tidegate.cli.pairs import SEARCH_FLAGS, add_search, pair_columns_of, search_of
from tidegate.cli.scored import SCORED, add_scored, measures_of
from tidegate.cli.texts import tag_columns_of, text_columns_of
from tidegate.errors import ConfigError, TaskError
from tidegate.models import Classifier, Forecaster, LanguageModel, Tagger, Translator, load
from tidegate.models.language_model import Score
from tidegate.tasks.evaluation import Evaluation
from tidegate.tasks.label_scores import LabelEvaluation
from tidegate.tasks.text_scores import TextEvaluation

EXAMPLE = """example:
  tidegate evaluate weather.safetensors newer.csv                            # a forecaster: the last horizon of the file
  tidegate evaluate weather.safetensors newer.csv --against prophet=prophet.csv --output figures/
  tidegate evaluate reviews.safetensors test.csv --text review --label stars  # a classifier: accuracy, confusion, calibration
  tidegate evaluate names.safetensors test.conll --look-ahead 0,2,4          # a tagger: F1 or accuracy; what waiting is worth
  tidegate evaluate plays.safetensors test.txt                               # a language model: perplexity, bits a letter
  tidegate evaluate de-en.safetensors test.de --target test.en --beam 5      # a translator: BLEU, chrF, exact answers
  tidegate evaluate summaries.safetensors test.jsonl --from-column source --to-column target --measures ROUGE-1,ROUGE-2,ROUGE-L"""

FOR = {
    **SCORED, "against": "forecast", "levels": "forecast", "picture": "classify tag", "look_ahead": "tag",
    **dict.fromkeys(SEARCH_FLAGS, "translate"),
}  # fmt: skip  # flags that not every task reads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    parser.add_argument("model", help="a file written by `tidegate fit`")
    parser.add_argument("file", help="data with the columns of the training file")
    add_against(parser)
    add_levels(parser)
    group = add_scored(parser)
    group.add_argument("--look-ahead", type=_looks, metavar="N,N,...", help="what a stream that waits for N words loses")
    parser.add_argument(
        "--picture", metavar="FILE", help="draw a classifier's or tagger's confusion table and calibration: .png or .svg"
    )
    add_search(parser)


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    found = _found(args)
    print(wrapped(str(found), hanging="  "))
    say_wrote(args.picture)
    if args.output and not isinstance(found, Score):
        found.write(args.output)
        say_wrote(args.output)
    return 0


def _found(args: argparse.Namespace) -> Evaluation | LabelEvaluation | Score | TextEvaluation:
    model = load(args.model)
    refuse_foreign(args, model.task, FOR)
    if args.output and isinstance(model, (Forecaster, Classifier, Tagger, Translator)):
        folder(args.output)  # what cannot be written is told before the work
    if isinstance(model, Forecaster):
        return model.evaluate(args.file, against=named_tables(args.against), levels=args.levels)
    if isinstance(model, LanguageModel):
        if args.output:
            raise ConfigError("--output: a language model's score is one line; leave it out")
        return model.evaluate(args.file, carry=not args.reset)
    if isinstance(model, Tagger):
        return _of_tags(model, args)
    if isinstance(model, Classifier):
        if args.picture:
            return model.plot(args.picture, args.file, **text_columns_of(args))
        return model.evaluate(args.file, **text_columns_of(args))
    if isinstance(model, Translator):
        return model.evaluate(args.file, **pair_columns_of(args), **search_of(args), measures=measures_of(args))
    raise TaskError(f"{args.model}: `evaluate` does not know a model for {model.task!r}; update Tidegate")


def _of_tags(model: Tagger, args: argparse.Namespace) -> LabelEvaluation:
    """The evaluation; the table of look-aheads is printed before it."""
    tags = tag_columns_of(args)
    if args.look_ahead is not None:
        board = model.look_ahead_costs(args.file, column=tags["column"], labels=tags["labels"], looks=args.look_ahead)
        print(f"{board.text()}\n")
    if args.picture:
        return model.plot(args.picture, args.file, **tags)
    return model.evaluate(args.file, **tags)


def _looks(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))
