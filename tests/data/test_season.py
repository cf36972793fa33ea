"""season.py: seasons the data supports, on generated series and on the real ones of the issue."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tidegate.data.season import infer_season
from tidegate.data.table import read_table

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data sets")


def test_a_season_in_noise_is_found_and_noise_has_none() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(400)
    waves = [np.sin(2 * np.pi * (t + k) / 12) + 0.3 * rng.normal(size=400) for k in range(5)]
    assert infer_season(waves, (12,)) == (12,)
    assert infer_season(waves) == (12,)
    assert infer_season([rng.normal(size=400) for _ in range(5)]) == (1,)
    assert infer_season([rng.normal(size=400).cumsum() for _ in range(5)], (7, 30)) == (1,)


def test_a_trend_is_no_season() -> None:
    assert infer_season([np.arange(200.0) ** 1.5], (7, 12)) == (1,)


def test_repeats_of_a_season_are_not_seasons() -> None:
    t = np.arange(2000)
    day = np.sin(2 * np.pi * t / 24)
    assert infer_season(day, (24, 48, 168)) == (24,)
    weekend = (t // 24 % 7 > 4) * 0.7
    assert infer_season(day + weekend) == (24, 168)
    assert infer_season(day + weekend, (24, 168)) == (24, 168)


def test_missing_values_scale_and_offsets_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    y = 1e30 * (5 + np.tile([0.0, 1, 3, 1, 0, -2, -3], 60) + 0.1 * rng.normal(size=420))
    y[rng.random(420) < 0.1] = np.nan
    assert infer_season(y, (7, 365)) == (7,)
    assert infer_season(np.concatenate([y, y]), (7,), offsets=np.array([0, 420, 840])) == (7,)


@pytest.mark.parametrize("y", [np.ones(50), np.full(50, np.nan), np.array([]), np.array([1.0]), []])
def test_nothing_to_see_is_season_1(y: np.ndarray) -> None:
    assert infer_season(y) == (1,)
    assert infer_season(y, (7,)) == (1,)


def test_too_short_for_three_seasons_is_season_1() -> None:
    assert infer_season(np.tile([0.0, 5, 1, 3], 3)[:11], (4,)) == (1,)


@needs_data
@pytest.mark.data
def test_m4_hourly_has_24_and_168() -> None:
    with open(DATA / "m4_hourly" / "Hourly-train.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    series = [np.array([float(v) for v in row[1:] if v]) for row in rows]
    assert infer_season(series) == (24, 168)
    assert infer_season(series, (24, 168)) == (24, 168)


@needs_data
@pytest.mark.data
def test_passengers_have_12_and_weather_has_none() -> None:
    passengers = read_table(DATA / "small_series" / "airline-passengers.csv")["Passengers"]
    assert infer_season(passengers.astype(float), (12,)) == infer_season(passengers.astype(float)) == (12,)
    weather = read_table(DATA / "seattle_weather" / "seattle-weather.csv")
    for column in ("temp_max", "wind", "precipitation"):
        assert infer_season(weather[column], (7, 365)) in ((1,), (7,))
