"""Checkpoints: the state of a run in the container of the model file. In: a path stem. Out: files, the newest sound one.

Written through a temporary file, fsync and rename; the last two are kept, so that a kill at any moment leaves one whole.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate import format as container
from tidegate.config import Plain
from tidegate.errors import FormatError
from tidegate.files import PathLike

KEPT = 2
Arrays = Mapping[str, npt.NDArray[np.generic]]


@final
class Checkpoints:
    """Files `<stem>.checkpoint-<number>` beside each other; the number rises with every write."""

    def __init__(self, stem: PathLike) -> None:
        self._stem = Path(stem)
        self._pattern = re.compile(re.escape(self._stem.name) + r"\.checkpoint-(\d+)\Z")

    def paths(self) -> list[Path]:
        """The checkpoints there, oldest first."""
        found = []
        for path in self._stem.parent.iterdir() if self._stem.parent.is_dir() else ():
            match = self._pattern.match(path.name)
            if match:
                found.append((int(match.group(1)), path))
        return [path for _, path in sorted(found)]

    def write(self, number: int, header: Mapping[str, Plain], arrays: Arrays) -> Path:
        """Write one and remove all but the last two. Raises: OutputError; the older ones then stay."""
        path = container.write(f"{os.fspath(self._stem)}.checkpoint-{number}", "checkpoint", header, arrays)
        for old in self.paths()[:-KEPT]:
            with contextlib.suppress(OSError):
                old.unlink()
        return path

    def newest(self) -> container.File | None:
        """The newest sound checkpoint; None where there is none. Raises: FormatError where there are some and none is sound."""
        faults = []
        for path in reversed(self.paths()):
            file = _read(path)
            if isinstance(file, container.File):
                return file
            faults.append(str(file))
        if faults:
            raise FormatError("no checkpoint can be read; remove them to start anew:\n" + "\n".join(faults))
        return None

    def remove(self) -> None:
        """Take all of them away, after the model is written."""
        for path in self.paths():
            with contextlib.suppress(OSError):
                path.unlink()


def _read(path: Path) -> container.File | FormatError:
    """A checkpoint, or why it cannot be read."""
    try:
        return container.read(path, "checkpoint")
    except FormatError as error:
        return error
