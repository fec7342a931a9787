"""Features: golden rows, names, and that nothing after the origin is ever read."""

import datetime
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from forecasting.features import history as hist
from forecasting.features.calendar import CALENDAR_NAMES, calendar, calendar_names
from forecasting.features.decompose import decompose
from forecasting.features.history import Rows
from forecasting.features.holidays import holiday_features, holiday_names
from forecasting.features.plan import FeaturePlan, direct_forecast
from forecasting.features.settings import PlanSettings, default_lags
from forecasting.learners.base import FitContext
from forecasting.panel import Future, Panel
from forecasting.timegrid import TimeGrid
from tests.forecasting.panels import future_of, small_panel

HORIZON = 6


def test_lag_expansion_table():
    """Monthly 0, 10, .., 50 from January, horizon 3, lag 1: April is seen from March, February and January."""
    panel = Panel.from_arrays([np.arange(0.0, 60, 10)], TimeGrid("MS", "2001-01-01"))
    plan = FeaturePlan.fit(
        panel,
        PlanSettings(lags="1", windows="", base="none", transform="none"),
        FitContext(horizon=3, season=1),
    )
    scaled = plan.scale(panel)
    rows, series = plan.training_rows(scaled, seed=0)
    design = plan.design(scaled, rows, series)
    assert plan.feature_names == (
        "year",
        "half",
        "quarter",
        "month",
        "horizon_origin",
        "lag1",
        "base_level",
        "log_scale",
    )
    lag = design.x[:, plan.feature_names.index("lag1")] * scaled.scale[0]
    ahead = design.x[:, plan.feature_names.index("horizon_origin")]
    month = design.x[:, plan.feature_names.index("month")]
    table = {(int(m), int(h)): round(float(v), 4) for m, h, v in zip(month, ahead, lag, strict=True)}
    assert {h: v for (m, h), v in table.items() if m == 4} == {1: 20.0, 2: 10.0, 3: 0.0}
    assert {h: v for (m, h), v in table.items() if m == 6} == {1: 40.0, 2: 30.0, 3: 20.0}
    # every target stands there once for each of the 3 distances, less those from before the series: 5 + 4 + 3 rows
    assert len(table) == len(rows.target) == 12
    assert [sum(m == month for m, _ in table) for month in range(1, 7)] == [0, 1, 2, 3, 3, 3]
    truth = design.y * scaled.scale[0]
    np.testing.assert_allclose(truth, 10.0 * (month - 1), atol=1e-6)
    # and the forecast: one row for each distance, all of them seen from the last value
    future, of = plan.future_rows(plan.scale(panel, Future.bare(panel, 3)), 3)
    seen = plan.design(plan.scale(panel, Future.bare(panel, 3)), future, of).x
    assert seen[:, plan.feature_names.index("horizon_origin")].tolist() == [1, 2, 3]
    assert (seen[:, plan.feature_names.index("lag1")] * scaled.scale[0]).round(4).tolist() == [50.0] * 3


def test_calendar_golden_row():
    grid = TimeGrid("s", "2011-01-01 00:25:30")
    row = dict(zip(CALENDAR_NAMES, calendar(grid, np.array([0]), CALENDAR_NAMES)[0], strict=True))
    want = {
        "year": 2011, "year_iso": 2010, "half": 1, "quarter": 1, "month": 1, "day": 1, "wday": 5, "qday": 1, "yday": 1,
        "week": 52, "hour": 0, "am_pm": 0, "hour12": 0, "minute": 25, "second": 30,
    }  # fmt: skip
    assert row == want


def test_calendar_matches_the_standard_library():
    grid = TimeGrid("h", "2019-12-28 00:00")
    names = calendar_names(grid)
    values = calendar(grid, np.arange(24 * 800), names)
    for step in range(0, 24 * 800, 997):
        day = datetime.datetime(2019, 12, 28) + datetime.timedelta(hours=step)  # noqa: DTZ001 - naive on purpose
        row = dict(zip(names, values[step], strict=True))
        assert (row["year"], row["month"], row["day"], row["hour"]) == (day.year, day.month, day.day, day.hour)
        assert (row["year_iso"], row["week"], row["wday"]) == (
            day.isocalendar()[0],
            day.isocalendar()[1],
            day.weekday(),
        )
        assert row["yday"] == day.timetuple().tm_yday
        first = datetime.datetime(day.year, 3 * ((day.month - 1) // 3) + 1, 1)  # noqa: DTZ001 - naive on purpose
        assert row["qday"] == (day - first).days + 1


@pytest.mark.parametrize(
    ("freq", "absent", "present"),
    [
        ("D", {"hour", "minute", "second", "am_pm", "hour12"}, {"wday", "month", "week"}),
        ("MS", {"day", "wday", "week", "yday"}, {"month", "quarter", "year"}),
        ("QS", {"month_lbl", "day", "wday"}, {"quarter"}),
        ("YS", {"quarter", "half", "month"}, {"year"}),
        ("h", {"minute", "second"}, {"hour", "wday", "am_pm"}),
    ],
)
def test_calendar_is_pruned_by_frequency(freq, absent, present):
    names = set(calendar_names(TimeGrid(freq, "2001-01-01")))
    assert not names & absent
    assert present <= names


def test_holidays_daily_window():
    grid = TimeGrid("D", "2020-12-20")
    values = holiday_features(grid, np.arange(10), "US", 3, 3)
    table = pd.DataFrame(values, columns=list(holiday_names(grid, 3, 3)), index=grid.stamps(np.arange(10)))
    assert table.loc["2020-12-25", "holiday"] == 1
    assert table.loc["2020-12-23"].tolist() == [0, 0, 2, 4]
    assert table.loc["2020-12-27"].tolist() == [0, 0, 4, 2]


def test_holidays_are_counted_on_weekly_data():
    grid = TimeGrid("W-THU", "2020-12-24")
    ahead, back = holiday_features(grid, np.array([0, 1]), "US", 3, 3).T
    assert ahead.tolist() == [1, 1]  # the 25th in the week from the 24th, New Year in the one from the 31st
    assert back.tolist() == [0, 1]


def test_holidays_do_not_depend_on_which_steps_are_asked_together():
    grid = TimeGrid("D", "2019-01-01")
    whole = holiday_features(grid, np.arange(900), "US", 3, 3)
    np.testing.assert_array_equal(whole[400:410], holiday_features(grid, np.arange(400, 410), "US", 3, 3))


def _naive_window(y, origin, begin, width, statistic):
    if origin - width + 1 < begin:
        return np.nan
    part = y[origin - width + 1 : origin + 1]
    return {"mean": part.mean, "min": part.min, "max": part.max, "std": part.std, "sum": part.sum}[statistic]()


@given(sizes=st.lists(st.integers(1, 15), min_size=1, max_size=4), width=st.integers(2, 6), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_history_features_equal_their_slow_twins(sizes, width, seed):
    rng = np.random.default_rng(seed)
    y = rng.standard_normal(sum(sizes))
    begin = np.repeat(np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    target = np.arange(len(y))
    ahead = rng.integers(1, 5, len(y))
    keep = target - ahead >= begin
    rows = Rows(target[keep], ahead[keep], begin[keep])
    for statistic in ("mean", "min", "max", "std", "sum"):
        want = [_naive_window(y, o, b, width, statistic) for o, b in zip(rows.origin, rows.begin, strict=True)]
        np.testing.assert_allclose(hist.window(y, rows, width, statistic), want, atol=1e-12)
    lagged = [y[o - width + 1] if o - width + 1 >= b else np.nan for o, b in zip(rows.origin, rows.begin, strict=True)]
    np.testing.assert_array_equal(hist.lag(y, rows, width), lagged)
    seasonal = []
    for t, h, b in zip(rows.target, rows.ahead, rows.begin, strict=True):
        at = t - width
        while at > t - h:
            at -= width
        seasonal.append(y[at] if at >= b else np.nan)
    np.testing.assert_array_equal(hist.same_season(y, rows, width, 1), seasonal)
    _check_matrix(y, rows, width)


SPANS = (2, 4)


def _median_of_known(values):
    """Medians down the columns of what is known; NaN where nothing is."""
    known = np.isfinite(values).any(axis=0)
    out = np.full(values.shape[1], np.nan)
    out[known] = np.nanmedian(values[:, known], axis=0)
    return out


def _check_matrix(y, rows, width):
    """The compiled pass over all columns equals the functions for one column each."""
    base, scale = rng_like(rows, 1), 1 + np.abs(rng_like(rows, 2))
    lags, widths, statistics = (1, width + 2), (width + 3, 2, width + 1), ("std", "mean", "min", "max", "sum")
    fixed = np.arange(2 * len(y), dtype=np.float32).reshape(-1, 2)
    seasons = (width, 2 * width) if width > 1 else (1, 7)
    x = np.full((len(rows.target), 60), -1.0, dtype=np.float32)
    count = hist.look_back(
        y, rows, base, scale, fixed=fixed, lags=lags, windows=widths, statistics=statistics, season=seasons[0],
        spans=SPANS, longer=seasons[1:], out=x, threads=2,
    )  # fmt: skip
    want = [fixed[rows.target, 0], fixed[rows.target, 1], rows.ahead]
    want += [(hist.lag(y, rows, k) - base) / scale for k in lags]
    for w in widths:
        for s in statistics:
            less = {"std": 0, "sum": w}.get(s, 1) * base
            want.append((hist.window(y, rows, w, s) - less) / scale)
    if width > 1:
        near = [(hist.same_season(y, rows, width, k) - base) / scale for k in (1, 2, 3)]
        known = np.isfinite(near)
        total, number = np.where(known, near, 0.0).sum(axis=0), known.sum(axis=0)
        want += [*near, np.where(number > 0, total / np.maximum(number, 1), np.nan)]
        for n in SPANS:
            of = np.stack([(hist.same_season(y, rows, width, k) - base) / scale for k in range(1, n + 1)])
            want.append(_median_of_known(of))
    want += [(hist.same_season(y, rows, seasons[1], k) - base) / scale for k in (1, 2)]
    assert count == len(want)
    np.testing.assert_allclose(x[:, :count], np.stack(want, axis=1), rtol=1e-5, atol=1e-5)
    assert (x[:, count:] == -1).all()


def rng_like(rows, seed):
    return np.random.default_rng(seed).standard_normal(len(rows.target))


PLANS = (
    [
        PlanSettings(strategy=s, base=b, transform=t)
        for s in ("direct", "recursive")
        for b in ("none", "last", "level", "seasonal")
        for t in ("none", "log")
    ]
    + [
        PlanSettings(strategy=s, base=b, lags="auto", windows="auto", feature_lags="1,3", stl="season_trend")
        for s, b in (("direct", "seasonal"), ("recursive", "level"))
    ]
    + [PlanSettings(feature_lags="auto", stl="season", window_statistics="sum,std")]
)


@pytest.mark.parametrize("plan_settings", PLANS, ids=lambda p: f"{p.strategy}-{p.base}-{p.transform}-{p.stl}")
@given(seed=st.integers(0, 1000), shock=st.sampled_from([1.0, -3.0, 1e6]))
@settings(max_examples=5, deadline=None)
def test_rows_never_read_past_their_origin(plan_settings, seed, shock):
    """Change every value after some cutoff: rows whose origin lies at or before it stay byte-identical."""
    panel = small_panel(seed=seed % 7)
    context = FitContext(horizon=HORIZON, season=12, country="US")
    plan = FeaturePlan.fit(panel, plan_settings, context)
    scaled = plan.scale(panel)
    rng = np.random.default_rng(seed)
    cut = rng.integers(HORIZON + 1, panel.lengths - 1)
    position = np.arange(panel.n_rows) - np.repeat(panel.indptr[:-1], panel.lengths)
    after = position > np.repeat(cut, panel.lengths)
    z = np.where(after, scaled.z + shock, scaled.z)
    rows, series = plan.training_rows(scaled, seed=0)
    early = rows.origin - rows.begin <= cut[series]

    kept = Rows(rows.target[early], rows.ahead[early], rows.begin[early])
    past_values = panel.past.values.copy()
    past_values[after] += shock
    before = plan.design(scaled, kept, series[early], panel.past)
    parts = decompose(z, scaled.indptr, 12) if scaled.parts else None
    wild = replace(scaled, z=z, parts=parts)
    shocked = plan.design(wild, kept, series[early], replace(panel.past, values=past_values))
    assert early.any()
    assert before.x.tobytes() == shocked.x.tobytes()
    assert before.base.tobytes() == shocked.base.tobytes()


def test_plan_is_fitted_on_the_training_part_only():
    """The plan and scale of a cut panel do not depend on what stood after the cut."""
    panel = small_panel()
    context = FitContext(horizon=HORIZON, season=12)
    wild = Panel.from_arrays(
        [np.concatenate([panel.series(i)[:-8], np.full(8, 1e9)]) for i in range(3)], panel.grid, ids=panel.ids,
        known=panel.known, past=panel.past, static=panel.static,
    )  # fmt: skip
    cut = panel.lengths - 8
    chosen = PlanSettings(lags="auto", windows="auto", feature_lags="auto", stl="season_trend")
    plans = [FeaturePlan.fit(p.head(cut), chosen, context) for p in (panel, wild)]
    assert plans[0] == plans[1]
    scales = [plan.scale(p.head(cut)) for plan, p in zip(plans, (panel, wild), strict=True)]
    assert scales[0].scale.tobytes() == scales[1].scale.tobytes()
    assert scales[0].fixed.tobytes() == scales[1].fixed.tobytes()


def test_medians_come_from_rows_up_to_the_cutoff():
    panel = small_panel()

    observed = panel.known.observed.copy()
    observed[5, 0] = False
    panel = replace(panel, known=replace(panel.known, observed=observed))
    context = FitContext(horizon=HORIZON, season=12)
    cut = panel.head(np.array([20, 20, 20]))
    plan = FeaturePlan.fit(cut, PlanSettings(), context)
    x = plan.scale(cut).fixed[5, plan.feature_names.index("price")]
    first = panel.known.values[:20, 0]
    want = np.median(np.delete(first, 5))
    assert x == pytest.approx(want, rel=1e-6)


def test_training_and_forecast_rows_agree():
    """The features of the first step ahead equal those a training row of the same target and origin has."""
    panel = small_panel()
    context = FitContext(horizon=HORIZON, season=12)
    cut = panel.lengths - HORIZON
    train = panel.head(cut)
    rest = panel.window(cut, panel.lengths)
    plan = FeaturePlan.fit(train, PlanSettings(), context)
    ahead = plan.scale(train, Future(HORIZON, rest.known))
    rows, series = plan.future_rows(ahead, HORIZON)
    forecast = plan.design(ahead, rows, series, train.past)
    whole = plan.scale(panel)
    position = rows.target - rows.begin
    inside = panel.indptr[:-1][series]
    seen = plan.design(Scaled_like(whole, ahead), Rows(inside + position, rows.ahead, inside), series, panel.past)
    lags = [i for i, n in enumerate(plan.feature_names) if n.startswith(("lag", "season_lag", "mean_window", "month"))]
    np.testing.assert_allclose(forecast.x[:, lags], seen.x[:, lags], rtol=1e-5, atol=1e-5)


def Scaled_like(whole, other):  # noqa: N802 - reads as a type
    """The whole panel on the other's scale."""

    return replace(whole, scale=other.scale, bounds=other.bounds)


@pytest.mark.parametrize("transform", ["none", "log"])
def test_scaling_is_undone_exactly(transform):
    """A predictor that knows the scaled answer gives back the original values."""
    panel = small_panel(covariates=False)
    context = FitContext(horizon=1, season=12)
    plan = FeaturePlan.fit(panel, PlanSettings(transform=transform, strategy="recursive", base="level"), context)
    scaled = plan.scale(panel)
    rows, series = plan.training_rows(scaled, 0)
    design = plan.design(scaled, rows, series)
    z = plan.bounded(design.y * design.scale + design.base, design.series, scaled)
    np.testing.assert_allclose(plan.inverse(z, scaled.shift[series]), panel.y[rows.target], rtol=1e-9)


def _growing(n=3, rows=60):
    """Series whose swings grow with their level."""
    t = np.arange(rows)
    noise = np.random.default_rng(0).normal(0, 0.02, (n, rows))
    return list(np.exp(3 + 0.03 * t + 0.4 * np.sin(2 * np.pi * t / 12) + noise))


def test_a_series_below_zero_is_read_as_it_is_and_the_others_by_logarithms():
    grown, below = _growing(20), np.sin(np.arange(60.0)) * 5
    context = FitContext(horizon=4, season=12)
    mixed, alone = (Panel.from_arrays(series, TimeGrid("MS", "2015-01-01")) for series in ([*grown, below], grown))
    settings = PlanSettings(series_code=False)
    of_mixed, of_alone = (FeaturePlan.fit(p, settings, context) for p in (mixed, alone))
    assert of_mixed.log
    assert of_alone.log
    z, z_alone = of_mixed.scale(mixed), of_alone.scale(alone)
    np.testing.assert_array_equal(z.z[:1200], z_alone.z)
    np.testing.assert_array_equal(z.z[1200:], below)
    of = mixed.series_of_rows()
    np.testing.assert_allclose(of_mixed.inverse(z.z, z.shift[of]), mixed.y, rtol=1e-9)
    assert not FeaturePlan.fit(
        Panel.from_arrays([*grown[:1], below, -below], TimeGrid("MS", "2015-01-01")), settings, context
    ).log, "where many series are below zero there are no logarithms"


def test_a_series_that_turns_negative_after_training_is_read_as_it_is():
    panel = Panel.from_arrays(_growing(), TimeGrid("MS", "2015-01-01"))
    plan = FeaturePlan.fit(panel, PlanSettings(), FitContext(horizon=4, season=12))
    y = panel.y.copy()
    y[-1] = -3.0
    later = plan.scale(replace(panel, y=y))
    assert np.isnan(later.shift).tolist() == [False, False, True]
    assert np.abs(later.z).max() < 1e4


def test_recursion_past_the_horizon_equals_two_requests():
    """A 2H request is H steps, then H steps with the first forecasts as history."""
    panel = small_panel(covariates=False)
    context = FitContext(horizon=HORIZON, season=12)
    plan = FeaturePlan.fit(panel, PlanSettings(transform="none", base="last"), context)

    def predict(x):
        return 0.3 * np.nan_to_num(x[:, plan.feature_names.index("lag2")]) + 0.1

    long = direct_forecast(plan, predict, panel, Future.bare(panel, 2 * HORIZON))
    first = direct_forecast(plan, predict, panel, Future.bare(panel, HORIZON))
    np.testing.assert_array_equal(long[:, :HORIZON], first)
    assert np.isfinite(long).all()


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_recursion_starts_from_its_own_forecasts(strategy):
    """A model that always says "last value plus one unit" climbs by a unit with each block of forecasts."""
    panel = small_panel(covariates=False)
    plan = FeaturePlan.fit(
        panel, PlanSettings(strategy=strategy, transform="none", base="last"), FitContext(horizon=2, season=12)
    )
    scale = plan.scale(panel).scale
    out = direct_forecast(plan, lambda x: np.ones(len(x)), panel, Future.bare(panel, 4))
    climbed = (out - panel.y[panel.indptr[1:] - 1][:, None]) / scale[:, None]
    np.testing.assert_allclose(climbed, [[1, 1, 2, 2] if strategy == "direct" else [1, 2, 3, 4]] * 3)


def test_max_rows_is_kept_and_horizons_are_spread():
    panel = small_panel((300, 300, 300), covariates=False)
    plan = FeaturePlan.fit(panel, PlanSettings(max_rows=500), FitContext(horizon=24, season=12))
    rows, _ = plan.training_rows(plan.scale(panel), seed=3)
    assert len(rows.target) <= 500
    assert len(np.unique(rows.ahead)) == 24


def test_unknown_series_and_new_categories_get_their_own_code():
    panel = small_panel()
    plan = FeaturePlan.fit(panel.select(np.array([0, 1])), PlanSettings(), FitContext(horizon=2, season=12))
    other = panel.select(np.array([2]))
    fixed = plan.scale(other).fixed
    assert (fixed[:, plan.feature_names.index("series_code")] == -1).all()


def test_plan_round_trips_through_json():
    import json

    panel = small_panel()
    chosen = PlanSettings(feature_lags="1,2", stl="season_trend")
    plan = FeaturePlan.fit(panel, chosen, FitContext(horizon=HORIZON, season=12, country="US"))
    assert FeaturePlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    scaled = plan.scale(panel, future_of(panel, HORIZON))
    rows, series = plan.future_rows(scaled, HORIZON)
    assert plan.design(scaled, rows, series, panel.past).x.shape[1] == len(plan.feature_names)


def test_a_plan_saved_before_there_were_spans_keeps_its_columns():
    panel = small_panel()
    plan = FeaturePlan.fit(panel, PlanSettings(), FitContext(horizon=HORIZON, season=4))
    assert plan.spans == (4,)
    raw = plan.to_json()
    del raw["spans"]
    raw["columns"] = [c for c in raw["columns"] if c[0] != "season_lag_median4"]
    old = FeaturePlan.from_json(raw)
    scaled = old.scale(panel, future_of(panel, HORIZON))
    rows, series = old.future_rows(scaled, HORIZON)
    theirs, ours = (p.design(scaled, rows, series, panel.past).x for p in (old, plan))
    kept = [i for i, name in enumerate(plan.feature_names) if name in old.feature_names]
    np.testing.assert_array_equal(theirs, ours[:, kept])


def test_bad_plan_settings_name_the_setting():
    from automl.errors import ConfigError

    with pytest.raises(ConfigError, match=r"lags must be at least 1, got 0"):
        PlanSettings(lags="0,1")
    with pytest.raises(ConfigError, match="windows must be at least 2"):
        PlanSettings(windows="1")
    with pytest.raises(ConfigError, match="strategy must be one of direct, recursive"):
        PlanSettings(strategy="both")
    assert default_lags(7, 1000)[-1] == 28


def _hourly(weekend, weeks=8, seed=0):
    t = np.arange(24 * 7 * weeks)
    noise = 0.1 * np.random.default_rng(seed).standard_normal(len(t))
    return np.sin(2 * np.pi * t / 24) + weekend * (t // 24 % 7 > 4) + noise


def test_the_week_of_hourly_data_is_found_and_given():
    panel = Panel.from_arrays([_hourly(1.0), _hourly(1.5, seed=1)], TimeGrid("h", "2001-01-01"))
    chosen = PlanSettings(base="seasonal", transform="none", further_seasons=True)
    context = FitContext(horizon=30, season=24)
    plan = FeaturePlan.fit(panel, chosen, context)
    assert plan.further == (168,)
    assert {"sin1_season168", "season168_lag1", "season168_lag2"} <= set(plan.feature_names)
    assert FeaturePlan.from_json(plan.to_json()) == plan
    scaled = plan.scale(panel, Future.bare(panel, 30))
    rows, series = plan.future_rows(scaled, 30)
    design = plan.design(scaled, rows, series)
    at = plan.feature_names.index("season168_lag1")
    week_before = design.x[:, at] * design.scale + design.base
    want = [scaled.z[t - 168] for t in rows.target]
    np.testing.assert_allclose(week_before, want, atol=1e-5)
    flat = Panel.from_arrays([_hourly(0.0), _hourly(0.0, seed=1)], panel.grid)
    assert FeaturePlan.fit(flat, chosen, context).further == ()
    assert FeaturePlan.fit(panel, PlanSettings(base="level"), context).further == ()
    assert FeaturePlan.fit(panel, PlanSettings(base="seasonal", further_seasons=False), context).further == ()


def test_the_year_of_daily_data_gives_pairs_without_lags():
    panel = Panel.from_arrays([np.random.default_rng(0).standard_normal(800)], TimeGrid("D", "2001-01-01"))
    chosen = PlanSettings(base="seasonal", further_seasons=True)
    plan = FeaturePlan.fit(panel, chosen, FitContext(horizon=7, season=7))
    assert plan.further == (365,)
    assert not [n for n in plan.feature_names if n.startswith("season365")]
    short = FeaturePlan.fit(panel.head(np.array([700])), chosen, FitContext(horizon=7, season=7))
    assert short.further == ()


def test_longer_seasons_are_read_up_to_the_origin_only():

    panel = Panel.from_arrays([_hourly(1.0), _hourly(1.5, seed=1)], TimeGrid("h", "2001-01-01"))
    chosen = PlanSettings(base="seasonal", transform="none", max_rows=4000)
    plan = FeaturePlan.fit(panel, chosen, FitContext(horizon=30, season=24))
    assert plan.further == (168,)
    scaled = plan.scale(panel)
    rows, series = plan.training_rows(scaled, 0)
    position = rows.origin - rows.begin
    for cut in (400, 900):
        kept = position <= cut
        early = Rows(rows.target[kept], rows.ahead[kept], rows.begin[kept])
        after = np.concatenate([np.arange(n) > cut for n in panel.lengths])
        wild = replace(scaled, z=np.where(after, -7 * scaled.z, scaled.z))
        seen, shocked = (plan.design(s, early, series[kept]) for s in (scaled, wild))
        assert seen.x.tobytes() == shocked.x.tobytes()
