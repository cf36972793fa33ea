"""Models in other forms. In: a fitted model, a form. Out: a file, proved before it is written, and what is known of it.

A form is one entry of EXPORTERS; the work stands in tidegate.export, which knows no models.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from tidegate.errors import ConfigError, TaskError, nearest, shown
from tidegate.export.c import header, prove
from tidegate.export.deployed import Deployed
from tidegate.files import PathLike, check_writable, checked_path, write_atomic
from tidegate.models.base import Model, versions
from tidegate.models.classifier import Classifier
from tidegate.models.forecast_device import followed
from tidegate.models.forecaster import Forecaster
from tidegate.models.language_model import LanguageModel
from tidegate.models.network import Network
from tidegate.models.to_onnx import to_onnx


@final
@dataclass(frozen=True)
class Exported:
    """What was written. proved: whether it was run and agreed. said: the proof and the budget, in sentences."""

    paths: tuple[Path, ...]
    proved: bool
    said: tuple[str, ...]


Exporter = Callable[[Model, PathLike, str | None], Exported]


def export(model: Model, path: PathLike, to: str, name: str | None) -> Exported:
    """Write a model in another form; see Model.export."""
    if not isinstance(to, str) or to not in EXPORTERS:
        raise ConfigError(f"to: expected one of {', '.join(EXPORTERS)}, got {shown(to)}; {nearest(to, EXPORTERS)}")
    path = checked_path("path", path)
    return EXPORTERS[to](model, path, name)


def _name(path: PathLike) -> str:
    """A name that the file's suggests."""
    found = re.sub(r"\W", "_", Path(path).stem, flags=re.ASCII)[:31]
    return found if re.match(r"[A-Za-z]", found) else f"m_{found}"[:31]


def _to_c(model: Model, path: PathLike, name: str | None) -> Exported:
    """A C header, compiled and run first where there is a compiler."""
    check_writable(path)
    made = header(deployed(model), _name(path) if name is None else name)
    proof = prove(made)
    write_atomic(path, made.text)
    budget = (
        f"{made.flash:,} bytes of flash for weights and tables, beside the code; {made.ram:,} bytes of RAM a state, about "
        f"{made.stack:,} bytes of stack in a step; {made.products:,} multiply-adds a step"
    )
    return Exported((Path(path),), proof.compiler is not None, (str(proof), budget))


def deployed(model: Model) -> Deployed:
    """A model's one net and what stands before and behind it. Raises: TaskError for a model that has more than a device runs."""
    if isinstance(model, Classifier):
        return _classifier(model)
    if isinstance(model, LanguageModel):
        core = model._ready()
        if core.both is not None:
            raise TaskError("the model reads from both sides; train with direction='forward' (--direction forward)")
        return Deployed(net=core.net, task="generate", tokenizer=core.tokenizer, about=_about(model))
    if isinstance(model, Forecaster):
        return _forecaster(model)
    if isinstance(model, Network):
        named = model.classes or ()
        return Deployed(net=model.predictor, task="classify" if named else "net", classes=named, about=_about(model))
    raise TaskError(
        f"expected a forecaster, a classifier, a language model or a network of torch, got a model for {model.task!r}, whose "
        "answer is made of more than one step of its net; train `fit forecast`, `fit classify` or `fit generate`"
    )


def _forecaster(model: Forecaster) -> Deployed:
    fitted = model._ready()
    core = fitted.core
    _one_net(len(core.nets))
    return Deployed(net=core.nets[0], task="forecast", followed=followed(core, fitted.panel), about=_about(model))


def _one_net(count: int) -> None:
    if count > 1:
        raise TaskError(f"the model averages {count} nets, a device runs one; train with ensemble=1 (--ensemble 1)")


def _classifier(model: Classifier) -> Deployed:
    core = model._ready()
    _one_net(len(core.nets))
    if core.linear is not None and core.linear.share:
        raise TaskError("a linear model of n-grams stands beside the net; train with ngrams=False (--no-ngrams)")
    return Deployed(
        net=core.nets[0],
        task="classify",
        tokenizer=core.tokenizer,
        classes=core.classes,
        temperature=core.temperature,
        longest=core.options.max_tokens,
        about=_about(model),
    )


def _about(model: Model) -> str:
    return f"{model!r}, exported by Tidegate {versions()['tidegate']}"


def _to_onnx(model: Model, path: PathLike, name: str | None) -> Exported:
    """One ONNX file, or two, run by ONNX Runtime first."""
    if name is not None:
        raise ConfigError(f"name: goes with the form c, got {shown(name)} with onnx; leave it out")
    made = to_onnx(model, path)
    return Exported(made.paths, True, (f"ONNX Runtime agrees with the model within {made.apart:.1e} on golden vectors",))


EXPORTERS: dict[str, Exporter] = {"c": _to_c, "onnx": _to_onnx}
