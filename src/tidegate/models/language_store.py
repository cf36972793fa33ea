"""A language model as the content of one file, and back. In: core, card. Out: a header and arrays; nothing but data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tidegate.config import Plain, from_plain, to_plain
from tidegate.data.vocabulary import Tokenizer
from tidegate.errors import FormatError, shown
from tidegate.format import File
from tidegate.models.base import arrays_under, check_text_card, header_part
from tidegate.models.language_fit import Core, core_of
from tidegate.models.nets_store import Arrays, check_spec, weight_arrays, weights_of
from tidegate.spec import spec_to_plain
from tidegate.tasks.fill import build_both
from tidegate.tasks.generate import GenerateOptions, build_spec


def pack(core: Core, card: Mapping[str, Plain], steps: int) -> tuple[dict[str, Plain], Arrays]:
    """Header and arrays of the file."""
    header: dict[str, Plain] = {
        "options": to_plain(replace(core.options, steps=steps)),  # a budget leaves the same bytes as the steps it came to
        "spec": spec_to_plain(core.whole.spec),
        "card": dict(card),
    }
    return header, {**weight_arrays(core.whole.weights, "net."), **core.tokenizer.arrays("vocabulary")}


def unpack(file: File, where: str) -> tuple[Core, dict[str, Plain]]:
    """The parts of a validated file. Raises: FormatError, or ConfigError where a part is out of range."""
    header, arrays = file.header, file.arrays
    options = from_plain(GenerateOptions, header_part(header, "options", where), "options")
    tokenizer = Tokenizer.from_arrays(options.units, options.lower, arrays, "vocabulary")
    spec = (build_both if options.direction == "both" else build_spec)(options, tokenizer.size)
    check_spec(file, spec, where)
    foreign = sorted(name for name in arrays if not name.startswith(("net.", "vocabulary.tokens.", "vocabulary.merges")))
    if foreign:
        raise FormatError(f"{where}: array {shown(foreign[0])}: a language model has no such part; it was altered: save it again")
    core = core_of(options, tokenizer, weights_of(arrays_under(arrays, "net.")))
    card = dict(header_part(header, "card", where))
    check_text_card(card, ("tokens", "held_back_tokens", "kinds"), ("",), where)
    if card.get("held_back") is None:
        raise FormatError(f"{where}: its card lacks the held-back figures; save the model again")
    return core, card
