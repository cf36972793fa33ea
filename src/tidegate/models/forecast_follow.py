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
from tidegate.models.forecast_states import carried_parts, net_dtype, prepared_nets, whole_states
from tidegate.runtime.snapshot import Field
from tidegate.tasks.forecast_feed import Feed, Ring

Arrays = Mapping[str, npt.NDArray[np.generic]]
Outputs: TypeAlias = "list[dict[str, npt.NDArray[Any]]]"  # of every net, by name


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
    """The nets of one core, prepared for the lines of one series and so many segments of history, and what feeds them."""

    def __init__(self, about: About, lines: int, segments: int, *, carries: bool) -> None:
        self.segments = segments
        self.nets = prepared_nets(about.core, lines, segments, carries=carries)
        self.feed = Feed(about.core.plan, about.clock, about.codes, self.nets[0].inputs)


@final
class WindowFollower:
    """Scaling by window: O(look-back) a push."""

    def __init__(self, about: About, lines: int) -> None:
        plan = about.core.plan
        self.about, self._lines = about, lines
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
            self._read(position)

    def push(self, row: Floats, position: int) -> None:
        """Take a row (K,) in and read the look-back."""
        self.take(row)
        self._read(position)

    def take(self, row: Floats) -> None:
        """Take a row in, unread."""
        self.rows = min(self.rows + 1, self.kept)
        self._ring.push(row)
        for own, value in zip(self._seen, row, strict=True):
            if value == value:  # no NaN
                own.push(value)

    def _fill(self, rows: Floats) -> None:
        self.rows = min(len(rows), self.kept)
        self._ring.fill(rows.T)

    @property
    def segments(self) -> int:
        """How many are read."""
        plan = self.about.core.plan
        return min(max(-(-self.rows // plan.segment), 1), plan.lookback // plan.segment)

    def _read(self, position: int) -> None:
        """Fill the newest window in and run the nets."""
        if self._nets is None or self._nets.segments != self.segments:
            self._nets = _Nets(self.about, self._lines, self.segments, carries=False)
        feed = self._nets.feed
        self.scale = self.with_older(window_scale(self.last(self.about.core.plan.lookback)))
        feed.fill(self.last(feed.reads), self.scale, position)
        for net in self._nets.nets:
            net.run()
        self.outputs = [net.outputs for net in self._nets.nets]

    def last(self, count: int) -> Floats:
        """(K, count) the newest rows, NaN for missing and before the first; a view."""
        return self._ring.last(count)

    @property
    def carried(self) -> list[npt.NDArray[Any]]:
        """Nothing: every window is read anew."""
        return []

    def with_older(self, scale: Scale) -> Scale:
        """The look-back's scale; where a gap fills it, that of the last values before it; NaN where there never was one."""
        for line in np.flatnonzero(np.isnan(scale.loc)):
            older = window_scale(_observed(self._seen[line].last(self.about.core.plan.lookback)))
            scale.loc[line], scale.unit[line] = older.loc[0], older.unit[0]
        return scale

    @property
    def target(self) -> Floats:
        """(rows, K) as far as they are kept."""
        return self._ring.last(self.rows).T

    def fields(self) -> tuple[Field, ...]:
        """What a snapshot holds beside the rows."""
        return (Field("seen", "<f8", (self._lines, self.about.core.plan.lookback), finite=False),)

    def held(self) -> dict[str, npt.NDArray[np.generic]]:
        """The fields' arrays."""
        return {"seen": np.concatenate([own.last(own.keep) for own in self._seen])}

    def restored(self, target: Floats, arrays: Arrays, position: int) -> WindowFollower:
        """A new one, as it was when `held` was called. Raises: ValueError where the parts do not fit."""
        made = WindowFollower(self.about, self._lines)
        made._fill(target)
        seen = np.asarray(arrays["seen"], np.float64)
        if np.isinf(seen).any():
            raise ValueError("its values hold Inf")
        for own, values in zip(made._seen, seen, strict=True):
            own.fill(_observed(values))
        if len(target):
            made._read(position)
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

    segments = 1  # are read

    def __init__(self, about: About, lines: int) -> None:
        plan, nets = about.core.plan, about.core.nets
        self.about, self._lines = about, lines
        self.rows = 0
        self.kept = max(plan.segment, *plan.bases)
        self._ring = Ring(lines, self.kept)
        self._running = FewRunningScales(lines, plan.lookback)
        self._states = [
            carried_parts(net, np.zeros((plan.segment, lines, net.spec.state_size()), net_dtype(net))) for net in nets
        ]
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
        self.take(row)
        self._read(position)

    def take(self, row: Floats) -> None:
        """Take a row in, unread."""
        self.rows = min(self.rows + 1, self.kept)
        self._ring.push(row)
        self._count(row)

    def _read(self, position: int) -> None:
        """Fill the newest window in and run the nets, from the states of this phase to those after it."""
        if self._nets is None:
            self._nets = _Nets(self.about, self._lines, self.segments, carries=True)
        feed = self._nets.feed
        feed.fill(self.last(feed.reads), self.scale, position)
        for net, state in zip(self._nets.nets, self.carried, strict=True):
            np.copyto(net.state, state)
            net.run()
            np.copyto(state, net.state)
        self.outputs = [net.outputs for net in self._nets.nets]

    @property
    def carried(self) -> list[npt.NDArray[Any]]:
        """Of every net, (C,): the states of the phase that is read, as `Prepared.state` has them."""
        return [states[self._before.phase] for states in self._states]

    def _count(self, row: Floats) -> None:
        """Statistics, and the phase that will be read."""
        self._before = self._now((self._seen + 1) % self.about.core.plan.segment)
        self._seen += 1
        self._running.update(row)
        self.scale = self._running.scale()

    def last(self, count: int) -> Floats:
        """(K, count) the newest rows, NaN for missing and before the first; a view."""
        return self._ring.last(count)

    def _now(self, phase: int) -> _Before:
        return _Before(self._seen, self._running.parts(), phase, [states[phase].copy() for states in self._states])

    @property
    def target(self) -> Floats:
        """(rows, K) as far as they are kept."""
        return self._ring.last(self.rows).T

    def fields(self) -> tuple[Field, ...]:
        """What a snapshot holds beside the rows: the state before the last push, which is made again from its row."""
        net, plan = self.about.core.nets[0], self.about.core.plan
        own = (Field("seen", "<i8", (1,)), Field("pushed", "|u1", (1,)), Field("scale", "<f8", (3, self._lines)))
        shape = (len(self._states), plan.segment, self._lines, net.spec.state_size())
        return (*own, Field("states", net_dtype(net).newbyteorder("<").str, shape))

    def held(self) -> dict[str, npt.NDArray[np.generic]]:
        """The fields' arrays."""
        seen, statistics, phase, before = self._before
        states = [own.copy() for own in self._states]
        for own, earlier in zip(states, before, strict=True):
            own[phase] = earlier
        whole = [whole_states(net, own, self._lines) for net, own in zip(self.about.core.nets, states, strict=True)]
        pushed = np.array([self._seen > seen], np.uint8)
        return {"seen": np.array([seen]), "pushed": pushed, "scale": np.array(statistics), "states": np.stack(whole)}

    def restored(self, target: Floats, arrays: Arrays, position: int) -> RunningFollower:
        """A new one, as it was when `held` was called. Raises: ValueError where the parts do not fit."""
        made = RunningFollower(self.about, self._lines)
        seen, statistics = int(np.asarray(arrays["seen"])[0]), np.asarray(arrays["scale"], np.float64)
        if seen < 0 or (statistics[[0, 2]] < 0).any():
            raise ValueError("its counts are below 0")
        made._running.restore(statistics.tolist())
        states = np.asarray(arrays["states"])
        nets = self.about.core.nets
        made._states = [carried_parts(net, own.astype(net_dtype(net))) for net, own in zip(nets, states, strict=True)]
        made._seen = seen
        made._before = made._now(0)
        made._ring.fill(target.T)
        made.rows = min(len(target), made.kept)
        if bool(np.asarray(arrays["pushed"])[0]):
            if not len(target):
                raise ValueError("it has no rows")
            made._count(target[-1])
            made._read(position)
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
