"""The tagger: it learns, predicts without torch what training computed, streams, refuses, and survives its file."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tidegate as tg
from tidegate import format as container
from tidegate.blocks.graph import run
from tidegate.data.schemes import convert
from tidegate.decode import viterbi
from tidegate.decode.viterbi import best_paths
from tidegate.errors import FormatError, TidegateError
from tidegate.models import tag_fit
from tidegate.models.tag_core import followers, spelling
from tidegate.models.tag_stream import tagged
from tidegate.nn.network import Network
from tidegate.nn.ops import TorchOps
from tidegate.tasks.tag import TagOptions

OPTIONS = {
    "dropout": 0.4, "unknown_rate": 0.25, "hidden_size": 12, "embedding_dim": 12, "letter_size": 6, "letter_dim": 8,
    "batch_tokens": 256, "learning_rate": 0.02,
}  # fmt: skip
NAMES, PLACES, VERBS = ("Ann", "Bob", "Cem", "Dora"), ("Rio", "New York", "Bern", "Los Alamos"), ("saw", "left", "likes")


def trips(count: int, seed: int = 0) -> list[tuple[list[str], list[str]]]:
    """Sentences with names in IOB2; the preposition decides whether a name that both lists hold is a place."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        place = str(rng.choice(PLACES)).split()
        words = [str(rng.choice(NAMES)), str(rng.choice(VERBS)), "in" if rng.integers(2) else "near", *place]
        tags = ["B-PER", "O", "O", "B-LOC", *["I-LOC"] * (len(place) - 1)]
        extra = int(rng.integers(3))
        found.append((words + ["today"] * extra, tags + ["O"] * extra))
    return found


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> tg.Tagger:
    kinds = ["two" if "near" in words else "one" for words, _ in trips(150)]
    return tg.Tagger(**OPTIONS, steps=120, seed=3).fit(trips(150), sentence_labels=kinds, progress=False)


def test_names_are_found(model: tg.Tagger) -> None:
    found = model.evaluate(trips(60, seed=1), sentence_labels=["two" if "near" in w else "one" for w, _ in trips(60, seed=1)])
    assert found.figures["F1"] > 0.95
    assert found.figures["label-accuracy"] > 0.95
    assert found.figures["F1"] > found.board.figures["commonest tag here"]["F1"]


KINDS = [
    {"decoder": "softmax"}, {"scheme": "bioes"}, {"letters": False}, {"cell": "gru", "num_layers": 2}, {"bidirectional": False},
    {"ensemble": 2},
]  # fmt: skip


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_every_kind_learns(options: dict[str, object]) -> None:
    own = tg.Tagger(**OPTIONS, **options, steps=60).fit(trips(150), progress=False)
    assert own.evaluate(trips(40, seed=1)).figures["F1"] > 0.9


def test_prediction_equals_training_over_a_thousand_sentences(model: tg.Tagger) -> None:
    """Scores to 1e-5, and the same tags wherever the best path leads by more than 1e-4; the others are counted."""
    core = model._ready()
    rng = np.random.default_rng(5)
    known = [w for words, _ in trips(150) for w in words] + ["Zoë", "x", "unseen", "42", "日本"]
    sentences = [[str(w) for w in rng.choice(known, rng.integers(1, 12))] for _ in range(1000)]
    net = Network(core.nets[0].spec, torch.Generator())
    net.load(core.nets[0].weights)
    read, close, compared = core.encode(sentences), 0, 0
    for scores in core.scores(read):
        given = read.inputs(scores.rows, None, None)
        arrays, lengths = ({n: torch.from_numpy(a) for n, a in part.items()} for part in (given.arrays, given.lengths))
        with torch.no_grad():
            there = run(TorchOps(), net.spec, net.weights(), arrays, lengths).outputs
        np.testing.assert_allclose(scores.tags, there["chain"].numpy(), atol=1e-5)
        np.testing.assert_allclose(scores.labels[0], there["label"].numpy(), atol=1e-5)
        own = best_paths(scores.tags, scores.lengths, *core.chain, n=2)
        other = best_paths(there["chain"].numpy(), scores.lengths, *core.chain, n=1)
        clear = own.scores[:, 0] - own.scores[:, 1] > 1e-4
        assert np.array_equal(own.tags[clear, 0], other.tags[clear, 0])
        close, compared = close + int((~clear).sum()), compared + len(clear)
    assert compared == 1000
    assert close < 10


def test_the_n_best_have_falling_probabilities_that_no_others_exceed(model: tg.Tagger) -> None:
    (found,) = model.tag([["Ann", "saw", "Rio"]], n_best=200)
    shares = [path.probability for path in found.paths]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1.0, abs=1e-6)  # every legal path of three words is among them
    assert len({path.tags for path in found.paths}) == len(found.paths)
    for k, (tag, sure) in enumerate(zip(found.tags, found.probabilities, strict=True)):
        assert sure == pytest.approx(sum(p.probability for p in found.paths if p.tags[k] == tag), abs=1e-6)


def test_every_path_is_well_formed(model: tg.Tagger) -> None:
    core, legal = model._ready(), followers(model.tags, "iob2")
    codes = {tag: k for k, tag in enumerate(core.tags)}
    for found in model.tag([words for words, _ in trips(20, seed=9)], n_best=5):
        for path in found.paths:
            edges = [len(codes), *(codes[tag] for tag in path.tags), len(codes)]
            assert all(legal[a, b] for a, b in itertools.pairwise(edges))


def test_answers_are_in_the_scheme_of_the_file() -> None:
    data = [(words, ["I-" + tag[2:] if tag != "O" else tag for tag in tags]) for words, tags in trips(120)]
    own = tg.Tagger(**OPTIONS, steps=50, scheme="bioes").fit(data, progress=False)
    assert {tag[0] for tag in own.tags} >= {"S", "B", "E", "O"}
    stream, sentences = own.stream(0), [words for words, _ in trips(20, seed=3)]
    for words, expected in zip(sentences, tagged(own._ready(), sentences, 0)[0], strict=True):  # ends as a live stream ends
        codes = [own.tags.index(found.tag) for word in words if (found := stream.push(word)) is not None]
        assert stream.finish() == []
        assert own._ready().given(np.array(codes)) == expected
    assert {tag for tags in own.predict([words for words, _ in data]) for tag in tags} <= {"O", "I-PER", "I-LOC"}
    assert "the tags are spans in the scheme iob1; learnt in bioes, answered in iob1" in own.card["notes"]


def test_a_stream_with_all_words_ahead_gives_the_tags_of_the_sentence(model: tg.Tagger) -> None:
    sentences = [words for words, _ in trips(30, seed=4)]
    assert tagged(model._ready(), sentences, 20)[0] == model.predict(sentences)


@pytest.mark.parametrize("look_ahead", [0, 1, 3])
def test_a_stream_alone_gives_what_streams_side_by_side_give(model: tg.Tagger, look_ahead: int) -> None:
    sentences = [words for words, _ in trips(8, seed=4)]
    together, odds = tagged(model._ready(), sentences, look_ahead)
    stream = model.stream(look_ahead)
    for words, expected, sure in zip(sentences, together, odds, strict=True):
        given = [found for word in words if (found := stream.push(word)) is not None]
        assert len(given) == max(0, len(words) - look_ahead)
        given += stream.finish()
        assert [one.tag for one in given] == expected
        assert [one.word for one in given] == words
        assert [one.probability for one in given] == pytest.approx(sure, abs=1e-6)


def test_a_one_way_net_without_a_chain_streams_exactly() -> None:
    own = tg.Tagger(**OPTIONS, steps=30, bidirectional=False, decoder="softmax").fit(
        [(words, [tag[-3:] for tag in tags]) for words, tags in trips(60)], progress=False
    )
    sentences = [words for words, _ in trips(20, seed=2)]
    assert own.stream().look_ahead == 0
    assert tagged(own._ready(), sentences, 0)[0] == own.predict(sentences)


def test_a_copy_of_a_stream_goes_its_own_way(model: tg.Tagger) -> None:
    stream = model.stream(1)
    stream.push("Ann")
    other = stream.copy()
    assert stream.push("saw") == other.push("saw")
    assert stream.finish() == other.finish()
    assert stream.finish() == []


@pytest.mark.parametrize("word", ["", "a\0b", "\ud800"])
def test_a_stream_refuses_what_is_no_word_and_stays_where_it_was(model: tg.Tagger, word: str) -> None:
    stream, other = model.stream(0), model.stream(0)
    with pytest.raises(tg.DataError, match="untouched"):
        stream.push(word)
    assert stream.push("Ann") == other.push("Ann")


def test_the_look_ahead_is_a_number_of_words(model: tg.Tagger) -> None:
    with pytest.raises(tg.ConfigError, match="look_ahead: expected a whole number of words from 0 to 1,048,576, got -1"):
        model.stream(-1)


def test_look_ahead_costs_end_at_whole_sentences(model: tg.Tagger) -> None:
    board = model.look_ahead_costs(trips(30, seed=7), looks=(0, 9))
    assert list(board.methods) == ["0 words ahead", "9 words ahead", "whole sentences"]
    assert board.figures["9 words ahead"] == board.figures["whole sentences"]


def test_raw_text_is_cut_into_words(model: tg.Tagger) -> None:
    found = model.tag("Ann saw Rio.\n\nBob left Bern!")
    assert [one.words for one in found] == [("Ann", "saw", "Rio", "."), ("Bob", "left", "Bern", "!")]
    assert [span.type for span in found[0].spans][:1] == ["PER"]


@pytest.mark.parametrize("given", ["", [""], [[]]])
def test_no_words_get_no_tags(model: tg.Tagger, given: object) -> None:
    (found,) = model.tag(given)
    assert found.tags == found.words == ()
    assert found.paths[0].probability == 1.0


def test_long_and_strange_sentences(model: tg.Tagger) -> None:
    long = [["Ann", "saw"] * 5000, ["שלום", "👩‍👩‍👧", "x" * 5000], ["Ann"]]
    assert [len(tags) for tags in model.predict(long)] == [10_000, 3, 1]
    assert model.predict(long)[2] == model.predict([["Ann"]])[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "expected a text, a list, or a file"),
        ([3], "row 0: expected a raw text or a list of words, got int"),
        ([["a", ""]], "row 0: expected words that are not empty"),
        ([["a\0"]], r"U\+0000"),
        ([["\ud800"]], r"U\+D800"),
    ],
)
def test_what_is_no_sentence_is_refused(model: tg.Tagger, given: object, said: str) -> None:
    with pytest.raises(TidegateError, match=said):
        model.tag(given)


@pytest.mark.parametrize(
    ("data", "arguments", "said"),
    [
        ([["a"]], {}, "expected a tag beside each word, got none"),
        ([(["a", "b"], ["X", "X"])] * 3, {}, "expected 2 to 2,000 tags"),
        ([(["a", "b"], ["X", "Y"])], {}, "expected two documents or sentences at least"),
        ([(["a"], ["X", "Y"])], {}, "as many tags as words"),
        ([(["a", "b"], ["X", "Y"])] * 3, {"sentence_labels": ["p"]}, "expected a label of each of the 3 sentences, got 1"),
        ([(["a", "b"], ["X", "Y"])] * 3, {"sentence_labels": ["p", "", "q"]}, "line 2: expected a label"),
        ([(["a", "b"], ["X", "Y"])] * 3, {"valid_labels": "x"}, "go with valid="),
    ],
)
def test_what_cannot_be_trained_on_is_refused(data: object, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(TidegateError, match=said):
        tg.Tagger(**OPTIONS, steps=1).fit(data, **arguments, progress=False)


def test_a_scheme_is_for_spans() -> None:
    with pytest.raises(tg.ConfigError, match="scheme='bioes': expected tags of spans"):
        tg.Tagger(**OPTIONS, steps=1, scheme="bioes").fit([(["a", "b"], ["X", "Y"])] * 3, progress=False)


def test_a_tag_of_the_held_back_part_alone_does_not_stop_training() -> None:
    data = [(["a", "b"], ["X", "Y"])] * 6
    own = tg.Tagger(**OPTIONS, steps=2).fit(data, valid=[(["a"], ["Z"])], progress=False)
    assert own.tags == ("X", "Y", "Z")


def test_tags_that_training_did_not_have_count_as_wrong(model: tg.Tagger) -> None:
    found = model.evaluate([(["Ann", "saw"], ["B-PER", "B-NEW"])])
    assert found.figures["accuracy"] <= 0.5
    assert any("B-NEW" in sentence for sentence in found.verdict)


def test_documents_are_held_back_whole() -> None:
    words = [(f"w{k}", "X" if k % 2 else "Y") for k in range(40)]
    lines = [
        f"{word} {tag}" + ("\n" if k % 2 else "") + ("\n-DOCSTART- O\n" if k % 8 == 7 else "")
        for k, (word, tag) in enumerate(words)
    ]
    tagged_file = tg_read("\n".join(lines))
    learnt, kept = tag_fit._split(tag_fit.Data(tagged_file, None), TagOptions(validation=0.2), 0)
    assert not {*learnt.tagged.documents} & {*kept.tagged.documents}
    assert len(learnt.tagged) + len(kept.tagged) == len(tagged_file)


def tg_read(text: str) -> object:
    import tempfile

    from tidegate.data.tagged import read_tagged

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.conll"
        path.write_text(text, encoding="utf-8")
        return read_tagged(path)


def test_long_words_are_read_at_both_ends() -> None:
    assert spelling("abcdefgh", TagOptions(max_letters=5)) == "abcgh"
    assert spelling("abcde", TagOptions(max_letters=5)) == "abcde"


def test_the_file_holds_everything(model: tg.Tagger, tmp_path: Path) -> None:
    path = tmp_path / "trips.safetensors"
    model.save(path)
    again = tg.load(path)
    assert isinstance(again, tg.Tagger)
    assert again.to_bytes() == model.to_bytes()
    assert [str(one) for one in again.tag("Ann left New York")] == [str(one) for one in model.tag("Ann left New York")]
    assert repr(again).endswith("weights")
    code = f"import sys, tidegate as tg; print(tg.load({str(path)!r}).predict('Ann saw Rio')); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(model.predict("Ann saw Rio"))


@pytest.mark.parametrize("part", ["tags.bytes", "labels.offsets", "words.tokens.bytes", "net0.chain.transitions"])
def test_a_file_without_a_part_is_refused(model: tg.Tagger, part: str) -> None:
    header, arrays = model._contents()
    broken = container.dump("model", {**header, "task": "tag"}, {n: a for n, a in arrays.items() if n != part})
    with pytest.raises(FormatError):
        tg.Tagger._from_file(container.parse(broken), "x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decoder": {"scheme": "x", "temperature": 1.0, "label_temperature": 1.0}}, "scheme: expected"),
        ({"decoder": {"scheme": "plain", "temperature": 1.0, "label_temperature": 1.0}}, "."),
        ({"decoder": {"scheme": "iob2", "temperature": -1.0, "label_temperature": 1.0}}, "temperature: expected"),
        ({"members": 2}, "."),
        ({"card": {}}, "its card lacks"),
    ],
)
def test_an_altered_header_is_refused(model: tg.Tagger, change: dict[str, object], said: str) -> None:
    header, arrays = model._contents()
    broken = container.dump("model", {**header, "task": "tag", **change}, arrays)
    with pytest.raises(FormatError, match=said):
        tg.Tagger._from_file(container.parse(broken), "x")


def test_the_same_seed_gives_the_same_bytes() -> None:
    made = [tg.Tagger(**OPTIONS, steps=8, seed=5).fit(trips(30), progress=False).to_bytes() for _ in range(2)]
    assert made[0] == made[1]


def test_an_untrained_tagger_says_so() -> None:
    with pytest.raises(tg.TaskError, match="not fitted"):
        tg.Tagger().predict("a")


@pytest.mark.parametrize("options", [{"decoder": "softmax"}, {}], ids=str)
def test_predict_and_tag_agree(options: dict[str, object]) -> None:
    plain = [(words, [tag[-3:] for tag in tags]) for words, tags in trips(60)]
    for data in (plain, trips(60)):
        own = tg.Tagger(**OPTIONS, **options, steps=10).fit(data, progress=False)
        sentences = [words for words, _ in trips(40, seed=8)]
        assert own.predict(sentences) == [list(found.tags) for found in own.tag(sentences)]


def test_words_start_at_given_vectors(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("ann 1 2 3\nrio 4 5 6\nnowhere 7 8 9\n", encoding="utf-8")
    own = tg.Tagger(**{**OPTIONS, "embedding_dim": None}, steps=2).fit(trips(30), vectors=path, progress=False)
    assert own.options.embedding_dim is None
    assert own._ready().options.embedding_dim == 3
    assert any("2 of" in str(note) and "v.txt" in str(note) for note in own.card["notes"])
    assert tg.Tagger._from_file(container.parse(own.to_bytes()), "x").predict("Ann saw Rio") == own.predict("Ann saw Rio")
    with pytest.raises(tg.ConfigError, match="embedding_dim: expected 3"):
        tg.Tagger(**OPTIONS, steps=2).fit(trips(30), vectors=path, progress=False)


def test_the_split_may_have_its_own_seed() -> None:
    hashes = [
        tg.Tagger(**OPTIONS, steps=1, seed=k).fit(trips(40), split_seed=7, progress=False).card["held_back"] for k in (0, 1)
    ]
    table = [dict(held["table"])["most frequent tag"] for held in hashes]
    assert table[0] == table[1]


def test_a_hot_temperature_forbids_what_a_cool_one_forbids(model: tg.Tagger) -> None:
    for temperature in (0.3, 5.2, 20.0):
        core = replace(model._ready(), temperature=temperature)
        decoded = core.decoded(next(core.scores(core.encode([["Ann", "saw"]]))), 50)
        found = np.isfinite(decoded.paths.scores[0])
        legal = followers(core.tags, "iob2")
        paths = decoded.paths.tags[0, found, :2]
        assert all(legal[-1, a] and legal[a, b] and legal[b, -1] for a, b in paths)
        assert len({tuple(path) for path in paths.tolist()}) == len(paths)
        assert decoded.shares[0].sum() == pytest.approx(1.0, abs=1e-6)


def test_a_file_in_another_scheme_is_read_in_its_own() -> None:
    iob2 = trips(120)
    one, two = ([(words, convert(tags, "iob2", other)) for words, tags in iob2] for other in ("iob1", "bioes"))
    own = tg.Tagger(**OPTIONS, steps=60).fit(one, valid=two[:20], progress=False)
    assert {tag[0] for tag in own.predict([words for words, _ in one])[0]} <= {"I", "O", "B"}
    figures = [dict(own.evaluate(data[:40]).figures) for data in (one, iob2, two)]
    assert figures[0] == figures[1] == figures[2]
    with pytest.raises(tg.DataError, match="expected spans in iob1, as in training, got other tags"):
        own.evaluate([(["a"], ["NOUN"])])


def test_spans_without_an_outside_have_an_answer_of_any_length() -> None:
    data = [(["New", "York"], ["B-L", "E-L"]), (["San", "Jo"], ["B-L", "E-L"])] * 20
    own = tg.Tagger(**OPTIONS, steps=5, scheme="bioes").fit(data, progress=False)
    assert "O" in own.tags
    assert own.tag([["Paris"]])[0].tags in {("O",), ("S-L",)}


def test_odds_of_a_stream_stand_beside_its_tags(model: tg.Tagger) -> None:
    data = trips(20, seed=11)
    found = model.evaluate(data, look_ahead=0)
    _, odds = tagged(model._ready(), [words for words, _ in data], 0)
    assert found.predictions["probability"].tolist() == [p for own in odds for p in own]


def test_many_paths_are_found_in_pieces(monkeypatch: pytest.MonkeyPatch, model: tg.Tagger) -> None:
    sentences = [words for words, _ in trips(12, seed=5)]
    whole = model.tag(sentences, n_best=4)
    monkeypatch.setattr(viterbi, "MOST_NUMBERS", 200)
    assert model.tag(sentences, n_best=4) == whole


@pytest.mark.parametrize("name", ["raw.txt", "words.conll"])
def test_a_file_is_text_or_words_by_its_name(model: tg.Tagger, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(
        "Ann saw Rio\nBob left\n" if name == "raw.txt" else "Ann O\nsaw O\nRio O\n\nBob O\nleft O\n", encoding="utf-8"
    )
    assert [one.words for one in model.tag(path)] == [("Ann", "saw", "Rio"), ("Bob", "left")]


def test_labels_may_be_an_array() -> None:
    own = tg.Tagger(**OPTIONS, steps=1).fit(trips(4), sentence_labels=np.array(["a", "b", "a", "b"]), progress=False)
    assert own.labels == ("a", "b")
    with pytest.raises(tg.DataError, match="expected two labels at least, got 'a' alone"):
        tg.Tagger(**OPTIONS, steps=1).fit(trips(4), sentence_labels=["a"] * 4, progress=False)
