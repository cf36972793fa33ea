from __future__ import annotations

import base64
import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from tidegate.errors import OutputError
from tidegate.report import page
from tidegate.report.picture import ForecastPanel
from tidegate.tasks.evaluation import Forecasts, Windows, evaluate

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--",
    "it's \u2028 北京 \ud800",
    "&amp;",
    "]]>",
]
VOID = {"meta", "link", "input", "br", "img"}


class Checked(html.parser.HTMLParser):
    """Collects elements, attributes and the JSON; fails on an element that is closed but not open."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.data, self.texts = [], [], [], "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.texts.append(data)
        if self.open and self.open[-1][1].get("id") == "data":
            self.data += data


def panel(title="one", n=200, horizon=6, dates=True):
    t = np.arange(n + horizon)
    y = 10 + np.sin(t / 3)
    history = y[:n].copy()
    history[-5] = np.nan
    when = np.datetime64("2024-01-01T00", "h") + t if dates else t
    f = y[n:]
    return ForecastPanel(
        title=title,
        history_time=when[:n],
        history=history,
        forecast_time=when[n:],
        forecast=f,
        bands={80: (f - 1, f + 1), 95: (f - 2, f + 2)},
        truth=f + 0.125,
        baseline=("seasonal naive", f * 0 + 9),
    )


def evaluation(panels):
    windows = Windows(
        ids=tuple(p.title for p in panels),
        targets=("y",) * len(panels),
        cutoffs=np.array([p.history_time[-1] for p in panels]),
        times=np.array([p.forecast_time for p in panels]),
        truth=np.array([p.truth for p in panels]),
        histories=[p.history for p in panels],
        season=4,
    )
    lo, hi = ({level: np.array([p.bands[level][k] for p in panels]) for level in (80, 95)} for k in (0, 1))
    return evaluate(windows, {"tidegate": Forecasts(point=np.array([p.forecast for p in panels]), lo=lo, hi=hi)})


def written(path, *args, **more):
    page.forecast_page(path, *args, **more)
    text = path.read_text(encoding="utf-8")
    checked = Checked()
    checked.feed(text)
    checked.close()
    assert not checked.open
    return text, checked


def test_the_whole_page_parses_and_holds_every_part(tmp_path):
    panels = [panel("a"), panel("b")]
    scores = evaluation(panels)
    text, checked = written(tmp_path / "p.html", "Load", panels, scores, ["a gap was masked"], {"cell": "lstm", "seed": "0"})
    said = "".join(checked.texts)
    for part in ("Load", *scores.verdict, "a gap was masked", "cell", "lstm", "seasonal naive", "MASE"):
        assert part in said
    assert "<b>" in text  # the best figure
    assert json.loads(checked.data)["levels"] == [80, 95]


def test_nothing_is_fetched_from_anywhere(tmp_path):
    text, checked = written(tmp_path / "p.html", "t", [panel()])
    assert not re.search(r"(?i)\b(?:https?|wss?|ftp):|//[a-z0-9-]+\.[a-z]", text)
    assert [v for k, v in checked.attributes if k in ("src", "href")] == ["data:,"]
    assert not re.search(r"\b(?:fetch|XMLHttpRequest|import|WebSocket|eval)\s*\(|@import|url\(\s*['\"]?(?!#)", text)
    assert "default-src 'none'" in text


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_names_stay_text(tmp_path, title):
    plain = written(tmp_path / "a.html", "t", [panel("one")], None, ["one"], {"one": "one"})[1]
    text, checked = written(tmp_path / "b.html", title, [panel(title)], None, [title], {title: title})
    assert checked.tags == plain.tags  # not one element more
    assert json.loads(checked.data)["panels"][0]["t"] == title
    assert "<script>alert" not in text
    assert not any(k.startswith("on") for k, _ in checked.attributes)


def test_hostile_names_in_the_table_and_the_legend(tmp_path):
    panels = [panel(HOSTILE[0])]
    panels = [ForecastPanel(**{**vars(panels[0]), "baseline": (HOSTILE[1], panels[0].forecast)})]
    text, _ = written(tmp_path / "p.html", "t", panels, evaluation(panels))
    assert "<img" not in text
    assert "<script>alert" not in text


def test_the_data_is_what_was_given(tmp_path):
    one = panel("one")
    _, checked = written(tmp_path / "p.html", "t", [one])
    (got,) = json.loads(checked.data)["panels"]
    assert got["y"][-5] is None
    assert len(got["y"]) == 60  # ten horizons
    np.testing.assert_allclose(got["p"], one.forecast, rtol=1e-5)
    np.testing.assert_allclose(got["b"][1][2], one.bands[95][1], rtol=1e-5)
    np.testing.assert_allclose(got["a"], one.truth, rtol=1e-5)
    assert got["f"] == [int(one.forecast_time[0].astype("datetime64[ms]").astype(int)), 3_600_000, 5]
    assert got["d"] == 1


@pytest.mark.parametrize(
    ("when", "runs"),
    [
        (np.array([3, 4, 5, 6, 9, 12]), [3, 1, 3, 3, 2]),
        (np.array([7]), [7]),
        (np.array([], dtype=int), []),
        (np.array([0.5, 1.0]), [0.5, 0.5, 1]),
        (np.array(["1970-01-02", "1970-01-03"], dtype="datetime64[ns]"), [86_400_000, 86_400_000, 1]),
    ],
)
def test_times_are_written_as_runs(when, runs):
    assert page._runs(when) == runs


def test_a_thousand_series_stay_small(tmp_path):
    page.forecast_page(tmp_path / "p.html", "t", [panel(f"s{i}", horizon=24, n=300) for i in range(1_000)])
    assert (tmp_path / "p.html").stat().st_size < 6_000_000


def test_without_panels_or_evaluation(tmp_path):
    _, checked = written(tmp_path / "p.html", "t", [])
    assert "script" not in checked.tags
    _, checked = written(tmp_path / "q.html", "t", [panel(dates=False)])
    assert json.loads(checked.data)["panels"][0]["d"] == 0


def test_a_path_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="folder does not exist"):
        page.forecast_page(tmp_path / "no" / "p.html", "t", [panel()])


def test_the_two_verdicts_are_told_apart(tmp_path):
    panels = [panel("a")]
    text, _ = written(tmp_path / "p.html", "t", panels, evaluation(panels), ["held 71 %"])
    assert "<h2>Verdict of the backtest or evaluation: 1 window of 6 steps</h2>" in text
    assert "<h2>Notes: the data, and the held-back rows of the final fit (they chose the stopping point" in text
    text, _ = written(tmp_path / "q.html", "t", panels, None, {"on the data": ["a gap"], "<on> the fit": ["b"], "none": []})
    assert "<h2>Notes: on the data</h2><ul><li>a gap</li></ul>\n<h2>Notes: &lt;on&gt; the fit</h2>" in text
    assert "Notes: none" not in text


def test_a_truth_of_nothing_is_not_offered(tmp_path):
    one = panel("a")
    one.truth[:] = np.nan
    text, checked = written(tmp_path / "p.html", "t", [one])
    assert 'data-toggle="truth"' not in text
    assert json.loads(checked.data)["panels"][0]["a"] is None


def browser():
    return shutil.which("chromium") or shutil.which("chromium-browser")


def driven(path, script):
    """What the script, run at the end of the page, leaves in `log`."""
    end = """const pre = document.createElement("pre");
    pre.textContent = btoa(JSON.stringify(log).replace(/[^ -~]/g, "?"));
    document.body.replaceChildren(pre);"""
    text = path.read_text(encoding="utf-8").replace("</body>", f"<script>{script}{end}</script></body>")
    path.write_text(text, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    command = [browser(), *flags, f"--user-data-dir={path.parent}/u", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"<pre>([A-Za-z0-9+/=]+)</pre>", done.stdout)
    assert found, done.stderr[-500:]
    return json.loads(base64.b64decode(found[1]))


@pytest.mark.skipif(browser() is None, reason="chromium is not installed")
def test_the_chart_works_in_a_browser(tmp_path):
    """Hover, toggles, ranges, search and stepping, driven by a script at the end of the page."""
    path = tmp_path / "p.html"
    page.forecast_page(path, "t", [panel(t) for t in ("one", "two", *HOSTILE)])
    drive = """
    const log = {}, chart = document.getElementById("chart"), series = document.getElementById("series");
    const box = chart.getBoundingClientRect();
    log.options = series.options.length;
    chart.dispatchEvent(new PointerEvent("pointermove", { clientX: box.right - 60, clientY: box.top + 40 }));
    log.tip = document.getElementById("tip").textContent;
    log.bands = [chart.querySelectorAll(".band").length];
    document.querySelector("[data-toggle=band]").click();
    log.bands.push(chart.querySelectorAll(".band").length);
    const width = () => Number(document.querySelector(".brush").getAttribute("width"));
    document.querySelector("[data-horizons='1']").click();
    log.near = width();
    document.querySelector("[data-horizons='0']").click();
    log.all = width();
    document.getElementById("after").click();
    log.second = document.getElementById("name").textContent;
    const find = document.getElementById("filter");
    find.value = "IMG";
    find.dispatchEvent(new Event("input"));
    log.found = document.getElementById("name").textContent;
    """
    log = driven(path, drive)
    assert log["options"] == 2 + len(HOSTILE)
    assert log["tip"].startswith("2024-01-09")
    assert "forecast" in log["tip"]
    assert "95 %" in log["tip"]
    assert log["bands"] == [2, 1]
    assert log["near"] < 0.3 * log["all"]
    assert log["second"] == "two"
    assert log["found"] == HOSTILE[1]


def stretch(unit, step, n, horizon):
    t = np.datetime64("2024-06-20", unit) + step * np.arange(n + horizon)
    when, f = t.astype("datetime64[ms]"), np.ones(horizon)
    return ForecastPanel(
        title=f"{step} {unit} {horizon}",
        history_time=when[:n],
        history=np.arange(float(n)),
        forecast_time=when[n:],
        forecast=f,
        bands={},
    )


@pytest.mark.skipif(browser() is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [420, 1040])
def test_the_labels_of_time_are_apart_whole_and_at_least_three(tmp_path, width):
    spans = [("s", 1, 300, 5), ("m", 1, 300, 6), ("m", 15, 400, 40), ("h", 1, 200, 6), ("h", 1, 200, 24), ("h", 1, 500, 10)]
    spans += [("D", 1, 200, 14), ("D", 1, 300, 28), ("D", 7, 200, 13), ("M", 1, 200, 12), ("M", 12, 60, 5)]
    page.forecast_page(tmp_path / "p.html", "t", [stretch(*span) for span in spans])
    drive = f"""
    const log = [], chart = document.getElementById("chart");
    document.querySelector(".plot").style.width = "{width}px";
    for (let k = 0; k < {len(spans)}; k++) {{
      for (const n of [1, 3, 5, 0]) {{
        document.querySelector(`[data-horizons="${{n}}"]`).click();
        log.push([...chart.querySelectorAll(".time")].map((node) => {{
          const box = node.getBBox();
          return [node.textContent, box.x, box.x + box.width];
        }}));
      }}
      document.getElementById("after").click();
    }}
    """
    for labels in driven(tmp_path / "p.html", drive):
        texts, starts, ends = zip(*labels, strict=True)
        assert len(texts) >= 3, texts
        assert len(set(texts)) == len(texts)
        assert min(starts) >= 0, texts
        assert max(ends) <= width, texts
        assert all(end < start for end, start in zip(ends, starts[1:], strict=False)), texts
