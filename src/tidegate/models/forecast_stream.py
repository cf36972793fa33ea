"""A forecaster that follows one series, sample by sample. In: one row. Out: the new forecast of the whole horizon; the state is
carried.

Scaling by window: the stream keeps a ring of the last rows and reads its look-back anew, O(look-back) a push. Running scaling:
the statistics and one recurrent state for each phase of the segment are carried, O(1) a push. Either way the answer equals
`predict` on the rows pushed so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias, final

import numpy as np
import numpy.typing as npt

from tidegate.data.lines import Floats
from tidegate.data.moments import position_of
from tidegate.data.panel import Panel
from tidegate.decode.quantiles import checked_levels
from tidegate.errors import ConfigError, DataError, TaskError, nearest, shown
from tidegate.given import numbers
from tidegate.models.forecast_core import Core
from tidegate.models.forecast_follow import About, RunningFollower, WindowFollower
from tidegate.models.forecast_many import FEW, Waiting, read_together
from tidegate.models.streams import Arrays, BadSample, ModelStream
from tidegate.runtime.snapshot import Field
from tidegate.tasks.evaluation import Forecasts
from tidegate.tasks.forecast_feed import Ahead
from tidegate.tasks.forecast_windows import identity_codes

UNNAMED = "a series of no name"  # is no training series, so it has no learnt vector
MOST_START = 1 << 40  # steps of a clock
MOST_GAP = 1000  # steps that "hold" fills
Fingerprint: TypeAlias = Callable[[], bytes]


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
        schema = panel.schema
        if core.plan.decode == "recursive":
            raise TaskError("stream: the recursive net draws sample paths anew at every step; fit with decode='direct' to stream")
        if schema.roles.past or schema.roles.future or schema.roles.static or panel.elapsed is not None:
            raise TaskError("stream: models with covariates or uneven time stamps are not streamed yet; use predict(frame)")
        super().__init__(f"forecast of {panel.ids[0]!r}", on_bad, fingerprint)
        self._core, self._levels = core, checked_levels(levels)
        self._decode = core.decoder(self._levels)
        self._names, self._dtype = schema.roles.target, panel.target.dtype
        self._most = float(np.finfo(self._dtype).max) / 4  # differences of two such values are numbers
        self._told = schema.roles.time
        self._began = panel.ids[0] != UNNAMED  # whether the clock runs: the first sample of a new series starts it
        codes = identity_codes(core.plan, panel.ids, len(self._names), core.ids)
        self._about = About(core, schema.clock, codes)
        self._times = Ahead(schema.clock.times)
        self._position = int(panel.starts[0]) + len(panel.target)  # of the next sample, on the clock
        self._follower = self._new()
        self._follower.begin(panel.target.astype(np.float64), self._position)

    @classmethod
    def after(cls, core: Core, panel: Panel, id: str | int | None, on_bad: str, fingerprint: Fingerprint) -> ForecastStream:
        """From the end of a training series; with id None from nothing, or, where the data had no id column, from their end."""
        if id is None and panel.schema.id_kind != "none":
            one = _one(panel, 0)
            moved = one.starts + len(one.target)
            return cls(core, replace(one, ids=(UNNAMED,), target=one.target[:0], starts=moved), on_bad, fingerprint)
        if id is not None and (isinstance(id, bool) or not isinstance(id, (str, int)) or id not in panel.ids):
            raise ConfigError(f"stream: no series {shown(id)}; {nearest(shown(id), map(str, panel.ids))}")
        return cls(core, _one(panel, 0 if id is None else panel.ids.index(id)), on_bad, fingerprint)

    @property
    def cost(self) -> str:
        """What a push costs, in words."""
        plan = self._core.plan
        if plan.scaling == "running":
            floats = self._core.nets[0].spec.state_size()
            return f"O(1): one segment of {plan.segment} steps and {plan.segment} carried states of {floats} floats"
        return f"O(look-back): the ring holds {self._follower.kept} rows and {plan.lookback} of them are read at every push"

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets, in the order of the answers' rows."""
        return self._names

    @property
    def rows(self) -> int:
        """Rows of history so far that are kept."""
        return self._follower.rows

    @classmethod
    def push_all(cls, streams: Sequence[ForecastStream], samples: Sequence[Row]) -> list[Answer]:
        """All at once, where they are not few. A sample that a stream rejects is refused before any is stepped."""
        read = cls._all_read(streams, samples, cls._finite)
        for stream in streams:
            stream._check_clock()
        good = [(stream, values) for stream, values in zip(streams, read, strict=True) if values is not None]
        if len(good) < FEW:
            return [stream.push(sample) for stream, sample in zip(streams, samples, strict=True)]
        waiting = []
        for stream, values in good:
            stream._position, stream._began = stream._position + 1, True
            stream._follower.take(values)
            waiting.append(Waiting(stream._follower, stream._position))
            stream._steps += 1
        made = read_together(good[0][0]._core, waiting, good[0][0]._decode)
        return cls._merged(streams, samples, read, [stream._answer(own) for (stream, _), own in zip(good, made, strict=True)])

    def _taken(self, sample: Row) -> Answer:
        return self._followed(self._finite(sample))

    def _finite(self, sample: Row) -> Floats:
        values = self._values(sample)
        if not all(abs(value) <= self._most for value in values.tolist()):
            raise BadSample(f"expected finite numbers of at most {self._most:.3g}, got {values.tolist()}")
        return values

    def _missed(self, sample: Row) -> Answer:
        """What is no number is missing; the rest of the row, and its time, count."""
        values = self._values(sample)
        answer = self._followed(np.where(np.abs(values) <= self._most, values, np.nan))
        self._steps += 1
        return answer

    def _followed(self, values: Floats) -> Answer:
        self._append(values)
        return self.forecast()

    def _append(self, values: Floats) -> None:
        self._check_clock()
        self._position, self._began = self._position + 1, True
        self._follower.push(values, self._position)

    def _check_clock(self) -> None:
        """Raises: DataError where the forecast after one more sample has times that no clock holds."""
        plan = self._core.plan
        self._about.clock.check_reach(self._position, self._position + 1 + plan.segment + plan.horizon)

    def _restarted(self) -> Answer:
        self._check_clock()
        self._position, self._began = self._position + 1, True  # the sample's time has passed
        self._forget()
        return self._nothing()

    @property
    def time_columns(self) -> tuple[str, ...]:
        """The columns that told the time in training, in order; none where rows were counted."""
        return self._told

    def push_at(self, time: Mapping[str, object], sample: Row) -> Answer:
        """As `push`, of a sample whose time is told; it is compared with the clock. The first of a new series, and
        the first after `reset`, sets the clock.

        Args:  time: what `time_columns` hold, as text, numbers or time stamps.
        A time that is not the next step follows `on_bad`: "reject" is an error; "hold" counts the steps between as missing, at
        most 1000; "reset" forgets the history and goes on from there. One that has passed, or stands between steps, is an error.
        Raises: DataError, with the state untouched.
        """
        self._values(sample)
        now, new = self._position, not self._began
        at = position_of(self._about.clock, self._told, time)
        if at != now and not new:
            self._check_gap(at, now)
        before = self.copy()
        try:
            if at > now and self.on_bad == "hold" and not new:
                for _ in range(at - now):
                    self._append(np.full(len(self.targets), np.nan))
                self._steps += at - now
            elif at != now:
                self._position, self._began = at, True
                self._forget()
            return self.push(sample)
        except BaseException:  # Ctrl-C too
            self.__dict__.update(before.__dict__)
            raise

    def _check_gap(self, at: int, now: int) -> None:
        """Raises: DataError for a time that the policy does not allow."""
        clock = self._about.clock
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
        follower = self._follower
        if not follower.rows:
            raise TaskError("forecast: no sample was pushed yet")
        return self._answer(self._core.from_outputs(follower.outputs, follower.scale, self._decode))

    def _answer(self, made: Forecasts) -> Answer:
        return Answer(self._ahead(), made.point, made.lo, made.hi)

    def _ahead(self) -> np.ndarray:
        """(F,) the times of the horizon."""
        return self._times.at(self._position, self._core.plan.horizon).copy()

    def _nothing(self) -> Answer:
        """The answer of a stream without a sample: NaN."""
        shape = (len(self._names), self._core.plan.horizon)
        ends = {level: np.full(shape, np.nan) for level in self._levels}
        return Answer(self._ahead(), np.full(shape, np.nan), ends, dict(ends))

    def _new(self) -> WindowFollower | RunningFollower:
        kind = RunningFollower if self._core.plan.scaling == "running" else WindowFollower
        return kind(self._about, len(self._names))

    def _blank(self) -> None:
        """Forget every row; the clock goes on."""
        self._follower = self._new()

    def _renewed(self) -> None:
        """The clock goes on, or begins where the next sample says."""
        self._began = False

    def _copied(self) -> None:
        self._follower, self._times = self._follower.copy(), Ahead(self._about.clock.times)

    def _fields(self) -> tuple[Field, ...]:
        rows = Field("target", self._dtype.newbyteorder("<").str, (None, len(self._names)), finite=False)
        return (rows, Field("starts", "<i8", (1,)), Field("began", "|u1", (1,)), *self._follower.fields())

    def _held(self) -> Arrays:
        target = self._follower.target.astype(self._dtype)
        clock = {"starts": np.array([self._position - len(target)]), "began": np.array([self._began], np.uint8)}
        return {"target": target, **clock, **self._follower.held()}

    def _hold(self, arrays: Arrays) -> None:
        target = np.asarray(arrays["target"], self._dtype).astype(np.float64)
        if np.isinf(target).any():
            raise ValueError("its rows hold Inf")
        start = int(np.asarray(arrays["starts"])[0])
        if abs(start) > MOST_START:
            raise ValueError("its clock is beyond any")
        position = start + len(target)
        self._about.clock.times(position + np.arange(self._core.plan.horizon))  # raises where no clock reaches that far
        self._follower, self._position = self._follower.restored(target, arrays, position), position
        self._began = bool(np.asarray(arrays["began"])[0])

    def _values(self, row: float | Mapping[str, float] | npt.ArrayLike) -> Floats:
        names = self._names
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
        if self._dtype != np.float64:  # numbers are kept as the model's data are
            with np.errstate(over="ignore"):  # what is too large becomes Inf, which is bad input
                values = values.astype(self._dtype).astype(np.float64)
        return values


def _one(panel: Panel, series: int) -> Panel:
    """The rows of one series alone; there are no covariates (see ForecastStream)."""
    return replace(
        panel, ids=(panel.ids[series],), starts=panel.starts[series : series + 1], target=panel.series(series),
        offsets=np.array([0, len(panel.series(series))], np.int64), future_rows=np.zeros(1, np.int64),
    )  # fmt: skip
