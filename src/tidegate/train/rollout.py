"""Scheduled sampling: the horizon step by step, some steps reading the net's own output (Bengio et al. 2015).

In: a batch. Out: outputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tidegate.blocks.rollout import roll_out
from tidegate.nn.network import Network
from tidegate.nn.ops import TorchOps
from tidegate.tasks.problem import Rolled


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
