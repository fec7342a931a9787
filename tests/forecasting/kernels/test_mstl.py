"""MSTL against statsmodels, and that its seasons go on."""

import numpy as np
import pytest
from statsmodels.tsa import seasonal

from automl.errors import ConfigError
from forecasting.kernels.stl import mstl, trend_window
from forecasting.learners.base import FitContext
from forecasting.learners.mstl import MSTL
from forecasting.panel import Future, Panel
from forecasting.timegrid import TimeGrid


def hourly(n=24 * 7 * 5, seed=0):
    t = np.arange(n)
    rng = np.random.default_rng(seed)
    return 50 + 10 * np.sin(2 * np.pi * t / 24) + 6 * np.sin(2 * np.pi * t / 168) + 0.3 * rng.standard_normal(n)


def test_components_equal_those_of_statsmodels():
    y = hourly(24 * 7 * 3)
    adjusted, cycles = np.empty(len(y)), np.empty((1, 24 + 168))
    mstl(y, np.array([0, len(y)]), 0, 1, np.array([24, 168]), 2, adjusted, cycles)
    want = None
    rest, parts = y.copy(), [np.zeros(len(y)), np.zeros(len(y))]
    for _ in range(2):
        for k, (m, width) in enumerate(((24, 11), (168, 15))):
            rest = rest + parts[k]
            low = m + 1
            fitted = seasonal.STL(
                rest, period=m, seasonal=width, trend=trend_window(m, width), low_pass=low, seasonal_deg=0
            ).fit(inner_iter=2, outer_iter=0)
            parts[k], want = fitted.seasonal, fitted
            rest = rest - parts[k]
    np.testing.assert_allclose(adjusted, rest, atol=1e-9)
    np.testing.assert_allclose(cycles[0], np.concatenate([parts[0][-24:], parts[1][-168:]]), atol=1e-9)
    # with their own settings the same seasons come out, roughly
    theirs = seasonal.MSTL(y, periods=(24, 168)).fit().seasonal
    assert np.abs(y - adjusted - theirs.sum(axis=1)).mean() < 0.5
    assert want is not None


@pytest.mark.parametrize("trend", ["ETS", "AutoArima"])
def test_day_and_week_go_on(trend):
    y = hourly()
    panel = Panel.from_arrays([y[:-168]], TimeGrid.steps())
    learner = MSTL(trend_learner=trend).fit(panel, FitContext(horizon=168, season=24))
    assert learner._used == (24, 168)
    point = learner.forecast(panel, Future.bare(panel, 168), ()).point[0]
    assert np.abs(point - y[-168:]).mean() < 1.0


@pytest.mark.parametrize("bad", [{"seasons": "1"}, {"seasons": "x"}, {"trend_learner": "Prophet"}])
def test_settings_are_checked(bad):
    with pytest.raises(ConfigError, match=f"{next(iter(bad))} of MSTL"):
        MSTL(**bad)
