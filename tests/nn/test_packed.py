"""PackedSequence to padded rows and back: places, gradients, and that walking and memory follow the sum of the lengths."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recurrent_inputs import make
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence

import checks
from tidegate import native, nn
from tidegate.errors import LayerError
from tidegate.nn import layers, operator
from tidegate.nn import packed as module
from tidegate.nn.packed import gather, grid_of, spread

CPU = torch.device("cpu")


def pack(lengths: list[int], size: int = 2) -> PackedSequence:
    x = torch.arange(len(lengths) * max(lengths) * size, dtype=torch.float64).reshape(len(lengths), max(lengths), size)
    return pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)


def in_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL", 0)
    monkeypatch.setattr(module, "MOST_PADDING", 1)


@pytest.mark.parametrize("split", [False, True])
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=7))
def test_rows_lie_where_torch_lays_them(lengths: list[int], split: bool) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        in_many_parts(monkeypatch)
        data = pack(lengths)
        grid = grid_of(data.batch_sizes, CPU, split=split)
        parts = spread(data.data, grid)
    ordered = PackedSequence(data.data, data.batch_sizes)
    padded, sizes = pad_packed_sequence(ordered)
    for part, rows in zip(grid.parts, parts, strict=True):
        for row in range(part.batch):
            length = int(sizes[part.first + row])
            assert part.lengths is None or int(part.lengths[row]) == length
            assert torch.equal(rows[:length, row], padded[:length, part.first + row])
        assert part.total == int(sizes[part.first : part.first + part.batch].sum())
    assert torch.equal(gather(parts, grid), data.data)


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=7))
def test_gradients_come_back_to_their_rows_however_often(lengths: list[int]) -> None:
    data = pack(lengths)
    grid = grid_of(data.batch_sizes, CPU, split=True)
    leaf = data.data.clone().requires_grad_()
    weight = torch.linspace(1, 2, leaf.numel(), dtype=leaf.dtype).reshape(leaf.shape)
    loss = (gather([rows**3 for rows in spread(leaf, grid)], grid) * weight).sum()
    (first,) = torch.autograd.grad(loss, leaf, create_graph=True)
    torch.testing.assert_close(first, 3 * leaf**2 * weight, **checks.TOL["float64"])
    (second,) = torch.autograd.grad(first.sum(), leaf)
    torch.testing.assert_close(second, 6 * leaf * weight, **checks.TOL["float64"])


def test_equal_lengths_are_a_view() -> None:
    data = pack([4, 4, 4])
    (rows,) = spread(data.data, grid_of(data.batch_sizes, CPU, split=True))
    assert rows.data_ptr() == data.data.data_ptr()
    assert rows.shape == (4, 3, 2)
    strided = torch.stack([data.data, data.data], -1)[..., 0]
    assert torch.equal(spread(strided, grid_of(data.batch_sizes, CPU, split=True))[0], rows)


def test_one_long_row_among_short_ones_does_not_pad_them_all() -> None:
    lengths = [5000] + [3] * 200
    data = pack(lengths)
    grid = grid_of(data.batch_sizes, CPU, split=True)
    assert [(p.batch, p.steps, p.total) for p in grid.parts] == [(1, 5000, 5000), (200, 3, 600)]
    assert grid.there is not None
    assert len(grid.there) == 5600, "of 1,005,000 padded rows"


def results(layer: torch.nn.Module, data: PackedSequence, state: Tensor) -> list[Tensor]:
    leaf, start = data.data.clone().requires_grad_(), state.clone().requires_grad_()
    y, final = layer(data._replace(data=leaf), start)
    loss = (y.data * torch.linspace(-1, 2, y.data.numel(), dtype=leaf.dtype).reshape(y.data.shape)).sum() + final.square().sum()
    return [y.data, final, *torch.autograd.grad(loss, [leaf, start, *layer.parameters()])]


@pytest.mark.parametrize("enforce_sorted", [False, True])
@pytest.mark.parametrize("parts", [1, 3, "packed"])
def test_a_layer_is_torchs_however_it_takes_its_rows(
    parts: int | str, enforce_sorted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = [9, 8, 3, 3, 1] if enforce_sorted else [3, 9, 1, 8, 3]
    if parts != "packed":
        monkeypatch.setattr(layers, "takes_packed", lambda *_: False)
    if parts == 3:
        in_many_parts(monkeypatch)
    theirs = torch.nn.GRU(2, 3, 2, bidirectional=True, dtype=torch.float64)
    mine = nn.GRU(2, 3, 2, bidirectional=True, dtype=torch.float64)
    mine.load_state_dict(theirs.state_dict())
    rows = [torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(n)) for n in lengths]
    data = pack_sequence(rows, enforce_sorted=enforce_sorted)
    assert len(grid_of(data.batch_sizes, CPU, split=True).parts) == (parts if parts != "packed" else 1)
    state = torch.randn(4, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for got, expected in zip(results(mine, data, state), results(theirs, data, state), strict=True):
        torch.testing.assert_close(got, expected, **checks.GRADIENT_TOL["float64"])


@pytest.mark.skipif(not native.available(), reason="needs the native core")
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "dropout": 0.5}])
def test_the_core_takes_packed_rows_as_they_stand(monkeypatch: pytest.MonkeyPatch, options: dict[str, object]) -> None:
    seen, real = [], native.forward
    monkeypatch.setattr(native, "forward", lambda call, *a: seen.append((call.batch, call.steps, call.x)) or real(call, *a))
    packed = pack([5000] + [3] * 200)
    nn.GRU(2, 3, dtype=torch.float64, **options)(packed)
    assert seen[0] == (201, 5000, packed.data.data_ptr())
    assert len(seen) == options.get("num_layers", 1)


@pytest.mark.skipif(not native.available(), reason="needs the native core")
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_packed_rows_and_padded_ones_have_the_same_bits(kind: str) -> None:
    torch.manual_seed(0)
    layer = getattr(nn, kind)(4, 5, num_layers=2, bidirectional=True, batch_first=True)
    lengths = [9, 7, 7, 2, 1]
    x = torch.randn(5, 9, 4)
    packed, _ = layer(pack_padded_sequence(x, torch.tensor(lengths), batch_first=True))
    padded, _ = layer(x, lengths=lengths)
    assert torch.equal(pad_packed_sequence(packed, batch_first=True)[0], padded)


@pytest.mark.skipif(not native.available(), reason="needs the native core")
def test_packed_sizes_that_do_not_fit_are_refused() -> None:
    given = make("gru")
    x, w = torch.zeros(6, given.x.shape[-1], dtype=given.x.dtype), given.weights

    def call(sizes: list[int], batch: int, total: int = 6) -> None:
        held = torch.tensor(sizes)
        operator.layer(operator.Inputs("gru", x, None, None, None, w, None, None, None, total, False, False, held, batch))

    call([3, 2, 1], 3)
    for sizes, batch, message in (
        ([3, 2, 2], 3, "expected a sum of 6"), ([2, 3, 1], 3, "expected 3 at step 0"), ([2, 3, 1], 2, "never more"),
        ([4, 2, 0], 4, "nor less than 1"), ([3, 2, 1], 2, "expected 2 at step 0"),
    ):  # fmt: skip
        with pytest.raises(LayerError, match=message):
            call(sizes, batch)
    with pytest.raises(LayerError, match="add up to the 6 rows"):
        call([3, 2, 1], 3, total=7)


@pytest.mark.skipif(not native.available(), reason="needs the native core")
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_packed_sizes_of_any_class_are_held_against_the_data(kind: str) -> None:
    layer, sizes = getattr(nn, kind)(4, 6), torch.full((2000,), 3)
    for held in (sizes, torch.nn.Parameter(sizes, requires_grad=False), sizes.as_subclass(type("Sub", (Tensor,), {}))):
        with pytest.raises(LayerError, match=r"expected a sum of 6, the rows of x, got 6000"):
            layer(PackedSequence(torch.randn(6, 4), held))
    for wrong in (torch.tensor([[3], [3]]), torch.zeros(0, dtype=torch.int64)):
        with pytest.raises(LayerError, match=r"batch_sizes \(T,\), T >= 1"):
            layer(PackedSequence(torch.randn(6, 4), wrong))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_sizes_and_lengths_made_in_inference_mode_can_be_trained_on(kind: str) -> None:
    layer = getattr(nn, kind)(2, 3, dtype=torch.float64)
    with torch.inference_mode():
        sizes, lengths = pack([3, 2, 1]).batch_sizes, torch.tensor([3, 0, 2])
    data = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    y, _ = layer(PackedSequence(data, sizes))
    assert torch.autograd.grad(y.data.sum(), data)[0].shape == (6, 2)
    x = torch.randn(3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(layer(x, lengths=lengths)[0].sum(), x)[0].shape == (3, 3, 2)
