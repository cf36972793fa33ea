"""The battery of checks.py over every block kind and several nets; what graph.run refuses; dropout."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

import checks
from tidegate.blocks.graph import run
from tidegate.errors import ShapeError
from tidegate.nn.ops import TorchOps
from tidegate.runtime.ops import NumpyOps
from tidegate.spec import Add, Block, Concat, Dropout, Fold, Mix, Port, Position, Recurrent, Reverse, Shift, Spec, Unfold


@pytest.mark.parametrize("check", checks.CHECKS)
@pytest.mark.parametrize("case", checks.CASES)
def test_battery(case: str, check: str) -> None:
    checks.CHECKS[check](checks.CASES[case])


def test_the_battery_covers_every_block_kind() -> None:
    covered = {block.kind for case in checks.CASES.values() for block in case.spec.blocks}
    assert covered == {kind.kind for kind in get_args(Block)}
    assert len(checks.CHECKS) == 7


def two_sequences(block: Block) -> Spec:
    return Spec(inputs=(Port(name="x", size=2), Port(name="z", size=2)), blocks=(block,), outputs=(block.name,))


SIDE_BY_SIDE = [Concat(name="y", inputs=("x", "z")), Add(name="y", inputs=("x", "z")), Mix(name="y", inputs=("x", "z"))]


@pytest.mark.parametrize("block", SIDE_BY_SIDE, ids=lambda b: b.kind)
@pytest.mark.parametrize("ops", [NumpyOps(), TorchOps()], ids=["numpy", "torch"])
def test_sequences_side_by_side_must_agree(block: Block, ops: object) -> None:
    make = torch.zeros if isinstance(ops, TorchOps) else np.zeros
    with pytest.raises(ShapeError, match=r"block 'y': expected 3 steps of 'z'.*got 4"):
        run(ops, two_sequences(block), {}, {"x": make((2, 3, 2)), "z": make((2, 4, 2))})
    lengths = {"x": make(2) + 1, "z": make(2) + 2}
    with pytest.raises(ShapeError, match=r"block 'y': the lengths of 'z' differ"):
        run(ops, two_sequences(block), {}, {"x": make((2, 3, 2)), "z": make((2, 3, 2))}, lengths)


@pytest.mark.parametrize("block", SIDE_BY_SIDE, ids=lambda b: b.kind)
def test_lengths_of_the_second_input_are_kept(block: Block) -> None:
    rng = np.random.default_rng(0)
    inputs = {"x": rng.normal(size=(2, 3, 2)), "z": rng.normal(size=(2, 3, 2))}
    y = run(NumpyOps(), two_sequences(block), {}, inputs, {"z": np.array([1, 3])}).outputs["y"]
    assert not y[0, 1:].any()
    assert y[1].all()


def test_a_fold_needs_whole_segments() -> None:
    spec = Spec(inputs=(Port(name="x", size=2),), blocks=(Fold(name="y", inputs=("x",), size=4),), outputs=("y",))
    with pytest.raises(ShapeError, match=r"block 'y': expected a multiple of 4 steps, got 6. Pad to whole segments"):
        run(NumpyOps(), spec, {}, {"x": np.zeros((1, 6, 2))})


def test_fold_keeps_the_order_of_steps_and_unfold_undoes_it() -> None:
    blocks = (Fold(name="folded", inputs=("x",), size=2), Unfold(name="y", inputs=("folded",), size=2))
    spec = Spec(inputs=(Port(name="x", size=3),), blocks=blocks, outputs=("folded", "y"))
    x = np.arange(12.0).reshape(1, 4, 3)
    outputs = run(NumpyOps(), spec, {}, {"x": x}).outputs
    assert outputs["folded"].tolist() == [[[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]]
    assert np.array_equal(outputs["y"], x)


@pytest.mark.parametrize("ops", [NumpyOps(), TorchOps()], ids=["numpy", "torch"])
def test_a_segment_that_is_begun_counts(ops: object) -> None:
    """Lengths round up to segments, and what is left of the last one is 0."""
    make = torch.tensor if isinstance(ops, TorchOps) else np.array
    blocks = (Fold(name="folded", inputs=("x",), size=3), Unfold(name="y", inputs=("folded",), size=3))
    spec = Spec(inputs=(Port(name="x", size=1),), blocks=blocks, outputs=("folded", "y"))
    outputs = run(ops, spec, {}, {"x": make([[[7.0]] * 6] * 4)}, {"x": make([0, 1, 3, 4])}).outputs
    rows = [[[0, 0, 0], [0, 0, 0]], [[7, 0, 0], [0, 0, 0]], [[7, 7, 7], [0, 0, 0]], [[7, 7, 7], [7, 0, 0]]]
    assert outputs["folded"].tolist() == rows


@pytest.mark.parametrize("ops", [NumpyOps(), TorchOps()], ids=["numpy", "torch"])
def test_shift_and_reverse_keep_to_a_rows_steps(ops: object) -> None:
    x = np.arange(1.0, 11.0).reshape(2, 5, 1)
    inputs, lengths = ({"x": x}, {"x": np.array([3, 5])})
    if isinstance(ops, TorchOps):
        inputs, lengths = ({"x": torch.from_numpy(x)}, {"x": torch.tensor([3, 5])})

    def of(block: Block) -> list[list[float]]:
        spec = Spec(inputs=(Port(name="x", size=1),), blocks=(block,), outputs=("y",))
        return run(ops, spec, {}, inputs, lengths).outputs["y"][..., 0].tolist()

    assert of(Reverse(name="y", inputs=("x",))) == [[3, 2, 1, 0, 0], [10, 9, 8, 7, 6]]
    assert of(Shift(name="y", inputs=("x",), by=1)) == [[0, 1, 2, 0, 0], [0, 6, 7, 8, 9]]
    assert of(Shift(name="y", inputs=("x",), by=-2)) == [[3, 0, 0, 0, 0], [8, 9, 10, 0, 0]]
    assert of(Shift(name="y", inputs=("x",), by=9)) == [[0] * 5, [0] * 5]


def test_no_step_of_both_contexts_sees_itself() -> None:
    case = checks.CASES["both contexts"]
    weights, inputs = case.weights(), case.inputs()
    before = run(NumpyOps(), case.spec, weights, inputs).outputs["y"]
    changed = inputs["x"].copy()
    changed[:, 3] += 5.0
    after = run(NumpyOps(), case.spec, weights, {"x": changed}).outputs["y"]
    assert np.array_equal(before[:, 3], after[:, 3])
    assert not np.isclose(before[:, 2], after[:, 2]).all()
    assert not np.isclose(before[:, 4], after[:, 4]).all()


def test_a_position_beyond_the_table_is_refused() -> None:
    block = Position(name="y", inputs=("x",), steps=2, size=1)
    spec = Spec(inputs=(Port(name="x", size=1),), blocks=(block,), outputs=("y",))
    with pytest.raises(ShapeError, match=r"block 'y': expected at most 2 steps, got 3"):
        run(NumpyOps(), spec, {"y.weight": np.zeros((2, 1))}, {"x": np.zeros((1, 3, 1))})


def test_mix_is_the_weighted_mean() -> None:
    x, z = np.log(np.array([[[1.0, 3.0]]])), np.array([[[10.0, 20.0]]])
    y = run(NumpyOps(), two_sequences(Mix(name="y", inputs=("x", "z"))), {}, {"x": x, "z": z}).outputs["y"]
    np.testing.assert_allclose(y, [[[0.25 * 10 + 0.75 * 20]]])


def test_dropout_acts_with_a_generator_only_and_repeats_with_its_seed() -> None:
    spec = Spec(inputs=(Port(name="x", size=50),), blocks=(Dropout(name="y", inputs=("x",), p=0.4),), outputs=("y",))
    x = {"x": torch.ones(8, 5, 50)}
    outputs = [run(TorchOps(torch.Generator().manual_seed(s)), spec, {}, x).outputs["y"] for s in (3, 3, 4)]
    assert torch.equal(run(TorchOps(), spec, {}, x).outputs["y"], x["x"])
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert outputs[0].unique().tolist() == pytest.approx([0.0, 1 / 0.6])
    assert abs(float((outputs[0] == 0).float().mean()) - 0.4) < 0.04  # 2000 draws: 3.6 standard deviations


@pytest.mark.parametrize("fused", [True, False])
def test_dropout_between_layers_acts_in_both_paths(fused: bool) -> None:
    block = Recurrent(name="y", inputs=("x",), cell="gru", input_size=2, hidden_size=3, num_layers=2, dropout=0.5)
    spec = Spec(inputs=(Port(name="x", size=2),), blocks=(block,), outputs=("y",))
    weights = {n: torch.full(s, 0.3) for n, s in spec.parameters().items()}
    x = {"x": torch.ones(2, 4, 2)}
    ran = [run(TorchOps(rng, fused=fused), spec, weights, x).state["y.h"] for rng in (None, torch.Generator().manual_seed(1))]
    assert torch.equal(ran[0][0], ran[1][0])  # the first layer is before it
    assert not torch.equal(ran[0][1], ran[1][1])


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru"])
def test_dropped_recurrent_weights_are_the_same_at_every_step(cell: str, fused: bool) -> None:
    """Training with weight_dropout is the plain block on weights of which some weight_hh are 0 and the others larger."""
    sizes = {"input_size": 2, "hidden_size": 6, "num_layers": 2, "bidirectional": True}
    plain, dropped = (
        Spec(
            inputs=(Port(name="x", size=2),),
            blocks=(Recurrent(name="y", inputs=("x",), cell=cell, weight_dropout=p, **sizes),),
            outputs=("y",),
        )
        for p in (0.0, 0.4)
    )
    rng = torch.Generator().manual_seed(5)
    weights = {n: torch.randn(s, generator=rng, requires_grad=True) for n, s in plain.parameters().items()}
    x = {"x": torch.randn(3, 7, 2, generator=rng)}
    y = run(TorchOps(torch.Generator().manual_seed(1), fused=fused), dropped, weights, x).outputs["y"]
    y.square().sum().backward()
    draws, masked = torch.Generator().manual_seed(1), {}
    for name, value in weights.items():
        hidden = "weight_hh" in name
        keep = torch.rand(value.shape, generator=draws) >= 0.4 if hidden else torch.ones(value.shape, dtype=torch.bool)
        masked[name] = value.detach() * keep / (0.6 if hidden else 1.0)
        assert value.grad is not None
        assert bool((value.grad[~keep] == 0).all()), "what is dropped has no gradient"
        assert bool((value.grad[keep] != 0).all())
    torch.testing.assert_close(y, run(TorchOps(fused=fused), plain, masked, x).outputs["y"])
    whole = run(TorchOps(fused=fused), dropped, weights, x).outputs["y"]
    assert torch.equal(whole, run(TorchOps(fused=fused), plain, weights, x).outputs["y"]), (
        "nothing is dropped without a generator"
    )


def test_a_decoder_starts_where_its_encoder_ends_unless_it_is_given_a_state() -> None:
    case = checks.CASES["encoder-decoder lstm"]
    weights, inputs = case.weights(), case.inputs()
    ran = run(NumpyOps(), case.spec, weights, inputs)
    carried = {part: ran.state[part.replace("decoder", "encoder")] for part in ("decoder.h", "decoder.c")}
    again = run(NumpyOps(), case.spec, weights, inputs, None, carried)
    assert np.array_equal(again.outputs["y"], ran.outputs["y"])
    zero = run(NumpyOps(), case.spec, weights, inputs, None, {p: v * 0 for p, v in carried.items()})
    assert not np.allclose(zero.outputs["y"], ran.outputs["y"])
