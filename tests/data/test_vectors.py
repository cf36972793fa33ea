"""Word vectors from text files: every form that they come in, and every line that is none."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.data.vectors import read_vectors
from tidegate.errors import DataError

GLOVE = "the 0.1 -2 3e-1\ncat 1 2 3\nof 4 5 6\n"


def written(place: Path, text: str | bytes, name: str = "v.txt") -> Path:
    path = place / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        GLOVE,
        "3 3\n" + GLOVE,
        GLOVE.replace("\n", " \n"),
        GLOVE.replace(" ", "\t"),
        GLOVE.replace("\n", "\r\n"),
        GLOVE.removesuffix("\n"),
        "\ufeff" + GLOVE,
    ],
    ids=["glove", "word2vec", "blanks at the end", "tabs", "Windows", "no last line end", "byte order mark"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_form_is_read(text: str, packed: bool, tmp_path: Path) -> None:
    body = gzip.compress(text.encode()) if packed else text.encode()
    found = read_vectors(written(tmp_path, body), ("cat", "dog", "the"))
    assert found.codes.tolist() == [1, 3]
    np.testing.assert_array_equal(found.values, np.array([[1, 2, 3], [0.1, -2, 0.3]], np.float32))
    assert (found.lines, found.twice, found.size) == (3, 0, 3)


def test_a_word_may_hold_blanks(tmp_path: Path) -> None:
    path = written(tmp_path, "the 1 2\n. . . 3 4\nat a@b.c 5 6\n")
    assert read_vectors(path, (". . .", "at a@b.c")).values.tolist() == [[3, 4], [5, 6]]


def test_words_that_stand_twice_are_stated_and_the_first_counts(tmp_path: Path) -> None:
    found = read_vectors(written(tmp_path, "a 1\nb 2\na 3\na 4\nzz 5\nzz 6\n"), ("a", "b"))
    assert found.values.tolist() == [[1], [2]]
    assert found.twice == 1
    assert found.lines == 6


@pytest.mark.parametrize("order", [("Paris", "paris"), ("paris", "Paris")])
def test_a_lower_cased_vocabulary_takes_capitals_where_there_is_nothing_else(order: tuple[str, ...], tmp_path: Path) -> None:
    values = {"Paris": 1.0, "paris": 2.0, "ROME": 3.0, "Rome": 4.0}
    path = written(tmp_path, "".join(f"{word} {values[word]}\n" for word in (*order, "ROME", "Rome")))
    found = read_vectors(path, ("paris", "rome"), lower=True)
    assert found.values.tolist() == [[2.0], [3.0]]
    assert found.twice == 0
    assert read_vectors(path, ("paris", "rome")).codes.tolist() == [1]


WRONG = {
    "too few": (GLOVE + "x 1 2\n", "line 4: expected a word and 3 numbers, got 2 numbers"),
    "a word alone": ("the\n", "line 1: expected a word and 1 to 10,000 numbers, got 0"),
    "an empty line": (GLOVE + "\nx 1 2 3\n", "line 4: expected a word and 3 numbers, got 0 numbers"),
    "no number": ("cat 1 x 3\n", "line 1: number 2 of 'cat': expected a finite number, got 'x'"),
    "nan": ("the 1 2\ncat 1 nan\n", "line 2: number 2 of 'cat': expected a finite number, got 'nan'"),
    "inf": ("cat 1e400 2\n", "line 1: number 1 of 'cat': expected a finite number, got '1e400'"),
    "two blanks": ("the 1 2\ncat 1  2\n", "number 1 of"),
    "fewer words than said": ("4 3\n" + GLOVE, "expected 4 words, as the first line says, got 3"),
    "more words than said": ("2 3\n" + GLOVE, "expected 2 words, as the first line says, got 3"),
    "other numbers than said": ("3 2\n" + GLOVE, "line 2: expected a word and 2 numbers, got 3 numbers"),
    "empty": ("", "expected at least one word, got 0"),
    "a header alone": ("5 3\n", "expected 5 words"),
    "Latin-1": (GLOVE.encode() + b"caf\xe9 1 2 3\n", "line 4, byte 4: expected UTF-8 text, got the byte 0xE9"),
    "cut gzip": (gzip.compress(GLOVE.encode() * 50)[:-12], "expected a whole gzip file"),
    "a binary file": (b"3 3\nthe \x00\x80\x3f" * 40, "line 2"),
    "one long line": (b"cat" + b" 1" * (1 << 19) + b" 1\n", "line 1: expected at most 1,048,576 bytes, got more"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_file_of_vectors_is_refused_by_line(case: str, tmp_path: Path) -> None:
    text, said = WRONG[case]
    path = written(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_vectors(path, ("cat", "cat 1"))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the file cannot be read"):
        read_vectors(tmp_path / "no.txt", ("a",))
    with pytest.raises(DataError, match="the file cannot be read"):
        read_vectors(tmp_path, ("a",))


def test_memory_is_the_vocabularys(tmp_path: Path) -> None:
    """A file of 12 MB, of which ten words are wanted."""
    line = " ".join(["0.123456"] * 100)
    path = written(tmp_path, "".join(f"w{k} {line}\n" for k in range(13_000)))
    tracemalloc.start()
    found = read_vectors(path, tuple(f"w{k * 1000}" for k in range(10)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.values.shape == (10, 100)
    assert peak < 500_000 < path.stat().st_size / 20


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_vectors_or_a_data_error(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(body)
    with contextlib.suppress(DataError):
        found = read_vectors(path, ("a", "b"), lower=True)
        assert found.values.shape[0] == len(found.codes) <= 2
        assert np.isfinite(found.values).all()
