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
from tidegate.runtime.predictor import Predictor
from tidegate.spec import Spec, spec_from_plain

Arrays = dict[str, npt.NDArray[np.generic]]
Weights = Mapping[str, npt.NDArray[np.floating]]
MOST_MEMBERS = 64


def net_arrays(nets: Iterable[Weights]) -> Arrays:
    """The weights of every net, as `net0.block.weight`."""
    return {f"net{i}.{name}": w for i, own in enumerate(nets) for name, w in own.items()}


def read_nets(file: File, spec: Spec, where: str) -> tuple[Predictor, ...]:
    """The nets that `members` counts. Raises: FormatError, also where the file's spec is another."""
    return tuple(Predictor(spec, own) for own in read_weights(file, spec, where))


def read_weights(file: File, spec: Spec, where: str) -> tuple[Weights, ...]:
    """The weights of the nets that `members` counts, sound for the spec. Raises: as `read_nets`."""
    members = file.header.get("members")
    if isinstance(members, bool) or not isinstance(members, int) or not 1 <= members <= MOST_MEMBERS:
        raise FormatError(f"{where}: members: expected 1 to {MOST_MEMBERS}, got {str(members)[:80]}")
    check_spec(file, spec, where)
    found = tuple(cast(Weights, arrays_under(file.arrays, f"net{i}.")) for i in range(members))
    for own in found:
        check_weights(spec, own)
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
