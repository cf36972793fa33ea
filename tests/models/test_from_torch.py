"""torch modules as networks: their answers against torch's own, what is refused by name, the file, the same without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import tidegate as tg
from tidegate import format as container
from tidegate.cli import main
from tidegate.models.to_onnx import to_onnx

ROOT = Path(__file__).resolve().parents[2]
ATOL = 1e-6
CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
TOKENS = torch.randint(0, 50, (4, 9), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([9, 1, 5, 7])


class Tutorial(nn.Module):
    """The tutorials' classifier: packed rows, the last two hidden states side by side."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 12, padding_idx=1)
        self.rnn = nn.LSTM(12, 16, num_layers=2, bidirectional=True, dropout=0.5, batch_first=batch_first)
        self.fc = nn.Linear(2 * 16, 3)
        self.dropout = nn.Dropout(0.5)
        self.batch_first = batch_first

    def forward(self, text: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        embedded = self.dropout(self.embedding(text))
        packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=self.batch_first, enforce_sorted=False)
        _, (hidden, _) = self.rnn(packed)
        return self.fc(self.dropout(torch.cat((hidden[-2], hidden[-1]), dim=1)))


class Small(nn.Module):
    """One recurrent layer between an embedding and a linear layer, joined as asked."""

    def __init__(self, cell: str, joined: str | None, **options: object) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 6)
        self.layer = CELLS[cell](6, 5, batch_first=True, **options)
        self.out = nn.Linear(5 * (2 if self.layer.bidirectional else 1), 4)
        self.joined = joined

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(self.embedding(x), lengths, batch_first=True, enforce_sorted=False)
        y = pad_packed_sequence(self.layer(packed)[0], batch_first=True, total_length=x.shape[1])[0]
        valid = (torch.arange(x.shape[1]) < lengths[:, None])[..., None]
        if self.joined == "last":
            y = y[torch.arange(len(y)), lengths - 1]
        elif self.joined == "mean":
            y = y.sum(1) / lengths[:, None]
        elif self.joined == "max":
            y = y.masked_fill(~valid, -9.0).max(1).values
        return self.out(y) if self.joined else self.out(y) * valid


def seeded(make: object, *args: object, **options: object) -> nn.Module:
    torch.manual_seed(3)
    return make(*args, **options).eval()


@pytest.mark.parametrize("batch_first", [True, False])
def test_the_tutorials_classifier(batch_first: bool) -> None:
    module = seeded(Tutorial, batch_first)
    text = TOKENS if batch_first else TOKENS.T
    network = tg.from_torch(module, pool="both", example=(text, LENGTHS), classes=("bad", "fair", "good"))
    with torch.no_grad():
        ragged, full = module(text, LENGTHS), module(text, torch.full((4,), 9))
    np.testing.assert_allclose(network.run(TOKENS, lengths=LENGTHS).y, ragged.numpy(), atol=ATOL)
    np.testing.assert_allclose(network.run(TOKENS).y, full.numpy(), atol=ATOL)
    np.testing.assert_allclose(network.predict_proba(TOKENS, LENGTHS), ragged.softmax(-1).numpy(), atol=ATOL)
    assert network.predict(TOKENS, LENGTHS) == [("bad", "fair", "good")[k] for k in ragged.argmax(-1)]
    assert network.card["notes"] == []


def test_it_is_saved_loaded_and_predicts_without_torch(tmp_path: Path) -> None:
    module = seeded(Tutorial)
    network = tg.from_torch(module, pool="both", classes=("bad", "fair", "good"))
    network.save(tmp_path / "reviews.safetensors")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'bench')!r}); import no_torch\n"
        "sys.meta_path.insert(0, no_torch._NoTorch())\n"
        f"import json, tidegate as tg; model = tg.load({str(tmp_path / 'reviews.safetensors')!r})\n"
        f"y = model.run({TOKENS.tolist()}, lengths={LENGTHS.tolist()}).y\n"
        "print(json.dumps([y.tolist(), model.classes, 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    y, classes, torch_is_there = json.loads(done.stdout)
    with torch.no_grad():
        np.testing.assert_allclose(y, module(TOKENS, LENGTHS).numpy(), atol=ATOL)
    assert (tuple(classes), torch_is_there) == (("bad", "fair", "good"), False)
    again = tg.Network.load(tmp_path / "reviews.safetensors")
    assert again.to_bytes() == network.to_bytes()
    assert "lstm x 16, 2 layers, both ways" in repr(again)


def test_it_becomes_onnx(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    module = seeded(Tutorial)
    (path,), _ = to_onnx(tg.from_torch(module, pool="both", classes=("bad", "fair", "good")), tmp_path / "reviews.onnx")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    zeros = np.zeros((4, 4, 16), "f")
    feeds = {"x": TOKENS[..., None].numpy(), "lengths": LENGTHS.numpy(), "state.read.h": zeros, "state.read.c": zeros}
    y, shares, label = session.run(["y", "probabilities", "label"], feeds)
    with torch.no_grad():
        wanted = module(TOKENS, LENGTHS)
    np.testing.assert_allclose(y, wanted.numpy(), atol=1e-5)
    np.testing.assert_allclose(shares, wanted.softmax(-1).numpy(), atol=1e-5)
    assert label.tolist() == [("bad", "fair", "good")[k] for k in wanted.argmax(-1)]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("joined", ["last", "mean", "max", None])
@pytest.mark.parametrize("both", [False, True])
def test_every_cell_and_pool(cell: str, joined: str | None, both: bool) -> None:
    module = seeded(Small, cell, joined, bidirectional=both, num_layers=2)
    network = tg.from_torch(module, pool=joined, example=(TOKENS, LENGTHS))
    with torch.no_grad():
        wanted = module(TOKENS, LENGTHS).numpy()
    y = network.run(TOKENS, lengths=LENGTHS).y
    if joined is None:  # the linear layer's bias stands in the padding of torch's own answer
        y = y * (np.arange(9) < LENGTHS.numpy()[:, None])[..., None]
    np.testing.assert_allclose(y, wanted, atol=ATOL)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"num_layers": 3}, {"bidirectional": True}], ids=str)
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_bare_layer_with_its_state(cell: str, options: dict[str, object], batch_first: bool) -> None:
    layer = seeded(CELLS[cell], 3, 4, batch_first=batch_first, **options)
    network = tg.from_torch(layer, example=(torch.randn(5, 6, 3),))
    assert network.card["notes"] == []
    layers = layer.num_layers * (2 if layer.bidirectional else 1)
    x, state = torch.randn(2, 7, 3), [torch.randn(layers, 2, 4) for _ in range(2 if cell == "lstm" else 1)]
    with torch.no_grad():
        y, ends = layer(x if batch_first else x.transpose(0, 1), tuple(state) if cell == "lstm" else state[0])
    held = dict(zip("hc", (s.numpy() for s in state), strict=False))
    ran = network.run(x, held)
    np.testing.assert_allclose(ran.y, (y if batch_first else y.transpose(0, 1)).numpy(), atol=ATOL)
    for name, end in zip("hc", ends if cell == "lstm" else [ends], strict=False):
        np.testing.assert_allclose(ran.state[name], end.numpy(), atol=ATOL)


@settings(max_examples=40)
@given(data=st.data(), cell=st.sampled_from(sorted(CELLS)), both=st.booleans(), bias=st.booleans(), layers=st.integers(1, 3))
def test_any_module_of_these_parts(data: st.DataObject, cell: str, both: bool, bias: bool, layers: int) -> None:
    """Any sizes, with and without biases, rows of any lengths of at least 1, against the module itself."""
    joined = data.draw(st.sampled_from(["last", "mean", "max"]))
    rows, steps = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 9))
    lengths = torch.tensor([steps, *data.draw(st.lists(st.integers(1, steps), min_size=rows - 1, max_size=rows - 1))])
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    module = Small(cell, joined, bidirectional=both, bias=bias, num_layers=layers).eval()
    tokens = torch.randint(0, 50, (rows, steps))
    network = tg.from_torch(module, pool=joined, example=(tokens, lengths))
    with torch.no_grad():
        np.testing.assert_allclose(network.run(tokens, lengths=lengths).y, module(tokens, lengths).numpy(), atol=ATOL)
    assert tg.Network._from_file(container.parse(network.to_bytes()), "file").to_bytes() == network.to_bytes()


def test_the_other_nonlinearity_and_our_own_layers() -> None:
    x = torch.randn(2, 5, 3)
    for layer in (seeded(nn.RNN, 3, 4, nonlinearity="relu", batch_first=True), seeded(tg.nn.GRU, 3, 4, batch_first=True)):
        with torch.no_grad():
            np.testing.assert_allclose(tg.from_torch(layer).run(x).y, layer(x)[0].numpy(), atol=ATOL)


@pytest.mark.parametrize(("dtype", "held"), [(torch.float64, np.float64), (torch.bfloat16, np.float32), (torch.half, np.float32)])
def test_float_types(dtype: torch.dtype, held: type) -> None:
    layer = seeded(nn.GRU, 3, 4, batch_first=True).to(dtype)
    network = tg.from_torch(layer)
    weights = network.predictor.weights
    assert {w.dtype for w in weights.values()} == {np.dtype(held)}
    assert np.array_equal(weights["read.weight_hh_l0"], layer.weight_hh_l0.detach().double().numpy())


def test_pieces_and_steps_go_on_where_the_state_is() -> None:
    network = tg.from_torch(seeded(nn.LSTM, 3, 4, num_layers=2))
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("f")
    whole = network.run(x)
    first = network.run(x[:, :2])
    second = network.run(x[:, 2:], first.state)
    assert np.array_equal(np.concatenate([first.y, second.y], 1), whole.y)
    stream = network.predictor.stream(rows=2)
    stepped = [stream.push({"x": x[:, t]})["read"] for t in range(6)]
    assert np.array_equal(np.stack(stepped, 1), whole.y)


def test_the_module_is_left_as_it_was() -> None:
    module = Tutorial()
    module.fc.eval()
    before = {n: p.clone() for n, p in module.state_dict().items()}
    network = tg.from_torch(module, pool="both", example=(TOKENS, LENGTHS))
    assert (module.training, module.rnn.training, module.fc.training) == (True, True, False)
    with torch.no_grad():
        module.fc.weight.add_(1.0)
    assert np.array_equal(network.predictor.weights["y.weight"], before["fc.weight"].numpy())


class Twice(Tutorial):
    def forward(self, text: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(text, lengths)


@pytest.mark.parametrize(
    ("make", "pool", "match"),
    [
        (Tutorial, "mean", r"example: the module's answer and the network's are .* apart.*pool='mean'"),
        (Tutorial, None, r"example: expected \(4, 3\), which the module answers, got \(4, 9, 3\); name another pool than 'none'"),
        (Twice, "both", "the module's forward does more than its layers say"),
    ],
)
def test_the_example_finds_another_forward(make: type[Tutorial], pool: str | None, match: str) -> None:
    with pytest.raises(tg.ConfigError, match=match):
        tg.from_torch(seeded(make), pool=pool, example=(TOKENS, LENGTHS))


def test_what_was_not_compared_is_noted() -> None:
    (note,) = tg.from_torch(seeded(Tutorial), pool="both").card["notes"]
    assert "was not compared" in note


class Flagged(nn.LSTM):
    """A subclass, which may do anything."""


def holding(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(*parts)


def pruned() -> nn.Module:
    layer = nn.GRU(3, 4)
    prune.l1_unstructured(layer, "weight_hh_l0", 0.5)
    return layer


class Symmetric(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 1.0


def parametrised() -> nn.Module:
    layer = nn.GRU(3, 4)
    nn.utils.parametrize.register_parametrization(layer, "weight_hh_l0", Symmetric())
    return layer


def with_a_weight() -> nn.Module:
    module = Tutorial()
    module.scale = nn.Parameter(torch.ones(3))
    return module


def hooked(whole: bool = False) -> nn.Module:
    module = Tutorial()
    (module if whole else module.rnn).register_forward_hook(lambda *_: None)
    return module


REFUSED = {
    "projection": (lambda: nn.LSTM(3, 4, proj_size=2), r"LSTM: expected proj_size=0, got 2"),
    "our layer norm": (lambda: tg.nn.GRU(3, 4, layer_norm=True), r"GRU: expected layer_norm=False, got True"),
    "our reset before": (lambda: tg.nn.GRU(3, 4, reset_after=False), r"GRU: expected reset_after=True, got False"),
    "another layer": (lambda: holding(nn.Embedding(5, 3), nn.GRU(3, 4), nn.LayerNorm(4)), r"'2': expected .*, got a LayerNorm"),
    "an activation": (lambda: holding(nn.GRU(3, 4), nn.ReLU(), nn.Linear(4, 2)), r"'1': expected .*, got a ReLU"),
    "a subclass": (lambda: holding(Flagged(3, 4)), r"'0': expected .*, got a Flagged"),
    "two stacks": (lambda: holding(nn.GRU(3, 4), nn.GRU(4, 4)), r"expected one RNN, LSTM or GRU, got '0', '1'"),
    "none": (lambda: holding(nn.Linear(3, 4)), r"expected one RNN, LSTM or GRU, got none"),
    "two linears": (lambda: holding(nn.GRU(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)), r"at most one Linear, got '1', '2'"),
    "two embeddings": (lambda: holding(nn.Embedding(5, 3), nn.Embedding(5, 3), nn.GRU(3, 4)), r"at most one Embedding"),
    "one direction of two": (
        lambda: holding(nn.GRU(3, 4, bidirectional=True), nn.Linear(4, 2)),
        r"'1': expected 8 inputs, the outputs of '0', got 4",
    ),
    "vectors of another size": (lambda: holding(nn.Embedding(5, 2), nn.GRU(3, 4)), r"'0': expected vectors of 3 for '1', got 2"),
    "max_norm": (lambda: holding(nn.Embedding(5, 3, max_norm=1.0), nn.GRU(3, 4)), r"'0': expected max_norm=None, got 1.0"),
    "pruned": (pruned, r"GRU: expected no hooks, which may change an answer, got some"),
    "parametrised": (parametrised, r"'parametrizations.weight_hh_l0.0': expected .*, got a Symmetric"),
    "a weight of its own": (with_a_weight, r"weight 'scale': expected those of the plain layers alone"),
    "hooked": (hooked, r"'rnn': expected no hooks"),
    "hooked as a whole": (lambda: hooked(whole=True), r"Tutorial: expected no hooks"),
    "no module": (lambda: {"weight_ih_l0": 1}, r"module: expected a torch.nn.Module, got dict"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_by_name(name: str) -> None:
    make, match = REFUSED[name]
    with pytest.raises(tg.TaskError, match=match):
        tg.from_torch(make())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"pool": "first"}, r"pool: expected one of last, mean, max, both, or None.*got 'first'"),
        ({"pool": "both", "module": nn.GRU(3, 4)}, r"pool: expected a bidirectional network for 'both'"),
        ({"classes": ("a", "b", "c")}, r"classes: expected a network that pools"),
        ({"pool": "both", "classes": ("a", "b")}, r"classes: expected 3 different names, one an output, got \['a', 'b'\]"),
        ({"pool": "both", "classes": ("a", "b", "b")}, r"classes: expected 3 different names"),
        ({"pool": "both", "classes": "abc"}, r"classes: expected a list, got 'abc'"),
        ({"pool": "both", "example": ()}, r"example: expected \(x,\) or \(x, lengths\), got 0 arguments"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, object], match: str) -> None:
    module = options.pop("module", None) or Tutorial()
    with pytest.raises(tg.ConfigError, match=match):
        tg.from_torch(module, **options)


def test_bad_input_of_a_network() -> None:
    network = tg.from_torch(seeded(Tutorial), pool="both")
    for x, match in (
        (np.zeros((2, 3, 1), int), r"x: expected codes \(B, T\), got \(2, 3, 1\)"),
        (np.zeros((2, 3)), "expected whole numbers, got float64"),
        (np.full((2, 3), 50), "expected codes from 0 to 49, got 50 to 50"),
        ([["a"]], "expected whole numbers"),
    ):
        with pytest.raises(tg.ShapeError, match=match):
            network.run(x)
    with pytest.raises(tg.ShapeError, match=r"state: expected the parts h, c, got h"):
        network.run(TOKENS, {"h": np.zeros((4, 4, 16))})
    with pytest.raises(tg.ShapeError, match=r"state 'c': expected \(4, 4, 16\), got \(4, 4, 15\)"):
        network.run(TOKENS, {"h": np.zeros((4, 4, 16)), "c": np.zeros((4, 4, 15))})
    with pytest.raises(tg.ShapeError, match="whole numbers from 0 to 9"):
        network.run(TOKENS, lengths=[9, 10, 1, 1])
    with pytest.raises(tg.TaskError, match="the network has no classes"):
        network.predict(TOKENS)
    empty = network.run(TOKENS, lengths=[0, 9, 9, 9]).y[0]
    np.testing.assert_allclose(empty, network.predictor.weights["y.bias"], atol=1e-7)


@pytest.mark.parametrize(
    ("part", "value", "match"),
    [
        ("options", {"hidden_size": 17}, "its spec does not follow from its options"),
        ("options", {"hiden_size": 16}, "hiden_size"),
        ("options", {"output_size": -1}, "output_size: expected at least 0"),
        ("card", {"notes": [1]}, "its card lacks source or notes"),
        ("members", 2, "missing"),
        ("spec", None, "its header lacks 'spec'"),
    ],
)
def test_altered_files_are_refused(part: str, value: object, match: str, tmp_path: Path) -> None:
    file = container.parse(tg.from_torch(seeded(Tutorial), pool="both").to_bytes())
    held = file.header[part]
    header = {**file.header, part: {**held, **value} if isinstance(value, dict) else value}
    path = tmp_path / "altered.safetensors"
    path.write_bytes(container.dump("model", header, file.arrays))
    with pytest.raises(tg.FormatError, match=match):
        tg.load(path)


def test_an_array_too_many_is_refused(tmp_path: Path) -> None:
    file = container.parse(tg.from_torch(seeded(Tutorial), pool="both").to_bytes())
    path = tmp_path / "altered.safetensors"
    path.write_bytes(container.dump("model", file.header, {**file.arrays, "vocabulary.merges": np.zeros(2, np.int32)}))
    with pytest.raises(tg.FormatError, match="a network has no such part"):
        tg.load(path)


def test_the_command_line_knows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "reviews.safetensors")
    tg.from_torch(seeded(Tutorial), pool="both", classes=("bad", "fair", "good")).save(path)
    assert main(["info", path]) == 0
    said = capsys.readouterr().out
    assert "Network of Tutorial: lstm x 16, 2 layers, both ways" in said
    assert "bad, fair, good" in said
    assert "was not compared" in said
    for line in (["predict", path, "a"], ["evaluate", path, path], ["generate", path], ["stream", path], ["fill", path, "a ___"]):
        assert main(line) == 2, line
        assert "'network'" in capsys.readouterr().err, line


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_it_goes_to_eight_bits_and_to_c(kind: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = tg.from_torch(kind(3, 8, 2, batch_first=True))
    x = np.random.default_rng(0).normal(size=(6, 30, 3)).astype(np.float32)
    small = network.quantize("int8", x, limit=0.05)
    entry = small.card["int8"]
    assert entry["measure"] == "agreement with float32"
    apart = float(np.sqrt(((small.run(x).y - network.run(x).y) ** 2).mean() / (network.run(x).y.astype(float) ** 2).mean()))
    assert 0 < entry["loss"] == pytest.approx(apart, rel=1e-6)
    assert "int8" not in network.card
    small.save(tmp_path / "small.safetensors")
    again = tg.load(tmp_path / "small.safetensors")
    assert again.card == small.card
    stream = again.stream()
    assert (np.stack([stream.push(row) for row in x[0]]) == small.run(x[:1]).y[0]).all()
    for model, name in ((network, "whole"), (small, "small")):
        assert model.export(tmp_path / f"{name}.h").paths == (tmp_path / f"{name}.h",)
    assert "float" not in (tmp_path / "small.h").read_text(encoding="utf-8").split("#ifndef TIDEGATE_MODEL_small_H")[1]
    with pytest.raises(tg.ExportError, match="agreement with float32"):
        network.quantize("int8", x, limit=0.0)
    with pytest.raises(tg.DataError, match="not all 0"):
        network.quantize("int8", np.zeros((0, 5, 3)))


def test_a_network_of_codes_goes_to_a_header_with_its_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)

    class Letters(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.rnn, self.fc = nn.Embedding(30, 6), nn.GRU(6, 12, batch_first=True), nn.Linear(12, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.rnn(self.embedding(x))[0].mean(1))

    network = tg.from_torch(Letters(), pool="mean", example=(torch.randint(0, 30, (2, 5)),), classes=("a", "b", "c"))
    codes = np.random.default_rng(0).integers(0, 30, (20, 15))
    small = network.quantize("int8", codes, limit=0.1)
    for model, name in ((network, "whole"), (small, "small")):
        model.export(tmp_path / f"{name}.h")
        assert f"{name}_classes" in (tmp_path / f"{name}.h").read_text(encoding="utf-8")
