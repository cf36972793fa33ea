"""Texts, with or without a label each. In: a file, a folder, a frame or Python lists. Out: frozen Texts with their places.

A text is what stands in the source, to the last blank: nothing is trimmed, and "NA" in a file is a text or a label like any
other. Splits no text into tokens and numbers no label.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

import numpy as np

from tidegate.data import frames, textlines
from tidegate.data.columns import Encoded, column_from_texts, parse_numbers
from tidegate.data.faults import Faults, suggest
from tidegate.data.table import Table, read_table
from tidegate.data.textlines import Places, check_characters, number_text
from tidegate.errors import ConfigError, DataError
from tidegate.files import PathLike

ABSENT: Final = object()  # in place of the value of a key that a JSON object does not have


@final
@dataclass(frozen=True, eq=False)
class Texts:
    """Texts and, where the source has them, one label each; at least one text."""

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    source: str  # for messages: the file, the folder, "pandas frame", ...
    places: Places = field(default_factory=Places)
    notes: tuple[str, ...] = ()  # what the reader decided or passed over

    def __post_init__(self) -> None:
        if self.labels is not None and len(self.labels) != len(self.texts):
            got = f"{len(self.texts):,} texts and {len(self.labels):,} labels"
            raise DataError(f"{self.source}: expected one label a text, got {got}. Make them equally long.")
        if not self.texts:
            raise DataError(f"{self.source}: expected at least one text, got none. Check how it was made.")
        check_characters(self.texts, self.places, self.source)
        check_characters(self.labels or (), self.places, self.source)

    def __len__(self) -> int:
        return len(self.texts)

    def place(self, row: int) -> str:
        """Where a text stands, for messages: "line 12", "Arabic.txt, line 3", "neg/12.txt", or "row 7", counted from 0."""
        return self.places(row)


@final
@dataclass(frozen=True, eq=False)
class Fields:
    """Named columns of what a source holds, and their values as texts or labels when asked for."""

    columns: Mapping[str, Sequence[object]]
    source: str
    places: Places
    notes: tuple[str, ...] = ()
    untyped: bool = False  # every value is the text of a file, numbers too
    left_out: Mapping[str, str] = field(default_factory=dict)  # columns of a type that cannot be used -> the type

    def text_names(self) -> list[str]:
        """The columns whose values are texts, not numbers."""
        return [name for name, values in self.columns.items() if self._is_text(values)]

    def _is_text(self, values: Sequence[object]) -> bool:
        if self.untyped:
            return isinstance(column_from_texts([v for v in values if isinstance(v, str)]), Encoded)
        first = next((v for v in values if v is not None and v is not ABSENT), None)
        return isinstance(first, str) or (isinstance(first, (list, tuple)) and all(isinstance(v, str) for v in first))

    def texts(self, name: str, *, first: bool = False) -> tuple[str, ...]:
        """A column as texts: a number is its shortest text, a list of texts is joined by blanks, or its first is taken.

        Raises: DataError if there is no such column, or a value is missing or of another kind.
        """
        return self._told(name, [_text(value, first) for value in self._column(name)], "text")

    def labels(self, name: str) -> tuple[str, ...]:
        """A column as labels: a column of numbers as their shortest texts ("1" of 1.0), text as it stands.

        Raises: DataError if there is no such column, or a value is missing, empty or of another kind.
        """
        labels = [v if isinstance(v, str) else number_text(v) for v in self._column(name)]
        labels = [label if label is not None and label.strip() else None for label in labels]
        found = self._told(name, labels, "a label")
        return _shortest(found) if self.untyped else found

    def _column(self, name: str) -> Sequence[object]:
        if name in self.left_out:
            raise DataError(f"{self.source}: column {name!r}: expected text or numbers, got {self.left_out[name]}. Convert it.")
        if name not in self.columns:
            raise DataError(f"{self.source}: there is no column {name!r}. {suggest(name, self.columns)}")
        return self.columns[name]

    def _told(self, name: str, texts: Sequence[str | None], expected: str) -> tuple[str, ...]:
        """The texts, if there is one in every row."""
        faults = Faults(self.source)
        for row in (row for row, text in enumerate(texts) if text is None):
            what = f"{name!r}: expected {expected}, got {_shown(self.columns[name][row])}"
            faults.add(what, self.places(row), "Mend or remove the row.")
        faults.raise_any()
        return tuple(str(text) for text in texts)


def read_texts(
    source: object, *, text: str | None = None, label: str | None = None, labels: PathLike | None = None, header: bool = True
) -> Texts:
    """Read texts, and their labels where there are any.

    Args:
        source: .csv, .tsv, .parquet or .jsonl (each column or key by its name), any other file (one text a line), each also
            with .gz; a folder with one .txt a class and one text a line (the file's name is the label), or one subfolder a class
            and one file a text; a frame, a Table or a mapping of columns; a list of texts or of (text, label), or a tuple
            (texts, labels) of two lists.
        text: the column of the texts; without it, the only column of text beside the label. In JSON lines and Python a list of
            texts is one text, joined by blanks.
        label: the column of the labels; without it there are none. A column of numbers gives their shortest texts: "0", "1".
        labels: a second file, whose line n is the label of line n of a source of plain lines.
        header: False for CSV or TSV whose first line is a row; the columns are then called "1", "2", ...
    An empty text is kept and counted in `notes`, except that a blank line of a file with one text a line is none; with `labels`
    such a line is an empty text, as it has a label.
    Raises: DataError if the source cannot be used as it stands; ConfigError if an option does not fit it.
    """
    path = Path(source) if isinstance(source, (str, os.PathLike)) else None
    kind = "folder" if path is not None and path.is_dir() else has_fields(source)
    _check_options(kind, text, label, labels, header)
    if path is not None and kind == "folder":
        return _from_folder(path)
    if path is not None and kind is None:
        return _from_lines(path) if labels is None else _from_parallel(path, Path(labels))
    return _from_fields(read_fields(source, header), text, label) if kind else _from_python(source)


def has_fields(source: object) -> str | None:
    """The kind of a source of named columns or keys ("csv", "tsv", "jsonl", "parquet", "table"); None if it is no such source."""
    if isinstance(source, (str, os.PathLike)):
        kind = textlines.kind_of(Path(source))
        return None if kind == "lines" else kind
    return "table" if isinstance(source, (Table, Mapping)) or frames.library_of(source) else None


def read_fields(source: object, header: bool = True) -> Fields:
    """The columns of a source of which `has_fields` is true."""
    kind = has_fields(source)
    if isinstance(source, (str, os.PathLike)) and kind in ("csv", "tsv"):
        found = textlines.read_delimited(Path(source), header)
        return Fields(found.columns, str(source), Places(lines=found.lines), found.notes, untyped=True)
    if isinstance(source, (str, os.PathLike)) and kind == "jsonl":
        records = textlines.read_records(source)
        names = dict.fromkeys(name for record in records for name in record.fields)
        columns = {name: [record.fields.get(name, ABSENT) for record in records] for name in names}
        return Fields(columns, str(source), Places(lines=[record.line for record in records]))
    table = read_table(source)
    # A float32 keeps its type, since its shortest text is its own; so do instants, which are neither text nor numbers.
    values = {n: list(c) if (c := table[n]).dtype == np.float32 or c.dtype.kind == "M" else c.tolist() for n in table.names}
    lines = [int(table.place(row).removeprefix("line ")) for row in range(len(table))] if table.kind == "csv" else None
    return Fields(values, table.source, Places(lines=lines), table.notes, left_out=table.left_out)


def listed(values: object, what: str) -> list[object]:
    """A list, a tuple, an array or a series as a list; DataError for anything else."""
    for method in ("tolist", "to_list", "to_pylist"):
        convert = getattr(values, method, None)
        if callable(convert):
            return listed(convert(), what)
    if not isinstance(values, (list, tuple)):
        raise DataError(
            f"{what}: expected a list, got {type(values).__name__}. Make it a list; a file or folder is given as a path."
        )
    return list(values)


def empty_note(texts: Iterable[str], places: Places) -> tuple[str, ...]:
    """A note that counts the texts that are empty or blank, or none."""
    rows = [row for row, text in enumerate(texts) if not text.strip()]
    return (f"empty texts: {len(rows):,}, the first at {places(rows[0])}",) if rows else ()


def _check_options(kind: str | None, text: str | None, label: str | None, labels: PathLike | None, header: bool) -> None:
    wrong = [f"{n}={v!r}" for n, v in (("text", text), ("label", label)) if v is not None and kind in (None, "folder")]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)}: this source has no named columns. Leave it out; labels of lines: labels=FILE.")
    if labels is not None and kind is not None:
        raise ConfigError(f"labels={os.fspath(labels)!r}: goes with a file of one text a line. Here name a column: label=NAME.")
    if not header and kind not in ("csv", "tsv"):
        raise ConfigError("header=False: goes with CSV and TSV alone. Leave it out; a file of that kind ends in .csv or .tsv.")


def _from_fields(fields: Fields, text: str | None, label: str | None) -> Texts:
    labels = None if label is None else fields.labels(label)
    notes = fields.notes
    if text is None:
        text = _only_text(fields, label)
        notes += (f"the text is column {text!r}",)
    texts = fields.texts(text)
    return Texts(texts, labels, fields.source, fields.places, notes + empty_note(texts, fields.places))


def _only_text(fields: Fields, label: str | None) -> str:
    names = [name for name in fields.text_names() if name != label]
    if len(names) != 1:
        many = f"{len(names)} columns of text" if names else "no column of text"
        known = ", ".join(repr(name)[:60] for name in list(fields.columns)[:12])
        raise DataError(f"{fields.source}: expected the name of the text's column, got {many}. Say text=; columns: {known}.")
    return names[0]


def _from_lines(path: Path) -> Texts:
    texts, places, notes = _filled_lines(path)
    return Texts(texts, None, str(path), places, notes)


def _filled_lines(path: Path) -> tuple[tuple[str, ...], Places, tuple[str, ...]]:
    """The lines that are not blank, and a note on those that are."""
    lines = textlines.read_lines(path)
    kept = [number for number, line in enumerate(lines, 1) if not textlines.is_blank(line)]
    if not kept:
        raise DataError(f"{path}: expected one text a line, got blank lines alone. Check how the file was written.")
    blank = len(lines) - len(kept)
    notes = (f"{path.name}: blank lines passed over: {blank:,}",) if blank else ()
    return tuple(lines[number - 1] for number in kept), Places(lines=kept), notes


def _from_parallel(path: Path, labels: Path) -> Texts:
    lines, marks = textlines.read_parallel(path, labels)
    places = Places(lines=range(1, len(lines) + 1))
    found = Fields({labels.name: marks}, str(labels), places, untyped=True).labels(labels.name)
    return Texts(tuple(lines), found, str(path), places, empty_note(lines, places))


def _from_folder(folder: Path) -> Texts:
    """One .txt a class, or one subfolder a class; names that begin with a dot are the system's and passed over."""
    entries = _entries(folder)
    classes = [path for path in entries if path.is_dir()]
    files = [path for path in entries if path.is_file() and path.name.removesuffix(".gz").endswith(".txt")]
    if classes and files:
        raise DataError(
            f"{folder}: expected one .txt a class or one subfolder a class, got both: {files[0].name}, {classes[0].name}/. "
            "Move one kind elsewhere."
        )
    if not classes and not files:
        raise DataError(f"{folder}: expected one .txt a class, or one subfolder a class, got neither. Check the path.")
    odd = [path.name for path in entries if path not in classes and path not in files]
    notes = (f"passed over, as they are no .txt: {', '.join(odd[:8])}",) if odd else ()
    return _class_folders(folder, classes, notes) if classes else _class_files(folder, files, notes)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: path.name)
    except OSError as e:
        raise DataError(f"{folder}: the folder cannot be read ({e.strerror or e}). Check the path and the rights.") from e


def _class_files(folder: Path, files: Sequence[Path], notes: tuple[str, ...]) -> Texts:
    rows: list[tuple[str, str, str, int]] = []  # text, label, file, line
    for path in files:
        name = path.name.removesuffix(".gz").removesuffix(".txt")
        if rows and rows[-1][1] == name:  # the two stand beside each other in the order of names
            raise DataError(f"{folder}: expected one file a class, got {rows[-1][2]} and {path.name}. Remove one of them.")
        texts, places, blank = _filled_lines(path)
        notes += blank
        rows += [(text, name, path.name, line) for text, line in zip(texts, places.lines or (), strict=True)]
    texts, labels, sources, lines = zip(*rows, strict=True)
    return Texts(texts, labels, str(folder), Places(sources, lines), notes)


def _class_folders(folder: Path, classes: Sequence[Path], notes: tuple[str, ...]) -> Texts:
    inside = {path: _entries(path) for path in classes}
    empty = next((path for path, entries in inside.items() if not entries), None)
    if empty is not None:
        raise DataError(f"{empty}: expected one file a text in a class's folder, got an empty folder. Fill or remove it.")
    files = [(entry, path.name) for path, entries in inside.items() for entry in entries]
    nested = next((path for path, _ in files if path.is_dir()), None)
    if nested is not None:
        raise DataError(f"{nested}: expected one file a text in a class's folder, got a folder. Move its files one level up.")
    texts = tuple("\n".join(textlines.read_lines(path)) for path, _ in files)
    places = Places(files=[f"{label}/{path.name}" for path, label in files])
    return Texts(texts, tuple(label for _, label in files), str(folder), places, notes + empty_note(texts, places))


def _from_python(source: object) -> Texts:
    if isinstance(source, tuple) and len(source) == 2 and not any(isinstance(part, (str, tuple)) for part in source):
        return _from_columns((listed(source[0], "texts"), listed(source[1], "labels")), "(texts, labels)")
    items = listed(source, "data")
    if all(isinstance(item, str) for item in items):
        return _from_columns((items,), "list of texts")
    return _from_columns(pairs_of(items, "text, label"), "list of (text, label)")


def pairs_of(items: Sequence[object], names: str) -> tuple[list[object], list[object]]:
    """The firsts and the seconds of a list of pairs; DataError names the first row that is none."""
    odd = next((row for row, item in enumerate(items) if not isinstance(item, (tuple, list)) or len(item) != 2), None)
    if odd is not None:
        raise DataError(f"list of ({names}): row {odd}: expected a pair ({names}), got {_shown(items[odd])}. Mend the row.")
    rows = [tuple(item) for item in items if isinstance(item, (tuple, list))]
    return [a for a, _ in rows], [b for _, b in rows]


def _from_columns(columns: Sequence[Sequence[object]], source: str) -> Texts:
    fields = Fields(dict(zip(("text", "label"), columns, strict=False)), source, Places())
    return _from_fields(fields, "text", "label" if len(columns) > 1 else None)


def _shortest(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The shortest texts of a column of numbers; text, and numbers that a float cannot tell apart, as they stand."""
    numbers = parse_numbers(texts)
    if numbers is None or not np.isfinite(numbers).all() or (numbers.dtype.kind == "f" and (abs(numbers) >= 2**53).any()):
        return texts
    return tuple(map(str, map(number_text, numbers.tolist())))


def _text(value: object, first: bool) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value):
        return (value[0] if value else None) if first else " ".join(value)
    return number_text(value)


def _shown(value: object) -> str:
    if value is ABSENT:
        return "an object without this key"
    if value is None or (isinstance(value, float) and value != value):
        return "a missing value"
    return f"{type(value).__name__} {str(value)[:40]!r}"
