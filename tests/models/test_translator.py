"""The translator: it learns, answers without torch what training computed, searches as promised, refuses, survives its file."""

from __future__ import annotations

import doctest
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import tidegate as tg
from tidegate import format as container
from tidegate.models import translator
from tidegate.models.translate_core import Beam, Core
from tidegate.nn.network import Network
from tidegate.tasks.token_batches import padded
from tidegate.tasks.translate import TranslateOptions

OPTIONS = {
    "units": "char", "hidden_size": 48, "embedding_dim": 24, "steps": 250, "learning_rate": 0.01, "dropout": 0.0,
    "batch_tokens": 512,
}  # fmt: skip
TINY = {**OPTIONS, "hidden_size": 8, "embedding_dim": 8, "steps": 30}
Words = tuple[list[str], list[str]]


def backwards(count: int, seed: int = 0) -> Words:
    """Words, and the same from their end in capitals."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abcdef"), rng.integers(1, 7))) for _ in range(count)]
    return words, [word[::-1].upper() for word in words]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> tg.Translator:
    return tg.Translator(**OPTIONS, seed=3).fit(backwards(1500), progress=False)


VARIANTS: dict[str, dict[str, object]] = {
    "additive": {"attention": "additive", "steps": 180},
    "none": {"attention": "none", "steps": 400},
    "feeding": {"input_feeding": True, "steps": 150},
    "sampling": {"sampling": 0.3, "steps": 200},
    "gru of two layers, shared": {"cell": "gru", "num_layers": 2, "shared": True},
    "rnn, untied, two nets": {"cell": "rnn", "tied": False, "ensemble": 2, "steps": 180},
}


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> tg.Translator:
    return tg.Translator(**{**OPTIONS, **VARIANTS[request.param]}).fit(backwards(1500), progress=False)


def test_every_shape_learns_and_survives_its_file(variant: tg.Translator, tmp_path: Path) -> None:
    words, truths = backwards(100, seed=1)
    found = variant.evaluate((words, truths), measures=("exact",))
    assert found.figures["exact"] > (0.5 if variant.options.attention == "none" else 0.75)
    assert found.board.figures["copy of the source"]["exact"] < 0.1
    variant.save(tmp_path / "m")
    again = tg.load(tmp_path / "m")
    assert isinstance(again, tg.Translator)
    assert again.to_bytes() == variant.to_bytes()
    assert again.n_best(words[:20], 3) == variant.n_best(words[:20], 3)


def teacher_forced(core: Core, sources: list[np.ndarray], targets: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The training half's logits, and the running half's step by step, of the same targets."""
    spec = tg.models.translate_store.spec_of(core.options, core.source, core.target)
    network = Network(spec, torch.Generator().manual_seed(0))
    network.load(dict(core.weights[0]))
    tokens, lengths = padded(sources)
    previous, _ = padded([np.concatenate([[core.end], t]) for t in targets])
    with torch.no_grad():
        there = network(
            {"source": torch.from_numpy(tokens), "previous": torch.from_numpy(previous)}, {"source": torch.from_numpy(lengths)}
        ).outputs["logits"].numpy()  # fmt: skip
    steps, rows, here = core.read(sources), np.arange(len(sources)), []
    state = steps.start
    for k in range(previous.shape[1]):
        outputs, state = steps.run(previous[:, k, 0], state, rows)
        here.append(outputs[0]["logits"][:, 0])
    return there, np.stack(here, 1)


def test_prediction_equals_the_training_half(model: tg.Translator) -> None:
    """1,000 sources: logits to 1e-5, and the same code wherever the margin exceeds 1e-4."""
    core = model._core
    words, truths = backwards(990, seed=7)
    words += ["a", "zzz", "f" * 60, "b", "ab"] * 2
    truths += ["A", "", "F" * 60, "B", "BA"] * 2
    there, here = teacher_forced(core, core.encode(words), core.target.encode(truths))
    np.testing.assert_allclose(here, there, atol=1e-5)
    ranked = np.sort(there, -1)
    margin = ranked[..., -1] - ranked[..., -2]
    assert not ((here.argmax(-1) != there.argmax(-1)) & (margin > 1e-4)).any()
    print(f"{int((margin <= 1e-4).sum())} of {margin.size} steps within the margin")


def test_a_beam_of_one_is_greedy_by_hand(model: tg.Translator) -> None:
    core = model._core
    (source,) = core.encode(["fedcba"])
    steps, codes = core.read([source]), [core.end]
    state = steps.start
    while len(codes) == 1 or codes[-1] != core.end:
        logprobs, state = steps(np.array(codes[-1:]), state, np.zeros(1, np.int64))
        codes.append(int(logprobs[0].argmax()))
    answer = core.target.decode(codes[1:-1])
    assert answer == "ABCDEF" == model.translate("fedcba") == model.predict("fedcba") == model.translate("fedcba", beam=1)
    assert model.n_best(["fedcba"], 1, beam=1)[0][0].text == answer


def test_a_beam_of_full_width_finds_what_an_exhaustive_search_finds() -> None:
    """An almost untrained net, whose second and third answers are near: every text of up to 3 codes, scored one by one."""
    own = tg.Translator(**{**TINY, "steps": 4}).fit((["ab", "ba", "a", "b"] * 8, ["xy", "yx", "x", "y"] * 8), progress=False)
    core, source = own._core, own._core.encode(["ab"])[0]
    assert core.end == 3
    logprobs: dict[tuple[int, ...], float] = {}
    for length in range(4):
        for codes in itertools.product((1, 2), repeat=length):
            steps, total = core.read([source]), 0.0
            state = steps.start
            whole = (*codes, core.end) if length < 3 else codes  # three steps at most: a third code ends unfinished
            for last, code in zip((core.end, *whole), whole, strict=False):
                each, state = steps(np.array([last]), state, np.zeros(1, np.int64))
                total += float(each[0, code])
            logprobs[codes] = total
    for alpha in (0.0, 1.0):
        found = core.search([source], Beam(beam=40, length_penalty=alpha, most=3), 15)[0]
        score = {c: p / ((5 + min(len(c) + 1, 3)) / 6) ** alpha for c, p in logprobs.items()}
        best = sorted(score, key=lambda c: -score[c])
        assert [h.codes for h in found] == best
        np.testing.assert_allclose([h.logprob for h in found], [logprobs[c] for c in best], rtol=1e-6)


def test_an_answer_does_not_depend_on_the_texts_beside_it(model: tg.Translator) -> None:
    words = backwards(40, seed=5)[0]
    together = model.n_best([*words, "", "abc" * 20], 3, beam=4, length_penalty=0.5)
    assert together == [model.n_best([word], 3, beam=4, length_penalty=0.5)[0] for word in [*words, "", "abc" * 20]]
    drawn = model.sample(words[:10], seed=2)
    assert drawn == model.sample(words[:10], seed=2) != model.sample(words[:10], seed=9)
    assert model.sample(words[:3], seed=2) == drawn[:3]
    assert model.sample(words[:10], seed=4, temperature=0) == model.translate(words[:10])


def test_answers_are_ranked_and_bounded(model: tg.Translator) -> None:
    (own,) = model.n_best(["abcde"], 4, beam=6)
    assert [a.score for a in own] == sorted((a.score for a in own), reverse=True)
    assert len({a.text for a in own}) == 4
    assert own[0].text == "EDCBA"
    assert 0.3 < own[0].probability < 1.0
    assert own[0].finished
    assert model.translate("abcdef", max_length=2) == "FE"
    assert len(model.sample(["abcdef"], max_length=2)[0]) <= 2
    repeated = model.translate("aaaa", no_repeat_ngram=1)
    assert len(repeated) == len(set(repeated))


def test_attention_reads_from_the_end(model: tg.Translator, tmp_path: Path) -> None:
    found = model.attention("abcdef")
    assert found.source == tuple("abcdef")
    assert found.target == (*"FEDCBA", "</s>")
    np.testing.assert_allclose(found.weights.sum(1), 1.0, rtol=1e-5)
    assert (found.weights[:6].argmax(1) == np.arange(5, -1, -1)).sum() >= 5
    assert "F" in str(found)
    assert model.attention("abc", "XA").weights.shape == (3, 3)
    assert model.attention("").weights.shape == (0, 0)
    model.plot(tmp_path / "a.png", "abcdef")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    plain = tg.Translator(**{**TINY, "attention": "none"}).fit(backwards(40), progress=False)
    with pytest.raises(tg.ConfigError, match="this net has none"):
        plain.attention("abc")


def test_the_file_answers_the_same_without_torch(model: tg.Translator, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model.save(path)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        f"import tidegate as tg; m = tg.load({str(path)!r})\n"
        "print(m.translate('abc', beam=3), m.sample(['abc'], seed=1)[0], m.n_best(['fed'], 2)[0][1].score)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said == [model.translate("abc", beam=3), model.sample(["abc"], seed=1)[0], str(model.n_best(["fed"], 2)[0][1].score)]


def test_the_same_seed_gives_the_same_bytes_also_after_a_resume(tmp_path: Path) -> None:
    pairs, options = backwards(80), {**TINY, "steps": 110, "dropout": 0.2, "patience": 0, "sampling": 0.2}
    whole = tg.Translator(**options).fit(pairs, progress=False).to_bytes()
    assert tg.Translator(**options, seed=1).fit(pairs, progress=False).to_bytes() != whole

    def stop(event: object) -> None:
        if event["step"] == 105:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        tg.Translator(**options).fit(pairs, progress=False, checkpoint=tmp_path / "run", on_event=stop)
    resumed = tg.Translator(**options).fit(pairs, progress=False, checkpoint=tmp_path / "run", resume=True)
    assert resumed.to_bytes() == whole


def test_no_source_stands_in_both_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from tidegate.data.pairs import read_pairs
    from tidegate.models.translate_fit import _parts

    rows = [(f"s{k % 30}", f"t{k}") for k in range(90)]
    train, back = _parts(read_pairs(rows), None, TranslateOptions(validation=0.2), 0)
    assert len(train[0]) + len(back[0]) == 90
    assert len(back[0]) == 18
    assert not set(train[0]) & set(back[0])


@pytest.mark.parametrize("units", ["char", "byte", "word", "token", "bpe"])
def test_every_unit_is_read_written_and_kept(units: str) -> None:
    own = tg.Translator(**{**TINY, "units": units, "vocabulary": 300, "steps": 3}).fit(
        (["to be", "or not"] * 9, ["to be ä", "😀 é"] * 9), progress=False
    )
    texts = ["", "to be", "never seen ☃", "עברית", "a\u0301👩\u200d🚀", "to " * 2000]
    answers = own.translate(texts, max_length=5, beam=2)
    assert answers[0] == ""
    assert all(isinstance(a, str) and not any("\ud800" <= c <= "\udfff" for c in a) for a in answers)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("a", "b")], "at least 2 different sources"),
        ([("a", ""), ("b", " ")], "with text on both sides"),
        ((["a", "b"], ["c"]), "one target a source, got 2 sources and 1 targets"),
        ([("a\0", "b"), ("c", "d")], r"U\+0000"),
        ([("a", "\ud800"), ("c", "d")], r"U\+D800"),
    ],
)
def test_pairs_that_cannot_be_used_are_refused(pairs: object, said: str) -> None:
    with pytest.raises(tg.DataError, match=said):
        tg.Translator(**{**TINY, "units": "token"}).fit(pairs, progress=False)


def test_what_was_left_out_is_said() -> None:
    rows = [*zip(*backwards(40), strict=True), ("", "A"), ("b", ""), ("c", "D" * 20)]
    own = tg.Translator(**{**TINY, "max_tokens": 10, "min_count": 2}).fit(rows, valid=[("ab", "BAX")], progress=False)
    notes = " ".join(map(str, own.card["notes"]))
    assert "2 pairs have a side without a token" in notes
    assert "1 pairs have a target of more than 10 tokens" in notes
    assert "1 of 3 held-back target tokens are not in the vocabulary" in notes
    assert own.card["pairs"] == 40


def test_the_docstrings_example_holds() -> None:
    assert doctest.testmod(translator) == (0, 4)


def test_bad_calls_are_refused(model: tg.Translator) -> None:
    for call, said in (
        (lambda: model.translate("a", beam=0), "beam: expected a whole number of at least 1"),
        (lambda: model.translate("a", beam=2, length_penalty=-1.0), "length_penalty"),
        (lambda: model.translate("a", no_repeat_ngram=-1), "no_repeat_ngram"),
        (lambda: model.translate("a", max_length=0), "max_length: expected a whole number"),
        (lambda: model.n_best(["a"], 9, beam=3), "n_best: expected 1 to beam = 3"),
        (lambda: model.sample(["a"], temprature=1.0), "did you mean 'temperature'"),
        (lambda: model.sample(["a"], seed=-1), "seed: expected"),
        (lambda: model.translate(3), "texts: expected a text"),
        (lambda: model.evaluate((["a"], ["A"]), measures=("BLUE",)), "there is no 'BLUE'"),
        (lambda: tg.Translator(hidden_siz=3), "did you mean 'hidden_size'"),
        (lambda: tg.Translator(**TINY).fit(["ab"], valid_target="x"), "valid_target: goes with valid"),
    ):
        with pytest.raises(tg.ConfigError, match=said):
            call()
    with pytest.raises(tg.TaskError, match="not fitted"):
        tg.Translator().translate("a")


def test_altered_files_are_refused(model: tg.Translator) -> None:
    file = container.parse(model.to_bytes())

    def altered(header: dict[str, object] | None = None, arrays: dict[str, object] | None = None) -> None:
        body = container.dump("model", {**file.header, **(header or {})}, {**file.arrays, **(arrays or {})})
        tg.Translator._from_file(container.parse(body), "x")

    altered()
    short = {k: v for k, v in file.arrays.items() if k != "net0.vectors.weight"}
    for header, arrays, said in (
        ({"members": 0}, None, "members: expected 1 to 64"),
        ({"members": 2}, None, "missing"),
        ({"decoder": {"longest": True}}, None, "longest: expected 1"),
        ({"card": {**file.header["card"], "held_back": None}}, None, "held-back figures"),
        ({"options": {**file.header["options"], "hidden_size": 24}}, None, "spec does not follow"),
        ({}, {"net0.extra": np.zeros(1, np.float32)}, "no such weight"),
        ({}, {"other": np.zeros(1, np.float32)}, "no such part"),
        ({}, {"net0.vectors.weight": np.zeros((2, 2), np.float32)}, "expected shape"),
    ):
        with pytest.raises(tg.FormatError, match=said):
            altered(header, arrays)
    with pytest.raises(tg.FormatError, match="missing"):
        tg.Translator._from_file(container.parse(container.dump("model", file.header, short)), "x")


def test_pairs_without_text_are_left_out_before_any_are_held_back() -> None:
    rows = [("a b", "A B"), (" ", "X"), ("c d", "C D"), ("e", "\t")]
    own = tg.Translator(units="char", hidden_size=4, embedding_dim=4, steps=1).fit(rows, progress=False)
    assert own.card["pairs"] == own.card["held_back_pairs"] == 1
    assert "2 pairs have a side without a token and were left out" in own.card["notes"]


def test_what_is_asked_wrongly_is_told_in_the_users_words(caplog: pytest.LogCaptureFixture) -> None:
    rows = [("a b", "A B"), ("c d", "C D"), ("é", "É")]
    own = tg.Translator(units="byte", hidden_size=4, embedding_dim=4, steps=1, max_tokens=3).fit(rows, valid=rows, progress=False)
    with pytest.raises(tg.ConfigError, match="n_best: expected 1 to beam = 2 answers, got 3"):
        own.n_best(["a"], 3, beam=2)
    with pytest.raises(tg.ConfigError, match="text: expected one text, got list"):
        own.attention(["a", "b"])  # type: ignore[arg-type]  # the fault under test
    assert own.attention("a é").source[:2] == ("a", " ")
    with caplog.at_level("WARNING", "tidegate"):
        own.translate(["a b c d"])
    assert "have more than 3 tokens" in caplog.text
