"""Filling in: the net never sees the word that it foresees, pieces hold every word once with its right side, faults."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.errors import ConfigError, DataError
from tidegate.runtime.predictor import Predictor
from tidegate.tasks.fill import FillProblem, build_both, piece
from tidegate.tasks.generate import START, GenerateOptions, build_spec

OPTIONS = GenerateOptions(units="word", direction="both", hidden_size=6, embedding_dim=5, window=4, batch_size=3)


def drawn(tokens: int = 9, **more: object) -> tuple[Predictor, Predictor]:
    """The net from both sides with random weights, and its left-to-right part."""
    options = GenerateOptions(**{**vars(OPTIONS), **more})
    both, left = build_both(options, tokens), build_spec(options, tokens)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in both.parameters().items()}
    assert set(left.parameters()) < set(both.parameters())
    return Predictor(both, weights), Predictor(left, {name: weights[name] for name in left.parameters()})


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("tied", [False, True])
def test_the_word_that_is_foreseen_is_not_seen_and_all_others_are(layers: int, tied: bool) -> None:
    net, left = drawn(num_layers=layers, tied=tied)
    tokens = np.array([0, 3, 1, 4, 1, 5, 2])
    first = net.run({"tokens": tokens[None, :, None]}).outputs
    np.testing.assert_array_equal(first["logits"], left.run({"tokens": tokens[None, :, None]}).outputs["logits"])
    for place in range(1, len(tokens)):
        changed = tokens.copy()
        changed[place] = 7
        then = net.run({"tokens": changed[None, :, None]}).outputs
        same = [bool(np.array_equal(first["both"][0, p], then["both"][0, p])) for p in range(len(tokens) - 1)]
        assert same == [p + 1 == place for p in range(len(tokens) - 1)]
        assert np.array_equal(first["logits"][0, :place], then["logits"][0, :place])


def test_pieces_hold_every_word_once_with_its_right_side() -> None:
    codes = np.concatenate([[START], np.arange(1, 12)])
    read, targets = piece(codes, 2, 4)
    assert read.tolist() == [2, 3, 4, 5, 6, 7]
    assert targets.tolist() == [3, 4, 5, 6, START, START]
    read, targets = piece(codes, 8, 4)
    assert read.tolist() == [8, 9, 10, 11]
    assert targets.tolist() == [9, 10, 11, START]
    problem = FillProblem(OPTIONS, build_both(OPTIONS, 12), codes[1:], codes[1:])
    seen = [y for batch in problem.validation() for row in batch.targets["y"] for y in row.tolist() if y]
    assert seen == codes[1:].tolist()


def test_batches_are_drawn_anywhere_and_repeat_with_their_seed() -> None:
    codes = np.arange(1, 30)
    problem = FillProblem(OPTIONS, build_both(OPTIONS, 31), codes, codes)
    first, second = (problem.draw(np.random.default_rng(4), None, 0.0, False)[0] for _ in range(2))
    assert first.inputs["tokens"].tolist() == second.inputs["tokens"].tolist()
    assert first.inputs["tokens"].shape == (3, 6, 1)
    assert first.continues is None
    starts = {
        int(row[0, 0]) for k in range(60) for row in problem.draw(np.random.default_rng(k), None, 0.0, False)[0].inputs["tokens"]
    }
    assert starts == set(range(26)), "the last piece ends with the text"
    weight = first.targets["weight"]
    assert weight.tolist() == [[1, 1, 1, 1, 0, 0]] * 3


def test_faults() -> None:
    with pytest.raises(DataError, match="expected at least window=4 tokens to train on and 1 to hold back, got 3 and 3"):
        FillProblem(OPTIONS, build_both(OPTIONS, 9), np.arange(1, 4), np.arange(1, 4))
    for units in ("byte", "bpe"):
        with pytest.raises(ConfigError, match="direction: both sides of a blank need a word or a letter"):
            GenerateOptions(units=units, direction="both")
