"""A classifier as the content of one file, and back. In: core, card. Out: a header and arrays; nothing but data."""

from __future__ import annotations

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

Arrays = dict[str, npt.NDArray[np.generic]]
OWN = ("vocabulary.tokens.bytes", "vocabulary.tokens.offsets", "vocabulary.merges", "classes.bytes", "classes.offsets")


def pack(core: Core, card: Mapping[str, Plain], steps: int) -> tuple[dict[str, Plain], Arrays]:
    """Header and arrays of the file."""
    header: dict[str, Plain] = {
        "options": to_plain(replace(core.options, steps=steps)),  # a budget leaves the same bytes as the steps it came to
        "spec": spec_to_plain(core.nets[0].spec),
        "decoder": {"temperature": core.temperature},
        "card": dict(card),
        "members": len(core.nets),
    }
    return header, net_arrays(core.nets) | core.tokenizer.arrays("vocabulary") | pack_texts("classes", core.classes)


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
    check_names(file, OWN, len(nets), "classifier", where)
    check_text_card(card, ("texts", "held_back_texts", "classes", "kinds"), ORDER, where)
    shares = card.get("shares")
    if not isinstance(shares, list) or len(shares) != len(classes) or not all(isinstance(s, float) and 0 < s < 1 for s in shares):
        raise FormatError(f"{where}: its card lacks the shares of the classes, or they were altered; save the model again")
    return Core(options, tokenizer, nets, classes, temperature), card
