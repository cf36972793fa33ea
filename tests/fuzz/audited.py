"""A process that tells which audited events loading and predicting cause. Out: JSON, what -> event -> how often.

Everything is done once before the hook is set, so that what modules do while they are imported is not counted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz.museum import CONTAINER
from tests.fuzz.museum_int8 import INT8
from tests.fuzz.museum_models import CHECKPOINTS, MODELS
from tests.fuzz.readers import READERS
from tidegate.errors import TidegateError

Part = Callable[[], None]


def honest() -> list[Part]:
    """Every file of the corpus, read and used."""
    return [
        lambda reader=reader, body=seed.body: reader.use(reader.read(body), Random(0))  # type: ignore[misc]  # bound at once
        for reader in READERS
        for seed in reader.seeds()
    ]


def hostile() -> list[Part]:
    """Every file of the museum, refused."""
    read = {reader.name: reader.read for reader in READERS}
    bodies = [("model", one.make()) for one in (*CONTAINER, *MODELS, *INT8)] + [("checkpoint", one.make()) for one in CHECKPOINTS]

    def refused(name: str, body: bytes) -> None:
        with contextlib.suppress(TidegateError):
            read[name](body)
            raise AssertionError("a hostile file was read")

    return [lambda name=name, body=body: refused(name, body) for name, body in bodies]  # type: ignore[misc]  # bound at once


def control() -> list[Part]:
    """What must be seen, so that silence means something."""
    return [lambda: exec("1 + 1"), lambda: pickle.loads(pickle.dumps(Path)) and None]


def main() -> None:
    """Warm up, listen, print."""
    logging.disable(logging.CRITICAL)
    parts = {"honest": honest(), "hostile": hostile(), "control": control()}
    for part in (*parts["honest"], *parts["hostile"]):
        part()
    events = {what: Counter[str]() for what in (*parts, "")}
    listening = ""

    def hook(event: str, args: tuple[object, ...]) -> None:
        events[listening][f"open for {args[1]}" if event == "open" else event] += 1

    sys.addaudithook(hook)
    for listening, own in parts.items():  # noqa: B007  # the hook reads it
        for part in own:
            part()
    listening = ""
    print(json.dumps(events))


if __name__ == "__main__":
    main()
