"""schema.py and strict.py: what goes into the model file comes back, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tidegate.data.schema import OTHER, Roles, Schema
from tidegate.data.times import Clock
from tidegate.errors import ConfigError, FormatError

SCHEMA = Schema(
    roles=Roles(target=("y",), time=("t",), id="id", past=("x",), future=("c",), static=("s",)),
    clock=Clock(kind="duration", step=10, anchor=5, zone="UTC"),
    levels={"c": ("a", "b", OTHER)},
    scales={"x": (1.5, 2.0), "s": (0.0, 1.0)},
    id_kind="text",
)


def plain() -> dict[str, object]:
    data: dict[str, object] = json.loads(json.dumps(SCHEMA.to_json()))
    return data


def test_round_trip() -> None:
    assert Schema.from_json(plain()) == SCHEMA


def changed(**parts: object) -> Callable[[dict[str, object]], None]:
    return lambda data: data.update(parts)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("levels"),
        changed(more=1),
        changed(uneven="yes"),
        changed(id_kind="uuid"),
        changed(id_kind="none"),
        changed(levels={}),
        changed(levels={"c": ["a"]}),
        changed(levels={"c": ["a", "a", OTHER]}),
        changed(levels={"c": [1, OTHER]}),
        changed(scales={"x": [1, 2], "s": [0, 0]}),
        changed(scales={"x": [1, 2], "s": [0, float("nan")]}),
        changed(scales={"x": [1, 2], "s": "big"}),
        changed(scales={"x": [1, 2]}),
        changed(roles={"target": []}),
        changed(roles=[1]),
        changed(clock=None),
        lambda d: d["roles"].update(target=[]),
        lambda d: d["roles"].update(target=["x"]),
        lambda d: d["roles"].update(target="y"),
        lambda d: d["roles"].update(id=3),
    ],
)
def test_anything_else_is_refused(change: Callable[[dict[str, object]], None]) -> None:
    data = plain()
    change(data)
    with pytest.raises(FormatError):
        Schema.from_json(data)


def test_roles_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="'y'"):
        Roles(target=("y",), past=("y",))
    with pytest.raises(ConfigError, match="target"):
        Roles(target=())
