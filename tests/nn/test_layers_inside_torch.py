"""Our layers under torch's machinery: torch.compile, export, DDP, pickles, autocast, checkpointing, in-place models, dtypes."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

import checks
from tidegate import native, nn
from tidegate.errors import LayerError

KINDS = ["RNN", "LSTM", "GRU"]
OPTIONS = {"num_layers": 2, "bidirectional": True, "dtype": torch.float64}
needs_core = pytest.mark.skipif(not native.available(), reason="needs the native core")


def make(kind: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return getattr(nn, kind)(3, 4, **{**OPTIONS, **options})


def everything(layer: torch.nn.Module, model: torch.nn.Module, x: Tensor, **more: object) -> list[Tensor]:
    """Outputs of `layer`, and gradients of x and of the weights of `model`."""
    leaf = x.clone().requires_grad_()
    y, final = layer(leaf, **more)
    parts = final if isinstance(final, tuple) else (final,)
    loss = y.square().sum() + sum((p * torch.arange(1, 1 + p.shape[-1])).sum() for p in parts)
    return [y, *parts, *torch.autograd.grad(loss, [leaf, *model.parameters()])]


@needs_core
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_whole_with_lengths_or_without(kind: str) -> None:
    layer = make(kind)
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(5, 3, 3, dtype=torch.float64)
    for more in ({}, {"lengths": torch.tensor([5, 0, 2])}):
        for got, expected in zip(everything(compiled, layer, x, **more), everything(layer, layer, x, **more), strict=True):
            assert torch.equal(got, expected)
        with torch.no_grad():
            assert torch.equal(compiled(x, **more)[0], layer(x, **more)[0])


@needs_core
def test_compiled_for_any_number_of_steps() -> None:
    layer = make("GRU")
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for steps in (3, 5, 8):
        x = torch.randn(steps, 2, 3, dtype=torch.float64)
        assert torch.equal(compiled(x)[0], layer(x)[0])


@needs_core
def test_compiled_before_the_core_was_ever_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native._Core, "loaded", False)
    monkeypatch.setattr(native._Core, "module", None)
    layer, x = make("RNN"), torch.randn(5, 2, 3, dtype=torch.float64)
    torch.compiler.reset()
    y, _ = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
    assert torch.equal(y, layer(x)[0])


@needs_core
def test_compiled_with_masks_and_with_lengths_that_are_wrong() -> None:
    torch.compiler.reset()
    compiled = torch.compile(make("LSTM", zoneout=0.2, state_dropout=0.3, dropout=0.1), fullgraph=True, backend="aot_eager")
    x = torch.randn(5, 3, 3, dtype=torch.float64)
    y, _ = compiled(x)
    y.sum().backward()
    with pytest.raises(LayerError, match="lengths: expected 0 to 5, got 6 in row 1"):
        compiled(x, lengths=torch.tensor([1, 6, 2]))


@needs_core
def test_exported_and_traced() -> None:
    layer, x = make("GRU", batch_first=True).eval(), torch.randn(2, 5, 3, dtype=torch.float64)
    other = torch.randn(2, 5, 3, dtype=torch.float64)
    exported = torch.export.export(layer, (x,)).module()
    assert torch.equal(exported(other)[0], layer(other)[0])
    traced = torch.jit.trace(layer, (x,), check_trace=False)
    assert torch.equal(traced(other)[0], layer(other)[0]), "no constant was baked in"


@pytest.mark.parametrize("kind", KINDS)
def test_data_parallel_training_steps_alike(kind: str, tmp_path: Path) -> None:
    alone = make(kind)
    twin = copy.deepcopy(alone)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        parallel = torch.nn.parallel.DistributedDataParallel(twin)
        x = torch.randn(5, 3, 3, dtype=torch.float64)
        for net, model in ((alone, alone), (parallel, twin)):
            optimiser = torch.optim.SGD(model.parameters(), 0.1)
            for _ in range(2):
                optimiser.zero_grad()
                net(x)[0].square().sum().backward()
                optimiser.step()
    finally:
        torch.distributed.destroy_process_group()
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickled_module_comes_back(kind: str) -> None:
    layer, x = make(kind, zoneout=0.1).eval(), torch.randn(5, 3, 3, dtype=torch.float64)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    back = torch.load(file, weights_only=False)
    assert torch.equal(back(x)[0], layer(x)[0])
    assert repr(back) == repr(layer)


def test_a_pickle_from_before_an_option_was_there() -> None:
    layer = make("GRU")
    state = {k: v for k, v in layer.__getstate__().items() if k not in ("zoneout", "recompute", "state_dropout")}
    back = nn.GRU.__new__(nn.GRU)
    back.__setstate__(state)
    assert (back.zoneout, back.recompute, back.state_dropout) == (0.0, False, 0.0)
    x = torch.randn(5, 3, 3, dtype=torch.float64)
    assert torch.equal(back(x)[0], layer(x)[0])


@needs_core
@pytest.mark.parametrize("kind", KINDS)
def test_autocast_computes_in_the_dtype_of_the_weights(kind: str) -> None:
    layer, x = make(kind, dtype=torch.float32), torch.randn(5, 2, 3)
    plain = layer(x.bfloat16().float())[0]
    with torch.autocast("cpu", torch.bfloat16):
        y, final = layer(x.bfloat16())
        assert y.dtype == torch.float32
        assert torch.equal(y, plain)
        half = tuple(f.bfloat16() for f in final) if kind == "LSTM" else final.bfloat16()
        assert layer(x, half)[0].dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_runs_on_torchs_kernels(kind: str) -> None:
    layer = make(kind, dtype=torch.bfloat16)
    theirs = getattr(torch.nn, kind)(3, 4, 2, bidirectional=True, dtype=torch.bfloat16)
    theirs.load_state_dict(layer.state_dict())
    x = torch.randn(5, 2, 3).bfloat16()
    torch.testing.assert_close(layer(x)[0], theirs(x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_checkpointed_and_saved_elsewhere(kind: str) -> None:
    layer, x = make(kind, recompute=True), torch.randn(5, 3, 3, dtype=torch.float64)
    plain = everything(layer, layer, x)

    def again(x: Tensor) -> object:
        return torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)

    def moved(x: Tensor) -> object:
        with torch.autograd.graph.save_on_cpu():
            return layer(x)

    for way in (again, moved):
        assert all(torch.equal(a, b) for a, b in zip(everything(way, layer, x), plain, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_recompute_gives_the_same(kind: str) -> None:
    kept, again = make(kind), make(kind, recompute=True)
    x, lengths = torch.randn(70, 3, 3, dtype=torch.float64), torch.tensor([70, 0, 33])
    results = (everything(layer, layer, x, lengths=lengths) for layer in (kept, again))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, **checks.GRADIENT_TOL["float64"])


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_not_finite_give_what_torch_gives(kind: str) -> None:
    for value in (float("nan"), float("inf")):
        layer = make(kind, num_layers=1)
        with torch.no_grad():
            layer.weight_hh_l0[0, 0] = value
        theirs = getattr(torch.nn, kind)(3, 4, bidirectional=True, dtype=torch.float64)
        theirs.load_state_dict(layer.state_dict())
        x = torch.randn(5, 2, 3, dtype=torch.float64)
        torch.testing.assert_close(layer(x)[0], theirs(x)[0], equal_nan=True, **checks.TOL["float64"])


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("arguments", [
    (torch.zeros(5, 2, 3),),
    (torch.zeros(5, 2, 3, dtype=torch.float64), torch.zeros(4, 2, 4)),
    (torch.zeros(5, 2, 3, dtype=torch.float64, device="meta"),),
    (pack_sequence([torch.zeros(5, 3), torch.zeros(2, 3)]),),
])  # fmt: skip
def test_another_dtype_or_device_is_refused(arguments: tuple[object, ...], reference: bool) -> None:
    layer = make("GRU", reference=reference)
    with pytest.raises(LayerError, match=r"(input|hx: h_0): expected torch.float64 on cpu as the weights, got torch.float"):
        layer(*arguments)


@pytest.mark.parametrize(("options", "text"), [
    ({"zoneout": 1.0}, "GRU: zoneout: expected 0 <= p < 1, got 1.0"),
    ({"zoneout": -0.1}, "GRU: zoneout: expected 0 <= p < 1, got -0.1"),
    ({"state_dropout": 1}, "GRU: state_dropout: expected 0 <= p < 1, got 1"),
    ({"state_dropout": True}, "GRU: state_dropout: expected 0 <= p < 1, got True"),
])  # fmt: skip
def test_rates_are_checked(options: dict[str, object], text: str) -> None:
    with pytest.raises(nn.layers.ConfigError, match=text):
        make("GRU", **options)


def test_lengths_of_any_whole_type() -> None:
    layer, x = make("GRU"), torch.randn(5, 3, 3, dtype=torch.float64)
    plain = layer(x, lengths=torch.tensor([5, 0, 2]))[0]
    for dtype in (torch.int32, torch.uint8, torch.int16):
        assert torch.equal(layer(x, lengths=torch.tensor([5, 0, 2], dtype=dtype))[0], plain)
    with pytest.raises(LayerError, match=r"as a list or a tensor of int64, got torch\.bool"):
        layer(x, lengths=torch.tensor([True, False, True]))


def test_options_show_in_the_name_of_the_layer() -> None:
    assert repr(nn.GRU(1, 2, recompute=True, zoneout=0.1, state_dropout=0.2)) == (
        "GRU(1, 2, recompute=True, zoneout=0.1, state_dropout=0.2  # 30 parameters)"
    )
    assert (nn.LSTM(1, 2).mode, nn.RNN(1, 2, nonlinearity="relu").mode, nn.GRU(1, 2).proj_size) == ("LSTM", "RNN_RELU", 0)


GENERIC = [("LSTM", {"proj_size": 2}), ("RNN", {"layer_norm": True}), ("GRU", {"reset_after": False})]


@needs_core
@pytest.mark.parametrize(("kind", "options"), GENERIC)
def test_layers_of_the_generic_loop_refuse_transforms_of_torch_func(kind: str, options: dict[str, object]) -> None:
    layer, x = make(kind, **options), torch.randn(5, 3, 3, dtype=torch.float64)

    def loss(x: Tensor) -> Tensor:
        return layer(x)[0].sum()

    for call in (torch.func.grad(loss), torch.func.vmap(loss)):
        with pytest.raises(LayerError, match=r"torch\.func: expected a plain layer .*reference=True"):
            call(x if call is not torch.func.vmap else x[None])
    with pytest.raises(LayerError, match="reference=True"):
        torch.func.jvp(loss, (x,), (x,))
    with torch.autograd.forward_ad.dual_level(), pytest.raises(LayerError, match=r"forward-mode derivative: .*reference=True"):
        layer(torch.autograd.forward_ad.make_dual(x, x))


@pytest.mark.parametrize(("kind", "options"), GENERIC)
def test_layers_by_the_equations_have_forward_mode(kind: str, options: dict[str, object]) -> None:
    layer, x = make(kind, reference=True, **options), torch.randn(5, 3, 3, dtype=torch.float64)
    _, tangent = torch.func.jvp(lambda x: layer(x)[0].sum(), (x,), (x,))
    step = 1e-6
    near = (layer(x * (1 + step))[0].sum() - layer(x * (1 - step))[0].sum()) / (2 * step)
    assert torch.allclose(tangent, near, rtol=1e-6)


@needs_core
@pytest.mark.parametrize("kind", KINDS)
def test_packed_input_under_torch_func(kind: str) -> None:
    layer = make(kind)
    packed = pack_sequence([torch.randn(n, 3, dtype=torch.float64) for n in (5, 3, 1)])
    leaf = packed.data.clone().requires_grad_()

    def loss(data: Tensor) -> Tensor:
        y, _ = layer(torch.nn.utils.rnn.PackedSequence(data, packed.batch_sizes))
        return y.data.square().sum()

    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    assert torch.allclose(torch.func.grad(loss)(packed.data), expected)
    with pytest.raises(LayerError, match="forward-mode derivative"):
        torch.func.jvp(loss, (packed.data,), (packed.data,))


@needs_core
@pytest.mark.parametrize("options", [{}, {"layer_norm": True}])
def test_many_losses_at_once_are_refused_and_the_remedy_is_named(options: dict[str, object]) -> None:
    layer, x = make("GRU", **options), torch.randn(5, 3, 3, dtype=torch.float64, requires_grad=True)
    y, _ = layer(x)
    with pytest.raises(LayerError, match="reference=True"):
        torch.autograd.grad(y, x, torch.ones(2, *y.shape, dtype=y.dtype), is_grads_batched=True)
    with pytest.raises(LayerError, match="reference=True"):
        torch.func.jacrev(lambda x: layer(x)[0])(x.detach())


@needs_core
def test_weights_that_are_negated_views() -> None:
    layer, theirs = nn.GRU(4, 6), torch.nn.GRU(4, 6)
    negated = {name: torch._neg_view(-w.detach()) for name, w in layer.named_parameters()}
    x = torch.randn(5, 2, 4)
    theirs.load_state_dict(layer.state_dict())
    torch.testing.assert_close(torch.func.functional_call(layer, negated, (x,))[0], theirs(x)[0])
