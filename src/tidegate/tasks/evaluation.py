"""The honest evaluation of forecasts. In: windows with their truths, and forecasts of any methods. Out: tables and a verdict.

The naive methods are always computed here, from the histories, and stand in the same tables. Makes no forecast of a network and
draws no picture.
"""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from tidegate.config import Plain
from tidegate.data.columns import Columns, Encoded, Stored, encode
from tidegate.data.table import Table
from tidegate.decode.quantiles import Floats, at_levels, checked_levels, level_ends
from tidegate.dims import check_shape
from tidegate.errors import ConfigError, DataError
from tidegate.files import output_error, write_atomic
from tidegate.tasks import measures
from tidegate.tasks.baselines import Baseline, drift, naive, naive2, seasonal_naive
from tidegate.tasks.measures import DECILES
from tidegate.tasks.scoreboard import Scoreboard, means, ratios
from tidegate.tasks.verdict import headline, verdict

MEASURE_ORDER = ("MSE", "MAE", "sMAPE", "MASE", "OWA", "ND", "wQL", "MSIS", "coverage")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """W windows of an evaluation: series x target x cutoff."""

    ids: tuple[str | int, ...]  # (W,)
    targets: tuple[str, ...]  # (W,)
    cutoffs: np.ndarray  # (W,) time stamp of the last history row: datetime64 or integer
    times: np.ndarray  # (W, F) time stamps of the steps
    truth: Floats  # (W, F) NaN = unknown
    histories: Sequence[Floats]  # (W) 1-D, up to the cutoff; cuts of one array where one series has several windows
    season: int  # steps, 1 = none

    def __post_init__(self) -> None:
        check_shape("truth", self.truth, "W F")
        count, horizon = self.truth.shape
        check_shape("times", self.times, "W F", W=count, F=horizon)
        check_shape("cutoffs", self.cutoffs, "W", W=count)
        for name, values in (("ids", self.ids), ("targets", self.targets), ("histories", self.histories)):
            if len(values) != count:
                raise DataError(f"windows: expected {count:,} {name}, one for each row of truth, got {len(values):,}")
        if count == 0 or horizon == 0:
            raise DataError(f"windows: expected at least one window of one step, got {self.truth.shape}: the data is too short")
        if self.season < 1:
            raise ConfigError(f"season: expected a whole number of at least 1, got {self.season}")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Forecasts:
    """What one method says about every window."""

    point: Floats  # (W, F)
    lo: Mapping[float, Floats]  # level in percent -> (W, F)
    hi: Mapping[float, Floats]
    quantiles: Floats | None = None  # (W, F, Q)
    probabilities: tuple[float, ...] | None = None  # (Q,)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Tables and a verdict.

    A figure of `table` is the mean over the series of each one's mean over its windows (as in M4); ND and wQL are ratios of sums
    over everything (as in GluonTS); OWA compares the means of sMAPE and MASE with those of M4's Naive2.
    """

    table: Table  # one row a method
    per_series: Table  # one row a series and method
    forecasts: Table  # one row a window and step
    verdict: tuple[str, ...]  # sentences
    board: Scoreboard
    main: str | None  # the method that is judged
    naive: tuple[str, ...]  # the naive methods
    series: int
    windows: int
    horizon: int

    @property
    def averages(self) -> str:
        """How the figures of the table were averaged."""
        if self.series == self.windows:
            how = f"means over {self.series:,} series"
        else:
            how = f"means over {self.series:,} series of each one's mean over its windows ({self.windows:,} in all)"
        return f"Figures are {how}, {self.horizon:,} steps each; ND and wQL are ratios of sums; * = best."

    def __str__(self) -> str:
        return "\n".join([self.board.text(), self.averages, "", *self.verdict])

    def _repr_html_(self) -> str:
        sentences = "".join(f"<li>{html.escape(s)}</li>" for s in self.verdict)
        return f"{self.board.html()}<p>{html.escape(self.averages)}</p><ul>{sentences}</ul>"

    def to_json(self) -> dict[str, Plain]:
        """The table and the verdict as plain values; what is not defined is null."""
        rows: list[Plain] = []
        for method in self.board.methods:
            row: dict[str, Plain] = {"method": method}
            row.update({m: _number(self.board.figures[method][m]) for m in self.board.measures})
            rows.append(row)
        head: dict[str, Plain] = {"series": self.series, "windows": self.windows, "horizon": self.horizon}
        return {**head, "averages": self.averages, "table": rows, "verdict": list(self.verdict)}

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write forecasts.csv, per_series.csv and table.json into a folder, made if it is not there.

        Raises: OutputError if a file cannot be written.
        """
        target = Path(folder)
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(target, error) from error
        self.forecasts.write_csv(target / "forecasts.csv")
        self.per_series.write_csv(target / "per_series.csv")
        write_atomic(target / "table.json", json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def baseline_forecasts(
    windows: Windows, levels: Sequence[float], probabilities: Sequence[float] = DECILES
) -> dict[str, Forecasts]:
    """Naive, seasonal naive (where there is a season) and drift, with Gaussian intervals from their in-sample residuals."""
    return dict(_baselines(windows, checked_levels(levels), tuple(probabilities)))


def evaluate(windows: Windows, methods: Mapping[str, Forecasts]) -> Evaluation:
    """Score methods on the same windows, the naive ones always among them; the first of `methods` is the one to be judged.

    Raises: ShapeError or ConfigError for forecasts that do not fit the windows, or a method that takes the name of a naive one.
    """
    levels = _checked(windows, methods)
    probabilities = DECILES if any(f.quantiles is not None for f in methods.values()) else ()
    series = _Series.of(windows)
    scale = measures.mase_scale(windows.histories, windows.season)
    scored = {name: _score(windows, f, scale, levels) for name, f in methods.items()}
    points = {name: f.point for name, f in methods.items()}
    for name, forecasts in _baselines(windows, levels, probabilities):  # one at a time: their quantiles are large
        scored[name], points[name] = _score(windows, forecasts, scale, levels), forecasts.point
    totals = {name: series.totals(score) for name, score in scored.items()}
    base = _naive2_totals(windows, scale, series)
    board = Scoreboard({name: _with_owa(row, base) for name, row in totals.items()})
    by_series = {name: series.figures(score) for name, score in scored.items()}
    main = next(iter(methods), None)
    leading = headline(board, main)
    naive_names = [name for name in scored if name not in methods]
    leads = {name: figures[leading] for name, figures in by_series.items()}
    said = verdict(board, main, naive_names, leads, _separate(windows, series))
    return Evaluation(
        table=board.table(),
        per_series=_per_series(series, by_series),
        forecasts=_forecast_table(windows, methods, points),
        verdict=(*said, *_missing(windows, points)),
        board=board,
        main=main,
        naive=tuple(naive_names),
        series=len(series.ids),
        windows=windows.truth.shape[0],
        horizon=windows.truth.shape[1],
    )


@dataclass(frozen=True)
class _Score:
    """One method's figures by window: means, and for each ratio of sums its two parts."""

    means: Mapping[str, Floats]  # measure -> (W,)
    sums: Mapping[str, tuple[Floats, Floats]]  # measure -> part (W,), whole (W,)


@dataclass(frozen=True)
class _Series:
    """Which window belongs to which series."""

    ids: tuple[str | int, ...]  # (S,)
    targets: tuple[str, ...]  # (S,)
    code: np.ndarray  # (W,)

    @classmethod
    def of(cls, windows: Windows) -> _Series:
        place: dict[tuple[str | int, str], int] = {}
        code = [place.setdefault(key, len(place)) for key in zip(windows.ids, windows.targets, strict=True)]
        return cls(tuple(k[0] for k in place), tuple(k[1] for k in place), np.array(code, dtype=np.intp))

    def figures(self, score: _Score) -> dict[str, Floats]:
        """Each measure by series: (S,)."""
        count = len(self.ids)
        figures = {name: means(values, self.code, count) for name, values in score.means.items()}
        figures.update({name: ratios(part, whole, self.code, count) for name, (part, whole) in score.sums.items()})
        return {name: figures[name] for name in sorted(figures, key=_place)}

    def totals(self, score: _Score) -> dict[str, float]:
        """Each measure over everything."""
        one = np.zeros(len(self.ids), dtype=np.intp)
        every = np.zeros(self.code.size, dtype=np.intp)
        figures = {n: float(means(means(v, self.code, len(self.ids)), one, 1)[0]) for n, v in score.means.items()}
        figures.update({n: float(ratios(part, whole, every, 1)[0]) for n, (part, whole) in score.sums.items()})
        return {name: figures[name] for name in sorted(figures, key=_place)}


def _place(measure: str) -> int:
    """Where a measure stands in the tables; the levels of coverage keep their order."""
    return MEASURE_ORDER.index(measure.split("-")[0])


def _separate(windows: Windows, series: _Series) -> int:
    """How many windows that share no step the known truths would fill: a step that two windows forecast counts once."""
    stamps, place = np.unique(windows.times, return_inverse=True)
    cells = series.code[:, None] * stamps.size + place.reshape(windows.times.shape)
    known = len(np.unique(cells[np.isfinite(windows.truth)]))
    return math.ceil(known / int(windows.truth.shape[1]))


def _score(windows: Windows, forecasts: Forecasts, scale: Floats, levels: Sequence[float]) -> _Score:
    truth, point = windows.truth, forecasts.point
    absolute = measures.absolute_sums(truth)
    by_window = {"MSE": measures.mse(truth, point), "MAE": measures.mae(truth, point), "sMAPE": measures.smape(truth, point)}
    by_window["MASE"] = measures.mase(truth, point, scale)
    known = (~np.isnan(truth)).sum(axis=1)
    sums = {"ND": (by_window["MAE"] * known, absolute), "wQL": (_quantile_losses(truth, forecasts), absolute)}
    return _Score({**by_window, **_interval_figures(truth, forecasts, scale, levels)}, sums)


def _interval_figures(truth: Floats, forecasts: Forecasts, scale: Floats, levels: Sequence[float]) -> dict[str, Floats]:
    """MSIS of the widest level and the coverage of each; NaN for a level that the method does not give."""
    nothing = np.full(truth.shape[0], np.nan)
    names = [f"MSIS-{level:g}" for level in levels[-1:]] + [f"coverage-{level:g}" for level in levels]
    figures = dict.fromkeys(names, nothing)
    for level in (level for level in levels if level in forecasts.lo):
        lo, hi = forecasts.lo[level], forecasts.hi[level]
        if level == levels[-1]:
            figures[f"MSIS-{level:g}"] = measures.msis(truth, lo, hi, scale, level)
        figures[f"coverage-{level:g}"] = measures.coverage(truth, lo, hi)
    return figures


def _quantile_losses(truth: Floats, forecasts: Forecasts) -> Floats:
    """Twice the mean pinball loss over .1 ... .9, summed over the steps of each window."""
    if forecasts.quantiles is None or forecasts.probabilities is None:
        return np.full(truth.shape[0], np.nan)
    q = forecasts.quantiles
    if forecasts.probabilities != DECILES:
        q = at_levels(q, forecasts.probabilities, DECILES)
    return np.asarray(2.0 * measures.pinball_sums(truth, q, DECILES) / len(DECILES))


def _naive2_totals(windows: Windows, scale: Floats, series: _Series) -> dict[str, float]:
    point = naive2(windows.histories, windows.truth.shape[1], windows.season)
    return series.totals(_score(windows, Forecasts(point=point, lo={}, hi={}), scale, ()))


def _with_owa(row: Mapping[str, float], base: Mapping[str, float]) -> dict[str, float]:
    """The row with OWA after MASE."""
    owa = measures.owa(row["sMAPE"], row["MASE"], base["sMAPE"], base["MASE"])
    figures: dict[str, float] = {}
    for name, value in row.items():
        figures[name] = value
        if name == "MASE":
            figures["OWA"] = owa
    return figures


def _baselines(windows: Windows, levels: Sequence[float], probabilities: tuple[float, ...]) -> Iterator[tuple[str, Forecasts]]:
    horizon = windows.truth.shape[1]
    yield "naive", _as_forecasts(naive(windows.histories, horizon), levels, probabilities)
    if windows.season > 1:
        yield "seasonal naive", _as_forecasts(seasonal_naive(windows.histories, horizon, windows.season), levels, probabilities)
    yield "drift", _as_forecasts(drift(windows.histories, horizon), levels, probabilities)


def _as_forecasts(baseline: Baseline, levels: Sequence[float], probabilities: tuple[float, ...]) -> Forecasts:
    quantiles = np.stack([baseline.quantile(p) for p in probabilities], axis=-1) if probabilities else None
    return Forecasts(
        point=baseline.point,
        lo={level: baseline.quantile(level_ends(level)[0]) for level in levels},
        hi={level: baseline.quantile(level_ends(level)[1]) for level in levels},
        quantiles=quantiles,
        probabilities=probabilities or None,
    )


def _checked(windows: Windows, methods: Mapping[str, Forecasts]) -> tuple[float, ...]:
    """The rising levels of all methods, after the check that every array fits the windows."""
    count, horizon = windows.truth.shape
    for name, f in methods.items():
        if name in ("naive", "seasonal naive", "drift"):
            raise ConfigError(f"methods: {name!r} is the name of a method that always stands in the table: choose another name")
        if set(f.lo) != set(f.hi):
            raise ConfigError(f"{name}: expected the same levels in lo and hi, got {sorted(f.lo)} and {sorted(f.hi)}")
        if (f.quantiles is None) != (f.probabilities is None):
            raise ConfigError(f"{name}: expected quantiles together with their probabilities, got one without the other")
        parts = {"point": f.point, **{f"lo-{k:g}": v for k, v in f.lo.items()}, **{f"hi-{k:g}": v for k, v in f.hi.items()}}
        for part, values in parts.items():
            check_shape(f"{name} {part}", values, "W F", W=count, F=horizon)
        if f.quantiles is not None and f.probabilities is not None:
            check_shape(f"{name} quantiles", f.quantiles, "W F Q", W=count, F=horizon, Q=len(f.probabilities))
    return checked_levels(sorted({level for f in methods.values() for level in f.lo}))


def _per_series(series: _Series, by_series: Mapping[str, Mapping[str, Floats]]) -> Table:
    """One row a series and method, the methods of a series beside each other."""
    methods = list(by_series)
    columns = _id_columns(series.ids, series.targets, len(methods))
    columns["method"] = Encoded(np.tile(np.arange(len(methods), dtype=np.int32), len(series.ids)), tuple(methods))
    windows = np.bincount(series.code, minlength=len(series.ids))
    columns["windows"] = np.repeat(windows.astype(np.int64), len(methods))
    for measure in by_series[methods[0]]:
        values = np.stack([by_series[method][measure] for method in methods], axis=1).ravel()
        if np.isfinite(values).any():
            columns[measure] = values
    return Table(Columns(columns))


def _forecast_table(windows: Windows, methods: Mapping[str, Forecasts], points: Mapping[str, Floats]) -> Table:
    """Every step of every window: the judged method as `forecast` with its levels, the others by their names."""
    horizon = windows.truth.shape[1]
    columns = _id_columns(windows.ids, windows.targets, horizon)
    columns["time"] = windows.times.reshape(-1)
    columns["cutoff"] = np.repeat(windows.cutoffs, horizon)
    columns["truth"] = windows.truth.reshape(-1)
    for place, (name, point) in enumerate(points.items()):
        main = place == 0 and name in methods
        title = "forecast" if main else name
        columns[title] = point.reshape(-1)
        for level in sorted(methods[name].lo) if name in methods else ():
            columns[f"{title}-lo-{level:g}"] = methods[name].lo[level].reshape(-1)
            columns[f"{title}-hi-{level:g}"] = methods[name].hi[level].reshape(-1)
    return Table(Columns(columns))


def _id_columns(ids: Sequence[str | int], targets: Sequence[str], times: int) -> dict[str, Stored]:
    """The columns id and, where there are several, target, each value repeated."""
    whole = [i for i in ids if isinstance(i, int)]
    columns: dict[str, Stored] = {}
    columns["id"] = (
        np.repeat(np.array(whole, dtype=np.int64), times) if len(whole) == len(ids) else _repeated(map(str, ids), times)
    )
    if len(set(targets)) > 1:
        columns["target"] = _repeated(targets, times)
    return columns


def _repeated(texts: Iterable[str], times: int) -> Encoded:
    """Each text `times` times in a row, kept as codes."""
    once = encode(texts)
    return Encoded(np.repeat(once.codes, times), once.levels)


def _missing(windows: Windows, points: Mapping[str, Floats]) -> list[str]:
    """A sentence for each method that has no forecast where the truth is known."""
    known = np.isfinite(windows.truth)
    sentences = []
    for name, point in points.items():
        lacking = int(np.any(known & ~np.isfinite(point), axis=1).sum())
        if lacking:
            of = f"{lacking:,} of {known.shape[0]:,} windows"
            sentences.append(f"{name} has no complete forecast for {of}: these are left out of its figures.")
    return sentences


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
