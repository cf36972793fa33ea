"""A translator as the content of one file, and back. In: core, card. Out: a header and arrays; nothing but data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tidegate.config import Plain, from_plain, to_plain
from tidegate.data.vocabulary import Tokenizer
from tidegate.errors import FormatError
from tidegate.format import File
from tidegate.models.base import check_text_card, header_part
from tidegate.models.nets_store import Arrays, check_names, net_arrays, read_weights
from tidegate.models.translate_core import Core
from tidegate.spec import Spec, spec_to_plain
from tidegate.tasks.text_scores import USUAL
from tidegate.tasks.translate import TranslateOptions
from tidegate.tasks.translate_nets import build_nets

LONGEST = 1 << 20  # tokens of a target


def spec_of(options: TranslateOptions, source: Tokenizer, target: Tokenizer) -> Spec:
    """The joined net of a translator."""
    return build_nets(options, source.size, target.size + 1).joined


def pack(core: Core, card: Mapping[str, Plain], steps: int) -> tuple[dict[str, Plain], Arrays]:
    """Header and arrays of the file; a shared vocabulary stands there once."""
    header: dict[str, Plain] = {
        "options": to_plain(replace(core.options, steps=steps)),  # a budget leaves the same bytes as the steps it came to
        "spec": spec_to_plain(spec_of(core.options, core.source, core.target)),
        "decoder": {"longest": core.longest},
        "card": dict(card),
        "members": len(core.weights),
    }
    arrays = net_arrays(core.weights)
    arrays |= core.source.arrays("vocabulary.source")
    return header, arrays if core.options.shared else arrays | core.target.arrays("vocabulary.target")


def unpack(file: File, where: str) -> tuple[Core, dict[str, Plain]]:
    """The parts of a validated file. Raises: FormatError, or ConfigError where a part is out of range."""
    header, arrays = file.header, file.arrays
    options = from_plain(TranslateOptions, header_part(header, "options", where), "options")
    source = Tokenizer.from_arrays(options.units, options.lower, arrays, "vocabulary.source")
    units = options.target_units or options.units
    target = source if options.shared else Tokenizer.from_arrays(units, options.lower, arrays, "vocabulary.target")
    longest = header_part(header, "decoder", where).get("longest")
    if isinstance(longest, bool) or not isinstance(longest, int) or not 1 <= longest <= LONGEST:
        raise FormatError(f"{where}: longest: expected 1 to {LONGEST} tokens, got {str(longest)[:80]}; save the model again")
    weights = read_weights(file, spec_of(options, source, target), where)
    sides = ("source",) if options.shared else ("source", "target")
    own = [f"vocabulary.{side}.{part}" for side in sides for part in ("tokens.bytes", "tokens.offsets", "merges")]
    check_names(file, own, len(weights), "translator", where)
    card = dict(header_part(header, "card", where))
    check_text_card(card, ("pairs", "held_back_pairs", "source_kinds", "target_kinds"), USUAL, where)
    if card.get("held_back") is None or not isinstance(card.get("usual"), str):
        raise FormatError(f"{where}: its card lacks the held-back figures or the commonest target; save the model again")
    return Core(options, source, target, weights, longest), card
