"""Everything a training run is, at one moment. In: a problem and options. Out: a state to write and continue bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tidegate.config import Plain
from tidegate.errors import DeviceError, FormatError, bounded
from tidegate.nn.network import Network
from tidegate.tasks.problem import Problem, TrainOptions

Arrays = dict[str, npt.NDArray[np.generic]]
FUSED = ("cpu", "cuda")  # devices on which torch has the fused AdamW


@final
@dataclass
class TrainState:
    """Weights, optimiser, generators, place in the data, and the best so far."""

    network: Network
    optimiser: torch.optim.AdamW
    average: dict[str, Tensor]  # moving average of the weights; empty where averaging is off
    rng: np.random.Generator  # draws batches
    dropout_rng: torch.Generator
    cursor: Plain = None
    carried: dict[str, Tensor] | None = None  # truncated BPTT's state
    step: int = 0
    clipped: int = 0
    best: Arrays | None = None
    best_loss: float | None = None
    best_step: int = 0
    stale: int = 0  # checks since the best
    stopped: bool = False
    closing_from: int | None = None  # the step at which the closing phase began
    done: bool = False
    final: Arrays | None = None  # what ships


def pick_device(name: str) -> torch.device:
    """The torch device of that name. Raises: DeviceError where it is not there, with what is."""
    there = [*_cpu_and_mps(), *(f"cuda:{i}" for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0))]
    known = {*there, *(kind.split(":")[0] for kind in there)}
    if name not in known:
        raise DeviceError(
            f"device: expected one of {', '.join(sorted(known))} on this machine, got {name!r}; "
            "choose one of them, or install a torch that has the device"
        )
    return torch.device(name)


def _cpu_and_mps() -> list[str]:
    return ["cpu", "mps"] if torch.backends.mps.is_available() else ["cpu"]


def new_state(problem: Problem, options: TrainOptions) -> TrainState:
    """The state before the first step; every random number of the run comes from `options.seed`."""
    device = pick_device(options.device)
    draws = torch.Generator().manual_seed(options.seed)
    network = Network(problem.spec, draws).to(device)
    dropout_rng = torch.Generator().manual_seed(options.seed + 1)
    average = {name: w.detach().clone() for name, w in network.weights().items()} if options.averaging else {}
    return TrainState(network, _optimiser(network, options), average, np.random.default_rng(options.seed), dropout_rng)


def _optimiser(network: Network, options: TrainOptions) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019); biases and gains are not decayed.

    Fused: one walk over the memory of weights, gradient and moments instead of a dozen, a third of the time on a table of words
    (bench/text/NOTES.md).
    """
    decayed = [p for p in network.parameters() if p.dim() > 1]
    kept = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    fused = all(p.device.type in FUSED for p in network.parameters())
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, options.beta2), foreach=not fused, fused=fused)


def state_to_plain(state: TrainState) -> tuple[dict[str, Plain], Arrays]:
    """The state as a header and arrays, for a checkpoint."""
    header: dict[str, Plain] = {
        "rng": cast(Plain, state.rng.bit_generator.state),
        "cursor": state.cursor,
        "step": state.step,
        "clipped": state.clipped,
        "best_loss": state.best_loss,
        "best_step": state.best_step,
        "stale": state.stale,
        "stopped": state.stopped,
        "closing_from": state.closing_from,
        "done": state.done,
    }
    arrays: Arrays = {"dropout_rng": state.dropout_rng.get_state().numpy().copy()}
    arrays.update({f"weights.{n}": a for n, a in state.network.arrays().items()})
    arrays.update({f"average.{n}": _array(w) for n, w in state.average.items()})
    arrays.update({f"best.{n}": a for n, a in (state.best or {}).items()})
    arrays.update({f"final.{n}": a for n, a in (state.final or {}).items()})
    arrays.update({f"carried.{n}": _array(w) for n, w in (state.carried or {}).items()})
    for name, parameter in state.network.weights().items():
        for part, value in state.optimiser.state.get(parameter, {}).items():
            arrays[f"optimiser.{part}.{name}"] = _array(value)
    return header, arrays


def state_from_plain(state: TrainState, header: Mapping[str, Plain], arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Fill a new state with a checkpoint's content. Raises: FormatError where it belongs to another run."""
    try:
        device = next(state.network.parameters()).device
        state.network.load(cast(Mapping[str, npt.NDArray[np.floating]], _part(arrays, "weights.")))
        state.average = {n: torch.from_numpy(a.copy()).to(device) for n, a in _part(arrays, "average.").items()}
        state.best = {n: a.copy() for n, a in _part(arrays, "best.").items()} or None
        state.final = {n: a.copy() for n, a in _part(arrays, "final.").items()} or None
        state.carried = {n: torch.from_numpy(a.copy()).to(device) for n, a in _part(arrays, "carried.").items()} or None
        state.dropout_rng.set_state(torch.from_numpy(arrays["dropout_rng"].copy()))
        for name, parameter in state.network.weights().items():
            for part in ("step", "exp_avg", "exp_avg_sq"):
                if f"optimiser.{part}.{name}" in arrays:
                    value = torch.from_numpy(arrays[f"optimiser.{part}.{name}"].copy())
                    stays = part == "step" and not state.optimiser.defaults["fused"]  # on the CPU
                    state.optimiser.state[parameter][part] = value if stays else value.to(device)
        state.rng.bit_generator.state = cast(dict[str, object], header["rng"])
        state.cursor = header["cursor"]
        state.step, state.clipped = cast(int, header["step"]), cast(int, header["clipped"])
        state.best_loss, state.best_step = cast("float | None", header["best_loss"]), cast(int, header["best_step"])
        state.closing_from, state.done = cast("int | None", header["closing_from"]), cast(bool, header["done"])
        state.stale, state.stopped = cast(int, header["stale"]), cast(bool, header["stopped"])
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise FormatError(
            f"checkpoint: does not belong to this run ({bounded(str(error))}); remove it, or give the options it was made with"
        ) from error


def _part(arrays: Mapping[str, npt.NDArray[np.generic]], prefix: str) -> Arrays:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def _array(value: Tensor) -> npt.NDArray[np.generic]:
    return cast("npt.NDArray[np.generic]", value.detach().cpu().numpy().copy())
