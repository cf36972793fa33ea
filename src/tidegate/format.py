"""The model file: one safetensors file that holds everything. In: a header and arrays. Out: bytes; and back, validated.

Layout (safetensors): 8 bytes little-endian length N, N bytes of JSON header, the arrays one after the other, widest numbers
first, so that each is aligned. `__metadata__` has one entry, `tidegate`: canonical JSON (sorted keys, no spaces) with `format`,
`content` ("model" or "checkpoint"), `sha256` and the caller's own keys. The SHA-256 is that of the whole file with its own 64
digits read as zeros. No pickle.

Limits: those of the header (header.py), and finite numbers, except where an array's name starts with `data.`, whose NaN mean
"missing". Everything is validated before anything is allocated by its size.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.errors import FormatError, bounded, shown
from tidegate.files import PathLike, checked_path, write_atomic
from tidegate.header import (
    DTYPES,
    FORMAT,
    MAX_ARRAYS,
    MAX_DEPTH,
    MAX_DIMENSIONS,
    MAX_HEADER,
    NAME,
    NAMING,
    Described,
    Fault,
    Foreign,
    Planned,
    check_text,
    deep,
    header_size,
    planned,
)

_CODES = {np.dtype(code): name for name, code in DTYPES.items()}
_ZEROS = "0" * 64
_MARK = '\\"sha256\\":\\"'  # as it stands inside the escaped metadata string

Array = npt.NDArray[np.generic]
Content = Literal["model", "checkpoint"]


@final
@dataclass(frozen=True)
class File:
    """What stands in a file."""

    content: Content
    header: dict[str, Plain]
    arrays: dict[str, Array]
    sha256: str


def dump(content: Content, header: Mapping[str, Plain], arrays: Mapping[str, Array]) -> bytes:
    """The bytes of a file. The same content gives the same bytes.

    Raises: FormatError where the content is over the limits or holds NaN or Inf.
    """
    if len(arrays) > MAX_ARRAYS:
        raise FormatError(f"the model is too large for one file: {len(arrays):,} arrays, at most {MAX_ARRAYS:,}; make it smaller")
    codes = {name: _code(name, array) for name, array in arrays.items()}
    table: dict[str, object] = {}
    parts: list[bytes] = []
    offset = 0
    for name in sorted(arrays, key=lambda n: (-arrays[n].itemsize, n)):
        data = np.ascontiguousarray(arrays[name], DTYPES[codes[name]]).tobytes()
        table[name] = {"dtype": codes[name], "shape": list(arrays[name].shape), "data_offsets": [offset, offset + len(data)]}
        parts.append(data)
        offset += len(data)
    return _signed(content, header, table, parts)


def write(path: PathLike, content: Content, header: Mapping[str, Plain], arrays: Mapping[str, Array]) -> Path:
    """Write a file, whole or not at all. Raises: FormatError, OutputError."""
    return write_atomic(path, dump(content, header, arrays))


def read(path: PathLike, content: Content = "model") -> File:
    """Read and validate a file. Raises: FormatError that names the file, what is wrong with it and what to do."""
    place = checked_path("path", path)
    where = bounded(place)
    try:
        file = _opened(Path(place), where)
    except FileNotFoundError as error:
        raise FormatError(f"{where}: no such file; check the path, or make a model with `tidegate fit`") from error
    except OSError as error:
        raise FormatError(f"{where}: cannot be read ({error.strerror}); check the path and its rights") from error
    except ValueError as error:
        raise FormatError(f"{where!r}: no file can have that name; check the path") from error
    if file.content != content:
        raise FormatError(f"{where}: expected a {content}, got a {file.content}; name the other file")
    return file


def _opened(path: Path, where: str) -> File:
    """The file at a path; one that cannot be ours is refused after its first eight bytes, or after its header, however large."""
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):  # a device may have no end, and a pipe no beginning
        raise FormatError(f"{where}: expected a file, got a device or a pipe; write its content into a file first")
    with path.open("rb") as stream:
        try:
            head = stream.read(8)
            head += stream.read(header_size(head))
            plan = planned(head, os.fstat(stream.fileno()).st_size)
            return _filled(head + stream.read(), plan)
        except Fault as fault:
            raise _format_error(where, fault) from None


def _format_error(where: str, fault: Fault) -> FormatError:
    if isinstance(fault, Foreign):
        return FormatError(f"{where}: {fault}")
    return FormatError(f"{where}: not a sound Tidegate file: {fault}. Fetch or save the file again.")


def parse(body: bytes, where: str = "file") -> File:
    """Validate bytes and view their arrays. Raises: FormatError."""
    try:
        return _filled(body, planned(body, len(body)))
    except Fault as fault:
        raise _format_error(where, fault) from None


def _filled(body: bytes, plan: Planned) -> File:
    """The file, once its digest and its arrays are sound."""
    if len(body) != plan.start + max((array.last for array in plan.arrays), default=0):
        raise Fault("it changed while it was read")
    _check_digest(body, plan.start, plan.own)
    arrays = {array.name: _array(body, plan.start, array) for array in plan.arrays}
    rest = {key: value for key, value in plan.own.items() if key not in ("content", "sha256", "format")}
    return File(cast(Content, plan.own["content"]), rest, arrays, cast(str, plan.own["sha256"]))


def _signed(content: Content, header: Mapping[str, Plain], table: Mapping[str, object], parts: list[bytes]) -> bytes:
    """The whole file, with its SHA-256 in place."""
    text = _own_json({**header, "format": FORMAT, "content": content}, _ZEROS, taken=header)
    if deep(dict(header)):
        raise FormatError(f"header: more than {MAX_DEPTH} tables deep; make it flatter")
    # A caller's own key may be called sha256 too, and be zero: a digest that nothing else can hold marks the place.
    mark = hashlib.sha256(text.encode()).hexdigest()
    text = _own_json({**header, "format": FORMAT, "content": content}, mark)
    head = json.dumps({"__metadata__": {"tidegate": text}, **table}, separators=(",", ":"), ensure_ascii=True).encode()
    head += b" " * (-len(head) % 8)
    if len(head) > MAX_HEADER:
        raise FormatError(
            f"the model is too large for one file: a header of {len(head):,} bytes, at most {MAX_HEADER:,}; make it smaller"
        )
    try:
        check_text(head)
    except Fault as fault:
        raise FormatError(f"the model is too large for one file: {fault}; make it smaller") from None
    place = 8 + head.index((_MARK + mark).encode()) + len(_MARK)
    start = len(head).to_bytes(8, "little") + head
    seen = hashlib.sha256(start[:place] + _ZEROS.encode() + start[place + 64 :])
    for part in parts:
        seen.update(part)
    return b"".join([start[:place], seen.hexdigest().encode(), start[place + 64 :], *parts])


def _own_json(own: Mapping[str, Plain], digest: str, taken: Mapping[str, Plain] | None = None) -> str:
    for key in ("format", "content", "sha256"):
        if taken is not None and key in taken:
            raise FormatError(f"header: {key!r} is a name of the format itself; choose another")
    try:
        return json.dumps({**own, "sha256": digest}, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"header: cannot be written as JSON ({error}); it takes finite numbers, text, lists and tables"
        ) from error


def _code(name: str, array: Array) -> str:
    if not NAME.match(name):
        raise FormatError(f"array {shown(name)}: the name cannot stand in a file; {NAMING}")
    code = _CODES.get(array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype)
    if code is None:
        raise FormatError(f"{name}: expected one of {', '.join(DTYPES)}, got {array.dtype}")
    if array.ndim > MAX_DIMENSIONS:
        raise FormatError(f"{name}: expected at most {MAX_DIMENSIONS} dimensions, got {array.ndim}")
    if not _sound(name, array):
        raise FormatError(f"{name}: holds NaN or Inf; a model file holds finite numbers. Train again with a lower learning rate.")
    return code


def _sound(name: str, array: Array) -> bool:
    return array.dtype.kind != "f" or name.startswith("data.") or bool(np.all(np.isfinite(cast(npt.NDArray[np.floating], array))))


def _check_digest(body: bytes, start: int, own: dict[str, Plain]) -> None:
    digest = cast(str, own["sha256"]).encode()
    marked = _MARK.encode() + digest
    if body.count(marked, 8, start) != 1:
        raise Fault("its SHA-256 does not stand where it should")
    place = body.index(marked, 8, start) + len(_MARK)
    seen = hashlib.sha256(body[:place])
    seen.update(_ZEROS.encode())
    seen.update(memoryview(body)[place + 64 :])
    if seen.hexdigest().encode() != digest:
        raise Fault("its SHA-256 does not match: the file was cut short or altered")


def _array(body: bytes, start: int, told: Described) -> Array:
    """A view of an array's bytes."""
    array = np.frombuffer(body, DTYPES[told.code], math.prod(told.shape), start + told.first).reshape(told.shape)
    if told.code == "BOOL" and bool(np.any(array.view(np.uint8) > 1)):
        raise Fault(f"array {shown(told.name)}: a byte other than 0 and 1 where true or false is expected")
    if not _sound(told.name, array):
        raise Fault(f"array {shown(told.name)} holds NaN or Inf")
    return array
