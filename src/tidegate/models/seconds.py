"""Time budgets as people write them. In: "90s", "10m", "1h" or seconds. Out: seconds."""

from __future__ import annotations

import re

from tidegate.errors import ConfigError

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_budget(budget: str | float | None) -> float | None:
    """Seconds of a budget; None stays None. Raises: ConfigError."""
    if budget is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h)?\s*", str(budget))
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match else 0.0
    if seconds <= 0:
        raise ConfigError(f"budget: expected a time such as '90s', '10m' or '1h', got {budget!r}")
    return seconds
