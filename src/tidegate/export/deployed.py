"""What an exporter is given. In: a trained net and what stands before and behind it. Out: one frozen record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, final

from tidegate.data.vocabulary import Tokenizer
from tidegate.errors import ConfigError, shown
from tidegate.runtime.predictor import Predictor

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}\Z")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Deployed:
    """A net on its way to another form.

    Args:  net: what runs. task: "net" for a bare one, whose answer is its outputs. tokenizer: how a text becomes codes.
           classes, temperature: of a classifier. longest: tokens of a text that are read. about: where it comes from, in a line.
    """

    net: Predictor
    task: Literal["net", "classify", "generate"] = "net"
    tokenizer: Tokenizer | None = None
    classes: tuple[str, ...] = ()
    temperature: float = 1.0
    longest: int | None = None
    about: str = "a net"


def checked_name(name: str) -> str:
    """A prefix of every name in the exported file. Raises: ConfigError unless it is a short C name in lower or upper case."""
    if not isinstance(name, str) or not _NAME.match(name) or name.lower() == "tg":  # the prefix of what every header shares
        raise ConfigError(
            f"name: expected a letter, then at most 30 letters, digits or underscores, got {shown(name)}; give another (--name)"
        )
    return name
