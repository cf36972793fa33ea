"""The forecaster that users hold. In: a table, file or list of arrays. Out: a fitted model, forecasts as the caller's own kind of
table.

Reading and checking stand in data/, the net in tasks/, training in train/ (loaded by `fit` alone), the arithmetic in
forecast_core.
"""

from __future__ import annotations

import copy
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, ClassVar, Literal, cast, final

import numpy as np
import numpy.typing as npt

from tidegate import format as container
from tidegate.config import Plain, check_options, from_plain, to_plain
from tidegate.data.future import future_values
from tidegate.data.lines import Cut, Lines
from tidegate.data.panel import Panel, build_panel
from tidegate.data.table import Table, read_table
from tidegate.decode.quantiles import checked_levels
from tidegate.errors import ConfigError, DataError, FormatError, TaskError, bounded, nearest
from tidegate.files import PathLike
from tidegate.models import forecast_answers as answers
from tidegate.models import forecast_fit as fitting
from tidegate.models import forecast_store as store
from tidegate.models.base import FILE_FAULTS, Model, given_options, load_as, not_fitted, options_signature
from tidegate.models.device_size import limits
from tidegate.models.drive import Drive, OnEvent, check_machine, checked_drive
from tidegate.models.forecast_core import Core
from tidegate.models.forecast_figures import figures_text
from tidegate.models.forecast_stream import ForecastStream
from tidegate.models.quantizing import CARD, LIMIT, Measured, Weights, first_of, needed, parts, quantize, renewed
from tidegate.models.seconds import parse_budget
from tidegate.tasks.evaluation import Evaluation
from tidegate.tasks.forecast import ForecastOptions
from tidegate.tasks.forecast_windows import Known

if TYPE_CHECKING:
    from tidegate.report.picture import ForecastPanel

Names = str | Sequence[str]
Refit = Literal["warm"] | bool


@final
@dataclass(frozen=True)
class Fitted:
    """What `fit` leaves behind: the trained core, the tail of the data, and the card."""

    core: Core
    panel: Panel  # the training series; after `load`, their tails
    card: dict[str, Plain]
    steps: int
    kind: str  # the table kind that answers take


@final
class Forecaster(Model):
    """Forecasts many series with one recurrent net, with intervals, beside the naive methods.

    Args:  horizon: steps to forecast, F >= 1. season: steps of one season, such as 24 for hours of a day; None infers it.
        Every other option of `tidegate.tasks.forecast.ForecastOptions` by its name (cell="gru", lookback=96, output="student_t",
        seed=1, ...).
    Raises: ConfigError for an unknown option, with the nearest name, or a value out of range; all faults at once.

    >>> model = Forecaster(horizon=2, season=4, steps=20, hidden_size=8)
    >>> answer = model.fit([[1.0, 2.0, 3.0, 4.0] * 12]).predict()
    >>> answer.names
    ('id', 'time', 'forecast', 'forecast-lo-80', 'forecast-hi-80', 'forecast-lo-95', 'forecast-hi-95')
    """

    task: ClassVar[str] = "forecast"

    def __init__(self, horizon: int, season: int | None = None, **options: object) -> None:
        self._given: dict[str, object] = {"horizon": horizon, "season": season, **options}
        self.options = check_options(ForecastOptions, self._given)
        self._fitted: Fitted | None = None

    def __repr__(self) -> str:
        given = ", ".join(f"{k}={v!r}" for k, v in self._given.items() if v is not None)
        return f"Forecaster({given}){'' if self._fitted is None else ' ' + self._summary()}"

    def _repr_html_(self) -> str:
        """The summary and the held-back figures, for a notebook."""
        figures = "" if self._fitted is None else f"<pre>{html.escape(figures_text(self._fitted.card))}</pre>"
        return f"<p>{html.escape(repr(self))}</p>{figures}"

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Options by name, as scikit-learn's `clone` asks for them."""
        return {f.name: getattr(self.options, f.name) for f in fields(ForecastOptions)} | self._given

    def set_params(self, **options: object) -> Forecaster:
        """Change options; the model must be fitted again. Raises: ConfigError."""
        given = {**self._given, **options}
        self.options = check_options(ForecastOptions, given)
        self._given, self._fitted = given, None
        return self

    def fit(
        self,
        frame: object,
        *,
        target: Names | None = None,
        time: Names | None = None,
        id: str | None = None,
        past: Names = (),
        future: Names = (),
        static: Names = (),
        flash: str | int | None = None,
        ram: str | int | None = None,
        budget: str | float | None = None,
        checkpoint: PathLike | None = None,
        resume: bool = False,
        history: PathLike | None = None,
        progress: bool | None = None,
        on_event: OnEvent | None = None,
    ) -> Forecaster:
        """Train on a long table and return self.

        Args:  frame: a path (.csv, .csv.gz, .tsv, .parquet), a pandas, polars or pyarrow table, a mapping of arrays, or a list of
        arrays.
            target, time, id, past, future, static: column names; without `time` the order of the rows counts; a list of arrays
            needs none. flash, ram: bytes, or "32K", that the model exported to C may take, code and stack included; hidden_size
            is then the largest that fits. budget: "90s", "10m", "1h" or seconds; fixes the number of steps once. checkpoint: stem
            of checkpoint files; with `resume` the newest of them is continued. history: a JSON-lines file of training records.
            progress: a bar; None shows it where it is seen.
        Raises: DataError that lists every fault of the data; ConfigError; MissingExtra without torch; OutputError.
        """
        steps = self._given.get("steps")
        drive = checked_drive(self.options.device, steps, budget, checkpoint, resume, history, progress, on_event)
        held = limits(flash, ram, self._given)
        table = read_table(frame)
        panel = self._panel(table, target, time, id, past, future, static)
        result = fitting.fit(self.options, panel, drive, held)
        self.options = replace(self.options, hidden_size=result.core.plan.hidden_size)
        self._take(result, table.kind, result.steps)
        return self

    def predict(self, frame: object | None = None, future: object | None = None, levels: Sequence[float] = (80, 95)) -> object:
        """Forecast the steps after the training series, or after those of `frame`, which need not be the same series.

        Args:  frame: history of new or longer series, with the columns that `fit` had. future: known covariates of the horizon
            (columns id, time, covariates). levels: percent of the intervals, such as 80.
        Returns: a table of the caller's kind: id, time, target where there are several, forecast, forecast-lo-80, forecast-hi-80,
        ...
        Raises: DataError that names the series and time where a known covariate is missing; TaskError before `fit`.
        """
        fitted = self._ready()
        wanted = checked_levels(levels)
        answers.warn_of_tails(fitted.core.plan, wanted)
        table = None if frame is None else read_table(frame)
        panel = fitted.panel if table is None else self._like_fit(table)
        lines = Lines(panel)
        cut = Cut(np.arange(lines.count, dtype=np.int64), lines.lengths)
        if (lines.lengths == 0).any():
            raise DataError(
                f"{panel.source}: series {panel.ids[int(np.argmin(panel.lengths))]!r} has no history to forecast from; "
                "leave it out"
            )
        forecasts = fitted.core.forecasts(lines, cut, wanted, self._known(panel, future))
        kind = fitted.kind if table is None else table.kind
        return answers.forecast_table(panel, lines, cut, forecasts, wanted, kind)

    def evaluate(
        self, frame: object, *, against: Mapping[str, object] | None = None, levels: Sequence[float] = (80, 95)
    ) -> Evaluation:
        """Forecast the last horizon of every series from the rows before it, and score it beside the naive methods.

        Args:  frame: as for `fit`. against: name -> a table of another tool's forecasts (id, time, forecast, forecast-lo-80,
        ...).
        Raises: DataError where a series is too short; TaskError before `fit`.
        """
        fitted = self._ready()
        panel = self._like_fit(read_table(frame))
        cut = answers.tail_cut(Lines(panel), self.options.horizon, 1, self.options.horizon)
        notes = answers.seen_in_training(fitted.panel, panel, cut)
        return answers.evaluation(fitted.core, Lines(panel), cut, levels, against or {}, notes)

    def quantize(
        self,
        to: str,
        frame: object = None,
        *,
        windows: int = 4,
        step: int | None = None,
        limit: float = LIMIT,
        force: bool = False,
    ) -> Forecaster:
        """The forecaster in 8 bits, scored beside this one; this one stays as it is.

        Args:  to: "int8". frame: as for `evaluate`. windows: cutoffs at the end of each series; step: rows between them, the
            horizon if None. limit: the share of the first measure that may be added. force: whatever is lost.
        Raises: ExportError where more is lost; TaskError for a net that whole numbers do not hold; DataError; ConfigError.
        """
        fitted, lines = self._ready(), Lines(self._like_fit(read_table(needed(frame))))
        answers.check_windows("quantize", windows, step)
        cut = answers.tail_cut(lines, self.options.horizon, windows, step or self.options.horizon)

        def remade(weights: Sequence[Weights]) -> Forecaster:
            made = Forecaster(**self._given)  # type: ignore[arg-type]  # the constructor's own keywords
            made.options = self.options
            core = replace(fitted.core, nets=renewed(fitted.core.nets, weights))
            made._fitted = replace(fitted, core=core, card=copy.deepcopy(fitted.card))
            return made

        def score(model: Forecaster) -> Measured:
            found = answers.evaluation(model._ready().core, lines, cut, (80.0,), {}, ())
            return first_of(found.board, found.main or found.board.methods[0])

        made, found = quantize(to, parts(fitted.core.nets), remade, score, limit, force=force)
        made._ready().card[CARD] = found.entry()
        made._note(f"{found}.")
        return made

    def backtest(
        self,
        frame: object,
        *,
        windows: int = 5,
        step: int | None = None,
        refit: Refit = False,
        target: Names | None = None,
        time: Names | None = None,
        id: str | None = None,
        past: Names = (),
        future: Names = (),
        static: Names = (),
        against: Mapping[str, object] | None = None,
        levels: Sequence[float] = (80, 95),
        budget: str | float | None = None,
        progress: bool | None = None,
    ) -> Evaluation:
        """Rolling origin: forecast `windows` cutoffs, each from a model that saw nothing after the first (or, with `refit`, its
        own) cutoff.

        Args:  frame: as for `fit`; the columns are those of `fit` unless given. step: rows between cutoffs, the horizon if None.
            refit: False trains once, on the rows before the first cutoff; "warm" trains on at every cutoff; True trains anew at
            every one. budget: of each training. The model itself stays as it was.
        Raises: DataError where no series is long enough.
        """
        seconds = parse_budget(budget)
        check_machine(self.options.device, seconds, self._given.get("steps"))
        table = read_table(frame)
        if target is None and self._fitted is not None:  # the columns of fit, but not its scales, which know all rows
            roles = self._fitted.panel.schema.roles
            target, time, id = roles.target, roles.time or None, roles.id
            past, future, static = roles.past, roles.future, roles.static
        panel = self._panel(table, target, time, id, past, future, static)
        answers.check_windows("backtest", windows, step)
        drive = Drive(seconds, None, False, None, progress, None)
        return answers.backtest(self.options, panel, windows, step or self.options.horizon, refit, drive, levels, against or {})

    def update(
        self, frame: object, *, steps: int | None = None, budget: str | float | None = None, progress: bool | None = None
    ) -> Forecaster:
        """Warm start: train on with newer data (whole histories, columns as in `fit`), from the weights there are.

        Every row is trained on: the intervals keep their factors, and the card loses its held-back figures; `backtest` measures.

        Args:  steps: optimiser steps, a quarter of those of `fit` if None.
        Raises: TaskError for a model in 8 bits.
        """
        fitted = self._ready()
        if any(net.int8 is not None for net in fitted.core.nets):
            raise TaskError("update: the model is in 8 bits; update the float32 one that it was made from, then quantize it")
        table = read_table(frame)
        drive = Drive(parse_budget(budget), None, False, None, progress, None)
        panel = self._like_fit(table)
        self._take(
            fitting.update(self.options, fitted.core, panel, drive, steps or max(1, fitted.steps // 4)), table.kind, fitted.steps
        )
        return self

    def stream(self, id: str | int | None = None, *, on_bad: str = "reject", state: bytes | None = None) -> ForecastStream:
        """Follow one series sample by sample: from the end of a training series `id`, or, with id=None, from no history at all;
        where the data had no id column there is one series, and id=None follows it from its end.

        With scaling="window" a push costs O(look-back): the stream keeps a ring of the look-back and reads it anew. With
        scaling="running" it costs O(1): `cost` says which.

        Args:  on_bad: what NaN or Inf in the target does: "reject" (an error, state untouched), "hold" (missing), "reset". state:
            a snapshot of a stream of this series to go on from.
        Raises: ConfigError, TaskError, FormatError.
        """
        fitted = self._ready()
        made = ForecastStream.after(fitted.core, fitted.panel, id, on_bad, self._fingerprint)
        made.restore(state)
        return made

    def plot(
        self,
        path: PathLike,
        *,
        future: object | None = None,
        truth: object | None = None,
        levels: Sequence[float] = (80, 95),
        ids: Sequence[str | int] | None = None,
    ) -> None:
        """Write a PNG or SVG of history, forecast and bands.

        Args:  future: known covariates, as for `predict`. truth: a table as for `fit` that reaches into the horizon.
        """
        from tidegate.report.picture import forecast_picture

        forecast_picture(path, self._panels(levels, ids, truth, future))

    def page(
        self,
        path: PathLike,
        *,
        evaluation: Evaluation | None = None,
        future: object | None = None,
        truth: object | None = None,
        levels: Sequence[float] = (80, 95),
        ids: Sequence[str | int] | None = None,
    ) -> None:
        """Write one self-contained HTML page: the table with the naive methods, an interactive chart; arguments as for `plot`."""
        from tidegate.report.page import forecast_page

        fitted = self._ready()
        title = f"Forecast of {', '.join(fitted.panel.schema.roles.target)}, {self.options.horizon} steps"
        card = {k: str(v) for k, v in fitted.card.items() if isinstance(v, (str, int, float))}
        forecast_page(path, title, self._panels(levels, ids, truth, future), evaluation, answers.notes(fitted.card), card)

    def _panels(
        self, levels: Sequence[float], ids: Sequence[str | int] | None, truth: object | None, future: object | None
    ) -> list[ForecastPanel]:
        fitted = self._ready()
        seen = None if truth is None else self._like_fit(read_table(truth))
        return answers.panels(fitted.core, fitted.panel, levels, ids, seen, self._known(fitted.panel, future))

    @property
    def card(self) -> Mapping[str, Plain]:
        """What is known of the fitted model: held-back figures with the naive ones beside them, data hash, seed, steps,
        versions."""
        return dict(self._ready().card)

    @property
    def plan(self) -> Mapping[str, Plain]:
        """What was resolved: season, look-back, segment, candidates, sizes."""
        return cast("dict[str, Plain]", to_plain(self._ready().core.plan))

    @classmethod
    def load(cls, path: PathLike) -> Forecaster:
        """Load a forecaster. Raises: FormatError; TaskError where the file is of another task."""
        return load_as(cls, path)

    def _contents(self) -> tuple[dict[str, Plain], dict[str, npt.NDArray[np.generic]]]:
        fitted = self._ready()
        return store.pack(self.options, fitted.core, fitted.panel, fitted.card, fitted.steps, fitted.kind)

    @classmethod
    def _from_file(cls, file: container.File, where: str) -> Forecaster:
        try:
            unpacked = store.unpack(file, where)
            options = from_plain(ForecastOptions, file.header["options"])
        except FILE_FAULTS as error:
            raise FormatError(
                f"{where}: its content does not fit together ({bounded(str(error))}); save the model again"
            ) from error
        model = cls.__new__(cls)
        model.options = options
        model._given = given_options(options)
        model._fitted = Fitted(*unpacked)
        return model

    def _panel(
        self, table: Table, target: Names | None, time: Names | None, id: str | None, past: Names, future: Names, static: Names
    ) -> Panel:
        if table.kind == "arrays" and target is None:
            target = [n for n in table.names if n not in ("id", "time")]
            time, id = time or "time", id or "id"
        if target is None:
            raise ConfigError(f"target: name the column to forecast; {table.source} has {', '.join(table.names[:20])}")
        o = self.options
        panel = build_panel(
            table, target=target, time=time, id=id, past=past, future=future, static=static,
            freq=o.freq, uneven=o.uneven, duplicates=o.duplicates,
        )  # fmt: skip
        answers.check_reserved(panel.schema.roles)
        return panel

    def _like_fit(self, table: Table) -> Panel:
        """A panel with the columns, clock and scales of the training data."""
        schema, roles = self._ready().panel.schema, self._ready().panel.schema.roles
        missing = [name for name in roles.target if name not in table.names]
        if missing:
            raise DataError(
                f"{table.source}: no column {missing[0]!r}, which the model forecasts; {nearest(missing[0], table.names)}"
            )
        return build_panel(table, uneven=self.options.uneven, duplicates=self.options.duplicates, schema=schema)

    def _known(self, panel: Panel, future: object | None) -> Known | None:
        """Covariates of the horizon, from the panel's own future rows or from a table."""
        if not panel.schema.roles.future:
            if future is not None:
                raise ConfigError(
                    "future: the model was fitted without future covariates; fit it with future=(...) or leave the table out"
                )
            return None
        values = future_values(panel, None if future is None else read_table(future), self.options.horizon)
        return Known(values.numbers, values.codes)

    def _take(self, result: fitting.Result, kind: str, steps: int) -> None:
        """Keep what prediction needs: a copy of the tails, so that neither the caller's arrays nor the whole history are held."""
        tail = store.tail(result.panel, store.rows_kept(result.core.plan))
        self._fitted = Fitted(result.core, tail, result.card, steps, kind)

    def _ready(self) -> Fitted:
        if self._fitted is None:
            raise not_fitted()
        return self._fitted

    def _summary(self) -> str:
        fitted = self._ready()
        plan = fitted.core.plan
        return (
            f"fitted on {fitted.card.get('series', '?')} series: {plan.cell} x {plan.hidden_size}, look-back {plan.lookback}, "
            f"season {plan.season}, {sum(net.spec.count() for net in fitted.core.nets):,} weights"
        )


Forecaster.__init__.__signature__ = options_signature(  # type: ignore[attr-defined]  # functions carry attributes
    Forecaster.__init__, ForecastOptions
)
__all__ = ["Fitted", "Forecaster"]
