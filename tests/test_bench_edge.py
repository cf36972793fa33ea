"""bench/edge: the committed table is what its figures say, its verdicts are right, and the figures are today's code's."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

EDGE = Path(__file__).resolve().parents[1] / "bench" / "edge"
SLACK = 1.1  # another version of the compiler


@pytest.fixture(scope="module")
def edge() -> Any:
    sys.path.insert(0, str(EDGE))
    yield importlib.import_module
    sys.path.remove(str(EDGE))


@pytest.fixture(scope="module")
def sizes(edge: Any) -> Any:
    return edge("sizes")


def test_the_table_is_what_the_figures_say(sizes: Any) -> None:
    found = json.loads(sizes.RESULTS.read_text(encoding="utf-8"))
    assert sizes.TABLE.read_text(encoding="utf-8") == sizes.report(found)
    assert {(row["cell"], row["weights"], row["target"], row["flags"]) for row in found["rows"]} == {
        (cell, weights, target, flags)
        for cell in ("rnn", "lstm", "gru")
        for weights in ("float32", "int8")
        for target, flags in [*sizes.BUILDS, *(("wasm32", " ".join(flags)) for flags in sizes.MODULES)]
    }


def test_verdicts(sizes: Any) -> None:
    assert [sizes.judged("code", size) for size in (4096, 4097, 8192, 8193)] == ["aim", "met", "met", "missed"]
    assert [sizes.judged("wasm", size) for size in (15360, 15361, 30720, 30721)] == ["aim", "met", "met", "missed"]


def test_the_reserve_of_the_budget_holds_every_row(sizes: Any) -> None:
    """`fit --flash` counts so much code, whatever the cell, the board and the level of optimisation."""
    from tidegate.export.c.budget import CODE

    found = json.loads(sizes.RESULTS.read_text(encoding="utf-8"))
    assert max(row["text"] for row in found["rows"] if "text" in row) <= CODE


def test_the_figures_are_of_this_code(sizes: Any, tmp_path: Path) -> None:
    targets = sizes.targets
    if reason := targets.missing(targets.ARM, targets.ARM_SIZE):
        pytest.skip(reason)
    found = json.loads(sizes.RESULTS.read_text(encoding="utf-8"))
    row = next(r for r in found["rows"] if (r["cell"], r["target"], r["flags"]) == ("gru", "cortex-m4", "-Os"))
    now = targets.cortex_m_sizes(sizes.exported("gru"), tmp_path, "cortex-m4", "-std=c99", "-Os")
    assert now["rodata"] == row["rodata"]
    assert row["text"] / SLACK <= now["text"] <= row["text"] * SLACK


def test_the_program_that_measures_steps_runs(edge: Any) -> None:
    speed = edge("speed")
    if reason := edge("targets").missing("gcc"):
        pytest.skip(reason)
    found = speed.measured("gcc", steps=10, repeats=2)
    assert {name: len(took) for name, took in found.items()} == {f"{c}{n}": 2 for n in speed.SIZES for c in speed.RTNEURAL}
    assert all(t > 0 for took in found.values() for t in took)


def test_ratios_are_scaled_by_the_peak(edge: Any) -> None:
    speed = edge("speed")
    assert speed.ratio("lstm", 32, 0.129, 240.0) == pytest.approx(1.0)
    assert speed.ratio("gru", 64, 0.8, 120.0) == pytest.approx(2.0)  # a processor of half the peak, as fast: twice as good
    table = speed.report({f"{c}{n}": [1.0, 3.0, 2.0] for n in speed.SIZES for c in speed.RTNEURAL}, 240.0)
    assert "| lstm 64 | 2.000 | 0.53 | 0.9, 2.0 |" in table
