"""Numbers, texts and arrays as C writes them. In: NumPy arrays and strings. Out: lines of C99 that C++17 reads alike."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from tidegate.errors import TaskError, shown

WIDTH = 128  # letters of a line
LONGEST = 4095  # bytes of a string that every compiler of C99 takes


def number(value: float) -> str:
    """A float32 constant with the fewest digits that give its bits again."""
    text = np.format_float_scientific(np.float32(value), unique=True, trim="0", exp_digits=1)
    plain = np.format_float_positional(np.float32(value), unique=True, trim="0")
    return (plain if len(plain) <= len(text) else text) + "f"


def string(text: str) -> str:
    """A string constant of UTF-8; bytes beyond plain ASCII are three octal digits, after which any digit may follow."""
    plain = {34: '\\"', 92: "\\\\", 63: "\\077"}  # a question mark may begin a trigraph
    letters = (plain.get(b) or (chr(b) if 32 <= b < 127 else f"\\{b:03o}") for b in text.encode())
    return '"' + "".join(letters) + '"'


def rows(parts: Sequence[str]) -> str:
    """Items with commas between them, broken into lines."""
    lines, line = [], ""
    for part in parts:
        if line and len(line) + len(part) + 2 > WIDTH - 2:
            lines.append(line)
            line = ""
        line += ("" if not line else " ") + part + ","
    return "\n".join(f"  {text}" for text in [*lines, line.rstrip(",")] if text)


def floats(name: str, values: npt.NDArray[np.floating]) -> str:
    """`static const float name[]`, in the array's order, with room for a vector's last lanes behind it."""
    flat = [number(v) for v in np.asarray(values, np.float32).reshape(-1).tolist()]
    return f"static const float {name}[{len(flat)} + TG_OVER] TG_ALIGNED TG_UNUSED = {{\n{rows(flat)}}};\n"


def doubles(name: str, values: npt.NDArray[np.floating]) -> str:
    """`static const double name[]`, in the array's order."""
    flat = [repr(float(v)) for v in np.asarray(values, np.float64).reshape(-1)]
    return f"static const double {name}[{len(flat)}] TG_UNUSED = {{\n{rows(flat)}}};\n"


def whole(kind: str, name: str, values: Sequence[int]) -> str:
    """`static const kind name[]` of whole numbers."""
    return f"static const {kind} {name}[{len(values)}] TG_UNUSED = {{\n{rows([str(v) for v in values])}}};\n"


def strings(name: str, texts: Sequence[str]) -> str:
    """`static const char *const name[]`. Raises: TaskError for a text that no string of C99 holds."""
    for text in texts:
        if "\0" in text or len(text.encode()) > LONGEST:
            raise TaskError(
                f"{shown(text)}: a name in a header is of at most {LONGEST:,} bytes, without "
                "U+0000; rename it in the data and train again"
            )
    return f"static const char *const {name}[{len(texts)}] TG_UNUSED = {{\n{rows([string(t) for t in texts])}}};\n"


def further(name: str) -> str:
    """One more file of C that stands behind the shared one."""
    return files("tidegate.export.c").joinpath(name).read_text(encoding="utf-8")


def shared() -> str:
    """The C that every header shares: run.h with cell.h in the place where it is included."""
    folder = files("tidegate.export.c")
    run, cell = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("run.h", "cell.h"))
    return run.replace('#include "cell.h"\n', cell)
