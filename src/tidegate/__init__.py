"""Tidegate: recurrent networks, from a file to a stream.

    import tidegate as tg
    model = tg.Forecaster(horizon=14).fit("weather.csv", target="temp_max", time="date")
    model.predict()

The names below are loaded when they are first used; `tidegate.nn` alone needs torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOME = {
    "Classifier": "models", "Clock": "data.times", "ConfigError": "errors", "DataError": "errors", "DeviceError": "errors",
    "ExportError": "errors",
    "Evaluation": "tasks.evaluation", "Forecaster": "models", "FormatError": "errors", "MissingExtra": "errors",
    "LanguageModel": "models", "Model": "models", "OutputError": "errors", "Predictor": "runtime", "ShapeError": "errors",
    "Network": "models", "Stream": "runtime",
    "Tagger": "models",
    "Table": "data.table", "TaskError": "errors",
    "TidegateError": "errors", "Translator": "models", "check": "data.check", "get_num_threads": "native", "load": "models",
    "from_torch": "models.from_torch", "nn": "",
    "read_table": "data.table", "set_num_threads": "native",
}  # fmt: skip
__all__ = sorted([*_HOME, "__version__"])

if TYPE_CHECKING:
    from tidegate import nn
    from tidegate.data.check import check_table as check
    from tidegate.data.table import Table, read_table
    from tidegate.data.times import Clock
    from tidegate.errors import (
        ConfigError,
        DataError,
        DeviceError,
        ExportError,
        FormatError,
        MissingExtra,
        OutputError,
        ShapeError,
        TaskError,
        TidegateError,
    )
    from tidegate.models import Classifier, Forecaster, LanguageModel, Model, Network, Tagger, Translator, load
    from tidegate.models.from_torch import from_torch
    from tidegate.native import get_num_threads, set_num_threads
    from tidegate.runtime import Predictor, Stream
    from tidegate.tasks.evaluation import Evaluation


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'tidegate' has no attribute {name!r}")
    if name == "nn":
        return _nn()
    found = getattr(import_module(f"tidegate.{_HOME[name]}"), "check_table" if name == "check" else name)
    globals()[name] = found
    return found


def _nn() -> object:
    try:
        return import_module("tidegate.nn")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from tidegate.errors import missing_extra

        raise missing_extra("tidegate.nn (torch)", "train") from error


def __dir__() -> list[str]:
    return list(__all__)
