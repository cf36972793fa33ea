"""From options and a panel to a trained core: plan, training, calibration, card. In: ForecastOptions, Panel. Out: Result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain, to_plain
from tidegate.data.panel import Panel
from tidegate.errors import DataError
from tidegate.models.base import data_hash, training_half, versions
from tidegate.models.device_size import Limits, sized
from tidegate.models.drive import Drive, run_options
from tidegate.models.forecast_core import Core, Corrections
from tidegate.runtime.predictor import Floats, Predictor
from tidegate.tasks.forecast import ForecastOptions, ForecastProblem, make_plan
from tidegate.tasks.forecast_net import build_spec
from tidegate.tasks.problem import TrainOptions

if TYPE_CHECKING:
    from tidegate.export.deployed import Deployed
    from tidegate.train.resume import Member
    from tidegate.train.run import FitResult

DEFAULT_STEPS = 2000
UPDATE_RATE = 0.2  # a warm start trains with a fifth of the learning rate: it refines, it does not begin


class Result(NamedTuple):
    """A trained forecaster."""

    core: Core
    panel: Panel
    card: dict[str, Plain]
    steps: int


def fit(options: ForecastOptions, panel: Panel, drive: Drive, held: Limits | None = None) -> Result:
    """Plan, train, calibrate.

    Args:  held: what a device holds, which chooses the hidden size. Raises: DataError; what `sized` raises.
    """
    train = training_half("train")
    _check_counts(options, panel)
    note = None
    if held is not None:
        options, note = sized(options, held, lambda tried: on_device(tried, panel))
    problem = ForecastProblem(options, make_plan(options, panel), panel)
    result = _trained(train, options, problem, drive, train_options(options, options.steps or DEFAULT_STEPS), None)
    done = _finished(options, problem, panel, result)
    cast("list[Plain]", done.card["notes"]).extend([] if note is None else [note])
    return done


def on_device(options: ForecastOptions, panel: Panel) -> Deployed:
    """What a device would hold of these options."""
    from tidegate.export.c.budget import untrained as untrained_net
    from tidegate.export.deployed import Deployed
    from tidegate.models.forecast_device import followed

    plan = make_plan(options, panel)
    corrections = Corrections((50.0,), np.full((1, plan.horizon), 2.0)) if options.calibrate else None
    core = Core(plan, (), corrections, options.lower, options.paths)
    return Deployed(net=untrained_net(build_spec(plan)), task="forecast", followed=followed(core, panel))


def update(options: ForecastOptions, core: Core, panel: Panel, drive: Drive, steps: int) -> Result:
    """Train on from a core's weights; each member of an ensemble goes its own way, in its share of the budget.

    The weights have seen the newest rows of before, so nothing honest could be held back: every row is trained on, the
    intervals keep their factors, and the card has no held-back figures.
    Raises: KeyboardInterrupt on Ctrl-C; nothing is changed then.
    """
    train = training_half("train")
    _check_counts(options, panel)
    problem = ForecastProblem(options, core.plan, panel, core.ids, hold_back=False)
    plain = train_options(options, steps)
    gentle = replace(plain, learning_rate=plain.learning_rate * UPDATE_RATE, closing=0.0, patience=0)
    share = drive._replace(budget=None if drive.budget is None else drive.budget / len(core.nets))
    members: list[Member] = []
    for i, net in enumerate(core.nets):
        result = _trained(train, options, problem, share, replace(gentle, seed=gentle.seed + 1000 * i), net.weights, members=1)
        if result.interrupted:
            raise KeyboardInterrupt
        members += result.members
    nets = _nets(problem, [m.final for m in members])
    card = {**_card(options, problem, panel, replace(result, members=tuple(members))), "held_back": None}
    card["notes"] = [*panel.notes, "warm start: every row was trained on, nothing was held back; `backtest` measures"]
    return Result(replace(core, nets=nets), panel, card, steps)


def _check_counts(options: ForecastOptions, panel: Panel) -> None:
    """Counts are whole numbers of at least 0. Raises: DataError that names the first that is not."""
    if options.output != "negative_binomial":
        return
    bad = (panel.target < 0) | (panel.target != np.floor(panel.target)) & ~np.isnan(panel.target)
    if bad.any():
        row, column = (int(k[0]) for k in np.nonzero(bad))
        series = panel.ids[int(np.searchsorted(panel.offsets, row, side="right")) - 1]
        raise DataError(
            f"{panel.source}: output='negative_binomial' is for counts: expected whole numbers of at least 0, "
            f"got {panel.target[row, column]:g} in column {panel.schema.roles.target[column]!r} of series {series!r}; "
            "choose output='student_t' or 'quantile'"
        )


def train_options(options: ForecastOptions, steps: int) -> TrainOptions:
    """The loop's options from the task's; the learning rate is 3e-3 up to 128 hidden units, else 1e-3 (Greff et al. 2016)."""
    rate = options.learning_rate if options.learning_rate is not None else 3e-3 if options.hidden_size <= 128 else 1e-3
    return TrainOptions(
        steps=steps, learning_rate=rate, weight_decay=options.weight_decay, clip_norm=options.clip_norm,
        patience=options.patience, averaging=options.averaging, seed=options.seed, device=options.device,
    )  # fmt: skip


def _trained(
    train: object, options: ForecastOptions, problem: ForecastProblem, drive: Drive, settings: TrainOptions,
    start: Mapping[str, Floats] | None, members: int | None = None,
) -> FitResult:  # fmt: skip
    from tidegate.train.run import fit_members

    run = run_options(drive, members or options.ensemble, _run_id(options, problem))
    return fit_members(problem, settings, run, None if start is None else dict(start))


def _run_id(options: ForecastOptions, problem: ForecastProblem) -> str:
    """What a checkpoint must have been made with: options, plan and data."""
    said = json.dumps([to_plain(options), to_plain(problem.plan)], sort_keys=True)
    return hashlib.sha256((said + _hash(problem.lines.panel)).encode()).hexdigest()


def _finished(options: ForecastOptions, problem: ForecastProblem, panel: Panel, result: FitResult) -> Result:
    from tidegate.models.forecast_answers import held_back_figures

    plan, lines = problem.plan, problem.lines
    lower = 0.0 if options.output == "negative_binomial" and options.lower is None else options.lower
    honest = Core(plan, _nets(problem, [m.best for m in result.members]), None, lower, options.paths, problem.ids)
    cut = problem.validation_cut()
    corrections = honest.with_corrections(lines, cut).corrections if options.calibrate and len(cut.lines) else None
    core = replace(honest, nets=_nets(problem, [m.final for m in result.members]), corrections=corrections)
    card = _card(options, problem, panel, result)
    card["held_back"] = held_back_figures(replace(honest, corrections=corrections), lines, cut) if len(cut.lines) else None
    return Result(core, panel, card, result.steps)


def _nets(problem: ForecastProblem, weights: list[dict[str, npt.NDArray[np.generic]]]) -> tuple[Predictor, ...]:
    spec = build_spec(problem.plan)
    return tuple(Predictor(spec, cast("dict[str, Floats]", w)) for w in weights)


def _card(options: ForecastOptions, problem: ForecastProblem, panel: Panel, result: FitResult) -> dict[str, Plain]:
    lengths = np.asarray(panel.lengths)
    return {
        "source": panel.source.rsplit("/", 1)[-1],
        "series": panel.n_series,
        "rows": int(lengths.sum()),
        "data_sha256": _hash(panel),
        "seed": options.seed,
        "steps": result.steps,
        "interrupted": result.interrupted,
        "members": [{"best_step": m.best_step, "held_back_loss": m.best_loss, "steps": m.steps} for m in result.members],
        "weights": problem.spec.count() * len(result.members),
        "held_back_rows": problem.held_back(),
        "notes": [*panel.notes, *_known_future(panel)],
        "versions": versions(),
    }


def _known_future(panel: Panel) -> list[str]:
    """Rows at the end with known covariates and no target are the horizon, not missing history; it is said."""
    count = int((panel.future_rows > 0).sum())
    return [f"{count} series end in rows without a target: taken as the known future, the forecast starts there"] if count else []


def _hash(panel: Panel) -> str:
    arrays: dict[str, npt.NDArray[np.generic]] = {"target": panel.target, "offsets": panel.offsets, "starts": panel.starts}
    arrays["ids"] = np.frombuffer(json.dumps(list(panel.ids)).encode(), np.uint8)
    if panel.elapsed is not None and panel.origins is not None:
        arrays |= {"elapsed": panel.elapsed, "origins": panel.origins}
    for name in ("past", "future", "static"):
        group = getattr(panel, name)
        arrays |= {f"{name}.numbers": group.numbers, f"{name}.codes": group.codes}
    return data_hash(arrays)
