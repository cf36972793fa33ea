"""What a tagger answers with: vocabularies, nets, tags. In: sentences of words. Out: scores, best paths, probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, final

import numpy as np
import numpy.typing as npt

from tidegate.data.schemes import Scheme, convert, legal_pairs
from tidegate.data.vocabulary import Codes, Tokenizer
from tidegate.decode.labels import Floats, probabilities
from tidegate.decode.viterbi import NEVER, Paths, best_paths, legal_transitions
from tidegate.runtime.predictor import Predictor, operations
from tidegate.tasks.tag import EVALUATION_TOKENS, Decoder, Sentences, TagOptions
from tidegate.tasks.token_batches import groups

MOST_TAGS = 2000  # how one follows another is a table of their square


class Scores(NamedTuple):
    """What the nets say of some sentences, the mean over the nets."""

    rows: Codes  # (B,) which sentences
    lengths: Codes  # (B,)
    tags: Floats  # (B, T, K)
    labels: tuple[Floats, ...]  # (B, L) logits of each net; none without labels


class Chain(NamedTuple):
    """What one tag adds after another: (K, K), (K,), (K,); NEVER where the scheme of the spans forbids it."""

    transitions: Floats
    start: Floats
    end: Floats

    def cooled(self, temperature: float) -> Chain:
        """Divided by the temperature; what is forbidden stays so."""
        return Chain(*(np.where(part < NEVER / 2, NEVER, part / temperature) for part in self))


class Decoded(NamedTuple):
    """Paths of some sentences, and how sure they are."""

    scores: Scores
    paths: Paths
    shares: Floats  # (B, n) the probability of each path; 0 where there are fewer paths
    marginals: Floats  # (B, T, K) the probability of each tag of each word


@final
@dataclass(frozen=True, eq=False)
class Core:
    """Everything that answers.

    Args:  tags: in the scheme in which they are learnt. source_scheme: of the training file, in which answers are given; "plain"
        for tags that are no spans. temperature, label_temperature: make the probabilities honest.
    """

    options: TagOptions
    words: Tokenizer
    letters: Tokenizer
    tags: tuple[str, ...]
    labels: tuple[str, ...]
    source_scheme: Scheme | Literal["plain"]
    nets: tuple[Predictor, ...]
    temperature: float = 1.0
    label_temperature: float = 1.0

    @property
    def scheme(self) -> Scheme | None:
        """In which spans are learnt; None where the tags are none."""
        return None if self.source_scheme == "plain" else inner_scheme(self.options)

    @property
    def decoder(self) -> Decoder:
        """How tags are chosen."""
        return decoder_of(self.options, self.source_scheme)

    def encode(self, sentences: Sequence[Sequence[str]]) -> Sentences:
        """The sentences as codes, each distinct word once."""
        numbers: dict[str, int] = {}
        rows = [np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int64) for words in sentences]
        (codes,) = self.words.codes([[plain_word(word, self.options) for word in numbers]])
        letters = self.letters.codes([spelling(word, self.options) for word in numbers]) if self.options.letters else []
        return Sentences(rows, codes, letters or [np.zeros(0, np.int64)] * len(numbers))

    def scores(self, sentences: Sentences) -> Iterator[Scores]:
        """Group after group; a sentence's bits do not depend on those beside it."""
        lengths = sentences.lengths
        for rows in groups(lengths, EVALUATION_TOKENS):
            read = sentences.inputs(rows, None, None).of(self.nets[0].spec)
            ran = [net.run(read.arrays, lengths=read.lengths).outputs for net in self.nets]
            name = "chain" if self.decoder == "crf" else "emissions"
            tags = np.asarray(sum(np.asarray(out[name], np.float64) for out in ran) / len(ran))
            yield Scores(rows, lengths[rows], tags, tuple(np.asarray(out["label"], np.float64) for out in ran if "label" in out))

    @cached_property
    def chain(self) -> Chain:
        """The mean over the nets, and what the scheme forbids."""
        size = len(self.tags)
        parts = [np.zeros((size, size)), np.zeros(size), np.zeros(size)]
        if self.decoder == "crf":
            for k, part in enumerate(("transitions", "start", "end")):
                parts[k] += sum(np.asarray(net.weights[f"chain.{part}"], np.float64) for net in self.nets) / len(self.nets)
        if self.scheme is not None:
            parts = [own + added for own, added in zip(parts, legal_transitions(followers(self.tags, self.scheme)), strict=True)]
        return Chain(*parts)

    def best(self, scores: Scores) -> Codes:
        """The tags of the best paths, (B, T); where nothing links them each word's best tag by itself, which is the same."""
        if self.decoder == "softmax" and self.scheme is None:
            return np.asarray(scores.tags.argmax(2), np.int64)
        return best_paths(scores.tags, scores.lengths, *self.chain).tags[:, 0]

    def decoded(self, scores: Scores, n: int = 1) -> Decoded:
        """The n best paths, and how sure they are."""
        tags = scores.tags / self.temperature
        chain = self.chain.cooled(self.temperature)
        paths = best_paths(tags, scores.lengths, *chain, n=n)
        parts = {"transitions": chain.transitions, "start": chain.start, "end": chain.end}
        total, marginals = operations().crf(tags, scores.lengths, parts)
        return Decoded(scores, paths, np.exp(paths.scores - total[:, None]), marginals)

    def label_probabilities(self, scores: Scores) -> Floats:
        """(B, L)."""
        return probabilities(scores.labels, self.label_temperature)

    def given(self, path: Codes) -> list[str]:
        """The tags of a path in the scheme of the training file."""
        tags = [self.tags[k] for k in path.tolist()]
        if self.source_scheme == "plain" or self.scheme is None:
            return tags
        return convert(tags, self.scheme, self.source_scheme)


def inner_scheme(options: TagOptions) -> Scheme:
    """In which spans are learnt."""
    return options.scheme or "iob2"


def decoder_of(options: TagOptions, source_scheme: str) -> Decoder:
    """The option, or what suits the tags."""
    return options.decoder or ("softmax" if source_scheme == "plain" else "crf")


def followers(tags: Sequence[str], scheme: Scheme) -> npt.NDArray[np.bool_]:
    """(K + 1, K + 1): whether the tag of the column may follow that of the row; the last stands for the sentence's edges."""
    return legal_pairs(tags, scheme)


def plain_word(word: str, options: TagOptions) -> str:
    """A word as it is looked up."""
    return word.lower() if options.lower else word


def spelling(word: str, options: TagOptions) -> str:
    """The letters that are read: of a long word the first and the last."""
    if len(word) <= options.max_letters:
        return word
    half = options.max_letters // 2
    return word[: options.max_letters - half] + word[len(word) - half :]
