"""pairs.py: two texts that belong together, from two files, from two columns and from Python."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tidegate.data.pairs import Pairs, read_pairs
from tidegate.errors import ConfigError, DataError

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data sets")


def write(folder: Path, data: str, name: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(data.encode()) if name.endswith(".gz") else data.encode())
    return path


def test_two_files(tmp_path: Path) -> None:
    pairs = read_pairs(write(tmp_path, "a\u2028b\n\n c \n", "t.en"), str(write(tmp_path, "A\r\nB\r\nC", "t.de.gz")))
    assert pairs.sources == ("a\u2028b", "", " c ")
    assert pairs.targets == ("A", "B", "C")
    assert pairs.place(2) == "line 3"
    assert pairs.notes == ("source: empty texts: 1, the first at line 2",)


def test_files_of_unequal_length_are_both_named(tmp_path: Path) -> None:
    source, target = write(tmp_path, "a\nb\n", "t.en"), write(tmp_path, "A\nB\nC\n", "t.de")
    with pytest.raises(DataError) as caught:
        read_pairs(source, target)
    assert f"{source} has 2 lines, and {target} has 3" in str(caught.value)


def test_two_columns_without_a_header(tmp_path: Path) -> None:
    pairs = read_pairs(write(tmp_path, 'Go.\tVa !\n"Hi" he said\tSalut\n', "t.tsv.gz"), header=False)
    assert pairs.sources == ("Go.", '"Hi" he said')
    assert pairs.targets == ("Va !", "Salut")
    assert pairs.place(1) == "line 2"
    assert pairs.notes == ("the source is column '1', the target is column '2'",)


def test_columns_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, 'id,fr,en\n1,"Va, va",Go\n', "t.csv")
    pairs = read_pairs(path, from_column="en", to_column="fr")
    assert (pairs.sources, pairs.targets) == (("Go",), ("Va, va",))
    for names in ({}, {"from_column": "en"}):
        with pytest.raises(DataError, match=r"from_column and to_column.*Columns: 'id', 'fr', 'en'"):
            read_pairs(path, **names)
    with pytest.raises(DataError, match="there is no column 'de'"):
        read_pairs(path, from_column="en", to_column="de")


def test_json_lines_join_the_source_and_take_the_first_target(tmp_path: Path) -> None:
    records = [{"s": ["One.", "Two."], "t": ["first", "second"]}, {"s": "x", "t": "y"}]
    path = write(tmp_path, "".join(json.dumps(record) + "\n" for record in records), "t.jsonl")
    pairs = read_pairs(path, from_column="s", to_column="t")
    assert pairs.sources == ("One. Two.", "x")
    assert pairs.targets == ("first", "y")


def test_a_record_without_a_target_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, '{"s": "a", "t": "b"}\n{"s": "a", "t": []}\n{"s": "a"}\n', "t.jsonl")
    with pytest.raises(DataError) as caught:
        read_pairs(path, from_column="s", to_column="t")
    assert "line 2: 't': expected text, got list '[]'" in str(caught.value)
    assert "line 3: 't': expected text, got an object without this key" in str(caught.value)


@pytest.mark.parametrize(
    "source", [([("a", "A"), ("b", "B")], None), (["a", "b"], ["A", "B"]), ({"en": ["a", "b"], "de": ["A", "B"]}, None)]
)
def test_python_data(source: tuple[object, object]) -> None:
    pairs = read_pairs(*source)
    assert pairs.sources == ("a", "b")
    assert pairs.targets == ("A", "B")
    assert pairs.place(1) == "row 1"


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ([("a", "A"), ("b",)], None, "row 1: expected a pair"),
        (["a", "b"], ["A"], "2 sources and 1 targets"),
        ([("a", None)], None, "row 0: 'target': expected text, got a missing value"),
        ([("a", "\udc80")], None, "row 0: expected text, got the character U+DC80"),
        ([], None, "got none"),
    ],
)
def test_python_data_that_cannot_be_used(source: object, target: object, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read_pairs(source, target)
    assert said in str(caught.value)


def test_options_that_do_not_fit_the_source(tmp_path: Path) -> None:
    lines = write(tmp_path, "a\n", "t.txt")
    with pytest.raises(ConfigError, match="target: expected a second file"):
        read_pairs(lines)
    with pytest.raises(ConfigError, match="no named columns"):
        read_pairs(lines, lines, from_column="a")
    with pytest.raises(ConfigError, match="header=False"):
        read_pairs(lines, lines, header=False)


def test_pairs_are_checked_when_made() -> None:
    with pytest.raises(DataError, match="1 sources and 2 targets"):
        Pairs(("a",), ("A", "B"), "here")


@needs_data
def test_multi30k() -> None:
    pairs = read_pairs(DATA / "multi30k" / "train.en.gz", DATA / "multi30k" / "train.de.gz")
    assert len(pairs) == 29_000
    assert pairs.notes == ()


@needs_data
def test_tatoeba() -> None:
    pairs = read_pairs(DATA / "tatoeba_eng_fra" / "eng-fra.tsv.gz", header=False)
    assert len(pairs) == 142_787
    assert (pairs.sources[0], pairs.targets[0]) == ("Go.", "Va !")


@needs_data
def test_scitldr() -> None:
    pairs = read_pairs(DATA / "scitldr" / "train.jsonl.gz", from_column="source", to_column="target")
    assert len(pairs) == 1992
    assert pairs.notes == ()
