"""A file's texts reach the terminal as letters, never as commands to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.museum_models import at, made, texts
from tidegate.cli import main
from tidegate.errors import visible

HIDDEN = "\x1b[2J\x07\r\u202ebad\x9b"


@pytest.mark.parametrize("name", ["classify-words", "forecast-months", "tag-plain", "generate-letters", "translate-dot"])
def test_info_shows_notes_and_names_of_a_file_as_letters(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.safetensors"
    alters = [at("card", "notes", [HIDDEN]), at("card", "source", HIDDEN)]
    alters += [texts("classes", f"a{HIDDEN}", "b")] if name == "classify-words" else []
    path.write_bytes(made(name, *alters)())
    assert main(["info", str(path)]) == 0
    said = capsys.readouterr().out
    assert r"\x1b[2J\x07\r\u202ebad\x9b" in said.replace("\n", "")
    assert visible(said) == said


def test_an_error_shows_what_a_file_says_as_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(made("classify-words", at("options", HIDDEN, 1))())
    assert main(["info", str(path)]) == 2
    said = capsys.readouterr().err
    assert "unknown option" in said
    assert visible(said) == said


def test_other_letters_stay() -> None:
    assert visible("Grüße, 日本\t🙂\nשלום") == "Grüße, 日本\t🙂\nשלום"
