"""Small data files, one trained model, and the command line as a function or a process. One thread: the machine is shared."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

import tidegate
from tidegate.cli import main

SMALL = (
    "--target",
    "y",
    "--time",
    "day",
    "--horizon",
    "3",
    "--season",
    "7",
    "--lookback",
    "14",
    "--hidden-size",
    "8",
    "--batch-size",
    "8",
)


class Said(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line in this process."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as ended:  # --help and --version end the process
            status = int(ended.code or 0)
        return Said(status, *capsys.readouterr())

    return call


def environment() -> dict[str, str]:
    source = str(Path(tidegate.__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tidegate", *map(str, arguments)]


def process(*arguments: object, **keywords: object) -> subprocess.CompletedProcess[str]:
    """The command line as a process."""
    return subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True, timeout=120, **keywords)  # type: ignore[call-overload,no-any-return]


def days(count: int, first: str = "2020-01-01") -> list[str]:
    return [str(day) for day in np.datetime64(first) + np.arange(count)]


def csv(rows: int = 90, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    y = 10 + 3 * np.sin(np.arange(rows) * 2 * np.pi / 7) + rng.normal(0, 0.3, rows)
    return "day,y\n" + "".join(f"{day},{value:.3f}\n" for day, value in zip(days(rows), y, strict=True))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 days of a weekly wave."""
    path = tmp_path_factory.mktemp("data") / "wave.csv"
    path.write_text(csv())
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A forecaster trained on it, with its history beside it."""
    path = tmp_path_factory.mktemp("model") / "wave.safetensors"
    done = main(
        ["fit", "forecast", str(data), *SMALL, "--steps", "20", "-o", str(path), "--history", str(path.with_suffix(".jsonl"))]
    )
    assert done == 0
    return path
