"""A forecaster on a device: what stands round its net. In: Core, Panel. Out: Followed, whose golden answers are a stream's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tidegate.data.panel import Panel
from tidegate.export.deployed import Followed
from tidegate.models.forecast_core import Core
from tidegate.models.forecast_stream import ForecastStream
from tidegate.runtime.predictor import Predictor

LEVELS = (80.0, 95.0)  # of the intervals


def followed(core: Core, panel: Panel) -> Followed:
    """Of a series without history, whose clock stands where the training data ended.

    Args:  core: its plan, corrections and smallest value; its nets may be missing as long as no answers are asked for.
    """
    plan = core.plan
    ends = () if plan.output == "point" else LEVELS
    ones = np.ones(plan.horizon)
    factors = {level: ones if core.corrections is None else core.corrections.at(level) for level in ends}
    targets = panel.schema.roles.target
    known = plan.known_lines and panel.schema.id_kind == "none"  # there is one series, and it is this one
    codes = np.arange(1, len(targets) + 1) if known else np.zeros(len(targets))

    def answers(net: Predictor, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        stream = ForecastStream.after(replace(core, nets=(net,)), panel, None, "hold", lambda: b"")
        stream.reset()
        found = []
        for row in rows:
            said = stream.push(row)
            parts = [said.forecast, *(part[level] for level in ends for part in (said.lo, said.hi))]
            found.append(np.concatenate([part.ravel() for part in parts]))
        return np.stack(found)

    return Followed(
        plan=plan, targets=targets, factors=factors, lower=core.lower, clock=panel.schema.clock,
        first=int(panel.starts[0] + np.asarray(panel.lengths)[0]), codes=codes.astype(np.int64), answers=answers,
    )  # fmt: skip
