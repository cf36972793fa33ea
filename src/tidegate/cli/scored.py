"""What the commands that score a model on data share: flags of every task that scores, and which tasks read them."""

from __future__ import annotations

import argparse
from typing import cast

from tidegate.cli.common import text_or_whole
from tidegate.cli.pairs import PAIR_FLAGS, add_pair_columns
from tidegate.cli.texts import add_text_columns
from tidegate.tasks.text_scores import USUAL, Measure

SCORED = {
    "text": "classify", "label": "classify", "labels": "classify tag", "no_header": "classify translate", "reset": "generate",
    "column": "tag", "sentence_labels": "tag", "measures": "translate", **dict.fromkeys(PAIR_FLAGS, "translate"),
}  # fmt: skip  # flags that not every task reads


def add_scored(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Where labels, tags and targets stand, and by what is scored; the group of a tagger's flags."""
    add_text_columns(parser)
    group = parser.add_argument_group("of a tagger (and --labels)")
    group.add_argument("--column", type=text_or_whole, metavar="COLUMN", help="column of the tags, as for `fit tag`")
    group.add_argument("--sentence-labels", metavar="FILE", help="a file with a label of each whole sentence")
    add_pair_columns(parser, header=False)
    parser.add_argument("--measures", metavar="A,B,...", help=f"of a translator; default {','.join(USUAL)}; also ROUGE-1, -2, -L")
    parser.add_argument("--reset", action="store_true", help="a language model reads each line from the state that knows nothing")
    return group


def measures_of(args: argparse.Namespace) -> tuple[Measure, ...]:
    """The measures of a translator."""
    return USUAL if args.measures is None else cast("tuple[Measure, ...]", tuple(args.measures.split(",")))
