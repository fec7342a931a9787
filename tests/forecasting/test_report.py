"""The run report lists what is in force, where it comes from, and lies beside the run."""

import json

import pytest

from forecasting.forecaster import Forecaster
from forecasting.report import markdown
from tests.forecasting.frames import monthly, quick

WANTED = {
    "frequency", "off-grid rule", "minimum history", "short series", "padding noise", "target gaps", "kind of price",
    "gaps of price", "season", "target lags", "target windows", "holidays", "holiday window", "stationarity", "horizon",
    "metric", "cross validation windows", "cross validation step", "early stopping window", "ensemble rounds",
    "degraded learner", "interval method", "fade of older windows", "non-negative forecasts", "past the horizon",
    "unseen series", "cold start", "structural break", "many categories", "rows of a design matrix",
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    return Forecaster(6, known=["price"], settings=quick(2)).fit(monthly(extra=True), path=path), path


def test_every_choice_is_there_with_its_value_and_source(fitted):
    model, _ = fitted
    table = model.report().set_index("name")
    assert table.index.is_unique
    assert WANTED - set(table.index) == set()
    assert set(table["source"]) <= {"user", "data", "default"}
    want = {
        "frequency": ("MS", "data"), "season": ("12 steps", "data"), "cross validation windows": ("2", "user"),
        "cross validation step": ("6 steps", "data"), "horizon": ("6 steps", "user"),
        "holiday window": ("3 and 3 days", "default"), "gaps of price": ("median", "default"),
        "early stopping window": ("10 trials", "default"), "minimum history": ("9 rows", "default"),
        "target windows": ("3, 12, 24", "data"), "kind of price": ("number", "data"),
    }  # fmt: skip
    got = {name: tuple(table.loc[name, ["value", "source"]]) for name in want}
    assert got == want


def test_what_the_user_set_is_called_so():
    model = Forecaster(3, freq="MS", seed=7, settings=quick(1, metric="wape", allowed=["Naive"])).fit(monthly())
    table = model.report().set_index("name")["source"]
    assert table[["frequency", "seed", "metric"]].tolist() == ["user"] * 3


def test_the_report_lies_beside_the_run_and_reads_as_it_is_stored(fitted):
    model, path = fitted
    stored = json.loads((path / "report.json").read_text())
    assert stored["data"]["series"] == 3
    assert stored["data"]["rows"] == 180
    assert stored["best"] == model.best()
    assert {row["name"] for row in stored["guardrails"]} == set(model.guardrails()["name"])
    assert [row["name"] for row in stored["choices"]] == model.report()["name"].tolist()
    assert stored["leaderboard"][0]["model"] == model.leaderboard()["model"].iloc[0]
    assert stored["versions"]["numpy"]
    assert stored["seconds"] > 0
    text = (path / "report.md").read_text()
    assert text == markdown(stored)
    assert "| season | 12 steps | data |" in text
    assert Forecaster.load(path).report().equals(model.report())
