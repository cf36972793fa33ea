"""A look at tagged sentences: what is odd about words, tags, and two parts together."""

from __future__ import annotations

from pathlib import Path

from tidegate.data.tag_check import check_tagged

GOOD = [
    (["Ann", "saw", "Rio"], ["B-PER", "O", "B-LOC"]),
    (["Bob", "left"], ["B-PER", "O"]),
    (["New", "York"], ["B-LOC", "I-LOC"]),
]


def said(source: object, valid: object | None = None) -> dict[str, str]:
    return {found.what: found.level for found in check_tagged(source, valid)}


def test_sound_sentences_have_one_note_and_a_rare_tag() -> None:
    found = said(GOOD)
    assert found["3 sentences, 7 words, 4 tags of spans in the scheme iob2"] == "note"
    assert "error" not in found.values()


def test_what_training_refuses_is_an_error() -> None:
    assert said([["a", "b"]])["no tag stands beside the words"] == "error"
    assert said([(["a", "b"], ["X", "X"])])["one tag alone, 'X'"] == "error"
    assert "error" in said([(["a"], ["X", "Y"])]).values()


def test_ill_formed_and_unreachable_tags_are_told() -> None:
    broken = [*GOOD, (["a", "b"], ["O", "I-PER"])]
    assert said(broken)["1 sentences have tags that break the scheme iob2"] == "warning"
    alone = [*GOOD, (["a", "b"], ["O", "I-ORG"])]
    assert said(alone)["1 tags can follow no other tag and begin no sentence: I-ORG"] == "warning"


def test_repeated_torn_and_mangled_sentences_are_told() -> None:
    found = said([*GOOD, GOOD[0], (GOOD[1][0], ["O", "O"]), (["cafÃ©", "x"], ["O", "O"])])
    assert found["1 sentences stand with different tags"] == "warning"
    assert found["2 sentences are repeated"] == "warning"
    assert found["1 sentences with letters that look wrongly decoded"] == "warning"


def test_leaks_and_strange_tags_of_the_held_back_part_are_told() -> None:
    found = said(GOOD, [GOOD[0], (["x"], ["B-NEW"])])
    assert found["1 held-back sentences are trained on too"] == "warning"
    assert found["1 held-back sentences have a tag that no training sentence has: B-NEW"] == "warning"
    assert said(GOOD, [["x"]])["no tag stands beside the held-back words"] == "error"


def test_a_broken_file_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.conll"
    path.write_text("Ann B-PER\nsaw\n", encoding="utf-8")
    (found,) = check_tagged(path)
    assert found.level == "error"
    assert "line 2" in found.what
