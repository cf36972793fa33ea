"""Teacher forcing, scheduled sampling and free running through one loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tidegate.nn.network import Network
from tidegate.tasks.problem import TrainOptions
from tidegate.tasks.translate import CodedPairs, TranslateOptions, TranslateProblem
from tidegate.tasks.translate_nets import build_nets
from tidegate.train.loop import _tensors
from tidegate.train.rollout import rolled_outputs, unrolled_outputs
from tidegate.train.state import new_state
from train.conftest import MakeProblem

TOL = {"rtol": 1e-5, "atol": 2e-6}  # float32


def setting(make_problem: MakeProblem) -> tuple:
    problem = make_problem(decode="recursive", lags=(1, 4))
    network = new_state(problem, TrainOptions(steps=1, seed=5)).network
    drawn, _ = problem.draw(np.random.default_rng(2), None, 0.0, False)
    inputs, targets = (_tensors(part, torch.device("cpu")) for part in (drawn.inputs, drawn.targets))
    assert problem.rolled is not None
    return problem, network, inputs, targets


def test_teacher_forcing_equals_the_parallel_pass(make_problem: MakeProblem) -> None:
    problem, network, inputs, targets = setting(make_problem)
    own = torch.zeros(len(targets["y"]), problem.plan.horizon, dtype=torch.bool)
    stepwise = rolled_outputs(network, problem.rolled, inputs, own, targets, None)
    parallel = network(inputs).outputs
    for name in ("raw", "base"):
        torch.testing.assert_close(stepwise[name], parallel[name], **TOL)


def free_run(problem, network, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """By hand: the whole pass again for every step, the net's own centre written into the lags that reach it."""
    rolled, horizon = problem.rolled, problem.plan.horizon
    x, guesses = inputs[rolled.port].clone(), []
    for k in range(horizon):
        for j, lag in enumerate(rolled.lags):
            if 0 < lag <= k:
                x[:, rolled.start + k, j] = guesses[k - lag]
                x[:, rolled.start + k, len(rolled.lags) + j] = 1.0
        with torch.no_grad():
            outputs = network({**inputs, rolled.port: x}).outputs
        at = rolled.start + k
        guesses.append(outputs["raw"][:, at, rolled.centre] + outputs["base"][:, at, 0])
    return torch.stack(guesses, 1)


def test_free_running_equals_the_one_by_hand(make_problem: MakeProblem) -> None:
    problem, network, inputs, targets = setting(make_problem)
    rolled = problem.rolled
    own = torch.ones(len(targets["y"]), problem.plan.horizon, dtype=torch.bool)
    outputs = rolled_outputs(network, rolled, inputs, own, targets, None)
    ours = (outputs["raw"][..., rolled.centre] + outputs["base"][..., 0])[:, rolled.start :]
    by_hand = free_run(problem, network, inputs)
    torch.testing.assert_close(ours, by_hand, **TOL)
    forced = network(inputs).outputs
    truth_fed = (forced["raw"][..., rolled.centre] + forced["base"][..., 0])[:, rolled.start :]
    assert not torch.allclose(ours[:, 1:], truth_fed[:, 1:], **TOL)  # the test can tell


def test_unknown_truths_are_replaced_by_the_nets_own(make_problem: MakeProblem) -> None:
    problem, network, inputs, targets = setting(make_problem)
    none = torch.zeros(len(targets["y"]), problem.plan.horizon, dtype=torch.bool)
    unknown = {**targets, "weight": torch.zeros_like(targets["weight"])}
    free = rolled_outputs(network, problem.rolled, inputs, ~none, targets, None)
    replaced = rolled_outputs(network, problem.rolled, inputs, none, unknown, None)
    torch.testing.assert_close(replaced["raw"], free["raw"], rtol=0, atol=0)


def test_the_gradient_flows_through_what_is_fed_back(make_problem: MakeProblem) -> None:
    problem, network, inputs, targets = setting(make_problem)
    own = torch.ones(len(targets["y"]), problem.plan.horizon, dtype=torch.bool)

    def gradient(own: torch.Tensor) -> torch.Tensor:
        """Of the last step's output by the output bias, which touches it at every earlier step only through the feedback."""
        outputs = rolled_outputs(network, problem.rolled, inputs, own, targets, None)
        bias = network.weights()["raw_segments.bias"]
        return torch.autograd.grad(outputs["raw"][:, -1].sum(), bias)[0]

    free, forced = gradient(own), gradient(~own)
    assert torch.isfinite(free).all()
    torch.testing.assert_close(forced, torch.full_like(forced, len(targets["y"])))  # its own step alone
    assert not torch.allclose(free, forced)


TRANSLATORS: list[dict[str, object]] = [{"sampling": 0.5}, {"attention": "none", "cell": "gru", "sampling": 0.5}]


def translator(**options: object) -> tuple[TranslateProblem, Network, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    rng = np.random.default_rng(0)
    codes = [rng.integers(1, 5, n) for n in (4, 3, 2)]
    own = TranslateOptions(hidden_size=6, embedding_dim=4, dropout=0.0, **options)
    problem = TranslateProblem(own, build_nets(own, 5, 6), CodedPairs(codes, codes), CodedPairs(codes, codes), 5)
    network = new_state(problem, TrainOptions(steps=1, seed=5)).network
    (batch,) = problem.validation()
    inputs, lengths = (_tensors(part, torch.device("cpu")) for part in (batch.inputs, batch.lengths))
    return problem, network, inputs, lengths


@pytest.mark.parametrize("options", TRANSLATORS)
def test_a_translator_unrolled_is_the_joined_pass(options: dict[str, object]) -> None:
    problem, network, inputs, lengths = translator(**options)
    stepwise = unrolled_outputs(network, problem.rolled, inputs, lengths, None, None)
    torch.testing.assert_close(stepwise["logits"], network(inputs, lengths).outputs["logits"], **TOL)


def test_a_translator_reads_its_own_codes_where_asked() -> None:
    """By hand: the joined pass once a step, the codes that it found written into what is read."""
    problem, network, inputs, lengths = translator(sampling=0.5)
    own = torch.ones(inputs["previous"].shape[:2], dtype=torch.bool)
    own[1, 2] = False
    fed = inputs["previous"].clone()
    for k in range(1, fed.shape[1]):
        with torch.no_grad():
            said = network({**inputs, "previous": fed}, lengths).outputs["logits"][:, k - 1].argmax(-1)
        fed[own[:, k], k, 0] = said[own[:, k]]
    assert not torch.equal(fed, inputs["previous"]), "the test can tell"
    ours = unrolled_outputs(network, problem.rolled, inputs, lengths, own, None)["logits"]
    torch.testing.assert_close(ours, network({**inputs, "previous": fed}, lengths).outputs["logits"], **TOL)


def test_input_feeding_hands_on_what_attention_made_with_its_gradient() -> None:
    problem, network, inputs, lengths = translator(input_feeding=True)
    outputs = unrolled_outputs(network, problem.rolled, inputs, lengths, None, None)
    encoded = network.part(problem.rolled.encoder, inputs, lengths).outputs
    feed, state, found = torch.zeros(3, 4), None, []
    for k in range(inputs["previous"].shape[1]):
        step = {**encoded, "previous": inputs["previous"][:, k : k + 1], "feed": feed}
        ran = network.part(problem.rolled.decoder, step, {"memory": lengths["source"], "keys": lengths["source"]}, state)
        feed, state = ran.outputs["readout"][:, 0], ran.state
        found.append(ran.outputs["logits"])
    torch.testing.assert_close(outputs["logits"], torch.cat(found, 1), **TOL)
    without = {**inputs, "feed": torch.zeros(3, 4)}
    assert not torch.allclose(outputs["logits"][:, 1:], network(without, lengths).outputs["logits"][:, 1:], **TOL)
    bias = network.weights()["readout_bent.bias"]
    (gradient,) = torch.autograd.grad(outputs["readout"][:, -1].sum(), bias, retain_graph=True)
    (alone,) = torch.autograd.grad(found[-1].sum() * 0 + feed.sum(), bias, retain_graph=True)
    torch.testing.assert_close(gradient, alone, **TOL)
    own = (1 - outputs["readout"][:, -1] ** 2).sum(0)
    assert not torch.allclose(gradient, own, **TOL), "earlier steps reach the last one through what is fed"
