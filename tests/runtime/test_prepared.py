"""A prepared net has the bits of `Predictor.run`, run after run, whatever its blocks, on the core and on NumPy."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import checks
from tidegate.errors import TaskError
from tidegate.runtime.predictor import Predictor
from tidegate.runtime.prepared import Prepared
from tidegate.spec import Recurrent

CASES = checks.CASES | checks.WIDE


def refused(case: checks.Case) -> bool:
    blocks = [block for block in case.spec.blocks if isinstance(block, Recurrent)]
    return any(block.bidirectional or len(block.inputs) == 2 for block in blocks) or any(p.items for p in case.spec.inputs)


@pytest.mark.parametrize("dtype", checks.TOL)
@pytest.mark.parametrize("path", checks.PATHS)
@pytest.mark.parametrize("name", CASES)
def test_equal_to_a_run(name: str, path: bool, dtype: str) -> None:
    case = CASES[name]
    net = Predictor(case.spec, case.weights(dtype), native=path)
    if refused(case):
        with pytest.raises(TaskError, match="use run"):
            Prepared(net, checks.BATCH, case.steps)
        return
    for rows in (checks.BATCH, 1):
        prepared = Prepared(net, rows, case.steps)
        gc.collect()  # what only an address points to would be gone
        for seed in (1, 2, 1):
            inputs = {port: x[:rows] for port, x in case.inputs(dtype, seed).items()}
            for port, x in inputs.items():
                prepared.inputs[port][:] = x
            prepared.run()
            expected = net.run(inputs).outputs
            assert set(prepared.outputs) == set(expected)
            for output, y in expected.items():
                checks.assert_bits(prepared.outputs[output], y, output)


@pytest.mark.parametrize("path", checks.PATHS)
@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.refused is None and not refused(case)])
def test_states_that_are_carried_go_on(name: str, path: bool) -> None:
    """One step at a time over a state that stays = the whole sequence."""
    case = CASES[name]
    net = Predictor(case.spec, case.weights("float32"), native=path)
    inputs = case.inputs("float32")
    whole, steps = net.run(inputs).outputs, next(iter(case.steps.values()), 1)
    prepared = Prepared(net, checks.BATCH, dict.fromkeys(case.steps, 1), [block.name for block in case.spec.blocks])
    first = prepared.state.copy()
    for _ in range(2):
        prepared.state[:] = first
        for t in range(steps):
            for port, x in inputs.items():
                prepared.inputs[port][:] = x[:, t : t + 1] if port in case.steps else x
            prepared.run()
            for output, y in whole.items():
                got, expected = prepared.outputs[output], y[:, t : t + 1] if y.ndim == 3 else y
                if path:
                    checks.assert_bits(got, expected, output)
                np.testing.assert_allclose(got, expected, **checks.TOL["float32"])


def test_two_nets_read_the_same_arrays() -> None:
    case = CASES["lstm"] if "lstm" in CASES else next(iter(CASES.values()))
    nets = [Predictor(case.spec, case.weights("float32", seed)) for seed in (0, 1)]
    first = Prepared(nets[0], 1, case.steps)
    second = Prepared(nets[1], 1, case.steps, (), first.inputs)
    inputs = {port: x[:1] for port, x in case.inputs("float32").items()}
    for port, x in inputs.items():
        first.inputs[port][:] = x
    for net, prepared in zip(nets, (first, second), strict=True):
        prepared.run()
        for output, y in net.run(inputs).outputs.items():
            checks.assert_bits(prepared.outputs[output], y, output)
