"""What a forecaster answers: tables of forecasts, evaluations, backtests, panels for pictures. In: a core and a panel. Out:
tables."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.data.columns import Columns, Encoded, Stored, encode
from tidegate.data.lines import Cut, Ints, Lines
from tidegate.data.panel import Panel, Roles
from tidegate.data.series import Covariates
from tidegate.data.table import Kind, Table
from tidegate.decode.quantiles import checked_levels
from tidegate.errors import ConfigError, DataError
from tidegate.models.forecast_against import foreign_forecasts
from tidegate.models.forecast_core import Core
from tidegate.tasks.evaluation import Evaluation, Forecasts, Windows, evaluate
from tidegate.tasks.forecast import ForecastOptions
from tidegate.tasks.forecast_net import Plan
from tidegate.tasks.forecast_windows import Known

if TYPE_CHECKING:
    from tidegate.models.drive import Drive
    from tidegate.report.picture import ForecastPanel

OURS = "tidegate"
log = logging.getLogger("tidegate")


def forecast_table(panel: Panel, lines: Lines, cut: Cut, forecasts: Forecasts, levels: Sequence[float], kind: str) -> object:
    """id, time, target where there are several, forecast, forecast-lo-80, forecast-hi-80, ... as a table of the caller's kind."""
    steps = forecasts.point.shape[1]
    columns: dict[str, Stored] = dict(_keys(panel, lines, cut, steps))
    columns["forecast"] = forecasts.point.reshape(-1)
    for level in levels:
        if level in forecasts.lo:
            columns[f"forecast-lo-{level:g}"] = forecasts.lo[level].reshape(-1)
            columns[f"forecast-hi-{level:g}"] = forecasts.hi[level].reshape(-1)
    clock = panel.schema.clock
    zones = {time_column(panel): clock.zone} if clock.zone is not None and clock.text_format is None else {}
    return Table(Columns(columns), kind=cast(Kind, kind)).like(Columns(columns), zones)


def check_reserved(roles: Roles) -> None:
    """The columns that an answer repeats do not bear the name of one that it makes: forecast, forecast-..., target.

    Raises: ConfigError that names every one that does, and the way out.
    """
    repeated = [*roles.time, *([] if roles.id is None else [roles.id])]
    taken = [name for name in (*repeated, *roles.target) if _is_made(name, len(roles.target))]
    if len(roles.time) != 1 and roles.id == "time":
        taken.append("time")  # as an answer calls the time that several columns, or the order of the rows, tell
    if taken:
        raise ConfigError(
            f"columns: {', '.join(map(repr, taken))}: an answer has columns of that name itself (forecast, forecast-lo-80, ..., "
            f"target where there are several, time); rename it in the data before fit, such as {taken[0]!r} to "
            f"{taken[0] + '_in'!r}"
        )


def _is_made(name: str, targets: int) -> bool:
    return name == "forecast" or name.startswith("forecast-") or (targets > 1 and name == "target")


def warn_of_tails(plan: Plan, levels: Sequence[float]) -> None:
    """Say where an interval reaches beyond what the net was trained on."""
    if plan.output != "quantile":
        return
    widest = 100 * (1 - 2 * max(plan.quantiles[0], 1 - plan.quantiles[-1]))
    beyond = [level for level in levels if level > widest + 1e-9]
    if beyond:
        log.warning(
            "levels: the outermost trained quantiles (%g, %g) reach to %g %%; the ends of %g %% are extrapolated. Train with "
            "wider quantiles=(...) for a level that matters.", plan.quantiles[0], plan.quantiles[-1], widest, beyond[-1],
        )  # fmt: skip


def time_column(panel: Panel) -> str:
    """The name of the time column of an answer."""
    return panel.schema.roles.time[0] if len(panel.schema.roles.time) == 1 else "time"


def times_at(panel: Panel, series: Ints, rows: Ints) -> np.ndarray:
    """Time stamps at rows (W, n) of series (W,), also beyond their ends: int64 or datetime64[ns]."""
    if panel.elapsed is None:
        return panel.schema.clock.times(panel.starts[series][:, None] + rows)
    return np.stack([panel.times(int(i), int(r[0]), len(r)) for i, r in zip(series, rows, strict=True)])


def _keys(panel: Panel, lines: Lines, cut: Cut, steps: int) -> dict[str, Stored]:
    roles = panel.schema.roles
    columns: dict[str, Stored] = {}
    if roles.id is not None:
        columns[roles.id] = _repeated([panel.ids[i] for i in lines.series(cut.lines)], steps)
    times = _times(panel, lines, cut, steps).reshape(-1)
    clock = panel.schema.clock
    columns[time_column(panel)] = encode(clock.text(times)) if clock.text_format is not None and not clock.is_integer else times
    if lines.targets > 1:
        columns["target"] = _repeated([roles.target[k] for k in cut.lines % lines.targets], steps)
    return columns


def _repeated(values: Sequence[str | int], steps: int) -> Stored:
    if all(isinstance(v, int) for v in values):
        return np.repeat(np.array(values, np.int64), steps)
    texts = [str(v) for v in values]
    levels = tuple(dict.fromkeys(texts))
    place = {text: i for i, text in enumerate(levels)}
    return Encoded(np.repeat(np.array([place[t] for t in texts], np.int32), steps), levels)


def _times(panel: Panel, lines: Lines, cut: Cut, steps: int) -> np.ndarray:
    """(W, steps) time stamps of the horizon."""
    return times_at(panel, lines.series(cut.lines), cut.cutoffs[:, None] + np.arange(steps))


def check_windows(what: str, windows: object, step: object) -> None:
    """Raises: ConfigError."""
    for name, value in (("windows", windows), ("step", 1 if step is None else step)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ConfigError(f"{what}: {name}: expected a whole number of at least 1, got {value!r}")


def tail_cut(lines: Lines, horizon: int, windows: int, step: int) -> Cut:
    """The last `windows` cutoffs of every line whose whole horizon is history, `step` rows apart, oldest first.

    Raises: DataError where no line is long enough.
    """
    back = horizon + step * np.arange(windows - 1, -1, -1)
    cutoffs = lines.lengths[:, None] - back
    keep = cutoffs >= 1
    if not keep.any():
        raise DataError(
            f"{lines.panel.source}: no series is long enough to hold back {horizon} rows "
            f"(the longest has {int(lines.lengths.max(initial=0))}); "
            "choose a shorter horizon, or bring more history"
        )
    which = np.repeat(np.arange(lines.count, dtype=np.int64)[:, None], windows, axis=1)
    return Cut(which[keep], cutoffs[keep].astype(np.int64))


def seen_in_training(trained: Panel, panel: Panel, cut: Cut) -> tuple[str, ...]:
    """A warning where windows forecast rows that the model was trained on."""
    last = {
        name: trained.times(i, int(n) - 1, 1)[0]
        for i, (name, n) in enumerate(zip(trained.ids, trained.lengths, strict=True))
        if n
    }
    series = cut.lines // panel.target.shape[1]
    first = times_at(panel, series, cut.cutoffs[:, None])[:, 0]
    seen = sum(panel.ids[i] in last and bool(f <= last[panel.ids[i]]) for i, f in zip(series.tolist(), first, strict=True))
    if not seen:
        return ()
    return (
        f"{seen} of {len(first)} windows forecast rows that the model was trained on, so these figures flatter it: "
        "use backtest, which holds them back, or bring rows after the training data.",
    )


def windows_of(lines: Lines, cut: Cut, horizon: int, season: int) -> Windows:
    """Truths, histories and time stamps of an evaluation."""
    panel = lines.panel
    names = panel.schema.roles.target
    before = times_at(panel, lines.series(cut.lines), cut.cutoffs[:, None] - 1)[:, 0]
    return Windows(
        ids=tuple(panel.ids[i] for i in lines.series(cut.lines)),
        targets=tuple(names[k] for k in cut.lines % lines.targets),
        cutoffs=before,
        times=_times(panel, lines, cut, horizon),
        truth=lines.values(cut, 0, horizon),
        histories=[lines.history(int(line), int(cutoff)) for line, cutoff in zip(*cut, strict=True)],
        season=season,
    )


def evaluation(
    core: Core, lines: Lines, cut: Cut, levels: Sequence[float], against: Mapping[str, object], notes: tuple[str, ...] = ()
) -> Evaluation:
    """Score a core on windows, beside the naive methods and other tools' forecasts."""
    wanted = checked_levels(levels)
    windows = windows_of(lines, cut, core.plan.horizon, core.plan.season)
    _check_names(against)
    methods = {OURS: core.forecasts(lines, cut, wanted, deciles=True)}
    methods |= {
        name: foreign_forecasts(name, table, lines.panel.schema.roles, time_column(lines.panel), windows, wanted)
        for name, table in against.items()
    }
    found = evaluate(windows, methods)
    return replace(found, verdict=(*notes, *found.verdict))


def held_back_figures(core: Core, lines: Lines, cut: Cut) -> Plain:
    """The card's figures: the net and the naive methods on the held-back windows, which it did not train on."""
    found = evaluation(core, lines, cut, (80, 95), {}).to_json()
    return {"table": found["table"], "windows": found["windows"], "series": found["series"], "verdict": found["verdict"]}


def backtest(
    options: ForecastOptions, panel: Panel, windows: int, step: int, refit: str | bool, drive: Drive, levels: Sequence[float],
    against: Mapping[str, object],
) -> Evaluation:  # fmt: skip
    """Rolling origin over the last `windows` cutoffs; see Forecaster.backtest."""
    from tidegate.models import forecast_fit as fitting

    if refit not in (False, True, "warm"):
        raise ConfigError(f"refit: expected False, 'warm' or True, got {refit!r}")
    wanted = checked_levels(levels)
    _check_names(against)
    lines = Lines(panel)
    parts: list[tuple[Cut, Forecasts]] = []
    trained: fitting.Result | None = None
    cuts = [_one_cutoff(lines, options.horizon, step, back) for back in range(windows - 1, -1, -1)]
    for back, cut in zip(range(windows - 1, -1, -1), cuts, strict=True):
        hidden = options.horizon + step * back
        if trained is None or refit is True:
            scaled = restandardised(panel, hidden)
            trained = fitting.fit(options, before(scaled, hidden), drive)
            first_steps = trained.steps
        elif refit == "warm":
            trained = fitting.update(options, trained.core, before(scaled, hidden), drive, max(1, first_steps // 4))
        if trained.card["interrupted"]:
            raise KeyboardInterrupt
        parts.append((cut, trained.core.forecasts(Lines(before(scaled, hidden)), cut, wanted, deciles=True)))
    assert trained is not None
    whole = Cut(*(np.concatenate([getattr(cut, name) for cut, _ in parts]) for name in ("lines", "cutoffs")))
    scored = windows_of(lines, whole, options.horizon, trained.core.plan.season)
    methods = {OURS: _joined([f for _, f in parts])}
    methods |= {
        name: foreign_forecasts(name, table, panel.schema.roles, time_column(panel), scored, wanted)
        for name, table in against.items()
    }
    return evaluate(scored, methods)


def _check_names(against: Mapping[str, object]) -> None:
    taken = [name for name in against if name in (OURS, "naive", "seasonal naive", "drift")]
    if taken:
        raise ConfigError(f"against: the name {taken[0]!r} stands for a method that is in the table already; give another name")


def restandardised(panel: Panel, rows: int) -> Panel:
    """The panel with its number covariates standardised by the rows up to `rows` before the ends: later rows have no say."""
    lengths = np.asarray(panel.lengths)
    place = np.arange(len(panel.target)) - np.repeat(panel.offsets[:-1], np.diff(panel.offsets))
    seen = place < np.repeat(lengths - np.minimum(rows, lengths), np.diff(panel.offsets))
    scales = dict(panel.schema.scales)
    past, future = _restandardised(panel.past, seen, scales), _restandardised(panel.future, seen, scales)
    return replace(panel, schema=replace(panel.schema, scales=scales), past=past, future=future)


def _restandardised(group: Covariates, seen: npt.NDArray[np.bool_], scales: dict[str, tuple[float, float]]) -> Covariates:
    if not group.number_names or not seen.any():
        return group
    numbers = group.numbers.astype(np.float64)
    for column, name in enumerate(group.number_names):
        values = numbers[seen, column]
        values = values[~np.isnan(values)]
        mean, deviation = (float(values.mean()), float(values.std())) if len(values) else (0.0, 0.0)
        deviation = deviation if deviation > 0 else 1.0
        numbers[:, column] = (numbers[:, column] - mean) / deviation
        old_mean, old_deviation = scales[name]
        scales[name] = (old_mean + mean * old_deviation, old_deviation * deviation)
    return replace(group, numbers=numbers.astype(np.float32))


def before(panel: Panel, rows: int) -> Panel:
    """The panel as it stood `rows` rows earlier: later rows are no history, their known covariates stay known. Nothing is copied.

    Raises: DataError where nothing is left.
    """
    lengths = np.asarray(panel.lengths)
    hidden = np.minimum(rows, lengths)
    if (lengths - hidden).max(initial=0) < 3:
        raise DataError(
            f"{panel.source}: {rows} rows are needed for the windows and the longest series has {int(lengths.max(initial=0))}; "
            "ask for fewer windows"
        )
    return replace(panel, future_rows=panel.future_rows + hidden)


def _one_cutoff(lines: Lines, horizon: int, step: int, back: int) -> Cut:
    cutoffs = lines.lengths - horizon - step * back
    which = np.flatnonzero(cutoffs >= 1).astype(np.int64)
    if not len(which):
        raise DataError(
            f"{lines.panel.source}: no series holds {horizon + step * back + 1} rows, which the earliest window needs; "
            "ask for fewer windows"
        )
    return Cut(which, cutoffs[which].astype(np.int64))


def _joined(parts: Sequence[Forecasts]) -> Forecasts:
    first = parts[0]
    return Forecasts(
        point=np.concatenate([p.point for p in parts]),
        lo={level: np.concatenate([p.lo[level] for p in parts]) for level in first.lo},
        hi={level: np.concatenate([p.hi[level] for p in parts]) for level in first.hi},
        quantiles=None if first.quantiles is None else np.concatenate([cast(np.ndarray, p.quantiles) for p in parts]),
        probabilities=first.probabilities,
    )


def panels(
    core: Core,
    panel: Panel,
    levels: Sequence[float],
    ids: Sequence[str | int] | None,
    truth: Panel | None,
    known: Known | None,
) -> list[ForecastPanel]:
    """What the picture and the page draw: one entry a line."""
    from tidegate.report.picture import ForecastPanel

    wanted = checked_levels(levels)
    lines = Lines(panel)
    which = _chosen(panel, lines, ids)
    cut = Cut(which, lines.lengths[which])
    forecasts = core.forecasts(lines, cut, wanted, known)
    keep = max(5 * core.plan.horizon, core.plan.lookback)
    found = []
    for row, line in enumerate(which.tolist()):
        length = int(lines.lengths[line])
        shown = min(keep, length)
        series = np.array([line // lines.targets])
        found.append(
            ForecastPanel(
                title=_title(panel, lines, line),
                target=panel.schema.roles.target[line % lines.targets],
                history_time=times_at(panel, series, np.arange(length - shown, length)[None])[0],
                history=lines.history(line)[length - shown :],
                forecast_time=times_at(panel, series, np.arange(length, length + core.plan.horizon)[None])[0],
                forecast=forecasts.point[row],
                bands={level: (forecasts.lo[level][row], forecasts.hi[level][row]) for level in forecasts.lo},
                truth=None if truth is None else _truth(truth, panel, lines, line, core.plan.horizon),
                baseline=None,
            )
        )
    return found


def _chosen(panel: Panel, lines: Lines, ids: Sequence[str | int] | None) -> Ints:
    if ids is None:
        return np.arange(lines.count, dtype=np.int64)
    place = {name: i for i, name in enumerate(panel.ids)}
    unknown = [i for i in ids if i not in place]
    if unknown:
        raise ConfigError(
            f"ids: no series {unknown[0]!r}; "
            f"there are {', '.join(map(repr, panel.ids[:8]))}{' ...' if len(panel.ids) > 8 else ''}"
        )
    return np.array([place[i] * lines.targets + k for i in ids for k in range(lines.targets)], np.int64)


def _title(panel: Panel, lines: Lines, line: int) -> str:
    target: str = panel.schema.roles.target[line % lines.targets]
    if panel.schema.roles.id is None:
        return target
    name = str(panel.ids[line // lines.targets])
    return name if lines.targets == 1 else f"{name}: {target}"


def _truth(truth: Panel, panel: Panel, lines: Lines, line: int, horizon: int) -> np.ndarray | None:
    """The values that came after, where the truth's table has them."""
    name = panel.ids[line // lines.targets]
    if name not in truth.ids:
        return None
    other = truth.ids.index(name)
    first = int(panel.starts[line // lines.targets] + lines.lengths[line] - truth.starts[other])
    cut = Cut(np.array([other * lines.targets + line % lines.targets]), np.array([first]))
    return cast(np.ndarray, Lines(truth).values(cut, 0, horizon)[0])


def notes(card: Mapping[str, Plain]) -> tuple[str, ...]:
    """What was done with the data, and what the held-back figures say, in words."""
    said = [str(n) for n in cast("list[Plain]", card.get("notes") or [])]
    held = card.get("held_back")
    if isinstance(held, dict):
        said += [str(v) for v in cast("list[Plain]", held.get("verdict") or [])]
    return tuple(said)
