"""Pretrained word vectors from a text file. In: a path, a vocabulary. Out: the vectors of its words, and where each goes.

word2vec's and GloVe's text form: a word and its numbers a line, blanks or tabs between, with or without a first line of two whole
numbers (how many words, how many numbers each); plain or gzipped. The file is read line by line and only the vocabulary's words
are kept, so memory is the vocabulary's, whatever the file's size. Numbers of other words are counted, not read.
"""

from __future__ import annotations

import gzip
import math
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from tidegate.errors import DataError
from tidegate.files import PathLike

MOST_NUMBERS = 10_000  # of a word
LONGEST_LINE = 1 << 20  # bytes
MOST_VALUE = 1e30  # a larger number is no weight
REMEDY = "Give a text file of word2vec or GloVe: a word and its numbers a line."


class Vectors(NamedTuple):
    """The vectors of the vocabulary's words that the file has."""

    codes: npt.NDArray[np.int64]  # (N,) ascending: code k is word k - 1 of the vocabulary
    values: npt.NDArray[np.float32]  # (N, E)
    lines: int  # words in the file
    twice: int  # words of the vocabulary that stand there more than once; the first counts

    @property
    def size(self) -> int:
        """E, the numbers of a word."""
        return int(self.values.shape[1])


class _Row(NamedTuple):
    """A line that holds a word; `numbers` are read where the word is wanted."""

    line: int
    word: str
    numbers: bytes


def read_vectors(path: PathLike, words: Sequence[str], *, lower: bool = False) -> Vectors:
    """The vectors of `words`, code 1 first.

    Args:  lower: the words are lower-cased; where the file has a word with capitals alone, its first form counts.
    Raises: DataError that names the line: fewer numbers than the first word has, what is no finite number, text that is not
        UTF-8; a file that is cut, empty or has other than as many words as its first line says.
    """
    known = {word: code for code, word in enumerate(words, 1)}
    found: dict[int, npt.NDArray[np.float32]] = {}
    exact, twice = set[int](), set[int]()
    count, size = 0, 0
    for row in _rows(path):
        count, size = count + 1, size or row.numbers.count(b" ") + 1
        as_it_is = row.word in known
        code = known.get(row.word if as_it_is or not lower else row.word.lower())
        if code is None or (code in found and not as_it_is):
            continue
        if code in exact:
            twice.add(code)
            continue
        found[code] = _numbers(path, row)
        exact |= {code} if as_it_is else set()
    codes = np.array(sorted(found), np.int64)
    values = np.stack([found[code] for code in codes.tolist()]) if found else np.zeros((0, size), np.float32)
    return Vectors(codes, values, count, len(twice))


def _rows(path: PathLike) -> Iterator[_Row]:
    """The words of the file, each with as many numbers as the first. A word may hold blanks: its numbers are the last."""
    said: int | None = None
    size, count = 0, 0
    for number, line in _lines(path):
        blanks = line.count(b" ")
        if number == 1 and (header := _header(line)) is not None:
            said, size = header
            continue
        size = size or blanks
        if not 1 <= size <= MOST_NUMBERS:
            raise DataError(f"{path}: line {number}: expected a word and 1 to {MOST_NUMBERS:,} numbers, got {size:,}. {REMEDY}")
        if blanks < size or (said is not None and blanks > size):  # only files without a first line have words with blanks
            raise DataError(f"{path}: line {number}: expected a word and {size:,} numbers, got {blanks:,} numbers. {REMEDY}")
        parts = line.rsplit(b" ", size) if blanks > size else line.split(b" ", 1)
        count += 1
        yield _Row(number, _word(path, number, parts[0]), b" ".join(parts[1:]))
    if not count or (said is not None and count != said):
        expected = "at least one word" if said is None else f"{said:,} words, as the first line says"
        raise DataError(f"{path}: expected {expected}, got {count:,}; the file is empty, cut or altered. {REMEDY}")


def _lines(path: PathLike) -> Iterator[tuple[int, bytes]]:
    """Lines without their ends, tabs as blanks, counted from 1."""
    with _opened(path) as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE:
                raise DataError(f"{path}: line {number}: expected at most {LONGEST_LINE:,} bytes, got more. {REMEDY}")
            yield number, line.removeprefix(BOM_UTF8 if number == 1 else b"").replace(b"\t", b" ").rstrip(b" \r\n")


@contextmanager
def _opened(path: PathLike) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked. Raises: DataError, also for what goes wrong while it is read."""
    try:
        with Path(path).open("rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: expected a whole gzip file, got one cut short or altered ({error}). Fetch it again.") from error
    except (OSError, ValueError) as error:  # ValueError: a zero character in the path
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: the file cannot be read ({error}). Check the path and the rights.") from error


def _header(line: bytes) -> tuple[int, int] | None:
    """How many words and how many numbers each, where the line is two whole numbers."""
    fields = line.split()
    return (int(fields[0]), int(fields[1])) if len(fields) == 2 and all(f.isdigit() and len(f) < 12 for f in fields) else None


def _word(path: PathLike, number: int, word: bytes) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: line {number}, byte {error.start + 1}: expected UTF-8 text, got the byte 0x{word[error.start]:02X}. "
            "Re-encode the file as UTF-8; a binary word2vec file must be written as text first."
        ) from error


def _numbers(path: PathLike, row: _Row) -> npt.NDArray[np.float32]:
    """(E,) finite numbers."""
    values = []
    for place, text in enumerate(row.numbers.split(b" "), 1):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not abs(value) < MOST_VALUE:
            shown = text[:40].decode(errors="replace")
            raise DataError(
                f"{path}: line {row.line}: number {place} of {row.word!r}: expected a finite number, got {shown!r}. {REMEDY}"
            )
        values.append(value)
    return np.array(values, np.float32)
