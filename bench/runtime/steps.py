"""One step with carried state, from Python: Tidegate beside ONNX Runtime and PyTorch -> results/steps.json.

    python bench/runtime/steps.py          # one thread; needs torch, onnx and onnxruntime

LSTM of N units that reads N numbers, batch 1. Ours: `stream.step(x, out)`. ONNX Runtime: an opset-17 LSTM node with its states as
inputs and outputs, one intra-op thread, session made once. PyTorch: nn.LSTM in inference mode, state passed on. All three give
the same numbers (checked first). Rounds of the three stand beside each other in time, in turning order; a figure is the median of
the rounds' means, p99 that of single steps. Beside it: the same layer in int8 (`Recurrent.quantize`), many
streams at once, silence after a signal, memory of an idle stream, and the FMA peak of one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper

from tidegate import native
from tidegate.runtime import Recurrent

RESULTS = Path(__file__).resolve().parent / "results"
SIZES = (32, 64, 128, 256)
CLOSE = 1e-5
Step = Callable[[int], np.ndarray]  # the k-th of 64 samples, ready in the form that each side takes


def weights(cell: str, size: int, layers: int = 1) -> dict[str, np.ndarray]:
    rng, gates = np.random.default_rng(0), {"lstm": 4, "gru": 3}[cell]
    found = {}
    for layer in range(layers):
        matrix, bias = (gates * size, size), (gates * size,)
        for name, shape in (("weight_ih", matrix), ("weight_hh", matrix), ("bias_ih", bias), ("bias_hh", bias)):
            found[f"{name}_l{layer}"] = rng.normal(0, 1 / np.sqrt(size), shape).astype(np.float32)
    return found


def ours(own: dict[str, np.ndarray], size: int, given: np.ndarray) -> Step:
    stream, out = Recurrent("lstm", own).stream(), np.empty(size, np.float32)
    step, xs = stream.step, list(given)
    return lambda k: step(xs[k], out)


def theirs_onnx(own: dict[str, np.ndarray], size: int, given: np.ndarray) -> Step:
    order = [0, 3, 1, 2]  # ONNX: i, o, f, c

    def turned(array: np.ndarray) -> np.ndarray:
        return np.concatenate([np.split(array, 4)[k] for k in order])

    tensors = {
        "W": turned(own["weight_ih_l0"])[None],
        "R": turned(own["weight_hh_l0"])[None],
        "B": np.concatenate([turned(own["bias_ih_l0"]), turned(own["bias_hh_l0"])])[None],
    }
    node = helper.make_node("LSTM", ["x", "W", "R", "B", "", "h", "c"], ["y", "hn", "cn"], hidden_size=size)
    one = [1, 1, size]
    graph = helper.make_graph(
        [node], "step", [helper.make_tensor_value_info(n, TensorProto.FLOAT, one) for n in ("x", "h", "c")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, size])]
        + [helper.make_tensor_value_info(n, TensorProto.FLOAT, one) for n in ("hn", "cn")],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    state = [np.zeros(one, np.float32), np.zeros(one, np.float32)]

    xs = [np.ascontiguousarray(x[None, None]) for x in given]

    def step(k: int) -> np.ndarray:
        y, state[0], state[1] = session.run(None, {"x": xs[k], "h": state[0], "c": state[1]})
        return y[0, 0, 0]

    return step


def theirs_torch(own: dict[str, np.ndarray], size: int, given: np.ndarray) -> Step:
    layer = torch.nn.LSTM(size, size)
    layer.load_state_dict({name: torch.from_numpy(value) for name, value in own.items()})
    state: list[Any] = [None]

    xs = [torch.from_numpy(x[None]) for x in given]

    def step(k: int) -> np.ndarray:
        y, state[0] = layer(xs[k], state[0])
        return y[0].numpy()

    return step


def timed(step: Step, count: int) -> float:
    """Microseconds a step."""
    began = time.perf_counter()
    for k in range(count):
        step(k & 63)
    return (time.perf_counter() - began) / count * 1e6


def singles(step: Step, count: int) -> float:
    """The 99th percentile of single steps, in microseconds; the clock's own cost is in it."""
    taken = []
    for k in range(count):
        began = time.perf_counter_ns()
        step(k & 63)
        taken.append(time.perf_counter_ns() - began)
    return float(np.percentile(taken, 99)) / 1e3


def compared(size: int, rounds: int) -> dict[str, Any]:
    own = weights("lstm", size)
    xs = np.random.default_rng(1).normal(size=(64, size)).astype(np.float32)
    ways = {"tidegate": ours(own, size, xs), "onnxruntime": theirs_onnx(own, size, xs), "torch": theirs_torch(own, size, xs)}
    for k in range(20):
        said = {name: np.array(step(k)) for name, step in ways.items()}
        off = max(float(np.abs(value - said["tidegate"]).max()) for value in said.values())
        assert off < CLOSE, f"the three differ by {off}"
    counts = {"tidegate": 2000, "onnxruntime": 200, "torch": 100}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name in sorted(ways, reverse=bool(turn % 2)):
            found[name].append(timed(ways[name], counts[name]))
    p99 = {name: singles(step, 10 * counts[name]) for name, step in ways.items()}
    us = {name: statistics.median(own) for name, own in found.items()}
    ratios = {
        name: statistics.median(b / a for a, b in zip(found["tidegate"], found[name], strict=True))
        for name in ("onnxruntime", "torch")
    }
    return {"us": us, "p99_us": p99, "ratio": ratios}


def eight(size: int, rounds: int) -> dict[str, float]:
    """A step in int8 beside one in float32, and how far the two are apart after the 64 samples."""
    xs = np.random.default_rng(1).normal(size=(64, size)).astype(np.float32)
    layer = Recurrent("lstm", weights("lstm", size))
    whole = layer.quantize("int8", xs)
    out, given = np.empty(size, np.float32), list(xs)
    ways = [one.stream().step for one in (layer, whole)]
    found: list[list[float]] = [[], []]
    for turn in range(rounds):
        for way in (0, 1) if turn % 2 else (1, 0):
            step = ways[way]
            found[way].append(timed(lambda k, step=step: step(given[k], out), 2000))
    apart = float(np.abs(layer.run(xs)[0] - whole.run(xs)[0]).max())
    return {
        "float32_us": statistics.median(found[0]), "int8_us": statistics.median(found[1]),
        "ratio": statistics.median(a / b for a, b in zip(*found, strict=True)), "apart": apart,
    }  # fmt: skip


def many(streams: int, size: int, rounds: int) -> dict[str, float]:
    """Streams of a GRU stepped at once, against the FMA peak measured beside each round."""
    layer = Recurrent("gru", weights("gru", size))
    own = [layer.stream() for _ in range(streams)]
    x = np.random.default_rng(1).normal(size=(streams, size)).astype(np.float32)
    out = np.empty((streams, size), np.float32)
    shares, us = [], []
    for _ in range(rounds):
        peak = native.require().peak(1, 0.02)
        began = time.perf_counter()
        for _ in range(20):
            layer.step_many(own, x, out)
        us.append((time.perf_counter() - began) / 20 * 1e6)
        shares.append(2 * 3 * size * 2 * size * streams / us[-1] / 1e3 / peak)
    return {"us": statistics.median(us), "share_of_peak": statistics.median(shares), "least": min(shares), "most": max(shares)}


def silence(rounds: int) -> dict[str, float]:
    """A million silent steps after a signal: a step in the last of them over one in the signal."""
    size = 32
    loud, quiet = np.random.default_rng(1).normal(size=(64, size)).astype(np.float32), np.zeros((64, size), np.float32)
    step = ours(weights("lstm", size), size, np.concatenate([loud, quiet]))
    usual = [timed(step, 2000) for _ in range(rounds)]

    def silent(k: int) -> Any:
        return step(64 + k)

    timed(silent, 1_000_000)
    late = [timed(silent, 2000) for _ in range(rounds)]
    return {
        "signal_us": statistics.median(usual),
        "silence_us": statistics.median(late),
        "ratio": statistics.median(late) / statistics.median(usual),
    }


def idle_bytes() -> float:
    """Python's memory and the core's of one idle stream of a 2 x 64 LSTM, from the process's resident memory."""
    layer = Recurrent("lstm", weights("lstm", 64, 2))
    held = [layer.stream() for _ in range(1000)]  # arenas are there
    tracemalloc.start()
    held += [layer.stream() for _ in range(10_000)]
    traced = tracemalloc.get_traced_memory()[0] / 10_000
    tracemalloc.stop()
    before = _resident()
    held += [layer.stream() for _ in range(50_000)]
    return max(traced, (_resident() - before) / 50_000)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


HEAD = """# Single steps

`python bench/runtime/steps.py` on {cpu} ({isa}), one thread, nothing else at work; medians of rounds that stand beside each other in
time. Raw: [results/steps.json](results/steps.json). p99 is that of single steps timed one by one, the clock's own cost in it.

| LSTM, batch 1, state carried | Tidegate | p99 | ONNX Runtime {onnxruntime} | PyTorch {torch} | times ONNX Runtime | times PyTorch |
|---|---|---|---|---|---|---|
"""  # noqa: E501  # a row of a table


def report(result: dict[str, Any]) -> str:
    """RESULTS.md."""
    rows = [
        f"| {size} | {r['us']['tidegate']:.2f} us | {r['p99_us']['tidegate']:.2f} us | {r['us']['onnxruntime']:.1f} us "
        f"| {r['us']['torch']:.0f} us | {r['ratio']['onnxruntime']:.1f} | {r['ratio']['torch']:.0f} |"
        for size, r in result["lstm"].items()
    ]
    cold = json.loads((RESULTS / "cold.json").read_text(encoding="utf-8")) if (RESULTS / "cold.json").is_file() else None
    begun = "" if cold is None else (
        f"- Import, load and first forecast in a fresh process without torch (`cold.py`): {cold['import_load_predict_s']:.2f} s, "
        f"the whole process {cold['process_s']:.2f} s.\n"
    )  # fmt: skip
    m, s = result["many_256_gru_128"], result["silence_lstm_32"]
    shares = [100 * m[name] for name in ("share_of_peak", "least", "most")]
    small = "\n".join(
        f"| {size} | {r['float32_us']:.2f} us | {r['int8_us']:.2f} us | {r['ratio']:.1f} | {r['apart']:.3f} |"
        for size, r in result["int8"].items()
    )
    beside = f"""
| LSTM, batch 1, random weights | float32 | int8 | times float32 | largest difference of the outputs over 64 steps |
|---|---|---|---|---|
{small}

- 256 streams of a GRU 128 in one `step_many`: {m["us"]:.0f} us, {shares[0]:.0f} % of the FMA peak of that moment
  ({shares[1]:.0f} to {shares[2]:.0f}).
- A silent step after a million silent ones: {s["ratio"]:.2f} times one in the signal.
- One idle stream of a 2 x 64 LSTM: {result["idle_bytes_2x64_lstm"]:,.0f} bytes, Python included.
{begun}
From 32 units on a step is bound by reading the weights: 32 KiB at 32 units (the first-level cache), 2 MiB at 256 (the third),
512 KiB of int8 (the second, 32 bytes a cycle).
"""
    return HEAD.format(**result["machine"]) + "\n".join(rows) + "\n" + beside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    torch.autograd.grad_mode.inference_mode(True).__enter__()
    native.set_num_threads(1)
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "",
    )
    result: dict[str, Any] = {
        "machine": {"cpu": cpu, "isa": native.require().isa(), "torch": torch.__version__, "onnxruntime": ort.__version__},
        "peak_gflops": native.require().peak(1, 0.2),
        "lstm": {str(size): compared(size, given.rounds) for size in SIZES},
        "int8": {str(size): eight(size, given.rounds) for size in SIZES},
        "many_256_gru_128": many(256, 128, given.rounds),
        "silence_lstm_32": silence(given.rounds),
        "idle_bytes_2x64_lstm": idle_bytes(),
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "steps.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    page = RESULTS.parent / "RESULTS.md"
    _, mark, others = page.read_text(encoding="utf-8").partition("\n## ")  # other scripts' figures
    page.write_text(report(result) + mark + others, encoding="utf-8")
    for size, row in result["lstm"].items():
        us = ", ".join(f"{name} {value:.2f} us" for name, value in row["us"].items())
        print(f"LSTM {size}: {us}; {row['ratio']['onnxruntime']:.1f} x, {row['ratio']['torch']:.1f} x")
    print(
        json.dumps({k: result[k] for k in ("int8", "many_256_gru_128", "silence_lstm_32", "idle_bytes_2x64_lstm", "peak_gflops")})
    )


if __name__ == "__main__":
    main()
