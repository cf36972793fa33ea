"""NumPy's operations and the native ones against torch's, one by one, at ordinary and at extreme numbers; dtypes and callers'
arrays are kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import checks
from tidegate import native
from tidegate.blocks.ops import Array, Ops
from tidegate.nn.ops import TorchOps
from tidegate.runtime.native_ops import NativeOps
from tidegate.runtime.ops import NumpyOps

NATIVE = pytest.mark.skipif(not native.available(), reason="the native core is not installed")
OPS = pytest.mark.parametrize("ops", [pytest.param(NumpyOps(), id="numpy"), pytest.param(NativeOps(), id="native", marks=NATIVE)])
RNG = np.random.default_rng(0)
X, V = RNG.normal(size=(3, 4, 5)), RNG.normal(size=(3, 5))
LENGTHS = np.array([4, 0, 2])
CHAIN = (RNG.normal(size=(5, 5)), RNG.normal(size=5), RNG.normal(size=5))
Q, U = RNG.normal(size=(3, 2, 5)), RNG.normal(size=5)
PADDED = np.where((np.arange(4) < LENGTHS[:, None])[..., None], X, np.nan)
CALLS: dict[str, tuple[Callable[..., Array], tuple[np.ndarray, ...]]] = {
    "linear": (lambda ops, x, w, b: ops.linear(x, w, b), (X, RNG.normal(size=(2, 5)), RNG.normal(size=2))),
    "linear without bias": (lambda ops, x, w: ops.linear(x, w, None), (V, RNG.normal(size=(2, 5)))),
    "linear of nothing": (lambda ops, x, w, b: ops.linear(x, w, b), (X[..., :0], np.zeros((2, 0)), RNG.normal(size=2))),
    "embed": (lambda ops, t, c: ops.embed(t, c), (RNG.normal(size=(7, 2)), np.array([6, 0, 3]))),
    "sigmoid": (lambda ops, x: ops.sigmoid(x), (X,)),
    "tanh": (lambda ops, x: ops.tanh(x), (X,)),
    "relu": (lambda ops, x: ops.relu(x), (X,)),
    "softmax": (lambda ops, x: ops.softmax(x), (X,)),
    "total": (lambda ops, x: ops.total(x), (X,)),
    "norm": (lambda ops, x, w, b: ops.norm(x, w, b), (X, RNG.normal(size=5), RNG.normal(size=5))),
    "dropout in prediction": (lambda ops, x: ops.dropout(x, 0.5), (X,)),
    "concat": (lambda ops, x: ops.concat([x, x * 2], 1), (X,)),
    "reshape": (lambda ops, x: ops.reshape(x, (3, 2, 10)), (X,)),
    "over_time": (lambda ops, v: ops.over_time(v, 4), (V,)),
    "zeros": (lambda ops, x: ops.zeros(x, (2, 3)), (X,)),
    "stack": (lambda ops, v: ops.stack([v, v + 1], 1), (V,)),
    "select": (lambda ops, n, v: ops.select(ops.active(n, 1), v, v * 0 - 1), (LENGTHS, V)),
    "active": (lambda ops, n: ops.active(n, 2), (LENGTHS,)),
    "zero_padding": (lambda ops, x, n: ops.zero_padding(x, n), (X, LENGTHS)),
    "last": (lambda ops, x, n: ops.last(x, n), (X, LENGTHS)),
    "last of full rows": (lambda ops, x: ops.last(x, None), (X,)),
    "last of no steps": (lambda ops, x: ops.last(x, None), (X[:, :0],)),
    "last of no steps, ragged": (lambda ops, x, n: ops.last(x, n), (X[:, :0], LENGTHS * 0)),
    **{
        f"pool {how}{said}": (lambda ops, x, n, how=how: ops.pool(x, n, how), (x, n))
        for how in ("mean", "max")
        for said, x, n in (("", X, LENGTHS), (" of no steps", X[:, :0], LENGTHS * 0))
    },
    **{f"pool {how} of full rows": (lambda ops, x, how=how: ops.pool(x, None, how), (X,)) for how in ("mean", "max")},
    "attend": (lambda ops, s, x, n: ops.attend(s, x, n), (3 * X[..., 0], X, LENGTHS)),
    "attend full rows": (lambda ops, s, x: ops.attend(s, x, None), (3 * X[..., 0], X)),
    "attend no steps": (lambda ops, s, x, n: ops.attend(s, x, n), (X[:, :0, 0], X[:, :0], LENGTHS * 0)),
    **{
        f"match{said}": (lambda ops, q, k, n, v: ops.match(q, k, n, v), (Q, k, n, U))
        for said, k, n in (("", X, LENGTHS), (" no keys", X[:, :0], LENGTHS * 0))
    },
    "match by a product": (lambda ops, q, k, n: ops.match(q, k, n, None), (Q, X, LENGTHS)),
    "match full rows": (lambda ops, q, k: ops.match(q, k, None, None), (Q, X)),
    "match no queries": (lambda ops, q, k: ops.match(q, k, None, None), (Q[:, :0], X)),
    "blend": (lambda ops, a, x, n: ops.blend(a, x, n), (Q[:, :, :4], PADDED, LENGTHS)),
    "blend full rows": (lambda ops, a, x: ops.blend(a, x, None), (Q[:, :, :4], X)),
    "blend by nothing": (lambda ops, a, x: ops.blend(a, x, None), (Q[:, :0, :4], X)),
    "dropout locked": (lambda ops, x: ops.dropout(x, 0.5, locked=True), (X,)),
    "reverse": (lambda ops, x, n: ops.reverse(x, n), (X, LENGTHS)),
    "reverse full rows": (lambda ops, x: ops.reverse(x, None), (X,)),
    "logsumexp": (lambda ops, x: ops.logsumexp(x), (X,)),
    "crf": (lambda ops, x, n, a, s, e: ops.crf(x, n, {"transitions": a, "start": s, "end": e})[0], (X, LENGTHS, *CHAIN)),
    "crf of full rows": (lambda ops, x, a, s, e: ops.crf(x, None, {"transitions": a, "start": s, "end": e})[1], (X, *CHAIN)),
    "divide_up": (lambda ops, n: ops.divide_up(n, 3), (np.arange(8),)),
}


def call(ops: Ops, name: str, dtype: str) -> Array:
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in CALLS[name][1]]
    return CALLS[name][0](ops, *(torch.from_numpy(a) if isinstance(ops, TorchOps) else a for a in arrays))


@pytest.mark.parametrize("dtype", checks.TOL)
@pytest.mark.parametrize("name", CALLS)
@OPS
def test_equal_to_torch(name: str, dtype: str, ops: Ops) -> None:
    here, there = call(ops, name, dtype), call(TorchOps(), name, dtype)
    assert here.shape == tuple(there.shape)
    assert f"torch.{here.dtype}" == str(there.dtype)
    np.testing.assert_allclose(here, there.numpy(), **checks.TOL[dtype])


def test_every_operation_is_called() -> None:
    wanted = {n for n in vars(Ops) if not n.startswith("_")} - {"recurrent"}
    assert {name.split(" ")[0] for name in CALLS} == wanted
    for ops in (NumpyOps, NativeOps, TorchOps):
        assert wanted | {"recurrent"} == {n for n in dir(ops) if not n.startswith("_")}


@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize("half", ["running", "training"])
@OPS
def test_attention_is_that_of_the_papers(ops: Ops, half: str, additive: bool) -> None:
    """Number by number: Luong's product, Bahdanau's v . tanh(q + k), and the mean of the values under their softmax."""
    own, make = (TorchOps(), torch.from_numpy) if half == "training" else (ops, np.asarray)
    found = own.match(make(Q), make(X), make(LENGTHS), make(U) if additive else None)
    blended = own.blend(found, make(PADDED), make(LENGTHS))
    for b, u in np.ndindex(3, 2):
        keys = X[b, : LENGTHS[b]]
        scores = [float(U @ np.tanh(Q[b, u] + k)) if additive else float(Q[b, u] @ k) for k in keys]
        shares = np.exp(scores) / np.exp(scores).sum() if scores else np.zeros(0)
        np.testing.assert_allclose(np.asarray(found)[b, u], [*shares, *[0.0] * (4 - len(shares))], rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(np.asarray(blended)[b, u], shares @ keys if len(keys) else np.zeros(5), rtol=1e-10, atol=1e-14)


LARGE = hnp.arrays(np.float32, (2, 3), elements=st.floats(-(2.0**60), 2.0**60, width=32))


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "softmax"])
@OPS
@given(x=LARGE)
def test_large_numbers_neither_overflow_nor_warn(ops: Ops, name: str, x: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        here = getattr(ops, name)(x)
    there = getattr(TorchOps(), name)(torch.from_numpy(x))
    assert np.isfinite(here).all()
    np.testing.assert_allclose(here, there.numpy(), **checks.TOL["float32"])


@OPS
@given(x=LARGE)
def test_the_norm_of_large_numbers_is_bounded(ops: Ops, x: np.ndarray) -> None:
    """Equal large numbers differ from their mean by rounding alone, so that torch is no oracle there."""
    one = np.ones(3, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = ops.norm(x, one, one)
    assert np.abs(y - 1).max() <= np.sqrt(3) * 1.001  # n numbers of mean square 1 are at most sqrt(n)


@OPS
def test_nan_is_passed_on_not_hidden(ops: Ops) -> None:
    x = np.array([[np.nan, 1.0]])
    for name in ("sigmoid", "tanh", "relu", "softmax", "total"):
        assert np.isnan(getattr(ops, name)(x)).any(), name


def test_what_stands_in_the_padding_is_dropped_not_multiplied_by_zero() -> None:
    x = np.full((2, 3, 1), np.nan)
    x[0, :2] = 1.0
    assert NumpyOps().zero_padding(x, np.array([2, 0]))[..., 0].tolist() == [[1, 1, 0], [0, 0, 0]]
    assert NumpyOps().last(x, np.array([2, 0])).tolist() == [[1], [0]]
    leaf = torch.from_numpy(x).requires_grad_()
    TorchOps().zero_padding(leaf, torch.tensor([2, 0])).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad[..., 0].tolist() == [[1, 1, 0], [0, 0, 0]]
