"""Mutations of a sound file. In: a seed and a source of random numbers. Out: bytes that a reader has to refuse or to understand.

Most are made part by part (metadata, arrays, their entries) and signed anew, so that they get past the checksum; `refit` makes
spec and weights follow altered options, so that they get past the checks of these too. The others alter bare bytes.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Sequence
from random import Random

import numpy as np

from tests.fuzz.draft import Array, Draft, Seed
from tests.fuzz.forge import forge, signed
from tests.fuzz.refit import refit
from tidegate.header import DTYPES

NUMBERS: tuple[object, ...] = (
    0, 1, 2, 3, -1, -2, 7, 63, 64, 65, 255, 256, 4095, 4096, 4097, 10_000, 1 << 15, 1 << 16, 1 << 20, (1 << 20) + 1, 1 << 31,
    (1 << 31) - 1, 1 << 32, 1 << 48, 1 << 53, (1 << 63) - 1, 1 << 63, 1 << 64, -(1 << 63), 10**30, 10**400, 0.0, -0.0, 0.5, 1.0,
    -1.0, 1e-320, 1e-30, 0.999999, 1e30, 1e38, 1e39, 1.7e308, True, False,
)  # fmt: skip
TEXTS: tuple[str, ...] = (
    "", "a", "A", "é", "\0", "\ud800", "\u202e", "🙂" * 3, "x" * 70, "x" * 5000, "../../secret", "/dev/zero", "C:\\x", "~",
    "%s%n", "%Y-%Q", "%" * 50, "__class__", "os.system", "{0}", "${x}", "None", "nan", "null", "1e999", "net0.", "data.x", "<b>",
    "\x1b[2J", "UTC", "Europe/Berlin", "+99:99", "gru", "lstm", "rnn", "char", "byte", "word", "bpe", "both", "crf", "point",
)  # fmt: skip
OTHERS: tuple[object, ...] = (None, [], {}, [[]], [None], {"": None}, [0] * 70, {"kind": "linear"})
SPECIAL = {
    "f": (0.0, -0.0, 1.0, -1.0, 1e-45, 1e30, -1e30, 3e38, float("nan"), float("inf"), -float("inf")),
    "i": (0, 1, -1, 2, 255, 32767, -32768, (1 << 31) - 1, -(1 << 31), (1 << 53), (1 << 63) - 1, -(1 << 63)),
    "u": (0, 1, 127, 128, 192, 255),
    "b": (False, True),
}
Place = tuple[object, object]  # a table or list, and a key or index in it


def mutant(rng: Random, seeds: Sequence[Seed]) -> bytes:
    """One altered file."""
    seed = rng.choice(seeds)
    way = rng.random()
    if way < 0.06:
        return _bare(rng, seed.body, seeds)
    if way < 0.12:
        return signed(_bare(rng, seed.body, seeds))
    draft = seed.draft()
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _pick(rng)(rng, draft, seeds)
    if rng.random() < 0.4:
        refit(rng, draft)
    if way < 0.18:
        return _texts_altered(rng, draft)
    return draft.bytes()


def _pick(rng: Random) -> Callable[[Random, Draft, Sequence[Seed]], None]:
    return rng.choices(
        (metadata, same_everywhere, values, _shapes, _array_names, _entry),
        (40, 15, 20, 12, 6, 7),
    )[0]


# ---- metadata


def _places(node: object) -> Iterator[Place]:
    """Every place in the tree, but for what the container itself needs."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inside:
        if key not in ("sha256", "content", "format"):
            yield node, key
            yield from _places(value)


def _place(rng: Random, own: dict[str, object]) -> Place:
    """A place of a part of the header that is chosen first: the spec is long, and few other parts are."""
    parts = [key for key in own if key not in ("sha256", "content", "format")]
    if not parts:
        return own, "task"
    key = rng.choice(parts)
    below = list(_places(own[key]))
    return rng.choice(below) if below and rng.random() < 0.95 else (own, key)


def metadata(rng: Random, draft: Draft, seeds: Sequence[Seed]) -> None:
    """One place changed, taken away, doubled, renamed, or filled from elsewhere."""
    table, key = _place(rng, draft.own)
    before = table[key] if isinstance(table, list) else table.get(key)  # type: ignore[index,union-attr]
    what = rng.random()
    if what < 0.65:
        table[key] = _another(rng, before)  # type: ignore[index]
    elif what < 0.75:
        del table[key]  # type: ignore[attr-defined]
    elif what < 0.85 and isinstance(table, list):
        table.insert(key, copy.deepcopy(before))  # type: ignore[arg-type]
    elif what < 0.9 and isinstance(table, dict):
        table[rng.choice(TEXTS)] = table.pop(key)
    else:
        other, place = _place(rng, rng.choice(seeds).draft().own)
        table[key] = other[place] if isinstance(other, list) else other.get(place)  # type: ignore[index,union-attr]


def _another(rng: Random, value: object) -> object:
    """A value in place of another: near it, of its kind, or of none."""
    if rng.random() < 0.15:
        return copy.deepcopy(rng.choice((*NUMBERS, *TEXTS, *OTHERS)))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, value * 2, -value, value // 2, *rng.sample(NUMBERS, 3)))
    if isinstance(value, float):
        return rng.choice((value * 2, -value, value / 1e6, value * 1e6, math.nextafter(value, 9.0), *rng.sample(NUMBERS, 2)))
    if isinstance(value, str):
        return rng.choice((value + "x", value[:-1], value.upper(), value * 40, *rng.sample(TEXTS, 4)))
    if isinstance(value, list):
        longer = value * rng.choice((2, 3, 50)) if len(value) < 100 else value
        return rng.choice((value[::-1], value[1:], [*value, *value[:1]], longer, sorted(value, key=str), []))
    if isinstance(value, dict):
        return dict(rng.sample(list(value.items()), rng.randint(0, len(value))))
    return rng.choice((*NUMBERS, *TEXTS))


def same_everywhere(rng: Random, draft: Draft, seeds: Sequence[Seed]) -> None:
    """A name given one new value wherever it stands, so that the parts still agree."""
    places = [(t, k) for t, k in _places({k: v for k, v in draft.own.items() if k != "spec"}) if isinstance(k, str)]
    if not places:
        return
    table, name = rng.choice(places)
    value = _another(rng, table[name])  # type: ignore[index]
    for other, key in places:
        if key == name:
            other[key] = copy.deepcopy(value)  # type: ignore[index]


# ---- arrays


def _chosen(rng: Random, draft: Draft) -> str | None:
    return rng.choice(sorted(draft.arrays)) if draft.arrays else None


def values(rng: Random, draft: Draft, seeds: Sequence[Seed]) -> None:
    """Some or all numbers of an array."""
    name = _chosen(rng, draft)
    if name is None or not draft.arrays[name].size:
        return
    array = draft.arrays[name].copy()
    flat, kind = array.reshape(-1), array.dtype.kind
    what = rng.random()
    with np.errstate(all="ignore"):
        if what < 0.5:
            for _ in range(rng.choice((1, 1, 2, 8))):
                value = rng.choice(SPECIAL[kind])
                flat[rng.randrange(flat.size)] = np.array(value).astype(array.dtype)
        elif what < 0.6:
            flat[:] = np.array(rng.choice(SPECIAL[kind])).astype(array.dtype)
        elif what < 0.7 and kind == "f":
            flat *= rng.choice((1e4, 1e20, 1e38, 1e-40, -1.0))
        elif what < 0.8:
            flat[:] = flat[::-1].copy()
        elif what < 0.9:
            flat[rng.randrange(flat.size)] = flat[rng.randrange(flat.size)]
        else:
            array = np.frombuffer(rng.randbytes(array.nbytes), array.dtype).reshape(array.shape)
            array = (array.view(np.uint8) % 2).view(bool) if kind == "b" else array
    draft.arrays[name] = array


def _shapes(rng: Random, draft: Draft, seeds: Sequence[Seed]) -> None:
    """An array of another dtype or shape, cut, or longer."""
    name = _chosen(rng, draft)
    if name is None:
        return
    array = draft.arrays[name]
    ways: list[Callable[[], Array]] = [
        lambda: array.T.copy(),
        lambda: array.reshape(-1),
        lambda: array[None],
        lambda: array[:-1] if array.ndim else array,
        lambda: array[1:] if array.ndim else array,
        lambda: array[:0] if array.ndim else array,
        lambda: np.concatenate([array, array]) if array.ndim else array,
        lambda: np.concatenate([array, array], -1) if array.ndim else array,
        lambda: array.astype(DTYPES[rng.choice(sorted(DTYPES))]),
        lambda: array.reshape(-1)[0] if array.size else array,
        lambda: np.zeros((0, 1 << 20), array.dtype),
        lambda: np.zeros(rng.choice((0, 1, 2, 3, 1000)), array.dtype),
    ]
    with np.errstate(all="ignore"):
        draft.arrays[name] = np.asarray(rng.choice(ways)())


def _array_names(rng: Random, draft: Draft, seeds: Sequence[Seed]) -> None:
    """Arrays taken away, added, renamed, exchanged."""
    name, other = _chosen(rng, draft), _chosen(rng, draft)
    if name is None or other is None:
        return
    what = rng.random()
    if what < 0.3:
        del draft.arrays[name]
    elif what < 0.5:
        draft.arrays[rng.choice((f"{name}x", name.upper(), *TEXTS))] = draft.arrays[name]
    elif what < 0.7:
        draft.arrays[rng.choice((f"{name}x", *TEXTS))] = draft.arrays.pop(name)
    elif what < 0.85:
        draft.arrays[name], draft.arrays[other] = draft.arrays[other], draft.arrays[name]
    else:
        draft.arrays |= rng.choice(seeds).arrays


def _entry(rng: Random, draft: Draft, seeds: Sequence[Seed]) -> None:
    """An entry that does not say what is there: overlaps, holes, aliases, sizes that overflow."""
    name, other = _chosen(rng, draft), _chosen(rng, draft)
    if name is None or other is None:
        return
    table, data = draft.entries()
    told = copy.deepcopy(table[name])
    assert isinstance(told, dict)
    what = rng.random()
    if what < 0.3:
        told["data_offsets"] = copy.deepcopy(table[other]["data_offsets"])  # type: ignore[index]
    elif what < 0.6:
        part = rng.choice(("shape", "data_offsets"))
        values = told[part]
        if values:
            values[rng.randrange(len(values))] = _another(rng, rng.choice(values))
    elif what < 0.75:
        told["dtype"] = rng.choice((*DTYPES, "BF16", "F16", "", None, 3))
    elif what < 0.85:
        told["shape"] = rng.choice(([0, 1 << 40], [1 << 31, 1 << 31, 4], [1, *told["shape"]], [len(data)], [-1], [True], "x"))
    else:
        told = {**told, rng.choice(TEXTS): rng.choice(OTHERS)}
    draft.lies[name] = told


# ---- bytes


def _texts_altered(rng: Random, draft: Draft) -> bytes:
    """The header's text altered, of the metadata or of the whole: what no JSON writer would write."""
    table, data = draft.entries()
    text = json.dumps(draft.own, separators=(",", ":"))
    if rng.random() < 0.7:
        return forge(_text_altered(rng, text), table, data)
    head = json.dumps({"__metadata__": {"tidegate": text}, **table}, separators=(",", ":"))
    return forge(None, None, data, head=_text_altered(rng, head))


def _text_altered(rng: Random, text: str) -> str:
    place = rng.randrange(len(text) + 1)
    deep = rng.choice((3, 60, 5000))
    added = rng.choice((
        "NaN", "Infinity", "1e999", "-1e999", '"a":1,', "[" * deep, "{" * deep, '{"a":' * deep, "[" * deep + "]" * deep,
        "9" * deep, "\\ud800", "\ufeff", "\0", " " * deep, '"', "}", ",", ":", "\\", "e9", ".5", "-", "0x1", "//",
        text[place : place + 40],
    ))  # fmt: skip
    skip = rng.choice((0, 0, 1, 2, len(added)))
    return text[:place] + added + text[place + skip :]


def _bare(rng: Random, body: bytes, seeds: Sequence[Seed]) -> bytes:
    """Bytes flipped, cut, put in, exchanged with another file's."""
    out = bytearray(body)
    for _ in range(rng.choice((1, 1, 2, 5, 40))):
        what, place = rng.random(), rng.randrange(len(out)) if out else 0
        if not out or what < 0.1:
            out[place:place] = rng.randbytes(rng.choice((1, 8, 100)))
        elif what < 0.6:
            out[place] ^= 1 << rng.randrange(8)
        elif what < 0.7:
            out[place] = rng.choice((0, 0xFF, 0x7F, 0x22, 0x5B, 0x7B))
        elif what < 0.8:
            del out[place : place + rng.choice((1, 8, 1000, len(out)))]
        elif what < 0.9:
            other = rng.choice(seeds).body
            start = rng.randrange(len(other))
            out[place : place + 64] = other[start : start + rng.choice((8, 64, 500))]
        else:
            out[:8] = rng.choice((0, 2, len(out), max(0, len(out) - 8), 1 << 20, 1 << 32, (1 << 63) - 1, 1 << 63)).to_bytes(
                8, "little"
            )
    return bytes(out)
