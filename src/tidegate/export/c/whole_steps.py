"""An int8 net's blocks as C statements in whole numbers, one step at a time. In: Deployed, a name. Out: Whole, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.errors import TaskError
from tidegate.export.c.record import field_of
from tidegate.export.c.text import whole
from tidegate.export.deployed import Deployed
from tidegate.runtime.int8 import READ, UNITS, NetWeights, layer_parts, linear_parts
from tidegate.spec import TIMED, Block, Crf, Dropout, Embed, Last, Linear, Pool, Recurrent, Spec, weight_name

CURVE_BYTES = 32 * (4 + 4 + 2 + 2)
ROWS_BYTES = 36  # of a tg_rows on a 32-bit device
MOST_DOWN = 10  # bits by which a float32 can be read lower and still be rounded exactly
MOST_MEAN = 32_000  # steps whose sum fits 32 bits
MOST_STEPS = 2_000_000_000
GIVEN = "x"  # what a step takes, where that is numbers
Array = npt.NDArray[np.integer]


class Spot(NamedTuple):
    """Where a block's whole numbers stand: int32 in units of 2^-exponent; an embedding's int8 and steps; the input's int16."""

    at: str
    size: int
    exponent: int
    steps: str = ""


@final
@dataclass
class Whole:
    """One step of an int8 net as C, as it grows."""

    name: str
    spec: Spec
    net: NetWeights
    tables: dict[str, str] = field(default_factory=dict)  # C text by name
    flash: int = CURVE_BYTES
    state: dict[str, int] = field(default_factory=dict)
    pooled: dict[str, int] = field(default_factory=dict)
    buffers: dict[str, int] = field(default_factory=dict)
    reads: dict[str, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    spots: dict[str, Spot] = field(default_factory=dict)
    products: int = 0
    x_exponent: int = 0  # of numbers that a step takes
    longest: int = MOST_STEPS

    def table(self, name: str, kind: str, values: Array) -> str:
        """A table in flash; its name."""
        full = f"{self.name}_w_{name}"
        if full not in self.tables:
            self.tables[full] = whole(kind, full, values.reshape(-1).tolist())
            self.flash += values.size * {"int8_t": 1, "uint8_t": 1, "int32_t": 4}[kind]
        return full

    def rows(self, name: str, fields: Sequence[object]) -> str:
        """A `tg_rows`; its name."""
        full = f"{self.name}_rows_{name}"
        self.tables[full] = f"static const tg_rows {full} TG_UNUSED = {{{', '.join(map(str, fields))}}};\n"
        self.flash += ROWS_BYTES
        return full

    def weight(self, name: str) -> str:
        """A weight's int8; blocks that share it share the table."""
        return self.table(name.replace(".", "_"), "int8_t", self.net.int8(name))

    def read(self, spot: Spot, exponent: int, block: Block) -> str:
        """What a product reads of a spot: where it stands."""
        if spot.at == GIVEN:
            return GIVEN
        self.reads["x_"] = max(self.reads.get("x_", 0), spot.size)
        if spot.steps:
            if exponent != spot.exponent:
                raise TaskError(f"block {block.name!r} reads an embedding in other units than its own; quantize the model again")
            self.lines.append(f"tg_read_vector(x_, {spot.at} + (long)code * {spot.size}, {spot.steps}[code], {spot.size});")
        elif (spot.exponent, exponent) == (UNITS, READ):
            self.lines.append(f"tg_read_states(x_, {spot.at}, {spot.size});")
        else:
            down = spot.exponent - exponent
            if not 1 <= down <= MOST_DOWN:
                raise TaskError(
                    f"block {block.name!r} reads numbers of 2^-{spot.exponent} in units of 2^-{exponent}, which is not done in "
                    "whole numbers; export the float32 model"
                )
            self.lines.append(f"tg_read_sums(x_, {spot.at}, {down}, {spot.size});")
        return "x_"


def translated(net: Deployed, name: str) -> Whole:
    """Every block of an int8 net. Raises: TaskError that names what is not done in whole numbers."""
    assert net.net.int8 is not None
    spec = net.net.spec
    port = spec.inputs[0]
    if len(spec.inputs) != 1 or port.shape not in TIMED or port.items or (port.shape == "tokens" and port.size != 1):
        raise TaskError("expected a net with one input, a sequence or one column of tokens; export the float32 model")
    made = Whole(name, spec, net.net.int8)
    if port.shape == "sequence":
        readers = [block for block in spec.blocks if port.name in block.inputs]
        if len(readers) != 1 or not isinstance(readers[0], Recurrent):
            raise TaskError(f"input {port.name!r}: expected one recurrent block that reads it; export the float32 model")
        made.x_exponent = net.net.int8.exponents[readers[0].name][0]
        made.spots[port.name] = Spot(GIVEN, port.size, made.x_exponent)
    for block in spec.blocks:
        made.spots[block.name] = _translate(made, block, net)
    for output in spec.outputs:
        spot, at = made.spots[output], f"a->{field_of(output)}"
        if spot.steps or spot.at == GIVEN:
            raise TaskError(f"output {output!r} is its input as it came; export the float32 model")
        if spot.at != at:
            made.lines.append(f"tg_copy_whole({at}, {spot.at}, {spot.size});")
    return made


def _translate(made: Whole, block: Block, net: Deployed) -> Spot:
    if isinstance(block, Embed):
        return _embed(made, block)
    source = made.spots[block.inputs[0]]
    if isinstance(block, Recurrent) and not block.bidirectional and len(block.inputs) == 1:
        return _recurrent(made, block, source)
    if isinstance(block, Linear) and block.name in made.net.exponents:
        return _linear(made, block, source)
    if isinstance(block, (Dropout, Last, Crf)):
        return source
    if isinstance(block, Pool) and source.exponent == UNITS and not source.steps:
        return _pool(made, block, source, net)
    what = "is bidirectional and reads the future" if isinstance(block, Recurrent) and block.bidirectional else "has floats in it"
    raise TaskError(
        f"block {block.name!r} ({block.kind}) {what}; an int8 header is made of an embedding, recurrent layers in one direction, "
        "pooling 'last', 'max' or 'mean', and linear layers: train such a net"
    )


def _embed(made: Whole, block: Embed) -> Spot:
    name = weight_name(block, "weight")
    (exponent,) = made.net.exponents[block.name]
    steps = np.rint(made.net.scales[name].astype(np.float64) * 2.0**exponent).astype(np.int64)
    at, by = made.weight(name), made.table(f"{block.name}_steps", "uint8_t", steps)
    return Spot(at, block.embedding_dim, exponent, by)


def _recurrent(made: Whole, block: Recurrent, source: Spot) -> Spot:
    for part in block.state():
        made.state.update({f"{block.name}_{part}{layer}": block.hidden_size for layer in range(block.num_layers)})
    for layer in range(block.num_layers):
        x = made.read(source, made.net.exponents[block.name][layer], block)
        source = _layer(made, block, layer, x)
    return source


def _layer(made: Whole, block: Recurrent, layer: int, x: str) -> Spot:
    n, own, h = block.hidden_size, f"{block.name}{layer}", f"s->{block.name}_h{layer}"
    (part,) = layer_parts(made.net, block, layer)
    w, v = (made.weight(f"{block.name}.weight_{side}_l{layer}") for side in ("ih", "hh"))
    scale, scale_v = (made.table(f"{own}_{side}", "int32_t", p.scale) for side, p in (("x", part.x), ("h", part.h)))
    both, inputs = part.x.bias.astype(np.int64) + part.h.bias, part.x.weight.shape[1]
    bias = np.concatenate([both[: 2 * n], part.x.bias[2 * n :], part.h.bias[2 * n :]]) if block.cell == "gru" else both
    b = made.table(f"{own}_b", "int32_t", bias)
    made.products += part.x.weight.size + part.h.weight.size
    made.buffers["g_"] = max(made.buffers.get("g_", 0), (4 if block.cell == "gru" else len(both) // n) * n)
    made.reads["y_"] = max(made.reads.get("y_", 0), n)
    made.lines += [f"/* {block.name}, layer {layer}: {block.cell}, {inputs} to {n} */", f"tg_read_states(y_, {h}, {n});"]
    if block.cell != "gru":
        rows = made.rows(own, (w, v, scale, scale_v, b, inputs, n, len(both), part.shift))
        c = f", s->{block.name}_c{layer}" if block.cell == "lstm" else ""
        made.lines += [f"tg_sums(g_, &{rows}, {x}, y_);", f"tg_{block.cell}_layer(g_, {h}{c}, {n});"]
        return Spot(h, n, UNITS)
    parts = (  # r and z; the candidate's sum of x; that of h
        (w, v, scale, scale_v, b, inputs, n, 2 * n, part.shift),
        (f"{w} + {2 * n * inputs}", 0, f"{scale} + {2 * n}", 0, f"{b} + {2 * n}", inputs, 0, n, part.shift),
        (0, f"{v} + {2 * n * n}", 0, f"{scale_v} + {2 * n}", f"{b} + {3 * n}", 0, n, n, part.shift),
    )
    for (suffix, start), fields in zip((("", 0), ("_n", 2 * n), ("_u", 3 * n)), parts, strict=True):
        made.lines.append(f"tg_sums(g_{f' + {start}' if start else ''}, &{made.rows(own + suffix, fields)}, {x}, y_);")
    made.lines.append(f"tg_gru_layer(g_, {h}, {n});")
    return Spot(h, n, UNITS)


def _linear(made: Whole, block: Linear, source: Spot) -> Spot:
    parts = linear_parts(made.net, block)
    x = made.read(source, parts.x_exponent, block)
    w, scale = made.weight(weight_name(block, "weight")), made.table(f"{block.name}_m", "int32_t", parts.product.scale)
    b = made.table(f"{block.name}_b", "int32_t", parts.product.bias)
    rows = made.rows(block.name, (w, 0, scale, 0, b, block.input_size, 0, block.output_size, parts.shift))
    at = f"a->{field_of(block.name)}"
    if block.name not in made.spec.outputs:
        at = f"{block.name}_"
        made.buffers[at] = block.output_size
    made.lines.append(f"tg_sums({at}, &{rows}, {x}, {x});")
    made.products += parts.product.weight.size
    return Spot(at, block.output_size, parts.y_exponent)


def _pool(made: Whole, block: Pool, source: Spot, net: Deployed) -> Spot:
    """The running sum or maximum in the state; the answer after each step."""
    held = f"s->{block.name}_pool"
    made.pooled[f"{block.name}_pool"] = source.size
    if block.how == "max":
        made.lines.append(f"tg_most_whole({held}, {source.at}, s->steps == 1, {source.size});")
        return Spot(held, source.size, UNITS)
    made.longest = MOST_MEAN
    if net.longest is not None and net.longest > MOST_MEAN:
        raise TaskError(
            f"block {block.name!r} is a mean of more than {MOST_MEAN:,} steps; train with fewer max_tokens, or pooling 'max'"
        )
    to = made.buffers.setdefault(f"{block.name}_", source.size)
    made.lines += [
        f"tg_add_whole({held}, {source.at}, {source.size});", f"tg_mean_whole({block.name}_, {held}, s->steps, {to});",
    ]  # fmt: skip
    return Spot(f"{block.name}_", source.size, UNITS)
