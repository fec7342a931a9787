"""ARMA likelihood, differencing, psi weights and the choice of orders against slow twins and statsmodels."""

import warnings

import numpy as np
import pytest

from automl.errors import ConfigError, DataError
from forecasting.kernels import arima, arma
from forecasting.kernels.arima_fit import PARAMETERS, ROOT, SHORT, new_room
from forecasting.kernels.arima_project import difference, integrating
from forecasting.kernels.stl import stl, strength, trend_window
from forecasting.kernels.unitroot import by_kpss, by_ocsb, by_strength, kpss, ocsb, ocsb_critical
from forecasting.learners.autoarima import Arimax, AutoArima, fourier
from forecasting.learners.base import FitContext
from forecasting.panel import Block, Future, Panel
from forecasting.timegrid import TimeGrid
from tests.forecasting.kernels.fixtures import shipped


def simulated(seed, n=120, season=12):
    rng = np.random.default_rng(seed)
    e = rng.standard_normal(n)
    y = 10 + np.convolve(e, [1, 0.5], mode="same") + 3 * np.sin(2 * np.pi * np.arange(n) / season)
    return y + 0.05 * np.arange(n)


def panel_of(*series):
    return Panel.from_arrays(list(series), TimeGrid.steps())


def fixed(y, order, m, horizon=4, design=None):
    """Estimate one order (p, q, P, Q, constant, d, D): u, figures, and beta (the constant alone without a design)."""
    if design is None:
        return fixed(y, order, m, horizon, np.empty((len(y), 0)))
    chosen, u = np.zeros((1, arima.ORDER), dtype=np.int64), np.zeros((1, PARAMETERS))
    beta, figures, reason = np.zeros((1, design.shape[1] + 1)), np.zeros((1, 5)), np.zeros(1, dtype=np.int64)
    chosen[0, 5:] = order[5:]
    limits = np.array([5, 5, 2, 2])
    arima.fit_series(
        np.asarray(y, dtype=float), np.array([0, len(y)]), design, 0, 1, m, True, m > 1, limits, horizon, 20_000,
        np.array(order[:5]), chosen, u, beta, figures, reason,
    )  # fmt: skip
    assert reason[0] == 0
    return u, figures[0], beta[0] if design.shape[1] else beta[0, 0]


def differences(test, y, m, most, *arguments):
    """How many differences a test takes of one series."""
    out = np.full((1, 7), -1)
    test(y, np.array([0, len(y)]), 0, 1, m, most, *arguments, out[:, 6])
    return out[0, 6]


@pytest.mark.parametrize(
    ("ar", "ma", "sar", "sma", "m"),
    [
        ([0.5], [], [], [], 1), ([], [0.4], [], [], 1), ([0.5, -0.2], [0.3, 0.1], [], [], 1),
        ([0.5], [0.3], [0.4], [-0.3], 12), ([], [0.3], [], [-0.6], 4), ([0.2], [], [0.5], [], 4), ([], [], [], [], 1),
    ],
)  # fmt: skip
def test_likelihood_is_that_of_a_dense_gaussian(ar, ma, sar, sma, m):
    y = np.random.default_rng(3).standard_normal(60)
    phi, theta = np.zeros(40), np.zeros(40)
    a = arma.expand(np.array(ar, float), len(ar), np.array(sar, float), len(sar), m, -1.0, phi)
    b = arma.expand(np.array(ma, float), len(ma), np.array(sma, float), len(sma), m, 1.0, theta)
    cross, state = np.zeros((1, 1)), np.zeros((1, max(a, b + 1) + 1))
    logs = arma.innovations(
        y[:, None].copy(), phi, a, theta, b, cross, state, np.zeros((5, 45)), np.zeros((a + 1, a + 2))
    )
    # psi weights far enough back give the covariance matrix
    psi = np.zeros(4000)
    for k in range(4000):
        psi[k] = (
            (k == 0)
            + (theta[k - 1] if 1 <= k <= b else 0)
            + sum(phi[j - 1] * psi[k - j] for j in range(1, min(k, a) + 1))
        )
    gamma = np.array([psi[: 4000 - lag] @ psi[lag:] for lag in range(60)])
    covariance = gamma[np.abs(np.subtract.outer(np.arange(60), np.arange(60)))]
    assert logs == pytest.approx(np.linalg.slogdet(covariance)[1], abs=1e-5)
    assert cross[0, 0] == pytest.approx(y @ np.linalg.solve(covariance, y), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("order", [(1, 1, 0, 1, 0, 0, 1), (0, 1, 1, 0, 1, 1, 0), (2, 1, 0, 0, 1, 0, 0)])
def test_fits_are_as_good_as_those_of_statsmodels(seed, order):
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    y = simulated(seed)
    p, q, big_p, big_q, constant, d, big_d = order
    _, figures, _ = fixed(y, order, 12)
    w = y[12:] - y[:-12] if big_d else y
    w = np.diff(w, d)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SARIMAX(w, order=(p, 0, q), seasonal_order=(big_p, 0, big_q, 12), trend="c" if constant else "n")
        theirs = model.fit(disp=0, maxiter=200).llf
    assert figures[2] > theirs - 0.1


def test_partial_autocorrelations_give_stable_polynomials():
    rng = np.random.default_rng(0)
    work = np.zeros(5)
    for _ in range(200):
        coefficients = np.zeros(5)
        arma.from_partial(rng.uniform(-5, 5, 5), 5, coefficients, work)
        roots = np.roots(np.r_[-coefficients[::-1], 1.0])
        assert np.abs(roots).min() > 1 - 1e-9
        assert arma.is_stable(coefficients, 5, 0.999, work)
    assert not arma.is_stable(np.array([1.1]), 1, 1.0, work)
    assert not arma.is_stable(np.array([0.995]), 1, 1.01, work)


def test_differences_are_undone():
    rng = np.random.default_rng(1)
    y = rng.standard_normal(60).cumsum()
    for d, big_d, m in ((1, 0, 4), (0, 1, 4), (1, 1, 4), (2, 1, 12)):
        out, delta = np.empty(60), np.zeros(20)
        n = difference(y, d, big_d, m, out)
        want = np.diff(y[m:] - y[:-m] if big_d else y, d)
        np.testing.assert_allclose(out[:n], want)
        size = integrating(d, big_d, m, delta)
        back = [want[t - size] + delta[:size] @ y[t - size : t][::-1] for t in range(size, 60)]
        np.testing.assert_allclose(back, y[size:])


def test_unit_root_tests_agree_with_statsmodels():
    from statsmodels.tsa.seasonal import STL
    from statsmodels.tsa.stattools import kpss as theirs

    for seed in range(5):
        y = simulated(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert kpss(y) == pytest.approx(theirs(y, nlags=int(3 * np.sqrt(len(y)) / 13))[0])
        season, trend, work = np.empty(120), np.empty(120), np.empty((3, 144))
        width = trend_window(12, 11)
        stl(y, 12, 11, 0, width, 2, season, trend, work)
        want = STL(y, period=12, seasonal=11, trend=width, low_pass=13, seasonal_deg=0).fit(inner_iter=2, outer_iter=0)
        np.testing.assert_allclose(season, want.seasonal, atol=1e-10)
        np.testing.assert_allclose(trend, want.trend, atol=1e-10)
        detrended = want.seasonal + want.resid
        assert strength(y, 12) == pytest.approx(1 - want.resid.var() / detrended.var())
    assert differences(by_strength, simulated(0), 12, 1) == 1
    assert differences(by_strength, np.random.default_rng(0).standard_normal(120), 12, 1) == 0
    walk = np.random.default_rng(2).standard_normal(200).cumsum()
    series = (walk, walk.cumsum(), np.diff(walk))
    assert [differences(by_kpss, x, 1, 2, np.zeros((1, 7), dtype=np.int64)[:, 5]) for x in series] == [1, 2, 0]


# ocsb.test(y) and ocsb.test(y, maxlag = 2) of R's forecast 8.20, and nsdiffs(y, test = "ocsb")
OCSB_OF_R = {
    "airline_passengers": (2.302909, 3.107701, 1),
    "australian_wine": (-2.247933, -2.240067, 0),
    "electrical_equipment": (-1.785779, -1.755574, 1),
    "ausbeer": (-1.692978, -1.425414, 1),
    "austres": (-4.831824, -2.268455, 0),
    "woolyrnq": (-3.512326, -2.953892, 0),
}


@pytest.mark.parametrize("name", OCSB_OF_R)
def test_ocsb_equals_that_of_r(name):
    task = next(task for task in shipped().values() if name in task.ids)
    y, m = task.train[task.ids.index(name)], task.season
    without, with_two, due = OCSB_OF_R[name]
    assert ocsb(y, m, 0, m + 1)[0] == pytest.approx(without, rel=1e-5)
    assert ocsb(1e6 * y, m, 2, m + 3)[0] == pytest.approx(with_two, rel=1e-5)
    assert ocsb_critical(m) == pytest.approx({12: -1.802963, 4: -1.8927}[m], rel=1e-5)
    assert differences(by_ocsb, y, m, 1) == due
    assert differences(by_ocsb, y, m, 0) == 0


@pytest.mark.parametrize("name", ["ausbeer", "woolyrnq"])
def test_the_seasonal_test_is_a_setting(name):
    task = shipped()["quarterly"]
    panel = Panel.from_arrays([task.train[task.ids.index(name)]], TimeGrid.steps())
    context = FitContext(horizon=4, season=4)
    taken = [
        int(AutoArima(seasonal_test=test).fit(panel, context)._model["order"][0, 6]) for test in ("strength", "ocsb")
    ]
    assert taken == [1, OCSB_OF_R[name][2]]
    with pytest.raises(ConfigError, match="seasonal_test"):
        AutoArima(seasonal_test="ch")


@pytest.mark.parametrize("n", [11, 12, 15, 40])
def test_ocsb_copes_with_little_and_with_nothing(n):
    y = np.tile([1.0, 2.0, 3.0, 4.0], 10)[:n]
    assert differences(by_ocsb, y, 4, 1) in (0, 1)
    assert differences(by_ocsb, y + np.arange(n) % 7, 4, 1) in (0, 1)


def test_forecasts_and_their_variance_equal_those_of_statsmodels():
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    y = simulated(4)
    learner = AutoArima().fit(panel_of(y), FitContext(horizon=8, season=12))
    p, q, big_p, big_q, constant, d, big_d = learner._model["order"][0]
    u, scale = learner._model["u"], learner._model["figures"][0, 0]
    room = new_room(12, 1, 200, 8, ROOT)
    from forecasting.kernels.arima_fit import polynomials

    polynomials(u[0], learner._model["order"][0], 12, room)
    short = room.vectors[SHORT:]
    sigma = learner._model["figures"][0, 1] * scale
    exog = arima_trend(np.arange(128), d, big_d)[:, None] if constant else None
    model = SARIMAX(y, exog=exog[:120] if constant else None, order=(p, d, q), seasonal_order=(big_p, big_d, big_q, 12))
    beta = [learner._model["beta"][0, 0] * scale] if constant else []
    theirs = model.filter(np.r_[beta, short[0, :p], short[1, :q], short[2, :big_p], short[3, :big_q], sigma**2])
    got = theirs.get_forecast(8, exog=exog[120:] if constant else None)
    panel = panel_of(y)
    values = learner.forecast(panel, Future.bare(panel, 8), (0.1, 0.9)).values[0]
    np.testing.assert_allclose(values[:, 0], got.predicted_mean, rtol=1e-4)
    np.testing.assert_allclose(values[:, 2] - values[:, 0], got.se_mean * 1.2815516, rtol=1e-2)


def arima_trend(t, d, big_d):
    return np.ones(len(t)) if d + big_d == 0 else (t + 1.0) / 12 if big_d else t + 1.0


@pytest.mark.parametrize("factor", [1e-9, 1e6, 1e12])
def test_scale_does_not_matter(factor):
    y = simulated(5)
    panel, large = panel_of(y), panel_of(y * factor)
    context = FitContext(horizon=6, season=12)
    one = AutoArima().fit(panel, context).forecast(panel, Future.bare(panel, 6), (0.1,)).values
    two = AutoArima().fit(large, context).forecast(large, Future.bare(large, 6), (0.1,)).values
    np.testing.assert_allclose(two / factor, one, rtol=1e-5)


def test_neighbours_and_threads_do_not_matter():
    series = [simulated(s, n=60 + s) for s in range(9)]
    panel = panel_of(*series)
    whole = AutoArima().fit(panel, FitContext(horizon=6, season=12, threads=2))
    for i in (0, 5, 8):
        alone = AutoArima().fit(panel_of(series[i]), FitContext(horizon=6, season=12))
        np.testing.assert_array_equal(alone._model["u"][0], whole._model["u"][i])
        np.testing.assert_array_equal(alone._model["order"][0], whole._model["order"][i])


def test_full_search_is_at_least_as_good_and_caps_are_counted():
    panel = panel_of(*(simulated(s, n=60) for s in range(4)))
    context = FitContext(horizon=6, season=4)
    steps = AutoArima().fit(panel, context)._model["aicc"]
    full = AutoArima(stepwise=False).fit(panel, context)._model["aicc"]
    capped = AutoArima(most_evaluations=100).fit(panel, context)._model["aicc"]
    assert (full <= steps + 0.1).all()
    assert (capped >= steps - 0.1).all()


def test_long_seasons_are_told_by_harmonics():
    t = np.arange(400)
    y = 50 + 10 * np.sin(2 * np.pi * t / 52) + np.random.default_rng(0).standard_normal(400)
    panel = panel_of(y[:348])
    learner = AutoArima().fit(panel, FitContext(horizon=52, season=52))
    point = learner.forecast(panel, Future.bare(panel, 52), ()).point[0]
    assert learner._model["harmonics"][0] >= 1
    assert np.abs(point - y[348:]).mean() < 1.5
    assert fourier(np.array([52]), 52, 2).round(9).tolist() == [[0.0, 1.0, 0.0, 1.0]]


def test_regressors_explain_what_they_can():
    rng = np.random.default_rng(1)
    price = rng.standard_normal(100)
    y = simulated(1, n=100) + 20 * price
    block = Block(("price",), price[:94, None], np.ones((94, 1), dtype=bool))
    panel = panel_of(y[:94])
    panel = Panel(**{n: getattr(panel, n) for n in panel.__slots__} | {"known": block})
    future = Future(6, Block(("price",), price[94:, None], np.ones((6, 1), dtype=bool)))
    context = FitContext(horizon=6, season=12)
    blind = AutoArima().fit(panel, context).forecast(panel, future, ()).point[0]
    seeing = Arimax().fit(panel, context).forecast(panel, future, ()).point[0]
    assert np.abs(seeing - y[94:]).mean() < 3 < np.abs(blind - y[94:]).mean()


# -- regressors -------------------------------------------------------------------------------------------------------


def block(values, vocabulary=()):
    return Block(tuple(f"c{k}" for k in range(values.shape[1])), values, np.ones(values.shape, dtype=bool), vocabulary)


def with_known(y, values, vocabulary=(), ids=None):
    """Panel of series of len(y[0]) rows with known columns [n, rows, k]."""
    flat = np.concatenate(values)
    return Panel.from_arrays(list(y), TimeGrid.steps(), ids=ids, known=block(flat, vocabulary))


@pytest.mark.parametrize(
    ("order", "m"), [((1, 0, 0, 0, 1, 0, 0), 1), ((1, 1, 0, 0, 0, 1, 0), 1), ((0, 1, 0, 1, 0, 1, 1), 12)]
)
def test_regression_with_arima_errors_equals_that_of_statsmodels(order, m):
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    rng = np.random.default_rng(8)
    x = np.column_stack([rng.standard_normal(120), (rng.random(120) < 0.3) * 1.0])
    y = 10 * simulated(8) + x @ [4.0, -7.0] + (3 * np.cumsum(rng.standard_normal(120)) if order[5] else 0)
    u, figures, beta = fixed(y, order, m, design=x)
    p, q, big_p, big_q, constant, d, big_d = order
    model = SARIMAX(
        y, exog=x, order=(p, d, q), seasonal_order=(big_p, big_d, big_q, m if m > 1 else 0),
        trend="c" if constant else None, simple_differencing=True, concentrate_scale=True,
    )  # fmt: skip
    theirs = model.fit(disp=False, maxiter=200)
    estimated = dict(zip(theirs.param_names, theirs.params, strict=True))
    assert figures[2] == pytest.approx(theirs.llf, abs=2e-3)
    np.testing.assert_allclose(beta[:2] * figures[0], [estimated["x1"], estimated["x2"]], rtol=2e-3)
    assert u.any()


@pytest.mark.parametrize("walk", [False, True])
def test_columns_that_say_nothing_new_change_nothing(walk):
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal(106), rng.standard_normal(106)
    y = 10 + 4 * x + (np.cumsum(noise) if walk else noise)
    context = FitContext(horizon=6, season=1)

    def point(*columns):
        values = np.column_stack([x, *columns])
        panel = with_known([y[:100]], [values[:100]])
        learner = Arimax().fit(panel, context)
        forecast = learner.forecast(panel, Future(6, block(values[100:])), ())
        assert not forecast.fallback.any()
        return forecast.point[0]

    late = np.r_[np.zeros(100), np.ones(6)]
    plain = point()
    for extra in ((np.full(106, 3.0),), (x,), (2 * x + 1, np.zeros(106)), (late,), (x + 1e-10 * noise,)):
        # a column more counts in AICc, so the order may differ
        np.testing.assert_allclose(point(*extra), plain, atol=1.0)
        assert np.abs(point(*extra) - y[100:]).mean() < np.abs(y[100:] - y[:100].mean()).mean()


def test_categories_are_indicators_and_unknown_ones_have_none():
    rng = np.random.default_rng(2)
    kind = rng.integers(0, 3, 106).astype(float)
    y = 50 + np.array([0.0, 9.0, -6.0])[kind.astype(int)] + 0.3 * rng.standard_normal(106)
    kind[100:] = [0, 1, 2, -1, 1, 0]
    names = (("c0", ("a", "b", "c")),)
    panel = with_known([y[:100]], [kind[:100, None]], names)
    learner = Arimax().fit(panel, FitContext(horizon=6))
    assert learner._model["codes"].tolist() == [[1, 2]]
    point = learner.forecast(panel, Future(6, block(kind[100:, None], names)), ()).point[0]
    np.testing.assert_allclose(point, [50, 59, 44, 50, 59, 50], atol=0.4)


def test_many_categories_leave_the_frequent_ones():
    rng = np.random.default_rng(2)
    often = np.arange(0, 60, 3)
    kind = rng.choice(np.r_[np.repeat(often, 20), np.arange(60)], 400).astype(float)
    names = (("c0", tuple(f"k{i}" for i in range(60))),)
    learner = Arimax().fit(with_known([rng.random(400)], [kind[:, None]], names), FitContext(horizon=1))
    codes = learner._model["codes"][0]
    assert len(codes) == 20
    assert set(often[1:]) <= set(codes.tolist())


def test_more_regressors_than_the_rows_bear_fall_back_in_the_open():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 106, 20))
    panel = Panel.from_arrays(
        [rng.random(106), rng.random(40)], TimeGrid.steps(), known=block(np.concatenate([x[0], x[1][:40]]))
    )
    learner = Arimax().fit(panel, FitContext(horizon=6))
    assert learner.fallbacks == {"fewer than 3 rows a regressor": 1}
    forecast = learner.forecast(panel, Future(6, block(np.zeros((12, 20)))), ())
    assert forecast.fallback.tolist() == [False, True]


def test_a_future_without_the_regressors_is_an_error():
    panel = with_known([simulated(1)], [np.random.default_rng(0).random((120, 2))])
    learner = Arimax().fit(panel, FitContext(horizon=2))
    with pytest.raises(DataError, match=r"fitted with the known covariates \['c0', 'c1'\], the future holds \[\]"):
        learner.forecast(panel, Future.bare(panel, 2), ())


@pytest.mark.parametrize("season", [12, 52])
def test_unseen_series_in_front_change_nothing_for_the_others(season):
    rng = np.random.default_rng(4)
    x = 10.0 ** np.arange(3)[:, None, None] * rng.random((3, 156, 1))
    y = [simulated(s, n=156, season=season) + 2 * x[s, :, 0] / 10**s for s in range(3)]
    seen = with_known(y[1:], x[1:], ids=[("b",), ("c",)])
    every = with_known(y, x, ids=[("a",), ("b",), ("c",)])
    learner = Arimax().fit(seen, FitContext(horizon=4, season=season))
    ahead = block(np.concatenate(x[:, :4]))
    mixed = learner.forecast(every, Future(4, ahead), ()).point
    alone = learner.forecast(seen, Future(4, block(np.concatenate(x[1:, :4]))), ()).point
    assert mixed[1:].tobytes() == alone.tobytes()
    assert np.isfinite(mixed).all()


def test_series_met_first_after_a_fit_of_none_are_fitted_then():
    short = panel_of(np.array([1.0, 2.0]))
    late = Panel.from_arrays([np.array([1.0, 2.0]), simulated(0, season=52)], TimeGrid.steps(), ids=[(0,), ("new",)])
    learner = AutoArima().fit(short, FitContext(horizon=4, season=52))
    forecast = learner.forecast(late, Future.bare(late, 4), ())
    assert forecast.fallback.tolist() == [True, False]
