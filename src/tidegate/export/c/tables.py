"""What stands before and behind a net of texts, as C tables: letters to codes and back, classes. In: Deployed. Out: C."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.data.vocabulary import Tokenizer
from tidegate.errors import TaskError
from tidegate.export.c.text import rows, strings, whole
from tidegate.export.deployed import Deployed

UNICODE, SURROGATES = 0x110000, range(0xD800, 0xE000)
POINTER = 4  # bytes, of a 32-bit device


class Tables(NamedTuple):
    """C text and its bytes in flash."""

    text: str
    flash: int


def check(net: Deployed) -> None:
    """Raises: TaskError where texts are cut into what a device cannot cut."""
    tokenizer = net.tokenizer
    if tokenizer is None:
        return
    if tokenizer.units not in ("char", "byte"):
        raise TaskError(
            f"a text is cut into {tokenizer.units}s, which a device does not do; train with units='char' or 'byte' (--units char)"
        )
    if tokenizer.units == "byte" and tokenizer.lower:
        raise TaskError("bytes of lower-cased text; train with lower=False (--no-lower), or units='char' (--units char)")


def tables(net: Deployed, name: str) -> Tables:
    """`NAME_code_of`; for a language model the text of every code; for a classifier its classes."""
    parts = [] if net.tokenizer is None else [_coding(net.tokenizer, name)]
    if net.task == "generate" and net.tokenizer is not None:
        parts.append(_decoding(net.tokenizer, name))
    if net.classes:
        parts.append(Tables(strings(f"{name}_classes", net.classes), sum(POINTER + len(c.encode()) + 1 for c in net.classes)))
    return Tables("\n".join(part.text for part in parts), sum(part.flash for part in parts))


def _coding(tokenizer: Tokenizer, name: str) -> Tables:
    if tokenizer.units == "byte":
        return Tables(
            "/* The code of a byte of UTF-8; -1 where it is none. */\n"
            f"static TG_UNUSED int32_t {name}_code_of(uint32_t byte) {{\n"
            "  return byte < 256u ? (int32_t)byte + 1 : -1;\n}\n",
            0,
        )
    pairs = letters(tokenizer)
    kind, width = ("uint8_t", 1) if tokenizer.size <= 256 else ("uint16_t", 2) if tokenizer.size <= 65536 else ("uint32_t", 4)
    lower = ", which is lower-cased" if tokenizer.lower else ""
    text = (
        whole("uint32_t", f"{name}_letters", [letter for letter, _ in pairs])
        + whole(kind, f"{name}_letter_codes", [code for _, code in pairs])
        + f"/* The code of a letter, given as Unicode's code point{lower}; 0 where training did not have it. */\n"
        f"static TG_UNUSED int32_t {name}_code_of(uint32_t letter) {{\n  int low = 0, high = {len(pairs)};\n"
        "  while (low < high) {\n    const int middle = (low + high) / 2;\n"
        f"    if ({name}_letters[middle] < letter) low = middle + 1;\n    else high = middle;\n  }}\n"
        f"  return low < {len(pairs)} && {name}_letters[low] == letter ? (int32_t){name}_letter_codes[low] : 0;\n}}\n"
    )
    return Tables(text, len(pairs) * (4 + width))


def letters(tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """Every code point that has a code of its own, with it, rising: with lower-casing the capitals too."""
    known = {token: code for code, token in enumerate(tokenizer.tokens, 1)}
    if not tokenizer.lower:
        return sorted((ord(token), code) for token, code in known.items() if len(token) == 1)
    every = ((point, known.get(chr(point).lower(), 0)) for point in range(UNICODE) if point not in SURROGATES)
    return [(point, code) for point, code in every if code]


def _decoding(tokenizer: Tokenizer, name: str) -> Tables:
    """The bytes of every code; a byte of many is no letter alone, so that lengths stand beside."""
    texts = [tokenizer.bytes_of(code) for code in range(tokenizer.size)]
    flat = b"".join(texts)
    offsets = [0]
    for own in texts:
        offsets.append(offsets[-1] + len(own))
    text = (
        f"/* The UTF-8 of code k is {name}_text[{name}_text_at[k]] up to, without, {name}_text[{name}_text_at[k + 1]]. */\n"
        f"static const uint8_t {name}_text[{max(1, len(flat))}] TG_UNUSED = {{\n{rows([str(b) for b in flat] or ['0'])}}};\n"
        + whole("uint16_t" if offsets[-1] < 65536 else "uint32_t", f"{name}_text_at", offsets)
    )
    return Tables(text, len(flat) + len(offsets) * (2 if offsets[-1] < 65536 else 4))
