"""Scalers against scikit-learn, and their contract."""

import numpy as np
import pytest
from sklearn import preprocessing as sk

from automl.errors import DataError, UnknownNameError
from automl.preprocess import SCALERS, Scaler, fit_scaler

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5)) * [1, 10, 0.1, 1, 3] + 2
X[:, 3] = 7.0


@pytest.mark.parametrize("name", SCALERS)
def test_contract(name):
    fitted = fit_scaler(name, X.astype(np.float32))
    before = fitted.transform(X[:9].astype(np.float32))
    assert before.dtype == np.float32
    assert np.isfinite(before).all()
    back = Scaler.from_state(*fitted.state())
    np.testing.assert_array_equal(back.transform(X[:9].astype(np.float32)), before)
    with pytest.raises(DataError, match="fitted on 5 columns"):
        fitted.transform(X[:, :4])
    broken = X.copy()
    broken[2, 1] = np.nan
    with pytest.raises(DataError, match="row 2, column 1"):
        fit_scaler(name, broken)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("StandardScaleWrapper", sk.StandardScaler()),
        ("MinMaxScaler", sk.MinMaxScaler()),
        ("MaxAbsScaler", sk.MaxAbsScaler()),
        ("RobustScaler", sk.RobustScaler()),
        ("SparseNormalizer", sk.Normalizer()),
    ],
)
def test_equals_scikit_learn(name, oracle):
    np.testing.assert_allclose(fit_scaler(name, X).transform(X), oracle.fit_transform(X), atol=1e-9)


def test_pca_keeps_the_variance_and_drops_what_repeats():
    doubled = np.concatenate([X, X], axis=1)
    out = fit_scaler("PCA", doubled).transform(doubled)
    assert out.shape[1] <= 4
    standard = sk.StandardScaler().fit_transform(doubled)
    assert np.var(out, axis=0).sum() >= 0.99 * np.var(standard, axis=0).sum()


def test_typo_is_helped():
    with pytest.raises(UnknownNameError, match="did you mean 'RobustScaler'"):
        fit_scaler("robustscaler2", X)
