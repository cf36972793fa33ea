"""The forecaster's plan and its net. In: options and what a panel holds. Out: a frozen plan, and the spec that follows from it.

The net reads the look-back in segments of `segment` steps (SegRNN, Lin et al. 2023): a recurrent encoder over segments, whose
last output is the context of a recurrent decoder over the segments of the horizon, so that every step of the horizon is decoded
from the whole history. It does not forecast from nothing: for every step it weighs the naive candidates (window mean, last value,
the value one season back, ...) with a softmax, and adds what it has learnt. The recursive form reads one step at a time and its
own samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, final

from tidegate.data.lines import channel_count
from tidegate.errors import ConfigError
from tidegate.spec import (
    Activation,
    Add,
    Block,
    Cell,
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
    Spec,
    Take,
    Unfold,
)

OutputKind = Literal["quantile", "gaussian", "student_t", "negative_binomial", "point"]
PARAMETERS: dict[str, int] = {"gaussian": 2, "student_t": 3, "negative_binomial": 2, "point": 1}


@final
@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that shapes the net, resolved from options and data; stored in the file.

    bases: lags of the naive candidates; 0 is the window mean, 1 the last value.
    """

    horizon: int
    season: int
    segment: int
    lookback: int  # a multiple of segment
    bases: tuple[int, ...]
    cell: Cell
    hidden_size: int
    num_layers: int
    dropout: float
    scaling: Literal["window", "running"]
    decode: Literal["direct", "recursive"]
    output: OutputKind
    quantiles: tuple[float, ...]
    calendar_columns: tuple[int, ...]  # which of the clock's calendar features are read
    uneven: bool
    past_numbers: int = 0
    past_levels: tuple[int, ...] = ()
    future_numbers: int = 0
    future_levels: tuple[int, ...] = ()
    static_numbers: int = 0
    static_levels: tuple[int, ...] = ()
    known_lines: int = 0  # lines with a learnt vector of their own; 0 = none

    def __post_init__(self) -> None:
        faults = [f"plan.{text}" for text in (*_count_faults(self), *_list_faults(self))]
        if faults:
            raise ConfigError("\n".join(faults))

    @property
    def parameters(self) -> int:
        """P: numbers the net gives for one step."""
        return len(self.quantiles) if self.output == "quantile" else PARAMETERS[self.output]

    @property
    def calendar(self) -> int:
        """Calendar features of a segment or step."""
        return len(self.calendar_columns)

    @property
    def lags(self) -> tuple[int, ...]:
        """The candidates that are values of the past."""
        return tuple(b for b in self.bases if b)

    @property
    def future_segments(self) -> int:
        """Segments that cover the horizon."""
        return -(-self.horizon // self.segment)

    @property
    def past_channels(self) -> int:
        """Channels of a step of the look-back: value, mask, gap, covariates."""
        covariates = channel_count(self.past_numbers, self.past_levels) + channel_count(self.future_numbers, self.future_levels)
        return 2 + self.uneven + covariates

    @property
    def future_channels(self) -> int:
        """Channels of a step of the horizon: candidates, their masks, known covariates."""
        return 2 * len(self.bases) + channel_count(self.future_numbers, self.future_levels)

    @property
    def step_channels(self) -> int:
        """Channels of a step of the recursive net: candidates, masks, gap, covariates (past ones a step late), calendar."""
        return self.future_channels + self.uneven + channel_count(self.past_numbers, self.past_levels) + self.calendar

    @property
    def static_channels(self) -> int:
        """Channels of a window: two that say what its scale is, and static covariates."""
        return 2 + channel_count(self.static_numbers, self.static_levels)


MOST: dict[str, tuple[int, int]] = {  # smallest and largest of each whole number of a plan
    "horizon": (1, 10_000), "season": (1, 1_000_000), "segment": (1, 10_000), "hidden_size": (1, 4096), "num_layers": (1, 32),
    "past_numbers": (0, 4096), "future_numbers": (0, 4096), "static_numbers": (0, 4096), "known_lines": (0, 1_000_000),
}  # fmt: skip
MOST_LOOKBACK, MOST_LAG, MOST_ITEMS, MOST_LEVELS, MOST_CATEGORIES = 100_000, 1_000_000, 64, 64, 4096


def _count_faults(plan: Plan) -> list[str]:
    """What is wrong with the plan's numbers."""
    faults = [
        f"{name}: expected {low:,} to {high:,}, got {value:,}"
        for name, (low, high) in MOST.items()
        if not low <= (value := int(getattr(plan, name))) <= high
    ]
    longest = MOST_LOOKBACK + max(plan.segment, 1) - 1  # the options' longest, in whole segments
    if not 1 <= plan.lookback <= longest or plan.lookback % max(plan.segment, 1):
        faults.append(f"lookback: expected 1 to {longest:,}, in whole segments of {plan.segment}, got {plan.lookback:,}")
    if not 0 <= plan.dropout < 1:
        faults.append(f"dropout: expected 0 <= p < 1, got {plan.dropout}")
    if plan.decode == "recursive" and plan.segment != 1:
        faults.append(f"segment: the recursive net reads one step at a time; expected 1, got {plan.segment}")
    if plan.decode == "recursive" and plan.scaling == "running":
        faults.append("scaling: 'running' goes with decode='direct'; the recursive net scales by window")
    return faults


def _list_faults(plan: Plan) -> list[str]:
    """What is wrong with the plan's lists."""
    faults = []
    if plan.bases[:1] != (0,) or not _rising(plan.bases) or plan.bases[-1] > MOST_LAG or len(plan.bases) > MOST_ITEMS:
        faults.append(f"bases: expected 0, then at most {MOST_ITEMS - 1} rising lags up to {MOST_LAG:,}, got {plan.bases[:8]}")
    p = plan.quantiles
    sound = _rising(p) and all(0 < x < 1 for x in p)
    if not sound or (plan.output == "quantile" and 0.5 not in p):
        faults.append(f"quantiles: expected rising probabilities between 0 and 1 with 0.5 among them, got {p[:16]}")
    columns = plan.calendar_columns
    if not _rising(columns) or any(c < 0 for c in columns) or len(columns) > MOST_ITEMS:
        faults.append(f"calendar_columns: expected at most {MOST_ITEMS} rising numbers of at least 0, got {columns[:8]}")
    for name in ("past_levels", "future_levels", "static_levels"):
        levels: tuple[int, ...] = getattr(plan, name)
        if len(levels) > MOST_CATEGORIES or any(not 1 <= n <= MOST_LEVELS for n in levels):
            faults.append(f"{name}: expected at most {MOST_CATEGORIES} counts of 1 to {MOST_LEVELS}, got {levels[:8]}")
    return faults


def _rising(values: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(values))


def build_spec(plan: Plan) -> Spec:
    """The net of a plan."""
    return _recursive(plan) if plan.decode == "recursive" else _direct(plan)


def _direct(plan: Plan) -> Spec:
    hidden, size = plan.hidden_size, plan.segment
    ports = [
        Port(name="past", size=plan.past_channels),
        Port(name="past_calendar", size=plan.calendar),
        Port(name="future", size=plan.future_channels),
        Port(name="future_calendar", size=plan.calendar),
        Port(name="static", size=plan.static_channels, shape="vector"),
    ]
    past_width = size * plan.past_channels + plan.calendar
    future_width = size * plan.future_channels + plan.calendar
    blocks: list[Block] = [
        Fold(name="past_segments", inputs=("past",), size=size),
        Concat(name="past_all", inputs=("past_segments", "past_calendar")),
        Linear(name="encoder_in", inputs=("past_all",), input_size=past_width, output_size=hidden),
        Activation(name="encoder_act", inputs=("encoder_in",), function="relu"),
        *_stack("encoder", "encoder_act", plan, _segments(plan)),
        Last(name="encoded", inputs=("encoder",)),
        Dropout(name="encoded_drop", inputs=("encoded",), p=plan.dropout),
        Linear(name="context", inputs=("encoded_drop",), input_size=hidden, output_size=hidden),
        Linear(name="static_in", inputs=("static",), input_size=plan.static_channels, output_size=hidden, bias=False),
        Fold(name="future_segments", inputs=("future",), size=size),
        Concat(name="future_all", inputs=("future_segments", "future_calendar")),
        Linear(name="decoder_in", inputs=("future_all",), input_size=future_width, output_size=hidden),
        Position(name="decoder_place", inputs=("decoder_in",), steps=plan.future_segments, size=hidden),
    ]
    summands = ["decoder_place", "context", "static_in"]
    summands += _identity(plan, ports, blocks)
    blocks += [
        Add(name="decoder_sum", inputs=tuple(summands)),
        Activation(name="decoder_act", inputs=("decoder_sum",), function="relu"),
        *_stack("decoder", "decoder_act", plan, plan.future_segments),
        *_head(plan, "decoder", "future", size),
    ]
    return Spec(inputs=tuple(ports), blocks=tuple(blocks), outputs=("raw", "base"))


def _recursive(plan: Plan) -> Spec:
    hidden = plan.hidden_size
    ports = [
        Port(name="steps", size=plan.step_channels),
        Port(name="static", size=plan.static_channels, shape="vector"),
    ]
    summands = ["step_in", "static_in"]
    blocks: list[Block] = [
        Linear(name="step_in", inputs=("steps",), input_size=plan.step_channels, output_size=hidden),
        Linear(name="static_in", inputs=("static",), input_size=plan.static_channels, output_size=hidden, bias=False),
    ]
    summands += _identity(plan, ports, blocks)
    blocks += [
        Add(name="step_sum", inputs=tuple(summands)),
        Activation(name="step_act", inputs=("step_sum",), function="relu"),
        *_stack("decoder", "step_act", plan, plan.lookback + plan.horizon),
        *_head(plan, "decoder", "steps", 1),
    ]
    return Spec(inputs=tuple(ports), blocks=tuple(blocks), outputs=("raw", "base"))


def _identity(plan: Plan, ports: list[Port], blocks: list[Block]) -> list[str]:
    """Add the learnt vector of each known line, where there is one; its name for the sum."""
    if not plan.known_lines:
        return []
    ports.append(Port(name="line", size=1, shape="codes"))
    blocks.append(Embed(name="identity", inputs=("line",), num_embeddings=plan.known_lines + 1, embedding_dim=plan.hidden_size))
    return ["identity"]


def _segments(plan: Plan) -> int:
    return plan.lookback // plan.segment


def _stack(name: str, source: str, plan: Plan, steps: int) -> list[Block]:
    """One recurrent layer, or several as pre-norm residual blocks (plain stacking of many layers trains badly)."""
    hidden = plan.hidden_size
    if plan.num_layers == 1:
        return [_recurrent(name, source, plan, steps)]
    blocks: list[Block] = []
    for layer in range(plan.num_layers):
        last = layer + 1 == plan.num_layers
        summed = name if last else f"{name}_{layer}"
        blocks += [
            Norm(name=f"{name}_norm_{layer}", inputs=(source,), size=hidden),
            _recurrent(f"{name}_cell_{layer}", f"{name}_norm_{layer}", plan, steps),
            Dropout(name=f"{name}_drop_{layer}", inputs=(f"{name}_cell_{layer}",), p=plan.dropout),
            Add(name=summed, inputs=(source, f"{name}_drop_{layer}")),
        ]
        source = summed
    return blocks


def _recurrent(name: str, source: str, plan: Plan, steps: int) -> Recurrent:
    # Chrono pays where the past to remember is long; below a dozen steps it is the plain forget bias (bench/forecast).
    scale = float(steps) if steps > 32 else None
    return Recurrent(
        name=name, inputs=(source,), cell=plan.cell, input_size=plan.hidden_size, hidden_size=plan.hidden_size, time_scale=scale
    )


def _head(plan: Plan, source: str, candidates: str, size: int) -> list[Block]:
    """From the decoder's output to the candidates' weights and the parameters of every step."""
    hidden, bases = plan.hidden_size, len(plan.bases)
    return [
        Dropout(name="head_drop", inputs=(source,), p=plan.dropout),
        Linear(name="raw_segments", inputs=("head_drop",), input_size=hidden, output_size=size * plan.parameters),
        Unfold(name="raw", inputs=("raw_segments",), size=size),
        Linear(name="gate_segments", inputs=("head_drop",), input_size=hidden, output_size=size * bases),
        Unfold(name="gate", inputs=("gate_segments",), size=size),
        Take(name="candidates", inputs=(candidates,), start=0, size=bases),
        Mix(name="base", inputs=("gate", "candidates")),
    ]
