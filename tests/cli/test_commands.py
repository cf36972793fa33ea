"""Each command end to end on small data, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tidegate
from tidegate.cli.common import program
from tidegate.format import read

from .conftest import SMALL, Cli, csv, process

COLUMNS = ["day", "forecast", "forecast-lo-80", "forecast-hi-80", "forecast-lo-95", "forecast-hi-95"]


def test_fit_writes_a_model_says_how_good_it_is_and_leaves_nothing_else(cli: Cli, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    said = cli("fit", "forecast", data, *SMALL, "--steps", "20", "-o", path)
    assert said.status == 0
    assert said.err == ""  # no bar where nobody looks
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    assert "held-back rows" in said.out
    assert "naive" in said.out
    assert f"wrote {path}: 20 steps" in said.out
    assert "--steps 20" in said.out
    assert len(tidegate.load(path).predict()) == 3  # type: ignore[attr-defined]  # a forecaster


def test_the_same_command_gives_the_same_bytes_and_another_seed_others(cli: Cli, data: Path, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, seed in zip(paths, ("4", "4", "5"), strict=True):
        assert cli("fit", "forecast", data, *SMALL, "--steps", "10", "--seed", seed, "-o", path).status == 0
    one, same, other = (path.read_bytes() for path in paths)
    assert one == same
    assert one != other


def test_a_budget_is_replayable_to_the_same_bytes(cli: Cli, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidegate.train import run

    monkeypatch.setattr(run, "steps_for", lambda *_: 23)
    said = cli("fit", "forecast", data, *SMALL, "--budget", "1s", "-o", tmp_path / "a")
    assert f"the same again:\n  {program()} fit forecast " in said.out
    assert " --steps 23 --seed " in said.out
    monkeypatch.undo()
    assert cli("fit", "forecast", data, *SMALL, "--steps", "23", "-o", tmp_path / "b").status == 0
    assert read(tmp_path / "a").header["steps"] == 23
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_output_kind_is_not_the_output_file(cli: Cli, data: Path, tmp_path: Path) -> None:
    said = cli("fit", "forecast", data, *SMALL, "--steps", "5", "--output-kind", "student_t", "--output", tmp_path / "m")
    assert said.status == 0
    assert tidegate.load(tmp_path / "m").options.output == "student_t"  # type: ignore[attr-defined]  # a forecaster


def test_predict_writes_the_same_csv_to_a_file_and_to_standard_output(cli: Cli, model: Path, tmp_path: Path) -> None:
    printed = cli("predict", model)
    assert printed.status == 0
    assert cli("predict", model, "-o", tmp_path / "f.csv").status == 0
    assert (tmp_path / "f.csv").read_text() == printed.out
    lines = printed.out.splitlines()
    assert lines[0].split(",") == COLUMNS
    assert [line.split(",")[0] for line in lines[1:]] == ["2020-03-31", "2020-04-01", "2020-04-02"]
    assert process("predict", model).stdout == printed.out


def test_predict_on_new_data_with_other_levels(cli: Cli, model: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(csv(100, seed=3))
    said = cli("predict", model, "--data", tmp_path / "new.csv", "--levels", "50")
    assert said.out.splitlines()[0] == "day,forecast,forecast-lo-50,forecast-hi-50"
    assert said.out.splitlines()[1].startswith("2020-04-10,")


def test_evaluate_and_its_files(cli: Cli, model: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(csv(120))
    assert cli("predict", model, "-o", tmp_path / "other.csv").status == 0
    text = (tmp_path / "other.csv").read_text().replace("2020-03-31", "2020-04-27").replace("2020-04-01", "2020-04-28")
    (tmp_path / "other.csv").write_text(text.replace("2020-04-02", "2020-04-29"))
    against = f"other={tmp_path / 'other.csv'}"
    said = cli("evaluate", model, tmp_path / "new.csv", "--against", against, "-o", tmp_path / "figures")
    assert said.status == 0
    assert all(word in said.out for word in ("tidegate", "naive", "drift", "other", "MASE"))
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["forecasts.csv", "per_series.csv", "table.json"]
    assert json.loads((tmp_path / "figures" / "table.json").read_text())["windows"] == 1


@pytest.mark.parametrize("refit", ["no", "warm", "yes"])
def test_backtest(cli: Cli, data: Path, tmp_path: Path, refit: str) -> None:
    said = cli("backtest", data, *SMALL, "--steps", "8", "--windows", "2", "--refit", refit, "-o", tmp_path / "f")
    assert said.status == 0
    assert "seasonal naive" in said.out
    assert json.loads((tmp_path / "f" / "table.json").read_text())["windows"] == 2


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_draws_a_forecast_and_a_history(cli: Cli, model: Path, data: Path, tmp_path: Path, suffix: str) -> None:
    picture, history = tmp_path / f"f.{suffix}", tmp_path / f"h.{suffix}"
    assert cli("plot", model, "-o", picture, "--truth", data).out == f"wrote {picture}\n"
    assert cli("plot", model.with_suffix(".jsonl"), "-o", history).status == 0
    for path in (picture, history):
        assert path.read_bytes()[:4] in (b"\x89PNG", b"<?xm")


def test_plot_writes_a_page(cli: Cli, model: Path, tmp_path: Path) -> None:
    assert cli("plot", model, "--html", tmp_path / "f.html").status == 0
    assert "<svg" in (tmp_path / "f.html").read_text() or "<script" in (tmp_path / "f.html").read_text()


@pytest.mark.parametrize("ids", [("b", "a"), ("2", "10")])
def test_plot_takes_text_and_whole_ids(cli: Cli, tmp_path: Path, ids: tuple[str, str]) -> None:
    head, *rows = csv(60).splitlines()
    (tmp_path / "d.csv").write_text("\n".join([head + ",site", *(f"{row},{name}" for name in ids for row in rows)]) + "\n")
    assert cli("fit", "forecast", tmp_path / "d.csv", *SMALL, "--id", "site", "--steps", "5", "-o", tmp_path / "m").status == 0
    assert cli("plot", tmp_path / "m", "--ids", ids[1], "-o", tmp_path / "f.svg").status == 0
    assert cli("plot", tmp_path / "m", "--ids", "77", "-o", tmp_path / "f.svg").status == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name a picture"),
        (("-o", "x.jpg"), "expected a picture named .png or .svg"),
        (("--ids", "7", "-o", "x.png"), "no series '7'"),
    ],
)
def test_plot_says_what_it_needs(
    cli: Cli, model: Path, tmp_path: Path, arguments: tuple[str, ...], told: str, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("plot", model, *arguments)
    assert said.status == 2
    assert told in said.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "an empty file"), (b'{"step": 1, "loss": 2}\nnot json\n', "line 2: expected a training record"),
     (b"\xff\xfe\x00", "expected text"),
     (b"[1]\n", "line 1"), (b'{"step": 1}\n', "expected records with step")],
)  # fmt: skip
def test_a_history_that_is_none_is_refused(cli: Cli, tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "h.jsonl").write_bytes(content)
    said = cli("plot", tmp_path / "h.jsonl", "-o", tmp_path / "h.png")
    assert said.status == 2
    assert told in said.err
    assert not (tmp_path / "h.png").exists()


def test_info_shows_spec_sizes_card_and_data(cli: Cli, model: Path) -> None:
    said = cli("info", model)
    assert said.status == 0
    for word in (
        "encoder",
        "lstm",
        "weights",
        "sha256",
        "data inside",
        "yes",
        "seed 0",
        "20 steps",
        "held-back rows",
        "numpy",
        "torch",
    ):
        assert word in said.out
    assert max(map(len, said.out.splitlines())) <= 130
    header = json.loads(cli("info", model, "--json").out)
    assert header["task"] == "forecast"
    assert header["sha256"] == read(model).sha256


def test_check_reads_a_good_file_and_a_bad_one(cli: Cli, data: Path, tmp_path: Path) -> None:
    said = cli("check", data, "--target", "y", "--time", "day", "--horizon", "3")
    assert said.status == 0
    assert "0 errors" in said.out
    assert "takes the file as it is" in said.out
    (tmp_path / "bad.csv").write_text(csv() + "2020-01-05,3.0\n2020-01-06,warm\n")
    said = cli("check", tmp_path / "bad.csv", "--target", "y", "--time", "day")
    assert said.status == 1
    assert "would stop here" in said.out
    assert "line 93" in said.out


def test_demo_shows_and_writes_everything(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("demo", "--steps", "8")
    assert said.status == 0
    wanted = {"weather.safetensors", "forecast.png", "forecast.html", "forecast.csv", "table.json", "history.jsonl"}
    assert wanted <= {p.name for p in (tmp_path / "demo").iterdir()}
    assert all(word in said.out for word in ("naive", "MASE", "What to try next", "tidegate info", "Stream"))
    assert max(map(len, said.out.splitlines())) <= 125
