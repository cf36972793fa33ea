"""What stands behind exported nets, twice: as ONNX operators, and as the arithmetic that answers in Python, for the proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tidegate.data.vocabulary import UNKNOWN
from tidegate.decode.labels import probabilities
from tidegate.decode.sampling import Sampling, distribution
from tidegate.export.onnx import Arrays, Head
from tidegate.export.onnx_sheet import Sheet

NEVER = -1e30  # a logit that exp makes 0
LEAST, MOST = 0.5, 2.0  # temperatures of the golden vectors


def class_head(output: str, classes: Sequence[str], temperature: float, names: tuple[str, str]) -> Head:
    """Logits (B, K) of every net -> the mean of their probabilities, and the likeliest class as text.

    Args:  output: of the nets. names: of the outputs (B, K) and (B,).
    """

    def write(sheet: Sheet, nets: Sequence[Mapping[str, str]]) -> None:
        each = [_softmax(sheet, sheet.op("Div", net[output], sheet.number(temperature))) for net in nets]
        mean = _mean(sheet, each)
        best = sheet.op("ArgMax", mean, also={"axis": -1, "keepdims": 0})
        table = sheet.array(f"{names[1]}_names", np.array(classes, object))
        sheet.give_out(names[0], mean, "float32", ("batch", len(classes)))
        sheet.give_out(names[1], sheet.op("Gather", table, best), "string", ("batch",))

    def expected(nets: Sequence[Arrays], inputs: Arrays) -> Arrays:
        found = probabilities([np.asarray(net[output], np.float64) for net in nets], temperature)
        return {names[0]: found, names[1]: np.array(classes, object)[found.argmax(-1)]}

    return Head(write, expected)


def score_head(output: str, size: int, labels: Head | None) -> Head:
    """Scores (B, T, size) of every net -> their mean `scores`; and what another head makes of the sentences."""

    def write(sheet: Sheet, nets: Sequence[Mapping[str, str]]) -> None:
        sheet.give_out("scores", _mean(sheet, [net[output] for net in nets]), "float32", ("batch", "scores_steps", size))
        if labels is not None:
            labels.write(sheet, nets)

    def expected(nets: Sequence[Arrays], inputs: Arrays) -> Arrays:
        mean = np.asarray(sum(np.asarray(net[output], np.float64) for net in nets) / len(nets))
        return {"scores": mean, **(labels.expected(nets, inputs) if labels else {})}

    return Head(write, expected)


def next_code_head() -> Head:
    """Logits (B, T, V) -> `probabilities` of the next code under the input `temperature` (1,), never of the unknown."""

    def write(sheet: Sheet, nets: Sequence[Mapping[str, str]]) -> None:
        logits = _without_unknown(sheet, nets[0]["logits"])
        found = _softmax(sheet, sheet.op("Div", logits, "temperature"))
        sheet.give_out("probabilities", found, "float32", ("batch", "logits_steps", "codes"))

    def expected(nets: Sequence[Arrays], inputs: Arrays) -> Arrays:
        logits = np.asarray(nets[0]["logits"])
        forbidden = np.arange(logits.shape[-1]) == UNKNOWN
        how = Sampling(temperature=float(np.asarray(inputs["temperature"], np.float64)[0]))
        rows = distribution(logits.reshape(-1, logits.shape[-1]), None, how, forbidden)
        return {"probabilities": rows.reshape(logits.shape)}

    return Head(write, expected, {"temperature": ((1,), lambda rng, rows: rng.uniform(LEAST, MOST, 1).astype(np.float32))})


def translation_head(parts: Sequence[str]) -> Head:
    """Logits (B, U, V) of every decoder -> `log_probabilities`, of the mean of the nets, never of the unknown; and `next_start`.

    parts: of the state, which `next_start` (B, S) of each net holds as its input `start` does.
    """

    def write(sheet: Sheet, nets: Sequence[Mapping[str, str]]) -> None:
        each = [sheet.op("LogSoftmax", _without_unknown(sheet, net["logits"]), also={"axis": -1}) for net in nets]
        if len(each) > 1:
            held = [sheet.op("Unsqueeze", one, sheet.ints(0)) for one in each]
            total = sheet.op("ReduceLogSumExp", sheet.op("Concat", *held, also={"axis": 0}), sheet.ints(0), also={"keepdims": 0})
            each = [sheet.op("Sub", total, sheet.number(float(np.log(len(nets)))))]
        sheet.give_out("log_probabilities", each[0], "float32", ("batch", "logits_steps", "codes"))
        for k, net in enumerate(nets):
            rows = [sheet.op("Transpose", net[f"next.{part}"], also={"perm": (1, 0, 2)}) for part in parts]
            flat = [sheet.op("Flatten", row) for row in rows]
            whole = flat[0] if len(flat) == 1 else sheet.op("Concat", *flat, also={"axis": 1})
            sheet.give_out(_next_start(k, len(nets)), whole, "float32", ("batch", "start_size"))

    def expected(nets: Sequence[Arrays], inputs: Arrays) -> Arrays:
        each = [np.array(net["logits"], np.float64) for net in nets]
        for one in each:
            one[..., UNKNOWN] = NEVER
            one -= one.max(-1, keepdims=True)
            one -= np.log(np.exp(one).sum(-1, keepdims=True))
        found = {"log_probabilities": np.logaddexp.reduce(each) - np.log(len(each))}
        for k, net in enumerate(nets):
            rows = [np.swapaxes(np.asarray(net[f"next.{part}"]), 0, 1).reshape(len(each[0]), -1) for part in parts]
            found[_next_start(k, len(nets))] = np.concatenate(rows, 1)
        return found

    return Head(write, expected)


def _next_start(net: int, nets: int) -> str:
    return f"net{net}.next_start" if nets > 1 else "next_start"


def _softmax(sheet: Sheet, x: str) -> str:
    return sheet.op("Softmax", x, also={"axis": -1})


def _mean(sheet: Sheet, each: Sequence[str]) -> str:
    return each[0] if len(each) == 1 else sheet.op("Mean", *each)


def _without_unknown(sheet: Sheet, logits: str) -> str:
    """(..., V) with NEVER at code 0."""
    size = sheet.op("Squeeze", sheet.op("Shape", logits, also={"start": -1}), sheet.ints(0))
    place = sheet.op("Range", sheet.integer(0), size, sheet.integer(1))
    known = sheet.op("Greater", place, sheet.integer(UNKNOWN))
    return sheet.op("Where", known, logits, sheet.number(NEVER))


__all__ = ["class_head", "next_code_head", "score_head", "translation_head"]
