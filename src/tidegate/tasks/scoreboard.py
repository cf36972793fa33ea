"""A table of methods and measures, ready to be read. In: a figure for each method and measure. Out: text, HTML, who is best.

Computes no measure: see measures.py; says no opinion: see verdict.py.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from tidegate.data.table import Table
from tidegate.decode.quantiles import Floats


@final
@dataclass(frozen=True)
class Scoreboard:
    """Figures by method, then measure; NaN = not defined. Every method has every measure. larger: measures to be large."""

    figures: Mapping[str, Mapping[str, float]]
    larger: tuple[str, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in the order in which they are shown."""
        return tuple(self.figures)

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures that at least one method has."""
        first = next(iter(self.figures.values()), {})
        return tuple(m for m in first if any(math.isfinite(row[m]) for row in self.figures.values()))

    def best(self, measure: str) -> tuple[str, ...]:
        """The methods with the best figure.

        None for coverage, where chance may put anyone nearest: MSIS ranks intervals.
        """
        if measure.startswith("coverage-"):
            return ()
        known = [row[measure] for row in self.figures.values() if math.isfinite(row[measure])]
        best = (max if measure in self.larger else min)(known, default=math.nan)
        return tuple(method for method, row in self.figures.items() if row[measure] == best)

    def table(self) -> Table:
        """One row a method."""
        columns: dict[str, np.ndarray] = {"method": np.array(self.methods, dtype=object)}
        columns.update({m: np.array([row[m] for row in self.figures.values()], dtype=np.float64) for m in self.measures})
        return Table(columns=columns)

    def text(self) -> str:
        """Aligned columns; the best figure of each measure carries a star."""
        rows = [["method", *self.measures], *([method, *self._cells(method)] for method in self.methods)]
        widths = [max(len(row[j]) for row in rows) for j in range(len(rows[0]))]
        return "\n".join(_line(row, widths) for row in rows)

    def html(self) -> str:
        """The same as an HTML table, the best figure of each measure in bold."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("method", *self.measures))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(map(self._row, self.methods))}</tbody></table>"

    def _row(self, method: str) -> str:
        cells = []
        for measure in self.measures:
            value = show(self.figures[method][measure], zeros=True)
            cells.append(f"<td><b>{value}</b></td>" if method in self.best(measure) else f"<td>{value}</td>")
        return f"<tr><th>{html.escape(method)}</th>{''.join(cells)}</tr>"

    def _cells(self, method: str) -> list[str]:
        return [show(self.figures[method][m], zeros=True) + ("*" if method in self.best(m) else " ") for m in self.measures]


def show(value: float, zeros: bool = False) -> str:
    """Four digits, never an exponent for everyday sizes: 0.7812, 13.91, 12,345; a dash for what is not defined.

    Args:  zeros: keep the zeros at the end, as the columns of a table do: 0.7800.
    """
    if not math.isfinite(value):
        return "–"
    if value == 0.0 or 1e-4 <= abs(value) < 1e4:
        return f"{value:#.4g}".rstrip(".") if zeros else f"{value:.4g}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.3e}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def means(values: Floats, group: np.ndarray, groups: int) -> Floats:
    """The mean of the defined values of each group; NaN where a group has none."""
    known = np.isfinite(values)
    sums = np.bincount(group[known], weights=values[known], minlength=groups)
    counts = np.bincount(group[known], minlength=groups)
    return np.asarray(np.divide(sums, counts, out=np.full(groups, np.nan), where=counts > 0))


def ratios(part: Floats, whole: Floats, group: np.ndarray, groups: int) -> Floats:
    """The sum of one over the sum of the other, in each group, where both are defined; NaN for 0 / 0."""
    known = np.isfinite(part) & np.isfinite(whole)
    above = np.bincount(group[known], weights=part[known], minlength=groups)
    below = np.bincount(group[known], weights=whole[known], minlength=groups)
    return np.asarray(np.divide(above, below, out=np.full(groups, np.nan), where=below > 0))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (cell.ljust(w) if j == 0 else cell.rjust(w) for j, (cell, w) in enumerate(zip(cells, widths, strict=True)))
    return "  ".join([first, *rest]).rstrip()
