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
from tidegate.nn.memory import borrow
from tidegate.nn.threads import follow_torch
from tidegate.nn.transforms import FORWARD_MODE, SECOND, VMAP, has_tangent, refuse_batched, transformed

DTYPES = {torch.float32: 0, torch.float64: 1}
_GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
_INPUTS = (
    "str cell, Tensor x, Tensor? lengths, Tensor? h0, Tensor? c0, Tensor[] weights, Tensor? zone_h, Tensor? zone_c, "
    "Tensor? drop_h, SymInt total, bool batch_first, bool recompute, Tensor? batch_sizes, SymInt packed_batch"
)
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
    sizes(given)
    if transformed():
        return _apply(_Transformed, True, *_flat(given))[:3]  # type: ignore[no-any-return]
    if _differentiable(given):
        return _apply(_Layer, True, *_flat(given))  # type: ignore[no-any-return]
    return _run(given, keep=False)[:3]


def _apply(function: Any, *arguments: Any) -> Any:
    """`Function.apply`, which torch leaves untyped."""
    return function.apply(*arguments)


def _plain(given: Inputs) -> bool:
    if torch._C._len_torch_dispatch_stack() or torch._C._get_tracing_state() is not None:
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
    zone = tuple((directions, _zone_steps(z, steps), batch, hidden) for z in (given.zone_h, given.zone_c))
    wanted: list[tuple[str, Tensor | None, tuple[int, ...]]]
    wanted = [("h0", given.h0, state), ("c0", given.c0, state), ("drop_h", given.drop_h, state)]
    wanted += [("zone_h", given.zone_h, zone[0]), ("zone_c", given.zone_c, zone[1])]
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


def _zone_steps(zone: Tensor | None, steps: int) -> int:
    return 1 if zone is not None and zone.dim() == 4 and zone.shape[1] == 1 else steps


def _sizes_unchecked(given: Inputs) -> Sizes:
    return Sizes(*_extent(given), given.x.shape[-1], given.weights[1].shape[1], len(given.weights) // _each(given.weights))


def side_by_side(x: Tensor) -> Tensor:
    """With neighbouring features side by side, as the core reads them."""
    x = x.resolve_neg()
    return x if x.shape[-1] <= 1 or x.stride(-1) == 1 else x.contiguous()


def whole(x: MaybeTensor) -> MaybeTensor:
    """Contiguous, as the core reads what has no strides."""
    return x if x is None else x.resolve_neg().contiguous()


def _readable(given: Inputs) -> Inputs:
    """The same values where the core can read them."""
    x, others = given.x, (*given[2:5], *given.weights, *given[6:9], given.batch_sizes)
    as_they_stand = (x.stride(-1) == 1 or x.shape[-1] <= 1) and not x.is_neg()
    if as_they_stand and all(o is None or (o.is_contiguous() and not o.is_neg()) for o in others):
        return given
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
    return 0 if x is None else x.data_ptr()


def _strides(x: Tensor, batch_first: bool) -> tuple[int, int]:
    """Strides of the batch and of time; packed, of its rows."""
    if x.dim() == 2:
        return x.stride(0), 0
    return (x.stride(0), x.stride(1)) if batch_first else (x.stride(1), x.stride(0))


def _addresses(weights: tuple[Tensor, ...] | list[Tensor], each: int) -> tuple[int, ...]:
    found = tuple([w.data_ptr() for w in weights])
    if each == 4:
        return found
    return tuple([a for k in range(0, len(found), 2) for a in (found[k], found[k + 1], 0, 0)])


def _call(given: Inputs, size: Sizes) -> native.LayerCall:
    """The core's arguments; `given` is readable and outlives the call."""
    x_batch, x_step = _strides(given.x, given.batch_first)
    zone = given.zone_h if given.zone_h is not None else given.zone_c
    return native.LayerCall(
        native.CELLS[given.cell], DTYPES[given.x.dtype], size.D, given.recompute, size.B, size.T, size.I, size.H,
        _at(given.lengths), given.x.data_ptr(), x_batch, x_step, _addresses(given.weights, _each(given.weights)),
        _at(given.h0), _at(given.c0), _at(given.zone_h), _at(given.zone_c), size.T if zone is None else zone.shape[1],
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
    """Forward through the core; shapes are checked by the caller."""
    follow_torch()
    _check_rows(given)
    size = _sizes_unchecked(given)
    try:
        given = _readable(given)
        y, hn, cn, reserve = _outputs(given, size, False)
        if keep:
            reserve = borrow(reserve_bytes(given, size))
    except RuntimeError as error:
        raise memory_error(error) from None
    call = _call(given, size)
    if keep and given.lengths is not None and native.reserve_bytes(call) > reserve.numel():
        raise LayerError(f"total: expected at least the sum of the lengths, got {given.total}")
    native.forward(
        call, y.data_ptr(), *_strides(y, given.batch_first), hn.data_ptr(), cn.data_ptr(), reserve.data_ptr() if keep else 0
    )
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
    new = given.x.new_empty
    state = (size.D, size.B, size.H)
    weights = [new(w.shape) if want else new(0) for w, want in zip(given.weights, wanted[3:], strict=True)]
    dx = new(given.x.shape) if wanted[0] else new(0)  # of x's strides some overlap, or part its features
    return dx, new(state) if wanted[1] else new(0), new(state) if wanted[2] else new(0), weights


def _run_backward(given: Inputs, incoming: Incoming) -> Gradients:
    follow_torch()
    _check_rows(given)
    size = _sizes_unchecked(given)
    y, reserve, dy, dhn, dcn, wanted = incoming
    try:
        given = _readable(given)
        y, dy, dhn, dcn = side_by_side(y), None if dy is None else side_by_side(dy), whole(dhn), whole(dcn)
        if reserve.data_ptr() % 64:  # saved and brought back by a hook that does not align
            reserve = reserve.clone()
        dx, dh0, dc0, dweights = found = _gradients(given, wanted, size)
    except RuntimeError as error:
        raise memory_error(error) from None
    if not size.B:  # no row: the core leaves without a reserve
        for gradient in dweights:
            gradient.zero_()
        return found
    slots = [g.data_ptr() if want else 0 for g, want in zip(dweights, wanted[3:], strict=True)]
    if _each(given.weights) == 2:
        slots = [a for k in range(0, len(slots), 2) for a in (slots[k], slots[k + 1], 0, 0)]
    first = given.batch_first
    native.backward(
        _call(given, size), y.data_ptr(), *_strides(y, first), reserve.data_ptr(),
        _at(dy), *((0, 0) if dy is None else _strides(dy, first)), _at(dhn), _at(dcn),
        dx.data_ptr() if wanted[0] else 0, *(_strides(dx, first) if wanted[0] else (0, 0)),
        dh0.data_ptr() if wanted[1] else 0, dc0.data_ptr() if wanted[2] else 0, tuple(slots),
    )  # fmt: skip
    return found


def _flat(given: Inputs) -> tuple[Any, ...]:
    """As autograd wants them: no tensor inside a tuple."""
    return (*given[:5], *given[6:], *given.weights)


_COUNT = len(Inputs._fields)
_OTHERS = _COUNT - 1  # of _flat before the weights


def _inputs(flat: tuple[Any, ...]) -> Inputs:
    return Inputs._make((*flat[:5], tuple(flat[_OTHERS:]), *flat[5:_OTHERS]))


class _Layer(torch.autograd.Function):
    """(direct, *_flat(inputs)) -> y, hn, cn. `direct`: past the dispatcher."""

    @staticmethod
    def forward(ctx: Any, direct: bool, *flat: Any) -> Ways:
        given = _inputs(flat)
        y, hn, cn, reserve = _kept(direct, given)
        _save(ctx, direct, given, y, cn, reserve)
        return y, hn, cn

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dhn: Tensor | None, dcn: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        y, reserve, x, lengths, h0, c0, zone_h, zone_c, drop_h, batch_sizes, *weights = ctx.saved_tensors
        cell, total, batch_first, recompute, packed_batch = ctx.rest
        given = Inputs(
            cell, x, lengths, h0, c0, tuple(weights), zone_h, zone_c, drop_h, total, batch_first, recompute, batch_sizes,
            packed_batch,
        )  # fmt: skip
        refuse_batched(dy, dhn, dcn)
        need = ctx.needs_input_grad[1:]
        if any(need[5:8]):
            raise LayerError("zone_h, zone_c, drop_h: expected masks without gradients; detach them")
        wanted = (need[1], need[3], need[4], *need[_OTHERS:])
        incoming = Incoming(y, reserve, dy, dhn, dcn if cell == "lstm" else None, wanted)
        if not ctx.direct:
            dx, dh0, dc0, dweights = torch.ops.tidegate.recurrent_backward(*given, *incoming)
        elif torch.is_grad_enabled():  # create_graph=True
            dx, dh0, dc0, *dweights = _apply(_Twice, True, len(weights), *given[:5], *given[6:], *incoming[:5], wanted, *weights)
        else:
            dx, dh0, dc0, dweights = _run_backward(given, incoming)
        some = [g if want else None for g, want in zip((dx, dh0, dc0, *dweights), wanted, strict=True)]
        return (None, None, some[0], None, some[1], some[2], *(None,) * (_OTHERS - 5), *some[3:])

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise LayerError(FORWARD_MODE)


class _Transformed(torch.autograd.Function):
    """_Layer in the form that torch.func asks for, which costs three times as much a call."""

    backward, jvp = _Layer.backward, _Layer.jvp

    @staticmethod
    def forward(direct: bool, *flat: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return _kept(direct, _inputs(flat))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        y, _, cn, reserve = output
        _save(ctx, inputs[0], _inputs(inputs[1:]), y, cn, reserve)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        raise LayerError(VMAP)


def _kept(direct: bool, given: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if direct:
        return _run(given, keep=True)
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.tidegate.recurrent_keep(*given)  # type: ignore[no-any-return]


def _save(ctx: Any, direct: bool, given: Inputs, y: Tensor, cn: Tensor, reserve: Tensor) -> None:
    ctx.direct, ctx.rest = direct, (given.cell, *given[9:12], given.packed_batch)
    ctx.set_materialize_grads(False)
    if given.cell == "lstm":
        ctx.mark_non_differentiable(reserve)
    else:
        ctx.mark_non_differentiable(reserve, cn)
    lengths, batch_sizes = _savable(given.lengths), _savable(given.batch_sizes)
    ctx.save_for_backward(y, reserve, given.x, lengths, *given[3:5], *given[6:9], batch_sizes, *given.weights)


def _savable(x: Tensor | None) -> Tensor | None:
    """A copy of what was made under torch.inference_mode, which autograd does not keep."""
    return x.clone() if x is not None and x.is_inference() else x


class _Twice(torch.autograd.Function):
    """The backward pass where its gradients may be differentiated again: that raises."""

    @staticmethod
    def forward(direct: bool, count: int, *flat: Any) -> tuple[Tensor, ...]:
        head, weights = flat[: len(flat) - count], flat[len(flat) - count :]
        given, incoming = Inputs._make((*head[:5], weights, *head[5:_OTHERS])), Incoming(*head[_OTHERS:])
        if direct:
            dx, dh0, dc0, dweights = _run_backward(given, incoming)
        else:
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
    given = _given(arguments)
    sizes(given)
    return _run(given, keep=False)[:3]


def _recurrent_keep(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    given = _given(arguments)
    sizes(given)
    return _run(given, keep=True)


def _recurrent_backward(*arguments: Any) -> Gradients:
    given, incoming = _given(arguments[:_COUNT]), Incoming(*arguments[_COUNT:])
    _check_incoming(given, incoming, sizes(given))
    return _run_backward(given, incoming)


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
    given = _readable(_given(arguments[:_COUNT]))
    return _gradients(given, tuple(arguments[_COUNT + 5]), sizes(given))


def _autograd(*arguments: Any) -> Ways:
    given = _given(arguments)
    if _differentiable(given):
        return _apply(_Layer, False, *_flat(given))  # type: ignore[no-any-return]
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.tidegate.recurrent(*given)  # type: ignore[no-any-return]


def _autograd_backward(*arguments: Any) -> Gradients:
    given, incoming = _given(arguments[:_COUNT]), arguments[_COUNT:]
    dx, dh0, dc0, *dweights = _apply(_Twice, False, len(given.weights), *given[:5], *given[6:], *incoming, *given.weights)
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
