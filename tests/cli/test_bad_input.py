"""Every bad input of issue 2 through the command line: status 2, one clear message, no traceback, what stood there untouched."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tidegate import format as container

from .conftest import SMALL, Cli, Said, command, csv, days, environment

OLD = b"an older model, not to be lost"


def refused(said: Said, *told: str) -> None:
    assert said.status == 2, said.err
    assert said.out == ""
    assert "Traceback" not in said.err
    assert said.err.startswith("tidegate ")
    for part in told:
        assert part in said.err, said.err


@pytest.fixture
def fit(cli: Cli, tmp_path: Path) -> Callable[..., Said]:
    """`fit` on a file of that content, over an older output file, which a refusal must leave as it was, and alone."""

    def call(content: str | bytes, *arguments: object, name: str = "d.csv") -> Said:
        folder = tmp_path / "out"
        folder.mkdir()
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        (folder / "m").write_bytes(OLD)
        said = cli("fit", "forecast", tmp_path / name, *SMALL, "--steps", "5", *arguments, "-o", folder / "m")
        if said.status:
            assert (folder / "m").read_bytes() == OLD
        assert [p.name for p in folder.iterdir()] == ["m"]
        return said

    return call


def column(values: list[object]) -> str:
    return "day,y\n" + "".join(f"{day},{value}\n" for day, value in zip(days(len(values)), values, strict=True))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", ["an empty file"]),
        ("day,y\n", ["d.csv"]),
        ("day,yy\n2020-01-01,1\n2020-01-02,2\n", ["'y'", "Did you mean 'yy'?"]),
        (csv() + "2020-03-31,warm\n", ["line 92", "'y'", "'warm'"]),
        (csv() + "2020-01-05,3\n", ["line 92", "2020-01-05"]),
        (csv() + "2020-03-31T00:00:00+01:00,3\n", ["day", "line 92"]),
        (column([1, 2, 3, 4]), ["no series is long enough", "horizon"]),
        (column([1.0]), ["d.csv"]),
        (csv() + "2020-03-31,inf\n", ["line 92", "'y'"]),
        (csv() + "2020-03-31\n", ["line 92"]),
        (csv().replace("2020-02-01", "2020-02-31"), ["line 33", "2020-02-31"]),
    ],
    ids=[
        "empty",
        "header only",
        "missing column",
        "text",
        "duplicate",
        "mixed zones",
        "too short",
        "one row",
        "inf",
        "short row",
        "no date",
    ],
)
def test_a_file_that_cannot_be_used(fit: Callable[..., Said], content: str, told: list[str]) -> None:
    refused(fit(content), "d.csv", *told)


def test_all_missing_is_refused(fit: Callable[..., Said]) -> None:
    refused(fit(column([""] * 60)), "'y'")


def test_mixed_zones_are_refused(fit: Callable[..., Said]) -> None:
    rows = "".join(f"{day}T00:00:00+0{1 + (i > 40)}:00,{i}\n" for i, day in enumerate(days(80)))
    said = fit("day,y\n" + rows)
    assert said.status in (0, 2)  # a policy or a refusal, never a traceback
    assert "Traceback" not in said.err


def wave(rows: int = 90) -> np.ndarray:
    return 10 + 3 * np.sin(np.arange(rows) * 2 * np.pi / 7)


@pytest.mark.parametrize(
    "values",
    [[5.0] * 90, [0.0] * 90, list(wave() * 1e37), list(wave() * 1e-39),
     ["NaN" if i % 5 == 0 else v for i, v in enumerate(wave())], ["" if 20 < i < 50 else v for i, v in enumerate(wave())]],
    ids=["constant", "zeros", "1e38", "1e-38", "nan", "gap"],
)  # fmt: skip
def test_values_that_are_odd_but_sound_train_and_predict_finite_numbers(
    fit, cli: Cli, tmp_path: Path, values: list[object]
) -> None:
    said = fit(column(values))
    assert said.status == 0, said.err
    rows = cli("predict", tmp_path / "out" / "m").out.splitlines()[1:]
    forecasts = np.array([[float(v) for v in row.split(",")[1:]] for row in rows])
    assert np.isfinite(forecasts).all()
    known = np.array([float(v) for v in values if v not in ("", "NaN")])
    if np.ptp(known) == 0:
        np.testing.assert_allclose(forecasts[:, 0], known[0], rtol=0.05, atol=0.05)
    else:
        assert (np.abs(forecasts[:, 0]) <= 3 * np.abs(known).max()).all()


PLAIN = csv()


@pytest.mark.parametrize(
    "content",
    ["﻿" + PLAIN, PLAIN.replace("\n", "\r\n"), PLAIN.replace(",", ";"), PLAIN.encode("utf-16"), PLAIN.rstrip("\n")],
    ids=["BOM", "CRLF", "semicolons", "UTF-16", "no last newline"],
)
def test_other_ways_to_write_the_same_file_give_the_same_forecast(fit, cli: Cli, tmp_path: Path, content: str | bytes) -> None:
    assert fit(content).status == 0
    other = cli("predict", tmp_path / "out" / "m").out
    (tmp_path / "plain.csv").write_text(PLAIN)
    assert cli("fit", "forecast", tmp_path / "plain.csv", *SMALL, "--steps", "5", "-o", tmp_path / "plain").status == 0
    assert cli("predict", tmp_path / "plain").out == other


def test_unsorted_rows_are_put_in_order(fit, cli: Cli, tmp_path: Path) -> None:
    head, *rows = PLAIN.splitlines()
    assert fit("\n".join([head, *rows[::-1]]) + "\n").status == 0
    assert cli("predict", tmp_path / "out" / "m").out.splitlines()[1].startswith("2020-03-31,")


def test_unicode_ids_come_back(fit, cli: Cli, tmp_path: Path) -> None:
    names, rows = ("Zürich ☀", "東京", "a,b"), PLAIN.splitlines()[1:]
    said = fit("day,y,site\n" + "".join(f'{row},"{name}"\n' for name in names for row in rows), "--id", "site")
    assert said.status == 0
    out = cli("predict", tmp_path / "out" / "m").out
    assert all(name in out for name in names)
    env = {**environment(), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for words in (("predict", tmp_path / "out" / "m"), ("info", tmp_path / "out" / "m")):
        done = subprocess.run(command(*words), env=env, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        if words[0] == "predict":
            assert done.stdout.decode("utf-8") == out


def test_a_hundred_thousand_columns(fit: Callable[..., Said]) -> None:
    count = 100_000
    head = "day,y," + ",".join(f"c{i}" for i in range(count))
    body = "".join(f"{day},{i % 7}" + ",1" * count + "\n" for i, day in enumerate(days(12)))
    said = fit(f"{head}\n{body}")
    assert said.status == 0, said.err


def test_a_misspelt_column_among_many(fit: Callable[..., Said]) -> None:
    refused(fit("day,y,temprature\n2020-01-01,1,2\n", "--past", "temperature"), "Did you mean 'temprature'?")


PATHS = {
    "no/m": "the folder does not exist",
    "file/m": "is a file, not a folder",
    "folder": "the path is a folder",
    "x" * 300: "too long",
}
FOLDERS = ("evaluate", "backtest", "demo")  # they make or use the folder that they are given
REFUSED = [
    (name, path, told)
    for name in ("fit", "history", "predict", "plot", *FOLDERS)
    for path, told in PATHS.items()
    if name not in FOLDERS or path not in ("no/m", "folder")
]


@pytest.mark.parametrize(("name", "path", "told"), REFUSED)
def test_an_output_that_cannot_be_written(
    cli: Cli, model: Path, data: Path, tmp_path: Path, name: str, path: str, told: str
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    out = tmp_path / path
    fitted = ("fit", "forecast", data, *SMALL, "--steps", "5")
    words = {
        "fit": (*fitted, "-o", out), "history": (*fitted, "-o", tmp_path / "m", "--history", out),
        "predict": ("predict", model, "-o", out),
        "plot": ("plot", model, "--html", out), "evaluate": ("evaluate", model, data, "-o", out),
        "demo": ("demo", "--steps", "5", "-o", out),
        "backtest": ("backtest", data, *SMALL, "--steps", "5", "-o", out),
    }[name]  # fmt: skip
    refused(cli(*words), told, "could not be written")
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_device(cli: Cli, model: Path) -> None:
    refused(cli("predict", model, "-o", "/dev/full"), "/dev/full", "the disk is full")


def test_a_disk_that_fills_up_leaves_the_old_file(data: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the write stops half-way."""
    out = tmp_path / "m"
    out.write_bytes(OLD)

    def small_files() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    words = command("fit", "forecast", data, *SMALL, "--steps", "5", "-o", out, "--no-checkpoint")
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, preexec_fn=small_files, check=False)
    refused(Said(done.returncode, done.stdout, done.stderr), str(out), "could not be written")
    assert out.read_bytes() == OLD
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("name", ["predict", "info", "evaluate", "plot"])
@pytest.mark.parametrize("harm", ["cut", "flipped", "not there", "text", "checkpoint", "other task", "folder"])
def test_a_model_file_that_is_none(cli: Cli, model: Path, data: Path, tmp_path: Path, name: str, harm: str) -> None:
    path = tmp_path / "m.safetensors"
    body, file = bytearray(model.read_bytes()), container.read(model)
    told = {
        "not there": "no such file",
        "checkpoint": "expected a model, got a checkpoint",
        "other task": "'dance'",
        "folder": "cannot be read",
        "text": "this is not a model file (it may be data: give it with --data)",
    }
    if harm == "folder":
        path.mkdir()
    elif harm == "checkpoint":
        container.write(path, "checkpoint", file.header, file.arrays)
    elif harm == "other task":
        container.write(path, "model", {**file.header, "task": "dance"}, file.arrays)
    elif harm != "not there":
        body[len(body) // 2] ^= 1
        path.write_bytes({"cut": bytes(body[:-100]), "flipped": bytes(body), "text": b"day,y\n2020-01-01,3\n"}[harm])
    words = {"evaluate": ("evaluate", path, data), "plot": ("plot", path, "-o", tmp_path / "x.png")}.get(name, (name, path))
    refused(cli(*words), str(path), told.get(harm, "not a sound Tidegate file"))
    assert not (tmp_path / "x.png").exists()


def test_data_that_is_not_there(cli: Cli, model: Path, tmp_path: Path) -> None:
    for words in (
        ("evaluate", model, tmp_path / "x.csv"),
        ("predict", model, "--data", tmp_path / "x.csv"),
        ("check", tmp_path / "x.csv", "--target", "y"),
    ):
        refused(cli(*words), "x.csv")


@pytest.mark.parametrize("value", ["noequals", "=x.csv", "name="])
def test_against_is_a_name_and_a_file(cli: Cli, model: Path, data: Path, value: str) -> None:
    refused(cli("evaluate", model, data, "--against", value), "--against: expected NAME=FILE")


@pytest.mark.parametrize("levels", ["0", "100", "-5", "nan", "200,80"])
def test_levels_out_of_range(cli: Cli, model: Path, levels: str) -> None:
    refused(cli("predict", model, f"--levels={levels}"), "level")
