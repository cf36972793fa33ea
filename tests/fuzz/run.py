"""The run: `python -m tests.fuzz.run --count 100000 --seconds 240`. In: a seed. Out: figures, and each failure with a reproducer.

An input is drawn from (seed, number) alone. It fails unless its reader gives something sound, which can then be used, or raises
a TidegateError of bounded length, within LIMIT_S of processor time and MOST_MEMORY; a crash or a hang of the process fails too.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import logging
import multiprocessing as mp
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple, Protocol

from tests.fuzz.readers import READERS, Reader
from tidegate.errors import TidegateError

LIMIT_S, HANG_S = 1.0, 10.0  # of processor time: what fails, and what is stopped
MOST_MEMORY = 64 << 20  # that one input may add to the highest use of memory so far
ADDRESS_SPACE = 2 << 30  # beyond what is taken at the start: an allocation by a size of the file fails at once
LONGEST_MESSAGE = 3000
MOST_FAILURES = 20
UNIT = 1024 if sys.platform != "darwin" else 1  # of ru_maxrss
FAILED = Path("build") / "fuzz"


class Hung(BaseException):
    """Raised inside an input that takes too long."""


class Failure(NamedTuple):
    """What went wrong with one input."""

    number: int
    what: str


class Result(NamedTuple):
    """How many inputs were tried, what came of them, and what went wrong."""

    done: int
    counts: Counter[str]
    failures: list[Failure]


class Value(Protocol):
    """A number that two processes share."""

    value: int


class Results(Protocol):
    """Where the process puts its result."""

    def put(self, result: Result) -> None: ...


def drawn(seed: int, number: int, readers: Sequence[Reader]) -> tuple[Reader, bytes, Random]:
    """The input of that number, its reader, and the random numbers that are left."""
    rng = Random(f"{seed}/{number}")
    reader = rng.choices(readers, [reader.share for reader in readers])[0]
    return reader, reader.mutant(rng, reader.seeds()), rng


def tried(reader: Reader, body: bytes, rng: Random) -> str:
    """What came of an input: "sound", "used", or the name of the error. Raises: AssertionError, or whatever should not be."""
    try:
        found = reader.read(body)
    except TidegateError as error:
        return _told(error)
    if rng.random() >= reader.used:
        return "sound"
    try:
        reader.use(found, rng)
    except TidegateError as error:
        return f"used: {_told(error)}"
    return "used"


def _told(error: TidegateError) -> str:
    """The error's class. Raises: AssertionError where its message is longer than anybody would read."""
    said = str(error)
    if len(said) > LONGEST_MESSAGE:
        raise AssertionError(f"a message of {len(said):,} letters: {said[:200]}")
    return type(error).__name__


def one(seed: int, number: int, readers: Sequence[Reader]) -> tuple[str, Failure | None]:
    """Draw and try one input, within its limits."""
    reader, body, rng = drawn(seed, number, readers)
    before, began = _highest(), time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
    try:
        came = tried(reader, body, rng)
        took, grown = time.process_time() - began, _highest() - before
        assert took <= LIMIT_S, f"took {took:.2f} s of processor time"
        assert grown <= MOST_MEMORY, f"took {grown >> 20} MiB of memory"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of an extension is no Exception
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-6))
        return "FAILED", Failure(number, text if len(text) < 3000 else f"{text[:2500]} ... {text[-500:]}")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
    return f"{reader.name}: {came}", None


def _highest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


def _hung(*_: object) -> None:
    raise Hung(f"more than {HANG_S:g} s of processor time")


def _bounded() -> None:
    """Limits of this process."""
    faulthandler.enable()
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGVTALRM, _hung)
    statm = Path("/proc/self/statm")
    if statm.exists():
        taken = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + ADDRESS_SPACE, resource.RLIM_INFINITY))


def warm(readers: Sequence[Reader]) -> None:
    """Use every sound file: what is loaded at the first use is no memory of an input."""
    for reader in readers:
        for sound in reader.seeds():
            for number in range(3):
                reader.use(reader.read(sound.body), Random(number))


def attempt(seed: int, numbers: range, seconds: float, readers: Sequence[Reader], begin: Callable[[int], None]) -> Result:
    """Try inputs one after the other; `begin` is told the number of each before it is drawn."""
    counts: Counter[str] = Counter()
    failures: list[Failure] = []
    began, done = time.monotonic(), 0
    for number in numbers:
        if time.monotonic() - began > seconds or len(failures) >= MOST_FAILURES:
            break
        begin(number)
        came, failure = one(seed, number, readers)
        counts[came] += 1
        done += 1
        failures += [] if failure is None else [failure]
    return Result(done, counts, failures)


def work(seed: int, numbers: range, seconds: float, place: Value, queue: Results) -> None:
    """What the process does; `place` tells which input was under way when it died."""
    warm(READERS)
    _bounded()
    gc.freeze()

    def begin(number: int) -> None:
        place.value = number

    queue.put(attempt(seed, numbers, seconds, READERS, begin))


def run(seed: int, numbers: range, seconds: float, target: Callable[..., None] = work, method: str = "spawn") -> Result:
    """Try inputs in a process of their own."""
    context = mp.get_context(method)
    place, queue = context.Value("q", -1), context.Queue()
    process = context.Process(target=target, args=(seed, numbers, seconds, place, queue))
    process.start()
    while process.is_alive() and queue.empty():
        process.join(0.2)
    process.join(0.2 if not queue.empty() else None)
    if queue.empty():
        number = int(place.value)
        failure = Failure(number, f"the process died with {process.exitcode}")
        return Result(max(0, number - numbers.start), Counter(), [failure])
    result: Result = queue.get()
    process.join()
    return result


def report(seed: int, failures: Sequence[Failure]) -> None:
    """Each failure, its file, and how to see it again."""
    for failure in failures:
        FAILED.mkdir(parents=True, exist_ok=True)
        reader, body, _ = drawn(seed, failure.number, READERS)
        path = FAILED / f"{reader.name}-{seed}-{failure.number}.bin"
        path.write_bytes(body)
        again = f"python -m tests.fuzz.run --seed {seed} --first {failure.number} --count 1"
        print(f"\nFAILED: {reader.name}, input {failure.number} (kept as {path})\n{failure.what}\nagain: {again}")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Alter sound files and read them.")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=240.0, help="stop then, whatever is left")
    args = parser.parse_args()
    began = time.monotonic()
    done, counts, failures = run(args.seed, range(args.first, args.first + args.count), args.seconds)
    for came, count in sorted(counts.items()):
        print(f"{count:8,}  {came}")
    report(args.seed, failures)
    seconds = time.monotonic() - began
    short = "" if done == args.count or failures else f", of {args.count:,}: the time was up"
    print(f"\nfuzz: {done:,} inputs in {seconds:.0f} s{short}; {len(failures)} failed (seed {args.seed})")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
