"""Whether ONNX Runtime says what we say. In: an export. Out: its file, or an error and no file.

Golden vectors: a row alone, a few rows of several lengths with an empty one among them, and one of LONG ticks; random numbers,
codes of the whole table, states that are not zero. Ours is the Predictor, and for the head the arithmetic that answers in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tidegate.errors import ExportError
from tidegate.export.onnx import Arrays, Export, Given, drawn, given_states, next_name, state_name
from tidegate.export.onnx_sheet import library
from tidegate.files import PathLike, check_writable, write_atomic
from tidegate.spec import CODED, TIMED, Embed, Gather, Port, Recurrent

TOLERANCE = 1e-5  # of a number of at most 1; of larger ones that share
LONG = 40
ROWS = ((1, 1), (3, 4), (6, 9), (2, LONG))  # rows and ticks of each case
ITEMS = 5


class Case(NamedTuple):
    """What the runtime gets, and what it has to answer."""

    feeds: dict[str, npt.NDArray[np.generic]]
    answers: dict[str, npt.NDArray[np.generic]]


class Proved(NamedTuple):
    """An ONNX model, and the largest difference between ONNX Runtime's answers and ours on the golden vectors."""

    body: bytes
    apart: float


def write(export: Export, path: PathLike) -> float:
    """Write a proved file; the largest difference. Raises: as `proved`; OutputError."""
    check_writable(path)
    made = proved(export)
    write_atomic(path, made.body)
    return made.apart


def proved(export: Export) -> Proved:
    """An ONNX model on which ONNX Runtime agrees with us.

    Raises: TaskError for what ONNX cannot hold; ExportError where the two disagree; MissingExtra without onnx and onnxruntime.
    """
    body = drawn(export).to_bytes("tidegate", export.about)
    return Proved(body, prove(export, body))


def prove(export: Export, body: bytes) -> float:
    """The largest difference over all golden vectors. Raises: ExportError where it is above TOLERANCE, with the output's name."""
    run = _session(body)
    worst = 0.0
    for case in golden(export):
        names = list(case.answers)
        for name, got in zip(names, run(names, case.feeds), strict=True):
            worst = max(worst, _difference(name, np.asarray(got), case.answers[name]))
    return worst


def _session(body: bytes) -> Callable[[list[str], Arrays], list[npt.NDArray[np.generic]]]:
    """What runs the model. Raises: MissingExtra; ExportError for a graph that this ONNX Runtime cannot load, or run."""
    runtime = library("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads, options.inter_op_num_threads = 4, 1, 1

    def told(error: Exception) -> ExportError:
        return ExportError(f"ONNX Runtime {runtime.__version__} cannot run the graph ({error}); nothing was written. Update it")

    try:
        session = runtime.InferenceSession(body, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class of their own
        raise told(error) from error

    def run(names: list[str], feeds: Arrays) -> list[npt.NDArray[np.generic]]:
        try:
            return list(session.run(names, feeds))
        except Exception as error:
            raise told(error) from error

    return run


def _difference(name: str, got: npt.NDArray[np.generic], wanted: npt.NDArray[np.generic]) -> float:
    if got.shape != wanted.shape:
        raise ExportError(f"output {name!r}: expected {wanted.shape} of ONNX Runtime, got {got.shape}; nothing was written")
    if wanted.dtype.kind not in "f":
        same = bool(np.array_equal(got, wanted))
        apart = 0.0 if same else np.inf
    else:
        there, ours = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
        with np.errstate(invalid="ignore"):  # -inf or NaN of both is the same
            each = np.where(
                (there == ours) | (np.isnan(there) & np.isnan(ours)), 0.0, np.abs(there - ours) / np.maximum(np.abs(ours), 1.0)
            )
        apart = float(each.max(initial=0.0))
    if not apart <= TOLERANCE:
        raise ExportError(
            f"output {name!r}: ONNX Runtime and Tidegate are {apart:.2g} apart, expected at most {TOLERANCE:g}; nothing was "
            "written. Predict with Tidegate, and report this model"
        )
    return apart


def golden(export: Export, seed: int = 0) -> Iterator[Case]:
    """The cases, the same for the same export."""
    rng = np.random.default_rng(seed)
    for rows, ticks in ROWS:
        front = export.front.golden(rng, rows) if export.front else Given({}, {}, {})
        feeds, lengths = _inputs(export, rng, rows, ticks, front.ports)
        states = [_states(export, rng, k, rows) for k in range(len(export.nets))]
        extra = {name: make(rng, rows) for name, (_, make) in (export.head.inputs if export.head else {}).items()}
        yield Case(
            {**front.feeds, **feeds.arrays, **feeds.lengths, **extra, **{n: a for own in states for n, a in own.items()}},
            _answers(export, {**feeds.arrays, **front.ports}, lengths, states, {**extra, **front.more}, rows),
        )


class _Feeds(NamedTuple):
    arrays: dict[str, npt.NDArray[np.generic]]
    lengths: dict[str, npt.NDArray[np.generic]]


def _inputs(
    export: Export, rng: np.random.Generator, rows: int, ticks: int, made: Arrays
) -> tuple[_Feeds, dict[str, npt.NDArray[np.int64]]]:
    """Arrays and lengths by their input, and lengths by port. made: ports that a front fills."""
    clocks: dict[str, int] = {}
    feeds, ragged = _Feeds({}, {}), dict[str, npt.NDArray[np.int64]]()
    for port in export.spec.inputs:
        timing, count = export.timing_of(port), ITEMS if port.items else rows
        own = timing.fixed or clocks.setdefault(timing.clock, ticks + len(clocks))
        for k in range(len(export.nets)):
            if port.name not in made and export.port_name(k, port) not in feeds.arrays:
                feeds.arrays[export.port_name(k, port)] = _values(export, rng, port, count, own * timing.rate)
        name = export.lengths_name(port)
        if name is None:
            continue
        if name not in feeds.lengths:
            feeds.lengths[name] = _lengths(rng, count, own)
        ragged[port.name] = np.asarray(feeds.lengths[name], np.int64) * timing.rate
    return feeds, ragged


def _lengths(rng: np.random.Generator, rows: int, ticks: int) -> npt.NDArray[np.int64]:
    """One full row, an empty one where there are three, others between."""
    lengths = rng.integers(1, ticks + 1, rows)
    lengths[0] = ticks
    if rows > 2:
        lengths[1] = 0
    return np.asarray(lengths, np.int64)


def _values(export: Export, rng: np.random.Generator, port: Port, rows: int, steps: int) -> npt.NDArray[np.generic]:
    shape = (rows, steps, port.size) if port.shape in TIMED else (rows, port.size)
    if port.shape not in CODED:
        return rng.normal(size=shape).astype(np.float32)
    return rng.integers(0, [_codes(export, port, column) for column in range(port.size)], shape).astype(np.int64)


def _codes(export: Export, port: Port, column: int) -> int:
    """How many codes a column of a port may hold."""
    tables = [
        b.num_embeddings for b in export.spec.blocks if isinstance(b, Embed) and b.inputs[0] == port.name and b.column == column
    ]
    looked_up = [ITEMS for b in export.spec.blocks if isinstance(b, Gather) and b.inputs[1] == port.name and column == 0]
    return min([*tables, *looked_up], default=1)


def _states(export: Export, rng: np.random.Generator, net: int, rows: int) -> dict[str, npt.NDArray[np.generic]]:
    if not export.states:
        return {}
    shapes = {name: export.spec.state()[name] for name in given_states(export.spec)}
    return {
        state_name(export, net, name): (0.5 * rng.normal(size=(layers, rows, size))).astype(np.float32)
        for name, (layers, size) in shapes.items()
    }


def _answers(
    export: Export,
    arrays: Arrays,
    lengths: Mapping[str, npt.NDArray[np.int64]],
    states: Sequence[Arrays],
    extra: Arrays,
    rows: int,
) -> dict[str, npt.NDArray[np.generic]]:
    """What Tidegate says, by output."""
    found: dict[str, npt.NDArray[np.generic]] = {}
    ran: list[dict[str, npt.NDArray[np.generic]]] = []
    for k, net in enumerate(export.nets):
        own = {port.name: arrays[export.port_name(k, port)] for port in export.spec.inputs}
        outputs, state = net.run(own, _flat(export, k, states[k], rows), lengths)
        after = net.state_parts(state)
        ran.append({**outputs, **{f"next.{name}": part for name, part in after.items()}})
        if export.outputs:
            found |= {f"{export.prefix(k)}{name}": y for name, y in outputs.items()}
        if export.states:
            found |= {next_name(export, k, name): part for name, part in after.items()}
    return found | (dict(export.head.expected(ran, {**arrays, **extra})) if export.head else {})


def _flat(export: Export, net: int, states: Arrays, rows: int) -> npt.NDArray[np.float32] | None:
    """The state as the Predictor takes it: (B, S). None where blocks start at what others give."""
    if not states or any(isinstance(b, Recurrent) and len(b.inputs) == 2 for b in export.spec.blocks):
        return None
    parts = [np.swapaxes(states[state_name(export, net, name)], 0, 1).reshape(rows, -1) for name in export.spec.state()]
    return np.concatenate(parts, axis=1).astype(np.float32)


__all__ = ["TOLERANCE", "Case", "Proved", "golden", "prove", "proved", "write"]
