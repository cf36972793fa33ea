"""`tidegate fit tag FILE -o MODEL`: train a tagger and say how it does beside the commonest tag of each word."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

from tidegate.cli.common import add_options
from tidegate.cli.texts import add_tag_columns, tag_columns_of
from tidegate.cli.training import LAST_WORDS, Way, add_seeds, add_training, add_vectors, check_training, tell, trained
from tidegate.models import Tagger
from tidegate.models.tag_figures import held_back_text
from tidegate.tasks.tag import TagOptions

EXAMPLE = f"""example:
  tidegate fit tag en_ewt-ud-train.conllu.gz --valid en_ewt-ud-dev.conllu.gz -o pos.safetensors    # parts of speech
  tidegate fit tag wikigold.conll.txt -o names.safetensors                                         # names, in IOB columns
  tidegate fit tag seq.in --labels seq.out --sentence-labels label -o requests.safetensors         # slots and intents

{LAST_WORDS}"""
FLAGS = ("column", "labels", "sentence_labels", "valid", "valid_labels", "valid_sentence_labels", "vectors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `fit tag`."""
    parser.usage = "tidegate fit tag FILE [--column COLUMN] [--labels FILE] -o MODEL [--valid FILE] [options]"
    parser.add_argument("task", choices=["tag"], help="what to train: tag")
    parser.add_argument(
        "file", help="CoNLL-U, CoNLL columns, JSON lines with tokens and tags, or words between blanks (--labels)"
    )
    add_training(parser)
    add_seeds(parser)
    add_tag_columns(parser)
    parser.add_argument("--valid", metavar="FILE", help="sentences that choose the best weights; without it some are held back")
    parser.add_argument("--valid-labels", metavar="FILE", help="the tags of --valid, line by line")
    parser.add_argument("--valid-sentence-labels", metavar="FILE", help="the labels of the sentences of --valid")
    add_vectors(parser)
    add_options(parser, TagOptions)


def run(args: argparse.Namespace) -> int:
    """Train, save, and say how good it is."""
    check_training(args)
    began = time.perf_counter()

    def fit(options: Mapping[str, object], way: Way, split_seed: int | None) -> Tagger:
        return Tagger(**options).fit(
            args.file, **tag_columns_of(args), valid=args.valid, valid_labels=args.valid_labels,
            valid_sentence_labels=args.valid_sentence_labels, vectors=args.vectors, split_seed=split_seed, **way,
        )  # fmt: skip

    model, seeds = trained(args, TagOptions, fit)
    seconds, figures = time.perf_counter() - began, held_back_text(model.card)
    return tell(args, TagOptions, repr(model), figures, model.card, seconds, FLAGS, seeds)
