from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from tidegate.blocks import graph
from tidegate.data.lines import Cut, Lines, Scale
from tidegate.data.panel import build_panel
from tidegate.data.table import read_table
from tidegate.runtime.ops import NumpyOps
from tidegate.runtime.predictor import Predictor
from tidegate.tasks.forecast import ForecastOptions, ForecastProblem, make_plan, quantile_grid
from tidegate.tasks.forecast_net import build_spec
from tidegate.tasks.forecast_windows import FrontEnd


def panel_of(ys, **columns):
    table = read_table(ys)
    return build_panel(table, target="y", time="time", id="id", **columns)


def wave(n, season=12, seed=0):
    return 10 + 3 * np.sin(2 * np.pi * np.arange(n) / season) + 0.3 * np.random.default_rng(seed).normal(size=n)


def plan_of(ys, **options):
    return make_plan(ForecastOptions(**{"horizon": 6, "hidden_size": 8, **options}), panel_of(ys))


def random_predictor(plan, seed=0):
    rng = np.random.default_rng(seed)
    spec = build_spec(plan)
    return Predictor(spec, {n: rng.normal(0, 0.3, s).astype(np.float32) for n, s in spec.parameters().items()})


# ---- the plan


def test_season_is_inferred_and_sets_segment_lookback_and_candidates():
    plan = plan_of([wave(300), wave(280, seed=1)])
    assert (plan.season, plan.segment) == (12, 12)
    assert plan.lookback % 12 == 0
    assert plan.lookback >= 84
    assert plan.bases == (0, 1, 12, 84)


def test_no_season_is_found_in_noise():
    plan = plan_of([np.random.default_rng(0).normal(size=300)])
    assert (plan.season, plan.bases) == (1, (0, 1))


def test_options_win_over_inference():
    plan = plan_of([wave(300)], season=24, lookback=50, segment=8, lags=(1, 3))
    assert (plan.season, plan.segment, plan.lookback, plan.bases) == (24, 8, 56, (0, 1, 3))


@pytest.mark.parametrize(("season", "segment"), [(24, 24), (96, 48), (1440, 48), (7, 7), (52, 26), (365, 5)])
def test_a_segment_is_a_season_or_a_whole_share_of_it(season, segment):
    assert plan_of([wave(4000)], season=season).segment == segment


def test_yearly_features_need_two_years():
    days = lambda n: np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(1, "D")  # noqa: E731
    for n, expected in ((600, 2), (900, 4)):
        table = read_table({"t": days(n), "y": wave(n)})
        plan = make_plan(ForecastOptions(horizon=7), build_panel(table, target="y", time="t"))
        assert plan.calendar == expected


# ---- the front end


def test_nothing_after_the_cutoff_is_read():
    """Wild values after the cutoff change no input of any window."""
    y = wave(200)
    wild = y.copy()
    wild[150:] = 1e9
    plan = plan_of([y])
    cut = Cut(np.zeros(3, np.int64), np.array([100, 140, 150]))
    for decode in ("direct", "recursive"):
        shaped = dataclasses.replace(plan, decode=decode, segment=1 if decode == "recursive" else plan.segment)
        a, b = (FrontEnd(shaped, Lines(panel_of([v]))).windows(cut) for v in (y, wild))
        for name in a.inputs:
            if name == "steps":  # teacher forcing: candidates inside the horizon are truths, which prediction replaces by its own
                np.testing.assert_array_equal(a.inputs[name][:, : plan.lookback + 1], b.inputs[name][:, : plan.lookback + 1])
            else:
                np.testing.assert_array_equal(a.inputs[name], b.inputs[name])


def test_candidates_are_the_naive_forecasts():
    y = np.arange(200.0)
    plan = plan_of([y], season=12, lags=(1, 12))
    windows = FrontEnd(plan, Lines(panel_of([y]))).windows(Cut(np.array([0]), np.array([150])))
    loc, unit = windows.scale
    candidates = windows.inputs["future"][0, :6, :3] * unit + loc
    np.testing.assert_allclose(candidates[:, 1], 149, rtol=1e-5)  # last value
    np.testing.assert_allclose(candidates[:, 2], np.arange(138, 144), rtol=1e-5)  # one season back
    np.testing.assert_allclose(candidates[:, 0], loc[0])


def test_short_histories_beside_long_ones_give_the_same_outputs_alone():
    ys = [wave(200), wave(20, seed=1), wave(3, seed=2)]
    plan = plan_of(ys)
    net = random_predictor(plan)
    lines = Lines(panel_of(ys))
    cut = Cut(np.arange(3), lines.lengths)
    together = FrontEnd(plan, lines).windows(cut)
    y_all = net.run(together.inputs, None, together.lengths).outputs["raw"]
    for i, y in enumerate(ys):
        alone = FrontEnd(plan, Lines(panel_of([y]))).windows(Cut(np.zeros(1, np.int64), np.array([len(y)])))
        y_one = net.run(alone.inputs, None, alone.lengths).outputs["raw"]
        np.testing.assert_allclose(y_one[0], y_all[i], atol=2e-5)


# ---- the problem


def test_training_targets_end_before_the_held_back_rows():
    problem = ForecastProblem(ForecastOptions(horizon=6, batch_size=64), plan_of([wave(150)]), panel_of([wave(150)]))
    marked = wave(150)
    marked[problem.train_end[0] :] = 1e9
    seen = ForecastProblem(ForecastOptions(horizon=6, batch_size=64), problem.plan, panel_of([marked]))
    rng = np.random.default_rng(0)
    for _ in range(30):
        batch, _ = seen.draw(rng, None, 0.0, False)
        assert np.abs(batch.targets["y"][batch.targets["weight"] > 0]).max() < 1e3


def test_validation_targets_lie_in_the_held_back_rows_only():
    problem = ForecastProblem(ForecastOptions(horizon=6), plan_of([wave(150)]), panel_of([wave(150)]))
    cut = problem.validation_cut()
    assert (cut.cutoffs >= problem.train_end[cut.lines]).all()
    assert (cut.cutoffs + 6 <= problem.lines.lengths[cut.lines]).all()


def test_batches_cost_their_own_size_not_the_panels():
    """Drawn lazily: a batch holds no more than its windows, whatever the length of the series."""
    plan = plan_of([wave(300)])
    small, large = (ForecastProblem(ForecastOptions(horizon=6, batch_size=16), plan, panel_of([wave(n)])) for n in (300, 30_000))
    sizes = [sum(a.nbytes for a in p.draw(np.random.default_rng(0), None, 0.0, False)[0].inputs.values()) for p in (small, large)]
    assert sizes[0] == sizes[1]


def test_truncated_chunks_follow_one_another():
    options = ForecastOptions(horizon=6, scaling="running", truncate=2, batch_size=4, season=12)
    problem = ForecastProblem(options, plan_of([wave(300)], scaling="running", season=12), panel_of([wave(300)]))
    rng, cursor, last = np.random.default_rng(0), None, None
    for _ in range(20):
        batch, cursor = problem.draw(rng, cursor, 0.0, False)
        place = np.array(cursor)
        if last is not None:
            goes_on = batch.continues
            assert (place[goes_on, 1] == last[goes_on, 1] + 24).all()
            assert (place[goes_on, 0] == last[goes_on, 0]).all()
            assert (place[~goes_on, 1] <= 24 + 1).all()
        last = place
    assert (place[:, 1] + 6 <= problem.train_end[place[:, 0]]).all()


# ---- the decoder


def test_quantiles_of_each_output_against_scipy():
    plan = plan_of([wave(100)])
    rng = np.random.default_rng(0)
    scale = Scale(np.array([5.0, -2.0]), np.array([3.0, 0.5]))
    base = rng.normal(size=(2, 6, 1))
    p = (0.1, 0.5, 0.9)
    soft = lambda v: np.log1p(np.exp(v)) + 1e-4  # noqa: E731
    raw = rng.normal(size=(2, 6, 3))
    loc, unit = scale.loc[:, None, None], scale.unit[:, None, None]
    mean, spread = (raw[..., 0] + base[..., 0])[..., None], soft(raw[..., 1])[..., None]
    got = quantile_grid(dataclasses.replace(plan, output="gaussian"), raw[..., :2], base, scale, p)
    np.testing.assert_allclose(got, loc + unit * stats.norm.ppf(p, mean, spread), rtol=1e-7)
    got = quantile_grid(dataclasses.replace(plan, output="student_t"), raw, base, scale, p)
    np.testing.assert_allclose(got, loc + unit * stats.t.ppf(p, 2 + soft(raw[..., 2])[..., None], mean, spread), rtol=1e-6)
    got = quantile_grid(dataclasses.replace(plan, output="point"), raw[..., :1], base, scale, p)
    np.testing.assert_allclose(got, np.repeat(loc + unit * mean, 3, axis=-1))


def test_crossing_quantiles_are_put_in_order():
    plan = dataclasses.replace(plan_of([wave(100)]), quantiles=(0.1, 0.5, 0.9))
    raw = np.broadcast_to([3.0, 1.0, 2.0], (1, 6, 3))
    got = quantile_grid(plan, raw, np.zeros((1, 6, 1)), Scale(np.zeros(1), np.ones(1)), (0.1, 0.5, 0.9))
    np.testing.assert_array_equal(got[0, 0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("options", [{}, {"num_layers": 3, "cell": "gru"}, {"decode": "recursive"}, {"identity": True}], ids=str)
def test_both_halves_agree_on_the_forecasters_net(options):
    torch = pytest.importorskip("torch")
    from tidegate.nn.ops import TorchOps

    ys = [wave(200), wave(30, seed=1)]
    plan = plan_of(ys, **options)
    net = random_predictor(plan)
    lines = Lines(panel_of(ys))
    windows = FrontEnd(plan, lines, ids=lines.panel.ids).windows(Cut(np.array([0, 0, 1]), np.array([150, 77, 25])))
    ours = graph.run(NumpyOps(), net.spec, net.weights, windows.inputs, windows.lengths)
    tensors = lambda part: {n: torch.from_numpy(np.array(a)) for n, a in part.items()}  # noqa: E731
    theirs = graph.run(TorchOps(), net.spec, tensors(net.weights), tensors(windows.inputs), tensors(windows.lengths))
    for name, value in ours.outputs.items():
        np.testing.assert_allclose(value, theirs.outputs[name].numpy(), atol=2e-5, rtol=1e-4)
