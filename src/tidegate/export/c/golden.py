"""Golden vectors of a net: what its Predictor gives after each of a few steps. In: Deployed. Out: inputs, outputs, states.

The same steps in float64 say how far float32's own rounding moves them: one step alone, and all of them one after the other. What
a processor without fused multiply-add may differ by is measured in that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tidegate.decode.labels import probabilities
from tidegate.export.deployed import Deployed
from tidegate.runtime.predictor import Floats, Predictor
from tidegate.runtime.whole import read_input
from tidegate.spec import Pool

STEPS, MOST_NUMBERS, FEWEST = 16, 2048, 2
MOST_DRIFT = 1e-4  # where rounding alone moves a chaotic net further, it has fewer golden steps
# Of the self-test, whose steps follow each other: several times what float32's own rounding moves them by, at least the first.
SELFTEST_LEAST, SELFTEST_TIMES = 1e-5, 8.0
SEED = 0
ROWS, MOST_ROWS, MEAN, MISSING = 8, 2048, 2.5, 0.1  # of a forecaster: rows past those that are kept; mean and gaps of its values
Inputs = npt.NDArray[np.generic]


class Golden(NamedTuple):
    """T steps of one sequence from the start; of a forecaster, of which some rows alone are compared, R rows."""

    inputs: Inputs  # (T,) int64 codes, or (T, I) or (R, K) float32
    outputs: npt.NDArray[np.float32]  # (T, N): the numbers of the answer after each step, side by side
    states: npt.NDArray[np.float32]  # (T + 1, S) before the first step, and after each
    rounding: float  # what float32 loses in one step at most, as a share of max(1, |number|)
    drift: float  # and in all of them together
    at: tuple[int, ...] = ()  # of a forecaster: the rows whose answers are the outputs

    @property
    def flash(self) -> int:
        """Bytes of the self-test's vectors."""
        return self.outputs.nbytes + self.inputs.size * (2 if self.inputs.dtype == np.int64 else 4) + 2 * len(self.at)


def golden(net: Deployed) -> Golden:
    """Steps of random input; a net that pools is run on every beginning of it."""
    inputs = _inputs(net)
    outputs, states = _run(net, net.net, inputs)
    exact = Predictor(net.net.spec, {name: np.asarray(w, np.float64) for name, w in net.net.weights.items()})
    apart = [relative(a, b).max(initial=0.0) for a, b in zip(outputs, _run(net, exact, inputs)[0], strict=True)]
    count = next((t for t, drift in enumerate(apart) if drift > MOST_DRIFT), len(apart))
    count = min(len(apart), max(FEWEST, count))
    inputs, outputs, states = inputs[:count], outputs[:count], states[: count + 1]
    rounding = max(_rounding(net, exact, inputs[t], states[t], outputs[t], states[t + 1]) for t in range(count))
    if any(isinstance(block, Pool) for block in net.net.spec.blocks):
        rounding = max(rounding, *apart[:count])
    given = inputs if net.net.spec.inputs[0].shape == "sequence" else inputs[:, 0]
    return Golden(given, outputs.astype(np.float32), states.astype(np.float32), float(rounding), float(max(apart[:count])))


def golden_rows(
    net: Predictor, targets: int, rows: int, answers: Callable[[Predictor, npt.NDArray[np.float32]], npt.NDArray[np.float64]]
) -> Golden:
    """Of a forecaster: rows from no history until every row that is kept was overwritten, some of them missing."""
    rng, count = np.random.default_rng(SEED), min(MOST_ROWS, rows + ROWS)
    inputs = (MEAN + rng.standard_normal((count, targets))).astype(np.float32)
    missing = rng.random(inputs.shape) < MISSING
    inputs[missing & (np.arange(count) > 0)[:, None]] = np.nan
    exact = Predictor(net.spec, {name: np.asarray(w, np.float64) for name, w in net.weights.items()})
    found, wanted = answers(net, inputs), answers(exact, inputs)
    compared = max(FEWEST, min(STEPS, MOST_NUMBERS // found.shape[1]))
    at = np.unique(np.linspace(0, count - 1, compared).round().astype(int)).tolist()
    drift = float(relative(found, wanted).max())
    return Golden(inputs, found[at].astype(np.float32), np.zeros((len(at) + 1, 0), np.float32), drift, drift, tuple(at))


def golden_whole(net: Deployed, exponent: int = 0) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """(T,) codes or (T, I) whole numbers of 2^-exponent, (T, N) outputs after each, (T + 1, S) states, of an int8 net."""
    inputs, own = _inputs(net), net.net
    coded = inputs.dtype == np.int64
    units = np.asarray(inputs, np.int64) if coded else read_input(np.asarray(inputs, np.float32), exponent)
    inputs = inputs if coded else (units * 2.0**-exponent).astype(np.float32)
    after = [own.run({own.spec.inputs[0].name: inputs[None, : t + 1]}) for t in range(len(inputs))]
    said = [[y[-1] if y.ndim == 2 else y for y in (ran.outputs[name][0] for name in own.spec.outputs)] for ran in after]
    states = np.stack([own.initial_state()[0], *(ran.state[0] for ran in after)])
    given = np.asarray(units[:, 0] if coded else units, np.int64)
    return given, np.stack([np.concatenate(row) for row in said]), states


def relative(got: npt.NDArray[np.floating], wanted: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """|got - wanted| / max(1, |wanted|)."""
    exact = np.asarray(wanted, np.float64)
    return np.asarray(np.abs(np.asarray(got, np.float64) - exact) / np.maximum(1.0, np.abs(exact)))


def most_codes(net: Deployed) -> int:
    """Codes from 0 that every table of the net holds."""
    return min(int(getattr(block, "num_embeddings", 1 << 30)) for block in net.net.spec.blocks)


def _inputs(net: Deployed) -> Inputs:
    """(T, size) standard normal numbers, or codes; a language model's first is 0, which it reads before any text."""
    port, rng = net.net.spec.inputs[0], np.random.default_rng(SEED)

    def drawn(count: int) -> Inputs:
        if port.shape == "sequence":
            return rng.standard_normal((count, port.size)).astype(np.float32)
        codes = rng.integers(0, most_codes(net), (count, 1))
        codes[0] = 0 if net.task == "generate" else codes[0]
        return codes

    width = len(_after(net, net.net, drawn(1))[0])
    count = max(FEWEST, min(STEPS, MOST_NUMBERS // max(1, width)))
    return drawn(count if net.longest is None else min(count, net.longest))


def _run(net: Deployed, own: Predictor, inputs: Inputs) -> tuple[Floats, Floats]:
    """Answers after every beginning of the inputs, (T, N), and states, (T + 1, S)."""
    after = [_after(net, own, inputs[: t + 1]) for t in range(len(inputs))]
    return np.stack([answer for answer, _ in after]), np.stack([own.initial_state()[0], *(state for _, state in after)])


def _after(net: Deployed, own: Predictor, inputs: Inputs, state: Floats | None = None) -> tuple[Floats, Floats]:
    """Every output after the last of the inputs, of a classifier its probabilities too, and the state."""
    ran = own.run({own.spec.inputs[0].name: inputs[None]}, state)
    last = [y[-1] if y.ndim == 2 else y for y in (ran.outputs[name][0] for name in own.spec.outputs)]
    if net.task == "classify":
        last.append(probabilities([last[0][None]], net.temperature)[0])
    return np.concatenate(last), ran.state[0]


def _rounding(net: Deployed, exact: Predictor, x: Inputs, state: Floats, answer: Floats, after: Floats) -> float:
    """How far one step in float64 is from one in float32; the answer of a net that pools is of more than one step."""
    wanted, moved = _after(net, exact, x[None], state[None].astype(np.float64))
    found = float(relative(after, moved).max(initial=0.0))
    if any(isinstance(block, Pool) for block in exact.spec.blocks):
        return found
    return max(found, float(relative(answer, wanted).max(initial=0.0)))
