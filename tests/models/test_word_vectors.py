"""Models of words that start at pretrained vectors: the rows are the file's, training only, said in the card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tidegate as tg
from tidegate.errors import ConfigError, DataError
from tidegate.train import run as running

TEXTS = (["a fine film", "a dull film", "fine acting", "dull acting"] * 8, ["good", "bad"] * 16)
OPTIONS = {"hidden_size": 4, "steps": 2, "min_count": 1}


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = tmp_path / "v.txt"
    path.write_text("fine 1 2 3\ndull -1 -2 -3\nelse 7 7 7\nFilm 5 5 5\ndull 9 9 9\n")
    return path


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The embedding of each net before its first step."""
    seen: list[np.ndarray] = []
    train = running.train

    def watched(problem, options, state):
        arrays = state.network.arrays()
        seen.append(arrays["vectors.weight"] if "vectors.weight" in arrays else arrays["embedded.weight"])
        for name, value in state.average.items():
            np.testing.assert_array_equal(value.numpy(), state.network.arrays()[name])
        yield from train(problem, options, state)

    monkeypatch.setattr(running, "train", watched)
    return seen


def test_a_classifier_starts_there(vectors: Path, starts: list[np.ndarray], tmp_path: Path) -> None:
    model = tg.Classifier(**OPTIONS, ensemble=2).fit(TEXTS, vectors=vectors, progress=False)
    place = {token: code for code, token in enumerate(model._ready().tokenizer.tokens, 1)}
    assert len(starts) == 2
    for table in starts:
        assert table.shape == (6, 3)
        assert table[place["fine"]].tolist() == [1, 2, 3]
        assert table[place["dull"]].tolist() == [-1, -2, -3]
        assert table[place["film"]].tolist() == [5, 5, 5]
    assert not np.array_equal(starts[0][place["a"]], starts[1][place["a"]]), "what the file has not is drawn"
    note = model.card["notes"][-1]
    assert note.startswith("3 of 5 words (60.0 %, ")
    assert "started at the vectors of v.txt; 1 of them stand there more than once, and the first counted" in note
    model.save(tmp_path / "m")
    vectors.unlink()
    again = tg.load(tmp_path / "m")
    assert again.options.embedding_dim == 3
    assert (again.predict_proba("a fine film") == model.predict_proba("a fine film")).all()
    assert str(vectors).encode() not in (tmp_path / "m").read_bytes()


def test_a_language_model_too(vectors: Path, starts: list[np.ndarray]) -> None:
    options = {"units": "word", "hidden_size": 4, "steps": 2, "batch_size": 2, "window": 4, "tied": True}
    model = tg.LanguageModel(**options).fit(["fine and dull . " * 30], vectors=vectors, progress=False)
    place = {token: code for code, token in enumerate(model._ready().tokenizer.tokens, 1)}
    assert starts[0][place["dull"]].tolist() == [-1, -2, -3]
    assert "2 of 4 words" in model.card["notes"][-1]


def test_a_resume_needs_the_same_vectors(vectors: Path, tmp_path: Path) -> None:
    def fit(**more: object) -> tg.Classifier:
        return tg.Classifier(**OPTIONS).fit(TEXTS, checkpoint=tmp_path / "c", progress=False, **more)

    fit(vectors=vectors)
    with pytest.raises(tg.FormatError, match="other options or other data"):
        fit(resume=True)
    fit(vectors=vectors, resume=True)


def test_what_does_not_fit_is_refused_before_training(vectors: Path, tmp_path: Path) -> None:
    def fit(path: Path = vectors, **options: object) -> None:
        tg.Classifier(**{**OPTIONS, **options}).fit(TEXTS, vectors=path, progress=False)

    with pytest.raises(ConfigError, match=r"embedding_dim: expected 3, as the vectors of v\.txt are, got 8"):
        fit(embedding_dim=8)
    fit(embedding_dim=3)
    with pytest.raises(ConfigError, match="vectors: are of words, and units='char' cuts texts into smaller parts"):
        fit(units="char")
    other = tmp_path / "other.txt"
    other.write_text("chien 1 2\n")
    with pytest.raises(DataError, match="expected vectors of words that the texts have, got none among 1"):
        fit(other)
    with pytest.raises(ConfigError, match="vectors: are of words"):
        tg.LanguageModel().fit(["abc"], vectors=vectors, progress=False)
