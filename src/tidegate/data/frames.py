"""Frames of other libraries. In: a pandas, polars or pyarrow frame. Out: stored columns and zones; and back to such a frame.

The libraries are imported where used (two of them have no types, hence Any in this file). Numbers without missing values and
text codes are taken over without a copy where the library allows it; what Tidegate cannot use (lists, durations, binary) is
left out by name, so that an unused odd column harms nobody.
"""

from __future__ import annotations

import datetime as dt
import importlib
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tidegate.data.columns import Encoded, Kept, Stored, keep, offset_name, zone_name
from tidegate.errors import DataError, MissingExtra, missing_extra

if TYPE_CHECKING:
    import polars as pl


class Frame(NamedTuple):
    """What a frame holds: columns, zones of its instants, and why some columns were left out."""

    columns: dict[str, Stored]
    zones: dict[str, str]
    left_out: dict[str, str]


def library_of(source: object) -> str | None:
    """ "pandas", "polars" or "pyarrow" if the object is a frame of that library."""
    kind = type(source)
    name = kind.__module__.split(".")[0]
    frames = {"pandas": {"DataFrame"}, "polars": {"DataFrame", "LazyFrame"}, "pyarrow": {"Table", "RecordBatch"}}
    return name if any(k.__name__ in frames.get(name, ()) for k in kind.__mro__) else None


def optional(module: str, what: str) -> ModuleType:
    """An optional library, or the error with the line that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        if module == "polars":
            raise missing_extra(what, "tables") from e
        raise MissingExtra(f"{what} needs {module}, which is not installed: pip install {module}") from e


def read_parquet(path: str) -> tuple[Frame, str]:
    """A Parquet file, by polars or else pyarrow."""
    try:
        polars = importlib.import_module("polars")
    except ModuleNotFoundError:
        polars = None
    try:
        if polars is not None:
            return from_polars(polars.read_parquet(path)), "polars"
        try:
            parquet = importlib.import_module("pyarrow.parquet")
        except ModuleNotFoundError as e:
            raise missing_extra("reading Parquet", "tables") from e
        return from_arrow(parquet.read_table(path)), "pyarrow"
    except MissingExtra:
        raise
    except Exception as e:  # the two libraries raise classes of their own, OSError and ValueError among them
        reason = f"{type(e).__name__}: {str(e).splitlines()[0]}"
        raise DataError(f"{path}: expected a whole Parquet file ({reason}). Check the path and the file.") from e


def _gather(columns: Iterator[tuple[str, Kept | str]]) -> Frame:
    stored: dict[str, Stored] = {}
    zones: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name, kept in columns:
        if name in stored or name in left_out:
            raise DataError(f"frame: expected every column name once, got {name!r} twice. Rename the columns.")
        if isinstance(kept, str):
            left_out[name] = kept
            continue
        stored[name] = kept.values
        if kept.zone is not None:
            zones[name] = kept.zone
    return Frame(stored, zones, left_out)


# ---- polars


def from_polars(frame: pl.DataFrame | pl.LazyFrame) -> Frame:
    """A polars frame; a lazy one is collected."""
    import polars as pl

    eager = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    return _gather((s.name, _polars_column(s)) for s in eager.iter_columns())


def _polars_column(s: pl.Series) -> Kept | str:
    import polars as pl

    kind = s.dtype
    if kind.is_integer():
        too_large = kind == pl.UInt64 and (s > np.iinfo(np.int64).max).any()
        return Kept(s.cast(pl.Float64 if s.null_count() or too_large else pl.Int64).to_numpy())
    if kind.is_float():
        return Kept(s.to_numpy())
    if kind.is_decimal() or kind == pl.Null or (kind == pl.Boolean and s.null_count()):
        return Kept(s.cast(pl.Float64).to_numpy())
    if kind == pl.Boolean:
        return Kept(s.to_numpy())
    if kind in (pl.String, pl.Categorical, pl.Enum):
        return Kept(_polars_text(s))
    if kind == pl.Date:
        return Kept(s.cast(pl.Datetime("ms")).to_physical().fill_null(np.iinfo(np.int64).min).to_numpy().view("datetime64[ms]"))
    if isinstance(kind, pl.Datetime):
        ticks = s.to_physical().fill_null(np.iinfo(np.int64).min).to_numpy()
        return Kept(ticks.view(f"datetime64[{kind.time_unit}]"), kind.time_zone)
    return str(kind)


def _polars_text(s: pl.Series) -> Encoded:
    """Codes of the library where it has them (Categorical, Enum); a plain text column is encoded without leaving polars."""
    import polars as pl

    levels = s.drop_nulls().unique(maintain_order=True)
    texts = tuple(levels.cast(pl.String).to_list())
    if s.dtype == pl.String:
        return Encoded(s.cast(pl.Enum(levels)).to_physical().cast(pl.Int32).fill_null(-1).to_numpy(), texts)
    own = levels.to_physical().to_numpy().astype(np.int64)
    lookup = np.full(int(own.max(initial=-1)) + 1, -1, np.int32)
    lookup[own] = np.arange(len(own), dtype=np.int32)
    physical = s.to_physical()
    if physical.null_count() == 0:
        return Encoded(lookup[physical.to_numpy()], texts)
    return Encoded(np.append(lookup, np.int32(-1))[physical.cast(pl.Int64).fill_null(len(lookup)).to_numpy()], texts)


def to_polars(columns: Mapping[str, Stored], zones: Mapping[str, str]) -> object:
    """Columns as a polars frame; instants with a zone keep it."""
    polars = optional("polars", "a polars frame")
    out = {}
    for name, column in columns.items():
        if isinstance(column, Encoded):
            out[name] = polars.Series(name, [*column.levels, None], dtype=polars.String).gather(
                np.where(column.codes < 0, len(column.levels), column.codes)
            )
            continue
        series = polars.Series(name, column)
        if name in zones:
            series = series.dt.replace_time_zone("UTC").dt.convert_time_zone(zones[name])
        out[name] = series
    return polars.DataFrame(out)


# ---- pandas


def from_pandas(frame: object) -> Frame:
    """A pandas frame; a time index or a named index counts as a column."""
    pandas = optional("pandas", "a pandas frame")
    df: Any = frame
    if df.columns.nlevels > 1:
        raise DataError("pandas frame: expected one level of column names, got several: df.columns = df.columns.map('_'.join).")
    named = any(n is not None for n in df.index.names)
    if named or isinstance(df.index, (pandas.DatetimeIndex, pandas.PeriodIndex)):
        clash = [n for n in df.index.names if n in df.columns]
        df = df.reset_index(drop=bool(clash))
    return _gather((str(name), _pandas_column(str(name), df.iloc[:, k], pandas)) for k, name in enumerate(df.columns))


def _pandas_column(name: str, series: Any, pandas: ModuleType) -> Kept | str:
    kind, types = series.dtype, pandas.api.types
    if isinstance(kind, pandas.CategoricalDtype):
        if types.is_numeric_dtype(series.cat.categories):
            return _pandas_column(name, series.astype(series.cat.categories.dtype if not series.hasnans else float), pandas)
        return Kept(_used_levels(series.cat.codes.to_numpy(), [str(c) for c in series.cat.categories]))
    if isinstance(kind, pandas.DatetimeTZDtype):
        return Kept(series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), _zone_text(kind.tz))
    if isinstance(kind, pandas.PeriodDtype):
        return Kept(series.dt.to_timestamp().to_numpy())
    if isinstance(kind, np.dtype) and kind.kind in "biufMO":
        return keep(name, series.to_numpy(), "pandas frame")
    if types.is_bool_dtype(kind) or types.is_numeric_dtype(kind):
        wanted = "float64" if series.isna().any() or types.is_float_dtype(kind) else None
        return keep(name, series.to_numpy(dtype=wanted, na_value=np.nan) if wanted else series.to_numpy(), "pandas frame")
    if types.is_datetime64_any_dtype(kind):
        zone = getattr(series.dt, "tz", None)
        plain = series.dt.tz_convert("UTC").dt.tz_localize(None) if zone is not None else series
        return Kept(plain.to_numpy(dtype="datetime64[ns]"), None if zone is None else _zone_text(zone))
    if types.is_string_dtype(kind):
        codes, levels = pandas.factorize(series)
        return Kept(Encoded(codes.astype(np.int32), tuple(map(str, levels))))
    return str(kind)


def _used_levels(codes: np.ndarray, levels: list[str]) -> Encoded:
    """Codes into those levels alone that occur."""
    used = np.flatnonzero(np.bincount(codes[codes >= 0], minlength=len(levels)))
    lookup = np.full(len(levels) + 1, -1, np.int32)  # the last entry serves code -1
    lookup[used] = np.arange(len(used), dtype=np.int32)
    return Encoded(lookup[codes], tuple(levels[k] for k in used))


def _zone_text(zone: object) -> str:
    """A zone of pandas by IANA name or fixed offset."""
    text = str(zone)
    fixed = re.fullmatch(r"UTC([+-])(\d\d):(\d\d)", text)
    if fixed:
        minutes = int(fixed[2]) * 60 + int(fixed[3])
        return offset_name(-minutes if fixed[1] == "-" else minutes)
    return zone_name(zone) if isinstance(zone, dt.tzinfo) else text


def to_pandas(columns: Mapping[str, Stored], zones: Mapping[str, str]) -> object:
    """Columns as a pandas frame; instants with a zone keep it."""
    pandas = optional("pandas", "a pandas frame")
    out = {}
    for name, column in columns.items():
        values = column.decode() if isinstance(column, Encoded) else column
        out[name] = pandas.Series(values)
        if name in zones:
            out[name] = out[name].dt.tz_localize("UTC").dt.tz_convert(zones[name])
    return pandas.DataFrame(out)


# ---- pyarrow


def from_arrow(frame: object) -> Frame:
    """A pyarrow table or record batch."""
    arrow = optional("pyarrow", "a pyarrow table")
    compute = optional("pyarrow.compute", "a pyarrow table")
    table = arrow.Table.from_batches([frame]) if isinstance(frame, arrow.RecordBatch) else frame
    assert isinstance(table, arrow.Table)
    pairs = zip(table.column_names, table.columns, strict=True)
    return _gather((name, _arrow_column(name, column, arrow, compute)) for name, column in pairs)


def _arrow_column(name: str, column: Any, arrow: ModuleType, compute: ModuleType) -> Kept | str:
    types, kind = arrow.types, column.type
    values = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if types.is_dictionary(kind):
        if not (types.is_string(kind.value_type) or types.is_large_string(kind.value_type)):
            return _arrow_column(name, arrow.chunked_array([values.dictionary_decode()]), arrow, compute)
        codes = values.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        return Kept(_used_levels(codes, [str(v) for v in values.dictionary.to_pylist()]))
    if types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view":
        plain = values.cast(arrow.large_string()) if str(kind) == "string_view" else values
        return _arrow_column(name, arrow.chunked_array([compute.dictionary_encode(plain)]), arrow, compute)
    if types.is_integer(kind) or types.is_boolean(kind):
        cast = values.cast(arrow.int8()) if types.is_boolean(kind) and values.null_count else values
        numbers = cast.cast(arrow.float64()) if values.null_count else cast
        return keep(name, numbers.to_numpy(zero_copy_only=False), "pyarrow table")
    if types.is_floating(kind):
        return keep(name, values.to_numpy(zero_copy_only=False), "pyarrow table")
    if types.is_decimal(kind) or types.is_null(kind):
        return Kept(values.cast(arrow.float64()).to_numpy(zero_copy_only=False))
    if types.is_date(kind):
        values, kind = values.cast(arrow.timestamp("ms")), arrow.timestamp("ms")
    if types.is_timestamp(kind):
        ticks = values.cast(arrow.int64()).fill_null(np.iinfo(np.int64).min).to_numpy(zero_copy_only=False)
        return Kept(ticks.view(f"datetime64[{kind.unit}]"), kind.tz)
    return str(kind)


def to_arrow(columns: Mapping[str, Stored], zones: Mapping[str, str]) -> object:
    """Columns as a pyarrow table; instants with a zone keep it."""
    arrow = optional("pyarrow", "a pyarrow table")
    out = {}
    for name, column in columns.items():
        if isinstance(column, Encoded):
            out[name] = arrow.array(column.decode(), type=arrow.string())
        elif column.dtype.kind == "M":
            out[name] = arrow.array(column, type=arrow.timestamp("ns", tz="UTC" if name in zones else None))
            if name in zones:
                out[name] = out[name].cast(arrow.timestamp("ns", tz=zones[name]))
        else:
            out[name] = arrow.array(column)
    return arrow.table(out)
