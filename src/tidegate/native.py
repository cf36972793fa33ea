"""The native core, csrc/. In: addresses of arrays, or NumPy arrays. Out: the same arrays filled.

The one importer of `tidegate._native`. The core is optional: where the package was installed without a compiler, `available()` is
False, NumPy and torch do the work, and one warning says so. Callers of `forward` and `backward` check shapes and hold the arrays.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.errors import ConfigError, LayerError, MissingExtra, ShapeError, nearest

CELLS = {"rnn_tanh": 0, "rnn_relu": 1, "lstm": 2, "gru": 3}
DTYPES = {"float32": 0, "float64": 1}
MOST_THREADS = 256
_FUNCTIONS = {"exp": 0, "tanh": 1, "sigmoid": 2}
_POOLINGS = {"mean": 0, "max": 1}
_INSTALL = "install a C++ compiler (Debian, Ubuntu: apt install g++ python3-dev) and Tidegate again"

Floats = npt.NDArray[np.floating]
_log = logging.getLogger("tidegate")


class LayerCall(NamedTuple):
    """One layer in one or two directions: `tg_layer` of csrc/tidegate.h, where the fields are described. Address 0: none."""

    cell: int
    dtype: int
    directions: int
    recompute: int
    batch: int
    steps: int
    input_size: int
    hidden_size: int
    lengths: int
    x: int
    x_batch: int
    x_step: int
    weights: tuple[int, ...]  # weight_ih, weight_hh, bias_ih, bias_hh of each direction
    h0: int
    c0: int
    zone_h: int
    zone_c: int
    zone_steps: int
    drop_h: int
    batch_sizes: int = 0


class ExtrasCall(NamedTuple):
    """What the generic loop does beside the plain cell: `tg_extras` of csrc/tidegate.h. Addresses are 0 for none."""

    reset_before: int
    layer_norm: int
    proj_size: int
    eps: float
    weights: tuple[int, ...]  # weight_hr, gain_ih, gain_hh, gain_c, shift_c of each direction


class _Core:
    """The extension once it is loaded, or why it is not."""

    module: Any = None
    reason: str = ""
    loaded: bool = False
    warned: bool = False
    threads_chosen: bool = False


def available() -> bool:
    """Whether the core is here. The first call that finds it missing logs one warning.

    Raises: ConfigError where TIDEGATE_ISA names what this processor or build does not have.
    """
    if not _Core.loaded:
        _load()
    if _Core.module is None and not _Core.warned:
        _Core.warned = True
        _log.warning("Tidegate runs without its native core, several times slower: %s. To have it, %s.", _Core.reason, _INSTALL)
    return _Core.module is not None


def require() -> Any:
    """The extension. Raises: MissingExtra where it is not installed, with the reason."""
    if _Core.module is None and not available():
        raise MissingExtra(f"the native core: expected the extension tidegate._native, got none ({_Core.reason}); {_INSTALL}")
    return _Core.module


def _load() -> None:
    try:
        module: ModuleType = import_module("tidegate._native")
    except ImportError as error:
        _Core.loaded, _Core.reason = True, str(error)
        return
    try:
        module.isa()
    except RuntimeError as error:
        raise ConfigError(f"{error}; unset TIDEGATE_ISA to take the best") from None
    module.set_num_threads(_default_threads())
    _Core.module, _Core.loaded = module, True


def _default_threads() -> int:
    """torch's setting where torch is loaded, else OMP_NUM_THREADS, else the processors that this process may use."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return max(1, min(int(torch.get_num_threads()), MOST_THREADS))
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if wanted.isdigit() and int(wanted):
        return min(int(wanted), MOST_THREADS)
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, MOST_THREADS)


def set_num_threads(threads: int | None) -> None:
    """The threads that one call of the core may use, the caller's included.

    Outputs, states and their gradients do not depend on it; gradients of weights are sums over the rows of each thread, and do.

    Args:  threads: 1 to 256. None, as before the first call: torch's setting where torch is loaded, else OMP_NUM_THREADS, else
           all processors.
    Raises: ConfigError for anything else; MissingExtra where the core is not installed.
    """
    if threads is None:
        require().set_num_threads(_default_threads())
        _Core.threads_chosen = False
        return
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise ConfigError(f"threads: expected a whole number from 1 to {MOST_THREADS}, or None, got {threads!r}")
    require().set_num_threads(threads)
    _Core.threads_chosen = True


def get_num_threads() -> int:
    """The threads that one call of the core may use; 1 where the core is not installed."""
    return int(_Core.module.get_num_threads()) if available() else 1


def follow_threads(threads: int) -> None:
    """Takes another library's setting, unless `set_num_threads` was called."""
    if not _Core.threads_chosen and _Core.module is not None:
        _Core.module.set_num_threads(max(1, min(threads, MOST_THREADS)))


def use_openmp(parallel: int, team_size: int, rank: int) -> None:
    """Borrows an OpenMP runtime's threads: addresses of GOMP_parallel, omp_get_num_threads, omp_get_thread_num; zeros: none."""
    require().use_openmp(parallel, team_size, rank)


def isa() -> str:
    """The instruction set in use: avx512, avx2, sse2, neon or generic."""
    return str(require().isa())


def isas() -> tuple[str, ...]:
    """The instruction sets that this build has and this processor can run, best first."""
    return tuple(require().isas().split())


def set_isa(name: str | None) -> None:
    """Chooses an instruction set, for tests; None: the best. Not during a call. Raises: ConfigError for one that is not here."""
    known = isas()
    if name is not None and name not in known:
        raise ConfigError(f"instruction set: expected one of {', '.join(known)}, got {name!r}; {nearest(name, known)}")
    require().set_isa(name or "")


def peak(threads: int, seconds: float) -> float:
    """GFLOP/s of fused multiply-adds on registers alone, float32: the limit of a product. 0 where threads cannot be had."""
    return float(require().peak(threads, seconds))


def _checked_call(name: str, *arguments: object) -> Any:
    """A call of the extension, whose refusals are of the tree of errors."""
    try:
        return getattr(_Core.module or require(), name)(*arguments)
    except ValueError as error:
        raise LayerError(str(error)) from None


def read_tensors(capsule: object, tensor: type, parameter: type) -> bool:
    """Lets `layer_call` read instances of both classes through their DLPack table; False: a version that it does not know."""
    return bool(require().read_tensors(capsule, tensor, parameter))


def layer_call(given: tuple[object, ...]) -> LayerCall | None:
    """tidegate.nn.operator.Inputs as the core's arguments; None unless its tensors are plain, fit together and stand dense."""
    found = _Core.module.layer_call(given)
    return None if found is None else LayerCall._make(found)


def reserve_bytes(call: LayerCall) -> int:
    """Bytes that `forward` keeps for `backward`."""
    return int(_checked_call("reserve_bytes", call))


def forward(call: LayerCall, y: int, y_batch: int, y_step: int, hn: int, cn: int, reserve: int) -> None:
    """`tg_forward`; reserve 0: inference. Raises: MemoryError."""
    _checked_call("forward", call, y, y_batch, y_step, hn, cn, reserve)


def backward(
    call: LayerCall, y: int, y_batch: int, y_step: int, reserve: int, dy: int, dy_batch: int, dy_step: int, dhn: int, dcn: int,
    dx: int, dx_batch: int, dx_step: int, dh0: int, dc0: int, dweights: tuple[int, ...],
) -> None:  # fmt: skip
    """`tg_backward`; an address of 0: not given, or not wanted. Raises: MemoryError."""
    _checked_call(
        "backward", call, y, y_batch, y_step, reserve, dy, dy_batch, dy_step, dhn, dcn, dx, dx_batch, dx_step, dh0, dc0, dweights
    )


def generic_reserve_bytes(call: LayerCall, extras: ExtrasCall) -> int:
    """Bytes that `generic_forward` keeps for `generic_backward`."""
    return int(_checked_call("generic_reserve_bytes", call, extras))


def generic_forward(
    call: LayerCall, extras: ExtrasCall, y: int, y_batch: int, y_step: int, hn: int, cn: int, reserve: int
) -> None:
    """`tg_generic_forward`; reserve 0: inference. Raises: MemoryError."""
    _checked_call("generic_forward", call, extras, y, y_batch, y_step, hn, cn, reserve)


def generic_backward(
    call: LayerCall, extras: ExtrasCall, reserve: int, dy: int, dy_batch: int, dy_step: int, dhn: int, dcn: int,
    dx: int, dx_batch: int, dx_step: int, dh0: int, dc0: int, dweights: tuple[int, ...], dextras: tuple[int, ...],
) -> None:  # fmt: skip
    """`tg_generic_backward`; an address of 0: not given, or not wanted. Raises: MemoryError."""
    _checked_call(
        "generic_backward",
        call,
        extras,
        reserve,
        dy,
        dy_batch,
        dy_step,
        dhn,
        dcn,
        dx,
        dx_batch,
        dx_step,
        dh0,
        dc0,
        dweights,
        dextras,
    )


class WholeProduct(NamedTuple):
    """A matrix of int8 and what takes its products to whole units; dense. N rows, K inputs."""

    weight: npt.NDArray[np.int8]  # (N, K) at least -127
    scale: npt.NDArray[np.int32]  # (N,) 0 to 2^30
    bias: npt.NDArray[np.int32]  # (N,) within 2^23 - 1


class WholeLayer(NamedTuple):
    """One direction of a recurrent layer in whole numbers: `tg_layer8` of tidegate.h."""

    x: WholeProduct
    h: WholeProduct
    shift: int
    x_exponent: int


@final
class Packed:
    """The weights of a layer laid out once, for many short calls. Immutable; the weights may go away. For one instruction set."""

    def __init__(self, call: LayerCall) -> None:
        self._packed = require().Packed(call)

    @classmethod
    def whole(cls, cell: str, directions: Sequence[WholeLayer]) -> Packed:
        """A layer in whole numbers, `tg_pack8` of tidegate.h. Raises: ValueError for numbers out of range."""
        own = [
            (
                *(address(array) for array in (d.x.weight, d.h.weight, d.x.scale, d.h.scale, d.x.bias, d.h.bias)),
                d.shift,
                d.x_exponent,
            )
            for d in directions
        ]
        made = cls.__new__(cls)
        made._packed = require().Packed(CELLS[cell], directions[0].x.weight.shape[1], directions[0].h.weight.shape[1], own)
        return made

    def forward(self, call: LayerCall, y: int, y_batch: int, y_step: int, hn: int, cn: int) -> None:
        """`tg_forward_packed`: the weights of `call` are not read."""
        _checked_call("forward_packed", call, self._packed, y, y_batch, y_step, hn, cn)


@final
class PackedLinear:
    """`x @ weight.T + bias` with the weights laid out once.

    Args:  weight: (N, K) float32 or float64. bias: (N,) of the same dtype, or None.
    """

    def __init__(self, weight: Floats, bias: Floats | None = None) -> None:
        weight, bias = _readable(weight), None if bias is None else _readable(bias)
        if weight.ndim != 2 or weight.dtype.name not in DTYPES:
            raise ShapeError(f"weight: expected (N, K) of float32 or float64, got {weight.shape} of {weight.dtype}")
        if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != weight.dtype):
            raise ShapeError(f"bias: expected {weight.shape[:1]} of {weight.dtype}, got {bias.shape} of {bias.dtype}")
        self.outputs, self.inputs = weight.shape
        self.dtype = weight.dtype
        self._packed = require().PackedLinear(
            DTYPES[weight.dtype.name], self.outputs, self.inputs, address(weight), 0 if bias is None else address(bias)
        )

    @classmethod
    def whole(cls, own: WholeProduct, shift: int, x_exponent: int, y_exponent: int) -> PackedLinear:
        """In whole numbers, `tg_pack_linear8` of tidegate.h. Raises: ValueError for numbers out of range."""
        made = cls.__new__(cls)
        made.outputs, made.inputs = own.weight.shape
        made.dtype = np.dtype(np.float32)
        places = [address(array) for array in own]
        made._packed = require().PackedLinear(made.outputs, made.inputs, *places, shift, x_exponent, y_exponent)
        return made

    def __call__(self, x: Floats) -> Floats:
        """(..., K) -> (..., N), a new array. Raises: ShapeError."""
        rows = _readable(x)
        if x.shape[-1:] != (self.inputs,) or rows.dtype != self.dtype:
            raise ShapeError(f"x: expected (..., {self.inputs}) of {self.dtype}, got {x.shape} of {x.dtype}")
        y = np.empty((*x.shape[:-1], self.outputs), self.dtype)
        if y.size:
            self.prepared(y.size // self.outputs, rows, self.inputs, y)()
        return y

    def prepared(self, rows: int, x: Floats, distance: int, y: Floats) -> Callable[[], None]:
        """What fills y (rows, N) from rows of x, `distance` numbers from one to the next, whenever it is called; both stay."""
        return partial(_Core.module.linear, rows, address(x), distance, self._packed, address(y), self.outputs)


@final
class Stack:
    """Layers one above the other in one direction, for single steps of one row: the bits of `Packed.forward`, at once.

    Args:  layers: laid out, each reading the one below. vectors: (V, I) dense, an embedding that the first layer reads; None: it
        reads numbers. linear: of the last state; None: that state is the output. What is given is kept.
    """

    def __init__(self, layers: Sequence[Packed], vectors: Floats | None = None, linear: PackedLinear | None = None) -> None:
        self._vectors, table = vectors, (0, 0) if vectors is None else (len(vectors), address(vectors))
        self.core = require().Stack([each._packed for each in layers], *table, None if linear is None else linear._packed)

    def stepper(self, h: Floats, c: Floats | None, y: Floats) -> Callable[[int], None]:
        """What reads a code, steps h and c (L, H) in place and fills y; or, without vectors, what reads the address of x (I,).

        All dense, of the dtype of the weights; they must stay where they are while it is used.
        """
        step = self.core.step_x if self._vectors is None else self.core.step_code
        return partial(step, address(h), 0 if c is None else address(c), address(y))


def linear(x: Floats, weight: Floats, bias: Floats | None = None) -> Floats:
    """`x @ weight.T + bias` over the last axis; each output is summed from the bias over k = 0..K-1."""
    return PackedLinear(weight, bias)(x)


def softmax(x: Floats, lengths: npt.NDArray[np.int64] | None = None) -> Floats:
    """Softmax over the last axis; over its first `lengths` values where given, 0 past them. lengths: x's shape without it."""
    rows = _checked("x", x)
    counts = None if lengths is None else checked_lengths(lengths, x.shape[:-1], x.shape[-1])
    y = np.empty_like(rows)
    if y.size:
        held = 0 if counts is None else address(counts)
        require().softmax(DTYPES[x.dtype.name], y.size // x.shape[-1], x.shape[-1], held, address(rows), address(y))
    return y


def step_rows(
    stack: Stack, states: Sequence[tuple[Floats, Floats | None]], given: Floats | npt.NDArray[np.int64], y: Floats
) -> None:
    """Step many rows of a stack at once: the bits of its `stepper`.

    Args:  states: h and c of each row, (L, H) dense, different, stepped in place. given: what each reads, dense: (N,) codes where
        the stack reads codes, else (N, I) numbers of the weights' dtype. y: (N, .) dense, filled in.
    """
    codes = given.dtype.kind == "i"
    places = (0, address(given)) if codes else (address(given), 0)
    require().step_rows(stack.core, [h for h, _ in states], [c for _, c in states if c is not None], *places, address(y))


def drawer(forbidden: npt.NDArray[np.bool_], temperature: float) -> Callable[[Floats, float], int]:
    """What draws a code from softmax(logits / temperature), in float64 and in order: from (V,) dense logits and a number u.

    The first code whose cumulated probability exceeds u, 0 <= u < 1; -1 for NaN, +Inf, or where no code can be drawn. Not for two
    threads at once.
    Args:  forbidden: (V,) bool, True where a code may not be drawn; copied. temperature: above 0.
    """
    held, work = np.array(forbidden, np.bool_), np.empty(len(forbidden), np.float64)
    draw = partial(require().draw, len(held), address(held), temperature, address(work))

    def drawn(logits: Floats, u: float, _held: object = (held, work)) -> int:
        code: int = draw(logits, u)
        return code

    return drawn


def norm(x: Floats, gain: Floats, bias: Floats, eps: float) -> Floats:
    """Layer normalisation over the last axis (Ba et al. 2016)."""
    rows, size = _checked("x", x), x.shape[-1:]
    parts = [_readable(part) for part in (gain, bias)]
    for name, part in zip(("gain", "bias"), parts, strict=True):
        if part.shape != size or part.dtype != rows.dtype:
            raise ShapeError(f"{name}: expected {size} of {rows.dtype}, got {part.shape} of {part.dtype}")
    y = np.empty_like(rows)
    if y.size:
        held = [address(part) for part in parts]
        require().norm(DTYPES[x.dtype.name], y.size // size[0], size[0], address(rows), *held, eps, address(y))
    return y


def pool(x: Floats, lengths: npt.NDArray[np.int64] | None, how: str) -> Floats:
    """(B, T, C) -> (B, C): "mean" or "max" over each row's first `lengths` steps; 0 for rows of length 0."""
    if how not in _POOLINGS:
        raise ConfigError(f"pool: expected mean or max, got {how!r}; {nearest(how, _POOLINGS)}")
    rows = _checked("x", x)
    if rows.ndim != 3:
        raise ShapeError(f"x: expected (B, T, C), got {x.shape}")
    batch, steps, size = rows.shape
    counts = None if lengths is None else checked_lengths(lengths, (batch,), steps)
    y = np.empty((batch, size), rows.dtype)
    if y.size:
        held = 0 if counts is None else address(counts)
        require().pool(DTYPES[x.dtype.name], _POOLINGS[how], batch, steps, size, held, address(rows), address(y))
    return y


def weigh(weights: Floats, x: Floats, lengths: npt.NDArray[np.int64] | None) -> Floats:
    """(B, T) weights and (B, T, C) -> (B, C): the sum over each row's first `lengths` steps, one by one."""
    rows, factors = _checked("x", x), _readable(weights)
    if rows.ndim != 3 or factors.shape != rows.shape[:2] or factors.dtype != rows.dtype:
        raise ShapeError(f"x, weights: expected (B, T, C) and (B, T) of one dtype, got {x.shape} and {weights.shape}")
    batch, steps, size = rows.shape
    counts = None if lengths is None else checked_lengths(lengths, (batch,), steps)
    y = np.empty((batch, size), rows.dtype)
    if y.size:
        held = 0 if counts is None else address(counts)
        require().weigh(DTYPES[rows.dtype.name], batch, steps, size, held, address(factors), address(rows), address(y))
    return y


def crf(
    scores: Floats, lengths: npt.NDArray[np.int64] | None, transitions: Floats, start: Floats, end: Floats
) -> tuple[Floats, Floats, Floats]:
    """A linear-chain conditional random field over (B, T, K) scores: see tidegate.h.

    Returns: the log-partition (B,), the marginals (B, T, K), and those of pairs summed over time (B, K, K).
    """
    rows = _checked("scores", scores)
    if rows.ndim != 3:
        raise ShapeError(f"scores: expected (B, T, K), got {scores.shape}")
    batch, steps, size = rows.shape
    parts = [_readable(part) for part in (transitions, start, end)]
    for name, part, shape in zip(("transitions", "start", "end"), parts, ((size, size), (size,), (size,)), strict=True):
        if part.shape != shape or part.dtype != rows.dtype:
            raise ShapeError(f"{name}: expected {shape} of {rows.dtype}, got {part.shape} of {part.dtype}")
    counts = None if lengths is None else checked_lengths(lengths, (batch,), steps)
    found = (np.zeros(batch, rows.dtype), np.zeros(rows.shape, rows.dtype), np.zeros((batch, size, size), rows.dtype))
    if rows.size:
        held = [address(part) for part in parts]
        out = [address(part) for part in found]
        kind = DTYPES[rows.dtype.name]
        require().crf(kind, batch, steps, size, 0 if counts is None else address(counts), address(rows), *held, *out)
    return found


def apply(function: str, x: Floats) -> Floats:
    """exp, tanh or sigmoid of every value; float32 with a relative error of at most 2e-7."""
    if function not in _FUNCTIONS:
        raise ConfigError(f"function: expected exp, tanh or sigmoid, got {function!r}; {nearest(function, _FUNCTIONS)}")
    values = _checked("x", x)
    y = np.empty_like(values)
    if y.size:
        require().apply(DTYPES[x.dtype.name], _FUNCTIONS[function], y.size, address(values), address(y))
    return y


def checked_lengths(lengths: npt.ArrayLike, shape: tuple[int, ...], most: int) -> npt.NDArray[np.int64]:
    """Whole numbers from 0 to `most` as the kernels read them. Raises: ShapeError."""
    given, expected = np.asarray(lengths), f"lengths: expected {shape} whole numbers from 0 to {most}"
    if given.dtype.kind not in "iu" or given.shape != shape:
        raise ShapeError(f"{expected}, got {given.shape} of {given.dtype}")
    wrong = given[(given < 0) | (given > most)]
    if wrong.size:
        raise ShapeError(f"{expected}, got {wrong[0]}")
    return np.ascontiguousarray(given, np.int64)


def address(array: npt.NDArray[Any]) -> int:
    """Where the array's first value stands."""
    found: int = array.__array_interface__["data"][0]
    return found


def _checked(name: str, x: Floats) -> Floats:
    if x.dtype.name not in DTYPES:
        raise ShapeError(f"{name}: expected float32 or float64, got {x.dtype}")
    return _readable(x)


def _readable(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same values as the kernels read them: dense, in the byte order of this machine."""
    x = np.asarray(x)
    return np.ascontiguousarray(x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("=")))
