"""One contract for every registered learner. New learners join by standing in the registry."""

import importlib.util
import json
from dataclasses import fields, replace
from functools import cache
from time import monotonic

import numpy as np
import pytest

from automl.budget import Deadline
from automl.candidates import Choice, Int
from automl.errors import DeadlineExceededError, LearnerError, MissingPackageError
from forecasting.learners.base import LEARNERS, FitContext
from forecasting.panel import Block, Future, Panel
from forecasting.spaces import SPACES
from forecasting.timegrid import TimeGrid
from tests.forecasting.panels import future_of, small_panel

HORIZON, SEASON = 5, 4
LEVELS = (0.1, 0.5, 0.9)
SMALL = {
    "LightGBM": {"n_estimators": 20, "min_child_samples": 5},
    "QuantileLightGBM": {"n_estimators": 20, "min_child_samples": 5},
    "RandomForest": {"n_estimators": 5},
    "ExtremeRandomTrees": {"n_estimators": 5},
    "QuantileForest": {"n_estimators": 5},
    "GradientBoosting": {"n_estimators": 10},
    "XGBoost": {"n_estimators": 20},
    "TCNForecaster": {"max_epochs": 2},
    "PmdArima": {"max_p": 1, "max_q": 1, "max_order": 2, "maxiter": 3},
}
PER_SERIES = {
    "Naive", "SeasonalNaive", "Average", "SeasonalAverage", "SeasonalWindowAverage",
    "ExponentialSmoothing", "Theta", "ComplexSmoothing", "Croston", "TSB", "ADIDA",
    "IMAPA", "MSTL", "AutoArima", "Arimax", "StatsmodelsETS", "PmdArima", "Prophet",
}  # fmt: skip
OPTIONAL = {"torch", "xgboost"}


def _written(name):
    module = LEARNERS._entries[name].partition(":")[0]
    return importlib.util.find_spec(module) is not None


NAMES = [name for name in LEARNERS if _written(name)]
each = pytest.mark.parametrize("name", NAMES)


def _make(name):
    return LEARNERS.load(name)(**SMALL.get(name, {}))


def _fit(name, panel, **context):
    try:
        return _make(name).fit(panel, FitContext(**{"horizon": HORIZON, "season": SEASON, **context}))
    except MissingPackageError as error:
        if not any(package in str(error) for package in OPTIONAL):
            raise
        pytest.skip(str(error))


def _panel(seed=0):
    return small_panel((48, 60, 55), freq="QS-JAN", season=SEASON, seed=seed)


@cache
def _fitted(name):
    return _fit(name, _panel())


def _frozen(state):
    """A state that can be compared; of a zip archive (which holds its time of writing) only that it is there."""
    settings, blobs = state
    return json.dumps(settings, sort_keys=True), {
        k: v[: 2 if v[:2] == b"PK" else None] if isinstance(v, bytes) else (v.dtype.str, v.shape, v.tobytes())
        for k, v in blobs.items()
    }


def _check_values(forecast, n, horizon, levels=LEVELS):
    assert forecast.values.shape == (n, horizon, 1 + len(levels))
    assert forecast.values.dtype == np.float64
    assert forecast.quantiles == levels
    assert forecast.fallback.shape == (n,)
    assert np.isfinite(forecast.values).all()
    assert (np.diff(forecast.values[:, :, 1:], axis=2) >= 0).all()


def test_all_learners_of_this_issue_are_covered():
    assert set(NAMES) >= PER_SERIES


@each
def test_declares_itself(name):
    cls = LEARNERS.load(name)
    assert cls.name == name
    assert cls.new_history in {"refilter", "refit", "ignored"}
    assert cls.unseen in {"fit_on_the_fly", "global", "none"}
    assert isinstance(cls.native_quantiles, bool)
    assert isinstance(cls.uses_covariates, bool)
    for f in fields(cls):
        if f.init:
            assert isinstance(f.default, str | int | float | bool | None), f"{f.name} has no JSON scalar as default"


@each
def test_shape_finite_ordered(name):
    panel = _panel()
    forecast = _fitted(name).forecast(panel, future_of(panel, HORIZON), LEVELS)
    _check_values(forecast, 3, HORIZON)
    assert not forecast.fallback.any()
    low, high = np.minimum.reduceat(panel.y, panel.indptr[:-1]), np.maximum.reduceat(panel.y, panel.indptr[:-1])
    reach = (high - low)[:, None]
    assert (np.abs(forecast.point - ((low + high) / 2)[:, None]) < 2 * reach).all()
    assert (forecast.values[:, -1, 3] > forecast.values[:, -1, 1]).all()


@each
def test_point_does_not_depend_on_the_quantiles_asked(name):
    panel = _panel()
    future = future_of(panel, HORIZON)
    bare = _fitted(name).forecast(panel, future, ())
    assert bare.values.shape == (3, HORIZON, 1)
    assert bare.point.tobytes() == _fitted(name).forecast(panel, future, LEVELS).point.tobytes()


@each
def test_two_fits_are_equal(name):
    panel = _panel()
    future = future_of(panel, HORIZON)
    again = _fit(name, panel)
    assert _frozen(again.state()) == _frozen(_fitted(name).state())
    first, second = (x.forecast(panel, future, LEVELS).values.tobytes() for x in (again, _fitted(name)))
    assert first == second


@each
def test_forecast_is_pure(name):
    panel = _panel()
    future = future_of(panel, HORIZON)
    learner = _fitted(name)
    before, y, known = _frozen(learner.state()), panel.y.copy(), future.known.values.copy()
    np.random.seed(5)  # noqa: NPY002 - the global generator must be left alone
    dice = np.random.get_state()[1].copy()  # noqa: NPY002
    first = learner.forecast(panel, future, LEVELS).values.tobytes()
    assert (np.random.get_state()[1] == dice).all()  # noqa: NPY002
    other = _panel(seed=3)
    learner.forecast(other, future_of(other, HORIZON + 2), LEVELS)
    assert learner.forecast(panel, future, LEVELS).values.tobytes() == first
    assert _frozen(learner.state()) == before
    assert (panel.y == y).all()
    assert (future.known.values == known).all()


@each
def test_state_round_trip_is_byte_equal(name, tmp_path):
    from automl.bundle import read_state, write_state

    panel = _panel()
    future = future_of(panel, HORIZON + 3)
    learner = _fitted(name)
    write_state(tmp_path / "state", learner.state())
    settings, blobs = read_state(tmp_path / "state")
    back = type(learner).from_state(settings, blobs)
    assert (
        back.forecast(panel, future, LEVELS).values.tobytes()
        == learner.forecast(panel, future, LEVELS).values.tobytes()
    )
    assert _frozen(back.state()) == _frozen(learner.state())


def _hard_series():
    rng = np.random.default_rng(0)
    t = np.arange(40)
    wave = np.sin(t * np.pi / 2) + 0.1 * rng.standard_normal(40)
    gaps = np.where(rng.random(40) < 0.5, np.nan, wave)
    return {
        "plain": 5 + wave,
        "one point": np.array([3.0]),
        "two points": np.array([3.0, 7.0]),
        "three points": np.array([3.0, 7.0, 1.0]),
        "constant": np.full(30, 4.2),
        "zeros": np.zeros(30),
        "negative": wave - 1000,
        "huge": 1e12 * (5 + wave),
        "tiny": 1e-9 * (5 + wave),
        "gaps": gaps,
        "ends missing": np.where((t < 5) | (t > 33), np.nan, wave),
        "nothing observed": np.full(12, np.nan),
        "one spike": np.where(t == 30, 1e9, 0.0),
        "mostly zero": np.where(t % 9 == 0, 4.0, 0.0),
        "step": np.where(t < 20, 1.0, 100.0),
        "growth": 1.3**t,
    }


@each
def test_hard_series_in_one_panel(name):
    series = _hard_series()
    panel = Panel.from_arrays(list(series.values()), TimeGrid("MS", "2001-01-01"), ids=[(k,) for k in series])
    learner = _fit(name, panel)
    forecast = learner.forecast(panel, Future.bare(panel, HORIZON), LEVELS)
    _check_values(forecast, len(series), HORIZON)
    if name in PER_SERIES:
        point = dict(zip(series, forecast.point, strict=True))
        np.testing.assert_allclose(point["one point"], 3.0)
        np.testing.assert_allclose(point["constant"], 4.2, rtol=1e-5)
        np.testing.assert_allclose(point["zeros"], 0.0, atol=1e-9)
        assert (np.abs(point["huge"]) < 1e14).all()
        one = panel.select(np.array([0]))
        plain = _fit(name, one).forecast(one, Future.bare(one, HORIZON), LEVELS)
        assert plain.values[0].tobytes() == forecast.values[0].tobytes()


@each
@pytest.mark.parametrize("lengths", [(1,), (2,), (1, 2, 1), (6,)], ids=str)
def test_tiny_panels_forecast_or_say_why_not(name, lengths):
    panel = Panel.from_arrays([np.arange(1.0, n + 1) for n in lengths], TimeGrid("D", "2024-01-01"))
    if name not in PER_SERIES and max(lengths) < 6:
        with pytest.raises(LearnerError, match=r"\d+ (training )?rows"):
            _fit(name, panel, season=1)
        return
    try:
        learner = _fit(name, panel, season=1)
    except LearnerError:
        if name in PER_SERIES:
            raise
        return
    _check_values(learner.forecast(panel, Future.bare(panel, 3), LEVELS), len(lengths), 3)


@each
def test_order_of_series_does_not_matter(name):
    panel = _panel()
    future = future_of(panel, HORIZON)
    order = np.array([2, 0, 1])
    mixed = panel.select(order)
    forecast = _fit(name, mixed).forecast(mixed, future.select(order), LEVELS).values
    want = _fitted(name).forecast(panel, future, LEVELS).values[order]
    if name in PER_SERIES:
        assert forecast.tobytes() == want.tobytes()
    else:
        reach = np.array([np.ptp(mixed.series(i)) for i in range(3)])[:, None]
        assert (np.abs(forecast - want)[:, :, 0] < 0.5 * reach).all()


@each
def test_longer_horizon_than_trained(name):
    panel = _panel()
    future = future_of(panel, 3 * HORIZON)
    forecast = _fitted(name).forecast(panel, future, LEVELS)
    _check_values(forecast, 3, 3 * HORIZON)
    if name in PER_SERIES:
        short = _fitted(name).forecast(panel, future.head(HORIZON), LEVELS)
        np.testing.assert_allclose(forecast.point[:, :HORIZON], short.point, rtol=1e-12)


@each
def test_unseen_series(name):
    other = _panel(seed=7)
    other = replace(other, ids=tuple((f"new{i}",) for i in range(3)))
    future = future_of(other, HORIZON)
    learner = _fitted(name)
    if learner.unseen == "none":
        with pytest.raises(LearnerError, match="new0"):
            learner.forecast(other, future, LEVELS)
        return
    forecast = learner.forecast(other, future, LEVELS)
    _check_values(forecast, 3, HORIZON)
    if learner.unseen == "fit_on_the_fly":
        own = _fit(name, other).forecast(other, future, LEVELS)
        assert forecast.values.tobytes() == own.values.tobytes()


@each
def test_a_known_series_beside_an_unseen_one(name):
    panel, other = _panel(), _panel(seed=7)
    n = panel.n_series
    both = Panel.from_arrays(
        [*(panel.series(i) for i in range(n)), other.series(0)],
        panel.grid,
        ids=[*panel.ids, ("zz",)],
        known=_stack(panel.known, other.known.take(np.arange(48))),
        past=_stack(panel.past, other.past.take(np.arange(48))),
        static=_stack(panel.static, other.static.take(np.array([0]))),
    )
    if _fitted(name).unseen == "none":
        pytest.skip("forecasts no unseen series")
    future = future_of(both, HORIZON)
    got = _fitted(name).forecast(both, future, LEVELS).values[:n]
    alone = _fitted(name).forecast(panel, future.select(np.arange(n)), LEVELS).values
    # rounding of sums over the whole panel may push a pooled model's row over a threshold
    np.testing.assert_allclose(got, alone, rtol=1e-12 if name in PER_SERIES else 0.02)


def _stack(a, b):
    return Block(a.names, np.concatenate([a.values, b.values]), np.concatenate([a.observed, b.observed]), a.vocabulary)


@each
def test_new_history_is_treated_as_declared(name):
    """A learner fitted on a cut panel forecasts from later rows; whether their values count is declared."""
    panel = _panel()
    cut = panel.lengths - 6
    learner = _fit(name, panel.head(cut))
    future = future_of(panel, HORIZON)
    late = np.arange(panel.n_rows) - np.repeat(panel.indptr[:-1], panel.lengths) >= np.repeat(cut, panel.lengths)
    raised = replace(panel, y=np.where(late, panel.y + 0.3 * np.abs(panel.y), panel.y))
    plain, moved = (learner.forecast(p, future, LEVELS) for p in (panel, raised))
    _check_values(plain, 3, HORIZON)
    if learner.new_history == "ignored":
        assert plain.values.tobytes() == moved.values.tobytes()
    else:
        assert (moved.point.mean(axis=1) > plain.point.mean(axis=1)).all()


@each
def test_fewer_rows_than_in_fit(name):
    panel = _panel().tail(2)
    _check_values(_fitted(name).forecast(panel, future_of(panel, HORIZON), LEVELS), 3, HORIZON)


@each
def test_covariates_matter_as_declared(name):
    panel = _panel()
    future = future_of(panel, HORIZON)
    dear = replace(future, known=replace(future.known, values=future.known.values * np.array([1.9, 1.0])))
    plain, moved = (_fitted(name).forecast(panel, f, ()).values for f in (future, dear))
    assert (plain.tobytes() != moved.tobytes()) == _fitted(name).uses_covariates


@each
def test_passed_deadline_stops_at_once(name):
    panel = small_panel((300, 300, 300))
    with pytest.raises(DeadlineExceededError, match=name):
        _fit(name, panel, deadline=Deadline(monotonic() - 1))


@each
def test_values_after_the_cutoff_do_not_matter(name):
    panel = _panel()
    cut = panel.lengths - np.array([6, 9, 7])
    late = np.arange(panel.n_rows) - np.repeat(panel.indptr[:-1], panel.lengths) >= np.repeat(cut, panel.lengths)
    wild = replace(
        panel,
        y=np.where(late, -1e3 * panel.y, panel.y),
        past=replace(panel.past, values=np.where(late[:, None], 1e6, panel.past.values)),
    )
    future = future_of(panel, HORIZON)
    calm, shaken = (_fit(name, p.head(cut)).forecast(p.head(cut), future, LEVELS) for p in (panel, wild))
    assert calm.values.tobytes() == shaken.values.tobytes()


def _corners(space, seed=0):
    """All dimensions at their low end, at their high end, and at three mixtures of ends drawn with a fixed seed."""
    ends = {n: d.options if isinstance(d, Choice) else (d.low, d.high) for n, d in space.items()}
    rng = np.random.default_rng(seed)
    yield {n: e[0] for n, e in ends.items()}
    yield {n: e[-1] for n, e in ends.items()}
    for _ in range(3):
        yield {n: e[rng.integers(len(e))] for n, e in ends.items()}


def test_corners_are_both_ends_and_a_fixed_draw():
    drawn = list(_corners({"a": Int(1, 9), "b": Choice(("x", "y"))}))
    assert drawn[:2] == [{"a": 1, "b": "x"}, {"a": 9, "b": "y"}]
    assert drawn == list(_corners({"a": Int(1, 9), "b": Choice(("x", "y"))}))


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("name", SPACES)
def test_corners_of_the_search_space_give_a_finite_forecast(name, number):
    """Configurations as a search may draw them, on few series with covariates, short ones among them."""
    panel = small_panel((24, 30, 9), freq="QS-JAN", season=SEASON)
    params = {**SMALL.get(name, {}), **list(_corners(SPACES[name]))[number]}
    if name == "TCNForecaster":
        params |= {"max_epochs": 1, "windows_per_epoch": 64}
    if "n_estimators" in params:
        # more trees are more of the same, and take the time
        params["n_estimators"] = min(params["n_estimators"], 60)
    try:
        learner = LEARNERS.load(name)(**params).fit(panel, FitContext(horizon=HORIZON, season=SEASON))
    except MissingPackageError as error:
        pytest.skip(str(error))
    forecast = learner.forecast(panel, future_of(panel, HORIZON), LEVELS)
    _check_values(forecast, 3, HORIZON)
    low, high = np.minimum.reduceat(panel.y, panel.indptr[:-1]), np.maximum.reduceat(panel.y, panel.indptr[:-1])
    reach = np.maximum(high - low, 1e-9)[:, None]
    assert (np.abs(forecast.point - ((low + high) / 2)[:, None]) < 6 * reach).all()


@pytest.mark.parametrize("name", SPACES)
def test_what_the_portfolio_starts_from_and_its_space_are_parameters_of_the_learner(name):
    known = {f.name for f in fields(LEARNERS.load(name)) if f.init}
    assert SPACES[name].keys() <= known
