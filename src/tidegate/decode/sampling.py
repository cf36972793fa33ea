"""The one sampler of every text decoder. In: logits of a step, each row's history, options. Out: probabilities, drawn codes.

Does not loop over steps, keep histories or seed anything: the decoder does, and passes a generator for each row.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tidegate.decode.quantiles import Floats
from tidegate.dims import check_shape
from tidegate.errors import ConfigError, DataError, ShapeError

Codes: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

_ROUNDING = 1e-12  # at a cut: 8 probabilities of 0.1 sum to 0.7999999999999999 and must count as the 0.8 of top_p
_SUM_ERROR = 1e-4  # that probabilities made in float32 may be off; more is a mistake of the caller


@final
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a code is drawn from logits; the defaults draw from the net's own distribution.

    temperature: divides the logits, 0 <= t < inf; 0 is greedy: the most likely code, of equal ones the smallest. top_k: only the
    k most likely codes, >= 0; 0 keeps all. top_p: only the most likely codes whose mass reaches p, 0 < p <= 1; 1 keeps all.
    min_p: only codes with at least this share of the most likely one's probability, 0 <= p <= 1; 0 keeps all.
    repetition_penalty: makes codes of the history less likely, >= 1; 1 does nothing. repetition_window: how many of the latest
    codes of the history the penalty reads, >= 1.

    Raises: ConfigError with every fault.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    repetition_window: int = 64

    def __post_init__(self) -> None:
        faults = [f"Sampling.{text}" for text in _faults(self)]
        if faults:
            raise ConfigError("\n".join(faults))


def distribution(
    logits: ArrayLike, seen: Sequence[ArrayLike] | None, options: Sampling, forbidden: ArrayLike | None = None
) -> Floats:
    """What each row's next code is drawn from.

    In this order: forbidden codes, repetition penalty, temperature, top-k, top-p, min-p. What may not be drawn must take no place
    among the k, and the penalty is defined on raw logits, so both come first. The filters read the tempered distribution, the one
    that is drawn from, and each reads what the one before it left, renormalised: k bounds the number of codes, p then cuts the
    tail of these, and the most likely code passes all three.
    Penalty r, for each code in the row's window, once however often it occurs: z / r where z > 0, z r elsewhere.
    top-k: of equal logits at the cut the smaller codes stay. top-p: the smallest set of most likely codes whose mass reaches p,
    the code that crosses p included; of equal probabilities the smaller code first. min-p: keep p >= min_p max p.
    Temperature 0: all mass on the largest logit after the penalty, of equal ones on the smallest code; filters change nothing.

    Args:  logits: (B, V), any float type, finite or -inf (impossible). seen: for each row the codes so far, oldest first, ragged;
           None: no history. forbidden: (V,) or (B, V) bool, True where a code may not be drawn.
    Returns: (B, V) float64, each row sums to 1; a row does not depend on the others.
    Raises: ShapeError for another shape or type, NaN, +inf or a code outside [0, V); DataError for a row with no code left.
    Reference: Keskar et al. 2019 (CTRL; penalty); Fan, Lewis & Dauphin, ACL 2018 (top-k); Holtzman et al., ICLR 2020 (nucleus);
    Nguyen et al. 2024 (min-p).
    """
    scores = _checked_logits(logits)
    if forbidden is not None:
        scores[_checked_mask(forbidden, scores.shape)] = -np.inf
    if seen is not None:
        _penalise(scores, seen, options)
    _refuse_empty(scores)
    if options.temperature == 0.0:
        return _one_hot(scores)
    codes = _top_codes(scores, options.top_k)
    p = _softmax(np.take_along_axis(scores, codes, axis=1), options.temperature)
    p = _without_tail(p, options.top_p)
    p = _without_unlikely(p, options.min_p)
    answer = np.zeros_like(scores)
    np.put_along_axis(answer, codes, _normalised(p), axis=1)
    return answer


def draw(probabilities: ArrayLike, rng: np.random.Generator | Sequence[np.random.Generator]) -> Codes:
    """One code a row: the first whose cumulated probability exceeds a uniform number, of which each row takes exactly one.

    With one generator row i takes its i-th number, so a row's text depends on its place. For text that does not, give each row a
    generator of its own, made once before the first step from the seed and the row's number in the whole request, and drop those
    of the rows that ended:
    >>> generators = [np.random.default_rng((2026, row)) for row in range(2)]
    >>> draw([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], generators)
    array([0, 2])

    Args:  probabilities: (B, V) >= 0, each row sums to 1. rng: one generator, or B of them.
    Returns: (B,) int64; a code of probability 0 is never drawn.
    Raises: ShapeError for another shape, for what is no distribution, or another number of generators.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    _check_rows("probabilities", p)
    mass = np.cumsum(p, axis=1)
    total = mass[:, -1:]
    if not (np.all(p >= 0.0) and np.all(np.abs(total - 1.0) <= _SUM_ERROR)):
        got = f"a least number of {p.min()} and sums from {total.min()} to {total.max()}"
        raise ShapeError(
            f"probabilities: expected numbers of at least 0 that sum to 1 in each row, got {got}; use distribution()"
        )
    # u < 1, so u * total < total also in floats, and the last code of any probability is the last that can be drawn.
    reached = _uniform(rng, len(p))[:, None] * total
    return np.asarray((mass <= reached).sum(axis=1), dtype=np.int64)


def is_number(value: object) -> bool:
    """Whether an option holds a real number; True and False are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether an option holds a whole number; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _faults(o: Sampling) -> list[str]:
    checks = (
        ("temperature", "0 (greedy) or more, finite", is_number(o.temperature) and 0.0 <= o.temperature < math.inf),
        ("top_k", "a whole number of at least 0 (0 keeps all)", is_whole(o.top_k) and o.top_k >= 0),
        ("top_p", "0 < p <= 1 (1 keeps all)", is_number(o.top_p) and 0.0 < o.top_p <= 1.0),
        ("min_p", "0 <= p <= 1 (0 keeps all)", is_number(o.min_p) and 0.0 <= o.min_p <= 1.0),
        (
            "repetition_penalty",
            "1 (none) or more, finite",
            is_number(o.repetition_penalty) and 1.0 <= o.repetition_penalty < math.inf,
        ),
        ("repetition_window", "a whole number of at least 1", is_whole(o.repetition_window) and o.repetition_window >= 1),
    )
    return [f"{name}: expected {wanted}, got {getattr(o, name)!r}" for name, wanted, fits in checks if not fits]


def _check_rows(name: str, array: Floats) -> None:
    check_shape(name, array, "B V")
    if array.shape[1] == 0:
        raise ShapeError(f"{name}: expected at least one code, got {array.shape}")


def _checked_logits(logits: ArrayLike) -> Floats:
    """A copy of the logits that may be written to."""
    # C order whatever came in: sums in another order would differ in their last bit.
    scores = np.array(logits, dtype=np.float64, order="C")
    _check_rows("logits", scores)
    bad = np.isnan(scores) | np.isposinf(scores)
    if bad.any():
        row, code = np.argwhere(bad)[0]
        raise ShapeError(f"logits: expected finite numbers or -inf, got {scores[row, code]} for code {code} of row {row}")
    return scores


def _checked_mask(forbidden: ArrayLike, shape: tuple[int, ...]) -> Mask:
    mask = np.asarray(forbidden)
    if mask.dtype != np.bool_ or mask.shape not in (shape, shape[1:]):
        wanted = f"bool of {shape[1:]} or {shape}, True where a code may not be drawn"
        raise ShapeError(f"forbidden: expected {wanted}, got {mask.dtype} of {mask.shape}")
    return np.broadcast_to(mask, shape)


def _penalise(scores: Floats, seen: Sequence[ArrayLike], options: Sampling) -> None:
    """Make the codes of each row's window less likely, in place."""
    if len(seen) != len(scores):
        raise ShapeError(f"seen: expected the history of each of {len(scores)} rows, got {len(seen)}; an empty one is []")
    for row, history in enumerate(seen):
        codes = np.unique(_checked_history(history, row, scores.shape[1])[-options.repetition_window :])
        z = scores[row, codes]
        with np.errstate(over="ignore"):  # a logit near -1e308 becomes -inf, which is what it meant
            scores[row, codes] = np.where(z > 0.0, z / options.repetition_penalty, z * options.repetition_penalty)


def _checked_history(history: ArrayLike, row: int, size: int) -> Codes:
    codes = np.asarray(history)
    if codes.size == 0:
        return np.zeros(0, dtype=np.int64)
    if codes.ndim != 1 or not np.issubdtype(codes.dtype, np.integer):
        raise ShapeError(f"seen[{row}]: expected a list of whole numbers, got {codes.dtype} of {codes.shape}")
    if codes.min() < 0 or codes.max() >= size:
        raise ShapeError(f"seen[{row}]: expected codes from 0 to {size - 1}, got {codes.min()} to {codes.max()}")
    return codes.astype(np.int64)


def _refuse_empty(scores: Floats) -> None:
    empty = np.flatnonzero(np.all(np.isneginf(scores), axis=1))
    if empty.size:
        raise DataError(
            f"logits: expected at least one code that can be drawn in each row, got none in row {empty[0]}: "
            "every code is forbidden or has the logit -inf; forbid fewer"
        )


def _one_hot(scores: Floats) -> Floats:
    """All mass on each row's largest score, of equal ones on the smallest code."""
    answer = np.zeros_like(scores)
    answer[np.arange(len(scores)), np.argmax(scores, axis=1)] = 1.0
    return answer


def _top_codes(scores: Floats, k: int) -> Codes:
    """(B, K) the codes of each row's K largest scores, codes rising; K = min(k, V), or V where k is 0."""
    rows, size = scores.shape
    if k == 0 or k >= size:
        return np.broadcast_to(np.arange(size, dtype=np.int64), scores.shape)
    cut = np.partition(scores, size - k, axis=1)[:, size - k, None]
    above, equal = scores > cut, scores == cut
    room = k - above.sum(axis=1, keepdims=True)
    kept = above | (equal & (np.cumsum(equal, axis=1) <= room))
    return np.asarray(np.flatnonzero(kept) % size, dtype=np.int64).reshape(rows, k)


def _softmax(scores: Floats, temperature: float) -> Floats:
    """exp(z / t) / sum exp(z / t); the largest is taken off first, so that no temperature overflows."""
    with np.errstate(over="ignore"):  # towards -inf only, whose exponential is 0
        weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    return _normalised(weights)


def _without_tail(p: Floats, top_p: float) -> Floats:
    """Keep each row's most likely codes up to the one whose mass, with those before it, reaches top_p."""
    if top_p == 1.0:
        return p
    kept = np.zeros_like(p)
    # All codes below this probability have less than 1 - top_p together: the others reach top_p, and only they need sorting.
    least = (1.0 - top_p) / p.shape[1]
    for row, row_kept in zip(p, kept, strict=True):
        codes = np.flatnonzero(row >= least)
        ranked = codes[np.argsort(-row[codes], kind="stable")]  # of equal ones the smaller code first
        crossing = np.searchsorted(np.cumsum(row[ranked]), top_p - _ROUNDING)
        inside = ranked[: crossing + 1]
        row_kept[inside] = row[inside]
    return kept


def _without_unlikely(p: Floats, min_p: float) -> Floats:
    """Keep the codes with at least this share of the largest probability."""
    least = min_p * p.max(axis=1, keepdims=True) * (1.0 - _ROUNDING)
    return np.where(p >= least, p, 0.0)


def _normalised(weights: Floats) -> Floats:
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _uniform(rng: np.random.Generator | Sequence[np.random.Generator], rows: int) -> Floats:
    """One number in [0, 1) a row."""
    if isinstance(rng, np.random.Generator):
        return rng.random(rows)
    if len(rng) != rows:
        raise ShapeError(f"rng: expected one generator, or one for each of {rows} rows, got {len(rng)}")
    return np.array([one.random() for one in rng], dtype=np.float64)
