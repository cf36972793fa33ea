"""The largest hidden size that a device holds, before training. In: bytes of flash and RAM, options. Out: options."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar, final

from tidegate.errors import ConfigError, TaskError

if TYPE_CHECKING:  # a model is loaded without its exporters and without other tasks
    from tidegate.export.c.budget import Budget
    from tidegate.export.deployed import Deployed
    from tidegate.tasks.classify import ClassifyOptions
    from tidegate.tasks.forecast import ForecastOptions
    from tidegate.tasks.generate import GenerateOptions

SIZES = (*range(4, 64, 4), *range(64, 257, 8))
_SIZE = re.compile(r"(\d{1,9})([KM]?)\Z")
_UNIT = {"": 1, "K": 1 << 10, "M": 1 << 20}
O = TypeVar("O", "ClassifyOptions", "ForecastOptions", "GenerateOptions")  # noqa: E741  # options


@final
@dataclass(frozen=True)
class Limits:
    """Bytes that a device has; None: as many as it takes."""

    flash: int | None
    ram: int | None

    def hold(self, needed: Budget) -> bool:
        """Whether it fits."""
        return (self.flash is None or needed.flash <= self.flash) and (self.ram is None or needed.ram <= self.ram)


def limits(flash: str | int | None, ram: str | int | None, given: Mapping[str, object]) -> Limits | None:
    """Limits from bytes, or texts such as "32K". given: options of the model. Raises: ConfigError."""
    if flash is None and ram is None:
        return None
    if given.get("hidden_size") is not None:
        raise ConfigError("hidden_size: is chosen by flash and ram, got both; leave one of them out")
    return Limits(_bytes("flash", flash), _bytes("ram", ram))


def _bytes(name: str, value: str | int | None) -> int | None:
    if value is None:
        return None
    found = _SIZE.match(value) if isinstance(value, str) else None
    number = int(found[1]) * _UNIT[found[2]] if found else value
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ConfigError(f"{name}: expected bytes, such as 4096, 32K or 1M, got {value!r}")
    return number


def sized(options: O, held: Limits, deployed: Callable[[O], Deployed]) -> tuple[O, str]:
    """The options with the largest hidden size that fits, and a sentence about it.

    Args:  deployed: options -> the untrained net and its tables.
    Raises: TaskError for options that are not exported, each with what to set instead; ConfigError where nothing fits.
    """
    from tidegate.export.c.budget import budget
    from tidegate.tasks.forecast import ForecastOptions

    _check(options)
    chosen: tuple[O, Budget] | None = None
    for hidden in SIZES:
        tried = replace(options, hidden_size=hidden)
        needed = budget(deployed(tried))
        if not held.hold(needed):
            break
        chosen = tried, needed
    if chosen is None:
        rows = isinstance(options, ForecastOptions)
        smaller = "make horizon, lookback, lags or quantiles fewer" if rows else "make the vocabulary or embedding_dim smaller"
        raise ConfigError(
            f"flash, ram: expected room for {SIZES[0]} units, {needed.flash:,} bytes of flash and {needed.ram:,} of RAM, "
            f"got {_said(held.flash)} and {_said(held.ram)}; give more, or {smaller}"
        )
    fitting, needed = chosen
    note = (
        f"hidden_size {fitting.hidden_size} was chosen: exported to C it takes at most {needed.flash:,} bytes of flash, code "
        f"included, the self-test's vectors not, and {needed.ram:,} of RAM, stack included"
    )
    return fitting, note


def _said(size: int | None) -> str:
    return "any" if size is None else f"{size:,}"


def _check(options: ClassifyOptions | ForecastOptions | GenerateOptions) -> None:
    """Raises: TaskError for what the blocks of the net do not show."""
    from tidegate.tasks.classify import ClassifyOptions
    from tidegate.tasks.generate import GenerateOptions

    if not isinstance(options, GenerateOptions):
        if options.ensemble > 1:
            raise TaskError("flash, ram: a device runs one net; set ensemble=1 (--ensemble 1)")
        if isinstance(options, ClassifyOptions) and options.ngrams:
            raise TaskError("flash, ram: a linear model of n-grams is not exported; set ngrams=False (--no-ngrams)")
    elif options.direction == "both":
        raise TaskError("flash, ram: a net from both sides is not exported; set direction='forward' (--direction forward)")
