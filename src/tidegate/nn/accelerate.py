"""Puts our layers in the place of torch.nn's inside a model. In: any torch module. Out: the same module, and what was done.

The twins hold the very same Parameter objects, so that optimisers, checkpoints and tied weights go on as before. What a twin
might not do alike is left alone, and the report says why.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import jit, nn
from torch.nn.utils import parametrize

from tidegate import native
from tidegate.errors import ConfigError
from tidegate.nn.layers import GRU, LSTM, RNN

_TWINS: dict[type[nn.Module], type[RNN] | type[LSTM] | type[GRU]] = {nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU}
_NAMES = frozenset(kind.__name__ for kind in _TWINS)
_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip

_COMPILED = "it was compiled by itself, and the compiled call holds torch's layer; accelerate first, compile then"


class Swapped(NamedTuple):
    """A layer that is ours now."""

    name: str  # where it stands in the model; several places with commas where it is shared
    layer: str


class Left(NamedTuple):
    """A recurrent layer that stays as it was."""

    name: str
    layer: str
    reason: str


@dataclass(frozen=True)
class Report:
    """What `accelerate` did; printed, a table."""

    swapped: tuple[Swapped, ...]
    left: tuple[Left, ...]

    def __str__(self) -> str:
        rows = [(s.name, s.layer, f"tidegate.nn.{s.layer}") for s in self.swapped]
        rows += [(kept.name, kept.layer, f"left: {kept.reason}") for kept in self.left]
        if not rows:
            return "accelerate: the model holds no recurrent layer of torch.nn (tidegate.nn's are not listed)"
        widths = [max(len(row[k]) for row in rows) for k in range(2)]
        return "\n".join(f"{name:<{widths[0]}}  {layer:<{widths[1]}}  {done}" for name, layer, done in rows)


def accelerate(model: nn.Module) -> Report:
    """Swaps torch.nn.RNN, LSTM and GRU inside the model for ours, in place; its outputs stay the same to 1e-5.

    Swapped are layers of exactly these types. Parameters, training flag, dtype and device are kept; what is shared stays shared.
    Left are layers with hooks, parametrizations or weight_norm, with attributes, buffers, parameters or modules of their own,
    compiled by themselves, scripted and quantized ones, subclasses, and all where the native core is not installed. A model that
    was compiled around its layers compiles anew at its next call.

    Raises: ConfigError where the model is itself such a layer: what holds it must be told.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(f"accelerate: expected a torch.nn.Module that holds recurrent layers, got {type(model).__name__}")
    if type(model) in _TWINS:
        name = type(model).__name__
        raise ConfigError(
            f"accelerate: expected a model that holds recurrent layers, got a torch.nn.{name} itself, which cannot be swapped in "
            f"place; assign: layer = tidegate.nn.{name}(...); layer.load_state_dict(old.state_dict())"
        )
    places: dict[int, list[str]] = {}
    found: dict[int, nn.Module] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if _is_recurrent(module):
            places.setdefault(id(module), []).append(name)
            found[id(module)] = module
    compiled = _compiled_alone(model)
    results = {key: _COMPILED if key in compiled else _reason(module) or _twin(module) for key, module in found.items()}
    twins = {key: result for key, result in results.items() if isinstance(result, nn.Module)}
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is not None and id(child) in twins:
                parent._modules[name] = twins[id(child)]
    names = {key: ", ".join(where) for key, where in places.items()}
    return Report(
        swapped=tuple(Swapped(names[key], type(found[key]).__name__) for key in twins),
        left=tuple(Left(names[key], _kind(found[key]), reason) for key, reason in results.items() if isinstance(reason, str)),
    )


def _kind(module: nn.Module) -> str:
    return str(module.original_name) if isinstance(module, jit.ScriptModule) else type(module).__name__


def _is_recurrent(module: nn.Module) -> bool:
    """torch's recurrent layers in any form, one-step cells apart."""
    if isinstance(module, jit.ScriptModule):
        return module.original_name in _NAMES
    quantized = "quantized" in type(module).__module__ and type(module).__name__ in _NAMES
    return isinstance(module, nn.RNNBase) or quantized


def _reason(module: nn.Module) -> str | None:
    """Why a layer is left; None: it is swapped."""
    if isinstance(module, jit.ScriptModule):
        return "it is scripted, and compiled as a whole"
    if "quantized" in type(module).__module__:
        return "it is quantized"
    if parametrize.is_parametrized(module):
        return "it has parametrizations, which compute its weights"
    if type(module) not in _TWINS:
        return f"it is a subclass of torch.nn.{_base(module)}, whose forward may be its own"
    if any(getattr(module, hooks, None) for hooks in _HOOKS):
        return "it has hooks (weight_norm and pruning are such), which would no longer see torch's layer"
    if (own := _own(module)) is not None:
        return own
    if not native.available():
        return "the native core is not installed; tidegate.nn would run torch's kernels"
    return None


def _own(module: nn.Module) -> str | None:
    """What a layer of torch's class holds that its twin would not; None: nothing."""
    own = vars(module).keys() - vars(type(module)(1, 1, device="meta")).keys()
    if "forward" in own:
        return "its forward was replaced"
    if getattr(module, "_compiled_call_impl", None) is not None:
        return _COMPILED
    weights = set(module._flat_weights_names) if isinstance(module, nn.RNNBase) else set()
    for what, names in (
        ("an attribute", own), ("a buffer", module._buffers.keys()), ("a module", module._modules.keys()),
        ("a parameter", module._parameters.keys() - weights),
    ):  # fmt: skip
        if names:
            return f"it has {what} of its own, {sorted(names)[0]!r}, which its twin would lose"
    if any(module._parameters.get(name) is None for name in weights):
        return "its weights are not plain parameters"
    return None


def _compiled_alone(model: nn.Module) -> set[int]:
    """Ids of the modules that torch.compile(module) holds: its call goes to them even where another stands in their place."""
    dynamo = sys.modules.get("torch._dynamo.eval_frame")  # slow to import, and there where something was compiled
    if dynamo is None:
        return set()
    return {id(module._orig_mod) for module in model.modules() if isinstance(module, dynamo.OptimizedModule)}


def _base(module: nn.Module) -> str:
    return next((kind.__name__ for kind in type(module).__mro__ if kind in _TWINS), "RNNBase")


def _twin(layer: nn.Module) -> nn.Module | str:
    """Ours, with the same options and the same Parameter objects; or why there is none."""
    assert isinstance(layer, nn.RNNBase)
    options: dict[str, Any] = {
        "num_layers": layer.num_layers, "bias": layer.bias, "batch_first": layer.batch_first, "dropout": layer.dropout,
        "bidirectional": layer.bidirectional,
    }  # fmt: skip
    if isinstance(layer, nn.RNN):
        options["nonlinearity"] = layer.nonlinearity
    if isinstance(layer, nn.LSTM):
        options["proj_size"] = layer.proj_size
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that dropout does nothing: the layer said so when it was made
            twin = _TWINS[type(layer)](layer.input_size, layer.hidden_size, **options, device="meta")
    except ConfigError as error:
        return f"tidegate.nn refuses its options: {error}"
    for name, weight in layer._parameters.items():
        twin._parameters[name] = weight
    twin.training = layer.training
    return twin
