"""A network brought from elsewhere, such as torch, that users hold. In: numbers or codes. Out: outputs and state, without torch.

It has no task of its own: no vocabulary, no figures, no training. models/from_torch.py makes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple, cast, final

import numpy as np
import numpy.typing as npt

from tidegate import format as container
from tidegate.config import Plain, from_plain, to_plain
from tidegate.data.vocabulary import pack_texts, unpack_texts
from tidegate.decode.labels import probabilities
from tidegate.errors import ConfigError, DataError, FormatError, ShapeError, TaskError, shown
from tidegate.files import PathLike
from tidegate.given import listed, numbers, whole
from tidegate.models.base import FILE_FAULTS, Model, header_part, load_as
from tidegate.models.nets_store import check_names, net_arrays, read_nets
from tidegate.models.network_stream import NetworkStream
from tidegate.models.quantizing import CARD, LIMIT, Measured, Weights, needed, parts, quantize
from tidegate.runtime.predictor import Floats, Predictor
from tidegate.runtime.recurrent import refuse_bad
from tidegate.spec import spec_to_plain
from tidegate.tasks.network import NetworkOptions, build_spec

CLASSES = ("classes.bytes", "classes.offsets")


class Ran(NamedTuple):
    """What a network answers."""

    y: Floats  # (B, T, O), or (B, O) where it pools
    state: dict[str, Floats]  # "h": (L*D, B, H), and "c" for the LSTM, as torch's h_n and c_n


@final
class Network(Model):
    """Embedding, recurrent layers, pooling and a linear layer, as far as they are there; `tidegate.from_torch` makes it.

    Args:  options: its shape. weights: `block.weight` -> array, those of `build_spec(options)`. classes: what the outputs of a
        pooled network stand for, in their order; none: numbers. source: what it came from. notes: kept in the file.
    Raises: ConfigError; FormatError for weights that are not those of the shape, or not finite.

    >>> import torch
    >>> from tidegate import from_torch
    >>> network = from_torch(torch.nn.GRU(3, 8, batch_first=True))
    >>> network.run(np.zeros((2, 5, 3))).y.shape
    (2, 5, 8)
    """

    task: ClassVar[str] = "network"

    def __init__(
        self,
        options: NetworkOptions,
        weights: Mapping[str, Floats],
        *,
        classes: Sequence[str] | None = None,
        source: str = "arrays",
        notes: Sequence[str] = (),
    ) -> None:
        self.options = options
        self._net = Predictor(build_spec(options), weights)
        self.classes = _checked(classes, options)
        self._card: dict[str, Plain] = {"source": source, "weights": self._net.spec.count(), "notes": list(notes)}

    def __repr__(self) -> str:
        o, count = self.options, self._net.spec.count()
        cell = f"{o.cell} x {o.hidden_size}, {o.num_layers} layers{', both ways' if o.bidirectional else ''}"
        return f"Network of {self._card['source']}: {cell}, {count:,} weights"

    @property
    def card(self) -> Mapping[str, Plain]:
        """Where it came from."""
        return dict(self._card)

    @property
    def predictor(self) -> Predictor:
        """The net itself: `predictor.stream()` follows sequences one step at a time where nothing reads the future."""
        return self._net

    def run(self, x: npt.ArrayLike, state: Mapping[str, Floats] | None = None, lengths: npt.ArrayLike | None = None) -> Ran:
        """Run the network over whole sequences, or any piece of them.

        Args:  x: codes (B, T), or numbers (B, T, I); batch first, whatever the torch module's batch_first was. state: what an
            earlier call returned, or None for zeros. lengths: (B,), 0 <= length <= T; padding is on the right and not read.
        Raises: ShapeError, with what was expected; DataError for NaN or Inf before a row's end.
        """
        given = self._given(x)
        known = None if lengths is None else whole("lengths", lengths)
        flat = None if state is None else self._flat(state, len(given))
        refuse_bad(given, known)
        outputs, after = self._net.run({"x": given}, flat, None if known is None else {"x": known})
        parts = {name.partition(".")[2]: part for name, part in self._net.state_parts(after).items()}
        return Ran(next(iter(outputs.values())), parts)

    def predict_proba(self, x: npt.ArrayLike, lengths: npt.ArrayLike | None = None) -> npt.NDArray[np.float64]:
        """(B, K) the softmax of the outputs, columns as in `classes`. Raises: TaskError for a network without classes."""
        if self.classes is None:
            raise TaskError("the network has no classes; name them: from_torch(module, classes=(...)), or use run(x)")
        return probabilities([self.run(x, None, lengths).y])

    def predict(self, x: npt.ArrayLike, lengths: npt.ArrayLike | None = None) -> list[str]:
        """The likeliest class of each row. Raises: as `predict_proba`."""
        found = self.predict_proba(x, lengths)
        return [(self.classes or ())[k] for k in found.argmax(1)]

    def quantize(self, to: str, x: npt.ArrayLike | None = None, *, limit: float = LIMIT, force: bool = False) -> Network:
        """The network in 8 bits, held beside this one on inputs of your own; this one stays as it is.

        It has no task whose measure could be taken, so the measure is how near the outputs stay: 1 less the root mean square of
        the differences over that of this network's outputs.

        Args:  to: "int8". x: as for `run`, samples as the network will see them: what it reads follows from their range. limit:
            the share of the agreement that may be lost. force: whatever is lost.
        Raises: ExportError where more is lost; TaskError for a net that whole numbers do not hold; ShapeError, DataError,
            ConfigError.
        """
        data = cast("npt.ArrayLike", needed(x))
        wanted = self.run(data).y.astype(np.float64)
        size = float(np.sqrt((wanted**2).mean())) if wanted.size else 0.0
        if size == 0.0:
            raise DataError("int8: expected inputs whose outputs are not all 0, got none; bring more of them")

        def remade(weights: Sequence[Weights]) -> Network:
            own, card = weights[0], self._card
            notes = cast("list[str]", card["notes"])
            return Network(self.options, own, classes=self.classes, source=str(card["source"]), notes=notes)

        def score(model: Network) -> Measured:
            apart = float(np.sqrt(((model.run(data).y - wanted) ** 2).mean()))
            return Measured("agreement with float32", 1.0 - apart / size, True)

        made, found = quantize(to, parts([self._net]), remade, score, limit, force=force)
        made._card[CARD] = found.entry()
        made._note(f"{found}.")
        return made

    def stream(self, *, on_bad: str = "reject", state: bytes | None = None) -> NetworkStream:
        """Follow one sequence: `push` of a code, or of a step's numbers, gives the output after it, as `run` gives it.

        Args:  on_bad: what NaN, Inf or a code that is none does: "reject", "hold" or "reset". state: a snapshot to go on from.
        Raises: TaskError where the network reads the future; ConfigError, FormatError.
        """
        made = NetworkStream(self._net, self.options.codes, on_bad, self._fingerprint)
        made.restore(state)
        return made

    @classmethod
    def load(cls, path: PathLike) -> Network:
        """Load a network. Raises: FormatError; TaskError where the file is of another task."""
        return load_as(cls, path)

    def _given(self, x: npt.ArrayLike) -> npt.NDArray[np.generic]:
        """(B, T, size) codes or numbers. Raises: ShapeError."""
        codes, size = self.options.codes, self._net.spec.inputs[0].size
        given: npt.NDArray[np.generic] = whole("x", x) if codes else numbers("x", x, self._net.initial_state().dtype)
        if given.ndim != (2 if codes else 3) or (not codes and given.shape[2] != size):
            expected = "codes (B, T)" if codes else f"(B, T, {size})"
            raise ShapeError(f"x: expected {expected}, got {given.shape}")
        return given[..., None] if codes else given

    def _flat(self, state: Mapping[str, Floats], rows: int) -> Floats:
        """(B, S) of parts (L*D, B, H). Raises: ShapeError."""
        layout = {name.partition(".")[2]: shape for name, shape in self._net.spec.state().items()}
        if not isinstance(state, Mapping) or set(state) != set(layout):
            got = (", ".join(map(str, state)) or "none") if isinstance(state, Mapping) else shown(state)
            raise ShapeError(f"state: expected the parts {', '.join(layout)}, got {got[:80]}; pass on `run(...).state`")
        dtype = self._net.initial_state().dtype
        parts = {name: numbers(f"state {name!r}", state[name], dtype) for name in layout}
        for name, (layers, size) in layout.items():
            if parts[name].shape != (layers, rows, size):
                raise ShapeError(f"state {name!r}: expected {(layers, rows, size)}, got {parts[name].shape}")
            refuse_bad(parts[name], None, f"state {name!r}")
        return np.concatenate([np.swapaxes(parts[name], 0, 1).reshape(rows, -1) for name in layout], axis=1)

    def _contents(self) -> tuple[dict[str, Plain], dict[str, npt.NDArray[np.generic]]]:
        header: dict[str, Plain] = {
            "options": to_plain(self.options), "spec": spec_to_plain(self._net.spec), "card": dict(self._card), "members": 1,
        }  # fmt: skip
        arrays = net_arrays([self._net.weights])
        return header, arrays if self.classes is None else arrays | pack_texts("classes", self.classes)

    @classmethod
    def _from_file(cls, file: container.File, where: str) -> Network:
        try:
            options = from_plain(NetworkOptions, header_part(file.header, "options", where), "options")
            (net,) = read_nets(file, build_spec(options), where)
            named = CLASSES[0] in file.arrays
            check_names(file, CLASSES if named else (), 1, "network", where)
            card = header_part(file.header, "card", where)
            source, notes = card.get("source"), card.get("notes")
            if not isinstance(source, str) or not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
                raise FormatError(f"{where}: its card lacks source or notes, or they were altered; save the model again")
            classes = unpack_texts("classes", file.arrays) if named else None
            made = cls(options, net.weights, classes=classes, source=source, notes=cast("list[str]", notes))
            if CARD in card:
                made._card[CARD] = card[CARD]
            return made
        except FILE_FAULTS as error:
            raise FormatError(f"{where}: its content does not fit together ({error}); save the model again") from error


def _checked(classes: Sequence[str] | None, options: NetworkOptions) -> tuple[str, ...] | None:
    """Raises: ConfigError unless there are as many names as outputs, none twice."""
    if classes is None:
        return None
    classes = listed("classes", classes, "give the names of the outputs, in their order")
    if not all(isinstance(name, str) and not any("\ud800" <= letter <= "\udfff" for letter in name) for name in classes):
        raise ConfigError(f"classes: expected a list of texts without half letters, got {shown(classes)}")
    if options.pool == "none" or options.output_size < 2:
        raise ConfigError(
            "classes: expected a network that pools and ends in a linear layer of two outputs or more; leave them out"
        )
    if len(set(classes)) != options.output_size or len(classes) != options.output_size:
        raise ConfigError(f"classes: expected {options.output_size} different names, one an output, got {shown(classes)}")
    return tuple(classes)


__all__ = ["Network", "Ran"]
