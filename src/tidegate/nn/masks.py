"""Zoneout and variational dropout of the state, as masks. In: rates, sizes. Out: tensors that both paths multiply with.

Masks are drawn from torch's global generator, for each layer zone_h, zone_c, drop_h, when the layer runs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Masks(NamedTuple):
    """Of one layer, D directions. None: nothing is masked."""

    zone_h: Tensor | None = None  # (D, T, B, H) of 0 and 1 in training, (D, 1, B, H) of the rate else: the share of the old h
    zone_c: Tensor | None = None
    drop_h: Tensor | None = None  # (D, B, H) of 0 and 1 / (1 - p): factor of h where it enters weight_hh


class Rates(NamedTuple):
    """zoneout: Krueger et al. 2016. state_dropout: Gal & Ghahramani 2016. Each from 0 to below 1."""

    zoneout: float = 0.0
    state_dropout: float = 0.0
    training: bool = False

    def active(self) -> bool:
        """Whether any mask differs from none."""
        return self.zoneout > 0.0 or (self.training and self.state_dropout > 0.0)


def draw(rates: Rates, cell: str, like: Tensor, sizes: tuple[int, int, int, int]) -> Masks:
    """Masks for (D, T, B, H) = sizes, of the dtype and device of `like`."""
    directions, steps, batch, hidden = sizes
    zone_h = zone_c = drop_h = None
    if rates.zoneout > 0.0:
        zone_h = _zone(rates, like, (directions, steps, batch, hidden))
        zone_c = _zone(rates, like, (directions, steps, batch, hidden)) if cell == "lstm" else None
    if rates.training and rates.state_dropout > 0.0:
        kept = 1.0 - rates.state_dropout
        drop_h = torch.empty((directions, batch, hidden), dtype=like.dtype, device=like.device).bernoulli_(kept) / kept
    return Masks(zone_h, zone_c, drop_h)


def _zone(rates: Rates, like: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    if rates.training:
        return torch.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(rates.zoneout)
    return torch.full((shape[0], 1, *shape[2:]), rates.zoneout, dtype=like.dtype, device=like.device)
