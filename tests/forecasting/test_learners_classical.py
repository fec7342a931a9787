"""Per-series learners against hand-computed numbers and direct calls of the libraries behind them."""

import logging
import time
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from automl.budget import Deadline
from automl.errors import ConfigError, DeadlineExceededError, LearnerError, UnknownNameError
from forecasting.learners.arima import PmdArima
from forecasting.learners.base import FitContext
from forecasting.learners.local import History, Local, band, last_season, sane
from forecasting.learners.naive import Average, Naive, SeasonalAverage, SeasonalNaive
from forecasting.learners.prophet import Prophet
from forecasting.learners.smoothing import Form, Smoother, StatsmodelsETS, initial_states, seasonal_strength
from forecasting.panel import Block, Future, Panel
from forecasting.timegrid import TimeGrid

NAN = np.nan
Z90 = 1.2815515655446004


def _panel(*series, freq=None, known=None):
    grid = TimeGrid(freq, "2001-01-01") if freq else TimeGrid.steps()
    return Panel.from_arrays([np.asarray(s, dtype=float) for s in series], grid, known=known)


def _run(learner, panel, horizon, *, season=1, levels=(0.1, 0.9), **context):
    learner.fit(panel, FitContext(horizon=horizon, season=season, **context))
    return learner.forecast(panel, Future.bare(panel, horizon), levels)


def _seasonal(n, season=12, seed=0, level=100.0):
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    wave = 1 + 0.2 * np.sin(2 * np.pi * t / season)
    return (level + 0.4 * t) * wave * np.exp(0.05 * rng.standard_normal(n))


# -- naive kinds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("learner", "series", "season", "want"),
    [
        (Naive(), [1, 5, 3], 1, [3, 3, 3, 3]),
        (Naive(), [1, 5, NAN], 1, [5, 5, 5, 5]),
        (SeasonalNaive(), [9, 9, 9, 1, 2, 3], 3, [1, 2, 3, 1]),
        (SeasonalNaive(), [9, 1, 2, 3], 3, [1, 2, 3, 1]),
        (SeasonalNaive(), [1, 2], 3, [2, 2, 2, 2]),
        (SeasonalNaive(), [4, 7], 1, [7, 7, 7, 7]),
        (Average(), [1, 2, 6], 1, [3, 3, 3, 3]),
        (Average(), [1, NAN, NAN, 2, 6], 1, [3, 3, 3, 3]),
        (SeasonalAverage(), [100, 1, 2, 6], 3, [3, 3, 3, 3]),
        (SeasonalAverage(), [100, 1, NAN, 6], 3, [3.5, 3.5, 3.5, 3.5]),
        (SeasonalAverage(), [4, 6], 3, [5, 5, 5, 5]),
    ],
)
def test_naive_points_by_hand(learner, series, season, want):
    assert _run(learner, _panel(series), 4, season=season).point.tolist() == [pytest.approx(want)]


def test_series_shorter_than_a_season_are_marked():
    panel = _panel([1, 2], [1, 2, 3])
    for learner in (SeasonalNaive(), SeasonalAverage()):
        assert _run(learner, panel, 2, season=3).fallback.tolist() == [True, False]
    for learner in (Naive(), Average()):
        assert not _run(learner, panel, 2, season=3).fallback.any()


def test_naive_spread_by_hand():
    """Changes 2, -2, 2, -2, root mean square 2, growing with the root of the steps ahead."""
    values = _run(Naive(), _panel([0, 2, 0, 2, 0]), 3).values
    np.testing.assert_allclose(values[0, :, 2] - values[0, :, 0], 2 * Z90 * np.sqrt([1, 2, 3]))
    np.testing.assert_allclose(values[0, :, 1], -values[0, :, 2])


def test_seasonal_naive_spread_by_hand():
    """Changes over a season 3 and 3; the spread grows once a season."""
    values = _run(SeasonalNaive(), _panel([1, 5, 4, 8]), 5, season=2).values
    np.testing.assert_allclose(values[0, :, 2] - values[0, :, 0], 3 * Z90 * np.sqrt([1, 1, 2, 2, 3]))


def test_average_spread_is_that_of_a_new_draw():
    y = [1.0, 4.0, 4.0, 7.0]
    values = _run(Average(), _panel(y), 2).values
    np.testing.assert_allclose(values[0, :, 2] - 4, Z90 * np.std(y, ddof=1) * np.sqrt(1 + 1 / 4))


def test_seasonal_average_spread_by_hand():
    """Errors of the running mean of two: 6 - (1 + 3) / 2 = 4 and 1.5 - (3 + 6) / 2 = -3."""
    values = _run(SeasonalAverage(), _panel([1, 3, 6, 1.5]), 3, season=2).values
    np.testing.assert_allclose(values[0, :, 2] - values[0, :, 0], Z90 * np.sqrt(12.5) * np.sqrt([1, 1.5, 2]))


def test_imputed_values_do_not_narrow_the_spread():
    gap, full = (_run(Naive(), _panel(y), 1).values for y in ([0, 2, 0, NAN, NAN, NAN, NAN], [0, 2, 0]))
    np.testing.assert_allclose(gap, full)


def test_naive_kinds_do_not_mix_scales_of_neighbours():
    small = _seasonal(30, level=1e-3)
    for kind in (Naive, SeasonalNaive, Average, SeasonalAverage):
        alone = _run(kind(), _panel(small), 3, season=4).values[0]
        beside = _run(kind(), _panel(1e12 * small, small), 3, season=4).values[1]
        assert alone.tobytes() == beside.tobytes()


# -- the shared loop --------------------------------------------------------------------------------------------------


def test_band_and_sanity():
    y = np.array([0.0, 10.0])
    assert band(y) == (-30.0, 40.0)
    assert sane(np.array([-30.0, 40.0]), y)
    assert not sane(np.array([5.0, 40.1]), y)
    assert not sane(np.array([-30.1]), y)
    assert not sane(np.array([np.inf]), y)
    assert sane(np.array([5.0 + 1e-9]), np.array([5.0, 5.0]))
    assert not sane(np.array([6.0]), np.array([5.0, 5.0]))


@dataclass(kw_only=True)
class Double(Local):
    """Forecasts a constant; fails where a series begins with a given value."""

    value: float = 1.0
    fail_at: float = -1.0
    wide: float = 0.0
    sleep: float = 0.0
    name = "Double"

    def most_rows(self, season):
        return 10

    def _estimate(self, history, horizon):
        time.sleep(self.sleep)
        if history.y[0] == self.fail_at:
            raise LearnerError("no good")
        return {"value": self.value}

    def _predict(self, model, history, ahead, horizon, levels):
        spread = np.linspace(-self.wide, self.wide, len(levels))
        return np.tile(np.concatenate([[model["value"]], model["value"] + spread]), (horizon, 1))


def test_failed_and_exploding_series_fall_back_in_the_open():
    panel = _panel([1, 2, 3, 2], [-1, 2, 3, 2], [0, 1, 0, 1], [1, 2])
    learner = Double(value=9.5)
    forecast = _run(learner, panel, 3, season=2)
    assert forecast.fallback.tolist() == [True, True, True, True]
    learner = Double(value=2.5)
    forecast = _run(learner, panel, 3, season=2)
    assert forecast.fallback.tolist() == [False, True, False, True]
    assert learner.fallbacks == {"LearnerError: no good": 1, "fewer than 4 rows": 1}
    assert forecast.point.tolist() == [[2.5] * 3, [3, 2, 3], [2.5] * 3, [1, 2, 1]]
    np.testing.assert_allclose(forecast.values[1, :, 2] - [3, 2, 3], Z90 * np.sqrt([8, 8, 16]))


def test_not_a_number_from_a_library_falls_back():
    forecast = _run(Double(value=NAN), _panel([1, 2, 3, 4]), 2)
    assert forecast.fallback.all()
    assert forecast.point.tolist() == [[4, 4]]


def test_quantiles_are_held_inside_the_band():
    values = _run(Double(value=2.0, wide=1e6), _panel([1, 2, 3, 2]), 2).values
    assert values[0, 0].tolist() == [2.0, -5.0, 9.0]


def test_too_slow_a_learner_refuses_early_and_says_why():
    panel = _panel(*[np.arange(10.0)] * 300)
    with pytest.raises(DeadlineExceededError, match=r"Double needs about \d+ s for 300 series, \d s left after \d+"):
        Double(sleep=0.02).fit(panel, FitContext(horizon=1, deadline=Deadline.after(2)))


def test_a_learner_that_is_quick_enough_is_let_through():
    panel = _panel(*[np.arange(10.0)] * 40)
    Double(sleep=0.002).fit(panel, FitContext(horizon=1, deadline=Deadline.after(5)))


def test_deadline_is_checked_between_series():
    panel = _panel(*[np.arange(10.0)] * 3)
    with pytest.raises(DeadlineExceededError, match="1 of 3 series"):
        Double(sleep=0.05).fit(panel, FitContext(horizon=1, deadline=Deadline.after(0.04)))


def test_last_season_reads_only_its_own_series():
    point, _, short = last_season(_panel([1, 2, 3], [7]), np.arange(4), 2)
    assert point.tolist() == [[2, 3, 2, 3], [7, 7, 7, 7]]
    assert short.tolist() == [False, True]


# -- exponential smoothing --------------------------------------------------------------------------------------------


def _statsmodels(y, form, season):
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    level, trend, seasonal = initial_states(y, form, season)
    return ETSModel(
        y,
        error={"A": "add", "M": "mul"}[form.error],
        trend="add" if form.trend != "N" else None,
        damped_trend=form.trend == "Ad",
        seasonal={"N": None, "A": "add", "M": "mul"}[form.season],
        seasonal_periods=season if form.season != "N" else None,
        initialization_method="known",
        initial_level=level,
        initial_trend=trend if form.trend != "N" else None,
        initial_seasonal=np.array(seasonal) if form.season != "N" else None,
    )


FORMS = ["ANN", "AAN", "AAdN", "ANA", "AAA", "AAdA", "MNN", "MAdN", "MNM", "MAM", "MAdM", "ANM"]


def _smoothing(form):
    return StatsmodelsETS(
        error={"A": "add", "M": "mul"}[form.error],
        trend="none" if form.trend == "N" else "add",
        damped=form.trend == "Ad",
        season={"N": "none", "A": "add", "M": "mul"}[form.season],
    )


@pytest.mark.parametrize("text", FORMS)
def test_every_form_equals_statsmodels(text):
    """Estimates, forecasts and, where it knows them, forecast variances, on data scaled to a mean of 1."""
    form = Form.parse(text)
    season = 12 if form.season != "N" else 1
    y = _seasonal(90)
    y = y / y.mean()
    panel = _panel(y)
    learner = _smoothing(form).fit(panel, FitContext(horizon=30, season=12))
    history = History(y, panel.observed, 0, panel.known, panel.grid)
    ours = learner._predict(
        learner._models[(0,)], history, panel.known, 30, (0.1, 0.5, 0.9)
    )  # not yet held in the band
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = _statsmodels(y, form, season).fit(disp=0, maxiter=100)
        np.testing.assert_allclose(ours[:, 0], fitted.forecast(30), rtol=1e-6)
        if not form.multiplicative:
            variance = fitted.scale * fitted._relative_forecast_variance(np.arange(1, 31))
            width = (ours[:, 3] - ours[:, 0]) / Z90
            ratio = len(y) / (len(y) - form.parameters(season))
            # both optimisers stop where the machine's linear algebra lets them: 1e-6 is not reached on every processor
            np.testing.assert_allclose(width**2, ratio * variance, rtol=1e-5)
        else:
            paths = fitted.simulate(30, anchor="end", repetitions=10_000, rng=1)
            ratio = np.sqrt(len(y) / (len(y) - form.parameters(season)))
            theirs = ratio * np.diff(np.quantile(paths, [0.1, 0.9], axis=1), axis=0)[0]
            np.testing.assert_allclose(ours[:, 3] - ours[:, 1], theirs, rtol=0.2)
            medians = np.median(paths, axis=1)
            np.testing.assert_allclose(ours[:, 2], medians, rtol=0.15)


@pytest.mark.parametrize("text", ["AAdA", "MAdM"])
def test_new_history_is_filtered_with_the_old_parameters(text):
    form = Form.parse(text)
    y = _seasonal(96)
    scale = y[:84].mean()
    learner = _smoothing(form)
    learner.fit(_panel(y[:84]), FitContext(horizon=6, season=12))
    got = learner.forecast(_panel(y), Future.bare(_panel(y), 6), ()).point[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = _statsmodels(y[:84] / scale, form, 12).fit(disp=0, maxiter=100)
        want = _statsmodels(y / scale, form, 12).smooth(old.params).forecast(6)
    np.testing.assert_allclose(got, scale * want, rtol=1e-6)


def test_form_is_chosen_to_suit_the_data():
    def chosen(y, season):
        learner = StatsmodelsETS().fit(_panel(y), FitContext(horizon=4, season=season))
        return next(iter(learner._models.values()))["form"]

    rng = np.random.default_rng(0)
    t = np.arange(120)
    assert chosen(_seasonal(120), 12)[-1] == "M"
    assert chosen(50 + 5 * np.sin(2 * np.pi * t / 12) + rng.standard_normal(120) - 60, 12)[-1] == "A"
    assert chosen(10 + rng.standard_normal(120), 12)[-1] == "N"
    assert "M" not in chosen(np.where(t == 50, 0.0, _seasonal(120)), 12)


def test_multiplicative_forms_refuse_data_that_is_not_positive():
    learner = StatsmodelsETS(season="mul", error="mul")
    panel = _panel(_seasonal(60), _seasonal(60) - 120)
    assert _run(learner, panel, 3, season=12).fallback.tolist() == [False, True]
    assert sum(learner.fallbacks.values()) == 1
    assert "strictly positive" in next(iter(learner.fallbacks))


def test_a_line_is_continued():
    values = _run(StatsmodelsETS(trend="add", damped=False), _panel(3.0 + 2 * np.arange(40)), 4).values
    np.testing.assert_allclose(values[0, :, 0], 3 + 2 * np.arange(40, 44), rtol=1e-6)


def test_seasonal_states_are_in_phase():
    y = np.tile([10.0, 30.0, 20.0], 8)[:-1]
    point = _run(StatsmodelsETS(season="add", trend="none", error="add"), _panel(y), 4, season=3).point[0]
    np.testing.assert_allclose(point, [20, 10, 30, 20], rtol=1e-3)


def test_unit_steps_of_the_smoother_work_on_paths_as_on_numbers():
    smoother = Smoother(Form.parse("MAdM"), 3, 0.3, 0.1, 0.2, 0.9)
    one, many = [1.0, 0.1, 0.9, 1.0, 1.1], [np.full(2, v) for v in (1.0, 0.1, 0.9, 1.0, 1.1)]
    for value in (1.2, 0.8, 1.5):
        a, one = smoother.step(one, value)
        b, many = smoother.step(many, np.full(2, value))
        np.testing.assert_allclose(b, a)
    np.testing.assert_allclose(np.stack(many)[:, 1], one)


def test_seasonal_strength_tells_season_from_noise():
    rng = np.random.default_rng(0)
    t = np.arange(120)
    assert seasonal_strength(np.sin(2 * np.pi * t / 12) + 0.1 * rng.standard_normal(120), 12) > 0.9
    assert seasonal_strength(rng.standard_normal(120), 12) < 0.5
    assert seasonal_strength(np.ones(24), 12) == 0.0


def test_long_hourly_history_is_forecast():
    rng = np.random.default_rng(0)
    t = np.arange(49_000)
    y = 100 + 20 * np.sin(2 * np.pi * t / 24) + rng.standard_normal(49_000)
    point = _run(StatsmodelsETS(), _panel(y, freq="h"), 48, season=24).point[0]
    assert np.abs(point - 100 - 20 * np.sin(2 * np.pi * np.arange(49_000, 49_048) / 24)).mean() < 2


def test_only_recent_rows_count():
    y = _seasonal(3000)
    old = y.copy()
    old[:900] = 7.0
    first, second = (_run(StatsmodelsETS(), _panel(v), 3, season=12).values.tobytes() for v in (y, old))
    assert first == second


@pytest.mark.parametrize("bad", [{"season": "multiplicative"}, {"trend": "mul"}, {"error": ""}, {"damped": "yes"}])
def test_wrong_settings_of_smoothing(bad):
    with pytest.raises(ConfigError, match=f"{next(iter(bad))} of StatsmodelsETS must be one of"):
        StatsmodelsETS(**bad)


# -- ARIMA ------------------------------------------------------------------------------------------------------------


def _arima(y, season):
    import pmdarima

    learner = PmdArima()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pmdarima.auto_arima(
            y,
            start_p=1, start_q=1, start_P=1, start_Q=1, max_p=3, max_q=3, max_P=1, max_Q=1,
            max_order=learner.max_order, maxiter=learner.maxiter, m=season, seasonal=season > 1,
            suppress_warnings=True, error_action="ignore",
        )  # fmt: skip


@pytest.mark.parametrize("season", [1, 4])
def test_arima_equals_pmdarima(season):
    """Same orders and nearly the same numbers as a direct call, which maximises a likelihood with diffuse states."""
    y = _seasonal(80, season=4)
    y = y / y.mean()
    learner = PmdArima()
    values = _run(learner, _panel(y), 8, season=season).values[0]
    model = next(iter(learner._models.values()))
    direct = _arima(y, season)
    assert tuple(model["order"]) == direct.order
    if season > 1:
        assert tuple(model["seasonal_order"]) == direct.seasonal_order
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mean, interval = direct.predict(8, return_conf_int=True, alpha=0.2)
    np.testing.assert_allclose(values[:, 0], mean, rtol=0.02)
    np.testing.assert_allclose(values[:, 2] - values[:, 1], np.diff(interval)[:, 0], rtol=0.15)


def test_arima_filters_new_history_with_the_old_parameters():
    """An autoregression of order one by hand: the forecast decays from the newest value towards the mean."""
    rng = np.random.default_rng(1)
    y = np.zeros(400)
    for t in range(1, 400):
        y[t] = 0.7 * y[t - 1] + rng.standard_normal()
    y = y[280:] + 5
    learner = PmdArima(max_p=1, max_q=0, max_order=1).fit(_panel(y[:110]), FitContext(horizon=3))
    model = next(iter(learner._models.values()))
    assert (model["order"], model["intercept"]) == ([1, 0, 0], True)
    constant, phi, _ = model["params"]
    got = learner.forecast(_panel(y), Future.bare(_panel(y), 3), ()).point[0] / model["scale"]
    want, value = [], y[-1] / model["scale"]
    for _ in range(3):
        value = constant + phi * value
        want.append(value)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_arima_leaves_long_seasons_alone():
    y = _seasonal(200, season=52)
    learner = PmdArima(max_order=2).fit(_panel(y), FitContext(horizon=3, season=52))
    assert next(iter(learner._models.values()))["seasonal_order"][3] == 0
    assert learner.most_rows(52) == 120
    assert learner.most_rows(24) == 240


def test_arima_failure_is_counted(monkeypatch):
    import pmdarima

    def broken(*args, **kwargs):
        raise ValueError("could not fit")

    monkeypatch.setattr(pmdarima, "auto_arima", broken)
    learner = PmdArima()
    forecast = _run(learner, _panel([1, 2, 3, 4, 5]), 2)
    assert forecast.fallback.all()
    assert learner.fallbacks == {"ValueError: could not fit": 1}
    assert forecast.point.tolist() == [[5, 5]]


@pytest.mark.parametrize("bad", [{"max_p": -1}, {"maxiter": 0}, {"max_order": 1.5}])
def test_wrong_settings_of_arima(bad):
    with pytest.raises(ConfigError, match=f"{next(iter(bad))} of PmdArima"):
        PmdArima(**bad)


# -- Prophet ----------------------------------------------------------------------------------------------------------


def _prophet_directly(y, horizon, freq, **settings):
    import prophet

    logging.getLogger("cmdstanpy").disabled = True
    ds = TimeGrid(freq, "2001-01-01").stamps(np.arange(len(y) + horizon))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = prophet.Prophet(**settings)
        model.fit(pd.DataFrame({"ds": ds[: len(y)], "y": y}), seed=0, algorithm="LBFGS", iter=2000)
        future = pd.DataFrame({"ds": ds[len(y) :]})
        return model, future, model.predict(future)


@pytest.mark.parametrize("mode", ["additive", "multiplicative"])
def test_prophet_equals_a_direct_call(mode):
    y = _seasonal(72)
    y = y / y.mean()
    values = _run(Prophet(seasonality_mode=mode), _panel(y, freq="MS"), 6, season=12, levels=(0.1, 0.5, 0.9)).values[0]
    model, future, table = _prophet_directly(y, 6, "MS", seasonality_mode=mode, uncertainty_samples=4000)
    np.testing.assert_allclose(values[:, 0], table["yhat"], rtol=1e-6)
    np.random.seed(0)  # noqa: NPY002 - what Prophet draws from
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = model.predictive_samples(future)["yhat"]
    theirs = np.quantile(paths, [0.1, 0.9], axis=1)
    np.testing.assert_allclose(values[:, 3] - values[:, 1], theirs[1] - theirs[0], rtol=0.15)


def test_prophet_chooses_the_mode_by_sign():
    y = _seasonal(72)
    y = y / y.mean()
    for shift, mode in ((0.0, "multiplicative"), (-1.0, "additive")):
        z = (y + shift) / np.abs(y + shift).mean()
        auto, said = (_run(Prophet(seasonality_mode=m), _panel(z, freq="MS"), 3).values for m in ("auto", mode))
        assert auto.tobytes() == said.tobytes()


def test_prophet_knows_holidays():
    ds = pd.date_range("2001-01-01", periods=3 * 365 + 1, freq="D")
    christmas = (ds.month == 12) & (ds.day == 25)
    y = 10 + 8.0 * christmas + 0.1 * np.sin(np.arange(len(ds)))
    cut = int(np.flatnonzero(christmas)[-1])
    panel = _panel(y[:cut], freq="D")
    with_country = _run(Prophet(), panel, 4, season=7, country="US").point[0]
    without = _run(Prophet(), panel, 4, season=7).point[0]
    off = _run(Prophet(holidays=False), panel, 4, season=7, country="US").point[0]
    assert with_country[0] > 14
    assert with_country[1] < 13
    assert without[0] < 14
    np.testing.assert_allclose(off, without)


def test_prophet_counts_holidays_of_a_month():
    """May holds one more holiday day every other year here only through its own count: take the year's shape out."""
    from forecasting.features.holidays import holiday_features

    grid = TimeGrid("W-MON", "2001-01-01")
    count = holiday_features(grid, np.arange(224), "US", 0, 0)[:, 0]
    panel = Panel.from_arrays([10 + 5.0 * count[:208]], grid)
    learner = Prophet(seasonality_mode="additive")
    point = _run(learner, panel, 16, season=52, country="US").point[0]
    ahead = count[208:]
    assert {0.0, 1.0} <= set(ahead.tolist())
    assert np.abs(point - 10 - 5 * ahead).max() < 1.5
    assert next(iter(learner._models.values()))["regressors"]


def test_prophet_uses_numbers_and_categories():
    rng = np.random.default_rng(0)
    price = 1 + rng.random(130)
    kind = rng.integers(0, 2, 130).astype(float)
    y = 20 - 5 * price + 3 * kind
    values = np.stack([price, kind], axis=1)
    block = Block(("price", "kind"), values, np.ones((130, 2), dtype=bool), (("kind", ("a", "b")),))
    panel = _panel(y[:120], freq="D", known=block.take(np.arange(120)))
    future = Future(10, block.take(np.arange(120, 130)))
    context = FitContext(horizon=10, season=7)
    error = {}
    for on in (True, False):
        learner = Prophet(covariates=on, seasonality_mode="additive").fit(panel, context)
        error[on] = np.abs(learner.forecast(panel, future, ()).point[0] - y[120:]).max()
    assert error[True] < 0.2
    assert error[False] > 1


def test_prophet_without_its_regressors_falls_back():
    block = Block(("price",), np.random.default_rng(0).random((40, 1)), np.ones((40, 1), dtype=bool))
    panel = _panel(_seasonal(40), freq="D", known=block)
    learner = Prophet().fit(panel, FitContext(horizon=2))
    assert learner.forecast(panel, Future.bare(panel, 2), ()).fallback.all()


def test_prophet_on_whole_number_time_has_the_runs_season():
    t = np.arange(64)
    y = 10 + np.tile([0.0, 4.0, -3.0, -1.0, 2.0], 13)[:64]
    learner = Prophet(seasonality_mode="additive")
    point = _run(learner, _panel(y), 10, season=5).point[0]
    want = 10 + np.tile([0.0, 4.0, -3.0, -1.0, 2.0], 15)[64:74]
    assert t.size == 64
    np.testing.assert_allclose(point, want, atol=0.5)


def test_prophet_of_later_rows_forecasts_later_dates():
    y = 10 + np.tile([0.0, 4.0, -3.0, -1.0, 2.0], 14)
    panel = _panel(y)
    learner = Prophet(seasonality_mode="additive").fit(panel.head(np.array([62])), FitContext(horizon=5, season=5))
    point = learner.forecast(panel, Future.bare(panel, 5), ()).point[0]
    np.testing.assert_allclose(point, 10 + np.array([0.0, 4.0, -3.0, -1.0, 2.0]), atol=0.5)


def test_prophet_ignores_imputed_rows():
    y = _seasonal(60)
    y[20:30] = NAN
    gap = _panel(y, freq="MS")
    filled = Panel.from_arrays([gap.y], gap.grid)
    assert _run(Prophet(), gap, 3).values.tobytes() != _run(Prophet(), filled, 3).values.tobytes()


def test_prophet_is_silent_and_leaves_loggers_as_they_were(capfd):
    logger = logging.getLogger("cmdstanpy")
    logger.disabled = False
    _run(Prophet(), _panel(_seasonal(40), freq="MS"), 3)
    assert not logger.disabled
    assert capfd.readouterr() == ("", "")


def test_prophet_with_an_unknown_country():
    with pytest.raises(UnknownNameError, match="country"):
        Prophet().fit(_panel(_seasonal(20), freq="D"), FitContext(horizon=1, country="XX"))


@pytest.mark.parametrize("bad", [{"seasonality_mode": "add"}, {"max_rows": 0}, {"changepoint_prior_scale": -1.0}])
def test_wrong_settings_of_prophet(bad):
    with pytest.raises(ConfigError, match=f"{next(iter(bad))} of Prophet"):
        Prophet(**bad)


def test_prophet_learns_a_season_of_the_run_that_no_calendar_has():
    t = np.arange(130)
    y = 20 + np.tile([0.0, 4.0, -3.0, -1.0, 2.0, 5.0, -4.0, 1.0, 0.0, -2.0], 13)
    panel = _panel(y[:120], freq="D")
    errors = [np.abs(_run(Prophet(), panel, 10, season=s).point[0] - y[t >= 120]).mean() for s in (10, 1)]
    assert errors[0] < 0.3
    assert errors[1] > 1


def test_prophet_has_day_and_week_at_once_on_hourly_data():
    t = np.arange(24 * 7 * 6)
    y = 20 + 3 * np.sin(2 * np.pi * t / 24) + 4 * (t // 24 % 7 >= 5)
    point = _run(Prophet(), _panel(y[: -24 * 3], freq="h"), 72, season=24).point[0]
    assert np.abs(point - y[-72:]).mean() < 1.0


def test_prophet_is_stopped_inside_a_series_when_time_is_over(monkeypatch):
    import cmdstanpy

    def late(self, **arguments):
        assert 0 < arguments["timeout"] <= 5
        raise TimeoutError

    monkeypatch.setattr(cmdstanpy.CmdStanModel, "optimize", late)
    panel = _panel(_seasonal(60), freq="MS")
    with pytest.raises(DeadlineExceededError, match="fitting Prophet to a series of 60 rows"):
        Prophet().fit(panel, FitContext(horizon=3, deadline=Deadline.after(5)))


def test_prophet_draws_on_known_covariates_and_not_on_past_ones():
    from tests.forecasting.panels import future_of, small_panel

    panel = small_panel((60, 60), freq="D", season=7)
    future = future_of(panel, 5)
    other = replace(panel, past=replace(panel.past, values=-panel.past.values))
    context = FitContext(horizon=5, season=7)
    plain, moved = (Prophet().fit(p, context).forecast(p, future, ()).values for p in (panel, other))
    assert plain.tobytes() == moved.tobytes()
