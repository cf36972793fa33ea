"""accelerate: what is swapped, that nothing changes but the class, what is left and why."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm

from tidegate import native
from tidegate import nn as ours
from tidegate.errors import ConfigError
from tidegate.nn import accelerate

needs_core = pytest.mark.skipif(not native.available(), reason="needs the native core")


class Tagger(nn.Module):
    """A model as users write them: packed rows, a stack, a decoder that shares its layer with the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 5)
        self.encoder = nn.LSTM(5, 4, 2, batch_first=True, bidirectional=True, dropout=0.3)
        self.inner = nn.Sequential(nn.Linear(8, 6), nn.ModuleDict({"gru": nn.GRU(6, 6, bias=False)})["gru"])
        self.relu = nn.RNN(6, 6, nonlinearity="relu")
        self.again = self.relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.encoder(self.embed(x))
        y, _ = self.inner(y)
        y, _ = self.relu(y)
        return self.again(y)[0]


def model() -> Tagger:
    torch.manual_seed(3)
    return Tagger()


@needs_core
def test_outputs_and_training_go_on_as_before() -> None:
    mine, theirs = model(), model()
    optimisers = [torch.optim.Adam(m.parameters(), 0.05) for m in (mine, theirs)]  # made before the swap
    report = accelerate(mine)
    x = torch.randn(3, 7, 3)
    assert [type(m).__module__.partition(".")[0] for m in (mine.encoder, mine.inner[1], mine.relu)] == ["tidegate"] * 3
    for _ in range(3):
        losses = []
        for net, optimiser in zip((mine, theirs), optimisers, strict=True):
            torch.manual_seed(5)  # the dropout between the layers
            y = net(x)
            losses.append(y)
            optimiser.zero_grad()
            y.square().sum().backward()
            optimiser.step()
        torch.testing.assert_close(*losses, atol=1e-5, rtol=1e-5)
    assert [(s.name, s.layer) for s in report.swapped] == [("encoder", "LSTM"), ("inner.1", "GRU"), ("relu, again", "RNN")]
    assert report.left == ()


@needs_core
def test_the_parameters_are_the_very_same_objects() -> None:
    net = model()
    net.encoder.weight_hh_l0.requires_grad_(False)
    before, state = dict(net.named_parameters()), copy.deepcopy(net.state_dict())
    net.eval()
    net.relu.train()
    accelerate(net)
    after = dict(net.named_parameters())
    assert list(before) == list(after)
    assert all(before[n] is after[n] for n in before)
    assert all(torch.equal(state[n], w) for n, w in net.state_dict().items())
    assert net.again is net.relu, "what is shared stays shared"
    assert (net.encoder.training, net.relu.training) == (False, True)
    assert (net.encoder.dropout, net.encoder.bidirectional, net.inner[1].bias, net.relu.nonlinearity) == (
        0.3,
        True,
        False,
        "relu",
    )


@needs_core
def test_a_second_time_there_is_nothing_to_do() -> None:
    net = model()
    accelerate(net)
    report = accelerate(net)
    assert (report.swapped, report.left) == ((), ())
    assert str(report) == "accelerate: the model holds no recurrent layer of torch.nn (tidegate.nn's are not listed)"


@needs_core
def test_double_and_the_generator_are_kept() -> None:
    net = nn.ModuleList([nn.GRU(3, 4, dtype=torch.float64)])
    before = torch.random.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        accelerate(net)
    assert torch.equal(before, torch.random.get_rng_state())
    assert net[0](torch.zeros(5, 2, 3, dtype=torch.float64))[0].dtype == torch.float64


class Own(nn.GRU):
    """A subclass."""


def hooked() -> nn.Module:
    layer = nn.LSTM(3, 4)
    layer.register_forward_hook(lambda *_: None)
    return layer


def pruned() -> nn.Module:
    return prune.l1_unstructured(nn.LSTM(3, 4), "weight_hh_l0", 0.5)


def normed() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: weight_norm is to be replaced by the parametrization
        return weight_norm(nn.LSTM(3, 4), "weight_hh_l0")


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(nn.GRU(3, 4))


def quantized() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(3, 4)), {nn.LSTM}, dtype=torch.qint8)[0]


def replaced() -> nn.Module:
    layer = nn.GRU(3, 4)
    layer.forward = lambda x: x
    return layer


def with_own(kind: str) -> nn.Module:
    layer = nn.LSTM(3, 4)
    match kind:
        case "attribute":
            layer.note = 1
        case "method":
            layer.extra_repr = lambda: "mine"
        case "buffer":
            layer.register_buffer("mean", torch.zeros(3), persistent=False)
        case "module":
            layer.add_module("probe", nn.Identity())
        case "parameter":
            layer.scale = nn.Parameter(torch.ones(1))
        case "weight":
            layer.bias_hh_l0 = None
    return layer


def compiled_in_place() -> nn.Module:
    layer = nn.LSTM(3, 4)
    layer.compile(backend="eager")
    return layer


def refused() -> nn.Module:
    layer = nn.LSTM(3, 4)
    layer.dropout = 1.5
    return layer


@needs_core
@pytest.mark.parametrize(("make", "layer", "reason"), [
    (lambda: Own(3, 4), "Own", "it is a subclass of torch.nn.GRU"),
    (hooked, "LSTM", "it has hooks"),
    (pruned, "LSTM", "it has hooks"),
    (normed, "LSTM", "it has hooks"),
    (lambda: parametrizations.weight_norm(nn.GRU(3, 4), "weight_hh_l0"), "ParametrizedGRU", "it has parametrizations"),
    (scripted, "GRU", "it is scripted"),
    (quantized, "LSTM", "it is quantized"),
    (replaced, "GRU", "its forward was replaced"),
    (lambda: with_own("attribute"), "LSTM", "it has an attribute of its own, 'note', which its twin would lose"),
    (lambda: with_own("method"), "LSTM", "it has an attribute of its own, 'extra_repr'"),
    (lambda: with_own("buffer"), "LSTM", "it has a buffer of its own, 'mean'"),
    (lambda: with_own("module"), "LSTM", "it has a module of its own, 'probe'"),
    (lambda: with_own("parameter"), "LSTM", "it has a parameter of its own, 'scale'"),
    (lambda: with_own("weight"), "LSTM", "its weights are not plain parameters"),
    (compiled_in_place, "LSTM", "it was compiled by itself"),
    (refused, "LSTM", "tidegate.nn refuses its options: LSTM: dropout: expected 0 <= p <= 1, got 1.5"),
])  # fmt: skip
def test_what_is_left_and_why(make: object, layer: str, reason: str) -> None:
    kept = make()
    net = nn.ModuleDict({"left": kept, "swapped": nn.GRU(3, 4)})
    report = accelerate(net)
    assert net["left"] is kept
    assert [s.name for s in report.swapped] == ["swapped"]
    assert [(found.name, found.layer) for found in report.left] == [("left", layer)]
    assert report.left[0].reason.startswith(reason)
    assert str(report).splitlines()[1].startswith("left     ") == (layer != "ParametrizedGRU") or layer in str(report)


@needs_core
@pytest.mark.parametrize("layer", [
    lambda: nn.RNN(3, 4, 2, bidirectional=True), lambda: copy.deepcopy(nn.LSTM(3, 4, 2, proj_size=2)),
    lambda: pickle.loads(pickle.dumps(nn.GRU(3, 4, bias=False).double().requires_grad_(False))),
    lambda: nn.LSTM(3, 4, np.int64(2), dropout=np.float32(0.25), proj_size=np.int64(2)),
])  # fmt: skip
def test_plain_layers_of_any_making_are_swapped(layer: object) -> None:
    net = nn.Sequential(layer()).eval()
    x = torch.randn(5, 2, 3, dtype=next(net.parameters()).dtype)
    before = net(x)[0]
    report = accelerate(net)
    assert report.left == ()
    torch.testing.assert_close(net(x)[0], before, atol=1e-5, rtol=1e-5)


@needs_core
def test_one_layer_that_is_left_stops_no_other() -> None:
    net = nn.ModuleList([nn.GRU(3, 4), refused(), nn.GRU(3, 4)])
    assert [s.name for s in accelerate(net).swapped] == ["0", "2"]


@needs_core
def test_an_error_leaves_every_layer_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    net, real, made = nn.ModuleList([nn.GRU(3, 4), nn.GRU(3, 4)]), ours.GRU.__init__, []

    def failing(*arguments: object, **options: object) -> None:
        made.append(1)
        if len(made) == 2:
            raise RuntimeError("no memory")
        real(*arguments, **options)

    monkeypatch.setattr(ours.GRU, "__init__", failing)
    with pytest.raises(RuntimeError, match="no memory"):
        accelerate(net)
    assert [type(layer) for layer in net] == [nn.GRU, nn.GRU]


def calls_of_the_core(function: object, monkeypatch: pytest.MonkeyPatch) -> int:
    seen, real = [], native.forward
    with monkeypatch.context() as patch:
        patch.setattr(native, "forward", lambda *a: seen.append(1) or real(*a))
        function()
    return len(seen)


@needs_core
@pytest.mark.parametrize("traced", [False, True], ids=["torch's layer breaks the graph", "torch's layer in the graph"])
@pytest.mark.parametrize("way", ["torch.compile", "module.compile"])
def test_inside_a_compiled_model_the_swap_is_seen(way: str, traced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    inner = nn.Sequential(nn.LSTM(3, 4))
    if way == "module.compile":
        inner.compile(backend="eager")
    net = nn.ModuleDict({"a": torch.compile(inner, backend="eager") if way == "torch.compile" else inner})
    x, found = torch.randn(5, 2, 3), []
    with torch._dynamo.config.patch(allow_rnn=traced):
        before = net["a"](x)[0]
        assert len(accelerate(net).swapped) == 1
        assert calls_of_the_core(lambda: found.append(net["a"](x)[0]), monkeypatch) == 1
    torch.testing.assert_close(found[0], before, atol=1e-5, rtol=1e-5)


@needs_core
def test_a_layer_that_was_compiled_by_itself_is_left() -> None:
    layer = nn.LSTM(3, 4)
    net = nn.ModuleDict({"a": torch.compile(layer, backend="eager"), "b": layer, "c": nn.GRU(3, 4)})
    report = accelerate(net)
    assert [s.name for s in report.swapped] == ["c"]
    assert [(found.name, found.layer) for found in report.left] == [("a._orig_mod, b", "LSTM")]
    assert report.left[0].reason.startswith("it was compiled by itself")
    assert net["b"] is net["a"]._orig_mod is layer


def test_without_the_core_all_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "available", lambda: False)
    net = model()
    report = accelerate(net)
    assert not report.swapped
    assert {found.reason for found in report.left} == {"the native core is not installed; tidegate.nn would run torch's kernels"}
    assert type(net.encoder) is nn.LSTM


def test_the_root_itself_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"got a torch.nn.GRU itself.*assign: layer = tidegate.nn.GRU\(...\)"):
        accelerate(nn.GRU(3, 4))


@needs_core
def test_the_report_is_a_table() -> None:
    net = nn.Sequential(nn.GRU(3, 4), hooked())
    assert str(accelerate(net)) == (
        "0  GRU   tidegate.nn.GRU\n"
        "1  LSTM  left: it has hooks (weight_norm and pruning are such), which would no longer see torch's layer"
    )
    assert isinstance(net[0], ours.GRU)
