"""The conditional random field: log-partition and marginals against all paths, the core against its twin, gradients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tests import checks

from tidegate import native
from tidegate.blocks.crf import forward_backward
from tidegate.nn.ops import TorchOps
from tidegate.runtime.native_ops import NativeOps
from tidegate.runtime.ops import NumpyOps

RNG = np.random.default_rng(0)
B, T, K = 5, 4, 3
SCORES, LENGTHS = 3 * RNG.normal(size=(B, T, K)), np.array([4, 2, 0, 1, 3])
WEIGHTS = {"transitions": RNG.normal(size=(K, K)), "start": RNG.normal(size=K), "end": RNG.normal(size=K)}
OPS = [NumpyOps()] + ([NativeOps()] if native.available() else [])


def by_all_paths(scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Log-partition and marginals of one row."""
    marginals, total = np.zeros(scores.shape), 0.0
    for path in itertools.product(range(K), repeat=len(scores)):
        steps = sum(scores[t, y] for t, y in enumerate(path)) + sum(
            WEIGHTS["transitions"][i, j] for i, j in itertools.pairwise(path)
        )
        p = np.exp(WEIGHTS["start"][path[0]] + steps + WEIGHTS["end"][path[-1]])
        total += p
        marginals[np.arange(len(scores)), path] += p
    return float(np.log(total)), marginals / total


@pytest.mark.parametrize("ops", OPS, ids=lambda ops: type(ops).__name__)
def test_equals_the_sum_over_all_paths(ops: NumpyOps | NativeOps) -> None:
    total, marginals = ops.crf(SCORES, LENGTHS, WEIGHTS)
    for row, length in enumerate(LENGTHS):
        expected = by_all_paths(SCORES[row, :length]) if length else (0.0, SCORES[row, :0])
        np.testing.assert_allclose(total[row], expected[0], **checks.TOL["float64"])
        np.testing.assert_allclose(marginals[row, :length], expected[1], **checks.TOL["float64"])
        assert not marginals[row, length:].any()


@pytest.mark.parametrize("ops", OPS, ids=lambda ops: type(ops).__name__)
def test_no_steps_give_nothing(ops: NumpyOps | NativeOps) -> None:
    total, marginals = ops.crf(SCORES[:, :0], np.zeros(B, np.int64), WEIGHTS)
    assert not total.any()
    assert marginals.shape == (B, 0, K)


@pytest.mark.skipif(not native.available(), reason="the core is not installed")
def test_the_core_keeps_scores_apart_by_hundreds() -> None:
    scores = np.zeros((1, 300, 3), np.float32)
    scores[0, :, 0] = 300.0
    total, marginals = NativeOps().crf(scores, None, {n: w.astype(np.float32) for n, w in WEIGHTS.items()})
    twin = forward_backward(NumpyOps(), scores.astype(np.float64), None, WEIGHTS)
    np.testing.assert_allclose(total, twin[0], rtol=1e-6)
    np.testing.assert_allclose(marginals, twin[1], atol=1e-5)


@pytest.mark.skipif(not native.available(), reason="the core is not installed")
def test_a_row_alone_has_the_bits_of_the_row_in_its_batch() -> None:
    total, marginals = NativeOps().crf(SCORES, LENGTHS, WEIGHTS)
    for row, length in enumerate(LENGTHS):
        alone = NativeOps().crf(SCORES[row : row + 1, :length], None, WEIGHTS)
        checks.assert_bits(alone[0][0], total[row], f"row {row}")
        checks.assert_bits(alone[1][0], marginals[row, :length], f"row {row}: marginals")


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gradients_of_the_core_are_those_of_the_twin(lengths: np.ndarray | None) -> None:
    found = []
    for fused in (True, False):
        parts = [torch.tensor(a, requires_grad=True) for a in (SCORES, *WEIGHTS.values())]
        own = dict(zip(WEIGHTS, parts[1:], strict=True))
        total, _ = TorchOps(fused=fused).crf(parts[0], None if lengths is None else torch.from_numpy(lengths), own)
        (total * torch.arange(1.0, B + 1)).sum().backward()
        found.append([part.grad for part in parts])
    torch.testing.assert_close(found[0], found[1], **checks.GRADIENT_TOL["float64"])


def test_gradcheck() -> None:
    parts = [torch.tensor(a, requires_grad=True) for a in (SCORES, *WEIGHTS.values())]
    lengths = torch.from_numpy(LENGTHS)
    assert torch.autograd.gradcheck(
        lambda e, *own: TorchOps().crf(e, lengths, dict(zip(WEIGHTS, own, strict=True)))[0], tuple(parts)
    )
