"""Faults of a table, collected so that all are told at once. In: one fault after another. Out: one DataError, numbered."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import final

from tidegate.errors import DataError

SHOWN = 20  # faults told of a table
TOLD = 3  # faults of one kind that are told one by one; more become one line


@final
@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: what (with expected and got), where, and what to do."""

    what: str
    where: str = ""
    remedy: str = ""
    count: int = 1  # faults told together

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what.rstrip('.')}. {self.remedy}".rstrip()


@final
class Faults:
    """A growing list of faults of one source; more than a few of a kind are one line with their number."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.items: list[Fault] = []

    def __len__(self) -> int:
        return sum(fault.count for fault in self.items)

    def add(self, what: str, where: str = "", remedy: str = "") -> None:
        """Note one fault."""
        self.items.append(Fault(what, where, remedy))

    def many(self, total: int, first: Iterable[Fault], kind: str) -> None:
        """Note `total` faults of one kind, of which `first` gives the first; `kind` follows their number: "ids are missing"."""
        kept = list(islice(first, TOLD))
        self.items += kept if total <= TOLD else [_together(total, kept, kind)]

    def error(self) -> DataError:
        """All faults as one error."""
        if len(self.items) == 1:
            return DataError(f"{self.source}: {self.items[0]}")
        lines = [f"{self.source}: {len(self)} faults"]
        lines += [f"  {number}. {fault}" for number, fault in enumerate(self.items[:SHOWN], start=1)]
        more = sum(fault.count for fault in self.items[SHOWN:])
        return DataError("\n".join(lines + ([f"  and {more} more"] if more else [])))

    def raise_any(self) -> None:
        """Raise the error if there is a fault."""
        if len(self):
            raise self.error()


def _together(total: int, first: Sequence[Fault], kind: str) -> Fault:
    """Faults of one kind as one: how many, and the first of them."""
    same = len({fault.what for fault in first}) == 1
    told = [fault.where if same and fault.where else f"{fault.what}{fault.where and f' ({fault.where})'}" for fault in first]
    return Fault(f"{total:,} {kind}: {'; '.join(told)} and {total - len(first):,} more", "", first[0].remedy, total)


def suggest(name: str, known: Iterable[str]) -> str:
    """The nearest known column name, or a short list of what there is."""
    known = list(known)
    close = difflib.get_close_matches(name, known[:5000], n=1, cutoff=0.6)
    lower = [k for k in known if k.strip().casefold() == name.strip().casefold()]
    if lower or close:
        return f"Did you mean {(lower or close)[0]!r}?"
    more = f", ... ({len(known)} columns)" if len(known) > 12 else ""
    return "Columns: " + ", ".join(map(repr, known[:12])) + more + "."
