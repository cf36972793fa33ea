"""From options and texts to a trained language model: vocabulary, training, card. In: GenerateOptions, texts. Out: Result."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast, final

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain, to_plain
from tidegate.data.textlines import check_characters, read_text
from tidegate.data.texts import read_texts
from tidegate.data.vocabulary import Codes, Tokenizer, learn
from tidegate.errors import DataError
from tidegate.files import PathLike
from tidegate.given import listed
from tidegate.models.base import data_hash, training_half, versions
from tidegate.models.device_size import Limits, sized
from tidegate.models.drive import Drive, run_options
from tidegate.models.word_vectors import EMBEDDING, embedding_start
from tidegate.runtime.int8 import part_of
from tidegate.runtime.predictor import Floats, Predictor
from tidegate.tasks.fill import FillProblem, build_both, piece
from tidegate.tasks.generate import START, TABLE, GenerateOptions, LanguageProblem, build_spec
from tidegate.tasks.ngrams import WittenBell
from tidegate.tasks.problem import TrainOptions

if TYPE_CHECKING:
    from tidegate.export.deployed import Deployed

USUAL_STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 3500, 2, 100
CHECK_EVERY = 100
CHUNK, MOST_LOGITS = 2048, 1 << 22  # tokens read at once when a text is scored, and numbers made of them
LONGEST_GRAM = {"char": 5, "byte": 5}


@final
@dataclass(frozen=True, eq=False)
class Core:
    """Everything that answers: tokenizer and net. both: the net from both sides, of which `net` is the left-to-right part."""

    options: GenerateOptions
    tokenizer: Tokenizer
    net: Predictor
    both: Predictor | None = None

    @property
    def whole(self) -> Predictor:
        """The net that the file holds."""
        return self.both or self.net

    def step(self, codes: Codes, state: Floats | None) -> tuple[npt.NDArray[np.floating], Floats]:
        """Read (T,) codes, at least one; the logits (V,) of the next one, and the state."""
        for start in range(0, len(codes), self._chunk):
            ran = self.net.run({"tokens": codes[None, start : start + self._chunk, None]}, state)
            state = ran.state
        return ran.outputs["logits"][0, -1], ran.state

    @property
    def _chunk(self) -> int:
        """Tokens read at once, so that their logits stay small."""
        return max(1, min(CHUNK, MOST_LOGITS // self.tokenizer.size))

    def nats(self, codes: Codes) -> npt.NDArray[np.float64]:
        """(N,) -log p of each code after those before it, the first after START.

        The code of the unknown has a probability like any other here.
        """
        before, found, state = np.concatenate([[START], codes]), np.zeros(len(codes)), None
        for start in range(0, len(codes), self._chunk):
            part = slice(start, min(start + self._chunk, len(codes)))
            ran = self.net.run({"tokens": before[None, part, None]}, state)
            found[part], state = surprise(ran.outputs["logits"][0], codes[part]), ran.state
        return found

    def nats_of_both(self, codes: Codes) -> npt.NDArray[np.float64]:
        """(N,) -log p of each code from both sides, in pieces as in training."""
        assert self.both is not None
        around, found = np.concatenate([[START], codes]), np.zeros(len(codes))
        for start in range(0, len(codes), self.options.window):
            read, _ = piece(around, start, self.options.window)
            own = codes[start : start + self.options.window]
            ran = self.both.run({"tokens": read[None, :, None]})
            found[start : start + len(own)] = surprise(ran.outputs["both"][0, : len(own)], own)
        return found


def core_of(options: GenerateOptions, tokenizer: Tokenizer, weights: Mapping[str, Floats]) -> Core:
    """The core of trained weights. Raises: FormatError unless they are those of the options and the vocabulary."""
    left = build_spec(options, tokenizer.size)
    if options.direction == "forward":
        return Core(options, tokenizer, Predictor(left, weights))
    both = Predictor(build_both(options, tokenizer.size), weights)
    return Core(options, tokenizer, Predictor(left, part_of(weights, left)), both)


def surprise(logits: npt.NDArray[np.floating], codes: Codes) -> npt.NDArray[np.float64]:
    """(T,) -log p of each code, from (T, V) logits."""
    exact = np.asarray(logits, np.float64)
    highest = exact.max(-1)
    total = highest + np.log(np.exp(exact - highest[:, None]).sum(-1))
    return np.asarray(total - exact[np.arange(len(exact)), codes])


class Result(NamedTuple):
    """A trained language model."""

    core: Core
    card: dict[str, Plain]
    steps: int


def read(source: PathLike | Sequence[str]) -> list[str]:
    """The texts of a file (one) or of a list. Raises: DataError."""
    if isinstance(source, (str, os.PathLike)):
        text = read_text(Path(source))
        check_characters((text,), read_texts([""]).places, str(source))
        return [text]
    return list(read_texts(listed("texts", source, "give a file's path, or texts in a list")).texts)


def fit(
    options: GenerateOptions, texts: list[str], held_back: list[str] | None, source: str, drive: Drive,
    vectors: PathLike | None = None, held: Limits | None = None,
) -> Result:  # fmt: skip
    """Vocabulary and training. source: what the card calls the text. vectors: where the embedding starts.

    Args:  held: what a device holds, which chooses the hidden size.
    Raises: DataError for a text that is too short; what `embedding_start` and `sized` raise.
    """
    training_half("train")
    closing = held_back is None and options.closing > 0.0 and options.direction == "forward"
    if held_back is None:
        texts, held_back = _split(texts, options.validation)
    size, least = options.vocabulary, options.min_count
    tokenizer, counts = learn(texts, options.units, lower=options.lower, size=size, min_count=least)
    table = f"{TABLE}.weight" if options.tied else EMBEDDING
    start = None if vectors is None else embedding_start(vectors, tokenizer, counts, options.embedding_dim, table)
    options = options if start is None else replace(options, embedding_dim=start.size)
    note = None
    if held is not None:
        options, note = sized(options, held, lambda tried: _on_device(tried, tokenizer))
    codes, kept = (np.concatenate([np.zeros(0, np.int64), *tokenizer.encode(part)]) for part in (texts, held_back))
    problem = _problem(options, tokenizer.size, codes, kept, closing=closing)
    if not (kept != START).any():
        raise DataError(f"the held-back text: expected tokens that training has, got {len(kept):,} unknown ones; bring another")
    from tidegate.train.run import fit_members

    said = json.dumps(to_plain(options), sort_keys=True) + _hash(texts) + _hash(held_back) + ("closing" if closing else "")
    run_id = hashlib.sha256((said + ("" if start is None else start.sha256)).encode()).hexdigest()
    plan = train_options(options, problem.steps_per_epoch, closing=closing)
    result = fit_members(problem, plan, run_options(drive, 1, run_id), given=None if start is None else start.given)
    member = result.members[0]
    core, measured = (core_of(options, tokenizer, cast("dict[str, Floats]", w)) for w in (member.final, member.best))
    card: dict[str, Plain] = {
        "source": source.rsplit("/", 1)[-1], "tokens": len(codes), "held_back_tokens": len(kept),
        "kinds": tokenizer.size - 1, "data_sha256": _hash([*texts, *held_back]),
        "seed": options.seed, "steps": result.steps, "interrupted": result.interrupted,
        "members": [{"best_step": member.best_step, "held_back_loss": member.best_loss, "steps": member.steps}],
        "weights": problem.spec.count(), "held_back": _figures(measured, codes, kept),  # they never saw the held-back text
        "notes": [*_notes(codes, kept), *([] if start is None else [start.note]), *([] if note is None else [note])],
        "versions": versions(),
    }  # fmt: skip
    return Result(core, card, result.steps)


def _on_device(options: GenerateOptions, tokenizer: Tokenizer) -> Deployed:
    """What a device would hold of these options."""
    from tidegate.export.c.budget import untrained
    from tidegate.export.deployed import Deployed

    return Deployed(net=untrained(build_spec(options, tokenizer.size)), task="generate", tokenizer=tokenizer)


def _problem(options: GenerateOptions, tokens: int, codes: Codes, kept: Codes, *, closing: bool) -> LanguageProblem | FillProblem:
    if options.direction == "both":
        return FillProblem(options, build_both(options, tokens), codes, kept)
    return LanguageProblem(options, build_spec(options, tokens), codes, kept, closing=closing)


def _split(texts: list[str], share: float) -> tuple[list[str], list[str]]:
    """The end of the texts, at a line or a blank where one is near, stands back."""
    total = sum(map(len, texts))
    first: list[str] = []
    left = round(total * (1.0 - share))
    for index, text in enumerate(texts):
        if len(text) >= left:
            cut = next((k + 1 for k in range(left - 1, max(left - 200, 0), -1) if text[k] in "\n "), left)
            return [*first, text[:cut]], [part for part in (text[cut:], *texts[index + 1 :]) if part]
        first.append(text)
        left -= len(text)
    raise DataError("the text: expected something to hold back, got nothing; bring more text")


def train_options(options: GenerateOptions, steps_per_epoch: int, *, closing: bool = False) -> TrainOptions:
    """The loop's options from the task's. closing: the held-back text may be trained on."""
    usual = min(max(-(-USUAL_STEPS // steps_per_epoch), FEWEST_EPOCHS), MOST_EPOCHS)
    steps = options.steps or (options.epochs or usual) * steps_per_epoch
    return TrainOptions(
        steps=steps, learning_rate=options.learning_rate, weight_decay=options.weight_decay, clip_norm=options.clip_norm,
        warmup=100, beta2=0.99, patience=options.patience, check_every=CHECK_EVERY, averaging=options.averaging,
        closing=options.closing if closing else 0.0, seed=options.seed, device=options.device,
    )  # fmt: skip


def _figures(core: Core, codes: Codes, kept: Codes) -> dict[str, Plain]:
    """Nats a token of the held-back text: the net's, and the n-gram model's, which needs no net."""
    known = kept != START
    net = core.nats(kept)
    longest = LONGEST_GRAM.get(core.options.units, 3)
    grams = WittenBell(codes, size=core.tokenizer.size, longest=longest).nats(kept)
    count = max(1, int(known.sum()))
    table = {"net": float(net[known].sum()) / count, f"{longest}-grams, Witten-Bell": float(grams[known].sum()) / count}
    if core.both is not None:
        table["net, from both sides"] = float(core.nats_of_both(kept)[known].sum()) / count
    return {"tokens": len(kept), "table": cast("dict[str, Plain]", table)}


def _notes(codes: Codes, kept: Codes) -> list[Plain]:
    said: list[Plain] = []
    for name, part in (("training", codes), ("held-back", kept)):
        unknown = int((part == START).sum())
        if unknown:
            said.append(f"{unknown:,} of {len(part):,} {name} tokens are not in the vocabulary: read as unknown, never foreseen")
    return said


def _hash(texts: Sequence[str]) -> str:
    return data_hash({"text": np.frombuffer(json.dumps(list(texts)).encode(), np.uint8)})
