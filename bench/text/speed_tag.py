"""Words a second of the tagger on one thread, end to end, beside spaCy's own tok2vec tagger trained here by its command.

    python bench/text/speed_tag.py MODEL --spacy PYTHON

MODEL is one of `tidegate fit tag` on UD English EWT, PYTHON has spaCy. Both read the test part as lists of words and give a
tag a word. spaCy trains on the same train and dev parts with the configuration that `spacy init config --pipeline tagger
--optimize efficiency` writes (it learns XPOS, its own default), and tags Doc objects made of the words by `nlp.pipe`. Turn
by turn, the median of the rounds; one JSON in results/.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[2] / "shared" / "data" / "ud_english_ewt"
ROUNDS = 5
ONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "BLIS_NUM_THREADS": "1"}
PEER = """
import json, sys, time
import spacy
from spacy.tokens import Doc
nlp = spacy.load(sys.argv[1])
sentences = json.loads(sys.stdin.read())
def once():
    began = time.perf_counter()
    docs = list(nlp.pipe([Doc(nlp.vocab, words=words) for words in sentences], batch_size=256))
    assert all(token.tag_ for doc in docs for token in doc)
    return time.perf_counter() - began
once()
print(json.dumps({"seconds": [once() for _ in range(int(sys.argv[2]))], "spacy": spacy.__version__}))
"""


def sentences() -> list[list[str]]:
    from tidegate.data.tagged import read_tagged

    return [list(words) for words in read_tagged(DATA / "en_ewt-ud-test.conllu.gz").sentences]


def trained(python: str, folder: Path, steps: int) -> Path:
    """spaCy's tagger, by its own commands."""
    for part in ("train", "dev"):
        (folder / f"{part}.conllu").write_bytes(gzip.decompress((DATA / f"en_ewt-ud-{part}.conllu.gz").read_bytes()))
        spacy(python, "convert", str(folder / f"{part}.conllu"), str(folder), "-c", "conllu")
    config = str(folder / "config.cfg")
    spacy(python, "init", "config", config, "--lang", "en", "--pipeline", "tagger", "--optimize", "efficiency")
    spacy(
        python, "train", config, "--output", str(folder / "model"), "--paths.train", str(folder / "train.spacy"),
        "--paths.dev", str(folder / "dev.spacy"), "--training.max_steps", str(steps),
    )  # fmt: skip
    return folder / "model" / "model-best"


def spacy(python: str, *words: str) -> None:
    subprocess.run([python, "-m", "spacy", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ours(model: str, given: list[list[str]]) -> list[float]:
    import tidegate as tg

    tg.set_num_threads(1)
    tagger = tg.load(model)
    assert isinstance(tagger, tg.Tagger)
    tagger.predict(given)
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        tagger.predict(given)
        found.append(time.perf_counter() - began)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--spacy", default=sys.executable, help="a Python that has spaCy")
    parser.add_argument("--steps", type=int, default=2000, help="of spaCy's training at most; the speed does not depend on it")
    args = parser.parse_args()
    os.environ.update(ONE)
    given = sentences()
    words = sum(map(len, given))
    with tempfile.TemporaryDirectory() as place:
        path = trained(args.spacy, Path(place), args.steps)
        mine, theirs, version = [], [], ""
        for _ in range(2):
            mine += ours(args.model, given)
            done = subprocess.run(
                [args.spacy, "-c", PEER, str(path), str(ROUNDS)],
                input=json.dumps(given),
                capture_output=True,
                text=True,
                check=True,
            )
            said = json.loads(done.stdout.strip().splitlines()[-1])
            theirs, version = theirs + said["seconds"], said["spacy"]
    own, peer = (words / statistics.median(part) for part in (mine, theirs))
    found = {
        "row": "speed_tag", "words": words, "words_per_s": own, "spacy_words_per_s": peer, "spacy": version, "rounds": len(mine),
        "slowest": words / max(mine), "fastest": words / min(mine), "model": Path(args.model).name,
    }  # fmt: skip
    (HERE / "results" / "speed_tag.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{own:,.0f} words/s; spaCy {version}: {peer:,.0f} words/s")


if __name__ == "__main__":
    main()
