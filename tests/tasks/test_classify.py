"""What the training loop is given of labelled texts: every text once a pass, the held-back ones in the closing phase alone."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.tasks.classify import ClassifyOptions, ClassifyProblem, Labelled, build_spec

V, N = 40, 57
OPTIONS = ClassifyOptions(hidden_size=4, embedding_dim=4, batch_tokens=24, unknown_rate=0.0, label_smoothing=0.0)


def labelled(first: int, count: int) -> Labelled:
    """Texts of one code each repeated; the code names the text, its class is the code's parity."""
    rng = np.random.default_rng(first)
    codes = [np.full(rng.integers(1, 7), code, np.int64) for code in range(first, first + count)]
    return Labelled(codes, np.array([code % 2 for code in range(first, first + count)]))


def problem(*, closing: bool) -> ClassifyProblem:
    spec = build_spec(OPTIONS, V + N, 2)
    return ClassifyProblem(OPTIONS, spec, labelled(1, N), labelled(1 + N, 9), np.ones(V + N, np.int64), closing=closing)


def passes(own: ClassifyProblem, flags: list[bool]) -> list[list[int]]:
    """The codes of each draw."""
    rng, cursor, seen = np.random.default_rng(0), None, []
    for closing in flags:
        batch, cursor = own.draw(rng, cursor, 0.0, closing)
        codes = batch.inputs["tokens"][:, 0, 0]
        np.testing.assert_array_equal(batch.targets["y"], codes % 2)
        seen.append(codes.tolist())
    return seen


def test_a_pass_has_every_text_once() -> None:
    own = problem(closing=True)
    seen = passes(own, [False] * own.steps_per_epoch)
    assert sorted(code for part in seen for code in part) == list(range(1, N + 1))


@pytest.mark.parametrize("open_steps", [0, 1, 5])
def test_the_closing_phase_begins_a_pass_with_the_held_back_texts(open_steps: int) -> None:
    own = problem(closing=True)
    seen = passes(own, [False] * open_steps + [True] * 60)
    assert all(code <= N for part in seen[:open_steps] for code in part)
    gathered: list[int] = []
    for part in seen[open_steps:]:
        gathered += part
        if len(gathered) == N + 9:
            break
    assert sorted(gathered) == list(range(1, N + 10))


def test_held_back_texts_of_another_file_are_never_trained_on() -> None:
    assert all(code <= N for part in passes(problem(closing=False), [True] * 60) for code in part)
