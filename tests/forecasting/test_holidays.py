"""Holidays: subdivisions, names and their windows, what is public, and that they pay on real data."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from automl.errors import ConfigError, UnknownNameError
from forecasting import backtest
from forecasting.config import FeatureSettings, Settings
from forecasting.features.holidays import (
    check_country,
    holiday_days,
    holiday_features,
    holiday_labels,
    holiday_names,
    learnable_labels,
)
from forecasting.features.plan import HOLIDAY_CODE, FeaturePlan
from forecasting.features.settings import PlanSettings
from forecasting.fitting import plan_task
from forecasting.learners.base import LEARNERS, FitContext
from forecasting.panel import Block, Future, Panel
from forecasting.timegrid import TimeGrid

DATA = Path(os.environ.get("FORECASTLE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data" / "timeseries"))
DAILY = TimeGrid("D", "2011-01-01")


def _step(grid, day):
    return int((pd.Timestamp(day) - pd.Timestamp(grid.origin)) / pd.Timedelta(days=1))


def test_unknown_countries_and_subdivisions_are_named():
    with pytest.raises(UnknownNameError, match="country"):
        check_country("XX-1")
    with pytest.raises(UnknownNameError, match=r"subdivision of US for holidays 'XX'.*AK, AL"):
        check_country("US-XX")
    with pytest.raises(ConfigError, match="holiday_subdivision 'CA' needs holidays to be a country code without one"):
        FeatureSettings(holidays="US-TX", holiday_subdivision="CA")
    with pytest.raises(ConfigError, match=r"holiday_window must be 0\.\.30 days"):
        FeatureSettings(holidays="US", holiday_window=(1, 2, 3))
    assert FeatureSettings(holidays="DE", holiday_subdivision="BY").country == "DE-BY"


def test_a_subdivision_has_its_own_days():
    bavaria, germany = (set(holiday_days(c, 2020, 2020)[0].tolist()) for c in ("DE-BY", "DE"))
    epiphany = int(np.datetime64("2020-01-06").astype("datetime64[D]").astype(int))
    assert epiphany in bavaria - germany
    at = holiday_features(DAILY, np.array([_step(DAILY, "2020-01-06")]), "DE-BY", 0, 0)
    assert at.tolist() == [[1, 1]]


def test_names_do_not_depend_on_the_language_of_the_machine(monkeypatch):
    monkeypatch.setenv("LANGUAGE", "de")
    holiday_days.cache_clear()
    assert "New Year's Day" in holiday_days("DE", 2015, 2015)[1]


def test_observances_have_a_name_and_are_no_time_off():
    names = holiday_names(DAILY, 2, 1)
    assert names == ("holiday", "paid_time_off", "days_to_holiday", "days_since_holiday")
    days = ("2012-12-23", "2012-12-24", "2012-12-25", "2012-12-26", "2012-12-28")
    steps = np.array([_step(DAILY, d) for d in days])
    assert holiday_features(DAILY, steps, "US", 2, 1).tolist() == [
        [0, 0, 2, 2], [1, 0, 1, 2], [1, 1, 0, 0], [0, 0, 3, 1], [0, 0, 3, 2]
    ]  # fmt: skip
    assert holiday_labels(DAILY, steps, "US", 2, 1).tolist() == [
        "2 days before Christmas Day", "Christmas Eve", "Christmas Day", "1 day after Christmas Day", ""
    ]  # fmt: skip
    assert holiday_names(DAILY, 0, 0) == ("holiday", "paid_time_off")


def test_hours_take_the_name_of_their_day():
    grid = TimeGrid("h", "2012-12-24 22:00")
    assert holiday_labels(grid, np.arange(4), "US", 0, 0).tolist() == ["Christmas Eve"] * 2 + ["Christmas Day"] * 2


def test_names_need_a_year_and_days_around_them_two():
    assert learnable_labels(DAILY, 0, 363, "US", 3, 3) == ()
    one, two = (learnable_labels(DAILY, 0, n, "US", 1, 1) for n in (364, 730))
    assert "Thanksgiving Day" in one
    assert "1 day before Thanksgiving Day" in set(two) - set(one)
    assert learnable_labels(TimeGrid("W", "2011-01-02"), 0, 200, "US", 3, 3) == ()


def _daily(rows, effect=-5.0):
    rng = np.random.default_rng(0)
    days = DAILY.stamps(np.arange(rows)).to_numpy().astype("datetime64[D]").astype(int)
    flags = np.isin(days, holiday_days("US", 2010, 2016)[0])
    return 20 + np.sin(2 * np.pi * np.arange(rows) / 7) + effect * flags + 0.1 * rng.standard_normal(rows), flags


def test_codes_of_names_in_the_design_matrix():
    y, _ = _daily(1100)
    panel = Panel.from_arrays([y[:420]], DAILY)
    plan = FeaturePlan.fit(panel, PlanSettings(holidays_before=1), FitContext(horizon=7, season=7, country="US"))
    at = plan.feature_names.index(HOLIDAY_CODE)
    assert at in plan.categorical
    code = plan.scale(panel, Future.bare(panel, 500)).fixed[:, at]
    assert code[_step(DAILY, "2011-07-04")] == 1 + plan.holiday_labels.index("Independence Day")
    assert code[_step(DAILY, "2011-07-04")] == code[_step(DAILY, "2012-07-04")]
    assert code[_step(DAILY, "2011-07-12")] == 0
    assert code[_step(DAILY, "2011-07-03")] == -1  # seen once: some day near a holiday
    assert FeaturePlan.from_json(plan.to_json()) == plan
    short = FeaturePlan.fit(panel.head(np.array([200])), PlanSettings(), FitContext(horizon=7, country="US"))
    assert HOLIDAY_CODE not in short.feature_names


@pytest.mark.parametrize("learner", ["LightGBM", "ElasticNet", "KNN", "RandomForest"])
def test_holidays_ahead_are_forecast(learner):
    y, flags = _daily(1180)
    origin = 1085  # before Christmas 2013
    panel = Panel.from_arrays([y[:origin]], DAILY)
    tuned = {"LightGBM": {"n_estimators": 60, "objective": "regression"}, "RandomForest": {"n_estimators": 20}}
    small = {"max_rows": 4000, **tuned.get(learner, {})}

    def error(country):
        model = LEARNERS.load(learner)(**small).fit(panel, FitContext(horizon=14, season=7, country=country))
        off = np.abs(model.forecast(panel, Future.bare(panel, 14), ()).point[0] - y[origin : origin + 14])
        return off[flags[origin : origin + 14]].mean()

    assert flags[origin : origin + 14].sum() >= 1
    assert error("US") < 0.7 * error(None)


def test_settings_reach_the_learners():
    panel = Panel.from_arrays([_daily(200)[0]], DAILY)
    chosen = Settings(features=FeatureSettings(holidays="us", holiday_subdivision="ca", holiday_window=(2, 0)))
    task = plan_task(panel, 7, chosen, seed=0).task
    learner = task.build("LightGBM", {})
    assert (learner.holidays_before, learner.holidays_after, task.settings.country) == (2, 0, "US-CA")


def test_prophet_takes_the_holidays_of_a_subdivision():
    """César Chávez Day is Californian only."""
    rng = np.random.default_rng(0)
    rows = 1250
    chavez = np.array([d.month == 3 and d.day == 31 for d in DAILY.stamps(np.arange(rows))])
    panel = Panel.from_arrays([(20 - 8 * chavez + 0.1 * rng.standard_normal(rows))], DAILY)
    ahead = 60
    origin = _step(DAILY, "2014-03-31") - 30
    history = panel.head(np.array([origin]))
    points = {
        country: LEARNERS.load("Prophet")(seasonality_prior_scale=0.01)
        .fit(history, FitContext(horizon=ahead, season=7, country=country))
        .forecast(history, Future.bare(history, ahead), ())
        .point[0]
        for country in ("US", "US-CA")
    }
    assert points["US-CA"][30] == pytest.approx(12, abs=1.5)
    assert points["US"][30] > 17


@pytest.mark.skipif(not (DATA / "azureml" / "bike-no.csv").is_file(), reason="bike sharing data is not here")
def test_holiday_rows_of_bike_sharing_get_better():
    """Eight origins two weeks apart: the absolute error on holidays falls with US holidays."""
    frame = pd.read_csv(DATA / "azureml" / "bike-no.csv", parse_dates=["date"]).set_index("date").asfreq("D")
    known = frame.drop(columns=["cnt", "casual", "registered", "instant"]).select_dtypes("number")
    block = Block(tuple(known.columns), known.to_numpy(float), np.ones(known.shape, dtype=bool))
    panel = Panel.from_arrays([frame["cnt"].to_numpy(float)], DAILY, known=block)
    days, _ = holiday_days("US", 2011, 2012)
    errors = {None: [], "US": []}
    for window in backtest.windows(panel, backtest.cutoffs(panel, 14, 8, 14), 14, 7, ()):
        ahead = DAILY.stamps(int(window.train.last[0]) + 1 + np.arange(14)).to_numpy().astype("datetime64[D]")
        rows = np.isin(ahead.astype(int), days)
        for country, seen in errors.items() if rows.any() else ():
            learner = LEARNERS.load("ElasticNet")().fit(window.train, FitContext(horizon=14, season=7, country=country))
            off = np.abs(learner.forecast(window.train, window.future, ()).point - window.truth.y)[0]
            seen.extend(off[rows])
    assert len(errors["US"]) == 5
    assert np.mean(errors["US"]) < 0.9 * np.mean(errors[None])
