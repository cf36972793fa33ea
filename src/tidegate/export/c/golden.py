"""Golden vectors of a net: what its Predictor gives after each of a few steps. In: Deployed. Out: inputs, outputs, states."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tidegate.decode.labels import probabilities
from tidegate.export.deployed import Deployed
from tidegate.runtime.predictor import Floats

STEPS, MOST_NUMBERS, FEWEST = 16, 2048, 2
SEED = 0


class Golden(NamedTuple):
    """T steps of one sequence from the start."""

    inputs: npt.NDArray[np.generic]  # (T,) int64 codes, or (T, I) float32
    outputs: npt.NDArray[np.float32]  # (T, N): the numbers of the answer after each step, side by side
    states: npt.NDArray[np.float32]  # (T + 1, S) before the first step, and after each

    @property
    def flash(self) -> int:
        """Bytes of the self-test's vectors."""
        return self.outputs.nbytes + self.inputs.size * (2 if self.inputs.dtype == np.int64 else 4)


def golden(net: Deployed) -> Golden:
    """Steps of random input; a net that pools is run on every beginning of it."""
    own, port = net.net, net.net.spec.inputs[0]
    rng = np.random.default_rng(SEED)
    first = _after(net, _input(net, rng, 1))[0]
    count = max(FEWEST, min(STEPS, MOST_NUMBERS // max(1, len(first))))
    count = count if net.longest is None else min(count, net.longest)
    inputs = _input(net, rng, count)
    outputs, states = [], [own.initial_state()[0]]
    for t in range(count):
        after, state = _after(net, inputs[: t + 1])
        outputs.append(after)
        states.append(state)
    given = inputs if port.shape == "sequence" else inputs[:, 0]
    return Golden(given, np.array(outputs, np.float32), np.array(states, np.float32))


def _input(net: Deployed, rng: np.random.Generator, count: int) -> npt.NDArray[np.generic]:
    """(count, size) standard normal numbers, or codes; a language model's first is 0, which it reads before any text."""
    port = net.net.spec.inputs[0]
    if port.shape == "sequence":
        return rng.standard_normal((count, port.size)).astype(np.float32)
    codes = rng.integers(0, most_codes(net), (count, 1))
    codes[0] = 0 if net.task == "generate" else codes[0]
    return codes


def most_codes(net: Deployed) -> int:
    """Codes from 0 that every table of the net holds."""
    return min(int(getattr(block, "num_embeddings", 1 << 30)) for block in net.net.spec.blocks)


def _after(net: Deployed, inputs: npt.NDArray[np.generic]) -> tuple[Floats, Floats]:
    """Every output after the last of the inputs, of a classifier its probabilities too, and the state."""
    ran = net.net.run({net.net.spec.inputs[0].name: inputs[None]})
    last = [y[-1] if y.ndim == 2 else y for y in (ran.outputs[name][0] for name in net.net.spec.outputs)]
    if net.task == "classify":
        last.append(probabilities([last[0][None]], net.temperature)[0])
    return np.concatenate(last), ran.state[0]
