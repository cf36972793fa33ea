"""The binding of the core: present or absent, instruction sets, threads, memory; the NumPy functions against their formulas."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tidegate as tg
from tidegate import native
from tidegate.errors import ConfigError, ShapeError

ROOT = Path(__file__).resolve().parents[1]
TOL = {np.float32: {"rtol": 2e-6, "atol": 2e-6}, np.float64: {"rtol": 1e-12, "atol": 1e-12}}
core = pytest.mark.skipif(not native.available(), reason="the native core is not installed")


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment}
    )


WITHOUT = "import sys; sys.modules['tidegate._native'] = None\n"


def test_without_the_core_one_warning_says_why_and_what_to_do() -> None:
    done = python(
        WITHOUT + "import logging; logging.basicConfig()\nfrom tidegate import native\n"
        "assert not native.available() and not native.available()\nassert native.get_num_threads() == 1"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("without its native core") == 1
    assert "install a C++ compiler" in done.stderr


def test_without_the_core_a_direct_call_is_refused() -> None:
    done = python(WITHOUT + "import tidegate as tg; tg.set_num_threads(2)")
    assert "MissingExtra" in done.stderr
    assert "expected the extension tidegate._native" in done.stderr


def test_without_the_core_layers_and_predictors_run() -> None:
    done = python(
        WITHOUT + "import torch, tidegate.nn as nn\n"
        "y, h = nn.GRU(3, 4)(torch.zeros(5, 2, 3), lengths=torch.tensor([5, 0]))\nassert y.shape == (5, 2, 4)\nprint('ran')"
    )
    assert done.stdout == "ran\n", done.stderr


@core
def test_import_does_not_load_the_core() -> None:
    done = python("import sys, tidegate\nassert 'tidegate._native' not in sys.modules and 'numpy' not in sys.modules")
    assert done.returncode == 0, done.stderr


@core
@pytest.mark.parametrize("name", native.isas() if native.available() else ())
def test_the_environment_forces_an_instruction_set(name: str) -> None:
    assert python("from tidegate import native; print(native.isa())", TIDEGATE_ISA=name).stdout == f"{name}\n"


@core
def test_an_unknown_instruction_set_is_refused() -> None:
    done = python("from tidegate import native; native.available()", TIDEGATE_ISA="z80")
    assert "ConfigError: TIDEGATE_ISA: expected one of" in done.stderr
    assert "got 'z80'" in done.stderr
    with pytest.raises(ConfigError, match=r"expected one of .*, got 'z80'"):
        native.set_isa("z80")


@core
def test_threads_are_set_and_checked() -> None:
    before = tg.get_num_threads()
    try:
        tg.set_num_threads(3)
        assert tg.get_num_threads() == 3
        for wrong in (0, -1, 257, 1.5, True, "2"):
            with pytest.raises(ConfigError, match="expected a whole number from 1 to 256"):
                tg.set_num_threads(wrong)  # type: ignore[arg-type]
        assert tg.get_num_threads() == 3
    finally:
        tg.set_num_threads(before)


@core
def test_default_threads_follow_the_environment_and_torch() -> None:
    assert python("import tidegate as tg; print(tg.get_num_threads())", OMP_NUM_THREADS="5").stdout == "5\n"
    code = "import torch; torch.set_num_threads(3)\nimport tidegate as tg; print(tg.get_num_threads())"
    assert python(code).stdout == "3\n"


@core
def test_a_child_process_has_threads_of_its_own() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    code = """
import os, torch, tidegate as tg
tg.set_num_threads(2)
layer, x = tg.nn.LSTM(16, 64), torch.randn(20, 8, 16)
with torch.no_grad():
    wanted = layer(x)[0]
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(layer(x)[0], wanted) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = python(code)
    assert done.stdout == "0\n", done.stderr


@core
def test_no_memory_is_a_memory_error_and_nothing_is_kept() -> None:
    pytest.importorskip("resource")
    code = """
import resource, numpy as np
from tidegate import native
native.available(); native.set_num_threads(1)
H, T = 512, 4000
w = [np.zeros((4 * H, H), np.float32), np.zeros((4 * H, H), np.float32)]
x, y, h, c = (np.zeros((1, steps, H), np.float32) for steps in (T, T, 1, 1))
at = native.address
call = native.LayerCall(2, 0, 1, 0, 1, T, H, H, 0, at(x), T * H, H, (at(w[0]), at(w[1]), 0, 0), 0, 0, 0, 0, 1, 0)
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 20),) * 2)
for _ in range(3):
    try:
        native.forward(call, at(y), T * H, H, at(h), at(c), 0)
        print('ran')
    except MemoryError:
        print('no memory')
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc on this system")
    assert python(code).stdout == "no memory\n" * 3


@core
def test_calls_from_several_threads_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(40 + k, 30)).astype(np.float32) for k in range(4)]
    x = rng.normal(size=(2000, 30)).astype(np.float32)
    wanted = [native.linear(x, w) for w in weights]
    wrong: list[int] = []

    def work(k: int) -> None:
        wrong.extend(k for _ in range(30) if not np.array_equal(native.linear(x, weights[k]), wanted[k]))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@core
@pytest.mark.parametrize("dtype", list(TOL))
@given(rows=st.integers(0, 20), k=st.integers(0, 40), n=st.sampled_from([1, 3, 16, 17, 64, 70]), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_linear(dtype: type, rows: int, k: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w, b = (rng.normal(size=s).astype(dtype) for s in ((rows, k), (n, k), (n,)))
    y = native.linear(x, w, b)
    close = 1e-5 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(y, (x.astype(np.float64) @ w.T + b).astype(dtype), rtol=close, atol=close)
    for row in range(rows):
        assert np.array_equal(native.linear(x[row : row + 1], w, b)[0], y[row])


@core
@pytest.mark.parametrize("dtype", list(TOL))
@given(rows=st.integers(0, 6), k=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_softmax_norm_and_pool(dtype: type, rows: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = (4 * rng.normal(size=(rows, k))).astype(dtype)
    lengths = rng.integers(0, k + 1, rows)
    valid = np.arange(k) < lengths[:, None]
    shifted = np.where(valid, np.exp(x - x.max(-1, keepdims=True)), 0)
    wanted = shifted / np.where(lengths, shifted.sum(-1), 1)[:, None]
    filled = np.where(valid, x, np.nan)
    np.testing.assert_allclose(native.softmax(filled, lengths), wanted, **TOL[dtype])
    gain, bias = rng.normal(size=k).astype(dtype), rng.normal(size=k).astype(dtype)
    centred = x - x.mean(-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gain + bias
    np.testing.assert_allclose(native.norm(x, gain, bias, 1e-5), normed, rtol=1e-4 if dtype == np.float32 else 1e-10, atol=1e-5)
    deep = rng.normal(size=(rows, k, 3)).astype(dtype)
    hidden = np.where(valid[..., None], deep, np.nan)
    for how, function in (("mean", np.mean), ("max", np.max)):
        each = [function(deep[r, : lengths[r]], axis=0) if lengths[r] else np.zeros(3) for r in range(rows)]
        np.testing.assert_allclose(native.pool(hidden, lengths, how), np.reshape(each, (rows, 3)), **TOL[dtype])
    summed = [x[r, : lengths[r]] @ deep[r, : lengths[r]] for r in range(rows)]
    wanted = np.reshape(summed, (rows, 3))
    np.testing.assert_allclose(native.weigh(filled, hidden, lengths), wanted, **{**TOL[dtype], "atol": 40 * TOL[dtype]["atol"]})


@core
@pytest.mark.parametrize("isa", native.isas() if native.available() else ())
def test_functions_are_within_two_in_ten_million(isa: str) -> None:
    """Every 97th float of all, in every instruction set."""
    bits = np.arange(0, 1 << 32, 97, dtype=np.uint64).astype(np.uint32)
    x = bits.view(np.float32)
    x = x[np.isfinite(x)]
    wide = x.astype(np.float64)
    native.set_isa(isa)
    try:
        for name in ("exp", "tanh", "sigmoid"):
            y = native.apply(name, x)
            with np.errstate(over="ignore"):
                exact = {"exp": np.exp, "tanh": np.tanh, "sigmoid": lambda v: 1 / (1 + np.exp(-v))}[name](wide)
            smallest, largest = np.finfo(np.float32).tiny, np.finfo(np.float32).max
            normal = (np.abs(exact) >= smallest) & (exact <= largest) & (np.abs(x) >= smallest)
            assert np.max(np.abs(y[normal] - exact[normal]) / np.abs(exact[normal])) <= 2e-7, name
            special = np.array([np.nan, np.inf, -np.inf], np.float32)
            limits = {"exp": [np.inf, 0], "tanh": [1, -1], "sigmoid": [1, 0]}[name]
            np.testing.assert_array_equal(native.apply(name, special), np.array([np.nan, *limits], np.float32))
    finally:
        native.set_isa(None)


@core
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_arrays_of_the_other_byte_order_are_the_numbers_that_they_hold(dtype: str) -> None:
    other = np.dtype(dtype).newbyteorder("S")
    rng = np.random.default_rng(0)
    x, w, gain, deep = (rng.normal(size=s).astype(dtype) for s in ((3, 5), (4, 5), (5,), (3, 4, 5)))
    b, lengths = w[:, 0].copy(), np.array([5, 0, 2])
    calls = [
        lambda o: native.linear(o(x), o(w), o(b)),
        lambda o: native.linear(x, o(w), o(b)),
        lambda o: native.linear(o(x), w),
        lambda o: native.PackedLinear(o(w), b)(o(x)),
        lambda o: native.softmax(o(x), o(lengths)),
        lambda o: native.norm(o(x), gain, o(gain), 1e-5),
        lambda o: native.norm(x, o(gain), gain, 1e-5),
        lambda o: native.pool(o(deep), o(lengths // 2), "max"),
        lambda o: native.weigh(o(deep[..., 0]), o(deep), o(lengths // 2)),
        lambda o: native.apply("exp", o(x)),
    ]

    def swapped(array: np.ndarray) -> np.ndarray:
        found = array.astype(array.dtype.newbyteorder("S"))
        assert not found.dtype.isnative
        return found

    for k, call in enumerate(calls):
        got = call(swapped)
        assert got.dtype == np.dtype(dtype) != other
        np.testing.assert_array_equal(got, call(lambda array: array), err_msg=f"call {k}")


@core
@pytest.mark.parametrize("lengths", [np.array([1.5, 2]), np.array([1.0, 2]), np.array([True, True]), np.array([None, 1])])
def test_lengths_that_are_no_whole_numbers_are_refused(lengths: np.ndarray) -> None:
    text = rf"lengths: expected \(2,\) whole numbers from 0 to 3, got \(2,\) of {lengths.dtype}"
    with pytest.raises(ShapeError, match=text):
        native.softmax(np.zeros((2, 3)), lengths)
    with pytest.raises(ShapeError, match=text):
        native.pool(np.zeros((2, 3, 4)), lengths, "mean")
    with pytest.raises(ShapeError, match=text):
        native.weigh(np.zeros((2, 3)), np.zeros((2, 3, 4)), lengths)
    with pytest.raises(ShapeError, match=r"expected \(B, T, C\) and \(B, T\)"):
        native.weigh(np.zeros((2, 4)), np.zeros((2, 3, 4)), None)


@core
@pytest.mark.parametrize("lengths", [np.array([3, 4]), np.array([-1, 0]), np.array([0, 2**64 - 1], np.uint64)])
def test_lengths_out_of_range_are_refused_and_named(lengths: np.ndarray) -> None:
    wrong = max(lengths.tolist(), key=abs)
    for call in (lambda: native.softmax(np.zeros((2, 3)), lengths), lambda: native.pool(np.zeros((2, 3, 4)), lengths, "max")):
        with pytest.raises(ShapeError, match=rf"lengths: expected \(2,\) whole numbers from 0 to 3, got {wrong}$"):
            call()


@core
def test_wrong_arrays_are_refused() -> None:
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ShapeError, match=r"x: expected \(..., 4\) of float32, got \(2, 3\)"):
        native.linear(x, np.zeros((5, 4), np.float32))
    with pytest.raises(ShapeError, match="bias: expected"):
        native.linear(x, np.zeros((5, 3), np.float32), np.zeros(4, np.float32))
    with pytest.raises(ShapeError, match="float32 or float64, got int64"):
        native.softmax(np.zeros((2, 3), np.int64))
    with pytest.raises(ShapeError, match="lengths: expected"):
        native.softmax(x, np.array([1, 4]))
    with pytest.raises(ConfigError, match="did you mean 'mean'"):
        native.pool(np.zeros((1, 2, 3)), None, "meen")
    with pytest.raises(ConfigError, match="expected exp, tanh or sigmoid, got 'cosh'"):
        native.apply("cosh", x)
    with pytest.raises(ValueError, match="20 fields"):
        native.require().reserve_bytes((1, 2))
