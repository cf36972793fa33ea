"""Forecasters as C headers: every row beside what a stream gives, on every compiler that is here; calendars; what is refused."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.export.forecasters import CLOCKS, FORECASTERS, LEVELS, ROWS, forecaster, golden_rows, with_plan
from tests.export.specs import targets
from tidegate import native
from tidegate.data.times import Clock
from tidegate.errors import ExportError, TaskError
from tidegate.export.c import Header, header, prove
from tidegate.export.c.clock import ticks
from tidegate.export.c.prove import FUSED, TOLERANCE, allowed, allowed_fused, compared
from tidegate.export.c.text import number

EDGE = targets()
MADE = {name: forecaster(**options) for name, options in FORECASTERS.items()}
HEADERS = {name: made.header(f"m_{name}") for name, made in MADE.items()}
WAYS = {
    "plain": ("-O2",),
    "scalar": ("-O1", "-DTG_LANES=1"),
    "native": ("-O3", "-march=native"),
    "watched": ("-O1", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover"),
}
BUILDS = [
    ("gcc", "-std=c99", "native", tuple(FORECASTERS)),
    ("gcc", "-std=c99", "plain", ("normal", "tails")),
    ("gcc", "-std=c99", "scalar", ("running", "window")),
    ("gcc", "-std=c99", "watched", ("running", "window", "student")),
    ("clang", "-std=c99", "native", ("running", "window", "point")),
    ("clang", "-std=c99", "scalar", ("tails",)),
    ("g++", "-std=c++17", "native", ("running", "student")),
    ("clang++", "-std=c++17", "native", ("window", "normal")),
]
needs_gcc = pytest.mark.skipif(EDGE.missing("gcc") is not None, reason="not installed: gcc")


@pytest.mark.parametrize(
    ("compiler", "standard", "way", "name"),
    [(*build, name) for *build, names in BUILDS for name in names],
    ids=[f"{compiler}-{way}-{name}" for compiler, _, way, names in BUILDS for name in names],
)
def test_every_golden_row_agrees(compiler: str, standard: str, way: str, name: str, tmp_path: Path) -> None:
    if reason := EDGE.missing(compiler):
        pytest.skip(reason)
    made = HEADERS[name]
    fused = "-march=native" in WAYS[way] and native.available() and native.isa() in FUSED
    most = TOLERANCE if fused else allowed(made)
    assert compared(made, EDGE.host(made, tmp_path, compiler, standard, *WAYS[way]), most) <= most


@pytest.mark.parametrize("seed", [3, 11, 31])
def test_any_plan_agrees(seed: int, tmp_path: Path) -> None:
    """Sizes that fill no vector, segments of one row, a look-back shorter than one, any lags, levels beyond the quantiles."""
    if reason := EDGE.missing("gcc"):
        pytest.skip(reason)
    made = forecaster(**any_plan(seed)).header()
    fused = native.available() and native.isa() in FUSED
    for flags, most in (
        (("-march=native",), allowed_fused(made) if fused else allowed(made)),
        (("-DTG_LANES=1",), allowed(made)),
    ):
        assert compared(made, EDGE.host(made, tmp_path, "gcc", "-std=c99", "-O3", *flags), most) <= most


def any_plan(seed: int) -> dict[str, object]:
    rng = np.random.default_rng(seed)

    def one(*of: object) -> object:
        return of[int(rng.integers(len(of)))]

    def upto(most: int) -> int:
        return int(rng.integers(1, most))

    return {
        "scaling": one("running", "window"), "cell": one("rnn", "lstm", "gru"), "num_layers": upto(4), "hidden_size": upto(24),
        "output": one("quantile", "quantile", "gaussian", "student_t", "point"), "clock": one(*CLOCKS), "targets": upto(4),
        "horizon": upto(20), "segment": upto(9), "lookback": upto(40), "identity": bool(rng.integers(2)), "seed": seed,
        "corrected": bool(rng.integers(2)), "lower": one(None, 2.0), "quantiles": one((0.1, 0.5, 0.9), (0.4, 0.5)),
        "lags": tuple(sorted(set(rng.integers(1, 60, upto(5)).tolist()))),
    }  # fmt: skip


class Library:
    """A header as a shared library, its state and its answer."""

    def __init__(self, made: Header, folder: Path, *flags: str) -> None:
        n = made.name
        (folder / f"{n}.h").write_text(made.text, encoding="utf-8")
        clock = f"{n}_clock" in made.text
        body = (
            f'#include "{n}.h"\nstatic {n}_state s;\nstatic {n}_answer a;\n'
            "void *state(void) { return &s; }\nvoid *answer(void) { return &a; }\n"
            "int state_size(void) { return (int)sizeof s; }\nint answer_size(void) { return (int)sizeof a; }\n"
            f"int init(void) {{ return {n}_init(&s); }}\nint no_init(void) {{ return {n}_init(0); }}\n"
            f"int step(const float *x) {{ return {n}_step(&s, x, &a); }}\n"
            f"int hold(const float *x) {{ return {n}_hold(&s, x, &a); }}\n"
            f"int no_step(const float *x, int which) {{ return {n}_step(which ? &s : 0, x, which ? 0 : &a); }}\n"
        )
        if clock:
            body += (
                f"int clock_at(int64_t time) {{ return {n}_clock(&s, time); }}\nint64_t now(void) {{ return s.time; }}\n"
                f"void calendar(float *c, int64_t t) {{ {n}_calendar(c, t); }}\n"
            )
        (folder / "library.c").write_text(body, encoding="utf-8")
        flags = flags or ("-O1", "-march=native")
        subprocess.run(["gcc", "-std=c99", *flags, "-shared", "-fPIC", "library.c", "-o", "library.so"], cwd=folder, check=True)
        self.own = ctypes.CDLL(str(folder / "library.so"))
        for name in ("state", "answer"):
            getattr(self.own, name).restype = ctypes.c_void_p
        if clock:
            self.own.now.restype = ctypes.c_int64
            self.own.clock_at.argtypes = (ctypes.c_int64,)
            self.own.calendar.argtypes = (ctypes.c_void_p, ctypes.c_int64)

    def call(self, name: str, row: np.ndarray, *more: object) -> int:
        return int(getattr(self.own, name)(np.ascontiguousarray(row, np.float32).ctypes.data_as(ctypes.c_void_p), *more))

    def held(self) -> tuple[bytes, bytes]:
        """The bytes of the state and of the answer."""
        return (
            ctypes.string_at(self.own.state(), self.own.state_size()),
            ctypes.string_at(self.own.answer(), self.own.answer_size()),
        )

    def answer(self) -> np.ndarray:
        return np.frombuffer(self.held()[1], np.float32)


def said(stream_answer) -> np.ndarray:
    ends = [part[level] for level in LEVELS for part in (stream_answer.lo, stream_answer.hi) if level in part]
    return np.concatenate([part.ravel() for part in (stream_answer.forecast, *ends)])


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Library]:
    """Every header as a shared library."""
    return {name: Library(made, tmp_path_factory.mktemp(name)) for name, made in HEADERS.items()}


@needs_gcc
@pytest.mark.parametrize("name", FORECASTERS)
def test_row_by_row_it_gives_what_a_stream_gives(name: str, libraries: dict[str, Library]) -> None:
    """Rows far from 0, outliers, gaps, many times round the ring and the phases: 2e-6 of their spread and float's rounding."""
    own, made = libraries[name], MADE[name]
    rows = golden_rows(len(made.deployed.followed.targets), 100)
    for count in (100, 20):  # and once more from the start
        own.own.init()
        stream = made.stream()
        for row in rows[:count]:
            wanted = said(stream.push(row))
            whole = np.isfinite(row).all()
            assert own.call("step" if whole else "hold", row) == 0
            np.testing.assert_allclose(own.answer(), wanted, rtol=6.1e-8, atol=1e-5)


@needs_gcc
@pytest.mark.parametrize("name", ["running", "window"])
def test_many_rows_do_not_move_the_scale_away(name: str, libraries: dict[str, Library]) -> None:
    """Statistics are double: after 8,000 rows around 1e6 the answer is that of a stream that knows the last 1,000 alone."""
    made = MADE[name]
    rows = (1e6 + np.random.default_rng(0).normal(size=(8_000, len(made.deployed.followed.targets)))).astype(np.float32)
    own = libraries[name]
    own.own.init()
    for row in rows:
        own.own.step(row.ctypes.data_as(ctypes.c_void_p))
    stream = made.stream()
    stream._position += len(rows) - 1000
    for row in rows[-1000:]:
        wanted = stream.push(row)
    np.testing.assert_allclose(own.answer(), said(wanted), rtol=1e-6)


@needs_gcc
@pytest.mark.parametrize("name", ["window", "normal"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_a_bad_row_leaves_everything_as_it_was(name: str, bad: float, libraries: dict[str, Library]) -> None:
    own, made = libraries[name], MADE[name]
    count = len(made.deployed.followed.targets)
    own.own.init()
    good = golden_rows(count, 1)[0]
    assert own.call("step", good) == 0
    before = own.held()
    for place in range(count):
        row = good.copy()
        row[place] = bad
        assert own.call("step", row) == -3
        assert own.held() == before
    if np.isfinite(bad):  # is no missing value
        assert own.call("hold", row) == -3
    assert own.call("no_step", good, 0) == own.call("no_step", good, 1) == own.own.no_init() == -1
    assert own.own.step(None) == own.own.hold(None) == -1
    assert own.held() == before


@needs_gcc
@pytest.mark.parametrize("name", FORECASTERS)
def test_what_was_never_seen_has_no_forecast(name: str, libraries: dict[str, Library]) -> None:
    own, made = libraries[name], MADE[name]
    count = len(made.deployed.followed.targets)
    own.own.init()
    stream = made.stream()
    rows = golden_rows(count, 12)
    rows[:3] = np.nan
    rows[3, 1:] = np.inf  # counts as missing too
    for row in rows:
        assert own.call("hold", row) == 0
        wanted = said(stream.push(row))
        np.testing.assert_allclose(own.answer(), wanted, rtol=1e-6)
    assert np.isfinite(own.answer()).all()


@needs_gcc
def test_fast_mathematics_does_not_let_nan_in(tmp_path: Path) -> None:
    own = Library(HEADERS["running"], tmp_path, "-O3", "-ffast-math")
    own.own.init()
    assert own.call("step", np.array([20.0])) == 0
    before = own.held()
    assert own.call("step", np.array([np.nan])) == -3
    assert own.held() == before
    assert own.call("hold", np.array([np.nan])) == 0
    assert np.isfinite(own.answer()).all()


@needs_gcc
@pytest.mark.parametrize("value", [1e30, -1e30, 1e-38, 0.0, -0.0, 1e-45])
def test_any_number_that_is_taken_gives_finite_answers(value: float, libraries: dict[str, Library]) -> None:
    own = libraries["window"]
    own.own.init()
    most = float(re.search(r"tg_within\(x \+ k, ([\d.e+]+)f", HEADERS["window"].text)[1])
    for sign in (1.0, -1.0, 1.0, 0.5, -1.0, 1.0):
        row = np.full(2, np.clip(sign * value, -most, most) * 0.999, np.float32)
        assert own.call("step", row) == 0
        assert np.isfinite(own.answer()).all()


CALENDARS = ["days", "hours", "quarters", "seconds", "months", "business"]


@needs_gcc
@pytest.mark.parametrize("name", CALENDARS)
def test_a_calendar_is_that_of_the_clock(name: str, tmp_path: Path) -> None:
    """Every feature of the clock, 200 years before and after; and m_clock begins anew at a time that it is told."""
    made = forecaster(clock=name)
    clock = made.panel.schema.clock
    every = tuple(range(len(clock.calendar_names)))
    plan = replace(made.core.plan, calendar_columns=every)
    own = with_plan(made, plan)
    library = Library(own.header(), tmp_path)
    library.own.init()
    held = ticks(clock, every, own.deployed.followed.first)
    assert library.own.now() == held.first
    reach = 200 * {"months": 12, "business": 260}.get(name, 365 * 86_400 // held.step)
    places = np.random.default_rng(0).integers(-reach, reach, 3000)
    wanted = clock.calendar(own.deployed.followed.first + places)
    c = np.zeros(len(every), np.float32)
    for place, features in zip(places.tolist(), wanted, strict=True):
        library.own.calendar(c.ctypes.data_as(ctypes.c_void_p), held.first + place * held.step)
        np.testing.assert_allclose(c, features, atol=1.2e-7, rtol=0)
    time = clock.times(np.array([own.deployed.followed.first + 17]))[0]
    told = {"months": "datetime64[M]", "business": "datetime64[D]"}.get(name, "datetime64[s]")
    assert library.own.clock_at(int(time.astype(told).astype(np.int64))) == 0
    assert library.own.now() == held.first + 17 * held.step
    before = library.held()
    for far in (2**63 - 1, -(2**63), 10**12 + 1):
        assert library.own.clock_at(far) == -5
    assert library.held() == before


def test_clocks_that_a_device_cannot_follow_are_refused() -> None:
    hourly = Clock(kind="duration", step=3600 * 10**9, anchor=0, zone="Europe/Berlin")
    with pytest.raises(TaskError, match=r"Europe/Berlin.*convert the times to UTC.*calendar=False"):
        ticks(hourly, (0,), 0)
    assert ticks(replace(hourly, zone="UTC"), (0,), 5).first == 5 * 3600
    assert ticks(replace(hourly, zone="+02:00"), (0,), 5).first == 7 * 3600
    assert ticks(replace(hourly, step=24 * 3600 * 10**9), (0,), 5).first == 5 * 86_400  # days follow the wall clock
    with pytest.raises(TaskError, match="parts of a second"):
        ticks(replace(hourly, step=10**8, zone=None), (0,), 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"decode": "recursive"}, "decode='direct'"),
        ({"output": "negative_binomial"}, "output='quantile'"),
    ],
)
def test_what_a_device_cannot_do_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(TaskError, match=said):
        forecaster(**options).header()


@pytest.mark.parametrize("field", ["past_numbers", "future_levels", "static_numbers", "uneven"])
def test_covariates_and_uneven_rows_are_refused(field: str) -> None:
    made = forecaster()
    value = {"future_levels": (3,), "uneven": True}.get(field, 1)
    plan = replace(made.core.plan, **{field: value})
    with pytest.raises(TaskError, match=r"uneven=False" if field == "uneven" else r"without past, future and static"):
        header(replace(made.deployed, followed=replace(made.deployed.followed, plan=plan)), "m")


def test_weights_that_could_overflow_are_refused() -> None:
    with pytest.raises(TaskError, match="smaller learning rate"):
        forecaster(scale=1e32).header()


@pytest.mark.parametrize("fault", ["weight", "lag", "factor"])
def test_a_header_that_is_wrong_is_not_proved(fault: str) -> None:
    if reason := EDGE.missing("cc"):
        pytest.skip(reason)
    made = HEADERS["running"]
    kind, array = {
        "weight": ("float", "m_running_w_decoder_hh0"),
        "lag": ("int32_t", "m_running_lags"),
        "factor": ("float", "m_running_factors"),
    }[fault]
    found = re.search(rf"(static const {kind} {array}\[.*?\{{\n)(.*?)(\}};)", made.text, re.DOTALL)
    assert found is not None
    first, rest = re.match(r"\s*(-?[\d.e-]+f?)(.*)", found[2], re.DOTALL).groups()
    changed = "2" if fault == "lag" else number(float(first.strip("f")) + 0.05)
    wrong = rest.replace("1,", "3,", 1) if fault == "lag" else rest
    text = made.text.replace(found[0], found[1] + (first if fault == "lag" else changed) + wrong + found[3])
    assert text != made.text
    with pytest.raises(ExportError, match=r"differs by|exit status|self-test"):
        prove(replace(made, text=text))


@needs_gcc
@pytest.mark.parametrize("name", FORECASTERS)
def test_the_budget_is_what_the_header_holds(name: str, tmp_path: Path) -> None:
    made = HEADERS[name]
    own = Library(made, tmp_path, "-O1", "-DTG_LANES=1")
    assert own.own.state_size() == made.ram
    assert own.own.answer_size() == 4 * sum(made.outputs.values())
    held = re.findall(r"static const float m_\w+_w_\w+\[(\d+) \+ TG_OVER\]", made.text)
    assert 4 * sum(map(int, held)) < made.flash
    assert f"{made.flash:,} bytes of flash" in made.text
    assert f"{made.ram:,} bytes of RAM" in made.text


def test_products_are_counted_by_hand() -> None:
    """A GRU 9 that reads 7 rows and 4 sines and cosines a segment, and looks 10 steps ahead, two segments."""
    own, plan = HEADERS["running"], MADE["running"].core.plan
    hidden, calendar, bases = 9, plan.calendar, len(plan.bases)
    recurrent = 2 * 3 * hidden * hidden
    read = (7 * 2 + calendar) * hidden + recurrent
    ahead = (7 * 2 * bases + calendar) * hidden + recurrent + hidden * 7 * (13 + bases)
    assert own.products == read + hidden * hidden + 2 * hidden + 2 * ahead


@pytest.mark.parametrize("optimise", ["-Os", "-O3"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_nothing_of_libc_is_called(compiler: str, optimise: str, tmp_path: Path) -> None:
    if reason := EDGE.missing(compiler, "nm"):
        pytest.skip(reason)
    headers = [HEADERS[name] for name in ("running", "window", "student")]
    for made in headers:
        (tmp_path / f"{made.name}.h").write_text(made.text, encoding="utf-8")
    calls = " + ".join(f"{made.name}_selftest()" for made in headers)
    source = "".join(f'#include "{made.name}.h"\n' for made in headers)
    (tmp_path / "use.c").write_text(f"{source}int use(void);\nint use(void) {{ return {calls}; }}\n", encoding="utf-8")
    subprocess.run([compiler, "-std=c99", optimise, *EDGE.WARNINGS, "-c", "use.c"], cwd=tmp_path, check=True)
    said = subprocess.run(["nm", "-u", "use.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert {line.split()[-1] for line in said.splitlines()} <= {"memcpy"}


def test_clocks_of_the_tests_are_long_enough() -> None:
    assert {len(times) for times in CLOCKS.values()} == {ROWS}
