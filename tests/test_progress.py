"""Progress: shown where somebody looks, silent elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from tidegate.progress import Progress, in_sight


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_with_text_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress(4, "training", shown=True, done=1) as bar:
        for _ in range(3):
            bar.step("loss 0.5")
    assert "training" in screen.getvalue()
    assert "/4" in screen.getvalue()


def test_silence_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(2, "training") as bar:
        bar.step()
    assert capsys.readouterr().err == ""


def test_a_person_looks_at_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    closed = io.StringIO()
    closed.close()
    for stream, seen in ((Terminal(), True), (io.StringIO(), False), (None, False), (closed, False)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert in_sight() is seen


def test_a_notebook_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert in_sight()
