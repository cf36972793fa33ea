"""Hostile models and checkpoints: sound containers whose parts lie. Built from the corpus, each with one thing altered and a
digest that is right again. In: nothing. Out: bytes, and what is said.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.fuzz.draft import Array, Draft, Seed
from tests.fuzz.museum import CODE, GGUF, POISON, SIZE, TYPES, Exhibit, within
from tests.fuzz.seeds import CORPUS

Alter = Callable[[Draft], None]


def made(name: str, *alters: Alter) -> Callable[[], bytes]:
    """The corpus' file of that name, altered."""

    def make() -> bytes:
        draft = Seed.of(name, (CORPUS / f"{name}.safetensors").read_bytes()).draft()
        for alter in alters:
            alter(draft)
        return draft.bytes()

    return make


def at(*place: object) -> Alter:
    """Set the metadata's value at a place; the last item may be a function of the old one."""
    *outer, last, value = place

    def alter(draft: Draft) -> None:
        table: object = draft.own
        for key in outer:
            table = table[key]  # type: ignore[index]
        table[last] = value(table[last]) if callable(value) else value  # type: ignore[index]

    return alter


def array(name: str, change: Callable[[Array], object]) -> Alter:
    """Replace an array by what is made of it."""

    def alter(draft: Draft) -> None:
        draft.arrays[name] = np.asarray(change(draft.arrays[name].copy()))

    return alter


def entry_of(name: str, value: object, index: int = 0) -> Alter:
    """Set one number of an array."""

    def change(own: Array) -> Array:
        own.reshape(-1)[index] = value
        return own

    return array(name, change)


def without(*names: str) -> Alter:
    """Take arrays away."""
    return lambda draft: [draft.arrays.pop(name) for name in names] and None


def added(name: str, value: Array) -> Alter:
    """One array more."""
    return lambda draft: draft.arrays.update({name: value})


def texts(prefix: str, *words: str) -> Alter:
    """Other texts in place of a list of them."""
    parts = [word.encode() for word in words]

    def alter(draft: Draft) -> None:
        draft.arrays[f"{prefix}.bytes"] = np.frombuffer(b"".join(parts), np.uint8)
        draft.arrays[f"{prefix}.offsets"] = np.cumsum([0, *map(len, parts)]).astype(np.int64)

    return alter


def block(name: str, inputs: list[str], **sizes: object) -> dict[str, object]:
    """A pointwise block of a spec."""
    return {"kind": "activation", "name": name, "inputs": inputs, "function": "relu", **sizes}


CELL = ("spec", "blocks", 2)
LOOP = "a graph that reads what it has not made: ONNX and TFLite loaders followed such edges for ever, or out of bounds"
SHAPES = "a spec that says one size and weights of another: kernels read past the end (CVE-2025-54949 and after, ExecuTorch)"
VOCABULARY = "tables beside the weights are indexed by numbers of the file, and checked by few"
ZONE = "zoneinfo looks a zone's name up as a file, and then as a module of tzdata"
STATE = "a saved state is a file like any other: CVE-2026-43629, a heap overflow in llama.cpp's restoring of one"

MODELS: tuple[Exhibit, ...] = (
    Exhibit("a checkpoint for a model", TYPES, made("checkpoint-plain"), "expected a model, got a checkpoint"),
    Exhibit("a task that is code", CODE, made("classify-words", at("task", "os.system")), "got 'os.system'"),
    Exhibit("a task that is a list", TYPES, made("classify-words", at("task", ["classify"])), "this Tidegate knows the tasks"),
    Exhibit("another task's model", TYPES, made("classify-words", at("task", "translate")), "does not fit together|spec|unknown"),
    Exhibit("32,000 tables", SIZE, within(',"task":[' + '{"":0},' * 32_000 + "0]"), "knows the tasks"),
    Exhibit("100,000 numbers", SIZE, within(',"task":[' + "0," * 100_000 + "0]"), "knows the tasks"),
    # specs
    Exhibit("a spec that is a cycle", LOOP, made("generate-letters", at(*CELL, "inputs", ["logits"])), "not stand before it"),
    Exhibit("a block that reads itself", LOOP, made("generate-letters", at(*CELL, "inputs", ["read"])), "not stand before it"),
    Exhibit("an unknown block", CODE, made("generate-letters", at(*CELL, "kind", "lambda")), "unknown kind 'lambda'"),
    Exhibit("a block without a name", LOOP, made("generate-letters", at(*CELL, "name", "")), "a name is lower-case letters"),
    Exhibit("two blocks of one name", LOOP, made("generate-letters", at(*CELL, "name", "embedded")), "stands twice"),
    Exhibit("a port of another size", SHAPES, made("generate-letters", at(*CELL, "input_size", 7)), "expected 7 channels"),
    Exhibit("a hidden size of 2^40", GGUF, made("generate-letters", at(*CELL, "hidden_size", 1 << 40)), "hidden_size must be"),
    Exhibit("a million layers", SIZE, made("generate-letters", at(*CELL, "num_layers", 10**6)), "num_layers must be"),
    Exhibit("a dropout of 2", TYPES, made("generate-letters", at(*CELL, "dropout", 2.0)), "dropout must be"),
    Exhibit("another net than its options'", SHAPES, made("generate-letters", at(*CELL, "cell", "gru")), "does not follow from"),
    Exhibit(
        "5,000 blocks", SIZE, made("generate-letters", at("spec", "blocks", [block(f"b{k}", ["tokens"]) for k in range(5000)])),
        "expected at most 1,024 blocks",
    ),
    Exhibit(
        "1,000 blocks that read nothing known", SIZE,
        made("generate-letters", at("spec", "blocks", [block(f"b{'a' * 50}{k}", [f"{'a' * 50}{k}"]) for k in range(1000)])),
        "does not stand before it",
    ),
    Exhibit(
        "names of 200,000 letters", SIZE,
        made("generate-letters", at("spec", "blocks", [block("ab" * 100_000, ["ba" * 100_000])])), "a name is lower-case letters",
    ),
    Exhibit(
        "channels that multiply", SIZE,
        made("forecast-rich", at("spec", "blocks", [
            {"kind": "concat", "name": f"c{k}", "inputs": [f"c{k - 1}" if k else "past"] * 16} for k in range(20)
        ]), at("spec", "outputs", ["c19"])), "expected at most 1,048,576 channels",
    ),
    # options and plans
    Exhibit("an option nobody knows", CODE, made("classify-words", at("options", "eval", "1")), "unknown option"),
    Exhibit(
        "30,000 options nobody knows", SIZE, made("classify-words", at("options", {f"hidden_siz{k}": 1 for k in range(30_000)})),
        "unknown option",
    ),
    Exhibit("a cell that is a path", CODE, made("classify-words", at("options", "cell", "../x.so")), "expected one of"),
    Exhibit("an option out of range", TYPES, made("classify-words", at("options", "dropout", 1.0)), "dropout"),
    Exhibit("a size that is text", TYPES, made("classify-words", at("options", "hidden_size", "2")), "a whole number"),
    Exhibit("a size of 10^400", GGUF, made("classify-words", at("options", "hidden_size", 10**400)), "hidden_size|must be"),
    Exhibit("a horizon of 10^18", GGUF, made("forecast-rich", at("plan", "horizon", 10**18)), "horizon"),
    Exhibit("a billion nets", SIZE, made("classify-words", at("members", 10**9)), "members: expected 1 to 64"),
    Exhibit("one net more than there are", SHAPES, made("classify-words", at("members", 2)), "missing"),
    Exhibit("sample paths without end", SIZE, made("forecast-recursive", at("decoder", "paths", 10**9)), "paths"),
    Exhibit(
        "paths of a long horizon", SIZE,
        made("forecast-recursive", at("options", "paths", 10_000), at("options", "horizon", 10_000)),
        "paths: expected at most 1,000 of a horizon of 10,000",
    ),
    Exhibit("answers without end", SIZE, made("translate-dot", at("decoder", "longest", 1 << 40)), "longest: expected"),
    Exhibit("a temperature of 0", POISON, made("classify-words", at("decoder", "temperature", 0.0)), "temperature"),
    # weights
    Exhibit("weights transposed", SHAPES, made("classify-words", array("net0.logits.weight", np.transpose)), "expected shape"),
    Exhibit("a weight too few", SHAPES, made("classify-words", without("net0.logits.bias")), "missing"),
    Exhibit(
        "a weight of whole numbers", TYPES, made("classify-words", array("net0.logits.bias", lambda a: a.astype(np.int32))),
        "expected float32 in all",
    ),
    Exhibit(
        "a weight of another width", TYPES, made("forecast-rich", array("net0.context.bias", lambda a: a.astype(np.float64))),
        "float32 in all|one float type",
    ),
    Exhibit(
        "an array that nobody reads", CODE, made("classify-words", lambda d: d.arrays.update({"net0x.a": np.zeros(1)})),
        "has no such part",
    ),
    # vocabularies
    Exhibit("offsets that fall", VOCABULARY, made("classify-words", entry_of("classes.offsets", 1 << 60, 1)), "altered"),
    Exhibit(
        "offsets of texts that are floats", TYPES, made("tag-plain", array("tags.offsets", lambda a: a.astype(float))),
        "missing or altered",
    ),
    Exhibit("a token that is no UTF-8", VOCABULARY, made("classify-words", entry_of("classes.bytes", 255)), "UTF-8"),
    Exhibit("a token twice", VOCABULARY, made("classify-words", texts("vocabulary.tokens", *"aabcde")), "stands twice"),
    Exhibit("a token too many", VOCABULARY, made("classify-words", texts("vocabulary.tokens", *"abcdefg")), "does not follow"),
    Exhibit("a class alone", VOCABULARY, made("classify-words", texts("classes", "good")), "its classes are altered"),
    Exhibit("a byte pair of no token", VOCABULARY, made("classify-pairs", entry_of("vocabulary.merges", 1 << 30)), "names none"),
    Exhibit(
        "a byte pair 100,000 times", SIZE, made("classify-pairs", array("vocabulary.merges", lambda a: np.repeat(a, 100_000, 0))),
        "stands twice",
    ),
    Exhibit("5,000 tags", SIZE, made("tag-spans", texts("tags", *sorted(f"B-{k}" for k in range(5000)))), "its tags are altered"),
    Exhibit("tags of no scheme", VOCABULARY, made("tag-spans", texts("tags", "A", "B", "C", "D")), "tag|follow"),
    Exhibit("n-grams out of order", VOCABULARY, made("classify-words", array("linear.keys", lambda a: a[::-1])), "altered"),
    Exhibit("n-grams of no weight", VOCABULARY, made("classify-words", without("linear.weight")), "missing or altered"),
    # data
    Exhibit("rows beyond the data", GGUF, made("forecast-rich", entry_of("data.offsets", 10**18, 1)), "offsets"),
    Exhibit("a level beyond the levels", VOCABULARY, made("forecast-rich", entry_of("data.future.codes", 99)), "future.codes"),
    Exhibit("a time beyond all times", GGUF, made("forecast-rich", entry_of("data.starts", 1 << 62)), "starts"),
    Exhibit("a zone that climbs", ZONE, made("forecast-zoned", at("schema", "clock", "zone", "../../secret")), "time zone"),
    Exhibit("a zone that is a module", ZONE, made("forecast-zoned", at("schema", "clock", "zone", "a.b/c")), "time zone"),
    Exhibit("a zone that is not there", ZONE, made("forecast-zoned", at("schema", "clock", "zone", "No/Where")), "time zone"),
    Exhibit(
        "a format of a time of 500,000 letters", SIZE,
        made("forecast-months", at("schema", "clock", "text_format", "%Y" * 250_000)),
        "text_format: expected at most",
    ),
    Exhibit("a card of text", TYPES, made("classify-words", at("card", "good")), "lacks 'card'"),
    Exhibit("figures of text", TYPES, made("classify-words", at("card", "held_back", "table", "net", "x")), "held_back"),
)  # fmt: skip
MOMENT = "state.optimiser.exp_avg.context.weight"
CHECKPOINTS: tuple[Exhibit, ...] = (
    Exhibit("a model for a checkpoint", STATE, made("classify-words"), "not a checkpoint"),
    Exhibit("a checkpoint of another run", STATE, made("checkpoint-plain", at("run_id", "x")), "other options or other data"),
    Exhibit("a step below 0", STATE, made("checkpoint-plain", at("state", "step", -1)), "step: expected 0"),
    Exhibit("a step beyond the end", STATE, made("checkpoint-plain", at("state", "step", 10**12)), "step: expected 0"),
    Exhibit("steps of floats", TYPES, made("checkpoint-plain", at("steps", 12.0)), "steps: expected 1"),
    Exhibit("a loss of 10^400", GGUF, made("checkpoint-plain", at("state", "best_loss", 10**400)), "best_loss: expected"),
    Exhibit("done, and nothing to show", STATE, made("checkpoint-plain", at("state", "done", True)), "where its phase says"),
    Exhibit("64 finished nets", STATE, made("checkpoint-plain", at("done", lambda own: own * 64)), "fewer than 2 nets"),
    Exhibit("a generator of another kind", CODE, made("checkpoint-plain", at("state", "rng", "bit_generator", "os")), "this run"),
    Exhibit("a generator without a state", TYPES, made("checkpoint-plain", at("state", "rng", None)), "does not belong"),
    Exhibit("moments too short", STATE, made("checkpoint-plain", array(MOMENT, lambda a: a[:1])), "its moments of"),
    Exhibit("moments of doubles", STATE, made("checkpoint-plain", array(MOMENT, lambda a: a.astype(float))), "its moments of"),
    Exhibit("torch's generator cut short", STATE, made("checkpoint-plain", array("state.dropout_rng", lambda a: a[:9])), "RNG"),
    Exhibit(
        "weights of another net", SHAPES, made("checkpoint-plain", array("state.weights.context.bias", lambda a: a[:1])), "shape",
    ),
    Exhibit(
        "a part that no run has", STATE, made("checkpoint-plain", lambda d: d.arrays.update({"state.x": np.zeros(1)})),
        "no such part",
    ),
    Exhibit(
        "a state of other rows", STATE,
        made("checkpoint-carried", array("state.carried.encoder.h", lambda a: a[:, :1])), "carried|its place",
    ),
    Exhibit(
        "a place beyond the data", STATE, made("checkpoint-carried", at("state", "cursor", lambda own: [[10**9, 0]] * len(own))),
        "place in the data",
    ),
)  # fmt: skip
