"""`tidegate generate MODEL`: text from a language model, as it comes, where torch need not be installed."""

from __future__ import annotations

import argparse
import sys

from tidegate.cli.common import add_options, options_of
from tidegate.decode.sampling import Sampling
from tidegate.errors import TaskError
from tidegate.models import LanguageModel, load

EXAMPLE = """example:
  tidegate generate plays.safetensors --prompt "ROMEO:" --length 400 --temperature 0.8
  tidegate generate plays.safetensors --temperature 0 --stop "." --seed 3"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `generate`."""
    parser.add_argument("model", help="a file written by `tidegate fit generate`")
    parser.add_argument("--prompt", default="", metavar="TEXT", help="what the text goes on from; it is printed first")
    parser.add_argument("--length", type=int, default=200, metavar="N", help="tokens at most, default 200")
    parser.add_argument("--stop", metavar="TEXT", help="end before this text")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same text; default 0")
    add_options(parser, Sampling)


def run(args: argparse.Namespace) -> int:
    """Print the prompt and what comes after it, piece by piece."""
    model = load(args.model)
    if not isinstance(model, LanguageModel):
        raise TaskError(
            f"{args.model}: expected a language model, got a model for {model.task!r}; name a file of `tidegate fit generate`"
        )
    pieces = model.generate(args.prompt, args.length, stop=args.stop, seed=args.seed, **options_of(args, Sampling))
    sys.stdout.write(args.prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0
