"""Several seeds of one model: mean and spread of the held-back figures, the best one kept. In: what fits one seed. Out: Seeds.

One seed's figure says little: the spread over seeds is often wider than what an option changes.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar, cast, final

from tidegate.config import Plain
from tidegate.errors import ConfigError
from tidegate.models.base import Model

log = logging.getLogger("tidegate")
LOSS = "held-back loss"
M = TypeVar("M", bound=Model)


class Spread(NamedTuple):
    """Of one measure over seeds."""

    mean: float
    std: float  # of a sample: divided by n - 1; NaN for one seed
    low: float
    high: float


@final
@dataclass(frozen=True, eq=False)
class Seeds(Generic[M]):
    """Finished seeds, their held-back figures, and the model of the least held-back loss."""

    seeds: tuple[int, ...]
    figures: Mapping[str, tuple[float, ...]]  # measure -> one number a seed; empty where nothing was held back
    best: M
    best_seed: int
    asked: int  # seeds that were to be trained
    interrupted: bool

    def spread(self, measure: str) -> Spread:
        """Mean, standard deviation and range of a measure. Raises: ConfigError for one that was not taken."""
        if measure not in self.figures:
            raise ConfigError(f"measure: expected one of {', '.join(self.figures) or 'none'}, got {measure!r}")
        own = self.figures[measure]
        return Spread(statistics.fmean(own), statistics.stdev(own) if len(own) > 1 else math.nan, min(own), max(own))

    def __str__(self) -> str:
        if not self.figures:
            return f"Seeds {_listed(self.seeds)}: nothing was held back to compare them by; seed {self.best_seed} is kept."
        rows = [["net", "mean", "std", "min", "max"]]
        rows += [[name, *(f"{value:.4f}" for value in self.spread(name))] for name in self.figures]
        widths = [max(len(row[k]) for row in rows) for k in range(5)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]) for row in rows
        ]
        return "\n".join([f"Seeds {_listed(self.seeds)}, held-back figures:", *lines, self._choice()])

    def _choice(self) -> str:
        return (
            f"Kept: seed {self.best_seed}, whose held-back loss is the least; that it was chosen flatters its held-back figures."
        )


def fit_seeds(fit: Callable[[int], M], seeds: Iterable[int], *, told: Callable[[str], None] | None = None) -> Seeds[M]:
    """Fit a model for every seed, keep the one with the least held-back loss, and note in its card that it was chosen.

    Args:  fit: a seed -> the fitted model. What is held back must be the same for every seed, or the figures are of different
        texts: give `valid`, or a classifier `split_seed`. told: gets a line for each finished seed.
    Ctrl-C keeps the finished seeds; in the first seed it keeps that one's best so far, as `fit` does.
    Raises: ConfigError where there is no seed, or one twice; what `fit` raises.

    >>> import tidegate as tg
    >>> texts = (["a fine film", "a dull film", "fine acting", "dull acting"] * 10, ["good", "bad"] * 20)
    >>> def fit(seed):
    ...     return tg.Classifier(hidden_size=8, epochs=20, seed=seed).fit(texts, split_seed=0, progress=False)
    >>> found = fit_seeds(fit, range(3))
    >>> found.spread("accuracy").mean
    1.0
    """
    wanted = tuple(seeds)
    if not wanted or len(set(wanted)) < len(wanted):
        raise ConfigError(f"seeds: expected at least one, and none twice, got {_listed(wanted) or 'none'}")
    done: list[tuple[int, dict[str, float]]] = []
    best: M | None = None
    chosen, interrupted = wanted[0], False
    for seed in wanted:
        model, interrupted = _fitted(fit, seed, bool(done))
        if model is None:
            break
        figures = held_back_figures(model.card)
        if best is None or figures.get(LOSS, math.inf) < held_back_figures(best.card).get(LOSS, math.inf):
            best, chosen = model, seed
        done.append((seed, figures))
        if told is not None:
            told(f"seed {seed}: " + (", ".join(f"{name} {value:.4f}" for name, value in figures.items()) or "nothing held back"))
        if interrupted:
            break
    assert best is not None
    measures = [name for name in done[0][1] if all(name in own for _, own in done)]
    table = {name: tuple(own[name] for _, own in done) for name in measures}
    found = Seeds(tuple(seed for seed, _ in done), table, best, chosen, len(wanted), interrupted)
    if len(done) > 1 and table:
        best._note(_note(found))
    return found


def _fitted(fit: Callable[[int], M], seed: int, others: bool) -> tuple[M | None, bool]:
    """The model of a seed, None where Ctrl-C ended it and others are finished; and whether Ctrl-C came."""
    try:
        model = fit(seed)
    except KeyboardInterrupt:
        if not others:
            raise
        log.warning("interrupted in seed %d: the finished seeds are kept", seed)
        return None, True
    interrupted = model.card.get("interrupted") is True
    if interrupted and others:  # figures of an unfinished net are no figures of a seed
        log.warning("interrupted in seed %d: the finished seeds are kept", seed)
        return None, True
    return model, interrupted


def held_back_figures(card: Mapping[str, Plain]) -> dict[str, float]:
    """The net's own held-back figures by measure, its loss first; empty where nothing was held back."""
    members = cast("list[dict[str, Plain]]", card["members"])
    losses = [member["held_back_loss"] for member in members]
    found = {LOSS: statistics.fmean(cast("list[float]", losses))} if all(isinstance(v, float) for v in losses) else {}
    held = card.get("held_back")
    table = held.get("table") if isinstance(held, dict) else None
    row = table.get("net") if isinstance(table, dict) else None
    if isinstance(row, float):  # a language model's: nats a token
        return {**found, "nats a token": row, "perplexity": math.exp(row)}
    return (
        found | {name: value for name, value in (row or {}).items() if isinstance(value, float)}
        if isinstance(row, dict)
        else found
    )


def _note(found: Seeds[M]) -> str:
    """What the card says of the choice."""
    parts = []
    for name in found.figures:
        own = found.spread(name)
        parts.append(f"{name} {own.mean:.4f} +- {own.std:.4f} ({own.low:.4f} to {own.high:.4f})")
    return f"chosen among the seeds {_listed(found.seeds)} by its held-back loss; over all of them: {', '.join(parts)}"


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))


__all__ = ["Seeds", "Spread", "fit_seeds", "held_back_figures"]
