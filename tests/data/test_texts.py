"""texts.py and textlines.py: texts and labels from every source, and what no source may hold."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.data.table import Table, read_table
from tidegate.data.textlines import number_text, read_delimited, read_lines, read_records
from tidegate.data.texts import Texts, read_texts
from tidegate.errors import ConfigError, DataError

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data sets")
BARS = "\u2028\x0b\x0c\x1c\x85\u2029"  # what str.splitlines takes for the end of a line, and a file does not


def write(folder: Path, data: str | bytes, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def refused(folder: Path, data: str | bytes, name: str = "t.txt", **options: str | bool) -> str:
    path = write(folder, data, name)
    with pytest.raises(DataError) as caught:
        read_texts(path, **options)  # type: ignore[arg-type]  # options as a user gives them
    message = str(caught.value)
    assert message.startswith(str(path))
    return message


# Lines of a file.


@pytest.mark.parametrize(
    "data",
    [
        b"a\nb\n",
        b"a\nb",
        b"a\r\nb\r\n",
        b"a\rb\r",
        b"\xef\xbb\xbfa\nb\n",
        gzip.compress(b"a\nb\n"),
        gzip.compress(b"a\n") + gzip.compress(b"b\n"),
    ],
    ids=["plain", "no end", "crlf", "cr", "bom", "gzip", "two members"],
)
def test_every_dress_gives_the_same_lines(tmp_path: Path, data: bytes) -> None:
    assert read_lines(write(tmp_path, data, "t.txt")) == ["a", "b"]


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n")), min_size=1).filter(
        lambda a: a[0][:1] != "\ufeff"
    )
)
def test_lines_come_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("lines") / "t.txt"
    path.write_bytes("".join(line + "\n" for line in lines).encode())
    assert read_lines(path) == lines


def test_only_line_ends_end_a_line(tmp_path: Path) -> None:
    texts = read_texts(write(tmp_path, f"a{BARS}b\nc\n", "t.txt"))
    assert texts.texts == (f"a{BARS}b", "c")


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    message = refused(tmp_path, b"\xef\xbb\xbfone\r\ntwo\rcaf\xe9 noir\n")
    assert "line 3, byte 4: expected UTF-8 text, got the byte 0xE9" in message
    assert "perhaps Latin-1" in message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_recognised(tmp_path: Path, encoding: str) -> None:
    assert "what looks like UTF-16. Re-encode the file as UTF-8" in refused(tmp_path, "Grüße\naus Köln\n".encode(encoding))


def test_utf_32_is_not_taken_for_utf_16(tmp_path: Path) -> None:
    assert "UTF-32" in refused(tmp_path, "a\n".encode("utf-32"))


def test_a_zero_byte_is_named(tmp_path: Path) -> None:
    assert "line 2, byte 3: expected UTF-8 text, got the byte 0x00" in refused(tmp_path, b"hello\nwo\0rld, this is all\n")


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", gzip.compress(b"")], ids=["empty", "mark alone", "gzip"])
def test_a_file_without_lines_is_refused(tmp_path: Path, data: bytes) -> None:
    assert "empty file" in refused(tmp_path, data)


def test_a_cut_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"a text of some length\n" * 20)
    for cut in (whole[: len(whole) // 2], whole[:-4], b"no gzip at all"):
        assert "expected a whole gzip file" in refused(tmp_path, cut, "t.txt.gz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.txt: the file cannot be read"):
        read_texts(tmp_path / "nowhere.txt")


# CSV and TSV.


def test_csv_by_names(tmp_path: Path) -> None:
    data = 'id,review,stars\n7,"a, b ""c""\nd",2\n\n8,NA,10\n'
    texts = read_texts(write(tmp_path, data, "t.csv"), text="review", label="stars")
    assert texts.texts == ('a, b "c"\nd', "NA")
    assert texts.labels == ("2", "10")
    assert [texts.place(row) for row in range(2)] == ["line 2", "line 5"]


def test_words_that_mean_missing_in_a_table_are_texts_and_labels(tmp_path: Path) -> None:
    texts = read_texts(write(tmp_path, "text;label\nnull;None\nNaN;NA\n", "t.csv"), text="text", label="label")
    assert texts.texts == ("null", "NaN")
    assert texts.labels == ("None", "NA")


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (["0", "1"], ("0", "1")),
        ([" 1", "2.0"], ("1", "2")),
        (["0.50", "1e2"], ("0.5", "100")),
        (["007", "7"], ("007", "7")),
        (["1.0", "x"], ("1.0", "x")),
        (["100000000000000000001", "100000000000000000002"], ("100000000000000000001", "100000000000000000002")),
    ],
)
def test_labels_are_the_shortest_text_of_numbers(tmp_path: Path, column: list[str], labels: tuple[str, ...]) -> None:
    data = "text,label\n" + "".join(f"t,{label}\n" for label in column)
    assert read_texts(write(tmp_path, data, "t.csv"), label="label").labels == labels


def test_the_only_text_column_is_taken_and_noted(tmp_path: Path) -> None:
    path = write(tmp_path, "id,body,label\n1,x,good\n2,7,bad\n", "t.csv")
    texts = read_texts(path, label="label")
    assert texts.texts == ("x", "7")
    assert texts.notes == ("the text is column 'body'",)
    with pytest.raises(DataError, match=r"got 2 columns of text\. Say text=; columns: 'id', 'body', 'label'"):
        read_texts(path)
    with pytest.raises(DataError, match="got no column of text"):
        read_texts(write(tmp_path, "id,label\n1,2\n", "n.csv"), label="label")


def test_a_misspelt_column_is_told_its_neighbour(tmp_path: Path) -> None:
    assert "Did you mean 'review'?" in refused(tmp_path, "review,stars\na,1\n", "t.csv", text="reviews", label="stars")


def test_a_tsv_field_is_taken_as_it_stands(tmp_path: Path) -> None:
    data = '"So what" , he said\t0\n"\t1\n"all of it"\t1\n'
    texts = read_texts(write(tmp_path, data, "t.tsv"), text="1", label="2", header=False)
    assert texts.texts == ('"So what" , he said', '"', '"all of it"')
    assert texts.labels == ("0", "1", "1")
    assert texts.place(2) == "line 3"
    assert len(texts.notes) == 1
    assert 'fields that stand in "...": 1' in texts.notes[0]


def test_a_header_that_is_a_row_is_refused(tmp_path: Path) -> None:
    assert "header=False" in refused(tmp_path, "a fine film\t1\na dull film\t0\nfine\t1\n", "t.tsv")


def test_header_false_counts_the_columns_of_csv(tmp_path: Path) -> None:
    texts = read_texts(write(tmp_path, 'pos,"a, b"\nneg,c\n', "t.csv"), text="2", label="1", header=False)
    assert texts.texts == ("a, b", "c")
    assert texts.place(0) == "line 1"


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_ragged_rows_are_named(tmp_path: Path, name: str) -> None:
    comma = "," if name == "t.csv" else "\t"
    data = "text,label\na,1\nb\nc,1,2\n".replace(",", comma)
    message = refused(tmp_path, data, name, text="text")
    assert "line 3: expected 2 fields as on line 1, got 1" in message
    assert "line 4: expected 2 fields as on line 1, got 3" in message


def test_a_quote_left_open_is_named(tmp_path: Path) -> None:
    assert "line 3: expected well-formed CSV" in refused(tmp_path, 'text,label\na,1\n"b,2\nc,3\n', "t.csv", text="text")


def test_a_label_that_is_missing_is_named(tmp_path: Path) -> None:
    assert "line 3: 'label': expected a label" in refused(tmp_path, "text,label\na,1\nb,\n", "t.csv", text="text", label="label")


def test_an_empty_text_is_kept_and_noted(tmp_path: Path) -> None:
    texts = read_texts(write(tmp_path, "text,label\na,1\n,0\n", "t.csv"), text="text", label="label")
    assert texts.texts == ("a", "")
    assert texts.notes == ("empty texts: 1, the first at line 3",)


def test_one_column_keeps_its_blank_lines(tmp_path: Path) -> None:
    texts = read_texts(write(tmp_path, "text\na\n\nb\n\n", "t.csv"))
    assert texts.texts == ("a", "", "b")
    assert texts.place(2) == "line 4"


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\t"), max_size=5)


@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(FIELD, min_size=n, max_size=n), min_size=1, max_size=5)))
def test_tsv_fields_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("tsv") / "t.tsv"
    path.write_bytes(("".join("\t".join(["x", *row, "y"]) + "\n" for row in rows)).encode())
    found = read_delimited(path, header=False)
    assert [list(row[1:-1]) for row in zip(*found.columns.values(), strict=True)] == rows


# JSON lines.


def lines_of_json(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_json_lines_by_keys(tmp_path: Path) -> None:
    data = lines_of_json({"t": ["One.", "Two\u2028."], "y": 1.0}, {"y": "b", "t": "x", "more": {"k": [True]}})
    texts = read_texts(write(tmp_path, data.replace("\n", "\n\n", 1), "t.jsonl"), text="t", label="y")
    assert texts.texts == ("One. Two\u2028.", "x")
    assert texts.labels == ("1", "b")
    assert [texts.place(row) for row in range(2)] == ["line 1", "line 3"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"t": "a", "t": "b"}', "line 2: expected one plain JSON object a line (the key 't' stands there twice)"),
        ('["a"]', "line 2: expected a JSON object in braces"),
        ('{"t": "a"', "line 2, character 10: expected one whole JSON object a line"),
        ('{"t": NaN}', "line 2: expected one plain JSON object a line (NaN is no JSON number)"),
        ("[" * 100_000, "line 2: expected one plain JSON object a line"),
        ('{"u": "a"}', "line 2: 't': expected text, got an object without this key"),
        ('{"t": null}', "line 2: 't': expected text, got a missing value"),
        ('{"t": true}', "line 2: 't': expected text, got bool"),
        ('{"t": {"a": 1}}', "line 2: 't': expected text, got dict"),
        ('{"t": ["a", 1]}', "line 2: 't': expected text, got list"),
        ('{"t": "a\\u0000b"}', "line 2: expected text, got the character U+0000"),
        ('{"t": "a\\ud800"}', "line 2: expected text, got the character U+D800"),
    ],
)
def test_json_that_cannot_be_used_is_named(tmp_path: Path, line: str, said: str) -> None:
    assert said in refused(tmp_path, f'{{"t": "fine"}}\n{line}\n', "t.jsonl", text="t")


def test_a_list_is_no_label(tmp_path: Path) -> None:
    data = lines_of_json({"t": "a", "y": ["b"]})
    assert "line 1: 'y': expected a label, got list" in refused(tmp_path, data, "t.jsonl", text="t", label="y")


def test_records_keep_their_lines(tmp_path: Path) -> None:
    records = read_records(write(tmp_path, '\n{"a": 1}\n \n{"b": 2}\n', "t.json"))
    assert [(record.line, record.fields) for record in records] == [(2, {"a": 1}), (4, {"b": 2})]


# Plain lines, alone and with a file of labels.


def test_blank_lines_are_no_texts(tmp_path: Path) -> None:
    texts = read_texts(write(tmp_path, " a \n\n \t\nb\n", "t.txt"))
    assert texts.texts == (" a ", "b")
    assert texts.labels is None
    assert texts.place(1) == "line 4"
    assert texts.notes == ("t.txt: blank lines passed over: 2",)


def test_a_second_file_holds_the_labels(tmp_path: Path) -> None:
    path, labels = write(tmp_path, "a b \n\nc\n", "seq.in"), write(tmp_path, "X\nY\nX", "label")
    texts = read_texts(path, labels=labels)
    assert texts.texts == ("a b ", "", "c")
    assert texts.labels == ("X", "Y", "X")
    assert texts.notes == ("empty texts: 1, the first at line 2",)


def test_files_of_unequal_length_are_refused(tmp_path: Path) -> None:
    path, labels = write(tmp_path, "a\nb\nc\n", "seq.in"), write(tmp_path, "X\nY\n", "label")
    with pytest.raises(DataError, match=r"seq\.in has 3 lines, and .*label has 2"):
        read_texts(path, labels=labels)


def test_an_empty_label_is_named_with_its_file(tmp_path: Path) -> None:
    path, labels = write(tmp_path, "a\nb\n", "seq.in"), write(tmp_path, "X\n\n", "label")
    with pytest.raises(DataError, match=r"label: line 2: 'label': expected a label"):
        read_texts(path, labels=labels)


# Folders.


def test_a_file_a_class(tmp_path: Path) -> None:
    write(tmp_path, "Khoury\n\nNahas\n", "names/Arabic.txt")
    write(tmp_path, gzip.compress(b"Abl\n"), "names/Czech.v2.txt.gz")
    write(tmp_path, "read me", "names/README.md")
    write(tmp_path, "x", "names/.hidden.txt")
    texts = read_texts(tmp_path / "names")
    assert texts.texts == ("Khoury", "Nahas", "Abl")
    assert texts.labels == ("Arabic", "Arabic", "Czech.v2")
    assert [texts.place(row) for row in range(3)] == ["Arabic.txt, line 1", "Arabic.txt, line 3", "Czech.v2.txt.gz, line 1"]
    assert texts.notes == ("passed over, as they are no .txt: README.md", "Arabic.txt: blank lines passed over: 1")


def test_a_folder_a_class(tmp_path: Path) -> None:
    write(tmp_path, "good\r\nfilm\n", "films/pos/1.txt")
    write(tmp_path, gzip.compress(b"dull"), "films/neg/12.txt.gz")
    texts = read_texts(str(tmp_path / "films"))
    assert texts.texts == ("dull", "good\nfilm")
    assert texts.labels == ("neg", "pos")
    assert texts.place(0) == "neg/12.txt.gz"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a/1.txt", "b.txt"], "got both: b.txt, a/"),
        (["a/b/1.txt"], "expected one file a text in a class's folder, got a folder"),
        (["x.pdf"], "got neither"),
        (["a.txt", "a.txt.gz"], "got a.txt and a.txt.gz"),
    ],
)
def test_a_folder_of_another_kind_is_refused(tmp_path: Path, names: list[str], said: str) -> None:
    for name in names:
        write(tmp_path, gzip.compress(b"x\n") if name.endswith(".gz") else "x\n", f"f/{name}")
    with pytest.raises(DataError) as caught:
        read_texts(tmp_path / "f")
    assert said in str(caught.value)


def test_a_class_without_texts_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "x", "f/a/1.txt")
    (tmp_path / "f" / "b").mkdir()
    with pytest.raises(DataError, match="got an empty folder"):
        read_texts(tmp_path / "f")


# Python and frames.


@pytest.mark.parametrize(
    "source",
    [
        [("a", 0), ("b", 1.0)],
        (["a", "b"], ["0", "1"]),
        (["a", "b"], np.array([0, 1])),
        (np.array(["a", "b"]), [0, 1]),
        [["a", "0"], ["b", "1"]],
        (("a", 0), ("b", 1)),
    ],
    ids=["pairs", "two lists", "array of labels", "array of texts", "lists of two", "tuple of pairs"],
)
def test_python_data(source: object) -> None:
    texts = read_texts(source)
    assert texts.texts == ("a", "b")
    assert texts.labels == ("0", "1")
    assert texts.place(1) == "row 1"


def test_labels_that_are_text_stay_as_they_are() -> None:
    assert read_texts([("a", "1.0"), ("b", "02")]).labels == ("1.0", "02")
    assert read_texts({"t": ["a", "b"], "y": ["1.0", "2"]}, text="t", label="y").labels == ("1.0", "2")


@pytest.mark.parametrize("source", [["a", "b"], ("a", "b"), np.array(["a", "b"])])
def test_texts_alone(source: object) -> None:
    texts = read_texts(source)
    assert texts.texts == ("a", "b")
    assert texts.labels is None
    assert all(type(text) is str for text in texts.texts)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([("a", 1), "b"], "row 1: expected a pair"),
        ([("a", 1), ("b",)], "row 1: expected a pair"),
        ([("a", 1), ("b", None)], "row 1: 'label': expected a label, got a missing value"),
        ([("a", 1), ("b", float("nan"))], "row 1: 'label': expected a label, got a missing value"),
        ([("a", 1), ("b", True)], "row 1: 'label': expected a label, got bool"),
        ([("a", 1), (b"b", 1)], "row 1: 'text': expected text, got bytes"),
        ((["a"], ["x", "y"]), "got 1 texts and 2 labels"),
        (["a", "b\ud83d"], "row 1: expected text, got the character U+D83D"),
        ([("a", "x\0")], "row 0: expected text, got the character U+0000"),
        ([], "expected at least one text, got none"),
        ({"a", "b"}, "expected a list, got set"),
        (7, "expected a list, got int"),
    ],
)
def test_python_data_that_cannot_be_used(source: object, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read_texts(source)
    assert said in str(caught.value)


def test_frames_and_mappings(tmp_path: Path) -> None:
    columns = {"t": ["a", "b"], "y": [0, 1], "z": np.array([0.1, 2.0], np.float32)}
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    polars.DataFrame(columns).write_parquet(tmp_path / "t.parquet")
    table = Table({name: np.array(values) for name, values in columns.items()})
    sources = [columns, table, pandas.DataFrame(columns), polars.DataFrame(columns), tmp_path / "t.parquet"]
    for source in sources:
        assert read_texts(source, label="y").labels == ("0", "1")
        texts = read_texts(source, text="t", label="z")
        assert texts.texts == ("a", "b")
        assert texts.labels == ("0.1", "2")
        assert texts.place(1) == "row 1"


def test_a_table_from_a_file_knows_its_lines(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t,y\n\na,1\nb,2\n", "t.csv"))
    assert read_texts(table, text="t", label="y").place(1) == "line 4"


def test_missing_values_and_instants_of_a_frame_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"t": ["a", None], "y": pandas.to_datetime(["2020-01-01", "2020-01-02"])})
    with pytest.raises(DataError, match=r"row 1: 't': expected text, got a missing value"):
        read_texts(frame, text="t")
    with pytest.raises(DataError, match=r"row 0: 'y': expected a label, got datetime64"):
        read_texts(frame, text="t", label="y")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("t.txt", {"text": "a"}),
        ("t.txt", {"label": "a"}),
        ("t.txt", {"header": False}),
        ("t.csv", {"labels": "l.txt"}),
        ("t.jsonl", {"header": False}),
        ("", {"label": "a"}),
        ("", {"labels": "l.txt"}),
    ],
)
def test_options_that_do_not_fit_the_source(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    if name:
        write(tmp_path, "x", name)
    with pytest.raises(ConfigError):
        read_texts(tmp_path / name, **options)  # type: ignore[arg-type]  # options as a user gives them


def test_texts_are_checked_when_made() -> None:
    with pytest.raises(DataError, match="2 texts and 1 labels"):
        Texts(("a", "b"), ("x",), "here")


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_the_shortest_text_reads_back(value: float) -> None:
    text = number_text(value)
    assert text is not None
    assert type(value)(float(text)) == float(value) if isinstance(value, float) else int(text) == value
    assert number_text(np.float64(value)) == number_text(float(value))


def test_a_float_that_stands_for_many_whole_numbers_keeps_its_form() -> None:
    assert [number_text(value) for value in (2.0**52, 2.0**53, 1e300, 10**20)] == [
        "4503599627370496", "9007199254740992.0", "1e+300", "100000000000000000000",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [True, np.True_, float("nan"), float("inf"), "1", None])
def test_what_is_no_number_has_no_text(value: object) -> None:
    assert number_text(value) is None


SCRAPS = st.lists(
    st.sampled_from(
        [
            b"a",
            b"b",
            b"1",
            b"\t",
            b",",
            b'"',
            b"\n",
            b"\r",
            b" ",
            b"\xff",
            b"\xc3\xa9",
            b"\0",
            b'{"1":"a"}',
            b'{"2":',
            b"}",
            b"\x1f\x8b",
        ]
    ),
    max_size=12,
).map(b"".join)


@pytest.mark.parametrize("name", ["t.txt", "t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.txt.gz"])
@given(data=SCRAPS)
def test_any_bytes_give_texts_or_our_error(tmp_path_factory: pytest.TempPathFactory, name: str, data: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp() / "scraps", data, name)
    columns = {"text": "1", "header": False} if name in ("t.csv", "t.tsv") else {"text": "1"} if name == "t.jsonl" else {}
    try:
        texts = read_texts(path, **columns)  # type: ignore[arg-type]  # options as a user gives them
        said = [f"{path}: {texts.place(row)}" for row in range(len(texts))]
    except DataError as error:
        said = [str(error).replace(f"{path}: ", f"{path}: line ")]
    assert all(message.startswith(f"{path}: line ") for message in said)


# The shared data sets.


@needs_data
def test_sst2() -> None:
    read = {part: read_texts(DATA / "sst2" / f"{part}.tsv", label="2", header=False) for part in ("train", "dev", "test")}
    assert {part: len(texts) for part, texts in read.items()} == {"train": 6920, "dev": 872, "test": 1821}
    assert set(read["train"].labels or ()) == {"0", "1"}
    assert read["train"].texts[1] == "apparently reassembled from the cutting room floor of any given daytime soap"
    with pytest.raises(DataError, match="header=False"):
        read_texts(DATA / "sst2" / "train.tsv")


@needs_data
def test_surnames() -> None:
    texts = read_texts(DATA / "surnames")
    counts = Counter(texts.labels)
    assert len(texts) == 20_050
    assert len(counts) == 18
    assert counts["Russian"] == 9384
    assert texts.place(0) == "Arabic.txt, line 1"


@needs_data
def test_snips_intents() -> None:
    folder = DATA / "snips" / "train"
    texts = read_texts(folder / "seq.in", labels=folder / "label")
    assert len(texts) == 13_084
    assert len(set(texts.labels or ())) == 7


@needs_data
def test_scitldr_abstracts() -> None:
    texts = read_texts(DATA / "scitldr" / "dev.jsonl.gz", text="source")
    assert len(texts) == 619
    assert texts.texts[0].startswith("Mixed precision training (MPT) is")
