"""The picture of `tidegate demo text`: which net answers which kind of question. In: shares. Out: PNG or SVG."""

from __future__ import annotations

import textwrap

import numpy as np

from tidegate.files import write_atomic
from tidegate.report.canvas import PathLike, kind_of, new_figure, rendered, styled
from tidegate.tasks.claims import METHODS, Figures

_GREY = "#f0f0f0"


def shares_picture(path: PathLike, figures: Figures, titles: dict[str, str]) -> None:
    """Draw a row a piece and a column a method, with the share of right answers. titles: of the pieces.

    Raises: OutputError for a suffix other than .png and .svg or a path that cannot be written; MissingExtra without matplotlib.
    """
    kind = kind_of(path)
    methods = [name for name in METHODS if any(name in row for row in figures.values())]
    table = np.array([[row[m].mean if m in row else np.nan for m in methods] for row in figures.values()])
    with styled():
        figure = new_figure((3.6 + 0.78 * len(methods), 1.0 + 0.4 * len(figures)))
        ax = figure.subplots()
        ax.set_facecolor(_GREY)  # not measured
        ax.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ax.set_xticks(range(len(methods)), [textwrap.fill(name, 9) for name in methods])
        ax.set_yticks(range(len(figures)), [titles[name] for name in figures])
        ax.tick_params(length=0)
        ax.xaxis.tick_top()
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        for row, measured in enumerate(figures.values()):
            for column, name in enumerate(methods):
                if name in measured:
                    colour = "white" if table[row, column] > 0.5 else "#222222"
                    ax.text(
                        column, row, str(measured[name]).replace(" (", "\n("), ha="center", va="center", color=colour, fontsize=8
                    )
        figure.suptitle("Right answers (lowest and highest seed)", x=0.01, ha="left", fontsize=10)
        write_atomic(path, rendered(figure, kind))
