"""The panel: many series on one clock, ready for a net. In: arrays made by panel.build_panel, or read from a model file. Out:
two frozen records and nothing hidden. Decides nothing and checks nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from tidegate.data.schema import Schema


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Covariates:
    """numbers: (R, n) float32, standardised, NaN = missing; codes: (R, m) int16 into the schema's levels, -1 = missing."""

    numbers: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int16]
    number_names: tuple[str, ...]
    code_names: tuple[str, ...]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """N series of together R rows; rows of series i are offsets[i]:offsets[i+1], in time order."""

    schema: Schema
    source: str
    ids: tuple[str | int, ...]  # (N,)
    offsets: npt.NDArray[np.int64]  # (N+1,)
    starts: npt.NDArray[np.int64]  # (N,) clock position of each first row (at or before it, if uneven)
    origins: npt.NDArray[np.int64] | None  # (N,) tick of each first row, uneven only
    elapsed: npt.NDArray[np.float64] | None  # (R,) steps since the series' first row, uneven only
    target: np.ndarray  # (R, K) float64 or float32, NaN = missing
    past: Covariates  # over the R rows
    future: Covariates  # over the R rows
    static: Covariates  # over the N series
    future_rows: npt.NDArray[np.int64]  # (N,) trailing rows that are known future, not history
    notes: tuple[str, ...]  # what was done to the data, in words

    @property
    def n_series(self) -> int:
        """N."""
        return len(self.ids)

    @property
    def n_rows(self) -> int:
        """R, history and known future together."""
        return int(self.offsets[-1])

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(N,) history rows of each series."""
        return np.diff(self.offsets) - self.future_rows

    def series(self, i: int) -> np.ndarray:
        """(T, K) target rows of the history of series i, a view."""
        return self.target[self.offsets[i] : self.offsets[i + 1] - self.future_rows[i]]

    def times(self, i: int, first: int, count: int) -> np.ndarray:
        """Times of `count` rows of series i from row `first` on, also outside its rows: int64 or datetime64[ns]."""
        rows = np.arange(first, first + count)
        clock = self.schema.clock
        if self.elapsed is None or self.origins is None:
            return clock.times(self.starts[i] + rows)
        elapsed = self.elapsed[self.offsets[i] : self.offsets[i + 1]]
        last = len(elapsed) - 1
        steps = elapsed[np.clip(rows, 0, last)] + np.minimum(rows, 0) + np.maximum(rows - last, 0)
        ticks: npt.NDArray[np.int64] = self.origins[i] + np.round(steps * clock.step).astype(np.int64)
        return ticks if clock.is_integer else ticks.view("datetime64[ns]")
