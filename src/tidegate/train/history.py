"""The history of a run: one JSON object a step. In: records. Out: a file of JSON lines that a kill and a resume leave whole.

Every step stands once, in order: a resume takes away what the killed run wrote after the checkpoint that is gone on from.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO, final

from tidegate.files import PathLike, output_error, write_atomic

START = (-1, 0)  # member and step before the first


@final
class History:
    """A file of records, as a context; nothing is written where there is no path.

    Args:  after: member and step that the run goes on from; later records, and a line cut short by a kill, are taken away.
    Raises: OutputError where the file cannot be written.
    """

    def __init__(self, path: PathLike | None, after: tuple[int, int] = START) -> None:
        self._path = None if path is None else Path(path)
        self._stream: TextIO | None = None
        if self._path is None:
            return
        try:
            earlier = _earlier(self._path, after)
            write_atomic(self._path, earlier)
            self._stream = self._path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise output_error(self._path, error) from error

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):  # every line was flushed; what failed was told then
                self._stream.close()

    def write(self, record: Mapping[str, object]) -> None:
        """One line, on its way to the disk at once. Raises: OutputError."""
        if self._stream is None or self._path is None:
            return
        try:
            self._stream.write(json.dumps(record, allow_nan=False) + "\n")
            self._stream.flush()
        except OSError as error:
            raise output_error(self._path, error) from error


def _earlier(path: Path, after: tuple[int, int]) -> str:
    """The lines up to a step; nothing for a new run."""
    if after == START or not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "".join(line + "\n" for line in lines if _place(line) <= after)


def _place(line: str) -> tuple[float, float]:
    """Member and step of a line; beyond all others where it is no record."""
    try:
        record = json.loads(line)
        return int(record["member"]), int(record["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf"), float("inf")
