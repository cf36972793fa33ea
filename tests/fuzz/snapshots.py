"""Snapshots of streams as one more reader. In: a byte that names the model, then the snapshot. Out: a stream that goes on.

Most are altered in their payload and given the right lengths and checksums, so that they get past these.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import numpy as np

import tidegate as tg
from tests.fuzz.draft import Seed
from tests.fuzz.seeds import CORPUS
from tidegate.errors import FormatError, TaskError
from tidegate.models.base import Model
from tidegate.models.network import Network
from tidegate.models.streams import ModelStream
from tidegate.runtime import LayerStream, Recurrent
from tidegate.runtime.snapshot import HEADER_BYTES
from tidegate.spec import GATES, Cell

Samples = tuple[object, ...]
AnyStream: TypeAlias = "ModelStream[Any, Any] | LayerStream"
ROWS = tuple([k / 4, -0.5, 1.0] for k in range(5))
AT_CRC, AT_HEAD_CRC, AT_LENGTH = 56, 60, 48
SPECIAL = (0, 1, -1, 255, 1 << 15, (1 << 31) - 1, 1 << 31, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
FLOATS = (0.0, -1.0, 1e30, -1e30, 1e-42, float("nan"), float("inf"))


@cache
def streamed() -> tuple[tuple[Callable[..., AnyStream], Samples], ...]:
    """What opens a stream of each model of the corpus that has one, and of each kind of bare layer; and samples for it."""
    models = [tg.load(path) for path in sorted(CORPUS.iterdir()) if not path.name.startswith("checkpoint")]
    found = [(opened, samples_of(model)) for model in models for opened in streams_of(model)]
    return (*found, *((_layer(cell).stream, ROWS) for cell in GATES))


def streams_of(model: Model) -> list[Callable[..., AnyStream]]:
    """The ways in which a stream of a model is opened; none where it has none."""
    ways: list[Callable[..., AnyStream]] = [model.stream]
    if isinstance(model, tg.Forecaster):
        ways += [partial(model.stream, name) for name in model._ready().panel.ids[:2]]
    elif isinstance(model, tg.Tagger):
        ways = [partial(model.stream, look) for look in (None, 0, 2)]
    with contextlib.suppress(TaskError):
        ways[0]()
        return ways
    return []


def samples_of(model: Model) -> Samples:
    """Five sound samples."""
    if isinstance(model, tg.Forecaster):
        targets = len(model._ready().panel.schema.roles.target)
        return tuple([float(k)] * targets for k in range(5))
    if isinstance(model, Network):
        return tuple(range(5)) if model.options.codes else ROWS
    return ("Ann", "saw", "New", "York", "é")


def _layer(cell: Cell) -> Recurrent:
    rng, rows = np.random.default_rng(0), GATES[cell] * 2
    shapes = {"weight_ih_l0": (rows, 3), "weight_hh_l0": (rows, 2)}
    return Recurrent(cell, {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()})


def pushed(stream: AnyStream, sample: object) -> object:
    """One sample into the stream of a model or of a bare layer."""
    return stream.step(sample) if isinstance(stream, LayerStream) else stream.push(sample)


@cache
def seeds() -> tuple[Seed, ...]:
    """The snapshot of each after some samples."""
    found = []
    for index, (opened, samples) in enumerate(streamed()):
        stream = opened()
        for sample in samples[:3]:
            pushed(stream, sample)
        found.append(Seed(Path(f"snapshot-{index}").name, bytes([index]) + stream.snapshot(), "", {}))
    return tuple(found)


def read(body: bytes) -> tuple[AnyStream, int]:
    """The stream that goes on. Raises: FormatError."""
    if not body or body[0] >= len(streamed()):
        raise FormatError("no such model")
    return streamed()[body[0]][0](state=body[1:]), body[0]


def use(found: object, rng: Random) -> None:
    """One more sample; the snapshot of what was read can be read."""
    assert isinstance(found, tuple)
    stream, index = found
    opened, samples = streamed()[index]
    opened(state=stream.snapshot())
    with np.errstate(all="ignore"):
        pushed(stream, samples[rng.randrange(len(samples))])


def mutant(rng: Random, own: Sequence[Seed]) -> bytes:
    """One altered snapshot."""
    seed = rng.choice(own)
    body = bytearray(seed.body[1:])
    index = seed.body[0] if rng.random() < 0.95 else rng.randrange(256)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _altered(rng, body)
    if rng.random() < 0.8 and len(body) >= HEADER_BYTES:
        payload = bytes(body[HEADER_BYTES:])
        struct.pack_into("<Q", body, AT_LENGTH, len(payload))
        struct.pack_into("<I", body, AT_CRC, zlib.crc32(payload))
        struct.pack_into("<I", body, AT_HEAD_CRC, zlib.crc32(bytes(body[:AT_HEAD_CRC])))
    return bytes([index]) + bytes(body)


def _altered(rng: Random, body: bytearray) -> None:
    """Numbers, bits, pieces; mostly behind the header."""
    first = HEADER_BYTES if rng.random() < 0.9 else 0
    if len(body) <= first + 8:
        body += bytes(rng.randrange(64))
        return
    place, way = rng.randrange(first, len(body) - 8), rng.randrange(7)
    if way == 0:
        struct.pack_into("<Q", body, place, rng.choice(SPECIAL) % (1 << 64))
    elif way == 1:
        struct.pack_into("<f", body, place, rng.choice(FLOATS))
    elif way == 2:
        struct.pack_into("<d", body, place // 8 * 8, rng.choice(FLOATS))
    elif way == 3:
        body[place] ^= 1 << rng.randrange(8)
    elif way == 4:
        del body[place : place + rng.randrange(1, 40)]
    elif way == 5:
        body[place:place] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 40)))
    else:
        body[place : place + 8] = body[first : first + 8]
