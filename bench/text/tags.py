"""The rows of the tagger: parts of speech, slots and intents, names. In: a row, a seed. Out: figures.

The dev part chooses the best weights; the test part is asked once. Run by run.py.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tidegate as tg
from tidegate.data.schemes import convert
from tidegate.data.tagged import Tagged, read_tagged
from tidegate.tasks.tag_scores import MostFrequentTag, tag_scores

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FOLDS = 5
LOOKS = (0, 1, 2, 4)
Sentences = list[tuple[tuple[str, ...], tuple[str, ...]]]
OPTIONS: dict[str, dict[str, Any]] = {"ewt": {}, "snips": {}, "wikigold": {"ensemble": 3}}


def run_row(name: str, seed: int) -> dict[str, Any]:
    """Fit, choose on dev, ask the test part once."""
    return {"row": name, "seed": seed, "options": OPTIONS[name], **ROWS[name](seed)}


def ewt(seed: int) -> dict[str, Any]:
    """UPOS of gold tokens: 12,544 / 2,001 / 2,077 sentences."""
    paths = [DATA / "ud_english_ewt" / f"en_ewt-ud-{part}.conllu.gz" for part in ("train", "dev", "test")]
    model, found = _fitted("ewt", seed, paths[0], valid=paths[1])
    learnt, test = read_tagged(paths[0]), read_tagged(paths[2])
    plain = MostFrequentTag(learnt.sentences, learnt.tags or ())
    base = tag_scores(test.tags or (), [plain.tags(words) for words in test.sentences], None)
    return {**found, **_asked(model, paths[1], paths[2]), "most_frequent_tag": base["accuracy"], "looks": _looks(model, paths[1])}


def snips(seed: int) -> dict[str, Any]:
    """Slots and the intent in one net: 13,084 / 700 / 700 requests."""
    folders = [DATA / "snips" / part for part in ("train", "valid", "test")]
    tags, kinds = ([folder / name for folder in folders] for name in ("seq.out", "label"))
    model, found = _fitted(
        "snips", seed, folders[0] / "seq.in", labels=tags[0], sentence_labels=kinds[0], valid=folders[1] / "seq.in",
        valid_labels=tags[1], valid_sentence_labels=kinds[1],
    )  # fmt: skip
    asked = {
        part: _figures(model.evaluate(folder / "seq.in", labels=folder / "seq.out", sentence_labels=folder / "label"))
        for part, folder in zip(("dev", "test"), folders[1:], strict=True)
    }
    board = model.look_ahead_costs(folders[1] / "seq.in", labels=tags[1], looks=LOOKS)
    return {**found, **asked, "looks": {name: row["F1"] for name, row in board.figures.items()}}


def wikigold(seed: int) -> dict[str, Any]:
    """Names, 5 folds of documents drawn with a fixed seed; of each fold's training documents a tenth is the dev part."""
    whole = read_tagged(DATA / "wikigold_ner" / "wikigold.conll.txt")
    documents = np.random.default_rng(0).permutation(max(whole.documents) + 1)
    folds, hand, dev, weights = [], [], [], 0
    seconds, cpu_s = 0.0, 0.0
    for fold in range(FOLDS):
        test = set(documents[fold::FOLDS].tolist())
        rest = [d for d in documents.tolist() if d not in test]
        kept = set(rest[: len(rest) // 10])
        parts = [_of(whole, own) for own in (set(rest) - kept, kept, test)]
        model, found = _fitted("wikigold", seed, parts[0], valid=parts[1])
        folds.append(_figures(model.evaluate(parts[2]))["F1"])
        dev.append(_figures(model.evaluate(parts[1]))["F1"])
        seconds, cpu_s, weights = seconds + found["fit_s"], cpu_s + found["fit_cpu_s"], found["weights"]
        hand.append(_hand_made(parts[0] + parts[1], parts[2]))
    mean = {name: float(np.mean(own)) for name, own in (("test", folds), ("dev", dev), ("hand", hand))}
    return {
        "fit_s": seconds, "fit_cpu_s": cpu_s, "weights": weights,
        "test": {"F1": mean["test"], "headline": mean["test"], "folds": folds},
        "dev": {"F1": mean["dev"]}, "crf_on_hand_features": {"F1": mean["hand"], "folds": hand},
    }  # fmt: skip


def _fitted(name: str, seed: int, source: object, **given: Any) -> tuple[tg.Tagger, dict[str, Any]]:
    model = tg.Tagger(**OPTIONS[name], seed=seed)
    began, worked = time.perf_counter(), time.process_time()
    model.fit(source, **given)
    card, cpu_s = model.card, time.process_time() - worked
    return model, {
        "fit_s": time.perf_counter() - began,
        "fit_cpu_s": cpu_s,
        "steps": card["steps"],
        "trained_steps": card["members"],
        "weights": card["weights"],
    }


def _asked(model: tg.Tagger, dev: Path, test: Path) -> dict[str, Any]:
    return {"dev": _figures(model.evaluate(dev)), "test": _figures(model.evaluate(test))}


def _figures(found: Any) -> dict[str, float]:
    own = dict(found.figures)
    return {**own, "headline": own.get("F1", own["accuracy"])}


def _looks(model: tg.Tagger, dev: Path) -> dict[str, float]:
    return {name: row["accuracy"] for name, row in model.look_ahead_costs(dev, looks=LOOKS).figures.items()}


def _of(whole: Tagged, documents: set[int]) -> Sentences:
    rows = [k for k, document in enumerate(whole.documents) if document in documents]
    return [(whole.sentences[k], (whole.tags or ())[k]) for k in rows]


def _hand_made(train: Sentences, test: Sentences) -> float:
    """Span F1 of a conditional random field on hand-made features (sklearn-crfsuite), L-BFGS, c1 = c2 = .1."""
    import sklearn_crfsuite

    field = sklearn_crfsuite.CRF(algorithm="lbfgs", c1=0.1, c2=0.1, max_iterations=100, all_possible_transitions=True)
    learnt = [convert(tags, "iob1", "iob2") for _, tags in train]
    field.fit([_features(words) for words, _ in train], learnt)
    said = field.predict([_features(words) for words, _ in test])
    return tag_scores([convert(tags, "iob1", "iob2") for _, tags in test], [list(tags) for tags in said], "iob2")["F1"]


def _features(words: Sequence[str]) -> list[dict[str, str | bool]]:
    """The word, its ends, its form, and its neighbours."""
    found = []
    for k, word in enumerate(words):
        own: dict[str, str | bool] = {
            "lower": word.lower(), "end3": word[-3:], "end2": word[-2:], "start3": word[:3], "form": _form(word),
            "title": word.istitle(), "upper": word.isupper(), "digit": word.isdigit(),
            "first": k == 0, "last": k == len(words) - 1,
        }  # fmt: skip
        for step in (-2, -1, 1, 2):
            if 0 <= k + step < len(words):
                other = words[k + step]
                own |= {f"{step}:lower": other.lower(), f"{step}:title": other.istitle(), f"{step}:form": _form(other)}
        found.append(own)
    return found


def _form(word: str) -> str:
    """Xxx-99: capitals, small letters and digits, each run once."""
    out = ""
    for letter in word:
        kind = "X" if letter.isupper() else "x" if letter.islower() else "9" if letter.isdigit() else letter
        out += "" if out.endswith(kind) else kind
    return out


ROWS = {"ewt": ewt, "snips": snips, "wikigold": wikigold}
