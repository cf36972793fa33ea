"""From a text to codes and back. In: texts, the unit they are cut into. Out: a frozen Tokenizer that a model file can hold.

Units: "char" (code points), "byte" (of UTF-8), "word" (a run of letters with inner apostrophes, a number, any other sign alone),
"token" (what white space separates, for text that was cut already) and "bpe" (byte pairs learnt from the texts, Sennrich et al.
2016, by the library `tokenizers`). Code 0 stands for what was not seen in training; bytes and byte pairs have nothing unseen.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from tidegate.errors import ConfigError, DataError, FormatError, missing_extra

Units = Literal["word", "token", "char", "byte", "bpe"]
Codes = npt.NDArray[np.int64]
Arrays = dict[str, npt.NDArray[np.generic]]
UNKNOWN = 0
# What finds the tokens of a text, by unit; an export passes it on. Tokens are lower-cased after the cut.
PATTERNS = {"word": r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+(?:[.,]\d+)*|_+|\S", "token": r"\S+"}
_WORD = re.compile(PATTERNS["word"])


@final
@dataclass(frozen=True, eq=False)
class Tokenizer:
    """The tokens of a model, code 1 first, and how a text is cut into them.

    Args:  units: the unit. lower: texts are lower-cased first. tokens: the vocabulary; byte values as text for "byte".
           merges: (M, 2) codes of the pairs that "bpe" joins, in their order.
    """

    units: Units
    lower: bool
    tokens: tuple[str, ...]
    merges: npt.NDArray[np.int32]

    @property
    def size(self) -> int:
        """The number of codes, the one for the unknown included."""
        return len(self.tokens) + 1

    def cut(self, text: str) -> list[str]:
        """The tokens of a text, known or not."""
        if self.units == "bpe":
            return list(self._bpe.encode(text.lower() if self.lower else text).tokens)
        return _cut(text, self.units, self.lower)

    def encode(self, texts: Sequence[str]) -> list[Codes]:
        """The codes of each text, (T,) int64 each."""
        return self.codes([self.cut(text) for text in texts])

    def codes(self, texts: Iterable[Sequence[str]]) -> list[Codes]:
        """The codes of texts that were cut already."""
        known = self._codes
        return [np.array([known.get(token, UNKNOWN) for token in text], np.int64) for text in texts]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token stands in the text, (start, stop) in code points; not for bytes and byte pairs."""
        if self.units in ("byte", "bpe"):
            raise ConfigError(f"units: expected word, token or char to point at a text's tokens, got {self.units!r}")
        if self.units == "char":
            return [(k, k + 1) for k in range(len(text))]
        pattern = _WORD if self.units == "word" else re.compile(PATTERNS["token"])
        return [match.span() for match in pattern.finditer(text)]

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {token: code for code, token in enumerate(self.tokens, 1)}

    @cached_property
    def _bpe(self) -> Any:
        merges = [(self.tokens[a - 1], self.tokens[b - 1]) for a, b in self.merges.tolist()]
        return _byte_pairs(self._codes, merges)

    def knows(self, token: str) -> bool:
        """Whether training had it."""
        return token in self._codes

    def writer(self, *, begun: bool = False) -> Writer:
        """What turns codes into text, one at a time. begun: a word came before, so that a blank comes before the next."""
        return Writer(self, begun=begun)

    def decode(self, codes: Iterable[int]) -> str:
        """The text of codes: words and tokens with a blank between them, which need not be the text that they were cut from."""
        writer = self.writer()
        return "".join([*(writer.push(code) for code in codes), writer.close()])

    def bytes_of(self, code: int) -> bytes:
        """UTF-8 of one token; nothing for code 0."""
        if code == UNKNOWN:
            return b""
        token = self.tokens[code - 1]
        if self.units == "byte":
            return bytes([int(token)])
        return bytes(_BYTE_OF[letter] for letter in token) if self.units == "bpe" else token.encode()

    def arrays(self, prefix: str) -> Arrays:
        """What a model file holds: the tokens as bytes and offsets, and the merges."""
        return {**pack_texts(f"{prefix}.tokens", self.tokens), f"{prefix}.merges": self.merges}

    @classmethod
    def from_arrays(cls, units: Units, lower: bool, arrays: Mapping[str, npt.NDArray[np.generic]], prefix: str) -> Tokenizer:
        """The tokenizer of a model file. Raises: FormatError where its parts are altered."""
        tokens = unpack_texts(f"{prefix}.tokens", arrays)
        merges = arrays.get(f"{prefix}.merges")
        if merges is None or merges.dtype != np.int32 or merges.ndim != 2 or merges.shape[1] != 2:
            raise FormatError("the vocabulary: its byte pairs are missing or altered; save the model again")
        if len(set(tokens)) < len(tokens) or (merges.size and not 1 <= merges.min() <= merges.max() <= len(tokens)):
            raise FormatError("the vocabulary: a token stands twice, or a byte pair names none; save the model again")
        if len(merges) and units != "bpe":
            raise FormatError(f"the vocabulary: expected byte pairs for the unit bpe alone, got some for {units}")
        if len(np.unique(merges.astype(np.int64) @ (1 << 32, 1))) < len(merges):  # many of one would be joined again and again
            raise FormatError("the vocabulary: a byte pair stands twice; save the model again")
        known = set(tokens)
        joined = (tokens[a - 1] + tokens[b - 1] for a, b in merges.tolist())
        letters = {letter for token in tokens for letter in token} if units == "bpe" else set()
        if (units == "byte" and tokens != _BYTES) or not letters <= set(_BYTE_OF) or any(pair not in known for pair in joined):
            raise FormatError("the vocabulary: its bytes or byte pairs are altered; save the model again")
        return cls(units, lower, tokens, np.asarray(merges, np.int32))


@final
class Writer:
    """Codes to text as they come: never half a letter, never a letter without the accents and joiners that follow it.

    A byte that no UTF-8 letter has becomes U+FFFD. What a later code may still change is held back until `close`.
    """

    def __init__(self, tokenizer: Tokenizer, *, begun: bool = False) -> None:
        self._tokenizer = tokenizer
        self._letters = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._blank = b" " if tokenizer.units in ("word", "token") else b""
        self._between = self._blank if begun else b""

    def push(self, code: int) -> str:
        """The text that is certain now."""
        own = self._tokenizer.bytes_of(code)
        text = self._held + self._letters.decode(self._between + own if own else b"")
        self._between = self._blank if own or self._between else b""
        cut = _last_grapheme(text)
        self._held = text[cut:]
        return text[:cut]

    def close(self) -> str:
        """The rest."""
        text, self._held = self._held + self._letters.decode(b"", True), ""
        return text


def _last_grapheme(text: str) -> int:
    """Where the last grapheme begins: after it nothing may come that belongs to it (a simple form of Unicode's Annex 29)."""
    cut = len(text) - 1
    while cut > 0 and (_extends(text[cut]) or text[cut - 1] == "\u200d" or _flags_before(text, cut) % 2):
        cut -= 1
    return max(cut, 0)


def _extends(letter: str) -> bool:
    """Accents, joiners, variation selectors, skin tones: they belong to the letter before them."""
    return unicodedata.category(letter) in ("Mn", "Me", "Mc") or letter == "\u200d" or "\U0001f3fb" <= letter <= "\U0001f3ff"


def _flags_before(text: str, cut: int) -> int:
    """How many regional indicators stand just before one; two make a flag."""
    start = cut
    if not "\U0001f1e6" <= text[cut] <= "\U0001f1ff":
        return 0
    while start > 0 and "\U0001f1e6" <= text[start - 1] <= "\U0001f1ff":
        start -= 1
    return cut - start


def learn(texts: Sequence[str], units: Units, *, lower: bool, size: int, min_count: int = 1) -> tuple[Tokenizer, Codes]:
    """The tokenizer of training texts, and how often each code occurs in them, (V,) int64, 0 for the unknown.

    Args:  size: at most so many tokens, the most frequent (then alphabetical) ones. min_count: what occurs less often is unknown.
    Raises: DataError where no token is left; ConfigError; MissingExtra for "bpe" without the library.
    """
    if size < 1 or min_count < 1:
        raise ConfigError(f"vocabulary, min_count: expected at least 1, got {size} and {min_count}")
    none = np.zeros((0, 2), np.int32)
    if units == "bpe":
        tokenizer = _learn_pairs(texts, lower, size)
    elif units == "byte":
        tokenizer = Tokenizer(units, lower, _BYTES, none)
    else:
        counts = Counter(token for text in texts for token in _cut(text, units, lower))
        tokenizer = Tokenizer(units, lower, most_frequent(counts, size=size, min_count=min_count), none)
    if not tokenizer.tokens:
        raise DataError(f"the texts: expected at least one token that occurs {min_count} times, got none; lower min_count")
    codes = tokenizer.encode(texts)
    counted = np.bincount(np.concatenate([np.zeros(0, np.int64), *codes]), minlength=tokenizer.size)
    counted[UNKNOWN] = 0
    return tokenizer, counted.astype(np.int64)


def most_frequent(counts: Mapping[str, int], *, size: int, min_count: int = 1) -> tuple[str, ...]:
    """The tokens that occur often enough, the most frequent (then alphabetical) first."""
    return tuple(sorted((t for t, n in counts.items() if n >= min_count), key=lambda t: (-counts[t], t))[:size])


def cut_words(text: str) -> list[str]:
    """The words of a raw text as they stand in it: runs of letters with inner apostrophes, numbers, any other sign alone."""
    return _cut(text, "word", False)


def pack_texts(prefix: str, texts: Iterable[str]) -> Arrays:
    """Texts as UTF-8 bytes and the offsets between them."""
    parts = [text.encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return {f"{prefix}.bytes": np.frombuffer(b"".join(parts), np.uint8), f"{prefix}.offsets": offsets}


def unpack_texts(prefix: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> tuple[str, ...]:
    """`pack_texts` back again. Raises: FormatError."""
    body, offsets = arrays.get(f"{prefix}.bytes"), arrays.get(f"{prefix}.offsets")
    sound = (
        body is not None and offsets is not None and body.dtype == np.uint8 and offsets.dtype == np.int64
        and body.ndim == offsets.ndim == 1 and len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(body)
        and bool(np.all(np.diff(offsets) >= 0))
    )  # fmt: skip
    if not sound or body is None or offsets is None:
        raise FormatError(f"{prefix}: the texts are missing or altered; save the model again")
    whole = body.tobytes()
    try:
        return tuple(whole[a:b].decode() for a, b in pairwise(offsets.tolist()))
    except UnicodeDecodeError as error:
        raise FormatError(f"{prefix}: expected UTF-8, got other bytes; save the model again") from error


_BYTES = tuple(str(value) for value in range(256))


def _letters_of_bytes() -> dict[str, int]:
    """The letters that byte pairs write bytes with (Radford et al. 2019): printable ones stand for themselves."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [value for value in range(256) if value not in plain]
    return {chr(v): v for v in plain} | {chr(256 + k): v for k, v in enumerate(others)}


_BYTE_OF = _letters_of_bytes()


def _cut(text: str, units: Units, lower: bool) -> list[str]:
    """The tokens of a text; lower-cased after the cut, which may lengthen a token but never moves the others."""
    if units == "byte":
        return [_BYTES[value] for value in (text.lower() if lower else text).encode()]
    tokens = list(text) if units == "char" else text.split() if units == "token" else _WORD.findall(text)
    return [token.lower() for token in tokens] if lower else tokens


def _learn_pairs(texts: Sequence[str], lower: bool, size: int) -> Tokenizer:
    """Byte pairs; the 256 bytes themselves are always there."""
    library = _library()
    learner, alphabet = _byte_pairs({}, []), sorted(library.pre_tokenizers.ByteLevel.alphabet())
    if size < len(alphabet):
        raise ConfigError(f"vocabulary: expected at least {len(alphabet)} for the unit bpe, which knows every byte, got {size}")
    learner.train_from_iterator(
        (text.lower() if lower else text for text in texts),
        library.trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=alphabet, special_tokens=[]),
    )
    said = json.loads(learner.to_str())["model"]
    codes = {token: k + 1 for k, token in enumerate(sorted(said["vocab"], key=said["vocab"].__getitem__))}
    pairs = [pair if isinstance(pair, list) else pair.split(" ") for pair in said["merges"]]
    merges = np.array([(codes[a], codes[b]) for a, b in pairs], np.int32).reshape(-1, 2)
    return Tokenizer("bpe", lower, tuple(codes), merges)


def _byte_pairs(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> Any:
    """The library's tokenizer over bytes."""
    library = _library()
    built = library.Tokenizer(library.models.BPE(vocab=dict(vocabulary), merges=list(merges)))
    built.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = library.decoders.ByteLevel()
    return built


def _library() -> Any:
    """The package tokenizers. Raises: MissingExtra."""
    try:
        return import_module("tokenizers")
    except ModuleNotFoundError as error:
        raise missing_extra("the unit bpe (tokenizers)", "text") from error
