"""What an exported net is: its text and its budget. Made by header.py and forecast.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from tidegate.export.c.golden import Golden


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Header:
    """An exported net.

    text: the header. flash: bytes of weights and tables; selftest: those of the golden vectors. ram: bytes of a state, stack: of
    the step's buffers, on a device that works on one number at a time. products: multiply-adds of a step. state: fields of the
    state struct that hold the net's own state, outputs: those of the answer, in the net's order, with their sizes. call: the C
    that makes golden step t of `state` into `answer`.
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
