"""Unit-root tests against statsmodels, and the vote."""

import warnings

import numpy as np
import pytest

from forecasting import stationarity as st
from forecasting.panel import Panel
from forecasting.timegrid import TimeGrid

RNG = np.random.default_rng(7)
NOISE = RNG.standard_normal(160)
SERIES = {"noise": NOISE, "walk": np.cumsum(NOISE), "ar": np.convolve(NOISE, 0.6 ** np.arange(30))[:160] + 5}


@pytest.mark.parametrize("name", SERIES)
def test_dickey_fuller_and_its_lags_equal_statsmodels(name):
    from statsmodels.tsa.stattools import adfuller

    y = SERIES[name]
    lags = st.best_lags(y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the oracle announces another form of its result
        statistic, chosen = adfuller(y, maxlag=lags, autolag=None)[0], adfuller(y, autolag="AIC")[2]
    assert st.dickey_fuller(y, lags) == pytest.approx(statistic)
    assert lags == chosen


@pytest.mark.parametrize("name", SERIES)
def test_kpss_equals_statsmodels(name):
    from statsmodels.tsa.stattools import kpss

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the oracle warns where its table of p values ends
        want = kpss(SERIES[name], regression="c", nlags="auto")[0]
    assert st.kpss(SERIES[name]) == pytest.approx(want)


def test_phillips_perron_equals_pmdarima_in_its_decision_and_dickey_fuller_without_memory():
    assert st.phillips_perron(SERIES["walk"]) > -2.862
    assert st.phillips_perron(NOISE) < -8
    assert st.phillips_perron(NOISE) == pytest.approx(st.dickey_fuller(NOISE, 0), rel=0.1)


def test_a_broken_level_is_told_from_a_unit_root():
    broken = NOISE + 8 * (np.arange(160) > 80)
    assert st.zivot_andrews(broken, 0) < -4.8
    assert st.zivot_andrews(SERIES["walk"], st.best_lags(SERIES["walk"])) > -4.8


def test_size_and_power_of_the_vote():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((40, 120))
    assert np.mean([st.is_stationary(y) for y in noise]) > 0.9
    assert np.mean([st.is_stationary(np.cumsum(y)) for y in noise]) < 0.1


def test_panel_goes_with_the_majority_and_skips_what_cannot_be_tested():
    grid = TimeGrid.steps()
    walks = [np.cumsum(RNG.standard_normal(100)) for _ in range(3)]
    calm = [RNG.standard_normal(100)]
    flat = [np.ones(100), np.arange(5.0), np.arange(100.0)]
    assert st.panel_is_stationary(Panel.from_arrays(walks + calm + flat, grid)) == (False, 1, 4)
    assert st.panel_is_stationary(Panel.from_arrays(flat, grid)) == (True, 0, 0)
