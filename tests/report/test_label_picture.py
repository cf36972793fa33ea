"""The classifier's picture: what is drawn is what was counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tidegate.data.table import Table
from tidegate.errors import OutputError
from tidegate.report import labels
from tidegate.report.labels import label_picture
from tidegate.tasks.label_scores import LabelEvaluation, evaluation

pytest.importorskip("matplotlib")


def scored(classes: int, rows: int = 400) -> LabelEvaluation:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, rows)
    found = rng.dirichlet(np.ones(classes), rows)
    table = Table({"text": np.array(["x"] * rows, dtype=object)})
    return evaluation(truth, {"net": found}, tuple(f"class $x_{k}$" for k in range(classes)), table)


def test_the_cells_are_the_counts_and_the_points_the_bins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures, real = [], labels.rendered
    monkeypatch.setattr(labels, "rendered", lambda figure, kind: figures.append(figure) or real(figure, kind))
    found = scored(3)
    label_picture(tmp_path / "a.png", found)
    left, right = figures[0].axes
    assert [text.get_text() for text in left.texts] == [str(count) for count in found.confusion.ravel()]
    np.testing.assert_allclose(left.images[0].get_array(), found.confusion / found.confusion.sum(1, keepdims=True))
    sure, share, count = found.calibration
    np.testing.assert_allclose(right.collections[0].get_offsets(), np.stack([sure, share], 1)[count > 0])


@pytest.mark.parametrize("classes", [2, 20, 60])
def test_few_and_many_classes_give_the_same_bytes_again(tmp_path: Path, classes: int) -> None:
    found = scored(classes)
    for name in ("a.png", "b.png", "c.svg"):
        label_picture(tmp_path / name, found)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "c.svg").read_bytes()


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.png or \.svg"):
        label_picture(tmp_path / "a.gif", scored(2))
