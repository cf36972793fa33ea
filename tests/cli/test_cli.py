"""The command line as such: help, version, misspelt words, exit status, pipes."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path

import pytest

from tidegate import __version__
from tidegate.cli import COMMANDS

from .conftest import SMALL, Cli, command, environment, process


def test_help_names_every_command_and_an_example(cli: Cli) -> None:
    said = cli("--help")
    assert said.status == 0
    assert all(name in said.out for name in COMMANDS)
    assert "tidegate fit forecast weather.csv" in said.out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_shows_an_example_that_its_parser_takes(cli: Cli, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import import_module

    from tidegate.cli import _parser

    said = cli(name, "--help")
    assert said.status == 0
    module = import_module(f"tidegate.cli.{name}")
    assert module.EXAMPLE in said.out
    lines = [line.split("#")[0].split(" | ")[0].split() for line in module.EXAMPLE.splitlines() if line.startswith("  tidegate")]
    assert lines
    for words in lines:
        assert words[1] == name
        _parser(name).parse_args(words[1:])


def test_every_option_of_fit_is_explained(cli: Cli) -> None:
    from dataclasses import fields

    from tidegate.cli.common import explained, flag_of
    from tidegate.tasks.forecast import ForecastOptions

    said = cli("fit", "--help").out
    for field in fields(ForecastOptions):
        assert f"{flag_of(field.name)} " in said or f"{flag_of(field.name)}," in said
    told = explained(ForecastOptions)
    assert told["lower"] == "smallest possible value"
    assert told["horizon"].startswith("steps to forecast")
    assert set(told) <= {field.name for field in fields(ForecastOptions)}


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"tidegate {__version__}\n"


def test_no_command_shows_the_help(cli: Cli) -> None:
    said = cli()
    assert said.status == 2
    assert "COMMAND" in said.out


@pytest.mark.parametrize(("given", "meant"), [("predcit", "predict"), ("Fit", "fit"), ("evalute", "evaluate")])
def test_an_unknown_command_gets_the_nearest(cli: Cli, given: str, meant: str) -> None:
    said = cli(given, "x.csv")
    assert said.status == 2
    assert f"there is no command {given!r}; did you mean {meant!r}?" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("flag", "meant"),
    [("--horizn", "--horizon"), ("--hidden_size", "--hidden-size"), ("--hor", "--horizon"), ("--ensembles=3", "--ensemble")],
)
def test_an_unknown_option_gets_the_nearest(cli: Cli, data: Path, tmp_path: Path, flag: str, meant: str) -> None:
    said = cli("fit", "forecast", data, *SMALL, flag, "3", "-o", tmp_path / "m")
    assert said.status == 2
    assert f"{flag.split('=')[0]}: there is no such option" in said.err
    assert meant in said.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--horizon", "0"), "--horizon: expected a whole number of at least 1, got 0"),
        (("--horizon", "-3"), "--horizon: expected a whole number of at least 1, got -3"),
        (("--horizon", "two"), "argument --horizon: invalid whole number value: 'two'"),
        (("--horizon", "2.5"), "invalid whole number value: '2.5'"),
        (("--cell", "gruu"), "invalid choice: 'gruu'"),
        (("--device", "cuda:42"), "device: expected one of cpu"),
        (("--device", "nonsense"), "device: expected one of cpu"),
        (("--seed", "-1"), "seed: expected 0 <= seed < 2**63, got -1"),
        (("--dropout", "nan"), "--dropout: expected"),
        (("--learning-rate", "0"), "--learning-rate: expected more than 0"),
        (("--budget", "soon"), "budget: expected a time such as '90s'"),
        (("--budget", "1s", "--steps", "3"), "budget and steps: give one of them"),
        (("--resume", "--no-checkpoint"), "--resume: goes on from a checkpoint"),
        (("--lags", "1,x"), "invalid list of whole numbers value: '1,x'"),
        (("--freq", "often"), "freq: expected"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_option_is_one_clear_message(cli: Cli, data: Path, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    said = cli("fit", "forecast", data, *SMALL, *arguments, "-o", tmp_path / "m")
    assert said.status == 2
    assert told in said.err
    assert said.err.startswith("tidegate fit: ")
    assert "Traceback" not in said.err
    assert not list(tmp_path.iterdir())


def test_the_device_is_refused_before_the_data_are_read(cli: Cli, tmp_path: Path) -> None:
    said = cli("fit", "forecast", tmp_path / "not-there.csv", *SMALL, "--device", "warp", "-o", tmp_path / "m")
    assert "device: expected one of cpu" in said.err


def test_the_module_runs_and_says_its_version() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"tidegate {__version__}\n", "")


def test_a_closed_pipe_is_no_error(model: Path) -> None:
    for name in (("predict", model), ("--help",), ("info", model)):
        with subprocess.Popen(
            command(*name), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdout.close()  # before a line is written
            assert running.stderr.read() == ""
            assert running.wait() == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_an_error(model: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command("predict", model), env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert "the output could not be written (No space left on device)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_log_of_the_program_around_is_left_alone(cli: Cli, model: Path) -> None:
    logger = logging.getLogger("tidegate")
    before = (list(logger.handlers), logger.level, logger.propagate, list(logging.getLogger().handlers))
    cli("info", model, "--verbose")
    assert before == (list(logger.handlers), logger.level, logger.propagate, list(logging.getLogger().handlers))


def test_a_misspelt_option_is_the_only_fault(cli: Cli) -> None:
    said = cli("fit", "forecast", "x.csv", "--target", "y", "--horizn", "14", "-o", "m.safetensors")
    assert said.err == "tidegate fit: --horizn: there is no such option; did you mean '--horizon'?\n"


def test_the_task_that_was_left_out(cli: Cli) -> None:
    line = "tidegate fit forecast sales.csv --target y --horizon 3"
    assert f"did you mean `{line}`?" in cli("fit", "sales.csv", "--target", "y", "--horizon", "3").err
    assert f"did you mean `{line}`?" in cli("fit", "forcast", "sales.csv", "--target", "y", "--horizon", "3").err
    said = cli("forecast", "x.csv")
    assert said.status == 2
    assert "`tidegate fit forecast FILE ...`" in said.err
    assert "`tidegate predict MODEL`" in said.err


def test_what_is_written_is_said(cli: Cli, model: Path, data: Path, tmp_path: Path) -> None:
    assert cli("predict", model, "-o", tmp_path / "f.csv").out == f"wrote {tmp_path / 'f.csv'}\n"
    assert f"wrote {tmp_path / 'e'}\n" in cli("evaluate", model, data, "-o", tmp_path / "e").out


def test_info_says_how_to_use_the_model(cli: Cli, model: Path) -> None:
    said = cli("info", model).out
    assert said.index("\nuse\n") < said.index("\nnet\n")
    for line in ("target     y", "time       day", "step       1 day", "last time  2020-03-30", "horizon    3 steps"):
        assert line in said


def test_the_running_program_is_named_as_it_can_be_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidegate.cli.common import program

    own = tmp_path / ".venv" / "bin" / "tidegate"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(own)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == ".venv/bin/tidegate"
    monkeypatch.setenv("PATH", str(own.parent))
    assert program() == "tidegate"
