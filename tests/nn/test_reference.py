"""The equations with masks: zoneout and variational dropout against loops written here, and the native path against them."""

from __future__ import annotations

import pytest
import torch
from recurrent_inputs import CELLS, leaves, make, outputs, weighted
from torch import Tensor

import checks
from tidegate import native, nn
from tidegate.nn.masks import Masks, Rates, draw
from tidegate.nn.ops import TorchOps
from tidegate.nn.reference import layer

B, T, I, H = 3, 5, 2, 4  # noqa: E741  # the letters of dims.py


def cell_by_torch(cell: str, weights: tuple[Tensor, ...]) -> torch.nn.Module:
    kinds = {"rnn_tanh": torch.nn.RNNCell, "rnn_relu": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}
    options = {"nonlinearity": cell[4:]} if cell.startswith("rnn") else {}
    made = kinds[cell](I, H, dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter, weight in zip(made.parameters(), weights, strict=True):
            parameter.copy_(weight)
    return made


@pytest.mark.parametrize("cell", CELLS)
def test_zoneout_keeps_a_share_of_the_old_state(cell: str) -> None:
    """A loop over torch's own cells, mixed as Krueger et al. 2016 write it."""
    given = make(cell, (B, T, I, H), masks=True)
    given = given._replace(drop_h=None)
    step, lstm = cell_by_torch(cell, given.weights), cell == "lstm"
    h, c, expected = given.h0[0], given.c0[0] if lstm else None, []
    for t in range(T):
        new = step(given.x[:, t], (h, c) if lstm else h)
        new_h, new_c = new if lstm else (new, None)
        zone = given.zone_h[0, t]
        h = zone * h + (1 - zone) * new_h
        if lstm:
            c = given.zone_c[0, t] * c + (1 - given.zone_c[0, t]) * new_c
        expected.append(h)
    y, final = reference(given)
    torch.testing.assert_close(y, torch.stack(expected, 1), **checks.TOL["float64"])
    torch.testing.assert_close(final["h"][0], h, **checks.TOL["float64"])
    if lstm:
        torch.testing.assert_close(final["c"][0], c, **checks.TOL["float64"])


@pytest.mark.parametrize("cell", CELLS)
def test_state_dropout_acts_where_h_enters_the_product(cell: str) -> None:
    """The same as scaling the columns of weight_hh, when all rows have the same mask."""
    given = make(cell, (B, T, I, H), masks=True)
    mask = given.drop_h[:, :1].expand(1, B, H)
    given = given._replace(zone_h=None, zone_c=None, drop_h=mask)
    scaled = (given.weights[0], given.weights[1] * mask[0, 0], *given.weights[2:])
    y, final = reference(given)
    plain, end = reference(given._replace(drop_h=None, weights=scaled))
    torch.testing.assert_close(y, plain, **checks.TOL["float64"])
    torch.testing.assert_close(final, end, **checks.TOL["float64"])


@pytest.mark.parametrize("cell", CELLS)
def test_where_zoneout_is_one_the_old_state_stays_whatever_the_new_one_is(cell: str) -> None:
    given, lstm = make(cell, (B, T, I, H), masks=True), cell == "lstm"
    x = given.x.detach().clone()
    x[1, 2] = float("inf")  # NaN in the gates, or an infinite h of the relu
    ones = torch.ones_like(given.zone_h)
    y, final = reference(given._replace(x=x, drop_h=None, zone_h=ones, zone_c=ones if lstm else None))
    assert torch.equal(y, given.h0[0][:, None].expand(B, T, H))
    assert torch.equal(final["h"], given.h0)
    assert not lstm or torch.equal(final["c"], given.c0)


def test_an_infinite_state_meets_no_factor_of_zero() -> None:
    """The relu's h may grow to Inf: kept by some units and renewed by others it is Inf, never NaN."""
    given = make("rnn_relu", (B, T, I, H))
    weights = tuple(w.detach().abs() for w in given.weights)
    zone = (torch.rand((1, T, B, H), generator=torch.Generator().manual_seed(1), dtype=torch.float64) < 0.5).double()
    h0 = torch.full_like(given.h0, float("inf"))
    y, _ = reference(given._replace(x=given.x.detach().abs(), h0=h0, weights=weights, zone_h=zone))
    assert torch.equal(y, torch.full_like(y, float("inf")))


def reference(given: object) -> tuple[Tensor, dict[str, Tensor]]:
    state = {"h": given.h0, "c": given.c0} if given.cell == "lstm" else {"h": given.h0}
    masks = Masks(given.zone_h, given.zone_c, given.drop_h)
    return layer(TorchOps(), given.cell, given.x, given.lengths, state, list(given.weights), masks)


@pytest.mark.skipif(not native.available(), reason="needs the native core")
@pytest.mark.parametrize("constant", [False, True], ids=["each step", "one share"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_core_with_masks_is_the_reference(cell: str, recompute: bool, constant: bool) -> None:
    given = make(cell, (B, T, I, H), masks=True, directions=2, lengths=[5, 0, 3], recompute=recompute)
    if constant:
        given = given._replace(zone_h=given.zone_h[:, :1], zone_c=None if given.zone_c is None else given.zone_c[:, :1])
    y, final = reference(given)
    sides = (outputs(given), [y, *final.values()])
    for mine, other in zip(*([*o, *torch.autograd.grad(weighted(o), leaves(given))] for o in sides), strict=True):
        torch.testing.assert_close(mine, other, **checks.GRADIENT_TOL["float64"])


def test_masks_are_of_ones_and_zeros_in_training_and_their_mean_after() -> None:
    torch.manual_seed(0)
    like = torch.zeros(1, dtype=torch.float64)
    masks = draw(Rates(0.3, 0.2, training=True), "lstm", like, (2, 50, 10, 8))
    for zone in (masks.zone_h, masks.zone_c):
        assert zone.shape == (2, 50, 10, 8)
        assert set(zone.unique().tolist()) == {0.0, 1.0}
        assert float(zone.mean()) == pytest.approx(0.3, abs=0.02)  # 8000 draws: standard error 0.005
    assert not torch.equal(masks.zone_h, masks.zone_c)
    assert masks.drop_h.shape == (2, 10, 8)
    assert set(masks.drop_h.unique().tolist()) == {0.0, 1.25}
    after = draw(Rates(0.3, 0.2), "gru", like, (2, 50, 10, 8))
    assert torch.equal(after.zone_h, torch.full((2, 1, 10, 8), 0.3, dtype=torch.float64))
    assert (after.zone_c, after.drop_h) == (None, None)
    assert draw(Rates(), "lstm", like, (2, 50, 10, 8)) == Masks()


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_layers_with_rates_agree_on_both_paths_for_a_seed(kind: str) -> None:
    options = {
        "num_layers": 2,
        "bidirectional": True,
        "zoneout": 0.3,
        "state_dropout": 0.4,
        "dropout": 0.2,
        "dtype": torch.float64,
    }
    torch.manual_seed(1)
    mine, slow = (getattr(nn, kind)(I, H, reference=reference, **options) for reference in (False, True))
    slow.load_state_dict(mine.state_dict())
    x, lengths = torch.randn(T, B, I, dtype=torch.float64), torch.tensor([5, 0, 2])
    for training in (True, False):
        results = []
        for each in (mine, slow):
            torch.manual_seed(7)
            y, _ = each.train(training)(x, lengths=lengths)
            results.append([y, *torch.autograd.grad(y.square().sum(), list(each.parameters()))])
        for got, expected in zip(*results, strict=True):
            torch.testing.assert_close(got, expected, **checks.GRADIENT_TOL["float64"])
    torch.manual_seed(8)
    assert not torch.equal(mine.train()(x)[0], mine(x)[0]), "masks are drawn anew"
    assert torch.equal(mine.eval()(x)[0], mine(x)[0])
