"""Exported headers where they are meant to run: a Cortex-M without and with a floating-point unit under qemu, WebAssembly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.specs import classifier, everything, predictor, targets
from tidegate.export.c import Header, header
from tidegate.export.c.prove import compared
from tidegate.export.deployed import Deployed

EDGE = targets()
MOST_CODE, MOST_WASM = 4 << 10, 30 << 10
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
