"""From texts to codes: what each unit cuts, what is unknown, what a file holds, hostile files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.data.vocabulary import Tokenizer, learn, pack_texts, unpack_texts
from tidegate.errors import ConfigError, DataError, FormatError

TEXTS = ["Hello world, don't stop 3.5 times!", "hello  there\tworld"]


def tokenizer(units: str, **options: object) -> Tokenizer:
    return learn(TEXTS, units, **{"lower": True, "size": 300, **options})[0]


@pytest.mark.parametrize(
    ("units", "text", "tokens"),
    [
        ("word", "Don't stop: 3.5 snake_case", ["don't", "stop", ":", "3.5", "snake", "_", "case"]),
        ("word", "", []),
        ("word", "l’été 1,000 日本", ["l’été", "1,000", "日本"]),
        ("token", " It's  A\tTest ", ["it's", "a", "test"]),
        ("char", "Aé 😀", ["a", "é", " ", "😀"]),
        ("byte", "é", ["195", "169"]),
    ],
)
def test_what_each_unit_cuts(units: str, text: str, tokens: list[str]) -> None:
    assert tokenizer(units).cut(text) == tokens


def test_the_commonest_tokens_are_kept_and_ties_are_alphabetical() -> None:
    own, counts = learn(TEXTS, "word", lower=True, size=4)
    assert own.tokens == ("hello", "world", "!", ",")
    assert counts.tolist() == [0, 2, 2, 1, 1]
    assert own.encode(["hello new world"])[0].tolist() == [1, 0, 2]
    assert learn(TEXTS, "word", lower=True, size=99, min_count=2)[0].tokens == ("hello", "world")
    assert learn(TEXTS, "word", lower=False, size=99)[0].tokens[0] == "world", "capitals count where they are kept"


def test_nothing_left_is_refused() -> None:
    with pytest.raises(DataError, match="occurs 3 times"):
        learn(TEXTS, "word", lower=True, size=9, min_count=3)
    with pytest.raises(DataError, match="at least one token"):
        learn([" "], "token", lower=True, size=9)
    with pytest.raises(ConfigError, match="at least 1"):
        learn(TEXTS, "word", lower=True, size=0)


@given(st.text(), st.sampled_from(["word", "token", "char"]), st.booleans())
def test_spans_point_at_the_tokens(text: str, units: str, lower: bool) -> None:
    own = tokenizer(units, lower=lower)
    pieces = [text[a:b] for a, b in own.spans(text)]
    assert [piece.lower() if lower else piece for piece in pieces] == own.cut(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_and_pairs_have_nothing_unknown(text: str) -> None:
    for units in ("byte", "bpe"):
        codes = tokenizer(units).encode([text])[0]
        assert codes.min(initial=1) >= 1
    assert len(tokenizer("byte", lower=False).encode([text])[0]) == len(text.encode())


def test_pairs_are_learnt_and_need_room_for_every_byte() -> None:
    own = learn(["hello hello hello"], "bpe", lower=False, size=260)[0]
    assert len(own.merges) == 4
    assert own.cut("hello")[0] == "hello"
    with pytest.raises(ConfigError, match="at least 256"):
        learn(TEXTS, "bpe", lower=False, size=100)


@pytest.mark.parametrize("units", ["word", "token", "char", "byte", "bpe"])
def test_a_file_gives_the_same_codes(units: str) -> None:
    own = tokenizer(units)
    again = Tokenizer.from_arrays(units, own.lower, own.arrays("v"), "v")
    text = "hello wörld, don't 😀"
    assert again.cut(text) == own.cut(text)
    np.testing.assert_array_equal(again.encode([text])[0], own.encode([text])[0])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_texts_come_back(texts: list[str]) -> None:
    assert unpack_texts("x", pack_texts("x", texts)) == tuple(texts)


def test_altered_parts_are_refused() -> None:
    own = tokenizer("word").arrays("v")
    broken = {
        "gone": {k: a for k, a in own.items() if k != "v.tokens.bytes"},
        "offsets that fall": {**own, "v.tokens.offsets": own["v.tokens.offsets"][::-1].copy()},
        "offsets past the end": {**own, "v.tokens.offsets": own["v.tokens.offsets"] + 1},
        "no UTF-8": {**own, "v.tokens.bytes": np.full_like(own["v.tokens.bytes"], 255)},
        "a token twice": pack_texts("v.tokens", ["a", "a"]) | {"v.merges": own["v.merges"]},
        "a pair of nothing": {**own, "v.merges": np.array([[1, 99]], np.int32)},
        "a pair of words": {**own, "v.merges": np.array([[1, 2]], np.int32)},
        "pairs of another kind": {**own, "v.merges": np.zeros((0, 2), np.int64)},
    }
    for name, arrays in broken.items():
        assert _refused(arrays), name


def _refused(arrays: dict[str, np.ndarray]) -> bool:
    try:
        Tokenizer.from_arrays("word", True, arrays, "v")
    except FormatError:
        return True
    return False


def test_bytes_and_pairs_point_at_nothing() -> None:
    with pytest.raises(ConfigError, match="expected word, token or char"):
        tokenizer("byte").spans("abc")
