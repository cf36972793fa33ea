"""What `fit` does for every task: its own flags, the checks before long work, the ending. In: flags, a trained model's card."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from typing import cast

from tidegate.cli.common import bullets, flag_of, options_of, program, wrapped
from tidegate.config import Plain
from tidegate.errors import ConfigError
from tidegate.files import check_writable

INTERRUPTED = 130
LAST_WORDS = """Ctrl-C keeps the best model so far. Checkpoints stand beside the output file until the model is written; after a
crash the same command with --resume goes on from them and ends with the same bytes."""


def add_training(parser: argparse.ArgumentParser) -> None:
    """--output, --budget, --resume, --no-checkpoint, --history."""
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where the model goes")
    parser.add_argument("--budget", metavar="TIME", help="training time, such as 90s or 10m; fixes the number of steps once")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint beside the output file")
    parser.add_argument("--no-checkpoint", action="store_true", help="write no checkpoints")
    parser.add_argument("--history", metavar="FILE", help="write training records as JSON lines")


def check_training(args: argparse.Namespace) -> None:
    """What would only show after long work. Raises: ConfigError, OutputError."""
    if args.resume and args.no_checkpoint:
        raise ConfigError(
            "--resume: goes on from a checkpoint, and --no-checkpoint says that there are none; leave one of them out"
        )
    check_writable(args.output)
    if args.history is not None:
        check_writable(args.history)


def ending(card: Mapping[str, Plain], args: argparse.Namespace, seconds: float) -> str:
    """What was written, and after how long."""
    planned = card["steps"]
    members = cast("list[dict[str, Plain]]", card["members"])
    if card["interrupted"]:
        done = members[-1]["steps"]
        way = "" if args.no_checkpoint else "; the same command with --resume goes on from the last checkpoint"
        return f"interrupted: wrote {args.output}, the best model of {done} steps of {planned}{way}"
    early = sorted({cast(int, m["steps"]) for m in members} - {cast(int, planned)})
    stopped = f" (stopped early, after {', '.join(map(str, early))})" if early else ""
    return f"wrote {args.output}: {planned} steps{stopped}, {seconds:.0f} s"


def again(
    args: argparse.Namespace, cls: type, columns: Mapping[str, str | Sequence[str] | None], card: Mapping[str, Plain]
) -> str:
    """The command line that gives the same model again, on any machine however fast. columns: flags beside the options."""
    words = [program(), "fit", args.task, shlex.quote(args.file)]
    for flag, value in columns.items():
        if value:
            words += [flag, shlex.quote(value if isinstance(value, str) else ",".join(value))]
    words += ["--no-header"] if getattr(args, "no_header", False) else []
    given = {**options_of(args, cls), "steps": cast(int, card["steps"])}
    given.setdefault("seed", card["seed"])
    for name, option in given.items():
        own = flag_of(name)
        if isinstance(option, bool):
            words.append(own if option else f"--no-{own[2:]}")
        else:
            text = ",".join(map(str, option)) if isinstance(option, tuple) else str(option)
            words.append(f"{own}={shlex.quote(text)}" if text.startswith("-") else f"{own} {shlex.quote(text)}")
    return " ".join([*words, "-o", shlex.quote(args.output)])


def tell(
    args: argparse.Namespace, cls: type, shown: str, figures: str, card: Mapping[str, Plain], seconds: float, flags: Sequence[str]
) -> int:
    """How good a text model is, what was written, how to do it again; the exit status. flags: those beside the options."""
    print(wrapped(shown, hanging="  "))
    print(figures)
    print(bullets(cast("list[str]", card["notes"])))
    print(ending(card, args, seconds))
    columns = {f"--{name.replace('_', '-')}": getattr(args, name) for name in flags}
    print(f"the same again:\n  {again(args, cls, columns, card)}")
    return finish(args, card)


def finish(args: argparse.Namespace, card: Mapping[str, Plain]) -> int:
    """The exit status; the checkpoints of a finished run go."""
    if card["interrupted"]:
        return INTERRUPTED
    if not args.no_checkpoint:
        from tidegate.train.checkpoint import Checkpoints

        Checkpoints(args.output).remove()
    return 0
