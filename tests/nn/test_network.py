"""A spec as a torch module: the file's names, weights out and in, the predictor's values, gradients for every weight."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch

import checks
from tidegate.errors import FormatError
from tidegate.nn.network import Network
from tidegate.runtime.predictor import Predictor

CASE = checks.CASES["autoregressive"]


def network(seed: int = 0) -> Network:
    return Network(CASE.spec, torch.Generator().manual_seed(seed))


def inputs(dtype: str = "float32") -> dict[str, torch.Tensor]:
    return {n: torch.from_numpy(x) for n, x in CASE.inputs(dtype).items()}


def test_names_and_shapes_are_the_files() -> None:
    weights = network().weights()
    assert {n: tuple(w.shape) for n, w in weights.items()} == CASE.spec.parameters()
    assert sum(p.numel() for p in network().parameters()) == CASE.spec.count()
    assert set(network().arrays()) == set(CASE.spec.parameters())


@pytest.mark.parametrize("case", ["autoregressive", "stacked", "segments", "encoder-decoder gru"])
def test_equal_to_the_predictor_with_the_same_weights(case: str) -> None:
    spec = checks.CASES[case].spec
    net = Network(spec, torch.Generator().manual_seed(1))
    given, lengths = checks.CASES[case].inputs("float32"), checks.CASES[case].lengths()
    with torch.no_grad():
        ran = net({n: torch.from_numpy(x) for n, x in given.items()}, {n: torch.from_numpy(x) for n, x in lengths.items()})
    checks.assert_same(ran.outputs, Predictor(spec, net.arrays()).run(given, None, lengths).outputs, "float32")


def test_every_weight_gets_a_gradient() -> None:
    net = network()
    ran = net(inputs())
    (ran.outputs["raw"].square().sum() + ran.outputs["base"].square().sum()).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for n, p in net.named_parameters()), "none is left out of the graph"


def test_dropout_acts_where_a_generator_is_given() -> None:
    net = network()
    with torch.no_grad():
        plain, again = (net(inputs()).outputs["raw"] for _ in range(2))
        dropped, same, other = (net(inputs(), dropout_rng=torch.Generator().manual_seed(s)).outputs["raw"] for s in (1, 1, 2))
    assert torch.equal(plain, again)
    assert torch.equal(dropped, same)
    assert not torch.equal(dropped, plain)
    assert not torch.equal(dropped, other)


def test_weights_travel_out_and_in_exactly() -> None:
    net, other = network(0), network(1)
    arrays = net.arrays()
    for array in arrays.values():
        array.setflags(write=False)  # as they come from a file
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.load(arrays)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
    with torch.no_grad():
        next(other.parameters()).add_(1.0)
    assert all(np.array_equal(a, b) for a, b in zip(net.arrays().values(), arrays.values(), strict=True)), "a copy, no view"
    assert copy.deepcopy(net).arrays().keys() == arrays.keys()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda a: a.pop("raw_all.bias"), "weight 'raw_all.bias': missing; the spec needs it with shape"),
        (
            lambda a: a.update({"raw_al.bias": a["raw_all.bias"]}),
            "weight 'raw_al.bias': the model has no such weight; did you mean 'raw_all.bias'",
        ),
        (
            lambda a: a.update({"raw_all.bias": np.zeros(1, np.float32)}),
            r"weight 'raw_all.bias': expected shape \(2,\), got \(1,\)",
        ),
        (lambda a: a.update({"raw_all.bias": np.float32([np.nan, 0])}), "weight 'raw_all.bias': holds NaN or Inf"),
        (lambda a: a.update({"raw_all.bias": np.zeros(2)}), "expected float32 in all, or float64 in all, got float32, float64"),
    ],
)
def test_weights_of_another_model_are_refused_and_nothing_is_loaded(change: object, text: str) -> None:
    net = network()
    before, arrays = net.arrays(), network(1).arrays()
    change(arrays)
    with pytest.raises(FormatError, match=text):
        net.load(arrays)
    assert all(np.array_equal(net.arrays()[n], before[n]) for n in before)
