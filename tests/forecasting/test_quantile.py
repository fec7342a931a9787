"""Trees that learn quantiles: no level crosses another, widths follow what the row says, bounds hold at every level."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from forecasting.learners.base import FitContext
from forecasting.learners.quantile import QuantileLightGBM
from forecasting.learners.regression import LightGBM
from forecasting.panel import Block, Future, Panel
from forecasting.timegrid import TimeGrid
from tests.forecasting.panels import future_of, small_panel

LEVELS = (0.025, 0.1, 0.2, 0.5, 0.8, 0.9, 0.975)


def _make(**params):
    return QuantileLightGBM(**{"n_estimators": 30, **params})


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 99),
    levels=st.lists(st.floats(0.005, 0.995), min_size=2, max_size=6, unique=True),
    transform=st.sampled_from(["none", "log"]),
    steps=st.integers(1, 14),
)
def test_levels_never_cross(seed, levels, transform, steps):
    panel = small_panel((30, 44), season=4, freq="QS-JAN", seed=seed)
    learner = _make(transform=transform).fit(panel, FitContext(horizon=5, season=4))
    levels = tuple(sorted(levels))
    values = learner.forecast(panel, future_of(panel, steps), levels).values
    assert np.isfinite(values).all()
    assert (np.diff(values[:, :, 1:], axis=2) >= 0).all()
    if transform == "log":
        assert (values >= 0).all()


def test_the_point_is_the_median_and_widths_grow_past_the_trained_horizon():
    panel = small_panel()
    learner = _make().fit(panel, FitContext(horizon=4, season=12))
    values = learner.forecast(panel, future_of(panel, 12), LEVELS).values
    np.testing.assert_allclose(values[:, :, 0], values[:, :, 1 + LEVELS.index(0.5)])
    width = (values[:, :, -1] - values[:, :, 1]).reshape(3, 3, 4).mean(axis=2)
    assert (np.diff(width, axis=1) > 0).all()


def _restless(rng, n=8, rows=120):
    """Noise that is five times as large where a known flag is set, and leans upwards."""
    flag = rng.integers(0, 2, (n, rows)).astype(float)
    y = 20 + (1 + 4 * flag) * (rng.gamma(2.0, 1.0, (n, rows)) - 2)
    return flag, y


def test_widths_that_depend_on_a_covariate_beat_normal_ones():
    rng = np.random.default_rng(3)
    flag, y = _restless(rng)
    cut, h = 110, 10

    def block(values):
        return Block(("flag",), values.reshape(-1, 1), np.ones((values.size, 1), dtype=bool))

    panel = Panel.from_arrays(list(y[:, :cut]), TimeGrid("D", "2024-01-01"), known=block(flag[:, :cut]))
    future = Future(h, block(flag[:, cut:]))
    context = FitContext(horizon=h)

    def pinball(learner):
        got = learner.fit(panel, context).forecast(panel, future, (0.1, 0.9)).values[:, :, 1:]
        error = y[:, cut:, None] - got
        level = np.array([0.1, 0.9])
        return float(np.maximum(level * error, (level - 1) * error).mean())

    own, normal = pinball(_make(n_estimators=80)), pinball(LightGBM(n_estimators=80))
    assert own < 0.9 * normal


def test_a_median_that_may_come_from_any_tree_has_no_shap_values():
    panel = small_panel()
    context = FitContext(horizon=4, season=12)
    learner = _make(n_estimators=5).fit(panel, context)
    assert learner.contributions(np.zeros((2, len(learner.feature_names)), np.float32)) is None
