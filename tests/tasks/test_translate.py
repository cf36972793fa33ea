"""The translator's nets, options and batches: steps are the sequence, tied tables are one, batches hold what they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import checks
from tidegate import native
from tidegate.errors import ConfigError
from tidegate.nn.init import initial_weights
from tidegate.runtime.predictor import Predictor
from tidegate.spec import Blend, Embed, Linear, Match, Port, Recurrent, Spec
from tidegate.tasks.translate import CodedPairs, TranslateOptions, TranslateProblem, pair_groups
from tidegate.tasks.translate_nets import TABLE, Nets, build_nets, handed

SMALL = {"hidden_size": 6, "embedding_dim": 4, "dropout": 0.2}
SHAPES: dict[str, dict[str, object]] = {
    "multiplicative": {},
    "additive": {"attention": "additive", "num_layers": 2},
    "none": {"attention": "none", "cell": "gru"},
    "feeding": {"input_feeding": True, "cell": "rnn"},
    "shared": {"shared": True, "bidirectional": False},
    "untied": {"tied": False, "cell": "gru", "num_layers": 3},
}
PATHS = (False, True) if native.available() else (False,)


def weights_of(nets: Nets, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-0.7, 0.9, shape).astype(np.float32) for name, shape in nets.joined.parameters().items()}


def part(spec: Spec, weights: dict[str, np.ndarray], path: bool) -> Predictor:
    return Predictor(spec, {name: weights[name] for name in spec.parameters()}, native=path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "feeding"])
def test_the_decoder_step_by_step_is_the_joined_net(shape: str, path: bool) -> None:
    """Bit for bit on the core; what is carried is the state alone."""
    options = TranslateOptions(**SMALL, **SHAPES[shape])
    nets = build_nets(options, 7, 7)
    weights, rng = weights_of(nets), np.random.default_rng(1)
    source, previous = rng.integers(0, 7, (3, 5, 1)), rng.integers(0, 7, (3, 4, 1))
    lengths = np.array([5, 2, 0])
    whole = part(nets.joined, weights, path).run({"source": source, "previous": previous}, lengths={"source": lengths})
    encoded = part(nets.encoder, weights, path).run({"source": source}, lengths={"source": lengths}).outputs
    decoder, state = part(nets.decoder, weights, path), encoded["start"]
    assert state.shape == (3, nets.decoder.state_size())
    ragged = {name: lengths for name in handed(options) if name in ("memory", "keys")}
    for step in range(4):
        ran = decoder.run({**encoded, "previous": previous[:, step : step + 1]}, state, lengths=ragged)
        state = ran.state
        for name, y in ran.outputs.items():
            if path:
                checks.assert_bits(y[:, 0], whole.outputs[name][:, step], f"{name} at {step}")
            np.testing.assert_allclose(y[:, 0], whole.outputs[name][:, step], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_parts_have_the_weights_of_the_whole(shape: str) -> None:
    nets = build_nets(TranslateOptions(**SMALL, **SHAPES[shape]), 5, 7)
    whole = nets.joined.parameters()
    assert whole == {**nets.encoder.parameters(), **nets.decoder.parameters()}
    table = {name for name in whole if name.startswith(f"{TABLE}.")}
    assert table == (set() if shape == "untied" else {f"{TABLE}.weight"})
    assert nets.joined.count() == sum(np.prod(s) for s in whole.values())
    assert nets.joined.outputs[0] == "logits"


def test_a_shared_table_is_drawn_once_and_gets_every_gradient() -> None:
    """Tied vectors by hand: the gradient is the sum over the three places where the table stands."""
    nets = build_nets(TranslateOptions(**SMALL, shared=True), 5, 7)
    drawn = initial_weights(nets.joined, torch.Generator().manual_seed(0))
    assert drawn[f"{TABLE}.weight"].shape == (7, 4)
    assert float(drawn[f"{TABLE}.weight"].std()) == pytest.approx(0.2, rel=0.3), "as the first block, an Embed, says"

    from tidegate.blocks.graph import run
    from tidegate.nn.ops import TorchOps

    weights = {name: w.double().requires_grad_() for name, w in drawn.items()}
    inputs = {"source": torch.tensor([[[1], [2]]]), "previous": torch.tensor([[[6], [3]]])}
    logits = run(TorchOps(), nets.joined, weights, inputs).outputs["logits"]
    gradient = torch.autograd.grad(logits.square().sum(), weights[f"{TABLE}.weight"])[0]
    step, table = 1e-6, weights[f"{TABLE}.weight"]
    for row in (0, 1, 3):  # read by nobody but the output; by the source; by the target
        moved = {**weights, f"{TABLE}.weight": table + step * torch.eye(7, dtype=torch.float64)[row][:, None]}
        after = run(TorchOps(), nets.joined, moved, inputs).outputs["logits"].square().sum()
        slope = float((after - logits.square().sum()).detach()) / step
        assert slope == pytest.approx(float(gradient[row].sum()), rel=1e-4)


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ([Match(name="a", inputs=("x", "z"), size=3)], "expected a sequence of 3, got sequence of 2"),
        ([Blend(name="a", inputs=("x", "x"))], "expected an alignment, got sequence of 3"),
        (
            [Match(name="a", inputs=("x", "x"), size=3), Linear(name="y", inputs=("a",), input_size=3, output_size=1)],
            "block 'y': expected a sequence or a vector, got alignment",
        ),
        (
            [Recurrent(name="a", inputs=("x", "v"), cell="lstm", input_size=3, hidden_size=4)],
            "expected to start at a recurrent block or at a vector of 8, got vector of 4",
        ),
        (
            [
                Linear(name="a", inputs=("x",), input_size=3, output_size=2, table="t"),
                Linear(name="b", inputs=("x",), input_size=3, output_size=3, table="t"),
            ],
            r"block 'b': its table 't' has the shape \(2, 3\), and it needs \(3, 3\)",
        ),
        ([Linear(name="a", inputs=("x",), input_size=3, output_size=2, table="x")], "'x': the name stands twice"),
        ([Embed(name="a", inputs=("c",), num_embeddings=3, embedding_dim=2, table="No")], "'No': a name is lower-case"),
    ],
)
def test_specs_that_do_not_fit_are_refused(blocks: list[object], said: str) -> None:
    ports = (
        Port(name="x", size=3), Port(name="z", size=2), Port(name="v", size=4, shape="vector"),
        Port(name="c", size=1, shape="codes"),
    )  # fmt: skip
    with pytest.raises(ConfigError, match=said):
        Spec(inputs=ports, blocks=tuple(blocks), outputs=(blocks[-1].name,))


def test_options_that_do_not_fit_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        TranslateOptions(hidden_size=7, attention="none", input_feeding=True, shared=True, target_units="char", sampling=2.0)
    for name in ("hidden_size", "input_feeding", "shared", "sampling"):
        assert f"{name}: " in str(caught.value)


def pairs(count: int, seed: int = 0) -> CodedPairs:
    rng = np.random.default_rng(seed)
    sources = [rng.integers(1, 9, rng.integers(1, 12)) for _ in range(count)]
    return CodedPairs(sources, [s[::-1].copy() for s in sources])


def test_batches_hold_every_pair_once_within_their_size() -> None:
    options = TranslateOptions(**SMALL, batch_tokens=60, label_smoothing=0.2)
    coded = pairs(200)
    coded.targets[3][0] = 0  # a token that is not in the vocabulary
    problem = TranslateProblem(options, build_nets(options, 9, 10), coded, pairs(30, 1), 9)
    seen, cursor, rng = [], None, np.random.default_rng(0)
    for _ in range(problem.steps_per_epoch):
        batch, cursor = problem.draw(rng, cursor, 0.0, False)
        source, previous, y = batch.inputs["source"][..., 0], batch.inputs["previous"][..., 0], batch.targets["y"]
        assert len(source) * max(source.shape[1], previous.shape[1]) <= 60
        assert (previous[:, 0] == 9).all(), "the first step reads the end"
        assert batch.own is None
        assert float(batch.targets["smoothing"]) == pytest.approx(0.2)
        for row, length in enumerate(batch.lengths["source"]):
            target = source[row, :length][::-1]
            seen.append(tuple(source[row, :length]))
            known = batch.targets["weight"][row, : length + 1] > 0
            assert y[row, length] == 9, "the last is the end"
            assert previous[row, 1 : length + 1].tolist() == y[row, :length].tolist()
            assert (y[row, :length] == np.where(known[:-1], target, 0)).all()
            assert not batch.targets["weight"][row, length + 1 :].any()
    assert sorted(seen) == sorted(tuple(s) for s in coded.sources)
    held = problem.validation()
    assert sum(len(b.inputs["source"]) for b in held) == 30
    assert all(float(b.targets["smoothing"]) == 0.0 for b in held)


def test_the_share_of_own_outputs_rises_with_progress() -> None:
    options = TranslateOptions(**SMALL, batch_tokens=4000, sampling=0.5)
    problem = TranslateProblem(options, build_nets(options, 9, 10), pairs(900), pairs(5), 9)
    rng = np.random.default_rng(0)
    assert problem.draw(rng, None, 0.0, False)[0].own is None
    for progress in (0.5, 1.0):
        own = problem.draw(rng, None, progress, False)[0].own
        assert own.mean() == pytest.approx(0.5 * progress, abs=0.04)


def test_pairs_of_like_length_stand_together() -> None:
    coded = CodedPairs([np.ones(n, int) for n in (3, 9, 3, 9)], [np.ones(n, int) for n in (1, 2, 2, 1)])
    assert [g.tolist() for g in pair_groups(coded, 6)] == [[0, 2], [3], [1]]
