"""A spec as something to train. In: a spec and a generator. Out: parameters by name, and a differentiable forward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tidegate.blocks.graph import Ran, run
from tidegate.blocks.weights import check_weights
from tidegate.nn.init import initial_weights
from tidegate.nn.ops import TorchOps
from tidegate.spec import Crf, Spec


@final
class Network(nn.Module):
    """The training half of a model. Parameters keep the names that the file gives them, with `.` written as `/`."""

    def __init__(self, spec: Spec, rng: torch.Generator) -> None:
        super().__init__()
        self.spec = spec
        self._eval_ops = TorchOps()
        for name, value in initial_weights(spec, rng).items():
            self.register_parameter(name.replace(".", "/"), nn.Parameter(value))

    def weights(self) -> dict[str, Tensor]:
        """Parameters by the file's names."""
        return {name.replace("/", "."): value for name, value in self.named_parameters()}

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        lengths: Mapping[str, Tensor] | None = None,
        state: Mapping[str, Tensor] | None = None,
        dropout_rng: torch.Generator | None = None,
    ) -> Ran:
        """Run the spec; dropout acts only where a generator is given."""
        return self.part(self.spec, inputs, lengths, state, dropout_rng)

    def part(
        self,
        spec: Spec,
        inputs: Mapping[str, Tensor],
        lengths: Mapping[str, Tensor] | None = None,
        state: Mapping[str, Tensor] | None = None,
        dropout_rng: torch.Generator | None = None,
    ) -> Ran:
        """Run another spec with these weights, which have the same names there: the encoder alone, or the decoder."""
        ops = self._eval_ops if dropout_rng is None else TorchOps(dropout_rng)
        return run(ops, spec, self.weights(), inputs, lengths, state)

    def chains(self) -> dict[str, Tensor]:
        """The weights of conditional random fields, which the loss reads beside their scores."""
        names = tuple(f"{block.name}." for block in self.spec.blocks if isinstance(block, Crf))
        return {name: value for name, value in self.weights().items() if name.startswith(names)} if names else {}

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """A copy of the weights as NumPy arrays."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.weights().items()}

    def load(self, arrays: Mapping[str, npt.NDArray[np.floating]]) -> None:
        """Take weights from NumPy arrays. Raises: FormatError unless they are exactly those of the spec."""
        check_weights(self.spec, arrays)
        with torch.no_grad():
            for name, value in self.weights().items():
                value.copy_(torch.tensor(arrays[name]))
