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
from tidegate.errors import DataError, FormatError, TaskError
from tidegate.files import write_atomic
from tidegate.models import Forecaster, Tagger, load
from tidegate.models.forecast_stream import Answer, ForecastStream
from tidegate.models.streams import ModelStream
from tidegate.models.tag_stream import Given, TagStream
from tidegate.models.text_stream import ClassifyStream, TextStream

EXAMPLE = """example:
  tail -f sensor.csv | tidegate stream weather.safetensors            # a number a line, or CSV with a header, or JSON lines
  cat today.csv | tidegate stream weather.safetensors --state now.state   # goes on from now.state, saves it at the end
  tidegate stream names.safetensors --look-ahead 2        # a tagger: a sentence a line; a tag as soon as it is given
  tidegate stream requests.safetensors --words            # words between blanks, as they are
  tidegate stream mood.safetensors                        # a classifier: the class of all lines so far; an empty line ends a text
  tidegate stream prose.safetensors                       # a language model: how well each line was foreseen, what comes next"""

FOR = {"look_ahead": "tag", "words": "tag", "id": "forecast"}
MOST_STATE = 1 << 26


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `stream`."""
    parser.add_argument("model", help="a file written by `tidegate fit`")
    parser.add_argument("--state", metavar="FILE", help="goes on from here where it exists; saved at the end, and on SIGTERM")
    parser.add_argument(
        "--on-bad", choices=("reject", "hold", "reset"), default="reject",
        help="what a sample with NaN or Inf (a text with U+0000) does: an error and nothing else; counts as missing; forgets all",
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
    """Saves the stream's state at the end, whatever ended it; SIGTERM ends it between two samples.

    What was refused is counted, and what the state was saved to is not touched by a stream that never began.
    """

    def __init__(self, stream: ModelStream[Any, Any], path: str | None) -> None:
        self._stream, self._path, self._busy, self._stop = stream, path, False, False
        self.refused = 0
        self._before: Any = None

    def __enter__(self) -> _Saved:
        self._before = signal.signal(signal.SIGTERM, self._told)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        signal.signal(signal.SIGTERM, self._before)
        if self._path is not None:
            write_atomic(self._path, self._stream.snapshot())
        return kind is _Stopped

    def _told(self, number: int, frame: FrameType | None) -> None:
        self._stop = True
        if not self._busy:
            raise _Stopped

    def done(self, act: Callable[[], None]) -> None:
        """Do what must not be cut short. A refused sample is answered with its error: as JSON, of a tagger on standard error."""
        self._busy = True
        try:
            act()
        except DataError as error:
            self.refused += 1
            plain = isinstance(self._stream, TagStream)
            said = str(error) if plain else json.dumps({"error": str(error)}, ensure_ascii=False)
            print(said, file=sys.stderr if plain else sys.stdout, flush=True)
        finally:
            self._busy = False
        if self._stop:
            raise _Stopped


class _Stopped(BaseException):
    """SIGTERM came."""


def _follow(stream: ModelStream[Any, Any], saved: _Saved, *, whole_words: bool) -> None:
    if isinstance(stream, ForecastStream):
        names: list[str] = []
        for line in _lines():
            saved.done(lambda line=line: _sample(stream, line, names))  # type: ignore[misc]  # mypy does not infer such a lambda
    elif isinstance(stream, TagStream):
        for line in _lines():
            saved.done(lambda line=line: _sentence(stream, line, whole_words=whole_words))  # type: ignore[misc]  # as above
    elif isinstance(stream, (ClassifyStream, TextStream)):
        for line in _lines():
            saved.done(lambda line=line: _piece(stream, line))  # type: ignore[misc]  # as above
    else:
        raise TaskError("stream: expected a model of a task that is streamed")


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


def _sample(stream: ForecastStream, line: str, names: list[str]) -> None:
    """A row of the series: a number, several between commas, or JSON. names: of a header line, filled in when one is met."""
    text = line.strip()
    if not text:
        return
    row: Any
    if text[0] in "{[" or text in ("NaN", "null"):
        row = _json(text)
    else:
        cells = [cell.strip() for cell in next(csv.reader([text]))]
        if not names and not stream.steps and all(not _is_number(cell) for cell in cells):
            names += cells
            return
        numbers = [_number(cell) for cell in cells]
        row = numbers if not names else _of_header(stream, names, numbers)
    _say_forecast(stream, stream.push(row))


def _json(text: str) -> object:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"standard input: expected a row of JSON, got {text[:60]!r} ({error}); mend the line") from None
    if isinstance(found, Mapping):
        return {str(name): np.nan if value is None else value for name, value in found.items()}
    return np.nan if found is None else found


def _of_header(stream: ForecastStream, names: list[str], numbers: list[float]) -> dict[str, float]:
    if len(numbers) != len(names):
        raise DataError(f"standard input: expected {len(names)} cells, as the header has, got {len(numbers)}; mend the line")
    return {name: value for name, value in zip(names, numbers, strict=True) if name in stream.targets}


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == ""
    return True


def _number(cell: str) -> float:
    """NaN for an empty cell; what is no number, such as a time stamp beside the targets, is NaN too where a header says so."""
    try:
        return float(cell) if cell else float("nan")
    except ValueError:
        return float("nan")


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
        found = stream.push(line.rstrip("\r\n"))
        said = {"label": found.label, "probability": found.probability}
    print(json.dumps(said, ensure_ascii=False), flush=True)


def _read_state(path: str | None) -> bytes | None:
    """The snapshot of a file, None where there is none yet. Raises: FormatError."""
    if path is None:
        return None
    try:
        with Path(path).open("rb") as file:
            return file.read(MOST_STATE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}); check the path and its rights") from error
