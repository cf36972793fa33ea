"""One recurrent layer as torch operators over the native core. In: x, lengths, state, weights, masks. Out: y and the final state.

Three operators, opaque to torch.compile, each with a shape function for fake and meta tensors:
  tidegate::recurrent           what callers see; without gradients it keeps nothing
  tidegate::recurrent_keep      the same, and the reserve that backward reads
  tidegate::recurrent_backward  the gradients, written by hand (csrc/backward.h); it is not differentiable itself
`layer` is the way in. Plain tensors skip torch's dispatcher, which costs as much as a hundred steps of a small net; compiled,
traced and fake tensors pass through it. Checks what would be read past its end; tidegate.nn.checks has the sentences for users.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter

from tidegate import native
from tidegate.errors import LayerError
from tidegate.nn.memory import room
from tidegate.nn.threads import follow_torch
from tidegate.nn.transforms import FORWARD_MODE, SECOND, VMAP, has_tangent, refuse_batched, transformed

DTYPES = {torch.float32: 0, torch.float64: 1}
_GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
_INPUTS = (
    "str cell, Tensor x, Tensor? lengths, Tensor? h0, Tensor? c0, Tensor[] weights, Tensor? zone_h, Tensor? zone_c, "
    "Tensor? drop_h, SymInt total, bool batch_first, bool recompute, Tensor? batch_sizes, SymInt packed_batch"
)
_COUNT = 14  # fields of Inputs
_dispatch_modes, _tracing_state = torch._C._len_torch_dispatch_stack, torch._C._get_tracing_state
MaybeTensor = TypeVar("MaybeTensor", Tensor, Tensor | None)
Ways: TypeAlias = tuple[Tensor, Tensor, Tensor]


class Inputs(NamedTuple):
    """What one layer reads. D directions; every tensor of the dtype of x but lengths, int64."""

    cell: str  # rnn_tanh, rnn_relu, lstm or gru
    x: Tensor  # (B, T, I) or (T, B, I), any strides; or packed, (N, I)
    lengths: Tensor | None  # (B,) from 0 to T; None: all T, or packed
    h0: Tensor | None  # (D, B, H); None: zeros
    c0: Tensor | None  # (D, B, H), the LSTM's
    weights: tuple[Tensor, ...]  # weight_ih (G, I), weight_hh (G, H), bias_ih, bias_hh (G,) of each direction; or without biases
    zone_h: Tensor | None  # (D, T or 1, B, H), the share of the old state that stays
    zone_c: Tensor | None
    drop_h: Tensor | None  # (D, B, H), factor of h where it enters weight_hh
    total: int  # at least the sum of the lengths: sizes what is kept for backward
    batch_first: bool
    recompute: bool  # keep the states alone, and build the gates again in the backward pass
    batch_sizes: Tensor | None = None  # (T,) int64 of a packed x, as PackedSequence's; y is packed too, (N, D*H)
    packed_batch: int = 0  # B of a packed x: batch_sizes[0]


class Sizes(NamedTuple):
    """Letters of the legend."""

    B: int
    T: int
    I: int  # noqa: E741  # the letter of dims.py
    H: int
    D: int


def runs(x: Tensor) -> bool:
    """Whether the native core takes this tensor: float32 or float64 on the CPU (or without data)."""
    return x.device.type in ("cpu", "meta") and x.dtype in DTYPES and _available()


def _available() -> bool:
    """Compiled code takes the answer as it stands: the loading of the core is not to be traced."""
    return native.available()


# All that torch.compiler.assume_constant_result does, whose call imports torch._dynamo: 1.4 s of every start.
_available._dynamo_marked_constant = True  # type: ignore[attr-defined]


def layer(given: Inputs) -> Ways:
    """y in the layout of x, (B, T, D*H) or (T, B, D*H), and the final h and c, (D, B, H); c is (0,) but for the LSTM.

    Raises: LayerError for shapes that do not fit together; MemoryError.
    """
    if torch.compiler.is_compiling() or not _plain(given):
        return torch.ops.tidegate.recurrent(*given)  # type: ignore[no-any-return]
    if transformed():
        return _apply(_Transformed, True, *_flat(given))[:3]  # type: ignore[no-any-return]
    if _differentiable(given):
        return _apply(_Layer, True, *_flat(given))  # type: ignore[no-any-return]
    return _run(given, keep=False)[:3]


def _apply(function: Any, *arguments: Any) -> Any:
    """`Function.apply`, which torch leaves untyped."""
    return function.apply(*arguments)


def _plain(given: Inputs) -> bool:
    if _dispatch_modes() or _tracing_state() is not None:
        return False
    return type(given.x) in (Tensor, Parameter) and type(given.weights[0]) in (Tensor, Parameter) and given.x.device.type == "cpu"


def _differentiable(given: Inputs) -> bool:
    if torch.is_grad_enabled() and given.weights[0].requires_grad:  # the common case, first
        return True
    tensors = [t for t in (*given[1:5], *given.weights, *given[6:9]) if isinstance(t, Tensor)]
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return True
    return has_tangent(tensors)


def sizes(given: Inputs) -> Sizes:
    """Sizes of a layer whose tensors fit together. Raises: LayerError."""
    if given.cell not in _GATES:
        raise LayerError(f"cell: expected one of {', '.join(_GATES)}, got {given.cell!r}")
    x, weights = given.x, given.weights
    if len(weights) not in (2, 4, 8) or (len(weights) == 4 and weights[2].dim() not in (1, 2)):
        raise LayerError(f"weights: expected 2 or 4 a direction, got {len(weights)}")
    each = _each(weights)
    directions, hidden = len(weights) // each, weights[1].shape[-1]
    packed = given.batch_sizes is not None
    if x.dim() != (2 if packed else 3) or x.dtype not in DTYPES:
        axes = "two" if packed else "three"
        raise LayerError(f"x: expected {axes} axes of float32 or float64, got {tuple(x.shape)} of {x.dtype}")
    batch, steps = _extent(given)
    found = Sizes(batch, steps, x.shape[-1], hidden, directions)
    gates = _GATES[given.cell] * hidden
    state = (directions, batch, hidden)
    zone = (directions, _zone_steps(given, steps), batch, hidden)
    wanted: list[tuple[str, Tensor | None, tuple[int, ...]]]
    wanted = [("h0", given.h0, state), ("c0", given.c0, state), ("drop_h", given.drop_h, state)]
    wanted += [("zone_h", given.zone_h, zone), ("zone_c", given.zone_c, zone)]
    shapes = ((gates, found.I), (gates, hidden), (gates,), (gates,))
    wanted += [(f"weights[{k}]", w, shapes[k % each]) for k, w in enumerate(weights)]
    for name, tensor, shape in wanted:
        if tensor is not None and (tuple(tensor.shape) != shape or tensor.dtype != x.dtype or tensor.device != x.device):
            got = f"{tuple(tensor.shape)} of {tensor.dtype}"
            where = "" if tensor.device == x.device else f" on {tensor.device}; expected it on {x.device} as x"
            raise LayerError(f"{name}: expected {shape} of {x.dtype}, got {got}{where}")
    lengths = given.lengths
    if packed:
        _check_packed(given)
    elif lengths is None and given.total < batch * steps:
        raise LayerError(f"total: expected {batch * steps} for rows without lengths, got {given.total}")
    if lengths is not None and (tuple(lengths.shape) != (batch,) or lengths.dtype != torch.int64):
        raise LayerError(f"lengths: expected ({batch},) of torch.int64, got {tuple(lengths.shape)} of {lengths.dtype}")
    return found


def _extent(given: Inputs) -> tuple[int, int]:
    """B and T."""
    if given.batch_sizes is not None:
        return given.packed_batch, given.batch_sizes.shape[0]
    shape = given.x.shape
    return (shape[0], shape[1]) if given.batch_first else (shape[1], shape[0])


def _check_packed(given: Inputs) -> None:
    sizes: Any = given.batch_sizes
    if sizes.dtype != torch.int64 or sizes.dim() != 1 or given.lengths is not None or given.total != given.x.shape[0]:
        raise LayerError(
            f"batch_sizes: expected (T,) of torch.int64 that add up to the {given.x.shape[0]} rows of x, and no lengths, got "
            f"{tuple(sizes.shape)} of {sizes.dtype}, total {given.total}"
        )


def _each(weights: tuple[Tensor, ...]) -> int:
    """Weights of a direction: 2 without biases."""
    return 2 if len(weights) == 2 or weights[2].dim() == 2 else 4


def _zone_steps(given: Inputs, steps: int) -> int:
    """1 or T: both masks have the same."""
    zone = given.zone_h if given.zone_h is not None else given.zone_c
    return 1 if zone is not None and zone.dim() == 4 and zone.shape[1] == 1 else steps


def side_by_side(x: Tensor) -> Tensor:
    """With neighbouring features side by side, as the core reads them."""
    x = x.resolve_neg()
    return x if x.shape[-1] <= 1 or x.stride(-1) == 1 else x.contiguous()


def whole(x: MaybeTensor) -> MaybeTensor:
    """Contiguous, as the core reads what has no strides."""
    return x if x is None else x.resolve_neg().contiguous()


def _described(given: Inputs) -> tuple[Inputs, native.LayerCall]:
    """The same values where the core can read them, and the core's arguments, which last as long. Raises: LayerError."""
    _let_read()
    call = native.layer_call(given)
    if call is None:
        size = sizes(given)
        _check_rows(given)
        given = _readable(given)
        call = _call(given, size)
    return given, call


@lru_cache(maxsize=1)
def _let_read() -> None:
    """Once: tensors may be read by the core itself, where torch has the table for it (2.10 and later)."""
    table = getattr(Tensor, "__dlpack_c_exchange_api__", None)
    if table is not None:
        native.read_tensors(table, Tensor, Parameter)


def _readable(given: Inputs) -> Inputs:
    return Inputs(
        given.cell, side_by_side(given.x), whole(given.lengths), whole(given.h0), whole(given.c0),
        tuple([whole(w) for w in given.weights]), whole(given.zone_h), whole(given.zone_c), whole(given.drop_h),
        *given[9:12], whole(given.batch_sizes), given.packed_batch,
    )  # fmt: skip


def _check_rows(given: Inputs) -> None:
    """That packed sizes stay within x: what the core cannot know. Only here are all tensors real. Raises: LayerError."""
    sizes, rows = given.batch_sizes, given.x.shape[0]
    if sizes is not None and (not sizes.is_cpu or int(sizes.sum()) != rows):
        got = int(sizes.sum()) if sizes.is_cpu else f"sizes on {sizes.device}"
        raise LayerError(f"batch_sizes: expected a sum of {rows}, the rows of x, got {got}")


def _at(x: Tensor | None) -> int:
    """Where the numbers stand; 0 for None. Raises: LayerError for a tensor without memory, which must not pass for None."""
    place = 0 if x is None else x.data_ptr()
    if not place and x is not None and x.numel():
        raise LayerError(f"a tensor of shape {tuple(x.shape)}: expected numbers in memory, got {type(x).__name__} without any")
    return place


def _strides(x: Tensor, batch_first: bool) -> tuple[int, int]:
    """Strides of the batch and of time; packed, of its rows."""
    if x.dim() == 2:
        return x.stride(0), 0
    return (x.stride(0), x.stride(1)) if batch_first else (x.stride(1), x.stride(0))


def _addresses(weights: tuple[Tensor, ...] | list[Tensor], each: int) -> tuple[int, ...]:
    found = tuple([_at(w) for w in weights])
    if each == 4:
        return found
    return tuple([a for k in range(0, len(found), 2) for a in (found[k], found[k + 1], 0, 0)])


def _call(given: Inputs, size: Sizes) -> native.LayerCall:
    """The core's arguments; `given` is readable and outlives the call."""
    x_batch, x_step = _strides(given.x, given.batch_first)
    return native.LayerCall(
        native.CELLS[given.cell], DTYPES[given.x.dtype], size.D, given.recompute, size.B, size.T, size.I, size.H,
        _at(given.lengths), _at(given.x), x_batch, x_step, _addresses(given.weights, _each(given.weights)),
        _at(given.h0), _at(given.c0), _at(given.zone_h), _at(given.zone_c), _zone_steps(given, size.T),
        _at(given.drop_h), _at(given.batch_sizes),
    )  # fmt: skip


@lru_cache(maxsize=256)
def _reserve_rate(cell: str, dtype: torch.dtype, directions: int, hidden: int, recompute: bool, isa: str) -> tuple[int, int]:
    """Bytes of a reserve without steps, and what each step of a row adds."""

    def of(batch: int) -> int:
        none = (0,) * (4 * directions)
        sizes = (native.CELLS[cell], DTYPES[dtype], directions, recompute, batch, 1, 0, hidden)
        return native.reserve_bytes(native.LayerCall(*sizes, 0, 0, 0, 0, none, 0, 0, 0, 0, 1, 0))

    return of(0), of(1) - of(0)


def reserve_bytes(given: Inputs, size: Sizes) -> int:
    """Bytes that forward keeps for backward: a function of sizes and `total` alone, so that fake tensors have it too."""
    base, rate = _reserve_rate(given.cell, given.x.dtype, int(size.D), int(size.H), given.recompute, native.isa())
    return base + rate * given.total


def _outputs(given: Inputs, size: Sizes, keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    new = given.x.new_empty
    y, hn = new((*given.x.shape[:-1], size.D * size.H)), new((size.D, size.B, size.H))
    cn = torch.empty_like(hn) if given.cell == "lstm" else new(0)
    return y, hn, cn, new(reserve_bytes(given, size) if keep else 0, dtype=torch.uint8)


def memory_error(error: RuntimeError) -> Exception:
    """torch's error for memory that could not be had as Python's own; another one as it is."""
    return MemoryError(str(error)) if "allocate memory" in str(error) else error


def _run(given: Inputs, *, keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Forward through the core. Raises: LayerError for shapes that do not fit together."""
    follow_torch()
    try:
        given, call = _described(given)
        dtype, size = given.x.dtype, Sizes(call.batch, call.steps, call.input_size, call.hidden_size, call.directions)
        y, hn = room((*given.x.shape[:-1], size.D * size.H), dtype), room((size.D, size.B, size.H), dtype)
        cn = room((size.D, size.B, size.H) if given.cell == "lstm" else (0,), dtype)
        reserve = room((reserve_bytes(given, size) if keep else 0,), torch.uint8)
    except RuntimeError as error:
        raise memory_error(error) from None
    if keep and given.lengths is not None and native.reserve_bytes(call) > reserve.numel():
        raise LayerError(f"total: expected at least the sum of the lengths, got {given.total}")
    kept = reserve.data_ptr() if keep else 0
    native.forward(call, y.data_ptr(), *_strides(y, given.batch_first), hn.data_ptr(), cn.data_ptr(), kept)
    return y, hn, cn, reserve


class Incoming(NamedTuple):
    """What the backward pass is given beside the inputs. Gradients: None for zero."""

    y: Tensor
    reserve: Tensor
    dy: Tensor | None
    dhn: Tensor | None
    dcn: Tensor | None
    wanted: tuple[bool, ...]  # gradients of x, h0, c0 and each weight


Gradients: TypeAlias = tuple[Tensor, Tensor, Tensor, list[Tensor]]


def _gradients(given: Inputs, wanted: tuple[bool, ...], size: Sizes) -> Gradients:
    """Room for those that are wanted, contiguous; (0,) for the others."""
    new, state = given.x.new_empty, (size.D, size.B, size.H)
    dx, dh0, dc0 = (new(s if want else 0) for s, want in zip((given.x.shape, state, state), wanted[:3], strict=True))
    return dx, dh0, dc0, [new(w.shape if want else 0) for w, want in zip(given.weights, wanted[3:], strict=True)]


def _run_backward(given: Inputs, incoming: Incoming) -> list[Tensor | None]:
    """Gradients of x, h0, c0 and each weight; None where they are not wanted."""
    follow_torch()
    y, reserve, dy, dhn, dcn, wanted = incoming
    try:
        given, call = _described(given)
        y, dy, dhn, dcn = side_by_side(y), None if dy is None else side_by_side(dy), whole(dhn), whole(dcn)
        if reserve.data_ptr() % 64:  # saved and brought back by a hook that does not align
            reserve = reserve.clone()
        _check_kept(given, call, y, reserve)
        # dx is contiguous: of x's strides some may overlap, or part its features.
        state = (call.directions, call.batch, call.hidden_size)
        shapes = (given.x.shape, state, state, *[w.shape for w in given.weights])
        found = [room(shape, y.dtype) if want else None for shape, want in zip(shapes, wanted, strict=True)]
    except RuntimeError as error:
        raise memory_error(error) from None
    if not call.batch:  # no row: the core leaves without a reserve
        for gradient in found:
            if gradient is not None:
                gradient.zero_()
        return found
    dweights = [_at(g) for g in found[3:]]
    if len(dweights) == 2 * call.directions:
        dweights = [a for k in range(0, len(dweights), 2) for a in (dweights[k], dweights[k + 1], 0, 0)]
    dx, dh0, dc0 = found[:3]
    first = given.batch_first
    native.backward(
        call, y.data_ptr(), *_strides(y, first), reserve.data_ptr(), _at(dy), *((0, 0) if dy is None else _strides(dy, first)),
        _at(dhn), _at(dcn), _at(dx), *((0, 0) if dx is None else _strides(dx, first)), _at(dh0), _at(dc0), tuple(dweights),
    )  # fmt: skip
    return found


def _check_kept(given: Inputs, call: native.LayerCall, y: Tensor, reserve: Tensor) -> None:
    """What was saved belongs to these inputs: weights may have been replaced since, hooks may give back something else."""
    size = Sizes(call.batch, call.steps, call.input_size, call.hidden_size, call.directions)
    expected = (*given.x.shape[:-1], size.D * size.H)
    if tuple(y.shape) != expected or y.dtype != given.x.dtype or reserve.numel() < reserve_bytes(given, size):
        raise LayerError(
            f"backward: expected the outputs {expected} of {given.x.dtype} that forward made, got {tuple(y.shape)} of {y.dtype}; "
            "weights, inputs and saved tensors must stay as they were until backward is done"
        )


def _flat(given: Inputs) -> tuple[Any, ...]:
    """As autograd wants them, no tensor inside a tuple: what has no gradient, then x, h0, c0, masks, weights."""
    cell, x, lengths, h0, c0, weights, zone_h, zone_c, drop_h, total, batch_first, recompute, batch_sizes, packed_batch = given
    rest = (cell, total, batch_first, recompute, packed_batch)
    return rest, lengths, batch_sizes, x, h0, c0, zone_h, zone_c, drop_h, *weights


def _inputs(
    rest: tuple[str, int, bool, bool, int], lengths: Tensor | None, batch_sizes: Tensor | None, x: Tensor, h0: Tensor | None,
    c0: Tensor | None, zone_h: Tensor | None, zone_c: Tensor | None, drop_h: Tensor | None, *weights: Tensor,
) -> Inputs:  # fmt: skip
    """`_flat` back again."""
    cell, total, batch_first, recompute, packed_batch = rest
    return Inputs(
        cell, x, lengths, h0, c0, weights, zone_h, zone_c, drop_h, total, batch_first, recompute, batch_sizes, packed_batch
    )


class _Layer(torch.autograd.Function):
    """(direct, *_flat(inputs)) -> y, hn, cn. `direct`: past the dispatcher."""

    @staticmethod
    def forward(ctx: Any, direct: bool, *flat: Any) -> Ways:
        y, hn, cn, reserve = _kept(direct, _inputs(*flat))
        _save(ctx, direct, flat, y, cn, reserve)
        return y, hn, cn

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dhn: Tensor | None, dcn: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        y, reserve, *tensors = ctx.saved_tensors
        given = _inputs(ctx.rest, *tensors)
        refuse_batched(dy, dhn, dcn)
        need = ctx.needs_input_grad[4:]  # from x on
        if need[3] or need[4] or need[5]:
            raise LayerError("zone_h, zone_c, drop_h: expected masks without gradients; detach them")
        wanted = (*need[:3], *need[6:])
        incoming = Incoming(y, reserve, dy, dhn, dcn if given.cell == "lstm" else None, wanted)
        found: list[Tensor | None]
        if not ctx.direct:
            *state, dweights = torch.ops.tidegate.recurrent_backward(*given, *incoming)
            found = [g if want else None for g, want in zip((*state, *dweights), wanted, strict=True)]
        elif torch.is_grad_enabled():  # create_graph=True
            found = _apply(_Twice, True, wanted, *_flat(given), *incoming[:5])
        else:
            found = _run_backward(given, incoming)
        return (None, None, None, None, *found[:3], None, None, None, *found[3:])

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise LayerError(FORWARD_MODE)


class _Transformed(torch.autograd.Function):
    """_Layer in the form that torch.func asks for, which costs three times as much a call."""

    backward, jvp = _Layer.backward, _Layer.jvp

    @staticmethod
    def forward(direct: bool, *flat: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return _kept(direct, _inputs(*flat))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        y, _, cn, reserve = output
        _save(ctx, inputs[0], inputs[1:], y, cn, reserve)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        raise LayerError(VMAP)


def _kept(direct: bool, given: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if direct:
        return _run(given, keep=True)
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.tidegate.recurrent_keep(*given)  # type: ignore[no-any-return]


def _save(ctx: Any, direct: bool, flat: tuple[Any, ...], y: Tensor, cn: Tensor, reserve: Tensor) -> None:
    rest, lengths, batch_sizes, *tensors = flat
    ctx.direct, ctx.rest = direct, rest
    ctx.set_materialize_grads(False)
    if rest[0] == "lstm":
        ctx.mark_non_differentiable(reserve)
    else:
        ctx.mark_non_differentiable(reserve, cn)
    ctx.save_for_backward(y, reserve, _savable(lengths), _savable(batch_sizes), *tensors)


def _savable(x: Tensor | None) -> Tensor | None:
    """A copy of what was made under torch.inference_mode, which autograd does not keep."""
    return x.clone() if x is not None and x.is_inference() else x


class _Twice(torch.autograd.Function):
    """The backward pass where its gradients may be differentiated again: that raises. (direct, wanted, *_flat, 5 of Incoming)."""

    @staticmethod
    def forward(direct: bool, wanted: tuple[bool, ...], *arguments: Any) -> tuple[Tensor | None, ...]:
        given, incoming = _inputs(*arguments[:-5]), Incoming._make((*arguments[-5:], wanted))
        if direct:
            return tuple(_run_backward(given, incoming))
        with torch._C._AutoDispatchBelowAutograd():
            dx, dh0, dc0, dweights = torch.ops.tidegate.recurrent_backward(*given, *incoming)
        return (dx, dh0, dc0, *dweights)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise LayerError(SECOND)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        raise LayerError(VMAP)


def _recurrent(*arguments: Any) -> Ways:
    return _run(_given(arguments), keep=False)[:3]


def _recurrent_keep(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _run(_given(arguments), keep=True)


def _recurrent_backward(*arguments: Any) -> Gradients:
    given, incoming = _given(arguments[:_COUNT]), Incoming(*arguments[_COUNT:])
    _check_incoming(given, incoming, sizes(given))
    none = given.x.new_empty
    dx, dh0, dc0, *dweights = [none(0) if g is None else g for g in _run_backward(given, incoming)]
    return dx, dh0, dc0, dweights


def _given(arguments: tuple[Any, ...]) -> Inputs:
    return Inputs._make((*arguments[:5], tuple(arguments[5]), *arguments[6:]))


def _check_incoming(given: Inputs, incoming: Incoming, size: Sizes) -> None:
    y, state = (*given.x.shape[:-1], size.D * size.H), (size.D, size.B, size.H)
    parts = zip(("y", "dy", "dhn", "dcn"), (incoming.y, *incoming[2:5]), (y, y, state, state), strict=True)
    for name, tensor, shape in parts:
        if tensor is not None and (tuple(tensor.shape) != shape or tensor.dtype != given.x.dtype):
            raise LayerError(f"{name}: expected {shape} of {given.x.dtype}, got {tuple(tensor.shape)} of {tensor.dtype}")
    if len(incoming.wanted) != 3 + len(given.weights) or incoming.reserve.numel() < reserve_bytes(given, size):
        raise LayerError("wanted, reserve: expected a flag for x, h0, c0 and each weight, and the reserve of recurrent_keep")


def _fake(*arguments: Any) -> Ways:
    given = _given(arguments)
    return _outputs(given, sizes(given), keep=False)[:3]


def _fake_keep(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    given = _given(arguments)
    return _outputs(given, sizes(given), keep=True)


def _fake_backward(*arguments: Any) -> Gradients:
    given = _given(arguments[:_COUNT])
    return _gradients(given, tuple(arguments[_COUNT + 5]), sizes(given))


def _autograd(*arguments: Any) -> Ways:
    given = _given(arguments)
    if _differentiable(given):
        return _apply(_Layer, False, *_flat(given))  # type: ignore[no-any-return]
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.tidegate.recurrent(*given)  # type: ignore[no-any-return]


def _autograd_backward(*arguments: Any) -> Gradients:
    given, incoming = _given(arguments[:_COUNT]), arguments[_COUNT:]
    dx, dh0, dc0, *dweights = _apply(_Twice, False, incoming[5], *_flat(given), *incoming[:5])
    return dx, dh0, dc0, dweights


def _register() -> Any:
    library: Any = torch.library.Library("tidegate", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch leaves it untyped
    library.define(f"recurrent({_INPUTS}) -> (Tensor, Tensor, Tensor)")
    library.define(f"recurrent_keep({_INPUTS}) -> (Tensor, Tensor, Tensor, Tensor)")
    library.define(
        f"recurrent_backward({_INPUTS}, Tensor y, Tensor reserve, Tensor? dy, Tensor? dhn, Tensor? dcn, bool[] wanted)"
        " -> (Tensor, Tensor, Tensor, Tensor[])"
    )
    kernels = (("recurrent", _recurrent, _fake), ("recurrent_keep", _recurrent_keep, _fake_keep))
    for name, kernel, fake in (*kernels, ("recurrent_backward", _recurrent_backward, _fake_backward)):
        library.impl(name, kernel, "CPU")
        torch.library.register_fake(f"tidegate::{name}", fake, lib=library)
    library.impl("recurrent", _autograd, "Autograd")
    library.impl("recurrent_backward", _autograd_backward, "Autograd")
    return library


_LIBRARY = _register()  # operators live as long as this object
