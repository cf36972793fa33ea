"""Many series through a forecaster's nets at once. In: followers with a row unread. Out: what they all say.

Side by side the lines share every walk over the weights; each has the bits that it has alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tidegate.data.lines import Scale, window_scale
from tidegate.models.forecast_core import Core
from tidegate.models.forecast_decode import Decoder
from tidegate.models.forecast_follow import RunningFollower, WindowFollower
from tidegate.models.forecast_states import prepared_nets
from tidegate.runtime.prepared import Prepared
from tidegate.tasks.evaluation import Forecasts
from tidegate.tasks.forecast_feed import Feed

Array: TypeAlias = npt.NDArray[Any]
FEW = 6  # below it, preparing nets for all of them costs more than it saves
MOST = 1024  # series at once: bounds the memory


class Waiting(NamedTuple):
    """A follower that has taken a row in and not read it."""

    follower: WindowFollower | RunningFollower
    position: int  # of the clock, after that row


def read_together(core: Core, waiting: Sequence[Waiting], decode: Decoder) -> list[Forecasts]:
    """Run the nets for all of them, and make the forecast of each, (K, F)."""
    found: dict[int, Forecasts] = {}
    for segments in sorted({one.follower.segments for one in waiting}):
        group = [k for k, one in enumerate(waiting) if one.follower.segments == segments]
        for first in range(0, len(group), MOST):
            part = group[first : first + MOST]
            found |= zip(part, _group(core, [waiting[k] for k in part], segments, decode), strict=True)
    return [found[k] for k in range(len(waiting))]


def _group(core: Core, group: Sequence[Waiting], segments: int, decode: Decoder) -> list[Forecasts]:
    """Those that read equally many segments."""
    followers = [one.follower for one in group]
    lines = len(followers[0].scale.loc)
    nets = prepared_nets(core, lines * len(group), segments, carries=bool(followers[0].carried))
    scale = _scale(followers)
    about = followers[0].about
    feed = Feed(core.plan, about.clock, np.concatenate([one.about.codes for one in followers]), nets[0].inputs)
    rows = np.concatenate([follower.last(feed.reads) for follower in followers])
    feed.fill(rows, scale, np.repeat(np.array([one.position for one in group]), lines))
    for k, net in enumerate(nets):
        states = np.stack([follower.carried[k] for follower in followers]) if net.state.size else None
        if states is not None:
            _exchange(net, states, lines, inwards=True)
        net.run()
        if states is not None:
            _exchange(net, states, lines, inwards=False)
            for follower, state in zip(followers, states, strict=True):
                np.copyto(follower.carried[k], state)
    parts = [slice(k * lines, (k + 1) * lines) for k in range(len(group))]
    for follower, part in zip(followers, parts, strict=True):
        follower.scale = Scale(scale.loc[part].copy(), scale.unit[part].copy())
        follower.outputs = [{name: y[part].copy() for name, y in net.outputs.items()} for net in nets]
    made = core.from_outputs([net.outputs for net in nets], scale, decode)
    return [_of(made, part) for part in parts]


def _scale(followers: Sequence[WindowFollower | RunningFollower]) -> Scale:
    """Of every line."""
    windows = [follower for follower in followers if isinstance(follower, WindowFollower)]
    if not windows:
        return Scale(*(np.concatenate([follower.scale[part] for follower in followers]) for part in (0, 1)))
    lookback, lines = windows[0].about.core.plan.lookback, len(windows[0].scale.loc)
    scale = window_scale(np.concatenate([follower.last(lookback) for follower in windows]))
    for k in np.unique(np.flatnonzero(np.isnan(scale.loc)) // lines).tolist():
        own = slice(k * lines, (k + 1) * lines)
        windows[k].with_older(Scale(scale.loc[own], scale.unit[own]))  # which writes into them
    return scale


def _exchange(net: Prepared, states: Array, lines: int, *, inwards: bool) -> None:
    """Between the state of all rows and (N, C), the states of N followers, each as it has it alone."""
    first = 0
    for part in net.carried.values():
        layers, _, size = part.shape
        stop = first + layers * lines * size
        alone = states[:, first:stop].reshape(-1, layers, lines, size)
        together = part.reshape(layers, len(states), lines, size).swapaxes(0, 1)
        np.copyto(*((together, alone) if inwards else (alone, together)))
        first = stop


def _of(made: Forecasts, rows: slice) -> Forecasts:
    lo, hi = ({level: end[rows] for level, end in part.items()} for part in (made.lo, made.hi))
    return Forecasts(point=made.point[rows], lo=lo, hi=hi)
