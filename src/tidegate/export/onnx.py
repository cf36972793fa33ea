"""Nets as ONNX graphs. In: predictors, what stands before and behind them. Out: a graph; onnx_proof.py proves and writes it.

Inputs are the ports of the spec, the lengths of padded rows, and the state; outputs are those of the spec, the next state, and
what the head makes of them. Every size that the spec leaves open (batch, steps) stays open. What a task makes of its nets stands
in models/to_onnx.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.errors import TaskError
from tidegate.export.onnx_blocks import Edge, Written, write_spec
from tidegate.export.onnx_sheet import Dims, Sheet, Slot
from tidegate.runtime.predictor import Predictor
from tidegate.spec import CODED, TIMED, Port, Spec

MOST_BYTES = (1 << 31) - (1 << 24)  # a protobuf message has at most 2 GiB; the rest is for tables and nodes
Arrays = Mapping[str, npt.NDArray[np.generic]]


class Timing(NamedTuple):
    """The steps of a port. Ports of one clock have one number of ticks, and one set of lengths, in ticks."""

    clock: str
    rate: int = 1  # steps a tick
    ragged: bool = True  # rows have lengths
    fixed: int = 0  # ticks, where there are always as many; 0: any number


class Head(NamedTuple):
    """What stands behind the nets.

    write: adds outputs to the sheet, from the outputs of every net by name. expected: the same by our own arithmetic, from the
    outputs of every net and the head's inputs. inputs: inputs of its own, and what the golden vectors give them for a batch.
    """

    write: Callable[[Sheet, Sequence[Mapping[str, str]]], None]
    expected: Callable[[Sequence[Arrays], Arrays], Arrays]
    inputs: Mapping[str, tuple[Dims, Callable[[np.random.Generator, int], npt.NDArray[np.float32]]]] = {}


class Given(NamedTuple):
    """Golden vectors of a front: what the runtime gets, and what the nets and the head then read by our own arithmetic."""

    feeds: Arrays
    ports: Arrays
    more: Arrays


class Front(NamedTuple):
    """What stands before the nets.

    write: takes inputs into the sheet; the values at the ports that it fills, by name, and more that the head reads. golden: such
    inputs for so many rows, and what our own arithmetic makes of them.
    """

    write: Callable[[Sheet], Mapping[str, str]]
    golden: Callable[[np.random.Generator, int], Given]


@final
@dataclass(frozen=True, kw_only=True)
class Export:
    """One ONNX graph to be.

    Args:  nets: of one spec; several stand side by side, their own outputs and states with the prefix net0., net1., ... own:
        ports that every net has for itself. about: metadata, every value as JSON. timing: of timed ports; a port that is missing
        has a clock of its own. states: whether the state is an input and an output. outputs: whether those of the spec are
        outputs too. front, head: what stands before and behind the nets.
    """

    nets: tuple[Predictor, ...]
    about: Mapping[str, Plain]
    own: tuple[str, ...] = ()
    timing: Mapping[str, Timing] = field(default_factory=dict)
    states: bool = True
    outputs: bool = True
    front: Front | None = None
    head: Head | None = None

    @property
    def spec(self) -> Spec:
        """Of every net."""
        return self.nets[0].spec

    def prefix(self, net: int) -> str:
        """Of the names that belong to one net."""
        return f"net{net}." if len(self.nets) > 1 else ""

    def port_name(self, net: int, port: Port) -> str:
        """The input that a net reads at a port."""
        return f"{self.prefix(net)}{port.name}" if port.name in self.own else port.name

    def timing_of(self, port: Port) -> Timing:
        """The port's steps."""
        return self.timing.get(port.name, Timing(port.name))

    def lengths_name(self, port: Port) -> str | None:
        """The input that holds the port's lengths."""
        timing = self.timing_of(port)
        if port.shape not in TIMED or not timing.ragged or timing.fixed:
            return None
        clocks = {self.timing_of(p).clock for p in self.spec.inputs if p.shape in TIMED and self.timing_of(p).ragged}
        return "lengths" if len(clocks) == 1 else f"{timing.clock}.lengths"


def drawn(export: Export) -> Sheet:
    """The graph. Raises: TaskError; MissingExtra."""
    _check_weights(export)
    sheet = Sheet()
    before = export.front.write(sheet) if export.front else {}
    ports = _ports(sheet, export, before)
    for name, (dims, _) in (export.head.inputs if export.head else {}).items():
        sheet.take_in(name, "float32", dims)
    written = [_net(sheet, export, k, ports[k]) for k in range(len(export.nets))]
    if export.outputs:
        for k, ran in enumerate(written):
            for name, edge in ran.outputs.items():
                sheet.give_out(f"{export.prefix(k)}{name}", edge.x, "float32", output_dims(name, edge))
    if export.head is not None:
        export.head.write(sheet, [{**before, **_named(ran)} for ran in written])
    if export.states:
        for k, ran in enumerate(written):
            for name, value in ran.state.items():
                sheet.give_out(next_name(export, k, name), value, "float32", _state_dims(export.spec, name))
    return sheet


def _check_weights(export: Export) -> None:
    """Raises: TaskError for weights that ONNX, or ONNX Runtime, cannot hold."""
    if any(net.int8 is not None for net in export.nets):
        raise TaskError(
            "the model is in 8 bits, whose whole numbers ONNX's recurrent operators do not have; export the float32 model"
        )
    for net in export.nets:
        wrong = next((name for name, array in net.weights.items() if array.dtype != np.float32), None)
        if wrong is not None:
            raise TaskError(
                f"weight {wrong!r}: expected float32, which ONNX Runtime's recurrent operators read, got "
                f"{net.weights[wrong].dtype}; bring the model in float32"
            )
    size = sum(array.nbytes for net in export.nets for array in net.weights.values())
    if size > MOST_BYTES:
        raise TaskError(f"weights: expected at most {MOST_BYTES:,} bytes, as one ONNX file holds, got {size:,}; make it smaller")


def state_name(export: Export, net: int, part: str) -> str:
    """The input that holds a part of the state, such as `state.read.h`."""
    return f"{export.prefix(net)}state.{part}"


def next_name(export: Export, net: int, part: str) -> str:
    """The output that holds it after the last step, such as `next.read.h`."""
    return f"{export.prefix(net)}next.{part}"


def given_states(spec: Spec) -> tuple[str, ...]:
    """Parts of the state that a caller gives; a block that starts at what another gives has none."""
    starts = {block.name for block in spec.blocks if block.kind == "recurrent" and len(block.inputs) == 2}
    return tuple(name for name in spec.state() if name.partition(".")[0] not in starts)


def _named(ran: Written) -> dict[str, str]:
    return {name: edge.x for name, edge in ran.outputs.items()} | {f"next.{name}": value for name, value in ran.state.items()}


def _net(sheet: Sheet, export: Export, net: int, ports: Mapping[str, Edge]) -> Written:
    names = given_states(export.spec) if export.states else ()
    state = {n: sheet.take_in(state_name(export, net, n), "float32", _state_dims(export.spec, n)) for n in names}
    return write_spec(sheet, export.spec, export.nets[net].weights, export.prefix(net), ports, state)


def _state_dims(spec: Spec, name: str) -> Dims:
    layers, size = spec.state()[name]
    return layers, "batch", size


def _ports(sheet: Sheet, export: Export, before: Mapping[str, str]) -> list[dict[str, Edge]]:
    """The ports of every net; what all of them read stands once."""
    found: list[dict[str, Edge]] = [{} for _ in export.nets]
    for port in export.spec.inputs:
        names = [before.get(port.name, export.port_name(k, port)) for k in range(len(export.nets))]
        for name in dict.fromkeys(names if port.name not in before else ()):
            sheet.take_in(name, "int64" if port.shape in CODED else "float32", _port_dims(export, port))
        for own, name in zip(found, names, strict=True):
            own[port.name] = Edge(name, port.size, port.shape in TIMED)
    known = set[str]()
    for port in export.spec.inputs:
        held = export.lengths_name(port)
        if held is None:
            continue
        if held not in known:
            known.add(sheet.take_in(held, "int64", (_rows(port),)))
        rate = export.timing_of(port).rate
        lengths = held if rate == 1 else sheet.op("Mul", held, sheet.integer(rate))
        for own in found:
            own[port.name] = own[port.name]._replace(lengths=lengths)
    return found


def _rows(port: Port) -> str:
    return f"{port.name}_items" if port.items else "batch"


def _port_dims(export: Export, port: Port) -> Dims:
    if port.shape not in TIMED:
        return _rows(port), port.size
    return _rows(port), _steps(export.timing_of(port)), port.size


def _steps(timing: Timing) -> int | str:
    if timing.fixed:
        return timing.fixed * timing.rate
    return f"{timing.clock}_steps" if timing.rate == 1 else f"{timing.rate}*{timing.clock}_steps"


def output_dims(name: str, edge: Edge) -> Dims:
    """The dimensions of an output of the spec."""
    width = edge.width or f"{name}_keys"
    return ("batch", f"{name}_steps", width) if edge.timed else ("batch", width)


__all__ = ["Export", "Front", "Given", "Head", "Slot", "Timing", "drawn"]
