"""A net's header. In: Deployed, a name. Out: C99 text with weights, state, init, step, self-test and tables, and its budget.

NAME_init(&state), NAME_step(&state, code or x, &answer) and NAME_selftest(); see `_about` for what each returns.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace

import numpy as np

from tidegate.export.c import tables
from tidegate.export.c.blocks import translate
from tidegate.export.c.forecast import forecast_header
from tidegate.export.c.golden import SELFTEST_LEAST, SELFTEST_TIMES, golden, most_codes
from tidegate.export.c.layers import widest
from tidegate.export.c.record import Header, field_of
from tidegate.export.c.steps import Steps
from tidegate.export.c.text import floats, number, shared, whole
from tidegate.export.c.whole import whole_header
from tidegate.export.deployed import Deployed, checked_name
from tidegate.runtime.predictor import Predictor

MOST_STEPS = 2_000_000_000
LARGEST = 3.4e38  # finite
PROBABILITIES = "p"


def header(net: Deployed, name: str) -> Header:
    """The header of a net.

    Raises: TaskError that names what is not exported and what to train instead; ConfigError for the name.
    """
    checked_name(name)
    tables.check(net)
    if net.net.int8 is not None:
        return whole_header(net, name)
    if any(w.dtype != np.float32 for w in net.net.weights.values()):
        weights = {key: np.asarray(value, np.float32) for key, value in net.net.weights.items()}
        net = replace(net, net=Predictor(net.net.spec, weights))
    if net.followed is not None:
        return forecast_header(net, net.followed, name)
    steps, vectors, own = translate(name, net.net), golden(net), tables.tables(net, name)
    given = f"{name}_golden_codes[t]" if coded(net) else f"{name}_golden_x + t * {name}_INPUTS"
    steps.counted = steps.counted or net.longest is not None
    made = Header(
        name=name,
        text="",
        flash=steps.flash + own.flash,
        selftest=vectors.flash,
        ram=steps.ram,
        stack=steps.stack,
        products=steps.products,
        vectors=vectors,
        state=steps.state,
        outputs={field_of(output): steps.places[output].size for output in net.net.spec.outputs} | _further(net),
        call=f"{name}_step(&state, {given}, &answer)",
    )
    parts = (
        _about(net, made), widest(net.net.spec), shared(), f"#ifndef TIDEGATE_MODEL_{name}_H\n#define TIDEGATE_MODEL_{name}_H\n",
        _constants(net, made, steps), *(floats(array, values) for array, values in steps.arrays.items()), own.text,
        _structs(net, made, steps), _init(made, steps), _step(net, made, steps), _selftest(net, made), "#endif\n",
    )  # fmt: skip
    return replace(made, text="\n".join(part for part in parts if part))


def coded(net: Deployed) -> bool:
    """Whether a step takes a code, not numbers."""
    return net.net.spec.inputs[0].shape == "tokens"


def _further(net: Deployed) -> dict[str, int]:
    """Numbers of the answer that are no output of the net."""
    return {PROBABILITIES: len(net.classes)} if net.task == "classify" else {}


def _about(net: Deployed, made: Header) -> str:
    """The comment at the top."""
    n, given = made.name, "code" if coded(net) else "x"
    lines = [
        *textwrap.wrap(net.about.replace("*/", "* /"), 120),
        "C99 and C++17; no allocation, no libc but memcpy.",
        "",
        f"  {n}_state s;  {n}_answer a;",
        f"  {n}_init(&s);                    before each sequence",
        f"  {n}_step(&s, {given}, &a);{' ' * (13 - len(given))}0, or a negative code with s and a untouched",
        f"  {n}_selftest();                  0, or the number of the first golden step that differs",
        "",
        *_reading(net, n),
        f"Budget: {made.flash:,} bytes of flash for weights and tables, beside the code; {made.ram:,} bytes of RAM a state, and",
        f"{made.stack:,} bytes of stack in a step (a desktop's vectors round both up); {made.products:,} multiply-adds a step.",
        f"The self-test's vectors are {made.selftest:,} bytes more where it is called.",
    ]
    return "/* " + "\n * ".join(line.rstrip() for line in lines).replace("\n * \n", "\n *\n") + " */\n"


def _reading(net: Deployed, n: str) -> list[str]:
    """How an input is made and an answer is read."""
    if net.tokenizer is None:
        return []
    what = "letter's code point" if net.tokenizer.units == "char" else "byte"
    first = f"The first code is {n}_START, which stands before a text. " if net.task == "generate" else ""
    answer = (
        f"a.best is the likeliest next code, {n}_text its letters; a.logits are of every code."
        if net.task == "generate"
        else f"After each step a.best is the class of the text so far ({n}_classes), a.p are the probabilities of all."
    )
    return [f"A code is {n}_code_of(a {what}). {first}", answer, ""]


def _constants(net: Deployed, made: Header, steps: Steps) -> str:
    n = made.name
    size = net.net.spec.inputs[0].size
    lines = [
        f"#define {n}_OK 0",
        f"#define {n}_ERROR_NULL (-1)   /* a pointer is NULL */",
        f"#define {n}_ERROR_CODE (-2)   /* the code is none of 0 to {n}_CODES - 1 */" if coded(net) else "",
        f"#define {n}_ERROR_NUMBER (-3) /* {_too_large(net)} */" if steps.guarded or not coded(net) else "",
        f"#define {n}_ERROR_LONG (-4)   /* more steps than the net was trained to read, or than can be counted */"
        if steps.counted
        else "",
        f"#define {n}_CODES {most_codes(net)}" if coded(net) else f"#define {n}_INPUTS {size}",
        *(f"#define {n}_SIZE_{field.upper()} {count}" for field, count in made.outputs.items()),
    ]
    if net.task == "classify":
        lines.append(f"#define {n}_CLASSES {len(net.classes)}")
    if net.task == "generate":
        lines.append(f"#define {n}_START 0")
    if net.longest is not None:
        lines.append(f"#define {n}_LONGEST {net.longest}")
    return "\n".join(line for line in lines if line) + "\n"


def _too_large(net: Deployed) -> str:
    return "the state would overflow" if coded(net) else "x has NaN, Inf, or a number so large that sums could overflow"


def _structs(net: Deployed, made: Header, steps: Steps) -> str:
    n = made.name
    fields = [f"  float {field}[TG_PADDED({size})];" for field, size in (*steps.state.items(), *steps.pooled.items())]
    fields += ["  int32_t steps;"] if steps.counted else []
    answer = [f"  float {output}[{size}];" for output, size in made.outputs.items()]
    best = {"classify": "the likeliest class", "generate": "the likeliest next code that is known"}
    answer = [f"  int best; /* {best[net.task]} */", *answer] if net.task in best else answer
    return (
        "typedef struct {\n" + "\n".join(fields or ["  float nothing;"]) + f"\n}} {n}_state;\n\n"
        "typedef struct {\n" + "\n".join(answer) + f"\n}} {n}_answer;\n"
    )


def _init(made: Header, steps: Steps) -> str:
    n = made.name
    zeros = [f"  tg_zero(s->{field}, TG_PADDED({size}));" for field, size in (*steps.state.items(), *steps.pooled.items())]
    zeros += ["  s->steps = 0;"] if steps.counted else []
    body = "\n".join(zeros or ["  s->nothing = 0.0f;"])
    return f"static TG_UNUSED int {n}_init({n}_state *s) {{\n  if (!s) return {n}_ERROR_NULL;\n{body}\n  return {n}_OK;\n}}\n"


def _step(net: Deployed, made: Header, steps: Steps) -> str:
    """Checks, the net, the answer. A net whose numbers may grow without bound is checked at its end, and its state put back."""
    n = made.name
    argument = "int32_t code" if coded(net) else "const float *x"
    lines = [f"static TG_UNUSED int {n}_step({n}_state *s, {argument}, {n}_answer *a) {{"]
    lines += [f"  float {name}[{size} + TG_LANES] TG_ALIGNED;" for name, size in steps.buffers.items()]
    lines += [f"  {n}_state before;"] if steps.guarded else []
    lines += ["  int k;"] if any("for (k" in line for line in steps.lines) else []
    if coded(net):
        lines.append(f"  if (!s || !a) return {n}_ERROR_NULL;\n  if (code < 0 || code >= {n}_CODES) return {n}_ERROR_CODE;")
    else:
        most = LARGEST if steps.guarded else steps.most
        lines.append(
            f"  if (!s || !x || !a) return {n}_ERROR_NULL;\n"
            f"  if (!tg_within(x, {number(_below(most))}, {n}_INPUTS)) return {n}_ERROR_NUMBER;"
        )
    if steps.counted:
        most_steps = net.longest if net.longest is not None else MOST_STEPS
        lines.append(f"  if (s->steps >= {most_steps}) return {n}_ERROR_LONG;")
    lines += ["  before = *s;"] if steps.guarded else []
    lines += ["  ++s->steps;"] if steps.counted else []
    lines += [line if line.startswith("#") else f"  {line}" for line in steps.lines]
    lines += _checked(net, made, steps) if steps.guarded else []
    lines += _answered(net, made, steps)
    return "\n".join([*lines, f"  return {n}_OK;", "}\n"])


def _below(most: float) -> float:
    """The largest float32 that is no larger."""
    found = np.float32(most)
    return float(found if found <= most else np.nextafter(found, np.float32(0)))


def _checked(net: Deployed, made: Header, steps: Steps) -> list[str]:
    own = [f"tg_within(s->{field}, {number(LARGEST)}, {size})" for field, size in (*steps.state.items(), *steps.pooled.items())]
    places = [steps.places[output] for output in net.net.spec.outputs]
    own += [f"tg_within({place.at}, {number(LARGEST)}, {place.size})" for place in places]
    condition = " || ".join(f"!{call}" for call in own)
    return [f"  if ({condition}) {{", "    *s = before;", f"    return {made.name}_ERROR_NUMBER;", "  }"]


def _answered(net: Deployed, made: Header, steps: Steps) -> list[str]:
    outputs = net.net.spec.outputs
    places = [steps.places[output] for output in outputs]
    lines = [f"  tg_copy(a->{field_of(o)}, {place.at}, {place.size});" for o, place in zip(outputs, places, strict=True)]
    if net.task == "net":
        return lines
    output, at, size = field_of(outputs[0]), places[0].at, places[0].size
    if net.task == "generate":  # as in `generate`, code 0, which training never had as a next one, is not written
        return [*lines, f"  a->best = 1 + tg_best(a->{output} + 1, {size - 1});"]
    return [
        *lines,
        f"  a->best = tg_best(a->{output}, {size});",
        f"  tg_softmax({at}, {at}, {number(net.temperature)}, {size});",
        f"  tg_copy(a->{PROBABILITIES}, {at}, {size});",
    ]


def _selftest(net: Deployed, made: Header) -> str:
    n, vectors, count = made.name, made.vectors, len(made.vectors.outputs)
    allowed = number(max(SELFTEST_LEAST, SELFTEST_TIMES * vectors.drift))
    if coded(net):
        inputs = whole("int16_t" if most_codes(net) <= 32768 else "int32_t", f"{n}_golden_codes", vectors.inputs.tolist())
        given = f"{n}_golden_codes[t]"
    else:
        inputs = floats(f"{n}_golden_x", np.asarray(vectors.inputs, np.float32))
        given = f"{n}_golden_x + t * {n}_INPUTS"
    total = sum(made.outputs.values())
    tests, start = [], 0
    for output, size in made.outputs.items():
        at = f"{n}_golden_y + t * {total}" + (f" + {start}" if start else "")
        tests.append(f"    if (!tg_near(a.{output}, {at}, {allowed}, {size})) return t + 1;")
        start += size
    return (
        inputs + floats(f"{n}_golden_y", vectors.outputs) + "/* 0, or the number of the first golden step that differs. */\n"
        f"static TG_UNUSED int {n}_selftest(void) {{\n  {n}_state s;\n  {n}_answer a;\n  int t;\n  {n}_init(&s);\n"
        f"  for (t = 0; t < {count}; ++t) {{\n    if ({n}_step(&s, {given}, &a)) return t + 1;\n"
        + "\n".join(tests)
        + "\n  }\n  return 0;\n}\n"
    )
