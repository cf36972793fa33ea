"""Sentences of words, a tag each. In: CoNLL-U, CoNLL columns, line-parallel files, JSON lines, Python lists. Out: frozen Tagged.

Words and tags are what stands in the source; nothing is lowered, mapped or skipped but what the format itself sets apart
(comments, CoNLL-U's ranges 3-4 and empty nodes 5.1). Knows no scheme of tags; see schemes.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, final

from tidegate.data import textlines
from tidegate.data.faults import suggest
from tidegate.data.textlines import Places, Record, check_characters, is_blank, number_text
from tidegate.data.texts import listed, pairs_of
from tidegate.errors import ConfigError, DataError, nearest
from tidegate.files import PathLike

CONLLU = {"form": 1, "lemma": 2, "upos": 3, "xpos": 4, "feats": 5}  # counted from 0
CONLLU_WIDTH, UNER_WIDTH, UNER_TAG = 10, 5, 3
NOT_A_WORD = re.compile(r"\d+-\d+|\d+\.\d+")
NEWDOC = re.compile(r"#\s*newdoc\b")
DOCSTART = re.compile(r"-DOCSTART-(?:\s|$)")
BLANKS = re.compile(r"[ \t]+")


@final
@dataclass(frozen=True, eq=False)
class Tagged:
    """Sentences, their tags, and the document that each sentence stands in; at least one sentence, none of them empty.

    documents: numbers from 0, rising. Where the source marks no documents, every sentence is a document of its own.
    """

    sentences: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[str, ...], ...] | None
    documents: tuple[int, ...]
    source: str  # for messages
    places: Places = field(default_factory=Places)  # of the sentences
    word_lines: tuple[tuple[int, ...], ...] | None = None  # where each word stands on a line of its own

    def __post_init__(self) -> None:
        if not self.sentences:
            raise DataError(f"{self.source}: expected at least one sentence, got none. Check how it was made.")
        counts = {len(self.sentences), len(self.documents), len(self.sentences if self.tags is None else self.tags)}
        if len(counts) > 1:
            raise DataError(f"{self.source}: expected as many rows of tags and documents as sentences, got {sorted(counts)}.")
        for row, words in enumerate(self.sentences):
            tags = words if self.tags is None else self.tags[row]
            if len(words) != len(tags) or not words:
                got = f"{len(words)} words and {len(tags)} tags" if words or tags else "neither words nor tags"
                where = f"{self.source}: {self.places(row)}"
                raise DataError(f"{where}: expected as many tags as words, one at least, got {got}. Mend or remove the sentence.")
        check_characters([" ".join(words) for words in self.sentences], self.places, self.source)
        check_characters([" ".join(tags) for tags in self.tags or ()], self.places, self.source)

    def __len__(self) -> int:
        return len(self.sentences)

    def place(self, sentence: int, word: int | None = None) -> str:
        """Where a sentence or a word of it stands, for messages; both arguments are counted from 0.

        "line 12" of a file with a word a line; "line 3, word 5" of one with a sentence a line (both counted from 1); "row 2,
        word 4" of Python lists (both counted from 0, as in Python).
        """
        if self.word_lines is not None:
            return f"line {self.word_lines[sentence][word or 0]}"
        base = 0 if self.places.lines is None else 1
        return self.places(sentence) if word is None else f"{self.places(sentence)}, word {word + base}"


def read_tagged(source: object, *, column: str | int | None = None, labels: PathLike | None = None) -> Tagged:
    """Read sentences and the tags of their words.

    Args:
        source: a path, each also with .gz: .conllu; .jsonl with the keys tokens and tags; with `labels` a file of blank-separated
            words, a sentence a line; any other file is CoNLL columns. Or Python: a list of (words, tags), or of words alone.
        column: of CoNLL-U form, lemma, upos (default), xpos or feats; of JSON lines the key of the tags; of CoNLL columns the
            number of the tag's column, counted from 1 (default: the last). A number is good for CoNLL-U too.
        labels: a file of tags, as many on line n as there are words on line n of the source.
    CoNLL columns stand between tabs, or else between blanks; a blank line ends a sentence, -DOCSTART- a document. The word is in
    the first column and # is a word like any other; but where ids 1, 2, ... come first, as in Universal NER, the word is in the
    second, the tag (of five columns) in the third, # begins a comment, and `# newdoc` a document, as in CoNLL-U.
    The tags are None where the source has none: one column, CoNLL-U with _ in every upos, JSON lines without the key "tags".
    Raises: DataError if the source cannot be used as it stands; ConfigError if an option does not fit it.
    """
    if not isinstance(source, (str, os.PathLike)):
        if column is not None or labels is not None:
            raise ConfigError("column, labels: go with a file. Give Python data as a list of (words, tags).")
        return _from_python(listed(source, "data"))
    path = Path(source)
    if labels is not None:
        if column is not None:
            raise ConfigError(f"column={column!r}: a file of words with labels= has no columns. Leave one of the two out.")
        return _from_parallel(path, Path(labels))
    if path.name.lower().removesuffix(".gz").endswith(".conllu"):
        return _from_conllu(path, column)
    return _from_records(path, column) if textlines.kind_of(path) == "jsonl" else _from_columns(path, column)


class _Layout(NamedTuple):
    """How the lines of a CoNLL file are made; columns are counted from 0."""

    split: Callable[[str], list[str]]
    width: int
    word: int
    tag: int
    has_ids: bool  # words are numbered 1, 2, ... in the first column, and # begins a comment


@final
class _Builder:
    """Sentences as they grow line by line."""

    def __init__(self) -> None:
        self.words: list[tuple[str, ...]] = []
        self.tags: list[tuple[str, ...]] = []
        self.lines: list[tuple[int, ...]] = []
        self.documents: list[int] = []
        self._open: list[tuple[str, str, int]] = []  # word, tag, line
        self._document = 0
        self._marked = False

    @property
    def next_id(self) -> str:
        return str(len(self._open) + 1)

    def add(self, word: str, tag: str, line: int) -> None:
        self._open.append((word, tag, line))

    def end_sentence(self) -> None:
        if self._open:
            words, tags, lines = zip(*self._open, strict=True)
            self.words.append(words)
            self.tags.append(tags)
            self.lines.append(lines)
            self.documents.append(self._document)
            self._open = []

    def new_document(self) -> None:
        """Begin a document; one without sentences is none."""
        self.end_sentence()
        self._marked = True
        self._document = self.documents[-1] + 1 if self.documents else 0

    def tagged(self, path: Path, has_tags: bool) -> Tagged:
        documents = self.documents if self._marked else range(len(self.words))
        places = Places(lines=[lines[0] for lines in self.lines])
        tags = tuple(self.tags) if has_tags else None
        return Tagged(tuple(self.words), tags, tuple(documents), str(path), places, tuple(self.lines))


def _build(path: Path, lines: Sequence[str], layout: _Layout) -> _Builder:
    built = _Builder()
    for number, line in enumerate(lines, 1):
        if is_blank(line):
            built.end_sentence()
        elif DOCSTART.match(line) or (layout.has_ids and NEWDOC.match(line)):
            built.new_document()
        elif not (layout.has_ids and line.startswith("#")):
            _add(built, layout, line, number, f"{path}: line {number}")
    built.end_sentence()
    return built


def _add(built: _Builder, layout: _Layout, line: str, number: int, where: str) -> None:
    """Add a word's line; ranges and empty nodes are none."""
    fields = layout.split(line)
    if len(fields) != layout.width:
        got = f"expected {layout.width} columns as before, got {len(fields)}"
        raise DataError(f"{where}: {got}. Mend the line; remove it if it is no word.")
    if layout.has_ids and NOT_A_WORD.fullmatch(fields[0]):
        return
    if layout.has_ids and fields[0] != built.next_id:
        got = f"expected the id {built.next_id}, got {fields[0]!r}"
        raise DataError(f"{where}: {got}. Is a blank line between sentences missing?")
    word, tag = fields[layout.word], fields[layout.tag]
    if not word or not tag:
        raise DataError(f"{where}: expected a word and a tag, got an empty field. Mend the line.")
    built.add(word, tag, number)


def _from_conllu(path: Path, column: str | int | None) -> Tagged:
    name = "upos" if column is None else column
    if isinstance(name, str) and name not in CONLLU:
        raise ConfigError(f"column={name!r}: expected form, lemma, upos, xpos or feats; {nearest(name, CONLLU)}")
    tag_at = CONLLU[name] if isinstance(name, str) else _checked(name, CONLLU_WIDTH)
    built = _build(path, textlines.read_lines(path), _Layout(_fields, CONLLU_WIDTH, CONLLU["form"], tag_at, has_ids=True))
    has_tags = any(tag != "_" for tags in built.tags for tag in tags) or tag_at in (CONLLU["form"], CONLLU["lemma"])
    if built.words and not has_tags and column is not None:
        raise DataError(f"{path}: column {column!r}: expected tags, got _ (none) at every word. Name another column.")
    return built.tagged(path, has_tags)


def _from_columns(path: Path, column: str | int | None) -> Tagged:
    if isinstance(column, str):
        raise ConfigError(f"column={column!r}: the columns of this file have no names. Give a number, counted from 1.")
    lines = textlines.read_lines(path)
    layout = _layout(lines, column, path)
    return _build(path, lines, layout).tagged(path, has_tags=column is not None or layout.width > 1)


def _layout(lines: Sequence[str], column: int | None, path: Path) -> _Layout:
    """The layout that the first word's line shows: tabs or blanks, how many columns, and whether ids come first."""
    has_ids = _has_ids(lines)
    words = (line for line in lines if not (is_blank(line) or DOCSTART.match(line) or (has_ids and line.startswith("#"))))
    first = next(words, "x")
    split = _fields if "\t" in first else _words
    width = len(split(first))
    if has_ids and column is None and width != UNER_WIDTH:
        expected = f"the number of the tag's column, 1 to {width}, as ids come first"
        raise ConfigError(f"{path}: column: expected {expected}, got none. CoNLL-U, where it is known, ends in .conllu.")
    last = UNER_TAG if has_ids else width
    return _Layout(split, width, 1 if has_ids else 0, _checked(last if column is None else column, width), has_ids)


def _checked(column: int, width: int) -> int:
    """The place of a column, counted from 0."""
    if isinstance(column, bool) or not 1 <= column <= width:
        raise ConfigError(f"column={column!r}: expected a number from 1 to {width}, the columns of this file")
    return column - 1


def _has_ids(lines: Sequence[str]) -> bool:
    """Whether the file's words have numbers: most sentences begin with the field 1, and a tab and two more fields follow."""
    words = ["" if is_blank(line) or DOCSTART.match(line) else line for line in lines if not line.startswith("#")]
    firsts = [line for before, line in zip(["", *words], words, strict=False) if line and not before]
    numbered = sum(line.startswith("1\t") and line.count("\t") > 1 for line in firsts)
    return numbered * 2 > len(firsts)


def _fields(line: str) -> list[str]:
    """What stands between tabs."""
    return line.split("\t")


def _words(line: str) -> list[str]:
    """What stands between blanks and tabs; other white space (U+00A0, U+3000) is part of a word."""
    line = line.strip(" \t")
    return BLANKS.split(line) if line else []


def _from_parallel(path: Path, labels: Path) -> Tagged:
    lines, marks = textlines.read_parallel(path, labels)
    source, places = f"{path} with {labels}", Places(lines=range(1, len(lines) + 1))
    return _unmarked([tuple(_words(line)) for line in lines], [tuple(_words(line)) for line in marks], source, places)


def _from_records(path: Path, column: str | int | None) -> Tagged:
    if isinstance(column, int):
        raise ConfigError(f"column={column!r}: the keys of JSON lines have names. Give the name of the tags' key.")
    records = textlines.read_records(path)
    key = column or "tags"
    has_tags = column is not None or any(key in record.fields for record in records)
    sentences = [_values(path, record, "tokens") for record in records]
    tags = [_values(path, record, key) for record in records] if has_tags else None
    return _unmarked(sentences, tags, str(path), Places(lines=[record.line for record in records]))


def _values(path: Path, record: Record, key: str) -> tuple[str, ...]:
    where = f"{path}: line {record.line}"
    if key not in record.fields:
        raise DataError(f"{where}: there is no key {key!r}. {suggest(key, record.fields)}")
    return _strings(record.fields[key], f"{where}: {key!r}")


def _strings(values: object, where: str) -> tuple[str, ...]:
    """A list of texts; a number in it is its shortest text."""
    if not isinstance(values, (list, tuple)):
        raise DataError(f"{where}: expected a list of texts, got {type(values).__name__}. Mend the sentence.")
    texts = [value if isinstance(value, str) else number_text(value) for value in values]
    odd = next((k for k, text in enumerate(texts) if not text), None)
    if odd is not None:
        got = repr(values[odd])[:40]
        raise DataError(f"{where}: expected texts that are not empty, got {got} at place {odd}. Mend the sentence.")
    return tuple(map(str, texts))


def _from_python(items: Sequence[object]) -> Tagged:
    """A list of (words, tags), or of words alone: the first says which."""
    first = items[0] if items else None
    if isinstance(first, (list, tuple)) and len(first) == 2 and all(isinstance(part, (list, tuple)) for part in first):
        source = "list of (words, tags)"
        words, tags = pairs_of(items, "words, tags")
        parsed = [_strings(item, f"{source}: row {row}: tags") for row, item in enumerate(tags)]
    else:
        source, words, parsed = "list of words", list(items), None
    return _unmarked([_strings(item, f"{source}: row {row}") for row, item in enumerate(words)], parsed, source, Places())


def _unmarked(
    sentences: Sequence[tuple[str, ...]], tags: Sequence[tuple[str, ...]] | None, source: str, places: Places
) -> Tagged:
    """Sentences without marks of documents."""
    return Tagged(tuple(sentences), None if tags is None else tuple(tags), tuple(range(len(sentences))), source, places)
