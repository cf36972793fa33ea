"""Spec and weights made to follow altered options, so that a mutation gets past the checks that compare them. In: a draft."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from random import Random

import numpy as np

from tests.fuzz.draft import Draft
from tidegate.config import from_plain
from tidegate.errors import TaskError
from tidegate.models.nets_store import weight_arrays
from tidegate.models.tag_core import decoder_of
from tidegate.runtime.int8 import quantized
from tidegate.spec import Spec, spec_to_plain
from tidegate.tasks import classify, fill, forecast_net, generate, network, tag, translate
from tidegate.tasks.translate_nets import build_nets

MOST_WEIGHTS = 20_000
Own = Mapping[str, object]


def refit(rng: Random, draft: Draft) -> None:
    """Write the spec that follows from the options, and weights of its shapes, where the options make one at all."""
    make = _SPECS.get(str(draft.own.get("task")))
    spec = None
    with contextlib.suppress(Exception):  # most options are no options any more
        spec = None if make is None else make(draft)
    if spec is None or spec.count() > MOST_WEIGHTS:
        return
    draft.own["spec"] = spec_to_plain(spec)
    prefixes = {name.split(".")[0] for name in draft.arrays if name.startswith("net")}
    draws = np.random.default_rng(rng.getrandbits(32))
    for prefix in sorted(prefixes):
        own = {f"{prefix}.{name}": shape for name, shape in spec.parameters().items()}
        before = draft.arrays
        if any(array.dtype == np.int8 for name, array in before.items() if name.startswith(f"{prefix}.")):
            _in_8_bits(draft, spec, f"{prefix}.", draws)
            continue
        draft.arrays = {name: array for name, array in before.items() if not name.startswith(f"{prefix}.") or name in own}
        for name, shape in own.items():
            if name not in before or before[name].shape != shape:
                draft.arrays[name] = draws.standard_normal(shape).astype(np.float32)


def _in_8_bits(draft: Draft, spec: Spec, prefix: str, draws: np.random.Generator) -> None:
    """New weights, in 8 bits, where whole numbers hold them."""
    weights = {name: draws.standard_normal(shape).astype(np.float32) for name, shape in spec.parameters().items()}
    with contextlib.suppress(TaskError):
        made = weight_arrays(quantized(spec, weights, {}), prefix)
        draft.arrays = {name: array for name, array in draft.arrays.items() if not name.startswith(prefix)} | made


def _count(draft: Draft, prefix: str) -> int:
    return len(draft.arrays[f"{prefix}.offsets"]) - 1


def _forecast(draft: Draft) -> Spec:
    return forecast_net.build_spec(from_plain(forecast_net.Plan, draft.own["plan"]))


def _classify(draft: Draft) -> Spec:
    options = from_plain(classify.ClassifyOptions, draft.own["options"])
    return classify.build_spec(options, _count(draft, "vocabulary.tokens") + 1, _count(draft, "classes"))


def _generate(draft: Draft) -> Spec:
    options = from_plain(generate.GenerateOptions, draft.own["options"])
    build = fill.build_both if options.direction == "both" else generate.build_spec
    return build(options, _count(draft, "vocabulary.tokens") + 1)


def _tag(draft: Draft) -> Spec:
    options = from_plain(tag.TagOptions, draft.own["options"])
    decoder = draft.own["decoder"]
    assert isinstance(decoder, dict)
    sizes = [_count(draft, f"{name}.tokens") + 1 for name in ("words", "letters")]
    return tag.build_spec(options, *sizes, _count(draft, "tags"), _count(draft, "labels"), decoder_of(options, decoder["scheme"]))


def _translate(draft: Draft) -> Spec:
    options = from_plain(translate.TranslateOptions, draft.own["options"])
    source = _count(draft, "vocabulary.source.tokens") + 1
    target = source if options.shared else _count(draft, "vocabulary.target.tokens") + 1
    return build_nets(options, source, target + 1).joined


def _network(draft: Draft) -> Spec:
    return network.build_spec(from_plain(network.NetworkOptions, draft.own["options"]))


_SPECS: dict[str, Callable[[Draft], Spec]] = {
    "forecast": _forecast, "classify": _classify, "generate": _generate, "tag": _tag, "translate": _translate,
    "network": _network,
}  # fmt: skip
