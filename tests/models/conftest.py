from __future__ import annotations

import numpy as np
import pytest

import tidegate as tg

SMALL = {"steps": 30, "hidden_size": 8, "batch_size": 32}


def series(seed=0, lengths=(160, 120, 90), season=12):
    rng = np.random.default_rng(seed)
    return [10 + i + 4 * np.sin(2 * np.pi * np.arange(n) / season) + rng.normal(size=n) for i, n in enumerate(lengths)]


def long_table(seed=0, lengths=(160, 120), **extra):
    ys = series(seed, lengths)
    start = np.datetime64("2024-01-01T00", "ns")
    columns = {
        "shop": np.concatenate([np.full(len(y), f"shop {'αβγ'[i]}", object) for i, y in enumerate(ys)]),
        "when": np.concatenate([start + np.arange(len(y)) * np.timedelta64(1, "h") for y in ys]),
        "sales": np.concatenate(ys),
    }
    return columns | {name: make(columns) for name, make in extra.items()}


@pytest.fixture(scope="session")
def fitted():
    """A small net on three series with a gap in one."""
    ys = series()
    ys[1][40:44] = np.nan
    return tg.Forecaster(horizon=6, season=12, **SMALL).fit(ys)
