"""`tidegate export`: a header from a model file, and its errors."""

from __future__ import annotations

from pathlib import Path

import pytest

import tidegate as tg
from tidegate.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "films.safetensors"
    options = {"units": "char", "bidirectional": False, "ngrams": False, "hidden_size": 6, "steps": 5}
    tg.Classifier(**options).fit((["a fine film", "a dull film"] * 10, ["good", "bad"] * 10), progress=False).save(path)
    return path


def test_a_header_is_written_and_its_proof_told(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "films.h"
    assert main(["export", str(model), "--to", "c", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"wrote {out}" in said
    assert "proved: " in said
    assert "bytes of flash" in said
    assert "films_step(films_state *s, int32_t code, films_answer *a)" in out.read_text(encoding="utf-8")
    assert main(["export", str(model), "--to", "c", "--name", "verdict", "-o", str(out)]) == 0
    assert "verdict_step(" in out.read_text(encoding="utf-8")


def test_a_forecaster_from_a_csv_to_a_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """fit with the device's limits, export, and the same command again as `fit` tells it."""
    data, model, out = tmp_path / "tide.csv", tmp_path / "tide.safetensors", tmp_path / "tide.h"
    lines = (f"2024-01-{1 + k // 24:02}T{k % 24:02}:00,{10 + (k % 12)}" for k in range(240))
    data.write_text("hour,level\n" + "\n".join(lines) + "\n", encoding="utf-8")
    words = ["fit", "forecast", str(data), "--target", "level", "--time", "hour", "--horizon", "6", "--scaling", "running"]
    words += ["--steps", "4", "--batch-size", "8", "--no-checkpoint", "-o", str(model)]
    assert main([*words, "--flash", "32K", "--ram", "6K"]) == 0
    said = capsys.readouterr().out
    assert "was chosen" in said
    assert "--flash 32K --ram 6K" in said
    assert main(["export", str(model), "--to", "c", "-o", str(out)]) == 0
    assert "proved: " in capsys.readouterr().out
    text = out.read_text(encoding="utf-8")
    assert "tide_step(tide_state *s, const float *x, tide_answer *a)" in text
    assert "tide_clock(tide_state *s, int64_t time)" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "cobol", "-o", "m.h"], "cobol"),
        (["-o", "m.h"], "--to"),
        (["--to", "c"], "--output"),
        (["--to", "c", "-o", "m.h", "--name", "9x"], "name: expected a letter"),
        (["--to", "c", "-o", "no/such/folder/m.h"], "the folder does not exist"),
    ],
)
def test_errors_are_told(
    model: Path, words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(model), *words]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_model_is_not_written_over(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(model), "--to", "c", "-o", str(model)]) == 2
    assert "is read too" in capsys.readouterr().err
