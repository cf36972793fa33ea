"""A fitted model as ONNX: its nets, what it does with their answers, and its tables. In: a Model, a path. Out: files.

The graph reads codes, not text: the tables that turn text into codes, and how texts are cut, stand in the file's metadata, one
JSON value a key. Everything is proved against our own answers before anything is written (export/onnx_proof.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain
from tidegate.data.lines import Scale
from tidegate.data.vocabulary import PATTERNS, Tokenizer
from tidegate.errors import TaskError
from tidegate.export.onnx import Arrays, Export, Timing
from tidegate.export.onnx_forecast import check_plan, forecast_front, forecast_head, history
from tidegate.export.onnx_heads import class_head, next_code_head, score_head, translation_head
from tidegate.export.onnx_proof import proved
from tidegate.files import PathLike, check_writable, write_atomic
from tidegate.models.base import Model, versions
from tidegate.models.classifier import Classifier
from tidegate.models.forecaster import Forecaster
from tidegate.models.language_model import LanguageModel
from tidegate.models.network import Network
from tidegate.models.quantizing import CARD
from tidegate.models.tagger import Tagger
from tidegate.models.translator import Translator
from tidegate.spec import Recurrent, Spec
from tidegate.tasks.translate_nets import build_nets, handed

LEVELS = (80.0, 95.0)  # of a forecaster's intervals
CLASSES, LABELS = ("probabilities", "label"), ("label_probabilities", "sentence_label")


class Written(NamedTuple):
    """What was written, and the largest difference between ONNX Runtime's answers and ours on the golden vectors."""

    paths: tuple[Path, ...]
    apart: float


def to_onnx(model: Model, path: PathLike) -> Written:
    """Write a fitted model as ONNX, opset 18.

    A translator becomes two files, NAME.encoder.onnx and NAME.decoder.onnx; so does a language model that reads both ways,
    NAME.left.onnx, which writes on, and NAME.both.onnx, which fills in.

    Raises: TaskError before `fit` and for a model that ONNX cannot hold; ExportError where ONNX Runtime's answers are more than
        1e-5 from ours; MissingExtra without onnx and onnxruntime; OutputError. Nothing is written then.
    """
    if not isinstance(model, Model):
        raise TaskError(f"model: expected a model of Tidegate, got {type(model).__name__}; load one with tidegate.load(path)")
    exports = _EXPORTS.get(model.task)
    if exports is None:
        raise TaskError(f"the export to ONNX: expected a model for {', '.join(_EXPORTS)}, got one for {model.task!r}")
    if CARD in model.card:
        raise TaskError(
            "the model is in 8 bits, which ONNX's recurrent nodes do not compute; export the float32 one it was made of"
        )
    parts = exports(model)
    paths = [Path(path)] if len(parts) == 1 else [_part(Path(path), name) for name in parts]
    for own in paths:
        check_writable(own)
    made = [proved(export) for export in parts.values()]  # all are proved before one is written
    written = tuple(write_atomic(own, one.body) for own, one in zip(paths, made, strict=True))
    return Written(written, max(one.apart for one in made))


def _part(path: Path, name: str) -> Path:
    """weights.onnx -> weights.encoder.onnx."""
    return path.with_name(f"{path.stem if path.suffix == '.onnx' else path.name}.{name}.onnx")


def _classifier(model: Model) -> dict[str, Export]:
    core = cast(Classifier, model)._ready()
    if core.linear is not None and core.linear.share > 0:
        raise TaskError(
            "ngrams: expected nets alone, got a linear model of n-grams beside them, whose hashed n-grams ONNX cannot hold; fit "
            "the model with ngrams=False (--no-ngrams)"
        )
    about = {**_about(model), **_vocabulary("", core.tokenizer), "max_tokens": core.options.max_tokens}
    about |= {"classes": list(core.classes), "temperature": core.temperature}
    head = class_head("logits", core.classes, core.temperature, CLASSES)
    states = _forward(core.nets[0].spec)
    return {"model": Export(nets=core.nets, about=about, states=states, outputs=len(core.nets) == 1, head=head)}


def _forecaster(model: Model) -> dict[str, Export]:
    fitted = cast(Forecaster, model)._ready()
    core, plan, schema = fitted.core, fitted.core.plan, fitted.panel.schema
    check_plan(plan)
    factors = {} if plan.output == "point" else {
        level: np.ones(plan.horizon) if core.corrections is None else core.corrections.at(level) for level in LEVELS
    }  # fmt: skip

    def expected(nets: Sequence[Arrays], scale: Scale) -> dict[str, npt.NDArray[np.float64]]:
        own = [{name: np.asarray(net[name], np.float32) for name in ("raw", "base")} for net in nets]
        found = core.from_outputs(own, scale, core.decoder(tuple(factors)))
        ends = {n: np.stack([part[k] for k in factors], 2) for n, part in (("lo", found.lo), ("hi", found.hi)) if factors}
        return {"forecast": found.point, **ends}

    names = schema.clock.calendar_names
    about: dict[str, Plain] = {**_about(model), "horizon": plan.horizon, "history": history(plan), "levels": list(factors)}
    about |= {"segment": plan.segment, "calendar": [names[k] for k in plan.calendar_columns]}
    about |= {"schema": cast(Plain, schema.to_json()), "series": list(core.ids)}
    segments, ahead = plan.lookback // plan.segment, plan.future_segments
    timing = {"past_calendar": Timing("past", fixed=segments), "future_calendar": Timing("future", fixed=ahead)}
    timing |= {"past": Timing("past", plan.segment, fixed=segments), "future": Timing("future", plan.segment, fixed=ahead)}
    head = forecast_head(plan, factors, core.lower, expected)
    return {
        "model": Export(
            nets=core.nets, about=about, timing=timing, states=False, outputs=False, front=forecast_front(plan), head=head
        )
    }


def _language_model(model: Model) -> dict[str, Export]:
    core = cast(LanguageModel, model)._ready()
    about = {**_about(model), **_vocabulary("", core.tokenizer)}
    left = Export(nets=(core.net,), about=about, head=next_code_head())
    if core.both is None:
        return {"model": left}
    return {"left": left, "both": Export(nets=(core.both,), about=about, states=False)}  # from both sides: no state goes on


def _tagger(model: Model) -> dict[str, Export]:
    core = cast(Tagger, model)._ready()
    about: dict[str, Plain] = {**_about(model), **_vocabulary("words.", core.words), "tags": list(core.tags)}
    if core.options.letters:
        about |= {**_vocabulary("letters.", core.letters), "max_letters": core.options.max_letters}
    about |= {
        "scheme": core.scheme,
        "source_scheme": core.source_scheme,
        "decoder": core.decoder,
        "temperature": core.temperature,
    }
    about |= {name: cast(Plain, part.tolist()) for name, part in core.chain._asdict().items()}
    labels = class_head("label", core.labels, core.label_temperature, LABELS) if core.labels else None
    head = score_head("chain" if core.decoder == "crf" else "emissions", len(core.tags), labels)
    timing = {"words": Timing("words"), "spelt": Timing("words"), "letters": Timing("letters")}
    states = _forward(core.nets[0].spec)
    return {"model": Export(nets=core.nets, about=about, timing=timing, states=states, outputs=False, head=head)}


def _translator(model: Model) -> dict[str, Export]:
    core = cast(Translator, model)._ready()
    nets = build_nets(core.options, core.source.size, core.end + 1)
    read = ("feed",) if core.options.input_feeding else ()
    encoder: dict[str, Plain] = {**_about(model), **_vocabulary("source.", core.source), "max_tokens": core.options.max_tokens}
    decoder: dict[str, Plain] = {**_about(model), **_vocabulary("target.", core.target), "end": core.end}
    decoder |= {"longest": core.longest}
    timing = {"previous": Timing("target", ragged=False), "memory": Timing("source"), "keys": Timing("source")}
    head = translation_head(list(nets.decoder.state()))
    return {
        "encoder": Export(nets=tuple(m.encoder for m in core.members), about=encoder, states=False),
        "decoder": Export(
            nets=tuple(m.decoder for m in core.members), own=(*handed(core.options), *read), about=decoder, timing=timing,
            states=False, head=head,
        ),
    }  # fmt: skip


def _network(model: Model) -> dict[str, Export]:
    network = cast(Network, model)
    net, classes = network.predictor, network.classes
    about: dict[str, Plain] = {**_about(model), **({} if classes is None else {"classes": list(classes)})}
    head = None if classes is None else class_head(net.spec.outputs[0], classes, 1.0, CLASSES)
    return {"model": Export(nets=(net,), about=about, head=head)}


def _about(model: Model) -> dict[str, Plain]:
    return {"task": model.task, "tidegate": versions()["tidegate"]}


def _forward(spec: Spec) -> bool:
    """Whether a state that is carried means anything: what reads right to left begins anew."""
    return not any(isinstance(block, Recurrent) and block.bidirectional for block in spec.blocks if block.name not in spec.items)


def _vocabulary(prefix: str, tokenizer: Tokenizer) -> dict[str, Plain]:
    """How a text becomes codes: the token of code k + 1 is tokens[k], code 0 is what training did not see.

    pattern: the regular expression that finds the tokens, in Python's notation with Unicode's letters and digits.
    """
    found: dict[str, Plain] = {"units": tokenizer.units, "lower": tokenizer.lower, "tokens": list(tokenizer.tokens)}
    if tokenizer.units in PATTERNS:
        found["pattern"] = PATTERNS[tokenizer.units]
    if tokenizer.units == "bpe":
        found["merges"] = cast(Plain, tokenizer.merges.tolist())
    return {f"{prefix}{name}": value for name, value in found.items()}


_EXPORTS: Mapping[str, Callable[[Model], dict[str, Export]]] = {
    "forecast": _forecaster,
    "classify": _classifier,
    "generate": _language_model,
    "tag": _tagger,
    "translate": _translator,
    "network": _network,
}

__all__ = ["Written", "to_onnx"]
