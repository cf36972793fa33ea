"""`tidegate fill MODEL TEXT`: the likeliest words for a blank, from both sides and from the left alone."""

from __future__ import annotations

import argparse

from tidegate.errors import ConfigError, TaskError
from tidegate.models import LanguageModel, load

EXAMPLE = """example:
  tidegate fill plays.safetensors "the ___ barked"
  tidegate fill plays.safetensors "the ___ barked" --best 10

The model is one of `tidegate fit generate FILE --units word --direction both`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `fill`."""
    parser.set_defaults(rest="texts")
    parser.add_argument("model", help="a file written by `tidegate fit generate --direction both`")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts with one blank each, written ___")
    parser.add_argument("--best", type=int, default=5, metavar="N", help="answers a blank, default 5")


def run(args: argparse.Namespace) -> int:
    """Print a table a text."""
    model = load(args.model)
    if not isinstance(model, LanguageModel):
        raise TaskError(
            f"{args.model}: expected a language model, got a model for {model.task!r}; name a file of `tidegate fit generate`"
        )
    if not args.texts:
        raise ConfigError("texts: expected a text with a blank, written ___, got none; put it in quotes behind the model")
    for text in args.texts:
        print(text)
        print(model.fill(text, best=args.best))
    return 0
