"""Tags word by word, each given as soon as a bounded number of words after it is known. In: words. Out: tags, and how sure.

A net that reads both ways carries the state of its forward half and reads backwards over the words ahead alone; the best path is
decided over the same words, from the tag that was given last. With one layer and a look-ahead as long as the sentence the answers
are those of the whole sentence wherever the best path and the path decided tag by tag agree; the forward halves of further layers
read what the backward ones below made of one word, and differ a little. A stream does not know that a sentence ends until
`finish`: with a look-ahead of 0 it may end on a tag that leaves a span of BIOES open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.decode.labels import Floats
from tidegate.decode.viterbi import NEVER, best_paths
from tidegate.errors import ConfigError, shown
from tidegate.models.streams import Arrays, BadSample, ModelStream, packed_texts, text_field, unpacked_texts
from tidegate.models.tag_core import Core
from tidegate.models.text_stream import readable
from tidegate.runtime.predictor import operations
from tidegate.runtime.snapshot import Field
from tidegate.spec import Recurrent, Spec

Ints = npt.NDArray[np.int64]
MOST_AHEAD = 1 << 20  # words


class Given(NamedTuple):
    """The tag of one word of a stream."""

    word: str
    tag: str
    probability: float  # of the tag, from what was known when it was given


class Place(NamedTuple):
    """Where B sentences stand."""

    states: tuple[npt.NDArray[np.floating], ...]  # of each net, before the next word
    before: Ints  # (B,) tag given last; -1 at the start


@final
class TagStream(ModelStream[str, "Given | None"]):
    """One sentence after another: a push of a word gives the tag of the word `look_ahead` words before, None while there is none.

    Args:  look_ahead: words that are waited for before a tag is given, at least 0.
    Raises: ConfigError.
    """

    def __init__(self, core: Core, look_ahead: int, on_bad: str, fingerprint: Callable[[], bytes]) -> None:
        super().__init__(f"tag, {checked_look(look_ahead)} words ahead", on_bad, fingerprint)
        self._core, self.look_ahead = core, look_ahead
        self._blank()

    @property
    def cost(self) -> str:
        """What a push costs."""
        floats = sum(net.spec.state_size() for net in self._core.nets)
        return f"O(1) a word: {floats} floats of carried state, and the {self.look_ahead} words ahead read anew"

    def _taken(self, sample: str) -> Given | None:
        if not readable(sample):
            raise BadSample("expected a word that is not empty")
        self._ahead.append(sample)
        return self._give(closed=False) if len(self._ahead) > self.look_ahead else None

    def _nothing(self) -> None:
        return None

    def finish(self) -> list[Given]:
        """The sentence ends here: the tags that are still owed; the next word begins a new one."""
        owed = []
        while self._ahead:
            owed.append(self._give(closed=True))
        self.reset()
        return owed

    def _blank(self) -> None:
        self._ahead: list[str] = []
        self._place = start(self._core, 1)

    def _copied(self) -> None:
        self._ahead = list(self._ahead)  # a place is never changed in place

    def _fields(self) -> tuple[Field, ...]:
        states = self._place.states
        nets = (Field(f"net{k}", s.dtype.newbyteorder("<").str, s.shape) for k, s in enumerate(states))
        return (*nets, Field("before", "<i8", (1,)), text_field("ahead"))

    def _held(self) -> Arrays:
        nets = {f"net{k}": state for k, state in enumerate(self._place.states)}
        return {**nets, "before": self._place.before, "ahead": packed_texts(self._ahead)}

    def _hold(self, arrays: Arrays) -> None:
        before, ahead = np.asarray(arrays["before"], np.int64), unpacked_texts(arrays["ahead"])
        if not -1 <= before[0] < len(self._core.tags) or len(ahead) > self.look_ahead or "" in ahead:
            raise ValueError("its tag or its words ahead are none")
        states = [np.asarray(arrays[f"net{k}"], own.dtype) for k, own in enumerate(self._place.states)]
        self._place, self._ahead = Place(tuple(states), before), ahead

    def _give(self, *, closed: bool) -> Given:
        tags, sure, self._place = step(self._core, self._place, [self._ahead], np.array([closed]))
        word, code = self._ahead.pop(0), int(tags[0])
        return Given(word, self._core.tags[code], float(sure[0]))


def checked_look(look_ahead: object) -> int:
    """A number of words ahead. Raises: ConfigError."""
    if isinstance(look_ahead, bool) or not isinstance(look_ahead, int) or not 0 <= look_ahead <= MOST_AHEAD:
        raise ConfigError(f"look_ahead: expected a whole number of words from 0 to {MOST_AHEAD:,}, got {shown(look_ahead)}")
    return look_ahead


def start(core: Core, rows: int) -> Place:
    """Before the first word."""
    return Place(tuple(net.initial_state(rows) for net in core.nets), np.full(rows, -1))


def step(core: Core, place: Place, windows: Sequence[Sequence[str]], closed: npt.NDArray[np.bool_]) -> tuple[Ints, Floats, Place]:
    """Tag the first word of each window.

    Args:  windows: the word and those ahead of it, one word at least each. closed: (B,) whether the sentence ends with it.
    Returns: tags (B,), their probabilities (B,), and the place after that word.
    """
    read = core.encode(windows)
    rows = np.arange(len(windows))
    whole = read.inputs(rows, None, None).of(core.nets[0].spec)
    name = "chain" if core.decoder == "crf" else "emissions"
    ran = [net.run(whole.arrays, state, whole.lengths) for net, state in zip(core.nets, place.states, strict=True)]
    scores = np.asarray(sum(np.asarray(out.outputs[name], np.float64) for out in ran) / len(ran)) / core.temperature
    lengths = read.lengths
    if lengths.max() > 1:  # the state after one word, not after the window
        one = {"words": np.ones_like(lengths), "letters": whole.lengths.get("letters"), "spelt": np.ones_like(lengths)}
        counts = {port: count for port, count in one.items() if port in whole.lengths and count is not None}
        ran = [net.run(whole.arrays, state, counts) for net, state in zip(core.nets, place.states, strict=True)]
    states = tuple(np.where(_carried(net.spec), out.state, 0) for net, out in zip(core.nets, ran, strict=True))
    tags, sure = _decided(core, scores, lengths, place.before, closed)
    return tags, sure, Place(states, tags)


def _decided(core: Core, scores: Floats, lengths: Ints, before: Ints, closed: npt.NDArray[np.bool_]) -> tuple[Ints, Floats]:
    """The first tag of the best path through each window, and its probability."""
    transitions, first, last = core.chain.cooled(core.temperature)
    began = np.where((before < 0)[:, None], first, transitions[before])
    scores = scores.copy()
    scores[:, 0] += began
    rows = np.flatnonzero(closed)
    scores[rows, lengths[rows] - 1] += last
    none = np.zeros(len(core.tags))
    paths = best_paths(scores, lengths, transitions, none, none)
    tags = paths.tags[:, 0, 0]
    _, marginals = operations().crf(np.maximum(scores, NEVER), lengths, {"transitions": transitions, "start": none, "end": none})
    return tags, marginals[np.arange(len(tags)), 0, tags]


def _carried(spec: Spec) -> npt.NDArray[np.bool_]:
    """(S,) which numbers of the state go on to the next word: not those of the halves that read backwards."""
    parts = [np.zeros(0, bool)]
    items = spec.items
    for block in spec.blocks:
        if isinstance(block, Recurrent) and block.name not in items:
            for layers, size in block.state().values():
                parts.append(np.repeat(np.arange(layers) % block.directions == 0, size))
    return np.concatenate(parts)


def tagged(core: Core, sentences: Sequence[Sequence[str]], look_ahead: int) -> tuple[list[list[str]], list[list[float]]]:
    """The tags that streams give, and how sure they are, all sentences side by side; as in `push`, a word with all its words
    ahead is tagged before the stream can know that the sentence ends there."""
    codes: list[list[int]] = [[] for _ in sentences]
    found: list[list[float]] = [[] for _ in sentences]
    place, left = start(core, len(sentences)), np.arange(len(sentences))
    for at in range(max(map(len, sentences), default=0)):
        kept = np.array([at < len(sentences[int(row)]) for row in left])
        left, place = left[kept], Place(tuple(s[kept] for s in place.states), place.before[kept])
        own = [sentences[int(row)] for row in left]
        windows = [words[at : at + look_ahead + 1] for words in own]
        closed = np.array([at + look_ahead + 1 > len(words) for words in own])
        tags, sure, place = step(core, place, windows, closed)
        for row, tag, p in zip(left, tags, sure, strict=True):
            codes[row].append(int(tag))
            found[row].append(float(p))
    return [core.given(np.array(own, np.int64)) for own in codes], found
