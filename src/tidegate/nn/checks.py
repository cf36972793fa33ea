"""What a drop-in layer refuses. In: options, input, state, lengths. Out: nothing, or an error that is of torch's class too."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from tidegate.errors import ConfigError, LayerError, OptionTypeError

_BEYOND_INT64 = 1 << 63


def checked_sizes(layer: str, **sizes: Any) -> tuple[int, ...]:
    """Whole numbers of at least 1, NumPy's too, as int. Raises: ConfigError."""
    for name, size in sizes.items():
        if not is_whole(size):
            raise OptionTypeError(f"{layer}: {name}: expected a whole number of at least 1, got {size!r}")
        if size < 1:
            raise ConfigError(f"{layer}: {name}: expected a whole number of at least 1, got {size!r}")
    return tuple(int(size) for size in sizes.values())


def is_whole(value: object) -> bool:
    """An int of Python or NumPy; not a bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_flags(layer: str, **flags: Any) -> None:
    """True or False, nothing that counts as such. Raises: ConfigError."""
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise OptionTypeError(f"{layer}: {name}: expected True or False, got {flag!r}")


def checked_rates(layer: str, num_layers: int, dropout: float, **below_one: float) -> tuple[float, ...]:
    """dropout from 0 to 1, the others from 0 to below 1, NumPy's too, as float.

    Warns as torch.nn where dropout does nothing. Raises: ConfigError.
    """
    if not _is_number(dropout) or not 0.0 <= dropout <= 1.0:
        raise ConfigError(f"{layer}: dropout: expected 0 <= p <= 1, got {dropout!r}")
    for name, rate in below_one.items():
        if not _is_number(rate) or not 0.0 <= rate < 1.0:
            raise ConfigError(f"{layer}: {name}: expected 0 <= p < 1, got {rate!r}")
    if dropout > 0.0 and num_layers == 1:
        warnings.warn(f"{layer}: dropout={dropout} acts between layers, and there is only one: it does nothing", stacklevel=4)
    return tuple(float(rate) for rate in (dropout, *below_one.values()))


def _is_number(value: object) -> bool:
    return is_whole(value) or isinstance(value, (float, np.floating))


def check_input(x: object, input_size: int, batch_first: bool) -> None:
    """(T, B, I), (B, T, I) or (T, I), or packed data (N, I). Raises: LayerError."""
    if isinstance(x, PackedSequence):
        if x.data.dim() != 2 or x.data.shape[-1] != input_size:
            raise LayerError(f"input: expected packed data (N, {input_size}), got {tuple(x.data.shape)}")
        if x.batch_sizes.dim() != 1 or not len(x.batch_sizes):
            raise LayerError(f"input: expected a PackedSequence with batch_sizes (T,), T >= 1, got {tuple(x.batch_sizes.shape)}")
        return
    expected = ("(B, T, {0}) or (T, {0})" if batch_first else "(T, B, {0}) or (T, {0})").format(input_size)
    if not isinstance(x, Tensor):
        raise LayerError(f"input: expected a tensor {expected} or a PackedSequence, got {type(x).__name__}")
    if x.dim() not in (2, 3) or x.shape[-1] != input_size:
        raise LayerError(f"input: expected {expected}, got {tuple(x.shape)}; T time, B batch")


def check_like(name: str, x: Tensor, weight: Tensor, remedy: str) -> None:
    """The dtype and device of the weights. Raises: LayerError."""
    if x.dtype != weight.dtype or x.device != weight.device:
        raise LayerError(
            f"{name}: expected {weight.dtype} on {weight.device} as the weights, got {x.dtype} on {x.device}; {remedy}"
        )


def check_state(state: object, parts: tuple[str, ...], outer: tuple[int, ...], sizes: tuple[int, ...], weight: Tensor) -> None:
    """One tensor a part, (*outer, size) and like the weights. Raises: LayerError."""
    if not isinstance(state, (tuple, list)) or len(state) != len(parts) or not all(isinstance(s, Tensor) for s in state):
        names = "(h_0, c_0), a tuple of two tensors" if len(parts) == 2 else "h_0, a tensor"
        given = state[0] if len(parts) == 1 and isinstance(state, tuple) else state  # RNN and GRU put what they get in a tuple
        raise LayerError(
            f"hx: expected {names}, got {_described(given)}; pass on the state that the layer returned; "
            "lengths go by name: lengths=..."
        )
    for name, part, size in zip(parts, state, sizes, strict=True):
        if part.shape != (*outer, size):
            raise LayerError(f"hx: expected {name}_0 of shape {(*outer, size)}, got {tuple(part.shape)}")
        check_like(f"hx: {name}_0", part, weight, "take .to() of them")


def _described(state: object) -> str:
    """What a user passed as hx, with the kinds of its parts."""
    if isinstance(state, Tensor):
        return f"a tensor {tuple(state.shape)}"
    if isinstance(state, (tuple, list)):
        kinds = ", ".join(type(part).__name__ for part in state) if len(state) <= 4 else f"{len(state)} values"
        return f"a {type(state).__name__} ({kinds})"
    return type(state).__name__


def checked_lengths(lengths: object, batch: int, steps: int, device: torch.device) -> tuple[Tensor | None, int]:
    """Lengths as int64 beside the input, and their sum. Compiled, their values are checked when the core runs.

    Raises: LayerError.
    """
    if lengths is None:
        return None, batch * steps
    expected = f"lengths: expected ({batch},) whole numbers from 0 to {steps}"
    if isinstance(lengths, (list, tuple)) and all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in lengths):
        row = next((k for k, n in enumerate(lengths) if not -_BEYOND_INT64 <= n < _BEYOND_INT64), None)
        if row is not None:
            raise LayerError(f"{expected}, got {lengths[row]} in row {row}")
        lengths = torch.tensor([int(n) for n in lengths], dtype=torch.int64)
    if (
        not isinstance(lengths, Tensor)
        or lengths.dtype.is_floating_point
        or lengths.dtype.is_complex
        or lengths.dtype == torch.bool
    ):
        raise LayerError(f"{expected}, as a list or a tensor of int64, got {getattr(lengths, 'dtype', type(lengths).__name__)}")
    known = not torch.compiler.is_compiling() and type(lengths) is Tensor and not lengths.is_meta
    if lengths.shape != (batch,):
        raise LayerError(f"{expected}, one a row, got {tuple(lengths.shape)}")
    held = lengths.to(device, torch.int64)
    if not known or not batch:
        return held, batch * steps
    values = lengths.tolist()
    if min(values) < 0 or max(values) > steps:
        row = next(k for k, n in enumerate(values) if not 0 <= n <= steps)
        raise LayerError(f"{expected}, got {values[row]} in row {row}")
    return held, sum(values)
