"""A spec's blocks as C statements, one step at a time. In: a spec and weights. Out: Steps, or a refusal.

A block's value is a place: an expression of C that points to its numbers. What cannot be stepped is refused by name, with what to
train instead.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tidegate.errors import TaskError
from tidegate.export.c.layers import FOLDED, embed, folds, linear, recurrent
from tidegate.export.c.steps import MOST_SQUARED, Place, Steps
from tidegate.runtime.predictor import Predictor
from tidegate.spec import (
    TIMED,
    Activation,
    Add,
    Block,
    Concat,
    Crf,
    Dropout,
    Embed,
    Fold,
    Last,
    Linear,
    Norm,
    Pool,
    Recurrent,
    Spec,
    Take,
    Unfold,
)

_LATE = "reads what is known at the end of a sequence alone; train a net whose recurrent blocks stand before its pooling"


def translate(name: str, net: Predictor) -> Steps:
    """Every block of a net. Raises: TaskError that names the block which cannot be stepped, or the input."""
    steps = Steps(name, net)
    _check(net.spec)
    port = net.spec.inputs[0]
    steps.places[port.name] = Place("x" if port.shape == "sequence" else "code", port.size, 0.0, 1.0)
    folded = {block.name for block in net.spec.blocks if isinstance(block, Embed) and folds(net.spec, block)}
    for block in net.spec.blocks:
        sources = [steps.places[source] for source in block.inputs]
        if block.name in folded:
            steps.places[block.name] = Place(FOLDED, block.embedding_dim, 0.0, 0.0)  # type: ignore[union-attr]  # an Embed
        else:
            steps.places[block.name] = placed(steps, block, sources)
    for output in net.spec.outputs:
        steps.bound(steps.places[output])
    return steps


def placed(steps: Steps, block: Block, sources: list[Place]) -> Place:
    """The statements of one block, said to `steps`, and where its numbers stand then."""
    return _TRANSLATED[type(block)](steps, block, sources)


def _check(spec: Spec) -> None:
    if len(spec.inputs) != 1 or spec.inputs[0].shape not in TIMED or spec.inputs[0].items:
        names = ", ".join(f"{port.name} ({port.shape})" for port in spec.inputs)
        raise TaskError(f"expected a net with one input, a sequence or one column of tokens, got {names}")
    port = spec.inputs[0]
    if port.shape == "tokens" and port.size != 1:
        raise TaskError(f"input {port.name!r}: expected one column of tokens, got {port.size}")
    late: set[str] = set()  # known at the end of a sequence alone
    for block in spec.blocks:
        after = not late.isdisjoint(block.inputs)
        reason = refusal(block) or (_LATE if after and isinstance(block, (Recurrent, Pool)) else None)
        if isinstance(block, (Last, Pool)) or after:
            late.add(block.name)
        if reason:
            raise TaskError(f"block {block.name!r} {reason}")


def refusal(block: Block) -> str | None:
    """Why a block is not exported, and what to train instead."""
    if isinstance(block, Recurrent) and block.bidirectional:
        return "is bidirectional and reads the future; train with bidirectional=False (--no-bidirectional)"
    if isinstance(block, Recurrent) and len(block.inputs) == 2:
        return "starts at a state that other blocks give; train a net whose state starts at zero"
    if isinstance(block, (Fold, Unfold)) and block.size > 1:
        return f"works on segments of {block.size} steps; train a net that reads one step at a time"
    if type(block) not in _TRANSLATED:
        known = "pooling 'last', 'max' or 'mean'"
        return f"is of the kind {block.kind!r}, which looks at other steps than its own; train with {known}, and no attention"
    return None


def _as_it_is(steps: Steps, block: Dropout | Crf | Last | Fold | Unfold, sources: list[Place]) -> Place:
    """What a step has is the answer after it: dropout does nothing here, and the last step is this one."""
    return sources[0]


def _activation(steps: Steps, block: Activation, sources: list[Place]) -> Place:
    (source,) = sources
    to, at = steps.buffer(block.name, source.size), source.at
    if at == "x":  # the caller's array has no lanes behind it
        steps.say(f"tg_copy({to}, x, {source.size});", *_tail(to, source.size))
        at = to
    steps.say(f"tg_{block.function}_of({to}, {at}, {source.size});")
    return Place(to, source.size, source.still, source.moving) if block.function == "relu" else Place(to, source.size, 1.0, 0.0)


def _norm(steps: Steps, block: Norm, sources: list[Place]) -> Place:
    (source,) = sources
    steps.bound(source, MOST_SQUARED)
    gain, shift = steps.weight(block, "weight"), steps.weight(block, "bias")
    w, b = steps.array(f"{block.name}_w", gain), steps.array(f"{block.name}_b", shift)
    to = steps.buffer(block.name, block.size)
    steps.say(f"tg_norm({to}, {source.at}, {w}, {b}, {block.size});", *_tail(to, block.size))
    most = float(abs(gain).max(initial=0.0) * block.size**0.5 + abs(shift).max(initial=0.0))
    return Place(to, block.size, most, 0.0)


def _concat(steps: Steps, block: Concat, sources: list[Place]) -> Place:
    size, sources = sum(source.size for source in sources), [source for source in sources if source.size]
    if _beside(sources):
        return sources[0]._replace(size=size, still=max(s.still for s in sources), moving=max(s.moving for s in sources))
    to, start = steps.buffer(block.name, size), 0
    for source in sources:
        steps.say(f"tg_copy({to} + {start}, {source.at}, {source.size});")
        start += source.size
    steps.say(*_tail(to, size))
    return Place(to, size, max(s.still for s in sources), max(s.moving for s in sources))


def _beside(sources: list[Place]) -> bool:
    """Whether parts stand one behind the other already."""
    starts = np.cumsum([0, *(source.size for source in sources[:-1])]).tolist()
    return all(source.at == f"{sources[0].at} + {start}" for source, start in list(zip(sources, starts, strict=True))[1:])


def _add(steps: Steps, block: Add, sources: list[Place]) -> Place:
    size = sources[0].size
    to = steps.buffer(block.name, size)
    steps.say(f"tg_copy({to}, {sources[0].at}, {size});")
    steps.say(*(f"tg_add({to}, {source.at}, {size});" for source in sources[1:]), *_tail(to, size))
    return Place(to, size, sum(s.still for s in sources), sum(s.moving for s in sources))


def _take(steps: Steps, block: Take, sources: list[Place]) -> Place:
    (source,) = sources
    to = steps.buffer(block.name, block.size)
    steps.say(f"tg_copy({to}, {source.at} + {block.start}, {block.size});", *_tail(to, block.size))
    return source._replace(at=to, size=block.size)


def _pool(steps: Steps, block: Pool, sources: list[Place]) -> Place:
    """The running sum or maximum in the state; the answer after each step."""
    (source,) = sources
    steps.counted = True
    steps.pooled[f"{block.name}_pool"] = source.size
    held = f"s->{block.name}_pool"
    update = "tg_add" if block.how == "mean" else "tg_highest"
    steps.say(
        f"if (s->steps == 1) tg_copy({held}, {source.at}, {source.size});",
        f"else {update}({held}, {source.at}, {source.size});",
    )
    if block.how == "max":
        return source._replace(at=held)
    to = steps.buffer(block.name, source.size)
    steps.say(f"tg_scale({to}, {held}, (float)s->steps, {source.size});", *_tail(to, source.size))
    return source._replace(at=to)


def _tail(to: str, size: int) -> list[str]:
    """Lanes past the end, which vectors read, hold zeros."""
    return [f"tg_zero({to} + {size}, TG_PADDED({size}) - {size});"]


_TRANSLATED: dict[type[Block], Callable[..., Place]] = {  # each takes the block of its own key
    Activation: _activation,
    Add: _add,
    Concat: _concat,
    Crf: _as_it_is,
    Dropout: _as_it_is,
    Embed: embed,
    Fold: _as_it_is,
    Last: _as_it_is,
    Linear: linear,
    Norm: _norm,
    Pool: _pool,
    Recurrent: recurrent,
    Take: _take,
    Unfold: _as_it_is,
}
