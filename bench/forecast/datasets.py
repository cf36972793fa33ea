"""The benchmark's data sets: files of ../shared/data (or $TIDEGATE_DATA) -> frames. In: a name. Out: a table, columns, options of
the protocol."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

DATA = Path(os.environ.get("TIDEGATE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def m4_hourly() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The 414 training series as a long table, and the (414, 48) test file."""
    train, test = (_wide(DATA / "m4_hourly" / f"Hourly-{part}.csv") for part in ("train", "test"))
    table = {
        "id": np.repeat(np.array(list(train), object), [len(y) for y in train.values()]),
        "time": np.concatenate([np.arange(len(y)) for y in train.values()]),
        "y": np.concatenate(list(train.values())),
    }
    return table, np.stack([test[name] for name in train])


def m4_whole() -> dict[str, np.ndarray]:
    """Training series with the test file behind them, for `evaluate`."""
    train, test = (_wide(DATA / "m4_hourly" / f"Hourly-{part}.csv") for part in ("train", "test"))
    joined = {name: np.concatenate([y, test[name]]) for name, y in train.items()}
    return {
        "id": np.repeat(np.array(list(joined), object), [len(y) for y in joined.values()]),
        "time": np.concatenate([np.arange(len(y)) for y in joined.values()]),
        "y": np.concatenate(list(joined.values())),
    }


def _wide(path: Path) -> dict[str, np.ndarray]:
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    return {row[0]: np.array([float(v) for v in row[1:] if v != ""]) for row in rows}


def etth1() -> tuple[list[str], dict[str, np.ndarray]]:
    """ETTh1, the first 14,400 rows, standardised with the mean and deviation of the first 8,640 (the usual protocol)."""
    with (DATA / "ett" / "ETTh1.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    names = rows[0][1:]
    values = np.array([[float(v) for v in row[1:]] for row in rows[1:]])[:14_400]
    values = (values - values[:8640].mean(0)) / values[:8640].std(0)
    table: dict[str, np.ndarray] = {"date": np.array([row[0] for row in rows[1:14_401]], "datetime64[ns]")}
    return names, table | {name: values[:, k] for k, name in enumerate(names)}
