"""What a layer may have beside its plain cell, and the parameters that follow. In: sizes and options. Out: names and shapes.

A layer with extras runs on the generic step loop (nn/generic.py), which is slower than the fused one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tidegate.errors import ConfigError
from tidegate.nn.checks import is_whole
from tidegate.spec import GATES, Cell


class Extras(NamedTuple):
    """proj_size: P, the size of h after a projection, 0 for none (Sak et al. 2014). layer_norm: Ba, Kiros & Hinton 2016.
    reset_after: False puts the GRU's reset gate before the product (Cho et al. 2014)."""

    proj_size: int = 0
    layer_norm: bool = False
    reset_after: bool = True

    def any(self) -> bool:
        """Whether the fused loop does not do."""
        return self != Extras()


def checked_extras(
    name: str, hidden_size: int, extras: Extras, *, recompute: bool, zoneout: float, state_dropout: float
) -> Extras:
    """With proj_size as int. Raises: ConfigError."""
    size = extras.proj_size
    if not is_whole(size) or not 0 <= size < hidden_size:
        raise ConfigError(f"{name}: proj_size: expected a whole number from 0 to below hidden_size {hidden_size}, got {size!r}")
    for option in ("layer_norm", "reset_after"):
        if not isinstance(getattr(extras, option), bool):
            raise ConfigError(f"{name}: {option}: expected True or False, got {getattr(extras, option)!r}")
    if extras.any() and (recompute or zoneout or state_dropout):
        raise ConfigError(
            f"{name}: recompute, zoneout, state_dropout: expected none beside proj_size, layer_norm or reset_after=False, "
            f"got recompute={recompute}, zoneout={zoneout}, state_dropout={state_dropout}; leave one of the two away"
        )
    return extras._replace(proj_size=int(size))


@lru_cache(maxsize=64)
def fields(cell: Cell, bias: bool, extras: Extras) -> tuple[str, ...]:
    """The parameters of one direction, in torch.nn's order, then those that torch lacks."""
    names = ["weight_ih", "weight_hh"]
    names += ["bias_ih", "bias_hh"] if bias else []
    names += ["weight_hr"] if extras.proj_size else []
    names += ["gain_ih", "gain_hh"] if extras.layer_norm else []
    names += ["gain_c", "shift_c"] if extras.layer_norm and cell == "lstm" else []
    return tuple(names)


def shapes(
    cell: Cell, input_size: int, hidden_size: int, num_layers: int, directions: int, bias: bool, extras: Extras
) -> dict[str, tuple[int, ...]]:
    """Every parameter of a stack by name, in torch.nn's order."""
    gates, out = GATES[cell] * hidden_size, extras.proj_size or hidden_size
    found: dict[str, tuple[int, ...]] = {}
    for layer in range(num_layers):
        own = {
            "weight_ih": (gates, input_size if layer == 0 else directions * out), "weight_hh": (gates, out), "bias_ih": (gates,),
            "bias_hh": (gates,), "weight_hr": (out, hidden_size), "gain_ih": (gates,), "gain_hh": (gates,),
            "gain_c": (hidden_size,), "shift_c": (hidden_size,),
        }  # fmt: skip
        for direction in ("", "_reverse")[:directions]:
            found.update({f"{name}_l{layer}{direction}": own[name] for name in fields(cell, bias, extras)})
    return found
