"""A look at tagged sentences before training. In: a source as `read_tagged` takes it. Out: findings, each with what will be done.

Bad data never raises here: what `fit` would refuse becomes a finding of level "error".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tidegate.data.check import Finding, sorted_findings
from tidegate.data.schemes import convert, detect, legal
from tidegate.data.tagged import Tagged, read_tagged
from tidegate.data.text_check import NAMED, looks_mangled, places, shared, twice
from tidegate.errors import DataError
from tidegate.files import PathLike

LONG = 200  # words


def check_tagged(
    source: object, valid: object | None = None, *, column: str | int | None = None, labels: PathLike | None = None,
    valid_labels: PathLike | None = None,
) -> tuple[Finding, ...]:  # fmt: skip
    """Errors first, then warnings, then notes. The arguments are those of `Tagger.fit`."""
    try:
        found = read_tagged(source, column=column, labels=labels)
        held_back = None if valid is None else read_tagged(valid, column=column, labels=valid_labels)
    except DataError as error:
        return (Finding("error", str(error), "", "fit stops here."),)
    findings = [*_of_words(found), *_of_tags(found)]
    if held_back is not None:
        findings += [*_of_words(held_back), *_of_both(found, held_back)]
    return sorted_findings(findings)


def _of_words(found: Tagged) -> Iterator[Finding]:
    mangled = [row for row, words in enumerate(found.sentences) if any(map(looks_mangled, words))]
    if mangled:
        what = f"{len(mangled):,} sentences with letters that look wrongly decoded"
        yield Finding(
            "warning", what, places(found.place, mangled), "they are read as they stand; re-encode the file.", len(mangled)
        )
    long = [row for row, words in enumerate(found.sentences) if len(words) > LONG]
    if long:
        what = f"{len(long):,} sentences of more than {LONG} words"
        yield Finding("note", what, places(found.place, long), "is a blank line between sentences missing?", len(long))
    blanks = [row for row, words in enumerate(found.sentences) if any(" " in word for word in words)]
    if blanks:
        what = f"{len(blanks):,} sentences have words with blanks in them"
        yield Finding(
            "note", what, places(found.place, blanks), "each is one word; raw text never gives such words.", len(blanks)
        )


def _of_tags(found: Tagged) -> Iterator[Finding]:
    if found.tags is None:
        yield Finding("error", "no tag stands beside the words", found.source, "fit stops here; name the column with --column.")
        return
    counts = Counter(tag for own in found.tags for tag in own)
    scheme = detect(found.tags)
    if len(counts) < 2:
        yield Finding("error", f"one tag alone, {next(iter(counts))!r}", found.source, "fit stops here: it needs two or more.")
    if scheme != "plain":
        broken = [row for row, own in enumerate(found.tags) if convert(own, scheme, scheme) != list(own)]
        if broken:
            what = f"{len(broken):,} sentences have tags that break the scheme {scheme}"
            yield Finding(
                "warning", what, places(found.place, broken), "their spans are read as conlleval reads them.", len(broken)
            )
        alone = sorted(
            tag for tag in counts if not any(legal(before, tag, scheme) for before in (None, *counts) if before != tag)
        )
        if alone:
            what = f"{len(alone)} tags can follow no other tag and begin no sentence: {', '.join(alone[:NAMED])}"
            yield Finding("warning", what, "", "no well-formed answer ever has them.", len(alone))
    once = sorted(tag for tag, n in counts.items() if n == 1)
    if once:
        what = f"{len(once)} tags occur once: {', '.join(once[:NAMED])}"
        yield Finding("warning", what, "", "they are trained on or held back, not both.", len(once))
    yield from twice(found.sentences, found.tags, found.place, "sentences", "tags")
    kind = "tags" if scheme == "plain" else f"tags of spans in the scheme {scheme}"
    words = sum(map(len, found.sentences))
    yield Finding("note", f"{len(found):,} sentences, {words:,} words, {len(counts)} {kind}", "", "trained on.")


def _of_both(found: Tagged, held_back: Tagged) -> Iterator[Finding]:
    """What the two parts must not share, and what they must."""
    yield from shared(found.sentences, held_back.sentences, held_back.place, "sentences")
    if held_back.tags is None:
        yield Finding("error", "no tag stands beside the held-back words", held_back.source, "fit stops here.")
        return
    schemes = [detect(part.tags or ()) for part in (found, held_back)]
    if schemes[0] != schemes[1] and "plain" in schemes:
        what = f"the training tags are {_kind(schemes[0])}, the held-back ones {_kind(schemes[1])}"
        yield Finding("error", what, held_back.source, "fit stops here.")
        return
    if schemes[0] != schemes[1]:
        what = f"the training tags are in the scheme {schemes[0]}, the held-back ones in {schemes[1]}"
        yield Finding("note", what, held_back.source, f"their spans are read as {schemes[0]}.")
        return
    known = {tag for own in found.tags or () for tag in own}
    strange = [row for row, own in enumerate(held_back.tags) if not known.issuperset(own)]
    if strange and known:
        names = sorted({tag for row in strange for tag in held_back.tags[row]} - known)
        what = f"{len(strange):,} held-back sentences have a tag that no training sentence has: {', '.join(names[:NAMED])}"
        action = "the net learns of it from nothing, and hardly ever answers it."
        yield Finding("warning", what, places(held_back.place, strange), action, len(strange))


def _kind(scheme: str) -> str:
    return "no spans" if scheme == "plain" else f"spans in {scheme}"
