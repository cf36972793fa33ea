"""One recurrent layer that needs more than the fused loop: projection, layer norm, GRU with the reset before the product.

In: (B, T, I), lengths, state, weights. Out: outputs and final state. The core's generic loop serves, through the operators
`tidegate::generic` and `tidegate::generic_backward`; where it is missing, and with `reference=True`, the equations below do,
step by step and differentiable any number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tidegate import native
from tidegate.errors import ConfigError, LayerError
from tidegate.nn.operator import memory_error, side_by_side, whole
from tidegate.nn.threads import follow_torch
from tidegate.nn.transforms import FORWARD_MODE, FUNC, SECOND, has_tangent, refuse_batched, transformed

State = dict[str, Tensor]


class Weights(NamedTuple):
    """Parameters of one direction. G = gates * H; P = proj_size, or H without projection. None: there is none.

    With layer norm the biases are the shifts of the norms of W_ih x and of W_hh h; a gain that is None is 1, a shift 0.
    """

    weight_ih: Tensor  # (G, I)
    weight_hh: Tensor  # (G, P)
    bias_ih: Tensor | None = None  # (G,)
    bias_hh: Tensor | None = None  # (G,)
    weight_hr: Tensor | None = None  # (P, H), LSTM
    gain_ih: Tensor | None = None  # (G,)
    gain_hh: Tensor | None = None  # (G,)
    gain_c: Tensor | None = None  # (H,), LSTM
    shift_c: Tensor | None = None  # (H,), LSTM


class Options(NamedTuple):
    """What the layer does beside the plain cell.

    reset_after: GRU: the reset gate after the product (PyTorch, cuDNN) or before it (Cho et al. 2014).
    layer_norm: LN around each product, and around the LSTM's c' before its tanh (Ba, Kiros & Hinton 2016).
    eps: of the norms, > 0.
    """

    reset_after: bool = True
    layer_norm: bool = False
    eps: float = 1e-5


def layer(
    cell: str,
    x: Tensor,
    lengths: Tensor | None,
    state: State,
    weights: Sequence[Weights],
    options: Options = Options(),  # noqa: B008  a tuple of constants
    *,
    reference: bool = False,
) -> tuple[Tensor, State]:
    """One layer in one direction or two.

    Args:  cell: "rnn_tanh", "rnn_relu", "lstm" or "gru".
           x: (B, T, I). Steps past a row's length are not read.
           lengths: (B,) int64, 0 ≤ lengths ≤ T, or None: every row has T steps.
           state: "h" (D, B, P); of the LSTM also "c" (D, B, H).
           weights: one a direction; float32 or float64 as x.
    Returns: y (B, T, D*P), 0 past each row's length, and the final state in the form of `state`.
    Raises: ConfigError, LayerError for sizes or options that do not fit.
    """
    _check(cell, x, lengths, state, weights, options)
    if reference or not _native_serves(x):
        return _by_equations(cell, x, lengths, state, weights, options)
    held = None if lengths is None else lengths.to("cpu", torch.int64)
    flat = [part if part is not None else x.new_empty(0) for each in weights for part in each]
    if not torch.compiler.is_compiling():
        _refuse_transforms((x, *state.values(), *flat))
    keep = torch.is_grad_enabled() and any(part.requires_grad for part in (x, *state.values(), *flat))
    total = len(x) * x.shape[1] if held is None or torch.compiler.is_compiling() else int(held.sum())
    y, h, c, _ = torch.ops.tidegate.generic(
        cell, x, held, state["h"], state.get("c"), flat, not options.reset_after, options.layer_norm, options.eps, total, keep
    )
    return y, {"h": h, "c": c} if cell == "lstm" else {"h": h}


def _refuse_transforms(tensors: Sequence[Tensor]) -> None:
    if transformed():
        raise LayerError(FUNC)
    if has_tangent(tensors):
        raise LayerError(FORWARD_MODE)


def _native_serves(x: Tensor) -> bool:
    return x.device.type in ("cpu", "meta") and x.dtype in (torch.float32, torch.float64) and native.available()


def _check(cell: str, x: Tensor, lengths: Tensor | None, state: State, weights: Sequence[Weights], options: Options) -> None:
    if cell not in native.CELLS:
        raise ConfigError(f"cell: expected one of {', '.join(native.CELLS)}, got {cell!r}")
    if not options.reset_after and cell != "gru":
        raise ConfigError(f"reset_after: expected True for {cell}, got False; only the GRU has a reset gate")
    if options.layer_norm and not options.eps > 0:
        raise ConfigError(f"eps: expected a number above 0, got {options.eps}")
    if len(weights) not in (1, 2):
        raise LayerError(f"weights: expected 1 or 2 directions, got {len(weights)}")
    if x.dim() != 3:
        raise LayerError(f"x: expected (B, T, I), got {tuple(x.shape)}")
    if lengths is not None and (lengths.shape != x.shape[:1] or lengths.is_floating_point()):
        raise LayerError(f"lengths: expected {(len(x),)} whole numbers, got {tuple(lengths.shape)} of {lengths.dtype}")
    gates = {"lstm": 4, "gru": 3}.get(cell, 1)
    hidden = weights[0].weight_ih.shape[0] // gates
    for each in weights:
        shapes = _shapes(cell, x.shape[-1], hidden, each)
        for name, part in each._asdict().items():
            if part is not None and part.shape != shapes[name]:
                raise LayerError(f"{name}: expected {shapes[name]}, got {tuple(part.shape)}")
            if part is not None and part.dtype != x.dtype:
                raise LayerError(f"{name}: expected {x.dtype} as x, got {part.dtype}")
    _check_state(cell, x, state, len(weights), hidden, weights[0].weight_hh.shape[1])


def _shapes(cell: str, inputs: int, hidden: int, weights: Weights) -> dict[str, tuple[int, ...]]:
    rows, lstm = weights.weight_ih.shape[0], cell == "lstm"
    projected = len(weights.weight_hr) if weights.weight_hr is not None and lstm else hidden
    return {
        "weight_ih": ((rows // hidden) * hidden if hidden else 1, inputs), "weight_hh": (rows, projected),
        "bias_ih": (rows,), "bias_hh": (rows,), "gain_ih": (rows,), "gain_hh": (rows,),
        "weight_hr": (projected, hidden) if lstm else (0, 0), "gain_c": (hidden,) if lstm else (0,),
        "shift_c": (hidden,) if lstm else (0,),
    }  # fmt: skip


def _check_state(cell: str, x: Tensor, state: State, directions: int, hidden: int, projected: int) -> None:
    sizes = {"h": projected, "c": hidden} if cell == "lstm" else {"h": projected}
    if set(state) != set(sizes):
        raise LayerError(f"state: expected {', '.join(sizes)}, got {', '.join(state) or 'nothing'}")
    for name, size in sizes.items():
        shape, part = (directions, len(x), size), state[name]
        if part.shape != shape or part.dtype != x.dtype:
            raise LayerError(f"{name}: expected {shape} of {x.dtype}, got {tuple(part.shape)} of {part.dtype}")


# The equations, in plain torch


def _by_equations(
    cell: str, x: Tensor, lengths: Tensor | None, state: State, weights: Sequence[Weights], options: Options
) -> tuple[Tensor, State]:
    if lengths is not None:  # else NaN in the padding would reach the gradients
        valid = torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None]
        x = torch.where(valid[..., None], x, torch.zeros_like(x))
    outputs, finals = [], []
    for direction, each in enumerate(weights):
        start = {name: part[direction] for name, part in state.items()}
        y, final = _scan(cell, x, lengths, start, each, options, backwards=bool(direction))
        outputs.append(y)
        finals.append(final)
    return torch.cat(outputs, -1), {name: torch.stack([final[name] for final in finals]) for name in state}


def _scan(
    cell: str, x: Tensor, lengths: Tensor | None, state: State, w: Weights, options: Options, *, backwards: bool
) -> tuple[Tensor, State]:
    steps, outputs = x.shape[1], list(x.unbind(1))
    step = _STEPS[cell]
    a = _entering(x, w.weight_ih, w.bias_ih, w.gain_ih, options, cell)  # (B, T, G)
    for t in reversed(range(steps)) if backwards else range(steps):
        new = step(a[:, t], state, w, options)
        if lengths is None:
            outputs[t], state = new["h"], new
        else:
            active = (lengths.to(x.device) > t)[:, None]
            outputs[t] = torch.where(active, new["h"], torch.zeros_like(new["h"]))
            state = {name: torch.where(active, new[name], part) for name, part in state.items()}
    return torch.stack(outputs, 1) if steps else x.new_zeros(len(x), 0, state["h"].shape[-1]), state


def _entering(v: Tensor, weight: Tensor, bias: Tensor | None, gain: Tensor | None, options: Options, cell: str) -> Tensor:
    """W v + b, or LN(W v; gain, b): over all gates; of the GRU over r and z together and over n alone."""
    if not options.layer_norm:
        return torch.nn.functional.linear(v, weight, bias)
    sums = torch.nn.functional.linear(v, weight)
    hidden = weight.shape[0] // 3
    cuts = (slice(0, 2 * hidden), slice(2 * hidden, None)) if cell == "gru" else (slice(None),)
    return torch.cat([_normed(sums[..., cut], _cut(gain, cut), _cut(bias, cut), options.eps) for cut in cuts], -1)


def _cut(part: Tensor | None, cut: slice) -> Tensor | None:
    return None if part is None else part[cut]


def _normed(v: Tensor, gain: Tensor | None, shift: Tensor | None, eps: float) -> Tensor:
    """gain * (v - mean) / sqrt(variance + eps) + shift over the last axis."""
    centred = v - v.mean(-1, keepdim=True)
    unit = centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + eps)
    scaled = unit if gain is None else unit * gain
    return scaled if shift is None else scaled + shift


def _rnn_tanh_step(a: Tensor, state: State, w: Weights, options: Options) -> State:
    return {"h": torch.tanh(a + _entering(state["h"], w.weight_hh, w.bias_hh, w.gain_hh, options, "rnn"))}


def _rnn_relu_step(a: Tensor, state: State, w: Weights, options: Options) -> State:
    return {"h": torch.relu(a + _entering(state["h"], w.weight_hh, w.bias_hh, w.gain_hh, options, "rnn"))}


def _lstm_step(a: Tensor, state: State, w: Weights, options: Options) -> State:
    """c' = f c + i g, h' = W_hr (o tanh(c')) (Sak et al. 2014); with layer norm tanh(LN(c'))."""
    i, f, g, o = (a + _entering(state["h"], w.weight_hh, w.bias_hh, w.gain_hh, options, "lstm")).chunk(4, -1)
    c = torch.sigmoid(f) * state["c"] + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(_normed(c, w.gain_c, w.shift_c, options.eps) if options.layer_norm else c)
    return {"h": h if w.weight_hr is None else torch.nn.functional.linear(h, w.weight_hr), "c": c}


def _gru_step(a: Tensor, state: State, w: Weights, options: Options) -> State:
    """n = tanh(a_n + r u_n), or, reset before, tanh(a_n + U_n (r h) + b); h' = (1 - z) n + z h."""
    h, cut = state["h"], 2 * state["h"].shape[-1]
    a_r, a_z, a_n = a.chunk(3, -1)
    if options.reset_after:
        u_r, u_z, u_n = _entering(h, w.weight_hh, w.bias_hh, w.gain_hh, options, "gru").chunk(3, -1)
        r, z = torch.sigmoid(a_r + u_r), torch.sigmoid(a_z + u_z)
        n = torch.tanh(a_n + r * u_n)
    else:
        first, last = slice(0, cut), slice(cut, None)
        u = _entering(h, w.weight_hh[first], _cut(w.bias_hh, first), _cut(w.gain_hh, first), options, "rnn")
        r, z = (torch.sigmoid(part) for part in (torch.cat([a_r, a_z], -1) + u).chunk(2, -1))
        n = torch.tanh(a_n + _entering(r * h, w.weight_hh[last], _cut(w.bias_hh, last), _cut(w.gain_hh, last), options, "rnn"))
    return {"h": (1 - z) * n + z * h}


_STEPS: dict[str, Callable[[Tensor, State, Weights, Options], State]] = {
    "rnn_tanh": _rnn_tanh_step,
    "rnn_relu": _rnn_relu_step,
    "lstm": _lstm_step,
    "gru": _gru_step,
}


# The operators over the core's generic loop

_PARTS = len(Weights._fields)
_DTYPES = {torch.float32: 0, torch.float64: 1}
_INPUTS = (
    "str cell, Tensor x, Tensor? lengths, Tensor h0, Tensor? c0, Tensor[] weights, bool reset_before, bool layer_norm, float eps"
)


class _Given(NamedTuple):
    """The operators' common arguments. weights: the fields of Weights of each direction one after the other, (0,) for None."""

    cell: str
    x: Tensor
    lengths: Tensor | None
    h0: Tensor
    c0: Tensor | None
    weights: list[Tensor]
    reset_before: bool
    layer_norm: bool
    eps: float

    @property
    def directions(self) -> int:
        return len(self.weights) // _PARTS

    @property
    def hidden(self) -> int:
        return self.weights[0].shape[0] // {"lstm": 4, "gru": 3}.get(self.cell, 1)

    def readable(self) -> _Given:
        """The same values where the core can read them: neighbouring features side by side, the rest contiguous."""
        weights = [whole(w) for w in self.weights]
        return self._replace(
            x=side_by_side(self.x), lengths=whole(self.lengths), h0=whole(self.h0), c0=whole(self.c0), weights=weights
        )


def _address(x: Tensor | None) -> int:
    return 0 if x is None or not x.numel() else x.data_ptr()


def _split(weights: Sequence[Tensor]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Addresses of the weights of a plain layer, and of the others."""
    found = [_address(w) for w in weights]
    starts = range(0, len(found), _PARTS)
    return tuple(a for k in starts for a in found[k : k + 4]), tuple(a for k in starts for a in found[k + 4 : k + _PARTS])


def _calls(given: _Given) -> tuple[native.LayerCall, native.ExtrasCall]:
    """The core's arguments; `given` is readable and outlives them."""
    x = given.x
    plain, others = _split(given.weights)
    call = native.LayerCall(
        native.CELLS[given.cell], _DTYPES[x.dtype], given.directions, 0, x.shape[0], x.shape[1], x.shape[2], given.hidden,
        _address(given.lengths), _address(x), x.stride(0), x.stride(1), plain, _address(given.h0), _address(given.c0),
        0, 0, x.shape[1], 0,
    )  # fmt: skip
    projected = given.h0.shape[-1] if given.weights[4].numel() else 0
    return call, native.ExtrasCall(given.reset_before, given.layer_norm, projected, given.eps, others)


@lru_cache(maxsize=256)
def _reserve_rates(
    cell: str, dtype: torch.dtype, hidden: int, directions: int, reset_before: bool, norm: bool, projected: int, isa: str
) -> tuple[int, int, int]:
    """Bytes of an empty reserve, of each row of the batch, and of each step of a row."""
    extras = native.ExtrasCall(reset_before, norm, projected, 1.0, (0,) * (5 * directions))

    def of(batch: int, steps: int) -> int:
        sizes = (native.CELLS[cell], _DTYPES[dtype], directions, 0, batch, steps, 0, hidden)
        return native.generic_reserve_bytes(
            native.LayerCall(*sizes, 0, 0, 0, 0, (0,) * (4 * directions), 0, 0, 0, 0, steps, 0), extras
        )

    return of(0, 0), of(1, 0) - of(0, 0), of(1, 1) - of(1, 0)


def _reserve_bytes(given: _Given, total: int) -> int:
    """A function of sizes and `total`, at least the sum of the lengths, so that fake tensors have it too."""
    projected = int(given.h0.shape[-1]) if given.weights[4].numel() else 0
    options = (given.directions, given.reset_before, given.layer_norm, projected, native.isa())
    base, row, step = _reserve_rates(given.cell, given.x.dtype, int(given.hidden), *options)
    return base + row * given.x.shape[0] + step * total


def _outputs(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Room for y, hn, cn and the reserve; y in the layout of x."""
    given, total, keep = _Given(*arguments[:9]), arguments[9], arguments[10]
    x, new = given.x, given.x.new_empty
    size = given.directions * given.h0.shape[-1]
    y = new(x.shape[1], x.shape[0], size).transpose(0, 1) if _time_first(x) else new(x.shape[0], x.shape[1], size)
    c = new(0) if given.c0 is None else new(given.c0.shape)
    return y, new(given.h0.shape), c, new(_reserve_bytes(given, total) if keep else 0, dtype=torch.uint8)


def _time_first(x: Tensor) -> bool:
    return bool(x.stride(0) < x.stride(1))


def _run(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    follow_torch()
    try:
        given = _Given(*arguments[:9]).readable()
        y, hn, cn, reserve = outputs = _outputs(*arguments)
    except RuntimeError as error:
        raise memory_error(error) from None
    call, extras = _calls(given)
    if reserve.numel() and native.generic_reserve_bytes(call, extras) > reserve.numel():
        raise LayerError(f"total: expected at least the sum of the lengths, got {arguments[9]}")
    native.generic_forward(call, extras, _address(y), y.stride(0), y.stride(1), _address(hn), _address(cn), _address(reserve))
    return outputs


def _gradients(*arguments: Any) -> list[Tensor]:
    """Room for the gradients of x, h0, c0 and each weight; (0,) for those not wanted."""
    given = _Given(*arguments[:9])
    inputs = [given.x, given.h0, given.x.new_empty(0) if given.c0 is None else given.c0, *given.weights]
    return [given.x.new_empty(part.shape if want else 0) for part, want in zip(inputs, arguments[13], strict=True)]


def _run_backward(*arguments: Any) -> list[Tensor]:
    follow_torch()
    given = _Given(*arguments[:9]).readable()
    reserve, dy, dhn, dcn, wanted = arguments[9:]
    try:
        found = _gradients(*arguments)
    except RuntimeError as error:
        raise memory_error(error) from None
    dx, dh0, dc0 = found[:3]
    dy, dhn, dcn = None if dy is None else side_by_side(dy), whole(dhn), whole(dcn)
    dy_strides: tuple[int, int] = (0, 0) if dy is None else (dy.stride(0), dy.stride(1))
    dx_strides: tuple[int, int] = (dx.stride(0), dx.stride(1)) if wanted[0] else (0, 0)
    native.generic_backward(
        *_calls(given), _address(reserve), _address(dy), *dy_strides, _address(dhn), _address(dcn),
        _address(dx), *dx_strides, _address(dh0), _address(dc0), *_split(found[3:]),
    )  # fmt: skip
    return found


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    given, keep = _Given(*inputs[:9]), inputs[10]
    ctx.set_materialize_grads(False)
    ctx.rest, ctx.keep = (given.cell, *given[6:]), keep
    ctx.save_for_backward(output[3], given.x, given.lengths, given.h0, given.c0, *given.weights)


def _differentiate(ctx: Any, dy: Tensor | None, dhn: Tensor | None, dcn: Tensor | None, _: None) -> tuple[Any, ...]:
    refuse_batched(dy, dhn, dcn)
    reserve, x, lengths, h0, c0, *weights = ctx.saved_tensors
    cell, *rest = ctx.rest
    if not ctx.keep:
        raise LayerError("tidegate::generic: expected keep=True where gradients are wanted, got False")
    wanted = [ctx.needs_input_grad[1], ctx.needs_input_grad[3], ctx.needs_input_grad[4], *(w.numel() > 0 for w in weights)]
    arguments = (cell, x, lengths, h0, c0, weights, *rest, reserve, dy, dhn, dcn if cell == "lstm" else None, wanted)
    found = torch.ops.tidegate.generic_backward(*arguments)
    dx, dh0, dc0, *dweights = (part if want else None for part, want in zip(found, wanted, strict=True))
    return (None, dx, None, dh0, dc0, dweights, None, None, None, None, None)


def _refuse_twice(ctx: Any, *gradients: Any) -> Any:
    raise LayerError(SECOND)


torch.library.custom_op(
    "tidegate::generic",
    _run,
    mutates_args=(),
    device_types="cpu",
    schema=f"({_INPUTS}, SymInt total, bool keep) -> (Tensor, Tensor, Tensor, Tensor)",
)
torch.library.custom_op(
    "tidegate::generic_backward",
    _run_backward,
    mutates_args=(),
    device_types="cpu",
    schema=f"({_INPUTS}, Tensor reserve, Tensor? dy, Tensor? dhn, Tensor? dcn, bool[] wanted) -> Tensor[]",
)
torch.library.register_fake("tidegate::generic", _outputs)
torch.library.register_fake("tidegate::generic_backward", _gradients)
torch.library.register_autograd("tidegate::generic", _differentiate, setup_context=_keep_for_backward)
torch.library.register_autograd("tidegate::generic_backward", _refuse_twice)
