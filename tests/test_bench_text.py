"""The text benchmark's pairs: no part shares what another has, conventions hold; a row runs; its tables say what it found."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "bench" / "text"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pairs() -> ModuleType:
    return script("pairs")


@pytest.fixture
def data(pairs: ModuleType) -> None:
    if not pairs.DATA.is_dir():
        pytest.skip("the shared data sets are not there")


@pytest.mark.data
def test_words_stand_in_one_part_with_all_their_variants(pairs: ModuleType, data: None) -> None:
    parts = pairs.cmudict()
    words = [set(part.sources) for part in parts]
    assert len(set.union(*words)) == sum(map(len, words))
    assert len(words[2]) == round(0.05 * sum(map(len, words)))
    known = {word: own for part in parts for word, own in zip(part.sources, part.references, strict=True)}
    assert known["read"] == ["R EH D", "R IY D"]
    assert known["a"] == ["AH", "EY"]
    assert not any(c.isdigit() for own in known.values() for phones in own for c in phones)
    assert all(len(set(own)) == len(own) for own in known.values())
    assert pairs.cmudict().test.sources == parts.test.sources


@pytest.mark.data
def test_captions_and_abstracts_are_whole(pairs: ModuleType, data: None) -> None:
    assert [len(part.sources) for part in pairs.multi30k()] == [29_000, 1014, 1000]
    assert pairs.multi30k().test.sources[0].islower()
    abstracts = pairs.scitldr()
    assert [len(part.sources) for part in abstracts] == [1992, 619, 618]
    assert len(abstracts.test.pairs[0]) > 618, "some have several summaries"


def test_reversed_strings_are_distinct(pairs: ModuleType) -> None:
    parts = pairs.reversed_pairs()
    assert [len(part.sources) for part in parts] == [45_000, 2_500, 2_500]
    assert len({text for part in parts for text in part.sources}) == 50_000
    assert all(own == [text[::-1]] for text, own in zip(*parts.dev, strict=True))


def test_a_row_runs_and_is_told(pairs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pairs.reversed_pairs()
    small = pairs.Parts(*(pairs.Part(part.sources[:60], part.references[:60]) for part in whole))
    options = {"units": "char", "hidden_size": 8, "embedding_dim": 8, "steps": 5}
    row = pairs.ROWS["reversed"]._replace(load=lambda: small, options=options)
    monkeypatch.setitem(pairs.ROWS, "reversed", row)
    found = json.loads(json.dumps(pairs.run_row("reversed", 0)))
    assert found["texts"] == [60, 60, 60]
    assert 0.0 <= found["anti_diagonal"] <= 1.0
    assert found["test"]["headline"] == found["test"]["beam"]["exact"]
    shown = "\n".join(script("report_pairs").lines(lambda name: [found] if name == "reversed" else []))
    assert "| reversed strings, 2,500 | exact answers, % | 99.0 / 100.0 |" in shown
    assert "**missed**" in shown
    assert "copy of the source" in shown
