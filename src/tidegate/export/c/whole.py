"""An int8 net as a C99 header: whole numbers alone, the same as the model's, step by step. In: Deployed, a name. Out: Header.

`whole.h` is the C that every such header shares, `fixed.h` the cells as they stand in csrc; both are pasted in whole. Golden
vectors are whole numbers too, and every one must be the same.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace
from importlib.resources import files

import numpy as np

from tidegate.errors import TaskError
from tidegate.export.c import tables
from tidegate.export.c.golden import Golden, golden_whole, most_codes
from tidegate.export.c.record import Header, field_of
from tidegate.export.c.text import number, whole
from tidegate.export.c.whole_steps import Spot, Whole, translated
from tidegate.export.deployed import Deployed
from tidegate.runtime.int8 import MOST_READ, UNITS


def whole_header(net: Deployed, name: str) -> Header:
    """The header of an int8 net. Raises: TaskError that names what is not done in whole numbers, and what to do instead."""
    if net.net.int8 is None or net.followed is not None:
        raise TaskError("a forecaster in 8 bits is not exported, since its scaling is of floats; export the float32 model")
    made = translated(net, name)
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
        f"#define {n}_TEMPERATURE {number(net.temperature)} /* of the softmax that makes probabilities */"
        if net.task == "classify"
        else "",
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
