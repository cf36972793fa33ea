"""An int8 net as a C99 header: whole numbers alone, the same as the model's, step by step. In: Deployed, a name. Out: Header.

`whole.h` is the C that every such header shares, `fixed.h` the cells as they stand in csrc; both are pasted in whole. Golden
vectors are whole numbers too, and every one must be the same.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.errors import TaskError
from tidegate.export.c import tables
from tidegate.export.c.golden import Golden, golden_whole, most_codes
from tidegate.export.c.record import Header, field_of
from tidegate.export.c.text import whole
from tidegate.export.deployed import Deployed
from tidegate.runtime.int8 import MOST_READ, READ, UNITS, NetWeights, layer_parts, linear_parts
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


def whole_header(net: Deployed, name: str) -> Header:
    """The header of an int8 net. Raises: TaskError that names what is not done in whole numbers, and what to do instead."""
    if net.net.int8 is None or net.followed is not None:
        raise TaskError("a forecaster in 8 bits is not exported, since its scaling is of floats; export the float32 model")
    made = _translated(net, name)
    counted = bool(made.pooled) or net.longest is not None
    outputs = {field_of(output): made.spots[output] for output in net.net.spec.outputs}
    vectors = _golden(net, outputs, made.x_exponent)
    own = tables.tables(net, name)
    header = Header(
        name=name,
        text="",
        flash=made.flash + own.flash,
        selftest=vectors.flash,
        ram=4 * (sum(made.state.values()) + sum(made.pooled.values()) + counted),
        stack=4 * sum(made.buffers.values()) + 2 * sum(made.reads.values()),
        products=made.products,
        vectors=vectors,
        state=made.state,
        outputs={name: spot.size for name, spot in outputs.items()},
        call=f"{name}_step(&state, {_golden_at(name, made)}, &answer)",
        whole=True,
    )
    parts = (
        _about(net, header), _shared(), f"#ifndef TIDEGATE_MODEL_{name}_H\n#define TIDEGATE_MODEL_{name}_H\n",
        _constants(net, header, outputs, made.x_exponent, counted=counted), *made.tables.values(), own.text,
        _structs(net, made, header, counted=counted),
        _init(made, counted=counted), _step(net, made, header, counted=counted), _selftest(header, made), "#endif\n",
    )  # fmt: skip
    return replace(header, text="\n".join(part for part in parts if part))


def _translated(net: Deployed, name: str) -> Whole:
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


def _golden_at(name: str, made: Whole) -> str:
    """The t-th golden input."""
    numbers = made.spec.inputs[0].shape == "sequence"
    return f"{name}_golden_x + t * {name}_INPUTS" if numbers else f"{name}_golden_codes[t]"


def _golden(net: Deployed, outputs: dict[str, Spot], exponent: int) -> Golden:
    """Golden steps in whole numbers."""
    inputs, said, states = golden_whole(net, exponent)
    units = np.concatenate([np.full(spot.size, 2.0**spot.exponent) for spot in outputs.values()])
    return Golden(
        inputs, np.rint(said * units).astype(np.float32), np.rint(states * 2.0**UNITS).astype(np.float32), rounding=0.0, drift=0.0
    )


def _shared() -> str:
    """whole.h with fixed.h in the place where it is included."""
    folder = files("tidegate.export.c")
    shared, fixed = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("whole.h", "fixed.h"))
    return shared.replace('#include "fixed.h"\n', fixed)


def _about(net: Deployed, made: Header) -> str:
    n = made.name
    given = "x" if net.net.spec.inputs[0].shape == "sequence" else "code"
    lines = [
        *textwrap.wrap(net.about.replace("*/", "* /"), 120),
        "int8. C99 and C++17; whole numbers alone, no allocation, no libc.",
        "",
        f"  {n}_state s;  {n}_answer a;",
        f"  {n}_init(&s);              before each sequence",
        f"  {n}_step(&s, {given}, &a);{' ' * (8 - len(given))}0, or a negative code with s and a untouched",
        f"  {n}_selftest();            0, or the number of the first golden step that differs",
        "",
        *_reading(net, n),
        f"The numbers of a are whole, of 2^-k each, k the {n}_UNIT_* of their name.",
        "",
        f"Budget: {made.flash:,} bytes of flash for weights and tables, beside the code; {made.ram:,} bytes of RAM a state, and",
        f"{made.stack:,} bytes of stack in a step; {made.products:,} multiply-adds a step.",
        f"The self-test's vectors are {made.selftest:,} bytes more where it is called.",
    ]
    return "/* " + "\n * ".join(line.rstrip() for line in lines).replace("\n * \n", "\n *\n") + " */\n"


def _reading(net: Deployed, n: str) -> list[str]:
    """How an input is made and an answer is read."""
    lines = []
    if net.tokenizer is not None:
        what = "byte" if net.tokenizer.units == "byte" else "letter's code point"
        first = f"The first code is {n}_START, which stands before a text. " if net.task == "generate" else ""
        lines.append(f"A code is {n}_code_of(a {what}). {first}")
    if net.net.spec.inputs[0].shape == "sequence":
        lines.append(f"x holds {n}_INPUTS whole numbers of 2^-{n}_UNIT_X each, to the nearest, from -{MOST_READ} to {MOST_READ}.")
    if net.task == "generate":
        lines.append(f"After each step a.best is the likeliest next code, {n}_text its letters.")
    if net.task == "classify":
        lines.append(f"After each step a.best is the class of the sequence so far ({n}_classes).")
    return lines


def _constants(net: Deployed, made: Header, outputs: dict[str, Spot], exponent: int, *, counted: bool) -> str:
    n, coded = made.name, net.net.spec.inputs[0].shape == "tokens"
    lines = [
        f"#define {n}_OK 0",
        f"#define {n}_ERROR_NULL (-1) /* a pointer is NULL */",
        f"#define {n}_ERROR_CODE (-2) /* the code is none of 0 to {n}_CODES - 1 */" if coded else "",
        "" if coded else f"#define {n}_ERROR_NUMBER (-3) /* a number of x is beyond {MOST_READ} */",
        f"#define {n}_ERROR_LONG (-4) /* more steps than the net was trained to read, or than can be counted */"
        if counted
        else "",
        f"#define {n}_CODES {most_codes(net)}" if coded else f"#define {n}_INPUTS {net.net.spec.inputs[0].size}",
        "" if coded else f"#define {n}_UNIT_X {exponent}",
        *(f"#define {n}_SIZE_{name.upper()} {spot.size}" for name, spot in outputs.items()),
        *(f"#define {n}_UNIT_{name.upper()} {spot.exponent}" for name, spot in outputs.items()),
        f"#define {n}_CLASSES {len(net.classes)}" if net.task == "classify" else "",
        f"#define {n}_START 0" if net.task == "generate" else "",
        "" if net.longest is None else f"#define {n}_LONGEST {net.longest}",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _structs(net: Deployed, made: Whole, header: Header, *, counted: bool) -> str:
    fields = [f"  int32_t {name}[{size}];" for name, size in (*made.state.items(), *made.pooled.items())]
    fields += ["  int32_t steps;"] if counted else []
    best = "the likeliest class" if net.task == "classify" else "the likeliest next code that is known"
    answer = [f"  int32_t {name}[{size}];" for name, size in header.outputs.items()]
    answer = answer if net.task == "net" else [f"  int best; /* {best} */", *answer]
    states, answers = "\n".join(fields), "\n".join(answer)
    return f"typedef struct {{\n{states}\n}} {header.name}_state;\n\ntypedef struct {{\n{answers}\n}} {header.name}_answer;\n"


def _init(made: Whole, *, counted: bool) -> str:
    n = made.name
    zeros = [f"  tg_zeros(s->{name}, {size});" for name, size in (*made.state.items(), *made.pooled.items())]
    zeros += ["  s->steps = 0;"] if counted else []
    body = "\n".join(zeros)
    return f"static TG_UNUSED int {n}_init({n}_state *s) {{\n  if (!s) return {n}_ERROR_NULL;\n{body}\n  return {n}_OK;\n}}\n"


def _step(net: Deployed, made: Whole, header: Header, *, counted: bool) -> str:
    n = made.name
    output, size = next(iter(header.outputs.items()))
    coded = made.spec.inputs[0].shape == "tokens"
    lines = [f"static TG_UNUSED int {n}_step({n}_state *s, {'int32_t code' if coded else 'const int16_t *x'}, {n}_answer *a) {{"]
    lines += [f"  int32_t {name}[{size}];" for name, size in made.buffers.items()]
    lines += [f"  int16_t {name}[{size}];" for name, size in made.reads.items()]
    if coded:
        lines.append(f"  if (!s || !a) return {n}_ERROR_NULL;\n  if (code < 0 || code >= {n}_CODES) return {n}_ERROR_CODE;")
    else:
        lines.append(f"  if (!s || !x || !a) return {n}_ERROR_NULL;")
        lines.append(f"  if (!tg_readable(x, {n}_INPUTS)) return {n}_ERROR_NUMBER;")
    if counted:
        longest = made.longest if net.longest is None else net.longest
        lines.append(f"  if (s->steps >= {longest}) return {n}_ERROR_LONG;\n  ++s->steps;")
    lines += [f"  {line}" for line in made.lines]
    if net.task == "generate":  # as in `generate`, code 0, which training never had as a next one, is not written
        lines.append(f"  a->best = 1 + tg_best_whole(a->{output} + 1, {size - 1});")
    elif net.task == "classify":
        lines.append(f"  a->best = tg_best_whole(a->{output}, {size});")
    return "\n".join([*lines, f"  return {n}_OK;", "}\n"])


def _selftest(made: Header, steps: Whole) -> str:
    n, vectors, total = made.name, made.vectors, sum(made.outputs.values())
    small = vectors.inputs.max(initial=0) < 32768
    numbers = vectors.inputs.ndim == 2
    codes = whole(
        "int16_t" if numbers or small else "int32_t",
        f"{n}_golden_{'x' if numbers else 'codes'}",
        vectors.inputs.reshape(-1).tolist(),
    )
    tests, start = [], 0
    for output, size in made.outputs.items():
        at = f"{n}_golden_y + t * {total}" + (f" + {start}" if start else "")
        tests.append(f"    if (!tg_same(a.{output}, {at}, {size})) return t + 1;")
        start += size
    body = "\n".join(tests)
    return (
        codes + whole("int32_t", f"{n}_golden_y", vectors.outputs.astype(np.int64).reshape(-1).tolist())
        + "/* 0, or the number of the first golden step that differs. */\n"
        f"static TG_UNUSED int {n}_selftest(void) {{\n  {n}_state s;\n  {n}_answer a;\n  int t;\n  {n}_init(&s);\n"
        f"  for (t = 0; t < {len(vectors.outputs)}; ++t) {{\n    if ({n}_step(&s, {_golden_at(n, steps)}, &a)) return t + 1;\n"
        f"{body}\n  }}\n  return 0;\n}}\n"
    )  # fmt: skip
