"""An embedding that starts at pretrained vectors, for every model of words. In: a file, a vocabulary. Out: rows, a note."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tidegate.data.vectors import read_vectors
from tidegate.data.vocabulary import Codes, Tokenizer, Units
from tidegate.errors import ConfigError, DataError
from tidegate.files import PathLike
from tidegate.models.base import data_hash
from tidegate.tasks.problem import GivenRows

EMBEDDING = "embedded.weight"  # the table of words in the tasks' nets


class EmbeddingStart(NamedTuple):
    """Where an embedding starts."""

    size: int  # numbers a word
    given: GivenRows
    note: str

    @property
    def sha256(self) -> str:
        """Of the rows, for what a checkpoint must have been made with."""
        return data_hash({"rows": self.given.rows, "values": self.given.values})


def check_vectors(units: Units) -> None:
    """Raises: ConfigError where the unit is no word."""
    if units not in ("word", "token"):
        raise ConfigError(
            f"vectors: are of words, and units={units!r} cuts texts into smaller parts; set units='word' or 'token'"
        )


def embedding_start(
    path: PathLike, tokenizer: Tokenizer, counts: Codes, embedding_dim: int | None, table: str = EMBEDDING
) -> EmbeddingStart:
    """The vectors of the vocabulary's words.

    Args:  counts: (V,) how often each code occurs in training. embedding_dim: as the options have it; None: as the file has it.
        table: the weights that start so.
    Raises: DataError for a file that cannot be read or has no word of the vocabulary; ConfigError where its numbers a word differ
        from embedding_dim.
    """
    found = read_vectors(path, tokenizer.tokens, lower=tokenizer.lower)
    name = Path(path).name
    if embedding_dim not in (None, found.size):
        raise ConfigError(
            f"embedding_dim: expected {found.size}, as the vectors of {name} are, got {embedding_dim}; set it so, or leave it out"
        )
    if not len(found.codes):
        raise DataError(
            f"{path}: expected vectors of words that the texts have, got none among {found.lines:,}; is it of another language, "
            "or does it write small what lower=False keeps large?"
        )
    share, tokens = len(found.codes) / len(tokenizer.tokens), int(counts[found.codes].sum()) / max(1, int(counts.sum()))
    note = (
        f"{len(found.codes):,} of {len(tokenizer.tokens):,} words ({100 * share:.1f} %, {100 * tokens:.1f} % of the training "
        f"tokens) started at the vectors of {name}"
    )
    if found.twice:
        note += f"; {found.twice:,} of them stand there more than once, and the first counted"
    return EmbeddingStart(found.size, GivenRows(table, found.codes, found.values), note)
