"""Panels that are not like the usual ones: holes where models are chosen, very many rows, covariates that turn zero."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from automl.memory import cores
from forecasting import Forecaster
from forecasting.assemble import Assembly
from forecasting.config import SearchSettings, Settings
from forecasting.features.plan import FeaturePlan
from forecasting.features.settings import PlanSettings
from forecasting.fitting import plan_task
from forecasting.learners.base import LEARNERS, FitContext
from forecasting.learners.naive import SeasonalNaive
from forecasting.panel import Future, Panel
from forecasting.portfolio import choose
from forecasting.stationarity import is_stationary
from forecasting.timegrid import TimeGrid
from tests.forecasting.frames import quick
from tests.forecasting.panels import future_of, small_panel
from tests.forecasting.test_assemble import MASE, WQL, _assembly, _forecasts

# -- windows without a score ------------------------------------------------------------------------------------------


def _daily(values):
    return pd.DataFrame(
        {"unique_id": "a", "ds": pd.date_range("2021-01-01", periods=len(values)), "y": np.asarray(values, float)}
    )


def _noise(rows):
    return 10 + np.random.default_rng(0).standard_normal(rows)


def test_a_gap_over_a_whole_window_costs_that_window_alone():
    y = _noise(400)
    y[372:386] = np.nan
    model = Forecaster(14, settings=quick(3, n_windows=5, window_step=14)).fit(_daily(y))
    rails = model.guardrails()
    told = rails[rails["message"].str.contains("windows are left out")]
    assert told["message"].str.startswith("1 of 5 windows").all()
    assert len(told) == 1
    assert np.isfinite(model.predict()["yhat"]).all()


def test_windows_before_anything_happens_do_not_count():
    y = np.concatenate([np.zeros(140), 50 + np.cumsum(_noise(60) - 10)])
    model = Forecaster(30, settings=quick(3, n_windows="auto")).fit(_daily(y))
    assert np.isfinite(model.leaderboard()["score"]).any()
    assert np.isfinite(model.predict()["yhat"]).all()


def test_series_whose_variance_of_sums_is_nothing_can_be_tested():
    assert is_stationary(np.tile([2.0, 0, 1], 7) / 2)


def test_a_long_season_may_show_with_all_rows_only():
    t = np.arange(143)
    y = 100 + 20 * np.sin(2 * np.pi * t / 52) + np.random.default_rng(0).standard_normal(143)
    panel = Panel.from_arrays([y, y + 3], TimeGrid("W-FRI", "2010-02-05"))
    task = plan_task(panel, 39, Settings(), seed=0).task
    assert min(cut.min() for cut in task.cuts) < 2 * 52
    assert task.settings.season == 52


# -- very many --------------------------------------------------------------------------------------------------------


def test_weights_are_chosen_on_some_of_very_many_series(monkeypatch):
    panel = small_panel((70,) * 300, covariates=False)
    panel = replace(panel, y=panel.y / np.repeat(10.0 ** np.arange(300), panel.lengths))
    task = plan_task(panel, 4, Settings(search=SearchSettings(n_windows=2, window_step=4)), seed=0).task
    channels = [_forecasts(task, 1.0, 30.0), _forecasts(task, 1.03, 1.0)]
    monkeypatch.setattr("forecasting.assemble._ENOUGH_VALUES", 400)
    seen = []
    whole = Assembly.lost
    monkeypatch.setattr(Assembly, "lost", lambda self, c, some=None: seen.append(c.shape[1]) or whole(self, c, some))
    assert list(_assembly(task, channels, WQL).vote(15)) == [1]
    assert set(seen) == {100}
    rng = np.random.default_rng(0)
    both = [_forecasts(task, 1.0, 1.0) + rng.standard_normal(channels[0].shape) for _ in range(2)]
    weights = _assembly(task, both, WQL).vote(15)
    assert sum(np.mean(w) for w in weights.values()) == pytest.approx(1)
    assert _assembly(task, both, None).metric is MASE


@pytest.mark.parametrize("name", ["LightGBM", "QuantileLightGBM", "ElasticNet"])
def test_of_very_long_series_the_last_rows_are_looked_at(name, monkeypatch):
    panel = small_panel((500, 520, 700))
    context = FitContext(horizon=6, season=12)
    assert FeaturePlan.fit(panel, PlanSettings(), context).recent == 0
    monkeypatch.setattr("forecasting.features.plan._ENOUGH_ROWS", 900)
    learner = LEARNERS.load(name)().fit(panel, context)
    recent = learner.plan.recent
    assert 2 * 192 < recent < 450
    future = future_of(panel, 6)
    first = learner.forecast(panel, future, (0.1, 0.9)).values
    np.testing.assert_allclose(learner.forecast(panel.tail(recent), future, ()).point, first[:, :, 0])
    settings, blobs = learner.state()
    again = type(learner).from_state(settings, blobs)
    np.testing.assert_array_equal(again.forecast(panel, future, (0.1, 0.9)).values, first)
    changed = replace(panel, y=np.where(panel.step_of_rows() < 50, -1e6, panel.y))
    old, new = (LEARNERS.load(name)(transform="none").fit(p, context).forecast(p, future, ()) for p in (panel, changed))
    np.testing.assert_array_equal(new.point, old.point)


# -- covariates -------------------------------------------------------------------------------------------------------


def test_a_covariate_means_the_same_when_it_turns_zero_later():
    panel = small_panel()
    plan = FeaturePlan.fit(panel, PlanSettings(), FitContext(horizon=6, season=12))
    assert plan.positive == ("price",)
    future = future_of(panel, 6)
    values = future.known.values.copy()
    values[-1, 0] = 0.0
    zero = Future(6, replace(future.known, values=values))
    names = list(plan.feature_names)

    def relative(ahead):
        scaled = plan.scale(panel, ahead)
        rows, series = plan.future_rows(scaled, 6)
        return plan.design(scaled, rows, series, plan.past_block(panel)).x[:, names.index("price_relative")]

    before, after = relative(future), relative(zero)
    np.testing.assert_array_equal(after[:-1], before[:-1])
    assert np.isfinite(after).all()
    assert after[-1] < before.min()
    again = FeaturePlan.from_json(plan.to_json())
    assert again.positive == plan.positive
    old = plan.to_json()
    del old["positive"], old["recent"]
    assert FeaturePlan.from_json(old).positive is None


# -- the week of hours, the machine -----------------------------------------------------------------------------------


def test_the_week_of_hourly_data_has_naive_forecasts_of_its_own():
    t = np.arange(24 * 7 * 8)
    noise = np.random.default_rng(0).standard_normal(len(t))
    y = 10 + np.sin(2 * np.pi * t / 24) + 3 * (t // 24 % 7 > 4) + 0.1 * noise
    panel = Panel.from_arrays([y], TimeGrid("h", "2001-01-01"))
    found = choose(panel, SearchSettings(), season=24, stationary=True).candidates
    weeks = [c.values().get("season") for c in found if c.learner in {"SeasonalNaive", "SeasonalWindowAverage"}]
    assert weeks.count(168) == 2
    got = SeasonalNaive(season=168).fit(panel, FitContext(horizon=200, season=24))
    settings, blobs = got.state()
    for learner in (got, SeasonalNaive.from_state(settings, blobs)):
        point = learner.forecast(panel, Future.bare(panel, 200), ()).point[0]
        np.testing.assert_array_equal(point, np.tile(y[-168:], 2)[:200])


def test_cores_are_those_this_process_may_use(monkeypatch):
    assert cores() >= 1
    monkeypatch.setattr("automl.memory.os.sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.setattr("automl.memory.Path.read_text", lambda *_given, **_named: "150000 100000\n")
    assert cores() == 2
    monkeypatch.setattr("automl.memory.Path.read_text", lambda *_given, **_named: "max 100000\n")
    assert cores() == 8


@pytest.mark.parametrize(("season", "stationary", "trees"), [(12, False, 2), (12, True, 0), (1, False, 3)])
def test_trees_start_from_the_last_value_where_series_wander(season, stationary, trees):
    panel = small_panel(covariates=False)
    found = choose(panel, SearchSettings(), season=season, stationary=stationary).candidates
    last = [c for c in found if c.learner in {"LightGBM", "QuantileLightGBM"} and c.values().get("base") == "last"]
    assert (len(last) >= trees) if season == 1 else (len(last) == trees)
