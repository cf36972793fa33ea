"""Exported headers on other machines: Arm Cortex-M under qemu, WebAssembly under Node, any compiler here. In: Header. Out: what
the driver printed, and sizes from the linker.

Cycles are not measured: an emulator's are not a board's.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tidegate.export.c import Header
from tidegate.export.c.prove import driver, expected

HERE = Path(__file__).resolve().parent
WARNINGS = (
    *("-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"),
    *("-Wsign-conversion", "-Wshadow", "-Wdouble-promotion", "-Wcast-qual"),
)
ARM, QEMU, ARM_SIZE = "arm-none-eabi-gcc", "qemu-system-arm", "arm-none-eabi-size"
LIMIT_S = 120


class Board(NamedTuple):
    """A Cortex-M and the machine of qemu that has one; none: it is linked, not run."""

    flags: tuple[str, ...]
    machine: str


BOARDS = {
    "cortex-m0": Board(("-mcpu=cortex-m0",), "mps2-an385"),  # a board with a Cortex-M3, which runs a Cortex-M0's instructions too
    "cortex-m3": Board(("-mcpu=cortex-m3",), "mps2-an385"),
    "cortex-m4": Board(("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"), "mps2-an386"),
}


def missing(*tools: str) -> str | None:
    """Which of the tools are not installed, in words; None: all are."""
    absent = [tool for tool in tools if shutil.which(tool) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def host(made: Header, folder: Path, compiler: str, *flags: str) -> str:
    """Compiled here and run."""
    _sources(made, folder, "cpp" if "++" in compiler else "c")
    source = "driver.cpp" if "++" in compiler else "driver.c"
    _run([compiler, *flags, *WARNINGS, source, "-o", "driver"], folder)
    return _run(["./driver"], folder)


def cortex_m(made: Header, folder: Path, board: str, *flags: str) -> str:
    """Compiled for a Cortex-M and run under qemu, printing through semihosting."""
    _sources(made, folder, "c")
    own = BOARDS[board]
    link = ("--specs=rdimon.specs", "-nostartfiles", "-T", str(HERE / "cortex_m.ld"))
    _run([ARM, *own.flags, "-mthumb", *flags, *WARNINGS, *link, str(HERE / "start.c"), "driver.c", "-o", "driver.elf"], folder)
    semihosting = ("-nographic", "-semihosting-config", "enable=on,target=native")
    return _run([QEMU, "-M", own.machine, *semihosting, "-kernel", "driver.elf"], folder)


def wasm(made: Header, folder: Path, *flags: str) -> str:
    """Compiled to WebAssembly and run under Node."""
    _sources(made, folder, "c")
    _wasm("driver.c", "driver.wasm", folder, ("begin", "each", "selftest", "to"), "-DNO_MAIN", *WARNINGS, *flags)
    shape = expected(made).shape
    return _run(["node", str(HERE / "wasm.js"), "driver.wasm", *map(str, shape)], folder)


def _wasm(source: str, target: str, folder: Path, exports: Sequence[str], *flags: str) -> None:
    link = ("-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all", *(f"-Wl,--export={name}" for name in exports))
    _run(["clang", "--target=wasm32", *flags, *link, source, "-o", target], folder)


def cortex_m_sizes(made: Header, folder: Path, board: str, *flags: str) -> dict[str, int]:
    """Bytes of a linked program that steps: code with the compiler's own functions for numbers, constants, data, all frames."""
    _use(made, folder)
    own = BOARDS[board]
    link = ("-nostdlib", "-Wl,--gc-sections", "-Wl,-e,program", "-lgcc")
    built = ("-ffunction-sections", "-fdata-sections", "-fstack-usage", "use.c", "-o", "use.elf")
    _run([ARM, *own.flags, "-mthumb", *flags, *WARNINGS, *built, *link], folder)
    said = _run([ARM_SIZE, "-A", "use.elf"], folder)
    rows = (line.split() for line in said.splitlines() if line.startswith("."))
    sizes = {name: int(size) for name, size, *_ in rows}
    frames = [int(line.split("\t")[1]) for path in folder.glob("*.su") for line in path.read_text(encoding="utf-8").splitlines()]
    return {name.strip("."): sizes.get(name, 0) for name in (".text", ".rodata", ".data", ".bss")} | {"stack": sum(frames)}


def wasm_size(made: Header, folder: Path, *flags: str) -> int:
    """Bytes of a WebAssembly module that holds init and step, weights included."""
    _use(made, folder)
    _wasm("use.c", "use.wasm", folder, ("program",), *flags)
    return (folder / "use.wasm").stat().st_size


def _use(made: Header, folder: Path) -> None:
    """The smallest program: begin at the first call, then one step a call."""
    n = made.name
    (folder / f"{n}.h").write_text(made.text, encoding="utf-8")
    given = "int32_t code" if made.vectors.inputs.ndim == 1 else "const float *x"
    (folder / "use.c").write_text(
        f'#include "{n}.h"\n{n}_state state;\n{n}_answer answer;\nint program(int begin, {given});\n'
        f"int program(int begin, {given}) {{\n  if (begin) return {n}_init(&state);\n"
        f"  return {n}_step(&state, {given.rpartition(' ')[2].strip('*')}, &answer);\n}}\n",
        encoding="utf-8",
    )


def _sources(made: Header, folder: Path, suffix: str) -> None:
    (folder / f"{made.name}.h").write_text(made.text, encoding="utf-8")
    (folder / f"driver.{suffix}").write_text(driver(made), encoding="utf-8")


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr[:2000]}{done.stdout[:500]}")
    return done.stdout
