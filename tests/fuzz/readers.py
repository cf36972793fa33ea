"""What is fuzzed. In: bytes. Out: something sound, which can also be used; or an error of our tree, and nothing else.

One more reader is one more `Reader` in READERS: seeds, how they are altered, how bytes are read,
what is then done with what was read.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

import tidegate as tg
from tests.fuzz import checkpoints, snapshots, streams
from tests.fuzz.draft import Seed
from tests.fuzz.mutate import mutant
from tests.fuzz.seeds import CORPUS
from tidegate import format as container
from tidegate.cli import main
from tidegate.models.base import Model
from tidegate.models.network import Network
from tidegate.runtime import Predictor
from tidegate.spec import CODED, TIMED, Fold, Port, Spec, spec_from_plain

MOST_WORK = 20_000  # steps of a prediction that is tried; a sound model may ask for more
MOST_WEIGHTS = 20_000


@dataclass(frozen=True)
class Reader:
    """One reader of files that others wrote.

    Args:  seeds: the sound files that it starts from. read: what is under test. use: a small use of what was read, of a sample of
           what is sound. share: of all inputs that this reader gets, relative to the others'. mutant: one altered file. used: the
           share of the sound inputs that are used too.
    """

    name: str
    seeds: Callable[[], Sequence[Seed]]
    read: Callable[[bytes], object]
    use: Callable[[object, Random], None]
    share: int
    mutant: Callable[[Random, Sequence[Seed]], bytes] = mutant
    used: float = 0.3


@cache
def seeds(*starts: str) -> tuple[Seed, ...]:
    """The corpus' files whose names begin so, read once."""
    return tuple(Seed.of(path.stem, path.read_bytes()) for path in sorted(CORPUS.iterdir()) if path.name.startswith(starts))


TASKS = ("forecast", "classify", "generate", "tag", "translate", "network")


def models() -> tuple[Seed, ...]:
    """The models of the corpus."""
    return seeds(*TASKS)


@cache
def streamed() -> tuple[Seed, ...]:
    """Those that are followed sample by sample."""
    return tuple(seed for seed in models() if snapshots.streams_of(_read_model(seed.body)))


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with the process, in memory where there is one: on a disk most of the time went into writing."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="tidegate-fuzz-", dir=memory if os.access(memory, os.W_OK) else None)


def _path() -> Path:
    return Path(_folder().name) / "m.safetensors"


# ---- models


def _read_model(body: bytes) -> Model:
    _path().write_bytes(body)
    return tg.load(_path())


def _use_model(model: object, rng: Random) -> None:
    """Predict; now and then also what a user would do next."""
    assert isinstance(model, Model)
    with np.errstate(all="ignore"):  # huge weights may overflow: the answer is then not finite, and says so
        _predict(model)
    if rng.random() < 0.2:
        container.parse(model.to_bytes())
        repr(model)
    if rng.random() < 0.1:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert main(["info", str(_path())]) == 0, "info refuses what load takes"


def _predict(model: Model) -> None:
    if isinstance(model, tg.Forecaster):
        plan = model._ready().core.plan
        paths = model.options.paths if plan.decode == "recursive" else 1
        if (plan.lookback + plan.horizon) * paths <= MOST_WORK:
            model.predict(future=_future(model))
    elif isinstance(model, tg.Classifier):
        assert set(model.predict(["a fine film", "", "é"])) <= set(model.classes)
    elif isinstance(model, tg.Tagger):
        assert {tag for tags in model.predict([["Ann", "saw", "New", "York"], ["é"]]) for tag in tags} <= set(model.tags)
    elif isinstance(model, tg.LanguageModel):
        "".join(itertools.islice(model.generate("ab", 4, seed=1), 20))
        model.score("a b c.")
    elif isinstance(model, Network):
        rows = np.zeros((2, 3), int) if model.options.codes else np.zeros((2, 3, min(model.options.input_size, MOST_WEIGHTS)))
        model.run(rows)
    elif isinstance(model, tg.Translator):
        model.translate(["abc", "a b"], max_length=5)


def _future(model: tg.Forecaster) -> dict[str, np.ndarray] | None:
    """Rows of the horizon for every series, where the model wants to be told of covariates ahead."""
    panel = model._ready().panel
    roles, ends = panel.schema.roles, panel.starts + np.asarray(panel.lengths)
    if not roles.future or roles.id is None or len(roles.time) != 1:
        return None
    steps = model.options.horizon
    positions = np.concatenate([end + np.arange(steps) for end in ends])
    table = {roles.id: np.repeat(np.array(panel.ids, object), steps), roles.time[0]: panel.schema.clock.answers(positions)}
    numbers = panel.schema.numbers(roles.future)
    return table | {c: np.array([1.0 if c in numbers else "mon"] * len(positions)) for c in roles.future}


# ---- specs


def _read_spec(body: bytes) -> Spec:
    return spec_from_plain(container.parse(body).header.get("spec"))


def _use_spec(spec: object, rng: Random) -> None:
    """Run it on two short rows with drawn weights."""
    assert isinstance(spec, Spec)
    if spec.count() > MOST_WEIGHTS or sum(port.size for port in spec.inputs) > 2000 or len(spec.blocks) > 200:
        return
    draws = np.random.default_rng(rng.getrandbits(32))
    weights = {name: draws.standard_normal(shape).astype(np.float32) for name, shape in spec.parameters().items()}
    with np.errstate(all="ignore"):
        Predictor(spec, weights).run({port.name: _input(spec, port, draws) for port in spec.inputs})


def _input(spec: Spec, port: Port, draws: np.random.Generator) -> np.ndarray:
    """Two rows; of a forecaster's net as many steps as its segments ask for."""
    segment = next((block.size for block in spec.blocks if isinstance(block, Fold) and block.size <= 100), 1)
    steps = segment * (1 if port.name.startswith("future") else 12 // segment or 1)
    shape = (
        (2, steps // segment if port.name.endswith("calendar") else steps, port.size) if port.shape in TIMED else (2, port.size)
    )
    return np.zeros(shape, np.int64) if port.shape in CODED else draws.standard_normal(shape).astype(np.float32)


# ---- the container


def _read_container(body: bytes) -> container.File:
    return container.parse(body)


def _use_container(file: object, rng: Random) -> None:
    """What was read can be written, and is then the same."""
    assert isinstance(file, container.File)
    again = container.parse(container.dump(file.content, file.header, file.arrays))
    assert again.header == file.header
    assert set(again.arrays) == set(file.arrays)


READERS: tuple[Reader, ...] = (
    Reader("container", models, _read_container, _use_container, 6),
    Reader("spec", models, _read_spec, _use_spec, 2),
    Reader("model", models, _read_model, _use_model, 11),
    Reader("stream", streamed, _read_model, streams.use, 1, streams.mutant, 1.0),
    Reader("checkpoint", lambda: seeds("checkpoint"), checkpoints.read, checkpoints.use, 1),
    Reader("snapshot", snapshots.seeds, snapshots.read, snapshots.use, 2, snapshots.mutant),
)
