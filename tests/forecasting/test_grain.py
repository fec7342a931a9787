"""Targets that are zero most of the time: quantiles lie on values that occur, and each level is right out of sample."""

import numpy as np
import pandas as pd
import pytest

from forecasting.grain import Grain
from forecasting.intervals import fit_stretch, stretch
from forecasting.panel import Panel
from forecasting.timegrid import TimeGrid
from forecastle import Forecaster
from tests.forecasting.frames import quick

LEVELS = tuple(k / 10 for k in range(1, 10))


def _panel(*series):
    return Panel.from_arrays([np.array(y, dtype=float) for y in series], TimeGrid("D", "2024-01-01"))


def test_only_targets_with_many_zeros_and_none_below_have_one():
    assert Grain.of(_panel([0, 0, 3, 0, 2])) == Grain(2.0, whole=True)
    assert Grain.of(_panel([0, 0, 2.5, 0, 4])) == Grain(2.5, whole=False)
    assert Grain.of(_panel([0, 1, 2, 3, 4])) is None  # a fifth is not more than a fifth
    assert Grain.of(_panel([0, 0, -1, 0, 4])) is None
    assert Grain.of(_panel([0, 0, 0])) is None
    assert Grain.of(_panel([np.nan, np.nan])) is None


def test_settling_keeps_the_order_and_leaves_points_alone_unless_told():
    rng = np.random.default_rng(0)
    channels = np.sort(rng.exponential(2, (5, 7, 6)), axis=2)
    for grain in (Grain(1.0, whole=True), Grain(3.0, whole=True), Grain(0.7, whole=False)):
        moved = grain.settled(channels, point=False)
        assert (np.diff(moved[..., 1:], axis=2) >= 0).all()
        assert (moved[..., 0] == channels[..., 0]).all()
        assert not ((moved[..., 1:] > 0) & (moved[..., 1:] < grain.least)).any()
        assert (grain.settled(channels, point=True)[..., 1:] == moved[..., 1:]).all()
    assert (channels >= 0).all()


def _misses(y, quantiles, levels):
    """How far each level lies outside the shares of values below and at or below its quantile."""
    below, upto = (y[..., None] < quantiles).mean(axis=(0, 1)), (y[..., None] <= quantiles).mean(axis=(0, 1))
    return np.maximum(np.maximum(below - levels, levels - upto), 0)


@pytest.mark.parametrize("width", [0.3, 1.0, 2.5])
def test_every_level_is_right_after_calibration_whatever_the_width_before(width):
    rng = np.random.default_rng(1)
    rate = rng.gamma(0.7, 1.2, (400, 1))
    learned, later = (rng.poisson(rate, (400, 12)).astype(float) for _ in range(2))
    assert 0.4 < (learned == 0).mean() < 0.8
    # quantiles of a smooth distribution around a point that nearly never occurs
    levels = np.array(LEVELS)
    spread = np.sqrt(rate)[:, :, None] * (np.log(levels / (1 - levels)) / 1.7)
    point = np.broadcast_to(0.8 * rate[:, :, None], (400, 12, 1))
    channels = np.concatenate([point, point + width * spread], axis=2)
    grain = Grain(1.0, whole=True)
    floor = np.zeros(400)

    def miss(factors, grain_used):
        values = stretch(channels, factors, floor)
        return _misses(later, (grain_used.settle(values) if grain_used else values)[:, :, 1:], levels).max()

    assert miss(fit_stretch(learned, channels, LEVELS, grain=grain), grain) <= 0.04
    if width == 1.0:
        assert miss(fit_stretch(learned, channels, LEVELS), None) > 0.04


def _sales(n=60, rows=60, seed=0):
    rng = np.random.default_rng(seed)
    rate = rng.gamma(1.0, 0.7, n)
    parts = [
        pd.DataFrame(
            {
                "unique_id": f"s{i:02d}",
                "ds": pd.date_range("2020-01-01", periods=rows, freq="MS"),
                "y": rng.poisson(rate[i], rows),
            }
        )
        for i in range(n)
    ]
    return pd.concat(parts, ignore_index=True).astype({"y": float})


@pytest.fixture(scope="module")
def fitted():
    frame = _sales()
    train, test = frame.groupby("unique_id").head(54), frame.groupby("unique_id").tail(6)
    return Forecaster(6, settings=quick(5, allowed=["Average", "TSB", "QuantileLightGBM", "ElasticNet"])).fit(
        train
    ), test


def test_levels_of_a_model_are_right_on_later_values_and_stay_so_when_saved(fitted, tmp_path):
    model, test = fitted
    found = model.predict(quantiles=list(LEVELS))
    names = [f"yhat-q-{q:g}" for q in LEVELS]
    values = found[names].to_numpy()
    assert (values == np.rint(values)).all()
    y = test.merge(found, on=["unique_id", "ds"], validate="one_to_one")
    assert len(y) == 360
    assert _misses(y[["y"]].to_numpy(), y[names].to_numpy()[:, None, :], np.array(LEVELS)).max() <= 0.04
    model.save(tmp_path / "model")
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "model").predict(quantiles=list(LEVELS)), found)


def test_points_are_moved_where_medians_are_wanted_and_not_where_means_are(fitted):
    model, test = fitted
    assert model._model.entry(None).settled
    train = _sales().groupby("unique_id").head(54)
    chosen = quick(3, allowed=["Average", "TSB"], metric="rmsse")
    means = Forecaster(6, settings=chosen).fit(train)
    assert not means._model.entry(None).settled
    point = means.predict()["yhat"].to_numpy()
    assert (point != np.rint(point)).any()
    assert point.mean() == pytest.approx(test["y"].mean(), rel=0.2)


def test_the_first_horizon_of_a_long_request_is_the_short_one(fitted):
    model, _ = fitted
    short, long = model.predict(quantiles=[0.1, 0.9]), model.predict(horizon=14, quantiles=[0.1, 0.9])
    first = long.groupby("unique_id").head(6).reset_index(drop=True)
    pd.testing.assert_frame_equal(first, short)
    columns = ["yhat", "yhat-q-0.1", "yhat-q-0.9"]
    assert (long[columns] == np.rint(long[columns])).all().all()
