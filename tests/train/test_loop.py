"""The loop: schedule, clipping, averaging, early stopping, the best kept, two phases, carried state, seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tidegate.config import Plain
from tidegate.errors import ConfigError
from tidegate.spec import Linear, Port, Recurrent, Spec
from tidegate.tasks.problem import Batch, Rolled, TrainOptions
from tidegate.train.loop import Record, evaluate_loss, learning_rate_at, train
from tidegate.train.state import TrainState, new_state
from train.conftest import MakeProblem

ROWS, WIDTH = 4, 2


class Toy:
    """A GRU over given inputs: `raw` and `base` from its outputs. Batches come from a list."""

    loss = "squared"
    rolled: Rolled | None = None

    def __init__(self, batches: Sequence[Batch], held_back: Sequence[Batch] = (), carried: tuple[str, ...] = ()) -> None:
        self.batches, self.held_back, self.carried = list(batches), list(held_back), carried
        self.draws: list[tuple[float, bool]] = []
        self.spec = Spec(
            inputs=(Port(name="x", size=WIDTH),),
            blocks=(
                Recurrent(name="cell", inputs=("x",), cell="gru", input_size=WIDTH, hidden_size=3),
                Linear(name="raw", inputs=("cell",), input_size=3, output_size=1),
                Linear(name="base", inputs=("cell",), input_size=3, output_size=1),
            ),
            outputs=("raw", "base"),
        )

    def draw(self, rng: np.random.Generator, cursor: Plain, progress: float, closing: bool) -> tuple[Batch, Plain]:
        self.draws.append((progress, closing))
        at = int(cursor) if isinstance(cursor, int) else 0
        return self.batches[at % len(self.batches)], at + 1

    def validation(self) -> Sequence[Batch]:
        return self.held_back


def batch(seed: int, steps: int = 6, *, scale: float = 1.0, continues: np.ndarray | None = None, weight: float = 1.0) -> Batch:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((ROWS, steps, WIDTH)).astype(np.float32)
    y = (scale * x.sum(-1)).astype(np.float32)
    return Batch({"x": x}, {"y": y, "weight": np.full_like(y, weight)}, continues=continues)


def ran(problem: Toy, options: TrainOptions) -> tuple[list[Record], TrainState]:
    state = new_state(problem, options)
    return list(train(problem, options, state)), state


@given(st.integers(1, 400), st.integers(0, 100), st.floats(0, 0.9))
def test_the_schedule_warms_up_then_falls(steps: int, warmup: int, closing: float) -> None:
    options = TrainOptions(steps=steps, warmup=warmup, closing=closing, learning_rate=0.01)
    rates = [learning_rate_at(step, options) for step in range(steps)]
    assert all(0 < rate <= 0.01 for rate in rates)
    top = int(np.argmax(rates))
    assert top <= max(1, min(warmup, steps // 5))
    assert rates[top:] == sorted(rates[top:], reverse=True)
    early = options.open_steps // 2  # stopped early: the closing phase runs on the schedule's last part
    closed = [learning_rate_at(early + k, options, early) for k in range(steps - options.open_steps)]
    assert closed == rates[options.open_steps :]


def test_the_clipped_share_is_logged_and_the_norm_is_the_one_before_clipping() -> None:
    problem = Toy([batch(0, scale=100.0), batch(1, scale=1e-3)])
    records, state = ran(problem, TrainOptions(steps=10, clip_norm=0.5, closing=0.0))
    norms = [record["grad_norm"] for record in records]
    shares = [record["clipped_share"] for record in records]
    assert max(norms) > 0.5
    assert shares == [sum(n > 0.5 for n in norms[: i + 1]) / (i + 1) for i in range(10)]
    assert state.clipped == sum(n > 0.5 for n in norms)


def test_clipping_bounds_the_step() -> None:
    problem = Toy([batch(0, scale=1e4)])
    loose, tight = (ran(problem, TrainOptions(steps=1, clip_norm=norm, closing=0.0))[1].network for norm in (1e9, 1e-6))
    grads = [torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]).norm() for net in (loose, tight)]
    assert float(grads[1]) == pytest.approx(1e-6, rel=1e-3)
    assert float(grads[0]) > 1.0


def test_the_moving_average_follows_its_formula() -> None:
    problem, options = Toy([batch(0), batch(1)]), TrainOptions(steps=20, averaging=0.5, closing=0.0, check_every=100)
    state = new_state(problem, options)
    average = {name: value.copy() for name, value in state.network.arrays().items()}
    for record in train(problem, options, state):
        if record["step"] == options.steps:
            break  # the last step loads the best weights
        keep = min(0.5, (1 + record["step"] - 1) / (10 + record["step"] - 1))
        now = state.network.arrays()
        average = {name: keep * average[name] + (1 - keep) * now[name] for name in now}
        for name, value in state.average.items():
            np.testing.assert_allclose(value.numpy(), average[name], rtol=1e-5, atol=1e-6)


def test_averaged_weights_are_what_is_measured_and_shipped() -> None:
    problem = Toy([batch(0)], [batch(9)])
    _, state = ran(problem, TrainOptions(steps=12, averaging=0.9, check_every=4, closing=0.0))
    assert state.final is not None
    state.network.load(state.final)  # type: ignore[arg-type]  # float32
    assert evaluate_loss(problem, state.network, problem.held_back) == pytest.approx(state.best_loss, rel=1e-6)


def test_patience_ends_the_open_phase_and_the_best_is_kept() -> None:
    problem = Toy([batch(0, scale=30.0)], [batch(0, scale=-30.0)])  # what is learnt makes the held-back loss worse
    options = TrainOptions(steps=200, check_every=5, patience=3, closing=0.0, learning_rate=0.05, warmup=0)
    records, state = ran(problem, options)
    checks = [record for record in records if "validation" in record]
    losses = [record["validation"] for record in checks]
    best = int(np.argmin(losses))
    assert state.step == checks[-1]["step"] < 200
    assert checks[-1]["stop"]
    assert not any(record["stop"] for record in checks[:-1])
    assert len(checks) - 1 - best == 3
    assert state.best_step == checks[best]["step"]
    assert state.best_loss == losses[best]
    assert [record["best"] for record in checks] == [loss < min([np.inf, *losses[:i]]) for i, loss in enumerate(losses)]
    assert state.final is not None
    assert state.best is not None
    assert all(np.array_equal(state.final[name], state.best[name]) for name in state.best)


def test_no_patience_never_stops() -> None:
    problem = Toy([batch(0, scale=30.0)], [batch(0, scale=-30.0)])
    records, _ = ran(problem, TrainOptions(steps=60, check_every=2, patience=0, closing=0.0, learning_rate=0.05))
    assert len(records) == 60


@pytest.mark.parametrize("patience", [0, 2])
def test_the_closing_phase_has_its_share_and_starts_from_the_best(patience: int) -> None:
    problem = Toy([batch(0, scale=30.0)], [batch(0, scale=-30.0)])
    options = TrainOptions(steps=40, check_every=2, patience=patience, closing=0.25, learning_rate=0.05)
    state = new_state(problem, options)
    started = None
    for record in train(problem, options, state):
        if state.closing_from == record["step"]:
            assert state.best is not None
            started = state.network.arrays()
            assert all(np.array_equal(started[name], state.best[name]) for name in started)
    assert started is not None
    assert state.closing_from is not None
    assert state.step == state.closing_from + 10
    assert [closing for _, closing in problem.draws] == [False] * state.closing_from + [True] * 10
    assert (state.closing_from < 30) == bool(patience)
    assert state.final is not None
    assert any(not np.array_equal(state.final[name], started[name]) for name in started)


def test_without_held_back_rows_the_newest_weights_ship() -> None:
    records, state = ran(Toy([batch(0)]), TrainOptions(steps=10, check_every=2, patience=1, closing=0.0))
    assert len(records) == 10
    assert not any("validation" in record for record in records)
    assert state.best_step == 10


def test_a_held_back_tail_without_a_single_value_neither_stops_nor_chooses() -> None:
    problem = Toy([batch(0)], [batch(1, weight=0.0)])
    records, state = ran(problem, TrainOptions(steps=10, check_every=2, patience=1, closing=0.0))
    assert len(records) == 10
    assert state.best_step == 10
    assert state.best_loss is None


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_an_error_with_a_remedy(poison: float) -> None:
    bad = batch(0)
    bad = replace(bad, inputs={"x": np.full_like(bad.inputs["x"], poison)})
    with pytest.raises(ConfigError, match=r"step 1: expected a finite loss, got nan.*Lower learning_rate \(it was 0.003\)"):
        ran(Toy([bad]), TrainOptions(steps=3))


def chunks(whole: Batch, size: int, *, anew: bool = False) -> list[Batch]:
    """The same rows in pieces; `anew`: one of them starts over with each piece."""
    pieces = []
    for start in range(0, whole.inputs["x"].shape[1], size):
        goes_on = np.full(ROWS, start > 0)
        goes_on[1] = goes_on[1] and not anew
        inputs, targets = ({k: v[:, start : start + size] for k, v in part.items()} for part in (whole.inputs, whole.targets))
        pieces.append(Batch(inputs, targets, continues=goes_on))
    return pieces


def frozen_losses(batches: Sequence[Batch], carried: tuple[str, ...]) -> list[float]:
    """Losses of the loop with weights that do not move."""
    problem = Toy(batches, carried=carried)
    options = TrainOptions(steps=len(batches), learning_rate=1e-30, weight_decay=0.0, closing=0.0, check_every=10**6)
    return [record["loss"] for record in ran(problem, options)[0]]


def test_chunks_with_carried_state_equal_one_long_pass() -> None:
    whole = batch(5, steps=12)
    long = frozen_losses([whole], ())[0]
    parts = frozen_losses(chunks(whole, 4), ("cell.h",))
    assert np.mean(parts) == pytest.approx(long, rel=1e-5)
    cut = frozen_losses(chunks(whole, 4), ())
    assert np.mean(cut) != pytest.approx(long, rel=1e-3)  # the test can tell


def test_rows_that_start_anew_start_at_zero() -> None:
    whole = batch(5, steps=8)
    pieces = chunks(whole, 4, anew=True)
    carried = frozen_losses(pieces, ("cell.h",))[1]
    options = TrainOptions(steps=1)
    network = new_state(Toy([whole]), options).network
    with torch.no_grad():
        start = network({"x": torch.from_numpy(pieces[0].inputs["x"])}).state
        kept = {"cell.h": start["cell.h"].clone()}
        kept["cell.h"][:, 1] = 0.0
        outputs = network({"x": torch.from_numpy(pieces[1].inputs["x"])}, None, kept).outputs
        e = torch.from_numpy(pieces[1].targets["y"]) - outputs["raw"][..., 0] - outputs["base"][..., 0]
    assert carried == pytest.approx(float((e**2).mean()), rel=1e-5)


def test_no_gradient_reaches_an_earlier_chunk() -> None:
    problem = Toy(chunks(batch(5, steps=8), 4), carried=("cell.h",))
    state = new_state(problem, TrainOptions(steps=2, closing=0.0))
    for _ in train(problem, TrainOptions(steps=2, closing=0.0, check_every=10**6), state):
        if state.carried is not None:
            assert not any(value.requires_grad for value in state.carried.values())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(make_problem: MakeProblem) -> None:
    def final(seed: int) -> bytes:
        problem, options = make_problem(dropout=0.3), TrainOptions(steps=8, seed=seed, averaging=0.9)
        state = new_state(problem, options)
        for _ in train(problem, options, state):
            pass
        assert state.final is not None
        return b"".join(state.final[name].tobytes() for name in sorted(state.final))

    assert final(1) == final(1)
    assert final(1) != final(2)


def test_no_global_generator_is_touched(make_problem: MakeProblem) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]  # noqa: NPY002
    problem, options = make_problem(dropout=0.3, decode="recursive"), TrainOptions(steps=6)
    for _ in train(problem, options, new_state(problem, options)):
        pass
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # type: ignore[arg-type]  # noqa: NPY002


def test_training_learns(make_problem: MakeProblem) -> None:
    problem, options = make_problem(), TrainOptions(steps=60, check_every=10, learning_rate=0.01)
    records = list(train(problem, options, new_state(problem, options)))
    assert np.mean([r["loss"] for r in records[-10:]]) < 0.8 * np.mean([r["loss"] for r in records[:10]])


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("learning_rate", 0.0), ("clip_norm", -1.0), ("check_every", 0), ("patience", -1), ("closing", 1.0),
     ("averaging", 1.0), ("weight_decay", -0.1), ("seed", -1), ("warmup", -1)],
)  # fmt: skip
def test_options_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected .*, got"):
        TrainOptions(**{"steps": 10, name: value})  # type: ignore[arg-type]  # by name
