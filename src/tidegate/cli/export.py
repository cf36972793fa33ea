"""`tidegate export MODEL --to FORM`: a trained model in another form, proved before it is written, where torch need not be."""

from __future__ import annotations

import argparse

from tidegate.cli.common import bullets, say_wrote
from tidegate.models import load
from tidegate.models.exporting import EXPORTERS

EXAMPLE = """example:
  tidegate export names.safetensors --to c -o names.h               # one C99 header, for a microcontroller
  tidegate export names.safetensors --to c --name surname -o names.h
  tidegate export weather.safetensors --to c -o weather.h           # a row in, the forecast of the whole horizon out
  tidegate export weather.safetensors --to onnx -o weather.onnx     # for ONNX Runtime, which must agree before it is written"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `export`."""
    parser.add_argument("model", help="a file written by `tidegate fit`")
    parser.add_argument(
        "--to",
        choices=sorted(EXPORTERS),
        required=True,
        help="the form: c, one C99 header, of forecasters, classifiers and language models; onnx, opset 18, of any model",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the file to write")
    parser.add_argument("--name", metavar="NAME", help="of a header: what every name in it begins with; default: the file's name")


def run(args: argparse.Namespace) -> int:
    """Write it and say what was proved and what it takes."""
    made = load(args.model).export(args.output, args.to, name=args.name)
    for path in made.paths:
        say_wrote(str(path))
    print(bullets(made.said))
    return 0
