"""The translator that users hold. In: pairs of texts. Out: a fitted model that writes the second of a pair from the first.

Translation, summaries, spelling to sounds, inflection: any pairs of sequences. Reading stands in data/pairs.py, the nets in
tasks/translate_nets.py, training in translate_fit.py, searching in translate_core.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple, final, overload

import numpy as np
import numpy.typing as npt

from tidegate import format as container
from tidegate.config import Plain, check_options
from tidegate.data.pairs import Pairs, read_pairs
from tidegate.data.table import Table
from tidegate.data.texts import read_texts
from tidegate.decode.sampling import Sampling
from tidegate.errors import ConfigError
from tidegate.files import PathLike
from tidegate.models import translate_fit as fitting
from tidegate.models import translate_store as store
from tidegate.models.base import options_signature
from tidegate.models.drive import OnEvent, checked_drive
from tidegate.models.quantizing import LIMIT, Measured, Weights, first_of, needed
from tidegate.models.text_model import TextModel
from tidegate.models.translate_core import Beam, Core
from tidegate.spec import Spec
from tidegate.tasks.text_scores import (
    USUAL,
    Measure,
    References,
    TextEvaluation,
    baselines,
    check_measures,
    scoreboard,
)
from tidegate.tasks.translate import TranslateOptions


class Answer(NamedTuple):
    """One of the n best answers. score: what they are ranked by. probability: of the whole text; finished: it came to its end."""

    text: str
    score: float
    probability: float
    finished: bool


@final
@dataclass(frozen=True, eq=False)
class Alignment:
    """Where each token of an answer looked. weights: (U, S), each row sums to 1; the last row is the end's."""

    source: tuple[str, ...]  # tokens
    target: tuple[str, ...]
    weights: npt.NDArray[np.float64]

    def __str__(self) -> str:
        best = self.weights.argmax(1) if self.source else np.zeros(0, np.int64)
        pairs = [
            (token, self.source[k], self.weights[row, k]) for row, (token, k) in enumerate(zip(self.target, best, strict=True))
        ]
        width = max((len(token) for token, _, _ in pairs), default=0)
        return "\n".join(f"{token.rjust(width)}  {100 * share:3.0f} %  {source}" for token, source, share in pairs)


@final
class Translator(TextModel[TranslateOptions, Core]):
    """Writes one text from another with a recurrent encoder and decoder, beside the methods that need no net.

    Args:  every option of `tidegate.tasks.translate.TranslateOptions` by its name (units="char", attention="additive",
        hidden_size=256, shared=True, seed=1, ...).
    Raises: ConfigError for an unknown option, with the nearest name, or a value out of range; all faults at once.

    >>> words = ["one", "two", "ten", "net", "won", "tow", "eon", "not"] * 20
    >>> pairs = (words, [word.upper() for word in words])
    >>> model = Translator(units="char", hidden_size=32, embedding_dim=16, steps=200, learning_rate=0.01, dropout=0.1)
    >>> model.fit(pairs, valid=pairs, progress=False).translate(["two", "net"])
    ['TWO', 'NET']
    """

    task: ClassVar[str] = "translate"

    def __init__(self, **options: object) -> None:
        super().__init__(check_options(TranslateOptions, options), options)

    def fit(
        self,
        source: object,
        target: object = None,
        *,
        from_column: str | None = None,
        to_column: str | None = None,
        header: bool = True,
        valid: object | None = None,
        valid_target: object | None = None,
        split_seed: int | None = None,
        budget: str | float | None = None,
        checkpoint: PathLike | None = None,
        resume: bool = False,
        history: PathLike | None = None,
        progress: bool | None = None,
        on_event: OnEvent | None = None,
    ) -> Translator:
        """Train on pairs of texts and return self.

        Args:  source, target: two line-parallel files, two lists, or one file, frame or list of pairs (then without `target`; a
            pair of lists is two lists); see tidegate.data.pairs. from_column, to_column, header: of files with columns. valid,
            valid_target: pairs that choose the best weights; without them a share of the sources is held back, drawn by
            split_seed (none: the option seed). budget, checkpoint, resume, history, progress: as of every task.
        Raises: DataError; ConfigError; MissingExtra without torch or sacrebleu; OutputError.
        """
        steps = self._given.get("steps")
        drive = checked_drive(
            self.options.device, steps, budget, checkpoint, resume, history, progress, on_event, self._given.get("epochs")
        )
        if valid is None and valid_target is not None:
            raise ConfigError("valid_target: goes with valid, the sources of the pairs that choose the best weights")
        pairs = _pairs(source, target, from_column, to_column, header)
        held_back = None if valid is None else _pairs(valid, valid_target, from_column, to_column, header)
        result = fitting.fit(self.options, pairs, held_back, drive, split_seed)
        self._take(*result)
        return self

    @overload
    def predict(self, texts: str) -> str: ...  # type: ignore[overload-overlap]  # a str is a Sequence[str] too; the first fits
    @overload
    def predict(self, texts: Sequence[str] | Path) -> list[str]: ...
    def predict(self, texts: str | Sequence[str] | Path) -> str | list[str]:
        """The greedy answer to a text, or to each of several. A str is a text; a file is given as a pathlib.Path."""
        return self.translate(texts)

    @overload
    def translate(  # type: ignore[overload-overlap]  # as above
        self, texts: str, *, beam: int = 1, length_penalty: float = 0.0, no_repeat_ngram: int = 0, max_length: int | None = None
    ) -> str: ...
    @overload
    def translate(
        self, texts: Sequence[str] | Path, *, beam: int = 1, length_penalty: float = 0.0, no_repeat_ngram: int = 0,
        max_length: int | None = None,
    ) -> list[str]: ...  # fmt: skip
    def translate(
        self, texts: str | Sequence[str] | Path, *, beam: int = 1, length_penalty: float = 0.0, no_repeat_ngram: int = 0,
        max_length: int | None = None,
    ) -> str | list[str]:  # fmt: skip
        """The best answer to a text, or to each of several.

        Args:  beam: hypotheses kept at each step; 1 is greedy. length_penalty: alpha of score = log p / ((5 + length) / 6)^alpha;
            0 prefers short answers, 1 hardly. no_repeat_ngram: no run of so many tokens twice in an answer; 0: it may.
            max_length: tokens of an answer; none: twice the source's and 20, within what training saw.
        A source without a token is answered by an empty text. Tokens that training never had are read as unknown, and never said.
        Raises: DataError; ConfigError; TaskError before `fit`.
        """
        core = self._ready()
        found = core.search(core.encode(_texts(texts)), _beam(beam, length_penalty, no_repeat_ngram, max_length))
        answers = [core.target.decode(own[0].codes) for own in found]
        return answers[0] if isinstance(texts, str) else answers

    def n_best(
        self, texts: Sequence[str] | Path, count: int = 5, *, beam: int = 5, length_penalty: float = 0.0,
        no_repeat_ngram: int = 0, max_length: int | None = None,
    ) -> list[list[Answer]]:  # fmt: skip
        """At most `count` answers to each text, best first, with their scores and probabilities. Others: as of `translate`."""
        core, how = self._ready(), _beam(beam, length_penalty, no_repeat_ngram, max_length)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= max(beam, 1):
            raise ConfigError(f"n_best: expected 1 to beam = {beam} answers, got {count!r}; ask for fewer, or raise beam")
        found = core.search(core.encode(_texts(texts)), how, count)
        return [
            [Answer(core.target.decode(h.codes), h.score, float(np.exp(h.logprob)), h.finished) for h in own] for own in found
        ]

    def sample(
        self, texts: Sequence[str] | Path, *, seed: int = 0, max_length: int | None = None, **sampling: object
    ) -> list[str]:
        """A drawn answer to each text; the same seed draws the same.

        Args:  sampling: temperature, top_k, top_p, min_p, ...; see tidegate.decode.sampling.Sampling.
        """
        core, how = self._ready(), check_options(Sampling, sampling)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ConfigError(f"seed: expected a whole number, at least 0, got {seed!r}")
        most = _beam(1, 0.0, 0, max_length).most
        return [core.target.decode(codes) for codes in core.sample(core.encode(_texts(texts)), how, seed, most)]

    def attention(self, text: str, answer: str | None = None) -> Alignment:
        """Where each token of an answer looks in the text; answer: the greedy one, or one that is given.

        Raises: ConfigError for a net without attention.
        """
        core = self._ready()
        if self.options.attention == "none":
            raise ConfigError("attention: this net has none; train one with attention='additive' or 'multiplicative'")
        for name, given in (("text", text), ("answer", answer)):
            if not isinstance(given, str) and not (name == "answer" and given is None):
                raise ConfigError(f"{name}: expected one text, got {type(given).__name__}; ask for one after the other")
        (codes,) = core.encode(_texts(text))
        if not len(codes):
            return Alignment((), (), np.zeros((0, 0)))
        said = core.search([codes], Beam())[0][0].codes if answer is None else core.target.encode(_texts(answer))[0].tolist()
        target = [*(_shown(core.target.bytes_of(code)) for code in said), "</s>"]
        source: Sequence[str] = core.source.cut(text)[: len(codes)]
        if core.source.units in ("byte", "bpe"):  # which are written with letters of their own
            source = [_shown(core.source.bytes_of(int(code))) for code in codes]
        return Alignment(tuple(source), tuple(target), core.attention(codes, said))

    def plot(self, path: PathLike, text: str, answer: str | None = None) -> Alignment:
        """Draw where each token of the answer looks in the text: a .png or .svg file. The alignment drawn.

        Raises: as `attention`; OutputError; MissingExtra without matplotlib.
        """
        from tidegate.report.alignment import alignment_picture

        found = self.attention(text, answer)
        alignment_picture(path, found.source, found.target, found.weights)
        return found

    def evaluate(
        self, source: object, target: object = None, *, from_column: str | None = None, to_column: str | None = None,
        header: bool = True, measures: Sequence[Measure] = USUAL, beam: int = 1, length_penalty: float = 0.0,
        no_repeat_ngram: int = 0, max_length: int | None = None,
    ) -> TextEvaluation:  # fmt: skip
        """Score answers to pairs that the model has not seen, beside methods that need no net.

        Args:  source, target, from_column, to_column, header: as for `fit`. measures: of BLEU, chrF, exact, token-error, ROUGE-1,
            ROUGE-2, ROUGE-L; the first decides the verdict. Others: as of `translate`. Where the model lower-cases texts, the
            references are lower-cased too.
        Raises: DataError; ConfigError; MissingExtra for a measure's library.
        """
        core = self._ready()
        check_measures(measures)
        pairs = _pairs(source, target, from_column, to_column, header)
        lower = self.options.lower
        sources, truths = ([t.lower() if lower else t for t in side] for side in (pairs.sources, pairs.targets))
        how = _beam(beam, length_penalty, no_repeat_ngram, max_length)
        answers = [core.target.decode(own[0].codes) for own in core.search(core.encode(sources), how)]
        return evaluation(sources, answers, [[t] for t in truths], str(self._card["usual"]), measures)

    def quantize(
        self, to: str, source: object = None, target: object = None, *, from_column: str | None = None,
        to_column: str | None = None, header: bool = True, measures: Sequence[Measure] = USUAL, limit: float = LIMIT,
        force: bool = False,
    ) -> Translator:  # fmt: skip
        """The translator in 8 bits, scored beside this one on pairs, by greedy search; this one stays as it is.

        Args:  to: "int8". source, target, from_column, to_column, header, measures: as for `evaluate`. limit: the share of the
            first measure that may be lost. force: whatever is lost.
        Raises: ExportError where more is lost; TaskError for a net that whole numbers do not hold; DataError; ConfigError;
            MissingExtra for a measure's library.
        """

        data = needed(source)

        def score(model: Translator) -> Measured:
            found = model.evaluate(data, target, from_column=from_column, to_column=to_column, header=header, measures=measures)
            return first_of(found.board, "net")

        return self._quantized(to, score, limit, force=force)

    def _parts(self, core: Core) -> list[tuple[Spec, Weights]]:
        spec = store.spec_of(core.options, core.source, core.target)
        return [(spec, own) for own in core.weights]

    def _of_parts(self, core: Core, weights: Sequence[Weights]) -> Core:
        return replace(core, weights=tuple(weights))

    def _pack(self, core: Core) -> tuple[dict[str, Plain], dict[str, npt.NDArray[np.generic]]]:
        return store.pack(core, self._card, self._steps)

    @classmethod
    def _unpack(cls, file: container.File, where: str) -> tuple[Core, dict[str, Plain]]:
        return store.unpack(file, where)

    def _summary(self) -> str:
        core = self._ready()
        return (
            f"fitted on {self._card.get('pairs', '?')} pairs: {core.options.cell} x {core.options.hidden_size}, "
            f"{core.options.attention} attention, {core.source.size - 1:,} and {core.target.size - 1:,} kinds of token, "
            f"{self._card.get('weights', 0):,} weights"
        )


def evaluation(
    sources: Sequence[str], answers: Sequence[str], references: References, usual: str, measures: Sequence[Measure] = USUAL
) -> TextEvaluation:
    """The net's answers beside those of methods that need no net. references: of each source, at least one."""
    board = scoreboard({"net": answers, **baselines(sources, usual)}, references, measures)
    columns = {"source": sources, "truth": [own[0] for own in references], "answer": answers}
    return TextEvaluation(board, Table({n: np.array(list(c), dtype=object) for n, c in columns.items()}), len(answers))


def _pairs(source: object, target: object, from_column: str | None, to_column: str | None, header: bool) -> Pairs:
    """Pairs as `read_pairs` reads them; a tuple of two lists is sources and targets."""
    if target is None and isinstance(source, tuple) and len(source) == 2 and all(isinstance(side, list) for side in source):
        source, target = source
    return read_pairs(source, target, from_column=from_column, to_column=to_column, header=header)


def _beam(beam: int, length_penalty: float, no_repeat_ngram: int, most: int | None) -> Beam:
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise ConfigError(f"max_length: expected a whole number of tokens, at least 1, got {most!r}")
    return Beam(beam, length_penalty, no_repeat_ngram, most)


def _texts(given: str | Sequence[str] | Path) -> tuple[str, ...]:
    if isinstance(given, str):
        return read_texts([given]).texts
    if not isinstance(given, (Path, list, tuple)):
        raise ConfigError(f"texts: expected a text, a list of texts, or a file as a pathlib.Path, got {type(given).__name__}")
    return read_texts(given).texts if isinstance(given, Path) or len(given) else ()


def _shown(token: bytes) -> str:
    return token.decode(errors="replace")


Translator.__init__.__signature__ = options_signature(  # type: ignore[attr-defined]  # functions carry attributes
    Translator.__init__, TranslateOptions
)
__all__ = ["Alignment", "Answer", "Translator"]
