"""The picture of an alignment: where each token of an answer looked. In: tokens and weights. Out: PNG or SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tidegate.files import write_atomic
from tidegate.report.canvas import PathLike, kind_of, new_figure, rendered, styled

INCHES, LEAST, MOST = 0.32, 3.0, 24.0  # a token, and of a side


def alignment_picture(path: PathLike, source: Sequence[str], target: Sequence[str], weights: npt.NDArray[np.float64]) -> None:
    """Draw (U, S) weights, the source's tokens above, the answer's at the left.

    Raises: OutputError for a suffix other than .png and .svg or a path that cannot be written; MissingExtra without matplotlib.
    """
    kind = kind_of(path)
    with styled():
        width, height = (min(MOST, max(LEAST, INCHES * len(side) + 1.5)) for side in (source, target))
        figure = new_figure((width, height))
        ax = figure.subplots()
        ax.imshow(weights.reshape(len(target), len(source)), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ax.set_xticks(range(len(source)), [_plain(t) for t in source], rotation=60, ha="left")
        ax.set_yticks(range(len(target)), [_plain(t) for t in target])
        ax.xaxis.tick_top()
        ax.grid(visible=False)
        write_atomic(path, rendered(figure, kind))


def _plain(token: str) -> str:
    """A token as matplotlib writes it: no mathematics between dollar signs, blanks seen."""
    return token.replace("$", r"\$").replace(" ", "␣")
