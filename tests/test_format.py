"""The model file: round trips, every cut and every flipped byte refused, hostile headers, the safetensors package as oracle."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.fuzz.forge import entry, forge
from tidegate import format as container
from tidegate.errors import FormatError, OutputError
from tidegate.format import dump, parse, read, write
from tidegate.header import DTYPES, MAX_ARRAYS, MAX_HEADER

Arrays = dict[str, npt.NDArray[np.generic]]
SMALL = dump("model", {"task": "t"}, {"a.w": np.float32([[1.5, -2.0]]), "b": np.array([True, False])})

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
headers = st.dictionaries(st.text().filter(lambda k: k not in ("format", "content", "sha256")), json_values, max_size=4)
names = st.from_regex(r"[a-z][a-z0-9_.]{0,19}", fullmatch=True)
any_array = st.sampled_from(sorted(DTYPES.values())).flatmap(
    lambda code: hnp.arrays(
        code, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
        elements={"allow_nan": False, "allow_infinity": False} if code[1] == "f" else None,
    )
)  # fmt: skip
some_arrays = st.dictionaries(names, any_array, max_size=4)


def nested(depth: int) -> object:
    return [nested(depth - 1)] if depth else 1


def same(got: Mapping[str, npt.NDArray[np.generic]], expected: Mapping[str, npt.NDArray[np.generic]]) -> bool:
    return set(got) == set(expected) and all(
        got[n].dtype == expected[n].dtype and got[n].shape == expected[n].shape and got[n].tobytes() == expected[n].tobytes()
        for n in expected
    )


@settings(max_examples=80)
@given(header=headers, arrays=some_arrays, content=st.sampled_from(["model", "checkpoint"]))
def test_whatever_is_written_is_read(header: dict[str, object], arrays: Arrays, content: str) -> None:
    body = dump(content, header, arrays)
    file = parse(body)
    assert (file.content, file.header) == (content, header)
    assert same(file.arrays, arrays)
    assert all(array.flags.aligned and not array.flags.writeable for array in file.arrays.values())
    assert body == dump(content, dict(reversed(header.items())), dict(reversed(arrays.items()))), (
        "the same content, the same bytes"
    )
    assert dump(file.content, file.header, file.arrays) == body


@settings(max_examples=30)
@given(arrays=some_arrays)
def test_the_safetensors_package_reads_it(arrays: Arrays) -> None:
    assert same(safetensors.numpy.load(dump("model", {"a": "é\0"}, arrays)), arrays)


def test_a_text_of_digits_is_no_number() -> None:
    assert parse(dump("model", {"a": "7" * 5000}, {})).header == {"a": "7" * 5000}


def test_the_deepest_header_is_read() -> None:
    assert parse(dump("model", {"a": nested(32)}, {})).header == {"a": nested(32)}


def test_the_digest_is_that_of_the_file_with_its_digits_zero() -> None:
    file = parse(SMALL)
    assert SMALL.count(file.sha256.encode()) == 1
    assert hashlib.sha256(SMALL.replace(file.sha256.encode(), b"0" * 64)).hexdigest() == file.sha256


def test_the_layout_is_pinned() -> None:
    """A file of format 1 keeps its bytes, else older Tidegates could not read newer files, nor the other way round."""
    assert hashlib.sha256(SMALL).hexdigest() == "9c67b302155cb5b2dba69e07617cfad342794d2499891da5a21b27321846bbcf"


@pytest.mark.parametrize("value", ["0" * 64, "f" * 64])
def test_a_header_may_hold_other_digests(value: str) -> None:
    header = {"card": {"sha256": value, "data": [{"sha256": value}]}, "zeta": {"sha256": value}, "text": f'"sha256":"{value}"'}
    assert parse(dump("model", header, {"a": np.zeros(1)})).header == header


def test_cut_at_every_length() -> None:
    for length in range(len(SMALL)):
        with pytest.raises(FormatError):
            parse(SMALL[:length])


def test_longer_by_one_byte() -> None:
    with pytest.raises(FormatError, match=r"cut short or altered: .* bytes, expected"):
        parse(SMALL + b"\0")


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, 0xFF])
def test_every_byte_flipped(flip: int) -> None:
    for place in range(len(SMALL)):
        altered = bytearray(SMALL)
        altered[place] ^= flip
        with pytest.raises(FormatError):
            parse(bytes(altered))


@settings(max_examples=300)
@given(body=st.binary(max_size=200) | st.binary(max_size=100).map(lambda b: struct.pack("<Q", len(b)) + b))
@example(b"")
@example(struct.pack("<Q", 2) + b"{}")
@example(struct.pack("<Q", 4) + b"null")
def test_random_bytes(body: bytes) -> None:
    with pytest.raises(FormatError):
        parse(body)


@settings(max_examples=200)
@given(text=json_values.map(json.dumps), padding=st.binary(max_size=16))
def test_random_json(text: str, padding: bytes) -> None:
    with pytest.raises(FormatError):
        parse(struct.pack("<Q", len(text.encode())) + text.encode() + padding)


def test_the_forger_can_make_a_sound_file() -> None:
    """Else the refusals below could have another cause."""
    file = parse(forge(entries={"a": entry()}, data=np.float32([2.5]).tobytes()))
    assert file.arrays["a"].tolist() == [2.5]


def test_arrays_are_views_of_the_file() -> None:
    body = dump("model", {}, {"w": np.zeros(1_000_000)})
    tracemalloc.start()
    file = parse(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert file.arrays["w"].nbytes == 8_000_000
    assert peak < 2_000_000  # the check for NaN takes one byte a number


def test_data_arrays_may_hold_missing_values() -> None:
    file = parse(dump("model", {}, {"data.tail": np.array([1.0, np.nan])}))
    assert np.isnan(file.arrays["data.tail"][1])


def test_other_byte_orders_and_strides_are_written_as_they_read() -> None:
    strange = np.arange(12, dtype=">f4").reshape(3, 4)[:, ::2]
    assert parse(dump("model", {}, {"a": strange})).arrays["a"].tolist() == strange.tolist()


@pytest.mark.parametrize(("arrays", "text"), [
    ({"w": np.array([1.0, np.nan])}, "w: holds NaN or Inf; .*lower learning rate"),
    ({"w": np.array([np.inf])}, "w: holds NaN or Inf"),
    ({"w": np.zeros((1, 1, 1, 1, 1))}, "w: expected at most 4 dimensions, got 5"),
    ({"w": np.array([1j])}, "w: expected one of F64, .*got complex128"),
    ({"w": np.array([object()])}, "w: expected one of .*got object"),
    ({"w": np.array(["a"])}, "w: expected one of .*got <U1"),
    ({"__metadata__": np.zeros(1)}, "array '__metadata__': the name cannot stand in a file"),
    ({"a\ud800": np.zeros(1)}, "the name cannot stand in a file"),
    ({f"a{k}": np.zeros(0) for k in range(MAX_ARRAYS + 1)}, "4,097 arrays, at most 4,096"),
    ({"w" * 161: np.zeros(0)}, "the name cannot stand in a file; expected lower-case letters"),
    ({"../w": np.zeros(0)}, "the name cannot stand in a file"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(arrays: Arrays, text: str) -> None:
    with pytest.raises(FormatError, match=text):
        dump("model", {}, arrays)


@pytest.mark.parametrize(("header", "text"), [
    ({"a": float("nan")}, "header: cannot be written as JSON"),
    ({"a": [float("inf")]}, "header: cannot be written as JSON"),
    ({"format": 3}, "header: 'format' is a name of the format itself"),
    ({"content": "x"}, "header: 'content' is a name"),
    ({"sha256": "x"}, "header: 'sha256' is a name"),
    ({"a": "x" * MAX_HEADER}, "a header of 1,048,"),
    ({"a": nested(33)}, "more than 32 tables deep"),
    ({"a": [[]] * 33_000}, "more than 32,768 lists and tables"),
    ({"a": [0] * 132_000}, "more than 131,072 values"),
    ({"a": 10**1000}, "a number of more than 1,000 digits"),
])  # fmt: skip
def test_a_header_that_cannot_be_written_is_refused(header: dict[str, object], text: str) -> None:
    with pytest.raises(FormatError, match=text):
        dump("model", header, {})


def test_the_largest_number_of_arrays_is_read() -> None:
    assert len(parse(dump("model", {}, {f"a{k}": np.zeros(1, np.uint8) for k in range(MAX_ARRAYS)})).arrays) == MAX_ARRAYS


def test_a_file_on_the_disk(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", "model", {"k": [1, None]}, {"w": np.arange(3.0)})
    assert path == tmp_path / "a.safetensors"
    assert read(path).header == {"k": [1, None]}
    assert read(os.fspath(path)).arrays["w"].tolist() == [0, 1, 2]
    assert safetensors.numpy.load_file(path)["w"].tolist() == [0, 1, 2]


def test_a_checkpoint_is_no_model(tmp_path: Path) -> None:
    path = write(tmp_path / "run", "checkpoint", {}, {})
    with pytest.raises(FormatError, match="run: expected a model, got a checkpoint; name the other file"):
        read(path)
    with pytest.raises(FormatError, match="expected a checkpoint, got a model"):
        read(write(tmp_path / "m", "model", {}, {}), "checkpoint")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none.safetensors: no such file; .*tidegate fit"):
        read(tmp_path / "none.safetensors")
    with pytest.raises(FormatError, match="cannot be read"):
        read(tmp_path)
    with pytest.raises(FormatError, match="no file can have that name"):
        read("a\0b")
    with pytest.raises(OutputError, match="could not be written"):
        write(tmp_path / "no" / "folder", "model", {}, {})


def test_a_large_foreign_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with path.open("wb") as stream:
        stream.write(b"\x1a\x45\xdf\xa3" * 4)
        stream.truncate(1 << 36)  # sparse: 64 GiB that take no room
    tracemalloc.start()
    with pytest.raises(FormatError, match=r"film.mkv: this is not a model file"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_large_file_that_its_header_does_not_explain_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with path.open("wb") as stream:
        stream.write(SMALL)
        stream.truncate(1 << 36)
    tracemalloc.start()
    with pytest.raises(FormatError, match=r"68,719,476,736 bytes, expected"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_devices_and_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link"):
        with pytest.raises(FormatError, match="expected a file, got a device or a pipe"):
            read(path)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.safetensors", "model", {}, {"w": np.arange(1e5)})
    before = container.planned

    def shortened(head: bytes, size: int) -> object:
        found = before(head, size)
        with path.open("r+b") as stream:
            stream.truncate(size - 8)
        return found

    monkeypatch.setattr(container, "planned", shortened)
    with pytest.raises(FormatError, match="changed while it was read"):
        read(path)


def test_a_cut_file_on_the_disk_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(SMALL[:-1])
    with pytest.raises(
        FormatError, match=r"cut.safetensors: not a sound Tidegate file: cut short or altered: .* bytes, expected"
    ):
        read(path)


def test_every_dtype_is_covered() -> None:
    arrays = {code.lower(): np.ones(2, numpy_code) for code, numpy_code in DTYPES.items()}
    assert {a.dtype.str for a in parse(dump("model", {}, arrays)).arrays.values()} == set(DTYPES.values())
