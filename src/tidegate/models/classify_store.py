"""A classifier as the content of one file, and back. In: core, card. Out: a header and arrays; nothing but data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain, from_plain, to_plain
from tidegate.data.vocabulary import Tokenizer, pack_texts, unpack_texts
from tidegate.errors import FormatError
from tidegate.format import File
from tidegate.models.base import check_text_card, header_part
from tidegate.models.classify_figures import ORDER
from tidegate.models.classify_fit import Core
from tidegate.models.nets_store import check_names, net_arrays, read_nets, read_temperature
from tidegate.spec import spec_to_plain
from tidegate.tasks.classify import ClassifyOptions, build_spec
from tidegate.tasks.linear import Features, Linear

Arrays = dict[str, npt.NDArray[np.generic]]
OWN = ("vocabulary.tokens.bytes", "vocabulary.tokens.offsets", "vocabulary.merges", "classes.bytes", "classes.offsets")
LINEAR, LINEAR_PARTS = "linear.", ("keys", "rarity", "weight", "bias")


def pack(core: Core, card: Mapping[str, Plain], steps: int) -> tuple[dict[str, Plain], Arrays]:
    """Header and arrays of the file."""
    header: dict[str, Plain] = {
        "options": to_plain(replace(core.options, steps=steps)),  # a budget leaves the same bytes as the steps it came to
        "spec": spec_to_plain(core.nets[0].spec),
        "decoder": {"temperature": core.temperature, "share": None if core.linear is None else core.linear.share},
        "card": dict(card),
        "members": len(core.nets),
    }
    arrays = net_arrays(net.weights for net in core.nets)
    if core.linear is not None:
        arrays |= {f"{LINEAR}{name}": value for name, value in _linear_arrays(core.linear).items()}
    return header, arrays | core.tokenizer.arrays("vocabulary") | pack_texts("classes", core.classes)


def unpack(file: File, where: str) -> tuple[Core, dict[str, Plain]]:
    """The parts of a validated file. Raises: FormatError, or ConfigError where a part is out of range."""
    header, arrays = file.header, file.arrays
    options = from_plain(ClassifyOptions, header_part(header, "options", where), "options")
    tokenizer = Tokenizer.from_arrays(options.units, options.lower, arrays, "vocabulary")
    classes = unpack_texts("classes", arrays)
    card = dict(header_part(header, "card", where))
    temperature = read_temperature(header.get("decoder"), "temperature", where)
    if len(classes) < 2 or list(classes) != sorted(set(classes)):
        raise FormatError(f"{where}: its classes are altered: save the model again")
    nets = read_nets(file, build_spec(options, tokenizer.size, len(classes)), where)
    linear = _linear(file, options, len(classes), where)
    own = OWN if linear is None else (*OWN, *(f"{LINEAR}{name}" for name in LINEAR_PARTS))
    check_names(file, own, len(nets), "classifier", where)
    check_text_card(card, ("texts", "held_back_texts", "classes", "kinds"), ORDER, where)
    shares = card.get("shares")
    if not isinstance(shares, list) or len(shares) != len(classes) or not all(isinstance(s, float) and 0 < s < 1 for s in shares):
        raise FormatError(f"{where}: its card lacks the shares of the classes, or they were altered; save the model again")
    return Core(options, tokenizer, nets, classes, temperature, linear), card


def _linear_arrays(linear: Linear) -> Arrays:
    parts = (linear.features.keys, linear.features.rarity, linear.weight, linear.bias)
    return dict(zip(LINEAR_PARTS, parts, strict=True))


def _linear(file: File, options: ClassifyOptions, count: int, where: str) -> Linear | None:
    """The linear model of a file whose options have one. Raises: FormatError."""
    share = header_part(file.header, "decoder", where).get("share")
    if not options.ngrams:
        return None
    if not isinstance(share, float) or not 0.0 <= share < math.inf:
        raise FormatError(f"{where}: share: expected a number of at least 0, got {str(share)[:80]}; save the model again")
    keys, rarity, weight, bias = (file.arrays.get(f"{LINEAR}{name}", np.zeros(0)) for name in LINEAR_PARTS)
    wanted: tuple[tuple[npt.NDArray[np.generic], type, tuple[int, ...]], ...] = (
        (keys, np.int64, (len(keys),)), (rarity, np.float32, (len(keys),)), (weight, np.float32, (len(keys), count)),
        (bias, np.float32, (count,)),
    )  # fmt: skip
    if any(array.dtype != dtype or array.shape != shape for array, dtype, shape in wanted):
        raise FormatError(f"{where}: its linear model of n-grams is missing or altered; save the model again")
    places = np.asarray(keys, np.int64)
    numbers = [np.asarray(array, np.float32) for array in (rarity, weight, bias)]
    if not all(bool(np.isfinite(array).all()) for array in numbers) or not bool(np.all(numbers[0] > 0)):
        raise FormatError(f"{where}: its linear model of n-grams has numbers that are out of range; save the model again")
    if not bool(np.all(places[1:] > places[:-1])):
        raise FormatError(f"{where}: the n-grams of its linear model are altered; save the model again")
    return Linear(Features(options.units, places, numbers[0]), numbers[1], numbers[2], share)
