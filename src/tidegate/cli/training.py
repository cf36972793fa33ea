"""What `fit` does for every task: its own flags, the checks before long work, the ending. In: flags, a trained model's card."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypedDict, TypeVar, cast

from tidegate.cli.common import bullets, flag_of, options_of, program, wrapped
from tidegate.config import Plain
from tidegate.errors import ConfigError
from tidegate.files import check_writable
from tidegate.models import Model
from tidegate.models.seconds import parse_budget
from tidegate.models.seeds import Seeds, fit_seeds

M = TypeVar("M", bound=Model)
INTERRUPTED = 130
LAST_WORDS = """Ctrl-C keeps the best model so far; before the first look at the held-back data it keeps nothing, and an older
file stays as it was. Checkpoints stand beside the output file until the model is written; after a crash the same command with
--resume goes on from them and ends with the same bytes."""


def add_training(parser: argparse.ArgumentParser) -> None:
    """--output, --budget, --resume, --no-checkpoint, --history."""
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where the model goes")
    parser.add_argument("--budget", metavar="TIME", help="training time, such as 90s or 10m; fixes the number of steps once")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint beside the output file")
    parser.add_argument("--no-checkpoint", action="store_true", help="write no checkpoints")
    parser.add_argument("--history", metavar="FILE", help="write training records as JSON lines")


def add_seeds(parser: argparse.ArgumentParser) -> None:
    """--seeds, for tasks whose `run` trains by `trained`."""
    parser.add_argument(
        "--seeds", type=int, metavar="N",
        help="train N models with the seeds --seed, --seed + 1, ..., print mean and spread of their held-back figures, keep the "
        "one with the least held-back loss; --budget is for all of them together, --history gets a file a seed",
    )  # fmt: skip


def add_vectors(parser: argparse.ArgumentParser) -> None:
    """--vectors, for tasks whose unit may be the word."""
    parser.add_argument(
        "--vectors",
        metavar="FILE",
        help="a text file of word2vec or GloVe, also .gz, at whose vectors the words' embedding starts",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """--flash and --ram, for tasks that are exported to C."""
    group = parser.add_argument_group("a device that is to run it: they choose --hidden-size, the largest that fits")
    group.add_argument("--flash", metavar="BYTES", help="of flash for code, weights and tables, such as 32K")
    group.add_argument("--ram", metavar="BYTES", help="of RAM for a state, an answer and the stack of a step, such as 4K")


class Way(TypedDict):
    """How one fit is driven: keywords of every `fit`."""

    budget: str | float | None
    checkpoint: str | None
    resume: bool
    history: str | None


class Trained(NamedTuple, Generic[M]):
    """A model, and the seeds that it was chosen among."""

    model: M
    seeds: Seeds[M] | None


Fit = Callable[[Mapping[str, object], Way, "int | None"], M]  # options, way, seed of what is held back -> fitted model


def trained(args: argparse.Namespace, cls: type, fit: Fit[M]) -> Trained[M]:
    """The model that the flags ask for, written to --output; with --seeds the best of several.

    Checkpoints of a seed stand under the output's name with `.seedK` behind it until all are finished; --resume passes over
    finished seeds. Without a file to hold back, every seed holds back what the first does.
    Raises: ConfigError; what `fit` raises.
    """
    given, checkpoint = options_of(args, cls), None if args.no_checkpoint else str(args.output)
    if args.seeds is None:
        model = fit(given, Way(budget=args.budget, checkpoint=checkpoint, resume=args.resume, history=args.history), None)
        model.save(args.output)
        return Trained(model, None)
    first, seconds, steps = _first_seed(args), parse_budget(args.budget), dict[str, object]()

    def one(seed: int) -> M:
        way = Way(
            budget=None if steps or seconds is None else seconds / args.seeds,
            checkpoint=None if checkpoint is None else _of_seed(checkpoint, seed), resume=args.resume,
            history=None if args.history is None else _of_seed(args.history, seed),
        )  # fmt: skip
        model = fit({**given, **steps, "seed": seed}, way, first)
        if seconds is not None:
            steps["steps"] = model.card["steps"]  # a budget fixes them once, for all
        return model

    found = fit_seeds(one, range(first, first + args.seeds), told=print)
    found.best.save(args.output)
    return Trained(found.best, found)


def _first_seed(args: argparse.Namespace) -> int:
    return int(getattr(args, "option_seed", None) or 0)


def _of_seed(path: str, seed: int) -> str:
    """The same file's name for one seed."""
    return f"{path}.seed{seed}"


def check_training(args: argparse.Namespace) -> None:
    """What would only show after long work. Raises: ConfigError, OutputError."""
    if args.resume and args.no_checkpoint:
        raise ConfigError(
            "--resume: goes on from a checkpoint, and --no-checkpoint says that there are none; leave one of them out"
        )
    seeds = getattr(args, "seeds", None)
    if seeds is not None and seeds < 2:
        raise ConfigError(f"--seeds: expected at least 2, got {seeds}; leave it out to train one model, --seed names its seed")
    check_writable(args.output)
    if args.history is not None:
        check_writable(args.history)


def ending(card: Mapping[str, Plain], args: argparse.Namespace, seconds: float, seeds: Seeds[M] | None = None) -> str:
    """What was written, and after how long."""
    if seeds is not None and seeds.interrupted and not card["interrupted"]:
        way = "" if args.no_checkpoint else "; the same command with --resume trains the others"
        return f"interrupted: wrote {args.output}, the best of {len(seeds.seeds)} finished seeds of {seeds.asked}{way}"
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
    args: argparse.Namespace, cls: type, columns: Mapping[str, str | Sequence[str] | None], card: Mapping[str, Plain],
    seeds: int = 1,
) -> str:  # fmt: skip
    """The command line that gives the same model again, on any machine however fast.

    columns: flags beside the options. seeds: how many the model was chosen among.
    """
    words = [program(), "fit", args.task, shlex.quote(args.file)]
    for flag, value in columns.items():
        if value:
            words += [flag, shlex.quote(",".join(value) if isinstance(value, (list, tuple)) else str(value))]
    words += ["--no-header"] if getattr(args, "no_header", False) else []
    given = {name: value for name, value in options_of(args, cls).items() if name != "epochs"}  # the steps say how long
    given["steps"] = cast(int, card["steps"])
    given.setdefault("seed", card["seed"] if seeds == 1 else _first_seed(args))
    words += ["--seeds", str(seeds)] if seeds > 1 else []
    for name, option in given.items():
        own = flag_of(name)
        if isinstance(option, bool):
            words.append(own if option else f"--no-{own[2:]}")
        else:
            text = ",".join(map(str, option)) if isinstance(option, tuple) else str(option)
            words.append(f"{own}={shlex.quote(text)}" if text.startswith("-") else f"{own} {shlex.quote(text)}")
    return " ".join([*words, "-o", shlex.quote(args.output)])


def tell(
    args: argparse.Namespace, cls: type, shown: str, figures: str, card: Mapping[str, Plain], seconds: float,
    flags: Sequence[str], seeds: Seeds[M] | None = None,
) -> int:  # fmt: skip
    """How good a text model is, what was written, how to do it again; the exit status.

    flags: those beside the options. seeds: those that the model was chosen among.
    """
    print(wrapped(shown, hanging="  "))
    print(figures)
    if seeds is not None:
        print(wrapped(str(seeds), hanging="  "))
    print(bullets(cast("list[str]", card["notes"])))
    print(ending(card, args, seconds, seeds))
    columns = {flag_of(name): getattr(args, name) for name in flags}
    print(f"the same again:\n  {again(args, cls, columns, card, 1 if seeds is None else len(seeds.seeds))}")
    return finish(args, card, seeds)


def finish(args: argparse.Namespace, card: Mapping[str, Plain], seeds: Seeds[M] | None = None) -> int:
    """The exit status; the checkpoints of a finished run go."""
    if card["interrupted"] or (seeds is not None and seeds.interrupted):
        return INTERRUPTED
    if not args.no_checkpoint:
        from tidegate.train.checkpoint import Checkpoints

        for stem in [args.output] if seeds is None else [_of_seed(args.output, seed) for seed in seeds.seeds]:
            Checkpoints(stem).remove()
    return 0
