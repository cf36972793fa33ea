"""A torch module as a Tidegate model. In: nn.RNN, LSTM or GRU, with nn.Embedding before and nn.Linear after. Out: a Network.

torch is never imported: a module is known by its class's name, its attributes and its state_dict. What a module's forward does
between its layers stands in no attribute: `pool` says it, and `example` proves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from tidegate.errors import ConfigError, TaskError, shown, told
from tidegate.given import listed
from tidegate.models.network import Network
from tidegate.runtime.predictor import Floats
from tidegate.spec import Cell
from tidegate.tasks.network import Joined, NetworkOptions, build_spec

SOUGHT = {"recurrent": ("RNN", "LSTM", "GRU"), "Embedding": ("Embedding",), "Linear": ("Linear",)}
IDLE = ("Dropout", "Dropout1d", "Dropout2d", "Identity")  # do nothing in eval mode
KNOWN = (*(kind for kinds in SOUGHT.values() for kind in kinds), *IDLE)
HOMES = ("torch.nn.modules.", "tidegate.nn.")  # modules where these classes stand
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
POOLS = ("last", "mean", "max", "both")
TOLERANCE = 1e-5  # of a number of at most 1; of larger ones that share
# Options of our own layers that change what they compute, with the values that change nothing.
PLAIN: Mapping[str, object] = {"proj_size": 0, "layer_norm": False, "reset_after": True}


class _Parts(NamedTuple):
    """The layers of a module, and their names in it."""

    recurrent: tuple[str, Any]
    embedding: tuple[str, Any] | None
    linear: tuple[str, Any] | None


def from_torch(
    module: object,
    *,
    pool: str | None = None,
    classes: Sequence[str] | None = None,
    example: Sequence[object] | None = None,
) -> Network:
    """Turn a torch module into a model that runs, streams, is saved and exported without torch.

    Args:  module: an nn.RNN, nn.LSTM or nn.GRU, or a module that holds one of them, at most one nn.Embedding before it, at most
        one nn.Linear after it, and dropout anywhere. pool: how the outputs become one vector before the linear layer: "last"
        (that of the last step), "mean", "max", or "both" (the last layer's two final states side by side, as in
        torch.cat((hidden[-2], hidden[-1]), dim=1)); None: every step is answered. classes: what the outputs stand for.
        example: arguments for the module itself, (x,) or (x, lengths): its answer, or the first part of it, is compared.
    Returns: the model, in the module's own float type (half types become float32).
    Raises: TaskError for a part that is not covered, with its name; ConfigError for a `pool` that does not fit, and where the
        module's answer to `example` is more than 1e-5 from ours.

    >>> import torch
    >>> network = from_torch(torch.nn.LSTM(3, 8, bidirectional=True), pool="both")
    >>> network.run(np.zeros((2, 5, 3)), lengths=[5, 2]).y.shape
    (2, 16)
    """
    if pool is not None and (not isinstance(pool, str) or pool not in POOLS):
        raise ConfigError(f"pool: expected one of {', '.join(POOLS)}, or None for an answer at every step, got {shown(pool)}")
    parts = _parts(module)
    options = _options(parts, pool)
    notes = [] if example is not None or parts.recurrent[1] is module else [_UNSEEN]
    found = Network(options, _weights(module, parts, options), classes=classes, source=type(module).__name__, notes=notes)
    if example is not None:
        _compare(module, parts, found, example)
    return found


_UNSEEN = "what the module's own forward does between its layers was not compared: from_torch(..., example=(x, lengths)) does"


def _parts(module: Any) -> _Parts:
    """Raises: TaskError that names what is not covered."""
    if isinstance(module, type) or not callable(getattr(module, "named_modules", None)):
        raise TaskError(f"module: expected a torch.nn.Module, got {type(module).__name__}")
    found = list(_layers(module))
    own = {part: [(name, layer) for name, layer in found if _kind(layer) in kinds] for part, kinds in SOUGHT.items()}
    if len(own["recurrent"]) != 1:
        said = ", ".join(_called(*one) for one in own["recurrent"]) or "none"
        raise TaskError(f"module: expected one RNN, LSTM or GRU, got {said}; stack layers with num_layers, or convert each alone")
    for part in ("Embedding", "Linear"):
        if len(own[part]) > 1:
            said = ", ".join(_called(*one) for one in own[part])
            raise TaskError(f"module: expected at most one {part}, got {said}; convert the recurrent layer alone")
    parts = _Parts(own["recurrent"][0], *(own[part][0] if own[part] else None for part in ("Embedding", "Linear")))
    _check_recurrent(*parts.recurrent)
    if parts.embedding is not None and parts.embedding[1].max_norm is not None:
        raise TaskError(f"{_called(*parts.embedding)}: expected max_norm=None, got {parts.embedding[1].max_norm}")
    return parts


def _layers(module: Any) -> Iterator[tuple[str, Any]]:
    """The layers and their names; what only holds others is left out, its forward is what `pool` and `example` say.

    Raises: TaskError for a layer that is not covered, and for hooks anywhere.
    """
    for name, own in module.named_modules():
        if any(getattr(own, hooks, None) for hooks in HOOKS):
            raise TaskError(f"{_called(name, own)}: expected no hooks, which may change an answer, got some")
        if _kind(own) is not None:
            yield name, own
        elif next(iter(own.children()), None) is None:
            known = "RNN, LSTM, GRU, Embedding, Linear and Dropout of torch.nn"
            raise TaskError(f"{_called(name, own)}: expected {known}, got a {type(own).__name__}; it cannot be converted")


def _kind(module: object) -> str | None:
    """The class of torch's, or of ours that stands in for it; a subclass may do anything and is none."""
    own = type(module)
    return own.__name__ if own.__module__.startswith(HOMES) and own.__name__ in KNOWN else None


def _called(name: str, module: object) -> str:
    return repr(name) if name else type(module).__name__


def _check_recurrent(name: str, layer: Any) -> None:
    for option, usual in PLAIN.items():
        value = getattr(layer, option, usual)
        if value != usual:
            raise TaskError(
                f"{_called(name, layer)}: expected {option}={usual}, got {value}; Tidegate's files hold no such layer"
            )


def _options(parts: _Parts, pool: str | None) -> NetworkOptions:
    name, layer = parts.recurrent
    width = layer.hidden_size * (2 if layer.bidirectional else 1)
    if parts.linear is not None and parts.linear[1].in_features != width:
        got = parts.linear[1].in_features
        raise TaskError(
            f"{_called(*parts.linear)}: expected {width} inputs, the outputs of {_called(name, layer)}, got {got}; only the last "
            "layer's outputs, with both directions, can be joined"
        )
    if parts.embedding is not None and parts.embedding[1].embedding_dim != layer.input_size:
        raise TaskError(
            f"{_called(*parts.embedding)}: expected vectors of {layer.input_size} for {_called(name, layer)}, got "
            f"{parts.embedding[1].embedding_dim}"
        )
    return NetworkOptions(
        cell=_cell(layer), input_size=layer.input_size, hidden_size=layer.hidden_size, num_layers=layer.num_layers,
        bidirectional=bool(layer.bidirectional), dropout=_dropout(layer), pool=cast(Joined, pool or "none"),
        codes=parts.embedding[1].num_embeddings if parts.embedding else 0,
        output_size=parts.linear[1].out_features if parts.linear else 0,
        bias=parts.linear is None or parts.linear[1].bias is not None,
    )  # fmt: skip


def _cell(layer: Any) -> Cell:
    kind = _kind(layer)
    if kind == "RNN":
        return "rnn_relu" if layer.nonlinearity == "relu" else "rnn_tanh"
    return "lstm" if kind == "LSTM" else "gru"


def _dropout(layer: Any) -> float:
    """Of the training that made the weights; 1, which torch allows, is none that a spec can name."""
    return float(layer.dropout) if 0 <= layer.dropout < 1 else 0.0


def _weights(module: Any, parts: _Parts, options: NetworkOptions) -> dict[str, Floats]:
    """The weights under the spec's names. Raises: TaskError for one that no layer should have."""
    names = dict(_names(parts, options))
    state = module.state_dict()
    foreign = sorted(set(state) - set(names.values()))
    if foreign:
        raise TaskError(f"weight {foreign[0]!r}: expected those of the plain layers alone, got one more; it cannot be converted")
    shapes = build_spec(options).parameters()
    found = {own: _array(state[theirs]) for own, theirs in names.items() if theirs in state}
    for own, theirs in names.items():
        if own not in found and ".bias_" not in own:
            raise TaskError(
                f"weight {theirs!r}: missing in the module's state_dict; pruned or parametrised layers are not covered"
            )
    dtype = next(iter(found.values())).dtype
    return {name: found.get(name, np.zeros(shape, dtype)) for name, shape in shapes.items()}  # without biases: 0


def _names(parts: _Parts, options: NetworkOptions) -> Iterator[tuple[str, str]]:
    """The spec's names and the module's."""
    named = {"embedded": parts.embedding, "read": parts.recurrent, "y": parts.linear}
    for own in build_spec(options).parameters():
        block, _, weight = own.partition(".")
        part = named[block]
        assert part is not None
        yield own, f"{part[0]}.{weight}" if part[0] else weight


def _array(tensor: Any) -> Floats:
    held = tensor.detach().cpu()
    plain = held if str(held.dtype) in ("torch.float32", "torch.float64") else held.float()
    return np.array(plain.numpy())


def _compare(module: Any, parts: _Parts, network: Network, example: Sequence[object]) -> None:
    """Raises: ConfigError where the module answers otherwise than the network."""
    example = listed("example", example, "give the module's own arguments, (x,) or (x, lengths)")
    if not 1 <= len(example) <= 2:
        raise ConfigError(f"example: expected (x,) or (x, lengths), got {len(example)} arguments")
    modes = [(own, bool(own.training)) for own in module.modules()]
    module.eval()
    try:
        answer = module(*example)
        theirs = _array(answer[0] if isinstance(answer, (tuple, list)) else answer)
    except Exception as error:  # whatever the module's own forward raises, or answers
        said = told(error)
        raise ConfigError(f"example: expected arguments that the module takes, got {shown(example)}: {said}") from error
    finally:
        for own, training in modes:
            own.training = training
    batch_first = bool(parts.recurrent[1].batch_first)
    x = _numbers(example[0])
    if x.ndim < 2:
        raise ConfigError(f"example: expected a batch, got x of shape {x.shape}; add an axis for the rows")
    ours = network.run(x if batch_first else np.swapaxes(x, 0, 1), None, _numbers(example[1]) if len(example) == 2 else None).y
    ours = ours if batch_first or ours.ndim == 2 else np.swapaxes(ours, 0, 1)
    how = network.options.pool
    one, other = np.squeeze(theirs), np.squeeze(ours)  # a module may leave out an axis of 1
    if one.shape != other.shape:
        raise ConfigError(
            f"example: expected {theirs.shape}, which the module answers, got {ours.shape}; name another pool than {how!r}"
        )
    most = float((np.abs(one - other) / np.maximum(np.abs(other), 1.0)).max(initial=0.0))
    if not most <= TOLERANCE:
        raise ConfigError(
            f"example: the module's answer and the network's are {most:.2g} apart, expected at most {TOLERANCE:g} with pool="
            f"{how!r}; name another pool, or the module's forward does more than its layers say"
        )


def _numbers(tensor: Any) -> npt.NDArray[np.generic]:
    return np.asarray(tensor.detach().cpu() if hasattr(tensor, "detach") else tensor)


__all__ = ["from_torch"]
