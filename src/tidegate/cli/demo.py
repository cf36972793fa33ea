"""`tidegate demo`: the whole road on bundled public-domain data, in under a minute."""

from __future__ import annotations

import argparse
import time
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from tidegate.cli.common import Columns, folder, program, wrapped
from tidegate.data.table import Table, read_table
from tidegate.models import Forecaster
from tidegate.tasks.evaluation import Evaluation

EXAMPLE = """example:
  tidegate demo
  tidegate demo --output somewhere --steps 600

`tidegate demo text --help` tells of another demonstration: what recurrent nets make of sentences."""
HORIZON, WINDOWS, STEPS = 14, 12, 300
COLUMNS: Columns = {"target": ("temp_max",), "time": ("date",), "id": None, "past": (), "future": (), "static": ()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `demo`."""
    parser.add_argument(
        "-o", "--output", default="demo", metavar="FOLDER", help="where model, picture, page and table go; default demo/"
    )
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"training steps, default {STEPS}")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")


def weather() -> Table:
    """Daily weather at Seattle, 2012-2015 (NOAA, public domain)."""
    with as_file(files("tidegate") / "bundled" / "seattle-weather.csv") as path:
        return read_table(path)


def run(args: argparse.Namespace) -> int:
    """Score beside naive, fit on everything, forecast, stream, draw, report."""
    model = Forecaster(horizon=HORIZON, steps=args.steps, seed=args.seed)
    began, place, table = time.perf_counter(), folder(args.output), weather()
    print("Daily maximum temperature at Seattle in °C, NOAA, public domain:")
    print(f"{len(table):,} days, 2012 to 2015. The question: the next {HORIZON} days.\n")
    found = _score(model, table, place)
    _fit(model, table, place)
    _forecast(model, found, place)
    _stream(model)
    _next(place, time.perf_counter() - began)
    return 0


def _score(model: Forecaster, table: Table, place: Path) -> Evaluation:
    print(f"1. Is it any good? The last {WINDOWS * HORIZON} days as {WINDOWS} forecasts of {HORIZON} days, by a network that saw")
    print("   only the days before all of them, beside forecasts that need no network:\n")
    found = model.backtest(table, windows=WINDOWS, **COLUMNS)
    print(wrapped(str(found), indent="   "), "\n")
    found.write(place)
    return found


def _fit(model: Forecaster, table: Table, place: Path) -> None:
    print("2. Train on all days, and keep everything in one file:")
    model.fit(table, history=place / "history.jsonl", **COLUMNS)
    model.save(place / "weather.safetensors")
    print(wrapped(repr(model), indent="   "), "\n")


def _forecast(model: Forecaster, found: Evaluation, place: Path) -> None:
    print("3. Forecast, with intervals (the first 5 days):")
    answer = read_table(model.predict())
    answer.write_csv(place / "forecast.csv")
    print(wrapped(str(answer.rows(np.arange(5))), indent="   "), "\n")
    model.plot(place / "forecast.png")
    model.page(place / "forecast.html", evaluation=found)


def _stream(model: Forecaster) -> None:
    """Follow a few new days, one at a time."""
    stream, days = model.stream(), (6.1, 7.2, 8.9)
    print("4. Stream: a new day comes in, a new forecast goes out:")
    for value in days:
        began = time.perf_counter()
        answer = stream.push(value)
        took = (time.perf_counter() - began) * 1e3
        print(f"   measured {value:4.1f} °C -> tomorrow {answer.forecast[0, 0]:4.1f} °C   ({took:.1f} ms)")
    print()


def _next(place: Path, seconds: float) -> None:
    print(f"Done in {seconds:.0f} s. Look at {place}/forecast.png and {place}/forecast.html. What to try next:")
    name = program()
    print(f"  {name} info {place}/weather.safetensors")
    print(f"  {name} predict {place}/weather.safetensors --levels 50,90")
    print(f"  {name} plot {place}/history.jsonl -o {place}/training.png")
    print("and with a file of your own, your.csv, and the names of its columns:")
    print(f"  {name} check your.csv --target COLUMN --time COLUMN --horizon 14")
    print(f"  {name} fit forecast your.csv --target COLUMN --time COLUMN --horizon 14 -o your.safetensors")
