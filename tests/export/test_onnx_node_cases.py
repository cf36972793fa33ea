"""The ONNX standard's own node tests of RNN, LSTM and GRU, as the package onnx ships them, through our cells.

The GRU's `linear_before_reset=1` is the form of the files and the core; 0, the standard's default, is `tidegate.nn.GRU` with
`reset_after=False`, which trains and runs in the training half alone. Every case passes, or is listed in REFUSED with the reason.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import numpy as np
import pytest
import torch

import tidegate as tg
from tidegate import native
from tidegate.runtime.predictor import Predictor
from tidegate.spec import GATES, Block, Port, Recurrent, Reverse, Spec

onnx = pytest.importorskip("onnx")
REFUSED = {"test_lstm_with_peepholes": "no cell of ours reads its cell state in its gates (peepholes, Gers & Schmidhuber 2000)"}
FROM_ONNX = {"lstm": (0, 2, 3, 1), "gru": (1, 0, 2)}  # which of ONNX's gates stand where in PyTorch's order
PATHS = (False, True) if native.available() else (False,)
ATOL = 1e-6


class Node(NamedTuple):
    """One case: the operator, its attributes, inputs and outputs by the standard's names."""

    kind: str
    also: dict[str, object]
    given: dict[str, np.ndarray]
    wanted: dict[str, np.ndarray]


INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")


def collected() -> dict[str, Node]:
    for module in ("rnn", "lstm", "gru"):
        import_module(f"onnx.backend.test.case.node.{module}")
    home = import_module("onnx.backend.test.case.node")
    return {case.name: read(case) for case in home._NodeTestCases if case.model.graph.node[0].op_type in ("RNN", "LSTM", "GRU")}


def read(case: object) -> Node:
    (node,) = case.model.graph.node
    ((inputs, outputs),) = case.data_sets
    also = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    given = [name for name, put in zip(INPUTS, node.input, strict=False) if put]
    wanted = [name for name, put in zip(("Y", "Y_h", "Y_c"), node.output, strict=False) if put]
    return Node(node.op_type, also, dict(zip(given, inputs, strict=True)), dict(zip(wanted, outputs, strict=True)))


CASES = collected()


def time_second(node: Node, name: str) -> np.ndarray:
    """(B, T, I) of X, and (D, B, H) of a state, whatever the layout."""
    array = node.given[name]
    return array if (node.also.get("layout", 0) == 1) == (name == "X") else array.swapaxes(0, 1)


def weights_of(node: Node, cell: str) -> dict[str, np.ndarray]:
    """Under PyTorch's names, gates in PyTorch's order."""
    count, found = GATES[cell], {}
    biases = node.given.get("B", np.zeros((len(node.given["W"]), 2 * node.given["W"].shape[1]), "f"))
    for k, suffix in enumerate(("", "_reverse")[: len(biases)]):
        parts = (node.given["W"][k], node.given["R"][k], *np.split(biases[k], 2))
        for name, part in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), parts, strict=True):
            gates = np.split(part, count)
            found[f"{name}_l0{suffix}"] = np.concatenate([gates[g] for g in FROM_ONNX.get(cell, (0,))])
    return found


def compare(node: Node, y: np.ndarray, state: dict[str, np.ndarray]) -> None:
    """y (B, T, D*H) and state (D, B, H) against the standard's own, of either layout."""
    batch, steps, _ = y.shape
    directions = len(node.given["W"])
    parted = y.reshape(batch, steps, directions, -1)
    first = node.also.get("layout", 0) == 1
    ours = {"Y": parted if first else parted.transpose(1, 2, 0, 3)}
    ours |= {f"Y_{n}": s.swapaxes(0, 1) if first else s for n, s in state.items()}
    assert node.wanted
    for name, array in node.wanted.items():
        np.testing.assert_allclose(ours[name], array, atol=ATOL, err_msg=name)


def spec_of(node: Node, cell: str) -> Spec:
    """The layer; one that reads right to left alone stands between two Reverse blocks."""
    direction, size = node.also.get("direction", b"forward"), node.given["X"].shape[-1]
    hidden, turned = int(node.also["hidden_size"]), direction == b"reverse"
    both = direction == b"bidirectional"
    blocks: list[Block] = [Reverse(name="turned", inputs=("x",))] if turned else []
    source = "turned" if turned else "x"
    blocks.append(Recurrent(name="read", inputs=(source,), cell=cell, input_size=size, hidden_size=hidden, bidirectional=both))
    blocks += [Reverse(name="back", inputs=("read",))] if turned else []
    return Spec(inputs=(Port(name="x", size=size),), blocks=tuple(blocks), outputs=(blocks[-1].name,))


def reset_before(node: Node) -> bool:
    return node.kind == "GRU" and not node.also.get("linear_before_reset", 0)


@pytest.mark.parametrize("native_path", PATHS)
@pytest.mark.parametrize("name", [n for n, node in CASES.items() if n not in REFUSED and not reset_before(node)])
def test_the_running_half(name: str, native_path: bool) -> None:
    node = CASES[name]
    cell = {"RNN": "rnn_tanh"}.get(node.kind, node.kind.lower())
    spec, weights = spec_of(node, cell), weights_of(node, cell)
    net = Predictor(spec, {f"read.{n}": w for n, w in weights.items()}, native=native_path)
    x = time_second(node, "X")
    state = np.zeros((len(x), spec.state_size()), "f")
    starts = [time_second(node, n).swapaxes(0, 1).reshape(len(x), -1) for n in ("initial_h", "initial_c") if n in node.given]
    if starts:
        state = np.concatenate(starts, 1)
    lengths = {"x": node.given["sequence_lens"]} if "sequence_lens" in node.given else None
    outputs, after = net.run({"x": x}, state, lengths)
    compare(node, outputs[spec.outputs[0]], {n.removeprefix("read."): s for n, s in net.state_parts(after).items()})


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("name", [n for n, node in CASES.items() if n not in REFUSED and reset_before(node)])
def test_the_gru_with_its_reset_before(name: str, reference: bool) -> None:
    node = CASES[name]
    direction, x = node.also.get("direction", b"forward"), torch.from_numpy(np.ascontiguousarray(time_second(node, "X")))
    both, turned = direction == b"bidirectional", direction == b"reverse"
    options = {"batch_first": True, "bidirectional": both, "reset_after": False, "reference": reference}
    layer = tg.nn.GRU(x.shape[-1], int(node.also["hidden_size"]), **options)
    layer.load_state_dict({n: torch.from_numpy(w) for n, w in weights_of(node, "gru").items()})
    assert not {"sequence_lens", "initial_h"} & set(node.given)
    with torch.no_grad():
        y, h = layer(x.flip(1) if turned else x)
    compare(node, (y.flip(1) if turned else y).numpy(), {"h": h.numpy()})


def test_all_of_the_standards_cases_are_here() -> None:
    """So that a case that the package adds is not passed over, and one that is refused is still what the reason says."""
    names = {
        *(f"test_gru_{n}" for n in ("defaults", "with_initial_bias", "seq_length", "batchwise", "reverse", "bidirectional")),
        *(f"test_lstm_{n}" for n in ("defaults", "with_initial_bias", "with_peepholes", "batchwise", "reverse", "bidirectional")),
        *(f"test_simple_rnn_{n}" for n in ("defaults", "with_initial_bias", "batchwise", "reverse", "bidirectional")),
        "test_rnn_seq_length",
    }
    assert names <= set(CASES)
    assert {n for n, node in CASES.items() if "P" in node.given} == set(REFUSED)
    unknown = {"clip", "activations", "activation_alpha", "activation_beta", "input_forget"}
    assert not any(unknown & set(node.also) for node in CASES.values())


def test_the_two_forms_of_the_gru_differ() -> None:
    """The cases of several steps tell the two apart: with the reset after, they fail."""
    node = CASES["test_gru_seq_length"]
    net = Predictor(spec_of(node, "gru"), {f"read.{n}": w for n, w in weights_of(node, "gru").items()})
    _, after = net.run({"x": time_second(node, "X")})
    ends = net.state_parts(after)["read.h"]
    assert np.abs(ends - node.wanted["Y_h"]).max() > 1e-3
