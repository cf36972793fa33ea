"""The newest window of one series through a forecaster's nets, push after push. In: rows. Out: the nets' outputs and the scale.

Scaling by window: the last rows are kept and the look-back is read anew. Running scaling: statistics and one recurrent state for
each phase of the segment are carried, and one segment is read. Either way everything is prepared once (runtime/prepared.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np
import numpy.typing as npt

from tidegate.data.lines import FewRunningScales, Floats, Ints, Scale, window_scale
from tidegate.data.times import Clock
from tidegate.models.forecast_core import Core
from tidegate.runtime.predictor import Predictor
from tidegate.runtime.prepared import Prepared
from tidegate.runtime.snapshot import Field
from tidegate.spec import Recurrent, size_of
from tidegate.tasks.forecast_feed import Feed, Ring

Arrays = Mapping[str, npt.NDArray[np.generic]]
Outputs: TypeAlias = "list[dict[str, npt.NDArray[Any]]]"  # of every net, by name
ENCODER = "encoder"  # begins the names of the blocks whose state is carried; the decoder starts anew at every forecast


class About(NamedTuple):
    """What stays the same for one series."""

    core: Core
    clock: Clock
    codes: Ints  # (K,) the learnt vector of each line


class _Before(NamedTuple):
    """Running scaling before a push."""

    seen: int
    statistics: tuple[list[float], list[float], list[float]]
    phase: int
    states: list[npt.NDArray[Any]]  # of every net, in that phase


@final
class _Nets:
    """The nets of one core, prepared for the lines of one series and so many segments of history."""

    def __init__(self, about: About, lines: int, segments: int, *, carries: bool) -> None:
        plan, self.segments = about.core.plan, segments
        ahead = plan.future_segments
        steps = {
            "past": segments * plan.segment,
            "past_calendar": segments,
            "future": ahead * plan.segment,
            "future_calendar": ahead,
        }
        self.nets: list[Prepared] = []
        for net in about.core.nets:
            inputs = self.nets[0].inputs if self.nets else None
            self.nets.append(Prepared(net, lines, steps, _encoders(net) if carries else (), inputs))
        self.feed = Feed(plan, about.clock, about.codes, self.nets[0].inputs)


@final
class WindowFollower:
    """Scaling by window: O(look-back) a push."""

    def __init__(self, about: About, lines: int) -> None:
        plan = about.core.plan
        self._about, self._lines = about, lines
        self.rows = 0  # so far, at most as many as are kept
        self.kept = max(plan.lookback, *plan.bases)
        self._ring = Ring(lines, self.kept)
        self._seen = [Ring(1, plan.lookback) for _ in range(lines)]  # the last values of each line, gaps left out
        self._nets: _Nets | None = None
        self.scale = Scale(np.full(lines, np.nan), np.ones(lines))
        self.outputs: Outputs = []

    def begin(self, rows: Floats, position: int) -> None:
        """Go on from rows (n, K), NaN for missing. position: the clock's, after the last."""
        self._fill(rows)
        for own, values in zip(self._seen, rows.T, strict=True):
            own.fill(_observed(values))
        if self.rows:
            self.read(position)

    def push(self, row: Floats, position: int) -> None:
        """Take a row (K,) in."""
        self.rows = min(self.rows + 1, self.kept)
        self._ring.push(row)
        for own, value in zip(self._seen, row, strict=True):
            if value == value:  # no NaN
                own.push(value)
        self.read(position)

    def _fill(self, rows: Floats) -> None:
        self.rows = min(len(rows), self.kept)
        self._ring.fill(rows.T)

    def read(self, position: int) -> None:
        """Read the look-back."""
        plan = self._about.core.plan
        segments = min(max(-(-self.rows // plan.segment), 1), plan.lookback // plan.segment)
        if self._nets is None or self._nets.segments != segments:
            self._nets = _Nets(self._about, self._lines, segments, carries=False)
        feed = self._nets.feed
        self.scale = self._scaled()
        feed.fill(self._ring.last(feed.reads), self.scale, position)
        for net in self._nets.nets:
            net.run()
        self.outputs = [net.outputs for net in self._nets.nets]

    def _scaled(self) -> Scale:
        """That of the look-back; where a gap fills it, that of the last values before it; NaN where there never was one."""
        lookback = self._about.core.plan.lookback
        scale = window_scale(self._ring.last(lookback))
        for line in np.flatnonzero(np.isnan(scale.loc)):
            older = window_scale(_observed(self._seen[line].last(lookback)))
            scale.loc[line], scale.unit[line] = older.loc[0], older.unit[0]
        return scale

    @property
    def target(self) -> Floats:
        """(rows, K) as far as they are kept."""
        return self._ring.last(self.rows).T

    def fields(self) -> tuple[Field, ...]:
        """What a snapshot holds beside the rows."""
        return (Field("seen", "<f8", (self._lines, self._about.core.plan.lookback), finite=False),)

    def held(self) -> dict[str, npt.NDArray[np.generic]]:
        """The fields' arrays."""
        return {"seen": np.concatenate([own.last(own.keep) for own in self._seen])}

    def restored(self, target: Floats, arrays: Arrays, position: int) -> WindowFollower:
        """A new one, as it was when `held` was called. Raises: ValueError where the parts do not fit."""
        made = WindowFollower(self._about, self._lines)
        made._fill(target)
        seen = np.asarray(arrays["seen"], np.float64)
        if np.isinf(seen).any():
            raise ValueError("its values hold Inf")
        for own, values in zip(made._seen, seen, strict=True):
            own.fill(_observed(values))
        if len(target):
            made.read(position)
        return made

    def copy(self) -> WindowFollower:
        """Independent of this one."""
        twin = WindowFollower.__new__(WindowFollower)
        twin.__dict__.update(self.__dict__)
        twin._ring, twin._seen, twin._nets = self._ring.copy(), [own.copy() for own in self._seen], None
        twin.outputs = _copies(self.outputs)
        return twin


@final
class RunningFollower:
    """Running scaling: O(1) a push."""

    def __init__(self, about: About, lines: int) -> None:
        plan, nets = about.core.plan, about.core.nets
        self._about, self._lines = about, lines
        self.rows = 0
        self.kept = max(plan.segment, *plan.bases)
        self._ring = Ring(lines, self.kept)
        self._running = FewRunningScales(lines, plan.lookback)
        self._states = [_carried(net, np.zeros((plan.segment, lines, net.spec.state_size()), _dtype(net))) for net in nets]
        self._seen = 0
        self._nets: _Nets | None = None
        self.scale = Scale(np.full(lines, np.nan), np.ones(lines))
        self.outputs: Outputs = []
        self._before = self._now(0)

    def begin(self, rows: Floats, position: int) -> None:
        """Go on from rows (n, K), NaN for missing. position: the clock's, after the last."""
        for back, row in zip(range(len(rows) - 1, -1, -1), rows, strict=True):
            self.push(row, position - back)

    def push(self, row: Floats, position: int) -> None:
        """Take a row (K,) in: statistics, then one segment through every net's state of this phase."""
        self.rows = min(self.rows + 1, self.kept)
        self._ring.push(row)
        self._advance(row, position)

    def _advance(self, row: Floats, position: int) -> None:
        if self._nets is None:
            self._nets = _Nets(self._about, self._lines, 1, carries=True)
        phase = (self._seen + 1) % self._about.core.plan.segment
        self._before = self._now(phase)
        self._seen += 1
        self._running.update(row)
        self.scale = self._running.scale()
        feed = self._nets.feed
        feed.fill(self._ring.last(feed.reads), self.scale, position)
        for net, states in zip(self._nets.nets, self._states, strict=True):
            np.copyto(net.state, states[phase])
            net.run()
            np.copyto(states[phase], net.state)
        self.outputs = [net.outputs for net in self._nets.nets]

    def _now(self, phase: int) -> _Before:
        return _Before(self._seen, self._running.parts(), phase, [states[phase].copy() for states in self._states])

    @property
    def target(self) -> Floats:
        """(rows, K) as far as they are kept."""
        return self._ring.last(self.rows).T

    def fields(self) -> tuple[Field, ...]:
        """What a snapshot holds beside the rows: the state before the last push, which is made again from its row."""
        net, plan = self._about.core.nets[0], self._about.core.plan
        own = (Field("seen", "<i8", (1,)), Field("pushed", "|u1", (1,)), Field("scale", "<f8", (3, self._lines)))
        shape = (len(self._states), plan.segment, self._lines, net.spec.state_size())
        return (*own, Field("states", _dtype(net).newbyteorder("<").str, shape))

    def held(self) -> dict[str, npt.NDArray[np.generic]]:
        """The fields' arrays."""
        seen, statistics, phase, before = self._before
        states = [own.copy() for own in self._states]
        for own, earlier in zip(states, before, strict=True):
            own[phase] = earlier
        whole = [_rows(net, own, self._lines) for net, own in zip(self._about.core.nets, states, strict=True)]
        pushed = np.array([self._seen > seen], np.uint8)
        return {"seen": np.array([seen]), "pushed": pushed, "scale": np.array(statistics), "states": np.stack(whole)}

    def restored(self, target: Floats, arrays: Arrays, position: int) -> RunningFollower:
        """A new one, as it was when `held` was called. Raises: ValueError where the parts do not fit."""
        made = RunningFollower(self._about, self._lines)
        seen, statistics = int(np.asarray(arrays["seen"])[0]), np.asarray(arrays["scale"], np.float64)
        if seen < 0 or (statistics[[0, 2]] < 0).any():
            raise ValueError("its counts are below 0")
        made._running.restore(statistics.tolist())
        states = np.asarray(arrays["states"])
        nets = self._about.core.nets
        made._states = [_carried(net, own.astype(_dtype(net))) for net, own in zip(nets, states, strict=True)]
        made._seen = seen
        made._before = made._now(0)
        made._ring.fill(target.T)
        made.rows = min(len(target), made.kept)
        if bool(np.asarray(arrays["pushed"])[0]):
            if not len(target):
                raise ValueError("it has no rows")
            made._advance(target[-1], position)
        return made

    def copy(self) -> RunningFollower:
        """Independent of this one."""
        twin = RunningFollower.__new__(RunningFollower)
        twin.__dict__.update(self.__dict__)
        twin._running = FewRunningScales(self._lines, self._running.memory)
        twin._running.restore(self._running.parts())
        twin._ring, twin._states, twin._nets = self._ring.copy(), [own.copy() for own in self._states], None
        twin.outputs = _copies(self.outputs)
        return twin


def _observed(values: Floats) -> Floats:
    """(1, n) without NaN."""
    return values[~np.isnan(values)][None]


def _copies(outputs: Outputs) -> Outputs:
    return [{name: y.copy() for name, y in own.items()} for own in outputs]


def _dtype(net: Predictor) -> np.dtype[Any]:
    return np.dtype(net.initial_state().dtype)


def _encoders(net: Predictor) -> list[str]:
    return [block.name for block in net.spec.blocks if isinstance(block, Recurrent) and block.name.startswith(ENCODER)]


def _carried(net: Predictor, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(N, C) the encoders' parts of states (N, K, S), each part (L, K, H) as `Prepared.state` has them."""
    count, first, parts = len(rows), 0, []
    for name, shape in net.spec.state().items():
        size = size_of(shape)
        if name.startswith(ENCODER):
            part = rows[:, :, first : first + size].reshape(count, -1, *shape)
            parts.append(np.swapaxes(part, 1, 2).reshape(count, -1))
        first += size
    return np.concatenate(parts, axis=1)


def _rows(net: Predictor, carried: npt.NDArray[Any], lines: int) -> npt.NDArray[Any]:
    """(N, K, S) states from what `_carried` made of them; 0 for the decoder."""
    count, first, parts = len(carried), 0, []
    for name, shape in net.spec.state().items():
        part = np.zeros((count, lines, size_of(shape)), carried.dtype)
        if name.startswith(ENCODER):
            own = carried[:, first : first + part[0].size].reshape(count, shape[0], lines, shape[1])
            part, first = np.swapaxes(own, 1, 2).reshape(part.shape), first + part[0].size
        parts.append(part)
    return np.concatenate(parts, axis=2)
