"""`tidegate demo`: the whole road on bundled public-domain data, in under a minute."""

from __future__ import annotations

import argparse
import time
from importlib.resources import as_file, files

import numpy as np

from tidegate.cli.common import folder
from tidegate.data.table import Table, read_table
from tidegate.models import Forecaster

EXAMPLE = """example:
  tidegate demo
  tidegate demo --output somewhere --steps 600"""
HORIZON = 14


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `demo`."""
    parser.add_argument("-o", "--output", default="demo", metavar="FOLDER", help="where model, picture, page and table go; default demo/")
    parser.add_argument("--steps", type=int, default=600, metavar="N", help="training steps, default 600")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")


def weather() -> Table:
    """Daily weather at Seattle, 2012-2015 (NOAA, public domain)."""
    with as_file(files("tidegate") / "bundled" / "seattle-weather.csv") as path:
        return read_table(path)


def run(args: argparse.Namespace) -> int:
    """Fit on all but the last year's end, score beside naive, forecast, stream, draw, report."""
    began, place = time.perf_counter(), folder(args.output)
    table = weather()
    print(f"Daily maximum and minimum temperature at Seattle, {len(table):,} days; forecasting {HORIZON} days.\n")
    columns: dict[str, object] = {"target": ("temp_max", "temp_min"), "time": "date", "past": ("precipitation", "wind")}
    model = Forecaster(horizon=HORIZON, steps=args.steps, seed=args.seed)
    print("1. backtest: 12 cutoffs, the network trained on the rows before the first alone")
    found = model.backtest(table, windows=12, **columns)  # type: ignore[arg-type]  # column keywords
    print(found, "\n")
    found.write(place)
    print("2. fit on everything, save as one file")
    model.fit(table, history=place / "history.jsonl", **columns)  # type: ignore[arg-type]  # column keywords
    model.save(place / "weather.safetensors")
    print(f"   {model!r}\n")
    print("3. forecast, picture, page")
    answer = read_table(model.predict())
    answer.write_csv(place / "forecast.csv")
    print(answer.rows(np.arange(3)))
    model.plot(place / "forecast.png")
    model.page(place / "forecast.html", evaluation=found)
    print(f"\n{time.perf_counter() - began:.0f} s. Look at {place}/forecast.png and {place}/forecast.html. What to try next:")
    print(f"  tidegate info {place}/weather.safetensors")
    print(f"  tidegate predict {place}/weather.safetensors --levels 50,90")
    print(f"  tidegate plot {place}/history.jsonl -o {place}/training.png")
    print("  tidegate fit forecast your.csv --target COLUMN --time COLUMN --horizon 14 -o your.safetensors")
    return 0
