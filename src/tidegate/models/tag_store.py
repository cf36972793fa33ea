"""A tagger as the content of one file, and back. In: core, card. Out: a header and arrays; nothing but data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast, get_args

from tidegate.config import Plain, from_plain, to_plain
from tidegate.data.schemes import Scheme
from tidegate.data.vocabulary import Tokenizer, pack_texts, unpack_texts
from tidegate.errors import FormatError
from tidegate.format import File
from tidegate.models.base import check_text_card, header_part
from tidegate.models.nets_store import Arrays, check_names, net_arrays, read_nets, read_temperature
from tidegate.models.tag_core import MOST_TAGS, Core, decoder_of, inner_scheme
from tidegate.spec import spec_to_plain
from tidegate.tasks.tag import TagOptions, build_spec
from tidegate.tasks.tag_scores import PLAIN, SPANS

TEXTS = ("words.tokens", "letters.tokens", "tags", "labels")
OWN = (*(f"{name}.{part}" for name in TEXTS for part in ("bytes", "offsets")), "words.merges", "letters.merges")


def pack(core: Core, card: Mapping[str, Plain], steps: int) -> tuple[dict[str, Plain], Arrays]:
    """Header and arrays of the file."""
    header: dict[str, Plain] = {
        "options": to_plain(replace(core.options, steps=steps)),  # a budget leaves the same bytes as the steps it came to
        "spec": spec_to_plain(core.nets[0].spec),
        "decoder": {
            "scheme": core.source_scheme, "temperature": core.temperature, "label_temperature": core.label_temperature,
        },
        "card": dict(card),
        "members": len(core.nets),
    }  # fmt: skip
    vocabularies = core.words.arrays("words") | core.letters.arrays("letters")
    return header, net_arrays(net.weights for net in core.nets) | vocabularies | pack_texts("tags", core.tags) | pack_texts(
        "labels", core.labels
    )


def unpack(file: File, where: str) -> tuple[Core, dict[str, Plain]]:
    """The parts of a validated file. Raises: FormatError, or ConfigError where a part is out of range."""
    header, arrays = file.header, file.arrays
    options = from_plain(TagOptions, header_part(header, "options", where), "options")
    words = Tokenizer.from_arrays("token", options.lower, arrays, "words")
    letters = Tokenizer.from_arrays("char", False, arrays, "letters")
    tags, labels = unpack_texts("tags", arrays), unpack_texts("labels", arrays)
    decoder = header_part(header, "decoder", where)
    scheme = decoder.get("scheme")
    if scheme != "plain" and scheme not in get_args(Scheme):
        raise FormatError(f"{where}: scheme: expected plain, iob1, iob2 or bioes, got {str(scheme)[:80]}; save the model again")
    for name, known, least in (("tags", tags, 2), ("labels", labels, 0)):
        if (
            len(known) < least
            or (name == "tags" and len(known) > MOST_TAGS)
            or len(known) == 1
            or list(known) != sorted(set(known))
        ):
            raise FormatError(f"{where}: its {name} are altered: save the model again")
    own = cast("Scheme", scheme)
    spec = build_spec(options, words.size, letters.size, len(tags), len(labels), decoder_of(options, own))
    nets = read_nets(file, spec, where)
    check_names(file, OWN, len(nets), "tagger", where)
    temperatures = [read_temperature(dict(decoder), name, where) for name in ("temperature", "label_temperature")]
    card = dict(header_part(header, "card", where))
    measures = PLAIN if scheme == "plain" else SPANS
    check_text_card(
        card,
        ("sentences", "held_back_sentences", "words", "tags", "kinds"),
        (*measures, *(["label-accuracy"] if labels else [])),
        where,
    )
    core = Core(options, words, letters, tags, labels, own, nets, *temperatures)
    _check_tags(core, where)
    return core, card


def _check_tags(core: Core, where: str) -> None:
    """The tags are of the scheme that they are learnt in. Raises: DataError, ConfigError."""
    if core.scheme is not None:
        _ = core.chain
    if core.source_scheme == "plain" and core.options.scheme is not None:
        raise FormatError(f"{where}: scheme: its tags are no spans, and {inner_scheme(core.options)} is asked for; train again")
