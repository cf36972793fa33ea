"""The linear model beside a classifier's nets: weighed on held-back texts, in the answers, in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tidegate as tg
from tidegate import format as container
from tidegate.models.classify_linear import trained_linear, weighed
from tidegate.tasks.linear import grams

OPTIONS = {"hidden_size": 8, "embedding_dim": 8, "steps": 30, "seed": 1}
TEXTS = ["a fine film", "a dull film", "fine acting here", "dull acting there", "so fine", "so dull"] * 10
LABELS = ["good", "bad"] * 30


@pytest.fixture(scope="module")
def model() -> tg.Classifier:
    return tg.Classifier(**OPTIONS).fit((TEXTS, LABELS), progress=False)


def test_the_share_is_what_foresees_the_held_back_texts_best() -> None:
    tokens, own = [text.split() for text in TEXTS], np.array([1, 0] * 30)
    linear = trained_linear(tokens, own, 2, "word", 1.0)
    sure = np.where(own[:, None] == np.arange(2), 4.0, -4.0)
    blind = np.zeros((60, 2))
    assert weighed(linear, [-sure], tokens, 1 - own).share == 0.0
    assert weighed(linear, [blind], tokens, own).share > 0.0
    assert weighed(linear, [-sure], tokens, own).share == 3.0
    assert weighed(linear, [blind], [], np.zeros(0, np.int64)) is linear


def test_the_answers_are_the_nets_and_the_linear_models(model: tg.Classifier) -> None:
    core = model._core
    assert core.linear is not None
    tokens = core.read(TEXTS[:7])
    nets, logs = core.net_logits(tokens)[0], core.linear.logs(tokens)
    np.testing.assert_allclose(core.logits(tokens)[0], nets + core.linear.share * logs)
    assert model.card["ngram_share"] == core.linear.share
    assert model.card["ngrams"] == len(core.linear.features.keys)


def test_without_n_grams_nets_answer_alone(tmp_path: Path) -> None:
    own = tg.Classifier(**OPTIONS, ngrams=False).fit((TEXTS, LABELS), progress=False)
    assert own._core.linear is None
    own.save(tmp_path / "m")
    assert not any(name.startswith("linear.") for name in container.read(tmp_path / "m").arrays)
    np.testing.assert_array_equal(tg.load(tmp_path / "m").predict_proba(TEXTS), own.predict_proba(TEXTS))


def test_the_file_brings_the_same_probabilities(model: tg.Classifier, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(tg.load(tmp_path / "m").predict_proba(TEXTS), model.predict_proba(TEXTS))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("keys", lambda a: a[::-1].copy()),
        ("keys", lambda a: a.astype(np.float32)),
        ("rarity", lambda a: a * 0),
        ("rarity", lambda a: a[1:]),
        ("weight", lambda a: a[:, :1].copy()),
        ("bias", lambda a: a.astype(np.float64)),
        ("weight", None),
    ],
)
def test_an_altered_linear_model_is_refused(model: tg.Classifier, tmp_path: Path, name: str, change: object) -> None:
    header, arrays = model._contents()
    arrays = dict(arrays)
    if change is None:
        del arrays[f"linear.{name}"]
    else:
        arrays[f"linear.{name}"] = change(arrays[f"linear.{name}"])  # type: ignore[operator]
    container.write(tmp_path / "m", "model", {**header, "task": "classify"}, arrays)
    with pytest.raises(tg.FormatError, match=r"linear model|n-grams"):
        tg.load(tmp_path / "m")


@pytest.mark.parametrize("share", [-1.0, None, True, "1"])
def test_an_altered_share_is_refused(model: tg.Classifier, tmp_path: Path, share: object) -> None:
    header, arrays = model._contents()
    container.write(
        tmp_path / "m", "model", {**header, "task": "classify", "decoder": {**header["decoder"], "share": share}}, arrays
    )
    with pytest.raises(tg.FormatError, match="share"):
        tg.load(tmp_path / "m")


def test_held_back_texts_are_trained_on_at_the_end_unless_they_came_as_a_file() -> None:
    """Each text has a word of its own: the linear model knows those that it was trained on."""
    names = [f"{a}{b}" for a in "abcdefgh" for b in "klmnopqr"]
    texts, labels = [f"{name} {mood}" for name in names for mood in ("fine", "dull")], ["good", "bad"] * len(names)
    texts = [text.replace("dull", "x dull") for text in texts]

    def knows(model: tg.Classifier) -> int:
        words = [grams([[name, mood]], "word") for name in names for mood in ("fine", "x")]
        pairs = [found.keys[found.groups == 0][2] for found in words]
        return int(np.isin(pairs, model._core.linear.features.keys).sum())

    closed = tg.Classifier(**OPTIONS, validation=0.25).fit((texts, labels), progress=False)
    kept = tg.Classifier(**OPTIONS, validation=0.25, closing=0.0).fit((texts, labels), progress=False)
    given = tg.Classifier(**OPTIONS).fit((texts[:96], labels[:96]), valid=(texts[96:], labels[96:]), progress=False)
    assert [knows(model) for model in (closed, kept, given)] == [128, 96, 96]
    assert [model.card["held_back_texts"] for model in (closed, kept, given)] == [32, 32, 32]
    assert not np.array_equal(*(model._core.nets[0].weights["logits.weight"] for model in (closed, kept)))
