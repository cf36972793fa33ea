"""What users hold: one abstract Model, one small class a task, and `load`. Each class is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tidegate import format as container
from tidegate.errors import TaskError, shown
from tidegate.files import PathLike

if TYPE_CHECKING:
    from tidegate.models.base import Model
    from tidegate.models.classifier import Classifier
    from tidegate.models.forecaster import Forecaster
    from tidegate.models.language_model import LanguageModel
    from tidegate.models.network import Network
    from tidegate.models.tagger import Tagger
    from tidegate.models.translator import Translator

_HOME = {
    "Classifier": "classifier", "Forecaster": "forecaster", "LanguageModel": "language_model", "Model": "base",
    "Network": "network", "Tagger": "tagger", "Translator": "translator",
}  # fmt: skip
_BY_TASK = {
    "forecast": "Forecaster", "classify": "Classifier", "generate": "LanguageModel", "tag": "Tagger", "translate": "Translator",
    "network": "Network",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'tidegate.models' has no attribute {name!r}")
    found = getattr(import_module(f"tidegate.models.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def load(path: PathLike) -> Model:
    """Load any model file; the answer is the task's own class. Works where torch is not installed.

    Raises: FormatError where the file is cut, altered or foreign; TaskError for a task that this version does not know.
    """
    file = container.read(path)
    task = file.header.get("task")
    if not isinstance(task, str) or task not in _BY_TASK:
        raise TaskError(f"{path}: this Tidegate knows the tasks {', '.join(_BY_TASK)}; got {shown(task)}: update Tidegate")
    cls: type[Model] = getattr(import_module(f"tidegate.models.{_HOME[_BY_TASK[task]]}"), _BY_TASK[task])
    return cls._from_file(file, str(path))


__all__ = ["Classifier", "Forecaster", "LanguageModel", "Model", "Network", "Tagger", "Translator", "load"]
