"""Complex exponential smoothing against slow twins in matrices, and on what it must do exactly."""

import numpy as np
import pytest

from forecasting.kernels import ces
from forecasting.learners.base import FitContext
from forecasting.learners.ces import ComplexSmoothing
from forecasting.panel import Future, Panel
from forecasting.timegrid import TimeGrid

FORMS = {"none": ces.NONE, "simple": ces.SIMPLE, "partial": ces.PARTIAL, "full": ces.FULL}
P = np.array([1.35, 1.02, 1.2, 0.97])
M = 4
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
each_season = pytest.mark.parametrize("season", ["auto", *FORMS])


def panel_of(*series):
    return Panel.from_arrays(list(series), TimeGrid.steps())


def forecast_of(panel, season="auto", horizon=6, cycle=M, levels=(0.1, 0.9), **context):
    learner = ComplexSmoothing(season=season).fit(panel, FitContext(horizon=horizon, season=cycle, **context))
    return learner, learner.forecast(panel, Future.bare(panel, horizon), levels)


def waves(n=60, m=M, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    return 20 + 0.1 * t + 4 * np.sin(2 * np.pi * t / m) + rng.standard_normal(n)


def matrices(form, p, m):
    """Transition, persistence and measurement of the newest states and those of the m - 1 steps before."""
    pair = lambda a0, a1: (np.array([[1, a1 - 1], [1, 1 - a0]]), np.array([a0 - a1, a0 + a1]))  # noqa: E731
    parts = [(1 if form != ces.SIMPLE else m, *pair(p[0], p[1]))]
    if form == ces.PARTIAL:
        parts.append((m, np.array([[1.0]]), np.array([p[2]])))
    if form == ces.FULL:
        parts.append((m, *pair(p[2], p[3])))
    size = sum(lag * len(g) for lag, _, g in parts)
    transition, gain, weight = np.zeros((size, size)), np.zeros(size), np.zeros(size)
    at = 0
    for lag, f, g in parts:
        k = len(g)
        # the oldest states of a part come first; they are the ones that are met next
        for i in range(lag - 1):
            transition[at + i * k : at + (i + 1) * k, at + (i + 1) * k : at + (i + 2) * k] = np.eye(k)
        last = at + (lag - 1) * k
        transition[last : last + k, at : at + k] = f
        gain[last : last + k] = g
        weight[at] = 1
        at += lag * k
    return transition, gain, weight


def vector(form, state, m):
    """The states [4, m] of a kernel at a row divisible by m as one vector of `matrices`."""
    pair = state[:2].T if form == ces.SIMPLE else state[:2, :1].T
    rest = {ces.PARTIAL: state[2:3].T, ces.FULL: state[2:].T}.get(form, np.empty(0))
    return np.concatenate([pair.ravel(), rest.ravel()])


def test_recursion_by_hand():
    x, state = np.array([10.0, 12.0, 9.0]), np.array([[8.0], [5.0], [0.0], [0.0]])
    # a0 = 1.5, a1 = 1.1. After e = 2: l = 8 + 0.5 + 0.8, c = 8 - 2.5 + 5.2; after e = 2.7: l = 9.3 + 1.07 + 1.08,
    # c = 9.3 - 5.35 + 7.02
    first, second, third = 10 - 8, 12 - 9.3, 9 - 11.45
    total = ces.run(x, ces.NONE, np.array([1.5, 1.1, 0.0, 1.0]), 1, state, False)
    assert total == pytest.approx(first**2 + second**2 + third**2)
    np.testing.assert_allclose(state[:2, 0], [11.45 + 0.1 * 10.97 + 0.4 * third, 11.45 - 0.5 * 10.97 + 2.6 * third])


@each_form
def test_states_errors_forecasts_equal_the_matrix_form(form):
    rng = np.random.default_rng(form)
    x, state = waves(24), rng.standard_normal((4, M))
    transition, gain, weight = matrices(form, P, M)
    v, total = vector(form, state, M), 0.0
    for value in x:
        error = value - weight @ v
        v = transition @ v + gain * error
        total += error**2
    assert ces.run(x, form, P, M, state, False) == pytest.approx(total)
    np.testing.assert_allclose(vector(form, state, M), v)
    ahead, want = np.empty(9), []
    ces.project(form, P, M, state, 24, ahead)
    for _ in range(9):
        want.append(weight @ v)
        v = transition @ v
    np.testing.assert_allclose(ahead, want)


@each_form
def test_filtering_back_is_filtering_the_mirrored_series(form):
    x, state = waves(20, seed=3), np.random.default_rng(1).standard_normal((4, M))
    mirrored = state[:, ::-1].copy()
    if form != ces.SIMPLE:
        mirrored[:2, 0] = state[:2, 0]
    assert ces.run(x, form, P, M, state, True) == pytest.approx(ces.run(x[::-1], form, P, M, mirrored, False))


@each_form
def test_stable_is_what_eigenvalues_say(form):
    rng = np.random.default_rng(10 + form)
    seen = set()
    for m in (2, 3, 7):
        for _ in range(200):
            p = np.array([1.4, 1.0, 0.3 if form == ces.PARTIAL else 1.2, 1.0]) + 0.5 * rng.standard_normal(4)
            transition, gain, weight = matrices(form, p, m)
            radius = np.abs(np.linalg.eigvals(transition - np.outer(gain, weight))).max()
            # of a simple season they are roots of those of the pair
            radius = radius**m if form == ces.SIMPLE else radius
            if abs(radius - 1) > 2e-3:
                assert ces.stable(form, p, m, np.empty(2 * m + 3)) == (radius < 1)
                seen.add(radius < 1)
    assert seen == {True, False}


@each_form
def test_spread_is_that_of_the_linear_form(form):
    y = waves(40, seed=5)
    sigma, horizon = 1.7, 10
    numbers, codes = np.array([[sigma, 0.0]]), np.array([[form, 0, 0]])
    point, spread = np.empty((1, horizon)), np.empty((1, horizon))
    ces.forecast(y, np.array([0, 40]), 0, 1, M, P[None].copy(), numbers, codes, point, spread)
    transition, gain, weight = matrices(form, P, M)
    c = np.array([weight @ np.linalg.matrix_power(transition, j) @ gain for j in range(horizon - 1)])
    np.testing.assert_allclose(spread[0], sigma * np.sqrt(1 + np.r_[0, np.cumsum(c**2)]))
    assert np.isfinite(point).all()


@each_form
def test_fit_minimises_the_errors_of_its_own_filter(form):
    y = waves(80, seed=6)
    learner, _ = forecast_of(panel_of(y), next(k for k, v in FORMS.items() if v == form))
    model = learner._model
    assert model["codes"][0, ces.FORM] == form
    p = model["par"][0]
    index, state = np.zeros(M), np.zeros((4, M))
    ces.decompose(y, M, ces.ADDITIVE, 0, index)
    least = ces.smooth(y, form, p, M, index, state)
    free = 2 if form <= ces.SIMPLE else form + 1
    k = free + 1 + (0 if form == ces.NONE else M)
    assert model["numbers"][0, ces.SIGMA] == pytest.approx(np.sqrt(least / (80 - k)))
    assert model["numbers"][0, ces.AICC] == pytest.approx(
        80 * np.log(least / 80) + 2 * k + 2 * k * (k + 1) / (79 - k), rel=1e-9
    )
    for j in range(free):
        for move in (-0.02, 0.02):
            q = p.copy()
            q[j] += move
            if ces.stable(form, q, M, np.empty(2 * M + 3)):
                assert ces.smooth(y, form, q, M, index, state) > least * (1 - 1e-5)


@pytest.mark.parametrize("season", ["auto", "simple", "partial", "full"])
def test_a_season_goes_on(season):
    t = np.arange(96)
    y = (50 + 0.2 * t) * (1 + 0.3 * np.sin(2 * np.pi * t / 12))
    learner, forecast = forecast_of(panel_of(y[:84]), season, 12, 12)
    assert np.abs(forecast.point[0] / y[84:] - 1).max() < 0.12
    form = learner._model["codes"][0, ces.FORM]
    assert form != ces.NONE if season == "auto" else form == FORMS[season]


def test_noise_gets_no_season():
    series = [50 + np.random.default_rng(i).standard_normal(60) for i in range(40)]
    learner, _ = forecast_of(panel_of(*series), cycle=12)
    assert (learner._model["codes"][:, ces.FORM] == ces.NONE).mean() > 0.9


@each_season
def test_scale_order_and_threads_do_not_matter(season):
    series = [waves(30 + i, seed=i) for i in range(7)]
    panel = panel_of(*series)
    _, one = forecast_of(panel, season)
    for factor in (1e9, 1e-9, 1e150):
        _, two = forecast_of(panel_of(*(factor * s for s in series)), season)
        np.testing.assert_allclose(two.values / factor, one.values, rtol=1e-6)
    order = np.array([3, 6, 0, 2, 5, 1, 4])
    _, mixed = forecast_of(panel.select(order), season, threads=2)
    np.testing.assert_array_equal(mixed.values, one.values[order])


@each_season
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 10, 11, 12])
def test_short_series(season, n):
    series = [np.arange(1.0, n + 1), waves(n, seed=n), np.full(n, 3.0), np.zeros(n)]
    _, forecast = forecast_of(panel_of(*series), season)
    assert np.isfinite(forecast.values).all()
    assert forecast.fallback.all() == (n < 4)
    np.testing.assert_allclose(forecast.point[2], 3.0)
    assert (forecast.point[3] == 0).all()


@each_season
def test_constants_have_no_spread(season):
    _, forecast = forecast_of(panel_of(np.full(40, -7.5), np.zeros(40)), season)
    np.testing.assert_allclose(forecast.values[0], -7.5)
    assert (forecast.values[1] == 0).all()


def test_forecasts_that_explode_make_way_for_the_next_best():
    series = [np.exp(k * np.arange(40.0)) for k in (0.2, 0.3, 0.5)]
    learner, forecast = forecast_of(panel_of(*series, waves()), horizon=12)
    assert learner.rejected >= 2
    assert learner.fallbacks == {}
    assert not forecast.fallback.any()
    assert (forecast.point <= np.array([4 * s.max() for s in [*series, waves()]])[:, None]).all()


def test_later_rows_move_the_forecast_without_a_new_fit():
    y = waves(60)
    learner, _ = forecast_of(panel_of(y[:48]))
    later = panel_of(np.r_[y[:48], y[48:] + 15])
    moved = learner.forecast(later, Future.bare(later, 4), ()).point.mean()
    assert moved > learner.forecast(panel_of(y), Future.bare(panel_of(y), 4), ()).point.mean() + 5
    few = panel_of(y[:48]).tail(6)
    assert learner._model["codes"][0, ces.FORM] != ces.NONE
    # too few rows for the states of its form
    assert learner.forecast(few, Future.bare(few, 4), (0.5,)).fallback.all()
