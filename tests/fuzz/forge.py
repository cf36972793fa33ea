"""Files with any header and a right SHA-256: what a hostile author would send. In: parts. Out: bytes."""

from __future__ import annotations

import hashlib
import json
import struct

from tidegate.header import FORMAT

ZEROS = "0" * 64
MARK = b'\\"sha256\\":\\"'  # as it stands inside the escaped metadata string


def forge(own: object = None, entries: object = None, data: bytes = b"", *, head: str | None = None, sign: bool = True) -> bytes:
    """A file.

    Args:  own: the metadata, or its JSON; None: those of an empty model. entries: of the arrays. head: the whole header instead.
           sign: with the SHA-256 that belongs to it, where the header has a place for one.
    """
    own = owned() if own is None else own
    text = own if isinstance(own, str) else json.dumps(own, separators=(",", ":"))
    head = json.dumps({"__metadata__": {"tidegate": text}, **(entries or {})}, separators=(",", ":")) if head is None else head
    told = head.encode("utf-8", "surrogatepass")
    body = struct.pack("<Q", len(told)) + told + data
    mark = MARK + ZEROS.encode()
    if not sign or mark not in body:
        return body
    place = body.index(mark) + len(MARK)
    return body[:place] + hashlib.sha256(body).hexdigest().encode() + body[place + 64 :]


def signed(body: bytes) -> bytes:
    """The same bytes with a SHA-256 that is right again; as they are where they have no place for one."""
    place = body.find(MARK, 8) + len(MARK)
    if place < len(MARK) + 8 or place + 64 > len(body):
        return body
    blank = body[:place] + ZEROS.encode() + body[place + 64 :]
    return body[:place] + hashlib.sha256(blank).hexdigest().encode() + body[place + 64 :]


def entry(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    """The entry of an array."""
    return {
        "dtype": dtype,
        "shape": list(shape) if isinstance(shape, tuple) else shape,
        "data_offsets": list(offsets) if isinstance(offsets, tuple) else offsets,
    }


def owned(**more: object) -> dict[str, object]:
    """The metadata of an empty model, and more."""
    return {"content": "model", "format": FORMAT, "sha256": ZEROS, **more}
