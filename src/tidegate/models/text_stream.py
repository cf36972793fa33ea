"""Texts followed as they come: a language model's, a classifier's. In: pieces of text. Out: how they go on, of which class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar, final

import numpy as np
import numpy.typing as npt

from tidegate.data.vocabulary import Codes
from tidegate.decode.labels import Floats, probabilities
from tidegate.errors import DataError, TaskError
from tidegate.models import classify_fit, language_fit
from tidegate.models.language_score import Score
from tidegate.models.streams import Arrays, BadSample, ModelStream, packed_texts, text_field, unpacked_texts
from tidegate.runtime.snapshot import Field
from tidegate.runtime.stepping import Plan, State
from tidegate.tasks.generate import START


class Next(NamedTuple):
    """After a push of a language model's stream. nats: -log p of the pieces pushed last, those of unknown tokens left out."""

    nats: float
    probabilities: Floats  # (V,) of the next code; 0 is the unknown
    tokens: tuple[str, ...]  # of codes 1, 2, ...

    def best(self, count: int = 5) -> list[tuple[str, float]]:
        """The likeliest next tokens, with their probabilities."""
        order = np.argsort(-self.probabilities[1:], kind="stable")[:count]
        return [(self.tokens[k], float(self.probabilities[1 + k])) for k in order]


class Sorted(NamedTuple):
    """After a push of a classifier's stream: what the model says of the text so far."""

    label: str
    probability: float
    probabilities: Floats  # (K,), in the order of `classes`


def readable(piece: object) -> str:
    """A piece of text. Raises: DataError for what is none; BadSample for one with signs that no text has."""
    if not isinstance(piece, str):
        raise DataError(f"push: expected a text, got {type(piece).__name__}; the state is untouched")
    if any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in piece):
        raise BadSample(f"expected a text without U+0000 and half letters, got {piece[:40]!r}")
    return piece


@final
class TextStream(ModelStream[str, Next]):
    """A text followed by a language model. A push reads any piece of it; each piece is cut into tokens by itself."""

    def __init__(self, core: language_fit.Core, on_bad: str, fingerprint: Callable[[], bytes]) -> None:
        super().__init__("text", on_bad, fingerprint)
        self._core, self._plan = core, Plan(core.net)
        self._blank()

    @property
    def cost(self) -> str:
        """A push costs the same however long the text so far is."""
        return f"O(1) a token: {self._core.net.spec.state_size()} floats of carried state"

    @property
    def score(self) -> Score:
        """How well the text so far was foreseen, as `LanguageModel.score` says of it."""
        nats, tokens, letters, unknown = self._sums.tolist()
        return Score(nats, int(tokens), int(letters), int(unknown))

    def _blank(self) -> None:
        self._state = self._plan.start()
        self._logits = np.zeros(self._core.tokenizer.size, self._core.net.initial_state().dtype)
        self._sums, self._last = np.zeros(4), 0.0
        self._bind()
        self._read(START)

    def _bind(self) -> None:
        self._push = self._plan.bind(self._state)

    def _read(self, code: int) -> None:
        self._logits[:] = self._push({"tokens": (code,)})["logits"]

    @classmethod
    def push_all(cls, streams: Sequence[TextStream], samples: Sequence[str]) -> list[Next]:
        """All at once, token by token. A sample that a stream rejects is refused before any is stepped."""
        pieces = cls._all_read(streams, samples, lambda _, sample: readable(sample))
        good = [(stream, stream._begun(piece)) for stream, piece in zip(streams, pieces, strict=True) if piece is not None]
        for together, codes in _in_step(good):
            said = together[0]._plan.step_rows([stream._state for stream in together], {"tokens": codes[:, None]})
            nats = language_fit.surprise(np.stack([stream._logits for stream in together]), codes).tolist()
            for row, (stream, code) in enumerate(zip(together, codes.tolist(), strict=True)):
                stream._foreseen(code, nats[row])
                if said is None:
                    stream._read(code)
                else:
                    stream._logits[:] = said["logits"][row]
        for stream, _ in good:
            stream._steps += 1
        return cls._merged(streams, samples, pieces, _next([stream for stream, _ in good]))

    def _taken(self, sample: str) -> Next:
        for code in self._begun(readable(sample)):
            self._foreseen(code, float(language_fit.surprise(self._logits[None], np.array([code]))[0]))
            self._read(code)
        return self._nothing()

    def _begun(self, piece: str) -> list[int]:
        """The codes of a piece, which begins here."""
        tokenizer = self._core.tokenizer
        tokens = tokenizer.cut(piece)
        self._last = 0.0
        self._sums[2] += len(piece) - sum(len(token) for token in tokens if not tokenizer.knows(token))
        return [int(code) for code in tokenizer.codes([tokens])[0]]

    def _foreseen(self, code: int, nats: float) -> None:
        """Count how well the next code was foreseen: nats, its -log p."""
        self._sums[1] += 1
        if code == START:
            self._sums[3] += 1
            return
        self._last += nats
        self._sums[0] += nats

    def _nothing(self) -> Next:
        return _next([self])[0]

    def _fields(self) -> tuple[Field, ...]:
        logits = Field("logits", self._logits.dtype.newbyteorder("<").str, self._logits.shape)
        return (*self._plan.fields, logits, Field("sums", "<f8", (5,)))

    def _held(self) -> Arrays:
        return {**self._state, "logits": self._logits, "sums": np.append(self._sums, self._last)}

    def _hold(self, arrays: Arrays) -> None:
        self._state = {f.name: np.array(arrays[f.name]) for f in self._plan.fields}
        self._logits[:], sums = arrays["logits"], np.asarray(arrays["sums"], np.float64)
        if (sums[1:4] < 0).any() or (sums[1:4] % 1).any():
            raise ValueError("its counts are no counts")
        self._sums, self._last = sums[:4].copy(), float(sums[4])
        self._bind()

    def _copied(self) -> None:
        self._state = {name: value.copy() for name, value in self._state.items()}
        self._logits, self._sums = self._logits.copy(), self._sums.copy()
        self._bind()


@final
class ClassifyStream(ModelStream[str, Sorted]):
    """A text followed by a classifier: after each piece the class of all of it so far.

    Characters and bytes are pushed in pieces of any length; of words, what is pushed are whole words (the pieces count as if
    blanks stood between them).
    Raises: TaskError where the net reads the future, and for byte pairs.
    """

    def __init__(self, core: classify_fit.Core, on_bad: str, fingerprint: Callable[[], bytes]) -> None:
        if core.options.units == "bpe":
            raise TaskError(
                "stream: which byte pairs a text has depends on what follows; train the model with units 'word', 'char' or 'byte'"
            )
        super().__init__("classify", on_bad, fingerprint)
        self._core, self._plans = core, [Plan(net) for net in core.nets]
        self._counts = core.linear is not None and core.linear.share > 0
        self._blank()

    @property
    def cost(self) -> str:
        """What a push costs."""
        floats = sum(plan.net.spec.state_size() for plan in self._plans)
        most = self._core.options.max_tokens
        grams = f"; n-grams beside them are counted anew over the text so far, at most {most:,} tokens" if self._counts else ""
        return f"O(1) a token for the nets: {floats} floats of carried state{grams}"

    def _blank(self) -> None:
        self._states: list[State] = [plan.start() for plan in self._plans]
        self._logits = self._core.net_logits([[]])
        self._tokens: list[str] = []
        self._read = 0
        self._bind()

    def _bind(self) -> None:
        self._pushes = [plan.bind(state) for plan, state in zip(self._plans, self._states, strict=True)]

    @classmethod
    def push_all(cls, streams: Sequence[ClassifyStream], samples: Sequence[str]) -> list[Sorted]:
        """All at once, token by token. A sample that a stream rejects is refused before any is stepped."""
        pieces = cls._all_read(streams, samples, lambda _, sample: readable(sample))
        good = [(stream, stream._begun(piece)) for stream, piece in zip(streams, pieces, strict=True) if piece is not None]
        for together, codes in _in_step(good):
            for k, plan in enumerate(together[0]._plans):
                said = plan.step_rows([stream._states[k] for stream in together], {"tokens": codes[:, None]})
                for row, (stream, code) in enumerate(zip(together, codes.tolist(), strict=True)):
                    own = stream._pushes[k]({"tokens": (code,)})["logits"] if said is None else said["logits"][row]
                    stream._logits[k][0] = own
        for stream, _ in good:
            stream._steps += 1
        return cls._merged(streams, samples, pieces, _sorted([stream for stream, _ in good]))

    def _taken(self, sample: str) -> Sorted:
        for code in self._begun(readable(sample)):
            for logits, push in zip(self._logits, self._pushes, strict=True):
                logits[0] = push({"tokens": (code,)})["logits"]
        return self._nothing()

    def _begun(self, piece: str) -> list[int]:
        """The codes of a piece, which begins here."""
        tokens = self._core.tokenizer.cut(piece)[: max(0, self._core.options.max_tokens - self._read)]
        self._read += len(tokens)
        if self._counts:
            self._tokens += tokens
        return self._codes(tokens)

    @property
    def between(self) -> str:
        """What stands between two lines of a text: of words nothing needs to."""
        return " " if self._core.tokenizer.units in ("char", "byte") else ""

    def _codes(self, tokens: list[str]) -> list[int]:
        found: Codes = self._core.tokenizer.codes([tokens])[0]
        return [int(code) for code in found]

    def _nothing(self) -> Sorted:
        return _sorted([self])[0]

    def _fields(self) -> tuple[Field, ...]:
        nets = [Field(f"net{k}.{f.name}", f.dtype, f.shape) for k, plan in enumerate(self._plans) for f in plan.fields]
        logits = Field("logits", "<f8", (len(self._plans), len(self._core.classes)))
        return (*nets, logits, Field("read", "<i8", (1,)), text_field("tokens"))

    def _held(self) -> Arrays:
        nets = {f"net{k}.{name}": value for k, state in enumerate(self._states) for name, value in state.items()}
        read, tokens = np.array([self._read]), packed_texts(self._tokens)
        return {**nets, "logits": np.concatenate(self._logits), "read": read, "tokens": tokens}

    def _hold(self, arrays: Arrays) -> None:
        read, tokens = int(np.asarray(arrays["read"])[0]), unpacked_texts(arrays["tokens"])
        expected = read if self._counts else 0
        if not 0 <= read <= self._core.options.max_tokens or len(tokens) != expected:
            raise ValueError("its tokens are not as many as it counts")
        self._states = [{f.name: np.array(arrays[f"net{k}.{f.name}"]) for f in plan.fields} for k, plan in enumerate(self._plans)]
        self._logits = [np.array(row[None]) for row in np.asarray(arrays["logits"], np.float64)]
        self._read, self._tokens = read, tokens
        self._bind()

    def _copied(self) -> None:
        self._states = [{name: value.copy() for name, value in state.items()} for state in self._states]
        self._logits, self._tokens = [own.copy() for own in self._logits], list(self._tokens)
        self._bind()


Text = TypeVar("Text", TextStream, ClassifyStream)


def _in_step(begun: Sequence[tuple[Text, list[int]]]) -> Iterator[tuple[list[Text], npt.NDArray[np.int64]]]:
    """The streams that have a code left, and those codes: the first of each, then the second, ..."""
    for at in range(max((len(codes) for _, codes in begun), default=0)):
        together = [(stream, codes[at]) for stream, codes in begun if at < len(codes)]
        yield [stream for stream, _ in together], np.array([code for _, code in together], np.int64)


def _next(streams: Sequence[TextStream]) -> list[Next]:
    """What streams of one model say."""
    if not streams:
        return []
    p = probabilities([np.stack([stream._logits for stream in streams]).astype(np.float64)], 1.0)
    return [Next(stream._last, own, stream._core.tokenizer.tokens) for stream, own in zip(streams, p, strict=True)]


def _sorted(streams: Sequence[ClassifyStream]) -> list[Sorted]:
    """What streams of one model say."""
    if not streams:
        return []
    core, linear = streams[0]._core, streams[0]._core.linear
    added = linear.share * linear.logs([s._tokens for s in streams]) if linear is not None and streams[0]._counts else 0.0
    logits = [np.concatenate([stream._logits[k] for stream in streams]) + added for k in range(len(core.nets))]
    p = probabilities(logits, core.temperature)
    return [Sorted(core.classes[best], float(own[best]), own) for best, own in zip(p.argmax(1).tolist(), p, strict=True)]


__all__ = ["ClassifyStream", "Next", "Sorted", "TextStream", "readable"]
