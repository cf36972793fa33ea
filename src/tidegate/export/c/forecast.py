"""A forecaster's header. In: Deployed, what stands round its net, a name. Out: C99 text: a row in, the new forecast out.

NAME_init(&state), NAME_step(&state, row, &answer), NAME_hold for rows with missing values, NAME_clock where the calendar is read,
NAME_selftest(). The C that is the same for all stands in forecast.h.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace

import numpy as np

from tidegate.export.c.forecast_parts import LARGEST, Parts
from tidegate.export.c.golden import SELFTEST_LEAST, SELFTEST_TIMES, Golden, golden_rows
from tidegate.export.c.layers import widest
from tidegate.export.c.record import Header
from tidegate.export.c.steps import Steps
from tidegate.export.c.text import doubles, floats, further, number, shared, strings, whole
from tidegate.export.deployed import Deployed, Followed

FARTHEST = 1_000_000_000_000  # seconds, days or months that a clock takes, either way: no step leads from there beyond 64 bits


def forecast_header(net: Deployed, own: Followed, name: str) -> Header:
    """The header of a forecaster. Raises: TaskError that names what is not exported and what to fit instead."""
    made = Parts.of(net, own, name)
    vectors = golden_rows(net.net, len(own.targets), made.reach + own.plan.segment, own.answers)
    header = Header(
        name=name, text="", flash=made.flash, selftest=vectors.flash, ram=made.ram, stack=made.stack, products=made.products,
        vectors=vectors, state={}, outputs=made.outputs, call=f"{name}_golden(&state, t, &answer)",
    )  # fmt: skip
    parts = (
        _about(made, net, header), widest(net.net.spec), shared(), further("forecast.h"),
        f"#ifndef TIDEGATE_MODEL_{name}_H\n#define TIDEGATE_MODEL_{name}_H\n",
        _constants(made), *(floats(array, values) for array, values in made.net.read.arrays.items()), _tables(made),
        _structs(made), _init(made), _calendar(made), _told(made), _line(made), _step(made), _selftest(made, vectors), "#endif\n",
    )  # fmt: skip
    return replace(header, text="\n".join(part for part in parts if part))


def _about(f: Parts, net: Deployed, made: Header) -> str:
    """The comment at the top."""
    n, plan = f.n, f.plan
    ends = ", ".join(f"a.{field}" for field in made.outputs if field != "forecast")
    cost = (
        f"O(1): one segment of {plan.segment} rows, whose {plan.segment} phases each carry a state"
        if f.moving
        else f"O(look-back): the last {plan.lookback} rows are read at every step"
    )
    lines = [
        *textwrap.wrap(net.about.replace("*/", "* /"), 120),
        "C99 and C++17; no allocation, no libc but memcpy. Weights and net are float, statistics double.",
        "",
        f"  {n}_state s;  {n}_answer a;  float row[{n}_TARGETS];",
        f"  {n}_init(&s);                    no history yet; call it once",
        f"  {n}_step(&s, row, &a);           0, or a negative code with s and a untouched",
        f"  {n}_hold(&s, row, &a);           the same, but NaN and Inf are missing values: the time of the row passes",
        *([f"  {n}_clock(&s, time);             the time of the next row: {f.ticks.asked}"] if f.ticks else []),
        f"  {n}_selftest();                  0, or the number of the first golden step that differs",
        "",
        *textwrap.wrap(
            f"A row holds one value of each target ({n}_targets), in its own units, one clock step after the row before. "
            f"a.forecast[k * {n}_HORIZON + h] is what target k is expected to be h + 1 steps after the row: the "
            f"{'mean' if plan.output == 'point' else 'median'}{f'; {ends} are the ends of its intervals' if ends else ''}. "
            "NaN where nothing of a target was ever seen. A step costs " + cost + ".", 120
        ),
        *([] if f.moving else textwrap.wrap(
            "Where all rows that are read are missing, the scale before them goes on; the model in Python looks for older rows.",
            120,
        )),
        *(textwrap.wrap(
            f"The calendar goes by whole steps of {f.ticks.step} and begins where the training data ended; {n}_clock sets it "
            "after init and wherever rows were left out.", 120
        ) if f.ticks else []),
        "",
        *textwrap.wrap(
            f"Budget: {made.flash:,} bytes of flash for weights and tables, beside the code; {made.ram:,} bytes of RAM a state, "
            f"{4 * sum(made.outputs.values()):,} an answer, {made.stack:,} of stack in a step (vectors round these up); "
            f"{made.products:,} multiply-adds a step. Statistics and the scaling of values are double, which on a processor "
            "without doubles is the compiler's own code. The self-test's vectors are "
            f"{made.selftest:,} bytes more where it is called.", 120
        ),
    ]  # fmt: skip
    return "/* " + "\n * ".join(line.rstrip() for line in lines).replace("\n * \n", "\n *\n") + " */\n"


def _constants(f: Parts) -> str:
    """Sizes and codes."""
    n, plan = f.n, f.plan
    return (
        f"#define {n}_OK 0\n"
        f"#define {n}_ERROR_NULL (-1)   /* a pointer is NULL */\n"
        f"#define {n}_ERROR_NUMBER (-3) /* NaN, Inf, or a value beyond {f.most:.1e} */\n"
        + (f"#define {n}_ERROR_TIME (-5)   /* a time beyond any calendar */\n" if f.ticks else "")
        + f"#define {n}_TARGETS {len(f.own.targets)}\n#define {n}_INPUTS {n}_TARGETS\n"
        f"#define {n}_HORIZON {plan.horizon}\n"
        + "".join(f"#define {n}_SIZE_{field.upper()} {size}\n" for field, size in f.outputs.items())
    )


def _tables(f: Parts) -> str:
    """What stands behind the net, the lags of the candidates, and the targets' names."""
    n = f.n
    found = [whole("int32_t", f"{n}_lags", f.plan.bases), strings(f"{n}_targets", f.own.targets)]
    found += [whole("uint8_t", f"{n}_left", f.head.left.tolist())] if f.head.left.size else []
    found += [(doubles if key == "series" else floats)(f"{n}_{key}", values) for key, values in f.head.tables.items()]
    return "".join(found)


def _structs(f: Parts) -> str:
    """What a segment of history leaves behind, what the horizon's reader carries, the state and the answer."""
    n, k = f.n, f"{f.n}_TARGETS"
    fields = [f"  tg_measure scale[{k}];", "  int64_t time; /* of the next row */" if f.ticks else ""]
    fields += [f"  float rows[{k}][{f.reach}]; /* a ring, the newest at `at` */"]
    fields += [f"  {n}_read carried[{f.plan.segment}][{k}];" if f.moving else ""]
    fields += ["  int32_t at;", "  int32_t phase;" if f.moving else "  int32_t count; /* rows so far */"]
    return (
        _struct(f"{n}_read", _fields(f.net.read))
        + _struct(f"{n}_ahead", _fields(f.net.ahead))
        + _struct(f"{n}_state", [field for field in fields if field])
        + _struct(f"{n}_answer", [f"  float {field}[{size}];" for field, size in f.outputs.items()])
    )


def _init(f: Parts) -> str:
    """No history; the clock where the training data ended."""
    n, size = f.n, f.plan.segment
    unit = "0.0" if f.moving else "1.0"
    lines = [
        f"static TG_UNUSED int {n}_init({n}_state *s) {{", "  int k, i;", f"  if (!s) return {n}_ERROR_NULL;",
        f"  for (k = 0; k < {n}_TARGETS; ++k) {{",
        f"    s->scale[k].loc = 0.0, s->scale[k].unit = {unit}, s->scale[k].count = 0;",
        f"    for (i = 0; i < {f.reach}; ++i) s->rows[k][i] = tg_missing();",
    ]  # fmt: skip
    if f.moving:
        zeros = _zeros(f.net.read, "s->carried[i][k].")
        lines += [f"    for (i = 0; i < {size}; ++i) {{", *(f"      {line}" for line in zeros), "    }"]
    lines += ["  }", "  s->at = 0;", "  s->phase = 0;" if f.moving else "  s->count = 0;"]
    lines += [f"  s->time = {f.ticks.first};"] if f.ticks else []
    return "\n".join([*lines, f"  return {n}_OK;", "}\n"])


def _calendar(f: Parts) -> str:
    """The clock, and its features."""
    n, own = f.n, f.ticks
    if own is None:
        return ""
    year = "  int32_t part, parts;\n" if "&parts" in own.features else "  int32_t part;\n"
    return (
        f"/* The time of the next row: {own.asked}. */\n"
        f"static TG_UNUSED int {n}_clock({n}_state *s, int64_t time) {{\n  if (!s) return {n}_ERROR_NULL;\n"
        f"  if (time < -{FARTHEST} || time > {FARTHEST}) return {n}_ERROR_TIME;\n"
        f"  s->time = {own.taken};\n  return {n}_OK;\n}}\n"
        f"/* Sines and cosines of the calendar at t. */\nstatic TG_UNUSED void {n}_calendar(float *c, int64_t t) {{\n"
        f"  float sine, cosine;\n{year}{own.features}}}\n"
    )


def _told(f: Parts) -> str:
    """One step of the horizon: from the net's numbers to the answer's."""
    n, plan, head = f.n, f.plan, f.head
    count, middle, horizon = len(head.wanted), head.middle, plan.horizon
    lower = "-1e300" if f.own.lower is None else repr(float(f.own.lower))
    lines = [
        f"static TG_UNUSED void {n}_told({n}_answer *a, int k, int h, float *raw, float base, const tg_measure *scale) {{",
        f"  const int place = k * {n}_HORIZON + h;", f"  float v[{count}];", *_quantiles(f),
        f"  a->forecast[place] = tg_unscaled(v[{middle}], base, scale, {lower});",
    ]  # fmt: skip
    lines += [f"  float lo = v[{middle}], hi = v[{middle}], end;"] if f.own.factors else []
    for level, field in enumerate(f"{level:g}".replace(".", "_") for level in f.own.factors):
        for side, place, sign in (("lo", middle - 1 - level, "<"), ("hi", middle + 1 + level, ">")):
            factor = f"{n}_factors[{level * horizon} + h] * " if head.corrected else ""
            lines.append(f"  end = v[{middle}] + {factor}(v[{place}] - v[{middle}]);")
            lines.append(f"  {side} = end {sign} {side} ? end : {side};")
            lines.append(f"  a->{side}_{field}[place] = tg_unscaled({side}, base, scale, {lower});")
    return "\n".join([*lines, "}\n"])


def _line(f: Parts) -> str:
    """The forecast of one target: its scale, its past, its horizon."""
    n, ring = f.n, f"ring, {f.reach}, at"
    scale = "tg_measure own, *const scale = &own;" if f.moving else "tg_measure *const scale = &state->scale[k];"
    scaled = "tg_running(scale, &state->scale[k]);" if f.moving else f"tg_window(scale, {ring}, {f.plan.lookback});"
    return "\n".join([
        f"static TG_UNUSED void {n}_line({n}_state *state, int k, {n}_answer *a) {{",
        "  const float *const ring = state->rows[k];", "  const int at = (int)state->at;", f"  {scale}",
        "  float level[2 + TG_LANES];", *_buffers(f.net.join), "  int i, j;", f"  {scaled}",
        "  level[0] = scale->count ? tg_level(scale->loc / scale->unit) : 0.0f;", "  level[1] = scale->count ? 1.0f : 0.0f;",
        "  {", *_indented([*_history(f, ring), *f.net.join.lines]), "  }", "  {", *_indented(_horizon(f, ring)), "  }", "}\n",
    ])  # fmt: skip


def _history(f: Parts, ring: str) -> list[str]:
    """Statements that read the past: the segment that ends with the newest row, or every segment of the look-back."""
    n, size = f.n, f.plan.segment
    begin = f"{n}_read *const s = &state->carried[state->phase][k];" if f.moving else f"{n}_read before, *const s = &before;"
    begins = [begin, f"float x[{f.past_width} + TG_LANES];", *_buffers(f.net.read, "")]
    back = "0" if f.moving else f"i * {size}"
    reads = [f"tg_segment(x, {ring}, {back}, {size}, scale);"]
    if f.ticks:
        reads.append(f"{n}_calendar(x + {2 * size}, state->time - (int64_t)({back} + {size}) * {f.ticks.step});")
    reads += f.net.read.lines
    if f.moving:
        return [*begins, *reads]
    first = f"i = (int)(state->count + {size - 1}) / {size}; /* segments, at least one */"
    return [*begins, *_zeros(f.net.read, "s->"), first, "do {", *_indented(["--i;", *reads], "  "), "} while (i > 0);"]


def _horizon(f: Parts, ring: str) -> list[str]:
    """Statements that read the horizon, segment by segment, and tell its steps."""
    n, size, width, net = f.n, f.plan.segment, f.plan.future_channels, f.net
    step = f"j * {size} + i"
    each = [
        f"for (i = 0; i < {size}; ++i)",
        f"  tg_candidates(y + i * {width}, {ring}, {n}_lags, {len(f.plan.bases)}, {step}, scale);",
    ]
    if f.ticks:
        each.append(f"{n}_calendar(y + {size * width}, state->time + (int64_t)(j * {size}) * {f.ticks.step});")
    each += [
        *net.ahead.lines,
        f"for (i = 0; i < {size} && {step} < {n}_HORIZON; ++i)",
        f"  {n}_told(a, k, {step}, {net.raw.at} + i * {net.raw.apart}, {net.base.at}[i], scale);",
    ]
    begins = [f"{n}_ahead next, *const s = &next;", f"float y[{f.future_width} + TG_LANES];", *_buffers(net.ahead, "")]
    loop = f"for (j = 0; j < {f.plan.future_segments}; ++j) {{"
    return [*begins, *_zeros(net.ahead, "s->"), loop, *_indented(each, "  "), "}"]


def _indented(lines: list[str], by: str = "    ") -> list[str]:
    return [line if line.startswith("#") else by + line for line in lines]


def _step(f: Parts) -> str:
    """Checks, the row, one forecast a target."""
    n, size = f.n, f.plan.segment
    turn = (
        f"s->phase = s->phase + 1 < {size} ? s->phase + 1 : 0;" if f.moving else f"if (s->count < {f.plan.lookback}) ++s->count;"
    )
    follow = [f"    if (seen) tg_follow(&s->scale[k], (double)x[k], {f.plan.lookback});"] if f.moving else []
    return "\n".join([
        f"static TG_UNUSED int {n}_take({n}_state *s, const float *x, int hold, {n}_answer *a) {{",
        "  int k;", f"  if (!s || !x || !a) return {n}_ERROR_NULL;", f"  for (k = 0; k < {n}_TARGETS; ++k)",
        f"    if (!tg_within(x + k, {number(f.most)}, 1) && !(hold && !tg_within(x + k, TG_FINITE, 1)))",
        f"      return {n}_ERROR_NUMBER;",
        f"  s->at = s->at + 1 < {f.reach} ? s->at + 1 : 0;", f"  {turn}",
        *([f"  s->time += {f.ticks.step};"] if f.ticks else []),
        f"  for (k = 0; k < {n}_TARGETS; ++k) {{", "    const int seen = tg_within(x + k, TG_FINITE, 1);",
        "    s->rows[k][s->at] = seen ? x[k] : tg_missing();", *follow, "  }",
        f"  for (k = 0; k < {n}_TARGETS; ++k) {n}_line(s, k, a);", f"  return {n}_OK;", "}",
        *(f"static TG_UNUSED int {n}_{name}({n}_state *s, const float *x, {n}_answer *a) {{ return {n}_take(s, x, {hold}, a); }}"
          for name, hold in (("step", 0), ("hold", 1))), "",
    ])  # fmt: skip


def _selftest(f: Parts, vectors: Golden) -> str:
    """Golden rows; the answer is compared after some of them."""
    n, count = f.n, len(vectors.at)
    allowed = number(max(SELFTEST_LEAST, SELFTEST_TIMES * vectors.drift))
    missing = np.where(np.isnan(vectors.inputs), np.float32(LARGEST * 1.1), vectors.inputs)
    tests, start = [], 0
    for field, size in f.outputs.items():
        at = f"{n}_golden_y + t * {sum(f.outputs.values())} + {start}"
        tests.append(f"    if (!tg_near(a.{field}, {at}, {allowed}, {size})) return t + 1;")
        start += size
    return (
        floats(f"{n}_golden_x", missing) + floats(f"{n}_golden_y", vectors.outputs)
        + whole("int16_t", f"{n}_golden_at", vectors.at)
        + "/* The rows up to the one of golden step t, from the one after the step before. */\n"
        f"static TG_UNUSED int {n}_golden({n}_state *s, int t, {n}_answer *a) {{\n"
        f"  int row = t ? {n}_golden_at[t - 1] + 1 : 0, k, status;\n  float x[{n}_TARGETS];\n"
        f"  do {{\n    for (k = 0; k < {n}_TARGETS; ++k) {{\n"
        f"      const float value = {n}_golden_x[row * {n}_TARGETS + k];\n"
        f"      x[k] = value > {number(LARGEST)} ? tg_missing() : value;\n    }}\n"
        f"    status = {n}_hold(s, x, a);\n    if (status) return status;\n"
        f"  }} while (++row <= {n}_golden_at[t]);\n  return {n}_OK;\n}}\n"
        "/* 0, or the number of the first golden step that differs. */\n"
        f"static TG_UNUSED int {n}_selftest(void) {{\n  {n}_state s;\n  {n}_answer a;\n  int t;\n  {n}_init(&s);\n"
        f"  for (t = 0; t < {count}; ++t) {{\n    if ({n}_golden(&s, t, &a)) return t + 1;\n" + "\n".join(tests)
        + "\n  }\n  return 0;\n}\n"
    )  # fmt: skip


def _quantiles(f: Parts) -> list[str]:
    """Statements that put the wanted quantiles into v, in units of the scale, without the candidates' mean."""
    n, plan, count = f.n, f.plan, len(f.head.wanted)
    if plan.output == "point":
        return ["  v[0] = raw[0];"]
    if plan.output == "gaussian":
        spread = "const float spread = tg_softplus(raw[1]) + 1e-4f;"
        return ["  int i;", f"  {spread}", f"  for (i = 0; i < {count}; ++i) v[i] = raw[0] + spread * {n}_z[i];"]
    if plan.output == "student_t":  # t is odd: the ends of a level are as far from its middle
        middle, size = f.head.middle, f.head.tables["series"].shape[1]
        return [
            "  int i;", "  const float spread = tg_softplus(raw[1]) + 1e-4f, freedom = 2.0f + tg_softplus(raw[2]) + 1e-4f;",
            f"  v[{middle}] = raw[0];", f"  for (i = 1; i <= {middle}; ++i) {{",
            f"    const float apart = spread * tg_student({n}_series + (i - 1) * {size}, {size}, freedom);",
            f"    v[{middle} - i] = raw[0] - apart, v[{middle} + i] = raw[0] + apart;", "  }",
        ]  # fmt: skip
    size = plan.parameters
    return [f"  tg_sort(raw, {size});", f"  tg_levels(v, raw, {size}, {n}_left, {n}_weight, {count});"]


def _struct(name: str, fields: list[str]) -> str:
    return "typedef struct {\n" + "\n".join(fields or ["  float nothing;"]) + f"\n}} {name};\n\n"


def _fields(part: Steps) -> list[str]:
    return [f"  float {field}[TG_PADDED({size})];" for field, size in part.state.items()]


def _zeros(part: Steps, where: str) -> list[str]:
    return [f"tg_zero({where}{field}, TG_PADDED({size}));" for field, size in part.state.items()]


def _buffers(part: Steps, indent: str = "  ") -> list[str]:
    return [f"{indent}float {name}[{size} + TG_LANES] TG_ALIGNED;" for name, size in part.buffers.items()]
