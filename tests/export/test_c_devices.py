"""Exported headers where they are meant to run: a Cortex-M without and with a floating-point unit under qemu, WebAssembly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.forecasters import FORECASTERS, forecaster
from tests.export.specs import classifier, everything, predictor, targets
from tidegate.export.c import Header, header
from tidegate.export.c.prove import allowed, compared
from tidegate.export.deployed import Deployed

EDGE = targets()
MOST_CODE, MOST_WASM = 4 << 10, 30 << 10
MOST_FORECAST = 10 << 10  # doubles are the compiler's own code there
SPECS = {"max": classifier("gru", 32, "max"), "everything": everything()}


def exported(name: str) -> Header:
    return header(Deployed(net=predictor(SPECS[name])), f"m_{name}")


@pytest.mark.parametrize("optimise", ["-Os", "-O3"])
@pytest.mark.parametrize("board", EDGE.BOARDS)
@pytest.mark.parametrize("name", SPECS)
def test_every_step_agrees_on_a_cortex_m(name: str, board: str, optimise: str, tmp_path: Path) -> None:
    if reason := EDGE.missing(EDGE.ARM, EDGE.QEMU):
        pytest.skip(reason)
    made = exported(name)
    assert compared(made, EDGE.cortex_m(made, tmp_path, board, "-std=c99", optimise)) <= 1e-6


@pytest.mark.parametrize("flags", [("-Os",), ("-O2", "-msimd128")], ids=["plain", "simd"])
@pytest.mark.parametrize("name", SPECS)
def test_every_step_agrees_as_web_assembly(name: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    if reason := EDGE.missing("clang", "wasm-ld", "node"):
        pytest.skip(reason)
    made = exported(name)
    assert compared(made, EDGE.wasm(made, tmp_path, "-std=c99", *flags)) <= 1e-6


@pytest.mark.parametrize("board", EDGE.BOARDS)
def test_a_gru_32_classifier_fits_a_small_device(board: str, tmp_path: Path) -> None:
    if reason := EDGE.missing(EDGE.ARM, EDGE.ARM_SIZE):
        pytest.skip(reason)
    made = exported("max")
    sizes = EDGE.cortex_m_sizes(made, tmp_path, board, "-std=c99", "-Os")
    assert 0 < sizes["text"] <= MOST_CODE
    assert made.flash <= sizes["rodata"] <= made.flash + 160  # and tables of the compiler's own functions
    assert sizes["data"] == 0
    assert made.ram <= sizes["bss"] <= made.ram + 64  # and the answer


def test_a_gru_32_classifier_is_small_web_assembly(tmp_path: Path) -> None:
    if reason := EDGE.missing("clang", "wasm-ld"):
        pytest.skip(reason)
    made = exported("max")
    assert made.flash < EDGE.wasm_size(made, tmp_path, "-std=c99", "-Os") <= MOST_WASM


@pytest.mark.parametrize("board", EDGE.BOARDS)
@pytest.mark.parametrize("name", ["running", "window"])
def test_every_golden_row_of_a_forecaster_agrees_on_a_cortex_m(name: str, board: str, tmp_path: Path) -> None:
    if reason := EDGE.missing(EDGE.ARM, EDGE.QEMU):
        pytest.skip(reason)
    made = forecaster(**FORECASTERS[name]).header()
    assert compared(made, EDGE.cortex_m(made, tmp_path, board, "-std=c99", "-Os"), allowed(made)) <= allowed(made)


@pytest.mark.parametrize("name", ["normal", "tails"])
def test_every_golden_row_of_a_forecaster_agrees_as_web_assembly(name: str, tmp_path: Path) -> None:
    if reason := EDGE.missing("clang", "wasm-ld", "node"):
        pytest.skip(reason)
    made = forecaster(**FORECASTERS[name]).header()
    assert compared(made, EDGE.wasm(made, tmp_path, "-std=c99", "-O2"), allowed(made)) <= allowed(made)
    assert made.flash < EDGE.wasm_size(made, tmp_path, "-std=c99", "-Os") <= made.flash + MOST_FORECAST


@pytest.mark.parametrize("name", ["running", "window"])
def test_a_forecaster_is_small(name: str, tmp_path: Path) -> None:
    if reason := EDGE.missing(EDGE.ARM, EDGE.ARM_SIZE):
        pytest.skip(reason)
    made = forecaster(**FORECASTERS[name]).header()
    sizes = EDGE.cortex_m_sizes(made, tmp_path, "cortex-m4", "-std=c99", "-Os")
    assert sizes["text"] <= MOST_FORECAST
    assert sizes["data"] == 0
    assert sizes["bss"] <= made.ram + 4 * sum(made.outputs.values()) + 16
    assert sizes["stack"] <= made.stack + 512
