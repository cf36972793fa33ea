"""From options and pairs of texts to a trained core: vocabularies, training, card. In: TranslateOptions, Pairs. Out: Result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np

from tidegate.config import Plain, to_plain
from tidegate.data.pairs import Pairs
from tidegate.data.vocabulary import UNKNOWN, Codes, Tokenizer, learn
from tidegate.errors import DataError
from tidegate.models.base import data_hash, training_half, versions
from tidegate.models.drive import Drive, run_options
from tidegate.models.translate_core import Beam, Core, Weights
from tidegate.tasks.problem import TrainOptions
from tidegate.tasks.text_scores import USUAL, baselines, check_measures, commonest, scoreboard
from tidegate.tasks.translate import (
    FEWEST_EPOCHS,
    MOST_EPOCHS,
    USUAL_STEPS,
    CodedPairs,
    TranslateOptions,
    TranslateProblem,
)
from tidegate.tasks.translate_nets import build_nets

MOST_SCORED = 500  # held-back pairs that are translated for the card
CHECKS_PER_EPOCH, LEAST_BETWEEN_CHECKS, LEAST_PATIENCE = 1, 25, 4


class Result(NamedTuple):
    """A trained translator. usual: the most frequent target of training."""

    core: Core
    card: dict[str, Plain]
    steps: int


class _Kept(NamedTuple):
    """Pairs that can be trained on, and how many could not."""

    sources: list[str]
    targets: list[str]
    coded: CodedPairs
    empty: int
    long: int


def fit(options: TranslateOptions, pairs: Pairs, held_back: Pairs | None, drive: Drive, split_seed: int | None = None) -> Result:
    """Vocabularies and training. split_seed: of what is held back where nothing is given for it; None: the options'.

    Raises: DataError for what no translator can be trained on; MissingExtra.
    """
    training_half("train")
    check_measures(USUAL)
    learnt, kept = _parts(pairs, held_back, options, options.seed if split_seed is None else split_seed)
    blank = len(pairs) + len(held_back or ()) - len(learnt[0]) - len(kept[0])
    source, target = _tokenizers(options, *learnt)
    train, back = (_kept(options, source, target, *part) for part in (learnt, kept))
    for name, part in ((pairs.source, train), ("the held-back pairs", back)):
        if not part.sources:
            raise DataError(f"{name}: expected a pair with tokens on both sides, none above max_tokens, got none")
    nets = build_nets(options, source.size, target.size + 1)
    problem = TranslateProblem(options, nets, train.coded, back.coded, target.size)
    from tidegate.train.run import fit_members

    said = json.dumps(to_plain(options), sort_keys=True) + _hash(pairs)
    said += str(split_seed) + ("" if held_back is None else _hash(held_back))
    driven = run_options(drive, options.ensemble, hashlib.sha256(said.encode()).hexdigest())
    result = fit_members(problem, train_options(options, problem.steps_per_epoch), driven)
    weights = tuple(cast(Weights, m.final) for m in result.members)
    longest = max(len(c) for c in train.coded.targets) + 1
    core = Core(options, source, target, weights, longest)
    card: dict[str, Plain] = {
        "source": pairs.source.rsplit("/", 1)[-1], "pairs": len(train.sources), "held_back_pairs": len(back.sources),
        "source_kinds": source.size - 1, "target_kinds": target.size - 1,
        "data_sha256": _hash(pairs), "seed": options.seed, "steps": result.steps, "interrupted": result.interrupted,
        "members": [{"best_step": m.best_step, "held_back_loss": m.best_loss, "steps": m.steps} for m in result.members],
        "weights": problem.spec.count() * len(weights), "usual": commonest(train.targets)[:1000],
        "notes": _notes(options, pairs, train, back, blank), "versions": versions(),
    }  # fmt: skip
    card["held_back"] = _figures(core, back, str(card["usual"]))
    return Result(core, card, result.steps)


def _parts(
    pairs: Pairs, held_back: Pairs | None, options: TranslateOptions, seed: int
) -> tuple[tuple[list[str], list[str]], tuple[list[str], list[str]]]:
    """Sources and targets to train on, and those held back: all pairs of a source together, so that none stands in both.

    Pairs with a side without a letter or sign are left out.
    """
    rows = _with_text(pairs)
    if held_back is not None:
        return _sides(rows), _sides(_with_text(held_back))
    sources = sorted({source for source, _ in rows})
    if len(sources) < 2:
        raise DataError(
            f"{pairs.source}: expected at least 2 different sources with text on both sides, one to hold back, got {len(sources)}"
        )
    order = np.random.default_rng([seed, 1]).permutation(len(sources))
    count = min(max(1, round(options.validation * len(sources))), len(sources) - 1)
    back = {sources[k] for k in order[:count]}
    first, second = [[r for r in rows if (r[0] in back) == held] for held in (False, True)]
    return _sides(first), _sides(second)


def _with_text(pairs: Pairs) -> list[tuple[str, str]]:
    return [(a, b) for a, b in zip(pairs.sources, pairs.targets, strict=True) if a.strip() and b.strip()]


def _sides(rows: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [a for a, _ in rows], [b for _, b in rows]


def _tokenizers(options: TranslateOptions, sources: list[str], targets: list[str]) -> tuple[Tokenizer, Tokenizer]:
    o = options
    if o.shared:
        both, _ = learn([*sources, *targets], o.units, lower=o.lower, size=o.vocabulary, min_count=o.min_count)
        return both, both
    size = o.target_vocabulary or o.vocabulary
    return (
        learn(sources, o.units, lower=o.lower, size=o.vocabulary, min_count=o.min_count)[0],
        learn(targets, o.target_units or o.units, lower=o.lower, size=size, min_count=o.min_count)[0],
    )


def _kept(options: TranslateOptions, source: Tokenizer, target: Tokenizer, sources: list[str], targets: list[str]) -> _Kept:
    codes, answers = [c[: options.max_tokens] for c in source.encode(sources)], target.encode(targets)
    sound = [k for k, (a, b) in enumerate(zip(codes, answers, strict=True)) if len(a) and 0 < len(b) <= options.max_tokens]
    empty = sum(not len(a) or not len(b) for a, b in zip(codes, answers, strict=True))
    coded = CodedPairs([codes[k] for k in sound], [answers[k] for k in sound])
    long = len(codes) - empty - len(sound)
    return _Kept([sources[k] for k in sound], [targets[k] for k in sound], coded, empty, long)


def train_options(options: TranslateOptions, steps_per_epoch: int) -> TrainOptions:
    """The loop's options from the task's; held-back pairs are looked at once a pass, where passes are not very short."""
    usual = min(max(-(-USUAL_STEPS // steps_per_epoch), FEWEST_EPOCHS), MOST_EPOCHS)
    every = max(1, steps_per_epoch // CHECKS_PER_EPOCH, LEAST_BETWEEN_CHECKS)
    patience = max(LEAST_PATIENCE, -(-options.patience * steps_per_epoch // every)) if options.patience else 0
    steps = options.steps or (options.epochs or usual) * steps_per_epoch
    return TrainOptions(
        steps=steps, learning_rate=options.learning_rate, weight_decay=options.weight_decay, clip_norm=options.clip_norm,
        warmup=200, beta2=0.98, patience=patience, check_every=every, averaging=options.averaging, closing=0.0,
        seed=options.seed, device=options.device,
    )  # fmt: skip


def _figures(core: Core, back: _Kept, usual: str) -> dict[str, Plain]:
    """Greedy answers to held-back pairs, evenly drawn from all, beside those of methods that need no net."""
    rows = np.linspace(0, len(back.sources) - 1, min(len(back.sources), MOST_SCORED)).astype(int)  # a file may be sorted
    sources, targets = [back.sources[k] for k in rows], [back.targets[k] for k in rows]
    if core.options.lower:
        sources, targets = [t.lower() for t in sources], [t.lower() for t in targets]
    answers = [core.target.decode(own[0].codes) for own in core.search(core.encode(sources), Beam())]
    board = scoreboard({"net": answers, **baselines(sources, usual)}, [[t] for t in targets])
    return {"texts": len(sources), "table": {name: dict(row) for name, row in board.figures.items()}}


def _notes(options: TranslateOptions, pairs: Pairs, train: _Kept, back: _Kept, blank: int) -> list[Plain]:
    """What reading and training had to decide or bear with. blank: pairs that were left out for a side without text."""
    said = cast("list[Plain]", list(pairs.notes))
    empty, long = blank + train.empty + back.empty, train.long + back.long
    if empty:
        said.append(f"{empty:,} pairs have a side without a token and were left out")
    if long:
        said.append(f"{long:,} pairs have a target of more than {options.max_tokens:,} tokens and were left out (max_tokens)")
    cut = sum(len(c) == options.max_tokens for c in train.coded.sources)
    if cut:
        said.append(f"{cut:,} sources have {options.max_tokens:,} tokens or more; what is past them was cut off (max_tokens)")
    for name, part in (("training", train), ("held-back", back)):
        unknown, count = _unknown(part.coded.targets)
        if unknown:
            said.append(f"{unknown:,} of {count:,} {name} target tokens are not in the vocabulary: never trained on, never said")
    return said


def _unknown(codes: Sequence[Codes]) -> tuple[int, int]:
    return sum(int((c == UNKNOWN).sum()) for c in codes), sum(map(len, codes))


def _hash(pairs: Pairs) -> str:
    body = json.dumps([list(pairs.sources), list(pairs.targets)])
    return data_hash({"pairs": np.frombuffer(body.encode(), np.uint8)})
