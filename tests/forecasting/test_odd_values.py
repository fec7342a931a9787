"""Names, calendars, units and gaps that are unusual but right: models must read them as they are meant."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from automl.errors import ConfigError, DataError
from forecasting import strangers
from forecasting.config import SearchSettings, Settings
from forecasting.features.holidays import holiday_features, holiday_names
from forecasting.features.plan import FeaturePlan
from forecasting.features.settings import PlanSettings
from forecasting.fitting import plan_task
from forecasting.forecaster import Forecaster
from forecasting.learners.base import LEARNERS, FitContext
from forecasting.learners.tcn_inputs import calendar_inputs
from forecasting.panel import Block, Future, Panel
from forecasting.season import detect_season, season_candidates
from forecasting.task import ForecastTask, TaskSettings
from forecasting.timegrid import TimeGrid
from tests.forecasting.panels import small_panel


def _weeks(days, *, seed=0):
    """A week that matters, moving slowly. Shape [days]."""
    rng = np.random.default_rng(seed)
    week = np.tile([10.0, 12, 11, 13, 18, 25, 3], days // 7 + 1)[:days]
    return week * np.exp(0.015 * np.cumsum(rng.standard_normal(days))) + rng.standard_normal(days)


def _numbered(name, values):
    """Series of months with one numeric static covariate."""
    rng = np.random.default_rng(0)
    n = len(values)
    static = Block((name,), np.array(values, dtype=float)[:, None], np.isfinite(values)[:, None])
    series = [np.arange(60) + rng.random(60) for _ in range(n)]
    return Panel.from_arrays(series, TimeGrid("MS", "2015-01-01"), static=static)


# -- covariates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[10115, 80331, 99999], [3e9, 3e9 + 1, 3e9 + 2], [10115, np.nan, 99999]])
def test_a_number_called_code_is_a_number(values):
    panel = _numbered("zip_code", values)
    plan = FeaturePlan.fit(panel, PlanSettings(), FitContext(horizon=6, season=12))
    assert [plan.feature_names[i] for i in plan.categorical] == ["series_code"]
    learner = LEARNERS.load("ElasticNet")(max_rows=300).fit(panel, FitContext(horizon=6, season=12))
    assert np.isfinite(learner.forecast(panel, Future.bare(panel, 6), ()).point).all()


def test_prices_against_others_do_not_depend_on_where_the_grid_begins():
    price = np.random.default_rng(0).random((160, 1)) + 1
    ids = [("s1", "a"), ("s1", "b"), ("s2", "a"), ("s2", "b")]
    found = []
    for start, origin in ((0, "2019-12-12"), (-40, "2020-01-21")):
        known = Block(("price",), price, np.ones((160, 1), dtype=bool))
        series = [np.arange(40.0) + i for i in range(4)]
        panel = Panel.from_arrays(series, TimeGrid("D", origin), ids=ids, start=[start] * 4, known=known)
        plan = FeaturePlan.fit(panel, PlanSettings(), FitContext(horizon=7, season=7))
        found.append(plan.scale(panel).fixed[:, plan.feature_names.index("price_against_id1")])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


def test_inputs_are_those_of_the_series_that_were_fitted():
    rng = np.random.default_rng(0)
    for lengths in ((200, 3), (3, 200)):
        rows = sum(lengths)
        known = Block(("p", "q"), rng.random((rows, 2)), np.ones((rows, 2), dtype=bool))
        series = [rng.random(k) for k in lengths]
        panel = Panel.from_arrays(series, TimeGrid("MS", "2001-01-01"), known=known)
        learner = LEARNERS.load("Arimax")().fit(panel, FitContext(horizon=3, season=1))
        assert learner.inputs(panel) == ("target", "p", "q")


# -- calendars ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("country", "begin"), [("ES", "2003-01-01"), ("ES", "2006-01-01"), ("RO", "1995-01-01")])
@pytest.mark.filterwarnings("ignore:Requested Holidays")
def test_no_holiday_is_near_before_the_calendar_begins(country, begin):
    grid, steps = TimeGrid("D", begin), np.arange(800)
    found = holiday_features(grid, steps, country, 3, 3)
    columns = dict(zip(holiday_names(grid, 3, 3), found.T, strict=True))
    np.testing.assert_array_equal(columns["days_since_holiday"] == 0, columns["paid_time_off"] == 1)
    np.testing.assert_array_equal(columns["days_to_holiday"] == 0, columns["paid_time_off"] == 1)


def test_business_days_lie_on_holidays():
    grid = TimeGrid("B", "2020-12-21")
    columns = dict(zip(holiday_names(grid, 3, 3), holiday_features(grid, np.arange(6), "US", 3, 3).T, strict=True))
    assert columns["paid_time_off"].tolist() == [0, 0, 0, 0, 1, 0]
    assert columns["days_to_holiday"][3] == 1


def test_seasons_of_business_hours_are_days_and_weeks():
    assert season_candidates(TimeGrid("bh", "2024-01-01 09:00")) == (8, 40)


def test_the_network_reads_the_clock_of_the_zone():
    grid = TimeGrid("h", "2024-01-01 08:00", zone="America/Los_Angeles")
    noon = [
        k
        for k in (np.arange(0, 24 * 365, 24 * 91) + 4).tolist()
        for k in (k, k + 1)
        if grid.clock(np.array([k]))[0].hour == 4
    ]
    rows = calendar_inputs(grid, np.array(noon), 24, None)
    weekly_and_daily = rows[:, -8:]
    np.testing.assert_allclose(
        weekly_and_daily, np.broadcast_to(weekly_and_daily[0], weekly_and_daily.shape), atol=1e-9
    )


# -- seasons and gaps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("slope", "rows"), [(0.1, 60), (0.3, 300), (0.7, 300), (1 / 3, 100)])
def test_rounding_is_no_season(slope, rows):
    assert detect_season(Panel.from_arrays([slope * np.arange(rows)], TimeGrid.steps())) == 1


def _gappy(*, walk=False):
    rng = np.random.default_rng(3)
    series = []
    for i in range(12):
        y = 50 + np.cumsum(rng.standard_normal(203)) if walk else _weeks(203, seed=i)
        y[190:193], y[186:189] = np.nan, np.nan
        y[rng.integers(5, 180, 10)] = np.nan
        series.append(y)
    return Panel.from_arrays(series, TimeGrid("D", "2020-01-06"))


def test_gaps_are_filled_by_the_season_where_it_says_more_than_the_last_value():
    settings = Settings(search=SearchSettings(n_windows=1))
    task = plan_task(_gappy(), 7, settings, seed=0).task
    assert task.settings.fill_season == 7
    panel = task.panel
    assert (panel.y[190], panel.y[187]) == (panel.y[183], panel.y[180])
    assert plan_task(_gappy(walk=True), 7, settings, seed=0).task.settings.fill_season == 1


def test_filling_by_the_season_looks_back_only_and_changes_nothing_observed():
    panel = _gappy()
    filled = panel.in_season(7)
    np.testing.assert_array_equal(filled.y[panel.observed], panel.y[panel.observed])
    for cut in (40, 188, 191, 200):
        lengths = np.full(panel.n_series, cut)
        np.testing.assert_array_equal(panel.head(lengths).in_season(7).y, filled.head(lengths).y)


def test_three_missing_days_do_not_end_up_in_the_forecast():
    y = _weeks(217)
    frame = pd.DataFrame({"ds": pd.date_range("2020-01-06", periods=210), "y": y[:210]})
    frame.loc[[205, 206], "y"] = np.nan
    search = SearchSettings(allowed=["SeasonalNaive"], workers=0)
    model = Forecaster(7, settings=Settings(search=search)).fit(frame)
    point = model.predict()["yhat"].to_numpy()
    np.testing.assert_allclose(point[2:4], y[198:200])
    np.testing.assert_allclose(np.delete(point, [2, 3]), np.delete(y[203:210], [2, 3]))


def test_sums_of_demand_skip_what_nobody_saw():
    y = np.zeros(60)
    y[::6] = 6.0
    gaps = y.copy()
    for t in range(0, 60, 6):
        gaps[t + 1 : t + 4] = np.nan
    panel = Panel.from_arrays([gaps], TimeGrid.steps())
    for name in ("ADIDA", "IMAPA"):
        learner = LEARNERS.load(name)().fit(panel, FitContext(horizon=1))
        rate = learner.forecast(panel, Future.bare(panel, 1), ()).point[0, 0]
        assert rate == pytest.approx(np.nanmean(gaps), rel=0.15)


def test_one_missing_row_does_not_widen_the_trend_of_prophet():
    pytest.importorskip("prophet")
    rng = np.random.default_rng(0)
    widths = []
    for gap in (0, 10):
        y = 20 + rng.standard_normal(120)
        y[1 : 1 + gap] = np.nan
        panel = Panel.from_arrays([y], TimeGrid("D", "2022-01-01"))
        learner = LEARNERS.load("Prophet")().fit(panel, FitContext(horizon=60))
        values = learner.forecast(panel, Future.bare(panel, 60), (0.1, 0.9)).values[0, -1]
        widths.append(values[2] - values[1])
    assert widths[1] < 2 * widths[0]


@pytest.mark.parametrize(("trained", "asked"), [(str, int), (int, str), (int, "category"), (str, object)])
def test_seven_in_training_is_seven_in_later_rows(trained, asked):
    days = pd.date_range("2020-01-06", periods=63)
    frame = pd.concat([pd.DataFrame({"unique_id": i, "ds": days, "y": 100 * i + _weeks(63)}) for i in (1, 2)])
    future = pd.concat([pd.DataFrame({"unique_id": i, "ds": days + pd.Timedelta(63, "D")}) for i in (2, 1)])
    search = SearchSettings(allowed=["SeasonalNaive"], workers=0)
    model = Forecaster(7, settings=Settings(search=search)).fit(frame.astype({"unique_id": trained}))
    usual = model.predict(future.astype({"unique_id": trained}))
    answer = model.predict(future.astype({"unique_id": asked}))
    assert "cold_start" not in answer
    np.testing.assert_array_equal(answer["yhat"], usual["yhat"])


def test_an_id_of_another_kind_is_told():
    frame = pd.DataFrame({"unique_id": 7, "ds": pd.date_range("2020-01-06", periods=63), "y": _weeks(63)})
    search = SearchSettings(allowed=["SeasonalNaive"], workers=0)
    model = Forecaster(7, settings=Settings(search=search)).fit(frame)
    with pytest.raises(DataError, match=r"'X9'.*int64"):
        model.predict(pd.DataFrame({"unique_id": ["X9"], "ds": ["2020-03-09"]}))


# -- series with little history -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LightGBM", "ElasticNet", "QuantileLightGBM"])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_a_series_of_zeros_has_the_units_of_the_others(name, unit):
    rng = np.random.default_rng(0)
    wave = 3 * np.sin(np.arange(60) * np.pi / 6)
    big = [unit * (10 + np.cumsum(rng.standard_normal(60)) * 0.3 + wave) for _ in range(6)]
    panel = Panel.from_arrays([*big, np.zeros(4)], TimeGrid("MS", "2015-01-01"), start=[0] * 6 + [56])
    learner = LEARNERS.load(name)().fit(panel, FitContext(horizon=6, season=12))
    assert np.abs(learner.forecast(panel, Future.bare(panel, 6), ()).point[6]).max() < 10 * unit
    alone = panel.select(np.array([6]))
    alone = replace(alone, ids=(("new",),))
    assert np.abs(learner.forecast(alone, Future.bare(alone, 6), ()).point).max() < 10 * unit


@pytest.mark.parametrize("name", ["ExponentialSmoothing", "Theta", "StatsmodelsETS"])
def test_a_series_that_has_grown_is_fitted_when_it_is_forecast(name):
    t = np.arange(200)
    y = 50 + 10 * np.sin(2 * np.pi * t / 12) + 0.2 * t
    grid = TimeGrid("MS", "2001-01-01")
    learner = LEARNERS.load(name)().fit(Panel.from_arrays([y, y[:3]], grid), FitContext(horizon=12, season=12))
    later = Panel.from_arrays([y, y], grid)
    forecast = learner.forecast(later, Future.bare(later, 12), ())
    assert not forecast.fallback.any()
    np.testing.assert_allclose(forecast.point[1], forecast.point[0], rtol=0.02)


def test_series_left_out_for_strangers_do_not_depend_on_what_was_asked_before():
    panel = small_panel(lengths=(30,) * 20 + (60,) * 20, season=12, covariates=False)
    settings = TaskSettings(horizon=4, season=12, levels=(0.5,), metric="mase")
    task = ForecastTask(panel, [panel.lengths - 4], settings)
    asked = strangers.Trial(task)
    asked._left_out(36)
    np.testing.assert_array_equal(asked._left_out(12), strangers.Trial(task)._left_out(12))


def test_quantiles_of_a_recursive_model_are_refused():
    panel = small_panel(covariates=False)
    with pytest.raises(ConfigError, match="strategy='direct'"):
        LEARNERS.load("QuantileLightGBM")(strategy="recursive").fit(panel, FitContext(horizon=4, season=12))
