"""The picture of a classifier: what it takes for what, and how far its odds can be trusted. In: scores. Out: PNG or SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.files import write_atomic
from tidegate.report.canvas import PathLike, kind_of, new_figure, rendered, styled
from tidegate.tasks.label_scores import BINS, LabelEvaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 30  # beyond, only the commonest
MOST_WRITTEN = 12  # beyond, the cells have no numbers
_BLUE, _GREY = "#0072B2", "#999999"


def label_picture(path: PathLike, found: LabelEvaluation) -> None:
    """Draw the confusion table (rows the truth, in shares) beside the calibration curve.

    Raises: OutputError for a suffix other than .png and .svg or a path that cannot be written; MissingExtra without matplotlib.
    """
    kind = kind_of(path)
    with styled():
        figure = new_figure((10.5, 5.0))
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        _confusion(left, found)
        _calibration(right, found)
        write_atomic(path, rendered(figure, kind))


def _confusion(ax: Axes, found: LabelEvaluation) -> None:
    kept = np.sort(np.argsort(-found.confusion.sum(1), kind="stable")[:MOST_CLASSES])
    table, names = found.confusion[np.ix_(kept, kept)], [found.classes[k] for k in kept]
    shares = table / np.maximum(found.confusion.sum(1)[kept, None], 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(names)), names, rotation=45 if len(names) > 4 else 0, ha="right" if len(names) > 4 else "center")
    ax.set_yticks(range(len(names)), names)
    ax.grid(visible=False)
    if len(names) <= MOST_WRITTEN:
        for (row, column), count in np.ndenumerate(table):
            colour = "white" if shares[row, column] > 0.5 else "#222222"
            ax.text(column, row, f"{count:,}", ha="center", va="center", color=colour)
    more = "" if len(kept) == len(found.classes) else f" (the {len(kept)} commonest of {len(found.classes)} classes)"
    ax.set_title(f"What is taken for what{more}: {100 * found.accuracy:.1f} % right")
    ax.set_xlabel("answer")
    ax.set_ylabel("truth")


def _calibration(ax: Axes, found: LabelEvaluation) -> None:
    sure, right, count = found.calibration
    seen = count > 0
    ax.plot([0, 1], [0, 1], color=_GREY, linewidth=1, label="honest")
    ax.scatter(sure[seen], right[seen], s=20 + 300 * count[seen] / count.sum(), color=_BLUE, alpha=0.8, label="this net")
    ax.set_xlim(0, 1.02)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel(f"how sure the net was ({BINS} bins, the larger the more texts)")
    ax.set_ylabel("how often it was right")
    ax.set_title(f"Calibration: off by {found.figures['ECE']:.3f} on average")
    ax.legend(loc="upper left", scatterpoints=1, markerscale=0.5)
