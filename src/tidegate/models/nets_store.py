"""Nets and numbers of a model file that several tasks read alike. In: a validated file. Out: predictors, or a FormatError."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from tidegate.blocks.weights import check_weights
from tidegate.config import Plain
from tidegate.errors import FormatError, shown
from tidegate.format import File
from tidegate.models.base import arrays_under, header_part
from tidegate.runtime.int8 import NetWeights, check_net
from tidegate.runtime.predictor import Predictor
from tidegate.spec import Spec, spec_from_plain

Arrays = dict[str, npt.NDArray[np.generic]]
Weights = Mapping[str, npt.NDArray[np.floating]]
MOST_MEMBERS = 64
BESIDE = SCALE, EXPONENTS = ".scale", ".exponents"  # what stands beside int8


def net_arrays(nets: Iterable[Weights]) -> Arrays:
    """The weights of every net, as `net0.block.weight`."""
    return {name: w for i, own in enumerate(nets) for name, w in weight_arrays(own, f"net{i}.").items()}


def weight_arrays(own: Weights, prefix: str) -> Arrays:
    """The weights of a net. In 8 bits: int8, with `block.weight.scale` beside each, and `block.exponents`."""
    if not isinstance(own, NetWeights):
        return {f"{prefix}{name}": w for name, w in own.items()}
    found: Arrays = {f"{prefix}{name}": own.int8(name) if name in own.scales else w for name, w in own.items()}
    found |= {f"{prefix}{name}{SCALE}": scale for name, scale in own.scales.items()}
    return found | {f"{prefix}{block}{EXPONENTS}": np.array(e, np.int16) for block, e in own.exponents.items()}


def weights_of(arrays: Mapping[str, npt.NDArray[np.generic]]) -> Weights:
    """What `weight_arrays` wrote, its prefix taken off. Raises: FormatError for int8 whose scale is missing or does not fit."""
    extra = {name for name in arrays if name.endswith((SCALE, EXPONENTS))}
    if not extra and not any(array.dtype == np.int8 for array in arrays.values()):
        return cast("Weights", dict(arrays))
    found, scales = {}, {}
    for name in arrays.keys() - extra:
        array, scale = arrays[name], arrays.get(f"{name}{SCALE}")
        if scale is None and array.dtype != np.int8:
            found[name] = np.asarray(array, array.dtype)
            continue
        whole = array.ndim == 2 and array.dtype == np.int8 and not bool(np.any(array == -128))
        if scale is None or not whole or scale.dtype != np.float32 or scale.shape != array.shape[:1]:
            raise FormatError(f"weight {shown(name)}: its int8 and its scale do not belong together; save the model again")
        scales[name] = np.asarray(scale, np.float32)
        with np.errstate(over="ignore"):  # what is no number then is refused with the weights
            found[name] = (np.asarray(array, np.float64) * np.asarray(scale, np.float64)[:, None]).astype(np.float32)
    odd = [name for name in extra if name.endswith(SCALE) and name.removesuffix(SCALE) not in scales]
    exponents = {name.removesuffix(EXPONENTS): arrays[name] for name in extra if name.endswith(EXPONENTS)}
    odd += [f"{block}{EXPONENTS}" for block, e in exponents.items() if e.dtype != np.int16 or e.ndim != 1]
    if odd:
        raise FormatError(f"{shown(min(odd))}: its numbers are altered; save the model again")
    return NetWeights(found, scales, {block: tuple(np.asarray(e, np.int64).tolist()) for block, e in exponents.items()})


def read_nets(file: File, spec: Spec, where: str) -> tuple[Predictor, ...]:
    """The nets that `members` counts. Raises: FormatError, also where the file's spec is another."""
    return tuple(Predictor(spec, own) for own in read_weights(file, spec, where))


def read_weights(file: File, spec: Spec, where: str) -> tuple[Weights, ...]:
    """The weights of the nets that `members` counts, sound for the spec. Raises: as `read_nets`."""
    members = file.header.get("members")
    if isinstance(members, bool) or not isinstance(members, int) or not 1 <= members <= MOST_MEMBERS:
        raise FormatError(f"{where}: members: expected 1 to {MOST_MEMBERS}, got {str(members)[:80]}")
    check_spec(file, spec, where)
    found = tuple(weights_of(arrays_under(file.arrays, f"net{i}.")) for i in range(members))
    for own in found:
        check_weights(spec, own)
        if isinstance(own, NetWeights):
            check_net(spec, own)
    return found


def check_spec(file: File, spec: Spec, where: str) -> None:
    """The file's spec is the one that follows from its other parts. Raises: FormatError."""
    if spec_from_plain(header_part(file.header, "spec", where)) != spec:
        raise FormatError(f"{where}: its spec does not follow from its options and vocabulary; it was altered: train again")


def read_temperature(decoder: Plain, name: str, where: str) -> float:
    """A temperature of the decoder. Raises: FormatError."""
    found = decoder.get(name) if isinstance(decoder, dict) else None
    if not isinstance(found, float) or not 0.0 < found < math.inf:
        raise FormatError(f"{where}: {name}: expected a number above 0, got {str(found)[:80]}; save the model again")
    return found


def check_names(file: File, own: Sequence[str], members: int, kind: str, where: str) -> None:
    """No array that no part reads. own: names beside the nets'. Raises: FormatError."""
    nets = tuple(f"net{i}." for i in range(members))
    foreign = sorted(name for name in file.arrays if name not in own and not name.startswith(nets))
    if foreign:
        raise FormatError(f"{where}: array {shown(foreign[0])}: a {kind} has no such part; it was altered: save the model again")
