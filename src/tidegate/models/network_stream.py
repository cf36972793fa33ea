"""A bare network followed step by step. In: a code, or a step's numbers. Out: what the network says of the steps so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, final

import numpy as np
import numpy.typing as npt

from tidegate.blocks.weights import Floats
from tidegate.errors import DataError, shown
from tidegate.given import integer, numbers
from tidegate.models.streams import Arrays, BadSample, ModelStream
from tidegate.runtime.predictor import Predictor
from tidegate.runtime.snapshot import Field
from tidegate.runtime.stepping import Plan

Step: TypeAlias = "int | npt.ArrayLike"


@final
class NetworkStream(ModelStream[Step, Floats]):
    """One sequence through a `Network`: a push of a code, or of (I,) numbers, gives (C,), the output after that step.

    Args:  codes: how many there are; 0: steps are numbers.
    Raises: TaskError where the network reads the future.
    """

    def __init__(self, net: Predictor, codes: int, on_bad: str, fingerprint: Callable[[], bytes]) -> None:
        super().__init__("network", on_bad, fingerprint)
        self._plan, self._codes = Plan(net), codes
        self._dtype = net.initial_state().dtype
        self._width = net.spec.widths()[net.spec.outputs[0]]
        self._blank()

    @property
    def cost(self) -> str:
        """What a push costs."""
        return f"O(1): {self._plan.net.spec.state_size()} floats of carried state"

    def _blank(self) -> None:
        self._state = self._plan.start()
        self._last = np.zeros(self._width, self._dtype)
        self._push = self._plan.bind(self._state)

    @classmethod
    def push_all(cls, streams: Sequence[NetworkStream], samples: Sequence[Step]) -> list[Floats]:
        """All at once. A sample that a stream rejects is refused before any is stepped."""
        read = cls._all_read(streams, samples, cls._step_of)
        good = [(stream, step) for stream, step in zip(streams, read, strict=True) if step is not None]
        if good:
            plan = good[0][0]._plan
            said = plan.step_rows(
                [stream._state for stream, _ in good], {plan.net.spec.inputs[0].name: np.array([s for _, s in good])}
            )
            for row, (stream, step) in enumerate(good):
                stream._follow(step) if said is None else stream._say(said[plan.net.spec.outputs[0]][row])
                stream._steps += 1
        return cls._merged(streams, samples, read, [stream._nothing() for stream, _ in good])

    def _taken(self, sample: Step) -> Floats:
        self._follow(self._step_of(sample))
        return self._nothing()

    def _step_of(self, sample: Step) -> Floats | tuple[int]:
        """What the network reads."""
        return self._code(sample) if self._codes else self._numbers(sample)

    def _follow(self, step: Floats | tuple[int]) -> None:
        spec = self._plan.net.spec
        self._say(self._push({spec.inputs[0].name: step})[spec.outputs[0]])

    def _say(self, output: Floats) -> None:
        self._last[:] = output

    def _code(self, sample: Step) -> tuple[int]:
        code = integer(sample)
        if code is None:
            raise DataError(f"push: expected a code, got {type(sample).__name__}; the state is untouched")
        if not 0 <= code < self._codes:
            raise BadSample(f"expected a code from 0 to {self._codes - 1}, got {shown(code)}")
        return (code,)

    def _numbers(self, sample: Step) -> Floats:
        size = self._plan.net.spec.inputs[0].size
        said = f"({size},) numbers"
        step = numbers("push", sample, self._dtype, error=DataError, expected=said, after="; the state is untouched")
        if step.shape != (size,):
            raise DataError(f"push: expected ({size},) numbers, got {step.shape}; the state is untouched")
        if not np.isfinite(step).all():
            raise BadSample(f"expected finite numbers, got {shown(step.tolist())}")
        return step

    def _nothing(self) -> Floats:
        return self._last.copy()

    def _fields(self) -> tuple[Field, ...]:
        return (*self._plan.fields, Field("last", self._dtype.newbyteorder("<").str, (self._width,)))

    def _held(self) -> Arrays:
        return {**self._state, "last": self._last}

    def _hold(self, arrays: Arrays) -> None:
        self._state = {f.name: np.array(arrays[f.name]) for f in self._plan.fields}
        self._last = np.array(arrays["last"], self._dtype)
        self._push = self._plan.bind(self._state)

    def _copied(self) -> None:
        self._state = {name: value.copy() for name, value in self._state.items()}
        self._last = self._last.copy()
        self._push = self._plan.bind(self._state)
