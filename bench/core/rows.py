"""What each kind of row runs. In: a Row and the effort. Out: the record of its raw figures, without the machine.

Both sides hold the same weights and read the same input; before anything is timed their outputs and gradients are compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import Effort, Side, best_threads, pairs, timed
from mixed import Loop
from shapes import MEMORY, SHAPES, STEP_SHAPES, Row, Shape, flops, spread
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import tidegate as tg

HERE = Path(__file__).resolve().parent
NEAR = 2e-3  # largest difference of outputs and gradients that is still float32's rounding, as a share of the largest value
LAYERS = {
    "torch": {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN},
    "tidegate": {"lstm": tg.nn.LSTM, "gru": tg.nn.GRU, "rnn": tg.nn.RNN},
}
MEMORY_SIDES = ("torch", "plain", "recompute")


class WrongValues(Exception):
    """The two sides do not compute the same: a time would mean nothing."""


def layers(shape: Shape, cell: str) -> dict[str, nn.Module]:
    """torch's and ours, with the same weights."""
    options = {"num_layers": shape.num_layers, "bidirectional": shape.directions == 2}
    torch.manual_seed(0)
    made = {side: kinds[cell](shape.input_size, shape.hidden_size, **options) for side, kinds in LAYERS.items()}
    made["tidegate"].load_state_dict(made["torch"].state_dict())
    return made


def batch(shape: Shape) -> Tensor | PackedSequence:
    """(T, B, I), torch's default order, or its packed form, sorted; the data require gradients."""
    x = torch.randn(shape.steps, shape.batch, shape.input_size, generator=torch.Generator().manual_seed(1))
    if not shape.packed:
        return x.requires_grad_()
    packed = pack_padded_sequence(x, torch.tensor(shape.lengths()))
    return PackedSequence(packed.data.requires_grad_(), packed.batch_sizes)


def data(x: Tensor | PackedSequence) -> Tensor:
    """The values of a batch in either form."""
    return x.data if isinstance(x, PackedSequence) else x


def training(layer: nn.Module, x: Tensor | PackedSequence, **options: Any) -> Callable[[], tuple[Tensor, ...]]:
    """Forward and backward: the gradients of the input and of every weight, for dy = ones."""
    wanted = [data(x), *layer.parameters()]
    dy = torch.ones_like(data(layer(x, **options)[0]).detach())
    return lambda: torch.autograd.grad(data(layer(x, **options)[0]), wanted, dy)


def inference(layer: nn.Module, x: Tensor | PackedSequence) -> Callable[[], tuple[Tensor, ...]]:
    """Forward in eval mode, without gradients."""
    layer.eval()

    @torch.no_grad()
    def call() -> tuple[Tensor, ...]:
        return (data(layer(x)[0]),)

    return call


def speed(row: Row, effort: Effort) -> dict[str, Any]:
    """torch.nn beside tidegate.nn: ours with 2 threads against torch's better number, then 1 thread against 1."""
    shape = STEP_SHAPES[row.shape] if row.kind == "step" else SHAPES[row.shape]
    x, made = batch(shape), layers(shape, row.cell)
    prepare = training if row.kind == "train" else inference
    calls = {side: prepare(layer, x) for side, layer in made.items()}
    difference = compare(calls["torch"](), calls["tidegate"](), row.name)

    def side(name: str, threads: int) -> Side:
        return Side(name, threads, timed(calls[name]))

    best, probe = best_threads(partial(side, "torch"))
    share = Effort(effort.seconds / 2, effort.fewest)
    return {
        "flops": flops(shape, row.cell, training=row.kind == "train"),
        "torch_probe_s": probe,
        "difference": difference,
        "two": pairs(side("torch", best), side("tidegate", 2), share),
        "one": pairs(side("torch", 1), side("tidegate", 1), share),
    }


def compare(theirs: tuple[Tensor, ...], ours: tuple[Tensor, ...], where: str) -> float:
    """The largest difference of any tensor, as a share of that tensor's largest value."""
    found = 0.0
    for one, other in zip(theirs, ours, strict=True):
        found = max(found, float((one - other).abs().max()) / max(float(one.abs().max()), 1e-6))
    if not found <= NEAR:
        raise WrongValues(
            f"{where}: expected torch's values to {NEAR:g} of the largest, got a difference of {found:g}; not timed"
        )
    return found


def ragged(row: Row, effort: Effort) -> dict[str, Any]:
    """Training with lengths (55 % real steps, rows in mixed order) over the padded batch, both ours."""
    shape = SHAPES[row.shape]
    x, layer = batch(shape), layers(shape, row.cell)["tidegate"]
    order = torch.randperm(shape.batch, generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor(spread(shape.batch, shape.steps))[order]
    over = Side("with lengths", 2, timed(training(layer, x, lengths=lengths)))
    under = Side("padded", 2, timed(training(layer, x)))
    real = int(lengths.sum()) / (shape.batch * shape.steps)
    return {"real_share": real, "ragged": pairs(over, under, effort)}


def memory(row: Row, effort: Effort) -> dict[str, Any]:
    """Peak memory of forward and backward, each in its own process; then recompute's time beside plain and torch."""
    found: dict[str, Any] = {"shape": {k: v for k, v in asdict(MEMORY).items() if k != "asked"}, "memory_mb": {}}
    for side in MEMORY_SIDES:
        done = subprocess.run(
            [sys.executable, str(HERE / "memory.py"), row.cell, side], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{row.name}: the process for {side} failed:\n{done.stderr.strip()}")
        found["memory_mb"][side] = json.loads(done.stdout)
    x = batch(MEMORY)
    calls = {side: training(memory_layer(row.cell, side), x) for side in MEMORY_SIDES}
    compare(calls["torch"](), calls["recompute"](), row.name)
    recompute, plain = (Side(name, 2, timed(calls[name])) for name in ("recompute", "plain"))
    best, probe = best_threads(lambda threads: Side("torch", threads, timed(calls["torch"])))
    share = Effort(effort.seconds / 2, effort.fewest)
    found["recompute"] = pairs(recompute, plain, share)
    found |= {"torch_probe_s": probe, "torch": pairs(Side("torch", best, timed(calls["torch"])), recompute, share)}
    return found


def memory_layer(cell: str, side: str) -> nn.Module:
    """torch's, ours ("plain"), or ours that rebuilds the gates ("recompute"); the same weights."""
    made = layers(MEMORY, cell)
    if side != "recompute":
        return made["torch" if side == "torch" else "tidegate"]
    again = LAYERS["tidegate"][cell](MEMORY.input_size, MEMORY.hidden_size, recompute=True)
    again.load_state_dict(made["torch"].state_dict())
    return again


def mixed(row: Row, effort: Effort) -> dict[str, Any]:
    """Whole training steps, and torch's parts of a step with a layer between them over the same parts alone; 2 threads."""
    shape = SHAPES[row.shape]
    made = layers(shape, row.cell)
    whole = {side: Loop(shape, layer) for side, layer in made.items()}
    between = {side: Loop(shape, layer) for side, layer in layers(shape, row.cell).items()}
    alone = Loop(shape, None)
    parts = [Side(f"parts around {name}", 2, loop.parts_seconds) for name, loop in between.items()]
    steps = {name: Side(name, 2, timed(loop.step)) for name, loop in whole.items()}
    bare = Side("parts alone", 2, alone.parts_seconds)
    share = Effort(effort.seconds / 4, effort.fewest)
    return {
        "step": pairs(steps["torch"], steps["tidegate"], share),
        "parts_torch": pairs(parts[0], bare, share),
        "parts_tidegate": pairs(parts[1], bare, share),
        "parts_beside": pairs(parts[1], parts[0], share),
    }


def forecaster(row: Row, effort: Effort) -> dict[str, Any]:
    """The README's forecaster with its default steps and sizes, fitted with and without the core, each in its own process."""
    found: dict[str, Any] = {}
    for core in ("with", "without"):
        words = [sys.executable, str(HERE / "forecaster.py"), core, row.cell]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{row.name}: the fit {core} the core failed:\n{done.stderr.strip()}")
        found[core] = json.loads(done.stdout.splitlines()[-1])
    return found


KINDS: dict[str, Callable[[Row, Effort], dict[str, Any]]] = {
    "train": speed,
    "infer": speed,
    "step": speed,
    "ragged": ragged,
    "memory": memory,
    "mixed": mixed,
    "forecaster": forecaster,
}
