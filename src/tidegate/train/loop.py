"""The one training loop. In: a problem, options and a state. Out: one plain record a step; the state holds the rest.

`train` is a generator: whoever drives it may stop at any step, write the state and go on later with the same bytes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tidegate.errors import ConfigError, FormatError, bounded
from tidegate.nn.network import Network
from tidegate.tasks.problem import Arrays, Batch, Problem, Rolled, TrainOptions, Unrolled
from tidegate.train.losses import LOSSES, Loss
from tidegate.train.rollout import rolled_outputs, unrolled_outputs
from tidegate.train.state import TrainState


class Record(TypedDict, total=False):
    """What happened in one step. `best` and `stop` are there only after a check, `validation` where something was held back."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    clipped_share: float
    validation: float
    best: bool
    stop: bool


def train(problem: Problem, options: TrainOptions, state: TrainState) -> Iterator[Record]:
    """Run from `state.step` to the end; yields after every step.

    Two phases. Open: the tail of the data is held back, its loss picks the best weights and stops the run when `patience` is out.
    Closing, the last `closing` share of the steps: from the best weights on, at the low end of the schedule, with the tail
    trained on too, since the newest data say most about what comes next. `state.best` keeps the open phase's best, which alone
    may be measured on the tail; `state.final` is what ships.
    Raises: ConfigError when the loss is not finite, with the remedy.
    """
    held_back = problem.validation()
    while not state.done:
        record = _step(problem, options, state)
        if state.closing_from is None and (state.step % options.check_every == 0 or state.step == options.open_steps):
            record.update(_check(problem, options, state, held_back))
        _move_on(problem, options, state)
        yield record


def learning_rate_at(step: int, options: TrainOptions, closing_from: int | None = None) -> float:
    """Linear warm-up, then half a cosine down to 0 (Loshchilov & Hutter 2017); closing early jumps to the cosine's last part."""
    if closing_from is not None:
        step = options.open_steps + step - closing_from
    warm = min(1.0, (step + 1) / max(1, min(options.warmup, options.steps // 5)))
    return options.learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / options.steps))


def _move_on(problem: Problem, options: TrainOptions, state: TrainState) -> None:
    """From the open phase to the closing one, and to the end."""
    if state.closing_from is None and (state.stopped or state.step >= options.open_steps):
        assert state.best is not None
        state.network.load(cast("Mapping[str, npt.NDArray[np.floating]]", state.best))
        state.average = {name: state.network.weights()[name].detach().clone() for name in state.average}
        state.closing_from = state.step
        state.carried = None
    if state.closing_from is not None and state.step >= state.closing_from + options.steps - options.open_steps:
        if state.average:
            state.network.load({name: value.cpu().numpy() for name, value in state.average.items()})
        state.final = dict(state.network.arrays())
        state.done = True


def evaluate_loss(problem: Problem, network: Network, batches: Sequence[Batch]) -> float | None:
    """The mean loss over batches, in evaluation mode; None where nothing was observed."""
    total, count = 0.0, 0.0
    with torch.no_grad():
        for batch in batches:
            loss, _ = _loss(problem, network, batch, None, None)
            total += float(loss.total)
            count += float(loss.count)
    return total / count if count else None


def _step(problem: Problem, options: TrainOptions, state: TrainState) -> Record:
    closing = state.closing_from is not None
    batch, state.cursor = problem.draw(state.rng, state.cursor, state.step / options.steps, closing)
    rate = learning_rate_at(state.step, options, state.closing_from)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.zero_grad(set_to_none=True)
    loss, carried = _loss(problem, state.network, batch, _kept(state.carried, batch), state.dropout_rng)
    mean = loss.total / loss.count.clamp(min=1e-12)
    mean.backward()  # type: ignore[no-untyped-call]  # torch has no annotation for it
    norm = float(torch.nn.utils.clip_grad_norm_(state.network.parameters(), options.clip_norm))
    value = float(mean.detach())
    if not math.isfinite(value) or not math.isfinite(norm):
        raise ConfigError(
            f"training stopped at step {state.step + 1}: expected a finite loss, got {value} with a gradient of norm {norm}. "
            f"Lower learning_rate (it was {options.learning_rate:g}), or look at the data with `tidegate check`."
        )
    state.optimiser.step()
    _move_average(state, options)
    state.carried = carried
    state.step += 1
    state.clipped += norm > options.clip_norm
    return {
        "step": state.step,
        "loss": value,
        "learning_rate": rate,
        "grad_norm": norm,
        "clipped_share": state.clipped / state.step,
    }


def _loss(
    problem: Problem,
    network: Network,
    batch: Batch,
    carried: Mapping[str, Tensor] | None,
    dropout_rng: torch.Generator | None,
) -> tuple[Loss, dict[str, Tensor] | None]:
    device = next(network.parameters()).device
    inputs, lengths, targets = (_tensors(part, device) for part in (batch.inputs, batch.lengths, batch.targets))
    own = None if batch.own is None or not batch.own.any() else torch.from_numpy(batch.own).to(device)
    rolled = problem.rolled
    if isinstance(rolled, Unrolled) and (own is not None or rolled.feed is not None):
        outputs = unrolled_outputs(network, rolled, inputs, lengths, own, dropout_rng)
        return LOSSES[problem.loss](outputs, targets), None
    if isinstance(rolled, Rolled) and own is not None:
        outputs = rolled_outputs(network, rolled, inputs, own, targets, dropout_rng)
        return LOSSES[problem.loss](outputs, targets), None
    ran = network(inputs, lengths, carried, dropout_rng)
    kept = {name: ran.state[name].detach() for name in problem.carried} if problem.carried else None
    return LOSSES[problem.loss]({**ran.outputs, **network.chains()}, targets), kept


def rehearse(problem: Problem, options: TrainOptions, state: TrainState) -> None:
    """The loss of the next batch of a state that was read from a file, which stays as it is.

    Raises: FormatError where the place in the data, the generators or the carried state are not of this run.
    """
    if state.done:
        return
    rng = copy.deepcopy(state.rng)
    try:
        batch, _ = problem.draw(rng, state.cursor, state.step / options.steps, state.closing_from is not None)
        with torch.no_grad():
            _loss(problem, state.network, batch, _kept(state.carried, batch), None)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise FormatError(
            f"checkpoint: its place in the data is not one of this run ({bounded(str(error))}); remove it to start anew"
        ) from error


def _kept(carried: dict[str, Tensor] | None, batch: Batch) -> dict[str, Tensor] | None:
    """The state of the rows that go on; the others start at zero."""
    if carried is None or batch.continues is None:
        return None
    goes_on = torch.from_numpy(batch.continues)
    return {name: value * goes_on.to(value.device, value.dtype)[None, :, None] for name, value in carried.items()}


def _tensors(arrays: Arrays, device: torch.device) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in arrays.items()}


def _move_average(state: TrainState, options: TrainOptions) -> None:
    """Exponential moving average of the weights, with a young average following faster (as in Tarvainen & Valpola 2017)."""
    if not state.average:
        return
    keep = min(options.averaging, (1.0 + state.step) / (10.0 + state.step))
    weights = state.network.weights()
    with torch.no_grad():
        torch._foreach_lerp_(list(state.average.values()), [weights[n].detach() for n in state.average], 1.0 - keep)


def _check(problem: Problem, options: TrainOptions, state: TrainState, held_back: Sequence[Batch]) -> Record:
    """Measure the held-back batches with the weights that would be kept; remember them if they are the best."""
    current = state.network.arrays()
    if state.average:
        state.network.load({n: w.cpu().numpy() for n, w in state.average.items()})
    loss = evaluate_loss(problem, state.network, held_back)
    better = loss is not None and math.isfinite(loss) and (state.best_loss is None or loss < state.best_loss)
    if better or loss is None or state.best is None:  # where nothing can be measured, the newest weights are the best known
        state.best, state.best_step = dict(state.network.arrays()), state.step
        state.best_loss = loss if better else None
    if state.average:
        state.network.load(current)
    state.stale = 0 if better or loss is None else state.stale + 1
    state.stopped = bool(options.patience) and state.stale >= options.patience
    record: Record = {"best": better, "stop": state.stopped}
    return {**record, "validation": loss} if loss is not None and math.isfinite(loss) else record
