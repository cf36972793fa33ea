"""What every model does, once. In: a task's small class. Out: fit, save, load, info; a subclass adds its task's verbs.

Nothing here imports torch; `fit` of a subclass loads the training half when it is called.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast, final

import numpy as np
import numpy.typing as npt

from tidegate import format as container
from tidegate.config import Plain
from tidegate.errors import ConfigError, FormatError, TaskError, missing_extra, shown
from tidegate.files import PathLike
from tidegate.given import listed

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from tidegate.models.exporting import Exported
    from tidegate.models.streams import ModelStream

# What altered content can raise before a check names it; ConfigError, DataError, ShapeError and bad UTF-8 are ValueErrors.
FILE_FAULTS = (ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError)

MOST_FIGURE = 700.0  # exp of a loss still is a number

M = TypeVar("M", bound="Model")
Arrays = Mapping[str, npt.NDArray[np.generic]]


class Model(ABC):
    """A trained or untrained model of one task."""

    task: ClassVar[str]

    @abstractmethod
    def _contents(self) -> tuple[dict[str, Plain], dict[str, npt.NDArray[np.generic]]]:
        """Header and arrays of the model file."""

    @classmethod
    @abstractmethod
    def _from_file(cls, file: container.File, where: str) -> Model:
        """The model of a validated file."""

    @property
    @abstractmethod
    def card(self) -> Mapping[str, Plain]:
        """What is known of the fitted model: a copy. Raises: TaskError before `fit`."""

    @final
    def _note(self, text: str) -> None:
        """One more sentence in the notes of the card, which the file holds."""
        cast("list[Plain]", self.card["notes"]).append(text)  # the card is copied, the lists in it are the model's own

    @final
    def save(self, path: PathLike) -> None:
        """Write the one file that holds everything. Raises: OutputError, TaskError before `fit`."""
        header, arrays = self._contents()
        container.write(path, "model", {**header, "task": self.task}, arrays)

    @final
    def _fingerprint(self) -> bytes:
        """A hash of what answers: the task and every array of the file."""
        return hashlib.sha256(f"{self.task}:{data_hash(self._contents()[1])}".encode()).digest()

    def stream(self, *, on_bad: str = "reject", state: bytes | None = None) -> ModelStream[Any, Any]:
        """Follow one sequence sample by sample. Raises: TaskError for a task that is not streamed."""
        raise TaskError(f"stream: a model for {self.task!r} reads the whole of its input before it answers; use predict")

    @final
    def step_many(self, streams: Sequence[ModelStream[Any, Any]], samples: Sequence[Any]) -> list[Any]:
        """A sample into each of many streams of this model: the answers of pushing each.

        The nets of all of them are walked once, in a call of the core a block or fewer; a tagger's streams are pushed one by one.
        Where one refuses its sample, all stay as they were.
        Raises: ConfigError for a stream of another model, one that comes twice, or another number of samples; what `push` raises.
        """
        streams = listed("streams", streams, "give the streams that stream() made, in a list")
        samples = listed("samples", samples, "give a sample for each stream, in a list")
        if len(streams) != len(samples):
            raise ConfigError(f"samples: expected one for each of {len(streams)} streams, got {len(samples)}")
        if len(set(map(id, streams))) != len(streams):
            raise ConfigError("streams: expected different streams, got one twice; step it once, then again")
        if any(getattr(getattr(stream, "_fingerprint", None), "__self__", None) is not self for stream in streams):
            raise ConfigError("streams: expected streams of this model, got others; step each with the model that made it")
        return type(streams[0]).push_all(streams, samples) if streams else []

    @final
    def export(self, path: PathLike, to: str = "c", *, name: str | None = None) -> Exported:
        """Write the model in another form, for where no Python is; what was proved and what it takes.

        Args:  to: "c", one C99 header; "onnx", one file of opset 18, or two where a model has two parts. name: of a header, what
            every name in it begins with; None: the file's name.
        Raises: TaskError that names what the form cannot hold and what to train instead; ExportError, with nothing written, where
            the form does not give what the model gives; OutputError; ConfigError.
        """
        from tidegate.models.exporting import export

        return export(self, path, to, name)

    @final
    def to_bytes(self) -> bytes:
        """The model file as bytes."""
        header, arrays = self._contents()
        return container.dump("model", {**header, "task": self.task}, arrays)


def options_signature(init: Callable[..., None], options: type) -> inspect.Signature:
    """A constructor's own parameters and, as keywords, the fields of its options dataclass: for help() and completion."""
    own = [p for p in inspect.signature(init).parameters.values() if p.kind is not p.VAR_KEYWORD]
    known, kind = {p.name for p in own}, inspect.Parameter.KEYWORD_ONLY
    rest = [inspect.Parameter(f.name, kind, default=f.default, annotation=f.type) for f in fields(options) if f.name not in known]
    return inspect.Signature([*own, *rest])


def given_options(options: DataclassInstance) -> dict[str, object]:
    """The options that differ from their defaults, but for the steps, which a file always holds."""
    said = {f.name: (getattr(options, f.name), f.default) for f in fields(options) if f.name != "steps"}
    return {name: value for name, (value, default) in said.items() if value != default}


def not_fitted() -> TaskError:
    """The error before `fit`."""
    return TaskError("the model is not fitted yet; call fit(...) or load one with tidegate.load(path)")


def load_as(cls: type[M], path: PathLike) -> M:
    """Load a model of one class. Raises: FormatError, TaskError when the file is of another task."""
    file = container.read(path)
    if file.header.get("task") != cls.task:
        raise TaskError(
            f"{path}: expected a model for {cls.task!r}, got one for {shown(file.header.get('task'))}; "
            "load it with `tidegate.load`"
        )
    return cast(M, cls._from_file(file, str(path)))


def training_half(module: str) -> object:
    """Import a module of the training half. Raises: MissingExtra where torch is not installed."""
    try:
        return import_module(f"tidegate.{module}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise missing_extra("training (torch)", "train") from error


def data_hash(arrays: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """SHA-256 of the arrays a model was trained on, names and shapes included."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        digest.update(array.data.cast("B") if array.size else b"")
    return digest.hexdigest()


def versions() -> dict[str, Plain]:
    """What made the model: the parts whose versions can change its numbers."""
    from tidegate import __version__

    found: dict[str, Plain] = {"tidegate": __version__, "numpy": np.__version__, "python": platform.python_version()}
    import sys

    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = str(getattr(torch, "__version__", "?"))
    return found


def check_text_card(card: Mapping[str, Plain], counts: tuple[str, ...], measures: tuple[str, ...], where: str) -> None:
    """The card of a text model: what `info` and `evaluate` read of it. counts: its whole numbers. measures: of each method.

    Raises: FormatError for a part that is missing or of another kind.
    """
    kinds: dict[str, type] = {"source": str, "data_sha256": str, "interrupted": bool, "notes": list, "versions": dict}
    kinds |= dict.fromkeys((*counts, "seed", "steps", "weights"), int)
    wrong = [n for n, kind in kinds.items() if not isinstance(card.get(n), kind) or (kind is int and isinstance(card[n], bool))]
    notes, made, held = card.get("notes"), card.get("versions"), card.get("held_back")
    if isinstance(notes, list) and not all(isinstance(note, str) for note in notes):
        wrong.append("notes")
    if isinstance(made, dict) and not all(isinstance(version, str) for version in made.values()):
        wrong.append("versions")
    if held is not None and not _sound_figures(held, measures):
        wrong.append("held_back")
    if wrong:
        raise FormatError(f"{where}: its card lacks {', '.join(wrong)}, or they were altered; save the model again")


def _sound_figures(held: Plain, measures: tuple[str, ...]) -> bool:
    """A count, and the measures of two methods or more, "net" among them."""
    table = held.get("table") if isinstance(held, dict) else None
    if not isinstance(held, dict) or not isinstance(table, dict) or not 2 <= len(table) <= 9 or "net" not in table:
        return False
    rows = [row if isinstance(row, dict) else {"": row} for row in table.values()]
    counted = any(isinstance(held.get(name), int) and not isinstance(held[name], bool) for name in ("texts", "tokens"))
    return counted and all(
        set(row) == set(measures)
        and all(isinstance(v, float) and math.isfinite(v) and abs(v) < MOST_FIGURE for v in row.values())
        for row in rows
    )


def arrays_under(arrays: Arrays, prefix: str) -> dict[str, npt.NDArray[np.generic]]:
    """Those whose names begin so, without it."""
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def header_part(header: Mapping[str, Plain], key: str, where: str) -> Mapping[str, Plain]:
    """A table of the header. Raises: FormatError where it is missing."""
    part = header.get(key)
    if not isinstance(part, dict):
        raise FormatError(
            f"{where}: its header lacks {key!r}; it was not written by this version of Tidegate: train and save it again"
        )
    return part
