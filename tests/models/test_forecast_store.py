"""A model file is not trusted: each row of TAMPERINGS alters one thing of a sound file, with a digest that is right again."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest

import tidegate as tg
from tests.models.conftest import SMALL, long_table, series
from tidegate import format as container
from tidegate.data.panel import Roles
from tidegate.errors import ConfigError, FormatError
from tidegate.models.forecast_answers import check_reserved
from tidegate.spec import spec_to_plain
from tidegate.tasks.forecast_net import Plan, build_spec

COVARIATES = {
    "promo": lambda c: np.random.default_rng(1).normal(size=len(c["sales"])),
    "day": lambda c: np.array(["mon", "tue", "wed"], object)[np.arange(len(c["sales"])) % 3],
    "area": lambda c: np.where(c["shop"] == c["shop"][0], 1.0, 2.0),
}
ROLES = {"target": "sales", "time": "when", "id": "shop", "past": "promo", "future": "day", "static": "area"}
TINY = SMALL | {"steps": 3}
HUGE = 10**18


@pytest.fixture(scope="module")
def rich():
    """One file with covariates, learnt series and intervals' factors."""
    table = long_table(**COVARIATES)
    return container.parse(tg.Forecaster(horizon=4, season=12, identity=True, **TINY).fit(table, **ROLES).to_bytes())


@pytest.fixture(scope="module")
def uneven():
    """One file with times of its own for each row."""
    table = long_table()
    shift = np.random.default_rng(2).integers(0, 1200, len(table["when"])) * np.timedelta64(1, "s")
    table["when"] = table["when"] + shift
    model = tg.Forecaster(horizon=4, season=12, uneven=True, **TINY)
    return container.parse(model.fit(table, target="sales", time="when", id="shop").to_bytes())


def written(path, header, arrays):
    path.write_bytes(container.dump("model", header, arrays))
    return path


def parts(file):
    return copy.deepcopy(file.header), {name: array.copy() for name, array in file.arrays.items()}


def at(*place):
    """Set the header's value at a place; `value` may be a function of the old one."""
    *outer, last, value = place

    def alter(header, arrays):
        table = header
        for key in outer:
            table = table[key]
        table[last] = value(table[last]) if callable(value) else value

    return alter


def without(*place):
    def alter(header, arrays):
        table = header
        for key in place[:-1]:
            table = table[key]
        del table[place[-1]]

    return alter


def array(name, change):
    """Replace an array by a changed copy."""

    def alter(header, arrays):
        arrays[name] = change(arrays[name])

    return alter


def entry(name, value, index=0):
    """Set one entry of an array."""

    def change(a):
        a.reshape(-1)[index] = value
        return a

    return array(name, change)


def both(*alters):
    def alter(header, arrays):
        for one in alters:
            one(header, arrays)

    return alter


def new(name, value):
    def alter(header, arrays):
        arrays[name] = value

    return alter


def twin_ids(header, arrays):
    """Both series by one name, everywhere."""
    body, offsets = arrays["data.ids"], arrays["data.id_offsets"]
    half = int(offsets[1])
    for prefix in ("data", "decoder"):
        arrays[f"{prefix}.ids"] = np.concatenate([body[:half], body[:half]])
        arrays[f"{prefix}.id_offsets"] = np.array([0, half, 2 * half])


def other_net(**change):
    """A plan that is changed together with the spec that follows from it, so that only the plan's own checks can tell."""

    def alter(header, arrays):
        header["plan"].update(change)
        plan = header["plan"] | {k: tuple(v) for k, v in header["plan"].items() if isinstance(v, list)}
        whole = SimpleNamespace(**plan)
        try:
            for name in ("parameters", "calendar", "future_segments", "past_channels", "future_channels", "static_channels"):
                setattr(whole, name, getattr(Plan, name).fget(whole))
            header["spec"] = spec_to_plain(build_spec(whole))
        except (ValueError, ZeroDivisionError):
            pass

    return alter


TAMPERINGS = {
    # the plan
    "horizon 0": other_net(horizon=0),
    "horizon huge": both(other_net(horizon=HUGE), at("options", "horizon", HUGE)),
    "season 0": other_net(season=0),
    "season beyond a float": at("plan", "season", 10**400),
    "segment 0": other_net(segment=0),
    "segment negative": other_net(segment=-1),
    "lookback huge": other_net(lookback=12 * 10**15),
    "lookback no whole segments": other_net(lookback=13),
    "bases empty": other_net(bases=[]),
    "bases without the mean": other_net(bases=[1, 2, 12]),
    "bases falling": other_net(bases=[0, 12, 1]),
    "bases negative": other_net(bases=[0, -1, 12]),
    "bases huge": other_net(bases=[0, 1, HUGE]),
    "hidden size huge": at("plan", "hidden_size", HUGE),
    "no layers": other_net(num_layers=0),
    "dropout 1": other_net(dropout=1.0),
    "dropout negative": other_net(dropout=-0.5),
    "quantiles falling": other_net(quantiles=[0.9, 0.5, 0.1]),
    "quantiles without the median": other_net(quantiles=[0.1, 0.9]),
    "calendar column negative": other_net(calendar_columns=[-1]),
    "calendar column of no clock": other_net(calendar_columns=[63]),
    "past numbers negative": other_net(past_numbers=-1),
    "levels empty": other_net(future_levels=[0]),
    "levels huge": other_net(future_levels=[HUGE]),
    "known lines huge": at("plan", "known_lines", HUGE),
    "recursive by segments": at("plan", "decode", "recursive"),
    "plan of another cell": at("plan", "cell", "gru"),
    "plan a list": at("plan", []),
    # options against plan
    "options: horizon": at("options", "horizon", 5),
    "options: decode": at("options", "decode", "recursive"),
    "options: output": at("options", "output", "gaussian"),
    "options: scaling": at("options", "scaling", "running"),
    "options: uneven": at("options", "uneven", True),
    "options: cell": at("options", "cell", "gru"),
    "options: hidden size": at("options", "hidden_size", 9),
    "options: layers": at("options", "num_layers", 2),
    "options: season": at("options", "season", 7),
    "options: identity": at("options", "identity", False),
    "options: calendar": at("options", "calendar", False),
    "options missing": without("options"),
    "options of no type": at("options", "horizon", "4"),
    # the header
    "steps 0": at("steps", 0),
    "steps not whole": at("steps", 3.5),
    "steps text": at("steps", "3"),
    "steps missing": without("steps"),
    "kind unknown": at("kind", "polars; rm"),
    "kind a list": at("kind", []),
    "kind missing": without("kind"),
    "source a number": at("source", 3),
    "members 2": at("members", 2),
    "members true": at("members", True),
    "spec of another net": at("spec", "outputs", []),
    # the schema
    "schema uneven": at("schema", "uneven", True),
    "schema with a level more": at("schema", "levels", "day", lambda v: ["x", *v]),
    "schema with a level less": at("schema", "levels", "day", lambda v: v[1:]),
    "schema clock integer": at("schema", "clock", "kind", "integer"),
    "schema step huge": at("schema", "clock", "step", 2**62),
    "schema zone unknown": at("schema", "clock", "zone", "No/Where"),
    "schema text format": at("schema", "clock", "text_format", "%Q %é %"),
    "schema id kind": at("schema", "id_kind", "integer"),
    # the decoder
    "lower text": at("decoder", "lower", "0"),
    "lower true": at("decoder", "lower", True),
    "lower other than the options'": at("decoder", "lower", 5.0),
    "lower missing": without("decoder", "lower"),
    "paths 0": at("decoder", "paths", 0),
    "paths huge": both(at("decoder", "paths", HUGE), at("options", "paths", HUGE)),
    "paths not whole": at("decoder", "paths", 200.5),
    "levels falling": at("decoder", "levels", lambda v: v[::-1]),
    "levels twice": at("decoder", "levels", lambda v: [v[0]] * len(v)),
    "levels true": at("decoder", "levels", lambda v: [True, *v[1:]]),
    "levels of 100": at("decoder", "levels", lambda v: [*v[:-1], 100]),
    "levels gone": at("decoder", "levels", []),
    "factors negative": entry("decoder.corrections", -1.0),
    "factors vast": entry("decoder.corrections", 1e300),
    "factors transposed": array("decoder.corrections", lambda a: a.T.copy()),
    "factors single": array("decoder.corrections", lambda a: a.astype(np.float32)),
    # the data
    "target whole numbers": array("data.target", lambda a: np.zeros(a.shape, np.int64)),
    "target of three axes": array("data.target", lambda a: a[..., None]),
    "target a number": array("data.target", lambda a: a.reshape(-1)[0].reshape(())),
    "target two columns": array("data.target", lambda a: np.concatenate([a, a], 1)),
    "target shorter": array("data.target", lambda a: a[:-1]),
    "offsets single": array("data.offsets", lambda a: a.astype(np.int32)),
    "offsets as floats": array("data.offsets", lambda a: a.astype(np.float64)),
    "offsets falling": entry("data.offsets", HUGE, 1),
    "offsets empty": array("data.offsets", lambda a: a[:0]),
    "starts far": entry("data.starts", 2**60),
    "starts beyond the calendar": entry("data.starts", 2**52),
    "starts as floats": array("data.starts", lambda a: a.astype(np.float64)),
    "starts of one": array("data.starts", lambda a: a[:1]),
    "future rows negative": entry("data.future_rows", -1),
    "future rows more than rows": entry("data.future_rows", HUGE),
    "future rows true": array("data.future_rows", lambda a: a.astype(bool)),
    "numbers double": array("data.past.numbers", lambda a: a.astype(np.float64)),
    "numbers two": array("data.past.numbers", lambda a: np.concatenate([a, a], 1)),
    "codes above the levels": entry("data.future.codes", 4),
    "codes below missing": entry("data.future.codes", -2),
    "codes wide": array("data.future.codes", lambda a: a.astype(np.int64)),
    "static of a row too many": array("data.static.numbers", lambda a: np.concatenate([a, a])),
    "ids twice": twin_ids,
    "ids no text": array("data.ids", lambda a: np.full_like(a, 255)),
    "ids' offsets falling": entry("data.id_offsets", HUGE, 1),
    "ids' offsets as floats": array("data.id_offsets", lambda a: a.astype(np.float64)),
    "decoder ids of one": array("decoder.id_offsets", lambda a: a[[0, 2]]),
    "elapsed in an even file": new("data.elapsed", np.zeros(3)),
    # arrays
    "an array more": new("data.more", np.zeros(3)),
    "a net more": new("net1.context.weight", np.zeros((8, 8), np.float32)),
    "a weight more": new("net0.more", np.zeros(3, np.float32)),
    "a weight of another type": array("net0.context.weight", lambda a: a.astype(np.float64)),
    "weights whole": array("net0.context.weight", lambda a: a.astype(np.int32)),
    "weights transposed": array("net0.decoder_in.weight", lambda a: a.T.copy()),
    # the card
    "card empty": at("card", {}),
    "card a list": at("card", []),
    "card figures text": at("card", "held_back", "good"),
    "card figures without a table": without("card", "held_back", "table"),
    "card figures empty": at("card", "held_back", "table", []),
    "card figures of rows": at("card", "held_back", "table", [1]),
    "card figures of text": at("card", "held_back", "table", lambda t: [{**t[0], "MASE": "0.1"}]),
    "card figures uneven": at("card", "held_back", "table", lambda t: [t[0], {"method": "x"}]),
    "card notes": at("card", "notes", 3),
    "card versions": at("card", "versions", []),
    "card rows": at("card", "rows", "many"),
}
UNEVEN = {
    "elapsed falling": entry("data.elapsed", 0.0, 5),
    "elapsed negative": entry("data.elapsed", -1.0),
    "elapsed NaN": entry("data.elapsed", np.nan, 3),
    "elapsed Inf": entry("data.elapsed", 2.0**60, -1),
    "elapsed single": array("data.elapsed", lambda a: a.astype(np.float32)),
    "elapsed shorter": array("data.elapsed", lambda a: a[:-1]),
    "origins as floats": array("data.origins", lambda a: a.astype(np.float64)),
    "origins far": entry("data.origins", 2**63 - 1),
    "elapsed gone": lambda header, arrays: arrays.pop("data.elapsed"),
    "origins gone": lambda header, arrays: arrays.pop("data.origins"),
    "said to be even": both(at("schema", "uneven", False)),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_an_altered_file_is_refused(rich, tmp_path, name):
    header, arrays = parts(rich)
    TAMPERINGS[name](header, arrays)
    path = written(tmp_path / "m.safetensors", header, arrays)
    with pytest.raises(FormatError) as error:
        tg.load(path)
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize("name", UNEVEN)
def test_an_altered_file_of_uneven_rows_is_refused(uneven, tmp_path, name):
    header, arrays = parts(uneven)
    UNEVEN[name](header, arrays)
    path = written(tmp_path / "m.safetensors", header, arrays)
    with pytest.raises(FormatError) as error:
        tg.load(path)
    assert len(str(error.value)) < 2000


def test_the_files_that_are_altered_here_are_sound(rich, uneven, tmp_path):
    for file in (rich, uneven):
        assert tg.load(written(tmp_path / "m.safetensors", *parts(file))).to_bytes() == container.dump("model", *parts(file))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cell": "gru", "num_layers": 2},
        {"cell": "rnn", "lookback": 30, "segment": 4},
        {"scaling": "running", "truncate": 2},
        {"decode": "recursive", "lookback": 24, "paths": 5},
        {"decode": "recursive", "lookback": 12, "paths": 5, "output": "negative_binomial"},
        {"output": "gaussian", "lower": 0.0},
        {"output": "student_t", "calibrate": False},
        {"output": "negative_binomial"},
        {"output": "point"},
        {"ensemble": 2},
        {"identity": True, "calendar": False},
        {"lags": (12, 3, 3)},
        {"validation": 20, "dropout": 0.0},
        {"quantiles": (0.25, 0.5, 0.9)},
        {"season": None},
    ],
    ids=str,
)
def test_every_honest_file_loads(options, tmp_path):
    ys = [np.round(np.abs(y)) for y in series()]
    given = {"horizon": 5, "season": 12} | TINY | options
    table = long_table() | {"sales": np.concatenate(ys[:2])}
    for frame, roles in ((ys, {}), (table, {"target": "sales", "time": "when", "id": "shop"})):
        model = tg.Forecaster(**given).fit(frame, **roles)
        model.save(tmp_path / "m.safetensors")
        again = tg.load(tmp_path / "m.safetensors")
        assert again.to_bytes() == model.to_bytes()
        if not roles:
            again.update(frame, steps=1).save(tmp_path / "n.safetensors")
            tg.load(tmp_path / "n.safetensors")


@pytest.mark.parametrize(
    "roles",
    [
        {"target": ("y",), "time": ("forecast",)},
        {"target": ("y",), "id": "forecast-lo-80"},
        {"target": ("y", "z"), "id": "target"},
        {"target": ("forecast",)},
        {"target": ("y",), "id": "time"},
    ],
    ids=str,
)
def test_reserved_names_are_refused(roles):
    with pytest.raises(ConfigError, match="rename"):
        check_reserved(Roles(**roles))


def test_names_that_do_not_collide_are_kept():
    check_reserved(Roles(target=("target",), time=("time",), id="id", past=("forecast",)))
    check_reserved(Roles(target=("y",), time=("target",), id="forecasts"))
