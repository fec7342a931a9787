"""Lags of covariates: Granger's test against statsmodels, what is kept, and from where lags count."""

import numpy as np
import pytest
from statsmodels.tsa.stattools import grangercausalitytests

from forecasting.features.granger import granger, lags_that_help
from forecasting.features.plan import FeaturePlan
from forecasting.features.settings import PlanSettings
from forecasting.learners.base import FitContext
from forecasting.panel import Block, Future, Panel
from forecasting.timegrid import TimeGrid


def _driven(n=120, seed=0, delay=2, gain=0.6):
    """A covariate and a target that follows it `delay` steps later."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    late = np.concatenate([np.zeros(delay), x[:-delay]])
    return x, 5 + gain * late + rng.standard_normal(n)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("order", [1, 2, 5])
def test_granger_equals_statsmodels(order):
    for seed in range(3):
        x, y = _driven(seed=seed, gain=0.2)
        want = grangercausalitytests(np.column_stack([y, x]), [order])[order][0]["ssr_ftest"][1]
        assert granger([(x, y)], order) == pytest.approx(want, rel=1e-8)
        assert granger([(1e6 * x, 1e-3 * y)], order) == pytest.approx(want, rel=1e-6)


def test_granger_over_several_series_gathers_evidence_and_keeps_its_level():
    weak = [_driven(60, seed, delay=1, gain=0.25) for seed in range(12)]
    assert granger(weak, 1) < 0.001 < float(np.median([granger([pair], 1) for pair in weak]))
    rng = np.random.default_rng(1)
    nothing = [granger([tuple(rng.standard_normal((2, 40))) for _ in range(5)], 2) for _ in range(300)]
    assert 0.02 < np.mean(np.array(nothing) < 0.05) < 0.09


def test_nothing_to_test_is_no_evidence():
    assert granger([], 1) == granger([(np.zeros(50), np.arange(50.0))], 1) == granger([(np.arange(4.0),) * 2], 1) == 1


def _panel(n=150):
    known, y = _driven(n, seed=3)
    past, _ = _driven(n, seed=4)
    noise = np.random.default_rng(9).standard_normal(n)
    seen = np.ones((n, 2), dtype=bool)
    return Panel.from_arrays(
        [y],
        TimeGrid.steps(),
        known=Block(("price", "noise"), np.stack([known, noise], axis=1), seen),
        past=Block(("visits",), np.concatenate([y[1:], y[:1]])[:, None] + 0.01 * past[:, None], seen[:, :1]),
    )


def test_auto_keeps_the_drivers_and_only_with_target_lags():
    panel = _panel()

    def lags(**chosen):
        return dict(FeaturePlan.fit(panel, PlanSettings(**chosen), FitContext(horizon=3)).feature_lags)

    found = lags(feature_lags="auto", lags="1,2,3")
    assert found == {"price": (1, 2, 3), "visits": (1, 2, 3)}
    assert lags(feature_lags="auto", lags="") == lags(feature_lags="2", lags="") == lags(lags="1,2,3") == {}
    assert lags(feature_lags="2", lags="1") == {"price": (2,), "noise": (2,), "visits": (2,)}
    assert lags_that_help(panel, panel.known.values[:, 0], 1, (20, 30)) in {(), (20,)}


def test_known_lags_count_from_the_target_and_past_lags_from_the_origin():
    panel = _panel(40)
    plan = FeaturePlan.fit(panel, PlanSettings(lags="1", feature_lags="1,3"), FitContext(horizon=4))
    names = plan.feature_names
    assert {"price_lag1", "price_lag3", "visits_last", "visits_lag3"} <= set(names)
    assert "visits_lag1" not in names  # that is visits_last
    ahead = np.arange(100.0, 104.0)
    future = Future(4, Block(("price", "noise"), np.stack([ahead, ahead], axis=1), np.ones((4, 2), dtype=bool)))
    scaled = plan.scale(panel, future)
    rows, series = plan.future_rows(scaled, 4)
    x = plan.design(scaled, rows, series, plan.past_block(panel)).x
    price = np.concatenate([panel.known.values[:, 0], ahead])
    for h in range(1, 5):
        row = dict(zip(names, x[h - 1].tolist(), strict=True))
        assert row["price_lag1"] == pytest.approx(price[40 + h - 2], rel=1e-6)
        assert row["price_lag3"] == pytest.approx(price[40 + h - 4], rel=1e-6)
        assert row["visits_lag3"] == pytest.approx(panel.past.values[37, 0], rel=1e-6)
