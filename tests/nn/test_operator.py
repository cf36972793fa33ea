"""The operators over the native core: torch.nn in float64 as the oracle, torch's own checks, transforms, errors, memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from recurrent_inputs import CELLS, detached, leaves, make, outputs, weighted
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tidegate import native, nn
from tidegate.errors import LayerError
from tidegate.nn import memory, operator
from tidegate.nn.operator import Inputs, layer

pytestmark = pytest.mark.skipif(not native.available(), reason="needs the native core")

CALLS = torch.ops.tidegate


def by_torch(given: Inputs) -> list[Tensor]:
    """The same through torch.nn; rows of length 0, which it refuses, keep their state."""
    batch, steps = given.x.shape[:2] if given.batch_first else (given.x.shape[1], given.x.shape[0])
    x = given.x if given.batch_first else given.x.transpose(0, 1)
    hidden, directions = given.weights[1].shape[1], len(given.weights) // 4
    held = [s if s is not None else x.new_zeros(directions, batch, hidden) for s in (given.h0, given.c0)]
    held = held[: 2 if given.cell == "lstm" else 1]
    rows = torch.arange(batch) if given.lengths is None else given.lengths.nonzero()[:, 0]
    y, finals = x.new_zeros(batch, steps, directions * hidden), held
    if len(rows) and steps:
        options = {"nonlinearity": given.cell[4:]} if given.cell.startswith("rnn") else {}
        kind = torch.nn.RNN if options else getattr(torch.nn, given.cell.upper())
        theirs = kind(x.shape[2], hidden, batch_first=True, bidirectional=directions == 2, dtype=x.dtype, **options)
        lengths = torch.full((batch,), steps) if given.lengths is None else given.lengths
        packed = pack_padded_sequence(x[rows], lengths[rows], batch_first=True, enforce_sorted=False)
        start = [s[:, rows] for s in held]
        names = [n for n, _ in theirs.named_parameters()]
        parameters = dict(zip(names, given.weights, strict=True))
        out, end = torch.func.functional_call(theirs, parameters, (packed, tuple(start) if given.cell == "lstm" else start[0]))
        found = pad_packed_sequence(out, batch_first=True, total_length=steps)[0]
        y = y.index_copy(0, rows, found)
        finals = [s.index_copy(1, rows, e) for s, e in zip(held, end if given.cell == "lstm" else (end,), strict=True)]
    return [y if given.batch_first else y.transpose(0, 1), *finals]


def assert_same_as_torch(given: Inputs, tol: dict[str, float]) -> None:
    results = []
    for run in (outputs, by_torch):
        out = run(given)
        loss = weighted([*out, given.x[:0]])  # where there is no row, torch.nn has nothing to differentiate
        grads = torch.autograd.grad(loss, leaves(given), allow_unused=True)
        grads = [g if g is not None else torch.zeros_like(i) for g, i in zip(grads, leaves(given), strict=True)]
        results.append([*out, *grads])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, **tol)


SIZES = st.sampled_from([1, 2, 3, 7, 17, 33, 130])
ROWS = st.sampled_from([0, 1, 2, 3, 7, 17])


@settings(max_examples=50)
@given(data=st.data(), cell=st.sampled_from(CELLS), sizes=st.tuples(ROWS, ROWS, SIZES, SIZES), seed=st.integers(0, 99))
def test_equal_to_torch_for_any_sizes(data: st.DataObject, cell: str, sizes: tuple[int, int, int, int], seed: int) -> None:
    batch, steps, _, _ = sizes
    lengths = data.draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    given = make(
        cell, sizes, directions=data.draw(st.integers(1, 2)), lengths=lengths, batch_first=data.draw(st.booleans()),
        recompute=data.draw(st.booleans()), state=data.draw(st.booleans()), seed=seed,
    )  # fmt: skip
    assert_same_as_torch(given, {"atol": 1e-10, "rtol": 1e-8})  # sums of up to 17 * 17 products of weights near 1


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_long_rows_and_one_row(cell: str, recompute: bool) -> None:
    for sizes, lengths in (((2, 130, 3, 5), [130, 33]), ((1, 130, 1, 1), None), ((130, 2, 1, 2), None)):
        assert_same_as_torch(make(cell, sizes, lengths=lengths, directions=2, recompute=recompute), {"atol": 1e-9, "rtol": 1e-7})


@pytest.mark.parametrize("name", native.isas() if native.available() else [])
@pytest.mark.parametrize("cell", CELLS)
def test_each_instruction_set_in_float32(cell: str, name: str) -> None:
    """Against float64: the rounding of some dozen steps."""
    native.set_isa(name)
    try:
        given = make(cell, (5, 17, 7, 33), directions=2, lengths=[17, 0, 3, 17, 9], dtype=torch.float32)
        exact = Inputs(*(_double(value) for value in given))
        mine, theirs = ([*(o := outputs(g)), *torch.autograd.grad(weighted(o), leaves(g))] for g in (given, exact))
        for got, expected in zip(mine, theirs, strict=True):
            scale = max(1.0, float(expected.detach().abs().max()))
            torch.testing.assert_close(got.double(), expected, atol=2e-5 * scale, rtol=1e-4)
    finally:
        native.set_isa(None)


def _double(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(_double(v) for v in value)
    return value.detach().double().requires_grad_() if isinstance(value, Tensor) and value.is_floating_point() else value


SAMPLES = [
    {"cell": "lstm"},
    {"cell": "gru", "directions": 2, "lengths": [4, 0, 2], "batch_first": False},
    {"cell": "rnn_relu", "bias": False, "directions": 2, "state": False},
    {"cell": "lstm", "masks": True, "recompute": True, "lengths": [1, 4, 3]},
]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s["cell"])
def test_torchs_checks_of_an_operator(sample: dict[str, object]) -> None:
    given = make(**sample)
    torch.library.opcheck(CALLS.recurrent.default, tuple(given))
    plain = detached(given)
    # What recurrent_keep leaves for backward holds padding that nobody writes: its values are not to be compared.
    torch.library.opcheck(CALLS.recurrent_keep.default, tuple(plain), test_utils=("test_schema", "test_faketensor"))
    y, hn, cn, reserve = CALLS.recurrent_keep(*plain)
    wanted = [True, given.h0 is not None, given.c0 is not None, *(True for _ in given.weights)]
    grads = (torch.ones_like(y), torch.ones_like(hn), torch.ones_like(cn) if given.cell == "lstm" else None)
    torch.library.opcheck(CALLS.recurrent_backward.default, (*plain, y, reserve, *grads, wanted))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s["cell"])
def test_gradcheck_with_every_option(sample: dict[str, object]) -> None:
    given = make(**{"sizes": (3, 4, 2, 2), **sample})
    inputs = leaves(given)

    def function(*tensors: Tensor) -> list[Tensor]:
        rest = iter(tensors)
        held = [next(rest) if t is not None else None for t in (given.x, given.h0, given.c0)]
        return outputs(given._replace(x=held[0], h0=held[1], c0=held[2], weights=tuple(rest)))

    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s["cell"])
def test_past_the_dispatcher_and_through_it_the_same_bits(sample: dict[str, object]) -> None:
    given = make(**sample)
    direct, through = outputs(given), list(CALLS.recurrent(*given))[: 3 if given.cell == "lstm" else 2]
    assert all(torch.equal(a, b) for a, b in zip(direct, through, strict=True))
    for a, b in zip(*(torch.autograd.grad(weighted(o), leaves(given)) for o in (direct, through)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("cell", CELLS)
def test_inference_keeps_nothing_and_gives_the_same_bits(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = make(cell, directions=2, lengths=[4, 0, 2])
    kept = outputs(given)
    seen, real = [], native.forward
    monkeypatch.setattr(native, "forward", lambda *a: seen.append(a[-1]) or real(*a))
    with torch.no_grad():
        plain = outputs(given)
    assert seen == [0], "no reserve"
    assert all(torch.equal(a, b) for a, b in zip(kept, plain, strict=True))
    assert not any(p.requires_grad for p in plain)


@pytest.mark.parametrize("view", [
    lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    lambda x: torch.stack([x, x], -1)[..., 1],
    lambda x: torch.cat([x, x], 1)[:, ::2][:, : x.shape[1]],
    lambda x: x[:1].expand(x.shape),
])  # fmt: skip
def test_any_strides(view: object) -> None:
    given = make("gru", (3, 4, 5, 3))
    seen = view(given.x.detach())
    results = []
    for x in (seen.clone(memory_format=torch.contiguous_format), seen):
        leaf = x.detach().requires_grad_()
        y, h, _ = layer(given._replace(x=leaf))
        dy = view(torch.randn(3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
        results.append([y, h, *torch.autograd.grad([y, h], [leaf, *given.weights], [dy, torch.ones_like(h)])])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_gradients_of_sums_come_with_stride_zero() -> None:
    given = make("lstm")
    y = layer(given)[0]
    by_sum = torch.autograd.grad(y.sum(), leaves(given), retain_graph=True)
    by_ones = torch.autograd.grad(y, leaves(given), torch.ones_like(y))
    assert all(torch.equal(a, b) for a, b in zip(by_sum, by_ones, strict=True))


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_backward_twice_gives_the_same(cell: str, recompute: bool) -> None:
    given = make(cell, directions=2, lengths=[4, 1, 0], recompute=recompute)
    loss = weighted(outputs(given))
    first, second = (torch.autograd.grad(loss, leaves(given), retain_graph=again) for again in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_only_what_is_asked_for_is_computed() -> None:
    given = make("lstm")
    everything = torch.autograd.grad(layer(given)[0].sum(), leaves(given))
    for k in range(len(leaves(given))):
        alone = make("lstm")
        for j, leaf in enumerate(leaves(alone)):
            leaf.requires_grad_(j == k)
        layer(alone)[0].sum().backward()
        grads = [leaf.grad for leaf in leaves(alone)]
        assert torch.equal(grads[k], everything[k])
        assert [g is None for g in grads] == [j != k for j in range(len(grads))]


@pytest.mark.parametrize("what", ["y", "x", "weight"])
def test_a_change_in_place_before_backward_is_an_error(what: str) -> None:
    given = make("gru")
    y = layer(given)[0]
    with torch.no_grad():
        {"y": y, "x": given.x, "weight": given.weights[1]}[what].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("run", [lambda g: layer(g), lambda g: CALLS.recurrent(*g)], ids=["direct", "dispatched"])
def test_a_second_derivative_is_refused_and_names_the_remedy(run: object) -> None:
    given = make("lstm")
    (gradient,) = torch.autograd.grad(run(given)[0].square().sum(), [given.x], create_graph=True)
    plain = torch.autograd.grad(run(given)[0].square().sum(), [given.x])[0]
    assert torch.equal(gradient, plain)
    with pytest.raises(LayerError, match=r"second derivative.*reference=True"):
        torch.autograd.grad(gradient.sum(), [given.x])


def test_transforms_of_torch_func() -> None:
    given = make("lstm")
    plain = torch.autograd.grad(layer(given)[0].sum(), [given.x])[0]
    fixed = detached(given)
    assert torch.equal(torch.func.grad(lambda x: layer(fixed._replace(x=x))[0].sum())(fixed.x), plain)
    with pytest.raises(LayerError, match="vmap: expected a whole batch"):
        torch.func.vmap(lambda x: layer(fixed._replace(x=x))[0])(fixed.x[None])
    with pytest.raises(
        LayerError, match="forward-mode derivative: the native path has none; build the layer with reference=True"
    ):
        torch.func.jvp(lambda x: layer(fixed._replace(x=x))[0], (fixed.x,), (fixed.x,))
    with torch.autograd.forward_ad.dual_level(), pytest.raises(LayerError, match="forward-mode"):
        layer(fixed._replace(x=torch.autograd.forward_ad.make_dual(fixed.x, fixed.x)))


def test_fake_and_meta_tensors_have_the_shapes() -> None:
    from torch._subclasses import FakeTensorMode

    given = detached(make("lstm", directions=2))
    real = layer(given)
    with FakeTensorMode() as mode:
        tensors = (tuple(mode.from_tensor(w) for w in v) if isinstance(v, tuple) else v for v in given)
        fake = layer(Inputs(*(mode.from_tensor(v) if isinstance(v, Tensor) else v for v in tensors)))
    meta = nn.LSTM(3, 4, bidirectional=True, device="meta")(torch.empty(5, 2, 3, device="meta"))[0]
    assert [(f.shape, f.stride()) for f in fake] == [(r.shape, r.stride()) for r in real]
    assert meta.shape == (5, 2, 8)


@given(
    cell=st.sampled_from(CELLS), lengths=st.lists(st.integers(0, 9), min_size=1, max_size=9), hidden=st.integers(1, 40),
    recompute=st.booleans(), directions=st.integers(1, 2), dtype=st.sampled_from([torch.float32, torch.float64]),
)  # fmt: skip
@example(cell="lstm", lengths=[0], hidden=1, recompute=True, directions=2, dtype=torch.float32)
def test_the_reserve_follows_the_number_of_steps_alone(
    cell: str, lengths: list[int], hidden: int, recompute: bool, directions: int, dtype: torch.dtype
) -> None:
    """Fake tensors know no lengths: the size is reckoned from `total`, and is what the core needs."""
    sizes = (len(lengths), 9, 2, hidden)
    given = detached(make(cell, sizes, directions=directions, lengths=lengths, recompute=recompute, dtype=dtype))
    size = operator.sizes(given)
    assert operator.reserve_bytes(given, size) == native.reserve_bytes(operator._call(given, size))


def _read_by_python(given: Inputs) -> native.LayerCall:
    size = operator.sizes(given)
    return operator._call(operator._readable(given), size)


READS = hasattr(Tensor, "__dlpack_c_exchange_api__")


@pytest.mark.skipif(not READS, reason="this torch has no DLPack table")
@given(
    data=st.data(), cell=st.sampled_from(CELLS), sizes=st.tuples(ROWS, ROWS, SIZES, SIZES), directions=st.integers(1, 2),
    dtype=st.sampled_from([torch.float32, torch.float64]), biases=st.booleans(), packed=st.booleans(), masks=st.booleans(),
)  # fmt: skip
def test_the_core_reads_tensors_as_python_does(
    data: st.DataObject, cell: str, sizes: tuple[int, int, int, int], directions: int, dtype: torch.dtype, biases: bool,
    packed: bool, masks: bool,
) -> None:  # fmt: skip
    batch, steps, inputs, hidden = sizes
    lengths = data.draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    given = make(
        cell, sizes, directions=directions, lengths=None if packed else lengths, dtype=dtype, state=data.draw(st.booleans()),
        batch_first=data.draw(st.booleans()), recompute=data.draw(st.booleans()),
    )  # fmt: skip
    if not biases:
        given = given._replace(weights=tuple(w for k, w in enumerate(given.weights) if k % 4 < 2))
    if masks:
        zone = torch.rand(directions, data.draw(st.sampled_from([1, steps])), batch, hidden, dtype=dtype)
        given = given._replace(zone_h=zone, drop_h=torch.rand(directions, batch, hidden, dtype=dtype))
    if packed:
        counts = torch.tensor(sorted(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=5)), reverse=True))
        rows, most = int(counts.sum()), int(counts[0])
        given = make(cell, (most, len(counts), inputs, hidden), directions=directions, dtype=dtype)
        x = torch.randn(rows, inputs, dtype=dtype)
        given = given._replace(x=x, lengths=None, total=rows, batch_sizes=counts, packed_batch=most)
    operator._let_read()
    found = native.layer_call(given)
    assert found is not None
    assert found == _read_by_python(given)


def _negated(x: Tensor) -> Tensor:
    return torch._neg_view(x.detach())


class _Own(Tensor):
    pass


ODD = {
    "features apart": lambda g: g._replace(x=g.x.detach().transpose(1, 2).contiguous().transpose(1, 2)),
    "a weight transposed": lambda g: g._replace(weights=(g.weights[0].detach().t().contiguous().t(), *g.weights[1:])),
    "a weight of another size": lambda g: g._replace(weights=(g.weights[0][:, 1:], *g.weights[1:])),
    "a bias of another size": lambda g: g._replace(weights=(*g.weights[:3], g.weights[3][1:])),
    "three weights": lambda g: g._replace(weights=g.weights[:3]),
    "half precision": lambda g: g._replace(x=g.x.half()),
    "a weight of double": lambda g: g._replace(weights=(g.weights[0].float(), *g.weights[1:])),
    "negated": lambda g: g._replace(h0=_negated(g.h0)),
    "a class of its own": lambda g: g._replace(x=g.x.detach().as_subclass(_Own)),
    "meta": lambda g: g._replace(h0=g.h0.to("meta")),
    "sparse": lambda g: g._replace(h0=g.h0.detach().to_sparse()),
    "no tensor": lambda g: g._replace(h0=3),
    "lengths of another kind": lambda g: g._replace(lengths=g.lengths.int()),
    "too few lengths": lambda g: g._replace(lengths=g.lengths[1:]),
    "lengths apart": lambda g: g._replace(lengths=torch.stack([g.lengths, g.lengths], 1)[:, 0]),
    "a total too small": lambda g: g._replace(lengths=None, total=5),
    "a total beyond 64 bits": lambda g: g._replace(lengths=None, total=1 << 70),
    "a state of another batch": lambda g: g._replace(h0=g.h0[:, 1:]),
    "an unknown cell": lambda g: g._replace(cell="elman"),
    "zones of two lengths": lambda g: g._replace(
        zone_h=torch.ones(1, 4, 3, 5, dtype=torch.float64), zone_c=torch.ones(1, 1, 3, 5, dtype=torch.float64)
    ),
    "packed beyond x": lambda g: g._replace(
        x=g.x.detach()[0], lengths=None, total=3, batch_sizes=torch.tensor([3, 3]), packed_batch=3
    ),
    "packed with lengths": lambda g: g._replace(x=g.x.detach()[0], total=3, batch_sizes=torch.tensor([3]), packed_batch=3),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_out_of_the_ordinary_is_left_to_python(name: str) -> None:
    given = make("lstm", (3, 4, 2, 5), lengths=[4, 2, 1], state=True, batch_first=False)
    operator._let_read()
    if READS:
        assert native.layer_call(given) is not None
    assert native.layer_call(ODD[name](given)) is None


def test_a_tensor_whose_memory_is_gone_is_not_taken_for_none() -> None:
    given = detached(make("gru", lengths=[4, 2, 1]))
    for name in ("h0", "lengths", "x"):
        gone = getattr(given, name).clone()
        gone.untyped_storage().resize_(0)
        with pytest.raises(RuntimeError):
            layer(given._replace(**{name: gone}))


def test_weights_replaced_before_backward_are_refused() -> None:
    module = nn.LSTM(3, 40)
    y, _ = module(torch.randn(5, 2, 3))
    for parameter in module.parameters():
        parameter.data = torch.zeros([10 * size if size in (160, 40) else size for size in parameter.shape])
    with pytest.raises(RuntimeError):
        y.sum().backward()


@pytest.mark.parametrize("change", [lambda t: t.double(), lambda t: t[:1, :1], lambda t: t.bfloat16()])
def test_saved_outputs_that_come_back_changed_are_refused(change: Callable[[Tensor], Tensor]) -> None:
    module, x = nn.GRU(3, 4), torch.randn(5, 2, 3)

    def back(t: Tensor) -> Tensor:
        return change(t) if t.shape == (5, 2, 4) else t

    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, back):
        y, _ = module(x)
    with pytest.raises(RuntimeError):
        y.sum().backward()


def test_zones_of_two_lengths_are_refused() -> None:
    given = ODD["zones of two lengths"](make("lstm", (3, 4, 2, 5)))
    with pytest.raises(LayerError, match="zone_c: expected"):
        layer(given)


def test_large_results_are_tensors_like_any_other() -> None:
    module = nn.GRU(3, 64)
    y, _ = module(torch.randn(90, 8, 3))
    assert y.numel() * 4 > memory.LEAST
    y.sum().backward()
    assert y.detach().clone().share_memory_().is_shared()
    torch.testing.assert_close(torch.from_numpy(y.detach().numpy()), y)
    kept, place = y.detach()[:1], y.data_ptr()
    values = kept.clone()
    del y
    again, _ = module(torch.randn(90, 8, 3))
    assert again.data_ptr() != place, "a slice still holds the memory"
    torch.testing.assert_close(kept, values, rtol=0, atol=0)


def test_a_total_that_is_too_small_is_refused_before_anything_is_written() -> None:
    given = make("gru", lengths=[4, 4, 4])._replace(total=3)
    with pytest.raises(LayerError, match="total: expected at least the sum of the lengths, got 3"):
        layer(given)


@pytest.mark.parametrize(("change", "text"), [
    ({"cell": "gruu"}, "cell: expected one of rnn_tanh, rnn_relu, lstm, gru, got 'gruu'"),
    ({"x": torch.zeros(4, 2, dtype=torch.float64)}, r"x: expected three axes of float32 or float64, got \(4, 2\)"),
    ({"x": torch.zeros(3, 4, 5, dtype=torch.float64)}, r"weights\[0\]: expected \(9, 5\) of torch.float64, got \(9, 2\)"),
    ({"x": torch.zeros(3, 4, 2)}, r"h0: expected \(1, 3, 3\) of torch.float32, got \(1, 3, 3\) of torch.float64"),
    ({"h0": torch.zeros(1, 2, 3, dtype=torch.float64)}, r"h0: expected \(1, 3, 3\) of torch.float64, got \(1, 2, 3\)"),
    ({"drop_h": torch.zeros(3, 3, dtype=torch.float64)}, r"drop_h: expected \(1, 3, 3\)"),
    ({"zone_h": torch.zeros(1, 2, 3, 3, dtype=torch.float64)}, r"zone_h: expected \(1, 4, 3, 3\)"),
    ({"lengths": torch.ones(3, dtype=torch.int32)}, r"lengths: expected \(3,\) of torch.int64, got \(3,\) of torch.int32"),
    ({"lengths": torch.tensor([1, 5, 0])}, "lengths: expected 0 to 4, got 5 in row 1"),
])  # fmt: skip
def test_the_operator_itself_refuses_what_would_be_read_past_its_end(change: dict[str, object], text: str) -> None:
    with pytest.raises(LayerError, match=text):
        CALLS.recurrent(*detached(make("gru"))._replace(**change))
    with pytest.raises(LayerError, match="weights: expected 2 or 4 a direction, got 3"):
        CALLS.recurrent(*detached(make("gru"))._replace(weights=detached(make("gru")).weights[:3]))


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(("change", "text"), [
    ({"h0": torch.zeros(1, 2, 3, dtype=torch.float64)}, r"h0: expected \(1, 3, 3\) of torch.float64, got \(1, 2, 3\)"),
    ({"h0": torch.zeros(1, 3, 3)}, r"h0: expected \(1, 3, 3\) of torch.float64, got \(1, 3, 3\) of torch.float32"),
    ({"c0": torch.zeros(2, 3, 3, dtype=torch.float64)}, r"c0: expected \(1, 3, 3\) of torch.float64, got \(2, 3, 3\)"),
    ({"x": torch.zeros(3, 4, 5, dtype=torch.float64)}, r"weights\[0\]: expected \(12, 5\) of torch.float64, got \(12, 2\)"),
    ({1: torch.zeros(9, 3, dtype=torch.float64)}, r"weights\[1\]: expected \(12, 3\) of torch.float64, got \(9, 3\)"),
    ({2: torch.zeros(11, dtype=torch.float64)}, r"weights\[2\]: expected \(12,\) of torch.float64, got \(11,\)"),
    ({3: torch.zeros(12)}, r"weights\[3\]: expected \(12,\) of torch.float64, got \(12,\) of torch.float32"),
])  # fmt: skip
def test_past_the_dispatcher_nothing_is_read_past_its_end(change: dict[str | int, Tensor], text: str, grad: bool) -> None:
    given = make("lstm")
    weights = tuple(change.get(k, weight) for k, weight in enumerate(given.weights))
    wrong = given._replace(weights=weights, **{name: value for name, value in change.items() if isinstance(name, str)})
    with torch.set_grad_enabled(grad), pytest.raises(LayerError, match=text):
        layer(wrong)


def test_a_layer_whose_weight_was_replaced_by_one_of_another_shape_is_refused() -> None:
    own = nn.GRU(3, 4)
    own.weight_hh_l0 = torch.nn.Parameter(torch.zeros(9, 4))
    with pytest.raises(LayerError, match=r"weights\[1\]: expected \(12, 4\) of torch.float32, got \(9, 4\)"):
        own(torch.zeros(5, 2, 3))


def test_masks_take_no_gradient() -> None:
    given = make("gru", masks=True)
    given.zone_h.requires_grad_()
    with pytest.raises(LayerError, match="zone_h, zone_c, drop_h: expected masks without gradients"):
        layer(given)[0].sum().backward()


def test_out_of_memory_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried ...")

    monkeypatch.setattr(operator, "room", full)
    with pytest.raises(MemoryError, match="can't allocate memory"):
        layer(make("gru"))


def test_the_core_follows_torchs_threads() -> None:
    before = torch.get_num_threads()
    if native._Core.threads_chosen:
        pytest.skip("another test has chosen the core's threads")
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            layer(make("gru"))
            assert native.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("cell", CELLS)
def test_bits_do_not_depend_on_threads(cell: str) -> None:
    before, given = torch.get_num_threads(), make(cell, (7, 9, 5, 33), directions=2, lengths=[9, 1, 0, 5, 9, 2, 7])
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(outputs(given))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_a_zoneout_mask_of_one_or_zero_takes_one_state_alone(cell: str) -> None:
    given = detached(make(cell, lengths=None, masks=True, dtype=torch.float32))
    ones = torch.ones_like(given.zone_h)
    masks = {"zone_h": ones, "zone_c": ones if given.c0 is not None else None}
    held = given._replace(x=torch.full_like(given.x, torch.inf), **masks)
    y, h, c = layer(held)
    assert torch.equal(h, given.h0), "not to a rounding, and no infinity times 0"
    assert given.c0 is None or torch.equal(c, given.c0)
    assert torch.equal(y, given.h0.permute(1, 0, 2).reshape(y.shape[0], 1, -1).expand_as(y))
    zeros = {name: None if mask is None else torch.zeros_like(mask) for name, mask in masks.items()}
    plain = layer(given._replace(zone_h=None, zone_c=None))
    assert all(torch.equal(a, b) for a, b in zip(layer(given._replace(**zeros)), plain, strict=True))
