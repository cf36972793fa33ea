"""Several seeds: mean and spread as statistics has them, the best kept and noted in its file, Ctrl-C."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest

import tidegate as tg
from tidegate.errors import ConfigError
from tidegate.models.seeds import LOSS, fit_seeds, held_back_figures

OPTIONS = {"hidden_size": 6, "embedding_dim": 4, "steps": 25, "bidirectional": False}
TEXTS = ["a fine film", "a dull film", "fine acting", "dull acting", "fine and dull", "so dull , so fine"] * 8
LABELS = ["good", "bad", "good", "bad", "bad", "good"] * 8


def fit(seed: int) -> tg.Classifier:
    return tg.Classifier(**OPTIONS, seed=seed).fit((TEXTS, LABELS), split_seed=0, progress=False)


def test_mean_and_spread_are_those_of_the_single_models(tmp_path: Path) -> None:
    lines: list[str] = []
    found = fit_seeds(fit, (3, 4, 5), told=lines.append)
    cards = {seed: held_back_figures(fit(seed).card) for seed in (3, 4, 5)}
    for measure in (LOSS, "accuracy", "log-loss", "ECE"):
        each = [card[measure] for card in cards.values()]
        assert found.figures[measure] == tuple(each)
        spread = found.spread(measure)
        assert spread == (statistics.fmean(each), statistics.stdev(each), min(each), max(each))
    least = min(cards, key=lambda seed: cards[seed][LOSS])
    assert found.best_seed == least
    assert found.best.options.seed == least
    assert len(set(found.figures[LOSS])) == 3, "the seeds differ"
    assert [line.split(":")[0] for line in lines] == ["seed 3", "seed 4", "seed 5"]
    assert f"Kept: seed {least}" in str(found)
    found.best.save(tmp_path / "m")
    note = tg.load(tmp_path / "m").card["notes"][-1]
    assert note.startswith("chosen among the seeds 3, 4, 5 by its held-back loss")
    assert f"accuracy {found.spread('accuracy').mean:.4f} +- {found.spread('accuracy').std:.4f}" in note


def test_one_split_for_all_seeds() -> None:
    """Without it each seed holds back other texts, and the losses cannot be compared."""
    ones = [tg.Classifier(**OPTIONS, seed=k).fit((TEXTS, LABELS), split_seed=0, progress=False) for k in (0, 1)]
    other = tg.Classifier(**OPTIONS, seed=1).fit((TEXTS, LABELS), progress=False)

    def shares(model: tg.Classifier) -> object:
        return model.card["held_back"]["table"]["naive Bayes, 1-2-grams"]

    assert shares(ones[0]) == shares(ones[1])
    assert shares(ones[1]) != shares(other)


def test_a_language_model_too() -> None:
    def write(seed: int) -> tg.LanguageModel:
        options = {"hidden_size": 8, "steps": 30, "batch_size": 4, "window": 8, "seed": seed}
        return tg.LanguageModel(**options).fit(["tick tock " * 60], progress=False)

    found = fit_seeds(write, range(2))
    assert list(found.figures) == [LOSS, "nats a token", "perplexity"]
    assert found.spread("perplexity").low == pytest.approx(math.exp(found.spread("nats a token").low))


def test_where_nothing_is_held_back_the_first_is_kept() -> None:
    def alone(seed: int) -> tg.Classifier:
        return tg.Classifier(**OPTIONS, seed=seed).fit((["a b", "c d"], ["x", "y"]), progress=False)

    found = fit_seeds(alone, (7, 8))
    assert found.best_seed == 7
    assert "nothing was held back to compare them by; seed 7 is kept" in str(found)
    assert not [note for note in found.best.card["notes"] if "chosen" in note]


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_seeds_are_checked(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="seeds: expected at least one, and none twice"):
        fit_seeds(fit, seeds)
    with pytest.raises(ConfigError, match="expected one of held-back loss, accuracy"):
        fit_seeds(fit, (0,)).spread("acuracy")


def test_ctrl_c_keeps_the_finished_seeds(caplog: pytest.LogCaptureFixture) -> None:
    def broken(seed: int) -> tg.Classifier:
        if seed == 2:
            raise KeyboardInterrupt
        return fit(seed)

    found = fit_seeds(broken, (0, 1, 2, 3))
    assert found.seeds == (0, 1)
    assert found.interrupted
    assert found.asked == 4
    assert "interrupted in seed 2: the finished seeds are kept" in caplog.text
    with pytest.raises(KeyboardInterrupt):
        fit_seeds(broken, (2, 3))


def test_an_unfinished_seed_is_no_seed_unless_it_is_the_first() -> None:
    def stopped(seed: int) -> tg.Classifier:
        def on_event(event: object) -> None:
            if seed == 1 and event["step"] == 25:  # type: ignore[index]  # a mapping
                raise KeyboardInterrupt

        return tg.Classifier(**OPTIONS, seed=seed).fit((TEXTS, LABELS), split_seed=0, progress=False, on_event=on_event)

    assert fit_seeds(stopped, (0, 1)).seeds == (0,)
    first = fit_seeds(stopped, (1, 0))
    assert first.seeds == (1,)
    assert first.interrupted
    assert first.best.card["interrupted"] is True
