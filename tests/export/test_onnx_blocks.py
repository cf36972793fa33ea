"""Every block and net of the battery in ONNX Runtime against torch; torch.nn's layers; what is refused; the proof itself."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping

import numpy as np
import pytest
import torch

import checks
from tidegate.blocks.graph import run
from tidegate.errors import ExportError, MissingExtra, ShapeError, TaskError
from tidegate.export import onnx as export_onnx
from tidegate.export import onnx_blocks, onnx_recurrent
from tidegate.export.onnx import Export, Timing, drawn, given_states, next_name, state_name
from tidegate.export.onnx_proof import TOLERANCE, golden, prove, proved, write
from tidegate.nn.ops import TorchOps
from tidegate.runtime.predictor import Predictor
from tidegate.spec import Pool, Port, Position, Recurrent, Spec

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
ATOL = 5e-6


def session(body: bytes) -> object:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(body, options, providers=["CPUExecutionProvider"])


def answers(body: bytes, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    running = session(body)
    names = [output.name for output in running.get_outputs()]
    return dict(zip(names, running.run(names, feeds), strict=True))


def export_of(case: checks.Case, **more: object) -> Export:
    return Export(nets=(Predictor(case.spec, case.weights("float32")),), about={}, **more)


def states_of(export: Export, rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    shapes = {name: export.spec.state()[name] for name in given_states(export.spec)}
    return {name: rng.normal(size=(layers, rows, size)).astype("f") for name, (layers, size) in shapes.items()}


@pytest.mark.parametrize("name", checks.CASES)
def test_onnx_runtime_equals_torch(name: str) -> None:
    """Whole rows, ragged rows with an empty one, and states that are not zero, over every block kind."""
    case = checks.CASES[name]
    export, inputs, ragged = export_of(case), case.inputs("float32"), case.lengths()
    body = drawn(export).to_bytes(name.replace(" ", "_"), {})
    weights = {n: torch.from_numpy(w) for n, w in case.weights("float32").items()}
    full = {p: np.full(len(inputs[p]), t) for p, t in case.steps.items()}
    held = states_of(export, checks.BATCH)
    for lengths in (full, ragged):
        for own in ({n: np.zeros_like(s) for n, s in held.items()}, held):
            lent = {export.lengths_name(port): lengths[port.name] for port in case.spec.inputs if export.lengths_name(port)}
            got = answers(body, {**inputs, **lent, **{state_name(export, 0, n): s for n, s in own.items()}})
            state = {n: torch.from_numpy(s) for n, s in own.items()}
            tensors = {n: torch.from_numpy(x) for n, x in inputs.items()}
            asked = {p: torch.from_numpy(n) for p, n in lengths.items() if p in inputs and inputs[p].ndim == 3}
            wanted = run(TorchOps(), case.spec, weights, tensors, asked, state)
            found = {**wanted.outputs, **{next_name(export, 0, n): s for n, s in wanted.state.items()}}
            found = {n: y for n, y in found.items() if n in got}
            assert set(case.spec.outputs) <= set(found)
            for output, y in found.items():
                np.testing.assert_allclose(got[output], y.numpy(), atol=ATOL, rtol=1e-5, err_msg=output)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("both", [False, True])
def test_operators_equal_torchs_own_layers(kind: str, both: bool) -> None:
    torch.manual_seed(0)
    layer = getattr(torch.nn, kind)(5, 7, num_layers=2, bidirectional=both, batch_first=True)
    cell = {"RNN": "rnn_tanh"}.get(kind, kind.lower())
    block = Recurrent(name="read", inputs=("x",), cell=cell, input_size=5, hidden_size=7, num_layers=2, bidirectional=both)
    spec = Spec(inputs=(Port(name="x", size=5),), blocks=(block,), outputs=("read",))
    net = Predictor(spec, {f"read.{name}": p.detach().numpy() for name, p in layer.state_dict().items()})
    body = proved(Export(nets=(net,), about={}, timing={"x": Timing("x", ragged=False)})).body
    x, directions = torch.randn(3, 11, 5), 4 if both else 2
    state = [torch.randn(directions, 3, 7) for _ in range(2 if kind == "LSTM" else 1)]
    with torch.no_grad():
        y, ends = layer(x, tuple(state) if kind == "LSTM" else state[0])
    got = answers(body, {"x": x.numpy(), **{f"state.read.{n}": s.numpy() for n, s in zip("hc", state, strict=False)}})
    np.testing.assert_allclose(got["read"], y.numpy(), atol=ATOL)
    for n, end in zip("hc", ends if kind == "LSTM" else [ends], strict=False):
        np.testing.assert_allclose(got[f"next.read.{n}"], end.numpy(), atol=ATOL)


def test_a_row_cut_in_two_goes_on_at_the_state() -> None:
    export = export_of(checks.CASES["lstm x 3"])
    body = proved(export).body
    feeds = next(c for c in golden(export) if c.feeds["x"].shape[1] > 8).feeds
    rows, steps, _ = feeds["x"].shape
    whole = answers(body, {**feeds, "lengths": np.full(rows, steps)})
    first = answers(body, {**feeds, "x": feeds["x"][:, :3], "lengths": np.full(rows, 3)})
    carried = {f"state.layer.{n}": first[f"next.layer.{n}"] for n in "hc"}
    second = answers(body, {**feeds, **carried, "x": feeds["x"][:, 3:], "lengths": np.full(rows, steps - 3)})
    np.testing.assert_allclose(np.concatenate([first["layer"], second["layer"]], 1), whole["layer"], atol=ATOL)
    np.testing.assert_allclose(second["next.layer.h"], whole["next.layer.h"], atol=ATOL)


def test_batch_and_length_are_open() -> None:
    shapes = {i.name: i.shape for i in session(proved(export_of(checks.CASES["gru x 3"])).body).get_inputs()}
    assert shapes == {
        "x": ["batch", "x_steps", 3],
        "lengths": ["batch"],
        "state.layer.h": [3, "batch", shapes["state.layer.h"][2]],
    }


def test_a_block_that_onnx_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(onnx_blocks.FORWARD, Pool)
    with pytest.raises(TaskError, match=r"block 'y': expected one that the export to ONNX knows, got .* kind 'pool'"):
        drawn(export_of(checks.CASES["pool max"]))


def test_every_block_kind_has_operators() -> None:
    known = {kind.kind for kind in onnx_blocks.FORWARD} | {"recurrent"}
    assert known == {block.kind for case in checks.CASES.values() for block in case.spec.blocks}


def test_float64_is_refused() -> None:
    case = checks.CASES["gru"]
    export = Export(nets=(Predictor(case.spec, case.weights("float64")),), about={})
    with pytest.raises(TaskError, match=r"expected float32.*got float64"):
        proved(export)


def test_a_graph_that_the_runtime_cannot_run_is_told() -> None:
    with pytest.raises(ExportError, match=r"ONNX Runtime .* cannot run the graph .*; nothing was written"):
        prove(export_of(checks.CASES["gru"]), b"no protobuf")
    other = drawn(export_of(checks.CASES["lstm"])).to_bytes("lstm", {})
    with pytest.raises(ExportError, match=r"cannot run the graph .*state\.layer\.c"):
        prove(export_of(checks.CASES["gru"]), other)


def test_weights_beyond_a_protobuf_message_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_onnx, "MOST_BYTES", 100)
    with pytest.raises(TaskError, match=r"weights: expected at most 100 bytes, as one ONNX file holds, got 432"):
        drawn(export_of(checks.CASES["gru"]))


@pytest.mark.parametrize("fault", ["gates", "weight"])
def test_a_wrong_graph_is_refused_and_nothing_is_written(fault: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A swapped gate, or one weight that is off by 1e-3, is found by the golden vectors."""
    export = export_of(checks.CASES["lstm"])
    if fault == "gates":
        monkeypatch.setitem(onnx_recurrent.ORDER, "lstm", (0, 1, 2, 3))
    else:
        monkeypatch.setattr(onnx_recurrent, "_ordered", _off(onnx_recurrent._ordered))
    path = tmp_path / "net.onnx"
    with pytest.raises(ExportError, match=r"output '.*': ONNX Runtime and Tidegate are .* apart, expected at most 1e-05"):
        write(export, path)
    assert list(tmp_path.iterdir()) == []


def _off(ordered: object) -> object:
    def changed(block: object, array: np.ndarray) -> np.ndarray:
        found = np.array(ordered(block, array))
        found.flat[1] += 1e-3
        return found

    return changed


def test_the_golden_vectors_reach_every_input() -> None:
    """Rows of several lengths, an empty one among them, codes of the whole table, states that are not zero."""
    export = export_of(checks.CASES["spelt"], timing={"x": Timing("x"), "spelt": Timing("x"), "letters": Timing("letters")})
    assert prove(export, drawn(export).to_bytes("spelt", {})) < TOLERANCE
    cases = list(golden(export))
    assert {0, 1, 40} <= {int(n) for case in cases for n in case.feeds["x.lengths"]}
    again = list(golden(export))
    assert all(np.array_equal(a.feeds[n], b.feeds[n]) for a, b in zip(cases, again, strict=True) for n in a.feeds)
    lstm = next(golden(export_of(checks.CASES["lstm"])))
    assert np.abs(lstm.feeds["state.layer.h"]).min() > 0


def test_several_nets_stand_side_by_side() -> None:
    case = checks.CASES["lstm"]
    nets = tuple(Predictor(case.spec, case.weights("float32", seed)) for seed in (0, 1))
    found = session(proved(Export(nets=nets, about={})).body)
    names = [i.name for i in found.get_inputs()]
    assert names == ["x", "lengths", *(f"net{k}.state.layer.{n}" for k in (0, 1) for n in "hc")]
    assert [o.name for o in found.get_outputs()][:2] == ["net0.layer", "net1.layer"]


def test_metadata_is_json(tmp_path: object) -> None:
    export = dataclasses.replace(export_of(checks.CASES["gru"]), about={"tokens": ["ä", "b"], "temperature": 1.5})
    write(export, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    assert {p.key: p.value for p in model.metadata_props} == {"tokens": '["ä", "b"]', "temperature": "1.5"}
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert sum(node.op_type == "GRU" for node in model.graph.node) == 1
    names = [node.name for node in model.graph.node]
    assert all(names)  # ONNX Runtime 1.19 cannot load a graph of which it fuses nodes without names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_package_names_the_extra(missing: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=rf"\({missing}\).*tidegate\[export\]"):
        write(export_of(checks.CASES["gru"]), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_tied_weights_stand_once() -> None:
    tied, own = (len(proved(export_of(checks.CASES[f"next token{t}"])).body) for t in (", tied", ""))
    assert tied < own


@pytest.mark.parametrize(
    ("codes", "lengths", "fits"),
    [
        ([[1, 2, 0]], [3], True),
        ([[1, 2, -9]], [2], True),  # padding is not read
        ([[1, 2, 99]], [3], False),
        ([[1, -1, 0]], [3], False),
        ([[1, 2, 0]], [4], False),
        ([[1, 2, 0]], [-1], False),
        ([[1, 2, 0]], [3, 3], False),
    ],
)
def test_codes_and_lengths_that_the_runtime_refuses(codes: list[list[int]], lengths: list[int], fits: bool) -> None:
    """The same that the Predictor refuses: ONNX alone would read a negative code from the table's end."""
    export = export_of(checks.CASES["next token"])
    (port,) = export.spec.inputs
    held = {state_name(export, 0, n): np.zeros((layers, 1, size), "f") for n, (layers, size) in export.spec.state().items()}
    feeds = {port.name: np.array(codes)[..., None], "lengths": np.array(lengths), **held}
    if fits:
        assert all(np.isfinite(y).all() for y in answers(proved(export).body, feeds).values())
        return
    with pytest.raises(ShapeError):
        export.nets[0].run({port.name: feeds[port.name]}, None, {port.name: lengths})
    with pytest.raises(Exception, match=r"out of data bounds|Invalid value/s in sequence_lens|must have shape"):
        answers(proved(export).body, feeds)


def test_a_position_beyond_the_table_is_an_error_of_the_runtime() -> None:
    block = Position(name="y", inputs=("x",), steps=1, size=2)
    spec = Spec(inputs=(Port(name="x", size=2),), blocks=(block,), outputs=("y",))
    net = Predictor(spec, {"y.weight": np.ones((1, 2), "f")})
    body = drawn(Export(nets=(net,), about={}, timing={"x": Timing("x", ragged=False)})).to_bytes("position", {})
    assert answers(body, {"x": np.zeros((2, 1, 2), "f")})["y"].tolist() == [[[1, 1]]] * 2
    with pytest.raises(Exception, match="out of data bounds"):
        answers(body, {"x": np.zeros((2, 3, 2), "f")})
