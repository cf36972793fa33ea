"""The arithmetic of bench/core: operations, lengths, ratios, shares, limits and verdicts, on figures worked out by hand."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CORE = Path(__file__).resolve().parents[1] / "bench" / "core"
OWN = ("measure", "report", "shapes")  # read afresh and taken away again: other folders of bench/ have the same names


@pytest.fixture(scope="module")
def core() -> Any:
    kept = {name: sys.modules.pop(name, None) for name in OWN}
    sys.path.insert(0, str(CORE))
    modules = {name: importlib.import_module(name) for name in OWN}
    yield modules
    sys.path.remove(str(CORE))
    for name, module in kept.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


@pytest.fixture
def shapes(core: dict[str, ModuleType]) -> Any:
    return core["shapes"]


@pytest.fixture
def report(core: dict[str, ModuleType]) -> Any:
    return core["report"]


@pytest.fixture
def measure(core: dict[str, ModuleType]) -> Any:
    return core["measure"]


def result(
    over_s: list[float], under_s: list[float], flops: float, peaks: tuple[float, float] = (100.0, 200.0)
) -> dict[str, Any]:
    pair = {"over": "torch", "over_threads": 2, "over_s": over_s, "under": "tidegate", "under_threads": 2, "under_s": under_s}
    gflops = {"1": peaks[0], "2": peaks[1]}
    lower = {key: value / 2 for key, value in gflops.items()}
    machine = {"cpu": "x", "flags": ["fma"], "cores": 2, "usable": 2, "isa": "avx2", "torch": "2", "python": "3", "tidegate": "0"}
    return {"flops": flops, "two": pair, "one": pair, "peak_gflops": {"before": lower, "after": gflops}, "machine": machine}


def test_operations(shapes: Any) -> None:
    lstm = shapes.flops(shapes.SHAPES["64x100x256"], "lstm", training=False)
    assert lstm == 2 * 4 * 64 * 256 * 512 * 100
    assert shapes.flops(shapes.SHAPES["64x100x256"], "lstm", training=True) == 3 * lstm
    assert shapes.flops(shapes.SHAPES["64x100x256"], "gru", training=False) == lstm * 3 / 4
    both = shapes.flops(shapes.SHAPES["both-64x100x128x256"], "rnn", training=False)
    assert both == 2 * (2 * 64 * 256 * (128 + 256) * 100)
    four = shapes.flops(shapes.SHAPES["4layers-16x200x128"], "gru", training=False)
    assert four == 4 * (2 * 3 * 16 * 128 * 256 * 200)


def test_packed_rows_count_real_steps_alone(shapes: Any) -> None:
    packed, padded = shapes.SHAPES["packed-32x100x64"], shapes.SHAPES["32x100x64"]
    lengths = packed.lengths()
    assert (lengths[0], lengths[-1], len(lengths)) == (100, 10, 32)
    assert lengths == sorted(lengths, reverse=True)
    assert sum(lengths) / 3200 == pytest.approx(0.55, abs=0.002)
    share = shapes.flops(packed, "rnn", training=True) / shapes.flops(padded, "rnn", training=True)
    assert share == sum(lengths) / 3200


def test_every_row_of_the_plan_is_there(shapes: Any) -> None:
    names = shapes.rows()
    assert len(shapes.SHAPES) == 11
    assert sum(row.kind == "train" for row in names.values()) == sum(row.kind == "infer" for row in names.values()) == 33
    assert {row.kind for row in names.values()} == {"train", "infer", "step", "ragged", "memory", "mixed", "forecaster"}
    assert all(row.name == name for name, row in names.items())
    assert all(
        set(s.asked) == set(shapes.CELLS) and all(a.aim > a.must for a in s.asked.values()) for s in shapes.SHAPES.values()
    )


def test_quartiles_of_pairs_are_not_those_of_times(measure: Any) -> None:
    pair = {"over_s": [2.0, 8.0, 3.0, 8.0, 10.0], "under_s": [1.0, 2.0, 1.0, 4.0, 2.0]}
    assert measure.ratios(pair) == [2.0, 4.0, 3.0, 2.0, 5.0]
    assert measure.quartiles(measure.ratios(pair)) == (2.0, 3.0, 4.0)
    assert measure.quartiles([7.0]) == (7.0, 7.0, 7.0)


def test_share_and_limit_take_the_higher_peak(report: Any) -> None:
    found = result([0.05] * 4, [0.01] * 4, flops=1.5e9)
    assert report.peak(found, 2) == 200.0
    assert report.share_of_peak(found).median == pytest.approx(0.75)  # 150 of 200 GFLOP/s
    assert report.limit(found) == pytest.approx(0.05 / 0.0075)
    assert report.limit(found, threads=1) == pytest.approx(0.05 / 0.015)
    assert report.share_of_peak(found).median * report.limit(found) == pytest.approx(5.0)  # the ratio itself


@pytest.mark.parametrize(
    ("lower", "highest", "said"),
    [(1.8, 2.0, "aim"), (1.79, 2.0, "met"), (1.4, 2.0, "met"), (1.39, 2.0, "missed"), (1.2, 1.3, "beyond this machine's peak")],
)
def test_verdicts(report: Any, shapes: Any, measure: Any, lower: float, highest: float, said: str) -> None:
    measured = measure.Quartiles(lower, 9.0, 9.0)  # the median does not count
    assert report.verdict(measured, shapes.Asked(1.4, 1.8), highest) == said


def test_where_less_is_better_the_upper_quartile_counts(report: Any, measure: Any) -> None:
    assert report.verdict_most(measure.Quartiles(0.5, 0.6, 0.65), 0.65) == "met"
    assert report.verdict_most(measure.Quartiles(0.5, 0.6, 0.66), 0.65) == "missed"


def test_an_inference_must_is_never_above_75_percent_of_the_peak(report: Any, shapes: Any) -> None:
    assert report.asked_of(shapes.Row("infer", "gru", "32x100x64"), 10.0).must == 3.0
    assert report.asked_of(shapes.Row("infer", "gru", "32x100x64"), 2.0).must == 1.5
    assert report.asked_of(shapes.Row("infer", "lstm", "32x100x64"), 1.1).must == 1.0
    assert report.asked_of(shapes.Row("train", "gru", "32x100x64"), 2.0) == (9, 13)


def test_the_page_lists_losing_and_missing_rows(report: Any) -> None:
    found = {"train-lstm-32x100x64": result([0.010] * 15, [0.009] * 15, flops=5e8)}
    text = report.page(found)
    assert "| 32, 100, 64 | 1.11 (missed; 1.4 / 1.8) | not measured | not measured |" in text
    assert text.count("| LSTM 32, 100, 64 | 1.4 / 1.8 | 1.11 / 1.11 / 1.11 | missed | 4.00 | 10.0 (2) | 9.00 | 28 % |") == 1
    assert "results/train-lstm-32x100x64.json" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert all(len({line.count("|") for line in lines}) == 1 for lines in tables), (
        "a line has more or fewer cells than its header"
    )


def test_pairs_alternate_and_are_never_too_few(measure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "set_threads", lambda threads: None)
    order: list[str] = []

    def side(name: str, seconds: float) -> Any:
        return measure.Side(name, 1, lambda: order.append(name) or seconds)

    found = measure.pairs(side("a", 0.5), side("b", 0.25), measure.Effort(seconds=0.0, fewest=4))
    assert order == [*"aabb", *"ab", *"ba", *"ab", *"ba"]  # two calls each to warm up
    assert measure.ratios(found) == [2.0] * 4
    assert found["calls_a_sample"] == [1, 1]


def test_short_calls_are_taken_many_at_a_time(measure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "set_threads", lambda threads: None)
    side = measure.Side("a", 1, lambda: 0.001)
    found = measure.pairs(side, side, measure.Effort(seconds=0.0, fewest=1))
    assert found["calls_a_sample"] == [4, 4]
    assert found["over_s"] == [pytest.approx(0.001)]


def test_the_faster_number_of_threads_is_found(measure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "set_threads", lambda threads: None)
    assert measure.best_threads(lambda n: measure.Side("a", n, lambda: 0.1 * n)) == (1, {"1": 0.1, "2": 0.2})
    assert measure.best_threads(lambda n: measure.Side("a", n, lambda: 0.1 / n))[0] == 2
