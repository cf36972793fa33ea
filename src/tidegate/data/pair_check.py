"""A look at pairs of texts before training. In: Pairs, and those held back. Out: findings, each with what Tidegate will do.

Bad data never raises here: what `fit` would refuse becomes a finding of level "error".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from tidegate.data.check import Finding, sorted_findings
from tidegate.data.pairs import Pairs, read_pairs
from tidegate.data.text_check import odd_texts, places, shared
from tidegate.errors import DataError

UNLIKE = 4.0  # times the usual share of lengths, from which a pair is looked at
LEAST_LETTERS = 20  # of the longer side: short texts differ by chance


def check_pairs(
    source: object, target: object = None, *, valid: object | None = None, valid_target: object | None = None,
    from_column: str | None = None, to_column: str | None = None, header: bool = True,
) -> tuple[Finding, ...]:  # fmt: skip
    """Errors first, then warnings, then notes. Args: as for `Translator.fit`."""
    try:
        pairs = read_pairs(source, target, from_column=from_column, to_column=to_column, header=header)
        held_back = None
        if valid is not None:
            held_back = read_pairs(valid, valid_target, from_column=from_column, to_column=to_column, header=header)
    except DataError as error:
        return (Finding("error", str(error), "", "fit stops here."),)
    found = [*_of_pairs(pairs), *_of_one(pairs, held_back)]
    if held_back is not None:
        found += [*_of_pairs(held_back), *_of_both(pairs, held_back)]
    return sorted_findings(found)


def _of_pairs(pairs: Pairs) -> Iterator[Finding]:
    """What is odd about the pairs themselves."""
    empty = [row for row, two in enumerate(_rows(pairs)) if not (two[0].strip() and two[1].strip())]
    if len(empty) == len(pairs):
        yield Finding("error", "no pair has text on both sides", pairs.source, "fit stops here.", len(empty))
        return
    if empty:
        what = f"{len(empty):,} pairs have a side without a letter or sign"
        yield Finding("warning", what, places(pairs.place, empty), "they are left out.", len(empty))
    for side, texts in (("source", pairs.sources), ("target", pairs.targets)):
        yield from odd_texts(texts, pairs.place, f"{side}: ")
    same = [row for row, (a, b) in enumerate(_rows(pairs)) if a == b and a.strip()]
    if same:
        what = f"{len(same):,} pairs have equal sides"
        level = "note" if len(same) < len(pairs) // 10 else "warning"
        yield Finding(level, what, places(pairs.place, same), "they teach to copy; take them out where that is wrong.", len(same))  # type: ignore[arg-type]  # one of two literals
    yield from _twice(pairs)
    yield from _unlike(pairs)
    yield Finding("note", f"{len(pairs):,} pairs", "", "trained on, but for those held back.")


def _of_one(pairs: Pairs, held_back: Pairs | None) -> Iterator[Finding]:
    """What leaves nothing to hold back."""
    with_text = {source for source, target in _rows(pairs) if source.strip() and target.strip()}
    if held_back is None and len(with_text) == 1:
        yield Finding(
            "error", "one source alone has text on both sides", pairs.source, "fit stops here: one is held back, one trained on."
        )


def _twice(pairs: Pairs) -> Iterator[Finding]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(pairs.sources):
        rows[text].append(row)
    repeated = [own for own in rows.values() if len({pairs.targets[k] for k in own}) < len(own)]
    if repeated:
        extra = sum(len(own) - len({pairs.targets[k] for k in own}) for own in repeated)
        what = f"{extra:,} pairs are repeated"
        yield Finding("note", what, places(pairs.place, repeated[0]), "they count as often as they stand there.", extra)
    several = [own for own in rows.values() if len({pairs.targets[k] for k in own}) > 1]
    if several:
        what = f"{len(several):,} sources have several targets"
        action = "a net learns them all and says one; equal sources are held back together."
        yield Finding("note", what, places(pairs.place, several[0]), action, len(several))


def _unlike(pairs: Pairs) -> Iterator[Finding]:
    """Pairs of wildly different lengths, by the usual share: often lines that slipped."""
    lengths = np.array([(len(a), len(b)) for a, b in _rows(pairs)], float)
    there = lengths.min(1) > 0
    if there.sum() < 2:
        return
    shares = np.log(np.maximum(lengths[:, 1], 1) / np.maximum(lengths[:, 0], 1))
    far = np.abs(shares - np.median(shares[there])) > np.log(UNLIKE)
    odd = np.flatnonzero(there & far & (lengths.max(1) >= LEAST_LETTERS)).tolist()
    if odd:
        what = f"{len(odd):,} pairs are of wildly different lengths, {UNLIKE:g} times off the usual share"
        yield Finding("warning", what, places(pairs.place, odd), "they are trained on; look whether lines slipped.", len(odd))


def _of_both(pairs: Pairs, held_back: Pairs) -> Iterator[Finding]:
    """What the two parts must not share."""
    yield from shared(pairs.sources, held_back.sources, held_back.place, "sources")


def _rows(pairs: Pairs) -> Iterator[tuple[str, str]]:
    return zip(pairs.sources, pairs.targets, strict=True)
