"""The losses against scipy.stats and plain NumPy, their masks and their extremes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from tidegate.train.losses import LOSSES, TINY

SHAPE = (3, 5)
LABELS = {"cross_entropy", "both_ways"}
PARAMETERS = {"quantile": 3, "gaussian": 2, "student_t": 3, "negative_binomial": 2, "squared": 1}
TOL = {"rtol": 1e-10, "atol": 1e-12}  # float64


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


def made(name: str, seed: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Asymmetric outputs and targets in float64."""
    rng = np.random.default_rng(seed)
    outputs = {"raw": rng.normal(0.3, 1.0, (*SHAPE, PARAMETERS[name])), "base": rng.normal(-0.2, 1.0, (*SHAPE, 1))}
    targets = {"y": rng.normal(0.1, 2.0, SHAPE), "weight": rng.uniform(0.5, 2.0, SHAPE)}
    if name == "quantile":
        targets["probabilities"] = np.array([0.1, 0.5, 0.8])
    if name == "negative_binomial":
        targets["unit"], targets["offset"] = np.array([2.0, 3.5, 1.0]), np.array([4.0, 9.0, 2.0])
        counts = rng.integers(0, 30, SHAPE)
        targets["y"] = (counts - targets["offset"][:, None]) / targets["unit"][:, None]
    return {k: torch.from_numpy(v) for k, v in outputs.items()}, {k: torch.from_numpy(v) for k, v in targets.items()}


def oracle(name: str, outputs: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]) -> np.ndarray:
    raw, base, y = outputs["raw"].numpy(), outputs["base"].numpy(), targets["y"].numpy()
    mean = raw[..., 0] + base[..., 0]
    if name == "squared":
        return (y - mean) ** 2
    if name == "quantile":
        e, p = y[..., None] - raw - base, targets["probabilities"].numpy()
        return np.where(e >= 0, p * e, (p - 1) * e).mean(-1)
    spread = softplus(raw[..., 1]) + TINY
    if name == "gaussian":  # documented: without its constant
        return -stats.norm.logpdf(y, mean, spread) - 0.5 * np.log(2 * np.pi)
    if name == "student_t":
        return -stats.t.logpdf(y, 2 + softplus(raw[..., 2]) + TINY, mean, spread)
    unit, offset = targets["unit"].numpy()[:, None], targets["offset"].numpy()[:, None]
    expected, r = softplus(mean + offset / unit) * unit + TINY, 1 / spread
    return -stats.nbinom.logpmf(np.rint(y * unit + offset), r, r / (r + expected))


@pytest.mark.parametrize("name", PARAMETERS)
def test_loss_equals_the_oracle(name: str) -> None:
    outputs, targets = made(name)
    loss = LOSSES[name](outputs, targets)
    expected = oracle(name, outputs, targets) * targets["weight"].numpy()
    np.testing.assert_allclose(float(loss.total), expected.sum(), **TOL)
    np.testing.assert_allclose(float(loss.count), targets["weight"].numpy().sum(), **TOL)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parts_add_up(name: str) -> None:
    outputs, targets = made(name)
    whole, parts = LOSSES[name](outputs, targets), []
    for row in range(SHAPE[0]):
        one = {k: (v if k == "probabilities" else v[row : row + 1]) for k, v in targets.items()}
        parts.append(LOSSES[name]({k: v[row : row + 1] for k, v in outputs.items()}, one))
    np.testing.assert_allclose(float(whole.total), sum(float(p.total) for p in parts), **TOL)


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e300])
def test_a_masked_step_adds_exactly_nothing(name: str, poison: float) -> None:
    outputs, targets = made(name)
    masked = targets["weight"].clone()
    masked[1, 2:] = 0.0
    clean = LOSSES[name](outputs, {**targets, "weight": masked})
    y = targets["y"].clone()
    y[1, 2:] = poison
    raw = outputs["raw"].clone().requires_grad_()
    poisoned = LOSSES[name]({**outputs, "raw": raw}, {**targets, "weight": masked, "y": y})
    assert float(poisoned.total.detach()) == float(clean.total)
    assert float(poisoned.count) == float(clean.count)
    poisoned.total.backward()
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()
    assert (raw.grad[1, 2:] == 0).all()


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("size", [1e-30, 1.0, 50.0, 1e4])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_gradients_are_finite_at_extremes(name: str, size: float, sign: float) -> None:
    outputs, targets = made(name)
    targets = {k: v.float() for k, v in targets.items()}
    if name != "negative_binomial":
        targets["y"] = targets["y"] * 1e3
    raw = torch.full(outputs["raw"].shape, sign * size, requires_grad=True)
    loss = LOSSES[name]({"raw": raw, "base": outputs["base"].float()}, targets)
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()


def test_the_student_t_of_many_degrees_is_the_gaussian() -> None:
    outputs, targets = made("student_t")
    outputs["raw"][..., 2] = 1e7
    gaussian = float(LOSSES["gaussian"](outputs, targets).total)
    constant = 0.5 * np.log(2 * np.pi) * float(targets["weight"].sum())
    np.testing.assert_allclose(float(LOSSES["student_t"](outputs, targets).total), gaussian + constant, rtol=1e-5)


def test_every_loss_is_tested() -> None:
    assert set(LOSSES) == {*PARAMETERS, *LABELS, "tags"}


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("shape", [(4,), (3, 5)])
def test_cross_entropy_equals_torchs(shape: tuple[int, ...], smoothing: float) -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(*shape, 6, generator=rng, dtype=torch.float64)
    y = torch.randint(0, 6, shape, generator=rng)
    weight = torch.rand(shape, generator=rng, dtype=torch.float64)
    weight.view(-1)[0] = 0.0
    found = LOSSES["cross_entropy"]({"logits": logits}, {"y": y, "weight": weight, "smoothing": torch.tensor(smoothing)})
    each = torch.nn.functional.cross_entropy(logits.view(-1, 6), y.view(-1), reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(found.total, (each * weight.view(-1)).sum(), rtol=1e-6, atol=0)
    torch.testing.assert_close(found.count, weight.sum())


def test_both_ways_is_the_mean_of_two_cross_entropies() -> None:
    rng = torch.Generator().manual_seed(0)
    logits, both = torch.randn(2, 3, 4, 6, generator=rng, dtype=torch.float64)
    targets = {"y": torch.randint(0, 6, (3, 4), generator=rng), "weight": torch.rand(3, 4, generator=rng, dtype=torch.float64)}
    targets["smoothing"] = torch.tensor(0.0)
    found = LOSSES["both_ways"]({"logits": logits, "both": both}, targets)
    each = [LOSSES["cross_entropy"]({"logits": own}, targets) for own in (logits, both)]
    torch.testing.assert_close(found.total, (each[0].total + each[1].total) / 2)
    torch.testing.assert_close(found.count, targets["weight"].sum())


def test_cross_entropy_of_a_masked_step_has_no_gradient_and_extremes_are_finite() -> None:
    logits = torch.tensor([[1e4, -1e4], [torch.inf, 0.0]], requires_grad=True)
    targets = {"y": torch.tensor([1, 0]), "weight": torch.tensor([1.0, 0.0]), "smoothing": torch.tensor(0.1)}
    loss = LOSSES["cross_entropy"]({"logits": logits}, targets)
    assert float(loss.total.detach()) == pytest.approx(0.95 * 2e4)
    (gradient,) = torch.autograd.grad(loss.total, logits)
    assert torch.isfinite(gradient[0]).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_tags_word_by_word_are_cross_entropy_over_the_valid_words(smoothing: float) -> None:
    rng = torch.Generator().manual_seed(1)
    scores, y = torch.randn(3, 4, 5, generator=rng), torch.randint(0, 5, (3, 4), generator=rng)
    lengths = torch.tensor([4, 0, 2])
    targets = {"y": y, "lengths": lengths, "smoothing": torch.tensor(smoothing)}
    found = LOSSES["tags"]({"emissions": scores}, targets)
    valid = torch.arange(4) < lengths[:, None]
    expected = torch.nn.functional.cross_entropy(scores[valid], y[valid], reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(found.total, expected)
    assert float(found.count) == 6


def test_tags_of_a_chain_are_minus_the_log_of_the_paths_share() -> None:
    """All 3 ** 3 paths of a row have a probability, and these add up to 1; labels of sentences come on top."""
    rng = torch.Generator().manual_seed(2)
    outputs = {name: torch.randn(*shape, generator=rng, dtype=torch.float64) for name, shape in
               (("chain", (1, 3, 3)), ("chain.transitions", (3, 3)), ("chain.start", (3,)), ("chain.end", (3,)))}  # fmt: skip
    total = 0.0
    for path in itertools.product(range(3), repeat=3):
        targets = {"y": torch.tensor([path]), "lengths": torch.tensor([3]), "smoothing": torch.tensor(0.0)}
        total += float(torch.exp(-LOSSES["tags"](outputs, targets).total))
    assert total == pytest.approx(1.0, abs=1e-12)
    labelled = {**outputs, "label": torch.tensor([[0.3, -1.0]], dtype=torch.float64)}
    more = LOSSES["tags"](labelled, {**targets, "label": torch.tensor([1])})
    own = torch.nn.functional.cross_entropy(labelled["label"], torch.tensor([1]))
    assert float(more.total - LOSSES["tags"](outputs, targets).total) == pytest.approx(float(own))


def test_a_row_without_words_adds_nothing() -> None:
    outputs = {
        "chain": torch.randn(1, 2, 3),
        "chain.transitions": torch.randn(3, 3),
        "chain.start": torch.randn(3),
        "chain.end": torch.randn(3),
    }
    targets = {"y": torch.zeros(1, 2, dtype=torch.int64), "lengths": torch.tensor([0]), "smoothing": torch.tensor(0.0)}
    assert float(LOSSES["tags"](outputs, targets).total) == 0.0
