"""A recurrent block as ONNX's RNN, LSTM and GRU operators. In: a sheet, weights under PyTorch's names. Out: y and final state.

ONNX's operators read time first, one layer each, gates in the order i,o,f,c and z,r,h; linear_before_reset=1 is our form of the
GRU. A row of length 0 keeps the state it was given, which ONNX Runtime would set to 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tidegate.export.onnx_sheet import Attributes, Sheet
from tidegate.spec import GATES, Recurrent

State = Mapping[str, str]  # "h": (L*D, B, H), and "c" for the LSTM
ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}  # which of PyTorch's gates stand where in ONNX
KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}
Weights = Mapping[str, npt.NDArray[np.floating]]


def recurrent(
    sheet: Sheet, block: Recurrent, weights: Weights, name: str, x: str, lengths: str | None, state: State
) -> tuple[str, dict[str, str]]:
    """All layers and directions over (B, T, I).

    Args:  name: of the block, unique in the sheet. lengths: (B,) int64. state: the initial one; empty: zero.
    Returns: y (B, T, D*H) of the top layer, and the final state, (L*D, B, H) a part.
    """
    x = sheet.op("Transpose", x, also={"perm": (1, 0, 2)})
    short = "" if lengths is None else sheet.op("Cast", lengths, also={"to": 6})  # int32
    finals: dict[str, list[str]] = {part: [] for part in block.state()}
    for layer in range(block.num_layers):
        start = {part: _rows(sheet, value, block, layer) for part, value in state.items()}
        parts = [sheet.array(f"{name}.l{layer}.{k}", array) for k, array in layer_arrays(block, weights, layer).items()]
        # Every input after the weights may be left out, from the end.
        inputs = [x, *parts, short, *(start.get(part, "") for part in finals)]
        y, *ends = sheet.ops(KINDS[block.cell], 1 + len(finals), *inputs, also=_attributes(block))
        for part, end in zip(finals, ends, strict=True):
            finals[part].append(_kept(sheet, end, start.get(part), lengths))
        flat = sheet.op("Transpose", y, also={"perm": (0, 2, 1, 3)})  # (T, B, D, H)
        x = sheet.op("Reshape", flat, sheet.ints(0, 0, block.directions * block.hidden_size))
    stacked = {part: ends[0] if len(ends) == 1 else sheet.op("Concat", *ends, also={"axis": 0}) for part, ends in finals.items()}
    return sheet.op("Transpose", x, also={"perm": (1, 0, 2)}), stacked


def layer_arrays(block: Recurrent, weights: Weights, layer: int) -> dict[str, npt.NDArray[np.floating]]:
    """W (D, G, I), R (D, G, H) and B (D, 2G) of a layer, gates in ONNX's order."""
    found: dict[str, list[npt.NDArray[np.floating]]] = {"W": [], "R": [], "B": []}
    for suffix in ("", "_reverse")[: block.directions]:
        own = [_ordered(block, weights[f"{k}_l{layer}{suffix}"]) for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        found["W"].append(own[0])
        found["R"].append(own[1])
        found["B"].append(np.concatenate(own[2:]))
    return {name: np.stack(arrays) for name, arrays in found.items()}


def _ordered(block: Recurrent, array: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    gates = np.split(array, GATES[block.cell])
    return np.concatenate([gates[k] for k in ORDER.get(block.cell, (0,))])


def _attributes(block: Recurrent) -> Attributes:
    direction = "bidirectional" if block.bidirectional else "forward"
    also: dict[str, int | str | list[str]] = {"hidden_size": block.hidden_size, "direction": direction}
    if block.cell == "gru":
        also["linear_before_reset"] = 1
    if block.cell == "rnn_relu":
        also["activations"] = ["Relu"] * block.directions
    return also


def _rows(sheet: Sheet, state: str, block: Recurrent, layer: int) -> str:
    """(D, B, H) of a layer."""
    if block.num_layers == 1:
        return state
    start = layer * block.directions
    return sheet.op("Slice", state, sheet.ints(start), sheet.ints(start + block.directions), sheet.ints(0))


def _kept(sheet: Sheet, end: str, start: str | None, lengths: str | None) -> str:
    """The final state; of rows of length 0 the initial one."""
    if lengths is None or start is None:  # ONNX Runtime leaves 0 there, which is the state that starts at zero
        return end
    some = sheet.op("Unsqueeze", sheet.op("Greater", lengths, sheet.integer(0)), sheet.ints(0, 2))  # (1, B, 1)
    return sheet.op("Where", some, end, start)
