"""A forecaster's header. In: Deployed, what stands round its net, a name. Out: C99 text that takes a row and gives the new forecast.

NAME_init(&state), NAME_step(&state, row, &answer), NAME_hold for rows with missing values, NAME_clock where the calendar is read,
NAME_selftest(). The C that is the same for all stands in forecast.h.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate.decode.quantiles import gaussian_quantile, level_ends, neighbours
from tidegate.errors import TaskError
from tidegate.export.c.clock import Ticks, ticks
from tidegate.export.c.golden import SELFTEST_LEAST, SELFTEST_TIMES, Golden, golden_rows
from tidegate.export.c.layers import widest
from tidegate.export.c.record import Header
from tidegate.export.c.segments import Sections, sections
from tidegate.export.c.steps import Steps
from tidegate.export.c.text import floats, further, number, shared, strings, whole
from tidegate.export.deployed import Deployed, Followed
from tidegate.tasks.forecast_net import Plan

LARGEST, MOST_INPUT = 3e38, 1e30  # of an answer; of a value, beyond which one is refused
SCALE, WORD = 24, 4  # bytes of a tg_measure, and of a pointer
OUTPUTS = ("quantile", "gaussian", "point")
MOST_QUANTILES = 256  # their places are a byte each


@final
@dataclass(frozen=True)
class Head:
    """How a row of the net's answers becomes numbers: constants, and the bytes of their tables."""

    wanted: tuple[float, ...]  # probabilities, rising, the median in the middle
    tables: dict[str, npt.NDArray[np.floating]]
    left: npt.NDArray[np.intp]  # of a grid of quantiles
    corrected: bool
    growth: float  # an answer is at most so many times what the net gives

    @property
    def middle(self) -> int:
        """Where the median stands."""
        return len(self.wanted) // 2

    @property
    def flash(self) -> int:
        """Bytes."""
        return 4 * sum(table.size for table in self.tables.values()) + self.left.size


def check_plan(plan: Plan) -> None:
    """Raises: TaskError for a forecaster that no header holds, with what to fit instead."""
    if plan.decode != "direct":
        raise TaskError("the recursive net draws sample paths anew at every step; fit with decode='direct' (--decode direct)")
    if plan.uneven:
        raise TaskError("uneven time stamps: a device's rows come one clock step apart; fit with uneven=False (--no-uneven)")
    covariates = (plan.past_numbers, plan.future_numbers, plan.static_numbers)
    if any(covariates) or plan.past_levels or plan.future_levels or plan.static_levels:
        raise TaskError("the model reads covariates, a device's rows are targets alone; fit without past, future and static")
    if plan.output not in OUTPUTS:
        raise TaskError(
            f"output: expected {', '.join(OUTPUTS)}, got {plan.output!r}, whose quantiles a device does not compute; fit with "
            "output='quantile' (--output quantile)"
        )
    if len(plan.quantiles) > MOST_QUANTILES:
        raise TaskError(f"quantiles: expected at most {MOST_QUANTILES}, got {len(plan.quantiles)}; fit with fewer")


def forecast_header(net: Deployed, own: Followed, name: str) -> Header:
    """The header of a forecaster. Raises: TaskError that names what is not exported and what to fit instead."""
    made = Forecaster.of(net, own, name)
    vectors = golden_rows(net.net, len(own.targets), made.reach + own.plan.segment, own.answers)
    header = Header(
        name=name, text="", flash=made.flash, selftest=vectors.flash, ram=made.ram, stack=made.stack, products=made.products,
        vectors=vectors, state={}, outputs=made.outputs, call=f"{name}_golden(&state, t, &answer)",
    )  # fmt: skip
    parts = (
        made.about(net, header), widest(net.net.spec), shared(), further("forecast.h"),
        f"#ifndef TIDEGATE_MODEL_{name}_H\n#define TIDEGATE_MODEL_{name}_H\n",
        made.constants(), *(floats(array, values) for array, values in made.parts.read.arrays.items()), made.tables(),
        made.structs(), made.init(), made.calendar(), made.told(), made.line(), made.step(), made.selftest(vectors), "#endif\n",
    )  # fmt: skip
    return replace(header, text="\n".join(part for part in parts if part))


@final
@dataclass(frozen=True)
class Forecaster:
    """The parts of a forecaster's C. n: what its names begin with."""

    n: str
    own: Followed
    parts: Sections
    head: Head
    ticks: Ticks | None

    @classmethod
    def of(cls, net: Deployed, own: Followed, name: str) -> Forecaster:
        """Raises: TaskError."""
        check_plan(own.plan)
        clock = ticks(own.clock, own.plan.calendar_columns, own.first) if own.plan.calendar else None
        return cls(name, own, sections(name, net.net, own.plan, own.codes), _head(own), clock)

    # ---- sizes

    @property
    def plan(self) -> Plan:
        """What shapes the net."""
        return self.own.plan

    @property
    def moving(self) -> bool:
        """Whether statistics and states are carried, so that a step costs the same whatever the look-back."""
        return self.plan.scaling == "running"

    @property
    def reach(self) -> int:
        """Rows that are kept."""
        return max(self.plan.segment if self.moving else self.plan.lookback, *self.plan.bases)

    @property
    def outputs(self) -> dict[str, int]:
        """Fields of the answer and their numbers."""
        size = len(self.own.targets) * self.plan.horizon
        ends = (f"{side}_{level:g}".replace(".", "_") for level in self.own.factors for side in ("lo", "hi"))
        return dict.fromkeys(["forecast", *ends], size)

    @property
    def flash(self) -> int:
        """Bytes of weights and tables."""
        names = sum(WORD + len(name.encode()) + 1 for name in self.own.targets)
        return self.parts.read.flash + self.head.flash + 4 * len(self.plan.bases) + names

    @property
    def ram(self) -> int:
        """Bytes of a state."""
        states = self.plan.segment * sum(self.parts.read.state.values()) if self.moving else 0
        return len(self.own.targets) * (SCALE + 4 * self.reach + 4 * states) + 8 + (8 if self.ticks else 0)

    @property
    def stack(self) -> int:
        """Bytes of a step's buffers."""
        here = sum(part.stack for part in self.parts.each) + 4 * sum(self.parts.ahead.state.values())
        here += 0 if self.moving else 4 * sum(self.parts.read.state.values())
        own = self._x + self._y + 2 + self.plan.parameters + len(self.head.wanted)
        return here + 4 * own + SCALE

    @property
    def products(self) -> int:
        """Multiply-adds of a step."""
        reads = 1 if self.moving else self.plan.lookback // self.plan.segment
        read, join, ahead = (part.products for part in self.parts.each)
        return len(self.own.targets) * (reads * read + join + self.plan.future_segments * ahead)

    @property
    def most(self) -> float:
        """The largest value that is taken: with it no answer overflows."""
        return min(MOST_INPUT, LARGEST / (1.0 + 2.0 * self.parts.most * self.head.growth))

    @property
    def _x(self) -> int:
        return self.plan.segment * self.plan.past_channels + self.plan.calendar

    @property
    def _y(self) -> int:
        return self.plan.segment * self.plan.future_channels + self.plan.calendar

    # ---- text

    def about(self, net: Deployed, made: Header) -> str:
        """The comment at the top."""
        n, plan = self.n, self.plan
        ends = ", ".join(f"a.{field}" for field in made.outputs if field != "forecast")
        cost = (
            f"O(1): one segment of {plan.segment} rows, whose {plan.segment} phases each carry a state"
            if self.moving
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
            *([f"  {n}_clock(&s, time);             the time of the next row: {self.ticks.asked}"] if self.ticks else []),
            f"  {n}_selftest();                  0, or the number of the first golden step that differs",
            "",
            *textwrap.wrap(
                f"A row holds one value of each target ({n}_targets), in its own units, one clock step after the row before. "
                f"a.forecast[k * {n}_HORIZON + h] is what target k is expected to be h + 1 steps after the row: the "
                f"{'mean' if plan.output == 'point' else 'median'}{f'; {ends} are the ends of its intervals' if ends else ''}. "
                "NaN where nothing of a target was ever seen. A step costs " + cost + ".", 120
            ),
            *([] if self.moving else textwrap.wrap(
                "Where all rows that are read are missing, the scale before them goes on; the model in Python looks for older rows.",
                120,
            )),
            *(textwrap.wrap(
                f"The calendar goes by whole steps of {self.ticks.step} and begins where the training data ended; {n}_clock sets it "
                "after init and wherever rows were left out.", 120
            ) if self.ticks else []),
            "",
            f"Budget: {made.flash:,} bytes of flash for weights and tables, beside the code; {made.ram:,} bytes of RAM a state,",
            f"{4 * sum(made.outputs.values()):,} an answer, and {made.stack:,} bytes of stack in a step (a desktop's vectors round",
            f"these up); {made.products:,} multiply-adds a step. Statistics and the scaling of values are double: without a",
            f"floating-point unit for it that is the compiler's own code. The self-test's vectors are {made.selftest:,} bytes more",
            "where it is called.",
        ]  # fmt: skip
        return "/* " + "\n * ".join(line.rstrip() for line in lines).replace("\n * \n", "\n *\n") + " */\n"

    def constants(self) -> str:
        """Sizes and codes."""
        n, plan = self.n, self.plan
        return (
            f"#define {n}_OK 0\n"
            f"#define {n}_ERROR_NULL (-1)   /* a pointer is NULL */\n"
            f"#define {n}_ERROR_NUMBER (-3) /* NaN, Inf, or a value beyond {self.most:.1e} */\n"
            f"#define {n}_TARGETS {len(self.own.targets)}\n#define {n}_INPUTS {n}_TARGETS\n"
            f"#define {n}_HORIZON {plan.horizon}\n"
            + "".join(f"#define {n}_SIZE_{field.upper()} {size}\n" for field, size in self.outputs.items())
        )

    def tables(self) -> str:
        """What stands behind the net, the lags of the candidates, and the targets' names."""
        n = self.n
        found = [whole("int32_t", f"{n}_lags", self.plan.bases), strings(f"{n}_targets", self.own.targets)]
        found += [whole("uint8_t", f"{n}_left", self.head.left.tolist())] if self.head.left.size else []
        return "".join([*found, *(floats(f"{n}_{key}", values) for key, values in self.head.tables.items())])

    def structs(self) -> str:
        """What a segment of history leaves behind, what the horizon's reader carries, the state and the answer."""
        n, k = self.n, f"{self.n}_TARGETS"
        fields = [f"  tg_measure scale[{k}];", "  int64_t time; /* of the next row */" if self.ticks else ""]
        fields += [f"  float rows[{k}][{self.reach}]; /* a ring, the newest at `at` */"]
        fields += [f"  {n}_read carried[{self.plan.segment}][{k}];" if self.moving else ""]
        fields += ["  int32_t at;", "  int32_t phase;" if self.moving else "  int32_t count; /* rows so far */"]
        return (
            _struct(f"{n}_read", _fields(self.parts.read))
            + _struct(f"{n}_ahead", _fields(self.parts.ahead))
            + _struct(f"{n}_state", [field for field in fields if field])
            + _struct(f"{n}_answer", [f"  float {field}[{size}];" for field, size in self.outputs.items()])
        )

    def init(self) -> str:
        """No history; the clock where the training data ended."""
        n, size = self.n, self.plan.segment
        unit = "0.0" if self.moving else "1.0"
        lines = [
            f"static TG_UNUSED int {n}_init({n}_state *s) {{", "  int k, i;", f"  if (!s) return {n}_ERROR_NULL;",
            f"  for (k = 0; k < {n}_TARGETS; ++k) {{",
            f"    s->scale[k].loc = 0.0, s->scale[k].unit = {unit}, s->scale[k].count = 0;",
            f"    for (i = 0; i < {self.reach}; ++i) s->rows[k][i] = tg_missing();",
        ]  # fmt: skip
        if self.moving:
            zeros = _zeros(self.parts.read, "s->carried[i][k].")
            lines += [f"    for (i = 0; i < {size}; ++i) {{", *(f"      {line}" for line in zeros), "    }"]
        lines += ["  }", "  s->at = 0;", "  s->phase = 0;" if self.moving else "  s->count = 0;"]
        lines += [f"  s->time = {self.ticks.first};"] if self.ticks else []
        return "\n".join([*lines, f"  return {n}_OK;", "}\n"])

    def calendar(self) -> str:
        """The clock, and its features."""
        n, own = self.n, self.ticks
        if own is None:
            return ""
        year = "  int32_t part, parts;\n" if "&parts" in own.features else "  int32_t part;\n"
        return (
            f"/* The time of the next row: {own.asked}. */\n"
            f"static TG_UNUSED int {n}_clock({n}_state *s, int64_t time) {{\n  if (!s) return {n}_ERROR_NULL;\n"
            f"  s->time = {own.taken};\n  return {n}_OK;\n}}\n"
            f"/* Sines and cosines of the calendar at t. */\nstatic TG_UNUSED void {n}_calendar(float *c, int64_t t) {{\n"
            f"  float sine, cosine;\n{year}{own.features}}}\n"
        )

    def told(self) -> str:
        """One step of the horizon: from the net's numbers to the answer's."""
        n, plan, head = self.n, self.plan, self.head
        count, middle, horizon = len(head.wanted), head.middle, plan.horizon
        lower = "-1e300" if self.own.lower is None else repr(float(self.own.lower))
        lines = [
            f"static TG_UNUSED void {n}_told({n}_answer *a, int k, int h, const float *raw, float base, const tg_measure *scale) {{",
            f"  const int place = k * {n}_HORIZON + h;", f"  float v[{count}];", *_quantiles(n, plan, head),
            f"  a->forecast[place] = tg_unscaled(v[{middle}], scale, {lower});",
        ]  # fmt: skip
        lines += [f"  float lo = v[{middle}], hi = v[{middle}], end;"] if self.own.factors else []
        for level, field in enumerate(f"{level:g}".replace(".", "_") for level in self.own.factors):
            for side, place, sign in (("lo", middle - 1 - level, "<"), ("hi", middle + 1 + level, ">")):
                factor = f"{n}_factors[{level * horizon} + h] * " if head.corrected else ""
                lines.append(f"  end = v[{middle}] + {factor}(v[{place}] - v[{middle}]);")
                lines.append(f"  {side} = end {sign} {side} ? end : {side};")
                lines.append(f"  a->{side}_{field}[place] = tg_unscaled({side}, scale, {lower});")
        return "\n".join([*lines, "}\n"])

    def line(self) -> str:
        """The forecast of one target: its scale, its past, its horizon."""
        n, plan, parts = self.n, self.plan, self.parts
        ring = f"ring, {self.reach}, at"
        reads = [f"tg_segment(x, {ring}, {'0' if self.moving else f'i * {plan.segment}'}, {plan.segment}, &scale);"]
        if self.ticks:
            back = f"{plan.segment}" if self.moving else f"(i + 1) * {plan.segment}"
            reads.append(
                f"{n}_calendar(x + {plan.segment * plan.past_channels}, state->time - (int64_t)({back}) * {self.ticks.step});"
            )
        reads += parts.read.lines
        ahead = [
            f"for (i = 0; i < {plan.segment}; ++i)",
            f"  tg_candidates(y + i * {plan.future_channels}, {ring}, {n}_lags, {len(plan.bases)}, j * {plan.segment} + i, &scale);",
        ]
        if self.ticks:
            where = f"y + {plan.segment * plan.future_channels}"
            ahead.append(f"{n}_calendar({where}, state->time + (int64_t)(j * {plan.segment}) * {self.ticks.step});")
        raw, base = parts.raw, parts.base
        ahead += [
            *parts.ahead.lines,
            f"for (i = 0; i < {plan.segment} && j * {plan.segment} + i < {n}_HORIZON; ++i)",
            f"  {n}_told(a, k, j * {plan.segment} + i, {raw.at} + i * {raw.apart}, {base.at}[i * {base.apart}], &scale);",
        ]
        if self.moving:
            begin = [f"{n}_read *const s = &state->carried[state->phase][k];"]
            reading = reads
        else:
            begin = [f"{n}_read before, *const s = &before;"]
            reading = [
                *_zeros(parts.read, "s->"),
                f"for (i = (int)(state->count + {plan.segment - 1}) / {plan.segment}; i-- > 0;) {{",
                *(f"  {text}" for text in reads), "}",
            ]  # fmt: skip
        own = "tg_running(&state->scale[k])" if self.moving else "state->scale[k]"
        window = [] if self.moving else [f"  tg_window(&state->scale[k], {ring}, {plan.lookback});"]
        return "\n".join([
            f"static TG_UNUSED void {n}_line({n}_state *state, int k, {n}_answer *a) {{",
            "  const float *const ring = state->rows[k];", "  const int at = (int)state->at;", "  tg_measure scale;",
            "  float level[2 + TG_LANES];", *_buffers(parts.join, "  "), "  int i, j;", *window, f"  scale = {own};",
            "  level[0] = scale.count ? tg_level(scale.loc / scale.unit) : 0.0f;", "  level[1] = scale.count ? 1.0f : 0.0f;",
            "  {", *(f"    {text}" for text in begin), f"    float x[{self._x} + TG_LANES];", *_buffers(parts.read, "    "),
            *(f"    {text}" for text in (*reading, *parts.join.lines)), "  }",
            "  {", f"    {n}_ahead next, *const s = &next;", f"    float y[{self._y} + TG_LANES];", *_buffers(parts.ahead, "    "),
            *(f"    {text}" for text in _zeros(parts.ahead, "s->")), f"    for (j = 0; j < {plan.future_segments}; ++j) {{",
            *(f"      {text}" for text in ahead), "    }", "  }", "}\n",
        ])  # fmt: skip

    def step(self) -> str:
        """Checks, the row, one forecast a target."""
        n, size = self.n, self.plan.segment
        turn = (
            f"s->phase = s->phase + 1 < {size} ? s->phase + 1 : 0;"
            if self.moving
            else f"if (s->count < {self.plan.lookback}) ++s->count;"
        )
        follow = [f"    if (seen) tg_follow(&s->scale[k], (double)x[k], {self.plan.lookback});"] if self.moving else []
        return "\n".join([
            f"static TG_UNUSED int {n}_take({n}_state *s, const float *x, int hold, {n}_answer *a) {{",
            "  int k;", f"  if (!s || !x || !a) return {n}_ERROR_NULL;", f"  for (k = 0; k < {n}_TARGETS; ++k)",
            f"    if (!tg_within(x + k, {number(self.most)}, 1) && !(hold && !tg_within(x + k, TG_FINITE, 1)))",
            f"      return {n}_ERROR_NUMBER;",
            f"  s->at = s->at + 1 < {self.reach} ? s->at + 1 : 0;", f"  {turn}",
            *([f"  s->time += {self.ticks.step};"] if self.ticks else []),
            f"  for (k = 0; k < {n}_TARGETS; ++k) {{", "    const int seen = tg_within(x + k, TG_FINITE, 1);",
            "    s->rows[k][s->at] = seen ? x[k] : tg_missing();", *follow, "  }",
            f"  for (k = 0; k < {n}_TARGETS; ++k) {n}_line(s, k, a);", f"  return {n}_OK;", "}",
            *(f"static TG_UNUSED int {n}_{name}({n}_state *s, const float *x, {n}_answer *a) {{ return {n}_take(s, x, {hold}, a); }}"
              for name, hold in (("step", 0), ("hold", 1))), "",
        ])  # fmt: skip

    def selftest(self, vectors: Golden) -> str:
        """Golden rows; the answer is compared after some of them."""
        n, count = self.n, len(vectors.at)
        allowed = number(max(SELFTEST_LEAST, SELFTEST_TIMES * vectors.drift))
        missing = np.where(np.isnan(vectors.inputs), np.float32(LARGEST * 1.1), vectors.inputs)
        tests, start = [], 0
        for field, size in self.outputs.items():
            at = f"{n}_golden_y + t * {sum(self.outputs.values())} + {start}"
            tests.append(f"    if (!tg_near(a.{field}, {at}, {allowed}, {size})) return t + 1;")
            start += size
        return (
            floats(f"{n}_golden_x", missing) + floats(f"{n}_golden_y", vectors.outputs)
            + whole("int16_t", f"{n}_golden_at", vectors.at)
            + "/* The rows up to the one of golden step t, from the one after the step before. */\n"
            f"static TG_UNUSED int {n}_golden({n}_state *s, int t, {n}_answer *a) {{\n"
            f"  int row = t ? {n}_golden_at[t - 1] + 1 : 0, k, status;\n  float x[{n}_TARGETS];\n"
            f"  for (; row <= {n}_golden_at[t]; ++row) {{\n    for (k = 0; k < {n}_TARGETS; ++k) {{\n"
            f"      const float value = {n}_golden_x[row * {n}_TARGETS + k];\n"
            f"      x[k] = value > {number(LARGEST)} ? tg_missing() : value;\n    }}\n"
            f"    status = {n}_hold(s, x, a);\n    if (status) return status;\n  }}\n  return {n}_OK;\n}}\n"
            "/* 0, or the number of the first golden step that differs. */\n"
            f"static TG_UNUSED int {n}_selftest(void) {{\n  {n}_state s;\n  {n}_answer a;\n  int t;\n  {n}_init(&s);\n"
            f"  for (t = 0; t < {count}; ++t) {{\n    if ({n}_golden(&s, t, &a)) return t + 1;\n" + "\n".join(tests)
            + "\n  }\n  return 0;\n}\n"
        )  # fmt: skip


def _head(own: Followed) -> Head:
    """Which quantiles the ends of the levels are, and where they stand in the trained grid."""
    plan = own.plan
    ends = [level_ends(level) for level in own.factors]
    wanted = tuple(sorted({0.5, *(p for pair in ends for p in pair)}))
    tables: dict[str, npt.NDArray[np.floating]] = {}
    left, growth = np.zeros(0, np.intp), 1.0
    if plan.output == "quantile":
        left, tables["weight"] = neighbours(np.array(plan.quantiles), np.array(wanted))
        growth += 2.0 * float(np.abs(tables["weight"]).max())
    elif plan.output == "gaussian":
        tables["z"] = gaussian_quantile(0.0, 1.0, wanted).ravel()
        growth += float(np.abs(tables["z"]).max())
    factors = np.stack([*own.factors.values()]) if own.factors else np.ones((0, plan.horizon))
    corrected = bool((factors != 1.0).any())
    if corrected:
        tables["factors"] = factors
    return Head(wanted, tables, left, corrected, growth * (1.0 + 2.0 * float(np.abs(factors).max(initial=1.0))))


def _quantiles(n: str, plan: Plan, head: Head) -> list[str]:
    """Statements that put the wanted quantiles into v, in units of the scale."""
    count = len(head.wanted)
    if plan.output == "point":
        return ["  v[0] = raw[0] + base;"]
    if plan.output == "gaussian":
        spread = "const float centre = raw[0] + base, spread = tg_softplus(raw[1]) + 1e-4f;"
        return ["  int i;", f"  {spread}", f"  for (i = 0; i < {count}; ++i) v[i] = centre + spread * {n}_z[i];"]
    size = plan.parameters
    return [
        f"  float q[{size}];", "  int i;", f"  for (i = 0; i < {size}; ++i) q[i] = raw[i] + base;",
        f"  tg_sort(q, {size});", f"  tg_levels(v, q, {size}, {n}_left, {n}_weight, {count});",
    ]  # fmt: skip


def _struct(name: str, fields: list[str]) -> str:
    return "typedef struct {\n" + "\n".join(fields or ["  float nothing;"]) + f"\n}} {name};\n\n"


def _fields(part: Steps) -> list[str]:
    return [f"  float {field}[TG_PADDED({size})];" for field, size in part.state.items()]


def _zeros(part: Steps, where: str) -> list[str]:
    return [f"tg_zero({where}{field}, TG_PADDED({size}));" for field, size in part.state.items()]


def _buffers(part: Steps, indent: str) -> list[str]:
    return [f"{indent}float {name}[{size} + TG_LANES] TG_ALIGNED;" for name, size in part.buffers.items()]
