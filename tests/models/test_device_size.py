"""--flash and --ram: the largest hidden size whose exported program the linker fits into the device, or an error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tidegate as tg
from tests.export.specs import targets
from tidegate.cli import main
from tidegate.export.c import header
from tidegate.export.c.budget import budget
from tidegate.models import classify_fit, forecast_fit, language_fit
from tidegate.models.device_size import SIZES, limits
from tidegate.models.exporting import deployed

EDGE = targets()
TEXTS = (["a fine film of the year", "a dull film, and long"] * 10, ["good", "bad"] * 10)
SMALL = {"units": "char", "bidirectional": False, "ngrams": False, "embedding_dim": 8, "steps": 3}


def fitted(flash: str | None, ram: str | None, **options: object) -> tg.Classifier:
    return tg.Classifier(**SMALL, **options).fit(TEXTS, flash=flash, ram=ram, progress=False)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize(("cell", "layers"), [("rnn", 1), ("gru", 1), ("lstm", 2)])
def test_what_was_chosen_fits_by_the_linker(cell: str, layers: int, pooling: str, tmp_path: Path) -> None:
    if reason := EDGE.missing(EDGE.ARM, EDGE.ARM_SIZE):
        pytest.skip(reason)
    model = fitted("24K", "4K", cell=cell, num_layers=layers, pooling=pooling)
    made = header(deployed(model), "m")
    for board in ("cortex-m0", "cortex-m3", "cortex-m4"):
        for level in ("-Os", "-O2"):
            sizes = EDGE.cortex_m_sizes(made, tmp_path, board, "-std=c99", level)
            assert sizes["text"] + sizes["rodata"] + sizes["data"] <= 24 << 10, (board, level)
            assert sizes["data"] + sizes["bss"] + sizes["stack"] <= 4 << 10, (board, level)


@pytest.mark.parametrize(("flash", "ram"), [("20K", None), (None, "1K"), ("64K", "2048"), ("20480", "1M")])
def test_the_next_size_would_not_fit(flash: str | None, ram: str | None) -> None:
    model = fitted(flash, ram)
    core = model._ready()
    held = limits(flash, ram, {})
    assert held is not None
    chosen = core.options.hidden_size
    after = SIZES[SIZES.index(chosen) + 1]

    def needed(hidden: int):
        return budget(classify_fit._on_device(replace(core.options, hidden_size=hidden), core.tokenizer, core.classes))

    assert held.hold(needed(chosen))
    assert not held.hold(needed(after))
    assert f"hidden_size {chosen} was chosen" in model.card["notes"][-1]
    assert core.nets[0].spec.blocks[2].hidden_size == chosen


SERIES = [10 + 4 * np.sin(np.arange(200) / 2) + np.random.default_rng(k).normal(size=200) for k in range(2)]


@pytest.mark.parametrize("options", [
    {"scaling": "running", "cell": "gru"}, {"scaling": "window", "cell": "lstm", "num_layers": 2},
    {"scaling": "running", "cell": "rnn", "output": "gaussian", "horizon": 3},
], ids=["running", "window", "gaussian"])  # fmt: skip
def test_a_forecaster_that_was_chosen_fits_by_the_linker(options: dict[str, object], tmp_path: Path) -> None:
    if reason := EDGE.missing(EDGE.ARM, EDGE.ARM_SIZE):
        pytest.skip(reason)
    model = tg.Forecaster(**{"horizon": 12, "season": 12, "steps": 3, "batch_size": 8, **options})
    model.fit(SERIES, flash="32K", ram="4K", progress=False)
    made, chosen = header(deployed(model), "m"), model.plan["hidden_size"]
    assert f"hidden_size {chosen} was chosen" in model.card["notes"][-1]
    assert chosen in SIZES
    assert model.options.hidden_size == chosen
    for board in ("cortex-m3", "cortex-m4"):
        for level in ("-Os", "-O2"):
            sizes = EDGE.cortex_m_sizes(made, tmp_path, board, "-std=c99", level)
            assert sizes["text"] + sizes["rodata"] + sizes["data"] <= 32 << 10, (board, level)
            assert sizes["data"] + sizes["bss"] + sizes["stack"] <= 4 << 10, (board, level)
    fitted = model._ready()
    own = [forecast_fit.on_device(replace(model.options, hidden_size=n), fitted.panel) for n in (chosen, chosen + 4)]
    held = limits("32K", "4K", {})
    assert held.hold(budget(own[0]))
    assert not held.hold(budget(own[1]))


@pytest.mark.parametrize(
    ("keywords", "options", "error", "said"),
    [
        ({"flash": "14K"}, {}, tg.ConfigError, "expected room for 4 units.*make horizon, lookback"),
        ({"flash": "32K"}, {"hidden_size": 8}, tg.ConfigError, "hidden_size: is chosen by flash and ram"),
        ({"flash": "32K"}, {"ensemble": 2}, tg.TaskError, "ensemble=1"),
        ({"ram": "8K"}, {"decode": "recursive"}, tg.TaskError, "decode='direct'"),
    ],
)
def test_a_forecaster_that_does_not_fit_is_told_before_training(
    keywords: dict[str, object], options: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        tg.Forecaster(**{"horizon": 12, "season": 12, "steps": 10**9, **options}).fit(SERIES, **keywords, progress=False)


def test_a_language_model_too() -> None:
    options = {"num_layers": 1, "embedding_dim": 8, "steps": 3, "batch_size": 4, "window": 8}
    model = tg.LanguageModel(**options).fit(["tick tock " * 60], flash="16K", progress=False)
    core = model._ready()
    own = language_fit._on_device(core.options, core.tokenizer)
    assert budget(own).flash <= 16 << 10
    assert core.options.hidden_size in SIZES


@pytest.mark.parametrize(
    ("keywords", "options", "error", "said"),
    [
        ({"flash": "32 kilobytes"}, {}, tg.ConfigError, "flash: expected bytes"),
        ({"ram": 0}, {}, tg.ConfigError, "ram: expected bytes"),
        ({"ram": True}, {}, tg.ConfigError, "ram: expected bytes"),
        ({"flash": "32K"}, {"hidden_size": 8}, tg.ConfigError, "hidden_size: is chosen by flash and ram"),
        ({"flash": "1K"}, {}, tg.ConfigError, "expected room for 4 units"),
        ({"ram": "100"}, {}, tg.ConfigError, "expected room for 4 units"),
        ({"flash": "32K"}, {"ngrams": True}, tg.TaskError, "ngrams=False"),
        ({"flash": "32K"}, {"ensemble": 2}, tg.TaskError, "ensemble=1"),
        ({"flash": "32K"}, {"units": "word"}, tg.TaskError, "units='char'"),
        ({"flash": "32K"}, {"bidirectional": True}, tg.TaskError, "bidirectional=False"),
        ({"flash": "32K"}, {"pooling": "attention"}, tg.TaskError, "pooling 'last'"),
    ],
)
def test_what_does_not_fit_is_told_before_training(
    keywords: dict[str, object], options: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        tg.Classifier(**{**SMALL, "steps": 10**9, **options}).fit(TEXTS, **keywords, progress=False)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "films.csv"
    rows = "\n".join(f"{text},{label}" for text, label in zip(*TEXTS, strict=True)).replace("film, and", "film and")
    data.write_text(f"text,label\n{rows}\n", encoding="utf-8")
    words = ["--text", "text", "--label", "label", "--units", "char", "--no-bidirectional", "--no-ngrams", "--steps", "3"]
    words += ["--embedding-dim", "8", "--no-checkpoint"]
    out = tmp_path / "m.safetensors"
    assert main(["fit", "classify", str(data), *words, "--flash", "32K", "--ram", "2K", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "was chosen" in said
    assert "--flash 32K --ram 2K" in said
    assert main(["fit", "classify", str(data), *words, "--flash", "32K", "--hidden-size", "9", "-o", str(out)]) == 2
    assert "is chosen by flash and ram" in capsys.readouterr().err
