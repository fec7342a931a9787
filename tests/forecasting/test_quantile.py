"""Trees that learn quantiles: no level crosses another, widths follow what the row says, bounds hold at every level."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from forecasting.learners.base import FitContext
from forecasting.learners.forest import QuantileForest, kept_targets
from forecasting.learners.quantile import QuantileLightGBM
from forecasting.learners.regression import LightGBM
from forecasting.panel import Block, Future, Panel
from forecasting.timegrid import TimeGrid
from tests.forecasting.panels import future_of, small_panel

LEVELS = (0.025, 0.1, 0.2, 0.5, 0.8, 0.9, 0.975)


def _make(**params):
    return QuantileLightGBM(**{"n_estimators": 30, **params})


def _make_forest(**params):
    return QuantileForest(**{"n_estimators": 20, **params})


both = pytest.mark.parametrize("make", [_make, _make_forest], ids=["boosting", "forest"])


@both
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 99),
    levels=st.lists(st.floats(0.005, 0.995), min_size=2, max_size=6, unique=True),
    transform=st.sampled_from(["none", "log"]),
    steps=st.integers(1, 14),
)
def test_levels_never_cross(make, seed, levels, transform, steps):
    panel = small_panel((30, 44), season=4, freq="QS-JAN", seed=seed)
    learner = make(transform=transform).fit(panel, FitContext(horizon=5, season=4))
    levels = tuple(sorted(levels))
    values = learner.forecast(panel, future_of(panel, steps), levels).values
    assert np.isfinite(values).all()
    assert (np.diff(values[:, :, 1:], axis=2) >= 0).all()
    if transform == "log":
        assert (values >= 0).all()


@both
def test_the_point_is_the_median_and_widths_grow_past_the_trained_horizon(make):
    panel = small_panel()
    learner = make().fit(panel, FitContext(horizon=4, season=12))
    values = learner.forecast(panel, future_of(panel, 12), LEVELS).values
    np.testing.assert_allclose(values[:, :, 0], values[:, :, 1 + LEVELS.index(0.5)])
    width = (values[:, :, -1] - values[:, :, 1]).reshape(3, 3, 4).mean(axis=2)
    assert (np.diff(width, axis=1) > 0).all()


def _restless(rng, n=8, rows=120):
    """Noise that is five times as large where a known flag is set, and leans upwards."""
    flag = rng.integers(0, 2, (n, rows)).astype(float)
    y = 20 + (1 + 4 * flag) * (rng.gamma(2.0, 1.0, (n, rows)) - 2)
    return flag, y


@pytest.mark.parametrize(
    ("make", "trees", "within"), [(_make, 80, 0.9), (_make_forest, 80, 0.95)], ids=["boosting", "forest"]
)
def test_widths_that_depend_on_a_covariate_beat_normal_ones(make, trees, within):
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

    own, normal = pinball(make(n_estimators=trees)), pinball(LightGBM(n_estimators=80))
    assert own < within * normal


def test_leaves_keep_targets_by_their_weight():
    """Oracle: the distribution itself. A quarter of the weight lies on 1, the rest on 0."""
    rng = np.random.default_rng(0)
    y, weight = np.repeat([0.0, 1.0], 500), np.repeat([3.0, 1.0], 500)
    kept = np.stack([kept_targets(np.zeros(1000, int), y, weight, 1, rng)[0] for _ in range(400)])
    assert (np.diff(kept, axis=1) >= 0).all()
    assert abs(kept.mean() - 0.25) < 0.01
    weight[:500] = 0
    assert (kept_targets(np.zeros(1000, int), y, weight, 1, rng) == 1).all(), "no weight, no say"


def test_the_forest_forecasts_the_distribution_of_what_it_saw():
    """Oracle: quantiles of independent draws are those of their distribution."""
    rng = np.random.default_rng(1)
    panel = Panel.from_arrays(list(rng.exponential(1.0, (40, 60))), TimeGrid.steps())
    learner = _make_forest(n_estimators=60, transform="none", base="none").fit(panel, FitContext(horizon=2))
    levels = (0.1, 0.5, 0.9)
    got = learner.forecast(panel, Future.bare(panel, 2), levels).values[:, :, 1:].mean(axis=(0, 1))
    np.testing.assert_allclose(got, -np.log(1 - np.array(levels)), rtol=0.25, atol=0.05)


def test_a_median_that_may_come_from_any_tree_has_no_shap_values():
    panel = small_panel()
    context = FitContext(horizon=4, season=12)
    learner = _make(n_estimators=5).fit(panel, context)
    assert learner.contributions(np.zeros((2, len(learner.feature_names)), np.float32)) is None
