"""Dataclasses from plain data: round trips, every fault at its own place, all at once, no other error escapes."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.config import check_options, field_types, from_plain, to_plain
from tidegate.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Circle:
    kind: ClassVar[str] = "circle"
    radius: float


@dataclass(frozen=True, kw_only=True)
class Square:
    kind: ClassVar[str] = "square"
    side: int
    corners: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Drawing:
    shapes: tuple[Circle | Square, ...]
    first: Circle = field(default_factory=lambda: Circle(radius=1.0))
    pair: tuple[int, str] = (1, "a")
    depth: int | None = None
    either: int | float = 0
    mode: Literal["on", "off", 3] = "on"
    names: Mapping[str, int] = field(default_factory=dict)
    weights: tuple[float, ...] | None = None
    flag: bool = False

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth < 0:
            raise ConfigError(f"depth: expected at least 0, got {self.depth}")


floats = st.floats(allow_nan=False)
circles = st.builds(Circle, radius=floats)
squares = st.builds(Square, side=st.integers(), corners=st.lists(st.text()).map(tuple))
drawings = st.builds(
    Drawing,
    shapes=st.lists(circles | squares, max_size=3).map(tuple),
    first=circles,
    pair=st.tuples(st.integers(), st.text()),
    depth=st.none() | st.integers(0),
    either=st.integers() | floats,
    mode=st.sampled_from(["on", "off", 3]),
    names=st.dictionaries(st.text(), st.integers()),
    weights=st.none() | st.lists(floats).map(tuple),
    flag=st.booleans(),
)


@given(drawings)
def test_there_and_back(drawing: Drawing) -> None:
    plain = to_plain(drawing)
    assert from_plain(Drawing, plain) == drawing
    back = from_plain(Drawing, json.loads(json.dumps(plain)))
    assert back == drawing
    assert type(back.either) is type(drawing.either)
    assert json.dumps(to_plain(back)) == json.dumps(plain)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=6,
)
broken = st.dictionaries(st.sampled_from([*field_types(Drawing), "kind", "other"]), anything)


@settings(max_examples=120)
@given(plain=anything | broken)
def test_anything_is_a_drawing_or_a_config_error(plain: object) -> None:
    drawing = None
    with contextlib.suppress(ConfigError):
        drawing = from_plain(Drawing, plain)
    if drawing is not None:
        assert isinstance(plain, dict)
        assert all(isinstance(shape, (Circle, Square)) for shape in drawing.shapes)
        assert from_plain(Drawing, to_plain(drawing)) == drawing


FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "unknown": ({"shapes": [], "dept": 1}, "Drawing.dept: unknown option; did you mean 'depth'?"),
    "unknown, nothing near": (
        {"shapes": [], "zzz": 1},
        "Drawing.zzz: unknown option; known: depth, either, first, flag, mode, names, pair, shapes, weights",
    ),
    "missing": ({}, "Drawing.shapes: missing; expected a list of circle or square"),
    "not a list": ({"shapes": 3}, "Drawing.shapes: expected a list of circle or square, got 3"),
    "text is no list": ({"shapes": "ab"}, "Drawing.shapes: expected a list of circle or square, got 'ab'"),
    "unknown kind": ({"shapes": [{"kind": "circel"}]}, "Drawing.shapes[0].kind: unknown kind 'circel'; did you mean 'circle'?"),
    "no kind": ({"shapes": [{"radius": 1}]}, "Drawing.shapes[0].kind: unknown kind None; known: circle, square"),
    "kind a list": ({"shapes": [{"kind": []}]}, "Drawing.shapes[0].kind: unknown kind []; known: circle, square"),
    "inside": (
        {"shapes": [{"kind": "square", "side": 1}, {"kind": "square", "side": "x"}]},
        "Drawing.shapes[1].side: expected a whole number, got 'x'",
    ),
    "inside a list": (
        {"shapes": [{"kind": "square", "side": 1, "corners": ["a", 2]}]},
        "Drawing.shapes[0].corners[1]: expected text, got 2",
    ),
    "another kind": (
        {"shapes": [], "first": {"kind": "square", "radius": 1}},
        "Drawing.first.kind: expected 'circle', got 'square'",
    ),
    "bool for int": ({"shapes": [], "depth": True}, "Drawing.depth: expected a whole number or nothing, got True"),
    "float for int": ({"shapes": [], "depth": 1.0}, "Drawing.depth: expected a whole number or nothing, got 1.0"),
    "int for bool": ({"shapes": [], "flag": 1}, "Drawing.flag: expected true or false, got 1"),
    "bool for float": ({"shapes": [], "first": {"radius": False}}, "Drawing.first.radius: expected a number, got False"),
    "nan": ({"shapes": [], "first": {"radius": math.nan}}, "Drawing.first.radius: expected a number, got nan"),
    "nan in a list": ({"shapes": [], "weights": [1, math.nan]}, "Drawing.weights[1]: expected a number, got nan"),
    "literal": ({"shapes": [], "mode": "onn"}, "Drawing.mode: expected one of 'on', 'off', 3, got 'onn'"),
    "literal of another type": ({"shapes": [], "mode": 3.0}, "Drawing.mode: expected one of 'on', 'off', 3, got 3.0"),
    "pair too short": ({"shapes": [], "pair": [1]}, "Drawing.pair: expected a list of 2 values, got [1]"),
    "pair's second": ({"shapes": [], "pair": [1, 2]}, "Drawing.pair[1]: expected text, got 2"),
    "a table's value": ({"shapes": [], "names": {"a": "b"}}, "Drawing.names.a: expected a whole number, got 'b'"),
    "a table's name": ({"shapes": [], "names": {1: 2}}, "Drawing.names: expected names as text, got 1"),
    "not a table": ({"shapes": [], "names": [1]}, "Drawing.names: expected a table of a whole number, got [1]"),
    "its own check": ({"shapes": [], "depth": -1}, "depth: expected at least 0, got -1"),
    "too large for a float": (
        {"shapes": [], "first": {"radius": 10**400}},
        "Drawing.first.radius: expected a number, got 1000000000000",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_named_at_its_place(case: str) -> None:
    plain, text = FAULTS[case]
    with pytest.raises(ConfigError) as caught:
        from_plain(Drawing, plain)
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)


def test_all_faults_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        from_plain(Drawing, {"shapes": [{"kind": "square"}, {"kind": "circle", "radius": "r"}], "dept": 1, "flag": 0}, "picture")
    assert str(caught.value).split("\n") == [
        "picture.dept: unknown option; did you mean 'depth'?",
        "picture.shapes[0].side: missing; expected a whole number",
        "picture.shapes[1].radius: expected a number, got 'r'",
        "picture.flag: expected true or false, got 0",
    ]


@pytest.mark.parametrize("plain", [None, 3, "text", [1]])
def test_no_table_at_all(plain: object) -> None:
    with pytest.raises(ConfigError, match="Drawing: expected a table of options, got"):
        from_plain(Drawing, plain)


def test_a_deep_or_long_value_is_shown_short() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, "x" * 1_000_000, list(range(1_000_000)), 10**4000):
        with pytest.raises(ConfigError) as caught:
            from_plain(Drawing, {"shapes": value})
        assert all(len(line) < 130 for line in str(caught.value).split("\n"))
        assert len(str(caught.value).split("\n")) <= 21
    while deep:  # a list this deep cannot be freed at once by every Python
        deep = deep.pop()


def test_a_million_faults_are_not_all_told() -> None:
    for plain in (
        {"shapes": [0] * 1_000_000},
        {f"k{i}": 0 for i in range(100_000)},
        {"shapes": [], "names": {f"k{i}": "" for i in range(100_000)}},
    ):
        with pytest.raises(ConfigError) as caught:
            from_plain(Drawing, plain)
        lines = str(caught.value).split("\n")
        assert len(lines) == 21
        assert lines[-1] == "and more"
    with pytest.raises(ConfigError) as caught:
        from_plain(Drawing, {"shapes": [], "x" * 1_000_000: 1})
    assert len(str(caught.value)) < 200


def test_options_from_python_may_be_built_objects_and_numpy_numbers() -> None:
    options = check_options(Drawing, {"shapes": (Circle(radius=2.0),), "depth": np.int64(3), "weights": [np.float32(0.5), 1]})
    assert options == Drawing(shapes=(Circle(radius=2.0),), depth=3, weights=(0.5, 1.0))
    assert type(options.depth) is int
    assert [type(w) for w in options.weights or ()] == [float, float]
    with pytest.raises(ConfigError, match=r"Drawing.depth: expected a whole number or nothing"):
        check_options(Drawing, {"shapes": (), "depth": np.float64(3.0)})


def test_what_is_not_plain_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="cannot be written as plain data: ndarray"):
        to_plain({"a": np.zeros(1)})
