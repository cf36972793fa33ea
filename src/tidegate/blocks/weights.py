"""The check of weights against a spec, before either half uses them. In: a spec, arrays. Out: nothing, or a FormatError."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tidegate.errors import FormatError, nearest, shown
from tidegate.spec import Spec

Floats = npt.NDArray[np.floating]


def check_weights(spec: Spec, weights: Mapping[str, Floats]) -> None:
    """Raises: FormatError unless `weights` are exactly those of the spec, finite, of one float type and of its shapes."""
    wanted = spec.parameters()
    if not isinstance(weights, Mapping):
        raise FormatError(f"weights: expected arrays by name, got {shown(weights)}")
    for name in weights:
        if name not in wanted:
            raise FormatError(f"weight {shown(name)}: the model has no such weight; {nearest(name, wanted)}")
    for name, shape in wanted.items():
        if name not in weights:
            raise FormatError(f"weight {name!r}: missing; the spec needs it with shape {shape}")
        if not isinstance(weights[name], np.ndarray):
            raise FormatError(f"weight {name!r}: expected an array, got {shown(weights[name])}")
        if weights[name].shape != shape:
            raise FormatError(f"weight {name!r}: expected shape {shape}, got {weights[name].shape}; the file is of another model")
        if weights[name].dtype.kind == "f" and not np.all(np.isfinite(weights[name])):
            raise FormatError(f"weight {name!r}: holds NaN or Inf; train the model again")
    kinds = {weights[name].dtype for name in wanted}
    if len(kinds) > 1 or not kinds <= {np.dtype(np.float32), np.dtype(np.float64)}:
        got = ", ".join(sorted(str(kind) for kind in kinds))
        raise FormatError(f"weights: expected float32 in all, or float64 in all, got {got}; save the model again")
