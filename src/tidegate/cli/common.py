"""What several commands share: flags from an options dataclass, column flags, writing tables and figures."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar, Union, cast, get_args, get_origin

from tidegate.config import field_types
from tidegate.data.table import Table
from tidegate.errors import ConfigError, OutputError, TaskError
from tidegate.models import Forecaster, load

T = TypeVar("T")


def add_options(parser: argparse.ArgumentParser, cls: type, *, required: Sequence[str] = (), skip: Sequence[str] = ()) -> None:
    """One flag for every field of an options dataclass; what is not given keeps the dataclass's default."""
    group = parser.add_argument_group("options of the model (the same names as in Python)")
    types = field_types(cls)
    for field in dataclasses.fields(cls):
        if field.name in skip:
            continue
        flag = "--" + field.name.replace("_", "-")
        kind = _plain_kind(types[field.name])
        shown = "" if field.default in (None, dataclasses.MISSING) else f"default {field.default}"
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=shown or None)
        elif get_origin(kind) is Literal:
            group.add_argument(flag, choices=get_args(kind), default=None, help=shown or None)
        elif get_origin(kind) is tuple:
            group.add_argument(flag, type=_listed(cast(type, get_args(kind)[0])), default=None, metavar="A,B,...", help=shown or None)
        else:
            group.add_argument(flag, type=cast(type, kind), default=None, required=field.name in required, metavar=_metavar(kind), help=shown or None)


def options_of(args: argparse.Namespace, cls: type) -> dict[str, object]:
    """The options that were given on the command line."""
    given = {f.name: getattr(args, f.name, None) for f in dataclasses.fields(cls)}
    return {name: value for name, value in given.items() if value is not None}


def add_columns(parser: argparse.ArgumentParser, *, target_required: bool) -> None:
    """--target, --time, --id, --past, --future, --static."""
    group = parser.add_argument_group("columns of the data file (several with commas)")
    group.add_argument("--target", required=target_required, type=_names, metavar="COLUMN", help="what to forecast")
    group.add_argument("--time", type=_names, metavar="COLUMN", help="time stamps; without it the order of the rows counts")
    group.add_argument("--id", metavar="COLUMN", help="which series a row belongs to")
    group.add_argument("--past", type=_names, default=(), metavar="COLUMNS", help="covariates known up to now")
    group.add_argument("--future", type=_names, default=(), metavar="COLUMNS", help="covariates known for the horizon")
    group.add_argument("--static", type=_names, default=(), metavar="COLUMNS", help="covariates that are constant in a series")


def columns_of(args: argparse.Namespace) -> dict[str, object]:
    """The column arguments, for fit, backtest and check."""
    return {name: getattr(args, name) for name in ("target", "time", "id", "past", "future", "static")}


def add_levels(parser: argparse.ArgumentParser) -> None:
    """--levels 80,95."""
    parser.add_argument("--levels", type=_listed(float), default=(80.0, 95.0), metavar="A,B,...", help="intervals in percent, default 80,95")


def forecaster(path: str) -> Forecaster:
    """The forecaster in a file. Raises: TaskError for a model of another task."""
    model = load(path)
    if not isinstance(model, Forecaster):
        raise TaskError(f"{path}: expected a forecaster, got a model for {model.task!r}")
    return model


def emit(table: object, output: str | None) -> None:
    """Write a table as CSV to a file, or to standard output."""
    assert isinstance(table, Table)
    if output is None:
        table.write_stream(sys.stdout)
    else:
        table.write_csv(output)


def folder(path: str) -> Path:
    """A folder to write to, made if it is not there. Raises: OutputError."""
    place = Path(path)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: the folder cannot be made ({error.strerror}); name another one") from error
    return place


def named_tables(pairs: Sequence[str]) -> dict[str, str]:
    """`name=file.csv` pairs of --against. Raises: ConfigError."""
    found = {}
    for pair in pairs:
        name, _, path = pair.partition("=")
        if not name or not path:
            raise ConfigError(f"--against: expected NAME=FILE, got {pair!r}")
        found[name] = path
    return found


def _plain_kind(kind: object) -> object:
    """The type of a field without None."""
    import types

    if get_origin(kind) in (Union, types.UnionType):
        kinds = [k for k in get_args(kind) if k is not type(None)]
        return str if str in kinds else kinds[0]
    return kind


def _metavar(kind: object) -> str:
    return {int: "N", float: "X"}.get(cast(type, kind), "TEXT")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _listed(kind: type) -> type:
    """A parser of comma-separated values, named for argparse's message."""

    def parse(text: str) -> tuple[object, ...]:
        return tuple(kind(part) for part in text.split(",") if part)

    parse.__name__ = f"list of {kind.__name__}"
    return cast(type, parse)
