"""Weights by series: what they do with errors, when they are taken, and that a model forecasts and keeps them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.blending import likely, series_errors, tilted
from forecasting.metrics import Truth
from forecastle import Forecaster
from tests.forecasting.frames import monthly, quick


@given(seed=st.integers(0, 200), k=st.integers(2, 5), windows=st.integers(1, 4), power=st.sampled_from([0.0, 1.0, 2.0]))
def test_weights_are_shares_and_follow_the_errors(seed, k, windows, power):
    rng = np.random.default_rng(seed)
    errors = rng.exponential(size=(k, windows, 7))
    errors[:, rng.random((windows, 7)) < 0.3] = np.nan
    weights = tilted(errors, power)
    assert weights.shape == (7, k)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(tilted(3 * errors, power), weights)
    better = errors.copy()
    better[0] *= 0.5
    assert (tilted(better, power)[:, 0] >= weights[:, 0] - 1e-12).all()
    if power == 0:
        np.testing.assert_allclose(weights, 1 / k)


def test_a_series_never_seen_and_errors_of_nothing_are_no_trouble():
    errors = np.array([[[0.0, np.nan]], [[0.0, np.nan]]])
    np.testing.assert_allclose(tilted(errors, 2.0), 0.5)
    one_perfect = tilted(np.array([[[0.0]], [[1.0]]]), 2.0)
    assert np.isfinite(one_perfect).all()
    assert 0.5 < one_perfect[0, 0] < 1


def windows_of(rng, n, kinds, windows=4, h=3):
    """Truth, and forecasts of two members: each is right for the series of its kind."""
    y = rng.normal(10, 1, (windows, n, h))
    noise = rng.normal(0, 1, (2, windows, n, h))
    scale = np.where(kinds == np.arange(2)[:, None], 0.1, 2.0)[:, None, :, None]
    truth = Truth(y.reshape(-1, h), np.ones((windows * n, h), dtype=bool), *[np.ones(windows * n)] * 3)
    return truth, [(y + s * e)[..., None] for s, e in zip(scale, noise, strict=True)]


def test_models_as_good_as_the_best_for_all_one_knows_share_alike():
    rng = np.random.default_rng(0)
    base = rng.gamma(4, 0.25, (1, 3, 50))
    errors = base * np.array([1.0, 1.03, 1.5])[:, None, None] * rng.uniform(0.5, 1.5, (3, 3, 50))
    losses = errors.mean(axis=(1, 2))
    weights = likely(losses, errors)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[1] > 0.3
    assert weights[2] == 0.0
    # the same difference of two windows of one series is luck
    few = likely(losses, errors[:, :2, :1])
    assert few[2] > 0.05
    # what has no errors, or none that differ, is judged by its loss
    assert likely(np.array([1.0, np.nan]), errors[:2]).tolist() == [1.0, 0.0]
    assert likely(np.array([-0.9, -0.9]), np.full((2, 1, 1), np.nan)).tolist() == [0.5, 0.5]


def test_errors_by_hand():
    y = np.array([[1.0, 2.0], [5.0, 5.0]])
    mask = np.array([[True, False], [True, True]])
    truth = Truth(y, mask, np.array([2.0, np.nan]), np.ones(2), np.ones(2))
    found = series_errors([np.array([[[3.0, 9.0], [5.0, 5.0]]])], truth)
    np.testing.assert_array_equal(found, [[[1.0, np.nan]]])


@pytest.fixture(scope="module")
def fitted():
    return Forecaster(3, settings=quick(4)).fit(monthly())


def test_a_model_forecasts_every_series_with_its_own_weights(fitted, tmp_path):
    model = fitted._model
    keys = model.task.panel.ids
    names = ["SeasonalNaive", "ElasticNet"]
    by_series = np.stack([np.linspace(0, 1, len(keys)), np.linspace(1, 0, len(keys))], axis=1)
    entry = replace(model.entry(None), name="Mixed", weights=tuple((n, 0.5) for n in names), by_series=by_series)
    model.entries["Mixed"] = entry
    found = fitted.predict(model="Mixed")
    parts = [fitted.predict(model=name)["yhat"].to_numpy() for name in names]
    share = np.repeat(by_series, 3, axis=0).T
    np.testing.assert_allclose(found["yhat"], share[0] * parts[0] + share[1] * parts[1])
    fitted.save(tmp_path / "model")
    again = Forecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.predict(model="Mixed"), found, check_exact=True)
    strange = model.weights(entry, replace(model.task.panel, ids=tuple(("new", *key[1:]) for key in keys)))
    assert all((weight == 0.5).all() for _, weight in strange)
    del model.entries["Mixed"]
