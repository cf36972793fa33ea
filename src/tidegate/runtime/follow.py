"""A net of codes followed one code at a time, everything prepared. In: a Predictor, a state. Out: logits, code after code.

What `Predictor.run` does for a sequence of one step costs ten times the kernels of a small net: checks, a walk over the graph,
new arrays. Here the calls of the core are made once, over buffers that stay. The same kernels on the same numbers: the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np

from tidegate.blocks.weights import Floats
from tidegate.errors import ShapeError
from tidegate.runtime.native_ops import NativeOps, prepared_codes
from tidegate.runtime.predictor import Predictor
from tidegate.spec import Block, Dropout, Embed, Linear, Recurrent, weight_name

Push = Callable[[int], Floats]


def followed(net: Predictor, state: Floats) -> Push:
    """What reads the next code of one sequence and returns the logits after it, (V,), valid until it is called again.

    A chain of an embedding, one recurrent block in one direction and a linear layer on the native core runs prepared; any other
    net of one port of tokens through `Predictor.run`.
    Args:  state: (1, S) before the first code. The returned function checks codes and keeps the state; it is not for two threads.
    """
    chain = _chain(net)
    if chain is not None and isinstance(net.ops, NativeOps):
        return _Chain(net, net.ops, chain, state).push
    return _Whole(net, state).push


def _chain(net: Predictor) -> tuple[Embed, Recurrent, Linear] | None:
    """The blocks of a net that can be prepared; dropout does nothing here."""
    blocks: list[Block] = []
    before = net.spec.inputs[0].name
    for block in net.spec.blocks:
        if block.inputs != (before,):
            return None
        before = block.name
        if not isinstance(block, Dropout):
            blocks.append(block)
    if len(blocks) != 3 or net.spec.outputs != (before,) or net.spec.inputs[0].size != 1:
        return None
    embed, read, out = blocks
    if isinstance(embed, Embed) and isinstance(read, Recurrent) and not read.bidirectional and isinstance(out, Linear):
        return embed, read, out
    return None


@final
class _Whole:
    """Any net: one call of `Predictor.run` a code."""

    def __init__(self, net: Predictor, state: Floats) -> None:
        self._net, self._state, self._port = net, state, net.spec.inputs[0].name
        self._output = net.spec.outputs[0]

    def push(self, code: int) -> Floats:
        ran = self._net.run({self._port: np.array([[[code]]])}, self._state)
        self._state = ran.state
        found: Floats = ran.outputs[self._output][0, -1]
        return found


@final
class _Chain:
    """Embedding, recurrent layers, linear layer."""

    def __init__(self, net: Predictor, ops: NativeOps, chain: tuple[Embed, Recurrent, Linear], state: Floats) -> None:
        embed, read, out = chain
        weights = net.weights
        own = {name: weights[f"{read.name}.{name}"] for name in read.parameters()}
        vectors = weights[weight_name(embed, "weight")]
        parts = net.state_parts(state)
        begun = {part: parts[f"{read.name}.{part}"][:, 0].copy() for part in read.state()}
        linear = weights[weight_name(out, "weight")], weights.get(f"{out.name}.bias")
        self._step, self._logits = prepared_codes(ops, read, own, vectors, linear, begun)
        self._codes = len(vectors)

    def push(self, code: int) -> Floats:
        if not 0 <= code < self._codes:
            raise ShapeError(f"code: expected 0 to {self._codes - 1}, got {code}")
        self._step(code)
        logits: Floats = self._logits
        return logits
