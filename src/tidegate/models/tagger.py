"""The tagger that users hold. In: sentences of words with tags. Out: a fitted model; tags, n-best paths, probabilities, streams.

Reading stands in data/tagged.py, the net in tasks/tag.py, training and its checks in tag_fit.py, answers in tag_core.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt

from tidegate import format as container
from tidegate.config import Plain, check_options
from tidegate.data.schemes import Span, spans
from tidegate.data.table import Table
from tidegate.data.tagged import Tagged, read_tagged
from tidegate.data.textlines import Places, check_characters, read_lines
from tidegate.data.vocabulary import cut_words
from tidegate.decode.labels import Floats
from tidegate.errors import ConfigError, DataError
from tidegate.files import PathLike
from tidegate.models import tag_fit as fitting
from tidegate.models import tag_store as store
from tidegate.models.base import options_signature
from tidegate.models.drive import OnEvent, checked_drive
from tidegate.models.quantizing import LIMIT, Measured, Weights, first_of, needed, parts, renewed
from tidegate.models.tag_core import Core
from tidegate.models.tag_stream import TagStream, checked_look, tagged
from tidegate.models.text_model import TextModel
from tidegate.spec import Spec
from tidegate.tasks.label_scores import LabelEvaluation, calibration, calibration_error, confusion
from tidegate.tasks.scoreboard import Scoreboard
from tidegate.tasks.tag import TagOptions
from tidegate.tasks.tag_scores import LARGER, tag_scores, verdict

Given = str | Path | Sequence[str | Sequence[str]]
LOOKS = (0, 1, 2, 4, 8)
COLUMNS = (".conllu", ".conll", ".conll.txt", ".iob", ".iob2", ".bio", ".bioes", ".jsonl")  # files of words, not of text


@final
@dataclass(frozen=True)
class TagPath:
    """One way to tag a sentence, and its probability."""

    tags: tuple[str, ...]
    probability: float


@final
@dataclass(frozen=True)
class TaggedSentence:
    """What a tagger says of a sentence."""

    words: tuple[str, ...]
    tags: tuple[str, ...]  # of the best path
    probabilities: tuple[float, ...]  # of each tag by itself (its marginal)
    paths: tuple[TagPath, ...]  # the n best, best first
    spans: tuple[Span, ...]  # of the best path; none where the tags are no spans
    label: str | None = None  # of the whole sentence
    label_probability: float | None = None

    def __str__(self) -> str:
        width = max(map(len, self.words), default=0)
        rows = [f"{w.ljust(width)}  {t}  {p:.2f}" for w, t, p in zip(self.words, self.tags, self.probabilities, strict=True)]
        return "\n".join([*([] if self.label is None else [f"({self.label}, {self.label_probability:.2f})"]), *rows])


@final
class Tagger(TextModel[TagOptions, Core]):
    """Gives every word of a sentence a tag: parts of speech, names, slots.

    Args:  every option of `tidegate.tasks.tag.TagOptions` by its name (hidden_size=256, decoder="crf", seed=1, ...).
    Raises: ConfigError for an unknown option, with the nearest name, or a value out of range; all faults at once.

    >>> data = [(["the", "dog", "barks"], ["DET", "NOUN", "VERB"]), (["a", "cat", "sleeps"], ["DET", "NOUN", "VERB"])] * 20
    >>> model = Tagger(hidden_size=8, letter_size=4, epochs=40).fit(data, progress=False)
    >>> model.predict([["the", "cat", "barks"]])
    [['DET', 'NOUN', 'VERB']]
    """

    task: ClassVar[str] = "tag"

    def __init__(self, **options: object) -> None:
        super().__init__(check_options(TagOptions, options), options)

    def fit(
        self,
        source: object,
        *,
        column: str | int | None = None,
        labels: PathLike | None = None,
        sentence_labels: PathLike | Sequence[str] | None = None,
        valid: object | None = None,
        valid_labels: PathLike | None = None,
        valid_sentence_labels: PathLike | Sequence[str] | None = None,
        split_seed: int | None = None,
        vectors: PathLike | None = None,
        budget: str | float | None = None,
        checkpoint: PathLike | None = None,
        resume: bool = False,
        history: PathLike | None = None,
        progress: bool | None = None,
        on_event: OnEvent | None = None,
    ) -> Tagger:
        """Train on tagged sentences and return self.

        Args:  source: a path (CoNLL-U, CoNLL columns, JSON lines, blank-separated words, each also .gz) or a list of
            (words, tags); see tidegate.data.tagged. column: of the tags. labels: a second file with the tags, line by line.
            sentence_labels: a file or list with one label of each whole sentence (an intent), learnt beside the tags. valid,
            valid_labels, valid_sentence_labels: sentences that choose the best weights, read alike; without them a share of the
            documents (of the sentences, where the file marks none) is held back, drawn by split_seed (none: the option seed).
            vectors: a file of word2vec or GloVe vectors at which the words start. budget, checkpoint, resume, history, progress:
            as for `Classifier.fit`.
        Raises: DataError; ConfigError; MissingExtra without torch; OutputError.
        """
        if valid is None and (valid_labels is not None or valid_sentence_labels is not None):
            raise ConfigError("valid_labels, valid_sentence_labels: go with valid=...; give it, or leave them out")
        steps = self._given.get("steps")
        drive = checked_drive(
            self.options.device, steps, budget, checkpoint, resume, history, progress, on_event, self._given.get("epochs")
        )
        data = _data(source, column, labels, sentence_labels)
        held_back = None if valid is None else _data(valid, column, valid_labels, valid_sentence_labels)
        if held_back is not None and (held_back.labels is None) != (data.labels is None):
            raise ConfigError("sentence_labels: expected labels of both the training and the held-back sentences, or of neither")
        result = fitting.fit(self.options, data, held_back, drive, split_seed, vectors)
        self._take(*result)
        return self

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags, in the scheme in which they are learnt (see `card["notes"]`)."""
        return self._ready().tags

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of whole sentences; none where training had none."""
        return self._ready().labels

    def predict(self, sentences: Given) -> list[list[str]]:
        """The best tags of each sentence, in the scheme of the training file. sentences: as for `tag`."""
        return fitting.answers(self._ready(), _sentences(sentences))[0]

    def tag(self, sentences: Given, n_best: int = 1) -> list[TaggedSentence]:
        """Everything that the tagger says of each sentence.

        Args:  sentences: a list of sentences, each a list of words, or a raw text, which is cut into runs of letters, numbers and
            signs; one raw text, a sentence a line; or a file as a pathlib.Path: CoNLL-U, CoNLL columns and JSON lines by their
            names (.conllu, .conll, .iob2, .bio, .bioes, .jsonl), their tags unread; any other is a raw text, a sentence a line.
            n_best: paths.
        Raises: DataError; ConfigError; TaskError before `fit`.
        """
        core, given = self._ready(), _sentences(sentences)
        if isinstance(n_best, bool) or not isinstance(n_best, int) or not 1 <= n_best <= 1000:
            raise ConfigError(f"n_best: expected 1 to 1000, got {n_best!r}")
        read = core.encode(given)
        found: list[TaggedSentence | None] = [None] * len(given)
        for scores in core.scores(read):
            decoded = core.decoded(scores, n_best)
            odds = core.label_probabilities(scores) if core.labels else None
            for k, row in enumerate(scores.rows):
                length = int(scores.lengths[k])
                best = decoded.paths.tags[k, 0, :length]
                paths = tuple(
                    TagPath(tuple(core.given(path[:length])), float(share))
                    for path, share, score in zip(decoded.paths.tags[k], decoded.shares[k], decoded.paths.scores[k], strict=True)
                    if np.isfinite(score)
                )
                tags = paths[0].tags
                found[row] = TaggedSentence(
                    tuple(given[row]), tags, tuple(decoded.marginals[k, np.arange(length), best].tolist()), paths,
                    () if core.source_scheme == "plain" else tuple(spans(tags, core.source_scheme)),
                    None if odds is None else core.labels[int(odds[k].argmax())], None if odds is None else float(odds[k].max()),
                )  # fmt: skip
        return [one for one in found if one is not None]

    def evaluate(
        self,
        source: object,
        *,
        column: str | int | None = None,
        labels: PathLike | None = None,
        sentence_labels: PathLike | Sequence[str] | None = None,
        look_ahead: int | None = None,
    ) -> LabelEvaluation:
        """Score the model on tagged sentences that it has not seen, beside the commonest tag.

        Args:  source, column, labels, sentence_labels: as for `fit`. look_ahead: score the stream with this look-ahead instead.
        Tags that training did not have count as wrong, and it is said how many they are. Raises: DataError.
        """
        core = self._ready()
        data = fitting.in_scheme(_data(source, column, labels, sentence_labels), core.source_scheme)
        if data.labels is not None and not core.labels:
            raise ConfigError("sentence_labels: this tagger was trained without labels of sentences; leave them out")
        found = self.tag(list(data.tagged.sentences))
        said = [list(one.tags) for one in found]
        sure = [list(one.probabilities) for one in found]
        if look_ahead is not None:
            said, sure = tagged(core, data.tagged.sentences, checked_look(look_ahead))
        return _evaluation(core, data, said, sure, [str(one.label) for one in found])

    def quantize(
        self, to: str, source: object = None, *, column: str | int | None = None, labels: PathLike | None = None,
        sentence_labels: PathLike | Sequence[str] | None = None, limit: float = LIMIT, force: bool = False,
    ) -> Tagger:  # fmt: skip
        """The tagger in 8 bits, scored beside this one on tagged sentences; this one stays as it is.

        Args:  to: "int8". source, column, labels, sentence_labels: as for `evaluate`. limit: the share of the accuracy, or F1,
            that may be lost. force: whatever is lost.
        Raises: ExportError where more is lost; TaskError for a net that whole numbers do not hold; DataError; ConfigError.
        """

        data = needed(source)

        def score(model: Tagger) -> Measured:
            return first_of(model.evaluate(data, column=column, labels=labels, sentence_labels=sentence_labels).board, "net")

        return self._quantized(to, score, limit, force=force)

    def _parts(self, core: Core) -> list[tuple[Spec, Weights]]:
        return parts(core.nets)

    def _of_parts(self, core: Core, weights: Sequence[Weights]) -> Core:
        return replace(core, nets=renewed(core.nets, weights))

    def look_ahead_costs(
        self, source: object, *, column: str | int | None = None, labels: PathLike | None = None, looks: Sequence[int] = LOOKS
    ) -> Scoreboard:
        """What a stream's look-ahead costs: the measures for each number of words waited for, and for whole sentences."""
        core = self._ready()
        if isinstance(looks, (int, str)):
            raise ConfigError(f"looks: expected several numbers of words, such as (0, 2, 4), got {looks!r}")
        data = fitting.in_scheme(_data(source, column, labels, None), core.source_scheme)
        scheme = None if core.source_scheme == "plain" else core.source_scheme
        board = {}
        for look in looks:
            said, _ = tagged(core, data.tagged.sentences, checked_look(look))
            board[f"{look} words ahead"] = tag_scores(data.tags, said, scheme)
        said, _ = fitting.answers(core, data.tagged.sentences)
        return Scoreboard({**board, "whole sentences": tag_scores(data.tags, said, scheme)}, larger=LARGER)

    def stream(self, look_ahead: int | None = None, *, on_bad: str = "reject", state: bytes | None = None) -> TagStream:
        """Tags word by word: `push(word)` gives the tag of the word `look_ahead` words before, `finish()` the rest.

        Args:  look_ahead: 0 or more; none: 0, and 4 for a net that reads both ways or a conditional random field, whose answers
            get better with the words that follow (`look_ahead_costs` says by how much). on_bad: what an empty word, or one with
            signs that no text has, does: "reject", "hold" or "reset". state: a snapshot to go on from.
        Tags are in the scheme in which they are learnt. Raises: ConfigError, FormatError.
        """
        core = self._ready()
        waits = core.options.bidirectional or core.decoder == "crf" or core.scheme is not None
        look = (4 if waits else 0) if look_ahead is None else look_ahead
        made = TagStream(core, look, on_bad, self._fingerprint)
        made.restore(state)
        return made

    def plot(
        self, path: PathLike, source: object, *, column: str | int | None = None, labels: PathLike | None = None,
        sentence_labels: PathLike | Sequence[str] | None = None,
    ) -> LabelEvaluation:  # fmt: skip
        """Draw which tag is taken for which, and the calibration: a .png or .svg file. The scores drawn.

        Raises: as `evaluate`; OutputError; MissingExtra without matplotlib.
        """
        from tidegate.report.labels import label_picture

        found = self.evaluate(source, column=column, labels=labels, sentence_labels=sentence_labels)
        label_picture(path, found)
        return found

    def _pack(self, core: Core) -> tuple[dict[str, Plain], dict[str, npt.NDArray[np.generic]]]:
        return store.pack(core, self._card, self._steps)

    @classmethod
    def _unpack(cls, file: container.File, where: str) -> tuple[Core, dict[str, Plain]]:
        return store.unpack(file, where)

    def _summary(self) -> str:
        core = self._ready()
        return (
            f"fitted on {self._card['sentences']:,} sentences: {core.options.cell} x {core.options.hidden_size}, "
            f"{len(core.tags)} tags, {core.words.size:,} words, {self._card['weights']:,} weights"
        )


def _data(
    source: object, column: str | int | None, labels: PathLike | None, sentence_labels: PathLike | Sequence[str] | None
) -> fitting.Data:
    read = read_tagged(source, column=column, labels=labels)
    return fitting.Data(read, fitting.sentence_labels(sentence_labels, read))


def _sentences(given: Given) -> list[list[str]]:
    """Sentences of words. Raises: DataError, ConfigError."""
    if isinstance(given, Path):
        if given.name.lower().removesuffix(".gz").endswith(COLUMNS):
            return [list(words) for words in read_tagged(given).sentences]
        return _sentences([line for line in read_lines(given) if line.strip()] or [""])
    if isinstance(given, str):
        return _sentences([line for line in given.splitlines() if line.strip()] or [""])
    if not isinstance(given, (list, tuple)):
        raise ConfigError(f"sentences: expected a text, a list, or a file as a pathlib.Path, got {type(given).__name__}")
    found = []
    for row, one in enumerate(given):
        if not isinstance(one, (str, list, tuple)) or not all(isinstance(word, str) for word in one):
            raise DataError(
                f"sentences: row {row}: expected a raw text or a list of words, got {type(one).__name__}; mend the row"
            )
        words = cut_words(one) if isinstance(one, str) else list(one)
        if "" in words:
            raise DataError(
                f"sentences: row {row}: expected words that are not empty, got '' at place {words.index('')}; leave it out"
            )
        found.append(words)
    check_characters([" ".join(words) for words in found], Places(), "sentences")
    return found


def _evaluation(
    core: Core, data: fitting.Data, said: list[list[str]], odds: list[list[float]], labels: list[str]
) -> LabelEvaluation:
    """The table, which tag is taken for which, and how far the odds can be trusted. odds: of each tag said."""
    scheme = None if core.source_scheme == "plain" else core.source_scheme
    table = {"net": tag_scores(data.tags, said, scheme)}
    known = sorted({tag for own in (*data.tags, *said) for tag in own})
    codes = {tag: k for k, tag in enumerate(known)}
    truth, answer = (np.array([codes[tag] for own in part for tag in own], np.int64) for part in (data.tags, said))
    sure = np.array([p for own in odds for p in own])
    table["net"]["ECE"] = calibration_error(truth == answer, sure)
    commonest = known[int(np.bincount(truth).argmax())]
    table["commonest tag here"] = {**tag_scores(data.tags, [[commonest] * len(own) for own in data.tags], scheme), "ECE": np.nan}
    if data.labels is not None:
        own = np.array(fitting.label_codes(core, data))
        said_labels = np.array([core.labels.index(label) for label in labels])
        table["net"]["label-accuracy"] = float((own == said_labels).mean())
        table["commonest tag here"]["label-accuracy"] = float((own == np.bincount(own).argmax()).mean())
    sentences = list(verdict(table, len(truth), len(said)))
    inner = {tag for path in fitting.inner_tags(core, data.tags) for tag in path}
    strange = sorted(inner - set(core.tags))
    if strange:
        sentences.append(f"Tags that training did not have count as wrong: {', '.join(strange[:5])}.")
    return LabelEvaluation(
        Scoreboard(table, larger=LARGER), tuple(known), confusion(truth, answer, len(known)), tuple(sentences),
        _table(data.tagged, said, sure), calibration(truth == answer, sure),
    )  # fmt: skip


def _table(read: Tagged, said: Sequence[Sequence[str]], sure: Floats) -> Table:
    assert read.tags is not None
    numbers = np.repeat(np.arange(len(read)), [len(words) for words in read.sentences])
    columns = {"sentence": numbers, **{
        name: np.array([item for own in part for item in own], dtype=object)
        for name, part in (("word", read.sentences), ("truth", read.tags), ("tag", said))
    }}  # fmt: skip
    return Table({**columns, "probability": sure})


Tagger.__init__.__signature__ = options_signature(  # type: ignore[attr-defined]  # functions carry attributes
    Tagger.__init__, TagOptions
)
__all__ = ["TagPath", "TaggedSentence", "Tagger"]
