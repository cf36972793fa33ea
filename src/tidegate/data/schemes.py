"""Span tags: IOB1, IOB2 and BIOES. In: the tags of a sentence. Out: its spans, or the same spans in another scheme.

A tag is O (outside) or a letter, a hyphen and the type of the span: B-PER. A bare letter is a span without a type.

    words   John  Ronald  lives  in  York  England     two places in succession, York and England
    iob1    I-PER I-PER   O      O   I-LOC B-LOC       I in a span; B only where it follows another span of its type
    iob2    B-PER I-PER   O      O   B-LOC B-LOC       B begins every span
    bioes   B-PER E-PER   O      O   S-LOC S-LOC       E ends a span, S is one word alone; BILOU's L and U are read as E and S

Ill-formed tags are read as the script conlleval reads them (Tjong Kim Sang and Buchholz 2000), and so by seqeval's default mode:
a span begins at B and S, and at I and E after O, after E or S, or after another type; it ends before O, before the next beginning
and after E or S. On well-formed tags this rule gives the spans of all three schemes, so that the scheme only says which letters
may occur.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from tidegate.errors import ConfigError, DataError, nearest, shown

Scheme: TypeAlias = Literal["iob1", "iob2", "bioes"]
TAG = re.compile(r"O|([BIESLU])(?:-(.+))?", re.DOTALL)
LETTERS = {"iob1": "BIO", "iob2": "BIO", "bioes": "BIESO"}
BILOU = {"L": "E", "U": "S"}


class Span(NamedTuple):
    """The words [start, stop) of a sentence, and what they are."""

    type: str
    start: int
    stop: int


class _Tag(NamedTuple):
    letter: str
    type: str


_OUTSIDE = _Tag("O", "")


def spans(tags: Sequence[str], scheme: Scheme) -> list[Span]:
    """The spans of a sentence, in order; they do not overlap. Ill-formed tags are read by conlleval's rule (see above).

    Raises: DataError if a tag is none of the scheme; ConfigError if the scheme is unknown.
    """
    _check_scheme(scheme)
    parsed = [_parse(tag, scheme) for tag in tags]
    found: list[Span] = []
    for at, (previous, tag) in enumerate(zip([_OUTSIDE, *parsed], parsed, strict=False)):
        if _begins(previous, tag):
            found.append(Span(tag.type, at, at + 1))
        elif tag.letter != "O":
            found[-1] = found[-1]._replace(stop=at + 1)
    return found


def write_tags(found: Sequence[Span], length: int, scheme: Scheme) -> list[str]:
    """The tags of a sentence of `length` words with these spans, which are in order and do not overlap."""
    _check_scheme(scheme)
    tags = ["O"] * length
    previous = Span("", -1, -1)
    for span in found:
        if not previous.stop <= span.start < span.stop <= length:
            raise DataError(f"spans: expected spans in order, apart and within {length} words, got {span} after {previous}.")
        touches = (previous.type, previous.stop) == (span.type, span.start)
        for at, letter in zip(range(span.start, span.stop), _letters(span.stop - span.start, touches, scheme), strict=True):
            tags[at] = f"{letter}-{span.type}" if span.type else letter
        previous = span
    return tags


def convert(tags: Sequence[str], source: Scheme, target: Scheme) -> list[str]:
    """The tags of one scheme in another. The spans are those of `spans`, so the result is well-formed whatever came in."""
    return write_tags(spans(tags, source), len(tags), target)


def detect(sequences: Iterable[Sequence[str]]) -> Literal["iob1", "iob2", "bioes", "plain"]:
    """The scheme that many sentences are tagged in.

    "plain" if a tag is none of any scheme (parts of speech), or all are O; "bioes" if an E, S, L or U occurs; else IOB2 if at
    least as many spans begin with B as with I where the two schemes differ, and IOB1 if not. In a file without errors one of the
    two numbers is 0.
    """
    sequences = [list(tags) for tags in sequences]
    known = {tag for tags in sequences for tag in tags}
    matches = {tag: match for tag in known if (match := TAG.fullmatch(tag))}
    letters = {match[1] for match in matches.values()} - {None}
    if len(matches) < len(known) or not letters:
        return "plain"
    if letters & set("ESLU"):
        return "bioes"
    return "iob2" if _first_letters(sequences, "B") >= _first_letters(sequences, "I") else "iob1"


def legal(previous: str | None, next: str | None, scheme: Scheme) -> bool:
    """Whether a tag may follow another in well-formed tags of the scheme; None is the sentence's start, or its end.

    Raises: DataError if a tag is none of the scheme; ConfigError if the scheme is unknown.
    """
    _check_scheme(scheme)
    before = _OUTSIDE if previous is None else _parse(previous, scheme)
    after = _OUTSIDE if next is None else _parse(next, scheme)
    same = before.letter != "O" and before.type == after.type
    if scheme == "iob1":
        return after.letter != "B" or same
    if scheme == "iob2":
        return after.letter != "I" or same
    return (before.letter in "BI") == (after.letter in "IE") and (before.letter in "OES" or same)


def legal_pairs(tags: Sequence[str], scheme: Scheme) -> npt.NDArray[np.bool_]:
    """(K + 1, K + 1): `legal` of the tag of the row and that of the column; the last stands for the sentence's edges.

    Raises: as `legal`. All at once: 2,000 tags are four million pairs.
    """
    _check_scheme(scheme)
    parsed = [*(_parse(tag, scheme) for tag in tags), _OUTSIDE]
    numbers: dict[str, int] = {}
    types = np.array([numbers.setdefault(tag.type, len(numbers)) for tag in parsed])
    letters = np.array([tag.letter for tag in parsed])
    before, after = letters[:, None], letters[None, :]
    same = (before != "O") & (types[:, None] == types)
    if scheme == "iob1":
        found = (after != "B") | same
    elif scheme == "iob2":
        found = (after != "I") | same
    else:
        goes_on, continues = np.isin(before, ("B", "I")), np.isin(after, ("I", "E"))
        found = (goes_on == continues) & (np.isin(before, ("O", "E", "S")) | same)
    found[-1, -1] = True
    return np.asarray(found, np.bool_)


def _check_scheme(scheme: str) -> None:
    if scheme not in LETTERS:
        raise ConfigError(f"scheme: expected one of {', '.join(get_args(Scheme))}, got {scheme!r}; {nearest(scheme, LETTERS)}")


def _parse(tag: str, scheme: Scheme) -> _Tag:
    match = TAG.fullmatch(tag)
    letter = (match[1] or "O") if match else ""
    if scheme == "bioes":
        letter = BILOU.get(letter, letter)
    if match is None or letter not in LETTERS[scheme]:
        known = ", ".join(f"{letter}-TYPE" for letter in LETTERS[scheme][:-1])
        raise DataError(f"tag {shown(tag)}: expected {known} or O, as in {scheme}. Name the scheme that the tags are in.")
    return _Tag(letter, match[2] or "")


def _begins(previous: _Tag, tag: _Tag) -> bool:
    """Whether a span begins at a tag, by conlleval's rule."""
    return tag.letter != "O" and (tag.letter in "BS" or previous.letter in "OES" or previous.type != tag.type)


def _letters(length: int, touches: bool, scheme: Scheme) -> str:
    """The letters of a span; touches: it follows a span of its type without a word between."""
    if scheme == "bioes":
        return "S" if length == 1 else "B" + "I" * (length - 2) + "E"
    return ("B" if scheme == "iob2" or touches else "I") + "I" * (length - 1)


def _first_letters(sequences: Sequence[Sequence[str]], letter: str) -> int:
    """How many spans that no span of their type touches begin with a letter: where IOB1 and IOB2 differ."""
    count = 0
    for tags in sequences:
        previous = Span("", -1, -1)
        for span in spans(tags, "iob2"):
            apart = (previous.type, previous.stop) != (span.type, span.start)
            count += apart and tags[span.start][0] == letter
            previous = span
    return count
