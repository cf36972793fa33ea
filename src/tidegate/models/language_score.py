"""How well a text was foreseen. In: sums over its tokens. Out: nats, perplexity, bits a letter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np


@final
@dataclass(frozen=True)
class Score:
    """How well a text was foreseen."""

    nats: float  # -log p of the whole text
    tokens: int
    letters: int  # code points, those of unknown tokens left out
    unknown: int  # tokens that training never had; they are read, and left out of the figures

    @property
    def nats_per_token(self) -> float:
        """The mean over the known tokens."""
        return self.nats / max(1, self.tokens - self.unknown)

    @property
    def perplexity(self) -> float:
        """exp of the nats a token."""
        return float(np.exp(self.nats_per_token))

    @property
    def bits_per_letter(self) -> float:
        """Bits a code point."""
        return self.nats / max(1, self.letters) / float(np.log(2.0))

    def __str__(self) -> str:
        unknown = f", {self.unknown:,} unknown ones left out" if self.unknown else ""
        return (
            f"{self.nats_per_token:.4f} nats a token (perplexity {self.perplexity:.3f}), {self.bits_per_letter:.4f} bits a "
            f"letter; {self.tokens:,} tokens{unknown}"
        )
