"""TrainState: to plain values and back, exactly; devices by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tidegate.errors import DeviceError, FormatError
from tidegate.tasks.problem import TrainOptions
from tidegate.train.loop import train
from tidegate.train.state import TrainState, new_state, pick_device, state_from_plain, state_to_plain
from train.conftest import MakeProblem

OPTIONS = TrainOptions(steps=12, check_every=3, averaging=0.9, closing=0.25, seed=3)


def run(problem: object, options: TrainOptions, state: TrainState, steps: int) -> list[dict[str, object]]:
    records = []
    for record in train(problem, options, state):  # type: ignore[arg-type]  # a ForecastProblem
        records.append(dict(record))
        if len(records) == steps:
            break
    return records


@pytest.mark.parametrize("stop", [1, 3, 5, 9, 10, 12])
@pytest.mark.parametrize(
    "extra", [{}, {"scaling": "running", "truncate": 2}, {"decode": "recursive"}], ids=["plain", "carried", "rolled"]
)
def test_a_state_goes_on_bit_for_bit(make_problem: MakeProblem, stop: int, extra: dict[str, object]) -> None:
    problem = make_problem(**extra)
    whole = new_state(problem, OPTIONS)
    expected = run(problem, OPTIONS, whole, 99)
    first = new_state(problem, OPTIONS)
    before = run(problem, OPTIONS, first, stop)
    header, arrays = state_to_plain(first)
    second = new_state(
        problem, TrainOptions(steps=12, check_every=3, averaging=0.9, closing=0.25, seed=99)
    )  # all of it is replaced
    state_from_plain(second, header, arrays)
    again = state_to_plain(second)
    assert again[0] == header
    assert set(again[1]) == set(arrays)
    assert all(np.array_equal(again[1][name], array) and again[1][name].dtype == array.dtype for name, array in arrays.items())
    assert before + run(problem, OPTIONS, second, 99) == expected
    assert second.final is not None
    assert whole.final is not None
    assert all(second.final[name].tobytes() == array.tobytes() for name, array in whole.final.items())


def test_a_state_of_another_net_is_refused(make_problem: MakeProblem) -> None:
    header, arrays = state_to_plain(new_state(make_problem(hidden_size=6), OPTIONS))
    with pytest.raises((FormatError, ValueError), match=r"expected|belong"):
        state_from_plain(new_state(make_problem(), OPTIONS), header, arrays)


def test_a_state_with_a_part_missing_is_refused(make_problem: MakeProblem) -> None:
    problem = make_problem()
    header, arrays = state_to_plain(new_state(problem, OPTIONS))
    del header["cursor"]
    with pytest.raises(FormatError, match=r"does not belong to this run.*remove it"):
        state_from_plain(new_state(problem, OPTIONS), header, arrays)


def test_the_seed_decides_the_weights(make_problem: MakeProblem) -> None:
    problem = make_problem()
    one, same = (new_state(problem, TrainOptions(steps=2, seed=1)).network.arrays() for _ in range(2))
    other = new_state(problem, TrainOptions(steps=2, seed=2)).network.arrays()
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert any(not np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ["tpu", "", "cpu:9x", "cuda:99", "CPU"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(DeviceError, match=r"device: expected one of cpu.*got .*choose one of them"):
        pick_device(name)


def test_the_cpu_is_always_there() -> None:
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without CUDA is needed to see it refused")
def test_cuda_is_refused_where_it_is_not() -> None:
    with pytest.raises(DeviceError, match=r"'cuda'"):
        pick_device("cuda")


def test_the_optimiser_follows_its_formula(make_problem: MakeProblem) -> None:
    """AdamW in plain NumPy, float64; weights of one axis are not decayed."""
    options = TrainOptions(steps=12, learning_rate=0.02, weight_decay=0.3, beta2=0.97)
    state = new_state(make_problem(), options)
    weights = {name: w.detach().numpy().astype(np.float64) for name, w in state.network.weights().items()}
    first, second = ({name: np.zeros(w.shape) for name, w in weights.items()} for _ in range(2))
    rng = np.random.default_rng(0)
    for step in range(1, 6):
        for name, parameter in state.network.weights().items():
            gradient = rng.normal(0, 1, weights[name].shape) * (rng.random(weights[name].shape) < 0.5)
            parameter.grad = torch.from_numpy(gradient.astype(np.float32))
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.97 * second[name] + 0.03 * gradient**2
            size = np.sqrt(second[name] / (1 - 0.97**step)) + 1e-8
            decay = 1 - 0.02 * 0.3 if weights[name].ndim > 1 else 1.0
            weights[name] = decay * weights[name] - 0.02 * first[name] / (1 - 0.9**step) / size
        state.optimiser.step()
    for name, parameter in state.network.weights().items():
        np.testing.assert_allclose(parameter.detach().numpy(), weights[name], atol=2e-6)
