"""The forecast page. In: panels, an evaluation, notes and the model's card. Out: one HTML file that needs no network.

The chart is plain JavaScript over inline SVG (page.js, page.css); this file writes the words and the data. What comes
from the user's data reaches the page as escaped text, or as JSON in which no character can end the script element.
"""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files

import numpy as np

from tidegate.config import Plain
from tidegate.decode.quantiles import Floats
from tidegate.files import write_atomic
from tidegate.report.picture import ForecastPanel, band_shade
from tidegate.tasks.evaluation import Evaluation
from tidegate.tasks.scoreboard import show
from tidegate.tasks.verdict import headline

_HORIZONS_KEPT = 10  # history in the file, in horizons: enough to look around in, small enough for 1,000 series
_FINAL_FIT = "the data, and the held-back rows of the final fit (they chose the stopping point and the intervals' factors)"
_MS = np.timedelta64(1, "ms")

# The browser itself refuses to fetch anything, whatever an id may contain.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def forecast_page(
    path: str | os.PathLike[str],
    title: str,
    panels: Sequence[ForecastPanel],
    evaluation: Evaluation | None = None,
    notes: Sequence[str] | Mapping[str, Sequence[str]] = (),
    card: Mapping[str, str] | None = None,
) -> None:
    """Write headline figures, the verdict, an interactive chart of every panel, the table with the baselines, notes and card.

    Args:  notes: sentences of the model's card, or such sentences by their headings.
    Raises: OutputError if the file cannot be written.
    """
    headed = notes if isinstance(notes, Mapping) else {_FINAL_FIT: notes}
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        _tiles(panels, evaluation),
        "" if evaluation is None else _sentences(_verdict_of(evaluation), evaluation.verdict),
        _chart(panels) if panels else "",
        "" if evaluation is None else _table(evaluation),
        *(_sentences(f"Notes: {heading}", said) for heading, said in headed.items()),
        _card(card or {}),
    ]
    write_atomic(path, _document(title, "\n".join(part for part in parts if part), panels).encode("utf-8", "xmlcharrefreplace"))


def _document(title: str, body: str, panels: Sequence[ForecastPanel]) -> str:
    script = (
        f'<script type="application/json" id="data">{_json(panels)}</script>\n<script>{_asset("page.js")}</script>'
        if panels
        else ""
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>
{_asset("page.css")}</style>
</head>
<body>
{body}
{script}
</body>
</html>
"""


def _asset(name: str) -> str:
    return (files("tidegate.report") / name).read_text(encoding="utf-8")


def _tiles(panels: Sequence[ForecastPanel], evaluation: Evaluation | None) -> str:
    """The headline: the judged method's figure against the best naive one, and its coverage; without an evaluation, the sizes."""
    if evaluation is None or evaluation.main is None:
        steps = max((len(p.forecast) for p in panels), default=0)
        tiles = [("main", f"{len(panels):,}", "series"), ("", f"{steps:,}", "steps ahead")]
    else:
        tiles = [
            *_scores(evaluation, evaluation.main),
            ("", f"{evaluation.series:,}", "series"),
            ("", f"{evaluation.horizon:,}", "steps ahead"),
        ]
    body = "".join(f'<div class="tile {kind}"><b>{html.escape(b)}</b><span>{html.escape(s)}</span></div>' for kind, b, s in tiles)
    return f'<div class="tiles">{body}</div>'


def _scores(evaluation: Evaluation, main: str) -> list[tuple[str, str, str]]:
    board = evaluation.board
    measure = headline(board, main)
    others = {m: board.figures[m][measure] for m in evaluation.naive if math.isfinite(board.figures[m][measure])}
    mine = board.figures[main][measure]
    caption = measure
    if others and math.isfinite(mine):
        best = min(others, key=lambda m: others[m])
        caption = f"{measure}; {best} {show(others[best])}"
    tiles = [("main", show(mine), caption)]
    held = {m.split("-")[1]: board.figures[main][m] for m in board.measures if m.startswith("coverage-")}
    tiles += [("", f"{100.0 * v:.1f} %", f"of truths in the {n} % interval") for n, v in held.items() if math.isfinite(v)]
    return tiles


def _verdict_of(evaluation: Evaluation) -> str:
    """Which figures the verdict is on: the notes of a model have figures too."""
    windows = f"{evaluation.windows:,} window{'' if evaluation.windows == 1 else 's'} of {evaluation.horizon:,} steps"
    return f"Verdict of the backtest or evaluation: {windows}"


def _sentences(heading: str, sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    return f"<h2>{html.escape(heading)}</h2><ul>{''.join(f'<li>{html.escape(s)}</li>' for s in sentences)}</ul>"


def _table(evaluation: Evaluation) -> str:
    averages = html.escape(evaluation.averages.replace("* = best", "bold = best"))
    return f'<h2>Figures</h2><div class="scroll">{evaluation.board.html()}</div><p class="quiet">{averages}</p>'


def _card(card: Mapping[str, str]) -> str:
    if not card:
        return ""
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in card.items())
    return f"<h2>Model</h2><dl>{rows}</dl>"


def _levels(panels: Sequence[ForecastPanel]) -> list[float]:
    return sorted({level for panel in panels for level in panel.bands})


def _chart(panels: Sequence[ForecastPanel]) -> str:
    toggles = [_band_toggle(level) for level in _levels(panels)]
    if any(_known_truth(panel) for panel in panels):
        toggles.append(_toggle("truth", "truth"))
    names = sorted({panel.baseline[0] for panel in panels if panel.baseline is not None})
    if names:
        toggles.append(_toggle("baseline", " / ".join(names)))
    return f"""<h2 id="name">Forecasts</h2>
<noscript><p>The chart needs JavaScript; the figures below do not.</p></noscript>
<div class="controls"{"" if len(panels) > 1 else " hidden"}>
<label>Find <input type="search" id="filter" placeholder="part of a name" size="16"></label>
<label>Series <select id="series"></select></label>
<span class="group"><button type="button" id="before" title="previous series">&larr;</button>
<button type="button" id="after" title="next series">&rarr;</button></span>
</div>
<div class="controls">
<span class="group"><span><span class="key line"></span>history</span><span><span class="key line forecast"></span>forecast</span>
{"".join(toggles)}</span>
<span class="group">Show <button type="button" data-horizons="1">1</button><button type="button" data-horizons="3">3</button>
<button type="button" data-horizons="5">5</button> horizons of history <button type="button" data-horizons="0">all</button></span>
</div>
<div class="plot"><svg id="chart" height="360" role="img" aria-label="history and forecast"></svg>
<div class="tip" id="tip" hidden></div>
<svg id="overview" height="54" aria-label="drag to choose a range"></svg></div>
<p class="quiet">Drag over the strip to zoom, double-click it for everything.</p>"""


def _band_toggle(level: float) -> str:
    shade = band_shade(level)
    box = f'<input type="checkbox" data-toggle="band" value="{level:g}" checked>'
    return f'<label>{box}<span class="key" style="background:var(--forecast);opacity:{shade:.2f}"></span>{level:g} %</label>'


def _toggle(what: str, name: str) -> str:
    box = f'<input type="checkbox" data-toggle="{what}" checked><span class="key line {what}"></span>'
    return f"<label>{box}{html.escape(name)}</label>"


def _json(panels: Sequence[ForecastPanel]) -> str:
    """The data of the chart as JSON that is safe inside a script element."""
    levels = _levels(panels)
    shades = {f"{level:g}": round(band_shade(level), 2) for level in levels}
    plain = {"levels": levels, "shades": shades, "panels": [_panel(panel.shortened(_HORIZONS_KEPT)) for panel in panels]}
    # Kept in ASCII, so that line separators and lone surrogates of an id are escaped too.
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _panel(panel: ForecastPanel) -> dict[str, Plain]:
    """One series with names of one letter, as page.js reads them."""
    bands: list[Plain] = [[level, _numbers(lo), _numbers(hi)] for level, (lo, hi) in sorted(panel.bands.items())]
    return {
        "t": panel.title,
        "v": panel.target,
        "d": 1 if panel.forecast_time.dtype.kind == "M" else 0,
        "h": _runs(panel.history_time),
        "y": _numbers(panel.history),
        "f": _runs(panel.forecast_time),
        "p": _numbers(panel.forecast),
        "b": bands,
        "a": _numbers(panel.truth) if panel.truth is not None and _known_truth(panel) else None,
        "n": None if panel.baseline is None else [panel.baseline[0], _numbers(panel.baseline[1])],
    }


def _known_truth(panel: ForecastPanel) -> bool:
    return panel.truth is not None and bool(np.isfinite(panel.truth).any())


def _runs(when: np.ndarray) -> list[Plain]:
    """Times as [first, gap, count, gap, count, ...]; dates as milliseconds since 1970, UTC."""
    if when.dtype.kind == "M":
        when = (when - np.datetime64(0, "ms")) // _MS
    if when.size == 0:
        return []
    gaps = np.diff(when)
    starts = np.flatnonzero(np.r_[True, gaps[1:] != gaps[:-1]]) if gaps.size else np.empty(0, dtype=np.intp)
    counts = np.diff(np.r_[starts, gaps.size])
    runs: list[Plain] = [when[0].item()]
    for start, count in zip(starts, counts, strict=True):
        runs += [gaps[start].item(), int(count)]
    return runs


def _numbers(values: Floats) -> list[Plain]:
    """Six digits each, null where not finite."""
    return [_short(v) if math.isfinite(v) else None for v in np.asarray(values, dtype=np.float64).tolist()]


def _short(value: float) -> float | int:
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
