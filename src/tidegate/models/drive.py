"""How training is driven from outside, for every task. In: what a caller of `fit` says. Out: checked options of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from tidegate.errors import ConfigError
from tidegate.files import PathLike, check_writable
from tidegate.models.base import training_half
from tidegate.models.seconds import parse_budget

if TYPE_CHECKING:
    from tidegate.train.run import RunOptions

OnEvent = Callable[[Mapping[str, object]], None]


class Drive(NamedTuple):
    """How training is driven from outside."""

    budget: float | None
    checkpoint: PathLike | None
    resume: bool
    history: PathLike | None
    progress: bool | None
    on_event: OnEvent | None


def check_machine(device: str, budget: float | None, steps: object) -> None:
    """Fail before any data is read. steps: what the user said, if anything; a loaded file's steps give way to a budget.

    Raises: MissingExtra without torch; DeviceError; ConfigError for a budget beside steps.
    """
    if budget is not None and steps is not None:
        raise ConfigError(f"budget and steps: give one of them; steps={steps} already says how long training goes on")
    training_half("train")
    from tidegate.train.state import pick_device

    pick_device(device)


def checked_drive(
    device: str, steps: object, budget: str | float | None, checkpoint: PathLike | None, resume: bool,
    history: PathLike | None, progress: bool | None, on_event: OnEvent | None, epochs: object = None,
) -> Drive:  # fmt: skip
    """What `fit` was told, checked before any data is read. Raises: as `check_machine`, and OutputError."""
    seconds = parse_budget(budget)
    if epochs is not None and (steps is not None or seconds is not None):
        other = f"steps={steps}" if steps is not None else f"budget={budget!r}"
        raise ConfigError(
            f"epochs: {other} already says how long training goes on, got epochs={epochs} too; leave one of them out"
        )
    check_machine(device, seconds, steps)
    if resume and checkpoint is None:
        raise ConfigError("resume: goes on from a checkpoint; say where it is with checkpoint='...'")
    if checkpoint is not None:
        check_writable(checkpoint)
    return Drive(seconds, checkpoint, resume, history, progress, on_event)


def run_options(drive: Drive, members: int, run_id: str) -> RunOptions:
    """The same for the training half."""
    from tidegate.train.run import RunOptions

    return RunOptions(
        members=members, budget=drive.budget, checkpoint=drive.checkpoint, resume=drive.resume, run_id=run_id,
        history=drive.history, shown=drive.progress, on_event=drive.on_event,
    )  # fmt: skip
