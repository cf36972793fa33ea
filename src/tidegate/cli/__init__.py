"""The command line: `tidegate COMMAND ...`. In: arguments. Out: an exit status; one file a command, loaded when it is called."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import NoReturn, Protocol, cast

from tidegate.errors import ConfigError, TidegateError, nearest, visible

COMMANDS = {
    "demo": "fit, score beside naive forecasts, draw and report, on bundled weather data",
    "fit": "train a model on a data file",
    "predict": "forecast, sort texts, tag words, or translate, with a trained model",
    "evaluate": "score a trained model on a data file, beside the methods that need no net",
    "backtest": "rolling-origin evaluation: several cutoffs, nothing seen after them",
    "generate": "write text with a trained language model",
    "stream": "follow a series, a text or words as they come, a line at a time, with the state carried",
    "fill": "find the word that is missing, with a language model that reads both ways",
    "plot": "draw a forecast, what a translator looks at, or the history of a training run",
    "info": "what is in a model file",
    "quantize": "a trained model in 8 bits, scored beside the one of 32 before it is written",
    "export": "a trained model as a C header or as ONNX, proved before it is written",
    "check": "look at a data file before training",
}
READ = (
    "model", "file", "data", "labels", "sentence_labels", "valid", "valid_labels", "valid_sentence_labels", "target",
    "valid_target", "vectors", "future", "truth",
)  # fmt: skip  # arguments that name files which a command reads
WRITTEN = ("output", "history", "picture", "html", "answers")
DONE, FOUND, ERROR, INTERRUPTED = 0, 1, 2, 130
TASKS = ("forecast", "classify", "generate", "tag", "translate")
PARTED = {
    "fit": TASKS[1:],
    "check": ("classify", "tag", "translate"),
    "demo": ("text",),
}  # commands with a module of their own for a task
OVERVIEW = """example:
  tidegate demo
  tidegate fit forecast weather.csv --target temp_max --time date --horizon 14 -o weather.safetensors
  tidegate fit classify reviews.csv --text review --label stars -o reviews.safetensors
  tidegate fit tag wikigold.conll.txt -o names.safetensors
  tidegate fit translate train.de --target train.en -o de-en.safetensors
  tidegate COMMAND --help

exit status: 0 done; 1 done, and something was found (check); 2 an error that you can mend; 130 interrupted by Ctrl-C"""


class Command(Protocol):
    """What a command's module has."""

    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare its arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the exit status."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. 0: done; 1: done, and something was found (check); 2: an error the user can mend; 130: interrupted."""
    given = list(sys.argv[1:] if argv is None else argv)
    name = f"tidegate {given[0]}" if given and given[0] in COMMANDS else "tidegate"
    _say_unprintable()
    try:
        with _logging("--verbose" in given):
            status = _run(given)
        sys.stdout.flush()  # here, where a full disk or a closed pipe still has an answer
    except TidegateError as error:
        print(f"{name}: {visible(_with_flags(str(error)))}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt as stop:
        print(f"{name}: interrupted {stop}".rstrip(), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, as in `| head`
        _discard_output()
        return DONE
    except OSError as error:
        _discard_output()
        print(
            f"{name}: the output could not be written ({error.strerror or error}); free some space or name another file",
            file=sys.stderr,
        )
        return ERROR
    return status


def _run(given: list[str]) -> int:
    # Idle threads of torch's OpenMP spin by default; where another process wants a core too, a fit took 6 times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if given and not given[0].startswith("-") and given[0] not in COMMANDS:
        if given[0] in TASKS:
            raise ConfigError(
                f"{given[0]!r} is a task, not a command: `tidegate fit {given[0]} FILE ...` trains a model, "
                "`tidegate predict MODEL` forecasts with it"
            )
        raise ConfigError(f"there is no command {given[0]!r}; {nearest(given[0], COMMANDS)} `tidegate --help` lists them")
    _check_task(given)
    task = given[1] if len(given) > 1 and given[0] in PARTED else None
    parser = _parser(given[0] if given else None, task)
    _check_flags(given, parser)
    args, unknown = parser.parse_known_args(given)
    if getattr(args, "rest", None) is not None:
        unknown = _into_list(unknown, getattr(args, args.rest))
    if unknown:
        raise ConfigError("\n".join(_unknown(word, args) for word in unknown))
    if not args.command:
        parser.print_help()
        return ERROR
    _check_outputs(args)
    return _command(args.command, task).run(args)


def _check_outputs(args: argparse.Namespace) -> None:
    """Nothing that is read is written over. Raises: ConfigError."""
    places = {name: os.path.realpath(value) for name in (*READ, *WRITTEN) if isinstance(value := getattr(args, name, None), str)}
    for number, out in enumerate(name for name in WRITTEN if name in places):
        for other in (*READ, *WRITTEN[:number]):
            if out != other and places.get(other) == places[out]:
                what = "is read too" if other in READ else f"is written as --{other} too"
                raise ConfigError(f"--{out}: expected a file of its own, got {getattr(args, out)!r}, which {what}; name another")


def _into_list(unknown: list[str], words: list[str]) -> list[str]:
    """Move words that stand after an option into the list that argparse closed there; what is left looks like options."""
    end = unknown.index("--") if "--" in unknown else len(unknown)
    words += [word for word in unknown[:end] if not word.startswith("-")] + unknown[end + 1 :]
    return [word for word in unknown[:end] if word.startswith("-")]


def _check_task(given: list[str]) -> None:
    """`fit` without the word for the task. Raises: ConfigError with the line that is meant."""
    if given[:1] != ["fit"] or len(given) < 2 or given[1].startswith("-") or given[1] in TASKS:
        return
    meant = difflib.get_close_matches(given[1], TASKS, n=1)
    line = shlex.join(["tidegate", "fit", *(meant or TASKS[:1]), *given[2 if meant else 1 :]])
    raise ConfigError(f"expected the task before the file, got {given[1]!r}; did you mean `{line}`?")


def _check_flags(given: list[str], parser: argparse.ArgumentParser) -> None:
    """Misspelt options are told alone: what follows them, or is missing for them, is no second fault. Raises: ConfigError."""
    known = parser.get_default("known") if not given or given[0] not in COMMANDS else _known(parser, given[0])
    words = given[1 : given.index("--")] if "--" in given else given[1:]
    flags = dict.fromkeys(word.split("=")[0] for word in words if word.startswith("--"))
    wrong = [flag for flag in flags if known and flag not in known]
    if wrong:
        raise ConfigError("\n".join(f"{flag}: there is no such option; {nearest(flag, known)}" for flag in wrong))


def _known(parser: argparse.ArgumentParser, command: str) -> list[str]:
    """The options of a command."""
    sub = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return list(sub.choices[command]._option_string_actions)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors of our tree; options are never guessed from their beginning."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs["allow_abbrev"] = False
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # argparse's own keywords, passed on

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError instead of ending the process."""
        raise ConfigError(f"{message}; `{self.prog} --help` lists what can be given")


def _parser(wanted: str | None, task: str | None = None) -> argparse.ArgumentParser:
    from tidegate import __version__

    shape = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="tidegate", description="Recurrent networks, from a file to a stream.", epilog=OVERVIEW, formatter_class=shape
    )
    parser.add_argument("--version", action="version", version=f"tidegate {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for name, text in COMMANDS.items():
        if wanted in COMMANDS and name != wanted:  # only the command that runs is loaded
            continue
        command = _command(name, task) if name == wanted else None
        epilog = None if command is None else command.EXAMPLE
        sub = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", epilog=epilog, formatter_class=shape
        )
        if command is not None:
            sub.add_argument("--verbose", action="store_true", help="say what is done")
            command.add_arguments(sub)
            flagged = [action for action in sub._actions if action.option_strings]
            sub.set_defaults(known=[flag for action in flagged for flag in action.option_strings])
            sub.set_defaults(usual={action.dest: action.default for action in flagged})
    return parser


def _command(name: str, task: str | None = None) -> Command:
    """The module of a command; `fit` has one a task, `check` and `demo` one more; that of the same name is the forecaster's."""
    own = f"{name}_{task}" if name in PARTED and task in PARTED[name] else name
    return cast(Command, import_module(f"tidegate.cli.{own}"))


def _unknown(word: str, args: argparse.Namespace) -> str:
    """What to say of a word that no argument takes."""
    if not word.startswith("-"):
        return f"{word!r}: expected an option, got a word too many; put names with spaces in quotes, lists with commas"
    flag = word.split("=")[0]
    return f"{flag}: there is no such option; {nearest(flag, getattr(args, 'known', []))}"


def _with_flags(message: str) -> str:
    """Options as they are written here: --hidden-size for ForecastOptions.hidden_size."""
    from tidegate.cli.common import flag_of

    return re.sub(r"\b[A-Z]\w*Options\.(\w+)", lambda found: flag_of(found[1]), message)


@contextlib.contextmanager
def _logging(verbose: bool) -> Iterator[None]:
    """Tidegate's log on standard error while a command runs; the logging of a program around us stays as it was."""
    logger, handler = logging.getLogger("tidegate"), logging.StreamHandler(sys.stderr)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


def _say_unprintable() -> None:
    """A terminal that cannot show a letter gets its code; the tables that go to files are always UTF-8."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Let what is still to be written go nowhere, so that the end of the process does not complain once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
