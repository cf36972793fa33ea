"""Forecasting as a task: options, plan, batches, decoder. In: options and a panel. Out: a plan, a Problem to train, quantiles
from outputs.

No torch here: train/ drives the Problem, models/ holds the pieces together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.data.lines import Cut, Floats, Ints, Lines, Scale
from tidegate.data.panel import Panel
from tidegate.data.season import infer_season
from tidegate.decode import quantiles as q
from tidegate.errors import ConfigError, DataError
from tidegate.spec import Cell, Spec
from tidegate.tasks.forecast_net import OutputKind, Plan, build_spec
from tidegate.tasks.forecast_windows import FrontEnd
from tidegate.tasks.problem import Batch, LossName, Rolled

QUANTILES = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975)
LOSS: dict[str, LossName] = {
    "quantile": "quantile", "gaussian": "gaussian", "student_t": "student_t", "negative_binomial": "negative_binomial",
    "point": "squared",
}  # fmt: skip
VALIDATION_WINDOWS = 512
MOST_DRAWN = 10_000_000  # values of all sample paths of one window
UNIT_WINDOWS, UNIT_CHUNK = 16, 256  # windows of a line that tell its usual deviation; lines at once, which bounds the memory


@final
@dataclass(frozen=True, kw_only=True)
class ForecastOptions:
    """What a user may say about a forecaster. None means: inferred from the data, and printed.

    horizon: steps to forecast, F >= 1. season: steps of one season. lookback: steps of history the net reads. segment: steps read
    at once. scaling: "window" (mean and deviation of the look-back; a push of a stream costs O(look-back)) or "running"
    (statistics carried in the state; a push is O(1)). decode: "direct" (all steps from the final state) or "recursive" (own
    samples fed back). output: what the net predicts for a step. lower: smallest possible value. calibrate: conformal correction
    of the intervals on held-back windows. lags: naive candidates besides the window mean; 1 is the last value. uneven: rows keep
    their own times, the gap is an input. validation: rows held back at the end of each series. truncate: segments a batch of
    truncated BPTT goes on (running scaling only). own_share: share of steps that see the net's own output at the end of training
    (recursive only). ensemble: nets, seeds apart. cell: the recurrent cell. hidden_size: width of the net. num_layers: recurrent
    layers, residual where there are several. dropout: share dropped in training. quantiles: those that the net is trained on, 0.5
    among them (quantile output only). calendar: hour, weekday and the like as inputs. identity: a learnt vector for each training
    series. freq: step of the time stamps, such as "1h"; None infers it. duplicates: what becomes of rows of one series at one
    time. paths: sample paths of a forecast (recursive only). steps: optimiser steps, 2,000 if neither they nor a budget is given.
    batch_size: windows a step. learning_rate: of AdamW at its peak; None is 0.003, or 0.001 above 128 hidden units. weight_decay:
    of AdamW. clip_norm: bound of the gradient's norm. patience: checks of the held-back loss without a better one before training
    stops; 0 never stops. averaging: share kept by the moving average of the weights; 0 takes none. seed: of every random draw.
    device: "cpu", "cuda" or "mps"; prediction is always on the CPU.
    """

    kind: ClassVar[str] = "forecast"
    horizon: int
    season: int | None = None
    lookback: int | None = None
    segment: int | None = None
    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    hidden_size: int = 128
    num_layers: int = 1
    dropout: float = 0.1
    scaling: Literal["window", "running"] = "window"
    decode: Literal["direct", "recursive"] = "direct"
    output: OutputKind = "quantile"
    quantiles: tuple[float, ...] = QUANTILES
    lower: float | None = None
    lags: tuple[int, ...] | None = None
    calendar: bool = True
    identity: bool = False
    uneven: bool = False
    freq: str | int | None = None
    duplicates: Literal["error", "first", "last", "mean"] = "error"
    calibrate: bool = True
    ensemble: int = 1
    validation: int | None = None
    truncate: int | None = None
    own_share: float = 0.25
    paths: int = 200
    steps: int | None = None
    batch_size: int = 256
    learning_rate: float | None = None
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    patience: int = 10
    averaging: float = 0.99
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        faults = [f"ForecastOptions.{text}" for text in _option_faults(self)]
        if faults:
            raise ConfigError("\n".join(faults))


def _option_faults(o: ForecastOptions) -> list[str]:
    whole = (
        "horizon",
        "season",
        "lookback",
        "segment",
        "hidden_size",
        "num_layers",
        "ensemble",
        "batch_size",
        "steps",
        "truncate",
        "paths",
        "validation",
    )
    faults = [
        f"{name}: expected a whole number of at least 1, got {v}"
        for name in whole
        if (v := getattr(o, name)) is not None and v < 1
    ]
    limits = (
        ("horizon", 10_000),
        ("season", 1_000_000),
        ("segment", 10_000),
        ("paths", 10_000),
        ("lookback", 100_000),
        ("hidden_size", 4096),
        ("num_layers", 32),
        ("ensemble", 64),
        ("batch_size", 65_536),
    )
    faults += [
        f"{name}: expected at most {most:,}, got {v:,}"
        for name, most in limits
        if (v := getattr(o, name)) is not None and v > most
    ]
    if o.decode == "recursive" and o.paths * o.horizon > MOST_DRAWN:
        most = MOST_DRAWN // max(o.horizon, 1)
        faults.append(f"paths: expected at most {most:,} of a horizon of {o.horizon:,}, which are drawn at once, got {o.paths:,}")
    faults += [
        f"{name}: expected 0 <= p < 1, got {v}"
        for name in ("dropout", "averaging", "own_share")
        if not 0 <= (v := getattr(o, name)) < 1
    ]
    faults += [
        f"{name}: expected more than 0, got {v}"
        for name in ("learning_rate", "clip_norm")
        if (v := getattr(o, name)) is not None and v <= 0
    ]
    p = o.quantiles
    if not p or any(not 0 < x < 1 for x in p) or list(p) != sorted(set(p)) or 0.5 not in p:
        faults.append(f"quantiles: expected rising probabilities between 0 and 1 with 0.5 among them, got {p}")
    if o.lags is not None and (any(not 1 <= lag <= 1_000_000 for lag in o.lags) or len(set(o.lags)) > 63):
        faults.append(f"lags: expected at most 63 whole numbers from 1 to 1,000,000, got {o.lags}")
    if o.truncate is not None and (o.scaling != "running" or o.decode != "direct"):
        faults.append("truncate: carries state from batch to batch, which needs scaling='running' and decode='direct'")
    if o.decode == "recursive" and o.scaling == "running":
        faults.append("scaling: 'running' goes with decode='direct'; the recursive net scales by window")
    if o.decode == "recursive" and (o.segment or 1) != 1:
        faults.append(f"segment: the recursive net reads one step at a time; expected 1 or nothing, got {o.segment}")
    if o.validation is not None and o.validation < o.horizon:
        faults.append(f"validation: expected at least the horizon, {o.horizon} rows, got {o.validation}")
    if o.patience < 0:
        faults.append(f"patience: expected at least 0, got {o.patience}")
    if o.output == "negative_binomial" and (o.lower or 0.0) < 0:
        faults.append(f"lower: counts are never below 0, got {o.lower}")
    return faults


def make_plan(options: ForecastOptions, panel: Panel) -> Plan:
    """Resolve everything that the options leave open. Raises: DataError where no series can train the horizon."""
    lengths = np.asarray(panel.lengths)
    if lengths.max(initial=0) < options.horizon + 2:
        raise DataError(
            f"{panel.source}: no series is long enough: the longest has {int(lengths.max(initial=0))} rows, "
            f"a horizon of {options.horizon} "
            f"needs at least {options.horizon + 2}; choose a shorter horizon or bring more history"
        )
    seasons = (options.season,) if options.season else _seasons(panel)
    season, bases = seasons[0], _bases(options, seasons, panel)
    segment = 1 if options.decode == "recursive" else options.segment or _segment(season, options.horizon)
    lookback = options.lookback or _lookback(options.horizon, seasons, segment, int(np.median(lengths)))
    cell: Cell = "rnn_tanh" if options.cell == "rnn" else options.cell
    return Plan(
        horizon=options.horizon, season=season, segment=segment, lookback=-(-lookback // segment) * segment, bases=bases,
        cell=cell, hidden_size=options.hidden_size, num_layers=options.num_layers, dropout=options.dropout,
        scaling=options.scaling,
        decode=options.decode, output=options.output, quantiles=options.quantiles,
        calendar_columns=_calendar_columns(panel) if options.calendar else (), uneven=options.uneven,
        past_numbers=panel.past.numbers.shape[1], past_levels=_levels(panel, panel.past.code_names),
        future_numbers=panel.future.numbers.shape[1], future_levels=_levels(panel, panel.future.code_names),
        static_numbers=panel.static.numbers.shape[1], static_levels=_levels(panel, panel.static.code_names),
        known_lines=panel.n_series * panel.target.shape[1] if options.identity else 0,
    )  # fmt: skip


def _calendar_columns(panel: Panel) -> tuple[int, ...]:
    """Calendar features whose cycle a middling series has seen twice; of a cycle seen once the net would learn the noise by
    heart."""
    clock = panel.schema.clock
    if clock.is_integer:
        return ()
    ends = clock.times(np.array([0, int(np.median(np.asarray(panel.lengths)))]))
    days = float((ends[1] - ends[0]) / np.timedelta64(1, "D"))
    cycles = {"day of year": 365.25, "month of year": 365.25, "day of week": 7.0}
    return tuple(i for i, name in enumerate(clock.calendar_names) if days >= 2 * cycles.get(name.split(" ", 1)[1], 1.0))


def _levels(panel: Panel, names: Sequence[str]) -> tuple[int, ...]:
    return tuple(len(panel.schema.levels[name]) for name in names)


def _seasons(panel: Panel) -> tuple[int, ...]:
    """Seasons that the data support; where they support none, the clock's shortest (a day of hours), so that the seasonal naive
    method stands in every table and the net may weigh it."""
    lines, natural = Lines(panel), panel.schema.clock.seasons
    sample = np.linspace(0, lines.count - 1, min(lines.count, 200)).astype(int)
    found = infer_season([lines.history(int(i)) for i in sample], natural)
    return found if found != (1,) or not natural else natural[:1]


def _bases(options: ForecastOptions, seasons: tuple[int, ...], panel: Panel) -> tuple[int, ...]:
    """Window mean, last value, one season back, and the longer seasons (or seven short ones: a week of days, a week of hours)."""
    if options.lags is not None:
        return (0, *sorted(set(options.lags)))
    longest = int(np.median(np.asarray(panel.lengths))) // 2
    wanted = {1, *seasons}
    if len(seasons) == 1 and seasons[0] > 1:
        wanted.add(7 * seasons[0])
    return (0, *sorted(lag for lag in wanted if lag == 1 or lag <= longest))


def _segment(season: int, horizon: int) -> int:
    """One season, or a whole share of it; without a season, segments that cut the horizon in a few pieces."""
    if season > 1:
        return next(size for size in range(min(season, 48), 0, -1) if season % size == 0) if season > 48 else season
    return max(1, min(12, -(-horizon // 2)))


def _lookback(horizon: int, seasons: tuple[int, ...], segment: int, length: int) -> int:
    """Seven seasons (a week of days) or two horizons, at least seven segments; at most what half of a middling series holds."""
    wanted = max(2 * horizon, 7 * seasons[0] if seasons[0] > 1 else 0, 7 * segment)
    return max(segment, min(wanted, 1024, (length - horizon) // 2))


def parameter_loss(plan: Plan) -> LossName:
    """The loss of the plan's output."""
    return LOSS[plan.output]


@final
class ForecastProblem:
    """Windows drawn lazily: a line, then a cutoff, both uniform; the tail of each line is held back for validation."""

    def __init__(
        self,
        options: ForecastOptions,
        plan: Plan,
        panel: Panel,
        ids: Sequence[str | int] | None = None,
        *,
        hold_back: bool = True,
    ) -> None:
        """ids: the series with a learnt vector, where they are not the panel's own (a warm start on other series).
        hold_back: keep the end of each line for validation; without it every row is trained on and nothing is measured."""
        self.plan = plan
        self._hold_back = hold_back
        self.ids = tuple(panel.ids if ids is None else ids) if plan.known_lines else ()
        self.options = options
        self.lines = Lines(panel)
        self.front = FrontEnd(plan, self.lines, ids=self.ids)
        self.train_end = self._train_ends()
        self._usable = np.flatnonzero(self.train_end >= plan.horizon + 1).astype(np.int64)
        if hold_back and options.validation is not None and not (self.lines.lengths > self.train_end).any():
            raise ConfigError(
                f"validation: {options.validation} rows cannot be held back, the longest series of {panel.source} has "
                f"{int(self.lines.lengths.max(initial=0))} and must keep some to train on; hold back fewer"
            )
        if not len(self._usable):  # every series is short: part of the horizon is better than none
            self._usable = np.flatnonzero(self.train_end >= 2).astype(np.int64)
        self._spec = build_spec(plan)
        self._usual_units = self._usual_unit()
        if not len(self._usable):
            raise DataError(f"{panel.source}: nothing is left to train on beside the held-back rows; choose a shorter horizon")

    @property
    def spec(self) -> Spec:
        """The net."""
        return self._spec

    @property
    def loss(self) -> LossName:
        """By the output."""
        return parameter_loss(self.plan)

    @property
    def carried(self) -> tuple[str, ...]:
        """The encoder's state, in truncated BPTT."""
        if self.options.truncate is None:
            return ()
        return tuple(name for name in self._spec.state() if name.startswith("encoder"))

    @property
    def rolled(self) -> Rolled | None:
        """The recursive net reads its own outputs."""
        if self.plan.decode == "direct":
            return None
        centre = self.plan.quantiles.index(0.5) if self.plan.output == "quantile" else 0
        return Rolled(port="steps", lags=self.plan.bases, start=self.plan.lookback, centre=centre)

    def held_back(self) -> int:
        """Rows held back at the end of each line."""
        if not self._hold_back:
            return 0
        if self.options.validation is not None:
            return self.options.validation
        horizon, length = self.plan.horizon, int(np.median(self.lines.lengths))
        return horizon + (self._validation_cutoffs() - 1) * self._validation_stride() if length > 3 * horizon else horizon

    def draw(self, rng: np.random.Generator, cursor: Plain, progress: float, closing: bool) -> tuple[Batch, Plain]:
        """A batch of windows whose targets end before the held-back rows, or, closing, before the end."""
        ends = self.lines.lengths if closing else self.train_end
        if self.options.truncate is not None:
            return self._draw_chunk(rng, cursor, ends)
        lines = self._usable[rng.integers(0, len(self._usable), self.options.batch_size)]
        last = np.maximum(ends[lines] - self.plan.horizon, 1)
        first = np.minimum(last, np.maximum(self.plan.lookback, self.plan.segment))
        cutoffs = first + np.floor(rng.random(len(lines)) * (last - first + 1)).astype(np.int64)
        own = None
        if self.plan.decode == "recursive":
            own = rng.random((len(lines), self.plan.horizon)) < self.options.own_share * progress
        return self._batch(Cut(lines, cutoffs), ends[lines], rng, own=own), None

    def validation(self) -> Sequence[Batch]:
        """The held-back windows, spread over lines and cutoffs."""
        cut = self.validation_cut()
        size = max(self.options.batch_size, 512)
        parts = [Cut(cut.lines[i : i + size], cut.cutoffs[i : i + size]) for i in range(0, len(cut.lines), size)]
        return [self._batch(part, self.lines.lengths[part.lines], None) for part in parts]

    def validation_cut(self, most: int = VALIDATION_WINDOWS) -> Cut:
        """At most about `most` windows whose targets lie in the held-back rows only."""
        held = self.lines.lengths - self.train_end
        lines = np.flatnonzero(held > 0).astype(np.int64)
        if len(lines) > most:
            lines = lines[np.linspace(0, len(lines) - 1, most).astype(np.int64)]
        each = max(1, most // max(len(lines), 1))
        pairs = [(line, c) for line in lines for c in self._tail_cutoffs(int(line), each)]
        array = np.array(pairs, np.int64).reshape(-1, 2)
        return Cut(array[:, 0], array[:, 1])

    def _tail_cutoffs(self, line: int, each: int) -> Ints:
        first, last = int(self.train_end[line]), int(self.lines.lengths[line]) - self.plan.horizon
        return np.unique(np.linspace(first, max(first, last), min(each, max(last - first, 0) + 1)).astype(np.int64))

    def _validation_cutoffs(self) -> int:
        """Cutoffs a line: many where the lines are few, so that the held-back loss is not one window's luck."""
        return int(np.clip(64 // max(self.lines.count, 1), 1, 16))

    def _validation_stride(self) -> int:
        length = int(np.median(self.lines.lengths))
        room = max(int(0.15 * length) - self.plan.horizon, 0)
        return min(self.plan.horizon, room // max(self._validation_cutoffs() - 1, 1))

    def _train_ends(self) -> Ints:
        """Rows of each line that training may see; a line too short to hold anything back is not held back from."""
        held = self.held_back()
        keep = self.plan.horizon + max(self.plan.segment, 2)
        return np.where(self.lines.lengths - held >= keep, self.lines.lengths - held, self.lines.lengths)

    def _batch(
        self,
        cut: Cut,
        until: Ints,
        rng: np.random.Generator | None,
        *,
        continues: npt.NDArray[np.bool_] | None = None,
        own: npt.NDArray[np.bool_] | None = None,
    ) -> Batch:
        limit = None if continues is None else (self.options.truncate or 1) * self.plan.segment
        windows = self.front.windows(cut, limit=limit)
        inputs = dict(windows.inputs)
        if "line" in inputs and rng is not None:  # a tenth unknown, so that new series have a trained vector too
            inputs["line"] = np.where(rng.random(len(cut.lines))[:, None] < 0.1, 0, inputs["line"])
        y, weight = self.front.truth(cut, windows.scale, until=until)
        if self.plan.decode == "recursive":
            y, weight = self._with_history(cut, windows.scale, y, weight)
            weight[:, : self.plan.lookback] *= rng is not None  # the history was trained on: it is no part of the held-back loss
        weight = weight * self._importance(cut, windows.scale)[:, None]
        return Batch(inputs, self._targets(windows.scale, y, weight), windows.lengths, continues, own)

    def _targets(
        self, scale: Scale, y: npt.NDArray[np.float32], weight: npt.NDArray[np.float32]
    ) -> dict[str, npt.NDArray[np.generic]]:
        rows = self.plan.future_segments * self.plan.segment if self.plan.decode == "direct" else y.shape[1]
        pad = ((0, 0), (0, rows - y.shape[1]))
        targets: dict[str, npt.NDArray[np.generic]] = {"y": np.pad(y, pad), "weight": np.pad(weight, pad)}
        if self.plan.output == "quantile":
            targets["probabilities"] = np.array(self.plan.quantiles, np.float32)
        if self.plan.output == "negative_binomial":
            targets["unit"], targets["offset"] = scale.unit.astype(np.float32), np.nan_to_num(scale.loc).astype(np.float32)
        return targets

    def _importance(self, cut: Cut, scale: Scale) -> npt.NDArray[np.float32]:
        """(B,) weight of each window: its deviation over the line's usual one, at most 1.

        Without it the quiet windows of a line, whose scaled errors are the largest, rule the gradient (decision 0006). Across
        lines nothing changes. Squares weigh by the square; Student-t and counts bear such windows as they are.
        """
        if self.plan.output in ("student_t", "negative_binomial"):
            return np.ones(len(cut.lines), np.float32)
        weight = np.minimum(scale.unit / self._usual_units[cut.lines], 1.0)
        return (weight if self.plan.output == "quantile" else weight**2).astype(np.float32)

    def _usual_unit(self) -> Floats:
        """(lines,) the mean deviation of some windows of each line that training may see."""
        found = np.ones(self.lines.count)
        share = np.linspace(0.0, 1.0, UNIT_WINDOWS)
        for start in range(0, self.lines.count, UNIT_CHUNK):
            lines = np.arange(start, min(start + UNIT_CHUNK, self.lines.count), dtype=np.int64)
            last = np.maximum(self.train_end[lines], 1)
            first = np.minimum(self.plan.lookback, last)
            cutoffs = (first[:, None] + share * (last - first)[:, None]).astype(np.int64)
            units = self.front.scale(Cut(np.repeat(lines, UNIT_WINDOWS), cutoffs.reshape(-1))).unit
            found[lines] = units.reshape(len(lines), UNIT_WINDOWS).mean(1)
        return found

    def _with_history(
        self, cut: Cut, scale: Scale, y: npt.NDArray[np.float32], weight: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The recursive net learns from every step of the window (Salinas et al. 2020)."""
        earlier = Cut(cut.lines, cut.cutoffs - self.plan.lookback)
        past = self.lines.values(earlier, 0, self.plan.lookback)
        observed = ~np.isnan(past) & ~np.isnan(scale.loc)[:, None]
        z = np.where(observed, (past - scale.loc[:, None]) / scale.unit[:, None], 0.0)
        return np.concatenate([z.astype(np.float32), y], 1), np.concatenate([observed.astype(np.float32), weight], 1)

    def _draw_chunk(self, rng: np.random.Generator, cursor: Plain, ends: Ints) -> tuple[Batch, Plain]:
        """The next chunk of each row's line: `truncate` segments on, with the state carried; a row at its end starts another
        line."""
        step = (self.options.truncate or 1) * self.plan.segment
        rows = self.options.batch_size
        place = np.array(cursor, np.int64) if cursor is not None else np.full((rows, 2), -1, np.int64)
        if place.shape != (rows, 2) or (place < -1).any() or (place[:, 1] > ends.max(initial=0)).any():
            raise ValueError(f"expected {rows} places in the series")  # a checkpoint is read as if anybody had written it
        lines, cutoffs = place[:, 0].copy(), place[:, 1] + step
        last = np.where(lines >= 0, ends[np.maximum(lines, 0)] - self.plan.horizon, -1)
        over = cutoffs > last
        lines[over] = self._usable[rng.integers(0, len(self._usable), int(over.sum()))]
        room = np.maximum(ends[lines[over]] - self.plan.horizon, 1)
        start = np.floor(rng.random(len(room)) * np.minimum(step, room)).astype(np.int64)
        cutoffs[over] = np.minimum(start + 1, room)
        cut = Cut(lines, cutoffs)
        batch = self._batch(cut, ends[lines], rng, continues=~over)
        return batch, np.stack([lines, cutoffs], axis=1).tolist()


def quantile_grid(
    plan: Plan, raw: npt.NDArray[np.floating], base: npt.NDArray[np.floating], scale: Scale, p: Sequence[float]
) -> Floats:
    """(B, F, len(p)) quantiles in the data's units, from the net's outputs, never decreasing in p."""
    loc, unit = scale.loc[:, None, None], scale.unit[:, None, None]
    raw, base = raw[:, : plan.horizon], base[:, : plan.horizon]
    if plan.output == "quantile":
        found = unit * q.at_levels(np.add(raw, base, dtype=np.float64), plan.quantiles, p)
        found += loc
        return found
    given: Floats = raw.astype(np.float64)
    centre: Floats = base[..., 0].astype(np.float64)
    mean = given[..., 0] + centre
    if plan.output == "point":
        return np.repeat(loc + unit * mean[..., None], len(p), axis=-1)
    spread = _softplus(given[..., 1]) + 1e-4
    if plan.output == "gaussian":
        return loc + unit * q.gaussian_quantile(mean, spread, p)
    if plan.output == "student_t":
        return loc + unit * q.student_t_quantile(2.0 + _softplus(given[..., 2]) + 1e-4, mean, spread, p)
    counts = _softplus(mean + (scale.loc / scale.unit)[:, None]) * scale.unit[:, None] + 1e-4
    return q.negative_binomial_quantile(counts, spread, p)


def _softplus(x: Floats) -> Floats:
    y: Floats = np.logaddexp(0.0, x)
    return y
