"""The classifier: it learns, predicts without torch what training computed, explains, refuses, and survives its file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import tidegate as tg
from tidegate import format as container
from tidegate.data.texts import read_texts
from tidegate.nn.network import Network
from tidegate.tasks.classify import ClassifyOptions, build_spec, split
from tidegate.tasks.token_batches import padded

REVIEWS = Path(__file__).resolve().parents[2] / "src" / "tidegate" / "bundled" / "reviews.csv"
OPTIONS = {"hidden_size": 16, "embedding_dim": 16, "steps": 60, "learning_rate": 0.01, "batch_tokens": 512}
WORDS = ["red", "blue", "one", "two", "three", "four", "five"]


def colours(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts whose class is whether "red" stands before "blue"."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(count):
        words = [*rng.choice(WORDS[2:], rng.integers(0, 5)), "red", *rng.choice(WORDS[2:], rng.integers(0, 3)), "blue"]
        first = bool(rng.integers(2))
        texts.append(" ".join(words if first else words[::-1]))
        labels.append("rising" if first else "falling")
    return texts, labels


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> tg.Classifier:
    return tg.Classifier(**OPTIONS, seed=3).fit(colours(200), progress=False)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("pooling", ["max", "mean", "last", "attention"])
def test_the_order_of_words_is_learnt(cell: str, pooling: str) -> None:
    """A bag of words cannot tell: naive Bayes on single words stays at chance here."""
    options = {**OPTIONS, "steps": 150, "dropout": 0.1}
    own = tg.Classifier(**options, cell=cell, pooling=pooling).fit(colours(300), progress=False)
    assert own.evaluate(colours(100, seed=1)).accuracy > 0.9


def test_a_net_that_reads_one_way_and_layers() -> None:
    options = {
        **OPTIONS,
        "steps": 150,
        "dropout": 0.1,
        "bidirectional": False,
        "num_layers": 2,
        "ensemble": 2,
        "label_smoothing": 0.1,
    }
    own = tg.Classifier(**options, pooling="last").fit(colours(300), progress=False)
    assert own.evaluate(colours(100, seed=1)).accuracy > 0.9
    assert len(own._core.nets) == 2


def test_prediction_equals_the_training_half(model: tg.Classifier) -> None:
    """1,000 texts: logits to 1e-5, and the same label wherever the margin exceeds 1e-4."""
    core = model._core
    network = Network(core.nets[0].spec, torch.Generator().manual_seed(0))
    network.load(dict(core.nets[0].weights))
    texts = colours(990, seed=7)[0] + ["", "red", "zzz", "red " * 500, "blue"] * 2
    codes = core.tokenizer.codes(core.read(texts))
    here = core.net_logits(core.read(texts))[0]
    tokens, lengths = padded(codes)
    with torch.no_grad():
        ran = network({"tokens": torch.from_numpy(tokens)}, {"tokens": torch.from_numpy(lengths)})
    there = ran.outputs["logits"].numpy()
    np.testing.assert_allclose(here, there, atol=1e-5)
    margin = np.abs(here[:, 0] - here[:, 1])
    differ = here.argmax(1) != there.argmax(1)
    assert not (differ & (margin > 1e-4)).any()
    print(f"{int((margin <= 1e-4).sum())} of {len(texts)} texts within the margin")


def test_the_file_gives_the_same_bits_without_torch(model: tg.Classifier, tmp_path: Path) -> None:
    path, texts = tmp_path / "m.safetensors", colours(50, seed=2)[0]
    model.save(path)
    again = tg.load(path)
    assert isinstance(again, tg.Classifier)
    np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))
    assert again.classes == model.classes
    assert again.card == model.card
    assert again.to_bytes() == model.to_bytes()
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import tidegate as tg\n"
        f"m = tg.load({str(path)!r}); print(m.predict('one red two blue'), m.explain('red blue').label)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said == [model.predict("one red two blue"), model.predict("red blue")]


def test_the_same_seed_gives_the_same_bytes_also_after_a_resume(tmp_path: Path) -> None:
    texts = colours(80)
    whole = tg.Classifier(**OPTIONS).fit(texts, progress=False).to_bytes()
    assert tg.Classifier(**OPTIONS).fit(texts, progress=False).to_bytes() == whole
    assert tg.Classifier(**OPTIONS, seed=1).fit(texts, progress=False).to_bytes() != whole

    def stop(event: object) -> None:
        if event["step"] == 105:
            raise RuntimeError("killed")

    stem, longer = tmp_path / "run", {**OPTIONS, "steps": 120, "patience": 0}
    with pytest.raises(RuntimeError, match="killed"):
        tg.Classifier(**longer).fit(texts, progress=False, checkpoint=stem, on_event=stop)
    resumed = tg.Classifier(**longer).fit(texts, progress=False, checkpoint=stem, resume=True)
    assert resumed.to_bytes() == tg.Classifier(**longer).fit(texts, progress=False).to_bytes()


def test_a_text_alone_equals_the_text_in_a_batch(model: tg.Classifier) -> None:
    texts = colours(40, seed=5)[0]
    together = model.predict_proba(texts)
    np.testing.assert_array_equal(np.concatenate([model.predict_proba(t) for t in texts]), together)
    np.testing.assert_array_equal(model.predict_proba(texts[::-1])[::-1], together)


def test_probabilities_are_chances(model: tg.Classifier) -> None:
    found = model.predict_proba(colours(20)[0])
    np.testing.assert_allclose(found.sum(1), 1.0)
    assert model.predict([]) == []
    assert model.predict("red") in model.classes
    assert model.predict(["red", "blue"]) == [model.predict("red"), model.predict("blue")]


def test_an_explanation_is_what_leaving_out_changes(model: tg.Classifier) -> None:
    said = model.explain("one Red, two blue")
    assert [word.text for word in said.words] == ["one", "Red", ",", "two", "blue"]
    k = model.classes.index(said.label)
    whole, without = (np.log(model.predict_proba(t)[0, k]) for t in ("one red , two blue", "one , two blue"))
    assert said.words[1].weight == pytest.approx(whole - without)
    assert said.label in str(said)
    assert model.explain("").words == ()
    with pytest.raises(tg.DataError):
        model.explain("a\x00b")
    with pytest.raises(tg.ConfigError, match="expected a text"):
        model.predict(None)


def test_the_card_stands_beside_naive_methods(model: tg.Classifier) -> None:
    held = model.card["held_back"]
    assert held["texts"] == 20
    parts = {"net, without n-grams", "n-grams, without net"}
    assert set(held["table"]) == {"net", "naive Bayes, 1-2-grams", "commonest class"} | parts
    assert model.card["texts"] == 180


def test_units_and_a_file_of_its_own_for_validation(tmp_path: Path) -> None:
    for units in ("char", "byte", "token"):
        own = tg.Classifier(**{**OPTIONS, "steps": 5}, units=units).fit(colours(30), valid=colours(10, seed=1), progress=False)
        assert own.card["texts"] == 30
        assert own.card["held_back_texts"] == 10
        path = tmp_path / units
        own.save(path)
        assert tg.load(path).predict("red blue") == own.predict("red blue")


def test_byte_pairs(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    own = tg.Classifier(**{**OPTIONS, "steps": 5}, units="bpe", vocabulary=300).fit(colours(60), progress=False)
    own.save(tmp_path / "m")
    np.testing.assert_array_equal(tg.load(tmp_path / "m").predict_proba("wörld"), own.predict_proba("wörld"))


def test_long_texts_are_cut_and_it_is_said() -> None:
    own = tg.Classifier(**{**OPTIONS, "steps": 3}, max_tokens=4).fit(colours(60), progress=False)
    assert any("longer than 4 tokens" in note for note in own.card["notes"])
    assert own.predict("red " * 100_000) == own.predict("red " * 4)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (["red", "blue"], "expected a label beside each text"),
        ((["red", "blue"], ["a", "a"]), "expected 2 to 10,000 classes, got 1"),
        ((["", " "], ["a", "b"]), "at least one token"),
        ((["red"], ["a", "b"]), "1"),
    ],
)
def test_what_cannot_be_learnt_is_refused_before_training(source: object, said: str) -> None:
    with pytest.raises(tg.DataError, match=said):
        tg.Classifier(**OPTIONS).fit(source, progress=False)


def test_a_label_that_training_never_saw(model: tg.Classifier) -> None:
    with pytest.raises(tg.DataError, match=r"row 1: expected one of the classes of training .falling, rising., got 'sideways'"):
        model.evaluate((["red", "blue"], ["rising", "sideways"]))
    with pytest.raises(tg.DataError, match="sideways"):
        tg.Classifier(**OPTIONS).fit(colours(20), valid=(["red"], ["sideways"]), progress=False)


def test_options_are_checked_all_at_once() -> None:
    with pytest.raises(tg.ConfigError) as caught:
        tg.Classifier(dropout=1.0, hidden_size=0, validation=0.0)
    assert all(name in str(caught.value) for name in ("dropout", "hidden_size", "validation"))
    with pytest.raises(tg.ConfigError, match="did you mean 'pooling'"):
        tg.Classifier(poling="max")
    with pytest.raises(tg.TaskError, match="not fitted"):
        tg.Classifier().predict("red")


def test_altered_files_are_refused(model: tg.Classifier, tmp_path: Path) -> None:
    header, arrays = model._contents()
    header["task"] = "classify"
    broken = {
        "temperature": ({**header, "decoder": {"temperature": -1.0}}, arrays),
        "members": ({**header, "members": 2}, arrays),
        "spec": ({**header, "options": {**header["options"], "hidden_size": 17}}, arrays),
        "a foreign array": (header, {**arrays, "more": np.zeros(3, np.float32)}),
        "no classes": (header, {k: a for k, a in arrays.items() if k != "classes.bytes"}),
        "one weight short": (header, {k: a for k, a in arrays.items() if k != "net0.logits.bias"}),
        "a card without a seed": ({**header, "card": {k: v for k, v in header["card"].items() if k != "seed"}}, arrays),
        "shares of other classes": ({**header, "card": {**header["card"], "shares": [1.0]}}, arrays),
        "figures of no number": ({**header, "card": {**header["card"], "held_back": {"texts": 3, "table": {"net": 1}}}}, arrays),
        "an option": ({**header, "options": {**header["options"], "hiden": 1}}, arrays),
    }
    for name, (head, parts) in broken.items():
        path = tmp_path / "broken"
        container.write(path, "model", head, parts)
        assert _refused(path), name


def _refused(path: Path) -> bool:
    try:
        tg.load(path)
    except tg.FormatError:
        return True
    return False


def test_every_class_keeps_its_share_and_single_texts_are_trained_on() -> None:
    classes = np.array([0] * 50 + [1] * 10 + [2])
    rows, back = split(classes, 0.1, 0)
    assert sorted([*rows, *back]) == list(range(61))
    assert np.bincount(classes[back], minlength=3).tolist() == [5, 1, 0]


def test_last_of_a_bidirectional_net_takes_both_ends() -> None:
    spec = build_spec(ClassifyOptions(pooling="last", hidden_size=4), 10, 2)
    assert next(block for block in spec.blocks if block.name == "pooled").both


def test_the_bundled_reviews_are_what_their_script_writes() -> None:
    import importlib.util

    path = REVIEWS.parents[3] / "docs" / "make_reviews.py"
    spec = importlib.util.spec_from_file_location("make_reviews", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.text() == REVIEWS.read_text(encoding="utf-8")
    assert len(read_texts(REVIEWS, text="review", label="verdict")) == module.ROWS
