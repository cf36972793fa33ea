"""Exported C headers: every cell and block against the native path, on every compiler that is here, in C99 and C++17."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.export.specs import bare, classifier, everything, predictor, targets, tied
from tidegate import native
from tidegate.errors import ConfigError, ExportError, TaskError
from tidegate.export.c import header, prove
from tidegate.export.c.blocks import translate
from tidegate.export.c.golden import golden
from tidegate.export.c.prove import FUSED, allowed, compared, difference, expected
from tidegate.export.c.text import number, shared, string
from tidegate.export.deployed import Deployed
from tidegate.spec import Activation, Add, Attend, Linear, Pool, Port, Recurrent, Spec

EDGE = targets()
ROOT = Path(__file__).resolve().parents[2]


def nasty() -> Spec:
    """Blocks that are called like what a step's C has of its own, or like words of C and C++."""
    blocks = (
        Linear(name="g", inputs=("x",), input_size=3, output_size=4),
        Activation(name="s", inputs=("g",), function="tanh"),
        Recurrent(name="int", inputs=("s",), cell="gru", input_size=4, hidden_size=4),
        Pool(name="steps", inputs=("int",), how="mean"),
        Linear(name="class", inputs=("steps",), input_size=4, output_size=2),
        Linear(name="best", inputs=("int",), input_size=4, output_size=2),
        Add(name="before", inputs=("class", "best")),
    )
    return Spec(inputs=(Port(name="x", size=3),), blocks=blocks, outputs=("class", "best", "before"))


SPECS = {
    "rnn": bare("rnn_tanh", 3, 5),
    "relu": bare("rnn_relu", 4, 6),
    "lstm": bare("lstm", 7, 13),
    "gru": bare("gru", 16, 32, 2),
    "last": classifier("gru", 32, "last"),
    "mean": classifier("lstm", 8, "mean", codes=400),
    "max": classifier("rnn_tanh", 17, "max"),
    "tied": tied(),
    "everything": everything(),
    "nasty": nasty(),
}
WAYS = {
    "plain": ("-O2",),
    "scalar": ("-O1", "-DTG_LANES=1"),
    "wide": ("-O3", "-mavx2", "-mfma"),
    "native": ("-O3", "-march=native"),
    "watched": ("-O1", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover"),
}
HARD = ("everything", "nasty", "mean", "tied")  # of blocks and names; the others differ in sizes and cells
BUILDS = [
    *(("gcc", "-std=c99", way, tuple(SPECS)) for way in ("plain", "native")),
    *(("gcc", "-std=c99", way, HARD) for way in ("scalar", "wide", "watched")),
    *(("clang", "-std=c99", way, HARD) for way in ("plain", "native", "scalar")),
    *((compiler, "-std=c++17", "native", HARD) for compiler in ("g++", "clang++")),
]


def exported(name: str, **more: object):
    return header(Deployed(net=predictor(SPECS[name]), **more), f"m_{name}")


@pytest.mark.parametrize(("compiler", "standard", "way", "names"), BUILDS, ids=[f"{b[0]}-{b[2]}" for b in BUILDS])
def test_every_step_agrees_with_the_native_path(
    compiler: str, standard: str, way: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    if reason := EDGE.missing(compiler):
        pytest.skip(reason)
    if way == "wide" and not re.search(r"\bavx2\b", _processor()):
        pytest.skip("the processor has no AVX2")
    for name in names:
        made = exported(name)
        assert compared(made, EDGE.host(made, tmp_path, compiler, standard, *WAYS[way])) <= 1e-6, name


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@pytest.mark.parametrize("seed", range(4))
def test_any_size_agrees(seed: int, tmp_path: Path) -> None:
    """Sizes that fill no vector, one unit, many layers, with vectors of every width and without."""
    if reason := EDGE.missing("gcc"):
        pytest.skip(reason)
    rng = np.random.default_rng(seed)
    cell = str(rng.choice(["rnn_tanh", "lstm", "gru"]))
    hidden, width, codes, classes = (int(n) for n in rng.integers(1, 36, 4))
    pool = str(rng.choice(["last", "mean", "max"]))
    spec = classifier(cell, hidden, pool, codes=codes + 1, embedding=width, classes=classes)
    if seed % 2:
        spec = bare(cell, width, hidden, int(rng.integers(1, 4)))
    made = header(Deployed(net=predictor(spec, seed)), "m")
    widths = [("-DTG_LANES=1",), ()]
    processor = _processor()
    widths += [("-mavx2", "-mfma")] if "avx2" in processor else []
    widths += [("-mavx512f", "-mfma")] if "avx512f" in processor else []
    for flags in widths:  # the native path has a fused multiply-add where the processor has: the very same bits
        worst = compared(made, EDGE.host(made, tmp_path, "gcc", "-std=c99", "-O1", *flags), allowed(made))
        assert worst == 0.0 or "-mfma" not in flags or native.isa() not in FUSED, flags


def test_the_golden_steps_are_what_the_net_gives() -> None:
    net = predictor(SPECS["everything"])
    vectors = golden(Deployed(net=net))
    assert len(np.unique(vectors.inputs)) == vectors.inputs.size
    whole = net.run({"x": vectors.inputs[None]})
    np.testing.assert_array_equal(vectors.outputs[:, 3:], whole.outputs["sum"][0])
    np.testing.assert_array_equal(vectors.outputs[-1, :3], whole.outputs["out"][0, -1])
    np.testing.assert_array_equal(vectors.states[-1], whole.state[0])
    assert not vectors.states[0].any()


@pytest.mark.parametrize("fault", ["weight", "gate", "bias"])
def test_a_header_that_is_wrong_is_not_proved(fault: str) -> None:
    """A weight off by 1 %, two gates exchanged, a bias forgotten: each is found."""
    if reason := EDGE.missing("cc"):
        pytest.skip(reason)
    made = exported("gru")
    array = {"weight": "m_gru_w_read_hh1", "gate": "m_gru_w_read_hh0", "bias": "m_gru_w_read_u0"}[fault]
    found = re.search(rf"(static const float {array}\[.*?\{{\n)(.*?)(\}};)", made.text, re.DOTALL)
    assert found is not None
    numbers = [float(n.strip("f")) for n in re.findall(r"[-\d.e]+f", found[2])]
    changed = {
        "weight": [numbers[0] + 0.01, *numbers[1:]],
        "gate": np.array(numbers).reshape(32, 3, 32)[:, [1, 0, 2]].reshape(-1).tolist() if fault == "gate" else [],
        "bias": [0.0] * len(numbers),
    }[fault]
    text = made.text.replace(found[0], found[1] + ", ".join(map(number, changed)) + found[3])
    with pytest.raises(ExportError, match=r"differs by|exit status|self-test"):
        prove(replace(made, text=text))


def test_differences_are_told() -> None:
    wanted = np.array([[1.0, 2.0], [100.0, 0.5]], np.float32)
    assert difference(wanted, wanted) == 0.0
    assert difference(wanted * np.float32(1 + 5e-7), wanted) < 1e-6
    for wrong in (wanted + np.float32(1e-5), np.full_like(wanted, np.nan)):
        with pytest.raises(ExportError, match="step 1 differs"):
            difference(wrong, wanted)
    with pytest.raises(ExportError, match="expected"):
        difference(wanted[:1], wanted)


def test_a_chaotic_net_is_measured_by_its_own_rounding() -> None:
    """Weights so large that a rounding grows from step to step: fewer golden steps, and a self-test that does not cry wolf."""
    made = header(Deployed(net=predictor(bare("rnn_tanh", 20, 30, 3), scale=3.0)), "m")
    calm = exported("gru")
    assert made.vectors.drift > 100 * calm.vectors.drift
    assert len(made.vectors.outputs) < len(calm.vectors.outputs) == 16
    assert allowed(calm) <= 2e-6
    if EDGE.missing("cc") is None:
        assert prove(made).worst <= allowed(made)


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    proof = prove(exported("rnn"))
    assert proof.compiler is None
    assert "not proved: no C compiler was found" in str(proof)


def test_a_compiler_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(ExportError, match="nothing was written"):
        prove(exported("rnn"))


def test_the_cells_are_pasted_as_they_stand() -> None:
    core = (ROOT / "csrc" / "cell.h").read_text(encoding="utf-8")
    own = (ROOT / "src" / "tidegate" / "export" / "c" / "cell.h").read_text(encoding="utf-8")
    assert own == core
    assert core in shared()
    assert core in exported("rnn").text


@pytest.mark.parametrize("optimise", ["-Os", "-O2", "-O3"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_nothing_of_libc_is_called(compiler: str, optimise: str, tmp_path: Path) -> None:
    if reason := EDGE.missing(compiler, "nm"):
        pytest.skip(reason)
    for name in SPECS:
        (tmp_path / f"m_{name}.h").write_text(exported(name).text, encoding="utf-8")
    calls = " + ".join(f"m_{name}_selftest()" for name in SPECS)
    source = "".join(f'#include "m_{name}.h"\n' for name in SPECS) + f"int use(void);\nint use(void) {{ return {calls}; }}\n"
    (tmp_path / "use.c").write_text(source, encoding="utf-8")
    subprocess.run([compiler, "-std=c99", optimise, *EDGE.WARNINGS, "-c", "use.c"], cwd=tmp_path, check=True)
    said = subprocess.run(["nm", "-u", "use.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert {line.split()[-1] for line in said.splitlines()} <= {"memcpy"}


def test_two_headers_stand_in_one_program(tmp_path: Path) -> None:
    if reason := EDGE.missing("gcc"):
        pytest.skip(reason)
    for name in ("lstm", "mean"):
        (tmp_path / f"m_{name}.h").write_text(exported(name).text, encoding="utf-8")
    body = "".join(f'#include "m_{name}.h"\n' for name in ("lstm", "mean", "lstm"))
    body += "int main(void) { return m_lstm_selftest() + m_mean_selftest(); }\n"
    (tmp_path / "both.c").write_text(body, encoding="utf-8")
    subprocess.run(["gcc", "-std=c99", *EDGE.WARNINGS, "both.c", "-o", "both"], cwd=tmp_path, check=True)
    subprocess.run(["./both"], cwd=tmp_path, check=True)


def library(made, folder: Path) -> ctypes.CDLL:
    """A header as a shared library."""
    n = made.name
    (folder / f"{n}.h").write_text(made.text, encoding="utf-8")
    coded = made.vectors.inputs.ndim == 1
    given = "int32_t x" if coded else "const float *x"
    body = (
        f'#include "{n}.h"\nint size(void) {{ return (int)sizeof({n}_state); }}\n'
        f"int answer(void) {{ return (int)sizeof({n}_answer); }}\n"
        f"int begin(void *s) {{ return {n}_init(({n}_state *)s); }}\n"
        f"int step(void *s, {given}, void *a) {{ return {n}_step(({n}_state *)s, x, ({n}_answer *)a); }}\n"
    )
    (folder / "library.c").write_text(body, encoding="utf-8")
    subprocess.run(["gcc", "-std=c99", "-O2", "-shared", "-fPIC", "library.c", "-o", "library.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "library.so"))


@pytest.mark.parametrize("name", ["lstm", "relu", "everything"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_a_bad_number_leaves_everything_as_it_was(name: str, bad: float, tmp_path: Path) -> None:
    if name == "relu" and bad == 3e38:
        pytest.skip("numbers of this cell may grow without bound: the next test has them")
    if reason := EDGE.missing("gcc"):
        pytest.skip(reason)
    made = exported(name)
    own = library(made, tmp_path)
    state, answer = ctypes.create_string_buffer(own.size()), ctypes.create_string_buffer(own.answer())
    width = made.vectors.inputs.shape[1]
    own.begin(state)
    good = np.ascontiguousarray(made.vectors.inputs[0], np.float32)
    assert own.step(state, good.ctypes.data_as(ctypes.c_void_p), answer) == 0
    before = state.raw, answer.raw
    for place in range(width):
        x = good.copy()
        x[place] = bad
        assert own.step(state, x.ctypes.data_as(ctypes.c_void_p), answer) == -3
        assert (state.raw, answer.raw) == before
    for arguments in ((None, good.ctypes.data_as(ctypes.c_void_p), answer), (state, None, answer)):
        assert own.step(*arguments) == -1
    assert own.step(state, good.ctypes.data_as(ctypes.c_void_p), None) == -1
    assert own.begin(None) == -1
    assert (state.raw, answer.raw) == before


@pytest.mark.parametrize("coded", [False, True])
def test_a_state_that_overflows_is_put_back(coded: bool, tmp_path: Path) -> None:
    """The units of a ReLU cell grow from step to step: the step that would overflow is refused."""
    if reason := EDGE.missing("gcc"):
        pytest.skip(reason)
    spec = classifier("rnn_relu", 6, "last") if coded else SPECS["relu"]
    own = library(header(Deployed(net=predictor(spec, scale=3.0)), "m"), tmp_path)
    state, answer = ctypes.create_string_buffer(own.size()), ctypes.create_string_buffer(own.answer())
    own.begin(state)
    x = np.ones(4, np.float32)
    given = 1 if coded else x.ctypes.data_as(ctypes.c_void_p)
    taken, status = 0, 0
    while not status and taken < 1000:
        before = state.raw, answer.raw
        status = own.step(state, given, answer)
        taken += 1
    assert status == -3
    assert taken > 10
    assert (state.raw, answer.raw) == before
    assert np.isfinite(np.frombuffer(state.raw, np.float32)).all()


def test_a_bad_code_and_a_text_too_long_leave_everything_as_it_was(tmp_path: Path) -> None:
    if reason := EDGE.missing("gcc"):
        pytest.skip(reason)
    made = exported("mean", longest=3)
    assert len(made.vectors.outputs) == 3
    own = library(made, tmp_path)
    state, answer = ctypes.create_string_buffer(own.size()), ctypes.create_string_buffer(own.answer())
    own.begin(state)
    for code in (399, 0, 1):
        assert own.step(state, code, answer) == 0
    before = state.raw, answer.raw
    for code in (-1, 400, 2**31 - 1, -(2**31)):
        assert own.step(state, code, answer) == -2
    assert own.step(state, 5, answer) == -4
    assert (state.raw, answer.raw) == before


def test_large_numbers_that_fit_are_taken(tmp_path: Path) -> None:
    """Up to the stated limit every number gives finite states."""
    if reason := EDGE.missing("gcc"):
        pytest.skip(reason)
    made = exported("lstm")
    own = library(made, tmp_path)
    most = translate("m", predictor(SPECS["lstm"])).most
    assert most >= 1e29
    state, answer = ctypes.create_string_buffer(own.size()), ctypes.create_string_buffer(own.answer())
    own.begin(state)
    for sign in (1, -1, 1):
        x = np.full(7, sign * most * 0.99, np.float32)
        x[::2] *= -1
        assert own.step(state, x.ctypes.data_as(ctypes.c_void_p), answer) == 0
        assert np.isfinite(np.frombuffer(state.raw, np.float32)).all()


def spec_with(*blocks: object, outputs: tuple[str, ...] = ("read",), size: int = 3) -> Spec:
    return Spec(inputs=(Port(name="x", size=size),), blocks=blocks, outputs=outputs)  # type: ignore[arg-type]


def test_what_cannot_be_stepped_is_refused_by_name() -> None:
    both = Recurrent(name="read", inputs=("x",), cell="gru", input_size=3, hidden_size=2, bidirectional=True)
    with pytest.raises(TaskError, match=r"block 'read' is bidirectional.*bidirectional=False"):
        header(Deployed(net=predictor(spec_with(both))), "m")
    read = Recurrent(name="read", inputs=("x",), cell="gru", input_size=3, hidden_size=2)
    scores = Linear(name="scores", inputs=("read",), input_size=2, output_size=1)
    attend = Attend(name="pooled", inputs=("scores", "read"))
    with pytest.raises(TaskError, match=r"block 'pooled'.*'attend'.*pooling 'last', 'max' or 'mean'"):
        header(Deployed(net=predictor(spec_with(read, scores, attend, outputs=("pooled",)))), "m")
    pair = Spec(inputs=(Port(name="x", size=3), Port(name="y", size=3)), blocks=(read,), outputs=("read",))
    with pytest.raises(TaskError, match="one input"):
        header(Deployed(net=predictor(pair)), "m")


@pytest.mark.parametrize("name", ["", "9x", "a-b", "a" * 32, "é", "m\n", "_m"])
def test_names_are_checked(name: str) -> None:
    with pytest.raises(ConfigError, match="name: expected"):
        header(Deployed(net=predictor(SPECS["rnn"])), name)
    with pytest.raises(ConfigError, match="name: 'TG' begins the names that all headers share"):
        header(Deployed(net=predictor(SPECS["rnn"])), "TG")


@pytest.mark.parametrize("name", ["run", "int", "tidegate", "M"])
def test_any_name_can_be_given(name: str) -> None:
    if reason := EDGE.missing("cc"):
        pytest.skip(reason)
    made = header(Deployed(net=predictor(SPECS["nasty"])), name)
    assert prove(made).compiler is not None


def test_the_budget_is_what_the_arrays_hold() -> None:
    for codes, folded in ((40, False), (12, True)):
        made = header(Deployed(net=predictor(classifier("gru", 32, "last", codes=codes))), "m")
        held = re.findall(r"static const float \w+\[(\d+) \+ TG_OVER\]", made.text)
        assert made.flash == 4 * (sum(map(int, held)) - made.vectors.outputs.size)
        assert made.ram == 4 * 32
        assert f"{made.flash:,} bytes of flash" in made.text
        # 12 products of a code with the first layer take less room than 12 vectors and that layer's weights.
        assert made.products == 32 * 96 + 32 * 5 + (0 if folded else 16 * 96)


def test_numbers_and_texts_come_back() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    assert all(np.float32(number(float(v)).rstrip("f")) == v for v in values)
    assert string('a"\\?é1') == '"a\\"\\\\\\077\\303\\2511"'


def test_expected_is_outputs_beside_states() -> None:
    made = exported("last")
    assert expected(made).shape == (16, 5 + 32)
