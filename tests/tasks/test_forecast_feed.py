"""What a stream feeds its nets is what `FrontEnd` makes of the same rows, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

import checks
from tidegate.data.lines import Cut, Lines, Scale
from tidegate.data.panel import build_panel
from tidegate.data.table import read_table
from tidegate.tasks.forecast import ForecastOptions, make_plan
from tidegate.tasks.forecast_feed import AHEAD, Ahead, Feed, Ring
from tidegate.tasks.forecast_windows import FrontEnd, identity_codes

OPTIONS = {
    "plain": {},
    "lags": {"lags": (2, 3, 40)},
    "short segments": {"segment": 3, "lookback": 9},
    "no season": {"season": 1, "lookback": 8},
    "a horizon of two segments": {"horizon": 17},
}
CLOCKS = {"hour": np.timedelta64(1, "h"), "day": np.timedelta64(1, "D")}


def panel(rows, step, targets):
    rng = np.random.default_rng(rows)
    columns = {"when": np.datetime64("2024-02-20T05", "ns") + np.arange(rows) * step}
    for k in range(targets):
        y = 10 + k + 4 * np.sin(np.arange(rows) / 2) + rng.normal(size=rows)
        y[rng.random(rows) < 0.1] = np.nan
        columns[f"y{k}"] = y
    return build_panel(read_table(columns), target=[f"y{k}" for k in range(targets)], time="when")


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("name", OPTIONS)
def test_equal_to_the_front_end(name, clock, targets):
    whole = panel(400, CLOCKS[clock], targets)
    plan = make_plan(ForecastOptions(**{"horizon": 6, "season": 6, **OPTIONS[name]}), whole)
    assert plan.calendar
    feeds, count = {}, max(plan.lookback, *plan.bases)
    for rows in (1, 2, plan.segment, plan.segment + 1, plan.lookback - 1, plan.lookback, 150, 399, 400):
        lines = Lines(panel_of(whole, rows))
        cut = Cut(np.arange(targets), lines.lengths)
        expected = FrontEnd(plan, lines).windows(cut)
        if expected.inputs["past"].shape not in feeds:
            arrays = {port: np.zeros_like(x) for port, x in expected.inputs.items()}
            codes = identity_codes(plan, whole.ids, targets, ())
            feeds[expected.inputs["past"].shape] = arrays, Feed(plan, whole.schema.clock, codes, arrays)
        arrays, feed = feeds[expected.inputs["past"].shape]
        ring = Ring(targets, count)
        ring.fill(whole.target[:rows].T)
        feed.fill(ring.last(feed.reads), expected.scale, int(whole.starts[0]) + rows)
        for port, x in expected.inputs.items():
            checks.assert_bits(arrays[port], x, f"{port} after {rows} rows")


def panel_of(whole, rows):
    """Its first rows."""
    from dataclasses import replace

    past, future = (
        replace(group, numbers=group.numbers[:rows], codes=group.codes[:rows]) for group in (whole.past, whole.future)
    )
    return replace(whole, target=whole.target[:rows], offsets=np.array([0, rows]), past=past, future=future)


def test_where_nothing_was_seen_all_is_missing():
    whole = panel(100, CLOCKS["hour"], 2)
    whole.target[:, 1] = np.nan
    plan = make_plan(ForecastOptions(horizon=6, season=6), whole)
    lines = Lines(whole)
    expected = FrontEnd(plan, lines).windows(Cut(np.arange(2), lines.lengths))
    assert np.isnan(expected.scale.loc).tolist() == [False, True]
    arrays = {port: np.zeros_like(x) for port, x in expected.inputs.items()}
    feed = Feed(plan, whole.schema.clock, np.zeros(2, np.int64), arrays)
    feed.fill(whole.target[-feed.reads :].T, expected.scale, int(whole.starts[0]) + 100)
    for port, x in expected.inputs.items():
        checks.assert_bits(arrays[port], x, port)
    assert not arrays["past"][1].any()


def test_codes_stand_in_their_port():
    plan = make_plan(ForecastOptions(horizon=6, season=6), panel(100, CLOCKS["hour"], 1))
    from dataclasses import replace

    known = replace(plan, known_lines=4)
    inputs = {"past": np.zeros((2, 6, 2)), "future": np.zeros((2, 6, 4)), "line": np.zeros((2, 1), np.int64)}
    Feed(known, panel(100, CLOCKS["hour"], 1).schema.clock, identity_codes(known, ["b"], 2, ["a", "b"]), inputs)
    assert inputs["line"].tolist() == [[3], [4]]


def test_a_ring_keeps_the_last_columns():
    rng = np.random.default_rng(0)
    for keep in (1, 5, 300):
        ring, pushed = Ring(2, keep), np.zeros((2, 0))
        twin = ring
        for k in range(700):
            column = rng.normal(size=2)
            ring.push(column)
            pushed = np.concatenate([pushed, column[:, None]], 1)
            if k in (0, keep - 1, 64, 400, 699):
                whole = np.concatenate([np.full((2, keep), np.nan), pushed], 1)[:, -keep:]
                np.testing.assert_array_equal(ring.last(keep), whole)
                twin = ring.copy()
                again = Ring(2, keep)
                again.fill(pushed)
                np.testing.assert_array_equal(again.last(keep), whole)
        before = twin.last(keep).copy()
        ring.push(column)
        np.testing.assert_array_equal(twin.last(keep), before)


def test_what_is_worked_out_ahead_is_what_the_clock_says():
    asked = []

    def of(positions):
        asked.append(len(positions))
        return positions * 10

    ahead = Ahead(of)
    rng = np.random.default_rng(0)
    for first in (5, 6, 7, 300, 261, 0, -40, *rng.integers(-999, 999, 40).tolist()):
        for count, every in ((1, 1), (4, 24), (7, 1)):
            assert ahead.at(first, count, every).tolist() == [10 * (first + k * every) for k in range(count)]
    asked.clear()
    ahead.at(10_000, 3)
    for k in range(AHEAD):
        ahead.at(10_000 + k, 3)
    assert asked == [3 + AHEAD]


def test_scales_of_a_window_and_of_no_value():
    scale = Scale(np.array([np.nan, 2.0]), np.array([1.0, 3.0]))
    from tidegate.tasks.forecast_windows import level_channels, scaled

    level, seen = level_channels(scale)
    assert level.tolist() == [0.0, np.arcsinh(2 / 3) / 5]
    assert seen.tolist() == [False, True]
    z, mask = scaled(np.array([[1.0, np.nan], [5.0, 1e300]]), scale)
    assert z.tolist() == [[0, 0], [1, 1e6]]
    assert mask.tolist() == [[0, 0], [1, 1]]
