"""What users hold: one abstract Model, one small class a task, and `load`."""

from __future__ import annotations

from tidegate import format as container
from tidegate.errors import TaskError, shown
from tidegate.files import PathLike
from tidegate.models.base import Model
from tidegate.models.classifier import Classifier
from tidegate.models.forecaster import Forecaster
from tidegate.models.language_model import LanguageModel
from tidegate.models.tagger import Tagger
from tidegate.models.translator import Translator

_BY_TASK: dict[str, type[Model]] = {
    "forecast": Forecaster,
    "classify": Classifier,
    "generate": LanguageModel,
    "tag": Tagger,
    "translate": Translator,
}


def load(path: PathLike) -> Model:
    """Load any model file; the answer is the task's own class. Works where torch is not installed.

    Raises: FormatError where the file is cut, altered or foreign; TaskError for a task that this version does not know.
    """
    file = container.read(path)
    task = file.header.get("task")
    if not isinstance(task, str) or task not in _BY_TASK:
        raise TaskError(f"{path}: this Tidegate knows the tasks {', '.join(_BY_TASK)}; got {shown(task)}: update Tidegate")
    return _BY_TASK[task]._from_file(file, str(path))


__all__ = ["Classifier", "Forecaster", "LanguageModel", "Model", "Tagger", "Translator", "load"]
