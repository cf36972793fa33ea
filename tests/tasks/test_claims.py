"""The verdicts follow from the figures: the same claim holds, holds in part or does not, by what was measured."""

from __future__ import annotations

import pytest

from tidegate.tasks.claims import BOTH, CLAIMS, GRU, GUESS, LSTM, RNN, Claim, Share, guessing, standing, verdict, verdicts

CLAIM = Claim("gates remember", "gap", (LSTM, GRU), RNN)


def share(*right: float, asked: int = 24) -> Share:
    return Share(right, asked)


@pytest.mark.parametrize(
    ("lstm", "gru", "rnn", "outcome", "why"),
    [
        ((24, 23, 24), (22, 24, 23), (6, 9, 3), "holds", "LSTM 99 % (96-100) and GRU 96 % (92-100) are ahead of RNN 25 %"),
        ((24, 24, 24), (6, 8, 7), (6, 9, 3), "holds in part", "LSTM 100 % is ahead of, GRU 29 % (25-33) is level with RNN"),
        ((24, 24, 24), (24, 24, 24), (24, 24, 24), "does not hold", "LSTM 100 % and GRU 100 % are level with RNN 100 %."),
        ((6, 9, 3), (5, 8, 4), (24, 24, 23), "does not hold", "are behind RNN 99 % (96-100)."),
        ((24, 24, 2), (24, 24, 24), (12, 12, 12), "holds in part", "GRU 100 % is ahead of, LSTM 69 % (8-100) is level with RNN"),
    ],
)  # fmt: skip
def test_the_same_claim_both_ways(
    lstm: tuple[float, ...], gru: tuple[float, ...], rnn: tuple[float, ...], outcome: str, why: str
) -> None:
    found = verdict(CLAIM, {LSTM: share(*lstm), GRU: share(*gru), RNN: share(*rnn)})
    assert found.outcome == outcome
    assert why in found.why


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.text)
def test_every_claim_can_fall_and_stand(claim: Claim) -> None:
    """No verdict is written down beforehand."""
    high, low = share(24, 24, 24), share(2, 3, 2)
    for behind, ahead, outcome in ((low, high, "holds"), (high, low, "does not hold"), (high, high, "does not hold")):
        measured = dict.fromkeys(claim.ahead, ahead) | {claim.behind: behind}
        (found,) = verdicts({claim.piece: measured}, [claim])
        assert found.outcome == outcome


def test_a_lucky_hit_is_no_lead() -> None:
    assert standing(share(3, asked=4), guessing(2, 4)) == "level with", "3 of 4"
    assert standing(share(24), guessing(2, 24)) == "ahead of"
    assert standing(share(14, 13, 12), guessing(2, 24)) == "level with"
    assert standing(share(1, 2, 0), guessing(2, 24)) == "behind"
    assert standing(share(24, 24, 11), share(12, 10, 9)) == "level with", "its worst seed is not above the other's best"


def test_guessing_is_exact() -> None:
    assert guessing(4, 24).mean == 0.25
    assert guessing(4, 24).variance == 0.0
    assert str(guessing(4, 24)) == "25 %"
    assert share(24, 24).variance > 0.0, "24 of 24 is no certainty"


def test_what_was_not_measured_is_not_judged() -> None:
    figures = {"company": {BOTH: share(24), LSTM: share(12), GUESS: guessing(2, 24)}}
    assert [found.claim.text for found in verdicts(figures)] == ["Reading both ways knows a company by what follows its name."]
