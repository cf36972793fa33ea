"""A look at pairs: each fault is found, named with its place, and sound pairs have notes alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.data.check import Finding
from tidegate.data.pair_check import check_pairs

SOUND = [(f"source number {k}", f"target number {k}") for k in range(20)]


def told(rows: list[tuple[str, str]], valid: list[tuple[str, str]] | None = None) -> dict[str, Finding]:
    found = check_pairs(rows, valid=valid)
    assert [f.level for f in found] == sorted((f.level for f in found), key=("error", "warning", "note").index)
    return {finding.what: finding for finding in found}


def test_sound_pairs_have_a_note() -> None:
    assert {(f.level, f.what) for f in told(SOUND, [("another", "one")]).values()} == {("note", "20 pairs"), ("note", "1 pairs")}


@pytest.mark.parametrize(
    ("rows", "part", "level", "where"),
    [
        ([("", "a"), ("b", " ")], "side without a letter", "warning", "row 20, row 21"),
        ([("a\ufffd", "b")], "source: 1 texts with letters that look wrongly decoded", "warning", "row 20"),
        ([("a", "e\u0301")], "target: 1 texts that are not in Unicode's form NFC", "note", "row 20"),
        ([("same", "same")], "equal sides", "note", "row 20"),
        ([(f"{k}", f"{k}") for k in range(9)], "equal sides", "warning", "row 20, row 21, row 22, row 23, row 24, ..."),
        ([SOUND[3]], "1 pairs are repeated", "note", "row 3, row 20"),
        ([(SOUND[3][0], "another")], "1 sources have several targets", "note", "row 3, row 20"),
        ([("a short one", "and then a very " + "long " * 40)], "wildly different lengths", "warning", "row 20"),
    ],
)
def test_each_fault_is_found(rows: list[tuple[str, str]], part: str, level: str, where: str) -> None:
    found = told([*SOUND, *rows])
    (finding,) = [f for what, f in found.items() if part in what]
    assert (finding.level, finding.where) == (level, where)


def test_what_both_parts_share_is_found() -> None:
    found = told(SOUND, [SOUND[0], ("new", "x")])
    assert found["1 held-back sources are trained on too"].level == "warning"


def test_what_fit_would_refuse_is_an_error(tmp_path: Path) -> None:
    assert told([("", ""), (" ", "a")])["no pair has text on both sides"].level == "error"
    alone = "one source alone has text on both sides"
    assert told([("a", "b"), ("a", "c")])[alone].level == "error"
    assert told([("a", "b"), ("", "c"), ("d", " ")])[alone].level == "error"
    (tmp_path / "a").write_text("one\ntwo\n")
    (tmp_path / "b").write_text("eins\n")
    (finding,) = check_pairs(tmp_path / "a", tmp_path / "b")
    assert finding.level == "error"
    assert "has 2 lines" in finding.what
