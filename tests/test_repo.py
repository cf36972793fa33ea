"""The repository as a whole: public names, commands and their help, no traces of one machine, nothing large, the notebook."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tidegate as tg
from tidegate.cli import COMMANDS, TASKS
from tidegate.cli import main as tidegate

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 1 << 20
# Spelt in two parts, so that this file does not hold what it looks for.
PLACES = [
    "/wo" + r"rk/(main|shared)",
    "/ho" + "me/[a-z]",
    "/Us" + "ers/[A-Za-z]",
    "/ro" + "ot/",
    r"C:\\Us" + "ers",
    "/tm" + r"p/\w",
]
MACHINE_PATHS = re.compile("|".join(PLACES))
TEXT = {".py", ".md", ".toml", ".txt", ".sh", ".json", ".css", ".js", ".ipynb", ".cfg", ""}


def tracked() -> list[Path]:
    """What git holds or would hold; without git (a source archive) every file beside the sources."""
    if shutil.which("git") and (ROOT / ".git").exists():
        done = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]
    folders = ("src", "tests", "docs", "bench", "examples", ".ci")
    found = [p for folder in folders for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return found + [p for p in ROOT.iterdir() if p.is_file()]


def test_public_names_are_the_documented_ones() -> None:
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^## `(\w+)`$", text, re.MULTILINE))
    assert documented == set(tg.__all__)
    assert tg.__all__ == sorted(tg.__all__)


def test_every_public_class_and_function_says_what_it_does() -> None:
    silent = [name for name in tg.__all__ if name != "__version__" and not (getattr(tg, name).__doc__ or "").strip()]
    assert silent == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        tidegate([name, "--help"])
    said = capsys.readouterr().out
    assert stop.value.code == 0
    assert "example" in said
    assert f"tidegate {name}" in said.partition("example")[2]


@pytest.mark.parametrize("name", [n for n in COMMANDS if n != "fit"] + [f"fit {task}" for task in TASKS])
def test_every_command_has_its_section(name: str) -> None:
    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    section = text.partition(f"## `tidegate {name}`\n")[2].partition("\n## ")[0]
    assert f"$ tidegate {name}" in section
    rows = re.findall(r"^\| (`.+?) \| (.*) \|$", section, re.MULTILINE)
    assert rows
    assert [flag for flag, meaning in rows if not meaning.strip()] == []


def test_no_path_of_one_machine() -> None:
    found = []
    for path in tracked():
        if path.suffix not in TEXT or path.name == "LICENSE":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if MACHINE_PATHS.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []


def test_nothing_large_is_tracked() -> None:
    large = [f"{p.relative_to(ROOT)}: {p.stat().st_size:,} bytes" for p in tracked() if p.stat().st_size > MOST_BYTES]
    assert large == []


def test_licence_and_changelog() -> None:
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changes


def test_the_pin_of_torch() -> None:
    assert re.search(r"^torch==2\.13\.0$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)


def test_versions_agree() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(rf'^version = "{re.escape(tg.__version__)}"$', text, re.MULTILINE)


def test_what_a_shell_runs_is_executable_and_strict() -> None:
    for path in (ROOT / ".ci" / "run", ROOT / "bench" / "no_torch.sh"):
        assert path.stat().st_mode & 0o100, path.name
        assert "set -euo pipefail" in path.read_text(encoding="utf-8"), path.name
        assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0


def test_the_notebook_runs(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    notebook = nbformat.read(ROOT / "examples" / "first_forecast.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "the notebook is kept without outputs"
    specs = tmp_path / "kernels" / "here"
    specs.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (specs / "kernel.json").write_text(
        json.dumps({"argv": command, "display_name": "here", "language": "python"}), encoding="utf-8"
    )
    manager = AsyncKernelManager(kernel_name="here", kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(specs.parent)]))
    client = nbclient.NotebookClient(notebook, km=manager, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"})
    shown = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert any("image/png" in out.get("data", {}) for out in shown), "the notebook shows no picture"
    assert any("text/html" in out.get("data", {}) for out in shown), "the notebook shows no table"
