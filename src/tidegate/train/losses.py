"""Losses by name. In: the net's outputs and a batch's targets. Out: a weighted sum and its weight, so that parts add up exactly.

Of labels: `logits` (..., K), and `both` of the same shape where a token is foreseen from both sides too; targets `y` (...) int64,
`weight` (...), `smoothing` (), the share that is spread over all classes.
Outputs of a forecaster: `raw` (B, F, P) parameters and `base` (B, F, 1), the point that the parameters add to. Targets: `y`
(B, F) scaled values, `weight` (B, F), 0 where the truth is missing, `probabilities` (Q,), and `unit` (B,), `offset` (B,) to
leave the scale (counts).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from tidegate.nn.ops import TorchOps
from tidegate.tasks.problem import LossName

TINY = 1e-4


@final
@dataclass(frozen=True)
class Loss:
    """A weighted sum and the weight it stands for."""

    total: Tensor
    count: Tensor


def quantile(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Loss:
    """Mean pinball loss over the levels: max(p e, (p - 1) e), e = y - q  (Koenker & Bassett 1978)."""
    p = targets["probabilities"]
    e = _known(targets["y"], targets)[..., None] - (outputs["raw"] + outputs["base"])
    return _weighted(torch.maximum(p * e, (p - 1) * e).mean(-1), targets["weight"])


def gaussian(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Loss:
    """Negative log-likelihood of N(mean, scale^2), without its constant."""
    mean, scale = outputs["raw"][..., 0] + outputs["base"][..., 0], softplus(outputs["raw"][..., 1]) + TINY
    return _weighted(torch.log(scale) + 0.5 * ((_known(targets["y"], targets) - mean) / scale) ** 2, targets["weight"])


def student_t(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Loss:
    """Negative log-likelihood of a Student-t with df > 2 (Lange et al. 1989)."""
    mean, scale = outputs["raw"][..., 0] + outputs["base"][..., 0], softplus(outputs["raw"][..., 1]) + TINY
    df = 2.0 + softplus(outputs["raw"][..., 2]) + TINY
    z = (_known(targets["y"], targets) - mean) / scale
    log_norm = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * torch.log(df * math.pi) - torch.log(scale)
    return _weighted((df + 1) / 2 * torch.log1p(z * z / df) - log_norm, targets["weight"])


def negative_binomial(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Loss:
    """Negative log-likelihood of counts with mean m and variance m + a m^2 (Salinas et al. 2020)."""
    unit, offset = targets["unit"][:, None], targets["offset"][:, None]
    mean = softplus(outputs["raw"][..., 0] + outputs["base"][..., 0] + offset / unit) * unit + TINY
    dispersion = softplus(outputs["raw"][..., 1]) + TINY
    y = _known(targets["y"] * unit + offset, targets)
    r = 1.0 / dispersion
    likelihood = (
        torch.lgamma(y + r) - torch.lgamma(r) - torch.lgamma(y + 1)
        - r * torch.log1p(dispersion * mean) + y * (torch.log(dispersion * mean) - torch.log1p(dispersion * mean))
    )  # fmt: skip
    return _weighted(-likelihood, targets["weight"])


def squared(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Loss:
    """Squared error of a point forecast."""
    return _weighted((_known(targets["y"], targets) - outputs["raw"][..., 0] - outputs["base"][..., 0]) ** 2, targets["weight"])


def cross_entropy(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Loss:
    """Negative log-probability of the label, mixed with the mean over all classes (label smoothing, Szegedy et al. 2016)."""
    logits = outputs["logits"]
    each = _CrossEntropy.apply(logits, targets["y"], float(targets["smoothing"]))  # type: ignore[no-untyped-call]  # torch's
    return _weighted(each, targets["weight"].to(logits.dtype))


class _CrossEntropy(torch.autograd.Function):
    """Each label's cross-entropy with smoothing, in few walks over the logits: with thousands of codes they are what costs.

    Torch's own operations, one by one, walk them 12 times forwards and backwards; these walk them 6 times.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, y: Tensor, smoothing: float) -> Tensor:
        logs = torch.log_softmax(logits, -1)
        ctx.save_for_backward(logs, y)
        ctx.smoothing = smoothing
        own = -logs.gather(-1, y[..., None])[..., 0]
        return own if smoothing == 0.0 else own + smoothing * (-logs.mean(-1) - own)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (logs, y), smoothing = ctx.saved_tensors, ctx.smoothing
        scale = gradients[0][..., None]  # (..., 1)
        grad = torch.exp(logs)
        if smoothing:
            grad.sub_(smoothing / logs.shape[-1])
        grad.mul_(scale)
        grad.scatter_add_(-1, y[..., None], (smoothing - 1.0) * scale)
        return grad, None, None


def tags(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Loss:
    """Of a tagger: -log p(tags | words) under the conditional random field, or word by word; a label of the sentence beside it.

    Outputs: `chain` (B, T, K) with its weights, or `emissions` (B, T, K); `label` (B, L) logits. Targets: `y` (B, T), `lengths`
    (B,), `smoothing` () of the word-by-word loss and of the label's, `label` (B,). Counted in words.
    """
    y, lengths = targets["y"], targets["lengths"]
    words = (torch.arange(y.shape[1], device=y.device) < lengths[:, None]).to(torch.float32)
    if "chain" in outputs:
        own = -_log_probability(outputs, y, lengths)
        found = Loss(own.sum(), lengths.sum().to(own.dtype))
    else:
        found = cross_entropy({"logits": outputs["emissions"]}, {**targets, "weight": words})
    if "label" not in outputs:
        return found
    label = {"y": targets["label"], "weight": torch.ones_like(lengths), "smoothing": targets["smoothing"]}
    return Loss(found.total + cross_entropy({"logits": outputs["label"]}, label).total, found.count)


def _log_probability(outputs: Mapping[str, Tensor], y: Tensor, lengths: Tensor) -> Tensor:
    """log p of each row's path, (B,)."""
    scores = outputs["chain"]
    weights = {part: outputs[f"chain.{part}"] for part in ("transitions", "start", "end")}
    total, _ = TorchOps().crf(scores, lengths, weights)
    valid = torch.arange(y.shape[1], device=y.device) < lengths[:, None]
    steps = scores.gather(-1, y[..., None])[..., 0] * valid
    pairs = weights["transitions"][y[:, :-1], y[:, 1:]] * valid[:, 1:]
    last = y.gather(1, (lengths - 1).clamp(min=0)[:, None])[:, 0]
    ends = (weights["start"][y[:, 0]] + weights["end"][last]) * (lengths > 0)
    return steps.sum(1) + pairs.sum(1) + ends - total


def both_ways(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Loss:
    """The mean of two cross-entropies: of a token from what stands before it, and from both sides."""
    left, both = (cross_entropy({"logits": outputs[name]}, targets) for name in ("logits", "both"))
    return Loss((left.total + both.total) / 2.0, left.count)


def _known(y: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """The truths, 0 where they are masked: a NaN there would reach the gradient, as 0 times NaN."""
    return torch.where(targets["weight"] > 0, y, torch.zeros_like(y))


def _weighted(each: Tensor, weight: Tensor) -> Loss:
    # where() and not a product: a masked step must add 0 even where its loss is not finite.
    return Loss(torch.where(weight > 0, each * weight, torch.zeros_like(each)).sum(), weight.sum())


LOSSES: dict[LossName, Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Loss]] = {
    "quantile": quantile,
    "gaussian": gaussian,
    "student_t": student_t,
    "negative_binomial": negative_binomial,
    "squared": squared,
    "cross_entropy": cross_entropy,
    "tags": tags,
    "both_ways": both_ways,
}
