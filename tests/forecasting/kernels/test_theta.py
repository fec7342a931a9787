"""Theta models against a slow twin, on what they must do exactly, and the seasonality test."""

import numpy as np
import pytest
from statsmodels.tsa.seasonal import seasonal_decompose

from forecasting.kernels import seasonal, theta
from forecasting.learners.base import FitContext
from forecasting.learners.theta import Theta
from forecasting.panel import Future, Panel
from forecasting.timegrid import TimeGrid

METHODS = ("standard", "optimized", "dynamic", "dynamic_optimized", "auto")


def panel_of(*series):
    return Panel.from_arrays(list(series), TimeGrid.steps())


def slow(x, alpha, level, omega, dynamic, h):
    """Equations of Fiorucci et al. (2016), section 3, one after the other; the line is fitted anew where it moves."""
    x = list(x)
    n, total = len(x), 0.0
    static = np.polyfit(np.arange(1, n + 1), x, 1)
    out = []
    for t in range(n + h):
        past = np.array(x[:t]) if dynamic else np.array(x[:n])
        if dynamic:
            b, a = (0.0, x[0]) if t < 2 else np.polyfit(np.arange(1, t + 1), past, 1)
        else:
            b, a = static
        q = 1 - alpha
        mu = level + (1 - 1 / omega) * (q**t * a + (1 - q ** (t + 1)) / alpha * b)
        if t < n:
            total += (x[t] - mu) ** 2 if t else 0.0
        else:
            x.append(mu)
            out.append(mu)
        level += alpha * (x[t] - level)
    return total, np.array(out)


@pytest.mark.parametrize("dynamic", [False, True])
def test_recursion_equals_its_slow_twin(dynamic):
    x = 5 + np.random.default_rng(0).standard_normal(30).cumsum()
    a, b = theta.line(x)
    ahead = np.empty(6)
    total = theta.run(x, 0.3, 4.0, 2.5, dynamic, a, b, ahead)
    want, points = slow(x, 0.3, 4.0, 2.5, dynamic, 6)
    assert total == pytest.approx(want)
    np.testing.assert_allclose(ahead, points)


def test_line_is_least_squares():
    x = np.random.default_rng(1).standard_normal(17)
    slope, intercept = np.polyfit(np.arange(1, 18), x, 1)
    np.testing.assert_allclose(theta.line(x), (intercept, slope))


@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
@pytest.mark.parametrize("m", [4, 7, 12])
def test_decomposition_equals_statsmodels(kind, m):
    rng = np.random.default_rng(m)
    y = (
        20
        + 0.1 * np.arange(5 * m + 3)
        + rng.standard_normal(5 * m + 3)
        + 5 * np.sin(2 * np.pi * np.arange(5 * m + 3) / m)
    )
    index = np.empty(m)
    assert seasonal.decompose(y, m, ("additive", "multiplicative").index(kind) + 1, 0, index)
    np.testing.assert_allclose(index, seasonal_decompose(y, kind, period=m).seasonal[:m])


def test_seasonality_test_and_phase():
    rng = np.random.default_rng(2)
    t = np.arange(60)
    assert seasonal.is_seasonal(np.sin(2 * np.pi * t / 12) + 0.1 * rng.standard_normal(60), 12)
    assert not seasonal.is_seasonal(rng.standard_normal(60), 12)
    assert not seasonal.is_seasonal(np.ones(60), 12)
    assert not seasonal.is_seasonal(t[:20].astype(float), 12)
    y = 10 + np.sin(2 * np.pi * t / 12)
    index = np.empty(12)
    seasonal.decompose(y, 12, 1, 5, index)
    np.testing.assert_allclose(index[(5 + t[:12]) % 12], np.sin(2 * np.pi * t[:12] / 12), atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_season_goes_on_and_half_the_trend(method):
    t = np.arange(72)
    y = (100 + 0.5 * t) * (1 + 0.3 * np.sin(2 * np.pi * t / 12))
    panel = panel_of(y[:60])
    learner = Theta(method=method).fit(panel, FitContext(horizon=12, season=12))
    forecast = learner.forecast(panel, Future.bare(panel, 12), (0.1, 0.9))
    assert np.abs(forecast.point[0] / y[60:] - 1).max() < 0.08
    assert (np.diff(forecast.values[0, :, 2] - forecast.values[0, :, 1]) > -40).all()


@pytest.mark.parametrize("method", METHODS)
def test_scale_neighbours_and_threads_do_not_matter(method):
    rng = np.random.default_rng(4)
    series = [50 + rng.standard_normal(40 + i).cumsum() for i in range(7)]
    context = FitContext(horizon=5, season=4, threads=2)
    panel, large = panel_of(*series), panel_of(*(1e9 * s for s in series))
    one = Theta(method=method).fit(panel, context).forecast(panel, Future.bare(panel, 5), (0.1,)).values
    two = Theta(method=method).fit(large, context).forecast(large, Future.bare(large, 5), (0.1,)).values
    np.testing.assert_allclose(two / 1e9, one, rtol=1e-6)
    alone = panel_of(series[3])
    mine = Theta(method=method).fit(alone, FitContext(horizon=5, season=4))
    np.testing.assert_array_equal(mine.forecast(alone, Future.bare(alone, 5), (0.1,)).values[0], one[3])
