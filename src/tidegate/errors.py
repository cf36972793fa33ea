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
import re
import reprlib
from collections.abc import Iterable
from itertools import islice

MOST_SHOWN = 60  # letters of a value
MOST_LETTERS, MOST_COMPARED, MOST_LISTED = 100, 1000, 40  # of names: to compare many long ones takes minutes
MOST_TEXT, MOST_TOLD = 2000, 200


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


def nearest(name: object, known: Iterable[str]) -> str:
    """A hint for a misspelt name: `; did you mean 'x'?`, or the list of known names when none is near."""
    known = sorted(islice((k for k in known if len(k) <= MOST_LETTERS), MOST_COMPARED))
    near = isinstance(name, str) and len(name) <= MOST_LETTERS
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6) if near else []
    if close:
        return f"did you mean {close[0]!r}?"
    more = ", ..." if len(known) > MOST_LISTED else ""
    return "known: " + (", ".join(known[:MOST_LISTED]) + more if known else "none")


def shown(value: object) -> str:
    """A value for a message, at most 60 letters of it: a hostile file may hold a million, an object may not say what it is."""
    try:
        text = _SHORT.repr(value)
    except Exception:  # of an object's own __repr__
        text = f"a {type(value).__name__}"
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."


def told(error: BaseException) -> str:
    """What another one's exception says, for a message of ours, at most 200 letters of it."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # of its own __str__
        text = ""
    return (text if len(text) <= MOST_TOLD else text[: MOST_TOLD - 3] + "...") or type(error).__name__


def bounded(text: str) -> str:
    """A message that quotes a file, cut where it is very long."""
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + " ..."


def visible(text: str) -> str:
    """Text for a terminal: what would move its cursor, colour it or turn it round is written as an escape."""
    return _HIDDEN.sub(lambda found: repr(found[0])[1:-1], text)


_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SHORT = reprlib.Repr()  # bounded in depth and length
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = MOST_SHOWN


def missing_extra(what: str, extra: str) -> MissingExtra:
    """The error for an optional dependency that is not installed, with the line that installs it."""
    return MissingExtra(f"{what} needs an optional part of Tidegate that is not installed: pip install 'tidegate[{extra}]'")
