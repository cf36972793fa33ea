"""Hostile files of the container: each broke a reader of models somewhere, or would. In: nothing. Out: bytes, and what is said.

Built by code, with a right SHA-256 wherever there is a place for one: what refuses them is the check that they aim at.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import safetensors.numpy

from tests.fuzz.forge import entry, forge, owned
from tidegate.header import FORMAT, MAX_HEADER


class Exhibit(NamedTuple):
    """One hostile file."""

    name: str
    history: str  # where such a file did harm, or what it is after
    make: Callable[[], bytes]
    said: str  # a pattern of the refusal


def compact(table: object) -> str:
    """JSON as the writer writes it."""
    return json.dumps(table, separators=(",", ":"))


def one(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4), data: bytes = b"\0" * 4) -> Callable[[], bytes]:
    """A file of one array."""
    return lambda: forge(entries={"a": entry(dtype, shape, offsets)}, data=data)


def two(first: dict[str, object], second: dict[str, object], size: int) -> Callable[[], bytes]:
    """A file of two arrays."""
    return lambda: forge(entries={"a": first, "b": second}, data=b"\0" * size)


def named(name: str) -> Callable[[], bytes]:
    """A file of one array of that name."""
    return lambda: forge(entries={name: entry()}, data=b"\0" * 4)


def within(text: str) -> Callable[[], bytes]:
    """A file whose metadata go on with a text."""
    return lambda: forge(compact(owned())[:-1] + text + "}")


def nested(mark: str, closing: str, depth: int) -> Callable[[], bytes]:
    """A header of brackets in brackets."""
    return lambda: forge(head='{"a":' + mark * depth + "1" + closing * depth + "}")


def _escaped() -> bytes:
    return forge(head=json.dumps({"__metadata__": {"tidegate": compact(owned()).replace("sha", "\\u0073ha")}}))


GGUF = "GGUF readers multiplied sizes from the file until they wrapped: CVE-2024-21802, CVE-2024-23605, CVE-2025-53630"
SPANS = "safetensors' audit (Trail of Bits 2023) made overlaps and holes an error: a file that is two things to two readers"
JSON = "JSON readers differ on it, so that one checks what another does not read"
TYPES = "element types mistaken for each other: llama.cpp PR #26690"
CODE = "config.json of Keras named Python callables: CVE-2025-1550; a path or a class in a file is never looked up here"
DEEP = "recursive readers of JSON run out of stack"
SIZE = "a small file that asks for much memory or time: gguf-py hung on 43 bytes and took 120 MB/s (llama.cpp PR #27188)"
FOREIGN = "not ours; it must not be taken for a broken file of ours, nor opened by a reader of its own"
SHORT = "64-byte files crashed ExecuTorch 1.1 to 1.3.1: sizes were believed before they were compared with the file's"
DIGEST = "a checksum that is not compared, or compared with itself, guards nothing"
POISON = "one NaN among the weights makes every answer NaN, and one Inf most"

CONTAINER: tuple[Exhibit, ...] = (
    # the header's length, and the file's
    Exhibit("header length 2^63", GGUF, lambda: struct.pack("<Q", 1 << 63) + b"{}", "this is not a model file"),
    Exhibit("header length 2^64 - 8", GGUF, lambda: struct.pack("<Q", (1 << 64) - 8) + b"{}", "this is not a model file"),
    Exhibit("header beyond the limit", SIZE, lambda: struct.pack("<Q", MAX_HEADER + 1) + b" " * (MAX_HEADER + 1), "--data"),
    Exhibit("header longer than the file", SHORT, lambda: struct.pack("<Q", 500) + b"{}", "cut short"),
    Exhibit("nothing", SHORT, lambda: b"", "0 bytes, expected at least 8"),
    Exhibit("seven bytes", SHORT, lambda: b"\2\0\0\0\0\0\0", "7 bytes, expected at least 8"),
    Exhibit("a length and nothing", SHORT, lambda: struct.pack("<Q", 0), "not JSON"),
    # JSON
    Exhibit("lists in lists", DEEP, nested("[", "]", 30_000), "not JSON"),
    Exhibit("tables in tables", DEEP, nested('{"a":', "}", 30_000), "not JSON"),
    Exhibit("lists in lists of metadata", DEEP, lambda: forge('{"a":' + "[" * 30_000 + "]" * 30_000 + "}"), "not JSON"),
    Exhibit("metadata 900 lists deep", DEEP, within(',"card":' + "[" * 900 + "]" * 900), "more than 32 tables deep"),
    Exhibit("300,000 tables", SIZE, lambda: forge(head='{"a":[' + "{}," * 300_000 + "{}]}"), "more than 32,768 lists and"),
    Exhibit("110,000 tables of one", SIZE, within(',"a":[' + '{"":0},' * 110_000 + "0]"), "more than 32,768 lists and"),
    Exhibit("half a million numbers", SIZE, within(',"a":[' + "0," * 500_000 + "0]"), "more than 131,072 values"),
    Exhibit("a number of a million digits", SIZE, lambda: forge(head='{"a":' + "9" * 1_000_000 + "}"), "more than 1,000 digits"),
    Exhibit("a number of 3,000 digits", SIZE, within(',"a":' + "9" * 3000), "a number of more than 1,000 digits"),
    Exhibit("not UTF-8", JSON, lambda: struct.pack("<Q", 4) + b'{"\xff"', "not JSON"),
    Exhibit("a byte order mark", JSON, lambda: forge(head="\ufeff{}"), "not JSON"),
    Exhibit("a NUL after the table", JSON, lambda: forge(head="{}\0"), "not JSON"),
    Exhibit("two tables", JSON, lambda: forge(head="{}{}"), "not JSON"),
    Exhibit("a comment", JSON, lambda: forge(head="{/* */}"), "not JSON"),
    Exhibit("a list for a header", JSON, lambda: forge(head="[]"), "not a table"),
    Exhibit("an array twice", JSON, lambda: forge(head='{"__metadata__":{"tidegate":""},"a":1,"a":2}'), "stands twice"),
    Exhibit("a key of metadata twice", JSON, lambda: forge('{"content":"model","content":"model"}'), "stands twice"),
    Exhibit("a key twice, deep down", JSON, within(',"options":{"a":1,"\\u0061":2}'), "stands twice"),
    Exhibit("NaN in metadata", JSON, within(',"a":NaN'), "NaN in its metadata"),
    Exhibit("Infinity in metadata", JSON, within(',"a":-Infinity'), "-Infinity in its metadata"),
    Exhibit("Infinity by overflow", JSON, within(',"a":1e999'), "1e999 in its metadata"),
    # metadata
    Exhibit("no metadata", FOREIGN, lambda: forge(head="{}"), "not written by Tidegate"),
    Exhibit("metadata a list", FOREIGN, lambda: forge(head='{"__metadata__":[]}'), "not written by Tidegate"),
    Exhibit("metadata a number", FOREIGN, lambda: forge(head='{"__metadata__":{"tidegate":1}}'), "not written by Tidegate"),
    Exhibit(
        "metadata of two writers", JSON,
        lambda: forge(head=compact({"__metadata__": {"tidegate": compact(owned()), "format": "pt"}})), "more than one entry",
    ),
    Exhibit("metadata's metadata a list", TYPES, lambda: forge("[]"), "lack the content"),
    Exhibit("content pickle", CODE, lambda: forge(owned(content="pickle")), "lack the content"),
    Exhibit("content a list", TYPES, lambda: forge(owned(content=[])), "lack the content"),
    Exhibit("a newer format", JSON, lambda: forge(owned(format=FORMAT + 1)), f"format version {FORMAT + 1}.*update it"),
    Exhibit("format 0", TYPES, lambda: forge(owned(format=0)), "format version 0"),
    Exhibit("format true", TYPES, lambda: forge(owned(format=True)), "format version True"),
    Exhibit("format text", TYPES, lambda: forge(owned(format="1")), "format version '1'"),
    # the checksum
    Exhibit("no digest", DIGEST, lambda: forge({"content": "model", "format": 1}), "lack the SHA-256"),
    Exhibit("a short digest", DIGEST, lambda: forge(owned(sha256="ab")), "lack the SHA-256"),
    Exhibit("a digest of surrogates", DIGEST, lambda: forge(owned(sha256="\ud800" * 64)), "lack the SHA-256"),
    Exhibit("a digest of zeros", DIGEST, lambda: forge(sign=False), "does not match"),
    Exhibit("a digest spelt with an escape", DIGEST, _escaped, "stand where it should"),
    Exhibit("two digests", DIGEST, within(',"sha256":"' + "1" * 64 + '"'), "stands twice"),
    # entries
    Exhibit("an entry a number", TYPES, lambda: forge(entries={"a": 1}), "expected dtype, shape"),
    Exhibit("an entry with a URL", CODE, lambda: forge(entries={"a": {**entry(), "url": "x"}}), "expected dtype, shape"),
    Exhibit("an entry with less", TYPES, lambda: forge(entries={"a": {"dtype": "F32"}}), "expected dtype, shape"),
    Exhibit("an unknown dtype", TYPES, one("BF16", (2,)), "dtype 'BF16', expected one of"),
    Exhibit("a dtype that is a list", TYPES, one([]), "dtype"),
    Exhibit("a dtype of objects", CODE, one("O", (1,), (0, 8), b"\0" * 8), "dtype 'O', expected one of"),
    Exhibit("a shape that is text", TYPES, one(shape="1"), "a shape of at most 4"),
    Exhibit("a shape of floats", TYPES, one(shape=(1.0,)), "a shape of at most 4"),
    Exhibit("a shape of true", TYPES, one(shape=(True,)), "a shape of at most 4"),
    Exhibit("a negative shape", GGUF, one(shape=(-1, -1)), "a shape of at most 4"),
    Exhibit("a dimension of 2^63", GGUF, one(shape=(1 << 63,)), "a shape of at most 4"),
    Exhibit("a dimension of 2^64 + 1", GGUF, one(shape=((1 << 64) + 1,)), "a shape of at most 4"),
    Exhibit("five dimensions", GGUF, one(shape=(1, 1, 1, 1, 1)), "a shape of at most 4"),
    Exhibit("sizes whose product wraps", GGUF, one(shape=(1 << 33, 1 << 31, 4)), "is too large"),
    Exhibit("a product that wraps to its size", GGUF, one(shape=((1 << 47) + 1, 1 << 17)), "is too large"),
    Exhibit("huge sizes and a zero", GGUF, one(shape=(0, 1 << 40, 1 << 40), offsets=(0, 0), data=b""), "is too large"),
    Exhibit("a shape beyond its bytes", GGUF, one(shape=(2,)), "does not fit its shape"),
    Exhibit("a shape of other bytes", TYPES, one("F64"), "does not fit its shape"),
    Exhibit("offsets backwards", GGUF, one(offsets=(4, 0)), "does not fit its shape"),
    Exhibit("a negative offset", GGUF, one(offsets=(-4, 0)), "two data offsets"),
    Exhibit("offsets of floats", TYPES, one(offsets=(0.0, 4.0)), "two data offsets"),
    Exhibit("three offsets", TYPES, one(offsets=(0, 4, 4)), "two data offsets"),
    Exhibit("offsets beyond the file", GGUF, one(shape=(1 << 40,), offsets=(0, 1 << 42)), "bytes, expected"),
    # spans
    Exhibit("an alias", SPANS, two(entry(), entry(), 4), "starts at byte 0, expected 4"),
    Exhibit("an overlap", SPANS, two(entry("U8", (4,)), entry("U8", (4,), (2, 6)), 6), "starts at byte 2, expected 4"),
    Exhibit("one inside another", SPANS, two(entry("U8", (8,), (0, 8)), entry("U8", (4,), (2, 6)), 8), "byte 2, expected 8"),
    Exhibit("a hole", SPANS, two(entry(), entry(offsets=(8, 12)), 12), "starts at byte 8, expected 4"),
    Exhibit("a hole at the start", SPANS, one(offsets=(4, 8), data=b"\0" * 8), "starts at byte 4, expected 0"),
    Exhibit("bytes left over", SPANS, one(data=b"\0" * 8), "bytes, expected"),
    Exhibit("another file at the end", SPANS, one(data=b"\0" * 4 + b"PK\3\4" + b"\0" * 60), "bytes, expected"),
    Exhibit("bytes missing", SHORT, one(data=b"\0"), "bytes, expected"),
    # numbers
    Exhibit("a bool that is 2", TYPES, one("BOOL", (1,), (0, 1), b"\2"), "other than 0 and 1"),
    Exhibit("weights of NaN", POISON, one(data=np.float32([np.nan]).tobytes()), "array 'a' holds NaN or Inf"),
    Exhibit("weights of -Inf", POISON, one("F64", (1,), (0, 8), np.float64([-np.inf]).tobytes()), "holds NaN or Inf"),
    # names
    Exhibit("a name that climbs", CODE, named("../../secret"), "expected lower-case letters"),
    Exhibit("a name that is a path", CODE, named("/dev/zero"), "expected lower-case letters"),
    Exhibit("a name of another disk", CODE, named("C:\\weights"), "expected lower-case letters"),
    Exhibit("a name with a NUL", JSON, named("net0.a\0"), "expected lower-case letters"),
    Exhibit("a name with a line end", JSON, named("net0.a\n"), "expected lower-case letters"),
    Exhibit("a name of a surrogate", JSON, named("\ud800"), "expected lower-case letters"),
    Exhibit("a name that turns the line round", JSON, named("net0\u202e.a"), "expected lower-case letters"),
    Exhibit("no name", JSON, named(""), "expected lower-case letters"),
    Exhibit("a name of half a megabyte", SIZE, named("x" * (1 << 19)), "expected lower-case letters"),
    Exhibit(
        "15,000 arrays of nothing", SIZE,
        lambda: forge(entries={f"a{k}": entry("U8", (0,), (0, 0)) for k in range(15_000)}), "more than 32,768 lists and",
    ),
    Exhibit(
        "5,000 arrays of nothing", SIZE,
        lambda: forge(entries={f"a{k}": entry("U8", (0,), (0, 0)) for k in range(5000)}), "5,000 arrays, at most 4,096",
    ),
    Exhibit(
        "100,000 arrays", SIZE, lambda: forge(entries={f"a{k}": entry("U8", (0,), (0, 0)) for k in range(100_000)}),
        "this is not a model file",
    ),
    # files of others
    Exhibit("somebody else's safetensors", FOREIGN, lambda: safetensors.numpy.save({"w": np.ones(3)}), "not written by Tidegate"),
    Exhibit(
        "somebody else's, with metadata", FOREIGN, lambda: safetensors.numpy.save({"w": np.ones(3)}, {"format": "pt"}),
        "not written by Tidegate",
    ),
    Exhibit("a pickle", "CVE-2025-32434 and many before: to read a pickle is to run it", lambda: pickle.dumps(print), "--data"),
    Exhibit("a zip", FOREIGN, lambda: b"PK\x03\x04" + b"\0" * 100, "not JSON|cut short|not a model file"),
    Exhibit("GGUF", FOREIGN, lambda: b"GGUF\3\0\0\0" + b"\xff" * 40, "not a model file"),
    Exhibit("HDF5", FOREIGN, lambda: b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "not a model file"),
)  # fmt: skip
