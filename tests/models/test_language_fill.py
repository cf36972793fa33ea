"""A missing word: found from its right side where the left says nothing, on a source whose odds are known; file, faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tidegate as tg
from tidegate.nn.network import Network

OPTIONS = {
    "units": "word", "direction": "both", "hidden_size": 24, "embedding_dim": 16, "num_layers": 1, "window": 12, "batch_size": 16,
    "steps": 300, "learning_rate": 0.01, "dropout": 0.0,
}  # fmt: skip
SAYS = {"dog": "barked", "cat": "purred", "cow": "mooed", "hen": "clucked"}


def farm(sentences: int, seed: int = 0) -> str:
    """Sentences whose animal, dog in half of them, is known from its voice alone."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(list(SAYS), sentences, p=[0.55, 0.15, 0.15, 0.15])
    return " ".join(f"the {animal} {SAYS[str(animal)]} ." for animal in drawn)


@pytest.fixture(scope="module")
def model() -> tg.LanguageModel:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    fitted = tg.LanguageModel(**OPTIONS).fit([farm(1500)], progress=False)
    torch.set_num_threads(before)
    return fitted


@pytest.mark.parametrize("animal", SAYS)
def test_the_right_side_settles_what_the_left_cannot(model: tg.LanguageModel, animal: str) -> None:
    found = model.fill(f"the cow mooed . the ___ {SAYS[animal]} . the hen clucked .")
    assert found.both[0].text == animal
    assert found.both[0].probability > 0.95
    assert found.left[0].text == "dog"
    assert found.left[0].probability == pytest.approx(0.55, abs=0.12)
    assert {choice.text for choice in found.left[:4]} == set(SAYS)


def test_where_nothing_follows_both_know_what_the_left_knows(model: tg.LanguageModel) -> None:
    found = model.fill("the dog barked . the cat ___")
    assert found.both[0].text == found.left[0].text == "purred"


def test_n_best_are_sorted_known_and_sum_to_one(model: tg.LanguageModel) -> None:
    found = model.fill("the ___ zzz .", best=99)
    assert len(found.both) == len(found.left) == 10
    for choices in (found.both, found.left):
        chances = [choice.probability for choice in choices]
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) == pytest.approx(1.0)
    assert len(model.fill("the ___ .", best=2).both) == 2
    lines = str(model.fill("the ___ barked .", best=1)).splitlines()
    assert lines[0].split("  ")[-1] == "from the left alone"
    assert lines[1].split()[:2] == ["1", "dog"]


def test_the_other_verbs_are_those_of_the_left_to_right_half(model: tg.LanguageModel) -> None:
    assert "".join(model.generate("the cat", length=2, temperature=0)) == " purred ."
    score = model.score(farm(200, 1))
    assert score.unknown == 0
    table = model.card["held_back"]["table"]
    assert table["net, from both sides"] < 0.1 < table["net"] < 0.6


def test_the_file_answers_the_same(model: tg.LanguageModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    again = tg.load(tmp_path / "m")
    assert isinstance(again, tg.LanguageModel)
    assert again.fill("the ___ mooed .") == model.fill("the ___ mooed .")
    assert again.to_bytes() == model.to_bytes()
    assert "".join(again.generate("the", 20)) == "".join(model.generate("the", 20))


def test_prediction_equals_the_training_half(model: tg.LanguageModel) -> None:
    core = model._ready()
    network = Network(core.whole.spec, torch.Generator())
    network.load(core.whole.weights)
    rng = np.random.default_rng(0)
    tokens, lengths = rng.integers(0, core.tokenizer.size, (50, 20, 1)), rng.integers(1, 21, 50)
    mine = core.whole.run({"tokens": tokens}, lengths={"tokens": lengths}).outputs
    theirs = network({"tokens": torch.from_numpy(tokens)}, {"tokens": torch.from_numpy(lengths)}).outputs
    for name in ("logits", "both"):
        np.testing.assert_allclose(mine[name], theirs[name].detach().numpy(), atol=1e-5)


def test_a_letter_may_be_missing_too() -> None:
    options = {**OPTIONS, "units": "char", "steps": 200}
    model = tg.LanguageModel(**options).fit(["tick tock " * 200], progress=False)
    assert model.fill("tick t___ck tick").both[0].text == "o"


def test_faults(model: tg.LanguageModel) -> None:
    for text in ("no blank", "___ and ___"):
        with pytest.raises(tg.ConfigError, match="text: expected a text with one blank, written ___"):
            model.fill(text)
    with pytest.raises(tg.ConfigError, match="best: expected a whole number of answers, at least 1, got 0"):
        model.fill("___", best=0)
    plain = tg.LanguageModel(hidden_size=4, steps=2, batch_size=2, window=4).fit(["abcd" * 50], progress=False)
    with pytest.raises(tg.TaskError, match="reads left to right alone; train one with direction='both'"):
        plain.fill("a___c")
