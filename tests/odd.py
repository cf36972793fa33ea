"""What a caller may give in place of a sample, a state, a list, a name: values of every kind that none of them should be; and
what is asked of whoever is given them: a TidegateError of bounded length, and every state as it was before.

Each is made anew, since an iterator is used up. Values of torch and pandas are there where these are installed.
"""

from __future__ import annotations

import array
import datetime as dt
import decimal
import fractions
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from tidegate.errors import TidegateError

LONGEST = 2500  # letters of a message


class Raises:
    """An object that raises whatever is done with it."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def _raise(self, *_: object, **__: object) -> object:
        raise self._error

    __array__ = __len__ = __iter__ = __float__ = __index__ = __eq__ = __fspath__ = _raise  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


class Unsayable:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    __str__ = __repr__


def deep() -> list[object]:
    found: list[object] = []
    for _ in range(3000):
        found = [found]
    return found


def cyclic() -> list[object]:
    found: list[object] = []
    found.append(found)
    return found


def read_only() -> np.ndarray:
    found = np.ones(3, np.float32)
    found.setflags(write=False)
    return found


def masked(*shape: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask.flat[1] = True
    return np.ma.masked_array(np.ones(shape, np.float32), mask)


def matrix() -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.matrix([[1.0, 2.0, 3.0]])


ERRORS = (TypeError, ValueError, KeyError, RuntimeError, AttributeError, MemoryError, ZeroDivisionError, RecursionError, OSError)
ODD: dict[str, Callable[[], object]] = {
    "nan": lambda: float("nan"), "inf": lambda: float("inf"), "-inf": lambda: -float("inf"), "-0.0": lambda: -0.0,
    "denormal": lambda: 5e-324, "1e300": lambda: 1e300, "1e308": lambda: -1e308, "complex": lambda: 1 + 2j,
    "2**63": lambda: 2**63, "10**400": lambda: 10**400, "-10**400": lambda: -(10**400), "10**5000": lambda: 10**5000,
    "none": lambda: None, "true": lambda: True, "np.True_": lambda: np.True_, "object": object, "class": lambda: int,
    "function": lambda: len, "ellipsis": lambda: ..., "text": lambda: "x", "number as text": lambda: "1.5", "no text": lambda: "",
    "half letter": lambda: "\ud800", "nul": lambda: "a\0", "long text": lambda: "x" * 100_000, "bytes": lambda: b"x",
    "bytearray": lambda: bytearray(b"12345678"), "memoryview": lambda: memoryview(b"12345678"), "set": lambda: {1.0, 2.0},
    "generator": lambda: (k for k in (1.0, 2.0)), "iterator": lambda: iter([1.0]), "range": lambda: range(3),
    "mapping": lambda: {"a": 1.0}, "mapping of numbers": lambda: {1: 2.0}, "empty mapping": dict,
    "huge in a list": lambda: [10**400], "2**63 in a list": lambda: [2**63] * 3, "empty": list, "empty tuple": tuple,
    "ragged": lambda: [[1.0], [1.0, 2.0]], "ragged texts": lambda: [["a"], ["a", "b"]], "mixed": lambda: [1.0, "x", None],
    "none in a list": lambda: [None] * 3, "deep": deep, "cyclic": cyclic,
    "datetime": lambda: dt.datetime(2020, 1, 1), "date": lambda: dt.date(2020, 1, 1),
    "datetime64": lambda: np.datetime64("2020-01-01"), "nat": lambda: np.datetime64("NaT"),
    "span": lambda: np.timedelta64(3, "s"),
    "decimal": lambda: decimal.Decimal("1.5"), "decimal nan": lambda: decimal.Decimal("sNaN"),
    "fraction": lambda: fractions.Fraction(1, 3),
    "empty array": lambda: np.zeros(0), "no rows": lambda: np.zeros((0, 3)), "no columns": lambda: np.zeros((3, 0)),
    "wide": lambda: np.ones(1000), "narrow": lambda: np.ones(2, np.float32), "cube": lambda: np.ones((2, 3, 4)),
    "five axes": lambda: np.ones((1, 1, 1, 1, 1)), "0-d": lambda: np.array(1.0), "0-d nan": lambda: np.array(np.nan),
    "0-d object": lambda: np.array(None, object), "0-d text": lambda: np.array("x"),
    "objects": lambda: np.array([object()] * 3, object), "numbers as objects": lambda: np.array([1.0, 2.0, 3.0], object),
    "texts": lambda: np.array(["1", "2", "3"]), "bytes of an array": lambda: np.array([b"1", b"2", b"3"]),
    "void": lambda: np.zeros(3, "V4"), "structured": lambda: np.zeros(3, [("a", "f4"), ("b", "i4")]),
    "record": lambda: np.rec.array([(1.0, 2)], dtype=[("a", "f4"), ("b", "i4")]),
    "masked": lambda: masked(3), "masked rows": lambda: masked(2, 3), "the mask": lambda: np.ma.masked,
    "unmasked": lambda: np.ma.masked_array([1.0, 2.0, 3.0]), "matrix": matrix,
    "float16": lambda: np.ones(3, np.float16), "longdouble": lambda: np.ones(3, np.longdouble),
    "2**62": lambda: np.full(3, 2**62), "uint64": lambda: np.full(3, 2**64 - 1, np.uint64),
    "bools": lambda: np.eye(3, dtype=bool)[0],
    "complexes": lambda: np.ones(3, complex), "dates": lambda: np.array(["2020", "2021", "NaT"], "M8[s]"),
    "spans": lambda: np.ones(3, "m8[s]"), "array.array": lambda: array.array("d", [1.0, 2.0, 3.0]),
    "big-endian": lambda: np.ones(3, ">f4"), "big-endian whole": lambda: np.ones(3, ">i8"),
    "reversed": lambda: np.arange(3.0)[::-1], "strided": lambda: np.arange(9, dtype=np.float32)[::3], "read-only": read_only,
    "unaligned": lambda: np.frombuffer(b"\0" + np.ones(3, np.float32).tobytes(), np.uint8)[1:].view(np.float32),
    "nans": lambda: np.full(3, np.nan, np.float32), "infs": lambda: np.array([1, np.inf, 2], np.float32),
    "unsayable": Unsayable, "unsayable in a list": lambda: [Unsayable()],
}  # fmt: skip
ODD |= {f"raises {error.__name__}": lambda error=error: Raises(error("its own")) for error in ERRORS}  # type: ignore[misc]
if find_spec("torch"):
    torch = import_module("torch")
    ODD |= {
        "tensor": lambda: torch.ones(3), "tensor with a gradient": lambda: torch.ones(3, requires_grad=True),
        "sparse tensor": lambda: torch.ones(3).to_sparse(), "bfloat16": lambda: torch.ones(3, dtype=torch.bfloat16),
        "tensor without data": lambda: torch.ones(3, device="meta"),
    }  # fmt: skip
if find_spec("pandas"):
    pd = import_module("pandas")
    ODD |= {
        "series": lambda: pd.Series([1.0, 2.0, 3.0]), "frame": lambda: pd.DataFrame({"a": [1.0]}), "NA": lambda: pd.NA,
        "nullable": lambda: pd.array([1, None, 3], dtype="Int64"), "categorical": lambda: pd.Categorical(["a", "b"]),
    }  # fmt: skip

# Which of them are what is asked for: three numbers; one number; a text.
FINITE3 = {
    "range", "2**63 in a list", "unmasked", "float16", "longdouble", "2**62", "uint64", "bools", "array.array", "big-endian",
    "big-endian whole", "reversed", "strided", "read-only", "unaligned", "tensor", "series",
}  # fmt: skip
BAD3 = {"masked", "nans", "infs", "nullable"}  # three numbers, with one that is NaN, Inf or missing
FINITE1 = {"-0.0", "denormal", "1e300", "2**63", "true", "np.True_", "decimal", "fraction", "0-d"}
BAD1 = {"nan", "inf", "-inf", "1e308", "none", "0-d nan", "0-d object", "the mask"}
TEXT = {"text", "number as text", "long text"}
BAD_TEXT = {"half letter", "nul"}


def known(names: set[str]) -> set[str]:
    """Those that can be made here: torch or pandas may be missing."""
    return names & set(ODD)


def taken(call: Callable[[Any], object], *states: Callable[[], object]) -> set[str]:
    """Names of the values that are not refused. states: what tells a state, which a refusal must leave as it is."""
    return {name for name in ODD if _takes(name, call, states)}


def _takes(name: str, call: Callable[[Any], object], states: tuple[Callable[[], object], ...]) -> bool:
    before = [state() for state in states]
    said = _refusal(call, ODD[name]())
    assert said is None or len(said) <= LONGEST, name
    assert said is None or [state() for state in states] == before, f"{name}: the state is another"
    return said is None


def _refusal(call: Callable[[Any], object], value: object) -> str | None:
    try:
        call(value)
    except TidegateError as error:
        return str(error)
    return None
