"""Altered models as streams: what loads is also followed. In: a model's bytes. Out: nothing but errors of our tree.

The mutations are mild and signed, so that many of the files load: numbers within arrays, options that spec and weights follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np

import tidegate as tg
from tests.fuzz import mutate
from tests.fuzz.draft import Seed
from tests.fuzz.refit import refit
from tests.fuzz.snapshots import streams_of
from tidegate.errors import FormatError
from tidegate.models.base import Model
from tidegate.models.forecast_stream import ForecastStream
from tidegate.models.network import Network
from tidegate.models.streams import ModelStream
from tidegate.models.tag_stream import TagStream
from tidegate.runtime.predictor import Predictor

MOST_STEPS, MOST_ROWS = 2_000, 400  # that one push reads, of a window; that a stream begins with
WORDS = ("Ann", "saw", "New", "York", "é", "a\0", "", "\ud800")
TIMES = (
    0,
    1 << 62,
    "",
    "soon",
    "2024-03-31",
    "2022-07",
    "2024-03-31 20:00",
    "2024-04-13T00:00+02:00",
    "1677-01-01",
    "2261-12-31",
)
Stream = ModelStream[Any, Any]


def mutant(rng: Random, seeds: Sequence[Seed]) -> bytes:
    """One mildly altered model; one in five as any other reader gets them."""
    if rng.random() < 0.2:
        return mutate.mutant(rng, seeds)
    draft = rng.choice(seeds).draft()
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choices((mutate.values, mutate.same_everywhere, mutate.metadata), (6, 2, 1))[0](rng, draft, seeds)
    if rng.random() < 0.4:
        refit(rng, draft)
    return draft.bytes()


def use(model: object, rng: Random) -> None:
    """Follow it, copy it, save it, go on from what was saved; the answers stay the same, or the snapshot is refused."""
    assert isinstance(model, Model)
    opened = _opened(model, rng)
    if opened is None:
        return
    with np.errstate(all="ignore"):  # huge weights may overflow: the answer is then not finite, and says so
        _follow(opened, samples(model, rng), rng)


def _follow(opened: Callable[..., Any], given: Sequence[object], rng: Random) -> None:
    policy = rng.choice(("reject", "hold", "reset"))
    stream = opened(on_bad=policy)
    for sample in given[: rng.randint(0, 3)]:
        pushed(stream, sample)
    body = stream.snapshot()
    twin = stream.copy()
    try:
        again = opened(on_bad=policy, state=body)
    except FormatError as error:  # a state that overflowed is no state to go on from
        if "finite" not in str(error) and "Inf" not in str(error):
            raise AssertionError("a snapshot that its own model refuses") from error
        again = stream.copy()
    for sample in given[3:]:
        time = rng.choice((None, None, *TIMES))
        said = [pushed(one, sample, time) for one in (stream, twin, again)]
        assert said[0] == said[1] == said[2], "a copy goes another way"
    assert stream.snapshot() == twin.snapshot() == again.snapshot()
    if isinstance(stream, TagStream):
        stream.finish()
    stream.reset()
    pushed(stream, given[0])


def pushed(stream: Stream, sample: object, time: object = None) -> str:
    """What came of a push: an answer, or an error, after which the stream is as it was. time: of a forecaster's sample."""
    before = stream.snapshot()
    try:
        if time is not None and isinstance(stream, ForecastStream):
            stream.push_at(dict.fromkeys(stream.time_columns, time), sample)
        else:
            stream.push(sample)
    except tg.DataError as error:
        assert stream.snapshot() == before, "a refused sample changed the state"
        return type(error).__name__
    return "an answer"


def _opened(model: Model, rng: Random) -> Callable[..., Any] | None:
    """What opens a stream of the model; None where it would take long, in all honesty."""
    if isinstance(model, tg.Forecaster):
        fitted = model._ready()
        plan, panel = fitted.core.plan, fitted.panel
        if plan.lookback + plan.horizon > MOST_STEPS or len(panel.target) > MOST_ROWS or plan.segment > MOST_ROWS:
            return None
    return rng.choice(streams_of(model) or [None])


def samples(model: Model, rng: Random) -> list[object]:
    """Six samples, sound and unsound ones."""
    if isinstance(model, tg.Forecaster):
        count = len(model._ready().panel.schema.roles.target)
        return [[rng.choice((rng.gauss(5, 2), 0.0, -1e12, 1e300, float("nan"))) for _ in range(count)] for _ in range(6)]
    if isinstance(model, Network):
        codes, size = model.options.codes, _size(model.predictor)
        return [
            rng.choice((rng.randrange(codes), codes, -1)) if codes else [rng.choice((rng.gauss(0, 1), 1e30, float("inf")))] * size
            for _ in range(6)
        ]
    return [rng.choice(WORDS) for _ in range(6)]


def _size(net: Predictor) -> int:
    return min(net.spec.inputs[0].size, 5_000)


__all__ = ["mutant", "pushed", "samples", "use"]
