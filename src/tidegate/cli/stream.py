"""`tidegate stream MODEL`: samples in on standard input, an answer out for each at once, where torch need not be installed."""

from __future__ import annotations

import argparse
import csv
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, final

import numpy as np

from tidegate.cli.common import refuse_foreign
from tidegate.data.vocabulary import cut_words
from tidegate.errors import ConfigError, DataError, FormatError, TaskError
from tidegate.files import check_writable, write_atomic
from tidegate.models import Forecaster, Tagger, load
from tidegate.models.forecast_stream import Answer, ForecastStream
from tidegate.models.streams import ModelStream
from tidegate.models.tag_stream import Given, TagStream
from tidegate.models.text_stream import ClassifyStream, TextStream

EXAMPLE = """example:
  (head -n 1 new.csv; tail -n 0 -f new.csv) | tidegate stream weather.safetensors   # CSV, its header first; or JSON lines
  tail -f celsius.txt | tidegate stream weather.safetensors           # a number a line, or one a target with commas between
  cat today.csv | tidegate stream weather.safetensors --state now.state   # goes on from now.state, saves it at the end
  tidegate stream names.safetensors --look-ahead 2        # a tagger: a sentence a line; a tag as soon as it is given
  tidegate stream requests.safetensors --words            # words between blanks, as they are
  tidegate stream mood.safetensors                        # a classifier: the class of all lines so far; an empty line ends a text
  tidegate stream prose.safetensors                       # a language model: how well each line was foreseen, what comes next"""

INPUT = "standard input"
FOR = {"look_ahead": "tag", "words": "tag", "id": "forecast"}
MOST_STATE = 1 << 26


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `stream`."""
    parser.add_argument("model", help="a file written by `tidegate fit`")
    parser.add_argument("--state", metavar="FILE", help="goes on from here where it exists; saved at the end, and on SIGTERM")
    parser.add_argument(
        "--on-bad", choices=("reject", "hold", "reset"), default="reject",
        help="what a sample with NaN or Inf (a text with U+0000), or steps left out before a line that tells its time, do: an "
        "error and nothing else; count as missing; all is forgotten",
    )  # fmt: skip
    parser.add_argument("--id", metavar="ID", help="of a forecaster of several series: the one that is followed from its end")
    parser.add_argument(
        "--look-ahead", type=int, metavar="N", help="of a tagger: words that are waited for before a tag is given; default 4, 0 "
        "for a net that reads forwards and tags each word by itself",
    )  # fmt: skip
    parser.add_argument("--words", action="store_true", help="of a tagger: words stand between blanks and are not cut further")


def run(args: argparse.Namespace) -> int:
    """An answer a line, flushed at once: JSON, of a tagger word, tag and probability. 1 where a sample was refused."""
    model = load(args.model)
    refuse_foreign(args, model.task, FOR)
    if model.task not in ("forecast", "tag", "classify", "generate", "translate"):
        raise TaskError(f"a model for {model.task!r} is followed in Python, with model.stream(); name one of `tidegate fit`")
    if args.state is not None:
        if isinstance(model, Tagger):
            raise ConfigError("--state: a line is a whole sentence to a tagger, so there is nothing to go on from; leave it out")
        check_writable(args.state)
    state = _read_state(args.state)
    if isinstance(model, Forecaster):
        stream: ModelStream[Any, Any] = model.stream(args.id, on_bad=args.on_bad, state=state)
    elif isinstance(model, Tagger):
        stream = model.stream(args.look_ahead, on_bad=args.on_bad, state=state)
    else:
        stream = model.stream(on_bad=args.on_bad, state=state)
    saved = _Saved(stream, args.state)
    with saved:
        _follow(stream, saved, whole_words=args.words)
    return 1 if saved.refused else 0


@final
class _Saved:
    """Saves the stream's state at the end, whatever ended it; SIGTERM and Ctrl-C end it between two samples.

    What was refused is counted, and what the state was saved to is not touched by a stream that never began.
    """

    def __init__(self, stream: ModelStream[Any, Any], path: str | None) -> None:
        self._stream, self._path, self._busy, self._stop = stream, path, False, 0
        self.refused = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Saved:
        self._before = {number: signal.signal(number, self._told) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        self._busy = True  # a signal that comes now ends nothing that has not ended
        try:
            if self._path is not None:
                write_atomic(self._path, self._stream.snapshot())
        finally:
            for number, before in self._before.items():
                signal.signal(number, before)
        if kind is _Stopped and self._stop == signal.SIGINT:
            raise KeyboardInterrupt
        return kind is _Stopped

    def _told(self, number: int, frame: FrameType | None) -> None:
        self._stop = number
        if not self._busy:
            raise _Stopped

    def done(self, number: int, act: Callable[[], None]) -> None:
        """What must not be cut short, of a line of that number. A refused sample is answered with its error: as JSON, of a
        tagger on standard error."""
        self._busy = True
        try:
            act()
        except DataError as error:
            self.refused += 1
            plain = isinstance(self._stream, TagStream)
            text = f"{INPUT}: line {number}: {str(error).removeprefix(f'{INPUT}: ')}"
            said = text if plain else json.dumps({"error": text}, ensure_ascii=False)
            print(said, file=sys.stderr if plain else sys.stdout, flush=True)
        finally:
            self._busy = False
        if self._stop:
            raise _Stopped


class _Stopped(BaseException):
    """A signal came."""


def _follow(stream: ModelStream[Any, Any], saved: _Saved, *, whole_words: bool) -> None:
    if isinstance(stream, ForecastStream):
        rows = _Rows(stream)
        for number, line in enumerate(_lines(), 1):
            saved.done(number, lambda line=line: rows.take(line))  # type: ignore[misc]  # mypy does not infer such a lambda
    elif isinstance(stream, TagStream):
        for number, line in enumerate(_lines(), 1):
            saved.done(number, lambda line=line: _sentence(stream, line, whole_words=whole_words))  # type: ignore[misc]  # as above
    elif isinstance(stream, (ClassifyStream, TextStream)):
        for number, line in enumerate(_lines(), 1):
            saved.done(number, lambda line=line: _piece(stream, line))  # type: ignore[misc]  # as above


def _lines() -> Iterator[str]:
    """Standard input, line by line, with its ends. Raises: DataError where it is no UTF-8."""
    number = 1
    try:
        for line in sys.stdin:
            line.encode()  # bytes that are no UTF-8 may have come as half letters
            yield line
            number += 1
    except UnicodeError as error:
        said = f"standard input: line {number}: expected UTF-8, got other bytes; re-encode the text and start again"
        raise DataError(said) from error


@final
class _Rows:
    """Lines as rows of a series: a number, several between commas, under a header or without one, or JSON."""

    def __init__(self, stream: ForecastStream) -> None:
        self._stream = stream
        self._begun = False
        self._names: list[str] = []  # of a header
        self._times = stream.time_columns

    def take(self, line: str) -> None:
        """One line. Raises: DataError."""
        text = line.strip()
        if not text:
            return
        begun, self._begun = self._begun, True
        time: Mapping[str, object] = {}
        if text[0] in "{[" or text in ("NaN", "null"):
            row, time = self._timed(_json(text))
        else:
            cells = _cells(text)
            if not begun and not any(_is_number(cell) for cell in cells):
                self._header(cells)
                return
            row, time = self._row(cells)
        _say_forecast(self._stream, self._stream.push_at(time, row) if time else self._stream.push(row))

    def _timed(self, row: object) -> tuple[Any, dict[str, object]]:
        """What is left of a row, and its time where it has one."""
        if not isinstance(row, Mapping) or not any(name in row for name in self._times):
            return row, {}
        own = {name: row[name] for name in self._times if name in row}
        return {name: value for name, value in row.items() if name not in own}, own

    def _header(self, cells: list[str]) -> None:
        missing = [name for name in self._stream.targets if name not in cells]
        if missing:
            self._begun = False
            raise DataError(
                f"standard input: expected a number or a header with {', '.join(missing)} in the first line, got "
                f"{', '.join(cells)[:60]!r}; mend the line"
            )
        self._names = cells

    def _row(self, cells: list[str]) -> tuple[Any, dict[str, object]]:
        if not self._names:
            return [_number(cell) for cell in cells], {}
        if len(cells) != len(self._names):
            raise DataError(
                f"standard input: expected {len(self._names)} cells, as the header has, got {len(cells)}; mend the line"
            )
        own = dict(zip(self._names, cells, strict=True))
        row, time = self._timed(own)
        return {name: _number(cell) for name, cell in row.items() if name in self._stream.targets}, time


def _cells(text: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([text]))]
    except csv.Error as error:
        raise DataError(f"standard input: expected cells between commas, got {text[:60]!r} ({error}); mend the line") from None


def _json(text: str) -> object:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"standard input: expected a row of JSON, got {text[:60]!r} ({error}); mend the line") from None
    if isinstance(found, Mapping):
        return {str(name): np.nan if value is None else value for name, value in found.items()}
    return np.nan if found is None else found


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == ""
    return True


def _number(cell: str) -> float:
    """NaN for an empty cell. Raises: DataError for what is no number."""
    if not _is_number(cell):
        raise DataError(
            f"standard input: expected a number, got {cell[:60]!r}; the state is untouched. Mend the line, or give a header first"
        )
    return float(cell) if cell else float("nan")


def _say_forecast(stream: ForecastStream, answer: Answer) -> None:
    def table(values: np.ndarray) -> dict[str, list[float | None]]:
        rows = zip(stream.targets, values.tolist(), strict=True)
        return {name: [None if value != value else value for value in own] for name, own in rows}

    dated = answer.times.dtype.kind == "M"
    said = {
        "time": np.datetime_as_string(answer.times).tolist() if dated else [str(t) for t in answer.times.tolist()],
        "forecast": table(answer.forecast),
        "lo": {f"{level:g}": table(values) for level, values in answer.lo.items()},
        "hi": {f"{level:g}": table(values) for level, values in answer.hi.items()},
    }
    print(json.dumps(said), flush=True)


def _sentence(stream: TagStream, line: str, *, whole_words: bool) -> None:
    try:
        for word in line.split() if whole_words else cut_words(line):
            _say(stream.push(word))
    except DataError:
        stream.reset()  # the next line is another sentence
        print(flush=True)
        raise
    for given in stream.finish():
        _say(given)
    print(flush=True)


def _say(given: Given | None) -> None:
    if given is not None:
        print(f"{given.word}\t{given.tag}\t{given.probability:.3f}", flush=True)


def _piece(stream: ClassifyStream | TextStream, line: str) -> None:
    """A line of a text; an empty one ends a text that is classified."""
    if isinstance(stream, TextStream):
        answer = stream.push(line)
        said: dict[str, object] = {
            "nats": answer.nats,
            "tokens": stream.score.tokens,
            "next": [list(one) for one in answer.best()],
        }
    elif not line.strip():
        stream.reset()
        return
    else:
        found = stream.push(stream.between + line.rstrip("\r\n") if stream.steps else line.rstrip("\r\n"))
        said = {"label": found.label, "probability": found.probability}
    print(json.dumps(said, ensure_ascii=False), flush=True)


def _read_state(path: str | None) -> bytes | None:
    """The snapshot of a file, None where there is none yet. Raises: FormatError."""
    if path is None:
        return None
    try:
        with Path(path).open("rb") as file:
            return file.read(MOST_STATE + 1) or None  # an empty file stands for none
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}); check the path and its rights") from error
