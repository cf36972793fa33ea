"""What an exported net is: its text and its budget. Made by header.py and forecast.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from tidegate.export.c.golden import Golden

# Words of C and C++ that a block could be called by, and the answer's own.
WORDS = (
    "alignas alignof and asm auto best bool break case catch char class compl const constexpr continue decltype default "
    "delete do double else enum explicit export extern false float for friend goto if inline int long mutable namespace new "
    "noexcept not nullptr operator or p private protected public register restrict return short signed sizeof static struct "
    "switch template this throw true try typedef typeid typename union unsigned using virtual void volatile while xor"
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Header:
    """An exported net.

    text: the header. flash: bytes of weights and tables; selftest: those of the golden vectors. ram: bytes of a state, stack: of
    the step's buffers, on a device that works on one number at a time. products: multiply-adds of a step. state: fields of the
    state struct that hold the net's own state, outputs: those of the answer, in the net's order, with their sizes. call: the C
    that makes golden step t of `state` into `answer`. whole: in whole numbers, of which every one is the net's.
    """

    name: str
    text: str
    flash: int
    selftest: int
    ram: int
    stack: int
    products: int
    vectors: Golden
    state: dict[str, int]
    outputs: dict[str, int]
    call: str
    whole: bool = False


def field_of(output: str) -> str:
    """The answer's field for an output of the net: its name, with an underscore where that is taken."""
    return f"{output}_" if output in WORDS.split() else output
