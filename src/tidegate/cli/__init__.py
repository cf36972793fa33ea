"""The command line: `tidegate COMMAND ...`. In: arguments. Out: an exit status; one file a command, loaded when it is called."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

from tidegate.errors import TidegateError

COMMANDS = {
    "demo": "fit, score beside naive forecasts, draw and report, on bundled weather data",
    "fit": "train a model on a data file",
    "predict": "forecast with a trained model",
    "evaluate": "score a trained model on the last horizon of a data file, beside the naive methods",
    "backtest": "rolling-origin evaluation: several cutoffs, nothing seen after them",
    "plot": "draw a forecast, or the history of a training run",
    "info": "what is in a model file",
    "check": "look at a data file before training",
}


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
    parser = _parser(given[0] if given else None)
    args = parser.parse_args(given)
    if not getattr(args, "command", None):
        parser.print_help()
        return 2
    logging.basicConfig(format="%(message)s", level=logging.INFO if getattr(args, "verbose", False) else logging.WARNING)
    try:
        return _command(args.command).run(args)
    except TidegateError as error:
        print(f"tidegate {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"tidegate {args.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as in `| head`
        sys.stderr.close()
        return 0


def _parser(wanted: str | None) -> argparse.ArgumentParser:
    from tidegate import __version__

    parser = argparse.ArgumentParser(
        prog="tidegate",
        description="Recurrent networks, from a file to a stream.",
        epilog="example: tidegate fit forecast weather.csv --target temp_max --time date --horizon 14 -o weather.safetensors",
    )
    parser.add_argument("--version", action="version", version=f"tidegate {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in COMMANDS.items():
        if wanted in COMMANDS and name != wanted:  # only the command that runs is loaded
            continue
        command = _command(name) if name == wanted else None
        sub = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", epilog=None if command is None else command.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        if command is not None:
            sub.add_argument("--verbose", action="store_true", help="say what is done")
            command.add_arguments(sub)
    return parser


def _command(name: str) -> Command:
    return cast(Command, import_module(f"tidegate.cli.{name}"))
