"""Pictures of forecasts and of a training run. In: panels of arrays, or records of a run. Out: one PNG or SVG file."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, final

import numpy as np

from tidegate.decode.quantiles import Floats
from tidegate.errors import DataError
from tidegate.files import write_atomic
from tidegate.report.canvas import kind_of, new_figure, rendered, styled

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PathLike = str | os.PathLike[str]
Record = Mapping[str, "float | int | str"]

MOST_PANELS = 12
HORIZONS_SHOWN = 5  # history before the forecast, in horizons
_LEAST_HISTORY = 24  # rows of history at least, where the horizon is short
_LONGEST_TITLE = 60
_LONGEST_LABEL = 28

# Okabe & Ito 2008: told apart with every kind of colour blindness, and in grey.
_FORECAST, _TRUTH, _BASELINE, _VALID, _QUIET = "#0072B2", "#222222", "#D55E00", "#D55E00", "#6b6b6b"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ForecastPanel:
    """One series: its history, its forecast, and what became of it where that is known."""

    title: str
    history_time: np.ndarray  # (n,) datetime64 or numbers
    history: Floats  # (n,) NaN = a gap
    forecast_time: np.ndarray  # (F,)
    forecast: Floats  # (F,)
    bands: Mapping[float, tuple[Floats, Floats]]  # level in percent -> lo (F,), hi (F,)
    truth: Floats | None = None  # (F,)
    baseline: tuple[str, Floats] | None = None  # name, (F,)
    target: str = ""  # what is measured: the title of the value axis

    def shortened(self, horizons: int = HORIZONS_SHOWN) -> ForecastPanel:
        """The same with the last few horizons of history alone."""
        keep = max(_LEAST_HISTORY, horizons * len(self.forecast))
        return ForecastPanel(
            title=self.title,
            history_time=self.history_time[-keep:],
            history=self.history[-keep:],
            forecast_time=self.forecast_time,
            forecast=self.forecast,
            bands=self.bands,
            truth=self.truth,
            baseline=self.baseline,
            target=self.target,
        )


def band_shade(level: float) -> float:
    """How much of the forecast's colour a band has: the wider, the paler."""
    return min(0.2 + 0.6 * (1.0 - level / 100.0), 0.6)


def forecast_picture(path: PathLike, panels: Sequence[ForecastPanel], title: str | None = None) -> None:
    """Draw history, forecast, bands, truth and baseline of up to 12 series; says how many more there are.

    Raises: OutputError for a suffix other than .png and .svg or a path that cannot be written; DataError if there is no panel;
        MissingExtra without matplotlib.
    """
    kind = kind_of(path)
    if not panels:
        raise DataError(f"{os.fspath(path)}: expected at least one series to draw, got none")
    shown = [panel.shortened() for panel in panels[:MOST_PANELS]]
    columns = 1 if len(shown) == 1 else 2 if len(shown) <= 4 else 3
    rows = math.ceil(len(shown) / columns)
    with styled():
        figure = new_figure((9.5, 4.0) if columns == 1 else (4.6 * columns, 2.5 * rows + 0.9))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, panel in zip(axes, shown, strict=False):
            _draw_panel(ax, panel)
        for ax in axes[len(shown) :]:
            ax.set_visible(False)
        _legend(figure, list(axes[: len(shown)]))
        _titles(figure, title, len(panels) - len(shown))
        write_atomic(path, rendered(figure, kind))


def history_picture(path: PathLike, records: Sequence[Record]) -> None:
    """Draw a training run: losses with the best step, learning rate, gradient norm, share of clipped steps, the closing phase.

    Args:  records: each with `step` and any of `loss`, `validation`, `learning_rate`, `grad_norm`, `clipped_share` (0 ... 1);
        other keys are ignored, records without `step` are not drawn.
    Raises: OutputError as above; DataError if no record holds any of these.
    """
    kind = kind_of(path)
    curves = {key: _curve(records, key) for key in ("loss", "validation", "learning_rate", "grad_norm", "clipped_share")}
    if not any(step.size for step, _ in curves.values()):
        known = ", ".join(curves)
        raise DataError(f"{os.fspath(path)}: expected records with step and one of {known}, got {len(records)} without")
    with styled():
        figure = new_figure((9.0, 6.5))
        losses, rate, norm = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": [2, 1, 1]})
        _draw_losses(losses, curves["loss"], curves["validation"])
        _draw_line(rate, curves["learning_rate"], "learning rate", _FORECAST)
        _draw_norm(norm, curves["grad_norm"], curves["clipped_share"])
        _draw_closing((losses, rate, norm), records)
        norm.set_xlabel("step")
        figure.align_ylabels()
        write_atomic(path, rendered(figure, kind))


def _draw_panel(ax: Axes, panel: ForecastPanel) -> None:
    when, then = panel.history_time, panel.forecast_time
    cut = when[-1] if when.size else then[0]
    _draw_values(ax, when, panel.history, color=_TRUTH, linewidth=1.1, label="history")
    for level in sorted(panel.bands, reverse=True):  # each of a full colour, so that the legend's is the drawn one
        (past, lo), (_, hi) = (_joined(panel, end) for end in panel.bands[level])
        ax.fill_between(past, lo, hi, color=_mixed(_FORECAST, band_shade(level)), linewidth=0, label=f"{level:g} %")
    if panel.baseline is not None:
        name, values = panel.baseline
        _draw_values(ax, *_joined(panel, values), color=_BASELINE, linewidth=1.1, linestyle=(0, (5, 2)), label=name)
    _draw_values(ax, *_joined(panel, panel.forecast), color=_FORECAST, linewidth=1.9, label="forecast")
    if panel.truth is not None and np.isfinite(panel.truth).any():
        _draw_values(ax, *_joined(panel, panel.truth), color=_TRUTH, linewidth=1.1, linestyle=(0, (1, 1)), label="truth")
    ax.axvline(cut, color=_QUIET, linewidth=0.7, linestyle=(0, (2, 3)))
    title = panel.title
    ax.set_title(title if len(title) <= _LONGEST_TITLE else title[: _LONGEST_TITLE - 1] + "…")
    if panel.target:
        ax.set_ylabel(panel.target if len(panel.target) <= _LONGEST_LABEL else panel.target[: _LONGEST_LABEL - 1] + "…")
    ax.margins(x=0.01)
    _time_axis(ax, then)


def _joined(panel: ForecastPanel, values: Floats) -> tuple[np.ndarray, Floats]:
    """Values of the horizon from the last value of the history on, where that is known: no gap between the two."""
    if not panel.history.size or not math.isfinite(panel.history[-1]):
        return panel.forecast_time, _finite(values)
    return np.r_[panel.history_time[-1:], panel.forecast_time], np.r_[panel.history[-1:], _finite(values)]


def _mixed(color: str, share: float) -> tuple[float, float, float]:
    """A colour thinned with white."""
    from matplotlib.colors import to_rgb

    red, green, blue = (1.0 - share * (1.0 - part) for part in to_rgb(color))
    return red, green, blue


def _draw_values(ax: Axes, when: np.ndarray, values: Floats, **style: object) -> None:
    """A line with its gaps left open; a value between two gaps, which no line can show, becomes a dot."""
    y = _finite(values)
    ax.plot(when, y, **style)  # type: ignore[arg-type]  # keyword arguments of Line2D
    known = np.isfinite(y)
    alone = known & ~np.r_[False, known[:-1]] & ~np.r_[known[1:], False]
    if alone.any():
        ax.plot(when[alone], y[alone], linestyle="none", marker=".", markersize=3, color=str(style["color"]))


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.nan)


def _time_axis(ax: Axes, when: np.ndarray) -> None:
    from matplotlib.dates import AutoDateLocator, num2date
    from matplotlib.ticker import MaxNLocator

    if when.dtype.kind != "M":
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=when.dtype.kind in "iu"))
        return
    locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]  # no types there
    ax.xaxis.set_major_locator(locator)
    low, high = ax.get_xlim()
    places = [float(place) for place in locator() if low <= place <= high]
    ticks = [num2date(place) for place in places]  # type: ignore[no-untyped-call]  # no types there
    ax.set_xticks(places, _date_labels(ticks))


def _date_labels(ticks: Sequence[datetime]) -> list[str]:
    """One label a tick; what does not change from tick to tick, the year or the day, stands in a second line where it begins."""
    gap = min((b - a for a, b in itertools.pairwise(ticks)), default=timedelta(days=1))
    if gap >= timedelta(days=360):
        return [f"{t:%Y}" for t in ticks]
    fine = gap < timedelta(days=1)
    months = gap >= timedelta(days=27)
    labels, last = [], ""
    for t in ticks:
        first = f"{t:%H:%M}" if fine else f"{t:%b}" if months else f"{t:%b} {t.day}"
        second = f"{t:%b} {t.day}, {t:%Y}" if fine else f"{t:%Y}"
        labels.append(first if second == last else f"{first}\n{second}")
        last = second
    return labels


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all panels, below them: history, truth, forecast, bands from narrow to wide, baseline."""
    entries: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    order = ["history", "truth", "forecast", *sorted((e for e in entries if e.endswith(" %")), key=lambda e: float(e[:-2]))]
    names = [e for e in order if e in entries] + [e for e in entries if e not in order]
    figure.legend([entries[e] for e in names], names, loc="outside lower center", ncols=len(names))


def _titles(figure: Figure, title: str | None, left_out: int) -> None:
    note = f"{left_out:,} more series not shown" if left_out else ""
    lines = [line for line in (title or "", note) if line]
    if lines:
        figure.suptitle("  ·  ".join(lines), x=0.01, ha="left", fontsize=12 if title else 9)


def _curve(records: Sequence[Record], key: str) -> tuple[Floats, Floats]:
    """Steps and values of one key, where it is given as a number."""
    pairs = [(r["step"], r[key]) for r in records if "step" in r and key in r]
    numbers = [(float(s), float(v)) for s, v in pairs if not isinstance(s, str) and not isinstance(v, str)]
    table = np.array(numbers, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _draw_losses(ax: Axes, train: tuple[Floats, Floats], valid: tuple[Floats, Floats]) -> None:
    _draw_line(ax, train, "loss", _FORECAST, label="training")
    _draw_line(ax, valid, "loss", _VALID, label="validation")
    steps, values = valid if np.isfinite(valid[1]).any() else train
    if np.isfinite(values).any():
        best = int(np.nanargmin(_finite(values)))
        ax.axvline(steps[best], color=_QUIET, linewidth=0.7, linestyle=(0, (2, 3)))
        label = f"best: {values[best]:.4g} at step {steps[best]:,.0f}"
        ax.plot(steps[best], values[best], marker="*", markersize=11, color=_TRUTH, linestyle="none", label=label)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="best")


def _draw_line(ax: Axes, curve: tuple[Floats, Floats], name: str, color: str, label: str | None = None) -> None:
    ax.set_ylabel(name)
    steps, values = curve
    if steps.size:
        marker = "." if steps.size <= 60 else None
        ax.plot(steps, _finite(values), color=color, linewidth=1.3, marker=marker, markersize=4, label=label)


def _draw_norm(ax: Axes, norm: tuple[Floats, Floats], clipped: tuple[Floats, Floats]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    _draw_line(ax, norm, "gradient norm", _FORECAST)
    if norm[1].size and np.nanmin(norm[1]) > 0.0:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # the usual one writes mathematical text
        ax.yaxis.set_minor_formatter(NullFormatter())
    steps, share = clipped
    if steps.size:
        right = ax.twinx()
        right.grid(False)
        right.plot(steps, 100.0 * _finite(share), color=_VALID, linewidth=1.3, linestyle=(0, (4, 1.5)))
        top = float(np.nanmax(np.r_[0.0, 100.0 * _finite(share)]))
        right.set_ylim(0, min(100.0, max(5.0, 1.2 * top)) if top < 100.0 else 102.0)
        right.set_ylabel("clipped so far, %" if top else "clipped so far, %\n(no step was)", color=_VALID)


def _draw_closing(axes: Sequence[Axes], records: Sequence[Record]) -> None:
    """Shade the closing phase, the steps after the last validation, and say which weights are kept."""
    checked, _ = _curve(records, "validation")
    if not checked.size or any(r.get("member", 0) != 0 for r in records):  # the members of an ensemble each have their own
        return
    start, end = float(checked.max()), max(float(r["step"]) for r in records if "step" in r)
    if end <= start:
        axes[0].set_title("No closing phase: the model file holds the best weights.")
        return
    for ax in axes:
        ax.axvspan(start, end, color="#e6e6dd", linewidth=0, zorder=0)
    axes[0].set_title(
        f"Closing phase (shaded) from step {start:,.0f}: it goes on from the best weights and trains on the held-back rows too.\n"
        "The model file holds the weights of its end."
    )
