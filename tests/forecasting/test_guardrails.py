"""Guardrails: each check is always there, says what was done, on how many series, and gives an example."""

import numpy as np
import pandas as pd
import pytest

from automl.guardrails import Report
from forecasting import frame as door
from forecasting.checks import ALWAYS, break_at
from forecasting.config import Columns, Covariates, DataSettings
from forecasting.forecaster import Forecaster
from tests.forecasting.frames import monthly, quick


def checked(frame, **settings):
    report = Report()
    door.prepare(frame, DataSettings(**settings), min_length=9, report=report)
    return {row["name"]: row for row in report.rows()}


def clean():
    return monthly(extra=True).assign(kind="a")


def hole(frame, column):
    return frame.assign(**{column: frame[column].where(frame.index != 70)})


STRAY = pd.concat([clean(), clean().iloc[[70]].assign(ds=pd.Timestamp("2018-11-05"))])
FLAT = clean().assign(y=np.where(clean()["unique_id"] == "s2", 4.0, clean()["y"]))
TWO_KINDS = pd.concat([clean(), clean().assign(kind="b")])
NAMED = Columns(id="unique_id", time="ds", target="y")
PRICE, PAST, KIND = Covariates(known="price"), Covariates(past="price"), Covariates(known="kind")
CASES = {
    "Missing feature values imputation": (hole(clean(), "price"), {"covariates": PRICE}, "done", 1, "s1 at 2018-11-01"),
    "Missing target imputation": (clean().drop(index=[5, 70, 71]), {}, "done", 2, "s0 at 2018-06-01"),
    "High cardinality feature detection": (
        clean().assign(kind=[f"k{i}" for i in range(180)]), {"covariates": KIND}, "alerted", 0, "kind: k0, k1, k10,",
    ),
    "Undeclared columns": (clean(), {}, "done", 0, "price"),
    "Features unknown at forecast time": (clean(), {"covariates": PAST}, "done", 0, "price"),
    "Frequency detection": (STRAY, {"freq": "MS"}, "done", 1, "series s1 at 2018-11-05"),
    "Time series aggregation": (STRAY, {"freq": "MS", "aggregate": "sum"}, "done", 1, "s1: 2018-11-01"),
    "Time series ID detection": (TWO_KINDS, {"columns": NAMED}, "done", 6, "s0/a"),
    "Short series handling": (
        pd.concat([clean(), clean().tail(5).assign(unique_id="new")]), {}, "done", 1, "new: 5 rows",
    ),
    "Constant series": (FLAT, {}, "alerted", 1, "s2"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_findings_say_how_many_series_and_which(name):
    frame, settings, status, series, example = CASES[name]
    found = checked(frame, **settings)[name]
    assert (found["status"], found["series"]) == (status, series), found
    assert example in found["example"], found


def test_clean_data_pass_every_check_of_the_data():
    report = checked(monthly())
    assert {row["status"] for row in report.values()} == {"passed"}
    assert report["Frequency detection"]["message"] == "detected MS"


@pytest.fixture(scope="module")
def jumped(tmp_path_factory):
    frame = monthly()
    t = frame.groupby("unique_id").cumcount()
    frame["y"] += np.where((frame["unique_id"] == "s1") & (t >= 40), 60.0, 0.0)
    path = tmp_path_factory.mktemp("runs") / "run"
    frame = pd.concat([frame, monthly(n_series=2, rows=96).assign(unique_id=lambda f: "long" + f["unique_id"])])
    late = (frame["unique_id"] == "longs1") & (frame.groupby("unique_id").cumcount() >= 50)
    return Forecaster(6, settings=quick(3)).fit(frame.assign(y=frame["y"] + np.where(late, 60.0, 0.0)), path=path), path


def test_every_guardrail_is_always_there_and_is_stored(jumped):
    model, path = jumped
    table = model.guardrails()
    assert set(ALWAYS) <= set(table["name"])
    assert table.columns.tolist() == ["name", "status", "message", "series", "example", "details"]
    pd.testing.assert_frame_equal(Forecaster.load(path).guardrails(), table)
    again = Forecaster.resume(path, more_trials=1).guardrails()
    assert sorted(again["name"]) == sorted(table["name"])


def test_a_jump_is_an_alert_that_names_series_and_time(jumped):
    found = jumped[0].guardrails().set_index("name").loc["Structural break"]
    assert (found["status"], found["series"]) == ("alerted", 1)
    assert found["example"].startswith("longs1 at 2022-0")


@pytest.mark.parametrize("kind", ["noise", "trend", "walk", "season", "constant"])
def test_what_goes_on_all_the_time_is_no_break(kind):
    found = 0
    for seed in range(50):
        e = np.random.default_rng(seed).standard_normal(240)
        t = np.arange(240)
        y = {
            "noise": e, "trend": 0.5 * t + e, "walk": np.cumsum(e), "season": 9 * np.sin(t * np.pi / 6) + e,
            "constant": np.zeros(240),
        }[kind]  # fmt: skip
        found += break_at(y, 12) is not None
    assert found <= 2


@pytest.mark.parametrize(("noise", "status"), [(0.0, "alerted"), (1.0, "passed")])
def test_a_model_that_knows_too_much_is_suspected(noise, status):
    frame = monthly(n_series=1, noise=0.0)
    frame["y"] = 50 + np.arange(60) + noise * np.random.default_rng(0).standard_normal(60)
    model = Forecaster(6, settings=quick(3, allowed=["ExponentialSmoothing", "Naive"])).fit(frame)
    assert model.guardrails().set_index("name").loc["Leakage suspicion", "status"] == status
