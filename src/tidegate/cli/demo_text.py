"""`tidegate demo text`: RNN, LSTM, GRU and a net that reads both ways, asked what tutorials ask, in about a minute.

The sentences stand in tasks/showcase.py, the rules of the verdict in tasks/claims.py; what is said here follows from this run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np

from tidegate.cli.common import say_wrote, wrapped
from tidegate.data.table import Table
from tidegate.errors import ConfigError
from tidegate.files import check_writable
from tidegate.models.text_demo import Answer, Told, answers, nets_of, shares
from tidegate.progress import Progress
from tidegate.report.canvas import kind_of
from tidegate.report.shares import shares_picture
from tidegate.tasks.claims import METHODS, Figures, Share, verdicts
from tidegate.tasks.showcase import QUESTIONS, Course, Piece, courses

EXAMPLE = """example:
  tidegate demo text
  tidegate demo text --seeds 5 -o tutorials.png --answers answers.csv"""
SEEDS, STEPS = 3, 120
MANY_WORDS = 24  # of a question that is shown whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `demo text`."""
    parser.usage = "tidegate demo text [--seeds N] [-o FILE] [--answers FILE]"
    parser.add_argument("task", choices=["text"], help="what is shown: text")
    parser.add_argument("-o", "--output", metavar="FILE", help="draw the table: .png or .svg")
    parser.add_argument("--answers", metavar="FILE", help="write every answer to a CSV file")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=f"nets of each kind, default {SEEDS}")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the first seed, default 0")
    parser.add_argument(
        "--steps",
        type=int,
        default=STEPS,
        metavar="N",
        help=f"training steps, more for what takes longer to learn; default {STEPS}",
    )


def run(args: argparse.Namespace) -> int:
    """Train, ask, print what was said, and what it says of the claims."""
    _check(args)
    began, said, figures = time.perf_counter(), list[Answer](), dict[str, dict[str, Share]]()
    taught = {seed: courses(seed) for seed in range(args.seed, args.seed + args.seeds)}
    nets = len(taught) * sum(len(nets_of(course)) for course in taught[args.seed])
    print(wrapped(_opening(len(taught), args.seed)))
    with Progress(nets + len(taught) * len(taught[args.seed]), "training") as bar:
        for same in zip(*taught.values(), strict=True):  # one course, in the texts of each seed
            told = [t for seed, course in zip(taught, same, strict=True) for t in _told(course, seed, args.steps, bar)]
            found = [answer for each in told for answer in each.answers]
            for piece in same[0].pieces:
                own = [answer for answer in found if answer.piece == piece.name]
                figures[piece.name] = shares(piece, own, len(same[0].classes))
                print("\n" + shown(piece, [answer for answer in own if answer.seed == args.seed]))
            print("\n" + wrapped(learnt(told), "  ", "  "), flush=True)
            said += found
    print("\n".join(["", table(figures), "", judged(figures)]))
    titles = {piece.name: piece.title for course in taught[args.seed] for piece in course.pieces}
    _write(args, said, figures, titles)
    print(f"\n{nets} nets in {time.perf_counter() - began:.0f} s.")
    return 0


def _check(args: argparse.Namespace) -> None:
    """What would only show after long work. Raises: ConfigError, OutputError."""
    for flag, value, least in (("--seeds", args.seeds, 1), ("--steps", args.steps, 1), ("--seed", args.seed, 0)):
        if value < least:
            raise ConfigError(f"{flag}: expected at least {least}, got {value}")
    if args.output is not None:
        kind_of(args.output)
    for path in filter(None, (args.output, args.answers)):
        check_writable(path)


def _told(course: Course, seed: int, steps: int, bar: Progress) -> Iterator[Told]:
    """What every method says, with a bar that moves."""
    for told in answers(course, seed, steps):
        bar.step(f"{course.name}, {told.method}")
        yield told


def learnt(told: Sequence[Told]) -> str:
    """How well the nets know their own templates: what they never learnt says nothing about new sentences."""
    by_method: dict[str, list[float]] = {}
    for each in told:
        if each.learnt is not None:
            by_method.setdefault(each.method, []).append(100 * each.learnt)
    known = ", ".join(f"{method} {sum(own) / len(own):.0f} %" for method, own in by_method.items())
    return f"Right in sentences of the templates themselves, held back in training, as far as they can be known: {known}."


def _opening(seeds: int, first: int) -> str:
    return (
        f"{seeds} nets of each kind, small ones, learn sentences of templates. Then they are asked about sentences that no "
        f"template makes, {QUESTIONS} of each kind; where nothing else is said, the words that matter were read in plain "
        "sentences alone, or never. Two questions of each kind are shown, the first and the last, with what the nets of seed "
        f"{first} said and how sure they were. [?] is where the question is put; a net that reads left to right knows nothing of "
        "what follows there."
    )


def shown(piece: Piece, own: Sequence[Answer]) -> str:
    """Two questions of a piece with the answers as they came. own: those of one seed."""
    lines = [f"{piece.title[0].upper()}{piece.title[1:]}"]
    for question in (piece.questions[0], piece.questions[-1]):
        words = question.text.split()
        marked = " ".join([*words[: question.read], "[?]", *words[question.read :]])
        middle = len(words) - MANY_WORDS
        if middle > 0:
            marked = " ".join([*words[: MANY_WORDS // 2], f"... {middle} words ...", *words[-MANY_WORDS // 2 :], "[?]"])
        lines += ["", wrapped(f'"{marked}"', "  ", "   "), f"  truth: {question.label}"]
        lines.append(wrapped("; ".join(_said(a) for a in own if a.question == question), "  ", "  "))
    return "\n".join(lines)


def _said(answer: Answer) -> str:
    return f"{answer.method} {answer.said} {answer.probability:.2f}{'' if answer.right else ' (wrong)'}"


def table(figures: Figures) -> str:
    """A row a piece, a column a method: the share of right answers, and of the lowest and the highest seed."""
    methods = [name for name in METHODS if any(name in row for row in figures.values())]
    rows = [["right answers", *methods]]
    rows += [[piece, *(str(row[m]) if m in row else "" for m in methods)] for piece, row in figures.items()]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    cells = [[row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))] for row in rows]
    return "\n".join("  ".join(row).rstrip() for row in cells)


def judged(figures: Figures) -> str:
    """What tutorials say, and what the figures say of it."""
    lines = ["What tutorials say, and what these figures say of it:"]
    for found in verdicts(figures):
        lines += [
            "",
            wrapped(f'"{found.claim.text}" ({found.claim.piece})', "- ", "  "),
            wrapped(f"{found.outcome.upper()}: {found.why}", "  "),
        ]
    return "\n".join(lines)


def _write(args: argparse.Namespace, said: Sequence[Answer], figures: Figures, titles: dict[str, str]) -> None:
    if args.answers:
        _table(said).write_csv(args.answers)
    if args.output:
        shares_picture(args.output, figures, titles)
    say_wrote(args.answers, args.output)


def _table(said: Sequence[Answer]) -> Table:
    """Every answer as a row."""
    words = {
        "piece": [a.piece for a in said], "method": [a.method for a in said], "question": [a.question.text for a in said],
        "truth": [a.question.label for a in said], "said": [a.said for a in said],
    }  # fmt: skip
    numbers = {"read": [a.question.read for a in said], "seed": [a.seed for a in said]}
    columns = {name: np.array(values, dtype=object) for name, values in words.items()}
    columns |= {name: np.array(values, np.int64) for name, values in numbers.items()}
    return Table({**columns, "probability": np.array([a.probability for a in said])})
