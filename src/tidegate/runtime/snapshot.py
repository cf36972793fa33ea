"""A stream's state as bytes that another process can go on from. In: fields by name. Out: bytes; and back, validated.

Layout, all little-endian: a header of 64 bytes, then the fields one after the other.

    0   8  magic "TGSTATE\\n"
    8   4  version, 1
    12  4  reserved, 0
    16  16 model: the first bytes of the SHA-256 of what may go on from here
    32  8  schema: the first bytes of the SHA-256 of the fields' names, dtypes and shapes
    40  8  steps so far
    48  8  length of the payload in bytes
    56  4  CRC-32 of the payload
    60  4  CRC-32 of the 60 bytes before

A field of a fixed shape is its numbers in C order; one whose first axis may vary (None) has that axis as 8 bytes before them. A
snapshot is read as hostile input: nothing is allocated by a size in it before that size is checked against the bytes there.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.errors import FormatError, ShapeError

MAGIC, VERSION = b"TGSTATE\n", 1
MOST_BYTES = 1 << 26
DTYPES = ("<f4", "<f8", "<i8", "|u1")
_HEADER = struct.Struct("<8sII16s8sQQI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size

Array = npt.NDArray[np.generic]


@final
@dataclass(frozen=True)
class Field:
    """One array of a state. shape: None as its first number: any count, at most `most`. finite: numbers alone, no NaN or Inf."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    most: int = 1 << 20
    finite: bool = True


class Restored(NamedTuple):
    """What a snapshot holds."""

    steps: int
    arrays: dict[str, Array]


@final
class Schema:
    """The fields of a kind of state, in order. kind: what the state is of, such as "layer" or "forecast"."""

    def __init__(self, kind: str, fields: tuple[Field, ...]) -> None:
        self.kind, self.fields = kind, fields
        text = kind + "".join(f";{f.name}:{f.dtype}:{f.shape}" for f in fields)
        self.hash = hashlib.sha256(text.encode()).digest()[:8]

    def pack(self, model: bytes, steps: int, arrays: Mapping[str, Array]) -> bytes:
        """The snapshot. model: the hash of what may go on from it, 16 bytes or more. Raises: ShapeError."""
        parts = []
        for field in self.fields:
            array = np.ascontiguousarray(arrays[field.name], field.dtype)
            if array.ndim != len(field.shape) or any(n not in (None, m) for n, m in zip(field.shape, array.shape, strict=True)):
                raise ShapeError(f"snapshot: expected {field.name} of {field.shape}, got {array.shape}")
            if field.shape and field.shape[0] is None:
                if len(array) > field.most:
                    got = f"{len(array):,}; reset the stream, or push less"
                    raise ShapeError(f"snapshot: expected at most {field.most:,} of {field.name}, got {got}")
                parts.append(struct.pack("<Q", len(array)))
            if field.finite and array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ShapeError(f"snapshot: expected finite numbers in {field.name}, got NaN or Inf; reset the stream")
            parts.append(array.tobytes())
        payload = b"".join(parts)
        head = _HEADER.pack(MAGIC, VERSION, 0, model[:16], self.hash, steps, len(payload), zlib.crc32(payload))
        return head + _CRC.pack(zlib.crc32(head)) + payload

    def unpack(self, body: object, model: bytes) -> Restored:
        """Read a snapshot of this model. Raises: FormatError that says what is wrong with it and what to do."""
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise FormatError(
                f"state: expected the bytes of a snapshot, got {type(body).__name__}; pass what snapshot() returned"
            )
        whole = bytes(body[: MOST_BYTES + 1])
        steps, payload = self._payload(whole, model)
        arrays: dict[str, Array] = {}
        at = 0
        for field in self.fields:
            arrays[field.name], at = _read(field, payload, at)
        if at != len(payload):
            raise _fault(f"{len(payload) - at} bytes stand behind its last field")
        return Restored(steps, arrays)

    def _payload(self, body: bytes, model: bytes) -> tuple[int, bytes]:
        if len(body) < HEADER_BYTES or len(body) > MOST_BYTES:
            raise _fault(f"expected {HEADER_BYTES} to {MOST_BYTES:,} bytes, got {len(body):,}")
        magic, version, reserved, of_model, of_schema, steps, length, crc = _HEADER.unpack_from(body)
        if magic != MAGIC:
            raise _fault("it does not begin as one")
        if _CRC.unpack_from(body, _HEADER.size)[0] != zlib.crc32(body[: _HEADER.size]):
            raise _fault("the checksum of its header does not fit")
        if version != VERSION or reserved:
            raise FormatError(
                f"state: expected version {VERSION} of a snapshot, got {version}; it was written by another version of Tidegate: "
                "start a new stream"
            )
        if of_model != model[:16]:
            raise FormatError(
                "state: expected a snapshot of this model, got one of another; load the model that it was made with"
            )
        if of_schema != self.hash:
            raise FormatError(
                f"state: expected a snapshot of a stream for {self.kind!r} with the same options, got one of another kind; "
                "make the stream with the options that it had"
            )
        payload = body[HEADER_BYTES:]
        if length != len(payload) or crc != zlib.crc32(payload):
            raise _fault(f"its header announces {length:,} bytes with another checksum, {len(payload):,} are there")
        if steps >= 1 << 62:
            raise _fault(f"expected fewer than 2^62 steps, got {steps}")
        return steps, payload


def _read(field: Field, payload: bytes, at: int) -> tuple[Array, int]:
    """One field, and where the next one begins."""
    shape = list(field.shape)
    if shape and shape[0] is None:
        if at + 8 > len(payload):
            raise _fault(f"it ends within {field.name}")
        count = int(struct.unpack_from("<Q", payload, at)[0])
        if count > field.most:
            raise _fault(f"expected at most {field.most:,} of {field.name}, got {count:,}")
        shape[0] = count
        at += 8
    dtype, sizes = np.dtype(field.dtype), [int(n or 0) for n in shape]
    count = 1
    for n in sizes:
        count *= n
    if count * dtype.itemsize > len(payload) - at:
        raise _fault(f"it ends within {field.name}")
    array = np.frombuffer(payload, dtype, count, at).reshape(sizes).astype(dtype.newbyteorder("="))
    if field.finite and dtype.kind == "f" and not np.isfinite(array).all():
        raise _fault(f"expected finite numbers in {field.name}, got NaN or Inf")
    return array, at + count * dtype.itemsize


def _fault(what: str) -> FormatError:
    return FormatError(f"state: not a sound snapshot: {what}. Take the snapshot again, or start a new stream.")
