"""From options and labelled texts to a trained core: vocabulary, training, temperature, card. In: ClassifyOptions, Texts."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, cast, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain, to_plain
from tidegate.data.texts import Texts
from tidegate.data.vocabulary import Codes, Tokenizer, learn
from tidegate.decode.labels import Floats, fit_temperature, probabilities
from tidegate.errors import DataError
from tidegate.files import PathLike
from tidegate.models.base import data_hash, training_half, versions
from tidegate.models.classify_figures import ALONE
from tidegate.models.classify_linear import USUAL_SHARE, Tokens, trained_linear, weighed
from tidegate.models.device_size import Limits, sized
from tidegate.models.drive import Drive, run_options
from tidegate.models.word_vectors import embedding_start
from tidegate.runtime.predictor import Predictor
from tidegate.tasks.classify import (
    EVALUATION_TOKENS,
    FEWEST_EPOCHS,
    MOST_EPOCHS,
    RATE,
    RATE_WORDS,
    USUAL_STEPS,
    USUAL_STEPS_WORDS,
    ClassifyOptions,
    ClassifyProblem,
    Labelled,
    build_spec,
    split,
)
from tidegate.tasks.label_scores import scores
from tidegate.tasks.linear import Linear
from tidegate.tasks.ngrams import NaiveBayes
from tidegate.tasks.problem import GivenRows, TrainOptions
from tidegate.tasks.token_batches import cut, groups, padded

if TYPE_CHECKING:
    from tidegate.export.deployed import Deployed
    from tidegate.train.run import FitResult

CHECKS_PER_EPOCH, LEAST_BETWEEN_CHECKS, LEAST_PATIENCE = 2, 25, 4
MOST_CLASSES = 10_000
Classes = npt.NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Core:
    """Everything that answers: tokenizer, nets, linear model, classes, temperature; and the options that shape them."""

    options: ClassifyOptions
    tokenizer: Tokenizer
    nets: tuple[Predictor, ...]
    classes: tuple[str, ...]
    temperature: float
    linear: Linear | None

    def read(self, texts: Sequence[str]) -> list[list[str]]:
        """Tokens of each text, cut at max_tokens."""
        return cut([self.tokenizer.cut(text) for text in texts], self.options.max_tokens)

    def net_logits(self, tokens: Tokens) -> list[Floats]:
        """(N, K) of each net; a text's bits do not depend on the texts beside it."""
        codes = self.tokenizer.codes(tokens)
        found = [np.zeros((len(codes), len(self.classes))) for _ in self.nets]
        lengths = np.array([len(c) for c in codes], np.int64)
        for rows in groups(lengths, EVALUATION_TOKENS):
            batch, own = padded([codes[k] for k in rows])
            for out, net in zip(found, self.nets, strict=True):
                out[rows] = net.run({"tokens": batch}, lengths={"tokens": own}).outputs["logits"]
        return found

    def logits(self, tokens: Tokens) -> list[Floats]:
        """(N, K) of each net, with the share of the linear model's log-probabilities."""
        found = self.net_logits(tokens)
        if self.linear is None or not self.linear.share:
            return found
        added = self.linear.share * self.linear.logs(tokens)
        return [own + added for own in found]

    def probabilities(self, tokens: Tokens) -> Floats:
        """(N, K), honest by the temperature."""
        if not len(tokens):
            return np.zeros((0, len(self.classes)))
        return probabilities(self.logits(tokens), self.temperature)


class Result(NamedTuple):
    """A trained classifier."""

    core: Core
    card: dict[str, Plain]
    steps: int


def fit(
    options: ClassifyOptions, texts: Texts, held_back: Texts | None, drive: Drive, split_seed: int | None = None,
    vectors: PathLike | None = None, held: Limits | None = None,
) -> Result:  # fmt: skip
    """Vocabulary, training, temperature.

    Args:  split_seed: of what is held back where nothing is given for it; None: the options'. vectors: a file of them, where the
        embedding starts. held: what a device holds, which chooses the hidden size.
    Raises: DataError for what no classifier can be trained on; what `embedding_start` and `sized` raise.
    """
    training_half("train")
    labels = _labels(texts)
    classes = _classes(texts, labels)
    known = {name: k for k, name in enumerate(classes)}
    own = np.array([known[label] for label in labels], np.int64)
    closing = held_back is None and options.closing > 0.0
    if held_back is None:
        rows, back = split(own, options.validation, options.seed if split_seed is None else split_seed)
        learnt, kept = [texts.texts[k] for k in rows], [texts.texts[k] for k in back]
        own, truth = own[rows], own[back]
    else:
        learnt, kept, truth = list(texts.texts), list(held_back.texts), truths(held_back, classes)
    size, least = options.vocabulary, options.min_count
    tokenizer, counts = learn(learnt, options.units, lower=options.lower, size=size, min_count=least)
    start = None if vectors is None else embedding_start(vectors, tokenizer, counts, options.embedding_dim)
    options = options if start is None else replace(options, embedding_dim=start.size)
    note = None
    if held is not None:
        options, note = sized(options, held, lambda tried: _on_device(tried, tokenizer, classes))
    untrained = Core(options, tokenizer, (), classes, 1.0, None)
    tokens = untrained.read(learnt), untrained.read(kept)
    data = Labelled(tokenizer.codes(tokens[0]), own), Labelled(tokenizer.codes(tokens[1]), truth)
    problem = ClassifyProblem(options, build_spec(options, tokenizer.size, len(classes)), *data, counts, closing=closing)
    plan = train_options(options, problem.steps_per_epoch, closing=closing)
    run_id = _run_id(options, texts, held_back, split_seed, "" if start is None else start.sha256)
    result = _trained(plan, options, problem, drive, run_id, None if start is None else start.given)
    # What never saw the held-back texts is weighed, made honest and measured on them; what did is kept.
    measured = _answering(replace(untrained, nets=_nets(problem, [m.best for m in result.members])), tokens, own, truth)
    core = replace(measured, nets=_nets(problem, [m.final for m in result.members]))
    if closing and measured.linear is not None:
        every, classes_of = [*tokens[0], *tokens[1]], np.concatenate([own, truth])
        core = replace(core, linear=trained_linear(every, classes_of, len(classes), options.units, measured.linear.share))
    card = _card(core, texts, result, tokenizer.encode(learnt), own, kept)
    card["held_back"] = _figures(measured, tokens, own, truth) if len(truth) else None
    cast("list[Plain]", card["notes"]).extend([] if start is None else [start.note])
    cast("list[Plain]", card["notes"]).extend([] if note is None else [note])
    return Result(core, card, result.steps)


def _on_device(options: ClassifyOptions, tokenizer: Tokenizer, classes: tuple[str, ...]) -> Deployed:
    """What a device would hold of these options."""
    from tidegate.export.c.budget import untrained as untrained_net
    from tidegate.export.deployed import Deployed

    net = untrained_net(build_spec(options, tokenizer.size, len(classes)))
    return Deployed(net=net, task="classify", tokenizer=tokenizer, classes=classes, longest=options.max_tokens)


def _answering(core: Core, tokens: tuple[Tokens, Tokens], own: Classes, truth: Classes) -> Core:
    """With the linear model beside the nets, and the temperature that makes both honest."""
    if core.options.ngrams:
        linear = trained_linear(tokens[0], own, len(core.classes), core.options.units, USUAL_SHARE)
        core = replace(core, linear=weighed(linear, core.net_logits(tokens[1]), tokens[1], truth))
    return replace(core, temperature=fit_temperature(core.logits(tokens[1]), truth))


def yardsticks(core: Core, codes: Sequence[Codes], own: npt.NDArray[np.int64], asked: Sequence[Codes]) -> dict[str, Floats]:
    """What needs no net: the commonest class, and naive Bayes on n-grams."""
    longest = 4 if core.options.units in ("char", "byte") else 2
    count = len(core.classes)
    bayes = NaiveBayes(codes, own, count=count, longest=longest)
    return {
        f"naive Bayes, 1-{longest}-grams": np.exp(bayes.log_probabilities(asked)),
        "commonest class": np.tile(class_shares(own, count), (len(asked), 1)),
    }


def class_shares(own: npt.NDArray[np.int64], count: int) -> Floats:
    """How common each class is, one added to each count: (K,)."""
    return np.asarray((np.bincount(own, minlength=count) + 1.0) / (len(own) + count))


def _figures(core: Core, tokens: tuple[Tokens, Tokens], own: Classes, truth: Classes) -> dict[str, Plain]:
    codes = [core.tokenizer.codes(part) for part in tokens]
    methods = {"net": core.probabilities(tokens[1]), **yardsticks(core, codes[0], own, codes[1])}
    if core.linear is not None:
        alone = core.net_logits(tokens[1])
        methods[ALONE] = probabilities(alone, fit_temperature(alone, truth))
        methods["n-grams, without net"] = np.exp(core.linear.logs(tokens[1]))
    return {"texts": len(truth), "table": {name: dict(scores(truth, found)) for name, found in methods.items()}}


def truths(texts: Texts, classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """The class of each text. Raises: DataError for a label that the model does not know."""
    known = {name: k for k, name in enumerate(classes)}
    labels = _labels(texts)
    for row, label in enumerate(labels):
        if label not in known:
            shown = ", ".join(classes[:12]) + (", ..." if len(classes) > 12 else "")
            raise DataError(
                f"{texts.source}: {texts.place(row)}: expected one of the classes of training ({shown}), got {label!r}; "
                "add texts of it to the training file, or leave the row out"
            )
    return np.array([known[label] for label in labels], np.int64)


def _labels(texts: Texts) -> tuple[str, ...]:
    if texts.labels is None:
        raise DataError(f"{texts.source}: expected a label beside each text, got none; name its column with label='...'")
    return texts.labels


def _classes(texts: Texts, labels: Sequence[str]) -> tuple[str, ...]:
    """The classes, in alphabetical order. Raises: DataError unless there are at least two of them."""
    counts = Counter(labels)
    if not 2 <= len(counts) <= MOST_CLASSES:
        raise DataError(
            f"{texts.source}: expected 2 to {MOST_CLASSES:,} classes, got {len(counts):,} "
            f"({', '.join(map(repr, sorted(counts)[:3]))}); name the column of the label with label='...'"
        )
    return tuple(sorted(counts))


def _trained(
    plan: TrainOptions, options: ClassifyOptions, problem: ClassifyProblem, drive: Drive, run_id: str, given: GivenRows | None
) -> FitResult:
    from tidegate.train.run import fit_members

    return fit_members(problem, plan, run_options(drive, options.ensemble, run_id), given=given)


def _nets(problem: ClassifyProblem, weights: Sequence[object]) -> tuple[Predictor, ...]:
    return tuple(Predictor(problem.spec, cast("dict[str, npt.NDArray[np.floating]]", own)) for own in weights)


def train_options(options: ClassifyOptions, steps_per_epoch: int, *, closing: bool = False) -> TrainOptions:
    """The loop's options from the task's; held-back texts are looked at twice a pass, where passes are not very short."""
    usual = min(max(-(-USUAL_STEPS.get(options.units, USUAL_STEPS_WORDS) // steps_per_epoch), FEWEST_EPOCHS), MOST_EPOCHS)
    every = max(1, steps_per_epoch // CHECKS_PER_EPOCH, LEAST_BETWEEN_CHECKS)
    patience = max(LEAST_PATIENCE, -(-options.patience * steps_per_epoch // every)) if options.patience else 0
    steps = options.steps or (options.epochs or usual) * steps_per_epoch
    rate = options.learning_rate or RATE.get(options.units, RATE_WORDS)
    return TrainOptions(
        steps=steps, learning_rate=rate, weight_decay=options.weight_decay, clip_norm=options.clip_norm,
        warmup=steps_per_epoch, beta2=0.98, patience=patience, check_every=every, averaging=options.averaging,
        closing=options.closing if closing else 0.0, seed=options.seed, device=options.device,
    )  # fmt: skip


def _run_id(options: ClassifyOptions, texts: Texts, held_back: Texts | None, split_seed: int | None, start: str) -> str:
    """What a checkpoint must have been made with: options and data. start: the hash of what the embedding starts at."""
    said = [json.dumps(to_plain(options), sort_keys=True), _hash(texts), "" if held_back is None else _hash(held_back)]
    said += [start] if split_seed is None else [start, str(split_seed)]
    return hashlib.sha256("".join(said).encode()).hexdigest()


def _hash(texts: Texts) -> str:
    body = json.dumps([list(texts.texts), None if texts.labels is None else list(texts.labels)])
    return data_hash({"texts": np.frombuffer(body.encode(), np.uint8)})


def _card(
    core: Core, texts: Texts, result: FitResult, codes: Sequence[Codes], own: npt.NDArray[np.int64], kept: Sequence[str]
) -> dict[str, Plain]:
    options, lengths = core.options, [len(c) for c in codes]
    return {
        "source": texts.source.rsplit("/", 1)[-1],
        "texts": len(lengths),
        "held_back_texts": len(kept),
        "classes": len(core.classes),
        "kinds": core.tokenizer.size - 1,
        "data_sha256": _hash(texts),
        "seed": options.seed,
        "steps": result.steps,
        "interrupted": result.interrupted,
        "members": [{"best_step": m.best_step, "held_back_loss": m.best_loss, "steps": m.steps} for m in result.members],
        "weights": core.nets[0].spec.count() * len(core.nets),
        "temperature": core.temperature,
        "ngrams": 0 if core.linear is None else len(core.linear.features.keys),
        "ngram_share": 0.0 if core.linear is None else core.linear.share,
        "shares": cast("list[Plain]", class_shares(own, len(core.classes)).tolist()),
        "notes": _notes(core, texts, lengths),
        "versions": versions(),
    }


def _notes(core: Core, texts: Texts, lengths: Sequence[int]) -> list[Plain]:
    """What reading and training had to decide or bear with."""
    most, said = core.options.max_tokens, cast("list[Plain]", list(texts.notes))
    cut, empty = sum(n > most for n in lengths), sum(n == 0 for n in lengths)
    if cut:
        said.append(f"{cut:,} texts are longer than {most:,} tokens and were cut at their end (max_tokens)")
    if empty:
        said.append(f"{empty:,} texts have no token; they taught how common the classes are and nothing else")
    rare = [name for name, n in sorted(Counter(_labels(texts)).items()) if n == 1]
    if rare:
        said.append(f"{len(rare)} classes have one text, which was trained on and could not be tested: {', '.join(rare[:5])}")
    return said
