"""The museum: every hostile file is refused in words, within 50 ms of processor time and 32 MiB of memory."""

from __future__ import annotations

import re
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

import tidegate as tg
from tests.fuzz.museum import CONTAINER, Exhibit
from tests.fuzz.museum_int8 import INT8
from tests.fuzz.museum_models import CHECKPOINTS, MODELS
from tests.fuzz.readers import READERS
from tidegate.errors import FormatError, TidegateError
from tidegate.format import parse

MOST_MS, MOST_BYTES, TIMES = 50.0, 32 << 20, 3
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def by_name(exhibits: tuple[Exhibit, ...]) -> list[object]:
    return [pytest.param(exhibit, id=exhibit.name.replace(" ", "-")) for exhibit in exhibits]


def refused(read: Callable[[], object]) -> str:
    with pytest.raises(TidegateError) as caught:
        read()
    return str(caught.value)


def bounded(read: Callable[[], object]) -> None:
    """The refusal costs little: processor time (median), and memory of Python and, where it can be seen, of the process."""
    took = []
    for _ in range(TIMES):
        began = time.process_time()
        refused(read)
        took.append(1e3 * (time.process_time() - began))
    assert statistics.median(took) < MOST_MS
    tracemalloc.start()
    refused(read)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST_BYTES
    before = _taken("VmRSS", afresh=True)
    refused(read)
    assert _taken("VmHWM") - before < MOST_BYTES


def _taken(what: str, *, afresh: bool = False) -> int:
    """Memory of this process now (VmRSS), or at most since it was last looked at afresh (VmHWM); 0 where nobody tells."""
    try:
        if afresh:
            CLEAR.write_text("5")
        found = re.search(rf"{what}:\s+(\d+) kB", STATUS.read_text())
    except OSError:
        return 0
    return 1024 * int(found[1]) if found else 0


def test_memory_that_is_taken_is_seen() -> None:
    before = _taken("VmRSS", afresh=True)
    if not before:
        pytest.skip("this system does not tell")
    held = bytearray(b"x") * (2 * MOST_BYTES)
    del held
    assert _taken("VmHWM") - before > MOST_BYTES


@pytest.mark.parametrize("exhibit", by_name(CONTAINER))
def test_a_container_that_lies(exhibit: Exhibit, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(exhibit.make())
    said = refused(lambda: tg.load(path))
    assert re.search(exhibit.said, said)
    foreign = said.endswith("train a model with `tidegate fit`")
    assert said.startswith(f"{path}: " + ("" if foreign else "not a sound Tidegate file: "))
    assert foreign == ("Fetch or save the file again." not in said)
    assert len(said) - len(str(path)) < 500
    bounded(lambda: tg.load(path))


@pytest.mark.parametrize("exhibit", by_name((*MODELS, *INT8)))
def test_a_model_that_lies(exhibit: Exhibit, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(exhibit.make())
    said = refused(lambda: tg.load(path))
    assert re.search(exhibit.said, said)
    assert len(said) < 3000
    bounded(lambda: tg.load(path))


@pytest.mark.parametrize("exhibit", by_name(CHECKPOINTS))
def test_a_checkpoint_that_lies(exhibit: Exhibit) -> None:
    read = next(reader.read for reader in READERS if reader.name == "checkpoint")
    body = exhibit.make()
    said = refused(lambda: read(body))
    assert re.search(exhibit.said, said)
    bounded(lambda: read(body))


def test_what_the_models_are_made_of_is_sound() -> None:
    """Else the refusals above could have another cause."""
    for reader in READERS:
        for seed in reader.seeds():
            reader.read(seed.draft().bytes() if seed.text else seed.body)  # a snapshot is no container


def test_every_exhibit_has_its_own_name_and_a_history() -> None:
    exhibits = [*CONTAINER, *MODELS, *INT8, *CHECKPOINTS]
    assert len({exhibit.name for exhibit in exhibits}) == len(exhibits) >= 60
    assert all(exhibit.history for exhibit in exhibits)


def test_a_link_is_followed_and_its_name_tells_nothing(tmp_path: Path) -> None:
    """A name that looks like a model's is no reason to trust: what it links to is read and refused like any file."""
    (tmp_path / "secret").write_text("abracadabra")
    link = tmp_path / "model.safetensors"
    link.symlink_to(tmp_path / "secret")
    assert "abracadabra" not in refused(lambda: tg.load(link))
    loop = tmp_path / "loop.safetensors"
    loop.symlink_to(loop)
    with pytest.raises(FormatError, match="cannot be read"):
        tg.load(loop)
    with pytest.raises(FormatError):
        parse(b"")
