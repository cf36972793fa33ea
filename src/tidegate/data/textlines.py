"""Text files as lines, delimited fields and JSON records. In: a path, plain or gzipped. Out: texts and the line each stands on.

Strict: the file is UTF-8 (with or without a byte order mark), only \\n, \\r\\n and \\r end a line, and whatever is not so is a
DataError that names file, line and remedy. Gives no line, field or key a meaning; see texts.py, tagged.py and pairs.py.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn, TypeAlias, final

import numpy as np

from tidegate.data.columns import NUMBER
from tidegate.data.csvfile import DELIMITERS
from tidegate.data.faults import Faults
from tidegate.errors import DataError
from tidegate.files import PathLike

Kind: TypeAlias = Literal["csv", "tsv", "jsonl", "parquet", "lines"]
SUFFIXES: dict[str, Kind] = {
    ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".pq": "parquet",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
}  # fmt: skip
CSV_QUOTED = re.compile(r'"(?:[^"]|"")+"')
EXACT_WHOLE = 2**53  # beyond it a float no longer tells one whole number from the next


@final
@dataclass(frozen=True, eq=False)
class Places:
    """Where each row of a source stands: its file in a folder, its line counted from 1; without both, its number from 0."""

    files: Sequence[str] | None = None
    lines: Sequence[int] | None = None

    def __call__(self, row: int) -> str:
        """For messages: "line 12", "Arabic.txt, line 3", "neg/12.txt" or "row 7"."""
        file = [] if self.files is None else [self.files[row]]
        line = [] if self.lines is None else [f"line {self.lines[row]}"]
        return ", ".join(file + line) or f"row {row}"


class Record(NamedTuple):
    """One object of a JSON-lines file and the line it stands on."""

    line: int
    fields: dict[str, object]


class Delimited(NamedTuple):
    """The fields of a CSV or TSV file as they stand; lines: the line on which each row begins."""

    columns: dict[str, tuple[str, ...]]
    lines: list[int]
    notes: tuple[str, ...]


def kind_of(path: Path) -> Kind:
    """What a file holds, by its name less .gz; a name that says nothing is a file of plain lines."""
    return SUFFIXES.get(Path(path.name.lower().removesuffix(".gz")).suffix, "lines")


def read_text(path: PathLike) -> str:
    """A whole file as text, its line ends as they stand.

    Raises: DataError if the file cannot be read, is cut or is not UTF-8.
    """
    data = _unzipped(Path(path))
    if wide := _wide_encoding(data):
        raise DataError(f"{path}: expected UTF-8 text, got what looks like {wide}. Re-encode the file as UTF-8.")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as e:
        raise _not_utf8(data, e.start, path, "perhaps Latin-1. Re-encode the file as UTF-8") from e
    if "\0" in text:
        raise _not_utf8(data, data.index(0), path, "which no text holds. Check that this is a text file")
    return text


def read_lines(path: PathLike) -> list[str]:
    """The lines of a file without their ends, empty ones too; at least one.

    Raises: DataError if the file cannot be read, is cut, empty or not UTF-8.
    """
    lines = _universal(read_text(path)).split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{path}: expected lines of text, got an empty file. Check how the file was written.")
    return lines


def read_parallel(first: Path, second: Path) -> tuple[list[str], list[str]]:
    """The lines of two files, of which line n of one goes with line n of the other; DataError if one has more."""
    a, b = read_lines(first), read_lines(second)
    if len(a) != len(b):
        counts = f"{first} has {len(a):,} lines, and {second} has {len(b):,}"
        raise DataError(f"{counts}: expected line n of one to go with line n of the other. Mend the files.")
    return a, b


def is_blank(line: str) -> bool:
    """Whether a line holds nothing but blanks and tabs."""
    return not line.strip(" \t")


def number_text(value: object) -> str | None:
    """The shortest text of a finite number ("1" of 1 and of 1.0); None of anything else, of a boolean too."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    number = float(value)
    if not math.isfinite(number):
        return None
    return str(int(number)) if number.is_integer() and abs(number) < EXACT_WHOLE else str(value)


def check_characters(texts: Sequence[str], places: Places, source: str) -> None:
    """Raise DataError where a text holds a zero character or half of a surrogate pair, which no UTF-8 file can hold."""
    if _is_clean("".join(texts)):
        return
    faults = Faults(source)
    for row, text in enumerate(texts):
        if not _is_clean(text):
            odd = next(c for c in text if not _is_clean(c))
            what = f"expected text, got the character U+{ord(odd):04X}, which no text file can hold"
            faults.add(what, places(row), "Mend or remove the row.")
    faults.raise_any()


def read_records(path: PathLike) -> list[Record]:
    """The objects of a JSON-lines file, one a line; blank lines are passed over.

    Raises: DataError if a line is not one whole JSON object, or names a key twice.
    """
    records = [_record(line, f"{path}: line {k}", k) for k, line in enumerate(read_lines(path), 1) if not is_blank(line)]
    if not records:
        raise DataError(f"{path}: expected one JSON object a line, got blank lines alone. Check how the file was written.")
    return records


def read_delimited(path: Path, header: bool) -> Delimited:
    """The fields of a CSV or TSV file, all as text and none of them "missing".

    A .tsv has a tab between fields, and a field is what stands between two tabs: quotes are text like any other. In any other
    file , ; tab or | stands between fields (whichever the first line has most of), and "..." is a field as CSV quotes it.
    Without a header the columns are called "1", "2", ...
    Raises: DataError if a row has more or fewer fields than the first, or the first line is a header only by its place.
    """
    text, is_tsv = read_text(path).rstrip("\r\n"), kind_of(path) == "tsv"
    lines, rows = _even_rows(_tab_rows(text) if is_tsv else _csv_rows(text, path), path)
    names = _header(rows.pop(0), path) if header else tuple(str(k + 1) for k in range(len(rows[0])))
    if not rows:
        raise DataError(f"{path}: expected rows below the header, got the header alone ({', '.join(names[:8])}).")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    if header:
        _check_header(columns, path)
    quoted = sum(CSV_QUOTED.fullmatch(field) is not None for row in rows for field in row) if is_tsv else 0
    note = f'fields that stand in "...": {quoted:,}; in a .tsv the quotes are part of the text (a .csv is read without them)'
    return Delimited(columns, lines[len(lines) - len(rows) :], (note,) if quoted else ())


def _unzipped(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" or (path.name.lower().endswith(".gz") and data) else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise DataError(f"{path}: expected a whole gzip file, got one cut short or altered ({e}). Fetch it again.") from e
    except (OSError, ValueError) as e:  # ValueError: a zero character in the path
        raise DataError(f"{path}: the file cannot be read ({e}). Check the path and the rights.") from e


def _wide_encoding(data: bytes) -> str:
    """UTF-32 or UTF-16 by the byte order mark, UTF-16 also by a zero in every other byte; "" if it is neither."""
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    head = data[:4096]
    low, high = sorted((head[::2].count(0), head[1::2].count(0)))
    return "UTF-16" if high * 2 > len(head) // 2 and low * 10 <= high else ""


def _not_utf8(data: bytes, at: int, path: PathLike, remedy: str) -> DataError:
    before = data[:at].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    line, byte = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
    return DataError(f"{path}: line {line}, byte {byte}: expected UTF-8 text, got the byte 0x{data[at]:02X}, {remedy}.")


def _universal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_clean(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _record(line: str, place: str, number: int) -> Record:
    try:
        fields = json.loads(line, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as e:
        raise DataError(f"{place}, character {e.colno}: expected one whole JSON object a line ({e.msg}). Mend the line.") from e
    except (ValueError, RecursionError) as e:
        raise DataError(f"{place}: expected one plain JSON object a line ({e}). Mend the line.") from e
    if not isinstance(fields, dict):
        raise DataError(f"{place}: expected a JSON object in braces, got {line.strip()[:40]}. Write one object a line.")
    return Record(number, fields)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(name for k, (name, _) in enumerate(pairs) if name in dict(pairs[:k]))
        raise ValueError(f"the key {twice!r} stands there twice")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _tab_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(_universal(text).split("\n"), 1):
        yield number, line.split("\t") if line else []


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line on which it begins, fields) of every record."""
    csv.field_size_limit(2**31 - 1)
    first = re.sub(r'"(?:[^"]|"")*"', "", re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0])
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 1
    try:
        for fields in reader:
            yield number, fields
            number = reader.line_num + 1
    except csv.Error as e:
        where = f"{path}: line {number}"
        raise DataError(f"{where}: expected well-formed CSV ({e}). Look for a quote that is not closed or not doubled.") from e


def _even_rows(rows: Iterator[tuple[int, list[str]]], path: Path) -> tuple[list[int], list[list[str]]]:
    """Lines and fields of the rows, all as wide as the first. A blank line is no row; in a single column it is an empty field."""
    faults = Faults(str(path))
    lines: list[int] = []
    kept: list[list[str]] = []
    for line, fields in rows:
        if kept and len(kept[0]) == 1 and not fields:
            fields = [""]
        if kept and fields and len(fields) != len(kept[0]):
            remedy = "Mend the line, or quote the field as CSV does in a .csv."
            faults.add(f"expected {len(kept[0])} fields as on line {lines[0]}, got {len(fields)}", f"line {line}", remedy)
        elif fields:
            lines.append(line)
            kept.append(fields)
    faults.raise_any()
    if not kept:
        raise DataError(f"{path}: expected rows of fields, got an empty file. Check how the file was written.")
    return lines, kept


def _header(fields: list[str], path: Path) -> tuple[str, ...]:
    """Column names; a nameless one is called by its place, as in a Table."""
    names = tuple(name if name.strip() else f"column {k}" for k, name in enumerate(fields, 1))
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        shown = ", ".join(map(repr, twice[:8]))
        raise DataError(
            f"{path}: the header names {shown} more than once. Rename the columns, or say header=False if it is a row."
        )
    return names


def _check_header(columns: dict[str, tuple[str, ...]], path: Path) -> None:
    """A number that stands in the header and below it is a label of the first row, and that row would be lost in silence."""
    for name, values in columns.items():
        if NUMBER.fullmatch(name.strip()) and name in values:
            raise DataError(
                f"{path}: expected column names on the first line, got {name!r}, which also stands below it. "
                "If the file has no header line, say header=False; the columns are then called '1', '2', ..."
            )
