"""Hostile models in 8 bits: sound containers whose int8, scales and exponents lie. In: nothing. Out: bytes, and what is said."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.fuzz.museum import POISON, SIZE, TYPES, Exhibit
from tests.fuzz.museum_models import SHAPES, added, array, entry_of, made, without

EIGHT = "scales of the file multiply its int8 into sums of 32 bits, which overflow where nobody bounds them first"
W8, S8, E8 = "net.read.weight_ih_l0", "net.read.weight_ih_l0.scale", "net.read.exponents"
ONES, ONE = np.ones(8, np.float32), np.ones(1, np.int16)
of = partial(made, "generate-int8")

INT8: tuple[Exhibit, ...] = (
    Exhibit("int8 of -128", EIGHT, of(entry_of(W8, -128)), "its int8 and its scale"),
    Exhibit("int8 without its scale", EIGHT, of(without(S8)), "its int8 and its scale"),
    Exhibit("a scale of a scale", EIGHT, of(added(f"{W8}.scale.scale", ONES)), "its numbers are altered"),
    Exhibit("a scale of nothing", EIGHT, made("forecast-int8", added("net0.x.weight.scale", ONES)), "altered"),
    Exhibit("scales beside the nets", EIGHT, made("forecast-int8", added("net9.x.scale", ONES)), "of its plan"),
    Exhibit("a scale of NaN", POISON, of(entry_of(S8, np.nan)), "NaN|finite"),
    Exhibit("a scale of Inf", POISON, of(entry_of(S8, np.inf)), "NaN|finite"),
    Exhibit("a scale below 0", EIGHT, of(entry_of(S8, -1.0)), "its scales are altered"),
    Exhibit("a scale of 10^30", EIGHT, of(entry_of(S8, 1e30)), "whole numbers hold"),
    Exhibit("a scale too few", SHAPES, of(array(S8, lambda a: a[:-1])), "belong together"),
    Exhibit("a scale of doubles", TYPES, of(array(S8, lambda a: a.astype(float))), "belong together"),
    Exhibit("a table of int8 for a scale", TYPES, of(array(S8, lambda a: a.astype("i1"))), "belong"),
    Exhibit("floats with a scale", TYPES, of(array(W8, lambda a: a.astype("f4"))), "belong together"),
    Exhibit("a block half in 8 bits", EIGHT, of(array(W8, lambda a: a.astype("f4")), without(S8)),
            "belong together"),
    Exhibit("exponents of float weights", EIGHT, made("generate-letters", added("net.read.exponents", ONE)), "belong"),
    Exhibit("no exponents", EIGHT, of(without("net.read.exponents")), "its int8 and its scale|whole numbers in"),
    Exhibit("an exponent too many", EIGHT, of(array(E8, lambda a: np.repeat(a, 2))), "exponents"),
    Exhibit("an exponent of -17", EIGHT, of(entry_of(E8, -17)), "exponents"),
    Exhibit("an exponent of 32767", EIGHT, of(entry_of(E8, 32767)), "exponents"),
    Exhibit("exponents of int64", TYPES, of(array(E8, lambda a: a.astype("i8"))), "read.exponents.*its numbers are altered"),
    Exhibit("exponents of no block", EIGHT, of(added("net.x.exponents", ONE)), "no such block"),
    Exhibit("exponents in a table", SHAPES, of(array(E8, lambda a: a[None])), "its numbers are altered"),
    Exhibit("a shared table with two scales", EIGHT,
            made("translate-int8", added("net0.target_embedded.weight.scale", ONES)), "its numbers are altered"),
    Exhibit("a bias beyond whole numbers", EIGHT, of(entry_of("net.read.bias_ih_l0", 1e9)), "whole numbers hold"),
    Exhibit("10,000 exponents", SIZE, of(array(E8, lambda a: np.repeat(a, 10_000))), "exponents"),
)  # fmt: skip
