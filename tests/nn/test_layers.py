"""tidegate.nn against torch.nn, the outside oracle: values, gradients, states, initial values, errors, for every option."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import checks
from tidegate import nn as ours
from tidegate.errors import ConfigError, LayerError, ShapeError, TidegateError

I, H, B, T = 3, 4, 3, 5  # noqa: E741  # the letters of dims.py
CELLS = ["tanh", "relu", "lstm", "gru"]
OPTIONS = [
    {"num_layers": layers, "bidirectional": both, "bias": bias, "batch_first": first}
    for layers, both, bias, first in itertools.product((1, 3), (False, True), (True, False), (False, True))
]
PATHS = [False, True]  # reference


def short(options: object) -> str:
    return "".join(str(int(v)) for v in options.values()) if isinstance(options, dict) else str(options)


def build(library: object, cell: str, **options: object) -> torch.nn.Module:
    if cell in ("tanh", "relu"):
        return library.RNN(I, H, nonlinearity=cell, **options)
    return getattr(library, cell.upper())(I, H, **options)


def pair(
    cell: str, *, reference: bool = False, dtype: torch.dtype = torch.float64, seed: int = 0, **options: object
) -> tuple[torch.nn.Module, torch.nn.Module]:
    """torch's layer with asymmetric random weights, and ours with the same."""
    theirs = build(torch.nn, cell, dtype=dtype, **options)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.uniform_(-0.7, 0.9, generator=rng)
    mine = build(ours, cell, dtype=dtype, reference=reference, **options)
    mine.load_state_dict(theirs.state_dict())
    return mine, theirs


def draw(shape: tuple[int, ...], seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def state_of(layer: torch.nn.Module, batch: int | None = B, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    shape = (rows, H) if batch is None else (rows, batch, H)
    parts = 2 if "lstm" in type(layer).__name__.lower() else 1
    return tuple(draw(shape, 10 + k, dtype) for k in range(parts))


def as_hx(state: tuple[Tensor, ...] | None) -> Tensor | tuple[Tensor, ...] | None:
    return state[0] if state is not None and len(state) == 1 else state


def parts_of(final: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (final,) if isinstance(final, Tensor) else final


def everything(
    layer: torch.nn.Module, x: Tensor | PackedSequence, state: tuple[Tensor, ...] | None, **more: object
) -> list[Tensor]:
    """Outputs, final state, and the gradients of x, the initial state and every weight, under an asymmetric loss."""
    leaf = x.data.clone().requires_grad_()
    given_x = x._replace(data=leaf) if isinstance(x, PackedSequence) else leaf
    given_state = None if state is None else tuple(s.clone().requires_grad_() for s in state)
    y, final = layer(given_x, as_hx(given_state), **more)
    outputs = [y.data if isinstance(y, PackedSequence) else y, *parts_of(final)]
    loss = sum((out * draw(tuple(out.shape), 20 + k, out.dtype)).sum() for k, out in enumerate(outputs))
    gradients = torch.autograd.grad(loss, [leaf, *(given_state or ()), *layer.parameters()])
    return [*outputs, *gradients]


def assert_equal(got: list[Tensor], expected: list[Tensor], dtype: torch.dtype = torch.float64) -> None:
    tol = checks.GRADIENT_TOL[str(dtype).removeprefix("torch.")]
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, **tol)


@pytest.mark.parametrize("reference", PATHS)
@pytest.mark.parametrize("options", OPTIONS, ids=short)
@pytest.mark.parametrize("cell", CELLS)
def test_equal_to_torch_in_values_and_gradients(cell: str, options: dict[str, object], reference: bool) -> None:
    mine, theirs = pair(cell, reference=reference, **options)
    x = draw((B, T, I) if options["batch_first"] else (T, B, I))
    for state in (None, state_of(theirs)):
        assert_equal(everything(mine, x, state), everything(theirs, x, state))


@pytest.mark.parametrize("reference", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_equal_to_torch_in_float32(cell: str, reference: bool) -> None:
    mine, theirs = pair(cell, reference=reference, dtype=torch.float32, num_layers=2, bidirectional=True)
    x, state = draw((T, B, I), dtype=torch.float32), state_of(theirs, dtype=torch.float32)
    assert_equal(everything(mine, x, state), everything(theirs, x, state), torch.float32)


@pytest.mark.parametrize("reference", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_equal_to_torch_unbatched(cell: str, reference: bool) -> None:
    mine, theirs = pair(cell, reference=reference, num_layers=2, bidirectional=True)
    x = draw((T, I))
    for state in (None, state_of(theirs, None)):
        assert_equal(everything(mine, x, state), everything(theirs, x, state))


@pytest.mark.parametrize("reference", PATHS)
@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_equal_to_torch_packed(cell: str, enforce_sorted: bool, reference: bool) -> None:
    mine, theirs = pair(cell, reference=reference, num_layers=2, bidirectional=True, batch_first=True)
    lengths = [5, 3, 1] if enforce_sorted else [2, 5, 3]
    packed = pack_padded_sequence(draw((B, T, I)), torch.tensor(lengths), batch_first=True, enforce_sorted=enforce_sorted)
    for state in (None, state_of(theirs)):
        assert_equal(everything(mine, packed, state), everything(theirs, packed, state))
    y, other = mine(packed)[0], theirs(packed)[0]
    for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        assert (
            getattr(y, field) is None if getattr(other, field) is None else torch.equal(getattr(y, field), getattr(other, field))
        )


@pytest.mark.parametrize("reference", PATHS)
@pytest.mark.parametrize("form", ["time first", "batch first", "unbatched", "packed", "packed unsorted"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_same_global_seed_drops_the_same_values(cell: str, form: str, reference: bool) -> None:
    mine, theirs = pair(
        cell, reference=reference, num_layers=3, bidirectional=True, dropout=0.4, batch_first=form == "batch first"
    )
    x: Tensor | PackedSequence = draw({"batch first": (B, T, I), "unbatched": (T, I)}.get(form, (T, B, I)))
    if form.startswith("packed"):
        lengths = torch.tensor([5, 3, 2] if form == "packed" else [2, 5, 3])
        x = pack_padded_sequence(x, lengths, enforce_sorted=form == "packed")
    results = []
    for layer in (mine, theirs):
        torch.manual_seed(7)
        results.append(everything(layer, x, None))
    assert_equal(*results)
    torch.manual_seed(8)
    assert not torch.allclose(everything(mine, x, None)[0], results[0][0])
    assert_equal(everything(mine.eval(), x, None), everything(theirs.eval(), x, None))


def test_dropout_of_one_zeroes_what_stands_between_layers() -> None:
    mine, theirs = pair("gru", num_layers=2, dropout=1.0)
    assert_equal(everything(mine, draw((T, B, I)), None), everything(theirs, draw((T, B, I)), None))


@pytest.mark.parametrize("reference", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_lengths_are_a_packed_sequence_that_may_hold_empty_rows(cell: str, reference: bool) -> None:
    """Rows with a length against torch's packed path; the row of length 0 keeps its state, and gradients pass through it."""
    mine, theirs = pair(cell, reference=reference, num_layers=2, bidirectional=True, batch_first=True)
    x, state, lengths = draw((B, T, I)), state_of(theirs), torch.tensor([2, 0, 4])
    y, final = mine(x, as_hx(state), lengths=lengths)
    rows = torch.tensor([0, 2])
    packed = pack_padded_sequence(x[rows], lengths[rows], batch_first=True, enforce_sorted=False)
    expected, expected_final = theirs(packed, as_hx(tuple(s[:, rows].contiguous() for s in state)))
    padded = pad_packed_sequence(expected, batch_first=True, total_length=T)[0]
    torch.testing.assert_close(y[rows], padded, **checks.TOL["float64"])
    assert not y[1].any()
    assert not y[0, 2:].any()
    assert not y[2, 4:].any()
    for mine_part, theirs_part, start in zip(parts_of(final), parts_of(expected_final), state, strict=True):
        torch.testing.assert_close(mine_part[:, rows], theirs_part, **checks.TOL["float64"])
        assert torch.equal(mine_part[:, 1], start[:, 1])


@pytest.mark.parametrize("cell", CELLS)
def test_fused_and_reference_agree_in_gradients_on_ragged_rows(cell: str) -> None:
    options = {"num_layers": 2, "bidirectional": True, "batch_first": True}
    lengths, x = torch.tensor([2, 0, 5]), draw((B, T, I))
    layers = [pair(cell, reference=reference, **options)[0] for reference in PATHS]
    assert_equal(*(everything(layer, x, state_of(layer), lengths=lengths) for layer in layers))


def flat(layer: torch.nn.Module, lengths: Tensor | None) -> tuple[object, tuple[Tensor, ...]]:
    """The layer as a function of tensors alone: x, state, weights."""
    names = [n for n, _ in layer.named_parameters()]
    parts = len(state_of(layer))

    def function(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        weights = dict(zip(names, rest[parts:], strict=True))
        y, final = torch.func.functional_call(layer, weights, (x, as_hx(rest[:parts])), {"lengths": lengths})
        return (y, *parts_of(final))

    tensors = (draw((2, 3, I)), *state_of(layer, 2), *(p.detach().clone() for p in layer.parameters()))
    return function, tuple(t.requires_grad_() for t in tensors)


@pytest.mark.parametrize("lengths", [None, [3, 0], [1, 2]], ids=["full", "one empty", "ragged"])
@pytest.mark.parametrize("reference", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_gradcheck(cell: str, reference: bool, lengths: list[int] | None) -> None:
    layer, _ = pair(cell, reference=reference, batch_first=True, bidirectional=True)
    function, tensors = flat(layer, None if lengths is None else torch.tensor(lengths))
    assert torch.autograd.gradcheck(function, tensors, fast_mode=True)


@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru"])
def test_the_reference_path_is_differentiable_twice(cell: str) -> None:
    layer, _ = pair(cell, reference=True, batch_first=True)
    function, tensors = flat(layer, torch.tensor([3, 2]))
    assert torch.autograd.gradgradcheck(function, tensors, fast_mode=True)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}], ids=short)
@pytest.mark.parametrize("cell", CELLS)
def test_state_dicts_are_exchanged_both_ways(cell: str, options: dict[str, object]) -> None:
    mine, theirs = build(ours, cell, **options), build(torch.nn, cell, **options)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    mine.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(build(ours, cell, **options).state_dict())
    theirs.load_state_dict(mine.state_dict())
    assert [[w.shape for w in row] for row in mine.all_weights] == [[w.shape for w in row] for row in theirs.all_weights]
    assert all(
        torch.equal(a, b)
        for mine_row, row in zip(mine.all_weights, theirs.all_weights, strict=True)
        for a, b in zip(mine_row, row, strict=True)
    )


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}], ids=short)
@pytest.mark.parametrize("cell", CELLS)
def test_a_seed_gives_torchs_initial_values(cell: str, options: dict[str, object]) -> None:
    weights = []
    for library in (ours, torch.nn):
        torch.manual_seed(11)
        weights.append(build(library, cell, **options).state_dict())
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[1])


@settings(max_examples=40)
@given(
    cuts=st.lists(st.integers(0, 9), max_size=4), cell=st.sampled_from(CELLS), reference=st.booleans(), seed=st.integers(0, 99)
)
def test_any_cutting_gives_the_same(cuts: list[int], cell: str, reference: bool, seed: int) -> None:
    mine, _ = pair(cell, reference=reference, num_layers=2, batch_first=True, seed=seed)
    x, state = draw((2, 9, I), seed), None
    whole, final = mine(x)
    pieces = []
    edges = [0, *sorted(cuts), 9]
    for start, stop in itertools.pairwise(edges):  # empty pieces too
        y, state = mine(x[:, start:stop], state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, **checks.TOL["float64"])
    torch.testing.assert_close(parts_of(state), parts_of(final), **checks.TOL["float64"])


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    cell=st.sampled_from(CELLS),
    reference=st.booleans(),
    both=st.booleans(),
)
def test_a_row_alone_is_the_row_in_a_batch(lengths: list[int], cell: str, reference: bool, both: bool) -> None:
    mine, _ = pair(cell, reference=reference, num_layers=2, batch_first=True, bidirectional=both)
    x = draw((len(lengths), 4, I))
    y, final = mine(x, lengths=torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone, end = mine(x[row : row + 1, :length])
        torch.testing.assert_close(y[row : row + 1, :length], alone, **checks.TOL["float64"])
        assert not y[row, length:].any()
        for together, part in zip(parts_of(final), parts_of(end), strict=True):
            torch.testing.assert_close(together[:, row : row + 1], part, **checks.TOL["float64"])


@pytest.mark.parametrize("value", [1e30, float("nan"), float("inf")])
@pytest.mark.parametrize("reference", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_what_stands_in_the_padding_is_not_read(cell: str, reference: bool, value: float) -> None:
    mine, _ = pair(cell, reference=reference, num_layers=2, bidirectional=True, batch_first=True)
    lengths, x = torch.tensor([2, 0, 4]), draw((B, T, I))
    filled = x.clone()
    for row, length in enumerate(lengths):
        filled[row, length:] = value
    plain = everything(mine, x, state_of(mine), lengths=lengths)
    for got, expected in zip(everything(mine, filled, state_of(mine), lengths=lengths), plain, strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("reference", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_nothing_to_read(cell: str, reference: bool) -> None:
    """No steps, no rows, or lengths all 0: the state comes back."""
    mine, _ = pair(cell, reference=reference, num_layers=2, bidirectional=True, batch_first=True)
    for x, lengths in ((draw((B, 0, I)), None), (draw((B, T, I)), torch.zeros(B, dtype=torch.int64)), (draw((0, T, I)), None)):
        state = state_of(mine, len(x))
        y, final = mine(x, as_hx(state), lengths=lengths)
        assert y.shape == (*x.shape[:2], 2 * H)
        assert not y.any()
        assert all(torch.equal(a, b) for a, b in zip(parts_of(final), state, strict=True))


def test_gru_has_three_quarters_of_the_lstm_and_both_say_so() -> None:
    gru, lstm, rnn = ours.GRU(10, 20), ours.LSTM(10, 20), ours.RNN(10, 20)
    counts = [sum(p.numel() for p in layer.parameters()) for layer in (gru, lstm, rnn)]
    assert counts == [1920, 2560, 640]
    assert 4 * counts[0] == 3 * counts[1]
    assert repr(gru) == "GRU(10, 20  # 1,920 parameters)"
    assert repr(lstm) == "LSTM(10, 20  # 2,560 parameters)"
    assert (
        repr(ours.RNN(1, 2, 2, "relu", dropout=0.5)) == "RNN(1, 2, nonlinearity=relu, num_layers=2, dropout=0.5  # 22 parameters)"
    )


@pytest.mark.parametrize("cell", CELLS)
def test_a_deep_copy_is_independent(cell: str) -> None:
    mine, _ = pair(cell, num_layers=2)
    x = draw((T, B, I))
    twin = copy.deepcopy(mine)
    before = mine(x)[0]
    assert torch.equal(twin(x)[0], before)
    with torch.no_grad():
        twin.weight_hh_l0.add_(1.0)
    assert torch.equal(mine(x)[0], before)
    assert not torch.equal(twin(x)[0], before)


def test_calls_of_torchs_layers_work_unchanged() -> None:
    mine = ours.LSTM(I, H, 2, True, True, 0.0, False)  # torch's positions
    mine.flatten_parameters()
    y, (h, c) = mine(input=draw((B, T, I), dtype=torch.float32), hx=None)
    assert (y.shape, h.shape, c.shape) == ((B, T, H), (2, B, H), (2, B, H))


ONE = torch.zeros(1, B, H)
WRONG_CALLS = [
    ("gru", (torch.zeros(T, B, 7),), {}, r"input: expected \(T, B, 3\) or \(T, 3\), got \(5, 3, 7\)"),
    ("gru", (torch.zeros(1, T, B, I),), {}, r"input: expected \(T, B, 3\) or \(T, 3\), got \(1, 5, 3, 3\)"),
    ("gru", (torch.zeros(T, B, I), torch.zeros(1, 2, H)), {}, r"hx: expected h_0 of shape \(1, 3, 4\), got \(1, 2, 4\)"),
    ("gru", (torch.zeros(T, I), ONE), {}, r"hx: expected h_0 of shape \(1, 4\), got \(1, 3, 4\)"),
    ("lstm", (torch.zeros(T, B, I), (ONE, ONE[..., :2])), {}, r"hx: expected c_0 of shape \(1, 3, 4\), got \(1, 3, 2\)"),
    ("lstm", (torch.zeros(T, B, I), ONE), {}, r"hx: expected \(h_0, c_0\), a tuple of two tensors, got a tensor \(1, 3, 4\);"),
    ("lstm", (torch.zeros(T, B, I), (ONE,)), {}, r"hx: expected \(h_0, c_0\), .*, got a tuple \(Tensor\);"),
    ("lstm", (torch.zeros(T, B, I), [ONE, None]), {}, r"hx: expected \(h_0, c_0\), .*, got a list \(Tensor, NoneType\);"),
    ("gru", (torch.zeros(T, B, I), (ONE, ONE)), {}, r"hx: expected h_0, a tensor, got a tuple \(Tensor, Tensor\);"),
    ("gru", (torch.zeros(T, B, I), [0.0] * 9), {}, r"hx: expected h_0, a tensor, got a list \(9 values\);"),
    ("tanh", (torch.zeros(T, I), 0.5), {}, "hx: expected h_0, a tensor, got float;"),
    ("gru", (pack_padded_sequence(torch.zeros(T, B, I), torch.tensor([5, 4, 3])), (ONE, ONE)), {}, r"got a tuple \(Tensor, Te"),
    (
        "gru",
        (torch.zeros(T, B, I),),
        {"lengths": torch.tensor([1, 2])},
        r"lengths: expected \(3,\) whole numbers from 0 to 5, one a row, got \(2,\)",
    ),
    ("gru", (torch.zeros(T, B, I),), {"lengths": torch.tensor([1, 2, 6])}, r"from 0 to 5, got 6 in row 2"),
    ("gru", (torch.zeros(T, B, I),), {"lengths": torch.tensor([1, -1, 2])}, r"from 0 to 5, got -1 in row 1"),
    (
        "gru",
        (torch.zeros(T, B, I),),
        {"lengths": [1, 2**63, 2]},
        r"expected \(3,\) whole .* 0 to 5, got 9223372036854775808 in row 1",
    ),
    ("gru", (torch.zeros(T, B, I),), {"lengths": (1, 2, -(2**200))}, r"from 0 to 5, got -16069380442589902755.* in row 2"),
    (
        "gru",
        (torch.zeros(T, B, I),),
        {"lengths": torch.tensor([1.0, 2.0, 3.0])},
        "as a list or a tensor of int64, got torch.float32",
    ),
    ("gru", (torch.zeros(T, B, I),), {"lengths": [1, 2, 3.0]}, "as a list or a tensor of int64, got list"),
    (
        "gru",
        (pack_padded_sequence(torch.zeros(T, B, I), torch.tensor([5, 4, 3])),),
        {"lengths": torch.tensor([1, 2, 3])},
        "none beside a Packed",
    ),
    ("gru", (pack_padded_sequence(torch.zeros(T, B, 7), torch.tensor([5, 4, 3])),), {}, r"packed data \(N, 3\), got \(12, 7\)"),
]


@pytest.mark.parametrize(("cell", "arguments", "more", "text"), WRONG_CALLS)
def test_a_wrong_call_says_what_was_expected(
    cell: str, arguments: tuple[object, ...], more: dict[str, object], text: str
) -> None:
    with pytest.raises(LayerError, match=text) as caught:
        build(ours, cell)(*arguments, **more)
    assert isinstance(caught.value, (ShapeError, TidegateError))
    assert isinstance(caught.value, RuntimeError)  # what code written for torch.nn catches
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(("options", "text"), [
    ({"hidden_size": 0}, "GRU: hidden_size: expected a whole number of at least 1, got 0"),
    ({"input_size": 0}, "GRU: input_size: expected a whole number of at least 1, got 0"),
    ({"num_layers": 0}, "GRU: num_layers: expected a whole number of at least 1, got 0"),
    ({"num_layers": 1.5}, "GRU: num_layers: expected a whole number of at least 1, got 1.5"),
    ({"dropout": 1.1}, "GRU: dropout: expected 0 <= p <= 1, got 1.1"),
    ({"dropout": float("nan")}, "GRU: dropout: expected 0 <= p <= 1, got nan"),
    ({"dropout": np.float32(1.5)}, r"GRU: dropout: expected 0 <= p <= 1, got np.float32\(1.5\)|got 1.5"),
    ({"zoneout": np.float64(1)}, "GRU: zoneout: expected 0 <= p < 1, got "),
    ({"state_dropout": True}, "GRU: state_dropout: expected 0 <= p < 1, got True"),
    ({"dropout": np.True_}, "GRU: dropout: expected 0 <= p <= 1, got "),
    ({"hidden_size": True}, "GRU: hidden_size: expected a whole number of at least 1, got True"),
    ({"num_layers": np.True_}, "GRU: num_layers: expected a whole number of at least 1, got "),
    ({"input_size": np.int32(0)}, "GRU: input_size: expected a whole number of at least 1, got "),
    ({"input_size": np.float64(3)}, "GRU: input_size: expected a whole number of at least 1, got "),
    ({"recompute": "no"}, "GRU: recompute: expected True or False, got 'no'"),
    ({"bidirectional": 1}, "GRU: bidirectional: expected True or False, got 1"),
    ({"reference": 1}, "GRU: reference: expected True or False, got 1"),
])  # fmt: skip
def test_a_wrong_option_says_what_was_expected(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ours.GRU(**{"input_size": I, "hidden_size": H, **options})


def test_numbers_of_numpy_are_taken_and_held_as_pythons() -> None:
    layer = ours.LSTM(
        np.int64(I), np.int32(H), np.uint8(2), dropout=np.float32(0.5), zoneout=np.float64(0), state_dropout=np.int64(0),
        proj_size=np.int16(2),
    )  # fmt: skip
    held = {name: getattr(layer, name) for name in ("input_size", "hidden_size", "num_layers", "proj_size")}
    assert held == {"input_size": I, "hidden_size": H, "num_layers": 2, "proj_size": 2}
    assert {type(size) for size in held.values()} == {int}
    assert (layer.dropout, layer.zoneout, layer.state_dropout) == (0.5, 0.0, 0.0)
    assert {type(rate) for rate in (layer.dropout, layer.zoneout, layer.state_dropout)} == {float}
    assert layer(torch.zeros(T, B, I))[0].shape == (T, B, 2)
    for wrong in (np.int64(H), np.True_, np.float64(2)):
        with pytest.raises(ConfigError, match="proj_size: expected a whole number from 0 to below hidden_size 4"):
            ours.LSTM(I, np.int64(H), proj_size=wrong)


def test_options_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match="nonlinearity: expected 'tanh' or 'relu', got 'sin'"):
        ours.RNN(I, H, nonlinearity="sin")
    with pytest.raises(ConfigError, match=r"proj_size: expected a whole number from 0 to below hidden_size 4, got 4"):
        ours.LSTM(I, H, proj_size=H)
    with pytest.raises(TypeError, match="hidden"):
        ours.GRU(I, hidden=H)


def test_dropout_with_one_layer_warns_as_torch_does() -> None:
    with pytest.warns(UserWarning, match=r"GRU: dropout=0.5 acts between layers, and there is only one"):
        ours.GRU(I, H, dropout=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.GRU(I, H, 2, dropout=0.5)


@pytest.mark.parametrize("cell", CELLS)
def test_windows_that_overlap_in_memory_and_negated_views(cell: str) -> None:
    mine, theirs = pair(cell)
    grads = []
    for layer in (mine, theirs):
        base = draw((B, T + I - 1)).requires_grad_()
        y = layer(base.unfold(1, I, 1).transpose(0, 1))[0]
        grads.append(torch.autograd.grad(y.square().sum(), base)[0])
    torch.testing.assert_close(*grads)
    negated = torch._neg_view(draw((T, B, I)))
    torch.testing.assert_close(mine(negated)[0], theirs(negated)[0])


def test_the_import_leaves_torchs_compiler_alone() -> None:
    code = "import sys, tidegate.nn; sys.exit('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 0, "torch._dynamo takes longer to import than all else"
