"""Small nets with asymmetric random weights, for the tests of exports; and the targets of bench/edge."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from tidegate.runtime import Predictor
from tidegate.spec import (
    Activation,
    Add,
    Block,
    Concat,
    Dropout,
    Embed,
    Last,
    Linear,
    Norm,
    Pool,
    Port,
    Recurrent,
    Spec,
    Take,
)

EDGE = Path(__file__).resolve().parents[2] / "bench" / "edge"


def targets() -> ModuleType:
    """bench/edge/targets.py."""
    found = sys.modules.get("edge_targets")
    if found is None:
        spec = importlib.util.spec_from_file_location("edge_targets", EDGE / "targets.py")
        assert spec is not None
        assert spec.loader is not None
        found = importlib.util.module_from_spec(spec)
        sys.modules["edge_targets"] = found
        spec.loader.exec_module(found)
    return found


def predictor(spec: Spec, seed: int = 0, scale: float = 0.4) -> Predictor:
    rng = np.random.default_rng(seed)
    weights = {n: (scale * rng.standard_normal(s)).astype(np.float32) for n, s in spec.parameters().items()}
    return Predictor(spec, weights)


def bare(cell: str, inputs: int, hidden: int, layers: int = 1) -> Spec:
    """A recurrent layer alone."""
    read = Recurrent(name="read", inputs=("steps",), cell=cell, input_size=inputs, hidden_size=hidden, num_layers=layers)
    return Spec(inputs=(Port(name="steps", size=inputs),), blocks=(read,), outputs=("read",))


def classifier(cell: str, hidden: int, pool: str, *, codes: int = 40, embedding: int = 16, classes: int = 5) -> Spec:
    """Codes to classes."""
    pooled: Block = Last(name="pooled", inputs=("read",)) if pool == "last" else Pool(name="pooled", inputs=("read",), how=pool)
    blocks = (
        Embed(name="embedded", inputs=("tokens",), num_embeddings=codes, embedding_dim=embedding),
        Dropout(name="dropped", inputs=("embedded",), p=0.1),
        Recurrent(name="read", inputs=("dropped",), cell=cell, input_size=embedding, hidden_size=hidden),
        pooled,
        Linear(name="logits", inputs=("pooled",), input_size=hidden, output_size=classes),
    )
    return Spec(inputs=(Port(name="tokens", size=1, shape="tokens"),), blocks=blocks, outputs=("logits",))


def tied(cell: str = "lstm", codes: int = 23, size: int = 9) -> Spec:
    """A language model whose output layer shares the embedding's table."""
    blocks = (
        Embed(name="embedded", inputs=("tokens",), num_embeddings=codes, embedding_dim=size, table="vectors"),
        Recurrent(name="read", inputs=("embedded",), cell=cell, input_size=size, hidden_size=size, num_layers=2),
        Linear(name="logits", inputs=("read",), input_size=size, output_size=codes, table="vectors"),
    )
    return Spec(inputs=(Port(name="tokens", size=1, shape="tokens"),), blocks=blocks, outputs=("logits",))


def everything() -> Spec:
    """Every kind of block that is exported, two outputs."""
    blocks = (
        Activation(name="bent", inputs=("x",), function="tanh"),
        Linear(name="wide", inputs=("x",), input_size=5, output_size=11, bias=False),
        Activation(name="cut", inputs=("wide",), function="relu"),
        Norm(name="normed", inputs=("cut",), size=11),
        Take(name="some", inputs=("normed",), start=3, size=7),
        Concat(name="both", inputs=("bent", "some")),
        Recurrent(name="read", inputs=("both",), cell="gru", input_size=12, hidden_size=7),
        Add(name="sum", inputs=("read", "some")),
        Recurrent(name="again", inputs=("sum",), cell="lstm", input_size=7, hidden_size=5),
        Activation(name="odds", inputs=("again",), function="sigmoid"),
        Pool(name="highest", inputs=("read",), how="max"),
        Pool(name="mean", inputs=("odds",), how="mean"),
        Concat(name="pooled", inputs=("highest", "mean", "again")),
        Linear(name="out", inputs=("pooled",), input_size=17, output_size=3),
    )
    return Spec(inputs=(Port(name="x", size=5),), blocks=blocks, outputs=("out", "sum"))
