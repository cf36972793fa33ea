"""The bundled reviews.csv: short reviews of imagined films from templates of our own. In: a seed. Out: 600 rows.

    python docs/make_reviews.py

The verdict is the writer's last word: a bad start may end well, and a negation turns the word after it. The sentences are made up
here and free for any use.
"""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

PATH = Path(__file__).resolve().parents[1] / "src" / "tidegate" / "bundled" / "reviews.csv"
ROWS = 600
GOOD = ["a delight", "warm and clever", "worth every minute", "moving", "a small wonder", "funny and kind", "gripping", "a joy"]
BAD = ["a bore", "flat and loud", "a waste of an evening", "clumsy", "a long yawn", "cold and silly", "tiresome", "a mess"]
PARTS = ["the acting", "the script", "the music", "the ending", "the first hour", "the camera work", "the story", "the dialogue"]
FILMS = ["the film", "this one", "the sequel", "the harbour film", "the picture", "it"]
PLAIN = ["{film} is {own}", "{part} is {own}", "i found {film} {own}", "{part}, in a word: {own}", "{film} turned out {own}"]
TURNED = [
    "{film} is not {other}",
    "nobody could call {part} {other}",
    "{part} is never {other}",
    "{film} is anything but {other}",
]
TWICE = [
    "{part} is {other}, but {film} as a whole is {own}",
    "it starts out {other} and ends up {own}",
    "they said {film} was {other}; i thought it was {own}",
    "although {part} is {other}, i left thinking {film} {own}",
]


def sentence(rng: random.Random, good: bool) -> str:
    """One review whose verdict is `good`."""
    own, other = (GOOD, BAD) if good else (BAD, GOOD)
    words = {"own": rng.choice(own), "other": rng.choice(other), "part": rng.choice(PARTS), "film": rng.choice(FILMS)}
    return rng.choice(rng.choices([PLAIN, TURNED, TWICE], [4, 3, 3])[0]).format(**words)


def text(seed: int = 1) -> str:
    """The file."""
    rng, out = random.Random(seed), io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["review", "verdict"])
    seen: set[str] = set()
    while len(seen) < ROWS:
        good = rng.random() < 0.5
        review = sentence(rng, good)
        if review not in seen:
            seen.add(review)
            writer.writerow([review, "good" if good else "bad"])
    return out.getvalue()


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
    print(f"wrote {PATH.name}: {ROWS} rows")
