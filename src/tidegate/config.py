"""Frozen dataclasses <-> plain JSON or TOML mappings. In: a mapping. Out: a checked dataclass, or one error with every fault.

Types understood: str, int, float, bool, None, Literal, tuples, mappings from str, other dataclasses, unions of these, and
unions of dataclasses told apart by a class variable `kind`. Nothing is converted in silence but int to float, list to tuple
and NumPy's numbers to Python's.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import numbers
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from tidegate.errors import ConfigError, nearest, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    D = TypeVar("D", bound=DataclassInstance)
else:
    D = TypeVar("D")

Plain: TypeAlias = bool | int | float | str | list["Plain"] | dict[str, "Plain"] | None


MAX_FAULTS = 20  # told at once


def to_plain(value: object) -> Plain:
    """Turn a dataclass (or anything inside one) into JSON-able values; tuples become lists, `kind` is written first."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = getattr(type(value), "kind", None)
        plain: dict[str, Plain] = {"kind": kind} if isinstance(kind, str) else {}
        plain.update({f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)})
        return plain
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"cannot be written as plain data: {type(value).__name__}")


def from_plain(cls: type[D], plain: object, where: str = "") -> D:
    """Build the frozen dataclass `cls` from a mapping; unknown and missing keys and wrong types are reported at once, up to 20.

    Raises: ConfigError, one line a fault, each with the nearest known name or the type expected.
    """
    faults: list[str] = []
    built = _dataclass(cls, plain, where or cls.__name__, faults)
    if faults:
        more = ["and more"] if len(faults) > MAX_FAULTS else []
        raise ConfigError("\n".join([*faults[:MAX_FAULTS], *more]))
    return cast(D, built)


def check_options(cls: type[D], options: Mapping[str, object]) -> D:
    """Build the options dataclass of a task from keyword arguments (names as in the constructor)."""
    return from_plain(cls, options, cls.__name__)


@functools.cache
def field_types(cls: type) -> dict[str, object]:
    """The resolved type of each field of a dataclass."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _dataclass(cls: type, plain: object, where: str, faults: list[str]) -> object:
    if not isinstance(plain, Mapping):
        faults.append(f"{where}: expected a table of options, got {shown(plain)}")
        return None
    wanted, before = field_types(cls), len(faults)
    given = _without_kind(cls, plain, where, faults)
    unknown = (str(key)[:60] for key in given if key not in wanted)
    faults += [f"{where}.{key}: unknown option; {nearest(key, wanted)}" for key in itertools.islice(unknown, MAX_FAULTS + 1)]
    values = {}
    for field in dataclasses.fields(cls):
        if field.name in given:
            values[field.name] = _value(wanted[field.name], given[field.name], f"{where}.{field.name}", faults)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            faults.append(f"{where}.{field.name}: missing; expected {_named(wanted[field.name])}")
    if len(faults) > before:
        return None
    try:
        return cast(object, cls(**values))
    except ConfigError as error:
        faults.append(str(error))
        return None


def _without_kind(cls: type, plain: Mapping[object, object], where: str, faults: list[str]) -> dict[object, object]:
    kind = getattr(cls, "kind", None)
    if kind is None or "kind" not in plain:
        return dict(plain)
    if plain["kind"] != kind:
        faults.append(f"{where}.kind: expected {kind!r}, got {shown(plain['kind'])}")
    return {k: v for k, v in plain.items() if k != "kind"}


def _value(kind: object, value: object, where: str, faults: list[str]) -> object:
    """The value as its type asks for; what does not fit becomes a fault at its own place."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _union(get_args(kind), value, where, faults)
    if origin is tuple and isinstance(value, (list, tuple)):
        return _items(kind, value, where, faults)
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return _table(get_args(kind)[1], value, where, faults)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return value if isinstance(value, kind) else _dataclass(kind, value, where, faults)
    if origin is None or origin is Literal:
        return _single(kind, value, where, faults)
    return _refused(kind, value, where, faults)


def _union(kinds: tuple[object, ...], value: object, where: str, faults: list[str]) -> object:
    tagged = {str(k.kind): k for k in kinds if isinstance(k, type) and hasattr(k, "kind")}
    if tagged and isinstance(value, Mapping):
        name = value.get("kind")
        if isinstance(name, str) and name in tagged:
            return _dataclass(tagged[name], value, where, faults)
        faults.append(f"{where}.kind: unknown kind {shown(name)}; {nearest(str(name), tagged)}")
        return None
    for kind in sorted(kinds, key=lambda k: k is not type(value)):  # 3 stays an int where both int and float are allowed
        trial: list[str] = []
        built = _value(kind, value, where, trial)
        if not trial:
            return built
    inner = [k for k in kinds if k is not type(None)]
    if len(inner) == 1 and isinstance(value, (list, tuple, Mapping)):
        return _value(inner[0], value, where, faults)  # names the place inside
    return _refused(Union[kinds], value, where, faults)  # noqa: UP007  # built at run time


def _items(kind: object, value: list[object] | tuple[object, ...], where: str, faults: list[str]) -> object:
    parts = get_args(kind)
    kinds = [parts[0]] * len(value) if len(parts) == 2 and parts[1] is Ellipsis else list(parts)
    if len(kinds) != len(value):
        return _refused(kind, value, where, faults)
    built: list[object] = []
    for i, (k, v) in enumerate(zip(kinds, value, strict=True)):
        if len(faults) > MAX_FAULTS:  # a hostile file may hold a million
            break
        built.append(_value(k, v, f"{where}[{i}]", faults))
    return tuple(built)


def _table(kind: object, value: Mapping[object, object], where: str, faults: list[str]) -> object:
    built = {}
    for k, v in value.items():
        if len(faults) > MAX_FAULTS:
            break
        if not isinstance(k, str):
            faults.append(f"{where}: expected names as text, got {shown(k)}")
            continue
        built[k] = _value(kind, v, f"{where}.{k[:60]}", faults)
    return built


def _single(kind: object, value: object, where: str, faults: list[str]) -> object:
    """A number, text, true or false, nothing, or one of some literals."""
    if get_origin(kind) is Literal:
        fits = any(value == k and type(value) is type(k) for k in get_args(kind))
        return value if fits else _refused(kind, value, where, faults)
    if kind in (int, float) and isinstance(value, bool):
        return _refused(kind, value, where, faults)
    if kind is int and isinstance(value, numbers.Integral):
        return int(value)
    if kind is float and isinstance(value, numbers.Real):
        return _float(value, where, faults)
    if not isinstance(value, cast(type, kind)):
        return _refused(kind, value, where, faults)
    return value


def _float(value: numbers.Real, where: str, faults: list[str]) -> object:
    try:
        number = float(value)
    except OverflowError:
        return _refused(float, value, where, faults)
    return _refused(float, value, where, faults) if math.isnan(number) else number


def _refused(kind: object, value: object, where: str, faults: list[str]) -> object:
    faults.append(f"{where}: expected {_named(kind)}, got {shown(value)}")
    return None


def _named(kind: object) -> str:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_named(k) for k in get_args(kind)))
    if origin is Literal:
        return "one of " + ", ".join(repr(k) for k in get_args(kind))
    if origin is tuple:
        parts = get_args(kind)
        return f"a list of {_named(parts[0])}" if parts[1:] == (Ellipsis,) else f"a list of {len(parts)} values"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a table of {_named(get_args(kind)[1])}"
    names: dict[object, str] = {
        int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "nothing",
    }  # fmt: skip
    return names.get(kind) or f"{getattr(kind, 'kind', None) or getattr(kind, '__name__', kind)}"


__all__ = ["Plain", "check_options", "field_types", "from_plain", "to_plain"]
