"""What the models of texts share beside their verbs: options, the core that answers, the card, the file. In: a task's parts."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, final

import numpy as np
import numpy.typing as npt

from tidegate import format as container
from tidegate.config import Plain
from tidegate.errors import FormatError, bounded
from tidegate.files import PathLike
from tidegate.models.base import FILE_FAULTS, Model, given_options, load_as, not_fitted
from tidegate.models.quantizing import CARD, Measured, Weights, quantize
from tidegate.spec import Spec


class _Options(Protocol):
    """What every task's options have."""

    @property
    def steps(self) -> int | None: ...


class _Core(Protocol):
    """What every task's core has."""

    @property
    def options(self) -> object: ...


O = TypeVar("O", bound=_Options)  # noqa: E741  # options
C = TypeVar("C", bound=_Core)
T = TypeVar("T", bound="TextModel[Any, Any]")  # Any: of a subclass that has filled both in
Arrays = dict[str, npt.NDArray[np.generic]]


class TextModel(Model, Generic[O, C]):
    """A model whose options are a dataclass and whose answers come from a core that training or a file makes."""

    def __init__(self, options: O, given: dict[str, object]) -> None:
        self.options, self._given, self._steps = options, given, 0
        self._core: C | None = None
        self._card: dict[str, Plain] = {}

    @abstractmethod
    def _summary(self) -> str:
        """The fitted model in a line."""

    @abstractmethod
    def _pack(self, core: C) -> tuple[dict[str, Plain], Arrays]:
        """Header and arrays of the file."""

    @classmethod
    @abstractmethod
    def _unpack(cls, file: container.File, where: str) -> tuple[C, dict[str, Plain]]:
        """Core and card of a validated file."""

    @abstractmethod
    def _parts(self, core: C) -> Sequence[tuple[Spec, Weights]]:
        """The nets of a core."""

    @abstractmethod
    def _of_parts(self, core: C, weights: Sequence[Weights]) -> C:
        """The core with other weights in its nets."""

    @final
    def _quantized(self: T, to: str, score: Callable[[T], Measured], limit: float, *, force: bool) -> T:
        """The model in 8 bits: what every text model's `quantize` does. score: of a model on the data that it is given."""
        core = self._ready()

        def remade(weights: Sequence[Weights]) -> T:
            made = type(self)(**self._given)  # type: ignore[arg-type]  # subclasses take options by name
            made.options = self.options
            made._take(self._of_parts(core, weights), copy.deepcopy(self._card), self._steps)
            return made

        made, found = quantize(to, self._parts(core), remade, score, limit, force=force)
        made._card[CARD] = found.entry()
        made._note(f"{found}.")
        return made

    @final
    def __repr__(self) -> str:
        given = ", ".join(f"{k}={v!r}" for k, v in self._given.items() if v is not None)
        return f"{type(self).__name__}({given}){'' if self._core is None else ' ' + self._summary()}"

    @property
    def card(self) -> Mapping[str, Plain]:
        """What is known of the fitted model: held-back figures, data hash, seed, steps, versions. Raises: TaskError."""
        self._ready()
        return dict(self._card)

    @final
    @classmethod
    def load(cls: type[T], path: PathLike) -> T:
        """Load a model of this class. Raises: FormatError; TaskError where the file is of another task."""
        return load_as(cls, path)

    @final
    def _contents(self) -> tuple[dict[str, Plain], Arrays]:
        return self._pack(self._ready())

    @final
    @classmethod
    def _from_file(cls: type[T], file: container.File, where: str) -> T:
        try:
            core, card = cls._unpack(file, where)
        except FILE_FAULTS as error:
            raise FormatError(
                f"{where}: its content does not fit together ({bounded(str(error))}); save the model again"
            ) from error
        model = cls(**given_options(core.options))  # type: ignore[arg-type]  # a dataclass; subclasses take its fields
        model._core, model._card = core, card
        model.options = core.options  # the very ones of the file
        model._steps = model.options.steps or 0
        return model

    @final
    def _take(self, core: C, card: dict[str, Plain], steps: int) -> None:
        """What training made."""
        self._core, self._card, self._steps = core, card, steps

    @final
    def _ready(self) -> C:
        """The core. Raises: TaskError before `fit`."""
        if self._core is None:
            raise not_fitted()
        return self._core
