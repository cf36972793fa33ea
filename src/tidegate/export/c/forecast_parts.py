"""What a forecaster's header is made of: sizes, sections of its net, quantiles of its answer. In: Deployed, Followed. Out: Parts.

The text is written by forecast.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate.decode.quantiles import gaussian_quantile, level_ends, neighbours, student_t_quantile, student_t_series
from tidegate.errors import TaskError
from tidegate.export.c.clock import Ticks, ticks
from tidegate.export.c.segments import Sections, sections
from tidegate.export.deployed import Deployed, Followed
from tidegate.tasks.forecast_net import Plan

LARGEST, MOST_INPUT = 3e38, 1e30  # of an answer; of a value, beyond which one is refused
SCALE, WORD = 24, 4  # bytes of a tg_measure, and of a pointer
OUTPUTS = ("quantile", "gaussian", "student_t", "point")
MOST_QUANTILES = 256  # their places are a byte each


@final
@dataclass(frozen=True)
class Head:
    """How a row of the net's answers becomes numbers: constants, and the bytes of their tables."""

    wanted: tuple[float, ...]  # probabilities, rising, the median in the middle
    tables: dict[str, npt.NDArray[np.floating]]
    left: npt.NDArray[np.intp]  # of a grid of quantiles
    corrected: bool
    growth: float  # an answer is at most so many times what the net gives

    @property
    def middle(self) -> int:
        """Where the median stands."""
        return len(self.wanted) // 2

    @property
    def flash(self) -> int:
        """Bytes."""
        return sum(table.size * (8 if name == "series" else 4) for name, table in self.tables.items()) + self.left.size


def check_plan(plan: Plan) -> None:
    """Raises: TaskError for a forecaster that no header holds, with what to fit instead."""
    if plan.decode != "direct":
        raise TaskError("the recursive net draws sample paths anew at every step; fit with decode='direct' (--decode direct)")
    if plan.uneven:
        raise TaskError("uneven time stamps: a device's rows come one clock step apart; fit with uneven=False (--no-uneven)")
    covariates = (plan.past_numbers, plan.future_numbers, plan.static_numbers)
    if any(covariates) or plan.past_levels or plan.future_levels or plan.static_levels:
        raise TaskError("the model reads covariates, a device's rows are targets alone; fit without past, future and static")
    if plan.output not in OUTPUTS:
        raise TaskError(
            f"output: expected {', '.join(OUTPUTS)}, got {plan.output!r}, whose quantiles a device does not compute; fit with "
            "output='quantile' (--output quantile)"
        )
    if len(plan.quantiles) > MOST_QUANTILES:
        raise TaskError(f"quantiles: expected at most {MOST_QUANTILES}, got {len(plan.quantiles)}; fit with fewer")


@final
@dataclass(frozen=True)
class Parts:
    """Of one forecaster. n: what names in its C begin with."""

    n: str
    own: Followed
    net: Sections
    head: Head
    ticks: Ticks | None

    @classmethod
    def of(cls, net: Deployed, own: Followed, name: str) -> Parts:
        """Raises: TaskError."""
        check_plan(own.plan)
        clock = ticks(own.clock, own.plan.calendar_columns, own.first) if own.plan.calendar else None
        return cls(name, own, sections(name, net.net, own.plan, own.codes), _head(own), clock)

    @property
    def plan(self) -> Plan:
        """What shapes the net."""
        return self.own.plan

    @property
    def moving(self) -> bool:
        """Whether statistics and states are carried, so that a step costs the same whatever the look-back."""
        return self.plan.scaling == "running"

    @property
    def reach(self) -> int:
        """Rows that are kept."""
        return max(self.plan.segment if self.moving else self.plan.lookback, *self.plan.bases)

    @property
    def outputs(self) -> dict[str, int]:
        """Fields of the answer and their numbers."""
        size = len(self.own.targets) * self.plan.horizon
        ends = (f"{side}_{level:g}".replace(".", "_") for level in self.own.factors for side in ("lo", "hi"))
        return dict.fromkeys(["forecast", *ends], size)

    @property
    def flash(self) -> int:
        """Bytes of weights and tables."""
        names = sum(WORD + len(name.encode()) + 1 for name in self.own.targets)
        return self.net.read.flash + self.head.flash + 4 * len(self.plan.bases) + names

    @property
    def ram(self) -> int:
        """Bytes of a state."""
        states = self.plan.segment * sum(self.net.read.state.values()) if self.moving else 0
        size = len(self.own.targets) * (SCALE + 4 * self.reach + 4 * states) + 8 + (8 if self.ticks else 0)
        return -(-size // 8) * 8  # doubles stand at whole eights

    @property
    def stack(self) -> int:
        """Bytes of a step's buffers."""
        here = sum(part.stack for part in self.net.each) + 4 * sum(self.net.ahead.state.values())
        here += 0 if self.moving else 4 * sum(self.net.read.state.values())
        own = self.past_width + self.future_width + 2 + len(self.head.wanted)
        return here + 4 * own + SCALE

    @property
    def products(self) -> int:
        """Multiply-adds of a step."""
        reads = 1 if self.moving else self.plan.lookback // self.plan.segment
        read, join, ahead = (part.products for part in self.net.each)
        return len(self.own.targets) * (reads * read + join + self.plan.future_segments * ahead)

    @property
    def most(self) -> float:
        """The largest value that is taken: with it no answer overflows."""
        return min(MOST_INPUT, LARGEST / (1.0 + 2.0 * self.net.most * self.head.growth))

    @property
    def past_width(self) -> int:
        """Numbers of a segment of the past."""
        return self.plan.segment * self.plan.past_channels + self.plan.calendar

    @property
    def future_width(self) -> int:
        """Numbers of a segment of the horizon."""
        return self.plan.segment * self.plan.future_channels + self.plan.calendar


def _head(own: Followed) -> Head:
    """Which quantiles the ends of the levels are, and where they stand in the trained grid."""
    plan = own.plan
    ends = [level_ends(level) for level in own.factors]
    wanted = tuple(sorted({0.5, *(p for pair in ends for p in pair)}))
    tables: dict[str, npt.NDArray[np.floating]] = {}
    left, growth = np.zeros(0, np.intp), 1.0
    if plan.output == "quantile":
        left, tables["weight"] = neighbours(np.array(plan.quantiles), np.array(wanted))
        growth += 2.0 * float(np.abs(tables["weight"]).max())
    elif plan.output == "gaussian":
        tables["z"] = gaussian_quantile(0.0, 1.0, wanted).ravel()
        growth += float(np.abs(tables["z"]).max())
    elif plan.output == "student_t":
        tables["series"] = np.stack([student_t_series(p) for p in wanted if p > 0.5])
        growth += float(student_t_quantile(2.0, 0.0, 1.0, (wanted[-1],)).item())
    factors = np.stack([*own.factors.values()]) if own.factors else np.ones((0, plan.horizon))
    corrected = bool((factors != 1.0).any())
    if corrected:
        tables["factors"] = factors
    return Head(wanted, tables, left, corrected, growth * (1.0 + 2.0 * float(np.abs(factors).max(initial=1.0))))
