"""`tidegate info MODEL`: what is in a model file: the spec drawn as text, sizes, the card, and whether data is inside."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import cast

import numpy as np

from tidegate import format as container
from tidegate.cli.common import bullets, forecaster, wrapped
from tidegate.config import Plain
from tidegate.data.schema import Roles
from tidegate.data.series import Panel
from tidegate.errors import visible
from tidegate.models import (
    Classifier,
    LanguageModel,
    Network,
    Tagger,
    Translator,
    language_figures,
    load,
    tag_figures,
    translate_figures,
)
from tidegate.models.classify_figures import held_back_text
from tidegate.models.forecast_answers import notes
from tidegate.models.forecast_figures import figures_text
from tidegate.models.forecast_store import unpack
from tidegate.models.nets_store import BESIDE
from tidegate.spec import Block, Recurrent, Spec, block_parameters, size_of, spec_from_plain, weight_name

EXAMPLE = """example:
  tidegate info weather.safetensors
  tidegate info weather.safetensors --json | python -m json.tool"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `info`."""
    parser.add_argument("model", help="a file written by `tidegate fit`")
    parser.add_argument("--json", action="store_true", help="the whole header as JSON")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    file, model = container.read(args.model), load(args.model)
    if args.json:
        print(json.dumps({**file.header, "sha256": file.sha256}, indent=2))
        return 0
    spec = spec_from_plain(file.header["spec"])
    print(visible(wrapped(repr(model), hanging="  ")))
    if isinstance(model, Classifier):
        about = _about(args.model, file, model.card, spec, "the vocabulary and the classes")
        use, figures, said = _use_of_texts(model), held_back_text(model.card), cast("list[str]", model.card["notes"])
    elif isinstance(model, Tagger):
        about = _about(args.model, file, model.card, spec, "the vocabulary, the letters and the tags")
        use, figures, said = _use_of_words(model), tag_figures.held_back_text(model.card), cast("list[str]", model.card["notes"])
    elif isinstance(model, LanguageModel):
        about = _about(args.model, file, model.card, spec, "the vocabulary")
        use = [("units", model.options.units), ("generate", "writes on from --prompt; evaluate FILE scores a text")]
        use += [("fill", "finds the word that is missing from a text with ___")] if model.options.direction == "both" else []
        figures, said = language_figures.held_back_text(model.card), cast("list[str]", model.card["notes"])
    elif isinstance(model, Translator):
        about = _about(args.model, file, model.card, spec, "the vocabularies and the commonest target")
        use = _use_of_pairs(model)
        figures, said = translate_figures.held_back_text(model.card), cast("list[str]", model.card["notes"])
    elif isinstance(model, Network):
        about, use, figures = (
            _about_network(args.model, file, model),
            _use_of_network(model),
            "no figures: it was not trained here",
        )
        said = cast("list[str]", model.card["notes"])
    else:
        model = forecaster(args.model)
        about = _about(args.model, file, model.card, spec, f"the tails of {model.card['series']} training series")
        use, figures = _use(unpack(file, args.model).panel, model.options.horizon), figures_text(model.card)
        said = list(notes(model.card))
    print(visible(f"\nuse\n{_aligned(use)}\n\nnet\n{draw(spec)}\n\nfile\n{_aligned(about)}\n\n{figures}"))
    print(visible(bullets(said)))  # names and notes may come from anybody
    return 0


def _use_of_texts(model: Classifier) -> list[tuple[str, ...]]:
    """What a caller has to know of a classifier."""
    shown = ", ".join(model.classes[:12]) + (f", ... ({len(model.classes)} in all)" if len(model.classes) > 12 else "")
    return [
        ("classes", shown),
        (
            "units",
            f"{model.options.units}{', lower-cased' if model.options.lower else ''}; at most {model.options.max_tokens:,} a text",
        ),
        ("predict", "takes texts on the command line, or --data FILE with a text a line or a --text COLUMN"),
    ]


def _use_of_words(model: Tagger) -> list[tuple[str, ...]]:
    """What a caller has to know of a tagger."""
    shown = ", ".join(model.tags[:12]) + (f", ... ({len(model.tags)} in all)" if len(model.tags) > 12 else "")
    labels = [("sentence labels", ", ".join(model.labels[:12]))] if model.labels else []
    takes = (
        "takes raw texts, or --data FILE (.conllu, .conll, .iob2, .jsonl: words; else raw text); stream takes words as they come"
    )
    return [("tags", shown), *labels, ("predict", takes)]


def _use_of_pairs(model: Translator) -> list[tuple[str, ...]]:
    """What a caller has to know of a translator."""
    o = model.options
    lower = ", lower-cased" if o.lower else ""
    return [
        ("units", f"{o.units} into {o.target_units or o.units}{lower}; at most {o.max_tokens:,} a source"),
        ("predict", "takes texts on the command line, or --data FILE with a text a line; --beam 5 searches better"),
        ("attention", o.attention + ("" if o.attention == "none" else "; plot --text TEXT draws it")),
    ]  # fmt: skip


def _use_of_network(model: Network) -> list[tuple[str, ...]]:
    """What a caller has to know of a bare network."""
    o = model.options
    reads = f"codes (B, T) from 0 to {o.codes - 1:,}" if o.codes else f"numbers (B, T, {o.input_size})"
    classes = [("classes", ", ".join(model.classes[:12]))] if model.classes else []
    return [*classes, ("run", f"in Python, takes {reads}; the command line has no task for it")]


def _about_network(path: str, file: container.File, model: Network) -> list[tuple[str, ...]]:
    weights = sum(array.nbytes for array in file.arrays.values())
    return [
        ("path", path), ("task", str(file.header["task"])), ("sha256", file.sha256), ("source", str(model.card["source"])),
        ("weights", f"{weights:,} bytes; {model.predictor.spec.state_size()} numbers of state for each row"),
    ]  # fmt: skip


def _use(panel: Panel, horizon: int) -> list[tuple[str, ...]]:
    """What a caller has to know: columns, clock, horizon, and what a forecast asks for."""
    schema, roles = panel.schema, panel.schema.roles
    kinds = (
        ("target", roles.target), ("time", roles.time), ("id", () if roles.id is None else (roles.id,)), ("past", roles.past),
        ("future", roles.future), ("static", roles.static),
    )  # fmt: skip
    needs = f"--future FILE with the columns {', '.join(_keys(roles))}, for every step of the horizon" if roles.future else ""
    clock = schema.clock
    return [
        *((name, ", ".join(columns)) for name, columns in kinds if columns),
        ("step", "uneven, about " * schema.uneven + clock.step_name),
        ("last time", _last(panel)),
        ("horizon", f"{horizon} step{'' if horizon == 1 else 's'}"),
        ("predict", needs or "needs nothing but the model; --data FILE forecasts from newer rows"),
    ]


def _keys(roles: Roles) -> tuple[str, ...]:
    """The columns of a table of the future."""
    return (*(() if roles.id is None else (roles.id,)), *roles.time, *roles.future)


def _last(panel: Panel) -> str:
    """The last time of the data inside; of series that end apart, the first and the last such time."""
    ends = panel.starts + panel.lengths - 1
    at = (int(ends.argmin()), int(ends.argmax()))
    times = [str(panel.schema.clock.text(panel.times(i, int(panel.lengths[i]) - 1, 1))[0]) for i in at]
    return times[0] if times[0] == times[1] else f"{times[0]} to {times[1]}, of {panel.n_series:,} series"


def draw(spec: Spec) -> str:
    """The graph as text: a line a block, what it reads, its weights and state."""
    rows: list[tuple[str, ...]] = [(port.name, f"input, {port.shape}", str(port.size), "", "", "") for port in spec.inputs]
    rows += [_drawn(block) for block in spec.blocks]
    own = {f"{block.name}.{name}" for block in spec.blocks for name in block_parameters(block)}
    rows += [
        (n.split(".")[0], "table", str(s[1]), f"{size_of(s):,}", "", "") for n, s in spec.parameters().items() if n not in own
    ]
    head = ("block", "kind", "width", "weights", "state", "reads")
    table = _aligned([head, *rows], right=(2, 3, 4))
    return f"{table}\noutputs: {', '.join(spec.outputs)}; {spec.count():,} weights"


def _drawn(block: Block) -> tuple[str, ...]:
    """Name, kind, width, weights, state, inputs of one block."""
    own = {
        name: shape for name, shape in block_parameters(block).items() if weight_name(block, name).startswith(f"{block.name}.")
    }
    weights = sum(size_of(shape) for shape in own.values())
    state = sum(size_of(shape) for shape in block.state().values()) if isinstance(block, Recurrent) else 0
    kind = block.cell if isinstance(block, Recurrent) else str(getattr(block, "function", block.kind))
    width = next(
        (str(getattr(block, name)) for name in ("hidden_size", "output_size", "embedding_dim") if hasattr(block, name)), ""
    )
    table = getattr(block, "table", None)
    if table is not None:
        kind += f", table {table}"
    return (block.name, kind, width, f"{weights:,}" if weights else "", str(state) if state else "", ", ".join(block.inputs))


def _about(path: str, file: container.File, card: Mapping[str, Plain], spec: Spec, data: str) -> list[tuple[str, ...]]:
    """What else there is to know of the file, in words. data: what it holds of the training data."""
    inside = sum(array.nbytes for name, array in file.arrays.items() if not name.startswith("net"))
    seen = next(name for name in ("rows", "texts", "sentences", "tokens", "pairs") if name in card)
    made = cast("dict[str, Plain]", card["versions"])
    nets = file.header.get("members", 1)
    return [
        ("path", path),
        ("task", str(file.header["task"])),
        ("sha256", file.sha256),
        ("nets", f"{nets}, {_weights(file)}; {spec.state_size()} numbers of state for each series"),
        ("data inside", f"yes: {data}, {inside:,} bytes"),
        ("trained on", f"{card['source']}, {cast(int, card[seen]):,} {seen}, data sha256 {str(card['data_sha256'])[:16]}..."),
        ("training", f"seed {card['seed']}, {card['steps']} steps" + (", interrupted" if card["interrupted"] else "")),
        ("made with", ", ".join(f"{name} {version}" for name, version in made.items())),
    ]


def _weights(file: container.File) -> str:
    """What the weights take; of 8 bits with their scales, exponents and biases."""
    own = {name: array for name, array in file.arrays.items() if name.startswith("net")}
    taken = sum(array.nbytes for array in own.values())
    if not any(array.dtype == np.int8 for array in own.values()):
        return f"{taken:,} bytes of weights"
    count = sum(array.size for name, array in own.items() if not name.endswith(BESIDE))
    return f"{taken:,} bytes of weights in 8 bits ({taken / count:.2f} bytes a weight, scales and biases with them)"


def _aligned(rows: list[tuple[str, ...]], right: tuple[int, ...] = ()) -> str:
    """Rows as a table with a margin; the columns in `right` are flush right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    cells = [
        [text.rjust(w) if i in right else text.ljust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))]
        for row in rows
    ]
    return "\n".join(("  " + "  ".join(row)).rstrip() for row in cells)
