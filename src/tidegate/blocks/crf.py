"""A linear-chain conditional random field over Ops (Lafferty et al. 2001). In: scores of tags. Out: log-partition, marginals.

A path y of tags has the score  start[y_0] + sum_t scores[t, y_t] + sum_t transitions[y_t-1, y_t] + end[y_last],  and the
probability exp(score - log-partition). The readable twin of the core's own; the best paths stand in decode/viterbi.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.blocks.ops import Array, Ops


def forward_backward(ops: Ops, scores: Array, lengths: Array | None, weights: Mapping[str, Array]) -> tuple[Array, Array]:
    """(B, T, K) scores and transitions (K, K), start (K,), end (K,) -> log-partition (B,), marginals (B, T, K).

    Both are 0 where a row has no steps, and marginals past its length.
    """
    batch, steps, size = scores.shape
    if steps == 0:
        return ops.zeros(scores, (batch,)), scores
    transitions, end = weights["transitions"], weights["end"]
    ahead = [scores[:, 0] + weights["start"]]  # log of the sum over all paths that end here
    for t in range(1, steps):
        into = ops.logsumexp(_turned(ahead[-1][:, :, None] + transitions)) + scores[:, t]
        ahead.append(into if lengths is None else ops.select(ops.active(lengths, t), into, ahead[-1]))
    behind = [ops.zeros(scores, (batch, size)) + end]  # and over all that go on from here
    for t in reversed(range(1, steps)):
        onwards = ops.logsumexp(transitions + (scores[:, t] + behind[-1])[:, None])
        behind.append(onwards if lengths is None else ops.select(ops.active(lengths, t), onwards, behind[-1]))
    total = ops.logsumexp(ahead[-1] + end)
    marginals = ops.softmax(ops.stack([a + b for a, b in zip(ahead, reversed(behind), strict=True)], 1))
    if lengths is None:
        return total, marginals
    nothing = ops.zeros(scores, (batch, 1))
    return ops.select(ops.active(lengths, 0), total[:, None], nothing)[:, 0], ops.zero_padding(marginals, lengths)


def _turned(x: Array) -> Array:
    """(B, from, to) -> (B, to, from)."""
    return x.swapaxes(1, 2)
