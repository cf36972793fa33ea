"""A forecaster's front and head for ONNX: raw values in, forecast and intervals in the data's units out; scaling in float64.

The twin of tasks/forecast_windows.py and decode/ for windows that are full: `values` (B, N) are the last N values of each line,
NaN where one is missing. Covariates and the calendar come prepared, as channels in the order that the net reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tidegate.data.lines import FLOOR, Cut, Lines, Scale
from tidegate.data.panel import build_panel
from tidegate.data.table import read_table
from tidegate.decode.quantiles import gaussian_quantile, level_ends, neighbours
from tidegate.errors import TaskError
from tidegate.export.onnx import Arrays, Front, Given, Head
from tidegate.export.onnx_sheet import Sheet
from tidegate.tasks.forecast_net import Plan
from tidegate.tasks.forecast_windows import CLIP, FrontEnd

FLOAT, DOUBLE = 1, 11  # ONNX's numbers of the types
MEAN, MISSING = 2.5, 0.1  # of the golden values; the share that is missing
COVARIATES = ("past_covariates", "future_covariates", "static_covariates")
LEAST_SPREAD = 1e-4  # as tasks.forecast.quantile_grid adds it
Ends = Mapping[float, npt.NDArray[np.float64]]  # level -> (F,) factor of its interval's width


def check_plan(plan: Plan) -> None:
    """Raises: TaskError for a forecaster whose front or head ONNX cannot hold."""
    for name, expected in (("decode", "direct"), ("scaling", "window")):
        if getattr(plan, name) != expected:
            raise TaskError(f"{name}: expected {expected!r}, whose steps ONNX can hold, got {getattr(plan, name)!r}; fit with it")
    if plan.output not in ("quantile", "gaussian", "point"):
        raise TaskError(
            f"output: expected quantile, gaussian or point, got {plan.output!r}, whose quantiles are no functions of ONNX; "
            "fit with output='quantile'"
        )


def history(plan: Plan) -> int:
    """N: values of the past that a forecast reads."""
    return max(plan.lookback, *plan.bases, 1)


def forecast_front(plan: Plan) -> Front:
    """Raw values -> the ports past, future and static, and loc and unit (B, 1) in float64."""

    def write(sheet: Sheet) -> dict[str, str]:
        values = sheet.take_in("values", "float64", ("batch", history(plan)))
        more = {name: _covariates(sheet, plan, name) for name in COVARIATES}
        loc, unit, seen = _window_scale(sheet, _last(sheet, values, plan.lookback))
        z, observed = _scaled(sheet, values, loc, unit, seen)
        past = [sheet.op("Unsqueeze", _last(sheet, x, plan.lookback), sheet.ints(2)) for x in (z, observed)]
        level = _asinh(sheet, sheet.op("Div", _where(sheet, seen, loc, 0.0), unit))
        static = [_cast(sheet, sheet.op("Div", level, sheet.doubles(5.0)), FLOAT), _cast(sheet, seen, FLOAT)]
        return {
            "past": _beside(sheet, past, more["past_covariates"]),
            "future": _beside(sheet, _candidates(sheet, plan, z, observed), more["future_covariates"]),
            "static": _beside(sheet, static, more["static_covariates"]),
            "loc": _where(sheet, seen, loc, np.nan),
            "unit": unit,
            **_no_calendar(sheet, plan, values),
        }

    def golden(rng: np.random.Generator, rows: int) -> Given:
        values = MEAN + rng.normal(size=(rows, history(plan)))  # of deviation 1, so that a difference is one in units of it
        values[rng.random(values.shape) < MISSING] = np.nan
        values[:, -1] = np.where(np.isnan(values[:, -1]), MEAN, values[:, -1])
        if rows > 3:
            values[2] = 7.5  # a constant has a scale too
        bare = replace(
            plan, calendar_columns=(), uneven=False, past_numbers=0, past_levels=(), future_numbers=0, future_levels=(),
            static_numbers=0, static_levels=(), known_lines=0,
        )  # fmt: skip
        lines = Lines(build_panel(read_table(list(values)), target="y", time="time", id="id"))
        windows = FrontEnd(bare, lines).windows(Cut(np.arange(rows), np.full(rows, history(plan))))
        ports = {name: np.asarray(windows.inputs[name]) for name in ("past", "future", "static")}
        feeds: dict[str, npt.NDArray[np.generic]] = {"values": values}
        for name in COVARIATES:
            port = name.partition("_")[0]
            shape = (*ports[port].shape[:-1], _covariate_count(plan, name))
            if shape[-1]:
                feeds[name] = rng.normal(size=shape).astype(np.float32)
                ports[port] = np.concatenate([ports[port], np.asarray(feeds[name], np.float32)], -1)
        for name, steps in _calendars(plan).items():
            if not plan.calendar:
                ports[name] = np.zeros((rows, steps, 0), np.float32)
        return Given(feeds, ports, {"loc": windows.scale.loc, "unit": windows.scale.unit})

    return Front(write, golden)


def forecast_head(plan: Plan, factors: Ends, lower: float | None, expected: Callable[[Sequence[Arrays], Scale], Arrays]) -> Head:
    """`forecast` (B, F) and, of the levels of `factors`, `lo` and `hi` (B, F, L), levels rising.

    Args:  factors: of each interval's width, rising; none for a net that gives a point alone. lower: the smallest possible value,
        or None. expected: the same three by our own arithmetic, from the nets' outputs and the scale.
    """

    def write(sheet: Sheet, nets: Sequence[Mapping[str, str]]) -> None:
        ends = {level: level_ends(level) for level in factors}
        wanted = sorted({0.5, *(p for pair in ends.values() for p in pair)})
        each = [_quantiles(sheet, plan, net, wanted) for net in nets]
        at = {p: _mean(sheet, [own[k] for own in each]) for k, p in enumerate(wanted)}
        bound = [] if lower is None else [sheet.doubles(lower)]
        sheet.give_out("forecast", _most(sheet, at[0.5], *bound), "float64", ("batch", plan.horizon))
        sides: tuple[list[str], list[str]] = ([], [])
        inner = [at[0.5], at[0.5]]
        for level, factor in factors.items():
            for side, (kind, p) in enumerate(zip(("Min", "Max"), ends[level], strict=True)):
                apart = sheet.op("Mul", sheet.op("Sub", at[p], at[0.5]), sheet.doubles(factor))
                inner[side] = sheet.op(kind, sheet.op("Add", at[0.5], apart), inner[side])
                sides[side].append(sheet.op("Unsqueeze", _most(sheet, inner[side], *bound), sheet.ints(2)))
        for name, own in zip(("lo", "hi"), sides, strict=True):
            if own:
                sheet.give_out(name, sheet.op("Concat", *own, also={"axis": 2}), "float64", ("batch", plan.horizon, len(own)))

    def answers(nets: Sequence[Arrays], inputs: Arrays) -> Arrays:
        return expected(nets, Scale(np.asarray(inputs["loc"], np.float64), np.asarray(inputs["unit"], np.float64)))

    return Head(write, answers)


def _quantiles(sheet: Sheet, plan: Plan, net: Mapping[str, str], wanted: Sequence[float]) -> list[str]:
    """(B, F) of each probability, rising, in the data's units: tasks.forecast.quantile_grid."""
    raw, base = (_cast(sheet, _first(sheet, net[name], plan.horizon), DOUBLE) for name in ("raw", "base"))
    centre = sheet.op("Squeeze", base, sheet.ints(2))
    if plan.output == "quantile":
        found = _at_levels(sheet, plan, sheet.op("Add", raw, base), wanted)
    else:
        found = [sheet.op("Add", _channel(sheet, raw, 0), centre)] * len(wanted)
    if plan.output == "gaussian":
        spread = sheet.op("Add", sheet.op("Softplus", _channel(sheet, raw, 1)), sheet.doubles(LEAST_SPREAD))
        z = gaussian_quantile(0.0, 1.0, tuple(wanted)).ravel()
        found = [sheet.op("Add", x, sheet.op("Mul", spread, sheet.doubles(k))) for x, k in zip(found, z.tolist(), strict=True)]
    return [sheet.op("Add", net["loc"], sheet.op("Mul", net["unit"], x)) for x in found]


def _at_levels(sheet: Sheet, plan: Plan, grid: str, wanted: Sequence[float]) -> list[str]:
    """decode.quantiles.at_levels: rows in order, linear between the trained probabilities, a tail beyond them."""
    size = len(plan.quantiles)
    grid, _ = sheet.ops("TopK", 2, grid, sheet.ints(size), also={"axis": -1, "largest": 0, "sorted": 1})
    left, weight = neighbours(np.array(plan.quantiles), np.array(wanted))
    found: list[str] = []
    for k, w in zip(left.tolist(), weight.tolist(), strict=True):
        right = min(k + 1, size - 1)
        parts = [sheet.op("Mul", _channel(sheet, grid, c), sheet.doubles(s)) for c, s in ((k, 1.0 - w), (right, w))]
        found.append(_most(sheet, sheet.op("Add", *parts), *found[-1:]))  # never decreasing in the probability
    return found


def _window_scale(sheet: Sheet, y: str) -> tuple[str, str, str]:
    """loc, unit and whether anything is observed, (B, 1) each, of (B, L): data.lines.window_scale."""
    observed = sheet.op("Not", sheet.op("IsNaN", y))
    filled = _where(sheet, observed, y, 0.0)
    highest = _reduced(sheet, "ReduceMax", sheet.op("Abs", filled))
    peak = _where(sheet, sheet.op("Greater", highest, sheet.doubles(0.0)), highest, 1.0)
    filled, total = sheet.op("Div", filled, peak), _reduced(sheet, "ReduceSum", _cast(sheet, observed, DOUBLE))
    count = sheet.op("Max", total, sheet.doubles(1.0))
    loc = sheet.op("Div", _reduced(sheet, "ReduceSum", filled), count)
    spread = _where(sheet, observed, sheet.op("Sub", filled, loc), 0.0)
    variance = sheet.op("Div", _reduced(sheet, "ReduceSum", sheet.op("Mul", spread, spread)), count)
    unit = sheet.op("Max", sheet.op("Sqrt", variance), sheet.doubles(FLOOR))
    seen = sheet.op("Greater", total, sheet.doubles(0.0))
    return sheet.op("Mul", loc, peak), sheet.op("Mul", unit, peak), seen


def _scaled(sheet: Sheet, y: str, loc: str, unit: str, seen: str) -> tuple[str, str]:
    """z (B, N) with 0 for missing, and the mask, in float32."""
    observed = sheet.op("And", sheet.op("Not", sheet.op("IsNaN", y)), seen)
    z = sheet.op("Div", _where(sheet, observed, sheet.op("Sub", y, loc), 0.0), unit)
    z = sheet.op("Max", sheet.op("Min", z, sheet.doubles(CLIP)), sheet.doubles(-CLIP))
    return _cast(sheet, z, FLOAT), _cast(sheet, observed, FLOAT)


def _candidates(sheet: Sheet, plan: Plan, z: str, observed: str) -> list[str]:
    """(B, rows, 1) each: the naive candidates of every step of the horizon, then their masks."""
    h, end = np.arange(plan.future_segments * plan.segment), history(plan)
    nothing = sheet.op("Mul", _picked(sheet, observed, np.full(len(h), end - 1)), sheet.number(0.0))
    found: tuple[list[str], list[str]] = ([], [])
    for lag in plan.bases:
        at = end + h - (h // max(lag, 1) + 1) * lag
        found[0].append(_picked(sheet, z, at) if lag else nothing)
        found[1].append(_picked(sheet, observed, at) if lag else sheet.op("Add", nothing, sheet.number(1.0)))
    return [sheet.op("Unsqueeze", x, sheet.ints(2)) for own in found for x in own]


def _picked(sheet: Sheet, x: str, at: npt.NDArray[np.int64]) -> str:
    return sheet.op("Gather", x, sheet.ints(*at.tolist()), also={"axis": 1})


def _calendars(plan: Plan) -> dict[str, int]:
    """The ports of the calendar, and their steps."""
    return {"past_calendar": plan.lookback // plan.segment, "future_calendar": plan.future_segments}


def _no_calendar(sheet: Sheet, plan: Plan, values: str) -> dict[str, str]:
    """The ports of the calendar where the net reads none: (B, steps, 0)."""
    if plan.calendar:
        return {}
    batch = sheet.op("Shape", values, also={"start": 0, "end": 1})
    shapes = {n: sheet.op("Concat", batch, sheet.ints(steps, 0), also={"axis": 0}) for n, steps in _calendars(plan).items()}
    return {name: sheet.op("Expand", sheet.number(0.0), shape) for name, shape in shapes.items()}


def _covariate_count(plan: Plan, name: str) -> int:
    """Channels that come prepared."""
    if name == "past_covariates":
        return plan.past_channels - 2
    return plan.future_channels - 2 * len(plan.bases) if name == "future_covariates" else plan.static_channels - 2


def _covariates(sheet: Sheet, plan: Plan, name: str) -> str | None:
    size = _covariate_count(plan, name)
    if not size:
        return None
    if name == "static_covariates":
        return sheet.take_in(name, "float32", ("batch", size))
    steps = plan.lookback if name == "past_covariates" else plan.future_segments * plan.segment
    return sheet.take_in(name, "float32", ("batch", steps, size))


def _beside(sheet: Sheet, parts: list[str], more: str | None) -> str:
    return sheet.op("Concat", *parts, *([] if more is None else [more]), also={"axis": -1})


def _last(sheet: Sheet, x: str, count: int) -> str:
    """(B, N) -> (B, count)."""
    return sheet.op("Slice", x, sheet.ints(-count), sheet.ints(np.iinfo(np.int64).max), sheet.ints(1))


def _first(sheet: Sheet, x: str, count: int) -> str:
    return sheet.op("Slice", x, sheet.ints(0), sheet.ints(count), sheet.ints(1))


def _channel(sheet: Sheet, x: str, channel: int) -> str:
    return sheet.op("Gather", x, sheet.integer(channel), also={"axis": 2})


def _reduced(sheet: Sheet, kind: str, x: str) -> str:
    return sheet.op(kind, x, sheet.ints(1), also={"keepdims": 1})


def _where(sheet: Sheet, chosen: str, x: str, other: float) -> str:
    return sheet.op("Where", chosen, x, sheet.doubles(other))


def _cast(sheet: Sheet, x: str, to: int) -> str:
    return sheet.op("Cast", x, also={"to": to})


def _mean(sheet: Sheet, each: Sequence[str]) -> str:
    return each[0] if len(each) == 1 else sheet.op("Div", sheet.op("Sum", *each), sheet.doubles(float(len(each))))


def _most(sheet: Sheet, *each: str) -> str:
    return each[0] if len(each) == 1 else sheet.op("Max", *each)


def _asinh(sheet: Sheet, x: str) -> str:
    """sign(x) log(|x| + sqrt(x^2 + 1)), of float64, which ONNX Runtime's own Asinh does not take."""
    size = sheet.op("Abs", x)
    root = sheet.op("Sqrt", sheet.op("Add", sheet.op("Mul", size, size), sheet.doubles(1.0)))
    return sheet.op("Mul", sheet.op("Sign", x), sheet.op("Log", sheet.op("Add", size, root)))


__all__ = ["check_plan", "forecast_front", "forecast_head", "history"]
