"""zones.py: wall clock and UTC. Oracle: zoneinfo, one instant at a time."""

from __future__ import annotations

import datetime as dt
import sys
import zoneinfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.data import zones
from tidegate.data.zones import SECOND, instants_text, to_local, to_utc
from tidegate.errors import DataError

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata", "America/Sao_Paulo"]
INSTANTS = st.datetimes(dt.datetime(1950, 1, 1), dt.datetime(2090, 1, 1)).map(lambda t: t.replace(microsecond=0))


def ns(moment: dt.datetime) -> int:
    return int((moment.replace(tzinfo=None) - dt.datetime(1970, 1, 1)).total_seconds()) * SECOND


@given(st.sampled_from(ZONES), st.lists(INSTANTS, min_size=1, max_size=5))
def test_to_local_equals_zoneinfo(zone: str, instants: list[dt.datetime]) -> None:
    local = [t.replace(tzinfo=dt.timezone.utc).astimezone(zoneinfo.ZoneInfo(zone)) for t in instants]
    found = to_local(np.array([ns(t) for t in instants]), zone)
    assert found.tolist() == [ns(t) for t in local]


@given(st.sampled_from(ZONES), INSTANTS)
def test_to_utc_equals_zoneinfo_where_it_is_one_time(zone: str, wall: dt.datetime) -> None:
    aware = wall.replace(tzinfo=zoneinfo.ZoneInfo(zone))
    first, second = aware.utcoffset(), aware.replace(fold=1).utcoffset()
    assert first is not None
    found = int(to_utc(np.array([ns(wall)]), zone)[0])
    if first == second:
        assert found == ns(wall - first)
    else:  # twice: the first; skipped: moved forward by the skip; PEP 495's fold=0 is both
        assert found == ns(wall - first)


@pytest.mark.parametrize(("zone", "hours"), [("+01:00", 1), ("-03:30", -3.5), ("UTC", 0), ("+0530", 5.5)])
def test_fixed_offsets(zone: str, hours: float) -> None:
    assert to_local(np.array([0]), zone).tolist() == [int(hours * 3600) * SECOND]
    assert to_utc(to_local(np.array([12345]), zone), zone).tolist() == [12345]


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(DataError, match="Europe/Berlni"):
        to_local(np.array([0]), "Europe/Berlni")


def test_instants_text_is_as_short_as_it_can_be() -> None:
    days = np.array(["2020-01-01", "NaT"], "datetime64[ns]")
    assert instants_text(days, None) == ["2020-01-01", ""]
    assert instants_text(days, "Europe/Berlin") == ["2020-01-01 00:00:00Z", ""]
    assert instants_text(days[:1] + np.timedelta64(1_500_000, "ns"), None) == ["2020-01-01 00:00:00.001500"]


def test_a_zone_is_a_file_and_never_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no tables they come from the package tzdata, and no name of a zone becomes that of a module."""
    pytest.importorskip("tzdata")
    expected = to_local(np.array([0, 10**18]), "Europe/Berlin")
    for places in (zoneinfo.TZPATH, ()):
        monkeypatch.setattr(zoneinfo, "TZPATH", places)
        zones.changes.cache_clear()
        assert to_local(np.array([0, 10**18]), "Europe/Berlin").tolist() == expected.tolist()
        before = set(sys.modules)
        for name in (
            "Europe/Atlantis",
            "../secret",
            "/etc/passwd",
            "os.path/x",
            "zoneinfo.Europe/Berlin",
            "a" * 1000,
            "Europe",
            "",
        ):
            with pytest.raises(DataError, match=r"time zone .*expected an IANA name"):
                zones.changes(name)
        assert set(sys.modules) == before
    zones.changes.cache_clear()
