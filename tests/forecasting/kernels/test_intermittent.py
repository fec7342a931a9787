"""Croston and kin against recursions written by hand, and what demand forecasts must respect."""

import numpy as np
import pytest

from forecasting.kernels import intermittent as kernels
from forecasting.learners.base import FitContext
from forecasting.learners.intermittent import ADIDA, IMAPA, TSB, Croston
from forecasting.panel import Future, Panel
from forecasting.timegrid import TimeGrid

ALL = [Croston(variant="classic"), Croston(variant="sba"), Croston(variant="optimized"), TSB(), ADIDA(), IMAPA()]
each = pytest.mark.parametrize("learner", ALL, ids=lambda x: getattr(x, "variant", x.name))


def forecast(learner, *series, levels=(), horizon=3):
    panel = Panel.from_arrays([np.asarray(s, dtype=float) for s in series], TimeGrid.steps())
    return learner.fit(panel, FitContext(horizon=horizon)).forecast(panel, Future.bare(panel, horizon), levels)


def slow_croston(y, alpha):
    """Sizes and intervals as two short series, smoothed one after the other."""
    at = np.flatnonzero(y)
    sizes, gaps = y[at], np.diff(np.r_[-1, at]).astype(float)
    size, gap = sizes[0], gaps[0]
    for s, g in zip(sizes[1:], gaps[1:], strict=True):
        size, gap = size + alpha * (s - size), gap + alpha * (g - gap)
    return size / gap


def slow_tsb(y, a, b):
    chance, size = np.mean(y > 0), y[y > 0][0]
    for value in y:
        if value > 0:
            size = (1 - a) * size + a * value
        chance = (1 - b) * chance + b * (value > 0)
    return size * chance


def demand(seed, n=80, chance=0.25):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < chance, rng.integers(1, 9, n), 0).astype(float)


@pytest.mark.parametrize("seed", range(4))
def test_recursions_equal_their_slow_twins(seed):
    y, seen = demand(seed), np.ones(80, dtype=bool)
    assert kernels.croston(y, seen, 0.1, 1.0)[0] == pytest.approx(slow_croston(y, 0.1))
    assert kernels.tsb(y, seen, 0.2, 0.05)[0] == pytest.approx(slow_tsb(y, 0.2, 0.05))
    assert forecast(Croston(variant="sba", alpha=0.2), y).point[0, 0] == pytest.approx(0.9 * slow_croston(y, 0.2))
    interval = round(np.mean(np.diff(np.flatnonzero(y))))
    sums = y[len(y) % interval :].reshape(-1, interval).sum(axis=1)
    assert forecast(ADIDA(), y).point[0, 0] == pytest.approx(kernels.smooth_best(sums) / interval)


@each
def test_steady_demand_is_met(learner):
    y = np.tile([0.0, 0.0, 6.0], 20)
    point = forecast(learner, y).point[0]
    assert point == pytest.approx(2.0, rel=0.12)


@each
def test_quantiles_are_demands(learner):
    out = forecast(learner, demand(1), np.zeros(40), levels=(0.1, 0.5, 0.9, 0.99))
    assert (out.values >= 0).all()
    assert (out.values[0, :, 1] == 0).all()
    assert (out.values[0, :, 4] > out.values[0, :, 0]).all()
    assert (out.values[1] == 0).all()
    assert not out.fallback.any()


@each
def test_negative_values_fall_back_and_say_why(learner):
    y = demand(2)
    y[5] = -1
    assert forecast(learner, y).fallback.tolist() == [True]
    assert learner.fallbacks == {"negative values are no demand": 1}


def test_a_product_that_stopped_selling_fades_with_tsb_alone():
    y = np.r_[np.tile([0.0, 5.0], 20), np.zeros(60)]
    assert forecast(TSB(), y).point[0, 0] < 0.3 < forecast(Croston(), y).point[0, 0]
