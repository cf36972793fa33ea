"""The weights of the linear model of n-grams. In: sparse rows and classes. Out: weight, bias.

Multinomial logistic regression by L-BFGS over all rows at once (Liu & Nocedal 1989): sum of the losses + |V|^2 / (2 C), W = V *
scale. A feature's scale for a class is how much oftener or rarer the class has it than the others do, |log odds| + FLOOR, so
that what is known to tell classes apart costs little (Wang & Manning, ACL 2012, who put the odds into the rows).
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tidegate.tasks.linear import Rows

C_ODDS, C_EVEN = 4.0, 8.0
FLOOR = 0.5  # scale of a feature that tells nothing alone; bench/text/NOTES.md
ADDED = 1.0  # to the texts that have a feature, and to those that do not
MOST_TURNS, GOOD_ENOUGH = 100, 1e-3  # of L-BFGS; the largest number in the gradient of a sum over all rows


class Fitted(NamedTuple):
    """Weights of a linear model."""

    weight: npt.NDArray[np.float32]  # (F, K)
    bias: npt.NDArray[np.float32]  # (K,)


def fit_linear(rows: Rows, features: int, classes: npt.NDArray[np.int64], count: int, *, by_odds: bool) -> Fitted:
    """rows: N of `features` columns. classes: (N,). count: K. by_odds: scales as above; else 1, which suits letters better."""
    x, turned = _matrix(rows, features), _matrix(_turned(rows, features), len(classes))
    scale = torch.from_numpy(scales(rows, features, classes, count)) if by_odds else torch.ones((features, count))
    c = C_ODDS if by_odds else C_EVEN
    truth = torch.from_numpy(classes)
    weight, bias = (torch.zeros(shape, requires_grad=True) for shape in ((features, count), (count,)))
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=MOST_TURNS, history_size=8, line_search_fn="strong_wolfe", tolerance_grad=GOOD_ENOUGH,
        tolerance_change=0.0,
    )  # fmt: skip

    def loss() -> float:
        with torch.no_grad():
            logs = torch.log_softmax(x @ (weight * scale) + bias, -1)
            error = torch.exp(logs)
            error[torch.arange(len(truth)), truth] -= 1.0
            weight.grad, bias.grad = (turned @ error) * scale + weight / c, error.sum(0)
            own = -logs.gather(1, truth[:, None]).sum()
            return float(own + (weight * weight).sum() / (2.0 * c))

    optimiser.step(loss)  # type: ignore[no-untyped-call]  # torch has no annotation for it
    return Fitted((weight.detach() * scale).numpy(), bias.detach().numpy().copy())


def scales(rows: Rows, features: int, classes: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.float32]:
    """(F, K) |log odds| + FLOOR of a text of the class having the feature, against a text of the others."""
    owner = np.repeat(classes, np.diff(rows.starts))
    having = np.bincount(rows.places * count + owner, minlength=features * count).reshape(features, count)
    texts = np.bincount(classes, minlength=count)
    own = (having + ADDED) / (texts + 2.0 * ADDED)
    others = (having.sum(1, keepdims=True) - having + ADDED) / (len(classes) - texts + 2.0 * ADDED)
    return np.asarray(np.abs(np.log(own / others)) + FLOOR, np.float32)


def _matrix(rows: Rows, columns: int) -> Tensor:
    starts, places, values = (torch.from_numpy(part) for part in (rows.starts, rows.places, rows.values))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(starts, places, values, (len(rows.starts) - 1, columns), check_invariants=True)


def _turned(rows: Rows, columns: int) -> Rows:
    """The transposed matrix."""
    order = np.argsort(rows.places, kind="stable")
    row = np.repeat(np.arange(len(rows.starts) - 1), np.diff(rows.starts))
    starts = np.searchsorted(rows.places[order], np.arange(columns + 1))
    return Rows(starts, row[order], rows.values[order])
