"""Delimited text files, read and written. In: a path. Out: named columns, line numbers, notes; or a file on disk.

Reads with the csv module of Python; a plain file (no quotes, no blank lines) is read by polars where it is installed, with the
same result (tests/data/test_csvfile.py). Knows nothing of time, series or roles.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import importlib.util
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from tidegate.data.columns import MISSING, Encoded, Stored, column_from_texts
from tidegate.data.faults import Faults
from tidegate.errors import DataError

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

    import polars as pl

DELIMITERS = (",", ";", "\t", "|")
BLOCK = 4096  # records turned into columns at once: few lists at a time leave the garbage collector idle
FAST_COLUMNS = 2000  # beyond it polars' cost per column exceeds the csv module's cost per cell
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+", re.ASCII)


class CsvText(NamedTuple):
    """A file's columns; lines: (R,) line number of each row, None where row r stands on line r + 2."""

    columns: dict[str, Stored]
    lines: npt.NDArray[np.int64] | None
    notes: tuple[str, ...]


def read_csv(path: Path) -> CsvText:
    """Read .csv, .tsv, .txt, plain or gzipped, UTF-8 or UTF-16 (by its byte order mark), with , ; tab or | between fields.

    Raises: DataError if there is no file, header or row, or a row has more or fewer fields than the header.
    """
    data = _utf8(_read_bytes(path), path)
    if not data.strip():
        raise DataError(f"{path}: expected a header line and rows, got an empty file. Check how the file was written.")
    delimiter = "\t" if path.name.removesuffix(".gz").endswith(".tsv") else _delimiter(data)
    names, notes = _header(data, delimiter, path)
    plain = _is_plain(data, delimiter, len(names)) and importlib.util.find_spec("polars") is not None
    columns, lines = _fast(data, delimiter, len(names)) if plain else None, None
    if columns is None:
        columns, lines = _careful(data, delimiter, names, path)
    if len(columns[0]) == 0:
        raise DataError(f"{path}: expected rows below the header, got the header alone ({', '.join(names[:8])}).")
    if delimiter == ";":
        columns, more = _decimal_commas(names, columns, path)
        notes += more
    return CsvText(dict(zip(names, columns, strict=True)), lines, notes)


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise DataError(f"{path}: expected a whole gzip file, got one cut short or altered ({e}). Fetch it again.") from e
    except IsADirectoryError as e:
        raise DataError(f"{path}: expected a file, got a folder.") from e
    except OSError as e:
        raise DataError(f"{path}: the file cannot be read ({e.strerror or e}). Check the path and the rights.") from e


def _utf8(data: bytes, path: Path) -> bytes:
    """The text as UTF-8 without a byte order mark."""
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise DataError(f"{path}: expected UTF-8 or UTF-16, got UTF-32. Save the file as UTF-8.")
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as e:
        line = data[: e.start].count(b"\n") + 1
        name = encoding.removesuffix("-sig")
        raise DataError(f"{path}: line {line}: expected {name} text, got bytes that are not. Save the file as UTF-8.") from e
    if "\0" in text:
        raise DataError(
            f"{path}: expected text, got zero bytes (UTF-16 without a byte order mark, or no text). Save it as UTF-8."
        )
    return text.encode() if encoding == "utf-16" else data.removeprefix(codecs.BOM_UTF8)


def _delimiter(data: bytes) -> str:
    """The delimiter that stands most often in the header, outside quotes."""
    first = re.sub(rb'"(?:[^"]|"")*"', b"", data.lstrip().split(b"\n", 1)[0]).decode()
    counts = {d: first.count(d) for d in DELIMITERS}
    best = max(DELIMITERS, key=lambda d: counts[d])
    return best if counts[best] else ","


def _reader(data: bytes, delimiter: str) -> CsvReader:
    csv.field_size_limit(2**31 - 1)
    return csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter, strict=True)


def _rows(data: bytes, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of every record."""
    reader = _reader(data, delimiter)
    for fields in reader:
        yield reader.line_num, fields


def _header(data: bytes, delimiter: str, path: Path) -> tuple[list[str], tuple[str, ...]]:
    """Column names; nameless ones are named by their place and that is noted."""
    try:
        names = next((fields for _, fields in _rows(data, delimiter) if fields), [])
    except csv.Error as e:
        raise DataError(f"{path}: line 1: the header is not well-formed CSV ({e}).") from e
    nameless = [k for k, name in enumerate(names) if not name.strip()]
    for k in nameless:
        names[k] = f"column {k + 1}"
    seen: set[str] = set()
    twice = [n for n in names if n in seen or seen.add(n)]  # type: ignore[func-returns-value]  # add() returns None on purpose
    if twice:
        shown = ", ".join(repr(n) for n in dict.fromkeys(twice[:20]))
        raise DataError(f"{path}: line 1: expected every column name once, got {shown} more than once. Rename the columns.")
    return names, tuple(f"column {k + 1} has no name: called 'column {k + 1}'" for k in nameless[:5])


def _is_plain(data: bytes, delimiter: str, width: int) -> bool:
    """No quotes, no blank lines, no lone carriage returns, and as many delimiters as a table of this width must have."""
    if not 1 < width <= FAST_COLUMNS or b'"' in data or data.count(b"\r") != data.count(b"\r\n"):
        return False
    body = data.rstrip(b"\r\n")
    if data[:1] in b"\r\n" or b"\n\n" in body or b"\n\r\n" in body:
        return False
    return data.count(delimiter.encode()) == (body.count(b"\n") + 1) * (width - 1)


def _fast(data: bytes, delimiter: str, width: int) -> list[Stored] | None:
    """The columns of a plain file, by polars; None if a row is ragged after all (_careful names its line)."""
    import polars as pl

    try:
        frame = pl.read_csv(
            data.rstrip(b"\r\n") + b"\n", separator=delimiter, has_header=False, skip_rows=1, infer_schema=False, quote_char=None,
            new_columns=[str(k) for k in range(width)],
        )  # fmt: skip
    except pl.exceptions.NoDataError:  # header only
        return [np.empty(0) for _ in range(width)]
    except pl.exceptions.PolarsError:
        return None
    return [_fast_column(s) for s in frame.rechunk().iter_columns()] if frame.width == width else None


def _fast_column(texts: pl.Series) -> Stored:
    """Numbers if every text that is not missing is one (the rule of column_from_texts), else text as codes."""
    import polars as pl

    stripped = texts.str.strip_chars()
    missing = stripped.is_in(list(MISSING)).fill_null(True)
    numbers = stripped.set(missing, None).cast(pl.Float64, strict=False)
    if numbers.null_count() != missing.sum() or numbers.is_nan().any():
        return _fast_text(texts.set(missing, None))
    if stripped.str.contains(r"^[+-]?0\d").any() and stripped.filter(~missing).str.contains(r"^[+-]?\d+$").all():
        return _fast_text(texts.set(missing, None))
    if not missing.any():
        whole = stripped.cast(pl.Int64, strict=False)
        if whole.null_count() == 0:
            return whole.to_numpy()
    return numbers.to_numpy()


def _fast_text(texts: pl.Series) -> Encoded:
    import polars as pl

    levels = texts.drop_nulls().unique(maintain_order=True)
    codes = texts.cast(pl.Enum(levels)).to_physical().cast(pl.Int32).fill_null(-1)
    return Encoded(codes.to_numpy(), tuple(levels.to_list()))


def _careful(data: bytes, delimiter: str, names: Sequence[str], path: Path) -> tuple[list[Stored], npt.NDArray[np.int64] | None]:
    """The columns of any file, by the csv module. A blank line is no row, except in a file of one column: a missing value."""
    width = len(names)
    even = _even(data.rstrip(b"\r\n"), delimiter, width)
    if even is not None:
        return even, None
    faults = Faults(str(path))
    lines: list[int] = []
    rows: list[list[str]] = []
    blank: list[str] = [""] if width == 1 else []
    try:
        for line, fields in _rows(data.rstrip(b"\r\n"), delimiter):
            fields = fields or blank
            if len(fields) == width:
                rows.append(fields)
                lines.append(line)
            elif fields:
                faults.add(f"expected {width} fields as in the header, got {len(fields)}", f"line {line}")
    except csv.Error as e:
        after = f"after line {lines[-1] if lines else 1}"
        faults.add(f"not well-formed CSV ({e})", after, "Look for a quote that is not closed.")
    faults.raise_any()
    header_at = next((k for k, row in enumerate(rows) if row != blank or width > 1), 0)
    rows, lines = rows[header_at + 1 :], lines[header_at + 1 :]
    columns = [column_from_texts(texts) for texts in zip(*rows, strict=True)] or [np.empty(0) for _ in names]
    plain = lines == list(range(2, len(lines) + 2))
    return columns, None if plain else np.array(lines, dtype=np.int64)


def _even(data: bytes, delimiter: str, width: int) -> list[Stored] | None:
    """The columns of a file that has one whole record on every line; None if a line needs a closer look."""
    reader = _reader(data, delimiter)
    texts: list[list[str]] = [[] for _ in range(width)]
    count = 0
    try:
        while records := list(islice(reader, BLOCK)):
            if set(map(len, records)) != {width}:
                return None
            count += len(records)
            for column, block in zip(texts, zip(*records, strict=True), strict=True):
                column.extend(block)
    except csv.Error:
        return None
    if reader.line_num != count:
        return None
    return [column_from_texts(column[1:]) for column in texts]


def _decimal_commas(names: Sequence[str], columns: Sequence[Stored], path: Path) -> tuple[list[Stored], tuple[str, ...]]:
    """In a file with ; between fields: "1,5" is read as 1.5 and noted; "1,234" alone could be either and is refused."""
    out: list[Stored] = []
    notes: list[str] = []
    faults = Faults(str(path))
    for name, column in zip(names, columns, strict=True):
        commas = [t.strip() for t in column.levels if "," in t] if isinstance(column, Encoded) else []
        rest = [t.strip() for t in column.levels if "," not in t] if isinstance(column, Encoded) else []
        fits = commas and all(map(DECIMAL_COMMA.fullmatch, commas)) and all(re.fullmatch(r"[+-]?\d+", t, re.ASCII) for t in rest)
        if not fits or not isinstance(column, Encoded):
            out.append(column)
        elif all(map(THOUSANDS.fullmatch, commas)):
            faults.add(f"{commas[0]!r} may be a decimal or a thousands comma", f"column {name!r}", "Write 1.234 or 1234.")
        else:
            lookup = np.array([float(t.replace(",", ".")) for t in column.levels] + [np.nan])
            out.append(lookup[column.codes])
            notes.append(f"column {name!r}: decimal commas read as decimal points")
    faults.raise_any()
    return out, tuple(notes)


def csv_text(names: Sequence[str], columns: Iterable[Sequence[str]]) -> str:
    """Text columns under a header, as one text."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue()
