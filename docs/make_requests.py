"""The bundled requests: sentences to a travel desk, a tag a word, an intent a sentence. In: a seed. Out: two files.

    python docs/make_requests.py

requests.conll has a word and its tag a line (IOB2), an empty line between sentences; requests.intents the intent of each.
The sentences come from templates made up here and are free for any use. A name that is a place in one sentence is a person in
another, so that the words around it must be read.
"""

from __future__ import annotations

import random
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "src" / "tidegate" / "bundled"
SENTENCES = 400
PLACES = ["Oslo", "New York", "Lima", "Porto Alegre", "Kyoto", "Sydney", "Florence", "Chester", "Cape Town", "Lagos", "San Juan"]
PEOPLE = ["Ana Ruiz", "Sydney", "Florence", "Chester", "Jo Park", "Mr Oduya", "Lena", "Tom Birk", "Ines", "Dr Sato"]
DAYS = ["Monday", "tomorrow", "next Friday", "the third of May", "tonight", "Sunday morning"]
COUNTS = ["two", "three", "four", "a dozen", "six"]
TEMPLATES = {
    "book": [
        "book a room in {place} for {count} on {day}",
        "i need {count} beds in {place} {day}",
        "a table for {count} near {place} , {day} please",
        "reserve a room for {person} in {place}",
    ],
    "travel": [
        "is there a train from {place} to {place2} {day}",
        "fly me to {place} {day}",
        "how do i get from {place} to {place2}",
        "put {person} on the night bus to {place}",
    ],
    "message": [
        "tell {person} that i arrive {day}",
        "write to {person} about {place}",
        "call {person} {day}",
        "let {person} know that the {count} of us are in {place}",
    ],
    "cancel": [
        "cancel the trip to {place} {day}",
        "drop the room that {person} booked",
        "i no longer go to {place}",
        "take {person} off the list for {day}",
    ],
}


def sentence(rng: random.Random) -> tuple[str, list[str]]:
    """An intent, and lines of a word and its tag."""
    intent = rng.choice(sorted(TEMPLATES))
    lines: list[str] = []
    for part in rng.choice(TEMPLATES[intent]).split():
        kind = part.strip("{}").rstrip("2")
        source = {"place": PLACES, "person": PEOPLE, "day": DAYS, "count": COUNTS}.get(kind)
        if source is None or part == kind:
            lines.append(f"{part} O")
            continue
        words = rng.choice(source).split()
        lines += [f"{word} {'I' if k else 'B'}-{kind}" for k, word in enumerate(words)]
    return intent, lines


def files(seed: int = 1) -> dict[str, str]:
    """The content of each file by its name."""
    rng = random.Random(seed)
    found: dict[tuple[str, ...], str] = {}
    while len(found) < SENTENCES:
        intent, lines = sentence(rng)
        found.setdefault(tuple(lines), intent)
    words = "\n\n".join("\n".join(lines) for lines in found)
    return {"requests.conll": words + "\n", "requests.intents": "\n".join(found.values()) + "\n"}


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote {name}: {SENTENCES} sentences")
