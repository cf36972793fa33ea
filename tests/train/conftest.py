"""Small problems to train. One thread: the tests compare bytes, and the machine is shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from tidegate.data.panel import build_panel
from tidegate.data.table import read_table
from tidegate.tasks.forecast import ForecastOptions, ForecastProblem, make_plan

MakeProblem = Callable[..., ForecastProblem]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_problem() -> MakeProblem:
    """Series -> ForecastProblem of a small net; without series, two noisy waves."""

    def make(series: list[np.ndarray] | None = None, **options: object) -> ForecastProblem:
        rng = np.random.default_rng(7)
        t = np.arange(90)
        waves = [np.sin(t / 3) + 0.2 * rng.standard_normal(90), 5 + 2 * np.cos(t / 4) + 0.3 * rng.standard_normal(90)]
        table = read_table(waves if series is None else series)
        panel = build_panel(table, target=["y"], time="time", id="id")
        small: dict[str, object] = {"horizon": 4, "season": 4, "lookback": 12, "hidden_size": 8, "batch_size": 8}
        chosen = ForecastOptions(**{**small, **options})  # type: ignore[arg-type]  # options by name
        return ForecastProblem(chosen, make_plan(chosen, panel), panel)

    return make
