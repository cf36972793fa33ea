"""Letters a second of LanguageModel.generate, beside a plain PyTorch loop with the same weights -> results/speed_generate.json.

    python bench/text/speed_generate.py                    # 2 x 256 LSTM, one thread

The loop beside it: nn.Embedding, nn.LSTM and nn.Linear under inference_mode, softmax and torch.multinomial, letter after letter.
That both nets are the same is checked on their logits. Rounds of both stand beside each other in time; the figure is the median
of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np
import torch
from run import DATA, RESULTS, machine
from torch import nn

import tidegate as tg
from tidegate.models.language_fit import Core

CLOSE = 1e-4


class Loop(nn.Module):
    """The net of a language model on torch.nn layers."""

    def __init__(self, core: Core) -> None:
        super().__init__()
        o, weights = core.options, {name: torch.from_numpy(value.copy()) for name, value in core.net.weights.items()}
        tokens, embedding = weights["embedded.weight"].shape
        self.embed = nn.Embedding(tokens, embedding)
        self.read = nn.LSTM(embedding, o.hidden_size, o.num_layers, batch_first=True)
        self.out = nn.Linear(o.hidden_size, tokens)
        with torch.no_grad():
            self.embed.weight.copy_(weights["embedded.weight"])
            self.out.weight.copy_(weights["logits.weight"])
            self.out.bias.copy_(weights["logits.bias"])
            for name, value in self.read.named_parameters():
                value.copy_(weights[f"read.{name}"])

    @torch.inference_mode()
    def generate(self, core: Core, length: int, rng: torch.Generator) -> str:
        """Text from the state that knows nothing."""
        code, state, tokens = torch.zeros(1, 1, dtype=torch.int64), None, core.tokenizer.tokens
        written = []
        for _ in range(length):
            y, state = self.read(self.embed(code), state)
            logits = self.out(y[:, -1])
            logits[:, 0] = -torch.inf  # the code of the unknown
            code = torch.multinomial(torch.softmax(logits, -1), 1, generator=rng)
            written.append(tokens[int(code) - 1])
        return "".join(written)


def same(loop: Loop, core: Core) -> float:
    """The largest difference between the logits of both over a text."""
    codes = np.random.default_rng(0).integers(1, core.tokenizer.size, (1, 300))
    ours = core.net.run({"tokens": codes[..., None]}).outputs["logits"]
    with torch.inference_mode():
        theirs = loop.out(loop.read(loop.embed(torch.from_numpy(codes)))[0]).numpy()
    return float(np.abs(ours - theirs).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--letters", type=int, default=2000, help="of each in a round")
    given = parser.parse_args()
    torch.set_num_threads(1)
    text = (DATA / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")[:100_000]
    model = tg.LanguageModel(hidden_size=256, num_layers=2, steps=20).fit([text], progress=False)
    core = model._ready()
    loop = Loop(core)
    off = same(loop, core)
    assert off < CLOSE, f"the two nets differ by {off}"
    ways: dict[str, Any] = {
        "tidegate": lambda seed: "".join(model.generate(length=given.letters, seed=seed)),
        "torch": lambda seed: loop.generate(core, given.letters, torch.Generator().manual_seed(seed)),
    }
    rounds: list[dict[str, float]] = []
    for index in range(given.rounds + 1):
        found = {}
        for name in list(ways)[:: 1 if index % 2 else -1]:
            began = time.perf_counter()
            written = ways[name](index)
            found[name] = len(written) / (time.perf_counter() - began)
        rounds.append(found)
    rounds = rounds[1:]  # the first one lays out weights
    ratios = sorted(r["tidegate"] / r["torch"] for r in rounds)
    result = {
        "row": "speed_generate", "hidden_size": 256, "layers": 2, "threads": 1, "letters": given.letters,
        "letters_per_s": {name: statistics.median(r[name] for r in rounds) for name in ways},
        "ratio": statistics.median(ratios), "least": ratios[0], "most": ratios[-1], "logits_differ": off, "rounds": rounds,
        "machine": machine(),
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "speed_generate.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{result['letters_per_s']} letters a second: {result['ratio']:.1f} times ({ratios[0]:.1f} to {ratios[-1]:.1f})")


if __name__ == "__main__":
    main()
