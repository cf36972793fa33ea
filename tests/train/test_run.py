"""Runs: members, checkpoints and resumes, budget, Ctrl-C."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tidegate.errors import FormatError, OutputError
from tidegate.tasks.problem import TrainOptions
from tidegate.train import run as running
from tidegate.train.checkpoint import Checkpoints
from tidegate.train.run import FitResult, RunOptions, fit_members
from train.conftest import MakeProblem

OPTIONS = TrainOptions(steps=20, check_every=4, averaging=0.9)


class Killed(BaseException):
    """Stands for SIGKILL inside one process: nothing catches it."""


def bytes_of(result: FitResult) -> list[bytes]:
    return [b"".join(part[n].tobytes() for part in (m.best, m.final) for n in sorted(part)) for m in result.members]


def stop_at(member: int, step: int, how: type[BaseException]):
    def on_event(event: Mapping[str, object]) -> None:
        if (event["member"], event["step"]) == (member, step):
            raise how

    return on_event


def test_members_have_seeds_of_their_own(make_problem: MakeProblem) -> None:
    result = fit_members(make_problem(), OPTIONS, RunOptions(members=2))
    assert len(result.members) == 2
    assert bytes_of(result)[0] != bytes_of(result)[1]
    assert bytes_of(fit_members(make_problem(), OPTIONS, RunOptions()))[0] == bytes_of(result)[0]
    assert not result.interrupted


@pytest.mark.parametrize("extra", [{}, {"scaling": "running", "truncate": 2}], ids=["plain", "carried"])
@pytest.mark.parametrize("place", [(0, 3), (0, 7), (0, 15), (0, 20), (1, 1), (1, 5), (1, 20)], ids=str)
def test_a_killed_run_goes_on_to_the_same_bytes(make_problem: MakeProblem, tmp_path: Path, place, extra) -> None:
    problem = make_problem(**extra)
    whole = fit_members(problem, OPTIONS, RunOptions(members=2, history=tmp_path / "whole.jsonl"))
    options = RunOptions(members=2, checkpoint=tmp_path / "m", checkpoint_every=5, history=tmp_path / "h.jsonl", run_id="a")
    with pytest.raises(Killed):
        fit_members(problem, OPTIONS, replace(options, on_event=stop_at(*place, Killed)))
    resumed = fit_members(problem, OPTIONS, replace(options, resume=True))
    assert bytes_of(resumed) == bytes_of(whole)
    assert [m.best_loss for m in resumed.members] == [m.best_loss for m in whole.members]
    assert records(tmp_path / "h.jsonl") == records(tmp_path / "whole.jsonl")  # each step once, in order, with the same figures


def records(path: Path) -> list[dict[str, object]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in found]


def test_a_corrupted_newest_checkpoint_gives_way_to_the_older(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    whole = bytes_of(fit_members(problem, OPTIONS, RunOptions()))
    options = RunOptions(checkpoint=tmp_path / "m", checkpoint_every=4)
    with pytest.raises(Killed):
        fit_members(problem, OPTIONS, replace(options, on_event=stop_at(0, 13, Killed)))
    older, newest = Checkpoints(tmp_path / "m").paths()
    newest.write_bytes(newest.read_bytes()[:-9])
    assert bytes_of(fit_members(problem, OPTIONS, replace(options, resume=True))) == whole
    for path in (older, newest):
        path.write_bytes(b"nothing")
    for path in Checkpoints(tmp_path / "m").paths():
        path.write_bytes(b"nothing")
    with pytest.raises(FormatError, match="remove them to start anew"):
        fit_members(problem, OPTIONS, replace(options, resume=True))


def test_a_checkpoint_of_another_run_is_refused(make_problem: MakeProblem, tmp_path: Path) -> None:
    options = RunOptions(checkpoint=tmp_path / "m", run_id="a")
    fit_members(make_problem(), OPTIONS, options)
    with pytest.raises(FormatError, match=r"made with other options or other data; remove it"):
        fit_members(make_problem(), OPTIONS, replace(options, run_id="b", resume=True))


def test_a_checkpoint_that_cannot_be_written_stops_the_run(make_problem: MakeProblem, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the folder does not exist"):
        fit_members(make_problem(), OPTIONS, RunOptions(checkpoint=tmp_path / "no" / "m", checkpoint_every=1))


def test_starting_anew_and_resuming_nothing_are_said(make_problem, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = RunOptions(checkpoint=tmp_path / "m", checkpoint_every=2)
    with caplog.at_level(logging.WARNING, "tidegate"):
        fit_members(make_problem(), OPTIONS, replace(options, resume=True))
        assert "no checkpoint to go on from" in caplog.text
        fit_members(make_problem(), OPTIONS, options)
    assert "checkpoints of an earlier run are removed" in caplog.text


def test_ctrl_c_keeps_the_best_so_far(make_problem: MakeProblem, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Mapping[str, object]] = []

    def on_event(event: Mapping[str, object]) -> None:
        seen.append(event)
        if event["step"] == 10:
            raise KeyboardInterrupt

    result = fit_members(make_problem(), OPTIONS, RunOptions(on_event=on_event))
    assert result.interrupted
    assert len(result.members) == 1
    best = [event["step"] for event in seen if event.get("best")][-1]
    assert result.members[0].best_step == best
    assert result.members[0].steps == 10
    assert "interrupted at step 10 of 20: the best model so far is kept" in caplog.text


def test_ctrl_c_in_a_later_member_keeps_the_whole_ones_alone(make_problem: MakeProblem) -> None:
    result = fit_members(make_problem(), OPTIONS, RunOptions(members=3, on_event=stop_at(1, 2, KeyboardInterrupt)))
    assert result.interrupted
    assert [m.steps for m in result.members] == [20]


def test_ctrl_c_before_the_first_check_keeps_nothing(make_problem: MakeProblem) -> None:
    with pytest.raises(KeyboardInterrupt, match="at step 1 of 20, before the first look at the held-back data: nothing is kept"):
        fit_members(make_problem(), OPTIONS, RunOptions(on_event=stop_at(0, 1, KeyboardInterrupt)))


def test_a_budget_fixes_the_steps_once_and_they_are_replayable(
    make_problem: MakeProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(running, "LEAST_STEPS", 5)

    def counted(problem: object, options: TrainOptions, seconds: float) -> int:
        asked.append(seconds)
        return 17

    timed = running.steps_for(make_problem(), OPTIONS, 0.5)
    assert timed >= 5
    monkeypatch.setattr(running, "steps_for", counted)
    budgeted = fit_members(make_problem(), OPTIONS, RunOptions(members=2, budget=60.0))
    assert asked == [30.0]
    assert budgeted.steps == 17
    replayed = fit_members(make_problem(), replace(OPTIONS, steps=budgeted.steps), RunOptions(members=2))
    assert bytes_of(replayed) == bytes_of(budgeted)


def test_more_time_gives_more_steps(make_problem: MakeProblem) -> None:
    problem = make_problem()
    assert running.steps_for(problem, OPTIONS, 20.0) > running.steps_for(problem, OPTIONS, 2.0)


def test_a_resumed_budget_keeps_its_steps(make_problem: MakeProblem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "steps_for", lambda *_: 13)
    options = RunOptions(budget=9.0, checkpoint=tmp_path / "m", checkpoint_every=3)
    with pytest.raises(Killed):
        fit_members(make_problem(), OPTIONS, replace(options, on_event=stop_at(0, 8, Killed)))
    monkeypatch.setattr(running, "steps_for", lambda *_: 999)
    assert fit_members(make_problem(), OPTIONS, replace(options, resume=True)).steps == 13


@pytest.mark.parametrize("averaging", [0.0, 0.99])
def test_a_warm_start_starts_from_the_given_weights(make_problem: MakeProblem, averaging: float) -> None:
    trained = fit_members(make_problem(), OPTIONS, RunOptions()).members[0].final
    options = TrainOptions(steps=4, learning_rate=1e-30, weight_decay=0.0, averaging=averaging, check_every=2, seed=8)
    warm = fit_members(make_problem(), options, RunOptions(), dict(trained)).members[0].final
    for name, value in trained.items():
        np.testing.assert_allclose(warm[name], value, rtol=1e-6, atol=1e-7)


def test_history_rises_and_is_json(make_problem: MakeProblem, tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    fit_members(make_problem(), OPTIONS, RunOptions(members=2, history=path))
    found = [json.loads(line, parse_constant=lambda text: pytest.fail(text)) for line in path.read_text().splitlines()]
    assert [(r["member"], r["step"]) for r in found] == [(m, s + 1) for m in range(2) for s in range(20)]
    assert all({"loss", "learning_rate", "grad_norm", "clipped_share", "seconds"} <= set(r) for r in found)
    assert any("validation" in r for r in found)
