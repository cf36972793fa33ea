"""A forecaster as the content of one file, and back. In: options, core, panel, card. Out: a header and arrays; nothing but data.

The tails of the training series go along, as arrays named `data.*`, so that `predict()` needs no data file; `info` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from tidegate.config import Plain, from_plain, to_plain
from tidegate.data.panel import Panel
from tidegate.data.schema import Schema
from tidegate.data.series import Covariates
from tidegate.errors import FormatError
from tidegate.format import File
from tidegate.models import forecast_checks as checks
from tidegate.models.base import arrays_under, header_part
from tidegate.models.forecast_core import Core, Corrections
from tidegate.models.nets_store import net_arrays, weights_of
from tidegate.runtime.predictor import Predictor
from tidegate.spec import Spec, spec_from_plain, spec_to_plain
from tidegate.tasks.forecast import ForecastOptions
from tidegate.tasks.forecast_net import Plan, build_spec

Arrays = dict[str, npt.NDArray[np.generic]]
GROUPS = ("past", "future", "static")


class Unpacked(NamedTuple):
    """What `unpack` returns, in the order of forecaster.Fitted."""

    core: Core
    panel: Panel
    card: dict[str, Plain]
    steps: int
    kind: str


def pack(
    options: ForecastOptions, core: Core, panel: Panel, card: dict[str, Plain], steps: int, kind: str
) -> tuple[dict[str, Plain], Arrays]:
    """Header and arrays of the file."""
    corrections = core.corrections
    header: dict[str, Plain] = {
        "options": to_plain(replace(options, steps=steps)),  # a budget leaves the same bytes as the steps it came to
        "plan": to_plain(core.plan),
        "spec": spec_to_plain(core.nets[0].spec),
        "schema": cast(Plain, panel.schema.to_json()),
        "decoder": {"levels": list(corrections.levels) if corrections else [], "lower": core.lower, "paths": core.paths},
        "card": card,
        "members": len(core.nets),
        "steps": steps,
        "kind": kind,
        "source": panel.source.rsplit("/", 1)[-1],
    }
    arrays: Arrays = net_arrays(net.weights for net in core.nets)
    if corrections is not None:
        arrays["decoder.corrections"] = corrections.values
    arrays.update(_panel_arrays(tail(panel, rows_kept(core.plan))))
    if core.ids:
        arrays.update(_id_arrays("decoder", core.ids, panel.schema))
    return header, arrays


def unpack(file: File, where: str) -> Unpacked:
    """The parts of a validated file. Raises: FormatError, or ConfigError where a part is out of range."""
    header = file.header
    options = from_plain(ForecastOptions, header_part(header, "options", where), "options")
    plan = from_plain(Plan, header_part(header, "plan", where), "plan")
    checks.check_options(options, plan, where)
    spec = _spec(header, plan, where)
    members = header.get("members")
    if isinstance(members, bool) or not isinstance(members, int) or not 1 <= members <= 64:
        raise FormatError(f"{where}: members: expected 1 to 64, got {str(members)[:80]}")
    checks.check_header(header, options, members, where)
    levels, lower, paths = checks.decoder_parts(header_part(header, "decoder", where), options, where)
    schema = Schema.from_json(header_part(header, "schema", where))
    checks.check_schema(schema, plan, where)
    checks.check_names(file.arrays, spec, members, plan, schema, bool(levels), where)
    nets = tuple(Predictor(spec, weights_of(arrays_under(file.arrays, f"net{i}."))) for i in range(members))
    if len({array.dtype for net in nets for array in net.weights.values()}) > 1:
        raise checks.fault(where, "its nets are not of one float type")
    corrections = _corrections(file, levels, plan, where)
    panel = _panel(file, schema, where)
    checks.check_panel(panel, plan, where)
    card = dict(header_part(header, "card", where))
    checks.check_card(card, where)
    ids = _ids(file, "decoder", schema, where) if plan.known_lines else ()
    if len(ids) * panel.target.shape[1] != plan.known_lines or len(set(ids)) < len(ids):
        raise FormatError(
            f"{where}: it names {len(ids)} series, its net knows {plan.known_lines} lines; it was altered: save the model again"
        )
    return Unpacked(
        Core(plan, nets, corrections, lower, paths, ids),
        panel,
        card,
        cast(int, header["steps"]),
        str(header["kind"]),
    )


def _spec(header: dict[str, Plain], plan: Plan, where: str) -> Spec:
    """The net that follows from the plan, and no other."""
    spec = build_spec(plan)
    if spec_from_plain(header_part(header, "spec", where)) != spec:
        raise FormatError(
            f"{where}: its spec does not follow from its plan; it was altered, or written by another version: train again"
        )
    return spec


def tail(panel: Panel, rows: int) -> Panel:
    """The last `rows` rows of every series' history, and its known future."""
    lengths = np.asarray(panel.lengths)
    dropped = np.maximum(lengths - np.maximum(rows, _silence(panel, rows)), 0)
    totals = np.diff(panel.offsets)
    offsets = np.concatenate([[0], np.cumsum(totals - dropped)]).astype(np.int64)
    keep = np.repeat(panel.offsets[:-1] + dropped - offsets[:-1], totals - dropped) + np.arange(offsets[-1])  # rows of the panel
    return replace(
        panel,
        offsets=offsets,
        starts=panel.starts if panel.elapsed is not None else panel.starts + dropped,
        elapsed=None if panel.elapsed is None else panel.elapsed[keep],
        target=panel.target[keep],
        past=_rows_of(panel.past, keep),
        future=_rows_of(panel.future, keep),
    )


def _silence(panel: Panel, rows: int) -> npt.NDArray[np.int64]:
    """(N,) the whole history of a series whose last `rows` hold no value of some target, since it has the scale; else 0."""
    keep = np.zeros(panel.n_series, np.int64)
    for i, length in enumerate(np.asarray(panel.lengths).tolist()):
        end = int(panel.offsets[i]) + length
        if np.isnan(panel.target[max(end - rows, int(panel.offsets[i])) : end]).all(axis=0).any():
            keep[i] = length
    return keep


def _rows_of(group: Covariates, keep: npt.NDArray[np.int64]) -> Covariates:
    return replace(group, numbers=group.numbers[keep], codes=group.codes[keep])


def rows_kept(plan: Plan) -> int:
    """What a prediction reads and a picture shows; with running scaling the state follows from the whole history."""
    if plan.scaling == "running":
        return 1 << 60
    # One more than is read: the time between the first row read and the row before it is an input too.
    return 1 + max(plan.lookback, *plan.bases, 5 * plan.horizon) + max(plan.bases) * (plan.decode == "recursive")


def _panel_arrays(panel: Panel) -> Arrays:
    arrays: Arrays = {
        "data.target": panel.target,
        "data.offsets": panel.offsets,
        "data.starts": panel.starts,
        "data.future_rows": np.asarray(panel.future_rows, np.int64),
    }
    if panel.elapsed is not None:
        arrays["data.elapsed"] = panel.elapsed
        arrays["data.origins"] = cast(npt.NDArray[np.int64], panel.origins)
    for name in GROUPS:
        group = cast(Covariates, getattr(panel, name))
        arrays |= {f"data.{name}.numbers": group.numbers, f"data.{name}.codes": group.codes}
    return arrays | _id_arrays("data", panel.ids, panel.schema)


def _id_arrays(prefix: str, ids: Sequence[str | int], schema: Schema) -> Arrays:
    """Series names as bytes and offsets, or as numbers; nothing where there is no id column."""
    if schema.id_kind == "integer":
        return {f"{prefix}.ids": np.array(ids, np.int64)}
    if schema.id_kind == "none":
        return {}
    texts = [str(i).encode() for i in ids]
    offsets = np.concatenate([[0], np.cumsum([len(t) for t in texts])]).astype(np.int64)
    return {f"{prefix}.ids": np.frombuffer(b"".join(texts), np.uint8), f"{prefix}.id_offsets": offsets}


def _panel(file: File, schema: Schema, where: str) -> Panel:
    arrays = file.arrays
    groups = {}
    for name in GROUPS:
        columns = getattr(schema.roles, name)
        groups[name] = Covariates(
            numbers=cast(npt.NDArray[np.float32], arrays[f"data.{name}.numbers"]),
            codes=cast(npt.NDArray[np.int16], arrays[f"data.{name}.codes"]),
            number_names=schema.numbers(columns),
            code_names=schema.categories(columns),
        )
    return Panel(
        schema=schema,
        source=str(file.header["source"]),
        ids=_ids(file, "data", schema, where),
        offsets=cast(npt.NDArray[np.int64], arrays["data.offsets"]),
        starts=cast(npt.NDArray[np.int64], arrays["data.starts"]),
        origins=cast("npt.NDArray[np.int64] | None", arrays.get("data.origins")),
        elapsed=cast("npt.NDArray[np.float64] | None", arrays.get("data.elapsed")),
        target=cast(npt.NDArray[np.float64], arrays["data.target"]),
        future_rows=cast(npt.NDArray[np.int64], arrays["data.future_rows"]),
        notes=(),
        **groups,
    )


def _ids(file: File, prefix: str, schema: Schema, where: str) -> tuple[str | int, ...]:
    """What `_id_arrays` wrote. Raises: FormatError where it is not names."""
    if schema.id_kind == "none":
        return ("series",)  # as build_panel names a panel without an id column
    if schema.id_kind == "integer":
        numbers = file.arrays[f"{prefix}.ids"]
        if numbers.dtype != np.int64 or numbers.ndim != 1:
            raise checks.fault(where, "the names of its series are not whole numbers")
        return tuple(int(i) for i in numbers)
    letters, offsets = file.arrays[f"{prefix}.ids"], cast(npt.NDArray[np.int64], file.arrays[f"{prefix}.id_offsets"])
    body = letters.tobytes()
    sound = (
        letters.dtype == np.uint8
        and offsets.dtype == np.int64
        and offsets.ndim == 1
        and len(offsets)
        and offsets[0] == 0
        and offsets[-1] == len(body)
        and (offsets[1:] >= offsets[:-1]).all()
    )
    if not sound:
        raise FormatError(f"{where}: the names of its series are altered: save the model again")
    return tuple(body[a:b].decode() for a, b in pairwise(offsets.tolist()))


def _corrections(file: File, levels: list[float], plan: Plan, where: str) -> Corrections | None:
    if not levels:
        return None
    values = file.arrays["decoder.corrections"]
    checks.check_factors(values, (len(levels), plan.horizon), where)
    return Corrections(tuple(levels), cast(npt.NDArray[np.float64], values))
