"""A decoder that reads its own outputs: truth fed back = the whole sequence; which lags are replaced; both halves agree."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

import checks
from tidegate.blocks.graph import run
from tidegate.blocks.ops import Array
from tidegate.blocks.rollout import roll_out
from tidegate.nn.ops import TorchOps
from tidegate.runtime.ops import NumpyOps
from tidegate.spec import Linear, Port, Recurrent, Spec

LAGS = (0, 1, 3)  # 0: the window mean, never replaced
SPEC = Spec(
    inputs=(Port(name="x", size=7),),
    blocks=(
        Recurrent(name="layer", inputs=("x",), cell="lstm", input_size=7, hidden_size=4),
        Linear(name="y", inputs=("layer",), input_size=4, output_size=1),
    ),
    outputs=("y",),
)
START, HORIZON, BATCH = 3, 5, 2


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {n: rng.uniform(-0.8, 1.0, s) for n, s in SPEC.parameters().items()}


def channels(series: np.ndarray) -> np.ndarray:
    """(B, T) -> (B, T, 7): mean, lag 1, lag 3, their masks, one covariate."""
    rng, steps = np.random.default_rng(5), series.shape[1]
    values = [np.full(series.shape, series.mean(1, keepdims=True))]
    values += [np.concatenate([np.full((BATCH, lag), -9.0), series[:, : steps - lag]], 1) for lag in LAGS[1:]]
    masks = [(rng.random(series.shape) < 0.9).astype(float) for _ in LAGS]
    for mask in masks:
        mask[:, START:] = 1.0
    return np.stack([*values, *masks, rng.normal(size=series.shape)], -1)


def rolled(ops: object, x: Array, choose: object, own: Mapping[str, Array], start: int = START) -> dict[str, Array]:
    def step(part: Array, state: Mapping[str, Array] | None) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
        ran = run(ops, SPEC, own, {"x": part}, None, state)
        return ran.outputs, ran.state

    return roll_out(ops, step, x, start, LAGS, choose)


@pytest.mark.parametrize("start", [0, 1, START, START + HORIZON])
def test_with_the_truth_fed_back_it_is_the_whole_sequence(start: int) -> None:
    series = np.random.default_rng(1).normal(size=(BATCH, START + HORIZON))
    x = channels(series)
    x[:, :, 3:6] = 1.0
    whole = run(NumpyOps(), SPEC, weights(), {"x": x}).outputs
    hidden = x.copy()
    for j, lag in enumerate(LAGS):
        if lag:
            hidden[:, start + lag :, j], hidden[:, start + lag :, 3 + j] = 77.0, 0.0  # unknown when the horizon begins
    outputs = rolled(NumpyOps(), hidden, lambda k, y: series[:, start + k], weights(), start)
    np.testing.assert_allclose(outputs["y"], whole["y"], **checks.TOL["float64"])


def test_free_running_feeds_each_output_once_and_in_order() -> None:
    """Against a loop that fills the lags by hand, one run over the whole prefix a step."""
    x = channels(np.random.default_rng(2).normal(size=(BATCH, START + HORIZON)))
    fed: list[np.ndarray] = []
    current = x.copy()
    for k in range(HORIZON):
        for j, lag in enumerate(LAGS):
            if 0 < lag <= k:
                current[:, START + k, j], current[:, START + k, 3 + j] = fed[k - lag], 1.0
        fed.append(run(NumpyOps(), SPEC, weights(), {"x": current[:, : START + k + 1]}).outputs["y"][:, -1, 0])
    outputs = rolled(NumpyOps(), x, lambda k, y: y["y"][:, 0, 0], weights())
    np.testing.assert_allclose(outputs["y"][:, START:, 0], np.stack(fed, 1), **checks.TOL["float64"])
    assert outputs["y"].shape == (BATCH, START + HORIZON, 1)


def test_both_halves_agree_and_gradients_flow_through_what_is_fed_back() -> None:
    x = channels(np.random.default_rng(3).normal(size=(BATCH, START + HORIZON)))
    here = rolled(NumpyOps(), x, lambda k, y: y["y"][:, 0, 0], weights())
    own = {n: torch.tensor(w, requires_grad=True) for n, w in weights().items()}
    there = rolled(TorchOps(), torch.tensor(x), lambda k, y: y["y"][:, 0, 0], own)
    np.testing.assert_allclose(there["y"].detach().numpy(), here["y"], **checks.TOL["float64"])
    fed_back = torch.autograd.grad(there["y"][:, -1].sum(), own["y.bias"])[0]
    assert abs(float(fed_back) - BATCH) > 1e-3  # the bias acts on the last step directly, and through the steps before it


def test_the_input_is_left_as_it_was() -> None:
    x = channels(np.zeros((BATCH, START + HORIZON)))
    before = x.copy()
    rolled(NumpyOps(), x, lambda k, y: y["y"][:, 0, 0], weights())
    assert np.array_equal(x, before)
