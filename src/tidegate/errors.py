"""The tree of errors a user can cause. In: what was wrong. Out: one exception with a complete sentence.

    TidegateError
    ├── ConfigError        an option has a wrong name, type or value          (also ValueError)
    │   └── OptionTypeError  a wrong type, in a layer that stands in for torch.nn's (also TypeError)
    ├── ShapeError         an array has a wrong number of axes or size        (also ValueError)
    │   └── LayerError     the same, in a layer that stands in for torch.nn's (also RuntimeError)
    ├── DataError          a data file or frame cannot be used as it stands   (also ValueError)
    ├── FormatError        a model file or checkpoint is cut, altered or of another kind
    ├── TaskError          a model is asked for what its task does not do
    ├── OutputError        a file cannot be written (path, rights, full disk) (also OSError)
    ├── ExportError        an exported model does not give what the model gives, and was not written
    ├── DeviceError        the device asked for is not there
    └── MissingExtra       an optional dependency is not installed            (also ImportError)

Every message says what, expected, got and the remedy; data errors name file, row and column where there is one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TidegateError(Exception):
    """Anything a user can cause and mend."""


class ConfigError(TidegateError, ValueError):
    """An option has a wrong name, type or value."""


class OptionTypeError(ConfigError, TypeError):
    """An option of a drop-in layer has a wrong type; also of the class that torch.nn raises there."""


class ShapeError(TidegateError, ValueError):
    """An array has a wrong number of axes or a wrong size."""


class LayerError(ShapeError, RuntimeError):
    """A drop-in layer got what it cannot use; also of the class that torch.nn raises there."""


class DataError(TidegateError, ValueError):
    """A data file or frame cannot be used as it stands."""


class FormatError(TidegateError):
    """A model file or checkpoint is cut short, altered or of another kind."""


class TaskError(TidegateError):
    """A model is asked for something that its task does not do."""


class OutputError(TidegateError, OSError):
    """A file cannot be written."""


class ExportError(TidegateError):
    """An exported model does not give what the model gives; it was not written."""


class DeviceError(TidegateError):
    """The device asked for is not there."""


class MissingExtra(TidegateError, ImportError):
    """An optional dependency is not installed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: `; did you mean 'x'?`, or the list of known names when none is near."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + (", ".join(known) if known else "none")


def missing_extra(what: str, extra: str) -> MissingExtra:
    """The error for an optional dependency that is not installed, with the line that installs it."""
    return MissingExtra(f"{what} needs an optional part of Tidegate that is not installed: pip install 'tidegate[{extra}]'")
