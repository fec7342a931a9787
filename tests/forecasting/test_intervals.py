"""Conformal intervals: coverage on data with a known truth, order, and that no window learns from itself."""

from dataclasses import replace

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from forecasting.intervals import (
    Conformal,
    at_levels,
    calmness,
    fit_stretch,
    held_back,
    independent,
    leave_one_window_out,
    stretch,
)
from forecasting.panel import Panel
from forecasting.timegrid import TimeGrid

LEVELS = (0.1, 0.5, 0.9)


def _residuals(rng, windows, series, horizon):
    spread = 10.0 ** rng.uniform(0, 3, series)
    growth = np.sqrt(np.arange(1, horizon + 1))
    return rng.standard_normal((windows, series, horizon)) * growth * spread[:, None], spread


@pytest.mark.parametrize(("windows", "series"), [(5, 1), (3, 20), (2, 400)])
def test_coverage_on_new_data(windows, series):
    rng = np.random.default_rng(windows)
    hits = []
    for _ in range(40 if series == 1 else 4):
        residual, spread = _residuals(rng, windows + 1, series, 12)
        ids = tuple((i,) for i in range(series))
        fitted = Conformal.fit(residual[:-1], np.zeros_like(residual[:-1]), np.tile(spread, (windows, 1)), ids, LEVELS)
        channels = fitted.channels(np.zeros((series, 12)), spread, ids)
        hits.append(((residual[-1] >= channels[:, :, 1]) & (residual[-1] <= channels[:, :, 3])).mean())
    # one short series gets a margin for its few residuals
    assert 0.74 <= np.mean(hits) <= (0.9 if series == 1 else 0.86)


def test_series_with_larger_errors_than_their_scale_says_get_wider_intervals():
    rng = np.random.default_rng(0)
    residual = rng.standard_normal((4, 2, 12)) * np.array([1.0, 5.0])[None, :, None]
    fitted = Conformal.fit(residual, np.zeros_like(residual), np.ones((4, 2)), (("a",), ("b",)), LEVELS)
    width = np.ptp(fitted.channels(np.zeros((2, 12)), np.ones(2), (("a",), ("b",)))[:, 0, [1, 3]], axis=1)
    assert width[1] > 2 * width[0]


@pytest.mark.parametrize(("power", "found"), [(0.0, (0.0, 0.0)), (1.0, (0.75, 1.0))])
def test_errors_that_grow_with_the_forecast_are_noticed(power, found):
    rng = np.random.default_rng(8)
    ids = tuple((i,) for i in range(40))
    point = 100 * 4.0 ** rng.uniform(-1, 1, (3, 40, 12))  # peaks and quiet times within each series
    residual = 5 * rng.standard_normal(point.shape) * (point / 100) ** power
    fitted = Conformal.fit(residual[:-1], point[:-1], np.ones((2, 40)), ids, LEVELS)
    assert found[0] <= fitted.power <= found[1]
    channels = fitted.channels(point[-1], np.ones(40), ids)
    inside = np.abs(residual[-1]) <= (channels[:, :, 3] - channels[:, :, 1]) / 2
    high = point[-1] > 100
    assert 0.72 <= inside[high].mean() <= 0.88
    assert 0.72 <= inside[~high].mean() <= 0.88
    still = fitted.channels(np.full((1, 12), 100.0), np.zeros(1), ids[:1])
    assert np.ptp(still, axis=2).max() == 0


def test_no_window_learns_from_itself():
    rng = np.random.default_rng(1)
    residual = rng.standard_normal((3, 5, 4))
    point = np.zeros((3, 5, 4))
    ids = tuple((i,) for i in range(5))
    scale = np.ones((3, 5))
    before = leave_one_window_out(residual, point, scale, ids, LEVELS)
    wild = residual.copy()
    wild[1] *= 1000
    after = leave_one_window_out(wild, point, scale, ids, LEVELS)
    np.testing.assert_array_equal(before[1], after[1])
    assert np.abs(after[0]).max() > np.abs(before[0]).max()


def test_one_window_of_many_series_learns_each_half_from_the_other():
    rng = np.random.default_rng(1)
    residual = rng.standard_normal((1, 8, 4))
    ids = tuple((i,) for i in range(8))
    before = leave_one_window_out(residual, np.zeros((1, 8, 4)), np.ones((1, 8)), ids, LEVELS)
    wild = residual.copy()
    wild[0, 2] *= 1000
    after = leave_one_window_out(wild, np.zeros((1, 8, 4)), np.ones((1, 8)), ids, LEVELS)
    np.testing.assert_array_equal(before[0, ::2], after[0, ::2])


@given(
    hnp.arrays(float, (2, 4, 3), elements=st.floats(-1e6, 1e6)),
    hnp.arrays(float, (4,), elements=st.floats(1e-3, 1e3)),
)
@settings(max_examples=30, deadline=None)
def test_quantiles_never_cross_and_stay_finite(residual, scale):
    ids = tuple((i,) for i in range(4))
    fitted = Conformal.fit(residual, np.ones_like(residual), np.tile(scale, (2, 1)), ids, LEVELS)
    channels = fitted.channels(np.ones((4, 7)), scale, (*ids[:3], ("new",)))
    assert np.isfinite(channels).all()
    assert (np.diff(channels[:, :, 1:], axis=2) >= 0).all()


def test_intervals_widen_past_the_learned_horizon():
    rng = np.random.default_rng(2)
    fitted = Conformal.fit(
        rng.standard_normal((5, 3, 4)), np.zeros((5, 3, 4)), np.ones((5, 3)), (("a",), ("b",), ("c",)), LEVELS
    )
    channels = fitted.channels(np.zeros((1, 16)), np.ones(1), (("a",),))
    width = channels[0, :, 3] - channels[0, :, 1]
    assert width[15] == pytest.approx(2 * width[3])


def test_stretch_makes_too_narrow_intervals_right():
    rng = np.random.default_rng(3)
    y = rng.standard_normal((200, 10))
    channels = np.zeros((200, 10, 4))
    channels[:, :, 1], channels[:, :, 3] = -0.5, 0.5
    factors = fit_stretch(y, channels, LEVELS)
    wide = stretch(channels, factors)
    assert ((y >= wide[:, :, 1]) & (y <= wide[:, :, 3])).mean() == pytest.approx(0.8, abs=0.01)
    assert factors[1] == 1.0


def test_stretch_respects_the_floor():
    channels = np.array([[[1.0, -5.0, 1.0, 9.0]]])
    assert stretch(channels, np.ones(3), np.zeros(1))[0, 0].tolist() == [1.0, 0.0, 1.0, 9.0]


def test_other_levels_lie_on_the_normal_line():
    from scipy.stats import norm

    known = (0.1, 0.5, 0.9)
    channels = np.concatenate([[0.0], norm.ppf(known)])[None, None, :]
    wanted = (0.025, 0.3, 0.975)
    np.testing.assert_allclose(at_levels(channels, known, wanted)[0, 0, 1:], norm.ppf(wanted), atol=1e-9)


def test_state_round_trip():
    rng = np.random.default_rng(5)
    fitted = Conformal.fit(
        rng.standard_normal((2, 3, 4)), np.zeros((2, 3, 4)), np.ones((2, 3)), (("a", 1), ("b", 2), ("c", 3)), LEVELS
    )
    fitted = replace(fitted, power=0.5)
    back = Conformal.from_state(*fitted.state())
    assert (back.share, back.power) == (fitted.share, 0.5)
    np.testing.assert_array_equal(back.table, fitted.table)


@pytest.mark.parametrize(("windows", "horizon"), [(2, 4), (3, 12), (9, 30)])
def test_a_series_has_the_same_share_to_the_last_bit_alone_and_among_others(windows, horizon):
    rng = np.random.default_rng(0)
    residual, _ = _residuals(rng, windows, 40, horizon)
    point, scale = rng.gamma(2.0, 50.0, residual.shape), rng.uniform(1, 9, (windows, 40))
    ids = tuple((str(k),) for k in range(40))
    learned = Conformal.fit(residual, point, scale, ids, LEVELS)
    together = learned.for_series(residual, point, scale, ids, 1.0).share
    for k, key in enumerate(ids):
        own = (a[:, k : k + 1] for a in (residual, point, scale))
        assert learned.for_series(*own, (key,), 1.0).share == {key: together[key]}


def test_errors_that_go_together_count_less_and_widen_the_interval():
    rng = np.random.default_rng(6)
    ids = (("a",),)
    alone = rng.standard_normal((5, 1, 24))
    together = rng.standard_normal((5, 1, 1)) + 0.1 * rng.standard_normal((5, 1, 24))
    assert independent(alone) > 0.5
    assert independent(together) < 0.1
    hits = {"alone": [], "together": []}
    for _ in range(60):
        level = rng.standard_normal((6, 1, 1))
        for name, residual in (("alone", rng.standard_normal((6, 1, 24))), ("together", level + np.zeros((6, 1, 24)))):
            fitted = Conformal.fit(residual[:-1], np.zeros_like(residual[:-1]), np.ones((5, 1)), ids, LEVELS)
            channels = fitted.channels(np.zeros((1, 24)), np.ones(1), ids)
            hits[name].append(((residual[-1] >= channels[:, :, 1]) & (residual[-1] <= channels[:, :, 3])).mean())
    assert 0.76 <= np.mean(hits["alone"]) <= 0.92
    # five values drawn cannot cover more than two thirds of what comes next
    assert 0.55 <= np.mean(hits["together"]) <= 0.9


def test_calm_windows_are_noticed_where_one_series_shows_them():
    rng = np.random.default_rng(7)
    y = 100 + rng.standard_normal(240) * np.where(np.arange(240) < 200, 4.0, 1.0)
    cuts = [np.array([240 - 8 * (k + 1)]) for k in range(4)]
    fade = np.array([1.0, 0.5, 0.25, 0.125])
    one = Panel.from_arrays([y], TimeGrid.steps())
    assert 1.5 < calmness(one, cuts, 8, 1, fade) <= 2.0
    many = Panel.from_arrays([y] * 100, TimeGrid.steps())
    assert 1.0 <= calmness(many, [np.repeat(c, 100) for c in cuts], 8, 1, fade) < 1.1
    wild = Panel.from_arrays(
        [100 + rng.standard_normal(240) * np.where(np.arange(240) < 200, 1.0, 4.0)], TimeGrid.steps()
    )
    assert calmness(wild, cuts, 8, 1, fade) == 1.0
    short = Panel.from_arrays([y[-20:]], TimeGrid.steps())
    assert calmness(short, [np.array([12])], 8, 1, fade) >= 1.0


def test_factors_of_windows_in_which_series_err_together_are_held_back():
    rng = np.random.default_rng(0)
    factors = np.array([0.2, 1.0, 3.0])
    apart = rng.standard_normal((5, 40, 6))
    together = rng.standard_normal((5, 1, 1)) + 0.05 * apart
    np.testing.assert_allclose(held_back(factors, apart, independent(apart)), factors, rtol=0.2)
    held = held_back(factors, together, independent(together))
    assert 0.5 < held[0] < 1.0
    assert held[1] == 1.0
    assert 1.0 < held[2] < 1.6
    unseen = np.full((1, 2, 3), np.nan)
    assert held_back(factors, unseen, independent(unseen)).tolist() == [1.0, 1.0, 1.0]
