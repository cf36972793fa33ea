"""What several commands share: flags from an options dataclass, column flags, writing tables and text."""

from __future__ import annotations

import argparse
import dataclasses
import io
import re
import shlex
import shutil
import sys
import textwrap
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict, Union, cast, get_args, get_origin

from tidegate.config import field_types
from tidegate.data.table import Table
from tidegate.errors import ConfigError, TaskError
from tidegate.files import output_error
from tidegate.models import Forecaster, load

WIDEST, NARROWEST = 110, 40  # of prose, in letters
EVERYDAY = (
    "horizon", "season", "lookback", "cell", "hidden_size", "ensemble", "steps", "seed", "lower", "freq", "duplicates", "uneven",
)  # fmt: skip
FLAGS = {"output": "--output-kind"}  # where the field's own name is taken: --output is a file


class Columns(TypedDict):
    """The column arguments of fit, backtest and check."""

    target: tuple[str, ...]
    time: tuple[str, ...] | None
    id: str | None
    past: tuple[str, ...]
    future: tuple[str, ...]
    static: tuple[str, ...]


def add_options(parser: argparse.ArgumentParser, cls: type, *, required: Sequence[str] = ()) -> None:
    """One flag for every field of an options dataclass, explained by its docstring; what is not given keeps its default."""
    common = parser.add_argument_group("everyday options of the model (the same names as in Python)")
    rare = parser.add_argument_group("expert options of the model (the same names as in Python, but --output-kind for output)")
    kinds, said = field_types(cls), explained(cls)
    for field in sorted(dataclasses.fields(cls), key=lambda f: EVERYDAY.index(f.name) if f.name in EVERYDAY else len(EVERYDAY)):
        group = common if field.name in EVERYDAY else rare
        flag, dest, kind = flag_of(field.name), f"option_{field.name}", _without_none(kinds[field.name])
        default = "" if field.default in (None, dataclasses.MISSING) else f"default {_shown(field.default)}"
        text = ". ".join(part.replace("%", "%%") for part in (said.get(field.name, ""), default) if part) or None
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, dest=dest, help=text)
        elif get_origin(kind) is Literal:
            group.add_argument(flag, choices=get_args(kind), default=None, dest=dest, help=text)
        else:
            reader, needed = _reader(kind), field.name in required
            group.add_argument(flag, type=reader, required=needed, metavar=_metavar(kind), dest=dest, help=text)


def flag_of(option: str) -> str:
    """The flag of an option of a model: --hidden-size for hidden_size."""
    return FLAGS.get(option, "--" + option.replace("_", "-"))


def explained(cls: type) -> dict[str, str]:
    """What the docstring of an options dataclass says of each field, where it has `name: text.`"""
    names = "|".join(field.name for field in dataclasses.fields(cls))
    body = " ".join((cls.__doc__ or "").split())
    parts = re.split(rf"(?:(?<=^)|(?<=[.)] ))({names}): ", body)
    return {name: text.strip().rstrip(".") for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def options_of(args: argparse.Namespace, cls: type) -> dict[str, object]:
    """The options that were given on the command line."""
    given = {f.name: getattr(args, f"option_{f.name}", None) for f in dataclasses.fields(cls)}
    return {name: value for name, value in given.items() if value is not None}


def forecaster_of(args: argparse.Namespace, cls: type) -> Forecaster:
    """The untrained forecaster that the flags ask for. Raises: ConfigError."""
    return Forecaster(**options_of(args, cls))  # type: ignore[arg-type]  # the flags are the options


def add_columns(parser: argparse.ArgumentParser) -> None:
    """--target, --time, --id, --past, --future, --static."""
    group = parser.add_argument_group("columns of the data file (several with commas)")
    group.add_argument("--target", required=True, type=_names, metavar="COLUMN", help="what to forecast")
    group.add_argument("--time", type=_names, metavar="COLUMN", help="time stamps; without it the order of the rows counts")
    group.add_argument("--id", metavar="COLUMN", help="which series a row belongs to")
    group.add_argument("--past", type=_names, default=(), metavar="COLUMNS", help="covariates known up to now")
    group.add_argument("--future", type=_names, default=(), metavar="COLUMNS", help="covariates known for the horizon")
    group.add_argument("--static", type=_names, default=(), metavar="COLUMNS", help="covariates that are constant in a series")


def columns_of(args: argparse.Namespace) -> Columns:
    """The column arguments, for fit, backtest and check."""
    return Columns(target=args.target, time=args.time, id=args.id, past=args.past, future=args.future, static=args.static)


def add_levels(parser: argparse.ArgumentParser) -> None:
    """--levels 80,95."""
    parser.add_argument(
        "--levels", type=_listed(float), default=(80.0, 95.0), metavar="A,B,...", help="intervals in percent, default 80,95"
    )


def refuse_foreign(args: argparse.Namespace, task: str, flags: Mapping[str, str]) -> None:
    """No flag without effect. flags: by name, the tasks that read it, between blanks. Raises: ConfigError with all of them."""
    given = [name for name, own in flags.items() if task not in own.split() and getattr(args, name) is not args.usual[name]]
    if given:
        said = (
            f"{flag_of(name)}: is for models of the task {' or '.join(flags[name].split())}, got one for {task}; leave it out"
            for name in given
        )
        raise ConfigError("\n".join(said))


def add_against(parser: argparse.ArgumentParser) -> None:
    """--against NAME=FILE and --output FOLDER, of the commands that score."""
    against = "another tool's forecasts (id, time, forecast, forecast-lo-80, ...), put in the same table"
    parser.add_argument("--against", action="append", default=[], metavar="NAME=FILE", help=against)
    parser.add_argument("-o", "--output", metavar="FOLDER", help="write every forecast, the figures per series and the table")


def forecaster(path: str) -> Forecaster:
    """The forecaster in a file. Raises: TaskError for a model of another task."""
    model = load(path)
    if not isinstance(model, Forecaster):
        raise TaskError(
            f"{path}: expected a forecaster, got a model for {model.task!r}; name a file that `tidegate fit forecast` wrote"
        )
    return model


def emit(table: Table, output: str | None) -> None:
    """Write a table as UTF-8 CSV to a file, or to standard output."""
    if output is not None:
        table.write_csv(output)
        say_wrote(output)
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="strict", newline="\n")  # the same bytes as in a file, on every system
    table.write_stream(sys.stdout)


def program() -> str:
    """How the running program is called again: by its name where that finds it, else by its path."""
    own = Path(sys.argv[0])
    if own.stem != "tidegate" or not own.is_file():  # python -m tidegate, a notebook, a test
        own = Path(sys.executable).with_name("tidegate")
    found = shutil.which("tidegate")
    if not own.is_file() or (found is not None and Path(found).resolve() == own.resolve()):
        return "tidegate"
    path = own.absolute()
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def say_wrote(*paths: str | None) -> None:
    """Tell which files were written; nothing of those that were not asked for."""
    for path in filter(None, paths):
        print(f"wrote {path}")


def folder(path: str) -> Path:
    """A folder to write to, made if it is not there. Raises: OutputError."""
    place = Path(path)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(place, error) from error
    return place


def named_tables(pairs: Sequence[str]) -> dict[str, str]:
    """`name=file.csv` pairs of --against. Raises: ConfigError."""
    found = {}
    for pair in pairs:
        name, _, path = pair.partition("=")
        if not name or not path:
            raise ConfigError(f"--against: expected NAME=FILE, got {pair!r}; for instance --against prophet=prophet.csv")
        found[name] = path
    return found


def wrapped(text: str, indent: str = "", hanging: str = "") -> str:
    """Lines of prose broken at the width of the terminal; the lines of a table, which have columns, stay whole."""
    width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))
    lines = []
    for line in text.split("\n"):
        prose = "  " not in line.strip()
        broken = textwrap.wrap(line, width, initial_indent=indent, subsequent_indent=indent + hanging, break_on_hyphens=False)
        lines += (broken or [""]) if prose else [indent + line]
    return "\n".join(lines)


def bullets(notes: Sequence[str]) -> str:
    """Sentences as a list."""
    return "\n".join(wrapped(f"- {note}", hanging="  ") for note in notes)


def _without_none(kind: object) -> object:
    """The type of a field without None."""
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [k for k in get_args(kind) if k is not type(None)]
        return kinds[0] if len(kinds) == 1 else Union[tuple(kinds)]  # noqa: UP007  # built at run time
    return kind


def _reader(kind: object) -> Callable[[str], object]:
    """What turns the text of a flag into a value of that type."""
    if get_origin(kind) is tuple:
        return _listed(cast(type, get_args(kind)[0]))
    if get_origin(kind) is Union:
        return text_or_whole
    return _named({int: "whole number", float: "number"}.get(cast(type, kind), "text"), cast("Callable[[str], object]", kind))


def _named(name: str, read: Callable[[str], object]) -> Callable[[str], object]:
    """The same reader under the name that argparse puts into its message."""

    def reader(text: str) -> object:
        return read(text)

    reader.__name__ = name
    return reader


def _listed(kind: type) -> Callable[[str], object]:
    words = {int: "list of whole numbers", float: "list of numbers"}.get(kind, "list")
    return _named(words, lambda text: tuple(kind(part) for part in text.split(",") if part.strip()))


def text_or_whole(text: str) -> str | int:
    """A whole number where the text is one."""
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else text


def _metavar(kind: object) -> str:
    if get_origin(kind) is tuple:
        return "A,B,..."
    return {int: "N", float: "X"}.get(cast(type, kind), "TEXT")


def _shown(default: object) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
