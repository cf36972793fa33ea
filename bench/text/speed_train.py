"""A training step of tiny Shakespeare, beside the same net on torch.nn layers -> results/speed_train.json.

    python bench/text/speed_train.py                       # LSTM and GRU, 2 x 384, all threads of torch
    python bench/text/speed_train.py --threads 1 --rounds 20

The same training loop, loss, optimiser, clipping, averaging and batches; of the net only the layers differ: nn.Embedding,
nn.LSTM or nn.GRU (with its own dropout between layers) and nn.Linear. Rounds of both stand beside each other in time, the order
changing from round to round; the figure is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from run import DATA, RESULTS, SHAKESPEARE, machine
from torch import Tensor, nn

from tidegate.blocks.graph import Ran
from tidegate.data.vocabulary import learn
from tidegate.models.language_fit import train_options
from tidegate.nn.network import Network
from tidegate.tasks.generate import GenerateOptions, LanguageProblem, build_spec
from tidegate.tasks.problem import TrainOptions
from tidegate.train.loop import Record, train
from tidegate.train.state import TrainState, _optimiser, new_state

WARM = 2  # steps before the first round, of each
PARTS = {"lstm": ("h", "c"), "gru": ("h",)}


class TorchNet(nn.Module):
    """The language model's net on torch.nn layers, with the face of tidegate.nn.network.Network."""

    def __init__(self, options: GenerateOptions, tokens: int, embedding: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, embedding)
        kind = nn.LSTM if options.cell == "lstm" else nn.GRU
        self.read = kind(embedding, options.hidden_size, options.num_layers, batch_first=True, dropout=options.dropout)
        self.out = nn.Linear(options.hidden_size, tokens)
        self.p, self.parts = options.dropout, PARTS[options.cell]

    def forward(
        self, inputs: Mapping[str, Tensor], lengths: object, state: Mapping[str, Tensor] | None, rng: torch.Generator | None
    ) -> Ran:
        x = self._dropped(self.embed(inputs["tokens"][..., 0]), self.p / 2, rng)
        begun = None if state is None else tuple(state[f"read.{part}"].contiguous() for part in self.parts)
        y, ended = self.read(x, begun[0] if begun is not None and len(begun) == 1 else begun)
        ends = ended if isinstance(ended, tuple) else (ended,)
        logits = self.out(self._dropped(y, self.p, rng))
        return Ran({"logits": logits}, {f"read.{part}": value for part, value in zip(self.parts, ends, strict=True)})

    @staticmethod
    def _dropped(x: Tensor, p: float, rng: torch.Generator | None) -> Tensor:
        if rng is None or p == 0.0:
            return x
        keep = torch.rand((x.shape[0], 1, x.shape[2]), generator=rng) >= p
        return x * keep.to(x.dtype) / (1.0 - p)

    def weights(self) -> dict[str, Tensor]:
        return dict(self.named_parameters())

    def chains(self) -> dict[str, Tensor]:
        return {}

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: value.detach().numpy().copy() for name, value in self.weights().items()}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        with torch.no_grad():
            for name, value in self.weights().items():
                value.copy_(torch.from_numpy(arrays[name]))


def runs(problem: LanguageProblem, options: GenerateOptions, plan: TrainOptions) -> dict[str, Iterator[Record]]:
    """The training loop of both nets, step after step."""
    states: dict[str, TrainState] = {name: new_state(problem, plan) for name in ("tidegate", "torch")}
    table = problem.spec.parameters()["embedded.weight"]
    net: Any = TorchNet(options, *table)
    own = states["torch"]
    own.network, own.optimiser = net, _optimiser(net, plan)
    own.average = {name: value.detach().clone() for name, value in net.weights().items()}
    ours = states["tidegate"].network
    assert isinstance(ours, Network)
    assert sum(p.numel() for p in net.parameters()) == sum(p.numel() for p in ours.parameters())
    return {name: train(problem, plan, state) for name, state in states.items()}


def timed(run: Iterator[Record], steps: int) -> tuple[float, float]:
    """Seconds a step, and the last loss."""
    began, loss = time.perf_counter(), 0.0
    for _ in range(steps):
        loss = next(run)["loss"]
    return (time.perf_counter() - began) / steps, loss


def compared(cell: str, given: argparse.Namespace) -> dict[str, Any]:
    """Both nets of one cell, round after round."""
    sizes = {**SHAKESPEARE, "hidden_size": given.hidden_size} if given.hidden_size else SHAKESPEARE
    options = GenerateOptions(cell=cell, **sizes)  # type: ignore[arg-type]  # one of the two
    text = (DATA / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")[:600_000]
    tokenizer, _ = learn([text], "char", lower=False, size=1000)
    codes = tokenizer.encode([text])[0]
    problem = LanguageProblem(options, build_spec(options, tokenizer.size), codes, codes[:20])
    plan = TrainOptions(**{**vars(train_options(options, 1)), "steps": 10**6, "check_every": 10**6, "closing": 0.0})
    both = runs(problem, options, plan)
    for run in both.values():
        timed(run, WARM)
    rounds: list[dict[str, float]] = []
    for index in range(given.rounds):
        order = list(both)[:: 1 if index % 2 else -1]
        found = {name: timed(both[name], given.steps) for name in order}
        rounds.append({**{f"{name}_s": s for name, (s, _) in found.items()}, **{f"{n}_loss": v for n, (_, v) in found.items()}})
    ratios = sorted(r["torch_s"] / r["tidegate_s"] for r in rounds)
    return {
        "cell": cell, "hidden_size": options.hidden_size, "layers": options.num_layers, "rows": options.batch_size,
        "window": options.window, "steps": given.steps, "ratio": statistics.median(ratios), "least": ratios[0],
        "most": ratios[-1], "rounds": rounds,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, help="threads of both; none: torch's own choice")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=4, help="of each net in a round")
    parser.add_argument("--hidden-size", type=int, help="instead of the size of the row tinyshakespeare")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    cells = [compared(cell, given) for cell in PARTS]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "speed_train.json"
    path.write_text(json.dumps({"row": "speed_train", "cells": cells, "machine": machine()}, indent=1) + "\n", encoding="utf-8")
    for cell in cells:
        print(f"{cell['cell']}: {cell['ratio']:.2f} times torch.nn ({cell['least']:.2f} to {cell['most']:.2f})")


if __name__ == "__main__":
    main()
