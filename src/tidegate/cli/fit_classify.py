"""`tidegate fit classify FILE ...`: train a classifier of texts and write it as one file."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

from tidegate.cli.common import add_options
from tidegate.cli.texts import add_text_columns, text_columns_of
from tidegate.cli.training import LAST_WORDS, Way, add_device, add_seeds, add_training, add_vectors, check_training, tell, trained
from tidegate.models import Classifier
from tidegate.models.classify_figures import held_back_text
from tidegate.tasks.classify import ClassifyOptions

EXAMPLE = f"""example:
  tidegate fit classify reviews.csv --text review --label stars -o reviews.safetensors
  tidegate fit classify train.tsv --no-header --text 1 --label 2 --valid dev.tsv --pooling attention -o sst2.safetensors
  tidegate fit classify train.csv --valid dev.csv --seeds 5 -o best.safetensors         # mean and spread of five nets
  tidegate fit classify names/ --units char --no-lower -o names.safetensors        # one .txt a class, one name a line

{LAST_WORDS}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `fit classify`."""
    parser.usage = "tidegate fit classify FILE [--text COLUMN] [--label COLUMN] -o MODEL [--valid FILE] [options]"
    parser.add_argument("task", choices=["classify"], help="what to train: classify")
    parser.add_argument("file", help="CSV, TSV, Parquet or JSON lines with a text and a label a row; plain text; or a folder")
    add_training(parser)
    add_seeds(parser)
    add_text_columns(parser)
    parser.add_argument("--valid-labels", metavar="FILE", help="a second file: line n is the label of line n of --valid")
    parser.add_argument("--valid", metavar="FILE", help="texts that choose the best weights; without it some are held back")
    add_vectors(parser)
    add_device(parser)
    add_options(parser, ClassifyOptions)


def run(args: argparse.Namespace) -> int:
    """Train, save, and say how good it is."""
    check_training(args)
    began = time.perf_counter()

    def fit(options: Mapping[str, object], way: Way, split_seed: int | None) -> Classifier:
        model = Classifier(**options)
        return model.fit(
            args.file,
            **text_columns_of(args),
            valid=args.valid,
            valid_labels=args.valid_labels,
            vectors=args.vectors,
            flash=args.flash,
            ram=args.ram,
            split_seed=split_seed,
            **way,
        )

    model, seeds = trained(args, ClassifyOptions, fit)
    seconds, figures = time.perf_counter() - began, held_back_text(model.card)
    return tell(
        args,
        ClassifyOptions,
        repr(model),
        figures,
        model.card,
        seconds,
        ("text", "label", "labels", "valid", "valid_labels", "vectors", "flash", "ram"),
        seeds,
    )
