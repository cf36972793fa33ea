from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from tidegate.errors import DataError, MissingExtra, OutputError
from tidegate.report import picture

pytest.importorskip("matplotlib")


def panel(title="one", dates=True, n=90, horizon=7, truth=True, target=""):
    t = np.arange(n + horizon)
    y = 10 + np.sin(t / 3)
    history = y[:n].copy()
    history[-9:-5] = np.nan
    history[-7] = 11.0
    when = np.datetime64("2024-01-01", "D") + t if dates else t
    f = y[n:]
    return picture.ForecastPanel(
        title=title,
        history_time=when[:n],
        history=history,
        forecast_time=when[n:],
        forecast=f,
        bands={80: (f - 1, f + 1), 95: (f - 2, f + 2)},
        truth=f + 0.1 if truth else None,
        baseline=("seasonal naive", f * 0 + 9),
        target=target,
    )


def drawn(monkeypatch):
    """The figure that is about to be written."""
    figures = []
    render = picture.rendered
    monkeypatch.setattr(picture, "rendered", lambda figure, kind: figures.append(figure) or render(figure, kind))
    return figures


def test_png_and_svg_by_suffix(tmp_path):
    picture.forecast_picture(tmp_path / "a.png", [panel()], "title")
    picture.forecast_picture(tmp_path / "a.SVG", [panel(dates=False, truth=False)])
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "a.SVG").read_text()


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.html"])
def test_other_suffixes_name_the_remedy(tmp_path, name):
    with pytest.raises(OutputError, match=r"\.png or \.svg"):
        picture.forecast_picture(tmp_path / name, [panel()])
    with pytest.raises(OutputError, match=r"\.png or \.svg"):
        picture.history_picture(tmp_path / name, [{"step": 1, "loss": 1.0}])
    assert not list(tmp_path.iterdir())


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="folder does not exist"):
        picture.forecast_picture(tmp_path / "no" / "a.png", [panel()])


def test_the_same_picture_is_the_same_bytes(tmp_path):
    for suffix in ("png", "svg"):
        for name in ("a", "b"):
            picture.forecast_picture(tmp_path / f"{name}.{suffix}", [panel()])
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_every_part_is_drawn_and_gaps_stay_gaps(tmp_path, monkeypatch):
    figures = drawn(monkeypatch)
    picture.forecast_picture(tmp_path / "a.png", [panel()])
    (ax,) = figures[0].axes
    lines = {line.get_label(): line for line in ax.lines}
    assert {"history", "forecast", "truth", "seasonal naive"} <= set(lines)
    assert {c.get_label() for c in ax.collections} == {"80 %", "95 %"}
    y = lines["history"].get_ydata()
    assert len(y) == 35  # five horizons
    assert np.isnan(y[-9:-5]).sum() == 3
    dots = [line for line in ax.lines if line.get_marker() == "."]
    assert [d.get_ydata().tolist() for d in dots] == [[11.0]]  # the value between two gaps


def test_the_forecast_goes_on_from_the_last_known_value(tmp_path, monkeypatch):
    figures = drawn(monkeypatch)
    one = panel(target="temp_max")
    picture.forecast_picture(tmp_path / "a.png", [one])
    (ax,) = figures[0].axes
    lines = {line.get_label(): line for line in ax.lines}
    for name in ("forecast", "truth", "seasonal naive"):
        assert lines[name].get_ydata()[0] == one.history[-1]
        assert len(lines[name].get_ydata()) == 8
    cut = [line for line in ax.lines if len(set(map(str, line.get_xdata()))) == 1 and len(line.get_xdata()) == 2]
    assert cut[0].get_xdata()[0] == one.history_time[-1]
    assert ax.get_ylabel() == "temp_max"


def test_the_legend_has_the_drawn_colours_and_no_truth_that_is_not_there(tmp_path, monkeypatch):
    figures = drawn(monkeypatch)
    one = panel()
    one.truth[:] = np.nan
    one.history[-1] = np.nan
    picture.forecast_picture(tmp_path / "a.png", [one])
    assert "truth" not in {text.get_text() for text in figures[0].legends[0].get_texts()}
    (ax,) = figures[0].axes
    assert [c.get_alpha() for c in ax.collections] == [None, None]  # nothing shines through
    assert [c.get_facecolor()[0, 3] for c in ax.collections] == [1.0, 1.0]
    forecast = next(line for line in ax.lines if line.get_label() == "forecast")
    assert len(forecast.get_ydata()) == 7  # no last value to go on from


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        (["2024-11-15", "2024-12-01", "2025-01-01", "2025-01-15"], ["Nov 15\n2024", "Dec 1", "Jan 1\n2025", "Jan 15"]),
        (["2024-11-01", "2024-12-01", "2025-01-01"], ["Nov\n2024", "Dec", "Jan\n2025"]),
        (["2024-01-01", "2026-01-01"], ["2024", "2026"]),
        (["2024-11-15T18", "2024-11-16T00", "2024-11-16T06"], ["18:00\nNov 15, 2024", "00:00\nNov 16, 2024", "06:00"]),
        ([], []),
    ],
)
def test_year_and_day_stand_where_they_begin(ticks, labels):
    assert picture._date_labels([datetime.fromisoformat(t if "T" not in t else f"{t}:00") for t in ticks]) == labels


def test_short_horizons_still_show_some_history():
    assert len(panel(horizon=2).shortened().history) == 24
    assert len(panel(n=10).shortened().history) == 10


@pytest.mark.parametrize(("count", "visible", "note"), [(1, 1, ""), (4, 4, ""), (5, 5, ""), (30, 12, "18 more series not shown")])
def test_small_multiples_say_what_is_left_out(tmp_path, monkeypatch, count, visible, note):
    figures = drawn(monkeypatch)
    picture.forecast_picture(tmp_path / "a.png", [panel(f"s{i}") for i in range(count)], "All")
    assert sum(ax.get_visible() for ax in figures[0].axes) == visible
    assert note in figures[0].get_suptitle()


def test_hostile_titles_and_values_are_drawn(tmp_path, recwarn):
    odd = panel("$\\frac{$ <b>北京 " + "x" * 200)
    odd.history[3] = np.inf
    nothing = picture.ForecastPanel(
        title="",
        history_time=np.arange(0),
        history=np.zeros(0),
        forecast_time=np.arange(2),
        forecast=np.full(2, np.nan),
        bands={},
    )
    picture.forecast_picture(tmp_path / "a.png", [odd, nothing])
    assert not recwarn.list


def test_nothing_to_draw(tmp_path):
    with pytest.raises(DataError, match="at least one series"):
        picture.forecast_picture(tmp_path / "a.png", [])
    with pytest.raises(DataError, match="learning_rate"):
        picture.history_picture(tmp_path / "a.png", [{"step": 1, "other": 2.0}, {"loss": 1.0}])


def test_global_style_and_figures_are_left_alone(tmp_path):
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    picture.forecast_picture(tmp_path / "a.png", [panel()])
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


def test_without_matplotlib_the_install_line_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"tidegate\[plots\]"):
        picture.forecast_picture(tmp_path / "a.png", [panel()])


def test_training_history_marks_the_best_step(tmp_path, monkeypatch):
    figures = drawn(monkeypatch)
    records = [
        {"step": s, "loss": 1 / s, "learning_rate": 1e-3, "grad_norm": 0.5 + s, "clipped_share": 0.1, "note": "x"}
        for s in range(1, 50)
    ]
    records += [{"step": s, "validation": (s - 30) ** 2.0} for s in (10, 20, 30, 40)]
    picture.history_picture(tmp_path / "h.svg", records)
    losses, rate, norm, clipped = figures[0].axes
    labels = [line.get_label() for line in losses.lines]
    assert "best: 0 at step 30" in labels
    assert {"training", "validation"} <= set(labels)
    assert len(rate.lines) == len(norm.lines) == 1
    assert norm.get_yscale() == "log"
    assert clipped.get_ylabel() == "clipped so far, %"


def closing(tmp_path, monkeypatch, checks, steps=40, **more):
    figures = drawn(monkeypatch)
    records = [{"step": s, "loss": 1 / s, "grad_norm": 1.0, "clipped_share": 0.0, **more} for s in range(1, steps + 1)]
    for s in checks:
        records[s - 1]["validation"] = 1.0
    picture.history_picture(tmp_path / "h.png", records)
    return figures[0].axes


def test_the_closing_phase_is_marked_and_the_kept_weights_named(tmp_path, monkeypatch):
    axes = closing(tmp_path, monkeypatch, (10, 20, 30))
    losses = axes[0]
    assert "from step 30" in losses.get_title(loc="left")
    assert "The model file holds the weights of its end." in losses.get_title(loc="left")
    (span,) = losses.patches
    assert span.get_extents().transformed(losses.transData.inverted()).intervalx.tolist() == pytest.approx([30, 40])
    assert axes[3].get_ylabel() == "clipped so far, %\n(no step was)"
    assert len(axes[3].lines) == 1


def test_without_a_closing_phase_the_best_weights_are_kept(tmp_path, monkeypatch):
    assert "holds the best weights" in closing(tmp_path, monkeypatch, (20, 40))[0].get_title(loc="left")
    assert closing(tmp_path, monkeypatch, ())[0].get_title(loc="left") == ""
    assert closing(tmp_path, monkeypatch, (20,), member=1)[0].get_title(loc="left") == ""


def test_training_history_of_a_loss_alone(tmp_path):
    picture.history_picture(tmp_path / "h.png", [{"step": 1, "loss": 1.0}, {"step": 2, "loss": float("nan")}])
    assert (tmp_path / "h.png").stat().st_size > 1_000
