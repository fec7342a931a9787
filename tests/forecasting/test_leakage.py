"""Looking ahead is impossible: forecasts up to a cutoff are byte-identical whatever stands after it.

Driven through the task's own windows (what the search and `backtest` run), for every registered learner.
"""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from automl.budget import Deadline
from automl.candidates import Candidate
from automl.errors import MissingPackageError
from automl.trial import Trial
from forecasting.config import FeatureSettings, SearchSettings, Settings
from forecasting.fitting import plan_task
from forecasting.learners.base import LEARNERS
from forecasting.panel import Panel
from forecasting.season import detect_season
from tests.forecasting.panels import small_panel

HORIZON = 4
SLOW = {"PmdArima", "Prophet", "TCNForecaster", "StatsmodelsETS"}
SMALL = {
    "LightGBM": {"n_estimators": 10},
    "QuantileLightGBM": {"n_estimators": 10},
    "RandomForest": {"n_estimators": 5},
    "ExtremeRandomTrees": {"n_estimators": 5},
    "QuantileForest": {"n_estimators": 5},
    "TCNForecaster": {"max_epochs": 2},
    "PmdArima": {"max_p": 1, "max_q": 1, "max_P": 0, "max_Q": 0, "max_order": 2, "maxiter": 3},
}


def _task(panel):
    search = SearchSettings(n_windows=3, window_step=HORIZON)
    features = FeatureSettings(lags="auto", feature_lags="auto", use_stl="season_trend", holidays="US")
    chosen = Settings(search=search, features=features)
    return plan_task(panel, HORIZON, chosen, seed=0).task


def _points(task, learner, tmp_path):
    candidate = Candidate.of(learner, SMALL.get(learner))
    trial = Trial(
        number=0,
        candidate=candidate,
        params=candidate.values(),
        seed=0,
        threads=1,
        deadline=Deadline(),
        directory=tmp_path,
    )
    try:
        return task.evaluate(trial).predictions["channels"][..., 0]
    except MissingPackageError as error:
        pytest.skip(str(error))


def _shocked(panel, after, shock):
    """The panel with targets, past covariates and weights changed from position `after[i]` of series i on."""
    position = np.arange(panel.n_rows) - np.repeat(panel.indptr[:-1], panel.lengths)
    late = position >= np.repeat(after, panel.lengths)
    y = np.where(late, panel.y * shock + shock, panel.y)
    past = replace(panel.past, values=np.where(late[:, None], panel.past.values + shock, panel.past.values))
    return replace(panel, y=y, past=past, weight=np.where(late, 3.0, panel.weight))


def _check(learner, window, shock, seed, tmp_path):
    panel = small_panel((50, 61, 70), seed=seed)
    task = _task(panel)
    wild = _task(_shocked(panel, task.cuts[window], shock))
    assert wild.settings == task.settings
    before, after = (_points(t, learner, tmp_path) for t in (task, wild))
    for k in range(window, 3):
        assert before[k].tobytes() == after[k].tobytes(), f"window {k} of {learner} saw what came after it"


@pytest.mark.parametrize("learner", [n for n in LEARNERS if n not in SLOW])
@given(window=st.integers(0, 2), shock=st.sampled_from([2.0, -5.0, 1e4]), seed=st.integers(0, 5))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_forecasts_do_not_depend_on_what_comes_after(learner, window, shock, seed, tmp_path):
    _check(learner, window, shock, seed, tmp_path)


@pytest.mark.parametrize("learner", sorted(SLOW))
def test_slow_learners_do_not_look_ahead_either(learner, tmp_path):
    _check(learner, 1, 3.0, 0, tmp_path)


def test_settings_of_a_task_do_not_depend_on_the_scored_rows():
    """The season is detected on rows before the oldest cutoff: a season that begins later is not seen."""
    rng = np.random.default_rng(0)
    calm = rng.standard_normal(120)
    late = calm.copy()
    late[-3 * HORIZON :] += 100 * np.sin(np.arange(3 * HORIZON) * np.pi / 2)
    grid = small_panel(freq="step").grid
    assert detect_season(Panel.from_arrays([late], grid)) == HORIZON
    tasks = [_task(Panel.from_arrays([y], grid)) for y in (calm, late)]
    assert tasks[0].settings.season == tasks[1].settings.season
    assert all((a == b).all() for a, b in zip(tasks[0].cuts, tasks[1].cuts, strict=True))


def test_error_scales_do_not_depend_on_the_scored_rows():
    panel = small_panel((50, 61, 70))
    task = _task(panel)
    wild = _task(_shocked(panel, task.cuts[0], 9.0))
    for a, b in zip(task.windows(), wild.windows(), strict=True):
        assert a.truth.mae_scale.tobytes() == b.truth.mae_scale.tobytes()
        assert a.truth.value_range.tobytes() == b.truth.value_range.tobytes()
