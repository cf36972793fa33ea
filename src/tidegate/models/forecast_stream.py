"""A forecaster that follows one series, sample by sample. In: one row. Out: the new forecast of the whole horizon; the state is
carried.

Scaling by window: the stream keeps a ring of the last rows and reads its look-back anew, O(look-back) a push. Running scaling:
the statistics and one recurrent state for each phase of the segment are carried, O(1) a push. Either way the answer equals
`predict` on the rows pushed so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeAlias, final

import numpy as np
import numpy.typing as npt

from tidegate.data.lines import Cut, Floats, Lines, RunningScale, Scale
from tidegate.data.moments import position_of
from tidegate.data.panel import Panel
from tidegate.data.series import Covariates
from tidegate.decode.quantiles import checked_levels
from tidegate.errors import ConfigError, DataError, TaskError, nearest, shown
from tidegate.given import numbers
from tidegate.models.forecast_core import Core
from tidegate.models.forecast_store import tail
from tidegate.models.streams import Arrays, BadSample, ModelStream
from tidegate.runtime.snapshot import Field
from tidegate.tasks.evaluation import Forecasts
from tidegate.tasks.forecast_windows import FrontEnd

UNNAMED = "a series of no name"  # is no training series, so it has no learnt vector
MOST_START = 1 << 40  # steps of a clock
MOST_GAP = 1000  # steps that "hold" fills
Fingerprint: TypeAlias = Callable[[], bytes]
# of the running state before a push: samples seen, statistics, the phase that the push will change, its states
_Before: TypeAlias = "tuple[int, tuple[Floats, Floats, Floats], int, list[npt.NDArray[np.floating]]]"


class Answer(NamedTuple):
    """The forecast after a push; (K, F) arrays, K targets."""

    times: np.ndarray  # (F,) time stamps
    forecast: Floats
    lo: Mapping[float, Floats]
    hi: Mapping[float, Floats]


Row: TypeAlias = "float | Mapping[str, float] | npt.ArrayLike"


@final
class ForecastStream(ModelStream[Row, Answer]):
    """One series, followed. Made by `Forecaster.stream`. A sample: a number, one number a target, or a mapping from target names.

    on_bad="hold" counts NaN and Inf as missing values; with "reset" the history is forgotten and the clock goes on.
    """

    def __init__(
        self, core: Core, panel: Panel, on_bad: str, fingerprint: Fingerprint, levels: tuple[float, ...] = (80.0, 95.0)
    ) -> None:
        roles = panel.schema.roles
        if core.plan.decode == "recursive":
            raise TaskError("stream: the recursive net draws sample paths anew at every step; fit with decode='direct' to stream")
        if roles.past or roles.future or roles.static or panel.elapsed is not None:
            raise TaskError("stream: models with covariates or uneven time stamps are not streamed yet; use predict(frame)")
        super().__init__(f"forecast of {panel.ids[0]!r}", on_bad, fingerprint)
        self._core, self._levels = core, checked_levels(levels)
        self._panel = panel
        self._most = float(np.finfo(panel.target.dtype).max) / 4  # differences of two such values are numbers
        self._running = _Running(core, panel) if core.plan.scaling == "running" else None

    @classmethod
    def after(cls, core: Core, panel: Panel, id: str | int | None, on_bad: str, fingerprint: Fingerprint) -> ForecastStream:
        """From the end of a training series; with id None from nothing, or, where the data had no id column, from their end."""
        if id is None and panel.schema.id_kind != "none":
            return cls(core, replace(_without_history(_one(panel, 0)), ids=(UNNAMED,)), on_bad, fingerprint)
        if id is not None and (isinstance(id, bool) or not isinstance(id, (str, int)) or id not in panel.ids):
            raise ConfigError(f"stream: no series {shown(id)}; {nearest(shown(id), map(str, panel.ids))}")
        return cls(core, _one(panel, 0 if id is None else panel.ids.index(id)), on_bad, fingerprint)

    @property
    def cost(self) -> str:
        """What a push costs, in words."""
        plan = self._core.plan
        if self._running is not None:
            floats = self._core.nets[0].spec.state_size()
            return f"O(1): one segment of {plan.segment} steps and {plan.segment} carried states of {floats} floats"
        return f"O(look-back): the ring holds {self._reach()} rows and {plan.lookback} of them are read at every push"

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets, in the order of the answers' rows."""
        return self._panel.schema.roles.target

    @property
    def rows(self) -> int:
        """Rows of history so far that are kept."""
        return int(np.asarray(self._panel.lengths)[0])

    def _taken(self, sample: Row) -> Answer:
        values = self._values(sample)
        if not (np.abs(values) <= self._most).all():
            raise BadSample(f"expected finite numbers of at most {self._most:.2g}, got {shown(values.tolist())}")
        self._append(values)
        return self.forecast()

    def _missed(self, sample: Row) -> Answer:
        """What is no number is missing; the rest of the row, and its time, count."""
        values = self._values(sample)
        self._append(np.where(np.abs(values) <= self._most, values, np.nan))
        self._steps += 1
        return self.forecast()

    def _restarted(self) -> Answer:
        self._check_clock()
        self._panel = replace(self._panel, starts=self._panel.starts + 1)  # the sample's time has passed
        self.reset()
        return self._nothing()

    @property
    def time_columns(self) -> tuple[str, ...]:
        """The columns that told the time in training, in order; none where rows were counted."""
        return self._panel.schema.roles.time

    def push_at(self, time: Mapping[str, object], sample: Row) -> Answer:
        """As `push`, of a sample whose time is told; it is compared with the clock. The first of a new series sets the clock.

        Args:  time: what `time_columns` hold, as text, numbers or time stamps.
        A time that is not the next step follows `on_bad`: "reject" is an error; "hold" counts the steps between as missing, at
        most 1000; "reset" forgets the history and goes on from there. One that has passed, or stands between steps, is an error.
        Raises: DataError, with the state untouched.
        """
        self._values(sample)
        schema, now = self._panel.schema, int(self._panel.starts[0]) + self.rows
        at, new = position_of(schema.clock, schema.roles.time, time), self._panel.ids[0] == UNNAMED and not self.rows
        if at != now and not new:
            self._check_gap(at, now)
        before = self.copy()
        try:
            if at > now and self.on_bad == "hold" and not new:
                for _ in range(at - now):
                    self._append(np.full(len(self.targets), np.nan))
                self._steps += at - now
            elif at != now:
                self._panel = replace(self._panel, starts=self._panel.starts + (at - now))
                self.reset()
            return self.push(sample)
        except BaseException:  # Ctrl-C too
            self.__dict__.update(before.__dict__)
            raise

    def _check_gap(self, at: int, now: int) -> None:
        """Raises: DataError for a time that the policy does not allow."""
        clock = self._panel.schema.clock
        wanted, got = clock.text(clock.times(np.array([now, at])))
        said = f"push: expected the time {wanted}, the next step, got {got}"
        if at < now:
            raise DataError(f"{said}, which has passed; the state is untouched. Leave out what comes twice or late")
        if self.on_bad == "reject" or (self.on_bad == "hold" and at - now > MOST_GAP):
            most = f" ('hold' fills at most {MOST_GAP})" if self.on_bad == "hold" else ""
            remedy = "on_bad='hold' counts the steps between as missing, on_bad='reset' begins anew"
            raise DataError(f"{said}, {clock.span(at - now)} on{most}; the state is untouched. {remedy}")

    def forecast(self) -> Answer:
        """The forecast after the rows so far. Raises: TaskError where there are none."""
        if not self.rows:
            raise TaskError("forecast: no sample was pushed yet")
        lines = Lines(self._panel)
        cut = Cut(np.arange(lines.count, dtype=np.int64), lines.lengths)
        made = (
            self._running.forecasts(self._levels) if self._running is not None else self._core.forecasts(lines, cut, self._levels)
        )
        times = self._panel.times(0, self.rows, self._core.plan.horizon)
        return Answer(times, made.point, made.lo, made.hi)

    def _nothing(self) -> Answer:
        """The answer of a stream without a sample: NaN."""
        shape = (self._panel.target.shape[1], self._core.plan.horizon)
        ends = {level: np.full(shape, np.nan) for level in self._levels}
        return Answer(self._panel.times(0, self.rows, shape[1]), np.full(shape, np.nan), ends, dict(ends))

    def _blank(self) -> None:
        """Forget every row; the clock goes on."""
        self._panel = _without_history(self._panel)
        self._running = _Running(self._core, self._panel) if self._running is not None else None

    def _copied(self) -> None:
        self._running = None if self._running is None else self._running.copy()

    def _fields(self) -> tuple[Field, ...]:
        target = self._panel.target
        rows = Field("target", target.dtype.newbyteorder("<").str, (None, target.shape[1]), finite=False)
        return (rows, Field("starts", "<i8", (1,)), *(self._running.fields() if self._running is not None else ()))

    def _held(self) -> Arrays:
        own = {"target": self._panel.target, "starts": np.asarray(self._panel.starts, np.int64)}
        return {**own, **(self._running.held() if self._running is not None else {})}

    def _hold(self, arrays: Arrays) -> None:
        target = np.asarray(arrays["target"], self._panel.target.dtype)
        if np.isinf(target).any():
            raise ValueError("its rows hold Inf")
        if abs(int(np.asarray(arrays["starts"])[0])) > MOST_START:
            raise ValueError("its clock is beyond any")
        panel = _with_rows(replace(self._panel, starts=np.asarray(arrays["starts"], self._panel.starts.dtype)), target)
        panel.times(0, len(target), self._core.plan.horizon)  # raises where no clock reaches that far
        if self._running is not None:
            self._running = _Running.of(self._core, panel, arrays)
        self._panel = panel

    def _values(self, row: float | Mapping[str, float] | npt.ArrayLike) -> Floats:
        names = self._panel.schema.roles.target
        if isinstance(row, Mapping):
            unknown = [k for k in row if k not in names]
            if unknown or len(row) != len(names):
                raise DataError(
                    f"push: expected the targets {', '.join(names)}, got {', '.join(map(str, row))}; the state is untouched"
                )
            row = [row[name] for name in names]
        said = f"{len(names)} numbers ({', '.join(names)})"
        double, after = np.dtype(np.float64), "; the state is untouched"
        given = numbers("push", row, double, error=DataError, expected=said, after=after, missing=True)
        values: Floats = np.atleast_1d(given).astype(np.float64, copy=False)
        if values.shape != (len(names),):
            raise DataError(f"push: expected {said}, got {' x '.join(map(str, values.shape))}; the state is untouched")
        return values

    def _append(self, values: Floats) -> None:
        self._check_clock()
        target = np.concatenate([self._panel.target, values[None].astype(self._panel.target.dtype)])
        grown = _with_rows(self._panel, target)
        self._panel = tail(grown, self._reach()) if len(target) > 2 * self._reach() else grown
        if self._running is not None:
            self._running.push(self._panel)

    def _check_clock(self) -> None:
        """Raises: DataError where the forecast after one more sample has times that no clock holds."""
        plan, now = self._core.plan, int(self._panel.starts[0]) + self.rows
        self._panel.schema.clock.check_reach(now, now + 1 + plan.segment + plan.horizon)

    def _reach(self) -> int:
        plan = self._core.plan
        return max(plan.segment if plan.scaling == "running" else plan.lookback, *plan.bases)


@final
class _Running:
    """The carried state of running scaling: statistics, and a recurrent state for each phase of the segment."""

    def __init__(self, core: Core, panel: Panel) -> None:
        self._core = core
        self._lines = panel.target.shape[1]
        self._scale = RunningScale(self._lines, core.plan.lookback)
        self._states = [[net.initial_state(self._lines) for _ in range(core.plan.segment)] for net in core.nets]
        self._seen = 0
        self._outputs: list[dict[str, npt.NDArray[np.floating]]] = []
        self._at = Scale(np.zeros(self._lines), np.ones(self._lines))
        self._before = self._now(0)
        for row in range(len(panel.target)):
            self.push(_with_rows(panel, panel.target[: row + 1]))

    @classmethod
    def of(cls, core: Core, panel: Panel, arrays: Arrays) -> _Running:
        """As it was when `held` was called. Raises: ValueError where the parts do not fit."""
        made = cls(core, _without_history(panel))
        seen, scale, states = int(np.asarray(arrays["seen"])[0]), np.asarray(arrays["scale"], np.float64), arrays["states"]
        if seen < 0 or (scale[[0, 2]] < 0).any():
            raise ValueError("its counts are below 0")
        made._scale.count, made._scale.mean, made._scale.deviation = (np.array(part) for part in scale)
        made._states = [[np.array(phase) for phase in net] for net in np.asarray(states, made._states[0][0].dtype)]
        made._seen = seen
        if bool(np.asarray(arrays["pushed"])[0]):
            if not len(panel.target):
                raise ValueError("it has no rows")
            made.push(panel)
        return made

    def fields(self) -> tuple[Field, ...]:
        """What a snapshot holds: the state before the last push, which is made again from its row."""
        kept = self._states[0][0]
        shape = (len(self._states), self._core.plan.segment, *kept.shape)
        own = (Field("seen", "<i8", (1,)), Field("pushed", "|u1", (1,)), Field("scale", "<f8", (3, self._lines)))
        return (*own, Field("states", kept.dtype.newbyteorder("<").str, shape))

    def held(self) -> dict[str, npt.NDArray[np.generic]]:
        """The fields' arrays."""
        seen, scale, phase, states = self._before
        nets = [[*own] for own in self._states]
        for own, before in zip(nets, states, strict=True):
            own[phase] = before
        pushed = self._seen > seen
        return {
            "seen": np.array([seen]), "pushed": np.array([pushed], np.uint8), "scale": np.stack(scale),
            "states": np.stack([np.stack(own) for own in nets]),
        }  # fmt: skip

    def _now(self, phase: int) -> _Before:
        s = self._scale
        return self._seen, (s.count, s.mean, s.deviation), phase, [states[phase] for states in self._states]

    def push(self, panel: Panel) -> None:
        """Take the last row of `panel` in: statistics, then one segment through every net's state of this phase."""
        plan = self._core.plan
        self._before = self._now((self._seen + 1) % plan.segment)
        self._scale.update(panel.target[-1].astype(np.float64))
        self._seen += 1
        self._at = self._scale.scale()
        lines = Lines(panel)
        cut = Cut(np.arange(self._lines, dtype=np.int64), lines.lengths)
        windows = FrontEnd.stepping(plan, lines, self._at, self._core.ids).windows(cut, limit=plan.segment)
        phase = self._seen % plan.segment
        self._outputs = []
        for net, states in zip(self._core.nets, self._states, strict=True):
            outputs, state = net.run(windows.inputs, states[phase], windows.lengths)
            states[phase] = _encoder_only(net.spec.state(), state)
            self._outputs.append(outputs)

    def forecasts(self, levels: tuple[float, ...]) -> Forecasts:
        """The forecast after the last push."""
        return self._core.from_outputs(self._outputs, self._at, levels)

    def copy(self) -> _Running:
        """Independent statistics and states; states are never changed in place."""
        twin = _Running.__new__(_Running)
        twin.__dict__.update(self.__dict__)
        twin._scale = RunningScale(self._lines, self._scale.memory)
        twin._scale.__dict__.update(self._scale.__dict__)
        twin._states = [list(states) for states in self._states]
        return twin


def _encoder_only(layout: Mapping[str, tuple[int, ...]], state: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """The decoder starts anew at every forecast: only the encoder's state is carried."""
    carried, start = state.copy(), 0
    for name, shape in layout.items():
        size = int(np.prod(shape))
        if not name.startswith("encoder"):
            carried[:, start : start + size] = 0.0
        start += size
    return carried


def _one(panel: Panel, series: int) -> Panel:
    """The history of one series alone."""
    start = int(panel.offsets[series])
    rows = slice(start, start + int(np.asarray(panel.lengths)[series]))
    return replace(
        panel,
        ids=(panel.ids[series],),
        offsets=np.array([0, rows.stop - rows.start], np.int64),
        starts=panel.starts[series : series + 1],
        target=panel.target[rows],
        elapsed=None if panel.elapsed is None else panel.elapsed[rows],
        past=_cut(panel.past, rows),
        future=_cut(panel.future, rows),
        static=_cut(panel.static, slice(series, series + 1)),
        future_rows=np.zeros(1, np.int64),
    )


def _cut(group: Covariates, rows: slice) -> Covariates:
    return replace(group, numbers=group.numbers[rows], codes=group.codes[rows])


def _with_rows(panel: Panel, target: npt.NDArray[np.floating]) -> Panel:
    """The same series with other rows of target; there are no covariates (see ForecastStream)."""
    empty = {
        name: replace(
            getattr(panel, name), numbers=np.zeros((len(target), 0), np.float32), codes=np.zeros((len(target), 0), np.int16)
        )
        for name in ("past", "future")
    }
    return replace(panel, target=target, offsets=np.array([0, len(target)], np.int64), **empty)


def _without_history(panel: Panel) -> Panel:
    moved = panel.starts + np.asarray(panel.lengths)
    return replace(_with_rows(panel, panel.target[:0]), starts=moved)
