"""What answers in a translator, without torch: sources as codes in, targets as codes out. Searches and samples by decode/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.blocks.unroll import unroll
from tidegate.data.vocabulary import UNKNOWN, Codes, Tokenizer
from tidegate.decode.beam import Hypothesis, State, greedy, search
from tidegate.decode.sampling import Sampling, distribution, draw
from tidegate.errors import ConfigError
from tidegate.runtime.int8 import part_of
from tidegate.runtime.predictor import Floats, Predictor
from tidegate.tasks.token_batches import cut, groups, padded
from tidegate.tasks.translate import EVALUATION_TOKENS, TranslateOptions
from tidegate.tasks.translate_nets import build_nets, handed

NOTHING = Hypothesis((), 0.0, 0.0, True)  # the answer to a source without a token
SLACK = 20  # tokens that an answer may have beyond twice its source's
Weights = Mapping[str, npt.NDArray[np.floating]]


class Beam(NamedTuple):
    """How answers are searched for. most: tokens at most; None: what the source's length and training's targets suggest."""

    beam: int = 1
    length_penalty: float = 0.0
    no_repeat_ngram: int = 0
    most: int | None = None


class Member(NamedTuple):
    """One net in two parts."""

    encoder: Predictor
    decoder: Predictor


@final
@dataclass(frozen=True, eq=False)
class Core:
    """Everything that answers: tokenizers, nets, and the options that shape them. longest: tokens of the longest known target."""

    options: TranslateOptions
    source: Tokenizer
    target: Tokenizer
    weights: tuple[Weights, ...]
    longest: int

    @property
    def end(self) -> int:
        """The code that ends a target, and that its first step reads."""
        return self.target.size

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """The nets."""
        nets = build_nets(self.options, self.source.size, self.end + 1)
        parts = [(nets.encoder, nets.decoder)] * len(self.weights)
        return tuple(
            Member(*(Predictor(spec, part_of(own, spec)) for spec in two)) for two, own in zip(parts, self.weights, strict=True)
        )

    def encode(self, texts: Sequence[str]) -> list[Codes]:
        """Codes of each source, cut at max_tokens."""
        return cut(self.source.encode(texts), self.options.max_tokens)

    def read(self, sources: Sequence[Codes]) -> Steps:
        """What the encoders make of sources of at least one token."""
        tokens, lengths = padded(sources)
        encoded = [m.encoder.run({"source": tokens}, lengths={"source": lengths}).outputs for m in self.members]
        return Steps(self, encoded, lengths)

    def search(self, sources: Sequence[Codes], how: Beam, count: int = 1) -> list[list[Hypothesis]]:
        """At most `count` answers to each source, best first; those to one do not depend on the others. A beam of 1 is greedy."""
        found: list[list[Hypothesis]] = [[NOTHING] for _ in sources]
        for rows in self._batches(sources, how.beam):
            steps = self.read([sources[k] for k in rows])
            most = [self.limit(len(sources[k]), how.most) for k in rows]
            if how.beam == 1 and count == 1 and how.length_penalty == 0.0:
                best = greedy(
                    steps, steps.start, start=self.end, end=self.end, most=most, no_repeat_ngram=how.no_repeat_ngram,
                    rows=len(rows),
                )  # fmt: skip
                answers = [[one] for one in best]
            else:
                answers = search(
                    steps, steps.start, start=self.end, end=self.end, beam=how.beam, most=most,
                    length_penalty=how.length_penalty, no_repeat_ngram=how.no_repeat_ngram, nbest=count, rows=len(rows),
                )  # fmt: skip
            for row, own in zip(rows, answers, strict=True):
                found[row] = own
        return found

    def sample(self, sources: Sequence[Codes], how: Sampling, seed: int, most: int | None = None) -> list[list[int]]:
        """A drawn answer to each source; it follows from the seed and the source's number alone."""
        found: list[list[int]] = [[] for _ in sources]
        for rows in self._batches(sources, 1):
            steps = self.read([sources[k] for k in rows])
            limits = [self.limit(len(sources[k]), most) for k in rows]
            drawn = self._drawn(steps, how, [np.random.default_rng((seed, int(k))) for k in rows], max(limits))
            for row, codes, limit in zip(rows, drawn, limits, strict=True):
                found[row] = codes[:limit]
        return found

    def _drawn(self, steps: Steps, how: Sampling, generators: list[np.random.Generator], most: int) -> list[list[int]]:
        """Codes of each row up to its end."""
        rows = np.arange(len(generators))
        said: list[list[int]] = [[] for _ in rows]
        ended = np.zeros(len(rows), bool)

        def feed(_: int, before: npt.NDArray[np.float64] | None) -> Codes:
            if before is None:
                return np.full(len(rows), self.end)
            codes = draw(distribution(before, said, how), generators)
            ended[codes == self.end] = True
            for row in np.flatnonzero(~ended):
                said[row].append(int(codes[row]))
            return codes

        def step(codes: Codes, state: State) -> tuple[npt.NDArray[np.float64], State]:
            if ended.all():  # nothing is left to be drawn from
                return np.zeros((len(rows), self.end + 1)), state
            return steps(codes, state, rows)

        last, _ = unroll(step, feed, steps.start, most)
        feed(most, last[-1])
        return said

    def attention(self, source: Codes, target: Sequence[int]) -> npt.NDArray[np.float64]:
        """(U, S) how much each target code, and the end, looks at each source code; the mean over the nets."""
        steps, rows, found = self.read([source]), np.zeros(1, np.int64), []
        state = steps.start
        for code in [self.end, *target]:
            outputs, state = steps.run(np.array([code]), state, rows)
            found.append(np.mean([one["alignment"][0, 0] for one in outputs], axis=0))
        return np.asarray(found, np.float64)

    def limit(self, tokens: int, most: int | None) -> int:
        """Steps at most of the answer to a source of so many tokens."""
        if most is not None:
            return most
        return max(1, min(2 * tokens + SLACK, max(self.longest + SLACK, tokens)))

    def _batches(self, sources: Sequence[Codes], beam: int) -> list[Codes]:
        """Rows with a token, in groups of like length."""
        if isinstance(beam, bool) or not isinstance(beam, int) or beam < 1:
            raise ConfigError(f"beam: expected a whole number of at least 1, got {beam!r}")
        lengths = np.array([len(c) for c in sources], np.int64)
        rows = np.flatnonzero(lengths > 0)
        return [rows[own] for own in groups(lengths[rows], max(1, EVALUATION_TOKENS // beam))]


@final
class Steps:
    """The decoders of all nets over a batch, one step at a time: the `step` of decode.beam."""

    def __init__(self, core: Core, encoded: Sequence[Mapping[str, Floats]], lengths: Codes) -> None:
        self._core, self._encoded, self._lengths = core, encoded, lengths
        self._fixed = [name for name in handed(core.options) if name != "start"]
        self._held: tuple[Codes, list[dict[str, Floats]]] | None = None  # what hypotheses of the same sources share
        self._feeds = core.options.input_feeding

    @property
    def start(self) -> State:
        """The state before the first step: what the encoders say, and nothing attended to."""
        state = {f"state{k}": encoded["start"] for k, encoded in enumerate(self._encoded)}
        if self._feeds:
            size = self._core.options.embedding_dim
            state |= {f"feed{k}": np.zeros((len(e["start"]), size), e["start"].dtype) for k, e in enumerate(self._encoded)}
        return state

    def run(self, last: Codes, state: State, sources: Codes) -> tuple[list[dict[str, Floats]], State]:
        """One step of each net: outputs (N, 1, ...) and the next state."""
        outputs, after = [], {}
        memory, lengths = self._memory(sources), self._lengths[sources]
        held = {name: lengths for name in self._fixed if name != "context"}
        for k, (member, own) in enumerate(zip(self._core.members, memory, strict=True)):
            before = np.asarray(state[f"state{k}"], np.float32)
            feed = {"feed": state[f"feed{k}"]} if self._feeds else {}
            inputs = {"previous": last[:, None, None], **own, "start": before, **feed}
            ran = member.decoder.run(inputs, before, lengths=held)
            outputs.append(ran.outputs)
            after[f"state{k}"] = ran.state
            if self._feeds:
                after[f"feed{k}"] = ran.outputs["readout"][:, 0]
        return outputs, after

    def __call__(self, last: Codes, state: State, sources: Codes) -> tuple[npt.NDArray[np.float64], State]:
        """(N, V) log-probabilities of the next code, never of the unknown; of several nets, the log of their mean."""
        outputs, after = self.run(last, state, sources)
        each = [_log_probabilities(one["logits"][:, 0]) for one in outputs]
        return (each[0] if len(each) == 1 else np.logaddexp.reduce(each) - np.log(len(each))), after

    def _memory(self, sources: Codes) -> list[dict[str, Floats]]:
        if self._held is None or not np.array_equal(self._held[0], sources):
            self._held = sources, [{name: e[name][sources] for name in self._fixed} for e in self._encoded]
        return self._held[1]


def _log_probabilities(logits: Floats) -> npt.NDArray[np.float64]:
    """The log-softmax over all codes but the unknown's, which is -inf."""
    scores = np.array(logits, np.float64)
    scores[:, UNKNOWN] = -np.inf
    scores -= scores.max(-1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(-1, keepdims=True))
    return scores
