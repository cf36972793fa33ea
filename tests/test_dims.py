"""The legend and the check of shapes; the tree of errors as its docstring draws it."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate import dims, errors
from tidegate.dims import LEGEND, check_shape
from tidegate.errors import MissingExtra, ShapeError, TidegateError, missing_extra, nearest


def test_the_docstring_draws_the_legend() -> None:
    drawn = dict(re.findall(r"\b([A-Z]) ([a-z* H]+?)(?: \(|\b(?= ·|$|\n| of an))", dims.__doc__ or ""))
    assert {letter: meaning.replace("gates*H", "gates x hidden") for letter, meaning in drawn.items()} == LEGEND


@given(shape=st.lists(st.integers(0, 4), min_size=3, max_size=3))
def test_a_right_shape_passes(shape: list[int]) -> None:
    check_shape("x", np.zeros(shape), "B T I")
    check_shape("x", np.zeros(shape), "B T I", B=shape[0], I=shape[2])


@given(shape=st.lists(st.integers(0, 4), max_size=4), size=st.integers(0, 4))
def test_a_shape_passes_exactly_when_it_fits(shape: list[int], size: int) -> None:
    fits = len(shape) == 2 and shape[1] == size
    if fits:
        check_shape("x", np.zeros(shape), "B I", I=size)
    else:
        with pytest.raises(ShapeError):
            check_shape("x", np.zeros(shape), "B I", I=size)


def test_a_wrong_shape_says_what_was_expected_and_what_to_do() -> None:
    with pytest.raises(ShapeError) as caught:
        check_shape("x", np.zeros((8, 100, 39)), "B T I", "See `tidegate info model.rnn`.", I=40)
    assert (
        str(caught.value) == "x: expected (B, T, 40), got (8, 100, 39) where B = batch, T = time. See `tidegate info model.rnn`."
    )
    with pytest.raises(ShapeError, match=r"^x: expected \(2\), got \(3,\)\.$"):
        check_shape("x", np.zeros(3), "I", I=2)


def tree() -> dict[str, type[BaseException]]:
    return {n: c for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, TidegateError)}


def test_the_docstring_draws_every_error_and_its_second_class() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+) .*?(?:\(also (\w+)\))?$", errors.__doc__ or "", re.M))
    assert set(drawn) == set(tree()) - {"TidegateError"}
    for name, also in drawn.items():
        builtin = [
            c.__name__
            for c in tree()[name].__mro__
            if c.__module__ == "builtins" and c.__name__ not in ("Exception", "BaseException", "object")
        ]
        assert not also or also in builtin, name
        assert also or not builtin, name


def test_the_nearest_name() -> None:
    assert nearest("hidden_siz", ["hidden_size", "cell"]) == "did you mean 'hidden_size'?"
    assert nearest("zzz", ["b", "a"]) == "known: a, b"
    assert nearest("zzz", []) == "known: none"


def test_a_missing_extra_says_how_to_install_it() -> None:
    error = missing_extra("training", "train")
    assert isinstance(error, (MissingExtra, ImportError))
    assert "pip install 'tidegate[train]'" in str(error)
