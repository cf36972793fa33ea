"""tagged.py: words and their tags, from CoNLL-U, CoNLL columns, two files, JSON lines and Python."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.data.schemes import detect, spans
from tidegate.data.tagged import Tagged, read_tagged
from tidegate.errors import ConfigError, DataError

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data sets")


def tabs(text: str) -> str:
    """Columns that stand between blanks here and between tabs in a file; comments stay as they are."""
    return "".join(line if line.startswith("#") else line.replace(" ", "\t") for line in text.splitlines(keepends=True))


CONLLU = tabs("""# newdoc id = a
# text = Don't go .
1-2 Don't _ _ _ _ _ _ _ _
1 Do do AUX VB Mood=Imp _ _ _ _
2 n't not PART RB _ _ _ _ _
3 go go VERB VB _ _ _ _ _
3.1 there there ADV RB _ _ _ _ _
4 . . PUNCT . _ _ _ _ _

1 Yes yes INTJ UH _ _ _ _ _

# newdoc id = empty
# newdoc id = b
1 # # SYM NFP _ _ _ _ _
""")
UNER = tabs("""# newdoc id = a
1 Tampa B-LOC - ann
2 Bay I-LOC - ann

# newdoc id = b
1 1 O - -
""")


def write(folder: Path, data: str, name: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(data.encode()) if name.endswith(".gz") else data.encode())
    return path


def refused(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read_tagged(path, **options)  # type: ignore[arg-type]  # options as a user gives them
    message = str(caught.value)
    assert message.startswith(str(path))
    return message


# CoNLL-U.


@pytest.mark.parametrize("name", ["t.conllu", "t.conllu.gz"])
def test_conllu(tmp_path: Path, name: str) -> None:
    tagged = read_tagged(write(tmp_path, CONLLU, name))
    assert tagged.sentences == (("Do", "n't", "go", "."), ("Yes",), ("#",))
    assert tagged.tags == (("AUX", "PART", "VERB", "PUNCT"), ("INTJ",), ("SYM",))
    assert tagged.documents == (0, 0, 1)
    assert [tagged.place(0, 0), tagged.place(0, 3), tagged.place(2, 0), tagged.place(0)] == [
        "line 4",
        "line 8",
        "line 14",
        "line 4",
    ]


@pytest.mark.parametrize(
    ("column", "tags"),
    [
        ("xpos", ("VB", "RB", "VB", ".")),
        ("lemma", ("do", "not", "go", ".")),
        ("feats", ("Mood=Imp", "_", "_", "_")),
        ("form", ("Do", "n't", "go", ".")),
        (5, ("VB", "RB", "VB", ".")),
    ],
)
def test_conllu_columns(tmp_path: Path, column: str | int, tags: tuple[str, ...]) -> None:
    tagged = read_tagged(write(tmp_path, CONLLU, "t.conllu"), column=column)
    assert tagged.tags is not None
    assert tagged.tags[0] == tags


def test_conllu_without_annotation_has_no_tags(tmp_path: Path) -> None:
    path = write(tmp_path, "1\ta\t_\t_\t_\t_\t_\t_\t_\t_\n", "t.conllu")
    assert read_tagged(path).tags is None
    assert "column 'xpos': expected tags, got _ (none) at every word" in refused(path, column="xpos")


def test_without_marks_every_sentence_is_a_document(tmp_path: Path) -> None:
    row = "1\ta\ta\tX\t_\t_\t_\t_\t_\t_\n\n"
    assert read_tagged(write(tmp_path, row * 3, "t.conllu")).documents == (0, 1, 2)
    assert read_tagged(write(tmp_path, "# newdoc\n" + row * 3, "t.conllu")).documents == (0, 0, 0)
    assert read_tagged(write(tmp_path, row + "#newdoc\n" + row * 2, "t.conllu")).documents == (0, 1, 1)
    assert read_tagged(write(tmp_path, "# newdocument = no\n" + row * 2, "t.conllu")).documents == (0, 1)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("3\tgo", "4\tgo", "line 6: expected the id 3, got '4'"),
        ("3\tgo", "x\tgo", "line 6: expected the id 3, got 'x'"),
        ("\n\n1\tYes", "\n1\tYes", "line 9: expected the id 5, got '1'. Is a blank line between sentences missing?"),
        ("go\tgo\tVERB", "go VERB", "line 6: expected 10 columns as before, got 8"),
        ("\tVERB", "\t", "line 6: expected a word and a tag, got an empty field"),
        ("3\tgo", "# newdoc\n3\tgo", "line 7: expected the id 1, got '3'"),
    ],
)
def test_conllu_that_is_not_well_formed(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert CONLLU.count(old) == 1
    assert said in refused(write(tmp_path, CONLLU.replace(old, new), "t.conllu"))


# CoNLL columns.


def test_columns_between_blanks(tmp_path: Path) -> None:
    data = "-DOCSTART- -X- O\n\nEU NNP I-ORG \n# NN O\n\n-DOCSTART- -X- O\n\n\n10\u00a0000  CD   O\n\n-DOCSTART- -X- O\n"
    tagged = read_tagged(write(tmp_path, data, "t.conll"))
    assert tagged.sentences == (("EU", "#"), ("10\u00a0000",))
    assert tagged.tags == (("I-ORG", "O"), ("O",))
    assert tagged.documents == (0, 1)
    assert tagged.place(1, 0) == "line 9"


def test_docstart_closes_and_opens_documents_alike(tmp_path: Path) -> None:
    closing = "a O\n\nb O\n\n-DOCSTART- O\n\nc O\n\n-DOCSTART- O\n"
    opening = "-DOCSTART- O\n\na O\n\nb O\n\n-DOCSTART- O\nc O\n"
    for data in (closing, opening):
        assert read_tagged(write(tmp_path, data, "t.txt")).documents == (0, 0, 1)


def test_columns_between_tabs(tmp_path: Path) -> None:
    path = write(tmp_path, "Heart\t0\t5\tB-Organ\ttwo words\n failure \t6\t13\tO\tx\n", "t.conll.gz")
    assert read_tagged(path, column=4).tags == (("B-Organ", "O"),)
    assert read_tagged(path).tags == (("two words", "x"),)
    assert read_tagged(path).sentences == (("Heart", " failure "),)


def test_words_alone_have_no_tags(tmp_path: Path) -> None:
    tagged = read_tagged(write(tmp_path, "a\nb\n\nc\n", "t.conll"))
    assert tagged.sentences == (("a", "b"), ("c",))
    assert tagged.tags is None


def test_the_layout_of_universal_ner(tmp_path: Path) -> None:
    tagged = read_tagged(write(tmp_path, UNER, "t.iob2"))
    assert tagged.sentences == (("Tampa", "Bay"), ("1",))
    assert tagged.tags == (("B-LOC", "I-LOC"), ("O",))
    assert tagged.documents == (0, 1)
    assert tagged.place(1, 0) == "line 6"


def test_ids_and_no_telling_which_column(tmp_path: Path) -> None:
    path = write(tmp_path, "1\ta\tx\tX\n2\tb\ty\tY\n", "t.conll")
    with pytest.raises(ConfigError, match="the number of the tag's column, 1 to 4"):
        read_tagged(path)
    assert read_tagged(path, column=4).tags == (("X", "Y"),)


def test_numbers_as_words_are_no_ids(tmp_path: Path) -> None:
    tagged = read_tagged(write(tmp_path, "1\tCD\tO\n2\tCD\tO\n\nof\tIN\tO\n\n# \tSYM\tO\n", "t.conll"))
    assert tagged.sentences == (("1", "2"), ("of",), ("# ",))


def test_ragged_columns_are_named(tmp_path: Path) -> None:
    assert "line 3: expected 2 columns as before, got 3" in refused(write(tmp_path, "a O\n\nb c O\n", "t.conll"))
    assert "line 2: expected a word and a tag" in refused(write(tmp_path, "a\tO\nb\t\n", "t.conll"))


def test_a_file_without_words_is_refused(tmp_path: Path) -> None:
    for name in ("t.conll", "t.conllu"):
        assert "expected at least one sentence" in refused(write(tmp_path, "\n\n", name))


@pytest.mark.parametrize("column", [0, 3, -1, True, "ner"])
def test_a_column_that_is_not_there(tmp_path: Path, column: str | int) -> None:
    with pytest.raises(ConfigError, match="column="):
        read_tagged(write(tmp_path, "a O\n", "t.conll"), column=column)


def test_a_misspelt_column_of_conllu(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'upos'"):
        read_tagged(write(tmp_path, CONLLU, "t.conllu"), column="upo")


# Line-parallel files.


def test_two_files(tmp_path: Path) -> None:
    words = write(tmp_path, "play  the\u00a0song \nstop\n", "seq.in")
    tagged = read_tagged(words, labels=write(tmp_path, "O\tB-x\nO", "seq.out"))
    assert tagged.sentences == (("play", "the\u00a0song"), ("stop",))
    assert tagged.tags == (("O", "B-x"), ("O",))
    assert tagged.documents == (0, 1)
    assert [tagged.place(1), tagged.place(0, 1)] == ["line 2", "line 1, word 2"]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("O O\nO O\n", "line 2: expected as many tags as words, one at least, got 1 words and 2 tags"),
        ("O O\n\n", "line 2: expected as many tags as words, one at least, got 1 words and 0 tags"),
        ("O O\n", "has 2 lines, and"),
    ],
)
def test_counts_that_differ(tmp_path: Path, tags: str, said: str) -> None:
    words, labels = write(tmp_path, "a b\nc\n", "seq.in"), write(tmp_path, tags, "seq.out")
    message = refused(words, labels=labels)
    assert said in message
    assert str(labels) in message


def test_an_empty_line_in_both_files_is_refused(tmp_path: Path) -> None:
    message = refused(write(tmp_path, "a\n\n", "seq.in"), labels=write(tmp_path, "O\n \n", "seq.out"))
    assert "line 2: expected as many tags as words, one at least, got neither words nor tags" in message


# JSON lines and Python.


def test_json_lines(tmp_path: Path) -> None:
    path = write(tmp_path, '{"tokens": ["a", "b"], "tags": [0, "X"], "ner": ["O", "O"]}\n', "t.jsonl")
    assert read_tagged(path).sentences == (("a", "b"),)
    assert read_tagged(path).tags == (("0", "X"),)
    assert read_tagged(path, column="ner").tags == (("O", "O"),)
    assert read_tagged(path).place(0, 1) == "line 1, word 2"
    assert read_tagged(write(tmp_path, '{"tokens": ["a"]}\n', "u.jsonl")).tags is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"tokens": ["a"], "tag": ["O"]}', "line 2: there is no key 'tags'. Did you mean 'tag'?"),
        ('{"tags": ["O"]}', "line 2: there is no key 'tokens'"),
        ('{"tokens": "a", "tags": ["O"]}', "line 2: 'tokens': expected a list of texts, got str"),
        ('{"tokens": ["a", ""], "tags": ["O", "O"]}', "line 2: 'tokens': expected texts that are not empty, got '' at place 1"),
        ('{"tokens": ["a"], "tags": [null]}', "line 2: 'tags': expected texts that are not empty, got None at place 0"),
        ('{"tokens": ["a"], "tags": ["O", "O"]}', "line 2: expected as many tags as words, one at least, got 1 words and 2 tags"),
        ('{"tokens": ["a\\ud800"], "tags": ["O"]}', "line 2: expected text, got the character U+D800"),
    ],
)
def test_json_that_cannot_be_used(tmp_path: Path, line: str, said: str) -> None:
    assert said in refused(write(tmp_path, f'{{"tokens": ["a"], "tags": ["O"]}}\n{line}\n', "t.jsonl"))


def test_python_data() -> None:
    tagged = read_tagged([(["a", "b"], ["X", "Y"]), (("c",), ("Z",))])
    assert tagged.sentences == (("a", "b"), ("c",))
    assert tagged.tags == (("X", "Y"), ("Z",))
    assert tagged.place(0, 1) == "row 0, word 1"
    assert read_tagged([["a", "b"], ["c", "d"]]).tags is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([(["a"], ["X"]), (["b"], ["X", "Y"])], "row 1: expected as many tags as words, one at least, got 1 words and 2 tags"),
        ([(["a"], ["X"]), ["b"]], "row 1: expected a pair (words, tags)"),
        ([(["a"], ["X"]), (["b"], "X")], "row 1: tags: expected a list of texts, got str"),
        (["a b"], "row 0: expected a list of texts, got str"),
        ([["a"], []], "row 1: expected as many tags as words, one at least, got neither"),
        ([["a", "b\0"]], "row 0: expected text, got the character U+0000"),
        ([], "at least one sentence"),
    ],
)
def test_python_data_that_cannot_be_used(source: object, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read_tagged(source)
    assert said in str(caught.value)


def test_options_that_do_not_fit_the_source(tmp_path: Path) -> None:
    path = write(tmp_path, '{"tokens": ["a"]}\n', "t.jsonl")
    with pytest.raises(ConfigError, match="have names"):
        read_tagged(path, column=1)
    with pytest.raises(ConfigError, match="no columns"):
        read_tagged(path, column="tags", labels=path)
    with pytest.raises(ConfigError, match="go with a file"):
        read_tagged([["a"]], labels=path)


def test_tagged_is_checked_when_made() -> None:
    with pytest.raises(DataError, match="as many rows"):
        Tagged((("a",), ("b",)), (("X",),), (0, 1), "here")


SCRAPS = st.lists(
    st.sampled_from(
        [
            "a",
            "b",
            "1",
            "2",
            "1\ta\tX\t-\t-",
            "-DOCSTART-",
            "#",
            "# newdoc",
            "_",
            "\t",
            " ",
            "\n",
            "\n\n",
            "\0",
            '{"tokens":["a"]}',
        ]
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("name", ["t.conll", "t.conllu", "t.jsonl"])
@given(data=SCRAPS)
def test_any_text_gives_sentences_or_our_error(tmp_path_factory: pytest.TempPathFactory, name: str, data: str) -> None:
    path = write(tmp_path_factory.getbasetemp(), data, name)
    try:
        tagged = read_tagged(path)
        said = [f"{path}: {tagged.place(row, len(words) - 1)}" for row, words in enumerate(tagged.sentences)]
    except (DataError, ConfigError) as error:
        said = [str(error).replace(f"{path}: ", f"{path}: line ")]
    assert all(message.startswith(f"{path}: line ") for message in said)


# The shared data sets.


@needs_data
def test_ewt() -> None:
    words = {}
    for part in ("train", "dev", "test"):
        tagged = read_tagged(DATA / "ud_english_ewt" / f"en_ewt-ud-{part}.conllu.gz")
        words[part] = (len(tagged), sum(map(len, tagged.sentences)))
        assert tagged.tags is not None
        assert len({tag for tags in tagged.tags for tag in tags}) == 17
        assert detect(tagged.tags) == "plain"
    assert words == {"train": (12_544, 204_577), "dev": (2001, 25_147), "test": (2077, 25_094)}
    assert tagged.documents[-1] == 315  # of the test part


@needs_data
def test_wikigold() -> None:
    tagged = read_tagged(DATA / "wikigold_ner" / "wikigold.conll.txt")
    assert len(tagged) == 1696
    assert set(tagged.documents) == set(range(145))
    assert tagged.sentences[0][:3] == ("010", "is", "the")
    assert tagged.tags is not None
    assert detect(tagged.tags) == "iob1"


@needs_data
def test_uner() -> None:
    tagged = read_tagged(DATA / "uner_english_ewt" / "en_ewt-ud-dev.iob2")
    assert len(tagged) == 2001
    assert tagged.documents[-1] == 317
    assert tagged.tags is not None
    assert detect(tagged.tags) == "iob2"
    assert {span.type for tags in tagged.tags for span in spans(tags, "iob2")} == {"PER", "ORG", "LOC"}


@needs_data
def test_anem() -> None:
    tagged = read_tagged(DATA / "anem_ner" / "AnEM.train.conll.gz")
    assert len(tagged) == 2815
    assert tagged.tags is not None
    assert detect(tagged.tags) == "iob2"
    assert len({span.type for tags in tagged.tags for span in spans(tags, "iob2")}) == 11


@needs_data
@pytest.mark.parametrize(("part", "count"), [("train", 13_084), ("valid", 700), ("test", 700)])
def test_snips(part: str, count: int) -> None:
    tagged = read_tagged(DATA / "snips" / part / "seq.in", labels=DATA / "snips" / part / "seq.out")
    assert len(tagged) == count
    assert tagged.tags is not None
    assert detect(tagged.tags) == "iob2"
    assert Counter(map(len, tagged.sentences)) == Counter(map(len, tagged.tags))
