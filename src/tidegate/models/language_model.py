"""The language model that users hold. In: a text. Out: a fitted model; new text, scores of text.

Reading stands in data/textlines.py, the net in tasks/generate.py, training in language_fit.py, drawing in decode/sampling.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, cast, final

import numpy as np
import numpy.typing as npt

from tidegate import format as container
from tidegate.config import Plain, check_options
from tidegate.decode.next_code import NextCode
from tidegate.decode.sampling import Sampling
from tidegate.errors import ConfigError, DataError
from tidegate.files import PathLike
from tidegate.models import language_fit as fitting
from tidegate.models import language_store as store
from tidegate.models.base import options_signature
from tidegate.models.device_size import limits
from tidegate.models.drive import OnEvent, checked_drive
from tidegate.models.language_fill import Choice, Filling, fill
from tidegate.models.language_score import Score
from tidegate.models.quantizing import LIMIT, Measured, Weights, needed, parts
from tidegate.models.text_model import TextModel
from tidegate.models.text_stream import TextStream
from tidegate.models.word_vectors import check_vectors
from tidegate.runtime.follow import followed
from tidegate.spec import Spec
from tidegate.tasks.generate import START, GenerateOptions

_LINES = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")  # the same ends of a line as everywhere, and no others


@final
class LanguageModel(TextModel[GenerateOptions, fitting.Core]):
    """Learns how a text goes on, writes more of it, and says how likely a text is.

    Args:  every option of `tidegate.tasks.generate.GenerateOptions` by its name (units="bpe", cell="gru", hidden_size=512, ...).
    Raises: ConfigError for an unknown option, with the nearest name, or a value out of range; all faults at once.

    >>> model = LanguageModel(hidden_size=32, steps=400, batch_size=8, window=16).fit(["tick tock " * 400], progress=False)
    >>> "".join(model.generate("tick to", length=8, temperature=0))
    'ck tick '
    """

    task: ClassVar[str] = "generate"

    def __init__(self, **options: object) -> None:
        super().__init__(check_options(GenerateOptions, options), options)

    def fit(
        self,
        source: PathLike | Sequence[str],
        *,
        valid: PathLike | Sequence[str] | None = None,
        vectors: PathLike | None = None,
        flash: str | int | None = None,
        ram: str | int | None = None,
        budget: str | float | None = None,
        checkpoint: PathLike | None = None,
        resume: bool = False,
        history: PathLike | None = None,
        progress: bool | None = None,
        on_event: OnEvent | None = None,
    ) -> LanguageModel:
        """Train on a text and return self.

        Args:  source: a file of plain text, also .gz; or a list of texts, which are read one after the other. valid: text that
            chooses the best weights; without it the end of the text is held back. vectors: a text file of word2vec or GloVe, also
            .gz, at whose vectors the embedding of words starts; embedding_dim is then the file's. flash, ram: bytes, or "32K",
            that the model exported to C may take, code and stack included; hidden_size is then the largest that fits. budget,
            checkpoint, resume, history, progress: as of every task.
        Raises: DataError; ConfigError; MissingExtra without torch; OutputError.
        """
        steps = self._given.get("steps")
        if self.options.direction == "both" and self._given.get("closing"):
            raise ConfigError("closing: has no effect with direction='both'; leave it out")
        drive = checked_drive(
            self.options.device, steps, budget, checkpoint, resume, history, progress, on_event, self._given.get("epochs")
        )
        if vectors is not None:
            check_vectors(self.options.units)
        held = limits(flash, ram, self._given)
        held_back = None if valid is None else fitting.read(valid)
        name = "list of texts" if isinstance(source, (list, tuple)) else str(source)
        result = fitting.fit(self.options, fitting.read(source), held_back, name, drive, vectors, held)
        self._take(*result)
        return self

    def generate(
        self, prompt: str = "", length: int = 200, *, stop: str | None = None, seed: int = 0, **sampling: object
    ) -> Iterator[str]:
        """Text after the prompt, piece by piece as it comes: `"".join(model.generate(...))` is the whole.

        Args:  length: tokens at most. stop: ends before this text. seed: the same seed gives the same text. sampling: temperature
            (0: greedy), top_k, top_p, min_p, repetition_penalty, repetition_window; see tidegate.decode.sampling.Sampling.
        A letter comes whole, with the accents that follow it. Tokens of the prompt that training never had are read as unknown.
        Raises: ConfigError.
        """
        core, how = self._ready(), check_options(Sampling, sampling)
        if isinstance(length, bool) or not isinstance(length, int) or length < 0:
            raise ConfigError(f"length: expected a whole number of tokens, at least 0, got {length!r}")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ConfigError(f"seed: expected a whole number, at least 0, got {seed!r}")
        if stop is not None and (not isinstance(stop, str) or not stop):
            raise ConfigError(f"stop: expected a text that ends the writing, or none, got {stop!r}")
        if not isinstance(prompt, str):
            raise ConfigError(f"prompt: expected a text, got {type(prompt).__name__}")
        if prompt:
            fitting.read([prompt])
        return _until(_written(core, prompt, length, how, np.random.default_rng(seed)), stop)

    def fill(self, text: str, *, best: int = 5) -> Filling:
        """The `best` likeliest tokens for the blank, written ___, of a text: from both sides, beside those from the left alone.

        The model was trained with direction="both". Raises: TaskError where it was not; ConfigError; DataError.
        """
        return fill(self._ready(), text, best)

    def score(self, text: str | Path) -> Score:
        """How likely a text is from the state that knows nothing. A str is a text; a file is given as a pathlib.Path."""
        if not isinstance(text, (str, Path)):
            raise ConfigError(f"text: expected a text, or a file as a pathlib.Path, got {type(text).__name__}")
        return self.evaluate([text] if isinstance(text, str) else text)

    def stream(self, *, on_bad: str = "reject", state: bytes | None = None) -> TextStream:
        """Follow a text as it comes: `push(piece)` gives what comes next, and how well the piece was foreseen; O(1) a token.

        Args:  on_bad: what a piece with signs that no text has does: "reject", "hold" or "reset". state: a snapshot to go on
            from.
        Raises: ConfigError, FormatError.
        """
        made = TextStream(self._ready(), on_bad, self._fingerprint)
        made.restore(state)
        return made

    def evaluate(self, source: PathLike | Sequence[str], *, carry: bool = True) -> Score:
        """How well texts are foreseen.

        Args:  source: as for `fit`. carry: the state goes on from text to text (from line to line of a file); False: each text,
            or line of a file with its end, is read from the state that knows nothing.
        """
        core, texts = self._ready(), fitting.read(source)
        if not carry and not isinstance(source, (list, tuple)):
            texts = [line for text in texts for line in _LINES.findall(text)]
        parts = core.tokenizer.encode(texts)
        codes = np.concatenate([np.zeros(0, np.int64), *parts])
        each = np.concatenate([np.zeros(0), *map(core.nats, [codes] if carry else parts)])
        known = codes != START
        if not known.any():
            raise DataError(f"the text: expected at least one token that training had, got {len(codes):,} unknown ones")
        missing = [token for text in texts for token in core.tokenizer.cut(text) if not core.tokenizer.knows(token)]
        letters = sum(map(len, texts)) - sum(map(len, missing))
        return Score(float(each[known].sum()), len(codes), letters, int((~known).sum()))

    def quantize(
        self,
        to: str,
        source: PathLike | Sequence[str] | None = None,
        *,
        carry: bool = True,
        limit: float = LIMIT,
        force: bool = False,
    ) -> LanguageModel:
        """The model in 8 bits, scored beside this one on a text that training has not seen; this one stays as it is.

        Args:  to: "int8". source, carry: as for `evaluate`. limit: the share of the nats a token that may be added. force:
            whatever is lost.
        Raises: ExportError where more is lost; TaskError for a net that whole numbers do not hold; DataError; ConfigError.
        """

        data = cast("PathLike | Sequence[str]", needed(source))

        def score(model: LanguageModel) -> Measured:
            return Measured("nats a token", model.evaluate(data, carry=carry).nats_per_token, False)

        return self._quantized(to, score, limit, force=force)

    def _parts(self, core: fitting.Core) -> list[tuple[Spec, Weights]]:
        return parts([core.whole])

    def _of_parts(self, core: fitting.Core, weights: Sequence[Weights]) -> fitting.Core:
        return fitting.core_of(core.options, core.tokenizer, weights[0])

    def _pack(self, core: fitting.Core) -> tuple[dict[str, Plain], dict[str, npt.NDArray[np.generic]]]:
        return store.pack(core, self._card, self._steps)

    @classmethod
    def _unpack(cls, file: container.File, where: str) -> tuple[fitting.Core, dict[str, Plain]]:
        return store.unpack(file, where)

    def _summary(self) -> str:
        core = self._ready()
        return (
            f"fitted on {self._card.get('tokens', '?')} tokens: {core.options.cell} x {core.options.hidden_size}, "
            f"{core.options.num_layers} layers, {core.tokenizer.size - 1:,} kinds of token, {core.whole.spec.count():,} weights"
        )


def _written(core: fitting.Core, prompt: str, length: int, how: Sampling, rng: np.random.Generator) -> Iterator[str]:
    """The pieces, token by token."""
    codes = core.tokenizer.encode([prompt])[0]
    logits, state = core.step(np.concatenate([[START], codes]), None)
    writer = core.tokenizer.writer(begun=bool(len(codes)) and not prompt[-1].isspace())
    forbidden = np.zeros(core.tokenizer.size, np.bool_)
    forbidden[START] = True
    after, drawer = followed(core.net, state), NextCode(how, forbidden, codes.tolist(), rng)
    for _ in range(length):
        code = drawer.draw(logits)
        yield writer.push(code)
        logits = after(code)
    yield writer.close()


def _until(pieces: Iterator[str], stop: str | None) -> Iterator[str]:
    """The pieces up to a text, of which no beginning comes out before it is certain."""
    held = ""
    for piece in pieces:
        if stop is None:
            if piece:
                yield piece
            continue
        held += piece
        if stop in held:
            yield held[: held.index(stop)]
            return
        keep = max((k for k in range(min(len(stop) - 1, len(held)) + 1) if held.endswith(stop[:k])), default=0)
        out, held = held[: len(held) - keep], held[len(held) - keep :]
        if out:
            yield out
    if held:
        yield held


LanguageModel.__init__.__signature__ = options_signature(  # type: ignore[attr-defined]  # functions carry attributes
    LanguageModel.__init__, GenerateOptions
)
__all__ = ["Choice", "Filling", "LanguageModel", "Score"]
