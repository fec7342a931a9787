"""STL features: honest at every origin, equal to an STL of the rows before it, quiet where there is no season."""

import numpy as np
import pytest
from statsmodels.tsa.seasonal import STL

from forecasting.config import FeatureSettings, Settings
from forecasting.features.decompose import decompose
from forecasting.features.history import Rows
from forecasting.features.plan import FeaturePlan
from forecasting.features.settings import PlanSettings
from forecasting.fitting import plan_task
from forecasting.learners.base import LEARNERS, FitContext
from forecasting.panel import Future, Panel
from forecasting.timegrid import TimeGrid
from tests.forecasting.panels import small_panel

SEASON = 6


def test_a_block_is_the_stl_of_its_rows():
    """Series of different lengths; the block an origin sees against statsmodels on the same rows."""
    rng = np.random.default_rng(0)
    sizes = [40, 7, 75]
    z = rng.standard_normal(sum(sizes)) + np.tile(np.arange(SEASON), 30)[: sum(sizes)]
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    parts = decompose(z, indptr, SEASON)
    for i, origin in ((0, 39), (0, 11), (0, 20), (2, 74)):
        y = z[indptr[i] : indptr[i + 1]]
        end = 2 * SEASON + (origin + 1 - 2 * SEASON) // (SEASON // 2) * (SEASON // 2)
        start = max(0, end - 8 * SEASON)
        twin = STL(y[start:end], SEASON, seasonal=11, seasonal_deg=0, trend_deg=1, low_pass_deg=1).fit(
            inner_iter=2, outer_iter=0
        )
        row = Rows(*(np.array([v]) for v in (indptr[i] + origin + 2, 2, indptr[i])))
        assert parts.level_at(row)[0] == pytest.approx(twin.trend[-1], abs=1e-8)
        same = [t for t in range(start, end) if (t - origin - 2) % SEASON == 0][-1]
        assert parts.season_at(row)[0] == pytest.approx(twin.seasonal[same - start], abs=1e-8)
    assert (parts.block[40:47] == -1).all()


def test_what_is_seen_at_an_origin_does_not_change_with_later_rows():
    rng = np.random.default_rng(1)
    y = rng.standard_normal(80)
    whole = decompose(y, np.array([0, 80]), SEASON)
    for n in (12, 13, 37, 79):
        head = decompose(y[:n], np.array([0, n]), SEASON, ahead=3)
        assert (head.block[:n] == whole.block[:n]).all()
        assert head.block[n:].tolist() == [head.block[n - 1]] * 3
        blocks = len(head.level)
        assert head.season.tobytes() == whole.season[:blocks].tobytes()


def test_features_of_a_short_series_are_zero_and_no_season_means_none():
    panel = small_panel((20, 60), covariates=False)
    plan = FeaturePlan.fit(panel, PlanSettings(stl="season_trend"), FitContext(horizon=3, season=12))
    assert plan.feature_names[-2:] == ("stl_season", "stl_trend")
    scaled = plan.scale(panel)
    rows, series = plan.training_rows(scaled, 0)
    x = plan.design(scaled, rows, series).x[:, -2:]
    assert (x[series == 0] == 0).all()
    seen = (series == 1) & (rows.origin - rows.begin >= 23)
    assert (x[seen] != 0).all()
    assert np.isfinite(x).all()
    flat = FeaturePlan.fit(panel, PlanSettings(stl="season"), FitContext(horizon=3, season=1))
    assert "stl_season" not in flat.feature_names


def test_the_season_feature_carries_the_season():
    """Without lags of the season, the seasonal component is what tells a linear model of it."""
    t = np.arange(120)
    y = 100 + 20 * np.sin(2 * np.pi * t / 12) + np.random.default_rng(0).standard_normal(120)
    panel = Panel.from_arrays([y[:108]], TimeGrid.steps())
    learner = LEARNERS.load("ElasticNet")(base="level", lags="1", windows="", stl="season")
    learner.fit(panel, FitContext(horizon=12, season=12))
    rows = np.abs(learner.forecast(panel, Future.bare(panel, 12), ()).point[0] - y[108:])
    assert rows.mean() < 3


def test_short_and_seasonless_panels_are_reported():
    chosen = Settings(features=FeatureSettings(use_stl="season", season=12))
    notes = {n.name: n for n in plan_task(small_panel((30, 90), covariates=False), 4, chosen, seed=0).notes}
    assert notes["STL features"].status == "done"
    assert "1 of 2 series show fewer than two seasons of 12 steps" in notes["STL features"].message
    chosen = Settings(features=FeatureSettings(use_stl="season", season=None))
    notes = {n.name: n for n in plan_task(small_panel((60, 90), covariates=False), 4, chosen, seed=0).notes}
    assert notes["STL features"].status == "alerted"
