"""The bare layer: torch.nn as oracle; the same bits step by step, whole, cut, mixed; NaN, silence, snapshots, memory."""

from __future__ import annotations

import struct
import sys
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import native
from tidegate.errors import ConfigError, DataError, FormatError, ShapeError, TaskError
from tidegate.runtime import Recurrent
from tidegate.runtime.snapshot import HEADER_BYTES
from tidegate.spec import GATES

GATED = {"rnn": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
needs_core = pytest.mark.skipif(not native.available(), reason="needs the native core")


def weights(
    cell: str, inputs: int, hidden: int, layers: int = 1, dtype: str = "float32", seed: int = 0, ways: int = 1
) -> dict[str, np.ndarray]:
    rng, g = np.random.default_rng(seed), GATED[cell] * hidden
    found = {}
    for layer in range(layers):
        for suffix in ("", "_reverse")[:ways]:
            width = inputs if layer == 0 else ways * hidden
            sizes = {"weight_ih": (g, width), "weight_hh": (g, hidden), "bias_ih": (g,), "bias_hh": (g,)}
            found |= {f"{name}_l{layer}{suffix}": rng.normal(0, 0.3, size).astype(dtype) for name, size in sizes.items()}
    return found


def layer(cell: str = "lstm", inputs: int = 3, hidden: int = 8, layers: int = 2, **more: object) -> Recurrent:
    return Recurrent(cell, weights(cell, inputs, hidden, layers, **more))  # type: ignore[arg-type]


def samples(steps: int, inputs: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(steps, inputs)).astype("float32")


def same_bits(got: np.ndarray, wanted: np.ndarray) -> None:
    """Equal on the core; on NumPy within rounding."""
    if native.available():
        np.testing.assert_array_equal(got, wanted)
    else:
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def parts(state: object) -> tuple[np.ndarray, ...]:
    return state if isinstance(state, tuple) else (state,)  # type: ignore[return-value]


@pytest.mark.parametrize("cell", list(GATED))
@pytest.mark.parametrize(("layers", "ways"), [(1, 1), (2, 1), (2, 2)])
def test_sequences_agree_with_torch(cell: str, layers: int, ways: int) -> None:
    torch = pytest.importorskip("torch")
    w = weights(cell, 3, 10, layers, ways=ways)
    kind = {"rnn": torch.nn.RNN, "rnn_relu": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    more = {"nonlinearity": "relu"} if cell == "rnn_relu" else {}
    theirs = kind(3, 10, layers, batch_first=True, bidirectional=ways == 2, **more)
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in w.items()})
    x = np.random.default_rng(2).normal(size=(4, 7, 3)).astype("float32")
    y, state = Recurrent(cell, w).run(x)
    with torch.inference_mode():
        wanted, ends = theirs(torch.from_numpy(x))
    np.testing.assert_allclose(y, wanted.numpy(), atol=2e-6)
    for own, other in zip(parts(state), ends if cell == "lstm" else (ends,), strict=True):
        np.testing.assert_allclose(own, other.numpy(), atol=2e-6)


@settings(max_examples=120, deadline=None)
@given(
    cell=st.sampled_from(list(GATED)), hidden=st.integers(1, 70), inputs=st.integers(1, 9), layers=st.integers(1, 3),
    steps=st.integers(1, 12), seed=st.integers(0, 999), cut=st.integers(0, 12), dtype=st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_steps_pieces_and_batches_have_the_bits_of_the_whole(
    cell: str, hidden: int, inputs: int, layers: int, steps: int, seed: int, cut: int, dtype: str
) -> None:
    own = layer(cell, inputs, hidden, layers, dtype=dtype, seed=seed)
    x = np.random.default_rng(seed).normal(size=(steps, inputs)).astype(dtype)
    y, end = own.run(x)
    stream = own.stream()
    same_bits(np.stack([stream.step(row) for row in x]), y)
    for a, b in zip(parts(stream.state), parts(end), strict=True):
        same_bits(a, b)
    cut = min(cut, steps)
    first, between = own.run(x[:cut])
    second, _ = own.run(x[cut:], between)
    same_bits(np.concatenate([first, second]), y)
    batch = np.random.default_rng(seed + 1).normal(size=(3, steps + 2, inputs)).astype(dtype)
    batch[1, :steps] = x
    padded, _ = own.run(batch, lengths=[steps + 2, steps, 1])
    same_bits(padded[1, :steps], y)


@settings(max_examples=60, deadline=None)
@given(cell=st.sampled_from(list(GATED)), hidden=st.integers(1, 40), seed=st.integers(0, 999))
def test_any_mix_of_streams_joining_and_leaving_has_the_bits_of_each_alone(cell: str, hidden: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    own = layer(cell, 3, hidden, int(rng.integers(1, 3)), seed=seed)
    streams, alone = [own.stream() for _ in range(7)], [own.stream() for _ in range(7)]
    for _ in range(6):
        mix = rng.permutation(7)[: rng.integers(0, 8)]
        x = rng.normal(size=(len(mix), 3)).astype("float32")
        y = own.step_many([streams[k] for k in mix], x)
        for k, row, to in zip(mix, x, y, strict=True):
            same_bits(to, alone[k].step(row))
        if rng.random() < 0.3:
            k = int(rng.integers(7))
            streams[k], alone[k] = own.stream(), own.stream()
    for a, b in zip(streams, alone, strict=True):
        assert a.steps == b.steps
        assert a.snapshot() == b.snapshot() or not native.available()


@needs_core
def test_ten_thousand_random_cases() -> None:
    """A row of a whole batch = the row alone = pieces = steps = a stream among others, whatever the threads."""
    rng = np.random.default_rng(11)
    layers = [
        layer(str(rng.choice(list(GATED))), int(rng.integers(1, 6)), int(rng.integers(1, 40)), int(rng.integers(1, 3)), seed=k)
        for k in range(40)
    ]
    before = native.get_num_threads()
    wrong = 0
    for case in range(10_000):
        own = layers[int(rng.integers(len(layers)))]
        if case % 50 == 0:
            native.set_num_threads(int(rng.integers(1, 4)))
        steps, rows = int(rng.integers(1, 5)), int(rng.integers(1, 5))
        x = rng.normal(size=(rows, steps, own.input_size)).astype(np.float32)
        row, way = int(rng.integers(rows)), case % 4
        wanted = own.run(x)[0][row]
        if way == 0:
            got = own.run(x[row])[0]
        elif way == 1:
            cut = int(rng.integers(steps + 1))
            first, state = own.run(x[row, :cut])
            got = np.concatenate([first, own.run(x[row, cut:], state)[0]])
        elif way == 2:
            stream = own.stream()
            got = np.stack([stream.step(sample) for sample in x[row]])
        else:
            streams = [own.stream() for _ in range(rows)]
            order = rng.permutation(rows)
            place = int(np.flatnonzero(order == row)[0])
            got = np.stack([own.step_many([streams[k] for k in order], x[order, t])[place] for t in range(steps)])
        wrong += got.tobytes() != wanted.tobytes()
    native.set_num_threads(before)
    assert wrong == 0


@needs_core
def test_silence_after_a_signal_costs_no_more_than_a_signal() -> None:
    """The state decays into denormal numbers, which the core counts as zero : 1.2 times in bench/runtime, loosely here."""
    own = layer("lstm", 16, 32, 1)
    stream, out = own.stream(), np.empty(32, np.float32)
    loud, silent = samples(1, 16)[0], np.zeros(16, np.float32)

    def best(sample: np.ndarray) -> float:
        taken = []
        for _ in range(20):
            began = time.perf_counter()
            for _ in range(500):
                stream.step(sample, out)
            taken.append(time.perf_counter() - began)
        return min(taken)

    usual = best(loud)
    for _ in range(20_000):
        stream.step(silent, out)
    assert best(silent) < 3 * usual


def test_numpy_serves_where_the_core_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = layer()
    x = samples(6)
    y, _ = wanted.run(x)
    monkeypatch.setattr("tidegate.runtime.predictor.available", lambda: False)
    own = layer()
    stream, other = own.stream(), own.stream()
    np.testing.assert_allclose(np.stack([stream.step(row) for row in x]), y, atol=1e-5)
    np.testing.assert_allclose(own.step_many([other], x[:1]), y[:1], atol=1e-5)
    assert stream.steps == 6
    with pytest.raises(DataError, match="finite"):
        stream.step([np.nan, 0, 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_bad_sample_cannot_poison_a_stream(bad: float) -> None:
    own = layer()
    x, sample = samples(4), [0.0, bad, 1.0]
    rejecting, holding, resetting = (own.stream(on_bad=policy) for policy in ("reject", "hold", "reset"))
    for row in x:
        said, _, _ = (stream.step(row) for stream in (rejecting, holding, resetting))
    before = rejecting.snapshot()
    with pytest.raises(DataError, match=r"place 1.*untouched"):
        rejecting.step(sample)
    assert rejecting.snapshot() == before
    np.testing.assert_array_equal(holding.step(sample), said)
    assert holding.snapshot() == before
    np.testing.assert_array_equal(resetting.step(sample), 0)
    assert resetting.snapshot() == own.stream().snapshot()
    streams = [own.stream(), own.stream(on_bad="hold")]
    rows = np.array([[0, 0, 0], sample])
    np.testing.assert_array_equal(own.step_many(streams, rows)[1], 0)
    assert [stream.steps for stream in streams] == [1, 0]
    streams[1] = own.stream()
    with pytest.raises(DataError, match="row 1"):
        own.step_many(streams, rows)
    assert streams[0].steps == 1  # none was stepped


def test_sequences_with_what_is_no_number_are_refused() -> None:
    own = layer()
    x = np.zeros((2, 4, 3))
    x[1, 2, 0] = np.nan
    with pytest.raises(DataError, match="row 1 at step 2"):
        own.run(x)
    assert np.isfinite(own.run(x, lengths=[4, 2])[0]).all()  # padding is not read
    with pytest.raises(ShapeError, match="state"):
        own.run(x[0], ("a", "b"))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="state"):
        own.run(x[0], ([[1.0], [1.0, 2.0]], 3))  # type: ignore[arg-type]


def test_outputs_go_where_they_are_wanted() -> None:
    own = layer()
    stream, out = own.stream(), np.full(8, 7.0, np.float32)
    assert stream.step(samples(1)[0], out) is out
    other = own.stream()
    np.testing.assert_array_equal(other.step(samples(1)[0].tolist()), out)  # lists and other dtypes too
    np.testing.assert_array_equal(own.stream().step(samples(1)[0].astype("float64"), out), out)
    many = np.empty((2, 8), np.float32)
    assert own.step_many([own.stream(), own.stream()], samples(2), many) is many


@pytest.mark.parametrize(
    "x",
    [np.zeros(2), np.zeros(4), np.zeros((1, 3)), np.zeros(0), 1.0, "abc", ["a", "b", "c"], [1, [2], 3], None, {}, [2**70, 0, 0],
     np.zeros(3, complex), np.array([object()] * 3)],
)  # fmt: skip
def test_what_is_no_sample_is_refused_and_the_state_stays(x: object) -> None:
    own = layer()
    stream = own.stream()
    stream.step(samples(1)[0])
    before = stream.snapshot()
    with pytest.raises((ShapeError, DataError), match="x: expected"):
        stream.step(x)  # type: ignore[arg-type]
    assert stream.snapshot() == before


@pytest.mark.parametrize("out", [np.zeros(7, np.float32), np.zeros(8), np.zeros((8, 2), np.float32)[:, 0], [0] * 8, "y"])
def test_an_output_that_does_not_fit_is_refused_and_the_state_stays(out: object) -> None:
    stream = layer().stream()
    before = stream.snapshot()
    with pytest.raises(ShapeError, match="out: expected"):
        stream.step(samples(1)[0], out)  # type: ignore[arg-type]
    readonly = np.zeros(8, np.float32)
    readonly.setflags(write=False)
    with pytest.raises(ShapeError, match="writable"):
        stream.step(samples(1)[0], readonly)
    assert stream.snapshot() == before


def test_minus_zero_and_denormals_are_numbers() -> None:
    own = layer()
    stream = own.stream()
    tiny = np.array([-0.0, 1e-42, -1e-45], np.float32)
    assert np.isfinite(stream.step(tiny)).all()


def test_streams_refuse_what_they_cannot_do() -> None:
    both = layer(ways=2)
    with pytest.raises(TaskError, match="bidirectional=False"):
        both.stream()
    own, other = layer(), layer(seed=4)
    with pytest.raises(ConfigError, match="on_bad"):
        own.stream(on_bad="ignore")
    with pytest.raises(ConfigError, match="of this layer"):
        own.step_many([own.stream(), other.stream()], samples(2))
    stream = own.stream()
    with pytest.raises(ConfigError, match="twice"):
        own.step_many([stream, stream], samples(2))
    with pytest.raises(ShapeError, match="a row for each"):
        own.step_many([stream], samples(2))
    with pytest.raises(ShapeError, match="out"):
        own.step_many([stream], samples(1), np.zeros((1, 8)))
    assert stream.steps == 0
    assert own.step_many([], np.zeros((0, 3))).shape == (0, 8)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"weight_hh_l0": None}, "weight_hh_l0"),
        ({"weight_ih_l1": np.zeros((32, 3), np.float32)}, "weight_ih_l1"),
        ({"bias_ih_l0": np.zeros(31, np.float32)}, "bias_ih_l0"),
        ({"bias_ih_l0": np.zeros(32)}, "float64"),
        ({"bias_ih_l0": np.full(32, np.nan, np.float32)}, "finite"),
        ({"weight_hr_l0": np.zeros((4, 8), np.float32)}, "weight_hr_l0"),
        ({"bias_hh_l1": None}, "bias_hh_l1"),
        ({"weight_ih_l0": np.zeros((32, 3), np.int64)}, "int64"),
    ],
)
def test_weights_that_do_not_fit_are_named(change: dict[str, np.ndarray | None], error: str) -> None:
    own = {name: value for name, value in (weights("lstm", 3, 8, 2) | change).items() if value is not None}
    with pytest.raises(ShapeError, match=error):
        Recurrent("lstm", own)


def test_cells_and_states_that_do_not_fit_are_named() -> None:
    with pytest.raises(ConfigError, match="lstm"):
        Recurrent("lstn", weights("lstm", 3, 8))
    with pytest.raises(ShapeError, match="24"):
        Recurrent("gru", weights("lstm", 3, 8))
    with pytest.raises(ConfigError, match="weights"):
        Recurrent("gru", {})
    own = layer()
    with pytest.raises(ShapeError, match="h and c"):
        own.run(samples(2), np.zeros((2, 8)))
    with pytest.raises(ShapeError, match="lengths"):
        own.run(samples(2)[None], lengths=[3])
    plain = Recurrent("gru", {n: v for n, v in weights("gru", 3, 8).items() if "bias" not in n})
    assert plain.run(np.zeros((2, 3)))[0].max() == 0
    assert set(GATES) == {"rnn_tanh", "rnn_relu", "lstm", "gru"}


def test_snapshots_go_on_where_they_were_taken() -> None:
    for cell in GATED:
        for dtype in ("float32", "float64"):
            own = layer(cell, dtype=dtype)
            stream = own.stream()
            for row in samples(5):
                stream.step(row)
            again = layer(cell, dtype=dtype).stream(state=stream.snapshot(), on_bad="hold")  # of the same weights, elsewhere
            twin = stream.copy()
            assert again.steps == twin.steps == 5
            for row in samples(3, seed=3):
                wanted = stream.step(row)
                np.testing.assert_array_equal(again.step(row), wanted)
                np.testing.assert_array_equal(twin.step(row), wanted)
            stream.reset()
            assert stream.snapshot() == own.stream().snapshot()
            assert twin.steps == 8


def test_a_new_stream_never_sees_another_ones_state() -> None:
    own = layer()
    used = own.stream()
    for row in samples(50):
        used.step(row)
    del used
    for _ in range(50):
        fresh = own.stream()
        assert all((part == 0).all() for part in parts(fresh.state))
        fresh.step(samples(1)[0])


def test_hostile_snapshots_are_refused() -> None:
    own = layer()
    stream = own.stream()
    stream.step(samples(1)[0])
    body = stream.snapshot()
    for size in range(len(body)):
        with pytest.raises(FormatError, match="state"):
            own.stream(state=body[:size])
    for bit in range(8 * len(body)):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError, match="state"):
            own.stream(state=bytes(flipped))
    with pytest.raises(FormatError, match="another"):
        layer(seed=9).stream(state=body)
    with pytest.raises(FormatError, match="another"):
        layer("gru").stream(state=body)
    for other in (b"", b"x" * HEADER_BYTES, body + b"\0", "text", 7, [1]):
        with pytest.raises(FormatError, match="state"):
            own.stream(state=other)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="finite"):  # what could not be read is not written
        own._schema.pack(own._hash, 3, {"state": np.full((2, 2, 8), np.nan)})
    payload = np.full((2, 2, 8), np.nan, "<f4").tobytes()
    head = body[:56] + struct.pack("<I", zlib.crc32(payload))
    bad = head + struct.pack("<I", zlib.crc32(head)) + payload
    with pytest.raises(FormatError, match="finite"):
        own.stream(state=bad)


def test_the_layout_of_a_snapshot_is_fixed() -> None:
    """Little-endian, whatever the machine: the bytes of version 1, written out."""
    own = Recurrent("rnn", {"weight_ih_l0": np.eye(2, dtype="float32"), "weight_hh_l0": np.zeros((2, 2), "float32")})
    stream = own.stream()
    said = stream.step([0.0, 0.5])
    body = stream.snapshot()
    assert body[:16] == b"TGSTATE\n\x01\0\0\0\0\0\0\0"
    assert body[40:56] == (1).to_bytes(8, "little") + (8).to_bytes(8, "little")
    assert body[64:] == said.astype("<f4").tobytes()


@needs_core
def test_an_idle_stream_is_small() -> None:
    own = Recurrent("lstm", weights("lstm", 64, 64, 2))
    own.stream()
    tracemalloc.start()
    held = [own.stream() for _ in range(1000)]
    taken = tracemalloc.get_traced_memory()[0] / len(held)
    tracemalloc.stop()
    assert sys.getsizeof(held[0]) + taken < 4096
    assert taken < 2048


def test_one_object_is_no_longer_held_than_its_streams() -> None:
    own = layer()
    stream = own.stream()
    wanted = own.run(samples(1))[0][0]
    del own
    step = stream.step
    np.testing.assert_allclose(stream.step(samples(1)[0]), wanted, atol=1e-6)
    del stream
    assert np.isfinite(step(samples(1)[0])).all()  # the bound method keeps what it needs
