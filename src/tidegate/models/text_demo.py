"""The nets of `tidegate demo text`: trained on the courses of tasks/showcase.py and asked its questions. Out: answers, shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tidegate.data.vocabulary import learn
from tidegate.models.classifier import Classifier
from tidegate.models.seeds import held_back_figures
from tidegate.tasks.claims import BAG, BOTH, GRU, GUESS, LSTM, RNN, WAITS, Share, guessing
from tidegate.tasks.ngrams import NaiveBayes
from tidegate.tasks.showcase import Course, Piece, Sentence

OPTIONS: dict[str, object] = {
    "hidden_size": 32, "embedding_dim": 24, "pooling": "last", "dropout": 0.1, "label_smoothing": 0.0, "learning_rate": 0.01,
    "averaging": 0.98, "patience": 0, "ngrams": False, "closing": 0.0,
}  # fmt: skip
Ask = Callable[[Sequence[str]], npt.NDArray[np.floating]]  # texts -> (N, K) probabilities


class Net(NamedTuple):
    """A kind of net."""

    name: str
    cell: str
    bidirectional: bool = False
    whole: bool = False  # it reads the whole sentence, wherever the question is put


NETS = (Net(RNN, "rnn"), Net(LSTM, "lstm"), Net(GRU, "gru"), Net(BOTH, "lstm", True, True), Net(WAITS, "lstm", False, True))


class Answer(NamedTuple):
    """What a method said to a question."""

    piece: str
    method: str
    seed: int
    question: Sentence
    said: str
    probability: float

    @property
    def right(self) -> bool:
        """Whether it is the truth."""
        return self.said == self.question.label


class Told(NamedTuple):
    """All that a method of one seed said of a course."""

    method: str
    learnt: float | None  # share of the templates' own sentences, held back in training, that a net gets right
    answers: list[Answer]


def nets_of(course: Course) -> tuple[Net, ...]:
    """Those that differ: where the question is put at the end, every net has read the whole."""
    return NETS if course.inside else tuple(net for net in NETS if net.name != WAITS)


def answers(course: Course, seed: int, steps: int) -> Iterator[Told]:
    """One method after the other: the bag of words, then each net, trained when its turn comes. steps: where effort is 1."""
    yield Told(BAG, None, _asked(course, seed, BAG, True, _bag(course)))
    for net in nets_of(course):
        model = Classifier(**OPTIONS, cell=net.cell, bidirectional=net.bidirectional, steps=steps * course.effort, seed=seed)
        whole = net.whole or not course.inside
        model.fit((_texts(course.training, whole), [s.label for s in course.training]), progress=False)
        learnt = held_back_figures(model.card)["accuracy"]
        yield Told(net.name, learnt, _asked(course, seed, net.name, whole, model.predict_proba))


def shares(piece: Piece, own: Sequence[Answer], classes: int) -> dict[str, Share]:
    """How many answers of each method were right, seed by seed, beside guessing. own: the answers to this piece."""
    count = len(piece.questions)
    found = {GUESS: guessing(classes, count)}
    for method in dict.fromkeys(answer.method for answer in own):
        mine = [answer for answer in own if answer.method == method]
        seeds = dict.fromkeys(answer.seed for answer in mine)
        found[method] = Share(tuple(float(sum(a.right for a in mine if a.seed == seed)) for seed in seeds), count)
    return found


def _texts(sentences: Sequence[Sentence], whole: bool) -> list[str]:
    return [s.text if whole else s.before for s in sentences]


def _asked(course: Course, seed: int, method: str, whole: bool, ask: Ask) -> list[Answer]:
    """The answers of one method to the questions of every piece."""
    found = []
    for piece in course.pieces:
        chances = ask(_texts(piece.questions, whole))
        for question, row in zip(piece.questions, chances, strict=True):
            best = int(row.argmax())
            found.append(Answer(piece.name, method, seed, question, course.classes[best], float(row[best])))
    return found


def _bag(course: Course) -> Ask:
    """Naive Bayes on the words, whatever their order."""
    texts = _texts(course.training, True)
    tokenizer, _ = learn(texts, "word", lower=True, size=10_000, min_count=1)
    own = np.array([course.classes.index(s.label) for s in course.training], np.int64)
    bayes = NaiveBayes(tokenizer.encode(texts), own, count=len(course.classes), longest=1)
    return lambda asked: np.exp(bayes.log_probabilities(tokenizer.encode(asked)))
