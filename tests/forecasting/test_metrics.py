"""Forecast metrics against hand computed values and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sk

from automl.errors import UnknownNameError
from forecasting.metrics import METRICS, Truth, all_scores, find_metric


def _truth(y, mask=None, scale=1.0, levels=()):
    y = np.asarray(y, dtype=float)
    ones = np.full(len(y), scale)
    return Truth(y, np.ones(y.shape, bool) if mask is None else np.asarray(mask), ones, ones, 2 * ones, levels)


def _point(values):
    return np.asarray(values, dtype=float)[:, :, None]


def test_hand_computed():
    truth = _truth([[1.0, 2.0], [10.0, 30.0]], scale=2.0)
    forecast = _point([[2.0, 2.0], [10.0, 20.0]])
    scores = all_scores(truth, forecast)
    assert scores["mase"] == pytest.approx((0.5 / 2 + 5 / 2) / 2)
    assert scores["wape"] == pytest.approx(11 / 43)
    assert scores["bias"] == pytest.approx(-9 / 43)
    assert scores["rmsse"] == pytest.approx((np.sqrt(0.5) / 2 + np.sqrt(50) / 2) / 2)
    assert scores["smape"] == pytest.approx(200 * (1 / 3 / 2 + 10 / 50 / 2) / 2)
    assert scores["normalized_mean_absolute_error"] == pytest.approx((0.5 / 4 + 5 / 4) / 2)
    assert scores["normalized_root_mean_squared_error"] == pytest.approx((np.sqrt(0.5) / 4 + np.sqrt(50) / 4) / 2)


def test_pooled_metrics_equal_scikit_learn():
    rng = np.random.default_rng(0)
    y, f = 5 + rng.random((4, 6)), 5 + rng.random((4, 6))
    scores = all_scores(_truth(y), _point(f))
    assert scores["mean_absolute_error"] == pytest.approx(sk.mean_absolute_error(y.ravel(), f.ravel()))
    assert scores["root_mean_squared_error"] == pytest.approx(sk.root_mean_squared_error(y.ravel(), f.ravel()))
    assert scores["median_absolute_error"] == pytest.approx(sk.median_absolute_error(y.ravel(), f.ravel()))
    assert scores["r2_score"] == pytest.approx(max(-1, sk.r2_score(y.ravel(), f.ravel())))
    assert scores["root_mean_squared_log_error"] == pytest.approx(sk.root_mean_squared_log_error(y.ravel(), f.ravel()))


def test_quantile_loss_equals_scikit_learn_pinball():
    rng = np.random.default_rng(1)
    y = 1 + rng.random((5, 3))
    channels = np.sort(rng.random((5, 3, 3)) + 0.5, axis=2)
    forecast = np.concatenate([channels[:, :, 1:2], channels], axis=2)
    want = np.mean(
        [2 * sk.mean_pinball_loss(y.ravel(), channels[:, :, k].ravel(), alpha=q) for k, q in enumerate((0.1, 0.5, 0.9))]
    ) / np.mean(np.abs(y))
    assert all_scores(_truth(y, levels=(0.1, 0.5, 0.9)), forecast)["wql"] == pytest.approx(want)


def test_coverage_counts_the_central_interval():
    truth = _truth([[0.0, 5.0, 9.0, 10.0]], levels=(0.1, 0.9))
    forecast = np.zeros((1, 4, 3))
    forecast[:, :, 1], forecast[:, :, 2] = 1.0, 9.0
    assert all_scores(truth, forecast)["coverage_80"] == 0.5


def test_unobserved_values_never_count():
    y = np.array([[1.0, 1e6], [2.0, 3.0]])
    mask = np.array([[True, False], [True, True]])
    forecast = _point([[2.0, 0.0], [2.0, 1.0]])
    base = all_scores(_truth(y, mask), forecast)
    y[0, 1] = -7.0
    assert all_scores(_truth(y, mask), forecast) == pytest.approx(base, nan_ok=True)
    assert base["mase"] == pytest.approx((1 + 1) / 2)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_order_of_rows_does_not_matter(name):
    rng = np.random.default_rng(3)
    y, f = 1 + rng.random((6, 4)), 1 + rng.random((6, 4))
    order = rng.permutation(6)
    metric = METRICS[name].function
    assert metric(_truth(y), _point(f)) == pytest.approx(metric(_truth(y[order]), _point(f[order])))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_perfect_forecast_is_best(name):
    rng = np.random.default_rng(4)
    y = 1 + rng.random((6, 4))
    best = METRICS[name].function(_truth(y), _point(y))
    worse = METRICS[name].function(_truth(y), _point(y + rng.random((6, 4))))
    assert METRICS[name].loss(best) < METRICS[name].loss(worse)


def test_names_are_understood_and_typos_helped():
    assert find_metric("NRMSE").name == "normalized_root_mean_squared_error"
    with pytest.raises(UnknownNameError, match="did you mean 'wape'"):
        find_metric("wapee")
