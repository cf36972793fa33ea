"""The sound files that fuzzing starts from: one small model or checkpoint for each way in which a reader can go.

`python -m tests.fuzz.seeds [NAME ...]` trains them anew (needs torch) into corpus/; the files there are what the tests read.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import tidegate as tg
from tests.fuzz import checkpoints
from tidegate.models.base import Model
from tidegate.models.network import Network
from tidegate.tasks.network import NetworkOptions, build_spec

CORPUS = Path(__file__).resolve().parent / "corpus"
MOST_BYTES = 40_000
FORECAST = {"steps": 3, "hidden_size": 3, "batch_size": 8, "horizon": 3, "season": 4, "lookback": 8}
TEXT = {"steps": 3, "hidden_size": 2, "embedding_dim": 2, "batch_tokens": 64}
Table = dict[str, np.ndarray]


def waves(rows: int = 24, shops: int = 2) -> Table:
    """Hourly sales of some shops, with a covariate of every kind."""
    rng, count = np.random.default_rng(0), rows * shops
    hours = np.tile(np.arange(rows), shops)
    start = np.datetime64("2024-03-30T20", "ns")  # across a change of the clock
    return {
        "shop": np.repeat(np.array(["é", "b c", "d"], object)[:shops], rows),
        "when": start + hours * np.timedelta64(3600, "s"),
        "sales": np.round(5 + 3 * np.sin(hours / 2) + rng.normal(size=count), 2),
        "promo": np.round(rng.normal(size=count), 2),
        "day": np.array(["mon", "tue", "wed"], object)[np.arange(count) % 3],
        "area": np.repeat(np.array([1.0, 2.0, 4.0])[:shops], rows),
    }


ROLES = {"target": "sales", "time": "when", "id": "shop"}
COVARIATES = {**ROLES, "past": "promo", "future": "day", "static": "area"}


def _forecast(source: object, roles: dict[str, str] | None = None, **options: object) -> Model:
    return tg.Forecaster(**{**FORECAST, **options}).fit(source, **(roles or {}), progress=False)


def _zoned() -> object:
    import pandas as pd

    when = pd.date_range("2024-03-20 08:00", periods=24, freq="D", tz="Europe/Berlin")
    return pd.DataFrame({"when": when, "sales": np.sin(np.arange(24) / 2)})


def _uneven() -> Table:
    table = waves()
    return {**table, "when": table["when"] + np.random.default_rng(1).integers(0, 900, 48) * np.timedelta64(1, "s")}


def _monthly() -> Table:
    return {"when": np.array([f"{2020 + k // 12}-{1 + k % 12:02d}" for k in range(30)], object), "sales": np.sin(np.arange(30.0))}


def _reviews() -> tuple[list[str], list[str]]:
    return ["a fine film", "a dull film", "fine acting é", "dull acting"] * 5, ["good", "bad"] * 10


TRIPS = [(["Ann", "saw", "New", "York"], ["B-PER", "O", "B-LOC", "I-LOC"]), (["Bob", "left"], ["B-PER", "O"])] * 6
WORDS = (["abc", "cab", "bca", "aab", "cc", "ba"] * 3, ["CBA", "BAC", "ACB", "BAA", "CC", "AB"] * 3)
TAGS = {"letter_dim": 2, "letter_size": 2}


def _network(**options: object) -> Model:
    """A bare network, as from torch, with drawn weights."""
    own, rng = NetworkOptions(input_size=3, hidden_size=2, **options), np.random.default_rng(0)  # type: ignore[arg-type]
    shapes = build_spec(own).parameters()
    return Network(own, {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()})


MODELS: dict[str, Callable[[], Model]] = {
    "forecast-rich": lambda: _forecast(waves(), COVARIATES, identity=True),
    "forecast-uneven": lambda: _forecast(_uneven(), ROLES, uneven=True, num_layers=2, cell="gru"),
    "forecast-running": lambda: _forecast([waves()["sales"]], scaling="running", ensemble=2, cell="rnn"),
    "forecast-recursive": lambda: _forecast(
        [np.round(np.abs(waves()["sales"]))], decode="recursive", output="negative_binomial", paths=4
    ),
    "forecast-months": lambda: _forecast(_monthly(), {"target": "sales", "time": "when"}, season=12, output="gaussian"),
    "forecast-zoned": lambda: _forecast(_zoned(), {"target": "sales", "time": "when"}, output="point"),
    "classify-words": lambda: tg.Classifier(**TEXT, vocabulary=6).fit(_reviews(), progress=False),
    "classify-letters": lambda: tg.Classifier(
        **TEXT, units="char", vocabulary=8, ngrams=False, bidirectional=False, cell="gru", pooling="attention"
    ).fit(_reviews(), progress=False),
    "classify-bytes": lambda: tg.Classifier(
        **TEXT, units="byte", ngrams=False, bidirectional=False, cell="rnn", pooling="last", ensemble=2
    ).fit(_reviews(), progress=False),
    "classify-stream": lambda: tg.Classifier(**TEXT, vocabulary=9, bidirectional=False, pooling="mean", ngrams=True).fit(
        _reviews(), progress=False
    ),
    "classify-pairs": lambda: tg.Classifier(**TEXT, units="bpe", vocabulary=260, ngrams=False).fit(_reviews(), progress=False),
    "generate-letters": lambda: tg.LanguageModel(
        steps=3, hidden_size=2, embedding_dim=2, batch_size=2, window=8, num_layers=1
    ).fit(["abcde" * 30], progress=False),
    "generate-both": lambda: tg.LanguageModel(
        steps=3, hidden_size=2, embedding_dim=2, batch_size=2, window=8, num_layers=1, units="word", direction="both"
    ).fit(["a b c d e. " * 20], progress=False),
    "tag-spans": lambda: tg.Tagger(**TEXT, **TAGS).fit(TRIPS, sentence_labels=["one", "two"] * 6, progress=False),
    "tag-plain": lambda: tg.Tagger(**TEXT, letters=False).fit(
        [(words, ["N" if w[0].isupper() else "V" for w in words]) for words, _ in TRIPS], progress=False
    ),
    "translate-dot": lambda: tg.Translator(**TEXT, units="char").fit(WORDS, progress=False),
    "translate-shared": lambda: tg.Translator(
        **TEXT, units="char", shared=True, cell="gru", attention="none", ensemble=2
    ).fit(WORDS, progress=False),
    "translate-feeding": lambda: tg.Translator(
        **TEXT, units="word", attention="additive", input_feeding=True, tied=False
    ).fit((["a b", "b c", "c a"] * 5, ["x y", "y z", "z x"] * 5), progress=False),
    "network-numbers": lambda: _network(cell="rnn_relu", num_layers=2),
    "network-codes": lambda: _network(cell="lstm", codes=5, pool="mean", output_size=2),
}  # fmt: skip


def _eight(name: str, data: object) -> Model:
    """One of the others in 8 bits."""
    return MODELS[name]().quantize("int8", data, force=True)  # type: ignore[attr-defined,no-any-return]


MODELS |= {
    "classify-int8": lambda: _eight("classify-bytes", _reviews()),
    "forecast-int8": lambda: _eight("forecast-rich", waves()),
    "generate-int8": lambda: _eight("generate-letters", ["abcde" * 5]),
    "tag-int8": lambda: _eight("tag-plain", [(words, ["N" if w[0].isupper() else "V" for w in words]) for words, _ in TRIPS]),
    "translate-int8": lambda: _eight("translate-shared", WORDS),
}


def _checkpoint(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return checkpoints.written(name, folder)


def write(folder: Path = CORPUS, only: Sequence[str] = ()) -> None:
    """Train every model, and run every checkpoint's run, into `folder`; only: those of these names, where some are given."""
    folder.mkdir(parents=True, exist_ok=True)
    bodies = {name: lambda make=make: make().to_bytes() for name, make in MODELS.items()}
    bodies |= {f"checkpoint-{name}": lambda name=name: _checkpoint(name) for name in checkpoints.RUNS}
    for name, body_of in bodies.items():
        if only and name not in only:
            continue
        body = body_of()
        if len(body) > MOST_BYTES:
            raise SystemExit(f"{name}: {len(body):,} bytes, at most {MOST_BYTES:,}")
        (folder / f"{name}.safetensors").write_bytes(body)
        print(f"{name}: {len(body):,} bytes", flush=True)


if __name__ == "__main__":
    write(only=sys.argv[1:])
