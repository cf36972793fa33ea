"""A decoder that reads its own outputs. In: the steps' known channels, the lags among them, a rule for what is fed back.

Out: every output.

One loop (blocks.unroll) for teacher forcing, scheduled sampling and free running: they differ in `choose` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tidegate.blocks.ops import Array, Ops
from tidegate.blocks.unroll import unroll

Outputs = Mapping[str, Array]
Run = Callable[[Array, Mapping[str, Array] | None], tuple[Outputs, Mapping[str, Array]]]
Choose = Callable[[int, Outputs], Array]


def roll_out(
    ops: Ops, run: Run, x: Array, start: int, lags: Sequence[int], choose: Choose, state: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """Read steps [0, start) as they are, then every further step with the lags that fall in the horizon fed back.

    Args:  run: (B, t, C) and a state -> outputs (B, t, ...) and the state. x: (B, start + F, C); channel j holds the value
           `lags[j]` steps back (lag 0: something else, left as it is), channel len(lags) + j its mask.
           choose: step k and its outputs (B, 1, ...) -> the value fed back, (B,).
           state: where the steps before x were read already; start is then 0.
    Returns: outputs of all start + F steps.
    """
    heads: list[Outputs] = []
    if state is None:
        head, state = run(x[:, :start], None)
        heads.append(head)
    fed: list[Array] = []

    def feed(k: int, previous: Outputs | None) -> Array:
        if previous is not None:
            fed.append(choose(k - 1, previous))
        return _with_lags(ops, x[:, start + k], lags, k, fed)

    def step(x_k: Array, carried: Mapping[str, Array]) -> tuple[Outputs, Mapping[str, Array]]:
        return run(x_k[:, None], carried)

    outputs, _ = unroll(step, feed, state, x.shape[1] - start)
    parts = [*heads, *outputs]
    return {name: ops.concat([part[name] for part in parts], 1) for name in parts[0]}


def _with_lags(ops: Ops, x: Array, lags: Sequence[int], k: int, fed: Sequence[Array]) -> Array:
    """(B, C) with the lags that reach into the horizon replaced by what was fed back, and marked as observed."""
    count = len(lags)
    reached = [0 < lag <= k for lag in lags]
    if not any(reached):
        return x
    observed = ops.zeros(x, (x.shape[0], 1)) + 1
    values = [fed[k - lag][:, None] if own else x[:, j : j + 1] for j, (lag, own) in enumerate(zip(lags, reached, strict=True))]
    masks = [observed if own else x[:, count + j : count + j + 1] for j, own in enumerate(reached)]
    return ops.concat([*values, *masks, x[:, 2 * count :]], 1)
