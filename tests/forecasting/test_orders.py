"""Lags and windows by "auto": partial autocorrelation against statsmodels, the rule, and where it looks."""

import numpy as np
import pytest
from statsmodels.tsa.stattools import pacf

from automl.errors import ConfigError
from forecasting.config import FeatureSettings, Settings
from forecasting.features.orders import look_back, orders_of, partial_autocorrelation
from forecasting.features.plan import FeaturePlan
from forecasting.features.settings import PlanSettings
from forecasting.fitting import plan_task
from forecasting.learners.base import FitContext
from forecasting.panel import Panel
from forecasting.timegrid import TimeGrid
from tests.forecasting.panels import small_panel

STEPS = TimeGrid.steps()


def autoregressive(coefficients, n, seed=0):
    rng = np.random.default_rng(seed)
    y = np.zeros(n + 50)
    for t in range(len(coefficients), n + 50):
        y[t] = sum(c * y[t - 1 - k] for k, c in enumerate(coefficients)) + rng.standard_normal()
    return y[50:]


@pytest.mark.parametrize("seed", range(4))
def test_partial_autocorrelation_equals_statsmodels(seed):
    y = 100 + autoregressive([0.5, -0.3, 0.2], 150, seed)
    np.testing.assert_allclose(partial_autocorrelation(y, 30), pacf(y, nlags=30, method="ldbiased"), atol=1e-10)


def test_a_constant_and_an_exact_series_have_finite_partial_autocorrelations():
    assert partial_autocorrelation(np.full(30, 4.0), 5).tolist() == [1, 0, 0, 0, 0, 0]
    assert np.isfinite(partial_autocorrelation(np.tile([0.0, 1.0], 400), 40)).all()


@pytest.mark.parametrize(
    ("partial", "want"),
    [
        ([1, 0.9, 0.0, 0.0, 0.0], (0, 0)),  # 1.96 / sqrt(4) = 0.98: even 0.9 is not significant
        ([1, 0.99, -0.99, 0.0, 0.99], (2, 4)),
        ([1, 0.99, -0.99, 0.99, 0.99], (0, 0)),  # all of them
        ([1, 0.0, 0.99, 0.99, 0.99], (0, 0)),  # none next to lag 0
    ],
)
def test_rule_of_lags_and_window(partial, want):
    assert orders_of(np.array(partial)) == want


def test_look_back_takes_the_season_out_and_the_median_over_series():
    season = 3 * np.sin(2 * np.pi * np.arange(400) / 12)
    twice = autoregressive([0.25, 0.6], 400, seed=1)
    series = [season + twice, season + autoregressive([0.25, 0.6], 400, seed=2), 1e6 * season + autoregressive([], 400)]
    grid = TimeGrid("MS", "1980-01-01")
    assert look_back(Panel.from_arrays([series[2] / 1e6], grid), 12)[0] == 0
    assert look_back(Panel.from_arrays(series, grid), 12)[0] == 2


def test_auto_gives_all_lags_up_to_the_order_and_leaves_what_is_explicit():
    panel = Panel.from_arrays([autoregressive([0.3, 0.65], 400, seed=s) for s in range(3)], STEPS)

    def plan(**chosen):
        fitted = FeaturePlan.fit(panel, PlanSettings(**chosen), FitContext(horizon=3))
        return fitted.lags, fitted.windows

    lag, window = look_back(panel, 1)
    assert lag == window == 2
    assert plan(lags="auto", windows="auto") == ((1, 2), (2,))
    assert plan(lags="auto", windows="5")[1] == (5,)
    assert plan(lags="7", windows="auto")[0] == (7,)
    noise = Panel.from_arrays([autoregressive([], 300)], STEPS)
    fitted = FeaturePlan.fit(noise, PlanSettings(lags="auto", windows="auto"), FitContext(horizon=3))
    assert (fitted.lags, fitted.windows) == ((), ())
    assert not [n for n in fitted.feature_names if n.startswith(("lag", "mean_window"))]


def test_window_statistics_are_those_asked_for():
    panel = Panel.from_arrays([np.arange(40.0) ** 1.5], STEPS)
    chosen = PlanSettings(lags="1", windows="4", window_statistics="sum,max", base="none", transform="none")
    plan = FeaturePlan.fit(panel, chosen, FitContext(horizon=2))
    assert [n for n in plan.feature_names if "window" in n] == ["sum_window4", "max_window4"]
    scaled = plan.scale(panel)
    rows, series = plan.training_rows(scaled, 0)
    x = plan.design(scaled, rows, series).x
    total = x[:, plan.feature_names.index("sum_window4")] * scaled.scale[0]
    want = [panel.y[o - 3 : o + 1].sum() if o >= 3 else np.nan for o in rows.origin]
    np.testing.assert_allclose(total, want, rtol=1e-5)


def test_auto_is_reported_and_reaches_the_learners():
    panel = small_panel((60, 70, 80), covariates=False)
    chosen = Settings(features=FeatureSettings(lags="auto", windows=6, window_statistics="mean"))
    plan = plan_task(panel, 4, chosen, seed=0)
    learner = plan.task.build("LightGBM", {})
    assert (learner.lags, learner.windows, learner.window_statistics) == ("auto", "6", "mean")
    assert "Look-back features" in [note.name for note in plan.notes]
    assert plan_task(panel, 4, Settings(), seed=0).task.build("LightGBM", {}).lags == "default"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"lags": "pacf"}, "lags must be 'default', 'auto', None or whole numbers >= 1, got 'pacf'"),
        ({"windows": [1, 3]}, r"windows must be .* whole numbers >= 2, got \[1, 3\]"),
        ({"window_statistics": "median"}, "window_statistics must be one of 'mean', .* got 'median'"),
    ],
)
def test_wrong_settings_are_named(chosen, message):
    with pytest.raises(ConfigError, match=message):
        FeatureSettings(**chosen)
