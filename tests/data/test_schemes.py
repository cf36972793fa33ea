"""schemes.py: spans of IOB1, IOB2 and BIOES. The oracle is seqeval, which follows the script conlleval."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.data.schemes import Scheme, Span, convert, detect, legal, legal_pairs, spans, write_tags
from tidegate.errors import ConfigError, DataError

SCHEMES: tuple[Scheme, ...] = ("iob1", "iob2", "bioes")
TABLE = {  # of the module's docstring
    "iob1": ["I-PER", "I-PER", "O", "O", "I-LOC", "B-LOC"],
    "iob2": ["B-PER", "I-PER", "O", "O", "B-LOC", "B-LOC"],
    "bioes": ["B-PER", "E-PER", "O", "O", "S-LOC", "S-LOC"],
}
SPANS = [("PER", 0, 2), ("LOC", 4, 5), ("LOC", 5, 6)]


def tags(letters: str) -> st.SearchStrategy[list[str]]:
    """Tags in any order, well-formed or not."""
    inside = [f"{letter}-{kind}" for letter in letters for kind in ("PER", "LOC", "A-B")]
    return st.lists(st.sampled_from(["O", "O", *inside]), max_size=12)


@st.composite
def sentences(draw: st.DrawFn) -> tuple[list[Span], int]:
    """Spans in order, some of them touching, and the number of words."""
    found, at = [], 0
    for kind, gap, length in draw(st.lists(st.tuples(st.sampled_from(["", "X", "Y"]), st.integers(0, 2), st.integers(1, 3)))):
        found.append(Span(kind, at + gap, at + gap + length))
        at += gap + length
    return found, at + draw(st.integers(0, 2))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_table_of_the_docstring(scheme: Scheme) -> None:
    assert spans(TABLE[scheme], scheme) == SPANS
    for target in SCHEMES:
        assert convert(TABLE[scheme], scheme, target) == TABLE[target]


@pytest.mark.parametrize(("scheme", "letters"), [("iob1", "BI"), ("iob2", "BI"), ("bioes", "BIES")])
@given(data=st.data())
def test_spans_are_those_of_seqeval(scheme: Scheme, letters: str, data: st.DataObject) -> None:
    get_entities = pytest.importorskip("seqeval.metrics.sequence_labeling").get_entities
    drawn = data.draw(tags(letters))
    assert spans(drawn, scheme) == [(kind, start, stop + 1) for kind, start, stop in get_entities(drawn)]


@pytest.mark.parametrize(("letters", "scheme"), [("BI", "iob2"), ("BIES", "bioes")])
def test_spans_of_every_short_sentence_are_those_of_seqeval(letters: str, scheme: Scheme) -> None:
    get_entities = pytest.importorskip("seqeval.metrics.sequence_labeling").get_entities
    alphabet = ["O", *(f"{letter}-{kind}" for letter in letters for kind in "XY")]
    for sentence in itertools.product(alphabet, repeat=4):
        assert spans(sentence, scheme) == [(kind, start, stop + 1) for kind, start, stop in get_entities(list(sentence))]


@given(sentences())
def test_round_trips_keep_the_spans(sentence: tuple[list[Span], int]) -> None:
    found, length = sentence
    start = write_tags(found, length, "iob1")
    bioes = convert(start, "iob1", "bioes")
    iob2 = convert(bioes, "bioes", "iob2")
    assert spans(start, "iob1") == spans(bioes, "bioes") == spans(iob2, "iob2") == found
    assert convert(iob2, "iob2", "iob1") == start


@given(tags("BIES"))
def test_what_was_converted_is_well_formed(drawn: list[str]) -> None:
    for target in SCHEMES:
        made = convert(drawn, "bioes", target)
        assert spans(made, target) == spans(drawn, "bioes")
        assert all(legal(a, b, target) for a, b in itertools.pairwise([None, *made, None]))


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=st.data())
def test_legal_tags_are_those_that_conversion_leaves_alone(scheme: Scheme, data: st.DataObject) -> None:
    drawn = data.draw(tags("BIES" if scheme == "bioes" else "BI"))
    well_formed = all(legal(a, b, scheme) for a, b in itertools.pairwise([None, *drawn, None]))
    assert well_formed == (convert(drawn, scheme, scheme) == drawn)


@pytest.mark.parametrize(
    ("previous", "next", "scheme", "expected"),
    [
        (None, "I-X", "iob2", False),
        (None, "B-X", "iob2", True),
        ("O", "I-X", "iob2", False),
        ("B-X", "I-X", "iob2", True),
        ("B-X", "I-Y", "iob2", False),
        ("I-X", None, "iob2", True),
        (None, None, "bioes", True),
        ("B-X", None, "bioes", False),
        ("B-X", "O", "bioes", False),
        ("B-X", "E-X", "bioes", True),
        ("B-X", "E-Y", "bioes", False),
        ("E-X", "B-X", "bioes", True),
        ("S-X", "I-X", "bioes", False),
        ("I-X", "L-X", "bioes", True),
        ("U-X", "U-X", "bioes", True),
    ],
)
def test_legal(previous: str | None, next: str | None, scheme: Scheme, expected: bool) -> None:
    assert legal(previous, next, scheme) is expected


def test_bilou_is_read_as_bioes() -> None:
    assert spans(["B-X", "I-X", "L-X", "U-Y"], "bioes") == [("X", 0, 3), ("Y", 3, 4)]
    assert convert(["B-X", "L-X", "U-Y"], "bioes", "bioes") == ["B-X", "E-X", "S-Y"]


def test_bare_letters_are_spans_without_a_type() -> None:
    assert spans(["B", "I", "O", "B"], "iob2") == [("", 0, 2), ("", 3, 4)]
    assert convert(["B", "I", "B"], "iob2", "bioes") == ["B", "E", "S"]


@pytest.mark.parametrize(
    ("sequences", "expected"),
    [
        ([["I-X", "O", "I-X", "B-X"]], "iob1"),
        ([["I-X", "O"], ["I-Y", "I-X"]], "iob1"),
        ([["B-X", "B-X", "I-X"]], "iob2"),
        ([["B-X", "O"], ["B-X", "O"], ["I-X"]], "iob2"),
        ([["I-X", "O"], ["I-X", "O"], ["B-X"]], "iob1"),
        ([["B-X", "O"], ["I-X"]], "iob2"),
        ([["B-X", "O"], ["S-X"]], "bioes"),
        ([["U-X"]], "bioes"),
        ([["DET", "O", "NOUN"]], "plain"),
        ([["B-X", "NOUN"]], "plain"),
        ([["O", "O"]], "plain"),
        ([], "plain"),
    ],
)
def test_detect(sequences: list[list[str]], expected: str) -> None:
    assert detect(sequences) == expected


@given(st.lists(sentences(), min_size=1, max_size=4), st.sampled_from(SCHEMES))
def test_detect_finds_what_was_written(drawn: Sequence[tuple[list[Span], int]], scheme: Scheme) -> None:
    written = [write_tags(found, length, scheme) for found, length in drawn]
    assert detect(written) == (scheme if any(found for found, _ in drawn) else "plain")


@pytest.mark.parametrize("tag", ["E-X", "X", "B-", "o", "", "BI-X", "O-X"])
def test_a_tag_of_another_scheme_is_refused(tag: str) -> None:
    with pytest.raises(DataError, match="as in iob2"):
        spans(["O", tag], "iob2")


def test_an_unknown_scheme_is_refused() -> None:
    for call in (lambda: spans([], "iob"), lambda: convert([], "iob2", "plain"), lambda: legal(None, None, "iob")):  # type: ignore[arg-type]  # on purpose
        with pytest.raises(ConfigError, match="scheme: expected one of iob1, iob2, bioes"):
            call()


@pytest.mark.parametrize(
    "found", [[Span("X", 0, 4)], [Span("X", 1, 2), Span("Y", 0, 1)], [Span("X", 0, 2), Span("X", 1, 3)], [Span("X", 1, 1)]]
)
def test_spans_that_overlap_or_leave_the_sentence_are_refused(found: list[Span]) -> None:
    with pytest.raises(DataError, match="expected spans in order"):
        write_tags(found, 3, "bioes")


@pytest.mark.parametrize("scheme", ["iob1", "iob2", "bioes"])
def test_legal_pairs_are_what_legal_says_of_each(scheme: Scheme) -> None:
    tags = ["O", *(f"{letter}{kind}" for letter in ("BI" if scheme != "bioes" else "BIESLU") for kind in ("", "-A", "-b c"))]
    known: list[str | None] = [*tags, None]
    assert legal_pairs(tags, scheme).tolist() == [[legal(before, after, scheme) for after in known] for before in known]
