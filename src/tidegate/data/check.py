"""A look at a data file before training. In: a table and the roles of its columns. Out: findings, each with what Tidegate
will do.

Bad data never raises here: what build_panel would refuse becomes a finding of level "error".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import numpy as np
import numpy.typing as npt

from tidegate.data.faults import SHOWN, Faults
from tidegate.data.layout import Duplicates
from tidegate.data.leaks import Leak, find_leaks
from tidegate.data.panel import collect, roles_of
from tidegate.data.series import Panel
from tidegate.data.table import Table
from tidegate.errors import DataError

NAMED = 5  # series named in a finding
OUTLIER_Z = 10.0  # robust z, so that heavy tails of ordinary data stay quiet
MAD_TO_SIGMA = 1.4826  # of a normal distribution
OUTLIER_SERIES = 5000
MUCH_MISSING = 0.2
LARGE_COUNT = 1000  # whole numbers beyond it are rather rounded measurements


Level: TypeAlias = Literal["error", "warning", "note"]


@final
@dataclass(frozen=True)
class Finding:
    """One thing worth knowing: what, where, and what Tidegate will do."""

    level: Level
    what: str
    where: str
    action: str
    count: int = 1  # faults told together

    def __str__(self) -> str:
        return f"{self.level}: {self.what}" + (f" ({self.where})" if self.where else "") + f" -> {self.action}"


def sorted_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Errors first, then warnings, then notes."""
    rank: dict[Level, int] = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(findings, key=lambda f: rank[f.level]))


def check_table(
    table: Table, *, target: str | Sequence[str] | None = None, time: str | Sequence[str] | None = None, id: str | None = None,
    past: str | Sequence[str] = (), future: str | Sequence[str] = (), static: str | Sequence[str] = (),
    freq: str | int | None = None, uneven: bool = False, duplicates: Duplicates = "error",
    horizon: int | None = None, lookback: int | None = None,
) -> tuple[Finding, ...]:  # fmt: skip
    """Errors first, then warnings, then notes.

    Args: as for build_panel; horizon and lookback (steps) tell which series are too short.
    Raises: ConfigError for options that do not fit together; nothing for bad data.
    """
    roles = roles_of(target, time, id, past, future, static)
    faults = Faults(table.source)
    panel = None
    try:
        panel = collect(table, roles, freq=freq, uneven=uneven, duplicates=duplicates, schema=None, faults=faults)
    except DataError as e:
        faults.add(str(e))
    findings = list(_of_faults(faults))
    if panel is not None:
        findings += _of_panel(panel, table, horizon or 0, lookback or 0)
    return sorted_findings(findings)


def _of_faults(faults: Faults) -> Iterator[Finding]:
    for fault in faults.items[:SHOWN]:
        yield Finding("error", fault.what, fault.where, f"fit stops here. {fault.remedy}".strip(), fault.count)
    more = sum(fault.count for fault in faults.items[SHOWN:])
    if more:
        yield Finding("error", f"{more:,} more faults", "", "fit stops here.", more)


def _of_panel(panel: Panel, table: Table, horizon: int, lookback: int) -> Iterator[Finding]:
    yield _overview(panel)
    unused = _unused(panel, table)
    for note in panel.notes:
        if note.startswith(unused):
            continue
        what, _, action = note.rpartition(": ")
        level: Literal["warning", "note"] = "warning" if note.startswith(("gap", "duplicate", "rows were")) else "note"
        yield Finding(level, what, panel.source, action)
    yield from _missing(panel)
    yield from _lengths(panel, horizon, lookback)
    for k, name in enumerate(panel.schema.roles.target):
        y = panel.target[:, k]
        yield from _constants(panel, name, y)
        yield from _outliers(panel, name, y)
        yield from _sign(panel, name, y)
    yield from map(_leak, find_leaks(panel, max(horizon, 24)))


def _unused(panel: Panel, table: Table) -> tuple[str, ...]:
    """How notes on columns without a role begin."""
    roles = panel.schema.roles
    used = {*roles.target, *roles.time, roles.id, *roles.covariates}
    return tuple(f"column {name!r}" for name in (*table.names, *table.left_out) if name not in used)


def _overview(panel: Panel) -> Finding:
    lengths, clock = panel.lengths, panel.schema.clock
    span = f"{lengths.min():,}" if lengths.min() == lengths.max() else f"{lengths.min():,} to {lengths.max():,}"
    first = clock.text(panel.times(0, 0, 1))[0]
    what = f"{panel.n_series:,} series of {span} rows, step {clock.step_name}, the first from {first}"
    return Finding("note", what, panel.source, "one model is fitted over all series.")


def _named(panel: Panel, series: npt.NDArray[np.int64]) -> str:
    """The first few series by id."""
    if panel.schema.id_kind == "none":
        return ""
    shown = ", ".join(repr(panel.ids[i]) for i in series[:NAMED].tolist())
    return f"series {shown}" + (f" and {len(series) - NAMED:,} more" if len(series) > NAMED else "")


def _history(panel: Panel) -> npt.NDArray[np.bool_]:
    """(R,) whether a row is history."""
    known = np.ones(panel.n_rows, bool)
    for i in np.flatnonzero(panel.future_rows).tolist():
        known[panel.offsets[i + 1] - panel.future_rows[i] : panel.offsets[i + 1]] = False
    return known


def _missing(panel: Panel) -> Iterator[Finding]:
    history = _history(panel)
    for k, name in enumerate(panel.schema.roles.target):
        missing, rows = int(np.isnan(panel.target[history, k]).sum()), int(history.sum())
        if missing:
            level: Literal["warning", "note"] = "warning" if missing > MUCH_MISSING * rows else "note"
            what = f"{missing:,} of {rows:,} values are missing ({_share(missing / rows)})"
            yield Finding(level, what, f"column {name!r}", "they are masked, never filled in.")
    for covariates, role in ((panel.past, "past"), (panel.future, "future"), (panel.static, "static")):
        lacking = np.concatenate([np.isnan(covariates.numbers), covariates.codes < 0], axis=1)
        for k, name in enumerate(covariates.number_names + covariates.code_names):
            if lacking[:, k].any():
                yield _missing_covariate(panel, role, name, lacking[:, k])


def _missing_covariate(panel: Panel, role: str, name: str, lacking: npt.NDArray[np.bool_]) -> Finding:
    """A future covariate without all its values is a warning: a forecast needs them."""
    where, what = f"{role} column {name!r}", f"{_share(float(lacking.mean()))} of the values are missing"
    if role != "future":
        return Finding("note", what, where, "the net is told where.")
    series = np.unique(np.searchsorted(panel.offsets, np.flatnonzero(lacking), side="right") - 1)
    named = _named(panel, series)
    action = "the net is told where; a forecast needs the value at every step of its horizon."
    return Finding("warning", what, f"{where}, {named}" if named else where, action)


def _share(part: float) -> str:
    """A share as people read it."""
    return "less than 0.1 %" if part < 0.001 else f"{100 * part:.1f} %"


def _lengths(panel: Panel, horizon: int, lookback: int) -> Iterator[Finding]:
    needed = horizon + lookback
    short = np.flatnonzero(panel.lengths < needed)
    if len(short):
        parts = f"look-back {lookback} + horizon {horizon}" if lookback else f"horizon {horizon}"
        what = f"{len(short):,} of {panel.n_series:,} series have fewer than {needed:,} rows ({parts})"
        action = "what is missing at their beginning is masked; their forecasts lean on the other series."
        yield Finding("warning", what, _named(panel, short), action)


def _constants(panel: Panel, name: str, y: np.ndarray) -> Iterator[Finding]:
    filled = np.flatnonzero(np.diff(panel.offsets) > 0)
    low = np.fmin.reduceat(y, panel.offsets[:-1][filled])
    high = np.fmax.reduceat(y, panel.offsets[:-1][filled])
    empty, constant = filled[np.isnan(low)], filled[(low == high) & (panel.lengths[filled] > 1)]
    if 0 < len(empty) < panel.n_series:  # all of them: a fault already
        what = f"{len(empty):,} series have no value at all in {name!r}"
        yield Finding("warning", what, _named(panel, empty), "they teach nothing and get no forecast of use.")
    if len(constant):
        what = f"{len(constant):,} series are constant in {name!r}"
        yield Finding("warning", what, _named(panel, constant), "they are kept; the naive forecast is exact there.")


def _outliers(panel: Panel, name: str, y: np.ndarray) -> Iterator[Finding]:
    """Values more than OUTLIER_Z robust deviations from their series' median."""
    total, rows, series = 0, [], []
    for i in range(min(panel.n_series, OUTLIER_SERIES)):
        a = int(panel.offsets[i])
        values = y[a : int(panel.offsets[i + 1])]
        known = values[~np.isnan(values)].astype(np.float64)
        if len(known) < 10:
            continue
        center = float(np.median(known))
        deviation = MAD_TO_SIGMA * float(np.median(np.abs(known - center)))
        far = np.flatnonzero(np.abs(values - center) > OUTLIER_Z * deviation) if deviation > 0 else np.empty(0, np.int64)
        if len(far):
            total += len(far)
            rows.append(int(far[0]))
            series.append(i)
    if total:
        at = panel.schema.clock.text(panel.times(series[0], rows[0], 1))[0]
        first = y[panel.offsets[series[0]] + rows[0]]
        what = f"{total:,} outliers in {name!r} (beyond {OUTLIER_Z:.0f} robust deviations), the first {first:g} at {at}"
        yield Finding("warning", what, _named(panel, np.array(series)), "they are kept; mend or empty them if they are mistakes.")


def _sign(panel: Panel, name: str, y: np.ndarray) -> Iterator[Finding]:
    """Whether values are counts, or never or rarely negative."""
    known = y[~np.isnan(y)]
    if len(known) == 0:
        return
    negative = int((known < 0).sum())
    whole = bool((known == np.floor(known)).all()) and float(np.median(known)) < LARGE_COUNT
    where = f"column {name!r}"
    if not negative:
        kind = "whole numbers, never negative (counts)" if whole else "never negative"
        advice = "lower=0 keeps forecasts so" + ("; a negative binomial output fits counts." if whole else ".")
        yield Finding("note", f"values are {kind}", where, f"nothing by itself; {advice}")
    elif negative <= 0.01 * len(known):
        what = f"{negative:,} of {len(known):,} values are negative" + (", all are whole numbers" if whole else "")
        yield Finding("warning", what, where, "they are kept; mend them if the quantity cannot be negative.")


def _leak(leak: Leak) -> Finding:
    if leak.steps == 0:
        what = (
            f"{leak.role} covariate {leak.column!r} moves as the target {leak.target!r} does (correlation {leak.correlation:.4f})"
        )
    else:
        side = "ahead of" if leak.steps > 0 else "behind"
        what = (
            f"{leak.role} covariate {leak.column!r} is the target {leak.target!r} {abs(leak.steps)} steps {side} its time "
            f"(correlation {leak.correlation:.4f}): it tells the answer"
        )
    action = "it is used as given, and scores will be too good to be true; leave it out."
    return Finding("warning", what, f"column {leak.column!r}", action)
