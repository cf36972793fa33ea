"""Pairs of texts: a source and its target, as in translation and summaries. In: two line-parallel files, one file of two columns
or keys, a frame or Python pairs. Out: frozen Pairs that know where each stands.

Nothing is trimmed and no pair is dropped; an empty side is kept and counted in the notes. Splits no text into tokens.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from tidegate.data.textlines import Places, check_characters, read_parallel
from tidegate.data.texts import Fields, empty_note, has_fields, listed, pairs_of, read_fields
from tidegate.errors import ConfigError, DataError


@final
@dataclass(frozen=True, eq=False)
class Pairs:
    """Sources and as many targets; at least one pair."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    source: str  # for messages: the file, "list of (source, target)", ...
    places: Places = field(default_factory=Places)
    notes: tuple[str, ...] = ()  # what the reader decided

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.targets):
            got = f"{len(self.sources):,} sources and {len(self.targets):,} targets"
            raise DataError(f"{self.source}: expected one target a source, got {got}. Make them equally long.")
        if not self.sources:
            raise DataError(f"{self.source}: expected at least one pair, got none. Check how it was made.")
        check_characters(self.sources, self.places, self.source)
        check_characters(self.targets, self.places, self.source)

    def __len__(self) -> int:
        return len(self.sources)

    def place(self, row: int) -> str:
        """Where a pair stands, for messages: "line 12", or "row 7", counted from 0."""
        return self.places(row)


def read_pairs(
    source: object,
    target: object = None,
    *,
    from_column: str | None = None,
    to_column: str | None = None,
    header: bool = True,
) -> Pairs:
    """Read pairs of texts.

    Args:
        source: with `target`, a file of which line n is the source of line n of the file `target`, or two lists; without it,
            .csv, .tsv, .parquet or .jsonl (each also with .gz), a frame, a Table or a mapping of columns, or a list of pairs.
        from_column, to_column: the two columns or keys; without both, the first and the second of a source that has just two.
            Where a value is a list of texts (JSON lines), the source is all of them, joined by blanks, and the target the first.
        header: False for CSV or TSV whose first line is a pair; the columns are then called "1", "2", ...
    Raises: DataError if the source cannot be used as it stands, or the two sides differ in number; ConfigError if an option does
        not fit it.
    """
    kind = has_fields(source) if target is None else None
    if kind is None and (from_column is not None or to_column is not None):
        raise ConfigError("from_column, to_column: this source has no named columns. Leave them out.")
    if not header and kind not in ("csv", "tsv"):
        raise ConfigError("header=False: goes with CSV and TSV alone. Leave it out; a file of that kind ends in .csv or .tsv.")
    if kind is not None:
        return _from_fields(read_fields(source, header), from_column, to_column)
    if not isinstance(source, (str, os.PathLike)):
        return _from_lists(source, target)
    if not isinstance(target, (str, os.PathLike)):
        got = "none" if target is None else type(target).__name__
        raise ConfigError(
            f"target: expected a second file, whose line n goes with line n of {os.fspath(source)}, got {got}. "
            "A file of two columns must end in .csv, .tsv, .parquet or .jsonl."
        )
    return _from_lines(Path(source), Path(target))


def _from_lines(source: Path, target: Path) -> Pairs:
    sources, targets = read_parallel(source, target)
    places = Places(lines=range(1, len(sources) + 1))
    return _noted(tuple(sources), tuple(targets), str(source), places, ())


def _from_fields(fields: Fields, source: str | None, target: str | None) -> Pairs:
    notes = fields.notes
    if source is None or target is None:
        source, target = _two_columns(fields, source, target)
        notes += (f"the source is column {source!r}, the target is column {target!r}",)
    sources, targets = fields.texts(source), fields.texts(target, first=True)
    return _noted(sources, targets, fields.source, fields.places, notes)


def _two_columns(fields: Fields, source: str | None, target: str | None) -> tuple[str, str]:
    names = list(fields.columns)
    if source is not None or target is not None or len(names) != 2:
        known = ", ".join(repr(name)[:60] for name in names[:12])
        raise DataError(f"{fields.source}: expected from_column and to_column, the names of two columns. Columns: {known}.")
    return names[0], names[1]


def _from_lists(source: object, target: object) -> Pairs:
    if target is None:
        columns, name = pairs_of(listed(source, "data"), "source, target"), "list of (source, target)"
    else:
        columns, name = (listed(source, "source"), listed(target, "target")), "two lists"
    fields = Fields({"source": columns[0], "target": columns[1]}, name, Places())
    return _from_fields(fields, "source", "target")


def _noted(sources: tuple[str, ...], targets: tuple[str, ...], source: str, places: Places, notes: tuple[str, ...]) -> Pairs:
    for side, texts in (("source", sources), ("target", targets)):
        notes += tuple(f"{side}: {note}" for note in empty_note(texts, places))
    return Pairs(sources, targets, source, places, notes)
