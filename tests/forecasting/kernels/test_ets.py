"""Exponential smoothing: kernels against plain twins, R and statsmodels; the learner's behaviour."""

from dataclasses import replace

import numpy as np
import pytest

from automl.errors import ConfigError
from forecasting.kernels.ets import new_work, normal_equations, run
from forecasting.kernels.ets_forecast import deviations, points, simulate, simulated
from forecasting.kernels.ets_search import AICC, REASON, STEPS, fit_series
from forecasting.learners.base import FitContext
from forecasting.learners.batch import FITTED, INADMISSIBLE
from forecasting.learners.ets import ExponentialSmoothing
from forecasting.panel import Future, Panel
from forecasting.timegrid import TimeGrid

FORMS = [(e, t, s) for e in range(2) for t in range(5) for s in range(3)]
TOP = (1, 2, 2)
AIR = np.array(
    [112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118, 115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114,
     140, 145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166, 171, 180, 193, 181, 183, 218, 230, 242, 209, 191,
     172, 194, 196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201.0]
)  # fmt: skip
"""Air passengers 1949-1953 (Box & Jenkins)."""

R_AICC = {
    (0, 0, 0): 593.1709, (0, 1, 0): 597.6213, (0, 2, 0): 600.0785, (1, 0, 0): 591.3155, (0, 0, 1): 521.2655,
    (0, 1, 1): 521.5449, (0, 2, 1): 527.842, (1, 1, 1): 513.0268, (1, 2, 1): 519.1962, (1, 0, 2): 551.209,
    (1, 1, 2): 498.9248, (1, 2, 2): 502.8784,
}  # fmt: skip
"""R 4.2.2, forecast 8.20, ets(AIR, model=..., damped=...)$aicc."""

R_MAM = {
    "par": (3.35803558636e-01, 9.97999124754e-02, 3.58465649143e-04),
    "level": 1.19538349886e02,
    "trend": 1.44863963358e00,
    "season": (
        9.01853138258e-01, 7.94863879260e-01, 9.19482816678e-01, 1.05014648085e00, 1.17666835307e00, 1.17450395907e00,
        1.08453903750e00, 9.72491431222e-01, 1.00628338750e00, 1.06360643024e00, 9.45490803192e-01,
    ),
    "variance": 0.001481547335,
    "mean": (
        206.6644, 214.0694, 240.0969, 226.4797, 218.221, 242.63, 261.9694, 261.6624, 232.8197, 203.2304, 175.1534,
        198.1228, 199.3153, 206.4343, 231.5081, 218.3537,
    ),
    "deviation": (
        7.954693, 8.992861, 11.24941, 11.99483, 13.14131, 16.62134, 20.35653, 22.95597, 22.93474, 22.35132, 21.3864,
        26.71387, 29.5304, 33.45038, 40.85222, 41.79535,
    ),
}  # fmt: skip
"""R 4.2.2, forecast 8.20: ets(AIR, model="MAM", damped=FALSE): parameters (seasons latest first) and forecast(h=16).

Not the damped form: there R's forecast damps the trend from the second step ahead only, unlike its own filter.
"""


def _parameters(form, m=4):
    _, trend, season = form
    x = np.zeros(6 + (m if season else 0))
    x[:6] = 0.3, 0.2 if trend else 0, 0.15 if season else 0, 0.9 if trend in (2, 4) else 1, 1.0, 0
    if trend:
        x[5] = 0.01 if trend <= 2 else 1.01
    if season:
        x[6:] = np.array([0.1, -0.05, 0.02, -0.07])[:m] + (season == 2)
    return x


def _series(n=41, m=4):
    rng = np.random.default_rng(3)
    return 1 + 0.01 * np.arange(n) + 0.1 * np.cos(2 * np.pi * np.arange(n) / m) + 0.05 * rng.standard_normal(n)


def _twin(y, seen, form, m, x):
    """The equations of table 2.3 of the book, one dictionary entry a cell."""
    error, trend, season = form
    alpha, phi = x[0], x[3]
    beta, gamma = alpha * x[1], (1 - alpha) * x[2]
    level, slope, s = x[4], x[5], list(x[6:])
    residuals, means = [], []
    for t in range(len(y)):
        growth = {0: 0.0, 1: slope, 2: phi * slope, 3: slope, 4: slope**phi if trend == 4 else 0.0}[trend]
        base = level + growth if trend <= 2 else level * growth
        old = s[t % m] if season else None
        mean = {0: base, 1: base + (old or 0), 2: base * (old or 0)}[season]
        means.append(mean)
        if error == 0:
            e = y[t] - mean if seen[t] else 0.0
            in_level = e / old if season == 2 else e
            new_level = base + alpha * in_level
            slope = growth + beta * (in_level / level if trend > 2 else in_level)
            if season:
                s[t % m] = old + gamma * (e if season == 1 else e / base)
        else:
            e = (y[t] - mean) / mean if seen[t] else 0.0
            if season == 1:
                new_level = base + alpha * mean * e
                slope = growth + (beta * mean * e if trend <= 2 else beta * mean * e / level)
                s[t % m] = old + gamma * mean * e
            else:
                new_level = base * (1 + alpha * e)
                slope = growth + beta * base * e if trend <= 2 else growth * (1 + beta * e)
                if season:
                    s[t % m] = old * (1 + gamma * e)
        level = new_level
        if seen[t]:
            residuals.append(e)
    means = np.array(means)[np.asarray(seen)]
    power = float(np.square(residuals).sum())
    fit = power * np.exp(2 * np.log(np.abs(means)).mean()) if error else power
    return fit, power, [level, slope if trend else 0.0, *s]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_filter_equals_its_twin(form):
    m = 4 if form[2] else 0
    y, x = _series(), _parameters(form)
    seen = np.random.default_rng(1).random(len(y)) > 0.1
    y[~seen] = 77.0
    state = np.zeros(2 + m)
    fit, power = run(y, seen, *form, m, x, state)
    want_fit, want_power, want_state = _twin(y, seen, form, m, x)
    np.testing.assert_allclose([fit, power, *state], [want_fit, want_power, *want_state], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_derivatives_equal_differences(form):
    m = 4 if form[2] else 0
    y, x = _series(), _parameters(form)
    seen = np.random.default_rng(1).random(len(y)) > 0.1
    p = len(x)
    work = new_work(4, 10)
    normal_equations(y, seen, *form, m, p, x, work)
    fit, power = run(y, seen, *form, m, x, work.state)
    free = [0, 4] + [1, 5] * (form[1] > 0) + [3] * (form[1] in (2, 4)) + [2, *range(6, p)] * (form[2] > 0)
    for j in free:
        up, down = x.copy(), x.copy()
        up[j] += 1e-6
        down[j] -= 1e-6
        slope = (run(y, seen, *form, m, up, work.state)[0] - run(y, seen, *form, m, down, work.state)[0]) / 2e-6
        # half the derivative of the fit; for multiplicative errors without the common factor
        assert work.gradient[j] == pytest.approx(slope / 2 * power / fit, rel=1e-5, abs=1e-7)
    matrix = work.matrix[:p, :p]
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-9, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9 * np.trace(matrix)
    fixed = [j for j in range(p) if j not in free]
    assert not matrix[fixed].any()


def _fit(series, forms, season, *, horizon=12, insist=0, slices=None):
    indptr = np.concatenate([[0], np.cumsum([len(y) for y in series])]).astype(np.int64)
    values, n = np.concatenate(series), len(series)
    seen = np.isfinite(values)
    params, finals = np.zeros((n, 6 + season)), np.zeros((n, 2 + season))
    numbers, codes = np.zeros((n, 3)), np.zeros((n, 6), dtype=np.int64)
    forms = np.array(forms, dtype=np.int64).reshape(-1, 3)
    for first, end in slices or [(0, n)]:
        fit_series(
            values, seen, indptr, first, end, forms, season, horizon, insist, params, finals, numbers, codes
        )  # fmt: skip
    return params, finals, numbers, codes


def test_criterion_is_no_worse_than_that_of_r():
    for form, want in R_AICC.items():
        _, _, numbers, codes = _fit([AIR], [form], 12)
        assert codes[0, REASON] == FITTED
        assert numbers[0, AICC] < want + 0.05
    # without a season there is little to find: the same optimum
    for form in ((0, 0, 0), (1, 0, 0)):
        assert _fit([AIR], [form], 12)[2][0, AICC] == pytest.approx(R_AICC[form], abs=0.01)


def test_few_steps_are_enough():
    assert _fit([AIR], [TOP], 12)[3][0, STEPS] < 40


def _r_parameters():
    alpha, beta, gamma = R_MAM["par"]
    latest = (*R_MAM["season"], 12 - sum(R_MAM["season"]))
    return np.array([alpha, beta / alpha, gamma / (1 - alpha), 1.0, R_MAM["level"], R_MAM["trend"], *latest[::-1]])


def test_forecasts_and_variance_equal_those_of_r():
    x, state = _r_parameters(), np.zeros(14)
    fit, power = run(AIR, np.ones(60, dtype=bool), 1, 1, 2, 12, x, state)
    k = 17
    assert 60 * np.log(fit) + 2 * k + 2 * k * (k + 1) / (60 - k - 1) == pytest.approx(R_AICC[1, 1, 2], abs=1e-3)
    assert power / (60 - k + 1) == pytest.approx(R_MAM["variance"], rel=1e-4)
    point, spread = np.zeros(16), np.zeros(16)
    points(1, 2, 12, x, state, 0, point)
    deviations(1, 1, 2, 12, x, state, 0, np.sqrt(R_MAM["variance"]), point, np.zeros(16), spread)
    np.testing.assert_allclose(point, R_MAM["mean"], rtol=1e-6)
    np.testing.assert_allclose(spread, R_MAM["deviation"], rtol=1e-4)


@pytest.mark.parametrize("form", [(0, 2, 1), (1, 1, 1), (1, 2, 0)], ids=str)
def test_likelihood_equals_that_of_statsmodels(form):
    """Its multiplicative seasons are left out: they are updated by the level after the row, not before it."""
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    error, trend, season = form
    m = 4 if season else 0
    y, x, state = _series(), _parameters(form), np.zeros(2 + m)
    fit, power = run(y, np.ones(len(y), dtype=bool), *form, m, x, state)
    oracle = ETSModel(
        y, error=("add", "mul")[error], trend="add", damped_trend=trend == 2, seasonal=(None, "add", "mul")[season],
        seasonal_periods=m or None, initialization_method="known", initial_level=x[4], initial_trend=x[5],
        initial_seasonal=x[6:] if m else None,
    )  # fmt: skip
    values = {
        "smoothing_level": x[0], "smoothing_trend": x[0] * x[1], "smoothing_seasonal": (1 - x[0]) * x[2],
        "damping_trend": x[3],
    }  # fmt: skip
    likelihood = oracle.loglike([values[name] for name in oracle.param_names if name in values])
    n = len(y)
    assert -n / 2 * (np.log(2 * np.pi * fit / n) + 1) == pytest.approx(likelihood, rel=1e-7)
    assert power > 0


@pytest.mark.parametrize("form", [f for f in FORMS if not simulated(*f)], ids=str)
def test_variance_equals_that_of_simulated_paths(form):
    m, x = 4 if form[2] else 0, _parameters(form)
    state = np.concatenate([x[4:6], x[6:]])
    errors = np.random.default_rng(0).standard_normal((9, 20_000))
    point, spread, paths = np.zeros(9), np.zeros(9), np.zeros_like(errors)
    points(form[1], form[2], m, x, state, 3, point)
    deviations(*form, m, x, state, 3, 0.05, point, np.zeros(9), spread)
    simulate(*form, m, x, state, 3, 0.05, errors, np.zeros(max(m, 1)), paths)
    np.testing.assert_allclose(paths.mean(axis=1), point, rtol=5e-3)
    # the book's formula for seasons that multiply leaves out that level and season share their errors
    np.testing.assert_allclose(paths.std(axis=1), spread, rtol=0.06 if form[2] == 2 else 0.03)


def _many():
    rng = np.random.default_rng(5)
    return [_series(20 + 3 * i) * 10.0**i + rng.standard_normal(20 + 3 * i) * 0.01 for i in range(7)]


SEARCHED = [(e, t, s) for s in range(3) for e in range(2) for t in range(3) if not (e == 0 and s == 2)]


def test_slices_and_neighbours_do_not_matter():
    whole = _fit(_many(), SEARCHED, 4)
    parts = _fit(_many(), SEARCHED, 4, slices=[(5, 7), (0, 1), (1, 5)])
    alone = _fit([_many()[3]], SEARCHED, 4)
    for a, b, c in zip(whole, parts, alone, strict=True):
        assert a.tobytes() == b.tobytes()
        assert a[3].tobytes() == c[0].tobytes()


@pytest.mark.parametrize("factor", [1e-9, 3.0, 1e12])
def test_scale_does_not_matter(factor):
    params, _, numbers, codes = _fit([AIR], SEARCHED, 12)
    other = _fit([factor * AIR], SEARCHED, 12)
    assert other[3].tolist() == codes.tolist()
    np.testing.assert_allclose(other[0], params, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(other[2][0, 0], factor * numbers[0, 0], rtol=1e-12)


def test_additive_forms_move_with_the_series():
    panel, moved = (_panel([AIR + shift], "MS") for shift in (0.0, 50.0))
    first, second = (ExponentialSmoothing(error="add", season="add") for _ in range(2))
    one, two = (x.fit(p, FitContext(horizon=6, season=12)) for x, p in ((first, panel), (second, moved)))
    a, b = (x.forecast(p, Future.bare(p, 6), ()).point for x, p in ((one, panel), (two, moved)))
    np.testing.assert_allclose(b - 50, a, rtol=2e-3)


def test_no_admissible_form_is_told():
    assert _fit([AIR - 200], [(1, 0, 0)], 1)[3][0, REASON] == INADMISSIBLE


def _panel(series, freq="D", ids=None):
    grid = TimeGrid(freq, "2001-01-01")
    return Panel.from_arrays(series, grid, ids=ids)


def _point(learner, panel, horizon=6, season=12):
    return learner.fit(panel, FitContext(horizon=horizon, season=season)).forecast(
        panel, Future.bare(panel, horizon), ()
    )


def test_forecast_is_near_that_of_r():
    """R 4.2.2, forecast 8.20: forecast(ets(AIR), h=6) chooses ETS(M,A,M) too."""
    panel = _panel([AIR], "MS")
    learner = ExponentialSmoothing()
    got = _point(learner, panel).point[0]
    np.testing.assert_allclose(got, [206.664, 214.069, 240.097, 226.48, 218.221, 242.63], rtol=0.06)
    assert learner.state()[1]["form"].tolist() == [[1, 1, 2]]


def test_a_form_that_explodes_makes_way():
    panel = _panel([np.arange(20.0)])
    learner = ExponentialSmoothing(season="none")
    forecast = _point(learner, panel, 100, 1)
    assert not forecast.fallback.any()
    assert forecast.point.max() < 80
    assert learner.state()[1]["rejected"][0] > 0


def test_states_move_on_over_new_rows():
    whole = _panel([AIR], "MS")
    learner = ExponentialSmoothing().fit(whole.head(np.array([48])), FitContext(horizon=6, season=12))
    future = Future.bare(whole, 6)
    late = learner.forecast(whole, future, ()).point
    # rows that the fit saw may be left out: its last states stand for them
    np.testing.assert_allclose(learner.forecast(whole.tail(16), future, ()).point, late, rtol=1e-9)
    np.testing.assert_allclose(learner.forecast(whole.tail(12), future, ()).point, late, rtol=1e-9)
    truth = np.array([204, 188, 235, 227, 234, 264])
    assert np.abs(late[0] - truth).max() < 40
    # rows before the first of the fit are no part of it
    longer = learner.fit(whole.tail(50), FitContext(horizon=6, season=12))
    np.testing.assert_array_equal(
        longer.forecast(whole, future, ()).point, longer.forecast(whole.tail(50), future, ()).point
    )


def test_unseen_values_do_not_count():
    gaps = AIR.copy()
    gaps[[30, 31, 45]] = np.nan
    panel = _panel([gaps], "MS")
    filled = replace(panel, observed=np.ones(60, dtype=bool))
    full = _point(ExponentialSmoothing(), _panel([AIR], "MS")).point
    np.testing.assert_allclose(_point(ExponentialSmoothing(), panel).point, full, rtol=0.15)
    assert (_point(ExponentialSmoothing(), filled).point != _point(ExponentialSmoothing(), panel).point).any()


EDGES = {
    "four rows": np.array([1.0, 2, 3, 5]),
    "constant": np.full(30, 4.2),
    "zeros": np.zeros(30),
    "huge": 1e12 * AIR,
    "negative": -AIR,
    "line": np.arange(30.0) - 10,
    "pattern": np.tile([1.0, 2, 3, 4], 10),
    "spike": np.where(np.arange(40) == 30, 1e9, 0.0),
    "growth": 1.3 ** np.arange(40),
    "sparse": np.where(np.arange(50) % 9 == 0, 4.0, 0.0),
    "nothing seen": np.full(12, np.nan),
}


@pytest.mark.parametrize(
    "settings",
    [{}, {"error": "add", "season": "mul"}, {"trend": "mul"}, {"trend": "mul", "error": "add"}, {"error": "mul"}],
    ids=str,
)
def test_edge_series_stay_finite(settings):
    panel = _panel(list(EDGES.values()), ids=[(name,) for name in EDGES])
    learner = ExponentialSmoothing(**settings).fit(panel, FitContext(horizon=8, season=4))
    values = learner.forecast(panel, Future.bare(panel, 8), (0.1, 0.9)).values
    assert np.isfinite(values).all()
    assert (values[:, :, 1] <= values[:, :, 2]).all()
    point = dict(zip(EDGES, values[:, :, 0], strict=True))
    np.testing.assert_allclose(point["constant"], 4.2)
    if settings.get("trend") != "mul":
        np.testing.assert_allclose(point["pattern"], np.tile([1, 2, 3, 4.0], 2), rtol=1e-3)


def test_threads_do_not_matter():
    panel = _panel(_many())
    one, two = (
        ExponentialSmoothing().fit(panel, FitContext(horizon=5, season=4, threads=k)).state()[1] for k in (1, 2)
    )
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)


@pytest.mark.parametrize("season", [52, 168, 366])
def test_long_seasons_keep_their_first_states(season):
    t = np.arange(4 * season)
    y = 20 + 5 * np.sin(2 * np.pi * t / season) + np.random.default_rng(0).standard_normal(len(t))
    panel = _panel([y])
    forecast = _point(ExponentialSmoothing(error="add", season="add"), panel, season, season)
    want = 20 + 5 * np.sin(2 * np.pi * np.arange(season) / season)
    assert not forecast.fallback.any()
    assert np.abs(forecast.point[0] - want).mean() < 1


def test_season_asked_for_is_used_where_admissible():
    rng = np.random.default_rng(0)
    panel = _panel([10 + rng.standard_normal(40), 10 + rng.standard_normal(7), rng.standard_normal(40)])
    learner = ExponentialSmoothing(season="mul").fit(panel, FitContext(horizon=3, season=4))
    assert learner.state()[1]["form"][:, 2].tolist() == [2, 0, 0]


def test_forms_follow_the_settings():
    def forms(**settings):
        return {tuple(row) for row in ExponentialSmoothing(**settings).forms().tolist()}

    assert forms() == set(SEARCHED)
    assert forms(error="add", trend="none") == {(0, 0, 0), (0, 0, 1)}
    assert forms(error="add", season="mul", trend="none") == {(0, 0, 0), (0, 0, 2)}
    assert forms(damped=True, trend="add", season="none") == {(0, 2, 0), (1, 2, 0)}
    assert forms(trend="mul", season="mul") == {(1, 3, 0), (1, 4, 0), (1, 3, 2), (1, 4, 2)}
    with pytest.raises(ConfigError, match="trend"):
        ExponentialSmoothing(trend="quadratic")
