"""Sentences of the kinds that tutorials on recurrent nets show, in our own words. In: a seed. Out: training texts and questions.

A net of words knows nothing of a word that it never read. So the words that matter stand in training in simple sentences alone
(or not at all: the names), never in the frames or the pairs of the questions; a test holds the two against each other.
A question may be put in the middle of a sentence: a net that reads left to right has then read the words up to there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, final

TRAINING, QUESTIONS = 640, 24  # texts of a course; questions of a piece
Draw = random.Random


class Sentence(NamedTuple):
    """A text with its answer, and how many of its words stand before the place where it is asked for."""

    text: str
    label: str
    read: int

    @property
    def before(self) -> str:
        """What a net that reads left to right has read there."""
        return " ".join(self.text.split()[: self.read])


@final
@dataclass(frozen=True)
class Piece:
    """Questions of one kind."""

    name: str  # as the claims call it
    title: str
    questions: tuple[Sentence, ...]


@final
@dataclass(frozen=True)
class Course:
    """What one net learns, and the questions that it is asked after it."""

    name: str
    classes: tuple[str, ...]
    inside: bool  # questions are put before the sentence ends
    effort: int  # how many times the usual steps it takes to learn
    training: tuple[Sentence, ...]
    pieces: tuple[Piece, ...]


def courses(seed: int, training: int = TRAINING) -> tuple[Course, ...]:
    """The five courses. seed: of the training texts; the questions are the same for every seed."""
    return tuple(make(seed, training) for make in (_praise, _origin, _sense, _company, _agreement))


def _course(
    name: str,
    classes: Sequence[str],
    seed: int,
    training: int,
    draw: Callable[[Draw], Sentence],
    *pieces: Piece,
    inside: bool = False,
    effort: int = 1,
) -> Course:
    rng = Draw(f"{name} {seed}")
    asked = {question.text for piece in pieces for question in piece.questions}
    drawn = (draw(rng) for _ in range(training))
    return Course(name, tuple(sorted(classes)), inside, effort, tuple(s for s in drawn if s.text not in asked), pieces)


def _piece(name: str, title: str, candidates: Iterator[Sentence]) -> Piece:
    """Questions drawn from all that there are, as many of each answer as the others, the same at every call."""
    found = sorted(set(candidates))
    Draw(name).shuffle(found)
    labels = sorted({s.label for s in found})
    each = QUESTIONS // len(labels)
    return Piece(name, title, tuple(s for label in labels for s in [s for s in found if s.label == label][:each]))


def _whole(text: str, label: str) -> Sentence:
    return Sentence(text, label, len(text.split()))


def kept_back(*choices: tuple[str, Sequence[str]]) -> bool:
    """Whether these words, each with the list that it is of, stand together in questions alone: one combination in three."""
    return sum(words.index(word) for word, words in choices) % 3 == 0


# Praise and blame. The adjectives of the questions stand in training in plain sentences alone.
PRAISE, BLAME = ("lovely", "bright", "graceful", "funny", "tender"), ("dull", "clumsy", "noisy", "stale", "messy")
PRAISE_ASKED, BLAME_ASKED = ("wise", "fresh", "warm"), ("shallow", "cold", "weary")
THINGS = ("film", "play", "story", "song", "book", "show")
PLAIN = ("the {t} was {a}", "what a {a} {t}", "i found the {t} {a}", "a {a} {t} , really", "i would call the {t} {a}")
TURNED = ("the {t} was not {a}", "nobody found the {t} {a}", "the {t} was never {a}", "i would not call the {t} {a}")
TWICE = ("the {t} began {b} but ended {a}", "at first i found the {t} {b} , then {a}", "the {t} seemed {b} , yet it was {a}")
TURNED_ASKED = ("nobody would call the {t} {a}", "i never found the {t} {a}", "i would never call the {t} {a}")
TWICE_ASKED = ("at first the {t} seemed {b} , but then it was {a}", "i found it {b} , yet the {t} ended {a}")


def _praise(seed: int, training: int) -> Course:
    def draw(rng: Draw) -> Sentence:
        good, kind = rng.random() < 0.5, rng.choice((PLAIN, PLAIN, TURNED, TURNED, TWICE, TWICE))
        known = (PRAISE, BLAME) if kind is not PLAIN else (PRAISE + PRAISE_ASKED, BLAME + BLAME_ASKED)
        own, other = known if good else known[::-1]
        text = rng.choice(kind).format(t=rng.choice(THINGS), a=rng.choice(own), b=rng.choice(other))
        return _whole(text, "good" if good != (kind is TURNED) else "bad")

    def turned(praise: tuple[str, ...], blame: tuple[str, ...]) -> Iterator[Sentence]:
        for frame, thing, (words, label) in product(TURNED_ASKED, THINGS, ((praise, "bad"), (blame, "good"))):
            yield from (_whole(frame.format(t=thing, a=word), label) for word in words)

    def twice() -> Iterator[Sentence]:
        for frame, thing, a, b in product(TWICE_ASKED, THINGS, PRAISE_ASKED, BLAME_ASKED):
            yield _whole(frame.format(t=thing, a=a, b=b), "good")
            yield _whole(frame.format(t=thing, a=b, b=a), "bad")

    return _course(
        "praise", ("bad", "good"), seed, training, draw,
        _piece("negation", "a negation before the praise", turned(PRAISE_ASKED, BLAME_ASKED)),
        _piece("read negation", "the same, of words that other sentences negated", turned(PRAISE, BLAME)),
        _piece("ending", "a bad start with a good end", twice()),
        effort=2,
    )  # fmt: skip


# A country named early, the language asked for at the end, with clauses between. Questions have clauses of other words.
ORIGINS = {
    "france": "french", "paris": "french", "denmark": "danish", "copenhagen": "danish", "poland": "polish", "warsaw": "polish",
    "greece": "greek", "athens": "greek",
}  # fmt: skip
WHO = ("her sister", "the baker", "an old friend", "the teacher", "her cousin", "a neighbour")
DID = ("painted", "sold", "carried", "repaired", "found", "borrowed")
WHAT = ("a boat", "the gate", "two chairs", "a violin", "the lamp", "a cart")
CLAUSES, SHORT, LONG = 4, 3, 12  # clauses of 5 or 6 words: at most in training; in the questions


def _origin(seed: int, training: int) -> Course:
    parts = (WHO, DID, WHAT)
    clauses = {asked: [c for c in product(*parts) if kept_back(*zip(c, parts, strict=True)) is asked] for asked in (False, True)}

    def told(rng: Draw, place: str, count: int, asked: bool) -> Sentence:
        between = "".join(f" , {' '.join(rng.choice(clauses[asked]))}" for _ in range(count))
        return _whole(f"she was born in {place}{between} , and at home she speaks", ORIGINS[place])

    def draw(rng: Draw) -> Sentence:
        return told(rng, rng.choice(tuple(ORIGINS)), rng.randint(0, CLAUSES), False)

    def gap(count: int) -> Iterator[Sentence]:
        rng = Draw(f"gap {count}")
        yield from (told(rng, place, count, True) for place in ORIGINS for _ in range(QUESTIONS))

    return _course(
        "origin", sorted(set(ORIGINS.values())), seed, training, draw,
        _piece("short gap", f"a country named early, the language asked about {6 * SHORT} words later", gap(SHORT)),
        _piece("long gap", f"the same, about {6 * LONG} words later (training went to {6 * CLAUSES})", gap(LONG)),
        effort=4,
    )  # fmt: skip


# A noun of two senses, asked for at the noun. Pairs of noun and settling word in the questions do not stand in training.
NOUNS = ("mouse", "bat", "crane", "seal", "jaguar", "beetle")
SURE = {"animal": ("dog", "horse", "goose"), "thing": ("hammer", "ladder", "bottle")}
ADJECTIVES = {"animal": ("hungry", "sleeping", "frightened", "tame"), "thing": ("plastic", "rusty", "wooden", "expensive")}
AFTER = {
    "animal": ("drank from the pond", "slept all day", "ate the seeds", "ran away"),
    "thing": ("needed a new screw", "came in a box", "cost ten coins", "was made of tin"),
}
OPENINGS = ("they looked at the", "near the door stood a", "we saw the", "he pointed at the")
NEUTRAL = ("in the afternoon", "near the window", "on the second day")


def _sense(seed: int, training: int) -> Course:
    def told(opening: str, adjective: str, noun: str, rest: str, label: str) -> Sentence:
        before = " ".join(filter(None, (opening, adjective, noun)))
        return Sentence(" ".join(filter(None, (before, rest))), label, len(before.split()))

    def draw(rng: Draw) -> Sentence:
        while True:
            label, early = rng.choice(("animal", "thing")), rng.random() < 0.5
            noun = rng.choice(NOUNS * 2 + SURE[label])
            word, after = rng.choice(ADJECTIVES[label]), rng.choice(AFTER[label])
            pair = (word, ADJECTIVES[label]) if early else (after, AFTER[label])
            if noun in SURE[label] or not kept_back((noun, NOUNS), pair):
                rest = rng.choice(("", *NEUTRAL)) if early else f"that {after}"
                return told(rng.choice(OPENINGS), word if early else "", noun, rest, label)

    def settled_before(rests: tuple[str, ...]) -> Iterator[Sentence]:
        own = ADJECTIVES
        for label, noun, opening, rest in product(SURE, NOUNS, OPENINGS, rests):
            yield from (told(opening, w, noun, rest, label) for w in own[label] if kept_back((noun, NOUNS), (w, own[label])))

    def settled_after() -> Iterator[Sentence]:
        for label, noun, opening in product(SURE, NOUNS, OPENINGS):
            kept = [after for after in AFTER[label] if kept_back((noun, NOUNS), (after, AFTER[label]))]
            yield from (told(opening, "", noun, f"that {after}", label) for after in kept)

    return _course(
        "sense", ("animal", "thing"), seed, training, draw,
        _piece("sense before", "a noun of two senses, settled by a word before it", settled_before(NEUTRAL)),
        _piece("sense after", "a noun of two senses, settled by words after it", settled_after()),
        _piece("sense at the end", "a noun of two senses at the very end: nothing to its right", settled_before(("",))),
        inside=True,
    )  # fmt: skip


# A company or not, asked for at a name that the net never read.
NAMES = ("orange", "shell", "target", "delta", "crown", "summit", "falcon", "harvest", "pioneer", "oracle", "apricot", "compass")
NAMES_ASKED = ("beacon", "maple", "anchor", "meadow", "comet", "walnut")
SAID = ("yesterday", "we read that", "my brother says that", "in spring", "it seems that")
FIRMS = (("hired", "raised", "sold", "announced"), ("its prices", "two lawyers", "a factory", "its profits"))
OTHERS = (("fell on", "lay under", "stood behind", "rolled over"), ("the table", "a tree", "the wet grass", "a stone"))


def _company(seed: int, training: int) -> Course:
    follows = {"company": FIRMS, "other": OTHERS}

    def told(said: str, name: str, label: str, verb: str, rest: str) -> Sentence:
        return Sentence(f"{said} {name} {verb} {rest}", label, len(said.split()) + 1)

    def draw(rng: Draw) -> Sentence:
        while True:
            label = rng.choice(tuple(follows))
            verb, rest = (rng.choice(words) for words in follows[label])
            if not kept_back(*zip((verb, rest), follows[label], strict=True)):
                return told(rng.choice(SAID), rng.choice(NAMES), label, verb, rest)

    def asked() -> Iterator[Sentence]:
        for said, name, label in product(SAID, NAMES_ASKED, follows):
            pairs = [pair for pair in product(*follows[label]) if kept_back(*zip(pair, follows[label], strict=True))]
            yield from (told(said, name, label, *pair) for pair in pairs)

    title = "a company recognised by what follows its name (a name that was never read)"
    return _course("company", tuple(follows), seed, training, draw, _piece("company", title, asked()), inside=True)


# Is or are. The nouns of the questions stand in training without a clause; the questions have one clause more.
PAIRS = (("key", "keys"), ("boy", "boys"), ("letter", "letters"), ("farmer", "farmers"), ("road", "roads"), ("cup", "cups"))
PAIRS_ASKED = (("bell", "bells"), ("nurse", "nurses"), ("ship", "ships"))
HAD = ("had left", "liked", "had painted")
CLAUSE = ("that the {1} {h}", "near the {1}", "behind the {1}", "which the {1} {h}", "that the {1} near the {2} {h}")
CLAUSE_ASKED = ("that the {1} behind the {2} {h}", "near the {1} that the {2} {h}", "which the {1} near the {2} {h}")
NOW = ("", "today", "as always")


def _agreement(seed: int, training: int) -> Course:
    def told(noun: str, clause: str, now: str, label: str) -> Sentence:
        return _whole(" ".join(filter(None, ("the", noun, clause, now))), label)

    def draw(rng: Draw) -> Sentence:
        number, simple = rng.randint(0, 1), rng.random() < 0.4
        label = ("is", "are")[number]
        if simple:
            return told(rng.choice(PAIRS + PAIRS_ASKED)[number], "", rng.choice(NOW), label)
        others = [rng.choice(PAIRS)[rng.randint(0, 1)] for _ in range(2)]
        clause = rng.choice(CLAUSE).format("", *others, h=rng.choice(HAD))
        return told(rng.choice(PAIRS)[number], clause, rng.choice(NOW), label)

    def asked() -> Iterator[Sentence]:
        """Every noun of the clause has the other number."""
        rng = Draw("agreement")
        for pair, number, frame, had, now in product(PAIRS_ASKED, (0, 1), CLAUSE_ASKED, HAD, NOW):
            others = [other[1 - number] for other in rng.sample([p for p in PAIRS_ASKED if p != pair], 2)]
            yield told(pair[number], frame.format("", *others, h=had), now, ("is", "are")[number])

    title = "a subject cut off from its verb by a clause whose nouns have the other number"
    return _course("agreement", ("are", "is"), seed, training, draw, _piece("agreement", title, asked()))
