"""The proof that a header gives what the net gives: compiled, run, compared. In: Header. Out: Proof, or an ExportError.

Each golden step starts from the net's own state, so that the difference is that of one step; the self-test runs them one after
the other. Where this processor and the native path have a fused multiply-add, a step is within 1e-6. Then without, with vectors
and with one number at a time, as on a small device: every product is rounded once more, and a step may differ by four times
what float32's rounding alone moves it by, where that is more. A forecaster's rows follow each other, and its norms are summed in
the order of the processor's vectors: they may differ by twice that rounding even so.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate import native
from tidegate.errors import ExportError
from tidegate.export.c.golden import relative
from tidegate.export.c.record import Header
from tidegate.export.c.text import number, rows

TOLERANCE, TIMES = 1e-6, 4.0  # a step, of max(1, |number|); the rounding of a processor without fused multiply-add
TIMES_FUSED = 2.0  # the rounding of a forecaster with it
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O2")
WAYS: tuple[tuple[str, ...], ...] = ((), ("-DTG_LANES=1",))  # of any processor
X86, FUSED = ("x86_64", "AMD64"), ("avx2", "avx512", "neon")
LIMIT_S = 300


@final
@dataclass(frozen=True)
class Proof:
    """What was proved.

    compiler: its first line of --version; None: there was none. worst: the largest difference, as a share of max(1, |number|).
    """

    compiler: str | None
    steps: int
    worst: float
    allowed: float = TOLERANCE

    def __str__(self) -> str:
        if self.compiler is None:
            return (
                f"not proved: no C compiler was found (looked for $CC, {', '.join(COMPILERS)}); call its self-test where it "
                "runs, or export it again where there is one"
            )
        return (
            f"proved: compiled by {self.compiler} and run, {self.steps} golden steps differ by {self.worst:.1e} at most "
            f"(allowed: {self.allowed:.1e} a step)"
        )


def compiler() -> list[str] | None:
    """The C compiler's command: $CC, or the first that is there."""
    given = shlex.split(os.environ.get("CC", ""))
    found = [
        [path, *rest] for name, *rest in ([given] if given else []) + [[n] for n in COMPILERS] if (path := shutil.which(name))
    ]
    return found[0] if found else None


def prove(made: Header) -> Proof:
    """Compile and run a header where there is a compiler. Raises: ExportError where it does not give what the net gives."""
    command = compiler()
    if command is None:
        return Proof(None, 0, 0.0)
    said = _run([*command, "--version"], Path.cwd(), "the C compiler").stdout.splitlines()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / f"{made.name}.h").write_text(made.text, encoding="utf-8")
        (place / "proof.c").write_text(driver(made), encoding="utf-8")
        worst = 0.0
        ways = ((WAYS[0], 0.0),) if made.whole else (*_fused(made), *((way, allowed(made)) for way in WAYS))
        for way, tolerance in ways:
            program = place / "proof"
            _run([*command, *FLAGS, *way, "proof.c", "-o", str(program)], place, "the C compiler")
            worst = max(worst, compared(made, _run([str(program)], place, "the exported header").stdout, tolerance))
    return Proof(said[0] if said else command[0], len(made.vectors.outputs), worst, allowed(made))


def allowed(made: Header) -> float:
    """What a step may differ by where products are rounded once more than in the native path."""
    return 0.0 if made.whole else max(TOLERANCE, TIMES * made.vectors.rounding)


def allowed_fused(made: Header) -> float:
    """And with fused multiply-add."""
    return max(TOLERANCE, TIMES_FUSED * made.vectors.rounding) if made.vectors.at else TOLERANCE


def _fused(made: Header) -> list[tuple[tuple[str, ...], float]]:
    """The flags that let this processor do what the native path does, where that has a fused multiply-add."""
    if not native.available() or native.isa() not in FUSED:
        return []
    return [(("-march=native",) if platform.machine() in X86 else (), allowed_fused(made))]


def _run(command: Sequence[str], folder: Path, what: str) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExportError(
            f"{what} could not be run ({error}); nothing was written. Mend it, or name another one by $CC"
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[:2000]
        raise ExportError(f"{what}: expected exit status 0, got {done.returncode}; nothing was written.\n{said}")
    return done


def compared(made: Header, said: str, tolerance: float = TOLERANCE) -> float:
    """The largest difference from the golden vectors in what a driver said. Raises: ExportError beyond the tolerance."""
    wanted = expected(made)
    words = said.split()
    if not words or words[0] != "selftest" or words[1:2] != ["0"]:
        raise ExportError(f"the exported header: expected its self-test to give 0, got {said[:80]!r}; nothing was written")
    got = np.array([int(word, 16) for word in words[2:]], np.uint32).view(np.float32)
    return difference(got.reshape(wanted.shape) if got.size == wanted.size else got, wanted, tolerance)


def difference(got: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32], tolerance: float = TOLERANCE) -> float:
    """The largest |got - wanted| / max(1, |wanted|). Raises: ExportError beyond the tolerance, or where shapes differ."""
    if got.shape != wanted.shape:
        raise ExportError(f"the exported header: expected {wanted.shape} numbers, got {got.shape}; nothing was written")
    apart = relative(got, wanted)
    worst = float(apart.max(initial=0.0))
    if not worst <= tolerance:  # NaN too
        step = int(np.unravel_index(np.argmax(apart), apart.shape)[0])
        raise ExportError(
            f"the exported header: expected every step within {tolerance:.1e} of the model, step {step + 1} differs by "
            f"{worst:.1e}; nothing was written"
        )
    return worst


def expected(made: Header) -> npt.NDArray[np.float32]:
    """(T, N + S): what a driver gives for each golden step: the outputs, then the state."""
    return np.concatenate([made.vectors.outputs, made.vectors.states[1:]], axis=1)


def driver(made: Header) -> str:
    """A C program: the self-test, then every golden step from the net's own state; it prints the bits of what it got."""
    n, steps = made.name, len(made.vectors.outputs)
    states = made.vectors.states[:-1]
    into, out, start = [], [], 0
    held, said = ("(int32_t)", "(float)") if made.whole else ("", "")  # whole numbers that a float32 holds exactly
    for output, size in made.outputs.items():
        out.append(f"  for (k = 0; k < {size}; ++k) {{ to[{start} + k] = {said}answer.{output}[k]; TG_BARRIER; }}")
        start += size
    place = 0
    for field, size in made.state.items():
        at = f"{held}states[t * {states.shape[1]} + {place} + k]"
        into.append(f"  for (k = 0; k < {size}; ++k) {{ state.{field}[k] = {at}; TG_BARRIER; }}")
        out.append(f"  for (k = 0; k < {size}; ++k) {{ to[{start + place} + k] = {said}state.{field}[k]; TG_BARRIER; }}")
        place += size
    numbers = [number(v) for v in states.reshape(-1).tolist()] or ["0.0f"]
    body = "\n".join
    return (
        f'#include "{n}.h"\n'
        f"enum {{ STEPS = {steps}, NUMBERS = {start + place} }};\n"
        f"static const float states[] = {{\n{rows(numbers)}}};\n"
        f"static {n}_state state;\nstatic {n}_answer answer;\nfloat to[NUMBERS];\n"
        "int begin(void);\nint each(int t);\n"
        f"int begin(void) {{ return {n}_init(&state); }}\n"
        f"int each(int t) {{\n  int k, status;\n{body(into)}\n  status = {made.call};\n{body(out)}\n"
        "  (void)k, (void)states;\n  return status;\n}\n"
        "#ifndef NO_MAIN\n#include <stdio.h>\n#include <string.h>\nint main(void) {\n  int t, k;\n"
        f'  printf("selftest %d\\n", {n}_selftest());\n  begin();\n'
        "  for (t = 0; t < STEPS; ++t) {\n    if (each(t)) return 1;\n    for (k = 0; k < NUMBERS; ++k) {\n"
        "      uint32_t bits;\n      memcpy(&bits, to + k, sizeof bits);\n"
        '      printf("%08lx\\n", (unsigned long)bits);\n    }\n  }\n  return 0;\n}\n#else\n'
        f"int selftest(void);\nint selftest(void) {{ return {n}_selftest(); }}\n#endif\n"
    )
