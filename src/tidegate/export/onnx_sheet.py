"""An ONNX graph being written. In: operators, arrays, inputs and outputs. Out: the bytes of a checked ONNX model.

Knows nothing of blocks and tasks. The package onnx is imported when a sheet is made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.errors import missing_extra

OPSET, IR_VERSION = 18, 8  # ONNX 1.13, December 2022, and every runtime since
Dtype = Literal["float32", "float64", "int64", "string"]
Attributes = Mapping[str, "int | float | str | Sequence[int] | Sequence[str]"]
Dims = tuple["int | str", ...]  # a letter or word: any size


class Slot(NamedTuple):
    """An input or output of the graph."""

    name: str
    dtype: Dtype
    dims: Dims


@final
class Sheet:
    """Nodes, constants, inputs and outputs of one graph; values are named by strings."""

    def __init__(self) -> None:
        self._onnx = library("onnx")
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._small: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._known: dict[tuple[str, ...], str] = {}
        self.inputs: list[Slot] = []
        self.outputs: list[Slot] = []

    def op(self, kind: str, *inputs: str, also: Attributes | None = None) -> str:
        """One operator with one output; its name. The same operator on the same inputs stands once."""
        key = (kind, *inputs, repr(sorted((also or {}).items())))
        if key not in self._known:
            (self._known[key],) = self.ops(kind, 1, *inputs, also=also)
        return self._known[key]

    def ops(self, kind: str, count: int, *inputs: str, also: Attributes | None = None) -> tuple[str, ...]:
        """One operator with `count` outputs. An input named "" is left out."""
        number = len(self._nodes)
        names = tuple(f"{kind.lower()}_{number}" + (f"_{k}" if count > 1 else "") for k in range(count))
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), list(names), name=names[0], **(also or {})))
        return names

    def array(self, name: str, array: npt.NDArray[np.generic]) -> str:
        """A named constant, such as a weight; the same name stands once."""
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def ints(self, *values: int) -> str:
        """A constant (n,) int64."""
        return self._constant(np.array(values, np.int64))

    def integer(self, value: int) -> str:
        """A constant int64 without axes."""
        return self._constant(np.array(value, np.int64))

    def number(self, value: float) -> str:
        """A constant float32 without axes."""
        return self._constant(np.array(value, np.float32))

    def doubles(self, values: npt.ArrayLike) -> str:
        """A constant array of float64."""
        return self._constant(np.asarray(values, np.float64))

    def _constant(self, array: npt.NDArray[np.generic]) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._small:
            self._small[key] = self.array(f"constant_{len(self._small)}", array)
        return self._small[key]

    def take_in(self, name: str, dtype: Dtype, dims: Dims) -> str:
        """An input of the graph."""
        self.inputs.append(Slot(name, dtype, dims))
        return name

    def give_out(self, name: str, value: str, dtype: Dtype, dims: Dims) -> None:
        """An output of the graph."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name], name=name))
        self.outputs.append(Slot(name, dtype, dims))

    def to_bytes(self, title: str, about: Mapping[str, Plain]) -> bytes:
        """The model, checked by the package onnx. about: metadata; every value is written as JSON."""
        helper = self._onnx.helper
        used = {name for node in self._nodes for name in node.input}
        graph = helper.make_graph(
            self._nodes, title, [self._info(s) for s in self.inputs], [self._info(s) for s in self.outputs],
            [array for name, array in self._constants.items() if name in used],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model.producer_name = "tidegate"
        helper.set_model_props(model, {name: json.dumps(value, ensure_ascii=False) for name, value in about.items()})
        self._onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

    def _info(self, slot: Slot) -> Any:
        kinds = self._onnx.TensorProto
        kind = {"float32": kinds.FLOAT, "float64": kinds.DOUBLE, "int64": kinds.INT64, "string": kinds.STRING}[slot.dtype]
        return self._onnx.helper.make_tensor_value_info(slot.name, kind, list(slot.dims))


def library(name: str) -> Any:
    """The package onnx or onnxruntime. Raises: MissingExtra."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise missing_extra(f"the export to ONNX ({name})", "export") from error
