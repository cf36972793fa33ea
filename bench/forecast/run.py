"""One row and seed of the forecasting benchmark -> one JSON in results/. A row that has its JSON is not run again (--again does).

    python bench/forecast/run.py m4 --seed 0
    python bench/forecast/run.py all            # what is missing, one after the other

Defaults of the Forecaster only; what a protocol prescribes (horizon, season, look-back, split) is said here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import datasets

import tidegate as tg

RESULTS = Path(__file__).resolve().parent / "results"


def m4(seed: int, **options: Any) -> dict[str, Any]:
    table, _ = datasets.m4_hourly()
    model = tg.Forecaster(horizon=48, season=24, seed=seed, **options)
    fit_s = _timed(lambda: model.fit(table, target="y", time="time", id="id"))
    found: tg.Evaluation | None = None
    whole = datasets.m4_whole()
    began = time.perf_counter()
    found = model.evaluate(whole, levels=(80, 95))
    return {**_scores(found), "fit_s": fit_s, "evaluate_s": time.perf_counter() - began, "steps": model.card["steps"]}


def m4_ensemble(seed: int) -> dict[str, Any]:
    return m4(seed, ensemble=5)


def etth1(seed: int) -> dict[str, Any]:
    names, table = datasets.etth1()
    seen = {name: column[:11_520] for name, column in table.items()}
    model = tg.Forecaster(horizon=96, lookback=96, season=24, validation=2880, seed=seed)
    fit_s = _timed(lambda: model.fit(seen, target=names, time="date"))
    return {**_every_window(model, names, table), "fit_s": fit_s, "steps": model.card["steps"]}


def _every_window(model: tg.Forecaster, names: list[str], table: dict[str, np.ndarray]) -> dict[str, Any]:
    """MSE and MAE over every test window, stride 1, all channels alike, and the seasonal naive's."""
    from tidegate.data.lines import Cut, Lines
    from tidegate.data.panel import build_panel
    from tidegate.data.table import read_table

    fitted = model._ready()
    lines = Lines(build_panel(read_table(table), schema=fitted.panel.schema))
    errors = {"tidegate": np.zeros(2), "seasonal naive": np.zeros(2)}
    count = 0
    for line in range(len(names)):
        cutoffs = np.arange(11_520, 14_400 - 96 + 1)
        cut = Cut(np.full(len(cutoffs), line), cutoffs)
        truth = lines.values(cut, 0, 96)
        day = lines.values(cut, -24, 24)
        for name, point in (("tidegate", fitted.core.forecasts(lines, cut, (80,)).point), ("seasonal naive", np.tile(day, 4))):
            errors[name] += [np.sum((truth - point) ** 2), np.sum(np.abs(truth - point))]
        count += truth.size
    rows = [{"method": name, "MSE": e[0] / count, "MAE": e[1] / count} for name, e in errors.items()]
    return {"table": rows, "windows": len(cutoffs)}


def beijing(seed: int) -> dict[str, Any]:
    path = datasets.DATA / "beijing_pm25" / "pollution.csv"
    model = tg.Forecaster(horizon=24, seed=seed)
    columns = {
        "target": "pm2.5",
        "time": ("year", "month", "day", "hour"),
        "past": ("DEWP", "TEMP", "PRES", "cbwd", "Iws", "Is", "Ir"),
    }
    return _backtest(model, path, columns)


def pjm(seed: int) -> dict[str, Any]:
    path = datasets.DATA / "pjm_energy" / "AEP_hourly.csv.gz"
    model = tg.Forecaster(horizon=24, seed=seed, duplicates="mean")
    return _backtest(model, path, {"target": "AEP_MW", "time": "Datetime" if b"Datetime" in _head(path) else "date"})


def _head(path: Path) -> bytes:
    import gzip

    with gzip.open(path) as stream:
        return stream.readline()


def _backtest(model: tg.Forecaster, path: Path, columns: dict[str, Any]) -> dict[str, Any]:
    found: list[tg.Evaluation] = []
    seconds = _timed(lambda: found.append(model.backtest(path, windows=5, **columns)))
    return {**_scores(found[0]), "backtest_s": seconds}


def generated(seed: int) -> dict[str, Any]:
    """3,000 generated series x 300 points: fit and predict all."""
    rng = np.random.default_rng(seed)
    t = np.arange(300)
    level, phase, size = (rng.random((3000, 1)) for _ in range(3))
    y = (
        10
        + 20 * level
        + (2 + 5 * size) * np.sin(2 * np.pi * (t / 12 + phase))
        + 0.02 * t * rng.normal(size=(3000, 1))
        + rng.normal(size=(3000, 300))
    )
    table = {"id": np.repeat(np.arange(3000), 300), "time": np.tile(t, 3000), "y": y.reshape(-1)}
    model = tg.Forecaster(horizon=12, season=12, seed=seed)
    fit_s = _timed(lambda: model.fit(table, target="y", time="time", id="id"))
    predict_s = _timed(lambda: model.predict())
    return {"fit_s": fit_s, "predict_all_s": predict_s, "steps": model.card["steps"], "held_back": model.card["held_back"]}


def overhead(seed: int) -> dict[str, Any]:
    """The share of the loop's time outside forward, backward and optimiser."""
    import torch

    from tidegate.data.panel import build_panel
    from tidegate.data.table import read_table
    from tidegate.models.forecast_fit import train_options
    from tidegate.tasks.forecast import ForecastOptions, ForecastProblem, make_plan
    from tidegate.train import loop, new_state

    table, _ = datasets.m4_hourly()
    panel = build_panel(read_table(table), target="y", time="time", id="id")
    options = ForecastOptions(horizon=48, season=24, seed=seed)
    problem = ForecastProblem(options, make_plan(options, panel), panel)
    settings = train_options(options, 200)
    state = new_state(problem, settings)
    inside = [0.0]

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                inside[0] += time.perf_counter() - began

        return wrapper

    loop._loss = timed(loop._loss)  # type: ignore[assignment]
    torch.Tensor.backward = timed(torch.Tensor.backward)  # type: ignore[method-assign]
    state.optimiser.step = timed(state.optimiser.step)  # type: ignore[method-assign]
    steps = loop.train(problem, settings, state)
    next(steps)
    began, inside[0] = time.perf_counter(), 0.0
    for _, _ in zip(range(90), steps, strict=False):
        pass
    total = time.perf_counter() - began
    return {"loop_s": total, "inside_s": inside[0], "outside_share": 1 - inside[0] / total}


def wide(seed: int, series: int = 3000, points: int = 17_520) -> dict[str, Any]:
    """3,000 hourly series x 17,520 points: time and peak memory, above the data itself."""
    import polars as pl

    rng = np.random.default_rng(seed)
    t = np.arange(points)
    base = (10 + 5 * np.sin(2 * np.pi * t / 24) + 2 * np.sin(2 * np.pi * t / 168)).astype(np.float64)
    y = np.concatenate([base * (1 + rng.random()) + rng.normal(size=points) for _ in range(series)])
    start = np.datetime64("2022-01-01T00", "ns")
    table = pl.DataFrame(
        {
            "id": pl.Series(np.repeat(np.arange(series, dtype=np.int32), points)),
            "time": pl.Series(np.tile(start + t * np.timedelta64(1, "h"), series)),
            "y": pl.Series(y),
        }
    )
    del y
    before = _peak_mb()
    model = tg.Forecaster(horizon=24, seed=seed, steps=500)
    fit_s = _timed(lambda: model.fit(table, target="y", time="time", id="id"))
    after = _peak_mb()
    predict_s = _timed(lambda: model.predict())
    data_mb = table.estimated_size() / 1e6
    return {
        "series": series,
        "points": points,
        "fit_s": fit_s,
        "steps": 500,
        "predict_all_s": predict_s,
        "peak_mb": _peak_mb(),
        "data_mb": data_mb,
        "above_data_mb": after - before,
        "season": model.plan["season"],
    }


def memory(seed: int) -> dict[str, Any]:
    """10,000 series x 1,000 points: memory above the data itself."""
    return wide(seed, 10_000, 1_000)


ROWS: dict[str, tuple[Callable[[int], dict[str, Any]], tuple[int, ...]]] = {
    "m4": (m4, (0, 1, 2)),
    "m4_ensemble": (m4_ensemble, (0,)),
    "etth1": (etth1, (0, 1, 2)),
    "beijing": (beijing, (0, 1, 2)),
    "pjm": (pjm, (0, 1, 2)),
    "generated": (generated, (0,)),
    "overhead": (overhead, (0,)),
    "memory": (memory, (0,)),
    "wide": (wide, (0,)),
}


def _scores(found: tg.Evaluation) -> dict[str, Any]:
    plain = found.to_json()
    return {"table": plain["table"], "verdict": plain["verdict"], "windows": plain["windows"], "series": plain["series"]}


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> dict[str, Any]:
    import torch

    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def run_row(name: str, seed: int) -> None:
    call, _ = ROWS[name]
    import torch  # noqa: F401  # so that no row pays for the import

    result = call(seed)
    found = {
        "row": name,
        "seed": seed,
        **result,
        "peak_mb": result.get("peak_mb", _peak_mb()),
        "tidegate": tg.__version__,
        "machine": machine(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}-{seed}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({k: v for k, v in found.items() if k not in ("verdict", "machine")}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=[*ROWS, "all"])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--again", action="store_true", help="run it although its result is there")
    args = parser.parse_args()
    if args.row != "all":
        seed = args.seed or 0
        if args.again or not (RESULTS / f"{args.row}-{seed}.json").exists():
            run_row(args.row, seed)
        return
    for name, (_, seeds) in ROWS.items():
        for seed in seeds:
            if args.again or not (RESULTS / f"{name}-{seed}.json").exists():
                print(f"== {name}, seed {seed}", flush=True)
                subprocess.run([sys.executable, __file__, name, "--seed", str(seed), "--again"], check=False)


if __name__ == "__main__":
    main()
