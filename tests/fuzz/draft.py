"""A file taken apart so that any part of it can be altered. In: a sound file. Out: a Draft; and bytes, with a right SHA-256.

Nothing is checked on the way back: what the writer of the library would refuse is what is wanted here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.fuzz.forge import ZEROS, forge
from tidegate import format as container
from tidegate.header import DTYPES, FORMAT

Array = npt.NDArray[np.generic]
CODES = {np.dtype(code): name for name, code in DTYPES.items()}


@dataclass(frozen=True)
class Seed:
    """A sound file, read once; each draft of it is its own."""

    name: str
    body: bytes
    text: str  # of the metadata
    arrays: Mapping[str, Array]

    @classmethod
    def of(cls, name: str, body: bytes) -> Seed:
        """The seed of a sound file."""
        file = container.parse(body, name)
        own = {**file.header, "content": file.content, "format": FORMAT, "sha256": ZEROS}
        return cls(name, body, json.dumps(own), file.arrays)

    def draft(self) -> Draft:
        """A fresh copy to alter."""
        return Draft(json.loads(self.text), dict(self.arrays), {})


@dataclass
class Draft:
    """Metadata, arrays, and what is to stand in an array's entry instead of what belongs there."""

    own: dict[str, object]
    arrays: dict[str, Array]
    lies: dict[str, dict[str, object]]

    def entries(self) -> tuple[dict[str, object], bytes]:
        """The table of arrays and their bytes, widest numbers first."""
        table: dict[str, object] = {}
        parts: list[bytes] = []
        offset = 0
        for name, array in sorted(self.arrays.items(), key=lambda pair: (-pair[1].itemsize, pair[0])):
            parts.append(array.tobytes())
            told = {"dtype": CODES.get(array.dtype, "F32"), "shape": list(array.shape)}
            table[name] = {**told, "data_offsets": [offset, offset + len(parts[-1])], **self.lies.get(name, {})}
            offset += len(parts[-1])
        return table, b"".join(parts)

    def bytes(self) -> bytes:
        """The file."""
        table, data = self.entries()
        return forge(self.own, table, data)
