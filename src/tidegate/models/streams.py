"""What every stream does, once: the policy for bad samples, steps, copies, snapshots. In: a task's small class. Out: answers.

A stream is one sequence, followed: `push` takes a sample in and gives the new answer, which is what the model says of the whole
history so far. It belongs to one thread; the model behind it is shared by any number of streams.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, final

import numpy as np
import numpy.typing as npt

from tidegate.errors import DataError, FormatError
from tidegate.models.base import FILE_FAULTS
from tidegate.runtime.recurrent import checked_policy
from tidegate.runtime.snapshot import Field, Schema

Arrays = Mapping[str, npt.NDArray[np.generic]]
S = TypeVar("S")  # a sample as it is pushed
A = TypeVar("A")  # the answer
R = TypeVar("R")  # a sample that was read
T = TypeVar("T", bound="ModelStream[Any, Any]")  # Any: of whichever task


class BadSample(Exception):
    """A sample of the right kind whose value cannot be used, such as NaN; the stream's policy says what becomes of it."""


class ModelStream(ABC, Generic[S, A]):
    """One sequence, followed; made by a model's `stream`. Not for two threads at once.

    Args:  kind: of the stream and its options, part of the snapshot's schema. on_bad: "reject", "hold" or "reset". fingerprint:
        the hash of the model, asked for when a snapshot is made or read.
    """

    def __init__(self, kind: str, on_bad: str, fingerprint: Callable[[], bytes]) -> None:
        self._kind, self.on_bad, self._fingerprint = kind, checked_policy(on_bad), fingerprint
        self._steps = 0
        self._hash: bytes | None = None

    @abstractmethod
    def _taken(self, sample: S) -> A:
        """Take a sample in. Raises: BadSample, DataError; the state is then untouched."""

    @abstractmethod
    def _nothing(self) -> A:
        """The answer as it stands, without a new sample."""

    def _missed(self, sample: S) -> A:
        """The answer where a bad sample is held: as if none had come."""
        return self._nothing()

    def _restarted(self) -> A:
        """The answer where a bad sample made the stream forget its history."""
        self.reset()
        return self._nothing()

    @abstractmethod
    def _blank(self) -> None:
        """Back to the state of a new stream."""

    @abstractmethod
    def _fields(self) -> tuple[Field, ...]:
        """What a snapshot holds."""

    @abstractmethod
    def _held(self) -> Arrays:
        """The state, by field."""

    @abstractmethod
    def _hold(self, arrays: Arrays) -> None:
        """Take over a state; a new stream's before. Raises: what `FILE_FAULTS` names for one that does not fit."""

    @abstractmethod
    def _copied(self) -> None:
        """In a copy: give it arrays of its own."""

    @property
    @abstractmethod
    def cost(self) -> str:
        """What a push costs, in words."""

    @property
    @final
    def steps(self) -> int:
        """Samples taken in since the start or the last reset."""
        return self._steps

    @final
    def push(self, sample: S) -> A:
        """One sample in, the new answer out.

        Raises: DataError for a sample that does not fit; the state is then untouched. One that fits and holds what cannot be used
            (NaN, Inf, an empty word) follows `on_bad`: "reject" is a DataError too, "hold" counts it as missing, "reset" forgets
            the history.
        """
        try:
            answer = self._taken(sample)
        except BadSample as bad:
            if self.on_bad == "reject":
                said = "Use on_bad='hold' to count such samples as missing."
                raise DataError(f"push: {bad}; the state is untouched. {said}") from None
            if self.on_bad == "hold":
                return self._missed(sample)
            return self._restarted()
        self._steps += 1
        return answer

    @classmethod
    def push_all(cls: type[T], streams: Sequence[T], samples: Sequence[Any]) -> list[Any]:
        """A sample into each of different streams of one model; the answers of pushing each. A task may do it at once.

        Where one refuses its sample, all are as they were before.
        """
        before, answers = [], []
        try:
            for stream, sample in zip(streams, samples, strict=True):
                before.append(stream.copy())
                answers.append(stream.push(sample))
        except BaseException:  # Ctrl-C too
            for stream, was in zip(streams, before, strict=False):
                stream.__dict__.update(was.__dict__)
            raise
        return answers

    @classmethod
    @final
    def _all_read(cls: type[T], streams: Sequence[T], samples: Sequence[Any], read: Callable[[T, Any], R]) -> list[R | None]:
        """Each sample as its stream reads it; None for a bad one, which is held or resets. Raises: DataError for one that is
        rejected, before any stream has changed."""
        found: list[R | None] = []
        for stream, sample in zip(streams, samples, strict=True):
            try:
                found.append(read(stream, sample))
            except BadSample:
                if stream.on_bad == "reject":
                    stream.push(sample)  # which raises
                found.append(None)
        return found

    @classmethod
    @final
    def _merged(cls, streams: Sequence[Any], samples: Sequence[Any], read: Sequence[object], answers: Iterable[Any]) -> list[Any]:
        """Answers in order: of samples that `_all_read` read, which were stepped at once, and of pushing each of the others."""
        made = iter(answers)
        return [
            stream.push(sample) if own is None else next(made) for stream, sample, own in zip(streams, samples, read, strict=True)
        ]

    @final
    def reset(self) -> None:
        """Forget the history."""
        self._forget()
        self._renewed()

    @final
    def _forget(self) -> None:
        self._blank()
        self._steps = 0

    def _renewed(self) -> None:
        """What else a caller's `reset` does, and a policy's does not."""

    @final
    def copy(self: T) -> T:
        """An independent stream at the same place."""
        made = self.__class__.__new__(self.__class__)
        made.__dict__.update(self.__dict__)
        made._copied()
        return made

    @final
    def __copy__(self: T) -> T:
        return self.copy()

    @final
    def __deepcopy__(self: T, memo: object) -> T:
        return self.copy()  # the model behind a stream is shared

    @final
    def snapshot(self) -> bytes:
        """The state as bytes that `model.stream(state=...)` goes on from, in this process or another (runtime/snapshot.py)."""
        return self._schema().pack(self._model_hash(), self._steps, self._held())

    @final
    def restore(self, state: bytes | None) -> None:
        """Go on from a snapshot; None: stay. Raises: FormatError, with this stream as it was before."""
        if state is None:
            return
        found = self._schema().unpack(state, self._model_hash())
        made = self.copy()
        try:
            made._hold(found.arrays)
        except FILE_FAULTS as error:
            raise FormatError(f"state: its content does not fit together ({error}); start a new stream") from error
        made._steps = found.steps
        self.__dict__.update(made.__dict__)

    def _schema(self) -> Schema:
        return Schema(self._kind, self._fields())

    def _model_hash(self) -> bytes:
        if self._hash is None:
            self._hash = self._fingerprint()
        return self._hash


def text_field(name: str, most: int = 1 << 22) -> Field:
    """Texts in a snapshot, as `packed_texts` writes them."""
    return Field(name, "|u1", (None,), most)


def packed_texts(texts: list[str]) -> npt.NDArray[np.uint8]:
    """Texts without U+0000 as bytes, each closed by one."""
    return np.frombuffer("".join(f"{text}\0" for text in texts).encode(), np.uint8)


def unpacked_texts(body: npt.NDArray[np.generic]) -> list[str]:
    """`packed_texts` back again. Raises: ValueError."""
    whole = body.tobytes().decode()
    if whole and not whole.endswith("\0"):
        raise ValueError("a text is not closed")
    return whole.split("\0")[:-1]
