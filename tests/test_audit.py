"""Loading runs no code: what audit hooks see while every file of corpus and museum is read; and a gate on the sources."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")  # the checkpoints' reader needs it
ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src" / "tidegate").rglob("*.py"))
HARMLESS = {"builtins.id", "open for r", "open for w"}  # the model file, which the reader of the corpus writes first
FORBIDDEN_MODULES = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "subprocess", "socket",
    "ctypes", "code", "runpy", "imp", "pty",
}  # fmt: skip
ALLOWED = {
    "nn/threads.py": {"ctypes"},  # it asks the OpenMP library that torch has loaded for its threads
    "export/c/prove.py": {"subprocess"},  # it compiles and runs a header that it wrote
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_PARTS = {("torch", "load"), ("np", "load"), ("numpy", "load"), ("os", "system"), ("os", "popen")}
# Where a module is imported by a name that is no literal; each takes it from a table of its own.
IMPORTERS = {
    "__init__.py", "cli/__init__.py", "models/__init__.py", "models/base.py", "data/frames.py", "export/onnx_sheet.py",
    "tasks/text_scores.py",
}  # fmt: skip


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[str, int]]:
    """What a process of its own saw: of honest files, of hostile ones, and of what must be seen."""
    search = os.pathsep.join([str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.audited"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, dict[str, int]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("what", ["honest", "hostile"])
def test_reading_and_predicting_runs_no_code(seen: dict[str, dict[str, int]], what: str) -> None:
    """No pickle, exec, compile, import, process, socket or library; no file but the model's is opened."""
    assert set(seen[what]) <= HARMLESS
    assert seen[what]["open for r"] >= (15 if what == "honest" else 100)


def test_the_hook_would_see_it(seen: dict[str, dict[str, int]]) -> None:
    assert {"exec", "compile", "pickle.find_class"} <= set(seen["control"])


def faults(tree: ast.AST, home: str) -> Iterator[str]:
    """What reading a file must never come to."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            wrong = FORBIDDEN_MODULES - ALLOWED.get(home, set())
            yield from (f"import {name}" for name in names if name.split(".")[0] in wrong)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in FORBIDDEN_PARTS:
            yield f"{node.value.id}.{node.attr}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            yield "allow_pickle"
        if isinstance(node, ast.Call):
            yield from _call_faults(node, home)


def _call_faults(node: ast.Call, home: str) -> Iterator[str]:
    called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if isinstance(node.func, ast.Name) and called in FORBIDDEN_CALLS:
        yield f"{called}(...)"
    if called == "import_module" and home not in IMPORTERS and not (node.args and isinstance(node.args[0], ast.Constant)):
        yield "import_module of a name that is no literal"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src" / "tidegate")))
def test_no_source_can_run_what_a_file_says(path: Path) -> None:
    home = path.relative_to(ROOT / "src" / "tidegate").as_posix()
    assert list(faults(ast.parse(path.read_text(encoding="utf-8")), home)) == []


@pytest.mark.parametrize("line", [
    "import pickle", "from yaml import safe_load", "import torch\ntorch.load('m')", "np.load('m')", "eval('1')", "exec('1')",
    "compile('1', '', 'eval')", "__import__('x')", "import_module(name)", "importlib.import_module(f'a.{b}')",
    "import subprocess", "read(path, allow_pickle=True)", "import os\nos.system('x')", "from socket import socket",
])  # fmt: skip
def test_the_gate_would_see_it(line: str) -> None:
    assert list(faults(ast.parse(line), "x.py"))


@pytest.mark.parametrize("line", ["re.compile('x')", "import_module('tokenizers')", "model.eval()", "container.load(x)"])
def test_the_gate_lets_the_others_through(line: str) -> None:
    assert not list(faults(ast.parse(line), "x.py"))
