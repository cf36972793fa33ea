"""A forecaster's nets prepared, and which of their states are carried. In: a core. Out: nets over arrays that stay; states.

The encoder goes on from push to push; the decoder starts anew at every forecast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.models.forecast_core import Core
from tidegate.runtime.predictor import Predictor
from tidegate.runtime.prepared import Prepared
from tidegate.spec import Recurrent, size_of

ENCODER = "encoder"  # begins the names of the blocks whose state is carried


def prepared_nets(core: Core, lines: int, segments: int, *, carries: bool) -> list[Prepared]:
    """The nets of a core for so many lines and segments of history, all over the inputs of the first."""
    plan, nets = core.plan, list[Prepared]()
    ahead = plan.future_segments
    steps = {"past": segments * plan.segment, "past_calendar": segments}
    steps |= {"future": ahead * plan.segment, "future_calendar": ahead}
    for net in core.nets:
        encoders = [each.name for each in net.spec.blocks if isinstance(each, Recurrent) and each.name.startswith(ENCODER)]
        nets.append(Prepared(net, lines, steps, encoders if carries else (), nets[0].inputs if nets else None))
    return nets


def net_dtype(net: Predictor) -> np.dtype[Any]:
    """Of its numbers."""
    return np.dtype(net.initial_state().dtype)


def carried_parts(net: Predictor, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(N, C) the encoders' parts of states (N, K, S), each part (L, K, H) as `Prepared.state` has them."""
    count, first, parts = len(rows), 0, []
    for name, shape in net.spec.state().items():
        size = size_of(shape)
        if name.startswith(ENCODER):
            part = rows[:, :, first : first + size].reshape(count, -1, *shape)
            parts.append(np.swapaxes(part, 1, 2).reshape(count, -1))
        first += size
    return np.concatenate(parts, axis=1)


def whole_states(net: Predictor, carried: npt.NDArray[Any], lines: int) -> npt.NDArray[Any]:
    """(N, K, S) states from what `carried_parts` made of them; 0 for the decoder."""
    count, first, parts = len(carried), 0, []
    for name, shape in net.spec.state().items():
        part = np.zeros((count, lines, size_of(shape)), carried.dtype)
        if name.startswith(ENCODER):
            own = carried[:, first : first + part[0].size].reshape(count, shape[0], lines, shape[1])
            part, first = np.swapaxes(own, 1, 2).reshape(part.shape), first + part[0].size
        parts.append(part)
    return np.concatenate(parts, axis=2)
