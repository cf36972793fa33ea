"""What a caller gives, whatever it is, as what we work with. In: any object. Out: an array, a list, a name; or one of our errors.

An object may raise anything while it is looked at, so every look stands in here, inside a `try`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Set, Sized
from decimal import Decimal
from numbers import Real
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tidegate.errors import ConfigError, ShapeError, TidegateError, shown, told

NUMBERS, WHOLE = "fiub", "iu"  # kinds of dtype
NO_LIST = (str, bytes, bytearray, memoryview, Mapping, Set)


def numbers(
    what: str,
    values: object,
    dtype: np.dtype[Any] | None,
    *,
    error: type[TidegateError] = ShapeError,
    expected: str = "an array of numbers",
    after: str = "",
    missing: bool = False,
) -> npt.NDArray[np.floating]:
    """Values as an array of `dtype` (None: their own): whatever NumPy makes an array of floats, whole numbers or truth values of.

    What is masked is NaN, what is too large for `dtype` Inf: both are bad input to whoever asks. missing: None counts as NaN, and
    objects that are real numbers count.
    Raises: `error` for text, bytes, complex numbers, times, objects, ragged lists.
    """
    if type(values) is np.ndarray and values.dtype == dtype:  # the common case, of every step
        return values
    try:
        if isinstance(values, (list, tuple)) and any(map(_masked, values)):
            values = np.ma.stack(values)
        array = np.asarray(values)
        if missing and array.dtype.kind == "O":
            array = np.array([_real(value) for value in array.ravel().tolist()]).reshape(array.shape)
        if array.dtype.kind not in NUMBERS:
            raise TypeError(f"values of {array.dtype}")
        with np.errstate(over="ignore"):
            found = array if dtype is None else array.astype(dtype, copy=False)
        if not _masked(values):
            return found
        mask = np.ma.getmaskarray(cast("Any", values))
        return np.where(mask, np.nan, found) if mask.any() else found
    except Exception as fault:  # an object's own __array__ may raise anything
        raise error(f"{what}: expected {expected}, got {told(fault)}{after}") from fault


def whole(what: str, values: object) -> npt.NDArray[np.int64]:
    """Values as an array of whole numbers. Raises: ShapeError for any other, masked ones, and those beyond 64 bits."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in WHOLE and array.size:
            raise TypeError(f"{array.dtype}")
        if _masked(values) and np.ma.is_masked(values):
            raise TypeError("masked values")
        if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise ValueError(f"{array.max()}")
        return array.astype(np.int64, copy=False)
    except Exception as fault:  # as above
        raise ShapeError(f"{what}: expected whole numbers, got {told(fault)}") from fault


def listed(what: str, values: object, remedy: str) -> list[Any]:
    """Things in an order, as a list. Raises: ConfigError for text, a set, a mapping, a generator, or a single thing."""
    try:
        fits = isinstance(values, Iterable) and isinstance(values, Sized) and not isinstance(values, NO_LIST)
        if not fits or hasattr(values, "columns"):  # a table goes through its columns' names
            raise TypeError("no list")
        return list(cast("Iterable[Any]", values))
    except Exception as fault:  # as above
        raise ConfigError(f"{what}: expected a list, got {shown(values)}; {remedy}") from fault


def one_of(what: str, value: object, known: Iterable[str]) -> str:
    """A name out of several. Raises: ConfigError."""
    names = list(known)
    if not isinstance(value, str) or value not in names:
        said = ", ".join(map(repr, names[:-1])) + f" or {names[-1]!r}"
        raise ConfigError(f"{what}: expected {said}, got {shown(value)}")
    return value


def count_of(what: str, value: object, least: int, most: int) -> int:
    """A whole number within bounds. Raises: ConfigError."""
    found = integer(value)
    if found is None or not least <= found <= most:
        raise ConfigError(f"{what}: expected a whole number from {least} to {most:,}, got {shown(value)}")
    return found


def integer(value: object) -> int | None:
    """One whole number; None for anything else, truth values and spans of time too."""
    plain = isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64))
    return int(cast(int, value)) if plain else None


def _masked(values: object) -> bool:
    """Whether NumPy masks something there; who has such an array has loaded numpy.ma, which takes a while."""
    ma = sys.modules.get("numpy.ma")
    return ma is not None and isinstance(values, ma.MaskedArray)


def _real(value: object) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, (Real, Decimal)):
        return float(value)
    raise TypeError(f"a value that is a {type(value).__name__}")


__all__ = ["count_of", "integer", "listed", "numbers", "one_of", "whole"]
