"""Headers of int8 nets: whole numbers alone, every one the model's, on every compiler and board that is here."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.export.specs import bare, classifier, predictor, targets, tied
from tidegate.errors import ExportError, TaskError
from tidegate.export.c import Header, header, prove
from tidegate.export.c.golden import golden_whole
from tidegate.export.c.prove import compared
from tidegate.export.deployed import Deployed
from tidegate.runtime import Predictor
from tidegate.runtime.calibrate import ranges
from tidegate.runtime.int8 import quantized
from tidegate.runtime.stepping import Plan
from tidegate.spec import Attend, Linear, Norm, Pool, Recurrent, Spec

EDGE = targets()
ROOT = Path(__file__).resolve().parents[2]
LONGEST = 500
SPECS = {
    "last": classifier("gru", 32, "last"),
    "mean": classifier("lstm", 8, "mean", codes=400),
    "max": classifier("rnn_tanh", 17, "max"),
    "tied": tied(),
    "tied_gru": tied("gru", codes=300, size=5),
    "numbers": bare("lstm", 3, 9, 2),
    "numbers_gru": bare("gru", 1, 20),
}
WAYS = {
    "plain": ("-O2",),
    "native": ("-O3", "-march=native"),
    "watched": ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover"),
}
BUILDS = [
    *(("gcc", "-std=c99", way) for way in WAYS),
    *(("clang", "-std=c99", way) for way in ("plain", "native")),
    *((compiler, "-std=c++17", "native") for compiler in ("g++", "clang++")),
]


def int8(spec: Spec, seed: int = 0, scale: float = 0.4) -> Predictor:
    weights = predictor(spec, seed, scale).weights
    return Predictor(spec, quantized(spec, weights, ranges(spec, weights, {"read": 2.0})))


def deployed(name: str, **more: object) -> Deployed:
    task = "generate" if name.startswith("tied") else "net" if name.startswith("numbers") else "classify"
    classes = tuple("abcde") if task == "classify" else ()
    longest = LONGEST if task == "classify" else None
    return Deployed(net=int8(SPECS[name]), task=task, classes=classes, longest=longest, **more)


HEADERS = {name: header(deployed(name), f"m_{name}") for name in SPECS}


@pytest.mark.parametrize(("compiler", "standard", "way"), BUILDS, ids=[f"{b[0]}-{b[2]}" for b in BUILDS])
@pytest.mark.parametrize("name", SPECS)
def test_every_golden_number_is_the_models(name: str, compiler: str, standard: str, way: str, tmp_path: Path) -> None:
    if reason := EDGE.missing(compiler):
        pytest.skip(reason)
    made = HEADERS[name]
    assert compared(made, EDGE.host(made, tmp_path, compiler, standard, *WAYS[way]), 0.0) == 0.0


@pytest.mark.parametrize("optimise", ["-Os", "-O3"])
@pytest.mark.parametrize("board", EDGE.BOARDS)
@pytest.mark.parametrize("name", ["last", "mean", "tied", "numbers"])
def test_every_golden_number_on_a_cortex_m(name: str, board: str, optimise: str, tmp_path: Path) -> None:
    if reason := EDGE.missing(EDGE.ARM, EDGE.QEMU):
        pytest.skip(reason)
    made = HEADERS[name]
    assert compared(made, EDGE.cortex_m(made, tmp_path, board, "-std=c99", optimise), 0.0) == 0.0


@pytest.mark.parametrize("name", ["last", "mean", "tied"])
def test_every_golden_number_as_web_assembly(name: str, tmp_path: Path) -> None:
    if reason := EDGE.missing("clang", "wasm-ld", "node"):
        pytest.skip(reason)
    made = HEADERS[name]
    assert compared(made, EDGE.wasm(made, tmp_path, "-std=c99", "-Os"), 0.0) == 0.0


class Library:
    """A header as a shared library, its state and its answer."""

    def __init__(self, made: Header, folder: Path) -> None:
        n = made.name
        given, first = ("int given", "1") if made.vectors.inputs.ndim == 1 else ("const int16_t *given", "0")
        (folder / f"{n}.h").write_text(made.text, encoding="utf-8")
        body = (
            f'#include "{n}.h"\nstatic {n}_state s;\nstatic {n}_answer a;\nvoid *answer(void) {{ return &a; }}\n'
            f"void *state(void) {{ return &s; }}\nint sizes(int k) {{ return k ? (int)sizeof s : (int)sizeof a; }}\n"
            f"int init(void) {{ return {n}_init(&s); }}\nint no_init(void) {{ return {n}_init(0); }}\n"
            f"int step({given}) {{ return {n}_step(&s, given, &a); }}\n"
            f"int no_step(int which) {{ return {n}_step(which ? &s : 0, {first}, which ? 0 : &a); }}\n"
        )
        (folder / "library.c").write_text(body, encoding="utf-8")
        subprocess.run(["gcc", "-std=c99", "-O2", "-shared", "-fPIC", "library.c", "-o", "library.so"], cwd=folder, check=True)
        self.own = ctypes.CDLL(str(folder / "library.so"))
        self.own.answer.restype = self.own.state.restype = ctypes.c_void_p

    def held(self) -> tuple[bytes, bytes]:
        return (
            ctypes.string_at(self.own.state(), self.own.sizes(1)),
            ctypes.string_at(self.own.answer(), self.own.sizes(0)),
        )

    def answer(self) -> np.ndarray:
        return np.frombuffer(self.held()[1], np.int32)


@pytest.mark.skipif(EDGE.missing("gcc") is not None, reason="not installed: gcc")
@pytest.mark.parametrize("scale", [0.1, 0.4, 3.0])
@pytest.mark.parametrize("name", [name for name in SPECS if not name.startswith("numbers")])
def test_hundreds_of_steps_are_those_of_a_stream(name: str, scale: float, tmp_path: Path) -> None:
    net = int8(SPECS[name], 7, scale)
    made = header(replace(deployed(name), net=net), "m")
    own, plan = Library(made, tmp_path), Plan(net)
    unit = 2.0 ** int(re.search(r"UNIT_LOGITS (-?\d+)", made.text)[1])
    for seed in (1, 2):
        assert own.own.init() == 0
        push = plan.bind(plan.start())
        for code in np.random.default_rng(seed).integers(0, net.spec.blocks[0].num_embeddings, LONGEST).tolist():
            assert own.own.step(code) == 0
            wanted = push({"tokens": (code,)})["logits"].astype(np.float64) * unit
            best, *logits = own.answer().tolist()
            assert logits == wanted.tolist()
            assert best == (1 + wanted[1:].argmax() if name.startswith("tied") else wanted.argmax())


@pytest.mark.skipif(EDGE.missing("gcc") is not None, reason="not installed: gcc")
@pytest.mark.parametrize("name", ["numbers", "numbers_gru"])
def test_numbers_come_in_whole_units(name: str, tmp_path: Path) -> None:
    made, plan = HEADERS[name], Plan(deployed(name).net)
    own = Library(made, tmp_path)
    inputs, exponent = (int(re.search(rf"m_{name}_{what} (-?\d+)", made.text)[1]) for what in ("INPUTS", "UNIT_X"))
    own.own.init()
    push = plan.bind(plan.start())
    for row in np.random.default_rng(3).integers(-8191, 8192, (LONGEST, inputs)).astype(np.int16):
        assert own.own.step(row.ctypes.data_as(ctypes.c_void_p)) == 0
        wanted = push({"steps": (row * 2.0**-exponent).astype(np.float32)})["read"].astype(np.float64) * 2.0**16
        assert own.answer().tolist() == wanted.tolist()
    before = own.held()
    for bad in (8192, -8192, -32768):
        row = np.zeros(inputs, np.int16)
        row[-1] = bad
        assert own.own.step(row.ctypes.data_as(ctypes.c_void_p)) == -3
    assert own.held() == before


@pytest.mark.skipif(EDGE.missing("gcc") is not None, reason="not installed: gcc")
def test_what_is_wrong_leaves_state_and_answer_untouched(tmp_path: Path) -> None:
    own = Library(HEADERS["mean"], tmp_path)
    assert (own.own.no_init(), own.own.no_step(0), own.own.no_step(1)) == (-1, -1, -1)
    own.own.init()
    for _ in range(LONGEST):
        assert own.own.step(3) == 0
        before = own.held()
        assert [own.own.step(code) for code in (-1, 400, 2**31 - 1, -(2**31))] in ([-2] * 4, [-2, -2, -2, -2])
        assert own.held() == before
    assert own.own.step(3) == -4
    assert own.held() == before


def test_the_cells_are_pasted_as_they_stand() -> None:
    core = (ROOT / "csrc" / "fixed.h").read_text(encoding="utf-8")
    own = (ROOT / "src" / "tidegate" / "export" / "c" / "fixed.h").read_text(encoding="utf-8")
    assert own == core
    assert core in HEADERS["last"].text


@pytest.mark.parametrize("optimise", ["-Os", "-O3"])
def test_a_small_device_runs_it_without_a_float(optimise: str, tmp_path: Path) -> None:
    """A Cortex-M0 has no floating-point unit and calls a function for each operation: none is called, nor libc's."""
    if reason := EDGE.missing(EDGE.ARM):
        pytest.skip(reason)
    for name, made in HEADERS.items():
        (tmp_path / f"m_{name}.h").write_text(made.text, encoding="utf-8")
    calls = " + ".join(f"m_{name}_selftest()" for name in SPECS)
    source = "".join(f'#include "m_{name}.h"\n' for name in SPECS) + f"int use(void);\nint use(void) {{ return {calls}; }}\n"
    (tmp_path / "use.c").write_text(source, encoding="utf-8")
    flags = ["-mcpu=cortex-m0", "-mthumb", "-std=c99", optimise, *EDGE.WARNINGS]
    subprocess.run([EDGE.ARM, *flags, "-c", "use.c", "-o", "use.o"], cwd=tmp_path, check=True)
    said = subprocess.run(["nm", "-u", "use.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    called = set(said.split()) - {"U"}
    assert called <= {"__aeabi_lasr", "__aeabi_ldivmod", "__aeabi_llsl", "__aeabi_lmul", "__aeabi_idiv"}, called


@pytest.mark.parametrize("board", EDGE.BOARDS)
def test_its_size_is_its_budget(board: str, tmp_path: Path) -> None:
    if reason := EDGE.missing(EDGE.ARM, EDGE.ARM_SIZE):
        pytest.skip(reason)
    made = HEADERS["last"]
    sizes = EDGE.cortex_m_sizes(made, tmp_path, board, "-std=c99", "-Os")
    assert 0 < sizes["text"] <= 4 << 10
    assert made.flash - 64 <= sizes["rodata"] <= made.flash + 64  # the names of the classes are not used
    assert sizes["data"] == 0
    assert made.ram <= sizes["bss"] <= made.ram + 64  # and the answer


def test_a_header_that_differs_is_not_written() -> None:
    if reason := EDGE.missing("gcc"):
        pytest.skip(reason)
    made = HEADERS["last"]
    assert prove(made).worst == 0.0
    wrong = replace(made, text=made.text.replace("+ TG_WHOLE(64)) >> 7", "+ TG_WHOLE(63)) >> 7"))
    assert wrong.text != made.text
    with pytest.raises(ExportError, match="nothing was written"):
        prove(wrong)


def test_what_is_not_done_in_whole_numbers_is_refused() -> None:
    base = SPECS["last"]
    embed, drop, read, _, out = base.blocks
    normed = replace(
        base, blocks=(embed, drop, read, Norm(name="normed", inputs=("read",), size=32),
                      Pool(name="pooled", inputs=("normed",), how="max"), out),
    )  # fmt: skip
    scores = Linear(name="scores", inputs=("read",), input_size=32, output_size=1)
    attended = replace(base, blocks=(embed, drop, read, scores, Attend(name="pooled", inputs=("scores", "read")), out))
    both = replace(read, bidirectional=True) if isinstance(read, Recurrent) else read
    sided = replace(base, blocks=(embed, drop, both, *base.blocks[3:4], replace(out, input_size=64)))
    for spec, said in ((normed, "'normed'"), (attended, "'pooled'"), (sided, "reads the future")):
        with pytest.raises(TaskError, match=said):
            header(Deployed(net=int8(spec), task="classify", classes=tuple("abcde"), longest=9), "m")
    with pytest.raises(TaskError, match="a mean of more than"):
        header(replace(deployed("mean"), longest=40_000), "m")


def test_golden_codes_are_those_of_every_beginning() -> None:
    codes, said, states = golden_whole(deployed("mean"))
    assert len(said) == len(codes) == len(states) - 1
    net = deployed("mean").net
    assert (net.run({"tokens": codes[None, :, None]}).outputs["logits"][0] == said[-1]).all()


def test_names_that_no_string_of_c_holds_are_refused() -> None:
    for name in ("x" * 4096, "a\0b"):
        with pytest.raises(TaskError, match="a name in a header"):
            header(replace(deployed("last"), classes=("a", "b", "c", "d", name)), "m")
