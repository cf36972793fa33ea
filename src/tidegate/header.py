"""The header of a file, read as if anybody had written it. In: the first bytes of a file, its size. Out: what it says, checked.

Nothing is allocated by a size that stands in it, and nothing of the file beyond it has to be read for the checks.
Limits: 1 MiB with 32,768 lists and tables and 131,072 values, metadata 32 deep, 4,096 arrays, 4 dimensions, dtypes of `DTYPES`,
names of `a-z 0-9 _ .`.
"""

from __future__ import annotations

import json
import math
import re
from typing import NamedTuple, TypeGuard

import numpy as np

from tidegate.config import Plain
from tidegate.errors import shown

FORMAT = 1
MAX_HEADER = 1 << 20
MAX_TABLES = 1 << 15  # a table takes some 200 bytes for the 7 that it is written with
MAX_VALUES = 1 << 17
MAX_ARRAYS = 4096
MAX_DIMENSIONS = 4
MAX_DIGITS = 1000
MAX_DEPTH = 32  # of the metadata
DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
_MAX_ELEMENTS = 1 << 48  # also of a shape that holds a 0, which NumPy cannot make above its own limit
NAME = re.compile(r"[a-z][a-z0-9_.]{0,159}\Z")
_LONG_NUMBER = re.compile(rb"[:,\[\s]-?[0-9]{%d}" % (MAX_DIGITS + 1))
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
NAMING = "expected lower-case letters, digits, _ and ., at most 160, first a letter"


class Fault(Exception):
    """What is wrong, in words."""


class Foreign(Fault):
    """A file of another kind, and what to do instead."""


class Described(NamedTuple):
    """An array, as its entry says; places are bytes after the header."""

    name: str
    code: str
    shape: tuple[int, ...]
    first: int
    last: int


class Planned(NamedTuple):
    """What the header says: where the arrays start, the metadata, the arrays."""

    start: int
    own: dict[str, Plain]
    arrays: list[Described]


def planned(head: bytes, size: int) -> Planned:
    """The header, checked against the size of the whole file before the rest of it is read."""
    table, start = _header(head)
    own = _metadata(table)
    if len(table) > MAX_ARRAYS:
        raise Fault(f"{len(table):,} arrays, at most {MAX_ARRAYS:,} are allowed")
    arrays = [_described(name, entry) for name, entry in table.items()]
    expected = 0
    for array in sorted(arrays, key=lambda array: (array.first, array.last)):
        if array.first != expected:
            raise Fault(f"array {shown(array.name)}: starts at byte {array.first}, expected {expected}")
        expected = array.last
    if start + expected != size:
        raise Fault(f"cut short or altered: {size:,} bytes, expected {start + expected:,}")
    return Planned(start, own, arrays)


def _header(body: bytes) -> tuple[dict[str, object], int]:
    size = header_size(body)
    if 8 + size > len(body):
        raise Fault(f"cut short: the header needs {8 + size:,} bytes, the file has {len(body):,}")
    text = body[8 : 8 + size]
    check_text(text)
    try:
        table = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Fault(f"the header is not JSON ({type(error).__name__})") from None
    if not isinstance(table, dict):
        raise Fault("the header is not a table")
    return table, 8 + size


def check_text(text: bytes) -> None:
    """What JSON would become stays small, and is made quickly. Raises: Fault."""
    for what, count, most in (
        ("lists and tables", text.count(b"{") + text.count(b"["), MAX_TABLES),  # of the metadata too, which are a text in it
        ("values", text.count(b","), MAX_VALUES),
    ):
        if count > most:
            raise Fault(f"the header holds more than {most:,} {what}")
    if _LONG_NUMBER.search(text):  # a million digits take seconds where Python has no limit of its own (before 3.10.7)
        raise Fault(f"the header holds a number of more than {MAX_DIGITS:,} digits")


def header_size(body: bytes) -> int:
    """The length of the header, from the first eight bytes. Raises: Fault."""
    if len(body) < 8:
        raise Fault(f"{len(body)} bytes, expected at least 8")
    size = int.from_bytes(body[:8], "little")
    if size > MAX_HEADER:
        raise Foreign("this is not a model file (it may be data: give it with --data); train a model with `tidegate fit`")
    return size


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise Fault("a name stands twice in the header")
    return table


def _metadata(table: dict[str, object]) -> dict[str, Plain]:
    metadata = table.pop("__metadata__", None)
    text = metadata.get("tidegate") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise Foreign("was not written by Tidegate; train a model with `tidegate fit`")
    if isinstance(metadata, dict) and len(metadata) > 1:
        raise Fault("its metadata have more than one entry")
    try:
        own = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Fault(f"its metadata are not JSON ({type(error).__name__})") from None
    if deep(own):
        raise Fault(f"its metadata are more than {MAX_DEPTH} tables deep")
    if not isinstance(own, dict) or own.get("content") not in ("model", "checkpoint"):
        raise Fault("its metadata lack the content")
    if not isinstance(own.get("sha256"), str) or not _DIGEST.match(own["sha256"]):
        raise Fault("its metadata lack the SHA-256")
    version = own.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise Fault(f"format version {shown(version)}")
    if version > FORMAT:
        raise Fault(f"format version {shown(version)}; this Tidegate reads up to {FORMAT}: update it")
    return own


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Fault(f"{digits[:60]} in its metadata")
    return number


def deep(own: object) -> bool:
    """Whether tables and lists stand in each other more than MAX_DEPTH times: what walks them later would run out of stack."""
    level = [own]
    for _ in range(MAX_DEPTH + 1):
        inside = (node.values() if isinstance(node, dict) else node for node in level if isinstance(node, (dict, list)))
        level = [child for children in inside for child in children if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


def _no_constant(name: str) -> float:
    raise Fault(f"{name} in its metadata")


def _described(name: str, entry: object) -> Described:
    if not NAME.match(name):
        raise Fault(f"array {shown(name)}: {NAMING}")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Fault(f"array {shown(name)}: expected dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise Fault(f"array {shown(name)}: dtype {shown(code)}, expected one of {', '.join(DTYPES)}")
    if not _whole(shape) or len(shape) > MAX_DIMENSIONS:
        raise Fault(f"array {shown(name)}: a shape of at most {MAX_DIMENSIONS} whole numbers is expected")
    if math.prod(max(n, 1) for n in shape) > _MAX_ELEMENTS:
        raise Fault(f"array {shown(name)}: shape {shape} is too large")
    if not _whole(offsets) or len(offsets) != 2:
        raise Fault(f"array {shown(name)}: two data offsets are expected")
    if offsets[1] - offsets[0] != math.prod(shape) * np.dtype(DTYPES[code]).itemsize:
        raise Fault(f"array {shown(name)}: its size does not fit its shape")
    return Described(name, code, tuple(shape), offsets[0], offsets[1])


def _whole(values: object) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 1 << 48 for v in values)
