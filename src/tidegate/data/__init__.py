"""Data: files and frames -> tables -> panels of series. In: what a user has. Out: frozen arrays that know nothing of any net.

Read in this order: table.py, times.py, schema.py, panel.py, check.py; the other files are their parts.
"""

from tidegate.data.check import Finding, check_table
from tidegate.data.future import FutureValues, future_values
from tidegate.data.panel import build_panel
from tidegate.data.schema import Roles, Schema
from tidegate.data.season import infer_season
from tidegate.data.series import Covariates, Panel
from tidegate.data.table import Table, read_table
from tidegate.data.times import Clock, infer_clock

__all__ = [
    "Clock", "Covariates", "Finding", "FutureValues", "Panel", "Roles", "Schema", "Table",
    "build_panel", "check_table", "future_values", "infer_clock", "infer_season", "read_table",
]  # fmt: skip
