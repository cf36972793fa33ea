"""What importing costs and pulls in, the direction of imports, and the running half where torch is not there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tidegate as tg

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "src" / "tidegate" / "bundled" / "seattle-weather.csv"
LIMIT_S = 0.2
HEAVY = ("torch", "numpy", "pandas", "polars", "pyarrow", "narwhals", "matplotlib", "scipy", "safetensors", "tqdm")


def run(code: str) -> dict[str, object]:
    """The JSON that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}


def loaded_after(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps({{'modules': [m for m in sys.modules if '.' not in m]}}))"
    modules = run(code)["modules"]
    assert isinstance(modules, list)
    return set(modules)


def test_import_is_fast() -> None:
    code = "import json, time; a = time.perf_counter(); import tidegate; print(json.dumps({'s': time.perf_counter() - a}))"
    times = [run(code)["s"] for _ in range(5)]
    assert min(times) < LIMIT_S, f"import tidegate took {times} s"


def test_import_pulls_nothing_heavy() -> None:
    assert loaded_after("import tidegate").isdisjoint(HEAVY)


def test_the_command_line_starts_light() -> None:
    assert loaded_after("import tidegate.cli").isdisjoint(HEAVY)


def test_the_forecaster_needs_no_torch_to_be_made() -> None:
    loaded = loaded_after("import tidegate as tg; tg.Forecaster(horizon=2); tg.load; tg.Predictor; tg.Stream; tg.check")
    assert "numpy" in loaded
    assert loaded.isdisjoint({"torch", "pandas", "polars", "pyarrow", "matplotlib", "scipy"})


def test_every_public_name_is_there() -> None:
    for name in tg.__all__:
        assert getattr(tg, name) is not None, name
    with pytest.raises(AttributeError, match="no attribute 'Forcaster'"):
        tg.Forcaster  # noqa: B018  # the access is the test


def test_import_contracts() -> None:
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")
    if command is None:
        pytest.skip("import-linter is not installed: pip install 'tidegate[dev]'")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_running_half_without_torch(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    train = f"tg.Forecaster(horizon=7, steps=20, hidden_size=8).fit({str(DATA)!r}, target='temp_max', time='date')"
    run(f"import tidegate as tg; {train}.save({str(model)!r}); print('{{}}')")
    script = [sys.executable, str(ROOT / "bench" / "no_torch.py"), str(model), str(DATA), "--block"]
    done = subprocess.run(script, capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "works without torch" in done.stdout


def test_the_blocker_blocks(tmp_path: Path) -> None:
    """The check above would say so if torch could still be imported."""
    sys_path = str(ROOT / "bench")
    code = f"import sys, json; sys.path.insert(0, {sys_path!r}); import no_torch; sys.meta_path.insert(0, no_torch._NoTorch())\n"
    code += "try:\n    import torch\nexcept ModuleNotFoundError as e:\n    print(json.dumps({'name': e.name}))"
    assert run(code) == {"name": "torch"}
