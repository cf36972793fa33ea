"""The rows of the translator: translation, spelling to sounds, summaries, reversed sequences. In: a row, a seed. Out: figures.

The dev part chooses the best weights and the length penalty; the test part is asked once. Run by run.py.
"""

from __future__ import annotations

import gzip
import json
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tidegate as tg
from tidegate.models.translator import evaluation
from tidegate.tasks.text_scores import ROUGE, USUAL, Measure, TextEvaluation

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PENALTIES = (0.0, 0.6, 1.0)
BEAM = 5
SHOWN = 10  # answers in the JSON, the first of the test part


class Part(NamedTuple):
    """Sources and the references of each."""

    sources: list[str]
    references: list[list[str]]

    @property
    def pairs(self) -> tuple[list[str], list[str]]:
        """Every reference is a pair."""
        rows = [(s, t) for s, own in zip(self.sources, self.references, strict=True) for t in own]
        return [s for s, _ in rows], [t for _, t in rows]


class Parts(NamedTuple):
    """What is trained on, what chooses, what is asked once."""

    train: Part
    dev: Part
    test: Part


def lines(path: Path) -> list[str]:
    """The lines of a gzipped file of UTF-8."""
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def multi30k() -> Parts:
    """German to English, lower-cased: 29,000 / 1,014 / 1,000."""
    found = []
    for part in ("train", "val", "test_2016_flickr"):
        german, english = ([line.lower() for line in lines(DATA / "multi30k" / f"{part}.{side}.gz")] for side in ("de", "en"))
        found.append(Part(german, [[line] for line in english]))
    return Parts(*found)


def cmudict() -> Parts:
    """Letters to phones without stress, all variants of a word together: 5 % of the words asked, 2 % of them choose."""
    variants: dict[str, list[str]] = defaultdict(list)
    for line in lines(DATA / "cmudict" / "cmudict.dict.gz"):
        word, _, phones = line.partition("#")[0].strip().partition(" ")
        plain = " ".join(phone.rstrip("012") for phone in phones.split())
        own = variants[word.partition("(")[0] if word.endswith(")") else word]
        if plain not in own:
            own.append(plain)
    words = sorted(variants)
    order = [words[k] for k in np.random.default_rng(0).permutation(len(words))]
    test, dev = round(0.05 * len(order)), round(0.07 * len(order))
    cuts = order[dev:], order[test:dev], order[:test]
    return Parts(*(Part(own, [variants[word] for word in own]) for own in cuts))


def scitldr() -> Parts:
    """Abstracts to one sentence: 1,992 / 619 / 618; where a paper has several summaries, the nearest counts."""
    found = []
    for part in ("train", "dev", "test"):
        rows = [json.loads(line) for line in lines(DATA / "scitldr" / f"{part}.jsonl.gz")]
        found.append(Part([" ".join(row["source"]) for row in rows], [[t.strip() for t in row["target"]] for row in rows]))
    return Parts(*found)


def reversed_pairs() -> Parts:
    """50,000 distinct strings of 1 to 20 of 26 letters and what they are backwards: 45,000 / 2,500 / 2,500."""
    rng, found = np.random.default_rng(0), dict.fromkeys(["a"])
    while len(found) < 50_000:
        found[bytes(rng.integers(ord("a"), ord("z") + 1, rng.integers(1, 21), dtype=np.uint8)).decode()] = None
    made = list(found)
    texts = [made[k] for k in rng.permutation(len(made))]
    cuts = texts[:45_000], texts[45_000:47_500], texts[47_500:]
    return Parts(*(Part(own, [[text[::-1]] for text in own]) for own in cuts))


class Row(NamedTuple):
    """A row: its data, options of the Translator, measures."""

    load: Any
    options: dict[str, Any]
    measures: tuple[Measure, ...]
    headline: Measure


# Half the target vocabulary takes a quarter off a step: the output layer is half of it.
CAPTIONS: dict[str, Any] = {"lower": True, "target_vocabulary": 4000, "epochs": 12}
SOUNDS: dict[str, Any] = {
    "units": "char", "target_units": "token", "hidden_size": 512, "embedding_dim": 128, "batch_tokens": 2048, "epochs": 13,
}  # fmt: skip
ROWS: dict[str, Row] = {
    "multi30k": Row(multi30k, CAPTIONS, USUAL, "BLEU"),
    "multi30k_plain": Row(multi30k, {**CAPTIONS, "attention": "none"}, USUAL, "BLEU"),
    "cmudict": Row(cmudict, SOUNDS, ("exact", "token-error"), "exact"),
    "scitldr": Row(scitldr, {"shared": True, "hidden_size": 256, "max_tokens": 300, "epochs": 20}, ROUGE, "ROUGE-L"),
    "reversed": Row(
        reversed_pairs, {"units": "char", "hidden_size": 128, "embedding_dim": 32, "dropout": 0.1, "epochs": 10},
        ("exact", "token-error"), "exact",
    ),
}  # fmt: skip


def run_row(name: str, seed: int) -> dict[str, Any]:
    """Fit, choose the length penalty on dev, ask the test part once; greedy and beam 5."""
    row = ROWS[name]
    parts = row.load()
    model = tg.Translator(**row.options, seed=seed)
    began = time.perf_counter()
    model.fit(parts.train.pairs, valid=parts.dev.pairs)
    seconds = time.perf_counter() - began
    sign = -1.0 if row.headline == "token-error" else 1.0
    dev = {a: asked(model, parts.dev, row, BEAM, a).figures for a in PENALTIES}
    penalty = max(PENALTIES, key=lambda a: sign * dev[a][row.headline])
    began = time.perf_counter()
    beam = asked(model, parts.test, row, BEAM, penalty)
    beam_s = time.perf_counter() - began
    greedy = asked(model, parts.test, row, 1, 0.0)
    return {
        "row": name, "seed": seed, "options": row.options,
        "test": {"greedy": dict(greedy.figures), "beam": dict(beam.figures), "headline": beam.figures[row.headline]},
        "baselines": {m: dict(f) for m, f in beam.board.figures.items() if m != "net"} | more_baselines(name, parts, row),
        "dev": {"greedy": dict(asked(model, parts.dev, row, 1, 0.0).figures), "beam": dict(dev[penalty])},
        "length_penalty": penalty, "beam": BEAM, "beam_texts_a_second": len(parts.test.sources) / beam_s, "fit_s": seconds,
        "steps": model.card["steps"], "trained_steps": model.card["members"], "weights": model.card["weights"],
        "texts": [len(part.sources) for part in parts], "samples": samples(beam),
        "anti_diagonal": anti_diagonal(model, parts) if name == "reversed" else None,
    }  # fmt: skip


def asked(model: tg.Translator, part: Part, row: Row, beam: int, penalty: float) -> TextEvaluation:
    """Answers to a part, against all references."""
    answers = model.translate(part.sources, beam=beam, length_penalty=penalty)
    return evaluation(part.sources, answers, part.references, str(model.card["usual"]), row.measures)


def samples(found: TextEvaluation) -> list[list[str]]:
    """Source, truth, answer of the first texts, unpicked."""
    return [[str(found.predictions[name][k]) for name in ("source", "truth", "answer")] for k in range(SHOWN)]


def more_baselines(name: str, parts: Parts, row: Row) -> dict[str, dict[str, float]]:
    """Of cmudict: every letter as the phone that stands for it most often, where a word has as many phones as letters."""
    if name != "cmudict":
        return {}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for word, phones in zip(*parts.train.pairs, strict=True):
        if len(word) == len(phones.split()):
            for letter, phone in zip(word, phones.split(), strict=True):
                counts[letter][phone] += 1
    best = {letter: own.most_common(1)[0][0] for letter, own in counts.items()}
    answers = [" ".join(best[letter] for letter in word if letter in best) for word in parts.test.sources]
    found = evaluation(parts.test.sources, answers, parts.test.references, "", row.measures)
    return {"commonest phone of each letter": dict(found.figures)}


def anti_diagonal(model: tg.Translator, parts: Parts) -> float:
    """The share of attention that the k-th letter of an answer pays to the k-th letter from the end, over 200 texts."""
    shares = []
    for text in parts.test.sources[:200]:
        weights = model.attention(text, text[::-1]).weights[: len(text)]
        shares += [float(weights[k, len(text) - 1 - k]) for k in range(len(text))]
    return float(np.mean(shares))
