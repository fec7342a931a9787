"""What is decided from data before a search: the horizon, the target's transform, the memory of a fit."""

import numpy as np
import pandas as pd
import pytest

from automl.errors import ConfigError, DataError
from automl.memory import free_mb
from forecasting import Forecaster
from forecasting.config import FeatureSettings, SearchSettings, Settings
from forecasting.features.plan import FeaturePlan
from forecasting.features.settings import PlanSettings
from forecasting.fitting import plan_task, settings_from_json, settings_to_json
from forecasting.horizon import auto_horizon
from forecasting.learners.base import LEARNERS, FitContext
from forecasting.memory import matrix_mb
from forecasting.panel import Panel
from forecasting.portfolio import choose
from forecasting.task import open_task, save_task
from forecasting.timegrid import TimeGrid
from tests.forecasting.frames import monthly, quick
from tests.forecasting.panels import small_panel

# -- horizon ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("freq", "want"),
    [("h", 24), ("D", 14), ("B", 10), ("W-THU", 8), ("MS", 12), ("ME", 12), ("QE-DEC", 4), ("YS", 2), ("15min", 96)],
)
def test_horizon_by_frequency(freq, want):
    t = np.arange(960)
    y = np.sin(2 * np.pi * t / 96) + 0.05 * np.random.default_rng(0).standard_normal(960)
    panel = Panel.from_arrays([y], TimeGrid(freq, "1850-01-01" if freq == "YS" else "2001-01-01"))
    assert auto_horizon(panel.head(np.array([200 if freq == "YS" else 960])))[0] == want


def test_horizon_of_numbered_steps_is_a_season_or_ten():
    rng = np.random.default_rng(0)
    season = np.tile([0.0, 5.0, 1.0, 3.0], 30) + 0.1 * rng.standard_normal(120)
    assert auto_horizon(Panel.from_arrays([season], TimeGrid.steps()))[0] == 4
    assert auto_horizon(Panel.from_arrays([rng.standard_normal(120)], TimeGrid.steps()))[0] == 10


def test_a_forecaster_finds_its_horizon(tmp_path):
    frame = monthly(n_series=2, rows=45)
    model = Forecaster("auto", settings=quick(1, allowed=["SeasonalNaive"]))
    assert model.horizon == 0
    model.fit(frame, path=tmp_path / "run")
    assert model.horizon == 9
    assert len(model.predict()) == 2 * 9
    note = model.guardrails().set_index("name").loc["Horizon"]
    assert note["status"] == "done"
    assert (
        note["message"]
        == "9 steps ahead: usual at frequency MS would be 12, cut to a fifth of the typical series of 45 rows"
    )
    loaded = Forecaster.load(tmp_path / "run")
    assert loaded.horizon == 9
    pd.testing.assert_frame_equal(loaded.predict(), model.predict())
    model.fit(monthly(n_series=2, rows=100))
    assert model.horizon == 12
    with pytest.raises(ConfigError, match="or 'auto', got 'month'"):
        Forecaster("month")


# -- transform --------------------------------------------------------------------------------------------------------


def _listed(transform):
    panel = small_panel((60, 70, 80))
    search = SearchSettings(deep=True)
    return choose(panel, search, season=12, stationary=False, transform=transform).candidates


@pytest.mark.parametrize(("transform", "kept"), [("none", "none"), ("log", "log"), ("difference", "none")])
def test_a_settled_transform_holds_for_every_regressor(transform, kept):
    usual = {c.learner for c in _listed("auto") if "transform" in LEARNERS.load(c.learner).__dataclass_fields__}
    listed = [c for c in _listed(transform) if c.learner in usual]
    assert {c.learner for c in listed} == usual
    for candidate in listed:
        params, space = candidate.values(), dict(candidate.space)
        assert params["transform"] == kept
        assert "transform" not in space
        if transform == "difference" and candidate.learner != "TCNForecaster":
            assert params["base"] == "last"
            assert "base" not in space
        if transform == "none":
            assert params.get("base") != "last"
            assert "last" not in getattr(space.get("base"), "options", ())
    assert len(set(listed)) == len(listed)


def test_auto_changes_nothing_and_log_refuses_negative_values():
    assert any("transform" in dict(c.space) for c in _listed("auto"))
    panel = small_panel((60, 70), positive=False)
    with pytest.raises(DataError, match=r"target_transform='log' needs values >= 0; 2 of 2 series have negative ones"):
        plan_task(panel, 4, Settings(features=FeatureSettings(target_transform="log")), seed=0)
    task = plan_task(panel, 4, Settings(features=FeatureSettings(target_transform="difference")), seed=0).task
    assert task.settings.transform == "difference"
    with pytest.raises(ConfigError, match="target_transform must be one of 'auto'"):
        FeatureSettings(target_transform="sqrt")


# -- memory -----------------------------------------------------------------------------------------------------------


def test_memory_thins_rows_and_keeps_lags():
    panel = small_panel((400, 400, 400), covariates=False)
    chosen = Settings(features=FeatureSettings(memory_limit_mb=6.0), search=SearchSettings(workers=2))
    plan = plan_task(panel, 12, chosen, seed=0)
    note = next(n for n in plan.notes if n.name == "Memory issues detection")
    assert note.status == "done"
    assert "14400 rows x steps ahead are thinned evenly to at most 3125 a model" in note.message
    assert "lags and windows stay on; 6 MB for 2 fits at a time" in note.message
    learner = plan.task.build("ElasticNet", {}).fit(panel, FitContext(horizon=12, season=12))
    assert learner.plan.lags
    assert matrix_mb(learner.plan.most_rows, len(learner.feature_names)) <= 3.0
    rows, _ = learner.plan.training_rows(learner.plan.scale(panel), 0)
    assert 1000 < len(rows.target) <= learner.plan.most_rows
    assert len(np.unique(rows.ahead)) == 12


def test_memory_that_suffices_changes_nothing():
    panel = small_panel((60, 70, 80), covariates=False)
    for features in (FeatureSettings(), FeatureSettings(memory_limit_mb=5000.0)):
        plan = plan_task(panel, 4, Settings(features=features), seed=0)
        assert plan.task.settings.features["memory_mb"] == 0
        assert next(n for n in plan.notes if n.name == "Memory issues detection").status == "passed"
    assert FeaturePlan.fit(panel, PlanSettings(max_rows=77), FitContext(horizon=4)).most_rows == 77
    free = free_mb()
    assert free is None or 1 < free < 1e8
    with pytest.raises(ConfigError, match="memory_limit_mb must be positive"):
        FeatureSettings(memory_limit_mb=0)


# -- settings ---------------------------------------------------------------------------------------------------------


def test_settings_survive_their_json():
    features = FeatureSettings(
        lags=(1, 2), windows="auto", window_statistics="sum", feature_lags=3, use_stl="season", holidays="US",
        holiday_subdivision="CA", holiday_window=(1, 2), target_transform="none", memory_limit_mb=10.0,
        further_seasons=False,
    )  # fmt: skip
    chosen = Settings(features=features, integer=True, non_negative=False, quantiles=(0.2,))
    assert settings_from_json(settings_to_json(chosen)) == chosen


# -- a task on disk ---------------------------------------------------------------------------------------------------


def test_kernels_take_arrays_of_a_task_on_disk_for_what_they_are_in_memory(tmp_path):
    """Else a worker would compile every kernel once more to fit on all data."""
    import numba

    task = plan_task(small_panel(), 6, quick(), 0).task
    save_task(task, tmp_path / "task")
    again = open_task(str(tmp_path / "task")).panel
    for mine, other in zip(task.panel.flat(), again.flat(), strict=True):
        assert numba.typeof(mine) == numba.typeof(other)
        np.testing.assert_array_equal(mine, other)
