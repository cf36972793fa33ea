"""A small model cut at every length, and with every single bit flipped: none of them is read."""

from __future__ import annotations

import pytest

from tests.fuzz.seeds import CORPUS
from tidegate.errors import FormatError
from tidegate.format import parse

MODEL = (CORPUS / "generate-letters.safetensors").read_bytes()


def refused(body: bytes) -> bool:
    try:
        parse(body)
    except FormatError:
        return True
    return False


def test_the_model_is_small_and_sound() -> None:
    assert len(MODEL) <= 8 << 10
    assert parse(MODEL).content == "model"
    assert not refused(MODEL)


def test_every_truncation_is_refused() -> None:
    assert [length for length in range(len(MODEL)) if not refused(MODEL[:length])] == []


@pytest.mark.parametrize("bit", range(8))
def test_every_single_bit_flipped_is_refused(bit: int) -> None:
    body, read = bytearray(MODEL), []
    for place in range(len(body)):
        body[place] ^= 1 << bit
        if not refused(bytes(body)):
            read.append(place)
        body[place] ^= 1 << bit
    assert read == []
