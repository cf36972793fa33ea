"""Embeddings, linear and recurrent layers as C statements. Sums run in the core's order: from the bias over x, then over h.

An embedding that one recurrent layer alone reads is folded into it where that takes less room: the products of every vector are
made once, here, by the core.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tidegate.export.c.steps import Floats, Place, Steps
from tidegate.spec import GATES, Block, Dropout, Embed, Linear, Recurrent, Spec

WIDEST = 16  # lanes
FOLDED = ""  # the place of an embedding that stands in the layer that reads it
KEPT = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 4}  # products of a unit that its cell reads


def widest(spec: Spec) -> str:
    """C that asks for vectors no wider than the widest layer: a half empty one costs as much as a full one."""
    hidden = max((block.hidden_size for block in spec.blocks if isinstance(block, Recurrent)), default=WIDEST)
    most = 4 if hidden <= 4 else 8 if hidden <= 8 else WIDEST
    return "" if most == WIDEST else f"#if !defined(TG_MOST_LANES)\n#define TG_MOST_LANES {most}\n#endif\n"


def folds(spec: Spec, block: Embed) -> bool:
    """Whether the products of the first layer with every vector take less room than the vectors and its weights."""
    reader = _reader(spec, block.name)
    if not isinstance(reader, Recurrent):
        return False
    gates = GATES[reader.cell] * reader.hidden_size
    shared = any(isinstance(b, (Embed, Linear)) and b is not block and b.table and b.table == block.table for b in spec.blocks)
    vectors = block.num_embeddings * block.embedding_dim
    return block.num_embeddings * gates + shared * vectors <= vectors + block.embedding_dim * gates


def _reader(spec: Spec, name: str) -> Block | None:
    """The one block that reads another, behind dropouts; None where there are several."""
    readers = [block for block in spec.blocks if name in block.inputs]
    if len(readers) != 1 or name in spec.outputs:
        return None
    return _reader(spec, readers[0].name) if isinstance(readers[0], Dropout) else readers[0]


def _embedding(spec: Spec, name: str) -> Embed | None:
    """The embedding that a block reads behind dropouts."""
    block = next((b for b in spec.blocks if b.name == name), None)
    if isinstance(block, Dropout):
        return _embedding(spec, block.inputs[0])
    return block if isinstance(block, Embed) else None


def embed(steps: Steps, block: Embed, sources: list[Place]) -> Place:
    """A row of a table; where a linear layer shares it, one column of that layer's, which stands the other way round."""
    table = steps.weight(block, "weight")
    most = float(np.abs(table).max(initial=0.0))
    tied = next((b for b in steps.net.spec.blocks if isinstance(b, Linear) and b.table and b.table == block.table), None)
    if tied is None:
        at = steps.array(f"{block.name}_w", table)
        return Place(f"({at} + (long)code * {block.embedding_dim})", block.embedding_dim, most, 0.0)
    to = steps.buffer(block.name, block.embedding_dim)  # the linear layer's table is laid out by columns: gather one
    w = steps.table(f"{tied.name}_w")
    steps.say(f"for (k = 0; k < {block.embedding_dim}; ++k) {to}[k] = {w}[(long)k * {len(table)} + code];")
    return Place(to, block.embedding_dim, most, 0.0)


def linear(steps: Steps, block: Linear, sources: list[Place]) -> Place:
    """A product, from the bias."""
    weight = steps.weight(block, "weight")
    bias = steps.weight(block, "bias") if block.bias else np.zeros(block.output_size, np.float32)
    w, b = steps.array(f"{block.name}_w", weight.T), steps.array(f"{block.name}_b", bias)
    to = steps.buffer(block.name, block.output_size)
    steps.say(f"tg_product({to}, {b}, {w}, {sources[0].at}, {block.input_size}, {block.output_size});")
    steps.products += weight.size
    return _product(steps, to, weight, bias, sources[0])


def _product(steps: Steps, at: str, weight: Floats, bias: Floats, source: Place) -> Place:
    """The place of a product, whose sums are checked against overflow."""
    sums = np.abs(weight.astype(np.float64)).sum(1)
    still = float((np.abs(bias.astype(np.float64)) + source.still * sums).max(initial=0.0))
    with np.errstate(invalid="ignore"):
        moving = float(sums.max(initial=0.0) * source.moving) if source.moving else 0.0
    place = Place(at, len(weight), still, moving)
    steps.bound(place)
    return place


def recurrent(steps: Steps, block: Recurrent, sources: list[Place]) -> Place:
    """Every layer of a recurrent block, one step; its state is carried in fields of the state struct."""
    for part in block.state():
        for layer in range(block.num_layers):
            steps.state[f"{block.name}_{part}{layer}"] = block.hidden_size
    place = sources[0]
    for layer in range(block.num_layers):
        place = _layer(steps, block, layer, place)
    steps.guarded = steps.guarded or block.cell == "rnn_relu"
    return place


def _layer(steps: Steps, block: Recurrent, layer: int, x: Place) -> Place:
    hidden, kept, h = block.hidden_size, KEPT[block.cell], f"s->{block.name}_h{layer}"
    w_ih, w_hh, b_ih, b_hh = (steps.weight(block, f"{p}_l{layer}") for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    order, start = _kept(block.cell, hidden, b_ih, b_hh)
    steps.buffers["g"] = max(kept * hidden, steps.buffers.get("g", 0))
    steps.say(f"/* {block.name}, layer {layer}: {block.cell}, {x.size} to {hidden} */")
    vectors = _embedding(steps.net.spec, block.inputs[0]) if layer == 0 else None
    if vectors is not None and x.at == FOLDED:
        first = _codes_first(steps, block, vectors, w_ih[order], start)
    else:
        first = _x_first(steps, block, layer, x, w_ih[order], start)
    w = steps.array(f"{block.name}_hh{layer}", w_hh.T)
    steps.products += w_hh.size
    _product(steps, "g", w_hh, np.zeros(len(w_hh), np.float32), Place("", hidden, 1.0, 0.0))
    if block.cell == "gru":
        u = steps.array(f"{block.name}_u{layer}", start[3 * hidden :])
        _gru(steps, first, u, w, h, hidden)
    else:
        steps.say(f"tg_product(g, {first}, {w}, {h}, {hidden}, {kept * hidden});", *_edge(kept, hidden))
        c = f", s->{block.name}_c{layer}" if block.cell == "lstm" else ""
        steps.say(f"tg_{block.cell}_units(g, {h}{c}, {hidden});")
    return Place(h, hidden, 1.0, 0.0)


def _gru(steps: Steps, first: str, u: str, w: str, h: str, hidden: int) -> None:
    """n and u have sums of their own: x enters the first three vectors of g, h the last three."""
    steps.say(*([] if first == "g" else [f"tg_copy(g, {first}, {3 * hidden});"]), f"tg_copy(g + {3 * hidden}, {u}, {hidden});")
    steps.say(f"tg_product(g + {hidden}, g + {hidden}, {w}, {h}, {hidden}, {3 * hidden});", *_edge(4, hidden))
    steps.say(f"TG_GRU_UNITS(g, {h}, {hidden});")


def _edge(kept: int, hidden: int) -> list[str]:
    """Lanes behind the last gate, where units do not fill the vectors."""
    return [f"tg_edge(g + {kept * hidden});"] if hidden % WIDEST else []


def _kept(cell: str, hidden: int, b_ih: Floats, b_hh: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """The rows of PyTorch's weight_ih in the order of cell.h, and where the sums start; the GRU's candidate has two, u last."""
    if cell != "gru":
        return np.arange(len(b_ih)), b_ih + b_hh
    r, z, n = (np.arange(k * hidden, (k + 1) * hidden) for k in range(3))
    start = np.concatenate([b_ih[n], b_ih[r] + b_hh[r], b_ih[z] + b_hh[z], b_hh[n]])
    return np.concatenate([n, r, z]), start


def _codes_first(steps: Steps, block: Recurrent, vectors: Embed, w_ih: Floats, start: Floats) -> str:
    """Where the sums of a code stand: the product of its vector was made once, by the core and in its order."""
    table = steps.net.ops.linear(steps.weight(vectors, "weight"), np.ascontiguousarray(w_ih), start[: len(w_ih)])
    at = steps.array(f"{block.name}_codes", np.asarray(table, np.float32))
    return f"{at} + (long)code * {len(w_ih)}"


def _x_first(steps: Steps, block: Recurrent, layer: int, place: Place, w_ih: Floats, start: Floats) -> str:
    """The product with x, from the bias, in g."""
    w = steps.array(f"{block.name}_ih{layer}", w_ih.T)
    b = steps.array(f"{block.name}_b{layer}", start[: len(w_ih)])
    steps.say(f"tg_product(g, {b}, {w}, {place.at}, {place.size}, {len(w_ih)});")
    steps.products += w_ih.size
    _product(steps, "g", w_ih, start[: len(w_ih)], place)
    return "g"
