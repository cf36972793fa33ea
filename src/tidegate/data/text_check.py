"""A look at labelled texts before training. In: Texts, and those held back. Out: findings, each with what Tidegate will do.

Bad data never raises here: what `fit` would refuse becomes a finding of level "error".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence

from tidegate.data.check import Finding, Level, sorted_findings
from tidegate.data.texts import Texts, read_texts
from tidegate.errors import DataError
from tidegate.files import PathLike

NAMED = 5  # classes or places named in a finding
RULED = 0.95  # share of one class from which accuracy says little
LONG = 10_000  # letters
# UTF-8 that was read as Latin-1 or Windows-1252 and written again: a capital A or a with a sign behind it.
_MANGLED = re.compile(
    "[\u00c2\u00c3][\u0080-\u00bf\u20ac\u201a-\u201e\u2020-\u2022]|\u00e2\u20ac[\u2122\u0153\u201c\u201d\u02dc\u2013\u2014]|\ufffd"
)


def check_labelled(
    source: object, valid: object | None = None, valid_labels: PathLike | None = None, **columns: object
) -> tuple[Finding, ...]:
    """Errors first, then warnings, then notes.

    Args:  source, valid, valid_labels: as for `Classifier.fit`. columns: text, label, labels, header, as for `read_texts`;
        `labels` of source.
    """
    read: Callable[..., Texts] = read_texts
    beside = {name: value for name, value in columns.items() if name != "labels"}
    try:
        texts = read(source, **columns)
        held_back = None if valid is None else read(valid, labels=valid_labels, **beside)
    except DataError as error:
        return (Finding("error", str(error), "", "fit stops here."),)
    found = [*_of_texts(texts), *_of_labels(texts)]
    if held_back is not None:
        found += [*_of_texts(held_back), *_of_both(texts, held_back)]
    return sorted_findings(found)


def _of_texts(texts: Texts) -> Iterator[Finding]:
    """What is odd about the texts themselves."""
    blank = [row for row, text in enumerate(texts.texts) if not text.strip()]
    if blank:
        what, action = "texts without a letter or sign", "they teach how common the classes are and nothing else."
        yield Finding("warning", f"{len(blank):,} {what}", _places(texts, blank), action, len(blank))
    yield from odd_texts(texts.texts, texts.place)


def odd_texts(texts: Sequence[str], place: Callable[[int], str], side: str = "") -> Iterator[Finding]:
    """Texts that are wrongly decoded, not normal, or very long. side: what comes before the finding."""
    kinds: tuple[tuple[Level, str, str, Callable[[str], bool]], ...] = (
        (
            "warning",
            "texts with letters that look wrongly decoded",
            "they are read as they stand; re-encode the file.",
            looks_mangled,
        ),
        (
            "note",
            "texts that are not in Unicode's form NFC",
            "an accent of its own is another token than a letter with one.",
            _split,
        ),
        ("note", f"texts of more than {LONG:,} letters", "what is past max_tokens is cut off.", lambda text: len(text) > LONG),
    )
    for level, what, action, test in kinds:
        rows = [row for row, text in enumerate(texts) if test(text)]
        if rows:
            yield Finding(level, f"{side}{len(rows):,} {what}", places(place, rows), action, len(rows))


def _of_labels(texts: Texts) -> Iterator[Finding]:
    """Classes, and texts that stand twice."""
    if texts.labels is None:
        yield Finding("error", "no label stands beside the texts", texts.source, "fit stops here; name the column with --label.")
        return
    counts = Counter(texts.labels)
    common, most = counts.most_common(1)[0]
    if len(counts) < 2:
        yield Finding("error", f"one class alone, {common!r}", texts.source, "fit stops here: it needs two or more.")
    elif most > RULED * len(texts):
        share = f"{100 * most / len(texts):.1f} %"
        yield Finding("warning", f"{share} of the texts are {common!r}", "", "look at macro-F1, which counts classes alike.")
    single = sorted(name for name, n in counts.items() if n == 1)
    if single and len(counts) > 1:
        names = ", ".join(single[:NAMED]) + (", ..." if len(single) > NAMED else "")
        yield Finding(
            "warning", f"{len(single)} classes have one text: {names}", "", "it is trained on; nothing tests them.", len(single)
        )
    yield from twice(texts.texts, texts.labels, texts.place, "texts", "labels")
    yield Finding(
        "note", f"{len(texts):,} texts in {len(counts):,} classes, {min(counts.values()):,} to {most:,} each", "", "trained on."
    )


def twice(
    texts: Sequence[Hashable], marks: Sequence[Hashable], place: Callable[[int], str], said: str, marked: str
) -> Iterator[Finding]:
    """Texts that stand more than once. marks: their labels or tags. said, marked: what texts and marks are called, as of many."""
    rows: dict[Hashable, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        rows[text].append(row)
    repeated = [own for own in rows.values() if len(own) > 1]
    torn = [own for own in repeated if len({marks[row] for row in own}) > 1]
    if torn:
        what = f"{len(torn):,} {said} stand with different {marked}"
        yield Finding("warning", what, places(place, torn[0]), "no net can be right on all of them.", len(torn))
    extra = sum(len(own) - 1 for own in repeated)
    if extra:
        action = f"repeated {said} may stand in both parts when a share is held back: figures then flatter."
        level: Level = "note" if extra < len(texts) // 10 else "warning"
        yield Finding(level, f"{extra:,} {said} are repeated", places(place, repeated[0]), action, extra)


def shared(texts: Sequence[Hashable], held_back: Sequence[Hashable], place: Callable[[int], str], said: str) -> Iterator[Finding]:
    """Held-back texts that are trained on too. place: of the held-back ones."""
    seen = set(texts)
    rows = [row for row, text in enumerate(held_back) if text in seen]
    if rows:
        what = f"{len(rows):,} held-back {said} are trained on too"
        yield Finding("warning", what, places(place, rows), "their figures flatter; take them out of one part.", len(rows))


def _of_both(texts: Texts, held_back: Texts) -> Iterator[Finding]:
    """What the two parts must not share, and what they must."""
    yield from shared(texts.texts, held_back.texts, held_back.place, "texts")
    if held_back.labels is None:
        yield Finding("error", "no label stands beside the held-back texts", held_back.source, "fit stops here.")
        return
    known = set(texts.labels or ())
    strange = [row for row, label in enumerate(held_back.labels) if label not in known]
    if strange and known:
        names = ", ".join(sorted({held_back.labels[row] for row in strange})[:NAMED])
        what = f"{len(strange):,} held-back texts have a label that no training text has: {names}"
        yield Finding("error", what, _places(held_back, strange), "fit stops here.", len(strange))


def _places(texts: Texts, rows: Sequence[int]) -> str:
    return places(texts.place, rows)


def places(place: Callable[[int], str], rows: Sequence[int]) -> str:
    """Where the first few of some rows stand."""
    return ", ".join(place(row) for row in rows[:NAMED]) + (", ..." if len(rows) > NAMED else "")


def looks_mangled(text: str) -> bool:
    """Whether a text looks like UTF-8 that was read as something else."""
    return _MANGLED.search(text) is not None


def _split(text: str) -> bool:
    return not unicodedata.is_normalized("NFC", text)
