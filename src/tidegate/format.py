"""The model file: one safetensors file that holds everything. In: a header and arrays. Out: bytes; and back, validated.

Layout (safetensors): 8 bytes little-endian length N, N bytes of JSON header, the arrays one after the other, widest numbers
first, so that each is aligned. `__metadata__` has one entry, `tidegate`: canonical JSON (sorted keys, no spaces) with `format`,
`content` ("model" or "checkpoint"), `sha256` and the caller's own keys. The SHA-256 is that of the whole file with its own 64
digits read as zeros. No pickle.

Limits: header 1 MiB with 32,768 lists and tables and 131,072 values, metadata 32 deep, 4,096 arrays, 4 dimensions, dtypes of `DTYPES`, names of
`a-z 0-9 _ .`, finite numbers (except where the name starts with `data.`, whose NaN mean "missing"). Everything is validated
before anything is allocated by its size.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeGuard, cast, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.errors import FormatError, shown
from tidegate.files import PathLike, write_atomic

FORMAT = 1
MAX_HEADER = 1 << 20
MAX_TABLES = 1 << 15  # a table takes some 200 bytes for the 7 that it is written with
MAX_VALUES = 1 << 17
MAX_ARRAYS = 4096
MAX_DIMENSIONS = 4
MAX_DIGITS = 1000
MAX_DEPTH = 32  # of the metadata
DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I16": "<i2", "U8": "|u1", "BOOL": "|b1"}
_CODES = {np.dtype(code): name for name, code in DTYPES.items()}
_MAX_ELEMENTS = 1 << 48  # also of a shape that holds a 0, which NumPy cannot make above its own limit
_NAME = re.compile(r"[a-z][a-z0-9_.]{0,159}\Z")
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (MAX_DIGITS + 1))
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_ZEROS = "0" * 64
_MARK = '\\"sha256\\":\\"'  # as it stands inside the escaped metadata string

_NAMING = "expected lower-case letters, digits, _ and ., at most 160, first a letter"

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
    where = os.fspath(path)
    try:
        file = _opened(Path(where), where)
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
            head += stream.read(_header_size(head))
            plan = _planned(head, os.fstat(stream.fileno()).st_size)
            return _filled(head + stream.read(), plan)
        except _Fault as fault:
            raise _format_error(where, fault) from None


def _format_error(where: str, fault: _Fault) -> FormatError:
    if isinstance(fault, _Foreign):
        return FormatError(f"{where}: {fault}")
    return FormatError(f"{where}: not a sound Tidegate file: {fault}. Fetch or save the file again.")


def parse(body: bytes, where: str = "file") -> File:
    """Validate bytes and view their arrays. Raises: FormatError."""
    try:
        return _filled(body, _planned(body, len(body)))
    except _Fault as fault:
        raise _format_error(where, fault) from None


class _Described(NamedTuple):
    """An array, as its entry says; places are bytes after the header."""

    name: str
    code: str
    shape: tuple[int, ...]
    first: int
    last: int


class _Planned(NamedTuple):
    """What the header says: where the arrays start, the metadata, the arrays."""

    start: int
    own: dict[str, Plain]
    arrays: list[_Described]


def _planned(head: bytes, size: int) -> _Planned:
    """The header, checked against the size of the whole file before the rest of it is read."""
    table, start = _header(head)
    own = _metadata(table)
    if len(table) > MAX_ARRAYS:
        raise _Fault(f"{len(table):,} arrays, at most {MAX_ARRAYS:,} are allowed")
    arrays = [_described(name, entry) for name, entry in table.items()]
    expected = 0
    for array in sorted(arrays, key=lambda array: (array.first, array.last)):
        if array.first != expected:
            raise _Fault(f"array {shown(array.name)}: starts at byte {array.first}, expected {expected}")
        expected = array.last
    if start + expected != size:
        raise _Fault(f"cut short or altered: {size:,} bytes, expected {start + expected:,}")
    return _Planned(start, own, arrays)


def _filled(body: bytes, plan: _Planned) -> File:
    """The file, once its digest and its arrays are sound."""
    if len(body) != plan.start + max((array.last for array in plan.arrays), default=0):
        raise _Fault("it changed while it was read")
    _check_digest(body, plan.start, plan.own)
    arrays = {array.name: _array(body, plan.start, array) for array in plan.arrays}
    rest = {key: value for key, value in plan.own.items() if key not in ("content", "sha256", "format")}
    return File(cast(Content, plan.own["content"]), rest, arrays, cast(str, plan.own["sha256"]))


class _Fault(Exception):
    """What is wrong, in words."""


class _Foreign(_Fault):
    """A file of another kind, and what to do instead."""


def _signed(content: Content, header: Mapping[str, Plain], table: Mapping[str, object], parts: list[bytes]) -> bytes:
    """The whole file, with its SHA-256 in place."""
    text = _own_json({**header, "format": FORMAT, "content": content}, _ZEROS, taken=header)
    if _deep(dict(header)):
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
    if not _NAME.match(name):
        raise FormatError(f"array {shown(name)}: the name cannot stand in a file; {_NAMING}")
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


def _header(body: bytes) -> tuple[dict[str, object], int]:
    size = _header_size(body)
    if 8 + size > len(body):
        raise _Fault(f"cut short: the header needs {8 + size:,} bytes, the file has {len(body):,}")
    text = body[8 : 8 + size]
    for what, count, most in (
        ("lists and tables", text.count(b"{") + text.count(b"["), MAX_TABLES),  # of the metadata too, which are a text in it
        ("values", text.count(b","), MAX_VALUES),
    ):
        if count > most:
            raise _Fault(f"the header holds more than {most:,} {what}")
    if _LONG_NUMBER.search(text):  # a million digits take seconds where Python has no limit of its own (before 3.10.7)
        raise _Fault(f"a number of more than {MAX_DIGITS:,} digits")
    try:
        table = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _Fault(f"the header is not JSON ({type(error).__name__})") from None
    if not isinstance(table, dict):
        raise _Fault("the header is not a table")
    return table, 8 + size


def _header_size(body: bytes) -> int:
    if len(body) < 8:
        raise _Fault(f"{len(body)} bytes, expected at least 8")
    size = int.from_bytes(body[:8], "little")
    if size > MAX_HEADER:
        raise _Foreign("this is not a model file (it may be data: give it with --data); train a model with `tidegate fit`")
    return size


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise _Fault("a name stands twice in the header")
    return table


def _metadata(table: dict[str, object]) -> dict[str, Plain]:
    metadata = table.pop("__metadata__", None)
    text = metadata.get("tidegate") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise _Foreign("was not written by Tidegate; train a model with `tidegate fit`")
    if len(cast("dict[str, object]", metadata)) > 1:
        raise _Fault("its metadata have more than one entry")
    try:
        own = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise _Fault(f"its metadata are not JSON ({type(error).__name__})") from None
    if _deep(own):
        raise _Fault(f"its metadata are more than {MAX_DEPTH} tables deep")
    if not isinstance(own, dict) or own.get("content") not in ("model", "checkpoint"):
        raise _Fault("its metadata lack the content")
    if not isinstance(own.get("sha256"), str) or not _DIGEST.match(own["sha256"]):
        raise _Fault("its metadata lack the SHA-256")
    version = own.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _Fault(f"format version {shown(version)}")
    if version > FORMAT:
        raise _Fault(f"format version {shown(version)}; this Tidegate reads up to {FORMAT}: update it")
    return own


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _Fault(f"{digits[:60]} in its metadata")
    return number


def _deep(own: object) -> bool:
    """Whether tables and lists stand in each other more than MAX_DEPTH times: what walks them later would run out of stack."""
    level = [own]
    for _ in range(MAX_DEPTH + 1):
        inside = (node.values() if isinstance(node, dict) else node for node in level if isinstance(node, (dict, list)))
        level = [child for children in inside for child in children if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


def _no_constant(name: str) -> float:
    raise _Fault(f"{name} in its metadata")


def _check_digest(body: bytes, start: int, own: dict[str, Plain]) -> None:
    digest = cast(str, own["sha256"]).encode()
    marked = _MARK.encode() + digest
    if body.count(marked, 8, start) != 1:
        raise _Fault("its SHA-256 does not stand where it should")
    place = body.index(marked, 8, start) + len(_MARK)
    seen = hashlib.sha256(body[:place])
    seen.update(_ZEROS.encode())
    seen.update(memoryview(body)[place + 64 :])
    if seen.hexdigest().encode() != digest:
        raise _Fault("its SHA-256 does not match: the file was cut short or altered")


def _array(body: bytes, start: int, told: _Described) -> Array:
    """A view of an array's bytes."""
    array = np.frombuffer(body, DTYPES[told.code], math.prod(told.shape), start + told.first).reshape(told.shape)
    if told.code == "BOOL" and bool(np.any(array.view(np.uint8) > 1)):
        raise _Fault(f"array {shown(told.name)}: a byte other than 0 and 1 where true or false is expected")
    if not _sound(told.name, array):
        raise _Fault(f"array {shown(told.name)} holds NaN or Inf")
    return array


def _described(name: str, entry: object) -> _Described:
    if not _NAME.match(name):
        raise _Fault(f"array {shown(name)}: {_NAMING}")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _Fault(f"array {shown(name)}: expected dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise _Fault(f"array {shown(name)}: dtype {shown(code)}, expected one of {', '.join(DTYPES)}")
    if not _whole(shape) or len(shape) > MAX_DIMENSIONS:
        raise _Fault(f"array {shown(name)}: a shape of at most {MAX_DIMENSIONS} whole numbers is expected")
    if math.prod(max(n, 1) for n in shape) > _MAX_ELEMENTS:
        raise _Fault(f"array {shown(name)}: shape {shape} is too large")
    if not _whole(offsets) or len(offsets) != 2:
        raise _Fault(f"array {shown(name)}: two data offsets are expected")
    if offsets[1] - offsets[0] != math.prod(shape) * np.dtype(DTYPES[code]).itemsize:
        raise _Fault(f"array {shown(name)}: its size does not fit its shape")
    return _Described(name, code, tuple(shape), offsets[0], offsets[1])


def _whole(values: object) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 1 << 48 for v in values)
