"""The language model: it learns, writes the same for a seed, scores with and without carried state, survives its file."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import tidegate as tg
from tidegate import format as container
from tidegate.nn.network import Network
from tidegate.tasks.generate import GenerateOptions, LanguageProblem, build_spec, strips

OPTIONS = {
    "hidden_size": 24,
    "embedding_dim": 16,
    "batch_size": 8,
    "window": 24,
    "steps": 600,
    "learning_rate": 0.01,
    "dropout": 0.0,
    "num_layers": 1,
}
LETTERS = "abcde"


def chain(length: int, seed: int = 0) -> str:
    """A text where a letter is followed by the next one (9 in 10) or by the one after it."""
    rng, place, out = np.random.default_rng(seed), 0, []
    for _ in range(length):
        out.append(LETTERS[place])
        place = (place + (1 if rng.random() < 0.9 else 2)) % len(LETTERS)
    return "".join(out)


BEST = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))  # nats a letter of that text


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> tg.LanguageModel:
    return tg.LanguageModel(**OPTIONS).fit([chain(6000)], progress=False)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_odds_of_a_known_source_are_learnt(cell: str) -> None:
    own = tg.LanguageModel(**OPTIONS, cell=cell).fit([chain(6000)], progress=False)
    assert own.score(chain(3000, seed=1)).nats_per_token == pytest.approx(BEST, abs=0.03)


@pytest.mark.parametrize("size", [16, 24])
def test_a_tied_model_learns_with_one_table(size: int, tmp_path: Path) -> None:
    """Read and foreseen with the same numbers, through a narrowing layer where the cell is wider than the embedding."""
    own = tg.LanguageModel(**{**OPTIONS, "hidden_size": size, "tied": True}).fit([chain(6000)], progress=False)
    core = own._ready()
    assert "logits.weight" not in core.net.weights
    assert ("narrowed.weight" in core.net.weights) == (size == 24)
    assert own.score(chain(3000, 1)).nats_per_token == pytest.approx(BEST, abs=0.05)
    own.save(tmp_path / "m.safetensors")
    again = tg.LanguageModel.load(tmp_path / "m.safetensors")
    assert "".join(again.generate("ab", 50)) == "".join(own.generate("ab", 50))
    tokens = np.arange(12)[None, :, None] % 5
    network = Network(core.net.spec, torch.Generator())
    network.load(core.net.weights)
    theirs = network({"tokens": torch.from_numpy(tokens)}).outputs["logits"].detach().numpy()
    np.testing.assert_allclose(core.net.run({"tokens": tokens}).outputs["logits"], theirs, atol=1e-5)


def test_weights_are_dropped_in_training_alone() -> None:
    def fit(**more: object) -> tg.LanguageModel:
        return tg.LanguageModel(**OPTIONS, **more).fit([chain(6000)], progress=False)

    dropped, plain = fit(weight_dropout=0.3), fit()
    assert next(b for b in dropped._ready().net.spec.blocks if b.kind == "recurrent").weight_dropout == 0.3
    name = "read.weight_hh_l0"
    assert not np.array_equal(dropped._ready().net.weights[name], plain._ready().net.weights[name])
    assert dropped.score(chain(3000, 1)).nats_per_token == pytest.approx(BEST, abs=0.06)
    assert dropped.score("abcde").nats == dropped.score("abcde").nats
    with pytest.raises(tg.ConfigError, match="weight_dropout: expected 0 <= share < 1, got 1"):
        tg.LanguageModel(weight_dropout=1.0)


def test_what_is_drawn_has_the_odds_that_were_learnt(model: tg.LanguageModel) -> None:
    text = "".join(model.generate("a", length=2000, seed=5))
    steps = Counter((LETTERS.index(b) - LETTERS.index(a)) % 5 for a, b in itertools.pairwise(text))
    assert steps[1] / 1999 == pytest.approx(0.9, abs=0.03)
    assert steps[2] / 1999 == pytest.approx(0.1, abs=0.03)


def test_a_seed_gives_the_same_text_and_zero_is_greedy(model: tg.LanguageModel) -> None:
    def write(**options: object) -> str:
        return "".join(model.generate("ab", length=80, **options))

    assert write(seed=1) == write(seed=1) != write(seed=2)
    assert write(temperature=0, seed=1) == write(temperature=0, seed=9) == ("cdeab" * 16)
    assert write(top_k=1, seed=4) == write(temperature=0)
    assert len(write()) == 80
    assert list(model.generate("ab", length=0)) == []


def test_text_comes_piece_by_piece_and_stops_before_the_stop(model: tg.LanguageModel) -> None:
    pieces = list(model.generate("a", length=40, temperature=0))
    assert len(pieces) > 30
    assert all(len(piece) == 1 for piece in pieces[:-1])
    stopped = list(model.generate("a", length=40, temperature=0, stop="eab"))
    assert "".join(stopped) == "bcd"
    assert "".join(model.generate("a", length=7, temperature=0, stop="xyz")) == "bcdeabc"


def test_scores_carry_or_reset(model: tg.LanguageModel, tmp_path: Path) -> None:
    whole = model.evaluate(["abcde", "abcde"])
    assert whole.nats == pytest.approx(model.score("abcdeabcde").nats)
    alone = model.evaluate(["abcde", "abcde"], carry=False)
    assert alone.nats == pytest.approx(2 * model.score("abcde").nats)
    assert alone.nats > whole.nats, "the second text is foreseen by the first"
    assert whole.perplexity == pytest.approx(np.exp(whole.nats / 10))
    assert whole.bits_per_letter == pytest.approx(whole.nats / 10 / np.log(2))
    path = tmp_path / "x.txt"
    path.write_text("abcde\nabcde\n")
    assert model.score(path).tokens == 12
    assert model.evaluate(path, carry=False).nats == pytest.approx(model.evaluate(["abcde\n"] * 2, carry=False).nats)


def test_words_carry_too_and_a_blank_comes_before_the_next() -> None:
    text = "the tide comes in and the tide goes out . "
    own = tg.LanguageModel(**{**OPTIONS, "steps": 60}, units="word").fit([text * 60], progress=False)
    whole, parts = own.evaluate([text * 4]), own.evaluate([text] * 4)
    assert parts.nats == pytest.approx(whole.nats)
    assert own.evaluate([text] * 4, carry=False).nats > parts.nats
    assert "".join(own.generate("the tide", length=1, temperature=0)).startswith(" ")
    assert not "".join(own.generate("the tide ", length=1, temperature=0)).startswith(" ")


def test_a_run_is_resumed_with_its_own_held_back_text_alone(tmp_path: Path) -> None:
    options = {**OPTIONS, "steps": 110, "patience": 0}

    def stop(event: object) -> None:
        if event["step"] == 105:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        tg.LanguageModel(**options).fit(
            [chain(900)], valid=[chain(99, 1)], progress=False, checkpoint=tmp_path / "run", on_event=stop
        )
    with pytest.raises(tg.FormatError, match="other options or other data"):
        tg.LanguageModel(**options).fit(
            [chain(900)], valid=[chain(99, 2)], progress=False, checkpoint=tmp_path / "run", resume=True
        )


def test_the_score_is_the_sum_over_steps(model: tg.LanguageModel) -> None:
    """Token by token, each from what `generate` would draw it from; 5,000 tokens so that chunks are crossed."""
    core, text = model._core, chain(5000, seed=3)
    codes = core.tokenizer.encode([text])[0]
    logits, state, total = *core.step(np.array([0]), None), 0.0
    for code in codes:
        shifted = logits.astype(np.float64) - logits.max()
        total -= shifted[code] - np.log(np.exp(shifted).sum())
        logits, state = core.step(np.array([code]), state)
    assert model.score(text).nats == pytest.approx(total, rel=1e-6)


def test_prediction_equals_the_training_half(model: tg.LanguageModel) -> None:
    core = model._core
    network = Network(core.net.spec, torch.Generator().manual_seed(0))
    network.load(dict(core.net.weights))
    codes = core.tokenizer.encode([chain(1200, seed=4)])[0]
    here = core.net.run({"tokens": codes[None, :, None]}).outputs["logits"]
    with torch.no_grad():
        there = network({"tokens": torch.from_numpy(codes[None, :, None])}).outputs["logits"].numpy()
    np.testing.assert_allclose(here, there, atol=1e-5)
    margin = np.sort(here, -1)[..., -1] - np.sort(here, -1)[..., -2]
    assert not ((here.argmax(-1) != there.argmax(-1)) & (margin > 1e-4)).any()


def test_the_file_writes_the_same_without_torch(model: tg.LanguageModel, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model.save(path)
    again = tg.load(path)
    assert isinstance(again, tg.LanguageModel)
    assert again.to_bytes() == model.to_bytes()
    ask = f"print(''.join(tg.load({str(path)!r}).generate('a', 50, seed=7)))"
    code = f"import sys; sys.modules['torch'] = None\nimport tidegate as tg\n{ask}"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert said == "".join(model.generate("a", 50, seed=7)) == "".join(again.generate("a", 50, seed=7))


def test_a_kill_and_a_resume_give_the_same_bytes(tmp_path: Path) -> None:
    options = {**OPTIONS, "steps": 120, "dropout": 0.2, "patience": 0}

    def stop(event: object) -> None:
        if event["step"] == 110:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        tg.LanguageModel(**options).fit([chain(2000)], progress=False, checkpoint=tmp_path / "run", on_event=stop)
    resumed = tg.LanguageModel(**options).fit([chain(2000)], progress=False, checkpoint=tmp_path / "run", resume=True)
    assert resumed.to_bytes() == tg.LanguageModel(**options).fit([chain(2000)], progress=False).to_bytes()


def test_letters_come_whole() -> None:
    """Bytes of two- and four-byte letters, an accent and a joined face: no piece is half a letter, none loses its accent."""
    text = "é😀e\u0301👩\u200d🚀 " * 60
    own = tg.LanguageModel(**{**OPTIONS, "steps": 5}, units="byte").fit([text], progress=False)
    pieces = list(own.generate("é", length=120, seed=2))
    writer = own._core.tokenizer.writer()
    whole = [piece for byte in "ae\u0301👩\u200d🚀z".encode() if (piece := writer.push(byte + 1))] + [writer.close()]
    assert whole == ["a", "e\u0301", "👩\u200d🚀", "z"]
    assert not any("\ud800" <= letter <= "\udfff" for letter in "".join(pieces))


@pytest.mark.parametrize("units", ["char", "byte", "word", "token", "bpe"])
def test_every_unit_is_written_and_kept(units: str, tmp_path: Path) -> None:
    if units == "bpe":
        pytest.importorskip("tokenizers")
    own = tg.LanguageModel(**{**OPTIONS, "steps": 3}, units=units, vocabulary=300).fit(
        ["to be or not to be. " * 60], progress=False
    )
    own.save(tmp_path / "m")
    text = "".join(own.generate("to be", length=12, seed=1))
    assert text == "".join(tg.load(tmp_path / "m").generate("to be", length=12, seed=1))
    assert own._core.tokenizer.decode(own._core.tokenizer.encode(["to be or"])[0]) == "to be or"
    assert own.score("to be").tokens > 0


def test_unknown_letters_are_left_out_of_the_figures(model: tg.LanguageModel) -> None:
    said = model.score("abczabc")
    assert (said.tokens, said.unknown, said.letters) == (7, 1, 6)
    with pytest.raises(tg.DataError, match="at least one token that training had"):
        model.score("zzz")
    with pytest.raises(tg.DataError, match="held-back text"):
        tg.LanguageModel(**OPTIONS).fit([chain(600)], valid=["zzzz"], progress=False)
    assert "1 unknown" in str(said)
    assert "z" not in "".join(model.generate("z", length=50))


def test_strips_hold_every_pair_once() -> None:
    inputs, targets = strips(np.arange(1, 11), 3)
    assert inputs.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert targets.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_windows_follow_one_another_and_say_so() -> None:
    options = GenerateOptions(**{**OPTIONS, "window": 7})
    codes = np.arange(1, 401) % 6 + 1
    problem = LanguageProblem(options, build_spec(options, 8), codes, codes[:50])
    rng, cursor, seen = np.random.default_rng(0), None, []
    for _ in range(12):
        batch, cursor = problem.draw(rng, cursor, 0.0, False)
        fresh = not batch.continues.any()
        assert fresh or batch.continues.all()
        part = batch.inputs["tokens"][0, :, 0]
        if fresh:
            assert part[0] == 0
            seen = []
        seen += part.tolist()
        assert seen == [0, *codes[: len(seen) - 1]]
        np.testing.assert_array_equal(batch.targets["y"][0][:-1], part[1:])


def test_the_closing_phase_reads_the_held_back_text_too() -> None:
    """Strips of the whole text, begun anew at the change, and only then."""
    options = GenerateOptions(**{**OPTIONS, "window": 7})
    codes = np.arange(400) % 6 + 1
    train, back = codes[:350], codes[350:] + 10
    problem = LanguageProblem(options, build_spec(options, 18), train, back, closing=True)
    rng, cursor, seen = np.random.default_rng(0), None, []
    for step in range(40):
        batch, cursor = problem.draw(rng, cursor, 0.0, step >= 3)
        if step == 3:
            assert not batch.continues.any()
            assert batch.inputs["tokens"][0, 0, 0] == 0
        (seen if step >= 3 else []).extend(batch.targets["y"].ravel().tolist())
        assert step >= 3 or batch.targets["y"].max() <= 6
    assert set(back) <= set(seen)
    kept = LanguageProblem(options, build_spec(options, 18), train, back)
    assert all(kept.draw(rng, None, 0.0, True)[0].targets["y"].max() <= 6 for _ in range(5))


def test_a_run_closes_on_the_held_back_text_unless_it_came_as_a_file() -> None:
    """The end of this text has two letters that training had once, and what follows them nothing but the end can teach."""
    text = chain(3000) + "zy" + chain(3000) + "zy" * 200
    options = {**OPTIONS, "steps": 300, "validation": 400 / 6402}
    events: list[dict[str, object]] = []
    closed = tg.LanguageModel(**options, closing=0.5).fit([text], progress=False, on_event=lambda e: events.append(dict(e)))
    never = tg.LanguageModel(**options, closing=0.0).fit([text], progress=False)
    cut = len(text) - 400
    given = tg.LanguageModel(**options, closing=0.5).fit([text[:cut]], valid=[text[cut:]], progress=False)
    assert closed.score("zy" * 50).nats_per_token < 3.0 < 5.0 < never.score("zy" * 50).nats_per_token
    assert given.score("zy" * 50).nats_per_token > 5.0
    assert closed.card["held_back"]["table"]["net"] > 5.0  # measured before the end was trained on
    assert [e["step"] for e in events if "validation" in e][-1] == 150


def test_the_card_stands_beside_ngrams(model: tg.LanguageModel) -> None:
    table = model.card["held_back"]["table"]
    assert set(table) == {"net", "5-grams, Witten-Bell"}
    assert table["net"] == pytest.approx(BEST, abs=0.15)


@pytest.mark.parametrize(
    ("source", "said"), [(["ab"], "expected at least 8 tokens"), ([""], "hold back|at least"), ([], "at least one text")]
)
def test_what_is_too_short_is_refused_before_training(source: list[str], said: str) -> None:
    with pytest.raises(tg.DataError, match=said):
        tg.LanguageModel(**OPTIONS).fit(source, progress=False)


def test_options_are_checked(model: tg.LanguageModel) -> None:
    with pytest.raises(tg.ConfigError, match="window"):
        tg.LanguageModel(window=0)
    with pytest.raises(tg.ConfigError, match="did you mean 'temperature'"):
        model.generate("a", temprature=1.0)
    with pytest.raises(tg.ConfigError, match="top_p"):
        model.generate("a", top_p=0.0)
    with pytest.raises(tg.ConfigError, match="length"):
        model.generate("a", -1)
    for wrong in ({"stop": ""}, {"stop": 5}, {"seed": -1}, {"seed": 1.5}):
        with pytest.raises(tg.ConfigError, match=next(iter(wrong))):
            model.generate("a", **wrong)
    with pytest.raises(tg.DataError):
        model.generate("a\udcff")
    with pytest.raises(tg.ConfigError, match="seed"):
        tg.LanguageModel(seed=-1)
    with pytest.raises(tg.TaskError, match="not fitted"):
        tg.LanguageModel().generate("a")


def test_altered_files_are_refused(model: tg.LanguageModel, tmp_path: Path) -> None:
    header, arrays = model._contents()
    header["task"] = "generate"
    broken = {
        "spec": ({**header, "options": {**header["options"], "hidden_size": 25}}, arrays),
        "a foreign array": (header, {**arrays, "more": np.zeros(3, np.float32)}),
        "no vocabulary": (header, {k: a for k, a in arrays.items() if k != "vocabulary.tokens.bytes"}),
        "one weight short": (header, {k: a for k, a in arrays.items() if k != "net.logits.bias"}),
        "figures of words": ({**header, "card": {**header["card"], "held_back": {"tokens": 3, "table": {"net": "x"}}}}, arrays),
        "a note that is none": ({**header, "card": {**header["card"], "notes": [3]}}, arrays),
        "no card": ({k: v for k, v in header.items() if k != "card"}, arrays),
    }
    for name, (head, parts) in broken.items():
        container.write(tmp_path / "broken", "model", head, parts)
        assert _refused(tmp_path / "broken"), name


def _refused(path: Path) -> bool:
    try:
        tg.load(path)
    except tg.FormatError:
        return True
    return False


def test_closing_is_refused_where_it_has_no_effect() -> None:
    with pytest.raises(tg.ConfigError, match="closing: has no effect with direction='both'"):
        tg.LanguageModel(direction="both", closing=0.5, units="word").fit(["a b c " * 50], progress=False)
