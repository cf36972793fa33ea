"""The running half, where torch is not there. In: a model file and a data file. Out: exit status 0 where all of it works.

python bench/no_torch.py MODEL DATA            # in an environment without torch
python bench/no_torch.py MODEL DATA --block    # torch is installed, and importing it fails
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec

import numpy as np


class _NoTorch:
    """A finder that answers as if torch were not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name="torch")
        return None


def main(model_path: str, data_path: str) -> None:
    import tidegate as tg
    from tidegate.cli import main as command

    model = tg.load(model_path)
    answer = tg.read_table(model.predict())
    assert np.isfinite(answer["forecast"]).all(), "predict"
    assert len(model.evaluate(data_path).table), "evaluate"
    stream = model.stream()
    before = stream.forecast()
    after = stream.push(float(before.forecast[0, 0]))
    assert after.forecast.shape == before.forecast.shape, "stream"
    for words in (["info", model_path], ["predict", model_path, "--levels", "50"], ["evaluate", model_path, data_path]):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            assert command(words) == 0, words
        assert said.getvalue().strip(), words
    assert "tidegate[train]" in refusal(lambda: model.update(data_path))
    assert "tidegate[train]" in refusal(lambda: tg.nn)
    assert "torch" not in sys.modules
    print("the running half works without torch")


def refusal(training: Callable[[], object]) -> str:
    """What is said where training is asked for."""
    from tidegate import MissingExtra

    try:
        training()
    except MissingExtra as error:
        return str(error)
    raise AssertionError("training without torch: expected MissingExtra")


if __name__ == "__main__":
    if "--block" in sys.argv:
        sys.meta_path.insert(0, _NoTorch())
    else:
        assert importlib.util.find_spec("torch") is None, "torch is installed here; add --block"
    main(*sys.argv[1:3])
