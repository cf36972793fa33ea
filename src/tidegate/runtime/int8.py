"""A net in 8 bits: weights of int8 with a scale a row, whole numbers in the cells. In: float32 weights, ranges. Out: NetWeights.

`NetWeights` are a net's weights as float32, each on the grid of its int8 and scale, and beside them what the kernels need to
compute in whole numbers: `csrc/fixed.h` says how, runtime/whole.py is the readable twin. The model file holds int8, scales and
exponents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.errors import FormatError, TaskError, shown
from tidegate.native import WholeLayer, WholeProduct
from tidegate.spec import Block, Embed, Linear, Recurrent, Spec, block_parameters, weight_name

Floats = npt.NDArray[np.floating]
UNITS = 16  # sums and states are whole numbers of 2^-16
READ = 13  # what a product reads of a state: of 2^-13
MOST_READ, MOST = 8191, (1 << 23) - 1  # of what products read; of sums and states
MOST_INPUTS = 2064  # 127 * 8191 * 2064 fits 32 bits
EXPONENTS = (-16, 30)
MOST_SHIFT = 62
MOST_SCALE, MOST_FACTOR = 2.0**20, 1 << 30  # of a row's weights; of a row's sums, in whole numbers


@final
class NetWeights(dict[str, Floats]):
    """Weights by `block.weight`, float32. scales: (rows,) of every weight in int8; weight = int8 * scale. exponents: by block.

    A recurrent block has an exponent a layer, that of what the layer reads; a linear one that of what it reads and of what it
    gives; an embedding that of its vectors, so that a layer that reads them reads whole numbers.
    """

    def __init__(
        self, weights: Mapping[str, Floats], scales: Mapping[str, Floats], exponents: Mapping[str, tuple[int, ...]]
    ) -> None:
        super().__init__(weights)
        self.scales, self.exponents = dict(scales), dict(exponents)

    def int8(self, name: str) -> npt.NDArray[np.int8]:
        """A weight's int8, as the file holds it."""
        return whole_weight(self[name], self.scales[name])


def part_of(weights: Mapping[str, Floats], spec: Spec) -> Mapping[str, Floats]:
    """The weights of a net that is a part of the one whose weights are given."""
    names = spec.parameters()
    own = {name: weights[name] for name in names}
    if isinstance(weights, NetWeights):
        blocks = {block.name for block in spec.blocks}
        scales = {name: scale for name, scale in weights.scales.items() if name in names}
        return NetWeights(own, scales, {name: e for name, e in weights.exponents.items() if name in blocks})
    if isinstance(weights, Watched):
        return Watched(own, weights.highest)
    return own


@final
class Watched(dict[str, Floats]):
    """Weights of a net whose blocks are watched (runtime/calibrate.py). highest: by block, the largest |x| so far."""

    def __init__(self, weights: Mapping[str, Floats], highest: dict[str, float] | None = None) -> None:
        super().__init__(weights)
        self.highest: dict[str, float] = {} if highest is None else highest


def whole_weight(weight: Floats, scale: Floats) -> npt.NDArray[np.int8]:
    """The int8 of a weight on its grid."""
    rows = np.where(scale > 0, scale, 1.0).astype(np.float64)[:, None]
    return np.rint(np.asarray(weight, np.float64) / rows).astype(np.int8)


def quantized(spec: Spec, weights: Mapping[str, Floats], highest: Mapping[str, float]) -> NetWeights:
    """A net in 8 bits.

    Args:  highest: by block, the largest |x| that a recurrent or linear block read on the calibration data.
    Raises: TaskError for weights that the whole numbers do not hold.
    """
    found = {name: np.asarray(weight, np.float32) for name, weight in weights.items()}
    scales: dict[str, Floats] = {}
    exponents: dict[str, tuple[int, ...]] = {}
    for block in sorted(spec.blocks, key=lambda block: not isinstance(block, Embed)):  # a shared table is an embedding's first
        reason = refusal(block)
        if isinstance(block, Recurrent) and reason:
            raise TaskError(f"int8: block {block.name!r} {reason}")
        if isinstance(block, Embed):
            _embedding(block, found, scales, exponents)
        elif isinstance(block, Recurrent):
            _recurrent(block, found, scales, exponents, checked_range(block.name, highest.get(block.name, 1.0)))
        elif isinstance(block, Linear) and not reason and block.name not in exponents:
            name = weight_name(block, "weight")
            alike = [b for b in spec.blocks if isinstance(b, Linear) and weight_name(b, "weight") == name]
            most = max(checked_range(b.name, highest.get(b.name, 1.0)) for b in alike)
            _linear(alike, found, scales, exponents, most)
    net = NetWeights(found, scales, exponents)
    if excess := _excess(spec, net):
        raise TaskError(f"int8: {excess} holds more than whole numbers hold; train it again, with smaller weights")
    return net


def refusal(block: Block) -> str | None:
    """Why a block's products are not made of whole numbers."""
    if isinstance(block, Recurrent):
        if block.cell == "rnn_relu":
            return "is an rnn with ReLU, whose state has no bound; train with cell='gru' or 'lstm' (--cell gru)"
        widths = (block.input_size, block.directions * block.hidden_size if block.num_layers > 1 else block.hidden_size)
        if max(widths) > MOST_INPUTS:
            return f"reads {max(widths):,} numbers, of which 32 bits hold sums of {MOST_INPUTS:,}; make it smaller"
    if isinstance(block, Linear) and block.input_size > MOST_INPUTS:
        return f"reads {block.input_size:,} numbers, of which 32 bits hold sums of {MOST_INPUTS:,}"
    return None


def checked_range(name: str, highest: float) -> float:
    """How large what a block reads may be. Raises: TaskError where no exponent holds it."""
    most = MOST_READ * 2.0 ** -EXPONENTS[0]
    if highest > most:
        raise TaskError(
            f"int8: block {name!r} reads numbers up to {highest:.3g}, whole numbers hold {most:.3g}; "
            "scale the inputs and train again"
        )
    return highest


def exponent_of(highest: float) -> int:
    """The largest e with highest * 2^e <= 8191, from -16 to 30."""
    if not highest > 0.0:
        return READ
    return min(max(math.floor(math.log2(MOST_READ / max(highest, 2.0**-60))), EXPONENTS[0]), EXPONENTS[1])


def _rows(weights: dict[str, Floats], scales: dict[str, Floats], name: str) -> None:
    """A weight onto the grid of its rows: the largest of a row is 127."""
    if name in scales:
        return
    weight = weights[name].astype(np.float64)
    scale = (np.abs(weight).max(1, initial=0.0) / 127.0).astype(np.float32)
    whole = np.clip(np.rint(weight / np.where(scale > 0, scale, 1.0).astype(np.float64)[:, None]), -127, 127)
    weights[name], scales[name] = _on_grid(whole, scale), scale


def _on_grid(whole: Floats, scale: Floats) -> Floats:
    return (whole * scale.astype(np.float64)[:, None]).astype(np.float32)


def _embedding(
    block: Embed, weights: dict[str, Floats], scales: dict[str, Floats], exponents: dict[str, tuple[int, ...]]
) -> None:
    """Vectors of whole numbers 2^-e apart: int8 times a whole number from 1 to 255 of them."""
    name = weight_name(block, "weight")
    if name in scales:  # another embedding's too
        exponents[block.name] = (exponent_of(float(np.abs(weights[name]).max(initial=0.0)) * 1.01),)
        return
    table = weights[name].astype(np.float64)
    most = np.abs(table).max(1, initial=0.0)
    exponent = exponent_of(float(most.max(initial=0.0)) * 1.01)  # the largest rounds up
    steps = np.clip(np.ceil(most * 2.0**exponent / 127.0), 1, 255)
    scale = (steps * 2.0**-exponent).astype(np.float32)
    whole = np.clip(np.rint(table / scale.astype(np.float64)[:, None]), -127, 127)
    weights[name], scales[name] = _on_grid(whole, scale), scale
    exponents[block.name] = (exponent,)


def _recurrent(
    block: Recurrent, weights: dict[str, Floats], scales: dict[str, Floats], exponents: dict[str, tuple[int, ...]], highest: float
) -> None:
    for name in block.parameters():
        full = f"{block.name}.{name}"
        if name.startswith("weight"):
            _rows(weights, scales, full)
        else:
            weights[full] = _bias(full, weights[full], UNITS)
    exponents[block.name] = (exponent_of(highest), *[READ] * (block.num_layers - 1))


def _linear(
    alike: Sequence[Linear], weights: dict[str, Floats], scales: dict[str, Floats], exponents: dict[str, tuple[int, ...]],
    highest: float,
) -> None:  # fmt: skip
    """Linear blocks of one table: in the same units."""
    name = weight_name(alike[0], "weight")
    _rows(weights, scales, name)
    reads = exponent_of(highest)
    biases = {f"{block.name}.bias": weights[f"{block.name}.bias"] for block in alike if block.bias}
    most = max((float(np.abs(bias).max(initial=0.0)) for bias in biases.values()), default=0.0)
    most += float(np.abs(weights[name].astype(np.float64)).sum(1).max(initial=0.0)) * MOST_READ * 2.0**-reads
    gives = min(max(math.floor(math.log2(MOST / most)) if most > 0 else UNITS, EXPONENTS[0]), 20)
    weights.update({full: _bias(full, bias, gives) for full, bias in biases.items()})
    exponents.update(dict.fromkeys((block.name for block in alike), (reads, gives)))


def _bias(name: str, bias: Floats, exponent: int) -> Floats:
    whole = np.rint(bias.astype(np.float64) * 2.0**exponent)
    if np.abs(whole).max(initial=0.0) > MOST:
        raise TaskError(
            f"int8: {name} holds {np.abs(bias).max():.3g}, more than whole numbers hold; train it again, with smaller weights"
        )
    return (whole * 2.0**-exponent).astype(np.float32)


class LinearParts(NamedTuple):
    """A linear layer in whole numbers."""

    product: WholeProduct
    shift: int
    x_exponent: int
    y_exponent: int


def layer_parts(net: NetWeights, block: Recurrent, layer: int) -> tuple[WholeLayer, ...]:
    """A layer of a recurrent block as the kernels read it, one part a direction."""
    made, reads = [], net.exponents[block.name][layer]
    for suffix in ("", "_reverse")[: block.directions]:
        names = [f"{block.name}.{part}_l{layer}{suffix}" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        factors = [net.scales[names[0]] * 2.0 ** (UNITS - reads), net.scales[names[1]] * 2.0 ** (UNITS - READ)]
        shift = _shift(factors)
        x, h = (
            WholeProduct(net.int8(weight), _scaled(factor, shift), _whole_bias(net[bias], UNITS))
            for weight, factor, bias in zip(names[:2], factors, names[2:], strict=True)
        )
        made.append(WholeLayer(x, h, shift, reads))
    return tuple(made)


def linear_parts(net: NetWeights, block: Linear) -> LinearParts:
    """A linear layer as the kernels read it."""
    name, (reads, gives) = weight_name(block, "weight"), net.exponents[block.name]
    factor = net.scales[name] * 2.0 ** (gives - reads)
    shift = _shift([factor])
    bias = net[f"{block.name}.bias"] if block.bias else np.zeros(block.output_size, np.float32)
    return LinearParts(WholeProduct(net.int8(name), _scaled(factor, shift), _whole_bias(bias, gives)), shift, reads, gives)


@final
class Int8Net:
    """What the operations ask of a net in whole numbers.

    Args:  net: whose arrays are those that the operations are called with.
    """

    def __init__(self, spec: Spec, net: NetWeights) -> None:
        self._net = net
        named = [(weight_name(b, "weight"), b) for b in spec.blocks if isinstance(b, Linear) and b.name in net.exponents]
        self._linears = [(net[name], block) for name, block in named]
        self._layers: dict[tuple[str, int], tuple[WholeLayer, ...]] = {}  # made once: NumPy asks at every call
        self._products: dict[str, LinearParts] = {}

    def layer(self, block: Recurrent, layer: int) -> tuple[WholeLayer, ...]:
        """A layer of a recurrent block, one part a direction."""
        key = block.name, layer
        if key not in self._layers:
            self._layers[key] = layer_parts(self._net, block, layer)
        return self._layers[key]

    def linear(self, weight: Floats) -> LinearParts | None:
        """The linear layer whose weight this very array is; None for one that stays float32."""
        found = next((block for own, block in self._linears if own is weight), None)
        if found is None:
            return None
        if found.name not in self._products:
            self._products[found.name] = linear_parts(self._net, found)
        return self._products[found.name]


def _shift(factors: Sequence[Floats]) -> int:
    """The shift at which the largest factor is a scale of 30 bits."""
    _, exponent = math.frexp(max(float(f.max(initial=0.0)) for f in factors))
    return min(max(30 - exponent, 1), MOST_SHIFT)


def _scaled(factor: Floats, shift: int) -> npt.NDArray[np.int32]:
    return _int32(factor.astype(np.float64) * 2.0**shift)


def _whole_bias(bias: Floats, exponent: int) -> npt.NDArray[np.int32]:
    return _int32(bias.astype(np.float64) * 2.0**exponent)


def _int32(values: Floats) -> npt.NDArray[np.int32]:
    """To the nearest; what 32 bits do not hold is far beyond the bounds that `_excess` checks, and stays so."""
    most = float((1 << 31) - 1)
    return np.clip(np.rint(values), -most, most).astype(np.int32)


def check_net(spec: Spec, net: NetWeights) -> None:
    """Raises: FormatError unless scales and exponents fit the weights as `quantized` makes them."""
    blocks = {block.name: block for block in spec.blocks}
    wanted = {
        weight_name(block, name)
        for block in spec.blocks
        if block.name in net.exponents
        for name in block_parameters(block)
        if name.startswith("weight")
    }
    if set(net.scales) != wanted:
        odd = sorted(wanted.symmetric_difference(net.scales))[0]
        raise FormatError(f"weight {odd[:80]!r}: its int8 and its scale do not belong together; save the model again")
    for name, block in blocks.items():
        whole = isinstance(block, (Embed, Recurrent)) or (isinstance(block, Linear) and refusal(block) is None)
        if whole != (name in net.exponents):
            raise FormatError(
                f"block {name!r}: an int8 net has whole numbers in every such block, or in none; save the model again"
            )
    if unknown := sorted(set(net.exponents) - set(blocks)):
        raise FormatError(f"block {unknown[0][:80]!r}: the model has no such block; save the model again")
    _check_shared(spec, net)
    for name, given in net.exponents.items():
        block = blocks[name]
        if refusal(block) is not None or len(given) != _count(block) or not all(EXPONENTS[0] <= e <= EXPONENTS[1] for e in given):
            raise FormatError(f"block {name!r}: exponents {shown(given)} are not those of an int8 net; save the model again")
    for name, scale in net.scales.items():
        sound = scale.dtype == np.float32 and scale.shape == net[name].shape[:1] and bool(np.isfinite(scale).all())
        if not sound or bool((scale < 0).any()):
            raise FormatError(f"weight {name!r}: its scales are altered; save the model again")
    if excess := _excess(spec, net):
        raise FormatError(f"{excess} holds more than whole numbers hold; save the model again")


def _check_shared(spec: Spec, net: NetWeights) -> None:
    found: dict[str, tuple[int, ...]] = {}
    for block in spec.blocks:
        if isinstance(block, Linear) and block.name in net.exponents:
            own = net.exponents[block.name]
            if found.setdefault(weight_name(block, "weight"), own) != own:
                raise FormatError(f"block {block.name!r}: its table is another's too, in other units; save the model again")


def _excess(spec: Spec, net: NetWeights) -> str | None:
    """The first weight or block whose numbers are beyond those of the kernels."""
    for name, scale in net.scales.items():
        if bool((scale > MOST_SCALE).any()):
            return f"weight {name!r}"
    for block in spec.blocks:
        for product in _products(block, net):
            if np.abs(product.bias.astype(np.int64)).max(initial=0) > MOST or product.scale.max(initial=0) > MOST_FACTOR:
                return f"block {block.name!r}"
    return None


def _products(block: Block, net: NetWeights) -> list[WholeProduct]:
    if isinstance(block, Recurrent) and block.name in net.exponents:
        return [p for layer in range(block.num_layers) for part in layer_parts(net, block, layer) for p in (part.x, part.h)]
    return [linear_parts(net, block).product] if isinstance(block, Linear) and block.name in net.exponents else []


def _count(block: Block) -> int:
    return block.num_layers if isinstance(block, Recurrent) else 2 if isinstance(block, Linear) else 1
