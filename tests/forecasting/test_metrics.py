"""Forecast metrics against hand computed values and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from automl.errors import ConfigError, UnknownNameError
from automl.metrics import UserMetric
from forecasting.metrics import METRICS, Truth, all_scores, find_metric, forgiving, later_scores, own_metric


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
    assert scores["explained_variance"] == pytest.approx(sk.explained_variance_score(y.ravel(), f.ravel()))
    percent = 100 * sk.mean_absolute_percentage_error(y.ravel(), f.ravel())
    assert scores["mean_absolute_percentage_error"] == pytest.approx(percent)
    assert scores["spearman_correlation"] == pytest.approx(stats.spearmanr(y.ravel(), f.ravel()).statistic)
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


NORMALISED = {
    "normalized_mean_absolute_error": sk.mean_absolute_error,
    "normalized_median_absolute_error": sk.median_absolute_error,
    "normalized_root_mean_squared_error": sk.root_mean_squared_error,
    "normalized_root_mean_squared_log_error": sk.root_mean_squared_log_error,
}


@pytest.mark.parametrize("name", sorted(NORMALISED))
def test_normalised_metrics_are_plain_means_over_series_of_scikit_learn_over_a_range(name):
    """By the stored range of the training data under their own names, by the rows' own range beside them."""
    rng = np.random.default_rng(5)
    y, f = 5 + rng.random((4, 6)) * [[1], [10], [100], [1000]], 5 + rng.random((4, 6))
    truth = Truth(y, np.ones(y.shape, bool), np.ones(4), np.ones(4), np.array([2.0, 30.0, np.nan, 500.0]))
    scores = later_scores(truth, _point(f))
    error = np.array([NORMALISED[name](a, b) for a, b in zip(y, f, strict=True)])
    assert scores[name] == pytest.approx((error[[0, 1, 3]] / [2, 30, 500]).mean()), "no range: left out"
    assert scores[f"{name}_test_range"] == pytest.approx((error / np.ptp(y, axis=1)).mean())


def test_pinball_of_each_level_and_coverage_of_each_interval():
    rng = np.random.default_rng(6)
    y, levels = rng.random((5, 4)), (0.05, 0.1, 0.5, 0.9, 0.95)
    channels = np.sort(rng.random((5, 4, 5)), axis=2)
    truth, forecast = _truth(y, levels=levels), np.concatenate([channels[:, :, 2:3], channels], axis=2)
    scores = later_scores(truth, forecast)
    want = [sk.mean_pinball_loss(y.ravel(), channels[:, :, k].ravel(), alpha=q) for k, q in enumerate(levels)]
    assert [scores[f"pinball_{q:g}"] for q in levels] == pytest.approx(want)
    assert scores["pinball"] == pytest.approx(np.mean(want))
    assert find_metric("Pinball_0.10").function(truth, forecast) == pytest.approx(want[1])
    assert np.isnan(find_metric("pinball_0.2").function(truth, forecast)), "no such level"
    inside = (y >= channels[:, :, 0]) & (y <= channels[:, :, 4])
    assert scores["coverage_90"] == inside.mean()
    assert {n for n in scores if n.startswith("coverage")} == {"coverage_80", "coverage_90"}


def test_special_cases():
    nothing = _truth([[3.0, 3.0]])
    for name in ("r2_score", "explained_variance", "spearman_correlation"):
        assert np.isnan(METRICS[name].function(nothing, _point([[1.0, 2.0]]))), name
    assert METRICS["r2_score"].function(_truth([[1.0, 2.0]]), _point([[90.0, -90.0]])) == -1
    rounding = _truth([[1e9, 1e-9, 0.0]])
    assert METRICS["mean_absolute_percentage_error"].function(rounding, _point([[1.1e9, 5.0, 5.0]])) == pytest.approx(
        10
    )
    below = _truth([[-1.0, 2.0], [3.0, 4.0]])
    logs = METRICS["normalized_root_mean_squared_log_error"].function(below, _point([[0.0, 0.0], [3.0, 9.0]]))
    assert logs == pytest.approx(sk.root_mean_squared_log_error([3.0, 4.0], [3.0, 9.0]) / 2), "negative: left out"


def test_a_function_of_the_users_gets_the_observed_values_alone():
    seen = []

    def worst(y, f):
        seen.append((y.tolist(), f.tolist()))
        return np.abs(y - f).max()

    metric = own_metric(UserMetric.of(worst))
    truth = _truth([[1.0, 9.0], [2.0, 4.0]], mask=[[True, False], [True, True]])
    assert metric.function(truth, _point([[2.0, 0.0], [2.0, 1.0]])) == 3
    assert seen == [([1.0, 2.0, 4.0], [2.0, 2.0, 1.0])]
    assert metric.loss(3.0) == 3.0
    assert own_metric(UserMetric("gain", worst, "max")).loss(3.0) == -3.0


def test_a_failing_function_is_missing_in_reports():
    broken = forgiving(own_metric(UserMetric("broken", lambda y, f: 1 / 0)))
    scores = all_scores(_truth([[1.0, 2.0]]), _point([[1.0, 2.0]]), (broken,))
    assert np.isnan(scores["broken"])
    assert scores["wape"] == 0


@pytest.mark.parametrize("name", ["mase", "RMSE", "score", "bias", "pinball_0.3", "status"])
def test_a_name_that_means_something_else_is_refused(name):
    with pytest.raises(ConfigError, match="means something else"):
        own_metric(UserMetric(name, lambda y, f: 0.0))


def test_what_is_no_metric_is_refused_with_the_fix():
    with pytest.raises(ConfigError, match=r"UserMetric\('my_name', function\)"):
        UserMetric.of(lambda y, f: 0.0)
    with pytest.raises(ConfigError, match=r"cannot be imported.*PYTHONPATH"):
        UserMetric.of("no_such_package.metrics:mine")
    with pytest.raises(ConfigError, match="cannot be imported"):
        UserMetric.of("math:mine")
    with pytest.raises(ConfigError, match="needs a function"):
        UserMetric.of("math:pi")
    with pytest.raises(ConfigError, match="'min' or 'max'"):
        UserMetric("mine", max, "up")
    with pytest.raises(ConfigError, match="must return one number, it returned list"):
        UserMetric("mine", lambda y, f: [1, 2]).score(np.ones(2), np.ones(2))
    with pytest.raises(ConfigError, match="give it again"):
        UserMetric("mine").score(np.ones(2), np.ones(2))
