"""What an exporter is given. In: a trained net and what stands before and behind it. Out: one frozen record."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import numpy.typing as npt

from tidegate.data.times import Clock
from tidegate.data.vocabulary import Tokenizer
from tidegate.errors import ConfigError, shown
from tidegate.runtime.predictor import Predictor
from tidegate.tasks.forecast_net import Plan

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}\Z")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Followed:
    """What stands round a forecaster's net, which follows one series row by row.

    Args:  plan: what shapes the net. targets: K names. factors: level of an interval -> (F,) factor of its width, levels rising;
           none for a net that gives a point alone. lower: the smallest possible value, or None. clock, first: the time axis, and
           the position of the first row. codes: (K,) learnt vectors of the lines. answers: a net and rows (T, K), NaN where a
           value is missing, -> (T, N) the answer after each, from no history: the forecast (K * F), then the lower and upper end
           of each level.
    """

    plan: Plan
    targets: tuple[str, ...]
    factors: Mapping[float, npt.NDArray[np.float64]]
    lower: float | None
    clock: Clock
    first: int
    codes: npt.NDArray[np.int64]
    answers: Callable[[Predictor, npt.NDArray[np.float32]], npt.NDArray[np.float64]]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Deployed:
    """A net on its way to another form.

    Args:  net: what runs. task: "net" for a bare one, whose answer is its outputs. tokenizer: how a text becomes codes.
           classes, temperature: of a classifier. longest: tokens of a text that are read. followed: of a forecaster. about:
           where it comes from, in a line.
    """

    net: Predictor
    task: Literal["net", "classify", "generate", "forecast"] = "net"
    tokenizer: Tokenizer | None = None
    classes: tuple[str, ...] = ()
    temperature: float = 1.0
    longest: int | None = None
    followed: Followed | None = None
    about: str = "a net"


def checked_name(name: str) -> str:
    """A prefix of every name in the exported file. Raises: ConfigError unless it is a short C name in lower or upper case."""
    if isinstance(name, str) and name.lower() == "tg":
        raise ConfigError(f"name: {name!r} begins the names that all headers share; give another (--name)")
    if not isinstance(name, str) or not _NAME.match(name):
        raise ConfigError(
            f"name: expected a letter, then at most 30 letters, digits or underscores, got {shown(name)}; give another (--name)"
        )
    return name
