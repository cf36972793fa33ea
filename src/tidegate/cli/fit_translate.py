"""`tidegate fit translate FILE ...`: train a translator on pairs of texts and write it as one file."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

from tidegate.cli.common import add_options
from tidegate.cli.pairs import PAIR_FLAGS, add_pair_columns, pair_columns_of
from tidegate.cli.training import LAST_WORDS, Way, add_seeds, add_training, check_training, tell, trained
from tidegate.models import Translator
from tidegate.models.translate_figures import held_back_text
from tidegate.tasks.translate import TranslateOptions

EXAMPLE = f"""example:
  tidegate fit translate train.de --target train.en --valid val.de --valid-target val.en --lower -o de-en.safetensors
  tidegate fit translate words.tsv --units char --target-units token --hidden-size 256 -o sounds.safetensors
  tidegate fit translate papers.jsonl --from-column source --to-column target --shared -o summaries.safetensors

{LAST_WORDS}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `fit translate`."""
    parser.usage = "tidegate fit translate FILE [--target FILE] -o MODEL [--valid FILE [--valid-target FILE]] [options]"
    parser.add_argument("task", choices=["translate"], help="what to train: translate")
    parser.add_argument("file", help="sources, a line each, beside --target; or both sides: CSV, TSV, Parquet or JSON lines")
    add_training(parser)
    add_seeds(parser)
    add_pair_columns(parser)
    parser.add_argument("--valid", metavar="FILE", help="pairs that choose the best weights; without it some are held back")
    parser.add_argument("--valid-target", metavar="FILE", help="their targets, where --valid has the sources alone")
    add_options(parser, TranslateOptions)


def run(args: argparse.Namespace) -> int:
    """Train, save, and say how good it is."""
    check_training(args)
    began = time.perf_counter()

    def fit(options: Mapping[str, object], way: Way, split_seed: int | None) -> Translator:
        return Translator(**options).fit(
            args.file, **pair_columns_of(args), valid=args.valid, valid_target=args.valid_target, split_seed=split_seed, **way
        )

    model, seeds = trained(args, TranslateOptions, fit)
    seconds, figures = time.perf_counter() - began, held_back_text(model.card)
    flags = (*PAIR_FLAGS, "valid", "valid_target")
    return tell(args, TranslateOptions, repr(model), figures, model.card, seconds, flags, seeds)
