"""The validation tail never overlaps the training targets: every drawn target is traced back to its row."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.tasks.forecast import ForecastProblem
from tidegate.tasks.problem import Batch
from train.conftest import MakeProblem

MARK = 1000  # row r of line k holds the value MARK * (k + 1) + r
FORMS = {
    "direct": {},
    "running": {"scaling": "running"},
    "carried": {"scaling": "running", "truncate": 2},
    "recursive": {"decode": "recursive"},
    "long horizon": {"horizon": 24},
    "validation=horizon": {"validation": 4},
}


def marked(lengths: tuple[int, ...]) -> list[np.ndarray]:
    return [MARK * (k + 1) + np.arange(n, dtype=float) for k, n in enumerate(lengths)]


def rows_of(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Line and row of every target that counts; the negative binomial's targets say how to leave the scale."""
    values = batch.targets["y"] * batch.targets["unit"][:, None] + batch.targets["offset"][:, None]
    counted = np.rint(values[batch.targets["weight"] > 0]).astype(int)
    return counted // MARK - 1, counted % MARK


def problem_of(make_problem: MakeProblem, lengths: tuple[int, ...], form: str) -> ForecastProblem:
    return make_problem(marked(lengths), output="negative_binomial", **FORMS[form])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lengths", [(90, 90), (200,), (30, 300, 61), (40, 7, 90)], ids=str)
def test_no_target_is_held_back_and_drawn(make_problem: MakeProblem, lengths: tuple[int, ...], form: str) -> None:
    problem = problem_of(make_problem, lengths, form)
    rng, cursor, latest = np.random.default_rng(0), None, np.zeros(len(lengths), int)
    for draw in range(60):
        batch, cursor = problem.draw(rng, cursor, draw / 60, False)
        lines, rows = rows_of(batch)
        assert (rows < problem.train_end[lines]).all()
        np.maximum.at(latest, lines, rows)
    usable = problem.train_end >= problem.plan.horizon + 1
    assert (latest[usable] >= problem.train_end[usable] - 1 - problem.plan.horizon).all()  # and nearly all of it is used
    for batch in problem.validation():
        lines, rows = rows_of(batch)
        assert len(rows)
        assert (rows >= problem.train_end[lines]).all()


def test_the_closing_phase_uses_the_tail(make_problem: MakeProblem) -> None:
    problem = problem_of(make_problem, (90, 90), "direct")
    rng, seen = np.random.default_rng(0), 0
    for _ in range(30):
        lines, rows = rows_of(problem.draw(rng, None, 0.9, True)[0])
        seen += int((rows >= problem.train_end[lines]).sum())
    assert seen > 0


def test_the_held_back_batches_are_the_same_at_every_call(make_problem: MakeProblem) -> None:
    problem = problem_of(make_problem, (90, 90), "direct")
    for one, two in zip(problem.validation(), problem.validation(), strict=True):
        assert all(np.array_equal(one.targets[name], two.targets[name]) for name in one.targets)
