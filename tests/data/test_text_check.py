"""A look at labelled texts: each fault is found, named with its place, and a sound file has notes alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.data.check import Finding
from tidegate.data.text_check import check_labelled

SOUND = [(f"text number {k}", "ab"[k % 2]) for k in range(20)]


def told(rows: list[tuple[str, str]], valid: list[tuple[str, str]] | None = None) -> dict[str, Finding]:
    found = check_labelled(rows, valid)
    assert [f.level for f in found] == sorted((f.level for f in found), key=("error", "warning", "note").index)
    return {finding.what: finding for finding in found}


def one(found: dict[str, Finding], part: str) -> Finding:
    (key,) = [what for what in found if part in what]
    return found[key]


def test_sound_texts_have_a_note() -> None:
    found = told(SOUND, [("another", "a")])
    assert {f.level for f in found.values()} == {"note"}
    assert "20 texts in 2 classes, 10 to 10 each" in found


@pytest.mark.parametrize(
    ("rows", "part", "level", "count"),
    [
        ([("", "a"), (" \t", "b")], "without a letter or sign", "warning", 2),
        (
            [("caf\u00c3\u00a9", "a"), ("it\u00e2\u20ac\u2122s", "b"), ("a\ufffdb", "a"), ("café’s", "a")],
            "wrongly decoded",
            "warning",
            3,
        ),
        ([("cafe\u0301", "a")], "not in Unicode's form NFC", "note", 1),
        ([("x" * 10_001, "a")], "more than 10,000 letters", "note", 1),
        ([("twice", "a"), ("twice", "a"), ("twice", "a")], "2 texts are repeated", "warning", 2),
        ([("torn", "a"), ("torn", "b")], "stand with different labels", "warning", 1),
        ([("alone", "c")], "1 classes have one text: c", "warning", 1),
    ],
)
def test_each_fault_is_found_with_its_place(rows: list[tuple[str, str]], part: str, level: str, count: int) -> None:
    finding = one(told([*SOUND, *rows]), part)
    assert (finding.level, finding.count) == (level, count)
    assert "row 2" in finding.where or not finding.where


def test_one_class_and_a_ruling_one() -> None:
    assert one(told([("x", "a"), ("y", "a")]), "one class alone").level == "error"
    assert "95.2 %" in one(told([(f"t{k}", "a") for k in range(40)] + [("x", "b"), ("y", "b")]), "are 'a'").what


def test_the_two_parts() -> None:
    found = told(SOUND, [("text number 3", "b"), ("new", "c")])
    assert one(found, "trained on too").count == 1
    strange = one(found, "a label that no training text has: c")
    assert strange.level == "error"
    assert strange.where == "row 1"


def test_what_cannot_be_read_is_an_error_finding(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"t,c\n\xff\xfe,a\n")
    (finding,) = check_labelled(path, label="c")
    assert finding.level == "error"
    assert check_labelled(["a", "b"])[0].what == "no label stands beside the texts"
