"""Small forecasters with asymmetric random weights, untrained: a plan, a panel, a Core, and what a device is given of them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tests.export.specs import predictor
from tidegate.data.panel import Panel, build_panel
from tidegate.data.table import read_table
from tidegate.decode.quantiles import checked_levels
from tidegate.export.c import Header, header
from tidegate.export.deployed import Deployed
from tidegate.models.forecast_core import CALIBRATED, Core, Corrections
from tidegate.models.forecast_device import followed
from tidegate.models.forecast_stream import ForecastStream
from tidegate.tasks.forecast import ForecastOptions, make_plan
from tidegate.tasks.forecast_net import Plan, build_spec

ROWS = 900
CLOCKS: dict[str, np.ndarray] = {
    "count": np.arange(ROWS),
    "days": np.datetime64("2022-11-20") + np.arange(ROWS).astype("timedelta64[D]"),
    "hours": np.datetime64("2024-02-10T05:30") + np.arange(ROWS).astype("timedelta64[h]"),
    "quarters": np.datetime64("2024-02-28T23:15:30") + 15 * np.arange(ROWS).astype("timedelta64[m]"),
    "seconds": np.datetime64("2024-12-31T23:50:07") + 7 * np.arange(ROWS).astype("timedelta64[s]"),
    "months": np.datetime64("1969-03") + np.arange(ROWS).astype("timedelta64[M]"),
    "business": np.busday_offset("2023-01-02", np.arange(ROWS)),
}
LEVELS = checked_levels((80, 95))


class Made(NamedTuple):
    """One forecaster."""

    core: Core
    panel: Panel
    deployed: Deployed

    def stream(self) -> ForecastStream:
        """From no history."""
        stream = ForecastStream.after(self.core, self.panel, None, "hold", lambda: b"")
        stream.reset()
        return stream

    def header(self, name: str = "m") -> Header:
        return header(self.deployed, name)


def forecaster(
    *, clock: str = "count", targets: int = 1, seed: int = 0, scale: float = 0.3, lower: float | None = None,
    corrected: bool = True, **options: object,
) -> Made:  # fmt: skip
    """An untrained forecaster of one series of `targets` columns."""
    given = {"horizon": 5, "season": 4, "hidden_size": 6, "lookback": 16, "calendar": clock != "count", **options}
    chosen = ForecastOptions(lower=lower, **given)  # type: ignore[arg-type]
    names = [f"y{k}" for k in range(targets)]
    times = CLOCKS[clock]
    columns = {"when": times if times.dtype == np.int64 else times.astype("datetime64[ns]")}
    columns |= {name: np.random.default_rng(k).normal(size=ROWS) for k, name in enumerate(names)}
    panel = build_panel(read_table(columns), target=names, time="when")
    plan = make_plan(chosen, panel)
    net = predictor(build_spec(plan), seed, scale)
    factors = np.random.default_rng(seed).uniform(0.8, 1.6, (len(CALIBRATED), plan.horizon))
    core = Core(plan, (net,), Corrections(CALIBRATED, factors) if corrected else None, lower, 1, tuple(panel.ids))
    return _made(core, panel)


def with_plan(made: Made, plan: Plan) -> Made:
    """The same with another plan, and weights that fit it."""
    return _made(replace(made.core, plan=plan, nets=(predictor(build_spec(plan)),)), made.panel)


def _made(core: Core, panel: Panel) -> Made:
    return Made(core, panel, Deployed(net=core.nets[0], task="forecast", followed=followed(core, panel)))


# Both scalings, every output, every cell, several targets and layers, a horizon of no whole segments, every kind of clock.
FORECASTERS: dict[str, dict[str, object]] = {
    "running": {
        "scaling": "running",
        "cell": "gru",
        "clock": "days",
        "season": 7,
        "lookback": 28,
        "hidden_size": 9,
        "horizon": 10,
    },
    "window": {"scaling": "window", "cell": "lstm", "clock": "hours", "targets": 2, "num_layers": 2, "lower": 0.5, "horizon": 7},
    "normal": {"scaling": "running", "cell": "rnn", "output": "gaussian", "targets": 3, "identity": True, "season": 3},
    "student": {"scaling": "window", "cell": "rnn", "output": "student_t", "clock": "quarters", "targets": 2, "lookback": 9},
    "point": {"scaling": "window", "cell": "gru", "output": "point", "clock": "months", "segment": 1, "lags": (2, 5)},
    "tails": {
        "scaling": "running",
        "cell": "lstm",
        "num_layers": 2,
        "clock": "business",
        "quantiles": (0.2, 0.5, 0.7),
        "season": 5,
    },
}


def golden_rows(targets: int, count: int, seed: int = 3) -> npt.NDArray[np.float32]:
    """(count, targets) rows as a sensor may give them: large beside their spread, with a cycle, outliers and gaps."""
    rng = np.random.default_rng(seed)
    rows = 1013.0 + 4.0 * np.sin(np.arange(count) / 3.0)[:, None] + rng.standard_t(2, (count, targets))
    rows[rng.random(rows.shape) < 0.1] = np.nan
    rows[0] = 1012.5
    return rows.astype(np.float32)
