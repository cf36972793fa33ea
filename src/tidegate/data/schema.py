"""What a model remembers of its data: roles of the columns, the clock, category levels, number scales. In: choices and fit
rows. Out: frozen records that go into the model file as plain JSON and come back strictly checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

import numpy as np

from tidegate.data.strict import Strict
from tidegate.data.times import Clock
from tidegate.errors import ConfigError, FormatError, shown

IdKind: TypeAlias = Literal["text", "integer", "none"]
OTHER = "<other>"
MAX_LEVELS = 32
MAX_COLUMNS = 4096


@final
@dataclass(frozen=True, kw_only=True)
class Roles:
    """Which column does what. time: () = the order of the rows; several = year, month, day, hour, ... put together."""

    target: tuple[str, ...]
    time: tuple[str, ...] = ()
    id: str | None = None
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns = [*self.target, *self.time, *([] if self.id is None else [self.id]), *self.past, *self.future, *self.static]
        twice = sorted({c for c in columns if columns.count(c) > 1}) if len(columns) <= MAX_COLUMNS else []
        if not self.target:
            raise ConfigError("target: expected the name of at least one column, got none. Give target='...'.")
        if twice:
            raise ConfigError(
                f"columns: expected one role for each column, got several for {', '.join(map(repr, twice))}. Give it one."
            )

    @property
    def covariates(self) -> tuple[str, ...]:
        """Past, future and static columns."""
        return self.past + self.future + self.static

    def to_json(self) -> dict[str, object]:
        """A plain dict."""
        return {
            "target": list(self.target), "time": list(self.time), "id": self.id, "past": list(self.past),
            "future": list(self.future), "static": list(self.static),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: object) -> Roles:
        """The roles of to_json(). Raises: FormatError."""
        s = Strict(data, "roles", ("target", "time", "id", "past", "future", "static"))
        try:
            return cls(
                target=s.texts("target"), time=s.texts("time"), id=s.optional_text("id"), past=s.texts("past"),
                future=s.texts("future"), static=s.texts("static"),
            )  # fmt: skip
        except ConfigError as e:
            raise FormatError(f"roles: {e} The model file is altered.") from e


def names_of(option: str, value: str | Sequence[str] | None) -> tuple[str, ...]:
    """A column name or several as a tuple."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    names = tuple(value)
    if not all(isinstance(n, str) for n in names):
        raise ConfigError(f"{option}: expected column names, got {value!r}. Give text, or a list of texts.")
    return names


@final
@dataclass(frozen=True, kw_only=True)
class Schema:
    """A panel's schema.

    levels: category covariate -> its levels by count, at most MAX_LEVELS, then "<other>". scales: number covariate -> (mean,
    standard deviation) over the fit rows, deviation 1 if constant. uneven: rows are not on a grid, time gaps count.
    """

    roles: Roles
    clock: Clock
    levels: Mapping[str, tuple[str, ...]]
    scales: Mapping[str, tuple[float, float]]
    id_kind: IdKind
    uneven: bool = False

    def numbers(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Those of the columns that are number covariates."""
        return tuple(c for c in columns if c in self.scales)

    def categories(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Those of the columns that are category covariates."""
        return tuple(c for c in columns if c in self.levels)

    def to_json(self) -> dict[str, object]:
        """A plain dict."""
        return {
            "roles": self.roles.to_json(),
            "clock": self.clock.to_json(),
            "levels": {name: list(levels) for name, levels in self.levels.items()},
            "scales": {name: list(scale) for name, scale in self.scales.items()},
            "id_kind": self.id_kind,
            "uneven": self.uneven,
        }

    @classmethod
    def from_json(cls, data: object) -> Schema:
        """The schema of to_json().

        Raises: FormatError if a field is missing, unknown, of another type, or the parts do not fit together.
        """
        s = Strict(data, "schema", ("roles", "clock", "levels", "scales", "id_kind", "uneven"))
        roles = Roles.from_json(s.mapping("roles"))
        levels = _levels(s.mapping("levels"))
        scales = {name: _scale(name, value) for name, value in s.mapping("scales").items()}
        kind = s.text("id_kind")
        id_kind: IdKind | None = next((k for k in get_args(IdKind) if k == kind), None)
        if id_kind is None or (id_kind == "none") != (roles.id is None):
            raise FormatError(
                f"schema.id_kind: expected one of {', '.join(get_args(IdKind))} that fits roles.id, got {shown(kind)}."
            )
        if sorted([*levels, *scales]) != sorted(roles.covariates):
            raise FormatError("schema: expected a scale or levels for each covariate and no other. The model file is altered.")
        clock = Clock.from_json(s.mapping("clock"))
        return cls(roles=roles, clock=clock, levels=levels, scales=scales, id_kind=id_kind, uneven=s.boolean("uneven"))


def _levels(data: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    s = Strict(data, "schema.levels", tuple(data))
    out = {name: s.texts(name) for name in data}
    for name, levels in out.items():
        if not levels or levels[-1] != OTHER or len(levels) > MAX_LEVELS + 1 or len(set(levels)) < len(levels):
            raise FormatError(f"schema.levels.{name[:60]}: expected at most {MAX_LEVELS} levels, each once, then {OTHER!r}.")
    return out


def _scale(name: str, value: object) -> tuple[float, float]:
    if (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
    ):
        mean, deviation = float(value[0]), float(value[1])
        if np.isfinite(mean) and np.isfinite(deviation) and deviation > 0:
            return mean, deviation
    raise FormatError(
        f"schema.scales.{name[:60]}: expected [mean, deviation > 0], got {str(value)[:80]!r}. The model file is altered."
    )
