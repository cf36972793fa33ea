"""What tutorials say of recurrent nets, held against figures. In: shares of right answers, seed by seed. Out: verdicts in words.

No verdict is written down beforehand: each follows from the figures of the run. A method is ahead of another where the difference
of their shares is beyond two standard errors and its worst seed is above the other's best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

GUESS, BAG, RNN, LSTM, GRU, BOTH, WAITS = "guessing", "bag of words", "RNN", "LSTM", "GRU", "both ways", "LSTM, at the end"
METHODS = (GUESS, BAG, RNN, LSTM, GRU, BOTH, WAITS)
Outcome = Literal["holds", "holds in part", "does not hold"]


@final
@dataclass(frozen=True)
class Share:
    """How many of the same questions were answered right, for each seed. Guessing has one share and no noise."""

    right: tuple[float, ...]
    asked: int  # for each seed
    exact: bool = False

    @property
    def each(self) -> tuple[float, ...]:
        """The share of each seed."""
        return tuple(count / self.asked for count in self.right)

    @property
    def mean(self) -> float:
        """Over seeds."""
        return sum(self.each) / len(self.right)

    @property
    def variance(self) -> float:
        """Of the mean, with two right and two wrong answers added (Agresti & Caffo 2000), so that 24 of 24 is no certainty."""
        count = self.asked * len(self.right)
        p = (sum(self.right) + 2.0) / (count + 4.0)
        return 0.0 if self.exact else p * (1.0 - p) / (count + 4.0)

    def __str__(self) -> str:
        low, high = round(100 * min(self.each)), round(100 * max(self.each))
        return f"{100 * self.mean:.0f} %" + (f" ({low}-{high})" if low != high else "")


Figures = Mapping[str, Mapping[str, Share]]  # piece -> method -> share


def guessing(classes: int, asked: int) -> Share:
    """What guessing gives: an exact share."""
    return Share((asked / classes,), asked, exact=True)


@final
@dataclass(frozen=True)
class Claim:
    """Each of `ahead` answers more of a piece's questions than `behind` does."""

    text: str
    piece: str
    ahead: tuple[str, ...]
    behind: str


class Verdict(NamedTuple):
    """What the figures say of a claim."""

    claim: Claim
    outcome: Outcome
    why: str


CLAIMS = (
    Claim("A recurrent net understands a negation.", "negation", (RNN, LSTM, GRU, BOTH), GUESS),
    Claim("It does, of words that it has read negated.", "read negation", (RNN, LSTM, GRU, BOTH), GUESS),
    Claim("A recurrent net reads the order of a bad start and a good end.", "ending", (RNN, LSTM, GRU, BOTH), BAG),
    Claim("LSTM and GRU remember over a few words what a plain RNN forgets.", "short gap", (LSTM, GRU), RNN),
    Claim("LSTM and GRU remember over many words what a plain RNN forgets.", "long gap", (LSTM, GRU), RNN),
    Claim("The state carries a word that settles a sense on to the noun.", "sense before", (RNN, LSTM, GRU, BOTH), GUESS),
    Claim("Reading both ways settles a noun that reading left to right cannot.", "sense after", (BOTH,), LSTM),
    Claim("Reading both ways is better wherever a noun has two senses.", "sense at the end", (BOTH,), LSTM),
    Claim("Reading both ways knows a company by what follows its name.", "company", (BOTH,), LSTM),
    Claim("Nothing but reading both ways will do for that.", "company", (BOTH,), WAITS),
    Claim("An LSTM carries the number of the subject over a clause.", "agreement", (LSTM,), GUESS),
    Claim("A plain RNN cannot.", "agreement", (LSTM,), RNN),
)


def verdicts(figures: Figures, claims: Sequence[Claim] = CLAIMS) -> list[Verdict]:
    """One for each claim whose piece and methods were measured."""
    return [
        verdict(claim, figures[claim.piece])
        for claim in claims
        if claim.piece in figures and {*claim.ahead, claim.behind} <= set(figures[claim.piece])
    ]


def verdict(claim: Claim, measured: Mapping[str, Share]) -> Verdict:
    """Hold a claim against the figures of its piece."""
    other = measured[claim.behind]
    sorted_out: dict[str, list[str]] = {"ahead of": [], "level with": [], "behind": []}
    for name in claim.ahead:
        sorted_out[standing(measured[name], other)].append(f"{name} {measured[name]}")
    won, count = len(sorted_out["ahead of"]), len(claim.ahead)
    outcome: Outcome = "holds" if won == count else "holds in part" if won else "does not hold"
    said = [f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {how}" for how, names in sorted_out.items() if names]
    return Verdict(claim, outcome, f"{', '.join(said)} {claim.behind} {other}.")


def standing(own: Share, other: Share) -> Literal["ahead of", "level with", "behind"]:
    """Where a method stands beside another; level where the difference may be chance."""
    if _beyond(own, other):
        return "ahead of"
    return "behind" if _beyond(other, own) else "level with"


def _beyond(high: Share, low: Share) -> bool:
    noise = 2.0 * math.sqrt(high.variance + low.variance)
    return high.mean - low.mean > noise and min(high.each) > max(low.each)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
