"""The generic step loop: projection, reset before, layer norm. Against torch.nn and loops written here; bits, gradients."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import checks
from tidegate import native
from tidegate.errors import ConfigError, LayerError
from tidegate.nn import generic
from tidegate.nn.generic import Options, State, Weights, layer

needs_core = pytest.mark.skipif(not native.available(), reason="the native core is not built here")
PATHS = [pytest.param(False, marks=needs_core, id="native"), pytest.param(True, id="equations")]
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
# cell, projected, options
KINDS = [
    ("rnn_tanh", False, Options()), ("rnn_relu", False, Options()), ("lstm", False, Options()), ("gru", False, Options()),
    ("lstm", True, Options()), ("gru", False, Options(reset_after=False)),
    ("rnn_tanh", False, Options(layer_norm=True)), ("rnn_relu", False, Options(layer_norm=True)),
    ("lstm", False, Options(layer_norm=True)), ("lstm", True, Options(layer_norm=True)),
    ("gru", False, Options(layer_norm=True)), ("gru", False, Options(reset_after=False, layer_norm=True)),
]  # fmt: skip


def kind_name(kind: tuple[str, bool, Options]) -> str:
    cell, projected, options = kind
    return "-".join([cell, *["proj"] * projected, *["before"] * (not options.reset_after), *["norm"] * options.layer_norm])


every_kind = pytest.mark.parametrize("kind", KINDS, ids=kind_name)


class Net:
    """Asymmetric random weights, input and state of one layer."""

    def __init__(
        self, kind: tuple[str, bool, Options], batch: int = 3, steps: int = 5, inputs: int = 4, hidden: int = 6,
        directions: int = 2, dtype: torch.dtype = torch.float64, seed: int = 0, bias: bool = True,
    ) -> None:  # fmt: skip
        self.cell, projected, self.options = kind
        rng = torch.Generator().manual_seed(seed)
        size = max(1, hidden // 2) if projected else hidden

        def draw(*shape: int) -> Tensor:
            bound = 1.0 if len(shape) == 1 else 1.5 / max(1, shape[1]) ** 0.5
            return (torch.rand(shape, generator=rng, dtype=dtype) * 2.2 - 1.0).mul(bound).requires_grad_()

        rows, norm, lstm = GATES[self.cell] * hidden, self.options.layer_norm, self.cell == "lstm"
        self.weights = [
            Weights(
                draw(rows, inputs), draw(rows, size), draw(rows) if bias else None, draw(rows) if bias else None,
                draw(size, hidden) if projected else None, draw(rows) if norm else None, draw(rows) if norm else None,
                draw(hidden) if norm and lstm else None, draw(hidden) if norm and lstm else None,
            )
            for _ in range(directions)
        ]  # fmt: skip
        self.x = torch.randn(batch, steps, inputs, generator=rng, dtype=dtype).requires_grad_()
        self.state = {"h": torch.randn(directions, batch, size, generator=rng, dtype=dtype).requires_grad_()}
        if lstm:
            self.state["c"] = torch.randn(directions, batch, hidden, generator=rng, dtype=dtype).requires_grad_()

    def run(
        self, lengths: Tensor | None = None, *, reference: bool = False, x: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        x, state = self.x if x is None else x, self.state if state is None else state
        return layer(self.cell, x, lengths, state, self.weights, self.options, reference=reference)

    @property
    def inputs(self) -> list[Tensor]:
        return [self.x, *self.state.values(), *(w for each in self.weights for w in each if w is not None)]

    def values_and_gradients(self, outputs: tuple[Tensor, State]) -> list[Tensor]:
        parts = [outputs[0], *outputs[1].values()]
        loss = sum((p * torch.linspace(-1, 2, p.numel(), dtype=p.dtype).reshape(p.shape)).sum() for p in parts)
        gradients = torch.autograd.grad(loss, self.inputs, allow_unused=True)
        return [*parts, *(torch.zeros_like(i) if g is None else g for g, i in zip(gradients, self.inputs, strict=True))]


def assert_all_close(mine: list[Tensor], other: list[Tensor], dtype: str = "float64") -> None:
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, **checks.GRADIENT_TOL[dtype])


def rows_of(net: Net, lengths: Tensor | None) -> Iterator[tuple[int, int, list[int]]]:
    """(row, direction, its steps in order)."""
    for row in range(len(net.x)):
        steps = list(range(net.x.shape[1] if lengths is None else int(lengths[row])))
        for direction in range(len(net.weights)):
            yield row, direction, steps[::-1] if direction else steps


@pytest.mark.parametrize("reference", PATHS)
@pytest.mark.parametrize("lengths", [None, [5, 2, 3], [1, 5, 5]])
@pytest.mark.parametrize("both", [False, True])
def test_projection_is_that_of_torch(both: bool, lengths: list[int] | None, reference: bool) -> None:
    net = Net(("lstm", True, Options()), directions=1 + both)
    other = torch.nn.LSTM(4, 6, proj_size=3, bidirectional=both, batch_first=True, dtype=torch.float64)
    mine = [w for each in net.weights for w in each if w is not None]
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_hr_l0")
    order = [name + end for end in ("", "_reverse")[: 1 + both] for name in names]
    parameters = dict(zip(order, mine, strict=True))
    given = net.x
    if lengths is not None:
        given = torch.nn.utils.rnn.pack_padded_sequence(net.x, torch.tensor(lengths), True, False)
    y, (h, c) = torch.func.functional_call(other, parameters, (given, (net.state["h"], net.state["c"])))
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, True, total_length=5)
    outputs = net.run(None if lengths is None else torch.tensor(lengths), reference=reference)
    assert_all_close(net.values_and_gradients(outputs), net.values_and_gradients((y, {"h": h, "c": c})))


@pytest.mark.parametrize("reference", PATHS)
@pytest.mark.parametrize("lengths", [None, [5, 0, 3]])
def test_reset_before_is_that_of_cho_et_al(lengths: list[int] | None, reference: bool) -> None:
    """Cho et al. 2014, equations 5 to 8, one unit at a time."""
    net = Net(("gru", False, Options(reset_after=False)))
    held = None if lengths is None else torch.tensor(lengths)
    ys = [[[torch.zeros(6, dtype=torch.float64)] * 2 for _ in range(5)] for _ in range(3)]
    finals = [[torch.zeros(0)] * 3 for _ in range(2)]
    for row, direction, steps in rows_of(net, held):
        w, h = net.weights[direction], net.state["h"][direction, row]
        for t in steps:
            x = net.x[row, t]
            a, u = w.weight_ih @ x + w.bias_ih, w.weight_hh @ h + w.bias_hh
            r, z = torch.sigmoid(a[:6] + u[:6]), torch.sigmoid(a[6:12] + u[6:12])
            candidate = torch.tanh(a[12:] + w.weight_hh[12:] @ (r * h) + w.bias_hh[12:])
            h = z * h + (1 - z) * candidate
            ys[row][t][direction] = h
        finals[direction][row] = h
    y = torch.stack([torch.stack([torch.cat(both) for both in row]) for row in ys])
    final = {"h": torch.stack([torch.stack(each) for each in finals])}
    assert_all_close(net.values_and_gradients(net.run(held, reference=reference)), net.values_and_gradients((y, final)))


@pytest.mark.parametrize("reference", PATHS)
@pytest.mark.parametrize("cell", list(GATES))
def test_layer_norm_is_torchs_around_each_product(cell: str, reference: bool) -> None:
    """Ba, Kiros & Hinton 2016, supplementary material, with torch's cells of the unnormed equations around torch's layer norm."""
    net = Net((cell, False, Options(layer_norm=True, eps=1e-3)), directions=1)
    w, h, c, ys = net.weights[0], net.state["h"][0], net.state["c"][0] if cell == "lstm" else None, []

    def ln(v: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(v, v.shape[-1:], gain, shift, 1e-3)

    for t in range(5):
        a, u = net.x[:, t] @ w.weight_ih.T, h @ w.weight_hh.T
        if cell == "gru":
            gates, new = slice(0, 12), slice(12, 18)
            r, z = torch.sigmoid(
                ln(a[:, gates], w.gain_ih[gates], w.bias_ih[gates]) + ln(u[:, gates], w.gain_hh[gates], w.bias_hh[gates])
            ).chunk(2, -1)
            n = torch.tanh(ln(a[:, new], w.gain_ih[new], w.bias_ih[new]) + r * ln(u[:, new], w.gain_hh[new], w.bias_hh[new]))
            h = (1 - z) * n + z * h
        elif cell == "lstm":
            i, f, g, o = (ln(a, w.gain_ih, w.bias_ih) + ln(u, w.gain_hh, w.bias_hh)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(ln(c, w.gain_c, w.shift_c))
        else:
            total = ln(a, w.gain_ih, w.bias_ih) + ln(u, w.gain_hh, w.bias_hh)
            h = torch.tanh(total) if cell == "rnn_tanh" else torch.relu(total)
        ys.append(h)
    final = {"h": h[None], "c": c[None]} if cell == "lstm" else {"h": h[None]}
    outputs = net.run(reference=reference)
    assert_all_close(net.values_and_gradients(outputs), net.values_and_gradients((torch.stack(ys, 1), final)))


@needs_core
@settings(max_examples=100)
@given(
    kind=st.sampled_from(KINDS), lengths=st.lists(st.integers(0, 7), max_size=6), steps=st.integers(0, 3),
    inputs=st.sampled_from([0, 1, 3, 17]), hidden=st.sampled_from([1, 2, 7, 17, 33]), both=st.booleans(), ragged=st.booleans(),
    bias=st.booleans(), seed=st.integers(0, 99), threads=st.integers(1, 3),
)  # fmt: skip
def test_equal_to_the_equations(
    kind: tuple[str, bool, Options], lengths: list[int], steps: int, inputs: int, hidden: int, both: bool, ragged: bool,
    bias: bool, seed: int, threads: int,
) -> None:  # fmt: skip
    assume(hidden > 1 or not kind[2].layer_norm)  # one number minus its mean: gradients are rounding times 1 / sqrt(eps)
    steps += max(lengths, default=0)
    net = Net(kind, len(lengths), steps, inputs, hidden, 1 + both, seed=seed, bias=bias)
    held = torch.tensor(lengths, dtype=torch.int64) if ragged else None
    before = native.get_num_threads()
    native.set_num_threads(threads)
    try:
        mine, other = (net.values_and_gradients(net.run(held, reference=reference)) for reference in (False, True))
    finally:
        native.set_num_threads(before)
    assert_all_close(mine, other)


@needs_core
@every_kind
@pytest.mark.parametrize("isa", native.isas() if native.available() else [])
def test_float32_agrees_with_float64_on_each_instruction_set(kind: tuple[str, bool, Options], isa: str) -> None:
    exact = Net(kind, 5, 9, 7, 19)
    net = Net(kind, 5, 9, 7, 19, dtype=torch.float32)
    with torch.no_grad():
        for mine, other in zip(net.inputs, exact.inputs, strict=True):
            mine.copy_(other)
    lengths, best = torch.tensor([9, 3, 0, 9, 1]), native.isa()
    native.set_isa(isa)
    try:
        found = net.values_and_gradients(net.run(lengths))
    finally:
        native.set_isa(best)
    expected = exact.values_and_gradients(exact.run(lengths, reference=True))
    for mine, other in zip(found, expected, strict=True):  # relative to the largest: sums over 22 steps of up to 76 units
        torch.testing.assert_close(mine.double(), other, atol=5e-5 * max(1.0, float(other.detach().abs().max())), rtol=1e-4)


@pytest.mark.parametrize("reference", PATHS)
@every_kind
def test_gradcheck(kind: tuple[str, bool, Options], reference: bool) -> None:
    net = Net(kind, 2, 3, 2, 3, 2)
    lengths = torch.tensor([3, 1])

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        y, final = net.run(lengths, reference=reference)
        return (y, *final.values())

    assert torch.autograd.gradcheck(run, net.inputs)
    if reference and kind[0] != "rnn_relu":
        assert torch.autograd.gradgradcheck(run, net.inputs, atol=1e-4, fast_mode=True)


@needs_core
@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_bits_alone_in_chunks_and_on_any_threads(kind: tuple[str, bool, Options], dtype: torch.dtype) -> None:
    net = Net(kind, 7, 11, 5, 19, directions=1, dtype=dtype)
    lengths = torch.tensor([11, 4, 0, 7, 1, 11, 2])
    with torch.no_grad():
        y, final = net.run(lengths)
        for threads in (2, 3, 5):
            before = native.get_num_threads()
            native.set_num_threads(threads)
            other, end = net.run(lengths)
            native.set_num_threads(before)
            assert torch.equal(y, other)
            assert all(torch.equal(final[part], end[part]) for part in final)
        for row, length in enumerate(lengths.tolist()):
            state = {part: value[:, row : row + 1] for part, value in net.state.items()}
            pieces = []
            for first, last in ((0, min(3, length)), (min(3, length), min(4, length)), (min(4, length), length)):
                piece, state = net.run(x=net.x[row : row + 1, first:last], state=state)
                pieces.append(piece)
            assert torch.equal(torch.cat(pieces, 1)[0], y[row, :length])
            assert all(torch.equal(state[part][:, 0], final[part][:, row]) for part in state)
    kept, end = net.run(lengths)  # with gradients
    assert torch.equal(kept, y)
    assert all(torch.equal(final[part], end[part]) for part in final)


@needs_core
@every_kind
def test_long_rows_cross_blocks_of_time(kind: tuple[str, bool, Options]) -> None:
    """More steps than one block of time holds (at most 512 rows of time and batch)."""
    net = Net(kind, 9, 130, 3, 5)
    lengths = torch.tensor([130, 100, 77, 0, 1, 130, 129, 64, 65])
    outputs = net.run(lengths)
    assert_all_close(net.values_and_gradients(outputs), net.values_and_gradients(net.run(lengths, reference=True)))
    with torch.no_grad():  # nothing is kept: states move from block to block
        y, final = net.run(lengths)
    assert torch.equal(y, outputs[0])
    assert all(torch.equal(final[part], outputs[1][part]) for part in final)


@pytest.mark.parametrize("reference", PATHS)
@every_kind
def test_padding_is_not_read(kind: tuple[str, bool, Options], reference: bool) -> None:
    net, lengths = Net(kind), torch.tensor([2, 0, 4])
    valid = torch.arange(5) < lengths[:, None]
    dirty = torch.where(valid[..., None], net.x.detach(), torch.full_like(net.x, float("nan"))).requires_grad_()
    y, final = net.run(lengths, reference=reference)
    other, end = net.run(lengths, x=dirty, reference=reference)
    assert torch.equal(y, other)
    assert not other.detach()[~valid].any()
    assert all(torch.equal(final[part], end[part]) for part in final)
    assert all(torch.equal(end[part][:, 1], net.state[part][:, 1]) for part in end)
    (gradient,) = torch.autograd.grad(other.sum(), dirty)
    assert not gradient[~valid].any()


@needs_core
@every_kind
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_values_spread_as_in_the_equations(kind: tuple[str, bool, Options], bad: float) -> None:
    net = Net(kind, directions=1)
    with torch.no_grad():
        net.x[1, 2, 3] = bad
    mine, other = ([v.isfinite() for v in net.values_and_gradients(net.run(reference=reference))] for reference in (False, True))
    outputs = 1 + len(net.state)
    assert all(torch.equal(a, b) for a, b in zip(mine[:outputs], other[:outputs], strict=True))
    assert torch.equal(mine[outputs][0], other[outputs][0])  # the gradient of another row's x is finite
    assert mine[outputs][0].all()


@needs_core
def test_layouts_of_the_input_and_of_gradients() -> None:
    net = Net(KINDS[4], 3, 5, 4, 6)
    expected = net.values_and_gradients(net.run())
    time_first = net.x.transpose(0, 1).contiguous().transpose(0, 1)
    y, _ = net.run(x=time_first)
    assert y.transpose(0, 1).is_contiguous()
    strided = torch.randn(3, 5, 8, dtype=torch.float64)[..., ::2].copy_(net.x)
    for x in (time_first, strided):
        assert_all_close(net.values_and_gradients(net.run(x=x)), expected)
    one, other = (torch.autograd.grad(net.run(reference=reference)[0].sum(), net.inputs) for reference in (False, True))
    assert_all_close(list(one), list(other))  # the gradient of sum is one number, expanded


@needs_core
def test_two_backward_passes_give_the_same() -> None:
    net = Net(KINDS[8])
    y, _ = net.run()
    first, second = (torch.autograd.grad(y.sum(), net.inputs[:3], retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@needs_core
def test_without_gradients_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, real = [], native.generic_forward

    def watched(*arguments: object) -> None:
        kept.append(arguments[-1])
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(native, "generic_forward", watched)
    net = Net(KINDS[4])
    with torch.no_grad():
        net.run()
    net.run()
    assert kept[0] == 0
    assert kept[1] != 0


@needs_core
@every_kind
def test_the_operator_passes_opcheck(kind: tuple[str, bool, Options]) -> None:
    net = Net(kind)
    flat = [net.x.new_empty(0) if w is None else w for each in net.weights for w in each]
    rest = (not net.options.reset_after, net.options.layer_norm, net.options.eps, 8)
    lengths, c0 = torch.tensor([5, 0, 3]), net.state.get("c")
    plain = [w.detach() for w in flat]
    torch.library.opcheck(
        torch.ops.tidegate.generic,
        (net.cell, net.x.detach(), lengths, net.state["h"].detach(), c0 if c0 is None else c0.detach(), plain, *rest, False),
    )
    # What is kept has padding of no meaning, which test_aot_dispatch would compare.
    some = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(
        torch.ops.tidegate.generic, (net.cell, net.x, lengths, net.state["h"], c0, flat, *rest, True), test_utils=some
    )


@needs_core
def test_compiled_and_on_meta_tensors() -> None:
    net = Net(KINDS[9])
    compiled = torch.compile(functools.partial(net.run), fullgraph=True, backend="aot_eager")
    assert_all_close(net.values_and_gradients(compiled()), net.values_and_gradients(net.run()))
    meta = [Weights(*(None if w is None else w.detach().to("meta") for w in each)) for each in net.weights]
    state = {part: value.detach().to("meta") for part, value in net.state.items()}
    y, final = layer(net.cell, net.x.detach().to("meta"), None, state, meta, net.options)
    assert y.shape == (3, 5, 6)
    assert final["c"].shape == (2, 3, 6)


@needs_core
def test_a_second_derivative_names_the_way_out() -> None:
    net = Net(KINDS[4])
    (gradient,) = torch.autograd.grad(net.run()[0].sum(), net.x, create_graph=True)
    with pytest.raises(LayerError, match="reference=True"):
        gradient.sum().backward()


def test_errors_say_what_was_expected() -> None:
    net = Net(KINDS[4])
    w = net.weights

    def run(cell: str = "lstm", x: Tensor = net.x, lengths: Tensor | None = None, state: State = net.state,
            weights: list[Weights] = w, options: Options = net.options) -> None:  # fmt: skip
        layer(cell, x, lengths, state, weights, options)

    with pytest.raises(ConfigError, match=r"cell: expected one of .*, got 'ltsm'"):
        run(cell="ltsm")
    with pytest.raises(ConfigError, match="reset_after: expected True for lstm"):
        run(options=Options(reset_after=False))
    with pytest.raises(ConfigError, match=r"eps: expected a number above 0, got 0"):
        run(options=Options(layer_norm=True, eps=0.0))
    with pytest.raises(LayerError, match=r"x: expected \(B, T, I\), got \(3, 5\)"):
        run(x=net.x[..., 0])
    with pytest.raises(LayerError, match="weights: expected 1 or 2 directions, got 0"):
        run(weights=[])
    with pytest.raises(LayerError, match=r"weight_hr: expected \(3, 6\), got \(3, 5\)"):
        run(weights=[w[0], w[1]._replace(weight_hr=torch.zeros(3, 5, dtype=torch.float64))])
    with pytest.raises(LayerError, match=r"bias_ih: expected torch.float64 as x, got torch.float32"):
        run(weights=[w[0], w[1]._replace(bias_ih=torch.zeros(24))])
    with pytest.raises(LayerError, match=r"lengths: expected \(3,\) whole numbers, got \(2,\)"):
        run(lengths=torch.tensor([1, 2]))
    if native.available():  # the layers check lengths before they come here; the equations do not look
        with pytest.raises(LayerError, match=r"lengths: expected 0 to 5, got 6"):
            run(lengths=torch.tensor([1, 6, 2]))
    with pytest.raises(LayerError, match=r"h: expected \(2, 3, 3\)"):
        run(state={**net.state, "h": net.state["c"]})
    with pytest.raises(LayerError, match="state: expected h, c, got h"):
        run(state={"h": net.state["h"]})


@needs_core
@pytest.mark.parametrize(("message", "kind"), [("can't allocate memory: 9 bytes", MemoryError), ("another fault", RuntimeError)])
def test_memory_that_cannot_be_had(message: str, kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(generic, "_outputs", full)
    with torch.no_grad(), pytest.raises(kind, match=message[:9]):
        Net(KINDS[4]).run()
