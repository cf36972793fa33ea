"""Decoders step by step: some steps read the net's own output (scheduled sampling, Bengio et al. 2015), or what attention made of
the step before (input feeding, Luong et al. 2015).

In: a batch. Out: outputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tidegate.blocks.rollout import roll_out
from tidegate.blocks.unroll import unroll
from tidegate.nn.network import Network
from tidegate.nn.ops import TorchOps
from tidegate.tasks.problem import Rolled, Unrolled


def rolled_outputs(
    network: Network,
    rolled: Rolled,
    inputs: Mapping[str, Tensor],
    own: Tensor,
    truth: Mapping[str, Tensor],
    dropout_rng: torch.Generator | None,
) -> dict[str, Tensor]:
    """Outputs of every step.

    Args:  own: (B, F) bool, steps whose output, not the truth, is fed back; unknown truths are always replaced.
    """
    others = {name: value for name, value in inputs.items() if name != rolled.port}
    y, known = truth["y"][:, rolled.start :], truth["weight"][:, rolled.start :] > 0

    def run(x: Tensor, state: Mapping[str, Tensor] | None) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        ran = network({**others, rolled.port: x}, None, state, dropout_rng)
        return ran.outputs, ran.state

    def choose(k: int, outputs: Mapping[str, Tensor]) -> Tensor:
        guess = outputs["raw"][:, 0, rolled.centre] + outputs["base"][:, 0, 0]
        return torch.where(own[:, k] | ~known[:, k], guess, y[:, k])

    return roll_out(TorchOps(), run, inputs[rolled.port], rolled.start, rolled.lags, choose)


def unrolled_outputs(
    network: Network,
    unrolled: Unrolled,
    inputs: Mapping[str, Tensor],
    lengths: Mapping[str, Tensor],
    own: Tensor | None,
    dropout_rng: torch.Generator | None,
) -> dict[str, Tensor]:
    """Outputs of every step of a decoder of tokens; which values are dropped is drawn anew at every step.

    Args:  own: (B, U) bool, steps whose own most likely code, not the truth, is read by the next one; None: none.
    """
    encoded = network.part(unrolled.encoder, inputs, lengths, None, dropout_rng)
    memory = {name: encoded.outputs[name] for name in unrolled.handed}
    sequences = {name: lengths["source"] for name, value in memory.items() if value.dim() == 3}
    previous = inputs[unrolled.port]
    nothing = {} if unrolled.feed is None else {"feed": memory["start"].new_zeros(len(previous), _feed_size(unrolled))}

    def feed(k: int, before: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        code = previous[:, k : k + 1]
        if before is None:
            return {unrolled.port: code, **nothing}
        if own is not None:
            code = torch.where(own[:, k, None, None], before["logits"].detach().argmax(-1)[..., None], code)
        return {unrolled.port: code} | ({} if unrolled.feed is None else {"feed": before[unrolled.feed][:, 0]})

    def step(
        fed: dict[str, Tensor], state: Mapping[str, Tensor] | None
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor] | None]:
        ran = network.part(unrolled.decoder, {**memory, **fed}, sequences, state, dropout_rng)
        return ran.outputs, ran.state

    steps, _ = unroll(step, feed, None, previous.shape[1])
    return {name: torch.cat([one[name] for one in steps], 1) for name in steps[0]}


def _feed_size(unrolled: Unrolled) -> int:
    return next(port.size for port in unrolled.decoder.inputs if port.name == "feed")
