"""From options and tagged sentences to a trained core: vocabularies, training, temperature, card. In: TagOptions, Tagged."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain, to_plain
from tidegate.data.schemes import Scheme, convert, detect
from tidegate.data.tagged import Tagged
from tidegate.data.textlines import read_lines
from tidegate.data.texts import listed
from tidegate.data.vocabulary import Codes, Tokenizer, most_frequent
from tidegate.decode.labels import Floats, best_temperature, fit_temperature
from tidegate.decode.viterbi import NEVER
from tidegate.errors import ConfigError, DataError
from tidegate.files import PathLike
from tidegate.models.base import data_hash, training_half, versions
from tidegate.models.drive import Drive, run_options
from tidegate.models.tag_core import MOST_TAGS, Core, inner_scheme, plain_word, spelling
from tidegate.models.word_vectors import embedding_start
from tidegate.runtime.predictor import Predictor, operations
from tidegate.tasks.problem import TrainOptions
from tidegate.tasks.tag import (
    FEWEST_EPOCHS,
    MOST_EPOCHS,
    USUAL_STEPS,
    Sentences,
    TagOptions,
    TagProblem,
    Truth,
    build_spec,
    resolved,
)
from tidegate.tasks.tag_scores import MostFrequentTag, tag_scores

CHECKS_PER_EPOCH, LEAST_BETWEEN_CHECKS, LEAST_PATIENCE = 1, 25, 4


class Data(NamedTuple):
    """Sentences with tags, and with labels where each has one."""

    tagged: Tagged
    labels: tuple[str, ...] | None

    @property
    def tags(self) -> tuple[tuple[str, ...], ...]:
        """Of each word. Raises: DataError where there are none."""
        if self.tagged.tags is None:
            raise DataError(
                f"{self.tagged.source}: expected a tag beside each word, got none; name its column with column=..., "
                "or the file of the tags with labels=..."
            )
        return self.tagged.tags

    def rows(self, own: Sequence[int]) -> Data:
        """Some of the sentences."""
        t = self.tagged
        kept = Tagged(
            tuple(t.sentences[k] for k in own), None if t.tags is None else tuple(t.tags[k] for k in own),
            tuple(t.documents[k] for k in own), t.source, t.places,
            None if t.word_lines is None else tuple(t.word_lines[k] for k in own),
        )  # fmt: skip
        return Data(kept, None if self.labels is None else tuple(self.labels[k] for k in own))


class Result(NamedTuple):
    """A trained tagger."""

    core: Core
    card: dict[str, Plain]
    steps: int


def sentence_labels(given: PathLike | Sequence[str] | None, tagged: Tagged) -> tuple[str, ...] | None:
    """A label of each sentence, from a file (a line each) or a list. Raises: DataError."""
    if given is None:
        return None
    if isinstance(given, (str, os.PathLike)):
        found, source = [line.strip() for line in read_lines(Path(given))], str(given)
    else:
        found, source = [str(label) for label in listed(given, "sentence_labels")], "sentence_labels"
    if len(found) != len(tagged):
        raise DataError(f"{source}: expected a label of each of the {len(tagged):,} sentences, got {len(found):,}; mend the file")
    empty = next((k for k, label in enumerate(found) if not label), None)
    if empty is not None:
        raise DataError(f"{source}: line {empty + 1}: expected a label, got an empty line; mend the file")
    return tuple(found)


def fit(
    options: TagOptions, data: Data, held_back: Data | None, drive: Drive, split_seed: int | None = None,
    vectors: PathLike | None = None,
) -> Result:  # fmt: skip
    """Vocabularies, training, temperature.

    Args:  split_seed: of what is held back where nothing is given for it; None: the options'. vectors: a file of them, where the
        embedding of words starts.
    Raises: DataError for what no tagger can be trained on; what `embedding_start` raises.
    """
    training_half("train")
    scheme = _scheme(options, data)
    seed = options.seed if split_seed is None else split_seed
    learnt, kept = (data, in_scheme(held_back, scheme)) if held_back is not None else _split(data, options, seed)
    options = resolved(options, sum(map(len, learnt.tagged.sentences)))
    core = _untrained(options, learnt, kept, scheme)
    counts = _counts(core, learnt)
    start = None if vectors is None else embedding_start(vectors, core.words, counts, options.embedding_dim, "word.weight")
    if start is not None:
        options = replace(options, embedding_dim=start.size)
        core = replace(core, options=options)
    labels = len(core.labels)
    spec = build_spec(options, core.words.size, core.letters.size, len(core.tags), labels, core.decoder)
    read = [core.encode(part.tagged.sentences) for part in (learnt, kept)]
    truth = [truths(core, part) for part in (learnt, kept)]
    problem = TagProblem(options, spec, (read[0], truth[0]), (read[1], truth[1]), counts)
    from tidegate.train.run import fit_members

    said = [json.dumps(to_plain(options), sort_keys=True), _hash(data), "" if held_back is None else _hash(held_back)]
    said += [str(split_seed), "" if start is None else start.sha256]
    trained = train_options(options, problem.steps_per_epoch)
    run = run_options(drive, options.ensemble, hashlib.sha256("".join(said).encode()).hexdigest())
    result = fit_members(problem, trained, run, given=None if start is None else start.given)
    nets = tuple(Predictor(spec, cast("dict[str, npt.NDArray[np.floating]]", m.final)) for m in result.members)
    core = _honest(replace(core, nets=nets), read[1], truth[1])
    card: dict[str, Plain] = {
        "source": data.tagged.source.rsplit("/", 1)[-1], "sentences": len(learnt.tagged), "held_back_sentences": len(kept.tagged),
        "words": int(read[0].lengths.sum()), "tags": len(core.tags), "kinds": core.words.size - 1, "data_sha256": _hash(data),
        "seed": options.seed, "steps": result.steps, "interrupted": result.interrupted,
        "members": [{"best_step": m.best_step, "held_back_loss": m.best_loss, "steps": m.steps} for m in result.members],
        "weights": spec.count() * len(nets), "versions": versions(),
    }  # fmt: skip
    card["notes"] = [*_notes(core, learnt, scheme), *([] if start is None else [start.note])]
    card["held_back"] = _figures(core, learnt, kept)
    return Result(core, card, result.steps)


def _scheme(options: TagOptions, data: Data) -> Scheme | str:
    """The scheme that the tags are in. Raises: ConfigError where one is asked for that they cannot have."""
    found = detect(data.tags)
    if found == "plain" and options.scheme is not None:
        raise ConfigError(f"scheme={options.scheme!r}: expected tags of spans such as B-PER, got others; leave the option out")
    return found


def in_scheme(data: Data, scheme: Scheme | str) -> Data:
    """With the tags in the scheme of the training file. Raises: DataError where one file has spans and the other has none."""
    found, tags = detect(data.tags), data.tags
    if found == scheme or all(tag == "O" for own in tags for tag in own):
        return data
    if "plain" in (found, scheme):
        kinds = ("tags of single words", f"spans in {found}") if scheme == "plain" else (f"spans in {scheme}", "other tags")
        raise DataError(f"{data.tagged.source}: expected {kinds[0]}, as in training, got {kinds[1]}; name another column or file")
    turned = tuple(tuple(convert(own, cast("Scheme", found), cast("Scheme", scheme))) for own in tags)
    return Data(replace(data.tagged, tags=turned), data.labels)


def _untrained(options: TagOptions, learnt: Data, kept: Data, scheme: str) -> Core:
    """Vocabularies and tags. Raises: DataError unless there are two tags at least, and not far too many."""
    count = Counter(plain_word(word, options) for words in learnt.tagged.sentences for word in words)
    words = most_frequent(count, size=options.vocabulary, min_count=options.min_count)
    if not words:
        raise DataError(
            f"{learnt.tagged.source}: expected a word that occurs {options.min_count} times, got none; lower min_count"
        )
    spelt = {word for words in learnt.tagged.sentences for word in words}
    letters = tuple(sorted({letter for word in spelt for letter in spelling(word, options)})) if options.letters else ()
    none = np.zeros((0, 2), np.int32)
    labels = () if learnt.labels is None else tuple(sorted({*learnt.labels, *(kept.labels or ())}))
    core = Core(
        options, Tokenizer("token", options.lower, words, none), Tokenizer("char", False, letters, none), (), labels, scheme, ()  # type: ignore[arg-type]  # detect gives one of them
    )  # fmt: skip
    inner = [inner_tags(core, part.tags) for part in (learnt, kept)]
    outside = {"O"} if core.scheme is not None else set()  # so that a sentence of any length has a well-formed path
    tags = tuple(sorted({tag for part in inner for own in part for tag in own} | outside))
    if len(labels) == 1:
        raise DataError(f"sentence_labels: expected two labels at least, got {labels[0]!r} alone; leave them out")
    if not 2 <= len(tags) <= MOST_TAGS:
        raise DataError(
            f"{learnt.tagged.source}: expected 2 to {MOST_TAGS:,} tags, got {len(tags):,} "
            f"({', '.join(map(repr, tags[:3]))}); name the column of the tags with column=..."
        )
    return replace(core, tags=tags)


def inner_tags(core: Core, tags: Sequence[Sequence[str]]) -> list[list[str]]:
    """Tags in the scheme in which they are learnt."""
    if core.source_scheme == "plain" or core.scheme is None:
        return [list(own) for own in tags]
    return [convert(own, core.source_scheme, core.scheme) for own in tags]


def truths(core: Core, data: Data) -> Truth:
    """Tags and labels as numbers. Raises: DataError for one that training did not have."""
    known = {tag: k for k, tag in enumerate(core.tags)}
    inner = inner_tags(core, data.tags)
    for row, own in enumerate(inner):
        for place, tag in enumerate(own):
            if tag not in known:
                where = f"{data.tagged.source}: {data.tagged.place(row, place)}"
                got = data.tags[row][place]
                raise DataError(f"{where}: expected a tag of training, got {got!r}; train on sentences with it")
    labels = None if not core.labels else np.array(label_codes(core, data), np.int64)
    return Truth([np.array([known[tag] for tag in own], np.int64) for own in inner], labels)


def label_codes(core: Core, data: Data) -> list[int]:
    """The labels of the sentences as numbers. Raises: DataError for one that training did not have."""
    known = {label: k for k, label in enumerate(core.labels)}
    if data.labels is None:
        raise DataError(
            f"{data.tagged.source}: expected a label of each sentence, as in training, got none; give sentence_labels"
        )
    unknown = next((label for label in data.labels if label not in known), None)
    if unknown is not None:
        raise DataError(f"sentence_labels: expected one of {', '.join(core.labels[:12])}, got {unknown!r}; mend the file")
    return [known[label] for label in data.labels]


def _split(data: Data, options: TagOptions, seed: int) -> tuple[Data, Data]:
    """Documents to train on and documents held back, by their share of the sentences. Raises: DataError for one alone."""
    documents = np.asarray(data.tagged.documents)
    names = np.random.default_rng([seed, 1]).permutation(documents.max() + 1)
    if len(names) < 2:
        raise DataError(
            f"{data.tagged.source}: expected two documents or sentences at least, since some are held back, got one; "
            "give a file of held-back sentences with valid=..."
        )
    sizes = np.bincount(documents)[names].cumsum()
    last = int(np.searchsorted(sizes, options.validation * len(documents))) + 1
    back = np.isin(documents, names[: min(last, len(names) - 1)])
    return data.rows(np.flatnonzero(~back).tolist()), data.rows(np.flatnonzero(back).tolist())


def _counts(core: Core, data: Data) -> Codes:
    words = core.words.codes([[plain_word(w, core.options) for w in own] for own in data.tagged.sentences])
    return np.bincount(np.concatenate(words), minlength=core.words.size).astype(np.int64)


def train_options(options: TagOptions, steps_per_epoch: int) -> TrainOptions:
    """The loop's options from the task's; held-back sentences are looked at once a pass, where passes are not very short."""
    usual = min(max(-(-USUAL_STEPS // steps_per_epoch), FEWEST_EPOCHS), MOST_EPOCHS)
    every = max(1, steps_per_epoch // CHECKS_PER_EPOCH, LEAST_BETWEEN_CHECKS)
    patience = max(LEAST_PATIENCE, -(-options.patience * steps_per_epoch // every)) if options.patience else 0
    steps = options.steps or (options.epochs or usual) * steps_per_epoch
    return TrainOptions(
        steps=steps, learning_rate=options.learning_rate, weight_decay=options.weight_decay, clip_norm=options.clip_norm,
        warmup=min(100, steps_per_epoch), beta2=0.98, patience=patience, check_every=every, averaging=options.averaging,
        closing=0.0, seed=options.seed, device=options.device,
    )  # fmt: skip


def _honest(core: Core, read: Sentences, truth: Truth) -> Core:
    """With the temperatures that make the held-back sentences likeliest."""
    found = list(core.scores(read))
    parts = {name: np.maximum(part, NEVER) for name, part in zip(("transitions", "start", "end"), core.chain, strict=True)}
    reached = [_path_scores(own.tags, [truth.tags[k] for k in own.rows], *parts.values()) for own in found]

    def loss(temperature: float) -> float:
        cooled = {name: part / temperature for name, part in parts.items()}
        total = 0.0
        for own, path in zip(found, reached, strict=True):
            log_partition, _ = operations().crf(own.tags / temperature, own.lengths, cooled)
            total += float((log_partition - path / temperature).sum())
        return total

    labels = 1.0
    if truth.labels is not None:
        order = np.concatenate([own.rows for own in found])
        logits = [np.concatenate([own.labels[k] for own in found]) for k in range(len(core.nets))]
        labels = fit_temperature(logits, truth.labels[order])
    return replace(core, temperature=best_temperature(loss), label_temperature=labels)


def _path_scores(
    scores: Floats, paths: Sequence[Codes], transitions: npt.NDArray[np.floating], start: npt.NDArray[np.floating],
    end: npt.NDArray[np.floating],
) -> Floats:  # fmt: skip
    """What each row's path scores, (B,); one that the scheme forbids counts as its words alone."""
    found = []
    for own, path in zip(scores, paths, strict=True):
        steps = np.array([*transitions[path[:-1], path[1:]], start[path[0]], end[path[-1]]])
        found.append(own[np.arange(len(path)), path].sum() + steps[steps > NEVER / 2].sum())
    return np.array(found)


def _figures(core: Core, learnt: Data, kept: Data) -> Plain:
    """The net beside the most frequent tag, on the held-back sentences."""
    said, labels = answers(core, kept.tagged.sentences)
    scheme = None if core.source_scheme == "plain" else core.source_scheme
    plain = MostFrequentTag(learnt.tagged.sentences, learnt.tags)
    methods = {"net": said, "most frequent tag": [plain.tags(words) for words in kept.tagged.sentences]}
    table = {name: tag_scores(kept.tags, own, scheme) for name, own in methods.items()}
    if core.labels:
        truth = np.array(label_codes(core, kept))
        commonest = np.bincount(label_codes(core, learnt)).argmax()
        table["net"]["label-accuracy"] = float((labels == truth).mean())
        table["most frequent tag"]["label-accuracy"] = float((commonest == truth).mean())
    return {"texts": len(kept.tagged), "table": cast("dict[str, Plain]", table)}


def answers(core: Core, sentences: Sequence[Sequence[str]]) -> tuple[list[list[str]], Codes]:
    """The best tags of each sentence, and the number of its label (0 without labels)."""
    read = core.encode(sentences)
    said: list[list[str]] = [[] for _ in sentences]
    labels = np.zeros(len(sentences), np.int64)
    for scores in core.scores(read):
        paths = core.best(scores)
        for k, row in enumerate(scores.rows.tolist()):
            said[row] = core.given(paths[k, : scores.lengths[k]])
        if core.labels:
            labels[scores.rows] = core.label_probabilities(scores).argmax(1)
    return said, labels


def _hash(data: Data) -> str:
    body = json.dumps([data.tagged.sentences, data.tagged.tags, data.labels])
    return data_hash({"sentences": np.frombuffer(body.encode(), np.uint8)})


def _notes(core: Core, data: Data, scheme: str) -> list[Plain]:
    """What reading and training had to decide or bear with."""
    said: list[Plain] = []
    if core.source_scheme != "plain":
        own: Scheme = core.source_scheme
        ill = sum(convert(tags, own, own) != list(tags) for tags in data.tags)
        said.append(f"the tags are spans in the scheme {scheme}; learnt in {inner_scheme(core.options)}, answered in {scheme}")
        if ill:
            said.append(
                f"{ill:,} sentences have tags that break the scheme {scheme}; their spans were read as conlleval reads them"
            )
    once = [tag for tag, n in sorted(Counter(tag for own in data.tags for tag in own).items()) if n == 1]
    if once:
        said.append(f"{len(once)} tags occur once in training: {', '.join(once[:5])}")
    if core.options.letters and (long := sum(len(w) > core.options.max_letters for own in data.tagged.sentences for w in own)):
        said.append(
            f"of {long:,} words longer than {core.options.max_letters} letters the first and the last are read (max_letters)"
        )
    return said


__all__ = ["Data", "Result", "answers", "fit", "inner_tags", "label_codes", "sentence_labels", "truths"]
