"""`tidegate fit generate FILE ...`: train a language model on a text and write it as one file."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

from tidegate.cli.common import add_options
from tidegate.cli.training import LAST_WORDS, Way, add_device, add_seeds, add_training, add_vectors, check_training, tell, trained
from tidegate.models import LanguageModel
from tidegate.models.language_figures import held_back_text
from tidegate.tasks.generate import GenerateOptions

EXAMPLE = f"""example:
  tidegate fit generate plays.txt -o plays.safetensors
  tidegate fit generate train.txt.gz --valid valid.txt --units bpe --vocabulary 4000 --hidden-size 512 -o book.safetensors
  tidegate fit generate plays.txt --units word --direction both -o filler.safetensors    # `tidegate fill` finds a missing word

{LAST_WORDS}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `fit generate`."""
    parser.usage = "tidegate fit generate FILE -o MODEL [--valid FILE] [options]"
    parser.add_argument("task", choices=["generate"], help="what to train: generate")
    parser.add_argument("file", help="plain text, UTF-8, also .gz")
    add_training(parser)
    add_seeds(parser)
    parser.add_argument("--valid", metavar="FILE", help="text that chooses the best weights; without it the end is held back")
    add_vectors(parser)
    add_device(parser)
    add_options(parser, GenerateOptions)


def run(args: argparse.Namespace) -> int:
    """Train, save, and say how good it is."""
    check_training(args)
    began = time.perf_counter()

    def fit(options: Mapping[str, object], way: Way, _: int | None) -> LanguageModel:
        return LanguageModel(**options).fit(
            args.file, valid=args.valid, vectors=args.vectors, flash=args.flash, ram=args.ram, **way
        )

    model, seeds = trained(args, GenerateOptions, fit)
    seconds, figures = time.perf_counter() - began, held_back_text(model.card)
    return tell(args, GenerateOptions, repr(model), figures, model.card, seconds, ("valid", "vectors", "flash", "ram"), seeds)
