"""Metrics against scikit-learn and SciPy, and their stated special cases."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from automl.errors import UnknownNameError
from automl.metrics import CLASSIFICATION, REGRESSION

RNG = np.random.default_rng(0)
Y, F = 1 + RNG.random(50), 1 + RNG.random(50)
CODES = RNG.integers(0, 3, 80)
PROB = RNG.dirichlet([1, 1, 1], 80)
WEIGHT = RNG.random(80)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("mean_absolute_error", sk.mean_absolute_error(Y, F)),
        ("root_mean_squared_error", sk.root_mean_squared_error(Y, F)),
        ("median_absolute_error", sk.median_absolute_error(Y, F)),
        ("mean_absolute_percentage_error", 100 * sk.mean_absolute_percentage_error(Y, F)),
        ("root_mean_squared_log_error", sk.root_mean_squared_log_error(Y, F)),
        ("r2_score", max(-1, sk.r2_score(Y, F))),
        ("explained_variance", sk.explained_variance_score(Y, F)),
        ("spearman_correlation", stats.spearmanr(Y, F).statistic),
        ("normalized_mean_absolute_error", sk.mean_absolute_error(Y, F) / np.ptp(Y)),
    ],
)
def test_regression(name, want):
    assert REGRESSION.load(name).function(Y, F) == pytest.approx(want)


def test_regression_special_cases():
    r2 = REGRESSION.load("r2_score").function
    assert r2(Y, 100 * F) == -1
    assert np.isnan(r2(np.ones(3), np.arange(3.0)))
    mape = REGRESSION.load("mean_absolute_percentage_error").function
    assert mape(np.array([0.0, 2.0]), np.array([5.0, 3.0])) == pytest.approx(50)
    assert np.isnan(REGRESSION.load("root_mean_squared_log_error").function(np.array([-1.0]), np.array([1.0])))
    nrmse = REGRESSION.load("normalized_root_mean_squared_error").function
    assert nrmse(np.array([1.0, 3.0]), np.array([2.0, 2.0]), value_range=10.0) == pytest.approx(0.1)
    assert np.isfinite(REGRESSION.load("root_mean_squared_error").function(np.array([1e200]), np.array([-1e200])))


def test_ties_in_rank_correlation():
    y = np.array([1.0, 1.0, 2.0, 3.0])
    f = np.array([2.0, 1.0, 2.0, 2.0])
    want = stats.spearmanr(y, f).statistic
    assert REGRESSION.load("spearman_correlation").function(y, f) == pytest.approx(want)


def _auc(average):
    return sk.roc_auc_score(CODES, PROB, multi_class="ovr", average=average, sample_weight=WEIGHT)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("accuracy", sk.accuracy_score(CODES, PROB.argmax(1), sample_weight=WEIGHT)),
        ("balanced_accuracy", sk.balanced_accuracy_score(CODES, PROB.argmax(1), sample_weight=WEIGHT)),
        ("log_loss", sk.log_loss(CODES, PROB, sample_weight=WEIGHT)),
        ("matthews_correlation", sk.matthews_corrcoef(CODES, PROB.argmax(1), sample_weight=WEIGHT)),
        ("AUC_macro", _auc("macro")),
        ("AUC_weighted", _auc("weighted")),
        (
            "average_precision_score_weighted",
            sk.average_precision_score(np.eye(3)[CODES], PROB, average="weighted", sample_weight=WEIGHT),
        ),
        (
            "weighted_accuracy",
            sk.accuracy_score(
                CODES, PROB.argmax(1), sample_weight=WEIGHT * np.bincount(CODES, weights=WEIGHT, minlength=3)[CODES]
            ),
        ),
        ("f1_score_macro", sk.f1_score(CODES, PROB.argmax(1), average="macro", sample_weight=WEIGHT)),
        (
            "precision_score_weighted",
            sk.precision_score(CODES, PROB.argmax(1), average="weighted", sample_weight=WEIGHT),
        ),
    ],
)
def test_classification(name, want):
    assert CLASSIFICATION.load(name).function(CODES, PROB, WEIGHT) == pytest.approx(want)


def test_norm_macro_recall_is_zero_for_guessing_and_one_for_truth():
    metric = CLASSIFICATION.load("norm_macro_recall").function
    assert metric(CODES, np.eye(3)[CODES]) == pytest.approx(1)
    assert metric(CODES, np.eye(3)[np.zeros(80, int)]) == pytest.approx(0)


def test_loss_turns_the_sign_and_typos_are_helped():
    assert REGRESSION.load("r2_score").loss(0.5) == -0.5
    with pytest.raises(UnknownNameError, match="did you mean 'r2_score'"):
        REGRESSION.load("r2score")
