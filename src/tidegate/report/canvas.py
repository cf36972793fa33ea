"""The canvas of every picture: a style of its own, a figure, its bytes. In: a size. Out: PNG or SVG.

Needs matplotlib, imported where it is used; draws on its own canvas, so that no window and no global style is touched.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.errors import OutputError, missing_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PathLike = str | os.PathLike[str]

STYLE: dict[str, object] = {
    "text.parse_math": False,  # an id such as "$x$" is text
    "svg.hashsalt": "tidegate",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
}


def kind_of(path: PathLike) -> str:
    """png or svg, by the name. Raises: OutputError."""
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".svg"):
        got = repr(suffix) if suffix else "no suffix"
        raise OutputError(
            f"{os.fspath(path)}: expected a picture named .png or .svg, got {got}: rename it, or use --html for a page"
        )
    return suffix[1:]


@contextmanager
def styled() -> Iterator[None]:
    """Draw in our style, whatever the program around us has set. Raises: MissingExtra without matplotlib."""
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise missing_extra("drawing a picture", "plots") from error
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type]  # its stub wants each key as a literal
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # an id in a script without a font here is drawn as boxes
        yield


def new_figure(size: tuple[float, float]) -> Figure:
    """An empty figure, inches wide and high."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def rendered(figure: Figure, kind: str) -> bytes:
    """The file."""
    stream = io.BytesIO()
    metadata = {"Software": None} if kind == "png" else {"Date": None}  # the same picture is the same bytes
    figure.savefig(stream, format=kind, dpi=150, metadata=metadata)
    return stream.getvalue()
