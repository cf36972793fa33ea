"""Predictor and Stream: state in and out, threads, refusals that leave the state untouched, and no torch anywhere near."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import checks
from tidegate.errors import FormatError, ShapeError, TaskError
from tidegate.runtime.predictor import Predictor, Stream
from tidegate.spec import Fold, Linear, Port, Recurrent, Spec, Unfold

CASE = checks.CASES["autoregressive"]
SRC = Path(__file__).resolve().parents[2] / "src"
Inputs = dict[str, npt.NDArray[np.generic]]


def predictor(dtype: str = "float64", case: checks.Case = CASE) -> Predictor:
    return Predictor(case.spec, case.weights(dtype))


def step(t: int, dtype: str = "float64") -> Inputs:
    return {n: x[:, t] if n == "x" else x for n, x in CASE.inputs(dtype).items()}


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, 6), max_size=4), case=st.sampled_from(["lstm x 3", "gru x 3", "stacked", "autoregressive"]))
def test_any_cutting_gives_the_same(cuts: list[int], case: str) -> None:
    own, inputs = predictor(case=checks.CASES[case]), checks.CASES[case].inputs()
    whole, state, pieces = own.run(inputs), None, []
    edges = [0, *sorted(cuts), 6]
    for start, stop in itertools.pairwise(edges):
        piece = own.run({n: x[:, start:stop] if n == "x" else x for n, x in inputs.items()}, state)
        state = piece.state
        pieces.append(piece.outputs)
    for name, y in whole.outputs.items():
        np.testing.assert_allclose(np.concatenate([p[name] for p in pieces], 1), y, **checks.TOL["float64"])
    np.testing.assert_allclose(state, whole.state, **checks.TOL["float64"])


def test_the_state_is_one_row_of_floats_a_sequence_in_the_order_of_the_spec() -> None:
    case = checks.CASES["lstm x 3"]
    state = predictor(case=case).run(case.inputs()).state
    assert state.shape == (checks.BATCH, case.spec.state_size()) == (checks.BATCH, 2 * 3 * 4)
    assert list(case.spec.state()) == ["layer.h", "layer.c"]
    y = predictor(case=case).run(case.inputs()).outputs["layer"]
    assert np.array_equal(state[:, 8:12], y[:, -1]), "h of the top layer is the last output"
    assert predictor(case=case).initial_state(3).shape == (3, 24)
    assert not predictor(case=case).initial_state().any()


def test_rows_may_be_taken_apart_and_put_together() -> None:
    own, inputs = predictor(), CASE.inputs()
    first = own.run({n: x[:, :3] if n == "x" else x for n, x in inputs.items()})
    order = np.array([2, 0])
    rest = own.run({n: x[order, 3:] if n == "x" else x[order] for n, x in inputs.items()}, first.state[order])
    np.testing.assert_allclose(rest.state, own.run(inputs).state[order], **checks.TOL["float64"])


def test_a_batch_of_no_rows() -> None:
    output = predictor().run({n: x[:0] for n, x in CASE.inputs().items()})
    assert output.state.shape == (0, CASE.spec.state_size())
    assert output.outputs["raw"].shape == (0, 6, 2)


def test_the_answer_of_many_threads_is_the_answer_of_one() -> None:
    own = predictor()
    jobs = [{n: np.roll(x, k, axis=0) for n, x in CASE.inputs().items()} for k in range(16)]
    expected = [own.run(job) for job in jobs]
    got: dict[int, object] = {}

    def work(k: int) -> None:
        for _ in range(5):
            got[k] = own.run(jobs[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for k, output in enumerate(expected):
        assert np.array_equal(got[k].state, output.state)
        assert all(np.array_equal(got[k].outputs[n], y) for n, y in output.outputs.items())


def test_the_weights_are_its_own_and_cannot_be_changed() -> None:
    weights = CASE.weights()
    own = Predictor(CASE.spec, weights)
    before = own.run(CASE.inputs())
    for weight in weights.values():
        weight += 1.0
    assert np.array_equal(own.run(CASE.inputs()).state, before.state)
    with pytest.raises(ValueError, match="read-only"):
        next(iter(own._weights.values()))[:] = 0


def test_callers_arrays_are_left_as_they_were() -> None:
    inputs, own = CASE.inputs(), predictor()
    state = own.run(inputs).state
    copies = {n: x.copy() for n, x in inputs.items()}, state.copy()
    lengths = CASE.lengths()
    own.run(inputs, state, lengths)
    assert all(np.array_equal(inputs[n], copies[0][n]) for n in inputs)
    assert np.array_equal(state, copies[1])
    assert np.array_equal(lengths["x"], CASE.lengths()["x"])


def test_repr_names_the_sizes() -> None:
    assert repr(predictor()) == f"Predictor(12 blocks, {CASE.spec.count():,} weights, 4 floats of state)"


def changed(**more: object) -> dict[str, object]:
    return {**CASE.inputs(), **more}


WRONG_RUNS = {
    "missing": (
        {k: v for k, v in CASE.inputs().items() if k != "static"},
        {},
        "input 'static': missing; the model needs x, static, line",
    ),
    "unknown": (changed(statik=1), {}, "input 'statik': the model has no such input; did you mean 'static'"),
    "axes": (changed(x=np.zeros((4, 5))), {}, r"input 'x': expected \(B, T, 5\), got \(4, 5\)"),
    "size": (changed(x=np.zeros((4, 6, 7))), {}, r"input 'x': expected \(B, T, 5\), got \(4, 6, 7\)"),
    "vector": (changed(static=np.zeros((4, 3))), {}, r"input 'static': expected \(B, 2\), got \(4, 3\)"),
    "rows": (changed(static=np.zeros((3, 2))), {}, "inputs: expected the same number of rows in each, got"),
    "text": (changed(static=[["a", "b"]] * 4), {}, "input 'static': expected an array of numbers, got"),
    "ragged lists": (changed(static=[[1.0], [1.0, 2.0]]), {}, "input 'static': expected an array of numbers, got"),
    "objects": (
        changed(static=np.array([[None, 1]] * 4)),
        {},
        "input 'static': expected an array of numbers, got values of object",
    ),
    "complex": (
        changed(static=np.ones((4, 2)) * 1j),
        {},
        "input 'static': expected an array of numbers, got values of complex128",
    ),
    "codes with a fraction": (changed(line=np.full((4, 2), 0.5)), {}, "input 'line': expected whole numbers, got float64"),
    "code too large": (changed(line=np.full((4, 2), 3)), {}, "input 'line': expected codes from 0 to 2, got 3 to 3"),
    "code negative": (changed(line=np.full((4, 2), -1)), {}, "input 'line': expected codes from 0 to 2, got -1 to -1"),
    "state": (CASE.inputs(), {"state": np.zeros((4, 5))}, r"state: expected \(4, 4\), got \(4, 5\)"),
    "state of other rows": (CASE.inputs(), {"state": np.zeros((3, 4))}, r"state: expected \(4, 4\), got \(3, 4\)"),
    "length too large": (
        CASE.inputs(),
        {"lengths": {"x": [7, 1, 1, 1]}},
        r"lengths of 'x': expected \(4,\) whole numbers from 0 to 6",
    ),
    "length negative": (
        CASE.inputs(),
        {"lengths": {"x": [-1, 1, 1, 1]}},
        r"lengths of 'x': expected \(4,\) whole numbers from 0 to 6",
    ),
    "lengths with a fraction": (
        CASE.inputs(),
        {"lengths": {"x": [1.5, 1, 1, 1]}},
        "lengths of 'x': expected whole numbers, got float64",
    ),
    "too few lengths": (CASE.inputs(), {"lengths": {"x": [1]}}, r"lengths of 'x': expected \(4,\)"),
    "lengths of a vector": (
        CASE.inputs(),
        {"lengths": {"static": [1, 1, 1, 1]}},
        "lengths of 'static': the model has no such sequence",
    ),
    "lengths misspelt": (CASE.inputs(), {"lengths": {"xx": [1, 1, 1, 1]}}, "lengths of 'xx': the model has no such sequence"),
}


@pytest.mark.parametrize("case", WRONG_RUNS)
def test_a_wrong_run_says_what_was_expected(case: str) -> None:
    inputs, more, text = WRONG_RUNS[case]
    with pytest.raises(ShapeError, match=text):
        predictor().run(inputs, **more)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda w: w.pop("raw_all.bias"), "weight 'raw_all.bias': missing"),
        (lambda w: w.update(x=np.zeros(1)), "weight 'x': the model has no such weight"),
        (lambda w: w.update({"raw_all.bias": np.zeros((2, 1))}), r"weight 'raw_all.bias': expected shape \(2,\), got \(2, 1\)"),
        (lambda w: w.update({"raw_all.bias": np.array([np.inf, 0])}), "weight 'raw_all.bias': holds NaN or Inf"),
        (
            lambda w: w.update({"raw_all.bias": np.zeros(2, np.float32)}),
            "expected float32 in all, or float64 in all, got float32, float64",
        ),
        (lambda w: w.update({n: v.astype(np.int64) for n, v in w.items()}), "got int64"),
    ],
)
def test_wrong_weights_are_refused(change: object, text: str) -> None:
    weights = CASE.weights()
    change(weights)
    with pytest.raises(FormatError, match=text):
        Predictor(CASE.spec, weights)


def test_push_is_run_of_one_step() -> None:
    own = predictor()
    stream, state = own.stream(checks.BATCH), None
    for t in range(6):
        pushed = stream.push(step(t))
        outputs, state = own.run({n: x[:, None] if n == "x" else x for n, x in step(t).items()}, state)
        assert {n: y.shape for n, y in pushed.items()} == {"raw": (checks.BATCH, 2), "base": (checks.BATCH, 1)}
        assert all(np.array_equal(pushed[n], outputs[n][:, 0]) for n in outputs)
        assert np.array_equal(stream.state, state)


def test_one_sequence_is_the_default() -> None:
    stream = predictor().stream()
    assert stream.push({n: x[:1] for n, x in step(0).items()})["raw"].shape == (1, 2)


BAD_STEPS = {
    "nan": (
        lambda s: s["x"].__setitem__((0, 0), np.nan),
        "input 'x': expected finite numbers, got NaN or Inf; the state is untouched",
    ),
    "inf": (lambda s: s["x"].__setitem__((3, 1), -np.inf), "input 'x': expected finite numbers"),
    "nan in a vector": (lambda s: s["static"].__setitem__((0, 0), np.nan), "input 'static': expected finite numbers"),
    "too large for float32": (lambda s: s.update(x=np.full((4, 5), 1e300)), "input 'x': expected finite numbers"),
    "size": (lambda s: s.update(x=np.zeros((4, 6))), r"input 'x': expected one step, \(4, 5\), got \(4, 6\)"),
    "rows": (lambda s: s.update(x=np.zeros((3, 5))), r"input 'x': expected one step, \(4, 5\), got \(3, 5\)"),
    "a sequence": (lambda s: s.update(x=np.zeros((4, 1, 5))), r"input 'x': expected one step, \(4, 5\), got \(4, 1, 5\)"),
    "rows of codes": (lambda s: s.update(line=np.zeros((3, 2), np.int64)), "inputs: expected the same number of rows"),
    "missing": (lambda s: s.pop("x"), "input 'x': missing"),
    "unknown": (lambda s: s.update(y=np.zeros((4, 5))), "input 'y': the model has no such input"),
    "text": (lambda s: s.update(x=[["a"] * 5] * 4), "input 'x': expected an array of numbers"),
    "code": (lambda s: s.update(line=np.full((4, 2), 9)), "input 'line': expected codes from 0 to 2"),
}


@pytest.mark.parametrize("bad", BAD_STEPS)
def test_a_refused_push_leaves_the_state_untouched(bad: str) -> None:
    stream, twin = (predictor("float32").stream(checks.BATCH) for _ in range(2))
    stream.push(step(0, "float32"))
    twin.push(step(0, "float32"))
    before, wrong = stream.state, {n: x.copy() for n, x in step(1, "float32").items()}
    BAD_STEPS[bad][0](wrong)
    with pytest.raises(ShapeError, match=BAD_STEPS[bad][1]):
        stream.push(wrong)
    assert np.array_equal(stream.state, before)
    assert np.array_equal(stream.push(step(1, "float32"))["raw"], twin.push(step(1, "float32"))["raw"])


def test_a_copy_is_independent() -> None:
    stream = predictor().stream(checks.BATCH)
    stream.push(step(0))
    copy = stream.copy()
    assert np.array_equal(copy.state, stream.state)
    kept = stream.state
    copy.push(step(1))
    assert np.array_equal(stream.state, kept)
    assert not np.array_equal(copy.state, kept)
    assert np.array_equal(stream.push(step(1))["raw"], predictor_after(step(0), step(1)))


def predictor_after(*steps: Inputs) -> npt.NDArray[np.generic]:
    stream = predictor().stream(checks.BATCH)
    return [stream.push(s)["raw"] for s in steps][-1]


def test_the_state_given_out_and_taken_in_is_a_copy() -> None:
    stream = predictor().stream(checks.BATCH)
    stream.push(step(0))
    out = stream.state
    out += 1.0
    assert not np.array_equal(stream.state, out)
    resumed, kept = Stream(predictor(), checks.BATCH, out), out.copy()
    out += 1.0
    assert np.array_equal(resumed.state, kept)
    with pytest.raises(ShapeError, match=r"state: expected \(2, 4\), got \(4, 4\)"):
        Stream(predictor(), 2, out)


def test_reset_is_a_new_stream() -> None:
    stream = predictor().stream(checks.BATCH)
    first = stream.push(step(0))["raw"]
    stream.push(step(1))
    stream.reset()
    assert not stream.state.any()
    assert np.array_equal(stream.push(step(0))["raw"], first)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("gru both ways", "block 'layer' is bidirectional and reads the future"),
        ("encoder-decoder gru", "block 'decoder' starts at a state that other blocks give"),
        ("fold", "block 'y' works on segments of 3 steps"),
        ("unfold", "block 'y' works on segments of 3 steps"),
        ("last", "block 'y' depends on the place in the sequence"),
        ("position", "block 'y' depends on the place in the sequence"),
    ],
)
def test_what_cannot_be_stepped_is_refused_with_its_reason(case: str, reason: str) -> None:
    with pytest.raises(TaskError, match=re.escape(reason) + r": .*use run\(\)"):
        predictor(case=checks.CASES[case]).stream()


def test_segments_of_one_step_can_be_stepped() -> None:
    blocks = (Fold(name="a", inputs=("x",), size=1), Unfold(name="y", inputs=("a",), size=1))
    spec = Spec(inputs=(Port(name="x", size=2),), blocks=blocks, outputs=("y",))
    assert Predictor(spec, {}).stream().push({"x": [[1.0, 2.0]]})["y"].tolist() == [[1.0, 2.0]]


def test_float32_weights_run_in_float32() -> None:
    output = predictor("float32").run(CASE.inputs("float64"))
    assert output.state.dtype == np.float32
    assert {y.dtype for y in output.outputs.values()} == {np.dtype(np.float32)}


SCRIPT = """
import sys
sys.modules["torch"] = None  # importing it now raises ImportError
import numpy as np
import tidegate
from tidegate import errors, format, spec
from tidegate.blocks import cells, graph, recurrent, rollout, unroll, weights
from tidegate.runtime.predictor import Predictor
file = format.read(sys.argv[1])
own = Predictor(spec.spec_from_plain(file.header["spec"]), file.arrays)
x = np.arange(12.0).reshape(1, 4, 3) / 10
y = own.run({"x": x}).outputs["y"]
stream = own.stream()
for t in range(4):
    pushed = stream.push({"x": x[:, t]})["y"]
assert np.allclose(pushed, y[:, -1], atol=1e-12), (pushed, y)
assert not [m for m in sys.modules if m.split(".")[0] == "torch" and sys.modules[m] is not None]
print(repr(float(y.sum())))
"""


def test_the_running_half_works_without_torch(tmp_path: Path) -> None:
    from tidegate import format as container
    from tidegate.spec import spec_to_plain

    blocks = (
        Recurrent(name="layer", inputs=("x",), cell="lstm", input_size=3, hidden_size=4, num_layers=2),
        Linear(name="y", inputs=("layer",), input_size=4, output_size=2),
    )
    case = checks.Case(spec=Spec(inputs=(Port(name="x", size=3),), blocks=blocks, outputs=("y",)))
    path = container.write(tmp_path / "m.safetensors", "model", {"spec": spec_to_plain(case.spec)}, case.weights())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(SRC)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    here = Predictor(case.spec, case.weights()).run({"x": np.arange(12.0).reshape(1, 4, 3) / 10}).outputs["y"]
    assert float(done.stdout) == pytest.approx(float(here.sum()), rel=1e-12)
