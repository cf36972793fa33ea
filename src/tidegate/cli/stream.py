"""`tidegate stream MODEL`: words in on standard input, a tag out as soon as it is certain enough, where torch need not be."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from tidegate.data.vocabulary import cut_words
from tidegate.errors import DataError, TaskError
from tidegate.models import Tagger, load
from tidegate.models.tag_stream import Given

EXAMPLE = """example:
  tidegate stream names.safetensors --look-ahead 2        # a sentence a line on standard input; a tag as soon as it is given
  tidegate stream requests.safetensors --words            # as in: tail -f chat.txt | tidegate stream requests.safetensors"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `stream`."""
    parser.add_argument("model", help="a tagger, written by `tidegate fit tag`")
    parser.add_argument(
        "--look-ahead", type=int, metavar="N", help="words that are waited for before a tag is given; default 4, 0 for a net "
        "that reads forwards and tags each word by itself",
    )  # fmt: skip
    parser.add_argument("--words", action="store_true", help="the words stand between blanks and are not cut further")


def run(args: argparse.Namespace) -> int:
    """Word, tag and probability, a line each, as they come; an empty line after each sentence."""
    model = load(args.model)
    if not isinstance(model, Tagger):
        raise TaskError(
            f"{args.model}: `stream` knows taggers, got a model for {model.task!r}; name a file of `tidegate fit tag`"
        )
    stream = model.stream(args.look_ahead)
    for line in _lines():
        for word in line.split() if args.words else cut_words(line):
            _say(stream.push(word))
        for given in stream.finish():
            _say(given)
        print(flush=True)
    return 0


def _lines() -> Iterator[str]:
    """Standard input, line by line. Raises: DataError where it is no UTF-8."""
    number = 1
    try:
        for line in sys.stdin:
            line.encode()  # bytes that are no UTF-8 may have come as half letters
            yield line
            number += 1
    except UnicodeError as error:
        said = f"standard input: line {number}: expected UTF-8, got other bytes; re-encode the text and start again"
        raise DataError(said) from error


def _say(given: Given | None) -> None:
    if given is not None:
        print(f"{given.word}\t{given.tag}\t{given.probability:.3f}", flush=True)
