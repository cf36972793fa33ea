"""The table: named columns of one source. In: a path, a frame of pandas, polars or pyarrow, arrays. Out: a frozen Table, and
the caller's own kind of frame again. Gives columns no roles; see panel.py."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO, TypeAlias, final

import numpy as np
import numpy.typing as npt

from tidegate.data import frames
from tidegate.data.columns import Columns, Encoded, Stored, encode, keep
from tidegate.data.csvfile import csv_text, read_csv
from tidegate.data.faults import suggest
from tidegate.data.zones import instants_text
from tidegate.errors import DataError
from tidegate.files import write_atomic

Kind: TypeAlias = Literal["table", "csv", "parquet", "pandas", "polars", "pyarrow", "arrays"]
SHOWN_ROWS = 20


@final
@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length.

    columns: numbers are float64 (or float32), int64 or bool; text is an object array of str or None; instants are
    datetime64[ns], in UTC if the column has a zone. Text is kept as codes and decoded when asked for.
    """

    columns: Mapping[str, np.ndarray]
    source: str = "table"  # for messages: the file, "pandas frame", ...
    kind: Kind = "table"
    zones: Mapping[str, str] = field(default_factory=dict)  # column -> IANA zone or "+01:00"
    lines: npt.NDArray[np.int64] | None = None  # line of each row in the file, where that is not row + 2
    notes: tuple[str, ...] = ()  # what the reader had to decide
    left_out: Mapping[str, str] = field(default_factory=dict)  # columns of a type that cannot be used -> the type

    def __post_init__(self) -> None:
        if not isinstance(self.columns, Columns):
            kept = {name: keep(name, values, self.source) for name, values in self.columns.items()}
            zones = {name: k.zone for name, k in kept.items() if k.zone is not None}
            object.__setattr__(self, "columns", Columns({name: k.values for name, k in kept.items()}))
            object.__setattr__(self, "zones", {**zones, **self.zones})
        lengths = {name: len(self.stored(name)) for name in self.columns}
        if len(set(lengths.values())) > 1:
            seen = ", ".join(f"{name}: {n}" for name, n in list(lengths.items())[:8])
            raise DataError(f"{self.source}: expected columns of equal length, got {seen}. Fill the short ones with NaN.")

    def __len__(self) -> int:
        return len(self.stored(self.names[0])) if self.columns else 0

    def __getitem__(self, name: str) -> np.ndarray:
        self._require(name)
        return self.columns[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(self.columns)

    def stored(self, name: str) -> Stored:
        """A column as it is kept: text as codes and levels, instants in the unit of the source. No copy.

        Raises: DataError with the nearest name if there is no such column.
        """
        self._require(name)
        assert isinstance(self.columns, Columns)
        return self.columns.stored(name)

    def _require(self, name: str) -> None:
        if name in self.left_out:
            raise DataError(
                f"{self.source}: column {name!r}: expected numbers, text or time stamps, got {self.left_out[name]}. Convert it."
            )
        if name not in self.columns:
            raise DataError(f"{self.source}: there is no column {name!r}. {suggest(name, self.columns)}")

    def place(self, row: int) -> str:
        """Where a row stands, for messages: the line of a file, else the row counted from 0."""
        if self.kind == "csv":
            return f"line {row + 2 if self.lines is None else int(self.lines[row])}"
        return f"row {row}"

    def select(self, names: Sequence[str]) -> Table:
        """The table with these columns alone."""
        return self._with({n: self.stored(n) for n in names}, self.lines)

    def rows(self, rows: slice | npt.NDArray[np.int64]) -> Table:
        """The table with these rows alone."""
        lines = self.lines if self.lines is None else self.lines[rows]
        if lines is None and self.kind == "csv":
            lines = np.arange(2, len(self) + 2)[rows]
        return self._with({n: self.stored(n)[rows] for n in self.names}, lines)

    def _with(self, stored: Mapping[str, Stored], lines: npt.NDArray[np.int64] | None) -> Table:
        zones = {n: z for n, z in self.zones.items() if n in stored}
        return Table(Columns(stored), self.source, self.kind, zones, lines, self.notes, self.left_out)

    def _stored(self) -> dict[str, Stored]:
        """Columns for other libraries: text as codes, instants as datetime64[ns]."""
        columns = {name: self.stored(name) for name in self.names}
        return {name: c if isinstance(c, Encoded) or c.dtype.kind != "M" else self.columns[name] for name, c in columns.items()}

    def to_pandas(self) -> object:
        """A pandas.DataFrame."""
        return frames.to_pandas(self._stored(), self.zones)

    def to_polars(self) -> object:
        """A polars.DataFrame."""
        return frames.to_polars(self._stored(), self.zones)

    def to_arrow(self) -> object:
        """A pyarrow.Table."""
        return frames.to_arrow(self._stored(), self.zones)

    def like(self, columns: Mapping[str, np.ndarray], zones: Mapping[str, str] | None = None) -> object:
        """Columns as a table of the caller's own kind: a frame of the library this table came from, else a Table.

        Args: zones: column -> zone; without it, columns named as here keep the zone they have here.
        """
        if zones is None:
            zones = {name: zone for name, zone in self.zones.items() if name in columns}
        new = Table(columns, zones=zones)
        if self.kind == "pandas":
            return new.to_pandas()
        if self.kind == "polars":
            return new.to_polars()
        return new.to_arrow() if self.kind == "pyarrow" else new

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table as UTF-8 CSV; missing values are empty fields, instants with a zone are in UTC with Z.

        Raises: OutputError if the path cannot be written or the disk is full; a file that stood there stays as it was.
        """
        write_atomic(path, csv_text(self.names, (self._texts(name) for name in self.names)))

    def write_stream(self, stream: TextIO) -> None:
        """Write the same text to an open stream, for instance standard output."""
        stream.write(csv_text(self.names, (self._texts(name) for name in self.names)))

    def _texts(self, name: str) -> list[str]:
        """A column as a file shows it: the shortest text that reads back as the same value."""
        column = self.stored(name)
        if isinstance(column, Encoded):
            return ["" if t is None else t for t in column.decode().tolist()]
        if column.dtype.kind == "M":
            return instants_text(self.columns[name], self.zones.get(name))
        if column.dtype.kind == "f":
            column = column.astype(str) if column.dtype == np.float32 else column
            return ["" if t in ("nan", "NaN") else t for t in map(str, column.tolist())]
        return list(map(str, column.tolist()))

    def _shown(self) -> tuple[list[list[str]], bool]:
        """Cells of head and tail for people, numbers to six digits; whether rows were skipped."""
        long = len(self) > SHOWN_ROWS
        half = SHOWN_ROWS // 2
        part = self.rows(np.r_[0:half, len(self) - half : len(self)]) if long else self
        cells = []
        for name in part.names:
            column = part.stored(name)
            is_float = not isinstance(column, Encoded) and column.dtype.kind == "f"
            cells.append([f"{v:.6g}" if v == v else "" for v in part[name].tolist()] if is_float else part._texts(name))
        return [list(row) for row in zip(*cells, strict=True)], long

    def __str__(self) -> str:
        rows, long = self._shown()
        if long:
            rows.insert(SHOWN_ROWS // 2, ["..."] * len(self.names))
        widths = [max(map(len, column)) for column in zip(self.names, *rows, strict=True)]
        numeric = [not isinstance(c, Encoded) and c.dtype.kind in "biuf" for c in map(self.stored, self.names)]
        lines = [
            [t.rjust(w) if n else t.ljust(w) for t, w, n in zip(row, widths, numeric, strict=True)] for row in [self.names, *rows]
        ]
        text = "\n".join("  ".join(line).rstrip() for line in lines)
        return f"{text}\n({len(self):,} rows)" if long else text

    def __repr__(self) -> str:
        return f"Table({len(self):,} rows x {len(self.names)} columns from {self.source})"

    def _repr_html_(self) -> str:
        rows, long = self._shown()
        if long:
            rows.insert(SHOWN_ROWS // 2, ["⋯"] * len(self.names))
        head = "".join(f"<th>{html.escape(n)}</th>" for n in self.names)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(t)}</td>" for t in row) + "</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" + (
            f"<p>{len(self):,} rows</p>" if long else ""
        )


def read_table(source: object) -> Table:
    """Read a table from whatever the caller has.

    Args: source: a path (.csv, .tsv, .txt, each plain or .gz, or .parquet), a pandas, polars or pyarrow frame, a Table, a mapping
        name -> array, or a list of arrays, one a series: (T,) or (T, K). A list gives the columns id ("0", "1", ...),
        time (0..T-1) and y, or y0, y1, ... if the arrays have several columns.
    Raises: DataError if it is none of these or cannot be read; MissingExtra if a library is not installed.
    """
    if isinstance(source, Table):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _read_path(Path(os.fspath(source)))
    library = frames.library_of(source)
    if library == "pandas":
        return _from_frame(frames.from_pandas(source), "pandas frame", "pandas")
    if library == "polars":
        return _from_frame(frames.from_polars(source), "polars frame", "polars")  # type: ignore[arg-type]  # library_of has looked
    if library == "pyarrow":
        return _from_frame(frames.from_arrow(source), "pyarrow table", "pyarrow")
    if isinstance(source, Mapping):
        return Table({str(name): values for name, values in source.items()}, source="mapping of arrays")
    if isinstance(source, np.ndarray):
        return _from_arrays([source])
    if isinstance(source, (list, tuple)):
        return _from_arrays(source)
    raise DataError(
        f"data: expected a path, a pandas, polars or pyarrow frame, a mapping or a list of arrays, got {type(source).__name__}. "
        "Convert it to one of these."
    )


def _read_path(path: Path) -> Table:
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in (".parquet", ".pq"):
        return _from_frame(frames.read_parquet(str(path))[0], str(path), "parquet")
    if (suffixes[-2:-1] if suffixes[-1:] == [".gz"] else suffixes[-1:]) in ([".csv"], [".tsv"], [".txt"]):
        text = read_csv(path)
        return Table(Columns(text.columns), str(path), "csv", lines=text.lines, notes=text.notes)
    raise DataError(
        f"{path}: expected a file that ends in .csv, .tsv, .txt (or one of these and .gz) or .parquet. Rename or convert it."
    )


def _from_frame(frame: frames.Frame, source: str, kind: Kind) -> Table:
    notes = tuple(f"column {name!r} holds {what}, which cannot be used here: left out" for name, what in frame.left_out.items())
    return Table(Columns(frame.columns), source, kind, frame.zones, notes=notes, left_out=frame.left_out)


def _from_arrays(series: Sequence[object]) -> Table:
    """A list of series as one long table."""
    arrays = [np.asarray(s) for s in series]
    if not arrays:
        raise DataError("list of arrays: expected at least one series, got an empty list.")
    if all(a.ndim == 0 for a in arrays):  # one series, given as a list of numbers
        arrays = [np.asarray(series)]
    for k, a in enumerate(arrays):
        if a.ndim not in (1, 2) or a.dtype.kind not in "biuf":
            raise DataError(
                f"list of arrays: series {k}: expected numbers of shape (T,) or (T, K), got {a.dtype} of shape {a.shape}."
            )
        if a.shape[1:] != arrays[0].shape[1:]:
            raise DataError(
                f"list of arrays: series {k}: expected columns as in series 0, of shape {arrays[0].shape}, got shape {a.shape}."
            )
    lengths = [len(a) for a in arrays]
    ids = encode(map(str, range(len(arrays))))
    columns: dict[str, Stored] = {
        "id": Encoded(np.repeat(ids.codes, lengths), ids.levels),
        "time": np.concatenate([np.arange(n, dtype=np.int64) for n in lengths]),
    }
    values = np.concatenate(arrays)
    channels = (
        {"y": values} if values.ndim == 1 else {f"y{k}": np.ascontiguousarray(values[:, k]) for k in range(values.shape[1])}
    )
    columns |= {name: keep(name, channel, "list of arrays").values for name, channel in channels.items()}
    return Table(Columns(columns), "list of arrays", "arrays")
