"""What a spec accepts, and every way in which it says no; sizes, parameters and state against torch's."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest
import torch

import checks
from tidegate.errors import ConfigError
from tidegate.spec import (
    MAX_SIZE,
    Activation,
    Add,
    Block,
    Concat,
    Dropout,
    Embed,
    Fold,
    Last,
    Linear,
    Mix,
    Norm,
    Port,
    Position,
    Recurrent,
    Reverse,
    Shift,
    Spec,
    Take,
    Unfold,
    block_parameters,
    spec_from_plain,
    spec_to_plain,
)

X, V, C = Port(name="x", size=6), Port(name="v", size=6, shape="vector"), Port(name="c", size=2, shape="codes")


def spec(*blocks: Block, outputs: tuple[str, ...] = (), inputs: tuple[Port, ...] = (X, V, C)) -> Spec:
    return Spec(inputs=inputs, blocks=blocks, outputs=outputs or (blocks[-1].name,))


def lin(name: str = "y", source: str = "x", **more: int | str) -> Linear:
    return Linear(name=name, inputs=(source,), **{"input_size": 6, "output_size": 2, **more})


def rec(name: str = "y", source: str | tuple[str, ...] = "x", **more: object) -> Recurrent:
    inputs = (source,) if isinstance(source, str) else source
    return Recurrent(name=name, inputs=inputs, **{"cell": "gru", "input_size": 6, "hidden_size": 3, **more})


WRONG: dict[str, tuple[tuple[Block, ...], str]] = {
    "unknown input": ((lin(source="xx"),), "block 'y': reads 'xx', which does not stand before it; "),
    "reads itself": ((lin(source="y"),), "block 'y': reads 'y', which does not stand before it"),
    "reads a later one": ((lin("a", "b"), lin("b")), "block 'a': reads 'b', which does not stand before it"),
    "name twice": ((lin("a"), lin("a")), "'a': the name stands twice"),
    "name of an input": ((lin("x"),), "'x': the name stands twice"),
    "name with a dot": ((lin("a.b"),), "'a.b': a name is lower-case letters, digits and _"),
    "name with a newline": ((lin("a\n"),), "a name is lower-case letters"),
    "too many inputs": ((Linear(name="y", inputs=("x", "x"), input_size=6, output_size=1),), "takes 1 to 1 inputs, got 2"),
    "too few": ((Add(name="y", inputs=("x",)),), "block 'y': takes 2 to 16 inputs, got 1"),
    "size 0": ((lin(output_size=0),), "block 'y': output_size must be 1 to 1048576, got 0"),
    "size too large": ((lin(output_size=MAX_SIZE + 1),), "output_size must be 1 to 1048576, got 1048577"),
    "layers": ((rec(num_layers=257),), "block 'y': num_layers must be at most 256, got 257"),
    "no layers": ((rec(num_layers=0),), "num_layers must be 1 to 1048576, got 0"),
    "dropout": ((rec(dropout=1.0),), "block 'y': dropout must be 0 <= p < 1, got 1.0"),
    "weight dropout": ((rec(weight_dropout=1.5),), "block 'y': weight_dropout must be 0 <= p < 1, got 1.5"),
    "dropout nan": ((rec(dropout=float("nan")),), "dropout must be 0 <= p < 1, got nan"),
    "p": ((Dropout(name="y", inputs=("x",), p=-0.1),), "block 'y': p must be 0 <= p < 1, got -0.1"),
    "time scale": ((rec(time_scale=float("inf")),), "time_scale must be a number of steps, at least 1, got inf"),
    "no shift": ((Shift(name="y", inputs=("x",), by=0),), "by must be 1 to 1048576 places, one way or the other, got 0"),
    "reverse a vector": ((Reverse(name="y", inputs=("v",)),), "block 'y': expected a sequence, got vector of 6"),
    "start": ((Take(name="y", inputs=("x",), start=-1, size=2),), "start must be at least 0, got -1"),
    "column": ((Embed(name="y", inputs=("c",), num_embeddings=3, embedding_dim=2, column=-1),), "column must be at least 0"),
    # widths
    "linear's width": ((lin(input_size=5),), "block 'y': expected 5 channels, got sequence of 6"),
    "recurrent's width": ((rec(input_size=5),), "block 'y': expected 5 channels, got sequence of 6"),
    "norm's width": ((Norm(name="y", inputs=("x",), size=5),), "block 'y': expected 5 channels, got sequence of 6"),
    "position's width": ((Position(name="y", inputs=("x",), size=5, steps=9),), "block 'y': expected 5 channels"),
    "a second layer's width": (
        (rec("a", bidirectional=True), lin(source="a", input_size=3)),
        "block 'y': expected 3 channels, got sequence of 6",
    ),
    "after a fold": (
        (Fold(name="a", inputs=("x",), size=2), lin(source="a")),
        "block 'y': expected 6 channels, got sequence of 12",
    ),
    "unfold": ((Unfold(name="y", inputs=("x",), size=4),), "block 'y': expected a multiple of 4 channels, got sequence of 6"),
    "take": ((Take(name="y", inputs=("x",), start=3, size=4),), "block 'y': expected at least 7 channels, got sequence of 6"),
    "add": ((lin("a"), Add(name="y", inputs=("x", "a"))), "block 'y': expected 6 channels in each input, got sequence of 2"),
    "mix": (
        (lin("a"), Mix(name="y", inputs=("x", "a"))),
        "block 'y': expected candidates like the scores, sequence of 6, got sequence of 2",
    ),
    "recurrent over a vector": ((rec(source="v"),), "block 'y': expected a sequence, got vector of 6"),
    "last of a vector": ((Last(name="y", inputs=("v",)),), "block 'y': expected a sequence, got vector of 6"),
    "linear of codes": ((lin(source="c", input_size=2),), "block 'y': expected numbers, got codes of 2"),
    "concat of codes": ((Concat(name="y", inputs=("x", "c")),), "block 'y': expected numbers, got codes of 2"),
    "embed of numbers": (
        (Embed(name="y", inputs=("x",), num_embeddings=3, embedding_dim=2),),
        "expected codes or tokens with a column 0, got sequence",
    ),
    "embed's column": (
        (Embed(name="y", inputs=("c",), num_embeddings=3, embedding_dim=2, column=2),),
        "codes or tokens with a column 2, got codes of 2",
    ),
    "a table of two forms": (
        (Embed(name="e", inputs=("c",), num_embeddings=2, embedding_dim=5, table="both"), lin(table="both")),
        "block 'y': its table 'both' has the shape (2, 5), and it needs (2, 6)",
    ),
    "state of another size": (
        (rec("a", hidden_size=4), rec("y", ("x", "a"))),
        "block 'y': starts at the state of 'a', which has none of the form",
    ),
    "state of another cell": ((rec("a", cell="lstm"), rec("y", ("x", "a"))), "block 'y': starts at the state of 'a'"),
    "state of no cell": (
        (lin("a"), rec("y", ("x", "a"))),
        "block 'y': expected to start at a recurrent block or at a vector of 3",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_spec_that_cannot_run_is_refused(case: str) -> None:
    blocks, text = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        spec(*blocks)
    assert text in str(caught.value)
    assert all(line.startswith("spec: ") for line in str(caught.value).split("\n"))


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        spec(lin("a", "q"), lin("a", output_size=0), outputs=("zz", "a", "a"))
    assert len(str(caught.value).split("\n")) == 6


def test_outputs_and_inputs() -> None:
    with pytest.raises(ConfigError, match="no output is named"):
        Spec(inputs=(X,), blocks=(), outputs=())
    with pytest.raises(ConfigError, match="no input is named"):
        Spec(inputs=(), blocks=(), outputs=("x",))
    with pytest.raises(ConfigError, match="output 'yy': no such block; known: x"):
        Spec(inputs=(X,), blocks=(), outputs=("yy",))
    with pytest.raises(ConfigError, match="input 'x': size must be 0 to 1048576, got -1"):
        Spec(inputs=(Port(name="x", size=-1),), blocks=(), outputs=("x",))


def test_widths_are_followed_through_every_kind() -> None:
    """A chain whose every width is right is accepted; the cases of the battery too, when they are built."""
    built = spec(
        Fold(name="fold", inputs=("x",), size=2),  # 12
        rec("enc", "fold", input_size=12, bidirectional=True),  # 6
        Last(name="last", inputs=("enc",)),
        Embed(name="emb", inputs=("c",), num_embeddings=4, embedding_dim=6, column=1),
        Add(name="sum", inputs=("v", "last", "emb", "enc")),  # sequence of 6
        Concat(name="cat", inputs=("emb", "sum")),  # 12
        Take(name="some", inputs=("cat",), start=4, size=8),
        Unfold(name="unfold", inputs=("some",), size=4),  # 2
        lin("y", "unfold", input_size=2),
    )
    assert built.count() == sum(
        block_parameters(b)[n].__len__() and _size(s) for b in built.blocks for n, s in block_parameters(b).items()
    )


def _size(shape: tuple[int, ...]) -> int:
    return torch.empty(shape).numel()


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
def test_parameters_and_state_are_torchs(cell: str, layers: int, both: bool) -> None:
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.get(cell, torch.nn.RNN)
    theirs = kind(6, 3, layers, bidirectional=both)
    mine = rec(cell=cell, num_layers=layers, bidirectional=both)
    assert mine.parameters() == {n: tuple(p.shape) for n, p in theirs.named_parameters()}
    final = theirs(torch.zeros(1, 1, 6))[1]
    assert list(mine.state().values()) == [(s.shape[0], s.shape[2]) for s in (final if isinstance(final, tuple) else (final,))]
    whole = spec(mine)
    assert whole.state_size() == sum(a * b for a, b in mine.state().values())
    assert list(whole.state()) == [f"y.{part}" for part in mine.state()]
    assert whole.count() == sum(p.numel() for p in theirs.parameters())


def test_blocks_that_share_a_table_have_it_once() -> None:
    whole = spec(Embed(name="e", inputs=("c",), num_embeddings=2, embedding_dim=6, table="both"), lin(table="both"))
    assert whole.parameters() == {"both.weight": (2, 6), "y.bias": (2,)}


@pytest.mark.parametrize("case", checks.CASES)
def test_plain_and_back(case: str) -> None:
    whole = checks.CASES[case].spec
    assert spec_from_plain(spec_to_plain(whole)) == whole


def test_plain_data_of_another_program_is_refused_in_words() -> None:
    plain = spec_to_plain(checks.CASES["gru"].spec)
    assert isinstance(plain, dict)
    plain["blocks"][0]["cell"] = "xlstm"
    plain["blocks"][0]["hiden_size"] = 3
    plain["blocks"].append({"kind": "conv", "name": "z"})
    with pytest.raises(ConfigError) as caught:
        spec_from_plain(plain)
    assert str(caught.value).split("\n") == [
        "spec.blocks[0].hiden_size: unknown option; did you mean 'hidden_size'?",
        "spec.blocks[0].cell: expected one of 'rnn_tanh', 'rnn_relu', 'lstm', 'gru', got 'xlstm'",
        "spec.blocks[1].kind: unknown kind 'conv'; did you mean 'concat'?",
    ]


def test_blocks_are_frozen_and_their_kinds_differ() -> None:
    kinds = [block.kind for block in get_args(Block)]
    assert len(set(kinds)) == len(kinds)
    with pytest.raises(dataclasses.FrozenInstanceError):
        lin().name = "z"  # type: ignore[misc]
    assert block_parameters(Activation(name="y", inputs=("x",), function="relu")) == {}
