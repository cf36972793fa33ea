"""The classifier that users hold. In: texts with labels. Out: a fitted model; labels, probabilities, explanations of new texts.

Reading stands in data/texts.py, the net in tasks/classify.py, training and its checks in classify_fit.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple, cast, final, overload

import numpy as np
import numpy.typing as npt

from tidegate import format as container
from tidegate.config import Plain, check_options
from tidegate.data.table import Table
from tidegate.data.texts import Texts, read_texts
from tidegate.decode.labels import Floats
from tidegate.errors import ConfigError, DataError
from tidegate.files import PathLike
from tidegate.models import classify_fit as fitting
from tidegate.models import classify_store as store
from tidegate.models.base import options_signature
from tidegate.models.device_size import limits
from tidegate.models.drive import OnEvent, checked_drive
from tidegate.models.quantizing import LIMIT, Measured, Weights, first_of, needed, parts, renewed
from tidegate.models.text_model import TextModel
from tidegate.models.text_stream import ClassifyStream
from tidegate.models.word_vectors import check_vectors
from tidegate.spec import Spec
from tidegate.tasks.classify import ClassifyOptions
from tidegate.tasks.label_scores import LabelEvaluation, evaluation


class Word(NamedTuple):
    """A token of an explained text."""

    text: str
    weight: float  # how far log p(label) falls where the token is left out; negative: the token speaks against the label


@final
@dataclass(frozen=True)
class Explanation:
    """Why a text got its label: what each token adds to the label's log-probability, by leaving it out (Li et al. 2016)."""

    text: str
    label: str
    probability: float
    words: tuple[Word, ...]

    def __str__(self) -> str:
        most = max((abs(word.weight) for word in self.words), default=1.0) or 1.0
        width = max((len(word.text) for word in self.words), default=0)
        head = f"{self.label} ({100 * self.probability:.1f} %); how far log p falls without each token:"
        bars = [
            f"{w.text.rjust(width)}  {w.weight:+7.3f}  {('+' if w.weight > 0 else '-') * round(20 * abs(w.weight) / most)}"
            for w in self.words
        ]
        return "\n".join([head, *(bar.rstrip() for bar in bars)])


@final
class Classifier(TextModel[ClassifyOptions, fitting.Core]):
    """Sorts texts into classes with one recurrent net, beside the methods that need none.

    Args:  every option of `tidegate.tasks.classify.ClassifyOptions` by its name (units="char", cell="gru", hidden_size=256,
        pooling="attention", seed=1, ...).
    Raises: ConfigError for an unknown option, with the nearest name, or a value out of range; all faults at once.

    >>> texts = ["a fine film", "a dull film", "fine acting", "dull acting"] * 10
    >>> model = Classifier(hidden_size=8, epochs=20).fit((texts, ["good", "bad"] * 20), progress=False)
    >>> model.predict("a fine story")
    'good'
    """

    task: ClassVar[str] = "classify"

    def __init__(self, **options: object) -> None:
        super().__init__(check_options(ClassifyOptions, options), options)

    def fit(
        self,
        source: object,
        *,
        text: str | None = None,
        label: str | None = None,
        labels: PathLike | None = None,
        header: bool = True,
        valid: object | None = None,
        valid_labels: PathLike | None = None,
        split_seed: int | None = None,
        vectors: PathLike | None = None,
        flash: str | int | None = None,
        ram: str | int | None = None,
        budget: str | float | None = None,
        checkpoint: PathLike | None = None,
        resume: bool = False,
        history: PathLike | None = None,
        progress: bool | None = None,
        on_event: OnEvent | None = None,
    ) -> Classifier:
        """Train on labelled texts and return self.

        Args:  source: a path (CSV, TSV, Parquet, JSON lines, plain text, a folder, each also .gz), a frame, a list of
            (text, label), or (texts, labels); see tidegate.data.texts. text, label: columns. labels: a second file, line by line.
            header: False where the columns have no names; they are then called "1", "2", ... valid: texts that choose the best
            weights, read like `source`, valid_labels the second file beside it; without `valid` a share of each class is held
            back. split_seed: draws that share; None: the model's seed. Figures of several seeds need one split. vectors: a text
            file of word2vec or GloVe, also .gz, at whose vectors the embedding starts; embedding_dim is then the file's. flash,
            ram: bytes, or "32K", that the model exported to C may take, code and stack included; hidden_size is then the
            largest that fits. budget: "90s", "10m", "1h" or seconds; fixes the number of steps once. checkpoint: stem of
            checkpoint files; with `resume` the newest of them is continued. history: a JSON-lines file of training records.
            progress: a bar; None shows it where it is seen.
        Raises: DataError; ConfigError; MissingExtra without torch; OutputError.
        """
        steps = self._given.get("steps")
        drive = checked_drive(
            self.options.device, steps, budget, checkpoint, resume, history, progress, on_event, self._given.get("epochs")
        )
        if vectors is not None:
            check_vectors(self.options.units)
        held = limits(flash, ram, self._given)
        texts = read_texts(source, text=text, label=label, labels=labels, header=header)
        held_back = _held_back(valid, text, label, valid_labels, header)
        result = fitting.fit(self.options, texts, held_back, drive, split_seed, vectors, held)
        self._take(*result)
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of `predict_proba`'s columns."""
        return self._ready().classes

    @overload
    def predict(self, texts: str) -> str: ...  # type: ignore[overload-overlap]  # a str is a Sequence[str] too; the first fits
    @overload
    def predict(self, texts: Sequence[str] | Path) -> list[str]: ...
    def predict(self, texts: str | Sequence[str] | Path) -> str | list[str]:
        """The label of a text, or of each of several. A str is a text; a file is given as a pathlib.Path.

        An empty text gets the label of the net without any input. Raises: DataError; TaskError before `fit`.
        """
        found = [self.classes[k] for k in self.predict_proba(texts).argmax(1)]
        return found[0] if isinstance(texts, str) else found

    def predict_proba(self, texts: str | Sequence[str] | Path) -> Floats:
        """(N, K) probabilities, columns as in `classes`, made honest by the temperature fitted on held-back texts."""
        core = self._ready()
        return core.probabilities(core.read(_texts(texts)))

    def explain(self, text: str) -> Explanation:
        """What each token of a text adds to its label, by leaving it out. Raises: ConfigError for the units byte and bpe."""
        core = self._ready()
        (text,) = _texts(text)
        spans = core.tokenizer.spans(text)[: self.options.max_tokens]
        (tokens,) = core.read([text])
        without = [tokens[:k] + tokens[k + 1 :] for k in range(len(tokens))]
        logs = np.log(np.maximum(core.probabilities([tokens, *without]), 1e-300))
        label = int(logs[0].argmax())
        words = tuple(Word(text[a:b], float(logs[0, label] - row[label])) for (a, b), row in zip(spans, logs[1:], strict=True))
        return Explanation(text, core.classes[label], float(np.exp(logs[0, label])), words)

    def evaluate(
        self,
        source: object,
        *,
        text: str | None = None,
        label: str | None = None,
        labels: PathLike | None = None,
        header: bool = True,
    ) -> LabelEvaluation:
        """Score the model on labelled texts that it has not seen. Raises: DataError."""
        core = self._ready()
        texts = read_texts(source, text=text, label=label, labels=labels, header=header)
        truth = fitting.truths(texts, core.classes)
        found = core.probabilities(core.read(texts.texts))
        return evaluation(
            truth, {"net": found, **self._commonest(len(truth))}, core.classes, _table(texts.texts, truth, found, core.classes)
        )

    def stream(self, *, on_bad: str = "reject", state: bytes | None = None) -> ClassifyStream:
        """Follow a text as it comes: `push(piece)` gives the class of all of it so far, as `predict_proba` says of the whole.

        Args:  on_bad: what a piece with signs that no text has does: "reject", "hold" or "reset". state: a snapshot to go on
            from.
        Raises: TaskError for a net that reads the future (train with bidirectional=False and pooling "last", "mean" or "max");
            ConfigError, FormatError.
        """
        made = ClassifyStream(self._ready(), on_bad, self._fingerprint)
        made.restore(state)
        return made

    def plot(
        self, path: PathLike, source: object, *, text: str | None = None, label: str | None = None,
        labels: PathLike | None = None, header: bool = True,
    ) -> LabelEvaluation:  # fmt: skip
        """Draw what is taken for what, and the calibration, on labelled texts: a .png or .svg file. The scores drawn.

        Raises: as `evaluate`; OutputError; MissingExtra without matplotlib.
        """
        from tidegate.report.labels import label_picture

        found = self.evaluate(source, text=text, label=label, labels=labels, header=header)
        label_picture(path, found)
        return found

    def quantize(
        self, to: str, source: object = None, *, text: str | None = None, label: str | None = None,
        labels: PathLike | None = None, header: bool = True, limit: float = LIMIT, force: bool = False,
    ) -> Classifier:  # fmt: skip
        """The model in 8 bits, scored beside this one on labelled texts that training has not seen; this one stays as it is.

        Args:  to: "int8". source, text, label, labels, header: as for `evaluate`. limit: the share of the accuracy that may be
            lost. force: whatever is lost.
        Raises: ExportError where more is lost; TaskError for a net that whole numbers do not hold; DataError; ConfigError.
        """

        data = needed(source)

        def score(model: Classifier) -> Measured:
            return first_of(model.evaluate(data, text=text, label=label, labels=labels, header=header).board, "net")

        return self._quantized(to, score, limit, force=force)

    def _parts(self, core: fitting.Core) -> list[tuple[Spec, Weights]]:
        return parts(core.nets)

    def _of_parts(self, core: fitting.Core, weights: Sequence[Weights]) -> fitting.Core:
        return replace(core, nets=renewed(core.nets, weights))

    def _commonest(self, count: int) -> dict[str, Floats]:
        shares = np.asarray(cast("list[float]", self._card["shares"]))
        return {"commonest class": np.tile(shares, (count, 1))}

    def _pack(self, core: fitting.Core) -> tuple[dict[str, Plain], dict[str, npt.NDArray[np.generic]]]:
        return store.pack(core, self._card, self._steps)

    @classmethod
    def _unpack(cls, file: container.File, where: str) -> tuple[fitting.Core, dict[str, Plain]]:
        return store.unpack(file, where)

    def _summary(self) -> str:
        core = self._ready()
        return (
            f"fitted on {self._card.get('texts', '?')} texts: {core.options.cell} x {core.options.hidden_size}, "
            f"{len(core.classes)} classes, {core.tokenizer.size:,} tokens, {core.nets[0].spec.count() * len(core.nets):,} weights"
        )


def _held_back(valid: object | None, text: str | None, label: str | None, labels: PathLike | None, header: bool) -> Texts | None:
    """The texts that choose the best weights, where some are given. Raises: ConfigError, DataError."""
    if valid is None:
        if labels is not None:
            raise ConfigError(f"valid_labels: expected valid beside it, the texts that {labels} labels, got none")
        return None
    found = read_texts(valid, text=text, label=label, labels=labels, header=header)
    if found.labels is None:
        raise DataError(
            f"{found.source}: expected a label beside each held-back text, got none; name the second file with valid_labels "
            "(--valid-labels), or the column with label (--label)"
        )
    return found


def _texts(given: str | Sequence[str] | Path) -> tuple[str, ...]:
    if isinstance(given, str):
        return read_texts([given]).texts
    if not isinstance(given, (Path, list, tuple)):
        raise ConfigError(f"texts: expected a text, a list of texts, or a file as a pathlib.Path, got {type(given).__name__}")
    return read_texts(given).texts if isinstance(given, Path) or len(given) else ()


def _table(texts: Sequence[str], truth: npt.NDArray[np.int64], found: Floats, classes: tuple[str, ...]) -> Table:
    names = np.array(classes, dtype=object)
    columns = {"text": np.array(texts, dtype=object), "truth": names[truth], "label": names[found.argmax(1)]}
    return Table({**columns, "probability": found.max(1)})


Classifier.__init__.__signature__ = options_signature(  # type: ignore[attr-defined]  # functions carry attributes
    Classifier.__init__, ClassifyOptions
)
__all__ = ["Classifier", "Explanation", "Word"]
