"""csvfile.py: reading delimited text. The polars reader and the csv reader are each other's oracle."""

from __future__ import annotations

import csv
import gzip
import io
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.data import csvfile
from tidegate.data.columns import Encoded, Stored
from tidegate.data.csvfile import csv_text, read_csv
from tidegate.errors import DataError

ROWS = "date,y\n2020-01-01,1\n2020-01-02,2.5\n2020-01-03,\n"


def write(folder: Path, data: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def plain(column: Stored) -> list[object]:
    return column.decode().tolist() if isinstance(column, Encoded) else column.tolist()


def same(a: Stored, b: Stored) -> None:
    assert type(a) is type(b)
    if isinstance(a, Encoded) or isinstance(b, Encoded):
        assert plain(a) == plain(b)
    else:
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "data",
    [
        ROWS.encode(),
        ROWS.encode("utf-8-sig"),
        ROWS.encode("utf-16"),
        b"\xfe\xff" + ROWS.encode("utf-16-be"),
        ROWS.replace("\n", "\r\n").encode(),
        ROWS.replace("\n", "\r").encode(),
        ROWS.rstrip("\n").encode(),
        (ROWS + "\n\n").encode(),
        ROWS.replace(",", "\t").encode(),
        ROWS.replace(",", ";").encode(),
        ROWS.replace("2020-01-02", '"2020-01-02"').encode(),
        gzip.compress(ROWS.encode(), mtime=0),
    ],
    ids=["plain", "bom", "utf16le", "utf16be", "crlf", "cr", "no end", "blank end", "tab", "semicolon", "quotes", "gzip"],
)
def test_every_dress_gives_the_same_columns(tmp_path: Path, data: bytes) -> None:
    found = read_csv(write(tmp_path, data))
    assert plain(found.columns["date"]) == ["2020-01-01", "2020-01-02", "2020-01-03"]
    np.testing.assert_array_equal(found.columns["y"], [1, 2.5, np.nan])
    assert found.lines is None


CELL = st.one_of(
    st.sampled_from(
        ["", "NA", "nan", "NaN", "-nan", "null", "0", "-0", "007", "+1", ".5", "5.", "1e5", "1_000", " 3", "inf", "x", "true"]
    ),
    st.floats().map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.text(
        st.characters(codec="utf-8", exclude_characters='",\r\n\0\t;|', exclude_categories=["Cc", "Zs", "Zl", "Zp"]), max_size=3
    ),
)


@given(st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=6)))
@settings(deadline=None, max_examples=150)
def test_polars_and_the_csv_module_agree(rows: list[list[str]]) -> None:
    pytest.importorskip("polars")
    names = [f"c{k}" for k in range(len(rows[0]))]
    data = "\n".join(",".join(r) for r in [names, *rows]).encode()
    fast = csvfile._fast(data, ",", len(names))
    slow, _ = csvfile._careful(data, ",", names, Path("t.csv"))
    assert fast is not None
    for a, b in zip(fast, slow, strict=True):
        same(a, b)


@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=3, max_size=3), min_size=1, max_size=5
    )
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_that_python_writes_is_read_back(tmp_path: Path, rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *rows])
    found = read_csv(write(tmp_path, text.getvalue()))
    for k, name in enumerate("abc"):
        column = found.columns[name]
        for cell, got in zip((r[k] for r in rows), plain(column), strict=True):
            assert (
                (got is None or got != got)
                if cell.strip() in csvfile.MISSING
                else got == (cell if isinstance(column, Encoded) else float(cell))
            )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"\xef\xbb\xbf\n", "empty file"),
        (b"date,y\n", "header alone"),
        (b'"date","y"\r\n', "header alone"),
        (b"a,b\n1,2\n3\n4,5,6\n", r"(?s)line 3: expected 2 fields as in the header, got 1.*line 4: .* got 3"),
        (b"a,b\n1\n2,3,4\n", r"(?s)line 2.*line 3"),
        (b'a,b\n"1\n2",3,4\n5,6\n', r"line 3: expected 2 fields as in the header, got 3"),
        (b"a,b,a\n1,2,3\n", "'a' more than once"),
        (b'a,b\n"1,2\n', "quote that is not closed"),
        ("a,b\n1,é\n".encode("latin-1"), "line 2: expected utf-8"),
        (ROWS.encode("utf-16-le"), "zero bytes"),
        (ROWS.encode("utf-32"), "UTF-32"),
        (gzip.compress(ROWS.encode(), mtime=0)[:-9], "cut short"),
        (b"a;b\n1;1,500\n2;2,250\n", r"column 'b': '1,500' may be a decimal or a thousands comma"),
    ],
)
def test_bad_files_are_refused_with_file_and_line(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_csv(write(tmp_path, data))
    assert "t.csv" in str(error.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_csv(tmp_path / "no.csv")
    with pytest.raises(DataError, match=r"cannot be read|folder"):
        read_csv(tmp_path)


def test_decimal_commas_are_read_and_said(tmp_path: Path) -> None:
    found = read_csv(write(tmp_path, "a;b;c\n1;1,5;x,y\n2;-2,75;z\n3;;z\n"))
    np.testing.assert_array_equal(found.columns["b"], [1.5, -2.75, np.nan])
    assert plain(found.columns["c"]) == ["x,y", "z", "z"]
    assert found.notes == ("column 'b': decimal commas read as decimal points",)


def test_lines_are_counted_through_blank_lines_and_line_breaks_in_quotes(tmp_path: Path) -> None:
    found = read_csv(write(tmp_path, 'a,b\n\n"x\ny",1\nz,2\n'))
    assert found.lines is not None
    assert found.lines.tolist() == [4, 5]


def test_a_blank_line_is_a_missing_value_in_a_file_of_one_column(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_csv(write(tmp_path, "y\n1\n\n3\n\n")).columns["y"], [1, np.nan, 3])


def test_nameless_columns_are_named_and_said(tmp_path: Path) -> None:
    found = read_csv(write(tmp_path, ",b\n1,2\n"))
    assert list(found.columns) == ["column 1", "b"]
    assert "column 1" in found.notes[0]


def test_100_000_columns(tmp_path: Path) -> None:
    count = 100_000
    data = ",".join(f"c{k}" for k in range(count)) + "\n" + ("1" + ",2" * (count - 1) + "\n") * 2
    assert len(read_csv(write(tmp_path, data)).columns) == count


@pytest.mark.parametrize("polars", [True, False])
def test_speed_at_300_000_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, polars: bool) -> None:
    if not polars:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    stamps = [f"2020-01-{d:02d} {h:02d}:00:00" for d in range(1, 11) for h in range(24)]
    body = "\n".join(f"s{i},{t},{i}.{k}" for i in range(1250) for k, t in enumerate(stamps))
    path = write(tmp_path, "id,t,y\n" + body)
    start = time.process_time()
    found = read_csv(path)
    assert len(found.columns["y"]) == 300_000
    assert time.process_time() - start < 4  # 0.3 s and 0.8 s on a quiet machine


def test_csv_text_quotes_what_needs_it() -> None:
    assert csv_text(["a", "b,c"], [["x", 'q"q'], ["1", ""]]) == 'a,"b,c"\nx,1\n"q""q",\n'
