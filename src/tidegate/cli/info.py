"""`tidegate info MODEL`: what is in a model file: the spec drawn as text, sizes, the card, and whether data is inside."""

from __future__ import annotations

import argparse
import json
from typing import cast

from tidegate import format as container
from tidegate.config import Plain
from tidegate.cli.common import forecaster
from tidegate.models.forecast_answers import notes
from tidegate.models.forecast_figures import figures_text
from tidegate.spec import Recurrent, Spec, block_parameters, size_of, spec_from_plain

EXAMPLE = """example:
  tidegate info weather.safetensors
  tidegate info weather.safetensors --json | python -m json.tool"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `info`."""
    parser.add_argument("model", help="a file written by `tidegate fit`")
    parser.add_argument("--json", action="store_true", help="the whole header as JSON")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    file = container.read(args.model)
    if args.json:
        print(json.dumps({**file.header, "sha256": file.sha256}, indent=2))
        return 0
    model = forecaster(args.model)
    spec = spec_from_plain(file.header["spec"])
    print(f"{args.model}: task {file.header['task']}, sha256 {file.sha256[:16]}...")
    print(f"{model!r}\n")
    print(draw(spec))
    print(f"\nstate of one series: {spec.state_size()} floats; nets in the file: {file.header['members']}")
    inside = sum(a.nbytes for n, a in file.arrays.items() if n.startswith("data."))
    print(f"data inside: yes, the tails of {model.card['series']} training series ({inside:,} bytes); weights {_bytes(file):,} bytes\n")
    print(figures_text(model.card))
    for line in notes(model.card):
        print(f"- {line}")
    made = cast("dict[str, Plain]", model.card["versions"])
    print(f"seed {model.card['seed']}, {model.card['steps']} steps, data sha256 {str(model.card['data_sha256'])[:16]}..., " + ", ".join(f"{k} {v}" for k, v in made.items()))
    return 0


def draw(spec: Spec) -> str:
    """The graph as text: a line a block, what it reads, its weights and state."""
    rows = [(port.name, f"input {port.shape}, {port.size}", "", "") for port in spec.inputs]
    for block in spec.blocks:
        weights = sum(size_of(s) for s in block_parameters(block).values())
        state = sum(size_of(s) for s in block.state().values()) if isinstance(block, Recurrent) else 0
        said = block.cell if isinstance(block, Recurrent) else block.kind
        rows.append((block.name, said, "<- " + ", ".join(block.inputs), (f"{weights:,} weights" if weights else "") + (f", {state} state" if state else "")))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, f"outputs: {', '.join(spec.outputs)}; {spec.count():,} weights"])


def _bytes(file: container.File) -> int:
    return sum(a.nbytes for n, a in file.arrays.items() if n.startswith("net"))
