"""The checks of a forecaster's file beyond those of the container. In: its parts as read. Out: nothing, or a FormatError.

Whoever alters a file can compute its digest anew, so nothing of it is trusted: each check makes sure that no later index goes
astray, no size is taken from the file unbounded, and no part contradicts another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import cast, get_args

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.data.panel import Panel
from tidegate.data.schema import Schema
from tidegate.data.series import Covariates
from tidegate.data.table import Kind
from tidegate.data.zones import DAY
from tidegate.errors import FormatError, shown
from tidegate.models.nets_store import BESIDE
from tidegate.spec import Spec
from tidegate.tasks.forecast import ForecastOptions
from tidegate.tasks.forecast_net import Plan

GROUPS = ("past", "future", "static")
FAR = 1 << 53  # positions beyond are no whole numbers as floats
MOST_FACTOR = 1e12  # of an interval's width: a series constant until its held-back rows gives large ones in all honesty
MOST_PATHS = 10_000
MONTH = 30.436875 * DAY
SAME = ("horizon", "decode", "output", "scaling", "uneven", "hidden_size", "num_layers", "dropout", "quantiles")


def fault(where: str, what: str) -> FormatError:
    """The error for a part that is not as this version writes it."""
    return FormatError(f"{where}: {what}; it was altered: save the model again")


def check_options(options: ForecastOptions, plan: Plan, where: str) -> None:
    """The options that a plan takes over are those of the plan."""
    wrong = [name for name in SAME if getattr(options, name) != getattr(plan, name)]
    cell = "rnn_tanh" if options.cell == "rnn" else options.cell
    lookback = None if options.lookback is None else -(-options.lookback // plan.segment) * plan.segment
    pairs: dict[str, tuple[object, object]] = {
        "cell": (cell, plan.cell),
        "season": (options.season, plan.season),
        "segment": (options.segment, plan.segment),
        "lookback": (lookback, plan.lookback),
        "lags": (None if options.lags is None else (0, *sorted(set(options.lags))), plan.bases),
        "identity": (options.identity, plan.known_lines > 0),
    }
    wrong += [name for name, (said, taken) in pairs.items() if said is not None and said != taken]
    if plan.calendar_columns and not options.calendar:
        wrong.append("calendar")
    if wrong:
        raise fault(where, f"its options and its plan differ in {', '.join(wrong)}")


def check_names(names: Iterable[str], spec: Spec, members: int, plan: Plan, schema: Schema, corrected: bool, where: str) -> None:
    """The file holds exactly the arrays that the model is made of."""
    wanted = {f"net{i}.{name}" for i in range(members) for name in spec.parameters()}
    wanted |= {f"data.{name}" for name in ("target", "offsets", "starts", "future_rows")}
    wanted |= {f"data.{group}.{part}" for group in GROUPS for part in ("numbers", "codes")}
    wanted |= {"data.elapsed", "data.origins"} if plan.uneven else set()
    wanted |= {"decoder.corrections"} if corrected else set()
    for prefix in ("data", *(["decoder"] if plan.known_lines else [])):
        parts = {"none": (), "integer": ("ids",), "text": ("ids", "id_offsets")}[schema.id_kind]
        wanted |= {f"{prefix}.{part}" for part in parts}
    nets = tuple(f"net{i}." for i in range(members))  # what stands beside int8 there, nets_store checks
    odd = sorted(wanted ^ {name for name in names if not (name.startswith(nets) and name.endswith(BESIDE))})
    if odd:
        raise fault(where, f"its arrays are not those of its plan, {odd[0][:80]!r} for one")


def check_schema(schema: Schema, plan: Plan, where: str) -> None:
    """Clock, categories and times of the data are those that the plan reads."""
    if schema.uneven != plan.uneven:
        raise fault(where, "its plan and its schema differ in uneven")
    for group in GROUPS:
        columns = getattr(schema.roles, group)
        levels = tuple(len(schema.levels[name]) for name in schema.categories(columns))
        if levels != getattr(plan, f"{group}_levels") or len(schema.numbers(columns)) != getattr(plan, f"{group}_numbers"):
            raise fault(where, f"its plan and its schema differ in the {group} covariates")
    if any(c >= len(schema.clock.calendar_names) for c in plan.calendar_columns):
        raise fault(where, "its plan reads calendar features that its clock does not have")


def check_panel(panel: Panel, plan: Plan, where: str) -> None:
    """The training series fit the plan and one another."""
    text = _rows_fault(panel) or _times_fault(panel, plan)
    for name in GROUPS:
        text = text or _covariate_fault(panel, plan, name)
    if text is not None:
        raise fault(where, f"the training series it holds do not fit its plan: {text}")
    clock = panel.schema.clock
    clock.text(clock.times(panel.starts[:1]))  # what it cannot write down it must not promise


def _rows_fault(panel: Panel) -> str | None:
    offsets, rows = panel.offsets, len(panel.target) if panel.target.ndim else 0
    if panel.target.ndim != 2 or panel.target.dtype not in (np.dtype(np.float64), np.dtype(np.float32)):
        return f"target: expected rows x columns of floats, got {panel.target.dtype} {panel.target.shape}"
    if panel.target.shape[1] != len(panel.schema.roles.target) or np.isinf(panel.target).any():
        return "target: expected a column a role, and no Inf"
    if not _whole(offsets) or len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != rows or (offsets[1:] < offsets[:-1]).any():
        return f"offsets: expected rising row numbers from 0 to {rows}"
    if len(panel.ids) != len(offsets) - 1 or len(set(panel.ids)) != len(panel.ids):
        return f"ids: expected {len(offsets) - 1} distinct names, got {len(panel.ids)}"
    if not _whole(panel.starts, panel.n_series) or ((panel.starts <= -FAR) | (panel.starts >= FAR)).any():
        return "starts: expected one clock position a series"
    future = panel.future_rows
    if not _whole(future, panel.n_series) or ((future < 0) | (future > np.diff(offsets))).any():
        return "future_rows: expected a count of a series' own rows"
    return None


def _times_fault(panel: Panel, plan: Plan) -> str | None:
    elapsed, origins = panel.elapsed, panel.origins
    ends, last = panel.starts.astype(np.float64) + np.diff(panel.offsets), np.zeros(panel.n_series)
    if (elapsed is not None) != plan.uneven or (origins is not None) != plan.uneven:
        return "elapsed, origins: expected where the plan is uneven, and only there"
    if elapsed is not None and origins is not None:
        if elapsed.dtype != np.float64 or elapsed.shape != (len(panel.target),) or not _whole(origins, panel.n_series):
            return "elapsed, origins: expected a float64 a row and an int64 a series"
        if not np.isfinite(elapsed).all() or ((elapsed < 0) | (elapsed >= FAR)).any():
            return "elapsed: expected finite numbers of at least 0"
        within = np.ones(len(elapsed), bool)
        within[panel.offsets[:-1][np.diff(panel.offsets) > 0]] = False  # the first row of a series has none before it
        if (np.diff(elapsed, prepend=0.0)[within] < 0).any():
            return "elapsed: falls inside a series"
        filled = np.diff(panel.offsets) > 0
        last[filled] = elapsed[panel.offsets[1:][filled] - 1]
        ends = panel.starts + last
    clock = panel.schema.clock
    unit = {"integer": 1.0, "duration": 1.0, "month": MONTH, "business": 1.4 * DAY}[clock.kind] * clock.step
    reached = [clock.anchor + unit * float(k) for k in (panel.starts.min(), ends.max())]
    if origins is not None:
        reached += [float(origins.min()), float((origins + clock.step * last).max())]
    return None if all(abs(tick) < 2.0**63 for tick in reached) else "starts: lie beyond every time that the clock can tell"


def _covariate_fault(panel: Panel, plan: Plan, name: str) -> str | None:
    group = cast(Covariates, getattr(panel, name))
    levels = cast("tuple[int, ...]", getattr(plan, f"{name}_levels"))
    rows = panel.n_series if name == "static" else len(panel.target)
    if group.numbers.dtype != np.float32 or group.numbers.shape != (rows, getattr(plan, f"{name}_numbers")):
        return f"{name}.numbers: got {group.numbers.dtype} {group.numbers.shape}"
    if group.codes.dtype != np.int16 or group.codes.shape != (rows, len(levels)):
        return f"{name}.codes: got {group.codes.dtype} {group.codes.shape}"
    if np.isinf(group.numbers).any():
        return f"{name}.numbers: expected finite numbers, or NaN for missing"
    if ((group.codes < -1) | (group.codes >= np.array(levels, np.int16))).any():
        return f"{name}.codes: expected -1 or the number of a level"
    return None


def _whole(array: npt.NDArray[np.int64], count: int | None = None) -> bool:
    return array.dtype == np.int64 and array.ndim == 1 and count in (None, len(array))


def decoder_parts(decoder: Mapping[str, Plain], options: ForecastOptions, where: str) -> tuple[list[float], float | None, int]:
    """The calibrated levels, the lower bound and the number of sample paths."""
    if set(decoder) != {"levels", "lower", "paths"}:
        raise fault(where, f"decoder: expected levels, lower and paths, got {shown(sorted(decoder))}")
    levels, lower, paths = decoder["levels"], decoder["lower"], decoder["paths"]
    if not isinstance(levels, list) or not all(is_number(x) and 0 < cast(float, x) < 100 for x in levels):
        raise fault(where, f"decoder.levels: expected percentages, got {str(levels)[:80]}")
    found = [float(cast(float, x)) for x in levels]
    if found != sorted(set(found)):
        raise fault(where, f"decoder.levels: expected each once, rising, got {found[:16]}")
    if lower is not None and not is_number(lower):
        raise fault(where, f"decoder.lower: expected a number or nothing, got {str(lower)[:80]!r}")
    if not is_whole(paths, 1, MOST_PATHS) or paths != options.paths:
        raise fault(where, f"decoder.paths: expected {options.paths}, as in its options, got {str(paths)[:80]!r}")
    expected = 0.0 if options.output == "negative_binomial" and options.lower is None else options.lower
    if lower != expected:
        raise fault(where, f"decoder.lower: expected {expected}, as its options say, got {lower}")
    return found, None if lower is None else float(cast(float, lower)), cast(int, paths)


def check_factors(values: npt.NDArray[np.generic], shape: tuple[int, int], where: str) -> None:
    """The intervals' factors, a row a level and a column a step."""
    if values.dtype != np.float64 or values.shape != shape:
        raise fault(where, f"decoder.corrections: expected float64 {shape}, got {values.dtype} {values.shape}")
    factors = cast(npt.NDArray[np.float64], values)
    if not np.isfinite(factors).all() or ((factors < 0) | (factors > MOST_FACTOR)).any():
        raise fault(where, f"decoder.corrections: expected factors of 0 to {MOST_FACTOR:g}")


def check_header(header: Mapping[str, Plain], options: ForecastOptions, members: int, where: str) -> None:
    """The header's single values."""
    if not is_whole(header.get("steps"), 1, FAR) or header["steps"] != options.steps:
        raise fault(where, f"steps: expected {options.steps}, as in its options, got {str(header.get('steps'))[:80]!r}")
    if header.get("kind") not in get_args(Kind):
        raise fault(where, f"kind: expected one of {', '.join(get_args(Kind))}, got {str(header.get('kind'))[:80]!r}")
    if not isinstance(header.get("source"), str):
        raise fault(where, f"source: expected text, got {str(header.get('source'))[:80]!r}")
    if members > options.ensemble:
        raise fault(where, f"members: expected at most {options.ensemble}, as in its options, got {members}")


def check_card(card: Mapping[str, Plain], where: str) -> None:
    """Every entry of the card that something shows has its type."""
    kinds: dict[str, type] = {
        "source": str,
        "data_sha256": str,
        "interrupted": bool,
        "members": list,
        "notes": list,
        "versions": dict,
    }
    wrong = [name for name, kind in kinds.items() if not isinstance(card.get(name), kind)]
    wrong += [name for name in ("series", "rows", "steps", "seed") if not is_whole(card.get(name), -1 << 64, 1 << 64)]
    if not wrong:
        wrong += [] if _texts(card["notes"]) else ["notes"]
        wrong += [] if all(isinstance(m, dict) for m in cast("list[Plain]", card["members"])) else ["members"]
        wrong += [] if _texts(list(cast("dict[str, Plain]", card["versions"]).values())) else ["versions"]
    if "held_back" not in card or not _figures(card["held_back"]):
        wrong.append("held_back")
    if wrong:
        raise fault(where, f"card: {', '.join(wrong)}: not as a card has it")


def _figures(held: Plain) -> bool:
    """Whether the held-back figures are none, or a table of numbers by method."""
    if held is None:
        return True
    if (
        not isinstance(held, dict)
        or not _texts(held.get("verdict"))
        or not all(is_whole(held.get(k), 0, FAR) for k in ("windows", "series"))
    ):
        return False
    table = held.get("table")
    if not isinstance(table, list) or not table or not isinstance(table[0], dict):
        return False
    names = set(table[0])
    return all(isinstance(row, dict) and set(row) == names and _row(row) for row in table)


def _row(row: Mapping[str, Plain]) -> bool:
    return isinstance(row.get("method"), str) and all(v is None or is_number(v) for k, v in row.items() if k != "method")


def _texts(values: Plain | Sequence[Plain]) -> bool:
    return isinstance(values, list) and all(isinstance(v, str) for v in values)


def is_number(value: Plain) -> bool:
    """Whether a value is a finite number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e308 and math.isfinite(value)


def is_whole(value: Plain, low: int, high: int) -> bool:
    """Whether a value is a whole number from `low` to `high`."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
