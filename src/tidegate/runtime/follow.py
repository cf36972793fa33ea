"""A language model's net followed one code at a time. In: a Predictor, a state. Out: logits, code after code.

A net that can be planned (runtime/stepping.py) runs prepared, any other one through `Predictor.run`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tidegate.blocks.weights import Floats
from tidegate.errors import ShapeError, TaskError
from tidegate.runtime.predictor import Predictor
from tidegate.runtime.stepping import Plan
from tidegate.spec import Embed

Following = Callable[[int], Floats]


def followed(net: Predictor, state: Floats) -> Following:
    """What reads the next code of one sequence and returns the first output after it, (V,), valid until it is called again.

    Args:  net: of one port of tokens. state: (1, S) before the first code. What is returned checks codes and keeps the state; it
        is not for two threads at once.
    """
    try:
        return _planned(Plan(net), state)
    except TaskError:
        return _whole(net, state)


def _planned(plan: Plan, state: Floats) -> Following:
    spec = plan.net.spec
    port, output = spec.inputs[0].name, spec.outputs[0]
    most = min(block.num_embeddings for block in spec.blocks if isinstance(block, Embed))
    push = plan.bind(plan.start(state))

    def follow(code: int) -> Floats:
        if not 0 <= code < most:
            raise ShapeError(f"code: expected 0 to {most - 1}, got {code}")
        found: Floats = push({port: (code,)})[output]
        return found

    return follow


def _whole(net: Predictor, state: Floats) -> Following:
    port, output = net.spec.inputs[0].name, net.spec.outputs[0]
    at = [state]

    def follow(code: int) -> Floats:
        ran = net.run({port: np.array([[[code]]])}, at[0])
        at[0] = ran.state
        found: Floats = ran.outputs[output][0, -1]
        return found

    return follow
